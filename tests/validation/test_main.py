"""The command: bad input, files, interrupts; and the results that are recorded."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from matplotlib.figure import Figure  # noqa: E402

from spectral_icl.console import guarded  # noqa: E402
from spectral_icl.io.checks import ProblemError  # noqa: E402
from validation import (  # noqa: E402
    MODULES,
    NAMES,
    result,
)
from validation.__main__ import main  # noqa: E402
from validation.context import Context  # noqa: E402

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "validation" / "expected"


def test_the_command_is_a_module() -> None:
    command = [sys.executable, "-m", "validation", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("NAME = 'nonsense': expected one of gradient, ")


@pytest.mark.parametrize(
    ("arguments", "missing", "message"),
    [
        (["nonsense"], "", "NAME = 'nonsense': expected one of gradient, "),
        (["edge", "--device", "abacus"], "", "--device = 'abacus': expected a device of this machine"),
        (
            ["edge", "--out", "/dev/null/x"],
            "",
            "--out = '/dev/null/x': expected a folder that can be written",
        ),
        (["edge", "--ful"], "", "Error: No such option '--ful'"),
        (
            ["edge", "--out", "README.md"],
            "",
            "Error: Invalid value for '--out': Directory 'README.md' is a file.",
        ),
        (["edge"], "torch", "the package 'torch' is not installed: "),
        (["edge", "--seed", "-1"], "", "Error: Invalid value for '--seed': -1 is not in the range 0<="),
        (["edge", "--jobs", "0"], "", "Error: Invalid value for '--jobs': 0 is not in the range 1<="),
        (["calibrate"], "", "Error: Missing option '--out'"),
        (["calibrate", "--out", "x", "--seeds", "1"], "", "Error: Invalid value for '--seeds': 1 is not in"),
        (["calibrate", "edge", "--out", "x"], "", "Error: Got unexpected extra argument (edge)"),
    ],
    ids=[
        "name",
        "device",
        "out",
        "option",
        "file",
        "torch",
        "seed",
        "jobs",
        "calibrate",
        "seeds",
        "extra",
    ],
)
def test_bad_input_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    missing: str,
    message: str,
) -> None:
    """As ``python -m validation`` says it, in this process: it would import PyTorch every time."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["validation", *arguments])
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as ended:
        guarded(main, "python -m validation")
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message)
    assert len(printed.err.splitlines()) == 1


def stub(run: Callable[[Context], result.Result]) -> ModuleType:
    """A check."""
    module = ModuleType("validation.stub")
    module.run = run  # type: ignore[attr-defined]
    module.figure = lambda _: Figure()  # type: ignore[attr-defined]
    return module


def put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check in the place of all others."""
    for where in ("__main__", "commands"):
        monkeypatch.setattr(f"validation.{where}.NAMES", ("stub",))
        monkeypatch.setattr(f"validation.{where}.MODULES", {"stub": "validation.stub"})


@pytest.mark.parametrize("measured", [1.0, 2.0])
def test_a_check_writes_its_table_its_data_and_its_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, measured: float
) -> None:
    def run(context: Context) -> result.Result:
        assert context.full
        assert context.seed == 7
        assert context.folder == tmp_path / "new" / "runs"
        return result.Result("stub", "a title", [result.same("quantity", measured, 1.0)], {}, ["a note"])

    monkeypatch.setitem(sys.modules, "validation.stub", stub(run))
    put_in(monkeypatch)
    done = CliRunner().invoke(main, ["--full", "--seed", "7", "--out", str(tmp_path / "new")])
    failures = int(measured != 1.0)
    assert done.exit_code == failures
    assert done.stderr == ""  # no bar without a terminal
    assert done.stdout.startswith("a title (setting full, seed 7, device cpu)\n")
    assert f"{failures} failures" in done.stdout
    table = json.loads((tmp_path / "new" / "stub.json").read_text("utf-8"))
    assert (table["setting"], table["seed"]) == ("full", 7)
    assert table["rows"][0]["verdict"] == ("fails" if failures else "holds")
    assert table["environment"]["torch"] == version("torch")
    assert (tmp_path / "new" / "stub.png").read_bytes()[:4] == b"\x89PNG"


def test_a_picture_of_somebody_else_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stub.png").write_bytes(b"\x89PNG my own")
    put_in(monkeypatch)
    done = CliRunner().invoke(main, ["--out", str(tmp_path)])
    assert isinstance(done.exception, ProblemError)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"\x89PNG my own"]


@pytest.mark.parametrize(("out", "word"), [(True, "the same command continues"), (False, "--out")])
def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: bool, word: str
) -> None:
    def run(_: Context) -> result.Result:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "validation.stub", stub(run))
    put_in(monkeypatch)
    done = CliRunner().invoke(main, ["stub", *(["--out", str(tmp_path)] if out else [])])
    assert done.exit_code == 130
    assert word in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_can_be_drawn_from_recorded_data(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(MODULES[name])
    table = json.loads((EXPECTED / f"{name}.json").read_text("utf-8"))
    assert table["title"] == module.TITLE
    figure = module.figure(result.Result(name, module.TITLE, [], table["curves"]))
    drawn = [line for axes in figure.axes for line in [*axes.lines, *axes.patches]]
    assert len(drawn) >= 4
    figure.savefig(tmp_path / "figure.png", dpi=30)


def test_recorded_results_are_of_every_check_and_none_failed() -> None:
    for path in (EXPECTED / f"{name}.json" for name in NAMES):
        table = json.loads(path.read_text("utf-8"))
        assert table["setting"] == "full"
        assert [row["quantity"] for row in table["rows"] if row["verdict"] == "fails"] == []
        assert path.with_suffix(".png").exists()
