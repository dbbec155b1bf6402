"""What a head predicts: the Nadaraya-Watson estimate of a kernel, and how other weights interfere."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation

PAIRS = 3  # of the prompts that are written out
omega = sp.Symbol("omega", positive=True)
labels = sp.symbols(f"y_:{PAIRS}", real=True)


def estimate(kernel: list[sp.Expr], answers: list[sp.Expr]) -> sp.Expr:
    """The mean of the answers, weighted by a kernel."""
    return sum(k * y for k, y in zip(kernel, answers, strict=True)) / sum(kernel)


def derive() -> Derivation:
    """The limit's answer as an estimate; its kernel; and the weights that are left."""
    step = Derivation(
        "Attention as a kernel smoother",
        "As Chen, Sheen, Wang and Yang (2024) read the limit. Exact for softmax attention with decomposable "
        "weights, at any length and dimension.",
    )
    _estimate(step)
    _kernel(step)
    _interference(step)
    return step


def _estimate(step: Derivation) -> None:
    """The output of a head, as a local mean."""
    z, m, mu = sp.symbols(f"z_:{PAIRS}", real=True), sp.Symbol("m", real=True), sp.Symbol("mu", positive=True)
    kernel = [sp.exp(omega * value) for value in z]
    total = sum(kernel)
    step.identity(
        "A prompt of three pairs and one head on the block of one task. With {z} for the product of a pair's "
        "covariate and the query on that block, softmax attention answers",
        mu * sum(k / total * y for k, y in zip(kernel, labels, strict=True)),
        mu * estimate(kernel, labels),
        shown=sp.Symbol("yhat"),
        z=z[0],
    )
    step.identity(
        "Its weights add up to one,",
        sum(k / total for k in kernel),
        sp.Integer(1),
        shown=sum(sp.symbols("p_:3")),
    )
    step.sign(
        "and are positive. So the answer is {mu} times a mean of the labels", kernel[0] / total, ">", mu=mu
    )
    weights = sp.symbols(f"k_:{PAIRS}", positive=True)
    squares = sum(k * (y - m) ** 2 for k, y in zip(weights, labels, strict=True))
    step.minimum(
        "that fits them best in the sense of least squares with the kernel as weights: it is the estimate of "
        "Nadaraya and Watson.",
        squares,
        m,
        estimate(weights, labels),
    )


def _kernel(step: Derivation) -> None:
    """The exponential of a product as a Gaussian bump."""
    x, q = sp.Matrix(sp.symbols("x_:2", real=True)), sp.Matrix(sp.symbols("q_:2", real=True))
    step.identity(
        "The kernel, here in two coordinates, is a Gaussian bump around the query, of variance {width}, that "
        "favours pairs far out. A factor of the query alone cancels.",
        sp.exp(omega * x.dot(q)),
        sp.exp(-omega * (x - q).dot(x - q) / 2) * sp.exp(omega * x.dot(x) / 2) * sp.exp(omega * q.dot(q) / 2),
        shown=sp.Function("k")(sp.Symbol("x"), sp.Symbol("q")),
        width=1 / omega,
    )


def _interference(step: Derivation) -> None:
    """What weights other than the limit's add, to first order."""
    z, other = sp.symbols(f"z_:{PAIRS}", real=True), sp.symbols(f"u_:{PAIRS}", real=True)
    w, mu = sp.Symbol("w", real=True), sp.Symbol("mu", positive=True)
    kernel = [sp.exp(omega * z[k] + w * other[k]) for k in range(PAIRS)]
    plain = [k.subs(w, 0) for k in kernel]
    products = [other[k] * labels[k] for k in range(PAIRS)]
    step.identity(
        "A small KQ value {w} on the block of another task, where the products are {u}, adds to the "
        "answer the covariance of these products and the labels under the weights.",
        sp.diff(mu * estimate(kernel, labels), w).subs(w, 0),
        mu * (estimate(plain, products) - estimate(plain, other) * estimate(plain, labels)),
        shown=sp.Subs(sp.Derivative(sp.Function("yhat")(w), w), w, 0),
        w=w,
        u=other[0],
    )
    lost = sp.Symbol("mu_1", real=True)
    step.identity(
        "A small OV value {mu_1} of another head adds that times its own estimate. Both vanish with the "
        "weight.",
        sp.diff(mu * estimate(plain, labels) + lost * estimate([sp.exp(w * u) for u in other], labels), lost),
        estimate([sp.exp(w * u) for u in other], labels),
        shown=sp.Derivative(sp.Symbol("yhat"), lost),
        mu_1=lost,
    )
