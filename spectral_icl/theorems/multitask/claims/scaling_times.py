"""How the times of training scale with the problem and the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow import rates
from spectral_icl.multitask.flow.width import emergence_widths
from spectral_icl.multitask.parametrization import Balanced
from spectral_icl.multitask.problem import Problem, disjoint_home
from spectral_icl.multitask.signal import Signal
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask import measured
from spectral_icl.theorems.multitask.claims.emergence import small
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.claims.relaxation import emerged, few, losing
from spectral_icl.theorems.multitask.evidence import Evidence
from spectral_icl.theorems.multitask.families import repeated

EXPONENT = 0.02  # error of an exponent
FACTOR = 2.0  # by which everything is changed, one at a time
SMALLER = 1 / 16  # of the start, which is where the closed forms are exact
COPIES = "the number of tasks"
MOST = 100  # omega and mu of a flow that is solved for every change


class Changed(NamedTuple):
    """A problem and a start in which one thing is larger by `FACTOR`."""

    name: str
    problem: Problem
    start: State


@claim(
    "scaling-times",
    "Times scale with L, d, the power, the noise, I and the start as the closed forms do: of the emergence "
    "and its width, and the rates of losing heads and winners.",
    f"derived here, from the closed forms; {CSWY} for the dependence on the start",
)
def _scaling(e: Evidence) -> Trials:
    def measure() -> Finding:
        scale, start = e.flow.key_scale, State(*(SMALLER * values for values in e.start))
        base = replace(e, start=start, parametrization=Balanced(scale))
        seen, predicted = _times(base, base)
        found = []
        for name, problem, other in changes(e.problem, start):
            after, expected = _times(replace(base, problem=problem, start=other), base)
            for what in seen:
                exponents, theory = (
                    np.log(np.asarray(y[what]) / np.asarray(x[what])) / np.log(FACTOR)
                    for x, y in ((seen, after), (predicted, expected))
                )
                worst = int(np.abs(exponents - theory).argmax())
                text = f"exponent of {what} in {name}, the worst, within {EXPONENT:g}"
                found.append(Finding.near(float(exponents[worst]), float(theory[worst]), EXPONENT, text))
        return min(found, key=lambda finding: finding.margin)

    needs = [e.disjoint, few(e, MOST), e.balanced, emerged(e), e.dominated]
    yield Trial(measure, needs, [e.enough_heads, *e.theorem, *small(e), e.of_paper])


def changes(problem: Problem, start: State) -> Iterator[Changed]:
    """What can be changed of disjoint tasks, one thing at a time; the key scale is held."""
    yield Changed(
        "the context length", replace(problem, context_length=FACTOR * problem.context_length), start
    )
    sizes = tuple(int(FACTOR) * size for size in problem.block_sizes)
    yield Changed("the dimension", replace(problem, block_sizes=sizes), start)
    assert problem.home is not None
    powers = problem.power
    louder = tuple(FACTOR * noise for noise in problem.noise)
    stronger = replace(problem, signal=_disjoint(problem, FACTOR * powers))
    yield Changed("the power of the signal", stronger, start)
    if any(louder):
        yield Changed("the noise", replace(problem, noise=louder), start)
    yield Changed(COPIES, *_twice(problem, start))
    yield Changed("the size of the start", problem, State(*(FACTOR * values for values in start)))


def _disjoint(problem: Problem, powers: Floats) -> Signal:
    assert problem.home is not None
    rows = [{block: power} for block, power in zip(problem.home, powers.tolist(), strict=True)]
    return Signal.of(rows, problem.blocks)


def _twice(problem: Problem, start: State) -> tuple[Problem, State]:
    """Every task and every head twice; half as large on the tasks of the copies, which they do not lead."""
    home = disjoint_home(problem)
    own = State(start.omega[:, home], start.mu)
    twice = State(*(np.block([[values, 0.5 * values], [0.5 * values, values]]) for values in own))
    return repeated(problem, 2 * problem.tasks), twice


def _times(e: Evidence, base: Evidence) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Times and rates of the tasks and heads of ``base``, as they are seen and as they are predicted."""
    problem, scale, tasks = e.problem, e.flow.key_scale, base.problem.tasks
    forecast = [np.nan if task.time is None else task.time for task in e.flow.forecast]
    winning, relaxing = measured.winners(e), rates.winner_rates(problem, scale)
    seen = {
        "the emergence": np.array([task.time for task in e.flow.phases.tasks]),
        "its width": measured.widths(e),
        "the winners' slow rate": winning.slow,
        "the winners' fast rate": winning.fast,
    }
    predicted = {
        "the emergence": np.array(forecast),
        "its width": emergence_widths(problem, scale),
        "the winners' slow rate": relaxing.slow,
        "the winners' fast rate": relaxing.fast,
    }
    seen, predicted = ({what: values[:tasks] for what, values in one.items()} for one in (seen, predicted))
    lost = losing(base)
    if lost.any():
        losers = measured.losers(e)
        seen["the losing heads' rate"] = losers.rates[: base.heads, :tasks][lost]
        falling = rates.losing_rates(problem, losers.reading)
        predicted["the losing heads' rate"] = falling[: base.heads, :tasks][lost]
    if not np.isfinite(predicted["the emergence"]).all():
        raise UnmeasurableError("not every emergence is predicted")
    return seen, predicted
