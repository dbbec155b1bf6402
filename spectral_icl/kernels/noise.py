"""Second moments over prompts of a prompt's gradient, averaged over its labels, at decomposable weights.

Given the covariates and the query, whatever a gradient is made of is linear in the labels of one task: what a
head reads, r = sum_l p_l y_l, what its tilt reads, and the error e of the prediction. Labels are Gaussian, so
that the mean of e c e c' is E[e^2] E[c c'] + 2 E[e c] E[e c'], and only covariates are drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, entry, inner
from spectral_icl.kernels.model import Floats, Ints


class Regression(NamedTuple):
    """The law of labels given covariates."""

    block: Ints  # (d,) of every coordinate
    first: Ints  # (B,) the first coordinate of every block
    sizes: Floats  # (B,)
    prior: Floats  # (I, B) variance of a task's coefficient
    noise: Floats  # (I,)
    hidden: Floats  # (I,) noise of the query's label, which no prediction can know


class Moments(NamedTuple):
    """Sums over prompts, for each of K states. Heads are h and k, tasks i and j, blocks b and c."""

    gradient: Floats  # (K, N, N) of g g', by one entry of a block of W (averaged over the block), then by mu
    mean: Floats  # (K, N) of g
    error: Floats  # (K, I) of e_i^2, hidden noise included
    read: Floats  # (K, I, H, H) of r_i^h r_i^k
    crossed: Floats  # (K, I, I, H, H) of (2 e_i)^2 r_j^h r_j^k: by U_ij of two heads
    swapped: Floats  # (K, I, I, H, H) of 4 e_i r_j^h e_j r_i^k: by U_ij and U_ji
    stray: Floats  # (K, B, B, H, H) of the gradient by an entry of W off its diagonal, row in b, column in c
    bend: Floats  # (K, B, B, H, H) of the curvature by it


class Room(NamedTuple):
    """Work arrays of one prompt and state; its F readings are H of labels, H B of tilts, H B of entries."""

    looked: Floats  # (L, B) x_l . q over the coordinates of a block
    attention: Floats  # (H, L)
    weight: Floats  # (F, L) how much each reading is of every label
    pulled: Floats  # (F, d) and so of every coefficient
    noisy: Floats  # (F, F) sum_l weight weight
    joint: Floats  # (F, F) E of two readings, of one task
    against: Floats  # (I, F) E[e_i c]
    error: Floats  # (I,) E[e_i^2]
    read: Floats  # (I, H, H)
    slope: Floats  # (N,) E[g]
    single: Floats  # (B, H, H) of the gradient by single entries, without the query
    stretch: Floats  # (B, H, H) of its curvature
    lean: Floats  # (B, H) E of the gradient by single entries
    square: Floats  # (B,) sum of q^2 over a block


@entry(fastmath=ALGEBRA, slow=True)
def add_moments(
    regression: Regression, omega: Floats, mu: Floats, x: Floats, query: Floats, out: Moments
) -> None:
    """Add prompts, covariates (n, L, d) and queries (n, d), to the sums at states (K, H, B), (K, H, I)."""
    states, heads, blocks = omega.shape
    tasks, (length, size) = mu.shape[2], x.shape[1:]
    rows = heads * (1 + 2 * blocks)
    room = Room(
        np.empty((length, blocks)),
        np.empty((heads, length)),
        np.empty((rows, length)),
        np.empty((rows, size)),
        np.empty((rows, rows)),
        np.empty((rows, rows)),
        np.empty((tasks, rows)),
        np.empty(tasks),
        np.empty((tasks, heads, heads)),
        np.empty(heads * (blocks + tasks)),
        np.empty((blocks, heads, heads)),
        np.empty((blocks, heads, heads)),
        np.empty((blocks, heads)),
        np.empty(blocks),
    )
    for n in range(len(x)):
        _look(regression, x[n], query[n], room)
        for k in range(states):
            _read(regression, omega[k], x[n], room)
            room.slope[:] = 0.0
            room.single[:] = 0.0
            room.stretch[:] = 0.0
            room.lean[:] = 0.0
            for i in range(tasks):
                _join(regression, mu[k], query[n], i, room)
                _add_task(mu[k], i, room, out, k)
            _add_pairs(regression, mu[k], query[n], room, out, k)


@inner(fastmath=ALGEBRA)
def _look(regression, x, query, room):
    """Fill what all states share: x_l . q of every block, and |q_b|^2."""
    block = regression.block
    room.square[:] = 0.0
    for j in range(query.size):
        room.square[block[j]] += query[j] * query[j]
    for row in range(len(x)):
        looked, covariates = room.looked[row], x[row]
        looked[:] = 0.0
        for j in range(query.size):
            looked[block[j]] += covariates[j] * query[j]


@inner(fastmath=ALGEBRA)
def _read(regression, omega, x, room):
    """Fill the readings of every head: as weights of the labels, of the coefficients, and their products."""
    heads, blocks = omega.shape
    length, weight = len(x), room.weight
    for h in range(heads):
        p = room.attention[h]
        most = -np.inf
        for row in range(length):
            logit = 0.0
            for b in range(blocks):
                logit += omega[h, b] * room.looked[row, b]
            p[row] = logit
            most = max(most, logit)
        total = 0.0
        for row in range(length):
            p[row] = np.exp(p[row] - most)
            total += p[row]
        for row in range(length):
            p[row] /= total
            weight[h, row] = p[row]
        for b in range(blocks):
            tilt, alone = weight[heads + h * blocks + b], weight[heads * (1 + blocks) + h * blocks + b]
            first, size = regression.first[b], regression.sizes[b]
            mean, mean_alone = 0.0, 0.0
            for row in range(length):
                mean += p[row] * room.looked[row, b]
                mean_alone += p[row] * x[row, first]
            for row in range(length):
                tilt[row] = p[row] * (room.looked[row, b] - mean) / size
                alone[row] = p[row] * (x[row, first] - mean_alone)
    for f in range(len(weight)):
        pulled, by_label = room.pulled[f], weight[f]
        pulled[:] = 0.0
        for row in range(length):
            share, covariates = by_label[row], x[row]
            for j in range(pulled.size):
                pulled[j] += share * covariates[j]
        for g in range(f + 1):
            other, product = weight[g], 0.0
            for row in range(length):
                product += by_label[row] * other[row]
            room.noisy[f, g] = product
            room.noisy[g, f] = product


@inner(fastmath=ALGEBRA)
def _join(regression, mu, query, task, room):
    """Fill E of two readings of a task, of the error and a reading, and of the error's square."""
    block, prior, pulled, joint = regression.block, regression.prior[task], room.pulled, room.joint
    heads, noise = mu.shape[0], regression.noise[task]
    against = room.against[task]
    for f in range(len(pulled)):
        for g in range(f + 1):
            product = 0.0
            for j in range(query.size):
                product += prior[block[j]] * pulled[f, j] * pulled[g, j]
            product += noise * room.noisy[f, g]
            joint[f, g] = product
            joint[g, f] = product
    wanted = regression.hidden[task]
    for j in range(query.size):
        wanted += prior[block[j]] * query[j] * query[j]
    for f in range(len(pulled)):
        target, told = 0.0, 0.0
        for j in range(query.size):
            target += prior[block[j]] * pulled[f, j] * query[j]
        for h in range(heads):
            told += mu[h, task] * joint[f, h]
        against[f] = told - target
        if f < heads:  # E[e^2] = E[e yhat] - E[e y]
            wanted += mu[f, task] * (against[f] - target)
    room.error[task] = wanted
    for h in range(heads):
        for k in range(heads):
            room.read[task, h, k] = joint[h, k]


@inner(fastmath=ALGEBRA)
def _add_task(mu, task, room, out, state):
    """Add what is of one task alone, and note its part of what is summed over tasks before it is squared."""
    heads, tasks = mu.shape
    blocks = room.square.size
    joint, against, error = room.joint, room.against[task], room.error[task]
    both = heads * (1 + blocks)
    gradient = out.gradient[state]
    out.error[state, task] += error
    for f in range(both):
        h = f if f < heads else (f - heads) // blocks
        n = heads * blocks + h * tasks + task if f < heads else f - heads
        scale = 2.0 if f < heads else 2.0 * mu[h, task]
        room.slope[n] += scale * against[f]
        for g in range(both):
            k = g if g < heads else (g - heads) // blocks
            m = heads * blocks + k * tasks + task if g < heads else g - heads
            other = 2.0 if g < heads else 2.0 * mu[k, task]
            gradient[n, m] += scale * other * (error * joint[f, g] + against[f] * against[g])
    for h in range(heads):
        for k in range(heads):
            out.read[state, task, h, k] += joint[h, k]
            weight = 2.0 * mu[h, task] * mu[k, task]
            for b in range(blocks):
                f, g = both + h * blocks + b, both + k * blocks + b
                room.stretch[b, h, k] += weight * joint[f, g]
                room.single[b, h, k] += 2.0 * weight * (error * joint[f, g] + against[f] * against[g])
    for h in range(heads):
        for b in range(blocks):
            room.lean[b, h] += 2.0 * mu[h, task] * against[both + h * blocks + b]


@inner(fastmath=ALGEBRA)
def _add_pairs(regression, mu, query, room, out, state):
    """Add what is made of two tasks, or of all."""
    heads, tasks = mu.shape
    blocks, slope, gradient = room.square.size, room.slope, out.gradient[state]
    for n in range(slope.size):
        out.mean[state, n] += slope[n]
        for m in range(slope.size):
            gradient[n, m] += slope[n] * slope[m]
    for i in range(tasks):
        for j in range(tasks):
            if i == j:
                continue
            for h in range(heads):
                for k in range(heads):
                    out.crossed[state, i, j, h, k] += 4.0 * room.error[i] * room.read[j, h, k]
                    out.swapped[state, i, j, h, k] += 4.0 * room.against[j, h] * room.against[i, k]
    for b in range(blocks):
        for c in range(blocks):
            count, square = regression.sizes[c], room.square[c]
            if b == c:  # without the entry on the diagonal
                count -= 1.0
                square -= query[regression.first[b]] ** 2
            if count == 0.0:
                continue
            for h in range(heads):
                for k in range(heads):
                    own = room.single[b, h, k] + room.lean[b, h] * room.lean[b, k]
                    out.stray[state, b, c, h, k] += own * square / count
                    out.bend[state, b, c, h, k] += room.stretch[b, h, k] * square / count
