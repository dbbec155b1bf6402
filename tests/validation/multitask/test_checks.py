"""What the checks measure, on numbers that are known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.state import State

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from full_attention import CPU, PROBLEM  # noqa: E402

from validation.context import Context  # noqa: E402
from validation.multitask import edge, escape, full_model, gap, recorded, spectrum  # noqa: E402
from validation.multitask.prompts import Law  # noqa: E402
from validation.multitask.theory import Theory  # noqa: E402
from validation.statistics import Estimate  # noqa: E402


def test_the_recorded_run_is_the_recorded_case() -> None:
    trace = recorded.authors()
    np.testing.assert_allclose(trace.omega[0], recorded.START.omega, rtol=1e-3)
    np.testing.assert_allclose(trace.mu[0], recorded.START.mu, rtol=2e-2)
    assert trace.loss[0] == pytest.approx(PROBLEM.tasks * 10.09, rel=0.05)
    # four times the scatter that batches make of a run, 0.31: see test_descent
    flow = Theory().flow(recorded.PROBLEM, recorded.START, recorded.END)
    emerged = recorded.emergence(escape._trace(flow))
    assert np.abs(recorded.emergence(trace) - emerged).max() < 4.0 * 0.31


@pytest.mark.parametrize("task", [0, 1])
def test_an_imbalance_is_fitted_from_the_path_it_makes(task: int) -> None:
    imbalance = np.array([3e-7, 2e-6])
    trace = escape._trace(escape._flow(imbalance))
    moment, reached = escape._crossing(trace, task)
    assert reached < -2e-3
    assert escape._fitted(moment, reached, task) == pytest.approx(imbalance[task], rel=0.02)
    assert 20.0 < escape._waits(trace)[task] < 30.0


def test_an_imbalance_that_shows_nowhere_is_not_fitted() -> None:
    trace = escape._trace(Theory().flow(recorded.PROBLEM, recorded.START, recorded.END))
    assert np.isnan(escape._crossing(trace, 0)).all()
    assert np.isnan(escape._fitted(np.nan, np.nan, 0))
    assert np.isnan(escape._waits(trace)).all()


def test_a_flow_takes_as_long_as_itself() -> None:
    """From its own state a little after the change of sign, up to the finite step of descent."""
    imbalance = np.array([3e-7, 2e-6])
    trace = escape._trace(escape._flow(imbalance))
    found = escape._stretch(Context(), Theory(), trace, 1)
    assert found is not None
    np.testing.assert_allclose(found.run, found.exact, rtol=2e-3)
    # the asymptotic flow agrees up to the escape, and is slower along the valley
    assert found.asymptotic[0] == pytest.approx(found.exact[0], rel=2e-2)
    assert found.asymptotic[1] > 1.04 * found.exact[1]


def test_the_exact_law_at_the_authors_plateau() -> None:
    """Monte Carlo of softmax attention there is 2.366 +- 0.007; the asymptotic law says 2.153."""
    at = State(0.318 * np.eye(2), 2.455 * np.eye(2))
    exact, asymptotic = (
        si.task_loss(recorded.PROBLEM, *at, kernel=kernel) - recorded.PROBLEM.noise
        for kernel in ("exact", "asymptotic")
    )
    np.testing.assert_allclose(exact, 2.3701, atol=1e-4)
    np.testing.assert_allclose(asymptotic, 2.1527, atol=1e-4)


@cache
def paths_of(batch: int, seed: int) -> escape.Escaping:
    """What 30 paths of SGD in the reduced variables have made."""
    grid = np.linspace(0.0, recorded.END, 201)
    start = {"omega0": recorded.START.omega, "mu0": recorded.START.mu}
    made = si.stochastic_flow(
        recorded.PROBLEM, **start, step=0.01, batch=batch, t_end=60.0, t_eval=grid, paths=30, seed=seed
    )
    return escape.Escaping.of(made.t, zip(made.omega, made.mu, made.imbalance, strict=True))


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_paths_in_the_place_of_runs_agree_with_paths(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With four times the imbalance, or twice the root, they do not."""

    def measured(_: Context, batch: int) -> escape.Escaping:
        found = paths_of(batch, 1)
        return found._replace(root=np.sqrt(factor) * found.root)

    monkeypatch.setattr(escape, "_told", lambda _, batch: paths_of(batch, 0))
    monkeypatch.setattr(escape, "_measured", measured)
    rows = escape._by_noise(Context(), Theory())
    assert len(rows) == 4
    for root, wait in zip(rows[::2], rows[1::2], strict=True):
        assert wait.p is not None
        assert wait.p > 1e-3
        assert root.p is not None
        assert (root.p > 1e-3) == (factor == 1.0)


def test_exponents_are_found_with_their_errors() -> None:
    settings = [(0.01, 1000), (0.01, 4000), (0.0025, 1000), (0.0025, 4000)]
    mean = [3.0 * rate**1.3 / batch for rate, batch in settings]
    excess = [Estimate(one, 0.01 * one, 9) for one in mean]
    by_batch, by_step = gap._exponents(settings, excess)
    assert by_batch.value == pytest.approx(1.0)
    assert by_step.value == pytest.approx(1.3)
    # two differences of logarithms, each with two errors of 1 %, averaged
    assert by_batch.error == pytest.approx(0.01 / np.log(4.0))
    assert by_step.error == pytest.approx(0.01 / np.log(4.0))
    assert by_batch.freedom == pytest.approx(4 * 9)
    (alone,) = gap._exponents(settings[:2], excess[:2])
    assert alone.value == pytest.approx(1.0)


def test_sharpness_is_the_largest_eigenvalue() -> None:
    """Of a Hessian that is small enough to be written down."""
    problem = si.Problem.multitask(task_sizes=(2,), signal=1.0, noise=0.1, context_length=10)
    law = Law.of(problem, CPU, torch.float64)
    at = State(np.array([[0.4]]), np.array([[1.1]]))
    model = full_model.MergedAttention.diagonal(problem, at, law)
    objective = edge.Objective(Context(), problem, model, 50, "a label")

    def loss(flat: torch.Tensor) -> torch.Tensor:
        kq, ov = flat[:4].reshape(1, 2, 2), flat[4:].reshape(1, 1, 1)
        return full_model.expected_task_loss(kq, ov, *objective.inputs, law).sum(dim=1).mean()

    flat = torch.nn.utils.parameters_to_vector(objective.weights).detach()
    values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(loss, flat))
    value, direction = objective.sharpness()
    assert value == pytest.approx(float(values[-1]), rel=1e-4)
    found = torch.cat([part.flatten() for part in direction])
    assert abs(float(found @ vectors[:, -1])) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["merged", "factored"])
def test_exact_sharpness_is_that_of_the_exact_loss(kind: str) -> None:
    """Against differences of the loss along the direction that is told, in the entries of the weights."""
    problem = si.Problem.multitask(task_sizes=(3,), signal=1.0, noise=0.1, context_length=50)
    at = Theory().optimum(problem)
    slope = si.gradient(problem, *at, kernel="exact")
    # by quadrature, where the optimum is that of a table, whose gradient is off by 2e-5 for a head so large
    assert max(np.abs(slope.omega).max(), np.abs(slope.mu).max()) < 5e-5
    law = Law.of(problem, CPU, torch.float64)
    factors = kind == "factored"
    build = (full_model.FactoredAttention.balanced, full_model.MergedAttention.diagonal)[not factors]
    told, vector = edge._sharpest(problem, at, factors, Theory())
    direction = edge._direction(problem, vector, at, law, factors)
    # of the factors both of a product have the direction of the product
    unit = float(edge._dot(direction, direction)) ** -0.5

    def loss(amount: float) -> float:
        model = build(problem, at, law)
        weights = list(model.parameters())
        with torch.no_grad():
            for weight, part in zip(weights, direction, strict=True):
                weight.add_(part, alpha=amount * unit)
        here = spectrum.spectral(problem, model.kq(), model.ov())
        value = si.loss(problem, *here, kernel="exact")
        assert isinstance(value, float)
        return value

    h = 0.01
    assert (loss(h) - 2.0 * loss(0.0) + loss(-h)) / h**2 == pytest.approx(told, rel=2e-3)
