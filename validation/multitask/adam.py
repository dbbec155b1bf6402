"""Adam against gradient descent and the flow, in the setting of He, Pan, Chen and Yang (2025).

One task, d = 5, L = 40, noise variance 0.1, one to four heads, W and U trained themselves. Where training
ends is judged by its exact loss over that of the best weights there, against the loss that the noise of the
last steps is worth. The path of gradient descent is held against descent on the exact law, up to the
scatter of batches.
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
from spectral_icl.multitask.loss import gradient, hessian, loss
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.descent import KERNEL, Descent, descend, merged, passing
from validation.multitask.full_model import MergedAttention
from validation.multitask.prompts import Law
from validation.multitask.spectrum import decomposable
from validation.multitask.train import Run, Schedule, training_run
from validation.result import Result, Row, at_least, at_most, consistent, noted

TITLE = "Adam against gradient descent and the flow: d = 5, L = 40, one task"

PROBLEM = Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=40)
HEADS = (1, 2, 4)

_EXACT = json.loads((Path(__file__).parents[1] / "data" / "exact_optima.json").read_text("utf-8"))
_BATCH = 256
_ADAM, _SGD = 2e-3, 0.05  # learning rates
_ON_THE_WAY = 1000  # steps of descent after which head 0 has come half way
_PROMPTS = 20_000  # for the variance of the gradient
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
        flow = gradient_flow(
            PROBLEM, *start, parametrization=Merged(), t_end=float(sgd.time[-1]), kernel=KERNEL
        )
        paths = {"Adam": State(adam.omega, adam.mu), "SGD": State(sgd.omega, sgd.mu), "flow": flow(sgd.time)}
        title = f"{heads} head" + "s" * (heads > 1)
        for name, run_ in (("Adam", adam), ("SGD", sgd)):
            result.add(_end(f"{title}, {name}", run_, _worth(law, run_, name)))
        result.add(_path(title, paths, _told(start, law)))
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


def _end(name: str, run: Run, worth: float) -> list[Row]:
    """Diagonals averaged over the end of training, and their exact loss over that of the best there.

    With one head that is the optimum. With more the valley goes on, and the best there is the best pair of
    heads of opposite sign at the same |omega|. ``worth`` is the stationary loss of all entries; that of the
    diagonals' means is less. Were they as noisy as single weights, 2 directions of a head's 26 would have to
    carry 13 times their share: by a chi-square of 2, with probability e^-13.
    """
    at = _last(run)
    rows = [noted(f"{name}: loss that the noise of the weights is worth", worth)]
    if at.omega.size == 1:
        best = _EXACT["single"]
        excess = float(loss(PROBLEM, *at, kernel=KERNEL)) - best["loss"]
        rows += [
            noted(f"{name}: omega at the end", at.omega[0, 0], None, best["omega"]),
            noted(f"{name}: mu at the end", at.mu[0, 0], None, best["mu"]),
            at_most(f"{name}: loss of these over the optimum's", excess, worth),
        ]
        return rows
    lowest = _EXACT["pair_optimum"]
    held = np.abs(at.mu * at.omega).ravel()
    size = float(np.average(np.abs(at.omega).ravel(), weights=held))
    reached = float(loss(PROBLEM, *at, kernel=KERNEL))
    return [
        *rows,
        noted(f"{name}: |omega| at the end", size, None, lowest["omega"]),
        at_most(f"{name}: loss of these over that of the best pair there", reached - _best_pair(size), worth),
        noted(f"{name}: loss of these, over the lowest there is - 1", reached / lowest["loss"] - 1.0),
    ]


def _last(run: Run) -> State:
    """Means of the diagonals over the end of a run."""
    last = run.time >= (1.0 - _LAST) * run.time[-1]
    return State(run.omega[last].mean(axis=0), run.mu[last].mean(axis=0))


def _best_pair(size: float) -> float:
    """Exact loss of heads at omega = size and -size with the best mu: the loss is quadratic in mu."""
    omega, mu = np.array([[size], [-size]]), np.zeros((2, 1))
    slope = gradient(PROBLEM, omega, mu, kernel=KERNEL).mu.ravel()
    bend = hessian(PROBLEM, omega, mu, kernel=KERNEL)[2:, 2:]
    return float(loss(PROBLEM, omega, mu, kernel=KERNEL) - 0.5 * slope @ np.linalg.solve(bend, slope))


def _worth(law: Law, run: Run, name: str) -> float:
    """Loss that stationary noise adds to weights: a quarter of the step times the gradient's variance.

    Adam divides an entry's step by the root of its variance.
    """
    variance = _variances(law, _last(run)) / _BATCH
    return float(0.25 * (_SGD * variance if name == "SGD" else _ADAM * np.sqrt(variance)).sum())


def _variances(law: Law, at: State) -> Floats:
    """Variance over prompts of the gradient by every entry of W and U."""
    prompts = law.draw(_PROMPTS, law.generator(11))
    kq, ov = (m.expand(_PROMPTS, *m.shape).clone().requires_grad_() for m in decomposable(PROBLEM, at, law))
    logits = torch.einsum("nhde,ne->nhd", kq, prompts.query) @ prompts.x.mT
    read = torch.softmax(logits, dim=-1) @ prompts.y.mT
    told = torch.einsum("nhij,nhj->ni", ov, read)
    slopes = torch.autograd.grad((told - prompts.target).square().sum(), (kq, ov))
    rows = torch.cat([slope.flatten(1) for slope in slopes], dim=1).double()
    return rows.var(dim=0).cpu().numpy()


def _told(start: State, law: Law) -> Descent:
    """Gradient descent on the exact law, with its step, until head 0 is well on its way."""
    return descend(PROBLEM, start, merged, _SGD, _ON_THE_WAY, 1, _BATCH, law)


def _path(name: str, paths: dict[str, State], told: Descent) -> list[Row]:
    """Rows of mu on every path, where omega has come half way down."""
    half = 0.5 * float(np.abs(paths["flow"].omega[:, 0, 0]).max())
    half_way = {kind: passing(path.omega[:, 0, 0], path.mu[:, 0, 0], half) for kind, path in paths.items()}
    mu, scatter = told.passing(0, 0, 0, half)
    return [
        consistent(f"{name}, SGD: mu half way", half_way["SGD"], scatter, mu),
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
                    label = {"flow": "exact flow"}.get(name, name) if head == 0 else None
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
