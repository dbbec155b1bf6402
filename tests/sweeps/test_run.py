"""The command ``sweep``: the same bytes whoever computes them, and whatever happens on the way."""

import errno
import fcntl
import json
import logging
import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import stores
from clusters import cluster
from shell import run
from weights import slow
from zarr.storage import LocalStore

from spectral_icl.io import progress
from spectral_icl.sweeps.engines import EngineError, Job, Scheduler
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.run import BatchTask
from spectral_icl.sweeps.store import Store


@pytest.fixture(autouse=True)
def _epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stores.EPOCH.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module", autouse=True)
def _ensemble_compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Or loaded from the cache, where the processes of the tests find it too."""
    stores.plan(tmp_path_factory.mktemp("compiled")).solve(0, 1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of an uninterrupted run in one process."""
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stores.EPOCH.items():
            patch.setenv(name, value)
        status, _, err = sweep(stores.write(folder), folder / "run.zarr")
    assert status == 0, err
    return folder / "run.zarr"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return stores.write(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run.zarr"


def sweep(file: Path, out: Path, *args: str) -> tuple[int, str, str]:
    """The command in this process."""
    return run("sweep", str(file), "--out", str(out), *args)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 60.0) -> Any:
    """What ``condition`` gives as soon as it is true, while the process runs."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def finished_batches(out: Path) -> int:
    folder = out / "status" / "c"
    return len(os.listdir(folder)) if folder.exists() else 0


# --- what it prints --------------------------------------------------------------------------------------


def test_text_and_json_say_what_became_of_the_points(file: Path, out: Path) -> None:
    status, text, err = sweep(file, out)
    assert status == 0
    assert re.fullmatch(
        r".*sweep\.toml: 24 points\n  solved    24, loss \d\S+ to \d\S+\nwrote .*run\.zarr\n", text
    )
    assert re.fullmatch(r"24/24 points, \S+/s, 0 failed, loss \S+ to \S+\n", err)
    status, text, err = sweep(file, out, "--json")  # of what is there already
    assert (status, err) == (0, "")
    table = json.loads(text)
    loss = Store.open(out).arrays["loss"][:]
    assert table == {
        "path": str(out),
        "points": 24,
        "solved": 24,
        "failed": {},
        "pending": 0,
        "saturated": None,
        "loss": [loss.min(), loss.max()],
        "lost_batches": [],
        "stopped": None,
    }


def test_failed_points_are_counted_and_advised_about(tmp_path: Path, out: Path) -> None:
    """Those that run out of steps."""
    text = stores.TEXT.replace("t_end = 0.5", "t_end = 0.5\nmax_steps = 1000")
    text = text.replace(
        'path = "problem.noise"\nvalues = [0.05, 0.5]', 'path = "flow.max_steps"\nvalues = [1000, 2]'
    )
    file = stores.write(tmp_path, text)
    for _ in range(2):  # the second time nothing is left to do, and the answer is the same
        status, printed, err = sweep(file, out, "--json")
        assert status == 1
        assert "Error" not in err
        table = json.loads(printed)
        assert table["solved"] == 12
        (failure,) = table["failed"].items()
        assert failure[0] == "step_limit"
        assert (failure[1]["points"], failure[1]["first"]) == (12, 4)
        assert "max_steps" in failure[1]["advice"]
    status, printed, _ = sweep(file, out)
    assert re.search(r"^  step_limit 12, the first is point 4: ran out of steps", printed, re.MULTILINE)
    assert np.isfinite(table["loss"]).all()


def test_saturated_points_are_told_of(tmp_path: Path, out: Path) -> None:
    """They are solved, but the kernel was wrong for them: nobody should have to look for that."""
    axis = '[[axis]]\npath = "initial.qk"\nvalues = [0.1, 4.0]\n'
    text = stores.TEXT[: stores.TEXT.index("[[axis]]")] + axis
    text = text.replace('"random"\nscale = 0.1', '"paper"')
    file = stores.write(tmp_path, text)
    status, printed, _ = sweep(file, out)
    assert status == 0
    assert re.search(r"^  saturated 1 of the solved, the first is point 1: they left", printed, re.MULTILINE)
    _, printed, _ = sweep(file, out, "--json")
    assert json.loads(printed)["saturated"] == {"number": 1, "first": 1}


def test_invalid_points_are_explained(tmp_path: Path, out: Path) -> None:
    axis = (
        '[[axis]]\npath = "problem.tasks"\nvalues = [2, 3]\n[[axis]]\npath = "model.heads"\nvalues = [2, 3]\n'
    )
    text = stores.TEXT[: stores.TEXT.index("[[axis]]")] + axis
    text = text.replace("[4, 4]", "4").replace("[10.0, 10.0]", "10.0")
    text = text.replace('"random"\nscale = 0.1', '"dominant"')
    status, printed, _ = sweep(stores.write(tmp_path, text), out, "--json")
    assert status == 1
    table = json.loads(printed)
    assert (table["solved"], table["pending"]) == (3, 0)
    invalid = table["failed"]["invalid"]
    assert (invalid["points"], invalid["first"]) == (1, 2)  # three tasks, two heads
    assert "heads" in invalid["advice"]


def test_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("spectral_icl.io.progress.time.monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO, "spectral_icl"), progress.Progress(100, 20) as bar:
        for _ in range(8):
            bar.update(10, "0 failed")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1].startswith("100/100 points, ")
    assert 2 <= len(lines) <= 5
    assert all(re.fullmatch(r"\d+/100 points, \S+/s, (\S+ s left, )?0 failed", line) for line in lines)


def test_progress_is_a_bar_on_a_terminal(file: Path, out: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    done = subprocess.run(
        [sys.executable, "-c", "from spectral_icl.cli import main; main()", "sweep", file, "--out", out],
        stdout=subprocess.PIPE,
        stderr=follower,
        timeout=120,
        check=True,
    )
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "24/24" in shown
    assert re.search(r"points/s, 0 failed, loss \S+ to ", shown)
    assert done.stdout.endswith(b"run.zarr\n")


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--shard", "3/3"], r"--shard: expected i/n with 0 <= i < n, got '3/3'"),
        (["--shard", "1"], r"--shard: expected i/n"),
        (["--shard", "-1/3"], r"--shard: expected i/n"),
        (["--shard", "0/0"], r"--shard: expected i/n"),
        (["--workers", "0"], r"--workers: expected a whole number >= 1"),
        (["--workers", "2", "--shard", "0/2"], r"--shard: expected nothing beside --workers"),
        (["--scheduler", "x:1", "--shard", "0/2"], r"--scheduler: expected nothing beside --shard"),
        (["--scheduler", "nonsense"], r"--scheduler: expected an address \(missing port"),
        (["--scheduler", "gopher://x:70"], r"--scheduler: expected an address \(unknown"),
        (["--set", "seed=-1"], r"seed: expected"),
        (["--set", "problem.context_length=0"], r"problem\.context_length"),
    ],
)
def test_bad_input_is_one_line_and_makes_no_store(
    file: Path, out: Path, args: list[str], complaint: str
) -> None:
    if "context_length" in args[-1]:
        file.write_text(file.read_text().replace('"problem.context_length"', '"problem.signal[0]"'))
    status, text, err = sweep(file, out, *args)
    assert (status, text) == (2, "")
    assert re.fullmatch(f"Error: {complaint}.*\n", err)
    assert not out.exists()


def test_another_plan_is_refused_and_nothing_touched(file: Path, tmp_path: Path, reference: Path) -> None:
    out = shutil.copytree(reference, tmp_path / "run.zarr")
    status, text, err = sweep(file, out, "--set", "seed=8")
    assert (status, text) == (2, "")
    assert re.fullmatch(r"Error: --out: expected .*store of this plan.*run\.zarr'\n", err)
    assert stores.differing(out, reference) == []


@pytest.mark.parametrize(
    ("missing", "args"),
    [("zarr", []), ("distributed", ["--workers", "2"]), ("cryptography", ["--workers", "2"])],
)
def test_missing_package_is_one_line(file: Path, out: Path, missing: str, args: list[str]) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from spectral_icl.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "sweep", file, "--out", out, *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(rf"Error: --out: .*{missing}.*pip install 'spectral-icl\[sweep\]'.*\n", done.stderr)
    assert not out.exists()


def test_another_version_is_told_of(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_icl.io import provenance

    assert sweep(file, out, "--shard", "0/2")[0] == 0
    machine = provenance._machine()
    monkeypatch.setattr(provenance, "_machine", lambda: {**machine, "spectral-icl": "9.9", "cpu": "abacus"})
    status, _, err = sweep(file, out)
    assert status == 0
    line = err.splitlines()[0]
    assert "spectral-icl 9.9 (was " in line
    assert "cpu abacus (was " in line


# --- the same bytes ----------------------------------------------------------------------------------------


def test_shards_together_are_the_whole(file: Path, out: Path, reference: Path) -> None:
    processes = [stores.command(file, "--out", out, "--shard", f"{i}/3", "--json") for i in range(3)]
    tables = []
    for process in processes:  # which start together, and of which one makes the store
        status, text, err = stores.finish(process)
        assert status == 0, err
        tables.append(json.loads(text))
    assert [table["points"] for table in tables] == [10, 9, 5]
    assert stores.differing(out, reference) == []


def test_dask_workers_give_the_same_bytes(file: Path, out: Path, reference: Path) -> None:
    status, text, err = stores.finish(stores.command(file, "--out", out, "--workers", "2"))
    assert status == 0, err
    assert "solved    24" in text
    # lines of progress, more than one on a busy machine, and nothing of dask's own log
    assert re.fullmatch(r"(\d+/24 points, .*\n)*24/24 points, .*\n", err)
    assert stores.differing(out, reference) == []


def test_batches_do_not_depend_on_threads_or_order(file: Path, out: Path, reference: Path) -> None:
    store = Store.attach(out, stores.plan(file.parent))
    for batch in reversed(range(store.plan.batches)):
        BatchTask(str(out), store.plan.digest())(Job(batch), threads=1 + batch % 2)
    assert stores.differing(out, reference) == []


@pytest.mark.slow  # shards, of which several write at once, are tried above
def test_two_writers_at_once_do_no_harm(file: Path, out: Path, reference: Path) -> None:
    processes = [stores.command(file, "--out", out) for _ in range(2)]
    for process in processes:
        status, _, err = stores.finish(process)
        assert status == 0, err
        assert "damaged" not in err
    assert stores.differing(out, reference) == []


# --- interruptions -----------------------------------------------------------------------------------------

MANY = stores.TEXT.replace("batch = 5", "batch = 2").replace(
    "replicates = 4", "replicates = 12"
)  # 36 batches


@pytest.mark.parametrize("kills", [2, slow(50)])
def test_killed_at_any_moment_and_resumed(tmp_path: Path, kills: int) -> None:
    file = stores.write(tmp_path, MANY)
    whole, out = tmp_path / "whole.zarr", tmp_path / "run.zarr"
    assert sweep(file, whole)[0] == 0
    moments = random.Random(0)
    partial = killed = 0
    while killed < kills:
        began = finished_batches(out)
        process = stores.command(file, "--out", out)
        wait_for(lambda: finished_batches(out) > began, process)  # noqa: B023
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill()
        stores.finish(process)
        killed += process.returncode == -signal.SIGKILL
        partial += any(out.rglob("*.partial"))
        if finished_batches(out) == 36:
            assert sweep(file, out)[0] == 0
            assert stores.differing(out, whole) == []
            shutil.rmtree(out)
    if out.exists():
        status, _, err = sweep(file, out)
        assert status == 0, err
        assert "damaged" not in err
        assert stores.differing(out, whole) == []


def test_killed_while_it_makes_the_store(tmp_path: Path, file: Path, reference: Path) -> None:
    """There is a whole store or none."""
    out = tmp_path / "run.zarr"
    moments = random.Random(1)
    for _ in range(3):
        process = stores.command(file, "--out", out)
        wait_for(lambda: any(tmp_path.glob(".spectral-icl-*")) or out.exists(), process)
        time.sleep(moments.uniform(0.0, 0.03))
        process.kill()
        stores.finish(process)
        if out.exists():
            assert Store.open(out).plan.size == 24
            shutil.rmtree(out)
        for scratch in tmp_path.glob(".spectral-icl-*"):
            shutil.rmtree(scratch)
    assert sweep(file, out)[0] == 0
    assert stores.differing(out, reference) == []


@pytest.mark.parametrize("args", [[], slow(["--workers", "2"])])
@pytest.mark.parametrize("number", [signal.SIGINT, slow(signal.SIGTERM), slow(signal.SIGHUP)])
def test_interrupt_finishes_what_has_begun_and_resumes(
    tmp_path: Path, file: Path, out: Path, reference: Path, args: list[str], number: int
) -> None:
    """Of the whole process group, as terminals and batch systems do it."""
    slow = stores.hook(tmp_path / "hook", "time.sleep(0.5)")
    process = stores.command(file, "--out", out, *args, **slow)
    wait_for(lambda: finished_batches(out) > 0, process)
    os.killpg(process.pid, number)
    status, text, err = stores.finish(process)
    assert status == 130, err
    left = 24 - int(re.search(r"pending +(\d+)", text)[1])  # type: ignore[index]
    assert 0 < left < 24
    *_, complaint = err.splitlines()
    assert complaint == (
        f"Error: interrupted. {left} of 24 points are safe in {out}: run the same command to continue"
    )
    assert "Traceback" not in err
    store = Store.open(out)
    assert sum(5 if b < 4 else 4 for b in range(5) if not store.is_pending(b)) >= left
    assert not list(out.rglob("*.partial"))
    assert stores.finish(stores.command(file, "--out", out, *args))[0] == 0
    assert stores.differing(out, reference) == []


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize(
    ("signals", "kept"), [([number], 2) for number in SIGNALS] + [([signal.SIGTERM, signal.SIGINT], 1)]
)
def test_first_interrupt_keeps_the_batch_and_the_second_does_not(
    file: Path, out: Path, reference: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int], kept: int
) -> None:
    solve = Plan.solve

    def interrupted(plan: Any, start: int, stop: int, threads: int | None = 1) -> Any:
        if start == 5:
            for number in signals:
                os.kill(os.getpid(), number)
        return solve(plan, start, stop, threads)

    handlers = [signal.getsignal(number) for number in SIGNALS]
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "solve", interrupted)
        status, text, err = sweep(file, out)
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
    assert status == 130
    assert finished_batches(out) == kept
    assert f"pending   {24 - 5 * kept}" in text
    assert err.splitlines()[-1].startswith(f"Error: interrupted. {5 * kept} of 24 points are safe")
    assert sweep(file, out)[0] == 0
    assert stores.differing(out, reference) == []


def test_interrupt_in_the_last_batch_is_none(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solve = Plan.solve

    def interrupted(plan: Any, start: int, stop: int, threads: int | None = 1) -> Any:
        if start == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return solve(plan, start, stop, threads)

    monkeypatch.setattr(Plan, "solve", interrupted)
    assert sweep(file, out)[0] == 0


# --- damage and full disks ---------------------------------------------------------------------------------


def test_damaged_batches_are_solved_again(file: Path, tmp_path: Path, reference: Path) -> None:
    out = shutil.copytree(reference, tmp_path / "run.zarr")
    os.truncate(out / "loss" / "c" / "1", 20)
    (out / "mu" / "c" / "3" / "0" / "0").unlink()
    os.truncate(out / "status" / "c" / "4", 3)
    status, text, err = sweep(file, out)
    assert status == 0
    assert err.splitlines()[0] == "chunks are damaged: solving batches 1, 3, 4 again"
    assert "solved    24" in text
    assert stores.differing(out, reference) == []


@pytest.mark.parametrize("write", [1, 12, 23, 24, 40, 110])
def test_full_disk_is_one_line_and_nothing_is_wrong_in_the_store(
    file: Path, out: Path, reference: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """The n-th chunk does not fit any more: at the start, in the middle, at a status."""
    Store.attach(out, stores.plan(file.parent))
    put, count = LocalStore.set, iter(range(1, 10_000))

    async def full(self: LocalStore, key: str, value: Any) -> None:
        if next(count) >= write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root / key))
        await put(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "set", full)
        if hasattr(LocalStore, "set_sync"):
            patch.setattr(LocalStore, "set_sync", lambda *_: pytest.fail("zarr writes in another way"))
        status, text, err = sweep(file, out)
    assert status == 1
    store = Store.open(out)
    kept = [b for b in range(5) if not store.is_pending(b)]
    number = sum(5 if b < 4 else 4 for b in kept)
    assert f"pending   {24 - number}" in text
    *_, complaint = err.splitlines()
    assert re.fullmatch(
        rf"Error: .*run\.zarr.*{os.strerror(errno.ENOSPC)}\. {number} of 24 points are safe in .*"
        r"run the same command to continue",
        complaint,
    )
    for batch in kept:
        assert not store.is_damaged(batch)
        for name in ("loss", "status", "mu"):
            expected = Store.open(reference).read(batch)[name]
            np.testing.assert_array_equal(store.read(batch)[name], expected)
    status, _, err = sweep(file, out)
    assert status == 0
    assert "damaged" not in err
    assert stores.differing(out, reference) == []


def test_full_disk_when_the_store_is_made(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run.zarr")

    monkeypatch.setattr("spectral_icl.sweeps.store._declare", full)
    status, text, err = sweep(file, out)
    assert (status, text) == (1, "")
    assert err == f"Error: run.zarr: {os.strerror(errno.ENOSPC)}\n"
    assert [path.name for path in out.parent.iterdir()] == ["sweep.toml"]


def test_store_that_became_read_only(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    assert sweep(file, out, "--shard", "0/2")[0] == 0
    before = stores.tree(out)
    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    status, text, err = sweep(file, out)
    assert (status, text) == (2, "")
    assert re.fullmatch(r"Error: --out: expected a name that can be written \(read-only.*\n", err)
    assert stores.tree(out) == before


def test_retry_solves_failed_points_alone(
    file: Path, out: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve = Plan.solve
    seen: list[tuple[int, int]] = []

    def failing(plan: Any, start: int, stop: int, threads: int | None = 1) -> Any:
        values = solve(plan, start, stop, threads)
        for k in {3, 7, 8, 23} & set(range(start, stop)):
            values["status"][k - start] = 4
            values["loss"][k - start] = np.nan
            values["mu"][k - start] = -7.0
        return values

    def watched(plan: Any, start: int, stop: int, threads: int | None = 1) -> Any:
        seen.append((start, stop))
        return solve(plan, start, stop, threads)

    monkeypatch.setattr(Plan, "solve", failing)
    status, text, _ = sweep(file, out)
    assert status == 1
    assert "step_underflow 4, the first is point 3: the step shrank" in text
    monkeypatch.setattr(Plan, "solve", watched)
    assert sweep(file, out)[0] == 1
    assert seen == []
    status, text, _ = sweep(file, out, "--retry-failed")
    assert status == 0
    assert seen == [(3, 4), (7, 8), (8, 9), (23, 24)]
    assert stores.differing(out, reference) == []


# --- workers and schedulers that die -----------------------------------------------------------------------


def children(process: subprocess.Popen[str]) -> list[int]:
    """Dask workers that a command has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            words = entry.joinpath("cmdline").read_text()
        except OSError:
            continue
        if parent == process.pid and "spawn_main" in words:
            found.append(int(entry.name))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.mark.slow
@needs_proc
def test_worker_killed_in_a_batch(tmp_path: Path, file: Path, out: Path, reference: Path) -> None:
    slow = stores.hook(tmp_path / "hook", "time.sleep(0.5)")
    process = stores.command(file, "--out", out, "--workers", "2", **slow)
    wait_for(lambda: finished_batches(out) > 0, process)
    os.kill(children(process)[0], signal.SIGKILL)
    status, _, err = stores.finish(process)
    assert status == 0, err
    assert stores.differing(out, reference) == []


@pytest.mark.slow
def test_batch_that_ends_its_workers_is_left_out(
    tmp_path: Path, file: Path, out: Path, reference: Path
) -> None:
    deadly = stores.hook(tmp_path / "hook", "start == 10 and os.kill(os.getpid(), signal.SIGKILL)")
    process = stores.command(file, "--out", out, "--workers", "2", "--json", **deadly)
    status, text, err = stores.finish(process)
    assert status == 1
    table = json.loads(text)
    assert (table["lost_batches"], table["solved"], table["pending"]) == ([2], 19, 5)
    assert re.search(r"^batch 2 is left out: 4 workers ended while they ran it$", err, re.MULTILINE)
    assert re.search(r"^Error: batch 2: .*run the same command to continue$", err, re.MULTILINE)
    assert sweep(file, out)[0] == 0
    assert stores.differing(out, reference) == []


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler and two workers, which are slow."""
    with cluster({**stores.EPOCH, **stores.hook(tmp_path / "hook", "time.sleep(0.3)")}) as found:
        yield found


@pytest.mark.slow
def test_scheduler_that_somebody_runs(
    file: Path, out: Path, reference: Path, scheduler: tuple[subprocess.Popen[str], str]
) -> None:
    boss, address = scheduler
    status, _, err = stores.finish(stores.command(file, "--out", out, "--scheduler", address))
    assert status == 0, err
    assert stores.differing(out, reference) == []
    assert boss.poll() is None  # it is not ours to stop


@pytest.mark.slow
def test_scheduler_that_dies(
    file: Path, out: Path, reference: Path, scheduler: tuple[subprocess.Popen[str], str]
) -> None:
    boss, address = scheduler
    process = stores.command(file, "--out", out, "--scheduler", address)
    wait_for(lambda: finished_batches(out) > 0, process)
    boss.kill()
    status, text, err = stores.finish(process)
    assert status == 1
    assert re.search(r"pending +\d", text)
    assert "Traceback" not in err
    assert re.fullmatch(
        r"Error: the scheduler is gone\. \d+ of 24 points are safe in .*run the same command to continue",
        err.splitlines()[-1],
    )
    assert sweep(file, out)[0] == 0
    assert stores.differing(out, reference) == []


def test_scheduler_that_does_not_answer(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_icl.sweeps.engines._PATIENCE", 1)
    status, text, err = sweep(file, out, "--scheduler", "127.0.0.1:1")
    assert (status, text, err) == (1, "", "Error: no scheduler answers at 127.0.0.1:1\n")
    assert not out.exists()
    Store.attach(out, stores.plan(file.parent))  # of which the points are told, if it was there
    status, text, err = sweep(file, out, "--scheduler", "127.0.0.1:1")
    assert status == 1
    assert "pending   24" in text
    assert err.startswith("Error: no scheduler answers at 127.0.0.1:1. 0 of 24 points are safe in")


def test_workers_that_cannot_see_the_store(
    file: Path, out: Path, scheduler: tuple[subprocess.Popen[str], str]
) -> None:
    """As on a cluster without a shared file system: here the store goes away before it is used."""
    store = Store.attach(out, stores.plan(file.parent))
    task = BatchTask(str(out), store.made["digest"])
    shutil.rmtree(out)
    gone = pytest.raises(EngineError, match=r"the worker on .* cannot use the store.*run\.zarr")
    with gone, Scheduler(scheduler[1])(1) as runner:
        next(runner(task, [Job(0)], lambda: False))


@pytest.mark.slow
def test_full_disk_in_a_worker(tmp_path: Path, file: Path, out: Path, reference: Path) -> None:
    full = stores.hook(tmp_path / "hook", "if start == 10: raise OSError(28, 'No space left on device')")
    status, _, err = stores.finish(stores.command(file, "--out", out, "--workers", "2", **full))
    assert status == 1
    assert re.search(r"^Error: .*run\.zarr: No space left on device\. \d+ of 24 points are safe", err, re.M)
    assert "Traceback" not in err
    assert sweep(file, out)[0] == 0
    assert stores.differing(out, reference) == []
