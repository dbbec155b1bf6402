"""The loss of decomposable softmax attention to first order in one over the length, at any dimension."""

from __future__ import annotations

from itertools import product

import sympy as sp

from theory.algebra import over_line
from theory.derivation import Derivation
from theory.multitask.loss import kernel, symbols
from theory.symbols import L, kappa

At = dict[str, sp.Matrix]


def product_of_values(at: At, h: int, k: int, b: int) -> sp.Expr:
    """u_hkb = kappa_b^2 omega_hb omega_kb."""
    return at["kappas"][b] ** 2 * at["omega"][h, b] * at["omega"][k, b]


def overlap(at: At, h: int, k: int) -> sp.Expr:
    """P_hk = prod_b (1 - 2 u_hkb)^(-d_b / 2), in the place of the overlap E_hk of large dimensions."""
    blocks = range(at["omega"].shape[1])
    return sp.prod((1 - 2 * product_of_values(at, h, k, b)) ** (-at["sizes"][b] / 2) for b in blocks)


def fluctuation(at: At, h: int, k: int, i: int) -> sp.Expr:
    """N_hk,i = P_hk (s_i + sum_b A_ib u_hkb / (1 - 2 u_hkb)): the covariance of two heads, times L."""
    powers = at["powers"][i, :]
    u = [product_of_values(at, h, k, b) for b in range(len(powers))]
    more = sum(power * one / (1 - 2 * one) for power, one in zip(powers, u, strict=True))
    return overlap(at, h, k) * (sum(powers) + at["noises"][i] + more)


def residual(at: At, i: int, b: int) -> sp.Expr:
    """R_ib = 1 - kappa_b sum_h mu_hi omega_hb, what the heads together fail to read off."""
    return 1 - at["kappas"][b] * at["mu"][:, i].dot(at["omega"][:, b])


def bias(at: At, i: int) -> sp.Expr:
    """C_i = 2 sum_h mu_hi P_hh sum_b A_ib kappa_b omega_hb R_ib / (1 - 2 u_hhb), times L like the others."""
    heads, blocks = at["omega"].shape
    return 2 * sum(
        at["mu"][h, i]
        * overlap(at, h, h)
        * at["powers"][i, b]
        * at["kappas"][b]
        * at["omega"][h, b]
        * residual(at, i, b)
        / (1 - 2 * product_of_values(at, h, h, b))
        for h, b in product(range(heads), range(blocks))
    )


def task_losses(at: At) -> list[sp.Expr]:
    """The loss of every task, query noise included, on the matrices of `theory.multitask.loss.symbols`."""
    (heads, blocks), tasks = at["omega"].shape, at["mu"].shape[1]
    losses = []
    for i in range(tasks):
        signal = sum(at["powers"][i, b] * residual(at, i, b) ** 2 for b in range(blocks))
        noise = sum(
            at["mu"][h, i] * at["mu"][k, i] * fluctuation(at, h, k, i)
            for h, k in product(range(heads), repeat=2)
        )
        losses.append(signal + (noise + bias(at, i)) / L + at["noises"][i])
    return losses


def derive() -> Derivation:
    """Tilted moments, ratios of sums, means over the query, the loss, and its limit in large blocks."""
    step = Derivation(
        "The first-order law of the context",
        "Derived here. Decomposable weights, Gaussian covariates, coefficients of mean zero: the loss of "
        "softmax attention up to terms of second order in one over the length, at any fixed dimension.",
    )
    _tilt(step)
    _ratio(step)
    _query(step)
    _loss(step)
    _small_residual(step)
    _large_dimension(step)
    return step


mean = sp.Function("mean")
m, p, y = sp.symbols("m_h m_k y", real=True)  # tilted means of the label under two heads, and the label
alpha, gamma = sp.symbols("alpha gamma", real=True)  # variance of a head's logits, covariance of two heads'
S = sp.Symbol("S", positive=True)  # variance of a label, given the coefficients


def _tilt(step: Derivation) -> None:
    """What two heads make of one pair, given the query and the coefficients."""
    x, u, v, g, r = sp.symbols("x u v g r", real=True)
    w, z = sp.symbols("w_h w_k", positive=True)
    density = sp.exp(-(x**2) / (2 * kappa)) / sp.sqrt(2 * sp.pi * kappa)
    generating = sp.Function("M")
    step.say(
        "Given the query and the coefficients, a head outputs a ratio of two sums over the {L} pairs: of the "
        "labels {y} times the exponentials of their logits, and of the exponentials. Divide an exponential "
        "by its mean, and call it {w}: it tilts the law of the covariates.",
        L=L,
        y=y,
        w=w,
    )
    normaliser = step.identity(
        "In one coordinate, of variance {kappa}, let the heads' logit weights be {u} and {v}. The mean of an "
        "exponential:",
        over_line(sp.exp(u * x) * density, x),
        sp.exp(kappa * u**2 / 2),
        shown=generating(u),
        kappa=kappa,
        u=u,
        v=v,
    )
    step.identity(
        "The tilted law is normal with the mean {shift} and the same variance; coordinates stay independent.",
        sp.exp(u * x) * density / normaliser,
        density.subs(x, x - kappa * u),
        shown=sp.exp(u * x) * sp.Function("f")(x) / generating(u),
        shift=kappa * u,
    )
    both = normaliser * normaliser.subs(u, v)
    step.identity(
        "The mean product of two heads' {w} is, in one coordinate,",
        normaliser.subs(u, u + v) / both,
        sp.exp(kappa * u * v),
        shown=mean(w * z),
        w=w,
    )
    step.identity(
        "and that of the coordinate times both the same with the sum of the two means,",
        over_line(x * sp.exp((u + v) * x) * density, x) / both,
        kappa * (u + v) * sp.exp(kappa * u * v),
        shown=mean(x * w * z),
    )
    normal = sp.exp(-(r**2) / (2 * S)) / sp.sqrt(2 * sp.pi * S)
    step.identity(
        "A label is a sum over coordinates, each with its coefficient {g}, and noise. So under the tilt by "
        "two heads it is the sum {means} of its means under either, and a normal {r} of the variance {S} "
        "that it has without a tilt. The product of its deviations from either mean is, on average,",
        over_line(sp.expand((r + p) * (r + m)) * normal, r),
        S + m * p,
        shown=mean((y - m) * (y - p)),
        g=g,
        means=m + p,
        r=r,
        S=S,
    )
    step.say(
        "Over all coordinates the mean product of {w} and {z} is {crossed}, with the covariance {gamma} of "
        "the logits of the two heads, and the mean square of {w} is {square}, with the variance {alpha}. The "
        "label times that square has the mean {label}.",
        w=w,
        z=z,
        crossed=sp.exp(gamma),
        gamma=gamma,
        square=sp.exp(alpha),
        alpha=alpha,
        label=2 * m * sp.exp(alpha),
    )


def _ratio(step: Derivation) -> None:
    """The mean of a ratio of sums, and the covariance of two, to first order."""
    order, nu, delta = sp.symbols("epsilon nu delta", real=True)
    w, z = sp.symbols("w_h w_k", positive=True)
    left, right = sp.symbols("a_:3", real=True), sp.symbols("b_:3", real=True)
    ratio = (m + order * nu) / (1 + order * delta)
    expanded = step.identity(
        "Now the means over the pairs, of {w} in the denominator and of {y} {w} in the numerator. They are 1 "
        "and {m} but for deviations {delta} and {nu}; {order} keeps count of them. To second order:",
        sp.series(ratio, order, 0, 3).removeO(),
        m + order * (nu - m * delta) + order**2 * (m * delta**2 - nu * delta),
        shown=ratio,
        how="the Taylor polynomial; products of more deviations have means of second order in 1 / L",
        w=w,
        y=y,
        m=m,
        delta=delta,
        nu=nu,
        order=order,
    )
    one, other, both = mean(left[0]), mean(right[0]), mean(left[0] * right[0])
    means = {left[h] * right[k]: both if h == k else one * other for h in range(3) for k in range(3)}
    step.identity(
        "Different pairs are independent. So the covariance of two means over the pairs, here of three, is "
        "that of a pair over the length.",
        sp.expand(sum(left) * sum(right) / 9).subs(means) - one * other,
        (both - one * other) / 3,
        shown=sp.Function("cov")(sum(left) / 3, sum(right) / 3),
        how="the product expanded, products of different pairs replaced by the product of the means",
    )
    second = {delta**2: (sp.exp(alpha) - 1) / L, nu * delta: (2 * m * sp.exp(alpha) - m) / L}
    step.identity(
        "With the moments of a pair, {delta} has the mean square {square}, and times {nu} the mean "
        "{product}. So the output of a head is biased: its mean is not {m} but",
        (expanded.coeff(order, 0) + sp.expand(expanded.coeff(order, 2))).subs(second),
        m * (1 - sp.exp(alpha) / L),
        shown=mean(ratio.subs(order, 1)),
        delta=delta,
        square=second[delta**2],
        nu=nu,
        product=second[nu * delta],
        m=m,
    )
    step.identity(
        "Its deviation to first order, {first}, is the mean over the pairs of the label's distance from {m}, "
        "weighted:",
        (nu - m * delta).subs({nu: y * w - m, delta: w - 1}),
        (y - m) * w,
        shown=nu - m * delta,
        how="for one pair",
        first=expanded.coeff(order, 1),
        m=m,
    )
    step.define(
        "That has mean zero, so the covariance of two outputs is the mean of {product} for one pair, over "
        "the length: given the query and the coefficients,",
        sp.Function("cov")(*sp.symbols("f_h f_k")),
        (S + m * p) * sp.exp(gamma) / L,
        product=(y - m) * (y - p) * w * z,
    )


def _query(step: Derivation) -> None:
    """Means over the query of an exponential of its norm in a block, alone and times the norm."""
    z, u = sp.symbols("z u", real=True)
    d, one = sp.Symbol("d_b", positive=True), sp.Symbol("g", positive=True)
    chi = sp.Symbol("chi_b", positive=True)
    # the exponential tilt of a standard normal entry of the query
    tilted = sp.exp(-one * z**2 / 2) / sp.sqrt(2 * sp.pi)
    single = step.identity(
        "Last the query. In a block its entries are {kappa} times standard normal, its squared norm {norm} "
        "with a chi-square {chi} of {d} degrees of freedom, so that the block adds {exponent} to {gamma}, "
        "{u_is}. For one coordinate, with {g_is}, the mean exponential is the first of two means; it exists "
        "while {g} is positive.",
        over_line(tilted, z),
        one ** sp.Rational(-1, 2),
        shown=mean(sp.exp(u * z**2)),
        kappa=sp.sqrt(kappa),
        norm=kappa * chi,
        chi=chi,
        d=d,
        gamma=gamma,
        exponent=u * chi,
        u_is=sp.Eq(u, kappa**2 * sp.Symbol("omega_h") * sp.Symbol("omega_k"), evaluate=False),
        g=one,
        g_is=sp.Eq(one, 1 - 2 * u, evaluate=False),
    )
    weighted = step.identity(
        "The other has the square of the entry before the exponential.",
        over_line(z**2 * tilted, z),
        one ** sp.Rational(-3, 2),
        shown=mean(z**2 * sp.exp(u * z**2)),
    )
    step.identity(
        "The coordinates are independent: the means of a block are the powers of the first,",
        single**d,
        one ** (-d / 2),
        shown=mean(sp.exp(u * chi)),
    )
    step.identity(
        "and {d} products of the second with the others' first.",
        d * weighted * single ** (d - 1),
        d * one ** (-d / 2 - 1),
        shown=mean(chi * sp.exp(u * chi)),
        d=d,
    )


def _loss(step: Derivation) -> None:
    """Two heads, two blocks, one task: the squared error, averaged over coefficients and the query."""
    at = symbols(2, 2, 1)
    omega, mu, sizes, kappas, powers = (at[key] for key in ("omega", "mu", "sizes", "kappas", "powers"))
    signal, chi = sp.symbols("y_:2", real=True), sp.symbols("chi_:2", positive=True)
    own, variance = sp.Symbol("epsilon", real=True), sum(powers) + at["noises"][0]
    tilts = sp.Matrix(2, 2, lambda h, k: sp.Symbol(f"e_{min(h, k)}_{max(h, k)}", positive=True))  # e^gamma
    means = [sum(kappas[b] * omega[h, b] * signal[b] for b in range(2)) for h in range(2)]
    output = [means[h] * (1 - tilts[h, h] / L) for h in range(2)]
    left = sum(residual(at, 0, b) * signal[b] for b in range(2)) + own
    drag = sum(mu[h, 0] * means[h] * tilts[h, h] for h in range(2))
    error = step.identity(
        "Two heads, two blocks, one task. The target is {target}: the signals of the query in the blocks and "
        "its own label noise. The tilted mean of head 0 is {m}, and its output, times its OV value, has the "
        "bias above, with {e} for {exponential}. The mean error:",
        sum(signal) + own - sum(mu[h, 0] * output[h] for h in range(2)),
        left + drag / L,
        shown=sp.Symbol("error"),
        target=sum(signal) + own,
        m=means[0],
        e=tilts[0, 0],
        exponential=sp.exp(sp.Symbol("alpha_0")),
    )
    pairs = [(h, k) for h in range(2) for k in range(2)]
    square = step.identity(
        "The mean squared error is its square, without the term of second order in one over the length, and "
        "the covariances of the heads.",
        error**2
        - (drag / L) ** 2
        + sum(mu[h, 0] * mu[k, 0] * (variance + means[h] * means[k]) * tilts[h, k] / L for h, k in pairs),
        left**2
        + 2 * left * drag / L
        + sum(mu[h, 0] * mu[k, 0] * (variance + means[h] * means[k]) * tilts[h, k] for h, k in pairs) / L,
        by=sp.expand,
        shown=mean(sp.Symbol("error") ** 2),
    )
    second = {(signal[b], signal[b]): powers[0, b] * chi[b] / sizes[b] for b in range(2)}
    second |= {(own, own): at["noises"][0], (): sp.Integer(1)}
    step.define(
        "Average over the coefficients: the signals of different blocks and the label noise are independent, "
        "{S} has the mean {s}, and given the query a signal has the mean square",
        mean(signal[0] ** 2),
        second[signal[0], signal[0]],
        S=S,
        s=variance,
    )
    averaged, parts = sp.Integer(0), sp.Poly(sp.expand(square), *signal, own)
    for degrees, factor in parts.terms():
        names = tuple(part for part, power in zip(parts.gens, degrees, strict=True) for _ in range(power))
        averaged += factor * second.get(names, 0)
    exponentials = {tilts[h, k]: (h, k) for h, k in pairs if h <= k}
    named = sp.symbols("P_0_1 N_0_1 C_0")
    step.define(
        "Average over the query, with the means above. The exponential {alone} of a pair of heads becomes",
        named[0],
        overlap(at, 0, 1),
        alone=tilts[0, 1],
    )
    step.define(
        "and with {chi} a further factor {factor}. That makes of a covariance, times the length,",
        named[1],
        fluctuation(at, 0, 1, 0),
        chi=chi[0],
        factor=sizes[0] / (1 - 2 * product_of_values(at, 0, 1, 0)),
    )
    step.define("and of the biases, times the length,", named[2], bias(at, 0))
    step.identity(
        "With these the loss of the task is the part that is not read off, the covariances, the biases and "
        "the label noise of the query.",
        _over_query(averaged, at, chi, exponentials),
        task_losses(at)[0],
        by=sp.expand,
        shown=sp.Symbol("loss_0"),
        how="the squared error expanded, every product replaced by its mean",
    )
    step.say(
        "It holds while every {u} is less than one half: beyond that the means over the query do not exist, "
        "though those of softmax attention do.",
        u=sp.Symbol("u_h_h_b"),
    )


def _over_query(
    value: sp.Expr, at: At, chi: tuple[sp.Symbol, ...], exponentials: dict[sp.Symbol, tuple[int, int]]
) -> sp.Expr:
    """The mean over the query of a sum whose terms have one exponential and one chi-square at most."""
    total = sp.Integer(0)
    for degrees, factor in sp.Poly(sp.expand(value), *exponentials, *chi).terms():
        powers = dict(zip([*exponentials, *chi], degrees, strict=True))
        assert sum(powers[name] for name in exponentials) <= 1 >= sum(powers[name] for name in chi)
        heads = next((pair for name, pair in exponentials.items() if powers[name]), None)
        block = next((b for b, name in enumerate(chi) if powers[name]), None)
        tilt = sp.Integer(1) if heads is None else overlap(at, *heads)
        if block is not None:
            u = sp.Integer(0) if heads is None else product_of_values(at, *heads, block)
            tilt *= at["sizes"][block] / (1 - 2 * u)
        total += factor * tilt
    return total


def _small_residual(step: Derivation) -> None:
    """The bias at a state that reads off nearly everything."""
    at, rest = symbols(1, 1, 1), sp.Symbol("rho", real=True)
    value = at["kappas"][0] * at["omega"][0]
    read = {at["mu"][0]: (1 - rest / L) / value}
    step.identity(
        "The biases are of first order like the noise, unless nearly everything is read off: where only "
        "{rest} of the signal is not, as at the optima, they are of second order. One head and one block:",
        (bias(at, 0) / L).subs(read),
        2 * at["powers"][0] * overlap(at, 0, 0) / (1 - 2 * value**2) * (1 - rest / L) * rest / L**2,
        shown=sp.Symbol("C_0") / L,
        rest=rest / L,
    )


def _large_dimension(step: Derivation) -> None:
    """The limit of large dimensions, in which the asymptotic loss is what is left."""
    at, T = symbols(2, 1, 1), sp.Symbol("T", real=True)
    (size,), (eigenvalue,) = at["sizes"], at["kappas"]
    W = sp.symbols("W_:2", positive=True)
    scaled = {at["omega"][h, 0]: W[h] / (eigenvalue * sp.sqrt(size)) for h in range(2)}
    variance, power = at["powers"][0] + at["noises"][0], at["powers"][0]
    own = kernel(at["omega"], at["sizes"], at["kappas"], 0, 1)
    step.identity(
        "A large block with {scaling} fixed: the covariance of two heads tends to that of the asymptotic "
        "loss, the variance {s} of the labels times the overlap.",
        sp.limit(fluctuation(at, 0, 1, 0).subs(scaled), size, sp.oo),
        variance * own.subs(scaled),
        shown=sp.Limit(sp.Symbol("N_0_1"), size, sp.oo, "-"),
        scaling=sp.Eq(W[0], at["omega"][0, 0] * eigenvalue * sp.sqrt(size), evaluate=False),
        s=variance,
    )
    alone = symbols(1, 1, 1)
    reads = {alone["mu"][0]: T * sp.sqrt(size) / W[0], alone["omega"][0]: scaled[at["omega"][0, 0]]}
    step.identity(
        "The bias of a head that reads off the fraction {T} does not vanish,",
        sp.limit(bias(alone, 0).subs(reads), size, sp.oo),
        2 * power * T * (1 - T) * sp.exp(W[0] ** 2),
        shown=sp.Limit(sp.Symbol("C_0"), size, sp.oo, "-"),
        T=T,
    )
    step.identity(
        "but the noise of the head grows with the block, since so do the OV values: over {d},",
        sp.limit((alone["mu"][0] ** 2 * fluctuation(alone, 0, 0, 0)).subs(reads) / size, size, sp.oo),
        T**2 * variance * sp.exp(W[0] ** 2) / W[0] ** 2,
        shown=sp.Limit(sp.Symbol("mu_0_0") ** 2 * sp.Symbol("N_0_0") / size, size, sp.oo, "-"),
        d=size,
    )
    step.say(
        "So in large blocks, the length growing in proportion, the first-order law becomes the asymptotic "
        "loss. What that loss leaves out is smaller than its noise by one over the size of a block, and "
        "large for small blocks at any length."
    )
