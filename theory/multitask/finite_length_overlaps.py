"""The functions of the law at any length as means of overlaps, where they are known, and in long contexts.

Overlaps are sums over any number of pairs, differentiated by a rule. The rule's results are held against
softmaxes that are written out and differentiated by sympy, at the lengths of `LENGTHS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from theory.algebra import limit_at_zero
from theory.derivation import Derivation
from theory.multitask import second_order, small_heads
from theory.multitask.finite_length import (
    PAIR,
    Kernel,
    covariance,
    kernel,
    outputs,
    read,
    task_losses,
    value,
)
from theory.multitask.loss import symbols
from theory.multitask.second_order import P, Q, X, alpha, beta, gamma, product_of_outputs, read_off, s_i, v
from theory.symbols import L

LENGTHS = (2, 3, 4)  # of the prompts that are written out

# Sums over the pairs, Q[i, j] that of p^i r^j, of which D, K and so on are the means.
READ_OFF = 1 - Q[2, 0]
OVERLAPS = Kernel(
    K=Q[1, 1],
    M=(1 - Q[2, 0]) * (1 - Q[0, 2]) / 4,
    by_alpha=Q[1, 1] * Q[2, 0] - Q[2, 1],
    by_beta=Q[1, 1] * Q[0, 2] - Q[1, 2],
    by_gamma=Q[1, 1] - Q[2, 1] - Q[1, 2] + Q[1, 1] ** 2,
)


def derive() -> Derivation:
    """A rule for derivatives of overlaps, the functions, where they are known, long contexts, small heads."""
    step = Derivation(
        "The overlaps at any length",
        "Derived here. The functions of the law at any length, as expectations over attentions: for any "
        "number of pairs, and once more written out for two, three and four.",
    )
    _rule(step)
    _functions(step)
    _written_out(step)
    _outputs(step)
    _degenerate(step)
    _orthogonal(step)
    _two_pairs(step)
    _long(step)
    _first_order(step)
    _second_order(step)
    _small_heads(step)
    return step


_p, _r = sp.symbols("p_l r_l", positive=True)  # attention of two heads to a pair
_log_h, _log_k = sp.symbols("z_h z_k", real=True)  # logarithms of their normalisers
D = sp.Symbol("D")


def _along(function: sp.Expr, head: int) -> sp.Expr:
    """The derivative by the logit of a head at pair l of a function of overlaps, p_l, r_l and logarithms."""
    weight = (_p, _r)[head]
    total = sp.diff(function, (_log_h, _log_k)[head]) * weight
    total += sp.diff(function, weight) * weight * (1 - weight)
    for one in function.atoms(sp.Indexed):
        i, j = one.indices
        total += sp.diff(function, one) * one.indices[head] * (_p**i * _r**j - weight * one)
    return total


def _over_pairs(function: sp.Expr) -> sp.Expr:
    """The sum over the pairs l of a polynomial in p_l and r_l; those of one attention add up to one."""
    known = {(0, 0): L, (1, 0): sp.Integer(1), (0, 1): sp.Integer(1)}
    terms = sp.Poly(sp.expand(function), _p, _r).terms()
    return sp.expand(sum(factor * known.get(powers, Q[powers]) for powers, factor in terms))


def _heat(function: sp.Expr, entry: sp.Symbol) -> sp.Expr:
    """What has as its mean the derivative by a Gram entry of the mean of a function."""
    heads, factor = {alpha: ((0, 0), 2), beta: ((1, 1), 2), gamma: ((0, 1), 1)}[entry]
    first, second = heads
    return _over_pairs(_along(_along(function, first), second)) / factor


def _named(values: Kernel, *more: tuple[sp.Symbol, sp.Expr]) -> Callable[[sp.Expr], sp.Expr]:
    """Proof of a relation between D, K and so on with values inserted."""
    table = dict([*zip(PAIR, values, strict=True), *more])
    return lambda gap: sp.expand(gap.subs(table))


def _rule(step: Derivation) -> None:
    """The derivative of a sum over the pairs of powers of attentions."""
    own, other, t_own, t_other = sp.symbols("s_l s_m t_l t_m", real=True)
    rest_s, rest_t = sp.symbols("R_h R_k", positive=True)
    i, j = sp.symbols("i j", integer=True, positive=True)
    p_m, r_m, term = sp.symbols("p_m r_m q_l", positive=True)
    written = {}
    for (here, there), (at_l, at_m), rest in (
        ((_p, p_m), (own, other), rest_s),
        ((_r, r_m), (t_own, t_other), rest_t),
    ):
        normaliser = sp.exp(at_l) + sp.exp(at_m) + rest
        written |= {here: sp.exp(at_l) / normaliser, there: sp.exp(at_m) / normaliser}
    step.say(
        "Overlaps are sums over the pairs of a prompt of products of the attentions {p} and {r} of two "
        "heads: write {Q} for that of {term}. Attention is the softmax of logits {s} of head h, the "
        "exponentials of which at all pairs but l and m add up to {rest}; of the other head likewise.",
        p=_p,
        r=_r,
        Q=Q[i, j],
        term=_p**i * _r**j,
        s=own,
        rest=rest_s,
    )
    for text, at, factor in (
        ("The derivative of a term by the logit of head h at its own pair:", (_p, _r), i * (1 - _p)),
        (
            "and that of the term of another pair, proportional to it by a factor that all others share.",
            (p_m, r_m),
            -i * _p,
        ),
    ):
        product = at[0] ** i * at[1] ** j
        step.identity(
            text,
            sp.diff(product.subs(written), own),
            factor * product,
            by=lambda gap: sp.simplify(gap.subs(written)),
            shown=sp.Derivative(product, own),
        )
    step.identity(
        "So for any number of pairs, {q} being the term of the pair and {rest} the sum over all others,",
        i * (1 - _p) * term - i * _p * (Q[i, j] - term),
        i * (term - _p * Q[i, j]),
        shown=sp.Derivative(Q[i, j], own),
        q=term,
        rest=Q[i, j] - term,
    )
    step.say(
        "With the product rule that differentiates every polynomial in overlaps and in the attentions at a "
        "pair. A sum over pairs is an overlap again, and attentions add up to one. The derivative of the "
        "logarithm of a normaliser is the attention."
    )


def _functions(step: Derivation) -> None:
    """D, K, M and the derivatives of K: the heat equations on logarithms of normalisers."""
    both = _log_h * _log_k
    how = "the rule above; the sum over the pairs is of any number of them"
    step.identity(
        "By the heat equations of the law at any length, functions are the means of what follows. Twice the "
        "derivative by {alpha} of the mean logarithm {z}:",
        2 * _heat(_log_h, alpha),
        READ_OFF,
        by=sp.expand,
        shown=D,
        how=how,
        alpha=alpha,
        z=_log_h,
    )
    overlap = step.identity(
        "The derivative by {gamma} of the mean product of two logarithms:",
        _heat(both, gamma),
        OVERLAPS.K,
        by=sp.expand,
        shown=PAIR.K,
        how=how,
        gamma=gamma,
    )
    curvature = step.identity(
        "That by {alpha} and {beta}:",
        _heat(_heat(both, alpha), beta),
        OVERLAPS.M,
        by=sp.expand,
        shown=PAIR.M,
        how=how,
        alpha=alpha,
        beta=beta,
    )
    for text, entry, name, right in (
        ("The derivatives of the mean overlap, by {entry},", alpha, PAIR.by_alpha, OVERLAPS.by_alpha),
        ("by {entry},", beta, PAIR.by_beta, OVERLAPS.by_beta),
        ("and by {entry}.", gamma, PAIR.by_gamma, OVERLAPS.by_gamma),
    ):
        step.identity(text, _heat(overlap, entry), right, by=sp.expand, shown=name, how=how, entry=entry)
    mixed = sp.Symbol("K_alpha_beta")
    step.identity(
        "Derivatives commute, and so do those of overlaps: the derivative of {M} by {gamma} is that of {K} "
        "by {alpha} and {beta}.",
        _heat(curvature, gamma),
        mixed,
        by=lambda gap: sp.expand(gap.subs(mixed, _heat(_heat(overlap, alpha), beta))),
        shown=sp.Symbol("M_gamma"),
        how=how,
        M=PAIR.M,
        K=PAIR.K,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
    )


class _Prompt:
    """Two softmaxes over a number of pairs, of which sympy takes the derivatives."""

    def __init__(self, length: int) -> None:
        self.weights = [sp.symbols(f"{name}_:{length}", positive=True) for name in ("e", "f")]
        self.attention = [[one / sum(row) for one in row] for row in self.weights]

    def log_h(self) -> sp.Expr:
        """The logarithm of the normaliser of head h."""
        return sp.log(sum(self.weights[0]))

    def logs(self) -> sp.Expr:
        """The product of the logarithms of both."""
        return self.log_h() * sp.log(sum(self.weights[1]))

    def overlap(self) -> sp.Expr:
        """The overlap of the attentions."""
        return sum(p * r for p, r in zip(*self.attention, strict=True))

    def by(self, function: sp.Expr, head: int, pair: int) -> sp.Expr:
        """The derivative by a logit, of which ``weights`` has the exponential."""
        weight = self.weights[head][pair]
        return weight * sp.diff(function, weight)

    def twice(self, function: sp.Expr, first: int, second: int) -> sp.Expr:
        """The sum over the pairs of second derivatives by logits of these heads."""
        pairs = range(len(self.weights[0]))
        return sum(self.by(self.by(function, first, pair), second, pair) for pair in pairs)

    def written(self, overlaps: sp.Expr) -> sp.Expr:
        """A polynomial in overlaps with its sums written out."""
        pairs = list(zip(*self.attention, strict=True))
        values = {
            one: sum(p ** one.indices[0] * r ** one.indices[1] for p, r in pairs)
            for one in overlaps.atoms(sp.Indexed)
        }
        return overlaps.subs(values)

    def gap(self, expression: sp.Expr) -> sp.Expr:
        """Zero, or what the expression is where it is not: a rational function of the weights.

        A common factor of the weights of a head changes no attention.
        """
        free = [weight for row in self.weights for weight in row[1:]]
        expression = expression.subs({row[0]: 1 for row in self.weights})
        somewhere = expression.subs({weight: sp.prime(n) for n, weight in enumerate(free, 1)})
        return somewhere if sp.expand(somewhere) != 0 else sp.cancel(sp.together(expression))


def _everywhere(prompts: list[_Prompt], name: sp.Symbol, of: Callable[[_Prompt], sp.Expr]) -> Any:
    """Proof of a relation between a name and overlaps by writing both out for every prompt."""

    def rest(gap: sp.Expr) -> sp.Expr:
        left = (prompt.gap(prompt.written(gap).subs(name, of(prompt))) for prompt in prompts)
        return next((one for one in left if one != 0), sp.Integer(0))

    return rest


def _written_out(step: Derivation) -> None:
    """The functions once more, without the rule."""
    prompts = [_Prompt(length) for length in LENGTHS]
    claims = (
        ("Two, three and four pairs, without the rule:", D, READ_OFF, _Prompt.log_h, (0, 0), 1),
        ("and", PAIR.K, OVERLAPS.K, _Prompt.logs, (0, 1), 1),
        ("and", PAIR.by_alpha, OVERLAPS.by_alpha, _Prompt.overlap, (0, 0), 2),
        ("and", PAIR.by_beta, OVERLAPS.by_beta, _Prompt.overlap, (1, 1), 2),
        ("and", PAIR.by_gamma, OVERLAPS.by_gamma, _Prompt.overlap, (0, 1), 1),
    )
    for text, name, right, function, heads, factor in claims:
        step.identity(
            text,
            name,
            right,
            by=_everywhere(
                prompts, name, lambda prompt, f=function, by=heads, n=factor: prompt.twice(f(prompt), *by) / n
            ),
            shown=name,
            how="two softmaxes written out and differentiated, of two, three and four pairs",
        )


def _outputs(step: Derivation) -> None:
    """The mean product of outputs in overlaps, by parts and as it was found before."""
    a, b = sp.symbols("a b", real=True)
    product, prompts = sp.Symbol("product"), [_Prompt(length) for length in LENGTHS[:2]]

    def by_parts(prompt: _Prompt) -> sp.Expr:
        """The sums over two pairs of derivatives by their coordinate, and over one of its overlap."""
        pairs, (p, r) = range(len(prompt.weights[0])), prompt.attention

        def along(function: sp.Expr, pair: int) -> sp.Expr:
            return a * prompt.by(function, 0, pair) + b * prompt.by(function, 1, pair)

        twice = sum(along(along(p[one] * r[other], other), one) for one in pairs for other in pairs)
        return twice + sum(p[pair] * r[pair] for pair in pairs)

    step.identity(
        "The mean product of two heads' outputs in a white coordinate is that of this, {a} and {b} being "
        "their logit weights; here by parts from its definition, for two and for three pairs.",
        product,
        outputs(OVERLAPS, a, b),
        by=_everywhere(prompts, product, by_parts),
        how="two softmaxes written out and differentiated along a coordinate of two pairs",
        a=a,
        b=b,
    )
    step.identity(
        "For any number it is what the second order of the context has found directly.",
        outputs(OVERLAPS, a, b),
        Q[1, 1]
        + a * b * second_order.ALONG_BOTH
        + 2 * a**2 * second_order.ALONG_ONE
        + 2 * b**2 * second_order.ALONG_OTHER,
        by=sp.expand,
        shown=product,
    )


def _degenerate(step: Derivation) -> None:
    """Heads without logits, prompts of one pair, two heads that are the same."""
    flat = {one: L ** (1 - sum(one.indices)) for one in sp.Tuple(*OVERLAPS).atoms(sp.Indexed)}
    values = Kernel(*(one.subs(flat) for one in OVERLAPS))
    step.say(
        "Without logits attentions are one over the length, and the overlap {Q} is {value}. So at the origin",
        Q=Q[sp.symbols("i j")],
        value=L ** (1 - sp.Symbol("i") - sp.Symbol("j")),
    )
    for text, name, at_origin, found in (
        ("the functions are", D, 1 - 1 / L, READ_OFF.subs(flat)),
        ("and", PAIR.K, 1 / L, values.K),
        ("and", PAIR.M, (1 - 1 / L) ** 2 / 4, values.M),
        ("and", PAIR.by_alpha, sp.Integer(0), values.by_alpha),
        ("and", PAIR.by_beta, sp.Integer(0), values.by_beta),
        ("and", PAIR.by_gamma, 1 / L - 1 / L**2, values.by_gamma),
    ):
        step.identity(
            text,
            found,
            at_origin,
            by=sp.expand,
            shown=sp.Subs(sp.Function(name.name)(alpha, beta, gamma), (alpha, beta, gamma), (0, 0, 0)),
            how="with the overlaps inserted",
        )
    one = Kernel(*(part.subs(flat).subs(L, 1) for part in OVERLAPS))
    step.identity(
        "A prompt of one pair gets all attention, whatever the logits: but {K}, which is one, everything "
        "vanishes,",
        D**2 + (PAIR.K - 1) ** 2 + PAIR.M**2 + PAIR.by_alpha**2 + PAIR.by_beta**2 + PAIR.by_gamma**2,
        sp.Integer(0),
        by=_named(one, (D, READ_OFF.subs(flat).subs(L, 1))),
        how="a sum of squares; every overlap is one",
        K=PAIR.K,
    )
    alike = {one: Q[sum(one.indices), 0] for one in sp.Tuple(*OVERLAPS).atoms(sp.Indexed)}
    same = Kernel(*(part.subs(alike) for part in OVERLAPS))
    step.identity(
        "A head with itself, {alpha}, {beta} and {gamma} being the same, has {r} equal to {p}:",
        PAIR.K,
        1 - D,
        by=_named(same, (D, READ_OFF)),
        how="with the overlaps inserted",
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        p=_p,
        r=_r,
    )
    slope = sp.Symbol("D'")
    step.identity(
        "and the three derivatives add up to that along the diagonal, though its logits have no density.",
        PAIR.by_alpha + PAIR.by_beta + PAIR.by_gamma,
        -slope,
        by=_named(same, (slope, _heat(READ_OFF, alpha))),
        how="with the overlaps inserted, and the derivative of D by the rule",
    )


def _orthogonal(step: Derivation) -> None:
    """Heads whose logits are independent."""
    index, heads = sp.Symbol("l", integer=True), sp.symbols("D_h D_k")
    length = sp.Symbol("L", positive=True, integer=True)
    step.identity(
        "Where {gamma} is zero the attentions are independent. All pairs being alike, each has the mean "
        "{share}, whatever the logits,",
        sp.Sum(1 / length**2, (index, 1, length)).doit(),
        1 / length,
        shown=sp.Subs(sp.Function("K")(alpha, beta, gamma), gamma, 0),
        how="the sum over the pairs of the product of the means",
        gamma=gamma,
        share=1 / length,
    )
    means = {Q[2, 0]: 1 - heads[0], Q[0, 2]: 1 - heads[1]}
    step.identity(
        "and the mean of a product is the product of the means.",
        OVERLAPS.M.subs(means),
        heads[0] * heads[1] / 4,
        shown=sp.Subs(sp.Function("M")(alpha, beta, gamma), gamma, 0),
    )


def _two_pairs(step: Derivation) -> None:
    """A prompt of two pairs."""
    x, y = sp.symbols("s_1 s_2", real=True)
    p = 1 / (1 + sp.exp(y - x))
    step.identity(
        "In a prompt of two pairs attention is a logistic function of the difference of the logits,",
        sp.exp(x) / (sp.exp(x) + sp.exp(y)),
        p,
        shown=sp.Symbol("p_1"),
    )
    step.identity(
        "which is normal, of variance {var}, so that a single integral is left:",
        READ_OFF.subs(Q[2, 0], p**2 + (1 - p) ** 2),
        1 / (2 * sp.cosh((x - y) / 2) ** 2),
        by=lambda gap: sp.simplify(gap.rewrite(sp.exp)),
        shown=1 - sp.Symbol("p_1") ** 2 - sp.Symbol("p_2") ** 2,
        var=2 * alpha,
    )


_x = sp.Symbol("x", positive=True)  # one over the length


def _order(expression: sp.Expr, n: int) -> sp.Expr:
    """The coefficient of 1 / L^n."""
    return sp.expand(sp.expand(expression).subs(L, 1 / _x)).coeff(_x, n)


def _expansion() -> tuple[sp.Expr, Kernel]:
    """D, K and so on to second order, from the mean overlap, as functions of the Gram entries."""
    overlap = second_order.overlap(*map(sp.exp, (alpha, beta, gamma)))
    own, other = (1 - overlap.subs({alpha: one, beta: one, gamma: one}) for one in (alpha, beta))
    slopes = (sp.diff(overlap, entry) for entry in (alpha, beta, gamma))
    product = sum(_order(own * other, n) / L**n for n in range(3))
    return own, Kernel(overlap, product / 4, *slopes)


def _long(step: Derivation) -> None:
    """The functions in long contexts."""
    own, of = _expansion()
    step.say(
        "In long contexts the mean overlap is known to second order in one over the length, and with it {D}, "
        "of a head with itself. Derivatives are taken of the terms.",
        D=D,
    )
    first = [
        ("To first order", D, own, 1 - sp.exp(alpha) / L),
        ("and", PAIR.K, of.K, sp.exp(gamma) / L),
        ("and", PAIR.by_gamma, of.by_gamma, sp.exp(gamma) / L),
        ("while", PAIR.by_alpha, of.by_alpha, sp.Integer(0)),
        ("and", PAIR.by_beta, of.by_beta, sp.Integer(0)),
    ]
    for text, name, found, right in first:
        step.identity(
            text,
            _order(found, 0) + _order(found, 1) / L,
            right,
            by=sp.expand,
            shown=name,
            how="up to terms of second order",
        )
    mixed = sp.diff(of.K, alpha, beta)
    step.identity(
        "The derivative of {M} by {gamma}, that of the overlap by {alpha} and {beta}, has neither a first "
        "nor a second order:",
        mixed,
        sp.Integer(0),
        by=sp.expand,
        shown=sp.Symbol("M_gamma"),
        how="up to terms of third order",
        M=PAIR.M,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
    )
    step.identity(
        "so that to second order {four} is as at {zero}, the product of the {D} of the two heads. To first,",
        _order(4 * of.M, 0) + _order(4 * of.M, 1) / L,
        1 - (sp.exp(alpha) + sp.exp(beta)) / L,
        by=sp.expand,
        shown=4 * PAIR.M,
        how="up to terms of second order",
        four=4 * PAIR.M,
        zero=sp.Eq(gamma, 0),
        D=D,
    )


def _first_order(step: Derivation) -> None:
    """The covariance of two heads in long contexts, given the query."""
    at, chi = symbols(2, 2, 1), sp.symbols("chi_:2", positive=True)
    own, of = _expansion()
    values = dict(zip(kernel(0, 1), of, strict=True))
    values |= {read(0): own, read(1): own.subs(alpha, beta)}
    share = sum(
        at["powers"][b] * chi[b] / at["sizes"][b] * value(at, 0, b) * value(at, 1, b) for b in range(2)
    )
    found = covariance(at, 0, 0, 1, chi).subs(values)
    step.identity(
        "So the covariance of two heads is to first order, given the query, that of the first-order law.",
        _order(found, 0) + _order(found, 1) / L,
        sp.exp(gamma) / L * (sum(at["powers"]) + at["noises"][0] + share),
        by=sp.expand,
        shown=sp.Symbol("V_0_1"),
        how="with the functions inserted, up to terms of second order",
    )


def _second_order(step: Derivation) -> None:
    """The same to second order, before the mean over the query."""
    own, of = _expansion()
    w, signal = sp.symbols("v_k S", real=True)

    def given_query(formula: sp.Expr) -> sp.Expr:
        """Means P and X at a query, in one block in which the heads have the values v and w."""
        parts = {alpha: v**2, beta: w**2, gamma: v * w}
        formula = formula.replace(X, lambda power, along: signal * along.subs(parts) * sp.exp(power))
        return formula.replace(P, sp.exp)

    step.identity(
        "To second order, with the mean square signal {S} in a block: a head reads off in units of it",
        signal * v * _order(own, 2),
        given_query(read_off(alpha, v)),
        by=sp.expand,
        shown=sp.Symbol("r_h"),
        how="the coefficient of one over the square of the length",
        S=signal,
    )
    step.identity(
        "and of two heads the mean product is as the second order of the context has it, found there from "
        "one overlap after the other.",
        s_i * _order(of.K, 2) + signal * _order(outputs(of._replace(K=sp.Integer(0)), v, w), 2),
        given_query(product_of_outputs(alpha, beta, gamma, s_i)),
        by=sp.expand,
        shown=sp.Symbol("t_h_k"),
        how="the coefficient of one over the square of the length",
    )


def _small_heads(step: Derivation) -> None:
    """Two small heads of opposite signs, at any length."""
    at, T, scale = symbols(2, 1, 1), sp.Symbol("T", real=True), sp.Symbol("epsilon", positive=True)
    chi = sp.Symbol("chi_0", positive=True)
    (size,), (kappa,), (power,), (noise,) = (at[key] for key in ("sizes", "kappas", "powers", "noises"))
    free = iter(sp.symbols("c_:40", real=True))  # of the Taylor polynomials, beside what is known

    def taylor(*known: sp.Expr, degree: int, of: tuple[sp.Expr, ...]) -> sp.Expr:
        powers = sp.itermonomials(of, degree)
        return sum(known) + sum(next(free) * one for one in powers if sp.Poly(one, *of).total_degree() > 1)

    values: dict[sp.Symbol, sp.Expr] = {}
    grams = (alpha, beta, gamma)
    for h, k in ((0, 0), (0, 1), (1, 1)):
        sign = 1 if h == k else -1
        K = taylor(1 / L, (1 / L - 1 / L**2) * gamma, degree=2, of=grams)
        M = (1 - 1 / L) ** 2 / 4 + sum(next(free) * one for one in grams)
        entries = {alpha: scale**2 * chi, beta: scale**2 * chi, gamma: sign * scale**2 * chi}
        parts = Kernel(K, M, *(sp.diff(K, one) for one in grams))
        values |= dict(zip(kernel(h, k), (part.subs(entries) for part in parts), strict=True))
    values |= {read(h): 1 - 1 / L + next(free) * scale**2 * chi for h in range(2)}
    values |= {at["omega"][0]: scale / kappa, at["omega"][1]: -scale / kappa}
    values |= {at["mu"][0]: T / (2 * scale), at["mu"][1]: -T / (2 * scale)}
    limit = limit_at_zero(sp.expand(task_losses(at, (chi,))[0].subs(values)), scale, 2)
    step.identity(
        "Small heads are a test at any length. Take two of opposite signs that together read off {T} of a "
        "block. By the values at the origin, whatever the further coefficients of the Taylor polynomials, "
        "the loss has, with the mean {d} of {chi}, the limit",
        sp.expand(limit).subs(chi, size),
        noise + small_heads.loss(T, power, power + noise, size),
        by=sp.expand,
        shown=sp.Limit(sp.Symbol("loss_0"), scale, 0),
        how="the limit is linear in chi_0; the difference is zero",
        T=T,
        d=size,
        chi=chi,
    )
