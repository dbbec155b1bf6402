"""The curve on which a lone head leaves zero, and where on it the loss falls steepest.

With w = kappa sqrt(d) omega, m = mu / sqrt(d), g = d phi / L and k = kappa c it obeys, in units of time of
1 / (c1 sqrt(d)),

    (log w)' = m (1 - m w (1 + g E)),   (log m)' = (w (1 - m w) - g E m) / k,   E = e^(w^2).
"""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import entry, inner
from spectral_icl.kernels.control import growth, shrinkage
from spectral_icl.kernels.model import Floats, Rosenbrock

_RTOL = 1e-8  # of w and m
_BEGIN = 1e-2  # w at the start, or over the square root of the ray's k + g where that is smaller
_MOST = 100_000  # steps; a usual curve takes a hundred


@inner()
def _rates(g, k, u, v):
    """(log w)' and (log m)' at u = log w and v = log m, and what their Jacobian is made of."""
    w, m = np.exp(u), np.exp(v)
    tilt = g * np.exp(w * w)
    learned = m * w
    return m * (1.0 - learned * (1.0 + tilt)), (w * (1.0 - learned) - tilt * m) / k, w, m, tilt


@inner()
def _steepness(g, k, u, v):
    """Half the rate at which the loss over its signal falls, and the derivative of this rate."""
    by_w, by_m, w, m, tilt = _rates(g, k, u, v)
    learned, square = m * w, w * w
    both = by_w + by_m
    bent_w = by_m * by_w - m * learned * (both * (1.0 + tilt) + 2.0 * tilt * square * by_w)
    bent_m = (w * by_w * (1.0 - learned) - w * learned * both - tilt * m * (2.0 * square * by_w + by_m)) / k
    fed = by_m + square * by_w
    rate = (1.0 - learned) * learned * both - tilt * m * m * fed
    change = learned * ((1.0 - 2.0 * learned) * both * both + (1.0 - learned) * (bent_w + bent_m))
    change -= tilt * m * m * (2.0 * fed * fed + bent_m + 2.0 * square * by_w * by_w + square * bent_w)
    return rate, change


@inner()
def _step(method, g, k, u, v, step, increments):
    """Log w and log m after a step, and its error in tolerances, infinite past a pole."""
    _, _, w, m, tilt = _rates(g, k, u, v)
    learned, square = m * w, w * w
    h = method.gamma * step
    # 1 - h J
    a = 1.0 + h * m * learned * (1.0 + tilt * (1.0 + 2.0 * square))
    b = -h * m * (1.0 - 2.0 * learned * (1.0 + tilt))
    c = -h * (w * (1.0 - 2.0 * learned) - 2.0 * square * tilt * m) / k
    d = 1.0 + h * m * (square + tilt) / k
    determinant = a * d - b * c
    if not determinant > 0.0:
        return u, v, np.inf
    stages = method.a.shape[0]
    for s in range(stages):
        at_u, at_v, from_u, from_v = u, v, 0.0, 0.0
        for j in range(s):
            at_u += method.a[s, j] * increments[j, 0]
            at_v += method.a[s, j] * increments[j, 1]
            from_u += method.c[s, j] * increments[j, 0]
            from_v += method.c[s, j] * increments[j, 1]
        by_u, by_v, _, _, _ = _rates(g, k, at_u, at_v)
        x, y = method.gamma * (step * by_u + from_u), method.gamma * (step * by_v + from_v)
        increments[s, 0], increments[s, 1] = (d * x - b * y) / determinant, (a * y - c * x) / determinant
    last_u, last_v = increments[stages - 1, 0], increments[stages - 1, 1]
    error = max(abs(last_u), abs(last_v)) / _RTOL
    return at_u + last_u, at_v + last_v, error if error < np.inf else np.inf


@inner()
def _delay(method, g, k, increments):
    """The steepest fall after the divergence that the start of the curve foresees; NaN if it is not found."""
    ray = k + g
    begin = _BEGIN * min(1.0, np.sqrt(ray))
    # near zero the curve is m = (w / ray) (1 + bend w^2), and ray / w and a term of order w the time left
    bend = -(1.0 + g) * g / (ray * (3.0 * k + g))
    u, v = np.log(begin), np.log(begin / ray * (1.0 + bend * begin * begin))
    t, diverges = 0.0, ray / begin + (ray * bend - 1.0 - g) * begin
    end = diverges + 5.0 * np.sqrt(ray) + 5.0 * ray
    step, previous, rejected = 0.01 * diverges, 1.0, False
    found, best = np.nan, 0.0
    _, change = _steepness(g, k, u, v)
    for _ in range(_MOST):
        if not t < end:
            break
        next_u, next_v, error = _step(method, g, k, u, v, step, increments)
        if not error <= 1.0:
            step *= shrinkage(method.order, error) if error < np.inf else 0.5
            rejected = True
            continue
        _, next_change = _steepness(g, k, next_u, next_v)
        if change > 0.0 and next_change <= 0.0:  # a peak: the zero of the change, by bisection of the step
            low, high = 0.0, step
            for _ in range(40):
                middle = 0.5 * (low + high)
                at_u, at_v, _ = _step(method, g, k, u, v, middle, increments)
                peak, slope = _steepness(g, k, at_u, at_v)
                low, high = (middle, high) if slope > 0.0 else (low, middle)
            if peak > best:
                found, best = t + low, peak
        t += step
        u, v, change = next_u, next_v, next_change
        error = max(error, 1e-6)
        step *= growth(method.order, error, previous, rejected)
        previous, rejected = error, False
    return found - diverges


@entry()
def delays(method: Rosenbrock, noise: Floats, key_scale: Floats) -> Floats:
    """Time from the divergence of the warm-up to the steepest fall, for every pair of g and k."""
    found = np.empty(noise.size)
    increments = np.empty((method.a.shape[0], 2))
    for i in range(noise.size):
        found[i] = _delay(method, noise[i], key_scale[i], increments)
    return found
