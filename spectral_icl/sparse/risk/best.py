"""The theory's risk of every method at its best, wherever there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import Random, sample_weights
from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.sparse.risk.equivalent import Risk, p2o_risk
from spectral_icl.sparse.simulation import USUAL, Grid

_NAN = float("nan")

METHODS = USUAL


class Best(NamedTuple):
    """A method at its best.

    Attributes
    ----------
    risk, error : float
        Its excess risk, and the standard error of that if it is averaged over draws.
    tuned : float
        The time or penalty; NaN if there is nothing to tune.
    """

    risk: float
    error: float = 0.0
    tuned: float = _NAN


def p2o_curve(problem: SparseProblem, times: Floats, draws: int, rng: Random) -> Risk:
    """Risk of preprocess-then-optimize at times of the flow, averaged over weights and correlations."""
    generator = np.random.default_rng(rng)
    p = problem
    if p.weights == "pm" and not p.correlation:  # signs and places make no difference
        w = np.zeros(p.d)
        w[: p.s] = np.sqrt(p.v / p.s)
        return p2o_risk(w, p.Sigma, p.noise, p.n, times, draws, generator)
    support = None if p.correlation else range(p.s)
    weights = sample_weights(draws, p.d, p.s, p.v, p.weights, generator, support)
    return p2o_risk(weights, p.Sigma, p.noise, p.n, times, draws, generator)


def best(problem: SparseProblem, grid: Grid, curve: Risk) -> Mapping[str, Best]:
    """The least risk of every method, NaN where there is no theory of it on this problem.

    Those of gradient descent and ridge are for isotropic features, that of least squares with d > n too.

    Parameters
    ----------
    problem : SparseProblem
    grid : Grid
        What the flows are tuned over.
    curve : Risk
        `p2o_curve` along ``grid.p2o``.
    """
    p = problem
    k = int(np.argmin(curve.mean))
    found = {"p2o": Best(float(curve.mean[k]), float(curve.se[k]), float(grid.p2o[k]))}
    found |= {name: Best(_NAN) for name in ("gd", "ridge", "ols")}
    if p.isotropic:
        flow = risk.gd_risk(p.d, p.n, p.v, p.noise, T=grid.gd)
        k = int(np.nanargmin(flow))
        if not np.isnan(flow[k : k + 2]).any():  # else the best may be where there is no theory
            found["gd"] = Best(float(flow[k]), tuned=float(grid.gd[k]))
        ridge = risk.ridge_opt_risk(p.d, p.n, p.v, p.noise)
        if not np.isnan(ridge.risk):
            found["ridge"] = Best(ridge.risk, tuned=ridge.lam)
    if p.isotropic or p.n > p.d + 1:  # exact for every covariance
        found["ols"] = Best(risk.ols_risk(p.d, p.n, p.v, p.noise))
    found["oracle"] = Best(risk.oracle_risk(p.s, p.n, p.noise))
    return found
