"""What is said of the errors of a flow covers what quadrature finds."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.kernels.loss import losses_by
from spectral_icl.multitask.context import fitting, pack
from spectral_icl.multitask.exact.check import errors, relative_errors
from spectral_icl.multitask.exact.evaluate import evaluate, quadrature
from spectral_icl.multitask.exact.overlaps import MEDIUM
from spectral_icl.multitask.exact.packing import reach_of
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.state import State

SHORT = si.Problem(block_sizes=[5], signal=[[1.0]], noise=0.1, context_length=40)


def states(count: int, heads: int, size: float, seed: int) -> State:
    """Random heads whose read-off is of order one, as along a flow."""
    rng = np.random.default_rng(seed)
    omega = size * rng.normal(size=(count, heads, 1))
    return State(omega, rng.normal(size=(count, heads, 1)) / np.maximum(abs(omega), 0.1))


@pytest.mark.parametrize("size", [0.05, 0.2, 0.5])
def test_the_estimate_covers_the_truth(size: float) -> None:
    found = states(16, 2, size, 0)
    told = errors(SHORT, pack(SHORT, "exact", found.omega), found)
    true = np.array([evaluate(SHORT, State(*one)).loss for one in zip(*found, strict=True)])
    off = abs(losses_at(SHORT, found, "exact").sum(axis=1) - true)
    assert (off <= told.total + 1e-9).mean() >= 0.93  # 15 of 16
    assert np.median(told.total) < 1e-2 * np.median(true)


def test_nodes_that_are_left_out_together_weigh_little_and_count() -> None:
    """Of three short blocks they are hundreds; and heads so small have no other error."""
    p = si.Problem(block_sizes=[1, 1, 8], signal=[[7.0, 1.3, 0.9]], noise=0.2, context_length=1e4)
    at = State(np.array([[0.06, -0.03, -0.05]]), np.array([[11.0]]))
    one = State(at.omega[None], at.mu[None])
    model = pack(p, "exact", one.omega)
    assert model.reach >= 32.0  # by heads that have emerged in a block of one feature
    told = errors(p, model, one)
    true = quadrature(p, at, 0, 2, MEDIUM)[0].sum()
    off = abs(losses_by(model, *one).sum() - true) / true
    assert 1e-6 < off < 2e-5
    assert off < told.total[0] / true < 5.0 * off
    assert abs(losses_by(fitting(p, one.omega), *one).sum() - true) < 0.05 * off * true


def test_neither_part_is_idle() -> None:
    """Of small logits the table is the more exact; of large ones both it and the rule are off."""
    small, large = states(8, 1, 0.1, 1), states(8, 2, 0.6, 1)
    of_small = errors(SHORT, pack(SHORT, "exact", small.omega), small)
    of_large = errors(SHORT, pack(SHORT, "exact", large.omega), large)
    assert of_small.table.max() < of_large.table.max()
    assert (of_large.rule > 0.0).all()
    assert (of_large.table > 0.0).all()


def test_relative_errors_are_of_the_excess() -> None:
    found = states(4, 2, 0.2, 2)
    model = pack(SHORT, "exact", found.omega)
    excess = losses_at(SHORT, found, "exact").sum(axis=1) - 0.1
    assert relative_errors(SHORT, model, found) == pytest.approx(errors(SHORT, model, found).total / excess)


def test_past_the_table_there_is_no_telling() -> None:
    far = State(np.full((1, 1, 1), 9.0), np.ones((1, 1, 1)))
    assert reach_of(SHORT, far.omega) == REACHES[-1]
    assert relative_errors(SHORT, pack(SHORT, "exact", far.omega), far).tolist() == [np.inf]
