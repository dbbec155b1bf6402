"""The exact population loss of diagonal softmax attention at any L and d, by quadrature.

Nothing of the package is used here but the numbers of a `Problem`, so that its laws can be held against it.

Given the query, the logits of heads h and k at a pair are jointly normal (s, t) with covariance
[[al, ga], [ga, be]], and the attentions are p = softmax(s), r = softmax(t). Written with
log A = int (exp(-e^x) - exp(-e^x A)) dx, every expectation over the context is an integral of derivatives of
phi(x, y)^L, phi(x, y) = E exp(-e^(x+s) - e^(y+t)), and the heat equations phi_al = phi_xx / 2,
phi_be = phi_yy / 2, phi_ga = phi_xy leave derivatives by x and y alone. For G = E log(sum e^s) log(sum e^t),

    K = G_ga = E p.r,   M = G_al_be = E (1 - |p|^2)(1 - |r|^2) / 4,   D(al) = 1 - E |p|^2,
    E (X'p)_j = a_j D(al),
    E (X'p)_j (X'r)_j = K + 4 a_j b_j M + 2 a_j^2 K_al + 2 b_j^2 K_be + a_j b_j K_ga

with logits s = X a and t = X b. A head with itself needs one variable only: from
1 / Z^2 = int u e^(-u Z) du,

    E (X'p)_j^2 = K + a_j^2 Q,   K = L int (f'' - f') f^(L-1) dx,   f(x) = phi(x, -inf),
    Q = L int (f'''' - f''') f^(L-1) dx + L (L-1) int (f'')^2 f^(L-2) dx.

Covariates of variance kappa_b are sqrt(kappa_b) times white ones: the logits, the labels and the target are
those of white covariates with kappa_b omega_hb in place of omega_hb and coefficients of variance A_ib / d_b.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import lambertw, roots_genlaguerre

import spectral_icl as si

NODES = {1: 32, 2: 10, 3: 6}  # of the query's norm in each block, by the number of blocks
_NEGLIGIBLE = 1e-13  # weight of a query below which it is left out
_AT_ONCE = 10_000  # numbers in one array, so that it stays in the cache
_HIGHEST = 6.6  # exp(-e^z) is nothing above
_STEP, _POINTS = 1.0 / 32.0, 12  # of tables of averages: between their points to 1e-13 of the largest value


class Pair(NamedTuple):
    """Expectations over the context of one pair of heads; `K_al` and so on are derivatives of `K`."""

    K: float
    M: float
    K_al: float
    K_be: float
    K_ga: float


class Alone(NamedTuple):
    """Expectations over the context of one head: D = 1 - E |p|^2, K = E |p|^2 and Q = 4 M + 4 K_al + K_ga."""

    D: float
    K: float
    Q: float


def task_losses(
    problem: si.Problem, omega: ArrayLike, mu: ArrayLike, *, nodes: int | None = None, fine: float = 1.0
) -> np.ndarray:
    """Losses (I,) of the tasks, query noise included.

    ``nodes`` is the number of Gauss-Laguerre nodes per block, ``fine`` divides the steps of all other rules.
    """
    L, kappa, dims = problem.context_length, np.array(problem.covariance), np.array(problem.block_sizes)
    omega, mu = kappa * np.asarray(omega), np.asarray(mu, dtype=float)  # of white covariates, like lam
    lam = np.array(problem.signal) / dims
    s = np.array(problem.variance)
    heads = range(omega.shape[0])
    total = s.copy()
    for weight, rho in queries(dims, nodes or NODES[dims.size]):
        al = omega**2 @ rho
        for h in heads:
            alone = of_head(al[h], L, fine)
            total -= 2.0 * weight * mu[h] * (lam @ (omega[h] * rho)) * alone.D
            total += weight * mu[h] ** 2 * (s * alone.K + lam @ (omega[h] ** 2 * rho) * alone.Q)
        for h, k in itertools.combinations(heads, 2):
            own, cross = lam @ (omega[[h, k]] ** 2 * rho).T, lam @ (omega[h] * omega[k] * rho)
            pair = of_pair(al[h], al[k], omega[h] * omega[k] @ rho, L, fine)
            second = s * pair.K + cross * (4.0 * pair.M + pair.K_ga)
            second += 2.0 * (own[:, 0] * pair.K_al + own[:, 1] * pair.K_be)
            total += 2.0 * weight * mu[h] * mu[k] * second
    return total


def error(problem: si.Problem, omega: ArrayLike, mu: ArrayLike, *, nodes: int | None = None) -> float:
    """Largest change of `task_losses` under half the steps and half as many nodes again."""
    nodes = nodes or NODES[problem.blocks]
    finer = task_losses(problem, omega, mu, nodes=nodes + nodes // 2, fine=2.0)
    return float(abs(finer - task_losses(problem, omega, mu, nodes=nodes)).max())


def queries(dims: np.ndarray, nodes: int) -> list[tuple[float, np.ndarray]]:
    """Weights, and squared norms (B,) of the white query's blocks: independent chi-squares."""
    rules = []
    for d in dims:
        t, w = roots_genlaguerre(nodes, d / 2 - 1)
        rules.append(zip(2.0 * t, w / w.sum(), strict=True))
    points = [tuple(zip(*parts, strict=True)) for parts in itertools.product(*rules)]
    weighted = [(float(np.prod(w)), np.array(rho)) for rho, w in points]
    return [(weight, rho) for weight, rho in weighted if weight > _NEGLIGIBLE]


def of_head(al: float, L: float, fine: float = 1.0) -> Alone:
    """What a head with logits of variance ``al`` needs."""
    z, w = _normal(np.sqrt(al), np.sqrt(al), fine)  # as in pairs, with which heads may cancel in all digits
    x, dx = _line(al, L, fine)
    part = _parts(x[:, None] + np.sqrt(al) * z, 4) @ w  # 1 - phi, then derivatives of phi
    first, second = _powers(part[0], part[1], L)
    f1, f2, f3, f4 = part[2:]
    return Alone(
        D=-(dx * first) @ f2,
        K=(dx * first) @ (f2 - f1),
        Q=dx @ (first * (f4 - f3) + second * f2**2),
    )


def of_pair(al: float, be: float, ga: float, L: float, fine: float = 1.0) -> Pair:
    """What two heads with logits of variances ``al``, ``be`` and covariance ``ga`` need."""
    one, two = np.sqrt(al), np.sqrt(be)
    cosine = np.clip(ga / (one * two), -1.0, 1.0) if one * two > 0.0 else 0.0
    sine = np.sqrt(1.0 - cosine**2)
    z, w = _normal(max(one, two * abs(cosine)), max(one, two), fine)
    x, dx = _line(al, L, fine)
    y, dy = _line(be, L, fine)
    left = w * _parts(x[:, None] + one * z, 3)  # (5, X, Z)
    right = _smooth(y[:, None] + two * cosine * z, two * sine, fine)  # (5, Y, Z)
    phi = {(i, j): left[1 + i] @ right[1 + j].T for i, j in _DERIVATIVES}
    off = left[0].sum(axis=1)[:, None] + left[1] @ right[0].T  # 1 - phi = E (1 - Lam) + E Lam (1 - Lam')
    first, second = _powers(off, phi[0, 0], L)
    a, b, g = phi[2, 0] / 2.0, phi[0, 2] / 2.0, phi[1, 1]

    def integral(once: np.ndarray, twice: np.ndarray) -> float:
        return float(dx @ (first * once + second * twice) @ dy)

    return Pair(
        K=float(dx @ (first * g) @ dy),
        M=integral(phi[2, 2] / 4.0, a * b),
        K_al=integral(phi[3, 1] / 2.0, a * g),
        K_be=integral(phi[1, 3] / 2.0, b * g),
        K_ga=integral(phi[2, 2], g * g),
    )


_DERIVATIVES = [(0, 0), (2, 0), (0, 2), (1, 1), (3, 1), (1, 3), (2, 2)]


def _parts(z: np.ndarray, order: int) -> np.ndarray:
    """1 - Lam, Lam and its first derivatives, (2 + order, ...), of Lam(z) = exp(-e^z)."""
    u = np.exp(np.minimum(z, _HIGHEST))
    lam = np.exp(-u)
    found = np.empty((2 + order, *z.shape))
    found[0], found[1] = -np.expm1(-u), lam
    for k, touchard in enumerate(_TOUCHARD[:order]):
        found[2 + k] = touchard(u) * lam
    return found


_TOUCHARD: list[Callable[[np.ndarray], np.ndarray]] = [  # derivatives of exp(-e^z) over itself, by u = e^z
    lambda u: -u,
    lambda u: u * (u - 1.0),
    lambda u: -u * (1.0 + u * (u - 3.0)),
    lambda u: u * (u * (7.0 + u * (u - 6.0)) - 1.0),
]


def _smooth(z: np.ndarray, width: float, fine: float) -> np.ndarray:
    """`_parts` up to third derivatives, averaged over a normal variable of the given width, (5, ...).

    They are functions of one variable, interpolated in a table whose points are those of the rule as well.
    """
    if width == 0.0:
        return _parts(z, 3)
    flat, apart = z.ravel(), int(_step(width, fine) * width / _STEP)
    if apart == 0:  # a variable so narrow that it has nodes between the points
        m, w = _normal(width, width, fine)
        rows = max(1, _AT_ONCE // m.size)
        pieces = [flat[i : i + rows] for i in range(0, flat.size, rows)]
        done = [_parts(piece[:, None] + width * m, 3) @ w for piece in pieces]
        return np.concatenate(done, axis=1).reshape(5, *z.shape)
    m, w = _rule(apart * _STEP / width, width, fine)
    first = flat.min() - _POINTS * _STEP
    size = int((flat.max() - first) / _STEP) + _POINTS
    points = _parts(first + width * m[0] + _STEP * np.arange(size + apart * (m.size - 1)), 3)
    table = np.zeros((5, size))
    for j, weight in enumerate(w):
        table += weight * points[:, j * apart : j * apart + size]
    return _interpolated(table, (flat - first) / _STEP).reshape(5, *z.shape)


def _interpolated(table: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of a table (R, S) between its columns (N,), by the polynomials through the `_POINTS` nearest."""
    lowest = at.astype(int) - (_POINTS // 2 - 1)
    away = [at - lowest - k for k in range(_POINTS)]
    below, above = [np.ones_like(at)], [np.ones_like(at)]
    for k in range(_POINTS - 1):
        below.append(below[-1] * away[k])
        above.append(above[-1] * away[-1 - k])
    found = np.zeros((len(table), at.size))
    for k in range(_POINTS):
        scale = math.factorial(k) * math.factorial(_POINTS - 1 - k) * (-1) ** (_POINTS - 1 - k)
        found += below[k] * above[_POINTS - 1 - k] / scale * table[:, lowest + k]
    return found


def _powers(off: np.ndarray, phi: np.ndarray, L: float) -> tuple[np.ndarray, np.ndarray]:
    """L phi^(L-1) and L (L-1) phi^(L-2), from whichever of 1 - phi and phi is the smaller."""
    log = np.where(off < 0.5, np.log1p(-np.minimum(off, 0.5)), np.log(np.maximum(phi, 1e-300)))
    return L * np.exp((L - 1.0) * log), L * (L - 1.0) * np.exp((L - 2.0) * log)


def _normal(scale: float, tilt: float, fine: float) -> tuple[np.ndarray, np.ndarray]:
    """Trapezoidal nodes and weights of a standard normal variable that enters as ``scale`` times itself."""
    return _rule(_step(scale, fine), tilt, fine)


def _step(scale: float, fine: float) -> float:
    return min(0.7, 0.25 / scale if scale > 0.0 else 0.7) / fine


def _rule(step: float, tilt: float, fine: float) -> tuple[np.ndarray, np.ndarray]:
    end = 8.6 + 0.5 * (fine - 1.0)
    z = np.arange(-end, end + min(tilt, 5.0 * np.sqrt(fine)) + step, step)
    w = np.exp(-(z**2) / 2.0)
    return z, w / w.sum()


@lru_cache(256)  # a head has the same in all its pairs
def _line(al: float, L: float, fine: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights in x, around where phi(x)^L falls.

    To the left the integrands fall like e^x only, for which x = c + 1 + t - e^(-t) makes long steps.
    """
    z, w = _normal(np.sqrt(al), np.sqrt(al), 1.0)
    low = -np.log(L) - min(al / 2.0, 9.0 * np.sqrt(al)) - 2.0
    coarse = np.linspace(low, 10.0 * np.sqrt(al) + 6.0, 120)
    off, phi = _parts(coarse[:, None] + np.sqrt(al) * z, 0) @ w
    fallen = -L * np.where(off < 0.5, np.log1p(-np.minimum(off, 0.5)), np.log(np.maximum(phi, 1e-300)))
    centre, right = np.interp([1.0, 45.0 + 9.0 * (fine - 1.0)], fallen, coarse)
    depth = np.log(L) + 38.0 + 4.0 * (fine - 1.0)  # 1 - phi < e^(-depth) there, by a Chernoff bound
    left = -(depth + al / 2.0) if depth > al / 2.0 else -np.sqrt(2.0 * al * depth)
    ends = np.array([left, right]) - centre - 1.0
    first, last = ends + lambertw(np.exp(-ends)).real
    step = 0.12 / fine
    t = np.arange(first, last + step, step)
    return centre + 1.0 + t - np.exp(-t), step * (1.0 + np.exp(-t))
