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
    Ints,
    Log,
    Nodes,
    Survey,
    System,
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
def _timed(samples, variance, attainable, thresholds, found, p, i):
    """Fill in when task ``i`` of flow ``p`` was learned, and return the sample where it had been, or -1.

    Everything else that there is to find is filled with nothing.
    """
    moments, losses = samples.times, samples.losses
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
    if end >= 0:
        found.time[p, i] = _summit(moments, losses, i, first, peak)
        found.settled[p, i] = moments[end]
        found.plateau[p, i] = losses[end, i]
    return end


@inner(fastmath=ALGEBRA)
def _winner(model, theta, task):
    """The head with the largest share of what is learned of a task, and that share; -1 if nothing is."""
    total, head, largest = 0.0, -1, -np.inf
    for h in range(theta.omega.shape[0]):
        total += law.learned(model, theta.omega, theta.mu, h, task)
    for h in range(theta.omega.shape[0]):
        share = law.learned(model, theta.omega, theta.mu, h, task) / total
        if share > largest:
            head, largest = h, share
    return head, largest


@inner()
def _allocated(found, p, i, head, share):
    """Fill in the head that took a task; if none did, what fell was the noise of heads that learn nothing."""
    found.head[p, i] = head
    if head >= 0:
        found.share[p, i] = share
    else:
        found.onset[p, i] = found.time[p, i] = found.settled[p, i] = found.plateau[p, i] = np.nan


@inner()
def _measure(shape, model, chart, nodes, samples, variance, attainable, thresholds, x, theta, found, p, i):
    """Fill in how task ``i`` of flow ``p`` was learned and left again between the nodes of the flow."""
    heads, blocks, count = shape
    moments, mu = samples.times, samples.mu
    first_mu = heads * blocks
    end = _timed(samples, variance, attainable, thresholds, found, p, i)
    if end < 0:
        return
    extension(chart, nodes, moments[end], x, theta.flat)
    head, share = _winner(model, theta, i)
    _allocated(found, p, i, head, share)
    if mu.shape[1] > 0 and found.head[p, i] >= 0:
        extension(chart, nodes, found.time[p, i], x, theta.flat)
        for n in range(theta.flat.size):
            found.at[p, i, n] = theta.flat[n]
        found.rival[p, i], found.escape[p, i] = _departure(
            heads,
            count,
            moments,
            mu,
            found.time[p, i],
            theta.flat,
            first_mu,
            i,
            found.head[p, i],
            thresholds.exit,
        )


@entry(slow=True)
def measure_phases(
    systems: Systems, log: Log, first: int, stop: int, tasks: Tasks, thresholds: Thresholds, found: Emerged
) -> None:
    """Fill ``found`` with how each task of the flows ``first`` to ``stop`` was learned and left again."""
    shape = systems.shape
    count, size = shape[2], log.x.shape[1]
    x, theta = np.empty(size), parts_of(np.empty(size), shape)
    in_lanes = parts_of(lane_array((size,)), shape)
    per_lane = np.zeros((count + 2, WIDTH))
    seen = as_lanes(per_lane)
    floating = floating_mode()
    set_floating_mode(flushing(floating))
    for p in range(first, stop):
        if log.last[p - log.first] < 0:
            continue
        single = law.pick_model(systems.models, p)
        model = law.everywhere_model(single)
        chart, nodes = pick_chart(systems.charts, p), nodes_of(log, p)
        samples = _samples(nodes, shape, is_mixed(chart))
        _refine(model, chart, nodes, in_lanes, law.scratch(model, shape), per_lane, seen, samples)
        for i in range(count):
            _measure(
                shape,
                single,
                chart,
                nodes,
                samples,
                tasks.variance[p, i],
                tasks.attainable[p, i],
                thresholds,
                x,
                theta,
                found,
                p,
                i,
            )
    set_floating_mode(floating)


@entry(slow=True)
def survey(system: System, nodes: Nodes, scale: Floats, seen: Survey) -> None:
    """Fill in what is kept of some steps of a flow whose states are not: see `Survey`.

    ``scale`` (B,) is d_b kappa_b^2.
    """
    model, chart, shape = system.model, system.chart, system.shape
    heads, blocks, tasks = shape
    steps = nodes.dense.shape[0]
    points = (seen.times.size - 1) // steps if steps > 0 else 1
    x, theta = np.empty(nodes.x.shape[1]), parts_of(np.empty(nodes.x.shape[1]), shape)
    work = law.scratch(model, shape)
    floating = floating_mode()
    set_floating_mode(flushing(floating))
    for k in range(steps + 1):
        for m in range(points if k < steps else 1):
            time = nodes.t[k]
            if m > 0:
                time += (nodes.t[k + 1] - nodes.t[k]) * (m / points)
            extension(chart, nodes, time, x, theta.flat)
            seen.times[k * points + m] = time
            law.task_loss(model, theta.omega, theta.mu, work, seen.losses[k * points + m])
            if m == 0:
                for h in range(heads):
                    total = 0.0
                    for b in range(blocks):
                        total += scale[b] * theta.omega[h, b] * theta.omega[h, b]
                    seen.variances[k, h] = total
                for i in range(tasks):
                    seen.head[k, i], seen.share[k, i] = _winner(model, theta, i)
    set_floating_mode(floating)


@entry()
def measure_survey(
    times: Floats,
    losses: Floats,
    nodes: Floats,
    head: Ints,
    share: Floats,
    tasks: Tasks,
    thresholds: Thresholds,
    found: Emerged,
) -> None:
    """Fill ``found`` with how each task of one flow was learned, from what `survey` kept of all its steps.

    Heads are those at the end of the step in which a task was settled. Escapes are not looked for.
    """
    samples = Samples(times, losses, losses[:, :0])
    for i in range(losses.shape[1]):
        end = _timed(samples, tasks.variance[0, i], tasks.attainable[0, i], thresholds, found, 0, i)
        if end >= 0:
            k = min(np.searchsorted(nodes, times[end]), nodes.size - 1)
            _allocated(found, 0, i, head[k, i], share[k, i])
