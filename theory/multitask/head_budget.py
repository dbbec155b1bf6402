"""How many heads the lower bound takes, and what fewer heads leave at small scale."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal, inserted, limit_at_zero
from theory.derivation import Derivation
from theory.multitask.loss import kernel, task_losses
from theory.multitask.single_head import disjoint, profile, read_off
from theory.symbols import d, task_loss

epsilon = sp.Symbol("epsilon", positive=True)  # scale of the KQ values
_CANCELLED = "the difference vanishes once it is written out"


def pair_dimension(value: sp.Expr, size: sp.Expr) -> sp.Expr:
    """Effective dimension of one task under two heads of opposite KQ values: sinh(d w^2) / w^2."""
    return sp.sinh(size * value**2) / value**2


def dimension(size: sp.Expr, share: sp.Expr) -> sp.Expr:
    """Effective dimension d / p of a task of share p in the budget, at small scale: sum_i p_i = H - 1."""
    return size / share


def limit_ratio(gain: sp.Expr, share: sp.Expr) -> sp.Expr:
    """Loss of the head-per-task limit over v(d / p), without query noise; ``gain`` is L / (phi d)."""
    return (1 + gain * share) / (1 + gain / sp.E)


def overlaps(omega: sp.Matrix, sizes: sp.Matrix) -> sp.Matrix:
    """The matrix E of the overlaps of all heads, for unit covariance."""
    heads, blocks = omega.shape
    return sp.Matrix(heads, heads, lambda h, k: kernel(omega, sizes, sp.ones(blocks, 1), h, k))


def derive() -> Derivation:
    """Two heads for one task, three for two, any number at small scale; and no heads do better."""
    step = Derivation(
        "The head budget",
        "The pair is the debiased gradient descent of He, Pan, Chen and Yang (2025); the rest is derived "
        "here. Decomposable weights under the asymptotic loss, unit covariance, disjoint tasks.",
    )
    _pair(step)
    _enough(step)
    _fewer(step)
    _no_better(step)
    _more_heads(step)
    _against_the_limit(step)
    return step


def _pair(step: Derivation) -> None:
    """One task, two heads of opposite signs."""
    w, x, t = sp.Symbol("w", positive=True), sp.Symbol("x", positive=True), sp.Symbol("t", positive=True)
    named = sp.Function("X")
    values = sp.Matrix([w, -w])
    step.identity(
        "One task, two heads with KQ values {w} and {minus}. Their effective dimension is, by the profile "
        "over the OV values,",
        profile(values, overlaps(values, sp.Matrix([d]))),
        pair_dimension(w, d),
        shown=named(w),
        w=w,
        minus=-w,
    )
    step.identity(
        "With {x}, it exceeds {d} by an integral",
        (pair_dimension(w, d) - d).subs(w, sp.sqrt(x / d)),
        sp.Integral(d * (sp.cosh(t * x) - 1), (t, 0, 1)),
        shown=named(w) - d,
        d=d,
        x=sp.Eq(x, d * w**2, evaluate=False),
    )
    step.sign("of what is positive.", sp.cosh(t * x) - 1, ">", form=2 * sp.sinh(t * x / 2) ** 2)
    step.identity("It tends to {d} at small scale,", sp.Limit(pair_dimension(w, d), w, 0), d, d=d)
    step.identity(
        "to fourth order: the lower bound is the infimum of the asymptotic loss over decomposable weights, "
        "and is not attained.",
        sp.Limit((pair_dimension(w, d) - d) / w**4, w, 0),
        d**3 / 6,
    )


def _enough(step: Derivation) -> None:
    """One head more than tasks: three for two."""
    at = disjoint(3, 2)
    sizes = at["sizes"]
    T = sp.symbols("T_:2", real=True)
    direction = sp.Matrix([[1, 1], [-1, 1], [0, -2]])
    reader = (T[0] * direction[:, 0] / 2 + T[1] * direction[:, 1] / 6) / epsilon
    values = epsilon * direction
    noise, named = sp.expand((reader.T * overlaps(values, sizes) * reader)[0]), sp.Function("N")(epsilon)
    step.identity(
        "Several tasks, one head more. Take KQ values that as vectors over the heads are independent of "
        "each other and orthogonal to {ones}, at a scale {epsilon}; for two tasks, {first} and {second}. In "
        "the space that they span there are OV values, {reader}, that read off any fraction {T} of the "
        "first task's block",
        values[:, 0].dot(reader),
        T[0],
        shown=values[:, 0].dot(sp.Matrix(sp.symbols("mu_:3"))),
        ones=sp.Tuple(1, 1, 1),
        epsilon=epsilon,
        first=sp.Tuple(*values[:, 0]),
        second=sp.Tuple(*values[:, 1]),
        reader=sp.Tuple(*reader),
        T=T[0],
    )
    step.identity(
        "and any fraction {T} of the other. Every task has such OV values, with the fractions it wants.",
        values[:, 1].dot(reader),
        T[1],
        shown=values[:, 1].dot(sp.Matrix(sp.symbols("mu_:3"))),
        T=T[1],
    )
    least = step.identity(
        "Since these OV values sum to zero, their noise {N}, the quadratic form of the overlaps, has a "
        "limit, which is the part of degree one in the lower bound.",
        limit_at_zero(noise, epsilon, 2),
        sizes[0] * T[0] ** 2 + sizes[1] * T[1] ** 2,
        shown=sp.Limit(named, epsilon, 0),
        N=named,
    )
    gap = limit_at_zero((noise - least) / epsilon**2, epsilon, 4)
    step.sign(
        "It is approached from above, by the lower bound at every scale, and to second order.",
        gap,
        ">=",
        form=sizes[0] * sizes[1] * T[0] ** 2 + (sizes[0] ** 2 / 18 + sizes[1] ** 2 / 2) * T[1] ** 2,
        shown=sp.Limit((named - least) / epsilon**2, epsilon, 0),
    )
    best = [read_off(sizes[i], at["ratios"][i]) for i in range(2)]
    weights = dict(zip(at["omega"], values, strict=True))
    for i in range(2):
        weights |= dict(zip(at["mu"][:, i], reader.subs(T[1 - i], 0), strict=True))
    losses = [loss - noise for loss, noise in zip(task_losses(at), at["noises"], strict=True)]
    step.identity(
        "With the fractions that the lower bound asks for, {own} of the own block and none of the other's, "
        "the losses of all tasks tend to their bounds at once, here without query noise.",
        sum(limit_at_zero(loss.subs(weights), epsilon, 2) for loss in losses).subs(
            dict(zip(T, best, strict=True))
        ),
        sum(task_loss(at["powers"][i, i], at["ratios"][i], sizes[i]) for i in range(2)),
        shown=sp.Limit(sp.Function("loss")(epsilon), epsilon, 0),
        own=sp.Eq(T[0], best[0], evaluate=False),
    )


def _fewer(step: Derivation) -> None:
    """Any number of heads at small scale: the diagonal of a projector."""
    heads, i = sp.Symbol("H", integer=True, positive=True), sp.Symbol("i", integer=True)
    y, p, sizes = sp.IndexedBase("y"), sp.IndexedBase("p"), sp.IndexedBase("d")
    fraction, root = sp.IndexedBase("T"), sp.sqrt(sizes[i])
    step.say(
        "Any number {H} of heads, one more than tasks at most, at small scale. OV values that read off "
        "something are large then, and must sum to zero for the noise to stay finite; what they read off "
        "makes vectors with entries {y}, and the noise tends to the sum of {square}. The vectors fill the "
        "space that the differences between the heads' own vectors, with entries {own}, span, in general of "
        "{dim} dimensions. The inverse effective dimension is the largest quotient of {gain} and the noise.",
        H=heads,
        y=sp.Eq(y[i], root * fraction[i], evaluate=False),
        square=y[i] ** 2,
        own=root * sp.Symbol("omega_h_i"),
        dim=heads - 1,
        gain=fraction[i] ** 2,
    )
    u, v, alpha, beta = sp.symbols("u v alpha beta", real=True)
    step.sign(
        "Let {p} be the squared length of the projection of the axis of task {i} on that space; if two "
        "orthonormal vectors span it, with entries {u} and {v} for the task, {length}. The squared entry of "
        "a vector, with components {alpha} and {beta}, is at most {p} times its squared length, and equals "
        "that for the projected axis.",
        (alpha**2 + beta**2) * (u**2 + v**2) - (alpha * u + beta * v) ** 2,
        ">=",
        form=(alpha * v - beta * u) ** 2,
        shown=p[i] * (alpha**2 + beta**2) - y[i] ** 2,
        p=p[i],
        i=i,
        u=u,
        v=v,
        length=sp.Eq(p[i], u**2 + v**2, evaluate=False),
        alpha=alpha,
        beta=beta,
    )
    step.say(
        "So the effective dimension tends to {X}, and the {p} are the diagonal of an orthogonal projector "
        "of rank {rank}: they lie between zero and one, and their sum is {rank}. All such numbers occur "
        "(Schur 1923, Horn 1954). One head more than tasks gives {one} for all.",
        X=dimension(sizes[i], p[i]),
        p=p[i],
        rank=heads - 1,
        one=sp.Eq(p[i], 1, evaluate=False),
    )
    _two_heads(step)
    _as_many_heads_as_tasks(step)


def _two_heads(step: Derivation) -> None:
    """Check the small-scale limit against the exact profile."""
    sizes = disjoint(2, 2)["sizes"]
    psi = sp.Matrix(2, 2, lambda h, b: sp.Symbol(f"psi_{h}_{b}", real=True))
    weights = [sizes[b] * (psi[0, b] - psi[1, b]) ** 2 for b in range(2)]
    share = weights[0] / (weights[0] + weights[1])
    values = epsilon * psi
    step.identity(
        "Two heads and two tasks, from the exact overlaps, for any KQ values {omega}. The space has one "
        "dimension, and the {p} are in the proportion of {weight}.",
        sp.Limit(1 / profile(values[:, 0], overlaps(values, sizes)), epsilon, 0),
        1 / dimension(sizes[0], share),
        shown=sp.Limit(1 / sp.Function("X_0")(epsilon), epsilon, 0),
        omega=sp.Eq(sp.Symbol("omega_h_b"), epsilon * sp.Symbol("psi_h_b"), evaluate=False),
        p=sp.Symbol("p_b"),
        weight=weights[0],
    )


def _as_many_heads_as_tasks(step: Derivation) -> None:
    """The projector in closed form when one vector is missing to a full space."""
    sizes = sp.symbols("d_:3", positive=True)
    c = sp.symbols("c_:3", real=True, nonzero=True)
    w = sp.symbols("omega_0_0 omega_1_0", real=True)
    values = sp.Matrix(2, 2, lambda h, b: (w[h], (1 - w[h] * c[0]) / c[1])[b])
    weights = [c[b] ** 2 / sizes[b] for b in range(3)]
    step.identity(
        "As many heads as tasks. Let {c} solve {ones} for every head. To first order the overlaps are, as "
        "matrices, {first}, and in the profile {Omega} cancels: the inverse effective dimension is a "
        "diagonal entry of the inverse of the bracket. For two tasks:",
        1 / profile(values[:, 0], sp.ones(2, 2) + values * sp.diag(*sizes[:2]) * values.T),
        (sp.diag(*sizes[:2]) + sp.Matrix(c[:2]) * sp.Matrix(c[:2]).T).inv()[0, 0],
        shown=1 / sp.Symbol("X_0"),
        c=sp.Symbol("c_b"),
        ones=sp.Eq(w[0] * c[0] + sp.Symbol("omega_0_1") * c[1], 1, evaluate=False),
        first=sp.MatrixSymbol("Omega", 2, 2)
        * (sp.MatrixSymbol("D", 2, 2) + sp.MatrixSymbol("c", 2, 1) * sp.MatrixSymbol("c", 2, 1).T)
        * sp.MatrixSymbol("Omega", 2, 2).T,
        Omega=sp.MatrixSymbol("Omega", 2, 2),
    )
    inverse = step.identity(
        "The inverse is that of Sherman and Morrison, here for three tasks.",
        (sp.diag(*sizes) + sp.Matrix(c) * sp.Matrix(c).T).inv()[0, 0],
        (1 - weights[0] / (1 + sum(weights))) / sizes[0],
        shown=1 / sp.Symbol("X_0"),
    )
    shrunk = inverse.subs({entry: entry / epsilon for entry in c}, simultaneous=True)
    share = 1 - weights[0] / sum(weights)
    step.identity(
        "At scale {epsilon} the solution is {c}. The space misses the one direction with entries {normal}.",
        sp.Limit(shrunk, epsilon, 0),
        1 / dimension(sizes[0], share),
        shown=sp.Limit(1 / sp.Function("X_0")(epsilon), epsilon, 0),
        epsilon=epsilon,
        c=sp.Symbol("c_b") / epsilon,
        normal=sp.Symbol("c_b") / sp.sqrt(sp.Symbol("d_b")),
    )
    p = sp.symbols("p_:3", positive=True)
    wanted = {c[b]: sp.sqrt(sizes[b] * (1 - p[b])) for b in range(3)}
    step.identity(
        "So any {p} between zero and one whose sum is one less than the number of heads can be had, with "
        "{c}.",
        share.subs(wanted).subs(p[2], 2 - p[0] - p[1]),
        p[0],
        shown=1 - sp.Symbol("c_0") ** 2 / sizes[0] / sp.Symbol("S"),
        p=sp.Symbol("p_b"),
        c=sp.Eq(sp.Symbol("c_b"), sp.sqrt(sp.Symbol("d_b") * (1 - sp.Symbol("p_b"))), evaluate=False),
    )


def _no_better(step: Derivation) -> None:
    """Two heads, small or not: their shares add up to one at most."""
    x = sp.Matrix(2, 2, lambda h, b: sp.Symbol(f"x_{h}_{b}", real=True))
    E, G, tau = sp.MatrixSymbol("E", 2, 2), sp.MatrixSymbol("G", 2, 2), sp.Symbol("tau")
    e = sp.Matrix(2, 2, sp.symbols("E_00 E_01 E_01 E_11", positive=True))
    columns = [x[:, b] for b in range(2)]
    p, q, r = sp.Symbol("p", nonnegative=True), sp.Symbol("q", nonnegative=True), sp.Symbol("r", real=True)
    scaled = sp.Eq(sp.Symbol("x_h_b"), sp.sqrt(sp.Symbol("d_b")) * sp.Symbol("omega_h_b"), evaluate=False)
    step.identity(
        "Heads that are not small. Let {share} be the share of a task, its size over its effective "
        "dimension: the lower bound says that it is below one. With {x}, and {G} for the matrix of the "
        "products of the heads' vectors, whose exponentials the overlaps {E} are, the shares add up to a "
        "trace, {tau}; here for two heads and two tasks.",
        sum((column.T * e.inv() * column)[0] for column in columns),
        tau,
        by=inserted({tau: (e.inv() * x * x.T).trace()}),
        shown=sp.Symbol("p_0") + sp.Symbol("p_1"),
        share=sp.Eq(sp.Symbol("p_i"), sp.Symbol("d_i") / sp.Symbol("X_i"), evaluate=False),
        x=scaled,
        G=G,
        E=E,
        tau=equal(tau, sp.Trace(sp.Inverse(E) * G)),
    )
    gram = sp.Matrix([[p, r], [r, q]])
    whole = gram.applyfunc(sp.exp)
    rest = whole - gram
    gap = sp.Symbol("Delta")
    step.identity(
        "Let {K}. For two heads, {p} and {q} being the squared lengths of their vectors and {r} the product, "
        "one less the sum of the shares is {Delta} over the determinant of the overlaps,",
        (1 - (whole.inv() * gram).trace()) * whole.det(),
        rest.det() - gram.det(),
        by=lambda difference: sp.expand(sp.simplify(difference)),
        how=_CANCELLED,
        shown=gap,
        K=equal(sp.MatrixSymbol("K", 2, 2), E - G),
        Delta=gap,
        p=p,
        q=q,
        r=r,
    )
    step.identity(
        "Its derivative in {r} is",
        sp.diff(rest.det() - gram.det(), r),
        -2 * sp.exp(r) * (sp.exp(r) - 1 - r),
        by=sp.expand,
        how=_CANCELLED,
        shown=sp.Derivative(gap, r),
        r=r,
    )
    step.minimum(
        "never positive: so {Delta} is least where {r} is largest,",
        sp.exp(r) - 1 - r,
        r,
        sp.Integer(0),
        Delta=gap,
        r=r,
    )
    m, n = sp.symbols("m n", real=True)
    step.identity(
        "which by the inequality of Cauchy and Schwarz is at {r}, with {p} and {q}. There the determinant of "
        "{G} vanishes, and that of {K} is left.",
        (rest.det() - gram.det()).subs({p: m**2, q: n**2, r: m * n}),
        (sp.exp(m**2) - m**2) * (sp.exp(n**2) - n**2) - (sp.exp(m * n) - m * n) ** 2,
        by=sp.expand,
        how=_CANCELLED,
        shown=gap,
        r=sp.Eq(r, m * n, evaluate=False),
        p=sp.Eq(p, m**2, evaluate=False),
        q=sp.Eq(q, n**2, evaluate=False),
        G=G,
        K=sp.MatrixSymbol("K", 2, 2),
    )
    j, k = sp.symbols("j k", integer=True, nonnegative=True)
    weight = sp.factorial(j) * sp.factorial(k)
    step.sign(
        "Written as series, without the terms of degree one, the products have for every pair of degrees "
        "{j} and {k} a square. So two heads never have more than one share.",
        (m ** (2 * j) * n ** (2 * k) + m ** (2 * k) * n ** (2 * j) - 2 * (m * n) ** (j + k)).subs(
            (m * n) ** (j + k), m**j * m**k * n**j * n**k
        )
        / weight,
        ">=",
        form=(m**j * n**k - m**k * n**j) ** 2 / weight,
        shown=sp.Function("Delta")(j, k),
        j=j,
        k=k,
    )


def _more_heads(step: Derivation) -> None:
    """Every further head adds one share at most."""
    e = sp.Matrix(2, 2, sp.symbols("E_00 E_01 E_01 E_11", real=True))
    column, corner = sp.Matrix(sp.symbols("e_0 e_1", real=True)), sp.Symbol("e_2", real=True)
    K = sp.Matrix(3, 3, lambda h, k: sp.Symbol(f"K_{min(h, k)}{max(h, k)}", real=True))
    whole = sp.Matrix.vstack(sp.Matrix.hstack(e, column), sp.Matrix([[*column, corner]]))
    y = sp.Matrix.vstack(-e.inv() * column, sp.ones(1, 1))
    k, s, traces = sp.Symbol("k"), sp.Symbol("s"), sp.symbols("theta_2 theta_3")
    named, grown = sp.MatrixSymbol("y", 3, 1), sp.MatrixSymbol("E", 3, 3)
    step.identity(
        "One head more, here a third. Let {theta}, {e} the new head's overlaps with the others, and {y}. The "
        "trace grows by a quotient of two quadratic forms, {k} and {s}.",
        traces[1] - traces[0],
        k / s,
        by=inserted(
            {
                traces[1]: (whole.inv() * K).trace(),
                traces[0]: (e.inv() * K[:2, :2]).trace(),
                k: (y.T * K * y)[0],
                s: (y.T * whole * y)[0],
            }
        ),
        theta=equal(
            sp.Symbol("theta"), sp.Trace(sp.Inverse(sp.MatrixSymbol("E", 2, 2)) * sp.MatrixSymbol("K", 2, 2))
        ),
        e=sp.MatrixSymbol("e", 2, 1),
        y=equal(
            named,
            sp.Tuple(-sp.Inverse(sp.MatrixSymbol("E", 2, 2)) * sp.MatrixSymbol("e", 2, 1), sp.Integer(1)),
        ),
        k=equal(k, sp.Transpose(named) * sp.MatrixSymbol("K", 3, 3) * named),
        s=equal(s, sp.Transpose(named) * grown * named),
    )
    heads, shares = sp.Symbol("H", integer=True, positive=True), sp.Symbol("p_i")
    step.say(
        "Neither form is negative, by the product theorem: entrywise {K} is a power series with positive "
        "coefficients, as {E} is. The trace is that of {one} less the sum of the shares. So from two heads "
        "on, where it is one at least, it never falls below one, and {H} heads have shares with {sum}, "
        "whatever their KQ values. Every set of shares up to one each that adds up to this is had by small "
        "heads, as above, and more share is less loss: no two heads or more, small or not, do better on "
        "disjoint tasks than small heads.",
        K=sp.exp(sp.Symbol("z")) - sp.Symbol("z"),
        E=sp.exp(sp.Symbol("z")),
        one=sp.Identity(heads),
        H=heads,
        sum=sp.Le(sp.Sum(shares, (sp.Symbol("i"), 1, sp.Symbol("I"))), heads - 1, evaluate=False),
    )


def _against_the_limit(step: Derivation) -> None:
    """The factor by which a head per task is worse than the best of as many heads."""
    g, r = sp.symbols("g r", positive=True)
    p, v = sp.Symbol("p", positive=True), sp.Function("v")
    quotient = v(sp.E * d) / v(d / p)
    length, phi = sp.Symbol("L", positive=True), sp.Symbol("phi", positive=True)
    step.identity(
        "The limit of a head per task against that: on a task of share {p} its loss is larger by a factor "
        "that depends on {p} and {g}.",
        (task_loss(1, phi, sp.E * d) / task_loss(1, phi, d / p)).subs(phi, length / (g * d)),
        limit_ratio(g, p),
        shown=quotient,
        p=p,
        g=sp.Eq(g, length / (phi * d), evaluate=False),
    )
    step.sign(
        "If the share is above {least} the factor is above one,",
        limit_ratio(g, 1 / sp.E + r) - 1,
        ">",
        form=g * r / (1 + g / sp.E),
        shown=quotient - 1,
        least=1 / sp.E,
    )
    step.sign(
        "and below {most}, which it approaches for long prompts.",
        sp.E * (1 / sp.E + r) - limit_ratio(g, 1 / sp.E + r),
        ">",
        form=sp.E * r / (1 + g / sp.E),
        shown=sp.E * p - quotient,
        most=sp.E * p,
    )
    count = sp.Symbol("I", integer=True, positive=True)
    more = sp.Symbol("j", integer=True, nonnegative=True)
    step.sign(
        "Equal tasks with as many heads have {share} each, above {least} from two tasks on, here for {I}.",
        (1 - 1 / (2 + more)) - sp.Rational(1, 2),
        ">=",
        form=more / (2 * (2 + more)),
        shown=p - sp.Rational(1, 2),
        share=sp.Eq(p, 1 - 1 / count, evaluate=False),
        least=1 / sp.E,
        I=sp.Eq(count, 2 + more, evaluate=False),
    )
    step.say(
        "A ratio of sums over the tasks lies between the least and the largest of their ratios. Equal shares "
        "are no better than the best ones: so with as many heads as tasks, two at least, the limit's loss "
        "without query noise is above that of the best attention with as many heads, by a factor below {e} "
        "times the largest of its shares; for equal tasks {equal}. With more heads the shares are one.",
        e=sp.E,
        equal=sp.E * (1 - 1 / count),
    )
