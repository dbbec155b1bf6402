"""Phases of a solved flow: when each task was learned, by which head, and when it was left again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import is_mixed, pick_chart
from spectral_icl.kernels.compile import ALGEBRA, entry, inner, maker
from spectral_icl.kernels.elementary import exponential, hyperbolic_sine
from spectral_icl.kernels.field import parts_of
from spectral_icl.kernels.integrator import extension
from spectral_icl.kernels.lanes import WIDTH, as_lanes, everywhere, lane_array, pick, where
from spectral_icl.kernels.log import nodes_of
from spectral_icl.kernels.model import (
    EXPONENTIAL,
    HYPERBOLIC,
    Emerged,
    Floats,
    Log,
    Systems,
    Tasks,
    Thresholds,
)
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode

POINTS = 8  # samples of the loss per step; as many lanes hold whole steps


class Samples(NamedTuple):
    """A flow at the times that split every step into `POINTS` parts."""

    times: Floats  # (S,)
    losses: Floats  # (S, I) of every task
    mu: Floats  # (S, H I) OV entries; (S, 0) where no sign can change


@maker
def _samples(nodes, shape, with_mu):
    heads, _, tasks = shape
    points = nodes.dense.shape[0] * POINTS + 1
    return Samples(np.empty(points), np.empty((points, tasks)), np.empty((points, heads * tasks * with_mu)))


@inner(fastmath=ALGEBRA)
def _refine(model, chart, nodes, theta, work, per_lane, seen, samples):
    """Fill the samples of a flow. The lanes of the model, of theta and of the work arrays are points here.

    ``seen`` are the rows of ``per_lane`` (I + 2, WIDTH) in lanes: the losses, and where a lane stands, which
    is in which step of the group and how far in it.
    """
    x, dense = nodes.x, nodes.dense
    moments, losses, mu = samples
    steps, order, size = dense.shape
    tasks = losses.shape[1]
    first_mu = theta.omega.size
    per_group = WIDTH // POINTS
    for lane in range(WIDTH):
        per_lane[tasks, lane] = lane // POINTS
        per_lane[tasks + 1, lane] = (lane % POINTS) / POINTS
    turn, s = seen[tasks], seen[tasks + 1]
    for group in range(0, steps + 1, per_group):
        for n in range(size):
            value = s
            for g in range(per_group):
                k = group + g
                if k < steps:
                    bend = everywhere(0.0)
                    for m in range(order - 1, -1, -1):
                        bend = bend * s + dense[k, m, n]
                    at = (1.0 - s) * x[k, n] + s * (x[k + 1, n] + (1.0 - s) * bend)
                else:
                    at = everywhere(x[steps, n])
                value = where(turn == float(g), at, value)
            if chart.kind[n] == EXPONENTIAL:
                value = chart.scale[n] * exponential(value)
            elif chart.kind[n] == HYPERBOLIC:
                value = chart.scale[n] * hyperbolic_sine(value)
            theta.flat[n] = value
        law.task_loss(model, theta.omega, theta.mu, work, seen)
        for lane in range(WIDTH):
            k = group + lane // POINTS
            if k > steps or (k == steps and lane % POINTS > 0):
                break
            point = k * POINTS + lane % POINTS
            moments[point] = nodes.t[k]
            if k < steps:
                moments[point] += (nodes.t[k + 1] - nodes.t[k]) * ((lane % POINTS) / POINTS)
            for i in range(tasks):
                losses[point, i] = per_lane[i, lane]
            for m in range(mu.shape[1]):
                mu[point, m] = pick(theta.flat[first_mu + m], lane)


@inner()
def _fall(moments, losses, task, n):
    """The rate at which a task's loss falls on interval ``n``."""
    return (losses[n, task] - losses[n + 1, task]) / (moments[n + 1] - moments[n])


@inner()
def _steepest(moments, losses, task, first, attainable, thresholds):
    """Where a task's loss begins to fall, falls steepest and comes to its plateau: (begun, peak, end).

    They are indices into ``moments``, each -1 if there is none; ``peak`` counts the intervals.
    """
    points = moments.size
    if points - first < 3:
        return -1, -1, -1
    lowest = np.inf
    for n in range(first, points):
        if not np.isfinite(losses[n, task]):
            return -1, -1, -1
        lowest = min(lowest, losses[n, task])
    top = losses[first, task]
    depth = top - lowest
    least = thresholds.learned * attainable
    if depth < least:
        return -1, -1, -1
    begun = first
    while losses[begun, task] > top - thresholds.onset * depth:
        begun += 1
    peak, steepest = -1, -np.inf
    for n in range(min(begun, points - 2), points - 1):
        fall = _fall(moments, losses, task, n)
        if fall > steepest:
            peak, steepest = n, fall
    while peak > first and _fall(moments, losses, task, peak - 1) > steepest:  # the top is further back
        peak -= 1
        steepest = _fall(moments, losses, task, peak)
    if peak < 0 or steepest == np.inf:  # steps of a few units in the last place of the time
        return begun, -1, -1
    if peak < begun:
        begun = max(first, peak - 1)
    before = np.inf
    for n in range(peak, points - 1):
        fall = _fall(moments, losses, task, n)
        # all but vanished, or at its lowest before it rises
        if fall > before and before <= thresholds.lull * steepest:
            end = n
            return begun, peak, (end if top - losses[end, task] >= least else -1)
        if fall <= thresholds.settled * steepest:
            return begun, peak, (n + 1 if top - losses[n + 1, task] >= least else -1)
        before = fall
    return begun, peak, -1


@inner()
def _summit(moments, losses, task, first, peak):
    """When the rate of fall is largest: the top of the parabola through three of its values.

    A fall that only slows is steepest at the ``first`` moment.
    """
    if peak == first:
        return moments[first]
    middle = 0.5 * (moments[peak] + moments[peak + 1])
    if peak == moments.size - 2:
        return middle
    before = 0.5 * (moments[peak - 1] + moments[peak])
    after = 0.5 * (moments[peak + 1] + moments[peak + 2])
    y0 = _fall(moments, losses, task, peak - 1)
    y1 = _fall(moments, losses, task, peak)
    y2 = _fall(moments, losses, task, peak + 1)
    left, right = (y1 - y0) / (middle - before), (y2 - y1) / (after - middle)
    curvature = (right - left) / (after - before)
    if not -np.inf < curvature < 0.0:
        return middle
    return 0.5 * (before + middle) - left / (2.0 * curvature)


@inner()
def _departure(heads, tasks, moments, mu, start, at_start, first_mu, task, winner, exit):
    """The first rival whose mu passes minus ``exit`` times the winner's after time ``start``, and when."""
    chosen, soonest = -1, np.nan
    for rival in range(heads):
        if rival == winner:
            continue
        own, other = at_start[first_mu + winner * tasks + task], at_start[first_mu + rival * tasks + task]
        before = np.sign(own) * other + exit * abs(own)
        time_before = start
        if before < 0.0:
            continue  # never in
        for n in range(moments.size):
            if moments[n] <= start:
                continue
            own, other = mu[n, winner * tasks + task], mu[n, rival * tasks + task]
            margin = np.sign(own) * other + exit * abs(own)
            if margin < 0.0:
                when = time_before + before / (before - margin) * (moments[n] - time_before)
                if chosen < 0 or when < soonest:
                    chosen, soonest = rival, when
                break
            before, time_before = margin, moments[n]
    return chosen, soonest


@inner()
def _measure(shape, chart, nodes, samples, variance, attainable, pull, thresholds, x, theta, found, p, i):
    """Fill in how task ``i`` of flow ``p`` was learned and left again between the nodes of the flow."""
    heads, blocks, count = shape
    moments, losses, mu = samples
    first_mu = heads * blocks
    found.head[p, i] = found.rival[p, i] = -1
    found.share[p, i] = found.onset[p, i] = found.time[p, i] = found.settled[p, i] = np.nan
    found.plateau[p, i] = found.escape[p, i] = np.nan
    # A start with a loss above that of zero weights first falls to it; that is no emergence.
    first = 0
    while first < moments.size and not losses[first, i] <= variance * (1.0 + 1e-9):
        first += 1
    begun, peak, end = _steepest(moments, losses, i, first, attainable, thresholds)
    if begun >= 0:
        found.onset[p, i] = moments[begun]
    if end < 0:
        return
    found.time[p, i] = _summit(moments, losses, i, first, peak)
    found.settled[p, i] = moments[end]
    found.plateau[p, i] = losses[end, i]
    extension(chart, nodes, moments[end], x, theta)
    total, largest = 0.0, -np.inf
    for again in range(2):
        for h in range(heads):
            held = 0.0
            for b in range(blocks):
                held += pull[i, b] * theta[h * blocks + b]
            held *= theta[first_mu + h * count + i]
            if not again:
                total += held
            elif held / total > largest:
                largest = held / total
                found.head[p, i] = h
                found.share[p, i] = largest
    if found.head[p, i] < 0:  # what fell is the noise of heads that learn nothing of this task
        found.onset[p, i] = found.time[p, i] = found.settled[p, i] = found.plateau[p, i] = np.nan
    if mu.shape[1] > 0 and found.head[p, i] >= 0:
        extension(chart, nodes, found.time[p, i], x, theta)
        for n in range(theta.size):
            found.at[p, i, n] = theta[n]
        found.rival[p, i], found.escape[p, i] = _departure(
            heads, count, moments, mu, found.time[p, i], theta, first_mu, i, found.head[p, i], thresholds.exit
        )


@entry(slow=True)
def measure_phases(
    systems: Systems, log: Log, first: int, stop: int, tasks: Tasks, thresholds: Thresholds, found: Emerged
) -> None:
    """Fill ``found`` with how each task of the flows ``first`` to ``stop`` was learned and left again."""
    shape = systems.shape
    count, size = shape[2], log.x.shape[1]
    x, theta = np.empty(size), np.empty(size)
    in_lanes = parts_of(lane_array((size,)), shape)
    per_lane = np.zeros((count + 2, WIDTH))
    seen = as_lanes(per_lane)
    floating = floating_mode()
    set_floating_mode(flushing(floating))
    for p in range(first, stop):
        if log.last[p - log.first] < 0:
            continue
        model = law.everywhere_model(law.pick_model(systems.models, p))
        chart, nodes = pick_chart(systems.charts, p), nodes_of(log, p)
        samples = _samples(nodes, shape, is_mixed(chart))
        _refine(model, chart, nodes, in_lanes, law.scratch(model, shape), per_lane, seen, samples)
        for i in range(count):
            _measure(
                shape,
                chart,
                nodes,
                samples,
                tasks.variance[p, i],
                tasks.attainable[p, i],
                tasks.pull[p],
                thresholds,
                x,
                theta,
                found,
                p,
                i,
            )
    set_floating_mode(floating)
