"""The trained factors k, q, o and v, integrated as they are, beside the flow of their products.

An independent check of the mirror flow: nothing here knows of dual coordinates or conserved imbalances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.loss import gradient_at
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import UnmeasurableError

_FAINT = 1e-10  # below which the sign of a balanced weight is lost to the integration's error
_LONGEST = 1e6  # time over which an explicit integration is tried
_MOST_CALLS = 100_000  # of the field
_POINTS = 50  # at which the two paths are compared
_MOST_LOOKS, _MOST_NUMBERS = 400, 2**23  # times to look for faint weights at, and numbers of their states


class Comparison(NamedTuple):
    """The factors' own flow beside that of omega and mu.

    Attributes
    ----------
    drift : float
        Largest change of an imbalance, relative.
    distance : float
        Largest distance of c k q from omega and of o v from mu, relative.
    flips : int
        Products c k q and o v that changed sign.
    """

    drift: float
    distance: float
    flips: int


def compare(flow: Solution, kernel: str) -> Comparison:
    """Integrate k, q, o and v through the first emergence."""
    from scipy.integrate import solve_ivp  # slow to import, and only needed here

    problem, weights, c = flow.problem, flow.parametrization, flow.key_scale
    assert weights.trains_factors
    omega0, mu0 = flow(0.0)
    start = np.concatenate(
        [*_split(omega0 / c, weights.imbalance("omega")), *_split(mu0, weights.imbalance("mu"))]
    )
    if not start.any():
        raise UnmeasurableError("all weights are zero")
    places = np.cumsum([omega0.size, omega0.size, mu0.size])
    calls = iter(range(_MOST_CALLS))

    def field(_: float, y: Floats) -> Floats:
        if next(calls, None) is None:
            raise UnmeasurableError("k, q, o and v are too stiff to be integrated explicitly")
        k, q, v, o = np.split(y, places)
        at = State((c * k * q).reshape(omega0.shape), (o * v).reshape(mu0.shape))
        slope = gradient_at(problem, at, kernel)
        by_omega = (slope.omega / np.asarray(problem.block_sizes)).ravel()
        by_mu = slope.mu.ravel()
        return np.concatenate([-c * q * by_omega, -c * k * by_omega, -o * by_mu, -v * by_mu])

    end = _comparable_until(flow)
    times = np.linspace(0.0, end, _POINTS)
    found = solve_ivp(field, (0.0, end), start, method="DOP853", rtol=1e-10, atol=1e-13, t_eval=times)
    if not found.success:
        raise UnmeasurableError("k, q, o and v could not be integrated")
    k, q, v, o = np.split(found.y, places)
    distance, flips = 0.0, 0
    for path, product in zip(_path(flow, times), (c * k * q, o * v), strict=True):
        reduced = path.reshape(times.size, -1).T
        distance = max(distance, float(np.abs(reduced - product).max() / np.abs(reduced).max()))
        flips += int((product * np.sign(product[:, :1]) < 0.0).any(axis=1).sum())
    return Comparison(max(_drift(k, q), _drift(v, o)), distance, flips)


def _split(product: Floats, imbalance: Floats) -> tuple[Floats, Floats]:
    """Two flat factors with the given product and difference of squares, the first the larger."""
    larger = np.sqrt(0.5 * (imbalance + np.sqrt(imbalance**2 + 4.0 * product**2)))
    smaller = np.divide(product, larger, out=np.zeros_like(product), where=larger > 0.0)
    return np.broadcast_to(larger, product.shape).ravel(), smaller.ravel()


def _drift(one: Floats, other: Floats) -> float:
    """Largest change of the difference of squares along (N, T) paths, over the largest sum of squares."""
    imbalance = one**2 - other**2
    return float(np.abs(imbalance - imbalance[:, :1]).max() / (one**2 + other**2).max())


def _path(flow: Solution, times: Floats) -> State:
    """The states of a flow at times from 0 on; one that was kept in outline is solved again for them."""
    if not isinstance(flow.trajectory, Outline):
        return flow(times)
    asked = flow.options
    again = gradient_flow(
        flow.problem,
        *flow(0.0),
        parametrization=flow.parametrization,
        t_end=float(times[-1]),
        t_eval=times,
        rtol=asked.rtol,
        kernel=asked.kernel,
    )
    return State(again.omega, again.mu)


def _looked_at(flow: Solution) -> int:
    """Number of times at which weights are looked at, fewer of states that would fill the memory."""
    return min(_MOST_LOOKS, max(_POINTS, _MOST_NUMBERS // flow.trajectory.chart.kind.size))


def _comparable_until(flow: Solution) -> float:
    """Past the first emergence, unless a balanced weight fades before.

    Signs of products are only kept to an absolute error: a faded weight takes the wrong one and escapes.
    """
    emerged = [task.time for task in flow.phases.tasks if task.time > 0.0]
    end = min(1.2 * min(emerged, default=np.inf), float(flow.t[-1]), _LONGEST)
    if flow.parametrization.conserves_signs and end > 0.0:
        times = np.linspace(0.0, end, _looked_at(flow))
        faint = np.zeros(times.size, dtype=bool)
        for path in _path(flow, times):
            faint |= ((np.abs(path) < _FAINT) & (path[0] != 0.0)).any(axis=(1, 2))
        if faint.any():
            end = float(times[max(0, int(faint.argmax()) - 1)])
    if end == 0.0:
        raise UnmeasurableError("weights are too small for k, q, o and v to be integrated")
    return end
