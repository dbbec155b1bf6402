"""The loss of decomposable softmax attention to second order in one over the length, at any dimension."""

from __future__ import annotations

from itertools import product

import sympy as sp

from theory.algebra import limit_at_zero, over_line
from theory.derivation import Derivation
from theory.multitask import first_order, small_heads
from theory.multitask.first_order import At, mean, product_of_values
from theory.multitask.loss import symbols
from theory.symbols import L, kappa

alpha, beta, gamma = sp.symbols("alpha beta gamma", real=True)  # variances of two heads' logits, covariance
v = sp.Symbol("v", real=True)  # kappa omega of a head
s_i = sp.Symbol("s", positive=True)  # variance of the labels of a task, signal and noise
P, X = sp.symbols("P X", cls=sp.Function)  # means over the query, `power` and `moment`


def overlap(a: sp.Expr, b: sp.Expr, g: sp.Expr) -> sp.Expr:
    """Mean overlap of two heads' attention, a, b and g being the exponentials of alpha, beta and gamma."""
    return g / L * (1 + (a + b + g - g * (a + b) - 1) / L)


def read_off(alpha: sp.Expr, along: sp.Expr) -> sp.Expr:
    """The coefficient of 1/L^2 in what a head reads off."""
    return 2 * X(3 * alpha, along) - 3 * X(2 * alpha, along) + X(alpha, along)


def product_of_outputs(alpha: sp.Expr, beta: sp.Expr, gamma: sp.Expr, s: sp.Expr) -> sp.Expr:
    """The coefficient of 1/L^2 in the mean product of what two heads put out."""
    total = s * (P(2 * gamma) - P(gamma)) + X(alpha + beta, gamma) + 2 * X(2 * gamma, gamma) - X(gamma, gamma)
    for one in (alpha, beta):
        total += s * (P(one + gamma) - P(one + 2 * gamma)) + read_off(one, gamma)
        total += X(one + gamma, gamma) - 2 * X(one + 2 * gamma, gamma)
        total += 2 * (X(one + gamma, one) - X(one + 2 * gamma, one))
    return total


def power(at: At, w: list[sp.Expr]) -> sp.Expr:
    """P: the mean over the query of e^(sum_b w_b chi_b), chi_b the chi-squares of its blocks."""
    return sp.prod((1 - 2 * one) ** (-d / 2) for one, d in zip(w, at["sizes"], strict=True))


def moment(at: At, i: int, w: list[sp.Expr], along: list[sp.Expr]) -> sp.Expr:
    """X: the mean over the query of sum_b A_ib along_b chi_b / d_b e^(sum_b w_b chi_b)."""
    parts = zip(at["powers"][i, :], w, along, strict=True)
    return power(at, w) * sum(signal * one / (1 - 2 * exponent) for signal, exponent, one in parts)


def averaged(formula: sp.Expr, at: At, i: int, h: int, k: int) -> sp.Expr:
    """A formula in `alpha`, `beta`, `gamma`, `v`, `s_i`, P and X at two heads and a task."""
    blocks = range(at["omega"].shape[1])
    pairs = {alpha: (h, h), beta: (k, k), gamma: (h, k)}
    values = [{name: product_of_values(at, *pair, b) for name, pair in pairs.items()} for b in blocks]

    def inserted(value: sp.Expr) -> list[sp.Expr]:
        return [value.subs(values[b] | {v: at["kappas"][b] * at["omega"][h, b]}) for b in blocks]

    formula = formula.subs(s_i, sum(at["powers"][i, :]) + at["noises"][i])
    formula = formula.replace(X, lambda w, along: moment(at, i, inserted(w), inserted(along)))
    return formula.replace(P, lambda w: power(at, inserted(w)))


def coefficient(at: At) -> list[sp.Expr]:
    """The coefficient of 1/L^2 in the loss of every task, on the matrices of `loss.symbols`."""
    (heads, tasks), mu = at["mu"].shape, at["mu"]
    alone, together = read_off(alpha, v), product_of_outputs(alpha, beta, gamma, s_i)
    return [
        sum(mu[h, i] * mu[k, i] * averaged(together, at, i, h, k) for h, k in product(range(heads), repeat=2))
        - 2 * sum(mu[h, i] * averaged(alone, at, i, h, h) for h in range(heads))
        for i in range(tasks)
    ]


def derive() -> Derivation:
    """Outputs by overlaps of the attention, these to second order, the mean over the query, small heads."""
    step = Derivation(
        "The second order of the context",
        "Derived here. Decomposable weights, Gaussian covariates, coefficients of mean zero: the term of the "
        "loss of softmax attention that the first-order law leaves out first, at any fixed dimension.",
    )
    _outputs(step)
    _overlap(step)
    _loss(step)
    _small_heads(step)
    return step


m, p = sp.symbols("m_h m_k", real=True)  # their tilted means of a coordinate, kappa u and kappa v
Q = sp.IndexedBase("Q")  # Q[i, j] is the sum over pairs of p_l^i r_l^j
ALONG_BOTH = (1 - Q[2, 0]) * (1 - Q[0, 2]) + Q[1, 1] - Q[2, 1] - Q[1, 2] + Q[1, 1] ** 2
ALONG_ONE = Q[1, 1] * Q[2, 0] - Q[2, 1]
ALONG_OTHER = Q[1, 1] * Q[0, 2] - Q[1, 2]

_pairs = sp.symbols("p_l r_l p_m r_m", positive=True)


def _along(function: sp.Expr, pair: int) -> sp.Expr:
    """The derivative of a function of two pairs' weights along the covariate of one, times kappa."""
    total = sp.Integer(0)
    for place, weight in enumerate(_pairs):
        own = weight * (int(place // 2 == pair) - _pairs[2 * pair + place % 2])
        total += (m, p)[place % 2] * own * sp.diff(function, weight)
    return total


def _over_pairs(function: sp.Expr) -> sp.Expr:
    """The sum over pairs l and m of a polynomial in their weights, over l alone of one in those of l."""
    total = sp.Integer(0)
    for degrees, factor in sp.Poly(function, *_pairs).terms():
        sums = [Q[degrees[:2]], Q[degrees[2:]]]
        total += factor * sp.prod(one for one in sums if one not in (Q[0, 0], Q[1, 0], Q[0, 1]))
    return total


def _outputs(step: Derivation) -> None:
    """What heads put out, in one coordinate, by overlaps of their attention: exact at any length."""
    x, u, v = sp.symbols("x u v", real=True)
    own, other, rest = sp.symbols("s_l s_m R", positive=True)
    first, r_first, second, r_second = _pairs
    density = sp.exp(-(x**2) / (2 * kappa)) / sp.sqrt(2 * sp.pi * kappa)
    step.identity(
        "Given the query, let the logits of two heads have the weights {u} and {v} in a coordinate of "
        "variance {kappa}. Its density has the derivative",
        sp.diff(density, x),
        -x / kappa * density,
        shown=sp.Derivative(sp.Function("f")(x), x),
        u=u,
        v=v,
        kappa=kappa,
    )
    step.say(
        "so that, by parts, the coordinate of a pair times any function has the mean of {kappa} times its "
        "derivative by that coordinate.",
        kappa=kappa,
    )
    softmax = sp.exp(own) / (sp.exp(own) + sp.exp(other) + rest)
    step.identity(
        "The heads weight the pairs by {first} and {r}, the softmax of their logits. The derivative of "
        "{first} by another logit, the exponentials of the others adding up to {rest}:",
        sp.diff(softmax, other),
        -softmax * softmax.subs({own: other, other: own}, simultaneous=True),
        shown=-first * second,
        first=first,
        r=r_first,
        rest=rest,
    )
    step.identity(
        "and by its own:",
        sp.diff(softmax, own),
        softmax * (1 - softmax),
        shown=first * (1 - first),
    )
    step.identity(
        "Write {Q} for the sum over the pairs of {product}. A head puts out of the coordinate, with {m_is},",
        _over_pairs(_along(first, 0)),
        m * (1 - Q[2, 0]),
        shown=mean(sp.Symbol("f_h")),
        how="the derivatives above, and the sums over the pairs; the weights of a head add up to one",
        Q=Q[sp.symbols("i j")],
        product=first ** sp.Symbol("i") * r_first ** sp.Symbol("j"),
        m_is=sp.Eq(m, kappa * u, evaluate=False),
    )
    apart = _along(_along(first * r_second, 1), 0)
    together = _along(_along(first * r_first, 0), 0)
    once = together - apart.subs({second: first, r_second: r_first}, simultaneous=True)
    step.identity(
        "Two heads: by parts twice, for the covariates of two pairs and for that of one, which has another "
        "{kappa}. The mean product of what they put out is the mean of",
        kappa * _over_pairs(first * r_first) + _over_pairs(apart) + _over_pairs(sp.expand(once)),
        kappa * Q[1, 1] + m * p * ALONG_BOTH + 2 * m**2 * ALONG_ONE + 2 * p**2 * ALONG_OTHER,
        shown=mean(sp.Symbol("f_h") * sp.Symbol("f_k")),
        how="twice the derivatives above, for different pairs and the same one, and the sums over the pairs",
        kappa=kappa,
    )


def _moment(i: sp.Expr, j: sp.Expr) -> sp.Expr:
    """The mean of w^i z^j of one pair."""
    half = sp.Rational(1, 2)
    return sp.exp(half * i * (i - 1) * alpha + half * j * (j - 1) * beta + i * j * gamma)


def _leading(overlaps: sp.Expr) -> sp.Expr:
    """A sum of products of overlaps Q[i, j], each replaced by its value at leading order."""
    values = {one: _moment(*one.indices) / L ** (sum(one.indices) - 1) for one in overlaps.atoms(sp.Indexed)}
    return overlaps.subs(values)


def _overlap(step: Derivation) -> None:
    """The overlaps to second order."""
    x, u, v = sp.symbols("x u v", real=True)
    i, j = sp.symbols("i j", positive=True, integer=True)
    density = sp.exp(-(x**2) / (2 * kappa)) / sp.sqrt(2 * sp.pi * kappa)
    w, z = sp.symbols("w_h w_k", positive=True)
    parts = {alpha: kappa * u**2, beta: kappa * v**2, gamma: kappa * u * v}
    step.identity(
        "The overlaps are ratios of sums over independent pairs. Divide the exponentials of the logits by "
        "their means, and call them {w} and {z}. The mean of a product of powers, in one coordinate:",
        sp.powsimp(
            over_line(sp.exp((i * u + j * v) * x) * density, x)
            / sp.exp(i * kappa * u**2 / 2 + j * kappa * v**2 / 2)
        ),
        _moment(i, j).subs(parts),
        shown=mean(w**i * z**j),
        w=w,
        z=z,
    )
    step.define(
        "Coordinates are independent: with the variances {alpha} and {beta} of the logits and their "
        "covariance {gamma}, over all coordinates,",
        mean(w**i * z**j),
        _moment(i, j),
        alpha=alpha,
        beta=beta,
        gamma=gamma,
    )
    step.identity(
        "Sums are the number of pairs times the means, but for deviations that are smaller by the root of "
        "{L}. So at leading order {Q} is not random,",
        L * _moment(i, j) / L ** (i + j),
        _moment(i, j) / L ** (i + j - 1),
        shown=Q[i, j],
        Q=Q[i, j],
        L=L,
    )
    order, delta, epsilon = sp.symbols("c delta epsilon", real=True)
    ratio = 1 / ((1 + order * delta) * (1 + order * epsilon))
    taylor = step.identity(
        "{Q} is needed to the next order too. Let the means over the pairs of {w} and {z} be {one} and "
        "{other}; {order} keeps count of deviations. To second order the inverse of their product is",
        sp.series(ratio, order, 0, 3).removeO(),
        1 - order * (delta + epsilon) + order**2 * (delta**2 + delta * epsilon + epsilon**2),
        shown=ratio,
        how="the Taylor polynomial; products of more deviations have means of second order in 1 / L",
        Q=Q[1, 1],
        w=w,
        z=z,
        one=1 + delta,
        other=1 + epsilon,
        order=order,
    )
    exact = _mean_over_pairs(w * z * taylor.subs(order, 1), w, z, delta, epsilon)
    cut = sum(sp.expand(exact).coeff(L, -n) / L**n for n in range(2)) / L
    tilts = [sp.exp(one) for one in (alpha, beta, gamma)]
    step.identity(
        "All pairs have the same mean of {product} over the means. In it a deviation has the pair's own "
        "{part} and those of the others, independent of it, of mean zero and with {others}, and so on. So "
        "the mean overlap is, but for third order,",
        cut,
        overlap(*tilts),
        shown=mean(Q[1, 1]),
        how="every product of powers replaced by its mean, and what is of third order left out",
        product=w * z,
        part=(w - 1) / L,
        others=sp.Eq(mean(delta**2), (L - 1) / L**2 * (sp.exp(alpha) - 1), evaluate=False),
    )
    own, other = (overlap(one, one, one) for one in tilts[:2])
    step.identity(
        "A head with itself, {same}: it reads off, in units of the tilted mean,",
        1 - overlap(*tilts).subs({beta: alpha, gamma: alpha}),
        1 - sp.exp(alpha) / L + (2 * sp.exp(3 * alpha) - 3 * sp.exp(2 * alpha) + sp.exp(alpha)) / L**2,
        shown=mean(1 - Q[2, 0]),
        same=sp.Eq(gamma, alpha, evaluate=False),
    )
    products = sp.expand(ALONG_BOTH) - (1 - Q[2, 0] - Q[0, 2] + Q[1, 1])
    step.identity(
        "The rest is needed at leading order alone. Along the means of both heads,",
        1 - own - other + overlap(*tilts) + _leading(products),
        _both(*tilts),
        shown=mean(ALONG_BOTH),
        how="products of overlaps and those with three weights at leading order, the others to second order",
    )
    step.identity(
        "and along the mean of one,",
        _leading(ALONG_ONE),
        _one(sp.exp(alpha), sp.exp(gamma)),
        shown=mean(ALONG_ONE),
        how="at leading order",
    )


def _mean_over_pairs(
    value: sp.Expr, w: sp.Symbol, z: sp.Symbol, delta: sp.Symbol, epsilon: sp.Symbol
) -> sp.Expr:
    """The mean of a polynomial in one pair's weights and the deviations of the means over all, exact."""
    one, two = sp.symbols("delta' epsilon'", real=True)  # parts of the deviations from the other pairs
    others = (L - 1) / L**2
    second = {
        (0, 0): sp.Integer(1),
        (1, 0): sp.Integer(0),
        (0, 1): sp.Integer(0),
        (2, 0): others * (sp.exp(alpha) - 1),
        (0, 2): others * (sp.exp(beta) - 1),
        (1, 1): others * (sp.exp(gamma) - 1),
    }
    inserted = value.subs({delta: (w - 1) / L + one, epsilon: (z - 1) / L + two})
    terms = sp.Poly(sp.expand(inserted), w, z, one, two).terms()
    return sum(factor * _moment(*degrees[:2]) * second[degrees[2:]] for degrees, factor in terms)


def _both(a: sp.Expr, b: sp.Expr, g: sp.Expr) -> sp.Expr:
    """Mean product of outputs along the means of both heads, from exponentials as in `overlap`."""
    read = 1 - overlap(a, a, a) - overlap(b, b, b) + a * b / L**2
    return read + overlap(a, b, g) + g**2 * (1 - a - b) / L**2


def _one(a: sp.Expr, g: sp.Expr) -> sp.Expr:
    """Mean product along the mean of one head, from exponentials."""
    return g * (a - a * g) / L**2


def _loss(step: Derivation) -> None:
    """Two heads, two blocks, one task: the squared error by overlaps, averaged over the query."""
    at = symbols(2, 2, 1)
    omega, mu, sizes, kappas, powers = (at[key] for key in ("omega", "mu", "sizes", "kappas", "powers"))
    chi, variance = sp.symbols("chi_:2", positive=True), sum(powers) + at["noises"][0]
    tilts = sp.Matrix(2, 2, lambda h, k: sp.Symbol(f"e_{min(h, k)}_{max(h, k)}", positive=True))  # e^gamma
    pairs = [(h, k) for h in range(2) for k in range(2)]

    def along(parts: list[sp.Expr]) -> sp.Expr:
        return sum(powers[b] * chi[b] / sizes[b] * parts[b] for b in range(2))

    def of_pair(h: int, k: int) -> sp.Expr:
        return along([product_of_values(at, h, k, b) for b in range(2)])

    reads = [
        (1 - overlap(*[tilts[h, h]] * 3)) * along([kappas[b] * omega[h, b] for b in range(2)])
        for h in range(2)
    ]
    outputs = {
        (h, k): variance * overlap(tilts[h, h], tilts[k, k], tilts[h, k])
        + of_pair(h, k) * _both(tilts[h, h], tilts[k, k], tilts[h, k])
        + 2 * of_pair(h, h) * _one(tilts[h, h], tilts[h, k])
        + 2 * of_pair(k, k) * _one(tilts[k, k], tilts[h, k])
        for h, k in pairs
    }
    f, y = sp.symbols("f_:2"), sp.Symbol("y")
    step.say(
        "Two heads, two blocks, one task. Coordinates add up, each with the mean square of its coefficient; "
        "the query has in its blocks the squared norms {norm} and so on with chi-squares {chi}, and head 0 "
        "the variance {alpha} of its logits.",
        norm=kappas[0] * chi[0],
        chi=chi[0],
        alpha=sum(product_of_values(at, 0, 0, b) * chi[b] for b in range(2)),
    )
    step.define(
        "So what head 0 puts out has with the target, given the query, the mean product, {e} being "
        "{exponential},",
        mean(f[0] * y),
        reads[0],
        e=tilts[0, 0],
        exponential=sp.exp(sp.Symbol("alpha_0")),
    )
    step.define(
        "and with that of head 1, the noise of the labels adding to the overlap alone,",
        mean(f[0] * f[1]),
        outputs[0, 1],
    )

    exponentials = {tilts[h, k]: (h, k) for h, k in pairs if h <= k}

    def order(value: sp.Expr, n: int) -> sp.Expr:
        return _over_query(sp.expand(value).coeff(L, -n), at, chi, exponentials)

    error = along([sp.Integer(1)] * 2) + at["noises"][0]
    error += sum(mu[h] * mu[k] * outputs[h, k] for h, k in pairs) - 2 * sum(
        mu[h] * reads[h] for h in range(2)
    )
    step.define(
        "The means over the query are those of the first-order law, the exponents {w} of several "
        "exponentials adding up. That of their product is",
        P(sp.Symbol("w")),
        power(at, sp.symbols("w_:2")),
        w=sp.Symbol("w_b") * sp.Symbol("chi_b"),
    )
    step.define(
        "and with a signal along {along} before it,",
        X(sp.Symbol("w"), sp.Symbol("o")),
        moment(at, 0, sp.symbols("w_:2"), sp.symbols("o_:2")),
        along=sp.Symbol("o"),
    )
    step.identity(
        "Averaged, the squared error is to first order in one over the length the first-order law.",
        order(error, 0) + order(error, 1) / L,
        first_order.task_losses(at)[0],
        by=lambda gap: sp.expand(gap.subs(L, 1 / sp.Symbol("x"))),
        shown=sp.Symbol("loss_0"),
        how="every product replaced by its mean, and what is of second order left out",
    )
    read, made = read_off(alpha, v), product_of_outputs(alpha, beta, gamma, s_i)
    step.identity(
        "The coefficients of the second order. In what a head reads off, with {v} for {value} in its blocks,",
        order(reads[0], 2),
        read,
        by=lambda gap: sp.expand(averaged(gap, at, 0, 0, 1)),
        shown=sp.Symbol("r_h"),
        how="every product replaced by its mean, at head 0",
        v=v,
        value=sp.Symbol("kappa_b") * sp.Symbol("omega_h_b"),
    )
    step.identity(
        "and in the mean product of two heads, {s} being the variance of the labels,",
        order(outputs[0, 1], 2),
        made,
        by=lambda gap: sp.expand(averaged(gap, at, 0, 0, 1)),
        shown=sp.Symbol("t_h_k"),
        how="every product replaced by its mean, at heads 0 and 1",
        s=s_i,
    )
    r, t = sp.symbols("r_:2"), {pair: sp.Symbol("t_{}_{}".format(*pair)) for pair in pairs}
    step.identity(
        "That makes the coefficient of the second order in the loss:",
        coefficient(at)[0],
        sum(mu[h] * mu[k] * t[h, k] for h, k in pairs) - 2 * sum(mu[h] * r[h] for h in range(2)),
        by=lambda gap: sp.expand(
            gap.subs({r[h]: order(reads[h], 2) for h in range(2)}).subs(
                {t[pair]: order(outputs[pair], 2) for pair in pairs}
            )
        ),
        shown=sp.Symbol("S_0"),
        how="every product replaced by its mean, heads with themselves included",
    )
    one, other = sp.symbols("v_h v_k", real=True)
    step.sign(
        "In a block the largest exponents are {own} of a head alone and {both} of a pair. That is at most "
        "{between}, a mean of the {own} of the two heads, by",
        (2 * one**2 + other**2) - (one**2 + 2 * one * other),
        ">=",
        form=(one - other) ** 2,
        own=3 * alpha,
        both=alpha + 2 * gamma,
        between=2 * alpha + beta,
    )
    n = sp.Symbol("n", positive=True, integer=True)
    step.identity(
        "so the coefficient exists while every {u} is less than one sixth, a third of what the first-order "
        "law needs. The term of order {n} has the mean power",
        _moment(n + 1, sp.Integer(0)),
        sp.exp(n * (n + 1) / 2 * alpha),
        shown=mean(sp.Symbol("w_h") ** (n + 1)),
        u=sp.Symbol("u_h_h_b"),
        n=n,
    )
    step.say(
        "and needs {u} less than one over {times}: at a given state the series has finitely many terms. What "
        "they leave out is of higher order for every query; that it is so on average is not shown.",
        u=sp.Symbol("u_h_h_b"),
        times=n * (n + 1),
    )


def _over_query(
    value: sp.Expr, at: At, chi: tuple[sp.Symbol, ...], exponentials: dict[sp.Symbol, tuple[int, int]]
) -> sp.Expr:
    """The mean over the query of a sum whose terms have any exponentials and one chi-square at most."""
    total = sp.Integer(0)
    for degrees, factor in sp.Poly(sp.expand(value), *exponentials, *chi).terms():
        times, blocks = degrees[: len(exponentials)], degrees[len(exponentials) :]
        assert sum(blocks) <= 1
        powers = list(zip(exponentials.values(), times, strict=True))
        w = [sum(n * product_of_values(at, *pair, b) for pair, n in powers) for b in range(len(chi))]
        tilt = power(at, w)
        for one, size, n in zip(w, at["sizes"], blocks, strict=True):
            tilt *= (size / (1 - 2 * one)) ** n
        total += factor * tilt
    return total


def _small_heads(step: Derivation) -> None:
    """The limit of small heads, of which the loss is known at any length."""
    at, T, scale = symbols(2, 1, 1), sp.Symbol("T", real=True), sp.Symbol("epsilon", positive=True)
    (size,), (eigenvalue,), (signal,), (noise,) = (at[k] for k in ("sizes", "kappas", "powers", "noises"))
    small = {at["omega"][0]: scale / eigenvalue, at["omega"][1]: -scale / eigenvalue}
    small |= {at["mu"][0]: T / (2 * scale), at["mu"][1]: -T / (2 * scale)}
    exact = sp.expand(small_heads.loss(T, signal, signal + noise, size)).coeff(L, -2)
    step.identity(
        "Small heads are a test, their loss being known at any length. Two heads of opposite signs that "
        "together read off {T} of a block:",
        limit_at_zero(coefficient(at)[0].subs(small), scale, 2),
        exact,
        shown=sp.Limit(sp.Symbol("S_0"), scale, 0),
        T=T,
    )
