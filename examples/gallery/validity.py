"""
Where the laws in 1/L hold
==========================

The error of the excess under the asymptotic and under the first-order law, against softmax attention
itself, at the same weights: over length and dimension for a head at its optimum, and over length and logit
variance. No sampling: the exact law is computed by quadrature. `python -m benchmarks.validity` has a finer
map.
"""

import os

from spectral_icl.figures.validity import validity_figure
from spectral_icl.multitask.validity import validity_map

small = os.environ.get("GALLERY") == "small"
lengths = [10, 100] if small else [10, 30, 100, 1000, 10000]
by_dimension = validity_map(lengths, [5, 50] if small else [2, 5, 10, 20, 50, 100], [1.0])
by_size = validity_map(lengths, [5], [0.5, 1.0] if small else [0.1, 0.25, 0.5, 1.0, 2.0])

figure = validity_figure([by_dimension, by_size])
figure.savefig("validity.png")
