// How fast a device runs the noisy-or's inner loop from registers; see roofline.py. Every thread has
// PIXELS products of its own and multiplies ROWS factors into each of them, `times` times over.

constexpr int PIXELS = 8;
constexpr int ROWS = 256;

extern "C" __global__ void roofline(const float *weight, const float *confidence, float *product,
                                    int times)
{
    __shared__ float g[ROWS];
    for (int n = (int)threadIdx.x; n < ROWS; n += (int)blockDim.x) {
        g[n] = confidence[n];
    }
    __syncthreads();
    float a[PIXELS], q[PIXELS];
    for (int k = 0; k < PIXELS; ++k) {
        a[k] = weight[(threadIdx.x + k) % PIXELS];
        q[k] = 1.0f;
    }
    for (int time = 0; time < times; ++time) {
        #pragma unroll 8
        for (int n = 0; n < ROWS; ++n) {
            for (int k = 0; k < PIXELS; ++k) {
                q[k] *= 1.0f - g[n] * a[k];
            }
        }
    }
    const long long first = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * PIXELS;
    for (int k = 0; k < PIXELS; ++k) {
        product[first + k] = q[k];
    }
}
