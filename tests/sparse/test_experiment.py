"""Sparse problems and study files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.sparse.comparison import compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sparse.problem import SparseProblem

PROBLEM = SparseProblem(8, 2, 24, 0.3)


@st.composite
def problems(draw: st.DrawFn) -> SparseProblem:
    d = draw(st.integers(1, 50))
    kind = draw(st.sampled_from(["isotropic", "correlated", "support variance"]))
    return SparseProblem(
        d,
        draw(st.integers(1, d)),
        draw(st.integers(1, 500)),
        draw(st.floats(0.0, 1e3)),
        draw(st.floats(1e-3, 1e3)),
        draw(st.sampled_from(["pm", "gauss"])),
        draw(st.floats(-0.99, 0.99)) if kind == "correlated" else 0.0,
        draw(st.floats(0.01, 10.0)) if kind == "support variance" else 1.0,
    )


@given(problems())
def test_tables_of_a_problem_round_trip(p: SparseProblem) -> None:
    table = json.loads(json.dumps(p.to_dict()))
    assert SparseProblem.from_dict(table) == p
    assert list(table) == ["d", "s", "n", "noise", "signal", "weights", "correlation", "support_variance"]


@given(problems())
def test_signal_is_what_labels_have(p: SparseProblem) -> None:
    """The sum of Sigma_jj w_j^2, for weights of one absolute value on the first s features."""
    variances = np.ones(p.d) if p.Sigma is None else np.diag(p.Sigma) if p.Sigma.ndim == 2 else p.Sigma
    assert p.signal == pytest.approx(p.s * variances[0] * p.v / p.s)
    assert p.isotropic == (p.Sigma is None)
    if p.Sigma is not None and p.Sigma.ndim == 2:
        assert np.linalg.eigvalsh(p.Sigma)[0] > 0.0
        assert (np.diag(p.Sigma) == 1.0).all()
        if p.d > 2:
            assert p.Sigma[0, 2] == pytest.approx(p.correlation**2)
    elif p.Sigma is not None:
        assert (p.Sigma[p.s :] == 1.0).all()


def test_signal_to_noise_stands_for_noise() -> None:
    table = {"d": 8, "s": 2, "n": 20}
    assert SparseProblem.from_dict({**table, "snr": 4.0}).noise == 0.25
    assert SparseProblem.from_dict({**table, "snr": 4, "signal": 2.0}).noise == 0.5
    assert SparseProblem.from_dict({**table, "noise": 0}).noise == 0.0


def test_whole_floats_are_numbers() -> None:
    p = SparseProblem(8.0, 2.0, 20.0, 1)  # type: ignore[arg-type]
    assert (p.d, p.s, p.n, p.noise) == (8, 2, 20, 1.0)
    assert [type(x) for x in (p.d, p.s, p.n, p.noise)] == [int, int, int, float]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "s above d": ({"s": 9}, "s: expected a whole number >= 1 and <= 8"),
    "no s": ({"s": 0}, "s: expected"),
    "no d": ({"d": 0}, "d: expected a whole number >= 1"),
    "d is half": ({"d": 8.5}, "d: expected a whole number"),
    "d is text": ({"d": "8"}, "d: expected a whole number"),
    "d is true": ({"d": True}, "d: expected a whole number"),
    "no n": ({"n": 0}, "n: expected a whole number >= 1"),
    "n is too large": ({"n": 10**9}, "n: expected a whole number >= 1 and <= 10000000"),
    "negative noise": ({"noise": -0.1}, "noise: expected a number >= 0"),
    "endless noise": ({"noise": float("inf")}, "noise: expected"),
    "no signal": ({"signal": 0.0}, "signal: expected a number >= 1e-06"),
    "unknown weights": ({"weights": "cauchy"}, "weights: expected one of 'pm', 'gauss'"),
    "correlation of 1": ({"correlation": 1.0}, "correlation: expected"),
    "no variance": ({"support_variance": 0.0}, "support_variance: expected a number >= 1e-06"),
    "both designs": (
        {"correlation": 0.5, "support_variance": 0.5},
        "correlation: expected 0 with a support_variance",
    ),
}
MORE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"nois": 0.1}, r"nois: expected a known key \(is it a typing error\?\)"),
    "snr beside noise": ({"snr": 1.0}, "snr: expected nothing beside noise"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_problems(case: str) -> None:
    changed, message = BAD[case]
    with pytest.raises(si.ProblemError, match=message) as caught:
        SparseProblem(**({"d": 8, "s": 2, "n": 20, "noise": 0.1} | changed))
    assert caught.value.argument in changed


@pytest.mark.parametrize("case", [*BAD, *MORE])
def test_bad_tables_name_the_dotted_path(case: str) -> None:
    changed, message = (BAD | MORE)[case]
    table = {"d": 8, "s": 2, "n": 20, "noise": 0.1} | changed
    with pytest.raises(si.ProblemError, match=f"^{message}"):
        SparseProblem.from_dict(table)
    with pytest.raises(si.ProblemError, match=rf"^sparse\.{message}") as caught:
        Study.from_dict({"sparse": table})
    assert caught.value.argument.removeprefix("sparse.") in changed
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["d", "s", "n", "noise"])
def test_missing_entries(name: str) -> None:
    table = {"d": 8, "s": 2, "n": 20, "noise": 0.1}
    del table[name]
    with pytest.raises(si.ProblemError, match=rf"^sparse\.{name}: expected a value"):
        Study.from_dict({"sparse": table})


def test_bad_signal_to_noise() -> None:
    for snr in (0.0, -1.0, "high", float("nan")):
        with pytest.raises(si.ProblemError, match=r"^sparse\.snr: expected a number > 0"):
            Study.from_dict({"sparse": {"d": 8, "s": 2, "n": 20, "snr": snr}})


def test_a_signal_to_noise_ratio_that_makes_too_much_noise_is_named() -> None:
    """And not the noise, which nobody gave."""
    for snr in (5e-324, 1e-300, 0.9e-6):
        with pytest.raises(
            si.ProblemError, match=r"^sparse\.snr: expected signal/snr, the noise, to be <= 1e\+06"
        ):
            Study.from_dict({"sparse": {"d": 8, "s": 2, "n": 20, "snr": snr}})


# studies


def test_work_is_bounded_by_the_problem() -> None:
    """About an hour; what nobody gave is taken as it can be."""
    large = {"d": 4472, "s": 4, "n": 4472, "noise": 0.25}
    assert Study.from_dict({"sparse": large}).prompts == 43
    with pytest.raises(
        si.ProblemError, match=r"^study\.prompts: expected a whole number >= 0 and <= 43, got 44"
    ):
        Study.from_dict({"sparse": large, "study": {"prompts": 44}})
    wide = {"d": 10**5, "s": 1024, "n": 1, "noise": 0.25}
    assert Study.from_dict({"sparse": wide}).draws == 256
    with pytest.raises(
        si.ProblemError, match=r"^study\.draws: expected a whole number >= 16 and <= 1000, got"
    ):
        Study.from_dict({"sparse": wide, "study": {"draws": 1001}})


@given(problems(), st.integers(20, 10**6), st.integers(0, 2**62), st.integers(16, 10**6), st.booleans())
def test_tables_of_a_study_round_trip(
    p: SparseProblem, prompts: int, seed: int, draws: int, lasso: bool
) -> None:
    study = Study(p, prompts, seed, draws, lasso)
    table = json.loads(json.dumps(study.to_dict()))
    assert Study.from_dict(table) == study
    assert list(table) == ["sparse", "study"]


def test_studies_of_files(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('[sparse]\nd = 16\ns = 2\nn = 40\nsnr = 2\nweights = "gauss"\n[study]\nprompts = 0\n')
    expected = Study(SparseProblem(16, 2, 40, 0.5, weights="gauss"), prompts=0)
    assert Study.read(file) == expected
    changed = Study.read(file, ("sparse.n=50", "study.seed=3"))
    assert changed == Study(replace(expected.problem, n=50), prompts=0, seed=3)
    assert Study.read(None) == Study(SparseProblem(64, 4, 128, 0.25))


TABLE = {"d": 8, "s": 2, "n": 20, "noise": 0.1}
BAD_STUDIES: dict[str, tuple[dict[str, Any], str]] = {
    "one prompt": ({"prompts": 1}, r"study\.prompts: expected 0, or at least 20"),
    "negative prompts": ({"prompts": -2}, r"study\.prompts: expected"),
    "negative seed": ({"seed": -1}, r"study\.seed: expected"),
    "few draws": ({"draws": 15}, r"study\.draws: expected a whole number >= 16"),
    "lasso is text": ({"lasso": "yes"}, r"study\.lasso: expected true or false"),
    "lasso without prompts": ({"lasso": True, "prompts": 0}, r"study\.lasso: expected prompts to simulate"),
    "unknown key": ({"promts": 3}, r"study\.promts: expected a known key"),
    "another problem": ({"problem": TABLE}, r"study\.problem: expected a known key"),
}


@pytest.mark.parametrize("case", BAD_STUDIES)
def test_bad_studies(case: str) -> None:
    options, message = BAD_STUDIES[case]
    with pytest.raises(si.ProblemError, match=f"^{message}"):
        Study.from_dict({"sparse": TABLE, "study": options})


@pytest.mark.parametrize(
    "case", [case for case in BAD_STUDIES if "key" not in case and "another" not in case]
)
def test_bad_arguments_have_their_own_names(case: str) -> None:
    """The section is that of a file, which a study of Python does not have."""
    options, message = BAD_STUDIES[case]
    with pytest.raises(si.ProblemError, match="^" + message.removeprefix(r"study\.")):
        Study(PROBLEM, **options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sparse": TABLE, "flow": {}}, r"flow: expected one of the tables \[sparse\] and \[study\]"),
        ({"sparse": TABLE, "axis": []}, "axis: expected no axis: a study is one point"),
        ({"sparse": 3}, r"sparse: expected a table \[sparse\]"),
        ({"sparse": TABLE, "study": [1]}, r"study: expected a table \[study\]"),
        ({}, r"sparse: expected a table \[sparse\] with d, s, n and noise"),
    ],
)
def test_bad_sections(table: dict[str, Any], message: str) -> None:
    with pytest.raises(si.ProblemError, match=f"^{message}"):
        Study.from_dict(table)


def test_a_whole_float_is_a_seed() -> None:
    """Whatever a study accepts it can be compared with."""
    study = Study(PROBLEM, prompts=20.0, seed=3.0, draws=16.0)  # type: ignore[arg-type]
    same = Study(PROBLEM, prompts=20, seed=3, draws=16)
    assert compare(study).methods["p2o"] == compare(same).methods["p2o"]
