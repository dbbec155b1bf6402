"""How losses scale with the length, the dimension, the signal-to-noise ratio and the number of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spectral_icl.io.checks import LARGEST, Floats
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask import initial
from spectral_icl.multitask.optimal.benchmarks import single_head
from spectral_icl.multitask.optimal.exponents import of_losses
from spectral_icl.multitask.problem import LARGEST_BLOCK, Problem
from spectral_icl.theorems.claim import Finding, Trial, Trials
from spectral_icl.theorems.multitask.claims.registry import CSWY, claim
from spectral_icl.theorems.multitask.evidence import Evidence
from spectral_icl.theorems.multitask.families import repeated

FACTORS = (1, 2, 4)  # of a variable, of which a line through the logarithms has the exponent
LIMIT, ONE_HEAD = "the limit", "one head"
EXPONENT = 2e-3  # absolute error of an exponent
_PATH = (
    129  # problems between, since the exponents of one head have kinks, where a task begins to have a share
)
MOST = 64  # entries I H, the numbers of tasks and heads of the problem
SCALE, MARGIN = 1e-3, 1.0  # of the starts of the flows


@claim(
    "scaling-losses",
    "Over a factor of four in the length, the dimension or the signal-to-noise ratio the excess of the "
    "flow's limit, from small dominated starts that are made for it, and of the best single head, has the "
    "exponents -l, l and -l / (1 + SNR), l being the share of the signal that is learned, and l and "
    "l / (1 + SNR) being averaged over tasks by excess; in the number of equal tasks 1, and 1 + l.",
    f"{CSWY} for long prompts, l = 1; local exponents derived",
)
def _scaling(e: Evidence) -> Trials:
    few = Hypothesis(
        f"there are at most {MOST} pairs of a task and a head", e.problem.tasks * e.heads <= MOST
    )
    small = max(e.problem.block_sizes) * FACTORS[-1] <= LARGEST_BLOCK
    short = FACTORS[-1] <= e.problem.context_length <= LARGEST / FACTORS[-1]
    room = Hypothesis("four times the length and the dimension, and a fourth, is in range", small and short)
    needs = [e.disjoint, e.enough_heads, few, room, e.balanced, e.closed_form]
    if not all(needs):
        yield Trial(lambda: Finding.zero(np.nan, 1.0, ""), needs)
        return
    trained = _trained(e, e.problem, 1)
    families = {
        name: [
            trained,
            *(_trained(e, change(e.problem, k), k if name == "tasks" else 1) for k in FACTORS[1:]),
        ]
        for name, change in _CHANGES.items()
    }

    def measure() -> Finding:
        found = []
        for name, family in families.items():
            limits = [one.reducible(one.flow.final_task_loss) for one in family]
            found.append(_exponent(name, LIMIT, family, limits))
            if e.of_paper:  # under other laws one head is searched, which takes long
                singles = [one.reducible(single_head(one.problem).task_loss) for one in family]
                found.append(_exponent(name, ONE_HEAD, family, singles))
        return min(found, key=lambda finding: finding.margin)

    met = all(all(one.theorem) and one.rests for family in families.values() for one in family)
    converge = Hypothesis("flows from small dominated starts come to rest", met)
    yield Trial(measure, needs, supposes=[e.of_paper, converge])


def _trained(e: Evidence, problem: Problem, copies: int) -> Evidence:
    """The evidence of another problem of the family, from a small dominated start, with heads to spare."""
    heads = e.heads + (copies - 1) * e.problem.tasks
    start = initial.dominant(problem, heads, SCALE, MARGIN)
    return replace(e, problem=problem, start=start, t_end=None)


def _exponent(name: str, whose: str, family: list[Evidence], excess: list[Floats]) -> Finding:
    """The exponent over a family, against the mean of the local ones, by Simpson's rule."""
    from scipy.integrate import simpson  # slow to import, and only needed here

    if whose == LIMIT:
        between = [_local(name, whose, one.problem, v) for one, v in zip(family, excess, strict=True)]
    else:
        problems = (_between(name, family[0].problem, share) for share in np.linspace(0.0, 1.0, _PATH))
        between = [_local(name, whose, p, single_head(p).task_loss - np.asarray(p.noise)) for p in problems]
    predicted = float(simpson(between, dx=1.0 / (len(between) - 1)))
    totals = [float(v.sum()) for v in excess]
    measured = float(np.log(totals[-1] / totals[0]) / np.log(FACTORS[-1]))
    what = f"exponent of the excess of {whose} in the {name}, within {EXPONENT:g}"
    return Finding.near(measured, predicted, EXPONENT, what)


def _local(name: str, whose: str, problem: Problem, excess: Floats) -> float:
    """The exponent that the theory says."""
    local = of_losses(problem.power, np.asarray(problem.noise), excess)
    in_tasks = 1.0 if whose == LIMIT else 1.0 - local.length
    by_name = {"length": local.length, "dimension": local.dimension, "signal-to-noise ratio": local.snr}
    return by_name.get(name, in_tasks)


def _between(name: str, problem: Problem, share: float) -> Problem:
    """A problem on the way of a variable, by a share of its logarithm, with the local exponents of one head.

    Sizes and tasks are whole numbers, but one head has these exponents by d / L and by the number of copies
    over L alone.
    """
    factor = FACTORS[-1] ** share
    if name == "signal-to-noise ratio":
        return replace(problem, noise=tuple(noise / factor for noise in problem.noise))
    length = problem.context_length * (factor if name == "length" else 1.0 / factor)
    return replace(problem, context_length=length)


_CHANGES: dict[str, Callable[[Problem, int], Problem]] = {
    "length": lambda p, k: replace(p, context_length=k * p.context_length),
    "dimension": lambda p, k: replace(p, block_sizes=tuple(k * size for size in p.block_sizes)),
    "signal-to-noise ratio": lambda p, k: replace(p, noise=tuple(noise / k for noise in p.noise)),
    "tasks": lambda p, k: repeated(p, k * p.tasks),
}
