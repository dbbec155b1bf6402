"""Training dynamics of multi-head softmax attention for in-context regression, in the spectral domain."""

from spectral_icl import theorems as theorems
from spectral_icl.io.checks import ProblemError as ProblemError
from spectral_icl.io.provenance import package_version as _package_version
from spectral_icl.multitask import initial as initial
from spectral_icl.multitask import optimal as optimal
from spectral_icl.multitask.flow.ensemble import Ensemble as Ensemble
from spectral_icl.multitask.flow.ensemble import gradient_flow_ensemble as gradient_flow_ensemble
from spectral_icl.multitask.flow.options import Outcome as Outcome
from spectral_icl.multitask.flow.solution import IntegrationError as IntegrationError
from spectral_icl.multitask.flow.solution import Solution as Solution
from spectral_icl.multitask.flow.solve import gradient_flow as gradient_flow
from spectral_icl.multitask.loss import gradient as gradient
from spectral_icl.multitask.loss import hessian as hessian
from spectral_icl.multitask.loss import loss as loss
from spectral_icl.multitask.loss import task_loss as task_loss
from spectral_icl.multitask.parametrization import Balanced as Balanced
from spectral_icl.multitask.parametrization import Factored as Factored
from spectral_icl.multitask.parametrization import Merged as Merged
from spectral_icl.multitask.problem import Problem as Problem
from spectral_icl.multitask.state import State as State
from spectral_icl.sweeps.store import open_sweep as open_sweep

__version__ = _package_version()


def __getattr__(name: str) -> object:
    """Import the figures, and matplotlib with them, and the second paper's part when they are first used."""
    rooms = {"plots": "figures.flow", "optimal_plots": "figures.optimal", "sparse": "sparse"}
    if name in rooms:
        from importlib import import_module

        return import_module(f"spectral_icl.{rooms[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
