"""A small function that is compiled to find out whether compiling works, and what it is compiled for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba import njit
from numba.core import config
from numpy.typing import NDArray

from spectral_icl.kernels.compile import ALGEBRA
from spectral_icl.kernels.lanes import WIDTH, as_lanes, everywhere, pick

Floats = NDArray[np.float64]
Trial = Callable[[Floats], Floats]

# of those that LLVM knows, what a person asks for
_FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512dq", "avx512vl", "neon", "sve")


def compiled() -> Trial:
    """The function, compiled anew: sums of squares, in lanes as ensembles of flows are computed."""
    made: Any = njit(error_model="numpy", nogil=True, fastmath=set(ALGEBRA))(_sums_of_squares)
    made(np.zeros((1, WIDTH)))
    trial: Trial = made
    return trial


def is_right(function: Trial) -> bool:
    """Whether the function computes what it should, which small whole numbers make exact."""
    values = np.arange(7.0 * WIDTH).reshape(7, WIDTH)
    return bool(np.array_equal(function(values), np.square(values).sum(axis=0)))


def _sums_of_squares(values):  # type: ignore[no-untyped-def]
    columns: Any = as_lanes(values)  # type: ignore[call-arg]
    total = everywhere(0.0)
    for k in range(columns.size):
        total = total + columns[k] * columns[k]
    found = np.empty(WIDTH)
    for lane in range(WIDTH):
        found[lane] = pick(total, lane)
    return found


def target() -> dict[str, str]:
    """The processor that code is compiled for, its vector instructions, and how many numbers make lanes."""
    features = get_host_cpu_features()
    return {
        "compiled for": vars(config)["CPU_NAME"] or get_host_cpu_name(),
        "vectors": vars(config)["CPU_FEATURES"] or " ".join(name for name in _FEATURES if features.get(name)),
        "lanes": f"{WIDTH} float64",
    }
