// CUDA C++ on a CPU: gives the kernels' text its meaning when a C++20 compiler reads it.
//
// A block's threads are fibers on one OS thread. A fiber runs until it waits for others (a barrier,
// a shuffle, a vote), and then a random fiber that can run goes on; blocks run in random order, one
// at a time. So whatever depends on an order that CUDA does not promise comes out differently for
// another seed, and a missing barrier shows. Shared memory holds a pattern that changes with the
// seed when a block starts. What a GPU would punish with a hang or silently wrong results is
// reported as a fault: a deadlock, lanes of a warp that meet in different operations, a shuffle from
// a lane that takes no part.
#pragma once

#include <math.h>  // the overloads for float, in the global namespace as in CUDA

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "executor.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#if defined(__SANITIZE_ADDRESS__)
#define __shared__ static  // guarded by the sanitizer, which overlooks thread-local variables
#else
#define __shared__ static thread_local  // so that it lies in one piece, see poison_shared
#endif

inline void __syncthreads()
{
    cuda_host::block.at_barrier.push_back(cuda_host::block.current);
    cuda_host::release_barrier();
    cuda_host::pause();
}
inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    cuda_host::meet(cuda_host::Operation::sync, mask, 0, 0);
}
template <typename T> T __shfl_sync(unsigned mask, T value, int source)
{
    return cuda_host::shuffle(mask, value, source);
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int lanes)
{
    return cuda_host::shuffle(mask, value, cuda_host::lane() ^ lanes);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned lanes)
{
    const int source = cuda_host::lane() + static_cast<int>(lanes);
    return cuda_host::shuffle(mask, value, source < 32 ? source : cuda_host::lane());
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned lanes)
{
    const int source = cuda_host::lane() - static_cast<int>(lanes);
    return cuda_host::shuffle(mask, value, source >= 0 ? source : cuda_host::lane());
}
inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    return static_cast<unsigned>(
        cuda_host::meet(cuda_host::Operation::ballot, mask, predicate != 0, 0));
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// Only the types that CUDA has: long long has no atomicAdd there either.
template <typename T, typename Function> T cuda_host_atomic(T *address, Function change)
{
    const T old = *address;
    ++cuda_host::atomics;
    *address = change(old);
    return old;
}
#define CUDA_HOST_ATOMIC(name, type, expression)                                                   \
    inline type name(type *address, type value)                                                    \
    {                                                                                              \
        return cuda_host_atomic(address, [=](type old) -> type { return expression; });            \
    }
CUDA_HOST_ATOMIC(atomicAdd, int, old + value)
CUDA_HOST_ATOMIC(atomicAdd, unsigned, old + value)
CUDA_HOST_ATOMIC(atomicAdd, unsigned long long, old + value)
CUDA_HOST_ATOMIC(atomicAdd, float, old + value)
CUDA_HOST_ATOMIC(atomicAdd, double, old + value)
CUDA_HOST_ATOMIC(atomicMax, int, std::max(old, value))
CUDA_HOST_ATOMIC(atomicMax, unsigned, std::max(old, value))
CUDA_HOST_ATOMIC(atomicMax, long long, std::max(old, value))
CUDA_HOST_ATOMIC(atomicMax, unsigned long long, std::max(old, value))
CUDA_HOST_ATOMIC(atomicMin, int, std::min(old, value))
CUDA_HOST_ATOMIC(atomicMin, unsigned, std::min(old, value))
CUDA_HOST_ATOMIC(atomicMin, long long, std::min(old, value))
CUDA_HOST_ATOMIC(atomicMin, unsigned long long, std::min(old, value))
CUDA_HOST_ATOMIC(atomicOr, unsigned, old | value)
CUDA_HOST_ATOMIC(atomicOr, unsigned long long, old | value)
CUDA_HOST_ATOMIC(atomicExch, unsigned long long, ((void)old, value))

template <typename T> T __ldg(const T *address) { return *address; }
inline void __threadfence() {}

inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline long long __float2ll_rn(float x) { return std::llrintf(x); }
inline long long __double2ll_rn(double x) { return std::llrint(x); }

using std::max;
using std::min;
