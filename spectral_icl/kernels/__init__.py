"""Everything compiled: the one room that knows numba."""
