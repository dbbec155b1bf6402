"""spectral-icl doctor: what it says of this machine, and of one where something is broken."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from shell import run
from strict import strict

import spectral_icl as si
from spectral_icl import warm
from spectral_icl.doctor.checks import CHECKS
from spectral_icl.kernels.lanes import WIDTH

PATH = os.pathsep.join(path for path in sys.path if path)


def told(folder: Path, code: str = "", **settings: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Status of a fresh process under some settings, and what it says of each check."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nfrom spectral_icl.cli import main; main()", "doctor"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if "NUMBA" not in name}
        | {"PYTHONPATH": PATH, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    lines = done.stdout.split("\nchecks\n")[1].splitlines()
    found = [re.fullmatch(r"  (ok|FAILED) +([\w ]+): (.*)", line) for line in lines]
    assert all(found), lines
    return done.returncode, {match[2]: (match[1], match[3]) for match in found if match}


def test_all_is_well_here() -> None:
    status, out, err = run("doctor", "--json")
    assert (status, err) == (0, "")
    said = strict(out)
    assert said["success"]
    assert said["versions"]["spectral-icl"].split()[0] == si.__version__
    assert said["versions"]["python"].split()[0] == platform.python_version()
    for package in ("numpy", "scipy", "numba", "llvmlite", "matplotlib", "zarr"):
        assert said["versions"][package] == version(package)
    assert said["machine"]["lanes"] == f"{WIDTH} float64"
    assert "threads" in said["machine"]["linear algebra"]
    assert [check["name"] for check in said["checks"]] == list(CHECKS)
    assert str(warm.where_kept()) in said["checks"][list(CHECKS).index("cache")]["found"]


def test_in_words_there_is_a_line_for_each_fact_and_check() -> None:
    status, out, _ = run("doctor")
    assert status == 0
    assert re.search(r"^  numba +\d", out, re.MULTILINE)
    assert len(re.findall(r"^  ok ", out, re.MULTILINE)) == len(CHECKS)
    assert "FAILED" not in out


def test_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_TOKEN", "of nobody else")
    assert re.search(r"^  OMP_NUM_THREADS +3$", run("doctor")[1], re.MULTILINE)
    assert "of nobody else" not in run("doctor", "--json")[1]


def test_an_extra_that_is_not_installed_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_icl.doctor import checks, facts

    for module in (checks, facts):
        monkeypatch.setattr(module, "installed", lambda name: None if name == "zarr" else version(name))
    status, out, _ = run("doctor")
    assert status == 0
    assert re.search(r"^  zarr +not installed$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("settings", "failing", "said"),
    [
        ({"NUMBA_OPT": "7"}, "settings of numba", "NUMBA_OPT: expected a value that numba understands, .*"),
        ({"NUMBA_DISABLE_JIT": "1"}, "settings of numba", "NUMBA_DISABLE_JIT: expected 0: .*"),
        (
            {"NUMBA_NUM_THREADS": "0"},
            "settings of numba",
            "NUMBA_NUM_THREADS: expected what numba can start .*",
        ),
        ({"OMP_NUM_THREADS": "all"}, "settings of threads", "OMP_NUM_THREADS: expected .*, got 'all'"),
        (
            {"NUMBA_CACHE_DIR": "file/cache"},
            "cache",
            r"NUMBA_CACHE_DIR: file/cache cannot be written \(Not a directory\); compiled code is kept in .*",
        ),
        (
            {"NUMBA_CACHE_DIR": "everybodys"},
            "cache",
            "NUMBA_CACHE_DIR: expected a folder of your own that nobody else can write .*",
        ),
    ],
)
def test_a_setting_that_breaks_something(
    settings: dict[str, str], failing: str, said: str, tmp_path: Path
) -> None:
    """The check that is about it fails, with what is wrong; those that suffer from it fail too."""
    (tmp_path / "file").touch()
    (tmp_path / "everybodys").mkdir()
    (tmp_path / "everybodys").chmod(0o777)
    status, found = told(tmp_path, **settings)
    assert status == 1
    assert list(found) == list(CHECKS)
    assert found[failing][0] == "FAILED"
    assert re.fullmatch(said, found[failing][1])
    assert found["packages"][0] == "ok"


def test_without_numba_the_rest_is_said(tmp_path: Path) -> None:
    """As where it cannot be imported beside the NumPy that there is."""
    status, found = told(tmp_path, "import sys; sys.modules['numba'] = None")
    assert status == 1
    assert {name for name, (state, _) in found.items() if state == "ok"} == {
        "packages",
        "settings of threads",
    }
