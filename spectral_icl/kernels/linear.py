"""What the linear algebra of implicit steps owes the integrator: solutions of (1 - step J) k = stage.

A law says by `spectral_icl.kernels.law.linear_room` which one its flows use, and the type of the room that it
returns selects it, as the type of a model selects a law.
"""

from __future__ import annotations

from functools import singledispatch
from typing import NoReturn


def _missing(room: object) -> NoReturn:
    raise NotImplementedError(f"the linear algebra of {type(room).__name__} does not have this function")


@singledispatch
def prepare(room, model, chart, work, mixed):
    """Make ready for steps from the last accepted state, and return about the spectral radius of J there.

    After `spectral_icl.kernels.field.slope_at`, of which ``work.theta`` is left.
    """
    _missing(room)


@singledispatch
def factorise(room, model, chart, step, work):
    """Make ready for stages of one step, and return whether the matrix looks positive definite.

    It is not where a step reaches past the pole of the stability function on a growing mode.
    """
    _missing(room)


@singledispatch
def solve(room, model, work, stage):
    """Solve (1 - step J) k = stage in place, and return whether the matrix was positive definite."""
    _missing(room)


@singledispatch
def products(room):
    """How many products with the Hessian were formed in the room; none if it forms the Hessian."""
    _missing(room)
