"""The derivation of sparse regression is whole, and refuses what is wrong in any of its parts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import sympy as sp

import theory.sparse
from theory import derived
from theory.derivation import Derivation, ProofError
from theory.sparse import (
    descent,
    filters,
    given_labels,
    least_squares,
    linear_bound,
    marchenko_pastur,
    one_step,
    preprocessing,
    rate,
    spectral,
)


@pytest.mark.slow  # proved whole in test_main as well
def test_it_is_proved_and_printed() -> None:
    made = derived("sparse")
    assert sum(step.proved for step in made.steps) >= 60
    text, latex = " ".join(made.to_text().split()), made.to_latex()
    for claim in (
        "H >= d",
        "beta = R*u",
        "S = (n/Y)*r*r.T + 1/n*G.T*G",
        "risk_l - sigma**2/(n*(l + lambda)) >= 0",
        "d*sigma**2/(-d + n - 1)",
    ):
        assert claim in text
    assert r"\section{Preprocess, then optimize}" in latex
    assert latex.count(r"\begin{equation}") == latex.count(r"\end{equation}") >= 60


BROKEN: dict[str, tuple[ModuleType, str, Callable[..., Any]]] = {
    "the query is a key too": (
        preprocessing,
        "layer",
        lambda E, heads: E + sum((V * E * (K * E).T * Q * E for V, K, Q in heads), sp.zeros(*E.shape)) / 2,
    ),
    "one head is missing": (
        preprocessing,
        "preprocessing_heads",
        lambda size, step=0: preprocessing.preprocessing_heads(size, step)[1:],
    ),
    "factors exchanged": (descent, "gradient_head", lambda size, a, b: descent.gradient_head(size, b, a)),
    "one step more": (filters, "gradient_filter", lambda z, eta, t: filters.gradient_filter(z, eta, t + 1)),
    "flow too fast": (filters, "flow_filter", lambda z, T: filters.flow_filter(z, 2 * T)),
    "covariance not conditioned": (given_labels, "conditional_covariance", lambda Sigma, w, s2: Sigma),
    "variance without noise": (given_labels, "label_variance", lambda Sigma, w, s2: (w.T * Sigma * w)[0]),
    "penalty doubled": (spectral, "ridge_penalty", lambda d, n, v, s2: 2 * s2 * d / (n * v)),
    "bound too high": (spectral, "spectral_lower_bound", lambda d, n, v, s2: s2 * d / n),
    "other root": (
        marchenko_pastur,
        "marchenko_pastur_ridge",
        lambda d, n, v, s2: v - marchenko_pastur.marchenko_pastur_ridge(d, n, v, s2),
    ),
    "one coordinate too many": (one_step, "one_step_size", lambda d, n, v, s2: 1 / (1 + (d + 2) / n)),
    "noise where there is none": (least_squares, "noiseless_risk", lambda d, n, v: v * n / d),
    "bound of another penalty": (linear_bound, "ridge_penalty", lambda d, n, v, s2: s2 / (n * v)),
    "noise not fitted off the support": (
        rate,
        "off_support",
        lambda d, s, n, v, s2, T: (d - s) * s2 * T / n,
    ),
    "a rate without its first term": (rate, "rate", lambda d, s, n, s2: s2 * sp.log(n) * d / n**2),
    "a degree of freedom too many": (least_squares, "ols_risk", lambda d, n, s2: s2 * d / (n - d)),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_broken_variants_are_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part, name, broken = BROKEN[wrong]
    sound = getattr(part, name)
    called = []

    def variant(*arguments: Any) -> Any:
        monkeypatch.setattr(part, name, sound)  # it may call the sound one
        try:
            called.append(name)
            return broken(*arguments)
        finally:
            monkeypatch.setattr(part, name, variant)

    monkeypatch.setattr(part, name, variant)
    with pytest.raises(ProofError):
        part.derive()
    assert called


def test_a_broken_variant_stops_the_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole is not made of sound parts alone; those that are sound need no second proof."""

    def broken(name: str) -> Derivation:
        return import_module(f"theory.{name}").derive() if name == "sparse.filters" else derived(name)

    monkeypatch.setattr(theory.sparse, "derived", broken)
    monkeypatch.setattr(filters, "gradient_filter", lambda z, eta, t: (1 - (1 + eta * z) ** t) / z)
    with pytest.raises(ProofError, match="which is not zero"):
        theory.sparse.derive()
