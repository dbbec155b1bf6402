"""Figures are written whole, in the formats of journals, or not at all."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

import spectral_icl as si
from spectral_icl.figures import style
from spectral_icl.figures.flow import flow_figure

# what a user may have set, which would change every figure
SETTINGS = {
    "text.usetex": True,
    "font.family": ["No such font"],
    "font.sans-serif": ["No such font"],
    "savefig.format": "svg",
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "figure.autolayout": True,
    "figure.facecolor": "red",
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler("color", ["red"]),
    "lines.marker": "o",
    "path.sketch": (2.0, 100.0, 2.0),
    "pdf.fonttype": 3,
    "svg.fonttype": "none",
    "image.lut": 3,
}
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


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figures_do_not_depend_on_the_users_settings(
    monkeypatch: pytest.MonkeyPatch, two_tasks: si.Problem, kind: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    solution = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2), t_end=1.0)
    ours = style.rendered(flow_figure(solution), kind)
    with matplotlib.rc_context(SETTINGS):
        assert style.rendered(flow_figure(solution), kind) == ours
