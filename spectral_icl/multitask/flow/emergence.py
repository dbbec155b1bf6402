"""Predicted emergence of a lone head, in closed form: when the warm-up of a task diverges.

To leading order in a small start the balanced weights of disjoint tasks obey, on the block of each task,

    omega_h' = c1 omega_h mu_h,   mu_h' = mu_h (c2 omega_h - n sum_k mu_k),

with c1 = 4 c kappa a / d, c2 = 4 kappa a and n = 4 s / L. A head alone diverges at a time in closed form
(`predicted_emergence`). The heads of a task hold each other back through n: see
`spectral_icl.multitask.flow.race`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

SLOW = "the warm-up is too slow to be timed"
EXTREME = "the problem is too extreme for a forecast"


@dataclass(frozen=True)
class Forecast:
    """The outcome of a task's race, predicted from the start.

    Attributes
    ----------
    task : int
    time : float or None
        Of the steepest fall of the task's loss; None where the theory does not apply.
    head : int or None
        That takes the task.
    remark : str
        Why there is no prediction, if there is none.
    """

    task: int
    time: float | None
    head: int | None
    remark: str


class Rates(NamedTuple):
    """Coefficients of the warm-up of every task, (I,) each; see the module."""

    c1: Floats
    c2: Floats
    n: Floats
    size: Floats  # d
    kappa: Floats

    @property
    def slope(self) -> Floats:
        """A = c2 / (c1 + n): a lone head goes to mu = A omega."""
        with np.errstate(all="ignore"):  # of extreme problems, like the rates
            return self.c2 / (self.c1 + self.n)


@np.errstate(all="ignore")
def rates(problem: Problem, key_scale: float) -> Rates:
    """Coefficients of the warm-up of disjoint tasks; of extreme problems infinite, or NaN."""
    assert problem.home is not None
    home = list(problem.home)
    kappa = np.asarray(problem.covariance)[home]
    size = np.asarray(problem.block_sizes, dtype=np.float64)[home]
    power = problem.power
    n = 4.0 * problem.variance / problem.context_length
    return Rates(4.0 * key_scale * kappa * power / size, 4.0 * kappa * power, n, size, kappa)


def predicted_emergence(problem: Problem, start: State, key_scale: float, task: int) -> Forecast:
    """When a lone head's warm-up diverges, and the head for which it does so first, in closed form.

    The orbit is mu = A omega + C omega^(-n/c1) with A = c2 / (c1 + n), and omega diverges at

        T = integral_omega0^inf domega / (c1 omega mu(omega))
          = 2F1(1, p; 1 + p; 1 - mu0 / (A omega0)) / (c1 A omega0),   p = c1 / (c1 + n).

    It leaves out that rivals' mu hold the head back, so T is early: if the head leads in omega and mu, the
    time with all heads is between T and the same with n S for n, S = sum_k mu_k / mu_h at the start. `race`
    has it.
    """
    return predicted_emergences(problem, start, key_scale, (task,))[0]


def predicted_emergences(
    problem: Problem, start: State, key_scale: float, tasks: Iterable[int]
) -> tuple[Forecast, ...]:
    """`predicted_emergence` of several tasks."""
    home = problem.home
    if home is None:
        return tuple(Forecast(task, None, None, "tasks overlap or span several blocks") for task in tasks)
    made = rates(problem, key_scale)
    limit = head_limit(problem, made)
    return tuple(_alone(task, home[task], start, made, limit) for task in tasks)


def _alone(task: int, block: int, start: State, made: Rates, limit: HeadLimit | None) -> Forecast:
    c1, c2, n, _, _ = (float(values[task]) for values in made)
    omega, mu = start.omega[:, block], start.mu[:, task]
    growing = omega * mu > 0.0
    if not growing.any():
        return Forecast(task, None, None, "no head has omega mu > 0 on the task")
    times = np.full(omega.size, np.inf)
    with np.errstate(all="ignore"):  # extreme problems may overflow; the time is then infinite
        times[growing] = divergence(np.abs(omega[growing]), np.abs(mu[growing]), c1, c2, n)
    times[~np.isfinite(times)] = np.inf
    winner = int(times.argmin())
    if not np.isfinite(times[winner]):
        return Forecast(task, None, None, SLOW)
    if np.isclose(np.sort(times)[:2], times[winner], rtol=1e-9).sum() > 1:
        return Forecast(task, None, None, "no head dominates: two heads are tied")
    if limit is None:
        return Forecast(task, None, None, EXTREME)
    if abs(omega[winner]) >= limit.omega[task] or abs(mu[winner]) >= limit.mu[task]:
        return Forecast(task, None, None, "the start is not small: it is past the limit")
    return Forecast(task, float(times[winner]), winner, "")


@np.errstate(all="ignore")
def size_of_start(problem: Problem, start: State, key_scale: float) -> float:
    """How far a start is on its way to the first fall: 0 is the limit in which the race is exact.

    The loss falls where the learned share kappa mu omega, with mu = A omega on the way there, or the exponent
    kappa^2 d omega^2 nears 1: the square root of the largest of them over heads and tasks.
    """
    made = rates(problem, key_scale)
    assert problem.home is not None
    omega = start.omega[:, list(problem.home)]
    leading = np.maximum(made.slope, made.kappa * made.size) * omega**2
    return float(np.sqrt((made.kappa * np.maximum(leading, np.abs(start.mu * omega))).max()))


class HeadLimit(NamedTuple):
    """What the head of every task has on its task and block in the limit, (I,) each."""

    omega: Floats
    mu: Floats


@np.errstate(all="ignore")
def head_limit(problem: Problem, made: Rates) -> HeadLimit | None:
    """The head-per-task limit of disjoint tasks, if it is among the numbers that are computed with."""
    root = np.sqrt(made.size)
    worth = problem.context_length * problem.power / (np.e * problem.variance * made.size)
    limit = HeadLimit(1.0 / (made.kappa * root), root * worth / (1.0 + worth))
    return limit if np.isfinite(limit).all() else None


def one_sign(problem: Problem, start: State) -> bool:
    """Whether all omega and mu of a task have one sign, so that every head pulls the same way."""
    if problem.home is None:
        return True
    weights = np.concatenate([start.omega[:, list(problem.home)], start.mu])
    return not ((weights > 0.0).any(axis=0) & (weights < 0.0).any(axis=0)).any()


def no_forecasts(problem: Problem, remark: str) -> tuple[Forecast, ...]:
    """A forecast of nothing for every task, with the reason."""
    return tuple(Forecast(task, None, None, remark) for task in range(problem.tasks))


def divergence(omega: Floats, mu: Floats, c1: float, c2: float, n: float) -> Floats:
    """Time at which lone heads diverge, see `predicted_emergence`."""
    lead = c2 / (c1 + n) * omega
    time: Floats = _warm_up_integral(c1 / (c1 + n), mu, lead) / (c1 * lead)
    return time


def _warm_up_integral(p: float, mu: Floats, lead: Floats) -> Floats:
    """2F1(1, p; 1 + p; 1 - w) with w = mu / lead, for any size of w > 0.

    Near w = 0 the argument rounds to 1, where the function has a logarithm: there by its expansion
    (Abramowitz and Stegun 15.3.10), p sum_n (p)_n / n! [psi(n + 1) - psi(p + n) - log w] w^n.
    """
    from scipy.special import digamma, hyp2f1  # slow to import, and only needed here

    w = mu / lead
    value: Floats = np.asarray(hyp2f1(1.0, p, 1.0 + p, 1.0 - w), dtype=np.float64)
    n = np.arange(60.0)
    coefficient = np.cumprod(np.concatenate([[1.0], (p + n[:-1]) / (n[:-1] + 1.0)]))
    near = np.flatnonzero(w < 0.5)
    log_w = (np.log(mu) - np.log(lead))[near, None]
    terms = coefficient * (digamma(n + 1.0) - digamma(p + n) - log_w) * w[near, None] ** n
    value[near] = p * terms.sum(axis=1)
    return value
