"""The Bayes risk of a task: ridge regression, its deterministic equivalent, its exact law for one block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import sympy as sp

from theory.algebra import equal, inserted
from theory.derivation import Derivation
from theory.symbols import L, a, d, kappa, s

_ROOT = sp.Symbol("sigma", positive=True)
_NOISE = _ROOT**2
_R = sp.Symbol("R", positive=True)
_Z = sp.MatrixSymbol("Z", L, d)  # for print; the proofs take small matrices of symbols


def fixed_point(
    risk: sp.Expr,
    powers: Sequence[sp.Expr],
    sizes: Sequence[sp.Expr],
    sigma2: sp.Expr,
    length: sp.Expr,
) -> sp.Expr:
    """Right side of the equation R = ... that the deterministic equivalent of the risk solves."""
    pairs = zip(powers, sizes, strict=True)
    return sum(power / (1 + length * power / (size * (sigma2 + risk))) for power, size in pairs)


def isotropic_risk(a: sp.Expr, d: sp.Expr, L: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The solution for one block."""
    middle = a - sigma2 - L * a / d
    return (middle + sp.sqrt(middle**2 + 4 * a * sigma2)) / 2


def continued_fraction(a: Sequence[sp.Expr], b: Sequence[sp.Expr], lam: sp.Expr) -> sp.Expr:
    """Value of lam [(lam + B^T B)^-1]_11 for bidiagonal B with ``a`` on the diagonal and ``b`` above it."""
    value = sp.Integer(1)
    for entry in reversed([*chain.from_iterable(zip_longest(a, b, fillvalue=sp.Integer(0)))]):
        value = 1 / (1 + entry**2 / lam * value)
    return value


def next_order(
    priors: Sequence[sp.Symbol], sizes: Sequence[sp.Expr], m: sp.Symbol, length: sp.Expr
) -> sp.Expr:
    """Excess of the risk over its equivalent, to relative order 1/d, with m = 1 / (sigma2 + R) there."""
    blocks = list(zip(priors, sizes, strict=True))
    gamma = length * m**2 * sum(size * w**2 / (1 + length * w * m) ** 2 for w, size in blocks)
    # 1/m - R(m, w) = sigma2 whatever the priors w: m follows them by implicit differentiation.
    sigma2 = 1 / m - sum(size * w / (1 + length * w * m) for w, size in blocks)
    total = 0
    for w in priors:
        m_by_w = -sp.diff(sigma2, w) / sp.diff(sigma2, m)
        total += w**2 * (sp.diff(gamma, w) + sp.diff(gamma, m) * m_by_w)
    return total / (2 * (1 - gamma))


def derive() -> Derivation:
    """From the posterior to the risk and its equivalent, its value for one block, and what is exact."""
    step = Derivation(
        "The Bayes risk",
        "Ridge regression as the posterior mean; deterministic equivalent as in Dicker (2016) and Dobriban "
        "and Wager (2018); bidiagonal form of a Gaussian matrix by Dumitriu and Edelman (2002).",
    )
    _posterior(step)
    _equivalent(step)
    _one_block(step)
    _exact_law(step)
    _correction(step)
    return step


def _posterior(step: Derivation) -> None:
    """Ridge regression is the posterior mean, and its risk does not depend on the covariance."""
    X, y, e = _matrix("x", 2, 2), _matrix("y", 2, 1), sp.Matrix(sp.symbols("e_1 e_2", real=True))
    v, kappas = sp.symbols("v_1 v_2", positive=True), sp.symbols("kappa_1 kappa_2", positive=True)
    power, size, k_b, v_b = sp.symbols("A_b d_b kappa_b v_b", positive=True)
    whole = sp.MatrixSymbol("X", L, d)
    answer, labels, prior = sp.MatrixSymbol("y", L, 1), sp.MatrixSymbol("g", d, 1), sp.MatrixSymbol("V", d, d)
    step.say(
        "The labels of a prompt are {model} plus noise of variance {noise}. The coefficients are Gaussian "
        "and independent; in a block of {size} coordinates of variance {k_b} that carry the power {power} "
        "each has variance {v_b}, an entry of the diagonal matrix {prior}.",
        model=whole * labels,
        noise=_NOISE,
        size=size,
        k_b=k_b,
        power=power,
        v_b=sp.Eq(v_b, power / (size * k_b)),
        prior=prior,
    )
    m, r = sp.Matrix(sp.symbols("m_1 m_2", real=True)), sp.symbols("r_1 r_2", real=True)
    normal = (X.T * X + sp.diag(*(_NOISE / x for x in v))) * m - X.T * y

    def energy(g: sp.Matrix) -> sp.Expr:
        residual = y - X * g
        return residual.dot(residual) / (2 * _NOISE) + sum(g[j] ** 2 / (2 * v[j]) for j in range(2))

    U, mean, away = sp.Function("U"), sp.MatrixSymbol("m", d, 1), sp.MatrixSymbol("e", d, 1)
    ridge = whole.T * whole + _NOISE * sp.Inverse(prior)
    spread = (X * e).dot(X * e) / (2 * _NOISE) + sum(e[j] ** 2 / (2 * v[j]) for j in range(2))
    step.identity(
        "Minus the log posterior, {U}, is half the squared residuals over {noise} plus half the squared "
        "coefficients over their variances. Around any point {m}, with {r}, for two pairs and two "
        "coordinates:",
        energy(m + e) - energy(m),
        spread + sum(r[j] * e[j] for j in range(2)) / _NOISE,
        by=inserted(dict(zip(r, normal, strict=True))),
        shown=U(mean + away) - U(mean),
        U=U(labels),
        noise=_NOISE,
        m=mean,
        r=equal(sp.MatrixSymbol("r", d, 1), ridge * mean - whole.T * answer),
    )
    S = sp.symbols("S_11 S_22", positive=True)
    q = sp.symbols("q_1 q_2", real=True)
    moments = {q[0] * q[1]: 0} | {q[j] ** 2: kappas[j] for j in range(2)}
    moments |= {e[j] ** 2: S[j] for j in range(2)}
    step.identity(
        "The posterior mean is where {r} vanishes: {ridge}, ridge regression with the penalty {penalty} on a "
        "coordinate, for one block {isotropic}. The posterior covariance is {S}. The posterior mean has the "
        "least mean squared error. (If the coefficients are not Gaussian it has the least among linear "
        "estimates, and the same value.) The error {e} costs at a query {q}, independent of it,",
        sp.expand((q[0] * e[0] + q[1] * e[1]) ** 2).subs(moments),
        kappas[0] * S[0] + kappas[1] * S[1],
        shown=sp.Function("mean")((q[0] * e[0] + q[1] * e[1]) ** 2),
        r=sp.MatrixSymbol("r", d, 1),
        ridge=equal(mean, sp.Inverse(ridge) * whole.T * answer),
        penalty=_NOISE / v_b,
        isotropic=d * kappa * _NOISE / a,
        S=equal(sp.MatrixSymbol("S", d, d), sp.Inverse(whole.T * whole / _NOISE + sp.Inverse(prior))),
        e=away,
        q=sp.Symbol("q"),
    )
    w_1, h_1 = sp.symbols("w_1 h_1", positive=True)
    Z = X * sp.diag(*(sp.sqrt(x) for x in v))
    step.identity(
        "Only the power counts, not the covariance. Let {Z}, whose entries in a block have the variance {w}; "
        "then the risk of the first coordinate, again for two, is its power times {h_1}, the first diagonal "
        "entry of {share}: the share of it that stays unexplained.",
        kappas[0] * S[0],
        w_1 * h_1,
        by=inserted(
            {
                S[0]: _corner(X.T * X / _NOISE + sp.diag(*(1 / x for x in v))),
                h_1: _NOISE * _corner(_NOISE * sp.eye(2) + Z.T * Z),
                w_1: kappas[0] * v[0],
            }
        ),
        Z=equal(_Z, whole * sp.MatPow(prior, sp.Rational(1, 2))),
        w=sp.Eq(sp.Symbol("w"), power / size),
        h_1=h_1,
        share=_NOISE * sp.Inverse(_NOISE * sp.Identity(d) + _Z.T * _Z),
    )


def _equivalent(step: Derivation) -> None:
    """The risk for many pairs and coordinates, and below which attention it lies."""
    Z = _matrix("z", 2, 3)
    first, rest = Z[:, 0], Z[:, 1:]
    without = _NOISE * sp.eye(2) + rest * rest.T
    left, right = _NOISE * sp.eye(3) + Z.T * Z, _NOISE * sp.eye(2) + Z * Z.T
    shares = sp.symbols("h_1:4", positive=True)
    Q, w, tau = sp.symbols("Q w tau", positive=True)
    column, others = sp.MatrixSymbol("z", L, 1), sp.MatrixSymbol("Y", L, d - 1)
    resolvent = sp.Inverse(_NOISE * sp.Identity(L) + others * others.T)
    step.identity(
        "Leave one out: let {z} be the first column of {Z}, {Y} the others, and {Q}. For two pairs and three "
        "coordinates:",
        shares[0],
        1 / (1 + Q),
        by=inserted(
            {
                shares[0]: _NOISE * _corner(left),
                Q: (first.T * without.adjugate() * first)[0] / without.det(),
            }
        ),
        z=column,
        Z=_Z,
        Y=others,
        Q=equal(Q, column.T * resolvent * column),
    )
    z = sp.symbols("z_1 z_2", real=True)
    M = sp.Matrix(2, 2, sp.symbols("M_11 M_12 M_12 M_22", real=True))
    white = {z[0] * z[1]: 0} | {x**2: w for x in z}
    step.identity(
        "The column is independent of the matrix in this form, {M}; in a block where its entries have the "
        "variance {w} the mean of the form over the column is a trace:",
        sp.expand((sp.Matrix([z]) * M * sp.Matrix(z))[0]).subs(white),
        w * M.trace(),
        shown=sp.Function("mean")((sp.Matrix([z]) * M * sp.Matrix(z))[0]),
        M=equal(sp.MatrixSymbol("M", L, L), resolvent),
        w=w,
    )
    full = sp.Inverse(_NOISE * sp.Identity(L) + _Z * _Z.T)
    step.say(
        "Here the one assumption enters, self-averaging for many pairs and coordinates: the form {Q} may be "
        "replaced by its mean, and in that the one column more or less is ignored, {trace} with {tau}. The "
        "risk changes by a relative order of one over the dimension. The rest is algebra.",
        Q=Q,
        trace=sp.Eq(Q, w * tau),
        tau=equal(tau, sp.Trace(full)),
    )
    step.identity(
        "The trace and the shares determine each other; for two pairs and three coordinates:",
        _NOISE * tau,
        L - d + sum(shares),
        by=inserted(
            {
                tau: right.adjugate().trace() / right.det(),
                L: sp.Integer(2),
                d: sp.Integer(3),
                shares[1]: _NOISE * left.minor(1, 1) / left.det(),
                shares[2]: _NOISE * left.minor(2, 2) / left.det(),
                shares[0]: _NOISE * _corner(left),
            }
        ),
    )
    step.identity(
        "With {share} what is explained of a coordinate is {tau} times its risk {risk},",
        1 - 1 / (1 + w * tau),
        tau * (w / (1 + w * tau)),
        share=sp.Eq(sp.Symbol("h"), 1 / (1 + w * tau)),
        tau=tau,
        risk=w / (1 + w * tau),
    )
    A, size = sp.symbols("A_b d_b", positive=True)
    step.identity(
        "so {sum}, where {R} is the risk of all coordinates, and {tau}. The part of a block is",
        size * w / (1 + w * tau),
        fixed_point(_R, [A], [size], _NOISE, L),
        by=inserted({w: A / size, tau: L / (_NOISE + _R)}),
        shown=sp.Symbol("R_b"),
        sum=sp.Eq(_NOISE * tau, L - tau * _R),
        R=_R,
        tau=sp.Eq(tau, L / (_NOISE + _R)),
    )
    term = fixed_point(_R, [A], [size], _NOISE, L)
    step.sign(
        "and {R} is the sum of these over the blocks: an equation for {R}. Every term of its right side is "
        "positive, where {R} vanishes too, but less than the power,",
        A - term,
        ">",
        form=A * L * A / (size * (_NOISE + _R) + L * A),
        shown=A - sp.Symbol("R_b"),
        R=_R,
    )
    step.sign(
        "and concave in {R}: the equation has exactly one solution.",
        sp.diff(term, _R, 2),
        "<",
        form=-2 * A * (L * A / size) / (_NOISE + _R + L * A / size) ** 3,
        shown=sp.Derivative(sp.Symbol("R_b"), (_R, 2)),
        R=_R,
    )
    gap = sp.Symbol("delta", nonnegative=True)
    step.sign(
        "Attention does not get there: for large {L} decomposable heads leave of a block at least {bound} "
        "(see the lower bound), the same with the label variance {s} in the place of {inner}. The sum of the "
        "powers is no less than {R}, hence {s_is} with {gap} not negative, and",
        A / (1 + L * A / (size * (_NOISE + _R + gap))) - term,
        ">=",
        form=A * (L * A / size) * gap / ((_NOISE + _R + L * A / size) * (_NOISE + _R + gap + L * A / size)),
        shown=A / (1 + L * A / (s * size)) - sp.Symbol("R_b"),
        L=L,
        bound=A / (1 + L * A / (s * size)),
        s=s,
        inner=_NOISE + _R,
        R=_R,
        s_is=sp.Eq(s, _NOISE + _R + gap),
        gap=gap,
    )


def _one_block(step: Derivation) -> None:
    """The equation solved for one block, and the limits of the solution."""
    risk, R = isotropic_risk(a, d, L, _NOISE), sp.Symbol("R")
    right = fixed_point(_R, [a], [d], _NOISE, L)
    step.identity(
        "For one block, of power {a}, the equation is quadratic with a negative constant term:",
        (_R - right) * (_R + _NOISE + L * a / d),
        _R**2 - (a - _NOISE - L * a / d) * _R - a * _NOISE,
        a=a,
    )
    step.identity(
        "the larger root is the positive one. It solves the equation {equation}.",
        fixed_point(risk, [a], [d], _NOISE, L),
        risk,
        shown=R,
        equation=sp.Eq(_R, right),
    )
    more = sp.Symbol("k", positive=True)
    step.identity(
        "Without noise, with fewer pairs than coordinates, {more}, there remain the directions that no pair "
        "has shown,",
        sp.limit(risk.subs(L, d - more), _ROOT, 0),
        a * more / d,
        shown=sp.Limit(R, _ROOT, 0),
        more=sp.Eq(more, d - L),
    )
    step.identity(
        "and with more pairs, {more}, nothing.",
        sp.limit(risk.subs(L, d + more), _ROOT, 0),
        sp.Integer(0),
        shown=sp.Limit(R, _ROOT, 0),
        more=sp.Eq(more, L - d),
    )
    step.identity(
        "At {equal} the risk is of the order of the noise's standard deviation, not of its variance.",
        sp.limit(risk.subs(L, d) / _ROOT, _ROOT, 0),
        sp.sqrt(a),
        shown=sp.Limit(R / _ROOT, _ROOT, 0),
        equal=sp.Eq(L, d),
    )
    step.identity(
        "For long prompts it is the variance of least squares,",
        sp.limit(L * risk, L, sp.oo),
        d * _NOISE,
        shown=sp.Limit(L * R, L, sp.oo, "-"),
    )
    bound = a / (1 + L * a / (s * d))
    step.identity(
        "which no decomposable attention reaches under the asymptotic loss: its bound is higher by the ratio "
        "of label to noise variance, for averaging takes the signal of the other coordinates for noise.",
        sp.limit(bound / risk, L, sp.oo),
        s / _NOISE,
        shown=sp.Limit(bound / R, L, sp.oo, "-"),
    )


def _exact_law(step: Derivation) -> None:
    """The share of one block at finite size: a continued fraction of independent chi-square variables."""
    lam, h, k = sp.Symbol("lambda", positive=True), sp.symbols("h_1 h_turned", positive=True), sp.Symbol("k")
    X = sp.MatrixSymbol("X", L, d)
    step.say(
        "For one block the risk is known exactly. All coordinates are alike and it is {risk}, by the mean "
        "over the prompts of the first diagonal entry {h} of {share}, with {X} standard normal and "
        "{penalty}.",
        risk=a * sp.Function("mean")(h[0]),
        h=h[0],
        share=lam * sp.Inverse(lam * sp.Identity(d) + X.T * X),
        X=X,
        penalty=sp.Eq(lam, d * _NOISE / a),
    )
    # A rotation in rational form, so that no trigonometric simplification is needed.
    tangent = sp.Symbol("u", real=True)
    cosine, sine = (1 - tangent**2) / (1 + tangent**2), 2 * tangent / (1 + tangent**2)
    turn = sp.diag(1, sp.Matrix([[cosine, -sine], [sine, cosine]]))
    gram = sp.Matrix(3, 3, lambda i, j: sp.Symbol(f"G_{min(i, j) + 1}{max(i, j) + 1}", real=True))
    step.identity(
        "Multiplying {X} by an orthogonal matrix from the left leaves {gram} as it is. So does one from the "
        "right leave {h}, if it keeps the first column; for three coordinates, of which the second and third "
        "are turned:",
        h[1],
        h[0],
        by=inserted({h[0]: lam * _corner(gram), h[1]: lam * _corner(turn.T * gram * turn)}),
        X=X,
        gram=X.T * X,
        h=h[0],
    )
    step.say(
        "So take reflections in turn: from the left one that clears the first column below its first entry, "
        "from the right one that clears the first row beyond its second, then the same for the rest. Each "
        "depends on one column or row alone, so that the rest stays normal and independent of it. There "
        "remains a bidiagonal matrix of independent entries, {alpha} on the diagonal and {beta} above it, "
        "whose squares are chi-square variables with {down} and {across} degrees of freedom.",
        alpha=sp.Symbol("alpha_k"),
        beta=sp.Symbol("beta_k"),
        down=L - k + 1,
        across=d - k,
    )
    alpha = sp.symbols("alpha_1:4", nonnegative=True)
    beta = sp.symbols("beta_1:3", nonnegative=True)
    B = sp.Matrix([[alpha[0], beta[0], 0], [0, alpha[1], beta[1]], [0, 0, alpha[2]]])
    step.identity(
        "Leave out the first column, which has one entry, then the first row of the rest, which has one "
        "entry, and so on until the degrees of freedom are used up: by leaving one out as above, each adds a "
        "storey to a continued fraction. For three pairs and three coordinates:",
        h[0],
        continued_fraction(alpha, beta, lam),
        by=inserted({h[0]: lam * _corner(lam * sp.eye(3) + B.T * B)}),
    )
    f = sp.Symbol("f", positive=True)
    step.identity(
        "For many pairs and coordinates the entries no longer fluctuate, nor vary along the first storeys: "
        "with the squares {L} and {d} the fraction repeats, {f} of {f}. At {f_is} that is the equation from "
        "above, by another way.",
        a * continued_fraction([sp.sqrt(L)], [sp.sqrt(d * f)], d * _NOISE / a).subs(f, _R / a),
        fixed_point(_R, [a], [d], _NOISE, L),
        shown=a * continued_fraction([sp.sqrt(L)], [sp.sqrt(d * f)], lam),
        L=L,
        d=d,
        f=f,
        f_is=sp.Eq(f, _R / a),
    )


def _correction(step: Derivation) -> None:
    """The next order for blocks of unequal prior variance, where no exact law is at hand."""
    X = _matrix("x", 2, 2)
    w = sp.symbols("w_1 w_2", positive=True)
    F, r_1, m = sp.Function("F"), sp.Symbol("r_1", positive=True), sp.Symbol("m", positive=True)
    log_det = sp.log((sp.eye(2) + X * sp.diag(*w) * X.T / _NOISE).det())
    exact = _NOISE * _corner(
        _NOISE * sp.eye(2) + sp.diag(*map(sp.sqrt, w)) * X.T * X * sp.diag(*map(sp.sqrt, w))
    )
    step.identity(
        "For blocks of unequal prior variance the next order follows from {F}, which generates the risk of a "
        "coordinate, that of the first of two by",
        r_1,
        w[0] - w[0] ** 2 * sp.Derivative(F(*w), w[0]),
        by=lambda e: sp.cancel(sp.together(e.subs({r_1: w[0] * exact, F(*w): log_det}).doit())),
        F=sp.Eq(sp.Symbol("F"), sp.log(sp.Determinant(sp.Identity(L) + _Z * _Z.T / _NOISE))),
    )
    A, size, w_b, gamma = sp.symbols("A_b d_b w_b gamma", positive=True)
    step.identity(
        "Let {gamma} be the slope of the right side of the equation at its solution, below one since it is "
        "concave and starts positive. With {m} and {w} a block contributes",
        sp.diff(fixed_point(_R, [A], [size], _NOISE, L), _R),
        size * L * m**2 * w_b**2 / (1 + L * m * w_b) ** 2,
        by=lambda e: sp.simplify(e.subs({m: 1 / (_NOISE + _R), w_b: A / size})),
        shown=sp.Symbol("gamma_b"),
        gamma=gamma,
        m=sp.Eq(m, 1 / (_NOISE + _R)),
        w=sp.Eq(w_b, A / size),
    )
    one, share = sp.symbols("w h", positive=True)
    smooth = d * sp.log(1 + L * m * one) - L * sp.log(_NOISE * m) + L * (_NOISE * m - 1)
    step.identity(
        "The equivalent of {F}, {smooth} for one block of prior {w}, is stationary in {m} by the equation,",
        sp.diff(smooth, m),
        L * (d * one / (1 + L * m * one) + _NOISE - 1 / m),
        shown=sp.Derivative(sp.Symbol("F_0"), m),
        F=sp.Symbol("F"),
        smooth=sp.Eq(sp.Symbol("F_0"), smooth),
        w=one,
        m=m,
    )
    step.identity(
        "and generates the equivalent of the risk in the same way, now for the whole block.",
        d * one - one**2 * sp.diff(smooth, one),
        d * one / (1 + L * m * one),
        shown=d * one - one**2 * sp.Derivative(sp.Symbol("F_0"), one),
    )
    step.identity(
        "The mean of {F} over real normal matrices differs from {F_0} by {excess} to next order (Bai and "
        "Silverstein 2004, taken from there without proof). So the risk differs from {R} by {sum}, summed "
        "over the blocks, where {m} follows the priors. For one block, with {h}, that is",
        next_order([one], [d], m, L),
        gamma / (1 - gamma) * one * share * (1 - gamma * share / ((1 - gamma) * (1 - share))),
        by=inserted({share: 1 / (1 + L * m * one), gamma: L * m**2 * d * one**2 / (1 + L * m * one) ** 2}),
        shown=sp.Symbol("R_1"),
        F=sp.Symbol("F"),
        F_0=sp.Symbol("F_0"),
        R=_R,
        excess=sp.log(1 - gamma) / 2,
        sum=w_b**2 * sp.Derivative(gamma, w_b) / (2 * (1 - gamma)),
        m=m,
        h=sp.Eq(share, 1 / (1 + L * m * one)),
    )


def _corner(of: sp.Matrix) -> sp.Expr:
    """First diagonal entry of the inverse, by Cramer's rule."""
    return of.minor(0, 0) / of.det()


def _matrix(name: str, rows: int, columns: int) -> sp.Matrix:
    """A matrix of real symbols whose entries are numbered from 1, as the coordinates are in print."""
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}_{i + 1}{j + 1}", real=True))
