"""The claims about the flow of softmax attention, in the order in which the theory makes them.

Each is a function from `Evidence` to trials: how it is measured, what it needs and what it supposes.
`registry.CLAIMS` has them by name.
"""

# ruff: noqa: I001  (a claim is registered when its module is imported: this is their order)
from spectral_icl.theorems.multitask.claims import embedding as embedding
from spectral_icl.theorems.multitask.claims import invariants as invariants
from spectral_icl.theorems.multitask.claims import training as training
from spectral_icl.theorems.multitask.claims import emergence as emergence
from spectral_icl.theorems.multitask.claims import relaxation as relaxation
from spectral_icl.theorems.multitask.claims import scaling_times as scaling_times
from spectral_icl.theorems.multitask.claims import optimality as optimality
from spectral_icl.theorems.multitask.claims import separation as separation
from spectral_icl.theorems.multitask.claims import escape as escape
from spectral_icl.theorems.multitask.claims import escape_scaling as escape_scaling
from spectral_icl.theorems.multitask.claims import merged as merged
from spectral_icl.theorems.multitask.claims import equality as equality
from spectral_icl.theorems.multitask.claims import attention as attention
from spectral_icl.theorems.multitask.claims import symmetry as symmetry
from spectral_icl.theorems.multitask.claims import smoother as smoother
from spectral_icl.theorems.multitask.claims import bayes as bayes
from spectral_icl.theorems.multitask.claims import scaling_losses as scaling_losses
