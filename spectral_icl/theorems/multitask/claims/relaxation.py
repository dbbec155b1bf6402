"""How weights come to the limit: those that lose, those that win, and what winners have elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.flow import rates
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask import measured
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.evidence import Evidence

RATE = 2e-3  # relative error of a rate
POWER = 0.02  # of the exponent of the excess
MOST = 400  # omega and mu of a flow that is solved again


@claim(
    "losing-heads",
    "Heads without the task lose it: in the end their mu decays at the rate "
    "4 a sqrt(d) phi (e^z - e z) / (L (1 + e d phi / L)), z = kappa sqrt(d) omega.",
    f"{CSWY}, who say that they diminish; the rate is derived here",
)
def _losers(e: Evidence) -> Trials:
    def measure() -> Finding:
        found = measured.losers(e)
        predicted = rates.losing_rates(e.problem, found.reading)
        lost = losing(e)
        off = np.where(lost, np.abs(found.rates / predicted - 1.0), 0.0)
        worst = np.unravel_index(off.argmax(), off.shape)
        named = f"decay rate of mu of head {worst[0]} in task {worst[1]}"
        what = f"{named}, the worst of {lost.sum()}, within {RATE:g}"
        return Finding.agreement(float(found.rates[worst]), float(predicted[worst]), RATE, what)

    needs = [e.disjoint, few(e, MOST), emerged(e), e.dominated]
    lost = losing(e) if all(needs) else np.zeros(e.start.mu.shape, dtype=np.bool_)
    heads = Hypothesis("there is a head without a task", bool(lost.any()))
    yield Trial(measure, needs=[*needs, heads], supposes=[*e.theorem, e.of_paper])


@claim(
    "winner-rates",
    "A winner, all other weights being zero, comes to the limit at the two rates that the linearised flow "
    "has there. In the whole flow it follows what fades more slowly, `stray-decay`.",
    f"{CSWY}, who say that winners converge; the rates are derived here",
)
def _winners(e: Evidence) -> Trials:
    def measure() -> Finding:
        seen, predicted = measured.winners(e), rates.winner_rates(e.problem, e.flow.key_scale)
        found = [
            Finding.agreement(
                *pair, RATE, f"{name} rate of the winner of task {task}, the worst, within {RATE:g}"
            )
            for name in ("fast", "slow")
            for task, pair in enumerate(zip(getattr(seen, name), getattr(predicted, name), strict=True))
        ]
        return min(found, key=lambda finding: finding.margin)

    yield Trial(measure, [e.disjoint, emerged(e), e.dominated], [*e.theorem, e.of_paper])


@claim(
    "stray-decay",
    "What a winner's omega has on other blocks decays as 1/(k t), k = 4 e c kappa^2 a phi mu^2 / L, and the "
    "excess over the limit as t^-2.",
    f"{CSWY}, who say that interference vanishes; the law is derived here",
)
def _strays(e: Evidence) -> Trials:
    def measure() -> Finding:
        found = measured.strays(e, _settling(e))
        off = np.abs(found.growth / found.predicted - 1.0)
        worst = int(off.argmax())
        what = f"rate of 1 / omega, the worst of {off.size}, within {RATE:g}"
        if np.isnan(found.exponent):
            what += "; the excess is lost to rounding"
        else:
            what += f"; the excess falls as t^-{found.exponent:.3f}"
        rate = Finding.agreement(float(found.growth[worst]), float(found.predicted[worst]), RATE, what)
        if np.isnan(found.exponent):
            return rate
        said = f"exponent of the excess over the limit, within {POWER:g}"
        return min(rate, Finding.agreement(found.exponent, 2.0, POWER, said), key=lambda one: one.margin)

    needs = [e.disjoint, few(e, MOST), emerged(e), e.dominated]
    stray = Hypothesis("a winner has omega on another block", all(needs) and _has_strays(e))
    yield Trial(measure, [*needs, stray], [*e.theorem, e.of_paper])


def few(e: Evidence, most: int) -> Hypothesis:
    """The flow is small enough to be solved several times."""
    return Hypothesis(f"there are at most {most} omega and mu", e.start.omega.size + e.start.mu.size <= most)


def emerged(e: Evidence) -> Hypothesis:
    """Every task has reached its plateau."""
    return Hypothesis(
        "every task has emerged", all(np.isfinite(task.settled) for task in e.flow.phases.tasks)
    )


def losing(e: Evidence) -> NDArray[np.bool_]:
    """Whether a head has lost a task, (H, I): it does not lead, and its mu was not zero from the start."""
    lost: NDArray[np.bool_] = e.start.mu != 0.0
    lost[measured.leaders(e), np.arange(e.problem.tasks)] = False
    return lost


def _settling(e: Evidence) -> float:
    """Time in which winners and losing heads come nearer to the limit by a factor e."""
    slow = rates.winner_rates(e.problem, e.flow.key_scale).slow.min()
    lost = losing(e)
    falling = rates.losing_rates(e.problem, measured.readings(e.problem, e.flow.final))[lost]
    slowest = min(float(slow), float(falling.min(initial=np.inf)))
    if not slowest > 0.0:
        raise UnmeasurableError("a losing head does not decay")
    return 1.0 / slowest


def _has_strays(e: Evidence) -> bool:
    assert e.problem.home is not None
    omega = e.start.omega[measured.leaders(e)] != 0.0
    omega[np.arange(e.problem.tasks), list(e.problem.home)] = False
    return bool(omega.any())
