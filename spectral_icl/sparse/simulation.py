"""Simulated risks of every method on the same prompts, with standard errors of risks and of their ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import LARGEST, Floats, choice, integer
from spectral_icl.kernels.threads import one_thread
from spectral_icl.sparse import filters, predictors
from spectral_icl.sparse.filters import Flow, Steps
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import Prompts, draw, excess_risk
from spectral_icl.sparse.risk.equivalent import p2o_risk_given

METHODS = (
    *("p2o", "gd", "ridge", "ols", "oracle", "lasso"),
    *("p2o_steps", "gd_steps", "p2o_support", "p2o_off", "p2o_equivalent"),
)
USUAL = ("p2o", "gd", "ridge", "ols", "oracle")

_BATCH = 2**22  # features drawn at a time
_STEP = 1.2  # from one time of a grid to the next
_PARTS = ("p2o_support", "p2o_off")


@dataclass(frozen=True, eq=False)
class Grid:
    """What the methods are tuned over.

    Attributes
    ----------
    p2o, gd : ndarray
        Times of the flows.
    ridge, lasso : ndarray
        Penalties.
    steps : ndarray of int
        Steps of the discrete methods, each of size 1 over the prompt's largest eigenvalue.
    """

    p2o: Floats
    gd: Floats
    ridge: Floats
    lasso: Floats
    steps: NDArray[np.int64]

    @classmethod
    def of(cls, problem: SparseProblem, times: ArrayLike | None = None) -> Grid:
        """A grid on which the best of each method is within a percent of its best; ``times`` for P2O.

        Times begin with 0, where the prediction is 0. The best ridge penalty of an isotropic design, which is
        known, is the middle one.
        """
        p = problem
        power = p.signal + p.noise
        # rates of the features: what noise moves, at most, and what features with weight move at, at least
        fast = p.signal / p.s * max(1.0, p.support_variance**2) + power / p.n
        slow = p.signal / p.s * min(1.0, p.support_variance**2)
        stretch = max(1.0, p.d / p.n) * max(1.0, p.support_variance)
        ratio = max(p.noise, 1e-12 * p.v) * p.d / (p.n * p.v)
        level = np.sqrt(max(p.noise, 1e-6 * p.v) * np.log(max(p.d, 2)) / p.n)
        return cls(
            p2o=_times(0.01 / fast, 1e4 / slow) if times is None else Flow(times).T,
            gd=_times(0.02 / stretch, 4e4 / min(1.0, p.support_variance)),
            ridge=ratio * np.geomspace(0.05, 20.0, 25),
            lasso=level * np.geomspace(0.15, 4.0, 24),
            steps=np.array([1, 2, 4, 8, 16, 32], dtype=np.int64),
        )

    @property
    def known(self) -> int:
        """Where the best ridge penalty of isotropic features is: in the middle."""
        return len(self.ridge) // 2

    def axis(self, method: str) -> Floats | None:
        """What a method is tuned over; None if there is nothing to tune."""
        name = method.split("_")[0] if not method.endswith("_steps") else "steps"
        found: Floats | None = getattr(self, name, None)
        return found


def _times(first: float, last: float) -> Floats:
    """0, and times in steps of a fifth."""
    last = min(last, LARGEST)
    count = int(np.ceil(np.log(last / first) / np.log(_STEP)))
    return np.concatenate([[0.0], np.geomspace(first, last, count)])


class Estimate(NamedTuple):
    """A sampled number and its standard error."""

    mean: float
    se: float


@dataclass(frozen=True, eq=False)
class Simulation:
    """Excess risks of methods on the same prompts.

    Attributes
    ----------
    risks : mapping of str to ndarray, (N, J)
        Of every prompt, averaged over queries exactly, at every point of the method's grid; J = 1 if there is
        nothing to tune.
    grid : Grid
    """

    risks: Mapping[str, Floats]
    grid: Grid

    def mean(self, method: str) -> Floats:
        """Mean risk (J,)."""
        found: Floats = self.risks[method].mean(axis=0)
        return found

    def se(self, method: str) -> Floats:
        """Standard error of the mean risk (J,)."""
        risks = self.risks[method]
        found: Floats = risks.std(axis=0, ddof=1) / np.sqrt(len(risks))
        return found

    def best(self, method: str) -> int:
        """Where on its grid a method has its least mean risk."""
        return int(np.argmin(self.mean(method)))

    def at_best(self, method: str) -> Estimate:
        """The least mean risk of a method."""
        k = self.best(method)
        return Estimate(float(self.mean(method)[k]), float(self.se(method)[k]))

    def ratio(self, method: str, other: str, at: int | None = None, below: int | None = None) -> Estimate:
        """Mean risk of a method over that of another, each at its best or at the given points of its grid.

        The prompts are the same, so that much of the noise cancels; the error is the linearised ratio's. It
        takes the points of the grids as given, which needs some twenty prompts or more.
        """
        top = self.risks[method][:, self.best(method) if at is None else at]
        bottom = self.risks[other][:, self.best(other) if below is None else below]
        value = top.mean() / bottom.mean()
        off = (top - value * bottom) / bottom.mean()
        return Estimate(float(value), float(off.std(ddof=1) / np.sqrt(len(off))))


def simulate(
    problem: SparseProblem,
    methods: Sequence[str] = USUAL,
    prompts: int = 1000,
    seed: int = 0,
    grid: Grid | None = None,
    advance: Callable[[int], object] | None = None,
) -> Simulation:
    """Sample the risks of methods on prompts of a problem.

    Parameters
    ----------
    problem : SparseProblem
    methods : sequence of str
        "p2o" and "gd" are the flows, "p2o_steps" and "gd_steps" take steps of size 1 over the prompt's
        largest eigenvalue, "p2o_support" and "p2o_off" are parts of the risk of "p2o" (for uncorrelated
        features), "p2o_equivalent" is its deterministic equivalent given the same r and |y|^2. "lasso" needs
        scikit-learn, and takes long.
    prompts : int
        2 to 10^6.
    seed : int
    grid : Grid, optional
        What the methods are tuned over.
    advance : callable, optional
        Told how many prompts are done, after every batch.

    Returns
    -------
    Simulation

    Raises
    ------
    ProblemError
        An argument is malformed.
    """
    for k, name in enumerate(methods):
        choice(f"methods[{k}]", name, METHODS)
    count = integer("prompts", prompts, minimum=2, maximum=10**6)
    generator = np.random.default_rng(integer("seed", seed, minimum=0, maximum=2**63))
    used = Grid.of(problem) if grid is None else grid
    size = max(1, min(count, _BATCH // (problem.n * problem.d)))
    parts = []
    with one_thread():
        for start in range(0, count, size):
            sample = draw(problem, min(size, count - start), generator)
            parts.append(risks_on(sample, problem.Sigma, problem.noise, used, methods))
            if advance is not None:
                advance(len(sample.w))
    return Simulation({name: np.concatenate([part[name] for part in parts]) for name in methods}, used)


def risks_on(
    sample: Prompts, Sigma: Floats | None, s2: float, grid: Grid, methods: Iterable[str]
) -> dict[str, Floats]:
    """Excess risk of methods on given prompts, (B, J) each."""
    X, y, w = sample.X, sample.y, sample.w[:, None]
    wanted = set(methods)
    found: dict[str, Floats] = {}
    if wanted & {"gd", "gd_steps", "ridge", "ols"}:
        found |= {
            name: excess_risk(beta, w, Sigma)
            for name, beta in _spectral(predictors.spectral(X, y), grid, wanted)
        }
    if any(name.startswith("p2o") for name in wanted):
        r = predictors.correlations(X, y)
        spectral = predictors.spectral(X, y, r)
        flow = Flow(grid.p2o)
        if wanted & {"p2o", *_PARTS}:
            beta = spectral.apply(flow(spectral.eigenvalues))
            found["p2o"] = excess_risk(beta, w, Sigma)
        if wanted & {*_PARTS}:
            variance = 1.0 if Sigma is None else Sigma if Sigma.ndim == 1 else np.diag(Sigma)
            weighted, on = (beta - w) ** 2 * variance, w != 0.0
            for name, part in zip(_PARTS, (on, ~on), strict=True):
                found[name] = (weighted * part).sum(axis=-1)
        if "p2o_steps" in wanted:
            found["p2o_steps"] = excess_risk(_steps(spectral, grid), w, Sigma)
        if "p2o_equivalent" in wanted:
            y2 = (y**2).sum(axis=1)
            found["p2o_equivalent"] = p2o_risk_given(r, y2, sample.w, Sigma, s2, X.shape[1], flow)
    if "oracle" in wanted:
        support = np.argsort(sample.w == 0.0, axis=1, kind="stable")[:, : int((sample.w[0] != 0.0).sum())]
        found["oracle"] = excess_risk(predictors.oracle(X, y, support)[:, None], w, Sigma)
    if "lasso" in wanted:
        found["lasso"] = excess_risk(predictors.lasso(X, y, grid.lasso), w, Sigma)
    return {name: found[name] for name in methods}


def _spectral(spectral: predictors.Spectral, grid: Grid, wanted: set[str]) -> Iterable[tuple[str, Floats]]:
    """Estimates of the methods that are linear filters of the sample covariance."""
    z = spectral.eigenvalues
    if "gd" in wanted:
        yield "gd", spectral.apply(Flow(grid.gd)(z))
    if "gd_steps" in wanted:
        yield "gd_steps", _steps(spectral, grid)
    if "ridge" in wanted:
        yield "ridge", spectral.apply(filters.ridge(grid.ridge, z))
    if "ols" in wanted:
        yield "ols", spectral.apply(filters.least_squares(z)[:, None])


def _steps(spectral: predictors.Spectral, grid: Grid) -> Floats:
    """Estimates after steps of size 1 over the largest eigenvalue of each prompt."""
    top = np.maximum(spectral.eigenvalues.max(axis=-1), np.finfo(np.float64).tiny)[:, None]
    unit = Steps(1.0, grid.steps)(spectral.eigenvalues / top)
    return spectral.apply(unit / top[..., None])


def mc_risk(
    methods: Sequence[str],
    d: int,
    s: int,
    n: int,
    v: float,
    s2: float,
    Ts: ArrayLike | None = None,
    trials: int = 1000,
    seed: int = 0,
    paired: bool = False,
) -> dict[str, dict[str, Floats]]:
    """Simulated risks of methods, isotropic features and weights +-sqrt(v/s).

    Parameters
    ----------
    methods : sequence of str
        See `simulate`.
    d, s, n : int
    v, s2 : float
        |w|^2 and the noise variance.
    Ts : array_like (J,), optional
        Times of the flow of P2O.
    trials : int
        Prompts.
    seed : int
    paired : bool
        Whether to add the theory of "p2o" given each prompt's own r and |y|^2, as "p2o_equivalent".

    Returns
    -------
    dict of str to dict
        Of every method its ``mean`` and ``se``, (J,) each.
    """
    names = [*methods, *(["p2o_equivalent"] if paired and "p2o_equivalent" not in methods else [])]
    problem = SparseProblem(d, s, n, s2, v)
    found = simulate(problem, names, trials, seed, Grid.of(problem, Ts))
    return {name: {"mean": found.mean(name), "se": found.se(name)} for name in names}
