/* The models of models.py, written by hand: W iterations side by side in SIMD lanes, groups of lanes on threads. Draws are made where
   they are used, as ultramc documents them. A site is its key (two words), row and column.

   With -DEXCEL a formula that ends in + or - snaps to zero, as it does in Excel and on every engine; by hand one would leave that out. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef W
#define W 64
#endif
#define PERIODS 120
#define CLASSES 8
#define SIMD _Pragma("omp simd") for (int l = 0; l < W; l++)

typedef double lanes[W];

#ifdef EXCEL
static inline double snap(double result, double x, double y)
{
    double one = fabs(x), other = fabs(y);
    return fabs(result) < 0x1p-49 * (one > other ? one : other) ? 0.0 : result;
}
#else
#define snap(result, x, y) (result)
#endif

static inline double larger(double x, double y) { return x > y ? x : y; }
static inline double smaller(double x, double y) { return x < y ? x : y; }

/* Philox4x64-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11. `first` is a multiple of four. */
static inline void uniforms(lanes out, const uint64_t *site, uint64_t first)
{
    for (int l = 0; l < W; l += 4) {
        uint64_t a = (first + (uint64_t)l) / 4 + 1, b = site[2], c = site[3], d = 0, key = site[0], other = site[1];
        for (int round = 0; round < 10; round++) {
            unsigned __int128 one = (unsigned __int128)0xD2E7470EE14C6C93 * a, two = (unsigned __int128)0xCA5A826395121157 * c;
            a = (uint64_t)(two >> 64) ^ b ^ key;
            b = (uint64_t)two;
            c = (uint64_t)(one >> 64) ^ d ^ other;
            d = (uint64_t)one;
            key += 0x9E3779B97F4A7C15;
            other += 0xBB67AE8584CAA73B;
        }
        out[l] = (double)(a >> 12), out[l + 1] = (double)(b >> 12), out[l + 2] = (double)(c >> 12), out[l + 3] = (double)(d >> 12);
    }
    SIMD out[l] = (out[l] + 0.5) * 0x1p-52;
}

/* Wichura, "Algorithm AS 241: the percentage points of the normal distribution", PPND16, 1988. */
static double tail(double p, int below)
{
    double r = sqrt(-log(p)), x;
    if (r <= 5.0) {
        r -= 1.6;
        x = (((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r + 1.27045825245236838258) * r
                + 3.64784832476320460504) * r + 5.7694972214606914055) * r + 4.6303378461565452959) * r + 1.42343711074968357734)
            / (((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
                + 0.14810397642748007459) * r + 0.68976733498510000455) * r + 1.6763848301838038494) * r + 2.05319162663775882187) * r + 1.0);
    } else {
        r -= 5.0;
        x = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
                + 0.026532189526576123093) * r + 0.29656057182850489123) * r + 1.7848265399172913358) * r + 5.4637849111641143699) * r
                + 6.6579046435011037772)
            / (((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
                + 7.868691311456132591e-4) * r + 0.0148753612908506148525) * r + 0.13692988092273580531) * r
                + 0.59983220655588793769) * r + 1.0);
    }
    return below ? -x : x;
}

/* law: mean, standard deviation */
static inline void normals(lanes out, const uint64_t *site, uint64_t first, const double *law)
{
    lanes u;
    uniforms(u, site, first);
    SIMD {
        double q = u[l] - 0.5, r = 0.180625 - q * q;
        out[l] = q
            * (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r + 45921.953931549871457) * r
                + 13731.693765509461125) * r + 1971.5909503065514427) * r + 133.14166789178437745) * r + 3.387132872796366608)
            / (((((((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r + 21213.794301586595867) * r
                + 5394.1960214247511077) * r + 687.1870074920579083) * r + 42.313330701600911252) * r + 1.0);
    }
    for (int l = 0; l < W; l++)
        if (fabs(u[l] - 0.5) > 0.425) out[l] = tail(u[l] < 0.5 ? u[l] : 1.0 - u[l], u[l] < 0.5);
    SIMD out[l] = law[0] + law[1] * out[l];
}

static void keep(double *out, const lanes x, long i, long n) { memcpy(out + i, x, sizeof(double) * (size_t)(n - i < W ? n - i : W)); }

/* laws: minimum, mode, maximum of the volume; mean and std of the price; minimum, maximum of the cost; mean and std of the growth */
void cash_flow(const uint64_t *sites, const double *laws, double *out, long n, int threads)
{
    double low = laws[0], mode = laws[1], high = laws[2], discount[5] = {1.1};
    for (int year = 1; year < 5; year++) discount[year] = pow(1.1, year + 1);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long i = 0; i < n; i += W) {
        lanes volume, price, cost, growth, total;
        uniforms(volume, sites, (uint64_t)i);
        normals(price, sites + 4, (uint64_t)i, laws + 3);
        uniforms(cost, sites + 8, (uint64_t)i);
        normals(growth, sites + 12, (uint64_t)i, laws + 7);
        SIMD {
            double u = volume[l], rising = low + sqrt(u * (high - low) * (mode - low)), falling = high - sqrt((1 - u) * (high - low) * (high - mode));
            double units = u < (mode - low) / (high - low) ? rising : falling;
            double margin = price[l] - (laws[5] + cost[l] * (laws[6] - laws[5])), sum = 0;
            for (int year = 0; year < 5; year++, units *= 1 + growth[l]) {
                double gross = units * margin, net = gross - 1500;
                sum += snap(net, gross, 1500) / discount[year];
            }
            total[l] = sum - 8000;
            total[l] = snap(total[l], sum, 8000);
        }
        keep(out, total, i, n);
    }
}

/* laws: mean and std of growth, inflation of price, share of cost, inflation of cost, interest, tax, discount rate, volume */
void roll_forward(const uint64_t *sites, const double *laws, double *out, long n, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long i = 0; i < n; i += W) {
        lanes drawn[8], price, fixed, debt, cash, factor, value, lowest;
        for (int input = 0; input < 8; input++) normals(drawn[input], sites + 4 * input, (uint64_t)i, laws + 2 * input);
        double *growth = drawn[0], *price_inflation = drawn[1], *share = drawn[2], *cost_inflation = drawn[3];
        double *rate = drawn[4], *tax = drawn[5], *discount = drawn[6], *volume = drawn[7];
        SIMD price[l] = 10, fixed[l] = 2500, debt[l] = 60000, cash[l] = 0, factor[l] = 1, value[l] = 0, lowest[l] = 1e30;
        for (int period = 0; period < PERIODS; period++) {
            SIMD {
                volume[l] *= 1 + growth[l];
                price[l] *= 1 + price_inflation[l];
                fixed[l] *= 1 + cost_inflation[l];
                double revenue = volume[l] * price[l], gross = revenue - revenue * share[l], margin = gross - fixed[l];
                margin = snap(margin, gross, fixed[l]);
                double interest = debt[l] * rate[l] / 12, before_tax = margin - 500 - interest;
                before_tax = snap(before_tax, margin - 500, interest);
                double taxed = larger(before_tax, 0) * tax[l], available = margin - taxed;
                available = snap(available, margin, taxed);
                double repaid = smaller(debt[l], larger(available - interest, 0) * 0.6), left = debt[l] - repaid;
                double net = available - interest - repaid;
                net = snap(net, available - interest, repaid);
                factor[l] /= 1 + discount[l] / 12;
                double worth = net * factor[l], sum = value[l] + worth, balance = cash[l] + net;
                debt[l] = snap(left, debt[l], repaid);
                value[l] = snap(sum, value[l], worth);
                cash[l] = snap(balance, cash[l], net);
                lowest[l] = smaller(lowest[l], cash[l]);
            }
        }
        keep(out, value, i, n);
        keep(out + n, lowest, i, n);
        keep(out + 2 * n, debt, i, n);
    }
}

/* key: that of the sheet. given: sum insured and premium of each row. bands: from this loss ratio on, this share is retained; copied,
   since loops that read them by a pointer do not become SIMD. */
void portfolio(const uint64_t *key, const double *given, const double *bands, long rows, double *out, long n, int threads)
{
    double none = bands[1], from1 = bands[2], share1 = bands[3], from2 = bands[4], share2 = bands[5];
    double from3 = bands[6], share3 = bands[7], from4 = bands[8], share4 = bands[9];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long i = 0; i < n; i += W) {
        lanes results[CLASSES + 1] = {{0}};
        for (long row = 0; row < rows; row++) {
            const uint64_t site[4] = {key[0], key[1], (uint64_t)row + 2, 3};
            double insured = given[2 * row], premium = given[2 * row + 1], *result = results[row % CLASSES];
            lanes drawn;
            uniforms(drawn, site, (uint64_t)i);
            SIMD {
                double loss = insured * 0.2 * (drawn[l] * drawn[l] * drawn[l]), ratio = loss / premium, share = none;
                share = ratio >= from1 ? share1 : share;
                share = ratio >= from2 ? share2 : share;
                share = ratio >= from3 ? share3 : share;
                share = ratio >= from4 ? share4 : share;
                double retained = loss * share, left = premium - retained;
                result[l] += snap(left, premium, retained);
            }
        }
        for (int class = 0; class < CLASSES; class++) {
            SIMD results[CLASSES][l] += results[class][l];
        }
        for (int class = 0; class <= CLASSES; class++) keep(out + class * n, results[class], i, n);
    }
}
