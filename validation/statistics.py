"""Probabilities of chance: of estimates from few groups, of many correlated entries, of several claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

from spectral_icl.io.checks import Floats

_FLIPS = 2000
_BEYOND = 0.2  # share of the flips' distances from which the tail beyond all of them is extrapolated
_LARGEST = 3  # eigenvalues of the correlations that are taken one by one
_LITTLE = 1e-3  # of the variance, or skewness, that is as good as none
_CENTRAL = 0.2  # standard deviations about the mean, between whose ends a tail is interpolated
_FARTHEST = 1e9  # of the nearest pole


class Estimate(NamedTuple):
    """A sampled number, its standard error, and the degrees of freedom that the error was estimated with."""

    value: float
    error: float
    freedom: float = np.inf

    @classmethod
    def of(cls, values: Floats) -> Estimate:
        """The mean of independent values (N,)."""
        values = np.asarray(values, dtype=np.float64)
        if values.size == 0:
            return cls(np.nan, np.nan, 1.0)
        error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
        return cls(float(values.mean()), float(error), max(1.0, values.size - 1.0))

    def __str__(self) -> str:
        return f"{self.value:.5g} +- {self.error:.1g}"


def combined(*parts: tuple[float, Estimate]) -> Estimate:
    """Sum of independent estimates times factors, with the degrees of freedom of Welch and Satterthwaite."""
    value = sum(factor * one.value for factor, one in parts)
    squares = [(factor * one.error) ** 2 for factor, one in parts]
    total = sum(squares)
    shares = sum(square**2 / one.freedom for square, (_, one) in zip(squares, parts, strict=True))
    return Estimate(value, float(np.sqrt(total)), float(total**2 / shares) if shares > 0.0 else np.inf)


def beyond(score: float, freedom: float = np.inf) -> float:
    """Probability that Student's t of so many degrees of freedom is above a score; NaN of NaN."""
    return float(stats.norm.sf(score) if np.isinf(freedom) else stats.t.sf(score, freedom))


def apart(score: float, freedom: float = np.inf) -> float:
    """Probability that Student's t is further from zero than a score."""
    return 2.0 * beyond(abs(score), freedom)


def holm(p_values: Sequence[float], level: float) -> list[float]:
    """The level at which each of several p-values is judged, so that by chance any is below with ``level``.

    Holm's: the smallest of n at ``level`` / n, the next at ``level`` / (n - 1), and so on while each is below
    its own; from the first that is not, the level of that one holds.
    """
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    levels, rejecting = [level] * len(p_values), True
    at = level / max(1, len(p_values))
    for rank, k in enumerate(order):
        if rejecting:
            at = level / (len(order) - rank)
            rejecting = p_values[k] <= at
        levels[k] = at
    return levels


class Agreement(NamedTuple):
    """A sampled vector beside its prediction.

    Attributes
    ----------
    z : ndarray, (P,)
        Sums of the batches' deviations from the prediction over the root of the sums of their squares.
    chi_square : float
        Sum of z^2; P on average.
    p : float
        Probability of a larger chi-square. Entries of one prompt are correlated, so this is no table's
        value: the deviations get random signs, which changes nothing if the prediction is their mean. Its
        cumulants over all signs are known in closed form, and so is its tail (`squares_tail`).
    distance : float
        Kolmogorov-Smirnov distance of z from N(0, 1).
    p_normal : float
        Probability of a larger one: by signs that are drawn, and beyond most of them by a tail that falls
        exponentially with the square of the distance.
    """

    z: Floats
    chi_square: float
    p: float
    distance: float
    p_normal: float


def agreement(batches: Floats, predicted: Floats, rng: np.random.Generator | None = None) -> Agreement:
    """Means of M batches (M, P) against a prediction (P,); ``rng`` draws the signs."""
    deviation = batches - predicted
    unit = deviation / np.sqrt((deviation**2).sum(axis=0))
    z = unit.sum(axis=0)
    chi_square = float((z**2).sum())
    rng = np.random.default_rng(0) if rng is None else rng
    signs = rng.choice((-1.0, 1.0), size=(_FLIPS, len(unit)))
    flipped = np.concatenate([_distance(part @ unit) for part in np.array_split(signs, 10)])
    distance = float(_distance(z))
    return Agreement(z, chi_square, _flipped_tail(unit, chi_square), distance, _tail(flipped, distance))


def share(batches: Floats, right: Floats, wrong: Floats) -> Estimate:
    """How much of the way from a wrong prediction to the right one the mean of batches (M, P) has come.

    1 if the right one is true and 0 if the wrong one is; weights are the inverse of the entries' variance.
    """
    step = (right - wrong) / batches.var(axis=0, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Estimate.of((batches - wrong) @ step / (step @ (right - wrong)))


def _flipped_tail(unit: Floats, chi_square: float) -> float:
    """Probability of a larger sum of squares if rows of (M, P), columns of length 1, had random signs."""
    overlaps = unit @ unit.T
    mean = float(np.trace(overlaps))
    np.fill_diagonal(overlaps, 0.0)
    variance = 2.0 * float((overlaps**2).sum())
    third = 8.0 * float(((overlaps @ overlaps) * overlaps).sum())
    largest: Floats = np.linalg.eigvalsh(overlaps)[-_LARGEST:].astype(np.float64)
    return squares_tail(chi_square, mean, variance, third, largest)


def squares_tail(value: float, mean: float, variance: float, third: float, largest: Floats) -> float:
    """Probability that a sum of squares of correlated normal numbers is above a value.

    Such a sum is one of independent squares times the eigenvalues of the correlations. The ``largest`` of
    these rule the tail, and are taken one by one; all others together are a scaled and shifted chi-square,
    by what is left to them of the ``mean``, the ``variance`` and the ``third`` cumulant. The tail of the sum
    is by the saddle point of its cumulants (Lugannani and Rice).
    """
    ones = np.maximum(largest, 0.0)
    left = max(variance - 2.0 * float((ones**2).sum()), _LITTLE * variance)
    skewed = max(third - 8.0 * float((ones**3).sum()), _LITTLE * left**1.5)
    scale, freedom = skewed / (4.0 * left), 8.0 * left**3 / skewed**2
    scales, freedoms = np.append(ones, scale), np.append(np.ones_like(ones), freedom)
    shift = mean - float(scales @ freedoms)

    sum_ = _Sum(scales, freedoms, shift)
    if not np.isfinite(value):
        return float("nan")
    near = mean + _CENTRAL * np.sqrt(variance) * np.array([-1.0, 1.0])
    if near[0] < value < near[1]:  # where the saddle point is at zero
        return float(np.interp(value, near, [sum_.above(end) for end in near]))
    return sum_.above(value)


class _Sum(NamedTuple):
    """Independent chi-squares (K,) of so many degrees of freedom, times scales, and a shift."""

    scales: Floats
    freedoms: Floats
    shift: float

    def above(self, value: float) -> float:
        """Probability of more than a value that is not the mean."""
        least = 0.5 / self.scales.max()
        low, high = -least, least * (1.0 - 1e-12)
        while self._slope(low) > value:
            low *= 2.0
            if low < -_FARTHEST * least:  # nothing is as small
                return 1.0
        s = float(optimize.brentq(lambda at: self._slope(at) - value, low, high))
        rest = 1.0 - 2.0 * s * self.scales
        total = self.shift * s - 0.5 * float((self.freedoms * np.log(rest)).sum())
        w = np.sign(s) * np.sqrt(max(2.0 * (s * value - total), 0.0))
        u = s * np.sqrt(float((2.0 * self.freedoms * self.scales**2 / rest**2).sum()))
        tail = stats.norm.sf(w) + stats.norm.pdf(w) * (1.0 / u - 1.0 / w)
        return float(np.clip(tail, 0.0, 1.0))

    def _slope(self, s: float) -> float:
        """Derivative of the cumulants' generating function."""
        return self.shift + float((self.freedoms * self.scales / (1.0 - 2.0 * s * self.scales)).sum())


def _tail(drawn: Floats, value: float) -> float:
    """Probability of more than a value: counted among drawn ones, or beyond most of them extrapolated."""
    edge = float(np.quantile(drawn, 1.0 - _BEYOND))
    if not value > edge:
        return float((1 + np.sum(drawn >= value)) / (drawn.size + 1)) if np.isfinite(value) else np.nan
    scale = float((drawn[drawn > edge] ** 2 - edge**2).mean())
    return _BEYOND * float(np.exp(-(value**2 - edge**2) / scale))


def _distance(z: Floats) -> Floats:
    """Kolmogorov-Smirnov distance from the standard normal distribution, along the last axis."""
    ordered = special.ndtr(np.sort(z, axis=-1))
    steps = np.arange(z.shape[-1] + 1) / z.shape[-1]
    distance: Floats = np.maximum((steps[1:] - ordered).max(axis=-1), (ordered - steps[:-1]).max(axis=-1))
    return distance
