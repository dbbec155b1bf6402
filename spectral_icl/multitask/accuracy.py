"""How far a law of the context is from softmax attention at given states: the first three laws of one series.

The loss is a series in 1/L whose coefficients depend on the state and the block sizes: the bias sum_b A_ib
R_ib^2, a noise term of order 1/L, and S / L^2. The first-order law has the first two; the asymptotic law has
them for infinite blocks. So the first-order law says how far off the asymptotic one is, and S how far off it
is itself. Per query, with alpha, beta and gamma the variances and the covariance of two heads' logits, the
overlap of their attention is

    (e^gamma / L) [1 + (e^alpha + e^beta + e^gamma - e^(alpha + gamma) - e^(beta + gamma) - 1) / L + ...],

from which S follows by the identities of Gaussian covariates, averaged over the query. It exists where
6 (kappa_b omega_hb)^2 < 1; beyond, and where its size says that the series is of no use, the bracket is taken
for one that does not diverge (`multitask.condensation`), and the estimate is what that leaves of the first
order. How good the estimates are, by the exact law, `benchmarks.guard` measures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, array, dimensions
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.model import Model
from spectral_icl.kernels.threads import one_thread
from spectral_icl.multitask.condensation import WEIGHT, condensed, spread
from spectral_icl.multitask.context import check_kernel, pack
from spectral_icl.multitask.exact.check import relative_errors
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import FINITE, State

_SERIES = 0.5  # relative size of S / L^2 up to which it is an estimate of what follows the first order
_SMALL = 0.05  # largest logit variance of small heads
# What condenses is uncertain by these parts of it, below and above: of 100 states 98 are between, or more, by
# `benchmarks.guard`.
_LESS, _MORE = 0.4, 0.35


class Terms(NamedTuple):
    """Parts of the loss of T states, summed over tasks, without query noise.

    Attributes
    ----------
    bias : ndarray, (T,)
        What is not read off, the same under every law.
    asymptotic, first_order : ndarray, (T,)
        The noise term under either law: all of the loss beside the bias. Infinite where it does not exist.
    over, under : ndarray, (T,)
        Estimates, not bounds, of how far the first-order noise term is above and below softmax attention's,
        in parts of that, which lies between first_order / (1 + over) and first_order / (1 - under) in 99 of
        100 states. Infinite where there is no telling; negative if it is on the other side.
    """

    bias: Floats
    asymptotic: Floats
    first_order: Floats
    over: Floats
    under: Floats

    @property
    def beyond(self) -> Floats:
        """Estimated relative error of the first-order noise term, (T,)."""
        return np.maximum(self.over, self.under)

    def noise(self, law: str) -> Floats:
        """The noise term under the law of that name."""
        known = {"asymptotic": self.asymptotic, "first-order": self.first_order}
        if check_kernel(law) not in known:
            raise ProblemError("kernel", law, "a law of the context with a known error")
        return known[check_kernel(law)]

    def noise_error(self, law: str) -> Floats:
        """Estimated relative error of the noise term under a law, (T,)."""
        return self._error(law, np.zeros_like(self.bias))

    def excess_error(self, law: str) -> Floats:
        """Estimated relative error of the excess, bias and noise term, under a law, (T,)."""
        return self._error(law, self.bias)

    def _error(self, law: str, beside: Floats) -> Floats:
        """The largest error of the noise term between the two ends, over that and what is ``beside`` it."""
        worst = np.zeros_like(self.bias)
        with np.errstate(all="ignore"):
            for factor in (1.0 + self.over, 1.0 - self.under):
                true = self.first_order / factor
                error = np.abs(self.noise(law) - true) / (beside + true)
                worst = np.maximum(worst, np.where((true > 0.0) & np.isfinite(factor), error, np.inf))
        worst = np.where(np.isnan(worst), np.inf, worst)
        silent = (self.asymptotic == 0.0) & (self.first_order == 0.0)  # no OV value: nothing but bias
        return np.where(silent, 0.0, worst)


def terms(problem: Problem, omega: ArrayLike, mu: ArrayLike) -> Terms:
    """The parts of the loss at states omega (T, H, B) and mu (T, H, I), or at one state.

    Raises
    ------
    ProblemError
        A shape does not fit or an entry is not finite.
    """
    return terms_at(problem, _checked(problem, omega, mu))


def terms_at(problem: Problem, states: State) -> Terms:
    """`terms` of states omega (T, H, B) and mu (T, H, I) that nobody gave, such as those of a flow."""
    # many small matrices; past the range of a law there are infinities, and meant
    with one_thread(), np.errstate(all="ignore"):
        return _Series(problem, *states).terms()


def excess_errors(problem: Problem, states: State, kernel: str) -> Floats:
    """Estimated relative errors (T,) of the excess under a law, at states omega (T, H, B) and mu (T, H, I).

    Of the exact law they are those of its table and its rule for the query.
    """
    return _excess_errors(pack(problem, kernel, states.omega), problem, states, kernel)


@singledispatch
def _excess_errors(model: Model, problem: Problem, states: State, kernel: str) -> Floats:
    return terms_at(problem, states).excess_error(kernel)


@_excess_errors.register
def _(model: Exact, problem: Problem, states: State, kernel: str) -> Floats:
    return relative_errors(problem, model, states)


def _checked(problem: Problem, omega: ArrayLike, mu: ArrayLike) -> State:
    """States (T, H, B) and (T, H, I); of one state alone T = 1."""
    one = dimensions(omega) == 2
    lead = () if one else (None,)
    checked = array("omega", omega, (*lead, None, problem.blocks), largest=FINITE)
    values = array("mu", mu, (*checked.shape[:-1], problem.tasks), largest=FINITE)
    return State(checked[None], values[None]) if one else State(checked, values)


def second_order(problem: Problem, omega: ArrayLike, mu: ArrayLike) -> Floats:
    """S of every task, (T, I), at states omega (T, H, B) and mu (T, H, I); infinite where there is none."""
    with np.errstate(all="ignore"):
        return _Series(problem, *_checked(problem, omega, mu)).second()[0]


class _Series:
    """The coefficients of the series in 1/L at T states.

    Means over the query of e^w rho and of lam o rho e^w rho, rho chi-squares of the blocks, are products over
    blocks.
    """

    def __init__(self, problem: Problem, omega: Floats, mu: Floats) -> None:
        self.signal = problem.signal
        self.sizes = np.asarray(problem.block_sizes, dtype=np.float64)
        self.variance = problem.variance
        self.length = problem.context_length
        self.v = np.asarray(problem.covariance) * omega
        self.mu = mu
        task, block = self.signal.task, self.signal.block
        read = np.zeros((len(mu), task.size))  # off by every task, in the blocks of its signal
        for h in range(mu.shape[1]):
            read += mu[:, h, task] * self.v[:, h, block]
        self.residual = 1.0 - read

    def power(self, w: Floats) -> Floats:
        """The mean of e^(w rho), (...), for w (..., B); infinite where it does not exist."""
        inside = 2.0 * w.max(axis=-1) < 1.0
        value = np.exp(-0.5 * (np.log1p(np.where(inside[..., None], -2.0 * w, 0.0)) @ self.sizes))
        return np.where(inside, value, np.inf)

    def moment(self, w: Floats, o: Floats) -> Floats:
        """The mean of sum_b A_ib o_b rho_b / d_b e^(w rho), (..., I)."""
        mean: Floats = self.power(w)[..., None] * self.signal.onto_tasks(o / (1.0 - 2.0 * w))
        return mean

    def terms(self) -> Terms:
        """All parts, by pairs of heads."""
        heads = self.v.shape[1]
        bias = self.residual**2 @ self.signal.power
        asymptotic, first, size = (np.zeros(len(bias)) for _ in range(3))
        missing = _Missing(*np.zeros((3, len(bias))))
        for h in range(heads):
            alpha = self.v[:, h] ** 2
            cross = 2.0 * self._cross(h, alpha)
            first += cross
            size += np.abs(cross)
            gamma, both = self._pairs(h)
            asymptotic += (np.exp(gamma @ self.sizes) * (both @ self.variance)).sum(axis=1)
            noise = self.power(gamma)[..., None] * self.variance + self.moment(gamma, gamma)
            pairs = (both * noise).sum(axis=2)
            first += pairs.sum(axis=1)
            size += (np.abs(both) * noise).sum(axis=(1, 2))
            of_pairs, of_cross = self._condensed(h, gamma)
            missing.add(pairs, of_pairs)
            missing.add(cross[:, None], of_cross[:, -1:])
        inside = (2.0 * self.v**2 < 1.0).all(axis=(1, 2))
        silent = (self.mu == 0.0).all(axis=(1, 2))
        missing = missing.over(first)
        first = np.where(inside, first / self.length, np.where(silent, 0.0, np.inf))
        second, second_size = (part.sum(axis=1) / self.length**2 for part in self.second())
        over, under = self._beyond(first, second, size / self.length, second_size, missing)
        over, under = (np.where(inside, side, np.inf) for side in (over, under))
        return Terms(bias, asymptotic / self.length, first, over, under)

    def _condensed(self, h: int, gamma: Floats) -> tuple[Floats, Floats]:
        """The parts of the noise of a head with those up to it, and of C, that are missing, (T, h + 1) each.

        Means over the queries, tilted by e^gamma, of the label's variance and of the signal's part, which is
        larger where logits are. That part has derivatives of the overlap by alpha, beta and gamma: it lacks
        four times as much to first order. C has the signal alone, and no derivative.
        """
        tilted = 1.0 / np.maximum(1.0 - 2.0 * gamma, 1e-300)
        own = self.v[:, h, None] ** 2 * tilted
        others = self.v[:, : h + 1] ** 2 * tilted
        one, other, both = (spread(values, self.sizes) for values in (own, others, gamma * tilted))
        signal = np.maximum(spread(gamma * tilted, self.signal.by_block(self.signal.power)), 0.0)
        lacking = condensed(one, other, both, self.length)
        of_signal = 1.0 - (1.0 - lacking) ** 4
        label = self.variance.sum()
        found: Floats = (label * lacking + signal * of_signal) @ WEIGHT / ((label + signal) @ WEIGHT)
        alone = (signal * lacking) @ WEIGHT / np.maximum(signal @ WEIGHT, 1e-300)
        return found, alone

    def second(self) -> tuple[Floats, Floats]:
        """S of every task, (T, I), infinite where there is none, and its size before its parts cancel."""
        total, size = np.zeros_like(self.mu[:, 0]), np.zeros_like(self.mu[:, 0])
        for part in self._second_parts():
            total += part.sum(axis=1)
            size += np.abs(part).sum(axis=1)
        inside = 6.0 * (self.v**2).max(axis=(1, 2)) < 1.0
        return np.where(inside[:, None], total, np.inf), size

    def _second_parts(self) -> Iterator[Floats]:
        """What S is the sum of, (T, ., I): of all heads, and of every head with those up to it."""
        alpha = self.v**2
        yield -2.0 * self.mu * self._bent(alpha, self.v)
        for h in range(self.v.shape[1]):
            gamma, both = self._pairs(h)
            yield both * self._curved(alpha[:, h, None], alpha[:, : h + 1], gamma)

    def _pairs(self, h: int) -> tuple[Floats, Floats]:
        """Products of a head's omega (T, h + 1, B) and mu (T, h + 1, I) with those of the heads up to it.

        Each pair counts for both of its orders.
        """
        both = 2.0 * self.mu[:, h, None] * self.mu[:, : h + 1]
        both[:, h] *= 0.5
        return self.v[:, h, None] * self.v[:, : h + 1], both

    def _cross(self, h: int, alpha: Floats) -> Floats:
        """The part of C, summed over tasks, that is the head's: twice this is of order 1/L in the loss."""
        drift = self.power(alpha)[:, None] * self.v[:, h] / (1.0 - 2.0 * alpha)
        strength = self.mu[:, h, self.signal.task] * drift[:, self.signal.block]
        part: Floats = (self.residual * strength) @ self.signal.power
        return part

    def _bent(self, alpha: Floats, o: Floats) -> Floats:
        """Order 1/L^2 of what heads read off along o, (..., I)."""
        moments = [self.moment(n * alpha, o) for n in (1, 2, 3)]
        return 2.0 * moments[2] - 3.0 * moments[1] + moments[0]

    def _curved(self, alpha: Floats, beta: Floats, gamma: Floats) -> Floats:
        """Order 1/L^2 of the mean product of what two heads output, (..., I)."""
        x, total = self.moment, np.zeros((*gamma.shape[:-1], len(self.variance)))
        for one in (alpha, beta):
            weight = self.power(one + gamma) - self.power(one + 2.0 * gamma)
            total += self.variance * weight[..., None] + self._bent(one, gamma)
            total += 2.0 * (x(one + gamma, one) - x(one + 2.0 * gamma, one))
            total += x(one + gamma, gamma) - 2.0 * x(one + 2.0 * gamma, gamma)
        weight = self.power(2.0 * gamma) - self.power(gamma)
        total += self.variance * weight[..., None] + x(alpha + beta, gamma)
        return total + 2.0 * x(2.0 * gamma, gamma) - x(gamma, gamma)

    def _beyond(
        self, first: Floats, second: Floats, size: Floats, second_size: Floats, missing: _Missing
    ) -> tuple[Floats, Floats]:
        """Estimates of how far the first-order noise term is above and below the true one, (T,) each.

        By the next term while that is small, on the side that it is on. For what follows there are the square
        of what condenses and a geometric series, of the sizes that terms have before their parts cancel:
        where the next term changes sign, what follows does not vanish. It is no bound there, but right to a
        percent or so. Else by what condenses, less and more by what that is uncertain by: then the true one
        is mostly below the first-order one, and ``under`` negative.
        """
        next_term = np.abs(second) / (first - np.abs(second))
        usable = np.isfinite(second) & (first > np.abs(second)) & (next_term < _SERIES)
        cancelled = np.where(first > 0.0, size / first, np.inf)
        rest = missing.squared + cancelled * np.where(size > 0.0, second_size / size, 0.0) ** 2
        rest = np.minimum(rest, self._rest_of_small_heads(first, second))
        usable &= rest < _SERIES
        above = np.where(second < 0.0, next_term, 0.0) + rest
        below = np.where(second > 0.0, next_term, 0.0) + rest
        most = missing.part + _MORE * missing.size
        least = missing.part - _LESS * missing.size
        most, least = (np.where(most < 1.0, part, np.nan) for part in (most, least))
        sides = [np.nan_to_num(part / (1.0 - part), nan=np.inf) for part in (most, least)]
        return np.where(usable, above, sides[0]), np.where(usable, below, -sides[1])

    def _rest_of_small_heads(self, first: Floats, second: Floats) -> Floats:
        """What follows S / L^2 where all heads are small, over the noise term; infinite where one is not.

        In the limit of small heads the series ends with -s d T^2 / L^2, however large the OV values that
        cancel. So what follows is about as much as S differs from that.
        """
        read = ((self.mu * self.variance) @ self.mu.swapaxes(1, 2)) * (
            (self.v * self.sizes) @ self.v.swapaxes(1, 2)
        )
        last = -read.sum(axis=(1, 2)) / self.length**2
        largest = (self.v**2 @ self.sizes).max(axis=1)
        rest = 2.0 * np.abs(second - last) / np.abs(first) + largest / self.length
        return np.where(largest <= _SMALL, rest, np.inf)


class _Missing(NamedTuple):
    """Parts of the first-order noise term that softmax attention lacks since it condenses on few pairs.

    ``part`` is signed, ``size`` and ``squared`` are of sizes before pairs of heads cancel; (T,) each.
    """

    part: Floats
    size: Floats
    squared: Floats

    def add(self, noise: Floats, lacking: Floats) -> None:
        """Add pairs of heads (T, P) with the parts of their noise that are missing."""
        self.part[:] += (noise * lacking).sum(axis=1)
        self.size[:] += np.abs(noise * lacking).sum(axis=1)
        self.squared[:] += np.abs(noise * lacking**2).sum(axis=1)

    def over(self, first: Floats) -> _Missing:
        """The same relative to the noise term."""
        return _Missing(*(np.where(first > 0.0, values / first, np.inf) for values in self))
