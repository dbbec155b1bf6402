"""The field of flows as a function that Python calls."""

from __future__ import annotations

from numba import njit

from spectral_icl.kernels.field import parts_of, slope_at
from spectral_icl.kernels.model import Floats, System


@njit(error_model="numpy")
def field(
    system: System, x: Floats, theta: Floats, grad: Floats, scratch: tuple[Floats, ...], out: Floats
) -> bool:
    """Fill dx/dt (N,) at x, theta and the gradient, and return whether every component is finite."""
    at, by = parts_of(theta, system.shape), parts_of(grad, system.shape)
    finite: bool = slope_at(system.model, system.chart, x, at, by, scratch, out, True)
    return finite
