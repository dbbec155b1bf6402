"""Every compiled function: the reduced loss with its derivatives, the dual charts, the integrator.

Conventions. Functions take float64 arrays and ints, fill buffers that the caller owns, return an int
status where they can fail, never raise and never print. The state is one flat vector of ``H*B`` KQ
entries (head-major) followed by ``H*I`` OV entries (head-major). ``Model`` holds the packed problem,
``Chart`` the map between the flat state ``theta = (omega, mu)`` and its dual coordinates ``x``.

Everything is in one file on purpose: numba stamps its on-disk cache with the one file that defines the
function, so a callee in another file could go stale. For the same reason the model is selected by an int
(``Model.kernel``) and not by a function argument, which would defeat the cache.

The floating-point liberties of ``_ALGEBRA`` (reassociation, contraction) are taken in the algebra only.
Step control and every finiteness test run with strict semantics, where NaN compares as NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core import event

_ALGEBRA: Any = {"contract", "reassoc", "arcp", "nsz"}
_ENTRY: Any = {"cache": True, "error_model": "numpy", "nogil": True}  # called from Python
# Inner functions are inlined by force. Otherwise a call may be resolved to another compilation of the callee
# right after compiling than when loaded from the cache, and the results differ in their last bits.
_INNER: Any = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "forceinline": True,
}

LARGE_L = 0  # Model.kernel: exponential-tilt kernel of the large context limit

EXPONENTIAL, HYPERBOLIC, LINEAR = 0, 1, 2  # Chart.kind: theta = s e^x, a sinh x, x

EXPLICIT, IMPLICIT, ALWAYS_IMPLICIT = range(3)  # Progress.mode: two that alternate, one to compare with

# Outcomes of `integrate`. BUFFER_FULL is not final: the caller supplies fresh buffers and continues.
REACHED_END, STATIONARY, BUFFER_FULL, STEP_LIMIT, STEP_UNDERFLOW, OVERFLOW, NON_FINITE = range(7)

# Below exp(-690) ~ 1e-300 a dual coordinate means (signed) zero; subnormals would only slow the loops.
_LOWEST = -690.0

# Steps turn implicit where step * |Jacobian| strains the explicit method (whose stability interval ends at
# 3.3), and explicit where it is a third of that; either must last for some steps. The strain accepted grows
# with the size N of the state, as an implicit step costs ever more explicit ones.
_STRAIN_PER_ENTRY, _LEAST_STRAIN, _MOST_STRAIN, _PATIENCE = 1.0 / 30.0, 0.8, 2.5, 3

# The pivots of 1 + gamma h Q S Q start at 1 for h = 0; one this small is at the pole of the method.
_SAFE_PIVOT = 1e-12


class _CompilationListener(event.Listener):
    def __init__(self, announce: Callable[[], None]) -> None:
        self.announce = announce

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] is integrate:
            self.announce()

    def on_end(self, event: Any) -> None:
        pass


def on_compilation(announce: Callable[[], None]) -> Any:
    """Call ``announce`` if the integrator is compiled inside the context, not if it is found in the cache."""
    return event.install_listener("numba:compile", _CompilationListener(announce))


class Model(NamedTuple):
    """The packed problem: what the loss and its derivatives need."""

    kernel: int
    kappa: np.ndarray  # (B,) covariate eigenvalues
    weight: np.ndarray  # (B,) d_b kappa_b^2
    signal: np.ndarray  # (I, B)
    variance: np.ndarray  # (I,) s_i = sum_b A_ib + sigma_i^2
    noise: np.ndarray  # (I,)
    inverse_length: float  # 1 / L


class Chart(NamedTuple):
    """Dual coordinates, entry by entry: theta = map(x) and dx/dt = -speed * sign * dloss/dtheta."""

    kind: np.ndarray  # (N,) int64
    # (N,) sign (exponential), half the imbalance (hyperbolic), size below which errors are absolute (linear)
    scale: np.ndarray
    speed: np.ndarray  # (N,) >= 0; 0 freezes the entry
    sign: np.ndarray  # (N,) +1 or -1


class Tableau(NamedTuple):
    """A one-step method: Rosenbrock in the transformed variables, or explicit Runge-Kutta (gamma = 0).

    The solution is the last stage's argument, plus its increment for a (stiffly accurate) Rosenbrock method.
    """

    gamma: float
    order: int
    a: np.ndarray  # (stages, stages) stage arguments
    c: np.ndarray  # (stages, stages) couplings of the increments, Rosenbrock only
    error: np.ndarray  # (stages,) weights of the error estimate
    dense: np.ndarray  # (K, stages) coefficients of the continuous extension


class Progress(NamedTuple):
    """Where an integration stands, carried between calls of `integrate`."""

    real: np.ndarray  # (3,) t, step, previous error
    mode: np.ndarray  # (2,) int64: kind of step, and for how many steps the other kind has looked better
    count: np.ndarray  # (5,) accepted, rejected, field, Hessian, factorisation


class Record(NamedTuple):
    """Buffers for the accepted steps: node times and states, and the dense coefficients between them."""

    t: np.ndarray  # (capacity + 1,)
    x: np.ndarray  # (capacity + 1, N)
    dense: np.ndarray  # (capacity, K, N)


# --------------------------------------------------------------------------------------------------
# The reduced loss and its derivatives
# --------------------------------------------------------------------------------------------------


@njit(**_INNER, fastmath=_ALGEBRA)
def _overlaps(model, omega, mu, exponential, residual):
    """Fill E_hk = exp(sum_b d_b kappa_b^2 omega_hb omega_kb) and R_ib = 1 - kappa_b sum_h mu_hi omega_hb."""
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    for h in range(heads):
        for k in range(h + 1):
            exponent = 0.0
            for b in range(blocks):
                exponent += model.weight[b] * omega[h, b] * omega[k, b]
            value = np.exp(exponent)
            exponential[h, k] = value
            exponential[k, h] = value
    for i in range(tasks):
        for b in range(blocks):
            fit = 0.0
            for h in range(heads):
                fit += mu[h, i] * omega[h, b]
            residual[i, b] = 1.0 - model.kappa[b] * fit


@njit(**_ENTRY, fastmath=_ALGEBRA)
def task_losses(model, omega, mu, out):
    """Fill ``out`` (T, I) with the loss of every task, query noise included, for T states."""
    states, heads, blocks = omega.shape
    tasks = mu.shape[2]
    exponential = np.empty((heads, heads))
    residual = np.empty((tasks, blocks))
    for n in range(states):
        _overlaps(model, omega[n], mu[n], exponential, residual)
        for i in range(tasks):
            bias = 0.0
            for b in range(blocks):
                bias += model.signal[i, b] * residual[i, b] * residual[i, b]
            spread = 0.0
            for h in range(heads):
                for k in range(heads):
                    spread += mu[n, h, i] * mu[n, k, i] * exponential[h, k]
            out[n, i] = bias + model.variance[i] * model.inverse_length * spread + model.noise[i]


@njit(**_ENTRY, fastmath=_ALGEBRA, forceinline=True)
def gradient(model, omega, mu, grad_omega, grad_mu, exponential, residual, noise_push):
    """Fill the gradient of the loss. The work arrays are left as `hessian` wants them.

    ``exponential`` (H, H) holds E_hk, ``residual`` (I, B) R_ib, ``noise_push`` (H, B) the sum
    over k of E_hk C_hk omega_kb with C_hk = sum_i s_i mu_hi mu_ki.
    """
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    _overlaps(model, omega, mu, exponential, residual)
    for h in range(heads):
        for b in range(blocks):
            noise_push[h, b] = 0.0
        for i in range(tasks):
            grad_mu[h, i] = 0.0
    for h in range(heads):
        for k in range(heads):
            tilt = exponential[h, k]
            overlap = 0.0
            for i in range(tasks):
                overlap += model.variance[i] * mu[h, i] * mu[k, i]
                grad_mu[h, i] += tilt * mu[k, i]
            for b in range(blocks):
                noise_push[h, b] += tilt * overlap * omega[k, b]
    for h in range(heads):
        for b in range(blocks):
            pull = 0.0
            for i in range(tasks):
                pull += model.signal[i, b] * residual[i, b] * mu[h, i]
            push = model.inverse_length * model.weight[b] * noise_push[h, b]
            grad_omega[h, b] = 2.0 * (push - model.kappa[b] * pull)
        for i in range(tasks):
            pull = 0.0
            for b in range(blocks):
                pull += model.signal[i, b] * residual[i, b] * model.kappa[b] * omega[h, b]
            push = model.inverse_length * model.variance[i] * grad_mu[h, i]
            grad_mu[h, i] = 2.0 * (push - pull)


@njit(**_ENTRY, fastmath=_ALGEBRA, forceinline=True)
def hessian(model, omega, mu, exponential, residual, noise_push, out):
    """Fill the upper triangle of the Hessian (N, N) from the work arrays that `gradient` left."""
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    first_mu = heads * blocks
    double = 2.0 * model.inverse_length
    for h in range(heads):
        for k in range(h, heads):
            tilt = exponential[h, k]
            overlap = 0.0
            for i in range(tasks):
                overlap += model.variance[i] * mu[h, i] * mu[k, i]
            noise_curvature = double * tilt * overlap
            for b in range(blocks):
                row = h * blocks + b
                factor = noise_curvature * model.weight[b] * omega[k, b]
                for c in range(blocks):
                    out[row, k * blocks + c] = factor * model.weight[c] * omega[h, c]
                bias_curvature = 0.0
                for i in range(tasks):
                    bias_curvature += model.signal[i, b] * mu[h, i] * mu[k, i]
                out[row, k * blocks + b] += (
                    noise_curvature * model.weight[b] + 2.0 * model.kappa[b] * model.kappa[b] * bias_curvature
                )
            for i in range(tasks):
                row = first_mu + h * tasks + i
                for j in range(tasks):
                    out[row, first_mu + k * tasks + j] = 0.0
                bias_curvature = 0.0
                for b in range(blocks):
                    bias_curvature += (
                        model.signal[i, b] * model.kappa[b] * model.kappa[b] * omega[h, b] * omega[k, b]
                    )
                out[row, first_mu + k * tasks + i] = 2.0 * bias_curvature + double * model.variance[i] * tilt
        # E_hk depends on omega_h through every k: the part that stays on the head's own diagonal block.
        for k in range(heads):
            overlap = 0.0
            for i in range(tasks):
                overlap += model.variance[i] * mu[h, i] * mu[k, i]
            tilt = double * exponential[h, k] * overlap
            for b in range(blocks):
                factor = tilt * model.weight[b] * omega[k, b]
                for c in range(blocks):
                    out[h * blocks + b, h * blocks + c] += factor * model.weight[c] * omega[k, c]
        for k in range(heads):  # d2 loss / d omega_hb d mu_ki
            tilt = double * exponential[h, k]
            for b in range(blocks):
                kappa2 = 2.0 * model.kappa[b] * model.kappa[b]
                for i in range(tasks):
                    out[h * blocks + b, first_mu + k * tasks + i] = (
                        kappa2 * model.signal[i, b] * mu[h, i] * omega[k, b]
                        + tilt * model.variance[i] * model.weight[b] * mu[h, i] * omega[k, b]
                    )
        for i in range(tasks):
            for b in range(blocks):
                drift = 0.0
                for k in range(heads):
                    drift += exponential[h, k] * mu[k, i] * omega[k, b]
                out[h * blocks + b, first_mu + h * tasks + i] += (
                    double * model.variance[i] * model.weight[b] * drift
                    - 2.0 * model.kappa[b] * model.signal[i, b] * residual[i, b]
                )


# --------------------------------------------------------------------------------------------------
# Dual coordinates
# --------------------------------------------------------------------------------------------------


@njit(**_ENTRY, forceinline=True)
def to_primal(chart, x, theta):
    """Fill theta(x). Exponential entries keep their sign whatever x is: that is the whole point."""
    for n in range(x.size):
        if chart.kind[n] == EXPONENTIAL:
            theta[n] = chart.scale[n] * (np.exp(x[n]) if x[n] > _LOWEST else 0.0)
        elif chart.kind[n] == HYPERBOLIC:
            theta[n] = chart.scale[n] * np.sinh(x[n])
        else:
            theta[n] = x[n]


@njit(**_INNER)
def _slope(chart, x, theta, n):
    """|dtheta/dx| of one entry."""
    if chart.kind[n] == EXPONENTIAL:
        return abs(theta[n])
    if chart.kind[n] == HYPERBOLIC:
        return np.sqrt(chart.scale[n] * chart.scale[n] + theta[n] * theta[n])
    return 1.0


# --------------------------------------------------------------------------------------------------
# Symmetric positive definite systems (row-major upper factor, contiguous inner loops)
# --------------------------------------------------------------------------------------------------


@njit(**_INNER, fastmath=_ALGEBRA)
def _cholesky(matrix, size):
    """Factor the upper triangle in place as U^T U. Returns False if a pivot is not safely positive.

    The diagonal of the factor holds reciprocals.
    """
    for first in range(0, size, 4):
        stop = min(first + 4, size)
        for k in range(first, stop):
            row = matrix[k]
            for q in range(first, k):
                above = matrix[q]
                factor = above[k]
                for j in range(k, size):
                    row[j] -= factor * above[j]
            if not row[k] > _SAFE_PIVOT:
                return False
            inverse = 1.0 / np.sqrt(row[k])
            row[k] = inverse
            for j in range(k + 1, size):
                row[j] *= inverse
        if stop - first == 4:  # four rows at a time: the trailing block is read and written once for all
            row0, row1, row2, row3 = (
                matrix[first],
                matrix[first + 1],
                matrix[first + 2],
                matrix[first + 3],
            )
            for i in range(stop, size):
                f0, f1, f2, f3 = row0[i], row1[i], row2[i], row3[i]
                row = matrix[i]
                for j in range(i, size):
                    row[j] -= f0 * row0[j] + f1 * row1[j] + f2 * row2[j] + f3 * row3[j]
    return True


@njit(**_INNER, fastmath=_ALGEBRA)
def _cholesky_solve(matrix, size, rhs):
    """Solve U^T U y = rhs in place, four rows of the factor at a time."""
    whole = size - size % 4
    for first in range(0, whole, 4):
        row0, row1, row2, row3 = matrix[first], matrix[first + 1], matrix[first + 2], matrix[first + 3]
        y0 = rhs[first] * row0[first]
        y1 = (rhs[first + 1] - y0 * row0[first + 1]) * row1[first + 1]
        y2 = (rhs[first + 2] - y0 * row0[first + 2] - y1 * row1[first + 2]) * row2[first + 2]
        y3 = rhs[first + 3] - y0 * row0[first + 3] - y1 * row1[first + 3] - y2 * row2[first + 3]
        y3 *= row3[first + 3]
        rhs[first], rhs[first + 1], rhs[first + 2], rhs[first + 3] = y0, y1, y2, y3
        for j in range(first + 4, size):
            rhs[j] -= y0 * row0[j] + y1 * row1[j] + y2 * row2[j] + y3 * row3[j]
    for k in range(whole, size):
        y0 = rhs[k] * matrix[k, k]
        rhs[k] = y0
        for j in range(k + 1, size):
            rhs[j] -= y0 * matrix[k, j]
    for k in range(size - 1, whole - 1, -1):
        y0 = rhs[k]
        for j in range(k + 1, size):
            y0 -= matrix[k, j] * rhs[j]
        rhs[k] = y0 * matrix[k, k]
    for first in range(whole - 4, -1, -4):
        row0, row1, row2, row3 = matrix[first], matrix[first + 1], matrix[first + 2], matrix[first + 3]
        y0, y1, y2, y3 = rhs[first], rhs[first + 1], rhs[first + 2], rhs[first + 3]
        for j in range(first + 4, size):
            known = rhs[j]
            y0 -= row0[j] * known
            y1 -= row1[j] * known
            y2 -= row2[j] * known
            y3 -= row3[j] * known
        y3 *= row3[first + 3]
        y2 = (y2 - row2[first + 3] * y3) * row2[first + 2]
        y1 = (y1 - row1[first + 2] * y2 - row1[first + 3] * y3) * row1[first + 1]
        y0 = (y0 - row0[first + 1] * y1 - row0[first + 2] * y2 - row0[first + 3] * y3) * row0[first]
        rhs[first], rhs[first + 1], rhs[first + 2], rhs[first + 3] = y0, y1, y2, y3


# --------------------------------------------------------------------------------------------------
# The integrator
# --------------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """Scratch of one integration; the comments of the functions that fill the arrays say what they hold."""

    theta: np.ndarray  # (N,) at the last accepted state, as are slope, hess, root and reach
    slope: np.ndarray
    trial: np.ndarray  # (N,) stage arguments, finally the new state; new_theta and new_slope belong to it
    new_theta: np.ndarray
    new_slope: np.ndarray
    grad: np.ndarray
    increments: np.ndarray  # (stages, N)
    weights: np.ndarray  # (N,)
    root: np.ndarray
    reach: np.ndarray
    rhs: np.ndarray
    order: np.ndarray  # (N,) int64
    hess: np.ndarray  # (N, N)
    factor: np.ndarray
    idle_rows: np.ndarray
    exponential: np.ndarray  # (H, H)
    residual: np.ndarray  # (I, B)
    noise_push: np.ndarray  # (H, B)


@njit(**_INNER)
def _workspace(size, shape, stages):
    heads, blocks, tasks = shape
    return Work(
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty((stages, size)),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size, dtype=np.int64),
        np.zeros((size, size)),
        np.empty((size, size)),
        np.empty((size, size)),
        np.empty((heads, heads)),
        np.empty((tasks, blocks)),
        np.empty((heads, blocks)),
    )


@njit(**_ENTRY, forceinline=True)
def field(model, chart, shape, x, theta, grad, exponential, residual, noise_push, out):
    """Fill dx/dt and leave theta, the gradient and the work arrays of `gradient` behind.

    Returns True if every component is finite.
    """
    heads, blocks, tasks = shape
    to_primal(chart, x, theta)
    first_mu = heads * blocks
    gradient(
        model,
        theta[:first_mu].reshape(heads, blocks),
        theta[first_mu:].reshape(heads, tasks),
        grad[:first_mu].reshape(heads, blocks),
        grad[first_mu:].reshape(heads, tasks),
        exponential,
        residual,
        noise_push,
    )
    finite = True
    for n in range(x.size):
        out[n] = -chart.speed[n] * chart.sign[n] * grad[n]
        finite = finite and np.isfinite(out[n])
    return finite


@njit(**_INNER)
def _weights(chart, x, rtol, out):
    """Fill the reciprocal tolerances of the dual coordinates.

    An error dx of an exponential or hyperbolic entry is a relative error of theta, so the tolerance is
    rtol however small theta has become: an entry that decayed may grow again (the escape), and when it
    does is decided by its logarithm. For |x| > 4 it is relative to |x|, as that time is.
    """
    for n in range(x.size):
        size = abs(x[n])
        if chart.kind[n] == LINEAR:
            out[n] = 1.0 / (rtol * max(chart.scale[n], size))
        else:
            out[n] = 1.0 / (rtol * max(1.0, 0.25 * size))


@njit(**_INNER)
def _all_finite(values):
    for n in range(values.size):
        if not np.isfinite(values[n]):
            return False
    return True


@njit(**_INNER)
def _norm(values, weights):
    """Largest weighted component; NaN if any component is NaN."""
    largest = 0.0
    for n in range(values.size):
        size = abs(values[n]) * weights[n]
        if not size <= largest:
            largest = size
            if np.isnan(size):
                return size
    return largest


@njit(**_INNER)
def _is_stationary(chart, x, theta, speed, tolerance):
    """Whether every entry rests, or decays to zero where it may not leave (first-order optimality)."""
    for n in range(x.size):
        if _slope(chart, x, theta, n) * abs(speed[n]) > tolerance:
            return False
        if chart.kind[n] == EXPONENTIAL:
            if speed[n] > tolerance:
                return False
        elif abs(speed[n]) > tolerance:
            return False
    return True


@njit(**_INNER, fastmath=_ALGEBRA)
def _measure_jacobian(chart, theta, x, hess, root, reach):
    """Fill what turns the Hessian S into the dual Jacobian J = -P s S s M and tells its small columns.

    P are the speeds, s the signs and M = |dtheta/dx|, so J is similar to the symmetric -Q S Q with
    Q = s sqrt(P M). ``root`` is left with Q and ``reach`` with the largest entry of every column of J.
    """
    size = x.size
    for n in range(size):
        reach[n] = 0.0
    for i in range(size):
        for j in range(i, size):
            entry = abs(hess[i, j])
            reach[i] = max(reach[i], chart.speed[j] * entry)
            reach[j] = max(reach[j], chart.speed[i] * entry)
    for n in range(size):
        slope = _slope(chart, x, theta, n)
        root[n] = chart.sign[n] * np.sqrt(chart.speed[n] * slope)
        reach[n] *= slope


@njit(**_INNER, fastmath=_ALGEBRA)
def _factorise(chart, step, work):
    """Factor I + step Q S Q on the entries that matter and return (how many matter, success).

    Entries whose column of the Jacobian is below rounding (the mu of losing heads, all but vanished) act
    on nothing and are followed by substitution: ``order`` lists the coupled entries first, then the idle
    ones, and ``idle_rows`` holds step * P s S Q of the idle ones against the coupled ones.
    """
    hess, root, order = work.hess, work.root, work.order
    factor, idle_rows = work.factor, work.idle_rows
    size = root.size
    coupled = np.int64(0)
    idle = size
    for n in range(size):
        if step * work.reach[n] > 1e-18:
            order[coupled] = n
            coupled += 1
        else:
            idle -= 1
            order[idle] = n
    for p in range(coupled):
        i = order[p]
        row = step * root[i]
        for r in range(p, coupled):
            j = order[r]
            factor[p, r] = row * hess[i, j] * root[j]
        factor[p, p] += 1.0
    for p in range(coupled, size):
        i = order[p]
        row = step * chart.speed[i] * chart.sign[i]
        for r in range(coupled):
            j = order[r]
            entry = hess[i, j] if i <= j else hess[j, i]
            idle_rows[p, r] = row * entry * root[j]
    return coupled, _cholesky(factor, coupled)


@njit(**_INNER, fastmath=_ALGEBRA)
def _solve_stage(chart, coupled, work, stage):
    """Solve (1 - step J) k = stage in place, with the factor and the rows that `_factorise` left."""
    root, order, idle_rows, rhs = work.root, work.order, work.idle_rows, work.rhs
    size = root.size
    for p in range(coupled):
        n = order[p]
        rhs[p] = stage[n] * abs(root[n]) / chart.speed[n]
    _cholesky_solve(work.factor, coupled, rhs)
    for p in range(coupled):
        n = order[p]
        stage[n] = rhs[p] * chart.speed[n] / abs(root[n])
    for p in range(coupled, size):
        pull = 0.0
        for r in range(coupled):
            pull += idle_rows[p, r] * rhs[r]
        stage[order[p]] -= pull


@njit(**_INNER)
def _first_step(tableau, chart, work, span):
    """A first step from the first two derivatives of the solution (the Jacobian is at hand).

    They give the rate at which the tightest component moves; a step of order p then makes an error of one
    tolerance where (step * rate)^p ~ that tolerance.
    """
    slope, root, hess, weights, second = work.slope, work.root, work.hess, work.weights, work.rhs
    size = slope.size
    tightest = 0.0
    for i in range(size):
        bend = 0.0
        for j in range(size):
            entry = hess[i, j] if i <= j else hess[j, i]
            if chart.speed[j] > 0.0:
                bend += entry * root[j] * abs(root[j]) / chart.speed[j] * slope[j]
        second[i] = bend * chart.speed[i]
        if weights[i] > tightest:
            tightest = weights[i]
    rate = max(_norm(slope, weights) / tightest, np.sqrt(_norm(second, weights) / tightest))
    if not rate > 0.0 or not np.isfinite(rate):
        return span if np.isfinite(span) else 1.0
    step = 0.5 * tightest ** (-1.0 / tableau.order) / rate
    return step if step < span else span


@njit(**_INNER)
def _prepare(model, chart, shape, x, work):
    """Build the Hessian at x and what makes it the Jacobian, after a call of `field`."""
    heads, blocks, tasks = shape
    first_mu = heads * blocks
    hessian(
        model,
        work.theta[:first_mu].reshape(heads, blocks),
        work.theta[first_mu:].reshape(heads, tasks),
        work.exponential,
        work.residual,
        work.noise_push,
        work.hess,
    )
    _measure_jacobian(chart, work.theta, x, work.hess, work.root, work.reach)


@njit(**_INNER)
def _attempt(model, chart, tableau, shape, x, step, coupled, work):
    """Fill the stage increments of one step, the new state and its field.

    Returns (error, field evaluations): the error in units of the tolerance, infinite if something on the
    way was not finite. That the field at the new state is finite is part of accepting the step; a
    Rosenbrock method evaluates it only if the error is acceptable.
    """
    trial, increments, new_slope = work.trial, work.increments, work.new_slope
    size = trial.size
    stages = tableau.a.shape[0]
    implicit = tableau.gamma > 0.0
    evaluations = 0
    error = 0.0
    for s in range(stages + 1 if implicit else stages):
        if s > 0:
            for n in range(size):
                trial[n] = x[n]
            row = min(s, stages - 1)
            for q in range(s):
                coefficient = tableau.a[row, q] if q < row else 1.0
                if coefficient != 0.0:
                    for n in range(size):
                        trial[n] += coefficient * increments[q, n]
            if not implicit and s == stages - 2:
                for n in range(size):
                    work.rhs[n] = trial[n]  # for `_stiffness`
        if s == stages:
            error = _error(tableau, increments, work.weights, trial)
            if not error <= 1.0:
                return error, evaluations
        if s > 0:
            evaluations += 1
            if not field(
                model,
                chart,
                shape,
                trial,
                work.new_theta,
                work.grad,
                work.exponential,
                work.residual,
                work.noise_push,
                new_slope,
            ):
                return np.inf, evaluations
        if s < stages:
            slope = new_slope if s > 0 else work.slope
            for n in range(size):
                increments[s, n] = step * slope[n]
            if implicit:
                for q in range(s):
                    coefficient = tableau.c[s, q]
                    for n in range(size):
                        increments[s, n] += coefficient * increments[q, n]
                for n in range(size):
                    increments[s, n] *= tableau.gamma
                _solve_stage(chart, coupled, work, increments[s])
    if not implicit:
        error = _error(tableau, increments, work.weights, trial)
    return error, evaluations


@njit(**_INNER)
def _error(tableau, increments, weights, trial):
    """Largest weighted component of the error estimate; infinite if it or the new state is not finite."""
    stages = tableau.error.size
    largest = 0.0
    for n in range(trial.size):
        total = 0.0
        for q in range(stages):
            total += tableau.error[q] * increments[q, n]
        size = abs(total) * weights[n]
        if not size <= largest:
            largest = size
            if not np.isfinite(size):
                return np.inf
    return largest


@njit(**_INNER)
def _stiffness(increments, stages, argument, trial):
    """Step times the Lipschitz constant of the field, seen between the last two stages (both at the end)."""
    field_change = 0.0
    state_change = 0.0
    for n in range(trial.size):
        change = increments[stages - 1, n] - increments[stages - 2, n]
        field_change += change * change
        change = trial[n] - argument[n]
        state_change += change * change
    return np.sqrt(field_change / state_change) if state_change > 0.0 else 0.0


@njit(**_INNER)
def _stiffness_bound(step, work):
    """Upper bound of step times the spectral radius of the Jacobian, by the rows of its symmetric form."""
    root, hess = work.root, work.hess
    size = root.size
    largest = 0.0
    for i in range(size):
        row = 0.0
        for j in range(size):
            entry = hess[i, j] if i <= j else hess[j, i]
            row += abs(entry * root[j])
        largest = max(largest, row * abs(root[i]))
    return step * largest


@njit(**_ENTRY)
def integrate(
    model, chart, twin, explicit, implicit, shape, t_end, rtol, stationary, max_steps, progress, record
):
    """Advance the dual flow from ``record.x[0]`` and return (status, accepted steps in this call).

    Steps are ``explicit`` while accuracy limits them, which is so until the first emergence, and
    ``implicit`` (a Rosenbrock method with the exact Jacobian) once stability would. Error control is on the
    embedded solution in the largest weighted component. An implicit step that reaches past the pole of the
    stability function on a growing mode shows as a matrix that is not positive definite, and is rejected.

    ``twin`` (N,) names for every entry the one that it equals for ever: itself, or that of an equal head.

    ``progress`` starts as t, step 0, previous error 1 and mode EXPLICIT and is updated, so that a call that
    ends with BUFFER_FULL is continued by one with ``record.x[0]`` set to the last state.
    """
    size = record.x.shape[1]
    capacity = record.t.size - 1
    strain = min(_MOST_STRAIN, max(_LEAST_STRAIN, _STRAIN_PER_ENTRY * size))
    work = _workspace(size, shape, max(explicit.a.shape[0], implicit.a.shape[0]))
    x = np.empty(size)
    for n in range(size):
        x[n] = record.x[0, n]
    t, step, previous_error = progress.real
    mode, streak = progress.mode
    count = progress.count
    record.t[0] = t
    accepted = 0
    fresh = True  # the Hessian at x is not yet known
    rejected = False  # the last attempt was
    cause = REACHED_END  # why the last attempt was not finite, if it was not
    coupled = np.int64(0)

    count[2] += 1
    if not field(
        model,
        chart,
        shape,
        x,
        work.theta,
        work.grad,
        work.exponential,
        work.residual,
        work.noise_push,
        work.slope,
    ):
        return (OVERFLOW if _all_finite(x) else NON_FINITE), accepted

    while True:
        if fresh:
            if t >= t_end:
                return REACHED_END, accepted
            if stationary > 0.0 and _is_stationary(chart, x, work.theta, work.slope, stationary):
                return STATIONARY, accepted
            if accepted == capacity:
                return BUFFER_FULL, accepted
            _weights(chart, x, rtol, work.weights)
            if mode != EXPLICIT or step <= 0.0:
                _prepare(model, chart, shape, x, work)
                count[3] += 1
                if step <= 0.0:
                    step = _first_step(implicit, chart, work, t_end - t)
            fresh = False
        if count[0] + count[1] >= max_steps:
            return STEP_LIMIT, accepted
        remaining = t_end - t
        if step >= remaining:
            step = remaining
        elif step > 0.5 * remaining:
            step = 0.5 * remaining  # two even steps rather than one and a sliver
        if step <= 4e-16 * abs(t) or step < 1e-290:
            return (STEP_UNDERFLOW if cause == REACHED_END else cause), accepted

        if mode != EXPLICIT:
            count[4] += 1
            coupled, definite = _factorise(chart, implicit.gamma * step, work)
            if not definite:
                count[1] += 1
                step *= 0.5
                rejected = True
                continue
        tableau = explicit if mode == EXPLICIT else implicit
        error, evaluations = _attempt(model, chart, tableau, shape, x, step, coupled, work)
        count[2] += evaluations
        if not error <= 1.0:
            count[1] += 1
            rejected = True
            if np.isfinite(error):
                cause = REACHED_END
                step *= max(0.1, 0.9 * error ** (-1.0 / tableau.order))
            else:
                cause = OVERFLOW if _all_finite(work.trial) else NON_FINITE
                step *= 0.1
            continue

        if mode != EXPLICIT:
            otherwise = _stiffness_bound(step, work) < strain / 3.0
        else:
            otherwise = _stiffness(work.increments, explicit.a.shape[0], work.rhs, work.trial) > strain
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
        _store(tableau, work.increments, accepted, t, x, record)
        accepted += 1
        count[0] += 1
        error = max(error, 1e-8)
        exponent = 1.0 / tableau.order
        growth = 0.9 * error ** (-0.9 * exponent) * previous_error ** (0.2 * exponent)
        growth = min(1.0 if rejected else 10.0, max(0.2, growth))
        previous_error = error
        step *= growth
        progress.real[0] = t
        progress.real[1] = step
        progress.real[2] = previous_error
        progress.mode[0] = mode
        progress.mode[1] = streak
        fresh = True
        rejected = False
        cause = REACHED_END


@njit(**_INNER)
def _store(tableau, increments, index, t, x, record):
    """Record an accepted step: the node it ends in and the coefficients of its continuous extension."""
    size = x.size
    stages = tableau.dense.shape[1]
    record.t[index + 1] = t
    for n in range(size):
        record.x[index + 1, n] = x[n]
    for k in range(tableau.dense.shape[0]):
        for n in range(size):
            total = 0.0
            for s in range(stages):
                total += tableau.dense[k, s] * increments[s, n]
            record.dense[index, k, n] = total


@njit(**_ENTRY)
def evaluate(chart, t_nodes, x_nodes, dense, times, theta):
    """Fill ``theta`` (T, N) with the continuous extension at ``times`` (T,), inside the nodes' range."""
    size = x_nodes.shape[1]
    x = np.empty(size)
    if t_nodes.size == 1:
        for m in range(times.size):
            to_primal(chart, x_nodes[0], theta[m])
        return
    for m in range(times.size):
        step = min(max(np.searchsorted(t_nodes, times[m]), 1), t_nodes.size - 1) - 1
        width = t_nodes[step + 1] - t_nodes[step]
        s = (times[m] - t_nodes[step]) / width
        for n in range(size):
            bend = 0.0
            for k in range(dense.shape[1] - 1, -1, -1):
                bend = bend * s + dense[step, k, n]
            x[n] = (1.0 - s) * x_nodes[step, n] + s * (x_nodes[step + 1, n] + (1.0 - s) * bend)
        to_primal(chart, x, theta[m])
