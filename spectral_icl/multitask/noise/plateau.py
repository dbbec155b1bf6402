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
    scale, sizes = parametrization.scale(problem), np.asarray(problem.block_sizes, dtype=np.float64)
    key, query, value, output = factors_of(problem, parametrization, at)
    merged = not parametrization.trains_factors
    # of a block with itself: all entries but the mean of the diagonal's
    entries = np.outer(sizes, sizes) - np.eye(problem.blocks)
    moves = _moves(key, query, scale, merged)
    lost, sharp = _modes(noise.bend, noise.stray, moves, step)
    kq = float((entries * np.where(entries > 0.0, lost, 0.0)).sum()) / batch
    sharpest = max(
        _sharpest_diagonal(problem, parametrization, at, kernel),
        float(np.where(entries > 0.0, sharp, 0.0).max()),
    )
    if problem.tasks == 1:
        return kq, 0.0, 0.5 * step * sharpest
    apart = ~np.eye(problem.tasks, dtype=bool)
    bend = np.broadcast_to(noise.curvature, noise.crossed.shape)  # by the label that is read, the second
    lost, sharp = _modes(bend[apart], noise.crossed[apart], _moves(output, value, 1.0, merged)[apart], step)
    return kq, float(lost.sum()) / batch, 0.5 * step * max(sharpest, float(sharp.max()))


def _moves(first: Floats, second: Floats, scale: float, merged: bool) -> Floats:
    """Derivatives of the entries (m, n) of a circuit by its factors, (M, N, H, H or 2 H).

    Of a product of factors with the diagonals ``first`` (H, M) and ``second`` (H, N), to first order off the
    diagonal: either factor's entry times the diagonal of the other.
    """
    unit = np.eye(len(first))
    shape = (first.shape[1], second.shape[1], *unit.shape)
    if merged:
        return np.broadcast_to(unit, shape)
    by_second = scale * first.T[:, None, None, :] * unit
    by_first = scale * second.T[None, :, None, :] * unit
    return np.concatenate([np.broadcast_to(by_second, shape), np.broadcast_to(by_first, shape)], axis=-1)


def _modes(bend: Floats, covariance: Floats, moves: Floats, step: float) -> tuple[Floats, Floats]:
    """Stationary losses of entries times the batch, and their largest curvatures, (...,).

    Parameters
    ----------
    bend, covariance : ndarray, (..., H, H)
        Second derivative of the loss by the entry of two heads, and covariance of its gradient.
    moves : ndarray, (..., H, F)
        Derivatives of each head's entry by the factors that it is made of.
    step : float
    """
    across = np.swapaxes(moves, -1, -2)
    curvature, modes = np.linalg.eigh(across @ bend @ moves)
    shaken = np.einsum("...nm,...np,...pm->...m", modes, across @ covariance @ moves, modes)
    left = 2.0 - step * curvature
    stable = (left > 0.0).all(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = (0.5 * step * shaken / left).sum(axis=-1)
    return np.where(stable, lost, np.inf), curvature[..., -1]


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
