"""Named starts of the gradient flow."""

from __future__ import annotations

import math

import numpy as np

from spectral_icl.io.checks import LARGEST, ProblemError, integer, number
from spectral_icl.multitask.matrices import Matrices
from spectral_icl.multitask.parametrization import key_scale_of
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_heads

_LARGEST_SCATTER = 10.0  # of logarithms: e^10 is 22000
_LARGEST_SCALE = LARGEST / 10.0  # so that no draw is past what a state may hold


def paper(
    problem: Problem,
    heads: int,
    qk: float | None = None,
    ov_low: float | None = None,
    ov_high: float | None = None,
    key_scale: float | None = None,
) -> State:
    """The start of the authors' code: q = k = qk; v = o = ov_high for head h on task h, else ov_low.

    By default qk = ov_low = L^(-3/4) and ov_high = 2 L^(-3/4), the scale that the code of Chen, Sheen, Wang
    and Yang (2024) starts from.

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= 1. Heads beyond the tasks, and tasks beyond the heads, are ov_low throughout.
    qk, ov_low, ov_high : float, optional
        Weights, so omega = c qk^2 and mu = ov^2.
    key_scale : float, optional
        c; (d + I)^(-1/2) if None. Give the one of the parametrization.

    Returns
    -------
    State
        omega (H, B), mu (H, I).
    """
    heads = check_heads(problem, heads)
    c = key_scale_of(problem, key_scale)
    qk, ov_low, ov_high = paper_weights(problem, qk, ov_low, ov_high)
    omega = np.full((heads, problem.blocks), _product("qk", qk, c))
    mu = np.full((heads, problem.tasks), _product("ov_low", ov_low))
    np.fill_diagonal(mu, _product("ov_high", ov_high))
    return State(omega, mu)


def paper_weights(
    problem: Problem, qk: float | None = None, ov_low: float | None = None, ov_high: float | None = None
) -> tuple[float, float, float]:
    """The weights qk, ov_low and ov_high of `paper`: those given, and the authors' for None."""
    unit = problem.context_length**-0.75
    return (
        unit if qk is None else qk,
        unit if ov_low is None else ov_low,
        2.0 * unit if ov_high is None else ov_high,
    )


def _product(argument: str, weight: object, scale: float = 1.0) -> float:
    """``scale`` times the square of a weight, which is bounded so that a state may hold it."""
    most = min(LARGEST, math.sqrt(LARGEST / scale))
    return scale * number(argument, weight, minimum=-most, maximum=most) ** 2


def dominant(
    problem: Problem,
    heads: int,
    scale: float = 0.01,
    margin: float = 0.5,
    seed: int | None = None,
) -> State:
    """A small positive start in which every task has its own dominant head.

    The dominant head of a task has omega = ``scale`` on the task's blocks and mu = ``scale`` times
    1 + ``margin``; every other entry is ``scale`` times a factor: 1 without a seed, uniform on [1/2, 1] with
    one. So for every task one head leads in mu by the margin and trails in no omega, and the leaders are
    distinct: the hypothesis of the task-allocation theorem of Chen, Sheen, Wang and Yang (2024).

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= I, so that the leaders can be distinct.
    scale : float
        Size of the start, > 0.
    margin : float
        Relative lead, > 0.
    seed : int, optional
        Also permutes which head leads which task; without it head i leads task i.
    """
    heads = check_heads(problem, heads)
    if heads < problem.tasks:
        raise ProblemError("heads", heads, f">= {problem.tasks} heads, one for each task to lead")
    scale = number("scale", scale, minimum=0.0, maximum=_LARGEST_SCALE, above=True)
    margin = number("margin", margin, minimum=0.0, maximum=min(LARGEST, LARGEST / scale - 1.0), above=True)
    leaders = np.arange(problem.tasks)
    omega = np.full((heads, problem.blocks), scale)
    mu = np.full((heads, problem.tasks), scale)
    if seed is not None:
        rng = np.random.default_rng(integer("seed", seed, minimum=0, maximum=2**63))
        leaders = rng.permutation(heads)[: problem.tasks]
        omega *= rng.uniform(0.5, 1.0, omega.shape)
        mu *= rng.uniform(0.5, 1.0, mu.shape)
    signal = problem.signal
    omega[leaders[signal.task], signal.block] = scale
    mu[leaders, np.arange(problem.tasks)] = scale * (1.0 + margin)
    return State(omega, mu)


def scattered(
    problem: Problem,
    heads: int,
    scale: float = 0.01,
    margin: float = 0.5,
    scatter: float = 0.5,
    seed: int = 0,
) -> State:
    """The start of `dominant` without a seed, with every omega times a log-normal factor of mean 1.

    The factors are e^(scatter n - scatter^2 / 2), n independent N(0, 1). Entries within a block differ if the
    blocks are single features (`Problem.by_feature`); the mean of many is that of the `dominant` start.

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= I.
    scale, margin : float
        As of `dominant`.
    scatter : float
        Standard deviation of the logarithms, between 0 and 10.
    seed : int
    """
    omega, mu = dominant(problem, heads, scale, margin)
    scatter = number("scatter", scatter, minimum=0.0, maximum=_LARGEST_SCATTER)
    rng = np.random.default_rng(integer("seed", seed, minimum=0, maximum=2**63))
    factors = np.exp(scatter * (rng.standard_normal(omega.shape) - 0.5 * scatter))
    return State(np.minimum(omega * factors, LARGEST), mu)


def matrices(
    problem: Problem, heads: int, size: float = 0.1, seed: int = 0, key_scale: float | None = None
) -> State:
    """The decomposable part of random matrices: what K, Q, V and O of independent entries have on diagonals.

    The block means of the diagonals of W = c K^T Q, and the diagonals of U = O V: centred, of size
    c ``size``^2 (d / d_b)^(1/2) and ``size``^2 I^(1/2). `spectral_icl.multitask.matrices` has the matrices,
    what is off the diagonals, and the imbalances at which the reduced flow is as fast as they are.

    Parameters
    ----------
    problem : Problem
        Of d <= 2048 features.
    heads : int
    size : float
        Standard deviation of every entry, > 0.
    seed : int
    key_scale : float, optional
        c; (d + I)^(-1/2) if None. Give the one of the parametrization.
    """
    return Matrices.random(problem, heads, size, seed, key_scale).state(problem)


def random(problem: Problem, heads: int, scale: float = 0.01, seed: int = 0, positive: bool = False) -> State:
    """Independent N(0, ``scale``^2) entries, or their absolute values if ``positive``."""
    heads = check_heads(problem, heads)
    scale = number("scale", scale, minimum=0.0, maximum=_LARGEST_SCALE, above=True)
    rng = np.random.default_rng(integer("seed", seed, minimum=0, maximum=2**63))
    omega = rng.normal(0.0, scale, (heads, problem.blocks))
    mu = rng.normal(0.0, scale, (heads, problem.tasks))
    return State(abs(omega), abs(mu)) if positive else State(omega, mu)
