"""How much work the checks may do, on which device, and where their runs are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from spectral_icl.io.progress import tracked

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
        Whether to show a bar on a terminal.
    """

    full: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    folder: Path | None = None
    progress: bool = False

    def pick(self, quick: T, full: T) -> T:
        """The amount of work of this setting."""
        return full if self.full else quick

    def track(self, items: Iterable[T], label: str) -> Iterator[T]:
        """The items, under a bar that advances if one is to be shown."""
        return tracked(items, label=f"{label:28}", unit="steps", shown=self.progress)
