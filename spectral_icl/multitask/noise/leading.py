"""Covariance of a prompt's gradient in closed form, to leading order in 1/L.

Given the query, the error and what heads read are Gaussian to leading order: a signal, made of the u_b = g .
q over the coordinates of block b, and the noise of a mean over the context, of which two heads share E_hk /
L. A tilt reads the derivative of that noise by omega. Products of two Gaussians have the covariance of Wick;
beyond it, |q_b|^2 scatters as kappa_b chi^2 of d_b does, which is kept where factors share the signal of a
block.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


def leading_order(problem: Problem, at: State, hidden: Floats) -> tuple[Floats, ...]:
    """The fields of `spectral_icl.multitask.noise.moments.GradientNoise` at one state.

    Parameters
    ----------
    problem : Problem
    at : State, (H, B) and (H, I)
    hidden : ndarray, (I,)
        Noise of the queries' labels, as they are trained on.
    """
    omega, mu = at
    (heads, blocks), tasks = omega.shape, mu.shape[1]
    sizes, kappa = np.asarray(problem.block_sizes, dtype=np.float64), np.asarray(problem.covariance)
    tilt = np.exp(np.einsum("hb,b,kb->hk", omega, sizes * kappa**2, omega))
    noise, of_query = _reading_noise(tilt, omega, sizes, kappa)
    by_task = [_of_task(problem, at, noise, of_query, i, float(hidden[i])) for i in range(tasks)]
    error = np.array([one[0] for one in by_task]) + hidden
    read = np.array([one[1][:heads, :heads] for one in by_task])
    against = np.array([one[2][:heads] for one in by_task])

    entries = np.zeros((heads * (blocks + tasks),) * 2)
    for i, (_, _, _, product) in enumerate(by_task):
        rows = np.concatenate([heads * blocks + np.arange(heads) * tasks + i, np.arange(heads * blocks)])
        scale = 2.0 * np.concatenate([np.ones(heads), np.repeat(mu[:, i], blocks)])
        entries[np.ix_(rows, rows)] += scale[:, None] * product * scale
    apart = 1.0 - np.eye(tasks)[:, :, None, None]
    crossed = apart * 4.0 * np.einsum("i,jhk->ijhk", error, read)
    swapped = apart * 4.0 * np.einsum("jh,ik->ijhk", against, against)

    stray, bend = _off_diagonal(problem, at, tilt, error)
    return entries, crossed, swapped, 2.0 * read, stray, bend


def _off_diagonal(problem: Problem, at: State, tilt: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Covariance of the gradient by an entry off W's diagonal, (B, B, H, H), and the loss's curvature by it.

    c_ij of one coordinate has the signal kappa g_ij, and noise of variance s_i kappa E_hk / L.
    """
    omega, mu = at
    power, variance = np.array(problem.signal), np.asarray(problem.variance)
    sizes, kappa = np.asarray(problem.block_sizes, dtype=np.float64), np.asarray(problem.covariance)
    prior = power / (sizes * kappa)
    residual = 1.0 - kappa * (mu.T @ omega)  # (I, B)
    both = np.einsum("hi,ki->ihk", mu, mu)
    own = (prior * kappa**2)[:, :, None, None] + np.einsum(
        "i,b,hk->ibhk", variance / problem.context_length, kappa, tilt
    )
    own = own * both[:, None]
    # e^2 q_k^2 of a block that the signal is in, and the error's covariance with c_ij, which is along q_j
    square = error[:, None] + 2.0 / sizes * residual**2 * power
    lean = np.einsum("hi,ib->ihb", mu, -residual * kappa**1.5 * prior)
    total = lean.sum(axis=0)
    along = np.einsum("ihb,ikb->bhk", lean, lean) + np.einsum("hb,kb->bhk", total, total)
    stray = 4.0 * (np.einsum("ic,ibhk,c->bchk", square, own, kappa) + np.einsum("bhk,c->bchk", along, kappa))
    return stray, 2.0 * np.einsum("ibhk,c->bchk", own, kappa)


def _reading_noise(tilt: Floats, omega: Floats, sizes: Floats, kappa: Floats) -> tuple[Floats, Floats]:
    """Covariance of readings' noise over s_i / L, (F, F), its part by |q_b|^2, (B, F, F); F = H (1 + B).

    The noise of r is a field over omega of covariance E, that of a tilt its derivative by omega_hb, over d_b.
    """
    heads, blocks = omega.shape
    moved = kappa**2 * omega
    covariance = np.zeros((heads * (1 + blocks),) * 2)
    covariance[:heads, :heads] = tilt
    slope = np.einsum("hk,kb->khb", tilt, moved).reshape(heads, -1)  # of r^k and the tilt b of h
    covariance[:heads, heads:], covariance[heads:, :heads] = slope, slope.T
    twice = np.einsum("hk,kb,hc->hbkc", tilt, moved, moved)
    of_query = np.zeros((blocks, *covariance.shape))
    for b in range(blocks):
        alone = tilt * kappa[b] ** 2 / sizes[b]
        twice[:, b, :, b] += alone
        of_query[b, heads + b :: blocks, heads + b :: blocks] = alone
    covariance[heads:, heads:] = twice.reshape(heads * blocks, -1)
    return covariance, of_query


def _of_task(
    problem: Problem, at: State, noise: Floats, of_query: Floats, task: int, hidden: float
) -> tuple[float, Floats, Floats, Floats]:
    """E[e^2] of a task, E[c c'] of readings, (F, F), E[e c], (F,), and the covariance of e c, (F, F)."""
    omega, mu = at.omega, at.mu[:, task]
    heads, blocks = omega.shape
    sizes, kappa = np.asarray(problem.block_sizes), np.asarray(problem.covariance)
    power = np.asarray(problem.signal[task])
    shared = problem.variance[task] / problem.context_length
    root = np.sqrt(power)
    residual = -(1.0 - kappa * (mu @ omega)) * root  # of e, in units in which u_b has variance 1
    signal = np.zeros((len(noise), blocks))
    signal[:heads] = kappa * omega * root
    for h in range(heads):
        signal[heads + h * blocks + np.arange(blocks), np.arange(blocks)] = kappa / sizes * root
    told = np.zeros(len(noise))
    told[:heads] = mu

    joint = signal @ signal.T + shared * noise
    against = signal @ residual + shared * (noise @ told)
    error = float(residual @ residual + shared * (told @ noise @ told))
    product = (error + hidden) * joint + np.outer(against, against)
    for b in np.flatnonzero(power):
        weight = residual[b] ** 2 / sizes[b]
        product += 6.0 * weight * np.outer(signal[:, b], signal[:, b])  # E chi^4 = d (d + 2)
        product += 2.0 * weight * shared * of_query[b]
        # the labels of a context and of its query share their coefficients
        product += 2.0 * weight * power[b] / problem.context_length * noise
    return error, joint, against, product
