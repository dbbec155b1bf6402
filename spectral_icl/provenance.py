"""What a saved result says about where it came from."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
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
    block = {"spectral-icl": package_version(), "python": platform.python_version()}
    for package in PACKAGES:
        block[package] = version(package)
    block["platform"] = platform.platform()
    block["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    return block
