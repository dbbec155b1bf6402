"""The best heads for one task: with mu in closed form and omega searched; and what no heads can do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from spectral_icl.io.checks import Floats, integer
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.nonlinear import hermite
from spectral_icl.multitask.nonlinear.laws import check_kernel, law_of
from spectral_icl.multitask.nonlinear.loss import task_loss_at
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.nonlinear.reading import read_by
from spectral_icl.multitask.state import State

_GRID = 24  # points for one head, on either side of zero
_PAIRS = 8  # and for each of a pair
_EVEN = 12  # and for pairs spread evenly, and for those that nearly coincide
_LEAST = 0.02  # of sqrt(d) omega, and half of it between heads: closer ones differ in loss by its square
_FAR = 3.0  # beyond sqrt(log L), where the asymptotic law counts a head's weights as more than one
_WORST = 0.1  # of the terms of first order, relative to what they correct
_REFINED = 2  # best points of a grid from which a search goes on
_WALL = 1e3  # in the place of the loss where heads are not searched
_SAME = 1e-12  # losses that differ by less are equal


@dataclass(frozen=True, eq=False)
class BestHeads:
    """Heads that are best for one task, silent on the others.

    Attributes
    ----------
    omega, mu : ndarray, (H,)
        On the block of the task.
    loss : float
        Of the task, query noise included.
    gain : float
        sum_h mu_h, by which they multiply an intercept.
    """

    omega: Floats
    mu: Floats
    loss: float

    @property
    def gain(self) -> float:
        """Sum of mu."""
        return float(self.mu.sum())


def best_head(problem: SingleIndex, task: int = 0, kernel: str = DEFAULT) -> BestHeads:
    """The best single head for a task: for every omega the best mu is (F . c + n) / (F . F + N).

    F are the Hermite coefficients of t -> m(omega t), N and n what prompts of finite length add. Over omega,
    of either sign, the loss is searched.

    Parameters
    ----------
    problem : SingleIndex
    task : int
    kernel : str
        Law of the context. Under the first-order law heads are searched whose corrections are small.

    Raises
    ------
    ProblemError
        There is no such task, or no such law.
    """
    alone = _alone(problem, task)
    most = _reach(alone, check_kernel(kernel))
    grid = np.geomspace(min(_LEAST, 0.5 * most), most, _GRID)
    starts = [np.array([w]) for w in (*grid, *-grid)]
    return _searched(alone, starts, most, kernel, balanced=False)


def best_pair(problem: SingleIndex, task: int = 0, kernel: str = DEFAULT, balanced: bool = True) -> BestHeads:
    """The best two heads for a task; ``balanced`` ones have mu of sum zero.

    Those pass no intercept on: a single head, or two of one sign, multiply it by sum_h mu_h, which to read
    the linear part must be of the size of sqrt(d). Often it is best that two heads coalesce, at zero or
    elsewhere, while mu grows, and none are: the search ends where sqrt(d) omega differs by 0.04. What that
    costs is not bounded: under the first-order law, on blocks of a few features, it can be a tenth of the
    signal. The search is a local one from the best of a grid. Parameters and errors as in `best_head`.
    """
    alone = _alone(problem, task)
    most = _reach(alone, check_kernel(kernel))
    half = np.geomspace(min(_LEAST, 0.5 * most), most, _PAIRS)
    even = np.linspace(-most, most, _EVEN)
    apart = min(3.0 * _LEAST, 0.25 * most)
    starts = [np.array(pair) for pair in combinations((*half[::-1], 0.0, *-half), 2)]
    starts += [np.array(pair) for pair in combinations(even[::-1], 2)]
    starts += [np.array([w + apart, w]) for w in np.linspace(-most, most - apart, _EVEN)]
    return _searched(alone, starts, most, kernel, balanced)


def lower_bound(problem: SingleIndex) -> Floats:
    """What no heads go below under the asymptotic law, however many: the loss of every task, (I,).

    The overlaps expand as E_hk = sum_k d^k (omega_h omega_k)^k / k!, so that with the moments M_k = sum_h
    mu_h omega_h^k their noise is (V / L) sum_k (d^k / k!) M_k^2, of which the bound keeps k <= K, while what
    is read is linear in the moments, F_j = sum_k c_k E[t^k h_j] M_k / sqrt(k!). The least over M is a linear
    system. Small heads, K + 1 at least, come as close as one likes; mu grows. The highest degree alone keeps
    c_K^2 / (1 + L K! c_K^2 / (V d^K)), and a degree whose lower ones of its parity are missing is never
    learned whole, however long the prompts.
    """
    degree, factorials = problem.degree, hermite.root_factorials(problem.degree)
    reads = problem.tilted[:, :, None] * hermite.projections(degree)  # (I, k, j)
    powers = problem.sizes[:, None] ** np.arange(degree + 1) / factorials**2
    noise = (problem.variance / problem.context_length)[:, None] * powers
    found = np.array(problem.noise)
    for i, (c, read, cost) in enumerate(zip(problem.c, reads, noise, strict=True)):
        unit = 1.0 / np.sqrt(np.maximum((read**2).sum(axis=1) + cost, 1e-300))  # costs differ by d^K
        stacked = np.vstack([read.T * unit, np.diag(np.sqrt(cost) * unit)])
        wanted = np.concatenate([c, np.zeros_like(c)])
        moments = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
        found[i] += ((wanted - stacked @ moments) ** 2).sum()
    return found


def _alone(problem: SingleIndex, task: int) -> SingleIndex:
    """The problem of one task: heads that are silent on the others' blocks do not see them."""
    i = integer("task", task, minimum=0, maximum=problem.tasks - 1)
    return replace(
        problem,
        task_sizes=problem.task_sizes[i : i + 1],
        coefficients=problem.coefficients[i : i + 1],
        noise=problem.noise[i : i + 1],
    )


def _reach(problem: SingleIndex, kernel: str) -> float:
    """The largest sqrt(d) |omega| that is searched."""
    length, size = problem.context_length, problem.sizes[0]
    if kernel == DEFAULT:
        return float(np.sqrt(np.log(length)) + _FAR)
    # the terms of order 1/L are P tau^(2 K) / L at most, up to factors of order one
    exponent = 0.5 * size + problem.degree
    u = 0.5 * -np.expm1(-np.log(max(_WORST * length, 1.0 + _LEAST)) / exponent)
    return float(np.sqrt(size * u))


def _profile(problem: SingleIndex, omega: Floats, kernel: str, balanced: bool) -> tuple[Floats, float]:
    """The best mu (H,) for heads omega (H,), and its loss."""
    square, pull = law_of(kernel).noise(problem, omega[:, None])
    read = read_by(problem, omega[:, None])[0]
    system, wanted = read @ read.T + square[0], read @ problem.c[0] + pull[0]
    frame = np.array([[1.0], [-1.0]]) if balanced else np.eye(omega.size)
    inner = frame.T @ system @ frame
    values, vectors = np.linalg.eigh(inner)
    if not values.any():  # of a task of zeros without noise
        return np.zeros(omega.size), float(problem.power[0])
    if not (values > 1e-13 * max(values[-1], 1e-300)).all():
        return np.zeros(omega.size), np.inf  # heads that coincide, or corrections that are no longer small
    mu = frame @ (vectors @ (vectors.T @ (frame.T @ wanted) / values))
    return mu, float(task_loss_at(problem, State(omega[:, None], mu[:, None]), kernel)[0])


def _searched(
    problem: SingleIndex, starts: list[Floats], most: float, kernel: str, balanced: bool
) -> BestHeads:
    """The best heads that searches from the best of some starts, sqrt(d) omega, end at."""
    from scipy.optimize import minimize  # slow to import, and only needed here

    root = np.sqrt(problem.sizes[0])
    unit = float(problem.power[0] + problem.variance[0]) or 1.0  # of losses, whose differences are compared

    def objective(w: Floats) -> float:
        close = 2.0 * _LEAST - abs(w[0] - w[1]) if w.size == 2 else _LEAST - abs(w[0])
        outside = np.maximum(np.abs(w) - most, 0.0).sum() + max(0.0, close)
        if outside:
            return float(_WALL * (1.0 + outside))
        return min(_WALL, _profile(problem, w / root, kernel, balanced)[1] / unit)

    found = [objective(w) for w in starts]
    order = np.argsort(np.round(found, 12), kind="stable")[:_REFINED]  # of mirror images the first
    point, least = starts[order[0]], found[order[0]]
    for n in order:
        options: Any = {"xatol": 1e-6, "fatol": 1e-12, "maxiter": 300, "initial_simplex": _simplex(starts[n])}
        end = minimize(objective, starts[n], method="Nelder-Mead", options=options)
        if end.fun < least - _SAME:
            point, least = end.x, float(end.fun)
    mu, loss = _profile(problem, point / root, kernel, balanced)
    return BestHeads(point / root, mu, loss)


def _simplex(start: Floats) -> Floats:
    """A simplex around a start, of a tenth of its size."""
    steps = np.diag(np.where(start < 0.0, -1.0, 1.0)) * 0.1 * np.abs(start).max()
    found: Floats = start + np.vstack([np.zeros(start.size), steps])
    return found
