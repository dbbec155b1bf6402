"""The integrator of one flow, alternately explicit and implicit, and its dense output."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.charts import to_primal
from spectral_icl.kernels.compile import entry, inner
from spectral_icl.kernels.model import (
    ALWAYS_IMPLICIT,
    BUFFER_FULL,
    EXPLICIT,
    IMPLICIT,
    REACHED_END,
    STATIONARY,
    STEP_LIMIT,
    Chart,
    Floats,
    Limits,
    Methods,
    Nodes,
    Progress,
    System,
)
from spectral_icl.kernels.steps import (
    attempt,
    factorise,
    field,
    first_step,
    fitted,
    growth,
    is_stationary,
    prepare,
    shrinkage,
    stiffness,
    stiffness_bound,
    tolerances,
    too_small,
    what_failed,
    what_stalled,
    workspace,
)

# Steps turn implicit where step * |Jacobian| strains the explicit method (whose stability interval ends at
# 3.3), and explicit where it is a third of that; either must last for some steps. The strain accepted grows
# with the size N of the state, as an implicit step costs ever more explicit ones.
_STRAIN_PER_ENTRY, _LEAST_STRAIN, _MOST_STRAIN, _PATIENCE = 1.0 / 30.0, 0.8, 2.5, 3


@entry(slow=True)
def integrate(
    system: System, methods: Methods, limits: Limits, progress: Progress, nodes: Nodes
) -> tuple[int, int]:
    """Advance the dual flow from ``nodes.x[0]``, and return (status, accepted steps in this call).

    Steps are explicit while accuracy limits them, which is so until the first emergence, and implicit (a
    Rosenbrock method with the exact Jacobian) once stability would. Error control is on the embedded
    solution in the largest weighted component. An implicit step that reaches past the pole of the stability
    function on a growing mode shows as a matrix that is not positive definite, and is rejected.

    ``progress`` is updated, so that a call that ends with BUFFER_FULL is continued by one with ``nodes.x[0]``
    set to the last state.
    """
    chart, twin = system.chart, system.twin
    explicit, implicit = methods.explicit, methods.implicit
    t_end, stationary = limits.t_end, limits.stationary
    size = nodes.x.shape[1]
    capacity = nodes.t.size - 1
    strain = min(_MOST_STRAIN, max(_LEAST_STRAIN, _STRAIN_PER_ENTRY * size))
    work = workspace(system, size, max(explicit.a.shape[0], implicit.a.shape[0]))
    x = np.empty(size)
    for n in range(size):
        x[n] = nodes.x[0, n]
    t, step, previous_error = progress.real
    mode, streak = progress.mode
    count = progress.counts
    nodes.t[0] = t
    accepted = 0
    fresh = True  # the Hessian at x is not yet known
    rejected = False  # the last attempt was
    cause = REACHED_END  # why the last attempt was not finite, if it was not
    coupled = np.int64(0)

    count[2] += 1
    if not field(system, x, work.theta, work.grad, work.scratch, work.slope):
        return what_failed(system, x, work), accepted

    while True:
        if fresh:
            if t >= t_end:
                return REACHED_END, accepted
            if stationary > 0.0 and is_stationary(chart, work.theta, work.slope, stationary):
                return STATIONARY, accepted
            if accepted == capacity:
                return BUFFER_FULL, accepted
            tolerances(chart, x, limits.rtol, work.weights)
            if mode != EXPLICIT or step <= 0.0:
                prepare(system, work)
                count[3] += 1
                if step <= 0.0:
                    step = first_step(
                        implicit.order,
                        chart.speed,
                        work.slope,
                        work.root,
                        work.hess,
                        work.weights,
                        work.rhs,
                        t_end - t,
                    )
            fresh = False
        if count[0] + count[1] >= limits.max_steps:
            return STEP_LIMIT, accepted
        remaining = t_end - t
        step = fitted(step, remaining)
        if too_small(step, t):
            return what_stalled(system, cause, work), accepted

        if mode != EXPLICIT:
            count[4] += 1
            coupled, definite = factorise(chart, implicit.gamma * step, work)
            if not definite:
                count[1] += 1
                step *= 0.5
                rejected = True
                continue
        tableau = explicit if mode == EXPLICIT else implicit
        error, evaluations = attempt(system, tableau, x, step, coupled, work)
        count[2] += evaluations
        if not error <= 1.0:
            count[1] += 1
            rejected = True
            if np.isfinite(error):
                cause = REACHED_END
                step *= shrinkage(tableau.order, error)
            else:
                cause = what_failed(system, work.trial, work)
                step *= 0.1
            continue

        if mode != EXPLICIT:
            otherwise = stiffness_bound(step, work) < strain / 3.0
        else:
            otherwise = stiffness(work.increments, explicit.a.shape[0], work.rhs, work.trial) > strain
        streak = streak + 1 if otherwise else 0
        if streak >= _PATIENCE and mode != ALWAYS_IMPLICIT:
            mode = EXPLICIT if mode == IMPLICIT else IMPLICIT
            streak = 0

        t = t_end if step >= remaining else t + step
        for n in range(size):
            m = twin[n]  # equal heads are kept equal to the last bit: rounding must not break their tie
            x[n] = work.trial[m]
            work.theta[n] = work.new_theta[m]
            work.slope[n] = work.new_slope[m]
            if m != n:
                for s in range(tableau.a.shape[0]):
                    work.increments[s, n] = work.increments[s, m]
        _store(tableau, work.increments, accepted, t, x, nodes)
        accepted += 1
        count[0] += 1
        error = max(error, 1e-8)
        step *= growth(tableau.order, error, previous_error, rejected)
        previous_error = error
        progress.real[0] = t
        progress.real[1] = step
        progress.real[2] = previous_error
        progress.mode[0] = mode
        progress.mode[1] = streak
        fresh = True
        rejected = False
        cause = REACHED_END


@inner()
def _store(tableau, increments, index, t, x, nodes):
    """Record an accepted step: the node it ends in and the coefficients of its continuous extension."""
    size = x.size
    stages = tableau.dense.shape[1]
    nodes.t[index + 1] = t
    for n in range(size):
        nodes.x[index + 1, n] = x[n]
    for k in range(tableau.dense.shape[0]):
        for n in range(size):
            total = 0.0
            for s in range(stages):
                total += tableau.dense[k, s] * increments[s, n]
            nodes.dense[index, k, n] = total


@entry()
def evaluate(chart: Chart, nodes: Nodes, times: Floats, theta: Floats) -> None:
    """Fill ``theta`` (T, N) with the continuous extension at ``times`` (T,), inside the nodes' range."""
    size = nodes.x.shape[1]
    x = np.empty(size)
    if nodes.t.size == 1:
        for m in range(times.size):
            to_primal(chart, nodes.x[0], theta[m])
        return
    for m in range(times.size):
        step = min(max(np.searchsorted(nodes.t, times[m]), 1), nodes.t.size - 1) - 1
        width = nodes.t[step + 1] - nodes.t[step]
        s = (times[m] - nodes.t[step]) / width
        for n in range(size):
            bend = 0.0
            for k in range(nodes.dense.shape[1] - 1, -1, -1):
                bend = bend * s + nodes.dense[step, k, n]
            x[n] = (1.0 - s) * nodes.x[step, n] + s * (nodes.x[step + 1, n] + (1.0 - s) * bend)
        to_primal(chart, x, theta[m])
