"""Between the Bayes risk and the limit of the flow: one gradient step, and a factor."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.bayes import isotropic_risk
from theory.symbols import L, X, a, d, s, task_loss

noise = sp.Symbol("sigma2", positive=True)  # variance of the label noise


def least(power: sp.Expr, noise: sp.Expr, size: sp.Expr) -> sp.Expr:
    """A bound below the Bayes risk of a task on one block, at any length and dimension."""
    return power / (1 + L * power / (size * noise))


def factor(power: sp.Expr, noise: sp.Expr) -> sp.Expr:
    """What bounds the limit's loss over the Bayes risk: e (1 + SNR)."""
    return sp.E * (1 + power / noise)


def derive() -> Derivation:
    """Bayes below a gradient step below the limit below a factor times Bayes."""
    step = Derivation(
        "The limit against the Bayes risk",
        "Derived here. One task on one block: the loss of the head-per-task limit is that of the asymptotic "
        "law, the Bayes risk and the gradient step are exact at any length and dimension. Query noise apart.",
    )
    _least(step)
    _between(step)
    _factor(step)
    return step


def _least(step: Derivation) -> None:
    """Jensen's inequality for the share that stays unexplained."""
    Q, w = sp.Symbol("Q", positive=True), sp.Symbol("w", positive=True)
    step.sign(
        "Of a coordinate the share {h} stays unexplained (see the Bayes risk). It is convex in the form "
        "{Q}: its mean is no less than its value at the mean of {Q},",
        sp.diff(1 / (1 + Q), Q, 2),
        ">",
        form=2 / (1 + Q) ** 3,
        shown=sp.Derivative(1 / (1 + Q), (Q, 2)),
        h=1 / (1 + Q),
        Q=Q,
    )
    y = sp.Symbol("y", nonnegative=True)
    step.sign(
        "and {Q} has at most the mean {most}: it is a form of a column of {L} entries of variance {w} in a "
        "matrix none of whose eigenvalues {eigenvalue} is above {inverse}.",
        1 / noise - 1 / (noise + y),
        ">=",
        form=y / (noise * (noise + y)),
        Q=Q,
        most=L * w / noise,
        L=L,
        w=w,
        eigenvalue=1 / (noise + y),
        inverse=1 / noise,
    )
    step.identity(
        "So the Bayes risk is at least that of an effective dimension {d} without the signal in the noise.",
        a / (1 + L * w / noise).subs(w, a / d),
        least(a, noise, d),
        shown=sp.Symbol("least"),
        d=d,
    )


def _between(step: Derivation) -> None:
    """One gradient step lies between."""
    more, r = sp.Symbol("k", nonnegative=True), sp.Symbol("r", positive=True)
    step.say(
        "One gradient step is a predictor, so that no less than the Bayes risk is its loss, at the effective "
        "dimension {step}, where {phi} is {ratio}.",
        step=d + 1 / sp.Symbol("phi"),
        phi=sp.Symbol("phi"),
        ratio=s / a,
    )
    step.sign(
        "The limit's is higher, with {d} one or more and {phi} above one:",
        sp.E * (1 + more) - (1 + more) - 1 / (1 + r),
        ">",
        form=sp.Add((sp.E - 1) * more, sp.Add(sp.E, -2), r / (1 + r), evaluate=False),
        shown=sp.E * d - d - 1 / sp.Symbol("phi"),
        d=sp.Eq(d, 1 + more, evaluate=False),
        phi=sp.Eq(sp.Symbol("phi"), 1 + r, evaluate=False),
    )
    step.sign(
        "and so is its loss.",
        sp.diff(task_loss(a, s / a, X), X),
        ">",
        form=L * a**2 * s / (L * a + s * X) ** 2,
        shown=sp.Derivative(sp.Function("v")(X), X),
    )


def _factor(step: Derivation) -> None:
    """The factor, and that it is reached for long prompts."""
    limit = task_loss(a, (a + noise) / a, sp.E * d)
    ratio = limit / least(a, noise, d)
    step.sign(
        "The limit's loss is above the Bayes risk by a factor below {factor}, that is e times one plus the "
        "signal-to-noise ratio,",
        factor(a, noise) - ratio,
        ">",
        form=sp.Add(sp.E * a / noise, sp.Add(sp.E, -1), evaluate=False)
        / (1 + L * a / (sp.E * d * (a + noise))),
        shown=factor(a, noise) - sp.Symbol("ratio"),
        factor=factor(a, noise),
    )
    step.identity(
        "which the ratio to the deterministic equivalent of the Bayes risk tends to for long prompts: no "
        "smaller constant would do. A factor e is the price of OV values of one sign, the other that of "
        "taking the signal of other coordinates for noise.",
        sp.limit(limit / isotropic_risk(a, d, L, noise), L, sp.oo),
        factor(a, noise),
        shown=sp.Limit(sp.Symbol("limit") / sp.Symbol("R"), L, sp.oo, "-"),
    )
    step.identity(
        "Where noise dominates it is e.",
        sp.Limit(factor(a, noise), noise, sp.oo),
        sp.E,
    )
