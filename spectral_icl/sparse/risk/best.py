"""The theory's risk of every method at its best, wherever there is one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import sample_weights
from spectral_icl.sparse.risk import isotropic
from spectral_icl.sparse.risk.equivalent import Risk, p2o_risk
from spectral_icl.sparse.rng import Random, generator
from spectral_icl.sparse.tuning import Tuning

NAN = float("nan")

_MOST, _FEATURES = 10**6, 10**8  # draws for the theory of P2O, and entries of r in all of them
_WORK = 3 * 10**12  # of it, in nanoseconds


class Best(NamedTuple):
    """The least risk of a method.

    Attributes
    ----------
    risk, error : float
        Excess risk, and its standard error if it is averaged over draws. NaN where there is no theory.
    tuned : float
        The time or penalty; NaN if there is nothing to tune.
    """

    risk: float
    error: float = 0.0
    tuned: float = NAN


def most_draws(problem: SparseProblem) -> int:
    """How many draws the theory of preprocess-then-optimize takes less than an hour for; 1000 at least."""
    p = problem
    coupled = p.d if p.correlation else p.s
    return min(_MOST, _FEATURES // p.d, _WORK // (2 * 10**6 + 1000 * p.d + coupled**3))


def p2o_curve(problem: SparseProblem, times: Floats, draws: int, rng: Random) -> Risk:
    """Risk of preprocess-then-optimize at times of the flow, averaged over weights and correlations."""
    source = generator(rng)
    p = problem
    if p.weights == "pm" and not p.correlation:  # signs and places make no difference
        w = np.zeros(p.d)
        w[: p.s] = np.sqrt(p.v / p.s)
        return p2o_risk(w, p.Sigma, p.noise, p.n, times, draws, source)
    support = None if p.correlation else range(p.s)
    weights = sample_weights(draws, p.d, p.s, p.v, p.weights, source, support)
    return p2o_risk(weights, p.Sigma, p.noise, p.n, times, draws, source)


def p2o_best(problem: SparseProblem, tuning: Tuning, curve: Risk) -> Best:
    """Least risk of preprocess-then-optimize on its curve along the times of the tuning."""
    k = int(np.argmin(curve.mean))
    return Best(float(curve.mean[k]), float(curve.se[k]), float(tuning.p2o[k]))


def gd_best(problem: SparseProblem, tuning: Tuning, curve: Risk) -> Best:
    """Least risk of gradient flow; its theory is for isotropic features."""
    p = problem
    if not p.isotropic:
        return Best(NAN)
    flow = isotropic.gd_risk(p.d, p.n, p.v, p.noise, times=tuning.gd)
    k = int(np.nanargmin(flow))
    if np.isnan(flow[k : k + 2]).any():  # the best may be where there is no theory
        return Best(NAN)
    return Best(float(flow[k]), tuned=float(tuning.gd[k]))


def ridge_best(problem: SparseProblem, tuning: Tuning, curve: Risk) -> Best:
    """Risk of ridge regression at its best penalty; its theory is for isotropic features."""
    p = problem
    if not p.isotropic:
        return Best(NAN)
    found = isotropic.ridge_opt_risk(p.d, p.n, p.v, p.noise)
    return Best(NAN) if np.isnan(found.risk) else Best(found.risk, tuned=found.lam)


def ols_best(problem: SparseProblem, tuning: Tuning, curve: Risk) -> Best:
    """Risk of least squares: exact for every covariance if n >= d, else for isotropic features."""
    p = problem
    return Best(isotropic.ols_risk(p.d, p.n, p.v, p.noise) if p.isotropic or p.n >= p.d else NAN)


def oracle_best(problem: SparseProblem, tuning: Tuning, curve: Risk) -> Best:
    """Risk of least squares on the support: exact for every covariance if n >= s, else if uncorrelated."""
    p = problem
    known = not p.correlation or p.n >= p.s
    return Best(isotropic.oracle_risk(p.s, p.n, p.noise, p.signal) if known else NAN)
