// Forward: every source adds its evidence φ(w·c) to the pixels in its window.
//
// Cost of a vote (one source, one pixel): two loads from shared memory, one multiply, one
// multiply-add and one logarithm (noisy-or), and its share of an atomic. Exponentials: R + C for a
// window of R·C pixels.
//
// Contention. In an MDN the collapse is the normal case: whole regions vote for a few pixels.
// One atomic per vote would then queue at a handful of addresses, which the L2 cache serves one at
// a time, and even without contention atomics, not arithmetic, would set the speed. So a warp first
// gathers those of its 32 sources whose windows lie together (within MARGIN of one another) and
// adds up their votes in a tile in shared memory, with plain adds, one source after another; then
// it sends one atomic per pixel of the tile. A collapsed patch costs one window of atomics instead
// of 32, and a smooth offset field little more. A source on its own goes straight to the map.
// Neither sends an atomic for a vote of 0, an empty window or a confidence of 0.
//
// Determinism. Which sources a warp adds up, and in which order, follows from the data alone. What
// warps add to the map is converted to 64-bit fixed point, and integer addition commutes: the same
// bits come out for any order of threads, warps and blocks.
//
// The bound. `peak` first finds, for every map, the exponent e of the strongest vote that anyone
// may cast there, |φ(c)| < 2^e. With N sources that may vote for one pixel and 2^s units to one,
//
//     |Σ| <= N·2^e·2^s <= 2^60    for    s = 60 − ceil(log2 N) − e
//
// With N = 128·128 the unit is 2^-46 of the strongest vote, and with a saturated float noisy-or
// (|φ| <= 16.7) 2^-41. Rounding is to nearest, once per warp and pixel. Nothing waits for the peaks:
// they stay on the device.
//
// Not numbers. Sums stay within 2^60 of 0, so a mark far above can tell what no sum can say: an
// infinite vote (additive rules; the noisy-or floors its factor) raises the sum to 3·2^60, a NaN (or
// a vote of −inf) to 6.5·2^60, by an atomic maximum. Whatever else is added moves a marked sum by
// less than 1.2·2^60 and so cannot hide it, nor overflow; the read-out turns the marks into inf and
// NaN. An infinite vote does no harm beyond its window: it does not count for the peak. With float
// atomics these values go their natural way.

constexpr int TILE_BYTES = 2048;  // per warp: a window of sigma 2 and its neighbours' in float
constexpr int MARGIN = 8;         // pixels by which windows may differ and still be added up

constexpr long long UNIT = 1ll << 60;
constexpr long long INFINITE_MARK = 3 * UNIT;
constexpr long long NAN_MARK = 13 * (UNIT / 2);

template <typename T> struct Scale;  // powers of two, made from their bits
template <> struct Scale<float> {
    static constexpr int finest = 120;  // bits after the point, at most
    static __device__ float infinity() { return __int_as_float(0x7f800000); }
    static __device__ float power(int n) { return __int_as_float((n + 127) << 23); }
    static __device__ int exponent(float x) { return (__float_as_int(x) >> 23 & 0xff) - 126; }
    static __device__ long long integer(float x) { return __float2ll_rn(x); }
};
template <> struct Scale<double> {
    static constexpr int finest = 1000;
    static __device__ double infinity() { return __longlong_as_double(0x7ffll << 52); }
    static __device__ double power(int n) { return __longlong_as_double((n + 1023ll) << 52); }
    static __device__ int exponent(double x)
    {
        return (int)(__double_as_longlong(x) >> 52 & 0x7ff) - 1022;
    }
    static __device__ long long integer(double x) { return __double2ll_rn(x); }
};

// s of a map, from `bits` = 60 − ceil(log2 N) and its peak, which is e + PEAK_BIAS, so that 0 means
// that nobody votes there.
constexpr int PEAK_BIAS = 2048;

template <typename T> __device__ inline int fraction_bits(int bits, int peak)
{
    return min(bits - (peak - PEAK_BIAS), Scale<T>::finest);
}

// log(1 − v) from v and u = 1 − v, both to full relative precision: log1p where u is close to 1,
// log elsewhere. In float with one polynomial for both: u = 2^e·m with m in [2/3, 4/3), and
// log u = e·log 2 + log1p(t), where t is m − 1 or, if e = 0, −v itself. NaN takes the way of −v.
__device__ inline float log_complement(float v, float u)
{
    const bool near = !(fabsf(v) > 0.333333f);
    const int bits = __float_as_int(u < Limits<float>::saturation() ? Limits<float>::saturation() : u);
    const int exponent = near ? 0 : (bits - 0x3f2aaaab) >> 23;
    const float t = near ? -v : __int_as_float(bits - (exponent << 23)) - 1.0f;
    float p = 0.140263766f;  // (log1p(t) − t)/t², least largest relative error 3e-8 on |t| <= 1/3
    p = fmaf(p, t, -0.153885603f);
    p = fmaf(p, t, 0.139958039f);
    p = fmaf(p, t, -0.164159581f);
    p = fmaf(p, t, 0.200111687f);
    p = fmaf(p, t, -0.250078201f);
    p = fmaf(p, t, 0.333331972f);
    p = fmaf(p, t, -0.499999374f);
    return fmaf((float)exponent, 0.693147182f, fmaf(p, t * t, t));
}

__device__ inline double log_complement(double v, double u)
{
    if (!(fabs(v) > 0.5)) {
        return log1p(-v);
    }
    return log(u < Limits<double>::saturation() ? Limits<double>::saturation() : u);
}

template <typename T, int RULE>
__device__ inline T evidence(const Factor<T> &column, const Factor<T> &row)
{
    const T v = column.weight * row.weight;
    if (RULE != NOISY_OR) {
        return v;
    }
    return log_complement(v, column.complement - column.weight * row.complement);
}

template <typename T> __device__ inline void deposit(T *sum, T evidence, T)
{
    if (evidence != 0) {
        atomicAdd(sum, evidence);
    }
}

template <typename T> __device__ inline void deposit(long long *sum, T evidence, T scale)
{
    if (evidence == 0) {
        return;
    }
    if (isfinite(evidence)) {
        atomicAdd((unsigned long long *)sum,
                  (unsigned long long)Scale<T>::integer(evidence * scale));
    } else {
        atomicMax(sum, evidence > 0 ? INFINITE_MARK : NAN_MARK);
    }
}

// The working memory of a warp.
template <typename T> struct Scratch {
    static constexpr int tile_pixels = TILE_BYTES / sizeof(T);
    Vote<T> votes[LANES];
    Factor<T> factors[2 * SPAN];  // of a part's columns, then of its rows
    T tile[tile_pixels];          // zero but while a group is cast
};


// Those waiting lanes whose window lies with the leader's.
__device__ inline unsigned companions(const Box &leader, const Box &own, unsigned waiting)
{
    const bool together = own.row >= leader.row - MARGIN && own.column >= leader.column - MARGIN
                          && own.row + own.rows <= leader.row + leader.rows + MARGIN
                          && own.column + own.columns <= leader.column + leader.columns + MARGIN;
    return __ballot_sync(ALL, together) & waiting;
}

__device__ inline int least_of_warp(int value)
{
    for (int lanes = LANES / 2; lanes > 0; lanes /= 2) {
        value = min(value, __shfl_xor_sync(ALL, value, lanes));
    }
    return value;
}

// The smallest box around the windows of the members.
__device__ inline Box box_around(const Box &own, bool member)
{
    const int none = 0x7fffffff;
    const int row = least_of_warp(member ? own.row : none);
    const int column = least_of_warp(member ? own.column : none);
    const int end_row = -least_of_warp(member ? -(own.row + own.rows) : none);
    const int end_column = -least_of_warp(member ? -(own.column + own.columns) : none);
    return {row, column, end_row - row, end_column - column};
}

template <typename T, int RULE>
__device__ inline void tabulate(const Vote<T> &vote, const Box &part, int lane, Factor<T> *factors)
{
    __syncwarp();  // the last part's factors are no longer read
    #pragma unroll 1
    for (int n = lane; n < part.columns + part.rows; n += LANES) {
        factors[n] = factor_of<T, RULE>(vote, n >= part.columns, scaled_distance(vote, part, n),
                                        vote.confidence * vote.scale);
    }
    __syncwarp();
}

// Sends what a piece of the tile has gathered to the map, and clears it.
template <typename T, typename Sum>
__device__ inline void flush(T *tile, const Box &piece, Sum *map, int map_width, T scale, int lane)
{
    Sum *corner = map + (long long)piece.row * map_width + piece.column;
    __syncwarp();
    each_pixel(piece, (long long)map_width, 1ll, lane, [&](int row, int column, long long offset) {
        T &gathered = tile[row * piece.columns + column];
        deposit(corner + offset, gathered, scale);
        gathered = 0;
    });
}

// Casts a group of votes into their common box, piece by piece: through the tile, or straight.
template <typename T, int RULE, bool TILED, typename Sum>
__device__ inline void cast(Scratch<T> &scratch, unsigned group, const Box &box, Sum *map,
                            int map_width, T scale, int lane)
{
    const int columns = min(box.columns, SPAN);
    const int rows = TILED ? min(SPAN, Scratch<T>::tile_pixels / columns) : SPAN;
    for (int top = 0; top < box.rows; top += rows) {
        for (int left = 0; left < box.columns; left += columns) {
            const Box piece = {box.row + top, box.column + left, min(rows, box.rows - top),
                               min(columns, box.columns - left)};
            for (unsigned waiting = group; waiting; waiting &= waiting - 1) {
                const Vote<T> &vote = scratch.votes[__ffs((int)waiting) - 1];
                const Box part = intersection(piece, window_of(vote));
                if (part.rows <= 0 || part.columns <= 0) {
                    continue;
                }
                tabulate<T, RULE>(vote, part, lane, scratch.factors);
                const Factor<T> *of_column = scratch.factors, *of_row = of_column + part.columns;
                if (TILED) {
                    T *tile = scratch.tile + (part.row - piece.row) * piece.columns + part.column
                              - piece.column;
                    each_pixel(part, piece.columns, 1, lane, [&](int row, int column, int offset) {
                        tile[offset] += evidence<T, RULE>(of_column[column], of_row[row]);
                    });
                } else {
                    Sum *corner = map + (long long)part.row * map_width + part.column;
                    each_pixel(part, (long long)map_width, 1ll, lane,
                               [&](int row, int column, long long offset) {
                                   deposit(corner + offset,
                                           evidence<T, RULE>(of_column[column], of_row[row]), scale);
                               });
                }
            }
            if (TILED) {
                flush(scratch.tile, piece, map, map_width, scale, lane);
            }
        }
    }
}

// Σφ into zeroed sums [maps, map_height, map_width]: in 64-bit fixed point, or in T itself with no
// peaks. The strides `map` of the axes count maps here.
template <typename T, int RULE, typename Sum>
__global__ void accumulate(Geometry geometry, const T *confidence, const T *offsets,
                           const T *sigma, T width, T truncate, Sum *sums, const int *peaks,
                           int bits)
{
    __shared__ Scratch<T> scratches[WARPS];
    Scratch<T> &scratch = scratches[threadIdx.x / LANES];
    const int lane = threadIdx.x % LANES;
    for (int n = lane; n < Scratch<T>::tile_pixels; n += LANES) {
        scratch.tile[n] = 0;
    }
    for (unsigned n = first_warp(); n < geometry.patches; n += warp_count()) {
        const Patch patch = patch_of(geometry, n, lane);
        Vote<T> &vote = scratch.votes[lane];
        __syncwarp();  // the last patch's votes are no longer read
        prepare<T, RULE>(geometry, patch, confidence, offsets, sigma, width, truncate, &vote);
        __syncwarp();
        const Box own = window_of(vote);
        Sum *map = sums + patch.map * geometry.map_height * geometry.map_width;
        const T scale = peaks ? Scale<T>::power(fraction_bits<T>(bits, peaks[patch.map])) : 1;
        unsigned waiting =
            __ballot_sync(ALL, own.rows > 0 && own.columns > 0 && vote.confidence != 0);
        while (waiting) {
            const int leader = __ffs((int)waiting) - 1;
            const Box window = window_of(scratch.votes[leader]);
            const unsigned group = companions(window, own, waiting);
            waiting &= ~group;
            if (group & (group - 1)) {
                cast<T, RULE, true>(scratch, group, box_around(own, group >> lane & 1), map,
                                    (int)geometry.map_width, scale, lane);
            } else {
                cast<T, RULE, false>(scratch, group, window, map, (int)geometry.map_width, scale, lane);
            }
        }
    }
}

// |φ| of a vote at its very position, where it is strongest.
template <typename T, int RULE> __device__ inline T strength_of(const Vote<T> &vote)
{
    if (RULE != NOISY_OR) {
        return fabs(vote.confidence * vote.scale);
    }
    return fabs(log_complement(vote.confidence, (T)1 - vote.confidence));
}

// The largest exponent of a finite |φ| among the votes for each map, as e + PEAK_BIAS with
// |φ| < 2^e, into zeroed peaks [maps].
template <typename T, int RULE>
__global__ void peak(Geometry geometry, const T *confidence, const T *offsets, const T *sigma,
                     T width, T truncate, int *peaks)
{
    const int lane = threadIdx.x % LANES;
    for (unsigned n = first_warp(); n < geometry.patches; n += warp_count()) {
        const Patch patch = patch_of(geometry, n, lane);
        Vote<T> vote;
        prepare<T, RULE>(geometry, patch, confidence, offsets, sigma, width, truncate, &vote);
        const T strength = strength_of<T, RULE>(vote);
        const bool counts = vote.x.count > 0 && vote.y.count > 0 && isfinite(strength);
        const int peak = counts ? PEAK_BIAS + Scale<T>::exponent(strength) : 0;
        const int highest = -least_of_warp(-peak);
        if (lane == 0 && highest > 0) {
            atomicMax(peaks + patch.map, highest);
        }
    }
}

// The fixed-point sums as numbers, marks as inf and NaN.
template <typename T>
__global__ void read_out(const long long *sums, T *values, long long maps, long long pixels,
                         const int *peaks, int bits)
{
    for (long long map = blockIdx.y; map < maps; map += gridDim.y) {
        const T unit = Scale<T>::power(-fraction_bits<T>(bits, peaks[map]));
        for (long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x; n < pixels;
             n += (long long)gridDim.x * blockDim.x) {
            const long long sum = sums[map * pixels + n];
            const T infinity = Scale<T>::infinity();
            const T marked = sum > INFINITE_MARK / 2 + NAN_MARK / 2 ? infinity - infinity : infinity;
            values[map * pixels + n] = sum > INFINITE_MARK / 2 ? marked : (T)sum * unit;
        }
    }
}
