"""The store of a sweep: its layout, who may write to it, and what becomes of damage."""

import errno
import fcntl
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import stores
import xarray
import zarr
from damage import damage
from numcodecs.checksum32 import CRC32C
from shell import run
from weights import slow
from zarr.codecs import Crc32cCodec, ZstdCodec

import spectral_icl as si
from spectral_icl.io import provenance
from spectral_icl.sweeps import store
from spectral_icl.sweeps.engines import Job
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.provenance import checksum
from spectral_icl.sweeps.run import BatchTask
from spectral_icl.sweeps.store import Store, open_sweep


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    path = folder / "run.zarr"
    made = Store.attach(path, stores.plan(folder))
    for batch in range(made.plan.batches):
        BatchTask(str(path), made.plan.digest())(Job(batch))
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object], *, sealed: bool = False) -> None:
    """Change the provenance of a store; if it is ``sealed``, nothing tells."""
    group = json.loads((path / "zarr.json").read_text())
    made = json.loads(group["attributes"]["provenance"])
    change(made)
    if sealed:
        made["checksum"] = checksum({k: v for k, v in made.items() if k != "checksum"})
    group["attributes"]["provenance"] = json.dumps(made, sort_keys=True)
    (path / "zarr.json").write_text(json.dumps(group))


def of_version_1(path: Path) -> None:
    """Make a store what the first version wrote."""
    shutil.rmtree(path / "seal")
    edit(path, lambda made: (made.pop("checksum"), made.update(version=1)))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished store to damage."""
    return shutil.copytree(finished, tmp_path / "run.zarr")


def test_every_batch_is_one_chunk_of_every_variable(finished: Path) -> None:
    made = Store.open(finished)
    assert (made.plan.size, made.plan.batches) == (stores.SIZE, stores.BATCHES)
    extent = {"point": 24, "task": 2, "head": 2, "block": 2, "time": 2, "batch": 5}
    expected = made.declared
    assert {*made.plan.variables, *made.plan.coordinates(0, 1), "seal", "status", "time"} == set(expected)
    assert list(made.arrays)[-2:] == ["seal", "status"]
    for name, variable in expected.items():
        meta = json.loads((finished / name / "zarr.json").read_text())
        assert meta["shape"] == [extent[d] for d in variable.dims], name
        batches = {"point": [5, *meta["shape"][1:]], "batch": [1], "time": [2]}[variable.dims[0]]
        assert meta["chunk_grid"]["configuration"]["chunk_shape"] == batches, name
        assert meta["dimension_names"] == list(variable.dims), name
        assert meta["data_type"] == variable.dtype, name
        assert [codec["name"] for codec in meta["codecs"]] == ["bytes", "zstd", "crc32c"], name
        assert meta["attributes"]["units"] == "1"
        assert meta["attributes"]["long_name"]
        assert meta["fill_value"] == ("NaN" if np.isnan(variable.fill) else variable.fill), name
        chunks = [path for path in (finished / name / "c").rglob("*") if path.is_file()]
        assert len(chunks) == (1 if name == "time" else stores.BATCHES), name
    assert {path.name for path in finished.iterdir()} == {*expected, "zarr.json"}
    assert made.damaged() == []


def test_metadata_are_those_that_zarr_writes(finished: Path, tmp_path: Path) -> None:
    made = Store.open(finished)
    for name in made.declared:
        array = zarr.open_array(finished / name, mode="r")
        zarr.create_array(
            tmp_path / name,
            shape=array.shape,
            chunks=array.chunks,
            dtype=array.dtype,
            fill_value=array.fill_value,
            dimension_names=array.metadata.dimension_names,
            attributes=dict(array.attrs),
            compressors=(ZstdCodec(), Crc32cCodec()),
        )
        assert (tmp_path / name / "zarr.json").read_bytes() == (finished / name / "zarr.json").read_bytes()


def test_what_is_stored_is_what_was_solved(finished: Path) -> None:
    made = Store.open(finished)
    expected = {**made.plan.solve(0, 24), **made.plan.coordinates(0, 24)}
    found = stores.values(made)
    assert set(found) == {*expected, "seal"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name, strict=True)
    assert (found["status"] == 0).all()
    assert np.isnan(found["escape"]).all()  # chunks of nothing but fill values are there all the same
    for batch in range(stores.BATCHES):
        for name, value in made.read(batch).items():
            np.testing.assert_array_equal(value, expected[name][batch * 5 : batch * 5 + 5], strict=True)


def test_an_empty_store_is_pending_and_no_larger_for_more_points(tmp_path: Path) -> None:
    counts = []
    for name, replicates in (("small", 4), ("large", 10**7)):
        plan = Plan.from_dict(
            stores.plan(tmp_path).to_dict() | {"axis": [{"path": "initial.seed", "replicates": replicates}]}
        )
        made = Store.attach(tmp_path / f"{name}.zarr", plan)
        assert made.is_pending(0)
        assert made.is_pending(plan.batches - 1)
        files = stores.tree(made.path)
        counts.append(len(files))
        assert sum(map(len, files.values())) < 50_000
    assert counts[0] == counts[1]
    late = Store.open(tmp_path / "large.zarr")
    late.write(late.plan.batches - 1, late.plan.solve(10**7 - 5, 10**7))
    assert not late.is_damaged(late.plan.batches - 1)
    assert late.arrays["replicate"][-1] == 10**7 - 1
    assert (late.arrays["status"][-10:-5] == -1).all()


def test_xarray_opens_it_with_coordinates(finished: Path) -> None:
    data = xarray.open_zarr(finished, consolidated=False)
    names = {"problem.context_length", "initial.scale", "problem.noise", "replicate", "seed", "time"}
    assert set(data.coords) == names
    assert data.sizes == {"point": 24, "task": 2, "head": 2, "block": 2, "time": 2, "batch": 5}
    assert data.loss.attrs["units"] == data["initial.scale"].attrs["units"] == "1"
    np.testing.assert_array_equal(data["problem.context_length"][::8], [50, 100, 500])
    np.testing.assert_array_equal(data.time, [0.1, 0.4])
    assert data.seed.dtype == np.int64
    assert len(set(data.seed.values.tolist())) == 24


def test_grid_is_what_unstacking_gives(finished: Path) -> None:
    grid = open_sweep(finished)
    flat = xarray.open_zarr(finished, consolidated=False).load()
    key = ["problem.context_length", "initial.scale", "replicate"]
    unstacked = flat.set_index(point=key).unstack("point")
    assert {name: grid.sizes[name] for name in stores.SHAPE} == stores.SHAPE
    for name in set(flat) - {"seal"} | {"seed"}:
        inner = flat[name].dims[1:]
        expected = unstacked[name].transpose(*key, *inner).values
        assert grid[name].dims == (*stores.SHAPE, *inner), name
        np.testing.assert_array_equal(grid[name].values, expected, err_msg=name)
    assert grid["start"].values.tolist() == [0, 1]
    assert grid["initial.scale"].dims == grid["problem.noise"].dims == ("start",)
    assert grid["problem.noise"].values.tolist() == [0.05, 0.5]
    one = grid.sel({"problem.context_length": 100, "start": 1, "replicate": 2})
    point = Store.open(finished).plan.experiment(8 + 4 + 2)
    assert float(one.loss) == pytest.approx(point.solve().loss[-1], rel=1e-6)
    assert point.problem.noise == (0.5, 0.5)


def test_grid_of_an_unfinished_store_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    made = Store.attach(path, stores.plan(tmp_path))
    BatchTask(str(path), made.plan.digest())(Job(1))
    grid = open_sweep(str(path))
    status = grid.status.values.ravel()
    assert (status[5:10] == 0).all()
    assert (np.delete(status, range(5, 10)) == -1).all()
    assert np.isfinite(grid.loss.values.ravel()).sum() == 5
    assert [made.is_pending(batch) for batch in range(5)] == [True, False, True, True, True]


# --- who may write ---------------------------------------------------------------------------------------


def refused(path: Path, plan: Plan, word: str) -> None:
    """Attaching is an error of one line with ``word``, and changes nothing."""
    before = stores.tree(path.parent)
    with pytest.raises(si.ProblemError, match=word) as caught:
        Store.attach(path, plan)
    assert caught.value.argument == "path"
    assert str(path)[:20] in str(caught.value)
    assert stores.tree(path.parent) == before


def test_store_of_another_plan_is_refused(copied: Path, tmp_path: Path) -> None:
    plan = stores.plan(tmp_path)
    assert Store.attach(copied, plan).made["digest"] == plan.digest()
    refused(copied, stores.plan(tmp_path, stores.TEXT.replace("seed = 7", "seed = 8")), "another plan")


def test_anything_else_is_refused(tmp_path: Path) -> None:
    plan = stores.plan(tmp_path)
    file, empty, folder, flow, group = (tmp_path / n for n in ("a.txt", "b", "c", "d.zarr", "e.zarr"))
    file.write_text("text")
    empty.mkdir()
    folder.mkdir()
    (folder / "notes").write_text("text")
    p = si.Problem.multitask(task_sizes=(4, 4), signal=10.0, noise=0.09, context_length=100)
    si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=1.0).save(flow)
    zarr.create_group(group, attributes={"provenance": "made by hand"})
    for path in (file, empty, folder, flow, group):
        refused(path, plan, "not a folder" if path == file else "something else")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "link", plan, "there is nothing")
    with pytest.raises(si.ProblemError, match=r"^path: expected the store of a sweep \(there is nothing\)"):
        open_sweep(tmp_path / "missing.zarr")


def test_store_of_a_later_format_is_refused(copied: Path, tmp_path: Path) -> None:
    edit(copied, lambda made: made.update(version=3))
    refused(copied, stores.plan(tmp_path), r"version 1 or 2 \(this is version 3\)")


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    plan = stores.plan(tmp_path)
    refused(tmp_path / "absent" / "run.zarr", plan, "no such file")
    with pytest.raises(si.ProblemError, match="can be written"):
        Store.attach(Path("/proc/run.zarr"), plan)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_store_that_cannot_be_written_is_refused(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise OSError(code, os.strerror(code))

    plan = stores.plan(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    refused(copied, plan, os.strerror(code).lower())
    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    refused(tmp_path / "new.zarr", plan, os.strerror(code).lower())


def test_of_many_that_start_at_once_one_makes_the_store(tmp_path: Path) -> None:
    plan = stores.plan(tmp_path)
    path = tmp_path / "run.zarr"
    barrier, made = threading.Barrier(8), []

    def attach() -> None:
        barrier.wait()
        made.append(Store.attach(path, plan))

    threads = [threading.Thread(target=attach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.zarr", "sweep.toml"]
    made[0].write(0, plan.solve(0, 5))
    assert all(not entry.is_pending(0) for entry in made)


def test_a_failure_while_it_is_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = stores.plan(tmp_path)
    declare = store._declare

    def fail(*given: Any) -> NoReturn:
        declare(*given)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "_declare", fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        Store.attach(tmp_path / "run.zarr", plan)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sweep.toml"]


def test_store_that_was_replaced_is_not_taken_for_the_old_one(copied: Path, tmp_path: Path) -> None:
    """A worker may live longer than a store."""
    old = Store.open(copied).plan.digest()
    BatchTask(str(copied), old)(Job(0))
    shutil.rmtree(copied)
    plan = stores.plan(tmp_path, stores.TEXT.replace("seed = 7", "seed = 8"))
    made = Store.attach(copied, plan)
    BatchTask(str(copied), plan.digest())(Job(0))
    np.testing.assert_array_equal(made.read(0)["loss"], plan.solve(0, 5)["loss"])
    with pytest.raises(si.ProblemError, match="plan that is being solved"):
        BatchTask(str(copied), old)(Job(1))
    assert made.is_pending(1)


# --- damage ------------------------------------------------------------------------------------------------

DAMAGE = {
    "cut short": lambda chunk: os.truncate(chunk, chunk.stat().st_size - 1),
    "emptied": lambda chunk: os.truncate(chunk, 0),
    "zeros": lambda chunk: chunk.write_bytes(bytes(chunk.stat().st_size)),
    "four zeros": lambda chunk: chunk.write_bytes(bytes(4)),
    "one bit": lambda chunk: chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:]),
    "gone": lambda chunk: chunk.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["loss", "omega", "problem.noise", "status"])
@pytest.mark.parametrize("batch", [0, slow(4)])
def test_damage_is_found_and_repaired(copied: Path, finished: Path, name: str, how: str, batch: int) -> None:
    made = Store.open(copied)
    chunk = copied.joinpath(name, "c", str(batch), *(["0", "0"] if name == "omega" else []))
    DAMAGE[how](chunk)
    assert [b for b in range(5) if made.is_damaged(b)] == [batch]
    assert made.is_pending(batch) == ((name, how) == ("status", "gone"))
    if not made.is_pending(batch):
        with pytest.raises(si.ProblemError, match=f"batch {batch} is damaged"):
            open_sweep(copied)
    BatchTask(str(copied), made.plan.digest())(Job(batch))
    assert stores.differing(copied, finished) == []


def garbage(chunk: Path) -> None:
    """Bytes that have their checksum, and are no compressed data."""
    chunk.write_bytes(bytes(CRC32C(location="end").encode(b"not what zstd writes")))


def swapped(one: Path, other: Path) -> None:
    """Exchange two files."""
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["problem.noise", "loss", "status"])
def test_chunk_that_cannot_be_decoded_is_damaged(copied: Path, version: int, name: str) -> None:
    if version == 1:
        of_version_1(copied)
    garbage(copied / name / "c" / "2")
    assert [b for b in range(5) if Store.open(copied).is_damaged(b)] == [2]
    with pytest.raises(si.ProblemError, match=rf"batch 2 is damaged \('{name}'\).*makes it again"):
        open_sweep(copied)


def test_chunks_in_each_others_place_are_damaged(copied: Path) -> None:
    """Each of them has its checksum."""
    swapped(copied / "loss" / "c" / "0", copied / "loss" / "c" / "1")
    swapped(copied / "t" / "c" / "3", copied / "saturation" / "c" / "3")
    assert [b for b in range(5) if Store.open(copied).is_damaged(b)] == [0, 1, 3]
    for name in Store.open(copied).arrays:  # all of two batches
        inner = ["0"] * (len(Store.open(copied).declared[name].dims) - 1)
        swapped(copied.joinpath(name, "c", "2", *inner), copied.joinpath(name, "c", "1", *inner))
    assert [b for b in range(5) if Store.open(copied).is_damaged(b)] == [0, 1, 2, 3]


def test_coordinates_of_the_first_version_are_those_of_the_plan(copied: Path) -> None:
    of_version_1(copied)
    assert not any(Store.open(copied).is_damaged(b) for b in range(5))
    swapped(copied / "seed" / "c" / "0", copied / "seed" / "c" / "1")
    assert [b for b in range(5) if Store.open(copied).is_damaged(b)] == [0, 1]


def test_store_of_the_first_version_is_read_and_goes_on(copied: Path, finished: Path) -> None:
    of_version_1(copied)
    assert open_sweep(copied).drop_attrs().identical(open_sweep(finished).drop_attrs())
    before = stores.tree(copied)
    (copied / "status" / "c" / "1").unlink()
    task = BatchTask(str(copied), Store.open(copied).made["digest"])
    assert task(Job(1)).points == 5
    assert stores.tree(copied) == before


# What is the same whatever the results: by name, what becomes of the file.
ALTERED: dict[str, Callable[[str], str]] = {
    "no json": lambda text: text[:-3],
    "no table": lambda _: "[]",
    "another size": lambda text: text.replace("24", "23"),
    "another type": lambda text: text.replace('"float64"', '"float32"'),
    "the other end first": lambda text: text.replace('"little"', '"big"'),
    "unknown codec": lambda text: text.replace("zstd", "pickle"),
    "other chunks": lambda text: text.replace("5\n", "4\n"),
    "another fill value": lambda text: text.replace('"NaN"', "0.0"),
    "no attributes": lambda text: text.replace("attributes", "attribute"),
    "another key": lambda text: text.replace("{", '{"x": 1,', 1),
    "nested": lambda _: "[" * 10**5,
}


@pytest.mark.parametrize("how", ALTERED)
def test_damaged_metadata_are_one_line_and_are_mended(copied: Path, finished: Path, how: str) -> None:
    meta = copied / "loss" / "zarr.json"
    meta.write_text(ALTERED[how](meta.read_text()))
    assert stores.differing(copied, finished) == ["loss/zarr.json"]
    for use in (open_sweep, lambda path: Store.open(path).arrays):
        with pytest.raises(si.ProblemError, match=r"whole store: loss/zarr\.json is damaged") as caught:
            use(copied)
        assert "\n" not in str(caught.value)
    assert Store.open(copied).mend() == ["loss/zarr.json"]
    assert stores.differing(copied, finished) == []


@pytest.mark.parametrize("how", [*DAMAGE, "not decoded", "another time"])
def test_damaged_times_are_one_line_and_are_mended(copied: Path, finished: Path, how: str) -> None:
    chunk = copied / "time" / "c" / "0"
    if how == "another time":
        zarr.open_array(copied / "time", mode="r+")[1] = 7.0
    else:
        DAMAGE.get(how, garbage)(chunk)
    with pytest.raises(si.ProblemError, match=r"time/c/0 is damaged, and the command that made it makes"):
        open_sweep(copied)
    assert Store.open(copied).mend() == ["time/c/0"]
    assert stores.differing(copied, finished) == []


def test_attributes_and_other_arrays_are_not_looked_at(copied: Path, finished: Path) -> None:
    array = zarr.open_array(copied / "loss", mode="r+")
    array.attrs["long_name"] = "mine"
    zarr.create_array(copied / "mine", shape=(2,), dtype="float32")
    assert Store.open(copied).damaged() == []
    assert open_sweep(copied).identical(open_sweep(finished))


@pytest.mark.parametrize("key", ["version", "plan", "digest", "environment", "source", "checksum"])
def test_provenance_without_one_of_its_parts_is_refused(copied: Path, tmp_path: Path, key: str) -> None:
    edit(copied, lambda made: made.pop(key), sealed=key != "checksum")
    refused(copied, stores.plan(tmp_path), "version None" if key == "version" else f"lacks '{key}'")
    edit(copied, lambda made: made.update({key: 0.5}), sealed=key != "checksum")
    refused(copied, stores.plan(tmp_path), "version 0.5|lacks|altered")


def test_altered_provenance_is_refused(copied: Path, finished: Path, tmp_path: Path) -> None:
    """A number of the plan, with its digest or not, and a version of what made it."""
    plan = stores.plan(tmp_path)
    edit(copied, lambda made: made["plan"]["problem"].update(context_length=51), sealed=True)
    refused(copied, plan, "altered, which no command mends")
    edit(copied, lambda made: made["plan"]["problem"].update(context_length=50), sealed=True)
    assert Store.attach(copied, plan).made == Store.open(finished).made
    edit(copied, lambda made: made["environment"].update(numpy="2.0.0"))
    refused(copied, plan, "altered, which no command mends")
    (copied / "zarr.json").write_text((copied / "zarr.json").read_text()[:-3])
    refused(copied, plan, r"something else, or its zarr\.json is damaged")


def meant(path: Path) -> dict[str, object]:
    """The files of a store without what nobody reads: attributes that are for people."""
    files: dict[str, object] = dict(stores.tree(path))
    for name in [name for name in files if name.endswith("zarr.json")]:
        document = json.loads((path / name).read_text())
        files[name] = {**document, "attributes": document["attributes"].get("provenance")}
    return files


@pytest.mark.parametrize("seeds", [range(4), slow(range(4, 2000))])
def test_any_damage_is_told_or_mended(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: range
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    file, path = stores.write(tmp_path), tmp_path / "run.zarr"
    whole, expected = open_sweep(finished), meant(finished)
    for seed in seeds:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(finished, path)
        done = f"seed {seed}: {damage(path, random.Random(seed))}"
        before = stores.tree(tmp_path)
        try:
            read: xarray.Dataset | None = open_sweep(path)
        except si.ProblemError as error:
            read, lines = None, str(error).splitlines()
            assert len(lines) == 1, done
        if read is not None and (read.status == -1).any():  # its chunk is gone, and the batch with it
            solved = (read.status != -1).values
            for name, values in whole.data_vars.items():
                np.testing.assert_array_equal(read[name].values[solved], values.values[solved], done)
        elif read is not None:
            assert read.identical(whole), done
        status, _, err = run("sweep", str(file), "--out", str(path))
        if status == 0:
            assert meant(path) == expected, done
        else:
            assert status == 2, done
            assert re.fullmatch("Error: --out: .*\n", err), done
            assert stores.tree(tmp_path) == before, done


def test_store_behind_a_link_is_used(copied: Path, finished: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.zarr"
    link.symlink_to(copied)
    (copied / "loss" / "c" / "0").unlink()
    attached = Store.attach(link, stores.plan(tmp_path))
    assert [b for b in range(5) if attached.is_damaged(b)] == [0]
    attached.write(0, attached.plan.solve(0, 5))
    assert link.is_symlink()
    assert stores.differing(copied, finished) == []
    assert open_sweep(link).identical(open_sweep(finished))


def test_partial_files_go_unless_somebody_is_writing(copied: Path, finished: Path) -> None:
    partial = copied / "loss" / "c" / "0.0123456789abcdef0123456789abcdef.partial"
    partial.write_bytes(b"half")
    made = Store.open(copied)
    with store._shared_lock(copied):
        made.remove_partial_files()
        assert partial.exists()
    made.remove_partial_files()
    assert stores.differing(copied, finished) == []


def test_files_are_removed_only_where_locks_work(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> NoReturn:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    partial = copied / "loss" / "c" / "0.0123456789abcdef0123456789abcdef.partial"
    partial.write_bytes(b"half")
    made = Store.open(copied)
    values = made.read(2)
    monkeypatch.setattr(fcntl, "flock", fail)
    made.remove_partial_files()
    assert partial.exists()
    made.write(2, values)  # writing needs no lock
    monkeypatch.setattr(store, "fcntl", None)  # Windows
    made.remove_partial_files()
    made.write(2, values)
    assert partial.exists()


# --- where it came from ------------------------------------------------------------------------------------


def test_provenance_is_one_json_string(finished: Path) -> None:
    text = zarr.open_group(finished, mode="r").attrs["provenance"]
    assert isinstance(text, str)
    made = json.loads(text)
    assert (made["format"], made["version"]) == ("spectral-icl sweep", 2)
    plan = Plan.from_dict(made["plan"])
    assert plan.digest() == made["digest"] == Store.open(finished).plan.digest()
    facts = {
        "spectral-icl",
        "python",
        "numpy",
        "scipy",
        "numba",
        "zarr",
        "xarray",
        "platform",
        "cpu",
        "created",
    }
    assert set(made["environment"]) == facts
    assert set(made) == {"format", "version", "plan", "digest", "environment", "source", "checksum"}


def test_what_differs_from_the_maker_is_named(copied: Path) -> None:
    assert Store.open(copied).differences() == ""
    environment = {**Store.open(copied).made["environment"], "numpy": "2.0.0", "cpu": "abacus"}
    source = {"commit": "0" * 40, "dirty": False}
    edit(copied, lambda made: made.update(environment=environment, source=source), sealed=True)
    found = Store.open(copied).differences()
    for part in (f"numpy {np.__version__} (was 2.0.0)", "(was abacus)", f"(was {'0' * 40} unchanged)"):
        assert part in found
    assert "created" not in found


def test_time_of_a_reproducible_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert provenance.environment()["created"] == "2023-11-14T22:13:20+00:00"
    for wrong in ("yesterday", "", "1e9", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(si.ProblemError, match="SOURCE_DATE_EPOCH"):
            provenance.environment()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert provenance.environment()["created"] > "2025"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_source_is_that_of_the_package_and_of_nothing_around_it(tmp_path: Path) -> None:
    def git(*args: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.run(
            ["git", *names, *args], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def source() -> Any:
        spec = importlib.util.spec_from_file_location("twin", twin)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.source()

    twin = tmp_path / "package" / "twin.py"
    twin.parent.mkdir()
    shutil.copy(provenance.__file__, twin)
    (tmp_path / "other.txt").write_text("something else")
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    git("init", "-q")
    git("add", "other.txt", ".gitignore")
    git("commit", "-q", "-m", "something else")
    assert source() is None  # not tracked: this tree belongs to something else
    git("add", "package")
    git("commit", "-q", "-m", "package")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "other.txt").write_text("changed")
    assert source() == {"commit": commit, "dirty": False}
    (twin.parent / "new.py").write_text("")
    assert source() == {"commit": commit, "dirty": True}


def test_source_is_of_the_whole_package() -> None:
    assert provenance._package() == Path(si.__file__).parent


def test_settings_of_zarr_in_the_environment_have_no_say(tmp_path: Path) -> None:
    """zarr reads them when it is imported, so that this takes a process of its own."""
    settings = {
        "ZARR_ARRAY__ORDER": "x",
        "ZARR_ASYNC__CONCURRENCY": "abc",
        "ZARR_CODEC_PIPELINE__PATH": "no.such",
        "ZARR_DEFAULT_ZARR_FORMAT": "7",
    }
    file = stores.write(tmp_path)
    script = (
        "from spectral_icl.cli import cli\n"
        "cli(['flow', '--out', 'flow.zarr'], standalone_mode=False)\n"
        f"cli(['sweep', {file.name!r}, '--out', 'sweep.zarr'], standalone_mode=False)\n"
        "import spectral_icl as si\n"
        "si.Solution.load('flow.zarr'), si.open_sweep('sweep.zarr')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=os.environ | settings, check=True)
