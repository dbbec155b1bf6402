"""How good the limit is: against every attention, one head, and a number of heads."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.optimal.benchmarks import head_budget, single_head
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, HPCY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

RESOLVED = 1e-5  # what the end of a flow resolves of a loss, and of a ratio of losses
ROUNDING = 1e-11  # relative to the loss, below which a difference means nothing
LIMIT = 1e-6  # relative distance of the excess from the limit
SEARCHED = 1e-8  # relative to the loss, to which a numerical search is trusted
BUDGET = 1e-3  # relative distance of attainable losses from the bound
INFIMUM = 1e-6  # relative error of an infimum found numerically


@claim(
    "optimality",
    "The limit's excess is above the lower bound on all decomposable attention, by less than a "
    "factor e under the asymptotic law.",
    f"{CSWY}, optimality; the bound by Schur's product theorem",
)
def _optimality(e: Evidence) -> Trials:
    def measure() -> Finding:
        bound = e.reducible(e.bound.task_loss)
        ratio = e.reducible(e.flow.final_task_loss) / bound
        task = int(ratio.argmax())
        predicted = float(e.reducible(e.limit.task_loss)[task] / bound[task])
        if not e.of_paper:
            # no constant bounds it at fixed d: what becomes of it is the law's own ratio
            what = (
                f"worst task, excess over bound, within {LIMIT:g}; e bounds it under the {DEFAULT} law only"
            )
            found = Finding.agreement(float(ratio[task]), predicted, LIMIT, what)
            return found if ratio.min() > 1.0 else found.refuted("a task is below the bound")
        if not np.e - predicted > RESOLVED:
            raise UnmeasurableError("the ratio is e, to the accuracy of the flow")
        return Finding.inside(ratio, task, predicted, 1.0, np.e, "worst task, excess over bound, in (1, e)")

    supposes = [*e.theorem, e.rests]
    if e.disjoint:
        bound = e.bound.task_loss - np.asarray(e.problem.noise)
        supposes.append(e.beyond_zero(bool((e.powers < np.e * bound).any())))
    yield Trial(measure, needs=[e.disjoint, e.enough_heads], supposes=supposes)


@claim(
    "single-vs-multi",
    "With two tasks or more, a head for each is strictly better than the best single head.",
    f"{CSWY}, separation",
)
def _separation(e: Evidence) -> Trials:
    def measure() -> Finding:
        single = single_head(e.problem, e.kernel)
        multi, one = (float(e.reducible(b.task_loss).sum()) for b in (e.limit, single))
        if not abs(one - multi) > (ROUNDING if e.of_paper else SEARCHED) * single.loss:
            raise UnmeasurableError("the two losses agree to rounding")
        return Finding.below(multi, one, "excess of a head per task, below that of one head")

    several = Hypothesis("there are two tasks or more", e.problem.tasks > 1)
    yield Trial(measure, needs=[several], supposes=[e.disjoint])


@claim(
    "head-budget",
    "H > I heads reach the lower bound, as an infimum; H <= I reach X_i = d_i / p_i, sum_i p_i = H - 1. "
    "To order 1/L under the first-order law.",
    f"{HPCY} for one task; derived for several",
)
def _budget(e: Evidence) -> Trials:
    noise = float(np.sum(e.problem.noise))
    small = head_budget(e.problem, e.heads, e.kernel).loss if e.heads > 1 else np.nan

    def measure() -> Finding:
        best, bound = e.best, float(e.reducible(e.bound.task_loss).sum())
        found, infimum = best.loss - noise, best.infimum - noise
        if best.infimum == e.bound.loss:
            what = f"excess of {e.heads} heads against the lower bound, within {BUDGET:g}"
            finding = Finding.agreement(found, bound, BUDGET, what)
            return finding if best.loss >= e.bound.loss else finding.refuted(what)
        if e.heads == 1:
            predicted = single_head(e.problem, e.kernel).loss - noise
            what = f"excess of the numerical optimum against the best single head's, within {INFIMUM:g}"
        elif e.of_paper:
            predicted = small - noise
            what = f"infimum of the excess of {e.heads} heads against that of small heads, within {INFIMUM:g}"
        else:
            # finite heads may gain on small ones what the bound leaves out, of order 1/L^2
            order = abs(head_budget(e.problem, e.heads).loss - small) + bound / e.problem.context_length
            least, most = bound - order, small - noise + order
            what = f"infimum of the excess of {e.heads} heads, from the bound to small heads, to order 1/L"
            return Finding.between(infimum, least, most, what)
        return Finding.agreement(infimum, predicted, INFIMUM, what)

    supposes = [e.disjoint]
    if e.disjoint:
        least = e.bound.loss - noise
        supposes.append(e.beyond_zero(bool(e.powers.sum() < (1.0 + 10.0 * BUDGET) * least)))
    if not e.of_paper:
        supposes.append(e.long_prompts)
    yield Trial(measure, supposes=supposes)
