"""The claims about sparse regression: where they hold, by how much, and where they fail.

A claim is put to the test at documented places, among them some that lack a hypothesis, to show what happens
there. Risks are simulated, each method at its best on the same prompts, unless a trial says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse import hypotheses
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.sparse.risk.quick import p2o_risk_gh
from spectral_icl.sparse.risk.spectrum import upper_edge
from spectral_icl.sparse.scaling import scaling_exponent
from spectral_icl.sparse.simulation import Estimate
from spectral_icl.theorems.claim import SIGMAS, Claims, Finding, Hypotheses, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.sparse.evidence import Evidence

CZZ = "Chen, Zhao and Zou (2024)"
DERIVED = "derived; theory/sparse"
OBSERVED = "observed"

ORACLE, FEW = 1.5, 0.12  # P2O over the oracle, and over ridge, at 16 pairs per feature
HALF, QUARTER = 0.5, 0.25  # P2O over ridge from 12 and from 32 pairs per nonzero weight on
DENSER = 0.7  # P2O over ridge for up to a quarter of the features
LASSO = 1.5
STRONG = 0.9  # correlation of neighbours, from which on ridge wins
SLOPES = {"d": (0.9, 1.1), "n": (-3.2, -2.6), "s": (1.6, 2.2)}  # of the risk of features without weight
ON_SUPPORT = {"n": (-1.15, -0.85), "s": (0.85, 1.2)}
_STEPS = (2, 8)  # of P2O, too few and enough

CLAIMS: Claims[Evidence, SparseProblem] = Claims()
claim = CLAIMS.claim


def _at(
    d: int = 64,
    s: int = 4,
    n: int = 128,
    noise: float = 0.25,
    *,
    weights: str = "pm",
    correlation: float = 0.0,
    support_variance: float = 1.0,
) -> SparseProblem:
    """A documented place: a usual problem but for what is given."""
    signal = 1.0
    return SparseProblem(d, s, n, noise, signal, weights, correlation, support_variance)


def _named(problem: SparseProblem, *names: str) -> str:
    """The parameters that a trial is about, with their values."""
    short = {"correlation": "rho", "support_variance": "variance"}
    return ", ".join(f"{short.get(name, name)} = {getattr(problem, name):g}" for name in names)


def _below(
    place: str, found: Estimate, most: float, supposes: Hypotheses, what: str, without: str = ""
) -> Trial:
    """A trial of a number below a bound."""
    return Trial.of(Finding.below(found.mean, most, f"{place}: {what}", found.se), supposes, without)


def _above(place: str, found: Estimate, least: float, supposes: Hypotheses, what: str) -> Trial:
    """A trial of a number above a bound."""
    return Trial.of(Finding.above(found.mean, least, f"{place}: {what}", found.se), supposes)


def _between(
    place: str, found: Estimate, least: float, most: float, supposes: Hypotheses, what: str
) -> Trial:
    """A trial of a number in an interval."""
    return Trial.of(Finding.between(found.mean, least, most, f"{place}: {what}", found.se), supposes)


@claim(
    "ridge-domination",
    "Ridge at penalty s2 d/(n v) has a smaller risk than gradient descent of any step and length.",
    DERIVED,
    *(_at(d, n=n) for d, n in ((16, 20), (16, 160), (64, 128), (64, 1000), (256, 128))),
)
def _domination(e: Evidence) -> Trials:
    p = e.problem
    place, isotropic = _named(p, "d", "n"), [Hypothesis("isotropic features", p.isotropic)]
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
    yield _above(place, ratio, 1.0, isotropic, "best GD / ridge by theory, 20 steps, 25 lengths, 200 times")
    found = e.usual
    sampled = found.ratio("gd", "ridge", below=found.tuning.known)
    noisy = Estimate(sampled.mean + SIGMAS * sampled.se, sampled.se)
    yield _above(place, noisy, 1.0, isotropic, f"gradient flow / ridge, simulated, plus {SIGMAS:g} errors")
    bound = best / risk.spectral_lower_bound(p.d, p.n, p.v, p.noise)
    yield _above(place, Estimate(bound, 0.0), 1.0, isotropic, "ridge / Jensen's bound, by theory")


@claim(
    "oracle-rate",
    "With enough pairs P2O is close to least squares on the true support, and far below ridge.",
    CZZ,
    *(_at(n=n) for n in (128, 256, 512, 1024)),
)
def _oracle_rate(e: Evidence) -> Trials:
    p = e.problem
    place = _named(p, "n")
    supposes = [
        *hypotheses.half(p),
        Hypothesis("16 pairs per feature", p.n >= 16 * p.d),
        Hypothesis("weights of one size", p.weights == "pm"),
    ]
    found = e.usual
    yield _below(place, found.ratio("p2o", "oracle"), ORACLE, supposes, "P2O / oracle")
    yield _below(place, e.over_ridge, FEW, supposes, "P2O / ridge")


@claim(
    "advantage",
    "P2O has at most half the risk of ridge once prompts show the support, a quarter with more pairs.",
    CZZ,
    *(_at(n=n) for n in (8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024)),
)
def _advantage(e: Evidence) -> Trials:
    p = e.problem
    supposes = hypotheses.half(p)
    many = p.n >= 32 * p.s and p.n >= 2 * p.d
    what = "P2O / ridge; " + ("n >= 32 s and 2 d" if many else "half")
    yield _below(_named(p, "n"), e.over_ridge, QUARTER if many else HALF, supposes, what)


@claim(
    "sparsity",
    "P2O beats ridge for up to a quarter of the features, and not for dense weights.",
    CZZ,
    *(_at(n=256, s=s) for s in (1, 2, 4, 8, 16, 32, 64)),
    _at(16, 16, 80),
)
def _sparsity(e: Evidence) -> Trials:
    p = e.problem
    place, found = _named(p, "d", "s", "n"), e.over_ridge
    yield _below(place, found, DENSER, hypotheses.advantage(p), "P2O / ridge")
    if p.s == p.d:
        dense = [Hypothesis("n > d", p.n > p.d), *hypotheses.advantage(p)[2:]]
        yield _above(place, found, 1.0, dense, "P2O / ridge, dense weights")


@claim(
    "lasso",
    "P2O is within a factor of 1.5 of the Lasso at its best if d <= n/2.",
    CZZ,
    *(_at(d, s, n) for d, s, n in ((16, 4, 64), (64, 4, 128), (64, 4, 256), (64, 16, 256), (64, 4, 64))),
    *(_at(d, 4, n) for d, n in ((128, 64), (256, 128))),
)
def _lasso(e: Evidence) -> Trials:
    p = e.problem
    supposes = [*hypotheses.advantage(p), Hypothesis("d <= n/2", 2 * p.d <= p.n)]
    ratio = e.with_lasso.ratio("p2o", "lasso")
    yield _below(_named(p, "d", "s", "n"), ratio, LASSO, supposes, "P2O / Lasso")


@claim(
    "upper-bound",
    "The risk of P2O is at most s2 log(n)^2 (s/n + d/n^2) if the noise is not small.",
    CZZ,
    *(_at(n=n) for n in (24, 48, 128, 1024)),
    *(_at(n=256, s=s) for s in (1, 16)),
    *(_at(d) for d in (8, 32, 256)),
    _at(n=32, noise=1e-3),
)
def _upper_bound(e: Evidence) -> Trials:
    p = e.problem
    supposes = [
        Hypothesis("noise at least a quarter of the signal", p.noise >= 0.25 * p.signal),
        Hypothesis("n >= 6 s", p.n >= 6 * p.s),
        Hypothesis("isotropic features", p.isotropic),
    ]
    if p.noise == 0.0 or p.n == 1:
        raise UnmeasurableError("without noise, or with one pair, the bound is 0")
    best = e.usual.at_best("p2o")
    scale = p.noise * (p.s / p.n + p.d / p.n**2)
    place, logs = _named(p, "d", "s", "n", "noise"), np.log(p.n)
    yield _below(place, _over(best, scale * logs**2), 1.0, supposes, "P2O / bound")
    if p.n <= p.d:
        what = "P2O / the same with log n"
        yield _below(place, _over(best, scale * logs), 1.0, supposes, what, without="log n squared")


def _over(found: Estimate, scale: float) -> Estimate:
    """An estimate in parts of a scale."""
    return Estimate(found.mean / scale, found.se / scale)


_FAMILIES = {"d": (32, 64, 128, 256), "n": (500, 1000, 2000, 4000), "s": (2, 4, 8, 16)}
_WIDE = (400, 800, 1600)


@claim(
    "exponents",
    "At T = 8 s/v features without weight risk (d - s) s^2/n^3, the others s/n; d/n^2 is not sharp.",
    DERIVED,
    _at(n=2000),
    anywhere=False,
)
def _exponents(e: Evidence) -> Trials:
    p = e.problem
    for part, slopes in (("p2o_off", SLOPES), ("p2o_support", ON_SUPPORT)):
        for axis, (least, most) in slopes.items():
            # few nonzero weights beside many features, and few enough for n
            at = {"d": replace(p, s=2), "n": p, "s": replace(p, n=4000)}[axis]
            values = _FAMILIES[axis]
            found = scaling_exponent(axis, values, at, part, prompts=e.prompts, rng=e.seed)
            whose = "without weight" if part == "p2o_off" else "with weight"
            place = f"{axis} = {values[0]} to {values[-1]}"
            yield _between(place, Estimate(*found), least, most, [], f"exponent of {axis}, features {whose}")
    for n in _FAMILIES["n"]:
        at = replace(p, n=n)
        time = 8.0 * p.s / p.v
        off = e.at(at).at_time(time, "p2o_off").at_best("p2o_off")
        quick = float(p2o_risk_gh(p.d, p.s, n, p.v, p.noise, time).off[0])
        what = "without weight, simulated / quick model"
        enough = [Hypothesis("n >= 2 d", n >= 2 * p.d)]
        yield _between(_named(at, "n"), _over(off, quick), 0.85, 1.15, enough, what)


@claim(
    "memorisation",
    "For d far above n features without weight fit the labels: the signal shrinks by 3 d s (1 + s2/v)/n^2.",
    DERIVED,
    _at(n=400),
    anywhere=False,
)
def _memorisation(e: Evidence) -> Trials:
    p = e.problem
    off = []
    for d in _WIDE:
        at = replace(p, d=d)
        place = _named(at, "d", "n")
        found = e.at(at).parts
        k = found.best("p2o")
        shrinkage = 3.0 * d * p.s * (1.0 + p.noise / p.v) / p.n**2
        expected = p.noise * p.s / p.n + p.v * shrinkage**2
        on = Estimate(float(found.mean("p2o_support")[k]), float(found.se("p2o_support")[k]))
        what = "risk of features with weight / (s2 s/n + v shrinkage^2)"
        yield _between(place, _over(on, expected), 1.0 / 3.0, 3.0, [], what)
        theory = found.ratio("p2o", "p2o_equivalent", k, k)
        agree = 0.03 + SIGMAS * theory.se
        ratio, what = Estimate(theory.mean, 0.0), "P2O / its equivalent, 3 % + 3 errors"
        yield _between(place, ratio, 1.0 - agree, 1.0 + agree, [], what)
        quick = float(p2o_risk_gh(d, p.s, p.n, p.v, p.noise, found.tuning.p2o[k]).total[0])
        model = Estimate(quick / float(found.mean("p2o")[k]), 0.0)
        yield _between(place, model, 0.8, 1.25, [Hypothesis("n >= 2 d", p.n >= 2 * d)], "quick model / P2O")
        off.append(float(found.mean("p2o_off")[k]))
    slope = float(np.log(off[-1] / off[0]) / np.log(_WIDE[-1] / _WIDE[0]))
    place = f"d = {_WIDE[0]} to {_WIDE[-1]}, n = {p.n}"
    what = "exponent of d, features without weight: no longer 1"
    yield _between(place, Estimate(slope, 0.0), 0.0, 0.9, [], what)


@claim(
    "snr",
    "P2O is never worse than ridge at any noise, and has at most half its risk for noise up to the signal.",
    OBSERVED,
    *(_at(noise=noise) for noise in (0.01, 0.1, 0.25, 1.0, 4.0, 16.0)),
)
def _snr(e: Evidence) -> Trials:
    p = e.problem
    found, place = e.over_ridge, _named(p, "noise")
    less = Estimate(found.mean - SIGMAS * found.se, found.se)
    yield _below(place, less, 1.0, hypotheses.any_noise(p), f"P2O / ridge, less {SIGMAS:g} errors")
    yield _below(place, found, HALF, hypotheses.half(p), "P2O / ridge")


@claim(
    "correlated-design",
    "P2O beats ridge also for correlated features, up to a correlation of 0.6 of neighbours.",
    OBSERVED,
    *(_at(n=256, correlation=rho) for rho in (0.0, 0.3, 0.6, 0.9, 0.97)),
)
def _correlated(e: Evidence) -> Trials:
    p = e.problem
    place, found = _named(p, "correlation"), e.over_ridge
    yield _below(place, found, 1.0, hypotheses.advantage(p), "P2O / ridge, both tuned")
    if abs(p.correlation) >= STRONG:
        long = [Hypothesis("n >= 4 d", p.n >= 4 * p.d)]
        yield _above(place, found, 1.0, long, "P2O / ridge, strongly correlated")


@claim(
    "low-variance-support",
    "P2O beats gradient flow by half where features with weight vary no less than 0.3 of the others.",
    OBSERVED,
    *(_at(n=256, support_variance=x) for x in (1.0, 0.5, 0.3, 0.1, 0.05)),
)
def _low_variance(e: Evidence) -> Trials:
    p = e.problem
    found = e.usual.ratio("p2o", "gd")
    yield _below(_named(p, "support_variance"), found, HALF, hypotheses.half(p), "P2O / gradient flow")


@claim(
    "no-beta-min",
    "With Gaussian weights, some of them small, P2O still beats ridge, but is slower to near the oracle.",
    OBSERVED,
    *(_at(n=n, weights="gauss") for n in (64, 128, 256, 1024)),
)
def _no_beta_min(e: Evidence) -> Trials:
    p = e.problem
    place = _named(p, "n")
    yield _below(place, e.over_ridge, HALF, hypotheses.half(p), "P2O / ridge")
    supposes = [
        Hypothesis("weights of one size", p.weights == "pm"),
        Hypothesis("16 pairs per feature", p.n >= 16 * p.d),
    ]
    yield _below(place, e.usual.ratio("p2o", "oracle"), ORACLE, supposes, "P2O / oracle")


@claim(
    "depth",
    "Eight steps of P2O, of size 1 over the largest eigenvalue, beat ridge; two do not if n is large.",
    OBSERVED,
    *(_at(d, n=n) for d, n in ((16, 256), (16, 64), (64, 128))),
)
def _depth(e: Evidence) -> Trials:
    p = e.problem
    place, found = _named(p, "d", "n"), e.steps
    two, eight = (int(np.flatnonzero(found.tuning.steps == t)[0]) for t in _STEPS)
    supposes = [
        *hypotheses.advantage(p),
        Hypothesis("n >= 16 s", p.n >= 16 * p.s),
        Hypothesis("at most four nonzero weights", p.s <= 4),
        Hypothesis("noise <= signal", p.noise <= p.signal),
    ]
    deep = found.ratio("p2o_steps", "ridge", eight, found.tuning.known)
    yield _below(place, deep, 1.0, supposes, "P2O after 8 steps / ridge")
    shallow = found.ratio("p2o_steps", "ridge", two, found.tuning.known)
    long = [*supposes, Hypothesis("n >= 4 d", p.n >= 4 * p.d)]
    yield _above(place, shallow, 1.0, long, "P2O after 2 steps / ridge")
    what = "P2O after 3 steps / GD, each at its best step for all prompts"

    def fixed() -> Finding:
        found = e.fixed_steps
        return Finding.below(found.mean, 1.0, f"{place}: {what}", found.se)

    yield Trial(fixed, (), supposes, without="a step for each prompt")
