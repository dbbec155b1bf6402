"""What is varied about a problem to see where a claim about sparse regression stops, claim by claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from spectral_icl.io.checks import ProblemError
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.examine import Weighed, weigh
from spectral_icl.theorems.margins import Ground, Variable, with_base
from spectral_icl.theorems.sparse.claims.registry import CLAIMS
from spectral_icl.theorems.sparse.evidence import Evidence, Kept

SAMPLED_PROMPTS = 100  # at every point of a page, unless a claim is not decided by them
_DOUBLINGS = 2  # of these prompts
_HALVINGS = 3  # of the interval in which a border is, unless every point is a family of problems


class Kind(NamedTuple):
    """A variable whatever its value at the base: its words, and its values there."""

    label: str
    symbol: str
    values: Callable[[float, int], Any]
    whole: bool = False


def _about(low: float, high: float, least: float = 0.0) -> Callable[[float, int], Any]:
    """Values spread evenly on a logarithmic scale, from ``low`` to ``high`` times that of the base."""

    def values(base: float, points: int) -> Any:
        about = base or 1.0  # there may be no noise
        return np.geomspace(max(least, about * low), max(least, about * high), points)

    return values


KINDS = {
    "n": Kind("context pairs", "n", _about(1.0 / 16.0, 8.0, 2.0), True),
    "d": Kind("features", "d", _about(1.0 / 8.0, 4.0, 2.0), True),
    "s": Kind("nonzero weights", "s", _about(1.0 / 4.0, 16.0, 1.0), True),
    "noise": Kind("variance of the noise", "sigma^2", _about(1e-2, 1e2)),
    "correlation": Kind("correlation", "rho", lambda base, points: np.linspace(0.0, 0.97, points)),
    "support_variance": Kind("variance on the support", "v_s", _about(0.05, 1.0)),
}


class Choice(NamedTuple):
    """What is varied for a claim: variables, two that span the plane, and values of each."""

    variables: tuple[str, ...] = ("n", "d", "s", "noise", "correlation")
    plane: tuple[str, ...] = ("n", "s")
    points: int = 7


# A claim that is not here has the defaults. Families of problems are simulated whole at every point.
CHOICES = {
    "ridge-domination": Choice(("n", "d", "noise", "correlation"), ("n", "d")),
    "lasso": Choice(("n", "d", "s", "noise"), points=5),
    "exponents": Choice(("noise",), (), 2),
    "memorisation": Choice(("noise",), (), 2),
    "snr": Choice(plane=("n", "noise")),
    "correlated-design": Choice(plane=("n", "correlation")),
    "low-variance-support": Choice(("n", "d", "s", "noise", "support_variance"), ("n", "support_variance")),
}


def choice_of(name: str) -> Choice:
    """What is varied for the claim of that name."""
    return CHOICES.get(name, Choice())


def base_of(name: str) -> SparseProblem:
    """The problem in the middle of the places that document the claim of that name."""
    places = CLAIMS[name].places
    return places[len(places) // 2]


def ground(
    name: str,
    base: SparseProblem,
    prompts: int = SAMPLED_PROMPTS,
    seed: int = 0,
    points: int | None = None,
) -> Ground[SparseProblem]:
    """A problem and all that is varied about it to test the claim of that name.

    Parameters
    ----------
    name : str
    base : SparseProblem
    prompts : int
        To simulate at every point, >= 100; more where the claim is within three standard errors of its bound.
    seed : int
    points : int, optional
        Of a variable; as the claim affords by default.
    """
    claim, chosen, kept = CLAIMS[name], choice_of(name), Kept()

    def weighed(at: SparseProblem) -> list[Weighed]:
        return weigh(claim, Evidence(at, prompts, seed, kept).growing(_DOUBLINGS))

    count = chosen.points if points is None else points
    found = tuple(_variable(one, base, count) for one in chosen.variables)
    halvings = _HALVINGS if claim.anywhere else 0
    return Ground(base, weighed, found, chosen.plane, 2, halvings)


def _variable(name: str, base: SparseProblem, points: int) -> Variable[SparseProblem]:
    kind, value = KINDS[name], float(getattr(base, name))
    values = np.asarray(kind.values(value, points))
    if kind.whole:
        values = np.unique(np.round(values))

    def at(problem: SparseProblem, to: float) -> SparseProblem:
        changed: dict[str, Any] = {name: round(to) if kind.whole else to}
        return replace(problem, **changed)

    def exists(to: float) -> bool:
        try:
            at(base, to)
        except ProblemError:  # fewer features than weights, or a prompt that does not fit into memory
            return False
        return True

    found = with_base(filter(exists, values.tolist()), value)
    return Variable(name, kind.label, kind.symbol, value, found, at, kind.whole)
