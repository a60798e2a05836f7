"""CuPy and NVRTC without a GPU, as far as the engine uses them: kernels are compiled for the processor and really run.

Arguments are checked against the kernel's signature, an array turns into a NumPy array by `get` alone, memory comes back from a pool
with what was in it and lies between canaries, all work is on a stream of one's own on a chosen device, options are known ones, a
barrier must be reached by all threads. Faults can be ordered. Errors are of CuPy's own classes.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import cupy
import numpy as np
import shim
from attrs import define, field
from cupy_backends.cuda.libs import nvrtc
from shim import HERE, built, built_of_ptx, digest, launch, loaded

from ultramc.engines.cubin import OPTIONS, translated
from ultramc.engines.on_cupy import CupyEngine, Toolkit

CANARY = 64  # bytes on each side
PARTS = ("shim.h", "shim.c", "shim.py", "ptx.h", "ptx.py", "cupy_stand_in.py")
TYPES = {"double": np.float64, "uint64_t": np.uint64}
CudaError = cupy.cuda.runtime.CUDARuntimeError
LAUNCH_FAILURE, OUT_OF_RESOURCES, NO_DEVICE = 719, 701, 100


class DriverError(cupy.cuda.driver.CUDADriverError):
    """CuPy asks the driver for the words of its errors; here there is none."""

    def __init__(self, words):
        RuntimeError.__init__(self, words)


@define
class Faults:
    """What goes wrong, at the how-manieth call (from 1)."""

    devices: int = 1
    out_of_memory_at: int = 0
    refuses_launch_at: int = 0
    is_lost_at: int = 0
    skips_launch_at: int = 0
    log: str = ""  # of a compilation that fails
    alter: object = None  # a function of the arrays of a launch, after it
    allocations: int = 0
    launches: int = 0
    lost: bool = False
    pending: bool = False

    def check(self):
        if self.lost:
            raise CudaError(LAUNCH_FAILURE)

    def synchronise(self):
        """Errors come late, and stay."""
        self.lost |= self.pending
        self.check()


# Compiling for the processor


SIGNATURE = re.compile(r'extern "C" __global__ void __launch_bounds__\(THREADS\) (\w+)\(([^)]*)\)')


def signatures(text):
    """Of each kernel the types of its parameters, and which are pointers."""
    found = {}
    for name, parameters in SIGNATURE.findall(text):
        words = [re.sub(r"\b(const|__restrict__)\b", "", each).strip() for each in parameters.split(",")]
        found[name] = [(word.split("*")[0].split()[0], "*" in word) for word in words]
    return found


def by_the_system(text, options, *flags):
    """CUDA's text as it is, with what its words mean on a processor, for g++."""
    assert set(options) - {"--gpu-architecture=sm_90"} == set(OPTIONS), options
    calls = "".join(
        f'extern "C" void run_{name}(const uint64_t *a) {{ {name}({", ".join(map(_argument, range(len(kinds)), kinds))}); }}\n'
        for name, kinds in signatures(text).items()
    )
    return built(
        f'#include "shim.h"\n{text}\n{calls}', "kernels.cpp", "-std=gnu++17", "-O1", "-ffp-contract=off", "-fno-math-errno", *flags
    )


def _argument(number, kind):
    return f"({kind[0]} *)a[{number}]" if kind[1] else f"a[{number}]"


def by_nvrtc(text, options):
    """What NVRTC makes of it, instruction by instruction."""
    found, _ = translated(nvrtc, text, "compute_90")
    return built_of_ptx(found.decode().replace("part", "run_part"))


class Compiler:
    """`cupy_backends.cuda.libs.nvrtc`."""

    NVRTCError = nvrtc.NVRTCError

    def __init__(self, build, faults):
        self.build, self.faults = build, faults

    def getVersion(self):
        """Of all that decides what a kernel does here, so that an old one is not taken from the cache."""
        return self.build.__name__, shim.EXTRA, *(digest((HERE / name).read_text(encoding="utf-8")) for name in PARTS)

    def createProgram(self, text, name, headers, includes):
        return SimpleNamespace(text=text, binary=b"", log="0 bytes spill stores, Used 40 registers")

    def compileProgram(self, program, options):
        if self.faults.log:
            program.log = self.faults.log
            raise nvrtc.NVRTCError(6)
        program.binary = self.build(program.text, options)

    def getCUBIN(self, program):
        """The library, and behind it the signatures; CuPy keeps the last byte for itself."""
        return (program.binary + b"SIGNATURES" + repr(signatures(program.text)).encode() + b"\0")[:-1]

    def getProgramLog(self, program):
        return program.log

    def destroyProgram(self, program):
        del program.binary


# CuPy


class Array:
    """cupy.ndarray."""

    def __init__(self, owner, shape, dtype):
        owner.require_stream()
        owner.faults.allocations += 1
        self.owner, self.shape, self.dtype = owner, tuple(np.atleast_1d(shape).tolist()), np.dtype(dtype)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        if owner.faults.allocations == owner.faults.out_of_memory_at or owner.live + self.nbytes > owner.total:
            raise cupy.cuda.memory.OutOfMemoryError(self.nbytes, owner.live, owner.total)
        owner.live += self.nbytes
        owner.pooled = max(0, owner.pooled - self.nbytes)
        self.guarded = np.full(self.nbytes + 2 * CANARY, 0xFF, np.uint8)
        self.guarded[CANARY : CANARY + self.nbytes] = owner.left.pop(self.nbytes, 0x3F)
        self.inside = self.guarded[CANARY : CANARY + self.nbytes].view(self.dtype).reshape(self.shape)

    def __del__(self):
        if hasattr(self, "guarded"):
            self.owner.live -= self.nbytes
            self.owner.pooled += self.nbytes
            self.owner.left[self.nbytes] = self.inside.reshape(-1).view(np.uint8)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    @property
    def data(self):
        return SimpleNamespace(memset_async=self._memset, ptr=self.inside.ctypes.data)

    def _memset(self, byte, size):
        self.owner.require_stream()
        assert size == self.nbytes
        self.inside.view(np.uint8)[...] = byte

    def set(self, array):
        self.owner.require_stream()
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        assert array.flags.c_contiguous
        self.inside[...] = array

    def get(self):
        self.owner.require_stream()
        self.owner.faults.synchronise()
        return self.inside.copy()

    def has_whole_canaries(self):
        return bool((self.guarded[:CANARY] == 0xFF).all() and (self.guarded[CANARY + self.nbytes :] == 0xFF).all())


class Kernel:
    """What RawModule.get_function gives."""

    def __init__(self, owner, library, name, kinds):
        self.owner, self.library, self.name, self.kinds = owner, library, name, kinds

    def __call__(self, grid, block, arguments):
        faults = self.owner.faults
        self.owner.require_stream()
        faults.launches += 1
        (blocks,), (threads,) = grid, block
        if not (1 <= blocks < 2**31 and 1 <= threads <= 1024) or faults.launches == faults.refuses_launch_at:
            raise DriverError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources requested for launch")
        words = self._words(arguments)
        if faults.launches == faults.is_lost_at:
            faults.pending = True
        elif faults.launches != faults.skips_launch_at:
            launch(self.library, f"run_{self.name}", *words, grid=blocks, block=threads)
        arrays = [each for each in arguments if isinstance(each, Array)]
        if faults.alter is not None:
            faults.alter(faults.launches, arrays)
        assert all(array.has_whole_canaries() for array in arrays), f"{self.name}: wrote where nobody has memory"

    def _words(self, arguments):
        assert len(arguments) == len(self.kinds), f"{self.name}: {len(arguments)} arguments for {len(self.kinds)} parameters"
        pairs = zip(arguments, self.kinds, strict=True)
        return [self._pointer(argument) if is_pointer else self._scalar(argument, kind) for argument, (kind, is_pointer) in pairs]

    def _pointer(self, argument):
        if isinstance(argument, np.uint64) and argument == 0:
            return 0
        assert isinstance(argument, Array), f"{self.name}: {type(argument)} is no array of the device"
        return argument.data.ptr

    def _scalar(self, argument, kind):
        assert isinstance(argument, np.generic), f"{self.name}: CuPy passes {type(argument)} as it likes"
        assert argument.dtype == TYPES[kind], (self.name, argument.dtype, kind)
        return int(argument)


@define(eq=False, slots=False)
class Device:
    """The part of the module `cupy` that the engine calls."""

    faults: Faults = field(factory=Faults)
    total: int = 2**32
    live: int = 0  # bytes of arrays
    pooled: int = 0  # bytes that were given back and are kept
    left: dict = field(factory=dict)  # what was in memory that was given back, by its size
    device: object = None
    stream: object = None

    def __attrs_post_init__(self):
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(
                getDeviceCount=self._count,
                memGetInfo=lambda: (self.total - self.live - self.pooled, self.total),
                CUDARuntimeError=CudaError,
            ),
            driver=SimpleNamespace(CUDADriverError=cupy.cuda.driver.CUDADriverError),
            memory=SimpleNamespace(OutOfMemoryError=cupy.cuda.memory.OutOfMemoryError),
            Device=lambda number: Within(self, "device", compute_capability="90"),
            Stream=self._stream,
        )

    def require_stream(self):
        self.faults.check()
        assert self.device is not None and self.stream is not None, "work on no chosen device, or on the stream of everybody"

    def _count(self):
        if not self.faults.devices:
            raise CudaError(NO_DEVICE)
        return self.faults.devices

    def _stream(self, *, non_blocking):
        assert non_blocking
        assert self.device is not None
        return Within(self, "stream")

    def get_default_memory_pool(self):
        return SimpleNamespace(free_bytes=lambda: self.pooled)

    def empty(self, shape, dtype):
        return Array(self, shape, dtype)

    def RawModule(self, *, path):
        self.faults.check()
        library, _, kinds = Path(path).read_bytes().partition(b"SIGNATURES")
        kernels = loaded(library)
        return SimpleNamespace(get_function=lambda name: Kernel(self, kernels, name, signatures_of(kinds)[name]))


def signatures_of(text):
    import ast

    return ast.literal_eval(text.decode().rstrip("\0"))


@define
class Within:
    """A device or a stream, as a context."""

    owner: Device
    what: str
    compute_capability: str = ""

    def __enter__(self):
        self.owner.faults.check()
        setattr(self.owner, self.what, self)
        return self

    def __exit__(self, *error):
        setattr(self.owner, self.what, None)

    def synchronize(self):
        self.owner.faults.synchronise()


def toolkit(build=by_the_system, **options):
    device = Device(**options)
    return Toolkit(device, Compiler(build, device.faults))


class OnShim(CupyEngine):
    """The CuPy engine, its kernels compiled for the processor."""

    name = "cupy_on_shim"

    def __init__(self):
        super().__init__(toolkit=toolkit())


class OnPTX(CupyEngine):
    """The CuPy engine, NVRTC's instructions carried out by the processor."""

    name = "cupy_on_ptx"

    def __init__(self):
        super().__init__(toolkit=toolkit(by_nvrtc))
