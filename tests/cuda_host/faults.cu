// Kernels with faults, and beside each its right counterpart; each fault must be caught.

template <bool FAULTY> __global__ void write_beyond(int *values, int count)
{
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (FAULTY || n < count) {
        values[n] = n;
    }
}

template <bool FAULTY> __global__ void read_beyond(const int *values, int count, int *sum)
{
    for (int n = threadIdx.x; n < count + (FAULTY ? 1 : 0); n += blockDim.x) {
        atomicAdd(sum, values[n]);
    }
}

template <bool FAULTY> __global__ void reverse(int *values)
{
    __shared__ int copies[64];
    copies[threadIdx.x] = values[threadIdx.x];
    if (!FAULTY) {
        __syncthreads();
    }
    values[threadIdx.x] = copies[blockDim.x - 1 - threadIdx.x];
}

template <bool FAULTY> __global__ void sum_of_neighbours(const int *values, int *sums)
{
    __shared__ int copies[66];
    copies[threadIdx.x + 1] = values[threadIdx.x];
    if (!FAULTY && threadIdx.x == 0) {
        copies[0] = copies[65] = 0;
    }
    __syncthreads();
    sums[threadIdx.x] = copies[threadIdx.x] + copies[threadIdx.x + 2];
}

template <bool FAULTY> __global__ void pick(float *values, float limit)
{
    float picked;
    if (!FAULTY) {
        picked = 0;
    }
    if (values[threadIdx.x] > limit) {
        picked = 1;
    }
    values[threadIdx.x] = picked;
}

template <bool FAULTY> __global__ void sum_of_warp(int *values)
{
    int sum = values[threadIdx.x];
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        if (!FAULTY || threadIdx.x % 32 < lanes) {
            sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
        }
    }
    values[threadIdx.x] = sum;
}

template <bool FAULTY> __global__ void first_of_half(int *values)
{
    if (threadIdx.x % 32 < 16) {
        values[threadIdx.x] = __shfl_sync(0xffffu, values[threadIdx.x], FAULTY ? 16 : 0);
    }
}

template <bool FAULTY> __global__ void meet(int *values)
{
    if (FAULTY && threadIdx.x == 0) {
        __ballot_sync(0xffffffffu, 1);
    } else {
        __syncwarp();
    }
    values[threadIdx.x] = 1;
}

template <bool FAULTY> __global__ void half_way(int *values)
{
    if (!FAULTY || threadIdx.x < 40) {
        __syncthreads();
    }
    if (FAULTY && threadIdx.x >= 40) {
        __ballot_sync(0xffffffffu, 1);
    }
    values[threadIdx.x] = 1;
}
