"""The laws of the context: what the loss is as a function of omega and mu, chosen by name, once.

`pack` is the door. The model that it returns has a type of its own for every law, and that type selects the
law wherever it matters: in the compiled functions (`spectral_icl.kernels.law`) and in what is known of a law
in closed form, which is dispatched by the type too. Behind the door there are no names of laws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from spectral_icl.io.checks import ProblemError, choice
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.first_order import FirstOrder
from spectral_icl.kernels.model import Model
from spectral_icl.multitask.problem import Problem

Packer = Callable[[Problem], Model]

DEFAULT = "asymptotic"
OLD_NAMES = {"large-L": "asymptotic"}  # understood wherever a law is named
LAWS: dict[str, Packer] = {}


def law(name: str) -> Callable[[Packer], Packer]:
    """Decorator of the function that packs problems for the law of that name."""

    def register(pack: Packer) -> Packer:
        LAWS[name] = pack
        return pack

    return register


@law("asymptotic")
def _asymptotic(problem: Problem) -> Asymptotic:
    """The law of Chen, Sheen, Wang and Yang (2024): L and d large."""
    kappa = np.array(problem.covariance)
    return Asymptotic(
        kappa=kappa,
        weight=np.array(problem.block_sizes, dtype=np.float64) * kappa**2,
        signal=np.array(problem.signal),
        variance=np.array(problem.variance),
        noise=np.array(problem.noise),
        inverse_length=1.0 / problem.context_length,
    )


@law("first-order")
def _first_order(problem: Problem) -> FirstOrder:
    """The law that is complete to order 1/L at any dimension."""
    sizes, signal = np.array(problem.block_sizes, dtype=np.float64), np.array(problem.signal)
    used = signal > 0.0
    order = np.argsort(sizes, kind="stable")
    by_size = sizes[order]
    return FirstOrder(
        kappa=np.array(problem.covariance),
        sizes=sizes,
        signal=signal,
        variance=np.array(problem.variance),
        noise=np.array(problem.noise),
        inverse_length=1.0 / problem.context_length,
        count=used.sum(axis=1),
        block=np.argsort(~used, axis=1, kind="stable"),
        order=order,
        last=np.append(by_size[1:] != by_size[:-1], True).astype(np.int64),
    )


def check_kernel(kernel: str) -> str:
    """The name of a law, in place of an old one of the same law.

    Raises
    ------
    ProblemError
        It names no law.
    """
    if isinstance(kernel, str) and kernel == "exact" and kernel not in LAWS:
        raise ProblemError(
            "kernel", kernel, "'asymptotic' or 'first-order' (no exact finite-length kernel yet)"
        )
    known = OLD_NAMES.get(kernel, kernel) if isinstance(kernel, str) else kernel
    return choice("kernel", known, tuple(LAWS))


def pack(problem: Problem, kernel: str = DEFAULT) -> Model:
    """The problem as a model of the law named ``kernel``: the arrays that the compiled functions take.

    They are read-only and kept with the problem: every flow, loss and optimum of it asks for them.

    Raises
    ------
    ProblemError
        There is no such law.
    """
    kept, packer = problem.kept, LAWS[check_kernel(kernel)]
    if packer not in kept:
        kept[packer] = frozen(packer(problem))
    model: Model = kept[packer]
    return model


def pack_all(problems: Sequence[Problem], kernel: str, count: int) -> Model:
    """``count`` problems, or one that stands for all, as one model whose arrays have a first axis of them."""
    packer = LAWS[check_kernel(kernel)]
    one_by_one: Any = [packer(problem) for problem in problems]  # not kept: they are copied here
    stacked = (np.array(values) for values in zip(*one_by_one, strict=True))
    each = (np.broadcast_to(values, (count, *values.shape[1:])).copy() for values in stacked)
    made: Model = type(one_by_one[0])(*each)
    return frozen(made)  # so that what is compiled for one model serves each of these


def frozen(model: Model) -> Model:
    """The model, its arrays made read-only: for numba a type of its own, so that all models must be."""
    for values in model:
        if isinstance(values, np.ndarray):
            values.setflags(write=False)
    return model


def unknown(model: Model, what: str) -> NoReturn:
    """Refuse what is not known of the law of a model.

    Raises
    ------
    ProblemError
        Always; ``what`` is not known.
    """
    raise ProblemError("kernel", type(model).__name__, f"a law of the context with {what}")
