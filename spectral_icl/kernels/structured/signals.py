"""Sums over the nonzero signals of a large problem: between rows over tasks and rows over blocks.

A model of a large problem has arrays over its M nonzeros, ordered by task: ``task``, ``block`` and ``power``
(M,), ``first`` (I + 1,) where those of a task begin, ``order`` (M,) and ``start`` (B + 1,) where those of a
block begin in that order, and ``aligned``, whether nonzero n is block n of task n, so that loops are vectors.
"""

from __future__ import annotations

from spectral_icl.kernels.compile import ALGEBRA, inner


@inner(fastmath=ALGEBRA)
def read_off(model, mu, omega, out):
    """Fill out_n = sum_h mu_hi omega_hb for every nonzero n = (i, b)."""
    for n in range(out.size):
        out[n] = 0.0
    add_read_off(model, mu, omega, out)


@inner(fastmath=ALGEBRA)
def add_read_off(model, mu, omega, out):
    """Add sum_h mu_hi omega_hb to out_n for every nonzero n = (i, b)."""
    task, block = model.task, model.block
    for h in range(mu.shape[0]):
        of_task, of_block = mu[h], omega[h]
        if model.aligned:
            for n in range(out.size):
                out[n] += of_task[n] * of_block[n]
        else:
            for n in range(out.size):
                out[n] += of_task[task[n]] * of_block[block[n]]


@inner(fastmath=ALGEBRA)
def onto_blocks(model, factor, values, mu, out):
    """Add ``factor`` times sum_i values_n mu_hi, over the tasks of a block, to out_hb."""
    task, order, start = model.task, model.order, model.start
    for h in range(mu.shape[0]):
        row, into = mu[h], out[h]
        if model.aligned:
            for n in range(values.size):
                into[n] += factor * values[n] * row[n]
        else:
            for b in range(into.size):
                total = 0.0
                for m in range(start[b], start[b + 1]):
                    total += values[order[m]] * row[task[order[m]]]
                into[b] += factor * total


@inner(fastmath=ALGEBRA)
def onto_tasks(model, factor, values, omega, out):
    """Add ``factor`` times sum_b values_n omega_hb, over the blocks of a task, to out_hi."""
    block, first = model.block, model.first
    for h in range(omega.shape[0]):
        row, into = omega[h], out[h]
        if model.aligned:
            for n in range(values.size):
                into[n] += factor * values[n] * row[n]
        else:
            for i in range(into.size):
                total = 0.0
                for n in range(first[i], first[i + 1]):
                    total += values[n] * row[block[n]]
                into[i] += factor * total


@inner(fastmath=ALGEBRA)
def at_signals(model, mu, omega, out):
    """Fill out_hn = mu_hi omega_hb for every head and nonzero n = (i, b)."""
    task, block = model.task, model.block
    for h in range(mu.shape[0]):
        of_task, of_block, into = mu[h], omega[h], out[h]
        if model.aligned:
            for n in range(into.size):
                into[n] = of_task[n] * of_block[n]
        else:
            for n in range(into.size):
                into[n] = of_task[task[n]] * of_block[block[n]]


@inner(fastmath=ALGEBRA)
def contribution(model, omega, mu, head, task):
    """What a head contributes to the map learned for a task: `spectral_icl.kernels.law.learned`."""
    pull = 0.0
    for n in range(model.first[task], model.first[task + 1]):
        b = model.block[n]
        pull += model.power[n] * model.kappa[b] * omega[head, b]
    return pull * mu[head, task]
