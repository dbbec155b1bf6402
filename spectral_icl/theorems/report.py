"""The checks of claims in words and as plain objects: of a case, of a claim, and of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from spectral_icl.io.text import plain, table
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import Check, Verdict, verdicts
from spectral_icl.theorems.multitask import check as multitask
from spectral_icl.theorems.sparse import check as sparse
from spectral_icl.theorems.suite import Case

_MARKS = {Verdict.HOLDS: "holds", Verdict.FAILS: "FAILS", Verdict.NOT_APPLICABLE: "n/a"}


class Cells(NamedTuple):
    """Verdict and numbers of a check as a reader wants them; empty where there are none."""

    verdict: str
    measured: str
    predicted: str
    margin: str


def cells(check: Check) -> Cells:
    """Verdict and numbers of a check in words."""
    error = f" +- {check.error:.1g}" if check.error else ""
    return Cells(
        verdict=_MARKS[check.verdict],
        measured="" if check.measured is None else f"{check.measured:.6g}{error}",
        predicted="" if check.predicted is None else f"{check.predicted:.6g}",
        margin="" if check.margin is None else f"{check.margin:.2f}",
    )


@dataclass(frozen=True)
class Section:
    """Checks that belong together.

    Attributes
    ----------
    checks : tuple of Check
    """

    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict is Verdict.FAILS)

    def _plain_checks(self) -> list[dict[str, Any]]:
        return [plain({**asdict(check), "verdict": check.verdict.value}) for check in self.checks]


@dataclass(frozen=True)
class CaseReport(Section):
    """The claims about softmax attention on one case.

    Attributes
    ----------
    checks : tuple of Check
    case : Case
    flow : Solution
        The flow that the claims were checked on.
    """

    case: Case
    flow: Solution

    def to_text(self) -> str:
        """A table with a line for every claim, under the name of the case."""
        rows: list[tuple[str, ...]] = [("claim", "verdict", "measured", "predicted", "margin", "what")]
        rows += [(check.claim, *cells(check), check.reason) for check in self.checks]
        return "\n".join([f"{self.case.name}: {self.case.about}", *table(rows)])

    def to_dict(self) -> dict[str, Any]:
        """The case and its checks as plain objects."""
        problem = self.case.experiment.problem
        return {
            "name": self.case.name,
            "about": self.case.about,
            "problem": plain(problem.to_dict()),
            "digest": problem.digest(),
            "checks": self._plain_checks(),
        }


@dataclass(frozen=True)
class ClaimReport(Section):
    """One claim about sparse regression, at all places where it was checked; see `Section`."""

    def to_text(self) -> str:
        """A table with a line for every check, under the claim."""
        first = self.checks[0]
        rows: list[tuple[str, ...]] = [("verdict", "measured", "bound", "margin", "where and what")]
        rows += [(*cells(check), check.reason) for check in self.checks]
        return "\n".join([f"{first.claim}: {first.statement} [{first.reference}]", *table(rows)])

    def to_dict(self) -> dict[str, Any]:
        """The claim's name and its checks as plain objects."""
        return {"name": self.checks[0].claim, "checks": self._plain_checks()}


S = TypeVar("S", CaseReport, ClaimReport)


@dataclass(frozen=True)
class Verification(Generic[S]):
    """Everything that was checked, section by section.

    Attributes
    ----------
    sections : tuple
    """

    sections: tuple[S, ...]

    key: ClassVar[str]  # of the sections as plain objects

    @property
    def verdicts(self) -> dict[str, int]:
        """Numbers of checks by verdict."""
        return verdicts(check for section in self.sections for check in section.checks)

    @property
    def success(self) -> bool:
        """Whether no check failed."""
        return not any(section.failed for section in self.sections)

    def to_text(self) -> str:
        """One line with the number of checks by verdict, to close the tables that the sections print."""
        return ", ".join(f"{number} {verdict}" for verdict, number in self.verdicts.items())

    def to_dict(self) -> dict[str, Any]:
        """All sections as plain objects, without NaN or infinity (null instead)."""
        return {
            "success": self.success,
            "verdicts": self.verdicts,
            self.key: [section.to_dict() for section in self.sections],
        }


class SuiteReport(Verification[CaseReport]):
    """The claims about softmax attention on one case or more; see `Verification`."""

    key = "cases"

    def to_text(self) -> str:
        """One line with the number of cases and of checks by verdict, to close the cases' tables."""
        cases = "1 case" if len(self.sections) == 1 else f"{len(self.sections)} cases"
        return f"{cases}: {super().to_text()}"


class SparseReport(Verification[ClaimReport]):
    """Claims about sparse regression; see `Verification`."""

    key = "claims"


def report_case(
    case: Case,
    claims: Sequence[str] | None = None,
    prompts: int = multitask.PROMPTS,
    seed: int = 0,
    shown: bool = False,
) -> CaseReport:
    """The claims on one case, its flow solved to rest whatever its ``[flow]`` says of the end.

    With a bar on a terminal if ``shown``.
    """
    experiment = case.experiment
    checks, flow = multitask.checks_and_flow(
        experiment.problem,
        experiment.start,
        parametrization=experiment.parametrization,
        claims=claims,
        t_end=None,
        rtol=experiment.flow.rtol,
        kernel=experiment.model.kernel,
        prompts=prompts,
        seed=seed,
        shown=shown,
    )
    return CaseReport(tuple(checks), case, flow)


def report_claims(
    claims: Sequence[str] | None = None,
    problem: SparseProblem | None = None,
    prompts: int = sparse.PROMPTS,
    seed: int = 0,
) -> Iterator[ClaimReport]:
    """Claims about sparse regression, one after the other; see `theorems.sparse.check.check`."""
    return (ClaimReport(tuple(checks)) for checks in sparse.check(claims, problem, prompts, seed))
