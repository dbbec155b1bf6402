"""Expectations over the context of one pair of heads, given the query, by quadrature.

The logits (s, t) of two heads at a context pair are jointly normal with covariance [[al, ga], [ga, be]], and
independent between pairs; p = softmax(s) and r = softmax(t). With phi(x, y) = E exp(-e^(x + s) - e^(y + t)),

    G = E log(sum e^s) log(sum e^t) = int int phi^L dx dy + (what depends on x or on y alone),

so that every derivative of G by ga, or by both al and be, is an integral over L phi^(L-1) times derivatives
of phi, in which the heat equations phi_al = phi_xx / 2, phi_be = phi_yy / 2 and phi_ga = phi_xy leave
derivatives by x and y alone. Then K = E p.r = G_ga and M = E (1 - |p|^2)(1 - |r|^2) / 4 = G_al_be; and
D = 1 - E |p|^2 = 1 - K(al, al, al). Derivatives are not differences, and are as exact as values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.overlaps import smoothed_powers, sums_of_products

_HIGHEST = 709.0  # e^-u is nothing above, and e^x infinite


class Grid(NamedTuple):
    """How fine the sums are.

    Attributes
    ----------
    step : float
        Of t in x = c + 1 + t - e^-t, where c is where L (1 - phi) = 1: the left tail falls like e^x only.
    normal : float
        Step of standard normal variables, over the standard deviation of the logits; at most ``widest``.
    right : float
        Minus the logarithm of phi^L at the right end; ``left`` is the depth of the other one, below log L.
    end : float
        Where normal variables end.
    widest : float
    """

    step: float
    normal: float
    right: float
    left: float
    end: float
    widest: float


FINE = Grid(0.12, 0.25, 42.0, 36.0, 8.4, 0.75)  # about 1e-12, and 1e-9 of third derivatives
MEDIUM = Grid(0.2, 0.4, 35.0, 30.0, 7.6, 0.8)  # about 1e-8
_RIDGE = 0.55  # of the step, where two heads have large logits that are almost the same


class Overlap(NamedTuple):
    """K and M with their derivatives up to an order.

    Attributes
    ----------
    k : dict of str to float
        K by letters of a, b and g in this order, such as "" for K and "aag" for K_al_al_ga.
    m : dict of str to float
        M likewise, by a and b alone and up to one order less: M_ga = K_al_be.
    """

    k: dict[str, float]
    m: dict[str, float]


def overlap(al: float, be: float, ga: float, length: float, order: int = 2, grid: Grid = FINE) -> Overlap:
    """The expectations of two heads whose logits have variances ``al``, ``be`` and covariance ``ga``.

    Parameters
    ----------
    al, be : float
        >= 0.
    ga : float
        ga^2 <= al be, up to rounding.
    length : float
        L >= 1.
    order : int
        Of the highest derivatives of K, 1 to 3.
    grid : Grid
    """
    wanted = _wanted(order)
    one, two = math.sqrt(al), math.sqrt(be)
    cosine = min(1.0, max(-1.0, ga / (one * two))) if one * two > 0.0 else 0.0
    sine = math.sqrt((1.0 - cosine) * (1.0 + cosine))
    if min(one, two) > 2.5 and min(one, two) * sine < 1.0:
        grid = grid._replace(step=_RIDGE * grid.step)
    x, by_x = _line(al, length, grid)
    y, by_y = _line(be, length, grid)
    z, weight = _normal(max(one, two * abs(cosine)), grid)
    m, within = _normal(two * sine, grid)

    off_x, left = _smoothed(x, one * z, np.zeros(1), np.ones(1), wanted.highest)
    off_y, right = _smoothed(y, two * cosine * z, two * sine * m, within, wanted.highest)
    left, off_x = left * weight[:, None], off_x * weight[:, None]
    phi = np.stack([left[i].T @ right[j] for i, j in wanted.derivatives]).reshape(len(wanted.derivatives), -1)
    off = (off_x.sum(axis=0)[:, None] + left[0].T @ off_y).ravel()  # 1 - phi = E (1 - Lam) + E Lam (1 - Lam')
    kept = np.maximum(phi[0], 1e-300)
    weights = [np.outer(by_x, by_y).ravel() * length * np.exp((length - 1.0) * _log(off, kept))]
    for n in range(1, order + 1):
        weights.append(weights[-1] * ((length - n) / kept))
    sums = np.zeros(len(wanted.names))
    sums_of_products(np.stack(weights), phi, wanted.terms, wanted.factors, sums)
    found = dict(zip(wanted.names, sums.tolist(), strict=True))
    k = {name.replace("g", "", 1): value for name, value in found.items() if "g" in name}
    m_ = {
        name.replace("a", "", 1).replace("b", "", 1): value
        for name, value in found.items()
        if "g" not in name
    }
    return Overlap(k, m_)


def concentration(al: float, length: float, grid: Grid = FINE) -> Floats:
    """E |p|^2 of a head whose logits have variance ``al``, and its first two derivatives by that, (3,).

    The overlap with itself, by one integral: from 1 / Z^2 = int u e^(-u Z) du, with f(x) = phi(x, -inf),
    E |p|^2 = L int (f'' - f') f^(L-1) dx, and f_al = f'' / 2.
    """
    f, (once, twice, thrice) = _of_one(al, length, grid)
    bent, turn, turned = f[2] - f[1], 0.5 * (f[4] - f[3]), 0.25 * (f[6] - f[5])
    half = 0.5 * f[2]
    return np.array(
        [
            once @ bent,
            once @ turn + twice @ (bent * half),
            once @ turned + twice @ (2.0 * turn * half + bent * (0.25 * f[4])) + thrice @ (bent * half**2),
        ]
    )


def spread(al: float, length: float, grid: Grid = FINE) -> float:
    """Q = 4 M + 4 K_al + K_ga of a head with itself: E (X'p)_j^2 = E |p|^2 + a_j^2 Q for logits X a.

    By one integral too: L int (f4 - f3) f^(L-1) dx + L (L-1) int f2^2 f^(L-2) dx, fn the n-th derivative of
    the f of `concentration`.
    """
    f, (once, twice, _) = _of_one(al, length, grid)
    return float(once @ (f[4] - f[3]) + twice @ f[2] ** 2)


def _of_one(al: float, length: float, grid: Grid) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
    """The f with six derivatives at points, and weights L f^(L-1), L (L-1) f^(L-2), L (L-1) (L-2) f^(L-3)."""
    x, by_x = _line(al, length, grid)
    z, weight = _normal(math.sqrt(al), grid)
    off, values = _smoothed(x, np.zeros(1), math.sqrt(al) * z, weight, 6)
    f = values[:, 0]
    kept = np.maximum(f[0], 1e-300)
    once = by_x * length * np.exp((length - 1.0) * _log(off[0], f[0]))
    twice = once * ((length - 1.0) / kept)
    return f, (once, twice, twice * ((length - 2.0) / kept))


def _log(off: Floats, kept: Floats) -> Floats:
    """Log phi, from whichever of 1 - phi and phi is the smaller."""
    near = np.log1p(-np.minimum(off, 0.5))
    found: Floats = np.where(off < 0.5, near, np.log(np.maximum(kept, 1e-300)))
    return found


class _Wanted(NamedTuple):
    """The derivatives of G that are wanted, each a sum of products of derivatives of phi."""

    names: list[str]  # letters of a, b and g, in this order
    highest: int  # derivative of phi by either variable
    derivatives: list[tuple[int, int]]  # of phi by x and y; phi itself comes first
    terms: NDArray[np.int64]  # (T, 6), as `sums_of_products` takes them
    factors: Floats  # (T,)


@cache
def _wanted(order: int) -> _Wanted:
    """By the chain rule: a product over the parts of every partition of the letters.

    A part is the derivative of phi by its letters, and n parts come with (L - 1) ... (L - n + 1) phi^(1 - n).
    """
    letters = [combo for n in range(order + 1) for combo in itertools.combinations_with_replacement("abg", n)]
    names = ["".join(sorted((*combo, "g"))) for combo in letters]
    names += [
        "".join(sorted((*combo, "a", "b"))) for combo in letters if "g" not in combo and len(combo) < order
    ]
    derivatives = [(0, 0)]
    terms: list[list[int]] = []
    factors: list[float] = []
    for at, name in enumerate(names):
        for partition in _partitions(tuple(name)):
            rows, factor = [], 1.0
            for part in partition:
                a, b, g = part.count("a"), part.count("b"), part.count("g")
                derivative = (2 * a + g, 2 * b + g)
                if derivative not in derivatives:
                    derivatives.append(derivative)
                rows.append(derivatives.index(derivative))
                factor *= 0.5 ** (a + b)
            terms.append([at, len(rows) - 1, *rows, *[-1] * (4 - len(rows))])
            factors.append(factor)
    highest = max(max(derivative) for derivative in derivatives)
    return _Wanted(names, highest, derivatives, np.array(terms), np.array(factors))


def _partitions(letters: tuple[str, ...]) -> Iterator[list[list[str]]]:
    """All partitions of letters that count as different even where they are the same."""
    if not letters:
        yield []
        return
    first, rest = letters[0], letters[1:]
    for parts in _partitions(rest):
        yield [[first], *parts]
        for n in range(len(parts)):
            yield [*parts[:n], [first, *parts[n]], *parts[n + 1 :]]


def _smoothed(
    points: Floats, shifts: Floats, widths: Floats, weights: Floats, order: int
) -> tuple[Floats, Floats]:
    """Means of 1 - Lam (Z, Y) and of derivatives of Lam (order + 1, Z, Y), Lam(z) = exp(-e^z)."""
    off, powers = np.empty((shifts.size, points.size)), np.empty((order + 1, shifts.size, points.size))
    sizes, moved, spread = (np.exp(np.minimum(values, _HIGHEST)) for values in (points, shifts, widths))
    smoothed_powers(sizes, moved, spread, weights, off, powers)
    return off, np.tensordot(_touchard(order), powers, axes=1)


@cache
def _touchard(order: int) -> Floats:
    """Coefficients (n, r) of u^r e^-u in the n-th derivative of exp(-e^z), u = e^z."""
    rows = np.zeros((order + 1, order + 1))
    rows[0, 0] = 1.0
    for n in range(1, order + 1):
        for r in range(1, n + 1):
            rows[n, r] = r * rows[n - 1, r] - rows[n - 1, r - 1]
    return rows


def _normal(scale: float, grid: Grid) -> tuple[Floats, Floats]:
    """Trapezoidal nodes and weights of a standard normal variable that enters as ``scale`` times itself."""
    step = min(grid.widest, grid.normal / scale) if scale > 0.0 else grid.widest
    z = np.arange(-grid.end, grid.end + min(scale, 5.0) + step, step)
    weight = np.exp(-0.5 * z**2)
    return z, weight / weight.sum()


def _line(al: float, length: float, grid: Grid) -> tuple[Floats, Floats]:
    """Nodes and weights in x, around where phi(x)^L falls."""
    root = math.sqrt(al)
    z, weight = _normal(root, grid)
    low = -math.log(length) - min(0.5 * al, 9.0 * root) - 2.0
    coarse = np.linspace(low, 10.0 * root + 6.0, 160)
    off, powers = _smoothed(coarse, np.zeros(1), root * z, weight, 0)
    centre, right = np.interp([1.0, grid.right], -length * _log(off[0], powers[0, 0]), coarse)
    depth = math.log(length) + grid.left  # 1 - phi < e^-depth there, by a Chernoff bound
    left = -(depth + 0.5 * al) if depth > 0.5 * al else -math.sqrt(2.0 * al * depth)
    first, last = (_inverse(end - centre - 1.0) for end in (left, right))
    t = np.arange(first, last + grid.step, grid.step)
    return centre + 1.0 + t - np.exp(-t), grid.step * (1.0 + np.exp(-t))


def _inverse(value: float) -> float:
    """The t with t - e^-t = ``value``."""
    if value < -_HIGHEST:  # e^-t alone
        return -math.log(-value)
    return float(value + lambertw(math.exp(-value)).real)
