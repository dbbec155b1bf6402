"""OV values of one sign: the loss below which no such attention can go, that of the head-per-task limit."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.loss import kernel, symbols, task_losses
from theory.multitask.lower_bound import block_bound
from theory.symbols import L, a, d, mu, phi, s, task_loss


def derive() -> Derivation:
    """The exponential lies above its tangent, which one sign keeps; the bound, and who has it."""
    step = Derivation(
        "OV values of one sign",
        "Derived here. Decomposable weights under the asymptotic loss whose OV values on each task have one "
        "sign: any number of heads, KQ values of any sign, any covariance, tasks that overlap or not.",
    )
    _tangent(step)
    _loss(step)
    _limit(step)
    return step


def _tangent(step: Derivation) -> None:
    """Bound the overlaps."""
    z = sp.Symbol("z", real=True)
    step.minimum(
        "The overlap of two heads is the exponential of a product {z} of their vectors, which lies above its "
        "tangent at one.",
        sp.exp(z) - sp.E * z,
        z,
        sp.Integer(1),
        z=z,
    )
    at = symbols(2, 2, 1)
    sizes, kappas, omega = at["sizes"], at["kappas"], at["omega"]
    values = sp.symbols("mu_0 mu_1", nonnegative=True)
    gaps = sp.Matrix(2, 2, lambda h, k: sp.Symbol(f"D_{min(h, k)}{max(h, k)}", nonnegative=True))
    product = sp.Matrix(
        2, 2, lambda h, k: sum(sizes[b] * kappas[b] ** 2 * omega[h, b] * omega[k, b] for b in range(2))
    )
    overlaps = sp.Matrix(2, 2, lambda h, k: kernel(omega, sizes, kappas, h, k))
    noise = sum(values[h] * values[k] * overlaps[h, k] for h in range(2) for k in range(2))
    T = [kappas[b] * sum(values[h] * omega[h, b] for h in range(2)) for b in range(2)]
    least = sp.E * sum(sizes[b] * T[b] ** 2 for b in range(2))
    excess = sum(values[h] * values[k] * gaps[h, k] for h in range(2) for k in range(2))
    named, form = sp.symbols("T_0 T_1", real=True), sp.Symbol("N")
    step.identity(
        "Let {D} be what an overlap has above that. The noise {N} of a task, here of two heads on two "
        "blocks, that read off {T} and so on, is above e times its part of first order by a sum over "
        "pairs of heads.",
        noise
        - least
        - excess.subs({gaps[h, k]: overlaps[h, k] - sp.E * product[h, k] for h in (0, 1) for k in (0, 1)}),
        sp.Integer(0),
        by=sp.expand,
        how="left minus right vanishes once it is written out",
        shown=form - sp.E * sum(sizes[b] * named[b] ** 2 for b in range(2)) - excess,
        D=sp.Eq(sp.Symbol("D_h_k"), sp.exp(z) - sp.E * z, evaluate=False),
        N=form,
        T=sp.Eq(named[0], T[0], evaluate=False),
    )
    step.sign(
        "If all {mu} have one sign, say the positive, no pair takes anything away. (With both signs it may: "
        "small heads do.)",
        excess,
        ">=",
        shown=form - sp.E * sum(sizes[b] * named[b] ** 2 for b in range(2)),
        mu=mu,
    )


def _loss(step: Derivation) -> None:
    """Minimise what bounds the loss, block by block."""
    at = symbols(1, 1, 1)
    T, form = sp.Symbol("T", real=True), sp.Symbol("N", positive=True)
    power, noise, size = at["powers"][0], at["noises"][0], at["sizes"][0]
    overlap = kernel(at["omega"], at["sizes"], at["kappas"], 0, 0)
    step.identity(
        "So the loss is above a sum over the blocks; for one head and one block, with {N} and {T},",
        task_losses(at)[0] - noise,
        (power * (1 - T) ** 2 + (power + noise) / L * form).subs(
            {T: at["mu"][0] * at["kappas"][0] * at["omega"][0], form: at["mu"][0] ** 2 * overlap}
        ),
        shown=sp.Symbol("loss_0") - noise,
        N=sp.Eq(form, at["mu"][0] ** 2 * overlap, evaluate=False),
        T=sp.Eq(T, at["mu"][0] * at["kappas"][0] * at["omega"][0], evaluate=False),
    )
    block = a * (1 - T) ** 2 + s / L * sp.E * d * T**2
    best = 1 / (1 + sp.E * s * d / (L * a))
    step.minimum(
        "of which a block of {d} coordinates and power {a} adds, with e times the first-order part of the "
        "noise for {size},",
        block,
        T,
        best,
        d=d,
        a=a,
        size=size,
    )
    step.identity(
        "The least value is the lower bound of a block e times as large:",
        block.subs(T, best),
        block_bound(a, s, sp.E * d),
        shown=sp.Symbol("loss"),
    )


def _limit(step: Derivation) -> None:
    """Who has the bound, and what that says of the flow."""
    step.identity(
        "For a task on one block alone this is the loss at effective dimension {X}, which a head of its own "
        "has: one head on several blocks has it too (see the best single head).",
        block_bound(a, phi * a, sp.E * d),
        task_loss(a, phi, sp.E * d),
        shown=sp.Function("v")(sp.E * d),
        X=sp.E * d,
    )
    step.say(
        "A head per task has the bound for all tasks at once: the limit of the balanced flow is the best of "
        "all attention whose OV values on each task have one sign, whatever the number of heads. Balanced "
        "weights keep their signs, so that their flow from such a start never goes below, wherever it "
        "starts and ends. The factor e between the limit and the lower bound is the price of one sign."
    )
