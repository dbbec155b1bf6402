"""The amount of work of a command, its bar, its seeds, and what it keeps."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from validation.context import Context  # noqa: E402


def test_default_context_is_quick_and_silent() -> None:
    context = Context()
    assert context.pick("quick", "full") == "quick"
    assert list(context.track(range(3), "label")) == [0, 1, 2]


def test_a_bar_is_drawn_beside_the_output_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    context = Context(progress=True)
    assert list(context.track(range(3), "a label")) == [0, 1, 2]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "a label" in printed.err


def test_every_label_and_every_seed_has_a_stream_of_its_own() -> None:
    seeds = {Context(seed=seed).seed_of(label) for seed in range(20) for label in ("a", "b", "a-b")}
    assert len(seeds) == 60
    assert max(seeds) < 2**63
    assert Context().seed_of("a") == 2568538727327072510  # on every machine, in every version
    drawn = [torch.randn(3, generator=Context(seed=seed).generator("a")).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert Context(fault="sign").rng("a").normal() == Context().rng("a").normal()


class Sampler:
    """Samples that count how often they were made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.made += 1
        return {"values": np.arange(3.0) + self.made}


def test_what_is_sampled_is_kept(tmp_path: Path) -> None:
    context, sample = Context(folder=tmp_path / "runs"), Sampler()
    for _ in range(2):
        np.testing.assert_array_equal(context.kept("label", (1, 0.1), sample)["values"], [1.0, 2.0, 3.0])
    assert sample.made == 1
    # the theory's faults are no part of a measurement
    replace(context, fault="sign", progress=True).kept("label", (1, 0.1), sample)
    assert sample.made == 1
    assert replace(context, folder=None).kept("label", (1, 0.1), sample)["values"][0] == 2.0


def test_other_samples_are_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, sample = Context(folder=tmp_path), Sampler()
    context.kept("label", 1, sample)
    context.kept("other", 1, sample)
    context.kept("label", 2, sample)
    for other in ({"seed": 1}, {"full": True}, {"device": torch.device("meta")}):
        replace(context, **other).kept("label", 1, sample)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0.0")
        context.kept("label", 1, sample)
    assert sample.made == len(list(tmp_path.iterdir())) == 7


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    context, sample = Context(folder=tmp_path), Sampler()
    context.kept("label", 1, sample)
    (file,) = tmp_path.iterdir()
    for contents in (file.read_bytes()[:100], b"", b"text"):
        file.write_bytes(contents)
        context.kept("label", 1, sample)
    context.kept("label", 1, sample)
    assert sample.made == 4
