"""As many heads as tasks at small scale: the plateau below the limit of the balanced flow."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.head_budget import dimension, overlaps
from theory.multitask.single_head import profile, shares
from theory.symbols import L, a, d, phi, task_loss


def exact_dimension(value: sp.Expr, size: sp.Expr, heads: sp.Expr) -> sp.Expr:
    """Effective dimension of H equal tasks under H heads, each with the KQ value omega on one task alone."""
    growth = sp.exp(size * value**2)
    return (growth - 1) * (growth + heads - 1) / (value**2 * (growth + heads - 2))


def plateau_dimension(size: sp.Expr, heads: sp.Expr) -> sp.Expr:
    """The limit of `exact_dimension` at small scale, d / (1 - 1 / H)."""
    return dimension(size, 1 - 1 / heads)


def derive() -> Derivation:
    """Equal tasks from the exact overlaps, the gain over the balanced flow's limit, unequal tasks."""
    step = Derivation(
        "The plateau of as many heads as tasks",
        "Derived here. Asymptotic law, unit covariance, disjoint tasks.",
    )
    _equal_tasks(step)
    _gain(step)
    _unequal_tasks(step)
    return step


def _equal_tasks(step: Derivation) -> None:
    """The exact effective dimension at any scale, and its limit."""
    w, named = sp.Symbol("omega", positive=True), sp.Function("X")
    heads, u = sp.Symbol("H", integer=True, positive=True), sp.Symbol("u", positive=True)
    own = u + heads - 2
    step.identity(
        "As many heads as equal tasks, {H}, each with the KQ value {omega} on a task of its own and none on "
        "the others. A head has the overlap {u} with itself, and one with every other head. OV values in "
        "the proportion of {own} for the head of the task to {other} for all others cancel in the overlaps "
        "with any of the others.",
        own - u - (heads - 2),
        sp.Integer(0),
        shown=sp.Add(own, -u, -(heads - 2), evaluate=False),
        H=heads,
        omega=w,
        u=sp.Eq(u, sp.exp(d * w**2), evaluate=False),
        own=own,
        other=sp.Integer(-1),
    )
    total = u * own - (heads - 1)
    step.identity(
        "So these are, but for a factor, the inverse overlaps times the KQ values of the task, hence the "
        "best: positive for the head of the task and negative for the others. In the overlaps with that "
        "head they make {total}, and the profile over the OV values gives",
        (1 / (w * (own / total) * w)).subs(u, sp.exp(d * w**2)),
        exact_dimension(w, d, heads),
        shown=named(w),
        total=total,
    )
    for count in (2, 3):
        values = w * sp.eye(count)
        step.identity(
            "The same from the matrix of all overlaps, for {H} heads.",
            1 / profile(values[:, 0], overlaps(values, sp.Matrix([d] * count))),
            1 / exact_dimension(w, d, sp.Integer(count)),
            shown=1 / named(w),
            H=sp.Integer(count),
        )
    step.identity(
        "At small scale:",
        sp.Limit(exact_dimension(w, d, heads), w, 0),
        plateau_dimension(d, heads),
        shown=sp.Limit(named(w), w, 0),
    )
    p, c = sp.symbols("p_0 c", positive=True)
    step.identity(
        "It is what the head budget gives for equal solutions {c} of its linear equations, {p}.",
        dimension(d, 1 - (c**2 / d) / (heads * c**2 / d)),
        plateau_dimension(d, heads),
        shown=d / p,
        c=sp.Eq(sp.Symbol("c_b"), 1 / w, evaluate=False),
        p=sp.Eq(p, 1 - 1 / heads, evaluate=False),
    )


def _gain(step: Derivation) -> None:
    """The plateau against the limit of the balanced flow, and the example of two tasks."""
    n, v = sp.Symbol("n", integer=True, nonnegative=True), sp.Function("v")
    heads = sp.Symbol("H")
    step.sign(
        "Two heads or more, {H}, do better there than at the limit of the balanced flow, of effective "
        "dimension {limit}.",
        sp.E - plateau_dimension(sp.Integer(1), n + 2),
        ">",
        form=(sp.E - 2) + n / (n + 1),
        shown=sp.E - 1 / (1 - 1 / heads),
        H=sp.Eq(heads, n + 2, evaluate=False),
        limit=sp.E * d,
    )
    size, ratio = sp.Integer(10), sp.Rational(1009, 1000)
    context = {L: 100}
    limit = task_loss(size, ratio, sp.E * size).subs(context)
    step.identity(
        "Two tasks of {d} coordinates each, with {a}, {phi} and {L}: a task on the plateau costs {plateau}, "
        "and {limit} at the limit of the balanced flow.",
        task_loss(sp.Integer(10), ratio, plateau_dimension(size, sp.Integer(2))).subs(context),
        sp.Rational(10090, 6009),
        shown=v(20),
        d=size,
        a=sp.Eq(a, 10, evaluate=False),
        phi=sp.Eq(phi, sp.Float("1.009", 4), evaluate=False),
        L=sp.Eq(L, 100, evaluate=False),
        plateau=sp.Float(sp.Rational(10090, 6009), 4),
        limit=limit.evalf(4),
    )


def _unequal_tasks(step: Derivation) -> None:
    """Share the budget between unequal tasks."""
    p, g, level = sp.symbols("p g tau", positive=True)
    heads, f = sp.Symbol("H", integer=True, positive=True), sp.Function("f")
    loss = step.identity(
        "Unequal tasks. At small scale a task has the effective dimension {X}, where the {p} lie between "
        "zero and one and have the sum {budget}. In terms of {g} its loss is",
        task_loss(a, phi, dimension(d, p)).subs(phi, L / (g * d)),
        a / (1 + g * p),
        shown=f(p),
        X=dimension(d, p),
        p=p,
        budget=heads - 1,
        g=sp.Eq(g, L / (phi * d), evaluate=False),
    )
    step.sign(
        "It is convex, so that the total loss has one minimum, and it is where all slopes agree.",
        sp.diff(loss, p, 2),
        ">",
        form=2 * a * g**2 / (1 + g * p) ** 3,
        shown=sp.Derivative(f(p), (p, 2)),
    )
    best = (level * sp.sqrt(a * g) - 1) / g
    step.identity(
        "As for the single head, {factor} is the same multiple {tau} of {root} for every task, but {p} is "
        "at most one: where the multiple would give more the slope is too steep even at one, and where it "
        "would give less than zero it is too flat even at zero.",
        sp.diff(loss, p).subs(p, best),
        -1 / level**2,
        shown=sp.Subs(sp.Derivative(f(p), p), p, best),
        factor=1 + g * p,
        tau=level,
        root=sp.sqrt(a * g),
        p=p,
    )
    powers, gains = list(sp.symbols("a_:3", positive=True)), list(sp.symbols("g_:3", positive=True))
    step.identity(
        "The multiple follows from the sum, here for three tasks and if no {p} ends at zero or one.",
        sum(shares(powers, gains, heads - 1)),
        heads - 1,
        shown=sp.Add(*sp.symbols("p_:3")),
        p=p,
    )
    step.identity(
        "Equal tasks, here three, share the budget equally.",
        shares([a] * 3, [g] * 3, heads - 1)[0],
        (heads - 1) / 3,
        shown=sp.Symbol("p_0"),
    )
    step.say(
        "The shares {p} for all are open to as many unequal tasks as heads, too. With them every task does "
        "better than at the limit of the balanced flow, so in total the best shares do as well.",
        p=sp.Eq(p, 1 - 1 / heads, evaluate=False),
    )
