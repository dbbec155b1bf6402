"""What the claims of the theory are checked on: a flow and its surroundings, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.emergence import one_sign, size_of_start
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.flow.solution import IntegrationError, Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.loss import State, loss
from spectral_icl.multitask.optimal.benchmarks import Benchmark, Optimum, head_per_task, lower_bound, minimise
from spectral_icl.multitask.parametrization import Balanced, Merged, Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.theorems.claim import Hypotheses, UnmeasurableError
from spectral_icl.theorems.multitask import factors

REST = 1e-12  # first-order optimality at which a balanced flow has converged
FOREVER = 1e14  # time by which it has
HORIZON = 1e6  # length of flows that never come to rest, because heads shrink for ever
SMALL = 0.5  # entries of a small start, over those of the head-per-task limit
_BEYOND = 1.5  # times a predicted time that a flow is followed, to say that nothing happened
_SLOWEST = 1e-6  # key scale from which a flow that hardly moves has come to rest
_LOST = 1e-8  # share of the loss below which what is not noise has lost too many digits
_LEAD = 1e-3  # least relative lead of a dominant head
_MOVED = 1e-6  # relative fall of the loss that is one


@dataclass
class Evidence:
    """A problem and a start, and everything the claims ask about them, computed when first asked for."""

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
        """The flow, to rest if it comes to rest; the solved part if the integration failed."""
        balanced = isinstance(self.parametrization, Balanced)
        try:
            return gradient_flow(
                self.problem,
                *self.start,
                parametrization=self.parametrization,
                t_end=self.t_end or (FOREVER if balanced else HORIZON),
                rtol=self.rtol,
                kernel=self.kernel,
                stationary=REST if self.t_end is None else None,
            )
        except IntegrationError as error:
            if error.solution is None:
                raise
            return error.solution

    @cached_property
    def factors(self) -> factors.Comparison:
        """The flow of k, q, o and v beside that of omega and mu."""
        return factors.compare(self.flow, self.kernel)

    @cached_property
    def bound(self) -> Benchmark:
        """The lower bound."""
        return lower_bound(self.problem)

    @cached_property
    def limit(self) -> Benchmark:
        """The head-per-task limit."""
        return head_per_task(self.problem)

    @cached_property
    def best(self) -> Optimum:
        """The best attention with the start's number of heads."""
        return minimise(self.problem, self.heads, self.kernel, self.seed)

    @property
    def heads(self) -> int:
        """H."""
        return len(self.start.omega)

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
    def disjoint(self) -> tuple[str, bool]:
        """Disjoint tasks."""
        return "tasks are disjoint, one block each", self.problem.home is not None

    @property
    def enough_heads(self) -> tuple[str, bool]:
        """H >= I."""
        return "there is a head for every task, H >= I", self.heads >= self.problem.tasks

    @property
    def balanced(self) -> tuple[str, bool]:
        """Balanced weights."""
        return "weights are balanced", isinstance(self.parametrization, Balanced)

    @property
    def trained_factors(self) -> tuple[str, bool]:
        """k, q, o and v are trained."""
        return "k, q, o and v are trained", not isinstance(self.parametrization, Merged)

    @property
    def dominated(self) -> tuple[str, bool]:
        """A dominant head per task, all distinct."""
        leaders = [head for head in self.leaders if head is not None]
        distinct = len(leaders) == self.problem.tasks == len(set(leaders))
        return "every task has its own dominant head", distinct

    @cached_property
    def small(self) -> tuple[str, bool]:
        """A start below the limit."""
        text = f"the start is small, at most {SMALL:g} of the limit"
        if self.problem.home is None or self.limit.weights is None:
            return text, False
        tasks = np.arange(self.problem.tasks)
        home = list(self.problem.home)
        fits = np.abs(self.start.omega[:, home]) <= SMALL * self.limit.weights.omega[tasks, home]
        fits &= np.abs(self.start.mu) <= SMALL * self.limit.weights.mu[tasks, tasks]
        return text, bool(fits.all())

    @property
    def end(self) -> float:
        """Time that the flow was solved to."""
        return float(self.flow.trajectory.t[-1])

    @property
    def rests(self) -> tuple[str, bool]:
        """The flow was followed until it came to rest, or for so long that it should have."""
        # a tiny key scale slows omega down below any tolerance: that is no rest
        stationary = self.flow.outcome is Outcome.STATIONARY and self.flow.key_scale >= _SLOWEST
        return "the flow was followed to rest", stationary or self.end >= FOREVER

    def long_enough(self, predicted: float) -> tuple[str, bool]:
        """The flow was followed well beyond a predicted time."""
        enough = self.flow.outcome is Outcome.STATIONARY or self.end >= _BEYOND * predicted
        return "the flow was followed beyond the predicted time", enough

    @property
    def learns(self) -> tuple[str, bool]:
        """The flow goes anywhere."""
        first = float(loss(self.problem, *self.start, self.kernel))
        return "the flow lowers the loss", self.flow.final_loss < first * (1.0 - _MOVED)

    @property
    def signs(self) -> tuple[str, bool]:
        """Weights of one sign."""
        text = "all weights of a task have one sign"
        return text, self.problem.home is not None and one_sign(self.problem, self.start)

    @property
    def theorem(self) -> Hypotheses:
        """What the theorems on task allocation and convergence suppose of the start."""
        return [self.balanced, self.signs, self.dominated, self.small]


def excess(losses: Floats, problem: Problem) -> Floats:
    """Task losses without the query noise, which no attention reduces."""
    result: Floats = losses - np.asarray(problem.noise)
    if not (result > _LOST * losses).all():
        raise UnmeasurableError("the loss is all query noise, to rounding")
    return result
