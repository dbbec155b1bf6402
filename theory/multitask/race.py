"""The race of the warm-up: rivals that share a noise, heads that have a task, and the fall of the loss."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, ProofError
from theory.multitask.emergence import first_task, rates
from theory.multitask.loss import symbols, task_losses
from theory.symbols import L, a, c, d, kappa, phi, s, t

_C1, _C2, _N = sp.symbols("c_1 c_2 n", positive=True)


def stray_rate(
    omega: sp.Expr, mu: sp.Expr, c1: sp.Expr, key_scale: sp.Expr, kappa: sp.Expr, taken: sp.Expr
) -> sp.Expr:
    """Growth rate of the small omega, on another task's block, of a head that has taken a task.

    ``taken`` is e s_j mu_j^2 / L of the task it has, and ``mu`` its OV value on the other task.
    """
    return c1 * mu - 4 * key_scale * kappa**2 * taken * omega


def stray_mu_rate(mu: sp.Expr, total: sp.Expr, omega: sp.Expr, c2: sp.Expr, n: sp.Expr) -> sp.Expr:
    """Growth rate of that mu; ``total`` is the sum of mu over the heads."""
    return c2 * omega - n * (total + (sp.E - 1) * mu)


def curve(w: sp.Expr, m: sp.Expr, g: sp.Expr, kc: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Rates (log w)' and (log m)' of a lone head, in units of c1 sqrt(d); ``kc`` is kappa c.

    w = kappa sqrt(d) omega, m = mu / sqrt(d) and g = d phi / L.
    """
    tilt = g * sp.exp(w**2)
    return m * (1 - m * w * (1 + tilt)), (w * (1 - m * w) - tilt * m) / kc


def derive() -> Derivation:
    """Heads of one task, a head that has taken others, the time they take, and the fall of the loss."""
    step = Derivation(
        "The race of the warm-up",
        "Derived here, from the asymptotic loss; balanced weights, all positive, and disjoint tasks. For the "
        "time of a lone head see emergence.",
    )
    _rivals(step)
    _several(step)
    _bracket(step)
    _curve(step)
    return step


def _rivals(step: Derivation) -> None:
    """Two heads in two tasks: one of them may have taken the second task."""
    at, eps = symbols(2, 2, 2), sp.Symbol("epsilon", positive=True)
    w, m, w_k, m_k = sp.symbols("omega mu omega_k mu_k", positive=True)
    names = first_task(at, [w, w_k], [m, m_k])
    loss = sum(task_losses(at)).subs(names)
    own, strength = at["omega"][0, 1], sp.Symbol("mu_j", positive=True)
    variance = sp.Symbol("s_j", positive=True)
    second = {at["noises"][1]: variance - at["powers"][1, 1]}
    free = {x: eps * x for x in [*at["omega"].subs(names), *at["mu"].subs(names)]}
    limit = {own: 1 / (at["kappas"][1] * sp.sqrt(at["sizes"][1])), at["mu"][0, 1]: strength}
    taken = {x: eps * x for x in free if x not in limit} | limit

    def first_order(by: sp.Symbol, factor: sp.Expr, where: dict[sp.Symbol, sp.Expr]) -> sp.Expr:
        """The logarithmic rate of a weight, over epsilon, as epsilon tends to zero."""
        rate = (-2 * factor * sp.diff(loss, by)).subs(second).subs(where, simultaneous=True)
        if sp.simplify(rate.subs(eps, 0)) != 0:
            raise ProofError(f"the rate of {by} has a part of order zero")
        return sp.simplify(sp.diff(rate, eps).subs(eps, 0))

    k1, k2, kn = rates(a, d, kappa, s, L, c)
    symbol, how = sp.Symbol("loss"), "the first order in epsilon; there is no zeroth"
    step.say(
        "Two heads and two tasks. On a task of power {a} and label variance {s}, with a block of size {d}, "
        "the heads have the KQ values {w} and {w_k} and the OV values {m} and {m_k}, all small: they carry "
        "a factor {eps}. The balanced flow is {omega_flow}, {mu_flow}. As in emergence, {first}, {second} "
        "and {third}.",
        a=a,
        s=s,
        d=d,
        w=w,
        w_k=w_k,
        m=m,
        m_k=m_k,
        eps=eps,
        omega_flow=sp.Eq(sp.Derivative(sp.log(w), t), -2 * c * sp.Derivative(symbol, w) / d),
        mu_flow=sp.Eq(sp.Derivative(sp.log(m), t), -2 * sp.Derivative(symbol, m)),
        first=sp.Eq(_C1, k1),
        second=sp.Eq(_C2, k2),
        third=sp.Eq(_N, kn),
    )
    by_w, by_m = (sp.Limit(sp.Derivative(sp.log(x), t) / eps, eps, 0) for x in (w, m))
    step.identity(
        "Heads without a task grow by the correlation of input and label,",
        first_order(w, c / d, free),
        k1 * m,
        shown=by_w,
        how=how,
    )
    step.identity(
        "and feel the noise of all: the heads of a task share {n} times the sum of their OV values.",
        first_order(m, sp.Integer(1), free),
        k2 * w - kn * (m + m_k),
        shown=by_m,
        how=how,
        n=_N,
    )
    step.identity(
        "Now let the first head have the other task j: on its block {own}, with OV value {strength}, so "
        "that its overlap with itself is e, and let the rival's OV value on that task be small. On the "
        "first block this overlap holds its small KQ value back, through the noise of the task that it has, "
        "of label variance {variance}.",
        first_order(w, c / d, taken),
        stray_rate(w, m, k1, c, kappa, sp.E * variance * strength**2 / L),
        shown=by_w,
        how=how,
        own=sp.Eq(own, limit[own], evaluate=False),
        strength=strength,
        variance=variance,
    )
    step.identity(
        "Its OV value on the first task feels its own noise by that overlap,",
        first_order(m, sp.Integer(1), taken),
        stray_mu_rate(m, m + m_k, w, k2, kn),
        shown=by_m,
        how=how,
    )
    step.identity(
        "but its rival feels no more of it than before: their overlap is one to leading order.",
        first_order(m_k, sp.Integer(1), taken),
        k2 * w_k - kn * (m + m_k),
        shown=sp.Limit(sp.Derivative(sp.log(m_k), t) / eps, eps, 0),
        how=how,
    )
    step.identity(
        "Nor is the rival's KQ value held back.",
        first_order(w_k, c / d, taken),
        k1 * m_k,
        shown=sp.Limit(sp.Derivative(sp.log(w_k), t) / eps, eps, 0),
        how=how,
    )


def _several(step: Derivation) -> None:
    """A head that has several tasks: what holds it back elsewhere, and which tasks it gains from."""
    at, eps = symbols(1, 3, 3), sp.Symbol("epsilon", positive=True)
    w, m = sp.symbols("omega mu", positive=True)
    w_1, w_2, m_1, m_2, s_1, s_2 = sp.symbols("omega_1 omega_2 mu_1 mu_2 s_1 s_2", positive=True)
    whole = 1 - at["sizes"][1] * (at["kappas"][1] * w_1) ** 2  # of its exponent, what is left for the second
    names = {
        at["sizes"][0]: d,
        at["kappas"][0]: kappa,
        at["noises"][0]: s - a,
        at["powers"][0, 0]: a,
        **{at["powers"][i, b]: 0 for i in range(3) for b in range(3) if i != b},
    }
    variances = {at["noises"][i]: v - at["powers"][i, i] for i, v in ((1, s_1), (2, s_2))}
    loss = sum(task_losses(at)).subs(names).subs(variances)
    small = {at["omega"][0, 0]: eps * w, at["mu"][0, 0]: eps * m}
    large = {at["omega"][0, 1]: w_1, at["omega"][0, 2]: w_2, at["mu"][0, 1]: m_1, at["mu"][0, 2]: m_2}
    rate = (-2 * c / d * sp.diff(loss, at["omega"][0, 0])).subs(small | large, simultaneous=True)
    rate = sp.diff(rate, eps).subs(eps, 0)
    rate = rate.subs(w_2, sp.sqrt(whole / at["sizes"][2]) / at["kappas"][2])
    k1, k2, kn = rates(a, d, kappa, s, L, c)
    V, g, p = sp.symbols("V g p", positive=True)
    step.identity(
        "A head that has two tasks, with an exponent of one like the best single head, is held back on a "
        "third by the noise of both.",
        rate,
        stray_rate(w, m, k1, c, kappa, sp.E * (s_1 * m_1**2 + s_2 * m_2**2) / L),
        shown=sp.Limit(sp.Derivative(sp.log(w), t) / eps, eps, 0),
    )
    step.say(
        "So with any number of tasks: call {V} the sum over them of {term}.",
        V=V,
        term=sp.E * sp.Symbol("s_i") * sp.Symbol("mu_i") ** 2 / L,
    )
    worth = {g: L * a / (sp.E * s * d)}
    at_rest = {m: sp.sqrt(d) * g * sp.sqrt(p) / (1 + g * p), w: sp.sqrt(p / d) / kappa}
    step.identity(
        "The head rests where the slopes of the loss in its OV and in its KQ values vanish. The first makes "
        "its OV value on a task {best}, with {share} the task's share of the exponent and {worth} what the "
        "context is worth,",
        (-a * kappa * w * (1 - kappa * m * w) + sp.E * s * m / L)
        .subs(at_rest, simultaneous=True)
        .subs(worth),
        sp.Integer(0),
        shown=sp.Derivative(sp.Symbol("loss"), m) / 2,
        best=sp.Eq(m, at_rest[m], evaluate=False),
        share=sp.Eq(p, d * (kappa * w) ** 2, evaluate=False),
        worth=sp.Eq(g, worth[g], evaluate=False),
    )
    step.identity(
        "and the second makes {V} the same for all its tasks: water fills them to one level.",
        (a * kappa * m * (1 - kappa * m * w) / (d * kappa**2 * w)).subs(at_rest, simultaneous=True),
        a * g / (1 + g * p) ** 2,
        shown=V,
        V=V,
    )
    damping = 4 * c * kappa**2 * V
    step.identity(
        "On the block of another task small weights approach a ray on which the KQ value grows by its square "
        "times {speed}, which is positive if {gain} is above {V}: if the head gains from the task.",
        k1 * (k2 + damping) / (k1 + sp.E * kn) - damping,
        16 * c * kappa**2 * sp.E * s / L * (a * worth[g] - V) / (k1 + sp.E * kn),
        shown=sp.Symbol("c_1") * sp.Symbol("A") - sp.Symbol("D"),
        speed=sp.Symbol("c_1") * sp.Symbol("A") - sp.Symbol("D"),
        gain=a * g,
        V=V,
    )


def _bracket(step: Derivation) -> None:
    """The divergence time of a head that leads lies between those of two lone heads."""
    w, m, w_k, m_k = sp.symbols("omega mu omega_k mu_k", positive=True)
    lead, gap, rest = sp.Symbol("x", nonnegative=True), sp.Symbol("y", nonnegative=True), sp.Symbol("r")
    noise = _N * (m + rest)
    log_w, log_m = {h: _C1 * h for h in (m, m_k)}, {h: _C2 * h - noise for h in (w, w_k)}
    step.sign(
        "Let no head have a task yet, and let one lead in both, {behind} and {below} for every rival. Then a "
        "rival's OV value cannot rise relative to the leader's; the noise, common to both, drops out,",
        (log_m[w_k] - log_m[w]).subs(w_k, w - lead),
        "<=",
        form=-_C2 * lead,
        shown=sp.Derivative(sp.log(m_k / m), t),
        behind=sp.Eq(w_k, w - lead, evaluate=False),
        below=sp.Eq(m_k, m - gap, evaluate=False),
    )
    step.sign(
        "nor can its KQ value: so the leader keeps its lead in both.",
        (log_w[m_k] - log_w[m]).subs(m_k, m - gap),
        "<=",
        form=-_C1 * gap,
        shown=sp.Derivative(sp.log(w_k / w), t),
    )
    S = sp.Symbol("S", positive=True)
    total, orbit = sp.Symbol("N", positive=True), sp.Function("mu")(w)
    upper, lower = sp.Function("mu_+")(w), sp.Function("mu_-")(w)
    step.say(
        "Hence the noise {N}, {n} times the sum of OV values, stays between {least} and {most}, {S} being "
        "the sum of OV values over the leader's at the start. The leader's orbit obeys {orbit}. Compare "
        "with the orbits {upper} and {lower} of lone heads with {n} and with {worse} from the same start.",
        N=total,
        n=_N,
        least=_N * m,
        most=_N * S * m,
        S=S,
        orbit=sp.Eq(sp.Derivative(orbit, w), (_C2 * w - total) / (_C1 * w), evaluate=False),
        upper=upper,
        lower=lower,
        worse=_N * S,
    )
    over, under = sp.symbols("o u", nonnegative=True)  # what N is above n mu, and below n S mu
    slopes = {
        sp.Derivative(upper, w): (_C2 * w - _N * upper) / (_C1 * w),
        sp.Derivative(lower, w): (_C2 * w - _N * S * lower) / (_C1 * w),
        sp.Derivative(orbit, w): (_C2 * w - total) / (_C1 * w),
    }
    above = sp.diff((upper - orbit) * w ** (_N / _C1), w).subs(slopes).subs(total, _N * orbit + over)
    step.sign(
        "With {N}, the leader is not above the one,",
        above,
        ">=",
        form=over * w ** (_N / _C1) / (_C1 * w),
        shown=sp.Derivative((upper - orbit) * w ** (_N / _C1), w),
        N=sp.Eq(total, _N * orbit + over, evaluate=False),
    )
    power = _N * S / _C1
    below = sp.diff((orbit - lower) * w**power, w).subs(slopes).subs(total, _N * S * orbit - under)
    step.sign(
        "and with {N} it is not below the other, since both differences are zero at the start.",
        below,
        ">=",
        form=under * w**power / (_C1 * w),
        shown=sp.Derivative((orbit - lower) * w**power, w),
        N=sp.Eq(total, _N * S * orbit - under, evaluate=False),
    )
    step.say(
        "The time to the divergence is the integral of {integrand} over {w}, which falls as {mu} rises. So "
        "it lies between the emergence time at {n} and that at {worse}; a lone head has {alone}.",
        integrand=1 / (_C1 * w * orbit),
        w=w,
        mu=orbit,
        n=_N,
        worse=_N * S,
        alone=sp.Eq(S, 1),
    )


def _curve(step: Derivation) -> None:
    """The curve on which a lone head leaves zero."""
    at = symbols(1, 1, 1)
    names = {
        at["sizes"][0]: d,
        at["kappas"][0]: kappa,
        at["noises"][0]: phi * a - a,
        at["powers"][0, 0]: a,
    }
    omega, mu = at["omega"][0, 0], at["mu"][0, 0]
    loss = task_losses(at)[0].subs(names)
    w, m, g, k = sp.symbols("w m g k", positive=True)
    scaled = {omega: w / (kappa * sp.sqrt(d)), mu: m * sp.sqrt(d), phi: g * L / d}
    unit = 4 * c * kappa * a / sp.sqrt(d)
    by_w, by_m = curve(w, m, g, kappa * c)
    tau, E = sp.Symbol("tau", real=True), sp.Symbol("E", positive=True)
    step.identity(
        "A lone head, at any size, in units of its own: {w_is}, {m_is}, noise {g_is}, overlap {E} and time "
        "{tau}. Its KQ value, from its balanced flow without approximation:",
        (-2 * c * sp.diff(loss, omega) / d).subs(scaled, simultaneous=True) / unit,
        by_w,
        shown=sp.Derivative(sp.log(w), tau),
        w_is=sp.Eq(w, kappa * sp.sqrt(d) * omega, evaluate=False),
        m_is=sp.Eq(m, mu / sp.sqrt(d), evaluate=False),
        g_is=sp.Eq(g, d * phi / L, evaluate=False),
        E=sp.Eq(E, sp.exp(w**2), evaluate=False),
        tau=sp.Eq(tau, unit * t, evaluate=False),
    )
    step.identity(
        "Its OV value:",
        (-2 * sp.diff(loss, mu)).subs(scaled, simultaneous=True) / unit,
        by_m,
        shown=sp.Derivative(sp.log(m), tau),
    )
    step.identity(
        "Its loss, without query noise:",
        (loss - phi * a + a).subs(scaled, simultaneous=True),
        a * ((1 - m * w) ** 2 + g * sp.exp(w**2) * m**2),
        shown=sp.Symbol("loss") - sp.Symbol("sigma") ** 2,
    )
    by_w, by_m = curve(w, m, g, k)
    eps, r = sp.Symbol("epsilon", positive=True), sp.Symbol("r", positive=True)
    small = {w: eps * w, m: eps * r * w}
    drift = sp.limit(((by_m - by_w) / eps).subs(small, simultaneous=True), eps, 0)
    step.identity(
        "Only {g} and {k}, kappa times the key scale, are left. Near zero the ratio {r} of {m} to {w} has "
        "the rate below, so that the ray {ray} attracts.",
        drift,
        w * (k + g) / k * (1 / (k + g) - r),
        shown=sp.Limit(sp.Derivative(sp.log(r), tau) / eps, eps, 0),
        g=g,
        k=k,
        r=sp.Eq(r, m / w, evaluate=False),
        m=m,
        w=w,
        ray=sp.Eq(m, w / (k + g), evaluate=False),
    )
    on_ray = {w: eps * w, m: eps * w / (k + g)}
    step.identity(
        "As the start shrinks a head therefore leaves zero along the one curve that is tangent to the ray, "
        "on which the warm-up has",
        sp.limit(w * by_w.subs(on_ray, simultaneous=True) / eps, eps, 0),
        w**2 / (k + g),
        shown=sp.Limit(sp.Derivative(w, tau) / eps, eps, 0),
    )
    late = sp.Symbol("tau_0", real=True)
    path, end = (k + g) / (late - tau), (sp.Integer(1), 1 / (1 + sp.E * g))
    step.identity(
        "whose solution {path} diverges at {late}. So the fall of the loss comes, as the start shrinks, at "
        "a fixed distance in {tau} from this divergence, which depends on {g} and {k} alone: it is computed "
        "from the two equations.",
        sp.diff(path, tau),
        path**2 / (k + g),
        shown=sp.Derivative(path, tau),
        path=sp.Eq(w, path, evaluate=False),
        late=late,
        tau=tau,
        g=g,
        k=k,
    )
    step.identity(
        "Both rates vanish at the best single head, {one} and {best}: there the curve can end. The KQ value,",
        curve(*end, g, k)[0],
        sp.Integer(0),
        shown=sp.Derivative(sp.log(w), tau),
        one=sp.Eq(w, end[0], evaluate=False),
        best=sp.Eq(m, end[1], evaluate=False),
    )
    step.identity(
        "and the OV value.", curve(*end, g, k)[1], sp.Integer(0), shown=sp.Derivative(sp.log(m), tau)
    )
