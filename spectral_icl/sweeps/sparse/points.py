"""Sparse problems as the points of a sweep: the risk of every method, by theory and simulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, Self

import numpy as np

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.toml import Tables
from spectral_icl.kernels.threads import available_cores, one_thread
from spectral_icl.sparse.comparison import Comparison, compare
from spectral_icl.sparse.experiment import NUMBERS, SECTIONS, Study
from spectral_icl.sparse.methods import COMPARED
from spectral_icl.sparse.methods import METHODS as KNOWN
from spectral_icl.sweeps.points import Points, Results, Variable
from spectral_icl.sweeps.sparse.labels import LABELS as PATHS
from spectral_icl.sweeps.sparse.quantities import METHOD, SparseSweep, names

UNSOLVED = 3  # status of a point whose theory was not found

_PROBLEM = ("d", "s", "n", "noise", "snr", "signal", "correlation", "support_variance")
_OTHERS = {
    "p2o_error": "standard error of the theory's p2o",
    "p2o_time": "time of the flow at which P2O is best",
    "advantage": "risk of P2O over that of ridge, each at its best, by theory",
    "advantage_mc": "risk of P2O over that of ridge, each at its best, simulated on the same prompts",
    "advantage_se": "standard error of advantage_mc",
}


def _results(methods: Iterable[str]) -> dict[str, Variable]:
    """Risks of methods by theory and simulated, with errors; NaN without a theory, or if not simulated."""
    texts = dict(_OTHERS)
    for method in methods:
        by_theory, simulated, error = names(method)
        texts[by_theory] = f"risk of {KNOWN[method].name} at its best, by theory"
        texts[simulated] = f"risk of {KNOWN[method].name} at its best, simulated"
        texts[error] = f"standard error of {simulated}"
    return {name: Variable(("point",), "float64", np.nan, text) for name, text in texts.items()}


class SparsePoints(Points[Study]):
    """Sparse regression problems, of which all risks are recorded."""

    name = "sparse problems"
    sections = SECTIONS
    shared_section = "sparse"
    seed = ("study", "seed")
    replicated = "study.seed"
    results = _results(COMPARED)
    headline = "p2o"
    least_batch = 8  # each takes about a second, and a batch is shared by the cores
    labels = PATHS
    sweep = SparseSweep

    @classmethod
    def recording(cls, record: object) -> Self:
        """Sparse problems; there is nothing to choose."""
        if record != {}:
            raise ProblemError("record", record, "nothing beside [sparse]: all risks are stored")
        return cls()

    def record(self) -> dict[str, Any]:
        """An empty table."""
        return {}

    @classmethod
    def reserved(cls) -> set[str]:
        """Names of results, and of the dimension along which a figure puts the methods."""
        return {*super().reserved(), METHOD}

    @classmethod
    def numeric_keys(cls, section: str, base: Tables) -> set[str]:
        """The keys of a section that are numbers."""
        return set({"sparse": _PROBLEM, "study": NUMBERS}.get(section, ()))

    def point(self, table: Tables, like: Study | None = None) -> Study:
        """The study that a file describes. ``like`` is not used: a study costs nothing to build."""
        return Study.from_dict(table)

    def settled(self, table: Tables, point: Study) -> dict[str, Any]:
        """The tables of a study, defaults filled in; a ratio of signal to noise stays one."""
        filled = point.to_dict()
        if "snr" in table["sparse"]:
            del filled["sparse"]["noise"]
            filled["sparse"]["snr"] = table["sparse"]["snr"]
        return filled

    def extents(self, first: Study, base: Tables, largest: Mapping[str, float]) -> dict[str, int]:
        """No sizes: all results are numbers."""
        return {}

    def variables(self, base: Tables) -> dict[str, Variable]:
        """The risks of all methods; of the Lasso if it is asked for."""
        lasso = base["study"]["lasso"]
        return _results(method for method in COMPARED if lasso or method != "lasso")

    def solve(self, found: Results, members: Sequence[tuple[int, Study]], threads: int | None) -> None:
        """Compare the methods of points, several points at a time."""
        if any(study.lasso for _, study in members) and find_spec("sklearn") is None:
            raise ProblemError("study.lasso", True, "the package 'scikit-learn' to be installed")
        with one_thread(), ThreadPoolExecutor(threads or available_cores()) as pool:
            for (row, _), values in zip(members, pool.map(_solved, (s for _, s in members)), strict=True):
                for name, value in values.items():
                    found[name][row] = value

    def outcome(self, status: int) -> tuple[str, str]:
        """Name and advice of the one way to fail."""
        return (
            "unsolved",
            "the equations of the theory were not solved, or did not fit into memory",
        )


def _solved(study: Study) -> dict[str, float]:
    """The results of a point by name, with its status."""
    try:
        found = compare(study)
    except (ProblemError, MemoryError):  # of a study that is valid
        return {"status": UNSOLVED}
    return {**_row(found), "status": 0}


def _row(found: Comparison) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, method in found.methods.items():
        row |= dict(zip(names(name), (method.theory, method.simulated, method.se), strict=True))
    by_theory, simulated = found.advantage, found.simulated_advantage
    p2o = found.methods["p2o"]
    return row | {
        "p2o_error": p2o.theory_error,
        "p2o_time": p2o.tuned,
        "advantage": by_theory.mean,
        "advantage_mc": simulated.mean,
        "advantage_se": simulated.se,
    }
