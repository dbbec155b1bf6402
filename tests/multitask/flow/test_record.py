"""A flow is loaded as it was saved or not at all: damage of every kind is one line, and runs nothing."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray

import spectral_icl as si
from spectral_icl.multitask.flow import trajectory
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.record import DIMENSIONS, OUTLINE

TWO = si.Problem.multitask(task_sizes=(2, 2), signal=1.0, noise=0.1, context_length=100)


@pytest.fixture(scope="module")
def solved() -> si.Solution:
    return si.gradient_flow(TWO, *si.initial.paper(TWO, 2), t_end=600.0, t_eval=[0.0, 300.0, 500.0])


@pytest.fixture(scope="module")
def outlined() -> si.Solution:
    """A flow of which no step is kept whole."""
    start = si.initial.paper(TWO, 2)
    return si.gradient_flow(TWO, *start, t_end=600.0, dense_output=False, t_eval=[123.4, 500.0])


def edited(data: xarray.Dataset, keep_checksum: bool = True, **changes: object) -> xarray.Dataset:
    """The dataset with entries of its header replaced."""
    header = {**json.loads(data.attrs["provenance"]), **changes}
    if not keep_checksum:
        header.pop("checksum", None)
    return data.assign_attrs(provenance=json.dumps(header))


def put(data: xarray.Dataset, name: str, index: object, value: object) -> xarray.Dataset:
    """The dataset with entries of one array replaced."""
    values = data[name].values.copy()
    values[index] = value
    return data.assign({name: (data[name].dims, values)})


def assert_equal(a: si.Solution, b: si.Solution) -> None:
    """The same flow, wherever it is looked at."""
    for name in ("t", "omega", "mu", "task_loss", "final_task_loss", "shares"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
    np.testing.assert_array_equal(a(123.4).mu, b(123.4).mu, strict=True)
    assert (a.problem, a.options, a.outcome, a.message) == (b.problem, b.options, b.outcome, b.message)
    assert (a.allocation, a.phases.emergence) == (b.allocation, b.phases.emergence)


KINDS = {"solved": DIMENSIONS, "outlined": OUTLINE}


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_and_all_of_the_header_is_under_the_checksum(
    kind: str, request: pytest.FixtureRequest
) -> None:
    solved: si.Solution = request.getfixturevalue(kind)
    data = solved.to_xarray()
    assert set(KINDS[kind]) == set(data.variables)
    altered = [put(data, name, (0,) * len(dims), 7) for name, dims in KINDS[kind].items()]
    header = json.loads(data.attrs["provenance"])
    for key, value in header.items():
        if key != "format":
            altered.append(edited(data, **{key: value + 1 if isinstance(value, int) else [value]}))
    options = {**header["options"], "rtol": 1e-9}
    along = {dim: slice(-1) for dim in ("node", "step", "kept", "sample", "time") if dim in data.sizes}
    shorter = data.isel(along)
    for other in (
        *altered,
        edited(data, options=options),
        shorter,
        data.isel(time=[0]),
        data.isel(head=[1, 0]),
    ):
        with pytest.raises(si.ProblemError, match=r"^data: expected a flow with nothing missing or damaged"):
            si.Solution.from_xarray(other)
    assert_equal(si.Solution.from_xarray(data), solved)


def test_a_flow_of_before_there_was_a_checksum_is_loaded(solved: si.Solution) -> None:
    old = edited(solved.to_xarray(), keep_checksum=False)
    assert_equal(si.Solution.from_xarray(old), solved)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_an_outline_is_loaded_as_it_was_saved(tmp_path: Path, outlined: si.Solution, suffix: str) -> None:
    outlined.save(tmp_path / f"run{suffix}")
    loaded = si.Solution.load(tmp_path / f"run{suffix}")
    assert_equal(loaded, outlined)
    assert isinstance(loaded.trajectory, Outline)
    assert isinstance(outlined.trajectory, Outline)
    for field in fields(Outline):
        ours, theirs = (getattr(curve.trajectory, field.name) for curve in (outlined, loaded))
        np.testing.assert_array_equal(theirs, ours, strict=isinstance(ours, np.ndarray))
    with pytest.raises(si.ProblemError, match=r"^t: expected times of the 4 states that are kept"):
        loaded(124.0)


def test_an_outline_that_rests_answers_at_later_times(tmp_path: Path) -> None:
    start, times = si.initial.paper(TWO, 2, 0.3, 0.3, 0.6), [10.0, 9e8]
    options: dict[str, Any] = {"t_end": 1e9, "stationary": 1e-5, "dense_output": False, "t_eval": times}
    flow = si.gradient_flow(TWO, *start, **options)
    assert flow.outcome is si.Outcome.STATIONARY
    flow.save(tmp_path / "run.nc")
    loaded = si.Solution.load(tmp_path / "run.nc")
    np.testing.assert_array_equal(loaded(1e12).mu, flow.final.mu)
    np.testing.assert_array_equal(loaded.mu, flow.mu)


def test_a_flow_of_many_tasks_has_a_small_header(tmp_path: Path) -> None:
    """And one whose digest was made when all signals were written in dense rows is loaded."""
    many = si.Problem.multitask(task_sizes=[2] * 120, signal=1.0, noise=0.1, context_length=100)
    flow = si.gradient_flow(many, *si.initial.random(many, 1), t_end=1.0, rtol=1e-3, dense_output=False)
    data = flow.to_xarray()
    assert len(data.attrs["provenance"]) < 20_000
    dense = {**many.to_dict(), "signal": tuple(many.signal)}
    text = json.dumps({"format": 1, **dense}, sort_keys=True)
    before = edited(data, keep_checksum=False, digest=sha256(text.encode()).hexdigest())
    assert si.Solution.from_xarray(before).problem == many
    other = edited(data, keep_checksum=False, digest=sha256(b"another").hexdigest())
    with pytest.raises(si.ProblemError, match="others than those that were written"):
        si.Solution.from_xarray(other)


def noted(name: str, index: object, value: object) -> Callable[[xarray.Dataset], xarray.Dataset]:
    """A change of one entry of an outline."""
    return lambda data: put(data, name, index, value)


HARMFUL_OUTLINE: dict[str, Callable[[xarray.Dataset], xarray.Dataset]] = {
    "a state that is no number": noted("kept_state", (1, 0), np.nan),
    "a loss that is no number": noted("sample_task_loss", (1, 0), np.nan),
    "a head that there is not": noted("node_leading_head", (0, 0), 2),
    "a head below none": noted("node_leading_head", (0, 0), -2),
    "a variance below zero": noted("node_logit_variance", (0, 0), -1.0),
    "states that begin later": noted("kept_time", 0, 1.0),
    "states that end earlier": noted("kept_time", -1, 599.0),
    "times of losses that fall": noted("sample_time", 1, 1e6),
    "times of losses that end earlier": noted("sample_time", -1, 599.99),
    "times of steps that are none": noted("node_time", -1, np.nan),
    "a reported time without a state": lambda data: data.assign_coords(time=[123.5, 500.0]),
    "a reported time that was not reached": lambda data: data.assign_coords(time=[123.4, 1e9]),
    "heads that are no integers": lambda data: data.assign(
        node_leading_head=data["node_leading_head"].astype(float)
    ),
    "no states": lambda data: data.isel(kept=slice(0, 0)),
    "no losses": lambda data: data.isel(sample=slice(0, 0)),
    "no steps": lambda data: data.isel(node=slice(0, 0)),
    "losses of other times": lambda data: data.assign(
        sample_task_loss=(("other", "task"), data["sample_task_loss"].values[1:])
    ),
    "no shares": lambda data: data.drop_vars("node_leading_share"),
    "a state too short": lambda data: data.isel(state=slice(-1)),
    "another kind": lambda data: data.drop_vars("kept_time"),
}


@pytest.mark.parametrize("what", HARMFUL_OUTLINE)
def test_what_is_no_outline_is_refused_also_without_a_checksum(outlined: si.Solution, what: str) -> None:
    data = HARMFUL_OUTLINE[what](edited(outlined.to_xarray(), keep_checksum=False))
    with pytest.raises(si.ProblemError, match=r"^data: expected a ") as caught:
        si.Solution.from_xarray(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


HARMFUL: dict[str, Callable[[xarray.Dataset], xarray.Dataset]] = {
    **{
        f"{name} of one entry": lambda data, name=name: data.assign({name: ("one", data[name].values[:1])})
        for name in ("chart_kind", "chart_scale", "chart_speed", "chart_sign")
    },
    "a long node_time": lambda data: data.assign(node_time=("long", np.arange(1000.0))),
    "a short node_state": lambda data: data.assign(
        node_state=(("short", "state"), data["node_state"].values[:1])
    ),
    "fewer orders": lambda data: data.isel(order=slice(0, 1)),
    "no steps": lambda data: data.isel(step=slice(0, 0)),
    "fewer heads": lambda data: edited(data, False, heads=1),
    "more heads": lambda data: edited(data, False, heads=10**9),
    "heads that are no number": lambda data: edited(data, False, heads="2"),
    "another problem": lambda data: edited(
        data,
        False,
        problem=si.Problem.multitask(task_sizes=(2,), signal=1.0, noise=0.1, context_length=9).to_dict(),
    ),
    "a kind of chart that there is not": lambda data: put(data, "chart_kind", 0, 77),
    "kinds that are no integers": lambda data: data.assign(chart_kind=data["chart_kind"].astype(float)),
    "objects": lambda data: data.assign(chart_scale=data["chart_scale"].astype(object)),
    "single precision": lambda data: data.assign(node_state=data["node_state"].astype(np.float32)),
    "a sign that is none": lambda data: put(data, "chart_sign", 0, 0.5),
    "a negative speed": lambda data: put(data, "chart_speed", 0, -1.0),
    "a scale that is no number": lambda data: put(data, "chart_scale", 0, np.nan),
    "a state that is no number": lambda data: put(data, "node_state", (1, 0), np.inf),
    "a bend that is no number": lambda data: put(data, "node_bend", (0, 0, 0), np.nan),
    "times that fall": lambda data: put(data, "node_time", 1, 1e6),
    "times that are none": lambda data: put(data, "node_time", -1, np.nan),
    "another beginning": lambda data: put(data, "node_time", 0, 1.0e-9),
    "a reported time that was not reached": lambda data: data.assign_coords(time=[0.0, 1.0, 1e9]),
    "options out of bounds": lambda data: edited(data, False, options={"t_end": 1.0}),
    "a header that is too deep": lambda data: data.assign_attrs(provenance="[" * 100_000),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_what_could_harm_is_refused_before_compiled_code_sees_it_also_without_a_checksum(
    monkeypatch: pytest.MonkeyPatch, solved: si.Solution, what: str
) -> None:
    data = HARMFUL[what](edited(solved.to_xarray(), keep_checksum=False))

    def seen(*args: object) -> None:
        raise AssertionError("it reached the compiled code")

    monkeypatch.setattr(trajectory, "evaluate", seen)
    with pytest.raises(si.ProblemError, match=r"^data: expected a ") as caught:
        si.Solution.from_xarray(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_pickle_in_a_folder_is_not_run(tmp_path: Path, solved: si.Solution) -> None:
    """Refused by its metadata, before zarr looks at it; also where numcodecs still has the filter."""
    path = tmp_path / "run.zarr"
    solved.save(path)
    metadata = path / "omega" / "zarr.json"
    document = json.loads(metadata.read_text())
    pickle = {"name": "numcodecs.pickle", "configuration": {}}
    for changes in ({"codecs": [pickle]}, {"codecs": [*document["codecs"], pickle]}, {"data_type": "object"}):
        metadata.write_text(json.dumps({**document, **changes}))
        with pytest.raises(si.ProblemError, match=r"^path: expected arrays .*'omega'.*run\.zarr"):
            si.Solution.load(path)


def damage(folder: Path, draw: random.Random) -> None:
    """Alter one file below a folder, or the only one."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    victim = draw.choice(files)
    content = bytearray(victim.read_bytes())
    how = draw.choice(("flip", "flip", "flip", "digit", "cut", "empty", "delete", "swap"))
    digits = [k for k, byte in enumerate(content) if chr(byte).isdecimal()]
    if how == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif how == "digit" and digits:
        content[draw.choice(digits)] = ord("0") + draw.randrange(10)
    elif how == "swap":
        content = bytearray(draw.choice(files).read_bytes())
    victim.write_bytes(content[: {"cut": draw.randrange(len(content)), "empty": 0}.get(how)])
    if how == "delete":
        victim.unlink()


@pytest.mark.parametrize(
    ("suffix", "count"),
    [
        (".nc", 30),
        (".zarr", 12),
        pytest.param(".nc", 3000, marks=pytest.mark.slow),
        pytest.param(".zarr", 500, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_file_is_one_line_or_the_same_flow(
    tmp_path: Path, solved: si.Solution, suffix: str, count: int
) -> None:
    whole, copy = tmp_path / "whole" / f"run{suffix}", tmp_path / "copy"
    whole.parent.mkdir()
    solved.save(whole)
    refused = equal = 0
    for seed in range(count):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole.parent, copy)
        damage(copy, random.Random(seed))
        try:
            loaded = si.Solution.load(copy / whole.name)
        except si.ProblemError as error:
            refused += str(error).startswith("path: ") and "\n" not in str(error)
        else:
            equal += 1
            assert_equal(loaded, solved)
    assert refused + equal == count
    assert refused > equal


def test_hdf5_is_not_shown_damaged_bytes(
    tmp_path: Path, solved: si.Solution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It crashes over some, and hangs over others."""
    path = tmp_path / "run.nc"
    solved.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(h5py, "File", lambda *args: pytest.fail("HDF5 was called"))
    with pytest.raises(si.ProblemError, match=r"^path: expected a readable flow file"):
        si.Solution.load(path)
    with pytest.raises(si.ProblemError, match=r"^path: expected a new name"):
        solved.save(path)


def test_a_file_that_another_program_copied_is_loaded(tmp_path: Path, solved: si.Solution) -> None:
    """Without the digest at its end, which no other program writes."""
    data: Any = solved.to_xarray()
    data.to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
    data.to_zarr(tmp_path / "copy.zarr", consolidated=False)
    for name in ("copy.nc", "copy.zarr"):
        assert_equal(si.Solution.load(tmp_path / name), solved)
        solved.save(tmp_path / name)
    content = (tmp_path / "copy.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(content[: len(content) // 2])
    with pytest.raises(si.ProblemError, match=r"^path: expected a readable flow file"):
        si.Solution.load(tmp_path / "cut.nc")
