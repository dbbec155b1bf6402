"""Checks of the reduced flow against full softmax attention."""
