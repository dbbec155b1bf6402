"""Gradient descent with a finite step: the edge of stability that the Hessian's largest eigenvalue sets.

At an optimum of sharpness lambda, the largest eigenvalue of the Hessian, a step eta multiplies the sharpest
direction by 1 - eta lambda, which is stable up to the edge eta = 2 / lambda. The Hessian is that of the full
model with all its matrix entries. Along the sharpest direction of the exact law it has the exact curvature,
on prompts that are fresh, and no direction that prompts have shown to be sharp is sharper on fresh ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from spectral_icl import Problem
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask import initial
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.full_model import (
    Attention,
    FactoredAttention,
    JointAttention,
    MergedAttention,
    expected_task_loss,
    task_loss,
)
from validation.multitask.prompts import Law
from validation.multitask.recorded import PLATEAU, PROBLEM, RATE, START
from validation.multitask.theory import Theory
from validation.result import Result, at_least, at_most, consistent, not_above, noted
from validation.statistics import Estimate, combined

TITLE = "gradient descent with a finite step: the edge of stability at 2 / lambda"

_STEPS = (0.5, 0.95, 1.05, 1.5)  # over the edge
_POWER, _CONVERGED = 200, 1e-5  # iterations towards the largest eigenvalue at most, and their relative change
_KICK, _KICKED = 1e-4, 4  # size of a displacement, and steps over which its growth is measured
_FRESH = 40  # sets of prompts for a curvature and its error
_APART = 1e-2  # relative distance of the exact gradients that a curvature is the difference of: 1e-4 of it
_GROWTH = 2e-3  # of a displacement over all steps: the eigenvalue is known to 1e-5, the displacement finite
_SETTLED, _UNSETTLED = 1e-6, 1e-3  # excess over the optimum's loss, relative
_DESCENT, _TAIL = 400, 50  # steps of a descent, and those at its end that are looked at


class Objective:
    """The full model's loss on a fixed set of prompts, averaged over their labels, and its derivatives."""

    def __init__(
        self, context: Context, problem: Problem, model: Attention, prompts: int, label: str
    ) -> None:
        self.model, self.law = model, Law.of(problem, context.device, torch.float64)
        self.weights = list(model.parameters())
        self.generator = context.generator(f"{label}, power iteration")
        self.draw(prompts, context.generator(f"{label}, prompts"))

    def draw(self, prompts: int, generator: torch.Generator) -> None:
        """Fix the prompts."""
        self.count = prompts
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
        vector = [torch.randn(w.shape, generator=self.generator, **self.law.like) for w in self.weights]
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

    def curvatures(self, directions: list[list[Tensor]]) -> list[float]:
        """Second derivatives of the loss along directions, each for a step of length 1."""
        slopes = torch.autograd.grad(self.loss(), self.weights, create_graph=True)
        found = []
        for direction in directions:
            image = torch.autograd.grad(_dot(slopes, direction), self.weights, retain_graph=True)
            found.append(float(_dot(image, direction) / _dot(direction, direction)))
        return found

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
        self.count = prompts
        self.prompts = self.law.draw(prompts, generator)

    def loss(self) -> Tensor:
        """Summed over tasks."""
        return task_loss(self.model, self.prompts, self.law).sum()


def run(context: Context) -> Result:
    """Sharpness beside the reduced Hessian's, multipliers around the edge, and descent from a small start."""
    result = Result("edge", TITLE)
    for size, length, prompts, fresh in context.pick(
        ((5, 40, 5_000, 40_000), (20, 100, 2_000, 2_000)),
        ((5, 40, 50_000, 400_000), (20, 100, 40_000, 40_000), (10, 400, 20_000, 20_000)),
    ):
        _sharpness(context, result, size, length, Prompts(prompts, fresh))
    _recorded(context, result)
    _descent(context, result)
    return result


class Prompts(NamedTuple):
    """How many are drawn: for a Hessian that is searched for its sharpest direction, and for others."""

    searched: int
    fresh: int


def _sharpness(context: Context, result: Result, size: int, length: int, prompts: Prompts) -> None:
    """The largest eigenvalue at the optimum of one head."""
    problem = Problem.multitask(task_sizes=(size,), signal=1.0, noise=0.1, context_length=length)
    at = Theory().optimum(problem)
    law = Law.of(problem, context.device, torch.float64)
    for kind, build in (("merged", MergedAttention.diagonal), ("factored", FactoredAttention.balanced)):
        name = f"{kind} weights, d = {size}, L = {length}"
        label = f"edge-{kind}-{size}-{length}"
        _compare(context, result, problem, build(problem, at, law), at, prompts, name, label)


def _compare(
    context: Context,
    result: Result,
    problem: Problem,
    model: FactoredAttention | MergedAttention,
    at: State,
    prompts: Prompts,
    name: str,
    label: str,
) -> float:
    """Rows of the sharpest direction: of the exact law, and of sampled Hessians; the largest eigenvalue."""
    factors = isinstance(model, FactoredAttention)
    _, direction = _sharpest(problem, at, factors, Theory())
    bend = _exact_hessian(problem, at, factors, Theory.of(context))
    told = float(np.linalg.eigvalsh(bend)[-1])
    looking = np.zeros(len(bend))
    looking[np.abs(at.omega).argmax()] = 1.0

    def make() -> dict[str, Floats]:
        objective = Objective(context, problem, model, max(1, prompts.fresh // _FRESH), label)
        generator = context.generator(f"{label}, fresh")
        exact, ours = (
            _direction(problem, vector, at, objective.law, factors) for vector in (direction, looking)
        )
        found = _searched(Objective, context, problem, model, prompts.searched, label)
        columns = _fresh(objective, [exact, ours, found.direction], generator)
        return {"curvature": columns, "largest": found.values}

    kept = context.kept(label, (problem.digest(), at.omega.tolist(), at.mu.tolist(), prompts), make)
    exact, looks, sampled = (Estimate.of(column) for column in kept["curvature"].T)
    result.add(consistent(f"curvature of the exact law's sharpest direction, {name}", exact, told))
    k = int(looking.argmax())
    result.add(consistent(f"curvature by the largest omega, {name}", looks, float(bend[k, k])))
    # That of a sampled Hessian is too large, by less the more prompts there are to a weight.
    result.add(noted(f"largest eigenvalue of sampled Hessians, {name}", kept["largest"].mean(), None, told))
    result.add(not_above(f"curvature of their sharpest direction on fresh prompts, {name}", sampled, told))
    return told


def _fresh(objective: Objective, directions: list[list[Tensor]], generator: torch.Generator) -> Floats:
    """Curvatures along directions (K) by sets of prompts that these do not know, (S, K)."""
    rows = []
    for _ in range(_FRESH):
        objective.draw(objective.count, generator)
        rows.append(objective.curvatures(directions))
    return np.array(rows)


class Sharpest(NamedTuple):
    """Largest eigenvalues, one for every set of prompts, and the direction of the first."""

    values: Floats
    direction: list[Tensor]


def _searched(
    kind: type[Objective], context: Context, problem: Problem, model: Attention, prompts: int, label: str
) -> Sharpest:
    sets = range(context.pick(1, 3))
    pairs = [kind(context, problem, model, prompts, f"{label}, set {k}").sharpness() for k in sets]
    return Sharpest(np.array([value for value, _ in pairs]), pairs[0][1])


def _sharpest(problem: Problem, at: State, factors: bool, theory: Theory) -> tuple[float, Floats]:
    """Largest eigenvalue of the exact Hessian, and its direction in the units of `_by_entries`."""
    found, vectors = np.linalg.eigh(_exact_hessian(problem, at, factors, theory))
    return float(found[-1]), vectors[:, -1]


def _exact_hessian(problem: Problem, at: State, factors: bool, theory: Theory) -> Floats:
    """The exact Hessian in the units of `_by_entries`.

    By balanced factors it is that of omega = c k q and mu = o v: sharp are the directions in which the two
    factors of a product grow together.
    """
    at = theory.state(at)
    slope, bend = _by_entries(problem, at, theory)
    if factors:
        values = np.concatenate([at.omega.ravel(), at.mu.ravel()])
        scale = np.ones(slope.size)
        scale[: at.omega.size] = theory.key_scale(problem)
        stretch = np.sqrt(2.0 * np.abs(scale * values))
        # the gradient by an entry: of a block of length 1 it is spread over its entries
        each = np.ones(slope.size)
        each[: at.omega.size] = np.tile(np.sqrt(problem.block_sizes), at.omega.shape[0])
        bend = stretch[:, None] * bend * stretch + np.diag(scale * np.sign(values) * slope / each)
    return bend


def _by_entries(problem: Problem, at: State, theory: Theory) -> tuple[Floats, Floats]:
    """Exact gradient and Hessian by (omega, mu), omega in units in which a block's entries have length 1.

    A direction in which the entries of a block differ is none of these: that it is not sharper is what fresh
    prompts say. The Hessian is the difference of gradients.
    """
    size = at.omega.size
    length = np.ones(size + at.mu.size)
    length[:size] = np.tile(np.sqrt(problem.block_sizes), at.omega.shape[0])

    def slope(x: Floats) -> Floats:
        state = State(x[:size].reshape(at.omega.shape), x[size:].reshape(at.mu.shape))
        return np.concatenate([part.ravel() for part in theory.gradient_at(problem, state)])

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
    at = Theory().flow(PROBLEM, START, PLATEAU).final
    model = FactoredAttention.balanced(PROBLEM, at, Law.of(PROBLEM, context.device, torch.float64))
    prompts = context.pick(1_500, 20_000)
    name, label = "recorded case on the plateau", "edge-recorded"
    sharp = _compare(context, result, PROBLEM, model, at, Prompts(prompts, prompts), name, label)
    result.add(at_most("step over the edge, ours", RATE * sharp / 2.0, 1.0))

    def make() -> dict[str, Floats]:
        joint = JointAttention(model)
        found = _searched(SampledObjective, context, PROBLEM, joint, prompts, "edge-joint")
        objective = SampledObjective(context, PROBLEM, joint, max(1, prompts // _FRESH), "edge-joint")
        fresh = _fresh(objective, [found.direction], context.generator("edge-joint, fresh"))
        return {"fresh": fresh[:, 0], "largest": found.values}

    kept = context.kept("edge-joint", (at.omega.tolist(), at.mu.tolist(), prompts), make)
    result.add(noted("largest eigenvalue of sampled Hessians, authors' embedding", kept["largest"].mean()))
    fresh = Estimate.of(kept["fresh"])
    over = combined((RATE / 2.0, fresh))
    result.add(not_above("step over the edge, authors' embedding", over, 1.0))
    result.notes.append("with the authors' embedding the sharpest directions are those that look at labels")


def _descent(context: Context, result: Result) -> None:
    """Descent on one set of prompts, d = 5 and L = 40, close to the optimum and from a small start."""
    problem = Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=40)
    prompts = context.pick(1_000, 40_000)
    start = initial.paper(problem, heads=1, qk=0.5, ov_high=0.3)

    def make() -> dict[str, Floats]:
        law = Law.of(problem, context.device, torch.float64)
        at = Theory().optimum(problem)
        objective = Objective(
            context, problem, MergedAttention.diagonal(problem, at, law), prompts, "edge-descent"
        )
        objective.minimise()
        lowest = objective.loss().item()
        value, direction = objective.sharpness()
        made = {"sharpness": np.array(value)}
        for over in _STEPS:
            step = over * 2.0 / value
            made[f"growth {over:g}"] = np.array(_growth(objective, direction, step))
            model = MergedAttention.diagonal(problem, start, law)
            fresh = Objective(context, problem, model, prompts, "edge-descent")
            losses = np.array(_descend(context, fresh, step, f"descent, {over:g} of the edge"))
            made[f"losses {over:g}"] = losses / lowest - 1.0
        return made

    kept = context.kept("edge-descent", (problem.digest(), prompts), make)
    result.add(noted("largest eigenvalue at the optimum of these prompts", float(kept["sharpness"])))
    for over in _STEPS:
        name, expected = f"step {over:g} of the edge", (1.0 - 2.0 * over) ** _KICKED
        away = abs(float(kept[f"growth {over:g}"]) - expected) / max(1.0, expected)
        label = f"{name}: growth in {_KICKED} steps, distance from (1 - step lambda)^{_KICKED}"
        result.add(at_most(label, away, _GROWTH))
        losses = kept[f"losses {over:g}"]
        excess = float(np.nan_to_num(losses[-_TAIL:].max(), nan=np.inf))
        label = f"{name}: loss over the optimum's - 1, at worst"
        result.add(at_most(label, excess, _SETTLED) if over < 1.0 else at_least(label, excess, _UNSETTLED))
        result.curves[f"{over:g}"] = losses


def _growth(objective: Objective, direction: list[Tensor], step: float) -> float:
    """Growth of a displacement from the optimum over some steps, where the objective is before and after.

    Of one and its opposite, so that what is of second order in the displacement falls out.
    """
    rest = [weight.detach().clone() for weight in objective.weights]
    ends = []
    for sign in (1.0, -1.0):
        objective.move(direction, sign * _KICK)
        for _ in range(_KICKED):
            objective.move(objective.slope()[1], -step)
        offset = [weight.detach() - there for weight, there in zip(objective.weights, rest, strict=True)]
        objective.move(offset, -1.0)
        ends.append(float(_dot(offset, direction)))
    return 0.5 * (ends[0] - ends[1]) / _KICK


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
