"""Fixtures of the full model; PyTorch is imported by those who ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from validation.multitask.prompts import Law


@pytest.fixture
def law() -> Law:
    """The prompts of the common problem, in double precision."""
    import torch
    from full_attention import CPU, PROBLEM

    from validation.multitask.prompts import Law

    return Law.of(PROBLEM, CPU, torch.float64)
