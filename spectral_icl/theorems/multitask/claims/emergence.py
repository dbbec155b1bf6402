"""How short an emergence is beside the warm-up before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.flow.emergence import size_of_start
from spectral_icl.multitask.flow.width import emergence_widths
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import Finding, Trial, Trials
from spectral_icl.theorems.multitask import measured
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.claims.relaxation import emerged, few
from spectral_icl.theorems.multitask.evidence import Evidence

FACTORS = (1 / 4, 1 / 16, 1 / 64)  # of the start
START = 0.05  # size of a start up to which its smaller copies are near the limit of small ones
OUTGROWN = 0.5  # size of a start over the least lead, up to which rivals are left behind
EXPONENT = 0.02  # error of the exponent of width over time,
WIDTH = 0.02  # and of the width itself, relative
MOST = 400  # omega and mu of a flow that is solved again for every factor


@claim(
    "emergence-width",
    "The warm-up is slow and the emergence short: width over time falls in proportion to the start, and the "
    "width is that of a lone head's curve.",
    f"{CSWY}, who say so of the phases; exponent and width are derived here",
)
def _width(e: Evidence) -> Trials:
    def measure() -> Finding:
        widths, times = [], []
        for factor in FACTORS:
            smaller = replace(e, start=State(*(factor * values for values in e.start)))
            widths.append(measured.widths(smaller))
            times.append([task.time for task in smaller.flow.phases.tasks])
        seen, ratios = np.array(widths[-1]), np.array(widths) / np.array(times)
        exponents = np.log(ratios[0] / ratios[-1]) / np.log(FACTORS[0] / FACTORS[-1])
        predicted = emergence_widths(e.problem, e.flow.key_scale)
        found = [
            Finding.agreement(
                float(exponent), 1.0, EXPONENT, f"exponent of width over time of task {i}, the worst"
            )
            for i, exponent in enumerate(exponents)
        ]
        found += [
            Finding.agreement(
                float(width), float(lone), WIDTH, f"width of the emergence of task {i}, the worst"
            )
            for i, (width, lone) in enumerate(zip(seen, predicted, strict=True))
        ]
        worst = min(found, key=lambda finding: finding.margin)
        ratio = float(ratios[-1].max())
        return replace(
            worst,
            what=f"{worst.what}, within {EXPONENT:g}; ratio {ratio:.1e} at {FACTORS[-1]:g} of the start",
        )

    size = size_of_start(e.problem, e.start, e.flow.key_scale) if e.disjoint else np.inf
    small = Hypothesis(f"the start is small, of size at most {START:g}", size <= START)
    needs = [e.disjoint, few(e, MOST), emerged(e)]
    yield Trial(measure, needs, [e.enough_heads, *e.theorem, small, outgrown(e), e.of_paper])


def outgrown(e: Evidence) -> Hypothesis:
    """Every leader is so far ahead that at its emergence it is as good as alone.

    Weights grow as the reciprocal of the time that they still have: a rival that trails by a small lead has
    the part size / lead of the leader's weights when that emerges.
    """
    met = False
    if e.problem.home is not None and e.dominated:
        ahead = np.abs(e.start.omega[:, list(e.problem.home)] * e.start.mu)
        second, first = np.sort(np.vstack([np.zeros_like(ahead[:1]), ahead]), axis=0)[-2:]
        size = size_of_start(e.problem, e.start, e.flow.key_scale)
        met = bool((size * second <= OUTGROWN * (first - second)).all())
    return Hypothesis(f"the start is small against the leads, at most {OUTGROWN:g} of each", met)
