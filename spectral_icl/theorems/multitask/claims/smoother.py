"""What the trained model computes: a kernel smoother of each task's block."""

from __future__ import annotations

import numpy as np

from spectral_icl.multitask import softmax
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.claims.sampling import sampled
from spectral_icl.theorems.multitask.evidence import Evidence

INTERFERENCE = (
    1e-3  # root mean square of what is not the smoother's in an answer, over that of the smoother's
)
PROMPTS = 400  # to sample: no average is estimated, only that nothing is left


@claim(
    "kernel-smoother",
    "Trained to rest, softmax attention answers task i by mu times the Nadaraya-Watson estimate on the "
    "task's block, with the kernel exp(omega x . q), omega = 1 / (kappa d^(1/2)) under the asymptotic "
    "law: what the other heads and tasks interfere vanishes.",
    f"{CSWY}, the limit as a kernel smoother",
)
def _smoother(e: Evidence) -> Trials:
    def measure() -> Finding:
        at = e.limit.weights
        if at is None or e.problem.home is None:
            raise UnmeasurableError("the weights of the limit are too many")
        tasks = np.arange(e.problem.tasks)
        kernel, scale = at.omega[tasks, list(e.problem.home)], at.mu[tasks, tasks]
        prompts = softmax.affordable(e.problem, min(e.prompts, PROMPTS))
        found = softmax.interference(e.problem, e.flow.final, kernel, scale, prompts, e.seed)
        worst = int(found.mean.argmax())
        left = float(np.sqrt(found.mean[worst]))
        error = float(found.error[worst]) / (2.0 * left) if left > 0.0 else 0.0
        what = (
            f"what is not the smoother's in the answers to task {worst}, below {INTERFERENCE:g} of them (rms)"
        )
        return Finding.below(left, INTERFERENCE, what, error)

    needs = [e.disjoint, e.enough_heads, sampled(e)]
    yield Trial(measure, needs, supposes=[*e.theorem, e.rests])
