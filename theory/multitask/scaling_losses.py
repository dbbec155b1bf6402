"""Exponents of the loss in the length, the dimension, the number of tasks and the signal-to-noise ratio."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.symbols import L, a, d, phi, task_loss

S = sp.Symbol("S", positive=True)  # signal-to-noise ratio
c = sp.Symbol("c", positive=True)  # effective dimension over the size of the block
learned = sp.Symbol("ell")


def share_learned(power: sp.Expr, loss: sp.Expr) -> sp.Expr:
    """The share of a task's signal that is learned, 1 - v / a."""
    return 1 - loss / power


def exponent(loss: sp.Expr, variable: sp.Symbol) -> sp.Expr:
    """D log loss / d log variable."""
    return sp.diff(loss, variable) * variable / loss


def derive() -> Derivation:
    """Exponents of one task; of several that share heads; in the number of tasks."""
    step = Derivation(
        "Exponents of the loss",
        "Derived here. Disjoint tasks of any effective dimension proportional to their size, which all "
        "optima of the asymptotic law have; losses without query noise, at fixed signal power.",
    )
    _one(step)
    _shared(step)
    _tasks(step)
    return step


def _one(step: Derivation) -> None:
    """One task: all exponents by the share that is learned."""
    loss = task_loss(a, phi, c * d)
    share = share_learned(a, loss)
    step.define(
        "A task of effective dimension {X}. Let {share} be what is learned of its signal.",
        learned,
        share,
        X=c * d,
        share=learned,
    )
    step.identity(
        "More context: the exponent is the share learned, between minus one, for long prompts, and zero.",
        exponent(loss, L),
        -share,
        shown=sp.Symbol("n_L"),
    )
    step.identity("A larger block does the opposite.", exponent(loss, d), share, shown=sp.Symbol("n_d"))
    noisy = loss.subs(phi, 1 + 1 / S)
    step.identity(
        "With {phi} more signal over noise, at fixed power, helps until what is averaged is the signal "
        "itself.",
        exponent(noisy, S),
        -share_learned(a, noisy) / (1 + S),
        shown=sp.Symbol("n_S"),
        phi=sp.Eq(phi, 1 + 1 / S, evaluate=False),
    )


def _shared(step: Derivation) -> None:
    """Heads that are shared: the best shares do not enter to first order."""
    powers, gains = sp.symbols("a_0 a_1", positive=True), sp.symbols("g_0 g_1", positive=True)
    p, moved = sp.Symbol("p", positive=True), sp.Function("p")(L)
    total = powers[0] / (1 + gains[0] * L * moved) + powers[1] / (1 + gains[1] * L * (1 - moved))
    slope = sp.Symbol("f'", real=True)
    slopes = [
        sp.diff(powers[0] / (1 + gains[0] * L * p), p),
        sp.diff(powers[1] / (1 + gains[1] * L * (1 - p)), p),
    ]
    still = sp.diff(total.subs(moved, p), L)
    step.identity(
        "Tasks that share heads, here two, with shares {p} of one and the rest. As the length changes the "
        "best shares do too, but what that adds to the derivative is the sum of both slopes in {p} times "
        "the change.",
        sp.diff(total, L).subs(sp.Derivative(moved, L), slope).subs(moved, p),
        still + slope * sum(slopes),
        shown=sp.Derivative(sp.Symbol("loss"), L),
        p=p,
    )
    losses = sp.symbols("v_0 v_1", positive=True)
    values = {
        losses[0]: powers[0] / (1 + gains[0] * L * p),
        losses[1]: powers[1] / (1 + gains[1] * L * (1 - p)),
    }
    step.identity(
        "The sum of the slopes is zero at the best shares. So the exponent is the mean of the tasks' own, "
        "weighted by their losses.",
        (L * still / sum(losses)).subs(values),
        -sum(loss * share_learned(power, loss) for loss, power in zip(losses, powers, strict=True)).subs(
            values
        )
        / sum(losses).subs(values),
        shown=sp.Symbol("n_L"),
    )


def _tasks(step: Derivation) -> None:
    """More tasks of one kind."""
    k = sp.Symbol("k", positive=True)
    each, shared = k * task_loss(a, phi, c * d), k * task_loss(a, phi, k * c * d)
    step.identity(
        "{k} copies of a task, each with heads of its own: the sum of the losses is proportional to {k}.",
        exponent(each, k),
        sp.Integer(1),
        shown=sp.Symbol("n_I"),
        k=k,
    )
    step.identity(
        "With one head for all of them each has a share that falls as their number grows.",
        exponent(shared, k),
        1 + share_learned(a, shared / k),
        shown=sp.Symbol("n_I"),
    )
