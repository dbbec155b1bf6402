"""Train linear attention on sparse regression, from random weights or from the construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from spectral_icl.io.checks import ProblemError, integer, number
from spectral_icl.sparse.problem import SparseProblem
from validation.checkpoint import Checkpoint, digest
from validation.loop import Track, continued, untracked
from validation.sparse.linear_attention import LinearTransformer, Mask
from validation.sparse.probes import squared_errors, trimmed
from validation.sparse.prompts import SparsePrompts, draw

_LARGEST_SEED = 2**63 - 1  # that PyTorch takes

_FORMAT = 1  # of checkpoints; those of another are not continued

_BETAS = (0.9, 0.98)
_CLIP = 0.5  # largest norm of a gradient
_LAST = 0.01  # learning rate at the end, over its largest
_WATCHED, _WATCH_SEED = 4000, 77  # prompts on which the risk is followed


@dataclass(frozen=True)
class Config:
    """What is trained, how, and for how long: in steps, so that a run is the same on every machine.

    Attributes
    ----------
    problem : SparseProblem
    heads : tuple of int
        Of every layer of a model that starts from random weights.
    steps : int
    rate : float
        Largest learning rate of AdamW: reached after ``warmup`` steps, a cosine from there to 1 % of it.
    seed : int
        Of the prompts, and of random weights.
    decay : float
        Weight decay.
    batch : int
        Fresh prompts per step.
    warmup : int
    every : int
        Steps between records of the risk.
    """

    problem: SparseProblem
    heads: tuple[int, ...]
    steps: int
    rate: float = 4e-3
    seed: int = 0
    decay: float = 0.0
    batch: int = 128
    warmup: int = 100
    every: int = 250

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "every"):
            integer(name, getattr(self, name), minimum=1, maximum=10**9)
        integer("warmup", self.warmup, minimum=0, maximum=10**9)
        integer("seed", self.seed, minimum=0, maximum=_LARGEST_SEED)
        number("rate", self.rate, minimum=0.0, above=True)
        number("decay", self.decay, minimum=0.0)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        wave = 0.5 * (1.0 + math.cos(math.pi * step / self.steps))
        return self.rate * min(1.0, (step + 1) / max(1, self.warmup)) * (_LAST + (1.0 - _LAST) * wave)


@dataclass
class History:
    """What a run has recorded.

    Attributes
    ----------
    loss : list of float
        Of every step's batch.
    step : list of int
        Moments of the records, the start and the end among them.
    risk : list of float
        Trimmed mean of the squared error there, on the same prompts at every record.
    seconds : float
        Wall time, records included.
    """

    loss: list[float] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    risk: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Number of steps taken."""
        return len(self.loss)


def train(
    config: Config,
    model: LinearTransformer | None = None,
    head_mask: Mask | None = None,
    *,
    track: Track = untracked,
    label: str = "",
    folder: Path | None = None,
    device: torch.device | None = None,
) -> tuple[LinearTransformer, History]:
    """Train a model in place, or one from random weights.

    Parameters
    ----------
    config : Config
    model : LinearTransformer, optional
    head_mask : sequence of Tensor, optional
        Heads that are left out, from the first step to the last.
    track : callable
        Wraps the steps, to show progress.
    label : str
        Names the run on the progress bar.
    folder : Path, optional
        Where the run is saved every few seconds, when it is interrupted, and when it is done. If the same
        run is there already, training continues from it, to the same bits (on the same kind of device).
    device : torch.device, optional
        Where a model from random weights is made; one that is given is trained where it is.
    """
    if model is None:
        model = LinearTransformer.random(config.problem.d, config.heads, config.seed).to(device)
    if model.dimension != config.problem.d:
        raise ProblemError("model", f"d = {model.dimension}", f"d = {config.problem.d}")
    return model, _trained(config, model, head_mask, track, label, folder)


def _trained(
    config: Config,
    model: LinearTransformer,
    head_mask: Mask | None,
    track: Track,
    label: str,
    folder: Path | None,
) -> History:
    """Train a model in place; the history of its training."""
    like = model.embed
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, betas=_BETAS, weight_decay=config.decay)
    generator = torch.Generator(like.device).manual_seed(config.seed)
    seen = watched(config.problem, like.device, like.dtype)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    key = _key(config, model, head_mask)

    def watch(history: History, number: int) -> None:
        history.step.append(number)
        history.risk.append(trimmed(squared_errors(model, seen, head_mask))[0])

    def step(history: History, number: int) -> None:
        if number % config.every == 0:
            watch(history, number)
        prompts = draw(config.problem, config.batch, generator, like.dtype)
        loss = ((model(prompts, head_mask) - prompts.target) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        for group in optimiser.param_groups:
            group["lr"] = config.rate_at(number)
        optimiser.step()
        history.loss.append(float(loss.detach()))

    checkpoint = Checkpoint(folder, label, key, model, optimiser, generator)
    history = continued(checkpoint, History, config.steps, step, track)
    watch(history, config.steps)
    return history


def watched(
    problem: SparseProblem, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> SparsePrompts:
    """The prompts on which training follows the risk."""
    return draw(problem, _WATCHED, torch.Generator(device or "cpu").manual_seed(_WATCH_SEED), dtype)


def warm_start(
    dimension: int, heads: Sequence[int], a: float, b: float, eps: float, seed: int
) -> LinearTransformer:
    """The construction with the noise eps N(0, 1) in all weights; the first layer also takes a plain step a.

    With fewer heads than covariates in the first layer, nothing is preprocessed: gradient descent.
    """
    number("eps", eps, minimum=0.0)
    model = LinearTransformer.constructed(dimension, heads, a, b, a, torch.float32)
    generator = torch.Generator().manual_seed(integer("seed", seed, minimum=0, maximum=_LARGEST_SEED))
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(eps * torch.randn(weights.shape, generator=generator))
    return model


def _key(config: Config, model: LinearTransformer, head_mask: Mask | None) -> str:
    """Digest of everything that the numbers of a run depend on."""
    kind = (model.embed.dtype, model.embed.device.type, type(model).__name__)
    masks = [] if head_mask is None else [mask.tolist() for mask in head_mask]
    setting = (_FORMAT, torch.__version__, config, kind, masks)
    # a given model need not have the heads of the configuration: its shapes count too
    shaped = ((f"{name}{tuple(values.shape)}", values) for name, values in model.state_dict().items())
    return digest(setting, shaped)
