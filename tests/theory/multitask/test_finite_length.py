"""The law at any length against softmax attention from its definition."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp
from exact_law import of_head, of_pair, queries, task_losses
from two_heads import exact_loss

import spectral_icl as si
from theory.derivation import ProofError
from theory.multitask import finite_length
from theory.multitask.loss import symbols

POWER, NOISE, KAPPA = 0.8, 0.3, 1.3
OMEGA, MU = np.array([[0.3], [-0.2]]), np.array([[1.4], [-1.9]])


def functions(omega: Any, rho: Any, length: float) -> dict[sp.Symbol, float]:
    """Numbers for D, K and so on of two heads at a query."""
    al, be, ga = (float((omega[h] * omega[k]) @ rho) for h, k in ((0, 0), (1, 1), (0, 1)))
    numbers = {finite_length.read(h): of_head(own, length).D for h, own in enumerate((al, be))}
    for h, k, grams in ((0, 0, (al, al, al)), (1, 1, (be, be, be)), (0, 1, (al, be, ga))):
        found = of_pair(*grams, length)
        values = (found.K, found.M, found.K_al, found.K_be, found.K_ga)
        numbers |= dict(zip(finite_length.kernel(h, k), values, strict=True))
    return numbers


@cache
def symbolic(blocks: int) -> tuple[Any, Any]:
    """The loss of two heads and one task given the query, and the order of its symbols."""
    at, chi = symbols(2, blocks, 1), sp.symbols(f"chi_:{blocks}", positive=True)
    names = [finite_length.read(0), finite_length.read(1)]
    names += [*finite_length.kernel(0, 0), *finite_length.kernel(1, 1), *finite_length.kernel(0, 1)]
    fixed = [*at["omega"], *at["mu"], *at["powers"], *at["noises"], *at["sizes"], *at["kappas"], *chi]
    kernel = list(dict.fromkeys(names))
    return sp.lambdify([*fixed, *kernel], finite_length.task_losses(at, chi)[0]), kernel


def loss(p: si.Problem, omega: Any, mu: Any, nodes: int) -> float:
    """The derived loss, averaged over the query."""
    of, kernel = symbolic(p.blocks)
    fixed = [*omega.ravel(), *mu.ravel(), *np.ravel(p.signal), *p.noise, *p.block_sizes, *p.covariance]
    total = 0.0
    for weight, rho in queries(np.array(p.block_sizes), nodes):
        numbers = functions(np.array(p.covariance) * omega, rho, p.context_length)
        total += weight * of(*fixed, *rho, *(numbers[name] for name in kernel))
    return total


def test_loss_is_that_of_softmax_attention() -> None:
    """In one coordinate, where the definition takes a single integral for every normaliser."""
    length = 6.0
    p = si.Problem(
        block_sizes=(1,), signal=((POWER,),), noise=NOISE, context_length=length, covariance=(KAPPA,)
    )
    expected = exact_loss(length, OMEGA[:, 0], MU[:, 0], power=POWER, noise=NOISE, kappa=KAPPA)
    assert loss(p, OMEGA, MU, 16) == pytest.approx(expected, rel=1e-6)


def test_prompt_of_one_pair() -> None:
    """Its label is the prediction, times the sum of the OV values, whatever the query."""
    p = si.Problem(block_sizes=(2,), signal=((POWER,),), noise=NOISE, context_length=1.0)
    expected = (POWER + NOISE) * (1 + MU.sum() ** 2)
    assert loss(p, OMEGA, MU, 4) == pytest.approx(expected, rel=1e-12)


def test_blocks_of_several_coordinates() -> None:
    """Against an evaluation of its own, in which a head with itself takes another integral."""
    p = si.Problem(
        block_sizes=(3, 2), signal=((0.8, 0.5),), noise=0.1, context_length=20, covariance=(1.3, 0.7)
    )
    omega, mu = np.array([[0.3, -0.2], [-0.25, 0.15]]), np.array([[1.2], [-0.8]])
    assert loss(p, omega, mu, 3) == pytest.approx(task_losses(p, omega, mu, nodes=3)[0], rel=1e-9)


def test_covariance_enters_through_the_values_alone() -> None:
    scale = 0.6
    p = si.Problem(block_sizes=(3,), signal=((0.8,),), noise=0.1, context_length=20, covariance=(1.0,))
    other = dataclasses.replace(p, covariance=(scale,))
    assert loss(other, OMEGA / scale, MU, 5) == pytest.approx(loss(p, OMEGA, MU, 5), rel=1e-12)


def wrong_outputs(of: finite_length.Kernel, a: sp.Expr, b: sp.Expr) -> sp.Expr:
    return finite_length.Kernel(*of).K + 2 * a * b * of.M + a * b * of.by_gamma


def wrong_covariance(at: Any, i: int, h: int, k: int, chi: Any) -> sp.Expr:
    of = finite_length.kernel(h, k)
    return (sum(at["powers"][i, :]) + at["noises"][i]) * of.K


@pytest.mark.parametrize(
    ("name", "wrong", "step"),
    [
        ("outputs", wrong_outputs, "The product of the outputs of two heads"),
        ("covariance", wrong_covariance, "The loss of the task given the query"),
        ("alpha", finite_length.beta, "It obeys a heat equation"),
    ],
)
def test_a_wrong_formula_is_refused(
    name: str, wrong: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite_length, name, wrong)
    with pytest.raises(ProofError, match=step):
        finite_length.derive()
