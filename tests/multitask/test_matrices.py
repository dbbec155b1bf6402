"""Random matrices, what their diagonals are, how fast these move, and the basis in which nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import spectral_icl as si
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.matrices import Matrices

P = si.Problem.multitask(task_sizes=(3, 5), signal=(2.0, 1.0), noise=0.1, context_length=50.0)


def test_the_state_is_what_is_on_the_diagonals() -> None:
    drawn = Matrices.random(P, heads=3, size=0.2, seed=5, key_scale=0.7)
    at = drawn.state(P)
    for h in range(3):
        kq, ov = 0.7 * drawn.key[h].T @ drawn.query[h], drawn.output[h] @ drawn.value[h]
        np.testing.assert_allclose(at.omega[h], [np.diag(kq)[:3].mean(), np.diag(kq)[3:].mean()])
        np.testing.assert_allclose(at.mu[h], np.diag(ov))
    single = drawn.state(P.by_feature())
    np.testing.assert_allclose(single.omega[:, 3:].mean(axis=1), at.omega[:, 1])
    named = si.initial.matrices(P, 3, 0.2, 5, 0.7)
    np.testing.assert_array_equal(named.omega, at.omega)
    np.testing.assert_array_equal(named.mu, at.mu)


def test_sizes_are_those_of_sums_of_products() -> None:
    """Standard deviations over 2000 draws: c size^2 (d / d_b)^(1/2) and size^2 I^(1/2), to four errors."""
    omega, mu = zip(*(si.initial.matrices(P, 1, 0.3, seed, 1.0) for seed in range(2000)), strict=True)
    error = 4.0 * 1.5 / (2 * 2000) ** 0.5  # products have tails: a kurtosis of up to 3 + 6 / d
    np.testing.assert_allclose(np.std(omega, axis=0)[0], 0.09 * np.sqrt(8 / np.array([3, 5])), rtol=error)
    np.testing.assert_allclose(np.std(mu, axis=0)[0], 0.09 * np.sqrt(2.0), rtol=error)


def test_the_reduced_flow_is_as_fast_as_the_matrices() -> None:
    """Along a gradient that is diagonal, by finite differences of the matrices' own flow."""
    drawn, c, small = Matrices.random(P.by_feature(), heads=2, size=0.5, seed=1), 10**-0.5, 1e-6
    rng = np.random.default_rng(0)
    slope, pull = rng.normal(size=(2, 8)), rng.normal(size=(2, 2))
    g, f = (np.apply_along_axis(np.diag, 1, values) for values in (slope, pull))
    key = drawn.key - small * c * np.einsum("hrd,hde->hre", drawn.query, g)
    query = drawn.query - small * c * np.einsum("hrd,hde->hre", drawn.key, g)
    output = drawn.output - small * np.einsum("hij,hrj->hir", f, drawn.value)
    value = drawn.value - small * np.einsum("hir,hij->hrj", drawn.output, f)
    moved = Matrices(key, query, value, output, c).state(P.by_feature())
    at, unbalanced = drawn.state(P.by_feature()), drawn.imbalance(P.by_feature())
    by_omega = -c * np.sqrt(c**2 * unbalanced.omega**2 + 4 * at.omega**2) * slope
    np.testing.assert_allclose((moved.omega - at.omega) / small, by_omega, atol=2e-5)
    by_mu = -np.sqrt(unbalanced.mu**2 + 4 * at.mu**2) * pull
    np.testing.assert_allclose((moved.mu - at.mu) / small, by_mu, atol=2e-5)
    weights = drawn.weights(P.by_feature())
    np.testing.assert_array_equal(weights.imbalance("omega"), unbalanced.omega)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_aligned_matrices_are_the_same_in_other_features(sign: float) -> None:
    """The growing part is diagonal on the block of its head, and no trace and no singular value changes."""
    drawn = Matrices.random(P, heads=2, seed=3)
    found = drawn.aligned(P, heads=(1, 0), signs=(sign, 1.0))
    for head, block, s in ((1, slice(0, 3), sign), (0, slice(3, 8), 1.0)):
        grows = found.key[head][:, block] + s * found.query[head][:, block]
        gram = grows.T @ grows
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-15)
    np.testing.assert_allclose(found.state(P).omega, drawn.state(P).omega, atol=1e-15)
    np.testing.assert_allclose(found.imbalance(P).omega, drawn.imbalance(P).omega, rtol=1e-12)
    before, after = (np.linalg.svd(m.key.swapaxes(1, 2) @ m.query)[1] for m in (drawn, found))
    np.testing.assert_allclose(after, before, rtol=1e-12)
    assert not np.allclose(found.state(P.by_feature()).omega, drawn.state(P.by_feature()).omega, atol=1e-3)


ALONE = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.1, context_length=150.0)


def _whole_flow(drawn: Matrices, times: Floats) -> Floats:
    """Losses at times of one head's K, Q, V and O on one task of 10 features: the asymptotic law by matrices.

    a / d |1 - u W|^2 + (s / L) u^2 e^(tr W^T W) + sigma^2, with u = o v.
    """
    c, unit = drawn.key_scale, np.eye(10)
    share, noise = ALONE.power[0] / 10, ALONE.variance[0] / ALONE.context_length

    def parts(theta: Floats) -> tuple[Floats, Floats, float, float, Floats, float]:
        key, query = theta[:100].reshape(10, 10), theta[100:200].reshape(10, 10)
        value, output = theta[200:]
        w, u = c * key.T @ query, output * value
        return key, query, value, output, w, u

    def field(_: float, theta: Floats) -> Floats:
        key, query, value, output, w, u = parts(theta)
        tilt = np.exp((w**2).sum())
        by_w = -2 * share * u * (unit - u * w) + 2 * noise * u**2 * tilt * w
        by_u = -2 * share * (w * (unit - u * w)).sum() + 2 * noise * u * tilt
        by_key, by_query = c * query @ by_w.T, c * key @ by_w
        return -np.concatenate([by_key.ravel(), by_query.ravel(), [output * by_u, value * by_u]])

    start = np.concatenate([m.ravel() for m in (drawn.key, drawn.query, drawn.value, drawn.output)])
    path = solve_ivp(field, (0.0, times[-1]), start, "DOP853", times, rtol=1e-8, atol=1e-10)
    losses = []
    for theta in path.y.T:
        w, u = parts(theta)[-2:]
        losses.append(share * ((unit - u * w) ** 2).sum() + noise * u**2 * np.exp((w**2).sum()) + 0.1)
    return np.array(losses)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_aligned_features_the_reduced_flow_is_nearly_that_of_whole_matrices(seed: int) -> None:
    """Block means and diagonals are four to ten times further from it."""
    drawn, times = Matrices.random(ALONE, 1, 0.15, seed), np.linspace(0.0, 60.0, 601)
    whole, split = _whole_flow(drawn, times), ALONE.by_feature()

    def told(p: si.Problem, m: Matrices) -> Floats:
        at = m.state(p)
        solved = si.gradient_flow(p, *at, parametrization=m.weights(p), t_end=60.0, t_eval=times)
        return solved.loss

    blocks = told(ALONE, drawn)
    assert whole[-1] == pytest.approx(blocks[-1], rel=1e-3)
    assert whole[-1] < 0.5 * whole[0], "the task has emerged"
    final = si.gradient_flow(
        ALONE, *drawn.state(ALONE), parametrization=drawn.weights(ALONE), t_end=60.0
    ).final
    turned = drawn.aligned(ALONE, (0,), (final.mu[0, 0],))
    far, diagonal, near = (
        np.sqrt(np.mean((losses - whole) ** 2))
        for losses in (blocks, told(split, drawn), told(split, turned))
    )
    assert near < 0.4 * min(far, diagonal)
    wrong = drawn.aligned(ALONE, (0,), (-final.mu[0, 0],))
    assert np.sqrt(np.mean((told(split, wrong) - whole) ** 2)) > 2.0 * near


def test_stray_is_that_of_independent_entries() -> None:
    """Off the diagonals as on them: of products of independent matrices all entries have one size."""
    kq, ov = Matrices.random(P.by_feature(), heads=60, seed=0).stray()
    assert kq == pytest.approx(1.0, abs=0.2)
    assert ov == pytest.approx(1.0, abs=0.4)
    alone = si.Problem.multitask(task_sizes=(4,), signal=1.0, noise=0.1, context_length=9.0)
    assert Matrices.random(alone, heads=2).stray()[1] == 0.0


def test_a_file_may_start_from_matrices() -> None:
    start = {"kind": "matrices", "size": 0.2, "seed": 3}
    made = Experiment.from_dict({"problem": P.to_dict(), "model": {"key_scale": 0.5}, "initial": start})
    np.testing.assert_array_equal(made.start.omega, si.initial.matrices(P, 2, 0.2, 3, 0.5).omega)
    assert made.initial.to_dict() == start


@pytest.mark.parametrize(
    ("heads", "size", "sizes", "complaint"),
    [
        (2, 0.0, (3, 5), "^size: expected a number >= 1e-30"),
        (0, 0.1, (3, 5), "^heads: "),
        (1, 0.1, (3000, 5), "^problem: expected at most 2048 for whole matrices, got '3005 features"),
        (200, 0.1, (1000, 5), r"^heads: expected 2 H \(d\^2 \+ I\^2\) <= "),
    ],
)
def test_what_is_refused_is_named(heads: int, size: float, sizes: tuple[int, int], complaint: str) -> None:
    p = si.Problem.multitask(task_sizes=sizes, signal=1.0, noise=0.1, context_length=50.0)
    with pytest.raises(si.ProblemError, match=complaint):
        si.initial.matrices(p, heads, size)


@pytest.mark.parametrize(
    ("p", "heads", "signs", "complaint"),
    [
        (ALONE, (0,), (1.0,), "^problem: expected one of 8 features, as the matrices, got 'd = 10'"),
        (P, (0,), (1.0, 1.0), "^heads: expected one for each of 2 blocks, got '1 heads'"),
        (P, (0, 2), (1.0, 1.0), "^heads"),
        (P, (0, 1), (1.0,), "^signs: "),
        (P, (0, 1), (1.0, 0.0), "^signs: expected numbers that are not zero"),
    ],
)
def test_a_basis_needs_a_head_and_a_sign_for_every_block(
    p: si.Problem, heads: tuple[int, ...], signs: tuple[float, ...], complaint: str
) -> None:
    with pytest.raises(si.ProblemError, match=complaint):
        Matrices.random(P, heads=2).aligned(p, heads, signs)
