"""Spectral filters: what an optimizer makes of an eigenvalue, as f with beta = f(M) b.

Every filter has its limit at an eigenvalue 0, loses no digits beside it, and takes complex numbers too.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import LARGEST, Floats, ProblemError, floats, integer, is_number, number, sequence
from spectral_icl.io.renamed import renamed

Spectrum = NDArray[Any]  # eigenvalues, or points of the complex plane

STABLE = 2.0  # eta times the largest eigenvalue, from which on gradient descent diverges
RANK = 1e-12  # of the largest eigenvalue, below which one counts as 0
_UNDERFLOWS = 1e-290  # a product below which has lost digits
_SMALL = 1e-6  # |a z| below which (1 - e^{-az})/z is its series


@dataclass(frozen=True, eq=False)
class Flow:
    """Gradient flow, stopped at times T: f(z) = (1 - exp(-T z))/z.

    Attributes
    ----------
    times : ndarray, (J,)
    """

    times: Floats

    @renamed(T="times")
    def __init__(self, times: ArrayLike) -> None:
        values = np.atleast_1d(floats("times", times))
        if values.ndim != 1 or values.size == 0 or not ((values >= 0.0) & (values <= LARGEST)).all():
            raise ProblemError("times", times, f"times >= 0 and <= {LARGEST:g}")
        object.__setattr__(self, "times", values)

    @property
    def T(self) -> Floats:
        """The times, by the name they had; for one more release."""
        warnings.warn("Flow.T is called Flow.times now", DeprecationWarning, stacklevel=2)
        return self.times

    def __call__(self, z: Spectrum) -> Spectrum:
        """Values f(z) (..., J, K) of the J filters at the K points ``z`` (..., K)."""
        return _exponential(self.times[:, None], np.asarray(z)[..., None, :])


@dataclass(frozen=True, eq=False)
class Steps:
    """Gradient descent with step eta after the numbers of steps t: f(z) = (1 - (1 - eta z)^t)/z.

    Attributes
    ----------
    eta : float
    t : ndarray of int, (J,)
    """

    eta: float
    t: NDArray[np.int64]

    def __init__(self, eta: float, t: ArrayLike) -> None:
        several = [t] if is_number(t) else sequence("t", t, "numbers of steps")
        steps = [integer("t", x, minimum=0, maximum=10**6) for x in several]
        object.__setattr__(self, "eta", number("eta", eta, minimum=0.0, above=True))
        object.__setattr__(self, "t", np.array(steps, dtype=np.int64))

    def __call__(self, z: Spectrum) -> Spectrum:
        """Values f(z) (..., J, K) of the J filters at the K points ``z`` (..., K)."""
        at = np.asarray(z)[..., None, :]
        shrink = 1.0 - self.eta * at
        # log1p keeps the digits that 1 - (1 - eta z)^t loses, where the logarithm is that of a number near 1
        near = np.abs(self.eta * at) < 0.5
        rate = -_log1p(np.where(near, -self.eta * at, 0.0)) / self.eta
        slow = _exponential(self.t[:, None] * self.eta, rate) * _ratio(rate, at, self.eta)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            fast = (1.0 - shrink ** self.t[:, None]) / np.where(near, 1.0, at)
        return np.where(near, slow, fast)


Filters = Flow | Steps


def ridge(penalty: ArrayLike, z: Spectrum) -> Spectrum:
    """Values 1/(z + penalty) (..., J, K) of ridge regression for penalties (J,) at ``z`` (..., K)."""
    return 1.0 / (np.asarray(z)[..., None, :] + np.asarray(penalty, dtype=np.float64)[:, None])


def least_squares(z: Floats) -> Floats:
    """Values 1/z (..., K) of least squares at eigenvalues ``z`` (..., K), and 0 where one counts as 0."""
    kept = z > RANK * z.max(axis=-1, keepdims=True)
    return np.where(kept, 1.0 / np.where(kept, z, 1.0), 0.0)


def _exponential(time: NDArray[Any], z: Spectrum) -> Spectrum:
    """(1 - exp(-time z))/z, and its limit ``time`` at z = 0."""
    small = np.abs(time * z) < _SMALL
    safe = np.where(z == 0.0, 1.0, z)
    return np.where(small, time * (1.0 - 0.5 * time * z), -np.expm1(-time * z) / safe)


def _log1p(z: Spectrum) -> Spectrum:
    """log(1 + z) with the digits that NumPy's log1p loses at complex z near 0."""
    if not np.iscomplexobj(z):
        return np.log1p(z)
    found: Spectrum = 0.5 * np.log1p(2.0 * z.real + np.abs(z) ** 2) + 1j * np.arctan2(z.imag, 1.0 + z.real)
    return found


def _ratio(rate: Spectrum, z: Spectrum, eta: float) -> Spectrum:
    """rate/z, and its limit 1 at z = 0, also where eta z loses its digits to underflow."""
    at_limit = np.abs(eta * z) < _UNDERFLOWS
    return np.where(at_limit, 1.0, rate / np.where(at_limit, 1.0, z))
