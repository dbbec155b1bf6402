"""Partitions of the features, a group for each head that is to preprocess them."""

from __future__ import annotations

from collections.abc import Sequence

from spectral_icl.io.checks import ProblemError, integer, sequence


def partition(groups: Sequence[Sequence[int]], d: int, expected: str) -> list[list[int]]:
    """The members of every group, in the order given, of which each feature 0 to d - 1 is in exactly one.

    Raises
    ------
    ProblemError
        ``groups`` is not what is ``expected``, or has a member that is no feature.
    """
    members = [
        [integer(f"groups[{g}]", j, minimum=0, maximum=d - 1) for j in sequence("groups", group, expected)]
        for g, group in enumerate(sequence("groups", groups, expected))
    ]
    if sorted(j for group in members for j in group) != list(range(d)):
        raise ProblemError("groups", groups, expected)
    return members
