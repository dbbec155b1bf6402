"""One head alone under the exact law: all that its loss needs are functions of one variable.

Given the query, a head needs D = 1 - E |p|^2 and Q = 4 M + 4 K_al + K_ga at the variance al of its logits:

    loss_i = s_i - 2 mu_i n_i + mu_i^2 q_i,    n_i = E [ D sum_b lam_ib rho_b v_b ],
    q_i = E [ s_i (1 - D) + Q sum_b lam_ib rho_b v_b^2 ],    lam_ib = A_ib / d_b,    v_b = kappa_b omega_b,

averaged over the squared norms rho_b of the white query in each block. So the best mu is n / q, and the
excess sum_b A_ib - n_i^2 / q_i. Series in al take the place of the tables that pairs of heads need, up to
logits that no table reaches.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.surrogate import BEND
from spectral_icl.multitask.exact.overlaps import concentration, spread
from spectral_icl.multitask.exact.queries import Rule
from spectral_icl.multitask.problem import Problem

FARTHEST = 256.0  # logit variance
_TERMS = 80


class Alone:
    """The excess of one head as a function of its v = kappa omega, with the best mu.

    Parameters
    ----------
    problem : Problem
    nodes : Rule
        For the average over the query.
    """

    def __init__(self, problem: Problem, nodes: Rule) -> None:
        self.nodes = nodes
        self.length = problem.context_length
        self.power = np.asarray(problem.signal).sum(axis=1)
        self.variance = problem.variance
        self.share = np.asarray(problem.signal) / np.asarray(problem.block_sizes)

    def reaches(self, v: Floats) -> float:
        """The largest logit variance of a head v (B,) at the nodes."""
        return float((self.nodes.rho @ v**2).max())

    def losses(self, v: Floats, mu: Floats) -> Floats:
        """Losses (I,) of a head v (B,) and mu (I,), query noise included."""
        signal, noise, _ = self._parts(v)
        return np.asarray(self.variance - 2.0 * mu * signal + mu**2 * noise)

    def excess(self, v: Floats) -> tuple[Floats, Floats, Floats]:
        """Excess (I,), best mu (I,), and the gradient (B,) of the summed excess, of a head v (B,)."""
        signal, noise, at = self._parts(v)
        mu = signal / noise
        rho, weight = self.nodes
        log_size, wide = _series(self.length)
        turn = at.size * log_size.deriv()(at.x) * at.by_al
        turned = wide.deriv()(at.x) * at.by_al
        # of the excess A - n^2 / q, by n -2 mu and by q mu^2
        by_al = turn * (at.once @ (2.0 * mu) + self.variance @ mu**2) + turned * (at.twice @ mu**2)
        gradient = 2.0 * v * ((weight * by_al) @ rho + (mu**2 @ self.share) * ((weight * at.q) @ rho))
        gradient -= 2.0 * (mu @ self.share) * ((weight * (1.0 - at.size)) @ rho)
        return self.power - signal * mu, mu, gradient

    def _parts(self, v: Floats) -> tuple[Floats, Floats, _Nodes]:
        """The n (I,) and q (I,) of the loss, and what they are made of."""
        rho, weight = self.nodes
        al = rho @ v**2
        x, by_al = al / (1.0 + al / BEND), (1.0 + al / BEND) ** -2.0
        log_size, wide = _series(self.length)
        size, q = np.exp(log_size(x)) / self.length, wide(x)
        once, twice = (rho * v) @ self.share.T, (rho * v**2) @ self.share.T
        signal = (weight * (1.0 - size)) @ once
        noise = (weight @ size) * self.variance + (weight * q) @ twice
        return signal, noise, _Nodes(x, by_al, size, q, once, twice)


class _Nodes(NamedTuple):
    """Of every node: al / (1 + al / BEND) and its derivative, E |p|^2 and Q, and sums over blocks, (Q, I)."""

    x: Floats
    by_al: Floats
    size: Floats
    q: Floats
    once: Floats  # sum_b lam_ib rho_b v_b
    twice: Floats  # sum_b lam_ib rho_b v_b^2


@lru_cache(maxsize=64)
def _series(length: float) -> tuple[Chebyshev, Chebyshev]:
    """Log L E |p|^2 and Q, as series in al / (1 + al / BEND)."""
    top = FARTHEST / (1.0 + FARTHEST / BEND)
    x = 0.5 * top * (1.0 + np.cos(np.pi * (np.arange(_TERMS) + 0.5) / _TERMS))
    al = (x / (1.0 - x / BEND)).tolist()
    logs = np.log(length * np.array([concentration(each, length)[0] for each in al]))
    wide = np.array([spread(each, length) for each in al])
    one, other = (Chebyshev.fit(x, values, _TERMS - 1, domain=[0.0, top]) for values in (logs, wide))
    return one, other
