"""Provenance of a saved result: versions, platform, processor and commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spectral_icl.io.checks import ProblemError
from spectral_icl.version import __version__

PACKAGES = ("numpy", "scipy", "numba")
_GIT_SECONDS = 10  # a network folder may make git wait; the answer is not worth more


def installed(package: str) -> str | None:
    """Version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment() -> dict[str, str]:
    """Versions, platform and time, which go into every saved file."""
    return {**_machine(), "created": now().isoformat(timespec="seconds")}


def now() -> datetime:
    """The time, or the one that SOURCE_DATE_EPOCH gives to builds that must be reproducible.

    Raises
    ------
    ProblemError
        SOURCE_DATE_EPOCH is no time.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if fixed is None:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(fixed), UTC)
    except (ValueError, OverflowError, OSError):
        raise ProblemError("SOURCE_DATE_EPOCH", fixed, "whole seconds since 1970") from None


@cache
def _machine() -> dict[str, str]:
    """What does not change while the process lives (and takes longer to find out than a flow to solve)."""
    return {
        "spectral-icl": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu(),
    }


def cpu() -> str:
    """Name of the processor, or the architecture where the system does not tell it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def source() -> dict[str, str | bool] | None:
    """Commit of the git tree that this package is run from, and whether the package differs from it.

    None if it is not run from one: an installed copy may lie inside the tree of something else.
    """
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", str(_package()))
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": changes != ""}


def _package() -> Path:
    """The outermost folder that is a package around this file, or else its own folder."""
    folder = Path(__file__).absolute().parent
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).absolute().parent,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
