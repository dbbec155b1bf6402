"""What a saved result says about where it came from."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("numpy", "scipy", "numba")


def package_version() -> str:
    """Version of the installed package."""
    try:
        return version("spectral-icl")
    except PackageNotFoundError:
        return "0+unknown"


def environment() -> dict[str, str]:
    """Versions, platform and time: the block that goes into every saved file and into bug reports."""
    return {**_machine(), "created": datetime.now(UTC).isoformat(timespec="seconds")}


@cache
def _machine() -> dict[str, str]:
    """What does not change while the process lives (and takes longer to find out than a flow to solve)."""
    return {
        "spectral-icl": package_version(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "platform": platform.platform(),
    }
