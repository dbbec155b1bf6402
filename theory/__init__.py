"""Derivations of everything the package computes, verified step by step with sympy.

One module per object. Each has a function ``derive`` that returns the `theory.derivation.Derivation`;
building it proves it, since a step that sympy cannot confirm raises `theory.derivation.ProofError`. The
modules also export the expressions that the tests hold the compiled kernels and the closed forms against.
Run ``python -m theory NAME`` from the repository root to read one as text and LaTeX.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theory.derivation import Derivation

_MULTITASK = (
    "loss",
    "gradient",
    "first_order",
    "first_order_gradient",
    "second_order",
    "nonlinear",
    "finite_length",
    "finite_length_gradient",
    "finite_length_overlaps",
    "finite_length_integrals",
    "mirror_flow",
    "single_head",
    "first_order_single_head",
    "head_per_task",
    "smoother",
    "one_sign",
    "separation",
    "lower_bound",
    "first_order_lower_bound",
    "head_budget",
    "equiangular",
    "plateau",
    "coalescence",
    "gradient_step",
    "small_heads",
    "bayes",
    "bayes_comparison",
    "scaling_losses",
    "emergence",
    "race",
    "width",
    "scaling_times",
    "merged",
    "general_starts",
    "escape",
    "sgd_noise",
    "length_generalisation",
)
_SPARSE = (
    "attention",
    "preprocessing",
    "descent",
    "filters",
    "head_count",
    "given_labels",
    "law",
    "spectral",
    "marchenko_pastur",
    "one_step",
    "least_squares",
    "linear_bound",
    "rate",
)
MODULES = {name: f"theory.multitask.{name}" for name in _MULTITASK} | {"sparse": "theory.sparse"}
NAMES = tuple(MODULES)
PARTS = tuple(f"sparse.{name}" for name in _SPARSE)  # of `sparse`, in the order of its argument


@cache
def derived(name: str) -> Derivation:
    """The proved derivation, or part of one, that has this name: proved once in a process."""
    made: Derivation = import_module(MODULES.get(name, f"theory.{name}")).derive()
    return made
