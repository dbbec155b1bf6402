"""Phases of a solved flow: when each task was learned, by which head, and when it was left again."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import lanes_sinh
from spectral_icl.kernels.compile import ALGEBRA, entry, inner
from spectral_icl.kernels.integrator import evaluate
from spectral_icl.kernels.lanes import WIDTH, as_lanes, everywhere, lane_array, pick, where
from spectral_icl.kernels.model import (
    EXPONENTIAL,
    HYPERBOLIC,
    Chart,
    Emerged,
    Model,
    Nodes,
    Shape,
    Tasks,
    Thresholds,
)

POINTS = 8  # samples of the loss per step; as many lanes hold whole steps


@inner(fastmath=ALGEBRA)
def _refine(model, chart, shape, nodes, moments, losses, mu):
    """Fill the times that split every step into `POINTS` parts, and the loss of every task there.

    ``mu`` is filled with the OV entries at these times unless it is empty. The lanes are points here.
    """
    heads, blocks, tasks = shape
    t, x, dense = nodes.t, nodes.x, nodes.dense
    steps, order, size = dense.shape
    first_mu = heads * blocks
    lanes = law.everywhere_model(model)
    work = law.scratch(lanes, shape)
    theta = lane_array(size)
    omega = theta[:first_mu].reshape(heads, blocks)
    ov = theta[first_mu:].reshape(heads, tasks)
    per_lane = np.zeros((tasks + 2, WIDTH))
    seen = as_lanes(
        per_lane
    )  # the losses, and where a lane stands: in which step of the group, how far in it
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
                value = chart.scale[n] * np.exp(value)
            elif chart.kind[n] == HYPERBOLIC:
                value = chart.scale[n] * lanes_sinh(value)
            theta[n] = value
        law.task_loss(lanes, omega, ov, work, seen)
        for lane in range(WIDTH):
            k = group + lane // POINTS
            if k > steps or (k == steps and lane % POINTS > 0):
                break
            point = k * POINTS + lane % POINTS
            moments[point] = t[k]
            if k < steps:
                moments[point] += (t[k + 1] - t[k]) * ((lane % POINTS) / POINTS)
            for i in range(tasks):
                losses[point, i] = per_lane[i, lane]
            for m in range(mu.shape[1]):
                mu[point, m] = pick(theta[first_mu + m], lane)


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
        fall = (losses[n, task] - losses[n + 1, task]) / (moments[n + 1] - moments[n])
        if fall > steepest:
            peak, steepest = n, fall
    if peak < 0 or steepest == np.inf:  # steps of a few units in the last place of the time
        return begun, -1, -1
    before = np.inf
    for n in range(peak, points - 1):
        fall = (losses[n, task] - losses[n + 1, task]) / (moments[n + 1] - moments[n])
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
    """When the rate of fall is largest: the top of the parabola through three of its values."""
    middle = 0.5 * (moments[peak] + moments[peak + 1])
    if peak == first or peak == moments.size - 2:
        return middle
    before = 0.5 * (moments[peak - 1] + moments[peak])
    after = 0.5 * (moments[peak + 1] + moments[peak + 2])
    y0 = (losses[peak - 1, task] - losses[peak, task]) / (moments[peak] - moments[peak - 1])
    y1 = (losses[peak, task] - losses[peak + 1, task]) / (moments[peak + 1] - moments[peak])
    y2 = (losses[peak + 1, task] - losses[peak + 2, task]) / (moments[peak + 2] - moments[peak + 1])
    left, right = (y1 - y0) / (middle - before), (y2 - y1) / (after - middle)
    curvature = (right - left) / (after - before)
    if curvature >= 0.0:
        return middle
    return 0.5 * (before + middle) - left / (2.0 * curvature)


@inner()
def _departure(shape, moments, mu, start, at_start, task, winner, exit):
    """The first rival whose mu passes minus ``exit`` times the winner's after time ``start``, and when."""
    heads, _, tasks = shape
    chosen, soonest = -1, np.nan
    for rival in range(heads):
        if rival == winner:
            continue
        own, other = at_start[winner, task], at_start[rival, task]
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


@entry()
def measure_phases(
    model: Model,
    chart: Chart,
    shape: Shape,
    nodes: Nodes,
    tasks: Tasks,
    thresholds: Thresholds,
    found: Emerged,
) -> None:
    """Fill ``found`` with how each task was learned and left again between the nodes of its flow."""
    heads, blocks, count = shape
    steps, _, size = nodes.dense.shape
    first_mu = heads * blocks
    points = steps * POINTS + 1
    moments, losses = np.empty(points), np.empty((points, count))
    signs_may_change = False
    for n in range(size):
        signs_may_change = signs_may_change or chart.kind[n] != EXPONENTIAL
    mu = np.empty((points, heads * count if signs_may_change else 0))
    _refine(model, chart, shape, nodes, moments, losses, mu)
    instant, theta = np.empty(1), np.empty((1, size))
    for i in range(count):
        found.head[i] = found.rival[i] = -1
        found.share[i] = found.onset[i] = found.time[i] = found.settled[i] = np.nan
        found.plateau[i] = found.escape[i] = np.nan
        # A start with a loss above that of zero weights first falls to it; that is no emergence.
        first = 0
        while first < points and not losses[first, i] <= tasks.variance[i] * (1.0 + 1e-9):
            first += 1
        begun, peak, end = _steepest(moments, losses, i, first, tasks.attainable[i], thresholds)
        if begun >= 0:
            found.onset[i] = moments[begun]
        if end < 0:
            continue
        found.time[i] = _summit(moments, losses, i, first, peak)
        found.settled[i] = moments[end]
        found.plateau[i] = losses[end, i]
        instant[0] = moments[end]
        evaluate(chart, nodes, instant, theta)
        total = 0.0
        largest = -np.inf
        held = np.empty(heads)
        for h in range(heads):
            held[h] = 0.0
            for b in range(blocks):
                held[h] += tasks.pull[i, b] * theta[0, h * blocks + b]
            held[h] *= theta[0, first_mu + h * count + i]
            total += held[h]
        for h in range(heads):
            if held[h] / total > largest:
                largest = held[h] / total
                found.head[i] = h
                found.share[i] = largest
        if signs_may_change and found.head[i] >= 0:
            instant[0] = found.time[i]
            evaluate(chart, nodes, instant, theta)
            found.at[i] = theta[0]
            at_start = theta[0, first_mu:].reshape(heads, count)
            found.rival[i], found.escape[i] = _departure(
                shape, moments, mu, instant[0], at_start, i, found.head[i], thresholds.exit
            )
