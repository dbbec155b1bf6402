"""Saved flows come back whole, and a file is either the old one or the new one."""

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import xarray

import spectral_icl as si
from spectral_icl.io import files

TWO = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
OVERLAP = si.Problem(
    block_sizes=(3, 5, 2),
    signal=((2.0, 0.5, 0.0), (0.0, 1.0, 3.0)),
    noise=(0.1, 0.0),
    context_length=60.5,
    covariance=(1.0, 0.3, 1.7),
)


def solve(problem: si.Problem, heads: int, **options: Any) -> si.Solution:
    """A flow, or the part of one that was solved."""
    omega, mu = si.initial.dominant(problem, heads, scale=0.05, seed=1)
    try:
        return si.gradient_flow(problem, omega, mu, **{"t_end": 20.0, **options})
    except si.IntegrationError as error:
        return partial(error)


def partial(error: si.IntegrationError) -> si.Solution:
    """What was solved before an integration failed."""
    assert error.solution is not None
    return error.solution


def flows() -> Iterator[tuple[str, si.Solution]]:
    """One of every kind that a file has to hold."""
    imbalance_omega = np.array([[1e-3, 0.0, 1e-5], [1e-6, 1e-2, 0.0], [0.0, 1e-4, 1e-7]])
    imbalance_mu = np.array([[1e-3, 1e-4], [0.0, 1e-5], [0.1, 1e-6]])
    yield "balanced", solve(TWO, 2)
    yield "balanced, own key scale", solve(TWO, 3, parametrization=si.Balanced(0.3))
    yield "factored", solve(TWO, 2, parametrization=si.Factored(1e-6, 1e-3))
    yield (
        "factored by entry",
        solve(OVERLAP, 3, parametrization=si.Factored(imbalance_omega, imbalance_mu, 0.5)),
    )
    yield "merged", solve(OVERLAP, 4, parametrization=si.Merged())
    yield "reported times", solve(OVERLAP, 2, t_eval=[0.0, 0.1, 1 / 3, 20.0])
    yield "to rest", solve(TWO, 2, t_end=math.inf, stationary=1e-4)
    yield "unfinished", solve(TWO, 2, max_steps=7)
    yield "unfinished before it had anything to report", solve(TWO, 2, max_steps=7, t_eval=[20.0])
    with pytest.raises(si.IntegrationError) as caught:  # its logits overflow: one node, no step
        si.gradient_flow(TWO, np.full((2, 2), 1e4), np.ones((2, 2)))
    yield "stuck at the start", partial(caught.value)


FLOWS = dict(flows())


@pytest.fixture
def flow() -> si.Solution:
    return FLOWS["balanced"]


def assert_same(a: si.Solution, b: si.Solution) -> None:
    """Equal to the last bit, wherever it is looked at."""
    assert a.problem == b.problem
    assert a.problem.digest() == b.problem.digest()
    assert a.parametrization == b.parametrization
    assert type(a.parametrization) is type(b.parametrization)
    assert a.outcome is b.outcome
    assert a.success == b.success
    assert a.stats == b.stats
    assert a.options == b.options
    assert dict(a.environment) == dict(b.environment)
    assert a.heads == b.heads
    assert a.key_scale == b.key_scale
    for name in ("t", "omega", "mu", "loss", "task_loss"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name, strict=True)
    last = a.trajectory.t[-1]
    times = last * np.random.default_rng(0).random((5, 7))
    for left, right in zip(a(times), b(times), strict=True):
        np.testing.assert_array_equal(left, right, strict=True)
    assert a.message == b.message
    assert a.allocation == b.allocation
    assert repr(a.phases) == repr(b.phases)  # repr, because NaN is not equal to itself


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("name", FLOWS)
def test_round_trip_is_bitwise(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    FLOWS[name].save(path)
    assert_same(FLOWS[name], si.Solution.load(path))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_flow_at_rest_is_still_at_rest_when_loaded(tmp_path: Path) -> None:
    rest = FLOWS["to rest"]
    assert rest.options.t_end == math.inf
    rest.save(tmp_path / "run.nc")
    loaded = si.Solution.load(tmp_path / "run.nc")
    assert loaded.options.t_end == math.inf
    np.testing.assert_array_equal(loaded(1e9).mu, rest.mu[-1])


def test_names_may_be_strings_and_copies_may_be_saved_again(tmp_path: Path, flow: si.Solution) -> None:
    first, second = str(tmp_path / "first.nc"), str(tmp_path / "second.zarr")
    flow.save(first)
    si.Solution.load(first).save(second)
    assert_same(flow, si.Solution.load(second))


def test_dataset_round_trip_needs_no_file(flow: si.Solution) -> None:
    assert_same(flow, si.Solution.from_xarray(flow.to_xarray()))


@pytest.mark.parametrize("name", FLOWS)
def test_provenance_is_strict_json_with_digest_and_versions(name: str) -> None:
    """Python's NaN and Infinity are not JSON, and other programs read these files."""

    def refuse(token: str) -> NoReturn:
        raise AssertionError(f"{token} is not JSON")

    record = json.loads(FLOWS[name].to_xarray().attrs["provenance"], parse_constant=refuse)
    solution = FLOWS[name]
    assert record["digest"] == solution.problem.digest()
    assert si.Problem.from_dict(record["problem"]) == solution.problem
    assert record["outcome"] == solution.outcome.name
    assert record["parametrization"]["name"] == solution.parametrization.name
    assert {"spectral-icl", "python", "numpy", "numba", "platform", "created"} <= set(record["environment"])
    assert record["options"]["rtol"] == solution.options.rtol


def test_dataset_is_labelled(flow: si.Solution) -> None:
    data = flow.to_xarray()
    assert data["omega"].dims == ("time", "head", "block")
    assert data["mu"].dims == ("time", "head", "task")
    assert data["task_loss"].dims == ("time", "task")
    assert data["loss"].dims == ("time",)
    for name in ("omega", "mu", "task_loss", "loss", "time"):
        assert data[name].attrs["units"] == "1"
        assert data[name].attrs["long_name"]
    assert data.sizes["head"] == 2
    assert data["omega"].sel(head=1, block=0).values.tolist() == flow.omega[:, 1, 0].tolist()
    assert float(data["loss"].sel(time=20.0)) == flow.loss[-1]


def test_netcdf_is_read_by_plain_xarray(tmp_path: Path, flow: si.Solution) -> None:
    flow.save(tmp_path / "run.nc")
    with xarray.open_dataset(tmp_path / "run.nc") as data:
        np.testing.assert_array_equal(data["mu"].values, flow.mu)
        assert data["mu"].attrs["long_name"]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_saving_replaces_what_was_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    FLOWS["merged"].save(path)
    FLOWS["unfinished"].save(path)
    assert_same(FLOWS["unfinished"], si.Solution.load(path))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("existing", [True, False])
def test_interrupted_write_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str, error: BaseException, existing: bool
) -> None:
    path = tmp_path / f"run{suffix}"
    if existing:
        FLOWS["merged"].save(path)
    before = contents(tmp_path)

    def broken(descriptor: int) -> NoReturn:
        assert contents(tmp_path) != before, "nothing is written yet"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(type(error)):
            FLOWS["balanced"].save(path)
    assert contents(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name] * existing
    if existing:
        assert_same(FLOWS["merged"], si.Solution.load(path))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_old_result_survives_a_failed_move(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str
) -> None:
    """A folder cannot be replaced in one step: if the second step fails, the first is taken back."""
    path = tmp_path / f"run{suffix}"
    FLOWS["merged"].save(path)
    before, move = contents(tmp_path), Path.replace

    def refused(self: Path, target: Path) -> Path:
        if Path(target) == path and self.name == path.name:
            raise OSError("refused")
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(OSError, match="refused"):
            FLOWS["balanced"].save(path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["run.txt", "run", "absent/run.nc", "folder.nc", "file.zarr"])
def test_saving_to_an_impossible_name_is_refused(tmp_path: Path, flow: si.Solution, name: str) -> None:
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "file.zarr").write_bytes(b"mine")
    before = contents(tmp_path)
    with pytest.raises(si.ProblemError, match=r"^path: expected a"):
        flow.save(tmp_path / name)
    assert contents(tmp_path) == before


def test_loading_what_is_not_a_flow_is_refused(tmp_path: Path, flow: si.Solution) -> None:
    (tmp_path / "text.nc").write_text("not a netCDF file")
    (tmp_path / "empty.nc").write_bytes(b"")
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "text.zarr").write_text("not a store")
    (tmp_path / "run.txt").write_text("")
    flow.save(tmp_path / "whole.nc")
    whole = (tmp_path / "whole.nc").read_bytes()
    (tmp_path / "half.nc").write_bytes(whole[: len(whole) // 2])
    foreign = xarray.Dataset({"temperature": (("x",), np.arange(3.0))})
    foreign.to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    foreign.to_zarr(tmp_path / "foreign.zarr", consolidated=False)
    refused = "absent.nc absent.zarr text.nc empty.nc folder.nc empty.zarr text.zarr run.txt half.nc"
    for name in refused.split():
        with pytest.raises(si.ProblemError, match=rf"^path: expected a.*got .*{name}") as caught:
            si.Solution.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    for name in ("foreign.nc", "foreign.zarr"):
        with pytest.raises(si.ProblemError, match=rf"^path: expected a dataset of format.*got .*{name}"):
            si.Solution.load(tmp_path / name)


@pytest.mark.parametrize(
    ("missing", "name"), [("xarray", "run.nc"), ("h5netcdf", "run.nc"), ("zarr", "run.zarr")]
)
def test_loading_without_an_optional_package_says_how_to_get_it(
    tmp_path: Path, flow: si.Solution, monkeypatch: pytest.MonkeyPatch, missing: str, name: str
) -> None:
    flow.save(tmp_path / name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(si.ProblemError, match=rf"^path: .*'{missing}' \(pip install 'spectral-icl\[data\]'"):
        si.Solution.load(tmp_path / name)


def damaged(flow: si.Solution, **changes: object) -> xarray.Dataset:
    """A dataset whose provenance has entries replaced, or removed if None."""
    data = flow.to_xarray()
    record = {**json.loads(data.attrs["provenance"]), **changes}
    data.attrs["provenance"] = json.dumps({k: v for k, v in record.items() if v is not None})
    return data


def test_damaged_dataset_is_refused(flow: si.Solution) -> None:
    whole = flow.to_xarray()
    cases = [
        whole.drop_vars("node_state"),
        whole.drop_vars("chart_kind"),
        whole.drop_vars("time"),
        whole.assign_attrs(provenance="no JSON"),
        whole.assign_attrs(provenance="[]"),
        whole.assign_attrs(provenance=3),
        damaged(flow, format="spectral-icl flow 99"),
        damaged(flow, problem=None),
        damaged(flow, problem={}),
        damaged(flow, outcome="SPLENDID"),
        damaged(flow, parametrization={"name": "free"}),
        damaged(flow, stats={"steps": 1}),
        damaged(flow, heads=None),
    ]
    for data in cases:
        with pytest.raises(si.ProblemError) as caught:
            si.Solution.from_xarray(data)
        assert "\n" not in str(caught.value)


def test_check_target_says_before_the_work_what_writing_would_say(tmp_path: Path) -> None:
    files.check_target("--out", tmp_path / "run.nc", files.SUFFIXES)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(si.ProblemError, match=r"^--out: expected a name ending in \.nc or \.zarr"):
        files.check_target("--out", tmp_path / "run.csv", files.SUFFIXES)


def test_the_longest_name_can_be_written(tmp_path: Path, flow: si.Solution) -> None:
    """The scratch beside the target must not need a longer name than the target."""
    path = tmp_path / ("a" * 252 + ".nc")
    flow.save(path)
    assert list(tmp_path.iterdir()) == [path]
