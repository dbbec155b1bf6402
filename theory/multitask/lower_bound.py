"""The asymptotic loss below which no decomposable attention can go, whatever its number of heads."""

from __future__ import annotations

import sympy as sp

from theory.algebra import over_line
from theory.derivation import Derivation
from theory.multitask.loss import kernel, symbols, task_losses
from theory.symbols import L, a, d, phi, s, task_loss


def block_bound(power: sp.Expr, variance: sp.Expr, size: sp.Expr) -> sp.Expr:
    """Least loss of a task on one block: A / (1 + L A / (s d)), which is v(d) where the task has no other."""
    return power / (1 + L * power / (variance * size))


def ratio(gain: sp.Expr) -> sp.Expr:
    """Loss of the head-per-task limit over the bound, without query noise; ``gain`` is L / (phi d)."""
    return (1 + gain) / (1 + gain / sp.E)


def derive() -> Derivation:
    """The overlaps exceed their part of first order; so does the noise, which bounds the loss."""
    step = Derivation(
        "The lower bound",
        "Derived here, from the product theorem of Schur (1911). For decomposable weights under the "
        "asymptotic loss: nothing is claimed of other weights or of short contexts. Any number of heads, any "
        "covariance, tasks that overlap or not.",
    )
    _squares(step)
    _remainder(step)
    _loss(step)
    _ratio(step)
    return step


def _squares(step: Derivation) -> None:
    """Expand the overlaps in squares."""
    u, v = sp.symbols("u v", real=True)
    n, m = sp.symbols("n m", integer=True, nonnegative=True)
    x = sp.Matrix(2, 2, lambda h, b: sp.Symbol(f"x_{h}_{b}", real=True))
    mu = sp.Matrix(sp.symbols("mu_:2", real=True))
    scaled = sp.sqrt(sp.Symbol("d_b")) * sp.Symbol("kappa_b") * sp.Symbol("omega_h_b")
    step.identity(
        "Let {x}. The overlap of two heads is the product over the blocks of {factor}, with {u} from the "
        "one head and {v} from the other, and every factor is a series.",
        sp.Sum(u**n * v**n / sp.factorial(n), (n, 0, sp.oo)),
        sp.exp(u * v),
        x=sp.Eq(sp.Symbol("x_h_b"), scaled, evaluate=False),
        factor=sp.exp(u * v),
        u=u,
        v=v,
    )
    pairs = [(h, k) for h in range(2) for k in range(2)]
    term = sum(mu[h] * mu[k] * (x[h, 0] * x[k, 0]) ** n * (x[h, 1] * x[k, 1]) ** m for h, k in pairs)
    root = sum(mu[h] * x[h, 0] ** n * x[h, 1] ** m for h in range(2))
    weight = sp.factorial(n) * sp.factorial(m)
    form, quadratic = sp.Symbol("N"), sp.Function("N")
    step.sign(
        "So the quadratic form {N} of the overlaps in the OV values, here of two heads, is the sum of its "
        "parts of degree {n} in the first block, {m} in the second, and so on, which are squares: {part}.",
        term / weight,
        ">=",
        form=root**2 / weight,
        shown=quadratic(n, m),
        part=sp.Eq(quadratic(n, m), root**2 / weight, evaluate=False),
        N=form,
        n=n,
        m=m,
    )
    gram = x * x.T
    step.identity(
        "The parts of one total degree together belong to an entrywise power of the Gram matrix with "
        "entries {entry}. That such powers are sums of squares is the product theorem; the second power, "
        "for one:",
        sum(mu[h] * mu[k] * gram[h, k] ** 2 for h, k in pairs),
        sum(sum(mu[h] * x[h, b] * x[h, e] for h in range(2)) ** 2 for b, e in pairs),
        shown=sp.Add(*[mu[h] * mu[k] * sp.Symbol(f"G_{h}_{k}") ** 2 for h, k in pairs]),
        entry=sp.Eq(sp.Symbol("G_0_1"), gram[0, 1], evaluate=False),
    )
    step.identity(
        "The parts of degree zero and one:",
        sum((term / weight).subs({n: i, m: j}) for i, j in ((0, 0), (1, 0), (0, 1))),
        (mu[0] + mu[1]) ** 2 + sum((mu[0] * x[0, b] + mu[1] * x[1, b]) ** 2 for b in range(2)),
        shown=quadratic(0, 0) + quadratic(1, 0) + quadratic(0, 1),
    )


def _remainder(step: Derivation) -> None:
    """The terms that the bound drops, in closed form: they vanish for no OV values but zero."""
    x, y, z = sp.symbols("x y z", real=True)
    density = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    tilt = sp.Function("psi")

    def mean(value: sp.Expr) -> sp.Expr:
        return over_line(value * density, z)

    def weight(rate: sp.Expr) -> sp.Expr:
        return sp.exp(rate * z - rate**2 / 2)

    bracket = sp.Function("mean")
    step.identity(
        "All parts but those of degree one together are a mean square. For a standard normal {z}, one for "
        "every block, give each head the function {e}. Its mean is one,",
        mean(weight(x)),
        sp.Integer(1),
        shown=bracket(tilt(x)),
        z=z,
        e=sp.Eq(tilt(x), weight(x), evaluate=False),
    )
    step.identity("its mean with {z} is {x},", mean(z * weight(x)), x, shown=bracket(z * tilt(x)), z=z, x=x)
    step.identity(
        "and the mean product of two is the overlap of the heads.",
        mean(weight(x) * weight(y)),
        sp.exp(x * y),
        shown=bracket(tilt(x) * tilt(y)),
    )
    mu, xs, es = sp.symbols("mu_:2", real=True), sp.symbols("x_:2", real=True), sp.symbols("e_:2", real=True)
    pairs = [(h, k) for h in range(2) for k in range(2)]
    means = {(1, 0, 0): 1, (0, 1, 0): 1, (0, 0, 0): 1, (0, 0, 1): 0, (0, 0, 2): 1}
    means |= {(1, 0, 1): xs[0], (0, 1, 1): xs[1]}
    means |= {(2, 0, 0): sp.exp(xs[0] ** 2), (0, 2, 0): sp.exp(xs[1] ** 2), (1, 1, 0): sp.exp(xs[0] * xs[1])}
    read, pull = sp.Symbol("f"), mu[0] * xs[0] + mu[1] * xs[1]
    rest = sp.Poly((mu[0] * es[0] + mu[1] * es[1] - pull * z) ** 2, *es, z)
    step.identity(
        "By these means the form {N}, here for two heads and one block, exceeds its part of degree one by "
        "the mean square of {f} less its part along {z}. That is positive unless the sum is a multiple of "
        "{z}; but a sum of exponentials is that only if it is zero, and its part of degree one then too. In "
        "particular the overlaps of different heads are positive definite.",
        sum(factor * means[degrees] for degrees, factor in rest.terms()),
        sum(mu[h] * mu[k] * sp.exp(xs[h] * xs[k]) for h, k in pairs) - pull**2,
        shown=bracket((read - pull * z) ** 2),
        f=sp.Eq(read, mu[0] * tilt(xs[0]) + mu[1] * tilt(xs[1]), evaluate=False),
        N=sp.Symbol("N"),
        z=z,
    )


def _loss(step: Derivation) -> None:
    """Bound the loss of a task block by block."""
    at = symbols(2, 2, 1)
    omega, mu, sizes, kappas = (at[key] for key in ("omega", "mu", "sizes", "kappas"))
    reads = [kappas[b] * (mu[0, 0] * omega[0, b] + mu[1, 0] * omega[1, b]) for b in range(2)]
    T = sp.symbols("T_:2", real=True)
    variance, noise = sum(at["powers"]) + at["noises"][0], sp.Symbol("N")
    forms = [mu[h, 0] * mu[k, 0] * kernel(omega, sizes, kappas, h, k) for h in range(2) for k in range(2)]
    powers, named = at["powers"], sp.Symbol("s_0")
    step.identity(
        "The loss of a task, here on two blocks, knows the heads through the noise {N} and the fractions "
        "{T} of the blocks' signals that they read off.",
        task_losses(at)[0]
        - at["noises"][0]
        - sum(powers[0, b] * (1 - reads[b]) ** 2 for b in range(2))
        - variance / L * sum(forms),
        sp.Integer(0),
        shown=sp.Symbol("loss_0")
        - sp.Symbol("sigma_0") ** 2
        - sum(powers[0, b] * (1 - T[b]) ** 2 for b in range(2))
        - named / L * noise,
        N=noise,
        T=sp.Eq(T[0], reads[0], evaluate=False),
    )
    scaled = [
        sp.sqrt(sizes[b]) * kappas[b] * (mu[0, 0] * omega[0, b] + mu[1, 0] * omega[1, b]) for b in range(2)
    ]
    step.identity(
        "The fractions also make the part of degree one: the noise is at least {least}, and more unless the "
        "heads read off nothing.",
        sum(root**2 for root in scaled),
        sum(sizes[b] * reads[b] ** 2 for b in range(2)),
        shown=sp.Function("N")(1, 0) + sp.Function("N")(0, 1),
        least=sum(sizes[b] * T[b] ** 2 for b in range(2)),
    )
    T = sp.Symbol("T", real=True)
    block = a * (1 - T) ** 2 + s / L * d * T**2
    step.minimum(
        "That bounds the loss by a sum over the blocks. A block of {d} coordinates and power {a}, {s} being "
        "the variance of the labels:",
        block,
        T,
        1 / (1 + s * d / (L * a)),
        d=d,
        a=a,
        s=s,
    )
    step.identity(
        "The least value, written otherwise:",
        block.subs(T, 1 / (1 + s * d / (L * a))),
        block_bound(a, s, d),
        shown=a * d * s / (L * a + d * s),
    )
    A, sizes, b = sp.IndexedBase("A"), sp.IndexedBase("d"), sp.Symbol("b", integer=True)
    step.say(
        "Hence {bound} for every task, of power {A} in block {b} of {B}, for all decomposable weights under "
        "the asymptotic loss. The inequality is strict: what "
        "minimises it reads off something.",
        bound=sp.Ge(
            sp.Symbol("loss") - sp.Symbol("sigma") ** 2,
            sp.Sum(block_bound(A[b], s, sizes[b]), (b, 1, sp.Symbol("B"))),
            evaluate=False,
        ),
        A=A[b],
        b=b,
        B=sp.Symbol("B"),
    )
    step.identity(
        "If the task has one block alone, this is the loss at effective dimension {d}: under the asymptotic "
        "loss no decomposable attention has an effective dimension of {d} or less.",
        block_bound(a, phi * a, d),
        task_loss(a, phi, d),
        shown=sp.Function("v")(d),
        d=d,
    )


def _ratio(step: Derivation) -> None:
    """Compare the limit of the balanced flow with the bound."""
    g, v = sp.Symbol("g", positive=True), sp.Function("v")
    quotient = v(sp.E * d) / v(d)
    step.identity(
        "The limit of the balanced flow, of effective dimension {X}, is above the bound by a factor that "
        "depends on {g} alone.",
        (task_loss(a, phi, sp.E * d) / task_loss(a, phi, d)).subs(phi, L / (g * d)),
        ratio(g),
        shown=quotient,
        X=sp.E * d,
        g=sp.Eq(g, L / (phi * d), evaluate=False),
    )
    step.sign(
        "The factor is above one,",
        ratio(g) - 1,
        ">",
        form=g * (1 - 1 / sp.E) / (1 + g / sp.E),
        shown=quotient - 1,
    )
    step.sign("below e,", sp.E - ratio(g), ">", form=(sp.E - 1) / (1 + g / sp.E), shown=sp.E - quotient)
    step.sign(
        "and grows in between,",
        sp.diff(ratio(g), g),
        ">",
        form=(1 - 1 / sp.E) / (1 + g / sp.E) ** 2,
        shown=sp.Derivative(quotient, g),
    )
    step.identity(
        "from one, for contexts short against the dimension,", sp.Limit(ratio(g), g, 0), sp.Integer(1)
    )
    step.identity("to e, for long ones.", sp.Limit(ratio(g), g, sp.oo), sp.E)
