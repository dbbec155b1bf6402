"""The large-L loss of decomposable softmax attention, from the exponential tilt."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.symbols import L, kappa


def kernel(omega: sp.Matrix, sizes: sp.Matrix, kappas: sp.Matrix, h: int, k: int) -> sp.Expr:
    """E_hk = exp(sum_b d_b kappa_b^2 omega_hb omega_kb)."""
    blocks = range(omega.shape[1])
    return sp.exp(sum(sizes[b] * kappas[b] ** 2 * omega[h, b] * omega[k, b] for b in blocks))


def symbols(heads: int, blocks: int, tasks: int) -> dict[str, sp.Matrix]:
    """Matrices of symbols: omega (H, B), mu (H, I), sizes and kappas (B), powers (I, B), noises (I)."""
    shapes = {"sizes": ("d", blocks, 1), "kappas": ("kappa", blocks, 1), "noises": ("sigma2", tasks, 1)}
    made = {
        key: sp.Matrix(rows, columns, lambda r, _, stem=stem: sp.Symbol(f"{stem}_{r}", positive=True))
        for key, (stem, rows, columns) in shapes.items()
    }
    made["omega"] = sp.Matrix(heads, blocks, lambda h, b: sp.Symbol(f"omega_{h}_{b}", real=True))
    made["mu"] = sp.Matrix(heads, tasks, lambda h, i: sp.Symbol(f"mu_{h}_{i}", real=True))
    made["powers"] = sp.Matrix(tasks, blocks, lambda i, b: sp.Symbol(f"A_{i}_{b}", nonnegative=True))
    return made


def task_losses(at: dict[str, sp.Matrix]) -> list[sp.Expr]:
    """The loss of every task, query noise included, on the matrices of `symbols`."""
    omega, mu, powers = at["omega"], at["mu"], at["powers"]
    heads, blocks = omega.shape
    losses = []
    for i in range(mu.shape[1]):
        variance = sum(powers[i, :]) + at["noises"][i]
        residual = [
            1 - sum(mu[h, i] * at["kappas"][b] * omega[h, b] for h in range(heads)) for b in range(blocks)
        ]
        noise = sum(
            mu[h, i] * mu[k, i] * kernel(omega, at["sizes"], at["kappas"], h, k)
            for h in range(heads)
            for k in range(heads)
        )
        signal = sum(powers[i, b] * residual[b] ** 2 for b in range(blocks))
        losses.append(signal + variance / L * noise + at["noises"][i])
    return losses


def derive() -> Derivation:
    """The tilted mean, the overlap of two heads, and the loss they make."""
    step = Derivation(
        "The large-L loss",
        "Chen, Sheen, Wang and Yang (2024), section 3: softmax attention as an exponential tilt of "
        "the covariates.",
    )
    x, u, v, q = sp.symbols("x u v q", real=True)
    w, z = sp.symbols("omega_h omega_k", real=True)
    density = sp.exp(-(x**2) / (2 * kappa)) / sp.sqrt(2 * sp.pi * kappa)
    step.say(
        "Given the query {q}, head h weights the context pairs by the softmax of their logits, which "
        "are sums over coordinates of {ux} with {u_h}. For large {L} sums over pairs become means "
        "over the covariates' law: softmax attention is the exponentially tilted mean. One "
        "coordinate, of variance {kappa}, at a time.",
        q=q,
        ux=u * x,
        u_h=sp.Eq(u, w * q),
        L=L,
        kappa=kappa,
    )
    M = sp.Function("M")
    generating = step.identity(
        "The normaliser is the moment generating function.",
        sp.integrate(sp.exp(u * x) * density, (x, -sp.oo, sp.oo), conds="none"),
        sp.exp(kappa * u**2 / 2),
        shown=M(u),
    )
    step.identity(
        "So the tilted mean of the coordinate is linear in the logit weight: attention reads off {read}.",
        sp.diff(sp.log(generating), u),
        kappa * u,
        shown=sp.Derivative(sp.log(M(u)), u),
        read=kappa * w * q,
    )
    step.identity(
        "Two heads weight the same pairs. L times the sum over pairs of the product of their two "
        "weights tends to the tilt by both logits over the two normalisers.",
        generating.subs(u, u + v) / (generating * generating.subs(u, v)),
        sp.exp(kappa * u * v),
        shown=M(u + v) / (M(u) * M(v)),
    )
    y, size = sp.Symbol("y", real=True), sp.Symbol("d_b", positive=True)
    tilt = sp.Symbol("g", positive=True)  # 1 - 2 kappa^2 omega_h omega_k, positive where the mean exists
    step.identity(
        "The mean over one coordinate of the query, {u_h} and {v_k}, exists for {g} > 0 with {definition}.",
        sp.integrate(sp.exp(-tilt * y**2 / (2 * kappa)) / sp.sqrt(2 * sp.pi * kappa), (y, -sp.oo, sp.oo)),
        1 / sp.sqrt(tilt),
        shown=sp.Symbol("mean"),
        u_h=sp.Eq(u, w * q),
        v_k=sp.Eq(v, z * q),
        g=tilt,
        definition=sp.Eq(tilt, 1 - 2 * kappa**2 * w * z),
    )
    W, Z = sp.symbols("W Z", positive=True)
    step.identity(
        "Over the {size} coordinates of a block with {scaling}, it tends for large {size} to the "
        "block's factor of E_hk, {factor}: the query's norm concentrates.",
        sp.limit((1 - 2 * kappa**2 * W * Z / size) ** (-size / 2), size, sp.oo),
        sp.exp(kappa**2 * W * Z),
        shown=sp.Limit((1 - 2 * kappa**2 * W * Z / size) ** (-size / 2), size, sp.oo, "-"),
        size=size,
        scaling=sp.Eq(w * z, W * Z / size),
        factor=sp.exp(size * kappa**2 * w * z),
    )
    A, R, S = sp.symbols("A R S", positive=True)
    weights, labels = sp.symbols("p_1:4", real=True), sp.symbols("y_1:4", real=True)
    independent = {labels[j] * labels[k]: 0 for j in range(3) for k in range(j)}
    independent |= {label**2: S for label in labels}
    step.identity(
        "Labels of different pairs are independent to leading order, of variance {S}. Given the "
        "weights (here of three pairs) their weighted sum has variance {S} times the sum of squared "
        "weights, {S} / {L} times the overlap.",
        sp.expand(sum(p * label for p, label in zip(weights, labels, strict=True)) ** 2).subs(independent),
        S * sum(p**2 for p in weights),
        shown=sp.Symbol("variance"),
        S=S,
        L=L,
    )
    target, read = sp.symbols("y_q m", real=True)
    step.identity(
        "The mean of the prediction is {read} times the noiseless target {y_q}, of power {A} in the "
        "block, so the error of the mean is {A} R^2 with {residual}: what the heads together fail to "
        "read off.",
        sp.expand((target - read * target) ** 2).subs(target**2, A),
        sp.expand(A * R**2).subs(R, 1 - read),
        shown=sp.Symbol("bias"),
        read=read,
        y_q=target,
        A=A,
        residual=sp.Eq(R, 1 - read),
    )
    at = symbols(2, 1, 1)
    step.define(
        "Mean, fluctuation and the query's own label noise add up; here for two heads, one block and "
        "one task:",
        sp.Symbol("loss_0"),
        task_losses(at)[0],
    )
    omega, mu = at["omega"], at["mu"]
    step.identity(
        "Zero weights cost the whole label variance.",
        task_losses(at)[0].subs({mu[0, 0]: 0, mu[1, 0]: 0}),
        at["powers"][0, 0] + at["noises"][0],
        shown=sp.Symbol("loss_0"),
    )
    step.identity(
        "Two heads with equal KQ values act as one head with the sum of their OV values.",
        task_losses(at)[0].subs(omega[1, 0], omega[0, 0]),
        task_losses(symbols(1, 1, 1))[0].subs(mu[0, 0], mu[0, 0] + mu[1, 0]),
        shown=sp.Symbol("loss_0"),
    )
    return step
