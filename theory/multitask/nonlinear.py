"""Tasks that are functions of one direction: their loss to first order in one over the length."""

from __future__ import annotations

import sympy as sp

from theory.algebra import gaussian_mean, over_line
from theory.derivation import Derivation
from theory.multitask import first_order
from theory.multitask.loss import symbols
from theory.symbols import L, X, d, omega, phi, task_loss

_DEGREE = 3  # of the tasks that the formulas are written out for

theta, x, t, u, v, z = sp.symbols("theta x t u v z", real=True)
a, b = sp.symbols("a b", real=True)  # tilts of the index by two heads
m, p, r, S = sp.symbols("m_h m_k m_hk S", real=True)  # means under two heads and under both, variance
noise = sp.Symbol("sigma^2", positive=True)
mean, variance = sp.Function("mean"), sp.Function("var")
normal = sp.exp(-((x - theta) ** 2) / 2) / sp.sqrt(2 * sp.pi)


def coefficients(degree: int) -> tuple[sp.Symbol, ...]:
    """c_0, ..., c_K of a task."""
    return sp.symbols(f"c_:{degree + 1}", real=True)


def hermite(k: int, at: sp.Expr) -> sp.Expr:
    """The normalised Hermite polynomial h_k, from the generating function exp(u x - u^2 / 2)."""
    polynomial = sp.diff(sp.exp(u * x - u**2 / 2), u, k).subs(u, 0)
    return sp.expand(polynomial).subs(x, at) / sp.sqrt(sp.factorial(k))


def function(c: tuple[sp.Symbol, ...], at: sp.Expr) -> sp.Expr:
    """The target f = sum_k c_k h_k."""
    return sum((value * hermite(k, at) for k, value in enumerate(c)), sp.Integer(0))


def tilted(c: tuple[sp.Symbol, ...], at: sp.Expr) -> sp.Expr:
    """The tilted mean m(theta) = sum_k c_k theta^k / sqrt(k!)."""
    return sum((value * at**k / sp.sqrt(sp.factorial(k)) for k, value in enumerate(c)), sp.Integer(0))


def spread(c: tuple[sp.Symbol, ...], at: sp.Expr) -> sp.Expr:
    """The variance of f under the tilt, sum_(j >= 1) m^(j)(theta)^2 / j!."""
    orders = range(1, len(c))
    return sum(
        (sp.diff(tilted(c, theta), theta, j).subs(theta, at) ** 2 / sp.factorial(j) for j in orders),
        sp.Integer(0),
    )


def average(expression: sp.Expr, length: sp.Expr) -> sp.Expr:
    """Mean over a standard normal Z of a polynomial in t = length Z."""
    return gaussian_mean(sp.expand(expression.subs(t, length * z)), {z: sp.Integer(1)})


def length(first: sp.Expr, second: sp.Expr) -> sp.Expr:
    """tau_hk = (1 - 2 omega_h omega_k)^(-1/2), of queries weighted by two heads."""
    return (1 - 2 * first * second) ** sp.Rational(-1, 2)


def fluctuation(c: tuple[sp.Symbol, ...], w: tuple[sp.Expr, ...], h: int, k: int) -> sp.Expr:
    """N_hk / P_hk for heads ``w`` on the task's block."""
    first, second = tilted(c, w[h] * t), tilted(c, w[k] * t)
    both = tilted(c, (w[h] + w[k]) * t)
    inner = noise + spread(c, (w[h] + w[k]) * t) + (both - first) * (both - second)
    return average(inner, length(w[h], w[k]))


def drift(c: tuple[sp.Symbol, ...], w: tuple[sp.Expr, ...], values: tuple[sp.Expr, ...], h: int) -> sp.Expr:
    """C_h / P_hh, so that C = 2 sum_h mu_h C_h."""
    output = sum((mu * tilted(c, one * t) for mu, one in zip(values, w, strict=True)), sp.Integer(0))
    bias = tilted(c, w[h] * t) - tilted(c, 2 * w[h] * t)
    return average((output - function(c, t)) * bias, length(w[h], w[h]))


def derive() -> Derivation:
    """Tilted moments, the first order in 1/L, linear tasks, large blocks, intercepts and the lower bound."""
    step = Derivation(
        "Single-index tasks",
        "Derived here. Labels are a function of one uniformly random direction of the task's block, in "
        "normalised Hermite polynomials, and noise; features are white, weights decomposable.",
    )
    _tilt(step)
    _first_order(step)
    _query(step)
    _linear(step)
    _large_blocks(step)
    _intercept(step)
    _bound(step)
    return step


def _tilt(step: Derivation) -> None:
    """Mean and variance of a label under a tilt."""
    generating = sp.exp(u * x - u**2 / 2)
    c = coefficients(_DEGREE)
    step.say(
        "Attention with the logits {logit} tilts the law of the features: given the query {q} they are "
        "normal with the mean {shift} and variance one (theory of the first-order law). So the index "
        "{index} is normal, with the mean {theta} that is the entry times the index of the query.",
        logit=omega * sp.Symbol("x_l") * sp.Symbol("q"),
        q=sp.Symbol("q"),
        shift=omega * sp.Symbol("q"),
        index=x,
        theta=theta,
    )
    step.identity(
        "Hermite polynomials have the generating function {generating}, the sum over {k} of {power}. Its "
        "mean under the tilt:",
        over_line(generating * normal, x),
        sp.exp(u * theta),
        shown=mean(generating),
        generating=generating,
        k=sp.Symbol("k"),
        power=u ** sp.Symbol("k") * sp.Symbol("h_k") / sp.sqrt(sp.factorial(sp.Symbol("k"))),
    )
    step.identity(
        "Power by power that is the tilted mean of a polynomial, a power of the tilt. Of a function of "
        "degree three:",
        over_line(sp.expand(function(c, x)) * normal, x),
        tilted(c, theta),
        by=sp.expand,
        shown=mean(sp.Symbol("f")),
    )
    step.identity(
        "Two generating functions have under the tilt the mean product",
        over_line(generating * generating.subs(u, v) * normal, x),
        sp.exp(u * theta) * sp.exp(v * theta) * sp.exp(u * v),
        shown=mean(generating * generating.subs(u, v)),
    )
    j = sp.Symbol("j", integer=True, nonnegative=True)
    step.identity(
        "whose last factor is a sum over {j}. Each of its terms multiplies derivatives of order {j} of the "
        "two means, since {derivative}: the mean square of any function is the sum of the squares of the "
        "derivatives of its tilted mean, each over {factorial}.",
        sp.summation((u * v) ** j / sp.factorial(j), (j, 0, sp.oo)),
        sp.exp(u * v),
        shown=sp.Sum(u**j * v**j / sp.factorial(j), (j, 0, sp.oo)),
        j=j,
        derivative=sp.Eq(sp.Derivative(sp.exp(u * theta), theta), u * sp.exp(u * theta), evaluate=False),
        factorial=sp.factorial(j),
    )
    step.identity(
        "Without the term of order zero that is the variance. Of degree three:",
        over_line(sp.expand(function(c, x) ** 2) * normal, x) - tilted(c, theta) ** 2,
        spread(c, theta),
        by=sp.expand,
        shown=variance(sp.Symbol("f")),
    )


def _first_order(step: Derivation) -> None:
    """Bias and covariance of the outputs of heads, to first order."""
    y, alpha, gamma = sp.symbols("y alpha gamma", real=True)
    step.identity(
        "A head outputs a ratio of two sums over the pairs, whose mean is {m} and, to first order, {square} "
        "- {product} more: with {tilt} for the weight of a pair over its mean, the mean square of the "
        "denominator's deviation and its mean product with the numerator's. The label times the square of "
        "{tilt} has the mean under twice the tilt, {twice}. So a head is biased by",
        m * (sp.exp(alpha) - 1) / L - (r * sp.exp(alpha) - m) / L,
        (m - r) * sp.exp(alpha) / L,
        shown=sp.Symbol("bias_h"),
        m=m,
        square=m * (sp.exp(alpha) - 1) / L,
        product=(r * sp.exp(alpha) - m) / L,
        tilt=sp.Symbol("w"),
        twice=sp.Eq(r, sp.Function("m")(2 * a), evaluate=False),
    )
    step.identity(
        "The covariance of two heads is the mean of {deviations} over the length. Under the tilt by both, "
        "which has the weight {weight}, labels have the mean {r}, that of the sum of the tilts, and a "
        "variance {S}:",
        (S + r**2) - r * m - r * p + m * p,
        S + (r - m) * (r - p),
        by=sp.expand,
        shown=mean((y - m) * (y - p)),
        deviations=(y - m) * (y - p) * sp.Symbol("w_h") * sp.Symbol("w_k"),
        weight=sp.exp(gamma),
        r=r,
        S=S,
    )
    target, own = sp.symbols("f epsilon", real=True)
    mu = sp.symbols("mu_:2", real=True)
    means, biases = sp.symbols("m_:2", real=True), sp.symbols("beta_:2", real=True)
    covariances = sp.Matrix(2, 2, lambda h, k: sp.Symbol(f"V_{min(h, k)}_{max(h, k)}", real=True))
    deviations = sp.symbols("e_:2", real=True)
    output = sum(mu[h] * (means[h] + biases[h] / L + deviations[h]) for h in range(2))
    squared = sp.expand((output - target - own) ** 2)
    averaged = sp.Integer(0)
    for (one, other, label), factor in sp.Poly(squared, *deviations, own).terms():
        pairs = {(0, 0, 0): 1, (2, 0, 0): covariances[0, 0] / L, (0, 2, 0): covariances[1, 1] / L}
        pairs |= {(1, 1, 0): covariances[0, 1] / L, (0, 0, 2): noise}
        averaged += factor * pairs.get((one, other, label), 0)
    read = sum(mu[h] * means[h] for h in range(2))
    step.identity(
        "So the mean squared error, of two heads, is to first order that of long prompts, twice its product "
        "with the biases, the covariances and the label noise of the query.",
        averaged - (sum(mu[h] * biases[h] for h in range(2)) / L) ** 2,
        (read - target) ** 2
        + 2 * (read - target) * sum(mu[h] * biases[h] for h in range(2)) / L
        + sum(mu[h] * mu[k] * covariances[h, k] for h in range(2) for k in range(2)) / L
        + noise,
        by=sp.expand,
        shown=mean(sp.Symbol("error") ** 2),
        how="the square expanded, every product replaced by its mean, without the square of the biases",
    )


def _query(step: Derivation) -> None:
    """The mean over the query of a polynomial of its index, weighted by the exponential of its norm."""
    g = sp.Symbol("g", positive=True)
    weighted = sp.exp(-g * t**2 / 2) / sp.sqrt(2 * sp.pi)
    factor = step.identity(
        "Last the query. Its squared norm in the task's block is the square of its index {t}, and the norm "
        "in the other {rest} coordinates. The exponential of a pair of heads multiplies the normal density "
        "of the index by {weight}. With {g_is} the mean of that is",
        over_line(weighted, t),
        g ** sp.Rational(-1, 2),
        shown=mean(sp.exp(u * t**2)),
        t=t,
        rest=d - 1,
        weight=sp.exp(u * t**2),
        g_is=sp.Eq(g, 1 - 2 * u, evaluate=False),
    )
    wide = sp.exp(-(t**2) / (2 / g)) / sp.sqrt(2 * sp.pi / g)
    step.identity(
        "and beyond that factor the weighted law is that of {longer}, with a standard normal {z}.",
        weighted / factor,
        wide,
        shown=sp.exp(u * t**2) * sp.Function("density")(t) / factor,
        longer=sp.Eq(t, z / sp.sqrt(g), evaluate=False),
        z=z,
    )
    step.identity(
        "The factor and those of the other coordinates are together that of the first-order law of linear "
        "tasks: {power} of the block.",
        factor * g ** (-(d - 1) / 2),
        g ** (-d / 2),
        by=sp.powsimp,
        shown=sp.Symbol("P_h_k"),
        power=g ** (-d / 2),
    )
    c, w = coefficients(2), sp.symbols("omega_:2", real=True)
    step.define(
        "So the covariance of two heads, times the length and over {P}, is a mean over a standard normal. Of "
        "degree two:",
        sp.Symbol("N_0_1") / sp.Symbol("P_0_1"),
        sp.factor(fluctuation(c, w, 0, 1)),
        P=sp.Symbol("P_0_1"),
    )
    step.identity(
        "What prompts of infinite length leave is a sum over degrees. Of one head, of degree three, the "
        "output has the Hermite coefficients {first} and so on: powers have parts in the degrees below.",
        average(
            (sp.Symbol("mu") * tilted(coefficients(3), omega * t) - function(coefficients(3), t)) ** 2,
            sp.Integer(1),
        ),
        sum((value - sp.Symbol("mu") * _read(3, k)) ** 2 for k, value in enumerate(coefficients(3))),
        by=sp.expand,
        shown=mean((sp.Symbol("mu") * sp.Function("m")(omega * t) - sp.Function("f")(t)) ** 2),
        first=sp.Symbol("mu") * _read(3, 0),
    )


def _read(degree: int, k: int) -> sp.Expr:
    """Hermite coefficient of degree k of one head's output t -> m(omega t)."""
    return average(tilted(coefficients(degree), omega * t) * hermite(k, t), sp.Integer(1))


def _linear(step: Derivation) -> None:
    """Linear tasks, as they were."""
    at = symbols(2, 1, 1)
    w, values = tuple(at["omega"][:, 0]), tuple(at["mu"][:, 0])
    power = at["powers"][0, 0]
    known = {at["kappas"][0]: 1, at["noises"][0]: noise}
    linear = {sp.Symbol("c_0", real=True): 0, sp.Symbol("c_1", real=True): sp.sqrt(power)}
    overlap = first_order.overlap(at, 0, 1)
    step.identity(
        "A task {f} is linear, of the power {A}. Its covariances are those of the first-order law,",
        (overlap * fluctuation(coefficients(1), w, 0, 1)).subs(known).subs(linear),
        first_order.fluctuation(at, 0, 1, 0).subs(known),
        shown=sp.Symbol("N_0_1"),
        f=sp.Eq(sp.Symbol("f"), sp.sqrt(power) * t, evaluate=False),
        A=power,
    )
    both = sum(
        2 * values[h] * first_order.overlap(at, h, h) * drift(coefficients(1), w, values, h) for h in range(2)
    )
    step.identity(
        "and so are its biases.",
        both.subs(known).subs(linear),
        first_order.bias(at, 0).subs(known),
        shown=sp.Symbol("C_0"),
    )


def _large_blocks(step: Derivation) -> None:
    """The asymptotic law, in which an intercept makes no noise."""
    W, V = sp.symbols("W_0 W_1", positive=True)
    c = coefficients(2)
    w = (W / sp.sqrt(d), V / sp.sqrt(d))
    step.identity(
        "In a large block, with {scaling} fixed, tilts are small. The covariance of two heads becomes the "
        "overlap of linear tasks times the variance of the labels: that of an intercept is zero. Of degree "
        "two:",
        sp.limit(fluctuation(c, w, 0, 1), d, sp.oo),
        noise + c[1] ** 2 + c[2] ** 2,
        shown=sp.Limit(sp.Symbol("N_0_1") / sp.Symbol("P_0_1"), d, sp.oo, "-"),
        scaling=sp.Eq(W, sp.sqrt(d) * sp.Symbol("omega_0"), evaluate=False),
    )
    step.identity(
        "with the overlap",
        sp.limit((1 - 2 * W * V / d) ** (-d / 2), d, sp.oo),
        sp.exp(W * V),
        shown=sp.Limit(sp.Symbol("P_0_1"), d, sp.oo, "-"),
    )
    step.identity(
        "Biases, times an OV value that reads the linear part, stay of order one and are left out beside the "
        "noise, which grows with the block: over {d}, of an odd task,",
        sp.limit(
            drift((sp.Integer(0), c[1], sp.Integer(0)), (w[0],), (sp.sqrt(d) * v,), 0) * sp.sqrt(d) * v / d,
            d,
            sp.oo,
        ),
        sp.Integer(0),
        shown=sp.Limit(sp.Symbol("C_0") / d, d, sp.oo, "-"),
        d=d,
    )


def _intercept(step: Derivation) -> None:
    """What heads make of an intercept."""
    c = coefficients(1)
    value = sp.Symbol("mu", positive=True)
    step.identity(
        "Attention weights sum to one, so that a constant passes every head: an intercept is multiplied by "
        "the sum of the OV values, whatever the heads attend to. One head that reads a function of degree "
        "one:",
        average(value * tilted(c, omega * t), sp.Integer(1)),
        value * c[0],
        shown=sp.Symbol("F_0"),
    )
    best = sp.sqrt(d) / (1 + sp.E * d * phi / L)
    step.identity(
        "The single head that is best for the linear part alone has {mu}: in long prompts it multiplies the "
        "intercept by",
        sp.limit(best, L, sp.oo),
        sp.sqrt(d),
        shown=sp.Limit(best, L, sp.oo, "-"),
        mu=sp.Eq(value, best, evaluate=False),
    )
    w = sp.Symbol("w", positive=True)
    overlaps = 2 * sp.exp(d * w**2) - 2 * sp.exp(-d * w**2)
    step.identity(
        "Two heads of the entries {w} and {minus} with OV values of opposite sign pass nothing on. They "
        "read {read} of the linear part, with the noise",
        value**2 * overlaps,
        (2 * value * w) ** 2 * sp.sinh(d * w**2) / w**2,
        by=lambda gap: sp.expand(gap.rewrite(sp.exp)),
        shown=value**2 * overlaps,
        w=w,
        minus=-w,
        read=2 * value * w,
    )
    step.identity(
        "of the effective dimension {X}, which small heads bring down to",
        sp.limit(sp.sinh(d * w**2) / w**2, w, 0),
        d,
        shown=sp.Limit(sp.sinh(d * w**2) / w**2, w, 0),
        X=sp.Eq(X, sp.sinh(d * w**2) / w**2, evaluate=False),
    )


def _bound(step: Derivation) -> None:
    """What no number of heads goes below."""
    k = sp.Symbol("k", integer=True, nonnegative=True)
    first, second = sp.symbols("omega_h omega_k", positive=True)
    step.identity(
        "Under the asymptotic law the overlap of two heads is a sum over degrees,",
        sp.summation((d * first * second) ** k / sp.factorial(k), (k, 0, sp.oo)),
        sp.exp(d * first * second),
        shown=sp.Sum(d**k * first**k * second**k / sp.factorial(k), (k, 0, sp.oo)),
    )
    own, other = sp.symbols("mu_h mu_k", real=True)
    step.identity(
        "so that the noise of any heads is a sum of squares of their moments {M}, over all degrees: of one "
        "degree and two heads,",
        own**2 * first ** (2 * k) + 2 * own * other * first**k * second**k + other**2 * second ** (2 * k),
        (own * first**k + other * second**k) ** 2,
        by=sp.expand,
        shown=sp.Symbol("M_k") ** 2,
        M=sp.Eq(sp.Symbol("M_k"), own * first**k + other * second**k, evaluate=False),
    )
    step.say(
        "What is read is linear in the moments, and in those up to the highest degree alone. So the least "
        "over moments, of the noise of these degrees, is a lower bound; with heads enough, made small, "
        "moments are free and those beyond vanish."
    )
    moment, power, label = (
        sp.Symbol("M", real=True),
        sp.Symbol("a", positive=True),
        sp.Symbol("V", positive=True),
    )
    factorial = sp.Symbol("k!", positive=True)
    degree = sp.Symbol("d^k", positive=True)
    risk = power * (1 - moment) ** 2 + label * degree / (factorial * L) * moment**2
    best = 1 / (1 + label * degree / (factorial * L * power))
    step.minimum(
        "The part {read} of the highest degree is read by its own moment alone. Of the power {a}, with its "
        "noise, it leaves at least",
        risk,
        moment,
        best,
        a=power,
        read=sp.Eq(sp.Symbol("F_K"), sp.Symbol("c_K") * moment, evaluate=False),
    )
    step.identity(
        "like a linear task of the effective dimension {X} of that degree: prompts must be as long.",
        risk.subs(moment, best),
        task_loss(power, label / power, degree / factorial),
        shown=sp.Symbol("least"),
        X=sp.Eq(X, degree / factorial, evaluate=False),
    )
    c = sp.Symbol("c", positive=True)
    step.minimum(
        "Not even endless prompts are enough for a function without its lower degrees, whose parts come "
        "along: of the second degree alone, {f}, a third is left.",
        average((moment * c * t**2 / sp.sqrt(2) - c * hermite(2, t)) ** 2, sp.Integer(1)),
        moment,
        sp.Rational(2, 3),
        f=sp.Eq(sp.Symbol("f"), c * sp.Symbol("h_2"), evaluate=False),
    )
