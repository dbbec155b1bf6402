"""How a flow may be asked for, and how it may end: options with their bounds, outcomes, counts of work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import (
    LARGEST,
    Floats,
    ProblemError,
    array,
    floats,
    integer,
    is_number,
    number,
    single,
)
from spectral_icl.kernels import model as kernels
from spectral_icl.kernels.model import ManyLimits
from spectral_icl.multitask.problem import Problem

# Bounds of t_end, rtol and max_steps.
SHORTEST, LONGEST = 1e-200, 1e100
TIGHTEST, LOOSEST = 1e-13, 0.1
MOST_STEPS = 10**9

MOST_ENTRIES = 256  # H (B + I) of a stochastic flow: covariances are that squared
_MOST_DESCENT_STEPS = 5_000_000
_MOST_PATHS = 100_000

_END = f"a number >= {SHORTEST:g} and <= {LONGEST:g}, or infinity with stationary"
_RTOL = f"a number >= {TIGHTEST:g} and <= {LOOSEST:g}"


class Outcome(IntEnum):
    """How an integration ended. The text says what to try."""

    REACHED_END = kernels.REACHED_END
    STATIONARY = kernels.STATIONARY
    STEP_LIMIT = kernels.STEP_LIMIT
    STEP_UNDERFLOW = kernels.STEP_UNDERFLOW
    OVERFLOW = kernels.OVERFLOW
    NON_FINITE = kernels.NON_FINITE
    LEFT_RANGE = kernels.LEFT_RANGE
    NOT_AT_REST = kernels.NOT_AT_REST

    @property
    def success(self) -> bool:
        """Whether the flow was solved to its end or to rest."""
        return self in (Outcome.REACHED_END, Outcome.STATIONARY)

    @property
    def advice(self) -> str:
        """What happened and what to try."""
        return _ADVICE[self]


_ADVICE = {
    Outcome.REACHED_END: "reached the end",
    Outcome.STATIONARY: "came to rest; later times repeat the final state",
    Outcome.STEP_LIMIT: "ran out of steps: loosen rtol (rounding limits it at very long times), "
    "raise max_steps or shorten t_end",
    Outcome.STEP_UNDERFLOW: "the step shrank to rounding: loosen rtol (1e-12 is about the tightest)",
    Outcome.OVERFLOW: "exp overflowed: the logits sum_b d_b kappa_b^2 omega_hb omega_kb are past 700; "
    "start from a smaller omega",
    Outcome.NON_FINITE: "the state became non-finite: start from smaller omega and mu",
    Outcome.LEFT_RANGE: "left the range of the first-order law, small corrections and 2 (kappa omega)^2 < 1, "
    "or that of all tables of the exact law, logit variances below 64: start from a smaller omega, or take "
    "longer prompts",
    Outcome.NOT_AT_REST: "did not come to rest: raise stationary (rounding limits how slow a flow can be), "
    "or give a finite t_end",
}


@dataclass(frozen=True)
class Stats:
    """Work of an integration: steps taken and refused, and evaluations of the compiled kernels."""

    steps: int
    rejected: int
    field_evaluations: int
    hessian_evaluations: int
    factorisations: int
    hessian_products: int = 0


@dataclass(frozen=True)
class Options:
    """How the integrator was called: the arguments of `spectral_icl.gradient_flow`."""

    t_end: float
    rtol: float
    kernel: str
    stationary: float | None
    max_steps: int


def check_rtol(rtol: object) -> float:
    """A tolerance within its bounds."""
    return number("rtol", rtol, minimum=TIGHTEST, maximum=LOOSEST)


def check_t_end(t_end: object) -> float:
    """A finite length of a flow, within its bounds."""
    t_end = number("t_end", t_end, minimum=0.0, maximum=LONGEST, above=True)
    return number("t_end", t_end, minimum=SHORTEST, maximum=LONGEST)


def check_options(
    t_end: float, rtol: float, stationary: float | None, max_steps: int
) -> tuple[float, float, float | None, int]:
    """The options of a flow as numbers within their bounds."""
    if stationary is not None:
        stationary = number("stationary", stationary, minimum=0.0, above=True)
    endless = stationary is not None and is_number(t_end) and single(t_end) == math.inf
    t_end = math.inf if endless else check_t_end(t_end)
    return t_end, check_rtol(rtol), stationary, integer("max_steps", max_steps, minimum=1, maximum=MOST_STEPS)


def check_descent(
    step: float, batch: int, paths: int, seed: int, noisy_queries: bool
) -> tuple[float, int, int, int]:
    """What paths of stochastic gradient descent are asked for, as numbers within their bounds."""
    if not isinstance(noisy_queries, bool):
        raise ProblemError("noisy_queries", noisy_queries, "true or false")
    return (
        number("step", step, minimum=0.0, above=True),
        integer("batch", batch, minimum=1, maximum=10**12),
        integer("paths", paths, minimum=1, maximum=_MOST_PATHS),
        integer("seed", seed, minimum=0, maximum=2**62),
    )


def check_steps(step: float, t_end: float) -> None:
    """Refuse a step of which there are too few, or too many, up to t_end."""
    if not 2.0 * step <= t_end <= step * _MOST_DESCENT_STEPS:
        expected = f"t_end / step between 2 and {_MOST_DESCENT_STEPS:,}; t_end is {t_end:g}"
        raise ProblemError("step", step, expected)


def check_entries(problem: Problem, heads: int) -> None:
    """Refuse more heads than the covariance of a gradient is known for."""
    if heads * (problem.blocks + problem.tasks) > MOST_ENTRIES:
        raise ProblemError("omega0", f"{heads} heads", f"H (B + I) <= {MOST_ENTRIES} for paths with noise")


def outcomes(status: ArrayLike, t_end: ArrayLike) -> NDArray[np.int64]:
    """What flows ended with, as `Outcome` has it: a flow without an end has not reached it.

    Parameters
    ----------
    status : int or array_like
        What the integrator ended with, which follows no flow past `LONGEST`.
    t_end : float or array_like
        Length that was asked for.
    """
    endless = (np.asarray(status) == Outcome.REACHED_END) & np.isinf(t_end)
    return np.where(endless, Outcome.NOT_AT_REST, status)


def check_times(t_eval: ArrayLike, t_end: float) -> Floats:
    """``t_eval`` as increasing times in [0, t_end]."""
    times = array("t_eval", t_eval, (None,))
    if times.size == 0 or (np.diff(times) <= 0.0).any():
        raise ProblemError("t_eval", times.tolist(), "increasing times, at least one")
    if times[0] < 0.0 or times[-1] > t_end:
        outside = times[0] if times[0] < 0.0 else times[-1]
        raise ProblemError("t_eval", float(outside), f"times in [0, {t_end:g}]")
    return times


class LimitArguments(NamedTuple):
    """Numeric arguments of an ensemble: each has one value for all members, or one for each."""

    t_end: Floats
    rtol: Floats
    stationary: Floats
    max_steps: Floats

    @classmethod
    def given(
        cls, t_end: ArrayLike, rtol: ArrayLike, stationary: ArrayLike | None, max_steps: ArrayLike
    ) -> LimitArguments:
        """The arguments as arrays of one dimension; `ProblemError` if one is none."""
        rest = 0.0 if stationary is None else stationary
        given = {"t_end": t_end, "rtol": rtol, "stationary": rest, "max_steps": max_steps}
        return cls(*(_each(name, value) for name, value in given.items()))

    def sizes(self) -> dict[str, int]:
        """Number of values of each argument, by name."""
        return {name: values.size for name, values in self._asdict().items()}

    def of_members(self, count: int) -> ManyLimits:
        """The limits of every member, checked as `check_options` checks those of one flow."""
        t_end, rtol, rest, most = (np.broadcast_to(each, count).copy() for each in self)
        rest[np.isnan(rest)] = 0.0
        endless = np.isinf(t_end) & (t_end > 0.0) & (rest > 0.0)
        shared = {name for name, size in self.sizes().items() if size == 1}

        def check(name: str, each: Floats, good: NDArray[np.bool_], expected: str) -> None:
            if not good.all():
                k = int(np.flatnonzero(~good)[0])
                raise ProblemError(name if name in shared else f"{name}[{k}]", float(each[k]), expected)

        check("t_end", t_end, endless | ((t_end >= SHORTEST) & (t_end <= LONGEST)), _END)
        check("rtol", rtol, (rtol >= TIGHTEST) & (rtol <= LOOSEST), _RTOL)
        check("stationary", rest, (rest >= 0.0) & (rest <= LARGEST), f"a number >= 0 and <= {LARGEST:g}")
        whole = (most >= 1) & (most <= MOST_STEPS) & (most == np.floor(most))
        check("max_steps", most, whole, "a whole number >= 1")
        return ManyLimits(t_end, rtol, rest, most.astype(np.int64))


def _each(name: str, value: ArrayLike) -> Floats:
    """The values of a numeric argument, (M,) with M members or one."""
    expected = "a number, or one for each member"
    values = np.atleast_1d(floats(name, value, expected))
    if values.ndim != 1 or values.size == 0:
        raise ProblemError(name, value, expected)
    return values
