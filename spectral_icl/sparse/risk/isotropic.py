"""Expected excess risks of everything but preprocess-then-optimize, for an isotropic design.

Risks are E (prediction - <w, x_q>)^2, of the target without noise. In formulas v is the signal |w|^2 and
s2 the noise, the variance of what is added to labels. Where a risk is called exact it is so for every d and
n; others are exact expectations up to the Marchenko-Pastur functional that stands for the mean over
eigenvalues (`spectrum.mp_functional`), and mostly within 1 %. They are NaN where single eigenvalues at the
lower edge decide: for nearly square designs with little noise or long flows, and for very few features or
pairs. Without noise the best of ridge and least squares are exact everywhere: what prompts do not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import LARGEST, Floats, ProblemError, floats, number
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse.filters import Filters, Flow, Steps
from spectral_icl.sparse.problem import check_powers, check_sizes
from spectral_icl.sparse.risk.spectrum import mp_functional, upper_edge

_SPACINGS = 5.0  # of the least eigenvalues of a square design, over which a filter has to be smooth


class Optimum(NamedTuple):
    """Best ridge penalty ``lam``, and the risk at it."""

    lam: float
    risk: float


@renamed(v="signal", s2="noise", T="times")
def gd_risk(
    d: int,
    n: int,
    signal: float,
    noise: float,
    eta: float | None = None,
    t: int | Sequence[int] | NDArray[np.int64] | None = None,
    *,
    times: ArrayLike | None = None,
) -> Floats:
    """Risk of gradient descent from 0 on a prompt's least squares, or of the flow.

    Over an eigenvalue l of Shat it is (v/d) (1 - l f(l))^2 + (s2/n) l f(l)^2 with the filter f of t steps or
    of time T, summed over the d eigenvalues.

    Parameters
    ----------
    d, n : int
    signal, noise : float
        v = |w|^2, and s2, the variance of the label noise.
    eta : float, optional
        Step, below 2 over the upper edge of the spectrum.
    t : int or sequence of int, optional
        Steps; with ``eta``.
    times : float or array_like (J,), optional
        Time or times T of the flow; alone.

    Returns
    -------
    ndarray, (J,), or () if ``t`` or ``times`` is one number

    Raises
    ------
    ProblemError
        An argument is malformed, or ``eta`` is past stability.
    """
    d, n, v, s2 = _checked(d, n, signal, noise)
    if (times is None) == (eta is None) or (eta is None) != (t is None):
        raise ProblemError("times", times, "eta and t, or times alone")
    optimizer: Filters
    if times is not None:
        optimizer, one = Flow(times), np.ndim(times) == 0
    else:
        assert eta is not None
        assert t is not None
        optimizer, one = Steps(eta, t), np.ndim(t) == 0
        limit = 2.0 / upper_edge(d, n)
        if optimizer.eta >= limit:
            expected = f"a step below {limit:.6g}, the edge of stability 2/(1 + sqrt(d/n))^2"
            raise ProblemError("eta", eta, expected)

    def at(z: Floats) -> Floats:
        f = optimizer(z)
        values: Floats = (v / d) * (1.0 - z * f) ** 2 + (s2 / n) * z * f**2
        return values

    elapsed = optimizer.times if isinstance(optimizer, Flow) else optimizer.eta * optimizer.t
    smooth = _resolved(d, n, 0.5 / np.maximum(elapsed, 1e-300))
    found = np.where(smooth, mp_functional(at, d, n), np.nan)
    return found[0] if one else found


@renamed(v="signal", s2="noise")
def ridge_risk(d: int, n: int, signal: float, noise: float, lam: ArrayLike) -> Floats:
    """Risk of ridge regression, |y - X beta|^2/n + lam |beta|^2, for penalties ``lam`` > 0.

    Returns
    -------
    ndarray, of the shape of ``lam``
    """
    d, n, v, s2 = _checked(d, n, signal, noise)
    penalty = floats("lam", lam)
    if not ((penalty > 0.0) & (penalty <= LARGEST)).all():
        raise ProblemError("lam", lam, f"penalties > 0 and <= {LARGEST:g}")

    def at(z: Floats) -> Floats:
        lagging = penalty[..., None] / (z + penalty[..., None])  # 1 - z f(z), for the smallest penalty too
        fitted = z / (z + penalty[..., None])
        values: Floats = (v / d) * lagging**2 + (s2 / n) * fitted / (z + penalty[..., None])
        return values

    return np.where(_resolved(d, n, penalty), mp_functional(at, d, n), np.nan)


@renamed(v="signal", s2="noise")
def ridge_opt_risk(d: int, n: int, signal: float, noise: float) -> Optimum:
    """Best ridge penalty s2 d/(n v), exact for every d and n, and the risk at it.

    No spectral filter has a smaller risk, gradient descent of any step and length included: at this penalty
    the risk is the least at each eigenvalue by itself.
    """
    d, n, v, s2 = _checked(d, n, signal, noise)
    lam = s2 * d / (n * v)
    if lam == 0.0:  # what is left are the directions that the prompt does not show
        return Optimum(0.0, _hidden(d, n, v))
    if not _resolved(d, n, lam):
        return Optimum(lam, float("nan"))
    return Optimum(lam, float(mp_functional(lambda z: (v / d) * lam / (z + lam), d, n)))


def ridge_opt_limit(g: float, signal: float, noise: float) -> float:
    """The risk at the best penalty for d, n to infinity, d/n = g: Marchenko and Pastur's, in closed form."""
    ratio = number("g", g, minimum=1.0 / LARGEST)
    v, s2 = check_powers(signal, noise)
    lam = s2 * ratio / v
    root = np.sqrt((1.0 - ratio + lam) ** 2 + 4.0 * ratio * lam)
    # of the difference root - (1 - g + lam), without its cancellation
    edge = 1.0 - ratio + lam
    gap = 4.0 * ratio * lam / (root + edge) if edge > 0.0 else root - edge
    return float(v / (2.0 * ratio) * gap)


@renamed(v="signal", s2="noise")
def spectral_lower_bound(d: int, n: int, signal: float, noise: float) -> float:
    """Risk that no spectral filter goes below, ridge and gradient descent included: exact for every d and n.

    The larger of s2 d v/(n v + s2 d), by Jensen's inequality from the best ridge risk, and v (1 - n/d), the
    weight in directions that the prompt does not show.
    """
    d, n, v, s2 = _checked(d, n, signal, noise)
    return max(s2 * d * v / (n * v + s2 * d), _hidden(d, n, v))


@renamed(v="signal", s2="noise")
def ols_risk(d: int, n: int, signal: float, noise: float) -> float:
    """Risk of least squares, of smallest norm if d > n; exact.

    With noise it is infinite for |n - d| <= 1, where the least eigenvalue is too often next to 0.
    """
    d, n, v, s2 = _checked(d, n, signal, noise)
    hidden = _hidden(d, n, v)
    if s2 == 0.0:
        return hidden
    return hidden + s2 * min(d, n) / (abs(n - d) - 1) if abs(n - d) > 1 else float("inf")


@renamed(s2="noise")
def oracle_risk(s: int, n: int, noise: float, signal: float = 1.0) -> float:
    """Risk of least squares on the true support, s2 s/(n - s - 1) for n > s + 1; exact.

    It is `ols_risk` for d = s; the signal plays a part for n < s alone, with too few pairs for the support.
    """
    _, s, n = check_sizes(s, s, n)
    return ols_risk(s, n, signal, noise)


@renamed(v="signal", s2="noise")
def one_step_risk(d: int, n: int, signal: float, noise: float) -> float:
    """Risk v (1 - 1/a) of one gradient step of the best size 1/a, a = 1 + (d + 1)/n + s2 d/(n v); exact."""
    d, n, v, s2 = _checked(d, n, signal, noise)
    return v * (1.0 - 1.0 / one_step_scale(d, n, v, s2))


def one_step_scale(d: int, n: int, signal: float, noise: float) -> float:
    """One over the best size of a single gradient step, a = 1 + (d + 1)/n + s2 d/(n v)."""
    d, n, v, s2 = _checked(d, n, signal, noise)
    return 1.0 + (d + 1) / n + s2 * d / (n * v)


def _resolved(d: int, n: int, scale: ArrayLike) -> NDArray[np.bool_]:
    """Whether a function that varies over ``scale`` near 0 is blind to single eigenvalues at the lower edge.

    These have a law of their own, which the functional does not know: it is inaccurate where the edge and the
    scale together are below a few of the spacings, 1/min(d, n)^2 in a square design.
    """
    p, large = min(d, n), max(d, n)
    stretch = max(1.0, d / n)
    edge = stretch * (1.0 - np.sqrt(p / large)) ** 2
    found: NDArray[np.bool_] = np.asarray(edge + np.asarray(scale) >= _SPACINGS * stretch / p**2)
    return found


def _hidden(d: int, n: int, v: float) -> float:
    """The part v (1 - n/d) of the signal in directions that n < d pairs do not show; 0 for n >= d."""
    return v * max(0.0, 1.0 - n / d)


def _checked(d: int, n: int, signal: float, noise: float) -> tuple[int, int, float, float]:
    """Sizes, signal and noise, checked: d, n, v and s2 of the formulas."""
    d, _, n = check_sizes(d, 1, n)
    return d, n, *check_powers(signal, noise)
