"""How heavy a test is: cases that take long are marked, and run by a command of their own."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*case: Any) -> Any:
    """A case of a parametrized test that runs with ``-m slow`` only; lighter cases stand beside it."""
    return pytest.param(*case, marks=pytest.mark.slow)
