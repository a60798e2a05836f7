/* What translated PTX stands on (see ptx.py). A register is 64 bits without a type; an instruction says how it reads them. */
#include <fenv.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t b8, u8;
typedef uint16_t b16, u16;
typedef uint32_t b32, u32;
typedef uint64_t b64, u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef __int128 s128;
typedef unsigned __int128 u128;
typedef float f32;
typedef double f64;
typedef _Bool pred;

extern struct { unsigned x, y, z; } threadIdx, blockIdx, blockDim, gridDim;
extern void __syncthreads(void);

/* By how many units of the last place the approximations that the hardware defines are off: a test sets it. */
__attribute__((weak)) int ptx_seed_units;

/* Carry or borrow out of the last instruction with .cc; what is between that and its use waits for nobody. */
static b64 ptx_carry;

/* as_T reads a register as a T, of_T puts a T into one (a signed integer with its sign), ld_T and st_T move one to and from memory. */
#define TYPE(T, from_bits, to_bits) \
    static inline T as_##T(b64 bits) { T value; from_bits; return value; } \
    static inline b64 of_##T(T value) { b64 bits; to_bits; return bits; } \
    static inline b64 ld_##T(b64 at) { T value; memcpy(&value, (const void *)at, sizeof value); return of_##T(value); } \
    static inline void st_##T(b64 at, b64 bits) { T value = as_##T(bits); memcpy((void *)at, &value, sizeof value); }
#define INTEGER(T) TYPE(T, value = (T)bits, bits = (b64)value)
INTEGER(b8) INTEGER(u8) INTEGER(s8) INTEGER(b16) INTEGER(u16) INTEGER(s16)
INTEGER(b32) INTEGER(u32) INTEGER(s32) INTEGER(b64) INTEGER(u64) INTEGER(s64)
TYPE(f32, memcpy(&value, &bits, 4), bits = 0; memcpy(&bits, &value, 4))
TYPE(f64, memcpy(&value, &bits, 8), memcpy(&bits, &value, 8))
TYPE(pred, value = bits != 0, bits = value)

/* A GPU refuses what is not aligned, so this does too. */
static inline b64 ptx_at(b64 address, b64 bytes) {
    if (address % bytes) {
        fprintf(stderr, "ptx: %d bytes at %#llx are not aligned\n", (int)bytes, (unsigned long long)address);
        abort();
    }
    return address;
}

static inline b64 ptx_within(b64 memory, b64 size, b64 offset, b64 bytes) {
    if (offset > size || bytes > size - offset) {
        fprintf(stderr, "ptx: %d bytes at %lld of %lld in shared memory\n", (int)bytes, (long long)offset, (long long)size);
        abort();
    }
    return ptx_at(memory + offset, bytes);
}

#define BITS(T) (8 * (int)sizeof(T))
#define IS_SIGNED(T) ((T)-1 < (T)1)
#define LOWEST(T) (IS_SIGNED(T) ? (T)((b64)1 << (BITS(T) - 1)) : (T)0)
#define HIGHEST(T) ((T)~LOWEST(T))

#define CARRY(T, sum) ({ u128 whole = (sum); ptx_carry = whole >> BITS(T) & 1; (T)whole; })

/* "NaN input results in zero if source is not .f64 and destination is not .s64, .u64, otherwise 1 << (BitWidth(dst) - 1)" (PTX ISA, cvt) */
#define CLAMPED(D, S, whole) ({ \
    f64 x = (whole); \
    x != x ? (BITS(S) == 32 && BITS(D) < 64 ? (D)0 : (D)((b64)1 << (BITS(D) - 1))) \
    : x >= (f64)HIGHEST(D) ? HIGHEST(D) : x <= (f64)LOWEST(D) ? LOWEST(D) : (D)x; })

#define MINIMUM(a, b) (a != a ? b : b != b ? a : a == b ? (__builtin_signbit(a) ? a : b) : a < b ? a : b)
#define MAXIMUM(a, b) (a != a ? b : b != b ? a : a == b ? (__builtin_signbit(a) ? b : a) : a > b ? a : b)

/* The bits of a from `start` on, `length` of them, the last one repeated upwards. */
static inline s64 ptx_signed_field(s64 a, int start, int length) {
    s64 rest = a >> (start > 63 ? 63 : start);
    int spare = length > 63 ? 0 : 64 - length;
    return length ? (s64)((b64)rest << spare) >> spare : 0;
}

static inline b64 ptx_ones(int many) { return many > 63 ? ~(b64)0 : ((b64)1 << many) - 1; }

static inline b64 ptx_inserted(b64 a, b64 b, int start, int length) {
    if (start > 63) return b;
    b64 mask = ptx_ones(length) << start;
    return (b & ~mask) | (a << start & mask);
}

static inline b64 ptx_reversed(b64 a, int bits) {
    b64 result = 0;
    for (int i = 0; i < bits; i++) result |= (a >> i & 1) << (bits - 1 - i);
    return result;
}

static inline u32 ptx_permuted(u32 a, u32 b, u32 selectors) {
    u64 bytes = (u64)b << 32 | a;
    u32 result = 0;
    for (int i = 0; i < 4; i++) {
        int selector = selectors >> 4 * i & 15, byte = bytes >> 8 * (selector & 7) & 255;
        result |= (u32)(selector & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * i;
    }
    return result;
}

static inline u32 ptx_logic(u32 a, u32 b, u32 c, u32 table) {
    u32 result = 0;
    for (int i = 0; i < 8; i++)
        if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}

/* Where the highest bit that differs from the sign stands; -1 if there is none. */
static inline s32 ptx_highest(b64 a) { return a ? 63 - __builtin_clzll(a) : -1; }

static inline f32 ptx_flushed_f32(f32 a) { return __builtin_fabsf(a) < 0x1p-126f ? __builtin_copysignf(0, a) : a; }
static inline f64 ptx_flushed_f64(f64 a) { return __builtin_fabs(a) < 0x1p-1022 ? __builtin_copysign(0, a) : a; }

/* rcp and rsqrt .approx.ftz.f64 read the upper 32 bits of a double and give the upper 32 bits of one. */
static inline f64 ptx_upper(f64 a) { return as_f64(of_f64(a) & ~(b64)0xffffffff); }
static inline f64 ptx_seed(f64 exact) {
    f64 near = ptx_flushed_f64(exact);
    if (near == 0 || near - near != 0) return near;
    return ptx_upper(as_f64(of_f64(near) + 0x80000000 + ((b64)(s64)ptx_seed_units << 32)));
}

/* Of whole powers libdevice takes for granted that they are exact (tanh, erf). */
static inline f32 ptx_power_of_two(f32 a) {
    f32 near = ptx_flushed_f32(__builtin_exp2f(ptx_flushed_f32(a)));
    if (a == __builtin_rintf(a) || near == 0 || near - near != 0) return near;
    return as_f32(of_f32(near) + ptx_seed_units);
}
