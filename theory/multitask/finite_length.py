"""The loss of decomposable softmax attention at any length and dimension.

Given the query, all that two heads contribute are derivatives of one function of the variances of their
logits and of the covariance: G = E log Z_h log Z_k, of the normalisers Z of the two softmaxes.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import sympy as sp
from sympy.concrete.delta import deltasummation

from theory.derivation import Derivation
from theory.multitask.first_order import At, mean
from theory.multitask.loss import symbols
from theory.multitask.second_order import alpha, beta, gamma
from theory.symbols import L, kappa


class Kernel(NamedTuple):
    """What a pair of heads contributes: K, M, and the derivatives of K by alpha, beta and gamma."""

    K: sp.Expr
    M: sp.Expr
    by_alpha: sp.Expr
    by_beta: sp.Expr
    by_gamma: sp.Expr


def outputs(of: Kernel, a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """Mean product of two heads' outputs in a white coordinate, a and b being their logit weights there."""
    return of.K + 4 * a * b * of.M + 2 * a**2 * of.by_alpha + 2 * b**2 * of.by_beta + a * b * of.by_gamma


def read(h: int) -> sp.Symbol:
    """D_h = 1 - E |p|^2: what head h puts out in units of its logit weight."""
    return sp.Symbol(f"D_{h}", real=True)


def kernel(h: int, k: int) -> Kernel:
    """Names for what heads h and k contribute: for k and h beta stands in the place of alpha."""
    pair = f"{min(h, k)}_{max(h, k)}"
    K, M, by_gamma = sp.symbols(f"K_{pair} M_{pair} K_gamma_{pair}", real=True)
    return Kernel(K, M, *sp.symbols(f"K_alpha_{h}_{k} K_alpha_{k}_{h}", real=True), by_gamma)


def value(at: At, h: int, b: int) -> sp.Expr:
    """v_hb = kappa_b omega_hb."""
    return at["kappas"][b] * at["omega"][h, b]


def signals(at: At, i: int, chi: tuple[sp.Symbol, ...]) -> list[sp.Expr]:
    """A_ib chi_b / d_b: the mean square signal in its blocks of a query of white squared norms chi_b."""
    blocks = zip(at["powers"][i, :], chi, at["sizes"], strict=True)
    return [power * norm / size for power, norm, size in blocks]


def covariance(at: At, i: int, h: int, k: int, chi: tuple[sp.Symbol, ...]) -> sp.Expr:
    """V_hk,i: mean product of what two heads predict less the product of what they read off, given chi."""
    of, total = kernel(h, k), sp.Integer(0)
    for b, signal in enumerate(signals(at, i, chi)):
        v, w = value(at, h, b), value(at, k, b)
        both = v * w * (of.by_gamma + 4 * of.M - read(h) * read(k))
        total += signal * (2 * v**2 * of.by_alpha + 2 * w**2 * of.by_beta + both)
    return (sum(at["powers"][i, :]) + at["noises"][i]) * of.K + total


def task_losses(at: At, chi: tuple[sp.Symbol, ...]) -> list[sp.Expr]:
    """The loss of every task given the query, its noise included, on the matrices of `loss.symbols`.

    What is left is the mean over the squared norms ``chi``: independent chi-squares of d_b degrees of
    freedom.
    """
    (heads, _), (_, tasks), losses = at["omega"].shape, at["mu"].shape, []
    for i in range(tasks):
        mu = at["mu"][:, i]
        missed = sum(
            signal * (1 - sum(mu[h] * value(at, h, b) * read(h) for h in range(heads))) ** 2
            for b, signal in enumerate(signals(at, i, chi))
        )
        pairs = product(range(heads), repeat=2)
        noise = sum(mu[h] * mu[k] * covariance(at, i, h, k, chi) for h, k in pairs)
        losses.append(missed + noise + at["noises"][i])
    return losses


def derive() -> Derivation:
    """Parts, heat equations, outputs of heads, white coordinates, the error of a prediction, the loss."""
    step = Derivation(
        "The law at any length",
        "Derived here. Decomposable weights, Gaussian covariates, coefficients of mean zero: the loss of "
        "softmax attention, exact at any length and any dimension. Every sum over the pairs of a prompt is "
        "over any number of them.",
    )
    _by_parts(step)
    _heat(step)
    _outputs(step)
    _product_of_outputs(step)
    _white(step)
    _error(step)
    _loss(step)
    _expanded(step)
    return step


G = sp.Function("G")(alpha, beta, gamma)
g = sp.Function("g")(alpha)
PAIR = Kernel(*sp.symbols("K M K_alpha K_beta K_gamma"))
DERIVATIVES = Kernel([gamma], [alpha, beta], [alpha, gamma], [beta, gamma], [gamma, gamma])  # of G
_s, _t = sp.symbols("s_l t_l", real=True)  # logits of two heads at a pair
_p, _r = sp.symbols("p_l r_l", positive=True)  # their attention to it
_a, _b = sp.symbols("a b", real=True)  # weights of a white coordinate in them


def _by_parts(step: Derivation) -> None:
    """Stein's lemma, once and twice."""
    x = sp.Symbol("x", real=True)
    density, f, N = sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi), sp.Function("F")(x), sp.Function("N")(x)
    step.say(
        "White covariates first: given the query all coordinates of all {L} pairs are independent and "
        "standard normal. At a pair head h has the logit {s}, a sum over the coordinates, one of which has "
        "the weight {a}; head k has {t}, and the weight {b}. Their attentions are the softmax {p} of {s} and "
        "{r} of {t} over the pairs. Of a coordinate head h puts out {f}, the sum over the pairs of the "
        "coordinate times {p}.",
        L=L,
        s=_s,
        a=_a,
        t=_t,
        b=_b,
        p=_p,
        r=_r,
        f=sp.Symbol("f_h"),
    )
    step.identity(
        "Let N be the density of a coordinate {x}, and F any function that grows less than N falls.",
        sp.diff(density * f, x),
        density * (sp.diff(f, x) - x * f),
        shown=sp.Derivative(N * f, x),
        x=x,
    )
    step.identity(
        "The integral of the left side is zero. So {xF} has the mean of the derivative of F: Stein's lemma. "
        "And by",
        sp.diff(density * (x * f + sp.diff(f, x)), x),
        density * (f + sp.diff(f, x, 2) - x**2 * f),
        shown=sp.Derivative(N * (x * f + sp.diff(f, x)), x),
        xF=x * f,
    )
    step.say(
        "{square} has that of the second derivative and of F itself. Coordinates of two pairs are "
        "independent: their product with F has the mean of the mixed derivative alone.",
        square=x**2 * f,
    )


def _heat(step: Derivation) -> None:
    """The derivatives of an expectation by the variances of two heads' logits and by their covariance."""
    spread = alpha * beta - gamma**2
    exponent = (beta * _s**2 - 2 * gamma * _s * _t + alpha * _t**2) / (2 * spread)
    density = sp.exp(-exponent) / (2 * sp.pi * sp.sqrt(spread))
    n, F = sp.Function("n")(_s, _t), sp.Function("F")(_s, _t)
    step.say(
        "The logits {s} and {t} of a pair are jointly normal, and independent between pairs. Their variances "
        "are {alpha} and {beta}, the sums over the coordinates of {own} and {other}, and their covariance is "
        "{gamma}, that of {both}; n is their density.",
        s=_s,
        t=_t,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        own=_a**2,
        other=_b**2,
        both=_a * _b,
    )
    for text, entry, twice in (
        ("It obeys a heat equation in each of the three:", alpha, sp.Derivative(n, (_s, 2)) / 2),
        ("likewise", beta, sp.Derivative(n, (_t, 2)) / 2),
        ("and", gamma, sp.Derivative(n, _s, _t)),
    ):
        step.identity(
            text,
            sp.diff(density, entry),
            twice,
            by=lambda gap: sp.cancel(sp.together(sp.expand(gap.subs(n, density).doit() / density))),
            shown=sp.Derivative(n, entry),
            how="with the density inserted and divided by it, left minus right cancels to zero",
        )
    step.identity(
        "Two derivatives go over from the density to the function of which the mean is taken,",
        sp.diff(n, _s, 2) * F - n * sp.diff(F, _s, 2),
        sp.Derivative(sp.diff(n, _s) * F - n * sp.diff(F, _s), _s),
        by=lambda gap: sp.expand(gap.doit()),
    )
    step.identity(
        "and",
        sp.diff(n, _s, _t) * F - n * sp.diff(F, _s, _t),
        sp.Derivative(sp.diff(n, _t) * F, _s) - sp.Derivative(n * sp.diff(F, _s), _t),
        by=lambda gap: sp.expand(gap.doit()),
    )
    step.say(
        "since what is left are integrals of derivatives. The density of all pairs is a product, and its "
        "derivative a sum: by {alpha} the derivative of the mean of any function of the logits is the mean "
        "of half the sum over the pairs of its second derivatives by {s}; by {beta} that by {t}; by {gamma} "
        "that of the sum of its mixed derivatives. Where the density degenerates, heads being parallel, the "
        "same holds by continuity.",
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        s=_s,
        t=_t,
    )


_slopes = sp.symbols("sigma_l tau_l sigma_m tau_m")  # derivatives by the logits s and t of pairs l and m


def _over_pairs(operator: sp.Expr) -> sp.Expr:
    """The sum over pairs l and m, or over l alone, of derivatives by their logits: by the Gram entries."""
    heat = {(0, 0): sp.Integer(1), (2, 0): 2 * _grams[0], (0, 2): 2 * _grams[1], (1, 1): _grams[2]}
    terms = sp.Poly(operator, *_slopes).terms()
    return sum(factor * heat[degrees[:2]] * heat[degrees[2:]] for degrees, factor in terms)


_grams = sp.symbols("d_alpha d_beta d_gamma")  # derivatives by the Gram entries


def _outputs(step: Derivation) -> None:
    """The functions g and G, and the mean of what a head puts out of a coordinate."""
    rest, size = sp.Symbol("R", positive=True), sp.Symbol("D")
    log_h, log_k = sp.symbols("z_h z_k", real=True)
    step.identity(
        "An attention is the derivative of the logarithm of the head's normaliser, the sum of the "
        "exponentials of its logits, of which {R} is that of the others:",
        sp.diff(sp.log(sp.exp(_s) + rest), _s),
        sp.exp(_s) / (sp.exp(_s) + rest),
        shown=_p,
        R=rest,
    )
    step.define(
        "Call the logarithms {one} and {other}, the mean of one",
        g,
        mean(log_h),
        one=log_h,
        other=log_k,
    )
    step.define("and that of their product, a function of the three Gram entries,", G, mean(log_h * log_k))
    sl, tl = _slopes[:2]
    step.identity(
        "Write {sl} and {tl} for the derivatives by {s} and {t}: by a coordinate of the pair the derivative "
        "is {along}. So by parts {f} has the mean of {operator} on {log}, summed over the pairs; by the heat "
        "equation that is, with {d} for the derivative by {alpha},",
        _over_pairs(_a * sl * sl),
        2 * _a * _grams[0],
        shown=sp.Sum(_a * sl**2, (sp.Symbol("l"), 1, L)),
        how="sums over pairs replaced by derivatives, for any number of pairs",
        sl=sl,
        tl=tl,
        s=_s,
        t=_t,
        along=_a * sl + _b * tl,
        f=sp.Symbol("f_h"),
        operator=(_a * sl + _b * tl) * sl,
        log=log_h,
        d=_grams[0],
        alpha=alpha,
    )
    step.define(
        "on {g}, {log} being no function of {t}. So the mean of {f} is {a} times",
        size,
        2 * sp.Derivative(g, alpha),
        g=g,
        log=log_h,
        t=_t,
        f=sp.Symbol("f_h"),
        a=_a,
    )


def _product_of_outputs(step: Derivation) -> None:
    """The mean product of what two heads put out of a coordinate."""
    sl, tl, sm, tm = _slopes
    weights = (_a * sl + _b * tl) * (_a * sm + _b * tm)
    overlap = sp.Sum(sl * tl, (sp.Symbol("l"), 1, L))
    step.identity(
        "The overlap of two heads' attentions, the sum over the pairs of {p} times {r}, is on {product}",
        _over_pairs(sl * tl),
        _grams[2],
        shown=overlap,
        how="sums over pairs replaced by derivatives, for any number of pairs",
        p=_p,
        r=_r,
        product=sp.Symbol("z_h") * sp.Symbol("z_k"),
    )
    step.identity(
        "The product of the outputs of two heads is a sum over two pairs, l and m, of which head h attends "
        "to one and head k to the other. By parts twice it has the mean of this on {product}; the second "
        "sum is that of the pairs with themselves.",
        _over_pairs(sp.expand(weights * sl * tm)) + _over_pairs(sl * tl),
        sp.expand(outputs(_on_function(), _a, _b)),
        by=sp.expand,
        shown=sp.Sum(weights * sl * tm, (sp.Symbol("l"), 1, L), (sp.Symbol("m"), 1, L)) + overlap,
        how="sums over pairs replaced by derivatives, for any number of pairs",
        product=sp.Symbol("z_h") * sp.Symbol("z_k"),
    )
    for text, name, by in zip(("On {G} that is made of", *["and"] * 4), PAIR, DERIVATIVES, strict=True):
        step.define(text, name, sp.Derivative(G, *by), G=G)
    step.identity(
        "So in a coordinate the mean product is, at any length,",
        sp.expand(outputs(_on_function(), _a, _b)),
        outputs(PAIR, _a, _b),
        by=lambda gap: sp.expand(gap.subs(dict(zip(PAIR, _on_function(), strict=True)))),
        shown=mean(sp.Symbol("f_h") * sp.Symbol("f_k")),
    )


def _on_function() -> Kernel:
    """The kernel as derivatives that act on G."""
    d_alpha, d_beta, d_gamma = _grams
    return Kernel(d_gamma, d_alpha * d_beta, d_alpha * d_gamma, d_beta * d_gamma, d_gamma**2)


def _white(step: Derivation) -> None:
    """Covariates of any variance, from white ones."""
    x, q, omega, v = sp.symbols("x q omega_h v_h", real=True)
    power, size, variance = sp.symbols("A_b d_b lambda_b", positive=True)
    chi, other = sp.Symbol("chi_b", positive=True), sp.Symbol("v_k", real=True)
    root, query, j = sp.sqrt(kappa), sp.IndexedBase("q"), sp.Symbol("j", integer=True)
    step.identity(
        "In a block of variance {kappa} covariates and query are {root} times white ones {x} and {q}. A "
        "coordinate adds to the logit of a head with the KQ value {omega} the part of a white one with the "
        "value {v}, {v_is}:",
        omega * (root * x) * (root * q),
        v * x * q,
        by=lambda gap: sp.expand(gap.subs(v, kappa * omega)),
        shown=omega * (sp.Symbol("x_0") * sp.Symbol("q_0")),
        kappa=kappa,
        root=root,
        x=x,
        q=q,
        omega=omega,
        v=v,
        v_is=sp.Eq(v, kappa * omega, evaluate=False),
    )
    step.identity(
        "so that its logit weight is {weight}. The block has {size} coordinates; the squared norm of the "
        "white query in it is a chi-square {chi} of as many degrees of freedom. It adds to {gamma}",
        sp.Sum((v * query[j]) * (other * query[j]), (j, 1, size)),
        v * other * chi,
        by=lambda gap: gap.simplify().subs(sp.Sum(query[j] ** 2, (j, 1, size)), chi),
        how="the sum of the squares of the query's coordinates is chi_b",
        weight=v * q,
        size=size,
        chi=chi,
        gamma=gamma,
    )
    step.identity(
        "and so on. Let the coefficients of a white coordinate, {root} times those of {x_0}, have the "
        "variance {variance}. The signal power {A} of the block is the sum over its coordinates,",
        sp.Sum(variance, (j, 1, size)).doit(),
        power,
        by=lambda gap: gap.subs(variance, power / size),
        shown=sp.Sum(variance, (j, 1, size)),
        how="with lambda_b = A_b / d_b",
        root=root,
        x_0=sp.Symbol("x_0"),
        variance=variance,
        A=power,
    )
    step.say(
        "so {variance} is {share}. The law depends on the covariance through {v} alone.",
        variance=variance,
        share=power / size,
        v=v,
    )


def _error(step: Derivation) -> None:
    """The squared error of a prediction, averaged over coefficients and label noise."""
    p, r = sp.IndexedBase("p"), sp.IndexedBase("r")
    first, second = sp.symbols("l m", integer=True)
    sigma = sp.Symbol("sigma", positive=True)
    same = sp.KroneckerDelta(first, second)
    step.identity(
        "A head predicts the sum over the pairs of its attention times the labels. Label noise, independent "
        "between pairs and of variance {square}, adds to the mean product of two heads",
        sp.Sum(
            deltasummation(sigma**2 * same * p[first] * r[second], (second, 1, L), no_piecewise=True),
            (first, 1, L),
        ),
        sigma**2 * sp.Sum(p[first] * r[first], (first, 1, L)),
        by=lambda gap: gap.simplify(),
        shown=sp.Sum(sigma**2 * same * p[first] * r[second], (second, 1, L), (first, 1, L)),
        how="the sum over m has one term, m = l",
        square=sigma**2,
    )
    coefficients, q = sp.symbols("g_:2", real=True), sp.symbols("q_:2", real=True)
    outs = sp.Matrix(2, 2, lambda h, j: sp.Symbol(f"f_{h}_{j}", real=True))
    noises, own = sp.symbols("n_:2", real=True), sp.Symbol("epsilon", real=True)
    mu, lam = sp.symbols("mu_:2", real=True), sp.symbols("lambda_:2", positive=True)
    overlaps = sp.Matrix(2, 2, lambda h, k: sp.Symbol(f"p_{min(h, k)}_{max(h, k)}", positive=True))
    error = sum(coefficients[j] * (q[j] - sum(mu[h] * outs[h, j] for h in range(2))) for j in range(2)) + (
        own - sum(mu[h] * noises[h] for h in range(2))
    )
    means = {(c, c): one for c, one in zip(coefficients, lam, strict=True)} | {(own, own): sigma**2}
    means |= {(noises[h], noises[k]): sigma**2 * overlaps[h, k] for h, k in ((0, 0), (0, 1), (1, 1))}
    averaged = sp.Integer(0)
    terms = sp.Poly(sp.expand(error**2), *coefficients, *noises, own)
    for degrees, factor in terms.terms():
        pair = tuple(name for name, power in zip(terms.gens, degrees, strict=True) for _ in range(power))
        averaged += factor * means.get(pair, 0)
    step.identity(
        "times the overlap {overlap} of their attentions. Coefficients {g}, of mean zero and variances "
        "{lam}, are independent of each other and of the noise {n} that heads pick up, and that of the "
        "query. For two coordinates and two heads, the error {error} has the mean square",
        averaged,
        sum(lam[j] * (q[j] - sum(mu[h] * outs[h, j] for h in range(2))) ** 2 for j in range(2))
        + sigma**2 * (1 + sum(mu[h] * mu[k] * overlaps[h, k] for h in range(2) for k in range(2))),
        by=sp.expand,
        shown=mean(sp.Symbol("error") ** 2),
        how="the square expanded, every product of two of these replaced by its mean",
        overlap=overlaps[0, 1],
        g=coefficients[0],
        lam=lam[0],
        n=noises[0],
        error=error,
    )


def _loss(step: Derivation) -> None:
    """Two heads, two blocks, one task: the squared error, averaged over the prompt."""
    at, chi, q = symbols(2, 2, 1), sp.symbols("chi_:2", positive=True), sp.Symbol("q", real=True)
    mu, out = at["mu"], sp.symbols("f_:2", real=True)
    total = at["noises"][0]
    total += at["noises"][0] * sum(mu[h] * mu[k] * kernel(h, k).K for h, k in product(range(2), repeat=2))
    for b in range(2):
        square = sp.Poly(sp.expand((q - sum(mu[h] * out[h] for h in range(2))) ** 2), *out)
        weights = [value(at, h, b) * q for h in range(2)]
        averaged = sp.Integer(0)
        for degrees, factor in square.terms():
            heads = [h for h, power in enumerate(degrees) for _ in range(power)]
            if len(heads) == 2:
                factor *= outputs(kernel(*heads), *(weights[h] for h in heads))
            elif heads:
                factor *= weights[heads[0]] * read(heads[0])
            averaged += factor
        sums = {(0,): at["sizes"][b], (2,): chi[b]}
        summed = sum(sums[power] * factor for power, factor in sp.Poly(sp.expand(averaged), q).terms())
        total += at["powers"][b] / at["sizes"][b] * summed
    own = kernel(0, 1)
    step.define(
        "Average over the prompt: outputs and overlaps have the means above, and of the squares of the "
        "query's coordinates the sums are the chi-squares. Two heads, two blocks, one task. Let the "
        "covariance of head 0 and head 1 be, {D} being that of head 0 and {K} and so on those of the two,",
        sp.Symbol("V_0_1"),
        covariance(at, 0, 0, 1, chi),
        D=read(0),
        K=own.K,
    )
    step.identity(
        "The loss of the task given the query is then what the heads together fail to read off, and their "
        "covariances; it is to be averaged over the independent {chi}.",
        total,
        _with_names(at, chi),
        by=lambda gap: sp.expand(gap.subs(_covariances(at, chi))),
        shown=mean(sp.Symbol("error") ** 2),
        how="the square expanded, every product replaced by its mean and summed over the coordinates",
        chi=chi[0],
    )
    step.say(
        "Every term is of two heads at most and of one block, so that it is the same for any number of both."
    )


def _covariances(at: At, chi: tuple[sp.Symbol, ...]) -> dict[sp.Symbol, sp.Expr]:
    """What the names V_hk of the covariances stand for."""
    pairs = product(range(2), repeat=2)
    return {sp.Symbol(f"V_{h}_{k}"): covariance(at, 0, h, k, chi) for h, k in pairs}


def _with_names(at: At, chi: tuple[sp.Symbol, ...]) -> sp.Expr:
    """The loss of two heads with names for their covariances."""
    mu = at["mu"]
    missed = sum(
        signal * (1 - sum(mu[h] * value(at, h, b) * read(h) for h in range(2))) ** 2
        for b, signal in enumerate(signals(at, 0, chi))
    )
    pairs = product(range(2), repeat=2)
    return missed + sum(mu[h] * mu[k] * sp.Symbol(f"V_{h}_{k}") for h, k in pairs) + at["noises"][0]


def _second_moment(at: At, h: int, k: int, chi: tuple[sp.Symbol, ...]) -> sp.Expr:
    """t_hk: the mean product of what two heads predict."""
    signal = enumerate(signals(at, 0, chi))
    of = kernel(h, k)
    means = of._replace(K=sp.Integer(0))
    along = sum(one * outputs(means, value(at, h, b), value(at, k, b)) for b, one in signal)
    return (sum(at["powers"]) + at["noises"][0]) * of.K + along


def _expanded(step: Derivation) -> None:
    """The loss as a quadratic polynomial in the OV values."""
    at, chi = symbols(2, 2, 1), sp.symbols("chi_:2", positive=True)
    mu, pairs = at["mu"], list(product(range(2), repeat=2))
    slopes = [sum(one * value(at, h, b) for b, one in enumerate(signals(at, 0, chi))) for h in range(2)]
    named = [sp.Symbol(f"l_{h}") for h in range(2)]
    moments = {sp.Symbol(f"t_{h}_{k}"): _second_moment(at, h, k, chi) for h, k in pairs}
    step.define("It is a quadratic polynomial in the OV values, of the coefficients", named[0], slopes[0])
    step.define("and", sp.Symbol("t_0_1"), moments[sp.Symbol("t_0_1")])
    step.identity(
        "and so on:",
        task_losses(at, chi)[0],
        sum(signals(at, 0, chi))
        + at["noises"][0]
        - 2 * sum(mu[h] * named[h] * read(h) for h in range(2))
        + sum(mu[h] * mu[k] * sp.Symbol(f"t_{h}_{k}") for h, k in pairs),
        by=lambda gap: sp.expand(gap.subs(moments | dict(zip(named, slopes, strict=True)))),
        shown=sp.Symbol("loss_0"),
    )
