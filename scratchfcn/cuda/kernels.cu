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

// Where a thread's number lies in an array: takes the last index, of an axis that is `size` long, off `number`, and
// leaves in it what the axes before count. (Divisions are slow on a GPU; each index costs one.)
__device__ int last_index(long long* number, int size) {
    const long long before = *number / size;
    const int index = *number - before * size;
    *number = before;
    return index;
}

// The windows along one axis that may meet pixel `at`, from the first to the last. (None where first > last.)
__device__ int first_window(int at, int kernel, int stride, int padding, int dilation) {
    const int start = at + padding - dilation * (kernel - 1);  // a window that begins before this ends before `at`
    return start > 0 ? (start + stride - 1) / stride : 0;
}

__device__ int last_window(int at, int stride, int padding, int windows) {
    return min((at + padding) / stride, windows - 1);
}

// With which of its taps a window among those meets pixel `at`; -1 if `at` falls between its dilated taps.
__device__ int tap_of(int at, int window, int stride, int padding, int dilation) {
    const int offset = at + padding - window * stride;
    return dilation == 1 ? offset : offset % dilation == 0 ? offset / dilation : -1;
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
    long long c = t;
    const int ow = last_index(&c, g.OW);
    const int oh = first_row + last_index(&c, rows), n = first_image + last_index(&c, images);

    const Real* plane = x + n * step.image + c * step.channel;
    Real* column = cols + c * (g.KH * g.KW - 1) * L + t;  // c*KH*KW*L + l, where t = c*L + l
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
// im2col would have copied from it. One thread per pixel, which visits the windows that meet it, about KH/SH * KW/SW of
// them, last to first: their taps then come in reading order.
extern "C" __global__ void col2im(const Real* __restrict__ cols, const Windows g, int N, int C, Real* __restrict__ x) {
    const long long t = thread_number(), L = (long long)N * g.OH * g.OW;
    if (t >= (long long)C * N * g.H * g.W) return;
    long long c = t;
    const int w = last_index(&c, g.W), h = last_index(&c, g.H), n = last_index(&c, N);

    const int first_oh = first_window(h, g.KH, g.SH, g.PH, g.DH), first_ow = first_window(w, g.KW, g.SW, g.PW, g.DW);
    const int last_oh = last_window(h, g.SH, g.PH, g.OH), last_ow = last_window(w, g.SW, g.PW, g.OW);
    Real sum = 0;
    for (int oh = last_oh; oh >= first_oh; oh--) {
        const int i = tap_of(h, oh, g.SH, g.PH, g.DH);
        if (i < 0) continue;
        const long long row = (long long)(n * g.OH + oh) * g.OW;
        for (int ow = last_ow; ow >= first_ow; ow--) {
            const int j = tap_of(w, ow, g.SW, g.PW, g.DW);
            if (j >= 0) sum += cols[((c * g.KH + i) * g.KW + j) * L + row + ow];
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
    long long c = t;
    const int ow = last_index(&c, g.OW), oh = last_index(&c, g.OH), n = last_index(&c, N);

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
    long long c = t;
    const int w = last_index(&c, g.W), h = last_index(&c, g.H), n = last_index(&c, N);

    const int first_oh = first_window(h, g.KH, g.SH, g.PH, g.DH), first_ow = first_window(w, g.KW, g.SW, g.PW, g.DW);
    const int last_oh = last_window(h, g.SH, g.PH, g.OH), last_ow = last_window(w, g.SW, g.PW, g.OW);
    const Real* plane = gy + n * step.image + c * step.channel;
    Real sum = 0;
    for (int oh = last_oh; oh >= first_oh; oh--) {
        const int* won = winners + ((c * N + n) * g.OH + oh) * g.OW;
        for (int ow = last_ow; ow >= first_ow; ow--) {
            if (won[ow] == h * g.W + w) sum += plane[oh * step.row + ow * step.pixel];
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
    long long c = t;
    const int q = last_index(&c, columns.out), o = last_index(&c, rows.out), n = last_index(&c, N);

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
    long long c = t;
    const int w = last_index(&c, columns.size), h = last_index(&c, rows.size), n = last_index(&c, N);

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

// Sums over many numbers are made by a tree of fixed shape: a block of 256 threads adds up a stretch of STRETCH numbers,
// each thread every 256th of them (so that neighbours read neighbours), then 16 threads every 16th of these sums, then
// the 16 sums that are left are one. A second kernel adds up the sums of a channel's stretches in the same way. What is
// added to what depends on sizes alone, so sums repeat, bit for bit; and as no sum is ever of more than a few dozen
// numbers in a row, rounding errors stay about as small as those of NumPy's pairwise sums, without a wider type.
const int SUM_THREADS = 256, ROOT = 16, STRETCH = 4096;

// The sum of one number of each thread of a block, given to all of them. Threads wait for each other only twice; the
// next call writes `numbers` when nobody reads them any more, and `sums` after a wait of its own.
__device__ Real block_sum(Real number) {
    __shared__ Real numbers[SUM_THREADS], sums[ROOT];
    const int t = threadIdx.x;
    numbers[t] = number;
    __syncthreads();
    if (t < ROOT) {
        sums[t] = 0;
        for (int i = t; i < SUM_THREADS; i += ROOT) sums[t] += numbers[i];
    }
    __syncthreads();
    Real sum = 0;
    for (int i = 0; i < ROOT; i++) sum += sums[i];
    return sum;
}

// A block's part of a channel: numbers first, first + 256, … below end, of the M that channel c has over all images.
struct Stretch {
    int c, first, end;
};

__device__ Stretch stretch_of_block(int M) {
    const int parts = (M - 1) / STRETCH + 1, part = blockIdx.x % parts;
    const int begin = part * STRETCH;
    return {int(blockIdx.x / parts), begin + int(threadIdx.x), min(M - begin, STRETCH) + begin};
}

// Where in memory number i of channel c lies, of images of `pixels` pixels each; a channel of one image is in one piece.
__device__ long long place(const Steps& step, int c, int i, int pixels) {
    return c * step.channel + i / pixels * step.image + i % pixels;
}

// The sum of `parts` numbers, by one block.
__device__ Real sum_of_parts(const Real* numbers, int parts) {
    Real sum = 0;
    for (int i = threadIdx.x; i < parts; i += SUM_THREADS) sum += numbers[i];
    return block_sum(sum);
}

// sums[stretch] = the sum of every stretch of x (N, C, pixels), M = N*pixels. One block per stretch.
extern "C" __global__ void channel_sums(const Real* __restrict__ x, const Steps step, int pixels, int M,
                                        Real* __restrict__ sums) {
    const Stretch s = stretch_of_block(M);
    Real sum = 0;
    for (int i = s.first; i < s.end; i += SUM_THREADS) sum += x[place(step, s.c, i, pixels)];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// sums[c] = the sum of channel c's stretches / divisor. One block per channel.
extern "C" __global__ void add_stretches(const Real* __restrict__ stretches, int parts, Real divisor,
                                         Real* __restrict__ sums) {
    const Real sum = sum_of_parts(stretches + (long long)blockIdx.x * parts, parts);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum / divisor;
}

// --- batch norm: see ops/norm.py for the formulas ---

// The stretches' sums of (x - mean)². One block per stretch.
extern "C" __global__ void squared_deviations(const Real* __restrict__ x, const Steps step, int pixels, int M,
                                              const Real* __restrict__ mean, Real* __restrict__ sums) {
    const Stretch s = stretch_of_block(M);
    Real sum = 0;
    for (int i = s.first; i < s.end; i += SUM_THREADS) {
        const Real centred = x[place(step, s.c, i, pixels)] - mean[s.c];
        sum += centred * centred;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// var[c] of a batch from its stretches, and the running statistics moved towards the batch's own: the running variance
// is made unbiased by a factor. One block per channel.
extern "C" __global__ void batch_variance(const Real* __restrict__ stretches, int parts, Real M,
                                          const Real* __restrict__ mean, Real* __restrict__ var,
                                          Real* __restrict__ running_mean, Real* __restrict__ running_var, Real keep,
                                          Real momentum, Real unbiased) {
    const int c = blockIdx.x;
    const Real variance = sum_of_parts(stretches + (long long)c * parts, parts) / M;
    if (threadIdx.x) return;
    var[c] = variance;
    running_mean[c] = running_mean[c] * keep + momentum * mean[c];
    running_var[c] = running_var[c] * keep + momentum * (variance * unbiased);
}

// y = (x - mean)·weight·scale + bias, with scale = 1/√(var + eps). A block treats a stretch, so that a thread needs its
// channel's numbers once, for 16 of x. y is stored channel by channel.
extern "C" __global__ void normalise(const Real* __restrict__ x, const Steps step, int pixels, int M,
                                     const Real* __restrict__ mean, const Real* __restrict__ var, Real eps,
                                     const Real* __restrict__ weight, const Real* __restrict__ bias,
                                     Real* __restrict__ y) {
    const Stretch s = stretch_of_block(M);
    const Real scale = 1 / sqrt(var[s.c] + eps), factor = weight[s.c] * scale, centre = mean[s.c], shift = bias[s.c];
    Real* row = y + (long long)s.c * M;
    for (int i = s.first; i < s.end; i += SUM_THREADS) row[i] = (x[place(step, s.c, i, pixels)] - centre) * factor + shift;
}

// The stretches' sums of gy, and of gy·(x - mean), in one pass over both. One block per stretch.
extern "C" __global__ void batch_norm_sums(const Real* __restrict__ gy, const Steps gy_step,
                                           const Real* __restrict__ x, const Steps x_step, int pixels, int M,
                                           const Real* __restrict__ mean, Real* __restrict__ sums,
                                           Real* __restrict__ products) {
    const Stretch s = stretch_of_block(M);
    Real sum = 0, product = 0;
    for (int i = s.first; i < s.end; i += SUM_THREADS) {
        const Real g = gy[place(gy_step, s.c, i, pixels)];
        sum += g;
        product += g * (x[place(x_step, s.c, i, pixels)] - mean[s.c]);
    }
    sum = block_sum(sum);
    product = block_sum(product);
    if (threadIdx.x) return;
    sums[blockIdx.x] = sum;
    products[blockIdx.x] = product;
}

// gbias[c] and gweight[c] from their stretches. One block per channel.
extern "C" __global__ void batch_norm_parameters(const Real* __restrict__ sums, const Real* __restrict__ products,
                                                 int parts, const Real* __restrict__ var, Real eps,
                                                 Real* __restrict__ gweight, Real* __restrict__ gbias) {
    const long long c = blockIdx.x;
    const Real sum = sum_of_parts(sums + c * parts, parts), product = sum_of_parts(products + c * parts, parts);
    if (threadIdx.x) return;
    gbias[c] = sum;
    gweight[c] = product * (1 / sqrt(var[c] + eps));
}

// gx from gy and x, as in BatchNorm2d.backward: of the three terms, only the first where the statistics were constants
// (training is 0). One block per stretch; gx is stored channel by channel.
extern "C" __global__ void batch_norm_backward(const Real* __restrict__ gy, const Steps gy_step,
                                               const Real* __restrict__ x, const Steps x_step, int pixels, int M,
                                               const Real* __restrict__ mean, const Real* __restrict__ var, Real eps,
                                               const Real* __restrict__ weight, const Real* __restrict__ gweight,
                                               const Real* __restrict__ gbias, int training, Real* __restrict__ gx) {
    const Stretch s = stretch_of_block(M);
    const Real scale = 1 / sqrt(var[s.c] + eps), factor = weight[s.c] * scale, centre = mean[s.c];
    const Real along = scale * gweight[s.c] / -M, shift = gbias[s.c] / M;
    Real* row = gx + (long long)s.c * M;
    for (int i = s.first; i < s.end; i += SUM_THREADS) {
        Real g = gy[place(gy_step, s.c, i, pixels)];
        if (training) g = (x[place(x_step, s.c, i, pixels)] - centre) * along + g - shift;
        row[i] = g * factor;
    }
}

// --- the loss ---

// Number i of an array of integers of any type. kind: bytes of one, negative for a type with a sign.
__device__ long long integer_at(const void* numbers, long long i, int kind) {
    switch (kind) {
        case 1: return ((const unsigned char*)numbers)[i];
        case 2: return ((const unsigned short*)numbers)[i];
        case 4: return ((const unsigned int*)numbers)[i];
        case -1: return ((const signed char*)numbers)[i];
        case -2: return ((const short*)numbers)[i];
        case -4: return ((const int*)numbers)[i];
        default: return ((const long long*)numbers)[i];  // an unsigned one beyond the signed ones becomes negative
    }
}

// The loss of every pixel of logits x (N, K, pixels), times the weight of its class; only its sum over the block and the
// sum of the weights are written. largest and sums (N, pixels), the largest logit and Σ_k e^(x_k - largest), are kept
// for backward, which finds the probabilities with them: K times less to keep than these themselves. One thread per
// pixel walks over the classes, twice; its neighbours are on the same walk, beside it. A wrong label gives NaN.
extern "C" __global__ void softmax_loss(const Real* __restrict__ x, const Steps step, int pixels, int all_pixels, int K,
                                        const void* __restrict__ labels, int kind, long long ignore,
                                        const Real* __restrict__ weights, Real* __restrict__ largest,
                                        Real* __restrict__ sums, Real* __restrict__ losses,
                                        Real* __restrict__ totals) {
    const long long i = thread_number();
    Real loss = 0, weight = 0;
    if (i < all_pixels) {
        const Real* scores = x + i / pixels * step.image + i % pixels;
        Real most = scores[0], sum = 0;
        for (int k = 1; k < K; k++) {
            const Real score = scores[k * step.channel];
            if (score > most) most = score;
        }
        for (int k = 0; k < K; k++) sum += exp(scores[k * step.channel] - most);  // the largest power is 1: no overflow
        largest[i] = most;
        sums[i] = sum;
        const long long label = integer_at(labels, i, kind);
        if (label != ignore) {
            const bool known = label >= 0 && label < K;
            weight = known ? weights[label] : Real(nan(""));
            loss = known ? (log(sum) - (scores[label * step.channel] - most)) * weight : weight;
        }
    }
    loss = block_sum(loss);  // idle threads add 0
    weight = block_sum(weight);
    if (threadIdx.x) return;
    losses[blockIdx.x] = loss;
    totals[blockIdx.x] = weight;
}

// The loss of the batch from those of its blocks, and the total that it was divided by: the sum of the weights for a
// mean, else 1; 1, too, where every pixel is ignored, so that the loss is 0. One block.
extern "C" __global__ void softmax_loss_total(const Real* __restrict__ losses, const Real* __restrict__ totals,
                                              int parts, int mean, Real* __restrict__ loss, Real* __restrict__ total) {
    const Real sum = sum_of_parts(losses, parts), weight = sum_of_parts(totals, parts);
    if (threadIdx.x) return;
    const Real divisor = mean && weight > 0 ? weight : Real(1);
    *total = divisor;
    *loss = sum / divisor;
}

// gx = (softmax(x) - onehot(label)) · weight[label]/total · gy, and 0 for ignored pixels. One thread per pixel walks over
// the classes. gx lies in memory as `gx_step` says.
extern "C" __global__ void softmax_loss_backward(const Real* __restrict__ x, const Steps step, int pixels,
                                                 int all_pixels, int K, const void* __restrict__ labels, int kind,
                                                 long long ignore, const Real* __restrict__ weights,
                                                 const Real* __restrict__ largest, const Real* __restrict__ sums,
                                                 const Real* __restrict__ total, const Real* __restrict__ gy,
                                                 const Steps gx_step, Real* __restrict__ gx) {
    const long long i = thread_number();
    if (i >= all_pixels) return;
    const Real* scores = x + i / pixels * step.image + i % pixels;
    Real* slopes = gx + i / pixels * gx_step.image + i % pixels;
    const long long label = integer_at(labels, i, kind);
    if (label == ignore) {
        for (int k = 0; k < K; k++) slopes[k * gx_step.channel] = 0;
        return;
    }
    const Real weight = label >= 0 && label < K ? weights[label] : Real(nan(""));
    const Real scale = weight / *total * *gy, most = largest[i], sum = sums[i];
    for (int k = 0; k < K; k++) {
        const Real p = exp(scores[k * step.channel] - most) / sum;
        slopes[k * gx_step.channel] = p * scale - (k == label ? scale : Real(0));
    }
}

// --- counting ---

const int BINS = 4096, COUNTED = 8192;  // COUNTED pixels a block

// CUDA adds only unsigned numbers of 64 bits; the bits are those of the signed sum.
__device__ void add_whole(long long* sum, long long number) {
    atomicAdd((unsigned long long*)sum, (unsigned long long)number);
}

// Adds to counts[K*label + pred] the number of such pixels. wrong: how many labels, and how many predictions, at pixels
// that count are no classes; the smallest such label; the smallest such prediction. Whole numbers add up to the same in
// any order, so threads may add them as they come (atomically: one at a time for each place). A block counts in memory
// of its own first, where K*K places fit: most pixels are background, and all threads would queue for one place.
extern "C" __global__ void count_pairs(const void* __restrict__ pred, int pred_kind, const void* __restrict__ labels,
                                       int label_kind, long long ignore, int K, long long P,
                                       long long* __restrict__ counts, long long* __restrict__ wrong) {
    __shared__ unsigned int bins[BINS];
    const int places = K <= 64 ? K * K : 0;
    for (int b = threadIdx.x; b < places; b += blockDim.x) bins[b] = 0;
    __syncthreads();

    const long long begin = (long long)blockIdx.x * COUNTED, end = min(P, begin + COUNTED);
    for (long long i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const long long label = integer_at(labels, i, label_kind), found = integer_at(pred, i, pred_kind);
        if (label == ignore) continue;
        const bool known = label >= 0 && label < K, possible = found >= 0 && found < K;
        if (!known) {
            add_whole(&wrong[0], 1);
            atomicMin(&wrong[2], label);
        }
        if (!possible) {
            add_whole(&wrong[1], 1);
            atomicMin(&wrong[3], found);
        }
        if (!known || !possible) continue;
        if (places) {
            atomicAdd(&bins[K * label + found], 1u);
        } else {
            add_whole(&counts[K * label + found], 1);
        }
    }
    __syncthreads();
    for (int b = threadIdx.x; b < places; b += blockDim.x)
        if (bins[b]) add_whole(&counts[b], bins[b]);
}

// --- optimisers ---

// Up to 64 parameters, moved by one launch. Arrays of equal size: weights, gradients, and what the optimiser keeps for
// each number. rows: a parameter's row of the table of rates, (rate, decay, correction); first_block: the first of the
// blocks that move it, each 1024 numbers; then, to the end of the list, the number of blocks. The whole struct, 3 KB,
// travels with the launch.
const int TENSORS = 64, MOVED = 1024;

struct Tensors {
    Real* weights[TENSORS];
    const Real* gradients[TENSORS];
    Real* kept[TENSORS];
    Real* kept_too[TENSORS];
    long long sizes[TENSORS];
    int rows[TENSORS], first_block[TENSORS + 1];
};

// The parameter that a block moves: the last one whose blocks begin at or before it. Halving finds it in six looks.
__device__ int tensor_of_block(const Tensors& t) {
    int low = 0, high = TENSORS;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (t.first_block[middle] <= (int)blockIdx.x) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// What a block has to do: numbers begin … end - 1 of one parameter, at that parameter's rates.
struct Part {
    Real *w, *kept, *kept_too;
    const Real* gradient;
    Real rate, decay, correction;
    long long begin, end;
};

__device__ Part part_of_block(const Tensors& tensors, const double* rates) {
    const int t = tensor_of_block(tensors);
    const double* row = rates + 3 * tensors.rows[t];
    const long long begin = (long long)(blockIdx.x - tensors.first_block[t]) * MOVED;
    return {tensors.weights[t], tensors.kept[t], tensors.kept_too[t], tensors.gradients[t],
            Real(row[0]), Real(row[1]), Real(row[2]), begin, min(begin + MOVED, tensors.sizes[t])};
}

// v = momentum·v + g, w = w - rate·v, as SGD.update does it; g has decay·w added. Neighbouring threads move neighbouring
// numbers. Nothing is moved where *only_if is 0: the device itself knows by then that the loss was not finite.
extern "C" __global__ void sgd(const Tensors tensors, const double* __restrict__ rates, const int* __restrict__ only_if,
                               Real momentum) {
    if (*only_if == 0) return;
    const Part p = part_of_block(tensors, rates);
    Real *w = p.w, *v = p.kept;
    for (long long i = p.begin + threadIdx.x; i < p.end; i += blockDim.x) {
        Real g = p.gradient[i];
        if (p.decay != 0) g += p.decay * w[i];
        if (momentum != 0) v[i] = g = v[i] * momentum + g;
        w[i] -= p.rate * g;
    }
}

// Adam.update: m = b1·m + (1 - b1)·g, v = b2·v + (1 - b2)·g², w = w - rate·m/(√(v/correction) + eps). The rate has m's
// correction in it; both corrections are a parameter's own, since it may have joined late.
extern "C" __global__ void adam(const Tensors tensors, const double* __restrict__ rates, const int* __restrict__ only_if,
                                Real b1, Real rest1, Real b2, Real rest2, Real eps) {
    if (*only_if == 0) return;
    const Part p = part_of_block(tensors, rates);
    Real *w = p.w, *m = p.kept, *v = p.kept_too;
    for (long long i = p.begin + threadIdx.x; i < p.end; i += blockDim.x) {
        Real g = p.gradient[i];
        if (p.decay != 0) g += p.decay * w[i];
        m[i] = m[i] * b1 + rest1 * g;
        v[i] = v[i] * b2 + rest2 * (g * g);
        w[i] -= p.rate * m[i] / (sqrt(v[i] / p.correction) + eps);
    }
}
