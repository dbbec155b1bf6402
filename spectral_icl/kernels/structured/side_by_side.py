"""The factors of `spectral_icl.kernels.structured.blocks` of few heads and disjoint tasks, all at once.

A factor of four rows is four dependent divisions: block after block, most of the time is waiting. Here blocks
lie side by side, so that loops over them are vectors; heads that take no part are rows of the identity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, inner, maker
from spectral_icl.kernels.model import Floats

_FEW = 8  # heads, up to which all of a block are solved for


@inner()
def lie_side_by_side(model, heads):
    """Whether factors of so many heads are put side by side."""
    return model.aligned and heads <= _FEW


class SideBySide(NamedTuple):
    """Factors with the blocks or tasks along the last axis; of no heads where they are many."""

    of_blocks: Floats  # (H, H, B)
    of_tasks: Floats  # (H, H, I)
    links: Floats  # (H, H, M)
    blocks: Floats  # (H, B) what is being solved for
    tasks: Floats  # (H, I)
    in_blocks: Floats  # (H, B) whether an entry takes part: 1 or 0
    in_tasks: Floats  # (H, I)


@maker
def side_by_side_room(model, shape):
    """Room for the factors of a model."""
    heads, blocks, tasks = shape
    some = heads if lie_side_by_side(model, heads) else 0
    return SideBySide(
        np.empty((some, some, blocks)),
        np.empty((some, some, tasks)),
        np.empty((some, some, model.power.size)),
        np.empty((some, blocks)),
        np.empty((some, tasks)),
        np.empty((some, blocks)),
        np.empty((some, tasks)),
    )


@inner()
def _put(factors, heads, counts, into, part):
    """Put square factors, one for each block or task, side by side."""
    for p in range(part.shape[0]):
        for q in range(part.shape[0]):
            for b in range(counts.size):
                into[p, q, b] = 1.0 if p == q else 0.0
        for b in range(counts.size):
            part[p, b] = 0.0
    for b in range(counts.size):
        for p in range(counts[b]):
            part[heads[b, p], b] = 1.0
            for q in range(p, counts[b]):
                into[heads[b, p], heads[b, q], b] = factors[b, p, q]


@inner()
def put_side_by_side(room):
    """Put the factors of a room, which are of single blocks, side by side in it."""
    to = room.side_by_side
    _put(room.of_blocks, room.heads_of_block, room.in_block, to.of_blocks, to.in_blocks)
    _put(room.of_tasks, room.heads_of_task, room.in_task, to.of_tasks, to.in_tasks)
    links = to.links
    links[:, :, :] = 0.0
    for n in range(links.shape[2]):  # of block n and task n
        for p in range(room.in_block[n] if room.linked[n] > 0 else 0):
            for q in range(room.linked[n]):
                links[room.heads_of_block[n, p], room.heads_of_task[n, q], n] = room.links[n, p, q]


@inner(fastmath=ALGEBRA)
def _forward(factors, values):
    """Solve U^T y = values in place, of all blocks."""
    for k in range(values.shape[0]):
        own, inverse = values[k], factors[k, k]
        for b in range(own.size):
            own[b] *= inverse[b]
        for q in range(k + 1, values.shape[0]):
            other, factor = values[q], factors[k, q]
            for b in range(own.size):
                other[b] -= factor[b] * own[b]


@inner(fastmath=ALGEBRA)
def _backward(factors, values):
    """Solve U z = values in place, of all blocks."""
    for k in range(values.shape[0] - 1, -1, -1):
        own, inverse = values[k], factors[k, k]
        for q in range(k + 1, values.shape[0]):
            other, factor = values[q], factors[k, q]
            for b in range(own.size):
                own[b] -= factor[b] * other[b]
        for b in range(own.size):
            own[b] *= inverse[b]


@inner(fastmath=ALGEBRA)
def _given(given, root, values):
    for h in range(values.shape[0]):
        for b in range(values.shape[1]):
            values[h, b] = given[h, b] * root[h, b]


@inner(fastmath=ALGEBRA)
def _found(given, root, values, part, out):
    for h in range(values.shape[0]):
        for b in range(values.shape[1]):
            out[h, b] = values[h, b] / root[h, b] if part[h, b] > 0.0 else given[h, b]


@inner(fastmath=ALGEBRA)
def solve_side_by_side(root, given, out, room):
    """`spectral_icl.kernels.structured.blocks.solve_blocks`, of few heads."""
    heads = room.blocks.shape[0]
    _given(given.omega, root.omega, room.blocks)
    _given(given.mu, root.mu, room.tasks)
    _forward(room.of_blocks, room.blocks)
    for k in range(heads):
        above = room.blocks[k]
        for q in range(heads):
            link, values = room.links[k, q], room.tasks[q]
            for n in range(link.size):
                values[n] -= link[n] * above[n]
    _forward(room.of_tasks, room.tasks)
    _backward(room.of_tasks, room.tasks)
    for k in range(heads):
        above = room.blocks[k]
        for q in range(heads):
            link, values = room.links[k, q], room.tasks[q]
            for n in range(link.size):
                above[n] -= link[n] * values[n]
    _backward(room.of_blocks, room.blocks)
    _found(given.omega, root.omega, room.blocks, room.in_blocks, out.omega)
    _found(given.mu, root.mu, room.tasks, room.in_tasks, out.mu)
