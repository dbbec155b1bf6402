"""What is said of a law's error is true of softmax attention: by exact quadrature, and by sampled prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from exact_law import task_losses
from weights import slow

import spectral_icl as si
from spectral_icl.multitask import softmax
from spectral_icl.multitask.accuracy import Terms, terms
from spectral_icl.multitask.state import State

LAWS = ["asymptotic", "first-order"]
SIZES, LENGTHS = (1, 2, 5, 10, 20, 50), (10, 40, 100, 1e3, 1e4)
NODES = {1: 32, 2: 7, 3: 5}  # of the quadrature over the query, by blocks
LEVELS = {"accurate": 0.1, "approximate": 0.5, "unreliable": np.inf, "invalid": np.inf}


class Claims(NamedTuple):
    """True relative errors and their estimates, of the excess and of the noise term, each (2, T)."""

    true: np.ndarray
    estimate: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        return np.isfinite(self.estimate)

    def hold(self, slack: float = 1e-6) -> np.ndarray:
        """Whether a finite estimate is an upper bound, to 2 % of it."""
        return ~self.finite | (self.true <= 1.02 * self.estimate + slack)


def parts(problem: si.Problem, at: State) -> Terms:
    return terms(problem, at.omega[None], at.mu[None])


def claims(problem: si.Problem, states: list[State], law: str) -> Claims:
    """What is claimed of a law at some states, and what is true of it by quadrature."""
    rows = []
    for at in states:
        found, exact = parts(problem, at), excess(problem, at)
        unread = 1.0 - at.mu.T @ (np.array(problem.covariance) * at.omega)
        noise = exact - (np.array(problem.signal) * unread**2).sum()
        gap = abs(si.loss(problem, *at, law) - sum(problem.noise) - exact)
        rows.append(
            [[gap / exact, gap / abs(noise)], [found.excess_error(law)[0], found.noise_error(law)[0]]]
        )
    true, estimate = np.array(rows).transpose(1, 2, 0)
    return Claims(true, estimate)


_known: dict[bytes, float] = {}


def excess(problem: si.Problem, at: State) -> float:
    """The excess of softmax attention; two laws are held against it, so it is kept."""
    key = repr(problem).encode() + at.omega.tobytes() + at.mu.tobytes()
    if key not in _known:
        # half the digits of the quadrature are enough where there are pairs of heads, and six times as fast
        fine = 1.0 if len(at.omega) == 1 else 0.6
        losses = task_losses(problem, *at, nodes=NODES[problem.blocks], fine=fine)
        _known[key] = losses.sum() - sum(problem.noise)
    return _known[key]


def one_task(size: int, length: float) -> si.Problem:
    return si.Problem(block_sizes=(size,), signal=((1.0,),), noise=0.1, context_length=length)


def two_tasks(size: int, length: float) -> si.Problem:
    return si.Problem.multitask(
        task_sizes=(size, 2 * size), signal=(1.0, 1.5), noise=(0.1, 0.3), context_length=length
    )


def along_flows(problems: list[si.Problem], law: str, times: int) -> Claims:
    """The claims at some times of flows from start to end; the flows' levels are asserted on the way."""
    found = []
    for p in problems:
        start = si.initial.dominant(p, heads=p.tasks, scale=0.02)
        flow = si.gradient_flow(p, *start, t_end=1e6 * p.block_sizes[0], kernel=law)
        chosen = np.unique(np.linspace(0, flow.t.size - 1, times).astype(int))
        states = [State(flow.omega[n], flow.mu[n]) for n in chosen]
        found.append(claims(p, states, law))
        level = flow.saturation.level
        assert found[-1].true[0].max() <= LEVELS[level], (p, level)
        assert flow.saturation.excess_error >= 0.999 * found[-1].estimate[0].max()
    return Claims(*(np.concatenate(part, axis=1) for part in zip(*found, strict=True)))


@pytest.mark.parametrize("law", LAWS)
def test_one_task(law: str) -> None:
    """At every size and length, from start to end: bounds, most of them finite, and half of them tight."""
    found = along_flows([one_task(d, L) for d in SIZES for L in LENGTHS], law, 4)
    assert found.hold().all()
    # at infinity there is one coordinate of a law that overshoots 2 omega^2 = 1, and short contexts
    assert found.finite.mean() > {"asymptotic": 0.7, "first-order": 0.9}[law]
    known = found.finite & (found.true > 1e-6)
    ratio = found.estimate[known] / found.true[known]
    assert np.median(ratio) < {"asymptotic": 1.15, "first-order": 1.7}[law]
    assert np.quantile(ratio, 0.9) < 5.0


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    ("sizes", "lengths", "times"), [((2, 10, 50), (10, 1e3), 3), slow(SIZES, LENGTHS, 6)]
)
def test_two_tasks(sizes: tuple[int, ...], lengths: tuple[float, ...], times: int, law: str) -> None:
    found = along_flows([two_tasks(d, L) for d in sizes for L in lengths], law, times)
    assert found.hold().all()
    known = found.finite & (found.true > 1e-6)
    assert known.mean() > 0.5
    assert np.median(found.estimate[known] / found.true[known]) < 2.3


def drawn(seed: int) -> tuple[si.Problem, State]:
    """Heads of either sign, overlapping tasks and uneven covariates, far from what a flow would find.

    A third each have values of OV at random, best under the asymptotic law, and best under the first-order
    law, so that heads cancel.
    """
    rng = np.random.default_rng(seed)
    blocks, heads, tasks = rng.integers(1, 4), rng.integers(1, 4), rng.integers(1, 3)
    if blocks == 3:
        heads = min(heads, 2)
    signal = rng.lognormal(0.0, 1.0, (tasks, blocks)) * (rng.random((tasks, blocks)) < 0.6)
    signal[np.arange(tasks), rng.integers(0, blocks, tasks)] += 0.5
    kappa = rng.uniform(0.4, 2.0, blocks)
    size = np.exp(rng.uniform(0.0, np.log(60.0), blocks)).astype(int)
    p = si.Problem(
        block_sizes=tuple(size.tolist()),
        signal=signal,
        noise=tuple(rng.lognormal(-1.0, 1.0, tasks)),
        context_length=np.exp(rng.uniform(np.log(10.0), np.log(1e5))),
        covariance=tuple(kappa),
    )
    v = rng.normal(size=(heads, blocks))
    v *= np.sqrt(np.exp(rng.uniform(np.log(0.02), np.log(3.0))) / (v**2 @ size).max())
    omega = np.clip(v, -0.7, 0.7) / kappa
    kind = seed % 3
    if kind == 0:
        return p, State(omega, rng.normal(size=(heads, tasks)) / abs(v).mean())
    law, zero = LAWS[kind - 1], np.zeros((heads, tasks))
    slope = si.gradient(p, omega, zero, kernel=law).mu.ravel()
    hess = si.hessian(p, omega, zero, kernel=law)[omega.size :, omega.size :]
    return p, State(omega, -np.linalg.lstsq(hess, slope, rcond=1e-9)[0].reshape(heads, tasks))


@pytest.mark.parametrize("count", [40, slow(400)])
def test_states_that_no_flow_visits(count: int) -> None:
    """Estimates cover the truth in all but a few states, and are not far below it in these.

    There are no bounds where the series is of no use; one state in 200 was measured. Where the second term
    happens to vanish has a test of its own.
    """
    known = missed = 0
    for seed in range(count):
        p, at = drawn(seed)
        for law in LAWS:
            found = claims(p, [at], law)
            assert (~found.finite | (found.true <= 1.6 * found.estimate + 1e-6)).all(), (seed, law, found)
            known += found.finite.all()
            missed += not found.hold().all()
    assert missed <= 0.01 * known
    assert known > 1.5 * count


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    "at",
    [
        (one_task(1, 1e4), State(np.array([[0.708]]), np.array([[1.0]]))),
        (one_task(1, 1e12), State(np.array([[-1.5]]), np.array([[-1.0]]))),
        (
            replace(two_tasks(20, 1e6), covariance=(0.5, 2.0)),
            State(np.array([[0.01, 0.02], [0.1, 0.36]]), np.array([[1.0, 0.1], [0.0, 1.0]])),
        ),
    ],
)
def test_beyond_the_range_it_does_not_know(at: tuple[si.Problem, State], law: str) -> None:
    """Where 2 (kappa omega)^2 >= 1 the first-order law does not exist, at any length."""
    p, state = at
    found = parts(p, state)
    assert ((np.array(p.covariance) * state.omega) ** 2).max() >= 0.5
    assert found.excess_error(law)[0] == found.noise_error(law)[0] == np.inf
    inside = State(0.2 * state.omega, state.mu)
    assert np.isfinite(parts(p, inside).excess_error(law)[0])


WITHOUT_A_SECOND_TERM = [  # problems and states at which the term of order 1/L^2 changes sign
    (
        {
            "block_sizes": (46,),
            "signal": ((2.4995064517930680,), (1.1718885755999640,)),
            "covariance": 0.8938461461702221,
        }
        | {"noise": (1.4938988348839526, 0.42775015231463276), "context_length": 1351.0286852821991},
        [[-0.03178550609213239], [-0.2325571538458022]],
        [[-0.1253889416805077, -0.12846022753436634], [0.3421487096856453, 0.35052932505641626]],
    ),
    (
        {"block_sizes": (54,), "signal": ((0.5,),), "covariance": 1.9352574127562896}
        | {"noise": 0.2324828539016268, "context_length": 78.50317520308984},
        [[0.061319900961081635], [0.0664259922654853], [0.01653103166547629]],
        [[9.298293602646725], [-7.473342074681213], [-1.804553730267009]],
    ),
    (
        {
            "block_sizes": (30, 3),
            "signal": ((0.501947291853331, 3.701096491647041), (0.0, 0.8649268059587427)),
        }
        | {"covariance": (1.7252643811790316, 1.9453555994634324)}
        | {"noise": (3.212047187594738, 0.5166520092727543), "context_length": 681.0093902460244},
        [[-0.10809997050080836, 0.1820015705011209]],
        [[-0.9550667065725102, -1.1513250852321661]],
    ),
]


@pytest.mark.parametrize(("problem", "omega", "mu"), WITHOUT_A_SECOND_TERM)
def test_a_second_term_of_zero_is_not_an_error_of_zero(
    problem: dict[str, Any], omega: list[list[float]], mu: list[list[float]]
) -> None:
    """What follows has to count. There is no bound on it, so a percent of the noise term is allowed for.

    By the next term and the square of the tail, the first of these had 1 % where the truth is 82 %.
    """
    found = claims(si.Problem(**problem), [State(np.array(omega), np.array(mu))], "first-order")
    assert found.hold(0.01).all(), found


@pytest.mark.parametrize(
    ("size", "length", "law", "seed"),
    [
        (10, 1000, "asymptotic", 1),
        (5, 400, "first-order", 2),
        (20, 100, "asymptotic", 3),
        (5, 100, "first-order", 4),
    ],
)
def test_sampled_softmax(size: int, length: int, law: str, seed: int) -> None:
    """At the end of a flow, with errors of sampling in place of those of a quadrature.

    The null: the law's excess is within its estimated error of softmax attention's. A claim that is just true
    fails by three standard errors for one seed in 740, so of the four of them one does at most one time in
    180, whatever the seeds.
    """
    p = one_task(size, length)
    flow = si.gradient_flow(p, *si.initial.dominant(p, heads=1), t_end=1e6 * size, kernel=law)
    at = State(flow.omega[-1], flow.mu[-1])
    sample = softmax.losses(p, [at], 2000, seed)
    excess, error = sample.mean[0] - sum(p.noise), sample.error[0]
    claim = parts(p, at).excess_error(law)[0]
    law_excess = si.loss(p, *at, law) - sum(p.noise)
    assert error < 0.05 * excess
    assert abs(law_excess - excess) < claim * excess + 3.0 * (1.0 + claim) * error


def test_noise_that_is_lost_in_rounding_is_not_known() -> None:
    """Two heads of opposite sign cancel to nothing in e^357, which is not to have no OV value."""
    p = si.Problem(block_sizes=(1,), signal=((0.002,),), noise=0.01, context_length=22278, covariance=392.0)
    found = terms(p, [[0.0279], [0.0279]], [[1.4e-3], [-1.4e-3]])
    assert found.excess_error("asymptotic")[0] == np.inf
    nothing = terms(p, [[0.0279], [0.0279]], [[0.0], [0.0]])
    assert nothing.excess_error("asymptotic")[0] == 0.0
    assert nothing.excess_error("first-order")[0] == 0.0
