"""Weights trained on prompts of one length and tested at another, in the asymptotic loss."""

from __future__ import annotations

import sympy as sp

from theory.algebra import over_line
from theory.derivation import Derivation
from theory.multitask.loss import symbols, task_losses
from theory.symbols import L, X, a, d, mu, omega, phi, task_loss

test = sp.Symbol("L'", positive=True)  # context length at test, after training at L
HEAD_PER_TASK = sp.E * d  # effective dimension of the limit with one head per task
bias, noise = sp.symbols("P N", nonnegative=True)
value = sp.Function("loss")


def fixed_loss(length: sp.Expr, bias: sp.Expr, noise: sp.Expr) -> sp.Expr:
    """Loss of any fixed weights at a length, without query noise: bias and L times the noise term."""
    return bias + noise / length


def read_off(X: sp.Expr = HEAD_PER_TASK) -> sp.Expr:
    """The share m = sum_h mu_h omega_h of the target that weights of effective dimension X read off at L."""
    return 1 / (1 + phi * X / L)


def loss_at(length: sp.Expr, X: sp.Expr = HEAD_PER_TASK) -> sp.Expr:
    """Loss of a task at a length, without query noise, for the limit trained at L."""
    return a * phi * X * (phi * X * length + L**2) / (length * (L + phi * X) ** 2)


def floor(X: sp.Expr = HEAD_PER_TASK) -> sp.Expr:
    """The loss that is left, without query noise, when the test length goes to infinity."""
    return a * (phi * X) ** 2 / (L + phi * X) ** 2


def trained_noise(X: sp.Expr = HEAD_PER_TASK) -> sp.Expr:
    """What the limit trained at L pays for label noise at any length, times that length."""
    return a * phi * X * L**2 / (L + phi * X) ** 2


def excess(length: sp.Expr, X: sp.Expr = HEAD_PER_TASK) -> sp.Expr:
    """How much the weights trained at L lose against the limit retrained at the test length."""
    return a * (phi * X) ** 2 * (length - L) ** 2 / (length * (length + phi * X) * (L + phi * X) ** 2)


def break_even(X: sp.Expr = HEAD_PER_TASK) -> sp.Expr:
    """The test length below which the weights trained at L are worse than predicting zero."""
    return L * phi * X / (L + 2 * phi * X)


def derive() -> Derivation:
    """The loss at another length, its floor, and the price of not retraining."""
    step = Derivation(
        "Length generalisation",
        "Weights trained at one context length and tested at another, both so long that the asymptotic loss "
        "holds. Chen, Sheen, Wang and Yang (2024) find the limit of one head per task that is tested here.",
    )
    _any_weights(step)
    _trained(step)
    _tested(step)
    _retrained(step)
    return step


def _any_weights(step: Derivation) -> None:
    """What a change of length does to weights of any kind."""
    at = symbols(2, 1, 1)
    (loss,) = task_losses(at)
    (m1, m2), (w1, w2) = at["mu"], at["omega"]
    scale = at["sizes"][0] * at["kappas"][0] ** 2
    overlaps = (
        m1**2 * sp.exp(scale * w1**2) + 2 * m1 * m2 * sp.exp(scale * w1 * w2) + m2**2 * sp.exp(scale * w2**2)
    )
    step.identity(
        "The weights are fixed and the context length goes from {L} to {test}. Only the noise of the labels "
        "changes, which is averaged over another number of pairs; here with two heads, one block, one task.",
        loss.subs(L, test) - loss,
        (at["powers"][0] + at["noises"][0]) * overlaps * (1 / test - 1 / L),
        shown=value(test) - value(L),
        L=L,
        test=test,
    )
    x, u, v = sp.symbols("x u v", real=True)
    exponent = u * x - u**2 / 2 + v * x - v**2 / 2 - x**2 / 2
    tilts = sp.Mul(
        sp.exp(u * x - u**2 / 2), sp.exp(v * x - v**2 / 2), sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)
    )
    step.identity(
        "The sum over the heads is not negative. An overlap is the mean over Gaussians, one in every "
        "coordinate, of a product of one term for each of the two heads, here with {u_is} and {v_is}. So the "
        "sum is the mean of a square.",
        over_line(sp.exp(exponent) / sp.sqrt(2 * sp.pi), x),
        sp.exp(u * v),
        shown=sp.Integral(tilts, (x, -sp.oo, sp.oo)),
        u_is=sp.Eq(u, at["kappas"][0] * w1),
        v_is=sp.Eq(v, at["kappas"][0] * w2),
    )
    fixed = step.define(
        "Leave the noise of the query's own label out. The loss is {bias}, the power of what is not read "
        "off, and {noise} over the length.",
        value(test),
        fixed_loss(test, bias, noise),
        bias=bias,
        noise=noise,
    )
    step.sign("More context never hurts.", sp.diff(fixed, test), "<=", shown=sp.Derivative(value(test), test))
    step.identity(
        "But it does not help with what is not read off.",
        sp.limit(fixed, test, sp.oo),
        bias,
        shown=sp.Limit(value(test), test, sp.oo, "-"),
    )


def _trained(step: Derivation) -> None:
    """The share of the target that a trained head reads off."""
    at, m = symbols(1, 1, 1), sp.Symbol("m", real=True)
    one_task = {at["sizes"][0]: d, at["kappas"][0]: 1, at["powers"][0]: a, at["noises"][0]: (phi - 1) * a}
    one_head = {at["omega"][0]: omega, at["mu"][0]: m / omega}
    own = sp.exp(d * omega**2) / omega**2
    general = a * (1 - m) ** 2 + a * phi * X / L * m**2
    step.identity(
        "Now a task with a head of its own that reads off the share {m_is} of the target. Its loss depends "
        "on the KQ value only through the effective dimension {X_is}.",
        (task_losses(at)[0] - at["noises"][0]).subs(one_task).subs(one_head),
        general,
        by=lambda gap: sp.expand(gap.subs(X, own)),
        shown=value(L),
        m_is=sp.Eq(m, mu * omega),
        X_is=sp.Eq(X, own),
    )
    step.identity(
        "The limit of one head per task has {omega_is}.",
        own.subs(omega, 1 / sp.sqrt(d)),
        HEAD_PER_TASK,
        shown=X,
        omega_is=sp.Eq(omega, 1 / sp.sqrt(d)),
    )
    share = sp.Eq(m, read_off(X))
    step.minimum(
        "The limit of training at {L} has the best share, {share}.", general, m, read_off(X), L=L, share=share
    )
    step.identity(
        "For the sake of the noise this is less than the whole. The rest is lost at any length.",
        a * (1 - read_off(X)) ** 2,
        floor(X),
        shown=bias,
    )
    step.identity(
        "The noise that was accepted for it:", a * phi * X * read_off(X) ** 2, trained_noise(X), shown=noise
    )


def _tested(step: Derivation) -> None:
    """How the loss of the trained weights depends on the length at test."""
    step.identity(
        "So the weights trained at {L} and tested at {test} have the loss",
        fixed_loss(test, floor(X), trained_noise(X)),
        loss_at(test, X),
        shown=value(test),
        L=L,
        test=test,
    )
    step.identity(
        "At the length of training it is the loss of the limit.",
        loss_at(L, X),
        task_loss(a, phi, X),
        shown=value(L),
    )
    step.sign(
        "It decreases with the length at test.",
        sp.diff(loss_at(test, X), test),
        "<",
        form=-a * phi * X * L**2 / (test**2 * (L + phi * X) ** 2),
        shown=sp.Derivative(value(test), test),
    )
    step.identity(
        "But it has a floor, here for one head per task: weights trained at a finite length shrink their "
        "predictions for ever.",
        sp.limit(loss_at(test), test, sp.oo),
        floor(),
        shown=sp.Limit(value(test), test, sp.oo, "-"),
    )
    step.identity(
        "And on short prompts they shrink them too little: at the length below, and all the more below it, "
        "they do no better than the prediction 0.",
        loss_at(break_even(X), X),
        a,
        shown=sp.Subs(value(test), test, break_even(X)),
    )


def _retrained(step: Derivation) -> None:
    """Excess over weights trained at the test length."""
    best = sp.Function("v")
    retrained = task_loss(a, phi, X).subs(L, test)
    step.define("Retrained at the length at test, the limit would have the loss", best(test), retrained)
    gap = step.identity(
        "The excess of the weights trained at {L} is a square.",
        loss_at(test, X) - retrained,
        excess(test, X),
        shown=value(test) - best(test),
        L=L,
    )
    away = sp.Symbol("delta", real=True, nonzero=True)
    step.sign(
        "It vanishes at {L} and is positive at any other length, {away}.",
        gap.subs(test - L, away),
        ">",
        shown=value(test) - best(test),
        L=L,
        away=sp.Eq(away, test - L),
    )
    u = sp.Symbol("u", positive=True)
    envelope = retrained.subs(test, 1 / u)
    step.sign(
        "The reason is general. In {u_is} the loss of fixed weights is a straight line, and the least loss "
        "at every length is the lower envelope of such lines, which is concave.",
        sp.diff(envelope, u, 2),
        "<",
        form=-2 * a * (phi * X) ** 2 / (1 + phi * X * u) ** 3,
        shown=sp.Derivative(best(1 / u), u, u),
        u_is=sp.Eq(u, 1 / test),
    )
    step.identity(
        "The weights trained at {L} are its tangent there: the slope is their {noise}.",
        sp.diff(envelope, u).subs(u, 1 / L),
        trained_noise(X),
        shown=sp.Subs(sp.Derivative(best(1 / u), u), u, 1 / L),
        L=L,
        noise=noise,
    )
