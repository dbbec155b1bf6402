"""The best attention under the exact law: small heads in closed form, others by search.

One head needs functions of one variable alone, to rounding. A search of more goes by a table, whose error at
small heads is amplified by mu^2; so it is repeated with the table that reaches no further than where it
ended, and ends, where that is affordable, in quadrature alone. Weights gain on small heads only by more than
the error of their loss.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.kernels.loss import losses_by
from spectral_icl.kernels.model import frozen
from spectral_icl.multitask.context import EXACT, fitting
from spectral_icl.multitask.exact.alone import FARTHEST, Alone
from spectral_icl.multitask.exact.check import errors
from spectral_icl.multitask.exact.evaluate import enough, evaluate
from spectral_icl.multitask.exact.packing import largest, packed, query_rule, reach_of, usual_reach
from spectral_icl.multitask.exact.queries import Rule, rule
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.optimal.optima import Benchmark, Optima, Optimum, optima
from spectral_icl.multitask.optimal.polish import polished, work
from spectral_icl.multitask.optimal.profile import Profile
from spectral_icl.multitask.optimal.search import (
    BAD,
    MOST_ONE_HEAD,
    SAME,
    SPREAD,
    STARTS,
    Found,
    Quadratic,
    check_searched,
    distinct,
    head_starts,
    search,
)
from spectral_icl.multitask.optimal.small import centred, near_small_heads
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_dense

BELOW_BAYES = "bound on the Bayes risk"  # not to be taken for the bounds that other laws have
_EDGE = 0.9  # of a table's reach, from where on a minimum may be that of the table
_ROOM = 1.5  # of the logits of a minimum, for the search that is repeated around it
_EASY, _POLISHED, _EVALUATED = 2.0, 1.0, 8.0  # work up to which a loss is finer, polished, by quadrature
_FINER = 3  # levels of the rule for the query
_FAR = 8.0  # reach of the widest table that is searched
_LEVELS, _FEW = {1: 20, 2: 12, 3: 6}, 12  # of the rule for the query of one head, by the number of blocks
_REMOTE = 1e-12  # weight of a node below which one head needs not know it
_ROUNDED = 1e-12  # of the label variance: to which the functions of one head are known
_CLOSE = 0.1  # distance of heads in w below which they may be coalescing
_NEWTON = 5  # steps at most
_VALLEY = (0.05, 0.2)  # spreads at which heads are started where small heads would be


@optima(EXACT)
class ExactOptima(Optima):
    """The optima under the law of softmax attention itself."""

    def lower_bound(self, problem: Problem) -> Benchmark:
        """What no predictor goes below, since none is known that is of attention alone.

        It is below the Bayes risk too, which takes longer than what asks for this bound at every flow.
        """
        losses = below_bayes(problem) + np.asarray(problem.noise)
        return Benchmark(BELOW_BAYES, float(losses.sum()), losses, False, None, law=self.law)

    def single_head(self, problem: Problem) -> Benchmark:
        """The best head by search over its omega in the blocks that some task is on."""
        weights, losses, error = _single_head(problem)
        return self.made("single_head", losses, weights, error)

    def head_budget(self, problem: Problem, heads: int) -> Benchmark:
        """The infimum over H small heads, in closed form: no bound, since other heads may have less."""
        losses = _small(problem, heads)
        name = f"infimum of {heads} small heads"
        return Benchmark(name, float(losses.sum()), losses, False, None, law=self.law)

    def best(self, problem: Problem, heads: int, seed: int) -> Optimum:
        """The best of heads as they are, or of small heads."""
        if heads == 1:
            one = self.single_head(problem)
            assert one.weights is not None
            return self.optimum(problem, one.weights, one.loss, ((one.loss, 0),), "")
        noise = float(np.sum(problem.noise))
        small = Found(float((_small(problem, heads) - np.asarray(problem.noise)).sum()), np.empty(0))
        small_ones = near_small_heads(problem, heads)
        starts = head_starts(problem, heads, seed)
        starts += [(spread / SPREAD * small_ones).ravel() for spread in _VALLEY]
        weights, losses, error, ends = self._found(problem, heads, starts, seed)
        left = float((losses - np.asarray(problem.noise)).sum())
        unit = _Attention(problem, heads, REACHES[0]).unit
        # Heads that drift together at zero approach the infimum of small ones from above; and a gain that is
        # less than the error of the loss is none.
        if small.loss - left > max(SAME * unit, error):
            diverging = "infimum not attained: heads coalesce and mu diverges"
            remark = diverging if _coalesce(problem, weights) else ""
            others = [end for end in ends[1:] if end.loss > left]
            minima = distinct(sorted([Found(left, ends[0].point), *others, small], key=_loss), noise)
            found = self.optimum(problem, weights, left + noise, minima, remark)
            return replace(found, remark=_farthest(problem, weights)) if found.attained else found
        minima = distinct([small, *(end for end in ends if end.loss >= small.loss)], noise)
        weights = _Attention(problem, heads, REACHES[0]).weights(small_ones)
        remark = f"infimum not attained: the heads are small (shown {SPREAD:g} apart) and mu diverges"
        return self.optimum(problem, weights, small.loss + noise, minima, remark)

    def _found(
        self, problem: Problem, heads: int, starts: list[Floats], seed: int
    ) -> tuple[State, Floats, float, list[Found]]:
        """The best weights of a search or of fewer heads, with their losses and its ends."""
        weights, ends = _searched(problem, heads, starts)
        losses, error = self.valued(problem, weights)
        if heads > 1:
            # Many heads lie in valleys in which a search stops short of what it finds with fewer.
            fewer = self.best(problem, 2 ** ((heads - 1).bit_length() - 1), seed)
            if fewer.attained and fewer.loss + fewer.error < float(losses.sum()):
                assert fewer.weights is not None
                weights, losses, error = _padded(fewer.weights, heads), fewer.task_loss, fewer.error
        return weights, losses, error, ends

    def valued(self, problem: Problem, weights: State) -> tuple[Floats, float]:
        """By quadrature where that takes seconds, otherwise by the table that reaches just far enough."""
        if len(weights.omega) == 1:
            return _of_one(problem, weights)
        if work(problem, weights.omega) <= _EVALUATED:
            level = enough(problem, weights.omega)
            easy = work(problem, weights.omega) <= _EASY
            found = evaluate(problem, weights, level=level + _FINER if easy else level)
            return found.task_loss, found.error
        return _tabulated(problem, weights)


def below_bayes(problem: Problem) -> Floats:
    """A bound (I,) on Bayes risks without query noise: sum_b A_b / (1 + L A_b / (d_b sigma^2)).

    The risk is E tr (T^-1 + Z^T Z / sigma^2)^-1, see `ridge`, and the trace of an inverse is convex: the mean
    is at least the value at E Z^T Z = L (Jensen). It is zero without noise, and close to the risk where L is
    large against d.
    """
    signal, sizes = problem.signal, np.asarray(problem.block_sizes, dtype=np.float64)
    seen = sizes[signal.block] * np.asarray(problem.noise)[signal.task]
    return signal.by_task(signal.power * (seen / (seen + problem.context_length * signal.power)))


def _small(problem: Problem, heads: int) -> Floats:
    """The infimum (I,) of the task losses of so many small heads, query noise included."""
    found: Floats = centred(problem, heads, problem.context_length) + np.asarray(problem.noise)
    return found


def _tabulated(problem: Problem, weights: State) -> tuple[Floats, float]:
    """Task losses by a table, and the error of table and rule for the query."""
    model = fitting(problem, weights.omega)
    one = State(weights.omega[None], weights.mu[None])
    return losses_by(model, *one)[0], float(errors(problem, model, one).total[0])


@lru_cache(maxsize=256)  # equal tasks, and benchmarks of which one is part of another
def _single_head(problem: Problem) -> tuple[State, Floats, float]:
    """The best head (1, B) with its task losses and their error."""
    used = np.bincount(problem.signal.block, minlength=problem.blocks) > 0
    if not used.all():
        within, losses, error = _single_head(_within(problem, used))
        omega = np.zeros((1, problem.blocks))
        omega[:, used] = within.omega
        return State(omega, within.mu), losses, error
    check_searched(problem, 1, MOST_ONE_HEAD)
    check_dense("heads", problem, 1)
    signal = problem.signal.dense()
    rows = np.vstack([np.sqrt(signal), np.sqrt(signal.sum(axis=0))])
    starts = [row / np.linalg.norm(row) for row in rows[-STARTS:]]
    starts += [size * starts[-1] for size in (0.3, 2.0)]
    if problem.tasks > 1:
        starts += list(0.5 * np.random.default_rng(0).normal(size=(STARTS, used.size)))
    head = _Head(problem)
    ends = search(head.objective, head.unit, [head.inside(start) for start in starts])
    v = ends[0].point / head.root
    if not (ends[0].loss < BAD * head.unit and head.alone.reaches(v) <= _EDGE * FARTHEST):
        expected = "longer prompts: softmax all but saturates before a head is best"
        raise ProblemError("context_length", problem.context_length, expected)
    weights = State((v / np.asarray(problem.covariance))[None], head.alone.excess(v)[1][None])
    return weights, *_of_one(problem, weights)


def _of_one(problem: Problem, weights: State) -> tuple[Floats, float]:
    """Task losses of one head and the error of their sum, by functions of one variable."""
    v = np.asarray(problem.covariance) * weights.omega[0]
    coarse, losses = (Alone(problem, _nodes(problem, up)).losses(v, weights.mu[0]) for up in (0, 1))
    return losses, abs(float((losses - coarse).sum())) + _ROUNDED * float(problem.variance.sum())


class _Head:
    """The least excess over mu of one head, in coordinates w = sqrt(d) kappa omega."""

    def __init__(self, problem: Problem) -> None:
        self.root = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64))
        self.alone = Alone(problem, _nodes(problem, 0))
        self.unit = max(Quadratic(problem).unit, 1e-300)

    def inside(self, w: Floats) -> Floats:
        """A head w (B,), or smaller where its logits are larger than is known."""
        far = self.alone.reaches(w / self.root) / (_EDGE * FARTHEST)
        return np.asarray(w / np.sqrt(max(far, 1.0)))

    def objective(self, w: Floats) -> tuple[float, Floats]:
        """Excess and gradient by w (B,), over the unit."""
        v = w / self.root
        if not self.alone.reaches(v) <= FARTHEST:
            return BAD, np.zeros_like(w)
        excess, _, slope = self.alone.excess(v)
        return float(excess.sum()) / self.unit, slope / self.root / self.unit


def _nodes(problem: Problem, up: int) -> Rule:
    """The rule for one head, or one some levels up: nodes cost little, but multiply with the blocks."""
    level = _LEVELS.get(problem.blocks, 3 if problem.blocks <= _FEW else 1)
    return rule(problem.block_sizes, level + up, _REMOTE)


def _within(problem: Problem, used: NDArray[np.bool_]) -> Problem:
    """The problem in some of its blocks, which hold all of the signal."""
    at = np.flatnonzero(used)
    return replace(
        problem,
        block_sizes=tuple(problem.block_sizes[b] for b in at),
        covariance=tuple(problem.covariance[b] for b in at),
        signal=problem.signal.within(at),
    )


def _searched(problem: Problem, heads: int, starts: list[Floats]) -> tuple[State, list[Found]]:
    """The best weights from starts w (H B,), and the ends of all searches."""
    reach = min(usual_reach(problem), _FAR)
    while True:
        attention = _Attention(problem, heads, reach)
        found = search(attention.objective, attention.unit, [attention.inside(start) for start in starts])
        ends = [end for end in found if end.loss < BAD * attention.unit]
        weights = attention.weights(ends[0].point)
        cheap = work(problem, weights.omega) <= _POLISHED
        inside = attention.reaches(weights.omega) <= _EDGE * reach
        if inside or reach >= _FAR:
            break  # or else Newton's steps from the edge: a table that reaches further takes a minute
        reach = REACHES[REACHES.index(reach) + 1]
    closer = reach_of(problem, _ROOM**0.5 * weights.omega)
    if closer < reach:
        attention = _Attention(problem, heads, closer)
        again = search(attention.objective, attention.unit, [ends[0].point])[0]
        if again.loss < BAD * attention.unit:
            weights, ends[0] = attention.weights(again.point), again
    if cheap:
        weights = polished(problem, weights, _NEWTON, _POLISHED)
    return weights, ends


class _Attention:
    """The least excess over mu of heads at omega by a table, in coordinates w = sqrt(d) kappa omega."""

    def __init__(self, problem: Problem, heads: int, reach: float) -> None:
        self.problem, self.reach = problem, reach
        self.scale = _scale(problem)
        self.nodes = query_rule(problem, reach)
        self.shape = heads, problem.blocks
        model: Any = packed(problem, reach)
        noiseless = frozen(model._replace(noise=np.zeros(problem.tasks)))  # it would drown a small excess
        self.profile = Profile(noiseless, heads, problem.blocks, problem.tasks)
        self.unit = max(Quadratic(problem).unit, 1e-300)

    def reaches(self, omega: Floats) -> float:
        """The largest logit variance of heads at omega (H, B) that the table is asked for."""
        return largest(self.problem, omega, self.nodes)

    def inside(self, w: Floats) -> Floats:
        """Heads w (H B,), those past the table's reach pulled back into it."""
        while self.reaches(w.reshape(self.shape) / self.scale) > 0.8 * self.reach:
            w = 0.8 * w
        return w

    def objective(self, w: Floats) -> tuple[float, Floats]:
        """Excess and gradient by w (H B,), over the unit."""
        omega = w.reshape(self.shape) / self.scale
        mu = self.profile.best_mu(omega) if self.reaches(omega) <= self.reach else None
        if mu is None:
            return BAD, np.zeros_like(w)
        loss = float(self.profile.losses(omega, mu).sum())
        return loss / self.unit, (self.profile.slope(omega, mu) / self.scale).ravel() / self.unit

    def weights(self, w: Floats) -> State:
        """The weights of heads w, with the best mu."""
        omega = w.reshape(self.shape) / self.scale
        mu = self.profile.best_mu(omega)
        assert mu is not None
        return State(omega, mu)


def _scale(problem: Problem) -> Floats:
    """Of omega in w, (B,)."""
    found: Floats = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64)) * np.asarray(
        problem.covariance
    )
    return found


def _loss(end: Found) -> float:
    return end.loss


def _padded(weights: State, heads: int) -> State:
    """The weights with more heads, which do nothing."""
    rows = ((0, heads - len(weights.omega)), (0, 0))
    return State(np.pad(weights.omega, rows), np.pad(weights.mu, rows))


def _farthest(problem: Problem, weights: State) -> str:
    """What is said of weights where no larger ones were searched; nothing of others."""
    if largest(problem, weights.omega, query_rule(problem, _FAR)) <= _EDGE * _FAR:
        return ""
    return f"searched to a logit variance of {_FAR:g}: larger heads may have less"


def _coalesce(problem: Problem, weights: State) -> bool:
    """Whether the two heads that are closest lose nothing by coming closer still."""
    w = weights.omega * _scale(problem)
    apart = np.linalg.norm(w[:, None, :] - w[None, :, :], axis=2)
    apart[np.diag_indices(len(w))] = np.inf
    idle = ~weights.mu.any(axis=1)
    apart[idle], apart[:, idle] = np.inf, np.inf
    one, other = np.unravel_index(int(apart.argmin()), apart.shape)
    if apart[one, other] > _CLOSE:
        return False
    closer = w.copy()
    closer[one], closer[other] = (0.75 * w[one] + 0.25 * w[other], 0.25 * w[one] + 0.75 * w[other])
    attention = _Attention(problem, len(w), reach_of(problem, weights.omega))
    here, there = attention.objective(w.ravel())[0], attention.objective(closer.ravel())[0]
    return there <= here + SAME
