"""Kernels as NVRTC compiled them, run on the CPU by `ptx.translated`: they say what C++, NumPy and NVIDIA's own error bounds say, and
those of the CuPy engine what NumPy says, bit by bit.
"""

import ctypes
import ctypes.util
import functools
import math
import operator
import os
import re
import subprocess
import sys

import numpy as np
import ptx
import pytest
import random_programs
from cupy_backends.cuda.libs import nvrtc
from cupy_stand_in import OnPTX
from hypothesis import given, settings
from models import SEED, cash_flow, portfolio, roll_forward
from random_programs import COUNT, JOB
from random_workbooks import agree_on, models
from shim import HERE, built_of_ptx, launch, loaded, word

from ultramc.engines import self_test
from ultramc.engines.base import Job
from ultramc.engines.on_numpy import NumPyEngine

OPTIONS = ("--fmad=false", "--std=c++17")
FTZ = "-ftz=true"  # CuPy appends it to the options of every module


@functools.cache
def compiled(source, architecture="compute_90", *options):
    """The PTX that NVRTC makes of CUDA C++."""
    program = nvrtc.createProgram(source, "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={architecture}", *options))
        return nvrtc.getPTX(program).decode()
    except nvrtc.NVRTCError as error:
        raise AssertionError(nvrtc.getProgramLog(program)) from error
    finally:
        nvrtc.destroyProgram(program)


@pytest.fixture(scope="module")
def library():
    """The library of the kernels of a CUDA source."""
    return functools.cache(lambda source, *options: loaded(built_of_ptx(compiled(source, *options))))


def kernel(name, parameters, statement):
    """A kernel that makes r[i] of one element after the other, a thread each."""
    return f"""extern "C" __global__ void of_{name}({parameters}, unsigned long long n) {{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {{ {statement} }}
}}"""


def applied(library, name, *arguments, kind=np.float64):
    results = np.empty(arguments[0].size, kind)
    launch(library, f"of_{name}", *arguments, results, results.size, grid=-(-results.size // 128), block=128)
    return results


# CUDA's functions, within what NVIDIA says of them


def extended(function):
    """A function of NumPy in extended precision, rounded once."""
    return lambda *arguments: function(*(each.astype(np.longdouble) for each in arguments)).astype(float)


def from_c(name):
    """A function of the C library in extended precision, rounded once. (SciPy's are off by more than CUDA's.)"""
    function = ctypes.CDLL(ctypes.util.find_library("m"))[f"{name}l"]
    function.argtypes, function.restype = [ctypes.c_longdouble], ctypes.c_longdouble
    return np.vectorize(function, otypes=[float])


RANDOM = np.random.default_rng(20)
EDGES = [0, 5e-324, 2e-310, 2.2250738585072014e-308, 1.7976931348623157e308, math.inf, math.nan]
# where functions turn, overflow, vanish, or change their method
TURNS = np.array(
    [0.5, 1, 2, math.pi, math.e, 20, 26.55, 27.23, 171.63, 709.782712893384, 745.133, 2.0**31, 2.0**52, 2.0**53, 2.0**63, 1e22]
)
POSITIVE = np.concatenate(
    [
        EDGES,
        *(np.nextafter(TURNS, TURNS + side) for side in (-1, 0, 1)),
        10.0 ** RANDOM.uniform(-323, 308, 3000),
        10.0 ** RANDOM.uniform(-9, 4, 5000),
        RANDOM.uniform(0, 1, 2000),
        RANDOM.uniform(0, 40, 4000),
        RANDOM.uniform(0, 750, 3000),
        np.arange(1, 800) * (math.pi / 2),
        np.arange(0, 200) / 2,
    ]
)
LINE = np.concatenate([POSITIVE, -POSITIVE])
VANISHING = (LINE > -(2.0**-1069)) & (LINE < 0)
FEW = np.concatenate([LINE[:55], -LINE[:55], 10.0 ** RANDOM.uniform(-310, 308, 30), RANDOM.normal(size=60), -np.arange(1.0, 6)])
PLANE = tuple(np.ascontiguousarray(axis.ravel()) for axis in np.meshgrid(FEW, FEW))

# name, what it should be, the largest error in ulps that NVIDIA states (CUDA C++ Programming Guide, "Mathematical
# Functions", double precision), where
ACCURACY = [
    ("exp", extended(np.exp), 1, LINE),
    ("expm1", extended(np.expm1), 1, LINE),
    ("log", extended(np.log), 1, LINE[~VANISHING]),
    ("log1p", extended(np.log1p), 1, LINE),
    ("log10", extended(np.log10), 1, LINE[~VANISHING]),
    ("sin", extended(np.sin), 2, LINE),
    ("cos", extended(np.cos), 2, LINE),
    ("tan", extended(np.tan), 2, LINE),
    ("asin", extended(np.arcsin), 2, LINE),
    ("acos", extended(np.arccos), 2, LINE),
    ("atan", extended(np.arctan), 2, LINE),
    ("sinh", extended(np.sinh), 2, LINE),
    ("cosh", extended(np.cosh), 1, LINE),
    ("tanh", extended(np.tanh), 1, LINE),
    ("asinh", extended(np.arcsinh), 3, LINE),
    ("acosh", extended(np.arccosh), 3, LINE),
    ("atanh", extended(np.arctanh), 2, LINE),
    ("erf", from_c("erf"), 2, LINE),
    ("erfc", from_c("erfc"), 5, LINE),
    ("lgamma", from_c("lgamma"), 4, LINE[~((LINE > -23.0001) & (LINE < -2.2637))]),
    ("sqrt", np.sqrt, 0, LINE),
    ("floor", np.floor, 0, LINE),
    ("ceil", np.ceil, 0, LINE),
    ("trunc", np.trunc, 0, LINE),
    ("rint", np.rint, 0, LINE),
    ("fabs", np.fabs, 0, LINE),
    ("pow", np.power, 2, PLANE),
    ("atan2", extended(np.arctan2), 2, PLANE),
    ("fmod", np.fmod, 0, PLANE),
    ("copysign", np.copysign, 0, PLANE),
]
WHERE = {name: where if isinstance(where, tuple) else (where,) for name, _, _, where in ACCURACY}
FUNCTIONS = "\n".join(
    [
        kernel("frexp", "const double *x, int *y, double *r", "r[i] = frexp(x[i], y + i);"),
        *(
            kernel(name, "const double *x, const double *y, double *r", f"r[i] = {name}(x[i], y[i]);")
            if len(where) == 2
            else kernel(name, "const double *x, double *r", f"r[i] = {name}(x[i]);")
            for name, where in WHERE.items()
        ),
    ]
)


# NVRTC 12.9 has two compilers: from compute_100 on it is a later one.
WAYS = {"plain": ["compute_90"], "as CuPy compiles": ["compute_90", FTZ], "for a later GPU": ["compute_100", FTZ]}


@pytest.fixture(scope="module", params=WAYS.values(), ids=list(WAYS))
def functions(request, library):
    return library(FUNCTIONS, *request.param)


@functools.cache
def expected(name):
    reference = next(row[1] for row in ACCURACY if row[0] == name)
    with np.errstate(all="ignore"):
        return reference(*WHERE[name])


@functools.cache
def with_seed(functions, units, name):
    """Results where the approximations of the hardware are off by so many units."""
    moved = ctypes.c_int.in_dll(functions, "ptx_seed_units")
    moved.value = units
    try:
        return applied(functions, name, *WHERE[name])
    finally:
        moved.value = 0


def ulps(one, other):
    """How many doubles lie between two that are finite."""
    steps = [np.where(bits < 0, np.int64(-(2**63)) - bits, bits) for bits in (one.view(np.int64), other.view(np.int64))]
    return np.abs(steps[0] - steps[1])


def within(found, expected, most):
    """No more ulps apart than that, and NaN, infinities and signs of zeros alike."""
    plain, zero = np.isfinite(expected), expected == 0
    np.testing.assert_array_equal(found[~plain], expected[~plain])
    assert np.isfinite(found[plain]).all()
    assert ulps(found[plain], expected[plain]).max() <= most
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize(("name", "most"), [(row[0], row[2]) for row in ACCURACY], ids=list(WHERE))
def test_functions_of_cuda(functions, name, most):
    for units in (0, -1, 1):
        within(with_seed(functions, units, name), expected(name), most)


@pytest.mark.parametrize("name", [name for name in WHERE if name not in ("atan", "cosh", "tanh", "erfc")])
def test_functions_of_which_no_bit_hangs_on_an_approximation(functions, name):
    """Of the other four the last bit may."""
    exact = with_seed(functions, 0, name)
    for units in (-1, 1):
        np.testing.assert_array_equal(with_seed(functions, units, name), exact)


def test_an_approximation_far_off_is_seen(functions):
    assert not np.array_equal(with_seed(functions, 1 << 16, "log"), with_seed(functions, 0, "log"), equal_nan=True)


def test_the_logarithm_of_gamma_where_it_is_about_zero(functions):
    inside = np.linspace(-22.99, -2.27, 4001)
    np.testing.assert_allclose(applied(functions, "lgamma", inside), from_c("lgamma")(inside), rtol=2.0**-50, atol=2.0**-50)


def test_mantissa_and_exponent(functions):
    finite = LINE[np.isfinite(LINE)]
    mantissas, exponents = np.frexp(finite)
    found = np.empty(finite.size, np.int32)
    np.testing.assert_array_equal(applied(functions, "frexp", finite, found), mantissas)
    np.testing.assert_array_equal(found, exponents)


@pytest.mark.parametrize(("way", "result"), list(zip(WAYS, ["nan", "-inf", "nan"], strict=True)))
@pytest.mark.parametrize("name", ["log", "log10"])
def test_the_logarithm_of_the_smallest_negative_numbers(library, way, result, name):
    """The earlier compiler compares the upper half of a double with zero as a single number, which CuPy's option flushes."""
    found = applied(library(FUNCTIONS, *WAYS[way]), name, np.array([*LINE[VANISHING], -(2.0**-1069)]))
    assert {str(number) for number in found[:-1]} == {result}
    assert math.isnan(found[-1])


# Integers: C++ as Python's integers say


def signed(value, bits=64):
    return (value & (1 << bits) - 1 ^ 1 << bits - 1) - (1 << bits - 1)


def quotient(x, y):
    """Towards zero, as C++ divides."""
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def chosen_bytes(x, y, selectors):
    both = low(y) << 32 | low(x)
    return sum((both >> 8 * (selectors >> 4 * i & 7) & 255) << 8 * i for i in range(4))


def low(x):
    return x % 2**32


def low_signed(x):
    return signed(x, 32)


# an expression of 64-bit x and y in C++, and in Python
INTEGERS = [
    ("x + y", lambda x, y: x + y),
    ("x - y", lambda x, y: x - y),
    ("x * y", lambda x, y: x * y),
    ("__umul64hi(x, y)", lambda x, y: x * y >> 64),
    ("__mul64hi((s64)x, (s64)y)", lambda x, y: signed(x) * signed(y) >> 64),
    ("__umulhi((u32)x, (u32)y)", lambda x, y: low(x) * low(y) >> 32),
    ("(s64)__mulhi((int)x, (int)y)", lambda x, y: low_signed(x) * low_signed(y) >> 32),
    ("(u64)(u32)x * (u32)y", lambda x, y: low(x) * low(y)),
    ("(s64)(int)x * (int)y", lambda x, y: low_signed(x) * low_signed(y)),
    ("(s64)((int)(short)x * (int)(short)y)", lambda x, y: signed(x, 16) * signed(y, 16)),
    ("(u32)x * (u32)y + 7u", lambda x, y: low(x * y + 7)),
    ("x / (y | 1)", lambda x, y: x // (y | 1)),
    ("x % (y | 1)", lambda x, y: x % (y | 1)),
    ("(s64)x / ((s64)y | 1)", lambda x, y: quotient(signed(x), signed(y) | 1)),
    ("(s64)x % ((s64)y | 1)", lambda x, y: signed(x) - (signed(y) | 1) * quotient(signed(x), signed(y) | 1)),
    ("(s64)((int)x / ((int)y | 1))", lambda x, y: low_signed(quotient(low_signed(x), low_signed(y) | 1))),
    ("(u32)x % ((u32)y | 1)", lambda x, y: low(x) % (low(y) | 1)),
    ("x / 10", lambda x, y: x // 10),
    ("(s64)x / 7", lambda x, y: quotient(signed(x), 7)),
    ("(x & y) | (~x ^ y)", lambda x, y: x & y | ~x ^ y),
    ("((u32)x & (u32)y) | ((u32)x & (u32)(y >> 32)) | ((u32)y & (u32)(y >> 32))", lambda x, y: low(x & y | x & y >> 32 | y & y >> 32)),
    ("x << (y & 63)", lambda x, y: x << (y & 63)),
    ("x >> (y & 63)", lambda x, y: x >> (y & 63)),
    ("(s64)x >> (y & 63)", lambda x, y: signed(x) >> (y & 63)),
    ("(s64)((int)x >> (y & 31))", lambda x, y: low_signed(x) >> (y & 31)),
    ("(u32)x << 7 | (u32)x >> 25", lambda x, y: low(x << 7) | low(x) >> 25),
    ("__funnelshift_l((u32)x, (u32)y, 13)", lambda x, y: low((low(y) << 32 | low(x)) << 13 >> 32)),
    ("__funnelshift_r((u32)x, (u32)y, (u32)(x >> 32))", lambda x, y: low((low(y) << 32 | low(x)) >> (x >> 32 & 31))),
    ("x >> 11 & 0x1fff", lambda x, y: x >> 11 & 0x1FFF),
    ("(s64)((int)(x << 9) >> 20)", lambda x, y: low_signed(x << 9) >> 20),
    ("__byte_perm((u32)x, (u32)y, 0x3715)", lambda x, y: chosen_bytes(x, y, 0x3715)),
    ("__byte_perm((u32)x, (u32)y, (u32)(y >> 40) & 0x7777)", lambda x, y: chosen_bytes(x, y, y >> 40 & 0x7777)),
    ("__clzll(x)", lambda x, y: 64 - x.bit_length()),
    ("__clz((int)x)", lambda x, y: 32 - low(x).bit_length()),
    ("__popcll(x)", lambda x, y: x.bit_count()),
    ("__popc((u32)x)", lambda x, y: low(x).bit_count()),
    ("__brevll(x)", lambda x, y: int(f"{x:064b}"[::-1], 2)),
    ("__brev((u32)x)", lambda x, y: int(f"{low(x):032b}"[::-1], 2)),
    ("__ffsll(x)", lambda x, y: (x & -x).bit_length()),
    ("__sad((int)x, (int)y, 3u)", lambda x, y: low(abs(low_signed(x) - low_signed(y)) + 3)),
    ("x < y", operator.lt),
    ("x <= y", operator.le),
    ("x == y", operator.eq),
    ("(s64)x > (s64)y", lambda x, y: signed(x) > signed(y)),
    ("(int)x >= (int)y", lambda x, y: low_signed(x) >= low_signed(y)),
    ("(unsigned char)x != (unsigned char)y", lambda x, y: x % 256 != y % 256),
    ("min((s64)x, (s64)y)", lambda x, y: min(signed(x), signed(y))),
    ("max(x, y)", max),
    ("(s64)min((int)x, (int)y)", lambda x, y: min(low_signed(x), low_signed(y))),
    ("max((u32)x, (u32)y)", lambda x, y: max(low(x), low(y))),
    ("llabs((s64)x)", lambda x, y: abs(signed(x))),
    ("(short)x", lambda x, y: signed(x, 16)),
    ("(signed char)x", lambda x, y: signed(x, 8)),
    ("(unsigned short)x", lambda x, y: x % 2**16),
    ("__double_as_longlong((double)x)", lambda x, y: word(float(x))),
    ("__double_as_longlong((double)(s64)x)", lambda x, y: word(float(signed(x)))),
    ("__double_as_longlong((double)(int)x)", lambda x, y: word(float(low_signed(x)))),
    ("__double_as_longlong(((x >> 12) + 0.5) * 0x1p-52)", lambda x, y: word(((x >> 12) + 0.5) * 2.0**-52)),
]
ARITHMETIC = "typedef unsigned long long u64; typedef long long s64; typedef unsigned u32;\n" + "\n".join(
    kernel(i, "const u64 *a, const u64 *b, u64 *r", f"u64 x = a[i], y = b[i]; r[i] = {text};") for i, (text, _) in enumerate(INTEGERS)
)
SHORT = np.array([0, 1, 2, 5, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
WORDS = [
    np.concatenate([axis.ravel(), RANDOM.integers(0, 2**64, 500, np.uint64), RANDOM.integers(0, 300, 200, np.uint64)])
    for axis in np.meshgrid(SHORT, SHORT)
]


@pytest.mark.parametrize("architecture", ["compute_90", "compute_100"])
@pytest.mark.parametrize(("i", "meaning"), [(i, row[1]) for i, row in enumerate(INTEGERS)], ids=[row[0] for row in INTEGERS])
def test_integers(library, architecture, i, meaning):
    found = applied(library(ARITHMETIC, architecture), i, *WORDS, kind=np.uint64)
    assert found.tolist() == [int(meaning(x, y)) % 2**64 for x, y in zip(*(each.tolist() for each in WORDS), strict=True)]


# Doubles to integers and truths


def clamped(rounding, least, greatest):
    return lambda x: least if math.isinf(x) and x < 0 else greatest if math.isinf(x) else min(max(rounding(x), least), greatest)


INT, UNSIGNED, LONG, UNSIGNED_LONG = (-(2**31), 2**31 - 1), (0, 2**32 - 1), (-(2**63), 2**63 - 1), (0, 2**64 - 1)
# "in float-to-integer conversions, results are clamped to the destination range" (PTX ISA, cvt)
ROUNDINGS = [
    ("(s64)(int)x", clamped(math.trunc, *INT)),
    ("(unsigned)x", clamped(math.trunc, *UNSIGNED)),
    ("(s64)x", clamped(math.trunc, *LONG)),
    ("(u64)x", clamped(math.trunc, *UNSIGNED_LONG)),
    ("(s64)__double2int_rn(x)", clamped(round, *INT)),
    ("(s64)__double2int_ru(x)", clamped(math.ceil, *INT)),
    ("(s64)__double2int_rd(x)", clamped(math.floor, *INT)),
    ("__double2ll_rn(x)", clamped(round, *LONG)),
    ("__double2ull_ru(x)", clamped(math.ceil, *UNSIGNED_LONG)),
    ("__double2uint_rd(x)", clamped(math.floor, *UNSIGNED)),
]
TRUTHS = [
    ("x < y", operator.lt),
    ("x <= y", operator.le),
    ("x > y", operator.gt),
    ("x >= y", operator.ge),
    ("x == y", operator.eq),
    ("x != y", operator.ne),
    ("!(x < y)", lambda x, y: not x < y),
    ("!(x <= y)", lambda x, y: not x <= y),
    ("!(x > y)", lambda x, y: not x > y),
    ("!(x >= y)", lambda x, y: not x >= y),
    ("x < y || x > y", lambda x, y: x < y or x > y),
    ("isnan(x) || isnan(y)", lambda x, y: math.isnan(x) or math.isnan(y)),
    ("!isnan(x) && !isnan(y)", lambda x, y: not math.isnan(x) and not math.isnan(y)),
    ("isinf(x)", lambda x, y: math.isinf(x)),
    ("isfinite(x)", lambda x, y: math.isfinite(x)),
    ("signbit(x) != 0", lambda x, y: math.copysign(1, x) < 0),
    ("x < y && y < 1 || x == 2", lambda x, y: (x < y and y < 1) or x == 2),
]
COMPARED = "typedef unsigned long long u64; typedef long long s64;\n" + "\n".join(
    kernel(i, "const double *a, const double *b, u64 *r", f"double x = a[i], y = b[i]; r[i] = {text};")
    for i, (text, _) in enumerate(ROUNDINGS + TRUTHS)
)


@pytest.mark.parametrize(("i", "meaning"), [(i, row[1]) for i, row in enumerate(ROUNDINGS)], ids=[row[0] for row in ROUNDINGS])
def test_doubles_to_integers(library, i, meaning):
    numbers = np.concatenate([LINE[~np.isnan(LINE)], np.arange(-8, 8) / 2, 2.0**31 + np.arange(-3, 3) / 2, 2.0**32 + np.arange(-3, 3) / 2])
    found = applied(library(COMPARED), i, numbers, numbers, kind=np.uint64)
    assert found.tolist() == [meaning(x) % 2**64 for x in numbers.tolist()]


@pytest.mark.parametrize(
    ("i", "expression", "meaning"), [(i, *row) for i, row in enumerate(TRUTHS, len(ROUNDINGS))], ids=[row[0] for row in TRUTHS]
)
def test_comparisons_of_doubles(library, i, expression, meaning):
    found = applied(library(COMPARED), i, *PLANE, kind=np.uint64)
    assert found.tolist() == [meaning(x, y) for x, y in zip(*(each.tolist() for each in PLANE), strict=True)]


# Philox4x64-10

PHILOX = """
typedef unsigned long long u64;
extern "C" __global__ void words(u64 *r, u64 first, u64 row, u64 column, u64 k, u64 seed, u64 sheet) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x, c[4] = {first + i, row, column, k};
    for (int round = 0; round < 10; round++, seed += 0x9E3779B97F4A7C15, sheet += 0xBB67AE8584CAA73B) {
        u64 a = 0xD2E7470EE14C6C93, b = 0xCA5A826395121157, x = a * c[0], y = b * c[2];
        u64 next[4] = {__umul64hi(b, c[2]) ^ c[1] ^ seed, y, __umul64hi(a, c[0]) ^ c[3] ^ sheet, x};
        for (int j = 0; j < 4; j++) c[j] = next[j];
    }
    for (int j = 0; j < 4; j++) r[4 * i + j] = c[j];
}
"""


@pytest.mark.parametrize("first", [1, 2**32 - 100, 2**40, 2**62])
def test_philox(library, first):
    row, column, k, seed, sheet = RANDOM.integers(0, 2**64, 5, np.uint64).tolist()
    found = np.empty(4 * 256, np.uint64)
    launch(library(PHILOX), "words", found, first, row, column, k, seed, sheet, grid=2, block=128)
    stream = np.random.Philox(key=np.array([seed, sheet], np.uint64), counter=np.array([first - 1, row, column, k], np.uint64))
    np.testing.assert_array_equal(found, stream.random_raw(found.size))


# Control flow, memory, functions

PROGRAMS = """
typedef unsigned long long u64;

__constant__ double weights[5] = {1.5, -2.25, 1e300, 5e-324, 3};
__constant__ double given[3];
__device__ unsigned char small[7] = {1, 2, 3, 250, 5, 6, 7};
__device__ int steps[4] = {-1, 2, -3, 4};

struct Pair { double sum; int count; double last; };

__device__ __noinline__ Pair extended(Pair so_far, double x) {
    Pair longer = {so_far.sum + x, so_far.count + 1, x};
    return longer;
}
__device__ __noinline__ double factorial(int n) { return n < 2 ? 1 : n * factorial(n - 1); }
__device__ __noinline__ void halve(double *x) { *x /= 2; }

extern "C" __global__ void loops(const double *x, double *r, int n) {
    int i = threadIdx.x;
    Pair pair = {0, 0, 0};
    for (int k = 0; k <= i; k++) {
        if (x[k] < 0) continue;
        pair = extended(pair, x[k]);
        if (pair.count == n) break;
    }
    r[i] = pair.sum * 1000 + pair.count * factorial(i % 20) + pair.last;
}

extern "C" __global__ void stack(const unsigned char *code, const double *x, double *r) {
    double held[8];
    int top = 0;
    for (int k = 0; code[k]; k++) switch (code[k]) {
        case 1: held[top++] = x[threadIdx.x]; break;
        case 2: top--; held[top - 1] += held[top]; break;
        case 3: top--; held[top - 1] -= held[top]; break;
        case 4: top--; held[top - 1] *= held[top]; break;
        case 5: top--; held[top - 1] /= held[top]; break;
        case 6: held[top - 1] = sqrt(fabs(held[top - 1])); break;
        case 7: held[top - 1] = floor(held[top - 1]); break;
        case 8: held[top - 1] = -held[top - 1]; break;
        case 9: held[top] = held[top - 1]; top++; break;
        case 10: halve(held + top - 1); break;
        default: held[top++] = code[k];
    }
    r[threadIdx.x] = held[0];
}

extern "C" __global__ void tables(const u64 *at, double *r) {
    u64 i = at[threadIdx.x];
    r[threadIdx.x] = weights[i % 5] * small[i % 7] + steps[i % 4] + given[i % 3];
}

extern "C" __global__ void sums(const double *x, double *r, unsigned *order) {
    __shared__ double part[128];
    __shared__ unsigned char seen[128];
    unsigned i = threadIdx.x, block = blockIdx.x;
    part[i] = x[block * blockDim.x + i];
    seen[(i * 37 + 1) % 128] = i;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half; half /= 2) {
        if (i < half) part[i] += part[i + half];
        __syncthreads();
    }
    order[block * blockDim.x + i] = seen[i];
    if (!i) r[block] = part[0];
}

__device__ __noinline__ double anywhere(const double *x, int i) { return x[i] + 1; }
extern "C" __global__ void pointers(const double *x, double *r) {
    __shared__ double shared[64];
    double mine[4] = {x[0], x[1], x[2], x[3]};
    int i = threadIdx.x;
    shared[i] = x[i] * 2;
    __syncthreads();
    r[i] = anywhere(i % 3 == 0 ? shared : i % 3 == 1 ? mine : x, (i + 1) % 4) + anywhere(shared, 63 - i);
}

extern "C" __global__ void vectors(const double2 *x, const float4 *y, const uchar4 *z, const short4 *s, double4 *r, uint2 *t) {
    int i = threadIdx.x;
    double2 a = x[i]; float4 b = y[i]; uchar4 c = z[i]; short4 d = s[i];
    r[i] = make_double4(a.x + b.x, a.y - b.y, b.z * c.x, b.w * d.w);
    t[i] = make_uint2(c.x << 24 | c.y << 16 | c.z << 8 | c.w, (unsigned short)d.x | (unsigned)(unsigned short)d.y << 16);
}

extern "C" __global__ void mixed(double *r, float f, signed char c, bool b, short s, unsigned u, long long l) {
    r[0] = f; r[1] = c; r[2] = b ? 10 : 20; r[3] = s; r[4] = u; r[5] = l; r[6] = f * f; r[7] = f / 3; r[8] = sqrtf(f);
}
"""
NUMBERS = RANDOM.normal(size=512) * 100


@pytest.fixture(scope="module", params=["compute_90", "compute_100"])
def programs(request, library):
    return library(PROGRAMS, request.param)


def test_loops_and_functions(programs):
    found = np.empty(64)
    launch(programs, "loops", NUMBERS, found, 9, block=64)
    for i, result in enumerate(found):
        taken = [x for x in NUMBERS[: i + 1] if x >= 0][:9]
        total = functools.reduce(operator.add, taken, 0.0)
        assert result == total * 1000 + len(taken) * float(math.factorial(i % 20)) + (taken[-1] if taken else 0)


def test_switches_and_arrays_of_a_thread(programs):
    code = np.array([1, 50, 4, 9, 7, 3, 1, 8, 20, 5, 6, 10, 2, 1, 1, 100, 2, 4, 9, 10, 5, 2, 0], np.uint8)
    found = np.empty(128)
    launch(programs, "stack", code, NUMBERS, found, block=128)
    x = NUMBERS[:128]
    first = x * 50 - np.floor(x * 50) + np.sqrt(np.abs(-x / 20)) / 2
    second = x * (x + 100)
    np.testing.assert_array_equal(found, first + second / (second / 2))


def test_tables(programs):
    given = np.array([0.25, -7, 1e-5])
    ctypes.memmove((ctypes.c_char * 24).in_dll(programs, "given"), given.ctypes.data, 24)
    at = RANDOM.integers(0, 2**64, 200, np.uint64)
    found = np.empty(at.size)
    launch(programs, "tables", at, found, block=200)
    weights, small, steps = np.array([1.5, -2.25, 1e300, 5e-324, 3]), np.array([1, 2, 3, 250, 5, 6, 7]), np.array([-1, 2, -3, 4])
    np.testing.assert_array_equal(found, weights[at % 5] * small[at % 7] + steps[at % 4] + given[at % 3])


def test_shared_memory_and_barriers(programs):
    sums, order = np.empty(4), np.empty(512, np.uint32)
    launch(programs, "sums", NUMBERS, sums, order, grid=4, block=128)
    part = NUMBERS.reshape(4, 128).copy()
    while part.shape[1] > 1:
        part = part[:, : part.shape[1] // 2] + part[:, part.shape[1] // 2 :]
    np.testing.assert_array_equal(sums, part[:, 0])
    np.testing.assert_array_equal(order.reshape(4, 128)[:, (np.arange(128) * 37 + 1) % 128], np.tile(np.arange(128), (4, 1)))


def test_pointers_to_any_memory(programs):
    found, i = np.empty(64), np.arange(64)
    launch(programs, "pointers", NUMBERS, found, block=64)
    one = NUMBERS[(i + 1) % 4] * np.where(i % 3 == 0, 2, 1) + 1
    np.testing.assert_array_equal(found, one + (NUMBERS[63 - i] * 2 + 1))


def test_vectors(programs):
    x, y = NUMBERS[:64].copy(), NUMBERS[:128].astype(np.float32)
    z, s = RANDOM.integers(0, 256, 128, np.uint8), RANDOM.integers(-(2**15), 2**15, 128, np.int16)
    doubles, words = np.empty(128), np.empty(64, np.uint32)
    launch(programs, "vectors", x, y, z, s, doubles, words, block=32)
    a, b, c, d = x.reshape(32, 2), y.reshape(32, 4), z.reshape(32, 4), s.reshape(32, 4)
    expected = [a[:, 0] + b[:, 0], a[:, 1] - b[:, 1], b[:, 2] * c[:, 0].astype(np.float32), b[:, 3] * d[:, 3].astype(np.float32)]
    np.testing.assert_array_equal(doubles.reshape(32, 4).T, expected)
    np.testing.assert_array_equal(words.reshape(32, 2)[:, 0], z.view(">u4"))
    np.testing.assert_array_equal(words.reshape(32, 2)[:, 1], np.ascontiguousarray(d[:, :2]).view(np.uint32).ravel())


def test_arguments_of_every_width(programs):
    found, f = np.empty(9), np.float32(0.1)
    launch(programs, "mixed", found, int(f.view(np.uint32)), 0xFF, 1, 0x8000, 2**32 - 1, 2**64 - 5, block=1)
    assert found.tolist() == [f, -1, 10, -(2**15), 2**32 - 1, -5, f * f, f / np.float32(3), np.sqrt(f)]


@pytest.mark.parametrize("architecture", ["75", "80", "86", "89", "90", "100", "120"])
def test_no_architecture_has_other_instructions(architecture):
    for source in (FUNCTIONS, ARITHMETIC, COMPARED, PHILOX, PROGRAMS):
        assert "args + 0" in ptx.translated(compiled(source, f"compute_{architecture}", FTZ))


# What is refused


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("r[0] = __activemask();", "no instruction activemask.b32 is known"),
        ("r[0] = __shfl_xor_sync(~0u, r[0], 1);", r"shfl.sync.bfly.b32\|?"),
        ("atomicAdd(r, 1u);", "no instruction atom.global.add.u32 is known"),
        ("r[0] = clock64();", "%clock64 is not known"),
        (
            "extern __shared__ unsigned more[]; r[0] = more[threadIdx.x];",
            r"no such declaration is known: .extern .shared .align 16 .b8 more\[\]",
        ),
        ('asm volatile("bar.sync 1;");', "bar.sync"),
        ('printf("%u", r[0]);', "vprintf"),
    ],
)
def test_what_is_not_known_is_refused_by_name(body, named):
    source = f'extern "C" __global__ void refused(unsigned *r) {{ {body} }}'
    with pytest.raises(ptx.UnknownPTX, match=named):
        ptx.translated(compiled(source))


def test_what_may_be_contracted_is_refused():
    """Without --fmad=false PTX leaves open what the hardware computes."""
    source = 'extern "C" __global__ void refused(double *r) { r[0] = r[1] * r[2]; }'
    with pytest.raises(ptx.UnknownPTX, match=r"refused: .* no instruction mul.f64 is known"):
        ptx.translated(compiled(source, "compute_90", "--fmad=true"))


FAULTS = """
extern "C" __global__ void misaligned(char *r) { *(double *)(r + 4) = 1; }
extern "C" __global__ void outside(double *r, int i) { __shared__ double part[8]; part[i] = r[0]; __syncthreads(); r[0] = part[0]; }
"""
LAUNCH = """
import sys
from pathlib import Path
import numpy as np
from shim import launch, loaded
launch(loaded(Path(sys.argv[1]).read_bytes()), sys.argv[2], np.zeros(8), int(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("kernel", "i", "said"),
    [("misaligned", 0, "8 bytes at 0x.*4 are not aligned"), ("outside", 8, "8 bytes at 64 of 64 in shared memory"), ("outside", 7, "")],
)
def test_memory_is_watched(library, kernel, i, said):
    command = [sys.executable, "-c", LAUNCH, library(FAULTS)._name, kernel, str(i)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(HERE)}, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (said == "")
    assert re.search(said, done.stderr)


# The engine's own kernels

ENGINE = OnPTX()
JOB_OF_MODELS = Job(SEED, 5_000)


def test_the_self_test_gives_the_known_bits():
    chunk = ENGINE.run(ENGINE.compile(self_test.PROGRAM), self_test.JOB, self_test.FIRST, self_test.COUNT)
    assert self_test.digest(chunk) == self_test.DIGEST


@settings(max_examples=30)
@given(random_programs.programs(exact=True))
def test_random_programs_agree_with_numpy(program):
    one, other = (engine.run(engine.compile(program), JOB, 0, COUNT).payloads for engine in (ENGINE, NumPyEngine()))
    for found, wanted in zip(one, other, strict=True):
        # Which of two zeros is the smaller is left open, so zeros are compared as numbers.
        assert np.array_equal(found, wanted, equal_nan=True), str(program)


@settings(max_examples=15)
@given(models())
def test_random_workbooks_agree_with_numpy(model):
    agree_on(model, ENGINE)


@pytest.mark.parametrize("model", [cash_flow, roll_forward, portfolio])
def test_models_do_not_depend_on_the_approximations_of_the_hardware(model):
    made = model(50) if model is portfolio else model()
    plan = ENGINE.compile(made.simulation.compiled.program)
    units = ctypes.c_int.in_dll(plan.kernels[0].library, "ptx_seed_units")
    found = {}
    for units.value in (-1, 1, 0):
        found[units.value] = ENGINE.run(plan, JOB_OF_MODELS, 0, 5_000).payloads
    for payload, *others, by_hand in zip(found[0], found[-1], found[1], made.by_hand(5_000), strict=False):
        for other in others:
            np.testing.assert_array_equal(other, payload)
        np.testing.assert_allclose(payload, by_hand.reshape(5_000, -1).T, rtol=1e-9)
