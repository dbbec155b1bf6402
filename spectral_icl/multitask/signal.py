"""The signal powers of many tasks in many blocks, of which most are zero: compressed rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from spectral_icl.io.checks import (
    LARGEST,
    PLAIN,
    Floats,
    ProblemError,
    floats,
    is_number,
    number,
    numbers,
    sequence,
    single,
)
from spectral_icl.io.text import abbreviated

if TYPE_CHECKING:
    from scipy.sparse import csr_array, sparray, spmatrix

Ints: TypeAlias = NDArray[np.int64]
Pair: TypeAlias = tuple[int, float]  # a block and the power in it
Row: TypeAlias = Sequence[float] | Sequence[Pair] | Sequence[Sequence[float]] | Mapping[int, float]
Signals: TypeAlias = "Signal | Sequence[Row] | NDArray[Any] | sparray | spmatrix"  # what `Signal.of` takes

SMALLEST = 1e-30  # positive magnitudes below this are typing errors, and their products would underflow
MOST_WRITTEN = 10_000  # entries I B up to which a signal is written row by row, zeros and all
_MOST_EXPANDED = 2**24  # entries of an array that zeros may fill: 128 MiB
_NUMBERS = "bBhHiIlLqQefd"  # types of arrays whose entries float64 holds, or that are past `LARGEST`


@dataclass(frozen=True, eq=False, repr=False)
class Signal(Sequence[tuple[float, ...]]):
    """Signal powers A_ib of I tasks in B blocks, of which only those that are positive are kept.

    It reads as the tuple of its dense rows: ``signal[i]`` has B entries, and it equals the tuple of tuples
    with the same numbers. `Signal.of` makes one of whatever stands for it; all that works on the nonzeros
    costs as much as there are of them.

    Attributes
    ----------
    first : ndarray of int64, (I + 1,)
        Where the nonzeros of each task begin: those of task i are ``first[i]`` to ``first[i + 1]``.
    block : ndarray of int64, (n,)
        The block of each nonzero, ascending within a task.
    power : ndarray, (n,)
        The power of each nonzero.
    blocks : int
        Number of blocks B.

    Raises
    ------
    ProblemError
        The arrays are no compressed rows with a positive power in each.

    Notes
    -----
    The hash is that of the dense rows up to 10,000 entries I B, beyond which it would take too long.
    """

    first: Ints
    block: Ints
    power: Floats
    blocks: int

    def __post_init__(self) -> None:
        kinds = {"first": np.int64, "block": np.int64, "power": np.float64}
        for name, kind in kinds.items():
            values = np.array(getattr(self, name), dtype=kind, order="C")
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if not self._sound():
            shapes = f"{self.first.size - 1} rows of {self.block.size} powers in {self.blocks} blocks"
            raise ProblemError("signal", shapes, "compressed rows with a positive power in each")

    def _sound(self) -> bool:
        first, block, power = self.first, self.block, self.power
        if not (first.ndim == block.ndim == power.ndim == 1 and first.size > 1 and block.size == power.size):
            return False
        if first[0] != 0 or first[-1] != power.size or (first[1:] <= first[:-1]).any():
            return False
        ascends = block[1:] > block[:-1]
        ascends[first[1:-1] - 1] = True  # from one row to the next
        within = block.min() >= 0 and block.max() < self.blocks
        return bool(within and ascends.all() and _fit(power).all())

    @classmethod
    def of(cls, value: object, blocks: int) -> Signal:
        """The signal that stands in a problem of so many blocks.

        Parameters
        ----------
        value : sequence of rows, array or sparse matrix, (I, B)
            A row has the powers in all blocks, or it has pairs (block, power), or it maps blocks to powers.
        blocks : int
            Number of blocks B.

        Raises
        ------
        ProblemError
            Naming the row or entry of ``signal``, what it is and what was expected.
        """
        if isinstance(value, Signal):
            if value.blocks != blocks:
                raise ProblemError("signal", f"rows of {value.blocks} numbers", f"rows of {blocks} numbers")
            return value
        if hasattr(value, "tocsr"):
            return _of_sparse(value, blocks)
        if type(value) is np.ndarray and value.ndim == 2 and len(value) and value.dtype.char in _NUMBERS:
            rows: Sequence[Any] = list(value)  # not lists: there may be many entries
            found = _of_dense(value.astype(np.float64), blocks)
        else:
            rows = sequence("signal", value, "one row of block powers per task")
            found = _at_once(rows, blocks)
        return _one_by_one(rows, blocks) if found is None else found

    @classmethod
    def disjoint(cls, powers: ArrayLike) -> Signal:
        """The signal of tasks that have a block each, in their order, with these powers (I,)."""
        power = np.asarray(powers, dtype=np.float64)
        return cls(np.arange(power.size + 1), np.arange(power.size), power, power.size)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of tasks and blocks (I, B)."""
        return len(self), self.blocks

    @property
    def entries(self) -> int:
        """Number of entries I B, zeros included."""
        return len(self) * self.blocks

    @cached_property
    def task(self) -> Ints:
        """The task of each nonzero, (n,)."""
        task = np.repeat(np.arange(len(self)), np.diff(self.first))
        task.setflags(write=False)
        return task

    @property
    def rows(self) -> tuple[tuple[Pair, ...], ...]:
        """The pairs (block, power) of every task."""
        pairs = list(zip(self.block.tolist(), self.power.tolist(), strict=True))
        first = self.first.tolist()
        return tuple(tuple(pairs[a:b]) for a, b in pairwise(first))

    def blocks_of(self, task: int) -> Ints:
        """The blocks in which a task has signal, ascending."""
        return self.block[self.first[task] : self.first[task + 1]]

    def alone(self, task: int) -> Signal:
        """The signal of one of the tasks, in all of the blocks."""
        at = slice(self.first[task], self.first[task + 1])
        return Signal(np.array([0, at.stop - at.start]), self.block[at], self.power[at], self.blocks)

    def within(self, blocks: Ints) -> Signal:
        """The signal in some of the blocks, ascending, where all of it is."""
        return Signal(self.first, np.searchsorted(blocks, self.block), self.power, blocks.size)

    def by_task(self, values: Floats) -> Floats:
        """Sums (I,) over the nonzeros of each task of ``values`` (n,)."""
        sums: Floats = np.bincount(self.task, weights=values, minlength=len(self)).astype(
            np.float64, copy=False
        )
        return sums

    def by_block(self, values: Floats) -> Floats:
        """Sums (B,) over the nonzeros in each block of ``values`` (n,)."""
        sums: Floats = np.bincount(self.block, weights=values, minlength=self.blocks).astype(
            np.float64, copy=False
        )
        return sums

    def onto_tasks(self, values: Floats) -> Floats:
        """Sums sum_b A_ib x_b (..., I) of values x (..., B)."""
        if self.entries <= MOST_WRITTEN:
            return np.asarray(values @ self.dense().T)
        rows = values.reshape(-1, self.blocks)
        return np.asarray((self.sparse() @ rows.T).T).reshape(*values.shape[:-1], len(self))

    def sparse(self) -> csr_array[np.float64]:
        """The powers as a `scipy.sparse.csr_array` of shape (I, B)."""
        from scipy.sparse import csr_array  # slow to import

        return csr_array((self.power.copy(), self.block.copy(), self.first.copy()), shape=self.shape)

    def dense(self, values: Floats | None = None) -> Floats:
        """The powers, or other values (n,) of the nonzeros, as an array (I, B) that zeros fill.

        Raises
        ------
        ProblemError
            It would have more than 2^24 entries.
        """
        if self.entries > _MOST_EXPANDED:
            found = f"{len(self)} tasks x {self.blocks} blocks"
            raise ProblemError("signal", found, f"at most {_MOST_EXPANDED} entries I B")
        filled = np.zeros(self.shape)
        filled[self.task, self.block] = self.power if values is None else values
        return filled

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a Signal has no dense array that could be shared")
        return self.dense().astype(dtype or np.float64, copy=False)

    def __len__(self) -> int:
        return self.first.size - 1

    @overload
    def __getitem__(self, index: int) -> tuple[float, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[float, ...], ...]: ...

    def __getitem__(self, index: int | slice) -> tuple[float, ...] | tuple[tuple[float, ...], ...]:
        found = range(len(self))[index]
        return self._row(found) if isinstance(found, int) else tuple(map(self._row, found))

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return map(self._row, range(len(self)))

    def _row(self, task: int) -> tuple[float, ...]:
        values = [0.0] * self.blocks
        for n in range(self.first[task], self.first[task + 1]):
            values[self.block[n]] = float(self.power[n])
        return tuple(values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Signal):
            same = zip(self._arrays, other._arrays, strict=True)
            return self.blocks == other.blocks and all(np.array_equal(a, b) for a, b in same)
        if isinstance(other, tuple):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        if self.entries <= MOST_WRITTEN:
            return hash(tuple(self))
        return hash((self.blocks, *(values.tobytes() for values in self._arrays)))

    @property
    def _arrays(self) -> tuple[Ints, Ints, Floats]:
        return self.first, self.block, self.power

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle through the constructor, which makes the arrays read-only again."""
        return Signal, (*self._arrays, self.blocks)

    def __repr__(self) -> str:
        """The dense rows as Python has them; those of a large signal as pairs, or cut short."""
        if self.entries <= MOST_WRITTEN:
            return repr(tuple(self))
        tasks, power = len(self), self.power.tolist()
        disjoint = self.shape == (len(power),) * 2 and np.array_equal(self.block, self.task)
        if disjoint and power.count(power[0]) == tasks:
            return f"tuple(((i, {power[0]!r}),) for i in range({tasks}))"
        return abbreviated(range(tasks), self._pairs_shown)

    def _pairs_shown(self, task: int) -> str:
        at = slice(self.first[task], self.first[task + 1])
        return abbreviated(list(zip(self.block[at].tolist(), self.power[at].tolist(), strict=True)))


def powers(argument: str, value: object, size: int) -> tuple[float, ...]:
    """``size`` powers, each 0 or at least `SMALLEST`; one number stands for all."""
    found = numbers(argument, value, size=size, minimum=0.0)
    for k, power in enumerate(found):
        if 0.0 < power < SMALLEST:
            name = argument if is_number(value) else f"{argument}[{k}]"
            raise _too_small(name, power)
    return found


def _too_small(argument: str, power: float) -> ProblemError:
    return ProblemError(argument, power, f"0 or a number >= {SMALLEST:g}")


def _power(argument: str, value: object) -> float:
    """One power, 0 or at least `SMALLEST`."""
    power = number(argument, value, minimum=0.0)
    if 0.0 < power < SMALLEST:
        raise _too_small(argument, power)
    return power


def _fit(power: Floats) -> NDArray[np.bool_]:
    """Which of the numbers are positive powers."""
    fit: NDArray[np.bool_] = (power >= SMALLEST) & (power <= LARGEST)
    return fit


def _compressed(task: Ints, block: Ints, power: Floats, shape: tuple[int, int]) -> Signal | None:
    """The signal of nonzeros in the order of tasks and blocks; None if a row has none or one is no power."""
    count = np.bincount(task, minlength=shape[0])
    if not (count.all() and _fit(power).all()):
        return None
    return Signal(np.concatenate([[0], np.cumsum(count)]), block, power, shape[1])


def _of_dense(values: Floats, blocks: int) -> Signal | None:
    """The signal of an array (I, B); None if anything is wrong with it, which has to be named then."""
    if values.shape[1] != blocks or not values.size:
        return None
    task, block = np.nonzero(values)
    return _compressed(task, block, values[task, block], (len(values), blocks))


def _of_sparse(matrix: Any, blocks: int) -> Signal:
    """The signal of a sparse matrix of SciPy's, or of one that becomes such."""
    shape = tuple(matrix.shape)
    if len(shape) != 2 or shape[1] != blocks or shape[0] == 0:
        raise ProblemError("signal", f"shape {shape}", f"a matrix of {blocks} columns, one row per task")
    rows = matrix.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()  # which a sparse matrix means by several entries in one place
    power = floats("signal", rows.data)
    task, block = np.repeat(np.arange(shape[0]), np.diff(rows.indptr)), np.asarray(rows.indices, np.int64)
    some = power != 0.0
    found = _compressed(task[some], block[some], power[some], (shape[0], blocks))
    if found is None:
        for i, b, value in zip(task, block, power.tolist(), strict=True):
            _power(f"signal[{i}][{b}]", value)
        empty = int(np.flatnonzero(np.bincount(task[some], minlength=shape[0]) == 0)[0])
        raise _powerless(empty, "zeros")
    return found


def _at_once(rows: Sequence[Any], blocks: int) -> Signal | None:
    """The signal of rows that are lists of plain numbers, or of pairs of them; None if any is anything else.

    What is wrong with a number is not said here: None is the answer then too.
    """
    if not set(map(type, rows)) <= {list, tuple}:
        return None
    entries = list(chain.from_iterable(rows))
    kinds = set(map(type, entries))
    try:
        if kinds <= PLAIN and set(map(len, rows)) == {blocks}:
            return _of_dense(np.array(rows, dtype=np.float64), blocks)
        if kinds <= {list, tuple} and set(map(len, entries)) == {2}:
            return _of_pairs(entries, list(map(len, rows)), blocks)
    except OverflowError:  # an int of hundreds of digits
        pass
    return None


def _of_pairs(pairs: Iterable[Any], count: list[int], blocks: int) -> Signal | None:
    at, values = zip(*pairs, strict=True)
    if set(map(type, at)) != {int} or not set(map(type, values)) <= PLAIN:
        return None
    task = np.repeat(np.arange(len(count)), count)
    block, power = np.array(at, dtype=np.int64), np.array(values, dtype=np.float64)
    if block.min() < 0 or block.max() >= blocks:
        return None
    order = np.lexsort((block, task))
    task, block, power = task[order], block[order], power[order]
    if ((task[1:] == task[:-1]) & (block[1:] == block[:-1])).any():
        return None
    some = power != 0.0
    return _compressed(task[some], block[some], power[some], (len(count), blocks))


def _one_by_one(rows: Sequence[Any], blocks: int) -> Signal:
    """The signal of rows of any kind, each by itself; what is wrong is named."""
    found = [_checked_row(i, row, blocks) for i, row in enumerate(rows)]
    return Signal(
        np.cumsum([0, *map(len, found)]),
        np.array([block for row in found for block, _ in row]),
        np.array([power for row in found for _, power in row]),
        blocks,
    )


def _checked_row(i: int, row: object, blocks: int) -> list[Pair]:
    """The pairs (block, power > 0) of a row, ascending."""
    name = f"signal[{i}]"
    entries = list(row.items()) if isinstance(row, Mapping) else sequence(name, row, "a row of block powers")
    if isinstance(row, Mapping) or isinstance(entries[0], (list, tuple)):
        pairs: dict[int, float] = {}
        for k, entry in enumerate(entries):
            block, power = _checked_pair(f"{name}[{k}]", entry, blocks)
            if block in pairs:
                raise ProblemError(f"{name}[{k}]", entry, "a block that the row does not have yet")
            pairs[block] = power
        found = sorted(pairs.items())
    else:
        entries = powers(name, entries, blocks)
        found = list(enumerate(entries))
    found = [pair for pair in found if pair[1] > 0.0]
    if not found:
        raise _powerless(i, entries)
    return found


def _powerless(i: int, row: object) -> ProblemError:
    return ProblemError(f"signal[{i}]", row, "a positive power in some block")


def _checked_pair(name: str, entry: object, blocks: int) -> Pair:
    if not isinstance(entry, (list, tuple)) or len(entry) != 2:
        raise ProblemError(name, entry, "a pair (block, power)")
    block = single(entry[0])
    whole = isinstance(block, Integral) and not isinstance(block, bool)
    if not whole or not 0 <= int(block) < blocks:  # type: ignore[call-overload]
        raise ProblemError(name, entry, f"a pair (block, power) with a block >= 0 and <= {blocks - 1}")
    return int(block), _power(name, entry[1])  # type: ignore[call-overload]
