"""The best single head for one task under the first-order law of the context, at any dimension."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.first_order import task_losses
from theory.multitask.loss import symbols
from theory.symbols import L, X, a, d, phi

u = sp.Symbol("u", positive=True)  # kappa^2 omega^2, less than one half
T = sp.Symbol("T", real=True)  # the fraction of the signal that the head reads off


def dimension(value: sp.Expr, size: sp.Expr, ratio: sp.Expr) -> sp.Expr:
    """Effective dimension, to leading order, at u = (kappa omega)^2."""
    return (1 - 2 * value) ** (-size / 2) * (1 + value / ((1 - 2 * value) * ratio)) / value


def pull(value: sp.Expr, size: sp.Expr) -> sp.Expr:
    """Y = (1 - 2u)^(-d/2 - 1): the bias of the head is 2 A T (1 - T) Y, T the fraction that it reads off."""
    return (1 - 2 * value) ** (-size / 2 - 1)


def best_value(size: sp.Expr, ratio: sp.Expr) -> sp.Expr:
    """The u = (kappa omega)^2 of the least effective dimension."""
    return 2 * ratio / ((size + 4) * ratio + sp.sqrt((size * ratio) ** 2 + 4 * (size + 2) * ratio))


def read_off(dimension: sp.Expr, pull: sp.Expr, ratio: sp.Expr) -> sp.Expr:
    """The best fraction T to read off, under the first-order law as it stands."""
    return (L - pull) / (L + ratio * dimension - 2 * pull)


def derive() -> Derivation:
    """The OV value; the quadratic equation of the KQ value; large dimensions and the paper's bound."""
    step = Derivation(
        "The best single head to first order",
        "Derived here, from the first-order law of the context: one head, one task on a block of its own, to "
        "leading order in one over the length.",
    )
    _fraction(step)
    _value(step)
    _large(step)
    return step


def _fraction(step: Derivation) -> None:
    """Minimise over the OV value, through the fraction of the signal that is read off."""
    at = symbols(1, 1, 1)
    noise, own = at["noises"][0], at["kappas"][0] * at["omega"][0]
    one_task = {at["powers"][0]: a, noise: (phi - 1) * a, at["sizes"][0]: d, at["mu"][0]: T / sp.sqrt(u)}
    one_task[at["omega"][0]] = sp.sqrt(u) / at["kappas"][0]
    Y, length = sp.Symbol("Y", positive=True), sp.Symbol("l", positive=True)
    general = a * (1 - T) ** 2 + a / L * (phi * X * T**2 + 2 * Y * T * (1 - T))
    values = {X: dimension(u, d, phi), Y: pull(u, d)}
    step.identity(
        "Trade the OV value for the fraction {T} of the signal that is read off, and let {u_is}. Without the "
        "noise of the query the loss has an effective dimension {X_is} and, for the bias, {Y_is}.",
        (task_losses(at)[0] - noise).subs(one_task),
        general,
        by=lambda gap: sp.simplify(gap.subs(values)),
        shown=sp.Symbol("loss"),
        T=T,
        u_is=sp.Eq(u, own**2, evaluate=False),
        X_is=sp.Eq(X, values[X], evaluate=False),
        Y_is=sp.Eq(Y, values[Y], evaluate=False),
    )
    best = read_off(X, Y, phi)
    step.identity(
        "It is quadratic in {T}; the slope vanishes at {best},",
        sp.diff(general, T).subs(T, best),
        sp.Integer(0),
        shown=sp.Subs(sp.Derivative(sp.Function("loss")(T), T), T, best),
        T=T,
        best=sp.Eq(T, best),
    )
    step.sign(
        "and that is a minimum, at any length {long}.",
        sp.diff(general, T, 2).subs(L, 2 * Y + length),
        ">",
        form=2 * a * (length + phi * X) / (length + 2 * Y),
        shown=sp.Derivative(sp.Function("loss")(T), T, T),
        long=sp.Gt(L, 2 * Y),
    )
    step.identity(
        "At the minimum what is not read off is of first order in one over the length,",
        sp.limit(L * (1 - best), L, sp.oo),
        phi * X - Y,
        shown=sp.Limit(L * (1 - T), L, sp.oo, "-"),
    )
    step.identity(
        "so that the bias is of second order, and to leading order the loss knows the KQ value only through "
        "the effective dimension {X}.",
        sp.limit(sp.simplify(L * general.subs(T, best)), L, sp.oo),
        a * phi * X,
        shown=sp.Limit(L * sp.Symbol("loss"), L, sp.oo, "-"),
        X=X,
    )


def _value(step: Derivation) -> None:
    """Minimise the effective dimension."""
    named = sp.Function("X")
    quadratic = (d + 2) * (2 * phi - 1) * u**2 - (d + 4) * phi * u + phi
    signs = u * (1 - 2 * u) * (phi * (1 - 2 * u) + u)
    step.define("It is to be least over {range}.", named(u), dimension(u, d, phi), range=sp.Lt(u, sp.S.Half))
    step.identity(
        "The slope of its logarithm is a quadratic polynomial over {positive}, of which every factor is "
        "positive:",
        sp.diff(sp.log(dimension(u, d, phi)), u),
        -quadratic / signs,
        shown=sp.Derivative(sp.log(named(u)), u),
        positive=signs,
    )
    step.sign("The polynomial is positive at zero,", quadratic.subs(u, 0), ">", shown=sp.Symbol("p_0"))
    step.sign(
        "and negative at one half. So it vanishes once in between, there the slope turns positive, and that "
        "is the minimum.",
        quadratic.subs(u, sp.S.Half),
        "<",
        form=-(d + 2) / 4,
        shown=sp.Symbol("p_1"),
    )
    best = best_value(d, phi)
    step.identity(
        "It is at {best}.",
        quadratic.subs(u, best),
        sp.Integer(0),
        shown=quadratic,
        best=sp.Eq(u, best),
    )
    step.sign(
        "That is the root in between, since it is less than one half.",
        sp.S.Half - best,
        ">",
        form=(d * phi + sp.sqrt((d * phi) ** 2 + 4 * (d + 2) * phi))
        / (2 * ((d + 4) * phi + sp.sqrt((d * phi) ** 2 + 4 * (d + 2) * phi))),
        shown=sp.S.Half - u,
    )


def _large(step: Derivation) -> None:
    """What becomes of e times the number of coordinates, the best of one head at large dimensions."""
    named, x, g = sp.Function("X"), sp.Symbol("x", positive=True), sp.Symbol("r", positive=True)
    gap = -sp.log(1 - 2 * u) / 2 - u
    step.sign(
        "Under the asymptotic loss the least effective dimension of one head is {large}. Here it is more at "
        "any dimension, since the first factor of {X} alone makes more, and the second is above one. The "
        "logarithm of the first is above {linear}: over {d} they differ by what is zero at zero and grows, "
        "{range}.",
        sp.diff(gap, u).subs(u, g / (2 * (1 + g))),
        ">",
        form=g,
        shown=sp.Derivative(gap, u),
        large=sp.E * d,
        X=named(u),
        linear=d * u,
        d=d,
        range=sp.Eq(u, g / (2 * (1 + g)), evaluate=False),
    )
    step.minimum(
        "So {X} is above {bound} with {x_is}, and the logarithm of that is at least {large}:",
        x - sp.log(x) + sp.log(d),
        x,
        sp.Integer(1),
        X=named(u),
        bound=d * sp.exp(x) / x,
        x_is=sp.Eq(x, d * u),
        large=sp.log(sp.E * d, evaluate=False),
    )
    small = sp.Symbol("epsilon", positive=True)  # one over the dimension
    value = sp.series(sp.simplify(best_value(1 / small, phi)), small, 0, 4).removeO()
    step.identity(
        "In large dimensions it tends to {large}. The best {u}, to the order needed:",
        value,
        small - (2 + 1 / phi) * small**2 + ((2 + 1 / phi) ** 2 - 2 / phi + 1 / phi**2) * small**3,
        shown=u,
        how="the Taylor polynomial in one over the dimension, epsilon",
        large=sp.E * d,
        u=u,
    )
    logarithm = sp.log(1 + value / ((1 - 2 * value) * phi)) - sp.log(sp.expand(value / small))
    logarithm -= sp.log(1 - 2 * value) / (2 * small)
    step.identity(
        "So the logarithm of {quotient} is, to first order, one and {next} over {d}: one head is above "
        "{large} by the factor {factor}, the more the less noise there is.",
        sp.series(logarithm, small, 0, 2).removeO(),
        1 + (1 + 1 / phi) * small,
        shown=sp.log(named(u) / d),
        how="the Taylor polynomial in one over the dimension, epsilon",
        quotient=named(u) / d,
        next=1 + 1 / phi,
        d=d,
        large=sp.E * d,
        factor=1 + (1 + 1 / phi) / d,
    )
