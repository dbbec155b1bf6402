"""Gradient descent with a finite step: the edge of stability that the Hessian's largest eigenvalue sets.

At an optimum of sharpness lambda, the largest eigenvalue of the Hessian, a step eta multiplies the sharpest
direction by 1 - eta lambda, which is stable up to the edge eta = 2 / lambda. The Hessian is that of the full
model with all its matrix entries. Along the sharpest direction of the exact law it has the exact curvature,
on prompts that are fresh, and no direction that prompts have shown to be sharp is sharper on fresh ones.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import root
from torch import Tensor

from spectral_icl import Problem
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask import initial
from spectral_icl.multitask.loss import gradient_at
from spectral_icl.multitask.optimal import benchmarks as optimal
from spectral_icl.multitask.parametrization import key_scale_of
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.descent import KERNEL
from validation.multitask.full_model import (
    Attention,
    FactoredAttention,
    JointAttention,
    MergedAttention,
    expected_task_loss,
    task_loss,
)
from validation.multitask.prompts import Law
from validation.multitask.recorded import PLATEAU, PROBLEM, RATE, flow
from validation.result import SIGMAS, Result, at_least, at_most, consistent, noted, within

TITLE = "gradient descent with a finite step: the edge of stability at 2 / lambda"

_STEPS = (0.5, 0.95, 1.05, 1.5)  # over the edge
_POWER, _CONVERGED = 200, 1e-5  # iterations towards the largest eigenvalue at most, and their relative change
_SETS = 3  # of prompts
_KICK, _KICKED = 1e-4, 6  # size of a displacement, and steps over which its growth is measured
_FRESH = 40  # sets of prompts for a curvature and its error
_APART = 1e-2  # relative distance of the exact gradients that a curvature is the difference of: 1e-4 of it
_MULTIPLIER = 0.02  # tolerance on the growth of a finite displacement, which is not linear
_VANISHING = 0.3  # multiplier at half the edge, where the linear one is zero
_SETTLED, _UNSETTLED = 1e-6, 1e-3  # excess over the optimum's loss, relative
_DESCENT, _TAIL = 400, 50  # steps of a descent, and those at its end that are looked at


class Objective:
    """The full model's loss on a fixed set of prompts, averaged over their labels, and its derivatives."""

    def __init__(
        self, context: Context, problem: Problem, model: Attention, prompts: int, seed: int = 0
    ) -> None:
        self.model, self.law = model, Law.of(problem, context.device, torch.float64)
        self.weights = list(model.parameters())
        self.draw(prompts, self.law.generator(seed))

    def draw(self, prompts: int, generator: torch.Generator) -> None:
        """Fix the prompts."""
        self.inputs = self.law.inputs(prompts, generator)

    def loss(self) -> Tensor:
        """Summed over tasks."""
        by_prompt = expected_task_loss(self.model.kq(), self.model.ov(), *self.inputs, self.law)
        return by_prompt.sum(dim=1).mean()

    def slope(self) -> tuple[float, list[Tensor]]:
        """The loss, and its gradient by every weight."""
        loss = self.loss()
        return loss.item(), list(torch.autograd.grad(loss, self.weights))

    def sharpness(self) -> tuple[float, list[Tensor]]:
        """The Hessian's largest eigenvalue, by power iteration until it settles, and its direction."""
        generator = self.law.generator(1)
        vector = [torch.randn(w.shape, generator=generator, **self.law.like) for w in self.weights]
        slopes = torch.autograd.grad(self.loss(), self.weights, create_graph=True)
        value, before = 0.0, np.inf
        for _ in range(_POWER):
            size = torch.sqrt(_dot(vector, vector))
            vector = [part / size for part in vector]
            image = torch.autograd.grad(_dot(slopes, vector), self.weights, retain_graph=True)
            value, before = float(_dot(image, vector)), value
            if abs(value - before) < _CONVERGED * abs(value):
                break
            vector = list(image)
        return value, vector

    def curvature(self, direction: list[Tensor]) -> float:
        """Second derivative of the loss along a direction of length 1."""
        slopes = torch.autograd.grad(self.loss(), self.weights, create_graph=True)
        image = torch.autograd.grad(_dot(slopes, direction), self.weights)
        return float(_dot(image, direction) / _dot(direction, direction))

    def move(self, direction: list[Tensor], amount: float) -> None:
        """Add a multiple of a direction to the weights."""
        with torch.no_grad():
            for weight, part in zip(self.weights, direction, strict=True):
                weight.add_(part, alpha=amount)

    def minimise(self) -> None:
        """Go to the nearest minimum."""
        optimiser = torch.optim.LBFGS(
            self.weights,
            max_iter=500,
            tolerance_grad=1e-11,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss

        optimiser.step(closure)


class SampledObjective(Objective):
    """An `Objective` with sampled labels, for a model that looks at labels."""

    def draw(self, prompts: int, generator: torch.Generator) -> None:
        """Fix the prompts."""
        self.prompts = self.law.draw(prompts, generator)

    def loss(self) -> Tensor:
        """Summed over tasks."""
        return task_loss(self.model, self.prompts, self.law).sum()


def run(context: Context) -> Result:
    """Sharpness beside the reduced Hessian's, multipliers around the edge, and descent from a small start."""
    result = Result("edge", TITLE)
    for size, length, prompts in context.pick(
        ((5, 40, 20_000), (20, 100, 4_000)),
        ((5, 40, 50_000), (20, 100, 40_000), (10, 400, 20_000)),
    ):
        _sharpness(context, result, size, length, prompts)
    _recorded(context, result)
    _descent(context, result)
    return result


def _sharpness(context: Context, result: Result, size: int, length: int, prompts: int) -> None:
    """The largest eigenvalue at the optimum of one head."""
    problem = Problem.multitask(task_sizes=(size,), signal=1.0, noise=0.1, context_length=length)
    at = _optimum(problem)
    law = Law.of(problem, context.device, torch.float64)
    for kind, build in (("merged", MergedAttention.diagonal), ("factored", FactoredAttention.balanced)):
        name = f"{kind} weights, d = {size}, L = {length}"
        _compare(context, result, problem, build(problem, at, law), at, prompts, name)


def _compare(
    context: Context,
    result: Result,
    problem: Problem,
    model: FactoredAttention | MergedAttention,
    at: State,
    prompts: int,
    name: str,
) -> float:
    """Rows of the sharpest direction: of the exact law, and of sampled Hessians; the largest eigenvalue."""
    factors = isinstance(model, FactoredAttention)
    told, direction = _sharpest_exact(problem, at, factors)
    objective = Objective(context, problem, model, max(1, prompts // _FRESH), seed=100)
    generator = objective.law.generator(101)
    value, error = _fresh(objective, _direction(problem, direction, at, objective.law, factors), generator)
    result.add(consistent(f"curvature of the exact law's sharpest direction, {name}", value, error, told))
    found = [Objective(context, problem, model, prompts, seed) for seed in range(_SETS)]
    pairs = [one.sharpness() for one in found]
    sharpest = np.array([value for value, _ in pairs])
    # That of a sampled Hessian is too large, by less the more prompts there are to a weight.
    spread = float(np.std(sharpest, ddof=1) / np.sqrt(_SETS))
    result.add(noted(f"largest eigenvalue of sampled Hessians, {name}", sharpest.mean(), spread, told))
    value, error = _fresh(objective, pairs[0][1], generator)
    label = f"curvature of their sharpest direction on fresh prompts, less {SIGMAS:g} errors, {name}"
    result.add(at_most(label, value - SIGMAS * error, told, error))
    return told


def _fresh(objective: Objective, direction: list[Tensor], generator: torch.Generator) -> tuple[float, float]:
    """Mean curvature along a direction that the prompts do not know, and its standard error."""
    values = []
    for _ in range(_FRESH):
        objective.draw(len(objective.inputs[0]), generator)
        values.append(objective.curvature(direction))
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(_FRESH))


def _sharpest(
    kind: type[Objective], context: Context, problem: Problem, model: Attention, prompts: int
) -> tuple[float, float]:
    """Mean of the largest eigenvalue over sets of prompts, and its standard error."""
    values = [kind(context, problem, model, prompts, seed).sharpness()[0] for seed in range(_SETS)]
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(_SETS))


def _optimum(problem: Problem) -> State:
    """The exact optimum of one head of a problem of one block."""
    near = optimal.single_head(problem).weights
    assert near is not None

    def slope(x: Floats) -> Floats:
        by_omega, by_mu = gradient_at(problem, State(x[:1, None], x[1:, None]), KERNEL)
        return np.array([by_omega[0, 0], by_mu[0, 0]])

    found = root(slope, np.concatenate([near.omega[0], near.mu[0]]), tol=1e-9)
    return State(found.x[:1, None], found.x[1:, None])


def _sharpest_exact(problem: Problem, at: State, factors: bool) -> tuple[float, Floats]:
    """Largest eigenvalue of the exact Hessian, and its direction in the units of `_by_entries`.

    By balanced factors it is that of omega = c k q and mu = o v: sharp are the directions in which the two
    factors of a product grow together.
    """
    slope, bend = _by_entries(problem, at)
    if factors:
        values = np.concatenate([at.omega.ravel(), at.mu.ravel()])
        scale = np.ones(slope.size)
        scale[: at.omega.size] = key_scale_of(problem, None)
        stretch = np.sqrt(2.0 * np.abs(scale * values))
        # the gradient by an entry: of a block of length 1 it is spread over its entries
        each = np.ones(slope.size)
        each[: at.omega.size] = np.tile(np.sqrt(problem.block_sizes), at.omega.shape[0])
        bend = stretch[:, None] * bend * stretch + np.diag(scale * np.sign(values) * slope / each)
    found, vectors = np.linalg.eigh(bend)
    return float(found[-1]), vectors[:, -1]


def _by_entries(problem: Problem, at: State) -> tuple[Floats, Floats]:
    """Exact gradient and Hessian by (omega, mu), omega in units in which a block's entries have length 1.

    A direction in which the entries of a block differ is none of these: that it is not sharper is what fresh
    prompts say. The Hessian is the difference of gradients.
    """
    size = at.omega.size
    length = np.ones(size + at.mu.size)
    length[:size] = np.tile(np.sqrt(problem.block_sizes), at.omega.shape[0])

    def slope(x: Floats) -> Floats:
        state = State(x[:size].reshape(at.omega.shape), x[size:].reshape(at.mu.shape))
        return np.concatenate([part.ravel() for part in gradient_at(problem, state, KERNEL)])

    x = np.concatenate([at.omega.ravel(), at.mu.ravel()])
    steps = np.diag(_APART * np.maximum(np.abs(x), 1e-2 * np.abs(x).max()))
    bend = np.array([(slope(x + d) - slope(x - d)) / (2.0 * d.sum()) for d in steps])
    return slope(x) / length, 0.5 * (bend + bend.T) / np.outer(length, length)


def _direction(problem: Problem, vector: Floats, at: State, law: Law, factors: bool) -> list[Tensor]:
    """A direction in the units of `_by_entries` as one of the model's weights."""
    sizes = problem.block_sizes
    by_omega, by_mu = vector[: at.omega.size].reshape(at.omega.shape), vector[at.omega.size :]
    spread = np.repeat(by_omega / np.sqrt(sizes), sizes, axis=1)
    signs = np.sign(np.repeat(at.omega, sizes, axis=1)), np.sign(at.mu)
    rows = []
    for part, sign in zip((spread, by_mu.reshape(at.mu.shape)), signs, strict=True):
        rows += [part, part * sign] if factors else [part]
    return [torch.diag_embed(torch.as_tensor(row, **law.like)) for row in rows]


def _recorded(context: Context, result: Result) -> None:
    """How far the recorded runs' step was from the edge, on their plateau."""
    at = flow()(PLATEAU)
    model = FactoredAttention.balanced(PROBLEM, at, Law.of(PROBLEM, context.device, torch.float64))
    prompts = context.pick(4_000, 20_000)
    sharp = _compare(context, result, PROBLEM, model, at, prompts, "recorded case on the plateau")
    result.add(at_most("step over the edge, ours", RATE * sharp / 2.0, 1.0))
    value, error = _sharpest(SampledObjective, context, PROBLEM, JointAttention(model), prompts)
    result.add(noted("largest eigenvalue, authors' embedding", value, error))
    result.add(at_most("step over the edge, authors' embedding", RATE * value / 2.0, 1.0, RATE * error / 2.0))
    result.notes.append("with the authors' embedding the sharpest directions are those that look at labels")


def _descent(context: Context, result: Result) -> None:
    """Descent on one set of prompts, d = 5 and L = 40, close to the optimum and from a small start."""
    problem = Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=40)
    law = Law.of(problem, context.device, torch.float64)
    prompts = context.pick(5_000, 40_000)
    objective = Objective(
        context, problem, MergedAttention.diagonal(problem, _optimum(problem), law), prompts
    )
    objective.minimise()
    lowest = objective.loss().item()
    value, direction = objective.sharpness()
    result.add(noted("largest eigenvalue at the optimum of these prompts", value))
    start = initial.paper(problem, heads=1, qk=0.5, ov_high=0.3)
    for over in _STEPS:
        step, name = over * 2.0 / value, f"step {over:g} of the edge"
        grown, expected = _multiplier(objective, direction, step), abs(1.0 - 2.0 * over)
        if expected > 0.0:
            result.add(within(f"{name}: multiplier", grown, None, expected, _MULTIPLIER))
        else:
            result.add(at_most(f"{name}: multiplier", grown, _VANISHING))
        fresh = Objective(context, problem, MergedAttention.diagonal(problem, start, law), prompts)
        losses = np.array(_descend(context, fresh, step, f"descent, {name}")) / lowest - 1.0
        excess = float(np.nan_to_num(losses[-_TAIL:].max(), nan=np.inf))
        label = f"{name}: loss over the optimum's - 1, at worst"
        result.add(at_most(label, excess, _SETTLED) if over < 1.0 else at_least(label, excess, _UNSETTLED))
        result.curves[f"{over:g}"] = losses


def _multiplier(objective: Objective, direction: list[Tensor], step: float) -> float:
    """Growth per step of a small displacement from the optimum, where the objective is before and after."""
    rest = [weight.detach().clone() for weight in objective.weights]
    objective.move(direction, _KICK)
    for _ in range(_KICKED):
        objective.move(objective.slope()[1], -step)
    offset = [weight.detach() - there for weight, there in zip(objective.weights, rest, strict=True)]
    objective.move(offset, -1.0)
    return float(abs(float(_dot(offset, direction)) / _KICK) ** (1.0 / _KICKED))


def _descend(context: Context, objective: Objective, step: float, label: str) -> list[float]:
    """Losses on the way down."""
    losses = []
    for _ in context.track(range(_DESCENT), label):
        loss, slope = objective.slope()
        losses.append(loss)
        objective.move(slope, -step)
    return losses


def _dot(one: list[Tensor] | tuple[Tensor, ...], other: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()


def figure(result: Result) -> Figure:
    """Loss over the optimum's against steps, below the edge and above."""
    with styled():
        drawn = Figure(figsize=(4.5, 2.6))
        axes = drawn.subplots()
        for over in reversed(_STEPS):
            excess = np.maximum(result.curves[f"{over:g}"], 1e-12)
            axes.plot(excess, lw=0.9, label=f"{over:g} of the edge")
        axes.set(xlabel="step", ylabel="loss over the optimum's - 1", yscale="log", xlim=(0, _DESCENT))
        axes.set_ylim(1e-10, 1e1)
        drawn.legend(loc="outside upper center", ncols=4, columnspacing=1.0, handlelength=1.2)
        return drawn
