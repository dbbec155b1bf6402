"""What is varied about a base to see where a claim about softmax attention stops, claim by claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spectral_icl.multitask.context import pack
from spectral_icl.theorems.examine import Weighed, weigh
from spectral_icl.theorems.margins import Ground, Variable, with_base
from spectral_icl.theorems.multitask import setting
from spectral_icl.theorems.multitask.check import PROMPTS, claims_about
from spectral_icl.theorems.multitask.setting import Change, Reading, Setting

SAMPLED_PROMPTS = PROMPTS // 4  # at every point of a page; more if they do not decide
_FINE, _ROUGH = 6, 3  # halvings of the interval in which a border is


class Kind(NamedTuple):
    """A variable whatever its value at the base.

    Attributes
    ----------
    label, symbol : str
    read, change : callable
    low, high : float
        Its ends over its value at the base, or of a whole number that is counted, added to that.
    least : float
        Smallest value that there can be.
    whole, counted : bool
        Whether it is a whole number, and if so, one of which each is looked at.
    """

    label: str
    symbol: str
    read: Reading
    change: Change
    low: float
    high: float
    least: float = 0.0
    whole: bool = False
    counted: bool = False

    def values(self, base: float, points: int) -> tuple[float, ...]:
        """Sorted values about that of the base, ``points`` or up to three more."""
        if self.counted:
            first, last = max(self.least, base + self.low), base + self.high
            found = np.unique(np.round(np.linspace(first, last, min(points, round(last - first) + 1))))
        else:
            found = np.geomspace(max(self.least, base * self.low), base * self.high, points)
            found = np.unique(np.round(found)) if self.whole else found
        return with_base(found.tolist(), base)


KINDS = {
    "length": Kind("context length", "L", setting.length, setting.with_length, 0.02, 50.0, 1.0, True),
    "dimension": Kind(
        "size of a task", "d", setting.dimension, setting.with_dimension, 0.05, 20.0, 1.0, True
    ),
    "tasks": Kind("number of tasks", "I", setting.tasks, setting.with_tasks, -8, 4, 1.0, True, True),
    "heads": Kind("number of heads", "H", setting.heads, setting.with_heads, -8, 4, 1.0, True, True),
    "snr": Kind("signal over noise", "SNR", setting.ratio, setting.with_ratio, 1e-4, 1e3),
    "size": Kind("size of the start", "s", setting.size, setting.with_size, 1e-3, 1e2),
    "lead": Kind("lead of a task's head", "m", setting.lead, setting.with_lead, 1e-4, 10.0),
    "imbalance": Kind("imbalance", "D", setting.imbalance, setting.with_imbalance, 1e-4, 1e4),
}
_PROBLEM = ("length", "dimension", "tasks", "snr")
_FLOW = ("length", "dimension", "snr", "size", "lead")
_SAMPLED = ("length", "dimension", "snr", "size")


class Choice(NamedTuple):
    """What is varied for a claim.

    Attributes
    ----------
    variables : tuple of str
        Those that a base lacks are left out.
    plane : tuple of str
        Two of them.
    points : int
        Of a variable; of the plane as many to a side.
    base : str
        Case of the documented suite that the claim is about; the first where it applies by default.
    costly : bool
        Whether a point takes long, so that borders are found more roughly, and half the values are in the
        plane.
    """

    variables: tuple[str, ...] = tuple(KINDS)
    plane: tuple[str, ...] = ("length", "size")
    points: int = 9
    base: str = ""
    costly: bool = False


# A claim that is not here has the defaults. Some do not depend on the start, some are sampled or searched.
CHOICES = {
    "decomposability-preserved": Choice(_SAMPLED, points=5, costly=True),
    "sign-conservation": Choice(costly=True),
    "imbalance-conservation": Choice(costly=True),
    "three-phases": Choice(plane=("lead", "size")),
    "single-vs-multi": Choice(_PROBLEM, ("dimension", "length")),
    "head-budget": Choice((*_PROBLEM, "heads"), ("length", "snr"), points=5, costly=True),
    "escape-rate": Choice(plane=("imbalance", "size"), base="two equal tasks, imbalanced"),
    "kernel-validity": Choice(_SAMPLED, ("length", "dimension"), points=5, costly=True),
    "length-generalisation": Choice(_SAMPLED, ("length", "dimension"), points=5, costly=True),
    "superposition": Choice(
        ("length", "dimension", "snr"), ("length", "snr"), 5, "overlapping tasks", costly=True
    ),
    "losing-heads": Choice(_FLOW, ("length", "snr")),
    "winner-rates": Choice(_FLOW, ("length", "snr")),
    "stray-decay": Choice(_FLOW, ("length", "snr")),
    "emergence-width": Choice(_FLOW, ("length", "size"), points=5, costly=True),
    "scaling-times": Choice(
        ("length", "dimension", "snr", "size"), ("length", "size"), points=3, costly=True
    ),
    "equality-within-blocks": Choice(_FLOW, ("lead", "size"), points=5, costly=True),
    "merged": Choice(_FLOW, ("length", "size"), points=5, base="two equal tasks, merged", costly=True),
    "escape-scaling": Choice(
        ("length", "snr", "size", "imbalance"),
        ("imbalance", "size"),
        points=3,
        base="two equal tasks, imbalanced",
        costly=True,
    ),
    "optimality-same-heads": Choice(plane=("length", "snr")),
    "optimality-one-sign": Choice((*_PROBLEM, "heads"), ("length", "snr"), points=5, costly=True),
    "separation-factor": Choice(_PROBLEM, ("dimension", "length"), points=5, costly=True),
    "single-head-optimum": Choice(_PROBLEM, ("length", "snr"), points=5, costly=True),
    "equiangular-heads": Choice(_PROBLEM, ("length", "snr"), points=5, costly=True),
    "kernel-smoother": Choice(_SAMPLED, ("length", "size"), points=5, costly=True),
    "bayes-comparison": Choice(_FLOW, ("length", "snr")),
    "scaling-losses": Choice(_PROBLEM, ("length", "snr"), points=5, costly=True),
}


def choice_of(name: str) -> Choice:
    """What is varied for the claim of that name."""
    return CHOICES.get(name, Choice())


def variables(base: Setting, chosen: Choice, points: int) -> tuple[Variable[Setting], ...]:
    """The chosen variables that the base has, each with the values at which the claim is tested."""
    found = []
    for name in chosen.variables:
        kind = KINDS[name]
        value = kind.read(base)
        if value is not None:
            values = kind.values(value, points)
            found.append(Variable(name, kind.label, kind.symbol, value, values, kind.change, kind.whole))
    return tuple(found)


def weigher(name: str, prompts: int, seed: int) -> Callable[[Setting], list[Weighed]]:
    """The claim of that name as a function of settings: its checks there."""

    def weighed(at: Setting) -> list[Weighed]:
        claim = claims_about(pack(at.problem, at.kernel))[name]
        return weigh(claim, [at.evidence(prompts, seed)])

    return weighed


def ground(
    name: str, base: Setting, prompts: int = SAMPLED_PROMPTS, seed: int = 0, points: int | None = None
) -> Ground[Setting]:
    """A base and all that is varied about it to test the claim of that name.

    Parameters
    ----------
    name : str
    base : Setting
    prompts : int
        To sample at every point, >= 100; more if they do not decide.
    seed : int
    points : int, optional
        Of a variable; as the claim affords by default.
    """
    chosen = choice_of(name)
    found = variables(base, chosen, chosen.points if points is None else points)
    plane = chosen.plane
    if not set(plane) <= {one.name for one in found}:
        plane = tuple(one.name for one in found[:2])
    weighed = weigher(name, prompts, seed)
    coarse, halvings = (2, _ROUGH) if chosen.costly else (1, _FINE)
    return Ground(base, weighed, found, plane, coarse, halvings)
