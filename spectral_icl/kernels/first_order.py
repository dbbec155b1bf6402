"""The first-order law: complete to order 1/L at any dimension, where the asymptotic law needs large blocks.

With v_hb = kappa_b omega_hb and the read-off T_ib = sum_h mu_hi v_hb,

    loss_i = sum_b A_ib (1 - T_ib)^2 + (1/L) [ sum_hk mu_hi mu_ki N_hk,i + C_i ] + sigma_i^2,
    N_hk,i = P_hk [ s_i + sum_b A_ib v_hb v_kb t_hkb ],    t_hkb = 1 / (1 - 2 v_hb v_kb),
    C_i    = 2 sum_b A_ib (1 - T_ib) Z_ib,   Z_ib = sum_h mu_hi V_hb,   V_hb = P_hh t_hhb v_hb,

and P_hk = prod_b t_hkb^(d_b/2), the mean over the query of the asymptotic law's E_hk. N is the noise with the
second moment that labels have under the tilt by two heads, C the bias of a ratio of sums. All means exist,
and the law holds, where 2 v_hb^2 < 1 for every head and block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.dense import dense_room
from spectral_icl.kernels.elementary import exponential, log_one_plus
from spectral_icl.kernels.lanes import (
    blend,
    everywhere,
    in_every_lane,
    lane_array,
    lanes_like,
    load_lane,
    put,
    room,
    where,
)
from spectral_icl.kernels.law import serves
from spectral_icl.kernels.model import Floats, Ints


class FirstOrder(NamedTuple):
    """The packed problem of this law."""

    kappa: Floats  # (B,) covariate eigenvalues
    sizes: Floats  # (B,)
    signal: Floats  # (I, B)
    variance: Floats  # (I,) s_i = sum_b A_ib + sigma_i^2
    noise: Floats  # (I,)
    inverse_length: float | Floats  # 1 / L; (P,) of P problems
    count: Ints  # (I,) number of blocks that a task has signal in,
    block: Ints  # (I, B) these blocks, and what fills the row
    order: Ints  # (B,) blocks by size,
    last: Ints  # (B,) whether the next one in this order is of another size


class Moments(NamedTuple):
    """Work arrays of the gradient that the Hessian goes on from; names as in the module."""

    v: Floats  # (H, B)
    powers: Floats  # (H, H) P
    tilts: Floats  # (H, H, B) t
    spreads: Floats  # (H, H, I) N
    joints: Floats  # (H, H, B) sum_i A_ib mu_hi mu_ki
    totals: Floats  # (H, H) sum_i mu_hi mu_ki N_hk,i
    slopes: Floats  # (H, H, B) their derivatives by v_hb v_kb
    residuals: Floats  # (I, B) 1 - T
    shifts: Floats  # (I, B) Z
    drifts: Floats  # (H, B) V
    pulls: Floats  # (H, B) sum_i A_ib mu_hi (1 - T_ib)
    draws: Floats  # (H, 1) sum_b pulls_hb t_hhb v_hb
    exponents: Floats  # (H (H + 1) / 2,) of pairs k <= h side by side, vectors then: 2 log P, then P
    growths: Floats  # (H (H + 1) / 2,) prod (1 + x) - 1 of blocks of one size


@serves(law.scratch, FirstOrder, makes=True)
def _scratch(model, shape):
    heads, blocks, tasks = shape
    like = model.kappa
    return Moments(
        room(like, (heads, blocks)),
        room(like, (heads, heads)),
        room(like, (heads, heads, blocks)),
        room(like, (heads, heads, tasks)),
        room(like, (heads, heads, blocks)),
        room(like, (heads, heads)),
        room(like, (heads, heads, blocks)),
        room(like, (tasks, blocks)),
        room(like, (tasks, blocks)),
        room(like, (heads, blocks)),
        room(like, (heads, blocks)),
        room(like, (heads, 1)),
        room(like, (heads * (heads + 1) // 2,)),
        room(like, (heads * (heads + 1) // 2,)),
    )


@inner(fastmath=ALGEBRA)
def _average(model, omega, mu, work):
    """Fill what every pair of heads and every task needs: v, P, t and N; V, the residuals and Z.

    Past the range powers are NaN, and what is made of them.
    """
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    kappa, sizes, signal, variance = model.kappa, model.sizes, model.signal, model.variance
    count, block, order, last = model.count, model.block, model.order, model.last
    v, powers, tilts, spreads = work.v, work.powers, work.tilts, work.spreads
    residuals, shifts, drifts = work.residuals, work.shifts, work.drifts
    for h in range(heads):
        for b in range(blocks):
            v[h, b] = kappa[b] * omega[h, b]
    exponents, growths = work.exponents, work.growths
    for n in range(exponents.size):
        exponents[n] = growths[n] = 0.0
    for n in range(blocks):
        b = order[n]
        at = 0
        for h in range(heads):
            for k in range(h + 1):
                x = -2.0 * v[h, b] * v[k, b]
                growths[at] += x + x * growths[at]
                exponents[at] = where(x > -1.0, exponents[at], np.nan)
                tilts[h, k, b] = 1.0 / (1.0 + x)
                at += 1
        # blocks of one size share a logarithm: log(prod (1 + x)) = log1p(y), y built up without loss
        if last[n]:
            for at in range(exponents.size):
                exponents[at] -= sizes[b] * log_one_plus(growths[at])
                growths[at] = 0.0
    for at in range(exponents.size):
        exponents[at] = exponential(0.5 * exponents[at])
    at = 0
    for h in range(heads):
        left = v[h]
        for k in range(h + 1):
            right, tilt, power = v[k], tilts[h, k], exponents[at]
            at += 1
            powers[h, k] = power
            for i in range(tasks):
                moment = 0.0
                for n in range(count[i]):
                    b = block[i, n]
                    moment += signal[i, b] * left[b] * right[b] * tilt[b]
                spreads[h, k, i] = power * (variance[i] + moment)
            if k < h:
                powers[k, h] = power
                for b in range(blocks):
                    tilts[k, h, b] = tilt[b]
                for i in range(tasks):
                    spreads[k, h, i] = spreads[h, k, i]
        for b in range(blocks):
            drifts[h, b] = powers[h, h] * tilts[h, h, b] * left[b]
    for i in range(tasks):
        for n in range(count[i]):
            b = block[i, n]
            read, shift = 0.0, 0.0
            for h in range(heads):
                read += mu[h, i] * v[h, b]
                shift += mu[h, i] * drifts[h, b]
            residuals[i, b] = 1.0 - read
            shifts[i, b] = shift


@serves(law.task_loss, FirstOrder, fastmath=ALGEBRA)
def _task_loss(model, omega, mu, work, out):
    heads = omega.shape[0]
    signal, noises, inverse, count = model.signal, model.noise, model.inverse_length, model.count
    block = model.block
    spreads, residuals, shifts = work.spreads, work.residuals, work.shifts
    _average(model, omega, mu, work)
    for i in range(mu.shape[1]):
        bias, cross = 0.0, 0.0
        for n in range(count[i]):
            b = block[i, n]
            pull = signal[i, b] * residuals[i, b]
            bias += pull * residuals[i, b]
            cross += pull * shifts[i, b]
        spread = 0.0
        for h in range(heads):
            for k in range(heads):
                spread += mu[h, i] * mu[k, i] * spreads[h, k, i]
        value = bias + inverse * (spread + 2.0 * cross) + noises[i]
        out[i] = where(value == value, value, np.inf)


@serves(law.gradient, FirstOrder, fastmath=ALGEBRA, compiled=True)
def _gradient(model, omega, mu, grad_omega, grad_mu, work):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    _average(model, omega, mu, work)
    kappa, sizes, signal, inverse = model.kappa, model.sizes, model.signal, model.inverse_length
    count, block = model.count, model.block
    v, powers, tilts, spreads = work.v, work.powers, work.tilts, work.spreads
    joints, totals, slopes, residuals = work.joints, work.totals, work.slopes, work.residuals
    shifts, drifts, pulls, draws = work.shifts, work.drifts, work.pulls, work.draws
    for h in range(heads):
        for k in range(h + 1):
            total = 0.0
            for b in range(blocks):
                joints[h, k, b] = 0.0
            for i in range(tasks):
                both = mu[h, i] * mu[k, i]
                total += both * spreads[h, k, i]
                for n in range(count[i]):
                    b = block[i, n]
                    joints[h, k, b] += signal[i, b] * both
            totals[h, k] = total
            totals[k, h] = total
            for b in range(blocks):
                t = tilts[h, k, b]
                value = t * (sizes[b] * total + powers[h, k] * joints[h, k, b] * t)
                slopes[h, k, b] = value
                slopes[k, h, b] = value
                joints[k, h, b] = joints[h, k, b]
    for h in range(heads):
        for b in range(blocks):
            noise = 0.0
            for k in range(heads):
                noise += v[k, b] * slopes[h, k, b]
            grad_omega[h, b] = 2.0 * inverse * noise
            pulls[h, b] = 0.0
        for i in range(tasks):
            noise = 0.0
            for k in range(heads):
                noise += spreads[h, k, i] * mu[k, i]
            bias = 0.0
            for n in range(count[i]):
                b = block[i, n]
                pull = signal[i, b] * residuals[i, b]
                moved = pull + inverse * signal[i, b] * shifts[i, b]
                bias += moved * v[h, b] - inverse * pull * drifts[h, b]
                grad_omega[h, b] -= 2.0 * moved * mu[h, i]
                pulls[h, b] += pull * mu[h, i]
            grad_mu[h, i] = 2.0 * (inverse * noise - bias)
        drawn = 0.0
        for b in range(blocks):
            drawn += pulls[h, b] * tilts[h, h, b] * v[h, b]
        draws[h, 0] = drawn
        scale = 2.0 * inverse * powers[h, h]
        for b in range(blocks):
            t = tilts[h, h, b]
            bent = t * (1.0 + 2.0 * v[h, b] * v[h, b]) * pulls[h, b]
            cross = scale * t * (2.0 * sizes[b] * v[h, b] * drawn + bent)
            grad_omega[h, b] = kappa[b] * (grad_omega[h, b] + cross)


@serves(law.hessian, FirstOrder, fastmath=ALGEBRA, compiled=True)
def _hessian(model, omega, mu, work, out):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    kappa, sizes, signal, inverse = model.kappa, model.sizes, model.signal, model.inverse_length
    count, block = model.count, model.block
    v, powers, tilts, spreads = work.v, work.powers, work.tilts, work.spreads
    joints, totals, slopes, residuals = work.joints, work.totals, work.slopes, work.residuals
    shifts, drifts, pulls, draws = work.shifts, work.drifts, work.pulls, work.draws
    first_mu = heads * blocks
    double = 2.0 * inverse
    for h in range(heads):
        own, t_own, power_own, mu_h = v[h], tilts[h, h], powers[h, h], mu[h]
        for b in range(blocks):
            row = out[h * blocks + b]
            t_b = t_own[b]
            log_slope = 2.0 * sizes[b] * t_b * own[b]  # of P_hh by v_hb
            bend = t_b * t_b * (1.0 + 2.0 * own[b] * own[b])  # of t_hhb v_hb
            for k in range(h, heads):  # d2 / d omega_hb d omega_kc
                other, t = v[k], tilts[h, k]
                t_k = tilts[k, k]
                log_slope_h = power_own * log_slope
                power = powers[h, k]
                first = sizes[b] * t[b]
                second = power * joints[h, k, b] * t[b] * t[b]
                at = k * blocks
                for c in range(blocks):
                    curved = first * slopes[h, k, c] + second * sizes[c] * t[c]
                    drift_h = log_slope_h * t_own[c] * own[c]  # of V_hc by v_hb, but for its own block
                    drift_k = 2.0 * sizes[c] * t_k[c] * other[c] * powers[k, k] * t_k[b] * other[b]
                    cross = drift_h * joints[h, k, c] + drift_k * joints[h, k, b]
                    row[at + c] = double * (curved * other[b] * own[c] - cross)
                curved = 2.0 * t[b] * (first * totals[h, k] + 2.0 * second)
                bend_k = powers[k, k] * t_k[b] * t_k[b] * (1.0 + 2.0 * other[b] * other[b])
                cross = (power_own * bend + bend_k) * joints[h, k, b]
                row[at + b] += double * (curved * other[b] * own[b] + slopes[h, k, b] - cross)
                row[at + b] += 2.0 * joints[h, k, b]
                for c in range(blocks if k > h else 0):
                    row[at + c] *= kappa[b] * kappa[c]
            drawn = draws[h, 0]
            for c in range(b, blocks):  # what stays on the head's own diagonal block
                value = 0.0
                for k in range(heads):
                    t = tilts[h, k]
                    first = sizes[b] * t[b]
                    second = powers[h, k] * joints[h, k, b] * t[b] * t[b]
                    curved = first * slopes[h, k, c] + second * sizes[c] * t[c]
                    if c == b:
                        curved += 2.0 * t[b] * (first * totals[h, k] + 2.0 * second)
                    value += curved * v[k, b] * v[k, c]
                log_slope_c = 2.0 * sizes[c] * t_own[c] * own[c]
                bend_c = t_own[c] * t_own[c] * (1.0 + 2.0 * own[c] * own[c])
                cross = log_slope * log_slope_c * drawn
                cross += log_slope * bend_c * pulls[h, c] + log_slope_c * bend * pulls[h, b]
                if c == b:
                    turn = 4.0 * t_b * t_b * t_b * own[b] * (3.0 + 2.0 * own[b] * own[b])
                    cross += 2.0 * sizes[b] * bend * drawn + turn * pulls[h, b]
                at = h * blocks + c
                row[at] = kappa[b] * kappa[c] * (row[at] + double * (value + power_own * cross))
            for k in range(heads):  # d2 / d omega_hb d mu_ki, but for what needs the task's own blocks
                at = first_mu + k * tasks
                t = tilts[h, k, b]
                scale = double * v[k, b] * sizes[b] * t
                for i in range(tasks):
                    row[at + i] = scale * mu_h[i] * spreads[h, k, i]
            at = first_mu + h * tasks
            for i in range(tasks):
                noise = 0.0
                for k in range(heads):
                    noise += v[k, b] * mu[k, i] * tilts[h, k, b] * spreads[h, k, i]
                row[at + i] += double * sizes[b] * noise
        for i in range(tasks):
            held = 0.0  # sum_b A_ib R_ib t_hhb v_hb
            for n in range(count[i]):
                b = block[i, n]
                held += signal[i, b] * residuals[i, b] * t_own[b] * own[b]
            for k in range(heads):
                read = 0.0  # sum_b A_ib v_kb t_hhb v_hb
                for n in range(count[i]):
                    b = block[i, n]
                    read += signal[i, b] * v[k, b] * t_own[b] * own[b]
                at = first_mu + k * tasks + i
                along = held - mu_h[i] * read if k == h else -mu_h[i] * read
                along *= double * power_own
                for b in range(blocks):
                    out[h * blocks + b, at] += 2.0 * sizes[b] * t_own[b] * own[b] * along
                for n in range(count[i]):
                    b = block[i, n]
                    t = tilts[h, k, b]
                    bend = t_own[b] * t_own[b] * (1.0 + 2.0 * own[b] * own[b])
                    value = powers[h, k] * v[k, b] * t * t * mu_h[i] - mu_h[i] * drifts[k, b]
                    value -= power_own * bend * mu_h[i] * v[k, b]
                    value = double * value + 2.0 * mu_h[i] * v[k, b]
                    if k == h:
                        noise = 0.0
                        for j in range(heads):
                            tj = tilts[h, j, b]
                            noise += powers[h, j] * v[j, b] * tj * tj * mu[j, i]
                        residual = residuals[i, b]
                        value += double * (noise + power_own * bend * residual - shifts[i, b])
                        value -= 2.0 * residual
                    out[h * blocks + b, at] += signal[i, b] * value
                for b in range(blocks):
                    out[h * blocks + b, at] *= kappa[b]
            row = out[first_mu + h * tasks + i]
            for k in range(h, heads):  # d2 / d mu_hi d mu_kj
                bias = 0.0
                for n in range(count[i]):
                    b = block[i, n]
                    cross = own[b] * drifts[k, b] + v[k, b] * drifts[h, b]
                    bias += signal[i, b] * (2.0 * own[b] * v[k, b] - double * cross)
                at = first_mu + k * tasks
                for j in range(tasks):
                    row[at + j] = 0.0
                row[at + i] = bias + double * spreads[h, k, i]


@serves(law.learned, FirstOrder, fastmath=ALGEBRA)
def _learned(model, omega, mu, head, task):
    pull = 0.0
    for b in range(omega.shape[1]):
        pull += model.signal[task, b] * model.kappa[b] * omega[head, b]
    return pull * mu[head, task]


@serves(law.linear_room, FirstOrder, makes=True)
def _linear_room(model, shape):
    return dense_room(shape)


@serves(law.left_range, FirstOrder)
def left_range(model, work):
    """Whether 2 v^2 >= 1 somewhere, where means of the law do not exist."""
    v = work.v
    outside = 2.0 * v[0, 0] * v[0, 0] >= 1.0  # false for NaN, which is no state at all
    for h in range(v.shape[0]):
        for b in range(v.shape[1]):
            outside = outside | (2.0 * v[h, b] * v[h, b] >= 1.0)
    return outside


@serves(law.lost_meaning, FirstOrder)
def _lost_meaning(model, work):
    # the correction of order 1/L to what a head reads off is larger than what it reads off
    powers, tilts, inverse = work.powers, work.tilts, model.inverse_length
    lost = inverse * powers[0, 0] > 1.0
    for h in range(tilts.shape[0]):
        for b in range(tilts.shape[2]):
            lost = lost | (inverse * powers[h, h] * tilts[h, h, b] > 1.0)
    return lost


@serves(law.largest_tilt, FirstOrder, fastmath=ALGEBRA)
def largest_tilt(model, work):
    """The largest logit variance of any head."""
    v, sizes = work.v, model.sizes
    largest = 0.0 * v[0, 0]
    for h in range(v.shape[0]):
        variance = 0.0
        for b in range(v.shape[1]):
            variance += sizes[b] * v[h, b] * v[h, b]
        largest = where(variance > largest, variance, largest)
    return largest


@serves(law.adopt, FirstOrder)
def _adopt(model, mask, old, new):
    blend(mask, old.v, new.v)
    blend(mask, old.powers, new.powers)
    blend(mask, old.tilts, new.tilts)
    blend(mask, old.spreads, new.spreads)
    blend(mask, old.joints, new.joints)
    blend(mask, old.totals, new.totals)
    blend(mask, old.slopes, new.slopes)
    blend(mask, old.residuals, new.residuals)
    blend(mask, old.shifts, new.shifts)
    blend(mask, old.drifts, new.drifts)
    blend(mask, old.pulls, new.pulls)
    blend(mask, old.draws, new.draws)


@serves(law.pick_model, FirstOrder, makes=True)
def _pick_model(models, p):
    return FirstOrder(
        models.kappa[p],
        models.sizes[p],
        models.signal[p],
        models.variance[p],
        models.noise[p],
        models.inverse_length[p],
        models.count[p],
        models.block[p],
        models.order[p],
        models.last[p],
    )


@serves(law.lane_store, FirstOrder, makes=True)
def _lane_store(models):
    # Lanes hold problems with signal in different blocks, of different sizes: all blocks are visited, one by
    # one.
    tasks, blocks = models.signal.shape[1:]
    block = np.empty((tasks, blocks), dtype=np.int64)
    order = np.empty(blocks, dtype=np.int64)
    for b in range(blocks):
        order[b] = b
        block[:, b] = b
    return FirstOrder(
        lanes_like(models.kappa[0]),
        lanes_like(models.sizes[0]),
        lanes_like(models.signal[0]),
        lanes_like(models.variance[0]),
        lanes_like(models.noise[0]),
        lane_array((1,)),
        np.full(tasks, blocks),
        block,
        order,
        np.ones(blocks, dtype=np.int64),
    )


@serves(law.load_model, FirstOrder)
def _load_model(store, lane, models, p):
    load_lane(store.kappa, lane, models.kappa[p])
    load_lane(store.sizes, lane, models.sizes[p])
    load_lane(store.signal, lane, models.signal[p])
    load_lane(store.variance, lane, models.variance[p])
    load_lane(store.noise, lane, models.noise[p])
    store.inverse_length[0] = put(store.inverse_length[0], lane, models.inverse_length[p])


@serves(law.lane_model, FirstOrder, makes=True)
def _lane_model(store):
    return FirstOrder(
        store.kappa,
        store.sizes,
        store.signal,
        store.variance,
        store.noise,
        store.inverse_length[0],
        store.count,
        store.block,
        store.order,
        store.last,
    )


@serves(law.everywhere_model, FirstOrder, makes=True)
def _everywhere_model(model):
    return FirstOrder(
        in_every_lane(model.kappa),
        in_every_lane(model.sizes),
        in_every_lane(model.signal),
        in_every_lane(model.variance),
        in_every_lane(model.noise),
        everywhere(model.inverse_length),
        model.count,
        model.block,
        model.order,
        model.last,
    )
