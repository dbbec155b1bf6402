"""spectral-icl warm: what it leaves nothing of to later commands, what it prints and refuses."""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from shell import run
from strict import strict

from spectral_icl import warm
from spectral_icl.kernels.compile import entries
from spectral_icl.multitask.context import LAWS

EXAMPLES = Path(__file__).parents[2] / "examples"
MAIN = "from spectral_icl.cli import main; main()"
BEGUN = (
    r"\d+ pieces of work in \d process(es)?; where nothing is compiled yet "
    r"the longest take half a minute \.\.\."
)
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # in the background too

# commands say on their last line what they have compiled
COUNTED = """
import atexit, sys
from spectral_icl.cli import main
from spectral_icl.kernels.compile import entries
told = lambda: print("compiled", [f.__name__ for f in entries if f.stats.cache_misses], file=sys.stderr)
atexit.register(told)
main()
"""
LIBRARY = """
import sys
import numpy as np
import spectral_icl as si
from spectral_icl.kernels.compile import entries
p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
omega, mu = start = si.initial.paper(p, 3, 0.1, 0.1, 0.2)
views = np.asfortranarray(omega), np.asfortranarray(mu)
many = np.stack([omega] * 4, axis=-1).transpose(2, 0, 1), np.stack([mu] * 4, axis=-1).transpose(2, 0, 1)
for kernel in sys.argv[1:]:
    si.loss(p, *many, kernel), si.gradient(p, *views, kernel), si.hessian(p, *views, kernel)
    for flavour in (si.Balanced(), si.Factored(1e-6, 1e-6), si.Merged()):
        options = {"parametrization": flavour, "t_end": 2.0, "kernel": kernel}
        sol = si.gradient_flow(p, *views, t_eval=[0.0, 1.0], **options)
        for one in (sol, si.Solution.from_xarray(sol.to_xarray())):
            one(1.0), one([0.5, 1.0]), one.loss, one.phases, one.forecast, one.saturation, one.shares
        for asked in ({}, {"phases": True}, {"t_eval": [0.0, 1.0]}, {"stationary": 1e-6}):
            si.gradient_flow_ensemble([p] * 3, *views, **options, **asked)
    si.optimal.minimise(p, heads=2, kernel=kernel)
    for check in si.theorems.check(p, *start, kernel=kernel, prompts=200):
        assert check.verdict is not None
X = np.random.default_rng(0).standard_normal((4, 6, 5))
for prompts in (X, X.swapaxes(1, 2), X[:2, :4], X.tolist()):
    y = np.asarray(prompts)[..., 0].copy()
    si.sparse.p2o(prompts, y, 0.01, 3), si.sparse.gd(prompts[0], y[0], 0.01, 3)
    si.sparse.gd(prompts, y, [0.01] * len(y), 3)
print("compiled", [f.__name__ for f in entries if f.stats.cache_misses], file=sys.stderr)
"""


def finish(code: str, cache: Path, *args: str | Path) -> str:
    """Standard error of a fresh process with a cache."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def kept(folder: Path) -> dict[str, list[str]]:
    """The types that a folder has code for, in words, by the names of the entries."""
    found = {}
    for made in entries:
        (path,) = folder.rglob(f"{made._cache.name}.nbi")
        with path.open("rb") as file:
            pickle.load(file)  # the version of numba
            _, overloads = pickle.loads(file.read())
        assert all((path.parent / name).exists() for name in overloads.values())
        found[made.__name__] = [str(key[0]) for key in overloads]
    return found


@pytest.mark.slow
def test_interrupted_and_done_again_it_leaves_nothing_to_compile(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS + MAIN, "warm", "--workers", "2"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(15.0)  # while something compiles
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=30)  # until nobody is left who could write
    assert process.returncode == 130
    assert re.fullmatch(f"{BEGUN}\n+Error: interrupted\n", err)

    assert re.fullmatch(f"{BEGUN}\n", finish(MAIN, cache, "warm", "--workers", "2"))
    found = kept(cache)
    assert all(found.values()), found
    for name in (
        "integrate",
        "advance_many",
        "measure_phases",
        "loss_curves",
        "task_losses",
        "task_losses_all",
    ):
        for container in ("Asymptotic", "FirstOrder"):
            assert any(container in types for types in found[name]), (name, container)

    began = time.monotonic()
    assert re.fullmatch(f"{BEGUN}\ncompiled \\[\\]\n", finish(COUNTED, cache, "warm"))
    assert time.monotonic() - began < 30.0
    for law in LAWS:
        kernel = ["--set", f"model.kernel={law}"]
        for command in (
            [
                "flow",
                EXAMPLES / "two_tasks.toml",
                "--plot",
                tmp_path / "flow.pdf",
                "--out",
                tmp_path / "a.nc",
            ],
            ["flow", EXAMPLES / "escape.toml"],
            ["optimal", EXAMPLES / "two_tasks.toml"],
            ["verify", EXAMPLES / "two_tasks.toml", "--report", tmp_path / "page.html"],
            ["sweep", EXAMPLES / "sweeps" / "escape.toml", "--out", tmp_path / f"{law}.zarr"],
        ):
            assert finish(COUNTED, cache, *command, *kernel).endswith("compiled []\n"), command
    for command in (
        ["sparse", "--set", "study.prompts=40"],
        ["plot", tmp_path / "a.nc", "--out", tmp_path / "b.pdf"],
    ):
        assert finish(COUNTED, cache, *command).endswith("compiled []\n"), command
    assert finish(LIBRARY, cache, *LAWS).endswith("compiled []\n")


def test_what_is_there_is_not_compiled_again() -> None:
    """JSON is one object; in words a line for each piece comes first, then how much there is, and where."""
    status, out, err = run("warm", "--json", "--kernel", "asymptotic")
    assert status == 0
    assert re.fullmatch(f"{BEGUN}\n", err)
    table = strict(out)
    assert Path(table["cache"]) == warm.where_kept()
    assert table["bytes"] > 100_000
    pieces = {(piece["work"], piece["kernel"]) for piece in table["pieces"]}
    assert pieces == {(piece.work, piece.kernel) for piece in warm.plan(["asymptotic"])}

    status, out, _ = run("warm", "--workers", "1", "--kernel", "large-L")  # the law's old name
    assert status == 0
    *lines, count, cache = out.splitlines()
    assert len(lines) == len(pieces)
    assert all(re.fullmatch(r"\w+(, asymptotic law)?: there already, for .*", line) for line in lines)
    assert count == "nothing to compile"
    assert re.fullmatch(r"cache /.*: \d+\.\d MB, for processors like .+", cache)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (
            ["--kernel", "cubic"],
            r"--kernel: expected one of 'asymptotic', 'first-order', 'exact', got 'cubic'",
        ),
        (["--workers", "0"], r"--workers: expected a whole number >= 1 and <= 4096, got 0"),
        (["--workers", "x"], r"Invalid value for '--workers': 'x' is not a valid integer\."),
    ],
)
def test_bad_input_is_one_line(args: list[str], complaint: str) -> None:
    status, out, err = run("warm", *args)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"Error: {complaint}\n", err)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Other commands take another, and say so when they compile."""
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "warm"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"Error: NUMBA_CACHE_DIR: expected a folder that can be written, got '.*'\n", done.stderr
    )


def test_code_that_cannot_be_kept_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """In other commands it costs only time; here nothing else was asked for."""
    failure = OSError(errno.ENOSPC, "No space left on device", "index.nbi")
    monkeypatch.setattr(warm, "failures", [failure])
    monkeypatch.setattr(warm, "_in_processes", lambda pieces, workers: map(warm.do, pieces[-1:]))
    status, out, err = run("warm")
    assert (status, out) == (1, "")
    assert re.fullmatch(f"{BEGUN}\nError: index.nbi: No space left on device\n", err)


def test_a_process_that_is_killed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> Iterator[warm.Done]:
        yield warm.Done(warm.Piece("descents"), (), 0.0)
        raise BrokenProcessPool

    monkeypatch.setattr(warm, "warm", killed)
    status, out, err = run("warm")
    assert (status, out.count("\n")) == (1, 1)
    assert err == "Error: a process was killed; fewer --workers need less memory\n"
