"""Any flow: what must hold of its solution, whatever the problem, start, parametrization and law."""

from __future__ import annotations

import copy
import json
import pickle
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import spectral_icl as si
from spectral_icl.kernels.charts import to_primal
from spectral_icl.multitask.report import FlowReport
from spectral_icl.multitask.state import unflattened
from tests.fuzz.commands import Finding, limited, where
from tests.support.random_problems import Flow
from tests.support.strict import strict

MOST_STEPS = 20_000
SAVED = 50  # of so many flows one is saved and loaded

_GROWTH = 1e4  # how much, in units of rtol, the error of a loss may be when it has grown, of the first loss
_ROUNDING = 1e-8  # of a loss at rest, in units of all that there is to learn
_CLEAR = 0.6  # share of a task beyond which no other head can be said to have it


def judge(flow: Flow) -> list[Finding]:
    """What is wrong with the solutions of a flow."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with limited(30.0):
                found = list(_judged(flow))
        except BaseException as error:  # whatever it is, it is a finding
            found = [Finding(f"{type(error).__name__} at {where(error)}", str(error)[:300])]
    for warning in warned:
        place = f"{Path(warning.filename).name}:{warning.lineno}"
        found.append(Finding(f"{warning.category.__name__} at {place}", str(warning.message)[:300]))
    name, law = flow.parametrization.name, flow.kernel
    return [finding._replace(detail=f"{name}, {law}: {finding.detail}") for finding in found]


def _judged(flow: Flow) -> Iterator[Finding]:
    solution = _solved(flow)
    if solution.success and np.isinf(flow.t_end) and solution.outcome.name != "STATIONARY":
        yield Finding("no rest at an infinite time, and called success", solution.message)
    yield from _conserved(flow, solution)
    yield from _bounds(solution)
    yield from _ensemble(flow, solution)
    yield from _travels(flow, solution)
    if "dense output" not in solution.message:  # which then says that it is not to be trusted
        yield from _curve(flow, solution)
        yield from _phases(solution)


def _solved(flow: Flow) -> si.Solution:
    """The solution, or the part of it that there is."""
    try:
        return si.gradient_flow(flow.problem, *flow.start, **_options(flow))
    except si.IntegrationError as error:
        if error.solution is None:
            raise
        return error.solution


def _options(flow: Flow) -> dict[str, Any]:
    """The arguments that single flows and ensembles share."""
    return {
        "parametrization": flow.parametrization,
        "kernel": flow.kernel,
        "t_end": flow.t_end,
        "rtol": flow.rtol,
        "stationary": flow.stationary,
        "max_steps": MOST_STEPS,
    }


def _curve(flow: Flow, solution: si.Solution) -> Iterator[Finding]:
    """The loss descends, on the nodes and between them, and the dense output meets the nodes."""
    curve = solution.trajectory
    times = curve.refined(4)
    dense = si.loss(flow.problem, *solution(times), flow.kernel)
    nodes = dense[::4]
    if not np.isfinite(nodes).all():
        if solution.success:
            yield Finding("a loss that is not finite", solution.message)
        return
    allowed = 30.0 * flow.rtol * abs(nodes[0])
    lowest = np.minimum.accumulate(nodes)[:-1]
    told = (1.0 + 1e-9) * solution.saturation.rise * lowest  # what the solution says of saturated states
    rises = np.diff(nodes)
    if (rises > np.maximum(allowed, told)).any():
        rise = rises.max()
        yield Finding(
            "the loss rises", f"by {rise:.3g} of {nodes[0]:.3g}, rtol {flow.rtol:.2g}, {solution.message}"
        )
    between = dense[:-1].reshape(-1, 4).max(axis=1, initial=-np.inf)
    if (between > nodes[:-1] + np.maximum(np.minimum(allowed, abs(nodes[:-1])), told)).any():
        rise = (between / nodes[:-1]).max()
        yield Finding(
            "the loss rises between nodes", f"{rise:.3g}-fold, start {nodes[0]:.3g}, {solution.message}"
        )
    theta = np.empty_like(curve.x)
    for at, x in zip(theta, curve.x, strict=True):
        to_primal(curve.chart, x, at)
    for got, want in zip(solution(curve.t), unflattened(theta, curve.shape), strict=True):
        if not np.array_equal(got, want):
            yield Finding("the dense output misses its nodes", f"by {abs(got - want).max():.3g}")
    wide = np.diff(curve.t) > 1e-9 * curve.t[1:]  # where just before a node is not the node before
    if not wide.any():
        return
    before = np.nextafter(curve.t[1:][wide], 0.0)
    for got, want in zip(solution(before), unflattened(theta[1:][wide], curve.shape), strict=True):
        if not np.allclose(got, want, rtol=100 * flow.rtol, atol=100 * flow.rtol * abs(want).max()):
            yield Finding("the dense output jumps at its nodes", f"by {abs(got - want).max():.3g}")


def _conserved(flow: Flow, solution: si.Solution) -> Iterator[Finding]:
    """Signs, zeros and equal heads, where the parametrization conserves them."""
    for circuit, start, solved in zip(
        ("omega", "mu"), flow.start, (solution.omega, solution.mu), strict=True
    ):
        if flow.parametrization.trains_factors and not flow.parametrization.imbalance(circuit).any():
            moving = start != 0.0
            if (np.signbit(solved) != np.signbit(start))[:, moving].any() or solved[:, ~moving].any():
                yield Finding(f"a sign of {circuit} is not conserved", solution.message)
        for group in solution.tied_heads:
            if (solved[:, group[1:]] != solved[:, group[:1]]).any():
                yield Finding("equal heads part", solution.message)
    twins = flow.start.omega[1:2].tolist() == flow.start.omega[:1].tolist() and len(flow.start.omega) > 1
    if twins and flow.start.mu[1].tolist() == flow.start.mu[0].tolist() and not solution.tied_heads:
        yield Finding("equal heads are not called so", "")


def _phases(solution: si.Solution) -> Iterator[Finding]:
    """Phases follow each other inside the flow; heads and shares belong together."""
    end, phases = float(solution.trajectory.t[-1]), solution.phases
    times = [e.time for e in phases.escapes] + [
        t for pair in (phases.warm_up, phases.emergence) for t in pair
    ]
    for task in phases.tasks:
        events = (task.onset, task.time, task.settled)
        times += events
        if (np.diff([t for t in events if np.isfinite(t)]) < 0.0).any():
            yield Finding("phases of a task out of order", str(events))
        if (task.head is None) != (not np.isfinite(task.time)):
            yield Finding("a head without an emergence, or the reverse", f"{task.head}, {events}")
        if task.head is not None and not (0 <= task.head < solution.heads and np.isfinite(task.share)):
            yield Finding("an allocation that cannot be", f"{task.head}, {task.share}")
    if any(t < 0.0 or t > end for t in times if not np.isnan(t)):
        yield Finding("a phase outside the flow", f"{times}, end {end}")
    for pair in (phases.warm_up, phases.emergence, phases.convergence):
        if pair[0] > pair[1]:
            yield Finding("a phase that ends before it begins", str(phases)[:200])
    if solution.allocation != tuple(task.head for task in phases.tasks):
        yield Finding("two allocations", f"{solution.allocation}")


def _bounds(solution: si.Solution) -> Iterator[Finding]:
    """No loss below what the law allows, whose bound holds of any weights in the asymptotic law."""
    problem, law = solution.problem, solution.options.kernel
    bound = si.optimal.lower_bound(problem, law)
    noise = np.asarray(problem.noise)
    most = problem.variance
    if (bound.task_loss < noise * (1 - 1e-12)).any() or (bound.task_loss > most * (1 + 1e-12)).any():
        yield Finding("a bound below the noise or above zero weights", f"{bound.task_loss}, {noise}, {most}")
    if law == "asymptotic":
        lost = 1e-9 * most
        astray = "dense output" in solution.message  # and with it the losses on the way
        known = not astray or solution.saturation.final_error < np.inf
        least = solution.final_task_loss if astray else solution.task_loss.min(axis=0)
        if known and (least < bound.task_loss - lost).any():
            yield Finding("a loss below the lower bound", f"{least} {bound.task_loss}")
    elif (solution.final_task_loss < noise * (1 - 1e-9)).any() and solution.saturation.trusted:
        yield Finding("a loss below the noise", f"{solution.final_task_loss} {noise}")


def _ensemble(flow: Flow, solution: si.Solution) -> Iterator[Finding]:
    """The ensemble ends as the single flow does, and measures the same."""
    many = si.gradient_flow_ensemble(flow.problem, *flow.start, **_options(flow), phases=True, threads=1)
    ends = solution.outcome.name, type(solution.outcome)(int(many.outcome[0])).name
    if ends[0] != ends[1]:
        works = solution.stats.steps + solution.stats.rejected, int(many.steps[0] + many.rejected[0])
        limited_by_steps = "STEP_LIMIT" in ends and min(works) > MOST_STEPS / 4  # which one just did not meet
        if (solution.success or many.success[0]) and not limited_by_steps:
            at = f"{solution.trajectory.t[-1]:.4g} and {many.t[0]:.4g}"
            yield Finding("two outcomes", f"{ends} at {at}, {works} steps")
        return
    if not solution.success:
        return
    loss, other = solution.final_loss, float(many.loss[0])
    start = float(si.loss(flow.problem, *flow.start, flow.kernel))
    if flow.stationary is not None:  # what is promised at rest are speeds
        for state in (solution.final, si.State(many.omega[0], many.mu[0])):
            if not (speed := _speed(flow, state)) <= flow.stationary * (1.0 + 1e-6):
                yield Finding("no rest", f"{speed:.4g} is above {flow.stationary:.4g}")
        allowed = 10.0 * flow.stationary + _ROUNDING * float(flow.problem.variance.sum())
        if not abs(loss - other) <= allowed and _stays(flow, solution, min(loss, other) + allowed):
            yield Finding("two losses at rest", f"{loss!r} {other!r} (stationary {flow.stationary:.2g})")
    elif not abs(loss - other) <= _GROWTH * flow.rtol * abs(start):
        yield Finding(
            "two losses at the end", f"{loss!r} {other!r} (start {start:.3g}, rtol {flow.rtol:.2g})"
        )
    assert many.allocation is not None
    assert many.share is not None
    for task, head, share in zip(solution.phases.tasks, many.allocation[0], many.share[0], strict=True):
        clear = task.share > _CLEAR and share > _CLEAR and "dense output" not in solution.message
        if clear and task.head != head:
            yield Finding("two allocations", f"task {task.task}: {task.head}, {head} of the ensemble")


def _speed(flow: Flow, at: si.State) -> float:
    """The largest |dtheta/dt|, by the equations of the weights."""
    slope = si.gradient(flow.problem, *at, flow.kernel)
    slope = si.State(slope.omega / np.asarray(flow.problem.block_sizes), slope.mu)
    if isinstance(flow.parametrization, si.Merged):
        return max(float(abs(part).max()) for part in slope)
    scale = flow.parametrization.scale(flow.problem)
    speeds = []
    for circuit, factor in (("omega", scale), ("mu", 1.0)):
        gap, values = flow.parametrization.imbalance(circuit), getattr(at, circuit)
        speeds.append(factor * np.hypot(factor * gap, 2.0 * values) * abs(getattr(slope, circuit)))
    return max(float(part.max()) for part in speeds)


def _stays(flow: Flow, solution: si.Solution, loss: float) -> bool:
    """Whether a flow at rest keeps a loss above this one, however long it is followed."""
    further = flow._replace(t_end=min(1e3 * float(solution.trajectory.t[-1]), 1e100), stationary=None)
    return _solved(further).final_loss > loss


def _travels(flow: Flow, solution: si.Solution) -> Iterator[Finding]:
    """Reports, copies, files and digests."""
    report = FlowReport(solution, "a title", {"kind": "random"})
    text = report.to_text()
    strict(json.dumps(report.to_dict()))
    for word in ("nan", "inf ", "None"):
        if word in text and solution.success:
            yield Finding(f"{word!r} in a report", next(line for line in text.split("\n") if word in line))
    problem = flow.problem
    again = si.Problem.from_dict(strict(json.dumps(problem.to_dict())))
    if again != problem or hash(again) != hash(problem) or again.digest() != problem.digest():
        yield Finding("a digest that changes", "")
    copies = {"pickle": pickle.loads(pickle.dumps(solution)), "deepcopy": copy.deepcopy(solution)}
    if int(solution.trajectory.t.size + solution.stats.steps) % SAVED == 0:
        copies["xarray"] = si.Solution.from_xarray(solution.to_xarray())
        for suffix in (".nc", ".zarr"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"flow{suffix}"
                solution.save(path)
                copies[suffix] = si.Solution.load(path)
    for way, other in copies.items():
        same = np.array_equal(other.omega, solution.omega) and np.array_equal(
            other.task_loss, solution.task_loss
        )
        if not (same and other.message == solution.message and other.options == solution.options):
            yield Finding(f"another solution after {way}", other.message)
