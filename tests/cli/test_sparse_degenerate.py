"""Sparse problems at the ends of their ranges: no exception, no warning, no impossible risk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import run

ROUNDING = 1e-9  # of a risk, in parts of the signal


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Entries of a file about a small problem: sizes next to where formulas change, numbers of all ranges."""
    d = draw(st.sampled_from([1, 2, 3, 8, 16]) | st.integers(1, 30))
    s = draw(st.sampled_from([1, d]) | st.integers(1, d))
    beside = [near + step for near in (s, d) for step in (-1, 0, 1, 2)]
    table = {
        "sparse.d": d,
        "sparse.s": s,
        "sparse.n": draw(st.sampled_from([n for n in beside if n > 0]) | st.integers(1, 60)),
        "sparse.noise": draw(st.sampled_from([0.0, 0.25, 5e-324, 1e-300, 1e-17, 1e6]) | st.floats(0.0, 1e6)),
        "sparse.signal": draw(st.sampled_from([1.0, 1e-6, 1e6]) | st.floats(1e-6, 1e6)),
        "study.prompts": draw(st.sampled_from([0, 20])),
        "study.draws": 16,
        "study.seed": draw(st.integers(0, 100)),
    }
    kind = draw(st.sampled_from(["isotropic", "isotropic", "correlation", "support_variance"]))
    if kind == "correlation":
        table["sparse.correlation"] = draw(st.floats(-0.999, 0.999))
    if kind == "support_variance":
        table["sparse.support_variance"] = draw(st.floats(1e-6, 1e6))
    return table


def methods_of(table: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The risks that the command prints as strict JSON, in silence."""
    options = [part for key, value in table.items() for part in ("--set", f"{key}={value!r}")]
    status, out, err = run("sparse", "--json", *options)
    assert (status, err) == (0, "")
    found: dict[str, dict[str, float]] = json.loads(out, parse_constant=pytest.fail)["methods"]
    return found


def check(table: dict[str, Any]) -> None:
    methods, signal = methods_of(table), table["sparse.signal"]
    for name, risk in methods.items():
        theory, simulated = risk["theory"], risk["simulated"]
        assert not any(risk[key] is not None and risk[key] < 0.0 for key in ("theory", "simulated", "se"))
        exact = name in ("ols", "oracle") and table["sparse.noise"] == 0.0
        if exact and theory is not None and theory <= ROUNDING * signal and simulated is not None:
            assert simulated <= 1e-6 * signal, name
    ridge = methods["ridge"]["theory"]
    for name in ("gd", "ols"):
        other = methods[name]["theory"]
        assert ridge is None or other is None or other >= ridge - ROUNDING * signal
    if ridge is not None:
        assert ridge <= signal * (1.0 + ROUNDING)


@given(tables())
@settings(max_examples=5, deadline=None)
def test_any_problem(table: dict[str, Any]) -> None:
    check(table)


@pytest.mark.slow
@given(tables())
@settings(max_examples=2000, deadline=None)
def test_any_of_many_problems(table: dict[str, Any]) -> None:
    check(table)


@pytest.mark.parametrize(
    ("d", "s", "n"), [(1, 1, 1), (1, 1, 3), (20, 3, 20), (20, 3, 21), (20, 3, 19), (20, 3, 3), (20, 6, 2)]
)
def test_least_squares_without_noise(d: int, s: int, n: int) -> None:
    """Where there is nothing to see, theory and simulation see it; elsewhere they agree."""
    table = {"sparse.d": d, "sparse.s": s, "sparse.n": n, "sparse.noise": 0.0, "study.prompts": 200}
    methods = methods_of({**table, "study.draws": 16})
    for name, size in (("ols", d), ("oracle", s)):
        risk = methods[name]
        assert risk["theory"] == max(0.0, 1.0 - n / size)
        assert abs(risk["simulated"] - risk["theory"]) < 4.5 * risk["se"] + 1e-9
