"""What a sweep has to know of its points, whatever they are: the interface of every kind of points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.io.toml import Tables
from spectral_icl.sweeps.labels import Labels, axis_label, short_label

if TYPE_CHECKING:
    from spectral_icl.sweeps.quantities import Sweep

# Statuses that mean the same for all points: nothing was computed yet, the values of the point do not fit
# together, it was solved. What others mean the points say (`Points.outcome`).
PENDING = -1
INVALID = 100
SOLVED = (0, 1)

Results = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Variable:
    """One result: its dimensions beside the points, its type, what stands for "none", and what it is."""

    dims: tuple[str, ...]
    dtype: str
    fill: float | int
    long_name: str


class Guard(NamedTuple):
    """Solved points that must not be trusted: those whose result ``name`` is above ``most``.

    Attributes
    ----------
    name : str
    most : float
    reason : str
        Ends the sentence "12 of the solved, the first is point 3: ...".
    legend : str
        Why figures leave them out.
    """

    name: str
    most: float
    reason: str
    legend: str


Point = TypeVar("Point")


class Points(ABC, Generic[Point]):
    """The points of a sweep: what their file is, what is recorded of them, and how they are solved.

    Attributes
    ----------
    name : str
        What a file of them is called in an error line.
    sections : tuple of str
        Tables of the file.
    shared_section : str
        The section that is expensive to build. Of consecutive points that agree in it, later ones are handed
        the object built for the first (``like`` of `point`).
    seed : (str, str)
        Section and key of the seed that replicates draw.
    replicated : str
        The path of that seed, and which files have it.
    results : mapping of str to Variable
        Every result that a sweep of such points may have; `variables` are those that this one has.
    headline : str
        The result whose range is told as points are solved.
    guard : Guard, or None
    least_batch : int
        Points in a batch, unless the file says otherwise or there are fewer.
    labels : mapping of str to Label
    sweep : type of Sweep
        What the results can show.
    times : ndarray, or None
        Where along the dimension "time" curves are recorded, if there are any.
    """

    name: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    shared_section: ClassVar[str]
    seed: ClassVar[tuple[str, str]]
    replicated: ClassVar[str]
    results: ClassVar[Mapping[str, Variable]]
    headline: ClassVar[str]
    guard: ClassVar[Guard | None] = None
    least_batch: ClassVar[int]
    labels: ClassVar[Labels]
    sweep: ClassVar[type[Sweep]]
    times: Floats | None = None

    @classmethod
    @abstractmethod
    def recording(cls, record: object) -> Self:
        """Points of which is recorded what a ``[record]`` table says, {} for a file that has none.

        Raises
        ------
        ProblemError
            The table is malformed.
        """

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """The ``[record]`` table, everything written out; empty if there is nothing to choose."""

    @classmethod
    @abstractmethod
    def numeric_keys(cls, section: str, base: Tables) -> set[str]:
        """The keys of a section that are numbers or lists of them, for a file with the tables ``base``."""

    @abstractmethod
    def point(self, table: Tables, like: Point | None = None) -> Point:
        """The point of a file; ``like`` is one with the same `shared_section`, to take parts from.

        Raises
        ------
        ProblemError
            Naming the dotted path of the first wrong entry, its value and what was expected.
        """

    @abstractmethod
    def settled(self, table: Tables, point: Point) -> dict[str, Any]:
        """The tables of a point, defaults filled in.

        Raises
        ------
        ProblemError
            An entry means nothing in a sweep.
        """

    @abstractmethod
    def extents(self, first: Point, base: Tables, largest: Mapping[str, float]) -> dict[str, int]:
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
    def variables(self, base: Tables) -> dict[str, Variable]:
        """The `results` that every point has, without its status, for a file with the tables ``base``."""

    @abstractmethod
    def solve(self, found: Results, members: Sequence[tuple[int, Point]], threads: int | None) -> None:
        """Put the results of points, and their status, into their rows of ``found``.

        The results of a point must not depend on the others, nor on the number of threads.

        Parameters
        ----------
        found : dict of str to ndarray
            Rows of "none" for all `variables`, and of `INVALID` for "status".
        members : sequence of (int, Point)
            Row and point.
        threads : int, optional
        """

    @abstractmethod
    def outcome(self, status: int) -> tuple[str, str]:
        """Name of a status other than `INVALID`, and what to do about it."""

    @classmethod
    def reserved(cls) -> set[str]:
        """Names that no dimension of a grid may take: those of all results and of their dimensions."""
        return {*cls.results, *(dim for variable in cls.results.values() for dim in variable.dims[1:])}

    @classmethod
    def label(cls, path: str, dimension: str = "", paths: Collection[str] = ()) -> str:
        """The text of an axis along a path, or along a ``dimension`` that varies all of ``paths``."""
        return axis_label(cls.labels, path, dimension)

    @classmethod
    def short(cls, path: str) -> str:
        """The text before a value of a path, as in H = 2."""
        return short_label(cls.labels, path)

    @classmethod
    def place(cls, path: str, value: float) -> str:
        """A place along an axis in words, such as H = 2."""
        return f"{cls.short(path)} = {value:.4g}"
