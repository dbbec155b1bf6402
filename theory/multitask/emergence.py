"""The balanced warm-up from a small start, and the time at which a head emerges."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.loss import symbols, task_losses
from theory.symbols import L, a, c, d, kappa, s, t

w, m = sp.symbols("omega mu", positive=True)
w_k, m_k = sp.symbols("omega_k mu_k", positive=True)  # of a second head
eps = sp.Symbol("epsilon", positive=True)  # the factor of all weights
c1, c2, n = sp.symbols("c_1 c_2 n", positive=True)
w0, m0 = sp.symbols("omega_0 mu_0", positive=True)  # the start
A, p = sp.symbols("A p", positive=True)  # slope of the ray, and the power of time
x0 = sp.Symbol("x_0", real=True)  # distance of the start from the ray
falling = sp.Symbol("v", positive=True)  # from one to zero as omega grows
k = sp.Symbol("k", integer=True, nonnegative=True)  # a power in the expansion
T_of = sp.Function("T")(w0, m0)

Flow = dict[sp.Symbol, sp.Expr]
"""Rates of change by weight."""


def rates(
    power: sp.Expr, size: sp.Expr, kappa: sp.Expr, variance: sp.Expr, length: sp.Expr, key_scale: sp.Expr
) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """c1, c2 and n of the warm-up omega' = c1 omega mu, mu' = mu (c2 omega - n mu)."""
    return 4 * key_scale * kappa * power / size, 4 * kappa * power, 4 * variance / length


def time(omega0: sp.Expr, mu0: sp.Expr, c1: sp.Expr, c2: sp.Expr, n: sp.Expr) -> sp.Expr:
    """Time to the divergence of the warm-up from (omega0, mu0)."""
    p, slope = c1 / (c1 + n), c2 / (c1 + n)
    return sp.hyper((1, p), (1 + p,), 1 - mu0 / (slope * omega0)) / (c1 * slope * omega0)


def time_without_noise(omega0: sp.Expr, mu0: sp.Expr, c1: sp.Expr, c2: sp.Expr) -> sp.Expr:
    """Time to the divergence with n = 0, where it is a logarithm; c2 omega0 and c1 mu0 must differ."""
    return sp.log(c2 * omega0 / (c1 * mu0)) / (c2 * omega0 - c1 * mu0)


def first_task(
    at: dict[str, sp.Matrix], omegas: list[sp.Symbol], mus: list[sp.Symbol]
) -> dict[sp.Symbol, sp.Expr]:
    """Plain names for the first of two disjoint tasks, and for what two heads have on it."""
    return {
        at["sizes"][0]: d,
        at["kappas"][0]: kappa,
        at["noises"][0]: s - a,
        at["powers"][0, 0]: a,
        at["powers"][0, 1]: 0,
        at["powers"][1, 0]: 0,
        **dict(zip(at["omega"][:, 0], omegas, strict=True)),
        **dict(zip(at["mu"][:, 0], mus, strict=True)),
    }


def derive() -> Derivation:
    """From the loss to the quadratic warm-up, its orbits, and the time they take to infinity."""
    step = Derivation(
        "Emergence from a small start",
        "Chen, Sheen, Wang and Yang (2024), warm-up and emergence of the balanced flow; the time in closed "
        "form was derived for this project.",
    )
    grow_w, grow_m = _leading_order(step)
    flow = _two_heads(step, grow_w, grow_m)
    _orbit(step, flow)
    _time_without_noise(step, flow)
    _time(step)
    _function(step, flow)
    _limits(step)
    return step


def _leading_order(step: Derivation) -> tuple[sp.Expr, sp.Expr]:
    """The rates of small weights, which are returned, and their first corrections."""
    # Two heads, two tasks and their blocks are enough to see what interacts with what.
    at = symbols(2, 2, 2)
    names = first_task(at, [w, w_k], [m, m_k])
    loss = sum(task_losses(at)).subs(names)
    shrink = {x: eps * x for x in [*at["omega"].subs(names), *at["mu"].subs(names)]}
    omega_rate = -2 * c * w * (sp.diff(loss, w) / d).subs(shrink, simultaneous=True)
    mu_rate = -2 * m * sp.diff(loss, m).subs(shrink, simultaneous=True)
    symbol = sp.Symbol("loss")
    step.say(
        "Disjoint tasks, balanced weights, all positive and small: all of them carry a factor {eps}. One "
        "head has the KQ value {w} on the block of a task, of size {d}, power {a} and label variance {s}, "
        "and the OV value {m} in it; a second head has {w_k} and {m_k}, and there is a second task with its "
        "own block. The balanced flow on the sum of the losses is {omega_flow}, {mu_flow}.",
        eps=eps,
        w=w,
        d=d,
        a=a,
        s=s,
        m=m,
        w_k=w_k,
        m_k=m_k,
        omega_flow=sp.Eq(sp.Derivative(w, t), -2 * c * w * sp.Derivative(symbol, w) / d),
        mu_flow=sp.Eq(sp.Derivative(m, t), -2 * m * sp.Derivative(symbol, m)),
    )
    k1, k2, kn = rates(a, d, kappa, s, L, c)
    grow_w = step.identity(
        "To leading order {w} grows by the correlation of input and label alone: no noise, no kernel, no "
        "other head, no other task.",
        sp.limit(sp.expand(omega_rate / eps), eps, 0),
        k1 * w * m,
        shown=sp.Limit(sp.Derivative(w, t) / eps, eps, 0),
        w=w,
    )
    grow_m = step.identity(
        "The OV value grows with {w} too, and is held back by the noise that all heads on the task collect: "
        "their small logits all attend alike.",
        sp.limit(sp.expand(mu_rate / eps), eps, 0),
        m * (k2 * w - kn * (m + m_k)),
        shown=sp.Limit(sp.Derivative(m, t) / eps, eps, 0),
        w=w,
    )
    alone = {w_k: 0, m_k: 0, at["omega"][0, 1]: 0, at["mu"][0, 1]: 0}
    step.identity(
        "The corrections are two orders smaller. For one head alone that of {w} starts with",
        sp.limit((omega_rate.subs(alone) - eps * k1 * w * m) / eps**3, eps, 0),
        -k1 * w * m * kappa * w * m - 4 * c * s * kappa**2 * w**2 * m**2 / L,
        shown=sp.Limit((sp.Derivative(w, t) - eps * k1 * w * m) / eps**3, eps, 0),
        w=w,
    )
    step.identity(
        "and that of {m} with the terms below. Relative to the leading terms these are {learned}, the "
        "learned share of the task, and {tilt}, the exponent of the kernel, or less as long as {m} grows. "
        "The warm-up lasts while both are well below one.",
        sp.limit((mu_rate.subs(alone) - eps * m * (k2 * w - kn * m)) / eps**3, eps, 0),
        -k2 * w * m * kappa * w * m - kn * m**2 * d * kappa**2 * w**2,
        shown=sp.Limit((sp.Derivative(m, t) - eps * m * (k2 * w - kn * m)) / eps**3, eps, 0),
        m=m,
        learned=kappa * w * m,
        tilt=d * kappa**2 * w**2,
    )
    step.say(
        "Write {first}, {second} and {third}, and let {eps} be absorbed in the weights.",
        first=sp.Eq(c1, k1),
        second=sp.Eq(c2, k2),
        third=sp.Eq(n, kn),
        eps=eps,
    )
    return grow_w, grow_m


def _two_heads(step: Derivation, grow_w: sp.Expr, grow_m: sp.Expr) -> Flow:
    """The race of two heads on one task; returns the rates of one alone."""
    named = {d: c * c2 / c1, a: c2 / (4 * kappa), s: n * L / 4}
    pair = {w: grow_w.subs(named), m: grow_m.subs(named)}
    swap = {w: w_k, w_k: w, m: m_k, m_k: m}
    pair |= {swap[x]: rate.subs(swap, simultaneous=True) for x, rate in pair.items()}
    step.identity(
        "Two heads on one task: the ratio of their KQ values grows with the gap of their OV values,",
        _along(sp.log(w / w_k), pair),
        c1 * (m - m_k),
        shown=sp.Derivative(sp.log(w / w_k), t),
    )
    step.identity(
        "and the other way round; the noise, which is common to both, drops out. So a head that is ahead in "
        "both stays ahead and its lead widens. From here on this dominant head is taken to be alone.",
        _along(sp.log(m / m_k), pair),
        c2 * (w - w_k),
        shown=sp.Derivative(sp.log(m / m_k), t),
    )
    return {x: pair[x].subs(m_k, 0) for x in (w, m)}


def _orbit(step: Derivation, flow: Flow) -> None:
    """The orbit, an approach to a ray on which both weights stay positive."""
    slope, constant = c2 / (c1 + n), sp.Symbol("C", real=True)
    orbit = slope * w + constant * w ** (-n / c1)
    step.identity(
        "Its orbit {orbit} obeys a linear equation, dividing one rate by the other:",
        sp.diff(orbit, w),
        (flow[m] / flow[w]).subs(m, orbit),
        shown=sp.Derivative(orbit, w),
        orbit=sp.Eq(m, orbit),
    )
    start = (m0 - slope * w0) * w0 ** (n / c1)
    tidy = {c2: A * c1 / p, n: c1 / p - c1, m0: A * w0 * (1 - x0)}
    step.identity(
        "With {A}, {p} and {x0}, a number below one, the orbit through {start} is an approach to the ray "
        "{ray}.",
        orbit.subs(constant, start).subs(tidy),
        A * w * (1 - x0 * (w0 / w) ** (1 / p)),
        by=_positive_powers,
        how="powers of products of positive numbers taken apart",
        shown=m,
        start=sp.Tuple(w0, m0),
        A=sp.Eq(A, slope),
        p=sp.Eq(p, c1 / (c1 + n)),
        x0=sp.Eq(x0, 1 - m0 / (A * w0)),
        ray=sp.Eq(m, A * w),
    )
    y, ratio = sp.symbols("y r", positive=True)
    step.sign(
        "It stays positive. In the bracket, {bracket}, {v} falls from one towards zero as {w} grows; with "
        "{y} and {ratio} it is",
        1 - (1 - ratio) / (1 + y),
        ">",
        form=(y + ratio) / (1 + y),
        bracket=1 - x0 * falling,
        v=sp.Eq(falling, (w0 / w) ** (1 / p)),
        w=w,
        y=sp.Eq(falling, 1 / (1 + y)),
        ratio=sp.Eq(x0, 1 - ratio),
    )


def _time_without_noise(step: Derivation, flow: Flow) -> None:
    """The time that is left without noise, a logarithm."""
    delta, T = sp.Symbol("Delta", real=True), sp.Symbol("T")
    noiseless = {key: rate.subs(n, 0) for key, rate in flow.items()}
    step.identity(
        "So {w} grows without bound, and {m} with it, in finite time as we shall see. First without noise: "
        "there {delta} is conserved,",
        _along(c2 * w - c1 * m, noiseless),
        sp.Integer(0),
        shown=sp.Derivative(c2 * w - c1 * m, t),
        w=w,
        m=m,
        delta=sp.Eq(delta, c2 * w - c1 * m),
    )
    logarithm = time_without_noise(w, m, c1, c2)
    step.identity(
        "and the function {T} falls at unit rate along the flow,",
        _along(logarithm, noiseless),
        sp.Integer(-1),
        shown=sp.Derivative(T, t),
        T=sp.Eq(T, logarithm),
    )
    on_orbit = sp.log(c2 * w / (c2 * w - delta)) / delta
    step.identity(
        "and, with {m_of}, vanishes where {w} diverges and only there: it is the time that is left until "
        "then, the emergence time.",
        sp.limit(on_orbit, w, sp.oo),
        sp.Integer(0),
        shown=sp.Limit(on_orbit, w, sp.oo, "-"),
        w=w,
        m_of=sp.Eq(c1 * m, c2 * w - delta),
    )
    step.identity(
        "Where {delta} vanishes the logarithm becomes the time of {riccati}.",
        sp.limit(on_orbit, delta, 0),
        1 / (c2 * w),
        shown=sp.Limit(on_orbit, delta, 0),
        delta=delta,
        riccati=sp.Eq(sp.Derivative(w, t), c2 * w**2),
    )


def _time(step: Derivation) -> None:
    """The time with noise as an integral, and its expansion as Gauss's series."""
    v, at_v = falling, w0 * falling ** (-p)
    travel = 1 / (c1 * w * A * w * (1 - x0 * (w0 / w) ** (1 / p)))
    step.identity(
        "With noise the time is the integral of {travel} over {w} from {w0} to infinity, finite because of "
        "the ray. Substitute {substitution}, so that {v} runs from one to zero:",
        -travel.subs(w, at_v) * sp.diff(at_v, v),
        p * v ** (p - 1) / (1 - x0 * v) / (c1 * A * w0),
        by=_positive_powers,
        how="powers of products of positive numbers taken apart",
        shown=-sp.Derivative(w, v) / (c1 * w * m),
        travel=1 / (c1 * w * m),
        w=w,
        w0=w0,
        v=v,
        substitution=sp.Eq(w, at_v),
    )
    step.identity(
        "In the expansion of {geometric} in powers of {x0} the power {k} integrates to",
        sp.integrate(p * v ** (p + k - 1), (v, 0, 1)),
        p / (p + k),
        shown=sp.Integral(p * v ** (p - 1) * v**k, (v, 0, 1)),
        geometric=1 / (1 - x0 * v),
        x0=x0,
        k=k,
    )
    step.identity(
        "which is the coefficient of Gauss's series {series}; its first parameter cancels the factorial. The "
        "series converges only above {minus}, but integral and function are analytic everywhere below {one}, "
        "so they agree there.",
        sp.rf(1, k) * sp.rf(p, k) / (sp.rf(1 + p, k) * sp.factorial(k)),
        p / (p + k),
        by=lambda e: sp.gammasimp(e.rewrite(sp.gamma)),
        how="rising factorials written with the gamma function",
        series=sp.hyper((1, p), (1 + p,), x0),
        minus=sp.Eq(x0, -1),
        one=sp.Eq(x0, 1),
    )


def _function(step: Derivation, flow: Flow) -> None:
    """The equation of the series, and that the time falls at unit rate along the flow with noise."""
    F, z = sp.Function("F"), sp.Symbol("z", real=True)
    step.identity(
        "So the function, {F} for short, obeys an equation of first order, {equation}: on the power {k} its "
        "left side multiplies the coefficient by {factor}, and the right side is geometric.",
        (k + p) * sp.rf(1, k) * sp.rf(p, k) / (sp.rf(1 + p, k) * sp.factorial(k)),
        p,
        by=lambda e: sp.gammasimp(e.rewrite(sp.gamma)),
        how="rising factorials written with the gamma function",
        shown=(k + p) * sp.Symbol("F_k"),
        F=F(z),
        equation=sp.Eq(z * sp.Derivative(F(z), z) + p * F(z), p / (1 - z), evaluate=False),
        k=k,
        factor=k + p,
    )
    named_F = time(w, m, c1, c2, n).replace(sp.hyper, lambda _, __, argument: F(argument))
    share, argument = c1 / (c1 + n), 1 - m * (c1 + n) / (c2 * w)
    rising = share * (1 / (1 - argument) - F(argument)) / argument
    step.identity(
        "The emergence time from {start} is thus {T_is}. Indeed it falls at unit rate along the flow with "
        "noise, and vanishes where {w} diverges, on the ray. The head for which it is least is predicted to "
        "win.",
        _along(named_F, flow).replace(sp.Subs, lambda *_: rising),
        sp.Integer(-1),
        shown=sp.Derivative(sp.Function("T")(w, m), t),
        how="with the derivative of F from its equation",
        start=sp.Tuple(w0, m0),
        T_is=sp.Eq(T_of, sp.hyper((1, p), (1 + p,), x0) / (c1 * A * w0), evaluate=False),
        w=w,
    )


def _limits(step: Derivation) -> None:
    """The time without noise as a special case, and how it grows as the start shrinks."""
    step.identity(
        "Without noise {p} and the function is elementary: the logarithm of above.",
        sp.hyperexpand(time(w0, m0, c1, c2, n).subs(n, 0)),
        time_without_noise(w0, m0, c1, c2),
        by=lambda e: sp.simplify(sp.expand_log(e)),
        how="logarithms of products of positive numbers taken apart",
        shown=sp.Limit(T_of, n, 0),
        p=sp.Eq(p, 1),
    )
    scale = sp.Symbol("lambda", positive=True)
    step.identity(
        "A start smaller by a factor takes longer by that factor. What the warm-up leaves out, the last "
        "growth to the plateau, takes a time that does not grow as the start shrinks: to leading order {T} "
        "is all of it.",
        time(scale * w0, scale * m0, c1, c2, n) / time(w0, m0, c1, c2, n),
        1 / scale,
        shown=T_of.subs({w0: scale * w0, m0: scale * m0}, simultaneous=True) / T_of,
        T=T_of,
    )


def _along(function: sp.Expr, flow: Flow) -> sp.Expr:
    """Time derivative of a function of the weights along the flow."""
    return sum(sp.diff(function, x) * rate for x, rate in flow.items())


def _positive_powers(expression: sp.Expr) -> sp.Expr:
    """Simplify with products under a power taken apart; every base is positive."""
    return sp.simplify(sp.expand(sp.powsimp(sp.expand_power_base(sp.powdenest(expression, force=True)))))
