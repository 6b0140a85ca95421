// The term φ(v) that a vote v = w·c adds to a pixel, and its slope: all that tells the rules apart.

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
__device__ inline T term_of(const Factor<T> &column, const Factor<T> &row)
{
    const T v = column.weight * row.weight;
    if (RULE != NOISY_OR) {
        return v;
    }
    return log_complement(v, column.complement - column.weight * row.complement);
}

// |φ| of a vote at its very position, where it is strongest.
template <typename T, int RULE> __device__ inline T strength_of(const Vote<T> &vote)
{
    if (RULE != NOISY_OR) {
        return fabs(vote.confidence * vote.scale);
    }
    return fabs(log_complement(vote.confidence, (T)1 - vote.confidence));
}

__device__ inline float reciprocal(float x) { return __fdividef(1.0f, x); }
__device__ inline double reciprocal(double x) { return 1.0 / x; }

// φ'(v), from u = 1 − v.
template <typename T, int RULE>
__device__ inline T slope(const Factor<T> &column, const Factor<T> &row)
{
    if (RULE != NOISY_OR) {
        return 1;
    }
    const T u = column.complement - column.weight * row.complement;
    return -reciprocal(u < Limits<T>::saturation() ? Limits<T>::saturation() : u);
}
