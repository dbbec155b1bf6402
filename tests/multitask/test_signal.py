from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import spectral_icl as si
from spectral_icl.explore.choices import Choices
from spectral_icl.io.toml import tables
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.signal import MOST_WRITTEN, SMALLEST, Signal

Powers = st.sampled_from([0.0, 1.0, 0.25, SMALLEST, 1e12, 3.5])
REST: dict[str, Any] = {"noise": 0.1, "context_length": 50}


@st.composite
def powers(draw: st.DrawFn) -> np.ndarray:
    """Dense powers (I, B), some of them zero, of every task some not."""
    tasks, blocks = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rows = st.lists(Powers, min_size=blocks, max_size=blocks).filter(any)
    return np.array(draw(st.lists(rows, min_size=tasks, max_size=tasks)))


def pairs(table: np.ndarray) -> list[list[list[Any]]]:
    return [[[b, a] for b, a in enumerate(row) if a > 0.0] for row in table.tolist()]


def halves(table: np.ndarray) -> sparse.csr_array:
    """Rows with two halves of every power, the last block first."""
    rows = [[(b, a / 2.0) for b, a in 2 * row[::-1]] for row in pairs(table)]
    data, indices = ([pair[k] for row in rows for pair in row] for k in (1, 0))
    return sparse.csr_array((data, indices, np.cumsum([0, *map(len, rows)])), table.shape)


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda table: table,
    "Fortran": np.asfortranarray,
    "lists": lambda table: table.tolist(),
    "tuples": lambda table: tuple(map(tuple, table.tolist())),
    "rows that are arrays": list,
    "pairs": pairs,
    "tuples of pairs": lambda table: tuple(tuple(map(tuple, row)) for row in pairs(table)),
    "pairs of NumPy's": lambda table: [
        [(np.int32(b), np.longdouble(a)) for b, a in row] for row in pairs(table)
    ],
    "pairs out of order": lambda table: [row[::-1] for row in pairs(table)],
    "pairs with zeros": lambda table: [list(enumerate(row)) for row in table.tolist()],
    "mappings": lambda table: [dict(row) for row in pairs(table)],
    "some dense": lambda table: [row if i % 2 else table[i] for i, row in enumerate(pairs(table))],
    "csr": sparse.csr_array,
    "csc matrix": sparse.csc_matrix,
    "csr, twice and backwards": lambda table: halves(table),
    "coo, twice": lambda table: sparse.coo_array(
        (np.tile(table[table > 0.0] / 2.0, 2), tuple(np.tile(at, 2) for at in np.nonzero(table))), table.shape
    ),
    "itself": lambda table: Signal.of(table, table.shape[1]),
}


def problem(signal: Any, blocks: int, **changed: Any) -> si.Problem:
    return si.Problem(**{"block_sizes": (3,) * blocks, "signal": signal, **REST, **changed})


@pytest.mark.parametrize("form", FORMS)
@given(table=powers())
def test_every_form_of_a_signal_is_the_same_signal(form: str, table: np.ndarray) -> None:
    p = problem(FORMS[form](table), table.shape[1])
    plain = tuple(map(tuple, table.tolist()))
    assert type(p.signal) is Signal
    np.testing.assert_array_equal(np.asarray(p.signal), table)
    assert (p.signal == plain, plain == p.signal, p.signal != plain) == (True, True, False)
    assert hash(p.signal) == hash(plain)
    same = problem(plain, table.shape[1])
    assert (p, hash(p), p.digest(), repr(p)) == (same, hash(same), same.digest(), repr(same))


@given(table=powers())
def test_a_signal_reads_as_the_tuple_of_its_rows(table: np.ndarray) -> None:
    signal, plain = Signal.of(table, table.shape[1]), tuple(map(tuple, table.tolist()))
    assert (len(signal), signal.shape, signal.entries) == (len(table), table.shape, table.size)
    assert (tuple(signal), signal[0], signal[-1], signal[1:]) == (plain, plain[0], plain[-1], plain[1:])
    assert (repr(signal), eval(repr(signal))) == (repr(plain), plain)
    assert (plain[0] in signal, signal.index(plain[-1])) == (True, plain.index(plain[-1]))
    with pytest.raises(IndexError):
        signal[len(table)]
    for values in (signal.first, signal.block, signal.power, signal.task):
        assert (values.flags.c_contiguous, values.flags.writeable) == (True, False)
    assert (signal.first.dtype, signal.block.dtype, signal.power.dtype) == (np.int64, np.int64, np.float64)
    assert signal.rows == tuple(tuple(map(tuple, row)) for row in pairs(table))
    np.testing.assert_array_equal(signal.task, np.nonzero(table)[0])
    np.testing.assert_array_equal(signal.sparse().toarray(), table)
    np.testing.assert_allclose(signal.by_task(signal.power), table.sum(axis=1), rtol=1e-15)
    np.testing.assert_array_equal(signal.by_block(signal.power), table.sum(axis=0))
    for i in range(len(table)):
        np.testing.assert_array_equal(signal.blocks_of(i), np.flatnonzero(table[i]))
        assert signal.alone(i) == (plain[i],)
    used = np.flatnonzero(table.any(axis=0))
    np.testing.assert_array_equal(signal.within(used), table[:, used])


@given(table=powers())
def test_copies_are_equal_and_read_only(table: np.ndarray) -> None:
    signal = Signal.of(table, table.shape[1])
    for again in (pickle.loads(pickle.dumps(signal)), copy.deepcopy(signal), copy.copy(signal)):
        assert (again, hash(again)) == (signal, hash(signal))
        assert not again.power.flags.writeable
    dense = np.array(signal)
    dense[:] = 7.0
    np.testing.assert_array_equal(np.asarray(signal, dtype=np.float32), table.astype(np.float32))
    with pytest.raises(ValueError, match="no dense array"):
        np.asarray(signal, copy=False)


@given(table=powers(), changed=st.sampled_from([2.0, 0.5]))
def test_other_powers_and_other_shapes_are_other_signals(table: np.ndarray, changed: float) -> None:
    signal, blocks = Signal.of(table, table.shape[1]), table.shape[1]
    other = np.where(table == table.max(), changed, table)
    assert signal != Signal.of(other, blocks)
    assert signal != Signal.of(np.vstack([table, table[:1]]), blocks)
    assert signal != Signal.of(np.hstack([table, table[:, :1]]), blocks + 1)
    assert signal != Signal.of(table, blocks).rows
    assert signal != table.tolist()  # as a tuple of tuples is no list either


def large(tasks: int = 101, blocks: int = 103, step: int = 7) -> list[list[tuple[int, float]]]:
    """Rows of one to three pairs, of more entries I B than are written out."""
    return [
        sorted((((i + step * k) % blocks), 1.0 + 0.25 * k) for k in range(1 + i % 3)) for i in range(tasks)
    ]


def test_large_problems_travel_as_pairs() -> None:
    p = problem(large(), 103)
    written = json.loads(json.dumps(p.to_dict()))
    assert p.signal.entries > MOST_WRITTEN
    assert written["signal"][1] == [[1, 1.0], [8, 1.25]]
    again = si.Problem.from_dict(written)
    assert (again, hash(again), again.digest(), repr(again)) == (p, hash(p), p.digest(), repr(p))
    dense = problem(np.asarray(p.signal), 103)
    assert (dense, dense.digest()) == (p, p.digest())
    assert p.signal == tuple(p.signal)


def test_digests_stay_what_they_were() -> None:
    """Of files that there are, dense up to 10,000 entries; beyond them the digest of pairs is new."""
    two = si.Problem.multitask(task_sizes=(10, 10), signal=(10.0, 10.0), noise=0.09, context_length=100)
    assert two.digest() == "7f915e17b7d33f1acc499f8a3ff53feef4449d0cdd128b6a1ad3eeddcada8ca0"
    overlap = si.Problem(
        block_sizes=(10, 10, 10), signal=((1, 2, 0), (0, 3, 1)), noise=0.09, context_length=100
    )
    assert overlap.digest() == "de9bc7fd0ec0c0ac3650ed557832aa3fa9d5e92ce2717631ba62fa5bc2b28be2"
    many = si.Problem.multitask(task_sizes=(10,) * 100, signal=10.0, noise=0.1, context_length=100)
    assert many.digest() == "7e22a2838aee79dff92a6e474e075a9eae6d4944b665ac64e2cb5937fece33cf"
    more = si.Problem.multitask(task_sizes=(10,) * 200, signal=10.0, noise=0.1, context_length=100)
    before = "3bfe5ffde0eed02de03e29c52020dde4e2b328d4a596cbfc05361ea6a20d6f79"
    assert more.digest() != before
    assert more.has_digest(before)
    assert more.has_digest(more.digest())
    assert not more.has_digest(many.digest())
    assert not many.has_digest(before)


def test_what_is_too_large_is_not_expanded() -> None:
    p = si.Problem.multitask(task_sizes=(2,) * 10_000, signal=1.0, noise=0.1, context_length=9)
    with pytest.raises(
        si.ProblemError, match="signal: expected at most 16777216 entries I B, got '10000 tasks"
    ):
        np.asarray(p.signal)
    assert not p.has_digest("0" * 64)  # nor are digests of the dense rows made
    assert p.signal[7][7] == 1.0


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, "Problem(block_sizes=(10,) * 1000, signal=tuple(((i, 5.0),) for i in range(1000)), "),
        (
            {"signal": range(1, 1001)},
            "signal=(((0, 1.0),), ((1, 2.0),), ((2, 3.0),), ..., ((999, 1000.0),)), noise=(0.1,) * 1000, ",
        ),
        ({"task_sizes": range(1, 1001)}, "Problem(block_sizes=(1, 2, 3, ..., 1000), signal=tuple("),
    ],
)
def test_large_problems_have_a_short_repr(changed: dict[str, Any], shown: str) -> None:
    p = si.Problem.multitask(**{"task_sizes": (10,) * 1000, "signal": 5.0, **REST, **changed})
    assert shown in repr(p)
    assert len(repr(p)) < 300
    if "..." not in shown:
        assert eval(repr(p), {"Problem": si.Problem}) == p


def test_long_rows_are_cut_short() -> None:
    row = [(b, 1.0) for b in range(9000)]
    assert repr(problem([row, row[:2]], 9000).signal) == (
        "(((0, 1.0), (1, 1.0), (2, 1.0), ..., (8999, 1.0)), ((0, 1.0), (1, 1.0)))"
    )


BAD: list[tuple[Any, str]] = [
    ([[1.0, 0.0], [1.0]], r"signal\[1\]: expected 2 numbers, got \[1.0\]"),
    ([[(0, 1.0)], []], r"signal\[1\]: expected a row of block powers, got \[\]"),
    ([[(0, 1.0)], {}], r"signal\[1\]: expected a positive power in some block, got \[\]"),
    ([[(0, 1.0)], [(1, 0.0)]], r"signal\[1\]: expected a positive power in some block, got \[\(1, 0.0\)\]"),
    ([[(0, 1.0), (2, 1.0)]], r"signal\[0\]\[1\]: expected .* a block >= 0 and <= 1, got \(2, 1.0\)"),
    ([[(-1, 1.0)]], r"signal\[0\]\[0\]: expected .* a block >= 0 and <= 1, got \(-1, 1.0\)"),
    ([[(0.0, 1.0)]], r"signal\[0\]\[0\]: expected .* a block >= 0 and <= 1, got \(0.0, 1.0\)"),
    ([[(True, 1.0)]], r"signal\[0\]\[0\]: expected .* a block >= 0 and <= 1, got \(True, 1.0\)"),
    ([{"a": 1.0}], r"signal\[0\]\[0\]: expected .* a block >= 0 and <= 1, got \('a', 1.0\)"),
    ([[(1, 1.0), (0, 1.0), (1, 2.0)]], r"signal\[0\]\[2\]: .* the row does not have yet, got \(1, 2.0\)"),
    ([[(1, 0.0), (1, 2.0)]], r"signal\[0\]\[1\]: .* the row does not have yet, got \(1, 2.0\)"),
    ([[(0, -1.0)]], r"signal\[0\]\[0\]: expected a number >= 0 and <= 1e\+12, got -1.0"),
    ([[(0, np.nan)]], r"signal\[0\]\[0\]: expected a number >= 0 and <= 1e\+12, got nan"),
    ([[(0, 10**400)]], r"signal\[0\]\[0\]: expected a number >= 0 and <= 1e\+12, got"),
    ([[(10**400, 1.0)]], r"signal\[0\]\[0\]: expected .* a block >= 0 and <= 1, got"),
    ([[(0, 1e-31)]], r"signal\[0\]\[0\]: expected 0 or a number >= 1e-30, got 1e-31"),
    ([[(0, True)]], r"signal\[0\]\[0\]: expected a number >= 0 and <= 1e\+12, got True"),
    ([[(0, 1.0), (1,)]], r"signal\[0\]\[1\]: expected a pair \(block, power\), got \(1,\)"),
    ([[(0, 1.0), 2.0]], r"signal\[0\]\[1\]: expected a pair \(block, power\), got 2.0"),
    ([[1.0, (0, 1.0)]], r"signal\[0\]\[1\]: expected a number >= 0 and <= 1e\+12, got \(0, 1.0\)"),
    ([[1e-31, 1.0]], r"signal\[0\]\[0\]: expected 0 or a number >= 1e-30, got 1e-31"),
    (np.array([[1.0, 0.0], [0.0, -1.0]]), r"signal\[1\]\[1\]: expected a number >= 0 .*, got -1.0"),
    (np.zeros((1, 2)), r"signal\[0\]: expected a positive power in some block, got \(0.0, 0.0\)"),
    (np.ones((1, 3)), r"signal\[0\]: expected 2 numbers, got \[1.0, 1.0, 1.0\]"),
    (np.ones((0, 2)), r"signal: expected one row of block powers per task, got"),
    (np.array([[1, 0], [2**60, 1]]), r"signal\[1\]\[0\]: expected a number >= 0 .*, got 1152921504606846976"),
    (np.array([[True, False]]), r"signal\[0\]\[0\]: expected a number >= 0 and <= 1e\+12, got True"),
    ([], r"signal: expected one row of block powers per task, got \[\]"),
    (3.0, r"signal: expected one row of block powers per task, got 3.0"),
    (sparse.csr_array([[1.0, 0.0], [0.0, -1.0]]), r"signal\[1\]\[1\]: expected a number .*, got -1.0"),
    (sparse.csr_array([[1.0, 0.0], [np.nan, 1.0]]), r"signal\[1\]\[0\]: expected a number >= 0 .*, got nan"),
    (sparse.csr_array([[1.0, 0.0], [0.0, 0.0]]), r"signal\[1\]: expected a positive power in some"),
    (sparse.csr_array([[1.0, 0.0, 1.0]]), r"signal: expected a matrix of 2 columns, .* 'shape \(1, 3\)'"),
    (sparse.csr_array((0, 2)), r"signal: expected a matrix of 2 columns, .*, got 'shape \(0, 2\)'"),
    (sparse.csr_array([[1.0j, 0.0]]), r"signal: expected numbers, got"),
    (Signal.disjoint([1.0]), r"signal: expected rows of 2 numbers, got 'rows of 1 numbers'"),
]  # fmt: skip


@pytest.mark.parametrize(("signal", "message"), BAD)
def test_one_line_says_what_is_wrong_with_a_signal(signal: Any, message: str) -> None:
    with pytest.raises(si.ProblemError, match=message) as caught:
        problem(signal, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "block", "power", "blocks"),
    [
        ([0, 1, 1], [0], [1.0], 1),
        ([0, 2], [0], [1.0], 1),
        ([1, 2], [0, 0], [1.0, 1.0], 1),
        ([0, 2], [1, 0], [1.0, 1.0], 2),
        ([0, 2], [0, 0], [1.0, 1.0], 2),
        ([0, 1], [1], [1.0], 1),
        ([0, 1], [-1], [1.0], 1),
        ([0, 1], [0], [0.0], 1),
        ([0, 1], [0], [np.nan], 1),
        ([0, 1], [0, 1], [1.0], 2),
        ([0], [], [], 1),
    ],
)
def test_arrays_that_are_no_compressed_rows_are_refused(
    first: Any, block: Any, power: Any, blocks: int
) -> None:
    with pytest.raises(
        si.ProblemError, match="signal: expected compressed rows with a positive power in each"
    ):
        Signal(np.array(first), np.array(block, dtype=np.int64), np.array(power), blocks)


def test_what_a_signal_is_made_of_is_not_changed() -> None:
    table = halves(np.array([[1.0, 2.0], [2.0, 0.0]]))
    before = table.data.copy()
    p = problem(table, 2)
    assert p.signal == ((1.0, 2.0), (2.0, 0.0))
    np.testing.assert_array_equal(table.data, before)
    table.data[:] = 7.0
    assert p.signal == ((1.0, 2.0), (2.0, 0.0))


@given(table=powers())
def test_a_task_is_at_home_in_a_block_of_its_own(table: np.ndarray) -> None:
    p, used = problem(table, table.shape[1]), table > 0.0
    alone = (used.sum(axis=1) == 1).all() and (used.sum(axis=0) <= 1).all()
    assert p.home == (tuple(used.argmax(axis=1)) if alone else None)
    np.testing.assert_allclose(p.power, table.sum(axis=1), rtol=1e-15)
    np.testing.assert_allclose(p.variance, table.sum(axis=1) + 0.1, rtol=1e-15)


def test_ten_thousand_tasks_take_little_memory() -> None:
    """One row of zeros for each task would take 800 MB."""
    tracemalloc.start()
    p = si.Problem.multitask(task_sizes=(10,) * 10_000, signal=range(1, 10_001), noise=0.1, context_length=99)
    found = (p.home, p.variance, p.power, p.digest(), repr(p), hash(p), p.to_dict(), pickle.dumps(p))
    again = si.Problem.from_dict(p.to_dict())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    assert again == p
    assert found[0] == tuple(range(10_000))


@pytest.mark.parametrize("heads", [1, 3])
def test_leaders_take_the_blocks_of_their_tasks(heads: int) -> None:
    p = problem([[(0, 1.0), (2, 1.0)], [(1, 2.0)], [(0, 1.0), (1, 1.0)]][:heads], 3)
    omega, mu = si.initial.dominant(p, 3, 0.1, 0.5, seed=1)
    for task in range(heads):
        leader = int(mu[:, task].argmax())
        assert (omega[leader] == 0.1).tolist() == [power > 0.0 for power in p.signal[task]]
        assert mu[leader, task] == pytest.approx(0.15)


def test_a_file_may_have_pairs(tmp_path: Path) -> None:
    file = tmp_path / "pairs.toml"
    file.write_text(
        "[problem]\nblock_sizes = [4, 4, 4, 4]\nsignal = [[[0, 10.0]], [[3, 2.0], [1, 5]]]\n"
        "noise = 0.1\ncontext_length = 50\n"
    )
    read = Experiment.read(file, ("problem.noise=0.2",)).problem
    assert read.signal == ((10.0, 0.0, 0.0, 0.0), (0.0, 5.0, 0.0, 2.0))
    with pytest.raises(
        si.ProblemError, match=r"problem.signal\[1\]\[0\]: expected a pair .*, got \[4, 2.0\]"
    ):
        Experiment.read(file, ("problem.signal=[[[0, 1.0]], [[4, 2.0]]]",))
    assert Choices.of(tables(file, (), {})).table()["problem"]["signal"] == [[[0, 10.0]], [[3, 2.0], [1, 5]]]


def test_a_decay_stands_for_powers_that_fall_with_the_number_of_the_task() -> None:
    table = {"task_sizes": 3, "tasks": 4, "signal": 2.0, "decay": 1.5, "context_length": 9.0}
    p = si.Problem.from_dict({**table, "snr": 4.0})
    np.testing.assert_allclose(p.power, 2.0 * np.arange(1.0, 5.0) ** -1.5, rtol=1e-15)
    np.testing.assert_allclose(p.noise, p.power / 4.0, rtol=1e-15)
    flat = si.Problem.from_dict({**table, "noise": 0.1, "decay": 0.0})
    assert flat == si.Problem.multitask(task_sizes=[3] * 4, signal=2.0, noise=0.1, context_length=9.0)
    for value in (-1.0, 21.0, float("nan"), "steep"):
        with pytest.raises(si.ProblemError, match=r"^decay: expected a number >= 0 and <= 20"):
            si.Problem.from_dict({**table, "noise": 0.1, "decay": value})
    with pytest.raises(si.ProblemError, match=r"^decay: expected nothing unless signal is one number"):
        si.Problem.from_dict({**table, "noise": 0.1, "signal": [1.0] * 4})
    with pytest.raises(si.ProblemError, match=r"^decay: expected nothing without task_sizes"):
        si.Problem.from_dict(
            {"block_sizes": [2], "signal": [[1.0]], "noise": 0.1, "context_length": 9, "decay": 1.0}
        )
