"""The noise of stochastic gradient descent: how gradients scatter, what unbalances factors, what it costs."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.symbols import L, d

COV = sp.Function("Cov")
kappa, omega, omega2 = sp.symbols("kappa omega_h omega_k", positive=True)


def tilt(one: sp.Expr, other: sp.Expr) -> sp.Expr:
    """E_hk of one block, of the semi-singular values of two heads."""
    return sp.exp(d * kappa**2 * one * other)


def stationary_loss(step: sp.Expr, curvature: sp.Expr, noise: sp.Expr, batch: sp.Expr) -> sp.Expr:
    """What a mode of some curvature costs once the noise of its gradient, of that variance, is stationary."""
    return step * noise / (2 * batch * (2 - step * curvature))


def derive() -> Derivation:
    """Products of Gaussians, readings and their tilts, the imbalance of a step, stationary modes."""
    step = Derivation(
        "The noise of stochastic gradient descent",
        "Derived here. Decomposable weights; Isserlis (1918) for moments of Gaussians.",
    )
    _products(step)
    _readings(step)
    _imbalance(step)
    _modes(step)
    return step


def _products(step: Derivation) -> None:
    """The covariance of products of two Gaussians, given the query and over it."""
    a, b, c = sp.symbols("sigma_e c_1 c_2", positive=True)
    u, v, w = sp.symbols("u v w", real=True)
    step.say(
        "A gradient is a product, twice the error of a prediction times what a head reads. Given covariates "
        "and query both are linear in the labels of a task, hence Gaussian."
    )

    def mean(value: sp.Expr) -> sp.Expr:
        """Over independent standard normal u, v and w."""
        found = sp.expand(value)
        for one in (u, v, w):
            powers = sp.Poly(found, one).all_coeffs()[::-1]
            found = sp.expand(
                sum(k * (sp.factorial2(n - 1) if n else 1) for n, k in enumerate(powers) if n % 2 == 0)
            )
        return found

    p, q, r, s = sp.symbols("p q r s", real=True)
    error, one, other = a * u, b * (p * u + q * v), c * (r * u + s * v + w)
    step.identity(
        "An error {e} and two readings {one} and {other} of independent standard normal u, v and w: products "
        "have the covariance",
        mean(error * one * error * other) - mean(error * one) * mean(error * other),
        mean(error**2) * mean(one * other) + mean(error * one) * mean(error * other),
        shown=COV(sp.Symbol("e") * sp.Symbol("c_1"), sp.Symbol("e") * sp.Symbol("c_2")),
        e=error,
        one=one,
        other=other,
    )
    size = sp.Symbol("d", positive=True)
    chi = sp.Symbol("x", positive=True)
    density = chi ** (size / 2 - 1) * sp.exp(-chi / 2) / (2 ** (size / 2) * sp.gamma(size / 2))
    fourth = sp.integrate(chi**2 * density, (chi, 0, sp.oo))
    step.identity(
        "Over queries the signal g . q of a block is Gaussian with a variance that is itself a chi-square of "
        "{d} degrees of freedom, over d. Its fourth moment is",
        3 * sp.gammasimp(fourth) / size**2,
        3 + 6 / size,
        shown=sp.Function("E")(u**4),
        d=size,
    )


def _readings(step: Derivation) -> None:
    """What heads read, and what their tilts read, as a field over omega and its derivative."""
    s = sp.Symbol("s_i", positive=True)
    noise = s / L * tilt(omega, omega2)
    step.define(
        "To leading order in 1/L what two heads read has a common noise, that of a mean over the context. "
        "One block of {d} coordinates:",
        COV(*sp.symbols("n_h n_k")),
        noise,
        d=d,
    )
    step.identity(
        "A tilt, Cov_p(y, x . q) / d, is the derivative of the reading by omega, over d. So is its noise: "
        "with the reading of the other head it has the covariance",
        sp.diff(noise, omega) / d,
        s / L * tilt(omega, omega2) * kappa**2 * omega2,
        shown=COV(*sp.symbols("c_h n_k")),
    )
    step.identity(
        "and with that head's tilt",
        sp.diff(noise, omega, omega2) / d**2,
        s / L * tilt(omega, omega2) * (kappa**2 / d + kappa**4 * omega * omega2),
        shown=COV(*sp.symbols("c_h c_k")),
    )


def _imbalance(step: Derivation) -> None:
    """What a step with a gradient that is not the mean does to V V' - O' O."""
    eta = sp.Symbol("eta", positive=True)
    V, Out, G = (sp.Matrix(2, 2, sp.symbols(f"{x}_11 {x}_12 {x}_21 {x}_22")) for x in ("v", "o", "g"))
    after_v, after_o = V - eta * Out.T * G, Out - eta * G * V.T
    change = (after_v * after_v.T - after_o.T * after_o) - (V * V.T - Out.T * Out)
    told = eta**2 * (Out.T * G * G.T * Out - V * G.T * G * V.T)
    step.identity(
        "A step of size {eta} with any gradient G by U = O V leads to V - eta O' G and O - eta G V'. Of "
        "D = V V' - O' O, which the flow conserves, it leaves what is of second order, "
        "eta^2 (O' G G' O - V G' G V'). The sum of the squares of what is left, for two tasks:",
        sum(sp.expand(one - other) ** 2 for one, other in zip(change, told, strict=True)),
        sp.Integer(0),
        shown=sp.Function("left")(sp.Symbol("eta")),
        eta=eta,
    )
    mu = sp.Symbol("mu", positive=True)
    at = {V[0, 1]: 0, V[1, 0]: 0, Out[0, 1]: 0, Out[1, 0]: 0}
    at |= {V[0, 0]: sp.sqrt(mu), Out[0, 0]: sp.sqrt(mu)}
    step.identity(
        "Of diagonal balanced factors, v_11^2 = o_11^2 = {mu}, that is",
        told[0, 0].subs(at),
        eta**2 * mu * (G[0, 1] ** 2 - G[1, 0] ** 2),
        shown=sp.Function("Delta")(sp.Symbol("D_11")),
        mu=mu,
    )
    step.say(
        "So entries of the gradient off the diagonal, which vanish on average, unbalance a head: per unit of "
        "time on average by step / batch times mu times the difference of their variances over prompts."
    )


def _modes(step: Derivation) -> None:
    """The stationary covariance of a mode under descent, and its loss."""
    eta, h, S, n, C = sp.symbols("eta h S n C", positive=True)
    solved = sp.solve(sp.Eq(C, (1 - eta * h) ** 2 * C + eta**2 * S / n), C)
    step.identity(
        "A mode of curvature {h} about a minimum: a step multiplies it by 1 - eta h, and adds noise of "
        "variance {noise}. The loss of its stationary variance is",
        h * solved[0] / 2,
        stationary_loss(eta, h, S, n),
        shown=sp.Function("loss")(h),
        h=h,
        noise=eta**2 * S / n,
    )
    step.identity(
        "Far below the edge of stability, eta h = 2, it is a quarter of eta S / n whatever the curvature.",
        sp.limit(stationary_loss(eta, h, S, n), h, 0),
        eta * S / (4 * n),
        shown=sp.Limit(stationary_loss(eta, h, S, n), h, 0),
    )
