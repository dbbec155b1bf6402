"""Random matrices K, Q, V and O of every head, and what of them the reduced flow can start from.

Whole matrices are not decomposable. Their diagonals are a state, and move as fast as the matrices at the
imbalances of `Matrices.imbalance`. Features of a block can be rotated without a change of the problem, so the
diagonals may be taken in any basis of a block: in the one in which the part of the matrix that grows is
diagonal (`Matrices.aligned`) nothing is lost of that part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, array, integer, integers, number
from spectral_icl.multitask.features import block_means
from spectral_icl.multitask.parametrization import Factored, key_scale_of
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_heads

MOST_FEATURES = 2048  # of whole matrices
_MOST_NUMBERS = 2**27  # of K and Q of all heads: a GiB
_LARGEST = 1e3  # size of an entry
_SMALLEST = 1e-30


@dataclass(frozen=True, eq=False)
class Matrices:
    """Factors of every head: W = c K^T Q and U = O V.

    Attributes
    ----------
    key, query : ndarray, (H, r, d)
    value : ndarray, (H, r', I)
    output : ndarray, (H, I, r')
    key_scale : float
        c, the factor in front of the logits.
    """

    key: Floats
    query: Floats
    value: Floats
    output: Floats
    key_scale: float

    @classmethod
    def random(
        cls, problem: Problem, heads: int, size: float = 0.1, seed: int = 0, key_scale: float | None = None
    ) -> Matrices:
        """Independent N(0, ``size``^2) entries of square matrices, r = d and r' = I.

        Raises
        ------
        ProblemError
            An argument is malformed, or the problem has too many features for whole matrices.
        """
        heads = check_heads(problem, heads)
        size = number("size", size, minimum=_SMALLEST, maximum=_LARGEST)
        rng = np.random.default_rng(integer("seed", seed, minimum=0, maximum=2**63))
        d, tasks = problem.dimension, problem.tasks
        for what, count in (("features", d), ("tasks", tasks)):
            if count > MOST_FEATURES:
                raise ProblemError(
                    "problem", f"{count} {what}", f"at most {MOST_FEATURES} for whole matrices"
                )
        if 2 * heads * (d**2 + tasks**2) > _MOST_NUMBERS:
            expected = f"2 H (d^2 + I^2) <= {_MOST_NUMBERS} entries of whole matrices"
            raise ProblemError("heads", heads, expected)
        key, query, value, output = (size * rng.standard_normal((heads, n, n)) for n in (d, d, tasks, tasks))
        return cls(key, query, value, output, key_scale_of(problem, key_scale))

    def state(self, problem: Problem) -> State:
        """The block means of the diagonals of W, (H, B), and the diagonals of U, (H, I)."""
        omega = self.key_scale * np.einsum("hrd,hrd->hd", self.key, self.query)
        return State(block_means(problem, omega), np.einsum("hir,hri->hi", self.output, self.value))

    def stray(self) -> tuple[float, float]:
        """Root mean square off the diagonals of W, and of U, over that on them."""
        circuits = self.key_scale * np.swapaxes(self.key, 1, 2) @ self.query, self.output @ self.value
        found = []
        for values in circuits:
            on = np.diagonal(values, axis1=1, axis2=2)
            rest, n = (values**2).sum() - (on**2).sum(), values.shape[-1]
            mean = rest / max(1, values.size - on.size) if n > 1 else 0.0
            found.append(float(np.sqrt(mean / (on**2).mean())))
        return found[0], found[1]

    def imbalance(self, problem: Problem) -> State:
        """The imbalances at which the reduced flow is as fast as the matrices, (H, B) and (H, I).

        A gradient that is diagonal, g, moves mu_i = (O V)_ii at the rate -g [(O O^T)_ii + (V^T V)_ii], where
        the reduced flow has -g (D^2 + 4 mu_i^2)^(1/2); and so for omega.
        """
        by_omega = block_means(problem, (self.key**2 + self.query**2).sum(axis=1))
        by_mu = (self.value**2).sum(axis=1) + (self.output**2).sum(axis=2)
        at = self.state(problem)
        by_omega = by_omega**2 - 4.0 * (at.omega / self.key_scale) ** 2
        return State(np.sqrt(np.maximum(by_omega, 0.0)), np.sqrt(np.maximum(by_mu**2 - 4.0 * at.mu**2, 0.0)))

    def weights(self, problem: Problem) -> Factored:
        """The parametrization in which the reduced flow from `state` is as fast as the matrices."""
        by_omega, by_mu = (tuple(map(tuple, values.tolist())) for values in self.imbalance(problem))
        return Factored(by_omega, by_mu, self.key_scale)

    def aligned(self, problem: Problem, heads: Sequence[int], signs: Sequence[float]) -> Matrices:
        """The matrices with the features of every block rotated to where one head grows as a diagonal.

        The loss pulls the block of W of a head with mu > 0 towards the unit matrix. Under such a gradient
        K + Q grows and K - Q shrinks, so that W goes to c (K + Q)^T (K + Q) / 4 on the block; with mu < 0 to
        -c (K - Q)^T (K - Q) / 4. Its eigenvectors are the new features.

        Parameters
        ----------
        problem : Problem
            The problem in blocks, whose features are rotated.
        heads : sequence of int, (B,)
            The head of every block: the one that takes its task.
        signs : sequence of float, (B,)
            That head's mu, of which the sign counts.

        Raises
        ------
        ProblemError
            The matrices are not of the problem's size, or there is no head, or no sign, for every block.
        """
        if self.key.shape[-1] != problem.dimension:
            expected = f"one of {self.key.shape[-1]} features, as the matrices"
            raise ProblemError("problem", f"d = {problem.dimension}", expected)
        leaders = integers("heads", heads, minimum=0, maximum=len(self.key) - 1)
        pulls = array("signs", signs, (problem.blocks,))
        if len(leaders) != problem.blocks:
            raise ProblemError("heads", f"{len(leaders)} heads", f"one for each of {problem.blocks} blocks")
        if (pulls == 0.0).any():
            raise ProblemError("signs", signs, "numbers that are not zero")
        key, query = self.key.copy(), self.query.copy()
        ends = np.cumsum(problem.block_sizes)
        for size, end, head, sign in zip(problem.block_sizes, ends, leaders, pulls, strict=True):
            block = slice(end - size, end)
            growing = self.key[head][:, block] + np.sign(sign) * self.query[head][:, block]
            basis = np.linalg.eigh(growing.T @ growing)[1]
            key[:, :, block], query[:, :, block] = key[:, :, block] @ basis, query[:, :, block] @ basis
        return replace(self, key=key, query=query)
