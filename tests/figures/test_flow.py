"""Figures of every kind of flow: they show the solution's numbers and can be read."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from drawings import collisions, inside_page, legends, renderer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from weights import slow

import spectral_icl as si
from spectral_icl.figures import flow as plots


def multitask(tasks: int = 2, **changes: Any) -> si.Problem:
    settings = {"task_sizes": (10,) * tasks, "signal": 10.0, "noise": 0.09, "context_length": 100}
    return si.Problem.multitask(**{**settings, **changes})


def solve(problem: si.Problem, heads: int, start: Callable[..., si.State], **options: Any) -> si.Solution:
    """A flow, or the part of one that was solved."""
    try:
        return si.gradient_flow(problem, *start(problem, heads), **options)
    except si.IntegrationError as error:
        return partial(error)


def partial(error: si.IntegrationError) -> si.Solution:
    """What was solved before an integration failed."""
    assert error.solution is not None
    return error.solution


def overlapping() -> si.Problem:
    return si.Problem(
        block_sizes=(3, 5, 2),
        signal=((2.0, 0.5, 0.0), (0.0, 1.0, 3.0)),
        noise=(0.1, 0.0),
        context_length=60,
        covariance=(1.0, 0.3, 1.7),
    )


def unequal() -> si.Problem:
    return multitask(5, task_sizes=(5, 10, 20, 5, 10), signal=(10.0, 6.0, 3.0, 1.5, 0.8))


def overflowing(problem: si.Problem, heads: int) -> si.State:
    return si.State(np.full((heads, problem.blocks), 1e4), np.ones((heads, problem.tasks)))


def paper(problem: si.Problem, heads: int, **changes: float) -> si.State:
    """The start of the built-in example."""
    return si.initial.paper(problem, heads, **{"qk": 0.1, "ov_low": 0.1, "ov_high": 0.2, **changes})


dominant, random = si.initial.dominant, si.initial.random
CASES: dict[str, Callable[[], si.Solution]] = {
    "balanced": lambda: solve(multitask(), 2, paper, t_end=60.0),
    "balanced, log time": lambda: solve(multitask(), 2, paper, t_end=2e4),
    "escape": lambda: solve(multitask(), 2, paper, t_end=100.0, parametrization=si.Factored(1e-6, 1e-6)),
    "merged": lambda: solve(multitask(), 3, paper, t_end=20.0, parametrization=si.Merged()),
    "one head": lambda: solve(multitask(), 1, paper, t_end=60.0),
    "one task": lambda: solve(multitask(1), 2, paper, t_end=60.0),
    "ten tasks": lambda: solve(multitask(10), 10, dominant, t_end=60.0),
    "three tasks, twelve heads": lambda: solve(multitask(3), 12, dominant, t_end=60.0),
    "unequal tasks": lambda: solve(unequal(), 6, dominant, t_end=400.0),
    "overlapping tasks": lambda: solve(overlapping(), 4, dominant, t_end=60.0),
    "either sign": lambda: solve(multitask(), 3, random, t_end=60.0, parametrization=si.Factored(0.1, 0.1)),
    "before emergence": lambda: solve(multitask(), 2, paper, t_end=1.0),
    "one step": lambda: solve(multitask(), 2, paper, t_end=1e-3),
    "one reported time": lambda: solve(multitask(), 2, paper, t_end=60.0, t_eval=[3.0]),
    "unfinished": lambda: solve(multitask(), 2, paper, max_steps=5),
    "no step": lambda: solve(multitask(), 2, overflowing),
    "at rest from the start": lambda: solve(multitask(), 2, lambda p, h: paper(p, h, qk=0.0, ov_high=0.1)),
    "to rest": lambda: solve(multitask(), 2, paper, t_end=np.inf, stationary=1e-5),
}


HEAVY = (
    "three tasks, twelve heads",
    "overlapping tasks",
    "balanced, log time",
    "one reported time",
    "to rest",
)


@pytest.fixture(scope="module", params=[slow(name) if name in HEAVY else name for name in CASES])
def drawn(request: pytest.FixtureRequest) -> tuple[si.Solution, Figure]:
    """A solution and its figure, laid out; a warning of the layout engine would be an error here."""
    solution = CASES[request.param]()
    figure = plots.flow_figure(solution)
    FigureCanvasAgg(figure).draw()
    return solution, figure


def panels(figure: Figure, label: str) -> list[Axes]:
    """Axes of the figure by row, from the label of its first one."""
    axes = figure.get_axes()
    first = next(k for k, a in enumerate(axes) if label in a.get_ylabel())
    return [a for a in axes[first:] if a.get_subplotspec().rowspan == axes[first].get_subplotspec().rowspan]


def ends(axes: Axes) -> list[float]:
    """Last value of every curve (the horizontal benchmarks are not curves)."""
    return [float(line.get_ydata()[-1]) for line in axes.get_lines() if len(line.get_xdata()) != 2]


def test_curves_end_at_the_final_state(drawn: tuple[si.Solution, Figure]) -> None:
    solution, figure = drawn
    at = solution(solution.trajectory.t[-1])
    if solution.trajectory.t.size == 1:
        pytest.skip("a flow without a step has no curves")
    for task, axes in enumerate(panels(figure, "OV value")):
        assert ends(axes) == pytest.approx(at.mu[:, task].tolist(), rel=1e-12)
    for task, axes in enumerate(panels(figure, "KQ value")):
        blocks = np.flatnonzero(np.asarray(solution.problem.signal)[task])
        assert ends(axes) == pytest.approx(at.omega[:, blocks].T.ravel().tolist(), rel=1e-12)
    final = si.task_loss(solution.problem, *at)
    (loss,) = (a for a in figure.get_axes() if a.get_ylabel().startswith("loss"))
    shown = [final.sum(), *final] if final.size > 1 else [final.sum()]
    assert ends(loss) == pytest.approx(shown, rel=1e-9)


def test_a_column_for_every_task_up_to_six(drawn: tuple[si.Solution, Figure]) -> None:
    solution, figure = drawn
    for label in ("OV value", "KQ value"):
        assert len(panels(figure, label)) == min(6, solution.problem.tasks)


def test_time_axis_covers_the_flow(drawn: tuple[si.Solution, Figure]) -> None:
    solution, figure = drawn
    last = solution.trajectory.t[-1]
    (loss,) = (a for a in figure.get_axes() if a.get_ylabel().startswith("loss"))
    timed = [loss, *panels(figure, "KQ value"), *panels(figure, "OV value")]
    assert len(timed) == 1 + 2 * min(6, solution.problem.tasks)
    for axes in timed:
        left, right = axes.get_xlim()
        assert left < right
        assert right == pytest.approx(last if last > 0.0 else right)


def test_nothing_is_drawn_outside_the_page(drawn: tuple[si.Solution, Figure]) -> None:
    _, figure = drawn
    assert inside_page(figure)


def test_axes_keep_room_for_their_curves(drawn: tuple[si.Solution, Figure]) -> None:
    """Labels and legends must not squeeze the panels: at least 0.6 inch each way."""
    _, figure = drawn
    scale = figure.dpi
    for axes in figure.get_axes():
        if axes.get_label() != "<colorbar>":
            box = axes.get_window_extent()
            assert box.width / scale > 0.6
            assert box.height / scale > 0.6


def test_texts_do_not_overlap(drawn: tuple[si.Solution, Figure]) -> None:
    _, figure = drawn
    assert not collisions(figure)


def test_every_curve_of_the_loss_can_be_told_apart(drawn: tuple[si.Solution, Figure]) -> None:
    """No task has the looks of the total or, among those in the legend, of another task."""
    solution, figure = drawn
    (loss,) = (a for a in figure.get_axes() if a.get_ylabel().startswith("loss"))
    curves = [line for line in loss.get_lines() if not str(line.get_label()).startswith("_")]
    curves = [line for line in curves if len(line.get_xdata()) != 2]  # the benchmarks are apart
    looks = [(to_hex(line.get_color()), line.get_linestyle()) for line in curves]
    assert len(set(looks)) == len(looks)
    assert len(looks) == 1 + (solution.problem.tasks > 1) * min(8, solution.problem.tasks)


def test_legends_do_not_hide_data(drawn: tuple[si.Solution, Figure]) -> None:
    _, figure = drawn
    for legend in legends(figure):
        box = legend.get_window_extent(renderer(figure))
        for axes in figure.get_axes():
            inside = axes.get_window_extent()
            overlap_x = min(box.x1, inside.x1) - max(box.x0, inside.x0)
            overlap_y = min(box.y1, inside.y1) - max(box.y0, inside.y0)
            assert min(overlap_x, overlap_y) <= 1.0


def test_phases_are_shaded_and_named() -> None:
    solution = CASES["escape"]()
    axes = Figure().subplots()
    patches = plots.shade_phases(solution, axes)
    assert [patch.get_label() for patch in patches] == ["warm-up", "emergence", "convergence", "escape"]
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches]  # type: ignore[attr-defined]
    phases = solution.phases
    last = solution.trajectory.t[-1]
    expected = [phases.warm_up, phases.emergence, phases.convergence, (phases.convergence[1], last)]
    np.testing.assert_allclose(spans, expected)
    early = plots.shade_phases(CASES["before emergence"](), Figure().subplots())
    assert [patch.get_label() for patch in early] == ["warm-up"]


def test_every_head_has_a_name_in_the_legend() -> None:
    few = plots.flow_figure(CASES["merged"]())
    names = [text.get_text() for legend in legends(few) for text in legend.get_texts()]
    assert [name for name in names if name.startswith("head ")] == ["head 0", "head 1", "head 2"]
    for benchmark in ("best single head", "head-per-task limit", "lower bound", "loss", "task 0", "task 1"):
        assert names.count(benchmark) == 1
    many = plots.flow_figure(CASES["three tasks, twelve heads"]())
    names = [text.get_text() for legend in legends(many) for text in legend.get_texts()]
    assert [name for name in names if name.startswith("head ")] == ["head 0", "head 11"]


@pytest.fixture(scope="module")
def noisy() -> tuple[si.StochasticFlow, Figure]:
    problem = multitask()
    paths = si.stochastic_flow(problem, *paper(problem, 2), step=0.05, batch=300, t_end=60.0, paths=8)
    figure = plots.flow_figure(paths.flow, paths)
    FigureCanvasAgg(figure).draw()
    return paths, figure


def shaded(axes: Axes) -> list[np.ndarray]:
    """Lower and upper end of every band, (2, T), in their order."""
    found = []
    for collection in axes.collections:
        if not isinstance(collection, PolyCollection):
            continue
        (path,) = collection.get_paths()
        times = np.unique(path.vertices[:, 0])
        at = [path.vertices[path.vertices[:, 0] == t, 1] for t in times]
        found.append(np.array([[values.min(), values.max()] for values in at]).T)
    return found


def test_bands_are_quantiles_of_the_paths(noisy: tuple[si.StochasticFlow, Figure]) -> None:
    paths, figure = noisy
    (loss,) = (a for a in figure.get_axes() if a.get_ylabel().startswith("loss"))
    (band,) = shaded(loss)
    np.testing.assert_allclose(band, np.quantile(paths.loss, [0.05, 0.95], axis=0))
    for label, values in (("KQ value", paths.omega), ("OV value", paths.mu)):
        for task, axes in enumerate(panels(figure, label)):
            bands = shaded(axes)
            assert len(bands) == 2, "one for each head"
            for head, ends_of_head in enumerate(bands):
                expected = np.quantile(values[:, :, head, task], [0.05, 0.95], axis=0)
                np.testing.assert_allclose(ends_of_head, expected)


def test_a_band_has_the_colour_and_the_dashes_of_its_head(noisy: tuple[si.StochasticFlow, Figure]) -> None:
    """In grey the median's dashes are left."""
    _, figure = noisy
    for axes in panels(figure, "OV value"):
        lines = axes.get_lines()
        heads, middles = lines[:2], lines[2:]
        bands = [c for c in axes.collections if isinstance(c, PolyCollection)]
        for head, middle, band in zip(heads, middles, bands, strict=True):
            assert to_hex(middle.get_color()) == to_hex(head.get_color()) == to_hex(band.get_facecolor()[0])
            assert middle.get_linestyle() == head.get_linestyle()


def test_a_figure_with_paths_can_be_read(noisy: tuple[si.StochasticFlow, Figure]) -> None:
    paths, figure = noisy
    assert inside_page(figure)
    assert not collisions(figure)
    names = [text.get_text() for legend in legends(figure) for text in legend.get_texts()]
    assert names.count("5 to 95 % of paths") == names.count("single paths") == 1
    (loss,) = (a for a in figure.get_axes() if a.get_ylabel().startswith("loss"))
    single = [line.get_ydata() for line in loss.get_lines() if len(line.get_xdata()) == paths.t.size]
    assert {tuple(values) for values in single} <= {tuple(values) for values in paths.loss}
    assert len(single) == 3


def test_map_shows_the_final_mu_of_every_head_and_task() -> None:
    solution = CASES["escape"]()
    axes = Figure().subplots()
    plots.allocation_map(solution, axes)
    final = solution.mu[-1]
    assert final.min() < -1.0
    (image,) = axes.get_images()
    np.testing.assert_array_equal(image.get_array(), final)
    low, high = image.get_clim()
    assert high == -low == abs(final).max()  # zero is the neutral colour
    written = {text.get_position(): text.get_text().replace("\N{MINUS SIGN}", "-") for text in axes.texts}
    assert written == {(task, head): f"{value:.2f}" for (head, task), value in np.ndenumerate(final)}


@pytest.mark.parametrize("name", ["escape", *map(slow, ("ten tasks", "unfinished", "no step"))])
def test_fonts_are_those_that_journals_take(tmp_path: Path, name: str) -> None:
    path = tmp_path / "figure.pdf"
    plots.save(plots.flow_figure(CASES[name]()), path)
    content = path.read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content  # TrueType, embedded


def test_drawing_leaves_the_callers_settings_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    plots.save(plots.flow_figure(CASES["balanced"]()), tmp_path / "figure.png")
    assert dict(mpl.rcParams) == before


def test_drawing_needs_no_window_system(tmp_path: Path) -> None:
    """Without pyplot there is no backend to choose and no figure left open."""
    code = f"""if True:
        import sys
        import spectral_icl as si
        from spectral_icl.figures import flow as plots
        p = si.Problem.multitask(task_sizes=(4, 4), signal=10.0, noise=0.09, context_length=100)
        sol = si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=1.0)
        plots.save(plots.flow_figure(sol), {str(tmp_path / "figure.png")!r})
        print("matplotlib.pyplot" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "False\n"
