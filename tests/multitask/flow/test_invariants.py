"""What the flow must conserve, whatever the problem and the start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from strategies import problems, starts

import spectral_icl as si

RTOL = 1e-7


def assert_descends(sol: si.Solution, rtol: float) -> None:
    """The loss never rises by more than the tolerance allows, on and between the steps."""
    losses = si.loss(sol.problem, *sol(sol.trajectory.refined(3)))
    assert np.isfinite(losses).all()
    rises = np.diff(losses).max(initial=0.0)
    assert rises <= 30.0 * rtol * losses[0], rises


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_balanced_flow_conserves_signs_and_descends(data: st.DataObject) -> None:
    """200 random problems to t = 1e6: no sign ever changes, the loss never rises, nothing is NaN."""
    p = data.draw(problems())
    start = data.draw(starts(p))
    sol = si.gradient_flow(p, *start, t_end=1e6, rtol=RTOL)
    assert sol.success
    for solved, initial in ((sol.omega, start.omega), (sol.mu, start.mu)):
        assert np.isfinite(solved).all()
        moving = initial != 0.0
        assert (np.signbit(solved) == np.signbit(initial))[:, moving].all()
        assert (solved[:, ~moving] == 0.0).all()
    assert_descends(sol, RTOL)


@given(st.data())
@settings(max_examples=60)
def test_other_parametrizations_descend(data: st.DataObject) -> None:
    p = data.draw(problems())
    start = data.draw(starts(p, most_heads=3))
    parametrization = data.draw(
        st.sampled_from([si.Merged(), si.Factored(1e-3, 1e-6), si.Factored(0.1, 0.0), si.Factored(0, 0.3)])
    )
    sol = si.gradient_flow(p, *start, t_end=300.0, parametrization=parametrization, rtol=RTOL)
    assert_descends(sol, RTOL)


@given(st.data())
@settings(max_examples=40)
def test_symmetries(data: st.DataObject) -> None:
    """Relabelling heads relabels the flow, and (omega, mu) -> -(omega, mu) flips it."""
    p = data.draw(problems())
    omega, mu = data.draw(starts(p, most_heads=4))
    order = np.random.default_rng(0).permutation(len(omega))
    times = np.linspace(0.0, 30.0, 7)
    plain = si.gradient_flow(p, omega, mu, t_end=30.0, t_eval=times, rtol=1e-10)
    shuffled = si.gradient_flow(p, omega[order], mu[order], t_end=30.0, t_eval=times, rtol=1e-10)
    np.testing.assert_allclose(shuffled.omega, plain.omega[:, order], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(shuffled.mu, plain.mu[:, order], rtol=1e-6, atol=1e-9)
    flipped = si.gradient_flow(p, -omega, -mu, t_end=30.0, t_eval=times, rtol=1e-10)
    np.testing.assert_allclose(flipped.omega, -plain.omega, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(flipped.loss, plain.loss, rtol=1e-7)


@given(st.data())
@settings(max_examples=30)
def test_units(data: st.DataObject) -> None:
    """Scaling the labels by sqrt(a) scales the loss by a and time by 1/a."""
    p = data.draw(problems(disjoint=True))
    start = data.draw(starts(p, most_heads=3))
    loud = si.Problem(
        block_sizes=p.block_sizes,
        signal=4.0 * np.array(p.signal),
        noise=tuple(4.0 * np.array(p.noise)),
        context_length=p.context_length,
        covariance=p.covariance,
    )
    times = np.linspace(0.0, 20.0, 5)
    plain = si.gradient_flow(p, *start, t_end=20.0, t_eval=times, rtol=1e-10)
    fast = si.gradient_flow(loud, *start, t_end=5.0, t_eval=times / 4.0, rtol=1e-10)
    np.testing.assert_allclose(fast.loss, 4.0 * plain.loss, rtol=1e-7)
    np.testing.assert_allclose(fast.mu, plain.mu, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("imbalance", [0.0, 1e-3, 0.2])
def test_factored_flow_is_the_flow_of_k_q_o_v(two_tasks: si.Problem, imbalance: float) -> None:
    """Training (k, q, o, v) conserves the imbalances, and its omega = c k q, mu = o v is our flow.

    The independent side knows nothing of dual coordinates: SciPy's Radau on the four weights per entry.
    """
    p, heads = two_tasks, 2
    c = (p.dimension + p.tasks) ** -0.5
    rng = np.random.default_rng(3)
    q, v = rng.uniform(0.2, 0.4, (heads, 2)), rng.uniform(0.2, 0.4, (heads, 2))
    k, o = np.sqrt(q**2 + imbalance), np.sqrt(v**2 + imbalance)
    start = np.concatenate([w.ravel() for w in (k, q, o, v)])

    def weights_flow(_: float, w: np.ndarray) -> np.ndarray:
        k, q, o, v = w.reshape(4, heads, 2)
        slope = si.gradient(p, c * k * q, o * v)
        g = slope.omega / np.array(p.block_sizes)
        return np.concatenate([x.ravel() for x in (-c * q * g, -c * k * g, -v * slope.mu, -o * slope.mu)])

    times = np.linspace(0.0, 20.0, 9)
    full = solve_ivp(weights_flow, (0.0, 20.0), start, "Radau", times, rtol=1e-10, atol=1e-12)
    k_t, q_t, o_t, v_t = np.moveaxis(full.y, -1, 0).reshape(-1, 4, heads, 2).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(k_t**2 - q_t**2, imbalance, atol=1e-8)
    np.testing.assert_allclose(o_t**2 - v_t**2, imbalance, atol=1e-8)
    parametrization = si.Factored(imbalance, imbalance)
    sol = si.gradient_flow(
        p, c * k * q, o * v, parametrization=parametrization, t_end=20.0, t_eval=times, rtol=1e-10
    )
    np.testing.assert_allclose(sol.omega, c * k_t * q_t, atol=2e-7)
    np.testing.assert_allclose(sol.mu, o_t * v_t, atol=2e-6)


@pytest.mark.parametrize("rtol", [1e-6, 1e-8, 1e-10])
def test_equal_heads_stay_equal(two_tasks: si.Problem, rtol: float) -> None:
    """Identical heads are identical for ever, and act as one; rounding must not choose between them."""
    sol = si.gradient_flow(two_tasks, np.full((2, 2), 0.002), np.full((2, 2), 0.01), t_end=3e3, rtol=rtol)
    np.testing.assert_array_equal(sol.omega[:, 0], sol.omega[:, 1])
    np.testing.assert_array_equal(
        sol(np.linspace(0, 3e3, 999)).mu[:, 0], sol(np.linspace(0, 3e3, 999)).mu[:, 1]
    )
    one = si.gradient_flow(two_tasks, np.full((1, 2), 0.002), np.full((1, 2), 0.02), t_end=3e3, rtol=rtol)
    assert sol.final_loss == pytest.approx(one.final_loss, rel=1e-6)
    assert sol.tied_heads == ((0, 1),)
    assert "heads 0, 1 start equal" in sol.message
    assert one.tied_heads == ()


def test_spare_heads_of_the_papers_start_stay_equal(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(
        two_tasks,
        *si.initial.paper(two_tasks, 4, 0.1, 0.1, 0.2),
        parametrization=si.Factored(1e-6, 1e-6),
        t_end=2e4,
    )
    assert sol.tied_heads == ((2, 3),)
    np.testing.assert_array_equal(sol.mu[:, 2], sol.mu[:, 3])
    assert sol.final.mu[2].min() < -1.0  # they do take part in the escape


def test_tiny_starts_of_merged_weights_are_followed(two_tasks: si.Problem) -> None:
    """A start of size 1e-11 grows by ten orders of magnitude; its relative error is what decides."""
    start = si.initial.random(two_tasks, heads=2, scale=1e-11, seed=3)
    runs = [
        si.gradient_flow(two_tasks, *start, parametrization=si.Merged(), t_end=3.0, rtol=rtol).final.omega
        for rtol in (1e-6, 1e-9, 1e-12)
    ]
    np.testing.assert_allclose(runs[0], runs[2], rtol=1e-4)
    np.testing.assert_allclose(runs[1], runs[2], rtol=1e-7)
