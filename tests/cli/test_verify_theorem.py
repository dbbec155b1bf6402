"""``verify --theorem``: its tables, JSON and page, and what it refuses."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from pages import Page
from shell import run
from strict import strict

from spectral_icl.theorems.margins import Ground
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.sparse.claims.registry import CLAIMS as SPARSE_CLAIMS

SMALL = ("--set", "sparse.d=16", "--set", "sparse.n=200", "--set", "sparse.s=1")


def test_text_and_page_of_a_claim_that_is_computed(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    status, out, err = run("verify", "--theorem", "single-vs-multi", "--report", str(target))
    assert (status, err) == (0, "")
    claim = CLAIMS["single-vs-multi"]
    assert out.startswith(f"single-vs-multi: {claim.statement} [{claim.reference}]\ntwo equal tasks: ")
    for words in (
        "context length L, 100 at the base",
        "number of tasks I, 2 at the base",
        "two tasks or more",
    ):
        assert words in out
    assert out.endswith(f"wrote {target}\n")
    page = Page()
    page.feed(target.read_text("utf-8"))
    assert page.open == []
    assert len(page.pictures) == 2
    assert page.links == page.pictures  # nothing is fetched from elsewhere
    for picture in page.pictures:
        assert base64.b64decode(picture.partition(",")[2]).lstrip().startswith(b"<?xml")
    text = " ".join(page.words)
    assert claim.statement in text
    assert claim.reference in text
    assert "there are two tasks or more" in text


def test_json_from_a_file_with_other_entries(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text(
        "[problem]\ntask_sizes = [4, 6]\nsignal = 2.0\nnoise = 0.5\ncontext_length = 50\n[model]\nheads = 2\n"
    )
    overrides = ("--set", "problem.context_length=80")
    status, out, err = run("verify", str(file), "--theorem", "single-vs-multi", "--json", *overrides)
    assert (status, err) == (0, "")
    found = strict(out)
    assert found["base"]["name"] == str(file)
    assert found["base"]["problem"]["context_length"] == 80.0
    length = next(line for line in found["variables"] if line["name"] == "length")
    assert length["base"] == 80.0
    assert found["plane"]["x"]["name"] == "dimension"


def test_a_claim_that_is_sampled() -> None:
    """About sparse regression: the base is given as a problem of it."""
    status, out, err = run("verify", "--theorem", "upper-bound", "--json", *SMALL)
    assert (status, err) == (0, "")
    found = strict(out)
    assert found["statement"] == SPARSE_CLAIMS["upper-bound"].statement
    assert [line["name"] for line in found["variables"]] == ["n", "d", "s", "noise", "correlation"]
    assert found["base"]["problem"]["n"] == 200


def test_a_failure_is_status_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_icl.theorems.multitask.claims.training.EMERGENCE", 1e-9)
    status, out, _ = run("verify", "--theorem", "three-phases")
    assert status == 1
    assert "FAILS" in out


def test_an_interrupt_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ground, "over_plane", interrupted)
    status, out, err = run("verify", "--theorem", "single-vs-multi")
    assert (status, err) == (130, "\nError: interrupted\n")
    assert "signal over noise SNR" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--claim", "optimality"), "--theorem: expected no --claim beside it"),
        (("--sparse",), "--theorem: expected no --sparse beside it"),
        (("--report", "page.txt"), "--report: expected a name ending in .html"),
        (("--prompts", "3"), "prompts: expected a whole number >= 100"),
        (("--set", "problem.noise=-1"), "problem.noise"),
        (("missing.toml",), "FILE: expected a readable file"),
        (SMALL, "this one is about softmax attention, got 'optimality'"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    status, out, err = run("verify", "--theorem", "optimality", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_a_name_that_is_none_is_refused() -> None:
    status, out, err = run("verify", "--theorem", "magic")
    assert (status, out) == (2, "")
    assert err.startswith("Error: --theorem: expected one of 'decomposability-preserved'")
