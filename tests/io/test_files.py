"""What is written replaces its like and nothing else, whole or not at all, and never its own input."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure
from shell import run

import spectral_icl as si
from spectral_icl.figures import page, style
from spectral_icl.io.checks import ProblemError
from spectral_icl.io.files import FIGURES, FLOW, SUFFIXES, check_targets
from spectral_icl.theorems.report import SparseReport

TWO = si.Problem.multitask(task_sizes=(2, 2), signal=1.0, noise=0.1, context_length=100)
FLOW_FILE = (
    "[problem]\ntask_sizes = [2, 2]\nsignal = 1.0\nnoise = 0.1\ncontext_length = 100\n[flow]\nt_end = 5.0\n"
)
AXIS = '[[axis]]\npath = "problem.context_length"\nvalues = [50, 100]\n'


@pytest.fixture(scope="module")
def solved() -> si.Solution:
    return si.gradient_flow(TWO, *si.initial.paper(TWO, 2), t_end=5.0)


@pytest.fixture
def writers(solved: si.Solution) -> dict[str, Callable[[Path], None]]:
    """What writes a file, by its suffix."""
    return {
        **dict.fromkeys(SUFFIXES, solved.save),
        **dict.fromkeys(FIGURES, lambda path: style.save(Figure(), path)),
        ".html": lambda path: page.save_sparse(SparseReport(()), path),
    }


ALL = pytest.mark.parametrize("suffix", [*SUFFIXES, *FIGURES, ".html"])


def contents(folder: Path) -> dict[str, object]:
    """Everything below a folder: the bytes of files, where links lead to, and None for folders."""
    return {
        str(p.relative_to(folder)): os.readlink(p)
        if p.is_symlink()
        else p.read_bytes()
        if p.is_file()
        else None
        for p in sorted(folder.rglob("*"))
    }


Writers = dict[str, Callable[[Path], None]]


@ALL
def test_a_file_replaces_one_of_its_kind_or_an_empty_one(
    tmp_path: Path, writers: Writers, suffix: str
) -> None:
    path = tmp_path / f"run{suffix}"
    if suffix == ".zarr":
        path.mkdir()
    else:
        path.touch()
    for _ in range(2):
        before = path.stat().st_ino
        writers[suffix](path)
        assert path.stat().st_ino != before
        assert list(tmp_path.iterdir()) == [path]


def foreign(name: str, solved: si.Solution) -> dict[str, Callable[[Path], object]]:
    """Things that a user may have at a name, and what makes them."""
    data = solved.to_xarray()
    newer = data.assign_attrs(provenance=json.dumps({"format": FLOW.replace("1", "2")}))
    other = xarray.Dataset({"temperature": ("x", np.arange(3.0))})
    if not name.endswith(".zarr"):
        things: dict[str, Callable[[Path], object]] = {
            "notes": lambda path: path.write_bytes(b"my notes"),
            "a pipe": os.mkfifo,
            "a folder": Path.mkdir,
        }
        for kind, magic in {
            "pdf": b"%PDF-1.7",
            "png": b"\x89PNG\r\n",
            "svg": b"<?xml",
            "html": b"<!DOCTYPE html>",
        }.items():
            things[kind] = lambda path, magic=magic: path.write_bytes(magic + b" my own")
        for kind, one in {"a newer flow": newer, "a dataset": other}.items():
            things[kind] = lambda path, one=one: one.to_netcdf(path, engine="h5netcdf")
        return things

    def with_notes(path: Path) -> None:
        solved.save(path)
        (path / "omega" / "c" / "notes.txt").write_text("my notes")

    def with_link(path: Path) -> None:
        solved.save(path)
        (path / "omega" / "c" / "notes").symlink_to(path / "zarr.json")

    return {
        "a file": lambda path: path.write_bytes(b"my notes"),
        "notes": lambda path: (path.mkdir(), (path / "notes.txt").write_text("my notes")),
        "a flow with notes": with_notes,
        "a flow with a link": with_link,
        "a newer flow": lambda path: newer.to_zarr(path, consolidated=False),
        "a dataset": lambda path: other.to_zarr(path, consolidated=False),
        "a sweep": lambda path: run(
            "sweep", str(_file(path.parent / "s.toml", FLOW_FILE + AXIS)), "--out", str(path)
        ),
    }


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@ALL
def test_anything_else_is_refused_and_stays(
    tmp_path: Path, writers: Writers, solved: si.Solution, suffix: str
) -> None:
    for k, (what, make) in enumerate(foreign(suffix, solved).items()):
        path = tmp_path / f"{k}{suffix}"
        make(path)
        before = contents(tmp_path)
        with pytest.raises(ProblemError, match=r"^path: expected ") as caught:
            writers[suffix](path)
        assert "\n" not in str(caught.value), what
        assert contents(tmp_path) == before, what


@ALL
def test_a_link_is_followed(tmp_path: Path, writers: Writers, suffix: str) -> None:
    (tmp_path / "far").mkdir()
    path, target = tmp_path / f"link{suffix}", tmp_path / "far" / "target"
    writers[suffix](tmp_path / f"first{suffix}")
    (tmp_path / f"first{suffix}").rename(target)
    path.symlink_to(target)
    before = target.stat().st_ino
    writers[suffix](path)
    assert path.readlink() == target
    assert target.stat().st_ino != before
    assert [entry.name for entry in (tmp_path / "far").iterdir()] == ["target"]


@ALL
def test_a_link_to_nothing_is_refused(tmp_path: Path, writers: Writers, suffix: str) -> None:
    gone, loop = tmp_path / f"gone{suffix}", tmp_path / f"loop{suffix}"
    gone.symlink_to(tmp_path / "nothing")
    loop.symlink_to(loop)
    before = contents(tmp_path)
    for path in (gone, loop):
        with pytest.raises(ProblemError, match=r"^path: expected .*link"):
            writers[suffix](path)
    assert contents(tmp_path) == before


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A block in which the system refuses to make a file larger than that, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@ALL
@pytest.mark.parametrize("existing", [True, False])
def test_a_file_that_does_not_fit_leaves_the_old_one(
    tmp_path: Path, writers: Writers, monkeypatch: pytest.MonkeyPatch, suffix: str, existing: bool
) -> None:
    path = tmp_path / f"run{suffix}"
    if existing:
        writers[suffix](path)
    before = contents(tmp_path)
    with largest_file(60), pytest.raises(OSError, match=re.escape(str(path))) as caught:
        writers[suffix](path)
    assert caught.value.errno == errno.EFBIG
    assert contents(tmp_path) == before

    def full(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=re.escape(str(path))):
        writers[suffix](path)
    assert contents(tmp_path) == before


def test_a_full_disk_is_one_line_and_status_1(tmp_path: Path) -> None:
    file = _file(tmp_path / "two.toml", FLOW_FILE)
    for option, name in (("--out", "run.nc"), ("--out", "run.zarr"), ("--plot", "run.pdf")):
        with largest_file(60):
            status, _, err = run("flow", str(file), option, str(tmp_path / name))
        assert (status, err) == (1, f"Error: {tmp_path / name}: File too large\n")
        assert list(tmp_path.iterdir()) == [file]


def test_an_old_folder_is_not_lost_when_it_cannot_be_put_back(
    tmp_path: Path, solved: si.Solution, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.zarr"
    solved.save(path)
    move = os.replace

    def moved(self: Path, target: Path) -> Path:
        if target == path:
            raise OSError(errno.EIO, "broken")
        move(self, target)
        return target

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", moved)
        patch.setattr(Path, "rename", moved)
        with pytest.raises(OSError, match="broken"):
            solved.save(path)
    (kept,) = tmp_path.glob(".spectral-icl-*/replaced")
    kept.rename(path)
    assert si.Solution.load(path).loss.tolist() == solved.loss.tolist()


def test_outputs_are_apart_from_each_other_and_from_the_input(tmp_path: Path, solved: si.Solution) -> None:
    solved.save(tmp_path / "run.zarr")
    style.save(Figure(), tmp_path / "figure.pdf")
    (tmp_path / "link.pdf").symlink_to("figure.pdf")
    (tmp_path / "linked").symlink_to(tmp_path)
    (tmp_path / "hard.pdf").hardlink_to(tmp_path / "figure.pdf")
    figure = tmp_path / "figure.pdf"
    for other in (figure, tmp_path / "link.pdf", tmp_path / "hard.pdf", tmp_path / "linked" / "figure.pdf"):
        with pytest.raises(ProblemError, match=r"^--plot: expected a file apart from FILE"):
            check_targets({"--plot": (other, FIGURES)}, figure)
        with pytest.raises(ProblemError, match=r"^--plot: expected a file apart from --out"):
            check_targets({"--out": (other, FIGURES), "--plot": (figure, FIGURES)}, None)
    flow, inside = tmp_path / "run.zarr", tmp_path / "run.zarr" / "figure.pdf"
    with pytest.raises(ProblemError, match=r"^--plot: expected a file apart from --out"):
        check_targets({"--out": (flow, SUFFIXES), "--plot": (inside, FIGURES)}, None)
    check_targets({"--out": (None, SUFFIXES), "--plot": (figure, FIGURES)}, tmp_path / "two.toml")


@pytest.mark.parametrize(
    ("command", "option", "suffix"),
    [
        ("flow", "--out", ".nc"),
        ("flow", "--plot", ".pdf"),
        ("verify", "--report", ".html"),
        ("optimal", "--plot", ".png"),
        ("nonlinear", "--plot", ".pdf"),
        ("sparse", "--plot", ".svg"),
        ("plot", "--out", ".pdf"),
    ],
)
def test_a_command_does_not_write_over_its_input(
    tmp_path: Path, command: str, option: str, suffix: str
) -> None:
    file = tmp_path / f"input{suffix}"
    file.write_text(FLOW_FILE)
    (tmp_path / f"link{suffix}").symlink_to(file)
    before = contents(tmp_path)
    for target in (file, tmp_path / f"link{suffix}"):
        status, out, err = run(command, str(file), option, str(target))
        assert (status, out) == (2, "")
        assert re.fullmatch(rf"Error: {option}: expected a file apart from (FILE|PATH), got .*\n", err)
    assert contents(tmp_path) == before


def test_the_default_name_of_a_figure_is_not_taken_from_a_user(
    tmp_path: Path, solved: si.Solution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    solved.save("run.nc")
    Path("run-flow.pdf").write_bytes(b"%PDF my own")
    status, out, err = run("plot", "run.nc")
    assert (status, out) == (2, "")
    assert re.fullmatch(r"Error: --out: expected a new name, .*'run-flow\.pdf'\n", err)
    assert Path("run-flow.pdf").read_bytes() == b"%PDF my own"


@pytest.mark.skipif(os.name != "posix", reason="names are bytes there only")
def test_a_name_that_is_no_text_works(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    file = tmp_path / f"{name}.toml"
    file.write_text(FLOW_FILE)
    for suffix, figure in ((".nc", ".pdf"), (".zarr", ".svg")):
        out, plot = tmp_path / f"{name}{suffix}", tmp_path / f"{name}{figure}"
        status, text, err = run("flow", str(file), "--out", str(out), "--plot", str(plot), "--json")
        assert (status, err) == (0, "")
        text.encode()
        assert si.Solution.load(out).success
        assert plot.exists()
    status, text, _ = run("flow", str(file))
    assert (status, text.splitlines()[0]) == (
        0,
        f"{tmp_path}/\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.toml",
    )
