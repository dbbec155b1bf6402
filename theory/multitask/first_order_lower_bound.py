"""The noise below which no decomposable attention can go to first order: that of one gradient step."""

from __future__ import annotations

from itertools import product

import sympy as sp

from theory.algebra import limit_at_zero
from theory.derivation import Derivation
from theory.multitask import gradient_step
from theory.multitask.first_order import bias, fluctuation, residual, task_losses
from theory.multitask.loss import symbols
from theory.symbols import L, X, a, d, phi, s


def least_noise(power: sp.Expr, variance: sp.Expr, size: sp.Expr) -> sp.Expr:
    """The least sum_hk mu_h mu_k N_hk of heads that read off the whole of one block: s d + A."""
    return variance * size + power


def pair_dimension(value: sp.Expr, size: sp.Expr, ratio: sp.Expr) -> sp.Expr:
    """Effective dimension of one task under opposite KQ values: (N(w^2) - N(-w^2)) / (2 s w^2)."""
    u = value**2

    def one(u: sp.Expr) -> sp.Expr:
        return (1 - 2 * u) ** (-size / 2) * (1 + u / ((1 - 2 * u) * ratio))

    return (one(u) - one(-u)) / (2 * u)


def derive() -> Derivation:
    """Covariances exceed their part of first order; what bounds the loss, and how it is approached."""
    step = Derivation(
        "The lower bound to first order",
        "Derived here, as the lower bound under the asymptotic loss. Decomposable weights under the "
        "first-order law, to leading order in one over the length: weights that converge as the length "
        "grows, to some in the range of the law.",
    )
    _series(step)
    _squares(step)
    _loss(step)
    _strict(step)
    _pair(step)
    return step


def _series(step: Derivation) -> None:
    """The covariance of two heads as a power series in the products of their KQ values."""
    u, power, rest = sp.Symbol("u", real=True), sp.Symbol("c", positive=True), sp.Symbol("g", positive=True)
    base = 1 - 2 * u
    step.identity(
        "The covariance of two heads is made of powers {power} with {u} the product of their KQ values in a "
        "block. The derivative of one is another, times a positive number.",
        sp.diff(base**-power, u),
        2 * power * base ** (-power - 1),
        shown=sp.Derivative(base**-power, u),
        power=base**-power,
        u=u,
    )
    step.sign(
        "So all its derivatives at zero are positive: it is a power series with positive coefficients.",
        2 * power * rest ** (-power - 1),
        ">",
        shown=sp.Derivative(base**-power, u),
    )
    at = symbols(2, 2, 1)
    us, sizes, powers = sp.symbols("u_:2", real=True), at["sizes"], at["powers"]
    variance = sp.Symbol("s_0", positive=True)
    values = {at["omega"][h, b]: 1 if h else us[b] for h, b in product(range(2), repeat=2)}
    values |= {at["kappas"][b]: 1 for b in range(2)} | {at["noises"][0]: variance - sum(powers)}
    whole = fluctuation(at, 0, 1, 0).subs(values)
    named = sp.Function("N")(*us)
    overlap = sp.prod((1 - 2 * one) ** (-size / 2) for one, size in zip(us, sizes, strict=True))
    step.identity(
        "Products and sums of such series have no negative coefficients either. The covariance is one of "
        "them in the products {first} and {second} of two blocks:",
        whole,
        overlap * (variance + sum(powers[b] * us[b] / (1 - 2 * us[b]) for b in range(2))),
        shown=named,
        first=us[0],
        second=us[1],
    )
    for words, value, expected, shown in (
        ("Its part of degree zero is the variance of the labels,", whole, variance, named),
        (
            "and that of degree one has, in every block, the variance times the size and the signal:",
            sp.diff(whole, us[0]),
            least_noise(powers[0], variance, sizes[0]),
            sp.Derivative(named, us[0]),
        ),
    ):
        at_zero = dict.fromkeys(us, 0)
        step.identity(words, value.subs(at_zero), expected, shown=sp.Subs(shown, us, (0, 0)))


def _squares(step: Derivation) -> None:
    """The noise is a sum of squares, of which the first order bounds it."""
    n, m = sp.symbols("n m", integer=True, nonnegative=True)
    mu, v = sp.symbols("mu_:2", real=True), sp.Matrix(2, 2, lambda h, b: sp.Symbol(f"v_{h}_{b}", real=True))
    coefficient, part = sp.Symbol("c_n_m", nonnegative=True), sp.Function("N")
    pairs = list(product(range(2), repeat=2))
    term = sum(mu[h] * mu[k] * (v[h, 0] * v[k, 0]) ** n * (v[h, 1] * v[k, 1]) ** m for h, k in pairs)
    root = sum(mu[h] * v[h, 0] ** n * v[h, 1] ** m for h in range(2))
    step.sign(
        "The noise of several heads, here of two with the values {v} in the blocks, is the sum over the "
        "degrees of squares with these coefficients: this is the product theorem of Schur (1911).",
        coefficient * term,
        ">=",
        form=coefficient * root**2,
        shown=part(n, m),
        v=sp.Eq(v[0, 0], sp.Symbol("kappa_0") * sp.Symbol("omega_0_0"), evaluate=False),
    )
    T = sp.Symbol("T_0")
    step.identity(
        "The square of degree one in a block is that of the fraction {T} of its signal that the heads read "
        "off. So the noise is at least the sum over the blocks of {least}, whatever the number of heads.",
        term.subs({n: 1, m: 0}),
        (mu[0] * v[0, 0] + mu[1] * v[1, 0]) ** 2,
        shown=T**2,
        T=T,
        least=(sp.Symbol("s_0") * sp.Symbol("d_b") + sp.Symbol("A_0_b")) * sp.Symbol("T_b") ** 2,
    )


def _loss(step: Derivation) -> None:
    """What that means for the loss: one gradient step."""
    at, T = symbols(2, 2, 1), sp.Symbol("T", real=True)
    noise = sum(
        at["mu"][h, 0] * at["mu"][k, 0] * fluctuation(at, h, k, 0) for h, k in product(range(2), repeat=2)
    )
    signal = sum(at["powers"][0, b] * residual(at, 0, b) ** 2 for b in range(2))
    named = sp.Symbol("loss_0") - sp.Symbol("sigma_0") ** 2
    step.identity(
        "The loss of a task, here on two blocks, is made of what is not read off, of the noise {N}, and of "
        "the biases {C}.",
        task_losses(at)[0] - at["noises"][0] - signal - (noise + bias(at, 0)) / L,
        sp.Integer(0),
        shown=named
        - sum(sp.Symbol(f"A_0_{b}") * sp.Symbol(f"R_0_{b}") ** 2 for b in range(2))
        - (sp.Symbol("N") + sp.Symbol("C")) / L,
        N=sp.Symbol("N"),
        C=sp.Symbol("C"),
    )
    step.identity(
        "Weights that leave anything of the signal lose it at every length. If what they leave vanishes, "
        "so do the biases, which are proportional to it. To leading order the loss is then what is left and "
        "the noise, and in every block these are at least the loss of a gradient step that reads off {T},",
        a * (1 - T) ** 2 + least_noise(a, s, d) * T**2 / L,
        gradient_step.loss(T, a, s, d),
        shown=sp.Symbol("loss_b"),
        T=T,
    )
    step.identity(
        "and so by that of the optimal gradient step. To leading order it is in every block, for a task with "
        "signal in it,",
        sp.limit(L * gradient_step.loss(gradient_step.step(d, s / a), a, s, d), L, sp.oo),
        least_noise(a, s, d),
        shown=sp.Limit(L * sp.Symbol("loss_b"), L, sp.oo, "-"),
    )
    step.identity(
        "For a task with one block this is the effective dimension {step}, one coordinate at most above the "
        "asymptotic bound {d}: to leading order no decomposable attention is better than the optimal "
        "gradient step, at any dimension.",
        least_noise(a, phi * a, d) / (phi * a),
        gradient_step.dimension(d, phi),
        shown=X,
        step=sp.Eq(X, gradient_step.dimension(d, phi)),
        d=sp.Eq(X, d),
    )


def _strict(step: Derivation) -> None:
    """Equality is for no heads."""
    v = sp.symbols("v_:3", real=True)
    powers = sp.Matrix(3, 3, lambda degree, head: v[head] ** (degree + 2))
    step.identity(
        "The bound is not attained. In one block, let the values {v} of the heads differ from each other "
        "and from zero. Equality takes OV values for which all squares of degree two and more vanish. For "
        "three heads the first three are equations with the determinant below, which is not zero, so that "
        "nothing is read off. Heads with equal values act as one, and the value zero reads off nothing.",
        powers.det(),
        sp.prod(one**2 for one in v) * (v[1] - v[0]) * (v[2] - v[0]) * (v[2] - v[1]),
        shown=sp.Determinant(powers),
        v=v[0],
    )


def _pair(step: Derivation) -> None:
    """Two small heads of opposite signs approach it."""
    at, w, x = symbols(2, 1, 1), sp.Symbol("w", positive=True), sp.Symbol("epsilon", positive=True)
    values = {at["omega"][0]: w / at["kappas"][0], at["omega"][1]: -w / at["kappas"][0]}
    values |= {at["mu"][0]: 1 / (2 * w), at["mu"][1]: -1 / (2 * w)}
    noise = sum(
        at["mu"][h, 0] * at["mu"][k, 0] * fluctuation(at, h, k, 0) for h, k in product(range(2), repeat=2)
    )
    one_task = {at["powers"][0]: a, at["noises"][0]: (phi - 1) * a, at["sizes"][0]: d}
    named = sp.Function("X")
    step.identity(
        "But it is approached. Two heads with KQ values {w} and {minus} times {kappa}, and OV values that "
        "together read off the whole, have the effective dimension",
        noise.subs(values).subs(one_task) / (phi * a),
        pair_dimension(w, d, phi),
        shown=named(w),
        w=w,
        minus=-w,
        kappa=1 / at["kappas"][0],
    )
    bound = gradient_step.dimension(d, phi)
    step.identity(
        "which tends to the bound for small heads,",
        limit_at_zero(pair_dimension(x, d, phi), x, 2),
        bound,
        shown=sp.Limit(named(w), w, 0),
    )
    step.sign(
        "from above, to fourth order.",
        limit_at_zero((pair_dimension(x, d, phi) - bound) / x**4, x, 6),
        ">",
        form=(d + 2) * (d + 4) * (d + 3 / phi) / 6,
        shown=sp.Limit((named(w) - bound) / w**4, w, 0),
    )
