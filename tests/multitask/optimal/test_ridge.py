"""The Bayes risk against ridge regression simulated with the true penalty, and against itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from weights import slow

import spectral_icl as si
from spectral_icl.multitask.optimal import ridge as bayes


def simulated_ridge(p: si.Problem, task: int, prompts: int, seed: int) -> tuple[float, float]:
    """Mean and standard error of the squared error of ridge regression on sampled prompts, query noise off.

    Coefficients, covariates, labels and query are all drawn; nothing of the formula under test is used.
    """
    rng = np.random.default_rng(seed)
    sizes, length = np.array(p.block_sizes), int(p.context_length)
    kappa = np.repeat(p.covariance, sizes)
    prior = np.repeat(np.array(p.signal[task]) / (sizes * p.covariance), sizes)
    x = rng.normal(size=(prompts, length, kappa.size)) * np.sqrt(kappa)
    g = rng.normal(size=(prompts, kappa.size, 1)) * np.sqrt(prior)[:, None]
    y = x @ g + rng.normal(size=(prompts, length, 1)) * np.sqrt(p.noise[task])
    used = prior > 0.0
    x, g = x[:, :, used], g[:, used]
    penalty = np.diag(p.noise[task] / prior[used])
    fitted = np.linalg.solve(x.swapaxes(1, 2) @ x + penalty, x.swapaxes(1, 2) @ y)
    query = rng.normal(size=(prompts, 1, int(used.sum()))) * np.sqrt(kappa[used])
    errors = ((query @ (fitted - g)) ** 2).ravel()
    return float(errors.mean()), float(errors.std() / np.sqrt(prompts))


@pytest.mark.parametrize("ratio", [0.05, 0.5, 1.0, *map(slow, (0.2, 0.8, 1.25, 1.6, 2.0))])
@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_risk_is_that_of_simulated_ridge(ratio: float, noise: float) -> None:
    length = 20
    p = si.Problem(
        block_sizes=(round(ratio * length),),
        signal=((1.5,),),
        noise=noise,
        context_length=length,
        covariance=0.7,
    )
    mean, error = simulated_ridge(p, 0, prompts=20_000, seed=1)
    risk = si.optimal.bayes(p).loss - noise
    assert error < 0.03 * risk
    assert abs(risk - mean) < 3.5 * error


def trace_mean(prior: np.ndarray, noise: float, length: int, draws: int) -> tuple[float, float]:
    """The mean over Z of the posterior's trace, whose fluctuations are far below those of sampled errors."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=(draws, length, prior.size)) * np.sqrt(prior)
    posterior = np.linalg.inv(np.eye(prior.size) + z.swapaxes(1, 2) @ z / noise)
    traces = np.einsum("j,njj->n", prior, posterior)
    return float(traces.mean()), float(traces.std() / np.sqrt(draws))


@pytest.mark.parametrize(
    ("size", "length", "noise"), [(1, 1, 0.1), (3, 2, 1e-3), (5, 100, 0.9), (20, 20, 0.02), (30, 12, 0.4)]
)
def test_exact_mean_over_wishart_matrices(size: int, length: int, noise: float) -> None:
    mean, error = trace_mean(np.full(size, 2.0 / size), noise, length, 20_000)
    risk = bayes.exact(2.0, noise, size, length)
    assert error < 0.01 * risk
    assert abs(risk - mean) < 3.5 * error


def test_one_coordinate_in_closed_form() -> None:
    """d = L = 1: E 1 / (1 + z^2 / t) with z normal is an error function."""
    from scipy.special import erfcx

    t = 0.37
    expected = np.sqrt(np.pi * t / 2) * erfcx(np.sqrt(t / 2))
    assert bayes.exact(1.0, t, 1, 1) == pytest.approx(expected, rel=1e-12)


def test_two_pairs_on_one_coordinate_in_closed_form() -> None:
    """d = 1, L = 2: chi^2 is exponential, and the mean an exponential integral."""
    from scipy.special import exp1

    t = 0.8
    assert bayes.exact(1.0, t, 1, 2) == pytest.approx(t / 2 * np.exp(t / 2) * exp1(t / 2), rel=1e-12)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(1e-4, 10.0))
def test_equivalent_is_exact_to_its_stated_error(size: int, length: int, noise: float) -> None:
    risk = bayes.exact(1.0, noise, size, length)
    near, error = bayes.equivalent(np.array([1.0]), noise, np.array([float(size)]), length)
    assert abs(near - risk) <= error + 1e-11
    assert 0.0 < risk < 1.0


@pytest.mark.parametrize(("length", "noise"), [(20, 0.3), (8, 0.1), (60, 0.05)])
def test_unequal_blocks(length: int, noise: float) -> None:
    """Two blocks of unequal prior variance: the corrected equivalent, within its stated error."""
    p = si.Problem(block_sizes=(8, 12), signal=((8.0, 1.2),), noise=noise, context_length=length)
    found = si.optimal.bayes(p)
    prior = np.repeat([1.0, 0.1], (8, 12))
    mean, error = trace_mean(prior, noise, length, 20_000)
    assert 0.0 < found.error < 0.1 * found.loss
    assert abs(found.loss - noise - mean) < found.error + 3.5 * error
    plain = np.abs(prior.sum() - mean)
    assert found.error < 0.2 * plain


def test_large_and_small_limits() -> None:
    assert bayes.exact(2.0, 0.3, 4, 10**7) == pytest.approx(0.3 * 4 / 1e7, rel=1e-5)
    assert bayes.exact(2.0, 0.0, 10, 4) == pytest.approx(2.0 * (1 - 0.4))
    assert bayes.exact(2.0, 0.0, 4, 10) == 0.0
    zero = bayes.equivalent(np.array([1.0, 2.0]), 0.0, np.array([3.0, 4.0]), 20)
    assert zero == (0.0, 0.0)
    tiny = bayes.equivalent(np.array([1.0, 2.0]), 1e-9, np.array([3.0, 4.0]), 200)[0]
    assert tiny == pytest.approx(1e-9 * 7 / (200 - 7 - 1), rel=1e-3)


@pytest.mark.parametrize(("length", "size"), [(12, 5), (5, 5), (6, 5), (4, 9)])
def test_very_weak_noise_follows_its_asymptote(length: int, size: int) -> None:
    """Across the smallest penalty that is integrated, and ten decades below."""
    over, under = (bayes.exact(1.0, scale * bayes._FAINT / size, size, length) for scale in (1.0, 0.25))
    power = {12: 1.0, 5: 0.5, 6: 1.0, 4: 0.0}[length]
    assert under / over == pytest.approx(0.25**power, rel=0.1 if length == 6 else 1e-3)
    assert 0.0 < bayes.exact(1.0, 1e-300, size, length) <= under


def test_weak_noise_with_as_many_pairs_as_coordinates_is_sampled() -> None:
    """Where the equivalent's correction is no correction the mean is drawn, with an honest error bar."""
    power, sizes = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    wild = bayes.equivalent(power, 1e-3, sizes, 4)[1]
    risk, error = bayes.approximate(power, 1e-3, sizes, 4)
    assert error < 0.05 * wild
    mean, bar = trace_mean(np.repeat([0.5, 1.5], 2), 1e-3, 4, 100_000)
    assert abs(risk - mean) < error + 3.0 * bar


def test_both_ways_meet_in_large_dimensions() -> None:
    for size, length in ((400, 400), (400, 1200), (900, 400)):
        near = bayes.equivalent(np.array([1.0]), 0.1, np.array([float(size)]), length)[0]
        assert near == pytest.approx(bayes.exact(1.0, 0.1, size, length), rel=1e-5)


def test_it_is_below_every_other_benchmark() -> None:
    p = si.Problem.multitask(task_sizes=(5, 20), signal=(1.0, 3.0), noise=(0.1, 0.5), context_length=30)
    best = si.optimal.bayes(p)
    for other in (si.optimal.gradient_step(p), si.optimal.lower_bound(p), si.optimal.head_per_task(p)):
        assert (best.task_loss < other.task_loss).all()
    assert best.error == 0.0


def test_part_of_a_pair_is_refused() -> None:
    p = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.1, context_length=10.5)
    with pytest.raises(si.ProblemError, match="context_length: expected a whole number of pairs"):
        si.optimal.bayes(p)


@pytest.mark.parametrize(
    ("noise", "size", "length", "risk"),
    [
        (1e-3, 20, 10**12, 2e-14),  # sigma^2 d / L, which a sum of larger terms would lose
        (1e-14, 49, 1, 1.0 - 1.0 / 49),  # below the smallest penalty that is integrated
        (0.1, 3 * 10**8, 1, 1.0),
        (1e12, 10**9, 1, 1.0),
        (1e-30, 10**9, 1, 1.0),
    ],
)
def test_extremes_have_their_limit(noise: float, size: int, length: int, risk: float) -> None:
    assert bayes.exact(1.0, noise, size, length) == pytest.approx(risk, rel=1e-8)


def test_one_coordinate_is_an_integral() -> None:
    """E 1 / (1 + x / sigma^2) for x a chi-square variable of 3 degrees, by quadrature over its root."""
    mean, _ = integrate.quad(lambda r: r**2 * np.exp(-(r**2) / 2) / (1.0 + r**2 / 0.01), 0.0, 40.0)
    assert bayes.exact(1.0, 0.01, 1, 3) == pytest.approx(np.sqrt(2.0 / np.pi) * mean, rel=1e-9)


def test_large_blocks_are_sampled_in_what_few_pairs_see() -> None:
    """As by all of their coordinates; and a block of any size costs no more."""
    power, sizes, length = np.array([1.0, 3.0]), np.array([2.0, 40.0]), 3
    seen, error = bayes._sampled(power, 1e-3, sizes, length)
    whole, bar = trace_mean(np.repeat(power / sizes, [2, 40]), 1e-3, length, 20_000)
    assert abs(seen - whole) < error + 3.0 * bar
    huge, error = bayes.approximate(np.array([1.0, 0.01]), 1e-3, np.array([1.0, 3e8]), 1)
    noise = 0.011 * np.sqrt(2.0 / np.pi)  # the large block is as good as noise beside the small one
    mean, _ = integrate.quad(lambda r: noise * np.exp(-(r**2) / 2) / (0.011 + r**2), 0.0, 40.0)
    assert huge == pytest.approx(0.01 + mean, abs=error)
