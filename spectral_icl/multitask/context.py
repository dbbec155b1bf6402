"""The laws of the context: what the loss is as a function of omega and mu, chosen by name, once.

`pack` is the door. The model that it returns has a type of its own for every law, and that type selects the
law wherever it matters: in the compiled functions (`spectral_icl.kernels.law`) and in what is known of a law
in closed form, which is dispatched by the type too. Behind the door there are no names of laws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats, ProblemError, choice
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.first_order import FirstOrder
from spectral_icl.kernels.model import Model, frozen
from spectral_icl.kernels.structured.asymptotic import AsymptoticSignals
from spectral_icl.kernels.structured.first_order import FirstOrderSignals
from spectral_icl.multitask.exact.packing import packed, reach_of, usual_reach
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import MOST_DENSE

Packer = Callable[[Problem], Model]

DEFAULT = "asymptotic"
EXACT = "exact"  # the law of softmax attention itself
OLD_NAMES = {"large-L": "asymptotic"}  # understood wherever a law is named
LAWS: dict[str, Packer] = {}
OF_LARGE: dict[str, Large] = {}
_MOST_SIGNALS = 2**16  # I B, up to which a problem is packed with all of its powers
_COARSER = 0.25  # of the reach of a table, of which one that is enough for what is left is worth a change


def law(name: str) -> Callable[[Packer], Packer]:
    """Decorator of the function that packs problems for the law of that name."""

    def register(pack: Packer) -> Packer:
        LAWS[name] = pack
        return pack

    return register


class Large(NamedTuple):
    """How a law solves large problems without a Hessian, and from where on that is faster.

    Attributes
    ----------
    pack : callable
        Packs a problem with its nonzero signals alone.
    least, per_coupling : float
        Products with the Hessian are faster than its factor where N^3 is above ``least``, N = H (B + I), and
        of overlapping tasks ``per_coupling`` H^2 M more, M the number of nonzero signals. By measurement.
    """

    pack: Packer
    least: float
    per_coupling: float


def structured(name: str, least: float, per_coupling: float) -> Callable[[Packer], Packer]:
    """Decorator of the function that packs large problems for the law of that name; see `Large`."""

    def register(pack: Packer) -> Packer:
        OF_LARGE[name] = Large(pack, least, per_coupling)
        return pack

    return register


def _of_tasks(problem: Problem) -> dict[str, Any]:
    """What every law in closed form has of the tasks and the covariates."""
    return {
        "kappa": np.array(problem.covariance),
        "variance": np.array(problem.variance),
        "noise": np.array(problem.noise),
        "inverse_length": 1.0 / problem.context_length,
    }


@law("asymptotic")
def _asymptotic(problem: Problem) -> Asymptotic:
    """The law of Chen, Sheen, Wang and Yang (2024): L and d large."""
    return Asymptotic(
        weight=np.array(problem.logit_weight),
        signal=np.array(problem.signal),
        **_of_tasks(problem),
    )


def _over_signals(problem: Problem) -> dict[str, Any]:
    """The arrays over the nonzero signals of a problem; see `spectral_icl.kernels.structured.signals`."""
    signal = problem.signal
    task, block = np.array(signal.task), np.array(signal.block)
    every = np.arange(task.size)
    return {
        "power": np.array(signal.power),
        "task": task,
        "block": block,
        "first": np.array(signal.first),
        "order": np.argsort(block, kind="stable"),
        "start": np.searchsorted(np.sort(block), np.arange(problem.blocks + 1)),
        "aligned": int(np.array_equal(task, every) and np.array_equal(block, every)),
    }


@structured("asymptotic", 2e6, 8e3)
def _asymptotic_signals(problem: Problem) -> AsymptoticSignals:
    """The asymptotic law of a large problem."""
    return AsymptoticSignals(
        weight=np.array(problem.logit_weight),
        **_of_tasks(problem),
        **_over_signals(problem),
    )


@law("first-order")
def _first_order(problem: Problem) -> FirstOrder:
    """The law that is complete to order 1/L at any dimension."""
    sizes, signal = np.array(problem.block_sizes, dtype=np.float64), np.array(problem.signal)
    used = signal > 0.0
    order = np.argsort(sizes, kind="stable")
    by_size = sizes[order]
    return FirstOrder(
        sizes=sizes,
        signal=signal,
        **_of_tasks(problem),
        count=used.sum(axis=1),
        block=np.argsort(~used, axis=1, kind="stable"),
        order=order,
        last=np.append(by_size[1:] != by_size[:-1], True).astype(np.int64),
    )


@structured("first-order", 4e6, 2e4)
def _first_order_signals(problem: Problem) -> FirstOrderSignals:
    """The first-order law of a large problem."""
    return FirstOrderSignals(
        sizes=np.array(problem.block_sizes, dtype=np.float64),
        **_of_tasks(problem),
        **_over_signals(problem),
    )


@law(EXACT)
def _exact(problem: Problem) -> Exact:
    """The law of softmax attention itself, with the table that flows from small starts need."""
    return packed(problem, usual_reach(problem))


def check_kernel(kernel: str) -> str:
    """The name of a law, in place of an old one of the same law.

    Raises
    ------
    ProblemError
        It names no law.
    """
    known = OLD_NAMES.get(kernel, kernel) if isinstance(kernel, str) else kernel
    return choice("kernel", known, tuple(LAWS))


def pack(
    problem: Problem,
    kernel: str = DEFAULT,
    omega: Floats | None = None,
    *,
    heads: int | None = None,
    by_products: bool = False,
) -> Model:
    """The problem as a model of the law named ``kernel``: the arrays that the compiled functions take.

    They are read-only and kept with the problem: every flow, loss and optimum of it asks for them. A law that
    has a table is packed with one that knows the logits of heads ``omega`` (..., H, B), if they are given.
    Large problems are packed with their nonzero signals alone, and so are those of flows with so many
    ``heads`` that products with the Hessian are faster than its factor, or where they are asked for.

    Raises
    ------
    ProblemError
        There is no such law.
    """
    name = check_kernel(kernel)
    packer = OF_LARGE[name].pack if by_products or _is_large(problem, name, heads) else LAWS[name]
    model = _kept(problem, packer, lambda: packer(problem))
    return model if omega is None else reaching(model, problem, omega)


def _is_large(problem: Problem, name: str, heads: int | None) -> bool:
    """Whether a problem is packed with its nonzero signals alone."""
    if name not in OF_LARGE:
        return False
    known, count = OF_LARGE[name], heads or 1
    size = count * (problem.tasks + problem.blocks)
    couplings = 0 if problem.home is not None else problem.signal.power.size * count**2
    by_products = heads is not None and size**3 > known.least + known.per_coupling * couplings
    return by_products or size > MOST_DENSE or problem.signal.entries > _MOST_SIGNALS


def _kept(problem: Problem, key: object, make: Callable[[], Model]) -> Model:
    """A model that is kept with the problem, made where it is not."""
    if key not in problem.kept:
        problem.kept[key] = frozen(make())
    model: Model = problem.kept[key]
    return model


@singledispatch
def reaching(model: Model, problem: Problem, omega: Floats) -> Model:
    """A model of the same law for heads omega (..., H, B): the same one, of a law in closed form."""
    return model


@reaching.register
def _(model: Exact, problem: Problem, omega: Floats) -> Model:
    reach = reach_of(problem, omega)
    return model if reach <= model.reach else _reaching_up_to(problem, reach)


@singledispatch
def wider(model: Model, problem: Problem) -> Model | None:
    """A model of the same law that serves larger states; None if there is none."""
    return None


@wider.register
def _(model: Exact, problem: Problem) -> Model | None:
    further = [reach for reach in REACHES if reach > model.reach]
    return _reaching_up_to(problem, further[0]) if further else None


@singledispatch
def narrowing(model: Model, problem: Problem, heads: Callable[[], Floats]) -> tuple[int, Model] | None:
    """From which of the heads (T, H, B) of a flow on a much more exact model serves, and that model.

    ``heads`` is called by laws that have such models.
    """
    return None


@narrowing.register
def _(model: Exact, problem: Problem, heads: Callable[[], Floats]) -> tuple[int, Model] | None:
    omega = heads()
    reach = max(reach_of(problem, omega[-1]), usual_reach(problem))
    if not reach <= _COARSER * float(model.reach):
        return None
    fits = np.array([reach_of(problem, each) <= reach for each in omega])
    return int(np.flatnonzero(~fits)[-1]) + 1 if not fits.all() else 0, _reaching_up_to(problem, reach)


def fitting(problem: Problem, omega: Floats) -> Exact:
    """The exact law with the first table that knows heads omega (..., H, B), as no flow of them needs it."""
    model: Any = _reaching_up_to(problem, reach_of(problem, omega))
    found: Exact = model
    return found


def _reaching_up_to(problem: Problem, reach: float) -> Model:
    return _kept(problem, (Exact, reach), lambda: packed(problem, reach))


def pack_all(problems: Sequence[Problem], kernel: str, count: int, omega: Floats | None = None) -> Model:
    """``count`` problems, or one that stands for all, as one model whose arrays have a first axis of them.

    With heads ``omega`` (count, H, B), or (1, H, B) for all, each serves its own.
    """
    name = check_kernel(kernel)
    if omega is None or name != EXACT:
        return stack([LAWS[name](problem) for problem in problems], count)  # not kept: they are copied here
    each = max(len(problems), len(omega))
    chosen = [(problems[k % len(problems)], omega[k % len(omega)]) for k in range(each)]
    return stack([pack(problem, kernel, heads) for problem, heads in chosen], count)


@singledispatch
def wider_all(
    models: Model, problems: Sequence[Problem], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Model]:
    """Those of some members, whose ``problems`` these are, that have a wider model, and these models."""
    return members[:0], models


@wider_all.register
def _(
    models: Exact, problems: Sequence[Problem], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Model]:
    reaches: Any = models.reach
    has_more = reaches[members] < REACHES[-1]
    further = [
        _reaching_up_to(problem, REACHES[REACHES.index(reaches[member]) + 1])
        for member, problem, more in zip(members, problems, has_more, strict=True)
        if more
    ]
    return members[has_more], stack(further, len(further)) if further else models


def with_rows(models: Any, members: NDArray[np.int64], others: Any) -> Model:
    """Models of many problems with those of some members replaced."""
    parts = []
    for values, new in zip(models, others, strict=True):
        width = max(values.shape[1:2] + new.shape[1:2], default=0)
        whole = np.zeros((len(values), *((width, *values.shape[2:]) if width else ())), dtype=values.dtype)
        whole[(slice(None), slice(values.shape[1])) if width else slice(None)] = values
        for member, row in zip(members, new, strict=True):
            whole[member] = 0
            whole[(member, slice(new.shape[1])) if width else member] = row
        parts.append(whole)
    return frozen(type(models)(*parts))


def stack(models: Sequence[Any], count: int) -> Model:
    """Models of one law, ``count`` or one that stands for all, as one with a first axis of them."""
    stacked = (_side_by_side(values) for values in zip(*models, strict=True))
    each = (np.broadcast_to(values, (count, *values.shape[1:])).copy() for values in stacked)
    made: Model = type(models[0])(*each)
    return frozen(made)  # so that what is compiled for one model serves each of these


def _side_by_side(values: Sequence[Any]) -> Any:
    """Arrays of equal shapes as one; those whose first axes differ are filled up with zeros."""
    arrays = [np.asarray(value) for value in values]
    most = max((len(array) for array in arrays if array.ndim), default=0)
    if all(array.ndim == 0 or len(array) == most for array in arrays):
        return np.array(arrays)
    made = np.zeros((len(arrays), most, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for row, array in zip(made, arrays, strict=True):
        row[: len(array)] = array
    return made


def unknown(model: Model, what: str) -> NoReturn:
    """Refuse what is not known of the law of a model.

    Raises
    ------
    ProblemError
        Always; ``what`` is not known.
    """
    raise ProblemError("kernel", type(model).__name__, f"a law of the context with {what}")
