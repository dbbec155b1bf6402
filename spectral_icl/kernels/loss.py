"""The loss of given states, whatever the law of the model."""

from __future__ import annotations

from spectral_icl.kernels import law
from spectral_icl.kernels.compile import ALGEBRA, entry
from spectral_icl.kernels.model import Floats, Model


@entry(fastmath=ALGEBRA, forceinline=True)
def task_losses(model: Model, omega: Floats, mu: Floats, out: Floats) -> None:
    """Fill ``out`` (T, I) with the loss of every task for T states."""
    states, heads, blocks = omega.shape
    work = law.scratch(model, (heads, blocks, mu.shape[2]))
    for n in range(states):
        law.task_loss(model, omega[n], mu[n], work, out[n])


@entry()
def task_losses_all(models: Model, omega: Floats, mu: Floats, out: Floats) -> None:
    """Fill ``out`` (P, I) with the loss of every task for P states, each of its own model."""
    for p in range(omega.shape[0]):
        task_losses(law.pick_model(models, p), omega[p : p + 1], mu[p : p + 1], out[p : p + 1])
