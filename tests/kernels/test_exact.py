"""The compiled law against quadrature over the same nodes, so that what differs is of the tables alone.

And where tables end: nothing is extrapolated.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.loss import task_losses, task_losses_all
from spectral_icl.multitask import context
from spectral_icl.multitask.context import stack, wider
from spectral_icl.multitask.exact.evaluate import _State
from spectral_icl.multitask.exact.overlaps import FINE, MEDIUM
from spectral_icl.multitask.exact.packing import largest, packed, query_rule, reach_of
from spectral_icl.multitask.exact.stored import table_of
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.state import State

LENGTH = 40.0
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # task losses, flat gradient and Hessian


def case(shape: tuple[int, int, int], reach: float, share: float = 0.95) -> tuple[si.Problem, State]:
    """Tasks that overlap, uneven covariates, and heads whose logits are as large as a table knows."""
    heads, blocks, tasks = shape
    rng = np.random.default_rng([heads, blocks, tasks])
    p = si.Problem(
        block_sizes=(5, 3, 2)[:blocks],
        signal=rng.lognormal(0.0, 0.5, (tasks, blocks)),
        noise=tuple(rng.uniform(0.0, 0.5, tasks)),
        context_length=LENGTH,
        covariance=(1.3, 0.6, 0.9)[:blocks],
    )
    omega = rng.normal(size=(heads, blocks)) / np.array(p.covariance)
    omega *= math.sqrt(share * reach / largest(p, omega, query_rule(p, reach)))
    return p, State(omega, rng.normal(size=(heads, tasks)))


def compiled(p: si.Problem, at: State, reach: float) -> Found:
    """By the table of this reach."""
    model = packed(p, reach)
    losses, size = np.empty((1, p.tasks)), at.omega.size + at.mu.size
    task_losses(model, at.omega[None].copy(), at.mu[None].copy(), losses)
    work = law.scratch(model, (*at.omega.shape, p.tasks))
    slope, upper = State(np.empty_like(at.omega), np.empty_like(at.mu)), np.zeros((size, size))
    law.gradient(model, *at, *slope, work)
    law.hessian(model, *at, work, upper)
    flat = np.concatenate([slope.omega.ravel(), slope.mu.ravel()])
    return losses[0], flat, np.triu(upper) + np.triu(upper, 1).T


def by_quadrature(p: si.Problem, at: State, reach: float) -> Found:
    """Without a table, over the nodes that go with it."""
    nodes, total = query_rule(p, reach), _State(p, at, 2)
    for n in range(nodes.weight.size):
        total.add(total.node(nodes, n, FINE if reach < 1.0 else MEDIUM))
    losses, slope, bend = total.result()
    assert slope is not None
    assert bend is not None
    return losses, np.concatenate([slope.omega.ravel(), slope.mu.ravel()]), bend


SHAPES = [(1, 1, 1), (2, 1, 2), (2, 2, 2), (3, 2, 1), (2, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_small_logits_have_an_exact_table(shape: tuple[int, int, int]) -> None:
    """Loss and gradient to machine precision, with the Hessian to ten digits."""
    p, at = case(shape, 0.5)
    (losses, slope, bend), (true, true_slope, true_bend) = compiled(p, at, 0.5), by_quadrature(p, at, 0.5)
    np.testing.assert_allclose(losses, true, rtol=1e-13)
    np.testing.assert_allclose(slope, true_slope, atol=1e-12 * abs(true_slope).max())
    np.testing.assert_allclose(bend, true_bend, atol=1e-11 * abs(true_bend).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reach", [2.0, 8.0])
def test_large_logits_are_as_wrong_as_the_table_says(shape: tuple[int, int, int], reach: float) -> None:
    """No term of the loss is wrong by more than the errors that the table has found at other pairs."""
    p, at = case(shape, reach)
    (losses, slope, bend), (true, true_slope, true_bend) = compiled(p, at, reach), by_quadrature(p, at, reach)
    of_k, of_slopes, of_spare = table_of(LENGTH, reach).errors
    drawn = np.abs(at.mu).sum(axis=0) ** 2  # of every pair of heads
    share = np.asarray(p.signal) @ np.asarray(p.covariance) ** 0 * largest(p, at.omega, query_rule(p, reach))
    room = drawn * (np.asarray(p.variance) * of_k + share * (5.0 * of_slopes + of_spare))
    assert (abs(losses - true) <= room + 1e-8 * true).all()
    np.testing.assert_allclose(losses, true, rtol=2e-6)
    np.testing.assert_allclose(slope, true_slope, atol=2e-5 * abs(true_slope).max())
    np.testing.assert_allclose(bend, true_bend, atol=2e-4 * abs(true_bend).max())


@pytest.mark.parametrize("length", [1.0, 2.0, 7.5, 1e5])
def test_any_length(length: float) -> None:
    p, at = case((2, 2, 2), 1.0)
    p = si.Problem.from_dict({**p.to_dict(), "context_length": length})
    (losses, slope, bend), (true, true_slope, true_bend) = compiled(p, at, 1.0), by_quadrature(p, at, 1.0)
    np.testing.assert_allclose(losses, true, rtol=1e-8)
    np.testing.assert_allclose(slope, true_slope, atol=1e-7 * abs(true_slope).max())
    np.testing.assert_allclose(bend, true_bend, atol=1e-6 * abs(true_bend).max())


def test_many_problems_at_once_have_the_losses_of_each() -> None:
    """Rules of different sizes side by side: what fills the smaller has no weight."""
    cases = [case((2, 2, 2), reach, 0.9) for reach in (0.5, 8.0, 2.0)]
    reaches = [reach_of(p, at.omega) for p, at in cases]
    assert len(set(reaches)) == 3
    models = stack([packed(p, reach) for (p, _), reach in zip(cases, reaches, strict=True)], 3)
    many = np.empty((3, 2))
    omega, mu = (np.array(part) for part in zip(*(at for _, at in cases), strict=True))
    task_losses_all(models, omega, mu, many)
    for row, (p, at), reach in zip(many, cases, reaches, strict=True):
        np.testing.assert_allclose(row, compiled(p, at, reach)[0], rtol=1e-14)


@pytest.mark.slow
def test_lanes_of_problems_follow_the_flows_of_each() -> None:
    """Nine problems of different lengths, sizes and reach: more than there are lanes."""
    rng = np.random.default_rng(5)
    problems = [
        si.Problem(
            block_sizes=(int(rng.integers(1, 9)), int(rng.integers(2, 9))),
            signal=((1.0, 0.3), (0.0, 0.7)),
            noise=0.1,
            context_length=(LENGTH, 7.5)[k % 2],
            covariance=(1.0, 0.8),
        )
        for k in range(9)
    ]
    starts = [si.initial.random(p, heads=2, scale=0.1, seed=k) for k, p in enumerate(problems)]
    omega, mu = (np.array(part) for part in zip(*starts, strict=True))
    many = si.gradient_flow_ensemble(problems, omega, mu, t_end=30.0, kernel="exact", rtol=1e-8)
    assert many.success.all()
    for k, p in enumerate(problems):
        alone = si.gradient_flow(p, *starts[k], t_end=30.0, kernel="exact", rtol=1e-8)
        np.testing.assert_allclose(many.omega[k], alone.final.omega, atol=2e-6)
        np.testing.assert_allclose(many.mu[k], alone.final.mu, atol=2e-6)


def test_past_the_reach_the_loss_is_infinite() -> None:
    p, at = case((2, 2, 2), 1.0, 1.0)  # the largest variance itself is in
    inside = compiled(p, at, 1.0)
    assert np.isfinite(inside[0]).all()
    past = State(at.omega * (1.0 + 1e-6), at.mu)
    losses, slope, _ = compiled(p, past, 1.0)
    assert (losses == np.inf).all()
    assert not np.isfinite(slope[: at.omega.size]).any()
    assert np.isfinite(compiled(p, past, 2.0)[0]).all()


def test_a_flow_that_outgrows_its_table_has_a_wider_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone and among others, it ends where it does with the table that it needs from the start."""
    p = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.1, context_length=LENGTH)
    starts = np.array([[[0.05]], [[0.004]]]), np.array([[[0.05]], [[0.004]]])
    options = {"t_end": 60.0, "kernel": "exact", "rtol": 1e-8}
    wide = [si.gradient_flow(p, *start, **options) for start in zip(*starts, strict=True)]
    monkeypatch.setitem(context.LAWS, "exact", lambda problem: packed(problem, 0.5))
    needed = [reach_of(p, sol.omega) for sol in wide]
    assert needed[0] > 2.0  # two tables on
    assert needed[1] == 0.5
    many = si.gradient_flow_ensemble(p, *starts, **options)
    assert many.success.all()
    for k, (start, sol) in enumerate(zip(zip(*starts, strict=True), wide, strict=True)):
        grown = si.gradient_flow(p, *start, **options)
        assert grown.success
        for final in (grown.final.omega, many.omega[k]):
            np.testing.assert_allclose(final, sol.final.omega, atol=1e-5)


def test_no_flow_goes_past_the_last_table() -> None:
    """From a start with logits that the last table does not know: there the loss is not made up."""
    p = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.1, context_length=LENGTH)
    last = packed(p, REACHES[-1])
    assert wider(last, p) is None
    with pytest.raises(si.IntegrationError, match="range of the") as failed:
        si.gradient_flow(p, [[3.0]], [[0.3]], t_end=1.0, kernel="exact")
    assert failed.value.solution is not None
    assert failed.value.solution.outcome is Outcome.LEFT_RANGE
