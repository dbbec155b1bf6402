"""What the claims about softmax attention are checked on: a flow and its benchmarks, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.context import DEFAULT, EXACT, check_kernel
from spectral_icl.multitask.flow.emergence import one_sign, size_of_start
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.flow.outline import POINTS, Outline
from spectral_icl.multitask.flow.solution import IntegrationError, Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.loss import gradient_at, losses_at
from spectral_icl.multitask.optimal.benchmarks import (
    BENCHMARKS,
    Benchmark,
    Optimum,
    excess,
    minimise,
    small_heads,
)
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import UnmeasurableError
from spectral_icl.theorems.multitask import factors

REST = 1e-12  # first-order optimality at which a balanced flow has converged
LEFT = 1e-9  # part of the excess that is still decaying when it has
NEAR = 0.05  # relative distance of small heads' excess from the bound that is of order 1/L
FOREVER = 1e14  # time by which it has
HORIZON = 1e6  # length of flows that never come to rest, because heads shrink for ever
SMALL = 0.5  # entries of a small start, over those of the head-per-task limit
_BEYOND = 1.5  # times a predicted time that a flow is followed, to say that nothing happened
_SLOWEST = 1e-6  # key scale times power and eigenvalue, from which a flow that hardly moves has come to rest
_LOST = 1e-8  # share of the loss below which what is not noise has lost too many digits
_LEAD = 1e-3  # least relative lead of a dominant head
_MOVED = 1e-6  # relative fall of the loss that is one
_MOST_AT_ONCE = 2**22  # omega of all states that are made at a time


@dataclass(frozen=True, eq=False)
class Evidence:
    """A problem and a start, and everything that the claims ask of their flow, computed when first asked for.

    Attributes
    ----------
    problem : Problem
    start : State
    parametrization : Balanced, Factored or Merged
    t_end : float or None
        Length of the flow; None to follow it to rest.
    rtol : float
    kernel : str
    prompts : int
        To sample from the full model.
    seed : int
        Of the sampled prompts and the numerical searches.
    """

    problem: Problem
    start: State
    parametrization: Parametrization
    t_end: float | None
    rtol: float
    kernel: str
    prompts: int
    seed: int

    @cached_property
    def flow(self) -> Solution:
        """The flow, to rest if it comes to rest; the solved part if the integration failed.

        Where omega decays algebraically, as 1/t, and with it the excess as t^-2, no rate says how far rest
        is: the flow goes on for as long as brings what is left below `LEFT`.
        """
        ends = self.parametrization.conserves_signs
        if self.t_end is not None or not ends:
            return self._solved(self.t_end or HORIZON, REST if self.t_end is None else None)
        found = self._solved(FOREVER, REST)
        left, wait = self._still_decaying(found)
        if found.outcome is not Outcome.STATIONARY or left <= LEFT:
            return found
        return self._solved(min(FOREVER, float(found.trajectory.t[-1]) + 2.0 * wait), None)

    @property
    def times(self) -> Floats:
        """Times at which the flow is looked at: its steps in four parts, or those of the states it has."""
        return self.flow.trajectory.refined(POINTS)

    def near(self, time: float) -> State:
        """The state at a time, or of a flow that is kept in outline at the nearest one that it has."""
        return self.flow(self.flow.trajectory.nearest(time))

    @cached_property
    def losses(self) -> Floats:
        """The loss along the flow, at four times per step or, of very long ones, at fewer."""
        return np.asarray(self.flow.trajectory.sampled(POINTS)[1].sum(axis=1))

    def _solved(self, t_end: float, stationary: float | None) -> Solution:
        try:
            return gradient_flow(
                self.problem,
                *self.start,
                parametrization=self.parametrization,
                t_end=t_end,
                rtol=self.rtol,
                kernel=self.kernel,
                stationary=stationary,
            )
        except IntegrationError as error:
            if error.solution is None:
                raise
            return error.solution

    def _still_decaying(self, flow: Solution) -> tuple[float, float]:
        """What omega that fade have of the excess at the end of a flow, and how long they take to lose it.

        They are those that decrease, and whose vanishing would lower the loss. Near rest they do so by
        omega' = -k omega^2, so that the part of the excess falls as the square of 1 / (1 / omega + k t).
        """
        at = flow.final
        slope = gradient_at(self.problem, at, self.kernel).omega / np.asarray(self.problem.block_sizes)
        rate = 2.0 * flow.key_scale * slope * np.sign(at.omega)  # at which log |omega| falls
        falling = np.argwhere((rate > 0.0) & (at.omega != 0.0))
        losses = self._losses_without(at, falling)
        with np.errstate(invalid="ignore"):  # of losses that are not finite nothing is known
            parts = (losses[-1] - losses[:-1]) / max(excess(self.problem, flow.final_loss), 1e-300)
        fading = parts > 1e-3 * LEFT
        if not fading.any():
            return 0.0, 0.0
        left = float(parts[fading].sum())
        slowest = float(min(rate[tuple(place)] for place in falling[fading]))
        return left, max((left / LEFT) ** 0.5 - 1.0, 0.0) / slowest

    def _losses_without(self, at: State, entries: NDArray[np.int64]) -> Floats:
        """The losses of a state without each of the omega at (head, block) (n, 2), and its own; (n + 1,)."""
        losses = []
        most = max(1, _MOST_AT_ONCE // at.omega.size)
        for first in range(0, len(entries) + 1, most):
            part = entries[first : first + most]
            last = first + most > len(entries)
            without = np.repeat(at.omega[None], len(part) + last, axis=0)
            without[np.arange(len(part)), part[:, 0], part[:, 1]] = 0.0
            mu = np.broadcast_to(at.mu, (len(without), *at.mu.shape))
            losses.append(losses_at(self.problem, State(without, mu), self.kernel).sum(axis=1))
        return np.concatenate(losses)

    @cached_property
    def factors(self) -> factors.Comparison:
        """The flow of k, q, o and v beside that of omega and mu."""
        return factors.compare(self.flow, self.kernel)

    @cached_property
    def bound(self) -> Benchmark:
        """The lower bound on the loss of all decomposable attention."""
        return BENCHMARKS["lower_bound"].of(self.problem, self.kernel)

    @cached_property
    def limit(self) -> Benchmark:
        """The head-per-task limit."""
        return BENCHMARKS["head_per_task"].of(self.problem, self.kernel)

    @property
    def limit_excess(self) -> float:
        """The excess of the head-per-task limit, the sum over tasks."""
        return excess(self.problem, self.limit.loss)

    @cached_property
    def best(self) -> Optimum:
        """The best attention with the start's number of heads."""
        return minimise(self.problem, self.heads, self.kernel, self.seed)

    @cached_property
    def one_head(self) -> Optimum:
        """The best single head, by a search over its weights."""
        return minimise(self.problem, 1, self.kernel, self.seed)

    @property
    def heads(self) -> int:
        """Number of heads, H."""
        return len(self.start.omega)

    @property
    def end(self) -> float:
        """Time that the flow was solved to."""
        return float(self.flow.trajectory.t[-1])

    def seen(self, time: float) -> float:
        """The time, or the flow's end if it was not seen until then."""
        return time if np.isfinite(time) else self.end

    def reducible(self, task_losses: Floats) -> Floats:
        """Task losses (I,) less the query noise, which no attention reduces.

        Raises
        ------
        UnmeasurableError
            Hardly anything is left, so that the difference has lost its digits.
        """
        result: Floats = task_losses - np.asarray(self.problem.noise)
        if not (result > _LOST * task_losses).all():
            raise UnmeasurableError("the loss is all query noise, to rounding")
        return result

    @cached_property
    def leaders(self) -> tuple[int | None, ...]:
        """For every task the head that trails no other in omega or mu on it and leads in one, or None.

        Only of disjoint tasks; a head leads with omega and mu of the same sign, so that it grows. Its lead in
        omega mu must stand out from the corrections to the warm-up, of the order of the start's size.
        """
        if self.problem.home is None:
            return (None,) * self.problem.tasks
        corrections = size_of_start(self.problem, self.start, self.flow.key_scale)
        least = 1.0 + max(_LEAD, corrections / 3.0)
        found: list[int | None] = []
        for task, block in enumerate(self.problem.home):
            omega, mu = self.start.omega[:, block], self.start.mu[:, task]
            size = np.where(omega * mu > 0.0, np.abs([omega, mu]), 0.0)  # (2, H)
            leader = int(size.prod(axis=0).argmax())
            rivals = np.delete(size, leader, axis=1)
            ahead = size[:, [leader]] >= rivals
            clearly = size[:, leader].prod() > least * rivals.prod(axis=0)
            leads = size[0, leader] > 0.0 and bool(ahead.all() and clearly.all())
            found.append(leader if leads else None)
        return tuple(found)

    # Hypotheses that several claims share, each with its words.

    @property
    def disjoint(self) -> Hypothesis:
        """Every task has a block of its own."""
        return Hypothesis("tasks are disjoint, one block each", self.problem.home is not None)

    @property
    def enough_heads(self) -> Hypothesis:
        """There is a head for every task, H >= I."""
        return Hypothesis("there is a head for every task, H >= I", self.heads >= self.problem.tasks)

    @property
    def balanced(self) -> Hypothesis:
        """Both imbalances are 0 and stay so, so that signs are kept."""
        return Hypothesis("weights are balanced", self.parametrization.conserves_signs)

    @property
    def trained_factors(self) -> Hypothesis:
        """Weights are products of the trained k, q, o and v."""
        return Hypothesis("k, q, o and v are trained", self.parametrization.trains_factors)

    @property
    def dominated(self) -> Hypothesis:
        """Every task has a leader, all of them distinct; see `leaders`."""
        leaders = [head for head in self.leaders if head is not None]
        distinct = len(leaders) == self.problem.tasks == len(set(leaders))
        return Hypothesis("every task has its own dominant head", distinct)

    @cached_property
    def small(self) -> Hypothesis:
        """No weight of a task starts above half of its size in the head-per-task limit."""
        text = f"the start is small, at most {SMALL:g} of the limit"
        if self.problem.home is None or self.limit.weights is None:
            return Hypothesis(text, False)
        tasks = np.arange(self.problem.tasks)
        home = list(self.problem.home)
        fits = np.abs(self.start.omega[:, home]) <= SMALL * self.limit.weights.omega[tasks, home]
        fits &= np.abs(self.start.mu) <= SMALL * self.limit.weights.mu[tasks, tasks]
        return Hypothesis(text, bool(fits.all()))

    @cached_property
    def lead(self) -> float:
        """By how much the omega mu of leaders exceed those of their rivals, relative: the least of all tasks.

        Infinite of a head without rivals, and 0 of a task without a leader.
        """
        if self.problem.home is None:
            return 0.0
        least = np.inf
        for task, (block, leader) in enumerate(zip(self.problem.home, self.leaders, strict=True)):
            if leader is None:
                return 0.0
            product = np.maximum(self.start.omega[:, block] * self.start.mu[:, task], 0.0)
            rival = float(np.delete(product, leader).max(initial=0.0))
            least = min(least, float(product[leader]) / rival - 1.0 if rival > 0.0 else np.inf)
        return least

    @property
    def rests(self) -> Hypothesis:
        """The flow was followed until it came to rest, or for so long that it should have.

        Weights that are too small to move by then are no rest: zero weights are a saddle.
        """
        # a tiny key scale, power or eigenvalue slows the flow down below any tolerance: that is no rest
        longer = self.t_end is None and self.parametrization.conserves_signs and self.flow.outcome.success
        pace = self.flow.key_scale * min(1.0, *self.powers) * min(1.0, *self.problem.covariance)
        there = self.flow.outcome is Outcome.STATIONARY or longer or self.end >= FOREVER
        away = excess(self.problem, self.flow.final_loss) < (1.0 - _MOVED) * float(self.powers.sum())
        return Hypothesis("the flow was followed to rest", there and away and pace >= _SLOWEST)

    @property
    def kept_whole(self) -> Hypothesis:
        """Every step is kept, so that the states between the reported times are known."""
        whole = not isinstance(self.flow.trajectory, Outline)
        return Hypothesis("the flow is small enough to be kept whole", whole)

    @property
    def solved(self) -> Hypothesis:
        """The flow was solved to its end or to rest: it did not run out of its law's range, or of steps."""
        return Hypothesis("the flow was solved to its end", self.flow.success)

    def long_enough(self, predicted: float) -> Hypothesis:
        """The flow was followed to rest, or to half as long again as a predicted time."""
        enough = self.flow.outcome is Outcome.STATIONARY or self.end >= _BEYOND * predicted
        return Hypothesis("the flow was followed beyond the predicted time", enough)

    @property
    def learns(self) -> Hypothesis:
        """The excess falls by more than a millionth; otherwise there is nothing to measure."""
        first = excess(self.problem, float(losses_at(self.problem, self.start, self.kernel).sum()))
        falls = excess(self.problem, self.flow.final_loss) < first * (1.0 - _MOVED)
        return Hypothesis("the flow lowers the excess", falls)

    def beyond_zero(self, passes: bool) -> Hypothesis:
        """Zero weights do not pass the claim, on this problem; ``passes`` says whether they would."""
        return Hypothesis("zero weights would not pass", not passes)

    @property
    def long_prompts(self) -> Hypothesis:
        """Prompts are long enough for what is of order 1/L^2 to be small against the bound."""
        noise = float(np.sum(self.problem.noise))
        bound, small = (b.loss - noise for b in (self.bound, small_heads(self.problem)))
        return Hypothesis(f"small heads are within {NEAR:.0%} of the bound", small <= (1.0 + NEAR) * bound)

    @property
    def powers(self) -> Floats:
        """The excess of zero weights on every task, a_i = sum_b A_ib, (I,)."""
        powers: Floats = self.problem.variance - np.asarray(self.problem.noise)
        return powers

    @property
    def of_paper(self) -> Hypothesis:
        """The flow's law is that of the paper, of which the claim speaks."""
        law = check_kernel(self.kernel)
        return Hypothesis(f"the law of the context is {DEFAULT}", law == DEFAULT)

    @property
    def closed_form(self) -> Hypothesis:
        """The flow's law has a closed form, so that much can be searched and solved with it."""
        return Hypothesis("the law has a closed form", check_kernel(self.kernel) != EXACT)

    @property
    def signs(self) -> Hypothesis:
        """The omega and mu of a task all start with one sign."""
        one = self.problem.home is not None and one_sign(self.problem, self.start)
        return Hypothesis("all weights of a task have one sign", one)

    @property
    def theorem(self) -> list[Hypothesis]:
        """What the theorems on task allocation and convergence suppose of the start."""
        return [self.balanced, self.signs, self.dominated, self.small]
