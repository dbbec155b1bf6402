"""A folder that would have zarr run code, or read anything but numbers, is not opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.zarr_metadata import METADATA, read_metadata


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A group of two arrays."""
    path = tmp_path / "x.zarr"
    data = xarray.Dataset({"x": ("t", np.arange(3.0)), "k": ("t", np.arange(3))}, attrs={"provenance": "p"})
    data.to_zarr(path, consolidated=False)
    return path


def edit(file: Path, **changes: Any) -> None:
    """Replace entries of a metadata file."""
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")


def test_metadata_of_a_group_and_its_arrays(folder: Path) -> None:
    (folder / "notes").mkdir()
    found = read_metadata(folder)
    assert list(found) == ["", "k", "x"]
    assert found[""]["attributes"] == {"provenance": "p"}
    assert (found["x"]["shape"], found["x"]["data_type"]) == ([3], "float64")


PICKLE = {"name": "numcodecs.pickle", "configuration": {}}
HARMFUL: list[dict[str, Any]] = [
    {"codecs": ["bytes", PICKLE]},
    {"codecs": [PICKLE]},
    {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [PICKLE]}}]},
    {"codecs": ["no_such_codec"]},
    {"codecs": [3]},
    {"codecs": None},
    {"data_type": "object"},
    {"data_type": "|O"},
    {"data_type": "string"},
    {"data_type": {"name": "fixed_length_utf32", "configuration": {"length_bytes": 4}}},
    {"data_type": []},
    {"node_type": "group"},
    {"node_type": None},
    {"zarr_format": 2},
    {"shape": 3},
    {"storage_transformers": [{"name": "x"}]},
]


@pytest.mark.parametrize("changes", HARMFUL, ids=str)
def test_an_array_that_is_not_of_numbers_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder / "x" / METADATA, **changes)
    with pytest.raises(ProblemError, match=r"^path: expected .*'x") as caught:
        read_metadata(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "x"])
@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, "\xff", '{"zarr_format": 3}'])
def test_metadata_that_is_damaged_is_refused(folder: Path, name: str, text: str) -> None:
    (folder / name / METADATA).write_text(text, "latin-1")
    with pytest.raises(ProblemError, match=r"^path: expected a Zarr"):
        read_metadata(folder)


@pytest.mark.parametrize("name", [".zgroup", ".zarray", ".zmetadata"])
def test_metadata_of_format_2_is_refused_also_beside_that_of_format_3(folder: Path, name: str) -> None:
    (folder / name).write_text('{"zarr_format": 2}')
    with pytest.raises(ProblemError, match="format 3 alone"):
        read_metadata(folder)
    (folder / METADATA).unlink()
    with pytest.raises(ProblemError, match="there is no"):
        read_metadata(folder)


def test_consolidated_metadata_is_refused_since_it_may_differ_from_what_is_checked(folder: Path) -> None:
    edit(folder / METADATA, consolidated_metadata=None)
    assert list(read_metadata(folder)) == ["", "k", "x"]
    edit(folder / METADATA, consolidated_metadata={"metadata": {}})
    with pytest.raises(ProblemError, match="consolidated"):
        read_metadata(folder)


def test_what_is_no_folder_or_no_group_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file.zarr").write_text("x")
    for path in (tmp_path / "absent.zarr", tmp_path / "file.zarr", tmp_path, folder / "x"):
        with pytest.raises(ProblemError, match=r"^path: expected a Zarr"):
            read_metadata(path)
