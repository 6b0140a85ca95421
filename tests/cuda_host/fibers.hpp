// Fibers: stacks and the switch between them, for x86-64 and 64-bit Arm.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_host {

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
constexpr int return_word = 6, frame_words = 8;
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

constexpr std::size_t stack_bytes = 1 << 17;

struct Fiber {
    std::vector<char> stack;
    void *stack_pointer = nullptr;
    void *fake_stack = nullptr;  // the sanitizer's
    bool done = false;
};

// The fiber that runs, and the stack of the thread that runs fibers.
inline Fiber *running = nullptr;
inline Fiber base;
inline const void *base_bottom = nullptr;
inline std::size_t base_size = 0;

// Tells the sanitizer which stack comes next, and switches to it.
inline void switch_fibers(Fiber &from, Fiber &to, const void *bottom, std::size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(from.done ? nullptr : &from.fake_stack, bottom, size);
#else
    (void)bottom, (void)size;
#endif
    cuda_host_switch(&from.stack_pointer, to.stack_pointer);
}

// To be called first on the stack that was switched to.
inline void arrive(Fiber &self, const void **left_bottom, std::size_t *left_size)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(self.fake_stack, left_bottom, left_size);
#else
    (void)self, (void)left_bottom, (void)left_size;
#endif
}

// Back to whoever resumed this fiber, until it is resumed again.
inline void pause()
{
    Fiber &self = *running;
    switch_fibers(self, base, base_bottom, base_size);
    arrive(self, &base_bottom, &base_size);
}

// Runs a fiber until it pauses or is done.
inline void resume(Fiber &fiber)
{
    running = &fiber;
    switch_fibers(base, fiber, fiber.stack.data(), fiber.stack.size());
    arrive(base, nullptr, nullptr);
}

template <void (*body)()> void fiber_main()
{
    arrive(*running, &base_bottom, &base_size);
    body();
    running->done = true;
    pause();
}

// Sets a fiber up to run `body` when it is first resumed.
template <void (*body)()> void prepare(Fiber &fiber)
{
    fiber.stack.resize(stack_bytes);
    const auto end = reinterpret_cast<std::uintptr_t>(fiber.stack.data() + stack_bytes);
    void **frame = reinterpret_cast<void **>(end / 16 * 16) - frame_words;
    std::fill(frame, frame + frame_words, nullptr);
    frame[return_word] = reinterpret_cast<void *>(&fiber_main<body>);
    fiber.stack_pointer = frame;
    fiber.fake_stack = nullptr;
    fiber.done = false;
}

}  // namespace cuda_host
