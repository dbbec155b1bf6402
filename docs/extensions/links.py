"""Links from a page to a file of the repository, and to what is in it.

A page links to a file by its path, as it must where it is read in the repository, such as
`../theory/multitask/loss.py`. After a `#` stands the name of a function or class, as `#Problem.multitask`,
or the first words of a step in a derivation, joined by hyphens.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = {"define", "identity", "sign", "minimum"}  # methods of a derivation that make a formula
PICTURES = (".png", ".pdf", ".svg")


class BrokenLinkError(ValueError):
    """A link to what does not exist."""


def slug(text: str) -> str:
    """Words joined by hyphens: what a link names a step by."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def anchors(path: Path) -> dict[str, int]:
    """Lines of a Python file by name: its functions, classes and methods, and the steps of a derivation."""
    tree = ast.parse(path.read_text("utf-8"))
    return dict([*_definitions(tree), *_steps(tree)])


def _definitions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield f"{above}{node.name}", node.lineno
            yield from _definitions(node, f"{above}{node.name}.")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((f"{above}{t.id}", node.lineno) for t in targets if isinstance(t, ast.Name))


def _steps(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STEPS:
            text = node.args[0] if node.args else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield slug(text.value), node.lineno


def found(path: Path, name: str) -> str:
    """The anchor that a link names: that of a definition, or of the one step that begins so.

    Raises
    ------
    BrokenLinkError
        If there is none, or more than one.
    """
    known = anchors(path) if path.suffix == ".py" else {}
    if name in known:
        return name
    begun = [anchor for anchor in known if anchor.startswith(f"{name}-")]
    if len(begun) != 1:
        where = path.relative_to(ROOT)
        raise BrokenLinkError(f"{where}#{name}: {len(begun)} definitions or steps of that name")
    return begun[0]


def target(link: str, page: Path) -> tuple[Path, str]:
    """File or folder and anchor that a relative link on a page leads to.

    Raises
    ------
    BrokenLinkError
        If it does not exist.
    """
    name, _, anchor = link.partition("#")
    path = (page.parent / name).resolve()
    if not path.exists() or not path.is_relative_to(ROOT):
        raise BrokenLinkError(f"{link}: no such file")
    return path, found(path, anchor) if anchor and path.suffix != ".md" else anchor


def links(text: str) -> Iterator[str]:
    """The relative links of a page in Markdown, its code and pictures left out."""
    prose = re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:|#|/", link) and not link.partition("#")[0].endswith(PICTURES):
            yield link
