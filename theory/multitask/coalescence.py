"""Heads that coalesce: what they read off and at which noise, in the limit."""

from __future__ import annotations

import sympy as sp

from theory.algebra import limit_at_zero
from theory.derivation import Derivation
from theory.multitask.loss import symbols, task_losses
from theory.multitask.single_head import dimensions, read_off
from theory.symbols import L, a, d, phi, task_loss

epsilon = sp.Symbol("epsilon", positive=True)  # distance of the heads from their base


def features(b: sp.Matrix, basis: sp.Matrix) -> sp.Matrix:
    """What the units of alpha and of beta along the rows of ``basis`` (H - 1, B) read off: (H, B) of them.

    ``b`` (B, 1) is the base. For an orthonormal basis the noise is `noise` times alpha^2 + |beta|^2.
    """
    projected = basis * (sp.eye(b.rows) - b * b.T)
    return sp.Matrix.vstack(b.T, projected)


def noise(b: sp.Matrix) -> sp.Expr:
    """Noise of a unit of alpha, or of beta along a unit vector: exp(b . b)."""
    return sp.exp(b.dot(b))


def derive() -> Derivation:
    """The limit of heads that coalesce, from the exact overlaps; then its special cases."""
    step = Derivation(
        "Heads that coalesce",
        "Derived here. Decomposable weights under the asymptotic loss, any covariance. What such heads cost "
        "in the limit; that for disjoint tasks no two heads or more do better than those that coalesce at "
        "zero is proved with the head budget. Of tasks that overlap nothing is said.",
    )
    _coordinates(step)
    _limit(step, 2)
    _limit(step, 3)
    _reached(step)
    _special(step)
    _small(step)
    return step


def _coordinates(step: Derivation) -> None:
    """The loss in terms of w = sqrt(d) kappa omega."""
    at = symbols(2, 2, 1)
    w = sp.Matrix(2, 2, lambda h, b: sp.Symbol(f"w_{h}_{b}", real=True))
    mu, powers, variance = at["mu"][:, 0], at["powers"], sum(at["powers"]) + at["noises"][0]
    scaled = {
        at["omega"][h, b]: w[h, b] / (sp.sqrt(at["sizes"][b]) * at["kappas"][b])
        for h in range(2)
        for b in range(2)
    }
    read = w.T * mu
    form = sum(mu[h] * mu[k] * sp.exp(w[h, :].dot(w[k, :])) for h in range(2) for k in range(2))
    step.identity(
        "Let {w}, the vector of head h being {w_h}. The loss of a task knows the weights through what the "
        "heads read off together, {read}, and through the quadratic form {noise} of the overlaps "
        "{overlap}. Here for two heads and two blocks:",
        task_losses(at)[0].subs(scaled),
        sum(powers[0, b] * (1 - read[b] / sp.sqrt(at["sizes"][b])) ** 2 for b in range(2))
        + variance / L * form
        + at["noises"][0],
        shown=sp.Symbol("loss_0"),
        w=sp.Eq(w[0, 0], sp.sqrt(at["sizes"][0]) * at["kappas"][0] * at["omega"][0, 0], evaluate=False),
        w_h=sp.Symbol("w_h"),
        read=sp.Eq(sp.Symbol("y_b"), sp.Symbol("mu_0") * w[0, 0] + sp.Symbol("mu_1") * w[1, 0]),
        noise=sp.Symbol("N"),
        overlap=sp.exp(sp.Symbol("w_h") * sp.Symbol("w_k")),
    )


def _weights(heads: int) -> tuple[sp.Matrix, sp.Matrix, sp.Matrix, sp.Expr, sp.Matrix]:
    """Base, directions and coefficients of sum zero; alpha, and beta, the combination of the directions."""
    base = sp.Matrix(2, 1, lambda b, _: sp.Symbol(f"b_{b}", real=True))
    nu = sp.Matrix(heads, 2, lambda h, b: sp.Symbol(f"nu_{h}_{b}", real=True))
    shares = sp.Matrix(heads, 1, lambda h, _: sp.Symbol(f"beta_{h}", real=True))
    for matrix in (nu, shares):  # the last row balances the others
        matrix[-1, :] = -sum((matrix[h, :] for h in range(heads - 1)), sp.zeros(1, matrix.cols))
    return base, nu, shares, sp.Symbol("alpha", real=True), nu.T * shares


def _limit(step: Derivation, heads: int) -> None:
    """The map read off and the noise as the heads approach the base."""
    base, nu, shares, alpha, beta = _weights(heads)
    w = sp.Matrix(heads, 2, lambda h, b: base[b] + epsilon * nu[h, b])
    part = sp.Matrix(heads, 1, lambda h, _: alpha / heads + shares[h] / epsilon)
    mu = sp.Matrix(heads, 1, lambda h, _: sp.exp(-epsilon * base.dot(nu[h, :])) * part[h])
    target = base * alpha + (sp.eye(2) - base * base.T) * beta
    limit, how = sp.Limit(sp.Symbol("y_0"), epsilon, 0), "the Laurent series in epsilon: no negative powers"
    form = sum(
        mu[h] * mu[k] * sp.exp(w[h, :].dot(w[k, :]) - base.dot(base))
        for h in range(heads)
        for k in range(heads)
    )
    if heads == 2:
        step.say(
            "Let the heads be {w}, with directions {nu} that sum to zero over the heads, and their OV "
            "values {mu}, with {shares} that sum to zero as well; {beta} is the sum over the heads of "
            "{terms}. These are all OV values, in other names. Then {epsilon} tends to zero.",
            w=sp.Eq(sp.Symbol("w_h"), sp.Symbol("b") + epsilon * sp.Symbol("nu_h"), evaluate=False),
            nu=sp.Symbol("nu_h"),
            mu=sp.Eq(
                sp.Symbol("mu_h"),
                sp.exp(-epsilon * sp.Symbol("b") * sp.Symbol("nu_h"))
                * (alpha / sp.Symbol("H") + sp.Symbol("beta_h") / epsilon),
                evaluate=False,
            ),
            shares=sp.Symbol("beta_h"),
            beta=sp.Symbol("beta"),
            terms=sp.Symbol("beta_h") * sp.Symbol("nu_h"),
            epsilon=epsilon,
        )
    step.identity(
        "Two heads. What they read off in the first block:"
        if heads == 2
        else "And three heads, whose {beta} is any vector in the span of the directions:",
        limit_at_zero((w.T * mu)[0], epsilon, 1),
        target[0],
        shown=limit,
        how=how,
        **({} if heads == 2 else {"beta": sp.Symbol("beta")}),
    )
    step.identity(
        "In matrices that is {vector}, and by symmetry the same in every block. The noise, over {factor}:"
        if heads == 2
        else "The noise is again {factor} times the sum of squares.",
        limit_at_zero(form, epsilon, 2),
        alpha**2 + beta.dot(beta),
        shown=sp.Limit(sp.Symbol("N") * sp.exp(-base.dot(base)), epsilon, 0),
        how=how,
        factor=noise(base),
        vector=sp.Eq(
            sp.MatrixSymbol("y", 2, 1),
            alpha * sp.MatrixSymbol("b", 2, 1)
            + (sp.Identity(2) - sp.MatrixSymbol("b", 2, 1) * sp.MatrixSymbol("b", 2, 1).T)
            * sp.MatrixSymbol("beta", 2, 1),
            evaluate=False,
        ),
    )


def _reached(step: Derivation) -> None:
    """No OV values do better in the limit: at every epsilon the noise is above its limit."""
    base, nu, shares, alpha, _ = _weights(2)
    square = nu[0, :].dot(nu[0, :])
    w = sp.Matrix(2, 2, lambda h, b: base[b] + epsilon * nu[h, b])
    mu = [sp.exp(-epsilon * base.dot(nu[h, :])) * (alpha / 2 + shares[h] / epsilon) for h in range(2)]
    form = sum(
        mu[h] * mu[k] * sp.exp(w[h, :].dot(w[k, :]) - base.dot(base)) for h in range(2) for k in range(2)
    )
    x = sp.Symbol("x", positive=True)
    step.identity(
        "At any {epsilon} the noise of two heads, over {factor}, has a closed form,",
        form,
        alpha**2 * sp.cosh(epsilon**2 * square)
        + 4 * shares[0] ** 2 / epsilon**2 * sp.sinh(epsilon**2 * square),
        by=lambda gap: sp.simplify(sp.expand(sp.expand(gap).rewrite(sp.exp), power_exp=True)),
        how="hyperbolic functions written as exponentials",
        shown=sp.Symbol("N") * sp.exp(-base.dot(base)),
        epsilon=epsilon,
        factor=noise(base),
    )
    step.sign(
        "and is above its limit, for with {x} the first term exceeds {alpha} by {alpha} times",
        sp.cosh(x) - 1,
        ">",
        form=2 * sp.sinh(x / 2) ** 2,
        x=sp.Eq(x, epsilon**2 * sp.Symbol("nu") ** 2, evaluate=False),
        alpha=alpha**2,
    )
    step.say(
        "and {sinh} exceeds {x} (see the head budget). For any number of heads the lower bound says the "
        "same: with {mu} the parts of degree zero and one of {overlap} are {limit}, and the others are "
        "squares. So {alpha} and {beta} stay bounded where the loss does, and if the directions are "
        "independent but for their sum, the least loss over the OV values tends to the least over {alpha} "
        "and {beta} of the limit. The base and the span of the directions are all it depends on.",
        sinh=sp.sinh(x),
        x=x,
        mu=alpha / sp.Symbol("H") + sp.Symbol("beta_h") / epsilon,
        overlap=sp.exp(epsilon**2 * sp.Symbol("nu_h") * sp.Symbol("nu_k")),
        limit=alpha**2 + sp.Symbol("beta") ** 2,
        alpha=alpha,
        beta=sp.Symbol("beta"),
    )


def _special(step: Derivation) -> None:
    """One head, and the map of coalescing heads in the form in which it is searched."""
    base = sp.Matrix(2, 1, lambda b, _: sp.Symbol(f"b_{b}", real=True, nonzero=True))
    omega, sizes = sp.symbols("omega_:2", real=True, nonzero=True), sp.symbols("d_:2", positive=True)
    scaled = dict(zip(base, [sp.sqrt(sizes[b]) * omega[b] for b in range(2)], strict=True))
    alone = features(base, sp.zeros(0, 2))
    step.identity(
        "One head has no directions and reads off {read}. For disjoint tasks its effective dimension is the "
        "noise over the squared fraction of the signal, that of a single head.",
        (noise(base) / (alone[0, 0] / sp.sqrt(sizes[0])) ** 2).subs(scaled),
        dimensions(list(omega), list(sizes))[0],
        shown=sp.Symbol("X_0"),
        read=sp.Symbol("alpha") * sp.Symbol("b"),
    )
    nu = sp.Matrix(1, 2, sp.symbols("nu_0_0 nu_0_1", real=True))
    alpha, beta = sp.symbols("alpha beta_0", real=True)
    y = features(base, nu).T * sp.Matrix([alpha, beta])
    step.identity(
        "With an orthonormal basis of the span, here one vector, {beta} has one coefficient per vector; a "
        "vector reads off its part, less its share along the base times the base.",
        y[0],
        alpha * base[0] + beta * (nu[0] - nu.dot(base) * base[0]),
        shown=sp.Symbol("y_0"),
        beta=sp.Symbol("beta"),
    )


def _small(step: Derivation) -> None:
    """At b = 0: the small heads of the head budget, and their loss on disjoint tasks."""
    zero, basis = sp.zeros(3, 1), sp.Matrix(2, 3, lambda r, b: sp.Symbol(f"u_{r}_{b}", real=True))
    alpha, beta = sp.Symbol("alpha", real=True), sp.symbols("beta_:2", real=True)
    step.identity(
        "At the base zero the heads are small. Then {alpha} reads off nothing, so that it is best zero and "
        "the OV values sum to zero, and the rest reads off {beta} itself, at the noise of its square: the "
        "small heads of the head budget. With two directions in three blocks:",
        (features(zero, basis).T * sp.Matrix([alpha, *beta]))[0] * noise(zero),
        beta[0] * basis[0, 0] + beta[1] * basis[1, 0],
        shown=sp.Symbol("y_0"),
        alpha=alpha,
        beta=sp.Symbol("beta"),
    )
    u, v = sp.symbols("u v", real=True)
    T, p = sp.Symbol("T", real=True), sp.Symbol("p", positive=True)
    step.sign(
        "Disjoint tasks. A task of size {d} on block {b} wants much of {fraction} at little noise. Let {p} "
        "be the squared length of the projection of the axis of its block on the span, {length} for the two "
        "vectors: the noise is at least {least}, and just that along the projected axis.",
        (beta[0] ** 2 + beta[1] ** 2) * (u**2 + v**2) - (beta[0] * u + beta[1] * v) ** 2,
        ">=",
        form=(beta[0] * v - beta[1] * u) ** 2,
        shown=p * sp.Symbol("N") - d * T**2,
        d=d,
        b=sp.Symbol("b"),
        fraction=sp.Eq(T, sp.Symbol("y_b") / sp.sqrt(d), evaluate=False),
        p=p,
        length=sp.Eq(p, u**2 + v**2, evaluate=False),
        least=d * T**2 / p,
    )
    loss = a * (1 - T) ** 2 + a * phi / L * d * T**2 / p
    step.minimum("That leaves a loss in {T}.", loss, T, read_off(d / p, phi), T=T)
    step.identity(
        "So the loss of the limit is the sum over the tasks of {v}, without query noise, with the {p} on the "
        "diagonal of an orthogonal projector: between zero and one, of sum {rank}, the number of directions.",
        loss.subs(T, read_off(d / p, phi)),
        task_loss(a, phi, d / p),
        shown=sp.Symbol("loss_i") - sp.Symbol("sigma_i") ** 2,
        v=sp.Function("v")(sp.Symbol("d_i") / sp.Symbol("p_i")),
        p=sp.Symbol("p_i"),
        rank=sp.Symbol("H") - 1,
    )
    step.say(
        "Heads come as close to this value as they like, so it bounds the infimum over {H} heads from above, "
        "with the best {p}. With more heads than tasks every {p} is one, and the lower bound meets it. With "
        "fewer, no {H} heads, two or more, do better (see the head budget).",
        H=sp.Symbol("H"),
        p=sp.Symbol("p_i"),
    )
