"""Why the loss on the plateau is above the asymptotic loss: finite length, and the noise of SGD.

The loss of the recorded runs there is some 12 % above that of the asymptotic flow. The exact law at the same
omega and mu says which part is the finite length's, and sampled prompts say that it is right. The rest is
carried by entries off the diagonals (and, with the authors' embedding, by those between covariates and
labels) that sampled gradients keep alive, and falls with smaller steps and larger batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from spectral_icl import Problem
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.loss import losses_at, task_loss
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.descent import KERNEL
from validation.multitask.full_model import (
    Attention,
    FactoredAttention,
    JointAttention,
    MergedAttention,
)
from validation.multitask.prompts import Law
from validation.multitask.recorded import (
    BATCH,
    PLATEAU,
    PROBLEM,
    RATE,
    WINDOW,
    Trace,
    authors,
    flow,
    joint,
    ours,
)
from validation.multitask.sampled_loss import sampled_loss
from validation.multitask.spectrum import decomposable, spectral
from validation.multitask.train import Schedule, training_run
from validation.result import Result, Row, consistent, noted, rejected

TITLE = "loss on the plateau above the large-L loss: finite length and the noise of SGD"

_NOISE = sum(PROBLEM.noise)  # losses of this check leave the query noise out, as the authors' code does
_SETTLING, _LEG = 1.5, 0.5  # times after which stray entries are stationary, and between snapshots
_CHUNK = 2000  # prompts


def _joint(problem: Problem, at: State, law: Law) -> JointAttention:
    return JointAttention(FactoredAttention.balanced(problem, at, law))


_KINDS: dict[str, Callable[[Problem, State, Law], Attention]] = {
    "ours": FactoredAttention.balanced,
    "joint": _joint,
}


def run(context: Context) -> Result:
    """Split the gap of the recorded runs, and follow the noise's part to smaller steps and larger batches."""
    result = Result("gap", TITLE)
    exact, asymptotic = (_plateau_loss(kernel) for kernel in (KERNEL, "asymptotic"))
    result.add(noted("exact flow's loss over the asymptotic flow's - 1", exact / asymptotic - 1.0))
    result.add(_at_one_state(context))
    parts: dict[str, dict[tuple[float, int], tuple[float, float]]] = {kind: {} for kind in _KINDS}
    settings = context.pick(
        ((RATE, BATCH), (RATE, BATCH // 4)),
        ((RATE, BATCH), (RATE / 4, BATCH), (RATE, 4 * BATCH), (RATE / 4, 4 * BATCH)),
    )
    for kind in _KINDS:
        for k, (rate, batch) in enumerate(settings):
            parts[kind][rate, batch] = _excess(context, kind, rate, batch, seed=k)
    seeds = range(context.pick(1, 5))
    groups = {
        "authors": [authors()],
        "ours": [Trace.of(ours(context, seed, BATCH)) for seed in seeds],
        "joint": [Trace.of(joint(context, seed)) for seed in seeds],
    }
    for name, group in groups.items():
        split = _split(group, exact)
        stray, jitter = parts["ours" if name == "ours" else "joint"][RATE, BATCH]
        over = exact * (1.0 + split.whole) / asymptotic - 1.0
        result.add(noted(f"{name}: loss over the asymptotic flow's - 1", over))
        result.add(noted(f"{name}: loss over the exact flow's - 1", split.whole, split.error))
        result.add(noted(f"{name}:   of it by another omega and mu", split.elsewhere))
        noise = split.whole - split.elsewhere
        label = f"{name}:   of it by the noise of SGD, against stray entries"
        error = float(np.hypot(split.error, jitter / exact))
        result.add(consistent(label, noise, error, stray / exact))
        unit = exact / asymptotic  # the figure's parts are of the asymptotic loss
        result.curves[name] = {"finite": unit - 1.0, "noise": unit * noise, "error": unit * split.error}
    for kind, part in parts.items():
        for (rate, batch), (mean, error) in part.items():
            label = f"{kind}: loss by stray entries, step {rate:g}, batch {batch}"
            result.add(noted(label, mean / exact, error / exact))
        excess = np.array(list(part.values()))
        by_batch, *by_step = _exponents(np.array(list(part)), excess)
        result.add(consistent(f"{kind}: exponent of 1 / batch in it", *by_batch, 1.0))
        for exponent in by_step:
            label = f"{kind}: exponent of the step in it"
            # A step near the edge of stability amplifies the noise: the joint embedding's is (see `edge`).
            result.add(consistent(label, *exponent, 1.0) if kind == "ours" else noted(label, *exponent, 1.0))
        ratio = [rate / batch for rate, batch in part]
        result.curves[f"{kind} stray"] = {"noise": ratio, "excess": excess / exact}
    return result


class Split(NamedTuple):
    """Parts of a loss on the plateau, over the exact flow's there; query noise is left out."""

    whole: float  # of all weights, as trained
    error: float
    elsewhere: float  # of the diagonals, by the exact law at their own omega and mu


def _plateau_loss(kernel: str) -> float:
    """Loss of a law's flow in the middle of the plateau, without query noise."""
    return float(losses_at(PROBLEM, flow(kernel)(PLATEAU), kernel).sum()) - _NOISE


def _split(group: list[Trace], exact: float) -> Split:
    """The parts of one kind of run, averaged over seeds and over the records of the plateau."""
    losses, errors = np.array([trace.mean_loss() for trace in group]).T
    diagonals = []
    for trace in group:
        inside = np.abs(trace.time - PLATEAU) <= WINDOW
        at = State(trace.omega[inside], trace.mu[inside])
        diagonals.append(float(losses_at(PROBLEM, at, KERNEL).sum(axis=1).mean()))
    return Split(
        whole=float((losses.mean() - _NOISE) / exact - 1.0),
        error=float(np.sqrt((errors**2).sum()) / len(group) / exact),
        elsewhere=float((np.mean(diagonals) - _NOISE) / exact - 1.0),
    )


def _at_one_state(context: Context) -> list[Row]:
    """The loss of a task at the omega and mu of the authors' plateau: by both laws, sampled, and as trained.

    By quadrature, which knows of no table; the flow's table is held against it.
    """
    trace = authors()
    inside = np.abs(trace.time - PLATEAU) <= WINDOW
    at = State(trace.omega[inside].mean(axis=0), trace.mu[inside].mean(axis=0))
    each = PROBLEM.tasks
    exact, asymptotic = (
        (float(task_loss(PROBLEM, *at, kernel=kernel).sum()) - _NOISE) / each
        for kernel in (KERNEL, "asymptotic")
    )
    prompts = context.pick(40_000, 400_000)
    loss, error = sampled_loss(context, PROBLEM, at, prompts, "gap, authors' plateau", seed=0)
    sampled, error = (loss - _NOISE) / each, error / each
    trained, spread = trace.mean_loss()
    name = "loss of a task at the authors' mean omega and mu"
    return [
        consistent(f"{name}, sampled, against the exact law", sampled, error, exact),
        noted(f"{name}, sampled, beside the asymptotic law", sampled, error, asymptotic),
        rejected(f"{name}: p of the asymptotic law", _p(sampled - asymptotic, error)),
        noted("loss of a task in the authors' run there", (trained - _NOISE) / each, spread / each, exact),
    ]


def _p(apart: float, error: float) -> float:
    """Probability that a normal number of that standard error is further from zero."""
    return float(2.0 * stats.norm.sf(abs(apart) / error))


def _exponents(settings: Floats, excess: Floats) -> list[tuple[float, float]]:
    """Exponents of 1 / batch and, if there are several steps, of the step, with their standard errors.

    Weighted least squares of log excess (P; mean, error) on the logarithms of the settings (P; step, batch).
    """
    steps, batches = np.log(settings).T
    columns = [np.ones_like(steps), -batches] + ([steps] if np.ptp(steps) > 0.0 else [])
    weights = excess[:, 0] / excess[:, 1]
    design = np.column_stack(columns) * weights[:, None]
    values, *_ = np.linalg.lstsq(design, np.log(excess[:, 0]) * weights)
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    return list(zip(values[1:].tolist(), errors[1:].tolist(), strict=True))


def _excess(context: Context, kind: str, rate: float, batch: int, seed: int) -> tuple[float, float]:
    """Loss by what is off the diagonals, once it is stationary, and its standard error over snapshots."""
    law = Law.of(PROBLEM, context.device)
    model = _KINDS[kind](PROBLEM, flow()(PLATEAU), law)
    leg = round(_LEG / rate)
    settling, legs = round(_SETTLING / _LEG), context.pick(6, 16)
    schedule = Schedule(rate, (settling + legs) * leg, batch, leg, seed, keep=True)
    trained = training_run(context, f"gap-{kind}-{rate:g}-{batch}", model, PROBLEM, schedule)
    excesses = []
    for snapshot, weights in enumerate(trained.weights[settling + 1 :]):
        model.load_state_dict(weights)
        excesses.append(_difference(model, law, context.pick(4, 10), seed=1000 * (seed + 1) + snapshot))
    return float(np.mean(excesses)), float(np.std(excesses, ddof=1) / np.sqrt(len(excesses)))


def _difference(model: Attention, law: Law, chunks: int, seed: int) -> float:
    """Loss of a model over that of its diagonals, on the same prompts."""
    at = spectral(PROBLEM, model.kq(), model.ov())
    bare = MergedAttention(*decomposable(PROBLEM, at, law))
    generator = law.generator(seed)
    total = 0.0
    with torch.no_grad():
        for _ in range(chunks):
            prompts = law.draw(_CHUNK, generator)
            errors = [((one(prompts) - prompts.target) ** 2).sum(dim=1) for one in (model, bare)]
            total += float((errors[0] - errors[1]).mean())
    return total / chunks


def figure(result: Result) -> Figure:
    """Left: the parts of every run's gap. Right: the noise's part against step over batch."""
    with styled():
        drawn = Figure(figsize=(6.75, 2.4))
        parts, noise = drawn.subplots(1, 2)
        names = {"authors": "authors' code", "joint": "ours, their\nembedding", "ours": "ours"}
        bottom = np.zeros(len(names))
        for key, label in (("finite", "finite length"), ("noise", "noise of SGD")):
            heights = np.array([100.0 * result.curves[name][key] for name in names])
            parts.bar(list(names.values()), heights, bottom=bottom, width=0.6, label=label)
            bottom += heights
        errors = [100.0 * result.curves[name]["error"] for name in names]
        parts.errorbar(list(names.values()), bottom, errors, fmt="none", color="black", lw=0.8)
        parts.set(ylabel="loss above asymptotic (%)", ylim=(0.0, 16.0))
        parts.legend(loc="upper right")
        for kind, label in (("joint", "ours, their embedding"), ("ours", "ours")):
            curve = result.curves[f"{kind} stray"]
            excess = 100.0 * np.asarray(curve["excess"])
            noise.errorbar(curve["noise"], excess[:, 0], excess[:, 1], fmt=".", label=label)
            grid = np.array([min(curve["noise"]), max(curve["noise"])])
            mean = np.average(excess[:, 0] / curve["noise"], weights=(curve["noise"] / excess[:, 1]) ** 2)
            noise.plot(grid, mean * grid, color="0.5", lw=0.8, zorder=0)
        noise.set(xscale="log", yscale="log", xlabel="step / batch", ylabel="loss by stray entries (%)")
        noise.margins(x=0.15)
        noise.legend()
        return drawn
