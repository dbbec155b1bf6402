"""How far a flow of the exact law is from it: what its table and its rule for the query leave out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.loss import losses_by
from spectral_icl.multitask.exact.packing import finer_rule, packed
from spectral_icl.multitask.exact.queries import Rule
from spectral_icl.multitask.exact.stored import table_of
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

_UNSEEN = 3.0  # the largest error of a table over the largest of the few pairs that it is judged by
_LOST = 1e-5  # weight of nodes past the table's reach with which the rule one level up says nothing


class Errors(NamedTuple):
    """Estimates of the error of the loss of T states, summed over tasks.

    Attributes
    ----------
    rule : ndarray, (T,)
        By how much the loss changes under the rule for the query one level up.
    table : ndarray, (T,)
        A bound by the errors that the table has at pairs of heads that it was not fitted to.
    """

    rule: Floats
    table: Floats

    @property
    def total(self) -> Floats:
        """Their sum, (T,)."""
        return self.rule + self.table


def errors(problem: Problem, model: Exact, states: State) -> Errors:
    """The errors of a packed problem at states omega (T, H, B) and mu (T, H, I)."""
    losses = losses_by(model, *states).sum(axis=1)
    finer, lost = _finer(problem, model, states)
    if finer is None:
        by_rule = np.full(len(losses), np.inf)
    else:
        by_rule = abs(losses_by(finer, *states).sum(axis=1) - losses) + lost * abs(losses)
    return Errors(by_rule, _by_table(problem, model, states))


def relative_errors(problem: Problem, model: Exact, states: State) -> Floats:
    """The errors over the excess, (T,); infinite where there is no telling."""
    found = errors(problem, model, states).total
    excess = losses_by(model, *states).sum(axis=1) - float(np.sum(problem.noise))
    with np.errstate(all="ignore"):
        relative = np.where(found > 0.0, found / excess, 0.0)
    return np.where(np.isfinite(relative) & (relative >= 0.0), relative, np.inf)


def _finer(problem: Problem, model: Exact, states: State) -> tuple[Exact | None, float]:
    """The model with the finer rule, without nodes past the table's reach; None if they weigh much.

    And about the share of the loss that these have: where the query is long, so is what is not read off.
    """
    reach = float(model.reach)
    nodes = finer_rule(problem, reach)
    v2 = (np.asarray(problem.covariance) * states.omega) ** 2
    inside = (v2 @ nodes.rho.T).max(axis=(0, 1)) <= reach
    weight = np.abs(nodes.weight[~inside])
    if not weight.sum() <= _LOST:
        return None, np.inf
    longest = (nodes.rho[~inside] / np.asarray(problem.block_sizes)).max(axis=1, initial=0.0)
    kept = Rule(nodes.rho[inside], nodes.weight[inside] / nodes.weight[inside].sum())
    return packed(problem, reach, kept), float(weight @ longest)


def _by_table(problem: Problem, model: Exact, states: State) -> Floats:
    """The bound: every pair of heads is off by `_UNSEEN` of the table's errors, over sqrt(E |p|^2 E |r|^2).

    By V_hk = s K + sum_b lam_b rho_b [2 v_h^2 K_al + 2 v_k^2 K_be + v_h v_k (K_ga + X)], at a typical query.
    """
    value, slope, spare = _UNSEEN * table_of(problem.context_length, float(model.reach)).errors
    v = np.asarray(problem.covariance) * states.omega  # (T, H, B)
    variance = v**2 @ np.asarray(problem.block_sizes, dtype=np.float64)  # (T, H)
    length = problem.context_length
    share = np.exp(np.minimum(variance, np.log(length))) / length  # E |p|^2 is no more, nor above 1
    sized = np.abs(states.mu) * np.sqrt(np.minimum(share, 1.0))[:, :, None]  # (T, H, I)
    moved = np.einsum("thb,ib->thi", v**2, np.asarray(problem.signal))
    noise = np.asarray(problem.variance) * value * sized.sum(axis=1) ** 2
    # 2 m_h + 2 m_k + m_hk <= 5/2 (m_h + m_k)
    tilt = (2.5 * slope + 0.5 * spare) * 2.0 * (sized * moved).sum(axis=1) * sized.sum(axis=1)
    return np.asarray((noise + tilt).sum(axis=1), dtype=np.float64)
