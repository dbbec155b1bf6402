"""SciPy's stiff integrators on the same compiled field and Jacobian, in the same dual coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import odeint, solve_ivp

from spectral_icl.kernels import law
from spectral_icl.kernels.asymptotic import Asymptotic, Overlaps
from spectral_icl.kernels.field import parts_of, slope_at
from spectral_icl.kernels.model import EXPONENTIAL, Chart
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode

Floats = NDArray[np.float64]
Shape = tuple[int, int, int]  # heads, blocks, tasks


class Callbacks(NamedTuple):
    """dx/dt and its Jacobian, each one compiled call that returns a fresh array."""

    start: Floats
    field: Callable[[float, Floats], Floats]
    jacobian: Callable[[float, Floats], Floats]


class Run(NamedTuple):
    """What an integrator returned."""

    x: Floats  # (reached, N) dual coordinates at the requested times
    complaint: str  # empty if it reached the end


@njit(error_model="numpy")
def _unpack(shape: Shape, packed: Floats) -> tuple[Asymptotic, Floats, Floats]:
    """The model, the speeds and the signs as views of one array.

    One array instead of a dozen keeps a call from Python at about two microseconds.
    """
    heads, blocks, tasks = shape
    size = heads * (blocks + tasks)
    first = blocks + blocks + tasks * blocks
    model = Asymptotic(
        packed[:blocks],
        packed[blocks : 2 * blocks],
        packed[2 * blocks : first].reshape(tasks, blocks),
        packed[first : first + tasks],
        packed[first + tasks : first + 2 * tasks],
        packed[first + 2 * tasks],
    )
    last = first + 2 * tasks + 1
    return model, packed[last : last + size], packed[last + size : last + 2 * size]


@njit(error_model="numpy")
def _field(
    shape: Shape,
    packed: Floats,
    kind: NDArray[np.int64],
    x: Floats,
    work: Floats,
    exponential: Floats,
    spread: Floats,
    pull: Floats,
    weighted: Floats,
    pairs: Floats,
) -> Floats:
    """dx/dt in a new array; theta and the gradient stay in ``work``."""
    model, speed, sign = _unpack(shape, packed)
    out = np.empty(x.size)
    mode = floating_mode()
    set_floating_mode(flushing(mode))  # as in the package's own calls
    slope_at(
        model,
        Chart(kind, sign, speed, sign),
        x,
        parts_of(work[: x.size], shape),
        parts_of(work[x.size :], shape),
        Overlaps(exponential, spread, pull, weighted, pairs),
        out,
        False,
    )
    set_floating_mode(mode)
    return out


@njit(error_model="numpy")
def _jacobian(
    shape: Shape,
    packed: Floats,
    kind: NDArray[np.int64],
    x: Floats,
    work: Floats,
    exponential: Floats,
    spread: Floats,
    pull: Floats,
    weighted: Floats,
    pairs: Floats,
    hess: Floats,
) -> Floats:
    """dfield/dx = -P s S s M, dense, in a new array; M = |theta| for balanced weights, so s M = theta."""
    heads, blocks, tasks = shape
    model, speed, sign = _unpack(shape, packed)
    _field(shape, packed, kind, x, work, exponential, spread, pull, weighted, pairs)
    theta = work[: x.size]
    mode = floating_mode()
    set_floating_mode(flushing(mode))
    law.hessian(
        model,
        theta[: heads * blocks].reshape(heads, blocks),
        theta[heads * blocks :].reshape(heads, tasks),
        Overlaps(exponential, spread, pull, weighted, pairs),
        hess,
    )
    out = np.empty_like(hess)
    for i in range(x.size):
        for j in range(i, x.size):
            out[i, j] = -speed[i] * sign[i] * hess[i, j] * theta[j]
            out[j, i] = -speed[j] * sign[j] * hess[i, j] * theta[i]
    set_floating_mode(mode)
    return out


def balanced_callbacks(model: Asymptotic, chart: Chart, heads: int, start: Floats) -> Callbacks:
    """The balanced flow as callbacks for SciPy. Reuses its work arrays: not for two threads at once."""
    tasks, blocks = model.signal.shape
    shape = (heads, blocks, tasks)
    if (chart.kind != EXPONENTIAL).any() or (chart.scale != chart.sign).any():
        raise ValueError("the Jacobian here is the one of balanced weights without zero entries")
    packed = np.concatenate(
        [
            model.kappa,
            model.weight,
            model.signal.ravel(),
            model.variance,
            model.noise,
            [model.inverse_length],
            chart.speed,
            chart.sign,
        ]
    )
    buffers = (
        np.empty(2 * start.size),
        *law.scratch(model, shape),
    )
    kind = chart.kind
    hess = np.zeros((start.size, start.size))

    def field(t: float, x: Floats) -> Floats:
        out: Floats = _field(shape, packed, kind, x, *buffers)
        return out

    def jacobian(t: float, x: Floats) -> Floats:
        out: Floats = _jacobian(shape, packed, kind, x, *buffers, hess)
        return out

    field(0.0, start)
    jacobian(0.0, start)  # both are compiled now
    return Callbacks(start, field, jacobian)


def solve(method: str, callbacks: Callbacks, times: Floats, tolerance: float) -> Run:
    """Integrate from 0 and report at ``times``, with atol = rtol: dual coordinates are logarithms."""
    if method == "odeint":
        x, info = odeint(
            callbacks.field,
            callbacks.start,
            np.concatenate([[0.0], times]),
            Dfun=callbacks.jacobian,
            tfirst=True,
            rtol=tolerance,
            atol=tolerance,
            mxstep=1_000_000,
            full_output=True,
        )
        if "successful" in info["message"]:
            return Run(x[1:], "")
        return Run(x[1 : 1 + np.count_nonzero(info["tcur"] >= times)], info["message"])
    try:
        result = solve_ivp(  # type: ignore[call-overload]
            callbacks.field,
            (0.0, float(times[-1])),
            callbacks.start,
            method=method,
            t_eval=times,
            jac=callbacks.jacobian,
            rtol=tolerance,
            atol=tolerance,
        )
    except ValueError as error:  # a trial step overflowed: SciPy does not reduce it, it refuses the matrix
        return Run(np.empty((0, callbacks.start.size)), f"raised {error}")
    return Run(np.ascontiguousarray(result.y.T), "" if result.success else result.message)
