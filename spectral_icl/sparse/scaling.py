"""How the risk of preprocess-then-optimize scales with d, n and s: simulated exponents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from spectral_icl.io.checks import ProblemError, choice, integer, number, sequence
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.rng import Random
from spectral_icl.sparse.rng import seed as seed_of
from spectral_icl.sparse.simulation import Estimate, Simulation, simulate
from spectral_icl.sparse.tuning import Tuning

AXES = ("d", "s", "n")
PARTS = ("p2o", "p2o_support", "p2o_off")


@renamed(seed="rng")
def scaling_exponent(
    axis: str,
    values: Sequence[int],
    problem: SparseProblem,
    part: str = "p2o_off",
    time: float = 8.0,
    prompts: int = 400,
    rng: Random = 0,
) -> Estimate:
    """Slope of log risk over the logarithm of d, s or n, by weighted least squares on simulated risks.

    Of features without weight, d counts those alone: d - s.

    Parameters
    ----------
    axis : {"d", "s", "n"}
    values : sequence of int
        At least two; the other parameters are those of ``problem``.
    problem : SparseProblem
    part : {"p2o", "p2o_support", "p2o_off"}
        The whole risk, or that of features with weight or without.
    time : float
        Of the flow, in units of s/v.
    prompts : int
        At the largest value; smaller n and d, which cost less, get more.
    rng : Generator or int, optional
        Source of the prompts, or its seed.

    Returns
    -------
    Estimate
        The slope and its standard error.

    Raises
    ------
    ProblemError
        An argument is malformed.
    """
    choice("axis", axis, AXES)
    choice("part", part, PARTS)
    time = number("time", time, minimum=0.0, above=True)
    prompts = integer("prompts", prompts, minimum=2, maximum=10**6)
    seed = seed_of(rng)
    sizes = [
        integer(f"values[{k}]", x, minimum=1, maximum=10**7)
        for k, x in enumerate(sequence("values", values, "sizes"))
    ]
    if len(set(sizes)) < 2:
        raise ProblemError("values", values, "at least two different values")
    if axis == "d" and part == "p2o_off" and min(sizes) <= problem.s:
        raise ProblemError("values", values, f"numbers above s = {problem.s}: others have no such features")
    if axis == "s" and part == "p2o_off" and max(sizes) >= problem.d:
        raise ProblemError("values", values, f"numbers below d = {problem.d}: others have no such features")
    points = []
    for k, size in enumerate(sizes):
        at = SparseProblem.from_dict({**problem.to_dict(), axis: size})
        count = prompts if axis == "s" else prompts * max(sizes) // size
        found = _simulated(at, time * at.s / at.v, count, seed + k)
        points.append((size - at.s if axis == "d" and part == "p2o_off" else size, *found.at_best(part)))
    x, mean, error = np.array(points).T
    weight = mean / error  # np.polyfit would scale the columns first, which moves the last digit
    design = np.column_stack([np.ones_like(x), np.log(x)]) * weight[:, None]
    solution, *_ = np.linalg.lstsq(design, np.log(mean) * weight)
    return Estimate(float(solution[1]), float(np.sqrt(np.linalg.inv(design.T @ design)[1, 1])))


@lru_cache(maxsize=16)
def _simulated(problem: SparseProblem, time: float, prompts: int, seed: int) -> Simulation:
    """Simulation of all parts on the same prompts: whoever asks for one often asks for another."""
    return simulate(problem, PARTS, prompts, seed, Tuning.of(problem, time))
