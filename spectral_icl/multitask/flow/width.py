"""The width of the emergence: how long the loss of a task takes to fall, whatever the size of the start.

A lone head leaves zero along one curve, wherever a small start is (`theory/multitask/width.py`): the time of
its emergence grows as one over the size of the start, and the width does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, number
from spectral_icl.multitask.flow.emergence import rates
from spectral_icl.multitask.problem import Problem, disjoint_home

LEAST, MOST = 0.05, 0.95  # shares of a task's whole fall between which its emergence is timed
_BEGIN = 1e-3  # w at the start of the curve, over the square root of the ray's k + g if that is below 1
_RTOL = 1e-9  # of the curve
_AFTER = 50.0  # times that the slowest mode takes, that the curve is followed beyond the warm-up


def emergence_widths(problem: Problem, key_scale: float, least: float = LEAST, most: float = MOST) -> Floats:
    """Time from one share of a task's whole fall to another, in the limit of a small start.

    For disjoint tasks and balanced weights, under the asymptotic law: of a head that is alone on the task,
    which a dominant one is in that limit.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.
    key_scale : float
        The factor c in front of the logits.
    least, most : float
        Shares, 0 < least < most < 1, of the fall of a task's loss from that of zero weights to the limit's.

    Returns
    -------
    ndarray, (I,)
        In units of the flow's time; NaN of a task whose curve could not be followed.

    Raises
    ------
    ProblemError
        Tasks are not disjoint, the key scale is not positive, or the shares are no such numbers.
    """
    disjoint_home(problem)
    key_scale = number("key_scale", key_scale, minimum=0.0, above=True)
    number("least", least, minimum=0.0, above=True)
    if not least < number("most", most) < 1.0:
        raise ProblemError("most", most, f"a number between least = {least:g} and 1")
    made = rates(problem, key_scale)
    noise, scale = made.kappa * made.n * made.size / made.c2, made.kappa * key_scale
    each = [_width(float(g), float(k), least, most) for g, k in zip(noise, scale, strict=True)]
    found: Floats = np.array(each) / (made.c1 * np.sqrt(made.size))
    return found


@lru_cache(1024)  # equal tasks have equal curves
def _width(g: float, k: float, least: float, most: float) -> float:
    """Time between two shares of the fall on the curve of a lone head, in units of 1 / (c1 sqrt(d)).

    With w = kappa sqrt(d) omega, m = mu / sqrt(d), g = d phi / L and k = kappa c it is (log w)' =
    m (1 - m w (1 + g E)), (log m)' = (w (1 - m w) - g E m) / k with E = e^(w^2), and the loss over the signal
    is (1 - m w)^2 + g E m^2.
    """
    from scipy.integrate import solve_ivp  # slow to import, and only needed here

    y = np.e * g

    def field(_: float, logs: Floats) -> list[float]:
        w, m = np.exp(logs)
        tilt = g * np.exp(w * w)
        return [m * (1.0 - m * w * (1.0 + tilt)), (w * (1.0 - m * w) - tilt * m) / k]

    def beyond(share: float) -> Callable[[float, Floats], float]:
        def distance(_: float, logs: Floats) -> float:
            w, m = np.exp(logs)
            fallen = 2.0 * m * w - (m * w) ** 2 - g * np.exp(w * w) * m * m
            return float(fallen * (1.0 + y) - share)  # the whole fall is 1 / (1 + y)

        return distance

    w = _BEGIN * min(1.0, (k + g) ** 0.5)
    slow = 4.0 * y / ((1.0 + y) ** 2 * (2.0 + 2.0 * k * (1.0 + 3.0 * y) / (1.0 + y) ** 2))
    end = (k + g) / w + _AFTER * (1.0 + k + 1.0 / slow)
    last = beyond(most)
    last.terminal = True  # type: ignore[attr-defined]
    start = np.log([w, w / (k + g)])  # on the ray of the warm-up, w' = w^2 / (k + g)
    found = solve_ivp(
        field, (0.0, end), start, method="LSODA", rtol=_RTOL, atol=_RTOL, events=[beyond(least), last]
    )
    first, second = found.t_events or (np.empty(0), np.empty(0))
    return float(second[0] - first[0]) if first.size and second.size else np.nan
