"""Local exponents against differences of the benchmarks' logarithms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from expressions import value

import spectral_icl as si
from spectral_icl.multitask.optimal.exponents import exponents
from theory.multitask import scaling_losses

P = si.Problem.multitask(
    task_sizes=(600, 2500, 1100), signal=(0.5, 3.0, 1.0), noise=(0.3, 0.1, 2.0), context_length=5000
)
STEP = 0.01
CLOSE = (
    2e-5  # the middle of the steps is off by STEP^2 / 2 in the logarithm, where slopes change by 1/4 at most
)


def log_excess(p: si.Problem, find: object) -> float:
    """Logarithm of a benchmark's excess."""
    return float(np.log(find(p).loss - np.sum(p.noise)))  # type: ignore[operator]


@pytest.mark.parametrize(
    "find",
    [
        si.optimal.head_per_task,
        si.optimal.single_head,
        si.optimal.lower_bound,
        lambda p: si.optimal.head_budget(p, 2),
        si.optimal.plateau,
    ],
)
def test_exponents_are_derivatives_of_logarithms(find: object) -> None:
    found = exponents(P, find(P))  # type: ignore[operator]
    up, down = 1 + STEP, 1 - STEP
    width = np.log(up / down)
    longer, shorter = (replace(P, context_length=5000 * k) for k in (up, down))
    assert (log_excess(longer, find) - log_excess(shorter, find)) / width == pytest.approx(
        found.length, abs=CLOSE
    )
    larger, smaller = (
        replace(P, block_sizes=tuple(round(size * k) for size in P.block_sizes)) for k in (up, down)
    )
    assert (log_excess(larger, find) - log_excess(smaller, find)) / width == pytest.approx(
        found.dimension, abs=CLOSE
    )
    clearer, noisier = (replace(P, noise=tuple(noise / k for noise in P.noise)) for k in (up, down))
    assert (log_excess(clearer, find) - log_excess(noisier, find)) / width == pytest.approx(
        found.snr, abs=CLOSE
    )
    assert -1.0 < found.length < found.snr < 0.0 < found.dimension == -found.length


def test_one_task_is_the_derived_one() -> None:
    p = si.Problem.multitask(task_sizes=(30,), signal=1.0, noise=0.25, context_length=100)
    limit = si.optimal.head_per_task(p)
    found = exponents(p, limit)
    loss = sp.Symbol("a") / (1 + sp.Symbol("L") / sp.Symbol("g"))
    slope = scaling_losses.exponent(loss, sp.Symbol("L"))
    assert found.length == pytest.approx(value(slope, L=100, g=np.e * 30 * 1.25))
    share = scaling_losses.share_learned(sp.Float(1.0), sp.Float(limit.loss - 0.25))
    assert found.length == pytest.approx(-float(share))
    assert found.snr == pytest.approx(-float(share) / 5)


def test_what_has_no_such_exponents_is_refused() -> None:
    """Overlapping tasks, other laws, and losses whose X is not proportional to d."""
    overlapping = si.Problem(
        block_sizes=(8, 8), signal=((1.0, 1.0), (0.0, 1.0)), noise=0.1, context_length=200
    )
    with pytest.raises(si.ProblemError, match="problem: expected disjoint tasks, one block each"):
        exponents(overlapping, si.optimal.head_per_task(overlapping))
    for other in (si.optimal.gradient_step(P), si.optimal.lower_bound(P, "first-order")):
        with pytest.raises(si.ProblemError, match=r"benchmark.law: expected 'asymptotic'"):
            exponents(P, other)
    with pytest.raises(si.ProblemError, match="benchmark: expected head_per_task, single_head"):
        exponents(P, si.optimal.length_generalisation(P, 9000))
    one = si.Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=50)
    with pytest.raises(si.ProblemError, match=r"benchmark.task_loss: expected an array .* \(3\)"):
        exponents(P, si.optimal.head_per_task(one))
