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

from spectral_icl.kernels.lanes import WIDTH, as_lanes, everywhere, pick, put, where

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

# Of the source of lanes.py, which is compiled in here. numba's cache is renewed when this file changes, so it
# must change with that one (a test compares).
LANES_DIGEST = "2699ed3c6eee7ec4"

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
        if event.data["dispatcher"] in (integrate, integrate_many):
            self.announce()

    def on_end(self, event: Any) -> None:
        pass


def on_compilation(announce: Callable[[], None]) -> Any:
    """Call ``announce`` if an integrator is compiled inside the context, not if it is found in the cache."""
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


class Overlaps(NamedTuple):
    """Work arrays of `gradient` that `hessian` goes on from."""

    exponential: np.ndarray  # (H, H) E_hk = exp(sum_b d_b kappa_b^2 omega_hb omega_kb)
    spread: np.ndarray  # (H, H) E_hk sum_i s_i mu_hi mu_ki
    pull: np.ndarray  # (I, B) kappa_b A_ib R_ib, with R_ib = 1 - kappa_b sum_h mu_hi omega_hb
    weighted: np.ndarray  # (H, B) d_b kappa_b^2 omega_hb

    @classmethod
    def empty(cls, heads: int, blocks: int, tasks: int) -> Overlaps:
        """Room for a state of this shape."""
        return cls(*map(np.empty, _overlap_shapes(heads, blocks, tasks)))


def _overlap_shapes(heads: int, blocks: int, tasks: int) -> tuple[tuple[int, int], ...]:
    return (heads, heads), (heads, heads), (tasks, blocks), (heads, blocks)


# --------------------------------------------------------------------------------------------------
# The reduced loss and its derivatives
# --------------------------------------------------------------------------------------------------


@njit(**_INNER, fastmath=_ALGEBRA)
def _tilts(model, omega, weighted, exponential):
    """Fill weighted_hb = d_b kappa_b^2 omega_hb and E_hk = exp(sum_b weighted_hb omega_kb)."""
    heads, blocks = omega.shape
    for h in range(heads):
        for b in range(blocks):
            weighted[h, b] = model.weight[b] * omega[h, b]
        left = weighted[h]
        for k in range(h + 1):
            right = omega[k]
            exponent = 0.0
            for b in range(blocks):
                exponent += left[b] * right[b]
            value = np.exp(exponent)
            exponential[h, k] = value
            exponential[k, h] = value


@njit(**_INNER, fastmath=_ALGEBRA)
def _task_loss(model, omega, mu, exponential, weighted, out):
    """Fill the first I entries of ``out`` with the loss of every task, query noise included."""
    heads, blocks = omega.shape
    _tilts(model, omega, weighted, exponential)
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


@njit(**_ENTRY, fastmath=_ALGEBRA, forceinline=True)
def task_losses(model, omega, mu, out):
    """Fill ``out`` (T, I) with the loss of every task for T states."""
    states, heads, blocks = omega.shape
    exponential = np.empty((heads, heads))
    weighted = np.empty((heads, blocks))
    for n in range(states):
        _task_loss(model, omega[n], mu[n], exponential, weighted, out[n])


@njit(**_INNER)
def _one(models, p):
    """The model of flow ``p`` among P."""
    return Model(
        models.kernel,
        models.kappa[p],
        models.weight[p],
        models.signal[p],
        models.variance[p],
        models.noise[p],
        models.inverse_length[p],
    )


@njit(**_ENTRY)
def task_losses_all(models, omega, mu, out):
    """Fill ``out`` (P, I) with the loss of every task for P states, each of its own model."""
    for p in range(omega.shape[0]):
        task_losses(_one(models, p), omega[p : p + 1], mu[p : p + 1], out[p : p + 1])


@njit(**_ENTRY, fastmath=_ALGEBRA, forceinline=True)
def gradient(model, omega, mu, grad_omega, grad_mu, overlaps):
    """Fill the gradient of the loss, and ``overlaps`` with what `hessian` shares with it."""
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    exponential, spread, pull, weighted = overlaps
    _tilts(model, omega, weighted, exponential)
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


@njit(**_ENTRY, fastmath=_ALGEBRA, forceinline=True)
def hessian(model, omega, mu, overlaps, out):
    """Fill the upper triangle of the Hessian (N, N) from what `gradient` left in ``overlaps``."""
    heads, blocks = omega.shape
    tasks = mu.shape[1]
    exponential, spread, pull, weighted = overlaps
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


@njit(**_ENTRY)
def to_primal_all(charts, x, theta):
    """`to_primal` of P states (P, N), each with its own chart."""
    for p in range(x.shape[0]):
        to_primal(Chart(charts.kind[p], charts.scale[p], charts.speed[p], charts.sign[p]), x[p], theta[p])


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
    """Factor the upper triangle in place as U^T U and return whether every pivot is safely positive.

    The diagonal of the factor holds reciprocals.
    """
    definite = matrix[0, 0] > _SAFE_PIVOT
    for first in range(0, size, 4):
        stop = min(first + 4, size)
        for k in range(first, stop):
            row = matrix[k]
            for q in range(first, k):
                above = matrix[q]
                factor = above[k]
                for j in range(k, size):
                    row[j] -= factor * above[j]
            definite = definite & (row[k] > _SAFE_PIVOT)
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
            for i in range(stop, size - 1, 2):
                f0, f1, f2, f3 = row0[i], row1[i], row2[i], row3[i]
                g0, g1, g2, g3 = row0[i + 1], row1[i + 1], row2[i + 1], row3[i + 1]
                row, next_row = matrix[i], matrix[i + 1]
                row[i] -= f0 * f0 + f1 * f1 + f2 * f2 + f3 * f3
                for j in range(i + 1, size):
                    r0, r1, r2, r3 = row0[j], row1[j], row2[j], row3[j]
                    row[j] -= f0 * r0 + f1 * r1 + f2 * r2 + f3 * r3
                    next_row[j] -= g0 * r0 + g1 * r1 + g2 * r2 + g3 * r3
            if (size - stop) % 2 == 1:
                f0, f1, f2, f3 = row0[size - 1], row1[size - 1], row2[size - 1], row3[size - 1]
                matrix[size - 1, size - 1] -= f0 * f0 + f1 * f1 + f2 * f2 + f3 * f3
    return definite


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
    overlaps: Overlaps


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
        Overlaps(
            np.empty((heads, heads)),
            np.empty((heads, heads)),
            np.empty((tasks, blocks)),
            np.empty((heads, blocks)),
        ),
    )


@njit(**_ENTRY, forceinline=True)
def field(model, chart, shape, x, theta, grad, overlaps, out):
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
        overlaps,
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
    return coupled, coupled == 0 or _cholesky(factor, coupled)


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
def _first_step(order, speed, slope, root, hess, weights, second, span):
    """A first step from the first two derivatives of the solution (the Jacobian is at hand).

    They give the rate at which the tightest component moves; a step of order p then makes an error of one
    tolerance where (step * rate)^p ~ that tolerance. ``second`` (N,) is scratch.
    """
    size = slope.size
    tightest = 0.0
    for i in range(size):
        bend = 0.0
        for j in range(size):
            entry = hess[i, j] if i <= j else hess[j, i]
            if speed[j] > 0.0:
                bend += entry * root[j] * abs(root[j]) / speed[j] * slope[j]
        second[i] = bend * speed[i]
        if weights[i] > tightest:
            tightest = weights[i]
    rate = max(_norm(slope, weights) / tightest, np.sqrt(_norm(second, weights) / tightest))
    if not rate > 0.0 or not np.isfinite(rate):
        return span if np.isfinite(span) else 1.0
    step = 0.5 * tightest ** (-1.0 / order) / rate
    return step if step < span else span


@njit(**_INNER)
def _fitted(step, remaining):
    """The step, no further than the end, and not so that a sliver would be left."""
    if step >= remaining:
        return remaining
    return 0.5 * remaining if step > 0.5 * remaining else step


@njit(**_INNER)
def _too_small(step, t):
    """Whether a step is lost in the rounding of the time."""
    return step <= 4e-16 * abs(t) or step < 1e-290


@njit(**_INNER)
def _growth(order, error, previous_error, rejected):
    """Factor for the step after an accepted one, of ``error`` > 0 (a PI controller)."""
    growth = 0.9 * np.exp((0.2 * np.log(previous_error) - 0.9 * np.log(error)) / order)
    return min(1.0 if rejected else 10.0, max(0.2, growth))


@njit(**_INNER)
def _shrinkage(order, error):
    """Factor for the step after one whose ``error`` was above 1."""
    return max(0.1, 0.9 * error ** (-1.0 / order))


@njit(**_INNER)
def _prepare(model, chart, shape, x, work):
    """Build the Hessian at x and what makes it the Jacobian, after a call of `field`."""
    heads, blocks, tasks = shape
    first_mu = heads * blocks
    hessian(
        model,
        work.theta[:first_mu].reshape(heads, blocks),
        work.theta[first_mu:].reshape(heads, tasks),
        work.overlaps,
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
                work.overlaps,
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
        work.overlaps,
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
                    step = _first_step(
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
        if count[0] + count[1] >= max_steps:
            return STEP_LIMIT, accepted
        remaining = t_end - t
        step = _fitted(step, remaining)
        if _too_small(step, t):
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
                step *= _shrinkage(tableau.order, error)
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
        step *= _growth(tableau.order, error, previous_error, rejected)
        previous_error = error
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


# --------------------------------------------------------------------------------------------------
# Phases of a solved flow
# --------------------------------------------------------------------------------------------------

POINTS = 8  # samples of the loss per step; as many lanes hold whole steps


class Thresholds(NamedTuple):
    """The constants of `spectral_icl.multitask.flow.phases` that its kernel needs."""

    onset: float
    settled: float
    lull: float
    learned: float
    exit: float


class Emerged(NamedTuple):
    """What `measure_phases` found for each of I tasks: NaN, or head -1, where there is nothing."""

    head: np.ndarray  # int64, as rival
    share: np.ndarray
    onset: np.ndarray
    time: np.ndarray
    settled: np.ndarray
    plateau: np.ndarray
    rival: np.ndarray
    escape: np.ndarray


@njit(**_INNER, fastmath=_ALGEBRA)
def _refine(model, chart, shape, t, x, dense, moments, losses, mu):
    """Fill the times that split every step into `POINTS` parts, and the loss of every task there.

    ``mu`` is filled with the OV entries at these times unless it is empty. The lanes are points here.
    """
    heads, blocks, tasks = shape
    steps, order, size = dense.shape
    first_mu = heads * blocks
    kappa, weight, signal, variance, noise, _ = _lane_model(shape)
    for b in range(blocks):
        kappa[b] = model.kappa[b]
        weight[b] = model.weight[b]
        for i in range(tasks):
            signal[i, b] = model.signal[i, b]
    for i in range(tasks):
        variance[i] = model.variance[i]
        noise[i] = model.noise[i]
    lanes_model = Model(
        model.kernel, kappa, weight, signal, variance, noise, everywhere(model.inverse_length)
    )
    theta = _lane_array(size)
    omega = theta[:first_mu].reshape(heads, blocks)
    ov = theta[first_mu:].reshape(heads, tasks)
    exponential = _lane_array(heads * heads).reshape(heads, heads)
    weighted = _lane_array(heads * blocks).reshape(heads, blocks)
    board = np.zeros((tasks + 2, WIDTH))
    seen = as_lanes(board)  # the losses, and where a lane stands: in which step of the group, how far in it
    per_group = WIDTH // POINTS
    for lane in range(WIDTH):
        board[tasks, lane] = lane // POINTS
        board[tasks + 1, lane] = (lane % POINTS) / POINTS
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
                value = chart.scale[n] * _lanes_sinh(value)
            theta[n] = value
        _task_loss(lanes_model, omega, ov, exponential, weighted, seen)
        for lane in range(WIDTH):
            k = group + lane // POINTS
            if k > steps or (k == steps and lane % POINTS > 0):
                break
            point = k * POINTS + lane % POINTS
            moments[point] = t[k]
            if k < steps:
                moments[point] += (t[k + 1] - t[k]) * ((lane % POINTS) / POINTS)
            for i in range(tasks):
                losses[point, i] = board[i, lane]
            for m in range(mu.shape[1]):
                mu[point, m] = pick(theta[first_mu + m], lane)


@njit(**_INNER)
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


@njit(**_INNER)
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


@njit(**_INNER)
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


@njit(**_ENTRY)
def measure_phases(model, chart, shape, t, x, dense, attainable, thresholds, found):
    """Fill ``found`` with how each task was learned and left again on the trajectory of `integrate`'s nodes.

    ``attainable`` (I,) is the most by which any attention could reduce each task's loss.
    """
    heads, blocks, tasks = shape
    steps, _, size = dense.shape
    first_mu = heads * blocks
    points = steps * POINTS + 1
    moments, losses = np.empty(points), np.empty((points, tasks))
    signs_may_change = False
    for n in range(size):
        signs_may_change = signs_may_change or chart.kind[n] != EXPONENTIAL
    mu = np.empty((points, heads * tasks if signs_may_change else 0))
    _refine(model, chart, shape, t, x, dense, moments, losses, mu)
    instant, theta = np.empty(1), np.empty((1, size))
    for i in range(tasks):
        found.head[i] = found.rival[i] = -1
        found.share[i] = found.onset[i] = found.time[i] = found.settled[i] = np.nan
        found.plateau[i] = found.escape[i] = np.nan
        # A start with a loss above that of zero weights first falls to it; that is no emergence.
        first = 0
        while first < points and not losses[first, i] <= model.variance[i] * (1.0 + 1e-9):
            first += 1
        begun, peak, end = _steepest(moments, losses, i, first, attainable[i], thresholds)
        if begun >= 0:
            found.onset[i] = moments[begun]
        if end < 0:
            continue
        found.time[i] = _summit(moments, losses, i, first, peak)
        found.settled[i] = moments[end]
        found.plateau[i] = losses[end, i]
        instant[0] = moments[end]
        evaluate(chart, t, x, dense, instant, theta)
        total = 0.0
        largest = -np.inf
        held = np.empty(heads)
        for h in range(heads):
            held[h] = 0.0
            for b in range(blocks):
                held[h] += model.signal[i, b] * model.kappa[b] * theta[0, h * blocks + b]
            held[h] *= theta[0, first_mu + h * tasks + i]
            total += held[h]
        for h in range(heads):
            if held[h] / total > largest:
                largest = held[h] / total
                found.head[i] = h
                found.share[i] = largest
        if signs_may_change and found.head[i] >= 0:
            instant[0] = found.time[i]
            evaluate(chart, t, x, dense, instant, theta)
            at_start = theta[0, first_mu:].reshape(heads, tasks)
            found.rival[i], found.escape[i] = _departure(
                shape, moments, mu, instant[0], at_start, i, found.head[i], thresholds.exit
            )


class Recording(NamedTuple):
    """What `integrate_many` keeps of P flows beside their ends; what is not asked for is empty."""

    attainable: np.ndarray  # (P, I), as `measure_phases` takes it
    thresholds: Thresholds
    found: Emerged  # (P, I) each
    times: np.ndarray  # (T,)
    curve: np.ndarray  # (P, T) loss at the times; not touched past the end


@njit(**_INNER)
def _keep(p, models, charts, shape, t, x, dense, rests, recording):
    """Record what is asked of a flow that has ended."""
    heads, blocks, tasks = shape
    model = _one(models, p)
    chart = Chart(charts.kind[p], charts.scale[p], charts.speed[p], charts.sign[p])
    if recording.attainable.size > 0:
        found = recording.found
        measure_phases(
            model,
            chart,
            shape,
            t,
            x,
            dense,
            recording.attainable[p],
            recording.thresholds,
            Emerged(
                found.head[p],
                found.share[p],
                found.onset[p],
                found.time[p],
                found.settled[p],
                found.plateau[p],
                found.rival[p],
                found.escape[p],
            ),
        )
    instant, theta, losses = np.empty(1), np.empty((1, x.shape[1])), np.empty((1, tasks))
    for k in range(recording.times.size):
        instant[0] = recording.times[k]
        if instant[0] > t[-1]:
            if not rests:
                break
            instant[0] = t[-1]
        evaluate(chart, t, x, dense, instant, theta)
        omega = theta[:, : heads * blocks].copy().reshape(1, heads, blocks)
        mu = theta[:, heads * blocks :].copy().reshape(1, heads, tasks)
        task_losses(model, omega, mu, losses)
        recording.curve[p, k] = losses[0].sum()


# --------------------------------------------------------------------------------------------------
# Many flows at once, one in each lane
# --------------------------------------------------------------------------------------------------


class Limits(NamedTuple):
    """Where each of P flows ends, how accurate it is, and when it is given up."""

    t_end: np.ndarray  # (P,)
    rtol: np.ndarray  # (P,)
    stationary: np.ndarray  # (P,) 0 for none
    max_steps: np.ndarray  # (P,) int64


class Ends(NamedTuple):
    """Where each of P flows ended; ``x`` is filled with the starts by the caller."""

    outcome: np.ndarray  # (P,) int64
    t: np.ndarray  # (P,)
    x: np.ndarray  # (P, N)
    steps: np.ndarray  # (P, 2) int64: accepted, refused
    logits: np.ndarray  # (P,) largest E_hh, e to the logit variance, over heads and steps


class Flights(NamedTuple):
    """Arrays of lanes for the flows under way. `Work` has the meaning of most; `trial` comes with `new_*`."""

    x: np.ndarray
    theta: np.ndarray
    slope: np.ndarray
    overlaps: Overlaps
    trial: np.ndarray
    new_theta: np.ndarray
    new_slope: np.ndarray
    new_overlaps: Overlaps
    grad: np.ndarray
    increments: np.ndarray
    weights: np.ndarray
    root: np.ndarray
    down: np.ndarray  # (N,) into the coordinates where the Jacobian is symmetric
    up: np.ndarray  # (N,) and back
    rhs: np.ndarray
    factor: np.ndarray
    bend: np.ndarray  # (K, N) coefficients of the continuous extension


@njit(**_INNER)
def _lane_array(size):
    """Storage for ``size`` numbers in every lane, on whole cache lines; zeros."""
    raw = np.zeros(size * WIDTH + 8)
    offset = (-(raw.ctypes.data // 8)) % 8
    return as_lanes(raw[offset : offset + size * WIDTH].reshape(size, WIDTH))


@njit(**_INNER)
def _lane_overlaps(shape):
    heads, blocks, tasks = shape
    return Overlaps(
        _lane_array(heads * heads).reshape(heads, heads),
        _lane_array(heads * heads).reshape(heads, heads),
        _lane_array(tasks * blocks).reshape(tasks, blocks),
        _lane_array(heads * blocks).reshape(heads, blocks),
    )


@njit(**_INNER)
def _lane_model(shape):
    _, blocks, tasks = shape
    return (
        _lane_array(blocks),
        _lane_array(blocks),
        _lane_array(tasks * blocks).reshape(tasks, blocks),
        _lane_array(tasks),
        _lane_array(tasks),
        _lane_array(1),
    )


@njit(**_INNER)
def _flights(shape, stages, orders):
    heads, blocks, tasks = shape
    size = heads * (blocks + tasks)
    return Flights(
        _lane_array(size),
        _lane_array(size),
        _lane_array(size),
        _lane_overlaps(shape),
        _lane_array(size),
        _lane_array(size),
        _lane_array(size),
        _lane_overlaps(shape),
        _lane_array(size),
        _lane_array(stages * size).reshape(stages, size),
        _lane_array(size),
        _lane_array(size),
        _lane_array(size),
        _lane_array(size),
        _lane_array(size),
        _lane_array(size * size).reshape(size, size),
        _lane_array(orders * size).reshape(orders, size),
    )


@njit(**_INNER)
def _board(lane, p, models, charts, starts, model, chart, x):
    """Put flow ``p`` into a lane."""
    kappa, weight, signal, variance, noise, inverse_length = model
    for b in range(kappa.size):
        kappa[b] = put(kappa[b], lane, models.kappa[p, b])
        weight[b] = put(weight[b], lane, models.weight[p, b])
        for i in range(variance.size):
            signal[i, b] = put(signal[i, b], lane, models.signal[p, i, b])
    for i in range(variance.size):
        variance[i] = put(variance[i], lane, models.variance[p, i])
        noise[i] = put(noise[i], lane, models.noise[p, i])
    inverse_length[0] = put(inverse_length[0], lane, models.inverse_length[p])
    for n in range(x.size):
        chart.kind[n] = put(chart.kind[n], lane, float(charts.kind[p, n]))
        chart.scale[n] = put(chart.scale[n], lane, charts.scale[p, n])
        chart.speed[n] = put(chart.speed[n], lane, charts.speed[p, n])
        chart.sign[n] = put(chart.sign[n], lane, charts.sign[p, n])
        x[n] = put(x[n], lane, starts[p, n])


@njit(**_INNER, fastmath=_ALGEBRA)
def _lanes_sinh(x):
    """Hyperbolic sine in lanes: its series where e^x - e^-x would cancel."""
    size = abs(x)
    grown = np.exp(size)
    far = 0.5 * (grown - 1.0 / grown)
    square = x * x
    near = 1.0 + square * (1.0 / 210.0)
    near = 1.0 + square * (1.0 / 156.0) * near
    near = 1.0 + square * (1.0 / 110.0) * near
    near = 1.0 + square * (1.0 / 72.0) * near
    near = 1.0 + square * (1.0 / 42.0) * near
    near = 1.0 + square * (1.0 / 20.0) * near
    near = x + x * (square * (1.0 / 6.0) * near)
    return where(size < 0.5, near, where(x < 0.0, -far, far))


@njit(**_INNER, fastmath=_ALGEBRA)
def _lanes_field(model, chart, shape, f, mixed):
    """`field` in lanes, from `trial` to `new_slope`. Returns the mask of the lanes where all of it is finite.

    ``mixed`` says whether some entry in some lane is not exponential. Entries that `to_primal` calls zero
    stay at e^-708 here, which acts on nothing, so that every lane can be treated alike.
    """
    heads, blocks, tasks = shape
    theta, grad = f.new_theta, f.grad
    for n in range(f.trial.size):
        at = f.trial[n]
        value = chart.scale[n] * np.exp(at)
        if mixed:
            value = where(chart.kind[n] == HYPERBOLIC, chart.scale[n] * _lanes_sinh(at), value)
            value = where(chart.kind[n] == LINEAR, at, value)
        theta[n] = value
    first_mu = heads * blocks
    gradient(
        model,
        theta[:first_mu].reshape(heads, blocks),
        theta[first_mu:].reshape(heads, tasks),
        grad[:first_mu].reshape(heads, blocks),
        grad[first_mu:].reshape(heads, tasks),
        f.new_overlaps,
    )
    finite = abs(grad[0]) < np.inf
    for n in range(grad.size):
        rate = -(chart.speed[n] * chart.sign[n]) * grad[n]
        f.new_slope[n] = rate
        finite = finite & (abs(rate) < np.inf)
    return finite


@njit(**_INNER, fastmath=_ALGEBRA)
def _lanes_prepare(model, chart, shape, rtol, f, mixed):
    """Fill tolerances, Hessian (in ``factor``) and its scaling at x. Returns what `_is_stationary` tests."""
    heads, blocks, tasks = shape
    first_mu = heads * blocks
    unrest = everywhere(0.0)
    for n in range(f.x.size):
        size = abs(f.x[n])
        bound = 0.25 * size
        bound = where(bound > 1.0, bound, 1.0)
        slope = abs(f.theta[n])
        speed = abs(f.slope[n])
        drift = f.slope[n]  # an exponential entry may decay to zero: only growth counts
        if mixed:
            linear = chart.kind[n] == LINEAR
            hyperbolic = chart.kind[n] == HYPERBOLIC
            scale = chart.scale[n]
            bound = where(linear, where(size > scale, size, scale), bound)
            # squares of a tiny imbalance would underflow
            large, small = where(scale > slope, scale, slope), where(scale > slope, slope, scale)
            ratio = small / large
            across = large * np.sqrt(1.0 + ratio * ratio)
            slope = where(hyperbolic, across, where(linear, 1.0, slope))
            drift = where(hyperbolic | linear, speed, drift)
        change = slope * speed
        unrest = where(change > unrest, change, unrest)
        unrest = where(drift > unrest, drift, unrest)
        f.weights[n] = 1.0 / (rtol * bound)
        moves = chart.speed[n] > 0.0  # a frozen entry would divide zero by zero
        root_speed, root_slope = np.sqrt(chart.speed[n]), np.sqrt(slope)  # their product might underflow
        f.root[n] = chart.sign[n] * root_speed * root_slope
        f.down[n] = where(moves, root_slope / root_speed, 0.0)
        f.up[n] = where(moves, root_speed / root_slope, 0.0)
    hessian(
        model,
        f.theta[:first_mu].reshape(heads, blocks),
        f.theta[first_mu:].reshape(heads, tasks),
        f.overlaps,
        f.factor,
    )
    return unrest


@njit(**_INNER, fastmath=_ALGEBRA)
def _combine(a, c, stage, f):
    """Fill ``trial`` and ``rhs`` with the combinations of earlier increments that a stage begins with."""
    size = f.x.size
    whole = size - size % 4
    zero = everywhere(0.0)
    for n in range(0, whole, 4):  # four entries at a time hide the latency of the sums
        t0, t1, t2, t3 = f.x[n], f.x[n + 1], f.x[n + 2], f.x[n + 3]
        r0, r1, r2, r3 = zero, zero, zero, zero
        for q in range(stage):
            row = f.increments[q]
            k0, k1, k2, k3 = row[n], row[n + 1], row[n + 2], row[n + 3]
            t0 += a[q] * k0
            t1 += a[q] * k1
            t2 += a[q] * k2
            t3 += a[q] * k3
            r0 += c[q] * k0
            r1 += c[q] * k1
            r2 += c[q] * k2
            r3 += c[q] * k3
        f.trial[n], f.trial[n + 1], f.trial[n + 2], f.trial[n + 3] = t0, t1, t2, t3
        f.rhs[n], f.rhs[n + 1], f.rhs[n + 2], f.rhs[n + 3] = r0, r1, r2, r3
    for n in range(whole, size):
        t0 = f.x[n]
        r0 = zero
        for q in range(stage):
            t0 += a[q] * f.increments[q, n]
            r0 += c[q] * f.increments[q, n]
        f.trial[n], f.rhs[n] = t0, r0


@njit(**_INNER, fastmath=_ALGEBRA)
def _lanes_attempt(model, chart, tableau, shape, step, f, mixed):
    """One Rosenbrock step in every lane; the Hessian in ``factor`` is used up.

    Returns (error in units of the tolerance, mask of the lanes where the step made sense, mask of those where
    all was finite): `_attempt` in lanes.
    """
    size = f.x.size
    stages = tableau.a.shape[0]
    gamma = tableau.gamma
    for i in range(size):
        row = gamma * step * f.root[i]
        for j in range(i, size):
            f.factor[i, j] *= row * f.root[j]
        f.factor[i, i] += 1.0
    definite = _cholesky(f.factor, size)
    finite = step == step
    error = everywhere(0.0)
    for s in range(stages):
        _combine(tableau.a[s], tableau.c[s], s, f)
        if s > 0:
            finite = finite & _lanes_field(model, chart, shape, f, mixed)
        slope = f.new_slope if s > 0 else f.slope
        for n in range(size):
            f.rhs[n] = (f.rhs[n] + step * slope[n]) * (gamma * f.down[n])
        _cholesky_solve(f.factor, size, f.rhs)
        for n in range(size):
            f.increments[s, n] = f.rhs[n] * f.up[n]
    for n in range(size):
        f.trial[n] += f.increments[stages - 1, n]
        total = everywhere(0.0)
        for q in range(stages):
            if tableau.error[q] != 0.0:
                total += tableau.error[q] * f.increments[q, n]
        total = abs(total) * f.weights[n]
        finite = finite & (total < np.inf)
        error = where(total > error, total, error)
    finite = finite & _lanes_field(model, chart, shape, f, mixed)
    return error, definite, finite


@njit(**_INNER, fastmath=_ALGEBRA)
def _adopt(mask, f, shape):
    """Make the new state the current one in the lanes of the mask. Returns the largest E_hh there."""
    heads, blocks, tasks = shape
    for n in range(f.x.size):
        f.x[n] = where(mask, f.trial[n], f.x[n])
        f.theta[n] = where(mask, f.new_theta[n], f.theta[n])
        f.slope[n] = where(mask, f.new_slope[n], f.slope[n])
    old, new = f.overlaps, f.new_overlaps
    largest = new.exponential[0, 0]
    for h in range(heads):
        tilt = new.exponential[h, h]
        largest = where(tilt > largest, tilt, largest)
        for k in range(heads):
            old.exponential[h, k] = where(mask, new.exponential[h, k], old.exponential[h, k])
            old.spread[h, k] = where(mask, new.spread[h, k], old.spread[h, k])
        for b in range(blocks):
            old.weighted[h, b] = where(mask, new.weighted[h, b], old.weighted[h, b])
    for i in range(tasks):
        for b in range(blocks):
            old.pull[i, b] = where(mask, new.pull[i, b], old.pull[i, b])
    return largest


@njit(**_INNER)
def _lane_first_step(order, chart, f, lane, span):
    """`_first_step` of the flow in one lane."""
    size = f.x.size
    speed, slope, root, weights = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    hess = np.empty((size, size))
    for i in range(size):
        speed[i] = pick(chart.speed[i], lane)
        slope[i] = pick(f.slope[i], lane)
        root[i] = pick(f.root[i], lane)
        weights[i] = pick(f.weights[i], lane)
        for j in range(i, size):
            hess[i, j] = pick(f.factor[i, j], lane)
    return _first_step(order, speed, slope, root, hess, weights, np.empty(size), span)


@njit(**_INNER)
def _tie(twin, lane, f):
    """Keep equal heads equal to the last bit in a lane, as `integrate` does."""
    for n in range(twin.size):
        m = twin[n]
        f.x[n] = put(f.x[n], lane, pick(f.x[m], lane))
        f.theta[n] = put(f.theta[n], lane, pick(f.theta[m], lane))
        f.slope[n] = put(f.slope[n], lane, pick(f.slope[m], lane))


@njit(**_INNER, fastmath=_ALGEBRA)
def _lanes_bend(dense, f):
    """Fill the coefficients of the continuous extension of the last step, as `_store` does."""
    for k in range(dense.shape[0]):
        for n in range(f.x.size):
            total = everywhere(0.0)
            for s in range(dense.shape[1]):
                total += dense[k, s] * f.increments[s, n]
            f.bend[k, n] = total


@njit(**_INNER)
def _histories(room, orders, size):
    """Room for the steps of the flow in every lane: times, states and continuous extensions.

    Apart, because numba's clean-up after a list comprehension drops assignments to the items of attributes
    (``f.x[n] = ...``) from the function that has it.
    """
    return (
        [np.empty(room + 1) for _ in range(WIDTH)],
        [np.empty((room + 1, size)) for _ in range(WIDTH)],
        [np.empty((room, orders, size)) for _ in range(WIDTH)],
    )


@njit(**_INNER)
def _with_room(steps, t, x, dense):
    """The arrays of a history, copied to twice their size if they are full."""
    if steps < dense.shape[0]:
        return t, x, dense
    more_t = np.empty(2 * steps + 1)
    more_x = np.empty((2 * steps + 1, x.shape[1]))
    more_dense = np.empty((2 * steps, dense.shape[1], dense.shape[2]))
    more_t[: steps + 1] = t
    more_x[: steps + 1] = x
    more_dense[:steps] = dense
    return more_t, more_x, more_dense


@njit(**_INNER, fastmath=_ALGEBRA)
def _as_numbers(mask):
    """1 in the lanes of the mask, 0 in the others."""
    return where(mask, everywhere(1.0), everywhere(0.0))


# Rows of the control board of `integrate_many`, which lane by lane decisions and vector code share.
_STEP, _RTOL, _UNREST, _ERROR, _DEFINITE, _FINITE, _CHOSEN, _TILT = range(8)


@njit(**_ENTRY)
def integrate_many(models, charts, twins, tied, tableau, shape, limits, first, stop, ends, recording):
    """Advance the flows ``first`` to ``stop`` to their ends: `integrate` for many, always implicit.

    As many flows are under way as there are lanes; a lane whose flow has ended takes the next one. What a
    flow does depends on nothing in the other lanes: arithmetic is lane by lane, and so is every decision.

    ``models``, ``charts`` and ``twins`` hold P flows along their first axis; ``tied`` (P,) says which of them
    have twins at all.
    """
    size = ends.x.shape[1]
    order = tableau.order
    orders = tableau.dense.shape[0]
    f = _flights(shape, tableau.a.shape[0], orders)
    parts = _lane_model(shape)
    kappa, weight, signal, variance, noise, inverse_length = parts
    chart = Chart(_lane_array(size), _lane_array(size), _lane_array(size), _lane_array(size))
    board = np.zeros((8, WIDTH))
    control = as_lanes(board)
    member = np.full(WIDTH, -1)
    t, previous_error = np.zeros(WIDTH), np.ones(WIDTH)
    rejected = np.zeros(WIDTH, dtype=np.bool_)
    cause = np.zeros(WIDTH, dtype=np.int64)
    waiting = first
    under_way = 0
    mixed = False
    keep = recording.attainable.size > 0 or recording.times.size > 0
    room = 256 if keep else 1
    history_t, history_x, history_dense = _histories(room, orders, size)

    while True:
        boarded = False
        control[_CHOSEN] = 0.0
        for lane in range(WIDTH):
            if member[lane] >= 0 or waiting >= stop:
                continue
            p = waiting
            waiting += 1
            _board(lane, p, models, charts, ends.x, parts, chart, f.trial)
            for n in range(size):
                mixed = mixed or charts.kind[p, n] != EXPONENTIAL
            member[lane] = p
            t[lane], previous_error[lane], rejected[lane], cause[lane] = 0.0, 1.0, False, REACHED_END
            board[_STEP, lane], board[_RTOL, lane], board[_CHOSEN, lane] = 0.0, limits.rtol[p], 1.0
            ends.steps[p, 0] = 0
            ends.steps[p, 1] = 0
            if history_dense[lane].shape[0] > room:  # of a flow that took many steps
                history_t[lane], history_x[lane] = np.empty(room + 1), np.empty((room + 1, size))
                history_dense[lane] = np.empty((room, orders, size))
            history_t[lane][0] = 0.0
            history_x[lane][0] = ends.x[p]
            under_way += 1
            boarded = True
        if under_way == 0:
            return
        model = Model(models.kernel, kappa, weight, signal, variance, noise, inverse_length[0])
        if boarded:
            finite = _lanes_field(model, chart, shape, f, mixed)
            control[_FINITE] = _as_numbers(finite)
            control[_TILT] = _adopt(control[_CHOSEN] > 0.5, f, shape)
            for lane in range(WIDTH):
                if board[_CHOSEN, lane] < 0.5:
                    continue
                p = member[lane]
                ends.logits[p] = board[_TILT, lane]
                if board[_FINITE, lane] < 0.5:
                    ends.outcome[p] = OVERFLOW if _all_finite(ends.x[p]) else NON_FINITE
                    ends.t[p] = 0.0
                    member[lane] = -1
                    under_way -= 1

        control[_UNREST] = _lanes_prepare(model, chart, shape, control[_RTOL], f, mixed)
        for lane in range(WIDTH):
            p = member[lane]
            if p < 0:
                continue
            outcome = -1
            step = board[_STEP, lane]
            remaining = limits.t_end[p] - t[lane]
            if not rejected[lane]:
                if remaining <= 0.0:
                    outcome = REACHED_END
                elif limits.stationary[p] > 0.0 and board[_UNREST, lane] <= limits.stationary[p]:
                    outcome = STATIONARY
                elif step <= 0.0:
                    step = _lane_first_step(order, chart, f, lane, remaining)
            if outcome < 0:
                step = _fitted(step, remaining)
                if ends.steps[p, 0] + ends.steps[p, 1] >= limits.max_steps[p]:
                    outcome = STEP_LIMIT
                elif _too_small(step, t[lane]):
                    outcome = STEP_UNDERFLOW if cause[lane] == REACHED_END else cause[lane]
            if outcome >= 0:
                ends.outcome[p] = outcome
                ends.t[p] = t[lane]
                for n in range(size):
                    ends.x[p, n] = pick(f.x[n], lane)
                if keep:
                    _keep(
                        p,
                        models,
                        charts,
                        shape,
                        history_t[lane][: ends.steps[p, 0] + 1],
                        history_x[lane][: ends.steps[p, 0] + 1],
                        history_dense[lane][: ends.steps[p, 0]],
                        outcome == STATIONARY,
                        recording,
                    )
                member[lane] = -1
                under_way -= 1
                step = 0.0
            board[_STEP, lane] = step

        error, definite, finite = _lanes_attempt(model, chart, tableau, shape, control[_STEP], f, mixed)
        control[_ERROR] = error
        control[_DEFINITE] = _as_numbers(definite)
        control[_FINITE] = _as_numbers(finite)
        for lane in range(WIDTH):
            board[_CHOSEN, lane] = 0.0
            p = member[lane]
            if p < 0:
                continue
            worst = board[_ERROR, lane]
            if board[_DEFINITE, lane] > 0.5 and board[_FINITE, lane] > 0.5 and worst <= 1.0:
                board[_CHOSEN, lane] = 1.0
                ends.steps[p, 0] += 1
                step = board[_STEP, lane]
                t[lane] = limits.t_end[p] if step >= limits.t_end[p] - t[lane] else t[lane] + step
                worst = max(worst, 1e-8)
                board[_STEP, lane] *= _growth(order, worst, previous_error[lane], rejected[lane])
                previous_error[lane], rejected[lane], cause[lane] = worst, False, REACHED_END
                continue
            ends.steps[p, 1] += 1
            rejected[lane] = True
            if board[_DEFINITE, lane] < 0.5:
                board[_STEP, lane] *= 0.5
            elif board[_FINITE, lane] < 0.5:
                board[_STEP, lane] *= 0.1
                cause[lane] = OVERFLOW  # x itself is finite
            else:
                board[_STEP, lane] *= _shrinkage(order, worst)
                cause[lane] = REACHED_END
        control[_TILT] = _adopt(control[_CHOSEN] > 0.5, f, shape)
        if keep:
            _lanes_bend(tableau.dense, f)
        for lane in range(WIDTH):
            if board[_CHOSEN, lane] < 0.5:
                continue
            p = member[lane]
            ends.logits[p] = max(ends.logits[p], board[_TILT, lane])
            if tied[p]:
                _tie(twins[p], lane, f)
            if keep:
                steps = ends.steps[p, 0]
                history_t[lane], history_x[lane], history_dense[lane] = _with_room(
                    steps - 1, history_t[lane], history_x[lane], history_dense[lane]
                )
                history_t[lane][steps] = t[lane]
                for n in range(size):
                    m = twins[p, n]
                    history_x[lane][steps, n] = pick(f.x[n], lane)
                    for k in range(orders):
                        history_dense[lane][steps - 1, k, n] = pick(f.bend[k, m], lane)
