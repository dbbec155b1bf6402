"""A second law of the context, as simple as one can be, to show that nothing else knows which laws there are.

loss_i = sum_b A_ib (1 - sum_h mu_hi omega_hb)^2 + nu_i sum_h mu_hi^2 (1 + sum_b omega_hb^2) + sigma_i^2
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numba.core.caching import NullCache

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.compile import entries
from spectral_icl.kernels.dense import dense_room
from spectral_icl.kernels.lanes import blend, in_every_lane, lanes_like, load_lane, room, where
from spectral_icl.kernels.law import serves


class Toy(NamedTuple):
    """The packed problem."""

    signal: np.ndarray  # (I, B)
    variance: np.ndarray  # (I,)
    noise: np.ndarray  # (I,)
    nu: np.ndarray  # (I,) s_i / L


class Scratch(NamedTuple):
    """Work arrays."""

    pull: np.ndarray  # (I, B)
    size: np.ndarray  # (H, 1)


def pack(problem: si.Problem) -> Toy:
    """The packed problem."""
    variance = np.array(problem.variance)
    return Toy(np.array(problem.signal), variance, np.array(problem.noise), variance / problem.context_length)


def loss(problem: si.Problem, omega: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Task losses (I,) by their definition; also of complex arguments."""
    signal, _, noise, nu = pack(problem)
    bias = (signal * (1.0 - mu.T @ omega) ** 2).sum(axis=1)
    return bias + nu * (mu**2 * (1.0 + (omega**2).sum(axis=1))[:, None]).sum(axis=0) + noise


@serves(law.scratch, Toy, makes=True)
def _scratch(model, shape):
    heads, blocks, tasks = shape
    return Scratch(room(model.nu, (tasks, blocks)), room(model.nu, (heads, 1)))


@serves(law.task_loss, Toy)
def _task_loss(model, omega, mu, work, out):
    heads, blocks = omega.shape
    for h in range(heads):
        work.size[h, 0] = 1.0
        for b in range(blocks):
            work.size[h, 0] += omega[h, b] * omega[h, b]
    for i in range(mu.shape[1]):
        total = model.noise[i]
        for b in range(blocks):
            fit = model.nu[i] * 0.0
            for h in range(heads):
                fit += mu[h, i] * omega[h, b]
            total += model.signal[i, b] * (1.0 - fit) * (1.0 - fit)
        for h in range(heads):
            total += model.nu[i] * mu[h, i] * mu[h, i] * work.size[h, 0]
        out[i] = total


@serves(law.gradient, Toy, compiled=True)
def _gradient(model, omega, mu, grad_omega, grad_mu, work):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    for i in range(tasks):
        for b in range(blocks):
            fit = model.nu[i] * 0.0
            for h in range(heads):
                fit += mu[h, i] * omega[h, b]
            work.pull[i, b] = 2.0 * model.signal[i, b] * (1.0 - fit)
    for h in range(heads):
        work.size[h, 0] = 1.0
        for b in range(blocks):
            work.size[h, 0] += omega[h, b] * omega[h, b]
            grad_omega[h, b] = 0.0
            for i in range(tasks):
                grad_omega[h, b] += 2.0 * model.nu[i] * mu[h, i] * mu[h, i] * omega[h, b]
                grad_omega[h, b] -= work.pull[i, b] * mu[h, i]
        for i in range(tasks):
            grad_mu[h, i] = 2.0 * model.nu[i] * mu[h, i] * work.size[h, 0]
            for b in range(blocks):
                grad_mu[h, i] -= work.pull[i, b] * omega[h, b]


@serves(law.hessian, Toy, compiled=True)
def _hessian(model, omega, mu, work, out):
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    first = heads * blocks
    for n in range(out.shape[0]):
        for m in range(n, out.shape[0]):
            out[n, m] = 0.0
    for h in range(heads):
        for b in range(blocks):
            n = h * blocks + b
            for k in range(h, heads):
                for i in range(tasks):
                    out[n, k * blocks + b] += 2.0 * model.signal[i, b] * mu[h, i] * mu[k, i]
            for i in range(tasks):
                out[n, n] += 2.0 * model.nu[i] * mu[h, i] * mu[h, i]
                for k in range(heads):
                    out[n, first + k * tasks + i] += 2.0 * model.signal[i, b] * mu[h, i] * omega[k, b]
                out[n, first + h * tasks + i] += 4.0 * model.nu[i] * mu[h, i] * omega[h, b] - work.pull[i, b]
        for i in range(tasks):
            n = first + h * tasks + i
            for k in range(h, heads):
                for b in range(blocks):
                    out[n, first + k * tasks + i] += 2.0 * model.signal[i, b] * omega[h, b] * omega[k, b]
            out[n, n] += 2.0 * model.nu[i] * work.size[h, 0]


@serves(law.learned, Toy)
def _learned(model, omega, mu, head, task):
    pull = 0.0
    for b in range(omega.shape[1]):
        pull += model.signal[task, b] * omega[head, b]
    return pull * mu[head, task]


@serves(law.linear_room, Toy, makes=True)
def _linear_room(model, shape):
    return dense_room(shape)


@serves(law.left_range, Toy)
def _left_range(model, work):
    return work.size[0, 0] < 0.0


@serves(law.lost_meaning, Toy)
def _lost_meaning(model, work):
    return work.size[0, 0] < 0.0


@serves(law.largest_tilt, Toy)
def _largest_tilt(model, work):
    largest = work.size[0, 0]
    for h in range(work.size.shape[0]):
        largest = where(work.size[h, 0] > largest, work.size[h, 0], largest)
    return largest


@serves(law.adopt, Toy)
def _adopt(model, mask, old, new):
    blend(mask, old.pull, new.pull)
    blend(mask, old.size, new.size)


@serves(law.pick_model, Toy, makes=True)
def _pick_model(models, p):
    return Toy(models.signal[p], models.variance[p], models.noise[p], models.nu[p])


@serves(law.lane_store, Toy, makes=True)
def _lane_store(models):
    return Toy(
        lanes_like(models.signal[0]),
        lanes_like(models.variance[0]),
        lanes_like(models.noise[0]),
        lanes_like(models.nu[0]),
    )


@serves(law.load_model, Toy)
def _load_model(store, lane, models, p):
    load_lane(store.signal, lane, models.signal[p])
    load_lane(store.variance, lane, models.variance[p])
    load_lane(store.noise, lane, models.noise[p])
    load_lane(store.nu, lane, models.nu[p])


@serves(law.lane_model, Toy, makes=True)
def _lane_model(store):
    return store


@serves(law.everywhere_model, Toy, makes=True)
def _everywhere_model(model):
    return Toy(
        in_every_lane(model.signal),
        in_every_lane(model.variance),
        in_every_lane(model.noise),
        in_every_lane(model.nu),
    )


@contextmanager
def not_kept() -> Iterator[None]:
    """A block whose compilations are not kept on disk, where other processes would look for this module."""
    caches = [entry._cache for entry in entries]
    for entry in entries:
        entry._cache = NullCache()
    try:
        yield
    finally:
        for entry, cache in zip(entries, caches, strict=True):
            entry._cache = cache
