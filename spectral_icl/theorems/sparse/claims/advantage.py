"""Where preprocessing wins, and by how much: the authors' statements, with thresholds observed here."""

from __future__ import annotations

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse import hypotheses
from spectral_icl.theorems.claim import Trials
from spectral_icl.theorems.sparse.claims.registry import OBSERVED, THRESHOLD, claim, named, place
from spectral_icl.theorems.sparse.claims.trials import above, below
from spectral_icl.theorems.sparse.evidence import Evidence

ORACLE, FEW = 1.5, 0.12  # P2O over the oracle, and over ridge, at 16 pairs per feature
HALF, QUARTER = 0.5, 0.25  # P2O over ridge where prompts show the support, and show it clearly
DENSER = 0.7  # P2O over ridge for up to a quarter of the features
LASSO = 1.5


@claim(
    "oracle-rate",
    "With enough pairs P2O is close to least squares on the true support, and far below ridge.",
    THRESHOLD,
    *(place(n=n) for n in (128, 256, 512, 1024)),
)
def _oracle_rate(e: Evidence) -> Trials:
    p = e.problem
    where = named(p, "n")
    supposes = hypotheses.near_oracle(p)
    found = e.usual
    yield below(where, found.ratio("p2o", "oracle"), ORACLE, supposes, "P2O / oracle")
    yield below(where, e.over_ridge, FEW, supposes, "P2O / ridge")


@claim(
    "advantage",
    "P2O has at most half the risk of ridge once prompts show the support, a quarter with more pairs.",
    THRESHOLD,
    *(place(n=n) for n in (8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024)),
    *(place(n=n, noise=1.0) for n in (48, 128, 256)),
)
def _advantage(e: Evidence) -> Trials:
    p = e.problem
    clear = hypotheses.shows(p, hypotheses.CLEAR)
    if clear and p.n >= 2 * p.d:
        most, supposes, what = QUARTER, [*hypotheses.half(p), *hypotheses.plain(p)], "a quarter"
    else:
        most, supposes, what = HALF, hypotheses.half(p), "half"
    yield below(named(p, "n", "noise"), e.over_ridge, most, supposes, f"P2O / ridge; {what}")


@claim(
    "sparsity",
    "P2O beats ridge for up to a quarter of the features, and not for dense weights.",
    THRESHOLD,
    *(place(n=256, s=s) for s in (1, 2, 4, 8, 12, 16, 32, 64)),
    *(place(16, s, n) for s, n in ((4, 80), (16, 64))),
)
def _sparsity(e: Evidence) -> Trials:
    p = e.problem
    where, found = named(p, "d", "s", "n"), e.over_ridge
    supposes = [*hypotheses.advantage(p), *hypotheses.plain(p)]
    yield below(where, found, DENSER, supposes, "P2O / ridge")
    if p.s == p.d:
        yield above(where, found, 1.0, hypotheses.dense(p), "P2O / ridge, dense weights")


@claim(
    "snr",
    "P2O is never worse than ridge at any noise, and has at most half its risk for noise up to the signal.",
    OBSERVED,
    *(place(noise=noise) for noise in (0.01, 0.1, 0.25, 1.0, 4.0, 16.0)),
    *(place(16, 1, n, noise) for n, noise in ((80, 4.0), (272, 16.0))),
)
def _snr(e: Evidence) -> Trials:
    p = e.problem
    found, where = e.over_ridge, named(p, "n", "noise")
    yield below(where, found, 1.0, hypotheses.any_noise(p), "P2O / ridge")
    yield below(where, found, HALF, hypotheses.half(p), "P2O / ridge, half")


@claim(
    "lasso",
    "P2O is within a factor of 1.5 of the Lasso at its best if d <= n/2.",
    THRESHOLD,
    *(place(d, s, n) for d, s, n in ((16, 4, 64), (16, 4, 80), (64, 4, 128), (64, 4, 256), (64, 12, 256))),
    *(place(d, 4, n) for d, n in ((64, 64), (128, 64), (256, 128))),
)
def _lasso(e: Evidence) -> Trials:
    p = e.problem
    supposes = [*hypotheses.advantage(p), *hypotheses.plain(p), Hypothesis("d <= n/2", 2 * p.d <= p.n)]
    ratio = e.with_lasso.ratio("p2o", "lasso")
    yield below(named(p, "d", "s", "n"), ratio, LASSO, supposes, "P2O / Lasso")
