"""Stochastic gradient descent of decomposable weights under the exact law: its path and its scatter.

Nothing here is trained. A step of the full model's descent, taken by the exact gradient, gives the path of a
finite step. The gradient of a batch has a covariance besides, sampled here from single prompts; to first
order in it the path scatters by

    C' = J C J' + D S D' / batch,

J being the derivative of a step by where it starts and D that by its gradient. So a trained run has a
standard error that no other run is needed for. Left out is what is of second order, the entries off the
diagonals among it: its part in the mean falls as 1 / batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch

from spectral_icl import Problem
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.state import State
from validation.multitask.prompts import Law
from validation.multitask.theory import EXACT, Theory

_PROMPTS = 2000  # for a covariance of the gradient: 5 % of each entry
_DRAWS = 40  # times on the path that it is sampled at
_APART = 1e-4  # relative distance of the states that a derivative is the difference of

RIGHT = Theory()


class Step(Protocol):
    """A step of descent, from weights (n,) and the gradient by their entries (n,)."""

    def __call__(self, x: Floats, slope: Floats) -> Floats:
        """The weights after the step."""


class Descent(NamedTuple):
    """A path of gradient descent.

    Attributes
    ----------
    time : ndarray, (R,)
        Steps times the learning rate.
    state : State, (R, H, B) and (R, H, I)
    scatter : ndarray, (R, n, n)
        Covariance over runs of (omega, mu), raveled one after the other.
    """

    time: Floats
    state: State
    scatter: Floats

    def nearest(self, moment: float) -> int:
        """The record nearest to a time."""
        return int(np.abs(self.time - moment).argmin())

    def at(self, record: int) -> State:
        """The state of a record."""
        return State(self.state.omega[record], self.state.mu[record])

    def deviation(self, record: int) -> State:
        """Standard deviations over runs of omega and mu."""
        return _state(np.sqrt(np.diagonal(self.scatter[record])), self.at(record))

    def lag(self, record: int, function: Callable[[State], float]) -> float:
        """Standard deviation over runs of when a function of the state has its value at a record."""
        like, flat = self.at(record), self._flat(record)
        slope = _derivative(lambda x: np.array([function(_state(x, like))]), flat)[0]
        before, after = (function(self.at(r)) for r in (record - 1, record + 1))
        speed = (after - before) / (self.time[record + 1] - self.time[record - 1])
        return float(np.sqrt(slope @ self.scatter[record] @ slope) / abs(speed))

    def delay(self, problem: Problem, task: int) -> float:
        """Standard deviation over runs of the time at which a task emerges: its loss falls to the middle."""
        return self.lag(self._emergence(problem, task), lambda at: _loss(problem, at, task))

    def _emergence(self, problem: Problem, task: int) -> int:
        losses = losses_at(problem, self.state, EXACT)[:, task]
        record = int((losses < 0.5 * (losses.max() + losses.min())).argmax())
        return min(max(record, 1), len(losses) - 2)  # there is one on either side

    def passing(self, head: int, block: int, task: int, level: float) -> tuple[float, float]:
        """A head's |mu| for a task when its |omega| first is a level, and its deviation over runs."""
        omega, mu = np.abs(self.state.omega[:, head, block]), np.abs(self.state.mu[:, head, task])
        record = int((omega >= level).argmax())
        if record == 0:
            return np.nan, np.nan
        steepness = (mu[record] - mu[record - 1]) / (omega[record] - omega[record - 1])
        heads, blocks = self.state.omega.shape[1:]
        direction = np.zeros(self.scatter.shape[1])
        direction[head * blocks + block] = -steepness * np.sign(self.state.omega[record, head, block])
        at_mu = heads * blocks + head * self.state.mu.shape[2] + task
        direction[at_mu] = np.sign(self.state.mu[record, head, task])
        spread = float(np.sqrt(direction @ self.scatter[record] @ direction))
        return float(mu[record] + steepness * (level - omega[record])), spread

    def _flat(self, record: int) -> Floats:
        return _flat(self.at(record))


def passing(omega: Floats, mu: Floats, level: float) -> float:
    """|mu| (R,) when |omega| (R,) first is a level, between records; NaN if it never is."""
    omega, mu = np.abs(omega), np.abs(mu)
    record = int((omega >= level).argmax())
    if record == 0:
        return np.nan
    share = (level - omega[record - 1]) / (omega[record] - omega[record - 1])
    return float(mu[record - 1] + share * (mu[record] - mu[record - 1]))


def balanced(problem: Problem, rate: float, theory: Theory = RIGHT) -> Step:
    """A step of diagonal factors with k^2 = q^2 and v^2 = o^2, told by omega = c k q and mu = o v."""
    return partial(_factored_step, problem=problem, rate=rate, key_scale=theory.key_scale(problem))


def merged(problem: Problem, rate: float, theory: Theory = RIGHT) -> Step:
    """A step of W and U themselves."""
    del problem, theory
    return partial(_merged_step, rate=rate)


def descend(
    problem: Problem,
    start: State,
    make: Callable[[Problem, float, Theory], Step],
    rate: float,
    steps: int,
    every: int,
    batch: int,
    law: Law,
    generator: torch.Generator,
    theory: Theory = RIGHT,
) -> Descent:
    """The path of ``steps`` steps, recorded every so many, with the scatter of batches.

    Derivatives of a step are taken at the records, and the gradient's covariance at `_DRAWS` of them, from
    prompts that ``generator`` draws: records must be so close that between two the path hardly moves.
    """
    step, start = make(problem, rate, theory), theory.state(start)
    x, scatter = _flat(start), np.zeros((start.omega.size + start.mu.size,) * 2)
    records = steps // every
    drawn = max(1, records // _DRAWS)
    path, scatters = [x], [scatter]
    for record in range(records):
        slope = slope_at(problem, _state(x, start), theory)
        by_slope = _derivative(partial(step, x), slope)
        bend = _by_entry(theory.hessian_at(problem, _state(x, start)), problem, start)
        jacobian = _derivative(partial(step, slope=slope), x) + by_slope @ bend
        if record % drawn == 0:
            covariance = gradient_covariance(problem, _state(x, start), law, generator) / batch
        noise = by_slope @ covariance @ by_slope.T
        for _ in range(every):
            x = step(x, slope_at(problem, _state(x, start), theory))
            scatter = jacobian @ scatter @ jacobian.T + noise
        path.append(x)
        scatters.append(scatter)
    states = [_state(x, start) for x in path]
    omega, mu = (np.array(values) for values in zip(*states, strict=True))
    time = rate * every * np.arange(records + 1, dtype=np.float64)
    return Descent(time, State(omega, mu), np.array(scatters))


def slope_at(problem: Problem, at: State, theory: Theory = RIGHT) -> Floats:
    """Exact gradient by an entry of the diagonals of W and of U, (n,)."""
    slope = theory.gradient_at(problem, at)
    return _flat(State(slope.omega / np.asarray(problem.block_sizes), slope.mu))


def _by_entry(bend: Floats, problem: Problem, like: State) -> Floats:
    """Derivative of `slope_at` by (omega, mu), of the Hessian by (omega, mu)."""
    sizes = np.ones(len(bend))
    sizes[: like.omega.size] = np.tile(problem.block_sizes, like.omega.shape[0])
    return bend / sizes[:, None]


def gradient_covariance(problem: Problem, at: State, law: Law, generator: torch.Generator) -> Floats:
    """Covariance (n, n) over prompts of the gradient, entries of a block being averaged."""
    count = min(_PROMPTS, law.chunk)
    prompts = law.draw(count, generator)
    sizes = torch.as_tensor(problem.block_sizes, device=law.root.device)
    omega, mu = (
        torch.as_tensor(values, **law.like).expand(count, -1, -1).clone().requires_grad_() for values in at
    )
    query = torch.repeat_interleave(omega, sizes, dim=2) * prompts.query[:, None, :]
    read = torch.softmax(query @ prompts.x.mT, dim=-1) @ prompts.y.mT  # (N, H, I)
    error = ((mu * read).sum(dim=1) - prompts.target).square().sum()
    by_omega, by_mu = torch.autograd.grad(error, (omega, mu))
    rows = torch.cat([(by_omega / sizes).flatten(1), by_mu.flatten(1)], dim=1).double().cpu().numpy()
    return np.atleast_2d(np.cov(rows, rowvar=False))


def _merged_step(x: Floats, slope: Floats, *, rate: float) -> Floats:
    return x - rate * slope


def _factored_step(x: Floats, slope: Floats, *, problem: Problem, rate: float, key_scale: float) -> Floats:
    heads = x.size // (problem.blocks + problem.tasks)
    scale = np.ones(x.size)
    scale[: heads * problem.blocks] = key_scale
    return x * (1.0 - rate * scale * np.sign(x) * slope) ** 2


def _derivative(function: Callable[[Floats], Floats], x: Floats) -> Floats:
    """Derivative (m, n) of a vector by x (n,), by central differences."""
    # relative to each number: the mu of a losing head falls by decades
    apart = np.diag(_APART * np.where(x == 0.0, np.abs(x).max(), np.abs(x)))
    columns = [(function(x + d) - function(x - d)) / (2.0 * d.sum()) for d in apart]
    return np.array(columns).T


def _loss(problem: Problem, at: State, task: int) -> float:
    return float(losses_at(problem, at, EXACT)[task])


def _flat(at: State) -> Floats:
    return np.concatenate([at.omega.ravel(), at.mu.ravel()])


def _state(x: Floats, like: State) -> State:
    size = like.omega.size
    return State(x[:size].reshape(like.omega.shape), x[size:].reshape(like.mu.shape))
