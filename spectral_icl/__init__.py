"""Training dynamics of multi-head softmax attention for in-context regression, in the spectral domain."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from spectral_icl.version import __version__ as __version__

if _TYPE_CHECKING:
    from spectral_icl import sparse as sparse
    from spectral_icl import theorems as theorems
    from spectral_icl.figures import flow as plots  # noqa: F401
    from spectral_icl.figures import optimal as optimal_plots  # noqa: F401
    from spectral_icl.io.checks import ProblemError as ProblemError
    from spectral_icl.multitask import initial as initial
    from spectral_icl.multitask import nonlinear as nonlinear
    from spectral_icl.multitask import optimal as optimal
    from spectral_icl.multitask.flow.ensemble import Ensemble as Ensemble
    from spectral_icl.multitask.flow.ensemble import gradient_flow_ensemble as gradient_flow_ensemble
    from spectral_icl.multitask.flow.options import Outcome as Outcome
    from spectral_icl.multitask.flow.solution import IntegrationError as IntegrationError
    from spectral_icl.multitask.flow.solution import Solution as Solution
    from spectral_icl.multitask.flow.solve import gradient_flow as gradient_flow
    from spectral_icl.multitask.flow.stochastic import StochasticFlow as StochasticFlow
    from spectral_icl.multitask.flow.stochastic import stochastic_flow as stochastic_flow
    from spectral_icl.multitask.loss import gradient as gradient
    from spectral_icl.multitask.loss import hessian as hessian
    from spectral_icl.multitask.loss import hessian_product as hessian_product
    from spectral_icl.multitask.loss import loss as loss
    from spectral_icl.multitask.loss import task_loss as task_loss
    from spectral_icl.multitask.parametrization import Balanced as Balanced
    from spectral_icl.multitask.parametrization import Factored as Factored
    from spectral_icl.multitask.parametrization import Merged as Merged
    from spectral_icl.multitask.problem import Problem as Problem
    from spectral_icl.multitask.state import State as State
    from spectral_icl.sweeps.store import open_sweep as open_sweep

# where the names are, which are imported when they are first used: help and versions need no solver
_HOMES = {
    "Balanced": "multitask.parametrization",
    "Ensemble": "multitask.flow.ensemble",
    "Factored": "multitask.parametrization",
    "IntegrationError": "multitask.flow.solution",
    "Merged": "multitask.parametrization",
    "Outcome": "multitask.flow.options",
    "Problem": "multitask.problem",
    "ProblemError": "io.checks",
    "Solution": "multitask.flow.solution",
    "State": "multitask.state",
    "StochasticFlow": "multitask.flow.stochastic",
    "gradient": "multitask.loss",
    "gradient_flow": "multitask.flow.solve",
    "gradient_flow_ensemble": "multitask.flow.ensemble",
    "hessian": "multitask.loss",
    "hessian_product": "multitask.loss",
    "loss": "multitask.loss",
    "open_sweep": "sweeps.store",
    "stochastic_flow": "multitask.flow.stochastic",
    "task_loss": "multitask.loss",
}
_ROOMS = {
    "initial": "multitask.initial",
    "nonlinear": "multitask.nonlinear",
    "optimal": "multitask.optimal",
    "sparse": "sparse",
    "theorems": "theorems",
}
_FIGURES = {"plots": "figures.flow", "optimal_plots": "figures.optimal"}  # not listed: they need matplotlib

__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str) -> object:
    """Import what is used for the first time."""
    if name in _HOMES:
        found = getattr(_import_module(f"spectral_icl.{_HOMES[name]}"), name)
    elif name in _ROOMS or name in _FIGURES:
        found = _import_module(f"spectral_icl.{(_ROOMS | _FIGURES)[name]}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """All names, also those that have not been used yet."""
    return sorted({*globals(), *__all__})
