"""The command ``verify``: its tables, JSON and page, and errors of it and of ``optimal``."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from drawn_benchmarks import few_points
from pages import Page
from shell import run
from strict import strict
from weights import slow

from spectral_icl.theorems.multitask import check as theorems
from spectral_icl.theorems.multitask.claims import training
from spectral_icl.theorems.report import CaseReport, report_case

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_verify_a_file() -> None:
    status, out, err = run("verify", str(EXAMPLES / "two_tasks.toml"), "--json", "--prompts", "500")
    assert (status, err) == (0, "")
    report = strict(out)
    assert [check["claim"] for check in report["cases"][0]["checks"]] == theorems.names()


def test_a_failed_check_is_status_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "EMERGENCE", 1e-9)
    arguments = ("verify", str(EXAMPLES / "two_tasks.toml"), "--claim", "three-phases")
    status, out, err = run(*arguments)
    assert (status, err) == (1, "")
    assert re.search(r"three-phases +FAILS", out)
    assert "1 case: 0 holds, 1 fails, 0 not applicable" in out
    status, out, _ = run(*arguments, "--json")
    assert status == 1
    assert strict(out)["success"] is False


def test_an_interrupt_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases are printed as they end."""
    done = []

    def interrupted(*arguments: Any) -> CaseReport:
        if done:
            raise KeyboardInterrupt
        done.append(report_case(*arguments))
        return done[0]

    monkeypatch.setattr("spectral_icl.theorems.report.report_case", interrupted)
    status, out, err = run("verify", "--claim", "single-vs-multi")
    assert (status, err) == (130, "\nError: interrupted\n")
    assert out.startswith("two equal tasks: ")
    assert "single-vs-multi" in out


def test_a_claim_asked_for_twice_is_checked_once() -> None:
    _, out, _ = run("verify", "--set", "model.heads=2", *2 * ("--claim", "single-vs-multi"))
    assert out.endswith("1 case: 1 holds, 0 fails, 0 not applicable\n")


def test_overrides_and_chosen_claims() -> None:
    status, out, _ = run(
        "verify", "--set", "model.heads=1", "--claim", "optimality", "--claim", "head-budget", "--json"
    )
    assert status == 0
    checks = strict(out)["cases"][0]["checks"]
    assert [(c["claim"], c["verdict"]) for c in checks] == [
        ("optimality", "not applicable"),
        ("head-budget", "holds"),
    ]


def test_page_is_one_file_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_points(monkeypatch)
    file = tmp_path / "<b>two & more.toml"
    file.write_text((EXAMPLES / "two_tasks.toml").read_text("utf-8"), "utf-8")
    target = tmp_path / "out.html"
    chosen = ("--claim", "optimality", "--claim", "escape-rate")
    status, out, _ = run("verify", str(file), "--report", str(target), *chosen)
    assert status == 0
    assert out.endswith(f"wrote {target}\n")
    page = Page()
    page.feed(target.read_text("utf-8"))
    assert page.open == []
    assert len(page.pictures) == 2
    assert page.links == page.pictures  # nothing is fetched from elsewhere
    for picture in page.pictures:
        kind, _, data = picture.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert base64.b64decode(data).lstrip().startswith(b"<?xml")
    text = " ".join(page.words)
    assert str(file) in text  # escaped, not markup
    assert theorems.CLAIMS["monotone-loss"].statement not in text  # only what was asked for
    for claim in ("optimality", "escape-rate"):
        assert theorems.CLAIMS[claim].statement in text


def test_page_needs_a_name_it_can_have(tmp_path: Path) -> None:
    for name, message in (("out.txt", "a name ending in .html"), ("no/out.html", "in a folder that exists")):
        status, out, err = run("verify", "--report", str(tmp_path / name))
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "--claim", "magic"), "--claim: expected one of 'decomposability-preserved'"),
        (("verify", "--prompts", "3"), "prompts: expected a whole number >= 100"),
        (("verify", "--prompts", "many"), "Invalid value for '--prompts'"),
        (("verify", "missing.toml"), "FILE: expected a readable file"),
        (("verify", "--seed", "-1"), "seed: expected a whole number >= 0"),
        (("optimal", "--heads", "0"), "heads: expected a whole number >= 1"),
        (("optimal", "--plot", "x.txt"), "--plot: expected a name ending in .pdf or .png or .svg"),
        (("optimal", "--set", "problem.noise=-1"), "problem.noise"),
        (("optimal", "missing.toml"), "FILE: expected a readable file"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_help_lists_every_claim() -> None:
    _, out, _ = run("verify", "--help")
    listed = re.sub(r"\s+", " ", out)
    for name in theorems.names():
        assert re.search(rf"{name}[,.]", listed)


@pytest.mark.parametrize(
    "override",
    [
        "problem.signal=1e-30",
        slow("problem.signal=[1e-9, 1e9]"),
        "problem.covariance=1e-30",
        slow("problem.covariance=1e12"),
        slow("problem.noise=0"),
        "problem.noise=1e12",
        "problem.context_length=1",
        "problem.context_length=10.5",
        slow("problem.context_length=1e12"),
        "problem.task_sizes=[1, 1000000000]",
        "problem.task_sizes=[1, 1]",
        "model.key_scale=1e-300",
        slow("model.key_scale=1e12"),
        slow("model.heads=40"),
        "initial.qk=0",
        slow("initial.qk=1e-200"),
        slow("initial.ov_low=-0.1"),
    ],
)
def test_extreme_but_legal_problems_end_in_order(override: str) -> None:
    """No traceback, no numerical warning, and no claim that fails because numbers ran out of digits."""
    status, out, err = run("verify", "--prompts", "100", "--json", "--set", override)
    failed = {c["claim"] for c in strict(out)["cases"][0]["checks"] if c["verdict"] == "fails"}
    assert failed == set()
    assert (status, err) == (0, "")
    for form in ((), ("--json",)):
        status, out, err = run("optimal", "--set", override, *form)
        assert (status, err) == (0, "")
        assert out


def test_a_gradient_by_covariates_alone_is_measured() -> None:
    """The softmax of one pair is 1, whatever the logits: what one task has left is two entries of U_X."""
    entries = ("task_sizes=[2]", "signal=1.0", "noise=0", "context_length=1")
    overrides = [word for entry in entries for word in ("--set", f"problem.{entry}")]
    args = ["--claim", "decomposability-preserved", "--prompts", "100", "--json", *overrides]
    status, out, err = run("verify", *args, "--set", "model.heads=1")
    assert (status, err) == (0, "")
    (found,) = strict(out)["cases"][0]["checks"]
    assert found["reason"].startswith("largest |z| of 2 zeros at 1 times")
