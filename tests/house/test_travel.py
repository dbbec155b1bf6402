"""Every exception and every result crosses process boundaries: it pickles and copies as what it is."""

from __future__ import annotations

import copy
import copyreg
import dataclasses
import functools
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import plan as small_plan

import spectral_icl as si
from spectral_icl import sparse
from spectral_icl.doctor.report import examine
from spectral_icl.explore.choices import Choices
from spectral_icl.explore.frame import solved
from spectral_icl.figures.stored import draw
from spectral_icl.io.checks import integer
from spectral_icl.io.examples import ExamplesReport, described
from spectral_icl.multitask import accuracy, softmax
from spectral_icl.multitask.comparison import compare_flows
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.exact.check import errors
from spectral_icl.multitask.exact.evaluate import evaluate
from spectral_icl.multitask.exact.overlaps import FINE, overlap
from spectral_icl.multitask.experiment import BUILT_IN, Experiment
from spectral_icl.multitask.flow.census import Census
from spectral_icl.multitask.flow.equality import equalities
from spectral_icl.multitask.flow.escape import Escape
from spectral_icl.multitask.flow.rates import winner_rates
from spectral_icl.multitask.flow.scatter import Scatter
from spectral_icl.multitask.matrices import Matrices
from spectral_icl.multitask.noise.moments import gradient_noise
from spectral_icl.multitask.nonlinear import best_head, learned, losses
from spectral_icl.multitask.nonlinear.experiment import BUILT_IN as NONLINEAR
from spectral_icl.multitask.nonlinear.experiment import NonlinearExperiment
from spectral_icl.multitask.nonlinear.report import NonlinearReport
from spectral_icl.multitask.optimal.constants import separation
from spectral_icl.multitask.optimal.exponents import exponents
from spectral_icl.multitask.optimal.report import benchmark_report
from spectral_icl.multitask.report import FlowReport
from spectral_icl.multitask.state import State
from spectral_icl.multitask.training import TrainingReport
from spectral_icl.multitask.validity import validity_map
from spectral_icl.sparse.landscape import Family, Phase
from spectral_icl.sparse.report import ComparisonReport
from spectral_icl.sweeps import engines
from spectral_icl.sweeps.plan import Invalid, Valid, sweep_of
from spectral_icl.sweeps.run import BatchTask, run
from spectral_icl.sweeps.store import Store
from spectral_icl.sweeps.tally import Failures
from spectral_icl.theorems.claim import Finding
from spectral_icl.theorems.report import SparseReport, SuiteReport, report_case, report_claims
from spectral_icl.theorems.suite import Case
from spectral_icl.warm import Done, Piece, report

PROBLEM = si.Problem.multitask(task_sizes=(4, 4), signal=10.0, noise=0.09, context_length=100)
START = si.initial.paper(PROBLEM, 2, 0.1, 0.1, 0.2)
STUDY = sparse.Study(sparse.SparseProblem(8, 2, 20, 0.1, 1.0), prompts=20, draws=16)

# what no function returns: parts of a computation, and what stands for code
INSIDE = """
AsymptoticOptima Batch Best Cells Changed Choice Claim Class Contour Dial Drawn Drift Embedded Ended
Evidence ExactOptima Factors FirstOrderOptima Flows Found Ground Guard HeadLimit Integrated Kind Label
Large Law LimitArguments Line Look Losers Method Optima Pairs Panel Part Plane Point Range Rates Record
Reference Requirement Rule Run Section Setting Spectral Start Strays Table Theorem TheoremReport Trial
Variable Verification View Weighed Winners Work
"""

WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {k}": lambda x, k=k: pickle.loads(pickle.dumps(x, k)) for k in range(2, 6)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def classes() -> Iterator[type]:
    """All classes of the package, private ones too."""
    for _, name, _ in pkgutil.walk_packages(si.__path__, "spectral_icl."):
        for thing in vars(importlib.import_module(name)).values():
            if inspect.isclass(thing) and thing.__module__ == name:
                yield thing


def is_result(kind: type) -> bool:
    """Whether a class is a public container of values, outside the compiled code."""
    holds = dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
    return holds and not kind.__name__.startswith("_") and ".kernels." not in kind.__module__


ERRORS = [kind for kind in classes() if issubclass(kind, BaseException)]


def made_of(thing: Any) -> dict[str, Any] | None:
    """The parts of a result by name; None of what has none that could be told apart."""
    if dataclasses.is_dataclass(thing):
        return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)}
    if isinstance(thing, Mapping):
        return {str(key): value for key, value in thing.items()}
    if isinstance(thing, (tuple, list)):
        return {str(k): value for k, value in enumerate(thing)}
    if isinstance(thing, (BaseException, si.sparse.LinTF)):
        return {"args": getattr(thing, "args", ()), **vars(thing)}
    return None


def differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Where two things differ, down to the bits of arrays and whether these can be written to."""
    parts = made_of(a)
    if type(a) is not type(b):
        yield f"{where}: {type(b)} in place of {type(a)}"
    elif isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.tobytes() != b.tobytes() or a.shape != b.shape:
            yield f"{where}: {b} in place of {a}"
        if a.flags.writeable != b.flags.writeable:
            yield f"{where}: writeable is {b.flags.writeable}"
    elif hasattr(a, "identical"):
        if not a.identical(b):
            yield f"{where}: another dataset"
    elif parts is not None:
        others = made_of(b) or {}
        if parts.keys() != others.keys():
            yield f"{where}: {others.keys()} in place of {parts.keys()}"
        for name in parts:
            yield from differences(parts[name], others.get(name), f"{where}.{name}")
    elif type(a).__eq__ is not object.__eq__ and not (a == b or (a != a and b != b)):
        yield f"{where}: {b!r} in place of {a!r}"


def seen(thing: Any) -> Iterator[type]:
    """The classes of a thing and of all that it is made of."""
    yield type(thing)
    for part in (made_of(thing) or {}).values():
        yield from seen(part)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No help from dask, which teaches pickle about exceptions where it is imported."""
    for kind in ERRORS:
        monkeypatch.delitem(copyreg.dispatch_table, kind, raising=False)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_exceptions_travel(kind: type[BaseException], way: str) -> None:
    own = "__init__" in vars(kind)
    needed = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty] if own else [0]
    error = kind(*map(str, needed))
    twin = WAYS[way](error)
    assert list(differences(error, twin)) == []
    assert str(twin) == str(error)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("value", [lambda: 0, np, {"key": [np]}], ids=["function", "module", "list"])
def test_an_error_about_what_cannot_travel_does(value: object) -> None:
    error = si.ProblemError("noise", value, "a number")
    error.add_note("of a file")
    for way in WAYS.values():
        twin = way(error)
        assert (str(twin), twin.argument, twin.__notes__) == (str(error), "noise", ["of a file"])
        assert str(error).endswith(twin.value)


def test_an_error_about_what_cannot_be_printed_is_one_line() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert str(si.ProblemError("noise", Broken(), "a number")).endswith("got a Broken that cannot be printed")


def test_bad_input_in_another_process_is_told_of_here() -> None:
    """A pool breaks, or waits for ever, for a result that does not unpickle."""
    refused = functools.partial(integer, "heads", minimum=1, maximum=9)
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool,
        pytest.raises(si.ProblemError, match="heads: expected a whole number >= 1 and <= 9, got -1"),
    ):
        pool.submit(refused, -1).result(timeout=60)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A result of every kind, by what made it."""
    solution = si.gradient_flow(PROBLEM, *START, t_end=20.0)
    outlined = si.gradient_flow(PROBLEM, *START, t_end=20.0, dense_output=False)
    with pytest.raises(si.IntegrationError) as unfinished:
        si.gradient_flow(PROBLEM, *START, t_end=20.0, max_steps=5)
    at_start = {name: values.tolist() for name, values in START._asdict().items()}
    tables = {"problem": PROBLEM.to_dict(), "model": {"heads": 2}, "training": {"step": 0.1, "batch": 100}}
    starts = [{"kind": "paper"}, {"kind": "random"}, {"kind": "explicit", **at_start}, {"kind": "scattered"}]
    starts += [{"kind": "matrices"}, {"kind": "dominant"}]
    case = Case("case", "", Experiment.from_dict(tables | {"initial": starts[-1]}))
    paths = si.stochastic_flow(PROBLEM, *START, step=0.1, batch=100, t_end=1.0, paths=2)
    scattered = si.initial.scattered(PROBLEM.by_feature(), 2)
    nonlinear = NonlinearExperiment.from_dict(NONLINEAR | {"flow": {"t_end": 1.0}})
    compared = sparse.compare(STUDY)
    assert compared.simulation is not None
    return {
        "problem": PROBLEM,
        "starts": (START, si.initial.dominant(PROBLEM, 2), si.initial.random(PROBLEM, 2)),
        "gradient": si.gradient(PROBLEM, *START),
        "flow": FlowReport(solution, "flow", {}),
        "of a flow": (solution.phases, solution.forecast, solution.saturation, Escape(0, 1, 2.0, None)),
        "in outline": (outlined, Census.of(outlined.phases, outlined.heads)),
        "unfinished": unfinished.value,
        "single features": (
            Matrices.random(PROBLEM, 2),
            equalities(PROBLEM, si.gradient_flow(PROBLEM.by_feature(), *scattered, t_end=50.0)),
        ),
        "at the limit": (
            winner_rates(PROBLEM, solution.key_scale),
            separation(PROBLEM),
            exponents(PROBLEM, si.optimal.head_per_task(PROBLEM)),
        ),
        "paths": (TrainingReport(paths), Scatter.of(paths)),
        "noise": gradient_noise(PROBLEM, State(START.omega[None], START.mu[None])),
        "other weights": (si.Factored(0.1, 0.2), si.Merged()),
        "dataset": solution.to_xarray(),
        "ensemble": si.gradient_flow_ensemble(PROBLEM, *START, t_end=20.0, phases=True, t_eval=[1.0]),
        "benchmarks": benchmark_report(PROBLEM, "benchmarks", 2),
        "terms": accuracy.terms(PROBLEM, *START),
        "exact law": (
            evaluate(PROBLEM, START, 1),
            overlap(1.0, 2.0, 0.5, 10.0),
            FINE,
            errors(PROBLEM, pack(PROBLEM, "exact"), State(START.omega[None], START.mu[None])),
        ),
        "nonlinear": (
            nonlinear,
            NonlinearReport(nonlinear.solve(), "nonlinear"),
            learned(nonlinear.problem, *nonlinear.start),
            best_head(nonlinear.problem),
            losses(nonlinear.problem, *nonlinear.start, 2, 0),
        ),
        "validity": (validity_map([40.0], [5], [0.2]), compare_flows([100.0], [10])),
        "sampled": (
            softmax.losses(PROBLEM, [START], 100, 0),
            softmax.gradient(PROBLEM, *softmax.decomposable(PROBLEM, START), 100, 0),
        ),
        "experiments": [Experiment.from_dict(tables | {"initial": start}) for start in starts],
        "verification": SuiteReport((report_case(case, ["sign-conservation"]),)),
        "comparison": ComparisonReport(compared, "sparse"),
        "estimate": compared.simulation.at_best("p2o"),
        "landscape": (Family("s", np.ones(1), {"p2o": np.ones(1)}), Phase(*np.ones((3, 1, 1)))),
        "prompts": sparse.sample_prompts(2, 8, 2, 20, 0.1, rng=0),
        "risks": (
            sparse.ridge_opt_risk(8, 20, 1.0, 0.1),
            sparse.p2o_risk_gh(8, 2, 20, 1.0, 0.1, 1.0),
            sparse.sample_r(np.ones(4), None, 0.1, 20, 0),
        ),
        "transformer": (sparse.build_preprocess_heads(3), sparse.LinTF(3, 7, [2], 2)),
        "filters": (sparse.Flow([1.0, 2.0]), sparse.Steps(0.1, [1, 2])),
        "sparse verification": SparseReport(tuple(report_claims(["snr"], prompts=100))),
        "engines": (
            engines.Job(1),
            engines.Lost(1, "gone"),
            engines.Workers(2),
            engines.Scheduler("tcp://a:1"),
        ),
        "points": (Valid(STUDY), Invalid(si.ProblemError("noise", -1.0, "a number")), Failures(1, 0)),
        "finding": Finding.zero(0.0, 1.0, "nothing"),
        "of this machine": examine(),
        "explored": (Choices.of(BUILT_IN), solved(Choices.of(BUILT_IN), "explored").complete()),
        "examples": ExamplesReport(described(["escape"]), (Path("escape.toml"),)),
        "compiled": report([Done(Piece("flow", "asymptotic"), (), 1.0)], 1.0),
        "sweep": swept(tmp_path_factory.mktemp("sweep")),
    }


def swept(folder: Path) -> tuple[Any, ...]:
    """A solved sweep: its report, its store, what is read of it, and a figure."""
    path = folder / "sweep.zarr"
    report = run(small_plan(folder), path)
    data = si.open_sweep(path)
    drawing = draw(path, ["loss"]).save(folder / "loss.png")
    return report, BatchTask(str(path), ""), Store.open(path), data, sweep_of(data).quantity("loss"), drawing


def test_results_travel(results: dict[str, Any]) -> None:
    for name, result in results.items():
        for way, there in WAYS.items():
            assert list(differences(result, there(result), f"{way}: {name}")) == []


def test_the_values_of_a_plan_are_read_only(results: dict[str, Any]) -> None:
    for axis in results["sweep"][0].plan.axes[:2]:
        assert not axis.values.flags.writeable


def test_every_kind_of_result_is_among_them(results: dict[str, Any]) -> None:
    """A new one is to be made above, or said to be no result."""
    kinds = {kind.__name__ for kind in classes() if is_result(kind)}
    tried = {kind.__name__ for kind in seen(results)}
    assert kinds - tried == set(INSIDE.split())
