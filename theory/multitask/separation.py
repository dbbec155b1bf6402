"""By which factor a head per task is better than one head for all."""

from __future__ import annotations

import sympy as sp

from theory.algebra import inserted
from theory.derivation import Derivation
from theory.symbols import L, a, d, phi, task_loss

gamma = sp.Symbol("gamma", positive=True)  # L / (e phi d)
count = sp.Symbol("I", positive=True)


def equal(gain: sp.Expr, tasks: sp.Expr) -> sp.Expr:
    """The factor for equal tasks; ``gain`` is L / (e phi d)."""
    return tasks * (1 + gain) / (tasks + gain)


def least(costs: list[sp.Expr], gains: list[sp.Expr]) -> sp.Expr:
    """A lower bound on the factor; ``costs`` are s_i d_i, up to a common factor, ``gains`` as above."""
    pairs = list(zip(costs, gains, strict=True))
    one = sum(sp.sqrt(cost) for cost in costs) ** 2 / (1 + sum(1 / gain for gain in gains))
    return one / sum(cost * gain / (1 + gain) for cost, gain in pairs)


def derive() -> Derivation:
    """Equal tasks in closed form; unequal ones between two bounds."""
    step = Derivation(
        "One head against a head per task",
        "That several heads are better by a factor of the order of the number of tasks is the theorem of "
        "Chen, Sheen, Wang and Yang (2024); the factor and the bounds are derived here. Asymptotic loss, "
        "disjoint tasks, losses without query noise.",
    )
    _equal(step)
    _unequal(step)
    return step


def _equal(step: Derivation) -> None:
    """The factor for equal tasks, and when it is half the number of tasks."""
    v = sp.Function("v")
    factor = v(sp.E * d * count) / v(sp.E * d)
    step.identity(
        "Equal tasks, {I} of them. One head leaves each the effective dimension {one}, a head of its own "
        "{each}. With {gamma} the ratio of the losses is",
        (task_loss(a, phi, sp.E * d * count) / task_loss(a, phi, sp.E * d)).subs(phi, L / (sp.E * d * gamma)),
        equal(gamma, count),
        shown=factor,
        I=count,
        one=sp.E * d * count,
        each=sp.E * d,
        gamma=sp.Eq(gamma, L / (sp.E * phi * d), evaluate=False),
    )
    step.identity(
        "It is half the number of tasks or more exactly if {gamma} is {I} less two or more.",
        equal(gamma, count) - count / 2,
        count * (gamma - (count - 2)) / (2 * (count + gamma)),
        shown=factor - count / 2,
        gamma=gamma,
        I=count,
    )
    more = sp.Symbol("j", positive=True)
    step.sign(
        "For any number of tasks above one, {I}, it is above one",
        equal(gamma, 1 + more) - 1,
        ">",
        form=more * gamma / (1 + more + gamma),
        shown=factor - 1,
        I=sp.Eq(count, 1 + more, evaluate=False),
    )
    step.sign(
        "and below their number,",
        1 + more - equal(gamma, 1 + more),
        ">",
        form=more * (1 + more) / (1 + more + gamma),
        shown=count - factor,
    )
    step.identity("which it tends to for long prompts.", sp.Limit(equal(gamma, count), gamma, sp.oo), count)


def _unequal(step: Derivation) -> None:
    """Bounds for unequal tasks by the inequality of Cauchy and Schwarz."""
    p, cost = sp.Symbol("p", positive=True), sp.Symbol("c", positive=True)
    step.identity(
        "Unequal tasks. One head leaves a task of share {p} the effective dimension {X}; the shares add "
        "up to one. With {c}, which is proportional to the label variance times the size of the task, its "
        "loss is",
        task_loss(a, phi, sp.E * d / p).subs({phi: L / (sp.E * d * gamma), a: cost * gamma}),
        cost / (1 / gamma + p),
        shown=sp.Function("v")(sp.E * d / p),
        p=p,
        X=sp.E * d / p,
        c=sp.Eq(cost, a / gamma, evaluate=False),
    )
    costs, others = list(sp.symbols("c_:3", positive=True)), list(sp.symbols("y_:3", positive=True))
    pairs = list(zip(costs, others, strict=True))
    both = [(i, k) for i in range(3) for k in range(i)]
    gap = sum(
        (sp.sqrt(costs[i]) * others[k] - sp.sqrt(costs[k]) * others[i]) ** 2 / (others[i] * others[k])
        for i, k in both
    )
    step.sign(
        "With {y} the sum of the losses, times the sum of the {y_alone}, which is one more than the sum "
        "of all {inverse}, is at least the square of the sum of the roots of the {c}; here for three "
        "tasks. This bounds the loss of one head, whatever its shares.",
        sum(c / y for c, y in pairs) * sum(others) - sum(sp.sqrt(c) for c in costs) ** 2,
        ">=",
        form=gap,
        y=sp.Eq(sp.Symbol("y"), 1 / gamma + p, evaluate=False),
        y_alone=sp.Symbol("y"),
        inverse=1 / gamma,
        c=cost,
    )
    gains = list(sp.symbols("gamma_:3", positive=True))
    effective = sum(sp.sqrt(c) for c in costs) ** 2 / sum(costs)
    each = sum(c * g / (1 + g) for c, g in zip(costs, gains, strict=True))
    step.identity(
        "A head of its own has share one, and less loss than {c}. So the factor is at least",
        least(costs, gains),
        sp.Symbol("J") / (1 + sum(1 / g for g in gains)) * sum(costs) / each,
        by=inserted({sp.Symbol("J"): effective}),
        shown=sp.Symbol("least"),
        c=cost,
    )
    step.sign(
        "which is more than {J} over one plus the sum of the {inverse}, where {J_is}. For equal costs {J} "
        "is the number of tasks: the factor is of the order of an effective number of tasks, which is "
        "near their number if no task costs far more than others.",
        sum(costs) / each - 1,
        ">",
        form=sum(c / (1 + g) for c, g in zip(costs, gains, strict=True)) / each,
        shown=sum(costs) / sp.Symbol("loss") - 1,
        J=sp.Symbol("J"),
        J_is=sp.Eq(sp.Symbol("J"), effective, evaluate=False),
        inverse=1 / gamma,
    )
    step.identity(
        "For equal tasks the bound is the factor.",
        least([cost] * 3, [gamma] * 3),
        equal(gamma, sp.Integer(3)),
        shown=sp.Symbol("least"),
    )
    more = sp.Symbol("j", positive=True)
    step.sign(
        "And no factor reaches the number of tasks {I}: with equal shares, which one head may have, none of "
        "the tasks has a ratio above it.",
        1 + more - (1 + gamma) / (1 + gamma / (1 + more)),
        ">",
        form=more / (1 + gamma / (1 + more)),
        shown=count - sp.Function("v")(sp.E * d * count) / sp.Function("v")(sp.E * d),
        I=sp.Eq(count, 1 + more, evaluate=False),
    )
