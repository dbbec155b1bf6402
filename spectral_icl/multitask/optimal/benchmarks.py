"""Benchmarks that a trained attention is measured against.

Every function takes a `Problem`, and the name of a law of the context where the number is one of attention
under it, and returns a `Benchmark` in the units of `spectral_icl.loss`: the sum over tasks, query noise
included. The effective dimension X_i of a task with one block of power a_i is defined by
loss_i - sigma_i^2 = a_i / (1 + L / (phi_i X_i)) with phi_i = s_i / a_i. Under the asymptotic law

    one head, equal tasks   e d       head per task   e d_i             H = I plateau   d_i / (1 - 1/H)
    lower bound             d_i

while one gradient step has d_i + 1 / phi_i at any L and d, which is the lower bound under the first-order
law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, integer, number
from spectral_icl.multitask.context import DEFAULT, EXACT, check_kernel
from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.optimal import asymptotic as asymptotic  # whose optima it registers
from spectral_icl.multitask.optimal import exact as exact
from spectral_icl.multitask.optimal import ridge
from spectral_icl.multitask.optimal.first_order import gradient_step_losses
from spectral_icl.multitask.optimal.optima import NAMES, optima_of
from spectral_icl.multitask.optimal.optima import Benchmark as Benchmark
from spectral_icl.multitask.optimal.optima import Optimum as Optimum
from spectral_icl.multitask.optimal.search import MOST_SEARCHED
from spectral_icl.multitask.optimal.small import centred
from spectral_icl.multitask.optimal.small import gain as gain
from spectral_icl.multitask.optimal.small import rank as rank
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import check_dense, check_heads, check_state

LOST = 1e-9  # share of a loss below which its excess has lost too many digits


def lower_bound(problem: Problem, kernel: str = DEFAULT) -> Benchmark:
    """A loss that no decomposable attention, whatever its number of heads, can go below.

    Asymptotic law: E_hk >= sum_b d_b kappa_b^2 omega_hb omega_kb as matrices (Schur: the entrywise
    exponential of a positive semi-definite matrix exceeds the matrix), so with T_ib = kappa_b sum_h mu_hi
    omega_hb

        loss_i >= sigma_i^2 + sum_b A_ib (1 - T_ib)^2 + (s_i / L) sum_b d_b T_ib^2
               >= sigma_i^2 + sum_b A_ib / (1 + L A_ib / (s_i d_b)).

    For disjoint tasks this is X_i = d_i. It is an infimum, approached from H = min(I, B) + 1 heads on
    (`minimise`).

    First-order law: by the same theorem its N_hk,i exceeds s_i + sum_b (s_i d_b + A_ib) kappa_b^2 omega_hb
    omega_kb, so that to leading order in 1/L the bound is the loss of one optimal gradient step, X_i = d_i +
    1 / phi_i. What is left out is of order 1/L^2: `small_heads` approach a loss that is higher by that.

    Exact law: no bound is known that is of attention alone. What is returned bounds the Bayes risk, and so
    any predictor: by Jensen's inequality sigma_i^2 + sum_b A_ib / (1 + L A_ib / (d_b sigma_i^2)).

    Parameters
    ----------
    problem : Problem
    kernel : str
        Law of the context, one of `spectral_icl.multitask.context.LAWS`.
    """
    return optima_of(kernel).lower_bound(problem)


def head_per_task(problem: Problem, kernel: str = DEFAULT) -> Benchmark:
    """The loss when every task has a head to itself, optimal for that task alone.

    For disjoint tasks this is the limit of the balanced flow (Chen, Sheen, Wang and Yang 2024), under the
    asymptotic law omega = 1 / (kappa_i sqrt(d_i)) on the task's own block, mu = sqrt(d_i) / (1 + e d_i phi_i
    / L), all else zero, X_i = e d_i. A head on several blocks too has the best exponent 1, whatever they are,
    and reads off 1 / (1 + e s_i d_b / (L A_ib)) of each. Under another law its omega is searched, of at most
    1000 tasks that differ.

    There are no weights where they would have more than 2^22 entries, from some 1400 tasks on.

    Parameters
    ----------
    problem : Problem
    kernel : str
        Law of the context.
    """
    return optima_of(kernel).head_per_task(problem)


def single_head(problem: Problem, kernel: str = DEFAULT) -> Benchmark:
    """The best loss of one head that serves all tasks.

    Asymptotic law: for disjoint tasks the best exponent sum_b d_b kappa_b^2 omega_b^2 is 1 whatever the
    tasks, which share it: X_i = e d_i / p_i with sum_i p_i = 1, omega_i = (p_i / d_i)^(1/2) / kappa_i, and p
    a water-filling as in `head_budget`, with g_i = L / (e phi_i d_i). Equal tasks: p_i = d_i / d, X_i = e d
    with d = sum_i d_i; one task: X = e d. Where tasks overlap, mu is explicit given omega, and omega is
    searched.

    First-order law: searched. For one task X = (1 - 2 u)^(-d/2) [1 + u / ((1 - 2 u) phi)] / u with
    u = kappa^2 omega^2, to leading order in 1/L, at its least over 0 < u < 1/2; above e d.

    Exact law: searched by a table, and polished by quadrature where that takes seconds; ``error`` says how
    exact the loss is.

    What is searched has I (B + 1) <= 2^21 under the asymptotic law, and 2^14 under the others.

    Parameters
    ----------
    problem : Problem
    kernel : str
        Law of the context.
    """
    return optima_of(kernel).single_head(problem)


def head_budget(problem: Problem, heads: int, kernel: str = DEFAULT) -> Benchmark:
    """The infimum over H small heads: omega -> 0 while mu grows so that their product stays.

    What H small heads read off spans H - 1 dimensions, since mu must sum to zero. For disjoint tasks that
    leaves X_i = d_i / p_i with 0 <= p_i <= 1 and sum_i p_i = H - 1, the diagonals of projectors of that rank
    (Schur and Horn), and the best p is a water-filling: 1 + g_i p_i proportional to sqrt(a_i g_i),
    g_i = L / (phi_i d_i), where 0 < p_i < 1. Heads that are not small have no more, sum_i d_i / X_i <= H - 1:
    it is the infimum of all H heads. From H = min(I, B) + 1 heads on it is `lower_bound`. Overlapping
    tasks with fewer heads are searched numerically, up to H B = 1000. That is the asymptotic law; under the
    first-order law the excess is a_i / L and (1 - 1/L) of that at length L - 1. Under the exact law it is
    that of `small_heads`: a statement about small heads, and no bound, since heads that are not small may
    have less.

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= 2 (one small head reads off nothing).
    kernel : str
        Law of the context.
    """
    heads = integer("heads", heads, minimum=2, maximum=10**9)
    return optima_of(kernel).head_budget(problem, heads)


def small_heads(problem: Problem, heads: int | None = None) -> Benchmark:
    """The infimum of softmax attention itself over small heads, in closed form at any L and d.

    Small heads attend nearly evenly, and what they add up to is linear attention on centred covariates. Its
    loss is that of the asymptotic law but for n = L - 1 degrees of freedom: the excess of a task is
    a_i / L + (1 - 1/L) times the asymptotic excess of `head_budget`. For one block and enough heads that is
    a B / (a + B) with B = (a (d + 1) + sigma^2 d) / (L - 1). It is approached, not attained.

    Parameters
    ----------
    problem : Problem
        With a whole number of pairs, for the number to be exact.
    heads : int, optional
        H >= 2; any number, of which min(I, B) + 1 are enough, by default.
    """
    if heads is not None:
        heads = integer("heads", heads, minimum=2, maximum=10**9)
    losses = centred(problem, heads, problem.context_length) + np.asarray(problem.noise)
    name = NAMES["small_heads"] if heads is None else f"{heads} small heads"
    return Benchmark(name, float(losses.sum()), losses, False, None, law=EXACT)


def plateau(problem: Problem, kernel: str = DEFAULT) -> Benchmark:
    """The H = I plateau: what as many small heads as tasks approach, X_i = d_i / (1 - 1/H) for equal tasks.

    The flow of slightly imbalanced weights settles there after its escape from the head-per-task limit.

    Parameters
    ----------
    problem : Problem
    kernel : str
        Law of the context.

    Raises
    ------
    ProblemError
        For one task: a small head alone reads off nothing.
    """
    if problem.tasks < 2:
        raise ProblemError("problem", f"{problem.tasks} task", "at least two tasks, for as many heads")
    small = head_budget(problem, problem.tasks, kernel)
    return replace(small, name=NAMES["plateau"])


def gradient_step(problem: Problem) -> Benchmark:
    """One step of gradient descent on the context, with the best step size for every task and block.

    The prediction (1/L) sum_l y_l x_l^T Gamma q of linear attention, exact for Gaussian covariates at any L:
    with T_b = kappa_b Gamma_b,

        loss_i = sum_b A_ib [(1 - T_b)^2 + T_b^2 / L] + (s_i / L) sum_b d_b T_b^2 + sigma_i^2,

    least at T_b = 1 / (1 + (d_b phi_b + 1) / L) with phi_b = s_i / A_ib, where X = d_b + 1 / phi_b.
    """
    losses = gradient_step_losses(problem)
    return Benchmark(NAMES["gradient_step"], float(losses.sum()), losses, False, None, law=EXACT)


def bayes(problem: Problem) -> Benchmark:
    """The Bayes risk: ridge regression with the true prior, which no predictor beats.

    Exact at finite L and d for a task whose coefficients have equal prior variance times eigenvalue (one
    block, for example), see `ridge.exact`; otherwise, and for large d and L, the deterministic
    equivalent with its first correction, or a sampled mean where that fails, with its ``error``.

    Raises
    ------
    ProblemError
        The context length is not a whole number.
    """
    length = problem.context_length
    if not length.is_integer():
        raise ProblemError("context_length", length, "a whole number of pairs, for the Bayes risk")
    signal, all_sizes = problem.signal, np.asarray(problem.block_sizes, dtype=np.float64)
    losses, error = np.empty(problem.tasks), 0.0
    for task, noise in enumerate(problem.noise):
        own = slice(signal.first[task], signal.first[task + 1])
        power, sizes = signal.power[own], all_sizes[signal.block[own]]
        prior, size = power / sizes, int(sizes.sum())
        if np.ptp(prior) <= 1e-12 * prior.max() and min(size, length) <= ridge.LARGEST:
            risk = ridge.exact(float(power.sum()), noise, size, int(length))
        else:
            risk, off = ridge.approximate(power, noise, sizes, int(length))
            error += off
        losses[task] = risk + noise
    return Benchmark(NAMES["bayes"], float(losses.sum()), losses, False, None, error, EXACT)


def length_generalisation(
    problem: Problem,
    context_length: float,
    omega: ArrayLike | None = None,
    mu: ArrayLike | None = None,
    kernel: str = DEFAULT,
) -> Benchmark:
    """The loss on contexts of another length of weights trained on ``problem``.

    At fixed (omega, mu) only what the law has of order 1/L sees the length. Under the asymptotic law the
    head-per-task limit has loss_i - sigma_i^2 = a_i (r^2 + r L (1 - r) / L') at length L', r = 1 / (1 + L /
    (e phi_i d_i)): as L' grows it does not vanish but falls to the shrinkage a_i r^2 that suits L.

    Parameters
    ----------
    problem : Problem
        The training problem, at its own context length.
    context_length : float
        L' >= 1 of the test.
    omega, mu : array_like, (H, B) and (H, I), optional
        The trained weights; the head-per-task limit by default.
    kernel : str
        Law of the context.
    """
    length = number("context_length", context_length, minimum=1.0)
    if omega is None or mu is None:
        if (omega is None) != (mu is None):
            raise ProblemError("mu" if mu is None else "omega", None, "omega and mu, both or neither")
        found = head_per_task(problem, kernel).weights
        if found is None:
            raise ProblemError("omega", None, f"weights: those of {problem.tasks} heads are too many")
        weights = found
    else:
        weights = check_state(problem, omega, mu)
    losses = task_loss(replace(problem, context_length=length), *weights, kernel)
    name = f"trained at L, tested at {length:g}"
    return Benchmark(name, float(losses.sum()), losses, True, weights, law=check_kernel(kernel))


def minimise(problem: Problem, heads: int, kernel: str = DEFAULT, seed: int = 0) -> Optimum:
    """The best decomposable attention with H heads.

    mu is eliminated exactly, and omega searched from many starts, in two ways: over heads as they are, and
    over the limit in which heads coalesce while mu diverges, which is where the infimum nearly always is for
    H >= 2. With more heads than dimensions to read off, H > min(I, B), the infimum is `lower_bound`, in
    closed form. That is the asymptotic law. Under the first-order law finite heads are searched beside the
    infimum of small ones, where the law's corrections are small. Under the exact law too, among logits of a
    variance up to 8: weights gain on small heads only by more than the ``error`` of their loss. With three
    heads or more, minima lie in flat valleys, and what is found may be beaten a little.

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= 1, and H B <= 400 unless H = 1 or the infimum is known: a search over more takes minutes. Of
        several heads H (B + I) <= 4096 too.
    kernel : str
        Law of the context, one of `spectral_icl.multitask.context.LAWS`.
    seed : int
        Of the random starts.

    Returns
    -------
    Optimum
        Weights, their loss, the infimum, whether it is attained, and the local minima that were met.

    Raises
    ------
    ProblemError
        An argument is malformed, or there is too much to search.
    """
    heads = check_heads(problem, heads)
    if heads > 1:
        check_dense("heads", problem, heads)
    seed = integer("seed", seed, minimum=0, maximum=2**63)
    known = optima_of(kernel)
    if heads > 1 and known.searched(problem, heads) > MOST_SEARCHED:
        raise ProblemError("heads", heads, f"H B <= {MOST_SEARCHED}, for the best of them to be searched")
    return known.best(problem, heads, seed)


def effective_dimension(problem: Problem, benchmark: Benchmark) -> Floats:
    """X_i of every task, (I,): the loss as that of a task of its power that reads off X_i noisy coordinates.

    loss_i - sigma_i^2 = a_i / (1 + L / (phi_i X_i)) with a_i = sum_b A_ib. Infinite where nothing is learned,
    NaN where the signal is lost in the query noise.
    """
    noise = np.asarray(problem.noise)
    left = benchmark.task_loss - noise
    power = problem.variance - noise
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = problem.context_length * power * left / (problem.variance * (power - left))
    return np.where(power > LOST * problem.variance, result, np.nan)


def excess(problem: Problem, loss: float) -> float:
    """A loss without the query noise, which nothing reduces."""
    return loss - float(np.sum(problem.noise))


class Reference(NamedTuple):
    """A benchmark that any problem has.

    Attributes
    ----------
    find : callable
        Finds it: takes the problem and the name of a law, or the problem alone if no law enters.
    name : str
        In tables and legends.
    exact : bool
        Whether no law of the context enters.
    """

    find: Callable[..., Benchmark]
    name: str
    exact: bool = False

    def of(self, problem: Problem, kernel: str = DEFAULT) -> Benchmark:
        """The benchmark of a problem, under the law named ``kernel`` if it is one of a law.

        Raises
        ------
        ProblemError
            It is not known of this law, or the problem has none.
        """
        return self.find(problem) if self.exact else self.find(problem, kernel)


BENCHMARKS = {
    **{
        f.__name__: Reference(f, NAMES[f.__name__])
        for f in (single_head, head_per_task, plateau, lower_bound)
    },
    **{f.__name__: Reference(f, NAMES[f.__name__], True) for f in (small_heads, gradient_step, bayes)},
}
