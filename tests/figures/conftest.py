"""Stores of sweeps, for all tests of figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn import BASE, PLANS

from spectral_icl.sweeps import run as sweep
from spectral_icl.sweeps.plan import Plan


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The store of a plan, solved when it is first asked for."""
    folder = tmp_path_factory.mktemp("stores")

    def solved(name: str) -> Path:
        path = folder / f"{name}.zarr"
        if not path.exists():
            assert sweep.run(Plan.from_dict({**BASE, **PLANS[name]}), path).status in (0, 1)
        return path

    return solved
