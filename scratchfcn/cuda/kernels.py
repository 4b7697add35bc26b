"""Launches the kernels of kernels.cu on CuPy arrays."""

# --- windows: im2col, col2im, max pooling, bilinear resizing ------------------------------------------------

# --- sums, the loss, counting, optimisers -------------------------------------------------------------------
