"""The maps of validity: numbers that were measured before, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from exact_law import task_losses

import spectral_icl as si
from spectral_icl.multitask.validity import LAWS, validity_map

# exact over asymptotic loss, less 1, in percent: found with another implementation
ONE_HEAD = {(10, 5): 7.7, (10, 20): 1.7, (40, 5): 9.7, (40, 20): 1.5, (100, 10): 6.5, (1000, 5): 6.2}
ONE_HEAD |= {(300, 50): 1.4, (10000, 2): 1.8, (10000, 100): 0.4}
TWO_HEADS = {(10, 2): 28.5, (10, 20): 3.9, (40, 5): 9.9, (40, 100): 0.8, (100, 2): 8.1, (300, 10): 2.4}
TWO_HEADS |= {(1000, 5): 0.9, (10000, 5): 0.1}


@pytest.mark.parametrize(("heads", "size", "expected"), [(1, 1.0, ONE_HEAD), (2, 0.05, TWO_HEADS)])
def test_reference_numbers(heads: int, size: float, expected: dict[tuple[int, int], float]) -> None:
    for (length, dimension), percent in expected.items():
        found = validity_map([length], [dimension], [size], heads)
        above = 100.0 * (found.over("asymptotic", totals=True).item() - 1.0)
        assert above == pytest.approx(percent, abs=0.0501), (length, dimension)


@pytest.mark.parametrize("heads", [1, 2])
def test_every_number_is_the_loss_of_its_weights(heads: int) -> None:
    """By a quadrature of its own, and at weights that no other OV value betters."""
    found = validity_map([20, 300], [4, 30], [0.3, 1.5], heads, signal=1.5, noise=0.2)
    for n, length in enumerate(found.lengths):
        for j, d in enumerate(found.dimensions.tolist()):
            p = si.Problem(block_sizes=(d,), signal=((1.5,),), noise=0.2, context_length=length)
            for k in range(2):
                signs = np.array([[1.0], [-1.0]])[:heads]
                omega, mu = signs * found.omega[j, k], signs * found.mu[n, j, k]
                assert d * omega[0, 0] ** 2 == pytest.approx(found.sizes[k])
                for law in LAWS:
                    assert found.excess(law)[n, j, k] == pytest.approx(si.loss(p, omega, mu, law) - 0.2)
                exact = task_losses(p, omega, mu, nodes=12, fine=0.6)[0] - 0.2
                assert found.exact[n, j, k] == pytest.approx(exact, rel=1e-5)
                best = si.loss(p, omega, mu)
                assert min(si.loss(p, omega, times * mu) for times in (0.999, 1.001)) > best


def test_both_laws_come_true() -> None:
    """With length alone for the first-order law, with length and dimension for the asymptotic one."""
    found = validity_map([1e3, 1e4, 1e5], [5, 50], [0.5])
    assert (np.diff(found.error("first-order"), axis=0) < 0.0).all()
    assert found.error("first-order")[-1].max() < 1e-3
    asymptotic = found.error("asymptotic")[-1, :, 0]
    assert asymptotic[0] > 0.05 > asymptotic[1]


def test_a_law_that_does_not_exist_has_no_ratio() -> None:
    found = validity_map([100.0], [2, 4], [1.5])  # 2 omega^2 = 1.5 and 0.75
    assert np.isnan(found.over("first-order")[0, 0, 0])
    assert found.error("first-order")[0, 0, 0] == np.inf
    assert np.isfinite(found.over("first-order")[0, 1, 0])
    assert np.isfinite(found.over("asymptotic")).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (([0.5], [5], [1.0]), "lengths[0]"),
        (([10.0], [2.5], [1.0]), "dimensions[0]"),
        (([10.0], [5], [0.0]), "sizes[0]"),
        (([10.0], [5], [40.0]), "sizes[0]"),
        (([10.0], [5], [1.0], 3), "heads"),
        (([10.0], [5], [1.0], 1, 0.0), "signal"),
        (([10.0], [5], [1.0], 1, 1.0, -1.0), "noise"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[object, ...], named: str) -> None:
    with pytest.raises(si.ProblemError) as error:
        validity_map(*arguments)  # type: ignore[arg-type]
    assert error.value.argument == named
