"""Linear algebra of small flows: the exact Jacobian and its Cholesky factor, on coupled entries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law, linear
from spectral_icl.kernels.charts import slope
from spectral_icl.kernels.cholesky import cholesky, cholesky_solve
from spectral_icl.kernels.compile import ALGEBRA, maker
from spectral_icl.kernels.law import serves
from spectral_icl.kernels.model import Floats, Ints

# An entry whose column of step times the Jacobian is below this acts on nothing.
_NEGLIGIBLE = 1e-18


class Dense(NamedTuple):
    """Room for matrices of all entries, at the last accepted state and of the step being tried."""

    root: Floats  # (N,) Q = s sqrt(P M), which makes the Jacobian similar to the symmetric -Q S Q
    down: Floats  # (N,) of coupled entries, into the coordinates where it is symmetric
    reach: Floats  # (N,) sums of the columns of the Jacobian
    rhs: Floats  # (N,) right-hand sides, and sums
    order: Ints  # (N,) coupled entries first, then idle ones
    coupled: Ints  # (1,) how many they are
    hess: Floats  # (N, N) Hessian S, upper triangle
    factor: Floats  # (N, N) Cholesky factor of 1 + step Q S Q on the coupled entries
    idle_rows: Floats  # (N, N) rows of the idle entries against the coupled ones


@maker
def dense_room(shape):
    """Room for flows of a shape."""
    heads, blocks, tasks = shape
    size = heads * (blocks + tasks)
    return Dense(
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.zeros((size, size)),
        np.empty((size, size)),
        np.empty((size, size)),
    )


@serves(linear.prepare, Dense, fastmath=ALGEBRA)
def _prepare(room, model, chart, work, mixed):
    # dx/dt = -P s grad has the Jacobian J = -P s S s M: speeds P, signs s, M = |dtheta/dx|. Its spectral
    # radius is bounded by the rows of |Q S Q|.
    hess, root, reach, rows = room.hess, room.root, room.reach, room.rhs
    size = root.size
    law.hessian(model, work.theta.omega, work.theta.mu, work.scratch, hess)
    for n in range(size):
        root[n] = chart.sign[n] * np.sqrt(chart.speed[n] * slope(chart, work.theta.flat, n, mixed))
        reach[n] = 0.0
        rows[n] = 0.0
    for i in range(size):
        row, size_i, speed_i = hess[i], abs(root[i]), chart.speed[i]
        by_speed, by_root = speed_i * abs(row[i]), size_i * abs(row[i])
        for j in range(i + 1, size):
            entry = abs(row[j])
            by_speed += chart.speed[j] * entry
            by_root += abs(root[j]) * entry
            reach[j] += speed_i * entry
            rows[j] += size_i * entry
        reach[i] += by_speed
        rows[i] += by_root
    largest = 0.0
    for n in range(size):
        reach[n] *= slope(chart, work.theta.flat, n, mixed)
        largest = max(largest, rows[n] * abs(root[n]))
    return largest


@serves(linear.factorise, Dense, fastmath=ALGEBRA)
def _factorise(room, model, chart, step, work):
    # Entries whose column of the Jacobian is below rounding (the mu of losing heads, all but vanished) act
    # on nothing and are followed by substitution: ``order`` lists the coupled entries first, then the idle
    # ones, and ``idle_rows`` holds step * P s S Q of the idle ones against the coupled ones.
    hess, root, order = room.hess, room.root, room.order
    factor, idle_rows = room.factor, room.idle_rows
    size = root.size
    coupled = np.int64(0)
    idle = size
    for n in range(size):
        # of a speed and a slope so small that their product is zero, the root is
        if root[n] != 0.0 and step * room.reach[n] > _NEGLIGIBLE:
            order[coupled] = n
            coupled += 1
        else:
            idle -= 1
            order[idle] = n
    for p in range(coupled):
        i = order[p]
        row, from_row = factor[p], hess[i]
        scale = step * root[i]
        for r in range(p, coupled):
            j = order[r]
            row[r] = scale * from_row[j] * root[j]
        row[p] += 1.0
        room.down[p] = abs(root[i]) / chart.speed[i]
    for p in range(coupled, size):
        i = order[p]
        scale = step * chart.speed[i] * chart.sign[i]
        for r in range(coupled):
            j = order[r]
            entry = hess[i, j] if i <= j else hess[j, i]
            idle_rows[p, r] = scale * entry * root[j]
    room.coupled[0] = coupled
    return coupled == 0 or cholesky(factor, coupled)


@serves(linear.solve, Dense, fastmath=ALGEBRA)
def _solve(room, model, work, stage):
    order, down, idle_rows, rhs = room.order, room.down, room.idle_rows, room.rhs
    coupled = room.coupled[0]
    for p in range(coupled):
        rhs[p] = stage[order[p]] * down[p]
    cholesky_solve(room.factor, coupled, rhs)
    for p in range(coupled):
        stage[order[p]] = rhs[p] / down[p]
    for p in range(coupled, order.size):
        row = idle_rows[p]
        pull = 0.0
        for r in range(coupled):
            pull += row[r] * rhs[r]
        stage[order[p]] -= pull
    return True


@serves(linear.products, Dense)
def _products(room):
    return 0
