"""The file from which an interrupted training run continues, to the same bits."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from spectral_icl.io.files import replacing

_DAMAGE = (RuntimeError, EOFError, ValueError, TypeError, AttributeError, ImportError, pickle.UnpicklingError)
_SAVE_EVERY = 10.0  # seconds

Recorded = TypeVar("Recorded")


@dataclass
class Checkpoint:
    """The file of one run, if it is to have one, and what of the run changes from step to step.

    Attributes
    ----------
    folder : Path or None
        Where the file is; there is none if None.
    label : str
        Begins its name.
    key : str
        What makes two runs the same run, by `digest`; a file of another key is not continued.
    model : Module
    optimiser : Optimizer
    generator : Generator
        Of all random numbers that steps draw.
    """

    folder: Path | None
    label: str
    key: str
    model: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    _saved: float = field(default_factory=time.perf_counter, init=False)

    @property
    def path(self) -> Path | None:
        """Path of the file; None without a folder."""
        return None if self.folder is None else self.folder / f"{self.label}-{self.key[:12]}.pt"

    def save(self, recorded: object) -> None:
        """Write everything that the run needs to continue; an older file is replaced once this is whole.

        Parameters
        ----------
        recorded : object
            What the run has recorded, all of it in attributes.
        """
        if self.path is not None:
            moving = (self.model.state_dict(), self.optimiser.state_dict(), self.generator.get_state())
            with replacing(self.path) as part:
                torch.save((self.key, (*moving, vars(recorded))), part)
        self._saved = time.perf_counter()

    def save_if_due(self, recorded: object) -> None:
        """Save between two steps, unless that was done seconds ago."""
        if time.perf_counter() - self._saved > _SAVE_EVERY:
            self.save(recorded)

    def load(self, make: Callable[..., Recorded]) -> Recorded:
        """The record of the saved run, whose state is put back where it was; else an empty record.

        Parameters
        ----------
        make : callable
            Makes it from its attributes by name; called with none if nothing was saved, or nothing readable.
        """
        if self.path is None or not self.path.exists():
            return make()
        try:
            key, state = torch.load(self.path, map_location="cpu", weights_only=False)
        except _DAMAGE:
            return make()  # the run starts again
        if key != self.key:
            return make()
        weights, moments, noise, recorded = state
        self.model.load_state_dict(weights)
        self.optimiser.load_state_dict(moments)
        self.generator.set_state(noise)
        return make(**recorded)


def digest(setting: object, weights: Iterable[tuple[str, torch.Tensor]]) -> str:
    """A key of the setting, by its repr, and of the named weights that the run starts from, bit by bit."""
    found = hashlib.sha256(repr(setting).encode())
    for name, values in weights:
        found.update(name.encode() + values.cpu().numpy().tobytes())
    return found.hexdigest()
