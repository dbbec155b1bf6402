"""The times at which flows are drawn are those at which they are known."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.figures import timeline

TWO = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)


@pytest.fixture(scope="module", params=[True, False], ids=["kept whole", "in outline"])
def flow(request: pytest.FixtureRequest) -> si.Solution:
    start = si.initial.paper(TWO, 2, 0.1, 0.1, 0.2)
    return si.gradient_flow(TWO, *start, t_end=200.0, dense_output=request.param)


def test_states_are_known_then(flow: si.Solution) -> None:
    times = timeline.times_of(flow)
    assert np.isfinite(flow(times).mu).all()
    assert times[-1] == 200.0
    assert times[0] >= timeline.spaced(flow)[1]


@pytest.mark.parametrize("most", [None, 50])
def test_losses_are_those_of_the_flow(flow: si.Solution, most: int | None) -> None:
    times, losses = timeline.task_losses(flow, most)
    assert most is None or times.size <= most + 1
    assert (np.diff(times) > 0.0).all()
    np.testing.assert_allclose(losses[-1], flow.final_task_loss, rtol=1e-9)
    whole = si.gradient_flow(TWO, *flow(0.0), t_end=200.0)
    np.testing.assert_allclose(losses, si.task_loss(TWO, *whole(times)), rtol=1e-6)
