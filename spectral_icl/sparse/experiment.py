"""Study files: TOML tables that say which sparse problem to look at, and how closely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spectral_icl.io.checks import ProblemError, integer, within
from spectral_icl.io.toml import SWEEP_KEYS, UNKNOWN, Tables, tables
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import most_prompts
from spectral_icl.sparse.risk.best import most_draws
from spectral_icl.sparse.risk.equivalent import GROUPS

BUILT_IN: dict[str, Any] = {"sparse": {"d": 64, "s": 4, "n": 128, "noise": 0.25}}
SECTIONS = ("sparse", "study")
_FEWEST = 20  # prompts
NUMBERS = ("prompts", "seed", "draws")  # of [study]


def is_sparse(table: Tables) -> bool:
    """Whether a parsed file is about a sparse problem."""
    return "sparse" in table


@dataclass(frozen=True)
class Study:
    """A sparse problem and how closely to look at it.

    Parameters
    ----------
    problem : SparseProblem
        The table ``[sparse]``.
    prompts : int
        To simulate, in about an hour at most; 0 for the theory alone. These and the following are the table
        ``[study]``, where the default is less if 1000 take longer.
    seed : int
    draws : int
        Of the correlations r that the theory of preprocess-then-optimize averages over, in an hour at most.
    lasso : bool
        Whether to simulate the Lasso too, which takes long and needs scikit-learn.

    Raises
    ------
    ProblemError
        An argument is malformed.
    """

    problem: SparseProblem
    prompts: int = 1000
    seed: int = 0
    draws: int = 256
    lasso: bool = False

    def __post_init__(self) -> None:
        prompts = integer("prompts", self.prompts, minimum=0, maximum=most_prompts(self.problem))
        if 0 < prompts < _FEWEST:
            raise ProblemError("prompts", prompts, f"0, or at least {_FEWEST} for an error bar")
        seed = integer("seed", self.seed, minimum=0, maximum=2**63 - 1)
        draws = integer("draws", self.draws, minimum=2 * GROUPS, maximum=most_draws(self.problem))
        for name, value in (("prompts", prompts), ("seed", seed), ("draws", draws)):
            object.__setattr__(self, name, value)  # a whole float has become an int
        if not isinstance(self.lasso, bool):
            raise ProblemError("lasso", self.lasso, "true or false")
        if self.lasso and prompts == 0:
            raise ProblemError("lasso", True, "prompts to simulate it on: it has no theory here")

    @classmethod
    def from_dict(cls, table: Tables) -> Study:
        """The study of a parsed file.

        Raises
        ------
        ProblemError
            Naming the dotted path of the first wrong entry, its value and what was expected.
        """
        for key, entry in table.items():
            if key in SWEEP_KEYS:
                expected = f"no {key}: a study is one point, not a sweep (spectral-icl sweep solves those)"
                raise ProblemError(key, entry, expected)
            if key not in SECTIONS:
                raise ProblemError(
                    str(key), entry, "one of the tables [sparse] and [study] of a sparse problem"
                )
            if not isinstance(entry, Mapping):
                raise ProblemError(key, entry, f"a table [{key}]")
        if "sparse" not in table:
            raise ProblemError("sparse", None, "a table [sparse] with d, s, n and noise")
        with within("sparse"):
            problem = SparseProblem.from_dict(table["sparse"])
        with within("study"):
            options = {"prompts": min(cls.prompts, most_prompts(problem)), **table.get("study", {})}
            for name in options:
                if name not in (*NUMBERS, "lasso"):
                    raise ProblemError(name, options[name], UNKNOWN)
            return cls(problem, **options)

    @classmethod
    def read(cls, file: Path | None, overrides: tuple[str, ...] = ()) -> Study:
        """The study of a TOML file, or the built-in one, with ``section.key=value`` overrides."""
        return cls.from_dict(tables(file, overrides, BUILT_IN))

    def to_dict(self) -> dict[str, Any]:
        """The tables, with defaults filled in; `from_dict` is its inverse."""
        options = asdict(self)
        del options["problem"]
        return {"sparse": self.problem.to_dict(), "study": options}
