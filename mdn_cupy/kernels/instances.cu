// Which peak a source belongs to, and how far the votes for a peak spread. One lane a source, which
// looks at the peaks in the cells that its vote reaches.
//
// A source belongs to the nearest peak to where its vote lands, since what a vote adds falls with
// the distance. There the float kernel takes distances in fixed point, as window.cu does: an exact
// difference of positions is rounded once.

// Peaks, sorted by square cells of 2^side_log2 pixels of their maps.
struct Targets {
    long long peaks;
    long long side_log2, down, across;  // of cells, of a map
};

// Whether there is a peak at the position of these bits of a float64.
__device__ inline bool is_place(long long bits)
{
    return (bits >> 52 & 0x7ff) < 1023 + FARTHEST_LOG2;  // neither inf nor NaN
}

__device__ inline Fixed place_of(long long bits, Fixed) { return fixed_float64(bits); }
__device__ inline double place_of(long long bits, double) { return __longlong_as_double(bits); }

__device__ inline long long floor_of(Fixed place) { return (long long)(place >> FRACTION_BITS); }
__device__ inline long long floor_of(double place) { return (long long)floor(place); }

__device__ inline Fixed less(Fixed a, Fixed b) { return a - b; }
__device__ inline double less(double a, double b) { return __dadd_rn(a, -b); }

__device__ inline float number_of(Fixed distance)
{
    const long long fraction = (long long)(unsigned long long)distance;  // from the nearest pixel
    return (float)(long long)((distance - fraction) >> 64) + (float)fraction * 0x1p-64f;
}
__device__ inline double number_of(double distance) { return distance; }

__device__ inline float square_of(float x, float y)
{
    return __fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y));
}
__device__ inline double square_of(double x, double y)
{
    return __dadd_rn(__dmul_rn(x, x), __dmul_rn(y, y));
}

// The row or column of cells at a pixel.
__device__ inline long long cell_of(const Targets &targets, long long pixel, long long count)
{
    return max(0ll, min(pixel >> targets.side_log2, count - 1));
}

// The number from 1 of the nearest peak of a map within reach along both axes and within the radius;
// 0 for none. x and y are the bits of float64.
template <typename T, typename Position>
__device__ inline int nearest_of(const Targets &targets, long long map, Position p_x, Position p_y,
                                 Position reach, T radius, const long long *x, const long long *y,
                                 const long long *cells, const long long *order)
{
    // In whole pixels, and no farther than any map is long.
    const long long most = 1ll << 32;
    long long spread = min(floor_of(reach), most) + 1;
    if (radius < (T)most) {
        spread = min(spread, (long long)radius + 1);
    }
    const long long i = floor_of(p_y), j = floor_of(p_x);
    const int bottom = (int)cell_of(targets, i + spread + 1, targets.down);
    const int left = (int)cell_of(targets, j - spread, targets.across);
    const int right = (int)cell_of(targets, j + spread + 1, targets.across);
    long long found = 0;
    T least = radius * radius;
    #pragma unroll 1
    for (int row = (int)cell_of(targets, i - spread, targets.down); row <= bottom; ++row) {
        const long long start = (map * targets.down + row) * targets.across + left;
        #pragma unroll 1
        for (long long n = first_not_below(cells, targets.peaks, start);
             n < targets.peaks && cells[n] <= start + (right - left); ++n) {
            const long long peak = order[n];
            if (!is_place(x[peak]) || !is_place(y[peak])) {
                continue;
            }
            const Position dx = less(place_of(x[peak], p_x), p_x);
            const Position dy = less(place_of(y[peak], p_y), p_y);
            if (dx > reach || -dx > reach || dy > reach || -dy > reach) {
                continue;
            }
            const T square = square_of(number_of(dx), number_of(dy));
            if (square < least || (square == least && (found == 0 || peak + 1 < found))) {
                found = peak + 1;
                least = square;
            }
        }
    }
    return (int)found;
}

// The label of this lane's source.
template <typename T, typename Position>
__device__ inline int label_of(const Geometry &geometry, const Patch &patch, const T *confidence,
                               const T *offsets, T spread, Position reach, const Targets &targets,
                               T radius, const long long *x, const long long *y,
                               const long long *cells, const long long *order)
{
    const T c = confidence[patch.confidence + patch.row * geometry.confidence_row
                           + patch.column * geometry.confidence_column];
    const long long offset = patch.offsets + patch.row * geometry.offsets_row
                             + patch.column * geometry.offsets_column;
    Position p_x, p_y;
    if (!(c > 0) || !(spread >= Limits<T>::least_sigma())
        || !locate(geometry.origin_x, geometry.stride_x, patch.column, offsets[offset], &p_x)
        || !locate(geometry.origin_y, geometry.stride_y, patch.row,
                   offsets[offset + geometry.offsets_component], &p_y)) {
        return 0;
    }
    return nearest_of(targets, patch.map, p_x, p_y, reach, radius, x, y, cells, order);
}

// Labels [planes, H, W]. `cells` are the cells of the peaks, sorted, and `order` which peaks those
// are.
template <typename T>
__global__ void label_sources(Geometry geometry, const T *confidence, const T *offsets,
                              const T *sigma, T width, T truncate, Targets targets, T radius,
                              const long long *x, const long long *y, const long long *cells,
                              const long long *order, int *labels)
{
    const int lane = threadIdx.x % WARP_SIZE;
    for (unsigned n = first_warp(); n < geometry.patches; n += warp_count()) {
        const Patch patch = patch_of(geometry, n, lane);
        if (!patch.source) {
            continue;
        }
        const T spread = sigma_of(geometry, patch, sigma, width);
        labels[(patch.plane * geometry.height + patch.row) * geometry.width + patch.column] =
            label_of(geometry, patch, confidence, offsets, spread, reach_of(truncate, spread),
                     targets, radius, x, y, cells, order);
    }
}

// Adds the votes for the pixels of peaks to the moments of each, zeroed sums [peaks, 7] in units of
// 2^-60, about the pixel: Σshare, Σshare², Σshare·dx, Σshare·dy, Σshare·dx², Σshare·dx·dy, Σshare·dy².
// A share is a vote's part of the pixel's Σφ, which is given in `totals`, and a distance is a part of
// the longest reach, 1/inverse_reach: so none of the sums is above 1 by more than rounding.
template <typename T, int RULE>
__global__ void add_moments(Geometry geometry, const T *confidence, const T *offsets,
                            const T *sigma, T width, T truncate, Targets targets, T inverse_reach,
                            const long long *rows, const long long *columns, const T *totals,
                            const long long *cells, const long long *order, long long *sums)
{
    // Each lane's own: in double, registers are short.
    __shared__ Vote<T> votes[WARPS * WARP_SIZE];
    __shared__ Factor<T> factors[2][WARPS * WARP_SIZE];
    Vote<T> &vote = votes[threadIdx.x];
    const int lane = threadIdx.x % WARP_SIZE;
    for (unsigned n = first_warp(); n < geometry.patches; n += warp_count()) {
        const Patch patch = patch_of(geometry, n, lane);
        prepare<T, RULE>(geometry, patch, confidence, offsets, sigma, width, truncate, &vote);
        if (vote.x.count == 0 || vote.y.count == 0 || vote.confidence == 0) {
            continue;
        }
        const int bottom = vote.y.first + vote.y.count - 1, right = vote.x.first + vote.x.count - 1;
        const int left_cell = vote.x.first >> targets.side_log2;
        const int right_cell = right >> targets.side_log2;
        #pragma unroll 1
        for (int row = vote.y.first >> targets.side_log2; row <= bottom >> targets.side_log2;
             ++row) {
            const long long start = (patch.map * targets.down + row) * targets.across;
            #pragma unroll 1
            for (long long k = first_not_below(cells, targets.peaks, start + left_cell);
                 k < targets.peaks && cells[k] <= start + right_cell; ++k) {
                const long long peak = order[k];
                const int down = (int)rows[peak] - vote.y.first;
                const int across = (int)columns[peak] - vote.x.first;
                if (down < 0 || down >= vote.y.count || across < 0 || across >= vote.x.count) {
                    continue;
                }
                const T dx = (vote.x.lead + (T)across) - vote.x.fraction;
                const T dy = (vote.y.lead + (T)down) - vote.y.fraction;
                #pragma unroll 1
                for (int axis = 0; axis < 2; ++axis) {
                    factors[axis][threadIdx.x] =
                        factor_of<T, RULE>(vote, axis, (axis ? dy : dx) * vote.inverse,
                                           vote.confidence * vote.scale);
                }
                const T phi =
                    term_of<T, RULE>(factors[0][threadIdx.x], factors[1][threadIdx.x]);
                const T share = fmax((T)-1, fmin(phi / totals[peak], (T)1));
                const T units = Scale<T>::power(60) * share;
                const T x = -dx * inverse_reach, y = -dy * inverse_reach;
                auto *const sum = (unsigned long long *)sums + 7 * peak;
                atomicAdd(sum, (unsigned long long)Scale<T>::integer(units));
                atomicAdd(sum + 1, (unsigned long long)Scale<T>::integer(units * share));
                atomicAdd(sum + 2, (unsigned long long)Scale<T>::integer(units * x));
                atomicAdd(sum + 3, (unsigned long long)Scale<T>::integer(units * y));
                atomicAdd(sum + 4, (unsigned long long)Scale<T>::integer(units * x * x));
                atomicAdd(sum + 5, (unsigned long long)Scale<T>::integer(units * x * y));
                atomicAdd(sum + 6, (unsigned long long)Scale<T>::integer(units * y * y));
            }
        }
    }
}
