"""The derived integrands of the law at any length, integrated: by trapezoids, at moderate variances."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from theory.multitask import finite_length_integrals as integrals
from theory.symbols import L

ORDER = 8  # of the highest derivative that is needed


@cache
def touchard() -> list[Polynomial]:
    """The derivatives of exp(-e^z) over itself, as polynomials in e^z."""
    found, u = [Polynomial([1.0])], Polynomial([0.0, 1.0])
    for _ in range(ORDER):
        found.append(u * (found[-1].deriv() - found[-1]))
    return found


def damped(z: NDArray[Any]) -> NDArray[Any]:
    """exp(-e^z) and its derivatives."""
    u = np.exp(np.minimum(z, 6.6))
    return np.stack([one(u) for one in touchard()]) * np.exp(-u)


def normal(al: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Nodes and weights of a normal variable of this variance."""
    z = np.arange(-8.6, 8.6 + np.sqrt(al), min(0.5, 0.25 / np.sqrt(al)))
    w = np.exp(-(z**2) / 2)
    return np.sqrt(al) * z, w / w.sum()


def line(length: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Nodes and weights in x, dense where phi^L falls."""
    t = np.arange(-3.7, 11.0, 0.12)
    return 1 - np.log(length) + t - np.exp(-t), 0.12 * (1 + np.exp(-t))


def floored(phi: NDArray[Any]) -> NDArray[Any]:
    """Derivatives of phi, itself large enough to be divided by where its power is zero to all digits."""
    phi[(0,) * (phi.ndim // 2)] = np.maximum(phi[(0,) * (phi.ndim // 2)], 1e-60)
    return phi


def derivatives(al: float, be: float, ga: float, length: float) -> NDArray[Any]:
    """Derivatives of phi on the grid of x and y, by their orders."""
    (s, ws), (x, _), (y, _) = normal(al), line(length), line(length)
    left = damped(x[:, None] + s) * ws
    rest, wr = normal(max(be - ga**2 / al, 1e-12))
    right = np.stack([damped(one + rest[:, None] + ga / al * s) for one in y], axis=1)
    return floored(np.einsum("ixk,jyk->ijxy", left, np.einsum("jymk,m->jyk", right, wr), optimize=True))


def written(value: sp.Expr) -> sp.Expr:
    """An integrand without names for the weight and the ratios."""
    base = integrals.array(0, 0)
    return value.subs(integrals.ratios(base)).subs(integrals.W, L * base ** (L - 1))


@cache
def compiled(letters: tuple[sp.Symbol, ...]) -> tuple[Any, list[sp.Symbol]]:
    """An integrand as a function of the length and of derivatives of phi, which are listed."""
    value = written(integrals.integrand(letters))
    names = sorted((one for one in value.free_symbols if one != L), key=str)
    return sp.lambdify([L, *names], value), names


class Pair:
    """The derivatives of G at variances and a covariance of two heads' logits, and a length."""

    def __init__(self, al: float, be: float, ga: float, length: float) -> None:
        self.length, self.phi = length, derivatives(al, be, ga, length)
        self.weight = line(length)[1]

    def __call__(self, *letters: sp.Symbol) -> float:
        of, names = compiled(letters)
        orders = [tuple(map(int, name.name.split("_")[1:])) for name in names]
        return float(self.weight @ of(self.length, *(self.phi[order] for order in orders)) @ self.weight)


def one_head(order: int, al: float, length: float) -> float:
    """D, or its derivative of an order, for which phi is of x alone."""
    (s, w), (x, dx) = normal(al), line(length)
    phi = floored(damped(x[:, None] + s) @ w)
    value = written(integrals.of_head(order)).subs(L, length)
    names = sorted(value.free_symbols, key=str)
    return float(dx @ sp.lambdify(names, value)(*(phi[int(name.name.split("_")[1])] for name in names)))
