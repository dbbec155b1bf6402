"""Derivations of the first paper."""
