"""One head: its OV values in closed form, the effective dimension they leave, and the best KQ values."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.loss import kernel, symbols, task_losses
from theory.symbols import L, X, a, d, mu, omega, phi, task_loss

# The best head for one task.
omega_star = 1 / sp.sqrt(d)
mu_star = sp.sqrt(d) / (1 + sp.E * d * phi / L)


def disjoint(heads: int, tasks: int) -> dict[str, sp.Matrix]:
    """Matrices for `loss.task_losses`: block i is task i's alone, kappa = 1, s_i = phi_i a_i."""
    at = symbols(heads, tasks, tasks)
    powers = [sp.Symbol(f"a_{i}", positive=True) for i in range(tasks)]
    at["ratios"] = sp.Matrix([sp.Symbol(f"phi_{i}", positive=True) for i in range(tasks)])
    at["kappas"] = sp.ones(tasks, 1)
    at["powers"] = sp.diag(*powers)
    at["noises"] = sp.Matrix(
        [power * ratio - power for power, ratio in zip(powers, at["ratios"], strict=True)]
    )
    return at


def read_off(dimension: sp.Expr, ratio: sp.Expr) -> sp.Expr:
    """The best fraction T of the signal to read off at a given effective dimension: 1 / (1 + phi X / L)."""
    return 1 / (1 + ratio * dimension / L)


def dimension(value: sp.Expr, size: sp.Expr) -> sp.Expr:
    """Effective dimension of one task under one head: exp(d omega^2) / omega^2."""
    return dimensions([value], [size])[0]


def dimensions(values: list[sp.Expr], sizes: list[sp.Expr]) -> list[sp.Expr]:
    """Effective dimension of every task under one head: exp(sum_k d_k omega_k^2) / omega_i^2."""
    overlap = sp.exp(sum(size * value**2 for size, value in zip(sizes, values, strict=True)))
    return [overlap / value**2 for value in values]


def profile(values: sp.Matrix, overlap: sp.Matrix) -> sp.Expr:
    """Effective dimension of a task under several heads: 1 / (omega^T E^-1 omega), omega its KQ values."""
    return 1 / (values.T * overlap.inv() * values)[0]


def shares(powers: list[sp.Expr], gains: list[sp.Expr], total: sp.Expr) -> list[sp.Expr]:
    """The p_i of sum ``total`` that minimise sum_i a_i / (1 + g_i p_i), provided that none is negative."""
    pairs = list(zip(powers, gains, strict=True))
    level = (total + sum(1 / gain for gain in gains)) / sum(sp.sqrt(power / gain) for power, gain in pairs)
    return [(level * sp.sqrt(power * gain) - 1) / gain for power, gain in pairs]


def derive() -> Derivation:
    """The profile over the OV values; the best KQ values of one head for one task, and for several."""
    step = Derivation(
        "The best single head",
        "Chen, Sheen, Wang and Yang (2024) for one task and for equal tasks; unequal tasks, and a task on "
        "several blocks, are derived here. Asymptotic law, unit covariance, every task on blocks of its own.",
    )
    _profile(step)
    _one_task(step)
    _several_blocks(step)
    _several_tasks(step)
    _equal_tasks(step)
    _several_heads(step)
    return step


def _profile(step: Derivation) -> None:
    """Minimise over the OV value, through the fraction of the signal that is read off."""
    at = disjoint(1, 2)
    power, ratio, noise = at["powers"][0, 0], at["ratios"][0], at["noises"][0]
    w, m, overlap = at["omega"][0, 0], at["mu"][0, 0], kernel(at["omega"], at["sizes"], at["kappas"], 0, 0)
    step.identity(
        "One head for two tasks. The loss of task 0, its query noise apart, knows the other task only "
        "through the overlap of the head with itself, {overlap}.",
        task_losses(at)[0] - noise,
        power * (1 - m * w) ** 2 + power * ratio / L * m**2 * overlap,
        shown=sp.Symbol("loss_0") - sp.Symbol("sigma_0") ** 2,
        overlap=sp.Eq(sp.Symbol("E_0_0"), overlap, evaluate=False),
    )
    T, overlap = sp.Symbol("T", real=True), sp.Symbol("E_0_0", positive=True)
    w = sp.Symbol("omega", real=True, nonzero=True)
    loss = a * (1 - T) ** 2 + a * phi / L * X * T**2
    step.identity(
        "Trade the OV value for the fraction {T} of the signal that the head reads off, and the overlap for "
        "the effective dimension {X}; now the loss is that of any task.",
        (a * (1 - mu * w) ** 2 + a * phi / L * mu**2 * overlap).subs(mu, T / w),
        loss.subs(X, overlap / w**2),
        shown=sp.Symbol("loss"),
        T=sp.Eq(T, mu * omega, evaluate=False),
        X=sp.Eq(X, overlap / omega**2, evaluate=False),
    )
    step.minimum("Bias against noise: one minimum in {T}.", loss, T, read_off(X, phi), T=T)
    step.identity(
        "Its value defines {v}.",
        loss.subs(T, read_off(X, phi)),
        task_loss(a, phi, X),
        shown=sp.Function("v")(X),
        v=sp.Function("v")(X),
    )
    step.sign(
        "It grows with {X}: the smaller the effective dimension, the better.",
        sp.diff(task_loss(a, phi, X), X),
        ">",
        form=a * L * phi / (L + phi * X) ** 2,
        shown=sp.Derivative(sp.Function("v")(X), X),
        X=X,
    )


def _one_task(step: Derivation) -> None:
    """The least effective dimension of one task."""
    w = sp.Symbol("omega", positive=True)
    named = sp.Function("X")
    step.define(
        "One task. A change of both signs is no change, so let {w}.",
        named(w),
        dimension(w, d),
        w=sp.Gt(w, 0, evaluate=False),
    )
    step.minimum(
        "The logarithm of {X} is convex.", sp.expand_log(sp.log(dimension(w, d))), w, omega_star, X=named(w)
    )
    step.identity(
        "So the least effective dimension is e times the number of coordinates.",
        dimension(omega_star, d),
        sp.E * d,
        shown=named(omega_star),
    )
    bend = 4 * sp.E * d**2
    step.sign(
        "The minimum is not degenerate: the second derivative there is {bend}.",
        sp.diff(dimension(w, d), w, 2).subs(w, omega_star),
        ">",
        form=bend,
        shown=sp.Subs(sp.Derivative(named(w), (w, 2)), w, omega_star),
        bend=bend,
    )
    step.identity(
        "The OV value that reads off the best fraction there:",
        read_off(dimension(omega_star, d), phi) / omega_star,
        mu_star,
        shown=sp.Symbol("mu^*"),
    )


def several_blocks() -> dict[str, sp.Matrix]:
    """Matrices for `loss.task_losses`: one head and one task, on two blocks, kappa = 1."""
    at = symbols(1, 2, 1)
    at["kappas"] = sp.ones(2, 1)
    return at


def _several_blocks(step: Derivation) -> None:
    """The best head for one task on several blocks, here two: its exponent is 1 whatever they are."""
    at = several_blocks()
    read = [sp.Symbol(f"T_{b}", real=True) for b in range(2)]
    m, total, z = (sp.Symbol(name, positive=True) for name in ("mu", "S", "z"))
    spread = sum(size * fraction**2 for size, fraction in zip(at["sizes"], read, strict=True))
    power, s = sp.Add(*at["powers"]), sp.Symbol("s", positive=True)
    losses = task_losses(at)[0] - at["noises"][0]
    ends = {at["omega"][0, b]: read[b] / m for b in range(2)} | {at["mu"][0, 0]: m}
    bias = sum(at["powers"][0, b] * (1 - read[b]) ** 2 for b in range(2))
    step.identity(
        "One task on two blocks. By the fractions {T} that the head reads off of each, its loss without "
        "query noise is a bias and a noise, of which only the latter knows {mu} besides.",
        losses.subs(ends),
        bias + (power + at["noises"][0]) / L * m**2 * sp.exp(spread / m**2),
        shown=sp.Symbol("loss") - sp.Symbol("sigma") ** 2,
        T=sp.Eq(read[0], mu * sp.Symbol("omega_0"), evaluate=False),
        mu=m,
    )
    step.minimum(
        "With {S} and {z} the logarithm of the noise is convex in {z_alone}.",
        total * z - sp.log(z),
        z,
        1 / total,
        S=sp.Eq(total, spread, evaluate=False),
        z=sp.Eq(z, 1 / m**2, evaluate=False),
        z_alone=z,
    )
    step.identity(
        "So the exponent of the overlap is one, the OV value is {mu}, and the overlap costs a factor e.",
        (sp.exp(total * z) / z).subs(z, 1 / total),
        sp.E * total,
        shown=m**2 * sp.exp(total / m**2),
        mu=sp.Eq(m, sp.sqrt(total), evaluate=False),
    )
    T = sp.Symbol("T", real=True)
    step.minimum(
        "What is left of the loss is a sum over the blocks; each is least at the fraction that a head of its "
        "own would read off, of {d} coordinates and with {phi}.",
        a * (1 - T) ** 2 + s / L * sp.E * d * T**2,
        T,
        read_off(sp.E * d, s / a),
        d=d,
        phi=sp.Eq(phi, s / a, evaluate=False),
    )
    step.identity(
        "Its value is the loss at e times the number of coordinates.",
        a * (1 - read_off(sp.E * d, s / a)) ** 2 + s / L * sp.E * d * read_off(sp.E * d, s / a) ** 2,
        task_loss(a, s / a, sp.E * d),
        shown=sp.Symbol("loss"),
    )


def _several_tasks(step: Derivation) -> None:
    """Split the search into the exponent of the overlap and the tasks' shares in it; solve both."""
    exponent, p, q = sp.symbols("P p q", positive=True)
    first, rest = sp.symbols("d_0 d_1", positive=True)
    step.identity(
        "Several tasks, here two, for one head. Let {P} be the exponent of the overlap, and {p} the share "
        "of task 0 in it; the shares of the tasks sum to one.",
        dimensions([sp.sqrt(p * exponent / first), sp.sqrt((1 - p) * exponent / rest)], [first, rest])[0],
        first / p * sp.exp(exponent) / exponent,
        shown=sp.Symbol("X_0"),
        P=sp.Eq(
            exponent, first * sp.Symbol("omega_0") ** 2 + rest * sp.Symbol("omega_1") ** 2, evaluate=False
        ),
        p=sp.Eq(p, first * sp.Symbol("omega_0") ** 2 / exponent, evaluate=False),
    )
    step.minimum(
        "Whatever the shares, {P} is best at one, for all tasks at once: this is the logarithm of the last "
        "factor.",
        exponent - sp.log(exponent),
        exponent,
        sp.Integer(1),
        P=exponent,
    )
    gain = sp.Symbol("g", positive=True)
    loss = sp.Lambda(p, a / (1 + gain * p))
    slope = sp.Lambda(p, -a * gain / (1 + gain * p) ** 2)
    named, named_slope = sp.Function("f"), sp.Function("f'")
    step.identity(
        "That leaves {X} for a task of share {p}, and in terms of {g} the loss {f}.",
        task_loss(a, phi, sp.E * d / p).subs(phi, L / (sp.E * gain * d)),
        loss(p),
        shown=named(p),
        X=sp.Eq(X, sp.E * d / p, evaluate=False),
        p=p,
        g=sp.Eq(gain, L / (sp.E * phi * d), evaluate=False),
        f=sp.Eq(named(p), sp.Function("v")(X), evaluate=False),
    )
    step.identity("Its slope in the share:", sp.diff(loss(p), p), slope(p), shown=named_slope(p))
    step.sign(
        "It is convex, so that it lies above its tangent at any other share {q}. Sum this over the tasks: "
        "shares {q} where all slopes agree are the best, since both sets of shares have the same sum and "
        "the tangents' slopes cancel.",
        loss(p) - loss(q) - slope(q) * (p - q),
        ">=",
        form=a * gain**2 * (p - q) ** 2 / ((1 + gain * p) * (1 + gain * q) ** 2),
        shown=named(p) - named(q) - named_slope(q) * (p - q),
        q=q,
    )
    level = sp.Symbol("tau", positive=True)
    best = (level * sp.sqrt(a * gain) - 1) / gain
    step.identity(
        "The slopes agree where every {factor} is the same multiple {tau} of {root}, that is at {best}.",
        slope(best),
        -1 / level**2,
        shown=named_slope(best),
        factor=1 + gain * p,
        tau=level,
        root=sp.sqrt(a * gain),
        best=sp.Eq(p, best, evaluate=False),
    )
    powers, gains = list(sp.symbols("a_:3", positive=True)), list(sp.symbols("g_:3", positive=True))
    total = sp.Symbol("S", positive=True)
    step.identity(
        "The sum {S} of the shares, here one, sets {tau}, for three tasks to {level}. A task that would get "
        "a negative share gets none and leaves the sums: its slope is then too flat even at zero.",
        sum(shares(powers, gains, total)),
        total,
        shown=sp.Add(*sp.symbols("p_:3")),
        S=total,
        tau=level,
        level=(total + sum(1 / g for g in gains))
        / sum(sp.sqrt(power / g) for power, g in zip(powers, gains, strict=True)),
    )


def _equal_tasks(step: Derivation) -> None:
    """Equal tasks share equally, and act as one task on all coordinates."""
    gain, w = sp.Symbol("g", positive=True), sp.Symbol("omega", positive=True)
    step.identity(
        "Equal tasks, here three, share equally.",
        shares([a] * 3, [gain] * 3, sp.Integer(1))[0],
        sp.Rational(1, 3),
        shown=sp.Symbol("p_0"),
    )
    step.identity(
        "With {d} coordinates in all, they act as one task on all of them, so the best KQ value is {best} "
        "again, and {X}.",
        dimensions([w] * 3, [d / 3] * 3)[0],
        dimension(w, d),
        shown=sp.Symbol("X_0"),
        d=d,
        best=omega_star,
        X=sp.Eq(sp.Symbol("X_0"), sp.E * d, evaluate=False),
    )
    count = sp.Symbol("I", integer=True, positive=True)
    own = sp.exp(d / count * w**2 + (count - 1) / count)  # the overlap as one KQ value alone moves
    moved = task_loss(a, phi, own / w**2) + (count - 1) * task_loss(a, phi, own * d)
    step.identity(
        "A check for {I} equal tasks: the derivative of the loss with respect to any one KQ value, the "
        "others at {best}, vanishes there too.",
        sp.diff(moved, w).subs(w, omega_star),
        sp.Integer(0),
        shown=sp.Subs(sp.Derivative(sp.Function("loss")(w), w), w, omega_star),
        I=count,
        best=omega_star,
    )


def _several_heads(step: Derivation) -> None:
    """Minimise over the OV values of two heads; the same for any number."""
    at = disjoint(2, 2)
    power, ratio, noise = at["powers"][0, 0], at["ratios"][0], at["noises"][0]
    overlap = sp.Matrix(2, 2, lambda h, k: kernel(at["omega"], at["sizes"], at["kappas"], h, k))
    values, weights = at["omega"][:, 0], at["mu"][:, 0]
    T = sp.Symbol("T", real=True)
    step.identity(
        "Several heads, here two. With {T} and the matrix of overlaps, the loss is as before, with a "
        "quadratic form {noise} of the OV values for the noise.",
        task_losses(at)[0] - noise,
        power * (1 - values.dot(weights)) ** 2 + power * ratio / L * (weights.T * overlap * weights)[0],
        shown=sp.Symbol("loss_0") - sp.Symbol("sigma_0") ** 2,
        T=sp.Eq(T, values.dot(weights), evaluate=False),
        noise=sp.Symbol("N"),
    )
    diagonal, determinant = sp.symbols("E_0_0 D", positive=True)
    cross = sp.Symbol("E_0_1", real=True)
    values, weights = sp.Matrix(sp.symbols("omega_:2", real=True)), sp.Matrix(sp.symbols("mu_:2", real=True))
    overlap = sp.Matrix([[diagonal, cross], [cross, (determinant + cross**2) / diagonal]])
    noise, pull = (weights.T * overlap * weights)[0], overlap * weights
    inverse = 1 / profile(values, overlap)
    omega_all, overlap_all = sp.MatrixSymbol("omega", 2, 1), sp.MatrixSymbol("E", 2, 2)
    step.identity(
        "The overlaps of different heads are positive definite (see the lower bound). Let {D} be their "
        "determinant, and the inverse of the effective dimension the form {form} of the KQ values.",
        inverse,
        (overlap[1, 1] * values[0] ** 2 - 2 * cross * values[0] * values[1] + diagonal * values[1] ** 2)
        / determinant,
        shown=1 / X,
        D=determinant,
        form=omega_all.T * overlap_all.I * omega_all,
    )
    step.sign(
        "Cauchy and Schwarz in the geometry of the overlaps: the noise {N} is at least {T}.",
        noise * inverse - values.dot(weights) ** 2,
        ">=",
        form=(pull[0] * values[1] - pull[1] * values[0]) ** 2 / determinant,
        shown=sp.Symbol("N") / X - T**2,
        N=sp.Symbol("N"),
        T=X * T**2,
    )
    best = T / inverse * overlap.inv() * values
    step.identity(
        "OV values proportional to the inverse overlaps times the KQ values can read off any {T},",
        values.dot(best),
        T,
        shown=values.dot(weights),
        T=T,
    )
    step.identity(
        "and with them equality holds. What is left is the minimum over {T}, as for one head: {v}.",
        noise.subs(dict(zip(weights, best, strict=True)), simultaneous=True) * inverse,
        T**2,
        shown=sp.Symbol("N") / X,
        T=T,
        v=sp.Function("v")(X),
    )
