"""Training dynamics of multi-head softmax attention for in-context regression, in the spectral domain."""

from spectral_icl import initial as initial
from spectral_icl import optimal as optimal
from spectral_icl import theorems as theorems
from spectral_icl.ensemble import Ensemble as Ensemble
from spectral_icl.ensemble import gradient_flow_ensemble as gradient_flow_ensemble
from spectral_icl.flow import gradient_flow as gradient_flow
from spectral_icl.grid import open_sweep as open_sweep
from spectral_icl.parametrization import Balanced as Balanced
from spectral_icl.parametrization import Factored as Factored
from spectral_icl.parametrization import Merged as Merged
from spectral_icl.problem import Problem as Problem
from spectral_icl.provenance import package_version as _package_version
from spectral_icl.reduced import State as State
from spectral_icl.reduced import gradient as gradient
from spectral_icl.reduced import hessian as hessian
from spectral_icl.reduced import loss as loss
from spectral_icl.reduced import task_loss as task_loss
from spectral_icl.solution import IntegrationError as IntegrationError
from spectral_icl.solution import Outcome as Outcome
from spectral_icl.solution import Solution as Solution
from spectral_icl.validation import ProblemError as ProblemError

__version__ = _package_version()


def __getattr__(name: str) -> object:
    """Import the figures, and matplotlib with them, and the second paper's part when they are first used."""
    if name in ("plots", "optimal_plots", "sparse"):
        from importlib import import_module

        return import_module(f"spectral_icl.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
