// The CUDA kernels of scratchfcn, in one file. `Real` is float or double: kernels.py compiles the file once for each.
//
// A kernel is a function that a GPU runs thousands of times at once, on as many threads. Each of them asks which one it
// is, computes its own number, writes it, and ends. Threads come in blocks of 256; within a block, 32 neighbours form a
// warp, which executes every instruction together. Three habits follow, and all kernels here keep them:
//
// - Neighbouring threads write, and if possible read, neighbouring numbers: a warp then fetches one stretch of memory
//   instead of 32 scattered pieces. ("Coalesced" access. Images are stored channel by channel, see ops/layout.py, so
//   neighbours are pixels of one row.)
// - One thread per number of the output, which gathers what belongs into it. The other way round, a thread per number of
//   the input that adds its share onto several outputs, would need atomic additions, whose order, and hence rounding,
//   changes from run to run. Gathered sums have a fixed order: the same numbers give the same result, bit for bit.
// - Indices are `long long`: an array on a GPU easily has more numbers than an int can count.

// Which thread this is, among all threads of the launch.
__device__ long long thread_number() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

// --- windows: im2col, col2im, max pooling, bilinear resizing ------------------------------------------------

// --- sums, the loss, counting, optimisers -------------------------------------------------------------------
