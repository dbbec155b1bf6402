"""What the checks measure, on numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.state import State

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from full_attention import CPU, PROBLEM  # noqa: E402

from validation.context import Context  # noqa: E402
from validation.multitask import edge, escape, full_model, gap, recorded  # noqa: E402
from validation.multitask.prompts import Law  # noqa: E402


def test_the_recorded_run_is_the_recorded_case() -> None:
    trace = recorded.authors()
    np.testing.assert_allclose(trace.omega[0], recorded.START.omega, rtol=1e-3)
    np.testing.assert_allclose(trace.mu[0], recorded.START.mu, rtol=2e-2)
    assert trace.loss[0] == pytest.approx(PROBLEM.tasks * 10.09, rel=0.05)
    emerged = [task.time for task in recorded.flow().phases.tasks]
    np.testing.assert_allclose(recorded.emergence(trace), emerged, rtol=0.05)


@pytest.mark.parametrize("task", [0, 1])
def test_an_imbalance_is_fitted_from_the_path_it_makes(task: int) -> None:
    imbalance = np.array([3e-7, 2e-6])
    flow = escape._flow(imbalance)
    trace = recorded.Trace(flow.t, flow.omega, flow.mu, flow.t, flow.loss)
    moment, reached = escape._crossing(trace, task)
    assert reached < -2e-3
    assert escape._fitted(moment, reached, task) == pytest.approx(imbalance[task], rel=0.02)
    left = escape._escapes(flow.t, flow.mu)
    assert left[task] == pytest.approx(flow.phases.escapes[task].time, abs=0.05)


def test_an_imbalance_that_shows_nowhere_is_not_fitted() -> None:
    flow = recorded.flow()
    trace = recorded.Trace(flow.t, flow.omega, flow.mu, flow.t, flow.loss)
    assert np.isnan(escape._crossing(trace, 0)).all()
    assert np.isnan(escape._fitted(np.nan, np.nan, 0))
    assert np.isnan(escape._escapes(flow.t, flow.mu)).all()


def test_exponents_are_found_with_their_errors() -> None:
    settings = np.array([(0.01, 1000), (0.01, 4000), (0.0025, 1000), (0.0025, 4000)])
    mean = 3.0 * settings[:, 0] ** 1.3 / settings[:, 1]
    excess = np.column_stack([mean, 0.01 * mean])
    (batch, batch_error), (step, step_error) = gap._exponents(settings, excess)
    assert batch == pytest.approx(1.0)
    assert step == pytest.approx(1.3)
    # two differences of logarithms, each with two errors of 1 %, averaged
    assert batch_error == pytest.approx(step_error) == pytest.approx(0.01 / np.log(4.0))
    ((alone, _),) = gap._exponents(settings[:2], excess[:2])
    assert alone == pytest.approx(1.0)


def test_sharpness_is_the_largest_eigenvalue() -> None:
    """Of a Hessian that is small enough to be written down."""
    problem = si.Problem.multitask(task_sizes=(2,), signal=1.0, noise=0.1, context_length=10)
    law = Law.of(problem, CPU, torch.float64)
    at = State(np.array([[0.4]]), np.array([[1.1]]))
    model = full_model.MergedAttention.diagonal(problem, at, law)
    objective = edge.Objective(Context(), problem, model, 50)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        kq, ov = flat[:4].reshape(1, 2, 2), flat[4:].reshape(1, 1, 1)
        return full_model.expected_task_loss(kq, ov, *objective.inputs, law).sum(dim=1).mean()

    flat = torch.nn.utils.parameters_to_vector(objective.weights).detach()
    values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(loss, flat))
    value, direction = objective.sharpness()
    assert value == pytest.approx(float(values[-1]), rel=1e-4)
    found = torch.cat([part.flatten() for part in direction])
    assert abs(float(found @ vectors[:, -1])) == pytest.approx(1.0, abs=1e-3)


def test_reduced_sharpness_by_factors_is_that_of_the_factors() -> None:
    """The chain rule through omega = c k q and mu = o v, against differences of the loss."""
    problem = si.Problem.multitask(task_sizes=(3,), signal=1.0, noise=0.1, context_length=50)
    at = si.optimal.single_head(problem).weights
    assert at is not None
    scale = (3 + 1) ** -0.5
    k, v = np.sqrt(at.omega[0, 0] / scale), np.sqrt(at.mu[0, 0])
    fine = si.Problem(block_sizes=(1, 1, 1), signal=((1 / 3,) * 3,), noise=0.1, context_length=50)

    def loss(w: np.ndarray) -> float:
        key, query, value, output = w[:3], w[3:6], w[6], w[7]
        told = si.loss(fine, (scale * key * query)[None, :], np.array([[value * output]]))
        assert isinstance(told, float)
        return told

    start, h = np.array([k] * 6 + [v] * 2), 1e-4
    unit = h * np.eye(8)
    hessian = np.array([
        [
            loss(start + a + b) - loss(start + a - b) - loss(start - a + b) + loss(start - a - b)
            for b in unit
        ]
        for a in unit
    ]) / (4.0 * h * h)  # fmt: skip
    _, told = edge._reduced_sharpness(problem, at)
    assert told == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-5)
