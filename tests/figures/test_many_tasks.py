"""The figure of a flow of many tasks shows its numbers and can be read, whatever is kept of the flow."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from drawings import collisions, inside_page
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from weights import slow

import spectral_icl as si
from spectral_icl.figures import flow as plots
from spectral_icl.figures import many_tasks
from spectral_icl.multitask.flow.outline import Outline


def falling(tasks: int) -> si.Problem:
    """Tasks of ever less power."""
    power = [10.0 / (1 + task) for task in range(tasks)]
    return si.Problem.multitask(task_sizes=[4] * tasks, signal=power, noise=0.1, context_length=1000)


def solve(tasks: int, heads: int, **options: Any) -> si.Solution:
    p = falling(tasks)
    try:
        return si.gradient_flow(p, *si.initial.random(p, heads, 0.05, seed=3), rtol=1e-4, **options)
    except si.IntegrationError as error:
        return partial(error)


def partial(error: si.IntegrationError) -> si.Solution:
    """What was solved before an integration failed."""
    assert error.solution is not None
    return error.solution


def overlapping() -> si.Solution:
    """Tasks on three blocks each, of which they share two."""
    signal = [[(b % 14, 1.0) for b in range(i, i + 3)] for i in range(14)]
    p = si.Problem(block_sizes=(5,) * 14, signal=signal, noise=0.1, context_length=300)
    start = si.initial.random(p, 3, 0.1, seed=1, positive=True)
    return si.gradient_flow(p, *start, t_end=100.0, rtol=1e-4, dense_output=False)


def overflowing(whole: bool) -> si.Solution:
    p = falling(14)
    try:
        return si.gradient_flow(p, np.full((2, 14), 1e4), np.ones((2, 14)), dense_output=whole)
    except si.IntegrationError as error:
        return partial(error)


CASES: dict[str, Callable[[], si.Solution]] = {
    "kept whole": lambda: solve(20, 3, t_end=300.0),
    "in outline": lambda: solve(20, 3, t_end=300.0, dense_output=False),
    "in outline at two times": lambda: solve(20, 3, t_end=300.0, dense_output=False, t_eval=[1.0, 200.0]),
    "many heads": lambda: solve(20, 60, t_end=100.0, dense_output=False),
    "before emergence": lambda: solve(20, 3, t_end=0.1, dense_output=False),
    "unfinished": lambda: solve(20, 3, t_end=300.0, max_steps=20, dense_output=False),
    "overlapping tasks": overlapping,
    "no step": lambda: overflowing(True),
    "no step, in outline": lambda: overflowing(False),
    "to rest": lambda: solve(13, 1, t_end=np.inf, stationary=1e-2, dense_output=False),
    "one sign each way": lambda: solve(20, 3, t_end=30.0, parametrization=si.Merged(), dense_output=False),
}


@pytest.fixture(scope="module", params=[slow(name) if name == "many heads" else name for name in CASES])
def drawn(request: pytest.FixtureRequest) -> tuple[si.Solution, Figure]:
    """A solution and its figure, laid out."""
    solution = CASES[request.param]()
    figure = plots.flow_figure(solution)
    FigureCanvasAgg(figure).draw()
    return solution, figure


def labelled(figure: Figure, text: str) -> Axes:
    """The axes with this label along y."""
    (found,) = (axes for axes in figure.get_axes() if axes.get_ylabel() == text)
    return found


def test_it_can_be_read(drawn: tuple[si.Solution, Figure]) -> None:
    solution, figure = drawn
    assert inside_page(figure)
    assert not collisions(figure)
    for axes in figure.get_axes():
        if axes.get_label() != "<colorbar>":
            box = axes.get_window_extent()
            assert min(box.width, box.height) / figure.dpi > 0.6
    title = figure.get_suptitle()
    assert title.startswith("unfinished (") == (not solution.success)


def test_bands_end_at_the_final_losses(drawn: tuple[si.Solution, Figure]) -> None:
    solution, figure = drawn
    axes = labelled(figure, "loss per task")
    mean, middle = (float(line.get_ydata()[-1]) for line in axes.get_lines()[:2])  # type: ignore[index, arg-type]
    final = solution.final_task_loss
    known = np.where(np.isfinite(final), final, np.nan)
    expected = (known.mean(), np.median(known))
    assert (mean, middle) == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert axes.get_xlim()[1] == (solution.trajectory.t[-1] or 1.0)


def test_every_emergence_is_in_the_histogram(drawn: tuple[si.Solution, Figure]) -> None:
    solution, figure = drawn
    (axes,) = (axes for axes in figure.get_axes() if axes.get_title(loc="left").startswith("emergence"))
    emerged = sum(head is not None for head in solution.allocation)
    assert axes.get_title(loc="left") == f"emergence: {emerged} of {solution.problem.tasks} tasks emerged"
    bars = [patch for patch in axes.patches if hasattr(patch, "get_height")]
    assert sum(bar.get_height() for bar in bars) == emerged


def test_maps_show_the_final_state(drawn: tuple[si.Solution, Figure]) -> None:
    solution, figure = drawn
    images = [axes.get_images()[0] for axes in figure.get_axes() if axes.get_images()]
    final, half = solution.final, len(images) // 2
    shown = [images[half - 1].get_array(), images[-1].get_array()]
    for values, image in zip((final.mu, final.omega), shown, strict=True):
        assert image is not None
        np.testing.assert_array_equal(np.sort(np.ravel(image)), np.sort(values.ravel()))


def test_tasks_are_in_the_order_of_their_heads() -> None:
    solution = CASES["kept whole"]()
    tasks, blocks = many_tasks.order(solution)
    assert sorted(tasks) == list(range(20))
    np.testing.assert_array_equal(blocks, tasks)  # of disjoint tasks
    heads = [solution.allocation[task] for task in tasks]
    emerged = [head for head in heads if head is not None]
    assert 0 < len(emerged) < 20
    assert heads[: len(emerged)] == sorted(emerged)
    for head in range(3):
        times = [solution.phases.tasks[task].time for task in tasks if solution.allocation[task] == head]
        assert times == sorted(times)


def test_a_cell_shows_its_largest_entry() -> None:
    values = np.zeros((100, 1000))
    values[37, 512], values[99, 999], values[0, 3] = -3.0, 2.0, 1.0
    found = many_tasks.binned(values, (10, 50))
    assert found.shape == (10, 50)
    assert {(int(i), int(k)): found[i, k] for i, k in np.argwhere(found)} == {
        (0, 0): 1.0,
        (3, 25): -3.0,
        (9, 49): 2.0,
    }
    np.testing.assert_array_equal(many_tasks.binned(values[:3, :4], (10, 50)), values[:3, :4])


def test_maps_are_of_times_whose_states_are_kept() -> None:
    solution = CASES["in outline at two times"]()
    assert isinstance(solution.trajectory, Outline)
    assert set(many_tasks.moments(solution)) <= {0.0, 1.0, 200.0, 300.0}


def test_a_thousand_tasks_are_drawn_in_seconds() -> None:
    p = falling(1000)
    start = si.initial.random(p, 2, 0.01)
    solution = si.gradient_flow(p, *start, t_end=1.0, rtol=1e-3, dense_output=False)
    assert solution.phases
    began = perf_counter()
    FigureCanvasAgg(plots.flow_figure(solution)).draw()
    assert perf_counter() - began < 10.0  # 2 s on a quiet machine
