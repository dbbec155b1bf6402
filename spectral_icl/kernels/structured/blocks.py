"""The preconditioner: an incomplete Cholesky factor of the entries of each block and of each task.

Eliminated are first the omega of every block, H at a time, then the mu of every task; kept are the couplings
of a task with its own blocks. Of disjoint tasks this is the exact inverse of the 2H x 2H diagonal blocks. Of
overlapping ones it leaves out what the blocks of a task do to each other by the noise, and tasks that share a
block: once every task has its head, tasks in different heads hardly do. Only entries that a step moves by
more than `_COUPLED` of themselves take part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.cholesky import cholesky
from spectral_icl.kernels.compile import ALGEBRA, inner, maker
from spectral_icl.kernels.model import Floats, Ints
from spectral_icl.kernels.structured.side_by_side import (
    SideBySide,
    lie_side_by_side,
    put_side_by_side,
    side_by_side_room,
    solve_side_by_side,
)

_COUPLED = 1e-2
_MOST_HEADS = 128  # of one block or task: there are that many rows and columns of room


class Entries(NamedTuple):
    """The entries that take part, of each block or task in the order of its heads."""

    at: Ints  # (., K) in the flat state
    down: Floats  # (., K) into the coordinates where the matrix is symmetric
    up: Floats  # (., K) and back
    values: Floats  # (., K) what is being solved for


class Blocks(NamedTuple):
    """Factors, and the heads that take part in each."""

    heads_of_block: Ints  # (B, K), the first
    in_block: Ints  # (B,) of which
    heads_of_task: Ints  # (I, K)
    in_task: Ints  # (I,)
    block_entries: Entries
    task_entries: Entries
    of_blocks: Floats  # (B, K, K) upper factors, reciprocals on the diagonal, and in the end inverses
    of_tasks: Floats  # (I, K, K) of what is left of a task without its blocks
    links: Floats  # (M, K, K) the factor's rows of a block in the columns of a task, then the inverse's
    spare: Floats  # (K,)
    linked: Ints  # (I,) whether a task is coupled to its blocks
    side_by_side: SideBySide  # the same factors, of few heads


@maker
def _entries(count, most):
    return Entries(
        np.empty((count, most), dtype=np.int64),
        np.empty((count, most)),
        np.empty((count, most)),
        np.empty((count, most)),
    )


@maker
def block_room(model, shape):
    """Room for the factors of a model."""
    heads, blocks, tasks = shape
    most = min(heads, _MOST_HEADS)
    return Blocks(
        np.empty((blocks, most), dtype=np.int64),
        np.zeros(blocks, dtype=np.int64),
        np.empty((tasks, most), dtype=np.int64),
        np.zeros(tasks, dtype=np.int64),
        _entries(blocks, most),
        _entries(tasks, most),
        np.empty((blocks, most, most)),
        np.empty((tasks, most, most)),
        np.empty((model.power.size, most, most)),
        np.empty(most),
        np.zeros(tasks, dtype=np.int64),
        side_by_side_room(model, shape),
    )


@inner()
def _list(strengths, heads, listed):
    """Fill the heads whose strength is large, as many as there is room for, and return their number."""
    bar = _COUPLED
    count = heads + 1
    while count > listed.size:
        count = 0
        for h in range(heads):
            if strengths[h] > bar:
                if count < listed.size:
                    listed[count] = h
                count += 1
        bar *= 4.0
    return count


@inner(fastmath=ALGEBRA)
def _locate(entries, at, heads, count, first, stride, root):
    """Fill in where some heads' entries of block or task ``at`` are, and the way into and out of them."""
    for p in range(count):
        entries.at[at, p] = first + heads[p] * stride + at
        entries.down[at, p] = root[heads[p], at]
        entries.up[at, p] = 1.0 / root[heads[p], at]


@inner(fastmath=ALGEBRA)
def _made_symmetric(matrix, step, scale, heads, count, others, other_count, own):
    """Make a part of the Hessian that of 1 + step Q S Q; its upper triangle if ``own``."""
    rows, columns = scale
    for p in range(count):
        factor = step * rows[heads[p]]
        for q in range(p if own else 0, other_count):
            matrix[p, q] *= factor * columns[others[q]]
        if own:
            matrix[p, p] += 1.0


@inner(fastmath=ALGEBRA)
def factor_blocks(model, theta, base, step, strength, scale, root, room):
    """Factor the blocks of I + step Q S Q, and return whether they are positive definite.

    ``base`` are the law's work arrays at the state theta, after `law.curvatures`; ``strength`` (`Parts`) is
    by how much a step moves an entry; ``scale`` and ``root`` (`Parts`) are the diagonals of Q and of the map
    into the coordinates where the matrix is symmetric.
    """
    omega, mu = theta.omega, theta.mu
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    for b in range(blocks):
        listed = room.heads_of_block[b]
        count = _list(strength.omega[:, b], heads, listed)
        room.in_block[b] = count
        if count > 0:
            _locate(room.block_entries, b, listed, count, 0, blocks, root.omega)
            matrix, scales = room.of_blocks[b], scale.omega[:, b]
            law.within_block(model, omega, mu, base, b, listed, count, matrix)
            _made_symmetric(matrix, step, (scales, scales), listed, count, listed, count, True)
            if not cholesky(matrix, count):
                return False
    for i in range(tasks):
        listed = room.heads_of_task[i]
        count = _list(strength.mu[:, i], heads, listed)
        room.in_task[i] = count
        room.linked[i] = count
        if count == 0:
            continue
        _locate(room.task_entries, i, listed, count, heads * blocks, tasks, root.mu)
        matrix, scales = room.of_tasks[i], scale.mu[:, i]
        law.within_task(model, omega, mu, base, i, listed, count, matrix)
        _made_symmetric(matrix, step, (scales, scales), listed, count, listed, count, True)
        for n in range(model.first[i], model.first[i + 1]):
            b = model.block[n]
            above, rows = room.heads_of_block[b], room.in_block[b]
            if rows > 0:
                link = room.links[n]
                law.across(model, omega, mu, base, n, above, rows, listed, count, link)
                _made_symmetric(link, step, (scale.omega[:, b], scales), above, rows, listed, count, False)
                _eliminate(room.of_blocks[b], rows, link, count, matrix)
        if not cholesky(matrix, count):
            # what was left out may be what made it positive; a task without its blocks is a part of the whole
            room.linked[i] = 0
            law.within_task(model, omega, mu, base, i, listed, count, matrix)
            _made_symmetric(matrix, step, (scales, scales), listed, count, listed, count, True)
            if not cholesky(matrix, count):
                return False
    if lie_side_by_side(model, heads):
        put_side_by_side(room)
    else:
        _invert_blocks(model, room)
    return True


@inner(fastmath=ALGEBRA)
def _invert_blocks(model, room):
    """Put inverses in place of factors: they are applied many times, and their products wait for nothing."""
    for b in range(room.in_block.size):
        count = room.in_block[b]
        _invert_factor(room.of_blocks[b], count, room.spare)
        for m in range(model.start[b], model.start[b + 1]):
            n = model.order[m]
            columns = room.linked[model.task[n]]
            for p in range(count if columns > 0 else 0):
                row = room.links[n, p]
                own = room.of_blocks[b, p, p]
                for c in range(columns):
                    row[c] *= own
                for k in range(p + 1, count):
                    by, other = room.of_blocks[b, p, k], room.links[n, k]
                    for c in range(columns):
                        row[c] += by * other[c]
        _square(room.of_blocks[b], count)
    for i in range(room.in_task.size):
        _invert_factor(room.of_tasks[i], room.in_task[i], room.spare)
        _square(room.of_tasks[i], room.in_task[i])


@inner(fastmath=ALGEBRA)
def _invert_factor(factor, count, spare):
    """Put the inverse X of an upper factor, whose diagonal holds reciprocals, in its place."""
    for i in range(count - 1, -1, -1):
        row, own = factor[i], factor[i, i]
        for k in range(i + 1, count):
            spare[k] = row[k]
            row[k] = 0.0
        for k in range(i + 1, count):
            by, below = -own * spare[k], factor[k]
            for q in range(k, count):
                row[q] += by * below[q]


@inner(fastmath=ALGEBRA)
def _square(inverse, count):
    """Put X X^T, the inverse of the matrix itself, in the place of X."""
    for p in range(count):
        row = inverse[p]
        for q in range(p, count):
            other = inverse[q]
            total = 0.0
            for k in range(q, count):
                total += row[k] * other[k]
            row[q] = total
    for p in range(count):
        for q in range(p):
            inverse[p, q] = inverse[q, p]


@inner(fastmath=ALGEBRA)
def _eliminate(factor, rows, link, columns, matrix):
    """Make couplings those of the factor, U^-T of them, and take their products off the task's own block."""
    for k in range(rows):
        row, above = link[k], factor[k, k]
        for q in range(k):
            other, by = link[q], factor[q, k]
            for c in range(columns):
                row[c] -= by * other[c]
        for c in range(columns):
            row[c] *= above
    for k in range(rows):
        row = link[k]
        for p in range(columns):
            by, into = row[p], matrix[p]
            for q in range(p, columns):
                into[q] -= by * row[q]


@inner(fastmath=ALGEBRA)
def _applied(inverse, count, values, out):
    """Fill ``out`` with a symmetric matrix times some values."""
    for q in range(count):
        out[q] = 0.0
    for k in range(count):
        row, by = inverse[k], values[k]
        for q in range(count):
            out[q] += by * row[q]


@inner(fastmath=ALGEBRA)
def solve_blocks(model, root, given, out, room):
    """Fill ``out`` with the preconditioner's solution of ``given``, both `Parts` in dual coordinates."""
    if lie_side_by_side(model, given.omega.shape[0]):
        solve_side_by_side(root, given, out, room.side_by_side)
        return
    for n in range(out.flat.size):
        out.flat[n] = given.flat[n]
    above, below, found = room.block_entries, room.task_entries, room.spare
    for b in range(room.in_block.size):
        _begin(above, b, room.in_block[b], given.flat)
    for i in range(room.in_task.size):
        count, values = room.in_task[i], below.values[i]
        _begin(below, i, count, given.flat)
        if room.linked[i] > 0:
            for n in range(model.first[i], model.first[i + 1]):
                b = model.block[n]
                for k in range(room.in_block[b]):
                    row, by = room.links[n, k], above.values[b, k]
                    for q in range(count):
                        values[q] -= by * row[q]
        _applied(room.of_tasks[i], count, values, found)
        for q in range(count):
            values[q] = found[q]
        _end(below, i, count, found, out.flat)
    for b in range(room.in_block.size):
        count = room.in_block[b]
        _applied(room.of_blocks[b], count, above.values[b], found)
        for m in range(model.start[b], model.start[b + 1]):
            n = model.order[m]
            i = model.task[n]
            for k in range(count if room.linked[i] > 0 else 0):
                row, values = room.links[n, k], below.values[i]
                pull = 0.0
                for q in range(room.linked[i]):
                    pull += row[q] * values[q]
                found[k] -= pull
        _end(above, b, count, found, out.flat)


@inner(fastmath=ALGEBRA)
def _begin(entries, at, count, given):
    for p in range(count):
        entries.values[at, p] = given[entries.at[at, p]] * entries.down[at, p]


@inner(fastmath=ALGEBRA)
def _end(entries, at, count, found, out):
    for p in range(count):
        out[entries.at[at, p]] = found[p] * entries.up[at, p]
