"""Engines that do not start, that nobody else can use, and what they say."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import stores
from clusters import cluster
from distributed import Client, Security
from shell import run

from spectral_icl.io.checks import ProblemError
from spectral_icl.sweeps.engines import EngineError, Job, Scheduler, Workers


class Squares:
    """A task of which batch 3 fails."""

    def __call__(self, job: Job, /, threads: int = 1) -> int:
        """The square of the number of the batch."""
        if job.batch == 3:
            raise ZeroDivisionError("three\nis too many")
        return job.batch**2

    def differences(self) -> str:
        """No differences."""
        return ""


def never() -> bool:
    """No interrupt."""
    return False


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A name for a store."""
    return tmp_path / "run.zarr"


def refused(out: Path, *args: str, **environment: str) -> tuple[int, str]:
    """Status and error of ``sweep`` in a process of its own: one line, and no store."""
    status, text, err = stores.finish(
        stores.command(stores.write(out.parent), "--out", out, *args, **environment)
    )
    assert text == ""
    assert re.fullmatch("Error: .+\n", err), err
    assert not out.exists()
    return status, err


def test_nobody_else_can_use_workers() -> None:
    """Other users of the machine reach its ports; what a scheduler is told to run, it runs."""
    with Workers(1)(1) as runner:
        client = runner.args[0]  # type: ignore[attr-defined]
        about = client.scheduler_info()
        ((address, worker),) = about["workers"].items()
        for place in (client.scheduler.address, address, worker["nanny"]):
            assert place.startswith("tls://127.0.0.1:")
            with pytest.raises(OSError, match="closed"):
                Client(place.replace("tls", "tcp"), timeout=2, set_as_default=False)
            with pytest.raises(OSError, match="certificate does not match"):
                Client(place, security=Security.temporary(), timeout=2, set_as_default=False)
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{about['services']['dashboard']}/info/main/workers.html")
        private = Path(worker["local_directory"]).parents[1]
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert not private.exists()


def test_failure_in_a_worker_is_one_line_and_the_environment_stays() -> None:
    before = dict(os.environ)
    with Workers(1)(1) as runner:
        assert list(runner(Squares(), [Job(2)], never)) == [4]
        with pytest.raises(
            EngineError, match=r"^batch 3 failed in a worker \(ZeroDivisionError: three is to"
        ):
            list(runner(Squares(), [Job(3)], never))
    assert dict(os.environ) == before


def test_configuration_that_dask_cannot_read_is_one_line(out: Path) -> None:
    (out.parent / "dask").mkdir()
    (out.parent / "dask" / "dask.yaml").write_text("distributed: [1, {")
    configured = {"DASK_CONFIG": str(out.parent / "dask")}
    for args in (["--workers", "1"], ["--scheduler", "127.0.0.1:9"]):
        status, err = refused(out, *args, **configured)
        assert status == 2
        assert re.match(r"Error: --out: expected the package 'distributed' to be usable \(ValueError: ", err)
    done = subprocess.run(
        [sys.executable, "-c", "from spectral_icl.cli import main; main()", "flow", "--out", out],
        env={**os.environ, **configured},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"Error: --out: expected the package 'xarray' to be usable \(V.*\n", done.stderr)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("DASK_DISTRIBUTED__COMM", "3", "AttributeError"),  # which every worker would tell for itself
        ("DASK_DISTRIBUTED__ADMIN__EVENT_LOOP", "foo", "ValueError"),  # a coroutine is left behind
        pytest.param(
            "DASK_DISTRIBUTED__WORKER__PRELOAD", "absent", "ModuleNotFoundError", marks=pytest.mark.slow
        ),
        pytest.param("DASK_DISTRIBUTED__COMM__TLS__MIN_VERSION", "9", "ValueError", marks=pytest.mark.slow),
    ],
)
def test_workers_that_do_not_start_are_one_line(out: Path, name: str, value: str, reason: str) -> None:
    status, err = refused(out, "--workers", "1", **{name: value})
    assert status == 1
    assert err.startswith(f"Error: the workers do not start ({reason}: ")


def test_address_needs_the_credentials_that_it_names(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = stores.write(out.parent)
    for scheme, expected in (("tls", "TLS credentials"), ("ucx", "an address"), ("inproc", "an address")):
        status, text, err = run(
            "sweep", str(file), "--out", str(out), "--scheduler", f"{scheme}://localhost:9"
        )
        assert (status, text) == (2, "")
        assert re.fullmatch(f"Error: --scheduler: expected {expected}.*\n", err)
    with pytest.raises(ProblemError, match="require-encryption"), _config({"require-encryption": True}):
        Scheduler("localhost:9")
    missing = {"tls.ca-file": str(out), "tls.client.cert": str(out)}
    with pytest.raises(ProblemError, match="can be read"), _config(missing):
        Scheduler("tls://localhost:9")
    assert not out.exists()


def _config(entries: dict[str, object]) -> object:
    import dask

    return dask.config.set({f"distributed.comm.{key}": value for key, value in entries.items()})


def test_what_is_no_scheduler_is_not_waited_for(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a web server, whose answer dask takes for the length of one."""
    monkeypatch.setattr(BaseHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setattr("spectral_icl.sweeps.engines._PATIENCE", 1)
    file = stores.write(out.parent)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        answer = run("sweep", str(file), "--out", str(out), "--scheduler", address)
        server.shutdown()
    assert answer == (1, "", f"Error: no scheduler answers at {address}\n")
    assert not out.exists()


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler whose worker has not this package, nor has the scheduler."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text("import sys\nsys.modules['spectral_icl'] = None\n")
    with cluster({"PYTHONPATH": str(tmp_path / "hook")}, workers=1) as (_, address):
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(1)
        yield address


def test_workers_without_the_package_are_one_line(out: Path, strangers: str) -> None:
    status, err = refused(out, "--scheduler", strangers)
    assert status == 1
    assert re.match(r"Error: the workers cannot be used \(.*ModuleNotFoundError.*spectral_icl", err)
