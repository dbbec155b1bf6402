"""`spectral-icl explore`: what it refuses, and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from explorer import started
from shell import run


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--port", "70000"), "--port: expected a whole number >= 0 and <= 65535, got 70000"),
        (("missing.toml",), "FILE: expected a readable file (no such file or directory), got 'missing.toml'"),
        (
            ("--set", "model.heads=9"),
            "model.heads: expected at most 8 heads, which fit on a page, got '9 heads'",
        ),
        (("--set", "model.heads=x"), "model.heads: expected a whole number, got 'x'"),
        (("--set", "problem.noise=-1"), "problem.noise"),
    ],
)
def test_bad_input_is_one_line(args: tuple[str, ...], said: str) -> None:
    status, out, err = run("explore", "--no-browser", *args)
    assert (status, out) == (2, "")
    assert err.startswith(f"Error: {said}")
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = run("explore", "--no-browser", "--port", str(port))
    assert (status, out) == (2, "")
    assert err == f"Error: --port: expected a port that is free (address already in use), got {port}\n"


@pytest.mark.parametrize("package", ["bokeh", "tomlkit"])
def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    status, _, err = run("explore", "--no-browser")
    assert status == 2
    install = "pip install 'spectral-icl[explore]'"
    assert err == f"Error: explore: expected the package {package!r} ({install}), got None\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_with_one_line(number: signal.Signals) -> None:
    process, _ = started()
    began = time.monotonic()
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # of which it says where it is
        pytest.fail("".join(process.communicate()))
    assert (process.returncode, out, err) == (130, "", "Error: interrupted\n")
    assert time.monotonic() - began < 5.0  # less than a second where nothing else runs


def test_it_can_be_ended_while_it_compiles(tmp_path: Path) -> None:
    """The compiler is at work in another thread, and takes nothing well."""
    tmp_path.chmod(0o700)
    process, url = started(NUMBA_CACHE_DIR=str(tmp_path))
    with urlopen(url) as page:  # whose first flow is begun
        assert page.status == 200
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    said = err.splitlines()
    assert (process.returncode, said[-1]) == (130, "Error: interrupted")
    assert all(line.startswith("compiling ") for line in said[:-1])


def test_the_file_and_the_port_are_those_of_the_command(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[problem]\ntask_sizes = [2]\nsignal = 1.0\nnoise = 0.1\ncontext_length = 9\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    process, url = started(str(file), "--port", str(port))
    process.kill()
    process.communicate()
    assert f"127.0.0.1:{port}/" in url
