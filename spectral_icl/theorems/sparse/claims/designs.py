"""Features that are not isotropic, weights not of one size: where P2O still wins, and where not."""

from __future__ import annotations

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse import hypotheses
from spectral_icl.theorems.claim import Trials
from spectral_icl.theorems.sparse.claims.advantage import DENSER, HALF, ORACLE
from spectral_icl.theorems.sparse.claims.registry import OBSERVED, claim, named, place
from spectral_icl.theorems.sparse.claims.trials import above, below
from spectral_icl.theorems.sparse.evidence import Evidence

STRONG = 0.9  # correlation of neighbours, from which on ridge wins


@claim(
    "correlated-design",
    "P2O beats ridge also for correlated features, up to a correlation of 0.6 of neighbours.",
    OBSERVED,
    *(place(n=256, correlation=rho) for rho in (0.0, 0.3, 0.6, 0.9, 0.97)),
    *(place(32, 8, 128, correlation=rho) for rho in (0.6, 0.9, 0.97)),
)
def _correlated(e: Evidence) -> Trials:
    p = e.problem
    where, found = named(p, "d", "s", "correlation"), e.over_ridge
    yield below(where, found, 1.0, hypotheses.advantage(p), "P2O / ridge, both tuned")
    if abs(p.correlation) >= STRONG:
        yield above(where, found, 1.0, hypotheses.entangled(p), "P2O / ridge, strongly correlated")


@claim(
    "low-variance-support",
    "P2O has at most 0.7 of the risk of gradient flow if features with weight have 0.3 of others' variance.",
    OBSERVED,
    *(place(n=256, support_variance=x) for x in (1.0, 0.5, 0.3, 0.1, 0.05)),
)
def _low_variance(e: Evidence) -> Trials:
    p = e.problem
    found = e.usual.ratio("p2o", "gd")
    supposes = [*hypotheses.advantage(p), Hypothesis("uncorrelated features", p.correlation == 0.0)]
    supposes.append(hypotheses.one_size(p))
    yield below(named(p, "support_variance"), found, DENSER, supposes, "P2O / gradient flow")


@claim(
    "no-beta-min",
    "With Gaussian weights, some of them small, P2O still beats ridge, but is slower to near the oracle.",
    OBSERVED,
    *(place(n=n, weights="gauss") for n in (64, 96, 128, 256, 1024)),
)
def _no_beta_min(e: Evidence) -> Trials:
    p = e.problem
    where = named(p, "n")
    yield below(where, e.over_ridge, HALF, hypotheses.half(p), "P2O / ridge")
    supposes = hypotheses.near_oracle(p)
    yield below(where, e.usual.ratio("p2o", "oracle"), ORACLE, supposes, "P2O / oracle")
