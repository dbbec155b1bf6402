"""The optimal gradient step on the prompt's regression: linear attention, exact at every length."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.symbols import L, X, d, kappa, phi, s, task_loss

A = sp.Symbol("A", positive=True)  # signal power of the task in the block
T = sp.Symbol("T", real=True)  # kappa times the step's entry on the block
S = sp.Symbol("S", positive=True)  # variance of a label, given the coefficients
Gamma, g, r, w = sp.symbols(
    "Gamma g r w", real=True
)  # entry, coefficient, read-off, weight of one coordinate
x, y, u, q = sp.symbols("x y u q", real=True)  # covariate, label, rest of the label, query
mean = sp.Function("mean")


def loss(T: sp.Expr, A: sp.Expr, s: sp.Expr, size: sp.Expr) -> sp.Expr:
    """What a block of ``size`` coordinates adds to the loss; sum over blocks and add the query noise."""
    return A * ((1 - T) ** 2 + T**2 / L) + s / L * size * T**2


def step(size: sp.Expr, phi: sp.Expr) -> sp.Expr:
    """The best T = kappa Gamma of a block, phi = s / A; the step size eta if kappa = 1."""
    return 1 / (1 + (size * phi + 1) / L)


def dimension(size: sp.Expr, phi: sp.Expr) -> sp.Expr:
    """The effective dimension X of a block under the best step."""
    return size + 1 / phi


def _mean(expression: sp.Expr, second: sp.Expr, fourth: sp.Expr) -> sp.Expr:
    """Mean over x, of these moments, and over u, independent of x and of the remaining label variance."""
    of_x = {0: 1, 1: 0, 2: second, 3: 0, 4: fourth}
    of_u = {0: 1, 1: 0, 2: S - second * g**2}
    terms = sp.Poly(sp.expand(expression), x, u).terms()
    return sp.Add(*(factor * of_x[m] * of_u[n] for (m, n), factor in terms))


def derive() -> Derivation:
    """The loss of a step by Isserlis' theorem, the best step, and how it compares with attention."""
    proof = Derivation(
        "The optimal gradient step",
        "Linear attention as a step of gradient descent on the prompt: Ahn, Cheng, Daneshmand and Sra (2023) "
        "and Mahankali, Hashimoto and Ma (2023). One task at a time; exact for Gaussian covariates.",
    )
    _prediction(proof)
    coordinate = _coordinate(proof)
    _best(proof, coordinate)
    _attention(proof)
    return proof


def _prediction(proof: Derivation) -> None:
    """Linear attention is a gradient step."""
    pair = sp.Symbol("l", integer=True)
    xs, ys = sp.IndexedBase("x"), sp.IndexedBase("y")
    squares = sp.Sum((ys[pair] - w * xs[pair]) ** 2, (pair, 1, L)) / (2 * L)
    proof.identity(
        "Fit the labels of a prompt by least squares, here in one coordinate. The gradient at zero weight is "
        "a mean over the pairs.",
        -sp.diff(squares, w).subs(w, 0),
        sp.Sum(xs[pair] * ys[pair], (pair, 1, L)) / L,
        shown=-sp.Subs(sp.Derivative(squares, w), w, 0),
    )
    proof.say(
        "Call it {r}. A step of size {Gamma} in this coordinate, of variance {kappa}, adds {term} to the "
        "prediction for the query {q}: that is linear attention. Let the label be {label}, with {u} what all "
        "other coordinates and the noise contribute, independent of {x}. Given the coefficients the label is "
        "of variance {S}, so that {u} is of variance {rest}.",
        r=r,
        Gamma=Gamma,
        kappa=kappa,
        term=Gamma * r * q,
        q=q,
        label=sp.Eq(y, g * x + u),
        u=u,
        x=x,
        S=S,
        rest=S - kappa * g**2,
    )


def _coordinate(proof: Derivation) -> sp.Expr:
    """The mean squared error that one coordinate contributes, given the coefficients."""
    density = sp.exp(-(x**2) / (2 * kappa)) / sp.sqrt(2 * sp.pi * kappa)
    second, fourth = (
        proof.identity(
            words,
            sp.integrate(x**power * density, (x, -sp.oo, sp.oo)),
            moment,
            shown=sp.Integral(x**power * density, (x, -sp.oo, sp.oo)),
        )
        for power, moment, words in (
            (2, kappa, "Two moments of a Gaussian covariate are needed. The second:"),
            (4, 3 * kappa**2, "The fourth:"),
        )
    )
    first = proof.identity(
        "A pair reads off the coefficient on average.",
        _mean((g * x + u) * x, second, fourth),
        kappa * g,
        shown=mean(y * x),
    )
    square = proof.identity(
        "What it reads off has this mean square, Isserlis' theorem for the squares of two correlated "
        "Gaussians.",
        _mean((g * x + u) ** 2 * x**2, second, fourth),
        kappa * S + 2 * kappa**2 * g**2,
        shown=mean(y**2 * x**2),
    )
    squared = proof.identity(
        "The square of {r} has {L} terms of one pair and {others} of two different, independent pairs.",
        (L * square + L * (L - 1) * first**2) / L**2,
        (kappa * g) ** 2 + (kappa * S + kappa**2 * g**2) / L,
        shown=mean(r**2),
        r=r,
        L=L,
        others=L * (L - 1),
    )
    error = sp.expand((Gamma * r - g) ** 2).subs(r**2, squared).subs(r, first)
    return proof.identity(
        "The coordinates of the query are independent, so that the squared errors of the coordinates add up, "
        "each times the variance {kappa} of its query entry. With {T_is} one of them is",
        kappa * error,
        kappa * g**2 * ((1 - T) ** 2 + T**2 / L) + S * T**2 / L,
        by=lambda gap: sp.expand(gap.subs(T, kappa * Gamma)),
        shown=kappa * mean((Gamma * r - g) ** 2),
        kappa=kappa,
        T_is=sp.Eq(T, kappa * Gamma),
    )


def _best(proof: Derivation, coordinate: sp.Expr) -> None:
    """The loss of a block, its minimiser and its minimum."""
    proof.identity(
        "Now average over the coefficients. Only second moments enter: {power} has the mean {share}, and {S} "
        "has the mean {s}. The {d} coordinates of a block together add",
        d * coordinate.subs({g**2: A / (d * kappa), S: s}),
        loss(T, A, s, d),
        shown=d * kappa * mean((Gamma * r - g) ** 2),
        power=kappa * g**2,
        share=A / d,
        S=S,
        s=s,
        d=d,
    )
    proof.say(
        "Blocks do not interact, and the noise of the query's own label is added once. A full matrix in "
        "place of the diagonal {Gamma} would not help. The loss is convex in it and does not change if a "
        "coordinate is reflected, so that the mean over all reflections, which is diagonal, is at least as "
        "good. So is the mean over the coordinates of a block.",
        Gamma=Gamma,
    )
    best = step(d, phi)
    proof.minimum("The best step, with {phi_is}.", loss(T, A, A * phi, d), T, best, phi_is=sp.Eq(phi, s / A))
    proof.identity(
        "Its loss is that of a task of the effective dimension {X_is}.",
        loss(best, A, A * phi, d),
        task_loss(A, phi, X),
        by=lambda gap: sp.simplify(gap.subs(X, dimension(d, phi))),
        shown=sp.Subs(sp.Symbol("loss"), T, best),
        X_is=sp.Eq(X, dimension(d, phi)),
    )
    eta = sp.Symbol("eta")
    proof.define("For covariates of unit variance and one block this is the step size", eta, best)
    proof.identity(
        "A block where the task has no power is left alone.",
        sp.limit(step(d, s / A), A, 0, "+"),
        sp.Integer(0),
        shown=sp.Limit(step(d, s / A), A, 0, "+"),
    )


def _attention(proof: Derivation) -> None:
    """Where the step stands among the effective dimensions of decomposable attention at large L."""
    bound = A * (1 - T) ** 2 + A * phi / L * d * T**2
    least = 1 / (1 + d * phi / L)
    proof.minimum(
        "Decomposable attention that reads off {T} of the block has at least the asymptotic loss below, "
        "since its overlaps make at least the noise {d} {square}. It is the loss of the step without {term}: "
        "how much the read-off itself fluctuates, which the asymptotic loss leaves out.",
        bound,
        T,
        least,
        T=T,
        d=d,
        square=T**2,
        term=A * T**2 / L,
    )
    proof.identity(
        "In terms of the effective dimension {X}, the bound on decomposable attention under the "
        "asymptotic loss is {X_is}.",
        bound.subs(T, least),
        task_loss(A, phi, d),
        shown=sp.Subs(task_loss(A, phi, X), X, d),
        X=X,
        X_is=sp.Eq(X, d),
    )
    proof.sign("The step is above the bound.", dimension(d, phi) - d, ">", shown=X - d)
    gap = task_loss(A, phi, dimension(d, phi)) - task_loss(A, phi, d)
    proof.sign(
        "Its loss is larger, by a term of relative order {order} that is negligible in large blocks.",
        gap,
        ">",
        form=A * L / ((L + d * phi + 1) * (L + d * phi)),
        order=1 / (d * phi),
    )
    noise, more = sp.symbols("n m", nonnegative=True)
    proof.sign(
        "The step loses at most one coordinate, since {phi_is} with {noise} the noise over the signal.",
        d + 1 - dimension(d, 1 + noise),
        ">=",
        form=noise / (1 + noise),
        shown=d + 1 - X,
        phi_is=sp.Eq(phi, 1 + noise),
        noise=noise,
    )
    proof.sign(
        "So it beats the asymptotic limit of one head per task, {limit}, of any size {d_is}.",
        (sp.E * d - (d + 1)).subs(d, 1 + more),
        ">",
        form=(sp.E - 2) * (1 + more) + more,
        shown=sp.E * d - (d + 1),
        limit=sp.Eq(X, sp.E * d),
        d_is=sp.Eq(d, 1 + more),
    )
