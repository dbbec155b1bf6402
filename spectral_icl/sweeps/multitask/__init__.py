"""Flows as the points of a sweep."""
