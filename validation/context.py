"""How much work the checks may do, on which device, from which seed, and where what they sample is kept."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from spectral_icl.io.checks import Floats
from spectral_icl.io.files import replacing
from spectral_icl.io.progress import tracked

FAULTS = ("no-length-term", "key-scale", "sign", "asymptotic")

_FORMAT = 1  # of what is kept; raised when what is sampled under an old label changes
_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The setting of one command.

    Attributes
    ----------
    full : bool
        Whether to take hours' worth of evidence, or minutes'.
    device : torch.device
    folder : Path or None
        Where what is sampled is kept, to be continued or used again; nowhere if None.
    progress : bool
        Whether to show a bar on a terminal.
    seed : int
        From which all random numbers come.
    fault : str or None
        One of `FAULTS`: the theory, and nothing that is measured, is spoilt by it on purpose.
    """

    full: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    folder: Path | None = None
    progress: bool = False
    seed: int = 0
    fault: str | None = None

    @property
    def honest(self) -> Context:
        """The context without its fault: of everything that is measured."""
        return replace(self, fault=None)

    def pick(self, quick: T, full: T) -> T:
        """The amount of work of this setting."""
        return full if self.full else quick

    def track(self, items: Iterable[T], label: str) -> Iterator[T]:
        """The items, under a bar that advances if one is to be shown."""
        return tracked(items, label=f"{label:28}", unit="steps", shown=self.progress)

    def seed_of(self, label: str) -> int:
        """The seed of what a label names, of 63 bits: one of its own for every label and every seed."""
        named = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")
        state = np.random.SeedSequence((self.seed, named)).generate_state(1, np.uint64)
        return int(state[0]) >> 1  # PyTorch takes a signed number

    def generator(self, label: str) -> torch.Generator:
        """A random generator on the device, for what a label names."""
        return torch.Generator(self.device).manual_seed(self.seed_of(label))

    def rng(self, label: str) -> np.random.Generator:
        """A random generator of NumPy's, for what a label names."""
        return np.random.default_rng(self.seed_of(label))

    def kept(self, label: str, key: object, make: Callable[[], Mapping[str, Floats]]) -> dict[str, Floats]:
        """Sampled arrays by name: those of the folder if they are there, else made, and put there.

        Parameters
        ----------
        label : str
            Begins the file's name.
        key : object
            By its repr, all that the arrays depend on beside the label, the setting, the seed, the kind of
            device and PyTorch. What theory expects must not enter them.
        make : callable
            Samples the arrays.
        """
        if self.folder is None:
            return dict(make())
        setting = (_FORMAT, torch.__version__, self.device.type, self.full, self.seed, label, key)
        digest = hashlib.sha256(repr(setting).encode()).hexdigest()
        path = self.folder / f"{label}-{digest[:12]}.npz"
        try:
            with path.open("rb") as file, np.load(file) as kept:
                if str(kept["key"]) == digest:
                    return {name: kept[name] for name in kept.files if name != "key"}
        except _DAMAGE:  # not there, or not whole: it is made again
            pass
        made = dict(make())
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as whole:
            np.savez(whole, key=np.array(digest), **made)  # type: ignore[arg-type]
        return made
