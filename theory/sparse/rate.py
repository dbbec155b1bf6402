"""The risk of preprocess-then-optimize along the context, in a model in which the features are decoupled."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal, gaussian_mean
from theory.derivation import Derivation
from theory.sparse.filters import flow_filter
from theory.sparse.symbols import REFERENCE, T, mean, n, noise, s, tau, v, z
from theory.symbols import d

share, lag = sp.symbols(
    "b a", positive=True
)  # what a feature fits per r^2: its time, and what v left it of it


def off_support(d: sp.Expr, s: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr, T: sp.Expr) -> sp.Expr:
    """Risk of the features without weight at time T of the flow, to leading order in 1/n."""
    power, late = v + sigma2, s / v * (1 - sp.exp(-v * T / s))
    read = 15 * power * (v * late + sigma2 * T) ** 2 + 3 * power * v * sigma2 * (T - late) ** 2
    return (d - s) * read / n**3


def rate(d: sp.Expr, s: sp.Expr, n: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The authors' rate, with its logarithm and without a constant."""
    return sigma2 * sp.log(n) * (s / n + d / n**2)


def derive() -> Derivation:
    """What features with weight and without it risk at a time of log n, over the authors' rate."""
    step = Derivation("Preprocess, then optimize: the rate", REFERENCE)
    r, x = sp.symbols("r x", real=True)
    step.say(
        "How does the risk fall with the context? In a model in which the features do not disturb each "
        "other; what they do is simulated, and in the deterministic equivalent. A feature is fitted at the "
        "rate of its squared correlation {r}: without weight that has the mean square {small}, {tau} being "
        "the power of a label, and with weight it is {large}.",
        r=r,
        small=tau**2 / n,
        tau=tau**2,
        large=v / s,
    )
    step.identity(
        "A feature without weight has fitted, by the time {T}, the share {share} of the noise that it reads "
        "off, little of it:",
        sp.limit(r**2 * flow_filter(z, T).subs(z, r**2) / (r**2 * T), r, 0),
        sp.Integer(1),
        shown=sp.Limit((1 - sp.exp(-T * r**2)) / (r**2 * T), r, 0, "+-"),
        T=T,
        share=1 - sp.exp(-T * r**2),
    )
    kappa = v / s
    late = sp.integrate(sp.exp(-kappa * x), (x, 0, T))
    step.identity(
        "The signal that the others have not fitted yet is noise to it as well, for as long as",
        late,
        s / v * (1 - sp.exp(-v * T / s)),
        shown=equal(lag, sp.Integral(sp.exp(-kappa * x), (x, 0, T))).rhs,
    )
    moments = {r: tau**2 / n}
    read = r**6 * (noise * T + v * lag) ** 2 / tau**4 + r**4 * v * noise / (tau**2 * n) * (T - lag) ** 2
    step.identity(
        "With {a} for that, its weight has the mean square below: what it reads of the label, of which it "
        "knows the correlation, and what of signal and noise cancels in that.",
        gaussian_mean(read, moments),
        (15 * tau**2 * (noise * T + v * lag) ** 2 + 3 * tau**2 * v * noise * (T - lag) ** 2) / n**3,
        shown=mean(read),
        a=lag,
    )
    time = s / v * sp.log(n)
    step.identity(
        "The features with weight have all but this of their signal after {time},",
        sp.exp(-2 * kappa * time),
        n**-2,
        shown=sp.exp(-2 * kappa * T),
        time=equal(T, time),
    )
    whole = v / n**2 + noise * s / n + off_support(d, s, n, v, noise, time)
    bound = rate(d, s, n, noise)
    step.identity(
        "and the noise of least squares on the support. Over the rate {rate} the risk falls like one over a "
        "logarithm: it is bounded along {n}, by a constant that is not large where the signal is not large "
        "beside the noise.",
        sp.limit(sp.expand(whole / bound * sp.log(n)), n, sp.oo),
        sp.Integer(1),
        shown=sp.Limit(sp.Symbol("risk") / sp.Symbol("rate") * sp.log(n), n, sp.oo, "-"),
        rate=bound,
        n=n,
    )
    step.identity(
        "The logarithm is for what comes before: features without weight add, beside the rate's second term "
        "without its logarithm,",
        sp.limit(off_support(d, s, n, v, noise, time) / (noise * d / n**2), n, sp.oo),
        sp.Integer(0),
        shown=sp.Limit(sp.Symbol("risk_off") / (noise * d / n**2), n, sp.oo, "-"),
    )
    step.identity(
        "so that this is not sharp. But without noise the rate is zero and the risk is not, to this order:",
        off_support(d, s, n, v, sp.Integer(0), T).subs(T, sp.oo),
        15 * (d - s) * v * s**2 / n**3,
        shown=sp.Limit(sp.Symbol("risk_off"), T, sp.oo, "-"),
    )
    step.say("with little noise no constant will do.")
    return step
