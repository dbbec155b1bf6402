"""Why a trained model's loss is above the large-L loss on the plateau: finite length, and the noise of SGD.

The loss of the recorded runs there is some 12 % above that of the reduced flow. The part that remains at the
same omega and mu, without anything off the diagonals, is the finite length's; the rest is carried by entries
off the diagonals (and, with the authors' embedding, by those between covariates and labels) that sampled
gradients keep alive, and falls with the step over the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from matplotlib import style
from matplotlib.figure import Figure

from spectral_icl import Problem, reduced
from spectral_icl.plots import STYLE
from spectral_icl.reduced import State
from validation.context import Context
from validation.full_model import (
    Attention,
    FactoredAttention,
    JointAttention,
    MergedAttention,
    expected_task_loss,
)
from validation.prompts import Law
from validation.recorded import BATCH, PLATEAU, PROBLEM, RATE, Trace, authors, flow, joint, ours
from validation.result import Result, consistent, noted
from validation.spectrum import decomposable, spectral
from validation.train import Schedule, train

TITLE = "loss on the plateau above the large-L loss: finite length and the noise of SGD"

_SIGNAL = sum(PROBLEM.noise)  # losses of this check leave the query noise out, as the authors' code does
_SETTLING, _LEG = 1.5, 0.5  # times after which stray entries are stationary, and between snapshots
_CHUNK = 2000  # prompts

Build = Callable[[Problem, State, Law], Attention]


def run(context: Context) -> Result:
    """Split the gap of the recorded runs, and follow the noise's part to smaller steps and larger batches."""
    result = Result("gap", TITLE)
    large = reduced.loss(PROBLEM, *flow()(PLATEAU)) - _SIGNAL
    prompts = context.pick(40_000, 1_000_000)
    parts: dict[str, dict[tuple[float, int], tuple[float, float]]] = {"ours": {}, "joint": {}}
    settings = context.pick(
        ((RATE, BATCH), (RATE, BATCH // 4)),
        ((RATE, BATCH), (RATE / 4, BATCH), (RATE, 4 * BATCH), (RATE / 4, 4 * BATCH)),
    )
    kinds = {"ours": FactoredAttention.balanced, "joint": _joint}
    for kind, build in kinds.items():
        for rate, batch in settings:
            parts[kind][rate, batch] = _excess(context, build, rate, batch, f"gap, {kind}")
    traces = {
        "authors": authors(),
        "ours": Trace.of(ours(context, 0, BATCH)),
        "joint": Trace.of(joint(context, 0)),
    }
    for name, trace in traces.items():
        total, error = trace.plateau_loss()
        at = trace.at(PLATEAU)
        sampled, blur = _sampled(context, at, prompts, f"gap, {name}")
        told = reduced.loss(PROBLEM, *at) - _SIGNAL
        whole, finite = (total - _SIGNAL) / large - 1.0, (sampled - told) / large
        elsewhere = told / large - 1.0
        noise, doubt = whole - finite - elsewhere, float(np.hypot(error, blur)) / large
        stray, jitter = parts["ours" if name == "ours" else "joint"][RATE, BATCH]
        result.add(noted(f"{name}: loss over the flow's large-L loss - 1", whole, error / large))
        result.add(noted(f"{name}:   of it by finite length", finite, blur / large))
        result.add(noted(f"{name}:   of it by another omega and mu", elsewhere))
        both = float(np.hypot(doubt, jitter / large))
        result.add(
            consistent(
                f"{name}:   of it by the noise of SGD, against stray entries", noise, both, stray / large
            )
        )
        result.curves[name] = {"finite": finite, "elsewhere": elsewhere, "noise": noise, "error": doubt}
    for kind, part in parts.items():
        for (rate, batch), (mean, error) in part.items():
            told = f"{kind}: loss by stray entries, step {rate:g}, batch {batch}"
            result.add(noted(told, mean / large, error / large))
        noise = np.array([rate / batch for rate, batch in part])
        excess = np.array(list(part.values()))
        result.add(consistent(f"{kind}: exponent of step / batch in it", *_exponent(noise, excess), 1.0))
        result.curves[f"{kind} stray"] = {"noise": noise, "excess": excess / large}
    return result


def _joint(problem: Problem, at: State, law: Law) -> JointAttention:
    return JointAttention(FactoredAttention.balanced(problem, at, law))


def _exponent(noise: np.ndarray, excess: np.ndarray) -> tuple[float, float]:
    """Slope of log excess (P, 2: mean, error) against log noise, and its standard error."""
    weights = excess[:, 0] / excess[:, 1]
    (slope, _), covariance = np.polyfit(np.log(noise), np.log(excess[:, 0]), 1, w=weights, cov="unscaled")
    return float(slope), float(np.sqrt(covariance[0, 0]))


def _excess(context: Context, build: Build, rate: float, batch: int, label: str) -> tuple[float, float]:
    """Loss by what is off the diagonals, once it is stationary, and its standard error over snapshots."""
    law = context.law(PROBLEM)
    model = build(PROBLEM, flow()(PLATEAU), law)
    legs = context.pick(6, 24)
    steps = round(_LEG / rate)
    excesses = []
    for leg in context.track(range(round(_SETTLING / _LEG) + legs), f"{label}, {rate:g}, {batch}"):
        train(model, PROBLEM, law, Schedule(rate, steps, batch, steps, leg))
        if leg * _LEG >= _SETTLING:
            excesses.append(_difference(model, law, context.pick(4, 20), seed=1000 + leg))
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


def _sampled(context: Context, at: State, prompts: int, label: str) -> tuple[float, float]:
    """Loss of decomposable weights without query noise, and its standard error."""
    law = context.law(PROBLEM)
    kq, ov = decomposable(PROBLEM, at, law)
    generator = law.generator(7)
    losses = []
    with torch.no_grad():
        for _ in context.track(range(prompts // _CHUNK), label):
            x, query = law.inputs(_CHUNK, generator)
            losses.append(expected_task_loss(kq, ov, x, query, law).sum(dim=1).double().cpu())
    values = torch.cat(losses)
    return float(values.mean()) - _SIGNAL, float(values.std() / len(values) ** 0.5)


def figure(result: Result) -> Figure:
    """Left: the parts of every run's gap. Right: the noise's part against step over batch."""
    with style.context(STYLE):
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
        parts.set(ylabel="loss above large-L (%)", ylim=(0.0, 16.0))
        parts.legend(loc="upper right")
        for kind, label in (("joint", "ours, their embedding"), ("ours", "ours")):
            curve = result.curves[f"{kind} stray"]
            excess = 100.0 * np.asarray(curve["excess"])
            noise.errorbar(curve["noise"], excess[:, 0], excess[:, 1], fmt=".", label=label)
            grid = np.array([min(curve["noise"]), max(curve["noise"])])
            mean = np.average(excess[:, 0] / curve["noise"], weights=(curve["noise"] / excess[:, 1]) ** 2)
            noise.plot(grid, mean * grid, color="0.5", lw=0.8)
        noise.set(xscale="log", yscale="log", xlabel="step / batch", ylabel="loss by stray entries (%)")
        noise.margins(x=0.15)
        noise.legend()
        return drawn
