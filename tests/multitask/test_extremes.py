"""Degenerate problems: refused in one line, or answered in words, at once and with strict JSON."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from shell import run
from strict import strict

import spectral_icl as si
from spectral_icl.multitask.accuracy import terms
from spectral_icl.multitask.signal import SMALLEST
from spectral_icl.multitask.softmax import losses

LIMITS = {"task_sizes": (2, 2), "signal": 1.0, "noise": 0.1, "context_length": 100}


@pytest.mark.parametrize("value", [5e-324, 1e-300, 0.9 * SMALLEST])
@pytest.mark.parametrize("key", ["signal", "noise", "covariance"])
def test_what_would_underflow_is_refused(key: str, value: float) -> None:
    with pytest.raises(si.ProblemError, match=rf"{key}.*: expected .*>= 1e-30"):
        si.Problem.multitask(**{**LIMITS, key: value})  # type: ignore[arg-type]
    assert si.Problem.multitask(**{**LIMITS, key: SMALLEST})  # type: ignore[arg-type]


@pytest.mark.parametrize(("signal", "snr"), [(1e-30, 10.0), (1e12, 0.5), (1.0, 1e-13)])
def test_a_noise_out_of_range_is_the_fault_of_the_ratio(signal: float, snr: float) -> None:
    table = {"task_sizes": [2], "signal": signal, "snr": snr, "context_length": 9}
    with pytest.raises(si.ProblemError, match="snr: expected a noise signal / snr >= 1e-30 and <= 1e"):
        si.Problem.from_dict(table)


@pytest.mark.parametrize("command", ["flow", "optimal", "verify"])
def test_more_tasks_than_a_problem_may_have_are_refused_at_once(command: str, tmp_path: Path) -> None:
    for entries in ("tasks = 200000\ntask_sizes = 2", f"task_sizes = {[1] * 100_001}"):
        file = tmp_path / "many.toml"
        file.write_text(f"[problem]\n{entries}\nsignal = 1.0\nnoise = 0.1\ncontext_length = 9\n")
        status, out, err = run(command, str(file))
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "100000" in err


def test_weights_that_follow_from_a_tiny_eigenvalue_are_no_bad_input() -> None:
    """The best omega is 1 / (kappa sqrt(d)), larger than any that may be given."""
    p = si.Problem.multitask(task_sizes=(4, 4), signal=1.0, noise=0.1, context_length=100, covariance=1e-20)
    limit = si.optimal.head_per_task(p)
    assert limit.weights is not None
    assert limit.weights.omega.max() == pytest.approx(5e19)
    assert si.loss(p, *limit.weights) == pytest.approx(limit.loss)
    assert np.isfinite(terms(p, *limit.weights).asymptotic).all()
    status, out, err = run("flow", "--set", "problem.covariance=1e-20", "--json")
    assert (status, err) == (0, "")
    assert strict(out)["success"]


def test_samples_take_no_more_memory_with_many_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of one covariate leave room for many at a time, each head of which has its own attention."""
    from spectral_icl.multitask import softmax

    sizes = []
    attention = softmax._attention

    def measured(x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        found = attention(x, direction)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(softmax, "_attention", measured)
    p = si.Problem.multitask(task_sizes=(1,), signal=1.0, noise=0.1, context_length=2)
    monkeypatch.setattr(softmax, "_CHUNK", 1000)
    losses(p, [si.State(np.ones((200, 1)), np.ones((200, 1)))], 300, seed=0)
    assert sum(sizes) == 300 * 200 * 2
    assert max(sizes) <= 8 * 1000


CORNERS = list(
    itertools.product(
        [1, 1.5, 2, 1e12], [0.0, 1e-30, 1e12], [1e-30, 1e-9, 1e12], ["asymptotic", "first-order"]
    )
)


@pytest.mark.parametrize(("length", "noise", "signal", "kernel"), CORNERS[::5])
def test_corners_are_answered(
    tmp_path: Path, length: float, noise: float, signal: float, kernel: str
) -> None:
    """Every benchmark, or why there is none; nothing below a bound."""
    file = tmp_path / "corner.toml"
    file.write_text(
        "[problem]\ntask_sizes = [1, 1000000000]\ncovariance = [1e-13, 1e6]\n"
        f"signal = {signal}\nnoise = {noise}\ncontext_length = {length}\n[model]\nkernel = '{kernel}'\n"
    )
    status, out, err = run("optimal", str(file), "--json", "--heads", "2")
    assert (status, err) == (0, "")
    found = strict(out)
    excess = {key: entry["excess"] for key, entry in found["benchmarks"].items()}
    slack = 1e-6 * max(excess.values()) + 1e-13 * found["benchmarks"]["lower_bound"]["loss"]
    assert min(excess.values()) >= -slack
    if kernel == "asymptotic":
        assert excess["lower_bound"] <= min(excess["single_head"], excess["head_per_task"]) + slack
    if "bayes" in excess:
        assert excess["bayes"] <= min(excess["gradient_step"], excess["small_heads"]) + slack


def test_what_is_lost_in_the_query_noise_is_no_number() -> None:
    faint = ("--set", "problem.signal=1e-30")
    assert strict(run("flow", "--json", *faint)[1])["share_learned"] is None
    assert "share of the signal learned: -\n" in run("flow", *faint)[1]
    found = strict(run("optimal", "--json", "--heads", "1", *faint)[1])["benchmarks"]
    assert all(entry["effective_dimension"] == [None, None] for entry in found.values())
