"""Figures of a sparse problem: every panel is a function of what it shows and an axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from spectral_icl.figures.style import WIDTH, styled
from spectral_icl.sparse.comparison import Comparison
from spectral_icl.sparse.landscape import AXES, Family, Phase, family, phase
from spectral_icl.sparse.methods import METHODS
from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.sweeps.sparse.labels import LABELS

_LINES: dict[str, Any] = {"p2o": "-", "gd": (0, (4, 1.5)), "ridge": "-.", "ols": (0, (1, 1)), "oracle": "--"}
LOOK: dict[str, dict[str, Any]] = {
    name: {"color": METHODS[name].color, "ls": line, "label": METHODS[name].short}
    for name, line in _LINES.items()
}
PANELS = len(AXES) + 1  # that need theory of their own
_AROUND = 20.0  # of the times, either side of the best, that are shown
_EVERY = 4  # simulated times with an error bar
_DECADES = 2.5  # that a panel of risks shows below the largest of interest


def comparison_figure(found: Comparison, advance: Callable[[int], object] | None = None) -> Figure:
    """The risks of a problem on one page; the theory is lines, simulations are points with error bars.

    First panel: against flow time. For isotropic problems with noise also the best risks against n, d, s and
    noise, and the phase where preprocess-then-optimize beats ridge.

    Parameters
    ----------
    found : Comparison
    advance : callable, optional
        Told that a panel's worth of theory is done.
    """
    problem, seed = found.study.problem, found.study.seed
    with styled():
        if not problem.isotropic or problem.noise == 0.0:
            figure = Figure(figsize=(0.5 * WIDTH, 2.8))
            panel = figure.subplots()
            along_time(found, panel)
            figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3)
            return figure
        figure = Figure(figsize=(WIDTH, 4.6))
        axes = figure.subplots(2, 3).ravel()
        along_time(found, axes[0])
        for name, panel in zip(AXES, axes[1:5], strict=True):
            along(family(problem, name, seed), panel)
            own = getattr(problem, name)
            panel.axvline(own, color="0.85", lw=0.8, zorder=-1)  # where the problem itself is
            _points(found, own, panel)
            if advance is not None:
                advance(1)
        plane(phase(problem, seed), axes[5])
        axes[5].plot(problem.n, problem.s, "o", mfc="none", mec="black", ms=4)
        if advance is not None:
            advance(1)
        handles, labels = axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        return figure


def along_time(found: Comparison, axes: Axes) -> None:
    """Risk against time, of P2O in units of s/v, of gradient flow in its own; levels of the others."""
    p, tuning, simulation = found.study.problem, found.tuning, found.simulation
    times = {"p2o": tuning.p2o * p.signal / p.s, "gd": tuning.gd}
    axes.plot(times["p2o"], found.curve.mean, **LOOK["p2o"])
    if p.isotropic:
        axes.plot(
            tuning.gd, risk.gd_risk(p.d, p.n, p.v, p.noise, times=tuning.gd), **LOOK["gd"]
        )  # NaN is a gap
    for name, t in times.items() if simulation is not None else ():
        assert simulation is not None
        bars = simulation.mean(name)[::_EVERY], simulation.se(name)[::_EVERY]
        axes.errorbar(t[::_EVERY], *bars, fmt=".", color=LOOK[name]["color"], ms=3.5, lw=0.8)
    for name in ("ridge", "ols", "oracle"):
        method = found.methods[name]
        level = method.theory if np.isfinite(method.theory) else method.simulated
        if np.isfinite(level) and level > 0.0:
            axes.axhline(level, **{**LOOK[name], "lw": 0.8})
    best = float(times["p2o"][max(1, int(np.argmin(found.curve.mean)))])  # the first time is 0
    axes.set_xlim(best / _AROUND, best * _AROUND)
    axes.set(xscale="log", yscale="log", xlabel=r"flow time ($T v/s$ for P2O)", ylabel="excess risk")
    shown = np.append(found.curve.mean, found.methods["oracle"].theory)
    axes.set_ylim(0.7 * float(shown[shown > 0.0].min()), 1.6 * p.signal)


def along(found: Family, axes: Axes) -> None:
    """Best risks of all methods along one parameter."""
    for name, values in found.risks.items():
        good = np.isfinite(values)
        axes.plot(found.x[good], values[good], **LOOK[name])
    shown = np.concatenate([found.risks["p2o"], found.risks["ridge"]])
    top = float(shown[np.isfinite(shown)].max())
    low = min(float(found.risks["p2o"].min()), float(found.risks["oracle"].min()))
    axes.set(
        xscale="log", yscale="log", xlabel=LABELS[f"sparse.{found.axis}"].text, ylabel="best excess risk"
    )
    axes.set_ylim(max(0.6 * low, top * 10.0**-_DECADES), 2.0 * top)


def plane(found: Phase, axes: Axes) -> None:
    """The ratio to ridge over n and s, with the line where it is 1."""
    largest = float(np.max(found.ratio, initial=1.05, where=np.isfinite(found.ratio)))
    norm = TwoSlopeNorm(1.0, 0.0, largest)
    mesh = axes.pcolormesh(found.n, found.s, found.ratio, norm=norm, cmap="RdBu_r", shading="nearest")
    mesh.set_rasterized(True)
    if (found.ratio < 1.0).any() and (found.ratio > 1.0).any() and min(found.ratio.shape) > 1:
        axes.contour(found.n, found.s, found.ratio, levels=[1.0], colors="black", linewidths=0.8)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, ticks=[0.0, 0.25, 0.5, 0.75, 1.0, round(largest, 1)])
    bar.set_label("P2O / ridge")
    axes.set(xscale="log", yscale="log", xlabel=LABELS["sparse.n"].text, ylabel=LABELS["sparse.s"].text)
    axes.yaxis.set_major_locator(LogLocator(2.0, numticks=12))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(ticks := 2.0 ** np.arange(0, np.log2(found.s[-1]) + 1e-9, 2), [f"{x:g}" for x in ticks])


def _points(found: Comparison, x: float, axes: Axes) -> None:
    """The simulated risks of the problem itself."""
    for name, look in LOOK.items():
        method = found.methods[name]
        if np.isfinite(method.simulated):
            axes.errorbar(x, method.simulated, method.se, fmt=".", color=look["color"], ms=3.5, lw=0.8)
