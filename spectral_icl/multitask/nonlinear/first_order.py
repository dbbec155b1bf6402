"""The first-order law of single-index tasks: complete to order 1/L at any dimension.

Under the tilt of a query t = v . q a head reads m(a) with a = omega t, and two heads together see
labels of mean m(a + b) and of the variance spread(a + b) + sigma^2. So with a = omega_hi tau Z,
b = omega_ki tau Z, a standard normal Z, and tau = (1 - 2 omega_hi omega_ki)^(-1/2), the length that the
weights of attention lend to queries,

    loss_i = sum_k (c_ik - F_ik)^2 + (1/L) [ sum_hk mu_hi mu_ki N_hk,i + C_i ] + sigma_i^2,
    N_hk,i = P_hk E [ sigma_i^2 + spread(a + b) + (m(a + b) - m(a)) (m(a + b) - m(b)) ],
    C_i    = 2 sum_h mu_hi P_hh E [ (sum_k mu_ki m(omega_ki t) - f(t)) (m(omega_hi t) - m(2 omega_hi t)) ]

with t = tau_hh Z in C. P_hk is that of linear tasks, prod_b (1 - 2 omega_hb omega_kb)^(-d_b/2). Everything
averaged is a polynomial of degree 2 K at most, so that K + 1 points average it exactly. All means exist, and
the law holds, where 2 omega_hb^2 < 1; beyond, everything here is NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.nonlinear import hermite
from spectral_icl.multitask.nonlinear.problem import SingleIndex


class Pairs(NamedTuple):
    """What all pairs of heads make of the queries that they weight.

    Attributes
    ----------
    tilt : ndarray, (H, H, I)
        1 / (1 - 2 omega_hi omega_ki), the square of tau.
    power : ndarray, (H, H)
        P_hk.
    root : ndarray, (I, H, H, 1)
        tau_hk.
    a : ndarray, (I, H, H, K + 1)
        Tilts of the first head at every point; those of the second are ``a.swapaxes(1, 2)``.
    gap : ndarray, (I, H, H, K + 1)
        m(a + b) - m(a).
    covariance : ndarray, (I, H, H)
        N_hk.
    """

    tilt: Floats
    power: Floats
    root: Floats
    a: Floats
    gap: Floats
    covariance: Floats


class Drift(NamedTuple):
    """What the bias of the heads is made of.

    Attributes
    ----------
    t : ndarray, (I, H, K + 1)
        Queries that head h weights, tau_hh Z.
    read : ndarray, (I, H, H, K + 1)
        What the second head reads there.
    target : ndarray, (I, H, K + 1)
        f there.
    bias : ndarray, (I, H, K + 1)
        m - m(2 .) of head h, with the weight of the point and P_hh: the mean is a sum.
    """

    t: Floats
    read: Floats
    target: Floats
    bias: Floats


def noise(problem: SingleIndex, omega: Floats) -> tuple[Floats, Floats]:
    """What prompts of finite length add, mu^T N mu - 2 n^T mu: N (I, H, H) and n (I, H)."""
    at = _pairs(problem, omega)
    return _form(problem, at, _drift(problem, omega, at))


def slope(problem: SingleIndex, omega: Floats, mu: Floats) -> tuple[Floats, Floats, Floats]:
    """N and n of `noise`, and derivatives by omega (H, I) of what they add, summed over tasks."""
    at = _pairs(problem, omega)
    drift = _drift(problem, omega, at)
    total = _covariance_slope(problem, omega, mu, at) + _bias_slope(problem, omega, mu, at, drift)
    return *_form(problem, at, drift), 2.0 * total / problem.context_length


def _form(problem: SingleIndex, at: Pairs, drift: Drift) -> tuple[Floats, Floats]:
    bias = (drift.read @ drift.bias[..., None])[..., 0]
    square = at.covariance + bias + bias.swapaxes(1, 2)
    pull = (drift.target * drift.bias).sum(axis=2)
    return square / problem.context_length, pull / problem.context_length


def _pairs(problem: SingleIndex, omega: Floats) -> Pairs:
    u = omega[:, None, :] * omega[None, :, :]
    u = np.where(2.0 * u < 1.0, u, np.nan)
    tilt = 1.0 / (1.0 - 2.0 * u)
    with np.errstate(over="ignore"):  # infinite is what it is
        power = np.exp(-0.5 * np.log1p(-2.0 * u) @ problem.sizes)
    root = np.sqrt(tilt).transpose(2, 0, 1)[..., None]
    z, w = hermite.nodes(problem.degree)
    a = omega.T[:, :, None, None] * root * z
    both = a + a.swapaxes(1, 2)
    gap = hermite.evaluated(problem.tilted, both) - hermite.evaluated(problem.tilted, a)
    variance = hermite.evaluated(problem.spread, both) + np.array(problem.noise)[:, None, None, None]
    covariance = power * ((variance + gap * gap.swapaxes(1, 2)) @ w)
    return Pairs(tilt, power, root, a, gap, covariance)


def _drift(problem: SingleIndex, omega: Floats, at: Pairs) -> Drift:
    z, w = hermite.nodes(problem.degree)
    t = np.einsum("ihhn->ihn", at.root) * z
    read = hermite.evaluated(problem.tilted, omega.T[:, None, :, None] * t[:, :, None, :])
    twice = hermite.evaluated(problem.tilted, 2.0 * omega.T[:, :, None] * t)
    bias = np.einsum("ihhn->ihn", read) - twice
    return Drift(t, read, hermite.combined(problem.c, t), np.diagonal(at.power)[:, None] * w * bias)


def _covariance_slope(problem: SingleIndex, omega: Floats, mu: Floats, at: Pairs) -> Floats:
    """Half of the derivative of sum_ihk mu mu N_hk,i by omega, (H, I): N is symmetric in its heads."""
    pairs = np.einsum("hi,ki->ihk", mu, mu)
    total = (pairs * at.covariance).sum(axis=0)
    by_power = np.einsum("hk,kb,hkb->hb", total, omega, at.tilt) * problem.sizes
    steep, wide = hermite.derivative(problem.tilted), hermite.derivative(problem.spread)
    z, w = hermite.nodes(problem.degree)
    first, second = omega.T[:, :, None, None], omega.T[:, None, :, None]
    together = at.a + at.a.swapaxes(1, 2)
    both = hermite.evaluated(steep, together)
    other = at.gap.swapaxes(1, 2)
    by_a = hermite.evaluated(wide, together) + both * at.gap
    by_a += (both - hermite.evaluated(steep, at.a)) * other
    longer = at.root**3 * z * second  # derivative of tau Z by the omega of the first head
    along = by_a * (at.root * z + first * longer) + by_a.swapaxes(1, 2) * second * longer
    found: Floats = by_power + (pairs * at.power * (along @ w)).sum(axis=2).T
    return found


def _bias_slope(problem: SingleIndex, omega: Floats, mu: Floats, at: Pairs, drift: Drift) -> Floats:
    """Half of the derivative of sum_i C_i by omega, (H, I)."""
    steep, own, t = hermite.derivative(problem.tilted), omega.T[:, :, None], drift.t
    _, w = hermite.nodes(problem.degree)
    reads = mu.T[:, None, :, None]
    left = (reads * drift.read).sum(axis=2) - drift.target
    tilt = np.einsum("hhb->hb", at.tilt)
    total = ((left * drift.bias).sum(axis=2).T * mu).sum(axis=1)
    by_power = 2.0 * total[:, None] * problem.sizes * omega * tilt
    longer = 2.0 * own * tilt.T[:, :, None] * t  # derivative of t by the head's omega
    slopes = hermite.evaluated(steep, omega.T[:, None, :, None] * t[:, :, None, :])
    by_t = (reads * omega.T[:, None, :, None] * slopes).sum(axis=2)
    by_t -= hermite.combined(hermite.lowered(problem.c), t)
    bend = np.einsum("ihhn->ihn", slopes) - 2.0 * hermite.evaluated(steep, 2.0 * own * t)
    bend = bend * np.diagonal(at.power)[:, None] * w
    by_own = mu.T * (by_t * longer * drift.bias + left * bend * (t + own * longer)).sum(axis=2)
    by_own += mu.T * np.einsum("ihkn,ihn->ik", slopes, mu.T[:, :, None] * t * drift.bias)
    found: Floats = by_power + by_own.T
    return found
