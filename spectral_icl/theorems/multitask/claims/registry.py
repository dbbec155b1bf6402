"""The claims about the flow of softmax attention by name, and whose they are."""

from __future__ import annotations

from spectral_icl.multitask.problem import Problem
from spectral_icl.theorems.claim import Claims
from spectral_icl.theorems.multitask.evidence import Evidence

CSWY = "Chen, Sheen, Wang and Yang (2024)"
HPCY = "He, Pan, Chen and Yang (2025)"

CLAIMS: Claims[Evidence, Problem] = Claims()
claim = CLAIMS.claim
