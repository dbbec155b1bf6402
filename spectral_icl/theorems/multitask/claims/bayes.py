"""The limit of training against what no predictor goes below."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.optimal.benchmarks import bayes, gradient_step
from spectral_icl.multitask.optimal.constants import bayes_factor
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

RESOLVED = 1e-5  # what the end of a flow resolves of a loss, and of a ratio of losses


@claim(
    "bayes-comparison",
    "The limit's excess is above that of one gradient step, which is above the Bayes risk, and below e (1 "
    "+ SNR) times the Bayes risk, to which the ratio tends for long prompts.",
    f"{CSWY} compare with Bayes; the factor is derived here, and is of the asymptotic law",
)
def _bayes(e: Evidence) -> Trials:
    def measure() -> Finding:
        risk, factor = e.reducible(bayes(e.problem).task_loss), bayes_factor(e.problem)
        step, final = e.reducible(gradient_step(e.problem).task_loss), e.reducible(e.flow.final_task_loss)
        if not (final / step > 1.0 + RESOLVED).all():
            raise UnmeasurableError("the limit and one gradient step agree, to the accuracy of the flow")
        ratio = final / risk
        told = e.reducible(e.limit.task_loss) / (risk * factor)
        if (np.abs(told - 1.0) <= RESOLVED).any():
            raise UnmeasurableError("the ratio is e (1 + SNR), to the accuracy of the flow")
        task = int((ratio / factor).argmax())
        what = f"task {task}, excess over the Bayes risk, in (1, {factor[task]:.4g})"
        found = Finding.between(float(ratio[task]), 1.0, float(factor[task]), what)
        between = (risk <= step * (1.0 + RESOLVED)).all() and (step < final).all()
        return found if between else found.refuted("a gradient step is not between")

    noisy = Hypothesis("labels are noisy", min(e.problem.noise) > 0.0)
    whole = Hypothesis("prompts have a whole number of pairs", e.problem.context_length.is_integer())
    needs = [e.disjoint, e.enough_heads, noisy, whole]
    supposes = [e.of_paper, *e.theorem, e.rests]
    if all(needs):
        risk = bayes(e.problem).task_loss - np.asarray(e.problem.noise)
        supposes.append(e.beyond_zero(bool((e.powers < bayes_factor(e.problem) * risk).any())))
    yield Trial(measure, needs, supposes)
