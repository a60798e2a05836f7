/* Generated code on a GPU: an iteration is a thread; n threads in blocks of THREADS, which make their draws together. */

typedef unsigned long long uint64_t;
typedef long long int64_t;

#define INLINE static __device__ __forceinline__
#define NAN of_bits(0x7FF8000000000000)
#define INFINITY of_bits(0x7FF0000000000000)
#define SIDE_BY_SIDE
#define ONE_BY_ONE
/* Left alone, NVRTC unrolls what has a hundred steps, which takes it minutes for a large program. */
#define EACH(index, length) _Pragma("unroll 4") for (int64_t index = 0; index < length; index++)
#define ROLLED _Pragma("unroll 1")
#define OWN 1
#define LANE 0
#define AT(array, cell) array[(uint64_t)(cell) * n + l]
#define ROOM(cell) (S + (uint64_t)(cell) * n)
#define BETWEEN (int64_t)n
#define GIVEN(cell) D[(uint64_t)(cell) * n + l]
#define OUTPUT(cell, value) { double given = value; AT(O, cell) = given; sum = mixed(sum + bits_of(given)); }
#define DRAW(element, site, row, column) element = draw(site, row, column, first, turn++)

INLINE uint64_t bits_of(double x) { return (uint64_t)__double_as_longlong(x); }
INLINE double of_bits(uint64_t bits) { return __longlong_as_double((long long)bits); }
INLINE uint64_t high_product(uint64_t x, uint64_t y) { return __umul64hi(x, y); }

/* Steps of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). */
INLINE uint64_t mixed(uint64_t bits)
{
    bits *= 0xBF58476D1CE4E5B9;
    return bits ^ bits >> 32;
}

#include "prelude.h"

/* One warp makes the draws of the block, four of an iteration's neighbours at a time; turns share the work between warps, and two
   shelves make one barrier enough. */
static __device__ double draw(const uint64_t *site, int64_t row, int64_t column, uint64_t first, unsigned turn)
{
    __shared__ double shelf[2][THREADS];
    const unsigned part = threadIdx.x % (THREADS / 4), warp = threadIdx.x / (THREADS / 4);
    double *draws = shelf[turn % 2];
    if (warp == turn % 4) {
        uint64_t word[4];
        philox(word, site, row, column, (first + (uint64_t)blockIdx.x * THREADS) / 4 + part);
        for (int number = 0; number < 4; number++) draws[4 * part + number] = uniform_of(word[number]);
    }
    __syncthreads();
    return draws[threadIdx.x];
}

/* What the host checks of each kernel: the launch, how many threads of a block came to the end, and the sum of what
   threads made of the bits of their outputs, one after the other from their own number on. */
static __device__ void vouch(uint64_t *C, uint64_t launch, unsigned kernel, uint64_t sum)
{
    __shared__ uint64_t sums[THREADS], counts[THREADS];
    const unsigned x = threadIdx.x;
    sums[x] = sum, counts[x] = 1;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (x < half) sums[x] += sums[x + half], counts[x] += counts[x + half];
        __syncthreads();
    }
    if (x != 0) return;
    uint64_t *own = C + 2 * ((uint64_t)kernel * gridDim.x + blockIdx.x);
    own[0] = 256 * launch + counts[0], own[1] = sums[0];
}
