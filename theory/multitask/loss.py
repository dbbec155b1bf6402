"""The asymptotic loss of decomposable softmax attention, from the exponential tilt."""

from __future__ import annotations

import sympy as sp

from theory.algebra import over_line
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
        "The asymptotic loss",
        "Chen, Sheen, Wang and Yang (2024), section 3: softmax attention as an exponential tilt of "
        "the covariates. Decomposable weights, coefficients of mean zero.",
    )
    _moments(step, *_tilt(step))
    _heads(step)
    return step


def _tilt(step: Derivation) -> tuple[sp.Expr, sp.Expr]:
    """What a head reads off in a block, and the block's factor of the overlap, from the tilted normal law."""
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
        over_line(sp.exp(u * x) * density, x),
        sp.exp(kappa * u**2 / 2),
        shown=M(u),
    )
    mean = step.identity(
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
        "The mean over one coordinate of the query, {u_h} and {v_k}, exists for {g} > 0 alone, with "
        "{definition}. For the best single head, {best}, that takes {least}.",
        over_line(sp.exp(-tilt * y**2 / (2 * kappa)) / sp.sqrt(2 * sp.pi * kappa), y),
        1 / sp.sqrt(tilt),
        shown=sp.Symbol("mean"),
        u_h=sp.Eq(u, w * q),
        v_k=sp.Eq(v, z * q),
        g=tilt,
        definition=sp.Eq(tilt, 1 - 2 * kappa**2 * w * z),
        best=sp.Eq(kappa**2 * w**2, 1 / size),
        least=sp.Gt(size, 2),
    )
    W, Z = sp.symbols("W Z", positive=True)
    factor = step.identity(
        "Over the {size} coordinates of a block with {scaling} it tends for large {size}, {fixed} held "
        "fixed, to the block's factor of E_hk, {factor}: the query's norm concentrates. So {L} is taken to "
        "be large first, and {size} second.",
        sp.limit((1 - 2 * kappa**2 * W * Z / size) ** (-size / 2), size, sp.oo),
        sp.exp(kappa**2 * W * Z),
        shown=sp.Limit((1 - 2 * kappa**2 * W * Z / size) ** (-size / 2), size, sp.oo, "-"),
        size=size,
        scaling=sp.Eq(w * z, W * Z / size),
        fixed=W * Z,
        factor=sp.exp(size * kappa**2 * w * z),
        L=L,
    )
    return mean.subs(u, w), factor.subs(W, size * w).subs(Z, z)


def _moments(step: Derivation, read: sp.Expr, factor: sp.Expr) -> None:
    """The error of the prediction, the moments of its parts, and the loss that they add up to."""
    S, slope = sp.Symbol("S", positive=True), sp.Symbol("g", real=True)
    left, right = sp.symbols("p_1:4", real=True), sp.symbols("r_1:4", real=True)
    labels = sp.symbols("y_1:4", real=True)
    independent = {labels[j] * labels[k]: 0 for j in range(3) for k in range(j)}
    independent |= {label**2: S for label in labels}
    sums = [sum(p * label for p, label in zip(row, labels, strict=True)) for row in (left, right)]
    bracket, names = sp.Function("mean"), sp.symbols("f_h f_k", real=True)
    step.identity(
        "Beside its tilted mean a head outputs {f_h}, a weighted sum of deviations of the labels: to leading "
        "order these are independent between pairs, of variance {S}. Given the weights of two heads, {p} and "
        "so on and {r} and so on (here of three pairs), the mean product of their sums is {S} / {L} times "
        "the overlap.",
        sp.expand(sums[0] * sums[1]).subs(independent),
        S * sum(p * r for p, r in zip(left, right, strict=True)),
        shown=bracket(names[0] * names[1]),
        how="products of different labels have mean zero, squares have mean S",
        f_h=names[0],
        S=S,
        p=left[0],
        r=right[0],
        L=L,
    )
    x, u, v, z = sp.symbols("x u v z", real=True)
    density = sp.exp(-(z**2) / (2 * kappa)) / sp.sqrt(
        2 * sp.pi * kappa
    )  # of x less its mean under both tilts
    product = slope**2 * (x - kappa * u) * (x - kappa * v)
    step.identity(
        "Two things are dropped there. The labels of a prompt share its coefficients: they are independent "
        "only given these, about the tilted mean, and the mean of the ratio of sums is off by a relative "
        "amount of order 1 / {L}, E_hh / {L} to be precise. And the tilt by both heads changes the second "
        "moment of the labels: a coordinate with coefficient {g} adds the product below, of which only "
        "{variance} is kept. The rest is smaller by {order}, of the order of one over the size of the block. "
        "The first-order law of the context keeps both, and the mean over the query at any size of block.",
        over_line(sp.expand(product.subs(x, z + kappa * (u + v))) * density, z),
        slope**2 * (kappa + kappa**2 * u * v),
        shown=bracket(product),
        L=L,
        g=slope,
        variance=slope**2 * kappa,
        order=kappa * u * v,
    )
    at = symbols(2, 2, 1)
    omega, mu, sizes, kappas, powers = (at[key] for key in ("omega", "mu", "sizes", "kappas", "powers"))
    y, f = sp.symbols("y_:2", real=True), sp.symbols("f_:2", real=True)
    noise, variance = sp.Symbol("epsilon", real=True), sum(powers) + at["noises"][0]
    w, z, size = *sp.symbols("omega_h omega_k", real=True), sp.Symbol("d_b", positive=True)
    reads = [[read.subs({kappa: kappas[b], w: omega[h, b]}) * y[b] for b in range(2)] for h in range(2)]
    prediction = sum(mu[h, 0] * (sum(reads[h]) + f[h]) for h in range(2))
    residual = [1 - sum(mu[h, 0] * kappas[b] * omega[h, b] for h in range(2)) for b in range(2)]
    error = step.identity(
        "Two heads, two blocks, one task. The target is {target}: the signals of the query in the blocks and "
        "its own label noise. Head h outputs {output} times its OV value, so the prediction is off by what "
        "the heads together fail to read off, and by their fluctuations.",
        prediction - sum(y) - noise,
        -sum(residual[b] * y[b] for b in range(2)) + sum(mu[h, 0] * f[h] for h in range(2)) - noise,
        shown=sp.Symbol("error"),
        target=sum(y) + noise,
        output=sum(reads[0]) + f[0],
    )
    means = {(y[b], y[b]): powers[0, b] for b in range(2)} | {(noise, noise): at["noises"][0]}
    for h, k in ((0, 0), (0, 1), (1, 1)):
        overlap = sp.prod(
            factor.subs({size: sizes[b], kappa: kappas[b], w: omega[h, b], z: omega[k, b]}) for b in range(2)
        )
        means[f[h], f[k]] = variance / L * overlap
    parts = sp.Poly(sp.expand(error**2), *y, *f, noise)
    square = sp.Integer(0)
    for degrees, factor_of in parts.terms():
        pair = tuple(part for part, power in zip(parts.gens, degrees, strict=True) for _ in range(power))
        square += factor_of * means.get(pair, 0)  # all other pairs are uncorrelated
    step.identity(
        "The moments: {signal} has mean {A}, {own} has mean {sigma}, and {fluctuation} has mean {s} / {L} "
        "times E_hk, the product of the factors of the blocks; {s_is}. All other products have mean zero: "
        "coefficients of different blocks and label noise are independent, and given the coefficients and "
        "the query the fluctuations have mean zero. That is the loss of the task.",
        square,
        task_losses(at)[0],
        shown=sp.Symbol("loss_0"),
        how="the squared error expanded, every product replaced by its mean; the difference is zero",
        signal=y[0] ** 2,
        A=powers[0, 0],
        own=noise**2,
        sigma=at["noises"][0],
        fluctuation=names[0] * names[1],
        s=sp.Symbol("s_0"),
        s_is=sp.Eq(sp.Symbol("s_0"), variance),
        L=L,
    )


def _heads(step: Derivation) -> None:
    """The loss of zero weights, and of two heads with equal KQ values."""
    at = symbols(2, 1, 1)
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
