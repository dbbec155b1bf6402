"""Named starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.experiment import Experiment

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("length", [10.0, 100.0, 12345.0])
def test_the_authors_start_depends_on_the_length(length: float) -> None:
    """qk = ov_low = L^(-3/4), ov_high = 2 L^(-3/4); what is given replaces each of them."""
    p = si.Problem.multitask(task_sizes=(4, 5), signal=1.0, noise=0.1, context_length=length)
    omega, mu = si.initial.paper(p, heads=3, key_scale=0.5)
    np.testing.assert_allclose(omega, 0.5 * length**-1.5, rtol=1e-14)
    np.testing.assert_allclose(mu[:2], length**-1.5 * np.array([[4.0, 1.0], [1.0, 4.0]]), rtol=1e-14)
    np.testing.assert_allclose(mu[2], length**-1.5, rtol=1e-14)
    given = si.initial.paper(p, heads=3, qk=0.1, ov_high=0.2, key_scale=0.5)
    np.testing.assert_allclose(given.omega, 0.005)
    assert given.mu[0, 0] == pytest.approx(0.04)
    assert given.mu[0, 1] == pytest.approx(length**-1.5)


def test_a_file_that_names_no_values_means_the_authors_start() -> None:
    file = Experiment.read(EXAMPLES / "authors.toml")
    assert file.problem.dimension == 50
    assert (file.problem.tasks, len(file.start.omega), file.problem.context_length) == (3, 3, 100.0)
    assert not any(file.problem.noise)
    np.testing.assert_array_equal(file.start.mu, si.initial.paper(file.problem, 3).mu)
    assert file.initial.to_dict() == {"kind": "paper"}


def test_the_built_in_example_keeps_its_numbers() -> None:
    built_in = Experiment.read(None)
    np.testing.assert_array_equal(built_in.start.mu, si.initial.paper(built_in.problem, 2, 0.1, 0.1, 0.2).mu)
    assert built_in.start.mu[0, 0] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        (lambda p: si.initial.paper(p, 2, qk=1e7, key_scale=1.0), r"^qk: expected .* <= 1e\+06, got"),
        (lambda p: si.initial.paper(p, 2, ov_low=-1e7), r"^ov_low: expected a number >= -1e\+06"),
        (lambda p: si.initial.random(p, 2, scale=1e12), r"^scale: expected a number > 0 and <= 1e\+11"),
        (lambda p: si.initial.dominant(p, 2, scale=1e12), r"^scale: expected a number > 0 and <= 1e\+11"),
        (lambda p: si.initial.dominant(p, 2, scale=1e6, margin=1e9), "^margin: expected a number > 0 and <="),
    ],
)
def test_a_start_past_what_a_state_may_hold_is_laid_to_what_was_given(
    two_tasks: si.Problem, start: Callable[[si.Problem], si.State], complaint: str
) -> None:
    with pytest.raises(si.ProblemError, match=complaint):
        start(two_tasks)


def test_the_largest_starts_are_states(two_tasks: si.Problem) -> None:
    for at in (
        si.initial.paper(two_tasks, 2, 1e6, 1e6, 1e6, key_scale=1.0),
        si.initial.paper(two_tasks, 2, 1e12, 1.0, 1.0, key_scale=5e-324),
        si.initial.random(two_tasks, 2, scale=1e11),
        si.initial.dominant(two_tasks, 2, scale=5e-324, margin=1e12),
        si.initial.dominant(two_tasks, 2, scale=1e11, margin=9.0),
    ):
        assert np.isfinite(si.gradient_flow_ensemble(two_tasks, *at, max_steps=1).omega).all()
