/* void apq__emu_switch(void **save_sp, void *load_sp): keeps what the C calling convention preserves on the old stack, and goes on
 * from the new one.  apq__emu_start is where a fresh stack goes on: it calls the function in the second preserved register with
 * the first as its argument (emu_fiber.c writes both). */
#if defined(__x86_64__) && !defined(__ILP32__)

    .text
    .globl apq__emu_switch
    .hidden apq__emu_switch
    .type apq__emu_switch, @function
apq__emu_switch:
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
    popq %rcx /* a jump, not a return: the return predictor knows the other stack only */
    jmpq *%rcx
    .size apq__emu_switch, .-apq__emu_switch

    .globl apq__emu_start
    .hidden apq__emu_start
    .type apq__emu_start, @function
apq__emu_start:
    movq %r12, %rdi
    callq *%r13
    ud2
    .size apq__emu_start, .-apq__emu_start

#elif defined(__aarch64__)

    .text
    .globl apq__emu_switch
    .hidden apq__emu_switch
    .type apq__emu_switch, %function
apq__emu_switch:
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
    br x30
    .size apq__emu_switch, .-apq__emu_switch

    .globl apq__emu_start
    .hidden apq__emu_start
    .type apq__emu_start, %function
apq__emu_start:
    mov x0, x19
    blr x20
    brk #0
    .size apq__emu_start, .-apq__emu_start

#endif

    .section .note.GNU-stack, "", %progbits
