"""What each check finds wrong when it is wrong; that all is well here is `tests/cli/test_doctor.py`'s."""

from __future__ import annotations

import re
import shutil
from collections import namedtuple
from collections.abc import Iterator

import numpy as np
import pytest

from spectral_icl.doctor import checks
from spectral_icl.doctor.facts import Requirement, requirements
from spectral_icl.io.provenance import installed
from spectral_icl.kernels import trial


def failing() -> dict[str, str]:
    """What the checks that fail say, by name."""
    return {check.name: check.found for check in checks.examined() if not check.passed}


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        (Requirement("abacus-of-nobody", "1.0", None), "abacus-of-nobody is not installed"),
        (Requirement("abacus-of-nobody", "1.0", "plot"), None),
        (Requirement("numpy", "99.1", None), rf"numpy {re.escape(np.__version__)} is older than 99\.1"),
        (Requirement("numpy", "1.26.4", None), None),
    ],
)
def test_a_package_that_is_missing_or_too_old(
    requirement: Requirement, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an extra needs may be missing, but not too old."""
    monkeypatch.setattr(checks, "requirements", lambda: iter([requirement]))
    found = failing()
    assert list(found) == ([] if said is None else ["packages"])
    assert said is None or re.fullmatch(said, found["packages"])


@pytest.mark.parametrize(
    ("found", "old"), [("2.9.1", True), ("2.10", False), ("2.10.0rc1", False), ("3", False), ("2", True)]
)
def test_versions_are_compared_as_numbers(found: str, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "requirements", lambda: iter([Requirement("abacus", "2.10", "plot")]))
    monkeypatch.setattr(checks, "installed", lambda package: found)
    assert bool(failing()) == old


def test_requirements_are_those_of_the_installation() -> None:
    found = {requirement.package: requirement for requirement in requirements()}
    assert found["numpy"] == Requirement("numpy", "2.2", None)
    assert found["h5netcdf"] == Requirement("h5netcdf", "1.3", "data")
    assert not {"spectral-icl", "pytest", "torch", "ruff"} & set(found)
    assert all(installed(name) for name, requirement in found.items() if requirement.extra is None)


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 10**6, 10**6))
    assert re.fullmatch(r"/.*: 1\.0 MB are free, 50 are needed", failing()["cache"])


def test_code_that_computes_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "compiled", lambda: lambda values: values.sum(axis=0))
    assert failing() == {
        "compiler": "what was compiled computes wrong numbers on this processor",
        "threads": failing()["threads"],
    }


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises is one line, of bounded length."""

    def broken() -> trial.Trial:
        raise RuntimeError("LLVM\n  says no" + "!" * 1000)

    monkeypatch.setattr(trial, "compiled", broken)
    for said in failing().values():
        assert said.startswith("RuntimeError: LLVM says no!!!")
        assert len(said) < 310


def test_a_slow_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[float] = iter([0.0, 60.0])
    monkeypatch.setattr(checks, "perf_counter", lambda: next(clock))
    assert failing() == {"compiler": "compiling a small function took 60 s, where half of one is usual"}


def test_threads_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def __init__(self, *_: object) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(checks, "ThreadPoolExecutor", Refused)
    assert failing() == {"threads": "RuntimeError: can't start new thread"}


@pytest.mark.parametrize("value", ["many", "0", "-1", "", "4,,2"])
def test_numbers_of_threads_that_are_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert failing() == {
        "settings of threads": f"OMP_NUM_THREADS: expected a whole number >= 1, got {value!r}"
    }
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert failing() == {}
