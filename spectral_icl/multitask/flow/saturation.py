"""Whether a flow stayed where its law describes softmax attention, and how far off it is there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.first_order import FirstOrder
from spectral_icl.kernels.model import Model
from spectral_icl.kernels.phases import POINTS
from spectral_icl.multitask.accuracy import excess_errors, terms_at
from spectral_icl.multitask.context import EXACT, check_kernel, unknown
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.flow.outline import Outline

# Logit variance in units of log L: above LIMIT the weights of the softmax are so unequal that no series in
# 1/L describes them; at FREEZING it condenses on single context pairs.
LIMIT, FREEZING = 0.5, 2.0
ACCURATE, APPROXIMATE = 0.1, 0.5  # relative error of the excess up to which a law is called so
_POINTS = 4  # of every step, at which logits are watched
_FEWEST_TIMES, _MOST_TIMES = 8, 400  # at which the error is estimated
_MOST_PAIRS = 2_000_000  # of heads at all these times, which take a second or so
_CHECKED = 12  # times at which the errors of the exact law are estimated
_RISE = 1e-3  # relative rise of the loss of a flow, which descends it, that is an error


@dataclass(frozen=True)
class Saturation:
    """Size of the logits along a flow, and the error of its law of the context.

    Attributes
    ----------
    level : {"accurate", "approximate", "unreliable", "invalid"}
        Whether the excess is within 10 % of softmax attention's, within 50 %, further off or nobody knows how
        far, or the softmax saturates and the law is left behind, as a law in 1/L is and the exact law is not.
    left_at : float or None
        First time the logit variance a exceeded log(L) / 2, or None.
    worst : float
        Largest logit variance, max over heads and times of a_h = sum_b d_b kappa_b^2 omega_hb^2.
    worst_at : float
        When.
    ratio : float
        ``worst`` / log L: in range up to 0.5, frozen at 2; infinite at L = 1.
    law : str
        The law of the context.
    excess_error, noise_error : float
        Estimated relative error of the law's excess (the loss without query noise) and of its noise term,
        where that of the excess is largest. Infinite where there is no telling. Of the exact law: what its
        table and its rule for the query leave open, estimated by the errors of the table at pairs of heads
        that it was not fitted to and by the rule one level up.
    excess_ratio, noise_ratio : float
        Excess and noise term there by the first-order law over those of the flow's law; 1 if it is that law.
    beyond : float
        Estimated relative error of the first-order noise term there: where it is not small, first order in
        1/L is not enough.
    error_at : float
        When; ``lost_at``, first time that there is no telling, or None.
    final_error : float
        Estimated relative error of the excess at the end of the flow.
    rise : float
        Most by which the computed loss rises on the way, relative to its lowest before, and when (`rise_at`,
        or None); looked for where the law is left behind. A flow descends its loss, but past the range of the
        law tolerated errors of omega and mu can be large errors of the loss, above all between steps.
    """

    level: str
    left_at: float | None
    worst: float
    worst_at: float
    ratio: float
    law: str
    excess_error: float
    noise_error: float
    excess_ratio: float
    noise_ratio: float
    beyond: float
    error_at: float
    lost_at: float | None
    final_error: float
    rise: float
    rise_at: float | None

    @property
    def valid(self) -> bool:
        """Whether the flow stayed inside the law's range; ``level`` says how good the law is there."""
        return self.level != "invalid"

    @property
    def trusted(self) -> bool:
        """Whether the law's excess is within 50 % of softmax attention's along the flow."""
        return self.level in ("accurate", "approximate")

    def __str__(self) -> str:
        return "; ".join(self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """What is to be said of it, a sentence each."""
        size = f"logit variance at most {self.worst:.3g}"
        if np.isfinite(self.ratio):
            size += f" = {self.ratio:.3g} log L"
        if np.isfinite(self.ratio) or np.isinf(self.worst):
            reach = f"laws in 1/L hold below {LIMIT:g} log L, and softmax freezes at {FREEZING:g} log L"
        else:
            reach = "laws in 1/L do not hold where L = 1: a single pair has all of the attention"
        if self.level == "invalid":
            return (
                f"the softmax saturates, first at t = {self.left_at:.6g}: {self.law} law left behind",
                f"{size} (t = {self.worst_at:.6g})",
                reach,
                f"the loss there is not that of softmax attention{self._end}",
                *self._rises,
            )
        if self.law == EXACT:
            return (*self._exact, size)
        known = np.isfinite(self.excess_error)
        trust = f"{self.law} law" if self.trusted else f"{self.law} law NOT to be trusted"
        if known:
            worst, end = _percent(self.excess_error), _percent(self.final_error)
            excess = f"excess within {worst} of softmax attention's ({end} at the end)"
            found = [f"{trust}: {excess}; noise term {_percent(self.noise_error)}"]
        else:
            found = [f"{trust}: how far it is off is not known at t = {self.lost_at:.4g}{self._end}"]
        if not np.isfinite(self.noise_ratio):
            found.append("there is no first-order law there to tell, 2 (kappa_b omega_hb)^2 >= 1")
        else:
            if self.law != "first-order":
                times = (
                    f"{self.noise_ratio:.3g} times the noise term, {self.excess_ratio:.3g} times the excess"
                )
                found.append(f"first-order law: {times} (at worst, t = {self.error_at:.4g})")
            if self.beyond > ACCURATE:
                more = (
                    f", what follows it is up to {_percent(self.beyond)}" if np.isfinite(self.beyond) else ""
                )
                found.append(f"first order in 1/L is not enough here{more}")
        return (*found, size)

    @property
    def _exact(self) -> tuple[str, ...]:
        """How exact the exact law is, and what the softmax does."""
        if not np.isfinite(self.excess_error):
            found = [
                f"exact law: how far table and query rule are off is not known at t = {self.lost_at:.4g}"
            ]
        else:
            worst, end = f"{100.0 * self.excess_error:.1g} %", f"{100.0 * self.final_error:.1g} %"
            trust = "" if self.trusted else " NOT to be trusted"
            found = [
                f"exact law{trust}: table and query rule leave {worst} of the excess open, {end} at the end"
            ]
        if self.left_at is not None:
            found.append(f"the softmax saturates from t = {self.left_at:.6g} on, where laws in 1/L end")
        return (*found, *self._rises)

    @property
    def _rises(self) -> tuple[str, ...]:
        """Whether the loss on the way is lost in the errors of the state."""
        if not self.rise > _RISE:
            return ()
        rise = f"the computed loss, which a flow descends, rises {1.0 + self.rise:.3g}-fold"
        return (f"{rise} (t = {self.rise_at:.6g})", "dense output and phases there are not to be trusted")

    @property
    def _end(self) -> str:
        """How good the law is at the end of the flow."""
        if not np.isfinite(self.final_error):
            return ", nor at the end"
        return f", at the end its excess is within {_percent(self.final_error)}"


def _percent(error: float) -> str:
    """A relative error in words."""
    if not np.isfinite(error):
        return "unknown"
    return f"{100.0 * error:.2g} %" if error < 1.0 else f"{100.0 * error:.0f} %"


class _Told(NamedTuple):
    """What is told of the error of a law along a flow: fields of `Saturation`."""

    excess_error: float
    noise_error: float
    excess_ratio: float
    noise_ratio: float
    beyond: float
    error_at: float
    lost_at: float | None
    final_error: float


def measure(trajectory: Curve) -> Saturation:
    """The saturation of a trajectory, watched on a refinement of its steps."""
    problem, law = trajectory.problem, check_kernel(trajectory.kernel)
    log_length = float(np.log(problem.context_length))
    times, variances = trajectory.logit_variances(_POINTS)
    variance = variances.max(axis=-1)
    top = int(variance.argmax())
    worst = float(variance[top])
    beyond = np.flatnonzero(variance > LIMIT * log_length)
    if isinstance(trajectory, Outline):
        told = _told_of_few(trajectory, float(times[top]))
    else:
        told = (_told_of_exact if law == EXACT else _told)(trajectory, times, top)
    rise, rise_at = _rise(trajectory) if beyond.size else (0.0, None)
    if beyond.size and law != EXACT:
        level = "invalid"
    elif told.excess_error <= ACCURATE:
        level = "accurate"
    else:
        level = "approximate" if told.excess_error <= APPROXIMATE else "unreliable"
    return Saturation(
        level=level,
        left_at=float(times[beyond[0]]) if beyond.size else None,
        worst=worst,
        worst_at=float(times[top]),
        ratio=float(in_logs(log_length, worst)),
        law=law,
        **told._asdict(),
        rise=rise,
        rise_at=rise_at,
    )


def _told(trajectory: Curve, times: Floats, top: int) -> _Told:
    """The errors of a law in 1/L, at some of the times."""
    # a power of two, so that the nodes are among them as long as there are not too many
    most = min(_MOST_TIMES, max(_FEWEST_TIMES, _MOST_PAIRS // trajectory.heads**2))
    stride = 1 << max(0, int(np.ceil(np.log2(times.size / most))))
    chosen = np.unique(np.append(np.arange(0, times.size, stride), [top, times.size - 1]))
    return _at_worst(trajectory, times[chosen])


def _told_of_few(trajectory: Outline, worst: float) -> _Told:
    """The errors of a law in 1/L at the end of a large flow, and near its largest logits."""
    middle, end = trajectory.kept[[trajectory.kept.size // 2, -1]]
    return _at_worst(trajectory, np.unique([trajectory.nearest(worst), middle, end]))


def _at_worst(trajectory: Curve, times: Floats) -> _Told:
    """The errors of a law in 1/L at some times, where they are largest and at the last one."""
    law = check_kernel(trajectory.kernel)
    found = terms_at(trajectory.problem, trajectory(times))
    errors = found.excess_error(law)
    with np.errstate(all="ignore"):  # of states beyond all laws
        ratios = np.nan_to_num(found.first_order / found.noise(law), nan=1.0, posinf=np.inf)
    unknown_at = np.flatnonzero(np.isinf(errors))
    at = int(unknown_at[ratios[unknown_at].argmax()] if unknown_at.size else errors.argmax())
    noise, bias = float(found.noise(law)[at]), float(found.bias[at])
    first = float(found.first_order[at])
    return _Told(
        excess_error=float(errors[at]),
        noise_error=float(found.noise_error(law)[at]),
        excess_ratio=_over(bias + first, bias + noise),
        noise_ratio=_over(first, noise),
        beyond=float(found.beyond[at]),
        error_at=float(times[at]),
        lost_at=float(times[unknown_at[0]]) if unknown_at.size else None,
        final_error=float(errors[-1]),
    )


def _told_of_exact(trajectory: Curve, times: Floats, top: int) -> _Told:
    """What its table and its rule for the query leave open of the exact law, at some of the times."""
    chosen = np.unique(np.append(np.linspace(0, times.size - 1, _CHECKED).astype(np.int64), top))
    errors = excess_errors(trajectory.problem, trajectory(times[chosen]), EXACT)
    at = int(errors.argmax())
    unknown_at = np.flatnonzero(np.isinf(errors))
    return _Told(
        excess_error=float(errors[at]),
        noise_error=float(errors[at]),
        excess_ratio=1.0,
        noise_ratio=1.0,
        beyond=0.0,
        error_at=float(times[chosen[at]]),
        lost_at=float(times[chosen[unknown_at[0]]]) if unknown_at.size else None,
        final_error=float(errors[-1]),
    )


def _rise(trajectory: Curve) -> tuple[float, float | None]:
    """The largest rise of the loss along a flow, relative to its lowest before, and when."""
    times, by_task = trajectory.sampled(POINTS)
    losses = by_task.sum(axis=1)
    with np.errstate(all="ignore"):  # of states beyond all laws
        lowest = np.fmin.accumulate(losses)
        rises = np.nan_to_num((losses - lowest) / np.abs(lowest))
    top = int(rises.argmax())
    return float(rises[top]), float(times[top]) if rises[top] > 0.0 else None


def _over(value: float, unit: float) -> float:
    """A ratio, 1 of nothing over nothing."""
    return 1.0 if value == unit else value / unit if unit else np.inf


@singledispatch
def saturation_of(models: Model, tilt: Floats) -> Floats:
    """How far P flows went in their law's range, (P,), from the largest `law.largest_tilt` that each met.

    The range ends at `LIMIT`: of laws in 1/L this is `Saturation.ratio`, the largest logit variance over
    log L; of the exact law, whose tables end at a logit variance of 64 at any length, it is that over 128.
    """
    unknown(models, "a known range")


@saturation_of.register
def _(models: Asymptotic, tilt: Floats) -> Floats:
    return in_logs(-np.log(models.inverse_length), np.log(tilt))


@saturation_of.register
def _(models: Exact, tilt: Floats) -> Floats:
    return tilt * (LIMIT / REACHES[-1])


@saturation_of.register
def _(models: FirstOrder, tilt: Floats) -> Floats:
    return in_logs(-np.log(models.inverse_length), tilt)


def in_logs(log_length: ArrayLike, variance: ArrayLike) -> Floats:
    """Logit variances in units of log L: infinite at L = 1, where no law in 1/L holds, unless they are 0."""
    length, size = np.asarray(log_length), np.asarray(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0.0, size / length, np.where(size > 0.0, np.inf, 0.0))
