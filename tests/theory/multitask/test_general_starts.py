"""What is derived for unequal entries, against the compiled gradient and the functions of the package."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from expressions import positive
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.flow.equality import equalising_rate, served_plateau
from theory import derived
from theory.multitask import general_starts
from theory.multitask.loss import symbols
from theory.symbols import L, c


@pytest.mark.parametrize("seed", [0, 1])
def test_growth_of_a_feature_is_that_of_the_compiled_gradient(seed: int) -> None:
    """Two tasks that share a block of two features, two heads of either sign."""
    rng = np.random.default_rng(seed)
    p = si.Problem(
        block_sizes=(2, 1),
        signal=((1.2, 0.4), (0.6, 0.9)),
        noise=(0.2, 0.3),
        context_length=40.0,
        covariance=(0.7, 1.4),
    )
    split = p.by_feature()
    at, drawn = symbols(2, 3, 2), si.State(rng.normal(size=(2, 3)), rng.normal(size=(2, 2)))
    values = {L: 40.0, c: 0.3}
    for key, given_ in (
        ("sizes", split.block_sizes),
        ("kappas", split.covariance),
        ("noises", split.noise),
        ("powers", np.ravel([list(row) for row in split.signal])),
        ("omega", drawn.omega.ravel()),
        ("mu", drawn.mu.ravel()),
    ):
        values |= dict(zip(at[key], map(float, given_), strict=True))
    slope = -2 * 0.3 * si.gradient(split, *drawn).omega
    for head in range(2):
        first, second = general_starts.growth(at, head, 0)
        grow, brakes = float(first.subs(values)), np.array([float(q.subs(values)) for q in second])
        np.testing.assert_allclose(grow - brakes @ drawn.omega[:, :2], slope[head, :2], rtol=1e-10)


@given(positive, st.integers(2, 40), positive, st.floats(20, 500), st.floats(0.05, 1.0), st.floats(0.1, 0.9))
@settings(max_examples=30)
def test_closed_forms_are_those_of_the_package(
    a: float, size: int, noise: float, length: float, key_scale: float, share: float
) -> None:
    p = si.Problem.multitask(task_sizes=(size,), signal=a, noise=noise, context_length=length, covariance=0.6)
    known = map(sp.Float, (a, 1.0 + noise / a, size))
    power, phi, d = known
    rate = general_starts.equalising_rate(power, phi, d, sp.Float(key_scale), sp.Float(0.6))
    assert equalising_rate(p, key_scale)[0] == pytest.approx(float(rate.subs(L, length)), rel=1e-10)
    loss = general_starts.served_loss(power, phi, d, sp.Float(share)).subs(L, length)
    assert served_plateau(p, np.array([share]))[0] == pytest.approx(float(loss) + noise, rel=1e-10)


def test_every_step_is_proved() -> None:
    made = derived("general_starts")
    assert sum(step.proved for step in made.steps) > 25
    assert "\\begin{equation}" in made.to_latex()
