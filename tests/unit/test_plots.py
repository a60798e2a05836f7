import sys

import numpy as np
import pytest

from ultramc import plots
from ultramc.address import CellRef
from ultramc.errors import InputError, MissingExtra
from ultramc.results import Column, Output
from ultramc.sensitivity import tornado
from ultramc.values import Kind

PNG = b"\x89PNG\r\n\x1a\n"


def output(samples, label="NPV"):
    return Output(Column(label, (CellRef("Sheet1", 1, 1),), (1, 1), np.asarray(samples, np.float64)[:, None]))


def texts(figure):
    axes = figure.axes[0]
    return [text.get_text() for text in [*axes.texts, axes.title, axes._left_title] if text.get_text()]


NORMAL = np.random.default_rng(1).normal(1_000_000, 250_000, 5_000)


@pytest.mark.parametrize("kind", sorted(plots.KINDS))
def test_marks_are_where_the_statistics_are(kind):
    figure = output(NORMAL).plot(kind)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    places = sorted(line.get_xdata()[0] for line in lines)
    assert places == pytest.approx(sorted([NORMAL.mean(), *np.quantile(NORMAL, [0.05, 0.5, 0.95])]))
    assert {text.split()[0] for text in texts(figure)} >= {"P5", "P50", "P95", "mean", "NPV"}


def test_bars_add_up_to_all_iterations():
    (outline, *_) = output(NORMAL).plot().axes[0].patches
    assert outline.get_data().values.sum() == pytest.approx(100)


def test_cdf_passes_through_the_quantiles():
    (line,) = [line for line in output(NORMAL).plot("cdf").axes[0].lines if len(line.get_xdata()) > 2]
    assert np.interp(np.quantile(NORMAL, 0.3), line.get_xdata(), line.get_ydata()) == pytest.approx(30, abs=0.2)


def test_excluded_iterations_are_named():
    figure = output([1.0, 2, 3, np.nan]).plot()
    assert any("1 of 4 iterations excluded" in text for text in texts(figure))


def test_values_beyond_the_axis_are_counted():
    samples = np.append(NORMAL, [1e12, 1e13])
    figure = output(samples).plot()
    assert any("2 values beyond the axis" in text for text in texts(figure))
    assert figure.axes[0].get_xlim()[1] < 1e7


@pytest.mark.parametrize("label", ["$x^2", "$\\frac{1}$", "_hidden", "a\nb\x1b[31m", "100 % & {braces}", "long " * 200])
@pytest.mark.parametrize("kind", sorted(plots.KINDS))
def test_text_of_a_workbook_is_only_text(label, kind):
    assert output([1.0, 2, 3], label).plot(kind)._repr_png_().startswith(PNG)


@pytest.mark.parametrize("samples", [[5.0], [0.0, 0], [1e15, 1e15], [-3e-9, 4e-9, 5e-9], [1e300, -1e300, 0]])
@pytest.mark.parametrize("kind", sorted(plots.KINDS))
def test_odd_samples_are_drawn(samples, kind):
    assert output(samples).plot(kind)._repr_png_().startswith(PNG)


@pytest.mark.parametrize("wanted", [[0.0, 0.01, 0.02, 0.03], [0.97, 0.98, 0.99, 1.0], [0.1, 0.5, 0.51, 0.9]])
def test_labels_do_not_touch(wanted):
    names = ["P5 1,234,567", "P50 1,234,567", "mean 1,234,567", "P95 1,234,567"]
    centers = plots._apart(wanted, names)
    halves = [len(name) * 0.0122 / 2 for name in names]
    assert all(b - a >= x + y - 1e-9 for a, b, x, y in zip(centers, centers[1:], halves, halves[1:], strict=False))
    assert centers[0] >= halves[0] - 1e-9 and centers[-1] <= 1 - halves[-1] + 1e-9


def test_tornado_draws_the_strongest_first():
    generator = np.random.default_rng(3)
    inputs = {f"$input_{index}": generator.normal(size=500) for index in range(25)}
    total = sum((index + 1) * values for index, values in enumerate(inputs.values()))
    table = tornado("sum", total, inputs)
    figure = table.plot()
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == [row.input for row in table.sensitivities[: plots.MAX_BARS]]
    assert any("5 weaker inputs not shown" in text for text in texts(figure))
    assert figure._repr_png_().startswith(PNG)


def test_nothing_to_draw_is_said():
    with pytest.raises(InputError, match="no iteration"):
        output([np.nan]).plot()
    with pytest.raises(InputError, match="histogram"):
        output([1.0]).plot("pie")
    with pytest.raises(InputError, match="no input"):
        tornado("y", np.ones(5), {"x": np.ones(5)}).plot()


def test_pyplot_is_left_alone():
    output(NORMAL).plot()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_without_matplotlib_the_command_is_named(monkeypatch):
    plots._picture.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r'pip install "ultramc\[plot\]"'):
        output(NORMAL).plot()


def test_text_has_no_picture():
    tags = np.full((3, 1), Kind.TEXT, np.uint8)
    variable = Output(Column("Verdict", (CellRef("S", 1, 1),), (1, 1), np.zeros((3, 1)), tags=tags, texts=("yes",)))
    with pytest.raises(InputError, match=r"no picture of 'Verdict', .*: it is text, counted in \.categories"):
        variable.plot()
