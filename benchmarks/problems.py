"""Random problems and starts: those that meet the hypotheses of the claims, and those that break one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

import spectral_icl as si
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.sparse.problem import SparseProblem

Rng = np.random.Generator


class Case(NamedTuple):
    """A problem, a start, a parametrization and a law of the context."""

    problem: si.Problem
    start: si.State
    parametrization: Parametrization
    kernel: str = DEFAULT


def disjoint(rng: Rng, tasks: int) -> si.Problem:
    """A random problem of unequal, anisotropic, disjoint tasks."""
    return si.Problem.multitask(
        task_sizes=rng.integers(2, 40, tasks).tolist(),
        signal=rng.lognormal(0.0, 1.0, tasks).tolist(),
        noise=rng.lognormal(-1.5, 1.0, tasks).tolist(),
        context_length=float(round(np.exp(rng.uniform(np.log(30), np.log(5000))))),
        covariance=rng.uniform(0.5, 2.0, tasks).tolist(),
    )


def overlapping(rng: Rng, tasks: int) -> si.Problem:
    """A random problem whose tasks share blocks."""
    blocks = int(rng.integers(1, 4))
    signal = rng.lognormal(0.0, 1.5, (tasks, blocks)) * (rng.random((tasks, blocks)) < 0.7)
    signal[np.arange(tasks), rng.integers(0, blocks, tasks)] += 0.3
    return si.Problem(
        block_sizes=tuple(rng.integers(1, 30, blocks).tolist()),
        signal=signal,
        noise=tuple(rng.lognormal(-1.0, 1.0, tasks)),
        context_length=float(round(np.exp(rng.uniform(1.0, 8.0)))),
        covariance=tuple(rng.uniform(0.3, 2.0, blocks)),
    )


def spread(rng: Rng, low: float, high: float) -> float:
    """A number spread evenly on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def dominated(rng: Rng) -> Case:
    """What the theorems suppose: disjoint tasks, a head for each or more, a small start with leaders."""
    p = disjoint(rng, int(rng.integers(1, 5)))
    heads = p.tasks + int(rng.integers(0, 4))
    scale, margin = spread(rng, 1e-5, 0.03), spread(rng, 0.1, 5.0)
    start = si.initial.dominant(p, heads, scale, margin, int(rng.integers(2**31)))
    return Case(p, start, si.Balanced())


def short(rng: Rng) -> Case:
    """As `dominated`, with prompts that are short enough to be sampled by the thousand."""
    found = dominated(rng)
    sizes = tuple(min(size, 12) for size in found.problem.block_sizes)
    length = float(round(spread(rng, 20.0, 300.0)))
    return found._replace(problem=replace(found.problem, block_sizes=sizes, context_length=length))


def shared(rng: Rng) -> Case:
    """Tasks that share blocks, and a start without signs of its own or with positive ones."""
    p = replace(overlapping(rng, int(rng.integers(2, 4))), context_length=round(spread(rng, 10.0, 500.0)))
    heads = p.tasks + int(rng.integers(0, 2))
    start = si.initial.random(
        p, heads, spread(rng, 1e-3, 0.1), int(rng.integers(2**31)), bool(rng.integers(2))
    )
    return Case(p, start, si.Balanced())


def imbalanced(rng: Rng) -> Case:
    """Few heads with a small imbalance, from a small start with leaders that are far ahead."""
    tasks = int(rng.integers(2, 5))
    p = replace(disjoint(rng, tasks), context_length=float(round(spread(rng, 50.0, 2000.0))))
    scale = spread(rng, 1e-3, 0.03)
    start = si.initial.dominant(p, tasks, scale, spread(rng, 0.5, 5.0), int(rng.integers(2**31)))
    imbalance = scale * spread(rng, 1e-6, 1e-2)
    return Case(p, start, si.Factored(imbalance, imbalance))


def anything(rng: Rng) -> Case:
    """A problem of either kind with any start and weights; one in eight has noise that drowns the signal."""
    tasks = int(rng.integers(1, 4))
    p = disjoint(rng, tasks) if rng.random() < 0.7 else overlapping(rng, tasks)
    noise = (1e4,) * tasks if rng.random() < 0.125 else p.noise
    p = replace(p, noise=noise, context_length=float(round(spread(rng, 2.0, 1e4))))
    heads, kind, seed = int(rng.integers(1, tasks + 3)), rng.random(), int(rng.integers(2**31))
    scale = spread(rng, 1e-4, 0.1)
    if kind < 0.5 and heads >= tasks:
        start = si.initial.dominant(p, heads, scale, spread(rng, 0.1, 5.0), seed)
    elif kind < 0.9:
        start = si.initial.random(p, heads, scale, seed, positive=kind < 0.75)
    else:
        start = si.initial.paper(p, heads)
    flavours = (si.Balanced(), si.Factored(*[spread(rng, 1e-8, 1e-3)] * 2), si.Merged())
    return Case(p, start, flavours[rng.choice(3, p=(0.6, 0.3, 0.1))])


def large(rng: Rng) -> Case:
    """A start of the size of the limit or above, without leaders."""
    p = disjoint(rng, int(rng.integers(1, 4)))
    heads = int(rng.integers(1, p.tasks + 3))
    start = si.initial.random(
        p, heads, spread(rng, 0.1, 3.0), int(rng.integers(2**31)), bool(rng.integers(2))
    )
    return Case(p, start, si.Balanced())


def crowded(rng: Rng) -> Case:
    """One head that leads all tasks, among as many heads as there were or, more seldom, fewer than tasks."""
    found = dominated(rng)
    p, heads = found.problem, len(found.start.mu)
    keep = int(rng.integers(1, p.tasks + 1)) if rng.random() < 0.2 else heads
    mu, omega = found.start.mu.copy(), found.start.omega.copy()
    mu[0], omega[0] = 2.0 * mu.max(), omega.max()
    return Case(p, si.State(omega[:keep], mu[:keep]), si.Balanced())


def freed(rng: Rng) -> Case:
    """Small starts with leaders, of weights whose signs may change: imbalanced or merged."""
    found = dominated(rng)
    imbalance = spread(rng, 1e-8, 1e-1)
    return found._replace(parametrization=rng.choice([si.Factored(imbalance, imbalance), si.Merged()]))


def unruly(rng: Rng) -> Case:
    """An imbalance with rivals that are close, many, or large against the start."""
    found = imbalanced(rng)
    p = found.problem
    scale = spread(rng, 1e-3, 0.5)
    heads = p.tasks + int(rng.integers(0, 5))
    start = si.initial.dominant(p, heads, scale, spread(rng, 1e-3, 1.0), int(rng.integers(2**31)))
    imbalance = spread(rng, 1e-5, 1.0)
    return Case(p, start, si.Factored(imbalance, imbalance))


def alike(rng: Rng) -> Case:
    """Equal tasks, two at least, and as many heads."""
    tasks = int(rng.integers(2, 7))
    p = si.Problem.multitask(
        task_sizes=[int(rng.integers(1, 60))] * tasks,
        signal=spread(rng, 0.1, 10.0),
        noise=spread(rng, 1e-3, 10.0),
        context_length=float(round(spread(rng, 2.0, 1e4))),
        covariance=spread(rng, 0.3, 3.0),
    )
    return Case(p, si.initial.dominant(p, tasks, 0.01, 1.0, int(rng.integers(2**31))), si.Balanced())


def unlike(rng: Rng) -> Case:
    """As many heads as tasks, two at least, of unequal tasks."""
    p = disjoint(rng, int(rng.integers(2, 5)))
    return Case(p, si.initial.dominant(p, p.tasks, 0.01, 1.0, int(rng.integers(2**31))), si.Balanced())


def direct(rng: Rng) -> Case:
    """As `dominated`, of two tasks or more and with W and U trained directly."""
    found = dominated(rng)
    while found.problem.tasks < 2:
        found = dominated(rng)
    return found._replace(parametrization=si.Merged())


def direct_at_will(rng: Rng) -> Case:
    """W and U trained directly, of one task, or from starts without leaders, of any signs or of any size."""
    p = disjoint(rng, int(rng.integers(1, 4)))
    heads = p.tasks + int(rng.integers(0, 3))
    start = si.initial.random(
        p, heads, spread(rng, 1e-3, 3.0), int(rng.integers(2**31)), bool(rng.integers(2))
    )
    return Case(p, start, si.Merged())


def grown(rng: Rng) -> Case:
    """As `dominated`, with a start that is not small."""
    found = dominated(rng)
    p, scale = found.problem, spread(rng, 0.1, 2.0)
    heads, seed = len(found.start.mu), int(rng.integers(2**31))
    return found._replace(start=si.initial.dominant(p, heads, scale, spread(rng, 0.1, 5.0), seed))


def of_order_one(rng: Rng) -> Case:
    """As `dominated`, under the law to order 1 / L, with prompts that are short enough for it to matter."""
    found = dominated(rng)
    p = replace(found.problem, context_length=float(round(spread(rng, 10.0, 300.0))))
    return found._replace(problem=p, kernel="first-order")


def drowned(rng: Rng) -> Case:
    """As `dominated`, with noise of which almost nothing can be learned."""
    found = dominated(rng)
    p = found.problem
    return found._replace(problem=replace(p, noise=(spread(rng, 1e3, 1e6),) * p.tasks))


def mixed(rng: Rng) -> Case:
    """Few heads of either sign, in any number, on one task or on tasks that share blocks."""
    p = overlapping(rng, int(rng.integers(1, 3)))
    start = si.initial.random(p, p.tasks + 1, spread(rng, 1e-2, 1.0), int(rng.integers(2**31)), False)
    return Case(p, start, si.Balanced())


def proportional(rng: Rng) -> Case:
    """Tasks that share their blocks in equal parts, or almost."""
    p = overlapping(rng, int(rng.integers(2, 4)))
    power = np.outer(rng.lognormal(0.0, 1.0, p.tasks), rng.lognormal(0.0, 1.0, p.blocks))
    if rng.random() < 0.5:
        noise = tuple((spread(rng, 0.01, 3.0) * power.sum(axis=1)).tolist())
        p = replace(p, signal=power, noise=noise)
    else:
        p = replace(p, block_sizes=p.block_sizes[:1], signal=power[:, :1], covariance=p.covariance[:1])
    return Case(p, si.initial.random(p, p.tasks, 0.01, int(rng.integers(2**31)), True), si.Balanced())


# The generators from which problems are drawn for a claim: the more often the hypotheses are met by those of
# one, the more often they are drawn. A claim that is not here has all of the first line.
INSIDE: dict[str, tuple[Callable[[Rng], Case], ...]] = {
    "": (dominated, shared, imbalanced, anything),
    "convergence-to-limit": (dominated, anything),
    "task-allocation": (dominated, anything),
    "three-phases": (dominated, anything),
    "optimality": (dominated, anything),
    "single-vs-multi": (dominated, anything),
    "escape-rate": (imbalanced, unruly),
    "decomposability-preserved": (short, shared),
    "kernel-validity": (short, shared),
    "length-generalisation": (short, shared),
    "superposition": (shared,),
    "escape-scaling": (imbalanced, unruly),
    "emergence-width": (dominated, anything),
    "losing-heads": (dominated, anything),
    "winner-rates": (dominated, anything),
    "stray-decay": (dominated, anything),
    "scaling-times": (dominated,),
    "equality-within-blocks": (dominated, anything),
    "merged": (direct,),
    "optimality-same-heads": (dominated, anything),
    "optimality-one-sign": (shared, dominated, anything),
    "separation-factor": (dominated, anything),
    "equiangular-heads": (alike,),
    "kernel-smoother": (short,),
    "bayes-comparison": (dominated, anything),
    "scaling-losses": (dominated, anything),
}
OUTSIDE: dict[str, tuple[Callable[[Rng], Case], ...]] = {
    "": (large, crowded, freed, unruly, shared, anything),
    "task-allocation": (large, crowded, anything),
    "optimality": (large, crowded, anything),
    "single-vs-multi": (shared, proportional),
    "escape-rate": (unruly,),
    "escape-scaling": (unruly,),
    "emergence-width": (grown, freed, of_order_one),
    "losing-heads": (grown, freed, of_order_one),
    "winner-rates": (grown, freed, of_order_one),
    "stray-decay": (grown, freed, of_order_one),
    "scaling-times": (grown, of_order_one),
    "equality-within-blocks": (large, grown, dominated),
    "merged": (direct_at_will,),
    "optimality-same-heads": (large, crowded, of_order_one),
    "optimality-one-sign": (mixed, freed, of_order_one),
    "separation-factor": (large, crowded, freed, of_order_one),
    "single-head-optimum": (drowned, of_order_one),
    "equiangular-heads": (unlike,),
    "kernel-smoother": (large, crowded, freed),
    "bayes-comparison": (large, crowded, freed, of_order_one),
    "scaling-losses": (of_order_one, drowned),
    "decomposability-preserved": (short, shared),
    "superposition": (shared,),
}


def sparse_inside(rng: Rng) -> SparseProblem:
    """A sparse problem with the hypotheses of the advantage met, and often those of the other claims."""
    d = int(spread(rng, 16.0, 200.0))
    s = int(rng.integers(1, max(2, d // int(rng.choice((4, 16))) + 1)))
    n = int(spread(rng, max(12 * s, d // 2), max(24 * s, rng.choice((4, 20)) * d)))
    kind = rng.random()
    return SparseProblem(
        d=d,
        s=s,
        n=min(n, 3000),
        noise=spread(rng, 0.05, 1.0) if rng.random() < 0.8 else spread(rng, 0.01, 4.0),
        weights="gauss" if rng.random() < 0.2 else "pm",
        correlation=float(rng.uniform(-0.6, 0.6)) if kind > 0.8 else 0.0,
        support_variance=spread(rng, 0.3, 1.0) if kind < 0.2 else 1.0,
    )


def sparse_outside(rng: Rng) -> SparseProblem:
    """A sparse problem with one thing out of its bounds."""
    p, what = sparse_inside(rng), rng.integers(5)
    if what == 0:
        return replace(p, s=int(rng.integers(max(1, p.d // 3), p.d + 1)), n=min(p.n, 600))
    if what == 1:
        return replace(p, n=int(rng.integers(2, max(3, 6 * p.s))))
    if what == 2:
        return replace(p, noise=spread(rng, 1e-4, 5e-3) if rng.integers(2) else spread(rng, 8.0, 100.0))
    if what == 3:
        return replace(p, correlation=float(rng.uniform(0.8, 0.98)), support_variance=1.0)
    variance = spread(rng, 0.003, 0.1) if rng.integers(2) else spread(rng, 2.0, 50.0)
    return replace(p, support_variance=variance, correlation=0.0)
