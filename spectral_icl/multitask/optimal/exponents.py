"""Exponents of an excess in the length, the dimension, the number of tasks and the signal-to-noise ratio.

A task of effective dimension X proportional to d has the excess v = a / (1 + L / (phi X)), and then
d log v / d log L = -(1 - v / a): minus the share of its signal that is learned. Where heads are shared, the
best shares do not enter to first order: the exponents of a sum are the tasks' own, weighted by their excess.
Derived in theory, for disjoint tasks under the asymptotic law.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, array
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.optimal.optima import NAMES, Benchmark
from spectral_icl.multitask.problem import Problem, disjoint_home

_PROPORTIONAL = tuple(NAMES[key] for key in ("head_per_task", "single_head", "lower_bound", "plateau"))


class Exponents(NamedTuple):
    """Local exponents d log(excess) / d log(variable) of the sum over tasks, at fixed signal power.

    Attributes
    ----------
    length : float
        In L: in (-1, 0), -1 for long prompts.
    dimension : float
        In all d_i at once.
    snr : float
        In all SNR_i at once, the noise being varied: in (-1, 0].
    """

    length: float
    dimension: float
    snr: float


def exponents(problem: Problem, benchmark: Benchmark) -> Exponents:
    """The exponents of a benchmark: the head-per-task limit, the best single head, small heads or the bound.

    In the number I of equal tasks the limit and the bound have the exponent 1, and the best single head one
    more than minus its exponent in L, up to 2.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.
    benchmark : Benchmark
        Of the problem, under the asymptotic law: `benchmarks.head_per_task`, `single_head`, `head_budget` (or
        `plateau`) or `lower_bound`. Of the others X is not proportional to d.

    Raises
    ------
    ProblemError
        The tasks overlap, or the benchmark is another, of another law, or of another number of tasks.
    """
    disjoint_home(problem)
    if benchmark.law != DEFAULT:
        raise ProblemError("benchmark.law", benchmark.law, repr(DEFAULT))
    if benchmark.name not in _PROPORTIONAL and not benchmark.name.startswith("infimum of "):
        expected = "head_per_task, single_head, head_budget, plateau or lower_bound"
        raise ProblemError("benchmark", benchmark.name, expected)
    array("benchmark.task_loss", benchmark.task_loss, (problem.tasks,))
    noise = np.asarray(problem.noise)
    return of_losses(problem.power, noise, benchmark.task_loss - noise)


def of_losses(power: Floats, noise: Floats, excess: Floats) -> Exponents:
    """The exponents of task losses (I,) without query noise."""
    learned = excess * (1.0 - excess / power)
    total = float(excess.sum())
    length = float(learned.sum()) / total
    snr = float((learned * noise / (power + noise)).sum()) / total
    return Exponents(-length, length, -snr)
