"""A minimum of the exact loss to the digits of its quadrature, from weights that are close to one."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.exact.evaluate import Evaluation, enough, evaluate
from spectral_icl.multitask.exact.queries import rule
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

_FLAT = 1e-10  # eigenvalues of the equilibrated Hessian, over the largest, along which nothing is known
_HALVINGS = 4
_SETTLED = 1e-8  # relative size of a last step: Newton's error is its square
_PAIR, _LARGE = 2e-3, 8e-3  # seconds of a pair of heads at a node, and more by its logits' variance


def work(problem: Problem, omega: Floats) -> float:
    """About how many seconds a quadrature with second derivatives at heads omega (H, B) takes."""
    found = rule(problem.block_sizes, enough(problem, omega))
    sizes = (np.asarray(problem.covariance) * omega) ** 2 @ found.rho.T  # (H, Q) logit variances
    ordered = np.sort(sizes, axis=0)
    pairs = np.arange(1, len(omega) + 1)  # whose larger logits are those of each head, in this order
    return float(_PAIR * pairs.sum() * ordered.shape[1] + _LARGE * (pairs @ ordered).sum())


def polished(problem: Problem, at: State, steps: int, most: float) -> State:
    """Weights after Newton's steps downhill, each a quadrature of at most so much work."""
    found = evaluate(problem, at, 2)
    for _ in range(steps):
        step = _newton(found)
        moved = None if step is None else _downhill(problem, at, step, found, most)
        if step is None or moved is None:
            break
        small = _relative(at, step) < _SETTLED
        at, found = moved
        if small:
            break
    return at


def _newton(found: Evaluation) -> Floats | None:
    """Newton's step, downhill even where the loss is not convex; None where nothing is gained by one."""
    assert found.gradient is not None
    assert found.hessian is not None
    slope = np.concatenate([part.ravel() for part in found.gradient])
    size = np.abs(np.diag(found.hessian))
    unit = 1.0 / np.sqrt(np.maximum(size, 1e-14 * size.max()))
    values, vectors = np.linalg.eigh(found.hessian * unit[:, None] * unit)
    size = np.abs(values)
    known = size > _FLAT * size.max()
    along = vectors.T @ (unit * slope)
    moves = np.divide(-along, size, out=np.zeros_like(along), where=known)
    gain = -0.5 * float(along @ moves)
    return unit * (vectors @ moves) if gain > 1e-15 * abs(found.loss) else None


def _downhill(
    problem: Problem, at: State, step: Floats, found: Evaluation, most: float
) -> tuple[State, Evaluation] | None:
    """The first point along a step, halved until the loss falls, and the loss there."""
    split = at.omega.size
    for halving in range(_HALVINGS):
        part = 0.5**halving * step
        moved = State(
            at.omega + part[:split].reshape(at.omega.shape), at.mu + part[split:].reshape(at.mu.shape)
        )
        if work(problem, moved.omega) > most:
            continue  # logits so large that a quadrature takes long
        there = evaluate(problem, moved, 2)
        if there.loss <= found.loss + 1e-14 * abs(found.loss):
            return moved, there
    return None


def _relative(at: State, step: Floats) -> float:
    """A step over the weights, for omega and mu each by the largest."""
    split = at.omega.size
    of_omega = np.abs(step[:split]).max() / max(float(np.abs(at.omega).max()), 1e-300)
    of_mu = np.abs(step[split:]).max() / max(float(np.abs(at.mu).max()), 1e-300)
    return float(max(of_omega, of_mu))
