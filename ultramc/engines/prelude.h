/* What generated code calls, after lanes.h or threads.h. Doubles throughout; masks are 0 and 1, tags small numbers. No contraction,
   NaN kept. */

/* Comparison, rounding: the expressions of ultramc/engines/array.py. */

INLINE double minimum(double x, double y) { return (x < y) | (x != x) ? x : y; }
INLINE double maximum(double x, double y) { return (x > y) | (x != x) ? x : y; }
INLINE double sign(double x) { return x != x ? x : (double)((x > 0) - (x < 0)); }
INLINE double near(double x, double y) { return (x == y) | (fabs(x - y) <= 0x1p-51 * (fabs(x) + fabs(y))); }
/* By its bits: a constant 0 on one of two ways would be threaded through all that follows, which then does not vectorise. */
INLINE double unless(int is_small, double x)
{
    return of_bits(bits_of(x) & ((uint64_t)is_small - 1));
}
INLINE double snap(double result, double x, double y) { return unless(fabs(result) < 0x1p-49 * maximum(fabs(x), fabs(y)), result); }
/* Where the result is x + y or x - y, which is NaN where one of them is. */
INLINE double snap_sum(double result, double x, double y)
{
    double one = fabs(x), other = fabs(y);
    return unless(fabs(result) < 0x1p-49 * (one > other ? one : other), result);
}
INLINE double modulo(double x, double y) { return x - y * floor(x / y); }
INLINE double mend(double x) { double nearest = rint(x); return fabs(x - nearest) <= 0x1p-49 * fabs(x) ? nearest : x; }
INLINE double round_half(double x)
{
    double size = fabs(x), whole = floor(size);
    return copysign(whole + (double)(size - whole + minimum(0x1p-49 * size, 0.125) >= 0.5), x);
}

/* The shortcuts that NumPy takes, taken always. */
static double power(double x, double y)
{
    if (y == 2.0) return x * x;
    if (y == 0.5) return sqrt(x);
    if (y == -1.0) return 1.0 / x;
    return pow(x, y);
}

/* Normal distribution. Quantile: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", PPND16, 1988. */

static double normal_cdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

/* For 0.075 ≤ p ≤ 0.925, without a branch. */
INLINE double normal_quantile_within(double p)
{
    double q = p - 0.5, r = 0.180625 - q * q;
    return q
        * (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r + 45921.953931549871457) * r
                + 13731.693765509461125) * r + 1971.5909503065514427) * r + 133.14166789178437745) * r + 3.387132872796366608)
        / (((((((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r + 21213.794301586595867) * r
                + 5394.1960214247511077) * r + 687.1870074920579083) * r + 42.313330701600911252) * r + 1.0);
}

INLINE int is_within(double p) { return fabs(p - 0.5) <= 0.425; }

static double normal_quantile_outside(double p)
{
    double q = p - 0.5;
    if (!(p >= 0.0 && p <= 1.0)) return NAN;
    double tail = q < 0 ? p : 1.0 - p, r = sqrt(-log(tail)), size;
    if (tail == 0.0) size = INFINITY;
    else if (r <= 5.0) {
        r -= 1.6;
        size = (((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r + 1.27045825245236838258) * r
                    + 3.64784832476320460504) * r + 5.7694972214606914055) * r + 4.6303378461565452959) * r + 1.42343711074968357734)
            / (((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
                    + 0.14810397642748007459) * r + 0.68976733498510000455) * r + 1.6763848301838038494) * r + 2.05319162663775882187) * r + 1.0);
    } else {
        r -= 5.0;
        size = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
                    + 0.026532189526576123093) * r + 0.29656057182850489123) * r + 1.7848265399172913358) * r + 5.4637849111641143699) * r
                + 6.6579046435011037772)
            / (((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
                    + 7.868691311456132591e-4) * r + 0.0148753612908506148525) * r + 0.13692988092273580531) * r
                + 0.59983220655588793769) * r + 1.0);
    }
    return q < 0 ? -size : size;
}

/* Draws: Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11), see ultramc/sampling/base.py. A site is
   its key, row, column and k; a block of draws the four iterations from 4 * block. */

INLINE void philox(uint64_t word[4], const uint64_t *site, int64_t row, int64_t column, uint64_t block)
{
    uint64_t key[2] = {site[0], site[1]};
    word[0] = block + 1, word[1] = site[2] + (uint64_t)row, word[2] = site[3] + (uint64_t)column, word[3] = site[4];
    for (int round = 0; round < 10; round++) {
        uint64_t high0 = high_product(0xD2E7470EE14C6C93, word[0]), low0 = 0xD2E7470EE14C6C93 * word[0];
        uint64_t high1 = high_product(0xCA5A826395121157, word[2]), low1 = 0xCA5A826395121157 * word[2];
        word[0] = high1 ^ word[1] ^ key[0];
        word[1] = low1;
        word[2] = high0 ^ word[3] ^ key[1];
        word[3] = low0;
        key[0] += 0x9E3779B97F4A7C15;
        key[1] += 0xBB67AE8584CAA73B;
    }
}

INLINE double uniform_of(uint64_t word) { return ((double)(word >> 12) + 0.5) * 0x1p-52; }

/* A quantile as polynomials in pieces: ultramc/distributions/chebyshev.py. */
static double piecewise(const double *coefficients, int64_t columns, int64_t degree, int64_t parts, double side, double least, double largest,
                        double below, double above)
{
    int exponent;
    double lower = minimum(below, above);
    double t = frexp(lower < 0x1p-53 ? 0x1p-53 : lower > 0.5 ? 0.5 : lower, &exponent) * (2.0 * (double)parts);
    double part = floor(t);
    t = 2.0 * (t - part) - 1.0;
    double column = (double)exponent * (double)parts + part + (above < below ? 2.0 : 1.0) * side - 2.0 * (double)parts;
    int64_t place = column == column ? (int64_t)column : 0;
    double result = coefficients[degree * columns + place];
    for (int64_t row = degree - 1; row >= 0; row--) result = result * t + coefficients[row * columns + place];
    return minimum(maximum(result, least), largest);
}

/* Look-ups. A position that is NaN or negative is 0, one behind the end the last. */

INLINE int64_t position(double x, int64_t size) { return x > 0 ? (int64_t)(x < (double)(size - 1) ? x : (double)(size - 1)) : 0; }

static double search(const double *table, int64_t size, double x)
{
    int64_t first = 0;
    for (int64_t length = size; length > 0;) {
        int64_t half = length / 2;
        if (table[first + half] < x) first += half + 1, length -= half + 1;
        else length = half;
    }
    return (double)first;
}

/* Heap sort of numbers that lie `stride` apart, NaN last. */

INLINE int follows(double x, double y) { return x > y || (x != x && y == y); }

static void sift(double *x, int64_t stride, int64_t root, int64_t size)
{
    for (int64_t child; (child = 2 * root + 1) < size; root = child) {
        if (child + 1 < size && follows(x[(child + 1) * stride], x[child * stride])) child++;
        if (!follows(x[child * stride], x[root * stride])) return;
        double held = x[root * stride];
        x[root * stride] = x[child * stride];
        x[child * stride] = held;
    }
}

static void sort(double *x, int64_t stride, int64_t size)
{
    for (int64_t root = size / 2 - 1; root >= 0; root--) sift(x, stride, root, size);
    for (int64_t last = size - 1; last > 0; last--) {
        double held = x[0];
        x[0] = x[last * stride];
        x[last * stride] = held;
        sift(x, stride, 0, last);
    }
}
