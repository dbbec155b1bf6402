"""Sums over the nodes of the query that make the loss of the exact law and its derivatives.

`spectral_icl.kernels.exact` says what is summed. Sums over tasks are taken before those over nodes: with
Lam_b = sum_i mu_hi mu_ki A_ib / d_b and M_hk = sum_b rho_b Lam_b v_hb v_kb, a pair contributes

    Phi = S K + 2 M_hh K_al + 2 M_kk K_be + M_hk (K_ga + X),    S = sum_i mu_hi mu_ki s_i.

Of one problem the lanes of a vector are nodes; of many problems they are problems, and nodes come one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from spectral_icl.kernels.compile import ALGEBRA, INLINED, inner
from spectral_icl.kernels.lanes import LANES, WIDTH, as_lanes, everywhere, pick, where
from spectral_icl.kernels.model import Floats
from spectral_icl.kernels.surrogate import (
    AA,
    AAA,
    AAB,
    AAG,
    AB,
    ABB,
    ABG,
    AG,
    AGG,
    BB,
    BBB,
    BBG,
    BG,
    BGG,
    GG,
    GGG,
    HELD,
    HELD_1,
    HELD_2,
    VALUE,
    A,
    B,
    G,
    blank,
    pair,
    single,
)

_ROUNDED = 1.0 + 1e-12  # a start may have the largest variance


class Averages(NamedTuple):
    """Work arrays; all but the first two are of vectors of lanes, or of floats that are viewed as such."""

    v: Floats  # (H, B)
    joint: Floats  # (H (H + 1) / 2, 1 + B) S, then Lam_b
    outside: Floats  # (1,) infinite where a logit variance is past the table's reach, 0 elsewhere
    heads: Floats  # (H, HEAD) of `surrogate.single` at a node
    planes: Floats  # (4, 4) of `surrogate.pair`
    taylor: Floats  # (4, 4, 4)
    overlap: Floats  # (ROWS,) K and its derivatives at a node
    spare: Floats  # (ROWS,) X and its derivatives at a node
    by_v: Floats  # (H, B) gradient by v
    by_mu: Floats  # (H, I) bias part of the gradient by mu
    losses: Floats  # (I,) bias part of the losses
    moments: Floats  # (H (H + 1) / 2, 1 + 3 B) averages of K, rho_b K_al, rho_b K_be, rho_b (K_ga + X)
    pulled: Floats  # (H, B) sum_i (A_ib / d_b) rho_b r_ib mu_hi at a node, r_ib what is not read off
    along: Floats  # (4, B) directions at a node
    curvature: Floats  # (N, N) Hessian by v and mu


def collected(like: Any, value: Any) -> Any:
    """A sum over nodes whose terms are in its lanes, unless these are problems, as in the array ``like``."""
    raise NotImplementedError


@overload(collected, strict=False, jit_options=INLINED)
def _collected_of(like: Any, value: Any) -> Any:
    if like.dtype is LANES:
        return lambda like, value: value

    def total(like: Any, value: Any) -> Any:
        found = 0.0
        for lane in range(WIDTH):
            found += pick(value, lane)
        return found

    return total


@inner(fastmath=ALGEBRA)
def _begin(model, omega, mu, work):
    """Fill v, and S and Lam of every pair of heads."""
    heads, blocks = omega.shape
    for h in range(heads):
        for b in range(blocks):
            work.v[h, b] = model.kappa[b] * omega[h, b]
    work.outside[0] = everywhere(0.0)
    at = 0
    for h in range(heads):
        for k in range(h + 1):
            joint = work.joint[at]
            at += 1
            for n in range(1 + blocks):
                joint[n] = 0.0
            for i in range(mu.shape[1]):
                both = mu[h, i] * mu[k, i]
                joint[0] += both * model.variance[i]
                for n in range(model.count[i]):
                    b = model.block[i, n]
                    joint[1 + b] += both * model.share[i, b]


@inner(fastmath=ALGEBRA)
def _heads_at(model, rho, work):
    """Fill the rows of every head at a node, and note a logit variance past the table's reach."""
    v = work.v
    for h in range(v.shape[0]):
        variance = everywhere(0.0)
        for b in range(v.shape[1]):
            variance += rho[b] * (v[h, b] * v[h, b])
        work.outside[0] = where(variance > model.reach * _ROUNDED, np.inf, work.outside[0])
        single(model, variance, work.heads[h])


@inner(fastmath=ALGEBRA)
def _covariance(rho, left, right):
    value = everywhere(0.0)
    for b in range(left.size):
        value += rho[b] * (left[b] * right[b])
    return value


@inner(fastmath=ALGEBRA)
def _shared(rho, share, left, right):
    """M_hh, M_kk and M_hk of a pair of heads at a node, for signal of this share in each block."""
    own, other, both = everywhere(0.0), everywhere(0.0), everywhere(0.0)
    for b in range(left.size):
        scaled = rho[b] * share[b]
        own += scaled * (left[b] * left[b])
        other += scaled * (right[b] * right[b])
        both += scaled * (left[b] * right[b])
    return own, other, both


@inner(fastmath=ALGEBRA)
def _residual(mu, v, heads, i, b):
    """What task i does not read off in block b, 1 - sum_h mu_hi v_hb D_h."""
    read = everywhere(0.0)
    for h in range(v.shape[0]):
        read += (mu[h, i] * v[h, b]) * heads[h, HELD]
    return 1.0 - read


@inner(fastmath=ALGEBRA)
def _add_moments(rho, weight, overlap, spare, moments):
    """Add a node's part to the averages of a pair."""
    blocks = rho.size
    moments[0] += weight * overlap[VALUE]
    by_a, by_b, by_g = weight * overlap[A], weight * overlap[B], weight * (overlap[G] + spare[VALUE])
    for b in range(blocks):
        moments[1 + b] += rho[b] * by_a
        moments[1 + blocks + b] += rho[b] * by_b
        moments[1 + 2 * blocks + b] += rho[b] * by_g


@inner(fastmath=ALGEBRA)
def _spread(model, left, right, moments, i):
    """V of a pair and a task."""
    blocks = left.size
    value = model.variance[i] * collected(model.kappa, moments[0])
    for n in range(model.count[i]):
        b = model.block[i, n]
        own = left[b] * left[b] * collected(model.kappa, moments[1 + b])
        own += right[b] * right[b] * collected(model.kappa, moments[1 + blocks + b])
        both = left[b] * right[b] * collected(model.kappa, moments[1 + 2 * blocks + b])
        value += model.share[i, b] * (2.0 * own + both)
    return value


@inner(fastmath=ALGEBRA)
def fill_losses(model, omega, mu, work, out):
    """Fill ``out`` with the task losses."""
    heads, tasks = omega.shape[0], mu.shape[1]
    nodes, weights = as_lanes(model.rho), as_lanes(model.weight)
    v, moments, losses = work.v, work.moments, work.losses
    _begin(model, omega, mu, work)
    blank(moments)
    blank(losses)
    for n in range(weights.size):
        rho, weight = nodes[n], weights[n]
        _heads_at(model, rho, work)
        for i in range(tasks):
            for m in range(model.count[i]):
                b = model.block[i, m]
                left = _residual(mu, v, work.heads, i, b)
                losses[i] += (weight * rho[b] * model.share[i, b]) * left * left
        at = 0
        for h in range(heads):
            for k in range(h + 1):
                covariance = _covariance(rho, v[h], v[k])
                pair(model, work.heads[h], work.heads[k], covariance, 1, work)
                _add_moments(rho, weight, work.overlap, work.spare, moments[at])
                at += 1
    for i in range(tasks):
        value = collected(model.kappa, losses[i] + work.outside[0]) + model.noise[i]
        at = 0
        for h in range(heads):
            for k in range(h + 1):
                both = mu[h, i] * mu[k, i] * (2.0 if k < h else 1.0)
                value += both * _spread(model, v[h], v[k], moments[at], i)
                at += 1
        out[i] = where(value == value, value, np.inf)


@inner(fastmath=ALGEBRA)
def fill_gradient(model, omega, mu, grad_omega, grad_mu, work):
    """Fill the gradient."""
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    nodes, weights = as_lanes(model.rho), as_lanes(model.weight)
    v, moments, by_v, by_mu, pulled = work.v, work.moments, work.by_v, work.by_mu, work.pulled
    overlap, spare = work.overlap, work.spare
    _begin(model, omega, mu, work)
    blank(moments)
    blank(by_v)
    blank(by_mu)
    for n in range(weights.size):
        rho, weight = nodes[n], weights[n]
        _heads_at(model, rho, work)
        blank(pulled)
        for i in range(tasks):
            for m in range(model.count[i]):
                b = model.block[i, m]
                left = (weight * rho[b] * model.share[i, b]) * _residual(mu, v, work.heads, i, b)
                for h in range(heads):
                    pulled[h, b] += left * mu[h, i]
                    by_mu[h, i] -= (2.0 * v[h, b]) * left * work.heads[h, HELD]
        for h in range(heads):
            drawn = everywhere(0.0)
            for b in range(blocks):
                drawn += pulled[h, b] * v[h, b]
            drawn *= 2.0 * work.heads[h, HELD_1]
            for b in range(blocks):
                by_v[h, b] -= 2.0 * (pulled[h, b] * work.heads[h, HELD] + drawn * rho[b] * v[h, b])
        at = 0
        for h in range(heads):
            for k in range(h + 1):
                left, right, joint = v[h], v[k], work.joint[at]
                covariance = _covariance(rho, left, right)
                pair(model, work.heads[h], work.heads[k], covariance, 2, work)
                _add_moments(rho, weight, overlap, spare, moments[at])
                at += 1
                own, other, both = _shared(rho, joint[1:], left, right)
                tilt_a = joint[0] * overlap[A] + 2.0 * (own * overlap[AA] + other * overlap[AB])
                tilt_b = joint[0] * overlap[B] + 2.0 * (own * overlap[AB] + other * overlap[BB])
                tilt_g = joint[0] * overlap[G] + 2.0 * (own * overlap[AG] + other * overlap[BG])
                tilt_a += both * (overlap[AG] + spare[A])
                tilt_b += both * (overlap[BG] + spare[B])
                tilt_g += both * (overlap[GG] + spare[G])
                mixed = overlap[G] + spare[VALUE]
                for b in range(blocks):
                    twice = 2.0 * weight * rho[b]
                    shared = joint[1 + b] * mixed + tilt_g
                    for_left = tilt_a + (2.0 * joint[1 + b]) * overlap[A]
                    by_v[h, b] += twice * (2.0 * for_left * left[b] + shared * right[b])
                    if k < h:
                        for_right = tilt_b + (2.0 * joint[1 + b]) * overlap[B]
                        by_v[k, b] += twice * (2.0 * for_right * right[b] + shared * left[b])
    for h in range(heads):
        for b in range(blocks):
            grad_omega[h, b] = model.kappa[b] * collected(model.kappa, by_v[h, b] + work.outside[0])
        for i in range(tasks):
            grad_mu[h, i] = collected(model.kappa, by_mu[h, i])
    at = 0
    for h in range(heads):
        for k in range(h + 1):
            for i in range(tasks):
                spread = _spread(model, v[h], v[k], moments[at], i)
                grad_mu[h, i] += 2.0 * mu[k, i] * spread
                if k < h:
                    grad_mu[k, i] += 2.0 * mu[h, i] * spread
            at += 1


@inner(fastmath=ALGEBRA)
def _bend_of_bias(model, mu, rho, weight, work):
    """Add a node's bias to the Hessian, but for what pairs of heads share."""
    v, pulled, curvature = work.v, work.pulled, work.curvature
    heads, blocks = v.shape
    tasks = mu.shape[1]
    first_mu = heads * blocks
    blank(pulled)
    for i in range(tasks):
        for m in range(model.count[i]):
            b = model.block[i, m]
            left = (weight * rho[b] * model.share[i, b]) * _residual(mu, v, work.heads, i, b)
            for h in range(heads):
                pulled[h, b] += left * mu[h, i]
                at = first_mu + h * tasks + i
                curvature[h * blocks + b, at] -= 2.0 * left * work.heads[h, HELD]
                turned = (4.0 * v[h, b]) * left * work.heads[h, HELD_1]
                for c in range(blocks):
                    curvature[h * blocks + c, at] -= turned * rho[c] * v[h, c]
    for h in range(heads):
        drawn = everywhere(0.0)
        for b in range(blocks):
            drawn += pulled[h, b] * v[h, b]
        first, second = work.heads[h, HELD_1], drawn * work.heads[h, HELD_2]
        for b in range(blocks):
            own_b = 2.0 * rho[b] * v[h, b]
            for c in range(b, blocks):
                own_c = 2.0 * rho[c] * v[h, c]
                bent = first * (pulled[h, b] * own_c + pulled[h, c] * own_b) + second * own_b * own_c
                if c == b:
                    bent += 2.0 * drawn * first * rho[b]
                curvature[h * blocks + b, h * blocks + c] -= 2.0 * bent


@inner(fastmath=ALGEBRA)
def _bend_of_one(h, rho, twice, joint, own, across, phi, phi_aa, phi_ag, phi_gg, overlap, curvature):
    """Add what a pair contributes at a node twice by v of one of its heads.

    ``own`` and ``across`` are the derivatives by v of its own variance, a, and of the covariance, g; ``phi``
    are those of Phi, and ``overlap`` holds K_a, K_aa, K_ag and what K_ga + X has by a and by g.
    """
    blocks = rho.size
    by_a, by_aa, by_ag, mixed_a, mixed_g = overlap
    for b in range(blocks):
        row = curvature[h * blocks + b]
        ab, gb, lam_b = own[b], across[b], joint[1 + b]
        for c in range(b, blocks):
            ac, gc, lam_c = own[c], across[c], joint[1 + c]
            value = ab * ac * phi_aa + (ab * gc + gb * ac) * phi_ag + gb * gc * phi_gg
            value += 2.0 * (lam_b + lam_c) * (ab * ac * by_aa)
            value += ab * gc * (2.0 * lam_b * by_ag + lam_c * mixed_a)
            value += gb * ac * (2.0 * lam_c * by_ag + lam_b * mixed_a)
            value += (lam_b + lam_c) * (gb * gc * mixed_g)
            if c == b:
                value += 2.0 * rho[b] * (phi + 2.0 * lam_b * by_a)
            row[h * blocks + c] += twice * value


@inner(fastmath=ALGEBRA)
def _bend_of_pair(h, k, rho, weight, joint, work):
    """Add what a pair of heads, k <= h, contributes at a node to the Hessian by v."""
    v, curvature, along = work.v, work.curvature, work.along
    f, x = work.overlap, work.spare
    blocks = rho.size
    left, right = v[h], v[k]
    own, other, both = _shared(rho, joint[1:], left, right)
    for b in range(blocks):
        along[0, b] = 2.0 * rho[b] * left[b]  # of al by v_hb
        along[1, b] = 2.0 * rho[b] * right[b]  # of be by v_kb
        along[2, b] = rho[b] * right[b]  # of ga by v_hb
        along[3, b] = rho[b] * left[b]  # of ga by v_kb
    s, p, q = joint[0], 2.0 * own, 2.0 * other
    # derivatives of Phi by al, be and ga, at fixed M
    phi_a = s * f[A] + p * f[AA] + q * f[AB] + both * (f[AG] + x[A])
    phi_b = s * f[B] + p * f[AB] + q * f[BB] + both * (f[BG] + x[B])
    phi_g = s * f[G] + p * f[AG] + q * f[BG] + both * (f[GG] + x[G])
    phi_aa = s * f[AA] + p * f[AAA] + q * f[AAB] + both * (f[AAG] + x[AA])
    phi_ab = s * f[AB] + p * f[AAB] + q * f[ABB] + both * (f[ABG] + x[AB])
    phi_ag = s * f[AG] + p * f[AAG] + q * f[ABG] + both * (f[AGG] + x[AG])
    phi_bb = s * f[BB] + p * f[ABB] + q * f[BBB] + both * (f[BBG] + x[BB])
    phi_bg = s * f[BG] + p * f[ABG] + q * f[BBG] + both * (f[BGG] + x[BG])
    phi_gg = s * f[GG] + p * f[AGG] + q * f[BGG] + both * (f[GGG] + x[GG])
    mixed, mixed_a, mixed_b, mixed_g = f[G] + x[VALUE], f[AG] + x[A], f[BG] + x[B], f[GG] + x[G]
    held_h, held_k = work.heads[h, HELD], work.heads[k, HELD]
    turn_h, turn_k = work.heads[h, HELD_1], work.heads[k, HELD_1]
    twice = 2.0 * weight
    once = f[A], f[AA], f[AG], mixed_a, mixed_g
    _bend_of_one(h, rho, twice, joint, along[0], along[2], phi_a, phi_aa, phi_ag, phi_gg, once, curvature)
    if k < h:
        once = f[B], f[BB], f[BG], mixed_b, mixed_g
        _bend_of_one(k, rho, twice, joint, along[1], along[3], phi_b, phi_bb, phi_bg, phi_gg, once, curvature)
    for b in range(blocks):  # by v_hb and v_kc
        ab, gb, lam_b = along[0, b], along[2, b], joint[1 + b]
        for c in range(blocks):
            bc, gc, lam_c = along[1, c], along[3, c], joint[1 + c]
            value = ab * bc * phi_ab + ab * gc * phi_ag + gb * bc * phi_bg + gb * gc * phi_gg
            value += 2.0 * (lam_b + lam_c) * (ab * bc * f[AB])
            value += ab * gc * (2.0 * lam_b * f[AG] + lam_c * mixed_a)
            value += gb * bc * (2.0 * lam_c * f[BG] + lam_b * mixed_b)
            value += (lam_b + lam_c) * (gb * gc * mixed_g)
            value += (ab * bc * both) * (turn_h * turn_k)
            value += (lam_b * rho[b] * right[b]) * held_h * turn_k * bc
            value += (lam_c * rho[c] * left[c]) * held_k * turn_h * ab
            if c == b:
                value += rho[b] * (phi_g + lam_b * mixed + lam_b * held_h * held_k)
            value *= twice
            if k < h:
                curvature[k * blocks + c, h * blocks + b] += value
            elif c >= b:  # of a head with itself both orders fall on one entry, as they do in the bias
                curvature[h * blocks + b, h * blocks + c] += value


@inner(fastmath=ALGEBRA)
def _bend_by_both(model, mu, h, k, rho, weight, work):
    """Add what a pair of heads, k <= h, contributes at a node to the Hessian by v and mu."""
    v, curvature, along = work.v, work.curvature, work.along
    f, x = work.overlap, work.spare
    heads, blocks = v.shape
    tasks = mu.shape[1]
    first_mu = heads * blocks
    left, right = v[h], v[k]
    held_h, held_k = work.heads[h, HELD], work.heads[k, HELD]
    turn_h, turn_k = work.heads[h, HELD_1], work.heads[k, HELD_1]
    mixed = f[G] + x[VALUE]
    twice = 2.0 * weight
    for i in range(tasks):
        own, other, both = _shared(rho, model.share[i], left, right)
        s = model.variance[i]
        phi_a = s * f[A] + 2.0 * (own * f[AA] + other * f[AB]) + both * (f[AG] + x[A])
        phi_b = s * f[B] + 2.0 * (own * f[AB] + other * f[BB]) + both * (f[BG] + x[B])
        phi_g = s * f[G] + 2.0 * (own * f[AG] + other * f[BG]) + both * (f[GG] + x[G])
        spread = s * f[VALUE] + 2.0 * (own * f[A] + other * f[B]) + both * (mixed + held_h * held_k)
        at_h, at_k = first_mu + h * tasks + i, first_mu + k * tasks + i
        curvature[at_k, at_h] += twice * spread
        for c in range(blocks):
            lam = model.share[i, c]
            # V by v_hc and by v_kc, and what the read-off of one head loses by the other
            by_left = along[0, c] * (phi_a + 2.0 * lam * f[A]) + along[2, c] * (phi_g + lam * mixed)
            by_right = along[1, c] * (phi_b + 2.0 * lam * f[B]) + along[3, c] * (phi_g + lam * mixed)
            read_left = held_k * (lam * along[2, c] * held_h + both * turn_h * along[0, c])
            read_right = held_h * (lam * along[3, c] * held_k + both * turn_k * along[1, c])
            if k < h:
                curvature[h * blocks + c, at_h] += twice * (mu[k, i] * by_left)
                curvature[h * blocks + c, at_k] += twice * (mu[h, i] * (by_left + read_left))
                curvature[k * blocks + c, at_h] += twice * (mu[k, i] * (by_right + read_right))
                curvature[k * blocks + c, at_k] += twice * (mu[h, i] * by_right)
            else:
                curvature[h * blocks + c, at_h] += twice * (mu[h, i] * (2.0 * by_left + read_left))


@inner(fastmath=ALGEBRA)
def fill_hessian(model, omega, mu, work, out):
    """Fill the upper triangle of the Hessian."""
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    nodes, weights = as_lanes(model.rho), as_lanes(model.weight)
    v, curvature = work.v, work.curvature
    _begin(model, omega, mu, work)
    blank(curvature)
    for n in range(weights.size):
        rho, weight = nodes[n], weights[n]
        _heads_at(model, rho, work)
        _bend_of_bias(model, mu, rho, weight, work)
        at = 0
        for h in range(heads):
            for k in range(h + 1):
                covariance = _covariance(rho, v[h], v[k])
                pair(model, work.heads[h], work.heads[k], covariance, 3, work)
                _bend_of_pair(h, k, rho, weight, work.joint[at], work)
                _bend_by_both(model, mu, h, k, rho, weight, work)
                at += 1
    first_mu = heads * blocks
    size = first_mu + heads * tasks
    for m in range(size):
        scale_m = model.kappa[m % blocks] if m < first_mu else 1.0
        for n in range(m, size):
            value = collected(model.kappa, curvature[m, n])
            if n < first_mu:
                out[m, n] = scale_m * model.kappa[n % blocks] * value
            else:
                out[m, n] = scale_m * value
