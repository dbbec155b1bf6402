"""What the flow keeps: signs, imbalances, and the direction of the loss."""

from __future__ import annotations

import numpy as np

from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

ROUNDING = 1e-11  # relative to the loss, below which a difference means nothing
RISE = 10.0  # relative rise of the loss that the integration may cause, over rtol
PATH = 1e4  # agreement of the flow with that of k, q, o and v through the steepest fall, over rtol


@claim("monotone-loss", "The loss never increases along the flow.", "gradient flow")
def _monotone(e: Evidence) -> Trials:
    def measure() -> Finding:
        losses = e.losses
        left = losses - float(np.sum(e.problem.noise))
        rounded = ROUNDING * losses[:-1] / left[:-1]
        rise = float((np.diff(losses) / left[:-1] - rounded).max(initial=0.0))
        if not (left > 0.0).all():
            raise UnmeasurableError("the loss is all query noise, or below it")
        return Finding.zero(
            rise, RISE * e.rtol, "largest rise of the excess between two times, over the excess"
        )

    yield Trial(measure, needs=[e.learns], supposes=[e.solved])


@claim("sign-conservation", "Balanced weights keep the sign of every omega and mu.", f"{CSWY}; mirror flow")
def _signs(e: Evidence) -> Trials:
    def measure() -> Finding:
        flips = e.factors.flips if e.trained_factors else 0
        for start, path in zip(e.start, e.flow(e.times), strict=True):
            # an entry that reaches 0 from elsewhere has underflowed, not crossed
            crossed = (path * np.sign(start) < 0.0) | ((start == 0.0) & (path != 0.0))
            flips += int(crossed.any(axis=0).sum())
        what = "entries that changed sign, in the flow or in k, q, o, v integrated apart"
        return Finding.count(flips, 0, what)

    yield Trial(measure, needs=[e.learns], supposes=[e.balanced, e.solved])


@claim(
    "imbalance-conservation",
    "k^2 - q^2 and v^2 - o^2 are conserved, so that the flow closes in omega = c k q and mu = o v.",
    "mirror flow of the factored weights",
)
def _imbalance(e: Evidence) -> Trials:
    def measure() -> Finding:
        found = e.factors
        bar = PATH * e.rtol
        what = f"relative drift {found.drift:.1e}, distance of paths {found.distance:.1e}, below {bar:g}"
        worst = max(found.drift, found.distance)
        return Finding.zero(worst, bar, what)

    yield Trial(measure, needs=[e.trained_factors, e.learns], supposes=[e.solved])
