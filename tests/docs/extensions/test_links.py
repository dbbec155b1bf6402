"""What the pages of the site link to must exist, and every equation and claim must have its links."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from site_extensions import loaded

from spectral_icl.theorems.claim import Claim
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.sparse.claims.registry import CLAIMS as SPARSE

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [page for page in PAGES if not {"_build", "gallery"} & set(page.parts)]
CODE, THEORY = "../spectral_icl/", "../theory/"


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    """The module that the site is built with."""
    return loaded("links")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_names_a_file_and_what_is_in_it(page: Path, extension: ModuleType) -> None:
    for link in extension.links(page.read_text("utf-8")):
        extension.target(link, page)


@pytest.mark.parametrize(
    "link",
    [
        "../spectral_icl/kernels/asymptotic.py#_nothing",
        "../spectral_icl/nothing.py",
        "../theory/multitask/loss.py#so-the-tilted-variance",
        "../theory/multitask/loss.py#two",  # begins more than one step
        "../../outside.md",
    ],
)
def test_a_link_to_nothing_is_noticed(link: str, extension: ModuleType) -> None:
    with pytest.raises(extension.BrokenLinkError):
        extension.target(link, ROOT / "docs" / "model.md")


def test_every_equation_names_its_function_and_its_proof() -> None:
    """After a numbered equation comes a paragraph `Code: ... Proof: ...` with links to both."""
    text = (ROOT / "docs" / "model.md").read_text("utf-8")
    equations = re.findall(r"^\$\$\n.*?\n\$\$ \((eq-[\w-]+)\)\n\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    assert len(equations) == len(re.findall(r"^\$\$$", text, re.MULTILINE)) > 20
    assert len(dict(equations)) == len(equations)
    for label, beside in equations:
        code, found, proof = beside.partition("Proof:")
        assert code.startswith("Code:"), label
        assert found, label
        assert re.search(rf"\]\({re.escape(CODE)}[^)]+\.py#", code), label
        assert re.search(rf"\]\({re.escape(THEORY)}[^)]+\.py#", proof), label


def test_every_claim_has_its_theorem() -> None:
    """Each is named once, with a link to the function that tests it."""
    text = (ROOT / "docs" / "theorems.md").read_text("utf-8")
    named = re.findall(r"\[`([a-z-]+)`\]\(\.\./spectral_icl/theorems/(\w+)/claims(?:/\w+)?\.py#(\w+)\)", text)
    for subject, claims in (("multitask", CLAIMS), ("sparse", SPARSE)):
        known: dict[str, Claim[Any, Any]] = dict(claims)
        wanted = sorted((name, claim.test.__name__) for name, claim in known.items())
        assert sorted((name, test) for name, of, test in named if of == subject) == wanted


def test_every_claim_is_placed_beside_the_papers() -> None:
    """On the page of statements, in backquotes, and nothing that is no claim is named as one."""
    text = (ROOT / "docs" / "statements.md").read_text("utf-8").split("## What was measured")[0]
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", text))
    assert {*CLAIMS, *SPARSE} == named & {*CLAIMS, *SPARSE}
    assert not {name for name in named if "-" in name} - {*CLAIMS, *SPARSE}


def test_every_theorem_has_a_label_a_check_and_an_end() -> None:
    text = (ROOT / "docs" / "theorems.md").read_text("utf-8")
    parts = re.split(r"^:::\{prf:(?:theorem|observation)\} ", text, flags=re.MULTILINE)[1:]
    assert len(parts) > 15
    for part in parts:
        assert ":label: thm-" in part, part[:40]
        assert "\nCheck: " in part, part[:40]
        assert "\nWhere it stops:" in part, part[:40]


def test_the_gallery_is_ordered_and_whole() -> None:
    spec = (ROOT / "docs" / "extensions" / "pictures.py").read_text("utf-8")
    ordered = re.findall(r'"(\w+)"', spec.split("ORDER = [")[1].split("]")[0])
    scripts = [path.stem for path in (ROOT / "examples" / "gallery").glob("[a-z]*.py")]
    assert sorted(ordered) == sorted(scripts)
