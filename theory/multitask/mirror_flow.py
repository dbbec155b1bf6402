"""The gradient flow of the trained weights, closed in omega and mu: a mirror flow."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.symbols import c, d, mu, omega, t

k, q, o, v = sp.symbols("k q o v", real=True)  # trained weights: key, query, and the two of the OV circuit
G, g = sp.symbols("G g", real=True)  # gradient of the loss by one coordinate's omega, and by mu
D = sp.Symbol("D", positive=True)  # imbalance
FLOW = {k: -c * q * G, q: -c * k * G, o: -v * g, v: -o * g}


def omega_rate(omega: sp.Expr, G: sp.Expr, D: sp.Expr, c: sp.Expr) -> sp.Expr:
    """domega/dt = -c (c^2 D^2 + 4 omega^2)^(1/2) G, with G = (1/d_b) dloss/domega_hb."""
    return -c * sp.sqrt(c**2 * D**2 + 4 * omega**2) * G


def mu_rate(mu: sp.Expr, g: sp.Expr, D: sp.Expr) -> sp.Expr:
    """dmu/dt = -(D^2 + 4 mu^2)^(1/2) g, with g = dloss/dmu_hi."""
    return -sp.sqrt(D**2 + 4 * mu**2) * g


def omega_dual(omega: sp.Expr, D: sp.Expr, c: sp.Expr) -> sp.Expr:
    """The dual coordinate x of omega = (c D / 2) sinh x."""
    return sp.asinh(2 * omega / (c * D))


def mu_dual(mu: sp.Expr, D: sp.Expr) -> sp.Expr:
    """The dual coordinate z of mu = (D / 2) sinh z."""
    return sp.asinh(2 * mu / D)


def hypentropy(mu: sp.Expr, D: sp.Expr) -> sp.Expr:
    """The mirror potential of mu, whose second derivative is (D^2 + 4 mu^2)^(-1/2)."""
    return (mu * sp.asinh(2 * mu / D) - sp.sqrt(D**2 + 4 * mu**2) / 2) / 2


def along(quantity: sp.Expr) -> sp.Expr:
    """Rate of change of a function of the trained weights along their gradient flow."""
    return sp.Add(*(sp.diff(quantity, weight) * rate for weight, rate in FLOW.items()))


def _rate(of: sp.Expr) -> sp.Expr:
    """Left side of an equation of motion: the unevaluated derivative by time."""
    return sp.Derivative(of, t, evaluate=False)


def derive() -> Derivation:
    """From four trained weights to two values that move on their own, in coordinates of constant speed."""
    step = Derivation(
        "The gradient flow as a mirror flow",
        "Chen, Sheen, Wang and Yang (2024), section 4, for balanced weights. In general it is the flow of a "
        "product of two weights, with the hypentropy of Ghai, Hazan and Singer (2020) as its potential.",
    )
    _closure(step)
    _descent(step)
    _balanced(step)
    _potential(step)
    _dual(step)
    return step


def _closure(step: Derivation) -> None:
    """The conserved imbalances, and the rates of omega and mu that follow."""
    loss = sp.Function("loss")
    step.say(
        "In one coordinate of one head a key and a query weight make {omega}, and the two weights of its OV "
        "circuit make {mu}. Let {G} be the derivative of the loss by this {w}, and {g} that by {m}.",
        omega=sp.Eq(omega, c * k * q),
        mu=sp.Eq(mu, o * v),
        G=G,
        g=g,
        w=omega,
        m=mu,
    )
    for weight, product, slope, words in (
        (k, c * k * q, G, "Gradient flow of the key weight, by the chain rule."),
        (q, c * k * q, G, "Of the query weight."),
        (v, o * v, g, "Of the value weight."),
        (o, o * v, g, "Of the output weight."),
    ):
        downhill = -sp.diff(loss(product), weight).replace(sp.Subs, lambda *_, slope=slope: slope)
        step.identity(words, downhill, FLOW[weight], shown=_rate(weight))
    step.identity(
        "The difference of the squares, the imbalance, is conserved in the KQ circuit.",
        along(k**2 - q**2),
        sp.Integer(0),
        shown=_rate(k**2 - q**2),
    )
    step.identity(
        "It is conserved in the OV circuit as well.",
        along(v**2 - o**2),
        sp.Integer(0),
        shown=_rate(v**2 - o**2),
    )
    step.identity(
        "The product moves with the sum of the squares.",
        along(c * k * q),
        -(c**2) * (k**2 + q**2) * G,
        shown=_rate(omega),
    )
    step.identity(
        "The sum follows from the product and from the conserved difference, since it is not negative.",
        (k**2 + q**2) ** 2,
        (k**2 - q**2) ** 2 + 4 * k**2 * q**2,
    )
    imbalance = sp.Eq(D, sp.Abs(k**2 - q**2))
    step.identity(
        "With {imbalance} the weights drop out: the KQ value moves on its own.",
        along(c * k * q),
        omega_rate(omega, G, D, c),
        by=lambda gap: _rooted(gap, omega, c * k * q, k**2 - q**2, c * (k**2 + q**2)),
        how="in terms of the factors; the radicand is a square",
        shown=_rate(omega),
        imbalance=imbalance,
    )
    step.identity(
        "So does the OV value, with {imbalance} and no key scale.",
        along(o * v),
        mu_rate(mu, g, D),
        by=lambda gap: _rooted(gap, mu, o * v, v**2 - o**2, v**2 + o**2),
        how="in terms of the factors; the radicand is a square",
        shown=_rate(mu),
        imbalance=sp.Eq(D, sp.Abs(v**2 - o**2)),
    )


def _rooted(gap: sp.Expr, value: sp.Symbol, product: sp.Expr, imbalance: sp.Expr, root: sp.Expr) -> sp.Expr:
    """The gap in terms of the weights; a square root whose radicand is ``root`` squared becomes ``root``."""
    in_weights = gap.subs({value: product, D: imbalance})
    is_root = {
        power: root
        for power in in_weights.atoms(sp.Pow)
        if power.exp == sp.S.Half and sp.expand(power.base - root**2) == 0
    }
    return sp.expand(in_weights.xreplace(is_root))


def _descent(step: Derivation) -> None:
    """The loss falls."""
    one, other = sp.symbols("D_1 D_2", nonnegative=True)
    step.sign(
        "The loss never rises. A KQ value in its {d} coordinates, with imbalance {one}, and an OV value, "
        "with imbalance {other}, contribute the rate",
        d * G * omega_rate(omega, G, one, c) + g * mu_rate(mu, g, other),
        "<=",
        form=-d * c * sp.sqrt(c**2 * one**2 + 4 * omega**2) * G**2 - sp.sqrt(other**2 + 4 * mu**2) * g**2,
        shown=sp.Add(d * G * _rate(omega), g * _rate(mu)),
        d=d,
        one=one,
        other=other,
    )


def _balanced(step: Derivation) -> None:
    """Without imbalance the signs are conserved."""
    balanced = omega_rate(omega, G, sp.Integer(0), c)
    step.identity(
        "Balanced weights, {zero}: the speed is proportional to the size.",
        balanced,
        -2 * c * sp.Abs(omega) * G,
        shown=_rate(omega),
        zero=sp.Eq(D, 0, evaluate=False),
    )
    step.identity(
        "An entry at 0 stays there.",
        balanced.subs(omega, 0),
        sp.Integer(0),
        shown=sp.Subs(_rate(omega), omega, 0, evaluate=False),
    )
    x = sp.Function("x", real=True)(t)
    sign = sp.Symbol("epsilon", real=True)
    rate = -2 * c * sign * G
    step.identity(
        "Every other entry keeps its sign {sign}, 1 or -1: {path} solves the equation if {constant}. The "
        "exponent is the dual coordinate of balanced weights. Its rate does not depend on where it is, and "
        "it is finite as long as the gradient is, so that the entry never reaches 0.",
        sp.diff(sign * sp.exp(x), t).subs(sp.diff(x, t), rate),
        balanced,
        by=lambda gap: sp.Add(
            *(sp.Abs(gap.subs(omega, sign * sp.exp(x)).subs(sign, one)) for one in (1, -1))
        ),
        shown=_rate(omega),
        sign=sign,
        path=sp.Eq(omega, sign * sp.exp(x)),
        constant=sp.Eq(sp.diff(x, t), rate),
    )


def _potential(step: Derivation) -> None:
    """The flow is the mirror flow of the hypentropy."""
    psi = sp.Function("psi")
    potential = hypentropy(mu, D)
    step.define("With an imbalance there is a potential, the hypentropy.", psi(mu), potential)
    first = step.identity(
        "Its slope is an odd function that increases from minus to plus infinity.",
        sp.diff(potential, mu),
        mu_dual(mu, D) / 2,
        shown=sp.Derivative(psi(mu), mu),
    )
    second = step.identity(
        "Its second derivative is one over the speed.",
        sp.diff(first, mu),
        1 / sp.sqrt(D**2 + 4 * mu**2),
        shown=sp.Derivative(psi(mu), mu, mu),
    )
    step.sign("So it is strictly convex.", second, ">", shown=sp.Derivative(psi(mu), mu, mu))
    step.identity(
        "The flow moves the slope of the potential, and not the value itself, down the gradient: it is a "
        "mirror flow.",
        sp.diff(first, mu) * mu_rate(mu, g, D),
        -g,
        shown=_rate(sp.Derivative(psi(mu), mu)),
    )
    scaled = hypentropy(omega, c * D) / c
    step.identity(
        "For {omega} the potential is that of imbalance {cD}, divided by {c}.",
        sp.diff(scaled, omega, 2) * omega_rate(omega, G, D, c),
        -G,
        shown=_rate(sp.Derivative(psi(omega) / c, omega)),
        omega=omega,
        cD=c * D,
        c=c,
    )


def _dual(step: Derivation) -> None:
    """Coordinates in which the speed is constant."""
    x, z = sp.symbols("x z", real=True)
    dual = step.define(
        "The dual coordinate of an OV value is twice the slope of its potential.", z, mu_dual(mu, D)
    )
    step.identity("Back to the value:", D / 2 * sp.sinh(dual), mu, shown=D / 2 * sp.sinh(z))
    step.identity(
        "Its rate is a constant times the gradient: the value itself has dropped out.",
        sp.diff(dual, mu) * mu_rate(mu, g, D),
        -2 * g,
        shown=_rate(z),
    )
    dual = step.define("In the same way for a KQ value.", x, omega_dual(omega, D, c))
    step.identity("Back to the value:", c * D / 2 * sp.sinh(dual), omega, shown=c * D / 2 * sp.sinh(x))
    step.identity(
        "The rate is that of balanced weights of positive sign.",
        sp.diff(dual, omega) * omega_rate(omega, G, D, c),
        -2 * c * G,
        shown=_rate(x),
    )
    step.identity(
        "But 0 is now a point like any other, and signs may change. A KQ value crosses it at this rate.",
        omega_rate(omega, G, D, c).subs(omega, 0),
        -(c**2) * D * G,
        shown=sp.Subs(_rate(omega), omega, 0, evaluate=False),
    )
    step.identity(
        "An OV value crosses it at this one.",
        mu_rate(mu, g, D).subs(mu, 0),
        -D * g,
        shown=sp.Subs(_rate(mu), mu, 0, evaluate=False),
    )
