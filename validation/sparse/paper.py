"""Linear attention trained from random weights at the scale of the paper: which heads count in which layer.

Chen, Zhao and Zou (2024), arXiv 2408.04532, train four layers, and three, of eight heads, at several levels
of noise, and find that many heads count in the first layer and one in each of the others. Recorded is whether
that comes out here, and what pruning to it costs; claimed is only that training is finite and makes the loss
smaller.

The check is asked for by its name, ``sparse_paper``: with ``--full`` it is sized for ten minutes of one large
GPU, and with ``--quick``, at a smaller scale, for minutes of a processor. It has not been run on CUDA.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from validation.context import Context
from validation.result import Result, at_most, not_above, noted
from validation.sparse.bench import Bench
from validation.sparse.linear_attention import LinearTransformer
from validation.sparse.probes import effective_heads, head_importance, layer1_readout, p_probe, prune
from validation.sparse.training import Config, History, train
from validation.statistics import Estimate, combined

TITLE = "linear attention trained from random weights at the scale of the paper"


class Scale(NamedTuple):
    """What is trained, and for how long.

    Attributes
    ----------
    problems : tuple of SparseProblem
        One per training run.
    layers : tuple of int
        Of every run.
    heads : int
        Of every layer, before pruning.
    steps, tuning : int
        Of training, and of training on what was pruned.
    batch : int
        Fresh prompts per step.
    bench : tuple of int
        Prompts on which risks are measured, and those of them for what takes long.
    """

    problems: tuple[SparseProblem, ...]
    layers: tuple[int, ...]
    heads: int
    steps: int
    tuning: int
    batch: int
    bench: tuple[int, int]


def _problems(d: int, s: int, noises: Sequence[float]) -> tuple[SparseProblem, ...]:
    return tuple(SparseProblem(d=d, s=s, n=64, noise=noise) for noise in noises)


QUICK = Scale(_problems(8, 1, (0.1, 0.25, 0.25)), (4, 4, 3), 8, 1000, 300, 128, (4000, 1000))
# A step is some three hundred kernels, milliseconds to launch whatever the batch: 2048 prompts, 25 GFLOP at
# d = 16, are as long to work on, so that neither waits.
FULL = Scale(_problems(16, 4, (0.01, 0.25, 1.0, 0.25)), (4, 4, 4, 3), 8, 20_000, 3000, 2048, (20_000, 8000))

_RATE, _TUNING, _DECAY = 4e-3, 2e-3, 0.05  # learning rates, and weight decay
_ENDS = 0.1  # share of the steps at either end whose losses are compared


def run(context: Context) -> Result:
    """Training at every level of noise and depth, and what heads are for in it."""
    scale = context.pick(QUICK, FULL)
    result = Result("sparse_paper", TITLE)
    result.curves["heads"] = scale.heads
    for problem, layers in zip(scale.problems, scale.layers, strict=True):
        _trained(context, scale, result, problem, layers)
    result.notes += [
        "risks: without the 0.1 % of largest errors, over ridge regression's on the same prompts",
        "effective heads: expected is the paper's pattern; where no head counts there are none",
        "every model was trained once: nothing is claimed of what it became",
    ]
    return result


def _trained(context: Context, scale: Scale, result: Result, problem: SparseProblem, layers: int) -> None:
    """One training run, its heads, and two prunings."""
    heads = (scale.heads,) * layers
    name = f"d = {problem.d}, s = {problem.s}, noise {problem.noise:g}, {layers} layers"
    label = f"paper-{problem.d}-{problem.s}-{problem.noise:g}-{layers}"
    bench = Bench.of(context, problem, scale.bench)
    config = _config(context, scale, problem, heads, name)
    model, history = train(
        config, track=context.track, label=label, folder=context.folder, device=context.device
    )
    result.add(
        at_most(f"{name}: steps without a finite loss", float(np.sum(~np.isfinite(history.loss))), 0.0)
    )
    result.add(not_above(f"{name}: loss at the end, less that at the start", _fallen(history), 0.0))
    risk, error = bench.over_ridge(model)
    result.add(noted(f"{name}: risk over ridge", risk, error))
    result.add(noted(f"{name}: least squares on the support, over ridge", bench.oracle))

    kept = context.kept(f"{label}-importance", config, lambda: _importance(model, bench))
    importance = [kept[f"layer {layer + 1}"] for layer in range(layers)]
    effective = effective_heads(importance)
    for layer, count in enumerate(effective):
        expected = float(scale.heads) if layer == 0 else 1.0
        result.add(noted(f"{name}: effective heads of layer {layer + 1}", count, None, expected))
    alignment, rank = layer1_readout(model)
    result.add(noted(f"{name}: alignment of what layer 1 writes", alignment, None, 1.0))
    result.add(noted(f"{name}: rank of it", rank, None, float(min(scale.heads, problem.d))))
    views = p_probe(model, bench.few)
    best = min(views.layers[1:]) / views.raw
    result.add(
        noted(f"{name}: P-probe, best layer over covariates", best, None, views.preprocessed / views.raw)
    )

    curves = result.curves.setdefault("runs", {}).setdefault(name, {})
    curves["training"] = {"step": history.step, "risk": np.array(history.risk) / bench.followed}
    curves["effective heads"] = effective
    curves["pruning"] = {}
    if not all(np.isfinite(layer).any() for layer in importance):
        return  # there is no head to keep
    later = tuple(range(1, layers))
    for kind, pruned in (("first layer whole, one head in others", later), ("one head in layer 1", (0,))):
        mask = prune(model, importance, pruned)
        before = min(bench.over_ridge(model, mask)[0], bench.nothing)
        tuning = _config(context, scale, problem, heads, f"{name}, {kind}", tuned=True)
        tuned, _ = train(
            tuning,
            copy.deepcopy(model),
            mask,
            track=context.track,
            label=f"{label}-pruned-{len(pruned)}",
            folder=context.folder,
        )
        after, error = bench.over_ridge(tuned, mask)
        result.add(noted(f"{name}, {kind}: risk over ridge", before))
        result.add(noted(f"{name}, {kind}:   after training on", after, error))
        curves["pruning"][kind] = [risk, before, after]


def _config(
    context: Context,
    scale: Scale,
    problem: SparseProblem,
    heads: tuple[int, ...],
    name: str,
    *,
    tuned: bool = False,
) -> Config:
    """How a model is trained, or one that was pruned trained on: with a seed of its own by its name."""
    steps = scale.tuning if tuned else scale.steps
    return Config(
        problem,
        heads,
        steps,
        _TUNING if tuned else _RATE,
        seed=context.seed_of(f"sparse_paper, {name}"),
        decay=_DECAY,
        batch=scale.batch,
        every=max(1, steps // 40),
    )


def _fallen(history: History) -> Estimate:
    """Mean loss of the last steps, less that of the first: every step has prompts of its own."""
    losses = np.array(history.loss)
    count = max(2, int(_ENDS * losses.size))
    return combined((1.0, Estimate.of(losses[-count:])), (-1.0, Estimate.of(losses[:count])))


def _importance(model: LinearTransformer, bench: Bench) -> dict[str, Floats]:
    """What is lost without each head, by layer."""
    lost = head_importance(model, bench.few).loss
    return {f"layer {layer + 1}": values for layer, values in enumerate(lost)}


def figure(result: Result) -> Figure:
    """Left: training. Middle: heads that count, by layer. Right: pruning."""
    with styled():
        drawn = Figure(figsize=(6.75, 2.6))
        training, heads, pruning = drawn.subplots(1, 3)
        for name, run_ in result.curves["runs"].items():
            steps = np.array(run_["training"]["step"]) / 1000.0
            (line,) = training.plot(steps, run_["training"]["risk"], label=name)
            values = np.array(run_["effective heads"], dtype=np.float64)
            heads.plot(1 + np.arange(values.size), values, marker=".", color=line.get_color())
            for dashes, levels in zip(("-", ":"), run_["pruning"].values(), strict=False):
                pruning.plot(range(3), levels, marker=".", color=line.get_color(), ls=dashes)
        training.set(xlabel="steps / 1000", yscale="log", ylabel="risk / ridge")
        heads.set(xlabel="layer", ylabel="effective heads", ylim=(0.0, result.curves["heads"] + 0.6))
        pruning.set(yscale="log", ylabel="risk / ridge", title="one head in others (-), in layer 1 (:)")
        pruning.set_xticks(range(3), ["whole", "pruned", "trained on"])
        for axes in (training, pruning):
            axes.axhline(1.0, color="0.5", lw=0.7, zorder=0)
        drawn.legend(*training.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        return drawn
