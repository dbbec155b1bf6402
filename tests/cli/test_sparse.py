"""spectral-icl sparse, and verify on sparse problems: what they print, write and refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from shell import run
from weights import slow

from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.theorems.sparse.check import names

QUICK = ("--set", "study.prompts=40", "--set", "study.draws=16")
SMALL = ("--set", "sparse.d=16", "--set", "sparse.n=40", *QUICK)


def test_json_has_theory_and_simulation_of_every_method() -> None:
    status, out, err = run("sparse", "--json", *SMALL)
    assert (status, err) == (0, "")
    table = json.loads(out)
    assert list(table["methods"]) == ["p2o", "gd", "ridge", "ols", "oracle"]
    ridge = risk.ridge_opt_risk(16, 40, 1.0, 0.25)
    assert table["methods"]["ridge"]["theory"] == pytest.approx(ridge.risk)
    assert table["methods"]["ridge"]["tuned"] == pytest.approx(ridge.lam)
    assert table["methods"]["ols"]["tuned"] is None
    for method in table["methods"].values():
        assert abs(method["simulated"] - method["theory"]) < 5.0 * np.hypot(
            method["se"], method["theory_error"]
        )
    curve = table["curve"]
    assert min(curve["theory"]) == table["methods"]["p2o"]["theory"]
    assert len(curve["time"]) == len(curve["simulated"]) == len(curve["se"])
    assert table["sparse"]["d"] == 16


def test_text_says_who_wins_and_which_hypotheses_are_not_met() -> None:
    status, out, _ = run("sparse", *SMALL)
    assert status == 0
    assert out.startswith("built-in sparse problem\n")
    assert (
        "no advantage over ridge is claimed here: not met are: prompts that show the support, n >= 16 s "
        "(1 + noise/signal)" in out
    )
    status, out, _ = run("sparse", *QUICK)
    assert "P2O / ridge = 0." in out
    assert "the hypotheses under which P2O beats ridge are met" in out


def test_theory_alone_needs_no_prompts() -> None:
    status, out, _ = run("sparse", "--json", *SMALL, "--set", "study.prompts=0")
    table = json.loads(out)
    assert status == 0
    assert all(method["simulated"] is None for method in table["methods"].values())
    assert table["curve"]["simulated"] is None
    assert 0.0 < table["advantage"]["mean"] < 1.2


def test_what_has_no_theory_is_simulated() -> None:
    _, out, _ = run("sparse", "--json", *SMALL, "--set", "sparse.correlation=0.5")
    methods = json.loads(out)["methods"]
    assert methods["ridge"]["theory"] is None
    assert methods["ridge"]["simulated"] > 0.0
    assert methods["p2o"]["theory"] > 0.0


def test_plot_is_written(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    options = ("--set", "sparse.correlation=0.5")  # a figure of one panel
    status, out, _ = run("sparse", *SMALL, *options, "--plot", str(path))
    assert status == 0
    assert out.endswith(f"wrote {path}\n")
    assert "excess risk" in path.read_text("utf-8") or path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("overrides", "named", "expected"),
    [
        (["sparse.s=65"], "sparse.s", "<= 64, got 65"),
        (["sparse.n=0"], "sparse.n", ">= 1"),
        (["sparse.d=2.5"], "sparse.d", "whole number"),
        (["sparse.noise=-1"], "sparse.noise", ">= 0"),
        (["sparse.noise=nan"], "sparse.noise", "number"),
        (["sparse.weights=cauchy"], "sparse.weights", "'pm', 'gauss'"),
        (["sparse.correlation=1.0"], "sparse.correlation", "<= 0.999"),
        (["sparse.correlation=0.5", "sparse.support_variance=0.5"], "sparse.correlation", "one or the other"),
        (["sparse.snr=4"], "sparse.snr", "nothing beside noise"),
        (["sparse.dd=4"], "sparse.dd", "typing error"),
        (["study.prompts=1"], "study.prompts", "at least 2"),
        (["study.draws=3"], "study.draws", ">= 16"),
        (["study.prompt=3"], "study.prompt", "typing error"),
        (["study.lasso=true", "study.prompts=0"], "study.lasso", "prompts"),
        (["flow.t_end=3"], "flow", "[sparse] and [study]"),
    ],
)
def test_bad_input_is_one_line(overrides: list[str], named: str, expected: str) -> None:
    status, out, err = run("sparse", *(part for text in overrides for part in ("--set", text)))
    assert (status, out) == (2, "")
    assert err.startswith(f"Error: {named}: expected ")
    assert expected in err
    assert err.count("\n") == 1


def test_files_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    flow, sparse = tmp_path / "flow.toml", tmp_path / "sparse.toml"
    flow.write_text("[problem]\ntask_sizes = [4]\nsignal = [1.0]\nnoise = 0.1\ncontext_length = 50\n")
    sparse.write_text("[sparse]\nd = 16\ns = 2\nn = 40\nnoise = 0.25\n")
    for command, path in (("sparse", flow), ("flow", sparse), ("optimal", sparse)):
        status, out, err = run(command, str(path))
        assert (status, out, err.count("\n")) == (2, "", 1), command


def test_verify_checks_a_sparse_file(tmp_path: Path) -> None:
    path, page = tmp_path / "sparse.toml", tmp_path / "page.html"
    path.write_text("[sparse]\nd = 32\ns = 2\nn = 128\nnoise = 0.25\n")
    options = ("--prompts", "100", "--claim", "advantage", "--claim", "upper-bound", "--report", str(page))
    status, out, _ = run("verify", str(path), *options)
    assert status == 0
    assert out.startswith("advantage: ")
    assert "2 holds, 0 fails, 0 not applicable" in out
    text = page.read_text("utf-8")
    assert "upper-bound" in text
    assert "n = 128, noise = 0.25: P2O / ridge" in text


def test_verify_json_of_the_suite() -> None:
    options = ("--sparse", "--prompts", "100", "--claim", "sparsity", "--json")
    status, out, _ = run("verify", *options)
    table = json.loads(out)
    assert status == 0
    assert table["success"] is True
    (claim,) = table["claims"]
    verdicts = [check["verdict"] for check in claim["checks"]]
    ridge_wins = ["not applicable", "holds"]
    assert verdicts == ["holds"] * 5 + ["not applicable"] * 2 + ridge_wins + ["holds"] + ridge_wins
    assert all("FAILS without" in claim["checks"][k]["reason"] for k in (6, 7, 10))
    assert all("dense weights" in claim["checks"][k]["reason"] for k in (8, 11))


def test_a_claim_about_families_is_not_measured_on_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "sparse.toml"
    path.write_text("[sparse]\nd = 32\ns = 2\nn = 128\nnoise = 0.25\n")
    status, out, _ = run("verify", str(path), "--claim", "exponents")
    assert status == 0
    assert "not measured: it is about families of problems" in out


# hypotheses of a claim are met, or nothing is claimed: corners of what a file may say
@pytest.mark.parametrize(
    "problem",
    [
        "d = 16\ns = 4\nn = 256\nnoise = 0.25",
        slow("d = 64\ns = 16\nn = 256\nnoise = 0.25"),
        "d = 64\ns = 4\nn = 8\nnoise = 0.06",
        slow("d = 64\ns = 4\nn = 128\nnoise = 1e4"),
        slow("d = 16\ns = 1\nn = 64\nnoise = 1e-4"),
        "d = 16\ns = 1\nn = 64\nnoise = 0.0",
        "d = 16\ns = 16\nn = 16\nnoise = 0.001",
        "d = 1\ns = 1\nn = 1\nnoise = 1.0",
        "d = 32\ns = 2\nn = 64\nnoise = 0.25\nsupport_variance = 1e-5",
        "d = 32\ns = 2\nn = 64\nnoise = 4.0\nweights = 'gauss'",
    ],
)
def test_no_claim_fails_on_any_problem(tmp_path: Path, problem: str) -> None:
    path = tmp_path / "sparse.toml"
    path.write_text(f"[sparse]\n{problem}\n")
    status, out, err = run("verify", str(path), "--prompts", "100")
    assert (status, err) == (0, "")
    assert " 0 fails," in out
    assert "nan" not in out
    status, out, err = run("sparse", str(path), "--json", *QUICK)
    assert (status, err) == (0, "")
    json.loads(out)


def test_what_is_too_large_is_one_line() -> None:
    for text in (["sparse.d=100000", "sparse.correlation=0.5"], ["sparse.d=100000", "sparse.n=10000000"]):
        status, out, err = run("sparse", *(part for one in text for part in ("--set", one)))
        assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--sparse", "--claim", "sparsityy"], "--claim"),
        (["--sparse", "--set", "sparse.n=4"], "--sparse"),
        (["--sparse", "--prompts", "3"], "prompts"),
        (["--sparse", "--seed", "-1"], "seed"),
    ],
)
def test_bad_options_of_verify_are_one_line(args: list[str], named: str) -> None:
    status, out, err = run("verify", *args)
    assert (status, out) == (2, "")
    assert err.startswith(f"Error: {named}: expected ")
    assert err.count("\n") == 1


def test_help_names_the_command() -> None:
    assert "sparse" in run("--help")[1]
    assert len(names()) == 17
