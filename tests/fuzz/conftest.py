"""What cases need is compiled before them: it is not their time, which is limited."""

import numpy as np
import pytest

import spectral_icl as si


@pytest.fixture(scope="session", autouse=True)
def _compiled_for_every_law() -> None:
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    start = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    for kernel in ("asymptotic", "first-order"):
        si.gradient_flow(p, *start, t_end=1.0, kernel=kernel).phases  # noqa: B018
        many = (np.stack([values] * 2) for values in start)
        si.gradient_flow_ensemble(p, *many, t_eval=[0.0, 1.0], t_end=1.0, phases=True, kernel=kernel)
