"""Colours and dashes of heads, tasks and phases, for whatever draws them."""

from __future__ import annotations

from typing import Any

HEADS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#f0e442",
)  # of paper.mplstyle
# Tasks have a cycle of their own (Tol's muted colours): a task's colour is not that of a head.
TASKS = ("#cc6677", "#332288", "#117733", "#ddcc77", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499")
DASHES = ("-", (0, (4, 1.5)), (0, (2, 1.5)), (0, (4, 1, 1, 1)))  # equal tasks lie on top of each other
SHADES = {"warm-up": "#f2f2f2", "emergence": "#ffe8c7", "convergence": "#e3eefb", "escape": "#fbe0ea"}
BENCHMARKS: dict[str, Any] = {
    "single_head": (0, (1, 1)),
    "head_per_task": "--",
    "lower_bound": "-.",
}  # dashes
