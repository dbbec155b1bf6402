"""What a report of a bug needs: versions, the machine, and settings from the environment."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from typing import NamedTuple

from spectral_icl.io.provenance import PACKAGES, cpu, installed, source
from spectral_icl.version import __version__

_SETTINGS = re.compile(r"(NUMBA|OMP|OPENBLAS|MKL|KMP|LLVM)_\w+|SOURCE_DATE_EPOCH|PYTHON(PATH|HOME)|TMPDIR")
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[.*?\])?(?:>=([\d.]+))?(?:.*extra == ['\"]([\w-]+)['\"])?")
_FOR_DEVELOPERS = ("dev", "docs", "validation")  # extras


class Requirement(NamedTuple):
    """A package that this one needs, from which version on, and for which of its extras; none: always."""

    package: str
    least: str
    extra: str | None


def requirements() -> Iterator[Requirement]:
    """What the installation says of itself; less if the package is only lying in a folder."""
    try:
        lines = requires("spectral-icl") or []
    except PackageNotFoundError:
        lines = list(PACKAGES)
    for line in lines:
        found = _REQUIREMENT.match(line)
        if found and found[1] != "spectral-icl" and found[3] not in _FOR_DEVELOPERS:
            yield Requirement(found[1], found[2] or "0", found[3])


def versions() -> dict[str, str | None]:
    """Versions by package, None of what is not there."""
    tree = source()
    commit = f" (commit {tree['commit']}, {'with changes' if tree['dirty'] else 'unchanged'})" if tree else ""
    needed = dict.fromkeys(["numpy", "scipy", "numba", "llvmlite", *(r.package for r in requirements())])
    return {
        "spectral-icl": f"{__version__}{commit}",
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        **{package: installed(package) for package in needed},
    }


def machine() -> dict[str, str]:
    """The system and its processor, and what numba makes of it as far as that can be imported."""
    found = {"system": platform.platform(), "processor": cpu(), "cores": str(os.cpu_count())}
    try:
        from spectral_icl.kernels.trial import target
    except Exception:  # what a broken numba raises; the checks say what it is
        return found
    return {**found, **target(), "linear algebra": "; ".join(_libraries()) or "unknown"}


def _libraries() -> Iterator[str]:
    import scipy.linalg  # noqa: F401  (so that its library is loaded; NumPy's is)
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["user_api"] == "blas":
            kind = f"{library['internal_api']} {library['version']}"
            yield f"{kind} ({library.get('architecture', 'unknown')}), {library['num_threads']} threads"


def settings() -> dict[str, str]:
    """Variables of the environment that change what is compiled, or how many threads there are."""
    return {name: value for name, value in sorted(os.environ.items()) if _SETTINGS.fullmatch(name)}
