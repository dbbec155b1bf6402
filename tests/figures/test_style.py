"""Figures are written whole, in the formats of journals, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

import spectral_icl as si
from spectral_icl.figures import style

SIGNATURES = {".pdf": b"%PDF-", ".png": b"\x89PNG\r\n", ".svg": b"<?xml"}


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_figures_are_saved_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"figure{suffix}"
    style.save(Figure(), path)
    older = path.read_bytes()
    figure = Figure()
    figure.subplots().plot([1.0, 2.0])
    style.save(figure, path)
    assert path.read_bytes() != older
    assert path.read_bytes().startswith(SIGNATURES[suffix])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["figure.jpg", "figure", "absent/figure.pdf", "folder.pdf"])
def test_figures_are_not_saved_to_impossible_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.pdf").mkdir()
    with pytest.raises(si.ProblemError, match=r"^path: expected a"):
        style.save(Figure(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.pdf"]
