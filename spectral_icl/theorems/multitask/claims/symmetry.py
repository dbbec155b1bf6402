"""Equal tasks, and weights that treat them alike."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.optimal import equiangular
from spectral_icl.multitask.optimal.benchmarks import head_budget
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import claim
from spectral_icl.theorems.multitask.evidence import Evidence

FOUND = 1e-5  # relative error of an infimum that is found numerically
MOST_SEARCHED = 100  # tasks of which heads at equal angles are searched


@claim(
    "equiangular-heads",
    "For equal tasks and as many heads, weights at equal angles (omega_hi and mu_hi of two values, h = i "
    "or not) have the infimum of all weights, X = d / (1 - 1 / H): to treat tasks alike costs nothing.",
    "derived here; not the statement of Chen, Sheen, Wang and Yang (2024) on equiangular weights",
)
def _equiangular(e: Evidence) -> Trials:
    as_many = Hypothesis("there are as many heads as tasks, two at least", e.heads == e.problem.tasks > 1)

    def measure() -> Finding:
        if e.problem.tasks > MOST_SEARCHED:
            raise UnmeasurableError(f"it needs at most {MOST_SEARCHED} tasks, to be searched")
        least = float(e.reducible(head_budget(e.problem, e.problem.tasks).task_loss).sum())
        what = f"least excess at equal angles against that of all weights, within {FOUND:g}"
        return Finding.agreement(equiangular.searched(e.problem), least, FOUND, what)

    supposes = [e.of_paper, Hypothesis("tasks are equal", equiangular.alike(e.problem))]
    needs = [e.disjoint, as_many]
    if all(needs):
        least = head_budget(e.problem, e.problem.tasks).loss - float(np.sum(e.problem.noise))
        supposes.append(e.beyond_zero(bool(e.powers.sum() < (1.0 + 10.0 * FOUND) * least)))
    yield Trial(measure, needs, supposes)
