"""Train a full model on fresh prompts, record its spectrum, and continue where an interrupted run stopped."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spectral_icl import Problem
from spectral_icl.files import replacing
from spectral_icl.reduced import State
from validation.full_model import Attention, FactoredAttention, task_loss
from validation.prompts import Law
from validation.spectrum import imbalance, spectral, stray

Array = np.ndarray
Track = Callable[[Iterable[int], str], Iterable[int]]
Rule = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]

_FORMAT = 1  # of checkpoints; those of another are not continued
_SAVE_EVERY = 30.0  # seconds between checkpoints


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
    """

    rate: float
    steps: int
    batch: int
    every: int
    seed: int


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
        The effective imbalance of factored weights; empty for merged ones.
    loss_time : ndarray, (S,)
        Time of every step's batch.
    task_loss : ndarray, (S, I)
        Batch loss at every step, query noise included.
    kq, ov : ndarray, (H, d, d) and (H, I, I)
        The circuits at the end.
    seconds : float
        Wall time of the training, sampling included and recording too.
    """

    time: Array
    omega: Array
    mu: Array
    stray_kq: Array
    stray_ov: Array
    imbalance_omega: Array
    imbalance_mu: Array
    loss_time: Array
    task_loss: Array
    kq: Array
    ov: Array
    seconds: float

    def at(self, moment: float) -> State:
        """State, omega (H, B) and mu (H, I), interpolated between records."""
        return State(*(_interpolate(moment, self.time, values) for values in (self.omega, self.mu)))

    def imbalance(self, moment: float) -> State:
        """The effective imbalances, interpolated between records."""
        paths = (self.imbalance_omega, self.imbalance_mu)
        return State(*(_interpolate(moment, self.time, values) for values in paths))

    def loss(self, start: float, end: float) -> tuple[Array, Array]:
        """Mean batch loss of every task over an interval of time, (I,), and its standard error."""
        inside = self.task_loss[(self.loss_time >= start) & (self.loss_time <= end)]
        return inside.mean(axis=0), inside.std(axis=0, ddof=1) / np.sqrt(len(inside))


def train(
    model: Attention,
    problem: Problem,
    law: Law,
    schedule: Schedule,
    rule: Rule | None = None,
    *,
    track: Track = lambda steps, _: steps,
    label: str = "",
    checkpoint: Path | None = None,
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
    checkpoint : Path, optional
        File that the run is saved to every half minute, when it is interrupted, and when it is done. If
        the file is there and is of the same run, training continues from it, to the same bits.
    """
    optimiser = (rule or (lambda weights: torch.optim.SGD(weights, lr=schedule.rate)))(model.parameters())
    generator = law.generator(schedule.seed)
    key = _digest(model, problem, law, schedule, optimiser)
    records: list[dict[str, Array]] = []
    losses: list[Array] = []
    done, spent = 0, 0.0

    def save() -> None:
        if checkpoint is not None:
            state = (model.state_dict(), optimiser.state_dict(), generator.get_state().cpu())
            with replacing(checkpoint) as part:
                torch.save((key, *state, records, losses, done, spent), part)

    saved = _load(checkpoint, key)
    if saved is not None:
        weights, moments, noise, records, losses, done, spent = saved
        model.load_state_dict(weights)
        optimiser.load_state_dict(moments)
        generator.set_state(noise)
    began, last = time.perf_counter() - spent, time.perf_counter()
    try:
        for step in track(range(done, schedule.steps), label):
            if step % schedule.every == 0:
                records.append(_record(model, problem, step))
            by_task = task_loss(model, law.draw(schedule.batch, generator), law)
            optimiser.zero_grad()
            by_task.sum().backward()
            optimiser.step()
            losses.append(by_task.detach().double().cpu().numpy())
            done, spent = step + 1, time.perf_counter() - began
            if time.perf_counter() - last > _SAVE_EVERY:
                save()
                last = time.perf_counter()
    finally:
        save()
    records = [*records, _record(model, problem, done)]
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    return Run(
        time=columns.pop("step") * schedule.rate,
        **columns,
        loss_time=np.arange(done) * schedule.rate,
        task_loss=np.array(losses),
        kq=model.kq().detach().double().cpu().numpy(),
        ov=model.ov().detach().double().cpu().numpy(),
        seconds=spent,
    )


def _record(model: Attention, problem: Problem, step: int) -> dict[str, Array]:
    kq, ov = model.kq(), model.ov()
    at = spectral(problem, kq, ov)
    none = State(np.empty(0), np.empty(0))
    lack = imbalance(problem, model.factors()) if isinstance(model, FactoredAttention) else none
    return {
        "step": np.asarray(step),
        "omega": at.omega,
        "mu": at.mu,
        "stray_kq": stray(kq),
        "stray_ov": stray(ov),
        "imbalance_omega": lack.omega,
        "imbalance_mu": lack.mu,
    }


def _digest(
    model: Attention, problem: Problem, law: Law, schedule: Schedule, optimiser: torch.optim.Optimizer
) -> str:
    """What makes two runs the same run."""
    text = repr(
        (problem.digest(), schedule, optimiser, law.root.dtype, law.root.device, type(model).__name__)
    )
    found = hashlib.sha256(text.encode())
    for name, values in model.state_dict().items():
        found.update(name.encode() + values.cpu().numpy().tobytes())
    return found.hexdigest()


def _load(checkpoint: Path | None, key: str) -> tuple | None:
    """What was saved of this very run, if anything."""
    if checkpoint is None or not checkpoint.exists():
        return None
    try:
        key_found, *state = torch.load(checkpoint, weights_only=False)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        return None  # damaged: the run starts again
    return tuple(state) if key_found == key else None


def _interpolate(moment: float, times: Array, values: Array) -> Array:
    flat = values.reshape(times.size, -1)
    columns = [np.interp(moment, times, column) for column in flat.T]
    return np.array(columns).reshape(values.shape[1:])
