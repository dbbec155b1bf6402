"""Benchmarks: run from the repository root as ``python -m benchmarks.NAME``.

One thread for every linear-algebra library, set here because it must precede the import of NumPy.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
