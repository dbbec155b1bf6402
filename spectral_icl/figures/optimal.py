"""Figures of the benchmarks: against the context length, against the dimension, and over the lower bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from spectral_icl.figures.style import WIDTH, styled
from spectral_icl.io.checks import LARGEST, Floats, ProblemError
from spectral_icl.io.progress import tracked
from spectral_icl.multitask.context import DEFAULT, EXACT, check_kernel
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS, excess, minimise
from spectral_icl.multitask.optimal.optima import optima_of
from spectral_icl.multitask.problem import LARGEST_BLOCK, Problem

_DENSE, _SEARCHED = 41, 9  # points of a closed form, of a searched benchmark
_SPARSE, _FEW = 5, 3  # points of an optimum, in the law of the closed forms and in others
_SLOW, _NEAR = 5, 4.0  # points and range in the exact law, whose every length has tables of its own
_SEARCHABLE = 60  # variables H B up to which the optimum is searched at every point, in a second or so
_SPAN = 30.0  # the figure's range of context lengths and sizes, either side of the problem's own
_LOOK: dict[str, dict[str, Any]] = {
    "single_head": {"color": "C1", "ls": (0, (1, 1))},
    "head_per_task": {"color": "C0", "ls": "-"},
    "lower_bound": {"color": "black", "ls": "-."},
    "small_heads": {"color": "0.55", "ls": (0, (3, 1, 1, 1))},
    "gradient_step": {"color": "C2", "ls": (0, (4, 1.5))},
    "bayes": {"color": "C3", "ls": "-"},
}
_HEADS = ("C4", "C5", "0.5")  # colours of the numerical optima


def optimal_figure(problem: Problem, kernel: str = DEFAULT) -> Figure:
    """The benchmarks of a problem under the law named ``kernel``, without query noise.

    Left: against the context length. Middle: against the size of the blocks, their signal kept. Right: over
    the lower bound against L / (phi d), where the head-per-task limit's ratio rises to e. Lines are closed
    forms (searched where tasks overlap, and in other laws than the asymptotic), markers the numerical optimum
    with H heads. Under the exact law, where every length takes tables of its own, there are five points in a
    smaller range, the optima at the problem itself, and ratios over one gradient step; it takes a minute or
    two the first time.
    """
    law = check_kernel(kernel)
    closed = problem.home is not None and law == DEFAULT
    count = _SLOW if law == EXACT else _DENSE if closed else _SEARCHED
    span = _NEAR if law == EXACT else _SPAN
    lengths = _lengths(problem, count, span)
    with styled():
        figure = Figure(figsize=(WIDTH, 3.1))
        axes = figure.subplots(1, 3)
        losses(lengths, axes[0], kernel)
        axes[0].set_xlabel("context length $L$")
        axes[0].set_ylabel("loss without query noise")
        losses(_sizes(problem, count, span), axes[1], kernel)
        axes[1].set_xlabel("dimension $d$")
        ratios(lengths[1] if law == EXACT else _relative_lengths(problem, count), axes[2], kernel)
        places = (problem.context_length, problem.dimension, _relative_length(problem))
        for panel, own in zip(axes, places, strict=True):
            panel.axvline(own, color="0.8", lw=0.6, zorder=-1)  # where the problem itself is
            panel.xaxis.set_minor_formatter(NullFormatter())  # labels of a short range would overlap
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure


Family = tuple[Floats, list[Problem]]  # a parameter's values, and the problems that have them


def _lengths(problem: Problem, count: int, span: float) -> Family:
    """The problem at other context lengths."""
    own = problem.context_length
    lengths = np.geomspace(max(1.0, own / span), min(own * span, LARGEST), count)
    lengths = np.unique(np.round(lengths))
    return lengths, [replace(problem, context_length=float(length)) for length in lengths]


def _relative_lengths(problem: Problem, count: int) -> list[Problem]:
    """The problem at context lengths on both sides of phi d."""
    own = problem.context_length / _relative_length(problem)
    lengths = np.clip(np.geomspace(0.1, 1e4, count) * own, 1.0, LARGEST)
    return [replace(problem, context_length=float(length)) for length in np.unique(lengths)]


def _sizes(problem: Problem, count: int, span: float) -> Family:
    """The problem with all its blocks larger or smaller by a factor, against the dimension."""
    sizes = np.asarray(problem.block_sizes)
    factors = np.geomspace(1.0 / min(span, sizes.min()), min(span, LARGEST_BLOCK / sizes.max()), count)
    scaled = np.unique(np.maximum(1, np.round(sizes * factors[:, None])).astype(int), axis=0)
    return scaled.sum(axis=1), [replace(problem, block_sizes=tuple(row)) for row in scaled.tolist()]


def losses(family: Family, axes: Axes, kernel: str = DEFAULT) -> None:
    """Every benchmark along a family of problems."""
    x, problems = family
    shown = tracked(_LOOK.items(), len(_LOOK), unit="curves", named=lambda item: BENCHMARKS[item[0]].name)
    for key, look in shown:
        if key == "bayes" and not all(p.context_length.is_integer() for p in problems):
            continue  # a prompt has a whole number of pairs
        whose = "exact" if BENCHMARKS[key].exact else f"{check_kernel(kernel)} law"
        name = BENCHMARKS[key].of(problems[0], kernel).name if key == "lower_bound" else BENCHMARKS[key].name
        label = f"{name} ({whose})"
        axes.plot(x, _excesses(key, problems, kernel), label=label, **look)
    sparse = _SPARSE if check_kernel(kernel) == DEFAULT else _FEW
    chosen = np.unique(np.linspace(0, len(problems) - 1, sparse).astype(int)).tolist()
    if check_kernel(kernel) == EXACT:
        chosen = [len(problems) // 2]  # the problem itself: each search takes seconds
    optima = optima_of(kernel)
    for color, heads in zip(_HEADS, range(2, problems[0].tasks + 2), strict=False):
        if optima.searched(problems[0], heads) > _SEARCHABLE:
            break
        label = f"best of {heads} heads ({check_kernel(kernel)} law)"
        each = tracked(chosen, label=label, unit="points")
        best = [excess(problems[k], minimise(problems[k], heads, kernel).infimum) for k in each]
        axes.plot(x[chosen], best, color=color, ls="none", marker="o", ms=3, mfc="none", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")


def ratios(problems: list[Problem], axes: Axes, kernel: str = DEFAULT) -> None:
    """Loss of one head and of a head per task over the lower bound, against the mean L / (phi d).

    Over one gradient step under the exact law, of which no bound is known that is of attention alone.
    """
    x = [_relative_length(p) for p in problems]
    unit = "gradient_step" if check_kernel(kernel) == EXACT else "lower_bound"
    bound = _excesses(unit, problems, kernel)
    for key in ("single_head", "head_per_task"):
        axes.plot(x, _excesses(key, problems, kernel) / bound, **_LOOK[key])
    if check_kernel(kernel) == DEFAULT:  # the constant of that law: no other has it
        axes.axhline(np.e, color="0.6", lw=0.8)
        axes.annotate("$e$", (x[0], np.e), textcoords="offset points", xytext=(2, 2), color="0.4")
    axes.set_xscale("log")
    axes.set_xlabel(r"$L / (\phi d)$")
    axes.set_ylabel(f"loss / {BENCHMARKS[unit].name} ({check_kernel(kernel)} law)")
    axes.set_ylim(bottom=0.95)


def _excesses(key: str, problems: list[Problem], kernel: str) -> Floats:
    """A benchmark of every problem, its loss without query noise, (n,)."""
    return np.array([_excess(key, p, kernel) for p in problems])


def _excess(key: str, problem: Problem, kernel: str) -> float:
    """NaN where the law has no such benchmark: prompts are too short for it."""
    try:
        return excess(problem, BENCHMARKS[key].of(problem, kernel).loss)
    except ProblemError as error:
        if error.argument != "context_length":
            raise
        return np.nan


def _relative_length(problem: Problem) -> float:
    """The context length over the mean phi_i d_i of the tasks, L / (phi d)."""
    noise = np.asarray(problem.noise)
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)
    owned = problem.signal.by_task(sizes[problem.signal.block])
    return problem.context_length / float((problem.variance / (problem.variance - noise) * owned).mean())
