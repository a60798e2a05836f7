/* A grid of CUDA threads on one thread of a processor: block after block; in a block a fiber for each thread, which gives way to the
   next at a barrier. A barrier that some threads of a block do not reach is reported, since a GPU would hang or worse. */

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

enum { STACK = 1 << 20 };

struct triple { unsigned x, y, z; } threadIdx, blockIdx, blockDim, gridDim;

static struct fiber { ucontext_t context; jmp_buf place; int started, ended; char *stack; } *fibers;
static jmp_buf scheduler;
static ucontext_t beginning;
static unsigned current;
static void (*kernel)(const uint64_t *);
static const uint64_t *arguments;

#ifdef WHOLE_CONTEXTS /* slower, but the sanitizers follow it */
static void leave(void) { swapcontext(&fibers[current].context, &beginning); }
static void enter(void) { swapcontext(&beginning, &fibers[current].context); }
#else
static void leave(void) { if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1); }
static void enter(void)
{
    if (_setjmp(scheduler)) return;
    if (fibers[current].started) _longjmp(fibers[current].place, 1);
    fibers[current].started = 1;
    setcontext(&fibers[current].context);
}
#endif

static void live(void)
{
    for (;;) {
        kernel(arguments);
        fibers[current].ended = 1;
        leave();
    }
}

void __syncthreads(void) { leave(); }

static void create(unsigned count)
{
    fibers = calloc(count, sizeof *fibers);
    for (unsigned number = 0; number < count; number++) {
        struct fiber *fiber = &fibers[number];
        fiber->stack = malloc(STACK);
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = fiber->stack;
        fiber->context.uc_stack.ss_size = STACK;
        makecontext(&fiber->context, live, 0);
    }
}

static int carry_out(unsigned count)
{
    for (unsigned number = 0; number < count; number++) fibers[number].ended = 0;
    for (unsigned ended = 0; ended == 0;) {
        for (current = 0; current < count; current++) {
            threadIdx.x = current;
            enter();
            ended += (unsigned)fibers[current].ended;
        }
        if (ended != 0 && ended != count) return 0;
    }
    return 1;
}

/* 1 if every barrier was reached by all threads of its block. */
int launch(void (*called)(const uint64_t *), const uint64_t *given, uint64_t grid, unsigned block)
{
    int is_sound = 1;
    kernel = called, arguments = given;
    blockDim = (struct triple){block, 1, 1}, gridDim = (struct triple){(unsigned)grid, 1, 1};
    create(block);
    for (uint64_t number = 0; number < grid && is_sound; number++) {
        blockIdx = (struct triple){(unsigned)number, 0, 0};
        is_sound = carry_out(block);
    }
    for (unsigned number = 0; number < block; number++) free(fibers[number].stack);
    free(fibers);
    return is_sound;
}
