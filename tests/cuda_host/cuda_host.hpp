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

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <link.h>
#include <math.h>  // the overloads for float, in the global namespace as in CUDA

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

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

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace cuda_host {

constexpr int warpSize = 32;

struct Random {  // xorshift: an order must be arbitrary, not good
    std::uint64_t state;
    unsigned below(unsigned n)
    {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<unsigned>((state >> 32) * n >> 32);
    }
};

// Context switch ---------------------------------------------------------------------------------
// Saves the registers that a call preserves on the stack, and the stack pointer in *from.

extern "C" void cuda_host_switch(void **from, void *to);
#if defined(__x86_64__)
asm(R"(
.text
.globl cuda_host_switch
.hidden cuda_host_switch
cuda_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
constexpr int saved_words = 6, return_word = 6, frame_words = 8;
#elif defined(__aarch64__)
asm(R"(
.text
.globl cuda_host_switch
.hidden cuda_host_switch
cuda_host_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
constexpr int return_word = 11, frame_words = 20;
#else
#error "cuda_host needs a context switch for this processor"
#endif

// The block that runs ----------------------------------------------------------------------------

constexpr std::size_t stack_bytes = 1 << 17;

enum class Operation : int { none, sync, shuffle, ballot };

struct Fiber {
    void *stack_pointer = nullptr;
    std::vector<char> stack;
    uint3 index{};
    bool done = false;
    void *fake_stack = nullptr;  // the sanitizer's
    // What the thread brings to a warp operation, and takes from it.
    std::uint64_t value = 0, result = 0;
    int source = 0;
};

struct Warp {
    unsigned arrived = 0, mask = 0;
    Operation operation = Operation::none;
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<unsigned> runnable, at_barrier;
    unsigned current = 0, alive = 0;
    void *scheduler = nullptr;
    void *scheduler_fake_stack = nullptr;
    const void *scheduler_stack = nullptr;
    std::size_t scheduler_stack_size = 0;
    void (*body)(void *) = nullptr;
    void *argument = nullptr;
    Random random{1};
    char fault[256] = "";
};

inline Block block;
inline unsigned long long atomics = 0;  // of the last launch

inline void enter(void *&fake_stack, bool finished, const void *bottom, std::size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(finished ? nullptr : &fake_stack, bottom, size);
#else
    (void)fake_stack, (void)finished, (void)bottom, (void)size;
#endif
}

inline void entered(void *fake_stack, bool from_scheduler)
{
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom;
    std::size_t size;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
    if (from_scheduler) {
        block.scheduler_stack = bottom;
        block.scheduler_stack_size = size;
    }
#else
    (void)fake_stack, (void)from_scheduler;
#endif
}

// Back to the scheduler, until it picks this fiber again.
inline void pause()
{
    Fiber &self = block.fibers[block.current];
    enter(self.fake_stack, self.done, block.scheduler_stack, block.scheduler_stack_size);
    cuda_host_switch(&self.stack_pointer, block.scheduler);
    entered(self.fake_stack, true);
}

[[noreturn]] inline void fail(const char *what)
{
    std::snprintf(block.fault, sizeof block.fault,
                  "%s, in thread (%u, %u, %u) of block (%u, %u, %u)", what, threadIdx.x,
                  threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z);
    for (;;) {
        pause();  // the scheduler gives the block up
    }
}

inline void thread_main()
{
    entered(nullptr, true);
    block.body(block.argument);
    block.fibers[block.current].done = true;
    pause();
}

inline void prepare_fiber(Fiber &fiber)
{
    fiber.stack.resize(stack_bytes);
    const auto end = reinterpret_cast<std::uintptr_t>(fiber.stack.data() + stack_bytes);
    void **frame = reinterpret_cast<void **>(end / 16 * 16) - frame_words;
    std::fill(frame, frame + frame_words, nullptr);
    frame[return_word] = reinterpret_cast<void *>(&thread_main);
    fiber.stack_pointer = frame;
    fiber.done = false;
    fiber.fake_stack = nullptr;
}

inline void release_barrier()
{
    if (!block.at_barrier.empty() && block.at_barrier.size() == block.alive) {
        block.runnable.swap(block.at_barrier);
    }
}

inline void resume(unsigned thread)
{
    Fiber &fiber = block.fibers[thread];
    block.current = thread;
    threadIdx = fiber.index;
    enter(block.scheduler_fake_stack, false, fiber.stack.data(), fiber.stack.size());
    cuda_host_switch(&block.scheduler, fiber.stack_pointer);
    entered(block.scheduler_fake_stack, false);
    if (fiber.done) {
        --block.alive;
        release_barrier();
    }
}

// Runs all threads of a block; false if a fault was found.
inline bool run_block()
{
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    block.fibers.resize(threads);
    block.warps.assign((threads + warpSize - 1) / warpSize, Warp{});
    block.runnable.clear();
    block.at_barrier.clear();
    block.alive = threads;
    for (unsigned n = 0; n < threads; ++n) {
        prepare_fiber(block.fibers[n]);
        block.fibers[n].index = {n % blockDim.x, n / blockDim.x % blockDim.y,
                                 n / blockDim.x / blockDim.y};
        block.runnable.push_back(n);
    }
    while (!block.runnable.empty()) {
        const unsigned pick = block.random.below(static_cast<unsigned>(block.runnable.size()));
        const unsigned thread = block.runnable[pick];
        block.runnable[pick] = block.runnable.back();
        block.runnable.pop_back();
        resume(thread);
        if (block.fault[0]) {
            return false;
        }
    }
    if (block.alive) {
        std::snprintf(block.fault, sizeof block.fault,
                      "deadlock: %u threads of block (%u, %u, %u) wait for others for ever",
                      block.alive, blockIdx.x, blockIdx.y, blockIdx.z);
        return false;
    }
    return true;
}

// Warp operations --------------------------------------------------------------------------------

inline void finish(Warp &warp, unsigned first)
{
    Fiber *lanes = &block.fibers[first];
    unsigned votes = 0;
    for (unsigned left = warp.arrived; left; left &= left - 1) {
        const int lane = std::countr_zero(left);
        votes |= static_cast<unsigned>(lanes[lane].value != 0) << lane;
    }
    for (unsigned left = warp.arrived; left; left &= left - 1) {
        Fiber &fiber = lanes[std::countr_zero(left)];
        if (warp.operation == Operation::ballot) {
            fiber.result = votes;
        } else if (warp.operation == Operation::shuffle) {
            if (!(warp.arrived >> fiber.source & 1)) {
                fail("shuffle from a lane that takes no part");
            }
            fiber.result = lanes[fiber.source].value;
        }
    }
}

// Meets the other lanes of `mask` in an operation; the last to come works out everyone's result.
inline std::uint64_t meet(Operation operation, unsigned mask, std::uint64_t value, int source)
{
    const unsigned self = block.current, first = self / warpSize * warpSize;
    const unsigned lane = self % warpSize;
    Warp &warp = block.warps[self / warpSize];
    if (!(mask >> lane & 1)) {
        fail("a lane calls a warp operation whose mask leaves it out");
    }
    if (warp.arrived && (warp.mask != mask || warp.operation != operation)) {
        fail("lanes of a warp meet in different operations or with different masks");
    }
    warp.mask = mask;
    warp.operation = operation;
    warp.arrived |= 1u << lane;
    block.fibers[self].value = value;
    block.fibers[self].source = source;
    const unsigned present =
        static_cast<unsigned>(std::min<std::size_t>(warpSize, block.fibers.size() - first));
    const unsigned expected = present == warpSize ? mask : mask & ((1u << present) - 1);
    if (warp.arrived == expected) {
        finish(warp, first);
        for (unsigned left = expected; left; left &= left - 1) {
            block.runnable.push_back(first + std::countr_zero(left));
        }
        warp.arrived = 0;
    }
    pause();
    return block.fibers[self].result;
}

template <typename T> T shuffle(unsigned mask, T value, int source)
{
    static_assert(sizeof(T) <= 8 && std::is_arithmetic_v<T>);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = meet(Operation::shuffle, mask, bits, source & (warpSize - 1));
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

inline int lane() { return static_cast<int>(block.current % warpSize); }

// Launching --------------------------------------------------------------------------------------

// What the host may pass for a parameter: a NumPy kind and size, or P for an address.
template <typename T> void describe(char *&out)
{
    using Plain = std::remove_cv_t<T>;
    const char kind = std::is_pointer_v<Plain>            ? 'P'
                      : std::is_same_v<Plain, bool>       ? 'b'
                      : std::is_floating_point_v<Plain>   ? 'f'
                      : std::is_signed_v<Plain>           ? 'i'
                      : std::is_unsigned_v<Plain>         ? 'u'
                                                          : 'V';
    out += std::sprintf(out, "%c%zu ", kind, sizeof(Plain));
}

template <typename> struct Kernel;
template <typename... Parameters> struct Kernel<void (*)(Parameters...)> {
    static void signature(char *out)
    {
        *out = 0;
        (describe<Parameters>(out), ...);
    }

    template <std::size_t... n>
    static void call(void (*kernel)(Parameters...), void **arguments, std::index_sequence<n...>)
    {
        kernel(*static_cast<std::remove_cv_t<Parameters> *>(arguments[n])...);
    }

    struct Call {
        void (*kernel)(Parameters...);
        void **arguments;
    };

    static void thread(void *argument)
    {
        const Call &self = *static_cast<Call *>(argument);
        call(self.kernel, self.arguments, std::index_sequence_for<Parameters...>{});
    }
};

// All thread-local variables of this library are shared memory: fills them with a pattern.
inline thread_local char within_shared;

inline int poison_library(dl_phdr_info *info, std::size_t, void *pattern)
{
    char *first = static_cast<char *>(info->dlpi_tls_data);
    for (int n = 0; first && n < info->dlpi_phnum; ++n) {
        const std::size_t size = info->dlpi_phdr[n].p_memsz;
        if (info->dlpi_phdr[n].p_type == PT_TLS && first <= &within_shared
            && &within_shared < first + size) {
            std::memset(first, *static_cast<int *>(pattern), size);
            return 1;
        }
    }
    return 0;
}

inline void poison_shared(int pattern)
{
#if !defined(__SANITIZE_ADDRESS__)
    dl_iterate_phdr(poison_library, &pattern);
#else
    (void)pattern;
#endif
}

// Runs a grid; null, or what went wrong.
template <typename Function>
const char *launch(Function kernel, const unsigned *shape, std::uint64_t seed, void **arguments)
{
    typename Kernel<Function>::Call call{kernel, arguments};
    block.body = Kernel<Function>::thread;
    block.argument = &call;
    block.random = {seed * 0x9e3779b97f4a7c15u | 1};
    block.fault[0] = 0;
    atomics = 0;
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], shape[4], shape[5]};
    std::vector<unsigned> order(gridDim.x * gridDim.y * gridDim.z);
    for (unsigned n = 0; n < order.size(); ++n) {
        order[n] = n;
        std::swap(order[n], order[block.random.below(n + 1)]);
    }
    for (const unsigned n : order) {
        blockIdx = {n % gridDim.x, n / gridDim.x % gridDim.y, n / gridDim.x / gridDim.y};
        poison_shared(seed % 2 ? 0xff : 0x7f);  // NaN and −1, or huge
        if (!run_block()) {
            return block.fault;
        }
    }
    return nullptr;
}

}  // namespace cuda_host

#define CUDA_HOST_OFFER extern "C" __attribute__((used, visibility("default")))

CUDA_HOST_OFFER inline unsigned long long cuda_host_atomics() { return cuda_host::atomics; }

#define CUDA_HOST_EXPORT(number, ...)                                                              \
    CUDA_HOST_OFFER void cuda_host_signature_##number(char *out)                                   \
    {                                                                                              \
        cuda_host::Kernel<decltype(&__VA_ARGS__)>::signature(out);                                 \
    }                                                                                              \
    CUDA_HOST_OFFER const char *cuda_host_launch_##number(const unsigned *shape,                   \
                                                          std::uint64_t seed, void **arguments)    \
    {                                                                                              \
        return cuda_host::launch(&__VA_ARGS__, shape, seed, arguments);                            \
    }

// What CUDA offers to every kernel ---------------------------------------------------------------

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
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline long long __float2ll_rn(float x) { return std::llrintf(x); }
inline long long __double2ll_rn(double x) { return std::llrint(x); }

using std::max;
using std::min;
