"""Stages solved by conjugate gradients against dense solves, and what their room says of the Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compiled import plainly
from weights import slow

import spectral_icl as si
from spectral_icl.kernels import linear
from spectral_icl.kernels.control import weigh
from spectral_icl.kernels.dense import dense_room
from spectral_icl.kernels.field import slope_at
from spectral_icl.kernels.integrator import workspace
from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, Floats, System, frozen
from spectral_icl.kernels.structured import conjugate
from spectral_icl.kernels.structured.blocks import solve_blocks
from spectral_icl.kernels.tableaus import RODAS5P
from spectral_icl.multitask.context import OF_LARGE
from spectral_icl.multitask.parametrization import Parametrization, to_dual

RTOL = 1e-8
STAGES = len(RODAS5P.a)
FLAVOURS = [si.Balanced(0.2), si.Factored(0.02, 1e-3, 0.3), si.Merged()]

every_chart = pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
# what is compiled of the first-order law here takes as long as all else; its flows are held against others
every_law = pytest.mark.parametrize("kernel", ["asymptotic", slow("first-order")])


def disjoint() -> si.Problem:
    return si.Problem.multitask(
        task_sizes=(3, 5, 9, 4), signal=(1, 2, 3, 4), noise=0.2, context_length=60, covariance=(1, 2, 0.5, 1)
    )


def permuted() -> si.Problem:
    """Disjoint tasks whose blocks are in another order, and a block that no task has signal in."""
    rows = [[(2, 1.0)], [(0, 2.0)], [(3, 3.0)]]
    return si.Problem(block_sizes=(3, 5, 9, 4), signal=rows, noise=0.2, context_length=60)


def overlapping() -> si.Problem:
    rows = [[(0, 1.0), (1, 2.0)], [(1, 3.0), (2, 0.5), (3, 1.0)], [(0, 2.0)]]
    return si.Problem(block_sizes=(3, 5, 9, 4), signal=rows, noise=0.2, context_length=60)


every_problem = pytest.mark.parametrize("problem", [disjoint, permuted, overlapping])


def state(p: si.Problem, heads: int, seed: int) -> si.State:
    """Heads of mixed signs."""
    rng = np.random.default_rng(seed)
    omega = rng.choice([-1, 1], (heads, p.blocks)) * rng.uniform(0.05, 0.3, (heads, p.blocks))
    return si.State(omega, rng.normal(0, 1, (heads, p.tasks)))


def through(p: si.Problem, flavour: Parametrization, at: si.State, kernel: str) -> tuple[System, Floats]:
    """The flow through a state, and its dual coordinates."""
    chart = flavour.chart(p, at)
    x = to_dual(chart, at)
    model = frozen(OF_LARGE[kernel].pack(p))
    return System(model, chart, np.arange(x.size), (len(at.omega), p.blocks, p.tasks)), x


def jacobian(p: si.Problem, system: System, x: Floats, at: si.State, kernel: str) -> Floats:
    """The derivative of dx/dt = -P s grad, with dtheta/dx by the definition of the charts."""
    kind, scale, speed, sign = system.chart
    bent = [scale * np.exp(x), scale * np.cosh(x)]
    moved = np.select([kind == EXPONENTIAL, kind == HYPERBOLIC], bent, 1.0)
    jac: Floats = -(speed * sign)[:, None] * si.hessian(p, *at, kernel=kernel) * moved
    return jac


@plainly
def _stage(system, x, step, rtol, sweeps, rhs, whole):  # type: ignore[no-untyped-def]
    """Solve a stage of a step in place, or precondition it only if it is not to be done as a ``whole``.

    One function that returns numbers alone: to hand the room to Python and back takes a minute to compile.
    """
    work = workspace(system, x.size, STAGES)
    slope_at(system.model, system.chart, x, work.theta, work.grad, work.scratch, work.slope, True)
    weigh(system.chart, x, rtol, work.weights, True)
    radius = 0.0
    for _ in range(sweeps):
        radius = linear.prepare(work.linear, system.model, system.chart, work, True)
    definite = linear.factorise(work.linear, system.model, system.chart, step, work)
    room = work.linear
    partners = room.blocks.in_block.sum() + room.blocks.in_task.sum()
    before = linear.products(room)
    if definite and whole:
        definite = linear.solve(room, system.model, work, rhs)
    elif definite:
        room.left.flat[:] = rhs
        solve_blocks(system.model, room.root, room.left, room.better, room.blocks)
        rhs[:] = room.better.flat
    return radius, linear.products(room) - before, partners, definite


def solved(system: System, x: Floats, step: float, rhs: Floats, sweeps: int = 1) -> tuple[Floats, Any]:
    """The solution of a stage; the estimate of the radius, products, what takes part, and definiteness."""
    found = rhs.copy()
    return found, _stage(system, x, step, RTOL, sweeps, found, True)


def preconditioned(system: System, x: Floats, step: float, rhs: Floats) -> tuple[Floats, int]:
    """The preconditioner's solution, and how many entries take part in it."""
    better = rhs.copy()
    _, _, partners, definite = _stage(system, x, step, RTOL, 1, better, False)
    assert definite
    return better, partners


@every_law
@every_chart
@every_problem
@pytest.mark.parametrize("heads", [3, 10])
@pytest.mark.parametrize("faded", [0, 7])
def test_stages_are_solved_to_a_part_of_the_tolerance(
    kernel: str, flavour: Parametrization, problem: Callable[[], si.Problem], heads: int, faded: int
) -> None:
    """(1 - step J) y = r with J from the Hessian; some heads have all but vanished, and one is frozen."""
    p = problem()
    at = state(p, heads, faded)
    at.mu.ravel()[:faded] = 1e-40
    at.omega[2, 0] = 0.0
    system, x = through(p, flavour, at, kernel)
    jac = jacobian(p, system, x, at, kernel)
    step = min(0.05, 0.5 / np.linalg.eigvals(jac).real.max())  # this side of the pole of a growing mode
    matrix = np.eye(x.size) - step * jac
    # a stage of a flow: what stands still is not moved
    rhs = np.where(system.chart.speed > 0.0, np.random.default_rng(faded).normal(size=x.size), 0.0)
    found, (_, products, partners, definite) = solved(system, x, step, rhs)
    expected = np.linalg.solve(matrix, rhs)
    assert definite
    assert partners > 0
    assert products < x.size
    assert abs(found - expected).max() < RTOL  # rtol times at least 1 is the tolerance of an entry
    assert abs(found - rhs).max() > 1e-3  # which is not what a solver that does nothing would find


@every_chart
def test_the_preconditioner_of_disjoint_tasks_is_the_inverse_of_their_blocks(
    flavour: Parametrization,
) -> None:
    """Few heads side by side, and many block by block, as with the blocks in another order."""
    for problem, heads in ((disjoint, 4), (disjoint, 9), (permuted, 4)):
        p = problem()
        at = state(p, heads, 1)
        system, x = through(p, flavour, at, "asymptotic")
        jac = jacobian(p, system, x, at, "asymptotic")
        home = np.full(p.blocks, -1)
        home[list(p.home or ())] = np.arange(p.tasks)
        block_of = np.concatenate([np.tile(np.arange(p.blocks), heads), np.tile(p.home or (), heads)])
        own = np.where(block_of[:, None] == block_of[None, :], jac, 0.0)
        step = 0.9 / np.linalg.eigvals(own).real.max()  # as long as there is an inverse
        rhs = np.random.default_rng(2).normal(size=x.size)
        better, partners = preconditioned(system, x, step, rhs)
        part = better != rhs
        assert partners == part.sum() > x.size // 2
        kept = np.where(part[:, None] & part[None, :], np.eye(x.size) - step * own, np.eye(x.size))
        expected = np.linalg.solve(kept, rhs)
        np.testing.assert_allclose(better, expected, atol=1e-9 * abs(expected).max())


def test_an_entry_that_a_step_hardly_moves_takes_no_part() -> None:
    p, at = disjoint(), si.State(np.full((3, 4), 1e-6), np.full((3, 4), 1e-6))
    system, x = through(p, si.Balanced(), at, "asymptotic")
    rhs = np.arange(1.0, x.size + 1.0)
    found, (_, products, partners, definite) = solved(system, x, 0.05, rhs)
    assert (partners, definite) == (0, True)
    assert products <= 2
    np.testing.assert_allclose(found, rhs, rtol=1e-5)


@every_law
@every_chart
def test_the_radius_is_found_by_the_steps_of_a_flow(kernel: str, flavour: Parametrization) -> None:
    """The power method goes on from step to step, and never finds more than there is."""
    for seed in range(5):
        p = disjoint()
        at = state(p, 4, seed)
        system, x = through(p, flavour, at, kernel)
        radius = abs(np.linalg.eigvals(jacobian(p, system, x, at, kernel))).max()
        found = solved(system, x, 1e-3, np.zeros(x.size), sweeps=30)[1][0]
        assert 0.9 * radius < found < radius * (1.0 + 1e-9)


@every_law
@every_problem
def test_past_the_pole_on_a_growing_mode_the_matrix_is_not_definite(
    kernel: str, problem: Callable[[], si.Problem]
) -> None:
    p = problem()
    at = si.State(np.full((2, p.blocks), 0.05), np.full((2, p.tasks), 0.1))
    system, x = through(p, si.Balanced(), at, kernel)
    growing = np.linalg.eigvals(jacobian(p, system, x, at, kernel)).real.max()
    assert growing > 0.0
    rhs = np.random.default_rng(0).normal(size=x.size)
    for step, expected in ((0.99 / growing, True), (1.01 / growing, False)):
        assert solved(system, x, step, rhs)[1][3] == expected


@every_law
@pytest.mark.parametrize("heads", [3, 10])
def test_the_preconditioner_is_symmetric_and_positive(kernel: str, heads: int) -> None:
    """In the inner product that conjugate gradients need, also where tasks share blocks."""
    for problem in (disjoint, permuted, overlapping):
        p = problem()
        at = state(p, heads, 3)
        system, x = through(p, si.Balanced(), at, kernel)
        jac = jacobian(p, system, x, at, kernel)
        step = 0.5 / np.linalg.eigvals(jac).real.max()
        inverse = np.empty((x.size, x.size))
        for column, unit in zip(inverse.T, np.eye(x.size), strict=True):
            column[:] = preconditioned(system, x, step, unit)[0]
        root = np.sqrt(np.exp(x) / system.chart.speed)
        symmetric = root[:, None] * inverse / root
        np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-12 * abs(symmetric).max())
        assert np.linalg.eigvalsh(symmetric).min() > 0.0


def test_a_room_without_products_says_so() -> None:
    """The dense room forms the Hessian: `linear.products` counts none."""

    @plainly
    def counted(shape):  # type: ignore[no-untyped-def]
        return linear.products(dense_room(shape))

    assert counted((2, 2, 2)) == 0


def test_what_stages_are_off_by_is_small_at_the_end_of_a_step() -> None:
    """On y' = z y, z <= 0: a twentieth of a tolerance, were all stages off by what stops the iteration."""
    stages, gamma = len(RODAS5P.a), RODAS5P.gamma
    most = np.zeros(stages)
    for z in -np.concatenate([[0.0], np.geomspace(1e-4, 1e8, 1000)]):
        moved = np.zeros((stages, stages))  # increments by what each is off by
        for i in range(stages):
            moved[i] = gamma * (z * RODAS5P.a[i] + RODAS5P.c[i]) / (1.0 - gamma * z) @ moved
            moved[i, i] += 1.0
        most = np.maximum(most, abs(RODAS5P.a[-1] @ moved + moved[-1]))
    np.testing.assert_allclose(most, [0.6, 0.2, 6.3, 6.0, 3.7, 4.6, 1.0, 1.0], atol=0.06)
    assert conjugate._PART * most.sum() < 0.05
