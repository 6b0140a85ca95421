// One source's vote: its window, its strength, and the factors from which its weights are made.
//
// The Gaussian is separable, w = g(dx)·g(dy), so a window of R rows and C columns costs R + C
// exponentials, shared by the lanes, and no pixel costs one.
//
// The noisy-or needs 1 − w·c to full *relative* precision, or L and the gradients of confident
// votes near a pixel's centre drown in the rounding of w (1 − w = 1e-4 has three digits in float32).
// With e(d) = exp(−d²/2σ²) − 1 from expm1,
//
//     1 − w·c  =  [(1 − c) − c·e(dx)]  −  g(dx)·[c·e(dy)]
//
// has no cancellation for c <= 1: one multiply-add per pixel, from factors kept per row and column.

constexpr int SPAN = 64;  // rows or columns of a window that are worked on at a time

template <typename T> struct Limits;
template <> struct Limits<float> {
    static __device__ float least_sigma() { return 1.17549435e-38f; }  // 1/σ is finite from here
    static __device__ float saturation() { return 0x1p-24f; }          // floor of 1 − w·c
};
template <> struct Limits<double> {
    static __device__ double least_sigma() { return 2.2250738585072014e-308; }
    static __device__ double saturation() { return 0x1p-53; }
};

template <typename T> struct Vote {
    T confidence;
    T scale;      // 1, or 1/(2πσ²)
    T inverse;    // 1/σ
    Span<T> x, y; // empty where nothing is cast
};

// What a pixel needs to know about its column, or its row, of the window.
template <typename T> struct Factor {
    T weight;      // g; in a row of `accumulate` times c·scale, of `gather` times scale
    T complement;  // column: (1 − c) − c·e; row: c·e
};

template <typename T> struct Moment : Factor<T> {
    T distance;  // d/σ
    T square;    // (d/σ)²
};

__device__ inline float exponential(float x) { return exp2f(x * 1.44269504f); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float exponential_less_one(float x) { return expm1f(x); }
__device__ inline double exponential_less_one(double x) { return expm1(x); }

// The amplitude of a vote's kernel: 1, or 1/(2πσ²).
template <typename T, int RULE> __device__ inline T scale_of(T inverse)
{
    return RULE == ADDITIVE ? (T)0.15915494309189535 * inverse * inverse : (T)1;
}

template <typename T> __device__ inline T sigma_of(const Geometry &geometry, const Patch &patch,
                                                   const T *sigma, T width)
{
    if (sigma == nullptr) {
        return width;
    }
    return sigma[patch.sigma + patch.row * geometry.sigma_row
                 + patch.column * geometry.sigma_column];
}

// For the noisy-or an infinite confidence counts as ±2^100, so that no inf − inf arises and the floor
// under 1 − w·c takes it. NaN passes both comparisons.
template <typename T, int RULE> __device__ inline T tamed(T confidence)
{
    const T most = (T)0x1p100;
    if (RULE != NOISY_OR) {
        return confidence;
    }
    return confidence > most ? most : confidence < -most ? -most : confidence;
}

// Prepares the vote of this lane's source.
template <typename T, int RULE>
__device__ inline void prepare(const Geometry &geometry, const Patch &patch, const T *confidence,
                               const T *offsets, const T *sigma, T width, T truncate,
                               Vote<T> *vote)
{
    *vote = Vote<T>{};
    if (!patch.source) {
        return;
    }
    const T spread = sigma_of(geometry, patch, sigma, width);
    const long long offset = patch.offsets + patch.row * geometry.offsets_row
                             + patch.column * geometry.offsets_column;
    if (!(spread >= Limits<T>::least_sigma())) {
        return;
    }
    const auto reach = reach_of(truncate, spread);
    vote->x = span_of(geometry.origin_x, geometry.stride_x, patch.column, offsets[offset], reach,
                      geometry.map_width);
    vote->y = span_of(geometry.origin_y, geometry.stride_y, patch.row,
                      offsets[offset + geometry.offsets_component], reach, geometry.map_height);
    vote->confidence = tamed<T, RULE>(
        confidence[patch.confidence + patch.row * geometry.confidence_row
                   + patch.column * geometry.confidence_column]);
    vote->inverse = (T)1 / spread;
    vote->scale = scale_of<T, RULE>(vote->inverse);
}

// A rectangle of pixels.
struct Box {
    int row, column, rows, columns;
};

template <typename T> __device__ inline Box window_of(const Vote<T> &vote)
{
    return {vote.y.first, vote.x.first, vote.y.count, vote.x.count};
}

__device__ inline Box intersection(const Box &a, const Box &b)
{
    const int row = max(a.row, b.row), column = max(a.column, b.column);
    return {row, column, min(a.row + a.rows, b.row + b.rows) - row,
            min(a.column + a.columns, b.column + b.columns) - column};
}

// d/σ of the n-th of a part's columns and, after them, its rows.
template <typename T>
__device__ inline T scaled_distance(const Vote<T> &vote, const Box &part, int n)
{
    const bool row = n >= part.columns;
    const Span<T> &span = row ? vote.y : vote.x;
    const int pixel = row ? part.row + n - part.columns : part.column + n;
    return ((span.lead + (T)(pixel - span.first)) - span.fraction) * vote.inverse;
}

// The factors of that column or row; `strength` is what multiplies the weight of a row.
template <typename T, int RULE>
__device__ inline Factor<T> factor_of(const Vote<T> &vote, bool row, T distance, T strength)
{
    const T exponent = (T)-0.5 * distance * distance;
    const T weight = exponential(exponent);
    Factor<T> factor = {row ? strength * weight : weight, 0};
    if (RULE == NOISY_OR) {
        const T pulled = vote.confidence * exponential_less_one(exponent);
        factor.complement = row ? pulled : ((T)1 - vote.confidence) - pulled;
    }
    return factor;
}

// Walks the lanes of a warp over the pixels of a part in reading order, all of them busy. `visit`
// takes a pixel's row and column within the part; the host keeps strides of maps below 2^23, so that
// offsets within a part fit 32 bits.
template <typename Visit>
__device__ inline void each_pixel(const Box &part, int lane, Visit visit)
{
    const float inverse = __fdividef(1.0f, (float)part.columns);  // exact enough up to SPAN columns
    int row = (int)(((float)lane + 0.5f) * inverse);
    int column = lane - row * part.columns;
    const int down = (int)(((float)WARP_SIZE + 0.5f) * inverse);
    const int across = WARP_SIZE - down * part.columns;
    #pragma unroll 1
    while (row < part.rows) {
        visit(row, column);
        row += down;
        column += across;
        if (column >= part.columns) {
            column -= part.columns;
            ++row;
        }
    }
}
