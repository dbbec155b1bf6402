"""The seam for laws of the context: a second law needs its own functions, and nothing else learns of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import toy_law
from scipy.integrate import solve_ivp

import spectral_icl as si
from spectral_icl.figures.optimal import optimal_figure
from spectral_icl.kernels import law
from spectral_icl.multitask import context
from spectral_icl.multitask.context import LAWS
from spectral_icl.multitask.flow import saturation
from spectral_icl.multitask.flow.escape import predicted_escape
from spectral_icl.multitask.optimal.optima import OPTIMA, Benchmark, Optima
from spectral_icl.multitask.optimal.report import benchmark_report
from spectral_icl.multitask.report import benchmarks

PROBLEM = si.Problem(
    block_sizes=(3, 5, 2),
    signal=((2.0, 0.5, 0.0), (0.0, 1.0, 3.0)),
    noise=(0.1, 0.2),
    context_length=50,
    covariance=1.0,
)
START = si.initial.random(PROBLEM, heads=3, scale=0.2, seed=4)


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(LAWS, "toy", toy_law.pack)
    with toy_law.not_kept():
        yield


def total(theta: np.ndarray) -> complex:
    """The loss of a flat state, by its definition."""
    split = START.omega.size
    omega, mu = theta[:split].reshape(START.omega.shape), theta[split:].reshape(START.mu.shape)
    return toy_law.loss(PROBLEM, omega, mu).sum()


THETA = np.concatenate([START.omega.ravel(), START.mu.ravel()])


def slope(theta: np.ndarray) -> np.ndarray:
    """Gradient of `total`, by complex steps."""
    return np.array([total(theta + 1e-30j * e).imag / 1e-30 for e in np.eye(theta.size)])


def test_loss_gradient_and_hessian_are_those_of_the_law() -> None:
    by_task = toy_law.loss(PROBLEM, *START)
    np.testing.assert_allclose(si.task_loss(PROBLEM, *START, kernel="toy"), by_task, rtol=1e-14)
    found = si.gradient(PROBLEM, *START, kernel="toy")
    flat = np.concatenate([found.omega.ravel(), found.mu.ravel()])
    np.testing.assert_allclose(flat, slope(THETA), rtol=1e-12, atol=1e-14)
    step = 1e-6
    rows = [(slope(THETA + step * e) - slope(THETA - step * e)) / (2 * step) for e in np.eye(THETA.size)]
    np.testing.assert_allclose(si.hessian(PROBLEM, *START, kernel="toy"), rows, rtol=1e-6, atol=1e-8)
    assert si.loss(PROBLEM, *START) != si.loss(PROBLEM, *START, kernel="toy")


def test_the_flow_is_that_of_the_law(caplog: pytest.LogCaptureFixture) -> None:
    """Explicit and implicit steps, against another integrator of the flow by complex steps of the loss.

    The first flow of a law compiles the integrator, which is announced, once.
    """
    caplog.set_level("INFO", "spectral_icl")
    sizes = np.array(PROBLEM.block_sizes)
    speed = np.concatenate([np.tile(1.0 / sizes, 3), np.ones(START.mu.size)])
    times = np.linspace(0.0, 30.0, 7)
    other = solve_ivp(
        lambda _, x: -speed * slope(x), (0.0, 30.0), THETA, "Radau", times, rtol=1e-9, atol=1e-10
    )
    sol = si.gradient_flow(
        PROBLEM,
        *START,
        parametrization=si.Merged(),
        t_end=3000.0,
        t_eval=times,
        rtol=1e-8,
        kernel="toy",
    )
    found = np.concatenate([sol.omega.reshape(7, -1), sol.mu.reshape(7, -1)], axis=1)
    np.testing.assert_allclose(found, other.y.T, atol=1e-6)
    assert sol.stats.factorisations > 0
    si.gradient_flow(PROBLEM, *START, parametrization=si.Merged(), t_end=1.0, kernel="toy")
    (announced,) = caplog.messages
    assert announced.startswith("compiling the integrator of flows")
    assert sol.loss[-1] == si.loss(PROBLEM, sol.omega[-1], sol.mu[-1], kernel="toy")


class Bounded(Optima):
    """All that phases ask of a law about the best attention."""

    def lower_bound(self, problem: si.Problem) -> Benchmark:
        """No attention reduces the query noise."""
        return Benchmark("lower bound", 0.0, np.asarray(problem.noise), False, None, law="toy")


def test_what_is_not_known_of_a_law_is_refused_and_not_taken_from_another() -> None:
    sol = si.gradient_flow(PROBLEM, *START, parametrization=si.Merged(), t_end=1.0, kernel="toy")
    assert all(task.time is None for task in sol.forecast)
    assert benchmarks(PROBLEM, "toy") == {}
    known = benchmark_report(PROBLEM, "", 2, "toy").found
    assert list(known) == ["small_heads", "gradient_step", "bayes"]  # true under every law
    assert (
        "no lower bound: not computed, because it needs a law"
        in benchmark_report(PROBLEM, "", 2, "toy").to_text()
    )
    for ask in (
        lambda: si.optimal.minimise(PROBLEM, 2, kernel="toy"),
        lambda: optimal_figure(PROBLEM, "toy"),
        lambda: sol.saturation,
        lambda: si.gradient_flow_ensemble(PROBLEM, *START, kernel="toy"),
        lambda: sol.phases,
        lambda: si.theorems.check(PROBLEM, *START, kernel="toy"),
    ):
        with pytest.raises(si.ProblemError, match="kernel: expected a law of the context with"):
            ask()


def test_the_predictions_of_another_law_stay_out_of_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a lower bound of its own a law has phases, beside no prediction of another law."""
    monkeypatch.setitem(OPTIMA, "toy", Bounded("toy"))
    problem = si.Problem.multitask(task_sizes=(3, 5), signal=2.0, noise=0.1, context_length=50)
    start = si.initial.dominant(problem, heads=2)
    predicted = si.gradient_flow(problem, *start, t_end=1.0).phases.tasks
    assert all(task.predicted_time is not None for task in predicted)
    tasks = si.gradient_flow(problem, *start, t_end=1.0, kernel="toy").phases.tasks
    assert {task.remark for task in tasks} == {"there is no warm-up theory of this law of the context"}
    assert all(task.predicted_time is None and task.predicted_head is None for task in tasks)
    with pytest.raises(si.ProblemError, match="kernel: expected a law of the context with a known best"):
        predicted_escape(problem, start, 0.1, 0, 0, 1, "toy")


def test_a_law_without_a_function_says_so() -> None:
    with pytest.raises(NotImplementedError, match="the law of tuple"):
        law.gradient((), *START, *START, ())


def test_an_unknown_law_is_one_line() -> None:
    names = "'asymptotic', 'first-order', 'exact', 'toy'"
    with pytest.raises(si.ProblemError, match=f"kernel: expected one of {names}, got 'small-L'"):
        context.pack(PROBLEM, "small-L")


@pytest.mark.slow
def test_ensembles_and_phases_are_those_of_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMA, "toy", Bounded("toy"))
    # for good: what is refused for want of it is tested before
    saturation.saturation_of.register(toy_law.Toy, lambda models, tilt: np.log(tilt))
    starts = [si.initial.random(PROBLEM, heads=3, scale=0.05, seed=k, positive=True) for k in range(20)]
    many = si.gradient_flow_ensemble(
        PROBLEM, *zip(*starts, strict=True), t_end=20.0, kernel="toy", phases=True
    )
    assert many.success.all()
    for k in (0, 7, 19):
        alone = si.gradient_flow(PROBLEM, *starts[k], t_end=20.0, kernel="toy")
        np.testing.assert_allclose(many.omega[k], alone.final.omega, atol=1e-6)
        assert many.loss[k] == pytest.approx(alone.final_loss, rel=1e-7)
        measured = [np.nan if task.head is None else task.time for task in alone.phases.tasks]
        assert many.emergence is not None
        np.testing.assert_allclose(many.emergence[k], measured, rtol=1e-3)
