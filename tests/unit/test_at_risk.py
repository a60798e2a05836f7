"""Workbooks written with @RISK, run without it.

What a function means is SciPy's word, on the uniforms that five lines of NumPy make; that a formula draws the very bits of
an input of the API is then asked of every function and sampling.
"""

import io
import math
import re
import zipfile

import numpy as np
import pytest
from scipy import stats
from workbooks import five_lines, workbook

import ultramc as mc
from ultramc.dialects import at_risk
from ultramc.dialects.at_risk import trigen

SEED = 11
COUNT = 400
SAMPLINGS = ("random", "antithetic", "latin_hypercube", "sobol")


def simulation(cells, *, cached=None, names=None, **options):
    return mc.Simulation(workbook(cells, cached=cached, names=names), **options)


def run(cells, *, count=COUNT, cached=None, names=None, sampling="random", outputs="Model!B1", **options):
    return simulation(cells, cached=cached, names=names, outputs=outputs, **options).run(count, seed=SEED, sampling=sampling)


def drawn(formula, *, others=None, sampling="random", count=COUNT, **options):
    """What the cell A1 of a workbook draws."""
    return run({**(others or {}), "A1": formula, "B1": "=A1"}, sampling=sampling, count=count, **options)["Model!B1"].samples


def from_input(law, *, sampling="random", count=COUNT):
    return run({"A1": 1, "B1": "=A1"}, inputs={"A1": law}, sampling=sampling, count=count)["Model!B1"].samples


def uniforms(cell="A1", *, count=COUNT, k=0):
    return five_lines(SEED, int(cell[1:]), ord(cell[0]) - ord("A") + 1, count, k=k)


def refusal(formula, kind=mc.UltramcError, *, others=None, **options):
    with pytest.raises(kind) as caught:
        simulation({**(others or {}), "A1": formula, "B1": "=A1"}, outputs="B1", **options)
    return str(caught.value)


def _lognormal(mean, std):
    """https://kb.palisade.com/index.php?pg=kb.page&id=46: the parameters are those of the variable, not of its logarithm."""
    sigma = math.sqrt(math.log(1 + (std / mean) ** 2))
    return stats.lognorm(sigma, scale=math.exp(math.log(mean) - sigma**2 / 2))


def _pert(low, mode, high):
    return stats.beta(1 + 4 * (mode - low) / (high - low), 1 + 4 * (high - mode) / (high - low), loc=low, scale=high - low)


# What the sheet says, the same through the API, and what SciPy makes of it.
FUNCTIONS = {
    "RiskBernoulli(0.3)": (mc.Bernoulli(0.3), stats.bernoulli(0.3)),
    "RiskBeta(2,3)": (mc.Beta(2, 3), stats.beta(2, 3)),
    "RiskBetaGeneral(2,3,-1,5)": (mc.Beta(2, 3, -1, 5), stats.beta(2, 3, loc=-1, scale=6)),
    "RiskBinomial(12,0.3)": (mc.Binomial(12, 0.3), stats.binom(12, 0.3)),
    "RiskChisq(5)": (mc.ChiSquared(5), stats.chi2(5)),
    "RiskCumul(0,10,{2,5},{0.3,0.9})": (mc.Cumulative(0, 10, [2, 5], [0.3, 0.9]), None),
    "RiskDiscrete({7,3,5},{2,1,1})": (mc.Discrete([3, 5, 7], [0.25, 0.25, 0.5]), stats.rv_discrete(values=([3, 5, 7], [0.25, 0.25, 0.5]))),
    "RiskDuniform({7,3,5,9})": (mc.DiscreteUniform([3, 5, 7, 9]), stats.rv_discrete(values=([3, 5, 7, 9], [0.25] * 4))),
    "RiskErlang(3,2)": (mc.Erlang(3, 2), stats.gamma(3, scale=2)),
    "RiskExpon(4)": (mc.Exponential(4), stats.expon(scale=4)),
    "RiskExtvalue(10,3)": (mc.Gumbel(10, 3), stats.gumbel_r(10, 3)),
    "RiskGamma(2.5,4)": (mc.Gamma(2.5, 4), stats.gamma(2.5, scale=4)),
    "RiskGeneral(0,10,{2,5},{1,3})": (mc.General(0, 10, [2, 5], [1, 3]), None),
    "RiskGeomet(0.2)": (mc.Geometric(0.2), stats.geom(0.2, loc=-1)),
    "RiskHistogrm(0,3,{1,2,1})": (mc.Histogram(0, 3, [1, 2, 1]), stats.rv_histogram(([1, 2, 1], [0, 1, 2, 3]))),
    "RiskHypergeo(6,10,30)": (mc.Hypergeometric(6, 10, 30), stats.hypergeom(30, 10, 6)),
    "RiskIntuniform(3,8)": (mc.IntUniform(3, 8), stats.randint(3, 9)),
    "RiskLogistic(5,2)": (mc.Logistic(5, 2), stats.logistic(5, 2)),
    "RiskLoglogistic(1,3,2.5)": (mc.LogLogistic(1, 3, 2.5), stats.fisk(2.5, loc=1, scale=3)),
    "RiskLognorm(100,20)": (mc.LogNormal(100, 20), _lognormal(100, 20)),
    "RiskLognorm2(1,0.5)": (None, stats.lognorm(0.5, scale=math.e)),
    "RiskNegbin(3,0.4)": (mc.NegativeBinomial(3, 0.4), stats.nbinom(3, 0.4)),
    "RiskNormal(10,2)": (mc.Normal(10, 2), stats.norm(10, 2)),
    "RiskPareto(3,2)": (mc.Pareto(scale=2, shape=3), stats.pareto(3, scale=2)),
    "RiskPert(1,2,5)": (mc.PERT(1, 2, 5), _pert(1, 2, 5)),
    "RiskPoisson(4.5)": (mc.Poisson(4.5), stats.poisson(4.5)),
    "RiskRayleigh(3)": (mc.Rayleigh(3), stats.rayleigh(scale=3)),
    "RiskStudent(6)": (mc.StudentT(6), stats.t(6)),
    "RiskTriang(1,2,5)": (mc.Triangular(1, 2, 5), stats.triang(0.25, loc=1, scale=4)),
    "RiskTrigen(15,20,30,10,90)": (None, None),
    "RiskUniform(-1,3)": (mc.Uniform(-1, 3), stats.uniform(-1, 4)),
    "RiskWeibull(1.5,3)": (mc.Weibull(1.5, 3), stats.weibull_min(1.5, scale=3)),
}
FROM_API = [(formula, api) for formula, (api, _) in FUNCTIONS.items() if api is not None]
FROM_SCIPY = [(formula, scipy) for formula, (_, scipy) in FUNCTIONS.items() if scipy is not None]


def test_every_function_is_asked_about():
    assert {law.name for law in at_risk.LAWS} == {formula.partition("(")[0] for formula in FUNCTIONS}


@pytest.fixture(scope="module")
def all_functions():
    """One workbook with a function of each kind in column A."""
    cells = {f"A{row}": f"={formula}" for row, (formula, _) in enumerate(FROM_SCIPY, 1)}
    return run({**cells, "B1": f"=SUM(A1:A{len(cells)})"})


@pytest.mark.parametrize("row", range(1, len(FROM_SCIPY) + 1), ids=lambda row: FROM_SCIPY[row - 1][0])
def test_the_names_order_and_meaning_of_parameters(all_functions, row):
    law = FROM_SCIPY[row - 1][1]
    np.testing.assert_allclose(all_functions.inputs[f"Model!A{row}"].samples, law.ppf(uniforms(f"A{row}")), rtol=1e-9)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_same_bits_as_inputs_of_the_api(sampling):
    formulas = {f"A{row}": f"={formula}" for row, (formula, _) in enumerate(FROM_API, 1)}
    laws = {f"A{row}": law for row, (_, law) in enumerate(FROM_API, 1)}
    options = {"count": 512, "sampling": sampling, "outputs": [f"A1:A{len(laws)}"]}
    written = run(formulas, **options)[f"A1:A{len(laws)}"].samples
    given = run(dict.fromkeys(laws, 1), inputs=laws, **options)[f"A1:A{len(laws)}"].samples
    np.testing.assert_array_equal(written, given)


class TestTrigen:
    @pytest.mark.parametrize(
        "given", [(15, 20, 30, 10, 90), (15, 15, 30, 0, 90), (0, 20, 30, 5, 100), (-4, 1, 2, 25, 60), (0, 1, 2, 0, 100)]
    )
    def test_bottom_and_top_are_percentiles(self, given):
        bottom, mode, top, low, high = given
        law = trigen(*map(float, given))
        assert law.cdf([bottom, top]) == pytest.approx([low / 100, high / 100], abs=1e-12)
        assert law.mode == pytest.approx(mode)

    def test_a_mode_on_a_percentile(self):
        """With the mode at bottom the left side holds 10 % by itself."""
        law = trigen(15.0, 15.0, 30.0, 10.0, 90.0)
        assert law.cdf([15, 30]) == pytest.approx([0.1, 0.9], abs=1e-12)
        law = trigen(15.0, 30.0, 30.0, 10.0, 90.0)
        assert law.cdf([15, 30]) == pytest.approx([0.1, 0.9], abs=1e-12)

    @pytest.mark.parametrize(
        "given", [(20, 15, 30, 10, 90), (15, 20, 30, 90, 10), (15, 20, 30, -1, 90), (15, 20, 30, 10, 101), (1, 1, 1, 10, 90)]
    )
    def test_what_is_no_triangle(self, given):
        with pytest.raises(mc.InputError, match="RiskTrigen"):
            trigen(*map(float, given))


class TestHowItIsWritten:
    @pytest.mark.parametrize(
        "formula",
        [
            "=_xll.RiskNormal(10,2)",
            "= RiskNormal(10, 2)",
            "=+_xll.RiskNormal(10,2)",
            "=[1]!RiskNormal(10,2)",
            "=risknormal(10,2)",
            "=RISKNORMAL(9+1,4/2)",
        ],
    )
    def test_spellings(self, formula):
        np.testing.assert_array_equal(drawn(formula), from_input(mc.Normal(10, 2)))

    def test_in_conditions_and_arithmetic(self):
        cells = {"A1": "=IF(RiskBernoulli(0.5)=1,2*RiskNormal(10,2),-RiskUniform(0,1))", "B1": "=A1"}
        chosen = np.where(uniforms() > 0.5, 2 * mc.Normal(10, 2).quantile(uniforms(k=1)), -uniforms(k=2))
        np.testing.assert_array_equal(run(cells)["Model!B1"].samples, chosen)

    def test_parameters_from_cells_and_names(self):
        cells = {"A1": "=RiskNormal(Plan!B2,spread)", "Plan!B2": 10, "Plan!B3": 2, "B1": "=A1"}
        np.testing.assert_array_equal(run(cells, names={"spread": "Plan!$B$3"})["Model!B1"].samples, from_input(mc.Normal(10, 2)))

    def test_inside_a_defined_name(self):
        cells = {"A1": "=price+price", "B1": "=A1"}
        law = mc.Normal(10, 2)
        samples = run(cells, names={"price": "_xll.RiskNormal(10,2)"})["Model!B1"].samples
        np.testing.assert_array_equal(samples, law.quantile(uniforms()) + law.quantile(uniforms(k=1)))

    def test_lists_from_ranges(self):
        cells = {"A1": "=RiskDiscrete(C1:C3,D1:D3)", "C1": 3, "C2": 5, "C3": 7, "D1": 1, "D2": 1, "D3": 2, "B1": "=A1"}
        np.testing.assert_array_equal(run(cells)["Model!B1"].samples, from_input(mc.Discrete([3, 5, 7], [0.25, 0.25, 0.5])))

    def test_a_shared_formula(self):
        """As Excel saves a column filled down: the text once, with the range that shares it."""
        cells = {"A1": "=RiskNormal(C1,2)", "A2": "=0", "A3": "=0", "C1": 10, "C2": 20, "C3": 30, "B1": "=A1+A2+A3"}
        data = _rewritten(
            workbook(cells),
            [
                (r"<f>RiskNormal\(C1,2\)</f>", '<f t="shared" ref="A1:A3" si="0">RiskNormal(C1,2)</f>'),
                ("<f>0</f>", '<f t="shared" si="0"/>'),
            ],
        )
        samples = mc.Simulation(data, outputs="B1").run(COUNT, seed=SEED)["B1"].samples
        expected = [mc.Normal(10 * row, 2).quantile(uniforms(f"A{row}")) for row in (1, 2, 3)]
        np.testing.assert_array_equal(samples, expected[0] + expected[1] + expected[2])


def _rewritten(data, changes):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                text = content.decode()
                for pattern, replacement in changes:
                    text, found = re.subn(pattern, replacement, text)
                    assert found
                content = text.encode()
            new.writestr(name, content)
    return stream.getvalue()


# A function of columns C to E, and the law of a row
BLOCKS = {
    "RiskNormal(C{r},D{r})": lambda i: mc.Normal(i % 17, 1 + i / 10),
    "RiskLognorm(1+C{r},D{r})": lambda i: mc.LogNormal(1 + i % 17, 1 + i / 10),
    "RiskUniform(C{r},C{r}+D{r})": lambda i: mc.Uniform(i % 17, i % 17 + (1 + i / 10)),
    "RiskTriang(C{r},C{r}+1,C{r}+1+D{r})": lambda i: mc.Triangular(i % 17, i % 17 + 1, i % 17 + 1 + (1 + i / 10)),
    "RiskBinomial(1,D{r}/100)": lambda i: mc.Binomial(1, (1 + i / 10) / 100),
    "RiskExpon(D{r})": lambda i: mc.Exponential(1 + i / 10),
    "RiskPert(C{r},C{r}+1,C{r}+1+D{r})": lambda i: mc.PERT(i % 17, i % 17 + 1, i % 17 + 1 + (1 + i / 10)),
    "RiskGamma(D{r},2)": lambda i: mc.Gamma(1 + i / 10, 2),
    "RiskPoisson(D{r})": lambda i: mc.Poisson(1 + i / 10),
    "RiskWeibull(D{r},2)": lambda i: mc.Weibull(1 + i / 10, 2),
    "RiskDiscrete(C{r}:D{r},{{1,3}})": lambda i: mc.Discrete([i % 17, 1 + i / 10], weights=[1, 3]),
    "RiskNormal(C{r},D{r},RiskTruncate(C{r}-1,))": lambda i: mc.Normal(i % 17, 1 + i / 10).truncated(i % 17 - 1),
    "RiskIntuniform(C{r},C{r}+9)": lambda i: mc.IntUniform(i % 17, i % 17 + 9),
}


@pytest.mark.parametrize("formula", BLOCKS)
def test_a_column_filled_down_draws_what_its_cells_would(formula):
    """Constants that differ by row: every cell has the bits of an input of its own."""
    rows, count = (300 if formula.startswith("RiskNormal(C{r},D{r})") else 25), 8
    numbers = {f"{column}{i}": value for i in range(1, rows + 1) for column, value in (("C", i % 17), ("D", 1 + i / 10))}
    filled = {f"A{i}": "=" + formula.format(r=i) for i in range(1, rows + 1)}
    got = simulation({**numbers, **filled}, outputs=f"A1:A{rows}").run(count, seed=SEED)[f"A1:A{rows}"].samples
    laws = {f"A{i}": BLOCKS[formula](i) for i in range(1, rows + 1)}
    want = simulation({**numbers, **dict.fromkeys(filled, 1.0)}, inputs=laws, outputs=f"A1:A{rows}").run(count, seed=SEED)
    np.testing.assert_array_equal(got, want[f"A1:A{rows}"].samples)


class TestSimulatedParameters:
    def test_a_chance_from_another_draw(self):
        cells = {"A1": "=RiskUniform(0.2,0.8)", "A2": "=RiskBinomial(1,A1)", "B1": "=A2"}
        p = mc.Uniform(0.2, 0.8).quantile(uniforms("A1"))
        np.testing.assert_array_equal(run(cells)["Model!B1"].samples, stats.binom(1, p).ppf(uniforms("A2")))

    @pytest.mark.parametrize(
        ("formula", "law"),
        [
            ("RiskNormal(A1,2)", lambda a: stats.norm(a, 2)),
            ("RiskNormal(1,A1)", lambda a: stats.norm(1, a)),
            ("RiskUniform(A1,A1+3)", lambda a: stats.uniform(a, 3)),
            ("RiskGamma(A1,2)", lambda a: stats.gamma(a, scale=2)),
            ("RiskBeta(A1,2)", lambda a: stats.beta(a, 2)),
            ("RiskBetaGeneral(2,A1,1,1+A1)", lambda a: stats.beta(2, a, loc=1, scale=a)),
            ("RiskPareto(A1,3)", lambda a: stats.pareto(a, scale=3)),
            ("RiskExpon(A1)", lambda a: stats.expon(scale=a)),
            ("RiskTriang(0,A1,9)", lambda a: stats.triang(a / 9, scale=9)),
            ("RiskPert(0,A1,9)", lambda a: _pert(0, a, 9)),
            ("RiskPoisson(A1)", lambda a: stats.poisson(a)),
            ("RiskGeomet(A1/9)", lambda a: stats.geom(a / 9, loc=-1)),
        ],
    )
    def test_laws(self, formula, law):
        cells = {"A1": "=RiskUniform(1,5)", "A2": f"={formula}", "B1": "=A2"}
        a = mc.Uniform(1, 5).quantile(uniforms("A1"))
        np.testing.assert_allclose(run(cells)["Model!B1"].samples, law(a).ppf(uniforms("A2")), rtol=1e-8)

    def test_a_std_below_0_fails_in_its_iterations_only(self):
        cells = {"A1": "=RiskNormal(0,1)", "A2": "=RiskNormal(5,A1)", "B1": "=A2"}
        result = run(cells)["Model!B1"]
        std = mc.Normal(0, 1).quantile(uniforms("A1"))
        np.testing.assert_array_equal(np.isnan(result.samples), std < 0)
        assert dict(result.errors) == {"#VALUE!": int((std < 0).sum())}
        np.testing.assert_allclose(result.samples[std >= 0], (5 + std * stats.norm.ppf(uniforms("A2")))[std >= 0], rtol=1e-12)

    @pytest.mark.parametrize("formula", ["RiskTriang(A1,A1,A1+A1)", "RiskPert(A1,A1,A1+A1)", "RiskUniform(A1,2*A1)", "RiskNormal(0,A1)"])
    def test_no_width_in_some_iterations(self, formula):
        cells = {"A1": "=RiskBernoulli(0.5)", "A2": f"={formula}", "B1": "=A2"}
        samples = run(cells)["Model!B1"].samples
        degenerate = uniforms("A1") <= 0.5
        assert (samples[degenerate] == 0).all()
        assert len(set(samples[~degenerate])) == (~degenerate).sum()

    def test_an_error_in_a_parameter_is_the_draw(self):
        cells = {"A1": "=RiskBernoulli(0.5)", "A2": "=RiskNormal(1/A1,1)", "B1": "=A2"}
        assert dict(run(cells)["Model!B1"].errors) == {"#DIV/0!": int((uniforms("A1") <= 0.5).sum())}

    def test_a_discrete_list_that_varies(self):
        cells = {"A1": "=RiskUniform(1,5)", "A2": "=RiskDiscrete(C1:C2,{1,3})", "C1": "=A1", "C2": 100, "B1": "=A2"}
        samples = run(cells)["Model!B1"].samples
        a = mc.Uniform(1, 5).quantile(uniforms("A1"))
        np.testing.assert_array_equal(samples, np.where(uniforms("A2") <= 0.25, a, 100))


def _part_of(law, low=None, high=None):
    """The quantile of SciPy's law between two values, on the uniforms of A1."""
    below, above = (0.0 if low is None else law.cdf(low)), (1.0 if high is None else law.cdf(high))
    return law.ppf(below + (above - below) * uniforms())


class TestProperties:
    @pytest.mark.parametrize(
        ("properties", "expected"),
        [
            ("RiskTruncate(8,13)", _part_of(stats.norm(10, 2), 8, 13)),
            ("RiskTruncate(8,)", _part_of(stats.norm(10, 2), 8)),
            ("RiskTruncate(,13)", _part_of(stats.norm(10, 2), None, 13)),
            ("RiskTruncate(8)", _part_of(stats.norm(10, 2), 8)),
            ("RiskShift(5)", _part_of(stats.norm(15, 2))),
            ("RiskTruncate(8,13),RiskShift(5)", 5 + _part_of(stats.norm(10, 2), 8, 13)),
            ("RiskShift(5),RiskTruncate(8,13)", 5 + _part_of(stats.norm(10, 2), 8, 13)),
            ("RiskTruncate2(13,18),RiskShift(5)", _part_of(stats.norm(15, 2), 13, 18)),
            ("RiskShift(5),RiskTruncate2(13,18)", _part_of(stats.norm(15, 2), 13, 18)),
            ("RiskTruncate2(13,)", _part_of(stats.norm(10, 2), 13)),
            ("RiskTruncateP(0.1,0.8)", stats.norm(10, 2).ppf(0.1 + 0.7 * uniforms())),
            ("RiskTruncateP(0.1,)", stats.norm(10, 2).ppf(0.1 + 0.9 * uniforms())),
            ("RiskShift(5),RiskTruncateP(,0.8)", 5 + stats.norm(10, 2).ppf(0.8 * uniforms())),
            ('RiskName("x"),RiskUnits("EUR"),RiskCategory("c"),RiskCollect()', stats.norm(10, 2).ppf(uniforms())),
        ],
    )
    @pytest.mark.parametrize("varying", [False, True])
    def test_truncated_and_shifted(self, properties, expected, varying):
        """By constants, and by numbers that only a run knows."""
        zero = "+0*A9" if varying else ""
        changed = re.sub(r"(\d+(?:\.\d+)?)", rf"\1{zero}", properties) if varying and "Name" not in properties else properties
        changed = changed.replace(f"RiskTruncate2{zero}", "RiskTruncate2")
        samples = drawn(f"=RiskNormal(10{zero},2,{changed})", others={"A9": "=RiskUniform(0,1)"})
        np.testing.assert_allclose(samples, expected, rtol=1e-9)

    def test_simulated_parameters_and_limits(self):
        cells = {"A1": "=RiskUniform(0,10)", "A2": "=RiskNormal(A1,2,RiskTruncate(4,A1+5))", "B1": "=A2"}
        mean = mc.Uniform(0, 10).quantile(uniforms("A1"))
        expected = stats.truncnorm((4 - mean) / 2, 2.5, loc=mean, scale=2).ppf(uniforms("A2"))
        np.testing.assert_allclose(run(cells)["Model!B1"].samples, expected, rtol=1e-9)

    def test_limits_that_cross_fail_in_their_iterations(self):
        cells = {"A1": "=RiskUniform(0,10)", "A2": "=RiskNormal(5,2,RiskTruncate(4,A1))", "B1": "=A2"}
        result = run(cells)["Model!B1"]
        crossed = mc.Uniform(0, 10).quantile(uniforms("A1")) < 4
        np.testing.assert_array_equal(np.isnan(result.samples), crossed)
        assert dict(result.errors) == {"#VALUE!": int(crossed.sum())}

    @pytest.mark.parametrize(
        ("formula", "law"),
        [
            ("RiskPoisson(4,RiskTruncate(2,7))", mc.Poisson(4).truncated(2, 7)),
            ("RiskBinomial(9,0.5,RiskShift(2))", mc.Binomial(9, 0.5).shifted(2)),
            ("RiskGamma(2.5,4,RiskTruncate(1,))", mc.Gamma(2.5, 4).truncated(1)),
            ("RiskPert(1,2,5,RiskTruncate(,4),RiskShift(1))", mc.PERT(1, 2, 5).truncated(maximum=4).shifted(1)),
            ("RiskTriang(1,2,5,RiskTruncateP(0.05,0.95))", mc.Triangular(1, 2, 5).truncated_at_quantiles(0.05, 0.95)),
            ("RiskCumul(0,10,{2,5},{0.3,0.9},RiskTruncate(1,6))", mc.Cumulative(0, 10, [2, 5], [0.3, 0.9]).truncated(1, 6)),
        ],
    )
    def test_the_same_bits_as_the_variants_of_the_api(self, formula, law):
        np.testing.assert_array_equal(drawn(f"={formula}"), from_input(law))

    def test_the_static_value_is_the_base_case(self):
        cells = {"A1": "=RiskNormal(10,2,RiskStatic(77))", "A2": 1, "B1": "=A1+A2"}
        options = {"cached": {"A1": "#NAME?", "B1": "#NAME?"}, "inputs": {"A2": mc.Uniform(0, 1)}}
        np.testing.assert_array_equal(run(cells, **options)["Model!B1"].samples, from_input(mc.Normal(10, 2)) + uniforms("A2"))
        np.testing.assert_array_equal(run(cells, in_sheet=False, **options)["Model!B1"].samples, 77 + uniforms("A2"))

    def test_a_static_value_in_error_is_no_error_of_the_draws(self):
        sim = simulation({"A1": "=RiskNormal(10,2,RiskStatic(1/0))", "B1": "=A1"}, outputs="B1")
        np.testing.assert_array_equal(sim.run(COUNT, seed=SEED)["B1"].samples, from_input(mc.Normal(10, 2)))


class TestSavedValues:
    CELLS = {"A1": "=_xll.RiskNormal(10,2)", "A2": 1, "B1": "=A1+A2"}

    def test_what_a_book_without_its_add_in_holds_is_no_oracle(self):
        sim = simulation(self.CELLS, cached={"A1": "#NAME?", "B1": "#NAME?"}, outputs="B1")
        assert not sim.check().differences
        assert sim.run(COUNT, seed=SEED)["B1"].mean == pytest.approx(11, abs=0.5)  # 5 standard errors

    def test_an_earlier_draw_is_the_base_case(self):
        sim = simulation(self.CELLS, cached={"A1": 9.25, "B1": 10.25}, outputs="B1")
        assert not sim.check().differences
        with pytest.raises(mc.CheckError):
            simulation(self.CELLS, cached={"A1": 9.25, "B1": 11.25}, outputs="B1").run(COUNT)

    def test_frozen_draws_keep_it(self):
        sim = simulation(
            {**self.CELLS, "A2": 1}, cached={"A1": 9.25, "B1": 10.25}, outputs="B1", inputs={"A2": mc.Uniform(0, 1)}, in_sheet=False
        )
        np.testing.assert_array_equal(sim.run(COUNT, seed=SEED)["B1"].samples, 9.25 + uniforms("A2"))


class TestOutputs:
    def labels(self, *formulas, **others):
        cells = {f"B{row}": formula for row, formula in enumerate(formulas, 1)}
        return simulation({"A1": "=RiskNormal(10,2)", **cells, **others}).outputs

    @pytest.mark.parametrize(
        ("formula", "label"),
        [
            ('=RiskOutput("profit")+A1', "profit"),
            ('=_xll.RiskOutput("profit")+A1', "profit"),
            ('=A1+RiskOutput("profit")', "profit"),
            ("=RiskOutput(D1)+A1", "cost"),
            ("=RiskOutput()+A1", "Model!B1"),
            ('=RiskOutput("profit",,1)+A1', "profit"),
            ('=RiskOutput("profit","range",2,RiskUnits("EUR"))+A1', "profit"),
        ],
    )
    def test_names(self, formula, label):
        outputs = self.labels(formula, D1="cost")
        assert {name: str(place) for name, place in outputs.items()} == {label: "Model!B1"}

    def test_it_is_worth_nothing(self):
        samples = simulation({"A1": "=RiskNormal(10,2)", "B1": '=RiskOutput("x")+A1'}).run(COUNT, seed=SEED)["x"].samples
        np.testing.assert_array_equal(samples, from_input(mc.Normal(10, 2)))

    def test_a_name_given_twice_has_the_cell_beside_it(self):
        assert list(self.labels('=RiskOutput("x")+A1', '=RiskOutput("x")+2*A1')) == ["x (Model!B1)", "x (Model!B2)"]

    def test_filled_down(self):
        assert list(self.labels("=RiskOutput()+A1", "=RiskOutput()+A2")) == ["Model!B1", "Model!B2"]

    def test_named_outputs_win(self):
        assert list(simulation({"A1": "=RiskNormal(10,2)", "B1": '=RiskOutput("x")+A1'}, outputs="A1").outputs) == ["A1"]


class TestNames:
    def test_an_input_goes_by_its_name_and_by_its_cell(self):
        result = run({"A1": '=RiskNormal(10,2,RiskName("price"))', "A2": "=RiskUniform(0,1,RiskName(D1))", "D1": "share", "B1": "=A1+A2"})
        assert list(result.inputs) == ["price", "share"]
        for key in ("price", "Model!A1", "PRICE"):
            np.testing.assert_array_equal(result.inputs[key].samples, from_input(mc.Normal(10, 2)))

    def test_a_name_given_twice_names_none(self):
        result = run({"A1": '=RiskNormal(10,2,RiskName("x"))', "A2": '=RiskUniform(0,1,RiskName("x"))', "B1": "=A1+A2"})
        assert list(result.inputs) == ["Model!A1", "Model!A2"]

    def test_a_label_of_the_caller_is_not_taken(self):
        result = run({"A1": '=RiskNormal(10,2,RiskName("A2"))', "A2": 1, "B1": "=A1+A2"}, inputs={"A2": mc.Uniform(0, 1)})
        assert set(result.inputs) == {"A2", "Model!A1"}
        np.testing.assert_array_equal(result.inputs["A2"].samples, uniforms("A2"))

    def test_two_names_in_one_cell_name_none(self):
        result = run({"A1": '=RiskNormal(10,2,RiskName("x"))+RiskUniform(0,1,RiskName("y"))', "B1": "=A1"})
        assert list(result.inputs) == ["Model!A1"]

    def test_replaced_by_an_input_of_the_caller(self):
        result = run({"A1": '=RiskNormal(10,2,RiskName("x"))', "B1": "=A1"}, inputs={"A1": mc.Uniform(0, 1)})
        assert list(result.inputs) == ["A1"]


SETTINGS = {"RiskNumIterations": "3000", "RiskUseFixedSeed": "TRUE", "RiskFixedSeed": "7", "RiskSamplingType": "3"}


class TestSettings:
    CELLS = {"A1": "=RiskNormal(10,2)", "B1": "=A1"}

    def test_stored(self):
        result = simulation(self.CELLS, names=SETTINGS, outputs="B1").run()
        assert (result.iterations, result.seed, result.sampling) == (3000, 7, "latin_hypercube")
        strata = np.sort(np.floor(stats.norm(10, 2).cdf(result["B1"].samples) * 3000))
        np.testing.assert_array_equal(strata, np.arange(3000))  # one replicate, as @RISK has

    def test_arguments_win(self):
        result = simulation(self.CELLS, names=SETTINGS, outputs="B1").run(100, seed=0, sampling="random")
        assert (result.iterations, result.seed, result.sampling) == (100, 0, "random")

    def test_a_seed_that_is_not_to_be_used(self):
        names = {**SETTINGS, "RiskUseFixedSeed": "FALSE"}
        sim = simulation(self.CELLS, names=names, outputs="B1")
        assert sim.run().seed != sim.run().seed

    def test_random_sampling(self):
        assert simulation(self.CELLS, names={**SETTINGS, "RiskSamplingType": "2"}, outputs="B1").run().sampling == "random"

    def test_frozen_draws_have_none(self):
        cells = {**self.CELLS, "A2": 1, "B1": "=A1+A2"}
        sim = simulation(cells, names=SETTINGS, cached={"A1": 10, "B1": 11}, outputs="B1", inputs={"A2": mc.Uniform(0, 1)}, in_sheet=False)
        assert sim.run(10).sampling == "random"
        with pytest.raises(mc.InputError, match="iterations"):
            sim.run()

    @pytest.mark.parametrize("text", ["", "many", "-5", "0", "#REF!", "1e99", "Model!$A$1"])
    def test_nonsense_is_nothing(self, text):
        sim = simulation(self.CELLS, names=dict.fromkeys(SETTINGS, text or " "), outputs="B1")
        assert sim.settings.iterations is None
        assert sim.settings.seed is None
        with pytest.raises(mc.InputError, match="iterations"):
            sim.run()

    def test_a_negative_seed_is_usable(self):
        """@RISK's seeds are whole numbers of 32 bits with a sign."""
        result = simulation(self.CELLS, names={**SETTINGS, "RiskFixedSeed": "-5"}, outputs="B1").run()
        assert result.iterations == 3000

    def test_several_simulations_are_noted(self):
        warnings = simulation(self.CELLS, names={**SETTINGS, "RiskNumSimulations": "3"}, outputs="B1").warnings
        assert any("3 simulations" in warning for warning in warnings)
        assert not any("simulations" in warning for warning in simulation(self.CELLS, names=SETTINGS, outputs="B1").warnings)

    def test_settings_alone_make_the_dialect(self):
        sim = simulation({"A1": 1, "B1": "=A1"}, names=SETTINGS, outputs="B1", inputs={"A1": mc.Uniform(0, 1)})
        assert (sim.dialect, sim.run().iterations) == ("@RISK", 3000)


class TestRefusals:
    @pytest.mark.parametrize(
        ("formula", "reason"),
        [
            ("=RiskSplice(1,2,3)", "RISKSPLICE"),
            ("=_xll.RiskSplice(1,2,3)", "RISKSPLICE"),
            ("=RiskNormal(10,2,RiskSeed(1,2))", "RISKSEED"),
            ('=RiskNormal(10,2,RiskDepC("x",0.5))', "RISKDEPC"),
            ("=RiskNormal(10,2,3)", "RISKNORMAL"),
            ("=RiskNormal(10)", "takes 2 parameters, not 1"),
            ("=RiskNormal()", "RISKNORMAL takes"),
            ("=RiskNormal(10,-1)", "std"),
            ("=RiskUniform(3,1)", "Uniform(minimum=3, maximum=1)"),
            ("=RiskBinomial(10,1.5)", "Binomial"),
            ("=RiskDiscrete({1,2},{1})", "lists of different lengths"),
            ('=RiskDiscrete({1,"x"},{1,2})', "text"),
            ("=RiskTrigen(20,15,30,10,90)", "RiskTrigen"),
            ("=RiskHypergeo(6,10*RAND(),30)", "simulated"),
            ("=RiskUniform(0,1,RiskTruncate(5,6))", "no probability there"),
            ("=RiskNormal(10,2,RiskTruncate(13,8))", "minimum must be below maximum"),
            ("=RiskNormal(10,2,RiskTruncate(1,2,3))", "RISKTRUNCATE"),
            ("=RiskNormal(10,2,RiskTruncate(8,),RiskTruncate(,13))", "twice"),
            ("=RiskNormal(10,2,RiskTruncate(8,),RiskTruncate2(,13))", "twice"),
            ("=RiskNormal(10,2,RiskTruncate(8,),RiskTruncateP(,0.9))", "twice"),
            ("=RiskNormal(10,2,RiskTruncateP(0.9,0.1))", "ascend"),
            ("=RiskPoisson(4*RAND(),RiskTruncate(1,))", "truncated"),
            ("=RiskMean(B9)", "RISKMEAN"),
            ("=PsiNormal(0,1)", "PSINORMAL"),
            ("=VoseNormal(0,1)", "VOSENORMAL"),
            ("=_xll.PsiNormal(0,1)", "PSINORMAL"),
            ("=RiskSimtable({1,2})", "RISKSIMTABLE"),
            ('=RiskOutput("x",RiskCompound(1,2))+1', "RISKCOMPOUND"),
        ],
    )
    @pytest.mark.parametrize("cached", [None, 3.5])
    def test_by_name_with_the_cell(self, formula, reason, cached):
        """Also where a value is saved: it would be a constant that looks simulated."""
        message = refusal(formula, mc.FormulaError, cached=None if cached is None else {"A1": cached, "B1": cached})
        assert reason in message
        assert "Model!A1" in message

    def test_a_text_parameter(self):
        """RiskNormal("x", 1) is #VALUE! in Excel, in every iteration."""
        with pytest.raises(mc.UltramcError, match=r"#VALUE!|text"):
            run({"A1": '=RiskNormal("x",1)', "B1": "=A1"})

    def test_what_no_output_needs_is_not_refused(self):
        cells = {"A1": "=RiskNormal(10,2)", "B1": "=A1", "C1": "=RiskSplice(1,2,3)", "C2": "=RiskMean(B1)", "C3": "=RiskNormal(1,-1)"}
        np.testing.assert_array_equal(run(cells)["Model!B1"].samples, from_input(mc.Normal(10, 2)))

    def test_in_a_column_the_cell_that_is_wrong_is_named(self):
        cells = {f"A{row}": f"=RiskNormal(1,C{row})" for row in range(1, 6)} | {f"C{row}": 3 - row for row in range(1, 6)}
        with pytest.raises(mc.FormulaError, match="Model!A4"):
            simulation({**cells, "B1": "=SUM(A1:A5)"}, outputs="B1")

    def test_frozen_draws_are_not_refused(self):
        cells = {"A1": "=RiskSplice(1,2,3)", "A2": 1, "B1": "=A1+A2"}
        options = {"cached": {"A1": 5, "B1": 6}, "inputs": {"A2": mc.Uniform(0, 1)}}
        np.testing.assert_array_equal(run(cells, in_sheet=False, **options)["Model!B1"].samples, 5 + uniforms("A2"))

    def test_replaced_by_an_input_it_is_not_refused(self):
        assert run({"A1": "=RiskSplice(1,2,3)", "B1": "=A1"}, cached={"A1": 1, "B1": 1}, inputs={"A1": mc.Uniform(0, 1)})


class TestWhichDialect:
    CELLS = {"A1": "=RiskNormal(10,2)", "B1": "=A1"}

    @pytest.mark.parametrize("name", [None, "@RISK", "@risk", "risk"])
    def test_found_or_chosen(self, name):
        sim = simulation(self.CELLS, outputs="B1", dialect=name)
        assert sim.dialect == "@RISK"
        assert "dialect @RISK" in repr(sim)

    def test_none(self):
        sim = simulation({"A1": 1, "B1": "=A1"}, outputs="B1", inputs={"A1": mc.Uniform(0, 1)})
        assert sim.dialect == "plain Excel"
        assert "dialect" not in repr(sim)

    @pytest.mark.parametrize("name", ["plain Excel", "plain"])
    def test_plain_excel_knows_no_such_function(self, name):
        assert "RISKNORMAL" in refusal("=RiskNormal(10,2)", mc.FormulaError, dialect=name)

    def test_no_such_dialect(self):
        assert "available: 'plain Excel', 'XLRisk', '@RISK'" in refusal("=RiskNormal(10,2)", mc.InputError, dialect="Lotus")

    def test_xlrisk_is_not_read_as_its_namesake(self):
        """RiskLogNorm(mu, sigma) takes the moments of the logarithm there: read as @RISK does it would be a wrong number."""
        data = workbook({"Model!A1": "=RiskLognorm(1,0.5)", "Model!B1": "=A1", "XLRisk!A1": "Settings"})
        with pytest.raises(mc.FormulaError, match="RISKLOGNORM"):
            mc.Simulation(data, outputs="Model!B1")
        assert mc.Simulation(data, outputs="Model!B1", dialect="@RISK").dialect == "@RISK"

    def test_a_workbook_says_it(self):
        assert "@RISK" in repr(mc.Workbook(workbook(self.CELLS)))
        assert "dialect" not in repr(mc.Workbook(workbook({"A1": 1, "B1": "=A1"})))
