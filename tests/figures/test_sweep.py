"""Figures of sweeps: they show the store's numbers, mark what is not good, and name what they cannot draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from drawn import BASE, LENGTHS, NOISES, PLANS
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure
from scipy.interpolate import RegularGridInterpolator

import spectral_icl as si
from spectral_icl.figures import flow as plots
from spectral_icl.figures import sweep as sweep_plots
from spectral_icl.figures.sweep import sweep_figure
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.sweeps import run as sweep
from spectral_icl.sweeps.multitask.points import FlowPoints
from spectral_icl.sweeps.multitask.quantities import OWN, PATTERNS, SHARED, SOME_LEARNED
from spectral_icl.sweeps.plan import Plan, sweep_of
from spectral_icl.sweeps.points import INVALID, SOLVED
from spectral_icl.sweeps.store import Store, open_sweep

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "sweeps").glob("*.toml"))


@pytest.fixture(scope="module")
def data(store: Callable[[str], Path]) -> Callable[[str], xarray.Dataset]:
    """The results of a plan, a copy that a test may spoil."""
    return lambda name: open_sweep(store(name)).copy(deep=True)


def draw(data: xarray.Dataset, *quantities: str, **options: Any) -> tuple[Figure, Axes]:
    """A figure that was laid out (a warning of the layout engine is an error), and its first panel."""
    figure = sweep_figure(data, quantities, **options)
    FigureCanvasAgg(figure).draw()
    return figure, figure.get_axes()[0]


def curves(axes: Axes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Data of the curves of a panel, without the marks at its edges."""
    lines = [line for line in axes.get_lines() if line.get_transform() == axes.transData]
    return [tuple(np.asarray(v, float) for v in line.get_data()) for line in lines]  # type: ignore[misc]


def marks(axes: Axes) -> dict[str, list[float]]:
    """Places of the marks at the edges of a panel, by marker."""
    lines = [line for line in axes.get_lines() if line.get_transform() != axes.transData]
    return {str(line.get_marker()): np.asarray(line.get_xdata()).tolist() for line in lines}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def mesh(axes: Axes) -> np.ma.MaskedArray[Any, Any]:
    (found,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    array = found.get_array()
    assert array is not None
    return np.ma.asarray(array)


def covered(axes: Axes) -> list[tuple[str | None, int]]:
    """Hatch and number of rectangles of what covers a heat map."""
    return [(c.get_hatch(), len(c.get_paths())) for c in axes.collections if isinstance(c, PolyCollection)]


def test_a_line_shows_the_stored_numbers_and_the_benchmarks(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("line")
    figure, axes = draw(results, "loss")
    shown = [y for _, y in curves(axes)]
    for name, y in zip(("loss", "head_per_task", "single_head", "lower_bound"), shown, strict=True):
        np.testing.assert_array_equal(y, results[name].values)
    np.testing.assert_array_equal(curves(axes)[0][0], results["problem.context_length"].values)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "context length $L$"
    assert legend(figure) == ["flow", "head-per-task limit", "best single head", "lower bound"]


def test_predictions_lie_beside_what_was_measured(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("line")
    figure, axes = draw(results, "emergence")
    (_, measured), (_, predicted) = curves(axes)
    np.testing.assert_array_equal(measured, results["emergence"].max("task").values)
    np.testing.assert_array_equal(predicted, results["emergence_predicted"].max("task").values)
    np.testing.assert_allclose(measured, predicted, rtol=0.05)
    assert legend(figure) == ["flow", "predicted"]
    _, axes = draw(results, "emergence", task=1)
    np.testing.assert_array_equal(curves(axes)[0][1], results["emergence"].values[:, 1])
    assert axes.get_ylabel() == "emergence time, task 1"


def test_gap_is_the_excess_loss_over_that_of_the_bound(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("map")
    sweep = sweep_of(results)
    gap, excess = sweep.quantity("gap"), sweep.quantity("excess")
    for k in (0, 40, 80):
        problem = sweep.plan.experiment(k).problem
        bound = si.optimal.excess(problem, si.optimal.lower_bound(problem).loss)
        own = float(results["loss"].values.ravel()[k]) - sum(problem.noise)
        assert excess.values.values.ravel()[k] == pytest.approx(own, rel=1e-12)
        assert gap.values.values.ravel()[k] == pytest.approx(own / bound, rel=1e-12)
    limit = gap.theory["head-per-task limit"].values
    assert (limit > 1.0).all()
    assert (limit < np.e).all()
    np.testing.assert_allclose(gap.values.values, limit, rtol=0.1)  # not all have converged by then


def test_a_few_values_become_lines(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("lines")
    figure, axes = draw(results, "loss")
    shown = [y for _, y in curves(axes)]
    for i in range(2):
        np.testing.assert_array_equal(shown[i], results["loss"].values[:, i])
    assert len(shown) == 2 + 3, "the benchmarks do not depend on the heads: once each"
    assert legend(figure)[:2] == ["$H$ = 2", "$H$ = 3"]
    figure, axes = draw(results, "loss", x="model.heads", at={"problem.context_length": 2000})
    np.testing.assert_array_equal(curves(axes)[0][1], results["loss"].values[-1])
    assert axes.get_title() == "$L$ = 2000", "a figure says where it is along what it does not show"


def test_time_is_the_axis_of_loss_curves(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("line")
    _, axes = draw(results, "loss_curve", at={"problem.context_length": 20})
    ((x, y),) = curves(axes)
    assert x.tolist() == [0.1, 1.0, 10.0]
    np.testing.assert_array_equal(y, results["loss_curve"].values[0])


def test_a_map_shows_the_stored_numbers_and_contours_of_the_prediction(
    data: Callable[[str], xarray.Dataset],
) -> None:
    results = data("map")
    figure, axes = draw(results)
    assert [a.get_ylabel() for a in figure.get_axes()[:2]] == ["signal-to-noise ratio"] * 2
    np.testing.assert_array_equal(mesh(axes), results["loss"].values.T)
    np.testing.assert_array_equal(mesh(figure.get_axes()[1]), results["emergence"].max("task").values.T)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert legend(figure) == ["head-per-task limit (contours)", "predicted (contours)"]
    _, turned = draw(results, "loss", x="problem.snr", y="problem.context_length")
    np.testing.assert_array_equal(mesh(turned), results["loss"].values)


def test_contours_are_where_the_prediction_has_their_value(data: Callable[[str], xarray.Dataset]) -> None:
    """A wrong orientation or scale would move them."""
    results = data("map")
    _, axes = draw(results, "loss")
    (contours,) = [c for c in axes.collections if hasattr(c, "levels")]
    grid = [np.log(results[name].values) for name in ("problem.context_length", "problem.snr")]
    theory = RegularGridInterpolator(grid, np.log(results["head_per_task"].values))
    vertices = [
        (level, *v)
        for level, p in zip(contours.levels, contours.get_paths(), strict=True)
        for v in p.vertices
    ]
    assert len(vertices) > 20
    for level, *place in vertices:
        inside = [np.clip(np.log(x), along[0], along[-1]) for x, along in zip(place, grid, strict=True)]
        assert theory(inside) == pytest.approx(np.log(level), abs=0.1)


def test_replicates_become_their_median_and_quartiles(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("replicates")
    figure, axes = draw(results, "loss")
    loss = results["loss"].values
    np.testing.assert_allclose(curves(axes)[0][1], np.median(loss, axis=1), rtol=1e-12)
    assert "quartiles" in legend(figure)
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for k, length in enumerate(results["problem.context_length"].values):
        at = corners[np.isclose(corners[:, 0], length), 1]
        assert at.min() == pytest.approx(np.quantile(loss[k], 0.25), rel=1e-9)
        assert at.max() == pytest.approx(np.quantile(loss[k], 0.75), rel=1e-9)


def test_what_has_not_come_yet_is_later_than_the_median(data: Callable[[str], xarray.Dataset]) -> None:
    """Of five runs two never emerged: the median is the greatest of the others, not their middle one."""
    results = data("replicates")
    times = np.array([3.0, np.nan, 1.0, np.nan, 2.0])
    results["emergence"].values[0] = times[:, None]
    results["emergence"].values[1] = np.array([1.0, np.nan, np.nan, np.nan, 2.0])[:, None]
    figure, axes = draw(results, "emergence")
    y = curves(axes)[0][1]
    assert y[0] == 3.0
    assert np.isnan(y[1])
    assert marks(axes)["^"] == [results["problem.context_length"].values[1]]
    assert "not before the end: 1" in legend(figure)


def test_allocations_of_replicates_are_shares(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("replicates")
    heads = results["allocation"].values
    assert sweep_of(results).suitable() == ["allocation"]
    own = [(len(set(row)) == 2 and row.min() >= 0) for row in heads.reshape(-1, 2)]
    assert 0 < sum(own) < len(own), "or the test tests nothing"
    share = np.reshape(own, heads.shape[:2]).mean(axis=1)
    figure, axes = draw(results)
    assert legend(figure)[0] == PATTERNS[OWN].text
    corners = axes.collections[0].get_paths()[0].vertices  # the lowest layer
    tops = [corners[np.isclose(corners[:, 0], x), 1].max() for x in results["problem.context_length"].values]
    np.testing.assert_allclose(tops, share, atol=1e-12)
    _, axes = draw(results, "own_heads")
    np.testing.assert_allclose(curves(axes)[0][1], share, rtol=1e-12)


SPOILED = {
    "pending": (-1, 0.1, "not solved yet"),
    "invalid": (INVALID, 0.1, "not a valid experiment"),
    "failed": (int(Outcome.STEP_LIMIT), 0.1, "not solved to its end"),
    "saturated": (0, 0.7, "law invalid (saturation > 0.5)"),
    "unknown": (0, np.nan, "law invalid (saturation > 0.5)"),
}


def spoil(results: xarray.Dataset, where: Any, kind: str) -> str:
    status, saturation, reason = SPOILED[kind]
    results["status"].values[where] = status
    results["saturation"].values[where] = saturation
    return reason


@pytest.mark.parametrize("kind", SPOILED)
def test_a_point_that_is_not_good_is_marked_and_not_drawn(
    data: Callable[[str], xarray.Dataset], kind: str
) -> None:
    results = data("line")
    reason = spoil(results, 4, kind)
    figure, axes = draw(results, "loss")
    x, y = curves(axes)[0]
    assert np.isnan(y[4])
    assert np.isfinite(np.delete(y, 4)).all()
    assert list(marks(axes).values()) == [[x[4]]]
    assert f"{reason}: 1 of 9" in legend(figure)
    assert sweep_plots.summary(results) == {reason: 1}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_place_of_a_map_that_is_not_good_is_hatched(
    data: Callable[[str], xarray.Dataset], kind: str
) -> None:
    results = data("map")
    reason = spoil(results, (slice(2, 4), 5), kind)
    figure, axes = draw(results, "loss")
    assert mesh(axes).mask.sum() == 2
    assert mesh(axes).mask[5, 2:4].all()
    ((hatch, rectangles),) = covered(axes)
    assert hatch
    assert rectangles == 1, "one for a run of places"
    assert f"{reason}: 2 of 81" in legend(figure)


def test_places_where_something_never_happened_are_told_apart_from_failures(
    data: Callable[[str], xarray.Dataset],
) -> None:
    results = data("map")
    results["emergence"].values[0, 0, 1] = np.nan  # one task is enough
    figure, axes = draw(results, "emergence")
    assert mesh(axes).mask.sum() == 1
    assert covered(axes) == [(None, 1)]
    assert "not before the end: 1 of 81 places" in legend(figure)


def test_saturation_itself_is_shown_beyond_the_range(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("line")
    spoil(results, 4, "saturated")
    _, axes = draw(results, "saturation")
    shown, limit = (y for _, y in curves(axes))
    assert shown[4] == 0.7
    assert (limit == 0.5).all()


def test_too_few_good_replicates_are_no_sample(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("replicates")
    spoil(results, (0, slice(0, 3)), "saturated")  # two of five are good
    spoil(results, (1, slice(0, 2)), "saturated")  # three are
    figure, axes = draw(results, "loss")
    y = curves(axes)[0][1]
    assert np.isnan(y[0])
    assert y[1] == pytest.approx(np.median(results["loss"].values[1, 2:]), rel=1e-12)
    assert "law invalid (saturation > 0.5): 5 of 45 runs" in legend(figure)


def test_tasks_that_a_point_does_not_have_do_not_count(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("ragged")
    sweep = sweep_of(results)
    assert results["status"].values[2, 0] == INVALID, "three tasks, two heads, and each must be led"
    emergence = sweep.quantity("emergence").values.values
    assert np.isfinite(emergence[:2]).all()
    assert emergence[0, 0] == results["emergence"].values[0, 0, 0]
    pattern = sweep.quantity("allocation").values.values
    assert (pattern[:2] == OWN).all()
    assert pattern[2, 1] == OWN
    results["allocation"].values[1, 0] = [1, 1, -1]
    results["allocation"].values[1, 1] = [-1, 1, -1]
    pattern = sweep_of(results).quantity("allocation").values.values
    assert pattern[1].tolist() == [SHARED, SOME_LEARNED]
    assert sweep.suitable() == ["gap"]
    figure, _ = draw(results)
    assert any("not a valid experiment: 1 of 6" in text for text in legend(figure))


def test_classes_have_colours_and_names(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("map")
    figure, axes = draw(results, "allocation")
    assert set(np.unique(mesh(axes))) == {OWN}
    assert legend(figure) == [PATTERNS[OWN].text]
    figure, _ = draw(results, "allocation", task=1)
    assert legend(figure) == ["head 1"]
    assert (sweep_of(results).quantity("as_predicted").values == 1.0).all()


@pytest.mark.parametrize("name", PLANS)
def test_every_quantity_of_every_sweep_can_be_drawn(data: Callable[[str], xarray.Dataset], name: str) -> None:
    results = data(name)
    for quantity in sweep_of(results).names:
        assert sweep_figure(results, [quantity]).get_axes()[0].get_xlabel()


def test_a_store_without_a_point_is_drawn(tmp_path: Path) -> None:
    for name, axes in {"line": [LENGTHS], "map": [LENGTHS, NOISES]}.items():
        path = tmp_path / name
        Store.attach(path, Plan.from_dict({**BASE, "axis": axes}))
        figure, _ = draw(open_sweep(path))
        assert any(text.startswith("not solved yet") for text in legend(figure))


def test_zipped_axes_show_the_path_that_is_asked_for(tmp_path: Path) -> None:
    axes = [
        {"path": "problem.context_length", "values": [200, 50, 100], "zip": "both"},
        {"path": "problem.snr", "values": [1.0, 10.0, 5.0], "zip": "both"},
    ]
    sweep.run(Plan.from_dict({**BASE, "axis": axes}), tmp_path / "zip")
    results = open_sweep(tmp_path / "zip")
    for x, order in (("both", [1, 2, 0]), ("problem.context_length", [1, 2, 0]), ("problem.snr", [0, 2, 1])):
        _, panel = draw(results, "loss", x=x)
        shown = curves(panel)[0]
        np.testing.assert_array_equal(shown[1], results["loss"].values[order])
        path = "problem.context_length" if x == "both" else x
        np.testing.assert_array_equal(shown[0], results[path].values[order])
        assert panel.get_xlabel() == FlowPoints.label(path, "both")


def test_figures_are_saved_with_the_fonts_that_journals_take(
    data: Callable[[str], xarray.Dataset], tmp_path: Path
) -> None:
    path = tmp_path / "figure.pdf"
    results = data("map")
    spoil(results, (0, 0), "saturated")
    plots.save(sweep_figure(results), path)
    content = path.read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content


def thinned(path: Path) -> Plan:
    """An example with the first, the middle and the last value of every axis, few tasks, two replicates."""
    table = Plan.read(path).to_dict()
    if "study" in table:
        table["study"] |= {"prompts": 20, "draws": 16}
    for axis in table["axis"]:
        if "replicates" in axis:
            axis["replicates"] = 2
        else:
            values = axis["values"]
            few = axis["path"] in ("problem.tasks", "model.heads")
            places = range(min(3, len(values))) if few else (0, len(values) // 2, len(values) - 1)
            axis["values"] = [values[k] for k in places]
    return Plan.from_dict(table)


def test_examples_are_these() -> None:
    flows = ["allocation", "emergence_times", "escape", "head_budget"]
    flows += ["regimes", "separation", "superposition"]
    names = sorted([*flows, "p2o_advantage", "p2o_risks"])
    assert [path.stem for path in EXAMPLES] == names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_first_and_last_point_of_every_example_are_valid(path: Path) -> None:
    plan = Plan.read(path)
    plan.experiment(0)
    plan.experiment(plan.size - 1)
    head = path.read_text("utf-8").partition("\n[")[0]
    assert f"spectral-icl sweep examples/sweeps/{path.name} --out {path.stem}.zarr" in head
    assert f"spectral-icl plot {path.stem}.zarr" in head
    assert f"{plan.size} points" in head


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_solves_and_is_drawn(path: Path, tmp_path: Path) -> None:
    plan = thinned(path)
    report = sweep.run(plan, tmp_path / "store")
    assert report.status == 0
    results = open_sweep(tmp_path / "store")
    assert np.isin(results["status"], SOLVED).all()
    figure, _ = draw(results)
    assert figure.get_axes()
