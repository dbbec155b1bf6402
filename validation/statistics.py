"""Agreement of sampled means with a prediction, over thousands of entries that are not independent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from spectral_icl.io.checks import Floats

_FLIPS = 2000


class Agreement(NamedTuple):
    """A sampled vector beside its prediction.

    Attributes
    ----------
    z : ndarray, (P,)
        Differences over their standard errors.
    chi_square : float
        Sum of z^2.
    p : float
        Probability of a larger chi-square. Entries of one prompt are correlated, so this is no table's
        value: the batches' deviations from the prediction get random signs, which changes nothing if the
        prediction is their mean.
    p_normal : float
        The same for the Kolmogorov-Smirnov distance of z from N(0, 1).
    """

    z: Floats
    chi_square: float
    p: float
    p_normal: float


def agreement(batches: Floats, predicted: Floats, seed: int = 0) -> Agreement:
    """Means of M batches (M, P) against a prediction (P,)."""
    deviation = batches - predicted
    z = _scores(deviation)
    flipped_chi, flipped_distance = [], []
    rng = np.random.default_rng(seed)
    squares = (deviation**2).sum(axis=0)
    for _ in range(_FLIPS):
        mean = rng.choice((-1.0, 1.0), size=deviation.shape[0]) @ deviation / deviation.shape[0]
        spread = squares / deviation.shape[0] - mean**2
        scores = mean / np.sqrt(spread / (deviation.shape[0] - 1))
        flipped_chi.append((scores**2).sum())
        flipped_distance.append(_distance(scores))
    chi_square, distance = float((z**2).sum()), _distance(z)
    return Agreement(
        z=z,
        chi_square=chi_square,
        p=float((1 + np.sum(np.array(flipped_chi) >= chi_square)) / (_FLIPS + 1)),
        p_normal=float((1 + np.sum(np.array(flipped_distance) >= distance)) / (_FLIPS + 1)),
    )


def _scores(deviation: Floats) -> Floats:
    scores: Floats = deviation.mean(axis=0) / (deviation.std(axis=0, ddof=1) / np.sqrt(len(deviation)))
    return scores


def _distance(z: Floats) -> float:
    """Kolmogorov-Smirnov distance from the standard normal distribution."""
    ordered = stats.norm.cdf(np.sort(z))
    steps = np.arange(z.size + 1) / z.size
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
