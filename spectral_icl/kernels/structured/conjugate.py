"""Linear algebra of large flows: conjugate gradients on products with the Hessian.

The Jacobian J = -P s S s M (speeds P, signs s, M = |dtheta/dx|) is self-adjoint for the inner product with
weights M / P, and so is A = 1 - step J: conjugate gradients in that inner product need no Hessian, and no
square roots of entries that have all but vanished. What such entries do to others is nothing, and what others
do to them is had by substitution, which is the step that ends the iteration.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law, linear
from spectral_icl.kernels.charts import slope
from spectral_icl.kernels.compile import ALGEBRA, inner, maker
from spectral_icl.kernels.control import larger
from spectral_icl.kernels.field import Parts, parts_of
from spectral_icl.kernels.law import serves
from spectral_icl.kernels.model import Floats, Ints
from spectral_icl.kernels.structured.blocks import Blocks, block_room, factor_blocks, solve_blocks

# Stages reach the solution with factors of up to 6: of the tolerance there, this is some hundredths.
_PART = 2e-3
_COUPLES = 1e3  # times its own diagonal entry, up to where an error of an entry is one of others too
_ROUNDING = 1e-28  # squared, of what is left of a right-hand side
_MOST = 400  # products for one stage; a step that takes more is made smaller
_SWEEPS = 2  # of the power iteration in a step: its vector is kept from step to step


class Conjugate(NamedTuple):
    """Room for products at the last accepted state, and for what solves with them."""

    base: tuple[Floats, ...]  # of `spectral_icl.kernels.law`, at the last accepted state
    blocks: Blocks
    given: Parts  # a direction of theta
    got: Parts  # the Hessian's product with it
    curvature: Parts  # about the diagonal of the Hessian
    scale: Parts  # Q = s sqrt(P M), which makes the Jacobian similar to the symmetric -Q S Q
    root: Parts  # sqrt(M / P), into the coordinates where it is; 0 of entries that stand still
    strength: Parts  # about the diagonal of step Q S Q
    left: Parts  # what is left of the right-hand side
    better: Parts  # the same, preconditioned
    across: Floats  # (N,) s M
    metric: Floats  # (N,) M / P
    drive: Floats  # (N,) step P s
    bar: Floats  # (N,) reciprocal tolerances
    along: Floats  # (N,) search direction
    image: Floats  # (N,) A of it
    lead: Floats  # (N,) of the fastest mode
    counts: Ints  # (2,) products formed; whether there is a fastest mode


@maker
def conjugate_room(model, shape):
    """Room for flows of a model, of a shape."""
    heads, blocks, tasks = shape
    size = heads * (blocks + tasks)
    return Conjugate(
        law.scratch(model, shape),
        block_room(model, shape),
        parts_of(np.empty(size), shape),
        parts_of(np.empty(size), shape),
        parts_of(np.empty(size), shape),
        parts_of(np.empty(size), shape),
        parts_of(np.empty(size), shape),
        parts_of(np.empty(size), shape),
        parts_of(np.empty(size), shape),
        parts_of(np.empty(size), shape),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.zeros(2, dtype=np.int64),
    )


@inner(fastmath=ALGEBRA)
def _product(room, model, work):
    """Fill ``got`` with the Hessian's product with the direction ``given``."""
    law.product(
        model,
        work.theta.omega,
        work.theta.mu,
        room.base,
        room.given.omega,
        room.given.mu,
        room.got.omega,
        room.got.mu,
    )
    room.counts[0] += 1


@serves(linear.prepare, Conjugate, fastmath=ALGEBRA)
def _prepare(room, model, chart, work, mixed):
    # the field's own work arrays will be those of the stages
    omega, mu = work.theta.omega, work.theta.mu
    law.gradient(model, omega, mu, room.got.omega, room.got.mu, room.base)
    law.curvatures(model, omega, mu, room.base, room.curvature.omega, room.curvature.mu)
    for n in range(room.across.size):
        speed, size = chart.speed[n], slope(chart, work.theta.flat, n, mixed)
        room.across[n] = chart.sign[n] * size
        room.metric[n] = size / speed if speed > 0.0 else 0.0
        room.root.flat[n] = np.sqrt(room.metric[n])
        room.scale.flat[n] = chart.sign[n] * np.sqrt(speed * size)
    return _fastest(room, model, chart, work)


@inner(fastmath=ALGEBRA)
def _fastest(room, model, chart, work):
    """About the spectral radius of the Jacobian, by the power method."""
    lead, image, metric = room.lead, room.image, room.metric
    if room.counts[1] == 0:
        room.counts[1] = 1
        for n in range(lead.size):  # no direction that symmetry could hide
            lead[n] = (1.0 + 0.5 * np.sin(1.0 + n)) * chart.speed[n]
    radius = 0.0
    for _ in range(_SWEEPS):
        before = 0.0
        for n in range(lead.size):
            before += metric[n] * lead[n] * lead[n]
        if not before > 0.0:
            room.counts[1] = 0
            return 0.0
        scale = 1.0 / np.sqrt(before)
        for n in range(lead.size):
            room.given.flat[n] = room.across[n] * scale * lead[n]
        _product(room, model, work)
        after = 0.0
        for n in range(lead.size):
            image[n] = chart.speed[n] * chart.sign[n] * room.got.flat[n]
            after += metric[n] * image[n] * image[n]
        radius = np.sqrt(after)
        for n in range(lead.size):
            lead[n] = image[n]
    return radius


@serves(linear.factorise, Conjugate, fastmath=ALGEBRA)
def _factorise(room, model, chart, step, work):
    for n in range(room.drive.size):
        room.drive[n] = step * chart.speed[n] * chart.sign[n]
        own = abs(room.drive[n] * room.across[n])
        room.bar[n] = work.weights[n] * min(1.0, _COUPLES * own)
        room.strength.flat[n] = own * abs(room.curvature.flat[n]) if room.metric[n] > 0.0 else 0.0
    return factor_blocks(
        model, work.theta, room.base, step, room.strength, room.scale, room.root, room.blocks
    )


@serves(linear.solve, Conjugate, fastmath=ALGEBRA)
def _solve(room, model, work, stage):
    left, better, along, image = room.left.flat, room.better.flat, room.along, room.image
    metric, drive, given, got = room.metric, room.drive, room.given.flat, room.got.flat
    for n in range(stage.size):
        left[n] = stage[n]
        stage[n] = 0.0
        along[n] = 0.0
    before, begun = 1.0, 0.0
    for turn in range(_MOST):
        solve_blocks(model, room.root, room.left, room.better, room.blocks)
        worst, size = 0.0, 0.0
        for n in range(left.size):
            worst = larger(abs(better[n]) * room.bar[n], worst)
            size += metric[n] * left[n] * better[n]
        if turn == 0:
            begun = size
        if worst <= _PART or size <= _ROUNDING * begun:
            for n in range(stage.size):
                stage[n] += better[n]
            return True
        ratio = size / before if turn > 0 else 0.0
        before = size
        for n in range(along.size):
            along[n] = better[n] + ratio * along[n]
            given[n] = room.across[n] * along[n]
        _product(room, model, work)
        curvature = 0.0
        for n in range(along.size):
            image[n] = along[n] + drive[n] * got[n]
            curvature += metric[n] * along[n] * image[n]
        if not curvature > 0.0:
            return False
        length = size / curvature
        for n in range(stage.size):
            stage[n] += length * along[n]
            left[n] -= length * image[n]
    return False


@serves(linear.products, Conjugate)
def _products(room):
    return room.counts[0]
