"""What the gradient of softmax attention keeps at zero, in the embedding of the authors' code."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask import softmax
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.claims.sampling import sampled
from spectral_icl.theorems.multitask.evidence import Evidence

FALSE_ALARM = 1e-6  # chance, at most, that sampled zeros look like something else
ENTRIES = 10**6  # of sampled matrices
FEWEST = 128  # prompts at a time: the largest score is the root of their number, and has to pass the bound


@claim(
    "decomposability-preserved",
    "With tokens (x; y) the gradient at decomposable weights is decomposable, all along the flow: W_YX, U_X "
    "and the off-diagonal entries of W_XX and U_Y have none, and within a block W_XX has one.",
    f"{CSWY}; by symmetry under reflections and exchange",
)
def _decomposability(e: Evidence) -> Trials:
    def measure() -> Finding:
        affordable = softmax.affordable(e.problem, e.prompts)
        states = moments(e)[: max(1, affordable // FEWEST)]
        prompts = max(FEWEST, affordable // len(states))
        ratios = [zeros(e, at, prompts) for at in states]
        values = np.concatenate(ratios)
        if not values.size:
            raise UnmeasurableError("all entries that should vanish are zero, or too small to square")
        most = bound(values.size)
        rms = float(np.sqrt((values**2).mean()))
        what = (
            f"largest |z| of {values.size} zeros at {len(ratios)} times, rms {rms:.2f}, {prompts} prompts; "
            f"chance is above the bound with probability {FALSE_ALARM:g}"
        )
        return Finding.below(float(np.abs(values).max()), most, what)

    entries = e.heads * (e.problem.dimension + e.problem.tasks) ** 2
    few = Hypothesis("matrices have at most a million entries", entries <= ENTRIES)
    yield Trial(measure, needs=[sampled(e), few, e.learns])


def moments(e: Evidence) -> list[State]:
    """The states at the first and the last emergence, at the end and at the start.

    While a task is learned the gradient is large, so that entries that should vanish are seen if they do not.
    """
    seen = [task.time for task in e.flow.phases.tasks if np.isfinite(task.time)]
    emergences = [min(seen), max(seen)] if seen else []
    times = dict.fromkeys(float(e.flow.trajectory.nearest(time)) for time in (*emergences, e.end))
    return [*(e.flow(time) for time in times), e.start]


def zeros(e: Evidence, at: State, prompts: int) -> Floats:
    """What chance makes of the entries that should vanish, in standard errors about zero, (n,).

    Those that are zero in every prompt are left out.
    """
    kq, ov = softmax.embedded(e.problem, at)
    return scores(softmax.embedded_gradient(e.problem, kq, ov, prompts, e.seed), prompts)


def scores(found: softmax.Embedded, prompts: int) -> Floats:
    """Sums of the samples of these entries over the roots of the sums of their squares, (n,)."""
    dimension, tasks = found.kq.mean.shape[2], found.ov.mean.shape[1]
    beside_kq = np.ones((dimension + tasks, dimension), dtype=bool)
    beside_kq[:dimension] = ~np.eye(dimension, dtype=bool)
    beside_ov = np.ones((tasks, dimension + tasks), dtype=bool)
    beside_ov[:, dimension:] = ~np.eye(tasks, dtype=bool)
    parts = [
        (found.kq, beside_kq),
        (found.ov, beside_ov),
        (found.gaps, np.ones(found.gaps.mean.shape[1:], bool)),
    ]
    mean, error = (
        np.concatenate([getattr(sample, name)[:, where].ravel() for sample, where in parts])
        for name in ("mean", "error")
    )
    size = np.sqrt(error**2 + mean**2 / prompts)
    result: Floats = mean[size > 0.0] / size[size > 0.0]
    return result


def bound(count: int) -> float:
    """What the largest of so many `scores` exceeds with probability `FALSE_ALARM` at most.

    A reflection or an exchange changes the sign of a prompt's entry and not the law of the prompt. So signs
    are fair coins, given the sizes, and by Hoeffding's inequality a score exceeds x with probability
    2 e^(-x^2 / 2) at most: whatever the number of prompts, and however heavy the tails of the entries.
    """
    return float(np.sqrt(2.0 * np.log(2.0 * count / FALSE_ALARM)))
