"""Tables of the overlaps of attentions for one context length: how they are made, and how wrong they are."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.stats import qmc

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.surrogate import BEND, DEGREE, SINGLE, terms
from spectral_icl.kernels.threads import available_cores
from spectral_icl.multitask.exact.overlaps import Grid, Overlap, concentration, overlap

# Largest logit variances of tables. A state has the first table that reaches all of its logits, so that a
# small state has an exact one; closer where twice the reach is ten times the error of what flows end at.
REACHES = (0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)

SAMPLES, HELD_OUT = 384, 128  # pairs that a table is fitted to, and that it is judged by
WIDE = 16.0
GRID = Grid(0.2, 0.5, 32.0, 28.0, 7.2, 0.8)  # of the quadrature at these pairs; of wide tables,
LOOSE = Grid(0.28, 0.6, 26.0, 22.0, 6.4, 0.9)  # which are off by more than this, about 1e-5
_LEAST_WEIGHT = 3e-3  # of a pair whose overlap is small beside those of its heads with themselves
_BELOW = 1e-13  # singular values below this part of the largest are noise


class Table(NamedTuple):
    """What `spectral_icl.kernels.surrogate` evaluates.

    Attributes
    ----------
    length : float
        L.
    reach : float
        The largest logit variance.
    single : ndarray, (SINGLE,)
        Coefficients of log L E |p|^2.
    pair, cross : ndarray
        Coefficients of S and Y, in the order of `surrogate.terms`.
    errors : ndarray, (3,)
        Largest errors at the pairs that were held out, in units of sqrt(E |p|^2 E |r|^2): of K, of its
        derivatives by al, be and ga, and of 4 M - D_h D_k.
    """

    length: float
    reach: float
    single: Floats
    pair: Floats
    cross: Floats
    errors: Floats


def build(length: float, reach: float) -> Table:
    """A table made from the quadrature alone.

    Parameters
    ----------
    length : float
        L >= 1.
    reach : float
        The largest logit variance.
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        single = _fit_single(length, reach, pool)
        fitted = _Pairs.drawn(length, reach, SAMPLES, 1, single, pool)
        held_out = _Pairs.drawn(length, reach, HELD_OUT, 2, single, pool)
    pair, cross = fitted.fit_overlap(), fitted.fit_spare()
    table = Table(length, reach, single, pair, cross, held_out.errors(pair, cross))
    for values in (table.single, table.pair, table.cross, table.errors):
        values.setflags(write=False)
    return table


def _top(reach: float) -> float:
    return reach / (1.0 + reach / BEND)


def _fit_single(length: float, reach: float, pool: ThreadPoolExecutor) -> Floats:
    """Log L E |p|^2 at the nodes of the series."""
    x = np.cos(np.pi * (np.arange(SINGLE) + 0.5) / SINGLE)
    short = 0.5 * (x + 1.0) * _top(reach)
    found = pool.map(lambda al: concentration(al, length)[0], (short / (1.0 - short / BEND)).tolist())
    values = np.log(length * np.array(list(found)))
    return np.asarray(chebyshev.chebfit(x, values, SINGLE - 1), dtype=np.float64)


class _Pairs(NamedTuple):
    """Pairs of heads with the exact overlaps, in the variables of the polynomials."""

    reach: float
    scale: Floats  # (n,) sqrt(E |p|^2 E |r|^2)
    points: Floats  # (5, n) x + y - 1, g, (x - y)^2, x - y, and x + y - 2 g
    chain: tuple[Floats, ...]  # of x by al, y by be, g by ga, by al and by be
    aim: Floats  # (4, n) S and its derivatives by al, be and ga
    spare: Floats  # (4, n) Y and its derivatives by al, be and ga

    @classmethod
    def drawn(
        cls, length: float, reach: float, count: int, seed: int, single: Floats, pool: ThreadPoolExecutor
    ) -> _Pairs:
        """So many pairs all over the cone ga^2 <= al be; a quarter on its edge, of which half are alike."""
        u = qmc.Sobol(3, seed=seed).random_base2(math.ceil(math.log2(count)))[:count]
        root = math.sqrt(reach)
        one, two = root * np.sin(0.5 * np.pi * u[:, 0]), root * np.sin(0.5 * np.pi * u[:, 1])
        kind = np.arange(count) % 16
        two = np.where(kind == 0, one, two)
        cosine = np.where(kind % 8 == 0, 1.0, np.where(kind % 8 == 1, -1.0, np.cos(np.pi * u[:, 2])))
        al, be, ga = one**2, two**2, one * two * cosine
        grid = GRID if reach < WIDE else LOOSE
        exact = list(
            pool.map(
                lambda n: overlap(float(al[n]), float(be[n]), float(ga[n]), length, 2, grid), range(count)
            )
        )
        return cls._of(length, reach, single, (al, be, ga), exact)

    @classmethod
    def _of(
        cls, length: float, reach: float, single: Floats, at: tuple[Floats, ...], exact: list[Overlap]
    ) -> _Pairs:
        al, be, ga = at
        top = _top(reach)
        p, q = 1.0 / (1.0 + al / BEND), 1.0 / (1.0 + be / BEND)
        x, y, e = al * p / top, be * q / top, np.sqrt(p * q) / top
        g = ga * e
        chain = (p * p / top, q * q / top, e, -0.5 * g * p / BEND, -0.5 * g * q / BEND)
        half_a, by_a, held_a, turn_a = _single(single, length, x, chain[0])
        half_b, by_b, held_b, turn_b = _single(single, length, y, chain[1])
        k = {name: np.array([one.k[name] for one in exact]) for name in ("", "a", "b", "g", "ab")}
        m = {name: np.array([one.m[name] for one in exact]) for name in ("", "a", "b")}
        scale = np.exp(half_a + half_b) / length
        aim = np.stack(
            [
                half_a + half_b - np.log(length * k[""]),
                by_a - k["a"] / k[""],
                by_b - k["b"] / k[""],
                -k["g"] / k[""],
            ]
        )
        value = (4.0 * m[""] - held_a * held_b) / scale
        spare = np.stack(
            [
                value,
                (4.0 * m["a"] - turn_a * held_b) / scale - by_a * value,
                (4.0 * m["b"] - held_a * turn_b) / scale - by_b * value,
                4.0 * k["ab"] / scale,
            ]
        )
        d = x - y
        return cls(reach, scale, np.stack([x + y - 1.0, g, d * d, d, x + y - 2.0 * g]), chain, aim, spare)

    def fit_overlap(self) -> Floats:
        """Coefficients of S, by least squares on values and first derivatives.

        Weighted as the overlap is that follows, and without what is not zero where both heads are alike.
        """
        weight = np.maximum(np.exp(-self.aim[0]), _LEAST_WEIGHT)
        return self._fit(self.aim, weight, alike=True)

    def fit_spare(self) -> Floats:
        """Coefficients of Y, likewise."""
        return self._fit(self.spare, np.ones(self.scale.size), alike=False)

    def _fit(self, aim: Floats, weight: Floats, alike: bool) -> Floats:
        basis = _Basis(DEGREE, alike)
        rows = basis.rows(self.points, self.chain)
        unit = min(self.reach / 6.0, 1.0)  # of derivatives beside values
        units = [1.0, unit, unit, unit]
        left = np.concatenate([row * (weight * one)[:, None] for row, one in zip(rows, units, strict=True)])
        right = np.concatenate([one_aim * weight * one for one_aim, one in zip(aim, units, strict=True)])
        found = np.linalg.lstsq(left, right, rcond=_BELOW)[0]
        coefficients: Floats = basis.monomials @ found
        return coefficients

    def errors(self, pair: Floats, cross: Floats) -> Floats:
        """`Table.errors`, of a table with these coefficients at the pairs."""
        rows = _Monomials(DEGREE).rows(self.points, self.chain)
        found = np.stack([row @ pair for row in rows])
        size = np.exp(-found[0])  # K over the scale
        true = np.exp(-self.aim[0])
        by = [abs(found[n] * size - self.aim[n] * true).max() for n in (1, 2, 3)]
        spare = _Monomials(DEGREE).rows(self.points, self.chain)[0] @ cross
        return np.array([abs(size - true).max(), max(by), abs(spare - self.spare[0]).max()])


def _single(single: Floats, length: float, x: Floats, by_al: Floats) -> tuple[Floats, ...]:
    """Half of log L E |p|^2 and its derivative by al, D and its derivative."""
    value: Floats = np.asarray(chebyshev.chebval(2.0 * x - 1.0, single), dtype=np.float64)
    by_x = np.asarray(chebyshev.chebval(2.0 * x - 1.0, chebyshev.chebder(single)), dtype=np.float64)
    slope: Floats = 2.0 * by_al * by_x
    size = np.exp(value) / length
    return 0.5 * value, 0.5 * slope, 1.0 - size, -slope * size


class _Basis:
    """Products of Chebyshev polynomials in x + y - 1, (x + y - 2 g) / 2 - 1 and 2 (x - y)^2 - 1.

    Where heads are ``alike`` the second and the third variable are at their ends, whatever the first: there
    all that is left vanishes if every product has a factor x + y - 2 g or (x - y)^2.
    """

    def __init__(self, degree: int, alike: bool) -> None:
        self.degree, self.alike = degree, alike
        powers = [
            (i, j, k)
            for k in range(degree // 2 + 1)
            for j in range(degree - 2 * k + 1)
            for i in range(degree - 2 * k - j + 1)
        ]
        self.powers = [at for at in powers if not alike or at[1] + at[2] > 0]

    @property
    def monomials(self) -> Floats:
        """The matrix that turns coefficients in this basis into those of `surrogate.terms`.

        Found by interpolation at points where the monomials are well conditioned.
        """
        u, g, z = self._nodes()
        points = np.stack([u, g, z, np.sqrt(z), u + 1.0 - 2.0 * g])
        zeros = tuple(np.zeros_like(u) for _ in range(5))
        ours = self.rows(points, zeros)[0]
        theirs = _Monomials(self.degree).rows(points, zeros)[0]
        return np.asarray(np.linalg.lstsq(theirs, ours, rcond=1e-15)[0], dtype=np.float64)

    def _nodes(self) -> tuple[Floats, Floats, Floats]:
        line = np.cos(np.pi * (np.arange(self.degree + 1) + 0.5) / (self.degree + 1))
        half = 0.5 + 0.5 * np.cos(np.pi * (np.arange(self.degree // 2 + 1) + 0.5) / (self.degree // 2 + 1))
        u, g, z = (v.ravel() for v in np.meshgrid(line, line, half, indexing="ij"))
        return u, g, z

    def rows(self, points: Floats, chain: tuple[Floats, ...]) -> list[Floats]:
        """The values (n, terms) and the derivatives by al, be and ga."""
        u, _, z, d, w = points
        by_u = _values(u, self.degree), _slopes(u, self.degree)
        by_w = _values(0.5 * w - 1.0, self.degree), 0.5 * _slopes(0.5 * w - 1.0, self.degree)
        by_z = _values(2.0 * z - 1.0, self.degree // 2), 2.0 * _slopes(2.0 * z - 1.0, self.degree // 2)
        w_part, z_part = by_w, by_z
        if self.alike:
            w_part = (_shifted(w[:, None] * by_w[0]), _shifted(by_w[0] + w[:, None] * by_w[1]))
        i, j, k = (np.array(axis) for axis in zip(*self.powers, strict=True))
        z_values, z_slopes = z_part[0][:, k], z_part[1][:, k]
        if self.alike:
            lone = j == 0
            factor = z[:, None]
            z_values[:, lone] = (factor * by_z[0])[:, k[lone] - 1]
            z_slopes[:, lone] = (by_z[0] + factor * by_z[1])[:, k[lone] - 1]
            w_part[0][:, 0], w_part[1][:, 0] = 1.0, 0.0
        u_values, u_slopes, w_values, w_slopes = (
            by_u[0][:, i],
            by_u[1][:, i],
            w_part[0][:, j],
            w_part[1][:, j],
        )
        value = u_values * w_values * z_values
        by_p = u_slopes * w_values * z_values
        of_w = u_values * w_slopes * z_values
        of_z = u_values * w_values * z_slopes * (2.0 * d)[:, None]
        return _chained(value, by_p + of_w + of_z, by_p + of_w - of_z, -2.0 * of_w, chain)


class _Monomials:
    """The terms of `spectral_icl.kernels.surrogate`."""

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self.powers: NDArray[np.int64] = np.array(terms(degree))

    def rows(self, points: Floats, chain: tuple[Floats, ...]) -> list[Floats]:
        """The values (n, terms) and the derivatives by al, be and ga."""
        u, g, z, d, _ = points
        k, j, i = self.powers.T

        def power(x: Floats, n: NDArray[np.int64]) -> Floats:
            return np.asarray(np.vander(x, self.degree + 1, increasing=True)[:, n], dtype=np.float64)

        def slope(x: Floats, n: NDArray[np.int64]) -> Floats:
            return n * power(x, np.maximum(n - 1, 0))

        value = power(u, i) * power(g, j) * power(z, k)
        of_u = slope(u, i) * power(g, j) * power(z, k)
        of_g = power(u, i) * slope(g, j) * power(z, k)
        of_z = power(u, i) * power(g, j) * slope(z, k) * (2.0 * d)[:, None]
        return _chained(value, of_u + of_z, of_u - of_z, of_g, chain)


def _chained(
    value: Floats, of_x: Floats, of_y: Floats, of_g: Floats, chain: tuple[Floats, ...]
) -> list[Floats]:
    """Values and derivatives by al, be and ga, from those by x, y and g."""
    x1, y1, e, ga, gb = (part[:, None] for part in chain)
    return [value, x1 * of_x + ga * of_g, y1 * of_y + gb * of_g, e * of_g]


def _values(x: Floats, degree: int) -> Floats:
    return np.asarray(chebyshev.chebvander(x, degree), dtype=np.float64)


def _slopes(x: Floats, degree: int) -> Floats:
    """Derivatives of Chebyshev polynomials, (n, degree + 1): n U_(n-1)."""
    found = np.zeros((x.size, degree + 1))
    other = np.zeros((x.size, degree + 2))
    other[:, 1] = 1.0
    for n in range(1, degree + 1):
        found[:, n] = n * other[:, n]
        other[:, n + 1] = 2.0 * x * other[:, n] - other[:, n - 1]
    return found


def _shifted(values: Floats) -> Floats:
    """Columns moved up by one, the first free."""
    moved = np.empty_like(values)
    moved[:, 1:] = values[:, :-1]
    moved[:, 0] = 0.0
    return moved
