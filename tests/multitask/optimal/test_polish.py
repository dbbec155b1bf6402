"""Newton's steps by quadrature."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.exact.evaluate import evaluate
from spectral_icl.multitask.optimal.polish import polished, work

PROBLEM = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.1, context_length=40)


def test_weights_nearby_end_in_the_minimum() -> None:
    """Of a pair, from a few per cent away along its flat valley."""
    near = si.State(np.array([[0.075], [-0.068]]), np.array([[6.0], [-6.4]]))
    at = polished(PROBLEM, near, 8, 10.0)
    np.testing.assert_allclose(at.omega, [[0.071245], [-0.071245]], atol=2e-6)
    assert evaluate(PROBLEM, at).loss == pytest.approx(0.2428240983, abs=1.5e-10)


def test_every_step_is_downhill_and_affordable() -> None:
    """From where the loss is not convex; steps to logits that take too long are not made."""
    far = si.State(np.array([[0.05]]), np.array([[0.1]]))
    assert np.linalg.eigvalsh(evaluate(PROBLEM, far, 2).hessian)[0] < 0.0
    losses = [evaluate(PROBLEM, polished(PROBLEM, far, steps, 10.0)).loss for steps in (0, 1, 2)]
    assert losses[0] > losses[1] > losses[2]
    cheap = work(PROBLEM, far.omega)
    held = polished(PROBLEM, far, 4, cheap)
    assert work(PROBLEM, held.omega) <= cheap


def test_work_grows_with_heads_and_logits() -> None:
    one, two = np.array([[0.3]]), np.array([[0.3], [0.3]])
    assert work(PROBLEM, two) == pytest.approx(3.0 * work(PROBLEM, one))
    assert work(PROBLEM, 2.0 * one) > work(PROBLEM, one)
