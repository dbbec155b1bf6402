"""Sweeps that are solved to be drawn, by name."""

from __future__ import annotations

from typing import Any

BASE: dict[str, Any] = {
    "problem": {"task_sizes": [4, 4], "signal": [10.0, 10.0], "snr": 100.0, "context_length": 100},
    "initial": {"kind": "paper", "qk": 0.1, "ov_low": 0.1, "ov_high": 0.2},
    "flow": {"t_end": 30.0},
}
LENGTHS = {"path": "problem.context_length", "log": [20, 2000, 9]}
NOISES = {"path": "problem.snr", "log": [1, 100, 9]}
HEADS = {"path": "model.heads", "values": [2, 3]}
RANDOM = {"kind": "random", "scale": 0.1, "positive": True}
REPLICATES = {"path": "initial.seed", "replicates": 5}

PLANS: dict[str, dict[str, Any]] = {
    "line": {"axis": [LENGTHS], "record": {"times": [0.1, 1.0, 10.0], "forecast": True}},
    "lines": {"axis": [LENGTHS, HEADS]},
    "map": {"axis": [LENGTHS, NOISES], "record": {"forecast": True}},
    "replicates": {"axis": [LENGTHS, REPLICATES], "initial": RANDOM},
    "ragged": {
        "problem": {**BASE["problem"], "task_sizes": 4, "tasks": 2, "signal": 10.0},
        "axis": [{"path": "problem.tasks", "values": [1, 2, 3]}, {"path": "model.heads", "values": [2, 3]}],
        "initial": {"kind": "dominant"},
    },
}
