"""Where the laws in 1/L describe softmax attention: the exact loss over theirs, at given heads.

One task of d coordinates. Its heads are either one, or two of opposite sign that cancel, and their OV values
are the best under the asymptotic law, so that a ratio is that of two losses of the same weights. By
quadrature: nothing here comes from a table, or from a series.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, integer, number, numbers, sequence
from spectral_icl.io.progress import tracked
from spectral_icl.multitask.context import EXACT, check_kernel
from spectral_icl.multitask.exact.evaluate import enough, quadrature
from spectral_icl.multitask.exact.overlaps import MEDIUM
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.problem import LARGEST_BLOCK, Problem
from spectral_icl.multitask.signal import SMALLEST
from spectral_icl.multitask.state import State

LAWS = ("asymptotic", "first-order")  # in 1/L
LARGEST_SIZE = 32.0  # logit variance: beyond, a loss takes seconds


@dataclass(frozen=True, eq=False)
class Validity:
    """Losses of the same weights under three laws, over context lengths N, dimensions D and sizes S.

    The excess is the loss without query noise. All losses are in units of the label's own, as `Problem` has
    them.

    Attributes
    ----------
    lengths, dimensions, sizes : ndarray, (N,), (D,) and (S,)
        L, d, and the logit variance d omega^2 of every head.
    heads : int
        1, or 2 of opposite sign.
    signal, noise : float
        Variance of the label that the task explains, and that of its noise.
    omega : ndarray, (D, S)
        KQ value of the first head.
    mu : ndarray, (N, D, S)
        OV value of the first head; a second one has minus both.
    exact, asymptotic, first_order : ndarray, (N, D, S)
        The excess under each law. Infinite where a law does not exist: 2 omega^2 >= 1 of the first-order one.
    """

    lengths: Floats
    dimensions: Floats
    sizes: Floats
    heads: int
    signal: float
    noise: float
    omega: Floats
    mu: Floats
    exact: Floats
    asymptotic: Floats
    first_order: Floats

    def __post_init__(self) -> None:
        for values in vars(self).values():
            if isinstance(values, np.ndarray):
                values.setflags(write=False)

    def __reduce__(self) -> tuple[type[Validity], tuple[object, ...]]:
        """Pickle through the constructor, which makes the arrays read-only again."""
        return Validity, tuple(getattr(self, f.name) for f in fields(self))

    def excess(self, law: str) -> Floats:
        """The excess under the law of that name, (N, D, S).

        Raises
        ------
        ProblemError
            There is no such law.
        """
        return {EXACT: self.exact, "asymptotic": self.asymptotic, "first-order": self.first_order}[
            check_kernel(law)
        ]

    def over(self, law: str, totals: bool = False) -> Floats:
        """Exact excess over that of a law, (N, D, S), or with ``totals`` of losses with query noise.

        NaN where the law does not exist, or has no positive excess.
        """
        beside = self.noise if totals else 0.0
        unit = self.excess(law) + beside
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(np.isfinite(unit) & (unit > 0.0), (self.exact + beside) / unit, np.nan)

    def error(self, law: str, totals: bool = False) -> Floats:
        """Relative error of a law, |law / exact - 1|, (N, D, S); infinite where it does not exist."""
        beside = self.noise if totals else 0.0
        return np.asarray(np.abs(self.excess(law) - self.exact) / (self.exact + beside))


def validity_map(
    lengths: ArrayLike,
    dimensions: ArrayLike,
    sizes: ArrayLike,
    heads: int = 1,
    signal: float = 1.0,
    noise: float = 0.1,
) -> Validity:
    """How far the asymptotic and the first-order law are from softmax attention, over L, d and d omega^2.

    Parameters
    ----------
    lengths : array_like, (N,)
        Context lengths L >= 1.
    dimensions : array_like of int, (D,)
        Dimensions d >= 1 of the task.
    sizes : array_like, (S,)
        Logit variances d omega^2 of a head, > 0 and <= 32; 1 is the optimum of one head under the asymptotic
        law.
    heads : {1, 2}
        One head, or two of opposite sign, which are best when small.
    signal : float
        > 0. Signal power A of the task.
    noise : float
        >= 0. Variance sigma^2 of the label noise.

    Returns
    -------
    Validity

    Raises
    ------
    ProblemError
        Naming the argument, the value and what was expected.

    Notes
    -----
    The asymptotic law is that of Chen, Sheen, Wang and Yang (2024), the exact one the integrals of
    `exact.overlaps`, averaged over the query to about 1e-5 of the excess. A loss takes from 10 ms (d = 100)
    to 1 s (d = 1, L = 10), most where logits are large at many a query.

    Examples
    --------
    >>> found = validity_map([40.0], [5], [1.0])
    >>> round(100.0 * (found.over("asymptotic", totals=True)[0, 0, 0] - 1.0), 1)
    9.7
    """
    logits = tuple(
        number(f"sizes[{n}]", size, minimum=SMALLEST, maximum=LARGEST_SIZE)
        for n, size in enumerate(sequence("sizes", sizes, "numbers"))
    )
    axes = (*grid(lengths, dimensions), logits)
    if heads not in (1, 2):
        raise ProblemError("heads", heads, "1 or 2")
    signal = number("signal", signal, minimum=0.0, above=True)
    noise = number("noise", noise, minimum=0.0)
    cases = [
        (Problem(block_sizes=(d,), signal=((signal,),), noise=(noise,), context_length=length), size)
        for length, d, size in product(*axes)
    ]
    found = [_compared(*case, heads) for case in tracked(cases, len(cases), unit="losses")]
    shape = tuple(map(len, axes))
    mu, exact, asymptotic, first_order = np.array(found).T.reshape(4, *shape)
    many, dims, variances = map(np.asarray, axes)
    omega = np.sqrt(variances / dims[:, None])
    return Validity(many, dims, variances, heads, signal, noise, omega, mu, exact, asymptotic, first_order)


def grid(lengths: ArrayLike, dimensions: ArrayLike) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Context lengths and dimensions of a task, checked."""
    dims = tuple(
        integer(f"dimensions[{n}]", d, minimum=1, maximum=LARGEST_BLOCK)
        for n, d in enumerate(sequence("dimensions", dimensions, "whole numbers"))
    )
    return numbers("lengths", lengths, minimum=1.0), dims


def _compared(problem: Problem, size: float, heads: int) -> tuple[float, float, float, float]:
    """OV value of the first head, and the excess under the three laws."""
    at = _state(problem, size, heads)
    noise = problem.noise[0]
    exact = float(quadrature(problem, at, 0, enough(problem, at.omega), MEDIUM)[0][0])
    asymptotic, first = (float(losses_at(problem, at, law)[0]) for law in LAWS)
    return float(at.mu[0, 0]), exact - noise, asymptotic - noise, first - noise


def _state(problem: Problem, size: float, heads: int) -> State:
    """One head or two of opposite sign, whose OV values are the best under the asymptotic law.

    The read-off of both is added, and of their noise e^(d omega^2) - e^(-d omega^2) is left.
    """
    signal, variance = problem.signal[0][0], float(problem.variance[0])
    omega = np.sqrt(size / problem.block_sizes[0])
    noise = np.exp(size) if heads == 1 else 2.0 * np.sinh(size)
    mu = signal * omega / (heads * signal * omega**2 + variance * noise / problem.context_length)
    signs = np.array([[1.0], [-1.0]])[:heads]
    return State(omega * signs, mu * signs)
