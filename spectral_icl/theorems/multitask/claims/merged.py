"""What weights do that are trained as products, W and U themselves."""

from __future__ import annotations

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.optimal.benchmarks import head_budget
from spectral_icl.theorems.claim import Finding, Trial, Trials
from spectral_icl.theorems.multitask.claims.registry import claim
from spectral_icl.theorems.multitask.evidence import Evidence

END = 0.02  # relative distance of the excess in the end from the infimum
BELOW = 0.01  # part of the limit's excess by which it is left, to count as left


@claim(
    "merged",
    "Merged weights have no task allocation for ever: with two tasks or more signs change, and the excess "
    "falls below the head-per-task limit, to the infimum for that number of heads.",
    "that the limit is left is derived; where the flow goes is observed",
)
def _merged(e: Evidence) -> Trials:
    def measure() -> Finding:
        found, limit = (float(e.reducible(x).sum()) for x in (e.flow.final_task_loss, e.limit.task_loss))
        infimum = head_budget(e.problem, e.heads, e.kernel) if e.heads > 1 else e.limit
        predicted = float(e.reducible(infimum.task_loss).sum())
        what = f"excess by t = {e.end:g} against the infimum, within {END:g}; the limit's is {limit:.6g}"
        finding = Finding.agreement(found, predicted, END, what)
        if not found < (1.0 - BELOW) * limit:
            return finding.refuted(f"the limit, of excess {limit:.6g}, is not left")
        return (
            finding
            if (e.flow.final.mu * e.start.mu < 0.0).any()
            else finding.refuted("no mu changes its sign")
        )

    merged = Hypothesis("W and U are trained directly", not e.parametrization.trains_factors)
    several = Hypothesis("there are two tasks or more", e.problem.tasks > 1)
    supposes = [several, e.signs, e.dominated, e.small, e.solved, e.of_paper]
    yield Trial(measure, needs=[e.disjoint, e.enough_heads, merged], supposes=supposes)
