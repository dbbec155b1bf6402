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

from spectral_icl import Problem
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.state import State
from validation.context import Context
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
    START,
    WINDOW,
    Trace,
    authors,
    batches,
    joint_runs,
    runs,
)
from validation.multitask.sampled_loss import sampled_loss
from validation.multitask.spectrum import decomposable, spectral
from validation.multitask.theory import Theory
from validation.multitask.train import Schedule, training_run
from validation.result import Result, Row, consistent, noted, told_apart
from validation.statistics import Estimate, combined

TITLE = "loss on the plateau above the large-L loss: finite length and the noise of SGD"

_NOISE = sum(PROBLEM.noise)  # losses of this check leave the query noise out, as the authors' code does
_SETTLING, _LEG = 1.5, 0.5  # times after which stray entries are stationary, and between snapshots
_SNAPSHOTS = 2  # of a stretch, whose mean counts as independent of the next one's
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
    theory = Theory.of(context)
    plateau = Theory().flow(PROBLEM, START, PLATEAU).final
    exact, asymptotic = (_plateau_loss(one) for one in (theory, Theory("asymptotic")))
    result.add(noted("exact flow's loss over the asymptotic flow's - 1", exact / asymptotic - 1.0))
    result.add(_at_one_state(context))
    batch, fewer = batches(context)
    settings = {
        "ours": context.pick(((RATE, batch), (RATE, fewer)), _squared(RATE, BATCH)),
        "joint": context.pick((), _squared(RATE, BATCH)),
    }
    parts = {
        kind: {(rate, size): _excess(context, kind, rate, size) for rate, size in chosen}
        for kind, chosen in settings.items()
        if chosen
    }
    groups = {"authors": ([authors()], "joint", BATCH)}
    groups["ours"] = [Trace.of(one) for one in runs(context, batch)], "ours", batch
    if embedded := [Trace.of(one) for one in joint_runs(context)]:
        groups["joint"] = embedded, "joint", BATCH
    for name, (group, kind, size) in groups.items():
        split = _split(theory, group, exact)
        over = exact * (1.0 + split.whole.value) / asymptotic - 1.0
        result.add(noted(f"{name}: loss over the asymptotic flow's - 1", over))
        result.add(noted(f"{name}: loss over the exact flow's - 1", split.whole))
        result.add(noted(f"{name}:   of it by another omega and mu", split.elsewhere))
        label = f"{name}:   of it by the noise of SGD"
        result.add(noted(label, split.noise))
        if kind in parts:
            away = combined((1.0, split.noise), (-1.0 / exact, parts[kind][RATE, size]))
            result.add(consistent(f"{label}, less stray entries' part", away, 0.0))
        unit = exact / asymptotic  # the figure's parts are of the asymptotic loss
        result.curves[name] = {
            "finite": unit - 1.0,
            "noise": unit * split.noise.value,
            "error": unit * split.noise.error,
        }
    for kind, part in parts.items():
        for (rate, size), mean in part.items():
            label = f"{kind}: loss by stray entries, step {rate:g}, batch {size}"
            measured = combined((1.0 / exact, mean))
            if kind == "ours" and size >= batch:  # what is of second order in 1 / batch is not predicted
                told = theory.stray_cost(PROBLEM, plateau, rate, size) / exact
                result.add(consistent(label, measured, told))
            else:
                result.add(noted(label, measured))
        by_batch, *by_step = _exponents(list(part), list(part.values()))
        # Near the edge of stability noise is amplified: the joint embedding's step is (see `edge`).
        claim = told_apart if kind == "ours" else noted
        result.add(claim(f"{kind}: exponent of 1 / batch in it", by_batch))
        result.add(claim(f"{kind}: exponent of the step in it", exponent) for exponent in by_step)
        ratio = [rate / size for rate, size in part]
        excess = np.array([[mean.value, mean.error] for mean in part.values()])
        result.curves[f"{kind} stray"] = {"noise": ratio, "excess": excess / exact}
    return result


def _squared(rate: float, batch: int) -> tuple[tuple[float, int], ...]:
    """Two steps by two batches."""
    return (rate, batch), (rate / 4, batch), (rate, 4 * batch), (rate / 4, 4 * batch)


class Split(NamedTuple):
    """Parts of a loss on the plateau, over the exact flow's there; query noise is left out."""

    whole: Estimate  # of all weights, as trained
    elsewhere: float  # of the diagonals, by the exact law at their own omega and mu
    noise: Estimate  # the rest


def _plateau_loss(theory: Theory) -> float:
    """Loss of a law's flow in the middle of the plateau, without query noise."""
    at = theory.flow(PROBLEM, START, PLATEAU).final
    return float(theory.losses_at(PROBLEM, at).sum()) - _NOISE


def _split(theory: Theory, group: list[Trace], exact: float) -> Split:
    """The parts of one kind of run, averaged over seeds and over the records of the plateau."""
    loss = combined(*((1.0 / len(group), trace.mean_loss()) for trace in group))
    diagonals = []
    for trace in group:
        inside = np.abs(trace.time - PLATEAU) <= WINDOW
        at = theory.state(State(trace.omega[inside], trace.mu[inside]))
        diagonals.append(float(theory.losses_at(PROBLEM, at).sum(axis=1).mean()))
    elsewhere = float(np.mean(diagonals) - _NOISE) / exact - 1.0
    whole = _less(combined((1.0 / exact, loss)), _NOISE / exact + 1.0)
    return Split(whole, elsewhere, _less(whole, elsewhere))


def _less(estimate: Estimate, known: float) -> Estimate:
    return estimate._replace(value=estimate.value - known)


def _at_one_state(context: Context) -> list[Row]:
    """The loss of a task at the omega and mu of the authors' plateau: by both laws, sampled, and as trained.

    By quadrature, which knows of no table; the flow's table is held against it.
    """
    trace = authors()
    inside = np.abs(trace.time - PLATEAU) <= WINDOW
    at = State(trace.omega[inside].mean(axis=0), trace.mu[inside].mean(axis=0))
    each = PROBLEM.tasks
    exact, asymptotic = (
        (one.loss(PROBLEM, at) - _NOISE) / each for one in (Theory.of(context), Theory("asymptotic"))
    )
    prompts = context.pick(40_000, 400_000)
    whole = sampled_loss(context, PROBLEM, at, prompts, "gap-plateau")
    sampled = _less(combined((1.0 / each, whole)), _NOISE / each)
    trained = _less(combined((1.0 / each, trace.mean_loss())), _NOISE / each)
    name = "loss of a task at the authors' mean omega and mu"
    step = exact - asymptotic
    share = combined((1.0 / step if step else np.inf, _less(sampled, asymptotic)))
    return [
        noted(f"{name}, by the asymptotic law", asymptotic),
        consistent(f"{name}, sampled", sampled, exact),
        told_apart(f"{name}: the exact law from the asymptotic", share),
        noted("loss of a task in the authors' run there", trained, expected=exact),
    ]


def _exponents(settings: list[tuple[float, int]], excess: list[Estimate]) -> list[Estimate]:
    """Exponents of 1 / batch and, if there are several steps, of the step.

    Weighted least squares of the logarithms of excesses on those of the settings (step, batch).
    """
    steps, batches = np.log(np.array(settings, dtype=np.float64)).T
    columns = [np.ones_like(steps), -batches] + ([steps] if np.ptp(steps) > 0.0 else [])
    logs = [Estimate(np.log(one.value), one.error / abs(one.value), one.freedom) for one in excess]
    weights = np.array([one.error for one in logs]) ** -2.0
    design = np.column_stack(columns)
    by_setting = np.linalg.solve(design.T @ (weights[:, None] * design), design.T * weights)
    return [combined(*zip(factors, logs, strict=True)) for factors in by_setting[1:].tolist()]


def _excess(context: Context, kind: str, rate: float, batch: int) -> Estimate:
    """Loss by what is off the diagonals, once it is stationary: over stretches of time, of some snapshots."""
    label = f"gap-{kind}-{rate:g}-{batch}"
    stretches, chunks = context.pick((12, 2), (16, 5))

    def make() -> dict[str, Floats]:
        law = Law.of(PROBLEM, context.device)
        model = _KINDS[kind](PROBLEM, Theory().flow(PROBLEM, START, PLATEAU).final, law)
        leg = round(_LEG / rate)
        settling = round(_SETTLING / _LEG)
        schedule = Schedule(rate, (settling + stretches * _SNAPSHOTS) * leg, batch, leg, keep=True)
        trained = training_run(context, label, model, PROBLEM, schedule)
        generator = context.generator(f"{label}, snapshots")
        excesses = []
        for weights in trained.weights[settling + 1 :]:
            model.load_state_dict(weights)
            excesses.append(_difference(model, law, chunks, generator))
        return {"excess": np.array(excesses)}

    found = context.kept(label, (PROBLEM.digest(), rate, batch, stretches, chunks), make)["excess"]
    return Estimate.of(found.reshape(stretches, _SNAPSHOTS).mean(axis=1))


def _difference(model: Attention, law: Law, chunks: int, generator: torch.Generator) -> float:
    """Loss of a model over that of its diagonals, on the same prompts."""
    at = spectral(PROBLEM, model.kq(), model.ov())
    bare = MergedAttention(*decomposable(PROBLEM, at, law))
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
        kinds = {"authors": "authors' code", "joint": "ours, their\nembedding", "ours": "ours"}
        names = {name: label for name, label in kinds.items() if name in result.curves}
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
            if f"{kind} stray" not in result.curves:
                continue
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
