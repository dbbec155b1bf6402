"""The first-order law of large problems: that of `spectral_icl.kernels.first_order`, on nonzero signals.

With v = kappa omega, u_hkb = v_hb v_kb, t = 1 / (1 - 2 u), P_hk = prod_b t_hkb^(d_b/2) and the joint power
J_hkb = sum_i A_ib mu_hi mu_ki, the noise of a pair of heads is T_hk = P (C + sum_b J u t), C as in the
asymptotic law: tasks enter through J alone, so that a pair costs as much as there are blocks and nonzeros.
Its slope by u_hkb is d_b t T + P J t^2. The bias of a ratio of sums is (2/L) sum_n A r Z over the nonzeros
n = (i, b), Z_n = sum_h mu_hi V_hb and V_hb = P_hh t_hhb v_hb.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.elementary import exponential, log_one_plus
from spectral_icl.kernels.first_order import largest_tilt, left_range
from spectral_icl.kernels.lanes import everywhere, in_every_lane, room, where
from spectral_icl.kernels.law import serves
from spectral_icl.kernels.model import Floats, Ints
from spectral_icl.kernels.structured.conjugate import conjugate_room
from spectral_icl.kernels.structured.products import even_pair_sums, mixed_rows, pair_sums
from spectral_icl.kernels.structured.signals import (
    add_read_off,
    contribution,
    onto_blocks,
    onto_tasks,
    read_off,
)


class FirstOrderSignals(NamedTuple):
    """The packed problem; `spectral_icl.kernels.structured.signals` says what arrays over nonzeros are."""

    kappa: Floats  # (B,) covariate eigenvalues
    sizes: Floats  # (B,)
    variance: Floats  # (I,) s_i = sum_b A_ib + sigma_i^2
    noise: Floats  # (I,)
    inverse_length: float | Floats  # 1 / L
    power: Floats  # (M,) A_ib
    task: Ints  # (M,)
    block: Ints  # (M,)
    first: Ints  # (I + 1,)
    order: Ints  # (M,)
    start: Ints  # (B + 1,)
    aligned: int


class Sums(NamedTuple):
    """Work arrays of the gradient, and what products and blocks of the Hessian go on from."""

    v: Floats  # (H, B)
    scaled: Floats  # (H, I) s_i mu_hi
    powers: Floats  # (H, H) P
    common: Floats  # (H, H) C
    totals: Floats  # (H, H) T
    tilts: Floats  # (H, B) t_hh
    drifts: Floats  # (H, B) V
    residuals: Floats  # (M,) r
    shifts: Floats  # (M,) Z
    pulls: Floats  # (H, B) sum_i A_ib mu_hi r_ib
    draws: Floats  # (H,) sum_b pulls t_hh v
    values: Floats  # (M,) that are summed onto blocks or tasks
    others: Floats  # (M,)
    tilt: Floats  # (B,) t of a pair of heads
    joint: Floats  # (B,) J of it
    joint_change: Floats  # (B,)
    turns: Floats  # (H, H) dP of a direction
    both: Floats  # (H, H) half of its dC
    by_v: Floats  # (H, B) kappa times it
    by_task: Floats  # (H, I)
    drift_changes: Floats  # (H, B) dV
    pull_changes: Floats  # (H, B)
    curved: Floats  # (H, B) what is on the diagonal of a block beside the pairs
    held: Floats  # (H, M) sum_k v_kb mu_ki d_b t_hkb N_hk,i, N the noise of task i,
    lifted: Floats  # (H, M) and sum_k v_kb mu_ki P_hk t_hkb^2


@serves(law.scratch, FirstOrderSignals, makes=True)
def _scratch(model, shape):
    heads, blocks, tasks = shape
    like, count = model.kappa, model.power.size
    return Sums(
        room(like, (heads, blocks)),
        room(like, (heads, tasks)),
        room(like, (heads, heads)),
        room(like, (heads, heads)),
        room(like, (heads, heads)),
        room(like, (heads, blocks)),
        room(like, (heads, blocks)),
        room(like, (count,)),
        room(like, (count,)),
        room(like, (heads, blocks)),
        room(like, (heads,)),
        room(like, (count,)),
        room(like, (count,)),
        room(like, (blocks,)),
        room(like, (blocks,)),
        room(like, (blocks,)),
        room(like, (heads, heads)),
        room(like, (heads, heads)),
        room(like, (heads, blocks)),
        room(like, (heads, tasks)),
        room(like, (heads, blocks)),
        room(like, (heads, blocks)),
        room(like, (heads, blocks)),
        room(like, (heads, count)),
        room(like, (heads, count)),
    )


@inner(fastmath=ALGEBRA)
def _tilted(model, left, right, tilt):
    """Fill t of a pair of heads and return P; past the range it is NaN."""
    exponent = left[0] * 0.0
    for b in range(tilt.size):
        x = -2.0 * left[b] * right[b]
        tilt[b] = 1.0 / (1.0 + x)
        exponent -= model.sizes[b] * log_one_plus(where(x > -1.0, x, np.nan))
    return exponential(0.5 * exponent)


@inner(fastmath=ALGEBRA)
def _joint(model, mu, h, k, out):
    """Fill J of a pair of heads."""
    left, right, power = mu[h], mu[k], model.power
    if model.aligned:
        for b in range(out.size):
            out[b] = power[b] * left[b] * right[b]
    else:
        for b in range(out.size):
            total = left[0] * 0.0
            for m in range(model.start[b], model.start[b + 1]):
                n = model.order[m]
                i = model.task[n]
                total += power[n] * left[i] * right[i]
            out[b] = total


@inner(fastmath=ALGEBRA)
def _alone(model, omega, mu, work):
    """Fill what heads have by themselves: v, t_hh, V, and the residuals and Z of what they read off."""
    for h in range(omega.shape[0]):
        v, tilts, drifts = work.v[h], work.tilts[h], work.drifts[h]
        for b in range(v.size):
            v[b] = model.kappa[b] * omega[h, b]
        power = _tilted(model, v, v, tilts)
        work.powers[h, h] = power
        for b in range(v.size):
            drifts[b] = power * tilts[b] * v[b]
    read_off(model, mu, work.v, work.residuals)
    read_off(model, mu, work.drifts, work.shifts)
    for n in range(work.residuals.size):
        work.residuals[n] = 1.0 - work.residuals[n]


@serves(law.task_loss, FirstOrderSignals, fastmath=ALGEBRA)
def _task_loss(model, omega, mu, work, out):
    inverse, task, block = model.inverse_length, model.task, model.block
    _alone(model, omega, mu, work)
    for i in range(mu.shape[1]):
        out[i] = model.noise[i]
    for h in range(omega.shape[0]):
        for k in range(h + 1):
            left, right, tilt = work.v[h], work.v[k], work.tilt
            power = _tilted(model, left, right, tilt)
            factor = (1.0 if k == h else 2.0) * inverse * power
            for i in range(mu.shape[1]):
                out[i] += factor * model.variance[i] * mu[h, i] * mu[k, i]
            for n in range(task.size):
                b, i = block[n], task[n]
                out[i] += factor * model.power[n] * left[b] * right[b] * tilt[b] * mu[h, i] * mu[k, i]
    for n in range(task.size):
        residual = work.residuals[n]
        out[task[n]] += model.power[n] * residual * (residual + 2.0 * inverse * work.shifts[n])
    for i in range(mu.shape[1]):
        out[i] = where(out[i] == out[i], out[i], np.inf)


@serves(law.gradient, FirstOrderSignals, fastmath=ALGEBRA, compiled=True)
def _gradient(model, omega, mu, grad_omega, grad_mu, work):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    power_of, sizes = model.power, model.sizes
    tilt, joint, values = work.tilt, work.joint, work.values
    inverse = model.inverse_length
    _alone(model, omega, mu, work)
    for h in range(heads):
        for i in range(tasks):
            work.scaled[h, i] = model.variance[i] * mu[h, i]
            grad_mu[h, i] = 0.0
        for b in range(blocks):
            grad_omega[h, b] = 0.0
    even_pair_sums(work.scaled, mu, work.common)
    for h in range(heads):
        left = work.v[h]
        for k in range(h + 1):
            right = work.v[k]
            power = _tilted(model, left, right, tilt)
            _joint(model, mu, h, k, joint)
            moment = 0.0
            for b in range(blocks):
                moment += joint[b] * left[b] * right[b] * tilt[b]
            total = power * (work.common[h, k] + moment)
            work.powers[h, k] = work.powers[k, h] = power
            work.totals[h, k] = work.totals[k, h] = total
            mine, other = grad_omega[h], grad_omega[k]
            twice = 0.0 if k == h else 1.0
            for b in range(blocks):
                t = tilt[b]
                slope = t * (sizes[b] * total + power * joint[b] * t)
                mine[b] += right[b] * slope
                other[b] += twice * left[b] * slope
            _onto_pair(model, power, left, right, tilt, mu, h, k, grad_mu, values)
    mixed_rows(work.powers, work.scaled, grad_mu)
    for n in range(values.size):
        values[n] = power_of[n] * (work.residuals[n] + inverse * work.shifts[n])
        work.others[n] = power_of[n] * work.residuals[n]
    for h in range(heads):
        for b in range(blocks):
            grad_omega[h, b] *= 2.0 * inverse
            work.pulls[h, b] = 0.0
        for i in range(tasks):
            grad_mu[h, i] *= 2.0 * inverse
    onto_blocks(model, -2.0, values, mu, grad_omega)
    onto_tasks(model, -2.0, values, work.v, grad_mu)
    onto_tasks(model, 2.0 * inverse, work.others, work.drifts, grad_mu)
    onto_blocks(model, 1.0, work.others, mu, work.pulls)
    for h in range(heads):
        v, tilts, pulls = work.v[h], work.tilts[h], work.pulls[h]
        drawn = 0.0
        for b in range(blocks):
            drawn += pulls[b] * tilts[b] * v[b]
        work.draws[h] = drawn
        scale = 2.0 * inverse * work.powers[h, h]
        for b in range(blocks):
            t = tilts[b]
            bent = t * (1.0 + 2.0 * v[b] * v[b]) * pulls[b]
            cross = scale * t * (2.0 * sizes[b] * v[b] * drawn + bent)
            grad_omega[h, b] = model.kappa[b] * (grad_omega[h, b] + cross)


@inner(fastmath=ALGEBRA)
def _onto_pair(model, power, left, right, tilt, mu, h, k, out, values):
    """Add the part of the noise that is of the tasks' own blocks to the gradient by mu of a pair of heads."""
    task, block = model.task, model.block
    mine, other = mu[h], mu[k]
    for n in range(values.size):
        b = block[n]
        values[n] = power * model.power[n] * left[b] * right[b] * tilt[b]
    into, into_other = out[h], out[k]
    if model.aligned:
        for n in range(values.size):
            into[n] += values[n] * other[n]
        if k < h:
            for n in range(values.size):
                into_other[n] += values[n] * mine[n]
    else:
        for n in range(values.size):
            into[task[n]] += values[n] * other[task[n]]
        if k < h:
            for n in range(values.size):
                into_other[task[n]] += values[n] * mine[task[n]]


@serves(law.product, FirstOrderSignals, fastmath=ALGEBRA, compiled=True)
def _product(model, omega, mu, work, by_omega, by_mu, out_omega, out_mu):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    sizes = model.sizes
    tilt, joint, change, by_v = work.tilt, work.joint, work.joint_change, work.by_v
    inverse = model.inverse_length
    for h in range(heads):
        for b in range(blocks):
            by_v[h, b] = model.kappa[b] * by_omega[h, b]
            out_omega[h, b] = 0.0
        for i in range(tasks):
            work.by_task[h, i] = model.variance[i] * by_mu[h, i]
            out_mu[h, i] = 0.0
    pair_sums(by_mu, work.scaled, work.both)
    for h in range(heads):
        left, by_left = work.v[h], by_v[h]
        for k in range(h + 1):
            right, by_right = work.v[k], by_v[k]
            power, total = work.powers[h, k], work.totals[h, k]
            _joint(model, mu, h, k, joint)
            _joint_change(model, mu, by_mu, h, k, change)
            growth, moment = 0.0, 0.0  # of log P, and of sum J u t
            for b in range(blocks):
                u = left[b] * right[b]
                t = 1.0 / (1.0 - 2.0 * u)
                tilt[b] = t
                turned = t * (by_left[b] * right[b] + left[b] * by_right[b])
                growth += sizes[b] * turned
                moment += t * (change[b] * u + joint[b] * turned)
            turn = power * growth
            work.turns[h, k] = work.turns[k, h] = turn
            rise = total * growth + power * (work.both[h, k] + work.both[k, h] + moment)
            mine, other = out_omega[h], out_omega[k]
            twice = 0.0 if k == h else 1.0
            for b in range(blocks):
                t = tilt[b]
                turned = t * (by_left[b] * right[b] + left[b] * by_right[b])
                slope = t * (sizes[b] * total + power * joint[b] * t)
                bend = t * (sizes[b] * (rise + 2.0 * total * turned))
                bend += t * t * (turn * joint[b] + power * (change[b] + 4.0 * joint[b] * turned))
                mine[b] += by_right[b] * slope + right[b] * bend
                other[b] += twice * (by_left[b] * slope + left[b] * bend)
            _pair_moves_tasks(model, work, power, turn, mu, by_mu, h, k, out_mu)
    mixed_rows(work.turns, work.scaled, out_mu)
    mixed_rows(work.powers, work.by_task, out_mu)
    for h in range(heads):
        v, tilts, by_head = work.v[h], work.tilts[h], by_v[h]
        power, turn = work.powers[h, h], work.turns[h, h]
        for b in range(blocks):
            t = tilts[b]
            work.drift_changes[h, b] = (
                turn * t * v[b] + power * t * t * (1.0 + 2.0 * v[b] * v[b]) * by_head[b]
            )
            out_omega[h, b] *= 2.0 * inverse
            work.pull_changes[h, b] = 0.0
        for i in range(tasks):
            out_mu[h, i] *= 2.0 * inverse
    _residuals_move(model, mu, by_mu, work, out_omega, out_mu)
    for h in range(heads):
        v, tilts, by_head, pulls, moved = (
            work.v[h],
            work.tilts[h],
            by_v[h],
            work.pulls[h],
            work.pull_changes[h],
        )
        power, turn, drawn = work.powers[h, h], work.turns[h, h], work.draws[h]
        draw = turn * drawn  # of P_hh times what is drawn
        for b in range(blocks):
            t = tilts[b]
            bent = t * t * (1.0 + 2.0 * v[b] * v[b])
            draw += power * (moved[b] * t * v[b] + pulls[b] * bent * by_head[b])
        for b in range(blocks):
            t = tilts[b]
            square = v[b] * v[b]
            bent = t * t * (1.0 + 2.0 * square)
            turned = 4.0 * v[b] * t * t * t * (3.0 + 2.0 * square) * by_head[b]
            cross = 2.0 * sizes[b] * (bent * by_head[b] * power * drawn + t * v[b] * draw)
            cross += turn * bent * pulls[b] + power * (turned * pulls[b] + bent * moved[b])
            out_omega[h, b] = model.kappa[b] * (out_omega[h, b] + 2.0 * inverse * cross)


@inner(fastmath=ALGEBRA)
def _joint_change(model, mu, by_mu, h, k, out):
    """Fill what a direction does to J of a pair of heads."""
    left, right, by_left, by_right, power = mu[h], mu[k], by_mu[h], by_mu[k], model.power
    if model.aligned:
        for b in range(out.size):
            out[b] = power[b] * (by_left[b] * right[b] + left[b] * by_right[b])
    else:
        for b in range(out.size):
            total = 0.0
            for m in range(model.start[b], model.start[b + 1]):
                n = model.order[m]
                i = model.task[n]
                total += power[n] * (by_left[i] * right[i] + left[i] * by_right[i])
            out[b] = total


@inner(fastmath=ALGEBRA)
def _pair_moves_tasks(model, work, power, turn, mu, by_mu, h, k, out):
    """Add what a direction does to the part of the noise that is of the tasks' own blocks."""
    task, block, tilt = model.task, model.block, work.tilt
    left, right, by_left, by_right = work.v[h], work.v[k], work.by_v[h], work.by_v[k]
    mine, other, by_mine, by_other = mu[h], mu[k], by_mu[h], by_mu[k]
    values, moves = work.values, work.others
    for n in range(values.size):
        b = block[n]
        u, t = left[b] * right[b], tilt[b]
        turned = t * (by_left[b] * right[b] + left[b] * by_right[b])
        values[n] = power * model.power[n] * u * t
        moves[n] = model.power[n] * t * (turn * u + power * turned)
    into, into_other = out[h], out[k]
    if model.aligned:
        for n in range(values.size):
            into[n] += moves[n] * other[n] + values[n] * by_other[n]
        if k < h:
            for n in range(values.size):
                into_other[n] += moves[n] * mine[n] + values[n] * by_mine[n]
    else:
        for n in range(values.size):
            i = task[n]
            into[i] += moves[n] * other[i] + values[n] * by_other[i]
        if k < h:
            for n in range(values.size):
                i = task[n]
                into_other[i] += moves[n] * mine[i] + values[n] * by_mine[i]


@inner(fastmath=ALGEBRA)
def _residuals_move(model, mu, by_mu, work, out_omega, out_mu):
    """Add what a direction does to bias and C, but for the slopes of V, and fill ``pull_changes``."""
    inverse, power = model.inverse_length, model.power
    changes, shifts = work.values, work.others
    read_off(model, by_mu, work.v, changes)
    add_read_off(model, mu, work.by_v, changes)
    read_off(model, by_mu, work.drifts, shifts)
    add_read_off(model, mu, work.drift_changes, shifts)
    for n in range(changes.size):
        change = -power[n] * changes[n]
        changes[n] = change
        shifts[n] = change + inverse * power[n] * shifts[n]
    onto_blocks(model, -2.0, shifts, mu, out_omega)
    onto_tasks(model, -2.0, shifts, work.v, out_mu)
    onto_tasks(model, 2.0 * inverse, changes, work.drifts, out_mu)
    onto_blocks(model, 1.0, changes, mu, work.pull_changes)
    for n in range(changes.size):
        changes[n] = power[n] * work.residuals[n]
        shifts[n] = power[n] * (work.residuals[n] + inverse * work.shifts[n])
    onto_blocks(model, -2.0, shifts, by_mu, out_omega)
    onto_tasks(model, -2.0, shifts, work.by_v, out_mu)
    onto_tasks(model, 2.0 * inverse, changes, work.drift_changes, out_mu)
    onto_blocks(model, 1.0, changes, by_mu, work.pull_changes)


@serves(law.curvatures, FirstOrderSignals, fastmath=ALGEBRA)
def _curvatures(model, omega, mu, work, out_omega, out_mu):
    heads, blocks = omega.shape
    task, block, power_of, sizes = model.task, model.block, model.power, model.sizes
    joint, curved, held, lifted, noises = work.joint, work.curved, work.held, work.lifted, work.by_task[0]
    for h in range(heads):
        left = work.v[h]
        for b in range(blocks):
            curved[h, b] = 0.0
        for n in range(task.size):
            held[h, n] = lifted[h, n] = 0.0
        for k in range(heads):
            right, power, total = work.v[k], work.powers[h, k], work.totals[h, k]
            _joint(model, mu, h, k, joint)
            for b in range(blocks):
                t = 1.0 / (1.0 - 2.0 * left[b] * right[b])
                work.tilt[b] = t
                first, second = sizes[b] * t, power * joint[b] * t * t
                slope = first * total + second
                bend = first * slope + second * sizes[b] * t + 2.0 * t * (first * total + 2.0 * second)
                curved[h, b] += bend * right[b] * right[b]
            _noise_of_pair(model, power, left, right, noises)
            for n in range(task.size):
                b, i = block[n], task[n]
                t, strength = work.tilt[b], right[b] * mu[k, i]
                held[h, n] += strength * sizes[b] * t * noises[i]
                lifted[h, n] += strength * power * t * t
    for h in range(heads):
        v, tilts, power, drawn = work.v[h], work.tilts[h], work.powers[h, h], work.draws[h]
        for b in range(blocks):
            t, square, pull = tilts[b], v[b] * v[b], work.pulls[h, b]
            log_slope, bend = 2.0 * sizes[b] * t * v[b], t * t * (1.0 + 2.0 * square)
            cross = log_slope * (log_slope * drawn + 2.0 * bend * pull) + 2.0 * sizes[b] * bend * drawn
            cross += 4.0 * t * t * t * v[b] * (3.0 + 2.0 * square) * pull
            curved[h, b] += power * cross
    for h in range(heads):
        own = work.joint_change  # J of the head with itself
        _joint(model, mu, h, h, own)
        for b in range(blocks):
            out_omega[h, b] = model.kappa[b] * model.kappa[b] * _of_pair(model, work, own[b], b, h, h)
        _noise_of_pair(model, work.powers[h, h], work.v[h], work.v[h], noises)
        for i in range(mu.shape[1]):
            out_mu[h, i] = _of_task(model, work, noises[i], i, h, h)
        for n in range(task.size):
            b, i = block[n], task[n]
            coupled = 2.0 * model.kappa[b] * power_of[n] * abs(work.residuals[n])
            out_omega[h, b] = max(abs(out_omega[h, b]), coupled)
            out_mu[h, i] = max(abs(out_mu[h, i]), coupled)


@inner(fastmath=ALGEBRA)
def _noise_of_pair(model, power, left, right, out):
    """Fill N_hk,i = P (s_i + sum_b A_ib u t) for every task."""
    for i in range(out.size):
        moment = model.variance[i]
        for n in range(model.first[i], model.first[i + 1]):
            u = left[model.block[n]] * right[model.block[n]]
            moment += model.power[n] * u / (1.0 - 2.0 * u)
        out[i] = power * moment


@inner(fastmath=ALGEBRA)
def _of_pair(model, work, joint, b, h, k):
    """The second derivative by v_hb and v_kb, of which J is ``joint``."""
    own, other, size, double = work.v[h, b], work.v[k, b], model.sizes[b], 2.0 * model.inverse_length
    t, t_own, t_other = 1.0 / (1.0 - 2.0 * own * other), work.tilts[h, b], work.tilts[k, b]
    power, power_own, power_other = work.powers[h, k], work.powers[h, h], work.powers[k, k]
    total = work.totals[h, k]
    first, second = size * t, power * joint * t * t
    slope = first * total + second
    bend = first * slope + second * size * t + 2.0 * t * (first * total + 2.0 * second)
    of_own = t_own * t_own * (1.0 + 2.0 * (1.0 + size) * own * own)
    of_other = t_other * t_other * (1.0 + 2.0 * (1.0 + size) * other * other)
    cross = (power_own * of_own + power_other * of_other) * joint
    value = double * (bend * own * other + slope - cross) + 2.0 * joint
    if h == k:
        value += double * work.curved[h, b]
    return value


@inner(fastmath=ALGEBRA)
def _of_task(model, work, noise, i, h, k):
    """The second derivative by mu_hi and mu_ki, of which N is ``noise``."""
    double = 2.0 * model.inverse_length
    bias = 0.0
    for n in range(model.first[i], model.first[i + 1]):
        b = model.block[n]
        own, other = work.v[h, b], work.v[k, b]
        cross = own * work.drifts[k, b] + other * work.drifts[h, b]
        bias += model.power[n] * (2.0 * own * other - double * cross)
    return bias + double * noise


@serves(law.within_block, FirstOrderSignals, fastmath=ALGEBRA)
def _within_block(model, omega, mu, work, block, heads, count, out):
    kappa2 = model.kappa[block] * model.kappa[block]
    for p in range(count):
        for q in range(p, count):
            joint = 0.0
            for m in range(model.start[block], model.start[block + 1]):
                n = model.order[m]
                joint += model.power[n] * mu[heads[p], model.task[n]] * mu[heads[q], model.task[n]]
            out[p, q] = kappa2 * _of_pair(model, work, joint, block, heads[p], heads[q])


@inner(fastmath=ALGEBRA)
def _noise(model, work, i, h, k):
    """N of one task and a pair of heads."""
    moment = model.variance[i]
    for n in range(model.first[i], model.first[i + 1]):
        u = work.v[h, model.block[n]] * work.v[k, model.block[n]]
        moment += model.power[n] * u / (1.0 - 2.0 * u)
    return work.powers[h, k] * moment


@serves(law.within_task, FirstOrderSignals, fastmath=ALGEBRA)
def _within_task(model, omega, mu, work, task, heads, count, out):
    for p in range(count):
        for q in range(p, count):
            h, k = heads[p], heads[q]
            out[p, q] = _of_task(model, work, _noise(model, work, task, h, k), task, h, k)


@serves(law.across, FirstOrderSignals, fastmath=ALGEBRA)
def _across(model, omega, mu, work, signal, heads, count, others, other_count, out):
    b, i = model.block[signal], model.task[signal]
    double, size, power_of = 2.0 * model.inverse_length, model.sizes[b], model.power[signal]
    for p in range(count):
        h = heads[p]
        own, t_own, power_own, strength = work.v[h, b], work.tilts[h, b], work.powers[h, h], mu[h, i]
        bend = power_own * t_own * t_own * (1.0 + 2.0 * own * own)
        kept = 0.0  # sum_b A_ib r_ib t_hhb v_hb
        for n in range(model.first[i], model.first[i + 1]):
            c = model.block[n]
            kept += model.power[n] * work.residuals[n] * work.tilts[h, c] * work.v[h, c]
        for q in range(other_count):
            k = others[q]
            other = work.v[k, b]
            t, power = 1.0 / (1.0 - 2.0 * own * other), work.powers[h, k]
            read = 0.0  # sum_b A_ib v_kb t_hhb v_hb
            for n in range(model.first[i], model.first[i + 1]):
                c = model.block[n]
                read += model.power[n] * work.v[k, c] * work.tilts[h, c] * work.v[h, c]
            along = kept - strength * read if k == h else -strength * read
            value = double * strength * other * size * t * _noise(model, work, i, h, k)
            value += 2.0 * size * t_own * own * double * power_own * along
            near = strength * (power * other * t * t - work.drifts[k, b] - bend * other)
            near = double * near + 2.0 * strength * other
            if k == h:
                residual = work.residuals[signal]
                near += double * (work.lifted[h, signal] + bend * residual - work.shifts[signal])
                near -= 2.0 * residual
                value += double * work.held[h, signal]
            out[p, q] = model.kappa[b] * (value + power_of * near)


@serves(law.learned, FirstOrderSignals, fastmath=ALGEBRA)
def _learned(model, omega, mu, head, task):
    return contribution(model, omega, mu, head, task)


@serves(law.linear_room, FirstOrderSignals, makes=True)
def _linear_room(model, shape):
    return conjugate_room(model, shape)


serves(law.left_range, FirstOrderSignals)(left_range)
serves(law.largest_tilt, FirstOrderSignals, fastmath=ALGEBRA)(largest_tilt)


@serves(law.lost_meaning, FirstOrderSignals)
def _lost_meaning(model, work):
    # the correction of order 1/L to what a head reads off is larger than what it reads off
    lost = model.inverse_length * work.powers[0, 0] > 1.0
    for h in range(work.tilts.shape[0]):
        for b in range(work.tilts.shape[1]):
            lost = lost | (model.inverse_length * work.powers[h, h] * work.tilts[h, b] > 1.0)
    return lost


@serves(law.pick_model, FirstOrderSignals, makes=True)
def _pick_model(models, p):
    return FirstOrderSignals(
        models.kappa[p],
        models.sizes[p],
        models.variance[p],
        models.noise[p],
        models.inverse_length[p],
        models.power[p],
        models.task[p],
        models.block[p],
        models.first[p],
        models.order[p],
        models.start[p],
        models.aligned[p],
    )


@serves(law.everywhere_model, FirstOrderSignals, makes=True)
def _everywhere_model(model):
    return FirstOrderSignals(
        in_every_lane(model.kappa),
        in_every_lane(model.sizes),
        in_every_lane(model.variance),
        in_every_lane(model.noise),
        everywhere(model.inverse_length),
        in_every_lane(model.power),
        model.task,
        model.block,
        model.first,
        model.order,
        model.start,
        model.aligned,
    )
