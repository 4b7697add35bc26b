// The CUDA kernels of scratchfcn, in one file. `Real` is float or double: kernels.py compiles the file once for each.

// --- windows: im2col, col2im, max pooling, bilinear resizing ------------------------------------------------

// --- sums, the loss, counting, optimisers -------------------------------------------------------------------
