"""How the limit is left where signs may change."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.flow.escape import Escape, fall, settled
from spectral_icl.multitask.flow.forecast import BALANCED
from spectral_icl.multitask.loss import gradient_at
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import Finding, Trial, Trials
from spectral_icl.theorems.multitask.claims.registry import claim
from spectral_icl.theorems.multitask.evidence import Evidence

ESCAPE = 0.10  # relative error of the predicted escape time,
SETTLING = 0.05  # part of that time that it costs if the rate of the fall settles late,
RIVAL, CROWD = 0.03, 4  # for rivals with kappa sqrt(d) omega up to this, among so many heads
_MOMENTS = 65  # of a wait, at which a rate is looked at


@claim(
    "escape-rate",
    "With an imbalance the limit is a saddle: a losing head changes sign and the plateau is left, on time.",
    "derived from the mirror flow",
)
def _escape(e: Evidence) -> Trials:
    escapes = [escape for escape in e.flow.phases.escapes if escape.predicted_time is not None]
    predicted = min((float(escape.predicted_time or 0.0) for escape in escapes), default=0.0)

    def measure() -> Finding:
        first = min(escapes, key=lambda escape: e.seen(escape.time))
        what = f"escape time of task {first.task} through head {first.head}, within {ESCAPE:.0%}"
        found = Finding.agreement(e.seen(first.time), predicted, ESCAPE, what)
        left = np.isfinite(first.time)
        return found if left else found.refuted(f"the plateau is not left by t = {e.end:g}")

    imbalance = e.parametrization.imbalance("mu")
    needs = [e.disjoint, Hypothesis("the imbalance is positive", bool(imbalance.min() > 0.0))]
    needs += [e.kept_whole, Hypothesis("an escape is predicted", bool(escapes))]
    small = bool(imbalance.max() <= 2.0 * BALANCED * np.abs(e.start.mu).max())
    supposes = [
        e.dominated,
        e.small,
        Hypothesis("the imbalance is small against the start", small),
        e.long_enough(predicted),
    ]
    if escapes and e.disjoint:
        supposes += _quiet_rivals(e, escapes, float(imbalance.max()))
    supposes.append(Hypothesis(f"there are at most {CROWD} heads", e.heads <= CROWD))
    yield Trial(measure, needs, supposes)


def _quiet_rivals(e: Evidence, escapes: list[Escape], imbalance: float) -> list[Hypothesis]:
    """Whether the rivals of the escaping tasks are small and still on the winner's side at the emergence."""
    assert e.problem.home is not None
    largest, waiting, unsettled = 0.0, True, 0.0
    for escape in escapes:
        emerged = e.flow.phases.tasks[escape.task]
        assert emerged.head is not None
        block = e.problem.home[escape.task]
        unit = e.problem.covariance[block] * e.problem.block_sizes[block] ** 0.5
        at = e.flow(emerged.time)
        largest = max(largest, unit * abs(float(at.omega[escape.head, block])))
        side = np.sign(at.mu[emerged.head, escape.task]) * at.mu[:, escape.task]
        waiting = waiting and bool((side > imbalance).all())
        unsettled = max(unsettled, _unsettled(e, escape, emerged.time, emerged.head))
    return [
        Hypothesis(
            f"the rate settles early: it costs at most {SETTLING:.0%} of the time", unsettled <= SETTLING
        ),
        Hypothesis(f"the rival's kappa sqrt(d) omega is at most {RIVAL:g}", largest <= RIVAL),
        Hypothesis("no rival has changed sign before the emergence", waiting),
    ]


def _unsettled(e: Evidence, escape: Escape, emerged: float, winner: int) -> float:
    """How much of the predicted time it costs that the rate of a rival's fall is not yet that of the limit.

    The winner settles, the omega of a rival that takes another task decays, and their omega on other blocks
    overlap: the rate in the mean over the wait, over that which the prediction has.
    """
    assert e.problem.home is not None
    assert escape.predicted_time is not None
    assert e.limit.weights is not None
    block, task = e.problem.home[escape.task], escape.task
    end = min(escape.predicted_time, e.seen(escape.time))
    times = np.linspace(emerged, end, _MOMENTS)
    at = e.flow(emerged)
    side = 1.0 if at.omega[winner, block] >= 0.0 else -1.0
    rates = []
    for time in times:
        now = e.flow(time)
        alone = np.zeros_like(now.mu)
        alone[winner, task] = now.mu[winner, task]
        slope = gradient_at(e.problem, State(now.omega, alone), e.kernel).mu[escape.head, task]
        rates.append(2.0 * side * slope)
    there = settled(e.problem, at, task, winner, e.limit.weights)
    last = fall(e.problem, there, task, winner, escape.head, e.kernel)
    wait = (end - emerged) / end
    return abs(float(np.trapezoid(rates)) / (_MOMENTS - 1) / last - 1.0) * wait
