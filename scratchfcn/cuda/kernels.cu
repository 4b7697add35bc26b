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

// How windows lie on an image, as in ops/im2col.py: KH x KW kernel, stride S, padding P, dilation D, each for rows (H)
// and columns (W). Window (oh, ow) meets the image's pixel (oh*SH + i*DH - PH, ow*SW + j*DW - PW) with its tap (i, j).
struct Windows {
    int H, W, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW;
};

// How an image (N, C, H, W) lies in memory: how many numbers it is to the next image, channel, row and pixel.
struct Steps {
    long long image, channel, row, pixel;
};

// The window along one axis that meets pixel `at` with its tap number `tap`, or -1 where there is none. All windows that
// cover a pixel are found by asking for each tap.
__device__ int window_of(int at, int tap, int stride, int padding, int dilation, int windows) {
    const int start = at + padding - tap * dilation;  // where that window would begin, in padded pixels
    return start >= 0 && start % stride == 0 && start / stride < windows ? start / stride : -1;
}

// Columns of some images and of some rows of their windows:
//
//     cols[(c*KH + i)*KW + j, l] = x[n, c, oh*SH + i*DH - PH, ow*SW + j*DW - PW],  0 beyond the edge
//
// where l counts (n, oh, ow) in reading order. One thread per channel and window copies the window's KH*KW numbers.
// Neighbouring threads have neighbouring windows: for each tap they write neighbours of one row of the columns and, at
// stride 1, read neighbours of one row of the image. (A thread per number of the columns would do so too, and have to
// work out where it is, in a chain of divisions, KH*KW times as often.) No padded copy of the image is needed.
extern "C" __global__ void im2col(const Real* __restrict__ x, const Steps step, const Windows g, int C, int first_image,
                                  int images, int first_row, int rows, Real* __restrict__ cols) {
    const long long t = thread_number(), L = (long long)images * rows * g.OW;
    if (t >= C * L) return;
    const long long l = t % L, row = l / g.OW;
    const int c = t / L, ow = l % g.OW, oh = first_row + row % rows, n = first_image + row / rows;

    const Real* plane = x + n * step.image + c * step.channel;
    Real* column = cols + (long long)c * g.KH * g.KW * L + l;
    for (int i = 0; i < g.KH; i++) {
        const int h = oh * g.SH + i * g.DH - g.PH;
        for (int j = 0; j < g.KW; j++, column += L) {
            const int w = ow * g.SW + j * g.DW - g.PW;
            const bool inside = h >= 0 && h < g.H && w >= 0 && w < g.W;
            *column = inside ? plane[h * step.row + w * step.pixel] : Real(0);
        }
    }
}

// The adjoint of im2col: every pixel of image (N, C, H, W), stored channel by channel, is the sum of the numbers that
// im2col would have copied from it. One thread per pixel. It asks each tap for the window that meets the pixel with it;
// about KH/SH * KW/SW of them have one. They are added in reading order of the taps.
extern "C" __global__ void col2im(const Real* __restrict__ cols, const Windows g, int N, int C, Real* __restrict__ x) {
    const long long t = thread_number(), L = (long long)N * g.OH * g.OW;
    if (t >= (long long)C * N * g.H * g.W) return;
    const long long row = t / g.W, plane = row / g.H;
    const int w = t % g.W, h = row % g.H, n = plane % N, c = plane / N;

    Real sum = 0;
    for (int i = 0; i < g.KH; i++) {
        const int oh = window_of(h, i, g.SH, g.PH, g.DH, g.OH);
        if (oh < 0) continue;
        for (int j = 0; j < g.KW; j++) {
            const int ow = window_of(w, j, g.SW, g.PW, g.DW, g.OW);
            if (ow < 0) continue;
            const long long tap = ((long long)c * g.KH + i) * g.KW + j;
            sum += cols[tap * L + ((long long)n * g.OH + oh) * g.OW + ow];
        }
    }
    x[t] = sum;
}

// y[n, c, oh, ow] = the largest pixel of its window, and which pixel that was: h*W + w of the first in reading order,
// or -1 where the window holds NaN, which is the result then. Only pixels of the image are looked at: padding never
// wins. One thread per window; y and winners are stored channel by channel.
extern "C" __global__ void max_pool(const Real* __restrict__ x, const Steps step, const Windows g, int N, int C,
                                    Real* __restrict__ y, int* __restrict__ winners) {
    const long long t = thread_number();
    if (t >= (long long)C * N * g.OH * g.OW) return;
    const long long row = t / g.OW, image = row / g.OH;
    const int ow = t % g.OW, oh = row % g.OH, n = image % N, c = image / N;

    const Real* plane = x + n * step.image + c * step.channel;
    Real best = 0;
    int winner = -2;  // nothing seen yet
    for (int i = 0; i < g.KH; i++) {
        const int h = oh * g.SH + i * g.DH - g.PH;
        if (h < 0 || h >= g.H) continue;
        for (int j = 0; j < g.KW; j++) {
            const int w = ow * g.SW + j * g.DW - g.PW;
            if (w < 0 || w >= g.W) continue;
            const Real pixel = plane[h * step.row + w * step.pixel];
            if (pixel != pixel) {
                best = pixel, winner = -1;
            } else if (winner != -1 && (winner == -2 || pixel > best)) {
                best = pixel, winner = h * g.W + w;
            }
        }
    }
    y[t] = best;
    winners[t] = winner;
}

// gx[n, c, h, w] = the sum of gy over the windows that this pixel has won. One thread per pixel asks the windows that
// cover it, as col2im does; so the gradient is complete when it is written, and no window adds to a pixel of another.
extern "C" __global__ void max_pool_backward(const Real* __restrict__ gy, const Steps step,
                                             const int* __restrict__ winners, const Windows g, int N, int C,
                                             Real* __restrict__ gx) {
    const long long t = thread_number();
    if (t >= (long long)C * N * g.H * g.W) return;
    const long long row = t / g.W, image = row / g.H;  // image: c*N + n
    const int w = t % g.W, h = row % g.H, n = image % N, c = image / N;

    Real sum = 0;
    for (int i = 0; i < g.KH; i++) {
        const int oh = window_of(h, i, g.SH, g.PH, g.DH, g.OH);
        if (oh < 0) continue;
        for (int j = 0; j < g.KW; j++) {
            const int ow = window_of(w, j, g.SW, g.PW, g.DW, g.OW);
            if (ow < 0 || winners[(image * g.OH + oh) * g.OW + ow] != h * g.W + w) continue;
            sum += gy[n * step.image + c * step.channel + oh * step.row + ow * step.pixel];
        }
    }
    gx[t] = sum;
}

// One axis of a bilinear resize: `size` pixels become `out`; `scale` is size/out, or (size - 1)/(out - 1) for aligned
// corners. In double throughout, as ops/resize.py does it.
struct Axis {
    double scale;
    int size, out, align_corners;
};

// Where output pixel o of an axis takes its value from: (1 - weight) of pixel `low` and `weight` of pixel `high`.
struct Source {
    int low, high;
    Real low_weight, high_weight;
};

__device__ Source source_of(int o, const Axis& axis) {
    double at = axis.align_corners ? o * axis.scale : (o + 0.5) * axis.scale - 0.5;
    if (at < 0) at = 0;  // before the first centre: the first pixel itself
    Source source;
    source.low = min((int)at, axis.size - 1);
    source.high = min(source.low + 1, axis.size - 1);  // after the last centre: the last pixel twice
    const double weight = min(at - source.low, 1.0);
    source.low_weight = 1 - weight;
    source.high_weight = weight;
    return source;
}

// y[n, c, o, q] = a weighted mean of four pixels of x. One thread per pixel of y, which is stored channel by channel.
extern "C" __global__ void bilinear(const Real* __restrict__ x, const Steps step, const Axis rows, const Axis columns,
                                    int N, int C, Real* __restrict__ y) {
    const long long t = thread_number();
    if (t >= (long long)C * N * rows.out * columns.out) return;
    const long long row = t / columns.out, image = row / rows.out;
    const int q = t % columns.out, o = row % rows.out, n = image % N, c = image / N;

    const Source h = source_of(o, rows), w = source_of(q, columns);
    const Real* plane = x + n * step.image + c * step.channel;
    const Real* upper = plane + h.low * step.row;
    const Real* lower = plane + h.high * step.row;
    const long long left = w.low * step.pixel, right = w.high * step.pixel;
    const Real above = w.low_weight * upper[left] + w.high_weight * upper[right];
    const Real below = w.low_weight * lower[left] + w.high_weight * lower[right];
    y[t] = h.low_weight * above + h.high_weight * below;
}

// The output pixels, first to last, that may take something from pixel `at` of an axis: those whose place lies between
// its neighbours', and one more on either side, so that rounding cannot hide one.
__device__ void reach_of(int at, const Axis& axis, int* first, int* last) {
    *first = 0, *last = axis.out - 1;
    if (axis.scale == 0) return;  // a single pixel, here or there
    const double shift = axis.align_corners ? 0 : 0.5;
    *first = max(*first, (int)floor((at - 1 + shift) / axis.scale - shift) - 1);
    *last = min((double)*last, ceil((at + 1 + shift) / axis.scale - shift) + 1);
}

__device__ Real share_of(int at, const Source& source) {
    return (source.low == at ? source.low_weight : Real(0)) + (source.high == at ? source.high_weight : Real(0));
}

// gx[n, c, h, w] = sum over o and q of R[o, h] * gy[n, c, o, q] * C[q, w], R and C being the weights above. One thread
// per pixel of gx, which visits the few pixels of gy that took something from it, row by row.
extern "C" __global__ void bilinear_backward(const Real* __restrict__ gy, const Steps step, const Axis rows,
                                             const Axis columns, int N, int C, Real* __restrict__ gx) {
    const long long t = thread_number();
    if (t >= (long long)C * N * rows.size * columns.size) return;
    const long long row = t / columns.size, image = row / rows.size;
    const int w = t % columns.size, h = row % rows.size, n = image % N, c = image / N;

    int first_o, last_o, first_q, last_q;
    reach_of(h, rows, &first_o, &last_o);
    reach_of(w, columns, &first_q, &last_q);
    const Real* plane = gy + n * step.image + c * step.channel;
    Real sum = 0;
    for (int o = first_o; o <= last_o; o++) {
        const Real row_share = share_of(h, source_of(o, rows));
        if (row_share == 0) continue;
        Real along = 0;
        for (int q = first_q; q <= last_q; q++) {
            const Real share = share_of(w, source_of(q, columns));
            if (share != 0) along += share * plane[o * step.row + q * step.pixel];
        }
        sum += row_share * along;
    }
    gx[t] = sum;
}

// --- sums, the loss, counting, optimisers -------------------------------------------------------------------
