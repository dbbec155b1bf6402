"""Everything compiled: the one room that knows numba, and imports it here before any of its files does."""

from spectral_icl.kernels.environment import open_numba

open_numba()
