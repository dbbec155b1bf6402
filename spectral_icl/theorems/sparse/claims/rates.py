"""How the risk of P2O falls with the context: bounds up to constants, and exponents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse import hypotheses
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.risk.quick import p2o_risk_gh
from spectral_icl.sparse.scaling import scaling_exponent
from spectral_icl.sparse.simulation import Estimate
from spectral_icl.theorems.claim import SIGMAS, Trials, UnmeasurableError
from spectral_icl.theorems.sparse.claims.registry import CZZ, DERIVED, THRESHOLD, claim, design, named, place
from spectral_icl.theorems.sparse.claims.trials import below, between, over, quotient
from spectral_icl.theorems.sparse.evidence import Evidence

CONSTANT = 2.0  # of the rate with one logarithm
SLOPES = {"d": (0.9, 1.1), "n": (-3.2, -2.6), "s": (1.6, 2.2)}  # of the risk of features without weight
ON_SUPPORT = {"n": (-1.15, -0.85), "s": (0.85, 1.2)}
_FAMILIES = {"d": (32, 64, 128, 256), "n": (500, 1000, 2000, 4000), "s": (2, 4, 8, 16)}
_WIDE = (400, 800, 1600)


def scale_of(problem: SparseProblem) -> float:
    """The rate s2 (s/n + d/n^2), without logarithms.

    Raises
    ------
    UnmeasurableError
        Without noise, or with one pair, whose logarithm is 0.
    """
    p = problem
    if p.noise == 0.0 or p.n == 1:
        raise UnmeasurableError("without noise, or with one pair, the bound is 0")
    return p.noise * (p.s / p.n + p.d / p.n**2)


@claim(
    "upper-bound",
    "The risk of P2O is at most s2 log(n)^2 (s/n + d/n^2) if the noise is not small.",
    THRESHOLD,
    *(place(n=n) for n in (24, 48, 128, 1024)),
    *(place(n=256, s=s) for s in (1, 16)),
    *(place(d) for d in (8, 32, 256)),
    place(n=32, noise=1e-3),
)
def _upper_bound(e: Evidence) -> Trials:
    p = e.problem
    supposes = hypotheses.upper_bound(p)
    scale, logs = scale_of(p), float(np.log(p.n))
    best, where = e.usual.at_best("p2o"), named(p, "d", "s", "n", "noise")
    yield below(where, over(best, scale * logs**2), 1.0, supposes, "P2O / bound")
    if p.n <= p.d:
        what = "P2O / the same with log n"
        yield below(where, over(best, scale * logs), 1.0, supposes, what, without="log n squared")


@claim(
    "rate",
    "The risk of P2O over s2 log(n) (s/n + d/n^2) stays bounded: along n it is below 2, and falls.",
    f"{CZZ}, up to a constant; the constant is observed here",
    *(place(n=n) for n in (16, 80, 128, 256)),
    *(place(16, 1, n) for n in (20, 40)),
    place(64, 16, 400),
    place(n=512, noise=4.0),
    *(place(n=n, noise=0.01) for n in (24, 128)),
    *(place(n=128, correlation=rho) for rho in (0.3, 0.6)),
    *(place(n=256, support_variance=x) for x in (0.5, 0.1)),
)
def _rate(e: Evidence) -> Trials:
    p = e.problem
    bounds = [scale_of(at) * float(np.log(at.n)) for at, _ in e.along]
    parts = [over(risk, bound) for (_, risk), bound in zip(e.along, bounds, strict=True)]
    lengths = [at.n for at, _ in e.along]
    slope, constant = fitted(lengths, parts)
    fit = f"fitted {constant:.2g} n^{slope:.2f}"
    supposes = [*hypotheses.rate(p), Hypothesis("a bound below the signal", max(bounds) < p.signal)]
    where = f"{named(p, 'd', 's', 'noise')}{design(p)}, n = {lengths[0]} to {lengths[-1]}"
    largest = max(parts, key=lambda part: part.mean)
    yield below(where, largest, CONSTANT, supposes, f"largest of P2O / rate; {fit}")
    yield below(where, quotient(parts[-1], parts[0]), 1.0, supposes, "last of P2O / rate over the first")


def fitted(lengths: list[int], parts: list[Estimate]) -> tuple[float, float]:
    """Slope b and constant of c (n/n_0)^b through estimates along n, by least squares of the logarithms.

    The constant is that at the first length, n_0.
    """
    x = np.log(np.array(lengths) / lengths[0])
    slope, constant = np.polyfit(x, np.log([part.mean for part in parts]), 1)
    return float(slope), float(np.exp(constant))


@claim(
    "exponents",
    "At T = 8 s/v features without weight risk (d - s) s^2/n^3, the others s/n; d/n^2 is not sharp.",
    DERIVED,
    place(n=2000),
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
            where = f"{axis} = {values[0]} to {values[-1]}"
            yield between(where, Estimate(*found), least, most, [], f"exponent of {axis}, features {whose}")
    for n in _FAMILIES["n"]:
        at = replace(p, n=n)
        time = 8.0 * p.s / p.v
        off = e.at(at).at_time(time, "p2o_off").at_best("p2o_off")
        quick = float(p2o_risk_gh(p.d, p.s, n, p.v, p.noise, time).off[0])
        what = "without weight, simulated / quick model"
        enough = [Hypothesis("n >= 2 d", n >= 2 * p.d)]
        yield between(named(at, "n"), over(off, quick), 0.85, 1.15, enough, what)


@claim(
    "memorisation",
    "For d far above n features without weight fit the labels: the signal shrinks by 3 d s (1 + s2/v)/n^2.",
    DERIVED,
    place(n=400),
    anywhere=False,
)
def _memorisation(e: Evidence) -> Trials:
    p = e.problem
    off = []
    for d in _WIDE:
        at = replace(p, d=d)
        where = named(at, "d", "n")
        found = e.at(at).parts
        k = found.best("p2o")
        shrinkage = 3.0 * d * p.s * (1.0 + p.noise / p.v) / p.n**2
        expected = p.noise * p.s / p.n + p.v * shrinkage**2
        on = Estimate(float(found.mean("p2o_support")[k]), float(found.se("p2o_support")[k]))
        what = "risk of features with weight / (s2 s/n + v shrinkage^2)"
        yield between(where, over(on, expected), 1.0 / 3.0, 3.0, [], what)
        theory = found.ratio("p2o", "p2o_equivalent", k, k)
        agree = 0.03 + SIGMAS * theory.se
        ratio, what = Estimate(theory.mean, 0.0), "P2O / its equivalent, 3 % + 3 errors"
        yield between(where, ratio, 1.0 - agree, 1.0 + agree, [], what)
        quick = float(p2o_risk_gh(d, p.s, p.n, p.v, p.noise, found.tuning.p2o[k]).total[0])
        model = Estimate(quick / float(found.mean("p2o")[k]), 0.0)
        yield between(where, model, 0.8, 1.25, [Hypothesis("n >= 2 d", p.n >= 2 * d)], "quick model / P2O")
        off.append(float(found.mean("p2o_off")[k]))
    slope = float(np.log(off[-1] / off[0]) / np.log(_WIDE[-1] / _WIDE[0]))
    where = f"d = {_WIDE[0]} to {_WIDE[-1]}, n = {p.n}"
    what = "exponent of d, features without weight: no longer 1"
    yield between(where, Estimate(slope, 0.0), 0.0, 0.9, [], what)
