"""Each row of `ptx.INSTRUCTIONS` alone: what the manual of the PTX ISA says that it does."""

import itertools
import math
import operator
import re
import struct

import numpy as np
import ptx
import pytest
from shim import built_of_ptx, launch, loaded

NAN, INF, TINY, HUGE = math.nan, math.inf, 5e-324, 1.7976931348623157e308
LEAST, MOST = -(2**31), 2**31 - 1
THIRD = float(np.float32(1) / np.float32(3))

# opcode, operands, result. A float is one of the opcode's last (result: first) type, an integer the bits of a register.
CASES = [
    ("mov.b64", [2**63 + 5], 2**63 + 5),
    ("mov.f64", [1.5], 1.5),
    ("mov.u32", [7], 7),
    ("mov.pred", [1], 1),
    ("selp.f64", [1.5, 2.5, 1], 1.5),
    ("selp.f64", [1.5, 2.5, 0], 2.5),
    ("selp.b32", [7, 9, 0], 9),
    # floating point
    ("add.rn.f64", [0.1, 0.2], 0.30000000000000004),
    ("add.rn.f64", [1.0, 1.5 * 2.0**-53], 1 + 2.0**-52),
    ("add.rz.f64", [1.0, 1.5 * 2.0**-53], 1.0),
    ("add.rz.f64", [-1.0, -1.5 * 2.0**-53], -1.0),
    ("add.rz.f64", [HUGE, HUGE], HUGE),
    ("add.rp.f64", [1.0, 2.0**-80], 1 + 2.0**-52),
    ("add.rm.f64", [1.0, -(2.0**-80)], 1 - 2.0**-53),
    ("add.rm.f64", [1.0, -1.0], -0.0),
    ("add.rn.f32", [1.0, 2.0**-24], 1.0),
    ("add.rn.f32", [2.0**-130, 2.0**-126], 2.0**-126 + 2.0**-130),
    ("add.rn.ftz.f32", [2.0**-130, 2.0**-126], 2.0**-126),
    ("sub.rn.f64", [0.3, 0.1], 0.3 - 0.1),
    ("sub.rn.ftz.f32", [1.5 * 2.0**-126, 2.0**-126], 0.0),
    ("mul.rn.f64", [TINY, 0.5], 0.0),
    ("mul.rp.f64", [TINY, 0.5], TINY),
    ("mul.rz.f64", [1 + 2.0**-52, 1 + 2.0**-52], 1 + 2.0**-51),
    ("mul.rn.f32", [2.0**-126, 0.5], 2.0**-127),
    ("mul.rn.ftz.f32", [-(2.0**-126), 0.5], -0.0),
    ("div.rn.f64", [1.0, 3.0], 1 / 3),
    ("div.rn.f64", [-1.0, 0.0], -INF),
    ("div.rn.f32", [1.0, 3.0], THIRD),
    ("fma.rn.f64", [1 + 2.0**-52, 1 - 2.0**-52, -1.0], -(2.0**-104)),
    ("fma.rz.f64", [1.0, 1.0, 1.5 * 2.0**-53], 1.0),
    ("fma.rn.f32", [1 + 2.0**-23, 1 - 2.0**-23, -1.0], -(2.0**-46)),
    ("rcp.rn.f64", [3.0], 1 / 3),
    ("rcp.rn.f32", [3.0], THIRD),
    ("sqrt.rn.f64", [2.0], math.sqrt(2)),
    ("sqrt.rn.f64", [-1.0], NAN),
    ("sqrt.rn.f32", [2.0], float(np.sqrt(np.float32(2)))),
    ("neg.f64", [0.0], -0.0),
    ("neg.f64", [0x7FF8000000000001], 0xFFF8000000000001),
    ("neg.f32", [1.5], -1.5),
    ("abs.f64", [-0.0], 0.0),
    ("abs.f64", [-INF], INF),
    ("abs.f32", [-1.5], 1.5),
    ("copysign.f64", [-1.0, 3.0], -3.0),
    ("copysign.f64", [0.0, -INF], INF),
    ("copysign.f32", [-0.0, 2.0], -2.0),
    ("min.f64", [NAN, 1.0], 1.0),
    ("min.f64", [1.0, NAN], 1.0),
    ("min.f64", [NAN, NAN], NAN),
    ("min.f64", [0.0, -0.0], -0.0),
    ("min.f64", [-0.0, 0.0], -0.0),
    ("min.f32", [2.0, -3.0], -3.0),
    ("max.f64", [NAN, -1.0], -1.0),
    ("max.f64", [-0.0, 0.0], 0.0),
    ("max.f64", [0.0, -0.0], 0.0),
    ("max.f64", [2.0, -3.0], 2.0),
    # "1. extract the most-significant 32 bits of a … 3. … zero the least significant 32 bits": gross approximations
    ("rcp.approx.ftz.f64", [2.0], 0.5),
    ("rcp.approx.ftz.f64", [0x40000000FFFFFFFF], 0.5),
    ("rcp.approx.ftz.f64", [3.0], 0x3FD5555500000000),
    ("rcp.approx.ftz.f64", [7.0], 0x3FC2492500000000),
    ("rcp.approx.ftz.f64", [0.0], INF),
    ("rcp.approx.ftz.f64", [-TINY], -INF),
    ("rcp.approx.ftz.f64", [2.0**1023], 0.0),
    ("rcp.approx.ftz.f64", [-INF], -0.0),
    ("rcp.approx.ftz.f64", [NAN], NAN),
    ("rsqrt.approx.ftz.f64", [4.0], 0.5),
    ("rsqrt.approx.ftz.f64", [TINY], INF),
    ("rsqrt.approx.ftz.f64", [INF], 0.0),
    ("rsqrt.approx.ftz.f64", [-1.0], NAN),
    ("ex2.approx.ftz.f32", [-3.0], 0.125),
    ("ex2.approx.ftz.f32", [0.5], float(np.exp2(np.float32(0.5)))),
    ("ex2.approx.ftz.f32", [-INF], 0.0),
    ("ex2.approx.ftz.f32", [-127.0], 0.0),
    ("ex2.approx.ftz.f32", [128.0], INF),
    # integers
    ("add.u32", [2**32 - 1, 2], 1),
    ("add.s64", [2**63 - 1, 1], -(2**63)),
    ("add.u16", [0xFFFF, 1], 0),
    ("sub.s32", [LEAST, 1], MOST),
    ("sub.u64", [0, 1], 2**64 - 1),
    ("mul.lo.s32", [2**16, 2**16], 0),
    ("mul.lo.u16", [0xFFFF, 0xFFFF], 1),
    ("mul.lo.s64", [-3, 5], -15),
    ("mul.hi.u64", [2**64 - 1, 2**64 - 1], 2**64 - 2),
    ("mul.hi.s64", [-1, 1], -1),
    ("mul.hi.s32", [-2, 3], -1),
    ("mul.hi.u32", [2**32 - 1, 2**32 - 1], 2**32 - 2),
    ("mul.hi.u16", [0xFFFF, 0xFFFF], 0xFFFE),
    ("mul.wide.s32", [-2, 3], -6),
    ("mul.wide.u32", [2**32 - 1, 2**32 - 1], (2**32 - 1) ** 2),
    ("mul.wide.s16", [-1, 5], -5),
    ("mul.wide.u16", [0xFFFF, 0xFFFF], 0xFFFF**2),
    ("mad.lo.s32", [-3, 5, 20], 5),
    ("mad.lo.u64", [2**63, 2, 9], 9),
    ("mad.hi.u32", [2**31, 4, 7], 9),
    ("mad.hi.s64", [-1, 1, 5], 4),
    ("mad.wide.s32", [-2, 3, 10], 4),
    ("mad.wide.u32", [2**32 - 1, 2, 2**63], 2**63 + 2**33 - 2),
    ("sad.s32", [-5, 7, 1], 13),
    ("sad.u32", [2**32 - 5, 7, 1], 2**32 - 11),
    ("div.s32", [-7, 2], -3),
    ("div.s64", [7, -2], -3),
    ("div.u64", [2**64 - 1, 2], 2**63 - 1),
    ("rem.s32", [-7, 2], -1),
    ("rem.u32", [2**32 - 1, 10], 5),
    ("neg.s32", [LEAST], LEAST),
    ("neg.s64", [5], -5),
    ("abs.s64", [-5], 5),
    ("abs.s32", [LEAST], LEAST),
    ("min.s32", [-1, 1], -1),
    ("min.u32", [2**32 - 1, 1], 1),
    ("max.s64", [-1, 1], 1),
    ("max.u64", [2**64 - 1, 1], 2**64 - 1),
    # bits
    ("and.b32", [0b1100, 0b1010], 0b1000),
    ("and.pred", [1, 0], 0),
    ("or.b64", [0b1100, 0b1010], 0b1110),
    ("or.pred", [1, 0], 1),
    ("xor.b16", [0b1100, 0b1010], 0b0110),
    ("xor.pred", [1, 1], 0),
    ("not.b32", [0], 2**32 - 1),
    ("not.pred", [0], 1),
    ("not.pred", [1], 0),
    ("shl.b32", [3, 31], 2**31),
    ("shl.b32", [3, 32], 0),
    ("shl.b64", [1, 63], 2**63),
    ("shl.b64", [1, 64], 0),
    ("shl.b16", [0x8001, 1], 2),
    ("shr.u32", [2**31, 31], 1),
    ("shr.u32", [2**31, 32], 0),
    ("shr.s32", [-8, 1], -4),
    ("shr.s32", [-8, 40], -1),
    ("shr.s64", [-(2**63), 63], -1),
    ("shr.u64", [2**63, 64], 0),
    ("shr.b32", [2**31, 1], 2**30),
    ("shf.l.wrap.b32", [0x80000001, 1, 33], 3),
    ("shf.l.clamp.b32", [0x80000001, 1, 33], 0x80000001),
    ("shf.l.clamp.b32", [0x80000001, 1, 1], 3),
    ("shf.r.wrap.b32", [0x80000001, 1, 33], 0xC0000000),
    ("shf.r.clamp.b32", [0x80000001, 1, 40], 1),
    ("bfe.u32", [0xABCD1234, 8, 8], 0x12),
    ("bfe.u32", [0xABCD1234, 28, 8], 0xA),
    ("bfe.u32", [0xABCD1234, 40, 8], 0),
    ("bfe.u32", [0xABCD1234, 8, 0], 0),
    ("bfe.u32", [0xABCD1234, 8, 200], 0xABCD12),
    ("bfe.u64", [2**63 + 2**60, 60, 3], 1),
    ("bfe.s32", [0xABCD1234, 28, 4], -6),
    ("bfe.s32", [0xABCD1234, 4, 4], 3),
    ("bfe.s32", [0xABCD1234, 28, 8], -6),
    ("bfe.s32", [0xABCD1234, 40, 8], -1),
    ("bfe.s32", [0xABCD1234, 70, 8], -1),
    ("bfe.s32", [0xABCD1234, 28, 0], 0),
    ("bfe.s32", [0xABCD1234, 8, 200], 0xFFABCD12),
    ("bfe.s64", [2**63, 63, 1], -1),
    ("bfi.b32", [0xF, 0, 4, 2], 0x30),
    ("bfi.b32", [0xFF, 0x12345678, 28, 8], 0xF2345678),
    ("bfi.b32", [0xFF, 0x12345678, 32, 8], 0x12345678),
    ("bfi.b32", [0xFF, 0x12345678, 4, 0], 0x12345678),
    ("bfi.b32", [5, 0x12345678, 0, 255], 5),
    ("bfi.b64", [0, 2**64 - 1, 70, 3], 2**64 - 1),
    ("bfi.b64", [0, 2**64 - 1, 60, 3], 2**64 - 1 - 7 * 2**60),
    ("bfind.u32", [0], 2**32 - 1),
    ("bfind.u64", [2**40 + 5], 40),
    ("bfind.s32", [-1], 2**32 - 1),
    ("bfind.s32", [-17], 4),
    ("bfind.shiftamt.u32", [16], 27),
    ("bfind.shiftamt.u32", [0], 2**32 - 1),
    ("brev.b32", [1], 2**31),
    ("brev.b64", [2], 2**62),
    ("clz.b32", [0], 32),
    ("clz.b32", [1], 31),
    ("clz.b64", [0], 64),
    ("popc.b32", [2**32 - 1], 32),
    ("popc.b64", [2**63 + 1], 2),
    ("prmt.b32", [0x33221100, 0x77665544, 0x7531], 0x77553311),
    ("prmt.b32", [0x00008000, 0, 0x0009], 0x000000FF),
    ("prmt.b32", [0x00007F00, 0, 0x0009], 0x00000000),
    ("lop3.b32", [0xF0F0F0F0, 0xCCCCCCCC, 0xAAAAAAAA, 0xE8], 0xE8E8E8E8),
    ("lop3.b32", [0xF0F0F0F0, 0xCCCCCCCC, 0xAAAAAAAA, 0x16], 0x16161616),
    # conversions
    ("cvt.u32.u64", [2**32 + 5], 5),
    ("cvt.s64.s32", [2**32 - 5], -5),
    ("cvt.u64.u32", [2**32 - 5], 2**32 - 5),
    ("cvt.s64.s8", [0x180], -128),
    ("cvt.u32.u8", [0x1FF], 0xFF),
    ("cvt.u16.u32", [0x12345], 0x2345),
    ("cvt.s32.s16", [0xFFFF], -1),
    ("cvt.sat.u8.s32", [-5], 0),
    ("cvt.sat.s32.s64", [2**40], MOST),
    ("cvt.sat.s32.s64", [-(2**40)], LEAST),
    ("cvt.sat.s32.u32", [2**32 - 1], MOST),
    ("cvt.f64.f32", [2.0**-130], 2.0**-130),
    ("cvt.ftz.f64.f32", [2.0**-130], 0.0),
    ("cvt.rn.f32.f64", [1 + 2.0**-24], 1.0),
    ("cvt.rn.f32.f64", [1e300], INF),
    ("cvt.rz.f32.f64", [1e300], float(np.finfo(np.float32).max)),
    ("cvt.rz.f32.f64", [1 + 1.5 * 2.0**-23], 1 + 2.0**-23),
    ("cvt.rp.f32.f64", [1 + 2.0**-40], 1 + 2.0**-23),
    ("cvt.rm.f32.f64", [-1 - 2.0**-40], -1 - 2.0**-23),
    ("cvt.rn.ftz.f32.f64", [2.0**-127], 0.0),
    ("cvt.rn.f64.s64", [2**53 + 1], 2.0**53),
    ("cvt.rp.f64.s64", [2**53 + 1], 2.0**53 + 2),
    ("cvt.rz.f64.s64", [-(2**53) - 3], -(2.0**53) - 2),
    ("cvt.rn.f64.u64", [2**64 - 1], 2.0**64),
    ("cvt.rz.f64.u64", [2**64 - 1], 2.0**64 - 2**11),
    ("cvt.rn.f32.u64", [2**24 + 1], 2.0**24),
    ("cvt.rn.f64.u16", [0x1FFFF], 65535.0),
    ("cvt.rn.f64.s16", [0x8000], -32768.0),
    ("cvt.rn.f64.s8", [0xFF], -1.0),
    ("cvt.sat.f32.f32", [-1.0], 0.0),
    ("cvt.sat.f32.f32", [0.25], 0.25),
    ("cvt.sat.f64.f64", [7.0], 1.0),
    ("cvt.sat.f64.f64", [NAN], 0.0),
    ("cvt.rni.f64.f64", [2.5], 2.0),
    ("cvt.rni.f64.f64", [-0.4], -0.0),
    ("cvt.rni.f32.f32", [3.5], 4.0),
    ("cvt.rzi.f64.f64", [-1.7], -1.0),
    ("cvt.rmi.f64.f64", [-1.2], -2.0),
    ("cvt.rpi.f64.f64", [1.2], 2.0),
    ("cvt.rpi.f64.f64", [-0.4], -0.0),
    ("cvt.rni.s32.f64", [2.5], 2),
    ("cvt.rni.s64.f32", [-3.5], -4),
    ("cvt.rmi.s64.f64", [-0.5], -1),
    ("cvt.rpi.s32.f64", [0.1], 1),
    ("cvt.rpi.u32.f64", [7.0], 7),
    ("cvt.rzi.s32.f64", [1e10], MOST),
    ("cvt.rzi.s32.f64", [-INF], LEAST),
    ("cvt.rzi.s64.f64", [9007199254740993.0], 9007199254740992),
    ("cvt.rzi.s64.f64", [2.0**63], 2**63 - 1),
    ("cvt.rzi.u32.f64", [-1.0], 0),
    ("cvt.rzi.u32.f64", [2.0**32], 2**32 - 1),
    ("cvt.rzi.u64.f64", [1e20], 2**64 - 1),
    ("cvt.rpi.ftz.s32.f32", [2.0**-130], 0),
    # "NaN input results in zero if source is not .f64 and destination is not .s64, .u64, otherwise 1 << (BitWidth(dst) - 1)"
    ("cvt.rzi.s32.f64", [NAN], LEAST),
    ("cvt.rzi.u32.f64", [NAN], 2**31),
    ("cvt.rzi.u64.f64", [NAN], 2**63),
    ("cvt.rzi.s32.f32", [NAN], 0),
    ("cvt.rzi.s64.f32", [NAN], -(2**63)),
]
ORDER = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}
EQUAL = {"eq": operator.eq, "ne": operator.ne}
UNSIGNED_ORDER = {"lo": operator.lt, "ls": operator.le, "hi": operator.gt, "hs": operator.ge}
# "If either operand is NaN, the result is False" of eq … ge, "True" of equ … geu; num and nan test for it.
REAL = {
    **{name: lambda x, y, holds=holds: holds(x, y) and x == x and y == y for name, holds in ORDER.items()},
    **{f"{name}u": lambda x, y, holds=holds: holds(x, y) or x != x or y != y for name, holds in ORDER.items()},
    "num": lambda x, y: x == x and y == y,
    "nan": lambda x, y: x != x or y != y,
}
JOINED = {"": lambda one, other: one, ".and": operator.and_, ".or": operator.or_, ".xor": operator.xor}
NUMBERS = {"f": [0.0, -0.0, 1.5, -2.5, INF, NAN], "s": [0, 1, -1, -5], "u": [0, 1, 5, 2**16 - 1], "b": [0, 1, 5]}
# lines, what r0, r1 and r2 then are (each of `width` bits) for a, b, c, d
CARRIES = [
    (
        ["add.cc.T r0, a, c", "addc.cc.T r1, b, d", "addc.T r2, 0, 0"],
        lambda a, b, c, d, width: (a + c) + (b + d << width),
    ),
    (
        ["sub.cc.T r0, a, c", "subc.cc.T r1, b, d", "subc.T r2, 0, 0"],
        lambda a, b, c, d, width: (a - c) + (b - d << width),
    ),
    (
        ["mad.lo.cc.T r0, a, b, c", "madc.hi.cc.T r1, a, b, d", "addc.T r2, 0, 0"],
        lambda a, b, c, d, width: a * b + c + (d << width),
    ),
    (
        ["mul.lo.T r0, a, b", "mad.hi.cc.T r1, a, b, d", "addc.T r2, 0, 0"],
        lambda a, b, c, d, width: a * b + (d << width),
    ),
    (
        ["add.cc.T r0, a, c", "madc.lo.cc.T r1, a, b, d", "addc.T r2, 0, 0"],
        lambda a, b, c, d, width: a + c + ((a * b) % 2**width + d << width),
    ),
    (
        ["add.cc.T r0, a, c", "madc.lo.T r1, a, b, d", "mov.T r2, 0"],
        lambda a, b, c, d, width: (a + c + (a * b + d << width)) % 2 ** (2 * width),
    ),
    (
        ["mad.lo.cc.T r0, a, b, c", "madc.hi.T r1, a, b, d", "mov.T r2, 0"],
        lambda a, b, c, d, width: (a * b + c + (d << width)) % 2 ** (2 * width),
    ),
]


WORDS = [0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 0x123456789ABCDEF]
CVTA = ["cvta.to.global.u64", "cvta.shared.u64", "cvta.to.shared.u64"]
ALL_COMPARISONS = [
    (f"setp.{name}{joined}.{of}", holds, join, NUMBERS[of[0]])
    for joined, join in JOINED.items()
    for names, kinds in [(REAL, "f32 f64"), (ORDER, "s16 u16 s32 u32 s64 u64"), (UNSIGNED_ORDER, "u16 u32 u64"), (EQUAL, "b16 b32 b64")]
    for name, holds in names.items()
    for of in kinds.split()
]


def types(opcode):
    return [part for part in opcode.split(".") if re.fullmatch(r"pred|[bsuf]\d+", part)]


def bits(value, of):
    """A register that holds the value."""
    if isinstance(value, float):
        return int.from_bytes(struct.pack({"f32": "<f", "f64": "<d"}[of], value), "little")
    return value % 2**64


def kernel(name, *lines):
    """Registers a, b, c, d come from memory, r0, r1, r2 go behind them."""
    return "\n".join(
        [
            f".visible .entry {name}(.param .u64 memory) {{",
            ".reg .b64 %m, a, b, c, d, r0, r1, r2;",
            "ld.param.u64 %m, [memory];",
            *(f"ld.global.b64 {register}, [%m+{8 * i}];" for i, register in enumerate("abcd")),
            *(f"{line};" for line in lines),
            *(f"st.global.b64 [%m+{8 * i + 32}], r{i};" for i in range(3)),
            "ret;",
            "}",
        ]
    )


def one(opcode, count):
    return kernel(opcode.replace(".", "_"), "mov.b64 r1, 0", "mov.b64 r2, 0", f"{opcode} r0, {', '.join('abcd'[:count])}")


def run(library, name, *operands):
    memory = np.zeros(7, np.uint64)
    memory[: len(operands)] = operands
    launch(library, name.replace(".", "_"), memory)
    return memory[4:].tolist()


@pytest.fixture(scope="module")
def library():
    counts = {opcode: len(operands) for opcode, operands, _ in CASES}
    counts |= {opcode: 3 if re.search("and|or", opcode) else 2 for opcode, *_ in ALL_COMPARISONS}
    carries = [
        kernel(f"carry_{i}_{of}", *(line.replace("T", of) for line in lines))
        for i, (lines, _) in enumerate(CARRIES)
        for of in ("u32", "u64")
    ]
    return loaded(built_of_ptx("\n".join([*(one(*each) for each in counts.items()), *carries])))


@pytest.mark.parametrize(("opcode", "operands", "result"), CASES, ids=lambda value: str(value))
def test_instructions(library, opcode, operands, result):
    found = run(library, opcode, *(bits(each, types(opcode)[-1]) for each in operands))[0]
    of = types(opcode)[0]
    if isinstance(result, float) and math.isnan(result):
        assert math.isnan(struct.unpack("<d", struct.pack("<Q", found))[0])
    else:
        size = 64 if of == "pred" else int(of[1:]) * (2 if "wide" in opcode else 1)
        assert hex(found % 2**size) == hex(bits(result, of) % 2**size)


@pytest.mark.parametrize(("opcode", "holds", "join", "numbers"), ALL_COMPARISONS, ids=[row[0] for row in ALL_COMPARISONS])
def test_comparisons(library, opcode, holds, join, numbers):
    for x, y, also in itertools.product(numbers, numbers, (False, True)):
        found = run(library, opcode, bits(x, types(opcode)[-1]), bits(y, types(opcode)[-1]), also)[0]
        assert found == join(holds(x, y), also), (x, y, also)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("i", range(len(CARRIES)))
def test_carries(library, i, width):
    words = {value % 2**width for value in WORDS}
    for operands in itertools.product(words, repeat=4):
        found = run(library, f"carry_{i}_u{width}", *operands)
        expected = CARRIES[i][1](*operands, width) % 2 ** (3 * width)
        assert [value % 2**width for value in found] == [expected >> width * place & 2**width - 1 for place in range(3)]


@pytest.fixture(scope="module")
def shared():
    places = [".shared .align 4 .b8 before[12]", ".shared .align 8 .b8 here[24]", "mov.u64 r0, here"]
    there = [*places, "st.shared.b64 [r0+8], a", "st.shared.b64 [here+16], b"]
    generic = kernel("generic", *there, "cvta.shared.u64 r1, r0", "cvta.to.shared.u64 r2, r1", "ld.b64 r1, [r1+8]")
    narrow = kernel("narrow", *there, "mov.u32 r1, here", "add.s32 r1, r1, 8", "ld.shared.v2.b32 {r1, r2}, [r1]")
    return loaded(built_of_ptx(f"{generic}\n{narrow}"))


def test_addresses_of_shared_memory(shared):
    assert run(shared, "generic", 2**40 + 3) == [16, 2**40 + 3, 16]
    assert run(shared, "narrow", 2**40 + 3) == [56, 3, 2**8]


def test_no_row_is_without_a_case():
    known = {opcode for opcode, *_ in CASES + ALL_COMPARISONS} | set(CVTA)
    known |= {line.split()[0].replace("T", of) for lines, _ in CARRIES for line in lines for of in ("u32", "u64")}
    assert [row[0] for row in ptx.INSTRUCTIONS if known.isdisjoint(ptx.spelled_out(row[0]))] == []
