"""How often checks fail, and what they see: of checks whose failures are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from validation import calibration, result  # noqa: E402
from validation.__main__ import main  # noqa: E402
from validation.context import FAULTS, Context  # noqa: E402
from validation.result import LEVEL, Estimate, Result  # noqa: E402

SEEDS = 20


def install(monkeypatch: pytest.MonkeyPatch, error: float = 1.0, seen: tuple[str, ...] = FAULTS) -> None:
    """A check of a mean, whose errors are ``error`` times the right ones, and which sees some faults."""
    module = ModuleType("validation.stub")

    def run(context: Context) -> Result:
        drawn = context.kept("mean", 0, lambda: {"mean": context.rng("mean").normal(size=1)})["mean"]
        expected = 9.0 if context.fault in seen else 0.0
        rows = [
            result.consistent("a mean", Estimate(float(drawn[0]), error), expected),
            result.not_above("a bound", Estimate(float(drawn[0]), error), 20.0),
            result.same("a count", 1.0, 1.0),
            result.noted("a number", 1.0),
        ]
        return Result("edge", "a title", rows)

    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "validation.stub", module)
    monkeypatch.setitem(calibration_modules(), "edge", "validation.stub")
    monkeypatch.setattr("validation.calibration.NAMES", ("edge",))


def calibration_modules() -> dict[str, str]:
    from validation import MODULES

    return MODULES


def measured(folder: Path | None = None) -> calibration.Calibration:
    return calibration.measured(Context(folder=folder), range(SEEDS), jobs=1, names=["edge"])


def test_right_checks_are_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    found = measured()
    assert found.calibrated
    assert [one.quantity for one in found.tallies] == ["a mean", "a bound", "a count"]
    mean, bound, count = found.tallies
    assert (mean.seeds, mean.failed) == (SEEDS, 0)
    # two claims with chance: half of the level each, or all of it once the other is refuted
    assert LEVEL / 2 <= mean.level <= LEVEL
    assert count.level == 0.0
    assert mean.uniform is not None
    assert mean.uniform > 1e-3
    assert bound.uniform is None  # its p-values are large, and not uniform
    assert len(found.p_values["edge"]) == SEEDS
    for fault, one in zip(FAULTS, found.faults, strict=True):
        assert (one.fault, one.seeds) == (fault, SEEDS)
        assert one.checks == {"edge": SEEDS}
        assert one.claims == {"edge: a mean": SEEDS}


def test_errors_that_are_too_small_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, error=0.1)
    found = measured()
    assert [one.quantity for one in found.wrong] == ["a mean"]
    assert not found.calibrated
    assert found.tallies[0].uniform is not None
    assert found.tallies[0].uniform < 1e-6


def test_a_fault_that_is_not_seen_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, seen=FAULTS[1:])
    found = measured()
    assert [one.fault for one in found.missed] == [FAULTS[0]]
    assert found.faults[0].seeds == 0
    assert not found.calibrated


def test_p_values_of_the_same_data_are_not_asked_to_be_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setattr(Context, "rng", lambda *_: np.random.default_rng(0))
    assert measured().tallies[0].uniform is None


def test_what_was_measured_is_judged_again_from_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch)
    first = measured(tmp_path)
    assert len(list(tmp_path.iterdir())) == SEEDS  # whatever the fault
    monkeypatch.setattr(Context, "rng", lambda *_: pytest.fail("drawn again"))
    again = measured(tmp_path)
    assert again.tallies == first.tallies
    assert again.faults == first.faults


@pytest.mark.parametrize(("error", "status"), [(1.0, 0), (0.1, 1)])
def test_the_command_writes_what_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: float, status: int
) -> None:
    install(monkeypatch, error)
    monkeypatch.setattr(calibration.measured, "__defaults__", (("edge",), False))
    done = CliRunner().invoke(main, ["calibrate", "--seeds", str(SEEDS), "--out", str(tmp_path)])
    assert done.exit_code == status, done.output
    assert done.stderr == ""
    assert "edge   a mean" in done.stdout
    assert "no-length-term  20 of 20  edge 20" in done.stdout
    table = json.loads((tmp_path / "calibration.json").read_text("utf-8"))
    assert table["calibrated"] == (status == 0)
    assert table["seeds"] == SEEDS
    assert len(table["claims"]) == 3
    assert (tmp_path / "calibration.png").read_bytes()[:4] == b"\x89PNG"
