"""A problem, a start and a parametrization that can be varied one variable at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.experiment import (
    DominantStart,
    Experiment,
    ExplicitStart,
    PaperStart,
    Start,
)
from spectral_icl.multitask.initial import paper_weights
from spectral_icl.multitask.parametrization import Factored, Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.signal import Signal
from spectral_icl.multitask.state import State, check_state
from spectral_icl.theorems.multitask.evidence import Evidence
from spectral_icl.theorems.multitask.families import repeated


@dataclass(frozen=True)
class Setting:
    """What a flow is solved of, with the start as it is described and not yet as numbers.

    Attributes
    ----------
    problem : Problem
    start : Start
        Made anew for every problem and number of heads.
    heads : int
    parametrization : Parametrization
    kernel : str
    rtol : float
    key_scale : float or None
    size : float or None
        Largest entry of omega and mu, to which the start is scaled; None to leave it.
    margin : float or None
        Relative lead of a task's head in mu, of starts that have one; None to leave it.
    """

    problem: Problem
    start: Start
    heads: int
    parametrization: Parametrization
    kernel: str
    rtol: float
    key_scale: float | None = None
    size: float | None = field(default=None)
    margin: float | None = field(default=None)

    @classmethod
    def of(cls, experiment: Experiment) -> Setting:
        """The setting of an experiment, whatever its ``[flow]`` says of the end."""
        return cls(
            experiment.problem,
            experiment.initial,
            len(experiment.start.omega),
            experiment.parametrization,
            experiment.model.kernel,
            experiment.flow.rtol,
            experiment.model.key_scale,
        )

    @property
    def state(self) -> State:
        """The start, omega (H, B) and mu (H, I).

        A dominant start of fewer heads than tasks has those leaders that there are heads for.
        """
        start, problem = self.start, self.problem
        heads = self.heads
        if self.margin is not None:
            start = _with_lead(start, problem, self.margin)
        if isinstance(start, DominantStart):
            heads = max(heads, problem.tasks)
        made = start.build(problem, heads, self.key_scale)
        made = State(made.omega[: self.heads], made.mu[: self.heads])
        if self.size is not None:
            factor = self.size / _largest(made)
            made = State(made.omega * factor, made.mu * factor)
        return check_state(problem, *made)

    def evidence(self, prompts: int, seed: int) -> Evidence:
        """What claims are tested on, the flow followed to rest."""
        state = self.state
        self.parametrization.chart(self.problem, state)  # refuses imbalances of another shape
        return Evidence(
            self.problem, state, self.parametrization, None, self.rtol, self.kernel, prompts, seed
        )


# What can be varied: the value at a setting, None where it has none, and the setting with another value.
Reading = Callable[[Setting], float | None]
Change = Callable[[Setting, float], Setting]


def length(at: Setting) -> float:
    """Context length L."""
    return at.problem.context_length


def with_length(at: Setting, value: float) -> Setting:
    """The setting at another context length, with all else as it was."""
    return replace(at, problem=replace(at.problem, context_length=value))


def dimension(at: Setting) -> float:
    """Features that the largest task has power in, d."""
    return float(_task_sizes(at.problem).max())


def with_dimension(at: Setting, value: float) -> Setting:
    """The setting with all blocks larger or smaller by one factor, and signals of one power as before.

    Sizes are whole numbers. Where tasks share or span blocks, those of the largest task are rounded such
    that they sum to the value, rounded.

    Raises
    ------
    ProblemError
        The largest task spans more blocks than that.
    """
    problem, before = at.problem, round(dimension(at))
    if problem.home is not None:
        sizes = [max(1, round(size * value / before)) for size in problem.block_sizes]
        return replace(at, problem=replace(problem, block_sizes=tuple(sizes)))
    largest = int(_task_sizes(problem).argmax())
    own = problem.signal.block[problem.signal.first[largest] : problem.signal.first[largest + 1]].tolist()
    if value < len(own):
        expected = f"at least {len(own)}, of a task that spans as many blocks"
        raise ProblemError("dimension", value, expected)
    sizes, end, last = list(problem.block_sizes), 0, 0
    for b in (*own, *sorted(set(range(len(sizes))) - set(own))):
        end += problem.block_sizes[b]
        scaled = end * round(value) // before
        sizes[b], last = max(1, scaled - last), scaled
    return replace(at, problem=replace(problem, block_sizes=tuple(sizes)))


def tasks(at: Setting) -> float | None:
    """Number of tasks I; None of a start that is given entry by entry."""
    return None if _of_fixed_shape(at) else float(at.problem.tasks)


def with_tasks(at: Setting, value: float) -> Setting:
    """The setting with the first tasks only, or with more that are like them, on blocks of their own.

    Heads come and go with the tasks.

    Raises
    ------
    ProblemError
        Tasks that share or span blocks cannot be more than they are.
    """
    problem, count = at.problem, round(value)
    if problem.home is None:
        if count > problem.tasks:
            raise ProblemError("tasks", count, f"at most {problem.tasks}, of tasks that share or span blocks")
        rows = Signal.of([problem.signal[k] for k in range(count)], problem.blocks)
        changed = replace(problem, signal=rows, noise=problem.noise[:count])
    else:
        changed = repeated(problem, count)
    return replace(at, problem=changed, heads=max(1, at.heads + count - problem.tasks))


def heads(at: Setting) -> float | None:
    """Number of heads H; None of a start that is given entry by entry."""
    return None if _of_fixed_shape(at) else float(at.heads)


def with_heads(at: Setting, value: float) -> Setting:
    """The setting with another number of heads."""
    return replace(at, heads=round(value))


def ratio(at: Setting) -> float | None:
    """Signal over noise, of all tasks together; None without noise."""
    noise = float(np.sum(at.problem.noise))
    return float(at.problem.power.sum()) / noise if noise > 0.0 else None


def with_ratio(at: Setting, value: float) -> Setting:
    """The setting with the noise of all tasks larger or smaller by one factor."""
    before = ratio(at)
    assert before is not None
    noise = tuple(variance * before / value for variance in at.problem.noise)
    return replace(at, problem=replace(at.problem, noise=noise))


def size(at: Setting) -> float | None:
    """Largest entry of omega and mu at the start; None of a start at zero."""
    return _largest(at.state) or None


def with_size(at: Setting, value: float) -> Setting:
    """The setting with the start larger or smaller by one factor."""
    return replace(at, size=value)


def lead(at: Setting) -> float | None:
    """Relative lead of a task's head in mu; None of a start that is made without one."""
    if at.margin is not None:
        return at.margin
    if isinstance(at.start, PaperStart):
        _, low, high = paper_weights(at.problem, None, at.start.ov_low, at.start.ov_high)
        return (high / low) ** 2 - 1.0 if low and abs(high) > abs(low) else None
    found = getattr(at.start, "margin", None)
    return float(found) if found else None


def with_lead(at: Setting, value: float) -> Setting:
    """The setting with another lead, and the other entries of the start as they were."""
    return replace(at, margin=value)


def imbalance(at: Setting) -> float | None:
    """Imbalance of both circuits; None of weights that have none, or of several."""
    given = at.parametrization
    if not isinstance(given, Factored) or _of_fixed_shape(at):
        return None
    largest = max(float(np.max(given.imbalance(c))) for c in ("omega", "mu"))
    return largest or None


def with_imbalance(at: Setting, value: float) -> Setting:
    """The setting with one imbalance for both circuits."""
    assert isinstance(at.parametrization, Factored)
    changed = replace(at.parametrization, imbalance_omega=value, imbalance_mu=value)
    return replace(at, parametrization=changed)


def _task_sizes(problem: Problem) -> NDArray[np.int64]:
    """Numbers of features that each task has power in, (I,)."""
    sizes = np.array(problem.block_sizes)[problem.signal.block]
    found: NDArray[np.int64] = np.add.reduceat(sizes, problem.signal.first[:-1])
    return found


def _of_fixed_shape(at: Setting) -> bool:
    """Whether the start or an imbalance is given entry by entry."""
    shaped = any(at.parametrization.imbalance(c).ndim > 0 for c in ("omega", "mu"))
    return shaped or isinstance(at.start, ExplicitStart)


def _largest(state: State) -> float:
    return max(float(np.abs(values).max()) for values in state)


def _with_lead(start: Start, problem: Problem, margin: float) -> Start:
    if isinstance(start, PaperStart):
        _, low, _ = paper_weights(problem, None, start.ov_low)
        return replace(start, ov_low=low, ov_high=abs(low) * (1.0 + margin) ** 0.5)
    if "margin" in {one.name for one in fields(start)}:
        changed: Start = replace(start, margin=margin)  # type: ignore[call-arg]
        return changed
    raise ProblemError("margin", margin, "a start with a lead")
