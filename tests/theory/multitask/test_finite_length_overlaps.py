"""Means of overlaps by cubature over all logits of short prompts, against integrals over two variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from exact_law import of_head, of_pair

from theory.derivation import ProofError
from theory.multitask import finite_length_overlaps as overlaps
from theory.multitask.second_order import Q
from theory.symbols import L


def mean_overlaps(expressions: list[sp.Expr], grams: tuple[float, float, float], length: int) -> list[float]:
    """Means over the logits: their differences from those of the last pair, all that attention depends on."""
    al, be, ga = grams
    between_pairs = np.eye(length - 1) + 1.0
    root = np.kron(np.linalg.cholesky(between_pairs), np.linalg.cholesky([[al, ga], [ga, be]]))
    nodes, weights = np.polynomial.hermite_e.hermegauss({2: 60, 3: 22}[length])
    axes = 2 * (length - 1)
    points = np.stack(np.meshgrid(*[nodes] * axes, indexing="ij")).reshape(axes, -1)
    weight = np.prod(np.meshgrid(*[weights / weights.sum()] * axes, indexing="ij"), axis=0).ravel()
    logits = (root @ points).reshape(length - 1, 2, -1)
    raised = np.exp(np.concatenate([logits, np.zeros((1, *logits.shape[1:]))]))
    p, r = np.moveaxis(raised / raised.sum(axis=0), 1, 0)
    names = sorted(sp.Tuple(*expressions).atoms(sp.Indexed), key=str)
    values = [(p ** int(one.indices[0]) * r ** int(one.indices[1])).sum(axis=0) for one in names]
    plain = sp.symbols(f"q_:{len(names)}")
    found = [one.subs(dict(zip(names, plain, strict=True))) for one in expressions]
    return [float(weight @ value) for value in sp.lambdify(plain, found)(*values)]


@pytest.mark.parametrize(("length", "accuracy"), [(2, 1e-9), (3, 1e-6)])
@pytest.mark.parametrize("grams", [(0.5, 0.8, 0.2), (1.2, 0.6, -0.5)])
def test_functions_are_means_of_overlaps(
    length: int, accuracy: float, grams: tuple[float, float, float]
) -> None:
    expected = of_pair(*grams, length)
    found = mean_overlaps([*overlaps.OVERLAPS, overlaps.READ_OFF], grams, length)
    values = [
        expected.K,
        expected.M,
        expected.K_al,
        expected.K_be,
        expected.K_ga,
        of_head(grams[0], length).D,
    ]
    np.testing.assert_allclose(found, values, rtol=0, atol=accuracy)


@pytest.mark.parametrize("length", [2, 3, 40])
def test_origin(length: int) -> None:
    """As the limit of small logits, of integrals that know nothing of it."""
    found = of_pair(1e-7, 1e-7, 0.0, length)
    n = length - 1
    expected = [1 / length, (n / length) ** 2 / 4, 0, 0, n / length**2]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def replaced(**parts: sp.Expr) -> Any:
    return overlaps.OVERLAPS._replace(**parts)


@pytest.mark.parametrize(
    ("name", "wrong", "step"),
    [
        ("READ_OFF", 1 - Q[1, 1], "Twice the derivative by"),
        ("OVERLAPS", replaced(K=2 * Q[1, 1]), "mean product of two logarithms"),
        ("OVERLAPS", replaced(M=overlaps.OVERLAPS.M / 2), "That by {alpha} and {beta}"),
        ("OVERLAPS", replaced(by_alpha=Q[1, 1] * Q[2, 0]), "derivatives of the mean overlap"),
        ("OVERLAPS", replaced(by_beta=overlaps.OVERLAPS.by_alpha), "by {entry},"),
        ("OVERLAPS", replaced(by_gamma=Q[1, 1] - Q[2, 1] - Q[1, 2] + L * Q[1, 1] ** 2), "and by {entry}"),
    ],
)
def test_a_wrong_overlap_is_refused(
    name: str, wrong: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlaps, name, wrong)
    with pytest.raises(ProofError, match=step):
        overlaps.derive()


@pytest.mark.parametrize(
    ("part", "wrong"), [(4, Q[1, 1] - Q[2, 1] - Q[1, 2]), (2, Q[1, 1] * Q[0, 2] - Q[2, 1])]
)
def test_writing_out_needs_no_rule(part: int, wrong: sp.Expr, monkeypatch: pytest.MonkeyPatch) -> None:
    """The softmaxes that are written out refuse by themselves what the rule would."""
    values = list(overlaps.OVERLAPS)
    values[part] = wrong
    monkeypatch.setattr(overlaps, "OVERLAPS", type(overlaps.OVERLAPS)(*values))
    made = overlaps.Derivation("Written out", "nowhere")
    with pytest.raises(ProofError):
        overlaps._written_out(made)
