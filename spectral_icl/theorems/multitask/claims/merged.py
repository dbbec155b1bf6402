"""What weights do that are trained as products, W and U themselves."""

from __future__ import annotations

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.optimal.benchmarks import head_budget
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import claim
from spectral_icl.theorems.multitask.evidence import Evidence

GAP = 0.05  # part of the way from the limit to the infimum that may be left
LASTING = 100.0  # L / s, in which flows come so near: the rest falls as the root of L / (s t) or faster
RESOLVED = 1e-6  # of the limit's excess, from which there is a way to go


@claim(
    "merged",
    "Merged weights have no task allocation for ever: with two tasks or more signs change, and the excess "
    "falls below the head-per-task limit, to the infimum for that number of heads.",
    "that the limit is left is derived; where the flow goes is observed",
)
def _merged(e: Evidence) -> Trials:
    def measure() -> Finding:
        best = head_budget(e.problem, e.heads, e.kernel) if e.heads > 1 else e.limit
        found, limit, infimum = (
            float(e.reducible(x).sum()) for x in (e.flow.final_task_loss, e.limit.task_loss, best.task_loss)
        )
        if not limit - infimum > RESOLVED * limit:
            raise UnmeasurableError("the infimum is no better than the limit")
        what = f"part of the way from the limit to the infimum by t = {e.end:g}, within {GAP:g}"
        finding = Finding.agreement((limit - found) / (limit - infimum), 1.0, GAP, what)
        changed = bool((e.flow.final.mu * e.start.mu < 0.0).any())
        return finding if changed else finding.refuted("no mu changes its sign")

    merged = Hypothesis("W and U are trained directly", not e.parametrization.trains_factors)
    several = Hypothesis("there are two tasks or more", e.problem.tasks > 1)
    enough = e.end >= LASTING * e.problem.context_length / e.problem.variance.min()
    lasting = Hypothesis(f"the flow lasts for {LASTING:g} L / s of every task", enough)
    supposes = [several, e.signs, e.dominated, e.small, e.solved, lasting, e.of_paper]
    yield Trial(measure, needs=[e.disjoint, e.enough_heads, merged], supposes=supposes)
