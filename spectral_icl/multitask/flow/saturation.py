"""Whether a flow stayed where the large-L kernel describes softmax attention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.model import Model
from spectral_icl.multitask.context import unknown
from spectral_icl.multitask.flow.trajectory import Trajectory

# In units of log L. Below ACCURATE the noise term of the kernel, e^a / L, is within about 10 % of the
# softmax's; above LIMIT it is more than 50 % too large (the tests sample the softmax, for L from 40 to 400);
# at FREEZING the softmax condenses on single context pairs and the kernel means nothing.
ACCURATE, LIMIT, FREEZING = 0.2, 0.5, 2.0


@dataclass(frozen=True)
class Saturation:
    """Size of the logits along a flow, against the range of the large-L kernel.

    Attributes
    ----------
    level : {"accurate", "approximate", "invalid"}
        Kernel good to about 10 %, to about 50 %, or left behind.
    left_at : float or None
        First time the logit variance a exceeded log(L) / 2, or None.
    worst : float
        Largest logit variance, max over heads and times of a_h = sum_b d_b kappa_b^2 omega_hb^2.
    worst_at : float
        When.
    ratio : float
        ``worst`` / log L: trusted up to 0.5, frozen at 2.
    """

    level: str
    left_at: float | None
    worst: float
    worst_at: float
    ratio: float

    @property
    def valid(self) -> bool:
        """Whether the flow stayed inside the kernel's range."""
        return self.level != "invalid"

    def __str__(self) -> str:
        if self.level == "invalid":
            when = f"left the large-L kernel's range at t = {self.left_at:.6g}: "
            return (
                f"{when}logit variance up to {self.worst:.3g} = {self.ratio:.3g} log L at "
                f"t = {self.worst_at:.6g}, where the kernel holds below {LIMIT:g} log L and softmax "
                f"freezes at {FREEZING:g} log L; the later loss is not that of softmax attention"
            )
        accuracy = "about 10 %" if self.level == "accurate" else "some 10 to 50 %"
        return (
            f"large-L kernel in range, its noise term good to {accuracy}: "
            f"logit variance at most {self.worst:.3g} = {self.ratio:.3g} log L"
        )


def measure(trajectory: Trajectory) -> Saturation:
    """The saturation of a trajectory, watched on a refinement of its steps."""
    log_length = np.log(trajectory.problem.context_length)
    times = trajectory.refined(4)
    variance, spread = logits(trajectory.model, trajectory(times).omega)
    top = int(variance.argmax())
    worst = float(variance[top])
    beyond = np.flatnonzero(variance > LIMIT * log_length)
    if beyond.size:
        level = "invalid"
    elif spread.max() > ACCURATE * log_length:
        level = "approximate"
    else:
        level = "accurate"
    return Saturation(
        level=level,
        left_at=float(times[beyond[0]]) if beyond.size else None,
        worst=worst,
        worst_at=float(times[top]),
        ratio=worst / log_length if log_length > 0.0 else (np.inf if worst > 0.0 else 0.0),
    )


@singledispatch
def logits(model: Model, omega: Floats) -> tuple[Floats, Floats]:
    """Size of the logits of states ``omega`` (T, H, B), by which the range of the model's law is watched.

    Returns
    -------
    variance : ndarray, (T,)
        Largest of any head.
    spread : ndarray, (T,)
        Largest mean over the query, whose norm fluctuates.
    """
    unknown(model, "a known range")


@logits.register
def _(model: Asymptotic, omega: Floats) -> tuple[Floats, Floats]:
    kappa2, square = model.kappa**2, omega**2
    variance: Floats = (square @ model.weight).max(axis=-1)
    # The query's own fluctuations (finite block size) widen the logits: E over q of e^a.
    with np.errstate(divide="ignore", invalid="ignore"):
        widened = np.where(2.0 * kappa2 * square < 1.0, square / (1.0 - 2.0 * kappa2 * square), np.inf)
    with np.errstate(invalid="ignore"):
        spread = np.where(model.weight * square > 0.0, model.weight * widened, 0.0).sum(axis=-1).max(axis=-1)
    return variance, spread


@singledispatch
def saturation_of(models: Model, tilt: Floats) -> Floats:
    """`Saturation.ratio` of P flows, (P,), from the largest E_hh that each of them met."""
    unknown(models, "a known range")


@saturation_of.register
def _(models: Asymptotic, tilt: Floats) -> Floats:
    length, variance = -np.log(models.inverse_length), np.log(tilt)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0.0, variance / length, np.where(variance > 0.0, np.inf, 0.0))
