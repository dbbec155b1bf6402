"""How entries that differ within a block become equal."""

from __future__ import annotations

from functools import cache

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.features import spread
from spectral_icl.multitask.flow.equality import Equality, equalising_rate, equalities
from spectral_icl.multitask.flow.solution import IntegrationError, Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

SCATTER = 0.5  # standard deviation of log omega within a block, at the start
FOLDS = 1e-3  # absolute error of the logarithm of a fall
RIVALS = 0.9  # most that rivals on a block can change of its differences for their fall to be told
MOST = 1000  # omega and mu of a flow of single features
_WAIT = 10.0  # times in which differences fall by a factor e, that are waited for after the last plateau


@claim(
    "equality-within-blocks",
    "Entries that differ within a block become equal under the head that takes its task: the spread of "
    "1 / omega falls by the exponential of the integral of 4 c kappa mu a / d, to what rivals on the block "
    "can change.",
    f"{CSWY} start from equal entries, which stay so; the law of differences is derived here",
)
def _equality(e: Evidence) -> Trials:
    features = sum(e.problem.block_sizes) + e.problem.tasks
    needs = [
        e.disjoint,
        e.of_paper,
        e.balanced,
        e.enough_heads,
        Hypothesis("a task has two features or more", max(e.problem.block_sizes) > 1),
        Hypothesis(f"there are at most {MOST} omega and mu of single features", e.heads * features <= MOST),
        Hypothesis("every task has emerged", all(np.isfinite(task.settled) for task in e.flow.phases.tasks)),
    ]

    @cache
    def solved() -> tuple[tuple[Equality, ...], float]:
        flow = _scattered(e)
        return equalities(e.problem, flow), float(flow.trajectory.t[-1])

    def measure() -> Finding:
        found, end = solved()
        if not found:
            raise UnmeasurableError("no head that takes a task has two features of its sign")
        worst = min((_compared(one) for one in found), key=lambda finding: finding.margin)
        uneven = [one.task for one in found if one.end >= end]
        if uneven:
            return worst.refuted(f"features of task {uneven[0]} have not become equal by t = {end:g}")
        return worst

    quiet = all(needs) and all(one.rivals <= RIVALS for one in solved()[0])
    rivals = Hypothesis(f"rivals on a block can change at most {RIVALS:g} of its differences", quiet)
    yield Trial(measure, needs, [*e.theorem, rivals])


def _scattered(e: Evidence) -> Solution:
    """The flow of single features from the start, its entries scattered within blocks."""
    split = e.problem.by_feature()
    at = spread(e.problem, e.start)
    factors = np.exp(SCATTER * np.random.default_rng(e.seed).standard_normal(at.omega.shape))
    plateau = max(task.settled for task in e.flow.phases.tasks)
    end = 2.0 * plateau + _WAIT / float(equalising_rate(e.problem, e.flow.key_scale).min())
    try:
        return gradient_flow(
            split,
            *State(at.omega * factors, at.mu),
            parametrization=e.parametrization,
            t_end=end,
            rtol=min(e.rtol, 1e-8),
            dense_output=True,
        )
    except IntegrationError as error:
        raise UnmeasurableError("the flow of single features could not be followed to its end") from error


def _compared(one: Equality) -> Finding:
    """The fall of the spread against the derived one, to what rivals leave possible."""
    least, most = one.within
    what = (
        f"logarithm of the fall of the spread of 1 / omega, task {one.task}, the worst, between what rivals "
        f"leave possible, to {FOLDS:g}"
    )
    if not np.isfinite(most):
        return Finding.above(one.folds, max(least, FOLDS), what)
    return Finding.between(one.folds, least - FOLDS, most + FOLDS, what)
