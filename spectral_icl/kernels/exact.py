"""The exact law of softmax attention at any length and dimension, by a table of overlaps and a query rule.

With v_hb = kappa_b omega_hb, rho_b the squared norm of the white query in block b and E its average,

    loss_i = E [ sum_b lam_ib rho_b (1 - sum_h mu_hi v_hb D_h)^2 + sum_hk mu_hi mu_ki V_hk,i ] + sigma_i^2,
    V_hk,i = s_i K + sum_b lam_ib rho_b [2 v_hb^2 K_al + 2 v_kb^2 K_be + v_hb v_kb (K_ga + X)]

with lam_ib = A_ib / d_b. K is the overlap of the heads' attentions at al = sum_b rho_b v_hb^2, be likewise of
k, and ga = sum_b rho_b v_hb v_kb; letters are its derivatives, and X = 4 M - D_h D_k, as in
`spectral_icl.kernels.surrogate`. The average is over the nodes of a rule; a problem of fewer nodes than
others beside it is filled up with nodes of no weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.averages import Averages, collected, fill_gradient, fill_hessian, fill_losses
from spectral_icl.kernels.compile import ALGEBRA
from spectral_icl.kernels.dense import dense_room
from spectral_icl.kernels.lanes import (
    WIDTH,
    as_lanes,
    blend,
    everywhere,
    in_every_lane,
    lane_array,
    lanes_like,
    load_lane,
    put,
    room,
    vectors,
    where,
)
from spectral_icl.kernels.law import serves
from spectral_icl.kernels.model import Floats, Ints
from spectral_icl.kernels.surrogate import HEAD, ROWS


class Exact(NamedTuple):
    """The packed problem of this law, with the rule and the table that serve its states."""

    kappa: Floats  # (B,) covariate eigenvalues
    sizes: Floats  # (B,)
    share: Floats  # (I, B) A_ib / d_b
    variance: Floats  # (I,) s_i = sum_b A_ib + sigma_i^2
    noise: Floats  # (I,)
    inverse_length: float | Floats  # 1 / L; (P,) of P problems
    count: Ints  # (I,) number of blocks that a task has signal in,
    block: Ints  # (I, B) these blocks, and what fills the row
    used: int | Ints  # Q, the number of nodes
    rho: Floats  # (V, B, WIDTH) the nodes, in V vectors of lanes
    weight: Floats  # (V, WIDTH) their weights, 0 of what fills the last vector
    reach: float | Floats  # the largest logit variance that the table knows
    single: Floats  # coefficients of the table
    pair: Floats
    cross: Floats


@serves(law.scratch, Exact, makes=True)
def _scratch(model, shape):
    heads, blocks, tasks = shape
    pairs, size = heads * (heads + 1) // 2, heads * (blocks + tasks)
    return Averages(
        room(model.kappa, (heads, blocks)),
        room(model.kappa, (pairs, 1 + blocks)),
        vectors((1,)),
        vectors((heads, HEAD)),
        vectors((4, 4)),
        vectors((4, 4, 4)),
        vectors((ROWS,)),
        vectors((ROWS,)),
        vectors((heads, blocks)),
        vectors((heads, tasks)),
        vectors((tasks,)),
        vectors((pairs, 1 + 3 * blocks)),
        vectors((heads, blocks)),
        vectors((4, blocks)),
        vectors((size, size)),
    )


# The work arrays of one problem, whose lanes are the query's nodes, are of numbers. In each of the three
# functions they are made lanes of in place: returned from another function, they cost a third of a gradient.


@serves(law.task_loss, Exact, fastmath=ALGEBRA)
def _task_loss(model, omega, mu, work, out):
    at_lanes = Averages(
        work.v,
        work.joint,
        as_lanes(work.outside),
        as_lanes(work.heads),
        as_lanes(work.planes),
        as_lanes(work.taylor),
        as_lanes(work.overlap),
        as_lanes(work.spare),
        as_lanes(work.by_v),
        as_lanes(work.by_mu),
        as_lanes(work.losses),
        as_lanes(work.moments),
        as_lanes(work.pulled),
        as_lanes(work.along),
        as_lanes(work.curvature),
    )
    fill_losses(model, omega, mu, at_lanes, out)


@serves(law.gradient, Exact, fastmath=ALGEBRA, compiled=True)
def _gradient(model, omega, mu, grad_omega, grad_mu, work):
    at_lanes = Averages(
        work.v,
        work.joint,
        as_lanes(work.outside),
        as_lanes(work.heads),
        as_lanes(work.planes),
        as_lanes(work.taylor),
        as_lanes(work.overlap),
        as_lanes(work.spare),
        as_lanes(work.by_v),
        as_lanes(work.by_mu),
        as_lanes(work.losses),
        as_lanes(work.moments),
        as_lanes(work.pulled),
        as_lanes(work.along),
        as_lanes(work.curvature),
    )
    fill_gradient(model, omega, mu, grad_omega, grad_mu, at_lanes)


@serves(law.hessian, Exact, fastmath=ALGEBRA, compiled=True)
def _hessian(model, omega, mu, work, out):
    at_lanes = Averages(
        work.v,
        work.joint,
        as_lanes(work.outside),
        as_lanes(work.heads),
        as_lanes(work.planes),
        as_lanes(work.taylor),
        as_lanes(work.overlap),
        as_lanes(work.spare),
        as_lanes(work.by_v),
        as_lanes(work.by_mu),
        as_lanes(work.losses),
        as_lanes(work.moments),
        as_lanes(work.pulled),
        as_lanes(work.along),
        as_lanes(work.curvature),
    )
    fill_hessian(model, omega, mu, at_lanes, out)


@serves(law.learned, Exact, fastmath=ALGEBRA)
def _learned(model, omega, mu, head, task):
    pull = 0.0
    for b in range(omega.shape[1]):
        pull += model.share[task, b] * model.sizes[b] * model.kappa[b] * omega[head, b]
    return pull * mu[head, task]


@serves(law.linear_room, Exact, makes=True)
def _linear_room(model, shape):
    return dense_room(shape)


@serves(law.left_range, Exact)
def _left_range(model, work):
    outside = collected(model.kappa, as_lanes(work.outside)[0])
    return outside > 0.0


@serves(law.lost_meaning, Exact)
def _lost_meaning(model, work):
    return work.v[0, 0] * work.v[0, 0] < 0.0  # never: it is the truth wherever the table reaches


@serves(law.largest_tilt, Exact, fastmath=ALGEBRA)
def _largest_tilt(model, work):
    v, sizes = work.v, model.sizes
    largest = 0.0 * v[0, 0]
    for h in range(v.shape[0]):
        variance = 0.0
        for b in range(v.shape[1]):
            variance += sizes[b] * v[h, b] * v[h, b]
        largest = where(variance > largest, variance, largest)
    return largest


@serves(law.adopt, Exact)
def _adopt(model, mask, old, new):
    blend(mask, old.v, new.v)
    blend(mask, old.outside, new.outside)


@serves(law.pick_model, Exact, makes=True)
def _pick_model(models, p):
    return Exact(
        models.kappa[p],
        models.sizes[p],
        models.share[p],
        models.variance[p],
        models.noise[p],
        models.inverse_length[p],
        models.count[p],
        models.block[p],
        models.used[p],
        models.rho[p],
        models.weight[p],
        models.reach[p],
        models.single[p],
        models.pair[p],
        models.cross[p],
    )


@serves(law.lane_store, Exact, makes=True)
def _lane_store(models):
    # Lanes hold problems with signal in different blocks: all blocks are visited.
    tasks, blocks = models.share.shape[1:]
    block = np.empty((tasks, blocks), dtype=np.int64)
    for b in range(blocks):
        block[:, b] = b
    used = models.used.max()
    store = Exact(
        lanes_like(models.kappa[0]),
        lanes_like(models.sizes[0]),
        lanes_like(models.share[0]),
        lanes_like(models.variance[0]),
        lanes_like(models.noise[0]),
        lane_array((1,)),
        np.full(tasks, blocks),
        block,
        used,
        lane_array((used, blocks)),
        lane_array((used,)),
        lane_array((1,)),
        lanes_like(models.single[0]),
        lanes_like(models.pair[0]),
        lanes_like(models.cross[0]),
    )
    store.reach[0] = everywhere(1.0)
    return store


@serves(law.load_model, Exact)
def _load_model(store, lane, models, p):
    load_lane(store.kappa, lane, models.kappa[p])
    load_lane(store.sizes, lane, models.sizes[p])
    load_lane(store.share, lane, models.share[p])
    load_lane(store.variance, lane, models.variance[p])
    load_lane(store.noise, lane, models.noise[p])
    load_lane(store.single, lane, models.single[p])
    load_lane(store.pair, lane, models.pair[p])
    load_lane(store.cross, lane, models.cross[p])
    store.inverse_length[0] = put(store.inverse_length[0], lane, models.inverse_length[p])
    store.reach[0] = put(store.reach[0], lane, models.reach[p])
    for n in range(store.weight.size):
        at, among = n // WIDTH, n % WIDTH
        store.weight[n] = put(store.weight[n], lane, models.weight[p, at, among])
        for b in range(store.rho.shape[1]):
            store.rho[n, b] = put(store.rho[n, b], lane, models.rho[p, at, b, among])


@serves(law.lane_model, Exact, makes=True)
def _lane_model(store):
    return Exact(
        store.kappa,
        store.sizes,
        store.share,
        store.variance,
        store.noise,
        store.inverse_length[0],
        store.count,
        store.block,
        store.used,
        store.rho,
        store.weight,
        store.reach[0],
        store.single,
        store.pair,
        store.cross,
    )


@serves(law.everywhere_model, Exact, makes=True)
def _everywhere_model(model):
    store = lane_array((model.used, model.kappa.size))
    weight = lane_array((model.used,))
    for n in range(model.used):
        at, among = n // WIDTH, n % WIDTH
        weight[n] = everywhere(model.weight[at, among])
        for b in range(model.kappa.size):
            store[n, b] = everywhere(model.rho[at, b, among])
    return Exact(
        in_every_lane(model.kappa),
        in_every_lane(model.sizes),
        in_every_lane(model.share),
        in_every_lane(model.variance),
        in_every_lane(model.noise),
        everywhere(model.inverse_length),
        model.count,
        model.block,
        model.used,
        store,
        weight,
        everywhere(model.reach),
        in_every_lane(model.single),
        in_every_lane(model.pair),
        in_every_lane(model.cross),
    )
