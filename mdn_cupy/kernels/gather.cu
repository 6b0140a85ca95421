// Backward: every source gathers its gradients from the cotangent g = ∂loss/∂Σφ in its window.
//
// With the pull q = g·φ'(w·c)·w of a pixel, its scaled distance z = (x0 − p)/σ and sums over the
// window,
//
//     ∂/∂c = Σ q      ∂/∂o = c/σ·Σ q·z      ∂/∂σ = c/σ·Σ q·|z|²   (− 2c/σ·Σ q for the additive rule)
//
// so one read of the cotangent serves all of them; where only ∂/∂c is asked for, MOMENTS is false
// and the rest is neither computed nor compiled. Every source is written by one lane: no atomics,
// and the order of every sum follows from the geometry alone, so the same bits come out always.
//
// Cost of a vote: one global load (coalesced; neighbours' windows overlap, so mostly from L1), two
// loads from shared memory, one reciprocal (noisy-or), 4 to 10 multiply-adds. A source adds 6
// shuffles, which sum all four quantities over the warp. A source of confidence 0 gathers as well:
// its ∂/∂c is not 0.

template <typename T> struct GatherScratch {
    Vote<T> votes[WARP_SIZE];
    T sums[WARP_SIZE][4];             // of each source: Σq, Σq·z_x, Σq·z_y, Σq·|z|²
    Moment<T> factors[2 * SPAN];  // of a part's columns, then of its rows
};

// Sums four values over the warp in six shuffles: at each of the first steps a lane passes half of
// what it holds to its partner and keeps the other half. Lanes 8k to 8k + 7 return the k-th sum.
template <typename T> __device__ inline T sum_of_warp(T a, T b, T c, T d, int lane)
{
    const bool upper = lane & 16, odd = lane & 8;
    const T first = (upper ? c : a) + __shfl_xor_sync(ALL, upper ? a : c, 16);
    const T second = (upper ? d : b) + __shfl_xor_sync(ALL, upper ? b : d, 16);
    T sum = (odd ? second : first) + __shfl_xor_sync(ALL, odd ? first : second, 8);
    for (int lanes = 4; lanes > 0; lanes /= 2) {
        sum += __shfl_xor_sync(ALL, sum, lanes);
    }
    return sum;
}

// The sums of one source, into sums[4].
template <typename T, int RULE, bool MOMENTS>
__device__ inline void gather_source(const Geometry &geometry, const Vote<T> &vote,
                                     const T *cotangent, Moment<T> *factors, T *sums, int lane)
{
    T pull = 0, pull_x = 0, pull_y = 0, pull_square = 0;
    for (int top = 0; top < vote.y.count; top += SPAN) {
        for (int left = 0; left < vote.x.count; left += SPAN) {
            const Box window = window_of(vote);  // read again: kept, it takes registers
            const Box part = {window.row + top, window.column + left, min(SPAN, window.rows - top),
                              min(SPAN, window.columns - left)};
            __syncwarp();  // the last part's factors are no longer read
            #pragma unroll 1
            for (int n = lane; n < part.columns + part.rows; n += WARP_SIZE) {
                const T z = scaled_distance(vote, part, n);
                factors[n] = {factor_of<T, RULE>(vote, n >= part.columns, z, vote.scale), z, z * z};
            }
            __syncwarp();
            const T *corner = cotangent + part.row * geometry.map_row
                              + part.column * geometry.map_column;
            each_pixel(part, lane, [&](int row, int column) {
                const Moment<T> &of_column = factors[column], &of_row = factors[part.columns + row];
                const int offset = row * (int)geometry.map_row + column * (int)geometry.map_column;
                const T q = __ldg(corner + offset) * slope<T, RULE>(of_column, of_row)
                            * (of_column.weight * of_row.weight);
                pull += q;
                if (MOMENTS) {
                    pull_x += q * of_column.distance;
                    pull_y += q * of_row.distance;
                    pull_square += q * (of_column.square + of_row.square);
                }
            });
        }
    }
    const T sum = sum_of_warp(pull, pull_x, pull_y, pull_square, lane);
    if (lane % 8 == 0) {
        sums[lane / 8] = sum;
    }
}

// Gradients [planes, H, W] and [planes, 2, H, W], contiguous; a null pointer where not asked for.
template <typename T, int RULE, bool MOMENTS>
__global__ void gather(Geometry geometry, const T *confidence, const T *offsets, const T *sigma,
                       T width, T truncate, const T *cotangent, T *to_confidence, T *to_offsets,
                       T *to_sigma)
{
    __shared__ GatherScratch<T> scratches[WARPS];
    GatherScratch<T> &scratch = scratches[threadIdx.x / WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE;
    for (unsigned n = first_warp(); n < geometry.patches; n += warp_count()) {
        const Patch patch = patch_of(geometry, n, lane);
        Vote<T> &vote = scratch.votes[lane];
        __syncwarp();  // the last patch's votes and sums are no longer read
        prepare<T, RULE>(geometry, patch, confidence, offsets, sigma, width, truncate, &vote);
        for (int k = 0; k < 4; ++k) {
            scratch.sums[lane][k] = 0;
        }
        __syncwarp();
        unsigned waiting = __ballot_sync(ALL, vote.x.count > 0 && vote.y.count > 0);
        for (; waiting; waiting &= waiting - 1) {
            const int source = __ffs((int)waiting) - 1;
            gather_source<T, RULE, MOMENTS>(geometry, scratch.votes[source], cotangent + patch.map,
                                            scratch.factors, scratch.sums[source], lane);
        }
        __syncwarp();
        if (!patch.source) {
            continue;
        }
        const T *sums = scratch.sums[lane];
        const T strength = vote.confidence * vote.inverse;
        const long long pixels = geometry.height * geometry.width;
        const long long pixel = patch.row * geometry.width + patch.column;
        if (to_confidence) {
            to_confidence[patch.plane * pixels + pixel] = sums[0];
        }
        if (MOMENTS && to_offsets) {
            to_offsets[2 * patch.plane * pixels + pixel] = strength * sums[1];
            to_offsets[(2 * patch.plane + 1) * pixels + pixel] = strength * sums[2];
        }
        if (MOMENTS && to_sigma) {
            const T normalizer = RULE == ADDITIVE ? 2 * sums[0] : 0;
            to_sigma[patch.plane * pixels + pixel] = strength * (sums[3] - normalizer);
        }
    }
}
