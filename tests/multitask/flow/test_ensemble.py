"""Many flows at once: each is the flow that it would be alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.kernels.ensemble import advance_many
from spectral_icl.kernels.lanes import WIDTH
from spectral_icl.kernels.model import EXPLICIT, IMPLICIT
from spectral_icl.multitask.flow import ensemble
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.parametrization import Parametrization

FIELDS = ("outcome", "t", "omega", "mu", "task_loss", "saturation", "steps", "rejected", "loss_curve")
PHASES = ("emergence", "onset", "settled", "allocation", "share", "escape", "rival")


def three_tasks() -> si.Problem:
    return si.Problem.multitask(task_sizes=(5, 10, 15), signal=(3.0, 5.0, 8.0), noise=0.3, context_length=200)


def random_starts(count: int, p: si.Problem, heads: int = 4) -> tuple[np.ndarray, np.ndarray]:
    each = [si.initial.random(p, heads, 0.05, seed=seed, positive=True) for seed in range(count)]
    return np.array([s.omega for s in each]), np.array([s.mu for s in each])


def assert_same_bits(one: si.Ensemble, other: si.Ensemble, rows: Any = slice(None)) -> None:
    """All that ``other`` holds, against the members ``rows`` of ``one``."""
    for name in FIELDS + PHASES:
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_array_equal(a[rows], b, err_msg=name)


@given(
    st.data(),
    st.sampled_from(["balanced", "factored", "merged"]),
    st.sampled_from(["asymptotic", "first-order"]),
)
@settings(max_examples=40)
def test_members_are_single_flows(data: st.DataObject, name: str, kernel: str) -> None:
    """Problems of any kind that share a shape, against one call each of the alternating integrator."""
    first = data.draw(problems())
    count = data.draw(st.integers(1, 4))
    heads = data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    table = first.to_dict()
    family = [
        si.Problem(
            **(table | {"context_length": first.context_length * rng.uniform(1, 2), "noise": rng.random()})
        )
        for _ in range(count)
    ]
    flavour: Parametrization = {
        "balanced": si.Balanced(0.3),
        "factored": si.Factored(0.02, 1e-3),
        "merged": si.Merged(),
    }[name]
    omega = rng.uniform(0.01, 0.1, (count, heads, first.blocks)) * rng.choice(
        [-1, 0, 1, 1], (count, heads, 1)
    )
    mu = rng.uniform(0.01, 0.1, (count, heads, first.tasks)) * rng.choice([-1, 1], (count, heads, 1))
    t_end = data.draw(st.sampled_from([1.0, 30.0]))
    options: dict[str, Any] = {"parametrization": flavour, "t_end": t_end, "rtol": 1e-10, "kernel": kernel}
    found = si.gradient_flow_ensemble(family, omega, mu, **options)
    for k, p in enumerate(family):
        if found.outcome[k] == Outcome.LEFT_RANGE:
            with pytest.raises(si.IntegrationError, match="left the range"):
                si.gradient_flow(p, omega[k], mu[k], **options)
            continue
        alone = si.gradient_flow(p, omega[k], mu[k], **options)
        assert found.outcome[k] == alone.outcome
        assert found.t[k] == t_end
        # both within a few tolerances; a growth of e^20 on the way carries errors along
        np.testing.assert_allclose(found.omega[k], alone.final.omega, rtol=2e-6, atol=1e-8)
        np.testing.assert_allclose(found.mu[k], alone.final.mu, rtol=2e-6, atol=1e-8)
        np.testing.assert_allclose(found.task_loss[k], alone.final_task_loss, rtol=1e-7)
        assert found.saturation[k] == pytest.approx(alone.saturation.ratio, rel=0.05, abs=1e-6)


def test_first_order_members_and_their_phases_in_any_company() -> None:
    """Blocks of other sizes and signals beside them change no bit, and phases are those of flows alone."""
    family = [
        si.Problem.multitask(task_sizes=(8, 8), signal=(10.0, 6.0), noise=0.1, context_length=400),
        si.Problem.multitask(task_sizes=(5, 20), signal=(3.0, 6.0), noise=0.3, context_length=300),
        si.Problem(
            block_sizes=(6, 9),
            signal=((1.0, 0.5), (0.2, 2.0)),
            noise=0.1,
            context_length=200,
            covariance=(0.8, 1.2),
        ),
    ]
    starts = [si.initial.dominant(p, 3, 0.01, 1.0, seed=k) for k, p in enumerate(family)]
    omega, mu = (np.array(values) for values in zip(*starts, strict=True))
    options: dict[str, Any] = {"t_end": 300.0, "kernel": "first-order", "phases": True, "t_eval": [0.0, 20.0]}
    together = si.gradient_flow_ensemble(family, omega, mu, **options)
    assert together.success.all()
    for k, p in enumerate(family):
        assert_same_bits(together, si.gradient_flow_ensemble(p, omega[k], mu[k], **options), slice(k, k + 1))
        alone = si.gradient_flow(p, omega[k], mu[k], t_end=300.0, kernel="first-order")
        np.testing.assert_allclose(together.mu[k], alone.final.mu, rtol=1e-5, atol=1e-6)
        times = [task.time for task in alone.phases.tasks]
        np.testing.assert_allclose(together.emergence[k], times, rtol=1e-3)  # type: ignore[index]
        assert tuple(together.allocation[k]) == alone.allocation  # type: ignore[index]


def test_reference_cases() -> None:
    """The recorded high-accuracy trajectories, at their last time."""
    for name, case in CASES.items():
        found = si.gradient_flow_ensemble(
            case.problem,
            case.omega0,
            case.mu0,
            parametrization=case.parametrization,
            t_end=case.times[-1],
            t_eval=case.times,
            rtol=1e-10,
        )
        np.testing.assert_allclose(found.omega[0], case.omega[-1], atol=1e-7, rtol=1e-7, err_msg=name)
        np.testing.assert_allclose(found.mu[0], case.mu[-1], atol=1e-7, rtol=1e-7, err_msg=name)
        np.testing.assert_allclose(found.loss_curve[0], case.loss, rtol=1e-6, err_msg=name)


def test_error_falls_with_the_tolerance() -> None:
    p = three_tasks()
    start = random_starts(20, p)
    exact = si.gradient_flow_ensemble(p, *start, t_end=60.0, rtol=1e-12)
    errors = [
        abs(si.gradient_flow_ensemble(p, *start, t_end=60.0, rtol=rtol).mu - exact.mu).max()
        for rtol in (1e-5, 1e-7, 1e-9)
    ]
    assert errors[0] > 20 * errors[1] > 400 * errors[2]
    assert errors[2] < 1e-6


def test_neighbours_and_threads_do_not_matter() -> None:
    """To the last bit: alone, in any order, in any company and on any number of threads."""
    p = three_tasks()
    count = 17 * WIDTH + 3
    omega, mu = random_starts(count, p)
    mu[::5] *= -1.0
    mu[7, :, 1] = mu[7, 0, 1]
    flavours = [si.Balanced() if k % 3 else si.Factored(1e-4, 1e-6) for k in range(count)]
    t_end = np.where(np.arange(count) % 4 == 0, 3.0, 400.0)
    options: dict[str, Any] = {"rtol": 1e-7, "t_eval": [0.0, 1.0, 50.0], "phases": True}

    def solve(rows: np.ndarray, **more: Any) -> si.Ensemble:
        chosen = [flavours[k] for k in rows]
        return si.gradient_flow_ensemble(
            p, omega[rows], mu[rows], parametrization=chosen, t_end=t_end[rows], **options, **more
        )

    everyone = np.arange(count)
    whole = solve(everyone, threads=1)
    assert whole.success.all()
    for threads in (2, 3):
        assert_same_bits(whole, solve(everyone, threads=threads))
    shuffled = np.random.default_rng(0).permutation(count)
    assert_same_bits(whole, solve(shuffled), shuffled)
    for k in (0, 1, 7, count - 1):
        assert_same_bits(whole, solve(np.array([k])), [k])


@pytest.mark.parametrize("flavour", [si.Balanced(), si.Merged()])
@pytest.mark.parametrize(("heads", "blocks", "tasks"), [(2, 4, 3), (4, 8, 8), (1, 1, 1)])
def test_company_does_not_matter_at_any_size(
    heads: int, blocks: int, tasks: int, flavour: Parametrization
) -> None:
    rng = np.random.default_rng(3)
    family = [
        si.Problem(
            block_sizes=tuple(rng.integers(1, 9, blocks).tolist()),
            signal=rng.lognormal(size=(tasks, blocks)),
            noise=0.1,
            context_length=rng.uniform(50, 90),
        )
        for _ in range(30)
    ]
    omega, mu = rng.uniform(0.01, 0.1, (30, heads, blocks)), rng.uniform(0.01, 0.1, (30, heads, tasks))
    options: dict[str, Any] = {"parametrization": flavour, "t_end": 5.0, "rtol": 1e-6, "phases": True}
    whole = si.gradient_flow_ensemble(family, omega, mu, **options)
    for k in range(30):
        assert_same_bits(whole, si.gradient_flow_ensemble(family[k], omega[k], mu[k], **options), [k])


def turning() -> si.Problem:
    """Tasks that emerge far apart: at rtol 1e-9 steps turn implicit after one, and explicit for the next."""
    return si.Problem.multitask(task_sizes=(3, 3, 14), signal=(0.3, 2.2, 25.0), noise=0.1, context_length=29)


def crowd() -> tuple[dict[str, int], dict[str, Any]]:
    """Flows of every fate, and their arguments: the first of each kind by name, and more of them around it.

    They turn implicit early, late, never, or more than once; they fail at once or nearly, come to rest, run
    out of steps by either method, have heads that are tied, or other parametrizations.
    """
    common, apart = three_tasks(), turning()
    kinds: dict[str, dict[str, Any]] = {
        "early": {"scale": 0.3},
        "late": {"scale": 0.01, "t_end": 1e5},
        "never": {"scale": 1e-3, "t_end": 2.0},
        "turning": {"problem": apart, "scale": 1.4e-3, "t_end": 1e4, "rtol": 1e-9},
        "overflow": {"scale": 40.0},
        "brink": {"scale": 4.0, "mu": 1e10},
        "few steps": {"scale": 0.05, "max_steps": 5},
        "more steps": {"scale": 0.3, "max_steps": 300, "rtol": 1e-9, "t_end": 1e5},
        "rest": {"scale": 0.1, "t_end": np.inf, "stationary": 1e-3},
        "tied": {"scale": 0.05, "tied": True},
        "factored": {"scale": 0.05, "parametrization": si.Factored(1e-4, 1e-6)},
        "merged": {"scale": 0.05, "parametrization": si.Merged()},
        "loose": {"scale": 0.1, "rtol": 1e-3},
    }
    arguments: dict[str, list[Any]] = {name: [] for name in ("problems", "parametrization", "omega0", "mu0")}
    arguments |= {name: [] for name in ("t_end", "rtol", "stationary", "max_steps")}
    count = max(5 * WIDTH + 3, 83)  # of narrower vectors the first few leave no range after a while
    for k in range(count):
        kind = list(kinds.values())[k % len(kinds)]
        p = kind.get("problem", common)
        at = si.initial.random(p, 4, kind["scale"], seed=k, positive=k % 2 == 0)
        at.mu[...] *= kind.get("mu", 1.0)
        if kind.get("tied"):
            for values in at:
                values[3] = values[1]
        for name, value in {"problems": p, "omega0": at.omega, "mu0": at.mu}.items():
            arguments[name].append(value)
        arguments["parametrization"].append(kind.get("parametrization", si.Balanced()))
        arguments["t_end"].append(kind.get("t_end", 400.0))
        arguments["rtol"].append(kind.get("rtol", 1e-7))
        arguments["stationary"].append(kind.get("stationary", 0.0))
        arguments["max_steps"].append(kind.get("max_steps", 20_000))
    return {name: k for k, name in enumerate(kinds)}, arguments


@pytest.fixture(scope="module", params=["asymptotic", "first-order"])
def fates(request: pytest.FixtureRequest) -> tuple[str, si.Ensemble]:
    """The crowd under a law, with all that can be asked of it."""
    _, arguments = crowd()
    kernel: str = request.param
    return kernel, si.gradient_flow_ensemble(
        **arguments, phases=True, t_eval=[0.0, 1.0, 50.0], kernel=kernel, threads=1
    )


def again(kernel: str, rows: np.ndarray, **options: Any) -> si.Ensemble:
    """Some of the crowd in another order or company."""
    _, arguments = crowd()
    chosen = {name: [values[k] for k in rows] for name, values in arguments.items()}
    asked = {"phases": True, "t_eval": [0.0, 1.0, 50.0], "kernel": kernel, "threads": 1} | options
    return si.gradient_flow_ensemble(**chosen, **asked)


def test_every_fate_is_met(fates: tuple[str, si.Ensemble]) -> None:
    kernel, whole = fates
    kinds, _ = crowd()
    found = {name: si.Outcome(whole.outcome[k]) for name, k in kinds.items()}
    for name in ("early", "late", "never", "turning", "tied", "factored", "merged", "loose"):
        assert found[name] is si.Outcome.REACHED_END, name
    assert found["rest"] is si.Outcome.STATIONARY
    assert found["few steps"] is found["more steps"] is si.Outcome.STEP_LIMIT
    past = si.Outcome.OVERFLOW if kernel == "asymptotic" else si.Outcome.LEFT_RANGE
    assert found["overflow"] is past
    if kernel == "first-order":  # where some leave the range after a while
        assert (whole.t[whole.outcome == past] > 0.0).any()
    for name, most in (("few steps", 5), ("more steps", 300)):
        assert whole.steps[kinds[name]] + whole.rejected[kinds[name]] == most
    tied = kinds["tied"]
    np.testing.assert_array_equal(whole.mu[tied, 3], whole.mu[tied, 1])


def test_fates_do_not_depend_on_order_threads_and_company(fates: tuple[str, si.Ensemble]) -> None:
    """To the last bit, also where a neighbour fails, rests or turns to the other method."""
    kernel, whole = fates
    everyone = np.arange(len(whole))
    for threads in (2, 3):
        assert_same_bits(whole, again(kernel, everyone, threads=threads))
    for order in (everyone[::-1], np.random.default_rng(0).permutation(everyone)):
        assert_same_bits(whole, again(kernel, order), order)
    kinds, _ = crowd()
    for k in kinds.values():
        assert_same_bits(whole, again(kernel, np.array([k])), [k])
    for group in np.array_split(everyone, 7):
        assert_same_bits(whole, again(kernel, group), group)
    twice = np.repeat(everyone[: len(kinds)], 3)
    assert_same_bits(whole, again(kernel, twice), twice)


@pytest.mark.parametrize(
    "asked", [{}, {"t_eval": [0.3, 7.0]}, {"phases": True}], ids=["ends", "curve", "phases"]
)
def test_fates_do_not_depend_on_what_is_asked(fates: tuple[str, si.Ensemble], asked: dict[str, Any]) -> None:
    kernel, whole = fates
    everyone = np.arange(len(whole))
    found = again(kernel, everyone, **({"phases": False, "t_eval": None} | asked))
    for name in FIELDS[:-1] + (PHASES if "phases" in asked else ()):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)


def test_flows_that_turn_back_and_forth_are_single_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explicit, implicit, explicit and implicit again: ends, curves and phases are those of flows alone."""
    modes: list[list[int]] = []

    def watched(*arguments: Any) -> Any:
        _, _, mode, _, first, stop, _, ends, _ = arguments
        before = ends.steps.sum(axis=1)
        log = advance_many(*arguments)
        for p in range(first, stop):
            modes.extend([] for _ in range(p + 1 - len(modes)))
            if ends.steps[p].sum() > before[p]:
                modes[p].append(mode)
        return log

    monkeypatch.setattr(ensemble, "advance_many", watched)
    p, count = turning(), 12
    starts = [si.initial.random(p, 4, 1.4e-3, seed=seed, positive=True) for seed in range(count)]
    times = np.geomspace(0.1, 1e4, 200)
    options: dict[str, Any] = {"t_end": 1e4, "rtol": 1e-9, "t_eval": times}
    found = si.gradient_flow_ensemble(p, *zip(*starts, strict=True), **options, phases=True)
    turned = [k for k in range(count) if modes[k] == [EXPLICIT, IMPLICIT, EXPLICIT, IMPLICIT]]
    assert len(turned) > count // 2
    assert found.emergence is not None
    assert found.allocation is not None
    assert found.loss_curve is not None
    for k in turned:
        alone = si.gradient_flow(p, *starts[k], **options)
        np.testing.assert_allclose(found.omega[k], alone.final.omega, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.mu[k], alone.final.mu, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.loss_curve[k], alone.loss, rtol=1e-6)
        np.testing.assert_allclose(found.emergence[k], [task.time for task in alone.phases.tasks], rtol=1e-3)
        assert tuple(found.allocation[k]) == alone.allocation


@pytest.mark.parametrize("imbalance", [1e-200, 1e-180, 1e-150])
def test_imbalances_whose_squares_underflow(imbalance: float) -> None:
    p = si.Problem.multitask(task_sizes=(4, 6), signal=2.0, noise=0.1, context_length=80)
    omega, mu = [[0.1, 0.2], [0.2, 0.1]], [[0.1, 0.0], [1e-170, 0.1]]
    flavour = si.Factored(imbalance, imbalance)
    found = si.gradient_flow_ensemble(p, omega, mu, parametrization=flavour, t_end=20.0, rtol=1e-9)
    alone = si.gradient_flow(p, omega, mu, parametrization=flavour, t_end=20.0, rtol=1e-9)
    assert found.success.all()
    np.testing.assert_allclose(found.mu[0], alone.final.mu, rtol=1e-6, atol=1e-9)


def test_a_member_that_fails_is_recorded_and_alone_in_it() -> None:
    """Overflow at the start and later, and too few steps, each beside flows that go on as if nothing were."""
    p = three_tasks()
    omega, mu = random_starts(40, p)
    good = si.gradient_flow_ensemble(p, omega, mu, t_end=100.0)
    omega[3] *= 400.0  # logits past 700
    omega[11], mu[11] = 5.0, 1e12
    limit = np.full(40, 100_000)
    limit[20] = 5
    found = si.gradient_flow_ensemble(p, omega, mu, t_end=100.0, max_steps=limit)
    bad = [3, 11, 20]
    expected = [si.Outcome.OVERFLOW, si.Outcome.OVERFLOW, si.Outcome.STEP_LIMIT]
    assert [si.Outcome(found.outcome[k]) for k in bad] == expected
    assert not found.success[bad].any()
    assert (found.t[bad] < 100.0).all()
    assert found.steps[20] + found.rejected[20] == 5
    with pytest.raises(si.IntegrationError) as caught:
        si.gradient_flow(p, omega[11], mu[11], t_end=100.0)
    assert found.outcome[11] == caught.value.solution.outcome
    others = np.setdiff1d(np.arange(40), bad)
    assert found.success[others].all()
    np.testing.assert_array_equal(found.mu[others], good.mu[others])


def test_saturated_members_say_so() -> None:
    """Beyond half of log L the large-L kernel is wrong; the result says it, as the single flow does."""
    p = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=1e-4, context_length=8)
    omega = np.array([[[0.4]], [[0.01]]])
    found = si.gradient_flow_ensemble(p, omega, np.full((2, 1, 1), 0.05), t_end=0.5)
    single = [si.gradient_flow(p, o, [[0.05]], t_end=0.5).saturation for o in omega]
    np.testing.assert_array_equal(found.valid, [s.valid for s in single])
    assert sorted(found.valid) == [False, True]


@pytest.mark.parametrize("name", sorted(CASES))
def test_phases_are_those_of_single_flows(name: str) -> None:
    case = CASES[name]
    start = case.problem, case.omega0, case.mu0
    options: dict[str, Any] = {"parametrization": case.parametrization, "t_end": 2000.0, "rtol": 1e-9}
    found = si.gradient_flow_ensemble(*start, **options, phases=True)
    alone = si.gradient_flow(*start, **options)
    for i, task in enumerate(alone.phases.tasks):
        assert found.allocation[0, i] == (-1 if task.head is None else task.head)
        assert found.emergence[0, i] == pytest.approx(task.time, rel=2e-3, nan_ok=True)
        assert found.share[0, i] == pytest.approx(task.share, rel=2e-2, nan_ok=True)
    escapes = {e.task: e for e in alone.phases.escapes if np.isfinite(e.time)}
    for i in range(case.problem.tasks):
        if i in escapes:
            assert found.rival[0, i] == escapes[i].head
            assert found.escape[0, i] == pytest.approx(escapes[i].time, rel=1e-3)
        else:
            assert found.rival[0, i] == -1
            assert np.isnan(found.escape[0, i])


def test_loss_on_a_grid_of_times() -> None:
    p = three_tasks()
    omega, mu = random_starts(3, p)
    times = np.array([0.0, 0.5, 20.0, 80.0, 300.0])
    ends = np.array([100.0, 300.0, np.inf])
    found = si.gradient_flow_ensemble(
        p, omega, mu, t_end=ends, stationary=[0.0, 0.0, 1e-3], t_eval=times, rtol=1e-10
    )
    assert si.Outcome(found.outcome[2]) is si.Outcome.STATIONARY
    assert np.isnan(found.loss_curve[0, -1])  # past the end
    for k in range(3):
        alone = si.gradient_flow(p, omega[k], mu[k], t_end=300.0, t_eval=times, rtol=1e-10)
        known = np.isfinite(found.loss_curve[k]) & (times <= found.t[k])
        assert known.sum() >= 4 - (k == 2)
        np.testing.assert_allclose(found.loss_curve[k][known], alone.loss[known], rtol=1e-7)
    rest = times > found.t[2]
    assert rest.any()
    np.testing.assert_allclose(found.loss_curve[2][rest], found.loss[2], rtol=1e-12)


def test_long_histories_are_kept_whole() -> None:
    """More steps than a history has room for at first: the emergence is that of a loose tolerance."""
    p = three_tasks()
    omega, mu = random_starts(2, p)
    tight = si.gradient_flow_ensemble(p, omega, mu, t_end=400.0, rtol=1e-12, phases=True)
    assert tight.steps.min() > 600
    loose = si.gradient_flow_ensemble(p, omega, mu, t_end=400.0, rtol=1e-7, phases=True)
    np.testing.assert_allclose(tight.emergence, loose.emergence, rtol=3e-3)
    np.testing.assert_array_equal(tight.allocation, loose.allocation)


def test_equal_heads_stay_equal() -> None:
    p = three_tasks()
    omega, mu = random_starts(5, p)
    omega[2, 3], mu[2, 3] = omega[2, 1], mu[2, 1]
    found = si.gradient_flow_ensemble(p, omega, mu, t_end=1e4)
    np.testing.assert_array_equal(found.mu[2, 3], found.mu[2, 1])
    np.testing.assert_array_equal(found.omega[2, 3], found.omega[2, 1])
    assert (found.mu[1, 3] != found.mu[1, 1]).any()


@given(st.data())
@settings(max_examples=30)
def test_balanced_signs_never_change(data: st.DataObject) -> None:
    p = data.draw(problems())
    at = data.draw(starts(p, most=0.2))
    found = si.gradient_flow_ensemble(p, *at, t_end=1e5, rtol=1e-6)
    if found.success[0]:
        np.testing.assert_array_equal(np.sign(found.omega[0]) * np.sign(at.omega) >= 0.0, True)
        np.testing.assert_array_equal(np.sign(found.mu[0]) * np.sign(at.mu) >= 0.0, True)
        assert found.loss[0] <= si.loss(p, *at) * (1 + 1e-12)


def test_one_argument_stands_for_all() -> None:
    p = three_tasks()
    omega, mu = random_starts(1, p)
    found = si.gradient_flow_ensemble(p, omega[0], mu[0], t_end=[1.0, 10.0, 100.0])
    assert len(found) == 3
    np.testing.assert_array_equal(found.t, [1.0, 10.0, 100.0])
    assert "3 flows" in repr(found)


P = three_tasks()
BAD: list[tuple[dict[str, Any], str]] = [
    ({"problems": 3}, "problems: expected a Problem"),
    ({"problems": []}, "problems: expected a Problem"),
    ({"problems": [P, "p"]}, r"problems\[1\]: expected a Problem"),
    (
        {"problems": [P, si.Problem.multitask(task_sizes=(3,), signal=1, noise=1, context_length=9)]},
        "1 blocks",
    ),
    ({"problems": [P] * 3}, "omega0 and mu0: expected 1 or 3"),
    ({"parametrization": "balanced"}, "parametrization: expected Balanced"),
    ({"parametrization": si.Factored(np.ones((9, 9)), 0.1)}, "imbalance_omega: expected a number or shape"),
    ({"omega0": np.ones((2, 4, 5))}, "omega0: expected an array"),
    ({"omega0": np.full((2, 4, 3), np.nan)}, r"omega0\[0, 0, 0\]: expected a finite"),
    ({"mu0": np.ones((2, 3, 3))}, "mu0: expected as many heads"),
    ({"mu0": np.ones((5, 4, 3))}, "expected 1 or"),
    ({"omega0": np.ones((0, 4, 3)), "mu0": np.ones((0, 4, 3))}, "omega0: expected at least one start"),
    ({"omega0": np.ones((2, 0, 3)), "mu0": np.ones((2, 0, 3))}, "as many heads"),
    ({"omega0": np.ones((1, 999, 3)), "mu0": np.ones((1, 999, 3)), "kernel": "exact"}, "omega0: expected H"),
    ({"omega0": np.ones((1, 5000, 3)), "mu0": np.ones((1, 5000, 3))}, "omega0: expected a whole number"),
    ({"t_end": [1.0, -1.0]}, r"t_end\[1\]: expected a number"),
    ({"t_end": np.inf}, "t_end: expected a number"),
    ({"t_end": "long"}, "t_end: expected a number"),
    ({"t_end": [1.0] * 3}, "expected 1 or"),
    ({"t_eval": [1.0, 0.5]}, "t_eval: expected increasing"),
    ({"rtol": 0.5}, "rtol: expected a number"),
    ({"rtol": [1e-6, np.nan]}, r"rtol\[1\]: expected"),
    ({"stationary": -1.0}, "stationary: expected"),
    ({"max_steps": 2.5}, "max_steps: expected a whole"),
    ({"kernel": "small"}, "kernel: expected one of"),
    ({"threads": 0}, "threads: expected a whole number"),
]


@pytest.mark.parametrize(("change", "complaint"), BAD)
def test_bad_input_is_named(change: dict[str, Any], complaint: str) -> None:
    arguments = {"problems": P, "omega0": np.ones((2, 4, 3)), "mu0": np.ones((2, 4, 3)), **change}
    with pytest.raises(si.ProblemError, match=complaint) as caught:
        si.gradient_flow_ensemble(**arguments)
    assert "\n" not in str(caught.value)
