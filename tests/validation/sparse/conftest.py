"""Fixtures of linear attention; PyTorch is imported by those who ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from validation.sparse.linear_attention import LinearTransformer


@pytest.fixture
def model() -> LinearTransformer:
    """Random weights in double precision."""
    import torch
    from linear_attention import HEADS

    from validation.sparse.linear_attention import LinearTransformer

    return LinearTransformer.random(4, HEADS, 0, torch.float64)
