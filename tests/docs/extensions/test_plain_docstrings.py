"""Docstrings as Sphinx gets them: formulas literal, bars as they are."""

from __future__ import annotations

from site_extensions import loaded


def test_formulas_are_literal_and_bars_are_escaped() -> None:
    text = """The size |x| of `|y|`, or ``x``^2.

    |x|^2 = sum_j x_j^2

for all x.

Parameters
----------
x : float
    Its size is |x|.
>>> abs(1 | 2)
3""".splitlines()
    wanted = """The size \\|x\\| of `|y|`, or ``x``\\ ^2.

::

    |x|^2 = sum_j x_j^2

for all x.

Parameters
----------
x : float
    Its size is \\|x\\|.
>>> abs(1 | 2)
3""".splitlines()
    assert loaded("plain_docstrings").marked_up(text) == wanted
