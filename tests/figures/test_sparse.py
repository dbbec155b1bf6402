"""Figures of sparse problems show the numbers that they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from spectral_icl.figures import sparse as plots
from spectral_icl.io.checks import ProblemError
from spectral_icl.sparse import landscape
from spectral_icl.sparse.comparison import Comparison, compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sparse.methods import USUAL
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.sparse.risk.best import Best

PROBLEM = SparseProblem(16, 2, 60, 0.25)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscape, "_DRAWS", 32)
    monkeypatch.setattr(landscape, "_FEW", 16)


def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few points of all that is drawn; the tests of families and of the phase have every point."""
    for name in ("_POINTS", "_COLUMNS", "_ROWS"):
        monkeypatch.setattr(landscape, name, 4)


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(Study(PROBLEM, prompts=60, draws=16))


def test_the_curve_along_time_is_that_of_the_theory(found: Comparison) -> None:
    axes = Figure().subplots()
    plots.along_time(found, axes)
    p2o, gd, *levels = axes.lines
    np.testing.assert_allclose(p2o.get_ydata(), found.curve.mean)
    np.testing.assert_allclose(p2o.get_xdata(), found.tuning.p2o / 2.0)  # in units of s/v
    np.testing.assert_allclose(gd.get_ydata(), risk.gd_risk(16, 60, 1.0, 0.25, times=found.tuning.gd))
    heights = {float(np.asarray(line.get_ydata())[0]) for line in levels}
    assert {found.methods[name].theory for name in ("ridge", "ols", "oracle")} <= heights
    low, high = axes.get_ylim()
    assert low < found.methods["oracle"].theory
    assert high > 1.0


def test_families_follow_the_closed_forms() -> None:
    for axis in landscape.AXES:
        family = landscape.family(PROBLEM, axis)
        assert (np.diff(family.x) > 0.0).all()
        for x, ridge in zip(family.x.tolist(), family.risks["ridge"].tolist(), strict=True):
            at = replace(PROBLEM, **{axis: x if axis == "noise" else int(x)})
            assert ridge == pytest.approx(risk.ridge_opt_risk(at.d, at.n, 1.0, at.noise).risk, nan_ok=True)
        axes = Figure().subplots()
        plots.along(family, axes)
        assert len(axes.lines) == 5


def test_more_pairs_and_fewer_weights_help() -> None:
    by_n = landscape.family(PROBLEM, "n").risks["p2o"]
    by_s = landscape.family(PROBLEM, "s")
    assert (np.diff(by_n) < 0.0).all()
    assert (np.diff(by_s.risks["p2o"][by_s.x <= 10]) > 0.0).all()
    # with dense weights the flow does best at its end, which is least squares
    assert by_s.risks["p2o"][-1] == pytest.approx(by_s.risks["ols"][-1], rel=0.05)


def test_the_phase_has_both_sides() -> None:
    told: list[int] = []
    phase = landscape.phase(PROBLEM, advance=told.append)
    assert phase.ratio.shape == (phase.s.size, phase.n.size)
    assert sum(told) == phase.ratio.size
    assert phase.ratio[0, -1] < 0.2  # one weight, many pairs
    assert phase.ratio[-1].max() > 1.0  # dense weights
    axes = Figure().subplots()
    plots.plane(phase, axes)
    np.testing.assert_allclose(np.asarray(axes.collections[0].get_array()).ravel(), phase.ratio.ravel())


def test_panels_survive_what_has_no_theory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A square design: no risk of ridge is known for little noise, and that of least squares is infinite."""
    square = replace(PROBLEM, n=16, noise=1e-3)
    coarse(monkeypatch)
    plots.comparison_figure(compare(Study(square, prompts=20, draws=16)))


@pytest.mark.parametrize(
    ("d", "s", "n", "noise"), [(8, 2, 20, 0.0), (1, 1, 1, 0.1), (8, 8, 1, 5e-324), (8, 2, 8, 1e6)]
)
def test_panels_of_degenerate_problems(
    d: int, s: int, n: int, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Risks of 0 and best times of 0, which a logarithm does not have; ratios to nothing; one row."""
    for name in ("_POINTS", "_COLUMNS", "_ROWS"):
        monkeypatch.setattr(landscape, name, 3)
    figure = plots.comparison_figure(compare(Study(SparseProblem(d, s, n, noise), prompts=20, draws=16)))
    figure.draw_without_rendering()


def test_families_stay_within_what_problems_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gave the others: they are no reason to refuse the one that is drawn."""
    tried: list[SparseProblem] = []

    def no_risks(problems: list[SparseProblem], draws: int, seed: int) -> Iterator[dict[str, Best]]:
        tried.extend(problems)
        return iter([dict.fromkeys(USUAL, Best(1.0))] * len(problems))

    monkeypatch.setattr(landscape, "_bests", no_risks)
    for problem in (
        SparseProblem(10**5, 3, 200, 0.25),
        SparseProblem(3, 3, 6 * 10**6, 1e6),
        SparseProblem(2000, 1024, 3, 5e-324),
    ):
        for axis in landscape.AXES:
            landscape.family(problem, axis)
        landscape.phase(problem)
    assert max(p.d for p in tried) == 10**5


def test_all_panels(found: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse(monkeypatch)
    told: list[int] = []
    figure = plots.comparison_figure(found, told.append)
    assert len(figure.axes) == 7  # six panels and a colour bar
    assert len(told) == plots.PANELS
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        look["label"] for look in plots.LOOK.values()
    ]


def test_without_theory_of_ridge_there_is_one_panel() -> None:
    study = Study(replace(PROBLEM, correlation=0.5), prompts=20, draws=16)
    figure = plots.comparison_figure(compare(study))
    assert len(figure.axes) == 1


def test_landscapes_are_of_isotropic_problems_with_noise() -> None:
    for problem in (replace(PROBLEM, correlation=0.5), replace(PROBLEM, noise=0.0)):
        with pytest.raises(ProblemError, match=r"^problem: expected "):
            landscape.family(problem, "n")
    with pytest.raises(ProblemError, match=r"^axis: expected one of 'n', 'd', 's', 'noise'"):
        landscape.family(PROBLEM, "q")
