"""Steps of gradient descent on batches of prompts, by compiled kernels, and the edge of their stability."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.kernels import sparse as kernels
from spectral_icl.kernels.threads import one_thread
from spectral_icl.sparse.filters import STABLE


def descended(X: Floats, y: Floats, r: Floats, metric: Floats | None, eta: Floats, t: int) -> Floats:
    """Iterates of gradient descent with a diagonal metric on |y - X beta|^2/(2n), from 0.

    Parameters
    ----------
    X : ndarray, (..., n, d)
        C-contiguous.
    y : ndarray, (..., n)
    r : ndarray, (..., d)
        X'y/n.
    metric : ndarray, (..., d), optional
        Factors of the features, whose squares are those of the gradient; 1 by default.
    eta : ndarray, (...)
    t : int

    Returns
    -------
    ndarray, (..., t + 1, d)

    Raises
    ------
    ProblemError
        A step is past stability.
    """
    *batch, n, d = X.shape
    X, y = X.reshape(-1, n, d), y.reshape(-1, n)
    eta = np.array(eta).reshape(-1)  # one step for all comes as a read-only view, which is another type
    squared = np.ones((len(X), d)) if metric is None else metric.reshape(-1, d) ** 2
    with one_thread():
        if d <= n:
            gram = np.swapaxes(X, -1, -2) @ X / n
            _check_stable(gram, squared, eta)
            path = kernels.gram_descent(gram, r.reshape(-1, d), squared, eta, t)
        else:
            trace = (np.einsum("bnd,bnd->bd", X, X) * squared).sum(axis=1) / n
            doubtful = eta * trace > STABLE
            F = X[doubtful] * np.sqrt(squared[doubtful])[:, None]
            _check_stable(F @ np.swapaxes(F, -1, -2) / n, None, eta[doubtful])
            path = kernels.descent(X, y, squared, eta, t)
    found: Floats = path.reshape(*batch, t + 1, d)
    return found


def _check_stable(gram: Floats, squared: Floats | None, eta: Floats) -> None:
    """Raise if a step (B,) is past stability for M = gram (B, p, p), or for it in a squared metric (B, p).

    The Frobenius norm, an upper bound of the largest eigenvalue, clears most prompts.
    """
    square = gram**2
    if squared is not None:
        square *= squared[:, :, None] * squared[:, None]
    doubtful = eta * np.sqrt(square.sum(axis=(1, 2))) > STABLE
    if not doubtful.any():
        return
    inner, step = gram[doubtful], eta[doubtful]
    if squared is not None:
        root = np.sqrt(squared[doubtful])
        inner = inner * root[:, :, None] * root[:, None]
    top = np.linalg.eigvalsh(inner)[:, -1]
    worst = int(np.argmax(step * top))
    if step[worst] * top[worst] > STABLE * (1.0 + 1e-12):
        limit = f"a step of at most {STABLE / top[worst]:.6g}, the edge of stability of a prompt"
        raise ProblemError("eta", float(step[worst]), limit)
