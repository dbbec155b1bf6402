"""Linear attention trained on sparse in-context regression: which layers need many heads, and what for.

Chen, Zhao and Zou (2024), arXiv 2408.04532: the first of several layers uses all of its heads, the others one
each, because the first one preprocesses (x becomes r o x, with r the correlations of covariates and labels)
and the others descend. Weights that do so are known. Asked here is whether training keeps to them, by models
that start there, and whether it finds them, by models that start from random weights.

Layouts of heads are written [8, 1, 1, 1]: eight in the first layer, and one in each of the other three.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from validation.context import Context
from validation.result import Result, at_least, at_most, noted
from validation.sparse.linear_attention import LinearTransformer, Mask
from validation.sparse.probes import (
    effective_heads,
    errors_of,
    head_importance,
    layer1_readout,
    linear_probe,
    p_probe,
    prune,
    ratio,
    squared_errors,
    trimmed,
)
from validation.sparse.prompts import SparsePrompts, best_penalty, draw, oracle, preprocessed_descent, ridge
from validation.sparse.training import Config, History, train, warm_start, watched

TITLE = "linear attention trained on sparse regression: d = 8, n = 64, noise 0.25, four layers"

PROBLEM = SparseProblem(d=8, s=2, n=64, noise=0.25)
EASY = replace(PROBLEM, s=1)  # what training from random weights is able to learn

_ONE, _FIRST, _SECOND, _ALL = (1, 1, 1, 1), (8, 1, 1, 1), (1, 8, 1, 1), (8, 8, 8, 8)
_LATER = (1, 8, 8, 8)
_A, _B, _NOISE = 0.6, 0.5, 0.02  # of warm starts: the metric a + b r^2, and the noise in all weights
_WARM, _COLD, _TUNING, _HARDER = 2e-3, 4e-3, 2e-3, 3e-3  # learning rates
_DECAY = 0.05  # weight decay with eight heads in every layer

_EXACT = 1e-10  # of weights that compute what they should, in double precision
_BEATS, _LEVEL = 0.5, 0.8  # risk over that of ridge regression that beats it, and that does not
_MANY, _SINGLE = 5.0, 1.5  # effective heads, and ranks, that are many, and that are one
_MOVES, _STAYS = 0.8, 0.97  # risk of the P-probe over that of raw covariates
_GAIN = 0.8  # risk with many heads in the first layer only, over that with one head in every layer


@dataclass
class Bench:
    """Prompts of one problem that nothing was trained on, and what is known to be possible on them."""

    prompts: SparsePrompts
    few: SparsePrompts
    ridge: Floats  # squared errors of ridge regression
    oracle: float  # risk of least squares on the true support, over that of ridge regression
    nothing: float  # risk of predicting zero, over that of ridge regression
    followed: float  # risk of ridge regression on the prompts on which training follows the risk

    @classmethod
    def of(cls, context: Context, problem: SparseProblem) -> Bench:
        """The bench of a problem."""
        generator = torch.Generator(context.device).manual_seed(2024)
        prompts = draw(problem, context.pick(10_000, 20_000), generator)
        doubles, followed = prompts.to(torch.float64), watched(problem, context.device, torch.float32)
        penalty = best_penalty(problem)
        level = errors_of(ridge(doubles, penalty), doubles)
        return cls(
            prompts=prompts,
            few=SparsePrompts(*(part[: context.pick(2000, 8000)] for part in prompts)),
            ridge=level,
            oracle=ratio(errors_of(oracle(doubles), doubles), level)[0],
            nothing=ratio(errors_of(torch.zeros_like(doubles.query), doubles), level)[0],
            followed=trimmed(errors_of(ridge(followed, penalty), followed))[0],
        )

    def over_ridge(self, model: LinearTransformer, mask: Mask | None = None) -> tuple[float, float]:
        """A model's risk over that of ridge regression, largest errors of both left out, and its error."""
        return ratio(squared_errors(model, self.prompts, mask), self.ridge)


def run(context: Context) -> Result:
    """Untrained weights; training from them; in full, training from random ones, and pruning."""
    result = Result("sparse", TITLE)
    hard = Bench.of(context, PROBLEM)
    result.add(noted("least squares on the support, over ridge", hard.oracle))
    _construction(context, result)
    warm = {
        _FIRST: context.pick(2500, 8000),
        _ONE: context.pick(800, 4000),
        **({_ALL: 8000} if context.full else {}),
    }
    result.curves["levels"] = {"2": hard.oracle}
    for heads, steps in warm.items():
        start = warm_start(PROBLEM.d, heads, _A, _B, _NOISE, seed=0).to(context.device)
        config = Config(PROBLEM, heads, steps, _WARM, every=context.pick(100, 250))
        model, history = _train(context, f"warm-{_short(heads)}", config, start)
        _warm(result, hard, heads, model, history)
        if heads == _ALL:
            _prune(context, result, hard, "warm", PROBLEM, model)
    if context.full:
        _cold(context, result, hard)
    result.notes += [
        "risks: without the 0.1 % of largest errors, over ridge regression's on the same prompts",
        "effective heads: 1 / sum of squared shares of what is lost with a head's mean in its place",
        "P-probe: ridge regression on what covariates become as queries, over that on covariates",
    ]
    if context.full:
        result.notes += [
            "expected effective heads and ranks: the paper's pattern, which training need not keep or find",
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
    generator = torch.Generator(context.device).manual_seed(5)
    prompts = draw(PROBLEM, 2000, generator, torch.float64)
    for heads, b in ((_FIRST, _B), (_ONE, 0.0)):
        model = LinearTransformer.constructed(PROBLEM.d, heads, _A, _B, _A).to(context.device)
        beta = preprocessed_descent(prompts, _A, _A, b, steps=3)
        with torch.no_grad():
            apart = (model(prompts) - (beta * prompts.query).sum(dim=1)).abs().max()
        label = f"{_name(heads)} constructed: prediction apart from the algorithm's"
        result.add(at_most(label, float(apart), _EXACT))


def _warm(
    result: Result, bench: Bench, heads: tuple[int, ...], model: LinearTransformer, history: History
) -> None:
    """A model that started from the construction."""
    name, many = f"warm {_name(heads)}", heads[0] > 1
    measured, error = bench.over_ridge(model)
    label = f"{name}: risk over ridge"
    result.add(at_most(label, measured, _BEATS, error) if many else at_least(label, measured, _LEVEL, error))
    squares = squared_errors(model, bench.prompts)
    result.add(noted(f"{name}:   with the largest errors", squares.mean() / bench.ridge.mean()))
    importance = head_importance(model, bench.few).loss
    effective = effective_heads(importance)
    if many:
        result.add(at_least(f"{name}: effective heads of layer 1", effective[0], _MANY))
    if max(heads[1:]) > 1:
        result.add(
            noted(f"{name}: effective heads of layer {layer + 1}", effective[layer], None, 1.0)
            for layer in range(1, len(heads))
        )
    alignment, rank = layer1_readout(model)
    result.add(noted(f"{name}: alignment of what layer 1 writes", alignment, None, 1.0))
    label = f"{name}: rank of it"
    result.add(at_least(label, rank, _MANY) if many else at_most(label, rank, _SINGLE))
    _views(result, bench, name, model, many)
    _keep(result, bench, name, history, effective, model)


def _views(result: Result, bench: Bench, name: str, model: LinearTransformer, many: bool | None) -> None:
    """The P-probe of a model, of which something is claimed unless ``many`` is None."""
    views = p_probe(model, bench.few)
    moved = np.array(views.layers) / views.raw
    label, best = f"{name}: P-probe, best layer over covariates", float(moved[1:].min())
    if many is None:
        result.add(noted(label, best, None, views.preprocessed / views.raw))
    else:
        result.add(at_most(label, best, _MOVES) if many else at_least(label, best, _STAYS))
    result.curves.setdefault("views", {})[name] = moved
    result.curves["views"][f"preprocessed {_sparsity(name)}"] = views.preprocessed / views.raw


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
    risks: dict[tuple[int, ...], list[Floats]] = {}
    models = {}
    for seed, layouts in ((0, (_ONE, _FIRST, _SECOND, _ALL)), (1, (_ONE, _FIRST))):
        for heads in layouts:
            name = f"cold {_name(heads)}" + (", again" if seed else "")
            config = Config(EASY, heads, 8000, _COLD, seed, _DECAY if heads == _ALL else 0.0)
            model, history = _train(context, f"cold-{_short(heads)}-{seed}", config)
            risks.setdefault(heads, []).append(squared_errors(model, bench.prompts))
            result.add(noted(f"{name}: risk over ridge", *ratio(risks[heads][-1], bench.ridge)))
            if seed == 0:
                models[heads] = model
                effective = effective_heads(head_importance(model, bench.few).loss)
                _keep(result, bench, name, history, effective, model)
                _views(result, bench, name, model, None)
    for seed, squares in enumerate(zip(risks[_FIRST], risks[_ONE], strict=True)):
        label = f"cold {_name(_FIRST)} over {_name(_ONE)}" + (", again" if seed else "")
        measured, error = ratio(*squares)
        result.add(at_most(f"{label}: risk", measured, _GAIN, error))
    measured, error = ratio(risks[_SECOND][0], risks[_FIRST][0])
    result.add(noted(f"cold {_name(_SECOND)} over {_name(_FIRST)}: risk", measured, error))
    measured, error = ratio(risks[_ALL][0], risks[_FIRST][0])
    result.add(noted(f"cold {_name(_ALL)} over {_name(_FIRST)}: risk", measured, error))
    for layer, effective in enumerate(result.curves["effective heads"][f"cold {_name(_ALL)}"]):
        label = f"cold {_name(_ALL)}: effective heads of layer {layer + 1}"
        result.add(noted(label, effective, None, 8.0 if layer == 0 else 1.0))
    alignment, rank = layer1_readout(models[_ALL])
    result.add(noted(f"cold {_name(_ALL)}: alignment of what layer 1 writes", alignment, None, 1.0))
    result.add(noted(f"cold {_name(_ALL)}: rank of it", rank, None, 8.0))
    _prune(context, result, bench, "cold", EASY, models[_ALL])
    for heads, steps in ((_ONE, 3000), (_FIRST, 6000), (_ALL, 6000)):
        config = Config(PROBLEM, heads, steps, _HARDER, 2, _DECAY if heads == _ALL else 0.0)
        model, history = _train(context, f"then-{_short(heads)}", config, models[heads])
        name = f"cold {_name(heads)}, then two"
        result.add(noted(f"{name}: risk over ridge", *hard.over_ridge(model)))
        effective = effective_heads(head_importance(model, hard.few).loss)
        if heads == _ALL:
            result.add(noted(f"{name}: effective heads of layer 1", effective[0], None, 8.0))
        _keep(result, hard, name, history, effective, model)
        _views(result, hard, name, model, None)


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
    for kept, layers in ((_FIRST, (1, 2, 3)), (_SECOND, (0, 2, 3)), (_LATER, (0,))):
        mask = prune(model, importance, layers)
        name = f"{kind} {_name(_ALL)} pruned to {_name(kept)}"
        before, blur = bench.over_ridge(model, mask)
        capped = before > bench.nothing
        before = min(before, bench.nothing)
        result.add(noted(f"{name}: risk over ridge", before, None if capped else blur, whole))
        config = Config(problem, _ALL, 3000, _TUNING, seed=3)
        tuned, _ = _train(context, f"pruned-{kind}-{_short(kept)}", config, copy.deepcopy(model), mask)
        after, error = bench.over_ridge(tuned, mask)
        label = f"{name}:   after training on"
        claimed = kept == _FIRST  # the first layer's heads are what is needed
        result.add(at_most(label, after, _BEATS, error) if claimed else noted(label, after, error))
        curves[_name(kept)] = [before, after]


def _name(heads: Sequence[int]) -> str:
    return str(list(heads))


def _short(heads: Sequence[int]) -> str:
    return "".join(map(str, heads))


def _sparsity(name: str) -> str:
    """The number of coefficients that a model of some name was trained on."""
    return "1" if name.startswith("cold") and "then" not in name else "2"


_COLOURS = {
    _name(_ONE): "#0072B2",
    _name(_FIRST): "#D55E00",
    _name(_SECOND): "#009E73",
    _name(_ALL): "#CC79A7",
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
        for layout in (_name(_FIRST), _name(_SECOND), _name(_LATER)):
            axes.plot(range(3), [parts["whole"], *parts[layout]], marker=".", **_look(f"{kind} {layout}"))
    _level(axes, 1.0, "ridge", up=True)
    axes.set(yscale="log", ylabel="risk / ridge", xlim=(-0.2, 2.3), title="[8, 8, 8, 8] pruned")
    axes.set_xticks(range(3), ["whole", "pruned", "trained on"])
