"""Adam against gradient descent and the flow, in the setting of He, Pan, Chen and Yang (2025).

One task, d = 5, L = 40, noise variance 0.1, one to four heads, W and U trained themselves. Here the large-L
kernel is off by some 10 %, so the ends of training are held against the exact optima at this length.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from spectral_icl import Merged, Problem, gradient_flow
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.full_model import MergedAttention
from validation.multitask.prompts import Law
from validation.multitask.sampled_loss import sampled_loss
from validation.multitask.train import Run, Schedule, training_run
from validation.result import Result, Row, at_least, noted, within

TITLE = "Adam against gradient descent and the flow: d = 5, L = 40, one task"

PROBLEM = Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=40)
HEADS = (1, 2, 4)

_EXACT = json.loads((Path(__file__).parents[1] / "data" / "exact_optima.json").read_text("utf-8"))
_BATCH = 256
_ADAM, _SGD = 2e-3, 0.05  # learning rates
_WEIGHTS, _HELD, _LOSS = 0.05, 0.02, 0.005  # tolerances at the end: omega and mu, their product, the loss
_PATH = 0.15  # tolerance on the path of gradient descent, whose kernel is off by as much
_APART = 0.3  # relative distance of Adam's path from the flow's that is a difference
_LAST = 0.1  # share of the run over which weights are averaged at its end


def run(context: Context) -> Result:
    """Where Adam ends, and on which path."""
    result = Result("adam", TITLE)
    for heads in HEADS:
        start = _start(heads)
        steps = context.pick(5000, 20_000)
        law = Law.of(PROBLEM, context.device)
        model = MergedAttention.diagonal(PROBLEM, start, law)
        schedule = Schedule(_ADAM, steps, _BATCH, 10, heads)
        adam = training_run(
            context, f"adam-{heads}", model, PROBLEM, schedule, lambda w: torch.optim.Adam(w, lr=_ADAM)
        )
        model = MergedAttention.diagonal(PROBLEM, start, law)
        schedule = Schedule(_SGD, context.pick(3000, 20_000), _BATCH, 10, heads)
        sgd = training_run(context, f"adam-sgd-{heads}", model, PROBLEM, schedule)
        flow = gradient_flow(PROBLEM, *start, parametrization=Merged(), t_end=float(sgd.time[-1]))
        paths = {"Adam": State(adam.omega, adam.mu), "SGD": State(sgd.omega, sgd.mu), "flow": flow(sgd.time)}
        title = f"{heads} head" + "s" * (heads > 1)
        for name, run_ in (("Adam", adam), ("SGD", sgd)):
            result.add(_end(context, f"{title}, {name}", run_))
        result.add(_path(title, paths))
        result.curves[str(heads)] = {
            name: {"omega": path.omega[_thin(path), :, 0], "mu": path.mu[_thin(path), :, 0]}
            for name, path in paths.items()
        }
    result.notes += [
        "mu at half way: of head 0, when its omega first reaches half of the largest it has on the flow",
        "two heads and more have a valley, the best mu of every small omega, along which training slides on",
    ]
    return result


def _start(heads: int) -> State:
    """Small weights, of both signs from two heads on, no two equal."""
    sign = np.where(np.arange(heads) % 2 == 0, 1.0, -1.0)
    size = 0.1 * (1.0 - 0.2 * np.arange(heads) / max(1, heads - 1))
    return State((sign * size)[:, None], (sign * 0.5 * size)[:, None])


def _end(context: Context, name: str, run: Run) -> list[Row]:
    """Diagonals averaged over the end of training, and their loss, beside the exact optimum."""
    last = run.time >= (1.0 - _LAST) * run.time[-1]
    omega, mu = run.omega[last].mean(axis=0)[:, 0], run.mu[last].mean(axis=0)[:, 0]
    at = State(omega[:, None], mu[:, None])
    loss, error = sampled_loss(
        context, PROBLEM, at, context.pick(200_000, 2_000_000), f"loss, {name}", seed=11
    )
    if omega.size == 1:
        best = _EXACT["single"]
        return [
            within(f"{name}: omega at the end", omega[0], None, best["omega"], _WEIGHTS),
            within(f"{name}: mu at the end", mu[0], None, best["mu"], _WEIGHTS),
            within(f"{name}: loss of these", loss, error, best["loss"], _LOSS),
        ]
    size, held, valley = _best_pair(omega, mu)
    lowest = _EXACT["pair_optimum"]
    return [
        noted(f"{name}: |omega| at the end", size, None, lowest["omega"]),
        within(f"{name}: sum of mu omega, of the best at that omega", (mu * omega).sum(), None, held, _HELD),
        within(f"{name}: loss of these, of the best at that omega", loss, error, valley, _LOSS),
        noted(f"{name}: loss of these, over the lowest there is - 1", loss / lowest["loss"] - 1.0, error),
    ]


def _best_pair(omega: Floats, mu: Floats) -> tuple[float, float, float]:
    """The mean |omega|, and of the best pair at it the sum of mu omega, and the loss.

    Both are all but linear in omega^2 between the tabulated values.
    """
    size = float(np.average(np.abs(omega), weights=np.abs(mu * omega)))
    pair = {name: np.array(values) for name, values in _EXACT["pair"].items()}
    square = pair["omega"] ** 2
    held = np.interp(size**2, square, 2.0 * pair["mu"] * pair["omega"])
    return size, float(held), float(np.interp(size**2, square, pair["loss"]))


def _path(name: str, paths: dict[str, State]) -> list[Row]:
    """Rows of mu on every path, where omega has come half way down."""
    half = 0.5 * float(np.abs(paths["flow"].omega[:, 0, 0]).max())
    half_way = {}
    for kind, path in paths.items():
        passed = np.abs(path.omega[:, 0, 0]) >= half
        half_way[kind] = abs(float(path.mu[passed.argmax(), 0, 0])) if passed.any() else np.nan
    return [
        within(f"{name}, SGD: mu half way", half_way["SGD"], None, half_way["flow"], _PATH),
        noted(f"{name}, Adam: mu half way", half_way["Adam"], None, half_way["flow"]),
        at_least(
            f"{name}, Adam: distance of that from the flow's",
            abs(half_way["Adam"] / half_way["flow"] - 1.0),
            _APART,
        ),
    ]


def _thin(path: State) -> Floats:
    """Records that a figure needs: all of the beginning, and fewer of the rest."""
    return np.unique(np.geomspace(1, len(path.mu), 300).astype(int)) - 1


def figure(result: Result) -> Figure:
    """Paths in the plane of omega and mu, for every number of heads."""
    looks = {"Adam": "#D55E00", "SGD": "#0072B2", "flow": "black"}
    with styled():
        drawn = Figure(figsize=(6.75, 2.4))
        panels = drawn.subplots(1, len(HEADS))
        for axes, heads in zip(panels, HEADS, strict=True):
            for name, path in result.curves[str(heads)].items():
                omega, mu = np.asarray(path["omega"]), np.asarray(path["mu"])
                ls = "--" if name == "flow" else "-"
                for head in range(heads):
                    label = {"flow": "reduced flow"}.get(name, name) if head == 0 else None
                    axes.plot(omega[:, head], mu[:, head], color=looks[name], ls=ls, lw=0.9, label=label)
            if heads == 1:
                axes.plot(
                    _EXACT["single"]["omega"], _EXACT["single"]["mu"], "k*", ms=6, label="exact optimum"
                )
            else:
                for sign in (1.0, -1.0):
                    pair = _EXACT["pair"]
                    label = "exact valley" if sign > 0 else None
                    axes.plot(
                        sign * np.array(pair["omega"]), sign * np.array(pair["mu"]) * 2.0 / heads,
                        color="0.6", lw=3, alpha=0.5, zorder=0, label=label,
                    )  # fmt: skip
                axes.set_ylim(-5.0, 5.0)
            axes.set(xlabel=r"$\omega$", title=f"{heads} head{'s' if heads > 1 else ''}")
        panels[0].set_ylabel(r"$\mu$")
        handles, labels = panels[1].get_legend_handles_labels()
        star = panels[0].get_legend_handles_labels()
        drawn.legend([*handles, star[0][-1]], [*labels, star[1][-1]], loc="outside upper center", ncols=5)
        return drawn
