"""What the checks expect, and how it is spoilt."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.state import State

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from full_attention import CPU  # noqa: E402

from validation.context import FAULTS, Context  # noqa: E402
from validation.multitask import full_model  # noqa: E402
from validation.multitask.prompts import Law  # noqa: E402
from validation.multitask.theory import Theory  # noqa: E402

PROBLEM = si.Problem.multitask(task_sizes=(4,), signal=1.0, noise=0.1, context_length=30)
AT = State(np.array([[0.2], [-0.1]]), np.array([[1.2], [-0.4]]))
FLIPPED = State(AT.omega, -1.0 * AT.mu * [[1.0], [-1.0]])
SCALE = 5.0**-0.5


def test_right_theory_is_the_exact_law() -> None:
    theory = Theory.of(Context())
    assert theory.loss(PROBLEM, AT) == si.loss(PROBLEM, *AT, kernel="exact")
    for one, other in zip(
        theory.gradient(PROBLEM, AT), si.gradient(PROBLEM, *AT, kernel="exact"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert theory.key_scale(PROBLEM) == SCALE
    assert theory.state(AT) is AT
    assert theory.problem(PROBLEM) is PROBLEM


def test_every_fault_is_the_one_that_it_says() -> None:
    spoilt = {fault: Theory.of(Context(fault=fault)) for fault in FAULTS}
    assert spoilt["asymptotic"].loss(PROBLEM, AT) == si.loss(PROBLEM, *AT)
    assert spoilt["sign"].loss(PROBLEM, AT) == si.loss(PROBLEM, *FLIPPED, kernel="exact")
    assert spoilt["key-scale"].loss(PROBLEM, AT) == si.loss(PROBLEM, *AT, kernel="exact")
    assert spoilt["key-scale"].key_scale(PROBLEM) == pytest.approx(1.05 * SCALE)
    # without the term in 1 / L nothing of the label noise is left but that of the query
    endless = 0.1 + float((1.0 - AT.mu.T @ AT.omega).item()) ** 2
    assert spoilt["no-length-term"].loss(PROBLEM, AT) == pytest.approx(endless, rel=1e-6)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_in_all_that_is_expected(fault: str) -> None:
    """Losses know nothing of the key scale, and the law of whole matrices is asymptotic anyway."""
    right, spoilt = Theory(), Theory(fault)
    start = State(np.array([[0.2], [0.1]]), np.array([[0.5], [0.4]]))
    law = Law.of(PROBLEM, CPU, torch.float64)
    model = full_model.FactoredAttention.balanced(PROBLEM, start, law)
    kq, ov = model.kq().detach(), model.ov().detach()
    pairs = {
        "loss": [theory.loss(PROBLEM, AT) for theory in (right, spoilt)],
        "gradient": [theory.gradient(PROBLEM, AT).mu for theory in (right, spoilt)],
        "hessian": [theory.hessian(PROBLEM, AT) for theory in (right, spoilt)],
        "flow": [theory.flow(PROBLEM, start, 2.0).final.mu for theory in (right, spoilt)],
        "matrices": [
            theory.whole_gradient(kq, ov, PROBLEM, law)[0].numpy() for theory in (right, spoilt)
        ],
        "whole flow": [
            theory.whole_flow(model, PROBLEM, np.array([0.0, 1.0]))[1] for theory in (right, spoilt)
        ],
    }  # fmt: skip
    without = {
        "key-scale": {"loss", "gradient", "hessian", "matrices"},
        "asymptotic": {"matrices", "whole flow"},
    }
    same = {name for name, (one, other) in pairs.items() if np.allclose(one, other, rtol=1e-4, atol=1e-12)}
    assert same == without.get(fault, set())
    assert model.key_scale == SCALE  # what is measured is left alone
    torch.testing.assert_close(model.ov().detach(), ov)


def test_other_faults_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fault = 'typo': expected None or one of no-length-term, "):
        Theory("typo")


def test_a_balanced_flow_with_another_key_scale() -> None:
    start = State(np.array([[0.2]]), np.array([[0.5]]))
    weights = si.Balanced(key_scale=1.05 * SCALE)
    told = si.gradient_flow(PROBLEM, *start, parametrization=weights, t_end=1.0, kernel="exact").final
    np.testing.assert_array_equal(Theory("key-scale").flow(PROBLEM, start, 1.0).final.omega, told.omega)


def test_the_optimum_is_one() -> None:
    for theory in (Theory(), Theory("asymptotic")):
        at = theory.optimum(PROBLEM)
        slope = theory.gradient(PROBLEM, at)
        assert max(np.abs(slope.omega).max(), np.abs(slope.mu).max()) < 5e-5
