"""The warm-up of one task from one event to the next, against SciPy and in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from spectral_icl.kernels.race import DECIDED, NEVER, OPEN, TIED, Standing, Warming, advance
from spectral_icl.kernels.tableaus import RODAS5P

Arrays = np.ndarray


def warming(n: float, extra: Arrays, level: Arrays, after: float = 0.0) -> Warming:
    one = np.ones(1)
    return Warming(0.5 * one, 3.0 * one, n * one, one, one, after * one, extra, level)


def standing(omega: Arrays, mu: Arrays) -> Standing:
    with np.errstate(divide="ignore"):
        logs = np.log(np.concatenate([omega, mu]))[None]
    none = np.zeros(1, dtype=np.int64)
    return Standing(logs, np.zeros(1), np.zeros(1), np.zeros(1), none.copy(), none.copy())


def followed(made: Warming, start: Standing, until: float) -> tuple[Standing, float]:
    at = standing(*np.exp(start.state[0]).reshape(2, -1))
    return at, advance(RODAS5P, made, np.zeros(1, dtype=np.int64), until, start, at)


@pytest.mark.parametrize("n", [0.0, 1.0, 1e4])
def test_the_state_at_the_next_event(n: float) -> None:
    """Four heads, two of which hold others; the rest of the race in view."""
    rng = np.random.default_rng(0)
    omega, mu = rng.uniform(0.5e-3, 1e-3, (2, 4))
    extra, level = np.array([0.0, 1.7, 0.0, 1.7]), np.array([0.0, 5.0, 0.0, 0.3])
    made = warming(n, extra, level)
    _, scale = followed(made, standing(omega, mu), np.inf)
    until = 0.8 * scale
    at, reached = followed(made, standing(omega, mu), until)
    assert (at.outcome[0], at.time[0], reached) == (OPEN, until, until)

    def field(_: float, y: Arrays) -> Arrays:
        x, m = np.exp(y).reshape(2, -1)
        return np.concatenate([0.5 * m - level * x, 3.0 * x - n * (m.sum() + extra * m)])

    logs = np.log(np.concatenate([omega, mu]))
    expected = solve_ivp(field, (0.0, until), logs, "LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(at.state[0], expected, atol=2e-4)


@pytest.mark.parametrize("held", [False, True])
def test_a_lone_head_on_its_ray_diverges_in_closed_form(held: bool) -> None:
    """mu = A omega and omega' = (c1 A - D) omega^2, with and without what it holds."""
    extra, level = np.array([1.7 * held]), np.array([0.1 * held])
    slope = (3.0 + level) / (0.5 + 2.0 * (1.0 + extra))
    made = warming(2.0, extra, level, after=3.0)
    at, until = followed(made, standing(np.array([1e-4]), 1e-4 * slope), np.inf)
    assert at.outcome[0] == DECIDED
    assert at.diverges[0] == pytest.approx(1e4 / float((0.5 * slope - level)[0]), rel=1e-5)
    assert until == at.diverges[0] + 3.0


def test_outcomes() -> None:
    nothing = np.zeros(2)
    small = np.full(2, 1e-3)
    assert followed(warming(1.0, nothing, nothing), standing(small, small), np.inf)[0].outcome[0] == TIED
    held = np.full(2, 50.0)
    assert followed(warming(1.0, nothing + 1.7, held), standing(small, small), np.inf)[0].outcome[0] == NEVER
    none = standing(np.array([1e-3, 1e-300]), np.array([1e-300, 1e-3]))
    assert followed(warming(1.0, nothing, nothing), none, 10.0)[0].outcome[0] == OPEN


def test_a_task_whose_fall_has_begun_at_an_event_is_decided() -> None:
    """Its divergence is later, but its omega is near that of a head that has it."""
    nothing = np.zeros(2)
    made = warming(1.0, nothing, nothing)
    start = standing(np.array([1e-3, 1e-3]), np.array([2e-3, 1e-3]))
    at, end = followed(made, start, np.inf)
    again, until = followed(made, start, end * (1.0 - 1e-5))
    assert until < end
    assert again.outcome[0] == DECIDED
    assert again.diverges[0] == pytest.approx(at.diverges[0], rel=1e-5)
