"""Adam against gradient descent and the flow, in the setting of He, Pan, Chen and Yang (2025).

One task, d = 5, L = 40, noise variance 0.1, one to four heads, W and U trained themselves. Where training
ends is judged by its exact loss over that of the best weights there, against the loss that the stationary
noise of the diagonals is worth. The path of gradient descent is held against descent on the exact law, up to
the scatter of batches; that of Adam against a step of one length for all weights, whose signs alone count.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from spectral_icl import Merged, Problem
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.descent import Descent, descend, gradient_covariance, merged, passing
from validation.multitask.full_model import MergedAttention
from validation.multitask.prompts import Law
from validation.multitask.theory import Theory
from validation.multitask.train import Run, Schedule, training_run
from validation.result import Result, Row, consistent, nearer, noted, plausible
from validation.statistics import Estimate

TITLE = "Adam against gradient descent and the flow: d = 5, L = 40, one task"

PROBLEM = Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=40)
HEADS = (1, 2, 4)

_EXACT = json.loads((Path(__file__).parents[1] / "data" / "exact_optima.json").read_text("utf-8"))
_BATCH = 256
_ADAM, _SGD = 2e-3, 0.05  # learning rates
_ON_THE_WAY = 1000  # steps of descent after which head 0 has come half way
_LAST = 0.1  # share of the run over which weights are averaged at its end


def run(context: Context) -> Result:
    """Where Adam ends, and on which path."""
    result = Result("adam", TITLE)
    theory = Theory.of(context)
    for heads in context.pick(HEADS[:2], HEADS):
        start = _start(heads)
        law = Law.of(PROBLEM, context.device)
        model = MergedAttention.diagonal(PROBLEM, start, law)
        schedule = Schedule(_ADAM, context.pick(3000, 20_000), _BATCH, 10)
        adam = training_run(
            context, f"adam-{heads}", model, PROBLEM, schedule, lambda w: torch.optim.Adam(w, lr=_ADAM)
        )
        model = MergedAttention.diagonal(PROBLEM, start, law)
        schedule = Schedule(_SGD, context.pick(2000, 20_000), _BATCH, 10)
        sgd = training_run(context, f"adam-sgd-{heads}", model, PROBLEM, schedule)
        flow = theory.flow(PROBLEM, start, float(sgd.time[-1]), Merged())
        paths = {"Adam": State(adam.omega, adam.mu), "SGD": State(sgd.omega, sgd.mu), "flow": flow(sgd.time)}
        title = f"{heads} head" + "s" * (heads > 1)
        for name, run_ in (("Adam", adam), ("SGD", sgd)):
            result.add(_end(f"{title}, {name}", theory, _last(run_), _worth(context, law, run_, name)))
        generator = context.generator(f"adam-{heads}, covariance of the gradient")
        told = descend(PROBLEM, start, merged, _SGD, _ON_THE_WAY, 1, _BATCH, law, generator, theory)
        result.add(_path(title, start, paths, told))
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


class Worth(NamedTuple):
    """Loss that stationary noise of the diagonals adds to theirs: its mean and variance over time."""

    mean: float
    variance: float

    def beyond(self, excess: float) -> float:
        """Probability of more than an excess, by the gamma distribution of that mean and variance."""
        shape = self.mean**2 / self.variance
        return float(stats.gamma.sf(excess, shape, scale=self.variance / self.mean))


def _end(name: str, theory: Theory, at: State, worth: Worth) -> list[Row]:
    """Diagonals averaged over the end of training, and their exact loss over that of the best there.

    With one head that is the optimum. With more the valley goes on, and the best there is the best pair of
    heads of opposite sign at the same |omega|. Weights averaged over many steps are less noisy than single
    ones, whose excess is ``worth``: so the probability is too large, if anything.
    """
    rows = [noted(f"{name}: loss that the noise of the diagonals is worth", worth.mean)]
    reached = theory.loss(PROBLEM, at)
    if at.omega.size == 1:
        best = theory.optimum(PROBLEM)
        excess = reached - theory.loss(PROBLEM, theory.state(best))
        return [
            *rows,
            noted(f"{name}: omega at the end", at.omega[0, 0], None, best.omega[0, 0]),
            noted(f"{name}: mu at the end", at.mu[0, 0], None, best.mu[0, 0]),
            plausible(
                f"{name}: loss of these over the optimum's", excess, worth.beyond(excess), 0.0, bound=True
            ),
        ]
    lowest = _EXACT["pair_optimum"]
    held = np.abs(at.mu * at.omega).ravel()
    size = float(np.average(np.abs(at.omega).ravel(), weights=held))
    excess = reached - _best_pair(theory, size)
    return [
        *rows,
        noted(f"{name}: |omega| at the end", size, None, lowest["omega"]),
        plausible(
            f"{name}: loss of these over that of the best pair there",
            excess,
            worth.beyond(excess),
            0.0,
            bound=True,
        ),
        noted(f"{name}: loss of these, over the lowest there is - 1", reached / lowest["loss"] - 1.0),
    ]


def _last(run: Run) -> State:
    """Means of the diagonals over the end of a run."""
    last = run.time >= (1.0 - _LAST) * run.time[-1]
    return State(run.omega[last].mean(axis=0), run.mu[last].mean(axis=0))


def _best_pair(theory: Theory, size: float) -> float:
    """Exact loss of heads at omega = size and -size with the best mu: the loss is quadratic in mu."""
    at = State(np.array([[size], [-size]]), np.zeros((2, 1)))
    slope = theory.gradient(PROBLEM, at).mu.ravel()
    bend = theory.hessian(PROBLEM, at)[2:, 2:]
    return theory.loss(PROBLEM, at) - 0.5 * float(slope @ np.linalg.solve(bend, slope))


def _worth(context: Context, law: Law, run: Run, name: str) -> Worth:
    """The excess of stationary noise: of a direction, a quarter of the step times its gradient's variance.

    It is that times a chi-square of one. Adam divides an entry's step by the root of its variance.
    """
    at = _last(run)
    generator = context.generator(f"adam, {name}, variance of the gradient")
    covariance = gradient_covariance(PROBLEM, at, law, generator) / _BATCH
    # of a block's entries moving together by a length of 1 in all
    length = np.ones(len(covariance))
    length[: at.omega.size] = np.sqrt(np.repeat(PROBLEM.block_sizes, at.omega.shape[0]))
    covariance *= np.outer(length, length)
    steps = np.full(len(covariance), _SGD) if name == "SGD" else _ADAM / np.sqrt(np.diag(covariance))
    parts = 0.25 * np.linalg.eigvalsh(np.sqrt(np.outer(steps, steps)) * covariance)
    return Worth(float(parts.sum()), float(2.0 * (parts**2).sum()))


def _path(name: str, start: State, paths: dict[str, State], told: Descent) -> list[Row]:
    """Rows of mu on every path, where omega has come half way down.

    Adam's steps have all about the same length at first, so that its mu should have grown by as much as its
    omega; the error is that of a walk of so many whole steps.
    """
    half = 0.5 * float(np.abs(paths["flow"].omega[:, 0, 0]).max())
    half_way = {kind: passing(path.omega[:, 0, 0], path.mu[:, 0, 0], half) for kind, path in paths.items()}
    mu, scatter = told.passing(0, 0, 0, half)
    grown = half - abs(float(start.omega[0, 0]))
    signs = abs(float(start.mu[0, 0])) + grown
    step = signs - half_way["flow"]
    share = Estimate((half_way["Adam"] - half_way["flow"]) / step, np.sqrt(_ADAM * grown) / abs(step))
    return [
        consistent(f"{name}, SGD: mu half way", Estimate(half_way["SGD"], scatter), mu),
        noted(f"{name}, Adam: mu half way", half_way["Adam"], None, signs),
        noted(f"{name}, flow: mu half way", half_way["flow"]),
        nearer(f"{name}, Adam: mu half way, steps of one length from the flow", share),
    ]


def _thin(path: State) -> Floats:
    """Records that a figure needs: all of the beginning, and fewer of the rest."""
    return np.unique(np.geomspace(1, len(path.mu), 300).astype(int)) - 1


def figure(result: Result) -> Figure:
    """Paths in the plane of omega and mu, for every number of heads."""
    looks = {"Adam": "#D55E00", "SGD": "#0072B2", "flow": "black"}
    with styled():
        drawn = Figure(figsize=(6.75, 2.4))
        shown = [heads for heads in HEADS if str(heads) in result.curves]
        panels = drawn.subplots(1, len(shown))
        for axes, heads in zip(panels, shown, strict=True):
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
