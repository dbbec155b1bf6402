"""The risk of preprocess-then-optimize given what it read off the prompt: a deterministic equivalent.

Given r and |y|^2 the design is a known spike and an independent Wishart matrix (`given_labels`), so that
preprocess-then-optimize is a linear filter of a random matrix with a known profile. Resolvents of that
matrix concentrate; the risk, quadratic in the filter, is a double contour integral over the equivalent of a
product of two. It is within 3 % of the mean over Wishart matrices at every time for d from 16 to 1600 and n
from 30 to 1000; averaged over r it is the risk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, array, dimensions, floats, integer, number
from spectral_icl.io.renamed import renamed
from spectral_icl.kernels.threads import one_thread
from spectral_icl.sparse.covariance import applied, covariance, covariance_root
from spectral_icl.sparse.filters import STABLE, Filters, Flow, Steps
from spectral_icl.sparse.problem import check_length
from spectral_icl.sparse.risk.contour import Complex, contours
from spectral_icl.sparse.risk.given_labels import transformed
from spectral_icl.sparse.rng import Random, generator

_DAMPED, _NEWTON, _TOLERANCE = 6, 60, 1e-12
_GAUSS = 24  # nodes that stand for the features without weight
_RANK = 1e-13  # of the largest, below which nothing is left of a Krylov vector
_ROOM = 1.3  # of a contour around the spectrum
_CHUNK = 2**14  # entries of arrays over draws and features,
_PAIRS = 2**19  # and over draws, nodes and either nodes or features
GROUPS = 8  # of draws, whose means tell the error


class Risk(NamedTuple):
    """Mean risk and its standard error, (J,) each, with an entry for every filter."""

    mean: Floats
    se: Floats


class _Profile(NamedTuple):
    """The problem of m draws in the eigenbasis of Gam = D C D, D = diag(r).

    Features without weight that differ in r alone enter through sums over functions of r^2: many of them are
    replaced by the few nodes of a Gauss quadrature for these sums, so that d stands for p + 24 at most where
    p have weight.

    Attributes
    ----------
    mass : ndarray, (m, d)
        How many features each stands for.
    gam : ndarray, (m, d)
        Eigenvalues of Gam.
    b, c : ndarray, (m, d)
        r * r and D Sigma w.
    kap : ndarray, (m,)
        n/|y|^2, the strength of the spike.
    null : ndarray, (m,)
        w' Sigma w, the risk of predicting 0.
    tau2 : ndarray, (m,)
        The mean of |y|^2/n.
    """

    mass: Floats
    gam: Floats
    b: Floats
    c: Floats
    kap: Floats
    null: Floats
    tau2: Floats

    @property
    def diagonal(self) -> Floats:
        """The diagonal of B = D Sigma D, which is Gam and a matrix of rank one, c c'/tau^2: (m, d)."""
        return self.gam + self.c**2 / self.tau2[:, None]

    def times_B(self, x: Complex) -> Complex:
        """B x along the last axis of x (m, K, d)."""
        along = (x @ self.c[..., None]) / self.tau2[:, None, None]
        return x * self.gam[:, None] + along * self.c[:, None]


@renamed(s2="noise")
def p2o_risk_given(
    r: ArrayLike,
    y2: ArrayLike,
    w: ArrayLike,
    Sigma: ArrayLike | None,
    noise: float,
    n: int,
    filters: Filters | ArrayLike | tuple[float, ArrayLike],
    refined: int = 1,
) -> Floats:
    """Excess risk of preprocess-then-optimize given r and |y|^2, by its deterministic equivalent.

    Parameters
    ----------
    r : array_like, (d,) or (m, d)
        X'y/n of a prompt, or of m prompts.
    y2 : float or array_like (m,)
        |y|^2.
    w : array_like, (d,) or (m, d)
    Sigma : array_like, (d,) or (d, d), optional
        Covariance of the features, or its diagonal; the identity by default. Dense ones cost more.
    noise : float
        Variance of the label noise.
    n : int
        Context pairs.
    filters : Flow, Steps, array_like (J,) or (float, array_like)
        Times T of the flow, or (eta, t): a step and numbers of steps.
    refined : int
        How many times more nodes to take on contours than the 1e-6 or so of the risk needs.

    Returns
    -------
    ndarray, (J,) or (m, J)
        NaN if a fixed step is past stability. For d >= 16, n >= 20 and noise of at least a hundredth of the
        signal within 3 % on average over r, for single r within 5 to 14 % at the smallest of these, for flows
        and for steps below 1.2 over the largest eigenvalue; beyond, rare Wishart matrices carry the mean, and
        the equivalent is too low.

    Raises
    ------
    ProblemError
        An argument is malformed, or the equivalent's equations were not solved to 1e-12.
    """
    n, noise = check_length(n), number("noise", noise, minimum=0.0)
    one = dimensions(r) == 1
    read = np.atleast_2d(array("r", r, (None,) if one else (None, None)))
    m, d = read.shape
    if read.size == 0:
        raise ProblemError("r", f"shape {read.shape}", "at least one feature")
    squares = array("y2", np.atleast_1d(floats("y2", y2)), (m,))
    if not (squares > 0.0).all():
        raise ProblemError("y2", y2, "numbers > 0")
    weights = array("w", w, (d,) if dimensions(w) == 1 else (m, d))
    weights = np.broadcast_to(weights, (m, d))
    matrix = covariance(Sigma, d)
    covariance_root(Sigma, d)  # which has to be there
    wanted = as_filters(filters)
    refined = integer("refined", refined, minimum=1, maximum=100)
    found = np.empty((m, wanted(np.ones(1)).shape[-2]))
    size = max(1, _CHUNK // d)
    with one_thread():
        for start in range(0, m, size):
            part = slice(start, start + size)
            profile = _profile(read[part], squares[part], weights[part], matrix, noise, n)
            found[part] = _risk(profile, n, wanted, refined)
    return found[0] if one else found


@renamed(s2="noise")
def p2o_risk(
    w: ArrayLike,
    Sigma: ArrayLike | None,
    noise: float,
    n: int,
    filters: Filters | ArrayLike | tuple[float, ArrayLike],
    draws: int = 256,
    rng: Random = None,
) -> Risk:
    """Excess risk of preprocess-then-optimize: its equivalent given r, averaged over r.

    The risk is nearly a sum of functions of single entries of r, so that r is drawn as a Latin hypercube: in
    strata, entry by entry. That saves several times as many independent draws, most of them early and late in
    the flow. The mean risk of a fixed step is carried by rare prompts for which it is past stability; with
    one of these among the draws it is NaN.

    Parameters
    ----------
    w : array_like, (d,) or (draws, d)
        The weights, or weights to go with every draw.
    Sigma, noise, n, filters
        See `p2o_risk_given`.
    draws : int
        At least 16.
    rng : Generator or int, optional

    Returns
    -------
    Risk
        Mean and standard error (J,), the latter from eight independent hypercubes. It does not include what
        the equivalent itself is off, up to 3 %.
    """
    count = integer("draws", draws, minimum=2 * GROUPS, maximum=10**7)
    weights = array("w", w, (None,) if dimensions(w) == 1 else (count, None))
    d = weights.shape[-1]
    draw = generator(rng)
    parts = np.array_split(np.arange(count), GROUPS)
    risks = []
    for part in parts:  # one by one: they are large
        own = weights if weights.ndim == 1 else weights[part]
        read = transformed(_hypercube(part.size, d + 2, draw), own, Sigma, noise, n)
        risks.append(p2o_risk_given(*read, own, Sigma, noise, n, filters))
    means = np.array([risk.mean(axis=0) for risk in risks])
    return Risk(np.concatenate(risks).mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(GROUPS))


def _hypercube(count: int, size: int, rng: np.random.Generator) -> Floats:
    """A Latin hypercube of ``count`` points whose first coordinates do not depend on how many there are.

    So problems that differ in d see the same first features, and their risks differ by little noise.
    """
    order, within = rng.spawn(2)
    strata = order.permuted(np.tile(np.arange(count), (size, 1)), axis=1)
    points: Floats = (strata + within.random((size, count))).T / count
    return points


def as_filters(filters: Filters | ArrayLike | tuple[float, ArrayLike]) -> Filters:
    """Filters of times of the flow, or of (eta, t), a step and numbers of steps."""
    if isinstance(filters, (Flow, Steps)):
        return filters
    if isinstance(filters, tuple) and len(filters) == 2:
        eta, t = filters
        if dimensions(t) != 1:
            raise ProblemError("filters", filters, "a list of times, or (eta, [t, ...])")
        return Steps(eta, t)
    return Flow(filters)


def _profile(r: Floats, y2: Floats, w: Floats, Sigma: Floats | None, noise: float, n: int) -> _Profile:
    """Profile of m draws; features with weight come first if Sigma is diagonal, many others are merged."""
    m, d = r.shape
    dense = Sigma is not None and Sigma.ndim == 2
    p = d if dense else max(1, int((w != 0.0).sum(axis=1).max()))
    shown = applied(Sigma, w)  # Sigma w
    null = (w * shown).sum(axis=1)
    tau2 = null + noise
    if dense:
        assert Sigma is not None
        variance = np.zeros((m, 0))
        inner = np.broadcast_to(Sigma, (m, d, d))
    else:
        order = np.argsort(w == 0.0, axis=1, kind="stable")
        variance = np.broadcast_to(np.ones(d) if Sigma is None else Sigma, (m, d))
        r, shown, variance = (np.take_along_axis(x, order, axis=1) for x in (r, shown, variance))
        inner = variance[:, :p, None] * np.eye(p)
    B = r[:, :p, None] * inner * r[:, None, :p]
    seen = r * shown  # D Sigma w
    Gam = B - seen[:, :p, None] * seen[:, None, :p] / tau2[:, None, None]
    values, vectors = np.linalg.eigh(Gam)
    turned = np.swapaxes(vectors, -1, -2)

    def turn(x: Floats) -> Floats:
        return np.concatenate([(turned @ x[:, :p, None])[..., 0], x[:, p:]], axis=1)

    tail, mass = r[:, p:] ** 2 * variance[:, p:], np.ones((m, d))
    b, c = turn(r**2), turn(seen)
    if d - p > _GAUSS and np.ptp(variance[:, p:]) == 0.0:
        tail, masses = _gauss(tail)
        mass = np.concatenate([mass[:, :p], masses], axis=1)
        b = np.concatenate([b[:, :p], tail / variance[0, p]], axis=1)
        c = np.pad(c[:, :p], ((0, 0), (0, _GAUSS)))
    return _Profile(
        mass=mass,
        gam=np.concatenate([np.maximum(values, 0.0), tail], axis=1),
        b=b,
        c=c,
        kap=n / y2,
        null=null,
        tau2=tau2,
    )


def _gauss(x: Floats) -> tuple[Floats, Floats]:
    """Nodes and masses (m, 24) with which sums over functions of x (m, N) agree up to degree 47: Lanczos."""
    m, count = x.shape
    basis = np.zeros((m, _GAUSS, count))
    basis[:, 0] = 1.0 / np.sqrt(count)
    diagonal, beside = np.zeros((m, _GAUSS)), np.zeros((m, _GAUSS - 1))
    for k in range(_GAUSS):
        new = x * basis[:, k]
        diagonal[:, k] = (new * basis[:, k]).sum(axis=1)
        for _ in range(2):  # once is not orthogonal to rounding
            new -= ((basis[:, : k + 1] @ new[..., None])[..., 0][:, None] @ basis[:, : k + 1])[:, 0]
        if k + 1 < _GAUSS:
            size = np.sqrt((new**2).sum(axis=1))
            # with fewer different x than nodes the rest of these gets no mass
            kept = size > _RANK * x.max(axis=1)
            beside[:, k] = np.where(kept, size, 0.0)
            basis[:, k + 1] = np.where(kept, 1.0 / np.where(kept, size, 1.0), 0.0)[:, None] * new
    places = np.arange(_GAUSS)
    matrix = np.zeros((m, _GAUSS, _GAUSS))
    matrix[:, places, places] = diagonal
    matrix[:, places[1:], places[:-1]] = beside
    nodes, vectors = np.linalg.eigh(matrix)  # reads the lower triangle
    return np.maximum(nodes, 0.0), count * vectors[:, 0] ** 2


def _risk(at: _Profile, n: int, filters: Filters, refined: int) -> Floats:
    """Risks (m, J) of the filters."""
    trace, most = (at.mass * at.gam).sum(axis=1), at.gam.max(axis=1)
    spike = at.kap * (at.mass * at.b**2).sum(axis=1)
    edge = (np.sqrt(most) + np.sqrt(trace / n)) ** 2 + spike  # no eigenvalue is above, or hardly
    top = _ROOM * edge.max()
    found = np.repeat(at.null[:, None], filters(np.ones(1)).shape[-2], axis=1)
    for which, z, values in contours(filters, float(top), refined):
        both = np.concatenate([values, values.conj()], axis=-1)
        size = max(1, _PAIRS // (z.size * max(2 * z.size, at.gam.shape[1])))
        for start in range(0, len(found), size):
            part = slice(start, start + size)
            first, second = _resolvents(_Profile(*(entry[part] for entry in at)), n, z)
            linear = (first @ values.T).real
            quadratic = ((values @ second) * both).sum(axis=-1).real  # (m, J)
            found[part, which] += 2.0 * (2.0 * linear + quadratic)
    if isinstance(filters, Steps):
        found[filters.eta * edge >= STABLE] = np.nan
    positive: Floats = np.maximum(found, 0.0)  # rounding of the signal may leave less than nothing
    return positive


def _resolvents(at: _Profile, n: int, z: Complex) -> tuple[Complex, Complex]:
    """c'U(z) for half a contour (m, K), and the pair function N(z, z') of half and whole (m, K, 2K).

    Q = (k Gam/(1 + dl) - z)^-1 is the equivalent of the Wishart part's resolvent, U = Q b/(1 + kap b'Qb) and
    QM = Q - kap U (Qb)' what the spike makes of it.
    """
    k = (n - 1) / n
    gam, kap = at.gam[:, None], at.kap[:, None]
    dl = _traces(at.gam, at.mass, n, z)
    q = 1.0 / (k * gam / (1.0 + dl)[..., None] - z[:, None])  # the diagonal of Q, (m, K, d)
    qb = q * at.b[:, None]
    U = qb / (1.0 + kap * (qb @ (at.mass * at.b)[..., None])[..., 0])[..., None]
    first = (U @ at.c[..., None])[..., 0]

    def whole(x: Complex) -> Complex:
        """For sums over features, with their masses."""
        return _whole(at.mass[:, None] * x)

    kappa = at.kap[:, None, None]
    BU = at.times_B(U)
    gU = gam * U
    # scalars of a pair of nodes: those of U, of Qb and of Q at one node against the other
    ubu = U @ whole(BU)
    ugu = U @ whole(gU)
    pgu = qb @ whole(gU)  # G[z, z'] = (Qb)' Gam U'
    ugp = gU @ whole(qb)  # G[z', z]
    pbu = qb @ whole(BU)
    ratio = k / ((1.0 + dl)[..., None] * (1.0 + np.concatenate([dl, dl.conj()], axis=1))[:, None])
    loop = ratio / n * ((q * gam**2) @ whole(q))

    plain = (q * gam * at.diagonal[:, None]) @ whole(q)
    p_side = q @ whole(qb * gam * BU)  # (Qb)'(z') Gam Q B U(z')
    q_side = (at.times_B(qb) * gU) @ whole(q)  # (Qb)' B Q(z') Gam U
    trace = plain - kappa * (p_side + q_side) + kappa**2 * pbu * ugp

    c = at.c[:, None]
    crossed = ((q * c) @ _whole(gU)) * ((gU * c) @ _whole(q))  # what c c' adds to the next
    straight = (q * gU * gam) @ whole(q * gU) + crossed / at.tau2[:, None, None]  # (Q Gam U')' B Q' Gam U
    mixed = q @ whole(gU * BU)  # (Gam U')' Q B U'
    turned = (BU * gU) @ whole(q)  # U' B Q(z') Gam U
    bracket = straight - kappa * (ugp * mixed + pgu * turned) + kappa**2 * pgu * ugp * ubu
    second = ubu + (ratio / n) * (trace * ugu + bracket) / (1.0 - loop)
    return first, second


def _whole(x: Complex) -> Complex:
    """Values (m, d, 2K) at all nodes of a contour, transposed, of those (m, K, d) at one half."""
    return np.swapaxes(np.concatenate([x, x.conj()], axis=1), -1, -2)


def _traces(gam: Floats, mass: Floats, n: int, z: Complex) -> Complex:
    """The fixed point dl = (1/n) tr Gam (k Gam/(1 + dl) - z)^-1 for draws and nodes, (m, K)."""
    k = (n - 1) / n
    spread, share = gam[:, None], (mass * gam / n)[..., None]

    def step(dl: Complex) -> tuple[Complex, Complex]:
        """What dl maps to, and its derivative."""
        grown = (1.0 + dl)[..., None]
        q = 1.0 / (k * spread / grown - z[:, None])
        return (q @ share)[..., 0], k * (spread * (q / grown) ** 2 @ share)[..., 0]

    dl: Complex = -share.sum(axis=1) / z
    for _ in range(_DAMPED):
        dl = 0.5 * (dl + step(dl)[0])
    scale = np.abs(dl).max()
    for _ in range(_NEWTON):
        mapped, slope = step(dl)
        change = (dl - mapped) / (1.0 - slope)
        dl = dl - change
        if np.abs(change).max() <= _TOLERANCE * scale:
            return dl
    raise ProblemError("r", float(np.abs(change).max() / scale), f"equations solved to {_TOLERANCE:g}")
