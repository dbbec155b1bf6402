"""Preprocess, then optimize: linear attention for sparse regression, its law, and what it is held against.

One module per part of the argument; `derive` puts them together in the order of `theory.PARTS`.
"""

from __future__ import annotations

from theory import PARTS, derived
from theory.derivation import Derivation
from theory.sparse.symbols import REFERENCE


def derive() -> Derivation:
    """The layers and what they compute, how many heads that takes, its law, other methods, and the rate."""
    whole = Derivation(
        "Preprocess, then optimize",
        f"{REFERENCE} Proved here: the construction, the number of heads it takes, the exact law of what it "
        "works on, the risks of the methods without preprocessing, and what bounds all that are linear in "
        "the labels. Not proved, but in a model of decoupled features: the rate of its own risk.",
    )
    for part in PARTS:
        whole.steps.extend(derived(part).steps)
    return whole
