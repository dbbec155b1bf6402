"""The reduced system: loss, gradient and Hessian of decomposable attention on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, array, renamed
from spectral_icl.kernels import law
from spectral_icl.kernels.loss import losses_by
from spectral_icl.kernels.model import Model
from spectral_icl.multitask.context import DEFAULT, EXACT, OF_LARGE, check_kernel, pack
from spectral_icl.multitask.exact.evaluate import evaluate
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import FINITE, State, check_dense, check_state, depth, flat, unflattened


def task_loss(problem: Problem, omega: ArrayLike, mu: ArrayLike, kernel: str = DEFAULT) -> Floats:
    """Population loss of every task, query noise included.

        loss_i = sum_b A_ib R_ib^2 + (s_i / L) sum_hk mu_hi mu_ki E_hk + sigma_i^2,
        E_hk = exp(sum_b d_b kappa_b^2 omega_hb omega_kb),  R_ib = 1 - sum_h mu_hi kappa_b omega_hb

    under the asymptotic law; the others are in `docs/notation.md`. Under the exact law it is found by
    quadrature, to about 1e-9 and in tens of milliseconds to seconds for each state; of what follows from a
    flow, such as `Solution.loss`, by a table, to what `Solution.saturation` says.

    Parameters
    ----------
    problem : Problem
    omega : array_like, (..., H, B)
    mu : array_like, (..., H, I)
    kernel : str
        Law of the context, one of `spectral_icl.multitask.context.LAWS`.

    Returns
    -------
    ndarray, (..., I)
        In the units of the label variance.

    Raises
    ------
    ProblemError
        If a shape does not fit or an entry is not finite.
    """
    leading = (None,) * (depth(omega) - 2)
    omega = array("omega", omega, (*leading, None, problem.blocks), largest=FINITE)
    mu = array("mu", mu, (*omega.shape[:-1], problem.tasks), largest=FINITE)
    heads = omega.shape[-2]
    if heads == 0:
        raise ProblemError("omega", "0 heads", ">= 1 heads")
    if check_kernel(kernel) == EXACT:
        states = (State(omega[index], mu[index]) for index in np.ndindex(omega.shape[:-2]))
        found = np.array([evaluate(problem, state).task_loss for state in states])
        return found.reshape(*omega.shape[:-2], problem.tasks)
    return losses_at(problem, State(omega, mu), kernel)


def losses_at(problem: Problem, at: State, kernel: str = DEFAULT) -> Floats:
    """`task_loss`, (..., I), of states that nobody gave: a flow may go where no argument may be.

    Under the exact law from a table, as in flows, in place of quadrature.
    """
    lead, heads = at.omega.shape[:-2], at.omega.shape[-2]
    omega, mu = at.omega.reshape(-1, heads, problem.blocks), at.mu.reshape(-1, heads, problem.tasks)
    return losses_by(pack(problem, kernel, omega), omega, mu).reshape(*lead, problem.tasks)


def loss(problem: Problem, omega: ArrayLike, mu: ArrayLike, kernel: str = DEFAULT) -> float | Floats:
    """Population loss: the sum of `task_loss` over tasks (no factor 1/2).

    Returns a float for one state and an array for (..., H, B) stacks of states.
    """
    total = task_loss(problem, omega, mu, kernel).sum(axis=-1)
    return float(total) if total.ndim == 0 else total


def gradient(problem: Problem, omega: ArrayLike, mu: ArrayLike, kernel: str = DEFAULT) -> State:
    """Gradient of `loss` with respect to the block values.

    Parameters
    ----------
    problem : Problem
    omega : array_like, (H, B)
    mu : array_like, (H, I)
    kernel : str
        Law of the context, one of `spectral_icl.multitask.context.LAWS`.

    Returns
    -------
    State
        dloss/domega (H, B) and dloss/dmu (H, I). The gradient with respect to one coordinate's
        KQ entry is dloss/domega_hb / d_b.

    Raises
    ------
    ProblemError
        If a shape does not fit or an entry is not finite.
    """
    at = check_state(problem, omega, mu, FINITE)
    if check_kernel(kernel) == EXACT:
        found = evaluate(problem, at, 1).gradient
        assert found is not None
        return found
    return gradient_at(problem, at, kernel)


def gradient_at(problem: Problem, at: State, kernel: str = DEFAULT) -> State:
    """`gradient` at a state that nobody gave; under the exact law from a table, as in flows."""
    return _gradient(pack(problem, kernel, at.omega), at)[0]


def hessian(problem: Problem, omega: ArrayLike, mu: ArrayLike, kernel: str = DEFAULT) -> Floats:
    """Hessian of `loss`, (N, N) with N = H (B + I) <= 4096: first omega, then mu, both head-major."""
    at = check_state(problem, omega, mu, FINITE)
    check_dense("omega", problem, len(at.omega))
    if check_kernel(kernel) == EXACT:
        found = evaluate(problem, at, 2).hessian
        assert found is not None
        return found
    return hessian_at(problem, at, kernel)


def hessian_product(
    problem: Problem,
    omega: ArrayLike,
    mu: ArrayLike,
    by_omega: ArrayLike,
    by_mu: ArrayLike,
    kernel: str = DEFAULT,
) -> State:
    """The product of the `hessian` with a direction, in H^2 (B + I) operations where the law has a formula.

    Parameters
    ----------
    problem : Problem
    omega, by_omega : array_like, (H, B)
        KQ values, and the direction in them.
    mu, by_mu : array_like, (H, I)
        OV values, and the direction in them.
    kernel : str
        Law of the context. Under the exact law the Hessian is formed.

    Returns
    -------
    State
        The parts (H, B) and (H, I) of the product.

    Raises
    ------
    ProblemError
        A shape does not fit or an entry is not finite.
    """
    at = check_state(problem, omega, mu, FINITE)
    with renamed({"omega": "by_omega", "mu": "by_mu"}):
        by = check_state(problem, by_omega, by_mu, FINITE)
    if by.mu.shape != at.mu.shape:
        raise ProblemError("by_omega", f"{len(by.omega)} heads", f"{len(at.omega)} heads, as omega has")
    name = check_kernel(kernel)
    if name not in OF_LARGE:
        return unflattened(hessian(problem, *at, name) @ flat(by), (*at.omega.shape, problem.tasks))
    model = pack(problem, name, by_products=True)
    found = State(np.empty_like(at.omega), np.empty_like(at.mu))
    law.product(model, *at, _gradient(model, at)[1], *by, *found)
    return found


def hessian_at(problem: Problem, at: State, kernel: str = DEFAULT) -> Floats:
    """`hessian` at a state that nobody gave; under the exact law from a table, as in flows."""
    check_dense("omega", problem, len(at.omega))
    model = pack(problem, kernel, at.omega)
    size = at.omega.size + at.mu.size
    upper = np.zeros((size, size))
    _, work = _gradient(model, at)
    law.hessian(model, *at, work, upper)
    return np.triu(upper) + np.triu(upper, 1).T


def _gradient(model: Model, at: State) -> tuple[State, Any]:
    """The gradient, and the work arrays from which the Hessian goes on."""
    work = law.scratch(model, (*at.omega.shape, at.mu.shape[1]))
    slope = State(np.empty_like(at.omega), np.empty_like(at.mu))
    law.gradient(model, *at, *slope, work)
    return slope, work
