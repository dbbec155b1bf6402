"""Agreement of sampled means with a prediction, over thousands of entries that are not independent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

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
        Probability of a larger Kolmogorov-Smirnov distance of z from N(0, 1), by the same flips.
    """

    z: Floats
    chi_square: float
    p: float
    p_normal: float


def agreement(batches: Floats, predicted: Floats, seed: int = 0) -> Agreement:
    """Means of M batches (M, P) against a prediction (P,)."""
    deviation = batches - predicted
    z = _scores(deviation)
    count = deviation.shape[0]
    rng = np.random.default_rng(seed)
    # one product per flip: those of many at a time would round differently
    mean = np.array([rng.choice((-1.0, 1.0), size=count) @ deviation for _ in range(_FLIPS)]) / count
    spread = (deviation**2).sum(axis=0) / count - mean**2
    scores = mean / np.sqrt(spread / (count - 1))
    flipped_chi, flipped_distance = (scores**2).sum(axis=1), _distance(scores)
    chi_square, distance = float((z**2).sum()), _distance(z)
    return Agreement(
        z=z,
        chi_square=chi_square,
        p=float((1 + np.sum(flipped_chi >= chi_square)) / (_FLIPS + 1)),
        p_normal=float((1 + np.sum(flipped_distance >= distance)) / (_FLIPS + 1)),
    )


def _scores(deviation: Floats) -> Floats:
    """Means over the batches, in standard errors."""
    scores: Floats = deviation.mean(axis=0) / (deviation.std(axis=0, ddof=1) / np.sqrt(len(deviation)))
    return scores


def _distance(z: Floats) -> Floats:
    """Kolmogorov-Smirnov distance from the standard normal distribution, along the last axis."""
    ordered = special.ndtr(np.sort(z, axis=-1))
    steps = np.arange(z.shape[-1] + 1) / z.shape[-1]
    distance: Floats = np.maximum((steps[1:] - ordered).max(axis=-1), (ordered - steps[:-1]).max(axis=-1))
    return distance
