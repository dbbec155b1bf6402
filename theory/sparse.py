"""Preprocess, then optimize: linear attention for sparse regression, its law, and what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from theory.derivation import Derivation
from theory.multitask import bayes, gradient_step
from theory.symbols import L, d

Head = tuple[sp.Matrix, sp.Matrix, sp.Matrix]
"""Value, key and query matrices of a head."""

n = sp.Symbol("n", positive=True)  # pairs of a prompt
v = sp.Symbol("v", positive=True)  # signal power |w|^2
s = sp.Symbol("s", positive=True)  # size of the support
ell = sp.Symbol("l", positive=True)  # eigenvalue of the sample covariance
z = sp.Symbol("z", positive=True)  # eigenvalue of the preprocessed sample covariance
eta = sp.Symbol("eta", positive=True)  # step size
T = sp.Symbol("T", positive=True)  # time of the gradient flow
h = sp.Symbol("h", real=True)  # spectral filter at an eigenvalue
lam = sp.Symbol("lambda", positive=True)  # ridge penalty
noise = sp.Symbol("sigma", positive=True) ** 2  # label noise
tau = sp.Symbol("tau", positive=True)  # standard deviation of a label
mean = sp.Function("mean")
_i, _j, _k = sp.symbols("i j k", integer=True)  # token, coordinate, pair
_PAIRS, _SIZE, _ROWS = sp.symbols("n d D", integer=True, positive=True)  # the same as sizes of matrices
_X, _Y = sp.MatrixSymbol("X", _PAIRS, _SIZE), sp.MatrixSymbol("y", _PAIRS, 1)
_S, _R, _M = (sp.MatrixSymbol(name, _SIZE, _SIZE) for name in ("S", "R", "M"))
_r, _u, _beta = (sp.MatrixSymbol(name, _SIZE, 1) for name in ("r", "u", "beta"))


def layer(E: sp.Matrix, heads: Sequence[Head]) -> sp.Matrix:
    """One linear-attention layer on the tokens E, a column each; the last, the query, is no key or value."""
    pairs = E.cols - 1
    mask = sp.diag(*[1] * pairs, 0)
    return E + sum((V * E * mask * (K * E).T * (Q * E) / pairs for V, K, Q in heads), sp.zeros(*E.shape))


def preprocessing_heads(size: int, step: sp.Expr = sp.Integer(0)) -> list[Head]:
    """One head for each coordinate that writes its feature; rows are x, then the features, then y.

    Together they also take a gradient step of size ``step`` from zero weight, on the label row.
    """
    rows, heads = 2 * size + 1, []
    for j in range(size):
        value, key = sp.zeros(rows), sp.zeros(1, rows)
        value[size + j, -1], value[-1, -1], key[0, j] = 1, -step, 1
        heads.append((value, key, key))
    return heads


def gradient_head(size: int, a: sp.Expr, b: sp.Expr) -> Head:
    """The head of a gradient step on the labels, of size ``a`` on x and ``b`` on the features."""
    value, key = sp.zeros(2 * size + 1), sp.diag(sp.eye(2 * size), sp.zeros(1))
    value[-1, -1] = -1
    return value, key, sp.diag(a * sp.eye(size), b * sp.eye(size), sp.zeros(1))


def gradient_filter(z: sp.Expr, eta: sp.Expr, t: sp.Expr) -> sp.Expr:
    """What t gradient steps of size eta from zero multiply a component with, at eigenvalue z."""
    return (1 - (1 - eta * z) ** t) / z


def flow_filter(z: sp.Expr, T: sp.Expr) -> sp.Expr:
    """The limit of many small steps, eta t = T."""
    return (1 - sp.exp(-T * z)) / z


def label_variance(Sigma: sp.Matrix, w: sp.Matrix, sigma2: sp.Expr) -> sp.Expr:
    """Variance tau^2 of a label."""
    return (w.T * Sigma * w)[0] + sigma2


def conditional_covariance(Sigma: sp.Matrix, w: sp.Matrix, sigma2: sp.Expr) -> sp.Matrix:
    """Covariance C of the covariates of a pair, given its label."""
    return Sigma - Sigma * w * w.T * Sigma / label_variance(Sigma, w, sigma2)


def filter_risk(h: sp.Expr, ell: sp.Expr, d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """What an eigenvalue l of the sample covariance adds to the risk of a spectral filter, h there."""
    return v / d * (1 - ell * h) ** 2 + sigma2 / n * ell * h**2


def ridge_penalty(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The best penalty, for X^T X / n + lambda."""
    return sigma2 * d / (n * v)


def ridge_filter_risk(ell: sp.Expr, d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """What an eigenvalue l adds to the risk of ridge regression under the best penalty."""
    return sigma2 / n / (ell + ridge_penalty(d, n, v, sigma2))


def spectral_lower_bound(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """A lower bound on the risk of every spectral filter, ridge regression included."""
    return sigma2 * d * v / (n * v + sigma2 * d)


def marchenko_pastur_ridge(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of ridge regression under the best penalty, for the spectrum of large dimensions."""
    g, penalty = d / n, ridge_penalty(d, n, v, sigma2)
    middle = 1 - g + penalty
    return v / (2 * g) * (sp.sqrt(middle**2 + 4 * g * penalty) - middle)


def one_step_size(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The best size 1 / a of one gradient step from zero."""
    return 1 / (1 + (d + 1) / n + sigma2 * d / (n * v))


def one_step_risk(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The risk of the best gradient step from zero."""
    return v * (1 - one_step_size(d, n, v, sigma2))


def ols_risk(d: sp.Expr, n: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of least squares, n > d + 1."""
    return sigma2 * d / (n - d - 1)


def min_norm_risk(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of the interpolator of least norm, d > n + 1."""
    return v * (1 - n / d) + ols_risk(n, d, sigma2)


def oracle_risk(s: sp.Expr, n: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of least squares on the support, n > s + 1."""
    return ols_risk(s, n, sigma2)


def derive() -> Derivation:
    """The layers and what they compute, how many heads that takes, its law, and the yardsticks."""
    step = Derivation(
        "Preprocess, then optimize",
        "Sparse linear regression in context by multi-head linear attention: Chen, Zhao and Zou (2024). "
        "Proved here: the construction, the number of heads it takes, the exact law of what it works on, and "
        "the risks of the methods without preprocessing. Not proved: the rate of its own risk.",
    )
    _attention(step)
    _preprocessing(step)
    _descent(step)
    _filter(step)
    _head_bound(step)
    _given_the_labels(step)
    _law(step)
    _spectral(step)
    _marchenko_pastur(step)
    _one_step(step)
    _least_squares(step)
    return step


def _attention(step: Derivation) -> None:
    """The layer in its fast form."""
    m, N = sp.symbols("m N", integer=True, positive=True)
    E, M = sp.MatrixSymbol("E", _ROWS, N), sp.MatrixSymbol("M", N, N)
    V, G = sp.MatrixSymbol("V", _ROWS, _ROWS), sp.MatrixSymbol("G", _ROWS, _ROWS)
    K, Q = sp.MatrixSymbol("K", m, _ROWS), sp.MatrixSymbol("Q", m, _ROWS)
    step.say(
        "A prompt has {n} pairs of {d} covariates, the rows of {X}, and a label, {y}, whose noise {e} is of "
        "the variance {noise}. Few entries of the weights {w} are not zero. The columns of {E} are the pairs "
        "and the query, which has no label; the mask {M} is the identity but for the query, which is neither "
        "key nor value. A layer of linear attention adds to {E} one term for each head, with its value, key "
        "and query matrices {V}, {K} and {Q}.",
        n=n,
        d=d,
        X=_X,
        y=_equal(_Y, _X * sp.MatrixSymbol("w", _SIZE, 1) + sp.MatrixSymbol("e", _PAIRS, 1)),
        e=sp.MatrixSymbol("e", _PAIRS, 1),
        noise=noise,
        w=sp.Symbol("w"),
        E=E,
        M=M,
        V=V,
        K=K,
        Q=Q,
    )
    step.identity(
        "A head knows the prompt through one small matrix alone, {G}: the layer multiplies {E} by the "
        "identity plus the sum of {head} over the heads. At any sizes, for one head:",
        E + V * E * M * (K * E).T * (Q * E) / n,
        (sp.Identity(_ROWS) + V * G * (K.T * Q)) * E,
        by=_expanded({G: E * M * E.T / n}),
        G=_equal(G, E * M * E.T / n),
        E=E,
        head=V * G * (K.T * Q),
    )
    X, y, b = _matrix("x", 2, 2), _matrix("y", 2, 1), sp.Symbol("b", real=True)
    query = _matrix("q", 3, 1)
    tokens = X.T.col_join(y.T).row_join(query)
    p = _matrix("p", 2, 1)
    values = {
        sp.MatrixSymbol("u", 3, 1): p.col_join(sp.Matrix([b])),
        sp.MatrixSymbol("G", 3, 3): tokens * sp.diag(1, 1, 0) * tokens.T / 2,
        sp.MatrixSymbol("p", 2, 1): p,
        sp.MatrixSymbol("S", 2, 2): X.T * X / 2,
        sp.MatrixSymbol("r", 2, 1): X.T * y / 2,
        sp.MatrixSymbol("y", 2, 1): y,
    }
    u, G, p, S, r, y = values
    step.identity(
        "On the rows of the covariates and the label that matrix holds the sample covariance {S}, the "
        "correlations {r} with the label, and the mean square of the labels; nothing of the query. Its "
        "quadratic form at {u}, which is {p} with one more entry {b}, for two pairs and two coordinates:",
        u.T * G * u,
        p.T * S * p + 2 * b * p.T * r + b**2 * y.T * y / 2,
        by=_entries(values),
        S=_equal(_S, _X.T * _X / n),
        r=_equal(_r, _X.T * _Y / n),
        u=u,
        p=p,
        b=b,
    )


def _preprocessing(step: Derivation) -> None:
    """The heads that write the features, and a gradient step besides."""
    x, feature, y, r, after = (sp.IndexedBase(name) for name in ("x", "f", "y", "r", "yt"))
    free = sp.Symbol("eta_0", real=True)
    out = layer(_tokens(x, None, y), preprocessing_heads(2, free))
    values = {feature[i, j]: out[2 + j, i] for j in range(2) for i in range(3)}
    values |= {after[i]: out[4, i] for i in range(3)}
    values |= {r[j]: sum(x[k, j] * y[k] for k in range(2)) / 2 for j in range(2)}
    step.identity(
        "Preprocessing takes one layer of {d} heads, and {d} more rows that start at zero. Key and query of "
        "head {j} read the covariate {j}; the value copies the label into the new row {j}. That writes the "
        "features {f} into every token {i}, the query included. For two pairs and two coordinates, all "
        "tokens:",
        feature[_i, _j],
        r[_j] * x[_i, _j],
        by=_everywhere(values),
        d=d,
        j=_j,
        f=feature[_i, _j],
        i=_i,
    )
    step.identity(
        "If the values copy {minus} times the label into the row of the label too, the same heads take a "
        "step of plain gradient descent of that size: the labels {y} become the residuals {after}, and where "
        "there was no label, at the query, there is minus the prediction.",
        after[_i],
        y[_i] - free * sp.Sum(r[_j] * x[_i, _j], (_j, 0, d - 1)),
        by=_everywhere(values),
        minus=-free,
        y=y[_i],
        after=after[_i],
    )
    c = sp.Symbol("c", positive=True)
    heads = [(c * _unit(j, 2, rows=3), _unit(j, j, rows=3), _unit(j, j, rows=3)) for j in range(2)]
    out = layer(_tokens(x, None, y).extract([0, 1, 4], [0, 1, 2]), heads)
    step.identity(
        "Without new rows the features can only be added to the covariates, here {c} times: these become",
        feature[_i, _j],
        (1 + c * r[_j]) * x[_i, _j],
        by=_everywhere(values | {feature[i, j]: out[j, i] for j in range(2) for i in range(3)}),
        c=c,
    )
    single = sp.Symbol("r_j", real=True)
    step.identity(
        "so that the metric of later layers, with steps {small} times as long, is that of the features in a "
        "limit only.",
        sp.limit((1 + c * single) ** 2 / c**2, c, sp.oo),
        single**2,
        shown=sp.Limit((1 + c * single) ** 2 / c**2, c, sp.oo, "-"),
        small=1 / c**2,
    )


def _descent(step: Derivation) -> None:
    """The heads that take gradient steps, on the features and on both."""
    x, feature, y, r, after = (sp.IndexedBase(name) for name in ("x", "f", "y", "r", "yt"))
    out = layer(_tokens(x, feature, y), [gradient_head(2, sp.Integer(0), eta)])
    inner = sp.Sum(feature[_k, _j] * feature[_i, _j], (_j, 0, d - 1))
    step.identity(
        "A later layer has one head. Key and query read the features, the query times {eta}, and the value "
        "keeps the label alone, with the other sign. For two pairs and two coordinates, all tokens:",
        after[_i],
        y[_i] - eta / n * sp.Sum(y[_k] * inner, (_k, 0, n - 1)),
        by=_everywhere({after[i]: out[4, i] for i in range(3)}),
        eta=eta,
    )
    F, q = sp.MatrixSymbol("F", _PAIRS, _SIZE), sp.MatrixSymbol("q", _SIZE, 1)
    residual = _Y - F * _u
    ahead = _u + eta / n * F.T * residual
    step.identity(
        "Let the rows of {F} be the features of the pairs. If the rows of the labels hold the residuals of "
        "the weights {u}, as they do at first with {zero}, the layer turns them into those of the weights "
        "one gradient step on. At any sizes:",
        residual - eta / n * F * F.T * residual,
        _Y - F * ahead,
        by=_expanded({}),
        F=F,
        u=_u,
        zero=_equal(_u, sp.ZeroMatrix(_SIZE, 1)),
    )
    step.identity(
        "In the row of the labels the query, of features {q}, holds minus the prediction, before and after.",
        -q.T * _u - eta / n * q.T * F.T * residual,
        -q.T * ahead,
        by=_expanded({}),
        q=q,
    )
    step.identity(
        "As weights of the covariates these are {beta}, with {R} the diagonal matrix of {r}, since {F}. A "
        "layer is a gradient step in the metric {metric}, which favours the coordinates that correlate with "
        "the label.",
        _R * ahead,
        _beta + eta * _R * _R * (_r - _S * _beta),
        by=_expanded({F: _X * _R, _beta: _R * _u, _S: _X.T * _X / n, _r: _X.T * _Y / n}),
        beta=_equal(_beta, _R * _u),
        R=_R,
        r=_r,
        F=_equal(F, _X * _R),
        metric=_R**2,
    )
    a, b = sp.symbols("a b", positive=True)
    out = layer(_tokens(x, feature, y), [gradient_head(2, a, b)])
    written = {feature[i, j]: r[j] * x[i, j] for j in range(2) for i in range(3)}
    inner = sp.Sum((a + b * r[_j] ** 2) * x[_k, _j] * x[_i, _j], (_j, 0, d - 1))
    step.identity(
        "The one head may also read the covariates, with a factor {a}, beside the features, with {b}.",
        after[_i],
        y[_i] - sp.Sum(y[_k] * inner, (_k, 0, n - 1)) / n,
        by=_everywhere({after[i]: out[4, i].subs(written) for i in range(3)}),
        a=a,
        b=b,
    )
    metric = a * sp.Identity(_SIZE) + b * _R * _R
    step.identity(
        "The metric is mixed then.",
        _Y - _X * _beta - _X * metric * _X.T * (_Y - _X * _beta) / n,
        _Y - _X * (_beta + metric * (_r - _S * _beta)),
        by=_expanded({_S: _X.T * _X / n, _r: _X.T * _Y / n}),
    )


def _filter(step: Derivation) -> None:
    """The weights after any number of steps in closed form."""
    f, g, t = sp.Function("f"), sp.Function("g"), sp.Symbol("t", integer=True, positive=True)

    def of_steps(gap: sp.Expr) -> sp.Expr:
        return sp.simplify(gap.replace(f, lambda steps: gradient_filter(z, eta, steps)))

    def of_time(gap: sp.Expr) -> sp.Expr:
        return sp.simplify(gap.replace(g, lambda time: flow_filter(z, time)).doit())

    step.define(
        "In the eigenbasis of {M} the steps are decoupled. At the eigenvalue {z} the weights {u} are, after "
        "{t} steps from zero, the component of {Rr} times a filter,",
        f(t),
        gradient_filter(z, eta, t),
        M=_equal(_M, _R * _S * _R),
        z=z,
        u=_u,
        t=t,
        Rr=_R * _r,
    )
    step.identity("which starts at zero", f(sp.Integer(0)), sp.Integer(0), by=of_steps)
    step.identity("and grows in every step as it must.", f(t + 1), f(t) + eta * (1 - z * f(t)), by=of_steps)
    polynomial = step.identity(
        "It is a polynomial. After three steps, for instance,",
        gradient_filter(z, eta, sp.Integer(3)),
        3 * eta - 3 * eta**2 * z + eta**3 * z**2,
        shown=f(sp.Integer(3)),
    )
    weights: sp.Expr = sp.ZeroMatrix(_SIZE, 1)
    for _ in range(3):
        weights = weights + eta * _R * _R * (_r - _S * weights)
    powers = sp.Poly(polynomial, z).all_coeffs()[::-1]
    matrix = sp.MatAdd(*(c * sp.MatPow(_M, k).doit() for k, c in enumerate(powers)))
    step.identity(
        "and in matrices, from the steps in the metric themselves:",
        weights,
        _R * matrix * _R * _r,
        by=_expanded({_M: _R * _S * _R}),
        shown=sp.MatrixSymbol("beta_3", _SIZE, 1),
    )
    step.identity(
        "Many small steps, {T}, are a gradient flow,",
        sp.limit(gradient_filter(z, T / t, t), t, sp.oo),
        flow_filter(z, T),
        shown=sp.Limit(gradient_filter(z, T / t, t), t, sp.oo, "-"),
        T=_equal(T, eta * t),
    )
    step.identity(
        "{g} for short, which solves the equation of the flow.",
        sp.Derivative(g(T), T),
        1 - z * g(T),
        by=of_time,
        g=_equal(g(T), flow_filter(z, T)),
    )
    step.identity(
        "At late times it inverts,",
        sp.limit(flow_filter(z, T), T, sp.oo),
        1 / z,
        shown=sp.Limit(g(T), T, sp.oo, "-"),
    )
    step.identity(
        "so that with an invertible sample covariance, and all correlations nonzero, the preprocessing is "
        "forgotten: what is left is least squares. Sparsity helps on the way there.",
        _R * sp.Inverse(_R * _S * _R).doit() * _R * _r,
        sp.Inverse(_S) * _r,
        by=_expanded({}),
        shown=_R * sp.Inverse(_M) * _R * _r,
    )


def _head_bound(step: Derivation) -> None:
    """No fewer heads than coordinates write the features."""
    A, C, S = _matrix("A", 2, 2), _matrix("C", 2, 2), sp.Matrix(2, 2, sp.symbols("S_0 S_01 S_01 S_1"))
    a, c, r, q = _matrix("a", 2, 1), _matrix("c", 2, 1), _matrix("r", 2, 1), sp.Symbol("q", real=True)
    values = {
        sp.MatrixSymbol("P", 2, 3): A.row_join(a),
        sp.MatrixSymbol("G", 3, 3): S.row_join(r).col_join(r.T.row_join(sp.Matrix([q]))),
        sp.MatrixSymbol("W", 3, 2): C.col_join(c.T),
        sp.MatrixSymbol("A", 2, 2): A,
        sp.MatrixSymbol("C", 2, 2): C,
        sp.MatrixSymbol("S", 2, 2): S,
        sp.MatrixSymbol("a", 2, 1): a,
        sp.MatrixSymbol("c", 2, 1): c,
        sp.MatrixSymbol("r", 2, 1): r,
    }
    P, G, W, A_, C_, S_, a_, c_, r_ = values
    heads, p, k = sp.symbols("H p k", integer=True, positive=True)
    step.say(
        "Can fewer than {d} heads write the features of the query exactly, for all prompts? Let the "
        "embedding be any linear one, the heads any, and the pairs more than the coordinates, so that {S}, "
        "{r} and the mean square {q} of the labels fill an open set. What does not depend on the pairs must "
        "vanish by itself. A head adds to the features {product} times the query's covariates: {P} is its "
        "value after the embedding, in the rows of the features, and {W} its keys and queries, embedded on "
        "both sides.",
        d=d,
        S=S_,
        r=r_,
        q=q,
        product=P * G * W,
        P=P,
        W=W,
    )
    step.identity(
        "Let {a} be the last column of {P} and {A} the others, {row} the last row of {W} and {C} the others. "
        "For two coordinates:",
        P * G * W,
        A_ * S_ * C_ + A_ * r_ * c_.T + a_ * r_.T * C_ + q * a_ * c_.T,
        by=_entries(values),
        a=a_,
        P=P,
        A=A_,
        row=c_.T,
        W=W,
        C=C_,
    )
    first, last = sp.MatrixSymbol("a_h", _SIZE, heads), sp.MatrixSymbol("c_h", _SIZE, heads)
    step.say(
        "Summed over {H} heads that must be the diagonal matrix of {r}, for all {S}, {r} and {q}. The factor "
        "of {q} must vanish: with the {a} of all heads as the columns of one matrix and the {c} as those of "
        "another, {zero}. So the columns of the transposed second lie in the kernel of the first, and the "
        "ranks, {p} of the first and {k} of the second, add up to {H} at most.",
        H=heads,
        r=r_,
        S=S_,
        q=q,
        a=a_,
        c=c_,
        zero=_equal(first * last.T, sp.ZeroMatrix(_SIZE, _SIZE)),
        p=p,
        k=k,
    )
    normal = sp.MatrixSymbol("u", 2, 1)
    step.identity(
        "Now the factor of {r}. A vector {u} orthogonal to the {a} of all heads makes one of its two terms "
        "drop out, here for one {a}, two coordinates and {u_is},",
        normal.T * (A_ * r_ * c_.T + a_ * r_.T * C_),
        normal.T * A_ * r_ * c_.T,
        by=_entries(values | {normal: sp.Matrix([-a[1], a[0]])}),
        r=r_,
        u=normal,
        a=a_,
        u_is=_equal(normal, sp.Tuple(-a[1], a[0])),
    )
    r, u = _matrix("r", 3, 1), _matrix("u", 3, 1)
    U = sp.MatrixSymbol("U", 3, 3)
    step.identity(
        "and turns the diagonal matrix of {r} into a row with the entries {entry}. As a linear map of {r} it "
        "is a diagonal matrix {U} again, whose rank is the number of nonzero entries of {u}. For three "
        "coordinates:",
        (u.T * sp.diag(*r)).jacobian(r).det(),
        u[0] * u[1] * u[2],
        shown=sp.Determinant(U),
        r=r_,
        entry=sp.Symbol("u_j") * sp.Symbol("r_j"),
        U=U,
        u=normal,
    )
    g, c = _matrix("g", 3, 2), _matrix("c", 3, 2)
    terms = [sp.MatrixSymbol(f"c_{i}", 3, 1) * sp.MatrixSymbol(f"g_{i}", 3, 1).T for i in range(2)]
    step.identity(
        "The same map is the sum of {product} over the heads, of the rank {k} at most. For three "
        "coordinates, the determinant of two terms vanishes,",
        (c[:, 0] * g[:, 0].T + c[:, 1] * g[:, 1].T).det(),
        sp.Integer(0),
        shown=sp.Determinant(sp.MatAdd(*terms)),
        product=c_ * normal.T * A_,
        k=k,
    )
    step.identity(
        "and of one term that of any two rows and columns.",
        (c[:, 0] * g[:, 0].T)[:2, :2].det(),
        sp.Integer(0),
        shown=sp.Determinant(sp.MatrixSymbol("c", 2, 1) * sp.MatrixSymbol("g", 2, 1).T),
    )
    step.say(
        "The vectors orthogonal to all {a} make a space of {left} dimensions. It has a basis each of whose "
        "vectors is one at a coordinate where the others are zero, and the sum of the basis has at least "
        "{left} nonzero entries. So {bound}, and since the ranks add up to {H} at most, {result}. The {d} "
        "heads above are as few as there can be.",
        a=a_,
        left=d - p,
        bound=sp.Le(d - p, k, evaluate=False),
        H=heads,
        result=sp.Ge(heads, d, evaluate=False),
        d=d,
    )


def _given_the_labels(step: Derivation) -> None:
    """The law of a pair's covariates, given its label."""
    Sigma, w, x = _covariance_matrix(), _matrix("w", 2, 1), _matrix("x", 2, 1)
    variance, C = label_variance(Sigma, w, noise), conditional_covariance(Sigma, w, noise)
    sources, table = x.col_join(sp.Matrix([sp.Symbol("e", real=True)])), sp.diag(Sigma, noise)
    label = sp.Matrix([(w.T * x)[0] + sources[2]])
    rest = x - Sigma * w * label / variance
    P, Sigma_, C_ = (sp.MatrixSymbol(name, 2, 2) for name in ("P", "Sigma", "C"))
    p, w_, x_, z_ = (sp.MatrixSymbol(name, 2, 1) for name in ("p", "w", "x", "z"))
    y = sp.Symbol("y", real=True)
    known = {Sigma_: Sigma, w_: w, C_: C, tau: sp.sqrt(variance)}
    step.identity(
        "What are the features made of? Let the covariates be normal, those of one pair the vector {x} of "
        "covariance {Sigma}; again two of them stand for all, with the covariances {entries}. The variance "
        "{tau} of the label {y} is that of signal and noise together,",
        _covariance(label, label, sources, table)[0],
        variance,
        shown=tau**2,
        x=x_,
        Sigma=Sigma_,
        entries=sp.Tuple(Sigma[0, 0], Sigma[0, 1], Sigma[1, 1]),
        tau=tau**2,
        y=y,
    )
    step.identity(
        "its covariances with the covariates are",
        p,
        Sigma_ * w_,
        by=_entries(known | {p: _covariance(x, label, sources, table)}),
        shown=mean(y * x_),
    )
    step.identity(
        "and the rest of the covariates, {z}, has none with it.",
        p,
        sp.ZeroMatrix(2, 1),
        by=_entries(known | {p: _covariance(rest, label, sources, table)}),
        shown=mean(y * z_),
        z=_equal(z_, x_ - y * Sigma_ * w_ / tau**2),
    )
    step.identity(
        "So the rest is independent of the label. It is normal of the covariance {C},",
        P,
        Sigma_ - Sigma_ * w_ * w_.T * Sigma_ / tau**2,
        by=_entries(known | {P: _covariance(rest, rest, sources, table)}),
        shown=mean(z_ * z_.T),
        C=C_,
    )
    step.identity(
        "which is invertible with that of the covariates:",
        C.det(),
        noise / tau**2 * Sigma.det(),
        by=lambda gap: sp.cancel(sp.together(gap.subs(tau, sp.sqrt(variance)))),
        shown=sp.Determinant(C_),
    )
    t, J, single = sp.MatrixSymbol("t", 3, 1), sp.MatrixSymbol("J", 3, 3), sp.MatrixSymbol("y", 1, 1)
    joint = Sigma.row_join(Sigma * w).col_join((w.T * Sigma).row_join(sp.Matrix([variance])))
    written = {
        t: x.col_join(sp.Matrix([y])),
        single: sp.Matrix([y]),
        z_: x - Sigma * w * y / variance,
    }
    step.identity(
        "The density says the same. The exponent at covariates and label {t}, of the covariance {J}, is that "
        "of the label and that of the rest.",
        t.T * sp.Inverse(J) * t,
        single.T * single / tau**2 + z_.T * sp.Inverse(C_) * z_,
        by=_entries({sp.Inverse(J): _inverse(joint), sp.Inverse(C_): _inverse(C)} | known | written),
        t=t,
        J=J,
    )


def _law(step: Derivation) -> None:
    """The correlations and the sample covariance, given the labels."""
    Z, G = sp.MatrixSymbol("Z", _PAIRS, _SIZE), sp.MatrixSymbol("G", _PAIRS - 1, _SIZE)
    Sigma_, C_ = sp.MatrixSymbol("Sigma", _SIZE, _SIZE), sp.MatrixSymbol("C", _SIZE, _SIZE)
    w_, xi, power = (
        sp.MatrixSymbol("w", _SIZE, 1),
        sp.MatrixSymbol("xi", _SIZE, 1),
        sp.Symbol("Y", positive=True),
    )
    step.identity(
        "For all pairs together, {X}, with rows of {Z} that are independent of each other and of the labels, "
        "normal of covariance {C}. At any sizes the correlations are",
        _X.T * _Y / n,
        Sigma_ * w_ * _Y.T * _Y / (n * tau**2) + Z.T * _Y / n,
        by=_expanded({_X: _Y * (Sigma_ * w_).T / tau**2 + Z}),
        X=_equal(_X, _Y * (Sigma_ * w_).T / tau**2 + Z),
        Z=Z,
        C=C_,
    )
    Sigma, w = _covariance_matrix(), _matrix("w", 2, 1)
    C = sp.Matrix(2, 2, sp.symbols("C_0 C_01 C_01 C_1", real=True))
    rows, o, p = _matrix("z", 3, 2), _matrix("o", 3, 1), _matrix("p", 3, 1)
    flat = sp.Matrix(list(rows))
    P, small = sp.MatrixSymbol("P", 2, 2), sp.MatrixSymbol("C", 2, 2)
    o_, p_, Z_ = sp.MatrixSymbol("o", 3, 1), sp.MatrixSymbol("p", 3, 1), sp.MatrixSymbol("Z", 3, 2)
    table = sp.kronecker_product(sp.eye(3), C)
    overlap = sp.Symbol("c", real=True)
    step.identity(
        "The rests of two combinations of the pairs, with coefficients {o} and {p} whose scalar product is "
        "{c}, have this covariance. For three pairs and two coordinates:",
        P,
        overlap * small,
        by=_entries({P: _covariance(rows.T * o, rows.T * p, flat, table), overlap: o.dot(p), small: C}),
        shown=mean(Z_.T * o_ * (Z_.T * p_).T),
        o=o_,
        p=p_,
        c=overlap,
    )
    step.say(
        "Take both to be the labels, given these, and let {Y} be the sum of their squares: the correlations "
        "are {r}, where {xi} is normal of covariance {C} and independent of the labels. The "
        "labels are independent and normal, so that {share} is a chi-square variable of {n} degrees of "
        "freedom.",
        Y=power,
        r=_equal(_r, power * Sigma_ * w_ / (n * tau**2) + sp.sqrt(power) * xi / n),
        xi=xi,
        C=C_,
        share=power / tau**2,
        n=n,
    )
    step.say(
        "Now rotate the pairs by an orthogonal matrix whose first row is the direction of the labels. The "
        "other rows are orthogonal to the labels: what they make of the pairs, the rows of {G}, are "
        "combinations of the rests alone, and by the last formula they are {rows} independent normal vectors "
        "of covariance {C}, independent of {r} and of {Y}.",
        G=G,
        rows=n - 1,
        C=C_,
        r=_r,
        Y=power,
    )
    rho, first, second = sp.Symbol("rho", positive=True), *sp.symbols("t_1 t_2", real=True)
    mirror = sp.Matrix([1, first, second])  # a reflection in rational form: no roots to simplify
    turn = sp.eye(3) - 2 * mirror * mirror.T / mirror.dot(mirror)
    shift, labels = _matrix("m", 2, 1), rho * turn[0, :].T
    X = labels * shift.T + rows
    S, r, rest = sp.MatrixSymbol("S", 2, 2), sp.MatrixSymbol("r", 2, 1), sp.MatrixSymbol("G", 2, 2)
    step.identity(
        "A rotation does not change {XX}, and the first of its rows is {row}. So the sample covariance is a "
        "spike along {r} and a fresh Wishart matrix. For three pairs and two coordinates:",
        S,
        n / power * r * r.T + rest.T * rest / n,
        by=_entries(
            {
                S: X.T * X / 3,
                r: X.T * labels / 3,
                rest: turn[1:, :] * rows,
                power: rho**2,
                n: sp.Integer(3),
            }
        ),
        XX=_X.T * _X,
        row=n * _r.T / sp.sqrt(power),
        r=_r,
    )
    variance, covariance = label_variance(Sigma, w, noise), conditional_covariance(Sigma, w, noise)
    small_Sigma, small_w = sp.MatrixSymbol("Sigma", 2, 2), sp.MatrixSymbol("w", 2, 1)
    known = {small_Sigma: Sigma, small_w: w, small: covariance, tau: sp.sqrt(variance)}
    spike = power * small_Sigma * small_w * small_w.T * small_Sigma / (n * tau**4) + small / n
    step.identity(
        "On average, with {Y_is}, spike and remainder make up the covariance of the covariates.",
        spike + (n - 1) / n * small,
        small_Sigma,
        by=lambda gap: _entries(known)(gap.subs(power, n * tau**2)),
        Y_is=_equal(mean(power), n * tau**2),
    )
    g, e = _matrix("g", 2, 1), sp.Symbol("e", real=True)
    drawn = g - Sigma * w * ((w.T * g)[0] + e) / variance
    g_, e_, xi_ = sp.MatrixSymbol("g", 2, 1), sp.MatrixSymbol("e", 1, 1), sp.MatrixSymbol("xi", 2, 1)
    drawn_ = g_ - small_Sigma * small_w * (small_w.T * g_ + e_) / tau**2
    step.identity(
        "To draw {xi}, no root of {C} is needed: with {g} of covariance {Sigma} and {e} of variance {noise}, "
        "{drawn} will do.",
        P,
        small,
        by=_entries(
            known | {P: _covariance(drawn, drawn, g.col_join(sp.Matrix([e])), sp.diag(Sigma, noise))}
        ),
        shown=mean(xi_ * xi_.T),
        xi=xi_,
        C=small,
        g=g_,
        Sigma=small_Sigma,
        e=e_,
        noise=noise,
        drawn=_equal(xi_, drawn_),
    )
    b = sp.MatrixSymbol("b", _SIZE, 1)
    step.identity(
        "So given {r} and {Y} the matrix {M} of the steps is a spike along {b} beside a Wishart matrix with "
        "the covariance {RCR}, and the weights are a linear filter of it. At any sizes:",
        _M,
        n / power * b * b.T + (G * _R).T * (G * _R) / n,
        by=_expanded({_M: _R * (n / power * _r * _r.T + G.T * G / n) * _R, b: _R * _r}),
        r=_r,
        Y=power,
        M=_equal(_M, _R * _S * _R),
        b=_equal(b, _R * _r),
        RCR=_R * C_ * _R,
    )
    step.say(
        "With uncorrelated covariates of unit variance the metric is near {signal} on the support, and off "
        "it near {chance}, so that the steps hardly move there. How small that makes the risk is not derived "
        "here; the exact law lets the risk be sampled, and be approximated for large matrices.",
        signal=sp.Symbol("w_j") ** 2,
        chance=tau**2 / n,
    )


def _spectral(step: Derivation) -> None:
    """Every method that filters the spectrum of the sample covariance loses to ridge regression."""
    entries, errors = _matrix("x", 3, 1), _matrix("e", 3, 1)
    part, error = sp.symbols("w_l e_l", real=True)
    whole = sp.MatrixSymbol("h(S)", _SIZE, _SIZE)
    step.identity(
        "Now without preprocessing, for uncorrelated covariates of unit variance. A spectral filter {h} of "
        "the sample covariance takes the correlations to the weights {estimate}: gradient descent and its "
        "flow from zero, ridge regression, least squares. Along a unit eigenvector, at the eigenvalue {l}, "
        "the correlations are {component}. Given the covariates the noise {e_l} in them, from covariates "
        "{x} along it with {power}, is of the variance below, here for three pairs.",
        _mean((entries.dot(errors) / 3) ** 2, dict.fromkeys(errors, noise)),
        noise * ell / n,
        by=lambda gap: sp.expand(gap.subs({n: 3, ell: entries.dot(entries) / 3})),
        shown=mean(error**2),
        h=whole,
        estimate=_equal(_beta, whole * _r),
        l=ell,
        component=ell * part + error,
        e_l=error,
        x=sp.Symbol("x_k"),
        power=_equal(sp.Sum(sp.IndexedBase("x")[_k] ** 2, (_k, 0, n - 1)), n * ell),
    )
    moments = {part: v / d, error: noise * ell / n}
    risk = step.identity(
        "The eigenvectors are uniform and independent of the eigenvalues. So the component {w_l} of the "
        "weights, whatever these are, is of the mean square {share}. To the risk, the mean squared error of "
        "the prediction beyond the noise, the eigenvalue adds",
        _mean((part - h * (ell * part + error)) ** 2, moments),
        filter_risk(h, ell, d, n, v, noise),
        shown=mean((part - h * (ell * part + error)) ** 2),
        w_l=part,
        share=v / d,
    )
    best, penalty = 1 / (ell + lam), ridge_penalty(d, n, v, noise)
    step.minimum(
        "The best filter at every eigenvalue is that of ridge regression with the penalty {lam},",
        risk,
        h,
        best.subs(lam, penalty),
        lam=_equal(lam, penalty),
    )
    step.identity(
        "and leaves",
        risk.subs(h, best.subs(lam, penalty)),
        ridge_filter_risk(ell, d, n, v, noise),
        shown=sp.Subs(filter_risk(h, ell, d, n, v, noise), h, best),
    )
    step.sign(
        "What any filter leaves, {risk}, is no less:",
        risk - ridge_filter_risk(ell, d, n, v, noise),
        ">=",
        form=v / d * ell * (ell + penalty) * (h - 1 / (ell + penalty)) ** 2,
        shown=sp.Symbol("risk_l") - noise / n / (ell + lam),
        risk=sp.Symbol("risk_l"),
    )
    t = sp.Symbol("t", integer=True, positive=True)
    shrink = sp.Symbol("epsilon", real=True)
    step.identity(
        "Gradient descent of any step size and length leaves more by how far what it leaves of a component, "
        "{kept}, is from what ridge regression leaves of it.",
        risk.subs(h, gradient_filter(ell, eta, t)) - ridge_filter_risk(ell, d, n, v, noise),
        v * (ell + lam) / (d * ell) * (shrink - lam / (ell + lam)) ** 2,
        by=lambda gap: sp.simplify(gap.subs({lam: penalty, shrink: (1 - eta * ell) ** t})),
        shown=sp.Symbol("risk_l") - noise / n / (ell + lam),
        kept=_equal(shrink, (1 - eta * ell) ** t),
    )
    step.say(
        "So ridge regression under that penalty has the least risk of all of them, for every {n} and {d}, "
        "whatever the weights of that length. The filter may even depend on the spectrum, but not on the "
        "labels.",
        n=n,
        d=d,
    )
    step.sign(
        "How small is it? The term of an eigenvalue is convex, above its tangent at one,",
        1 / (ell + lam) - 1 / (1 + lam) + (ell - 1) / (1 + lam) ** 2,
        ">=",
        form=(ell - 1) ** 2 / ((ell + lam) * (1 + lam) ** 2),
    )
    step.identity(
        "and one is the mean of the eigenvalues over all prompts. So the risk of {d} eigenvalues is at least",
        d * ridge_filter_risk(sp.Integer(1), d, n, v, noise),
        spectral_lower_bound(d, n, v, noise),
        shown=d * noise / n / (1 + lam),
        d=d,
    )
    step.identity(
        "With more coordinates than pairs {missing} eigenvalues are zero. Each leaves its part of the power,",
        ridge_filter_risk(sp.Integer(0), d, n, v, noise),
        v / d,
        shown=noise / n / lam,
        missing=d - n,
    )
    step.say("together {lost}.", lost=v * (1 - n / d))


def _marchenko_pastur(step: Derivation) -> None:
    """The sum over the eigenvalues for large dimensions."""
    g, m = sp.symbols("g m", positive=True)
    root = (sp.sqrt((1 - g + lam) ** 2 + 4 * g * lam) - (1 - g + lam)) / (2 * g * lam)
    step.identity(
        "For many pairs and coordinates, {g}, the mean {m} of {term} over the eigenvalues solves the "
        "equation of Marchenko and Pastur (1967), of which the Bayes risk has a derivation,",
        1 - g + lam + g * lam * m,
        1 / m,
        by=lambda gap: sp.radsimp(gap.subs(m, root)),
        g=_equal(g, d / n),
        m=m,
        term=1 / (ell + lam),
    )
    step.define("with the positive root of a quadratic equation:", m, root)
    penalty = ridge_penalty(d, n, v, noise)
    step.identity(
        "In that limit the risk of ridge regression is",
        d * noise / n * m,
        marchenko_pastur_ridge(d, n, v, noise),
        by=lambda gap: sp.simplify(gap.subs(m, root).subs({lam: penalty, g: d / n})),
    )
    step.identity(
        "the solution of the Bayes risk's own equation, as it must be: for independent normal weights of the "
        "variance {share} ridge regression is the posterior mean, and no method is better on average, "
        "preprocessed or not. All that there is to gain is in the sparsity.",
        marchenko_pastur_ridge(d, n, v, noise),
        bayes.isotropic_risk(v, d, n, noise),
        shown=d * noise / n * m,
        share=v / d,
    )


def _one_step(step: Derivation) -> None:
    """The risk of a gradient step from zero."""
    w, x, u, r = sp.symbols("w_j x u r_j", real=True)
    c, best = sp.Symbol("c", real=True), sp.Symbol("a", positive=True)
    moments = {x: sp.Integer(1), u: tau**2 - w**2}
    first = step.identity(
        "One gradient step from zero, of size {c}, has the weights {weights}. Let {x} be coordinate {j} of "
        "a pair and {u} the rest of its label, independent of it, of the variance {rest}. On average a pair "
        "reads off the weight,",
        _mean((w * x + u) * x, moments),
        w,
        shown=mean((w * x + u) * x),
        c=c,
        weights=_equal(_beta, c * _r),
        x=x,
        j=_j,
        u=u,
        rest=tau**2 - w**2,
    )
    square = step.identity(
        "with this mean square, Isserlis' theorem.",
        _mean((w * x + u) ** 2 * x**2, moments),
        tau**2 + 2 * w**2,
        shown=mean((w * x + u) ** 2 * x**2),
    )
    squared = step.identity(
        "The square of {r} has {n} terms of one pair and {others} of two,",
        (n * square + n * (n - 1) * first**2) / n**2,
        w**2 + (tau**2 + w**2) / n,
        shown=mean(r**2),
        r=r,
        n=n,
        others=n * (n - 1),
    )
    total = step.identity(
        "and with {tau} the coordinates together make, whatever the weights of the length {v} are,",
        sp.expand(d * squared).subs(w**2, v / d),
        v * (1 + (d + 1) / n + noise * d / (n * v)),
        by=lambda gap: gap.subs(tau, sp.sqrt(v + noise)),
        shown=mean(sp.Symbol("|r|") ** 2),
        tau=_equal(tau**2, v + noise),
        v=sp.sqrt(v),
    )
    X, errors, weights = _matrix("x", 2, 2), _matrix("e", 2, 1), _matrix("w", 2, 1)
    correlations = X.T * (X * weights + errors) / 2
    step.identity(
        "Two pairs and two coordinates confirm it, all moments taken one by one.",
        _mean(correlations.dot(correlations), dict.fromkeys(X, sp.Integer(1)) | dict.fromkeys(errors, noise)),
        total.subs({d: 2, n: 2}).subs(v, weights.dot(weights)),
        shown=mean(sp.Symbol("|r|") ** 2),
    )
    step.minimum(
        "The risk is the mean squared distance from the weights, and the best size is the inverse of {a}:",
        c**2 * total - 2 * c * v + v,
        c,
        one_step_size(d, n, v, noise),
        a=_equal(best, 1 + (d + 1) / n + noise * d / (n * v)),
    )
    step.identity(
        "That leaves the share {a} of the signal unexplained,",
        (c**2 * total - 2 * c * v + v).subs(c, one_step_size(d, n, v, noise)),
        one_step_risk(d, n, v, noise),
        shown=v * (1 - 1 / best),
        a=1 - 1 / best,
    )
    step.identity(
        "It is the step of linear attention (see the optimal gradient step) with {n} in place of {L}.",
        one_step_size(d, n, v, noise),
        gradient_step.step(d, 1 + noise / v).subs(L, n),
        shown=1 / best,
        n=n,
        L=L,
    )
    one, two = {x: sp.Integer(1)}, {x: sp.Integer(1), u: sp.Integer(1)}
    diagonal = (n * _mean(x**4, one) + n * (n - 1) * _mean(x**2, one) ** 2) / n**2
    second = step.identity(
        "Spectrally a step is the constant filter {c}. The squared eigenvalues have the mean below, from {d} "
        "entries of the sample covariance on its diagonal and {others} beside it,",
        (d * diagonal + d * (d - 1) * n * _mean(x**2 * u**2, two) / n**2) / d,
        1 + (d + 1) / n,
        shown=mean(ell**2),
        c=c,
        d=d,
        others=d * (d - 1),
    )
    powers = sp.Poly(filter_risk(c, ell, d, n, v, noise), ell).all_coeffs()[::-1]
    step.identity(
        "and the sum over the eigenvalues is the same risk: more than that of ridge regression.",
        d * (powers[0] + powers[1] + powers[2] * second),
        c**2 * total - 2 * c * v + v,
        shown=d * mean(filter_risk(c, ell, d, n, v, noise)),
    )


def _least_squares(step: Derivation) -> None:
    """Least squares with all coordinates, with the support, and with more coordinates than pairs."""
    q, free = sp.Symbol("q", positive=True), sp.Symbol("k", positive=True)
    density = q ** (free / 2) * sp.exp(-q / 2) / (2 ** (free / 2 + 1) * sp.gamma(free / 2 + 1))
    inverse = step.identity(
        "A chi-square variable {q} of {degrees} degrees of freedom, {k} positive, has the inverse mean",
        sp.gammasimp(sp.integrate(density / q, (q, 0, sp.oo))),
        1 / free,
        shown=sp.Integral(density / q, (q, 0, sp.oo)),
        how="the integral is a Gamma function",
        q=q,
        degrees=free + 2,
        k=free,
    )
    wrong = sp.Inverse(_X.T * _X) * _X.T * sp.MatrixSymbol("e", _PAIRS, 1)
    step.identity(
        "Least squares is wrong by {wrong}. For one coordinate the risk is therefore, with {n} degrees of "
        "freedom,",
        noise * inverse.subs(free, n - 2),
        ols_risk(sp.Integer(1), n, noise),
        shown=noise * mean(1 / q),
        wrong=wrong,
        n=n,
    )
    gram = sp.MatrixSymbol("g", 2, 2).as_explicit()
    step.identity(
        "In general it is {noise} times the mean of the trace of {inverse}. A diagonal entry of that is the "
        "inverse square of what is left of a column of {X} beside all others: for two coordinates, in terms "
        "of the scalar products of the columns,",
        gram.inv()[0, 0],
        1 / (gram[0, 0] - gram[0, 1] * gram[1, 0] / gram[1, 1]),
        noise=noise,
        inverse=sp.Inverse(_X.T * _X),
        X=_X,
    )
    step.identity(
        "The column is normal and independent of the {others} others; rotate them into the first {others} "
        "axes, and there remain {rest} independent entries of it. With {k} that makes",
        d * noise * inverse.subs(free, n - d - 1),
        ols_risk(d, n, noise),
        shown=d * noise * mean(1 / q),
        others=d - 1,
        rest=n - d + 1,
        k=_equal(free, n - d - 1),
    )
    step.identity(
        "An oracle that knows the support fits its {s} coordinates alone, at the risk {oracle}. For long "
        "prompts that is this share of what least squares costs, and the aim of the preprocessing.",
        sp.limit(oracle_risk(s, n, noise) / ols_risk(d, n, noise), n, sp.oo),
        s / d,
        shown=sp.Limit(oracle_risk(s, n, noise) / ols_risk(d, n, noise), n, sp.oo, "-"),
        s=s,
        oracle=oracle_risk(s, n, noise),
    )
    B = sp.MatrixSymbol("B", _SIZE, _PAIRS)
    plus = _X.T * sp.Inverse(_X * _X.T)
    step.identity(
        "With more coordinates than pairs the interpolator of least norm multiplies the labels by {B}. The "
        "noise that it takes up is the trace of a matrix as above with {n} and {d} in each other's places,",
        B.T * B,
        sp.Inverse(_X * _X.T),
        by=_expanded({B: plus}),
        B=_equal(B, plus),
        n=n,
        d=d,
    )
    step.identity(
        "and it finds the weights' projection on the {n} directions that the pairs span, which leaves the "
        "share {missing} of the signal. Together",
        v * (d - n) / d + n * noise * inverse.subs(free, d - n - 1),
        min_norm_risk(d, n, v, noise),
        shown=v * (d - n) / d + n * noise * mean(1 / q),
        n=n,
        missing=1 - n / d,
    )


def _matrix(name: str, rows: int, columns: int) -> sp.Matrix:
    """A matrix of real symbols; of a column the entries have one index."""
    return sp.Matrix(
        rows,
        columns,
        lambda i, j: sp.Symbol(f"{name}_{i}" if columns == 1 else f"{name}_{i}_{j}", real=True),
    )


def _unit(row: int, column: int, rows: int) -> sp.Matrix:
    """A square matrix of one 1."""
    return sp.Matrix(rows, rows, lambda i, j: int((i, j) == (row, column)))


def _covariance_matrix() -> sp.Matrix:
    """A covariance of two covariates."""
    return sp.Matrix(2, 2, sp.symbols("Sigma_0 Sigma_01 Sigma_01 Sigma_1", real=True))


def _tokens(x: sp.IndexedBase, feature: sp.IndexedBase | None, y: sp.IndexedBase) -> sp.Matrix:
    """Two pairs and a query of two coordinates: rows of covariates, features (zero if none) and labels."""
    given = sp.Matrix(2, 3, lambda j, i: x[i, j])
    written = sp.zeros(2, 3) if feature is None else sp.Matrix(2, 3, lambda j, i: feature[i, j])
    return given.col_join(written).col_join(sp.Matrix([[y[i] for i in range(3)]]))


def _equal(left: sp.Basic, right: sp.Basic) -> sp.Eq:
    """An equation for print between matrices, which sympy would call false for lack of a proof."""
    return sp.Eq(left, right, evaluate=False)


def _inverse(matrix: sp.Matrix) -> sp.Matrix:
    """The inverse by Cramer's rule."""
    return (matrix.adjugate() / sp.cancel(matrix.det())).applyfunc(sp.cancel)


def _covariance(left: sp.Matrix, right: sp.Matrix, sources: sp.Matrix, table: sp.Matrix) -> sp.Matrix:
    """Covariance of two vectors that are linear in ``sources``, of covariance ``table``."""
    return left.jacobian(sources) * table * right.jacobian(sources).T


def _mean(expression: sp.Expr, variances: dict[sp.Symbol, sp.Expr]) -> sp.Expr:
    """Mean of a polynomial in independent normal variables of mean zero."""
    terms = sp.Poly(sp.expand(expression), *variances).terms()
    total = sp.Integer(0)
    for powers, factor in terms:
        if not any(power % 2 for power in powers):
            moments = zip(variances.values(), powers, strict=True)
            total += factor * sp.prod(var ** (p // 2) * sp.factorial2(p - 1) for var, p in moments)
    return total


def _expanded(values: dict[sp.Basic, sp.Basic]) -> Callable[[sp.Expr], sp.Expr]:
    """Expand a relation between matrices of any sizes, R diagonal, after inserting their values."""
    diagonal = {_R: sp.DiagMatrix(sp.MatrixSymbol("rho", _SIZE, 1))}

    def rest(gap: sp.Expr) -> sp.Expr:
        gap = gap.subs(values).doit().subs(diagonal).doit().expand()
        gap = gap.replace(_is_power, _written_out).doit()
        return sp.Integer(0) if gap.is_ZeroMatrix else gap

    return rest


def _is_power(expression: sp.Basic) -> bool:
    """Whether it is a power of a product of matrices, which sympy does not expand by itself."""
    return isinstance(expression, sp.MatPow) and expression.base.is_MatMul and expression.exp.is_positive


def _written_out(power: sp.MatPow) -> sp.MatMul:
    """The same as one product."""
    return sp.MatMul(*power.base.args * int(power.exp))


def _entries(values: dict[sp.Basic, sp.Basic]) -> Callable[[sp.Expr], sp.Expr]:
    """Insert small matrices for named ones: zero if all entries cancel, else one that does not."""
    matrices = {
        name: sp.ImmutableMatrix(m) if isinstance(m, sp.MatrixBase) else m for name, m in values.items()
    }

    def rest(gap: sp.Expr) -> sp.Expr:
        entries = gap.subs(matrices).doit().as_explicit()
        left = (sp.cancel(sp.together(entry)) for entry in entries)
        return next((entry for entry in left if entry != 0), sp.Integer(0))

    return rest


def _everywhere(values: dict[sp.Basic, sp.Expr]) -> Callable[[sp.Expr], sp.Expr]:
    """Check a relation at all tokens and coordinates of two pairs of two coordinates, with these values."""

    def rest(gap: sp.Expr) -> sp.Expr:
        for i in range(3):
            for j in range(2):
                found = gap.subs({n: 2, d: 2}).subs({_i: i, _j: j}).doit().subs(values)
                if sp.expand(found) != 0:
                    return sp.expand(found)
        return sp.Integer(0)

    return rest
