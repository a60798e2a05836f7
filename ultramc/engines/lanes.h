/* Generated code on a processor: LANES iterations side by side in each inner loop. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define SIDE_BY_SIDE _Pragma("omp simd") for (int64_t l = 0; l < LANES; l++)
#define ONE_BY_ONE for (int64_t l = 0; l < LANES; l++)
#define EACH(index, length) for (int64_t index = 0; index < length; index++)
#define ROLLED
#define OWN LANES /* elements of a variable that each lane has its own of */
#define LANE l
#define AT(array, cell) array[(cell) * LANES + l]
#define ROOM(cell) (S + (cell) * LANES)
#define BETWEEN LANES /* from a cell to the next of the same lane */
#define GIVEN(cell) D[(cell) * n + l]
#define OUTPUT(cell, value) O[(cell) * n + l] = value
#define DRAW(element, site, row, column) { const int64_t l = 0; draw(&element, site, row, column, first); }

INLINE uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

INLINE double of_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

INLINE uint64_t high_product(uint64_t x, uint64_t y) { return (uint64_t)((unsigned __int128)x * y >> 64); }

#include "prelude.h"

static void draw(double *out, const uint64_t *site, int64_t row, int64_t column, uint64_t first)
{
    for (int64_t number = 0; number < LANES; number += 4) {
        uint64_t word[4];
        philox(word, site, row, column, (first + (uint64_t)number) / 4);
        for (int part = 0; part < 4; part++) out[number + part] = uniform_of(word[part]);
    }
}
