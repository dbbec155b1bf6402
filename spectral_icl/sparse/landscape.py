"""Where preprocess-then-optimize wins, by theory: risks along n, d, s and noise, and over a plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, choice
from spectral_icl.kernels.threads import available_cores, one_thread
from spectral_icl.sparse.methods import USUAL, best_risks
from spectral_icl.sparse.problem import (
    LARGEST_PROMPT,
    LOUDEST,
    MOST_FEATURES,
    SparseProblem,
)
from spectral_icl.sparse.risk.best import Best, p2o_curve
from spectral_icl.sparse.rng import Random
from spectral_icl.sparse.rng import seed as seed_of
from spectral_icl.sparse.simulation import ROUNDING
from spectral_icl.sparse.tuning import Tuning

AXES = ("n", "d", "s", "noise")

_POINTS, _DRAWS = 13, 96
_COLUMNS, _ROWS, _FEW = 13, 9, 32
_SPAN = {"n": 16.0, "d": 8.0, "noise": 32.0}  # either side of the problem's own
_FAINTEST = 1e-300  # noise
_COUPLED = 256  # nonzero weights: with more, a point takes minutes


@dataclass(frozen=True, eq=False)
class Family:
    """Best risks along one parameter.

    Attributes
    ----------
    axis : str
    x : ndarray, (P,)
    risks : mapping of str to ndarray, (P,)
        Of every method that has a theory, `methods.USUAL`; infinite or NaN where it has none.
    """

    axis: str
    x: Floats
    risks: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Phase:
    """Risk of P2O over that of ridge, both at their best.

    Attributes
    ----------
    n, s : ndarray, (C,) and (R,)
    ratio : ndarray, (R, C)
        NaN where ridge has no theory, or no risk.
    """

    n: Floats
    s: Floats
    ratio: Floats


def family(problem: SparseProblem, axis: str, rng: Random = 0) -> Family:
    """Best risks of all methods along ``axis``, through an isotropic problem with noise.

    Parameters
    ----------
    problem : SparseProblem
    axis : {"n", "d", "s", "noise"}
    rng : Generator or int, optional
        Source of the draws of r, or its seed; the draws are the same for all points.

    Raises
    ------
    ProblemError
        The problem is not isotropic, where ridge has no theory, or has no noise.
    """
    choice("axis", axis, AXES)
    _check(problem)
    x = _values(problem, axis, _POINTS)
    rows = list(_bests([_with(problem, axis, value) for value in x.tolist()], _DRAWS, seed_of(rng)))
    risks = {name: np.array([row[name].risk for row in rows]) for name in USUAL}
    return Family(axis, x, risks)


def phase(problem: SparseProblem, rng: Random = 0, advance: Callable[[int], object] | None = None) -> Phase:
    """Ratio of the best risks of P2O and ridge on the plane of n and s through an isotropic problem.

    Parameters
    ----------
    problem : SparseProblem
    rng : Generator or int, optional
        Source of the draws of r, or its seed; the draws are the same for all points.
    advance : callable, optional
        Told 1 after every point.

    Raises
    ------
    ProblemError
        The problem is not isotropic, where ridge has no theory, or has no noise.
    """
    _check(problem)
    p = problem
    n, s = _values(p, "n", _COLUMNS), _values(p, "s", _ROWS)
    ratio = []
    points = [replace(p, n=int(column), s=int(row)) for row in s.tolist() for column in n.tolist()]
    for found in _bests(points, _FEW, seed_of(rng)):
        p2o, ridge = found["p2o"].risk, found["ridge"].risk
        ratio.append(p2o / ridge if ridge > ROUNDING * p.signal else np.nan)
        if advance is not None:
            advance(1)
    return Phase(n, s, np.reshape(ratio, (s.size, n.size)))


def _check(problem: SparseProblem) -> None:
    """Raise if a problem is not isotropic, or has no noise: all methods need a theory, and all a best."""
    if not problem.isotropic:
        raise ProblemError("problem", problem, "isotropic features: ridge has no theory for others")
    if problem.noise == 0.0:
        raise ProblemError("problem", problem, "noise > 0: without it nothing needs to be tuned")


def _bests(problems: Sequence[SparseProblem], draws: int, seed: int) -> Iterator[Mapping[str, Best]]:
    """Best risks by theory of one problem after another, several at a time, all with the same draws."""

    def best(problem: SparseProblem) -> Mapping[str, Best]:
        tuning = Tuning.of(problem)
        return best_risks(problem, tuning, p2o_curve(problem, tuning.p2o, draws, seed))

    with one_thread(), ThreadPoolExecutor(available_cores()) as pool:
        yield from pool.map(best, problems)


def _with(problem: SparseProblem, axis: str, value: float) -> SparseProblem:
    """The problem with another n, d, s or noise."""
    return SparseProblem.from_dict({**problem.to_dict(), axis: value if axis == "noise" else int(value)})


def _values(problem: SparseProblem, axis: str, count: int) -> Floats:
    """Values along an axis, around that of the problem, as far as problems go."""
    p, own = problem, float(getattr(problem, axis))
    if axis == "noise":
        least, most = max(own / _SPAN[axis], _FAINTEST), min(own * _SPAN[axis], LOUDEST)
        return np.geomspace(least, most, count)
    least, most = {
        "s": (1.0, float(min(p.d, max(p.s, _COUPLED)))),
        "n": (max(4.0, own / _SPAN["n"]), min(own * _SPAN["n"], LARGEST_PROMPT // p.d)),
        "d": (max(float(p.s), own / _SPAN["d"]), min(own * _SPAN["d"], LARGEST_PROMPT // p.n, MOST_FEATURES)),
    }[axis]
    return _whole(least, max(least, most), count)


def _whole(start: float, stop: float, count: int) -> Floats:
    """Whole numbers in nearly equal ratios, at most ``count`` of them."""
    return np.unique(np.round(np.geomspace(start, stop, count)))
