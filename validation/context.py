"""How much work the checks may do, on which device, and where their runs are kept."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import click
import torch

from spectral_icl import Problem
from spectral_icl.multitask.loss import State
from validation.multitask.full_model import Attention, expected_task_loss
from validation.multitask.prompts import Law
from validation.multitask.spectrum import decomposable
from validation.multitask.train import Rule, Run, Schedule, train

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The setting of one command.

    Attributes
    ----------
    full : bool
        Whether to take half an hour's worth of evidence, or minutes'.
    device : torch.device
    folder : Path or None
        Where training runs are kept, to be continued or used again; nowhere if None.
    progress : bool
        Whether to show a bar.
    """

    full: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    folder: Path | None = None
    progress: bool = False

    def pick(self, quick: T, full: T) -> T:
        """The amount of work of this setting."""
        return full if self.full else quick

    def law(self, problem: Problem, dtype: torch.dtype = torch.float32) -> Law:
        """The problem's prompts on the device."""
        return Law.of(problem, self.device, dtype)

    def track(self, items: Iterable[T], label: str) -> Iterator[T]:
        """The items, with a bar that advances."""
        if not self.progress:
            yield from items
            return
        with click.progressbar(items, label=f"{label:28}", file=sys.stderr) as bar:
            yield from bar

    def loss(self, problem: Problem, at: State, prompts: int, label: str, seed: int) -> tuple[float, float]:
        """Loss of decomposable weights, summed over tasks, averaged over labels, and its standard error."""
        law = self.law(problem)
        generator = law.generator(seed)
        kq, ov = decomposable(problem, at, law)
        losses = []
        with torch.no_grad():
            for start in self.track(range(0, prompts, law.chunk), label):
                x, query = law.inputs(min(law.chunk, prompts - start), generator)
                losses.append(expected_task_loss(kq, ov, x, query, law).sum(dim=1).double().cpu())
        values = torch.cat(losses)
        return float(values.mean()), float(values.std() / len(values) ** 0.5)

    def train(
        self,
        name: str,
        model: Attention,
        problem: Problem,
        schedule: Schedule,
        rule: Rule | None = None,
    ) -> Run:
        """Train a model, or take the run of that name and setting from the folder."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        law = self.law(problem)
        return train(model, problem, law, schedule, rule, track=self.track, label=name, folder=self.folder)
