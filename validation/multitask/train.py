"""Train a full model on fresh prompts, record its spectrum, and continue where an interrupted run stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from spectral_icl import Problem
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.state import State
from validation.checkpoint import Checkpoint, digest
from validation.context import Context
from validation.loop import Track, continued, untracked
from validation.multitask.full_model import Attention, FactoredAttention, task_loss
from validation.multitask.prompts import Law
from validation.multitask.spectrum import imbalance, spectral, stray

Rule = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]

_FORMAT = 2  # of checkpoints; those of another are not continued


@dataclass(frozen=True)
class Schedule:
    """How long, on how much, and how finely recorded.

    Attributes
    ----------
    rate : float
        Learning rate: a step of gradient descent is this much time of the gradient flow.
    steps : int
    batch : int
        Fresh prompts per step.
    every : int
        Steps between records.
    seed : int
        Of the prompts; a run of a context has one by its name.
    keep : bool
        Whether to keep all weights at every record.
    """

    rate: float
    steps: int
    batch: int
    every: int
    seed: int = 0
    keep: bool = False


@dataclass(frozen=True)
class Run:
    """A training run, recorded at R moments, the start and the end among them.

    Attributes
    ----------
    time : ndarray, (R,)
        Steps times the learning rate: the time of the gradient flow, if the optimiser is gradient descent.
    omega, mu : ndarray, (R, H, B) and (R, H, I)
        Block means of the diagonals of W^h, and the diagonals of U^h.
    stray_kq, stray_ov : ndarray, (R, H)
        Root mean square of the entries off the diagonals.
    imbalance_omega, imbalance_mu : ndarray, (R, H, B) and (R, H, I)
        Diagonals of K K^T - Q Q^T and V V^T - O^T O of factored weights; empty for merged ones.
    loss_time : ndarray, (S,)
        Time of every step's batch.
    task_loss : ndarray, (S, I)
        Batch loss at every step, query noise included.
    weights : tuple of dict
        The model's state at every record, if it was to be kept.
    seconds : float
        Wall time of the training, sampling included and recording too.
    """

    time: Floats
    omega: Floats
    mu: Floats
    stray_kq: Floats
    stray_ov: Floats
    imbalance_omega: Floats
    imbalance_mu: Floats
    loss_time: Floats
    task_loss: Floats
    weights: tuple[dict[str, torch.Tensor], ...]
    seconds: float


def train(
    model: Attention,
    problem: Problem,
    law: Law,
    schedule: Schedule,
    rule: Rule | None = None,
    *,
    track: Track = untracked,
    label: str = "",
    folder: Path | None = None,
) -> Run:
    """Train a model in place.

    Parameters
    ----------
    model : Attention
    problem : Problem
    law : Law
    schedule : Schedule
    rule : callable, optional
        Makes the optimiser of the parameters; plain gradient descent if None.
    track : callable
        Wraps the steps, to show progress.
    label : str
        Names the run on the progress bar.
    folder : Path, optional
        Where the run is saved every few seconds, when it is interrupted, and when it is done. If the same
        run is there already, training continues from it, to the same bits (on the same kind of device).
    """
    optimiser = (rule or (lambda weights: torch.optim.SGD(weights, lr=schedule.rate)))(model.parameters())
    generator = law.generator(schedule.seed)
    key = _key(model, problem, law, schedule, optimiser)

    def step(progress: _Progress, number: int) -> None:
        if number % schedule.every == 0:
            progress.record(model, problem, schedule.keep)
        by_task = task_loss(model, law.draw(schedule.batch, generator), law)
        optimiser.zero_grad()
        by_task.sum().backward()
        optimiser.step()
        progress.losses.append(by_task.detach().double().cpu().numpy())

    checkpoint = Checkpoint(folder, label, key, model, optimiser, generator)
    progress = continued(checkpoint, _Progress, schedule.steps, step, track)
    progress.record(model, problem, schedule.keep)
    return progress.run(schedule.rate)


def training_run(
    context: Context,
    name: str,
    model: Attention,
    problem: Problem,
    schedule: Schedule,
    rule: Rule | None = None,
) -> Run:
    """The run of that name and setting: taken from the context's folder, or trained, in single precision.

    Its prompts have the seed that the context has for the name.
    """
    schedule = replace(schedule, seed=context.seed_of(name))
    if context.folder is not None:
        context.folder.mkdir(parents=True, exist_ok=True)
    law = Law.of(problem, context.device)
    return train(model, problem, law, schedule, rule, track=context.track, label=name, folder=context.folder)


@dataclass
class _Progress:
    """What a run has recorded so far."""

    records: list[dict[str, Floats]] = field(default_factory=list)
    weights: list[dict[str, torch.Tensor]] = field(default_factory=list)
    losses: list[Floats] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Number of steps taken."""
        return len(self.losses)

    def record(self, model: Attention, problem: Problem, keep: bool) -> None:
        """Append omega, mu and the imbalances of the model to the records."""
        kq, ov = model.kq(), model.ov()
        at, unbalanced = spectral(problem, kq, ov), State(np.empty(0), np.empty(0))
        if isinstance(model, FactoredAttention):
            unbalanced = imbalance(problem, model.factors())
        self.records.append({
            "step": np.asarray(self.done),
            "omega": at.omega,
            "mu": at.mu,
            "stray_kq": stray(kq),
            "stray_ov": stray(ov),
            "imbalance_omega": unbalanced.omega,
            "imbalance_mu": unbalanced.mu,
        })  # fmt: skip
        if keep:
            self.weights.append({name: w.detach().clone() for name, w in model.state_dict().items()})

    def run(self, rate: float) -> Run:
        """The run that has come to its end."""
        columns = {name: np.array([record[name] for record in self.records]) for name in self.records[0]}
        return Run(
            time=columns.pop("step") * rate,
            **columns,
            loss_time=rate * np.arange(self.done, dtype=np.float64),
            task_loss=np.array(self.losses),
            weights=tuple(self.weights),
            seconds=self.seconds,
        )


def _key(
    model: Attention, problem: Problem, law: Law, schedule: Schedule, optimiser: torch.optim.Optimizer
) -> str:
    """Digest of everything that the numbers of a run depend on."""
    kind = (type(model).__name__, getattr(model, "key_scale", None), law.root.dtype, law.root.device.type)
    setting = (_FORMAT, torch.__version__, problem.digest(), schedule, optimiser, kind)
    return digest(setting, model.state_dict().items())
