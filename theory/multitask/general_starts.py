"""Starts whose entries differ within a block: one equation for its features, linear in the reciprocals."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, ProofError
from theory.multitask import indexed
from theory.multitask.emergence import rates
from theory.multitask.loss import kernel, symbols, task_losses
from theory.multitask.single_head import mu_star, omega_star
from theory.symbols import L, a, c, d, kappa, mu, omega, phi, s, t, task_loss

P, Q = sp.symbols("P Q", positive=True)
f = sp.Symbol("f", positive=True)  # share of the features that a head serves
m_0, w_0 = sp.symbols("m w", positive=True)  # mu, and the mean of omega over a block
eps = sp.Symbol("epsilon", positive=True)
j = sp.Symbol("j", integer=True, nonnegative=True)
of_feature, reciprocal = sp.IndexedBase("omega"), sp.IndexedBase("u")


def growth(at: dict[str, sp.Matrix], head: int, feature: int) -> tuple[sp.Expr, list[sp.Expr]]:
    """P_h and the Q_hk of (log omega_hj)' = P_h - sum_k Q_hk omega_kj, on the matrices of `loss.symbols`.

    They are made of the feature's powers and eigenvalue alone, which all features of a block have in common.
    """
    heads, tasks = at["mu"].shape
    own, alpha = at["kappas"][feature], at["powers"][:, feature]
    mus = at["mu"]
    variance = [sum(at["powers"][i, :]) + at["noises"][i] for i in range(tasks)]
    first = 4 * c * own * sum(alpha[i] * mus[head, i] for i in range(tasks))
    second = []
    for other in range(heads):
        overlap = kernel(at["omega"], at["sizes"], at["kappas"], head, other)
        pull = sum(
            (alpha[i] + variance[i] * overlap / L) * mus[head, i] * mus[other, i] for i in range(tasks)
        )
        second.append(4 * c * own**2 * pull)
    return first, second


def lone_growth(power: sp.Expr, size: sp.Expr, mu: sp.Expr, overlap: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """P and Q of the only head of a task, whose overlap with itself is given."""
    unit = 4 * c * kappa * power * mu / size
    return unit, 4 * c * kappa**2 * mu**2 * (power / size + phi * power * overlap / L)


def equalising_rate(
    power: sp.Expr, ratio: sp.Expr, size: sp.Expr, key_scale: sp.Expr, kappa: sp.Expr
) -> sp.Expr:
    """Rate at which the features of a block become equal in the limit of a head per task."""
    return 4 * key_scale * kappa * power / (sp.sqrt(size) * (1 + sp.E * size * ratio / L))


def served_loss(power: sp.Expr, ratio: sp.Expr, size: sp.Expr, share: sp.Expr) -> sp.Expr:
    """Loss of a task, without query noise, whose only head serves a share of its features."""
    return power * (1 - share) + share * task_loss(power, ratio, sp.E * size)


def derive() -> Derivation:
    """One equation for the features of a block, its solution, and what follows for every phase."""
    step = Derivation(
        "Starts with unequal entries",
        "Derived here, from the asymptotic loss; balanced weights. Chen, Sheen, Wang and Yang (2024) start "
        "from entries that are equal within a block.",
    )
    _one_equation(step)
    _reciprocals(step)
    _rivals(step)
    _warm_up(step)
    _cost(step)
    _limit(step)
    _elsewhere(step)
    _signs(step)
    _dual(step)
    _matrices(step)
    return step


def _features(heads: int, tasks: int) -> dict[str, sp.Matrix]:
    """Three features, of which the first two are of one block: of one eigenvalue and of equal powers."""
    at = symbols(heads, 3, tasks)
    powers, kappas = at["powers"].copy(), at["kappas"].copy()
    powers[:, 1], kappas[1] = powers[:, 0], kappas[0]
    return at | {"sizes": sp.ones(3, 1), "powers": powers, "kappas": kappas}


def _one_equation(step: Derivation) -> None:
    at = _features(2, 2)
    loss = sum(task_losses(at))
    step.say(
        "Every feature is a block of its own, {size}, and has the share {alpha} of the power of the block "
        "that it was taken from. Features of one block have equal powers and one eigenvalue; their "
        "{w} may differ.",
        size=sp.Eq(d, 1),
        alpha=sp.Symbol("A") / sp.Symbol("d_b"),
        w=omega,
    )
    n = indexed
    first_of, second_of = sp.IndexedBase("P"), sp.IndexedBase("Q")
    mus = n.mu[n.h, n.i], n.mu[n.k, n.i]
    share, E = n.A[n.i, n.b] / n.d[n.b], sp.IndexedBase("E")[n.h, n.k]
    step.define(
        "What makes all features of a block {block} grow in head {head}, with {alpha} the power of one,",
        first_of[n.h, n.b],
        4 * c * n.kappa[n.b] * n.over(n.i, share * mus[0]),
        block=n.b,
        head=n.h,
        alpha=share,
    )
    step.define(
        "and what brakes it, by way of each head. {E} is the overlap of two heads.",
        second_of[n.h, n.k, n.b],
        4 * c * n.kappa[n.b] ** 2 * n.over(n.i, (share + n.s[n.i] * E / L) * mus[0] * mus[1]),
        E=E,
    )
    for feature, words in (
        (0, "The balanced flow of a positive entry, with two heads, two tasks and three features, of which "
            "two are of one block:"),
        (1, "{P} and {Q} are those of the other feature of its block. So all features of a block obey one "
            "equation, with coefficients that depend on time alone:"),
    ):  # fmt: skip
        first, second = growth(at, 0, 0)
        written = dict(zip(sp.symbols("P_0 Q_00 Q_01"), [first, *second], strict=True))
        (one, *pair), column = written, at["omega"][:, feature]
        step.identity(
            words,
            -2 * c * sp.diff(loss, at["omega"][0, feature]),
            one - sum(q * w for q, w in zip(pair, column, strict=True)),
            by=lambda gap, written=written: sp.expand(gap.subs(written)),
            how="by the chain rule, with these written out",
            shown=sp.Derivative(sp.log(column[0]), t),
            P=first_of[n.h, n.b],
            Q=second_of[n.h, n.k, n.b],
        )


def _moving(*names: str) -> list[sp.Expr]:
    """Functions of time with these names."""
    return [sp.Function(name)(t) for name in names]


def _along(value: sp.Expr, flow: dict[sp.Expr, sp.Expr]) -> sp.Expr:
    """The derivative by time of an expression in functions of time that have these rates."""
    return sp.diff(value, t).subs({sp.Derivative(of, t): rate for of, rate in flow.items()})


def _reciprocals(step: Derivation) -> None:
    P_t, Q_t = _moving("P", "Q")
    w = _moving("omega_0", "omega_1", "omega_2", "omega_3")
    flow = {one: one * (P_t - Q_t * one) for one in w}
    u = [1 / one for one in w]
    named = [reciprocal[i] for i in range(4)]
    step.identity(
        "A head that is alone on its block: {flow}. The reciprocals {u} obey a linear equation.",
        _along(u[0], flow),
        Q_t - P_t * u[0],
        flow=sp.Eq(sp.Derivative(omega, t), omega * (P - Q * omega), evaluate=False),
        u=sp.Eq(named[0], 1 / w[0], evaluate=False),
        shown=sp.Derivative(named[0], t),
    )
    step.identity(
        "So their differences fall at the rate {P}, whatever {Q}, the state and the phase.",
        _along(u[0] - u[1], flow),
        -P_t * (u[0] - u[1]),
        shown=sp.Derivative(named[0] - named[1], t),
        P=P,
        Q=Q,
    )
    step.identity(
        "Quotients of differences are conserved: d - 2 of them, for d features.",
        _along((u[0] - u[1]) / (u[2] - u[3]), flow),
        sp.Integer(0),
        shown=sp.Derivative((named[0] - named[1]) / (named[2] - named[3]), t),
    )
    xi, nu = _moving("xi", "nu")
    r = sp.Symbol("r_j", positive=True)
    member = r / (xi + nu * r)
    step.identity(
        "However many features there are, two functions of time make them all, {entry} with {xi} and {nu}: "
        "at the start the first is one and the second zero, and {r} is the entry. So a head on a block of "
        "unequal features, with its OV value, is a flow of three numbers.",
        _along(member, {xi: -P_t * xi, nu: Q_t - P_t * nu}),
        member * (P_t - Q_t * member),
        shown=sp.Derivative(of_feature[j], t),
        xi=sp.Eq(sp.Derivative(sp.Symbol("xi"), t), -P * sp.Symbol("xi"), evaluate=False),
        nu=sp.Eq(sp.Derivative(sp.Symbol("nu"), t), Q - P * sp.Symbol("nu"), evaluate=False),
        r=r,
        entry=sp.Eq(of_feature[j], r / (sp.Symbol("xi") + sp.Symbol("nu") * r), evaluate=False),
    )


def _rivals(step: Derivation) -> None:
    P_t, Q_t, F_0, F_1 = _moving("P", "Q", "F_0", "F_1")
    w_0, w_1, folds = _moving("omega_0", "omega_1", "p")
    flow = {w_0: w_0 * (P_t - Q_t * w_0 - F_0), w_1: w_1 * (P_t - Q_t * w_1 - F_1), folds: P_t}
    step.identity(
        "Rivals on the block take {F} from the growth of a feature. Times {factor} with {folds}, differences "
        "of reciprocals would be constant without them, and move by what they do to one feature and not to "
        "the other. So rivals can change the logarithm of how far a difference falls by no more than follows "
        "from the integral of that, over the difference at the start.",
        _along(sp.exp(folds) * (1 / w_0 - 1 / w_1), flow),
        sp.exp(folds) * (F_0 / w_0 - F_1 / w_1),
        shown=sp.Derivative(sp.exp(sp.Symbol("p")) * (reciprocal[0] - reciprocal[1]), t),
        F=sp.IndexedBase("F")[j],
        factor=sp.exp(sp.Symbol("p")),
        folds=sp.Eq(sp.Derivative(sp.Symbol("p"), t), P, evaluate=False),
    )  # fmt: skip


def _lone() -> tuple[dict[str, sp.Matrix], sp.Expr]:
    """One head, one task and three features of one block, of power a and label variance s, with the loss."""
    at = symbols(1, 3, 1)
    plain = {
        "sizes": sp.ones(3, 1),
        "kappas": kappa * sp.ones(3, 1),
        "powers": a / 3 * sp.ones(1, 3),
        "noises": sp.Matrix([s - a]),
    }
    return at | plain, sum(task_losses(at | plain))


def _warm_up(step: Derivation) -> None:
    at, loss = _lone()
    w, m = at["omega"], at["mu"][0]
    small = {entry: eps * entry for entry in [*w, m]}

    def leading(logarithmic: sp.Expr) -> sp.Expr:
        """The first order in epsilon of a logarithmic rate, which has no zeroth."""
        shrunk = logarithmic.subs(small, simultaneous=True)
        if sp.simplify(shrunk.subs(eps, 0)) != 0:
            raise ProofError("a logarithmic rate has a part of order zero")
        return sp.expand(sp.diff(shrunk, eps).subs(eps, 0))

    def rate(of: sp.Expr, factor: sp.Expr) -> sp.Expr:
        return -2 * factor * sp.diff(loss, of)

    c1, c2, n = rates(a, sp.Integer(3), kappa, s, L, c)
    mean = sum(w) / 3
    how = "the first order in epsilon; there is no zeroth"
    step.identity(
        "The warm-up, all weights of order {eps}; one head and one block, here of three features. To leading "
        "order every feature grows alike, so that ratios of features persist.",
        leading(rate(w[0], c) - rate(w[1], c)),
        sp.Integer(0),
        how=how,
        shown=sp.Derivative(sp.log(of_feature[0] / of_feature[1]), t),
        eps=eps,
    )
    step.identity(
        "Their mean {w} grows as an equal block would, {c1} being that of emergence,",
        sum(leading(rate(one, c)) * one for one in w) / sum(w),
        c1 * m,
        how=how,
        shown=sp.Derivative(sp.log(w_0), t),
        w=w_0,
        c1=sp.Symbol("c_1"),
    )
    step.identity(
        "and the OV value is driven by the mean alone. So a block emerges when an equal one with its mean "
        "does: the arithmetic mean of the entries is what the start of a block is worth, and a start that is "
        "small enough forgets all else of it.",
        leading(rate(m, 1)),
        c2 * mean - n * m,
        how=how,
        shown=sp.Derivative(sp.log(mu), t),
    )


def _cost(step: Derivation) -> None:
    at, loss = _lone()
    w, m = at["omega"], at["mu"][0]
    away = sp.symbols("delta_0 delta_1", real=True)
    shifted = dict(zip(w, (w_0 + away[0], w_0 + away[1], w_0 - away[0] - away[1]), strict=True))
    equal = dict.fromkeys(w, w_0)
    V = sp.Symbol("V", nonnegative=True)
    spread = (away[0] ** 2 + away[1] ** 2 + (away[0] + away[1]) ** 2) / 3
    tilt = sp.exp(3 * kappa**2 * w_0**2)
    step.identity(
        "What unevenness costs at a given mean {w} and {m}, with {V} the variance of the entries, here of "
        "three: more is missing of the features, and the overlap is larger. Both are positive, so that equal "
        "entries are the best of any mean.",
        (loss.subs(shifted, simultaneous=True) - loss.subs(equal)).subs(m, m_0),
        a * kappa**2 * m_0**2 * spread + s / L * m_0**2 * tilt * (sp.exp(3 * kappa**2 * spread) - 1),
        by=lambda gap: sp.simplify(sp.expand(gap.replace(sp.exp, lambda x: sp.exp(sp.expand(x))))),
        how="written out",
        shown=sp.Function("loss")(w_0, m_0, V) - sp.Function("loss")(w_0, m_0, 0),
        w=w_0,
        m=m_0,
        V=V,
    )  # fmt: skip


def _limit(step: Derivation) -> None:
    ends = {"omega": omega_star / kappa, "mu": mu_star}
    first, second = lone_growth(a, d, ends["mu"], sp.E)
    step.identity(
        "In the limit of a head per task, {w} and {m}, growth and its brake balance.",
        first - second * ends["omega"],
        sp.Integer(0),
        shown=P - Q * omega,
        w=sp.Eq(omega, ends["omega"], evaluate=False),
        m=sp.Eq(mu, ends["mu"], evaluate=False),
    )
    step.identity(
        "Differences within the block vanish there at the rate",
        first,
        equalising_rate(a, phi, d, c, kappa),
        shown=P,
    )
    step.identity(
        "Differences of {w} itself fall at it too, there: by the equation of a feature, linearised, with {P} "
        "and {Q} held, since they are common to all features.",
        sp.diff(omega * (P - Q * omega), omega).subs(omega, P / Q),
        -P,
        shown=sp.Derivative(sp.log(of_feature[0] - of_feature[1]), t),
        w=omega,
        P=P,
        Q=Q,
    )  # fmt: skip
    r, late = sp.symbols("r T", positive=True)
    step.identity(
        "A feature that starts as {r} of the others, {r} small, is half learned when {half}, and by then the "
        "others have their limit. With {xi} falling at the rate {P}, it comes later than they do by {late}.",
        (r / (sp.exp(-P * late) + r)).subs(late, sp.log(1 / r) / P),
        sp.Rational(1, 2),
        shown=of_feature[0] / of_feature[1],
        r=r,
        half=sp.Eq(sp.Symbol("xi"), sp.Symbol("nu") * r, evaluate=False),
        xi=sp.Symbol("xi"),
        P=P,
        late=sp.log(1 / r) / P,
    )


def _elsewhere(step: Derivation) -> None:
    u0, w_t = sp.Symbol("u_0", positive=True), 1 / (sp.Symbol("u_0", positive=True) + Q * t)
    other = sp.Symbol("u_1", positive=True)
    step.identity(
        "On the block of a task that it does not take a head has no {mu}, hence {zero}, once the winner has "
        "settled, and keeps a brake. Differences of reciprocals persist, while all of them grow with time:",
        sp.diff(w_t, t),
        -Q * w_t**2,
        shown=sp.Derivative(omega, t),
        mu=mu,
        zero=sp.Eq(P, 0, evaluate=False),
    )
    step.identity(
        "so that these features become equal too, but as one over time.",
        sp.limit((w_t / (1 / (other + Q * t)) - 1) * t, t, sp.oo),
        (other - u0) / Q,
        shown=sp.Limit(t * (of_feature[0] / of_feature[1] - 1), t, sp.oo),
    )


def _signs(step: Derivation) -> None:
    step.identity(
        "Signs are conserved. Where {w} and {m} differ in sign, {w} = -{v}, a feature only shrinks.",
        (sp.diff(omega * (P - Q * omega), omega) + Q * omega).subs(omega, -w_0),
        P + Q * w_0,
        shown=-sp.Derivative(sp.log(w_0), t),
        w=omega,
        m=mu,
        v=w_0,
    )
    tilt = sp.exp(kappa**2 * f * d * omega**2)
    loss = a * (1 - f) + f * a * (1 - mu * kappa * omega) ** 2 + phi * a / L * mu**2 * tilt
    x, z = sp.symbols("x z", positive=True)
    shares = loss.subs(mu, x / (kappa * omega)).subs(omega, z / (kappa * sp.sqrt(f * d)))
    step.minimum(
        "A head with a share {f} of the features of a task, equal ones, and none of the others. The overlap "
        "over {z}, which is what a given part of the signal costs in noise, has its least logarithm at 1.",
        z - sp.log(z),
        z,
        sp.Integer(1),
        f=f,
        z=sp.Eq(z, f * d * kappa**2 * omega**2, evaluate=False),
    )
    best = 1 / (1 + phi * sp.E * d / L)
    step.identity(
        "Of each feature it learns what it would learn of all of them,",
        sp.diff(shares.subs(z, 1), x).subs(x, best),
        sp.Integer(0),
        shown=sp.Subs(sp.Derivative(sp.Function("loss")(x), x), x, best),
    )
    step.identity(
        "and the plateau is that of a head for all, between it and zero weights.",
        shares.subs(z, 1).subs(x, best),
        served_loss(a, phi, d, f),
        shown=sp.Function("loss")(f),
    )
    w, m = 1 / (kappa * sp.sqrt(f * d)), best * sp.sqrt(f * d)
    step.identity(
        "Its {m} is smaller, and features that are still missing grow at a lower rate.",
        (4 * c * kappa * a / d * m),
        sp.sqrt(f) * equalising_rate(a, phi, d, c, kappa),
        shown=P,
        m=sp.Eq(mu, best / (kappa * w), evaluate=False),
    )


def _dual(step: Derivation) -> None:
    x, D, G = sp.Symbol("x", real=True), sp.Symbol("D", positive=True), sp.Symbol("G", real=True)
    value, y = c * D / 2 * sp.sinh(x), sp.Symbol("y", positive=True)
    step.identity(
        "Factors with an imbalance {D} have {w}. While weights are small, {slope}, and all features move "
        "alike in the dual coordinate: its differences are what persists.",
        (-c * sp.sqrt(c**2 * D**2 + 4 * value**2) * G / sp.diff(value, x)).subs(G, -P / (2 * c)),
        P,
        by=lambda gap: sp.simplify(gap.subs(sp.sinh(x) ** 2, y**2 - 1).subs(sp.cosh(x), y)),
        how="the radicand is the square of c D cosh x",
        shown=sp.Derivative(x, t),
        D=D,
        w=sp.Eq(omega, value, evaluate=False),
        slope=sp.Eq(-2 * c * G, P, evaluate=False),
    )
    step.identity(
        "They grow out of it, whatever their sign at the start, as balanced entries of {start} would.",
        sp.limit(value * sp.exp(-x), x, sp.oo),
        c * D / 4,
        shown=sp.Limit(omega * sp.exp(-x), x, sp.oo),
        start=c * D * sp.exp(x) / 4,
    )


def _matrices(step: Derivation) -> None:
    K, Q_, K_T, Q_T, W, W_T = sp.symbols("K Q K^T Q^T W W^T", commutative=False)
    one = sp.Matrix(2, 2, lambda row, column: sp.Symbol(f"K_{row}{column}", real=True))
    two = sp.Matrix(2, 2, lambda row, column: sp.Symbol(f"Q_{row}{column}", real=True))
    plus, minus = one + two, one - two
    g = sp.Symbol("g", real=True)
    step.identity(
        "Whole matrices, {W}. On a block the signal pulls {W} along the unit matrix as long as weights are "
        "small, with a gradient {g} times it. Then {sum} grows or falls as a whole, here of 2 by 2 entries,",
        _entries(-c * g * two - c * g * one + c * g * plus),
        sp.Integer(0),
        how="entry by entry",
        shown=sp.Derivative(K + Q_, t) + c * g * (K + Q_),
        W=sp.Eq(W, c * K_T * Q_, evaluate=False),
        g=g,
        sum=K + Q_,
    )
    step.identity(
        "and {difference} does the opposite.",
        _entries(-c * g * two + c * g * one - c * g * minus),
        sp.Integer(0),
        how="entry by entry",
        shown=sp.Derivative(K - Q_, t) - c * g * (K - Q_),
        difference=K - Q_,
    )
    step.identity(
        "Twice the symmetric part of {W} is what grows less what falls.",
        _entries(c * (one.T * two + two.T * one) - c / 2 * (plus.T * plus - minus.T * minus)),
        sp.Integer(0),
        how="entry by entry",
        shown=W + W_T - c / 2 * ((K_T + Q_T) * (K + Q_) - (K_T - Q_T) * (K - Q_)),
        W=W,
    )
    p, q = sp.symbols("p q", positive=True)
    D = sp.sqrt(p * q)
    step.identity(
        "Features of a block may be rotated, so let them be the eigenvectors of the part that grows, with "
        "eigenvalues {p}, and let {q} be the diagonal of the other part. A feature then has {w} "
        "and moves at the speed {speed}, and so as an entry with the imbalance {D}.",
        ((p + q) / 2) ** 2 - (2 * (p - q) / 4) ** 2,
        D**2,
        shown=((p + q) / 2) ** 2 - 4 * omega**2 / c**2,
        p=p,
        q=q,
        w=sp.Eq(omega, c * (p - q) / 4, evaluate=False),
        speed=c**2 * (p + q) / 2,
        D=D,
    )  # fmt: skip
    step.identity(
        "It is worth the eigenvalue: random matrices start the features of a block as unequal as the "
        "eigenvalues of a Wishart matrix are, in a basis of their own.",
        c * D * sp.exp(sp.asinh((p - q) / (2 * D))) / 4,
        c * p / 4,
        by=_positive_root,
        how="the radicand is the square of (p + q) / 2",
        shown=c * D * sp.exp(sp.Symbol("x")) / 4,
    )


def _entries(difference: sp.Matrix) -> sp.Expr:
    """The sum of the sizes of a matrix's entries."""
    return sp.Add(*(sp.Abs(sp.expand(entry)) for entry in difference))


def _positive_root(gap: sp.Expr) -> sp.Expr:
    """A gap with the inverse hyperbolic sine written out, at squares of positive numbers."""
    roots = dict(
        zip(sp.symbols("p q", positive=True), (x**2 for x in sp.symbols("x y", positive=True)), strict=True)
    )
    written = gap.subs(roots).replace(sp.asinh, lambda x: sp.log(x + sp.sqrt(sp.factor(x**2 + 1))))
    return sp.simplify(written)
