"""The claims about sparse regression, in the order in which the theory makes them.

A claim is put to the test at documented places, among them some that lack a hypothesis, to show what happens
there. Risks are simulated, each method at its best on the same prompts, unless a trial says otherwise.
`registry.CLAIMS` has them by name.
"""

# ruff: noqa: I001  (a claim is registered when its module is imported: this is their order)
from spectral_icl.theorems.sparse.claims import layers as layers
from spectral_icl.theorems.sparse.claims import linear as linear
from spectral_icl.theorems.sparse.claims import advantage as advantage
from spectral_icl.theorems.sparse.claims import rates as rates
from spectral_icl.theorems.sparse.claims import designs as designs
