"""The large-L population loss of whole matrices W^h and U^h, of which the reduced loss is the diagonal case.

With Sigma the covariance of the covariates, attention at large L reads sum_l p_l^h y_l = G Sigma W^h q plus a
noise of covariance (1 / L) diag(s) exp(q^T W^h^T Sigma W^k q) between heads h and k; in high dimension the
exponent is its mean, tr(W^h^T Sigma W^k Sigma).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from spectral_icl import Problem
from spectral_icl.io.checks import Floats
from validation.multitask.full_model import FactoredAttention
from validation.multitask.prompts import Law


def task_loss(kq: Tensor, ov: Tensor, problem: Problem, law: Law) -> Tensor:
    """Loss of every task, (I,), query noise included."""
    variance = law.root**2
    pull = variance[:, None] * kq * law.root  # Sigma W^h Sigma^(1/2)
    wanted = torch.diag(law.root)
    unit = torch.eye(ov.shape[-1], **law.like)
    residual = unit[:, :, None, None] * wanted - torch.einsum("hij,hde->ijde", ov, pull)
    signal = torch.einsum("jd,ijde->i", law.prior, residual**2)
    labels = torch.tensor(problem.variance, **law.like)
    white = law.root[:, None] * kq * law.root  # Sigma^(1/2) W^h Sigma^(1/2)
    overlap = torch.exp(torch.einsum("hde,kde->hk", white, white))
    spread = torch.einsum("hij,j,kij,hk->i", ov, labels, ov, overlap) / problem.context_length
    return signal + spread + law.noise


def gradient(kq: Tensor, ov: Tensor, problem: Problem, law: Law) -> tuple[Tensor, Tensor]:
    """Gradient of the loss summed over tasks by W^h (H, d, d) and U^h (H, I, I)."""
    at = kq.detach().requires_grad_(), ov.detach().requires_grad_()
    by_kq, by_ov = torch.autograd.grad(task_loss(*at, problem, law).sum(), at)
    return by_kq, by_ov


def flow(model: FactoredAttention, problem: Problem, times: Floats) -> tuple[Floats, Floats]:
    """Gradient flow of K, Q, V and O themselves under the large-L loss, explicitly integrated.

    Returns
    -------
    kq, ov : ndarray, (T, H, d, d) and (T, H, I, I)
        The circuits at ``times``, which start at 0.
    """
    law = Law.of(problem, torch.device("cpu"), torch.float64)
    whole = copy.deepcopy(model).to(**law.like)
    weights = list(whole.parameters())
    start = nn.utils.parameters_to_vector(weights).detach().numpy()

    def field(_: float, values: Floats) -> Floats:
        nn.utils.vector_to_parameters(torch.from_numpy(values.copy()), weights)
        loss = task_loss(whole.kq(), whole.ov(), problem, law).sum()
        slopes = torch.autograd.grad(loss, weights)
        return -torch.cat([slope.flatten() for slope in slopes]).numpy()

    path = solve_ivp(field, (times[0], times[-1]), start, method="RK45", rtol=1e-6, atol=1e-8, t_eval=times)
    if not path.success:
        raise RuntimeError(f"the flow of whole matrices was not solved: {path.message}")
    circuits = []
    for values in path.y.T:
        nn.utils.vector_to_parameters(torch.from_numpy(values.copy()), weights)
        circuits.append((whole.kq().detach().numpy(), whole.ov().detach().numpy()))
    kq, ov = (np.array(column) for column in zip(*circuits, strict=True))
    return kq, ov
