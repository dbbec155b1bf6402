"""Derivations of everything the package computes, verified step by step with sympy.

One module per object. Each has a function ``derive`` that returns the `theory.derivation.Derivation`;
building it proves it, since a step that sympy cannot confirm raises `theory.derivation.ProofError`. The
modules also export the expressions that the tests hold the compiled kernels and the closed forms against.
Run ``python -m theory NAME`` from the repository root to read one as text and LaTeX.
"""

_MULTITASK = (
    "loss",
    "gradient",
    "mirror_flow",
    "single_head",
    "head_per_task",
    "lower_bound",
    "head_budget",
    "plateau",
    "coalescence",
    "gradient_step",
    "bayes",
    "emergence",
    "race",
    "escape",
    "length_generalisation",
)
MODULES = {name: f"theory.multitask.{name}" for name in _MULTITASK} | {"sparse": "theory.sparse"}
NAMES = tuple(MODULES)
