"""Sparse problems as the points of a sweep."""
