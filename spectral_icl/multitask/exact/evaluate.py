"""The exact loss of given states by quadrature alone, with its derivatives and an estimate of its error.

Nothing here comes from a table: it is what tables and flows are held against. `spectral_icl.kernels.exact`
has the loss that is averaged over the query.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.kernels.threads import available_cores
from spectral_icl.multitask.exact.overlaps import FINE, MEDIUM, Grid, Overlap, concentration, overlap
from spectral_icl.multitask.exact.queries import Rule, rule
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_dense

_ROUNDING = 1e-10  # of the label variance: of nodes that are left out, and of the fine grid
_MOST = 100.0  # mean logit variance: far beyond saturation, and up to there the sums were tested
_TWICE = np.array([2.0, 2.0, 1.0])  # how K_al, K_be and K_ga enter
_LETTERS = ("a", "b", "g")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The exact loss of one state.

    Attributes
    ----------
    task_loss : ndarray, (I,)
        Query noise included.
    gradient : State or None
        dloss/domega (H, B) and dloss/dmu (H, I) of the sum over tasks.
    hessian : ndarray, (N, N), or None
        By omega, then mu, both head-major.
    error : float
        Estimate of the error of the loss: its largest change under three coarser quadratures. Under one
        alone it may be small by accident, as the error changes its sign with the level.
    """

    task_loss: Floats
    gradient: State | None
    hessian: Floats | None
    error: float

    @property
    def loss(self) -> float:
        """The sum over tasks."""
        return float(self.task_loss.sum())


def evaluate(problem: Problem, at: State, order: int = 0, level: int | None = None) -> Evaluation:
    """The exact loss at a state, with its derivatives up to an order of at most 2.

    Parameters
    ----------
    problem : Problem
    at : State
        omega (H, B) and mu (H, I).
    order : int
    level : int, optional
        Of the rule for the query, `exact.queries.rule`; by default large enough for the state.

    Raises
    ------
    ProblemError
        The logits are so large that the sums would not be exact, or H (B + I) > 4096.
    """
    check_dense("omega", problem, len(at.omega))
    variance = ((np.asarray(problem.covariance) * at.omega) ** 2 @ np.asarray(problem.block_sizes)).max()
    if not variance <= _MOST:
        raise ProblemError("omega", f"a logit variance of {variance:.4g}", f"at most {_MOST:g}, to integrate")
    level = enough(problem, at.omega) if level is None else level
    found = quadrature(problem, at, order, level, FINE)
    coarser = {max(1, down) for down in (level - 1, level - 2, (level + 1) // 2)}
    changes = [abs(found[0] - quadrature(problem, at, 0, down, MEDIUM)[0]).sum() for down in coarser]
    rounding = _ROUNDING * float(problem.variance.sum())
    return Evaluation(*found, error=float(max(changes)) + rounding)


def enough(problem: Problem, omega: Floats) -> int:
    """A level of rules for the query that suits the size of the logits of a state."""
    v = np.asarray(problem.covariance) * omega
    # half the variance, over queries, of a head's logit variance
    spread = float((v**4 @ np.asarray(problem.block_sizes)).max())
    for level, most in ((2, 1e-4), (3, 0.01), (4, 0.1), (5, 1.0), (6, 5.0)):
        if spread <= most:
            return level
    return 8


def quadrature(
    problem: Problem, at: State, order: int, level: int, grid: Grid
) -> tuple[Floats, State | None, Floats | None]:
    """Task losses (I,), and gradient and Hessian by the block values if ``order`` has them."""
    where = rule(problem.block_sizes, level)
    one = _State(problem, at, order)
    with ThreadPoolExecutor(available_cores()) as pool:
        for node in pool.map(lambda n: one.node(where, n, grid), range(where.weight.size)):
            one.add(node)
    return one.result()


class _Node(NamedTuple):
    """What a state needs of the context at one query."""

    weight: float
    rho: Floats  # (B,)
    held: Floats  # (H, 3) D and its derivatives by the variance
    pairs: dict[tuple[int, int], Overlap]


class _State:
    """Sums over nodes of the loss of one state and its derivatives by v = kappa omega and mu."""

    def __init__(self, problem: Problem, at: State, order: int) -> None:
        self.problem, self.order = problem, order
        self.kappa = np.asarray(problem.covariance)
        self.v, self.mu = self.kappa * at.omega, at.mu
        self.share = np.asarray(problem.signal) / np.asarray(problem.block_sizes)
        self.heads, self.blocks = self.v.shape
        self.tasks = self.mu.shape[1]
        size = self.heads * (self.blocks + self.tasks)
        self.losses = np.array(problem.noise, dtype=np.float64)
        self.slope, self.bend = np.zeros(size), np.zeros((size, size))

    def node(self, rule: Rule, n: int, grid: Grid) -> _Node:
        """The expectations over the context at a node."""
        rho, length = rule.rho[n], self.problem.context_length
        gram = (self.v * rho) @ self.v.T
        size = [concentration(gram[h, h], length, grid) for h in range(self.heads)]
        pairs = {
            (h, k): overlap(gram[h, h], gram[k, k], gram[h, k], length, min(self.order, 2) + 1, grid)
            for h, k in self._pairs()
        }
        return _Node(float(rule.weight[n]), rho, np.array([[1.0, 0.0, 0.0]]) - np.array(size), pairs)

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return ((h, k) for h in range(self.heads) for k in range(h + 1))

    def add(self, node: _Node) -> None:
        """Add what a node contributes."""
        self._add_bias(node)
        for (h, k), found in node.pairs.items():
            self._add_pair(node, h, k, found)

    def _add_bias(self, node: _Node) -> None:
        """What is not read off, 1 - sum_h mu_hi v_hb D_h in each block."""
        v, mu, rho = self.v, self.mu, node.rho
        held, turn, turned = node.held.T
        for i in range(self.tasks):
            weight = node.weight * self.share[i] * rho  # (B,)
            left = 1.0 - (mu[:, i] * held) @ v
            self.losses[i] += weight @ left**2
            if self.order == 0:
                continue
            own = 2.0 * rho * v  # (H, B) of the variances by v
            by_v = np.zeros((self.blocks, self.heads, self.blocks))  # of the residual in b by v_hc
            for h in range(self.heads):
                by_v[:, h] = -mu[h, i] * (held[h] * np.eye(self.blocks) + turn[h] * np.outer(v[h], own[h]))
            by_mu = np.zeros((self.blocks, self.heads, self.tasks))
            by_mu[:, :, i] = -(held[:, None] * v).T
            jacobian = np.concatenate([by_v.reshape(self.blocks, -1), by_mu.reshape(self.blocks, -1)], axis=1)
            self.slope += 2.0 * (weight * left) @ jacobian
            if self.order == 1:
                continue
            self.bend += 2.0 * jacobian.T @ (weight[:, None] * jacobian)
            pulled = 2.0 * weight * left
            for h in range(self.heads):
                at = slice(h * self.blocks, (h + 1) * self.blocks)
                along = pulled @ v[h]
                bent = turn[h] * (np.outer(pulled, own[h]) + np.outer(own[h], pulled))
                bent += along * (turned[h] * np.outer(own[h], own[h]) + turn[h] * np.diag(2.0 * rho))
                self.bend[at, at] -= mu[h, i] * bent
                entry = self.heads * self.blocks + h * self.tasks + i
                cross = held[h] * pulled + turn[h] * along * own[h]
                self.bend[at, entry] -= cross
                self.bend[entry, at] -= cross

    def _add_pair(self, node: _Node, h: int, k: int, found: Overlap) -> None:
        """The noise of a pair of heads: mu_hi mu_ki V_hk,i, with V = s K + (D . m)_u K_u + m_g X."""
        v, rho, blocks = self.v, node.rho, self.blocks
        times = node.weight * (1.0 if h == k else 2.0)
        (held_h, turn_h, turned_h), (held_k, turn_k, turned_k) = node.held[h], node.held[k]
        of = found.k
        grad = np.array([of[u] for u in _LETTERS])
        spare = 4.0 * found.m[""] - held_h * held_k
        squares = np.stack([v[h] ** 2, v[k] ** 2, v[h] * v[k]])  # (3, B)
        both = self.mu[h] * self.mu[k]  # (I,)
        for i in range(self.tasks):
            m = squares @ (rho * self.share[i])
            spread = self.problem.variance[i] * of[""] + (_TWICE * m) @ grad + m[2] * spare
            self.losses[i] += times * both[i] * spread
        if self.order == 0:
            return
        jacobian = np.zeros((3, 2 * blocks))  # of al, be and ga by v_h and v_k
        jacobian[0, :blocks], jacobian[1, blocks:] = 2.0 * rho * v[h], 2.0 * rho * v[k]
        jacobian[2, :blocks], jacobian[2, blocks:] = rho * v[k], rho * v[h]
        second = np.array([[of["".join(sorted(u + w))] for w in _LETTERS] for u in _LETTERS])
        spare_1 = np.array(
            [4.0 * found.m["a"] - turn_h * held_k, 4.0 * found.m["b"] - held_h * turn_k, 4.0 * of["ab"]]
        )
        entering = _TWICE * grad + np.array([0.0, 0.0, spare])
        first_mu = self.heads * blocks
        at_v = np.r_[h * blocks : (h + 1) * blocks, k * blocks : (k + 1) * blocks]

        def slope(variance: float, share: Floats) -> Floats:
            m = squares @ (rho * share)
            tilt = variance * grad + second @ (_TWICE * m) + m[2] * spare_1
            found: Floats = tilt @ jacobian + entering @ (jacobian * np.tile(share, 2))
            return found

        total_variance, total_share = both @ self.problem.variance, both @ self.share
        np.add.at(self.slope, at_v, times * slope(total_variance, total_share))
        for i in range(self.tasks):
            m = squares @ (rho * self.share[i])
            spread = self.problem.variance[i] * of[""] + (_TWICE * m) @ grad + m[2] * spare
            at_h, at_k = first_mu + h * self.tasks + i, first_mu + k * self.tasks + i
            self.slope[at_h] += times * self.mu[k, i] * spread
            self.slope[at_k] += times * self.mu[h, i] * spread
            if self.order == 1:
                continue
            self.bend[at_h, at_k] += times * spread
            self.bend[at_k, at_h] += times * spread
            by_v = times * slope(self.problem.variance[i], self.share[i])
            for entry, other in ((at_h, self.mu[k, i]), (at_k, self.mu[h, i])):
                np.add.at(self.bend, (at_v, entry), other * by_v)
                np.add.at(self.bend, (entry, at_v), other * by_v)
        if self.order == 1:
            return
        third = np.array(
            [[[of["".join(sorted(u + w + x))] for x in _LETTERS] for w in _LETTERS] for u in _LETTERS]
        )
        spare_2 = np.array(
            [
                [
                    4.0 * found.m["aa"] - turned_h * held_k,
                    4.0 * found.m["ab"] - turn_h * turn_k,
                    4.0 * of["aab"],
                ],
                [0.0, 4.0 * found.m["bb"] - held_h * turned_k, 4.0 * of["abb"]],
                [0.0, 0.0, 4.0 * of["abg"]],
            ]
        )
        spare_2 = np.triu(spare_2) + np.triu(spare_2, 1).T
        m = squares @ (rho * total_share)
        shared = jacobian * np.tile(total_share, 2)
        tilt = total_variance * grad + second @ (_TWICE * m) + m[2] * spare_1
        tilted = total_variance * second + third @ (_TWICE * m) + m[2] * spare_2
        mixed = second * _TWICE
        mixed[:, 2] += spare_1
        cross = jacobian.T @ mixed @ shared
        bend = jacobian.T @ tilted @ jacobian + cross + cross.T
        # (3, B), of the second derivatives of al, be and ga
        on = tilt[:, None] * rho + entering[:, None] * (rho * total_share)
        bend[:blocks, :blocks] += np.diag(2.0 * on[0])
        bend[blocks:, blocks:] += np.diag(2.0 * on[1])
        bend[:blocks, blocks:] += np.diag(on[2])
        bend[blocks:, :blocks] += np.diag(on[2])
        np.add.at(self.bend, (at_v[:, None], at_v), times * bend)

    def result(self) -> tuple[Floats, State | None, Floats | None]:
        """Losses, gradient and Hessian, the latter two by omega in place of v."""
        if self.order == 0:
            return self.losses, None, None
        first_mu = self.heads * self.blocks
        scale = np.ones(self.slope.size)
        scale[:first_mu] = np.tile(self.kappa, self.heads)
        slope = scale * self.slope
        gradient = State(
            slope[:first_mu].reshape(self.heads, self.blocks),
            slope[first_mu:].reshape(self.heads, self.tasks),
        )
        return self.losses, gradient, scale[:, None] * self.bend * scale if self.order > 1 else None
