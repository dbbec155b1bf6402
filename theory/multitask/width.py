"""The width of the emergence does not depend on the start, and its time grows as one over the start."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.loss import symbols, task_losses
from theory.multitask.race import curve
from theory.symbols import L, a, d, kappa, phi, t

c1, c2, n = sp.symbols("c_1 c_2 n", positive=True)
lam = sp.Symbol("lambda", positive=True)  # the factor of all weights of the start


def fallen(w: sp.Expr, m: sp.Expr, g: sp.Expr) -> sp.Expr:
    """Share of the signal by which the loss is below that of zero weights, on the units of `race.curve`."""
    return 2 * m * w - (m * w) ** 2 - g * sp.exp(w**2) * m**2


def derive() -> Derivation:
    """A symmetry of the race, the one curve that is left of it, and the ratio of width and time."""
    step = Derivation(
        "The width of the emergence",
        "That the warm-up is slow and the emergence short is of Chen, Sheen, Wang and Yang (2024); derived "
        "here, for balanced weights, all positive, and disjoint tasks, from the race of the warm-up.",
    )
    _symmetry(step)
    _ray(step)
    _curve(step)
    _ratio(step)
    return step


def _symmetry(step: Derivation) -> None:
    """A smaller start runs the same race more slowly."""
    w, m, w_k, m_k = (sp.Function(name) for name in ("omega", "mu", "omega_k", "mu_k"))
    late = lam * t

    def gaps(x: sp.Expr, y: sp.Expr, other: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        """By how much weights that are functions of time miss the equations of the race."""
        return (
            sp.diff(x, t) - c1 * x * y,
            sp.diff(y, t) - y * (c2 * x - n * (y + other)),
        )

    plain = gaps(w(t), m(t), m_k(t))
    slowed = gaps(lam * w(late), lam * m(late), lam * m_k(late))
    how = "the chain rule; both sides at the time {time}"
    for text, before, after, name in zip(
        (
            "Heads of a task race by {omega_flow} and {mu_flow}, the noise being shared by all. If {one} "
            "solve this, so do {other}: the KQ values,",
            "and the OV values. So a start that is smaller by {lam} runs the same race, smaller by {lam} and "
            "slower by {lam}: its time is larger by {inverse}.",
        ),
        plain,
        slowed,
        (w, m),
        strict=True,
    ):
        step.identity(
            text,
            after,
            lam**2 * before.subs(t, late).doit(),
            by=lambda gap: sp.simplify(gap.doit()),
            how=how.replace("{time}", "lambda t"),
            shown=sp.Derivative(lam * name(late), t),
            omega_flow=sp.Eq(sp.Derivative(w(t), t), c1 * w(t) * m(t)),
            mu_flow=sp.Eq(sp.Derivative(m(t), t), m(t) * (c2 * w(t) - n * (m(t) + m_k(t)))),
            one=sp.Tuple(w(t), m(t), w_k(t), m_k(t)),
            other=sp.Tuple(lam * w(late), lam * m(late), lam * w_k(late), lam * m_k(late)),
            lam=lam,
            inverse=1 / lam,
        )
    step.say(
        "When the winner is of a size that does not depend on {lam}, it is so in the race of the larger "
        "start near its divergence, by when its rivals are as large as they will be: they diverge later, if "
        "at all. So they are of order {lam}, and the winner is alone up to this order.",
        lam=lam,
    )


def _ray(step: Derivation) -> None:
    """The winner comes along a ray, on which time has no start."""
    w, w0, A, p = sp.symbols("omega omega_0 A p", positive=True)
    x0 = sp.Symbol("x_0", real=True)
    off = x0 * (w0 / w) ** (1 / p)
    step.identity(
        "Alone it moves along {orbit} (see emergence), with {p} at most one. At a given {w} its distance "
        "from the ray {ray} falls with the start as fast as {lam} or faster.",
        off.subs(w0, lam * w0),
        lam ** (1 / p) * off,
        by=lambda gap: sp.simplify(sp.expand_power_base(sp.powdenest(gap, force=True), force=True)),
        how="powers of products of positive numbers taken apart",
        shown=off.subs(w0, lam * w0),
        orbit=sp.Eq(sp.Symbol("mu"), A * w * (1 - off), evaluate=False),
        p=sp.Eq(p, c1 / (c1 + n)),
        w=w,
        ray=sp.Eq(sp.Symbol("mu"), A * w),
        lam=lam,
    )
    first, second = sp.symbols("omega_1 omega_2", positive=True)
    step.identity(
        "On the ray the time from one KQ value to another knows nothing of the start.",
        sp.integrate(1 / (c1 * A * w**2), (w, first, second)),
        (1 / first - 1 / second) / (c1 * A),
        shown=sp.Integral(1 / (c1 * A * w**2), (w, first, second)),
    )


def _curve(step: Derivation) -> None:
    """What comes after the ray, and the loss along it."""
    at = symbols(1, 1, 1)
    w, m, g = sp.symbols("w m g", positive=True)
    units = {
        at["sizes"][0]: d,
        at["kappas"][0]: kappa,
        at["powers"][0]: a,
        at["noises"][0]: a * (g * L / d - 1),
        at["omega"][0]: w / (kappa * sp.sqrt(d)),
        at["mu"][0]: m * sp.sqrt(d),
    }
    loss = (task_losses(at)[0] - at["noises"][0]).subs(units, simultaneous=True)
    step.identity(
        "Where the weights are no longer small the head goes on along one curve (see race), in units of "
        "{units}, with {g_is}. The share of the signal that has been learned on it is",
        (a - loss) / a,
        fallen(w, m, g),
        shown=sp.Symbol("S"),
        units=sp.Tuple(
            sp.Eq(w, kappa * sp.sqrt(d) * sp.Symbol("omega")), sp.Eq(m, sp.Symbol("mu") / sp.sqrt(d))
        ),
        g_is=sp.Eq(g, d * phi / L),
    )
    kc = sp.Symbol("k", positive=True)
    by_w, by_m = curve(w, m, g, kc)
    end = {w: 1, m: 1 / (1 + sp.E * g)}
    for text, rate, name in (
        ("It ends in the limit, where neither the KQ value moves", by_w, w),
        ("nor the OV value,", by_m, m),
    ):
        step.identity(
            text,
            rate.subs(end),
            sp.Integer(0),
            shown=sp.Subs(sp.Derivative(sp.log(name), t), (w, m), (end[w], end[m])),
        )
    step.identity(
        "and so the whole fall is a number of the problem too.",
        fallen(w, m, g).subs(end),
        1 / (1 + sp.E * g),
        shown=sp.Subs(sp.Symbol("S"), (w, m), (end[w], end[m])),
    )
    step.say(
        "The time on this curve between two shares of the whole fall is the width of the emergence. It "
        "depends on {g}, on {c} and on the unit of time, not on the start.",
        g=g,
        c=kc,
    )


def _ratio(step: Derivation) -> None:
    """Width over time."""
    width, time, rest = sp.symbols("W T R", positive=True)
    ratio = width / (time / lam + rest)
    step.identity(
        "The time of the emergence is that of the race, larger by {inverse}, and what the curve adds, "
        "{rest}, which does not grow: corrections to the ray's rate are of relative order {square}, and the "
        "integral of {tail} over them is finite. So the ratio of width and time falls in proportion to the "
        "start: its exponent is one.",
        sp.limit(sp.simplify(lam * sp.diff(sp.log(ratio), lam)), lam, 0),
        sp.Integer(1),
        shown=sp.Limit(lam * sp.Derivative(sp.log(ratio), lam), lam, 0),
        inverse=1 / lam,
        rest=rest,
        square=sp.Symbol("omega") ** 2,
        tail=1 / sp.Symbol("omega") ** 2,
    )
