// Runs a grid of CUDA blocks on one OS thread; see cuda_host.hpp.
#pragma once

#include <link.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "fibers.hpp"

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

// The block that runs ----------------------------------------------------------------------------

enum class Operation : int { none, sync, shuffle, ballot };

struct Thread {
    Fiber fiber;
    uint3 index{};
    // What it brings to a warp operation, and takes from it.
    std::uint64_t value = 0, result = 0;
    int source = 0;
};

struct Warp {
    unsigned arrived = 0, mask = 0;
    Operation operation = Operation::none;
};

struct Block {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<unsigned> runnable, at_barrier;
    unsigned current = 0, alive = 0;
    void (*body)(void *) = nullptr;
    void *argument = nullptr;
    Random random{1};
    char fault[256] = "";
};

inline Block block;
inline unsigned long long atomics = 0;  // of the last launch

[[noreturn]] inline void fail(const char *what)
{
    std::snprintf(block.fault, sizeof block.fault,
                  "%s, in thread (%u, %u, %u) of block (%u, %u, %u)", what, threadIdx.x,
                  threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z);
    for (;;) {
        pause();  // run_block gives the block up
    }
}

inline void thread_main() { block.body(block.argument); }

inline void release_barrier()
{
    if (!block.at_barrier.empty() && block.at_barrier.size() == block.alive) {
        block.runnable.swap(block.at_barrier);
    }
}

inline void run_thread(unsigned number)
{
    Thread &thread = block.threads[number];
    block.current = number;
    threadIdx = thread.index;
    resume(thread.fiber);
    if (thread.fiber.done) {
        --block.alive;
        release_barrier();
    }
}

// Runs all threads of a block; false if a fault was found.
inline bool run_block()
{
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    block.threads.resize(threads);
    block.warps.assign((threads + warpSize - 1) / warpSize, Warp{});
    block.runnable.clear();
    block.at_barrier.clear();
    block.alive = threads;
    for (unsigned n = 0; n < threads; ++n) {
        prepare<thread_main>(block.threads[n].fiber);
        block.threads[n].index = {n % blockDim.x, n / blockDim.x % blockDim.y,
                                  n / blockDim.x / blockDim.y};
        block.runnable.push_back(n);
    }
    while (!block.runnable.empty()) {
        const unsigned pick = block.random.below(static_cast<unsigned>(block.runnable.size()));
        const unsigned thread = block.runnable[pick];
        block.runnable[pick] = block.runnable.back();
        block.runnable.pop_back();
        run_thread(thread);
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
    Thread *lanes = &block.threads[first];
    unsigned votes = 0;
    for (unsigned left = warp.arrived; left; left &= left - 1) {
        const int lane = std::countr_zero(left);
        votes |= static_cast<unsigned>(lanes[lane].value != 0) << lane;
    }
    for (unsigned left = warp.arrived; left; left &= left - 1) {
        Thread &thread = lanes[std::countr_zero(left)];
        if (warp.operation == Operation::ballot) {
            thread.result = votes;
        } else if (warp.operation == Operation::shuffle) {
            if (!(warp.arrived >> thread.source & 1)) {
                fail("shuffle from a lane that takes no part");
            }
            thread.result = lanes[thread.source].value;
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
    block.threads[self].value = value;
    block.threads[self].source = source;
    const unsigned present =
        static_cast<unsigned>(std::min<std::size_t>(warpSize, block.threads.size() - first));
    const unsigned expected = present == warpSize ? mask : mask & ((1u << present) - 1);
    if (warp.arrived == expected) {
        finish(warp, first);
        for (unsigned left = expected; left; left &= left - 1) {
            block.runnable.push_back(first + std::countr_zero(left));
        }
        warp.arrived = 0;
    }
    pause();
    return block.threads[self].result;
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
