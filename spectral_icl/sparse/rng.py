"""What a seed may be: every function of this room that draws takes ``rng``, and hands it to one of these."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import ProblemError, integer

Random = np.random.Generator | int | None

_LARGEST = 2**63


def generator(rng: Random) -> np.random.Generator:
    """The generator that ``rng`` stands for.

    Parameters
    ----------
    rng : Generator or int, optional
        A generator, which goes on from where it is; the seed of a new one; or None for one that nobody can
        repeat.

    Raises
    ------
    ProblemError
        ``rng`` is none of these.
    """
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    return np.random.default_rng(seed(rng))


def seed(rng: Random) -> int:
    """Seed that ``rng`` is, or one drawn with a generator: for work that is to repeat the same draws."""
    if rng is None or isinstance(rng, np.random.Generator):
        return int(np.random.default_rng(rng).integers(_LARGEST // 2))
    try:
        return integer("rng", rng, minimum=0, maximum=_LARGEST)
    except ProblemError as error:
        raise ProblemError("rng", rng, f"{error.expected}, or a numpy.random.Generator") from None
