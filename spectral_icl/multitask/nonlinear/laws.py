"""The laws of the context that single-index tasks have, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from spectral_icl.io.checks import Floats, choice
from spectral_icl.multitask.context import OLD_NAMES
from spectral_icl.multitask.nonlinear import asymptotic, first_order
from spectral_icl.multitask.nonlinear.problem import SingleIndex


class Law(NamedTuple):
    """What prompts of finite length add to the loss of a task, mu^T N mu - 2 n^T mu.

    Attributes
    ----------
    noise : callable
        Of a problem and omega (H, I): N, (I, H, H), symmetric, and n, (I, H).
    slope : callable
        Of a problem, omega and mu: N, n, and the derivatives of the sum over tasks by omega, (H, I).
    """

    noise: Callable[[SingleIndex, Floats], tuple[Floats, Floats]]
    slope: Callable[[SingleIndex, Floats, Floats], tuple[Floats, Floats, Floats]]


LAWS = {
    "asymptotic": Law(asymptotic.noise, asymptotic.slope),
    "first-order": Law(first_order.noise, first_order.slope),
}


def law_of(kernel: str) -> Law:
    """The law of that name.

    Raises
    ------
    ProblemError
        It names none, or the exact law, which single-index tasks do not have.
    """
    return LAWS[check_kernel(kernel)]


def check_kernel(kernel: str) -> str:
    """The name of a law, in place of an old one."""
    known = OLD_NAMES.get(kernel, kernel) if isinstance(kernel, str) else kernel
    return choice("kernel", known, tuple(LAWS))
