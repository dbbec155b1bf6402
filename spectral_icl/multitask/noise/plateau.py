"""What noise costs where weights rest: the loss by entries off the diagonals, and the edge of stability.

About a minimum a step multiplies a mode of curvature h by 1 - step h and adds the noise of a batch, of
variance step^2 S / batch; so the mode's stationary loss is step S / (2 batch (2 - step h)): a quarter of step
S / batch far below the edge of stability, step h = 2, and infinite there. Off the diagonals modes are many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.loss import gradient_at, hessian_at
from spectral_icl.multitask.noise.factors import factors_of
from spectral_icl.multitask.noise.moments import GradientNoise
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


class Cost(NamedTuple):
    """What noise costs at K states.

    Attributes
    ----------
    kq, ov : ndarray, (K,)
        Stationary loss by entries off the diagonals of the KQ circuits, and of the OV circuits. Infinite
        where the step is beyond the edge of stability.
    edge : ndarray, (K,)
        The step over that at which the sharpest mode, on the diagonals or off them, ceases to be stable.
    """

    kq: Floats
    ov: Floats
    edge: Floats

    @property
    def loss(self) -> Floats:
        """Stationary loss by all entries off the diagonals, (K,)."""
        return self.kq + self.ov


def stationary_cost(
    problem: Problem,
    parametrization: Parametrization,
    at: State,
    noise: GradientNoise,
    step: float,
    batch: float,
    kernel: str = DEFAULT,
) -> Cost:
    """The loss that noise adds once it is stationary, and how close the step is to the edge of stability.

    To first order in step / batch, of entries whose mean stays zero. Modes that are flat carry nothing; those
    that are slow get there later than the others. The noise of the diagonals themselves is not in it: the
    paths of `spectral_icl.multitask.flow.stochastic.stochastic_flow` have it.

    Parameters
    ----------
    problem : Problem
    parametrization : Parametrization
    at : State, (K, H, B) and (K, H, I)
    noise : GradientNoise
        At these states.
    step : float
        Learning rate.
    batch : float
        Prompts per step.
    kernel : str
        Law of the context, of the diagonals' curvature.
    """
    each = [
        _cost(problem, parametrization, State(omega, mu), GradientNoise(*part), step, batch, kernel)
        for omega, mu, *part in zip(*at, *noise, strict=True)
    ]
    return Cost(*(np.array(values) for values in zip(*each, strict=True)))


def _cost(
    problem: Problem,
    parametrization: Parametrization,
    at: State,
    noise: GradientNoise,
    step: float,
    batch: float,
    kernel: str,
) -> tuple[float, float, float]:
    """The fields of a `Cost` at one state."""
    scale, sizes = parametrization.scale(problem), problem.block_sizes
    key, query, value, output = factors_of(problem, parametrization, at)
    merged = not parametrization.trains_factors
    sharpest = _sharpest_diagonal(problem, parametrization, at, kernel)
    kq, ov = 0.0, 0.0
    for b in range(problem.blocks):
        for c in range(problem.blocks):
            # of a block with itself: all entries but the mean of the diagonal's
            count = sizes[b] * sizes[c] - (b == c)
            if count:
                stretch = [np.ones(len(key))] if merged else [scale * key[:, b], scale * query[:, c]]
                lost, sharp = _modes(noise.bend[b, c], noise.stray[b, c], stretch, step)
                kq, sharpest = kq + count * lost / batch, max(sharpest, sharp)
    for i in range(problem.tasks):
        for j in range(problem.tasks):
            if i != j:
                stretch = [np.ones(len(key))] if merged else [output[:, i], value[:, j]]
                lost, sharp = _modes(noise.curvature[j], noise.crossed[i, j], stretch, step)
                ov, sharpest = ov + lost / batch, max(sharpest, sharp)
    return kq, ov, 0.5 * step * sharpest


def _modes(bend: Floats, covariance: Floats, stretch: list[Floats], step: float) -> tuple[float, float]:
    """Stationary loss of one entry's heads and factors times the batch, and the largest curvature.

    ``stretch`` are the derivatives (H,) of the entry by each of the factors that it is made of.
    """
    move = np.concatenate([np.diag(each) for each in stretch], axis=1)
    curvature, modes = np.linalg.eigh(move.T @ bend @ move)
    shaken = np.einsum("nm,np,pm->m", modes, move.T @ covariance @ move, modes)
    left = 2.0 - step * curvature
    largest = float(curvature[-1])
    if (left <= 0.0).any():
        return float("inf"), largest
    return float((0.5 * step * shaken / left).sum()), largest


def _sharpest_diagonal(problem: Problem, parametrization: Parametrization, at: State, kernel: str) -> float:
    """Largest curvature of the loss by the trained entries of the diagonals, equal within a block."""
    slope = gradient_at(problem, at, kernel)
    bend = hessian_at(problem, at, kernel)
    length = np.sqrt(np.tile(problem.block_sizes, at.omega.shape[0]).astype(np.float64))
    root = np.concatenate([length, np.ones(at.mu.size)])  # in units in which a block's entries have length 1
    bend = bend / np.outer(root, root)
    if not parametrization.trains_factors:
        return float(np.linalg.eigvalsh(bend)[-1])
    key, query, value, output = factors_of(problem, parametrization, at)
    scale = parametrization.scale(problem)
    first = np.concatenate([scale * query.ravel(), output.ravel()])
    second = np.concatenate([scale * key.ravel(), value.ravel()])
    mixed = np.concatenate([scale * slope.omega.ravel() / length**2, slope.mu.ravel()])
    both = np.concatenate([np.diag(first), np.diag(second)], axis=1)
    whole = both.T @ bend @ both
    size = first.size
    whole[np.arange(size), size + np.arange(size)] += mixed
    whole[size + np.arange(size), np.arange(size)] += mixed
    return float(np.linalg.eigvalsh(whole)[-1])
