"""What a sweep has to know of its points, whatever they are: the interface of every kind of points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from numpy.typing import NDArray

from spectral_icl.io.checks import Floats

INVALID = 100  # status of a point whose values do not fit together
SOLVED = (0, 1)  # and of one that was solved; the kind of the points says what others mean

Results = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Variable:
    """One result: its dimensions beside the points, its type, what stands for "none", and what it is."""

    dims: tuple[str, ...]
    dtype: str
    fill: float | int
    long_name: str


@dataclass(frozen=True, eq=False)
class Record:
    """What is stored of every point beside what always is.

    Attributes
    ----------
    times : ndarray, or None
        Where along the dimension "time" curves are stored, if there are any.
    """

    times: Floats | None = None

    def to_dict(self) -> dict[str, Any]:
        """The ``[record]`` table, everything written out; empty if there is nothing to choose."""
        return {}


class Limit(NamedTuple):
    """A result that says that a solved point does not count: above ``most`` it does not, for ``reason``."""

    name: str
    most: float
    reason: str


Point = TypeVar("Point")
Recorded = TypeVar("Recorded", bound=Record)


class Kind(ABC, Generic[Point, Recorded]):
    """A kind of points: what their file is, and how they are solved.

    Attributes
    ----------
    name : str
        What a file of it is called in an error line.
    sections : tuple of str
        Tables of the file.
    subject : str
        The one that is worth sharing: points with the same one may be made of each other.
    seed : (str, str)
        Section and key of the seed that replicates draw.
    replicated : str
        The path of that seed, and which files have it.
    reserved : frozenset of str
        Names of results, which no dimension may take.
    headline : str
        The result whose range is told as points are solved.
    limit : Limit, or None
    least : int
        Points in a batch, unless the file says otherwise or there are fewer.
    """

    name: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    subject: ClassVar[str]
    seed: ClassVar[tuple[str, str]]
    replicated: ClassVar[str]
    reserved: ClassVar[frozenset[str]]
    headline: ClassVar[str]
    limit: ClassVar[Limit | None] = None
    least: ClassVar[int]

    @abstractmethod
    def fields(self, section: str, base: Mapping[str, Any]) -> set[str]:
        """The keys of a section that are numbers or lists of them, for a file with the tables ``base``."""

    @abstractmethod
    def point(self, table: Mapping[str, Any], like: Point | None = None) -> Point:
        """The point of a file, made of the parts of one with the same subject if there is one.

        Raises
        ------
        ProblemError
            Naming the dotted path of the first wrong entry, its value and what was expected.
        """

    @abstractmethod
    def settled(self, table: Mapping[str, Any], point: Point) -> dict[str, Any]:
        """The tables of a point, defaults filled in.

        Raises
        ------
        ProblemError
            An entry means nothing in a sweep.
        """

    @abstractmethod
    def record(self, given: object) -> Recorded:
        """The ``[record]`` table of a file, {} if it has none.

        Raises
        ------
        ProblemError
            It is malformed.
        """

    @abstractmethod
    def extents(self, first: Point, base: Mapping[str, Any], largest: Mapping[str, float]) -> dict[str, int]:
        """Sizes of the dimensions that results have beside point and time, enough for every point.

        Parameters
        ----------
        first : Point
            The first point.
        base : mapping
            Its tables.
        largest : mapping of str to float
            The largest value of every path that varies.
        """

    @abstractmethod
    def variables(self, record: Recorded, base: Mapping[str, Any]) -> dict[str, Variable]:
        """What is found for every point, without its status."""

    @abstractmethod
    def solve(
        self, found: Results, members: Sequence[tuple[int, Point]], record: Recorded, threads: int | None
    ) -> None:
        """Put the results of points, and their status, into their rows of ``found``.

        The results of a point must not depend on the others, nor on the number of threads.

        Parameters
        ----------
        found : dict of str to ndarray
            Rows of "none" for all `variables`, and of `INVALID` for "status".
        members : sequence of (int, Point)
            Row and point.
        record : Record
        threads : int, optional
        """

    @abstractmethod
    def outcome(self, status: int) -> tuple[str, str]:
        """Name of a status other than `INVALID`, and what to do about it."""
