"""What a prompt's labels say of it: the exact law of r and Shat given y, for any covariance.

Given y, every row x_i is N(Sigma w y_i/tau^2, C) with C = Sigma - Sigma w w' Sigma/tau^2 and tau^2 =
w' Sigma w + noise. So, with y2 = |y|^2, the correlations are r = X'y/n = Sigma w y2/(n tau^2) +
sqrt(y2)/n xi, xi ~ N(0, C), and the sample covariance is Shat = (n/y2) r r' + G'G/n, where the n - 1 rows of
G are N(0, C) and independent of r and y2: a spike that is known and a Wishart matrix that is not. Derived in
``theory/sparse/given_labels.py`` and ``law.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, array, integer, number
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse.covariance import applied, coloured, covariance, covariance_root
from spectral_icl.sparse.problem import check_length
from spectral_icl.sparse.rng import Random, generator


class LabelStatistics(NamedTuple):
    """The two statistics through which the labels of a prompt enter, or of many prompts.

    Attributes
    ----------
    r : ndarray, (..., d)
        X'y/n.
    y2 : ndarray, (...)
        |y|^2.
    """

    r: Floats
    y2: Floats


@renamed(s2="noise", size="prompts")
def sample_r(
    w: ArrayLike,
    Sigma: ArrayLike | None,
    noise: float,
    n: int,
    rng: Random = None,
    prompts: int | None = None,
) -> LabelStatistics:
    """Label statistics r and |y|^2, drawn by their exact law without drawing prompts.

    Parameters
    ----------
    w : array_like, (d,)
    Sigma : array_like, (d,) or (d, d), optional
        Covariance of the features, or its diagonal; the identity by default.
    noise : float
        Variance of the label noise.
    n : int
        Context pairs.
    rng : Generator or int, optional
    prompts : int, optional
        How many prompts to draw them for; without it for one, with r of shape (d,) and y2 a number.

    Returns
    -------
    LabelStatistics

    Raises
    ------
    ProblemError
        An argument is malformed.
    """
    weights = array("w", w, (None,))
    count = 1 if prompts is None else integer("prompts", prompts, minimum=1, maximum=10**9)
    uniform = generator(rng).random((count, weights.size + 2))
    found = transformed(uniform, weights, Sigma, noise, n)
    return found if prompts is not None else LabelStatistics(found.r[0], found.y2[0])


def transformed(uniform: Floats, w: Floats, Sigma: ArrayLike | None, noise: float, n: int) -> LabelStatistics:
    """Label statistics (N, d) and (N,) made of points (N, 2 + d) of the unit cube, however these are drawn.

    The first two coordinates are for the noise and for |y|^2, the others for a feature each. ``w`` is (d,) or
    (N, d).
    """
    from scipy.special import gammaincinv, ndtri  # slow to import

    n, noise = check_length(n), number("noise", noise, minimum=0.0)
    d = w.shape[-1]
    root, matrix = covariance_root(Sigma, d), covariance(Sigma, d)
    g = coloured(ndtri(uniform[:, 2:]), root)
    shown = applied(matrix, w)  # Sigma w
    tau2 = (w * shown).sum(axis=-1) + noise
    if not (tau2 > 0.0).all():
        raise ProblemError("w", 0.0, "a weight that is not 0, or noise")
    label = (g * w).sum(axis=-1) + np.sqrt(noise) * ndtri(uniform[:, 0])
    xi = g - shown * (label / tau2)[:, None]
    y2 = tau2 * 2.0 * gammaincinv(0.5 * n, uniform[:, 1])
    r = shown * (y2 / (n * tau2))[:, None] + (np.sqrt(y2) / n)[:, None] * xi
    return LabelStatistics(r, y2)


def sample_shat(
    r: Floats, y2: Floats, w: Floats, Sigma: ArrayLike | None, noise: float, n: int, rng: Random = None
) -> Floats:
    """Sample covariances Shat (N, d, d), drawn given r (N, d) and |y|^2 (N,)."""
    n, noise = check_length(n), number("noise", noise, minimum=0.0)
    d = r.shape[-1]
    root, matrix = covariance_root(Sigma, d), covariance(Sigma, d)
    draws = generator(rng)
    g = coloured(draws.standard_normal((len(r), n - 1, d)), root)
    weights = np.broadcast_to(w, r.shape)
    shown = applied(matrix, weights)
    tau2 = (weights * shown).sum(axis=-1) + noise
    label = (g @ weights[:, :, None])[:, :, 0] + np.sqrt(noise) * draws.standard_normal((len(r), n - 1))
    G = g - shown[:, None] * (label / tau2[:, None])[:, :, None]
    spike = (n / y2)[:, None, None] * r[:, :, None] * r[:, None]
    found: Floats = spike + np.swapaxes(G, -1, -2) @ G / n
    return found
