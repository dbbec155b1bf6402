"""The least loss over mu under any law that is quadratic in mu, by its compiled loss and derivatives."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels import law
from spectral_icl.kernels.loss import task_losses
from spectral_icl.kernels.model import Model
from spectral_icl.multitask.state import State

_SINGULAR = 1e-13  # eigenvalues of the equilibrated system, over the largest, that are noise


class Profile:
    """Heads with the best mu for them.

    Parameters
    ----------
    model : Model
        The packed problem.
    heads, blocks, tasks : int
    """

    def __init__(self, model: Model, heads: int, blocks: int, tasks: int) -> None:
        self.model = model
        self.shape = heads, blocks, tasks
        self._work = law.scratch(model, self.shape)
        size = heads * (blocks + tasks)
        self._curvature = np.zeros((size, size))
        self._slope = State(np.empty((heads, blocks)), np.empty((heads, tasks)))

    def best_mu(self, omega: Floats) -> Floats | None:
        """The mu (H, I) at which the loss of heads at omega (H, B) is least; None if there is none."""
        heads, blocks, tasks = self.shape
        mu = np.zeros((heads, tasks))
        law.gradient(self.model, omega, mu, *self._slope, self._work)
        law.hessian(self.model, omega, mu, self._work, self._curvature)
        first = heads * blocks
        block = np.triu(self._curvature[first:, first:])
        block = (block + np.triu(block, 1).T).reshape(heads, tasks, heads, tasks)
        for task in range(tasks):
            system, pull = block[:, task, :, task], -self._slope.mu[:, task]
            diagonal = np.diag(system)
            if not (np.isfinite(system).all() and (diagonal > 0.0).all()):
                return None
            unit = 1.0 / np.sqrt(diagonal)  # equilibrated: heads may be tiny
            values, vectors = np.linalg.eigh(system * unit[:, None] * unit)
            if values[0] < -_SINGULAR * values[-1]:
                return None
            inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > _SINGULAR * values[-1])
            mu[:, task] = unit * (vectors @ (inverse * (vectors.T @ (unit * pull))))
        return mu

    def losses(self, omega: Floats, mu: Floats) -> Floats:
        """Task losses (I,), query noise included."""
        found: Floats = np.empty(mu.shape[1])
        task_losses(self.model, omega[None], mu[None], found[None])
        return found

    def slope(self, omega: Floats, mu: Floats) -> Floats:
        """The gradient of the loss by omega (H, B); at the best mu also that of the least loss."""
        law.gradient(self.model, omega, mu, *self._slope, self._work)
        return self._slope.omega.copy()
