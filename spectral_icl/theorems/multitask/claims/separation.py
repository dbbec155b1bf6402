"""One head against a head per task: by which factor it is worse, and where it is at its best."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.optimal.benchmarks import single_head
from spectral_icl.multitask.optimal.constants import separation
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

RESOLVED = 1e-5  # what the end of a flow resolves of a loss, and of a ratio of losses
ROUNDING = 1e-11  # relative to the loss, below which a difference means nothing
SEARCHED = 1e-8  # relative to the loss, to which a numerical search is trusted
FLAT = (
    1e-3  # error of what a search finds of roots of shares, and relative of fractions: losses are flat there
)
LEAST = (
    1e-2  # fraction over the largest, below which errors are relative to that: a head may serve no such task
)
LEARNED = 1e-3  # share of the signal that one head has to learn for its weights to matter


@claim(
    "single-vs-multi",
    "With two tasks or more of which no one omega is best for all, as of disjoint ones, a head for each is "
    "strictly better than the best single head.",
    f"{CSWY}, separation of disjoint tasks; of others by definition: each head is the best for its task",
)
def _separation(e: Evidence) -> Trials:
    def measure() -> Finding:
        single = single_head(e.problem, e.kernel)
        multi, one = (float(e.reducible(b.task_loss).sum()) for b in (e.limit, single))
        found = Finding.below(multi, one, "excess of a head per task, below that of one head")
        closed = e.of_paper and e.disjoint
        if abs(one - multi) > (ROUNDING if closed else SEARCHED) * single.loss:
            return found
        if differ:
            raise UnmeasurableError("the two losses agree to rounding")
        return found.refuted("one head is as good as a head per task, to rounding")

    differ = Hypothesis("no one omega is best for all tasks", _differ(e))
    yield Trial(measure, needs=[_several(e)], supposes=[differ])


@claim(
    "separation-factor",
    "The best single head has I (1 + g) / (I + g) times the excess of the flow's limit for equal tasks, "
    "g = L / (e phi d), and of unequal ones less than I and at least (sum_i c_i^(1/2))^2 / [(1 + sum_i 1 / "
    "g_i) sum_i c_i g_i / (1 + g_i)] times, c_i = s_i d_i: more than J / (1 + sum_i 1 / g_i), "
    "J = (sum_i c_i^(1/2))^2 / sum_i c_i.",
    f"{CSWY}, separation by a factor of order I; factor and bounds derived",
)
def _factor(e: Evidence) -> Trials:
    def measure() -> Finding:
        known = separation(e.problem)
        final = float(e.reducible(e.flow.final_task_loss).sum())
        ratio = (e.one_head.loss - float(np.sum(e.problem.noise))) / final
        found = Finding.agreement(
            ratio, known.factor, RESOLVED, f"excess of one head over that of the flow, within {RESOLVED:g}"
        )
        inside = known.least * (1.0 - RESOLVED) < ratio < e.problem.tasks
        return found if inside else found.refuted("the factor is outside its bounds")

    needs = [e.disjoint, e.enough_heads, _several(e), e.closed_form]
    zero = False
    if e.disjoint:
        zero = e.limit_excess >= (1.0 - RESOLVED) * float(e.powers.sum())
    yield Trial(measure, needs, supposes=[e.of_paper, *e.theorem, e.rests, e.beyond_zero(zero)])


@claim(
    "single-head-optimum",
    "The best single head has kappa_i omega_i = (p_i / d_i)^(1/2) with sum_i p_i = 1, so that its "
    "exponent is 1, and reads off 1 / (1 + e d_i phi_i / (p_i L)): omega = d^(-1/2), mu = d^(1/2) / (1 + "
    "e d phi / L) for one task, and for equal tasks of d coordinates in all.",
    f"{CSWY} for one task and for equal tasks; the shares p are derived",
)
def _single_head(e: Evidence) -> Trials:
    def measure() -> Finding:
        closed = single_head(e.problem)
        e.reducible(closed.task_loss)  # a loss that is all noise has no best weights, to rounding
        known, found = closed.weights, e.one_head.weights
        assert known is not None
        assert found is not None
        home = list(e.problem.home or ())
        kappa = np.asarray(e.problem.covariance)[home]
        root = np.sqrt(np.asarray(e.problem.block_sizes, dtype=np.float64)[home])
        pairs = []
        for at in (found, known):
            read = kappa * at.mu[0] * at.omega[0, home]
            pairs.append(np.concatenate([root * kappa * np.abs(at.omega[0, home]), read]))
        read = pairs[1][len(home) :]
        allowed = FLAT * np.concatenate([np.ones(len(home)), np.maximum(read, LEAST * read.max())])
        worst = int((np.abs(pairs[0] - pairs[1]) / allowed).argmax())
        measured, predicted = float(pairs[0][worst]), float(pairs[1][worst])
        named = "root of the share" if worst < len(home) else "fraction read off"
        what = f"{named} of task {worst % len(home)}, the worst, by search, within {allowed[worst]:.3g}"
        return Finding(measured, predicted, 1.0 - abs(measured - predicted) / float(allowed[worst]), what)

    enough = False
    if e.disjoint:
        one = single_head(e.problem).loss - float(np.sum(e.problem.noise))
        enough = one <= (1.0 - LEARNED) * float(e.powers.sum())
    learns = Hypothesis(f"one head learns {LEARNED:.1%} of the signal or more", enough)
    yield Trial(measure, needs=[e.disjoint, e.closed_form], supposes=[e.of_paper, learns])


def _differ(e: Evidence) -> bool:
    """Whether the omega that are best for each task differ by more than `FLAT`, relative to the largest."""
    if e.problem.home is not None:
        return True
    if e.limit.weights is None:
        return False
    omega = e.limit.weights.omega
    return bool((np.ptp(omega, axis=0) > FLAT * omega.max(axis=0)).any())


def _several(e: Evidence) -> Hypothesis:
    return Hypothesis("there are two tasks or more", e.problem.tasks > 1)
