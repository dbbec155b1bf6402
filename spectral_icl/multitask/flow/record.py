"""What a saved flow consists of, and the checks that a dataset is one, unaltered.

The compiled functions believe the shapes that they are given, so nothing of a file reaches them unchecked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Chart
from spectral_icl.kernels.tableaus import RODAS5P
from spectral_icl.multitask.problem import Problem

if TYPE_CHECKING:
    import xarray

Arrays = dict[str, NDArray[Any]]

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "omega": ("time", "head", "block"),
    "mu": ("time", "head", "task"),
    "task_loss": ("time", "task"),
    "loss": ("time",),
    "node_time": ("node",),
    "node_state": ("node", "state"),
    "node_bend": ("step", "order", "state"),
    **{f"chart_{key}": ("state",) for key in Chart._fields},
    **{name: (name,) for name in ("time", "head", "block", "task")},
}
_WHOLE = ("chart_kind", "head", "block", "task")


def checksum(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a flow in hexadecimal: of the header in JSON, and of every array with its name and shape."""
    digest = sha256(json.dumps(header, sort_keys=True).encode())
    for name in DIMENSIONS:
        values = np.ascontiguousarray(arrays[name]).astype("<i8" if name in _WHOLE else "<f8", copy=False)
        digest.update(f"{name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def checked_arrays(data: xarray.Dataset, problem: Problem, heads: int) -> Arrays:
    """The arrays of a flow, each of the shape and type that the problem and the heads imply.

    Raises
    ------
    KeyError, ValueError
        One is missing, or is not that of a flow.
    """
    steps = data.sizes["node"] - 1
    sizes = {
        "head": heads,
        "block": problem.blocks,
        "task": problem.tasks,
        "state": heads * (problem.blocks + problem.tasks),
        "order": RODAS5P.dense.shape[0],
        "step": steps,
        "node": max(1, steps + 1),
        "time": data.sizes["time"],
    }
    arrays = {}
    for name, dims in DIMENSIONS.items():
        found = data.variables[name]
        kind = np.dtype(np.int64 if name in _WHOLE else np.float64)
        shape = tuple(sizes[d] for d in dims)
        if (found.dims, found.shape, found.dtype) != (dims, shape, kind):
            raise ValueError(f"{name} is {found.dtype} of shape {found.shape}, not {kind} of {shape}")
        arrays[name] = np.array(found.values)
    return arrays


def check_numbers(arrays: Arrays, rests: bool) -> None:
    """Raise ValueError unless times increase and everything is a number of its kind.

    Parameters
    ----------
    arrays : dict
        What `checked_arrays` returned.
    rests : bool
        Whether the flow ended at rest, so that later times may be reported too.
    """
    node, time, kind = arrays["node_time"], arrays["time"], arrays["chart_kind"]
    last = np.inf if rests else node[-1]
    sound = {
        "node_time": node[0] == 0.0 and _increases(node),
        "time": _increases(time) and (time >= 0.0).all() and (time <= last).all(),
        "chart_kind": np.isin(kind, (EXPONENTIAL, HYPERBOLIC, LINEAR)).all(),
        "chart_sign": (np.abs(arrays["chart_sign"]) == 1.0).all(),
        "chart_speed": (arrays["chart_speed"] >= 0.0).all(),
        **{name: np.isfinite(arrays[name]).all() for name in ("chart_scale", "node_state", "node_bend")},
    }
    for name, good in sound.items():
        if not good:
            raise ValueError(f"{name} has entries that no flow has")


def _increases(times: NDArray[Any]) -> bool:
    return bool(np.isfinite(times).all() and (np.diff(times) > 0.0).all())
