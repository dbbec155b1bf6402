"""The term of order 1/L^2: as derived, as the package computes it, and of softmax attention itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp
from exact_law import task_losses
from expressions import overlapping
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask import accuracy
from theory.derivation import ProofError
from theory.multitask import loss, second_order


@cache
def symbolic(heads: int, blocks: int, tasks: int) -> Any:
    """The derived coefficients, (I,), as a function of the values of all symbols."""
    at = loss.symbols(heads, blocks, tasks)
    order = [*at["omega"], *at["mu"], *at["powers"], *at["noises"], *at["sizes"], *at["kappas"]]
    return sp.lambdify(order, second_order.coefficient(at), "numpy", cse=True)


def derived(p: si.Problem, omega: Any, mu: Any) -> Any:
    """The derived coefficients at numbers."""
    numbers = [*omega.ravel(), *mu.ravel(), *np.ravel(p.signal), *p.noise, *p.block_sizes, *p.covariance]
    return symbolic(*omega.shape, mu.shape[1])(*numbers)


@given(st.sampled_from([(1, 1, 1), (2, 1, 2), (2, 2, 1), (3, 2, 2)]), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_package_has_the_derived_coefficient(size: tuple[int, int, int], seed: int) -> None:
    heads, blocks, tasks = size
    rng = np.random.default_rng(seed)
    p = overlapping(rng, blocks, tasks)
    omega = rng.uniform(-0.4, 0.4, (heads, blocks)) / np.array(p.covariance)  # 6 u < 0.96
    mu = rng.normal(0, 1, (heads, tasks))
    found = accuracy.second_order(p, omega[None], mu[None])[0]
    np.testing.assert_allclose(found, derived(p, omega, mu), rtol=1e-9, atol=1e-9)


def test_it_exists_below_one_sixth() -> None:
    p = si.Problem(block_sizes=(3,), signal=((1.0,),), noise=0.1, context_length=50, covariance=(2.0,))
    edge = np.sqrt(1 / 6) / 2
    omega = np.array([0.999, -0.999, 1.001, -1.001]) * edge
    found = accuracy.second_order(p, omega[:, None, None], np.ones((4, 1, 1)))
    assert np.isfinite(found).ravel().tolist() == [True, True, False, False]


STATES = {  # block sizes, signal, covariance, omega and mu
    "one head": ((3,), ((0.7,),), (1.2,), [[0.16]], [[2.5]]),
    "two heads": ((2,), ((0.8,),), (1.0,), [[0.2], [-0.15]], [[1.4], [-1.9]]),
    "two tasks": (
        (2, 3),
        ((0.8, 0.1), (0.0, 0.6)),
        (1.0, 0.8),
        [[0.15, -0.1], [-0.12, 0.2]],
        [[1.0, -0.4], [-0.7, 1.3]],
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_what_is_left_is_of_third_order(state: str) -> None:
    """Against softmax attention: with the term the gap falls as 1 / L^3, without it as 1 / L^2."""
    sizes, signal, covariance, *weights = STATES[state]
    omega, mu = map(np.array, weights)
    without, left = [], []
    for length in (100.0, 200.0, 400.0):
        p = si.Problem(
            block_sizes=sizes, signal=signal, noise=0.3, context_length=length, covariance=covariance
        )
        gap = task_losses(p, omega, mu, nodes=6) - si.task_loss(p, omega, mu, kernel="first-order")
        without.append(gap)
        left.append(gap - np.array(derived(p, omega, mu)) / length**2)
    np.testing.assert_allclose(np.divide(without[1:], without[:-1]), 1 / 4, rtol=0.1)
    np.testing.assert_allclose(np.divide(left[1:], left[:-1]), 1 / 8, rtol=0.1)


@pytest.mark.parametrize(
    ("name", "step"), [("overlap", "So the mean overlap is"), ("ALONG_BOTH", "Two heads: by parts twice")]
)
def test_a_wrong_formula_is_refused(name: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = getattr(second_order, name)
    wrong = 2 * sound if isinstance(sound, sp.Expr) else lambda *values: 2 * sound(*values)
    monkeypatch.setattr(second_order, name, wrong)
    with pytest.raises(ProofError, match=step):
        second_order.derive()
