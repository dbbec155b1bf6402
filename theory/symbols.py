"""The symbols that the derivations share, with the assumptions under which they are proved."""

from __future__ import annotations

import sympy as sp

d = sp.Symbol("d", positive=True)  # coordinates of a task's block
L = sp.Symbol("L", positive=True)  # context length
a = sp.Symbol("a", positive=True)  # signal power of a task
s = sp.Symbol("s", positive=True)  # label variance, signal and noise
phi = sp.Symbol("phi", positive=True)  # s / a = 1 + 1 / SNR
kappa = sp.Symbol("kappa", positive=True)  # eigenvalue of the covariates
c = sp.Symbol("c", positive=True)  # key scale
t = sp.Symbol("t", real=True)  # time of the gradient flow
omega = sp.Symbol("omega", real=True)
mu = sp.Symbol("mu", real=True)
X = sp.Symbol("X", positive=True)  # effective dimension of a task


def task_loss(power: sp.Expr, ratio: sp.Expr, dimension: sp.Expr) -> sp.Expr:
    """Loss of a task without query noise, v(X) = a / (1 + L / (phi X))."""
    return power / (1 + L / (ratio * dimension))
