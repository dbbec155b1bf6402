"""The emergence of every task, predicted from the start alone, for whatever weights and law a flow has."""

from __future__ import annotations

from functools import singledispatch

from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.model import HYPERBOLIC, LINEAR, Chart, Model
from spectral_icl.kernels.structured.asymptotic import AsymptoticSignals
from spectral_icl.multitask.context import DEFAULT, pack
from spectral_icl.multitask.flow.emergence import Forecast, no_forecasts, predicted_emergences
from spectral_icl.multitask.flow.race import race
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, mu_entry

BALANCED = 0.1  # half the imbalance over the start, below which the theory of balanced weights is applied
_MERGED = "the flow of merged weights has no warm-up theory"
_NO_THEORY = "there is no warm-up theory of this law of the context"


def forecast(
    problem: Problem, start: State, chart: Chart, key_scale: float, kernel: str = DEFAULT
) -> tuple[Forecast, ...]:
    """The emergence of every task, predicted from the start alone, by `race`.

    Parameters
    ----------
    problem : Problem
    start : State
    chart : Chart
        Dual coordinates at the start, which say whether weights are balanced.
    key_scale : float
    kernel : str
        Law of the context; only the asymptotic one has a warm-up theory.
    """
    return _forecast(pack(problem, kernel), problem, start, chart, key_scale)


@singledispatch
def _forecast(
    model: Model, problem: Problem, start: State, chart: Chart, key_scale: float
) -> tuple[Forecast, ...]:
    return no_forecasts(problem, _NO_THEORY)


@_forecast.register(Asymptotic)
@_forecast.register(AsymptoticSignals)
def _(model: Model, problem: Problem, start: State, chart: Chart, key_scale: float) -> tuple[Forecast, ...]:
    if (chart.kind == LINEAR).any():
        return no_forecasts(problem, _MERGED)
    return tuple(_if_balanced(task, problem, start, chart) for task in race(problem, start, key_scale))


def lone_forecasts(
    problem: Problem, start: State, chart: Chart, key_scale: float, kernel: str = DEFAULT
) -> tuple[Forecast, ...]:
    """The emergence of every task by `predicted_emergence`: were the winner alone. Parameters: `forecast`."""
    return _lone_forecasts(pack(problem, kernel), problem, start, chart, key_scale)


@singledispatch
def _lone_forecasts(
    model: Model, problem: Problem, start: State, chart: Chart, key_scale: float
) -> tuple[Forecast, ...]:
    return no_forecasts(problem, _NO_THEORY)


@_lone_forecasts.register(Asymptotic)
@_lone_forecasts.register(AsymptoticSignals)
def _(model: Model, problem: Problem, start: State, chart: Chart, key_scale: float) -> tuple[Forecast, ...]:
    if (chart.kind == LINEAR).any():
        return no_forecasts(problem, _MERGED)
    alone = predicted_emergences(problem, start, key_scale, range(problem.tasks))
    return tuple(_if_balanced(task, problem, start, chart) for task in alone)


def _if_balanced(found: Forecast, problem: Problem, start: State, chart: Chart) -> Forecast:
    """The forecast, unless the weights of its winner are not balanced."""
    remark = "" if found.head is None else _why_not_balanced(problem, start, chart, found.head, found.task)
    return Forecast(found.task, None, None, remark) if remark else found


def _why_not_balanced(problem: Problem, start: State, chart: Chart, winner: int, task: int) -> str:
    """Why the prediction for balanced weights does not apply to a task's winner.

    Half its imbalance is above a tenth of its omega or mu at the start. Empty if it applies.
    """
    assert problem.home is not None
    block = problem.home[task]
    entries = (winner * problem.blocks + block, mu_entry(problem, len(start.omega), winner, task))
    for entry, value in zip(entries, (start.omega[winner, block], start.mu[winner, task]), strict=True):
        if chart.kind[entry] == HYPERBOLIC and chart.scale[entry] > BALANCED * abs(value):
            return "the imbalance is not small against the start"
    return ""
