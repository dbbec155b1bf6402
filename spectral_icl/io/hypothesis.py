"""A hypothesis of a claim: its words, and whether it is met."""

from __future__ import annotations

from typing import NamedTuple


class Hypothesis(NamedTuple):
    """A condition in words and whether it is met; true in a test if it is.

    Attributes
    ----------
    text : str
        The condition, as a reader is told of it.
    met : bool
    """

    text: str
    met: bool

    def __bool__(self) -> bool:
        return bool(self.met)
