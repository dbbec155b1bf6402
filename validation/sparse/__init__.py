"""Checks of sparse regression against trained linear attention."""
