"""PTX as a library that can be called: translated, compiled with a small runtime, its kernels launched."""

import ctypes
import struct
import subprocess

import numpy as np
import ptx

FLAGS = ("-std=gnu11", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC")

# The threads of a block as fibers, one after the other from barrier to barrier.
RUNTIME = """
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

enum { THREADS = 1024, STACK = 1 << 16 };
struct { unsigned x, y, z; } threadIdx, blockIdx, blockDim, gridDim;
static ucontext_t home, fibers[THREADS];
static int done[THREADS];
static void (*kernel)(const uint64_t *);
static const uint64_t *arguments;

void __syncthreads(void) {
    unsigned self = threadIdx.x;
    swapcontext(&fibers[self], &home);
    threadIdx.x = self;
}

static void thread(void) {
    kernel(arguments);
    done[threadIdx.x] = 1;
}

void launch(void (*entry)(const uint64_t *), const uint64_t *words, unsigned grid, unsigned block) {
    char *stacks = malloc((size_t)block * STACK);
    kernel = entry, arguments = words, gridDim.x = grid, blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++) {
        for (unsigned i = 0; i < block; i++) {
            getcontext(&fibers[i]);
            fibers[i].uc_stack.ss_sp = stacks + (size_t)i * STACK, fibers[i].uc_stack.ss_size = STACK;
            fibers[i].uc_link = &home, done[i] = 0;
            makecontext(&fibers[i], thread, 0);
        }
        for (unsigned left = block; left;)
            for (unsigned i = 0; i < block; i++)
                if (!done[i]) {
                    threadIdx.x = i;
                    swapcontext(&home, &fibers[i]);
                    left -= done[i];
                }
    }
    free(stacks);
}
"""


def build(module, folder):
    """The library of the kernels of a PTX module."""
    (folder / "kernels.c").write_text(ptx.translated(module))
    (folder / "runtime.c").write_text(RUNTIME)
    subprocess.run(["gcc", *FLAGS, "kernels.c", "runtime.c", "-o", "kernels.so", "-lm"], cwd=folder, check=True)
    return ctypes.CDLL(folder / "kernels.so")


def word(value):
    """A kernel's argument as 64 bits."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return value.ctypes.data
    if isinstance(value, float):
        return int.from_bytes(struct.pack("<d", value), "little")
    return int(value)


def launch(library, name, *arguments, grid=1, block=1):
    words = (ctypes.c_uint64 * len(arguments))(*map(word, arguments))
    library.launch(getattr(library, name), words, grid, block)
