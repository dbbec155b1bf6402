"""Paths of stochastic gradient descent in the spectral domain, one in each lane of the processor's vectors.

A step is that of the trained factors: K, Q of every block (a head's circuit has one value in a block), and
whole matrices O and V, whose products off the diagonal are what makes imbalances. Noise has the covariance
that is known along the flow without it, at the time of the step, scaled to the path's own errors and to what
its heads read, since tasks of a path emerge when they do and not when those of the flow do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import elementary, law
from spectral_icl.kernels.compile import ALGEBRA, entry, inner, maker
from spectral_icl.kernels.lanes import as_lanes, where
from spectral_icl.kernels.lanes import room as storage
from spectral_icl.kernels.model import Floats, Ints, Model

_TINY = 1e-300
_MOST = 1e4  # times the flow's mean square, which only a path has that has left all bounds


class Noise(NamedTuple):
    """Roots of covariances over prompts at K times, between which they are interpolated."""

    time: Floats  # (K,)
    entries: Floats  # (K, N, N) of the gradient by one entry of a block of W, averaged over it, and by mu
    pairs: Floats  # (K, M, 2 H, 2 H) of that by U_ij and U_ji of all heads, for the M pairs i < j
    curvature: Floats  # (K, I, H, H) of the loss by U_ij of two heads, for any other i
    error: Floats  # (K, I) mean square of what a prediction is off by
    read: Floats  # (K, H, I) that of what a head reads, to leading order in 1/L
    tilted: Floats  # (K, H, B) that of the gradient by omega, but for what is the same everywhere


class Labels(NamedTuple):
    """What the size of the noise depends on."""

    sizes: Floats  # (B,)
    kappa: Floats  # (B,)
    weight: Floats  # (B,) d_b kappa_b^2
    power: Floats  # (I, B)
    shared: Floats  # (I,) s_i / L
    known: Floats  # (I,) noise of the query's label that a loss has, and the training's error has not


class Factors(NamedTuple):
    """Trained weights of a path, or of one in each lane of a last axis; merged ones are key and value."""

    key: Floats  # (H, B)
    query: Floats  # (H, B)
    value: Floats  # (H, I, I)
    output: Floats  # (H, I, I)


class Rule(NamedTuple):
    """How a step is taken."""

    step: float
    key_scale: float
    root_batch: float  # root of the number of prompts
    merged: int  # whether W and U are trained themselves
    strays: int  # whether entries off the diagonals of O and V are


class Record(NamedTuple):
    """What is noted before the steps of some numbers, of one path or in a last axis of lanes."""

    step: Ints  # (R,)
    omega: Floats  # (R, H, B)
    mu: Floats  # (R, H, I)
    imbalance: Floats  # (R, H, I) of V V^T - O^T O, its diagonal


class Room(NamedTuple):
    """Work arrays of a step; those that lanes share are of numbers."""

    omega: Floats  # (H, B)
    mu: Floats  # (H, I)
    by_omega: Floats  # (H, B)
    by_mu: Floats  # (H, I)
    product: Floats  # (H, I, I) U
    slope: Floats  # (H, I, I) the gradient by U
    by_value: Floats  # (I, I)
    by_output: Floats  # (I, I)
    loss: Floats  # (I,)
    error: Floats  # (I,) mean square of errors, then its root over the flow's
    read: Floats  # (H, I) likewise of what heads read
    tilted: Floats  # (H, B) likewise of the gradient by omega


@maker
def _room(like, shape):
    heads, blocks, tasks = shape
    return Room(
        storage(like, (heads, blocks)),
        storage(like, (heads, tasks)),
        storage(like, (heads, blocks)),
        storage(like, (heads, tasks)),
        storage(like, (heads, tasks, tasks)),
        storage(like, (heads, tasks, tasks)),
        storage(like, (tasks, tasks)),
        storage(like, (tasks, tasks)),
        storage(like, (tasks,)),
        storage(like, (tasks,)),
        storage(like, (heads, tasks)),
        storage(like, (heads, blocks)),
    )


@inner(fastmath=ALGEBRA)
def _products(rule, key, query, value, output, room):
    """Fill omega, U and mu from the factors."""
    heads, tasks = value.shape[0], value.shape[1]
    for h in range(heads):
        for b in range(key.shape[1]):
            room.omega[h, b] = key[h, b] if rule.merged else rule.key_scale * key[h, b] * query[h, b]
        for i in range(tasks):
            for j in range(tasks):
                if rule.merged or not rule.strays:
                    if i == j:
                        whole = value[h, i, i]
                        room.product[h, i, i] = whole if rule.merged else output[h, i, i] * whole
                    else:
                        room.product[h, i, j] = 0.0 * value[h, i, i]
                    continue
                total = output[h, i, 0] * value[h, 0, j]
                for m in range(1, tasks):
                    total += output[h, i, m] * value[h, m, j]
                room.product[h, i, j] = total
            room.mu[h, i] = room.product[h, i, i]


@inner(fastmath=ALGEBRA)
def _note(record, row, rule, value, output, room):
    """Write a row of the record."""
    heads, tasks = room.mu.shape
    for h in range(heads):
        for b in range(room.omega.shape[1]):
            record.omega[row, h, b] = room.omega[h, b]
        for i in range(tasks):
            record.mu[row, h, i] = room.mu[h, i]
            if rule.merged:
                continue
            apart = value[h, i, i] * value[h, i, i] - output[h, i, i] * output[h, i, i]
            if rule.strays:
                for j in range(tasks):
                    if j != i:
                        apart += value[h, i, j] * value[h, i, j] - output[h, j, i] * output[h, j, i]
            record.imbalance[row, h, i] = apart


@inner(fastmath=ALGEBRA)
def _root_ratio(own, flow):
    """The root of a mean square over the flow's, up to a hundred; 0 where either is not positive."""
    most = _MOST * flow
    inside = where(own > most, most, own)
    return np.sqrt(where(inside > 0.0, inside, 0.0) / max(flow, _TINY))


@inner(fastmath=ALGEBRA)
def _fill_squares(labels, omega, mu, loss, error, read, tilted):
    """Fill the mean squares that noise goes by: of errors, of readings and of the gradient by omega."""
    (heads, blocks), tasks = omega.shape, mu.shape[1]
    for i in range(tasks):
        own = loss[i] - labels.known[i]
        error[i] = where(own > 0.0, own, 0.0)
    for h in range(heads):
        exponent = 0.0 * omega[h, 0]
        for b in range(blocks):
            exponent += labels.weight[b] * omega[h, b] * omega[h, b]
        tilt = elementary.exponential(exponent)
        for i in range(tasks):
            own = labels.shared[i] * tilt
            for b in range(blocks):
                signal = labels.kappa[b] * omega[h, b]
                own += labels.power[i, b] * signal * signal
            read[h, i] = own
        for b in range(blocks):
            own = 0.0 * tilt
            for i in range(tasks):
                size = labels.power[i, b] / labels.sizes[b] + labels.shared[i]
                own += size * mu[h, i] * mu[h, i] * error[i]
            tilted[h, b] = own


@entry(fastmath=ALGEBRA)
def mean_squares(
    labels: Labels, omega: Floats, mu: Floats, losses: Floats, error: Floats, read: Floats, tilted: Floats
) -> None:
    """Fill the mean squares of `Noise` at K states: error (K, I), read (K, H, I) and tilted (K, H, B)."""
    for k in range(len(omega)):
        _fill_squares(labels, omega[k], mu[k], losses[k], error[k], read[k], tilted[k])


@inner(fastmath=ALGEBRA)
def _scale(labels, noise, at, share, room):
    """Fill how large the noise is over that at the flow's state: the roots of ratios of mean squares."""
    (heads, blocks), tasks = room.omega.shape, room.mu.shape[1]
    _fill_squares(labels, room.omega, room.mu, room.loss, room.error, room.read, room.tilted)
    error, read, tilted = noise.error, noise.read, noise.tilted
    for i in range(tasks):
        flow = error[at, i] + share * (error[at + 1, i] - error[at, i])
        room.error[i] = _root_ratio(room.error[i], flow)
        for h in range(heads):
            flow = read[at, h, i] + share * (read[at + 1, h, i] - read[at, h, i])
            room.read[h, i] = _root_ratio(room.read[h, i], flow)
    for h in range(heads):
        for b in range(blocks):
            flow = tilted[at, h, b] + share * (tilted[at + 1, h, b] - tilted[at, h, b])
            room.tilted[h, b] = _root_ratio(room.tilted[h, b], flow)


@inner(fastmath=ALGEBRA)
def _shake(labels, noise, at, share, rule, normal, room):
    """Fill the gradient of a batch: that of the law by the diagonals, and noise everywhere."""
    heads, blocks = room.omega.shape
    tasks, size = room.mu.shape[1], room.by_omega.size + room.by_mu.size
    entries, after = noise.entries[at], noise.entries[at + 1]
    for n in range(size):
        shift = 0.0 * normal[0]
        for m in range(size):
            shift += (entries[n, m] + share * (after[n, m] - entries[n, m])) * normal[m]
        shift = shift / rule.root_batch
        if n < heads * blocks:
            h, b = n // blocks, n % blocks
            room.by_omega[h, b] = room.by_omega[h, b] / labels.sizes[b] + room.tilted[h, b] * shift
        else:
            h, i = (n - heads * blocks) // tasks, (n - heads * blocks) % tasks
            room.slope[h, i, i] = room.by_mu[h, i] + room.error[i] * room.read[h, i] * shift
    if not rule.strays:
        return
    first, pair = size, 0
    for i in range(tasks):
        for j in range(i + 1, tasks):
            roots, later = noise.pairs[at, pair], noise.pairs[at + 1, pair]
            for n in range(2 * heads):
                shift = 0.0 * normal[0]
                for m in range(2 * heads):
                    shift += (roots[n, m] + share * (later[n, m] - roots[n, m])) * normal[first + m]
                h, row, column = n % heads, i if n < heads else j, j if n < heads else i
                bend, bend_later = noise.curvature[at, column], noise.curvature[at + 1, column]
                pull = 0.0 * normal[0]
                for k in range(heads):
                    curved = bend[h, k] + share * (bend_later[h, k] - bend[h, k])
                    pull += curved * room.read[k, column] * room.product[k, row, column]
                noisy = room.error[row] * shift / rule.root_batch
                room.slope[h, row, column] = room.read[h, column] * (pull + noisy)
            first += 2 * heads
            pair += 1


@inner(fastmath=ALGEBRA)
def _move(rule, key, query, value, output, room):
    """Take the step."""
    heads, tasks = value.shape[0], value.shape[1]
    for h in range(heads):
        for b in range(key.shape[1]):
            change = rule.step * room.by_omega[h, b]
            if rule.merged:
                key[h, b] = key[h, b] - change
            else:
                change = rule.key_scale * change
                before = key[h, b]
                key[h, b] = before - change * query[h, b]
                query[h, b] = query[h, b] - change * before
        if rule.merged or not rule.strays:
            for i in range(tasks):
                change = rule.step * room.slope[h, i, i]
                before = value[h, i, i]
                if rule.merged:
                    value[h, i, i] = before - change
                else:
                    value[h, i, i] = before - change * output[h, i, i]
                    output[h, i, i] = output[h, i, i] - change * before
            continue
        for i in range(tasks):
            for j in range(tasks):
                by_value, by_output = 0.0 * rule.step * value[h, i, j], 0.0 * rule.step * value[h, i, j]
                for m in range(tasks):
                    by_value += output[h, m, i] * room.slope[h, m, j]
                    by_output += room.slope[h, i, m] * value[h, j, m]
                room.by_value[i, j] = by_value
                room.by_output[i, j] = by_output
        for i in range(tasks):
            for j in range(tasks):
                value[h, i, j] = value[h, i, j] - rule.step * room.by_value[i, j]
                output[h, i, j] = output[h, i, j] - rule.step * room.by_output[i, j]


@inner(fastmath=ALGEBRA)
def _descend(model, labels, factors, rule, noise, normals, first, record, room, work):
    """The steps of `descend_many`, of arrays of lanes or of numbers."""
    key, query, value, output = factors
    at = 0
    row = 0
    while row < record.step.size and record.step[row] < first:
        row += 1
    for s in range(len(normals)):
        _products(rule, key, query, value, output, room)
        while row < record.step.size and record.step[row] == first + s:
            _note(record, row, rule, value, output, room)
            row += 1
        time = rule.step * (first + s)
        while at < noise.time.size - 2 and noise.time[at + 1] <= time:
            at += 1
        share = min(1.0, (time - noise.time[at]) / (noise.time[at + 1] - noise.time[at]))
        law.task_loss(model, room.omega, room.mu, work, room.loss)
        law.gradient(model, room.omega, room.mu, room.by_omega, room.by_mu, work)
        _scale(labels, noise, at, share, room)
        _shake(labels, noise, at, share, rule, normals[s], room)
        _move(rule, key, query, value, output, room)


@maker
def _views(factors, record):
    """Factors and record as arrays of lanes."""
    key, query = as_lanes(factors.key), as_lanes(factors.query)
    value, output = as_lanes(factors.value), as_lanes(factors.output)
    omega, mu, imbalance = as_lanes(record.omega), as_lanes(record.mu), as_lanes(record.imbalance)
    return Factors(key, query, value, output), Record(record.step, omega, mu, imbalance)


@entry(slow=True)
def descend_many(
    model: Model,
    labels: Labels,
    factors: Factors,
    rule: Rule,
    noise: Noise,
    normals: Floats,
    first: int,
    record: Record,
) -> None:
    """Take the steps from the number ``first`` on, one for each row of standard normal numbers (S, M, WIDTH).

    The factors are changed in place; what the record asks of steps before the last is noted.
    """
    in_lanes, rows = _views(factors, record)
    (heads, blocks), tasks = in_lanes.key.shape, in_lanes.value.shape[1]
    lanes = law.everywhere_model(model)
    work = law.scratch(lanes, (heads, blocks, tasks))
    room = _room(in_lanes.key, (heads, blocks, tasks))
    _descend(lanes, labels, in_lanes, rule, noise, as_lanes(normals), first, rows, room, work)


@entry(slow=True)
def descend_alone(
    model: Model,
    labels: Labels,
    factors: Factors,
    rule: Rule,
    noise: Noise,
    normals: Floats,
    first: int,
    record: Record,
) -> None:
    """`descend_many` of one path, without the axis of lanes: for laws that use the lanes themselves."""
    (heads, blocks), tasks = factors.key.shape, factors.value.shape[1]
    work = law.scratch(model, (heads, blocks, tasks))
    room = _room(factors.key, (heads, blocks, tasks))
    _descend(model, labels, factors, rule, noise, normals, first, record, room, work)
