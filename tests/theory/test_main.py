"""Every derivation proves itself, and the command prints it."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import sympy as sp
from weights import slow

import theory
from theory import derived
from theory.__main__ import main

ROOT = Path(__file__).parents[2]


# half a minute of algebra; its formulas are held against numbers in a test of their own
LONG = "first_order_gradient"


@pytest.mark.parametrize("name", [slow(name) if name == LONG else name for name in theory.NAMES])
def test_every_derivation_is_proved_and_printed(name: str) -> None:
    made = derived(name)
    proved = [step for step in made.steps if step.proved]
    assert len(proved) >= 5
    text, latex = made.to_text(), made.to_latex()
    assert text.startswith(f"{made.title}\n===")
    assert text.count("\n   [") >= len(proved)
    assert "{" not in "".join(step.text for step in made.steps if not step.names)
    for opening, closing in (("{", "}"), (r"\begin{equation}", r"\end{equation}"), (r"\left", r"\right")):
        assert latex.count(opening) == latex.count(closing)
    assert latex.count(r"\item") == len(made.steps)
    assert latex.count(r"{\small [") >= len(proved)
    for step in proved:  # nothing is "proved" by printing the same thing twice
        if isinstance(step.formula, sp.Equality):
            assert step.formula.lhs != step.formula.rhs, step.text


def test_names_are_the_modules() -> None:
    for folder, names in (
        ("multitask", [name for name in theory.NAMES if name != "sparse"] + ["indexed"]),
        ("sparse", [name.removeprefix("sparse.") for name in theory.PARTS] + ["symbols"]),
    ):
        modules = {name for _, name, _ in pkgutil.iter_modules([str(ROOT / "theory" / folder)])}
        assert modules == set(names)
    modules = {name for _, name, _ in pkgutil.iter_modules([str(ROOT / "theory")])}
    assert modules == {"__main__", "algebra", "derivation", "multitask", "sparse", "symbols"}


@pytest.mark.parametrize("part", theory.PARTS)
def test_every_part_can_be_read_alone(part: str) -> None:
    made = derived(part)
    assert made.title.startswith("Preprocess, then optimize: ")
    text = " ".join(derived("sparse").to_text().split())
    assert all(step in derived("sparse").steps for step in made.steps)
    assert sum(step.proved for step in made.steps) >= 2
    assert " ".join(made.reference.split()) in text


class Printed(NamedTuple):
    """What a command wrote, and its exit status."""

    status: int
    output: str
    errors: str


Command = Callable[..., Printed]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``python -m theory`` with arguments, in this process, where most is proved already."""

    def run(*arguments: str) -> Printed:
        monkeypatch.setattr(sys, "argv", ["theory", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        return Printed(status, *capsys.readouterr())

    return run


@pytest.mark.parametrize(("name", "title"), [("escape", "Escape"), ("sparse.filters", "Preprocess")])
def test_command_prints_text_and_latex(command: Command, name: str, title: str) -> None:
    both, text, latex = (command(name, *form).output for form in ((), ("--text",), ("--latex",)))
    assert both.split() == [*text.split(), *latex.split()]
    assert text.startswith(title)
    assert latex.startswith(rf"\section{{{title}")


def test_command_without_a_name_lists_all(command: Command) -> None:
    done = command()
    assert done.status == 0
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines] == list(theory.NAMES)
    made = derived("loss")
    claims = [step for step in made.steps if step.formula is not None and step.proof != "definition"]
    assert lines[0].split(maxsplit=1)[1] == f"{made.title} ({len(claims)} proved steps)"


@pytest.mark.parametrize("names", [("entropy",), ("loss", "entropy"), ("all", "entropy")])
def test_command_refuses_an_unknown_name(command: Command, names: tuple[str, ...]) -> None:
    done = command(*names)
    assert done.status == 2
    assert done.errors.count("\n") == 1
    assert "unknown name 'entropy'" in done.errors
    assert done.output == ""


def test_command_ends_quietly_when_its_reader_leaves() -> None:
    """As a process of its own, with the signals that it asks for."""
    with subprocess.Popen(
        [sys.executable, "-m", "theory", "mirror_flow", "plateau"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""


def test_without_sympy_it_says_what_to_install(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    said = "python -m theory: the package 'sympy' is not installed: pip install -e '.[dev]'\n"
    assert command("plateau") == (2, "", said)
