"""How the semi-singular values are made of trained weights, and the dual coordinates that follow.

With omega = c k q and mu = o v the gradient flow of (k, q, o, v) conserves |k^2 - q^2| and |v^2 - o^2|
and closes in (omega, mu) as a mirror flow. Its dual coordinates x obey dx/dt = -speed * dloss/dtheta with a
constant speed, which is what the integrator solves. Charts are made for one state or for many at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import Floats, ProblemError, array, number, single
from spectral_icl.kernels.charts import to_primal
from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Chart
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, flat, unflattened

IntArray = NDArray[np.int64]
Circuit = Literal["omega", "mu"]


_TINY = 1e-200  # imbalances below this, other than 0, would overflow the dual coordinates


class Parametrization(ABC):
    """How omega and mu are made of trained weights: what the flow and the theory ask of it.

    Attributes
    ----------
    name : str
        In files and reports.
    conserves_signs : bool
        Whether no omega or mu ever changes sign.
    trains_factors : bool
        Whether k, q, o and v are trained, rather than their products.
    """

    name: ClassVar[str]
    conserves_signs: ClassVar[bool]
    trains_factors: ClassVar[bool]

    @abstractmethod
    def chart(self, problem: Problem, at: State) -> Chart:
        """The dual coordinates around a start, or around many of one shape."""

    @abstractmethod
    def scale(self, problem: Problem) -> float:
        """The key scale c in front of the logits; 1 where it is part of what is trained."""

    def imbalance(self, circuit: Circuit) -> Floats:
        """The imbalance of a circuit, |k^2 - q^2| or |v^2 - o^2|: one number, or one per head and column."""
        return np.zeros(())


PARAMETRIZATIONS: dict[str, type[Parametrization]] = {}
P = TypeVar("P", bound=type[Parametrization])


def parametrization(name: str) -> Callable[[P], P]:
    """Decorator of the class that files and reports call by that name."""

    def register(cls: P) -> P:
        cls.name = name
        PARAMETRIZATIONS[name] = cls
        return cls

    return register


def check_parametrization(argument: str, value: object) -> Parametrization:
    """``value`` if it is a parametrization; `ProblemError` otherwise."""
    if not isinstance(value, Parametrization):
        raise ProblemError(argument, value, parametrizations())
    return value


def parametrizations() -> str:
    """The classes in words, as "Balanced, Factored or Merged"."""
    *most, last = (cls.__name__ for cls in PARAMETRIZATIONS.values())
    return f"{', '.join(most)} or {last}"


@parametrization("balanced")
@dataclass(frozen=True)
class Balanced(Parametrization):
    """k^2 = q^2 and v^2 = o^2 for every coordinate, the setting of Chen, Sheen, Wang and Yang (2024).

    omega' = -2 c |omega| G and mu' = -2 |mu| dloss/dmu with G_hb = dloss/domega_hb / d_b. Every sign is
    conserved, and an entry that starts at zero stays there.

    Parameters
    ----------
    key_scale : float, optional
        Factor c > 0 in front of the logits; (d + I)^(-1/2) if None, as in the authors' code.
    """

    conserves_signs = True
    trains_factors = True
    key_scale: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_scale", _checked_key_scale(self.key_scale))

    def chart(self, problem: Problem, at: State) -> Chart:
        """The dual coordinates omega = sign e^x, mu = sign e^z around a start."""
        return _exponential_chart(problem, at, self.key_scale)

    def scale(self, problem: Problem) -> float:
        """The key scale c."""
        return key_scale_of(problem, self.key_scale)


@parametrization("factored")
@dataclass(frozen=True)
class Factored(Parametrization):
    """k^2 and q^2 (v^2 and o^2) differ by a conserved imbalance, and signs may change.

    omega' = -c (c^2 D^2 + 4 omega^2)^(1/2) G and mu' = -(D^2 + 4 mu^2)^(1/2) dloss/dmu: the mirror flow of
    the hypentropy potential. Where an imbalance is zero the entry is `Balanced`.

    Parameters
    ----------
    imbalance_omega : float or array_like, (H, B)
        D = |k^2 - q^2| >= 0 of every head and block, before key_scale.
    imbalance_mu : float or array_like, (H, I)
        D = |v^2 - o^2| >= 0 of every head and task.
    key_scale : float, optional
        As in `Balanced`.
    """

    conserves_signs = False
    trains_factors = True
    imbalance_omega: float | tuple[tuple[float, ...], ...]
    imbalance_mu: float | tuple[tuple[float, ...], ...]
    key_scale: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_scale", _checked_key_scale(self.key_scale))
        for argument in ("imbalance_omega", "imbalance_mu"):
            value = single(getattr(self, argument))
            frozen: float | tuple[tuple[float, ...], ...]
            if np.isscalar(value) or value is None:
                frozen = number(argument, value, minimum=0.0)
            else:
                frozen = tuple(map(tuple, array(argument, value, (None, None), minimum=0.0).tolist()))
            positive = [x for x in np.ravel(frozen) if x > 0.0]
            if positive and min(positive) < _TINY:
                raise ProblemError(argument, float(min(positive)), f"0 or a number >= {_TINY:g}")
            object.__setattr__(self, argument, frozen)

    def chart(self, problem: Problem, at: State) -> Chart:
        """The dual coordinates omega = (c D / 2) sinh x, mu = (D / 2) sinh z."""
        return _hypentropy_chart(problem, at, self.key_scale, self.imbalance_omega, self.imbalance_mu)

    def scale(self, problem: Problem) -> float:
        """The key scale c."""
        return key_scale_of(problem, self.key_scale)

    def imbalance(self, circuit: Circuit) -> Floats:
        """The conserved imbalance D of a circuit."""
        return np.asarray(getattr(self, f"imbalance_{circuit}"), dtype=np.float64)


@parametrization("merged")
@dataclass(frozen=True)
class Merged(Parametrization):
    """W = c K^T Q and U = O V are trained directly: omega' = -G, mu' = -dloss/dmu."""

    conserves_signs = False
    trains_factors = False

    def chart(self, problem: Problem, at: State) -> Chart:
        """Coordinates that are the state, x = theta."""
        theta = flat(at)
        largest = np.abs(theta).max(axis=-1, keepdims=True)
        return Chart(
            kind=np.full(theta.shape, LINEAR, dtype=np.int64),
            # a small start grows exponentially, so that its relative error is what counts
            scale=np.broadcast_to(
                np.where(largest > 0.0, np.minimum(0.01, largest), 0.01), theta.shape
            ).copy(),
            speed=_speed(problem, at, 1.0, 1.0),
            sign=np.ones(theta.shape),
        )

    def scale(self, problem: Problem) -> float:
        """1: the scale is part of the merged weights."""
        return 1.0


def key_scale_of(problem: Problem, key_scale: float | None) -> float:
    """The key scale c, (d + I)^(-1/2) unless given."""
    checked = _checked_key_scale(key_scale)
    return (problem.dimension + problem.tasks) ** -0.5 if checked is None else checked


def twins(chart: Chart, x: Floats, shape: tuple[int, int, int]) -> IntArray:
    """The entry that each flat entry equals for ever, (..., N).

    Heads with the same start and the same chart are interchangeable, so the flow keeps them equal.
    """
    heads, blocks, tasks = shape
    entry = np.arange(x.shape[-1], dtype=np.int64)
    split = heads * blocks
    first = np.sort(x[..., split::tasks], axis=-1)
    if (first[..., 1:] != first[..., :-1]).all():  # heads that differ in their first mu are no twins
        twin = np.empty(x.shape, dtype=np.int64)
        twin[...] = entry
        return twin
    numbers = (np.asarray(values, dtype=np.float64) for values in (x, *chart))
    rows = np.concatenate([part for values in numbers for part in unflattened(values, shape)], axis=-1)
    leader = np.zeros(rows.shape[:-1], dtype=np.int64)
    for h in range(1, heads):  # head by head: all pairs of many flows at once would not fit in memory
        same = rows[..., : h + 1, :] == rows[..., h : h + 1, :]
        leader[..., h] = same.all(axis=-1).argmax(axis=-1)
    by_omega = entry[:split].reshape(heads, blocks)[leader]
    by_mu = entry[split:].reshape(heads, tasks)[leader]
    return np.concatenate([part.reshape(*x.shape[:-1], -1) for part in (by_omega, by_mu)], axis=-1)


def tied_heads(twin: IntArray, shape: tuple[int, int, int]) -> tuple[tuple[int, ...], ...]:
    """Groups of heads that are equal for ever, from the `twins` of one flow."""
    heads, blocks, _ = shape
    groups: dict[int, list[int]] = {}
    for head, first in enumerate((twin[: heads * blocks : blocks] // blocks).tolist()):
        groups.setdefault(first, []).append(head)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def to_dual(chart: Chart, at: State) -> Floats:
    """The dual coordinates x (..., N) of states: the inverse of `spectral_icl.kernels.charts.to_primal`."""
    theta = flat(at)
    x = theta.copy()
    exponential = chart.kind == EXPONENTIAL
    moving = exponential & (theta != 0.0)
    x[moving] = np.log(np.abs(theta[moving]))
    hyperbolic = chart.kind == HYPERBOLIC
    with np.errstate(over="ignore"):  # infinite where the chart cannot hold it: no flow starts there
        x[hyperbolic] = np.arcsinh(theta[hyperbolic] / chart.scale[hyperbolic])
    return x


def to_primal_state(chart: Chart, at: State) -> State:
    """A start as its flow has it at time 0: through the dual coordinates and back, which rounds."""
    theta = np.empty(chart.kind.size)
    to_primal(chart, to_dual(chart, at), theta)
    return unflattened(theta, (*at.omega.shape, at.mu.shape[-1]))


def _checked_key_scale(key_scale: float | None) -> float | None:
    return None if key_scale is None else number("key_scale", key_scale, minimum=0.0, above=True)


def _like(at: State, omega: ArrayLike, mu: ArrayLike) -> Floats:
    """Numbers for every entry of states, from what can be broadcast to their omega and mu: flat."""
    whole = State(np.empty(at.omega.shape), np.empty(at.mu.shape))
    whole.omega[...] = omega
    whole.mu[...] = mu
    return flat(whole)


def _speed(problem: Problem, at: State, omega_speed: float, mu_speed: float) -> Floats:
    return _like(at, omega_speed / np.array(problem.block_sizes, dtype=np.float64), mu_speed)


def _exponential_chart(problem: Problem, at: State, key_scale: float | None) -> Chart:
    """The chart of states without imbalance: theta = sign e^x, and what is zero stays there."""
    theta = flat(at)
    sign = np.sign(theta)
    zero = sign == 0.0
    speed = _speed(problem, at, 2.0 * key_scale_of(problem, key_scale), 2.0)
    speed[zero] = 0.0
    return Chart(
        kind=np.full(theta.shape, EXPONENTIAL, dtype=np.int64),
        scale=sign,
        speed=speed,
        sign=np.where(zero, 1.0, sign),
    )


def _hypentropy_chart(
    problem: Problem,
    at: State,
    key_scale: float | None,
    imbalance_omega: ArrayLike,
    imbalance_mu: ArrayLike,
) -> Chart:
    """The chart of states with imbalances: theta = (half the imbalance) sinh x, exponential where it is 0."""
    for argument, imbalance, values in (
        ("imbalance_omega", imbalance_omega, at.omega),
        ("imbalance_mu", imbalance_mu, at.mu),
    ):
        if np.shape(imbalance) not in ((), values.shape[-2:]):
            wanted = f"a number or shape {values.shape[-2:]}"
            raise ProblemError(argument, f"shape {np.shape(imbalance)}", wanted)
    c = key_scale_of(problem, key_scale)
    half = _like(at, 0.5 * c * np.asarray(imbalance_omega), 0.5 * np.asarray(imbalance_mu))
    balanced = _exponential_chart(problem, at, key_scale)
    exponential = half == 0.0
    return Chart(
        kind=np.where(exponential, balanced.kind, HYPERBOLIC),
        scale=np.where(exponential, balanced.scale, half),
        speed=np.where(exponential, balanced.speed, _speed(problem, at, 2.0 * c, 2.0)),
        sign=np.where(exponential, balanced.sign, 1.0),
    )
