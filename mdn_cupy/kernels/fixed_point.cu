// Sums that do not depend on the order of their terms: 64-bit fixed point.
//
// What warps add to a map is converted to integers, and integer addition commutes: the same bits come
// out for any order of threads, warps and blocks. The scale is a power of two for each map.
//
// The bound. `peak` first finds, for every map, the exponent e of the strongest vote that a
// source may cast there, |φ(c)| < 2^e. With N sources that may vote for one pixel and 2^s units to one,
//
//     |Σ| <= N·2^e·2^s <= 2^60    for    s = 60 − ceil(log2 N) − e
//
// With N = 128·128 the unit is 2^-46 of the strongest vote, and with a saturated float noisy-or
// (|φ| <= 16.7) 2^-41. Rounding is to nearest, once per group of votes and pixel. Nothing waits for
// the peaks: they stay on the device.
//
// Not numbers. Sums stay within 2^60 of 0, so a mark far above can tell what no sum can say: an
// infinite vote (of a sum; the noisy-or floors its factor) raises the sum to 3·2^60, a NaN (or
// a vote of −inf) to 6.5·2^60, by an atomic maximum. Whatever else is added moves a marked sum by
// less than 1.2·2^60 and so cannot hide it, nor overflow; the read-out turns the marks into inf and
// NaN. An infinite vote does no harm beyond its window: it does not count for the peak. With float
// atomics these values need no marks.

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
// that nothing votes there.
constexpr int PEAK_BIAS = 2048;

template <typename T> __device__ inline int fraction_bits(int bits, int peak)
{
    return min(bits - (peak - PEAK_BIAS), Scale<T>::finest);
}

template <typename T> __device__ inline void deposit(T *sum, T term, T)
{
    if (term != 0) {
        atomicAdd(sum, term);
    }
}

template <typename T> __device__ inline void deposit(long long *sum, T term, T scale)
{
    if (term == 0) {
        return;
    }
    if (isfinite(term)) {
        atomicAdd((unsigned long long *)sum,
                  (unsigned long long)Scale<T>::integer(term * scale));
    } else {
        atomicMax(sum, term > 0 ? INFINITE_MARK : NAN_MARK);
    }
}

__device__ inline int least_of_warp(int value)
{
    for (int lanes = WARP_SIZE / 2; lanes > 0; lanes /= 2) {
        value = min(value, __shfl_xor_sync(ALL, value, lanes));
    }
    return value;
}

// The largest exponent of a finite |φ| among the votes for each map, as e + PEAK_BIAS with
// |φ| < 2^e, into zeroed peaks [maps].
template <typename T, int RULE>
__global__ void peak(Geometry geometry, const T *confidence, const T *offsets, const T *sigma,
                     T width, T truncate, int *peaks)
{
    const int lane = threadIdx.x % WARP_SIZE;
    for (unsigned n = first_warp(); n < geometry.patches; n += warp_count()) {
        const Patch patch = patch_of(geometry, n, lane);
        Vote<T> vote;
        prepare<T, RULE>(geometry, patch, confidence, offsets, sigma, width, truncate, &vote);
        const T strength = strength_of<T, RULE>(vote);
        const bool counts = vote.x.count > 0 && vote.y.count > 0 && isfinite(strength);
        const int own = counts ? PEAK_BIAS + Scale<T>::exponent(strength) : 0;
        const int highest = -least_of_warp(-own);
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
