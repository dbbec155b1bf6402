"""The theorem checks: they hold where the theory does, and say so where it does not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from weights import slow

import spectral_icl as si
from spectral_icl.multitask import softmax
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.theorems.claim import Check, Trial, UnmeasurableError, Verdict
from spectral_icl.theorems.multitask import evidence, factors
from spectral_icl.theorems.multitask.check import check, names
from spectral_icl.theorems.multitask.claims import sampling
from spectral_icl.theorems.multitask.claims.registry import CLAIMS

HOLDS, FAILS, NOT_APPLICABLE = Verdict.HOLDS, Verdict.FAILS, Verdict.NOT_APPLICABLE

# claims about the best weights, or about flows from starts of their own: the start at hand does not matter
OF_NO_START = [
    "single-vs-multi",
    "head-budget",
    "optimality-one-sign",
    "single-head-optimum",
    "equiangular-heads",
    "scaling-losses",
]


def only(p: si.Problem, start: tuple[object, object], claim: str, **options: object) -> Check:
    """The check of one claim."""
    (found,) = check(p, *start, claims=[claim], prompts=1000, **options)  # type: ignore[arg-type]
    assert found.claim == claim
    return found


def random_disjoint(rng: np.random.Generator) -> tuple[si.Problem, int]:
    """A random disjoint problem and a number of heads, at least one per task."""
    tasks = int(rng.integers(1, 5))
    p = si.Problem.multitask(
        task_sizes=rng.integers(2, 40, tasks).tolist(),
        signal=rng.lognormal(0.0, 1.0, tasks).tolist(),
        noise=rng.lognormal(-1.5, 1.0, tasks).tolist(),
        context_length=float(np.exp(rng.uniform(np.log(30), np.log(5000)))),
        covariance=rng.uniform(0.5, 2.0, tasks).tolist(),
    )
    return p, tasks + int(rng.integers(0, 4))


@pytest.mark.parametrize("starts", [30, slow(200)])
def test_dominant_starts(starts: int) -> None:
    """Limit reached within 1e-6, allocation as predicted, ratio to the bound in (1, e): every time."""
    rng = np.random.default_rng(11)
    chosen = ["convergence-to-limit", "task-allocation", "optimality", "monotone-loss", "sign-conservation"]
    applied = 0
    for seed in range(starts):
        p, heads = random_disjoint(rng)
        scale, margin = float(10 ** rng.uniform(-4, -1.5)), float(10 ** rng.uniform(-1, 0.7))
        start = si.initial.dominant(p, heads, scale=scale, margin=margin, seed=seed)
        for found in check(p, *start, claims=chosen):
            assert found.verdict is not FAILS, (seed, found)
            # large kappa and sizes can put the start above half the limit or make its lead too small for its
            # size, which the theory excludes
            # or the context says so little that zero weights would pass
            words = ("small", "dominant", "zero weights")
            excused = any(word in text for word in words for text, met in found.hypotheses if not met)
            assert found.verdict is HOLDS or excused, (seed, found)
            applied += found.verdict is HOLDS
            if found.claim == "convergence-to-limit":
                assert found.measured == pytest.approx(found.predicted, rel=1e-6)
            if found.claim == "optimality":
                assert 1.0 < found.measured < np.e
                assert found.measured == pytest.approx(found.predicted, rel=1e-4)
    assert applied >= 0.95 * 5 * starts


def test_every_claim_is_checked_once_and_described(two_tasks: si.Problem) -> None:
    found = check(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2), prompts=500)
    assert [c.claim for c in found] == names()
    assert len(names()) == len(set(names())) == len(CLAIMS)
    for c in found:
        assert c.statement.endswith(".")
        assert c.reference
        assert c.reason
        assert (c.verdict is NOT_APPLICABLE) == (c.margin is None)
        assert c.verdict is NOT_APPLICABLE or all(met for _, met in c.hypotheses)
        assert c.verdict is not HOLDS or (c.margin or 0.0) > 0.0
    silent = {c.claim for c in found if c.verdict is NOT_APPLICABLE}
    assert silent == {"merged", "escape-rate", "escape-scaling", "superposition"}
    assert not [c for c in found if c.verdict is FAILS]


# Starts and problems that break the hypotheses of claims: the claim, and the hypothesis that is missing.
BALANCED, DOMINANT, HEADS = "balanced", "dominant", "H >= I"


@pytest.mark.parametrize(
    ("name", "claim", "missing"),
    [
        ("tied", "task-allocation", DOMINANT),
        ("tied", "convergence-to-limit", DOMINANT),
        ("one leader", "task-allocation", DOMINANT),
        ("one leader", "convergence-to-limit", DOMINANT),
        ("divided lead", "task-allocation", DOMINANT),
        ("divided lead", "convergence-to-limit", DOMINANT),
        ("few heads", "convergence-to-limit", HEADS),
        ("few heads", "optimality", HEADS),
        ("few heads", "task-allocation", HEADS),
        ("large", "three-phases", "every emergence is predicted"),
        ("large", "convergence-to-limit", "small"),
        ("imbalanced", "sign-conservation", BALANCED),
        ("imbalanced", "convergence-to-limit", BALANCED),
        ("imbalanced", "optimality", BALANCED),
        ("merged", "imbalance-conservation", "k, q, o and v"),
        ("merged", "sign-conservation", BALANCED),
        ("one block", "single-vs-multi", "no one omega is best for all tasks"),
        ("overlapping", "head-budget", "disjoint"),
        ("one task", "single-vs-multi", "two tasks"),
        ("built-in", "escape-rate", "imbalance is positive"),
        ("built-in", "superposition", "share a block"),
        ("saturated", "kernel-validity", "the error estimated for the law"),
        ("unfinished", "convergence-to-limit", "rest"),
    ],
)
def test_broken_hypotheses_are_named(two_tasks: si.Problem, name: str, claim: str, missing: str) -> None:
    p, options = two_tasks, {}
    start: tuple[object, object] = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    if name == "tied":
        start = (np.full((2, 2), 0.01), np.full((2, 2), 0.01))
    elif name == "one leader":  # of both tasks: head 1 trails everywhere
        start = ([[0.02, 0.02], [0.01, 0.01]], [[0.02, 0.02], [0.01, 0.01]])
    elif name == "divided lead":  # of each task one head leads in omega and the other in mu
        start = ([[0.02, 0.01], [0.01, 0.02]], [[0.01, 0.05], [0.05, 0.01]])
    elif name == "few heads":
        start = si.initial.paper(p, 1, 0.1, 0.1, 0.2)
    elif name == "large":
        start = ([[0.6, 0.01], [0.01, 0.6]], [[3.0, 0.01], [0.01, 3.0]])
    elif name == "imbalanced":
        options["parametrization"] = si.Factored(1e-6, 1e-6)
    elif name == "merged":
        options["parametrization"] = si.Merged()
    elif name == "overlapping":
        p = si.Problem(block_sizes=(8, 8), signal=((1.0, 1.0), (0.0, 1.0)), noise=0.1, context_length=200)
        start = si.initial.random(p, 2, scale=0.01, positive=True)
    elif name == "one block":
        p = si.Problem(block_sizes=(8,), signal=((1.0,), (2.0,)), noise=0.1, context_length=200)
        start = si.initial.random(p, 2, scale=0.01, positive=True)
    elif name == "one task":
        p = si.Problem.multitask(task_sizes=(10,), signal=1.0, noise=0.1, context_length=100)
        start = si.initial.dominant(p, 2)
    elif name == "saturated":
        start = ([[1.2, 0.01], [0.01, 0.1]], [[0.1, 0.01], [0.01, 0.1]])
    elif name == "unfinished":
        options["t_end"] = 50.0
    found = only(p, start, claim, **options)
    assert found.verdict is NOT_APPLICABLE
    assert found.margin is None
    assert found.reason.startswith("hypotheses not met: ")
    assert missing in found.reason


def test_what_happens_without_the_hypotheses_is_measured(two_tasks: si.Problem) -> None:
    """Broken: equal heads learn both tasks together, and an imbalance leads below the limit."""
    tied = only(two_tasks, (np.full((2, 2), 0.01), np.full((2, 2), 0.01)), "convergence-to-limit")
    assert tied.measured == pytest.approx(si.optimal.single_head(two_tasks).loss - 0.18, rel=1e-6)
    assert tied.predicted == pytest.approx(si.optimal.head_per_task(two_tasks).loss - 0.18)
    escaped = only(
        two_tasks,
        si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2),
        "convergence-to-limit",
        parametrization=si.Factored(1e-6, 1e-6),
    )
    assert escaped.measured == pytest.approx(si.optimal.plateau(two_tasks).loss - 0.18, rel=1e-4)
    flips = only(
        two_tasks,
        si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2),
        "sign-conservation",
        parametrization=si.Factored(1e-6, 1e-6),
    )
    assert flips.measured >= 2


def test_who_takes_a_task_that_drowns_in_noise_is_not_told() -> None:
    """Of a loss of 1e4 it falls by 2.5e-5, in which no emergence is seen."""
    p = si.Problem.multitask(
        task_sizes=(3, 32), signal=(0.5, 0.2), noise=1e4, context_length=430, covariance=1.8
    )
    found = only(p, si.initial.dominant(p, 2, 1e-4, 1.0), "task-allocation")
    assert found.verdict is NOT_APPLICABLE
    assert found.reason == "not measured: the fall of a task's loss is lost in the query noise"
    louder = replace(p, noise=(1.0, 1.0))
    assert only(louder, si.initial.dominant(louder, 2, 1e-4, 1.0), "task-allocation").verdict is HOLDS


def test_where_the_law_is_wrong_nothing_is_claimed_of_it(two_tasks: si.Problem) -> None:
    """A saturated start, and blocks of two coordinates: measured all the same, and far off."""
    start = ([[1.2, 0.01], [0.01, 0.1]], [[0.1, 0.01], [0.01, 0.1]])
    found = only(two_tasks, start, "kernel-validity")
    assert found.verdict is NOT_APPLICABLE
    assert "at most 50% and known" in found.reason
    assert found.predicted > 2 * found.measured  # e^(d omega^2) against a softmax that saturates
    few = si.Problem(block_sizes=(2,), signal=((1.0,),), noise=0.1, context_length=100)
    trained = check(few, *si.initial.dominant(few, 1), claims=["kernel-validity"])[0]
    assert trained.verdict is NOT_APPLICABLE
    assert trained.measured > 1.5 * trained.predicted


@pytest.mark.parametrize("imbalance", [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3])
def test_escape_is_on_time(two_tasks: si.Problem, imbalance: float) -> None:
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    found = only(two_tasks, start, "escape-rate", parametrization=si.Factored(imbalance, imbalance))
    assert found.verdict is HOLDS
    assert found.measured == pytest.approx(found.predicted, rel=0.10)


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
def test_head_budget(two_tasks: si.Problem, heads: int) -> None:
    found = only(two_tasks, si.initial.paper(two_tasks, heads, 0.1, 0.1, 0.2), "head-budget")
    assert found.verdict is HOLDS
    expected = [si.optimal.single_head, si.optimal.plateau, *2 * [si.optimal.lower_bound]][heads - 1]
    assert found.predicted == pytest.approx(expected(two_tasks).loss - 0.18)


def test_superposition_in_the_full_model() -> None:
    p = si.Problem(
        block_sizes=(8, 8, 8),
        signal=((1.0, 1.0, 0.0), (0.0, 1.0, 1.0)),
        noise=0.1,
        context_length=200,
    )
    found = only(p, si.initial.random(p, 3, scale=0.02, positive=True), "superposition")
    assert found.verdict is HOLDS
    assert found.measured == pytest.approx(found.predicted, abs=5 * found.error + 0.1 * found.predicted)


def test_factors_are_compared_while_their_signs_can_be_kept() -> None:
    """With one pair in the context the losing mu fade long before the emergence: k, q, o, v stop before."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=1)
    flow = si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=1e14, stationary=1e-12)
    emerged = min(task.time for task in flow.phases.tasks)
    end = factors._comparable_until(flow)
    assert 0.5 * emerged < end < emerged
    assert np.abs(flow(end).mu).min() > 1e-10
    found = factors.compare(flow, "asymptotic")
    assert found.drift < 1e-12
    assert found.distance < 1e-6
    assert found.flips == 0


class Doctored(evidence.Evidence):
    """Evidence whose flow was tampered with: what a broken integrator would hand in."""

    def damage(self, **changes: object) -> None:
        """Replace parts of the solved flow."""
        object.__setattr__(self.flow, "trajectory", replace(self.flow.trajectory, **changes))


def doctored(p: si.Problem) -> Doctored:
    """Evidence of the paper's flow to t = 100."""
    start = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    return Doctored(p, start, si.Balanced(), 100.0, 1e-8, "asymptotic", 500, 0)


def trial(claim: str, e: evidence.Evidence) -> Trial:
    """The one trial of a claim on the evidence."""
    (only_one,) = CLAIMS[claim].test(e)
    return only_one


def margin(claim: str, e: evidence.Evidence) -> float:
    """Margin of a claim on the evidence."""
    return trial(claim, e).measure().margin


def test_claims_that_always_hold_would_see_a_broken_flow(two_tasks: si.Problem) -> None:
    """A flow run backwards rises; one with a flipped sign is seen; one at another speed leaves k, q, o, v."""
    for claim in ("monotone-loss", "sign-conservation", "imbalance-conservation"):
        assert margin(claim, doctored(two_tasks)) > 0.0
    backwards = doctored(two_tasks)
    curve = backwards.flow.trajectory
    backwards.damage(x=curve.x[::-1].copy(), dense=np.zeros_like(curve.dense))
    assert margin("monotone-loss", backwards) < 0.0
    flipped = doctored(two_tasks)
    scale = flipped.flow.trajectory.chart.scale.copy()
    scale[5] *= -1.0
    flipped.damage(chart=flipped.flow.trajectory.chart._replace(scale=scale))
    assert margin("sign-conservation", flipped) < 0.0
    slow = doctored(two_tasks)
    slow.damage(t=slow.flow.trajectory.t * 1.001)
    assert margin("imbalance-conservation", slow) < 0.0


def test_sampled_gradient_is_the_reduced_one_at_large_length() -> None:
    """Diagonal entries of the full model's gradient against the kernel's, where the kernel is good."""
    p = si.Problem.multitask(task_sizes=(30, 20), signal=(1.0, 2.0), noise=0.1, context_length=400)
    at = si.State(np.array([[0.06, 0.01], [-0.02, 0.05]]), np.array([[1.5, 0.2], [-0.4, 2.0]]))
    by_kq, by_ov = softmax.gradient(p, *softmax.decomposable(p, at), 1500, seed=1)
    reduced = si.gradient(p, *at)
    edges = np.split(np.arange(50), [30])
    for sample, expected in ((by_kq, reduced.omega), (by_ov, reduced.mu)):
        mean, error = (np.diagonal(part, axis1=1, axis2=2) for part in sample)
        if sample is by_kq:
            error = np.stack([np.sqrt((error[:, e] ** 2).sum(axis=1)) for e in edges], axis=1)
            mean = np.stack([mean[:, e].sum(axis=1) for e in edges], axis=1)
        assert (np.abs(mean - expected) < 4.5 * error + 0.03 * np.abs(expected)).all()


def test_sampled_loss_has_an_honest_error_bar(two_tasks: si.Problem) -> None:
    """Repetitions scatter as the error bar says, and the difference of two weights is sharper than each."""
    limit, best = si.optimal.head_per_task(two_tasks).weights, si.optimal.minimise(two_tasks, 3).weights
    assert limit is not None
    assert best is not None
    runs = [softmax.losses(two_tasks, [limit, best], 400, seed) for seed in range(30)]
    means, errors = np.array([r.mean for r in runs]), np.array([r.error for r in runs])
    ratio = means.std(axis=0, ddof=1) / errors.mean(axis=0)
    assert ((ratio > 0.65) & (ratio < 1.4)).all()
    gaps = (means[:, 0] - means[:, 1]).std(ddof=1)
    assert 0.65 < gaps / np.mean([r.gap_error[0, 1] for r in runs]) < 1.4
    np.testing.assert_allclose(runs[0].task.mean.sum(axis=1), runs[0].mean)


def test_sampled_loss_of_uniform_attention_in_closed_form() -> None:
    """omega = 0: every weight is 1 / L and the loss is known exactly."""
    p = si.Problem(
        block_sizes=(4, 3), signal=((1.0, 2.0),), noise=0.5, context_length=10, covariance=(1, 0.4)
    )
    drawn = softmax.losses(p, [si.State(np.zeros((1, 2)), np.array([[1.5]]))], 20_000, seed=3)
    expected = p.variance[0] * (1 + 1.5**2 / 10)
    assert abs(drawn.mean[0] - expected) < 4 * drawn.error[0]
    assert drawn.error[0] < 0.01 * expected


class Drawn:
    """Sampled losses that are given."""

    def __init__(self, mean: list[float], error: list[float]) -> None:
        self.mean, self.error = np.array(mean), np.array(error)


@pytest.mark.parametrize(
    ("mean", "error", "holds"),
    [
        ([1.0, 1.0], [0.001, 0.001], True),
        ([1.0, 1.3], [0.001, 0.001], False),  # the second state is off
        ([1.3, 1.0], [0.03, 0.001], False),  # off by ten error bars, which do not excuse it
        ([1.0, 1.06], [0.001, 0.05], None),  # within the error bar of what is allowed: undecided
    ],
)
def test_error_bars_decide_but_do_not_excuse(
    two_tasks: si.Problem,
    monkeypatch: pytest.MonkeyPatch,
    mean: list[float],
    error: list[float],
    holds: bool | None,
) -> None:
    """Of an excess of 1 that the law is told to have within 1 %, so that 6 % are allowed."""
    noise = float(np.sum(two_tasks.noise))
    exactly = np.full(2, 0.01)
    monkeypatch.setattr(softmax, "losses", lambda *_: Drawn([value + noise for value in mean], error))
    monkeypatch.setattr(sampling, "losses_at", lambda *_: np.array([0.5, 0.5 + noise]))
    monkeypatch.setattr(sampling, "excess_errors", lambda *_: exactly)
    e = doctored(two_tasks)
    tested = sampling.compared(two_tasks, [e.start, e.start], e, [])
    assert all(tested.hypotheses)
    if holds is None:
        with pytest.raises(UnmeasurableError, match="undecided with"):
            tested.measure()
    else:
        assert (tested.measure().margin > 0.0) == holds


def test_what_does_not_happen_in_time_fails(two_tasks: si.Problem) -> None:
    """No emergence, no escape: failures if the flow was long enough to see them, else not applicable."""
    weights = si.Factored(1e-6, 1e-6)
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    stuck = doctored(two_tasks)
    object.__setattr__(stuck.flow, "forecast", tuple(replace(f, time=3.0) for f in stuck.flow.forecast))
    frozen = replace(stuck.flow.trajectory, x=0 * stuck.flow.trajectory.x + stuck.flow.trajectory.x[0])
    object.__setattr__(stuck.flow, "trajectory", replace(frozen, dense=0 * frozen.dense))
    stuck.flow.__dict__.pop("phases", None)
    phases = trial("three-phases", stuck)
    assert all(met for _, met in (*phases.needs, *phases.supposes))
    assert phases.measure().margin < 0.0
    for t_end, claim in ((15.0, "three-phases"), (40.0, "escape-rate")):
        found = only(
            two_tasks,
            start,
            claim,
            parametrization=weights if "escape" in claim else si.Balanced(),
            t_end=t_end,
        )
        assert found.verdict is NOT_APPLICABLE
        assert "beyond the predicted time" in found.reason


def test_a_close_race_is_judged_where_the_flow_rests() -> None:
    """Two heads share a task at its first lull; the one that leads holds it in the end."""
    p = si.Problem.multitask(
        task_sizes=(2, 10, 20, 1),
        signal=(1.984, 0.962, 1.504, 0.438),
        noise=(0.0, 0.1, 0.1, 0.0),
        context_length=1000.0,
        covariance=(2.0, 1.0, 0.5, 2.0),
    )
    omega = 1e-5 * np.array(
        [
            [1.165, 54.18, 105.1, 143.0],
            [67.05, 81.26, 70.12, 93.1],
            [67.12, 0.084, 1.955, 142.9],
            [66.45, 81.18, 105.2, 95.3],
        ]
    )
    mu = 1e-3 * np.array(
        [
            [1.222, 5.002, 7.313, 1.660],
            [2.834, 7.838, 6.682, 0.243],
            [2.848, 4.221, 5.203, 1.652],
            [0.219, 7.799, 7.350, 0.339],
        ]
    )
    found = check(p, omega, mu, claims=["task-allocation", "convergence-to-limit"])
    assert [c.verdict for c in found] == [HOLDS, HOLDS]


@pytest.mark.parametrize("length", [1e7, 1e12])
def test_tiny_excess_keeps_its_digits(length: float) -> None:
    p = si.Problem.multitask(task_sizes=(3, 3), signal=1.0, noise=0.0, context_length=length)
    start = si.initial.dominant(p, 2)
    assert only(p, start, "head-budget").verdict is HOLDS
    for claim in ("optimality", "convergence-to-limit"):
        found = only(p, start, claim)
        assert found.verdict is NOT_APPLICABLE
        assert found.reason.startswith("not measured: ")


def test_what_says_nothing_is_not_passed() -> None:
    """A flow that goes nowhere, and tasks of which one head less reaches the bound already."""
    still = si.Problem.multitask(task_sizes=(4,), signal=1.0, noise=0.1, context_length=50)
    for claim in ("monotone-loss", "length-generalisation", "decomposability-preserved"):
        found = only(still, (np.zeros((2, 1)), np.zeros((2, 1))), claim)
        assert found.verdict is NOT_APPLICABLE
        assert "lowers the excess" in found.reason
    same = si.Problem(block_sizes=(4,), signal=((1.0,), (1.0,)), noise=0.1, context_length=50)
    found = only(same, si.initial.dominant(same, 2), "superposition")
    assert "linearly independent" in found.reason
    signs = only(still, ([[1e-3], [-1e-3]], [[5e-3], [-4e-3]]), "convergence-to-limit")
    assert "one sign" in signs.reason


def test_bad_arguments(two_tasks: si.Problem) -> None:
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    for options, message in (
        ({"claims": ["optimality", "magic"]}, r"claims\[1\]: expected one of 'decomposability-preserved'"),
        ({"claims": []}, "claims: expected claim names"),
        ({"prompts": 5}, "prompts: expected a whole number >= 100"),
        ({"seed": -1}, "seed: expected"),
        ({"kernel": "finite"}, "kernel: expected one of 'asymptotic', 'first-order', 'exact'"),
        ({"t_end": 0.0}, "t_end: expected a number > 0"),
        ({"rtol": 1.0}, "rtol: expected"),
        ({"parametrization": "balanced"}, "parametrization: expected Balanced"),
    ):
        with pytest.raises(si.ProblemError, match=message):
            check(two_tasks, *start, **options)  # type: ignore[arg-type]
    with pytest.raises(si.ProblemError, match="problem: expected a Problem"):
        check("p", *start)  # type: ignore[arg-type]


def test_prompts_too_long_to_sample_are_said(two_tasks: si.Problem) -> None:
    long = replace(two_tasks, context_length=1e6)
    found = only(long, si.initial.paper(long, 2, 0.1, 0.1, 0.2), "kernel-validity")
    assert found.verdict is NOT_APPLICABLE
    assert "covariates to sample" in found.reason
    with pytest.raises(si.ProblemError, match="context_length: expected L d <="):
        softmax.losses(long, [si.initial.paper(long, 2, 0.1, 0.1, 0.2)], 100, 0)


@pytest.mark.parametrize("kernel", ["asymptotic", "first-order"])
@pytest.mark.parametrize("noise", [0.09, 1e4])
def test_zero_weights_pass_nothing(kernel: str, noise: float) -> None:
    """Also in noise that hides all differences of totals; what is about optima is about no start."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=noise, context_length=100)
    for found in check(p, np.zeros((2, 2)), np.zeros((2, 2)), kernel=kernel, prompts=500):
        about_optima = found.claim in OF_NO_START
        assert found.verdict is NOT_APPLICABLE or about_optima, found
        assert found.claim != "head-budget" or (found.verdict is HOLDS) == (noise < 1.0)


def test_noise_does_not_hide_a_wrong_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An excess that is 1 % off fails, though the totals agree to a part in 10^5."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=1e4, context_length=1e6)
    start = si.initial.dominant(p, 2)
    assert only(p, start, "convergence-to-limit").verdict is HOLDS
    limit = evidence.BENCHMARKS["head_per_task"].of(p)
    wrong = replace(limit, task_loss=limit.task_loss + 0.01 * (limit.task_loss - 1e4))
    assert wrong.task_loss.sum() == pytest.approx(limit.task_loss.sum(), rel=1e-5)
    monkeypatch.setattr(evidence.Evidence, "limit", wrong)
    assert only(p, start, "convergence-to-limit").verdict is FAILS


def test_rest_waits_for_what_decays_algebraically() -> None:
    """In long prompts omega of other blocks decays as 1/t, and the excess as t^-2."""
    p = si.Problem.multitask(task_sizes=(8, 8), signal=1e-3, noise=0.0, context_length=8e5)
    start = si.initial.dominant(p, 2, 1e-3)
    rates = si.gradient_flow(p, *start, t_end=1e14, stationary=evidence.REST)
    ratio = si.optimal.excess(p, rates.final_loss) / si.optimal.excess(p, si.optimal.lower_bound(p).loss)
    assert ratio > 2.7184 > np.e  # no rate is above 1e-12, and it is not there yet
    for claim in ("optimality", "convergence-to-limit"):
        found = only(p, start, claim)
        assert found.verdict is HOLDS
        assert found.measured == pytest.approx(found.predicted, rel=1e-8)
    assert only(p, start, "optimality").measured == pytest.approx(2.7182351, abs=1e-7)


@pytest.mark.parametrize(
    ("sizes", "signal", "noise", "length", "imbalance", "start"),
    [
        ((16, 4), (0.21, 0.49), (0.068, 0.408), 4744.0, 2.4e-4, (0.02, 0.66, 256)),
        ((2, 29), (4.59, 1.41), (0.201, 0.481), 749.0, 5.7e-5, (0.015, 0.35, 982)),
    ],
)
def test_a_rate_that_settles_late_breaks_a_hypothesis(
    sizes: tuple[int, ...],
    signal: tuple[float, ...],
    noise: tuple[float, ...],
    length: float,
    imbalance: float,
    start: tuple[float, float, int],
) -> None:
    """The rival takes another task meanwhile, and its omega decays: the prediction is more than 10 % late."""
    p = si.Problem.multitask(task_sizes=sizes, signal=signal, noise=noise, context_length=length)
    weights = si.Factored(imbalance, imbalance)
    found = only(p, si.initial.dominant(p, 2, *start), "escape-rate", parametrization=weights)
    assert found.verdict is NOT_APPLICABLE
    assert "the rate settles early" in found.reason
    assert found.measured < 0.9 * found.predicted


@pytest.mark.parametrize("starts", [6, slow(60)])
def test_dominant_starts_under_the_first_order_law(starts: int) -> None:
    """The flow ends in its own law's head-per-task limit, with the leaders, above its own bound."""
    rng = np.random.default_rng(23)
    chosen = ["convergence-to-limit", "task-allocation", "optimality", "monotone-loss", "single-vs-multi"]
    applied = 0
    for seed in range(starts):
        p, heads = random_disjoint(rng)
        start = si.initial.dominant(p, heads, scale=1e-3, margin=2.0, seed=seed)
        for found in check(p, *start, claims=[*chosen, "head-budget"], kernel="first-order"):
            assert found.verdict is not FAILS, (seed, found)
            applied += found.verdict is HOLDS
    assert applied >= 4 * starts


def test_a_flow_that_left_its_law_is_no_evidence() -> None:
    """Its loss falls without bound in a finite time, where no two integrations agree."""
    p = si.Problem.multitask(task_sizes=(13,), signal=1.0, noise=0.1, context_length=1.0)
    start = np.array([[0.2], [0.05]]), np.array([[0.3], [-0.1]])
    weights = si.Factored(1e-3, 1e-3)
    found = check(
        p, *start, parametrization=weights, kernel="first-order", claims=["imbalance-conservation"]
    )[0]
    assert found.verdict is NOT_APPLICABLE
    assert "solved to its end" in found.reason


def test_the_factor_e_is_of_the_asymptotic_law() -> None:
    """At d = 10, L = 1e4 the ratio is below e under one law, and above it under the other, as predicted."""
    p = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=1e4)
    start = si.initial.dominant(p, 1)
    paper, first = (
        check(p, *start, claims=["optimality"], kernel=kernel)[0] for kernel in ("asymptotic", "first-order")
    )
    assert paper.verdict is first.verdict is HOLDS
    assert paper.measured < np.e < first.measured
    assert first.measured == pytest.approx(2.967, abs=1e-3)
    assert "e bounds it under the asymptotic law only" in first.reason


def test_escapes_are_on_time_under_the_first_order_law(two_tasks: si.Problem) -> None:
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    weights = si.Factored(1e-8, 1e-8)
    (found,) = check(two_tasks, *start, claims=["escape-rate"], parametrization=weights, kernel="first-order")
    assert found.verdict is HOLDS
    assert found.measured == pytest.approx(found.predicted, rel=0.05)


def in_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no flow keep all of its steps, whatever its size."""
    solve = partial(gradient_flow, dense_output=False)
    monkeypatch.setattr(evidence, "gradient_flow", solve)


def test_a_flow_that_is_kept_in_outline_has_the_same_verdicts(
    two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    whole = check(two_tasks, *start, prompts=500)
    in_outline(monkeypatch)
    outlined = check(two_tasks, *start, prompts=500)
    for one, other in zip(whole, outlined, strict=True):
        assert (one.claim, one.verdict) == (other.claim, other.verdict)
    measured = {c.claim: c.measured for c in whole}
    for found in outlined:
        if found.claim == "imbalance-conservation":  # not of the start alone, where nothing has moved
            assert found.measured == pytest.approx(measured[found.claim], rel=0.5)
        if found.claim in ("convergence-to-limit", "task-allocation", "three-phases", "optimality"):
            assert found.measured == pytest.approx(measured[found.claim], rel=1e-4)


def test_an_outline_that_rises_or_whose_signs_change_is_refuted(
    two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_outline(monkeypatch)
    curve = gradient_flow(two_tasks, *si.initial.dominant(two_tasks, 2), dense_output=False)
    outline = curve.trajectory
    assert isinstance(outline, Outline)
    losses, states = outline.losses.copy(), outline.states.copy()
    losses[losses.shape[0] // 2] *= 1.01
    states[states.shape[0] // 2, 0] *= -1.0
    spoilt = replace(curve, trajectory=replace(outline, losses=losses, states=states))
    monkeypatch.setattr(evidence, "gradient_flow", lambda *args, **options: spoilt)
    start = si.initial.dominant(two_tasks, 2)
    for claim in ("monotone-loss", "sign-conservation"):
        assert only(two_tasks, start, claim, t_end=200.0).verdict is FAILS, claim


def test_an_escape_is_not_looked_for_between_states_that_are_not_kept(
    two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_outline(monkeypatch)
    start = si.initial.dominant(two_tasks, 2)
    found = only(two_tasks, start, "escape-rate", parametrization=si.Factored(1e-6, 1e-6), t_end=100.0)
    assert found.verdict is NOT_APPLICABLE
    assert "the flow is small enough to be kept whole" in found.reason


def test_what_fading_omega_have_is_the_same_in_pieces(
    two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    at = si.State(rng.normal(size=(3, 2)), rng.normal(size=(3, 2)))
    entries = np.argwhere(at.omega > -10.0)
    made = evidence.Evidence(two_tasks, at, si.Balanced(), 1.0, 1e-8, "asymptotic", 100, 0)
    whole = made._losses_without(at, entries)
    assert whole.size == 7
    assert whole[-1] == pytest.approx(si.loss(two_tasks, *at))
    without = at.omega.copy()
    without[tuple(entries[4])] = 0.0
    assert whole[4] == pytest.approx(si.loss(two_tasks, without, at.mu))
    for most in (1, 6, 12, 18, 36, 42):
        monkeypatch.setattr(evidence, "_MOST_AT_ONCE", most)
        np.testing.assert_array_equal(made._losses_without(at, entries), whole)


def test_many_heads_and_tasks_are_checked_and_told_in_a_line() -> None:
    """No claim fails, and none is told in more than a few hundred letters."""
    p = si.Problem.multitask(task_sizes=[5] * 20, signal=4.0, noise=0.1, context_length=2000)
    quick = [name for name in names() if name != "head-budget"]  # which searches for the best of 20 heads
    found = check(p, *si.initial.dominant(p, 20, 0.01, 1.0), claims=quick, prompts=100, rtol=1e-6)
    assert not [c for c in found if c.verdict is FAILS]
    held = {c.claim for c in found if c.verdict is HOLDS}
    assert {"monotone-loss", "sign-conservation", "convergence-to-limit", "task-allocation"} <= held
    assert max(len(c.reason) for c in found) < 300


def test_weights_too_small_to_move_are_not_at_rest(two_tasks: si.Problem) -> None:
    """Zero weights are a saddle: near them the gradient is below any tolerance."""
    omega, mu = si.initial.dominant(two_tasks, 2, 1e-3)
    chosen = ["convergence-to-limit", "task-allocation", "optimality", "separation-factor"]
    for found in check(two_tasks, 1e-11 * omega, 1e-11 * mu, claims=chosen):
        assert found.verdict is NOT_APPLICABLE
        assert "the flow was followed to rest" in found.reason
