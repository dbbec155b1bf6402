"""What a saved flow consists of, and the checks that a dataset is one, unaltered.

The compiled functions believe the shapes that they are given, so nothing of a file reaches them unchecked.
A flow of which every step is kept has arrays of their own, and one that is kept in outline has others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Chart
from spectral_icl.kernels.tableaus import RODAS5P
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.problem import Problem

if TYPE_CHECKING:
    import xarray

Arrays = dict[str, NDArray[Any]]

_REPORTED: dict[str, tuple[str, ...]] = {
    "omega": ("time", "head", "block"),
    "mu": ("time", "head", "task"),
    "task_loss": ("time", "task"),
    "loss": ("time",),
}
_AXES: dict[str, tuple[str, ...]] = {
    **{f"chart_{key}": ("state",) for key in Chart._fields},
    **{name: (name,) for name in ("time", "head", "block", "task")},
}
# The order is that in which the checksums of all files that there are were made.
DIMENSIONS: dict[str, tuple[str, ...]] = {
    **_REPORTED,
    "node_time": ("node",),
    "node_state": ("node", "state"),
    "node_bend": ("step", "order", "state"),
    **_AXES,
}
OUTLINE: dict[str, tuple[str, ...]] = {
    **_REPORTED,
    "node_time": ("node",),
    "kept_time": ("kept",),
    "kept_state": ("kept", "state"),
    "sample_time": ("sample",),
    "sample_task_loss": ("sample", "task"),
    "node_logit_variance": ("node", "head"),
    "node_leading_head": ("node", "task"),
    "node_leading_share": ("node", "task"),
    **_AXES,
}
_WHOLE = ("chart_kind", "head", "block", "task", "node_leading_head")


def dimensions(names: Collection[Hashable]) -> dict[str, tuple[str, ...]]:
    """The arrays of a saved flow, by name, with their dimensions: the kind of flow is told by its names."""
    return OUTLINE if "kept_time" in names else DIMENSIONS


# The names in a file of what curves of either kind are made of.
_OWN: dict[type[Curve], dict[str, str]] = {
    Trajectory: {"t": "node_time", "x": "node_state", "dense": "node_bend"},
    Outline: {
        "t": "node_time",
        "kept": "kept_time",
        "states": "kept_state",
        "times": "sample_time",
        "losses": "sample_task_loss",
        "variances": "node_logit_variance",
        "head": "node_leading_head",
        "share": "node_leading_share",
    },
}


def arrays_of(curve: Curve) -> Arrays:
    """The arrays that a curve is made of again by `curve_of`."""
    own = {name: getattr(curve, field) for field, name in _OWN[type(curve)].items()}
    return own | {f"chart_{key}": values for key, values in curve.chart._asdict().items()}


def curve_of(arrays: Arrays, problem: Problem, heads: int, *, rests: bool, kernel: str) -> Curve:
    """The curve of arrays that `check_numbers` found sound."""
    kind: type[Any] = Outline if "kept_time" in arrays else Trajectory
    own = {field: arrays[name] for field, name in _OWN[kind].items()}
    chart = Chart(*(arrays[f"chart_{key}"] for key in Chart._fields))
    curve: Curve = kind(problem=problem, chart=chart, heads=heads, rests=rests, kernel=kernel, **own)
    return curve


def checksum(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a flow in hexadecimal: of the header in JSON, and of every array with its name and shape."""
    digest = sha256(json.dumps(header, sort_keys=True).encode())
    for name in dimensions(arrays):
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
    nodes = data.sizes["node"]
    sizes = {
        "head": heads,
        "block": problem.blocks,
        "task": problem.tasks,
        "state": heads * (problem.blocks + problem.tasks),
        "order": RODAS5P.dense.shape[0],
        "step": nodes - 1,
        "node": max(1, nodes),
        **{name: max(1, data.sizes[name]) for name in ("kept", "sample") if name in data.sizes},
        "time": data.sizes["time"],
    }
    arrays = {}
    for name, dims in dimensions(set(data.variables)).items():
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
        "chart_scale": np.isfinite(arrays["chart_scale"]).all(),
        **(_outlined(arrays) if "kept_time" in arrays else _solved(arrays)),
    }
    if "kept_time" in arrays:  # of other times an outline knows nothing
        sound["time"] = sound["time"] and np.isin(np.minimum(time, node[-1]), arrays["kept_time"]).all()
    for name, good in sound.items():
        if not good:
            raise ValueError(f"{name} has entries that no flow has")


def _solved(arrays: Arrays) -> dict[str, bool]:
    """Whether the steps of a flow are numbers, by name of the array."""
    return {name: bool(np.isfinite(arrays[name]).all()) for name in ("node_state", "node_bend")}


def _outlined(arrays: Arrays) -> dict[str, bool]:
    """Whether what is kept of a flow fits its steps, by name of the array."""
    node, head = arrays["node_time"], arrays["node_leading_head"]
    kept, sample = arrays["kept_time"], arrays["sample_time"]

    def spans(times: NDArray[Any]) -> bool:
        return _increases(times) and bool(times[0] == node[0] and times[-1] == node[-1])

    return {
        "kept_time": spans(kept),
        "sample_time": spans(sample),
        "kept_state": bool(np.isfinite(arrays["kept_state"]).all()),
        # a loss may overflow within a step, and shares of what is not learned at all are none
        "sample_task_loss": not np.isnan(arrays["sample_task_loss"]).any(),
        "node_logit_variance": bool((arrays["node_logit_variance"] >= 0.0).all()),
        "node_leading_head": bool(((head >= -1) & (head < arrays["head"].size)).all()),
    }


def _increases(times: NDArray[Any]) -> bool:
    return bool(np.isfinite(times).all() and (np.diff(times) > 0.0).all())
