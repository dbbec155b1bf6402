"""Small heads at any length: one gradient step on a prompt with one pair fewer."""

from __future__ import annotations

import sympy as sp

from theory.algebra import gaussian_mean, limit_at_zero
from theory.derivation import Derivation
from theory.multitask import first_order, gradient_step, lower_bound
from theory.multitask.loss import symbols
from theory.symbols import L, X, a, d, kappa, phi, s, task_loss

PAIRS = 3  # of the prompts that are written out
T = sp.Symbol("T", real=True)  # kappa sum_h mu_h omega_h of a block
epsilon = sp.Symbol("epsilon", positive=True)  # scale of the KQ values


def loss(T: sp.Expr, A: sp.Expr, s: sp.Expr, size: sp.Expr) -> sp.Expr:
    """What a block adds to the loss in the limit of small heads; sum over blocks and add the query noise."""
    n = L - 1
    return A * (1 - 2 * T * n / L + T**2 * n * (n + 1) / L**2) + s * size * T**2 * n / L**2


def step(size: sp.Expr, phi: sp.Expr) -> sp.Expr:
    """The best T = kappa sum_h mu_h omega_h of a block, phi = s / A."""
    return 1 / (1 + size * phi / L)


def excess(A: sp.Expr, s: sp.Expr, size: sp.Expr) -> sp.Expr:
    """The least that a block adds to the loss: A (A + s d) / (L A + s d)."""
    return A * (A + s * size) / (L * A + s * size)


def derive() -> Derivation:
    """The limit of the prediction, its loss at any length, the best, and what the first-order law says."""
    proof = Derivation(
        "Small heads",
        "Derived here: the debiased gradient descent of He, Pan, Chen and Yang (2025), at any length. "
        "Decomposable weights, Gaussian covariates; exact for softmax attention in the limit of small KQ "
        "values. Nothing is claimed of heads that are not small.",
    )
    _prediction(proof)
    _one_pair_fewer(proof)
    _loss(proof)
    _best(proof)
    _first_order(proof)
    return proof


def _prediction(proof: Derivation) -> None:
    """Softmax to first order in the logits."""
    logits, labels = sp.symbols(f"l_:{PAIRS}", real=True), sp.symbols(f"y_:{PAIRS}", real=True)
    M, w = sp.Symbol("M", real=True), sp.symbols("w_:2", real=True)
    centred = [logit - sum(logits) / PAIRS for logit in logits]

    def softmax(scale: sp.Expr) -> list[sp.Expr]:
        total = sum(sp.exp(scale * logit) for logit in logits)
        return [sp.exp(scale * logit) / total for logit in logits]

    proof.identity(
        "A head weights the pairs of a prompt, here three, by the softmax of their logits. At a small scale "
        "{epsilon} all weights are nearly the same; to first order they differ from that by what a logit "
        "differs from the mean logit.",
        sp.diff(softmax(epsilon)[0], epsilon).subs(epsilon, 0),
        centred[0] / PAIRS,
        shown=sp.Subs(sp.Derivative(sp.Function("p_0")(epsilon), epsilon), epsilon, 0),
        epsilon=epsilon,
    )
    outputs = [
        sum(p * label for p, label in zip(softmax(value * epsilon), labels, strict=True)) for value in w
    ]
    proof.identity(
        "Let the KQ values of a head be {value} and its OV value {weight}. If the OV values of all heads sum "
        "to zero the prediction has a limit; here for two heads whose logits are multiples of {logit} and so "
        "on, as in one block,",
        limit_at_zero(M / epsilon * (outputs[0] - outputs[1]), epsilon, 1),
        M * (w[0] - w[1]) / PAIRS * sum(c * label for c, label in zip(centred, labels, strict=True)),
        shown=sp.Limit(M / epsilon * (sp.Function("f_0")(epsilon) - sp.Function("f_1")(epsilon)), epsilon, 0),
        value=epsilon * w[0],
        weight=M / epsilon,
        logit=logits[0],
    )
    h, mu, omega = sp.Symbol("h"), sp.IndexedBase("mu"), sp.IndexedBase("omega")
    b = sp.Symbol("b")
    proof.say(
        "That is linear attention: a step along the mean over the pairs of label times centred covariate. "
        "All that is left of the heads is the size of the step in a block, {size}; with one head more than "
        "blocks a task can have any sizes, as in the head budget. OV values with another sum add a multiple "
        "of the mean label. That does not depend on the query, and the target is odd in it, so that it only "
        "adds to the loss.",
        size=sp.Sum(mu[h] * omega[h, b], (h, 1, sp.Symbol("H"))),
    )


def _one_pair_fewer(proof: Derivation) -> None:
    """Centring is a rotation of the pairs that leaves one of them out."""
    x, y = sp.symbols(f"x_:{PAIRS}", real=True), sp.symbols(f"y_:{PAIRS}", real=True)
    rows = [sp.Matrix([row]) for row in ([1, 1, 1], [1, -1, 0], [1, 1, -2])]
    rotation = sp.Matrix.vstack(*(row / row.norm() for row in rows))
    z, eta = rotation * sp.Matrix(x), rotation * sp.Matrix(y)
    named = sp.symbols(f"z_:{PAIRS}"), sp.symbols(f"eta_:{PAIRS}")
    matrix, one = sp.MatrixSymbol("Q", PAIRS, PAIRS), sp.Identity(PAIRS)
    proof.identity(
        "Rotate the pairs among each other: covariates to {z} and so on, and labels in the same way. The "
        "matrix is orthogonal,",
        matrix * matrix.T,
        one,
        by=lambda gap: sp.Add(*(sp.Abs(entry) for entry in gap.subs(matrix, rotation).doit().as_explicit())),
        shown=matrix * matrix.T,
        z=sp.Tuple(sp.Eq(named[0][0], z[0]), sp.Eq(named[0][1], z[1]), sp.Eq(named[0][2], z[2])),
    )
    proof.identity(
        "so that the rotated pairs are independent again and of the same law, their labels being linear in "
        "the covariates and the noise. The first is the mean over the prompt, and what is centred is a sum "
        "over the others.",
        sum((label - sum(y) / PAIRS) * (one - sum(x) / PAIRS) for label, one in zip(y, x, strict=True)),
        z[1] * eta[1] + z[2] * eta[2],
        shown=named[0][1] * named[1][1] + named[0][2] * named[1][2],
    )


def _loss(proof: Derivation) -> None:
    """The loss of the limit: that of a gradient step at another length."""
    n = sp.Symbol("n", positive=True)
    named = sp.Function("loss")
    size = sp.Symbol("c_b")
    proof.identity(
        "A constant first row does that for any number {L} of pairs: small heads are one gradient step on a "
        "prompt of {n} pairs. They read off {T_is} of a block, but divide by {L} where there are {n}: the "
        "block adds the loss of the step at the length {n} that reads off {less}, {A} being its signal and "
        "{s} the variance of the labels.",
        gradient_step.loss(T * n / (n + 1), a, s, d).subs(L, n),
        loss(T, a, s, d).subs(L, n + 1),
        shown=named(T),
        L=L,
        n=sp.Eq(n, L - 1),
        T_is=sp.Eq(T, kappa * size),
        less=T * n / L,
        A=a,
        s=s,
    )
    kappas, steps = sp.symbols("kappa_:2", positive=True), sp.symbols("c_:2", real=True)
    g, sigma = sp.symbols("g_:2", real=True), sp.Symbol("sigma", positive=True)
    x = sp.Matrix(PAIRS, 2, lambda row, b: sp.Symbol(f"x_{row}_{b}", real=True))
    own = sp.symbols(f"epsilon_:{PAIRS}", real=True)
    labels = [g[0] * x[row, 0] + g[1] * x[row, 1] + own[row] for row in range(PAIRS)]
    mean = sum(labels) / PAIRS
    variances = {x[row, b]: kappas[b] for row in range(PAIRS) for b in range(2)}
    variances |= dict.fromkeys(own, sigma**2)
    total = sp.Integer(0)
    for b in range(2):
        read = sum((labels[row] - mean) * x[row, b] for row in range(PAIRS)) / PAIRS
        total += kappas[b] * gaussian_mean((steps[b] * read - g[b]) ** 2, variances)
    powers = sp.symbols("A_:2", positive=True)
    averaged = sp.expand(total).subs({g[b] ** 2: powers[b] / kappas[b] for b in range(2)})
    variance = sum(powers) + sigma**2
    proof.identity(
        "Blocks do not interact but through the variance of the labels. Written out for three pairs and two "
        "blocks of one coordinate, by the moments of all covariates and of the label noise, the squared "
        "errors in the two coordinates add up to",
        averaged,
        sum(loss(kappas[b] * steps[b], powers[b], variance, 1).subs(L, PAIRS) for b in range(2)),
        shown=sp.Symbol("loss_0") - sigma**2,
        how="Isserlis' theorem for every product of the expanded square; the difference is zero",
        by=sp.expand,
    )


def _best(proof: Derivation) -> None:
    """The best size of the step, and its loss."""
    named = sp.Function("loss")
    noise = a * (1 - T) ** 2 + s * d * T**2 / L
    proof.identity(
        "The loss of a block is its share of the pair that is lost, and what the lower bound under the "
        "asymptotic loss says of the rest.",
        loss(T, a, s, d),
        a / L + (1 - 1 / L) * noise,
        shown=named(T),
    )
    best = step(d, s / a)
    proof.minimum("Its minimum over {T} is where that bound has its own,", noise, T, best, T=T)
    least = excess(a, s, d)
    proof.identity(
        "and the least loss of small heads is, block by block,",
        loss(best, a, s, d),
        least,
        shown=sp.Subs(named(T), T, best),
    )
    proof.identity(
        "A part {lost} of the bound and the share of the lost pair:",
        least,
        a / L + (1 - 1 / L) * lower_bound.block_bound(a, s, d),
        shown=sp.Subs(named(T), T, best),
        lost=1 - 1 / L,
    )
    optimal = gradient_step.loss(gradient_step.step(d, s / a), a, s, d)
    proof.identity(
        "It is the loss of the optimal gradient step on a prompt with one pair fewer,",
        optimal.subs(L, L - 1),
        least,
        shown=sp.Subs(named(T), T, best),
    )
    proof.sign(
        "so that on the same prompt the optimal step is better.",
        least - optimal,
        ">",
        form=a**2 * (a + s * d) / ((L * a + s * d) * (L * a + s * d + a)),
        shown=sp.Subs(named(T), T, best) - sp.Symbol("step"),
    )
    proof.identity(
        "For a task on one block the best small heads have the effective dimension of the step, larger by "
        "the factor {factor} for the pair that is lost.",
        task_loss(a, phi, gradient_step.dimension(d, phi) * L / (L - 1)),
        excess(a, a * phi, d),
        shown=sp.Subs(task_loss(a, phi, X), X, gradient_step.dimension(d, phi) * L / (L - 1)),
        factor=L / (L - 1),
    )


def _first_order(proof: Derivation) -> None:
    """The first-order law of small heads."""
    at = symbols(2, 1, 1)
    values = {at["omega"][0]: epsilon, at["omega"][1]: -epsilon, at["kappas"][0]: 1, at["sizes"][0]: d}
    values |= {at["mu"][0]: T / (2 * epsilon), at["mu"][1]: -T / (2 * epsilon)}
    law = first_order.task_losses(at)[0].subs(values) - at["noises"][0]
    power = at["powers"][0]
    variance = power + at["noises"][0]
    limit = proof.identity(
        "The first-order law says nearly the same of two small heads of opposite signs:",
        limit_at_zero(law, epsilon, 2),
        power * (1 - T) ** 2 + (power * (T**2 + 2 * T * (1 - T)) + variance * d * T**2) / L,
        shown=sp.Limit(sp.Symbol("law"), epsilon, 0),
    )
    proof.identity(
        "it is off by a term of second order alone.",
        limit - loss(T, power, variance, d),
        variance * d * T**2 / L**2,
        shown=sp.Limit(sp.Symbol("law"), epsilon, 0) - sp.Function("loss")(T),
    )
