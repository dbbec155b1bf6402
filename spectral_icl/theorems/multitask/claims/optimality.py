"""How good the limit is: against every attention, one head, and a number of heads."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.optimal.benchmarks import Benchmark, head_budget, single_head
from spectral_icl.multitask.optimal.constants import budget_factor
from spectral_icl.multitask.optimal.signed import MOST_SEARCHED, one_signed
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, HPCY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

RESOLVED = 1e-5  # what the end of a flow resolves of a loss, and of a ratio of losses
ROUNDING = 1e-11  # relative to the loss, below which a difference means nothing
LIMIT = 1e-6  # relative distance of the excess from the limit
SIGNED = 1e-5  # relative to the excess, to which a search over weights of one sign is trusted
LEARNED = 1e-3  # share of the signal that has to be learned for the limit to be told from zero weights
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
    "optimality-same-heads",
    "The limit's excess is above that of the best attention with as many heads by less than e times the "
    "largest share p_i of these: e for H > I, e (1 - 1 / I) for equal tasks and H = I; one head on one "
    "task is the best.",
    f"{CSWY}, optimality up to a constant; the constant derived from the head budget",
)
def _same_heads(e: Evidence) -> Trials:
    def best() -> Benchmark:
        return single_head(e.problem) if e.heads == 1 else head_budget(e.problem, e.heads)

    def measure() -> Finding:
        least, most = float(e.reducible(best().task_loss).sum()), budget_factor(e.problem, e.heads)
        ratio = float(e.reducible(e.flow.final_task_loss).sum()) / least
        if e.heads == 1:
            return Finding.agreement(
                ratio, 1.0, LIMIT, f"excess over that of the best head, within {LIMIT:g}"
            )
        if not 1.0 + RESOLVED < e.limit_excess / least < most - RESOLVED:
            raise UnmeasurableError("the ratio is at an end of its range, to the accuracy of the flow")
        what = f"excess over that of the best {e.heads} heads, in (1, {most:.4g})"
        return Finding.between(ratio, 1.0, most, what)

    needs = [e.disjoint, e.enough_heads]
    supposes = [e.of_paper, *e.theorem, e.rests]
    if all(needs):
        least = best().loss - float(np.sum(e.problem.noise))
        limit = max(budget_factor(e.problem, e.heads), 1.0 + LEARNED)
        supposes.append(e.beyond_zero(bool(e.powers.sum() < limit * least)))
    yield Trial(measure, needs, supposes)


@claim(
    "optimality-one-sign",
    "The limit is the best of all attention, of any number of heads and on any tasks, whose OV values on "
    "each task have one sign, X_i >= e d_i: so balanced flow never goes below it. Searched is the positive "
    "sign.",
    "derived here, for the asymptotic law: the exponential lies above its tangent",
)
def _one_sign(e: Evidence) -> Trials:
    noise = float(np.sum(e.problem.noise))

    def measure() -> Finding:
        if e.heads * (e.problem.blocks + e.problem.tasks) > MOST_SEARCHED:
            raise UnmeasurableError(f"it needs H (B + I) <= {MOST_SEARCHED}, to be searched")
        limit = float(e.reducible(e.limit.task_loss).sum())
        lowest = float(e.losses.min()) - noise
        found = min(lowest, one_signed(e.problem, e.heads, e.kernel, e.seed) - noise)
        what = (
            f"least excess, searched over mu >= 0 and along the flow, against the limit's, within {SIGNED:g}"
        )
        finding = Finding.agreement(found, limit, SIGNED, what)
        return finding if found > limit - ROUNDING * (limit + noise) else finding.refuted(what)

    mu = e.start.mu
    same = (mu >= 0.0).all(axis=0) | (mu <= 0.0).all(axis=0)
    one = Hypothesis("OV values on a task start with one sign", bool(same.all()))
    supposes = [e.balanced, one]
    if e.enough_heads:
        supposes.append(e.beyond_zero(e.limit_excess >= (1.0 - LEARNED) * float(e.powers.sum())))
    yield Trial(measure, needs=[e.enough_heads, e.of_paper], supposes=supposes)


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
