"""The best decomposable attention with H heads, by numerical optimisation over omega with mu eliminated.

In the coordinates w_hb = sqrt(d_b) kappa_b omega_hb the kernel is E_hk = exp(w_h . w_k) and the loss is
quadratic in mu, so the best mu is a linear solve. Over w the infimum is seldom attained: it pays to let
heads coalesce, at zero or elsewhere, while mu diverges. That limit has a loss function of its own
(`Coalescing`), so it is searched directly instead of being chased.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

SPREAD = 1e-2  # distance between heads, in units of w, at which an unattained infimum is represented
SAME = 1e-6  # relative difference of losses within which two ends of a search are one local minimum
STARTS = 8  # random ones, of each numerical search
_LARGE = 100  # variables from which a search has fewer: it is slower, and its structured starts do as well
_SINGULAR = 1e-13  # eigenvalues of the equilibrated system below this are noise
_OVERFLOW = 300.0  # of w_h . w_k
BAD = 1e10
MOST_SEARCHED = 400  # variables H B; a search of more takes minutes
MOST_ONE_HEAD = 2**14  # I (B + 1) of the best single head under other laws than the asymptotic one
_WIDEST = 2**21  # I H (B + H), of which every step of a search takes some multiples
_DENSE = 100  # variables up to which a dense approximation of the Hessian pays

Objective = Callable[[Floats], tuple[float, Floats]]


@dataclass(frozen=True)
class Found:
    """One end of a local search: its loss without query noise, and where it is."""

    loss: float
    point: Floats


class Quadratic:
    """The loss as a function of mu, for features read off by the heads: the part both searches share."""

    def __init__(self, problem: Problem, length: float | None = None) -> None:
        self.power = problem.signal.dense()
        self.root = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64))
        self.noise = problem.variance / (problem.context_length if length is None else length)  # s_i / L
        noisy = self.noise[:, None] * self.root**2
        # the lower bound, in units of which the searches work
        self.unit = float(
            np.divide(
                self.power * noisy, self.power + noisy, where=self.power > 0.0, out=np.zeros_like(self.power)
            ).sum()
        )

    def solve(self, features: Floats, gram: Floats) -> tuple[Floats, Floats]:
        """Least task losses (I,) over mu and the mu (H, I) that has them, without query noise.

        Head h adds ``features[h] / root`` to the map T (I, B) and ``gram`` (H, H) is the noise's quadratic
        form: loss = sum_ib A_ib (1 - T_ib)^2 + sum_i (s_i / L) mu_i^T gram mu_i.
        """
        pull = (self.power / self.root) @ features.T  # (I, H)
        scaled = features[None, :, :] * (self.power / self.root**2)[:, None, :]
        system = scaled @ features.T + self.noise[:, None, None] * gram
        diagonal = np.einsum("ihh->ih", system)
        unit = 1.0 / np.sqrt(np.maximum(diagonal, 1e-300))  # equilibrated: heads may be tiny
        values, vectors = np.linalg.eigh(system * unit[:, :, None] * unit[:, None, :])
        inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > _SINGULAR)
        turned = np.einsum("ihk,ih->ik", vectors, unit * pull)
        mu = unit * np.einsum("ihk,ik->ih", vectors, inverse * turned)
        # not power - pull . mu, which cancels where little is left
        residual = 1.0 - mu @ features / self.root
        spread = np.einsum("ih,hk,ik->i", mu, gram, mu)
        losses: Floats = (self.power * residual**2).sum(axis=1) + self.noise * spread
        return losses, mu.T

    def slopes(self, features: Floats, mu: Floats) -> tuple[Floats, Floats]:
        """Derivatives of the least loss by ``features`` (H, B) and by ``gram`` (H, H): mu is stationary."""
        residual = 1.0 - mu.T @ features / self.root
        return -2.0 * mu @ (self.power * residual / self.root), (mu * self.noise) @ mu.T


class Attention(Quadratic):
    """The least loss over mu of heads at w (H, B)."""

    def __init__(self, problem: Problem, heads: int) -> None:
        check_searched(problem, heads)
        super().__init__(problem)
        self.frame = frame(heads)

    def profile(self, w: Floats) -> tuple[Floats, Floats]:
        """Task losses and mu, solved in a frame in which E loses no digits as w shrinks (ones come first)."""
        gram = self.frame @ np.expm1(w @ w.T) @ self.frame
        gram[0, 0] += w.shape[0]
        losses, mu = self.solve(self.frame @ w, gram)
        return losses, self.frame @ mu

    def objective(self, flat: Floats) -> tuple[float, Floats]:
        """Loss and gradient by w, over the lower bound."""
        w = flat.reshape(self.frame.shape[0], -1)
        overlap = w @ w.T
        if not np.abs(overlap).max() < _OVERFLOW:
            return BAD, np.zeros_like(flat)
        losses, mu = self.profile(w)
        by_w, by_gram = self.slopes(w, mu)
        # mu is large for coalescing heads: 1 and expm1 apart, since mu^T w stays of order one
        by_w = by_w + 2.0 * ((np.expm1(overlap) * by_gram) @ w + (mu * self.noise) @ (mu.T @ w))
        return float(losses.sum()) / self.unit, by_w.ravel() / self.unit


class Coalescing(Quadratic):
    """The least loss of heads that coalesce at a base b (B,): w_h = b + eps nu_h, eps -> 0, sum_h nu_h = 0.

    There mu = e^(-eps b . nu) (alpha / H + beta / eps) reads off b alpha and (I - b b^T) beta for any beta
    in the span of the nu_h, at the noise e^(b . b) (alpha^2 + beta^2). H = 1 is a single head at b.
    """

    def __init__(
        self, problem: Problem, heads: int, small: bool = False, length: float | None = None
    ) -> None:
        check_searched(problem, heads)
        super().__init__(problem, length)
        self.heads = heads
        self.small = small  # b = 0: the heads are small

    def split(self, flat: Floats) -> tuple[Floats, Floats]:
        """The base (B,) and an orthonormal basis (H - 1, B) of the directions."""
        blocks = self.root.size
        base, spans = flat[:blocks], flat[blocks:].reshape(self.heads - 1, blocks)
        return (np.zeros(blocks) if self.small else base), np.linalg.qr(spans.T)[0].T

    def objective(self, flat: Floats) -> tuple[float, Floats]:
        """Loss and gradient by the base and the directions, over the lower bound."""
        blocks = self.root.size
        base, basis = self.split(flat)
        square = base @ base
        spans = flat[blocks:].reshape(self.heads - 1, blocks)
        upper = basis @ spans.T
        if not (square < _OVERFLOW and (np.abs(np.diag(upper)) > _SINGULAR).all()):
            return BAD, np.zeros_like(flat)
        along = basis @ base
        features, losses, mu = self._profile(base, basis)
        by_features, by_gram = self.slopes(features, mu)
        inner, rest = by_features[0], by_features[1:]
        by_base = inner - rest.T @ along - basis.T @ (rest @ base)
        by_base = by_base + 2.0 * np.exp(square) * np.trace(by_gram) * base
        by_basis = rest - np.outer(rest @ base, base)
        # The loss depends on the span alone, whose basis is spans = R^T basis: project, and solve for R.
        by_basis -= by_basis @ basis.T @ basis
        by_spans = np.linalg.solve(upper, by_basis) if self.heads > 1 else by_basis
        if self.small:
            by_base = np.zeros(blocks)
        return float(losses.sum()) / self.unit, np.concatenate([by_base, by_spans.ravel()]) / self.unit

    def task_losses(self, flat: Floats) -> Floats:
        """Task losses (I,) without query noise."""
        return self._profile(*self.split(flat))[1]

    def _profile(self, base: Floats, basis: Floats) -> tuple[Floats, Floats, Floats]:
        """What the heads read off (H, B), the task losses and mu."""
        features = np.vstack([base, basis - (basis @ base)[:, None] * base])
        return features, *self.solve(features, np.exp(base @ base) * np.eye(self.heads))

    def weights(self, flat: Floats) -> Floats:
        """Heads w (H, B) at a small spread around the base, whose best mu comes close to the limit's loss."""
        base, basis = self.split(flat)
        return base + SPREAD * frame(self.heads)[:, 1:] @ basis


def check_searched(problem: Problem, heads: int, most: int = _WIDEST) -> None:
    """Refuse a problem that is too large for the best of so many heads to be searched.

    Raises
    ------
    ProblemError
        I H (B + H) is larger than ``most``.
    """
    if problem.tasks * heads * (problem.blocks + heads) > most:
        found = f"{problem.tasks} tasks x {problem.blocks} blocks"
        expected = f"I H (B + H) <= {most}, for the best of {heads} head{'s' * (heads > 1)} to be searched"
        raise ProblemError("problem", found, expected)


def search(objective: Objective, unit: float, starts: list[Floats]) -> list[Found]:
    """The ends of local searches from ``starts``, the best first."""
    from scipy.optimize import minimize  # slow to import, and only needed here

    dense = starts[0].size <= _DENSE
    ends = []
    for start in starts:
        point, loss = start, np.inf
        for _ in range(3):  # a fresh Hessian often finds more where the old one was ill-conditioned
            with np.errstate(all="ignore"):  # trial points may overflow
                if dense:
                    end = minimize(
                        objective, point, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 300}
                    )
                else:
                    end = minimize(
                        objective,
                        point,
                        jac=True,
                        method="L-BFGS-B",
                        options={"gtol": 1e-10, "ftol": 1e-15, "maxiter": 3000, "maxfun": 5000},
                    )
            gained = loss - float(end.fun)
            point, loss = end.x, float(end.fun)
            if gained < 1e-9:
                break
        ends.append(Found(loss * unit, point))
    return sorted(ends, key=lambda found: found.loss)


def with_best_mu(problem: Problem, w: Floats) -> State:
    """The weights (omega, mu) of heads at w (H, B), with the best mu for them."""
    _, mu = Attention(problem, w.shape[0]).profile(w)
    scale = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64)) * np.asarray(problem.covariance)
    return State(w / scale, mu)


def one_head(problem: Problem, w: Floats) -> State:
    """`with_best_mu` of one head w (B,), at the cost of the nonzeros of the signal alone."""
    signal, root = problem.signal, np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64))
    seen = (w / root)[signal.block]
    noise = problem.variance / problem.context_length
    mu = signal.by_task(signal.power * seen)
    mu /= signal.by_task(signal.power * seen**2) + noise * np.exp(w @ w)
    return State((w / (root * np.asarray(problem.covariance)))[None], mu[None])


def frame(heads: int) -> Floats:
    """An orthogonal, symmetric (H, H) matrix whose first row is all ones over sqrt(H): a reflection."""
    v = np.full(heads, heads**-0.5)
    v[0] -= 1.0
    square = float(v @ v)
    return np.eye(heads) - (2.0 / square) * np.outer(v, v) if square > 0.0 else np.eye(heads)


def head_starts(problem: Problem, heads: int, seed: int) -> list[Floats]:
    """Heads w to search `Attention` from: a head per task, all tasks on one head, and random ones."""
    rng = np.random.default_rng(seed)
    root = np.sqrt(problem.signal.dense())
    alone = root / np.linalg.norm(root, axis=1, keepdims=True)
    starts = [rng.normal(0.0, 0.1, (heads, problem.blocks)) for _ in range(2)]
    starts[0][: min(heads, problem.tasks)] += alone[:heads]
    starts[1][0] += alone.mean(axis=0)
    count = random_starts(heads * problem.blocks)
    starts += [rng.normal(0.0, 0.7, (heads, problem.blocks)) for _ in range(count)]
    return [start.ravel() for start in starts]


def random_starts(variables: int) -> int:
    """How many random starts a search of that size is given."""
    return STARTS if variables <= _LARGE else 2


def distinct(ends: list[Found], noise: float) -> tuple[tuple[float, int], ...]:
    """Losses that differ, with the number of searches that ended there; ``ends`` are sorted."""
    minima: list[tuple[float, int]] = []
    for end in ends:
        loss = end.loss + noise
        if minima and loss <= minima[-1][0] * (1.0 + SAME):
            minima[-1] = (minima[-1][0], minima[-1][1] + 1)
        else:
            minima.append((loss, 1))
    return tuple(minima)
