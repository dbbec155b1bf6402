"""The functions of the law at any length, and all their derivatives, as integrals over two variables.

``integrand`` is what an integral is over: a polynomial in derivatives of one function of two variables, the
mean of a double exponential at a single pair of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import sympy as sp
from sympy.utilities.iterables import multiset_partitions

from theory.derivation import Derivation
from theory.multitask.finite_length import DERIVATIVES, PAIR, G, g
from theory.multitask.first_order import mean
from theory.multitask.second_order import alpha, beta, gamma
from theory.symbols import L

Letters = Sequence[sp.Symbol]  # Gram entries, of derivatives taken one after the other

# By which G is differentiated: the functions of the loss, then those of its gradient.
FUNCTIONS: dict[str, Letters] = {name.name: by for name, by in zip(PAIR, DERIVATIVES, strict=True)} | {
    "K_gamma_gamma": [gamma, gamma, gamma],
    "K_alpha_gamma": [alpha, gamma, gamma],
    "K_beta_gamma": [beta, gamma, gamma],
    "K_alpha_beta": [alpha, beta, gamma],
    "K_alpha_alpha": [alpha, alpha, gamma],
    "K_beta_beta": [beta, beta, gamma],
    "M_alpha": [alpha, alpha, beta],
    "M_beta": [alpha, beta, beta],
}
W = sp.Symbol("W", positive=True)  # L phi^(L-1)


def array(i: int, j: int) -> sp.Symbol:
    """The derivative of phi(x, y) of order i by x and j by y."""
    return sp.Symbol(f"phi_{i}_{j}", real=True)


def ratio(n: int) -> sp.Expr:
    """r_n = (L-1) ... (L-n) / phi^n, one for n = 0."""
    return sp.Symbol(f"r_{n}", real=True) if n else sp.Integer(1)


def ratios(base: sp.Expr) -> dict[sp.Expr, sp.Expr]:
    """What the names r_1, r_2 and r_3 stand for."""
    return {ratio(n): sp.prod(L - m for m in range(1, n + 1)) / base**n for n in range(1, 4)}


def composed(letters: Letters) -> sp.Expr:
    """The derivative of phi by Gram entries, as one by x and y."""
    i, j, k = (list(letters).count(entry) for entry in (alpha, beta, gamma))
    return array(2 * i + k, 2 * j + k) / 2 ** (i + j)


def chain(letters: Sequence[Any], derivative: Callable[[Sequence[Any]], sp.Expr]) -> sp.Expr:
    """The derivative of phi^L by letters, over W: a sum over all ways to put the letters into groups."""
    return sum(
        ratio(len(groups) - 1) * sp.prod(derivative([letters[at] for at in group]) for group in groups)
        for groups in multiset_partitions(list(range(len(letters))))
    )


def integrand(letters: Letters) -> sp.Expr:
    """What the derivative of G by letters is the integral of, over x and y."""
    return W * chain(letters, composed)


def of_head(order: int) -> sp.Expr:
    """What the derivative of D of that order by alpha is the integral of, over x; phi is of x alone."""
    return -2 * W * chain([alpha] * (order + 1), composed)


def derive() -> Derivation:
    """The logarithm, the two integrals, heat equations, derivatives of a power, all functions, one head."""
    step = Derivation(
        "The law at any length by integrals",
        "Derived here. The functions of the law at any length, for any number of pairs: a normaliser enters "
        "through its logarithm, an integral of exponentials of it, in which the pairs are independent.",
    )
    _logarithm(step)
    _pairs(step)
    _heat(step)
    _one_pair(step)
    _power(step)
    _functions(step)
    _one_head(step)
    return step


_x, _y = sp.symbols("x y", real=True)
_phi = sp.Function("phi")
_gram = _phi(alpha, beta, gamma)  # at given x and y


def _logarithm(step: Derivation) -> None:
    """The logarithm of a normaliser as an integral of exponentials."""
    Z, u = sp.symbols("Z u", positive=True)
    kept = sp.exp(-sp.exp(_x) * Z)
    step.identity(
        "Of a normaliser {Z}, with {u},",
        sp.integrate(sp.exp(-u * Z), (u, 0, sp.oo)),
        1 / Z,
        shown=sp.Integral(sp.exp(_x) * kept, (_x, -sp.oo, sp.oo)),
        Z=Z,
        u=sp.Eq(u, sp.exp(_x), evaluate=False),
    )
    difference = sp.exp(-sp.exp(_x)) - kept
    step.identity(
        "That is the integral of a derivative by {Z},",
        sp.diff(difference, Z),
        sp.exp(_x) * kept,
        shown=sp.Derivative(difference, Z),
        Z=Z,
    )
    step.identity(
        "of what is zero at {one}.",
        difference.subs(Z, 1),
        sp.Integer(0),
        shown=sp.Subs(difference, Z, 1),
        one=sp.Eq(Z, 1),
    )
    step.define("So the logarithm is", sp.log(Z), sp.Integral(difference, (_x, -sp.oo, sp.oo)))


def _pairs(step: Derivation) -> None:
    """G as two integrals of a power, but for terms that no derivative sees."""
    first, second, kept_h, kept_k = sp.symbols("e_x e_y E_h E_k", positive=True)
    step.identity(
        "The product of two logarithms is an integral over {x} and {y} of a product; here {first} and "
        "{second} are exponentials without normalisers, {kept_h} is {with_h}, and so on.",
        (first - kept_h) * (second - kept_k),
        kept_h * kept_k + first * second - first * kept_k - second * kept_h,
        x=_x,
        y=_y,
        first=first,
        second=second,
        kept_h=kept_h,
        with_h=sp.exp(-sp.exp(_x) * sp.Symbol("Z_h")),
    )
    whole, of_h, of_k = _phi(alpha, beta, gamma), sp.Function("a")(alpha), sp.Function("b")(beta)
    constant = sp.Symbol("c")
    for text, by in (
        (
            "Its mean has terms that depend on {alpha} alone, or {beta}; none has a derivative by {gamma},",
            [gamma],
        ),
        ("nor one by both others.", [alpha, beta]),
    ):
        step.identity(
            text,
            sp.diff(whole + constant - of_h - of_k, *by),
            sp.Derivative(whole, *by),
            shown=sp.Derivative(whole + constant - of_h - of_k, *by),
            alpha=alpha,
            beta=beta,
            gamma=gamma,
        )
    own, pairs = sp.symbols("s_l t_l", real=True), sp.Symbol("L", integer=True, positive=True)
    at_pair = sp.exp(-sp.exp(_x + own[0]) - sp.exp(_y + own[1]))
    step.define(
        "All functions needed are such derivatives. The normalisers are sums over the pairs, of {s} and so "
        "on, so that {term} is a product over the pairs. With the mean of a factor,",
        _phi(_x, _y),
        mean(at_pair),
        s=sp.exp(own[0]),
        term=kept_h * kept_k,
    )
    step.identity(
        "which is the same for all pairs, these are independent:",
        sp.Product(_phi(_x, _y), (sp.Symbol("l"), 1, pairs)).doit(),
        _phi(_x, _y) ** pairs,
        shown=mean(kept_h * kept_k),
    )
    step.define(
        "So for a derivative by {gamma}, or by {alpha} and {beta}, this may be read under the integral sign:",
        G,
        sp.Integral(_phi(_x, _y) ** L, (_x, -sp.oo, sp.oo), (_y, -sp.oo, sp.oo)),
        alpha=alpha,
        beta=beta,
        gamma=gamma,
    )


def _heat(step: Derivation) -> None:
    """Derivatives of phi by Gram entries as derivatives by x and y."""
    s, t = sp.symbols("s_l t_l", real=True)
    inner, phi = sp.exp(-sp.exp(_x + s) - sp.exp(_y + t)), _phi(_x, _y)
    for text, name, logits, factor, right in (
        (
            "The heat equations of the law at any length, for one pair. What {phi} is the mean of depends on "
            "{xs} and {yt} alone: its derivatives by logits are derivatives by {x} and {y}. So by {alpha}",
            "phi_alpha",
            (s, s),
            2,
            sp.Derivative(phi, (_x, 2)) / 2,
        ),
        ("by {beta}", "phi_beta", (t, t), 2, sp.Derivative(phi, (_y, 2)) / 2),
        ("and by {gamma}", "phi_gamma", (s, t), 1, sp.Derivative(phi, _x, _y)),
    ):
        step.identity(
            text,
            sp.diff(inner, *logits) / factor,
            right,
            by=lambda gap: sp.expand(gap.subs(phi, inner).doit()),
            shown=sp.Symbol(name),
            how="for what phi is the mean of; left minus right is zero",
            phi=phi,
            xs=_x + s,
            yt=_y + t,
            x=_x,
            y=_y,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
        )
    i, j, k = sp.symbols("i j k", integer=True, nonnegative=True)
    xi, eta = sp.symbols("xi eta", positive=True)  # what derivatives of an exponential are factors of
    step.identity(
        "Several derivatives compose: {i} by {alpha}, {j} by {beta} and {k} by {gamma} are, for an "
        "exponential, whose derivatives by {x} and {y} are factors {xi} and {eta}, the factor",
        (xi**2 / 2) ** i * (eta**2 / 2) ** j * (xi * eta) ** k,
        xi ** (2 * i + k) * eta ** (2 * j + k) / 2 ** (i + j),
        shown=sp.Symbol("factor"),
        i=i,
        j=j,
        k=k,
        x=_x,
        y=_y,
        xi=xi,
        eta=eta,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
    )


def _one_pair(step: Derivation) -> None:
    """The mean overlap of a prompt of one pair without logits."""
    whole = sp.exp(-sp.exp(_x) - sp.exp(_y))
    u = sp.Symbol("u", positive=True)
    step.identity(
        "A test: without logits and of one pair, the derivative by {gamma} is, by its heat equation, "
        "the integral of",
        sp.diff(whole, _x, _y),
        sp.exp(_x + _y) * whole,
        shown=sp.Derivative(sp.Function("phi")(_x, _y), _x, _y),
        gamma=gamma,
    )
    step.identity(
        "which is one, as the overlap of a pair with itself must be.",
        sp.integrate(sp.exp(-u), (u, 0, sp.oo)) ** 2,
        sp.Integer(1),
        shown=sp.Integral(sp.exp(_x + _y) * whole, (_x, -sp.oo, sp.oo), (_y, -sp.oo, sp.oo)),
    )


def _over_weight(power: sp.Expr, base: sp.Expr) -> sp.Expr:
    """A derivative of a power of the base, over L times the power of one less."""
    return sp.expand(sp.expand(power) / (L * base ** (L - 1)))


def _power(step: Derivation) -> None:
    """The derivatives of a power of phi by up to four parameters."""
    letters = sp.symbols("u v w z", real=True)
    base = _phi(*letters)
    step.define("The derivatives of the power, then. With the weight", W, L * array(0, 0) ** (L - 1))
    step.define("and the ratios, up to the third,", ratio(3), ratios(array(0, 0))[ratio(3)])
    for text, count in (
        (
            "they are sums over all ways to put the letters {letters} into groups, of which each is a "
            "derivative: of two,",
            2,
        ),
        ("of three,", 3),
        ("and of four, which the Hessian takes.", 4),
    ):
        step.identity(
            text,
            _over_weight(sp.diff(base**L, *letters[:count]), base),
            chain(letters[:count], _of_letters),
            by=lambda gap: sp.expand(gap.subs(ratios(base) | _letters(letters, base))),
            shown=sp.Derivative(base**L, *letters[:count]) / W,
            how="with the derivatives and the ratios inserted",
            letters=sp.Tuple(*letters),
        )
    step.say("Letters may coincide: they are told apart by their places.")


def _of_letters(letters: Sequence[sp.Symbol]) -> sp.Symbol:
    """A name for the derivative of phi by letters."""
    return sp.Symbol("phi_" + "".join(sorted(one.name for one in letters)))


def _letters(letters: Sequence[sp.Symbol], base: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
    """What the names of derivatives stand for."""
    groups = (group for size in range(1, 5) for group in combinations(letters, size))
    return {_of_letters(group): sp.diff(base, *group) for group in groups}


def _by_arrays(expression: sp.Expr) -> sp.Expr:
    """An expression in derivatives of phi by Gram entries, in those by x and y.

    One heat equation after the other is applied, to an exponential.
    """
    xi, eta = sp.symbols("xi eta")  # what derivatives by x and y are factors of
    heat = {alpha: xi**2 / 2, beta: eta**2 / 2, gamma: xi * eta}
    table = {}
    for one in expression.atoms(sp.Derivative):
        ((orders, factor),) = sp.Poly(sp.prod(heat[letter] for letter in one.variables), xi, eta).terms()
        table[one] = factor * array(*orders)
    return expression.subs(table).subs(_gram, array(0, 0))


def _functions(step: Derivation) -> None:
    """All functions of the loss and of its gradient, by derivatives by x and y."""
    step.say("So the functions of the loss are integrals over {x} and {y} of {W} times", x=_x, y=_y, W=W)
    for number, (name, letters) in enumerate(FUNCTIONS.items()):
        step.identity(
            "and those of its gradient" if number == len(PAIR) else "and" if number else "what follows:",
            _over_weight(sp.diff(_gram**L, *letters), _gram),
            chain(letters, composed),
            by=lambda gap: sp.expand(_by_arrays(gap.subs(ratios(array(0, 0))))),
            shown=sp.Function("integrand")(sp.Symbol(name)),
            how="with the heat equations inserted",
        )
    arrays = arrays_of(FUNCTIONS.values())
    step.identity(
        "They need {phi} and its derivatives of {orders}, in number",
        sp.Integer(len(arrays)),
        sp.Integer(14),
        shown=sp.Symbol("n"),
        phi=array(0, 0),
        orders=sp.Tuple(*arrays[1:]),
    )


def arrays_of(functions: Iterable[Letters]) -> list[sp.Symbol]:
    """The derivatives of phi that functions need, phi first."""
    found = {one for letters in functions for one in chain(letters, composed).atoms(sp.Symbol)}
    return [array(0, 0), *sorted((one for one in found if one.name.startswith("phi")), key=str)]


def _one_head(step: Derivation) -> None:
    """D and its derivatives, integrals over one variable."""
    base = _phi(alpha)
    step.define(
        "A head with itself. The mean logarithm is a single integral; but for a constant, with {phi} of {x} "
        "alone, the limit of large negative {y},",
        g,
        -sp.Integral(_phi(_x) ** L, (_x, -sp.oo, sp.oo)),
        phi=sp.Symbol("phi"),
        x=_x,
        y=_y,
    )
    for order, text in enumerate(
        (
            "{D} is twice the derivative by {alpha}: the integral over {x} of {W} times",
            "and its derivative",
            "and",
        )
    ):
        step.identity(
            text,
            -2 * _over_weight(sp.diff(base**L, alpha, order + 1), base),
            of_head(order) / W,
            by=lambda gap: sp.expand(_by_arrays(gap).subs(base, array(0, 0)).subs(ratios(array(0, 0)))),
            shown=sp.Function("integrand")(sp.Symbol("D" + "'" * order)),
            how="with the heat equation inserted",
            D=sp.Symbol("D"),
            alpha=alpha,
            x=_x,
            W=W,
        )
