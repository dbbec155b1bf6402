"""Train a full model on fresh prompts, record its spectrum, and continue where an interrupted run stopped."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_icl import Problem
from spectral_icl.files import replacing
from spectral_icl.reduced import State
from spectral_icl.validation import Floats
from validation.full_model import Attention, FactoredAttention, task_loss
from validation.prompts import Law
from validation.spectrum import imbalance, spectral, stray

Track = Callable[[Iterable[int], str], Iterable[int]]
Rule = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]

_FORMAT = 1  # of checkpoints; those of another are not continued
_SAVE_EVERY = 10.0  # seconds between checkpoints


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
    keep : bool
        Whether to keep all weights at every record.
    """

    rate: float
    steps: int
    batch: int
    every: int
    seed: int
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
        The effective imbalance of factored weights; empty for merged ones.
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
    track: Track = lambda steps, _: steps,
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
    key = _digest(model, problem, law, schedule, optimiser)
    checkpoint = None if folder is None else folder / f"{label}-{key[:12]}.pt"
    records: list[dict[str, Floats]] = []
    kept: list[dict[str, torch.Tensor]] = []
    losses: list[Floats] = []
    done, spent = 0, 0.0

    def save() -> None:
        if checkpoint is not None:
            state = (model.state_dict(), optimiser.state_dict(), generator.get_state().cpu())
            with replacing(checkpoint) as part:
                torch.save((key, (*state, records, kept, losses, done, spent)), part)

    saved = _load(checkpoint, key)
    if saved is not None:
        weights, moments, noise, records, kept, losses, done, spent = saved
        model.load_state_dict(weights)
        optimiser.load_state_dict(moments)
        generator.set_state(noise)

    def record(step: int) -> None:
        records.append(_record(model, problem, step))
        if schedule.keep:
            kept.append({name: values.detach().clone() for name, values in model.state_dict().items()})

    began, last = time.perf_counter() - spent, time.perf_counter()
    between_steps = True
    try:
        for step in track(range(done, schedule.steps), label):
            between_steps = False
            if step % schedule.every == 0:
                record(step)
            by_task = task_loss(model, law.draw(schedule.batch, generator), law)
            optimiser.zero_grad()
            by_task.sum().backward()
            optimiser.step()
            losses.append(by_task.detach().double().cpu().numpy())
            done, spent = step + 1, time.perf_counter() - began
            between_steps = True
            if time.perf_counter() - last > _SAVE_EVERY:
                save()
                last = time.perf_counter()
    finally:
        if between_steps:  # half a step could not be continued; the last checkpoint can
            save()
    record(done)
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    return Run(
        time=columns.pop("step") * schedule.rate,
        **columns,
        loss_time=schedule.rate * np.arange(done, dtype=np.float64),
        task_loss=np.array(losses),
        weights=tuple(kept),
        seconds=spent,
    )


def _record(model: Attention, problem: Problem, step: int) -> dict[str, Floats]:
    kq, ov = model.kq(), model.ov()
    at = spectral(problem, kq, ov)
    none = State(np.empty(0), np.empty(0))
    unbalanced = imbalance(problem, model.factors()) if isinstance(model, FactoredAttention) else none
    return {
        "step": np.asarray(step),
        "omega": at.omega,
        "mu": at.mu,
        "stray_kq": stray(kq),
        "stray_ov": stray(ov),
        "imbalance_omega": unbalanced.omega,
        "imbalance_mu": unbalanced.mu,
    }


def _digest(
    model: Attention, problem: Problem, law: Law, schedule: Schedule, optimiser: torch.optim.Optimizer
) -> str:
    """What makes two runs the same run."""
    kind = (type(model).__name__, getattr(model, "key_scale", None), law.root.dtype, law.root.device.type)
    told = (_FORMAT, torch.__version__, problem.digest(), schedule, optimiser, kind)
    digest = hashlib.sha256(repr(told).encode())
    for name, values in model.state_dict().items():
        digest.update(name.encode() + values.cpu().numpy().tobytes())
    return digest.hexdigest()


def _load(checkpoint: Path | None, key: str) -> tuple[Any, ...] | None:
    """What was saved of this very run, if anything."""
    if checkpoint is None or not checkpoint.exists():
        return None
    try:
        saved, state = torch.load(checkpoint, map_location="cpu", weights_only=False)
    except (
        RuntimeError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        ImportError,
        pickle.UnpicklingError,
    ):
        return None  # damaged: the run starts again
    return state if saved == key else None
