/* CUDA C for the compiler of a processor: the words of the language, and the functions that kernels call. */

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(threads)
#define __restrict__ __restrict
#define __shared__ static /* threads of a block are fibers of one thread, and blocks follow one another: shim.c */

extern "C" {
extern struct { unsigned x, y, z; } threadIdx, blockIdx, blockDim, gridDim;
void __syncthreads(void);

double fabs(double), sqrt(double), floor(double), ceil(double), trunc(double), rint(double), copysign(double, double);
double exp(double), expm1(double), log(double), log1p(double), log10(double), pow(double, double), frexp(double, int *);
double sin(double), cos(double), tan(double), asin(double), acos(double), atan(double), atan2(double, double);
double sinh(double), cosh(double), tanh(double), asinh(double), acosh(double), atanh(double);
double erf(double), erfc(double), lgamma(double);
}

static inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y)
{
    return (unsigned long long)((unsigned __int128)x * y >> 64);
}

static inline long long __double_as_longlong(double x)
{
    long long bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double __longlong_as_double(long long bits)
{
    double x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}
