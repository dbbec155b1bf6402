"""What is asked of every law of the context about the best attention, and the losses that answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.multitask.context import DEFAULT, check_kernel
from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.signal import Signal
from spectral_icl.multitask.state import MOST_ENTRIES, State

_MOST_UNLIKE = 1000  # tasks for each of which a head is searched

# What benchmarks are called, in the order in which they are listed.
NAMES = {
    "single_head": "best single head",
    "head_per_task": "head-per-task limit",
    "plateau": "H = I plateau",
    "lower_bound": "lower bound",
    "small_heads": "any number of small heads",
    "gradient_step": "one gradient step",
    "bayes": "Bayes risk (ridge)",
}


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A reference loss.

    Attributes
    ----------
    name : str
    loss : float
        Sum over tasks, query noise included.
    task_loss : ndarray, (I,)
    attained : bool
        Whether some finite weights of one attention layer have this loss; False for an infimum and for
        what is not attention.
    weights : State or None
        Weights that have it, or that come close to an infimum (`Optimum`); None also where they would have
        more than 2^22 entries H (B + I).
    error : float
        Bound on the error of ``loss``: 0 for a closed form, up to rounding.
    law : str
        Name of the law of the context whose number it is; `EXACT` also if none enters, at any L and d.
    """

    name: str
    loss: float
    task_loss: Floats
    attained: bool
    weights: State | None
    error: float = 0.0
    law: str = DEFAULT


@dataclass(frozen=True, eq=False)
class Optimum(Benchmark):
    """The best attention with H heads that was found; ``loss`` is that of ``weights``.

    Attributes
    ----------
    infimum : float
        What ``loss`` can be brought down to. Equal to it if ``attained``; otherwise weights come closer only
        as heads coalesce and mu grows without bound.
    minima : tuple of (float, int)
        Losses of the local minima that the searches ended in, best first, and how many did.
    remark : str
        How the infimum was found.
    """

    infimum: float = np.nan
    minima: tuple[tuple[float, int], ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Optima:
    """The best that decomposable attention could reach under one law; here, one of which nothing is known.

    Attributes
    ----------
    law : str
        Its name.
    """

    law: str

    def lower_bound(self, problem: Problem) -> Benchmark:
        """A loss that no number of heads can go below."""
        self._refuse("a known lower bound")

    def single_head(self, problem: Problem) -> Benchmark:
        """The best of one head that serves all tasks."""
        self._refuse("a known best single head")

    def head_budget(self, problem: Problem, heads: int) -> Benchmark:
        """The infimum over H small heads."""
        self._refuse("a known infimum of small heads")

    def best(self, problem: Problem, heads: int, seed: int) -> Optimum:
        """The best of H heads."""
        self._refuse("a search of its own")

    def searched(self, problem: Problem, heads: int) -> int:
        """Variables that `best` searches over, H B; 0 where it is known."""
        return heads * problem.blocks

    def _refuse(self, what: str) -> NoReturn:
        raise ProblemError("kernel", self.law, f"a law of the context with {what}")

    def head_per_task(self, problem: Problem) -> Benchmark:
        """A head for every task, on its blocks alone and best for it alone."""
        each = [only(problem, task) for task in range(problem.tasks)]
        unlike = dict.fromkeys(each)
        if len(unlike) > _MOST_UNLIKE:
            expected = f"at most {_MOST_UNLIKE} tasks that differ, since a head is searched for each of them"
            raise ProblemError("problem", f"{len(unlike)} of them", expected)
        found = {alone: self.single_head(alone) for alone in unlike}
        losses = np.array([found[alone].loss for alone in each])
        error = sum(found[alone].error for alone in each)
        if not fits(problem, problem.tasks):
            return replace(self.made("head_per_task", losses, None, error), attained=True)
        weights = State(np.zeros((problem.tasks, problem.blocks)), np.zeros((problem.tasks, problem.tasks)))
        for task, alone in enumerate(each):
            at = found[alone].weights
            assert at is not None
            weights.omega[task, problem.signal.blocks_of(task)] = at.omega[0]
            weights.mu[task, task] = at.mu[0, 0]
        return self.made("head_per_task", losses, weights, error)

    def made(self, key: str, losses: Floats, weights: State | None = None, error: float = 0.0) -> Benchmark:
        """The benchmark of `NAMES` with these task losses (I,), attained by the weights if there are any."""
        attained = weights is not None
        return Benchmark(NAMES[key], float(losses.sum()), losses, attained, weights, error, self.law)

    def valued(self, problem: Problem, weights: State) -> tuple[Floats, float]:
        """Task losses (I,) of the best weights, and a bound on the error of their sum."""
        return task_loss(problem, *weights, self.law), 0.0

    def optimum(
        self,
        problem: Problem,
        weights: State,
        infimum: float,
        minima: tuple[tuple[float, int], ...],
        remark: str,
    ) -> Optimum:
        """The optimum with these weights; a remark says why the infimum is not attained."""
        losses, error = self.valued(problem, weights)
        loss = float(losses.sum())
        return Optimum(
            name=best_of(len(weights.omega)),
            loss=loss,
            task_loss=losses,
            attained=not remark,
            weights=weights,
            error=error,
            law=self.law,
            infimum=infimum if remark else loss,
            minima=minima,
            remark=remark,
        )


OPTIMA: dict[str, Optima] = {}  # by the name of a law: to look them up no problem is packed


def optima(law: str) -> Callable[[type[Optima]], type[Optima]]:
    """Decorator of the class with the optima under the law of that name."""

    def register(cls: type[Optima]) -> type[Optima]:
        OPTIMA[law] = cls(law)
        return cls

    return register


def optima_of(kernel: str) -> Optima:
    """The optima under the law named ``kernel``, which refuse what is not known of it.

    Raises
    ------
    ProblemError
        There is no such law.
    """
    law = check_kernel(kernel)
    return OPTIMA.get(law, Optima(law))


def only(problem: Problem, task: int) -> Problem:
    """The problem of one of the tasks alone, in its own blocks."""
    at, signal = problem.signal.blocks_of(task), problem.signal
    return replace(
        problem,
        block_sizes=tuple(problem.block_sizes[b] for b in at),
        signal=Signal.of([signal.power[signal.first[task] : signal.first[task + 1]].tolist()], at.size),
        noise=(problem.noise[task],),
        covariance=tuple(problem.covariance[b] for b in at),
    )


def fits(problem: Problem, heads: int) -> bool:
    """Whether a state of so many heads is no larger than states may be."""
    return heads * (problem.blocks + problem.tasks) <= MOST_ENTRIES


def best_of(heads: int) -> str:
    """The name of the best of so many heads."""
    return f"best of {heads} head{'s' if heads > 1 else ''}"
