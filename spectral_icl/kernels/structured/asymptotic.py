"""The asymptotic law of large problems: that of `spectral_icl.kernels.asymptotic`, on nonzero signals.

With G_hk = sum_b d_b kappa_b^2 omega_hb omega_kb, E = exp(G), C_hk = sum_i s_i mu_hi mu_ki and S = E C by
entries, the noise term is sum_hk S_hk / L, and its gradient is 2/L times S omega and E mu. A direction moves
them by dE = E dG and dS = E (dC + C dG), so that a product with the Hessian is six products of H rows.
"""

from __future__ import annotations

from typing import NamedTuple

from spectral_icl.kernels import elementary, law
from spectral_icl.kernels.asymptotic import largest_tilt, nowhere
from spectral_icl.kernels.compile import ALGEBRA
from spectral_icl.kernels.lanes import everywhere, in_every_lane, room
from spectral_icl.kernels.law import serves
from spectral_icl.kernels.model import Floats, Ints
from spectral_icl.kernels.structured.conjugate import conjugate_room
from spectral_icl.kernels.structured.products import even_pair_sums, mixed_rows, pair_sums
from spectral_icl.kernels.structured.signals import (
    add_read_off,
    at_signals,
    contribution,
    onto_blocks,
    onto_tasks,
    read_off,
)


class AsymptoticSignals(NamedTuple):
    """The packed problem; `spectral_icl.kernels.structured.signals` says what arrays over nonzeros are."""

    kappa: Floats  # (B,) covariate eigenvalues
    weight: Floats  # (B,) d_b kappa_b^2
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

    exponential: Floats  # (H, H) E
    common: Floats  # (H, H) C
    spread: Floats  # (H, H) S
    pull: Floats  # (M,) kappa_b A_ib R_ib
    weighted: Floats  # (H, B) d_b kappa_b^2 omega_hb
    scaled: Floats  # (H, I) s_i mu_hi
    turn: Floats  # (H, H) half of dG, then dE
    drift: Floats  # (H, H) half of dC, then dS
    change: Floats  # (M,) of the pull
    rows: Floats  # (H, B), (H, I), (H, M) of a direction
    tasks: Floats
    signals: Floats
    curved: Floats  # (H, B) sum_k S_hk (d_b kappa_b^2 omega_kb)^2
    held: Floats  # (H, M) sum_k E_hk mu_ki omega_kb


@serves(law.scratch, AsymptoticSignals, makes=True)
def _scratch(model, shape):
    heads, blocks, tasks = shape
    like, count = model.kappa, model.power.size
    return Sums(
        room(like, (heads, heads)),
        room(like, (heads, heads)),
        room(like, (heads, heads)),
        room(like, (count,)),
        room(like, (heads, blocks)),
        room(like, (heads, tasks)),
        room(like, (heads, heads)),
        room(like, (heads, heads)),
        room(like, (count,)),
        room(like, (heads, blocks)),
        room(like, (heads, tasks)),
        room(like, (heads, count)),
        room(like, (heads, blocks)),
        room(like, (heads, count)),
    )


@serves(law.task_loss, AsymptoticSignals, fastmath=ALGEBRA)
def _task_loss(model, omega, mu, work, out):
    heads, blocks = omega.shape
    exponential = work.exponential
    for h in range(heads):
        left = work.weighted[h]
        for b in range(blocks):
            left[b] = model.weight[b] * omega[h, b]
        for k in range(h + 1):
            right = omega[k]
            exponent = 0.0
            for b in range(blocks):
                exponent += left[b] * right[b]
            exponential[h, k] = exponent
            exponential[k, h] = exponent
    for h in range(heads):
        for k in range(heads):
            exponential[h, k] = elementary.exponential(exponential[h, k])
    read_off(model, mu, omega, work.pull)
    for i in range(mu.shape[1]):
        out[i] = model.noise[i]
    for h in range(heads):
        for k in range(h + 1):
            factor = (1.0 if k == h else 2.0) * model.inverse_length * exponential[h, k]
            for i in range(mu.shape[1]):
                out[i] += factor * model.variance[i] * mu[h, i] * mu[k, i]
    for n in range(work.pull.size):
        residual = 1.0 - model.kappa[model.block[n]] * work.pull[n]
        out[model.task[n]] += model.power[n] * residual * residual


@serves(law.gradient, AsymptoticSignals, fastmath=ALGEBRA, compiled=True)
def _gradient(model, omega, mu, grad_omega, grad_mu, work):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    exponential, common, spread = work.exponential, work.common, work.spread
    pull, weighted, scaled = work.pull, work.weighted, work.scaled
    for h in range(heads):
        for b in range(blocks):
            weighted[h, b] = model.weight[b] * omega[h, b]
            grad_omega[h, b] = 0.0
        for i in range(tasks):
            scaled[h, i] = model.variance[i] * mu[h, i]
            grad_mu[h, i] = 0.0
    even_pair_sums(weighted, omega, exponential)
    even_pair_sums(scaled, mu, common)
    for h in range(heads):
        for k in range(heads):
            exponential[h, k] = elementary.exponential(exponential[h, k])
        for k in range(heads):
            spread[h, k] = exponential[h, k] * common[h, k]
    mixed_rows(spread, weighted, grad_omega)
    mixed_rows(exponential, scaled, grad_mu)
    double = 2.0 * model.inverse_length
    for h in range(heads):
        for b in range(blocks):
            grad_omega[h, b] *= double
        for i in range(tasks):
            grad_mu[h, i] *= double
    read_off(model, mu, omega, pull)
    for n in range(pull.size):
        kappa = model.kappa[model.block[n]]
        pull[n] = kappa * model.power[n] * (1.0 - kappa * pull[n])
    onto_blocks(model, -2.0, pull, mu, grad_omega)
    onto_tasks(model, -2.0, pull, omega, grad_mu)


@serves(law.product, AsymptoticSignals, fastmath=ALGEBRA, compiled=True)
def _product(model, omega, mu, work, by_omega, by_mu, out_omega, out_mu):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    turn, drift, change, rows, of_tasks = work.turn, work.drift, work.change, work.rows, work.tasks
    double = 2.0 * model.inverse_length
    pair_sums(by_omega, work.weighted, turn)
    pair_sums(by_mu, work.scaled, drift)
    for h in range(heads):
        for k in range(h + 1):
            bend, both = turn[h, k] + turn[k, h], drift[h, k] + drift[k, h]
            tilt = double * work.exponential[h, k]
            turn[h, k] = turn[k, h] = tilt * bend
            drift[h, k] = drift[k, h] = tilt * (both + work.common[h, k] * bend)
    for h in range(heads):
        for b in range(blocks):
            rows[h, b] = double * model.weight[b] * by_omega[h, b]
            out_omega[h, b] = 0.0
        for i in range(tasks):
            of_tasks[h, i] = double * model.variance[i] * by_mu[h, i]
            out_mu[h, i] = 0.0
    mixed_rows(drift, work.weighted, out_omega)
    mixed_rows(work.spread, rows, out_omega)
    mixed_rows(turn, work.scaled, out_mu)
    mixed_rows(work.exponential, of_tasks, out_mu)
    read_off(model, by_mu, omega, change)
    add_read_off(model, mu, by_omega, change)
    for n in range(change.size):
        kappa = model.kappa[model.block[n]]
        change[n] *= kappa * kappa * model.power[n]
    onto_blocks(model, 2.0, change, mu, out_omega)
    onto_blocks(model, -2.0, work.pull, by_mu, out_omega)
    onto_tasks(model, 2.0, change, omega, out_mu)
    onto_tasks(model, -2.0, work.pull, by_omega, out_mu)


@serves(law.curvatures, AsymptoticSignals, fastmath=ALGEBRA)
def _curvatures(model, omega, mu, work, out_omega, out_mu):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    double = 2.0 * model.inverse_length
    curved, held, weighted = work.curved, work.held, work.weighted
    for h in range(heads):
        for b in range(blocks):
            work.rows[h, b] = weighted[h, b] * weighted[h, b]
            curved[h, b] = 0.0
        for n in range(held.shape[1]):
            held[h, n] = 0.0
    mixed_rows(work.spread, work.rows, curved)
    at_signals(model, mu, omega, work.signals)
    mixed_rows(work.exponential, work.signals, held)
    for h in range(heads):
        noise = double * work.spread[h, h]
        for b in range(blocks):
            out_omega[h, b] = noise * (model.weight[b] + work.rows[h, b]) + double * curved[h, b]
        tilt = double * work.exponential[h, h]
        for i in range(tasks):
            out_mu[h, i] = tilt * model.variance[i]
        for n in range(held.shape[1]):
            b, i = model.block[n], model.task[n]
            stiff = 2.0 * model.kappa[b] * model.kappa[b] * model.power[n]
            out_omega[h, b] += stiff * mu[h, i] * mu[h, i]
            out_mu[h, i] += stiff * omega[h, b] * omega[h, b]
        for n in range(held.shape[1]):
            b, i = model.block[n], model.task[n]
            coupled = 2.0 * abs(work.pull[n])
            out_omega[h, b] = max(out_omega[h, b], coupled)
            out_mu[h, i] = max(out_mu[h, i], coupled)


@serves(law.within_block, AsymptoticSignals, fastmath=ALGEBRA)
def _within_block(model, omega, mu, work, block, heads, count, out):
    double, weight = 2.0 * model.inverse_length, model.weight[block]
    kappa2 = 2.0 * model.kappa[block] * model.kappa[block]
    for p in range(count):
        h = heads[p]
        for q in range(p, count):
            k = heads[q]
            bend = weight + work.weighted[h, block] * work.weighted[k, block]
            out[p, q] = double * work.spread[h, k] * bend
        out[p, p] += double * work.curved[h, block]
        for m in range(model.start[block], model.start[block + 1]):
            n = model.order[m]
            stiff = kappa2 * model.power[n] * mu[h, model.task[n]]
            for q in range(p, count):
                out[p, q] += stiff * mu[heads[q], model.task[n]]


@serves(law.within_task, AsymptoticSignals, fastmath=ALGEBRA)
def _within_task(model, omega, mu, work, task, heads, count, out):
    noise = 2.0 * model.inverse_length * model.variance[task]
    for p in range(count):
        h = heads[p]
        for q in range(p, count):
            out[p, q] = noise * work.exponential[h, heads[q]]
        for n in range(model.first[task], model.first[task + 1]):
            b = model.block[n]
            stiff = 2.0 * model.kappa[b] * model.kappa[b] * model.power[n] * omega[h, b]
            for q in range(p, count):
                out[p, q] += stiff * omega[heads[q], b]


@serves(law.across, AsymptoticSignals, fastmath=ALGEBRA)
def _across(model, omega, mu, work, signal, heads, count, others, other_count, out):
    b, i = model.block[signal], model.task[signal]
    noise = 2.0 * model.inverse_length * model.variance[i]
    stiff = 2.0 * model.kappa[b] * model.kappa[b] * model.power[signal]
    for p in range(count):
        h = heads[p]
        strength = mu[h, i]
        for q in range(other_count):
            k = others[q]
            value = strength * (stiff * omega[k, b] + noise * work.exponential[h, k] * work.weighted[k, b])
            if k == h:
                value += noise * model.weight[b] * work.held[h, signal] - 2.0 * work.pull[signal]
            out[p, q] = value


@serves(law.learned, AsymptoticSignals, fastmath=ALGEBRA)
def _learned(model, omega, mu, head, task):
    return contribution(model, omega, mu, head, task)


@serves(law.linear_room, AsymptoticSignals, makes=True)
def _linear_room(model, shape):
    return conjugate_room(model, shape)


serves(law.left_range, AsymptoticSignals)(nowhere)
serves(law.lost_meaning, AsymptoticSignals)(nowhere)
serves(law.largest_tilt, AsymptoticSignals, fastmath=ALGEBRA)(largest_tilt)


@serves(law.pick_model, AsymptoticSignals, makes=True)
def _pick_model(models, p):
    return AsymptoticSignals(
        models.kappa[p],
        models.weight[p],
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


@serves(law.everywhere_model, AsymptoticSignals, makes=True)
def _everywhere_model(model):
    return AsymptoticSignals(
        in_every_lane(model.kappa),
        in_every_lane(model.weight),
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
