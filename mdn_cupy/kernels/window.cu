// Which pixels a vote reaches, decided exactly.
//
// The specification is in float64: p = (origin + stride·index) + offset, each axis with its own
// origin and stride, and pixel k is in the
// window if |k − p| <= truncate·σ. At the window's edge a vote still weighs exp(−8) = 3e-4, so a
// float32 kernel that rounds p to float32 is wrong by 30 times the tolerance wherever it errs by a
// pixel, which on a map of 1000 pixels is often. The float kernel therefore decides in fixed point:
// positions in 128-bit integers, in units of 2^-64 pixel, rounded where float64 would round. It
// chooses the very pixels of the specification (but for positions within 2^-64 of a tie), with no
// float64 instruction. A lane does this once for its source, while a source has hundreds of votes.
//
// No position beyond 2^50 pixels votes, nor one that is not finite, so no index can overflow.

typedef __int128 Fixed;  // in units of 2^-64 pixel; magnitudes stay below 2^52 pixels

constexpr int FRACTION_BITS = 64;
constexpr int FARTHEST_LOG2 = 50;                                             // of a position
constexpr Fixed WIDEST = (Fixed)1 << (FARTHEST_LOG2 + 1 + FRACTION_BITS);     // of a window

// The window along one axis. The distance of its pixel k from p is (lead + k) − fraction, in which
// only the last subtraction rounds: near p the distance is as good as the offset was.
template <typename T> struct Span {
    int first, count;  // pixels of the map
    T lead;            // first − the pixel nearest to p
    T fraction;        // p − the pixel nearest to p
};

// significand · 2^exponent. What lies below the last bit is not lost but kept in it ("sticky").
__device__ inline Fixed fixed(unsigned long long significand, int exponent)
{
    const int shift = exponent + FRACTION_BITS;
    if (shift >= 0) {
        return (Fixed)significand << shift;
    }
    if (shift <= -64) {
        return significand != 0;
    }
    const unsigned long long kept = significand >> -shift;
    return kept | (unsigned long long)(kept << -shift != significand);
}

__device__ inline unsigned long long significand_of(unsigned bits)
{
    return (bits & 0x7fffffu) | (bits & 0x7f800000u ? 0x800000u : 0u);
}

__device__ inline int exponent_of(unsigned bits)
{
    const int field = (int)(bits >> 23 & 0xffu);
    return (field ? field : 1) - 150;
}

__device__ inline Fixed fixed_float64(long long bits)
{
    const int field = (int)(bits >> 52 & 0x7ff);
    const unsigned long long hidden = field ? 1ull << 52 : 0;
    const Fixed size = fixed((bits & 0xfffffffffffffll) | hidden, (field ? field : 1) - 1075);
    return bits < 0 ? -size : size;
}

// To the 53 significant bits of a float64, ties to even.
__device__ inline Fixed rounded(Fixed value)
{
    Fixed size = value < 0 ? -value : value;
    const unsigned long long high = (unsigned long long)(size >> 64);
    const unsigned long long low = (unsigned long long)size;
    const int leading = high ? 127 - __clzll((long long)high) : 63 - __clzll((long long)low);
    const int drop = leading - 52;  // at most 63
    if (drop > 0) {
        const unsigned long long below = (1ull << drop) - 1;
        size += (below >> 1) + (low >> drop & 1);
        size -= (unsigned long long)size & below;
    }
    return value < 0 ? -size : size;
}

// p along one axis, of whose origin and stride the bits are given; false where there is none.
__device__ inline bool locate(long long origin, long long stride, long long index, float offset,
                              Fixed *p)
{
    const unsigned bits = __float_as_uint(offset);
    if ((bits & 0x7fffffffu) >= (unsigned)(FARTHEST_LOG2 + 127) << 23) {  // inf and NaN as well
        return false;
    }
    const Fixed size = fixed(significand_of(bits), exponent_of(bits));
    const Fixed step = rounded(fixed_float64(stride) * index);
    const Fixed source = rounded(fixed_float64(origin) + step);
    *p = rounded(bits >> 31 ? source - size : source + size);
    return true;
}

__device__ inline bool locate(long long origin, long long stride, long long index, double offset,
                              double *p)
{
    const double step = __dmul_rn(__longlong_as_double(stride), (double)index);
    *p = __dadd_rn(__dadd_rn(__longlong_as_double(origin), step), offset);
    return fabs(*p) < (double)(1ll << FARTHEST_LOG2);
}

// The largest distance that float64 would round to truncate·σ or less. The product of two floats
// has 48 significant bits, so as a float64 it is even: half a unit in its last place above it is
// the last distance that rounds down to it.
__device__ inline Fixed reach_of(float truncate, float sigma)
{
    const unsigned a = __float_as_uint(truncate), b = __float_as_uint(sigma);
    const unsigned long long product = significand_of(a) * significand_of(b);
    const int zeros = __clzll((long long)product) - 11;  // to the 53 bits of a float64
    const int exponent = exponent_of(a) + exponent_of(b) - zeros;
    if (exponent + 53 > FARTHEST_LOG2) {
        return WIDEST;
    }
    return fixed((product << zeros) * 2 + 1, exponent - 1);
}

__device__ inline double reach_of(double truncate, double sigma)
{
    return fmin(__dmul_rn(truncate, sigma), (double)(1ll << (FARTHEST_LOG2 + 1)));
}

template <typename T>
__device__ inline Span<T> clipped(long long first, long long last, long long near, long long size,
                                  T fraction)
{
    first = first < 0 ? 0 : first;
    last = last < size ? last : size - 1;
    const int count = first <= last ? (int)(last - first + 1) : 0;
    return {count ? (int)first : 0, count, (T)(first - near), fraction};
}

__device__ inline Span<float> span_of(Fixed p, Fixed reach, long long size)
{
    const long long last = (long long)((p + reach) >> 64);
    const long long first = -(long long)((reach - p) >> 64);
    const long long fraction = (long long)(unsigned long long)p;  // signed: from the nearest pixel
    const long long near = (long long)((p - fraction) >> 64);
    return clipped(first, last, near, size, (float)fraction * 0x1p-64f);
}

__device__ inline Span<double> span_of(double p, double reach, long long size)
{
    long long last = (long long)floor(p + reach) + 1;
    while ((double)last - p > reach) {
        --last;
    }
    long long first = (long long)ceil(p - reach) - 1;
    while (p - (double)first > reach) {
        ++first;
    }
    const long long near = (long long)rint(p);
    return clipped(first, last, near, size, p - (double)near);
}

// The window along an axis of the source in row or column `index`; empty if it has no position.
template <typename T, typename Position>
__device__ inline Span<T> span_of(long long origin, long long stride, int index, T offset,
                                  Position reach, long long size)
{
    Position p;
    return locate(origin, stride, index, offset, &p) ? span_of(p, reach, size) : Span<T>{};
}
