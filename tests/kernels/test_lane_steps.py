"""A step of many flows, one in every lane, is the step of each of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from compiled import plainly
from weights import slow

import spectral_icl as si
from spectral_icl.kernels import law, linear
from spectral_icl.kernels.charts import lane_chart, load_chart, pick_chart
from spectral_icl.kernels.control import weigh
from spectral_icl.kernels.field import slope_at
from spectral_icl.kernels.integrator import workspace
from spectral_icl.kernels.lane_steps import attempt, lane_workspace
from spectral_icl.kernels.lanes import WIDTH, as_lanes, everywhere, pick, put, where
from spectral_icl.kernels.model import Chart, Floats, Rosenbrock, RungeKutta, System, Systems
from spectral_icl.kernels.rosenbrock import implicit_step
from spectral_icl.kernels.runge_kutta import explicit_step
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P
from spectral_icl.multitask.context import pack_all
from spectral_icl.multitask.parametrization import Parametrization, to_dual

RTOL = 1e-6
HEADS = 4
WHATS = 5  # numbers that are said of a step
ERROR, DEFINITE, FINITE, FAR, STRAIN = range(WHATS)


class Steps(NamedTuple):
    """What steps of P flows made of them."""

    increments: Floats  # (P, stages, N)
    end: Floats  # (P, N)
    rate: Floats  # (P, N) the field at the end
    told: Floats  # (P, WHATS)

    @classmethod
    def room(cls, stages: int, size: int) -> Steps:
        return cls(*(np.empty((WIDTH, *shape)) for shape in ((stages, size), (size,), (size,), (WHATS,))))


@plainly
def _in_lanes(systems, method, x, steps, rtol, mixed, made):  # type: ignore[no-untyped-def]
    store = law.lane_store(systems.models)
    chart = lane_chart(x.shape[1])
    f = lane_workspace(law.lane_model(store), systems.shape, method.a.shape[0], x.shape[1])
    for lane in range(WIDTH):
        law.load_model(store, lane, systems.models, lane)
        load_chart(chart, lane, systems.charts, lane)
        for n in range(x.shape[1]):
            f.x[n] = put(f.x[n], lane, x[lane, n])
    model = law.lane_model(store)
    slope_at(model, chart, f.x, f.theta, f.grad, f.scratch, f.slope, mixed)
    weigh(chart, f.x, everywhere(rtol), f.weights, mixed)
    step = as_lanes(steps)[0]
    error, definite, finite, far, strain = attempt(method, model, chart, step, f, mixed)
    one, none = everywhere(1.0), everywhere(0.0)
    for lane in range(WIDTH):
        made.told[lane, 0] = pick(error, lane)
        made.told[lane, 1] = pick(where(definite, one, none), lane)
        made.told[lane, 2] = pick(where(finite, one, none), lane)
        made.told[lane, 3] = pick(far, lane)
        made.told[lane, 4] = pick(strain, lane)
        for n in range(x.shape[1]):
            made.end[lane, n] = pick(f.trial[n], lane)
            made.rate[lane, n] = pick(f.new_slope[n], lane)
            for s in range(method.a.shape[0]):
                made.increments[lane, s, n] = pick(f.increments[s, n], lane)


@plainly
def _alone(systems, explicit, implicit, stiff, x, steps, rtol, mixed, made):  # type: ignore[no-untyped-def]
    for p in range(x.shape[0]):
        model, chart, step = law.pick_model(systems.models, p), pick_chart(systems.charts, p), steps[0, p]
        system = System(model, chart, systems.twins[p], systems.shape)
        work = workspace(system, x.shape[1], made.increments.shape[1])
        slope_at(model, chart, x[p], work.theta, work.grad, work.scratch, work.slope, mixed)
        weigh(chart, x[p], rtol, work.weights, mixed)
        definite = True
        if stiff:
            strain = step * linear.prepare(work.linear, model, chart, work, mixed)
            definite = linear.factorise(work.linear, model, chart, implicit.gamma * step, work)
            error, finite, far, _ = implicit_step(model, chart, implicit, x[p], step, work, mixed)
        else:
            error, finite, far, strain = explicit_step(model, chart, explicit, x[p], step, 1, work, mixed)
        made.told[p, 0], made.told[p, 1], made.told[p, 2] = error, 1.0 * definite, 1.0 * finite
        made.told[p, 3], made.told[p, 4] = far, strain
        made.increments[p], made.end[p], made.rate[p] = work.increments, work.trial, work.new_slope


FLAVOURS: list[Parametrization] = [si.Balanced(0.2), si.Factored(0.02, 1e-3, 0.3), si.Merged()]


def flows(kernel: str, flavours: list[Parametrization], seed: int = 0) -> tuple[Systems, Floats]:
    """A problem of its own in every lane, and a state of it; heads have faded in some."""
    rng = np.random.default_rng(seed)
    family = [
        si.Problem(
            block_sizes=tuple(rng.integers(2, 20, 3).tolist()),
            signal=rng.lognormal(size=(2, 3)),
            noise=0.1,
            context_length=rng.uniform(50, 500),
            covariance=tuple(rng.uniform(0.5, 1.5, 3)),
        )
        for _ in range(WIDTH)
    ]
    charts, x = [], []
    for p, problem in enumerate(family):
        omega = rng.choice([-1, 1], (HEADS, 3)) * rng.uniform(0.02, 0.2, (HEADS, 3))
        at = si.State(omega, rng.normal(size=(HEADS, 2)))
        at.mu[1 : 1 + p % 3] *= 1e-40
        charts.append(flavours[p % len(flavours)].chart(problem, at))
        x.append(to_dual(charts[-1], at))
    size = x[0].size
    return Systems(
        pack_all(family, kernel, WIDTH),
        Chart(*(np.array(values) for values in zip(*charts, strict=True))),
        np.tile(np.arange(size), (WIDTH, 1)),
        np.zeros(WIDTH, dtype=np.bool_),
        (HEADS, 3, 2),
    ), np.array(x)


def frozen(values: np.ndarray) -> np.ndarray:
    """Read-only, as models are: for others all would be compiled once more."""
    values.setflags(write=False)
    return values


def both(
    method: RungeKutta | Rosenbrock, systems: Systems, x: Floats, steps: Floats, mixed: bool = True
) -> tuple[Steps, Steps]:
    """The same steps in lanes, and alone."""
    lanes, alone = (Steps.room(len(method.a), x.shape[1]) for _ in range(2))
    stiff = isinstance(method, Rosenbrock)
    _in_lanes(systems, method, x, steps[None], RTOL, mixed, lanes)
    _alone(systems, DORMAND_PRINCE, RODAS5P, stiff, x, steps[None], RTOL, mixed, alone)
    return lanes, alone


def assert_close(one: Steps, other: Steps, rounding: float) -> None:
    """Within so much of the largest number of each flow."""
    for name in ("increments", "end", "rate"):
        a, b = getattr(one, name), getattr(other, name)
        axes = tuple(range(1, a.ndim))
        largest = abs(b).max(axis=axes, keepdims=True)
        assert (abs(a - b) <= rounding * largest).all(), (name, (abs(a - b) / largest).max())
    for what in (DEFINITE, FINITE, FAR):
        np.testing.assert_array_equal(one.told[:, what], other.told[:, what])
    np.testing.assert_allclose(one.told[:, ERROR], other.told[:, ERROR], rtol=1e-4, atol=rounding / RTOL)


every_law = pytest.mark.parametrize("kernel", ["asymptotic", slow("first-order")])
ULP = np.finfo(np.float64).eps


@every_law
@pytest.mark.parametrize("flavours", [FLAVOURS, FLAVOURS[:1]], ids=["mixed", "balanced"])
def test_explicit_steps_are_those_of_numbers_to_a_few_units_in_the_last_place(
    kernel: str, flavours: list[Parametrization]
) -> None:
    for seed in range(10):
        systems, x = flows(kernel, flavours, seed)
        steps = 10.0 ** np.random.default_rng(seed).uniform(-4, -2, WIDTH)
        lanes, alone = both(DORMAND_PRINCE, systems, x, steps, mixed=len(flavours) > 1)
        assert alone.told[:, FINITE].all()
        assert_close(lanes, alone, 16 * ULP)
        np.testing.assert_allclose(lanes.told[:, STRAIN], alone.told[:, STRAIN], rtol=1e-3, atol=1e-5)


@every_law
@pytest.mark.parametrize("flavours", [FLAVOURS, FLAVOURS[:1]], ids=["mixed", "balanced"])
def test_implicit_steps_are_those_of_numbers(kernel: str, flavours: list[Parametrization]) -> None:
    """By another elimination, in which no entry is idle: to the condition of the matrix."""
    for seed in range(10):
        systems, x = flows(kernel, flavours, seed)
        steps = 10.0 ** np.random.default_rng(seed).uniform(-6, -3, WIDTH)
        lanes, alone = both(RODAS5P, systems, x, steps, mixed=len(flavours) > 1)
        assert (alone.told[:, ERROR] <= 1.0).all()  # else a step alone ends early
        assert_close(lanes, alone, 1e-11)
        assert (lanes.told[:, STRAIN] >= 0.0).all()
        np.testing.assert_allclose(lanes.told[:, STRAIN], alone.told[:, STRAIN], rtol=1e-10)


@every_law
@pytest.mark.parametrize("method", [DORMAND_PRINCE, RODAS5P], ids=["explicit", "rosenbrock"])
def test_a_step_of_zero_asks_for_the_field(kernel: str, method: RungeKutta | Rosenbrock) -> None:
    systems, x = flows(kernel, FLAVOURS)
    lanes, alone = both(method, systems, x, np.zeros(WIDTH))
    np.testing.assert_array_equal(lanes.end, x)
    np.testing.assert_array_equal(lanes.increments, 0.0)
    np.testing.assert_array_equal(lanes.told, np.tile([0.0, 1.0, 1.0, 0.0, 0.0], (WIDTH, 1)))
    np.testing.assert_allclose(lanes.rate, alone.rate, rtol=1e-11, atol=1e-13 * abs(alone.rate).max())


@every_law
@pytest.mark.parametrize("method", [DORMAND_PRINCE, RODAS5P], ids=["explicit", "rosenbrock"])
def test_a_lane_does_not_see_what_becomes_of_the_others(kernel: str, method: RungeKutta | Rosenbrock) -> None:
    """An overflow, NaN, a step that is not definite or much too long: all the others keep every bit."""
    systems, x = flows(kernel, FLAVOURS)
    steps = np.full(WIDTH, 1e-4)
    quiet, _ = both(method, systems, x, steps)
    for lane in (0, 3, WIDTH - 1):
        others = np.arange(WIDTH) != lane
        for change, step in ((1e3, 1e-4), (np.nan, 1e-4), (0.0, 1e4), (0.0, np.inf)):
            disturbed, long = x.copy(), steps.copy()
            disturbed[lane] += change
            long[lane] = step
            lanes, _ = both(method, systems, disturbed, long)
            for a, b in zip(lanes, quiet, strict=True):
                np.testing.assert_array_equal(a[others], b[others])
            if change != 0.0:
                assert not lanes.told[lane, FINITE]


@every_law
@pytest.mark.parametrize("method", [DORMAND_PRINCE, RODAS5P], ids=["explicit", "rosenbrock"])
def test_all_lanes_are_alike(kernel: str, method: RungeKutta | Rosenbrock) -> None:
    """A flow has the same bits in whichever lane it is."""
    systems, x = flows(kernel, FLAVOURS)
    steps = 10.0 ** np.random.default_rng(0).uniform(-6, -3, WIDTH)
    here, _ = both(method, systems, x, steps)
    for shift in (1, 5, WIDTH - 1):
        order = np.roll(np.arange(WIDTH), shift)
        moved = systems._replace(
            models=type(systems.models)(*map(frozen, (values[order] for values in systems.models))),
            charts=Chart(*(values[order] for values in systems.charts)),
        )
        there, _ = both(method, moved, x[order], steps[order])
        for a, b in zip(there, here, strict=True):
            np.testing.assert_array_equal(a, b[order])


@every_law
@pytest.mark.parametrize("method", [DORMAND_PRINCE, RODAS5P], ids=["explicit", "rosenbrock"])
def test_that_others_are_of_another_kind_changes_no_bit(kernel: str, method: RungeKutta | Rosenbrock) -> None:
    """Whether maps of other kinds are looked at depends on the company."""
    systems, x = flows(kernel, FLAVOURS[:1])
    steps = 10.0 ** np.random.default_rng(0).uniform(-6, -3, WIDTH)
    among_others, _ = both(method, systems, x, steps, mixed=True)
    among_themselves, _ = both(method, systems, x, steps, mixed=False)
    for a, b in zip(among_others, among_themselves, strict=True):
        np.testing.assert_array_equal(a, b)
