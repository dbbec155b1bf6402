"""What layers of attention compute: the construction, the heads that it takes, and how deep it must be."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse import hypotheses
from spectral_icl.theorems.claim import Finding, Trial, Trials
from spectral_icl.theorems.sparse.claims.registry import CZZ, OBSERVED, claim, design, named, place
from spectral_icl.theorems.sparse.claims.trials import above, below
from spectral_icl.theorems.sparse.evidence import Evidence

EXACT = 1e-10  # rounding of all layers, in units of the labels' standard deviation
MISMATCH = (
    0.5  # squared, of too few heads: the least that is observed is 2 sqrt(2) - 2 = 0.83, at one too few
)
_STEPS = (2, 8)  # of P2O, too few and enough


@claim(
    "construction-exact",
    "A layer of d heads preprocesses and one head in each later layer takes a step of P2O, exactly.",
    f"{CZZ}; weights derived in theory/sparse/preprocessing and descent",
    *(place(d, s, n) for d, s, n in ((2, 1, 4), (8, 2, 32), (16, 16, 8), (32, 4, 64), (64, 4, 128))),
    place(16, 2, 40, 4.0, weights="gauss"),
    place(16, 2, 40, correlation=0.9),
    place(16, 2, 40, support_variance=0.1),
)
def _construction(e: Evidence) -> Trials:
    p = e.problem
    where = named(p, "d", "s", "n") + design(p)
    what = (
        f"{where}: features and predictions of eight layers, off from those of P2O, of the labels' deviation"
    )
    yield Trial(lambda: Finding.below(e.built(), EXACT, what))
    less = "a head for each feature"
    yield Trial(lambda: Finding.below(e.built(without=1), EXACT, what), without=less)
    rows = "rows for the features beside their own"
    yield Trial(lambda: Finding.below(e.built("narrow"), EXACT, what), without=rows)


@claim(
    "heads-necessary",
    "Fewer heads than features cannot preprocess exactly, whatever their weights; as many can.",
    f"proved in theory/sparse/head_count, after {CZZ}; by how much fewer miss it is observed here",
    *(place(d, 1, 2 * d) for d in (2, 3, 4)),
)
def _heads(e: Evidence) -> Trials:
    d = e.problem.d
    built = e.mismatch(d)
    noisy = [Hypothesis("labels with noise", e.problem.noise > 0.0)]
    for heads in range(1, d):

        def least(heads: int = heads) -> Finding:
            what = f"d = {d}: least mismatch that is found, of {heads} {'head' if heads == 1 else 'heads'}"
            return Finding.above(e.mismatch(heads), MISMATCH, what)

        yield Trial(least, supposes=noisy)

    what = f"d = {d}: mismatch of the {d} heads of the construction"
    yield Trial.of(Finding.below(built, EXACT, what))
    yield Trial.of(Finding.above(built, MISMATCH, what), without="fewer heads than features")


@claim(
    "depth",
    "Eight steps of P2O, of size 1 over the largest eigenvalue, beat ridge; two do not if n is large.",
    OBSERVED,
    *(place(d, n=n) for d, n in ((16, 256), (16, 80), (16, 64), (64, 128))),
    place(64, 4, 128, 0.01),
)
def _depth(e: Evidence) -> Trials:
    p = e.problem
    where, found = named(p, "d", "n", "noise"), e.steps
    two, eight = (int(np.flatnonzero(found.tuning.steps == t)[0]) for t in _STEPS)
    known = found.tuning.known if p.isotropic else None
    supposes = hypotheses.deep(p)
    deep = found.ratio("p2o_steps", "ridge", eight, known)
    yield below(where, deep, 1.0, supposes, "P2O after 8 steps / ridge")
    shallow = found.ratio("p2o_steps", "ridge", two, known)
    yield above(where, shallow, 1.0, hypotheses.shallow(p), "P2O after 2 steps / ridge")
    what = "P2O after 3 steps / GD, each at its best step for all prompts"

    def fixed() -> Finding:
        found = e.fixed_steps
        return Finding.below(found.mean, 1.0, f"{where}: {what}", found.se)

    yield Trial(fixed, (), supposes, without="a step for each prompt")
