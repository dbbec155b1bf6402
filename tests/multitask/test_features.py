"""A problem split into single features: its loss and flow, and states there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.experiment import BUILT_IN, Experiment
from spectral_icl.multitask.features import averaged, reciprocal_spread, spread, unevenness

OVERLAPPING = si.Problem(
    block_sizes=(3, 1, 4),
    signal=((2.0, 0.0, 1.0), (0.0, 0.5, 3.0)),
    noise=(0.1, 0.3),
    context_length=70.0,
    covariance=(0.5, 1.0, 1.5),
)


def test_every_feature_has_its_share_of_the_power_and_its_eigenvalue() -> None:
    split = OVERLAPPING.by_feature()
    assert split.block_sizes == (1,) * 8
    np.testing.assert_allclose(split.signal[0], [2 / 3] * 3 + [0.0] + [0.25] * 4)
    np.testing.assert_allclose(split.signal[1], [0.0] * 3 + [0.5] + [0.75] * 4)
    assert split.covariance == (0.5,) * 3 + (1.0,) + (1.5,) * 4
    np.testing.assert_allclose(split.variance, OVERLAPPING.variance)
    assert split.by_feature() == split


@pytest.mark.parametrize("kernel", ["asymptotic", "first-order"])
def test_equal_entries_have_the_loss_and_the_flow_of_the_blocks(kernel: str) -> None:
    split = OVERLAPPING.by_feature()
    start = si.initial.random(OVERLAPPING, heads=3, scale=0.05, seed=4)
    wide = spread(OVERLAPPING, start)
    np.testing.assert_allclose(
        si.task_loss(split, *wide, kernel=kernel),
        si.task_loss(OVERLAPPING, *start, kernel=kernel),
        rtol=1e-13,
    )
    weights = si.Factored(1e-3, 1e-3, key_scale=0.4)  # of which the default depends on d and I alone, too
    times = [0.0, 5.0, 20.0, 60.0]
    options: dict[str, Any] = {"t_end": 60.0, "t_eval": times, "parametrization": weights, "kernel": kernel}
    blocks = si.gradient_flow(OVERLAPPING, *start, **options)
    features = si.gradient_flow(split, *wide, **options)
    assert blocks.loss[-1] < 0.8 * blocks.loss[0], "the flow goes somewhere"
    np.testing.assert_allclose(features.task_loss, blocks.task_loss, rtol=1e-6)
    back = averaged(OVERLAPPING, si.State(features.omega, features.mu))
    np.testing.assert_allclose(back.omega, blocks.omega, atol=1e-6)
    assert unevenness(OVERLAPPING, features.omega).max() < 1e-6


def test_unequal_entries_have_another_loss() -> None:
    split = OVERLAPPING.by_feature()
    at = si.initial.random(split, heads=2, scale=0.3, seed=1)
    mean = averaged(OVERLAPPING, at)
    assert abs(si.loss(split, *at) - si.loss(OVERLAPPING, *mean)) > 1e-3


def test_there_and_back_is_where_it_began() -> None:
    at = si.initial.random(OVERLAPPING, heads=2, scale=1.0, seed=0)
    back = averaged(OVERLAPPING, spread(OVERLAPPING, at))
    np.testing.assert_allclose(back.omega, at.omega, rtol=1e-15)
    np.testing.assert_array_equal(back.mu, at.mu)


def test_unevenness_by_its_definition() -> None:
    omega = si.initial.random(OVERLAPPING.by_feature(), heads=2, scale=1.0, seed=3).omega
    uneven, apart = unevenness(OVERLAPPING, omega), reciprocal_spread(OVERLAPPING, omega)
    for b, block in enumerate((slice(0, 3), slice(3, 4), slice(4, 8))):
        part = omega[:, block]
        np.testing.assert_allclose(uneven[:, b], part.std(axis=1) / abs(part.mean(axis=1)), atol=1e-15)
        np.testing.assert_allclose(apart[:, b], (1 / part).std(axis=1), atol=1e-15)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: spread(OVERLAPPING, si.State(np.ones((2, 8)), np.ones((2, 2)))), r"^omega: .*\(\.\.\., 3\)"),
        (lambda: averaged(OVERLAPPING, si.State(np.ones((2, 3)), np.ones((2, 2)))), r"^omega: .*, 8\)"),
        (
            lambda: si.Problem(
                block_sizes=(10**7,), signal=((1.0,),), noise=0.1, context_length=9.0
            ).by_feature(),
            "^block_sizes: expected at most 4194304 features",
        ),
        (
            lambda: si.Problem(
                block_sizes=(100,), signal=((1e-29,),), noise=0.1, context_length=9.0
            ).by_feature(),
            "^signal: expected A_ib / d_b >= 1e-30",
        ),
        (
            lambda: si.Problem.from_dict({**BUILT_IN["problem"], "foo": 1}),
            r"^foo: expected one of the keys .*'by_feature'",
        ),
        (
            lambda: si.Problem.from_dict({**BUILT_IN["problem"], "by_feature": 1}),
            "^by_feature: expected True or False, got 1",
        ),
    ],
)
def test_what_is_refused_is_named(call: Any, complaint: str) -> None:
    with pytest.raises(si.ProblemError, match=complaint):
        call()


def test_a_file_may_ask_for_single_features() -> None:
    table = BUILT_IN["problem"] | {"by_feature": True}
    start = {"kind": "scattered", "scatter": 0.3, "seed": 2}
    made = Experiment.from_dict({"problem": table, "initial": start, "model": {"heads": 2}})
    assert made.problem == Experiment.read(None).problem.by_feature()
    assert made.start.omega.shape == (2, 20)
    assert Experiment.from_dict({"problem": {**table, "by_feature": False}}).problem.blocks == 2
    drawn = np.log(made.start.omega / 0.01)
    assert drawn.std() == pytest.approx(0.3, rel=0.35)  # 40 factors: three errors
    np.testing.assert_array_equal(made.start.mu, si.initial.dominant(made.problem, 2).mu)
