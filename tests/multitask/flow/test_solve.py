"""The integrator: its order, its dense output, its outcomes, and an independent integrator beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from cases import CASES
from compiled_field import field as compiled_field
from scipy.integrate import solve_ivp

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.charts import to_primal
from spectral_icl.kernels.integrator import integrate
from spectral_icl.kernels.model import (
    EXPONENTIAL,
    HYPERBOLIC,
    LINEAR,
    REACHED_END,
    Chart,
    Limits,
    Methods,
    Nodes,
    Progress,
    System,
)
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.flow import solve as flow_module
from spectral_icl.multitask.flow.options import LONGEST, Outcome
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.parametrization import Parametrization, to_dual, twins
from spectral_icl.multitask.state import flat, unflattened


def overlapping() -> si.Problem:
    """Overlap, anisotropy, unequal noise: nothing that a symmetry could simplify."""
    return si.Problem(
        block_sizes=(4, 7, 3),
        signal=((1.0, 0.4, 0.0), (0.0, 0.7, 0.9)),
        noise=(0.1, 0.3),
        context_length=150,
        covariance=(1.0, 0.6, 1.7),
    )


@pytest.mark.parametrize(
    "parametrization", [si.Balanced(), si.Factored(0.02, 1e-3), si.Merged()], ids=lambda p: p.name
)
def test_agrees_with_scipy_on_a_general_problem(parametrization: si.Balanced) -> None:
    p = overlapping()
    start = si.initial.random(p, heads=3, scale=0.1, seed=1)
    chart = parametrization.chart(p, start)
    shape, size = (3, p.blocks, p.tasks), chart.kind.size
    x0 = to_dual(chart, start)
    system = System(pack(p), chart, twins(chart, x0, shape), shape)
    work = law.scratch(system.model, shape)
    theta, grad = np.empty(size), np.empty(size)

    def field(_: float, x: np.ndarray) -> np.ndarray:
        out = np.empty(size)
        compiled_field(system, x, theta, grad, work, out)
        return out

    times = np.linspace(0.0, 60.0, 13)
    other = solve_ivp(field, (0.0, 60.0), x0, "Radau", times, rtol=1e-10, atol=1e-11)
    expected = np.empty((times.size, size))
    for n in range(times.size):
        to_primal(chart, np.ascontiguousarray(other.y[:, n]), expected[n])
    sol = si.gradient_flow(p, *start, parametrization=parametrization, t_end=60.0, t_eval=times, rtol=1e-10)
    found = np.concatenate([sol.omega.reshape(13, -1), sol.mu.reshape(13, -1)], axis=1)
    np.testing.assert_allclose(found, expected, atol=3e-8)


def test_dense_output_is_as_accurate_as_the_steps() -> None:
    """Error at mid-steps and at nodes, both against a much tighter run, over five decades of rtol."""
    case = CASES["paper_two_tasks_balanced"]
    exact = case.solve(t_end=30.0, t_eval=None, rtol=1e-12)
    ratios, nodes = [], []
    for rtol in (1e-4, 1e-6, 1e-8, 1e-9):
        sol = case.solve(t_end=30.0, t_eval=None, rtol=rtol)
        middle = 0.5 * (sol.t[1:] + sol.t[:-1])
        errors = [
            max(abs(a - b).max() for a, b in zip(sol(t), exact(t), strict=True)) for t in (sol.t, middle)
        ]
        nodes.append(errors[0])
        ratios.append(errors[1] / errors[0])
    assert max(ratios) < 1.5
    assert nodes[-1] < 1e-3 * nodes[0]


@pytest.mark.parametrize("stiff", [0, 1])
def test_order_five_in_the_step(stiff: int) -> None:
    """Halving every step divides the error by 2^5, at the nodes and between them, for both methods."""
    case = CASES["superposition_overlap_merged"]
    exact = case.solve(t_end=4.0, t_eval=None, rtol=1e-13)
    probes = np.linspace(0.05, 3.95, 41)
    errors = []
    for steps in (40, 80, 160):
        curve = _fixed_steps(case, 4.0, steps, stiff)
        errors.append(max(abs(a - b).max() for a, b in zip(curve(probes), exact(probes), strict=True)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 4.6).all(), orders


def _fixed_steps(case, t_end: float, steps: int, stiff: int) -> Trajectory:  # type: ignore[no-untyped-def]
    """A run in which every step has the same size: a tolerance that accepts all, one step a call."""
    p = case.problem
    chart = case.parametrization.chart(p, si.State(case.omega0, case.mu0))
    for values in chart:
        values.setflags(write=False)  # as of flows, for which the integrator is compiled
    x = to_dual(chart, si.State(case.omega0, case.mu0))
    heads = len(case.omega0)
    system = System(pack(p), chart, np.arange(x.size), (heads, p.blocks, p.tasks))
    methods = Methods(DORMAND_PRINCE, RODAS5P)
    width = t_end / steps
    t, xs, dense = [0.0], [x], []
    for n in range(steps):
        progress = Progress.begun(stiff)
        progress.real[:] = t[-1], 1.001 * width, 1.0
        nodes = Nodes.room(1, 3, x.size)
        nodes.x[0] = xs[-1]
        end = (n + 1) * width
        limits = Limits(t_end=end, rtol=1e3, stationary=0.0, max_steps=10)
        assert integrate(system, methods, limits, progress, nodes) == (REACHED_END, 1)
        t.append(end)
        xs.append(nodes.x[1].copy())
        dense.append(nodes.dense[0].copy())
    return Trajectory(p, chart, heads, np.array(t), np.array(xs), np.array(dense))


def test_the_method_follows_the_stiffness(two_tasks: si.Problem) -> None:
    """No Jacobian is factored during the warm-up, and the long convergence is stiff."""
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    warm_up = si.gradient_flow(two_tasks, *start, t_end=15.0).stats
    assert warm_up.steps > 10
    assert warm_up.factorisations == 0
    whole = si.gradient_flow(two_tasks, *start, t_end=1e5).stats
    assert 0 < whole.factorisations < whole.steps < 400


def test_a_run_does_not_depend_on_the_buffer_size(
    two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel hands control back every so many steps; where it does must not show."""
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    whole = si.gradient_flow(two_tasks, *start, t_end=60.0)
    monkeypatch.setattr(flow_module, "_CAPACITY", 7)
    pieces = si.gradient_flow(two_tasks, *start, t_end=60.0)
    np.testing.assert_array_equal(whole.t, pieces.t)
    np.testing.assert_array_equal(whole.mu, pieces.mu)
    assert whole.stats.steps == pieces.stats.steps


def test_t_eval_is_honoured_exactly(two_tasks: si.Problem) -> None:
    start = si.initial.paper(two_tasks, 3, 0.1, 0.1, 0.2)
    times = [0.0, 1e-9, 21.0, 22.0]
    sol = si.gradient_flow(two_tasks, *start, t_end=22.0, t_eval=times)
    np.testing.assert_array_equal(sol.t, times)
    np.testing.assert_allclose(sol.omega[0], start.omega, rtol=1e-15)
    np.testing.assert_array_equal(sol(22.0).mu, sol.mu[-1])
    assert sol(np.full((2, 3), 5.0)).omega.shape == (2, 3, 3, 2)
    assert sol([]).mu.shape == (0, 3, 2)
    for outside in (-1e-9, 22.1, math.nan):
        with pytest.raises(si.ProblemError, match="t: expected times in"):
            sol(outside)


def test_stationarity_stop_is_first_order_optimality(two_tasks: si.Problem) -> None:
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    sol = si.gradient_flow(two_tasks, *start, t_end=math.inf, stationary=1e-9)
    assert sol.outcome is Outcome.STATIONARY
    end = sol.trajectory.t[-1]
    slope = si.gradient(two_tasks, *sol(end))
    speeds = (2.0 * sol.key_scale / 10.0, 2.0)
    for values, force, speed in zip(sol(end), slope, speeds, strict=True):
        assert speed * abs(values * force).max() <= 1e-9  # at rest, or at zero ...
        assert speed * (np.sign(values) * force).min() >= -1e-9  # ... where the force holds it
    np.testing.assert_array_equal(sol(10 * end).mu, sol(end).mu)
    long = si.gradient_flow(two_tasks, *start, t_end=1e6)
    assert sol.loss[-1] == pytest.approx(long.loss[-1], abs=1e-6)


def test_a_saddle_is_not_rest(two_tasks: si.Problem) -> None:
    """On the plateau before the escape theta hardly moves, but its dual coordinates do."""
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    sol = si.gradient_flow(
        two_tasks, *start, parametrization=si.Factored(1e-12, 1e-12), t_end=2000.0, stationary=1e-4
    )
    assert sol.trajectory.t[-1] > 100.0
    assert sol.mu[-1].min() < -1.0


def test_zero_entries_rest_in_the_balanced_flow(two_tasks: si.Problem) -> None:
    omega, mu = np.full((2, 2), 0.01), np.array([[0.02, 0.0], [0.0, 0.02]])
    sol = si.gradient_flow(two_tasks, omega, mu, t_end=100.0)
    assert (sol.mu[:, [0, 1], [1, 0]] == 0.0).all()
    assert sol.allocation == (0, 1)
    nothing = si.gradient_flow(two_tasks, 0 * omega, 0 * mu, t_end=5.0)
    assert nothing.stats.steps <= 2
    np.testing.assert_array_equal(nothing.loss, nothing.loss[0])


def failure(**arguments: object) -> si.IntegrationError:
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    start = arguments.pop("start", si.initial.paper(p, 2, 0.1, 0.1, 0.2))
    with pytest.raises(si.IntegrationError) as caught:
        si.gradient_flow(p, *start, **arguments)  # type: ignore[misc,arg-type]
    assert caught.value.solution is not None
    return caught.value


def test_step_limit_carries_the_partial_solution() -> None:
    error = failure(max_steps=40, t_eval=np.linspace(0.0, 200.0, 101))
    sol = error.solution
    assert sol is not None
    assert sol.outcome is Outcome.STEP_LIMIT
    assert 0.0 < sol.t[-1] <= sol.trajectory.t[-1] < 200.0
    assert "max_steps" in str(error)
    assert not sol.success


@pytest.mark.parametrize("size", [5.0, 1e3, 1e12])
def test_overflow_of_the_exponential_is_an_outcome(size: float) -> None:
    start = (np.full((2, 2), size), np.full((2, 2), 0.1))
    for parametrization in (si.Balanced(), si.Merged(), si.Factored(0.1, 0.1)):
        if size == 5.0:  # exp(500) is finite, and the flow recovers from it
            continue
        error = failure(start=start, parametrization=parametrization)
        assert error.solution is not None
        assert error.solution.outcome is Outcome.OVERFLOW
        assert "smaller omega" in str(error)


def test_repr_tells_the_story(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2))
    assert sol.allocation == (0, 1)
    for text in (repr(sol), sol._repr_html_()):
        assert "2 tasks" in text
        assert "task 1: head 1" in text
        assert "reached the end" in text


def test_a_look_measures_nothing(two_tasks: si.Problem) -> None:
    """What has not been asked for is not shown, let alone computed (and compiled) to be shown."""
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2))
    before = set(vars(sol))
    for text in (repr(sol), sol._repr_html_()):
        assert "reached the end" in text
        assert "allocation" not in text
    assert set(vars(sol)) == before
    assert f"{sol.final_loss:.6g} at the end" in repr(sol)
    assert "in range" not in repr(sol)
    assert str(sol.saturation) in repr(sol)


@pytest.mark.parametrize("scale", [1e-309, 1e-300, 1e-200])
def test_speeds_that_hardly_are_numbers_stop_nothing(scale: float) -> None:
    """Speed and slope of an entry may have a product that is none; single flows and ensembles alike."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=1.0, noise=0.1, context_length=100)
    start = si.State(np.full((2, 2), 3e-9), np.array([[0.3, 0.1], [0.1, 0.2]]))
    options = {"parametrization": si.Balanced(key_scale=scale), "t_end": 1e12}
    alone = si.gradient_flow(p, *start, **options)
    many = si.gradient_flow_ensemble(p, *start, **options)
    assert many.success.all()
    np.testing.assert_allclose(many.mu[0], alone.final.mu, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(alone.final.omega, start.omega, rtol=1e-6)


@pytest.mark.parametrize("start", ["paper", "dominant"])
def test_an_infinite_time_is_reached_by_rest_alone(two_tasks: si.Problem, start: str) -> None:
    """Rounding keeps the speeds above this ``stationary``, and steps grow until the time itself overflows."""
    at = si.initial.paper(two_tasks, 2) if start == "paper" else si.initial.dominant(two_tasks, 2)
    error = failure(start=at, t_end=math.inf, stationary=1e-16)
    sol = error.solution
    assert sol is not None
    assert sol.outcome is Outcome.NOT_AT_REST
    assert not sol.success
    assert "did not come to rest" in str(error)
    assert "raise stationary" in sol.message
    assert sol.trajectory.t[-1] == LONGEST
    assert sol.final_loss == pytest.approx(si.optimal.head_per_task(two_tasks).loss, rel=1e-12)
    assert sol.final.omega.max() == pytest.approx(0.1**0.5)
    many = si.gradient_flow_ensemble(two_tasks, *at, t_end=[math.inf, LONGEST, math.inf], stationary=1e-16)
    assert many.outcome.tolist() == [Outcome.NOT_AT_REST, Outcome.REACHED_END, Outcome.NOT_AT_REST]
    assert many.success.tolist() == [False, True, False]
    np.testing.assert_allclose(many.loss, sol.final_loss, rtol=1e-12)


def unrest(problem: si.Problem, chart: Chart, at: si.State) -> float:
    """What `gradient_flow` compares with ``stationary``, by its definition: speeds, and rates of growth."""
    theta, slope = flat(at), flat(si.gradient(problem, *at))
    rate = -chart.speed * chart.sign * slope
    steepness = np.where(chart.kind == LINEAR, 1.0, np.abs(theta))
    steepness = np.where(chart.kind == HYPERBOLIC, np.hypot(chart.scale, theta), steepness)
    growth = np.where(chart.kind == EXPONENTIAL, rate, np.abs(rate))
    return float(max(np.abs(steepness * rate).max(), growth.max()))


def random_problems(count: int) -> Iterator[tuple[si.Problem, si.State, Parametrization]]:
    """Problems of all shapes, starts and parametrizations in turn."""
    rng = np.random.default_rng(5)
    weights = (si.Balanced(), si.Factored(1e-3, 1e-2), si.Merged())
    for k in range(count):
        tasks, blocks, heads = rng.integers(1, 4, 3)
        signal = rng.lognormal(0.0, 1.0, (tasks, blocks)) * (rng.random((tasks, blocks)) < 0.6)
        signal[:, 0] += 0.5
        p = si.Problem(
            block_sizes=rng.integers(1, 30, blocks),
            signal=signal,
            noise=rng.lognormal(-1.0, 1.0, tasks),
            context_length=10.0 ** rng.uniform(1.0, 4.0),
            covariance=rng.uniform(0.3, 2.0, blocks),
        )
        yield p, si.initial.random(p, heads, 0.1, k, positive=bool(k % 2)), weights[k % 3]


def test_both_solvers_keep_the_one_promise_of_rest() -> None:
    """Nothing moves faster than ``stationary``, for the first time; and of these problems losses agree."""
    rest, endless = 1e-6, {"t_end": math.inf, "stationary": 1e-6}
    for p, start, parametrization in random_problems(30):
        chart = parametrization.chart(p, start)
        alone = si.gradient_flow(p, *start, parametrization=parametrization, **endless)
        many = si.gradient_flow_ensemble(p, *start, parametrization=parametrization, **endless)
        assert alone.outcome == many.outcome[0] == Outcome.STATIONARY
        assert unrest(p, chart, alone.final) <= rest * (1.0 + 1e-6)
        assert unrest(p, chart, si.State(many.omega[0], many.mu[0])) <= rest * (1.0 + 1e-6)
        assert unrest(p, chart, alone(alone.trajectory.t[-2])) > rest * (1.0 - 1e-6)
        assert abs(alone.final_loss - many.loss[0]) <= rest


def test_equal_heads_rest_where_they_are_said_to_be() -> None:
    """Long implicit steps part them by rounding; what is put together again may move 70 times as fast."""
    p = si.Problem(
        block_sizes=(1,), signal=((0.2,),), noise=(0.1,), context_length=3000.0, covariance=(0.001,)
    )
    start, rest = (np.full((2, 1), 1e-5), np.full((2, 1), 1e-4)), 4e-9
    options = {"parametrization": si.Merged(), "t_end": math.inf, "rtol": 1e-5, "stationary": rest}
    alone = si.gradient_flow(p, *start, **options)
    many = si.gradient_flow_ensemble(p, *start, **options)
    assert alone.outcome == many.outcome[0] == Outcome.STATIONARY
    for at in (alone.final, si.State(many.omega[0], many.mu[0])):
        np.testing.assert_array_equal(at.omega[0], at.omega[1])
        assert max(abs(slope).max() for slope in si.gradient(p, *at)) <= rest * (1.0 + 1e-6)


@pytest.mark.slow
def test_rest_is_rest_to_an_independent_integrator() -> None:
    """Until states have crept by a hundredth, as promised, the loss hardly falls."""
    rest, long = 1e-6, 1e4
    falls = []
    for p, start, parametrization in random_problems(30):
        chart = parametrization.chart(p, start)
        sol = si.gradient_flow(p, *start, parametrization=parametrization, t_end=math.inf, stationary=rest)
        shape = sol.trajectory.shape
        system = System(pack(p), chart, np.arange(chart.kind.size), shape)
        work = law.scratch(system.model, shape)
        theta, grad = np.empty(chart.kind.size), np.empty(chart.kind.size)

        def field(_: float, x: np.ndarray) -> np.ndarray:
            out = np.empty_like(x)
            compiled_field(system, x, theta, grad, work, out)  # noqa: B023
            return out

        other = solve_ivp(field, (0.0, long), sol.trajectory.x[-1], "BDF", [long], rtol=1e-7, atol=1e-7)
        assert other.success
        to_primal(chart, np.ascontiguousarray(other.y[:, -1]), theta)
        assert np.abs(theta - flat(sol.final)).max() <= 1.01 * rest * long
        falls.append(sol.final_loss - float(si.loss(p, *unflattened(theta, shape))))
    assert min(falls) > -1e-9
    assert np.median(falls) < rest
    assert max(falls) < 100.0 * rest
