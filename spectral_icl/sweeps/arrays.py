"""The arrays that the store of a plan has, and the metadata that Zarr keeps of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import PENDING, Variable

SEAL = Variable(("batch",), "int64", 0, "first 64 bits of the SHA-256 of all values of a batch")
TIME = Variable(("time",), "float64", 0.0, "time of the flow")

_ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
_CRC32C = {"name": "crc32c"}  # the last codec: it covers the bytes as they are on the disk


def variables(plan: Plan) -> dict[str, Variable]:
    """What is stored along ``point``: coordinates, results and, last, the status."""
    coordinates = {
        name: Variable(
            ("point",),
            str(values.dtype),
            np.nan if values.dtype.kind == "f" else -1,
            f"{name} of the point",
        )
        for name, values in plan.coordinates(0, 1).items()
    }
    status = Variable(("point",), "int8", PENDING, "how the point ended; -1 if it has not been solved yet")
    return {**coordinates, **plan.variables, "status": status}


def document(variable: Variable, plan: Plan) -> dict[str, Any]:
    """The metadata of an array, as Zarr has it."""
    lengths = {**plan.lengths, "batch": plan.batches}
    endian = {"configuration": {"endian": "little"}} if np.dtype(variable.dtype).itemsize > 1 else {}
    return {
        "shape": [lengths[d] for d in variable.dims],
        "data_type": variable.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": list(chunk_shape(variable, plan))},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if np.isnan(variable.fill) else variable.fill,
        "codecs": [{"name": "bytes", **endian}, _ZSTD, _CRC32C],
        "attributes": attributes(variable),
        "dimension_names": list(variable.dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def declares(file: Path, document: dict[str, Any]) -> bool:
    """Whether a file has the metadata of this array; its attributes are for people."""
    try:
        found = json.loads(file.read_bytes())
        return isinstance(found["attributes"], dict) and found | {"attributes": {}} == document | {
            "attributes": {}
        }
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def chunk_shape(variable: Variable, plan: Plan) -> tuple[int, ...]:
    """Shape of a chunk of an array: a batch of points, and all of every other dimension."""
    lengths = {**plan.lengths, "point": plan.batch, "batch": 1}
    return tuple(lengths[d] for d in variable.dims)


def little_endian(variable: Variable) -> np.dtype[Any]:
    """The type of the numbers of an array as they are on the disk."""
    return np.dtype(variable.dtype).newbyteorder("<")


def attributes(variable: Variable) -> dict[str, str]:
    """What people are told of an array."""
    return {"long_name": variable.long_name, "units": "1"}
