"""The asymptotic law, L and d large: the tilted exponential kernel of Chen, Sheen, Wang and Yang (2024).

loss_i = sum_b A_ib R_ib^2 + (s_i / L) sum_hk mu_hi mu_ki E_hk + sigma_i^2,
E_hk = exp(sum_b d_b kappa_b^2 omega_hb omega_kb),  R_ib = 1 - sum_h mu_hi kappa_b omega_hb.
"""

from __future__ import annotations

from typing import NamedTuple

from spectral_icl.kernels import elementary, law
from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.dense import dense_room
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
from spectral_icl.kernels.model import Floats


class Asymptotic(NamedTuple):
    """The packed problem of this law."""

    kappa: Floats  # (B,) covariate eigenvalues
    weight: Floats  # (B,) d_b kappa_b^2
    signal: Floats  # (I, B)
    variance: Floats  # (I,) s_i = sum_b A_ib + sigma_i^2
    noise: Floats  # (I,)
    inverse_length: float | Floats  # 1 / L; (P,) of P problems


class Overlaps(NamedTuple):
    """Work arrays of the gradient that the Hessian goes on from."""

    exponential: Floats  # (H, H) E_hk = exp(sum_b d_b kappa_b^2 omega_hb omega_kb)
    spread: Floats  # (H, H) E_hk sum_i s_i mu_hi mu_ki
    pull: Floats  # (I, B) kappa_b A_ib R_ib, with R_ib = 1 - kappa_b sum_h mu_hi omega_hb
    weighted: Floats  # (H, B) d_b kappa_b^2 omega_hb
    pairs: Floats  # (H (H + 1) / 2,) E_hk of k <= h


@serves(law.scratch, Asymptotic, makes=True)
def _scratch(model, shape):
    heads, blocks, tasks = shape
    return Overlaps(
        room(model.kappa, (heads, heads)),
        room(model.kappa, (heads, heads)),
        room(model.kappa, (tasks, blocks)),
        room(model.kappa, (heads, blocks)),
        room(model.kappa, (heads * (heads + 1) // 2,)),
    )


@inner(fastmath=ALGEBRA)
def _tilts(model, omega, weighted, pairs, exponential):
    """Fill weighted_hb = d_b kappa_b^2 omega_hb and E_hk = exp(sum_b weighted_hb omega_kb)."""
    heads, blocks = omega.shape
    at = 0
    for h in range(heads):
        left = weighted[h]
        for b in range(blocks):
            left[b] = model.weight[b] * omega[h, b]
        for k in range(h + 1):
            right = omega[k]
            exponent = 0.0
            for b in range(blocks):
                exponent += left[b] * right[b]
            pairs[at] = exponent
            at += 1
    for n in range(pairs.size):  # side by side, so that of one flow they are vectors too
        pairs[n] = elementary.exponential(pairs[n])
    at = 0
    for h in range(heads):
        for k in range(h + 1):
            exponential[h, k] = pairs[at]
            exponential[k, h] = pairs[at]
            at += 1


@serves(law.task_loss, Asymptotic, fastmath=ALGEBRA)
def _task_loss(model, omega, mu, work, out):
    heads, blocks = omega.shape
    exponential = work.exponential
    _tilts(model, omega, work.weighted, work.pairs, exponential)
    for i in range(mu.shape[1]):
        bias = 0.0
        for b in range(blocks):
            fit = 0.0
            for h in range(heads):
                fit += mu[h, i] * omega[h, b]
            residual = 1.0 - model.kappa[b] * fit
            bias += model.signal[i, b] * residual * residual
        spread = 0.0
        for h in range(heads):
            for k in range(heads):
                spread += mu[h, i] * mu[k, i] * exponential[h, k]
        out[i] = bias + model.variance[i] * model.inverse_length * spread + model.noise[i]


@serves(law.gradient, Asymptotic, fastmath=ALGEBRA, compiled=True)
def _gradient(model, omega, mu, grad_omega, grad_mu, work):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    exponential, spread, pull, weighted, pairs = work
    _tilts(model, omega, weighted, pairs, exponential)
    for i in range(tasks):
        for b in range(blocks):
            fit = 0.0
            for h in range(heads):
                fit += mu[h, i] * omega[h, b]
            pull[i, b] = model.kappa[b] * model.signal[i, b] * (1.0 - model.kappa[b] * fit)
    for h in range(heads):
        left = mu[h]
        for k in range(h + 1):
            right = mu[k]
            overlap = 0.0
            for i in range(tasks):
                overlap += model.variance[i] * left[i] * right[i]
            value = exponential[h, k] * overlap
            spread[h, k] = value
            spread[k, h] = value
    double = 2.0 * model.inverse_length
    for h in range(heads):
        spread_h, tilt_h, omega_h, mu_h = spread[h], exponential[h], omega[h], mu[h]
        for b in range(blocks):
            noise = 0.0
            for k in range(heads):
                noise += spread_h[k] * omega[k, b]
            bias = 0.0
            for i in range(tasks):
                bias += pull[i, b] * mu_h[i]
            grad_omega[h, b] = double * model.weight[b] * noise - 2.0 * bias
        for i in range(tasks):
            noise = 0.0
            for k in range(heads):
                noise += tilt_h[k] * mu[k, i]
            bias = 0.0
            pull_i = pull[i]
            for b in range(blocks):
                bias += pull_i[b] * omega_h[b]
            grad_mu[h, i] = double * model.variance[i] * noise - 2.0 * bias


@serves(law.hessian, Asymptotic, fastmath=ALGEBRA, compiled=True)
def _hessian(model, omega, mu, work, out):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    exponential, spread, pull, weighted, _ = work
    first_mu = heads * blocks
    double = 2.0 * model.inverse_length
    for h in range(heads):
        omega_h, mu_h, weighted_h, spread_h, tilt_h = omega[h], mu[h], weighted[h], spread[h], exponential[h]
        for b in range(blocks):
            row = out[h * blocks + b]
            kappa2 = 2.0 * model.kappa[b] * model.kappa[b]
            for k in range(h, heads):
                noise = double * spread_h[k]
                factor = noise * weighted[k, b]
                at = k * blocks
                for c in range(blocks):
                    row[at + c] = factor * weighted_h[c]
                mu_k = mu[k]
                bias = 0.0
                for i in range(tasks):
                    bias += model.signal[i, b] * mu_h[i] * mu_k[i]
                row[at + b] += noise * model.weight[b] + kappa2 * bias
            # E_hk depends on omega_h through every k: what stays on the head's own diagonal block
            for c in range(b, blocks):
                noise = 0.0
                for k in range(heads):
                    noise += spread_h[k] * weighted[k, b] * weighted[k, c]
                row[h * blocks + c] += double * noise
            for k in range(heads):  # d2 loss / d omega_hb d mu_ki
                noise = double * tilt_h[k] * weighted[k, b]
                bias = kappa2 * omega[k, b]
                at = first_mu + k * tasks
                for i in range(tasks):
                    row[at + i] = mu_h[i] * (bias * model.signal[i, b] + noise * model.variance[i])
            for i in range(tasks):
                noise = 0.0
                for k in range(heads):
                    noise += tilt_h[k] * mu[k, i] * omega[k, b]
                row[first_mu + h * tasks + i] += (
                    double * model.variance[i] * model.weight[b] * noise - 2.0 * pull[i, b]
                )
        for i in range(tasks):
            row = out[first_mu + h * tasks + i]
            signal_i = model.signal[i]
            for k in range(h, heads):
                omega_k = omega[k]
                bias = 0.0
                for b in range(blocks):
                    bias += signal_i[b] * model.kappa[b] * model.kappa[b] * omega_h[b] * omega_k[b]
                at = first_mu + k * tasks
                for j in range(tasks):
                    row[at + j] = 0.0
                row[at + i] = 2.0 * bias + double * model.variance[i] * tilt_h[k]


@serves(law.learned, Asymptotic, fastmath=ALGEBRA)
def _learned(model, omega, mu, head, task):
    pull = 0.0
    for b in range(omega.shape[1]):
        pull += model.signal[task, b] * model.kappa[b] * omega[head, b]
    return pull * mu[head, task]


@serves(law.linear_room, Asymptotic, makes=True)
def _linear_room(model, shape):
    return dense_room(shape)


@serves(law.left_range, Asymptotic)
@serves(law.lost_meaning, Asymptotic)
def nowhere(model, work):
    """The loss exists everywhere, right or wrong, and is bounded from below."""
    return work.exponential[0, 0] < 0.0


@serves(law.largest_tilt, Asymptotic, fastmath=ALGEBRA)
def largest_tilt(model, work):
    """The largest E_hh."""
    largest = work.exponential[0, 0]
    for h in range(work.exponential.shape[0]):
        tilt = work.exponential[h, h]
        largest = where(tilt > largest, tilt, largest)
    return largest


@serves(law.adopt, Asymptotic)
def _adopt(model, mask, old, new):
    blend(mask, old.exponential, new.exponential)
    blend(mask, old.spread, new.spread)
    blend(mask, old.pull, new.pull)
    blend(mask, old.weighted, new.weighted)


@serves(law.pick_model, Asymptotic, makes=True)
def _pick_model(models, p):
    return Asymptotic(
        models.kappa[p],
        models.weight[p],
        models.signal[p],
        models.variance[p],
        models.noise[p],
        models.inverse_length[p],
    )


@serves(law.lane_store, Asymptotic, makes=True)
def _lane_store(models):
    return Asymptotic(
        lanes_like(models.kappa[0]),
        lanes_like(models.weight[0]),
        lanes_like(models.signal[0]),
        lanes_like(models.variance[0]),
        lanes_like(models.noise[0]),
        lane_array((1,)),
    )


@serves(law.load_model, Asymptotic)
def _load_model(store, lane, models, p):
    load_lane(store.kappa, lane, models.kappa[p])
    load_lane(store.weight, lane, models.weight[p])
    load_lane(store.signal, lane, models.signal[p])
    load_lane(store.variance, lane, models.variance[p])
    load_lane(store.noise, lane, models.noise[p])
    store.inverse_length[0] = put(store.inverse_length[0], lane, models.inverse_length[p])


@serves(law.lane_model, Asymptotic, makes=True)
def _lane_model(store):
    return Asymptotic(
        store.kappa, store.weight, store.signal, store.variance, store.noise, store.inverse_length[0]
    )


@serves(law.everywhere_model, Asymptotic, makes=True)
def _everywhere_model(model):
    return Asymptotic(
        in_every_lane(model.kappa),
        in_every_lane(model.weight),
        in_every_lane(model.signal),
        in_every_lane(model.variance),
        in_every_lane(model.noise),
        everywhere(model.inverse_length),
    )
