"""The experiment files that come with the package: which there are, and copies of them to work on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from spectral_icl.io.checks import ProblemError, choice
from spectral_icl.io.files import put
from spectral_icl.io.text import table
from spectral_icl.io.toml import parsed

_PACKAGE = Path(__file__).absolute().parents[1]
_HOW = "`spectral-icl examples NAME` copies one into the folder examples, to be solved or changed"
_FIRST = re.compile(r".*?(?:\?(?= )|(?=[.:] ))")  # of the sentences at the head of a file


@dataclass(frozen=True)
class Example:
    """One of the files.

    Attributes
    ----------
    name : str
        Its path below the folder of the examples, without ``.toml``.
    about : str
        What it is about, in a line.
    command : str
        Name of the command that solves it.
    """

    name: str
    about: str
    command: str

    def use(self, file: Path) -> str:
        """The line that solves a copy of it."""
        store = f" --out {quote(file.stem)}.zarr" if self.command == "sweep" else ""
        return f"spectral-icl {self.command} {quote(str(file))}{store}"


@dataclass(frozen=True)
class ExamplesReport:
    """Examples, and where copies of them were put.

    Attributes
    ----------
    examples : tuple of Example
    copies : tuple of Path
        A file for each example, or none if none was asked for.
    """

    examples: tuple[Example, ...]
    copies: tuple[Path, ...] = ()

    def to_text(self) -> str:
        """A line for each example, or for each copy two: that it is there, and how it is solved."""
        if self.copies:
            pairs = zip(self.examples, self.copies, strict=True)
            return "\n".join(f"{file}\n  {example.use(file)}" for example, file in pairs)
        rows = [(example.name, example.command, example.about) for example in self.examples]
        return "\n".join(["examples, each with the command that solves it:", *table(rows), _HOW])

    def to_dict(self) -> Mapping[str, object]:
        """The same, with null for a copy that was not asked for."""
        copies: Sequence[str | None] = [str(file) for file in self.copies] or [None] * len(self.examples)
        pairs = zip(self.examples, copies, strict=True)
        return {"examples": [{**vars(example), "file": file} for example, file in pairs]}


def names() -> list[str]:
    """The names of all examples, those of flows first."""
    found = [file.relative_to(_folder()).with_suffix("") for file in _folder().rglob("*.toml")]
    return [name.as_posix() for name in sorted(found, key=lambda name: (len(name.parts), name))]


def described(asked: Sequence[str] = ()) -> tuple[Example, ...]:
    """Some examples by their names, all by default.

    Raises
    ------
    ProblemError
        There is none of such a name.
    """
    return tuple(_described(choice("NAME", name, names())) for name in asked or names())


def copied(examples: Sequence[Example], out: Path) -> ExamplesReport:
    """Copy examples into a folder, which is made, under their names.

    Raises
    ------
    ProblemError
        A file with another content has the name of a copy, or the folder cannot be made. Nothing is copied.
    """
    contents = {out / f"{example.name}.toml": _file(example.name).read_bytes() for example in examples}
    for path, content in contents.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == content):
            raise ProblemError(
                "--out", str(out), f"a folder where {path.relative_to(out)} is missing or unchanged"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise ProblemError("--out", str(out), f"a folder that can be written ({reason})") from None
    for path, content in contents.items():
        if not path.exists():
            put(path, content)
    return ExamplesReport(tuple(examples), tuple(contents))


def _folder() -> Path:
    """Where the files are: in the package as it is installed, and beside it in a checkout."""
    inside = _PACKAGE / "examples"
    return inside if inside.is_dir() else _PACKAGE.parent / "examples"


def _file(name: str) -> Path:
    return _folder() / f"{name}.toml"


def _described(name: str) -> Example:
    """An example by the comment at its head, and by the tables that it has."""
    head = re.match(r"(?:#.*\n)*", _file(name).read_text("utf-8"))
    words = " ".join(line.lstrip("# ") for line in (head[0] if head else "").splitlines())
    found = _FIRST.match(f"{words} ")
    tables = parsed(_file(name))
    by_table = {"axis": "sweep", "sparse": "sparse", "nonlinear": "nonlinear"}
    command = next((by_table[table] for table in by_table if table in tables), "flow")
    return Example(name, found[0] if found else words, command)
