"""Heads at equal angles: the best weights that treat equal tasks, and as many heads, alike."""

from __future__ import annotations

import sympy as sp

from theory.algebra import inserted
from theory.derivation import Derivation
from theory.multitask.single_head import profile
from theory.symbols import d

u = sp.Symbol("u", positive=True)  # squared distance of a head's vector from the others' common part
v = sp.Symbol("v", nonnegative=True)  # squared length, over I, of the sum of the heads' vectors
more = sp.Symbol("j", integer=True, nonnegative=True)  # tasks beyond two
count = 2 + more


def share(u: sp.Expr, v: sp.Expr, count: sp.Expr) -> sp.Expr:
    """Share p = d / X of every task."""
    own = (1 - 1 / count) * u / (sp.exp(u) - 1)
    return sp.exp(u / count - v) * (own + v / (sp.exp(u) + count - 1))


def derive() -> Derivation:
    """Their effective dimension; the best of them; and that no other weights do better."""
    step = Derivation(
        "Heads at equal angles",
        "Derived here, and not quoted: Chen, Sheen, Wang and Yang (2024) speak of equiangular weights too. "
        "Equal disjoint tasks, as many heads as tasks, asymptotic loss, unit covariance. Weights that do not "
        "change if tasks and heads are permuted together, and the best OV values for them.",
    )
    _dimension(step)
    _tilt(step)
    _size(step)
    return step


def _dimension(step: Derivation) -> None:
    """The effective dimension of permutation-symmetric weights."""
    alpha, beta = sp.symbols("alpha beta", real=True)
    x, y = sp.symbols("x y", positive=True)
    heads = sp.Matrix(3, 3, lambda h, b: alpha + beta * int(h == b))
    own, cross = sp.Symbol("P", real=True), sp.Symbol("Q", real=True)
    squares = (heads * heads.T)[0, 0], (heads * heads.T)[0, 1]
    step.define(
        "Weights that treat all tasks and all heads alike have KQ values {common} and {beta} more on the own "
        "block, in units of {unit}. All heads have one length and all pairs one angle, whose cosine is",
        sp.Symbol("cosine"),
        cross / own,
        common=alpha,
        beta=beta,
        unit=1 / sp.sqrt(d),
    )
    step.identity(
        "with, here for three tasks,", squares[0], 3 * alpha**2 + 2 * alpha * beta + beta**2, shown=own
    )
    step.identity("and", squares[1], 3 * alpha**2 + 2 * alpha * beta, shown=cross)
    step.identity(
        "The overlaps are {x} more on the diagonal than {y} elsewhere. By the profile over the OV values the "
        "share of a task, its size over its effective dimension, is",
        1 / profile(heads[:, 0], x * sp.eye(3) + y * sp.ones(3, 3)),
        (squares[0] - y * (3 * alpha + beta) ** 2 / (x + 3 * y)) / x,
        shown=sp.Symbol("p"),
        x=sp.Eq(x, sp.exp(own) - sp.exp(cross), evaluate=False),
        y=sp.Eq(y, sp.exp(cross), evaluate=False),
    )
    tasks = sp.Symbol("I", positive=True)
    values = {u: beta**2, v: (tasks * alpha + beta) ** 2 / tasks}
    step.identity(
        "Let {u}, and {v}, which may be any numbers that are not negative. Then, for {I} tasks,",
        own,
        v + u * (1 - 1 / tasks),
        by=inserted({own: tasks * alpha**2 + 2 * alpha * beta + beta**2, **values}),
        u=sp.Eq(u, beta**2, evaluate=False),
        v=sp.Eq(v, values[v], evaluate=False),
        I=tasks,
    )
    step.identity(
        "and",
        cross,
        v - u / tasks,
        by=inserted({cross: tasks * alpha**2 + 2 * alpha * beta, **values}),
    )
    P, Q = v + u * (1 - 1 / tasks), v - u / tasks
    step.identity(
        "so that the share is",
        (P - sp.exp(Q) * tasks * v / (sp.exp(P) - sp.exp(Q) + tasks * sp.exp(Q))) / (sp.exp(P) - sp.exp(Q)),
        share(u, v, tasks),
        shown=sp.Function("p")(u, v),
    )


def _tilt(step: Derivation) -> None:
    """The heads' vectors should add up to zero."""
    named = sp.Function("p")(u, v)
    own, mean = (1 - 1 / count) * u / (sp.exp(u) - 1), 1 / (sp.exp(u) + count - 1)
    step.identity(
        "Its derivative in {v}, for {I} tasks,",
        sp.diff(share(u, v, count), v),
        -sp.exp(u / count - v) * (own - mean + v * mean),
        shown=sp.Derivative(named, v),
        v=v,
        I=sp.Eq(sp.Symbol("I"), count, evaluate=False),
    )
    rest = (count - 1) * u * (sp.exp(u) + count - 1) - count * (sp.exp(u) - 1)
    step.identity(
        "has the sign of minus {f}, or of less, with",
        own - mean,
        rest / (count * (sp.exp(u) - 1) * (sp.exp(u) + count - 1)),
        shown=sp.Symbol("f"),
        f=sp.Symbol("f"),
    )
    numerator = sp.Symbol("r")
    step.identity(
        "The numerator {r} vanishes at zero,",
        rest.subs(u, 0),
        sp.Integer(0),
        shown=sp.Subs(sp.Function("r")(u), u, 0),
        r=numerator,
    )
    step.sign(
        "where it does not fall,",
        sp.diff(rest, u).subs(u, 0),
        ">=",
        form=more**2 + 2 * more,
        shown=sp.Subs(sp.Derivative(sp.Function("r")(u), u), u, 0),
    )
    step.sign(
        "and it is convex: it is not negative. So the share is largest at {v}, where the heads' vectors "
        "add up to zero: they point to the corners of a simplex.",
        sp.diff(rest, u, 2),
        ">",
        form=sp.exp(u) * (more + (1 + more) * u),
        shown=sp.Derivative(sp.Function("r")(u), (u, 2)),
        v=sp.Eq(v, 0, evaluate=False),
    )


def _size(step: Derivation) -> None:
    """The heads should be small."""
    x, t = sp.symbols("x t", positive=True)
    X = sp.Function("X")
    step.identity(
        "The effective dimension of a simplex, with {x}:",
        (d / share(u, sp.Integer(0), count)).subs(u, 2 * x),
        d / (1 - 1 / count) * sp.exp(more * x / count) * sp.sinh(x) / x,
        by=lambda gap: sp.simplify(gap.rewrite(sp.exp)),
        how="left minus right simplifies to zero",
        shown=X(x),
        x=sp.Eq(x, u / 2, evaluate=False),
    )
    step.identity(
        "The last factor is above one by an integral",
        sp.sinh(x) / x - 1,
        sp.Integral(sp.cosh(t * x) - 1, (t, 0, 1)),
    )
    step.sign("of what is positive.", sp.cosh(t * x) - 1, ">", form=2 * sp.sinh(t * x / 2) ** 2)
    step.identity(
        "So the infimum is at small scale, and is that of all weights of as many heads (see the head "
        "budget): to treat tasks alike costs nothing.",
        sp.limit(d / (1 - 1 / count) * sp.exp(more * x / count) * sp.sinh(x) / x, x, 0),
        d * count / (count - 1),
        shown=sp.Limit(X(x), x, 0),
    )
    step.identity(
        "The cosine of the angle of a simplex:",
        (v - u / count).subs(v, 0) / (v + u * (1 - 1 / count)).subs(v, 0),
        -1 / (count - 1),
        shown=sp.Symbol("cosine"),
    )
    step.say(
        "The limit of the balanced flow is symmetric as well, with heads at right angles, {orthogonal}, "
        "and OV values of one sign. It costs e times the size of a task: what is lost is lost to the one "
        "sign.",
        orthogonal=sp.Eq(sp.Symbol("cosine"), 0, evaluate=False),
    )
