"""What merged weights do: no head wins a task, and the head-per-task limit is no place to rest."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.emergence import first_task
from theory.multitask.head_per_task import limit, losing_slope
from theory.multitask.loss import symbols, task_losses
from theory.multitask.single_head import disjoint
from theory.symbols import a, d, kappa, t

w, m, w_k, m_k = sp.symbols("omega mu omega_k mu_k", positive=True)


def growth(power: sp.Expr, size: sp.Expr, kappa: sp.Expr) -> sp.Expr:
    """Rate at which the small weights of every head grow on a task, whoever is ahead."""
    return 2 * kappa * power / sp.sqrt(size)


def derive() -> Derivation:
    """The linear growth of small weights, and the losing heads at the limit."""
    step = Derivation(
        "Merged weights",
        "W and U trained themselves, omega' = -dloss/domega / d and mu' = -dloss/dmu. Derived here, from the "
        "asymptotic loss of disjoint tasks.",
    )
    _growth(step)
    _limit(step)
    return step


def _growth(step: Derivation) -> None:
    """Small weights grow at one rate."""
    at, eps = symbols(2, 2, 2), sp.Symbol("epsilon", positive=True)
    names = first_task(at, [w, w_k], [m, m_k])
    loss = sum(task_losses(at)).subs(names)
    shrink = {x: eps * x for x in [*at["omega"].subs(names), *at["mu"].subs(names)]}

    def first_order(by: sp.Symbol, factor: sp.Expr) -> sp.Expr:
        rate = (-factor * sp.diff(loss, by)).subs(shrink, simultaneous=True)
        return sp.limit(sp.expand(rate / eps), eps, 0)

    noise = sp.Symbol("s", positive=True)
    length = sp.Symbol("L", positive=True)
    by_w = step.identity(
        "Two heads, two tasks, all weights small: they carry a factor {eps}. To leading order a KQ value is "
        "driven by the OV value alone,",
        first_order(w, 1 / d),
        2 * kappa * a * m / d,
        shown=sp.Limit(sp.Derivative(w, t) / eps, eps, 0),
        eps=eps,
    )
    by_m = step.identity(
        "and the OV value by it and by the noise that all heads of the task collect.",
        first_order(m, sp.Integer(1)),
        2 * kappa * a * w - 2 * noise * (m + m_k) / length,
        shown=sp.Limit(sp.Derivative(m, t) / eps, eps, 0),
    )
    rate = growth(a, d, kappa)
    mode = sp.sqrt(d) * w + m
    quiet = by_m.subs(noise, 0)
    step.identity(
        "This is linear, where balanced weights grow by the product. Without noise the sum {mode} grows at "
        "a rate that is the same for every head, ahead or behind: the ratios of heads do not change, and "
        "nobody wins a race.",
        sp.sqrt(d) * by_w + quiet,
        rate * mode,
        shown=sp.Derivative(mode, t),
        mode=mode,
    )
    swap = {w: w_k, m: m_k, w_k: w, m_k: m}
    other = {x: y.subs(swap, simultaneous=True) for x, y in ((w, by_w), (m, by_m))}
    gap = sp.sqrt(d) * (w - w_k) + (m - m_k)
    step.identity(
        "With noise the gap between two heads grows at that rate, since the noise they share drops out. It "
        "slows down their sum alone.",
        sp.sqrt(d) * (by_w - other[w]) + by_m - other[m],
        rate * gap,
        shown=sp.Derivative(gap, t),
    )
    scale, size = sp.symbols("lambda S", positive=True)
    step.identity(
        "A start that is smaller by {scale} takes longer by a logarithm, to reach {size}: the time of the "
        "emergence is not one over the start.",
        sp.log(size / scale) / rate - sp.log(size) / rate,
        -sp.log(scale) / rate,
        by=lambda e: sp.simplify(sp.expand_log(e)),
        how="logarithms of products of positive numbers taken apart",
        shown=sp.Symbol("T_lambda") - sp.Symbol("T_1"),
        scale=scale,
        size=size,
    )


def _limit(step: Derivation) -> None:
    """The limit of balanced weights is left at once."""
    at = disjoint(3, 2)
    power, ratio, size = at["powers"][0, 0], at["ratios"][0], at["sizes"][0]
    z = sp.Symbol("z", real=True)
    idle = {key: value for key, value in limit(at).items() if key not in at["omega"][2, :]}
    idle[at["omega"][2, 0]] = z / sp.sqrt(size)
    loss = sum(task_losses(at))
    slope = losing_slope(z, power, ratio, size)
    step.identity(
        "In the limit of a head per task, a third head without a task, with {z}. Its OV value does not rest: "
        "nothing multiplies the derivative.",
        -sp.diff(loss, at["mu"][2, 0]).subs(idle),
        -slope,
        shown=sp.Derivative(at["mu"][2, 0], t),
        z=sp.Eq(z, sp.sqrt(size) * at["omega"][2, 0], evaluate=False),
    )
    step.sign(
        "At {zero}, as for the heads of other tasks, this is negative: a head that lost goes through zero "
        "and takes the other sign, which lowers the loss. So the limit is not a point of rest of merged "
        "weights, from two heads on.",
        -slope.subs(z, 0),
        "<",
        shown=sp.Derivative(at["mu"][2, 0], t),
        zero=sp.Eq(z, 0, evaluate=False),
    )
    step.say(
        "Nor can the flow come back to it: the loss never rises. Where it goes is observed, not proved: "
        "with two tasks or more to the infimum for its number of heads (see head_budget). With one task it "
        "may stay where all heads have one sign and one KQ value, which is a point of rest, and no better "
        "than one head."
    )
