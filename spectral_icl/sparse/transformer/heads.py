"""How many heads preprocessing needs, and what fewer cost.

Exact features Rhat x = diag(X^T y / n) x take d heads in one layer of linear attention, whatever the
embedding (`min_heads_exact`). With H < d heads a layer can preprocess H groups of features
(`group_heads_risk`) or H features out of d (`partial_risk`).

After Chen, Zhao and Zou 2024 (arXiv 2408.04532), who show that the first layer uses many heads and later ones
one; the bound and the formulas are derived here.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, integer, number
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse.problem import check_powers, check_sizes
from spectral_icl.sparse.risk.isotropic import one_step_risk
from spectral_icl.sparse.rng import Random, generator

_LARGEST = 12  # features of a search, whose objective has d^4 terms


def min_heads_exact(d: int) -> int:
    """The least number of heads that writes Rhat x at the query for all prompts of n >= d + 1 pairs: d.

    d heads suffice (`construction.build_preprocess_heads`). Fewer do not, for any linear
    embedding and any V, K, Q: with S = X^T X / n and q = |y|^2 / n, the rows that are to hold Rhat x receive

        sum_h A_h S C_h + A_h r om_h^T + v_h r^T C_h + q v_h om_h^T,

    [A_h, v_h] being those rows of V_h W_E and [C_h; om_h^T] = W_E^T K_h^T Q_h W_E on the inputs x. This must
    equal diag(r) identically, since (S, r, q) fill an open set.

    - The coefficient of q: sum_h v_h om_h^T = 0, so p = rank{v_h} and p' = rank{om_h} have p + p' <= H.
    - The coefficient of r: the diagonal tensor delta_ijk is a sum of p slices v_i C_kj and p' slices
      A_ik om_j.
    - Its slice rank is d: if p + p' < d, take a vector g orthogonal to the p vectors v with at least d - p
      entries that are not 0. Contracted with g over i, the sum leaves rank <= p', but diag(g) has rank
      >= d - p > p'.

    So H >= p + p' >= d. The same holds for features U Rhat x with any invertible U.
    """
    return integer("d", d, minimum=1, maximum=10**9)


@renamed(seed="rng")
def head_mismatch(H: int, d: int, restarts: int = 8, rng: Random = 0) -> float:
    """How far H heads stay from Rhat x: the least squared mismatch of coefficients that is found.

    In the notation of `min_heads_exact`, the minimum over A_h, C_h (d, d) and v_h, om_h (d,) of

        |coefficients of r - delta_ijk|^2 + |coefficients of q|^2 + |coefficients of S|^2,

    where those of S are symmetrised, S being symmetric. By L-BFGS from random starts: an upper bound of the
    minimum, which is positive for H < d and 0 for H >= d.

    Parameters
    ----------
    H, d : int
        Heads and features, d <= 12.
    restarts : int
        Random starts; the best end counts.
    rng : Generator or int, optional
        Source of the starts, or its seed.

    Returns
    -------
    float

    Raises
    ------
    ProblemError
        For arguments out of range.
    """
    from scipy.optimize import minimize  # slow to import

    d = integer("d", d, minimum=1, maximum=_LARGEST)
    H = integer("H", H, minimum=1, maximum=2 * _LARGEST)
    restarts = integer("restarts", restarts, minimum=1, maximum=10_000)
    draws = generator(rng)

    def objective(flat: Floats) -> tuple[float, Floats]:
        return mismatch(flat, H, d)

    best = np.inf
    for _ in range(restarts):
        start: Floats = 0.5 * draws.normal(size=2 * H * d * (d + 1))
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"gtol": 1e-9, "ftol": 1e-15, "maxiter": 5000, "maxfun": 5000},
        )
        best = min(best, float(found.fun))
    return best


def mismatch(flat: Floats, H: int, d: int) -> tuple[float, Floats]:
    """The objective of `head_mismatch` and its gradient.

    Parameters
    ----------
    flat : ndarray, (2 H d (d + 1),)
        A (H, d, d), C (H, d, d), v (H, d) and om (H, d), one after another.
    H, d : int

    Returns
    -------
    value : float
    gradient : ndarray, of the shape of ``flat``
    """
    square = H * d * d
    A, C = flat[: 2 * square].reshape(2, H, d, d)
    v, om = flat[2 * square :].reshape(2, H, d)
    by_r = np.einsum("hik,hj->ijk", A, om) + np.einsum("hi,hkj->ijk", v, C)
    diagonal = np.arange(d)
    by_r[diagonal, diagonal, diagonal] -= 1.0
    by_q = v.T @ om
    by_s = np.tensordot(A, C, axes=(0, 0))  # of S_kl at (i, j): axes i, k, l, j
    by_s = 0.5 * (by_s + by_s.swapaxes(1, 2))
    value = float((by_r**2).sum() + (by_q**2).sum() + (by_s**2).sum())
    slopes = (
        np.einsum("ijk,hj->hik", by_r, om) + np.tensordot(C, by_s, axes=((1, 2), (2, 3))),
        np.einsum("ijk,hi->hkj", by_r, v) + np.tensordot(A, by_s, axes=((1, 2), (0, 1))),
        np.einsum("ijk,hkj->hi", by_r, C) + om @ by_q.T,
        np.einsum("ijk,hik->hj", by_r, A) + v @ by_q,
    )
    return value, 2.0 * np.concatenate([slope.ravel() for slope in slopes])


def head_mismatch_conjecture(H: int, d: int) -> float:
    """The mismatch that is observed, (2 sqrt(2) - 2) min(H, d - H) + max(d - 2 H, 0), and 0 for H >= d.

    Not proved: seen to seven decimals in searches at d <= 5 with all H, and at d = 6 and 8 with some. It is
    attained, so the minimum is not larger: one head does two coordinates with A = a E_11, C = a E_22,
    v = e_2, om = e_1 up to scale, where 2 (1 - a)^2 + sqrt(2) a^2 has the minimum 2 sqrt(2) - 2; a head of
    one coordinate is exact, and a coordinate without a head costs 1.
    """
    d = integer("d", d, minimum=1, maximum=10**9)
    H = integer("H", H, minimum=1, maximum=10**9)
    return float((2.0 * np.sqrt(2.0) - 2.0) * max(min(H, d - H), 0) + max(d - 2 * H, 0))


@renamed(v="signal", s2="noise")
def group_heads_risk(d: int, s: int, n: int, signal: float, noise: float, H: int) -> float:
    """Approximate excess risk of H group heads, stopped at the best time, without what leaks off the support.

    Isotropic covariates, a random support of s features of signal v / s each. For 1 < H <= d, with groups of
    m = d / H features, tau^2 = v + s2 and nu = (m - 1) tau^2 / n,

        R = E sum over groups with signal v_g > 0 of [v_g nu / (v_g + nu) + s2 / n],

    the mean over the number of support elements of a group, which is hypergeometric. For H = 1 the exact risk
    of gradient descent in one step of the best size that does not depend on the prompt,

        R = v (1 - 1 / a),   a = 1 + (d + 1) / n + s2 d / (n v);

    a single feature that is scaled to the prompt does somewhat better (4 percent at d = 16, n = 256).

    Groups without signal contribute too, the leak: about as much as what P2O at its best exceeds s s2 / n by.
    It is not included, so that H > 1 comes out low, by most where H is large and n small.

    Parameters
    ----------
    d, s, n : int
        Features, support size, pairs.
    signal, noise : float
        v = |w|^2 > 0, and s2, the variance of the label noise.
    H : int
        Groups, a divisor of d.

    Returns
    -------
    float

    Raises
    ------
    ProblemError
        For s > d, or H that does not divide d.
    """
    from scipy.stats import hypergeom  # slow to import

    d, s, n = check_sizes(d, s, n)
    v, s2 = check_powers(signal, noise)
    H = integer("H", H, minimum=1, maximum=d)
    if d % H:
        raise ProblemError("H", H, f"a divisor of d = {d}")
    if H == 1:
        return one_step_risk(d, n, v, s2)
    m = d // H
    nu = (m - 1) * (v + s2) / n
    inside = np.arange(1, min(m, s) + 1)
    own = inside * v / s
    chance = hypergeom.pmf(inside, d, s, m)
    return float(H * (chance * (own * nu / (own + nu) + s2 / n)).sum())


def partial_risk(H: int, d: int, R_p2o: float, R_gf: float) -> float:
    """Risk when H of d features are preprocessed and the others scaled by a constant: linear in H.

        R = (H / d) R_p2o + (1 - H / d) R_gf

    between the best risks of P2O and of gradient flow; an observation, within 5 percent in sampled prompts
    with a random support.

    Parameters
    ----------
    H : int
        Preprocessed features, 0 <= H <= d.
    d : int
    R_p2o, R_gf : float

    Returns
    -------
    float
    """
    d = integer("d", d, minimum=1, maximum=10**9)
    H = integer("H", H, minimum=0, maximum=d)
    R_p2o, R_gf = number("R_p2o", R_p2o, minimum=0.0), number("R_gf", R_gf, minimum=0.0)
    return H / d * R_p2o + (1.0 - H / d) * R_gf
