"""Claims of the theory, each with hypotheses, margin and verdict."""

from spectral_icl.theorems.claim import Check as Check
from spectral_icl.theorems.claim import Verdict as Verdict
from spectral_icl.theorems.multitask.check import check as check
from spectral_icl.theorems.multitask.check import names as names
