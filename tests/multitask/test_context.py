"""A problem is packed once for each law, and what is shared by all who ask cannot go wrong in any of them."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.kernels.model import Model
from spectral_icl.multitask import context
from spectral_icl.multitask.context import LAWS, pack, pack_all


def arrays(model: Model) -> list[np.ndarray]:
    return [values for values in model if isinstance(values, np.ndarray)]


def assert_equal(one: Model, other: Model) -> None:
    assert type(one) is type(other)
    for values, others in zip(one, other, strict=True):
        np.testing.assert_array_equal(values, others)


@pytest.mark.parametrize("kernel", LAWS)
def test_a_problem_is_packed_once(kernel: str, two_tasks: si.Problem) -> None:
    assert pack(two_tasks, kernel) is pack(two_tasks, kernel)
    assert_equal(pack(two_tasks, kernel), LAWS[kernel](two_tasks))


def test_every_law_and_every_problem_has_its_own_model(two_tasks: si.Problem) -> None:
    louder = replace(two_tasks, noise=0.5)
    assert type(pack(two_tasks, "asymptotic")) is not type(pack(two_tasks, "first-order"))
    assert pack(two_tasks, "large-L") is pack(two_tasks, "asymptotic")
    assert_equal(pack(louder), LAWS["asymptotic"](louder))
    assert pack(louder).noise.tolist() == [0.5, 0.5]  # type: ignore[attr-defined]
    assert pack(two_tasks).noise.tolist() == [0.09, 0.09]  # type: ignore[attr-defined]


def test_a_law_that_takes_the_name_of_another_is_asked(
    two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pack(two_tasks)
    louder = LAWS["asymptotic"](replace(two_tasks, noise=0.5))
    monkeypatch.setitem(context.LAWS, "asymptotic", lambda problem: louder)
    assert pack(two_tasks) is louder
    monkeypatch.undo()
    assert pack(two_tasks) is before


@pytest.mark.parametrize("kernel", LAWS)
def test_models_cannot_be_written(kernel: str, two_tasks: si.Problem) -> None:
    for model in (pack(two_tasks, kernel), pack_all([two_tasks], kernel, 3)):
        for values in arrays(model):
            with pytest.raises(ValueError, match="read-only"):
                values[...] = 0


def test_what_is_kept_is_no_part_of_a_problem(two_tasks: si.Problem) -> None:
    """Neither of its value nor of its pickle, which would carry it to every worker process."""
    fresh = replace(two_tasks)
    size = len(pickle.dumps(fresh))
    for kernel in LAWS:
        pack(two_tasks, kernel)
    assert (two_tasks, hash(two_tasks), repr(two_tasks)) == (fresh, hash(fresh), repr(fresh))
    assert two_tasks.digest() == fresh.digest()
    assert len(pickle.dumps(two_tasks)) == size
    for twin in (pickle.loads(pickle.dumps(two_tasks)), copy.copy(two_tasks), copy.deepcopy(two_tasks)):
        assert twin == two_tasks
        assert not twin.kept
        assert not twin.variance.flags.writeable
        assert_equal(pack(twin), pack(two_tasks))


def test_an_ensemble_keeps_nothing_of_its_members(two_tasks: si.Problem) -> None:
    """A sweep has very many problems, and packs each of them once."""
    pack_all([two_tasks], "asymptotic", 1)
    assert not two_tasks.kept


def test_threads_share_a_problem(two_tasks: si.Problem) -> None:
    """They share what is packed on the first call; the flows are short, which leaves the threads together."""
    start = si.initial.random(two_tasks, heads=2, scale=0.1, seed=1)
    solved = partial(si.gradient_flow, t_end=1.0)
    expected = {kernel: solved(replace(two_tasks), *start, kernel=kernel).mu for kernel in LAWS}
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            shared = replace(two_tasks)
            runs = [(kernel, pool.submit(solved, shared, *start, kernel=kernel)) for kernel in [*LAWS] * 4]
            for kernel, run in runs:
                np.testing.assert_array_equal(run.result().mu, expected[kernel])


def test_nothing_is_compiled_for_writeable_models() -> None:
    """Read-only arrays are types of their own: a model that is not frozen would compile everything again."""
    code = """if True:
        import spectral_icl as si
        from spectral_icl.kernels.compile import entries
        p = si.Problem.multitask(task_sizes=(4, 4), signal=10.0, noise=0.09, context_length=100)
        start = si.initial.random(p, 2, 0.1, 1)
        for kernel in ("asymptotic", "first-order"):
            sol = si.gradient_flow(p, *start, t_end=1.0, kernel=kernel)
            sol.loss, sol.phases, sol.forecast, sol.saturation, sol.final_loss
            si.gradient(p, *start, kernel), si.hessian(p, *start, kernel)
            si.optimal.minimise(p, 1, kernel)
            si.gradient_flow_ensemble([p, p], *start, t_end=1.0, kernel=kernel, phases=True)
        for entry in entries:
            for signature in entry.signatures:
                print(entry.__name__, signature)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packed = re.findall(r"(?:Asymptotic|FirstOrder)(\((?:[^()]|\([^()]*\))*\))", done.stdout)
    assert len(packed) > 10
    assert not [model for model in packed if "array" in model.replace("readonly array", "")]


def test_a_flow_goes_on_with_a_finer_table_from_where_all_that_follows_fits() -> None:
    p = si.Problem(block_sizes=[5], signal=[[1.0]], noise=0.1, context_length=40)
    far = pack(p, "exact", np.array([[1.2]]))
    asked: list[int] = []

    def heads() -> np.ndarray:
        asked.append(1)
        return np.array([1.2, 0.6, 1.1, 0.5, 0.3, 0.2])[:, None, None]

    found = context.narrowing(far, p, heads)
    assert found is not None
    first, model = found
    assert model.reach <= 0.25 * far.reach
    fits = [context.reaching(model, p, one).reach <= model.reach for one in heads()]
    assert not fits[first - 1]
    assert all(fits[first:])
    assert first < 5
    assert context.narrowing(model, p, heads) is None
    asked.clear()
    assert context.narrowing(pack(p), p, heads) is None
    assert not asked
