"""Linear attention trained on sparse in-context regression: which layers need many heads, and what for.

Chen, Zhao and Zou (2024), arXiv 2408.04532: the first of several layers uses all of its heads, the others one
each, because the first one preprocesses (x becomes r o x, with r the correlations of covariates and labels)
and the others descend. Weights that do so are known. Asked here is whether training keeps to them, by models
that start there, and whether it finds them, by models that start from random weights.

Layouts of heads are written [8, 1, 1, 1]: eight in the first layer, and one in each of the other three.

What a trained model is depends on its prompts and on where it starts. So what is claimed is claimed of the
mean over training runs, and its error is that of so many of them. The scatter between runs is that of those
which there are, and of one it is what `validation.sparse.scatter` has measured. Of all else that was trained
once nothing is claimed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from validation.context import Context
from validation.result import Result, Row, at_most, not_above, not_below, noted
from validation.sparse.bench import Bench
from validation.sparse.linear_attention import LinearTransformer, Mask
from validation.sparse.probes import (
    ViewRisk,
    effective_heads,
    head_importance,
    layer1_readout,
    linear_probe,
    p_probe,
    prune,
)
from validation.sparse.prompts import SparsePrompts, draw, preprocessed_descent
from validation.sparse.scatter import over_runs
from validation.sparse.training import Config, History, train
from validation.sparse.warm import ALL, FIRST, ONE, PROBLEM, A, B, Warm, warm
from validation.statistics import Estimate, combined

TITLE = "linear attention trained on sparse regression: d = 8, n = 64, noise 0.25, four layers"

EASY = replace(PROBLEM, s=1)  # what training from random weights is able to learn

_SECOND, _LATER = (1, 8, 1, 1), (1, 8, 8, 8)
_COLD, _TUNING, _HARDER = 4e-3, 2e-3, 3e-3  # learning rates
_DECAY = 0.05  # weight decay with eight heads in every layer

_RUNS = {FIRST: 4, ONE: 4, ALL: 3}  # of a full command, from the construction
_COLD_RUNS = {ONE: 4, FIRST: 4, _SECOND: 1, ALL: 1}  # and from random weights

_EXACT = 1e-10  # of weights that compute what they should, in double precision
_BEATS, _LEVEL = 0.5, 0.8  # mean risk over that of ridge regression that beats it, and that does not
_MANY, _SINGLE = 5.0, 1.5  # effective heads, and ranks, that are many, and that are one
_MOVES, _STAYS = 0.8, 0.97  # risk of the P-probe over that of raw covariates
_GAIN = 0.8  # mean risk with many heads in the first layer only, over that with one head in every layer

# of every layout from the construction: quantities with a claim about their mean over runs
_CLAIMS: dict[tuple[int, ...], dict[str, tuple[Callable[[str, Estimate, float], Row], float]]] = {
    FIRST: {
        "risk over ridge": (not_above, _BEATS),
        "effective heads of layer 1": (not_below, _MANY),
        "rank of what layer 1 writes": (not_below, _MANY),
        "P-probe, best layer over covariates": (not_above, _MOVES),
    },
    ONE: {
        "risk over ridge": (not_below, _LEVEL),
        "rank of what layer 1 writes": (not_above, _SINGLE),
        "P-probe, best layer over covariates": (not_below, _STAYS),
    },
}
_CLAIMS[ALL] = _CLAIMS[FIRST]


def run(context: Context) -> Result:
    """Untrained weights; training from them; in full, training from random ones, and pruning."""
    result = Result("sparse", TITLE)
    hard = Bench.of(context, PROBLEM)
    result.add(noted("least squares on the support, over ridge", hard.oracle))
    _construction(context, result)
    result.curves["levels"] = {"2": hard.oracle}
    for heads in context.pick((FIRST, ONE), (FIRST, ONE, ALL)):
        runs = [warm(context, hard, heads, k) for k in range(context.pick(1, _RUNS[heads]))]
        _warm(result, hard, heads, runs)
        if heads == ALL:
            _prune(context, result, hard, "warm", PROBLEM, runs[0].model)
    if context.full:
        _cold(context, result, hard)
    result.notes += [
        "claimed is the mean over training runs, up to the scatter between them: "
        + context.pick("as recorded of eight", "that of the runs"),
        "risks: without the 0.1 % of largest errors, over ridge regression's on the same prompts",
        "effective heads: 1 / sum of squared shares of what is lost with a head's mean in its place",
        "P-probe: ridge regression on what covariates become as queries, over that on covariates",
    ]
    if context.full:
        result.notes += [
            "expected effective heads and ranks: the paper's pattern, which training need not keep or find",
            "of what was trained once, pruned models among it, nothing is claimed",
            f"pruned, before training on: at most the risk of predicting zero, {hard.nothing:.0f} of ridge's",
        ]
    return result


def _train(
    context: Context,
    name: str,
    config: Config,
    model: LinearTransformer | None = None,
    mask: Mask | None = None,
) -> tuple[LinearTransformer, History]:
    return train(
        config, model, mask, track=context.track, label=name, folder=context.folder, device=context.device
    )


def _construction(context: Context, result: Result) -> None:
    """The weights of the construction, before any noise and any training."""
    prompts = draw(PROBLEM, 2000, context.generator("sparse, construction"), torch.float64)
    for heads, b in ((FIRST, B), (ONE, 0.0)):
        model = LinearTransformer.constructed(PROBLEM.d, heads, A, B, A).to(context.device)
        beta = preprocessed_descent(prompts, A, A, b, steps=3)
        with torch.no_grad():
            apart = (model(prompts) - (beta * prompts.query).sum(dim=1)).abs().max()
        label = f"{_name(heads)} constructed: prediction apart from the algorithm's"
        result.add(at_most(label, float(apart), _EXACT))


def _warm(result: Result, bench: Bench, heads: tuple[int, ...], runs: list[Warm]) -> None:
    """Models of a layout that started from the construction: the mean over runs, and one in pictures."""
    name, one = f"warm {_name(heads)}", runs[0]
    claims = _CLAIMS[heads]
    for quantity in one.quantities:
        values = [each.quantities[quantity] for each in runs]
        if quantity in claims:
            claimed, limit = claims[quantity]
            result.add(claimed(f"{name}: {quantity}", over_runs(values, heads, quantity), limit))
    whole = [each.whole for each in runs]
    result.add(noted(f"{name}:   risk with the largest errors", *_mean(whole)))
    if max(heads[1:]) > 1:
        for layer in range(1, len(heads)):
            counts = [float(each.effective[layer]) for each in runs]
            result.add(noted(f"{name}: effective heads of layer {layer + 1}", *_mean(counts), 1.0))
    alignments = [each.alignment for each in runs]
    result.add(noted(f"{name}: alignment of what layer 1 writes", *_mean(alignments), 1.0))
    _keep(result, bench, name, one.history, one.effective, one.model)
    _keep_views(result, name, one.views)


def _mean(values: list[float]) -> tuple[float, float | None]:
    """The mean over runs, and its error if there are several."""
    if len(values) == 1:
        return values[0], None
    mean = Estimate.of(np.array(values))
    return mean.value, mean.error


def _views(result: Result, bench: Bench, name: str, model: LinearTransformer) -> None:
    """The P-probe of a model that was trained once."""
    views = p_probe(model, bench.few)
    best = min(views.layers[1:]) / views.raw
    expected = views.preprocessed / views.raw
    result.add(noted(f"{name}: P-probe, best layer over covariates", best, None, expected))
    _keep_views(result, name, views)


def _keep_views(result: Result, name: str, views: ViewRisk) -> None:
    """What figures show of a P-probe."""
    kept = result.curves.setdefault("views", {})
    kept[name] = np.array(views.layers) / views.raw
    kept[f"preprocessed {_sparsity(name)}"] = views.preprocessed / views.raw


def _keep(
    result: Result,
    bench: Bench,
    name: str,
    history: History,
    effective: Floats,
    model: LinearTransformer,
) -> None:
    """What figures show of a trained model."""
    risk = np.array(history.risk) / bench.followed
    result.curves.setdefault("training", {})[name] = {"step": history.step, "risk": risk}
    result.curves.setdefault("effective heads", {})[name] = effective
    half = len(bench.few.y) // 2
    sets = [SparsePrompts(*(part[rows] for part in bench.few)) for rows in (slice(half), slice(half, None))]
    risks = linear_probe(model, *sets)
    result.curves.setdefault("linear probe", {})[name] = np.array(risks) / bench.followed


def _cold(context: Context, result: Result, hard: Bench) -> None:
    """Models that start from random weights, on one coefficient and then on two."""
    bench = Bench.of(context, EASY)
    result.add(noted("one coefficient: least squares on the support, over ridge", bench.oracle))
    result.curves["levels"]["1"] = bench.oracle
    risks: dict[tuple[int, ...], list[float]] = {}
    models = {}
    for heads, runs in _COLD_RUNS.items():
        name = f"cold {_name(heads)}"
        for k in range(runs):
            seed = context.seed_of(f"sparse, {name}, run {k}")
            config = Config(EASY, heads, 8000, _COLD, seed, _DECAY if heads == ALL else 0.0)
            model, history = _train(context, f"cold-{_short(heads)}-{k}", config)
            risks.setdefault(heads, []).append(bench.over_ridge(model)[0])
            if k == 0:
                models[heads] = model
                effective = effective_heads(head_importance(model, bench.few).loss)
                _keep(result, bench, name, history, effective, model)
                _views(result, bench, name, model)
        result.add(noted(f"{name}: risk over ridge", *_mean(risks[heads])))
    # of logarithms, whose scatter does not grow with the risk
    few, many = (Estimate.of(np.log(risks[heads])) for heads in (ONE, FIRST))
    apart = combined((1.0, many), (-1.0, few))
    result.add(not_above(f"cold {_name(FIRST)} over {_name(ONE)}: log risk", apart, float(np.log(_GAIN))))
    for heads in (_SECOND, ALL):
        share = risks[heads][0] / float(np.mean(risks[FIRST]))
        result.add(noted(f"cold {_name(heads)} over {_name(FIRST)}: risk", share))
    for layer, effective in enumerate(result.curves["effective heads"][f"cold {_name(ALL)}"]):
        label = f"cold {_name(ALL)}: effective heads of layer {layer + 1}"
        result.add(noted(label, effective, None, 8.0 if layer == 0 else 1.0))
    alignment, rank = layer1_readout(models[ALL])
    result.add(noted(f"cold {_name(ALL)}: alignment of what layer 1 writes", alignment, None, 1.0))
    result.add(noted(f"cold {_name(ALL)}: rank of it", rank, None, 8.0))
    _prune(context, result, bench, "cold", EASY, models[ALL])
    for heads, steps in ((ONE, 3000), (FIRST, 6000), (ALL, 6000)):
        name = f"cold {_name(heads)}, then two"
        seed = context.seed_of(f"sparse, {name}")
        config = Config(PROBLEM, heads, steps, _HARDER, seed, _DECAY if heads == ALL else 0.0)
        model, history = _train(context, f"then-{_short(heads)}", config, models[heads])
        result.add(noted(f"{name}: risk over ridge", *hard.over_ridge(model)))
        effective = effective_heads(head_importance(model, hard.few).loss)
        if heads == ALL:
            result.add(noted(f"{name}: effective heads of layer 1", effective[0], None, 8.0))
        _keep(result, hard, name, history, effective, model)
        _views(result, hard, name, model)


def _prune(
    context: Context,
    result: Result,
    bench: Bench,
    kind: str,
    problem: SparseProblem,
    model: LinearTransformer,
) -> None:
    """The top head alone in the later layers; or in the first and the last two; or in the first."""
    importance = head_importance(model, bench.few).loss
    whole, _ = bench.over_ridge(model)
    curves = result.curves.setdefault("pruning", {}).setdefault(kind, {"whole": whole})
    for kept, layers in ((FIRST, (1, 2, 3)), (_SECOND, (0, 2, 3)), (_LATER, (0,))):
        mask = prune(model, importance, layers)
        name = f"{kind} {_name(ALL)} pruned to {_name(kept)}"
        before, blur = bench.over_ridge(model, mask)
        capped = before > bench.nothing
        before = min(before, bench.nothing)
        result.add(noted(f"{name}: risk over ridge", before, None if capped else blur, whole))
        config = Config(problem, ALL, 3000, _TUNING, seed=context.seed_of(f"sparse, {name}"))
        tuned, _ = _train(context, f"pruned-{kind}-{_short(kept)}", config, copy.deepcopy(model), mask)
        after, error = bench.over_ridge(tuned, mask)
        result.add(noted(f"{name}:   after training on", after, error))
        curves[_name(kept)] = [before, after]


def _name(heads: Sequence[int]) -> str:
    return str(list(heads))


def _short(heads: Sequence[int]) -> str:
    return "".join(map(str, heads))


def _sparsity(name: str) -> str:
    """The number of coefficients that a model of some name was trained on."""
    return "1" if name.startswith("cold") and "then" not in name else "2"


_COLOURS = {
    _name(ONE): "#0072B2",
    _name(FIRST): "#D55E00",
    _name(_SECOND): "#009E73",
    _name(ALL): "#CC79A7",
    _name(_LATER): "#E69F00",
}
_DASHES: dict[str, Any] = {"warm": "-", "cold": (0, (4, 1.5)), "then": (0, (1, 1))}
_KINDS = {"warm": "from the construction", "cold": "from random weights", "then": "then on two coefficients"}


def figure(result: Result) -> Figure:
    """Top: training, and linear probes. Bottom: heads that count, what queries become, pruning.

    Without models from random weights there is no pruning, and one row.
    """
    curves: dict[str, Any] = result.curves
    full = "pruning" in curves
    with styled():
        drawn = Figure(figsize=(6.75, 4.8 if full else 2.5))
        panels = np.asarray(drawn.subplots(2, 3) if full else drawn.subplots(1, 3)).ravel()
        _draw_training(panels[0], curves, ("warm",))
        panels[0].set(ylabel="risk / ridge", title="from the construction")
        if full:
            _draw_training(panels[1], curves, ("cold", "then"))
            panels[1].set(title="from random weights")
            _draw_probes(panels[2], curves)
            _draw_pruning(panels[5], curves)
        _draw_heads(panels[3 if full else 1], curves)
        _draw_views(panels[4 if full else 2], curves)
        shown = [
            *curves["training"],
            *(f" {layout}" for part in curves.get("pruning", {}).values() for layout in part),
        ]
        lines = [
            panels[0].plot([], [], color=colour, label=name)[0]
            for name, colour in _COLOURS.items()
            if any(name in key for key in shown)
        ]
        lines += [
            panels[0].plot([], [], color="0.4", ls=_DASHES[kind], label=label)[0]
            for kind, label in _KINDS.items()
            if any(_kind(name) == kind for name in curves["training"])
        ]
        drawn.legend(handles=lines, loc="outside upper center", ncols=4 if full else 3)
        return drawn


def _kind(name: str) -> str:
    return "then" if "then" in name else name.split()[0]


def _look(name: str) -> dict[str, Any]:
    """Colour and dashes of a model."""
    return {"color": _COLOURS[name[name.index("[") : name.index("]") + 1]], "ls": _DASHES[_kind(name)]}


def _level(
    axes: Axes,
    height: float,
    label: str,
    *,
    over: tuple[float, float] = (0.0, 1.0),
    up: bool,
    right: bool = False,
) -> None:
    """A level over a part of the width, and its name at one of its ends, above it or below."""
    axes.plot(over, [height, height], transform=axes.get_yaxis_transform(), color="0.5", lw=0.7, zorder=0)
    axes.annotate(
        label, (over[right], height), xycoords=("axes fraction", "data"),
        xytext=(-1.5 if right else 1.5, 1.5 if up else -1.5), textcoords="offset points",
        ha="right" if right else "left", va="bottom" if up else "top", size=6, color="0.35",
    )  # fmt: skip


def _draw_training(axes: Axes, curves: dict[str, Any], kinds: Sequence[str]) -> None:
    """Risk against steps; those on two coefficients go on from those on one."""
    before = 0.0
    for kind in kinds:
        ends = [before]
        for name, curve in curves["training"].items():
            if _kind(name) == kind:
                steps = before + np.asarray(curve["step"]) / 1000.0
                axes.plot(steps, curve["risk"], color=_look(name)["color"])
                ends.append(steps[-1])
        if kind == "cold":
            before = max(ends)
    last = max(ends)
    axes.set(xlabel="steps / 1000", yscale="log", ylim=(0.04, 3.0), xlim=(-0.02 * last, 1.02 * last))
    _level(axes, 1.0, "ridge", up=True, right=True)
    if "cold" not in kinds:
        _level(axes, curves["levels"]["2"], "oracle", up=False)
        return
    share = (before + 0.02 * last) / (1.04 * last)
    _level(axes, curves["levels"]["1"], "oracle", over=(0.0, share), up=False)
    _level(axes, curves["levels"]["2"], "oracle", over=(share, 1.0), up=False)
    axes.axvline(before, color="0.5", lw=0.7, ls=":", zorder=0)
    for place, label in ((0.5 * before, "one coefficient"), (0.5 * (before + last), "then two")):
        axes.annotate(
            label,
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            size=6,
            color="0.35",
        )


def _draw_probes(axes: Axes, curves: dict[str, Any]) -> None:
    for name, risks in curves["linear probe"].items():
        axes.plot(range(len(risks)), risks, marker=".", **_look(name))
    _level(axes, 1.0, "ridge", up=False)
    axes.set(xlabel="after layer", yscale="log", ylabel="linear probe / ridge", xticks=range(5))


def _draw_heads(axes: Axes, curves: dict[str, Any]) -> None:
    for name, effective in curves["effective heads"].items():
        values = np.array(effective, dtype=np.float64)
        axes.plot(1 + np.arange(values.size), values, marker=".", **_look(name))
    axes.set(xlabel="layer", ylabel="effective heads", ylim=(0.0, 8.6), xticks=range(1, 5))


def _draw_views(axes: Axes, curves: dict[str, Any]) -> None:
    for name, moved in curves["views"].items():
        if not name.startswith("preprocessed"):
            axes.plot(range(len(moved)), moved, marker=".", **_look(name))
    for count, label in (("1", "r o x, one coefficient"), ("2", "r o x, two coefficients")):
        level = curves["views"].get(f"preprocessed {count}")
        if level is not None:
            _level(axes, level, label, up=False)
    axes.set(xlabel="after layer", ylabel="P-probe / covariates", ylim=(0.0, 1.1), xticks=range(5))


def _draw_pruning(axes: Axes, curves: dict[str, Any]) -> None:
    for kind, parts in curves["pruning"].items():
        for layout in (_name(FIRST), _name(_SECOND), _name(_LATER)):
            axes.plot(range(3), [parts["whole"], *parts[layout]], marker=".", **_look(f"{kind} {layout}"))
    _level(axes, 1.0, "ridge", up=True)
    axes.set(yscale="log", ylabel="risk / ridge", xlim=(-0.2, 2.3), title="[8, 8, 8, 8] pruned")
    axes.set_xticks(range(3), ["whole", "pruned", "trained on"])
