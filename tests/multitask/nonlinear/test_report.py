"""What is said of a flow on single-index tasks."""

from __future__ import annotations

import json

import numpy as np

from spectral_icl.multitask.nonlinear.flow import gradient_flow
from spectral_icl.multitask.nonlinear.learned import learned
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.nonlinear.report import NonlinearReport


def report(tasks: int) -> NonlinearReport:
    p = SingleIndex(task_sizes=(8,) * tasks, coefficients=(0.3, 0.0, 1.0), noise=0.1, context_length=500)
    return NonlinearReport(gradient_flow(p, [[0.1] * tasks], [[0.1] * tasks], t_end=5.0), "a title")


def test_text_and_objects_say_what_was_learned() -> None:
    found = report(1)
    text, table = found.to_text(), json.loads(json.dumps(found.to_dict()))
    assert text.startswith("a title\n  problem   1 single-index task of degree 2, d = 8, L = 500\n")
    share = learned(found.flow.problem, *found.flow.final).share[0]
    assert f"  0     {share[0]:.4g}" in text
    assert table["learned"]["share"][0][1] is None  # of a degree that the task has not
    np.testing.assert_allclose(table["learned"]["share"][0][2], share[2])
    excess = found.flow.final_task_loss[0] - 0.1
    assert f"{excess:.6g}" in text
    assert table["excess"] == [excess]
    bound, head, pair = (
        table["lower_bound"][0],
        *(table["optimal"][name][0]["loss"] for name in ("best_head", "best_pair")),
    )
    assert bound < min(head, pair)
    assert head < table["task_loss"][0]


def test_of_many_tasks_no_heads_are_searched() -> None:
    found = report(13)
    assert found.best == {}
    assert "best pair" not in found.to_text()
    assert "..." in found.to_text()
