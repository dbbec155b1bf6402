"""What methods linear in the labels cannot do: ridge is the best of them, and P2O goes below their bound."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse import hypotheses
from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.sparse.risk.spectrum import upper_edge
from spectral_icl.sparse.simulation import ROUNDING, Estimate
from spectral_icl.theorems.claim import SIGMAS, Trials, UnmeasurableError
from spectral_icl.theorems.sparse.bounds import linear_lower_bound
from spectral_icl.theorems.sparse.claims.registry import CZZ, DERIVED, claim, design, named, place
from spectral_icl.theorems.sparse.claims.trials import above, below, over, quotient
from spectral_icl.theorems.sparse.evidence import Evidence


@claim(
    "ridge-domination",
    "Ridge at penalty s2 d/(n v) has a smaller risk than gradient descent of any step and length.",
    DERIVED,
    *(place(d, n=n) for d, n in ((16, 20), (16, 160), (64, 128), (64, 1000), (256, 128))),
)
def _domination(e: Evidence) -> Trials:
    p = e.problem
    where, isotropic = named(p, "d", "n"), [Hypothesis("isotropic features", p.isotropic)]
    if not p.isotropic or p.noise == 0.0:
        raise UnmeasurableError("there is no theory of ridge without isotropic features and noise")
    best = risk.ridge_opt_risk(p.d, p.n, p.v, p.noise).risk
    if np.isnan(best):
        raise UnmeasurableError("single eigenvalues decide, which the theory of ridge does not know")
    sizes = np.linspace(0.05, 0.99, 20) * 2.0 / upper_edge(p.d, p.n)
    lengths = np.unique(np.round(np.geomspace(1, 1000, 25))).astype(np.int64)
    steps = min(float(np.nanmin(risk.gd_risk(p.d, p.n, p.v, p.noise, x, lengths))) for x in sizes.tolist())
    flow = float(np.nanmin(risk.gd_risk(p.d, p.n, p.v, p.noise, times=np.geomspace(1e-3, 1e4, 200))))
    ratio = Estimate(min(steps, flow) / best, 0.0)
    yield above(where, ratio, 1.0, isotropic, "best GD / ridge by theory, 20 steps, 25 lengths, 200 times")
    found = e.usual
    sampled = found.ratio("gd", "ridge", below=found.tuning.known)
    noisy = Estimate(sampled.mean + SIGMAS * sampled.se, sampled.se)
    yield above(where, noisy, 1.0, isotropic, f"gradient flow / ridge, simulated, plus {SIGMAS:g} errors")
    bound = best / risk.spectral_lower_bound(p.d, p.n, p.v, p.noise)
    yield above(where, Estimate(bound, 0.0), 1.0, isotropic, "ridge / Jensen's bound, by theory")


@claim(
    "beats-lower-bound",
    "P2O is below what bounds GD and ridge: isotropic, max(s2 d v/(n v + s2 d), v (1 - n/d)).",
    f"{CZZ}; bounds derived in theory/sparse/linear_bound, where P2O is below them observed here",
    *(place(n=n) for n in (32, 80, 128, 256)),
    *(place(n=n, noise=1.0) for n in (48, 128, 512)),
    place(16, 4, 160),
    place(16, 1, 17, 0.01),
    *(place(n=256, correlation=rho) for rho in (0.3, 0.6, 0.9)),
    *(place(n=256, support_variance=x) for x in (0.5, 0.1)),
)
def _beats(e: Evidence) -> Trials:
    p = e.problem
    where = named(p, "d", "s", "n", "noise") + design(p)
    best = e.usual.at_best("p2o")
    supposes = hypotheses.below_bound(p)
    if p.support_variance != 1.0:
        bound = e.spectral_bound
        if not bound.mean > ROUNDING * p.signal:
            raise UnmeasurableError("without noise, and n >= d, the bound is 0")
        what = "P2O / least risk of any spectral filter"
        yield below(where, quotient(best, bound), 1.0, supposes, what)
        return
    least = linear_lower_bound(p)
    if not least > 0.0:
        raise UnmeasurableError("without noise, and n >= d, the bound is 0")
    yield below(where, over(best, least), 1.0, supposes, "P2O / lower bound of GD and ridge")
    if p.correlation:  # for isotropic features `ridge-domination` has it, by theory
        ridge = e.usual.at_best("ridge")
        yield above(where, over(ridge, least), 1.0, [], "ridge at its best penalty / that bound")
