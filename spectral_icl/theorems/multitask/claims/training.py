"""Where the flow goes, and when: its phases, who takes which task, and its limit."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.io.text import listed
from spectral_icl.multitask.flow.emergence import size_of_start
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

RESOLVED = 1e-5  # what the end of a flow resolves of a loss, and of a ratio of losses
LIMIT = 1e-6  # relative distance of the excess from the limit
LEARNED = 1e-3  # share of the signal that has to be learned in the limit for it to be told from zero weights
EMERGENCE = 0.05  # relative error of the predicted emergence time,
START = 0.05  # for starts up to this size


@claim(
    "convergence-to-limit",
    "From a small dominated start the balanced flow converges to the head-per-task limit.",
    f"{CSWY}, convergence",
)
def _convergence(e: Evidence) -> Trials:
    def measure() -> Finding:
        final, limit = (float(e.reducible(x).sum()) for x in (e.flow.final_task_loss, e.limit.task_loss))
        if not limit > RESOLVED * float(e.powers.sum()):
            raise UnmeasurableError("the limit's excess is too small for the flow's tolerance of rest")
        if not limit > RESOLVED * float(e.problem.variance.sum()):
            raise UnmeasurableError("the limit's excess is lost in the query noise")
        what = f"excess at rest against the limit's, within {LIMIT:g}"
        return Finding.agreement(final, limit, LIMIT, what)

    limit = e.limit.task_loss.sum() - np.sum(e.problem.noise) if e.disjoint and e.enough_heads else 0.0
    learned = e.beyond_zero(bool(limit >= (1.0 - LEARNED) * e.powers.sum()))
    yield Trial(measure, needs=[e.disjoint, e.enough_heads], supposes=[*e.theorem, e.rests, learned])


@claim(
    "task-allocation",
    "Every task is seized by one head, the one that dominates it at the start.",
    f"{CSWY}, task allocation",
)
def _allocation(e: Evidence) -> Trials:
    def measure() -> Finding:
        # where the flow rests: the winner of a close race may not be known yet on the plateau
        held = e.flow.shares
        falls = e.problem.variance - e.limit.task_loss
        if not (falls > RESOLVED * e.problem.variance).all():  # steps that round off are the steepest then
            raise UnmeasurableError("the fall of a task's loss is lost in the query noise")
        emerged = [task.head is not None for task in e.flow.phases.tasks]
        allocation = tuple(int(held[:, i].argmax()) if emerged[i] else None for i in range(e.problem.tasks))
        heads = e.leaders
        predicted = [task.predicted_head for task in e.flow.phases.tasks]
        right = sum(
            head is not None and head == leader and expected in (None, head)
            for head, leader, expected in zip(allocation, heads, predicted, strict=True)
        )
        what = f"tasks whose winner is as predicted: heads {_listed(allocation)}, dominant {_listed(heads)}"
        return Finding.count(right, e.problem.tasks, what)

    yield Trial(measure, needs=[e.disjoint], supposes=[e.enough_heads, *e.theorem, e.rests])


@claim(
    "three-phases",
    "Warm-up, emergence and convergence follow each other, and every task emerges at the predicted time.",
    f"{CSWY}; emergence time of the warm-up race",
)
def _phases(e: Evidence) -> Trials:
    phases, forecast = e.flow.phases, e.flow.forecast
    predicted = [task.time for task in forecast if task.time is not None]

    def measure() -> Finding:
        what = "emergence time of task {}, the worst predicted, within {:.0%}"
        pairs = [(e.seen(task.time), time) for task, time in zip(phases.tasks, predicted, strict=True)]
        found = [Finding.agreement(*x, EMERGENCE, what.format(k, EMERGENCE)) for k, x in enumerate(pairs)]
        worst = min(found, key=lambda finding: finding.margin)
        if any(task.head is None for task in phases.tasks):
            return worst.refuted(f"not every task has emerged by t = {e.end:g}")
        if not phases.warm_up[1] <= phases.emergence[1] <= phases.convergence[1]:
            return worst.refuted("the phases are out of order")
        return worst

    needs = [e.disjoint, Hypothesis("every emergence is predicted", len(predicted) == e.problem.tasks)]
    size = size_of_start(e.problem, e.start, e.flow.key_scale) if e.disjoint else np.inf
    small = Hypothesis(f"the start is small, of size at most {START:g}", size <= START)
    supposes = [e.balanced, e.dominated, small, e.long_enough(max(predicted, default=0.0))]
    yield Trial(measure, needs, supposes)


def _listed(heads: tuple[int | None, ...]) -> str:
    return listed(["-" if head is None else head for head in heads])
