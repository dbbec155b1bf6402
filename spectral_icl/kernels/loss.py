"""The loss of given states, whatever the law of the model."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import pick_chart
from spectral_icl.kernels.compile import ALGEBRA, entry
from spectral_icl.kernels.field import parts_of
from spectral_icl.kernels.integrator import extension
from spectral_icl.kernels.log import nodes_of
from spectral_icl.kernels.model import STATIONARY, Floats, Ints, Log, Model, Systems


def losses_by(model: Model, omega: Floats, mu: Floats) -> Floats:
    """Losses (T, I) of every task by a model, for states omega (T, H, B) and mu (T, H, I)."""
    found: Floats = np.empty((len(omega), mu.shape[2]))
    # contiguous copies: the compiled functions for views are others, and round differently
    task_losses(model, np.array(omega, order="C"), np.array(mu, order="C"), found)
    return found


@entry(fastmath=ALGEBRA)
def task_losses(model: Model, omega: Floats, mu: Floats, out: Floats) -> None:
    """Fill ``out`` (T, I) with the loss of every task for T states."""
    states, heads, blocks = omega.shape
    work = law.scratch(model, (heads, blocks, mu.shape[2]))
    for n in range(states):
        law.task_loss(model, omega[n], mu[n], work, out[n])


@entry()
def task_losses_all(models: Model, omega: Floats, mu: Floats, out: Floats) -> None:
    """Fill ``out`` (P, I) with the loss of every task for P states, each of its own model."""
    states, heads, blocks = omega.shape
    work = law.scratch(law.pick_model(models, 0), (heads, blocks, mu.shape[2]))
    for p in range(states):
        law.task_loss(law.pick_model(models, p), omega[p], mu[p], work, out[p])


@entry(fastmath=ALGEBRA)
def loss_curves(
    systems: Systems, log: Log, first: int, stop: int, times: Floats, outcome: Ints, out: Floats
) -> None:
    """Fill ``out`` (P, T) with the loss of the flows ``first`` to ``stop`` at ``times`` (T,).

    Past the end of a flow it is left as it is, unless by its ``outcome`` (P,) the flow rests there.
    """
    size, tasks = log.x.shape[1], systems.shape[2]
    x, theta, losses = np.empty(size), parts_of(np.empty(size), systems.shape), np.empty(tasks)
    work = law.scratch(law.pick_model(systems.models, 0), systems.shape)
    for p in range(first, stop):
        if log.last[p - log.first] < 0:
            continue
        nodes, model = nodes_of(log, p), law.pick_model(systems.models, p)
        chart = pick_chart(systems.charts, p)
        for k in range(times.size):
            if times[k] > nodes.t[-1] and outcome[p] != STATIONARY:
                break
            extension(chart, nodes, min(times[k], nodes.t[-1]), x, theta.flat)
            law.task_loss(model, theta.omega, theta.mu, work, losses)
            out[p, k] = losses.sum()
