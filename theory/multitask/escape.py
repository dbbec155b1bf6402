"""The escape from the plateau: a rival head crosses zero once its sign is free."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.loss import kernel, symbols, task_losses
from theory.symbols import L, a, d, kappa, s, t

w, m, w_r, m_r, z = sp.symbols("omega mu omega_r mu_r z", real=True)  # winner, rival, and omega_r / omega
w_else, m_else = sp.symbols("omega_else mu_else", real=True)  # what the rival has of another task
s_else = sp.Symbol("s_else", positive=True)
star = sp.Symbol("mu_*", positive=True)  # OV value of the winner on the plateau
unit = 1 / (kappa * sp.sqrt(d))  # its KQ value
D, push = sp.symbols("D g", positive=True)  # imbalance, and the slope that is taken as constant
T = sp.Symbol("T", positive=True)  # time of the escape
named, g = sp.Symbol("loss"), sp.Symbol("g")

# With the winner at rest; its power is written in terms of mu_*, by the relation that defines that.
PLATEAU = {m: star, w: unit, w_r: z * unit, a: sp.E * d * s * star / (L * (sp.sqrt(d) - star))}


def rate(z: sp.Expr, s: sp.Expr, L: sp.Expr, mu_star: sp.Expr) -> sp.Expr:
    """Slope g of the loss in the rival's mu, with z = omega_rival / omega_winner."""
    return 2 * s / L * mu_star * (sp.exp(z) - sp.E * z)


def time(mu: sp.Expr, exit: sp.Expr, D: sp.Expr, g: sp.Expr) -> sp.Expr:
    """Time for the rival from mu > 0 through zero to -exit, at imbalance D and slope g."""
    return (sp.asinh(2 * mu / D) + sp.asinh(2 * exit / D)) / (2 * g)


def derive() -> Derivation:
    """From the plateau's force on a rival head to the time at which the plateau is left, and where to."""
    step = Derivation(
        "Escape from the plateau",
        "Derived for this project; not in Chen, Sheen, Wang and Yang (2024), whose balanced weights keep "
        "their signs and so stay.",
    )
    _plateau(step)
    _force(step)
    _balanced(step)
    _crossing(step)
    _beyond(step)
    return step


@cache
def _two_tasks() -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """The two losses, and the rival's kernel with itself, of two tasks with a block each.

    Head 0 has won the first task, head 1 is the rival and may hold the second.
    """
    at = symbols(2, 2, 2)
    names = {
        at["sizes"][0]: d,
        at["kappas"][0]: kappa,
        at["noises"][0]: s - a,
        at["noises"][1]: s_else - at["powers"][1, 1],
        at["powers"][0, 0]: a,
        at["powers"][0, 1]: 0,
        at["powers"][1, 0]: 0,
        at["omega"][0, 0]: w,
        at["omega"][0, 1]: 0,
        at["omega"][1, 0]: w_r,
        at["omega"][1, 1]: w_else,
        at["mu"][0, 0]: m,
        at["mu"][0, 1]: 0,
        at["mu"][1, 0]: m_r,
        at["mu"][1, 1]: m_else,
    }
    loss, other = (x.subs(names) for x in task_losses(at))
    return loss, other, kernel(at["omega"], at["sizes"], at["kappas"], 1, 1).subs(names)


def _plateau(step: Derivation) -> None:
    """Where the winner rests while its rival is silent."""
    loss, _, _ = _two_tasks()
    step.say(
        "A task of power {a}, label variance {s} and block size {d} has been won by a head with {w} and {m}. "
        "A rival has {w_r} on the task's block and {m_r} in the task. It may have won another task, where it "
        "has {w_else} and {m_else}.",
        a=a,
        s=s,
        d=d,
        w=w,
        m=m,
        w_r=w_r,
        m_r=m_r,
        w_else=w_else,
        m_else=m_else,
    )
    step.identity(
        "With the rival silent, {silent}, the winner rests at {w}: there its OV value is",
        sp.solve(sp.diff(loss.subs(m_r, 0), m).subs(w, unit), m)[0],
        sp.sqrt(d) / (1 + sp.E * d * s / (a * L)),
        shown=star,
        silent=sp.Eq(m_r, 0),
        w=sp.Eq(w, unit),
    )
    step.identity(
        "and its KQ value does not move either.",
        sp.diff(loss.subs(m_r, 0), w).subs(PLATEAU),
        sp.Integer(0),
        shown=sp.Derivative(named, w),
    )


def _force(step: Derivation) -> None:
    """What pushes the rival's OV value down, and what moves its KQ value."""
    loss, other, own_kernel = _two_tasks()
    slope = step.identity(
        "The slope of the loss in {m_r} is the noise that the rival adds to the winner's, less the signal "
        "that the winner has left. With {w_r} it is",
        sp.diff(loss, m_r).subs(m_r, 0).subs(PLATEAU),
        rate(z, s, L, star),
        shown=g,
        m_r=m_r,
        w_r=sp.Eq(w_r, z * unit),
    )
    step.minimum(
        "never negative, whatever the rival does elsewhere: every rival is pushed to lower OV values, unless "
        "its KQ value is the winner's, {same}.",
        sp.exp(z) - sp.E * z,
        z,
        sp.Integer(1),
        same=sp.Eq(z, 1),
    )
    step.identity(
        "Near that point the push is of second order, and what follows is slow.",
        sp.limit(slope / (z - 1) ** 2, z, 1),
        sp.E * star * s / L,
        shown=sp.Limit(g / (z - 1) ** 2, z, 1),
    )
    step.identity(
        "On {w_r} the task itself exerts no force while the rival is silent. The task the rival has won, of "
        "label variance {s_else}, pulls it towards zero, where {g}. So {g_name} is constant for a rival that "
        "has won nothing, and close to constant after a small start.",
        sp.diff(loss + other, w_r).subs(m_r, 0),
        2 * d * kappa**2 * s_else / L * m_else**2 * w_r * own_kernel,
        shown=sp.Derivative(named + sp.Symbol("loss_else"), w_r),
        w_r=w_r,
        s_else=s_else,
        g=sp.Eq(g, rate(sp.Integer(0), s, L, star)),
        g_name=g,
    )


def _balanced(step: Derivation) -> None:
    """Balanced weights never escape."""
    decay = sp.Symbol("mu_0", positive=True) * sp.exp(-2 * push * t)
    step.identity(
        "Balanced weights obey {flow} for positive {m_r}: the rival dies out, and never crosses zero.",
        sp.diff(decay, t),
        -2 * push * decay,
        shown=sp.Derivative(decay, t),
        flow=sp.Eq(sp.Derivative(m_r, t), -2 * push * m_r),
        m_r=m_r,
    )


def _crossing(step: Derivation) -> None:
    """The time that unbalanced weights take through zero."""
    speed = -sp.sqrt(D**2 + 4 * m_r**2) * push
    step.identity(
        "At an imbalance {D} they obey {flow} instead: the dual coordinate {dual} falls at a constant rate.",
        sp.diff(sp.asinh(2 * m_r / D), m_r) * speed,
        -2 * push,
        shown=sp.Derivative(sp.asinh(2 * m_r / D), t),
        D=D,
        flow=sp.Eq(sp.Derivative(m_r, t), speed),
        dual=sp.asinh(2 * m_r / D),
    )
    begin, exit = sp.symbols("mu_em mu_exit", positive=True)
    primitive = sp.integrate(-1 / speed, m_r)
    escape = step.identity(
        "It does not stop at zero. From {begin} at the emergence to {end}, comparable with the winner's, it "
        "takes a time {T} of",
        primitive.subs(m_r, begin) - primitive.subs(m_r, -exit),
        time(begin, exit, D, push),
        shown=sp.Integral(-1 / speed, (m_r, -exit, begin)),
        begin=begin,
        end=-exit,
        T=T,
    )
    small = sp.log(16 * begin * exit / D**2) / (2 * push)
    step.identity(
        "For a small imbalance it is a logarithm,",
        sp.limit(escape - small, D, 0),
        sp.Integer(0),
        shown=sp.Limit(T - small, D, 0),
    )
    step.identity(
        "and it grows beyond all bounds as {D} vanishes. On the last stretch the winner gives way and {push} "
        "is no longer constant, but the time this adds or takes does not grow with it.",
        sp.limit(1 / escape, D, 0),
        sp.Integer(0),
        shown=sp.Limit(1 / T, D, 0),
        D=D,
        push=push,
    )


def _beyond(step: Derivation) -> None:
    """The loss behind zero, and the plateau as a saddle."""
    o, v, eps = sp.symbols("o v epsilon", real=True)
    task, beyond = sp.Function("loss"), _two_tasks()[0].subs(PLATEAU)
    step.identity(
        "Behind zero the loss of the task is below the plateau's, to first order.",
        sp.limit(sp.expand((beyond.subs(m_r, -eps) - beyond.subs(m_r, 0)) / eps), eps, 0),
        -rate(z, s, L, star),
        shown=sp.Limit((task(-eps) - task(0)) / eps, eps, 0),
    )
    step.identity(
        "The plateau is a saddle. In the factors of {factors} it is a critical point, for both vanish there, "
        "and the second-order term of the loss along {line} is indefinite: it is left along {unstable}, a "
        "direction that balanced weights, {balanced}, do not have. The way down leads to heads of opposite "
        "sign (see the head budget).",
        sp.diff(beyond.subs(m_r, eps**2 * o * v), eps, 2).subs(eps, 0) / 2,
        rate(z, s, L, star) * ((o + v) ** 2 - (o - v) ** 2) / 4,
        shown=sp.Derivative(task(eps**2 * o * v), (eps, 2)) / 2,
        factors=sp.Eq(m_r, o * v),
        line=sp.Tuple(eps * o, eps * v),
        unstable=o - v,
        balanced=sp.Eq(o, v),
    )
