"""What softmax attention itself does, by samples of it, where the laws say what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spectral_icl.io.checks import LARGEST
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask import softmax
from spectral_icl.multitask.accuracy import second_order, terms
from spectral_icl.multitask.context import EXACT, check_kernel
from spectral_icl.multitask.optimal.benchmarks import Optimum, minimise, rank
from spectral_icl.theorems.claim import SIGMAS, Finding, Trial, Trials
from spectral_icl.theorems.multitask.claims.registry import CSWY, HPCY, claim
from spectral_icl.theorems.multitask.claims.sampling import compared, sampled
from spectral_icl.theorems.multitask.evidence import Evidence

UNTOLD = 0.5  # estimated relative error of a law's excess from which nothing is claimed of it
SAMPLED = 0.05  # relative error of the excess beyond the estimated one that a sample has to rule out
SHARED = 0.01  # share of a task's power in a block that counts as having the block
LENGTHS = 4.0  # test length over training length


@claim(
    "kernel-validity",
    "Along the flow the law's excess is that of softmax attention to the error that is estimated for it and "
    f"{SAMPLED:.0%}, where the estimate is below {UNTOLD:.0%}.",
    "softmax of sampled prompts; the estimate is derived from the series in 1/L",
)
def _kernel(e: Evidence) -> Trials:
    spent = e.flow.saturation
    states = [e.start, e.near(spent.worst_at), e.near(spent.error_at), e.flow.final]
    yield compared(e.problem, states, e, [sampled(e), e.learns])


@claim(
    "length-generalisation",
    f"At {LENGTHS:g} times their length, trained weights have the excess with L replaced, to the error "
    f"estimated there and {SAMPLED:.0%}.",
    CSWY,
)
def _length(e: Evidence) -> Trials:
    tested = replace(e.problem, context_length=min(round(LENGTHS * e.problem.context_length), LARGEST))
    yield compared(tested, [e.flow.final], e, [sampled(e, LENGTHS), e.learns])


@claim(
    "superposition",
    "Tasks that share a block gain from one head more than tasks, H = I + 1, in the full model.",
    HPCY,
)
def _superposition(e: Evidence) -> Trials:
    tasks = e.problem.tasks

    def measure() -> Finding:
        few, more = best
        assert few.weights is not None
        assert more.weights is not None
        prompts = softmax.affordable(e.problem, e.prompts)
        drawn = softmax.losses(e.problem, [few.weights, more.weights], prompts, e.seed)
        gap, error = float(drawn.mean[0] - drawn.mean[1]), float(drawn.gap_error[0, 1])
        what = f"loss of {tasks} heads less that of {tasks + 1}, {prompts} prompts, above {SIGMAS:g} errors"
        return Finding.positive(gap, error, few.loss - more.loss, what)

    signal = e.problem.signal
    much = signal.power >= SHARED * e.problem.power[signal.task]
    shared = np.bincount(signal.block[much], minlength=1).max() > 1
    needs = [
        sampled(e),
        Hypothesis(f"tasks share a block, with {SHARED:.0%} of their power or more", bool(shared)),
    ]
    needs.append(Hypothesis("the tasks' best maps are linearly independent", rank(e.problem) == tasks))
    if not all(needs):
        yield Trial(measure, needs)
        return
    best = [minimise(e.problem, heads, e.kernel, e.seed) for heads in (tasks, tasks + 1)]
    yield Trial(measure, needs, [_told_apart(e, *best)])


def _told_apart(e: Evidence, few: Optimum, more: Optimum) -> Hypothesis:
    """Whether the gain of one head more is above the error of the law at either optimum.

    By the series to order 1/L^2 and its last term: of heads that all but coalesce their estimated error is no
    guide, since what it takes for large cancels. The exact law has no such error, and its optima their own.
    """
    law = check_kernel(e.kernel)
    error = few.error + more.error
    for best in (few, more) if law != EXACT else ():
        assert best.weights is not None
        found = terms(e.problem, *best.weights)
        last = float(second_order(e.problem, *best.weights).sum()) / e.problem.context_length**2
        error += abs(float(found.noise(law)[0] - found.first_order[0]) - last) + abs(last)
    gain = few.loss - more.loss
    return Hypothesis("the predicted gain is above the error of the law", gain > error)
