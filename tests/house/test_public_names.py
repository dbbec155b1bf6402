"""The names, signatures and attributes that other programs rely on: a change here is a change for them."""

import ast
import inspect
import subprocess
import sys
import types
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import spectral_icl as si

NAMES = {
    "Balanced",
    "Ensemble",
    "Factored",
    "IntegrationError",
    "Merged",
    "Outcome",
    "Problem",
    "ProblemError",
    "Solution",
    "State",
    "StochasticFlow",
    "gradient",
    "gradient_flow",
    "gradient_flow_ensemble",
    "hessian",
    "hessian_product",
    "loss",
    "open_sweep",
    "stochastic_flow",
    "task_loss",
}
MODULES = {"initial", "nonlinear", "optimal", "theorems"}

# Parameters in order; "*" stands before those that must be named, "=" after those with a default.
SIGNATURES = {
    "Problem": "* block_sizes signal noise context_length covariance=",
    "Problem.multitask": "* task_sizes signal noise context_length covariance=",
    "Problem.from_dict": "table",
    "Problem.by_feature": "self",
    "Problem.to_dict": "self",
    "Problem.digest": "self",
    "Problem.has_digest": "self text",
    "loss": "problem omega mu kernel=",
    "task_loss": "problem omega mu kernel=",
    "gradient": "problem omega mu kernel=",
    "hessian": "problem omega mu kernel=",
    "hessian_product": "problem omega mu by_omega by_mu kernel=",
    "gradient_flow": "problem omega0 mu0"
    " * parametrization= t_end= t_eval= rtol= kernel= stationary= max_steps= dense_output= progress=",
    "gradient_flow_ensemble": "problems omega0 mu0"
    " * parametrization= t_end= t_eval= rtol= kernel= stationary= max_steps= phases= threads=",
    "stochastic_flow": "problem omega0 mu0 * step batch parametrization= t_end= t_eval= kernel= paths= seed="
    " noisy_queries= prompts= threads= progress=",
    "StochasticFlow.band": "self values quantiles=",
    "open_sweep": "path",
    "Balanced": "key_scale=",
    "Factored": "imbalance_omega imbalance_mu key_scale=",
    "Merged": "",
    "initial.paper": "problem heads qk= ov_low= ov_high= key_scale=",
    "initial.dominant": "problem heads scale= margin= seed=",
    "initial.random": "problem heads scale= seed= positive=",
    "initial.scattered": "problem heads scale= margin= scatter= seed=",
    "initial.matrices": "problem heads size= seed= key_scale=",
    "optimal.single_head": "problem kernel=",
    "optimal.head_per_task": "problem kernel=",
    "optimal.lower_bound": "problem kernel=",
    "optimal.head_budget": "problem heads kernel=",
    "optimal.plateau": "problem kernel=",
    "optimal.small_heads": "problem heads=",
    "optimal.gradient_step": "problem",
    "optimal.bayes": "problem",
    "optimal.length_generalisation": "problem context_length omega= mu= kernel=",
    "optimal.minimise": "problem heads kernel= seed=",
    "optimal.effective_dimension": "problem benchmark",
    "nonlinear.SingleIndex": "* task_sizes coefficients noise context_length",
    "nonlinear.loss": "problem omega mu kernel=",
    "nonlinear.task_loss": "problem omega mu kernel=",
    "nonlinear.gradient": "problem omega mu kernel=",
    "nonlinear.gradient_flow": "problem omega0 mu0"
    " * parametrization= t_end= t_eval= rtol= kernel= max_steps=",
    "nonlinear.learned": "problem omega mu",
    "nonlinear.best_head": "problem task= kernel=",
    "nonlinear.best_pair": "problem task= kernel= balanced=",
    "nonlinear.lower_bound": "problem",
    "nonlinear.losses": "problem omega mu prompts seed",
    "theorems.check": "problem omega0 mu0 * parametrization= claims= t_end= rtol= kernel= prompts= seed=",
    "theorems.names": "",
    "Solution.__call__": "self t",
    "Solution.save": "self path",
    "Solution.load": "path",
    "Solution.to_xarray": "self",
    "Solution.from_xarray": "data",
}

DEFAULTS = {
    "Problem": {"covariance": 1.0},
    "gradient_flow": {
        "parametrization": si.Balanced(key_scale=None),
        "t_end": 200.0,
        "t_eval": None,
        "rtol": 1e-8,
        "kernel": "asymptotic",
        "stationary": None,
        "max_steps": 100_000,
        "dense_output": None,
        "progress": None,
    },
    "stochastic_flow": {
        "parametrization": si.Balanced(key_scale=None),
        "t_end": 200.0,
        "t_eval": None,
        "kernel": "asymptotic",
        "paths": 64,
        "seed": 0,
        "noisy_queries": False,
        "prompts": 4000,
        "threads": None,
        "progress": None,
    },
    "Balanced": {"key_scale": None},
    "Factored": {"key_scale": None},
    "initial.paper": {"qk": None, "ov_low": None, "ov_high": None, "key_scale": None},
    "initial.dominant": {"scale": 0.01, "margin": 0.5, "seed": None},
    "initial.scattered": {"scale": 0.01, "margin": 0.5, "scatter": 0.5, "seed": 0},
    "initial.matrices": {"size": 0.1, "seed": 0, "key_scale": None},
    "initial.random": {"scale": 0.01, "seed": 0, "positive": False},
    **{
        f"optimal.{name}": {"kernel": "asymptotic"}
        for name in ("single_head", "head_per_task", "lower_bound", "head_budget", "plateau")
    },
    "optimal.small_heads": {"heads": None},
    "optimal.length_generalisation": {"omega": None, "mu": None, "kernel": "asymptotic"},
    "optimal.minimise": {"kernel": "asymptotic", "seed": 0},
    "nonlinear.gradient_flow": {
        "parametrization": si.Balanced(key_scale=None),
        "t_end": 200.0,
        "t_eval": None,
        "rtol": 1e-8,
        "kernel": "asymptotic",
        "max_steps": 20_000,
    },
    "nonlinear.best_pair": {"task": 0, "kernel": "asymptotic", "balanced": True},
    "theorems.check": {
        "parametrization": si.Balanced(key_scale=None),
        "claims": None,
        "t_end": None,
        "rtol": 1e-8,
        "kernel": "asymptotic",
        "prompts": 4000,
        "seed": 0,
    },
}

SOLUTION = {
    "allocation",
    "environment",
    "from_xarray",
    "heads",
    "key_scale",
    "final",
    "final_loss",
    "final_task_loss",
    "forecast",
    "load",
    "loss",
    "message",
    "mu",
    "omega",
    "options",
    "outcome",
    "parametrization",
    "phases",
    "problem",
    "saturation",
    "save",
    "shares",
    "stats",
    "success",
    "t",
    "task_loss",
    "tied_heads",
    "to_xarray",
    "trajectory",
}

STOCHASTIC_FLOW = {
    "band",
    "batch",
    "cost",
    "emergence",
    "escape",
    "flow",
    "imbalance",
    "loss",
    "mu",
    "node",
    "omega",
    "seed",
    "step",
    "strays",
    "noisy_queries",
    "t",
    "task_loss",
}


def find(path: str) -> Any:
    """The object of a dotted path below the package."""
    found: Any = si
    for name in path.split("."):
        found = getattr(found, name)
    return found


def test_public_names_are_frozen() -> None:
    public = {name for name in dir(si) if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(si, name), types.ModuleType)}
    assert public - modules == NAMES
    assert modules >= MODULES
    for name in modules:
        assert getattr(si, name).__name__.startswith("spectral_icl."), "a name of another package leaked"


def test_names_that_are_imported_late_are_declared_where_they_are() -> None:
    """Type checkers read the imports, and users get what the tables say."""
    declared = {}
    for node in ast.walk(ast.parse(inspect.getsource(si))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spectral_icl"):
            for name in node.names:
                declared[name.asname or name.name] = f"{node.module}.{name.name}"
    for name in (*si.__all__, "plots", "optimal_plots"):
        found = getattr(si, name)
        is_module = isinstance(found, types.ModuleType)
        home = found.__name__ if is_module else f"{found.__module__}.{name}"
        assert declared.pop(name) == home
    assert declared == {"__version__": "spectral_icl.version.__version__"}


def test_importing_the_package_imports_no_solver() -> None:
    code = "import spectral_icl as si, sys; dir(si), si.ProblemError; print('numba' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout == "False\n"


def test_version_is_a_release() -> None:
    assert si.__version__.split(".")[0].isdigit()


@pytest.mark.parametrize("path", SIGNATURES)
def test_signature(path: str) -> None:
    spelled = []
    for parameter in inspect.signature(find(path)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in spelled:
            spelled.append("*")
        spelled.append(parameter.name + "=" * (parameter.default is not parameter.empty))
    assert " ".join(spelled) == SIGNATURES[path]


@pytest.mark.parametrize("path", DEFAULTS)
def test_defaults(path: str) -> None:
    parameters = inspect.signature(find(path)).parameters
    assert {k: p.default for k, p in parameters.items() if p.default is not p.empty} == DEFAULTS[path]


@pytest.mark.parametrize(
    ("kind", "promised"), [(si.Solution, SOLUTION), (si.StochasticFlow, STOCHASTIC_FLOW)]
)
def test_a_result_has_what_was_promised(kind: Any, promised: set[str]) -> None:
    declared = {f.name for f in fields(kind)}
    assert {name for name in {*dir(kind), *declared} if not name.startswith("_")} == promised


def test_errors_are_of_the_promised_kind() -> None:
    assert issubclass(si.ProblemError, ValueError)
    assert issubclass(si.IntegrationError, RuntimeError)
    assert si.IntegrationError("unfinished").solution is None
    error = si.ProblemError("noise", -1, "a number >= 0")
    assert (error.argument, error.value, error.expected) == ("noise", -1, "a number >= 0")
    assert str(error) == "noise: expected a number >= 0, got -1"


def test_promised_calls_and_shapes() -> None:
    """The example of the public interface, line by line."""
    p = si.Problem(
        block_sizes=(10, 10),
        signal=((10.0, 0.0), (0.0, 10.0)),
        noise=(0.09, 0.09),
        context_length=100,
        covariance=(1.0, 1.0),
    )
    assert p == si.Problem.multitask(task_sizes=(10, 10), signal=(10.0, 10.0), noise=0.09, context_length=100)
    starts = (
        si.initial.dominant(p, heads=3, scale=0.01, margin=0.5, seed=0),
        si.initial.paper(p, heads=3, qk=0.1, ov_low=0.1, ov_high=0.2),
        si.initial.random(p, heads=3),
    )
    for start in starts:
        assert isinstance(start, si.State)
        assert start.omega.shape == (3, p.blocks)
        assert start.mu.shape == (3, p.tasks)
        assert isinstance(si.loss(p, *start), float)
        slope = si.gradient(p, *start)
        assert slope[0].shape == (3, p.blocks)
        assert slope[1].shape == (3, p.tasks)
    omega0, mu0 = starts[1]
    t_eval = [0.0, 1.0, 5.0, 7.5]
    sol = si.gradient_flow(
        p,
        omega0,
        mu0,
        parametrization=si.Balanced(key_scale=0.2),
        t_end=7.5,
        t_eval=t_eval,
        rtol=1e-8,
        kernel="large-L",
    )
    assert sol.t.tolist() == t_eval
    assert sol.omega.shape == (4, 3, p.blocks)
    assert sol.mu.shape == (4, 3, p.tasks)
    assert sol.loss.shape == (4,)
    assert sol.loss[-1] == si.loss(p, sol.omega[-1], sol.mu[-1])
    omega, mu = sol(2.5)
    assert omega.shape == omega0.shape
    assert mu.shape == mu0.shape
    assert sol(np.linspace(0.0, 7.5, 6).reshape(2, 3)).mu.shape == (2, 3, 3, p.tasks)
    assert len(sol.allocation) == p.tasks
    assert "at t = 7.5" in sol.message
    assert sol.phases.warm_up[0] == 0.0
    assert si.Balanced(key_scale=None) == si.Balanced()
    default = si.gradient_flow(p, omega0, mu0, t_end=1.0)
    assert default.key_scale == (p.dimension + p.tasks) ** -0.5
    for bound in (si.optimal.single_head(p), si.optimal.head_per_task(p), si.optimal.lower_bound(p)):
        assert bound.task_loss.shape == (p.tasks,)
        assert bound.loss == pytest.approx(bound.task_loss.sum())
