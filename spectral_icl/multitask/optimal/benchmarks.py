"""Benchmarks that a trained attention is measured against.

Every function takes a `Problem` and returns a `Benchmark` in the units of `spectral_icl.loss`: the sum over
tasks, query noise included. The effective dimension X_i of a task with one block of power a_i is defined by
loss_i - sigma_i^2 = a_i / (1 + L / (phi_i X_i)) with phi_i = s_i / a_i:

    one head, equal tasks   e d       head per task   e d_i             H = I plateau   d_i / (1 - 1/H)
    lower bound             d_i       one GD step     d_i + 1 / phi_i
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, integer, number
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.model import Model
from spectral_icl.multitask.context import DEFAULT, pack, unknown
from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.optimal import ridge
from spectral_icl.multitask.optimal.search import (
    SPREAD,
    Attention,
    Coalescing,
    Found,
    frame,
    search,
    with_best_mu,
)
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_heads, check_state

_STARTS = 8  # random ones, of each numerical search
_LARGE = 100  # variables from which a search has fewer: it is slower, and its structured starts do as well
_SAME = 1e-6  # relative difference of losses within which two ends of a search are one local minimum


# what the benchmarks of `BENCHMARKS` are called, in the order in which they are listed
_NAMES = {
    "single_head": "best single head",
    "head_per_task": "head-per-task limit",
    "plateau": "H = I plateau",
    "lower_bound": "lower bound",
    "gradient_step": "one gradient step",
    "bayes": "Bayes risk (ridge)",
}


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A reference loss.

    Attributes
    ----------
    name : str
    loss : float
        Sum over tasks, query noise included.
    task_loss : ndarray, (I,)
    attained : bool
        Whether some finite weights of one attention layer have this loss; False for an infimum and for
        what is not attention.
    weights : State or None
        Weights that have it, or that come close to an infimum (`Optimum`).
    error : float
        Bound on the error of ``loss``: 0 for a closed form, up to rounding.
    """

    name: str
    loss: float
    task_loss: Floats
    attained: bool
    weights: State | None
    error: float = 0.0


@dataclass(frozen=True, eq=False)
class Optimum(Benchmark):
    """The best attention with H heads that was found; ``loss`` is that of ``weights``.

    Attributes
    ----------
    infimum : float
        What ``loss`` can be brought down to. Equal to it if ``attained``; otherwise weights come closer only
        as heads coalesce and mu grows without bound.
    minima : tuple of (float, int)
        Losses of the local minima that the searches ended in, best first, and how many did.
    remark : str
        How the infimum was found.
    """

    infimum: float = np.nan
    minima: tuple[tuple[float, int], ...] = ()
    remark: str = ""


def lower_bound(problem: Problem) -> Benchmark:
    """A large-L loss that no decomposable attention, whatever its number of heads, can go below.

    E_hk >= sum_b d_b kappa_b^2 omega_hb omega_kb as matrices (Schur: the entrywise exponential of a positive
    semi-definite matrix exceeds the matrix), so with T_ib = kappa_b sum_h mu_hi omega_hb

        loss_i >= sigma_i^2 + sum_b A_ib (1 - T_ib)^2 + (s_i / L) sum_b d_b T_ib^2
               >= sigma_i^2 + sum_b A_ib / (1 + L A_ib / (s_i d_b)).

    For disjoint tasks this is X_i = d_i. It is an infimum, approached from H = min(I, B) + 1 heads on
    (`minimise`).
    """
    losses = (np.asarray(problem.signal) / (1.0 + gain(problem))).sum(axis=1) + np.asarray(problem.noise)
    return Benchmark(_NAMES["lower_bound"], float(losses.sum()), losses, False, None)


def head_per_task(problem: Problem) -> Benchmark:
    """The loss when every task has a head to itself, optimal for that task alone.

    For disjoint tasks this is the limit of the balanced flow (Chen, Sheen, Wang and Yang 2024):
    omega = 1 / (kappa_i sqrt(d_i)) on the task's own block, mu = sqrt(d_i) / (1 + e d_i phi_i / L), all else
    zero, X_i = e d_i. A task on several blocks is optimised numerically over its head's omega.
    """
    weights = State(np.zeros((problem.tasks, problem.blocks)), np.zeros((problem.tasks, problem.tasks)))
    losses = np.empty(problem.tasks)
    for task in range(problem.tasks):
        alone = single_head(_only(problem, task))
        assert alone.weights is not None
        weights.omega[task] = alone.weights.omega[0]
        weights.mu[task, task] = alone.weights.mu[0, 0]
        losses[task] = alone.loss
    return Benchmark(_NAMES["head_per_task"], float(losses.sum()), losses, True, weights)


def single_head(problem: Problem) -> Benchmark:
    """The best loss of one head that serves all tasks.

    For disjoint tasks the best exponent sum_b d_b kappa_b^2 omega_b^2 is 1 whatever the tasks, which share
    it: X_i = e d_i / p_i with sum_i p_i = 1, omega_i = (p_i / d_i)^(1/2) / kappa_i, and p a water-filling as
    in `head_budget`, with g_i = L / (e phi_i d_i). Equal tasks: p_i = d_i / d, X_i = e d with d = sum_i d_i;
    one task: X = e d. Where tasks overlap, mu is explicit given omega, and omega is searched.
    """
    signal = np.asarray(problem.signal)
    w = np.zeros(problem.blocks)
    if problem.home is not None:
        home = list(problem.home)
        worth = gain(problem)[np.arange(problem.tasks), home] / np.e
        power = problem.variance - np.asarray(problem.noise)
        w[home] = np.sqrt(_water_filling(power * worth, worth, 1.0))
    else:
        limit = Coalescing(problem, 1)
        used = signal.any(axis=0)
        # every task's own optimum, spread over its blocks, and all of them at once, on the unit sphere
        rows = np.vstack([np.sqrt(signal), np.sqrt(signal.sum(axis=0))])
        starts = [row / np.linalg.norm(row) + 0.01 * used for row in rows[-_STARTS:]]
        starts += list(np.random.default_rng(0).normal(size=(_STARTS, used.size)) * used)
        w = search(limit.objective, limit.unit, starts)[0].point
    weights = with_best_mu(problem, w[None, :])
    losses = task_loss(problem, *weights)
    return Benchmark(_NAMES["single_head"], float(losses.sum()), losses, True, weights)


def head_budget(problem: Problem, heads: int) -> Benchmark:
    """The infimum over H small heads: omega -> 0 while mu grows so that their product stays.

    What H small heads read off spans H - 1 dimensions, since mu must sum to zero. For disjoint tasks that
    leaves X_i = d_i / p_i with 0 <= p_i <= 1 and sum_i p_i = H - 1, the diagonals of projectors of that rank
    (Schur and Horn), and the best p is a water-filling: 1 + g_i p_i proportional to sqrt(a_i g_i),
    g_i = L / (phi_i d_i), where 0 < p_i < 1. From H = min(I, B) + 1 heads on it is `lower_bound`. Overlapping
    tasks with fewer heads are searched numerically.

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= 2 (one small head reads off nothing).
    """
    heads = integer("heads", heads, minimum=2, maximum=10**9)
    name = f"infimum of {heads} small heads"
    bound = lower_bound(problem)
    if heads > rank(problem):
        return Benchmark(name, bound.loss, bound.task_loss, False, None)
    if problem.home is None:
        limit = Coalescing(problem, heads, small=True)
        best = search(limit.objective, limit.unit, _limit_starts(problem, heads, 0))[0]
        losses = limit.task_losses(best.point) + np.asarray(problem.noise)
    else:
        worth = gain(problem)[np.arange(problem.tasks), list(problem.home)]
        power = problem.variance - np.asarray(problem.noise)
        losses = power / (1.0 + worth * _water_filling(power * worth, worth, heads - 1.0))
        losses = losses + np.asarray(problem.noise)
    return Benchmark(name, float(losses.sum()), losses, False, None)


def plateau(problem: Problem) -> Benchmark:
    """The H = I plateau: what as many small heads as tasks approach, X_i = d_i / (1 - 1/H) for equal tasks.

    The flow of slightly imbalanced weights settles there after its escape from the head-per-task limit.

    Raises
    ------
    ProblemError
        For one task: a small head alone reads off nothing.
    """
    if problem.tasks < 2:
        raise ProblemError("problem", f"{problem.tasks} task", "at least two tasks, for as many heads")
    small = head_budget(problem, problem.tasks)
    return Benchmark(_NAMES["plateau"], small.loss, small.task_loss, False, None)


def gradient_step(problem: Problem) -> Benchmark:
    """One step of gradient descent on the context, with the best step size for every task and block.

    The prediction (1/L) sum_l y_l x_l^T Gamma q of linear attention, exact for Gaussian covariates at any L:
    with T_b = kappa_b Gamma_b,

        loss_i = sum_b A_ib [(1 - T_b)^2 + T_b^2 / L] + (s_i / L) sum_b d_b T_b^2 + sigma_i^2,

    least at T_b = 1 / (1 + (d_b phi_b + 1) / L) with phi_b = s_i / A_ib, where X = d_b + 1 / phi_b.
    """
    signal = np.asarray(problem.signal)
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)
    spread = signal + problem.variance[:, None] * sizes  # A (1 + phi d)
    losses = (signal * spread / (spread + problem.context_length * signal)).sum(axis=1)
    losses = losses + np.asarray(problem.noise)
    return Benchmark(_NAMES["gradient_step"], float(losses.sum()), losses, False, None)


def bayes(problem: Problem) -> Benchmark:
    """The Bayes risk: ridge regression with the true prior, which no predictor beats.

    Exact at finite L and d for a task whose coefficients have equal prior variance times eigenvalue (one
    block, for example), see `ridge.exact`; otherwise, and for large d and L, the deterministic
    equivalent with its first correction, or a sampled mean where that fails, with its ``error``.

    Raises
    ------
    ProblemError
        The context length is not a whole number.
    """
    length = problem.context_length
    if not length.is_integer():
        raise ProblemError("context_length", length, "a whole number of pairs, for the Bayes risk")
    signal = np.asarray(problem.signal)
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)
    losses, error = np.empty(problem.tasks), 0.0
    for task, (power, noise) in enumerate(zip(signal, problem.noise, strict=True)):
        used = power > 0.0
        prior, size = power[used] / sizes[used], int(sizes[used].sum())
        if np.ptp(prior) <= 1e-12 * prior.max() and min(size, length) <= ridge.LARGEST:
            risk = ridge.exact(float(power.sum()), noise, size, int(length))
        else:
            risk, off = ridge.approximate(power, noise, sizes, int(length))
            error += off
        losses[task] = risk + noise
    return Benchmark(_NAMES["bayes"], float(losses.sum()), losses, False, None, error)


def length_generalisation(
    problem: Problem,
    context_length: float,
    omega: ArrayLike | None = None,
    mu: ArrayLike | None = None,
) -> Benchmark:
    """The loss on contexts of another length of weights trained on ``problem``.

    At fixed (omega, mu) only the noise term (s_i / L) sum_hk mu_hi mu_ki E_hk sees the length. The
    head-per-task limit has loss_i - sigma_i^2 = a_i (r^2 + r L (1 - r) / L') at length L', r = 1 / (1 + L /
    (e phi_i d_i)): as L' grows it does not vanish but falls to the shrinkage a_i r^2 that suits L.

    Parameters
    ----------
    problem : Problem
        The training problem, at its own context length.
    context_length : float
        L' >= 1 of the test.
    omega, mu : array_like, (H, B) and (H, I), optional
        The trained weights; the head-per-task limit by default.
    """
    length = number("context_length", context_length, minimum=1.0)
    if omega is None or mu is None:
        if (omega is None) != (mu is None):
            raise ProblemError("mu" if mu is None else "omega", None, "omega and mu, both or neither")
        weights = head_per_task(problem).weights
        assert weights is not None
    else:
        weights = check_state(problem, omega, mu)
    losses = task_loss(replace(problem, context_length=length), *weights)
    return Benchmark(f"trained at L, tested at {length:g}", float(losses.sum()), losses, True, weights)


def minimise(problem: Problem, heads: int, kernel: str = DEFAULT, seed: int = 0) -> Optimum:
    """The best decomposable attention with H heads.

    mu is eliminated exactly, and omega searched from many starts, in two ways: over heads as they are, and
    over the limit in which heads coalesce while mu diverges, which is where the infimum nearly always is for
    H >= 2. With more heads than dimensions to read off, H > min(I, B), the infimum is `lower_bound`, in
    closed form.

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= 1.
    kernel : str
        Law of the context, one of `spectral_icl.multitask.context.LAWS`.
    seed : int
        Of the random starts.

    Returns
    -------
    Optimum
        Weights, their loss, the infimum, whether it is attained, and the local minima that were met.

    Raises
    ------
    ProblemError
        An argument is malformed.
    """
    heads = check_heads(problem, heads)
    return _best(pack(problem, kernel), problem, heads, integer("seed", seed, minimum=0, maximum=2**63))


@singledispatch
def _best(model: Model, problem: Problem, heads: int, seed: int) -> Optimum:
    """The optimum under the law of the model."""
    unknown(model, "a search of its own")


@_best.register
def _(model: Asymptotic, problem: Problem, heads: int, seed: int) -> Optimum:
    if heads > rank(problem):
        bound = lower_bound(problem).loss
        enough = rank(problem) + 1
        remark = f"infimum not attained: the lower bound, for any {enough} heads or more, as omega -> 0"
        return _optimum(problem, _near_bound(problem, heads), bound, ((bound, 0),), remark)
    noise = float(np.sum(problem.noise))
    limit = Coalescing(problem, heads)
    ends = search(limit.objective, limit.unit, _limit_starts(problem, heads, seed))
    w, infimum = limit.weights(ends[0].point), ends[0].loss + noise
    attained = heads == 1
    if heads > 1:
        attention = Attention(problem, heads)
        found = search(attention.objective, attention.unit, _head_starts(problem, heads, seed))
        # Heads that drift together approach the limit from above: only a clear gain is another minimum.
        attained = found[0].loss < ends[0].loss - _SAME * limit.unit
        if attained:
            w, infimum = found[0].point.reshape(heads, -1), found[0].loss + noise
        ends = sorted([*ends, *found], key=lambda end: end.loss)
    remark = f"infimum not attained: the heads coalesce (shown {SPREAD:g} apart) and mu diverges"
    return _optimum(problem, w, infimum, _distinct(ends, noise), "" if attained else remark)


def effective_dimension(problem: Problem, benchmark: Benchmark) -> Floats:
    """X_i of every task, (I,): the loss as that of a task of its power that reads off X_i noisy coordinates.

    loss_i - sigma_i^2 = a_i / (1 + L / (phi_i X_i)) with a_i = sum_b A_ib. Infinite where nothing is learned.
    """
    noise = np.asarray(problem.noise)
    left = benchmark.task_loss - noise
    power = problem.variance - noise
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = problem.context_length * power * left / (problem.variance * (power - left))
    return result


def gain(problem: Problem) -> Floats:
    """L A_ib / (s_i d_b), (I, B): what the context is worth against a block's size."""
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)
    ratio: Floats = problem.context_length * np.asarray(problem.signal) / (problem.variance[:, None] * sizes)
    return ratio


def excess(problem: Problem, loss: float) -> float:
    """A loss without the query noise, which nothing reduces."""
    return loss - float(np.sum(problem.noise))


def _optimum(
    problem: Problem, w: Floats, infimum: float, minima: tuple[tuple[float, int], ...], remark: str
) -> Optimum:
    """The optimum with heads near w (H, B); a remark says why the infimum is not attained."""
    weights = with_best_mu(problem, w)
    losses = task_loss(problem, *weights)
    loss, heads = float(losses.sum()), len(w)
    return Optimum(
        name=f"best of {heads} head{'s' if heads > 1 else ''}",
        loss=loss,
        task_loss=losses,
        attained=not remark,
        weights=weights,
        infimum=infimum if remark else loss,
        minima=minima,
        remark=remark,
    )


def _near_bound(problem: Problem, heads: int) -> Floats:
    """Heads w (H, B) close to the lower bound: small, orthogonal to all ones, spanning the targets."""
    spanned = rank(problem)
    basis = np.linalg.svd(_targets(problem))[2][:spanned]
    w = np.zeros((heads, problem.blocks))
    w[: spanned + 1] = SPREAD * frame(spanned + 1)[:, 1:] @ basis
    return w


def _targets(problem: Problem) -> Floats:
    """The maps sqrt(d_b) T_ib (I, B) with the lower bound's loss, T_ib = 1 / (1 + s_i d_b / (L A_ib))."""
    worth = gain(problem)
    reached: Floats = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64)) * worth / (1.0 + worth)
    return reached


def rank(problem: Problem) -> int:
    """Dimensions that the tasks' best maps span: at most min(I, B)."""
    return int(np.linalg.matrix_rank(_targets(problem)))


def _water_filling(weight: Floats, gain: Floats, budget: float) -> Floats:
    """The p in [0, 1]^I with sum ``budget`` that minimises sum_i weight_i / gain_i / (1 + gain_i p_i)."""
    from scipy.optimize import brentq  # slow to import, and only needed here

    if budget >= gain.size:
        return np.ones_like(gain)
    # Below this gain a task's loss is linear in p to rounding; floors keep the level resolved.
    gain = np.maximum(gain, 1e-9)
    root = np.sqrt(np.maximum(weight, 1e-300) / max(float(weight.max()), 1e-300))

    def filled(log_level: float) -> Floats:
        p: Floats = np.clip((root * np.exp(log_level) - 1.0) / gain, 0.0, 1.0)
        return p

    high = float((np.log1p(gain) - np.log(root)).max())
    level = float(brentq(lambda x: float(filled(x).sum()) - budget, 0.0, high, xtol=1e-15))
    p = filled(level)
    result: Floats = p * (budget / p.sum())
    return result


def _only(problem: Problem, task: int) -> Problem:
    """The problem of one of the tasks alone."""
    return replace(problem, signal=(problem.signal[task],), noise=(problem.noise[task],))


def _limit_starts(problem: Problem, heads: int, seed: int) -> list[Floats]:
    """Bases and directions to search `Coalescing` from: the targets' leading directions, and random ones."""
    rng = np.random.default_rng(seed)
    blocks = problem.blocks
    leading = np.linalg.svd(_targets(problem))[2][:heads]
    starts = [np.concatenate([np.zeros(blocks), leading[: heads - 1].ravel()]), leading.ravel()]
    # neither a zero base nor directions in a subspace of the blocks may be where a symmetry traps the search
    starts = [start + 0.01 * rng.normal(size=start.size) for start in starts]
    return starts + [rng.normal(0.0, blocks**-0.5, heads * blocks) for _ in range(_random(heads * blocks))]


def _head_starts(problem: Problem, heads: int, seed: int) -> list[Floats]:
    """Heads w to search `Attention` from: a head per task, all tasks on one head, and random ones."""
    rng = np.random.default_rng(seed)
    root = np.sqrt(np.asarray(problem.signal))
    alone = root / np.linalg.norm(root, axis=1, keepdims=True)
    starts = [rng.normal(0.0, 0.1, (heads, problem.blocks)) for _ in range(2)]
    starts[0][: min(heads, problem.tasks)] += alone[:heads]
    starts[1][0] += alone.mean(axis=0)
    count = _random(heads * problem.blocks)
    starts += [rng.normal(0.0, 0.7, (heads, problem.blocks)) for _ in range(count)]
    return [start.ravel() for start in starts]


def _random(variables: int) -> int:
    """How many random starts a search of that size is given."""
    return _STARTS if variables <= _LARGE else 2


def _distinct(ends: list[Found], noise: float) -> tuple[tuple[float, int], ...]:
    """Losses that differ, with the number of searches that ended there; ``ends`` are sorted."""
    minima: list[tuple[float, int]] = []
    for end in ends:
        loss = end.loss + noise
        if minima and loss <= minima[-1][0] * (1.0 + _SAME):
            minima[-1] = (minima[-1][0], minima[-1][1] + 1)
        else:
            minima.append((loss, 1))
    return tuple(minima)


class Reference(NamedTuple):
    """A benchmark that any problem has.

    Attributes
    ----------
    find : callable
        Finds it.
    name : str
        In tables and legends.
    laws : tuple of type
        Models of the laws of the context that it is about; empty if it is of no attention, and so of all.
    """

    find: Callable[[Problem], Benchmark]
    name: str
    laws: tuple[type, ...] = ()

    def of(self, problem: Problem, kernel: str = DEFAULT) -> Benchmark:
        """The benchmark of a problem under the law named ``kernel``.

        Raises
        ------
        ProblemError
            It is not known of this law, or the problem has none.
        """
        model = pack(problem, kernel)
        if self.laws and not isinstance(model, self.laws):
            unknown(model, f"a known {self.name}")
        return self.find(problem)


BENCHMARKS = {
    **{f.__name__: Reference(f, _NAMES[f.__name__], (Asymptotic,)) for f in (single_head, head_per_task)},
    **{f.__name__: Reference(f, _NAMES[f.__name__], (Asymptotic,)) for f in (plateau, lower_bound)},
    **{f.__name__: Reference(f, _NAMES[f.__name__]) for f in (gradient_step, bayes)},
}
