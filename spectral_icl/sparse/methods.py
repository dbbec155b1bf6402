"""The methods that are compared: what they are called, and how they are drawn."""

from __future__ import annotations

LABELS = {
    "p2o": "preprocess-then-optimize (P2O)",
    "gd": "gradient flow",
    "ridge": "ridge",
    "ols": "least squares",
    "oracle": "oracle (least squares on the support)",
    "lasso": "Lasso",
}
SHORT = {**LABELS, "p2o": "P2O", "oracle": "oracle"}
COLORS = {"p2o": "C0", "gd": "C1", "ridge": "C2", "ols": "0.6", "oracle": "black", "lasso": "C3"}
