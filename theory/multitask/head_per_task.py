"""The limit of the balanced flow, one head per task, and the rates at which the flow approaches it."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.loss import symbols, task_losses
from theory.multitask.single_head import disjoint, mu_star, omega_star
from theory.symbols import L, a, c, d, mu, omega, phi, t, task_loss


def limit(at: dict[str, sp.Matrix]) -> dict[sp.Expr, sp.Expr]:
    """The limit on the symbols of `single_head.disjoint`: head i on task i, all other weights zero."""
    values = {entry: sp.Integer(0) for entry in [*at["omega"], *at["mu"]]}
    for i in range(at["mu"].shape[1]):
        own = {d: at["sizes"][i], phi: at["ratios"][i]}
        values[at["omega"][i, i]] = omega_star.subs(own)
        values[at["mu"][i, i]] = mu_star.subs(own)
    return values


def winner_jacobian(power: sp.Expr, ratio: sp.Expr, size: sp.Expr, key_scale: sp.Expr) -> sp.Matrix:
    """Jacobian of the balanced flow of a winner's (omega, mu) on its own task, at the limit."""
    y = sp.E * size * ratio / L
    entries = [
        [key_scale * (1 + 3 * y) / (1 + y) ** 2, key_scale / size],
        [size / (1 + y), 1],
    ]
    return -4 * power / sp.sqrt(size) * sp.Matrix(entries)


def winner_rates(power: sp.Expr, ratio: sp.Expr, size: sp.Expr, key_scale: sp.Expr) -> list[sp.Expr]:
    """The eigenvalues of `winner_jacobian`, the fast one first."""
    y = sp.E * size * ratio / L
    return _rates(power, size, y, key_scale, key_scale * (1 + 3 * y) / (1 + y) ** 2)


def _rates(power: sp.Expr, size: sp.Expr, y: sp.Expr, key_scale: sp.Expr, m: sp.Expr) -> list[sp.Expr]:
    """The eigenvalues of `winner_jacobian`, m being the first entry over the last."""
    spread = 1 + m + sp.sqrt((1 - m) ** 2 + 4 * key_scale / (1 + y))
    fast = -2 * power / sp.sqrt(size) * spread
    return [fast, -16 * power * key_scale * y / (sp.sqrt(size) * (1 + y) ** 2 * spread)]


def losing_rate(z: sp.Expr, power: sp.Expr, ratio: sp.Expr, size: sp.Expr) -> sp.Expr:
    """Rate of decay 2 g of a losing head's mu at the limit, its omega on the task's block z / sqrt(d)."""
    return 2 * losing_slope(z, power, ratio, size)


def losing_slope(z: sp.Expr, power: sp.Expr, ratio: sp.Expr, size: sp.Expr) -> sp.Expr:
    """Derivative g = dloss/dmu of a losing head at the limit: (2 s / L) mu^* (e^z - e z)."""
    return 2 * power * ratio / L * mu_star.subs({d: size, phi: ratio}) * (sp.exp(z) - sp.E * z)


def stray_coefficient(power: sp.Expr, ratio: sp.Expr, size: sp.Expr, key_scale: sp.Expr) -> sp.Expr:
    """Coefficient k of omega' = -k omega^2, the decay of a winner's small omega on another task's block."""
    return 4 * sp.E * key_scale * power * ratio / L * mu_star.subs({d: size, phi: ratio}) ** 2


def balanced_flow(at: dict[str, sp.Matrix]) -> tuple[sp.Matrix, sp.Matrix]:
    """Time derivatives of omega and mu >= 0 under the balanced flow."""
    loss = sum(task_losses(at))
    omega_dot = sp.Matrix(
        *at["omega"].shape,
        lambda h, b: -2 * c * at["omega"][h, b] / at["sizes"][b] * sp.diff(loss, at["omega"][h, b]),
    )
    return omega_dot, sp.Matrix(
        *at["mu"].shape, lambda h, i: -2 * at["mu"][h, i] * sp.diff(loss, at["mu"][h, i])
    )


def derive() -> Derivation:
    """The limit as a fixed point, what it costs, and the linearisation of the balanced flow around it."""
    step = Derivation(
        "One head per task: the limit of the balanced flow",
        "Chen, Sheen, Wang and Yang (2024) for the limit; the rates are derived here. Asymptotic law, "
        "disjoint tasks, balanced weights of positive sign.",
    )
    _covariance(step)
    _fixed_point(step)
    _winner(step)
    _losers(step)
    _strays(step)
    return step


def _covariance(step: Derivation) -> None:
    """Reduce any covariance to kappa = 1."""
    at = symbols(2, 2, 2)
    scaled = sp.Matrix(2, 2, lambda h, b: sp.Symbol(f"w_{h}_{b}", real=True))
    unit = at | {"omega": scaled, "kappas": sp.ones(2, 1)}
    back = {at["omega"][h, b]: scaled[h, b] / at["kappas"][b] for h in range(2) for b in range(2)}
    kappa, w, loss = sp.Symbol("kappa"), sp.Symbol("w"), sp.Function("loss")
    step.identity(
        "The covariance of the covariates enters the loss with the KQ values alone, as {product}. So unit "
        "covariance is the general case, here for two heads, two blocks, two tasks, overlapping or not.",
        sum(task_losses(at)).subs(back, simultaneous=True) - sum(task_losses(unit)),
        sp.Integer(0),
        shown=loss(kappa, w / kappa) - loss(1, w),
        product=sp.Eq(w, kappa * omega, evaluate=False),
    )
    k, F = at["kappas"][1], sp.Function("F")
    step.identity(
        "If {flow} is its balanced flow, {w} follows that of unit covariance, with {kappa} times the key "
        "scale.",
        k * balanced_flow(at)[0][0, 1].subs(back, simultaneous=True)
        - balanced_flow(unit)[0][0, 1].subs(c, c * k),
        sp.Integer(0),
        shown=kappa * F(c, kappa, w / kappa) - F(c * kappa, 1, w),
        flow=sp.Eq(sp.Derivative(omega, t), F(c, kappa, omega), evaluate=False),
        w=w,
        kappa=kappa,
    )


def _fixed_point(step: Derivation) -> None:
    """The limit is a fixed point of the balanced flow, and better than one head."""
    at = disjoint(2, 2)
    loss, ends = sum(task_losses(at)), limit(at)
    omegas, mus = _directions(2, 2)
    eps = sp.Symbol("epsilon", real=True)
    slope = _along(loss, at, omegas, mus).subs(ends)
    losing = [
        losing_slope(sp.Integer(0), at["powers"][i, i], at["ratios"][i], at["sizes"][i]) for i in (0, 1)
    ]
    step.identity(
        "Two tasks, two heads, each at its best for a task of its own: {own}, {own_mu}, the same for head "
        "1, and all other weights zero. The derivative of the loss there in the direction of changes {eta} "
        "of {omega} and {xi} of {mu} knows two of the eight changes.",
        slope,
        losing[0] * mus[1, 0] + losing[1] * mus[0, 1],
        shown=sp.Subs(sp.Derivative(sp.Function("loss")(eps), eps), eps, 0),
        own=sp.Eq(at["omega"][0, 0], ends[at["omega"][0, 0]], evaluate=False),
        own_mu=sp.Eq(at["mu"][0, 0], ends[at["mu"][0, 0]], evaluate=False),
        eta=sp.Symbol("eta"),
        omega=omega,
        xi=sp.Symbol("xi"),
        mu=mu,
    )
    step.sign(
        "So all derivatives vanish but those in the losing OV values {losing}, which are positive. The "
        "limit is no stationary point of the loss, but a fixed point of the balanced flow, where {mu} "
        "multiplies the derivative: losing OV values decay, and never change sign.",
        losing[0],
        ">",
        shown=sp.Derivative(sp.Symbol("loss"), at["mu"][1, 0]),
        losing=sp.Tuple(at["mu"][1, 0], at["mu"][0, 1]),
        mu=mu,
    )
    step.identity(
        "Every task has the effective dimension that a head of its own would give it.",
        (task_losses(at)[0] - at["noises"][0]).subs(ends),
        task_loss(at["powers"][0, 0], at["ratios"][0], sp.E * at["sizes"][0]),
        shown=sp.Symbol("loss_0") - sp.Symbol("sigma_0") ** 2,
    )
    r, v = sp.Symbol("r", positive=True), sp.Function("v")
    step.sign(
        "One head for all tasks leaves a task of share {p} no less than {X}. The shares sum to one: no task "
        "is better off, and all of share below one, which is all tasks but one at least, are worse off.",
        task_loss(a, phi, sp.E * d * (1 + r)) - task_loss(a, phi, sp.E * d),
        ">",
        form=a * phi * L * sp.E * d * r / ((L + phi * sp.E * d) * (L + phi * sp.E * d * (1 + r))),
        shown=v(sp.E * d * (1 + r)) - v(sp.E * d),
        X=sp.E * d / sp.Symbol("p"),
        p=sp.Eq(sp.Symbol("p"), 1 / (1 + r), evaluate=False),
    )


def _winner(step: Derivation) -> None:
    """Linearise the flow at the limit, and find the rates of a winner on its own task."""
    at = disjoint(2, 2)
    ends = limit(at)
    omegas, mus = _directions(2, 2)
    flow = balanced_flow(at)
    power, size = at["powers"][0, 0], at["sizes"][0]
    y = sp.Symbol("y", positive=True)
    ratio = y * L / (sp.E * size)  # the ratio in terms of y, for shorter formulas
    row = {"omega": flow[0][0, 0], "mu": flow[1][0, 0], "losing": flow[1][1, 0], "stray": flow[0][0, 1]}
    row = {key: _along(value, at, omegas, mus).subs(ends) for key, value in row.items()}
    step.identity(
        "Now the linearised flow. A losing OV value decays by itself.",
        row["losing"],
        -losing_rate(sp.Integer(0), power, at["ratios"][0], size) * mus[1, 0],
        shown=sp.Derivative(mus[1, 0], t),
    )
    step.identity(
        "A winner's KQ value on the other task's block does not move to first order; more on it below.",
        row["stray"],
        sp.Integer(0),
        shown=sp.Derivative(omegas[0, 1], t),
    )
    jacobian = winner_jacobian(power, ratio, size, c)
    step.identity(
        "A winner's KQ value on its own block obeys, with the key scale {c} and {y},",
        row["omega"].subs(at["ratios"][0], ratio),
        jacobian[0, 0] * omegas[0, 0] + jacobian[0, 1] * mus[0, 0],
        shown=sp.Derivative(omegas[0, 0], t),
        y=sp.Eq(y, sp.E * size * at["ratios"][0] / L, evaluate=False),
        c=c,
    )
    step.identity(
        "Its OV value is driven by the losing one besides. So the linear flow is triangular: its rates are "
        "those of the losing OV values, zeros, and the eigenvalues of the winners' own blocks.",
        row["mu"].subs(at["ratios"][0], ratio),
        jacobian[1, 0] * omegas[0, 0]
        + jacobian[1, 1] * mus[0, 0]
        - losing_rate(sp.Integer(0), power, ratio, size) * mus[1, 0],
        shown=sp.Derivative(mus[0, 0], t),
    )
    jacobian = winner_jacobian(a, y * L / (sp.E * d), d, c)
    J = sp.Symbol("J")
    trace, determinant = sp.Function("tr")(J), sp.Function("det")(J)
    step.sign(
        "Such a block {J}, of the first two coefficients in each line, has negative trace",
        jacobian.trace(),
        "<",
        shown=trace,
        J=J,
    )
    product = step.identity(
        "and positive determinant.", jacobian.det(), 32 * a**2 * c * y / (d * (1 + y) ** 2), shown=determinant
    )
    m = sp.Symbol("m", positive=True)
    bulk = c * (1 + 3 * y) / (1 + y) ** 2
    fast, slow = _rates(a, d, y, c, m)
    named = sp.symbols("lambda_0 lambda_1")
    step.define(
        "Its eigenvalues are real, with {m} the fast one:", named[0], fast, m=sp.Eq(m, bulk, evaluate=False)
    )
    step.define("And the slow one:", named[1], slow)
    step.sign("The fast one is negative,", fast, "<", shown=named[0])
    step.sign(
        "and so is the slow one, smaller by a factor of order {y} where {y} is small.",
        slow,
        "<",
        shown=named[1],
        y=y,
    )
    step.identity(
        "They are the eigenvalues, as their sum is the trace",
        (fast + slow).subs(m, bulk),
        jacobian.trace(),
        by=lambda rest: sp.expand(sp.numer(sp.together(rest))),
        how="the numerator of the difference over a common denominator vanishes",
        shown=sp.Add(*named),
    )
    step.identity(
        "and their product the determinant.", (fast * slow).subs(m, bulk), product, shown=sp.Mul(*named)
    )


def _losers(step: Derivation) -> None:
    """The decay of the OV values of a head that has no task."""
    at = disjoint(3, 2)
    power, ratio, size = at["powers"][0, 0], at["ratios"][0], at["sizes"][0]
    z = sp.Symbol("z", real=True)
    idle = {key: value for key, value in limit(at).items() if key not in at["omega"][2, :]}
    idle[at["omega"][2, 0]] = z / sp.sqrt(size)
    loss = sum(task_losses(at))
    pull = sp.symbols("eta_2_0 eta_2_1", real=True)
    step.identity(
        "A third head without a task, its OV values zero. Its KQ values do not move, wherever they are.",
        sum(p * sp.diff(loss, w) for p, w in zip(pull, at["omega"][2, :], strict=True)).subs(idle),
        sp.Integer(0),
        shown=sum(
            p * sp.Derivative(sp.Symbol("loss"), w) for p, w in zip(pull, at["omega"][2, :], strict=True)
        ),
    )
    r = sp.Symbol("r", positive=True)
    step.identity(
        "The winner of task 0 leaves unread a part {r} of its signal. Its OV value is stationary: the pull "
        "of that part balances the noise.",
        power * (1 - mu_star * omega_star).subs({d: size, phi: ratio}) * omega_star.subs(d, size),
        power * ratio / L * sp.E * mu_star.subs({d: size, phi: ratio}),
        shown=power * r * omega_star.subs(d, size),
        r=sp.Eq(r, 1 - at["mu"][0, 0] * at["omega"][0, 0], evaluate=False),
    )
    g = sp.Symbol("g")
    slope = step.identity(
        "The idle head feels the same pull, times {z}, against its own overlap with the winner, whatever "
        "its KQ value on the other block.",
        sp.diff(loss, at["mu"][2, 0]).subs(idle),
        losing_slope(z, power, ratio, size),
        shown=sp.Derivative(sp.Symbol("loss"), at["mu"][2, 0]),
        z=sp.Eq(z, sp.sqrt(size) * at["omega"][2, 0], evaluate=False),
    )
    step.identity(
        "Its OV value decays at the rate {rate}, {g} being this derivative.",
        sp.diff(balanced_flow(at)[1][2, 0], at["mu"][2, 0]).subs(idle),
        -2 * slope,
        shown=sp.Derivative(sp.log(at["mu"][2, 0]), t),
        rate=2 * g,
        g=g,
    )
    step.minimum(
        "The rate is nowhere negative and vanishes only for {z}, where the head reads as the winner does.",
        sp.exp(z) - sp.E * z,
        z,
        sp.Integer(1),
        z=sp.Eq(z, 1, evaluate=False),
    )
    step.identity(
        "It vanishes to second order: heads near the winner's KQ value lose slowly.",
        sp.Limit((sp.exp(z) - sp.E * z) / (z - 1) ** 2, z, 1, "+-"),
        sp.E / 2,
    )


def _strays(step: Derivation) -> None:
    """The algebraic decay of a winner's KQ value on another task's block."""
    at = disjoint(2, 2)
    stray, start = sp.symbols("w w_0", positive=True)
    power, ratio, size = at["powers"][0, 0], at["ratios"][0], at["sizes"][0]
    k = sp.Symbol("k", positive=True)
    rate = stray_coefficient(power, ratio, size, c)
    step.identity(
        "The modes of rate zero. With the losing OV values gone, a winner's KQ value {w} on the other block "
        "only adds to the overlap of the head with itself.",
        balanced_flow(at)[0][0, 1].subs(at["omega"][0, 1], stray).subs(limit(at)),
        -rate * stray**2 * sp.exp(at["sizes"][1] * stray**2),
        shown=sp.Derivative(stray, t),
        w=sp.Eq(stray, at["omega"][0, 1], evaluate=False),
    )
    path = start / (1 + k * start * t)
    step.identity(
        "Small ones thus decay, {law} with {k}, and do so algebraically: from {w_0} along {path}.",
        sp.diff(path, t) + k * path**2,
        sp.Integer(0),
        shown=sp.Derivative(stray, t) + k * stray**2,
        law=sp.Eq(sp.Derivative(stray, t), -k * stray**2, evaluate=False),
        k=sp.Eq(k, 4 * sp.E * c * power * ratio * at["mu"][0, 0] ** 2 / L, evaluate=False),
        w_0=start,
        path=path,
    )

    found = sum(task_losses(at)).subs(at["omega"][0, 1], stray).subs(limit(at))
    left = step.identity(
        "What it costs falls as its square: the excess over the limit of a small {w} is",
        sp.limit((found - found.subs(stray, 0)) / stray**2, stray, 0),
        power * ratio / L * at["mu"][0, 0].subs(limit(at)) ** 2 * sp.E * at["sizes"][1],
        shown=sp.Limit((sp.Function("loss")(stray) - sp.Function("loss")(0)) / stray**2, stray, 0),
        w=stray,
    )
    step.identity(
        "In the end {path} has forgotten its start, and the excess is this over {square}: it falls as the "
        "inverse square of time after everything else has settled.",
        sp.limit(t**2 * left * path**2, t, sp.oo),
        left / k**2,
        shown=sp.Limit(t**2 * (sp.Symbol("loss") - sp.Symbol("loss_0")), t, sp.oo),
        path=sp.Eq(stray, path, evaluate=False),
        square=(k * t) ** 2,
    )


def _directions(heads: int, tasks: int) -> tuple[sp.Matrix, sp.Matrix]:
    """Symbols for a change of every weight."""
    return (
        sp.Matrix(heads, tasks, lambda h, b: sp.Symbol(f"eta_{h}_{b}", real=True)),
        sp.Matrix(heads, tasks, lambda h, i: sp.Symbol(f"xi_{h}_{i}", real=True)),
    )


def _along(value: sp.Expr, at: dict[str, sp.Matrix], omegas: sp.Matrix, mus: sp.Matrix) -> sp.Expr:
    """Derivative in the direction of the changes of omega and mu."""
    pairs = [*zip(at["omega"], omegas, strict=True), *zip(at["mu"], mus, strict=True)]
    return sum(change * sp.diff(value, weight) for weight, change in pairs)
