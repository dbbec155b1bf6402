"""A theorem's page of evidence: which claim, about which base, along which variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spectral_icl.io.checks import ProblemError, choice, integer
from spectral_icl.io.text import plain
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import Claim, Verdict
from spectral_icl.theorems.margins import Ground
from spectral_icl.theorems.multitask import check as multitask
from spectral_icl.theorems.multitask import ranges
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.multitask.setting import Setting
from spectral_icl.theorems.sparse import check as sparse
from spectral_icl.theorems.sparse import ranges as sparse_ranges
from spectral_icl.theorems.sparse.claims.registry import CLAIMS as SPARSE_CLAIMS
from spectral_icl.theorems.suite import suite


@dataclass(frozen=True)
class Theorem:
    """A claim, a base, and what is to be looked at about it.

    Attributes
    ----------
    claim : Claim
    title, about : str
        Of the base.
    ground : Ground
    """

    claim: Claim[Any, Any]
    title: str
    about: str
    ground: Ground[Any]

    @property
    def problem(self) -> dict[str, Any]:
        """The problem of the base as plain objects, and of a flow its start."""
        base = self.ground.base
        if isinstance(base, Setting):
            start = {"initial": base.start.to_dict(), "heads": base.heads}
            weights = type(base.parametrization).name
            found = {**base.problem.to_dict(), **start, "parametrization": weights, "kernel": base.kernel}
        else:
            found = base.to_dict()
        return {key: plain(value) for key, value in found.items()}

    @property
    def heading(self) -> str:
        """What the claim says, where it is from, and about which base it is looked at."""
        described = self.ground.base.problem if isinstance(self.ground.base, Setting) else self.ground.base
        return "\n".join(
            [
                f"{self.claim.name}: {self.claim.statement} [{self.claim.reference}]",
                f"{self.title}: {self.about}",
                f"  {described}",
            ]
        )


def theorem_of(
    name: str,
    base: Experiment | SparseProblem | None = None,
    title: str = "",
    prompts: int | None = None,
    seed: int = 0,
    points: int | None = None,
) -> Theorem:
    """What to look at of a theorem.

    Parameters
    ----------
    name : str
        Of a claim, about softmax attention or about sparse regression.
    base : Experiment or SparseProblem, optional
        The base; by default the case of the suite that the claim is about, or the first one where it applies,
        and of sparse regression one of the places that document it.
    title : str
        Where the base is from.
    prompts : int, optional
        To sample at every point, >= 100; 1000 of softmax attention, 100 of sparse regression, and more where
        they do not decide.
    seed : int
        Of the sampled prompts and numerical searches.
    points : int, optional
        Values of every variable, >= 2; as many as the claim affords by default.

    Raises
    ------
    ProblemError
        There is no such claim, it is not about such a base, or an argument is malformed.
    """
    of_sparse = about_sparse(name)
    if base is not None:
        check_subject(name, isinstance(base, SparseProblem))
    usual = sparse_ranges.SAMPLED_PROMPTS if of_sparse else ranges.SAMPLED_PROMPTS
    most = 10**5 if of_sparse else 10**9
    prompts = integer("prompts", usual if prompts is None else prompts, minimum=100, maximum=most)
    seed = integer("seed", seed, minimum=0, maximum=2**62)
    if points is not None:
        points = integer("points", points, minimum=2, maximum=1000)
    if of_sparse:
        about = "one of the places that document the claim" if base is None else "the problem given"
        at = base if isinstance(base, SparseProblem) else sparse_ranges.base_of(name)
        found = sparse_ranges.ground(name, at, prompts, seed, points)
        return Theorem(SPARSE_CLAIMS[name], title or "sparse regression", about, found)
    if isinstance(base, Experiment):
        about, setting = "the problem and start given", Setting.of(base)
    else:
        title, about, setting = _documented(name, prompts, seed)
    return Theorem(CLAIMS[name], title, about, ranges.ground(name, setting, prompts, seed, points))


def names() -> list[str]:
    """Names of the claims about softmax attention, and then of those about sparse regression."""
    return [*multitask.names(), *sparse.names()]


def about_sparse(name: str) -> bool:
    """Whether the claim of that name is about sparse regression.

    Raises
    ------
    ProblemError
        There is no such claim.
    """
    return choice("--theorem", name, names()) in SPARSE_CLAIMS


def check_subject(name: str, sparse_given: bool) -> None:
    """Raise what `theorem_of` would raise for a base of that subject, sparse regression or the other one."""
    of_sparse = about_sparse(name)
    if of_sparse is not sparse_given:
        subject = "sparse regression" if of_sparse else "softmax attention"
        raise ProblemError("--theorem", name, f"a claim about what is given; this one is about {subject}")


def _documented(name: str, prompts: int, seed: int) -> tuple[str, str, Setting]:
    """The case of the suite that a claim is about: the one that was chosen, or the first where it applies."""
    cases = suite()
    chosen = ranges.choice_of(name).base
    weigh = ranges.weigher(name, prompts, seed)
    for case in cases:
        at = Setting.of(case.experiment)
        if chosen == case.name:
            return case.name, case.about, at
        if not chosen and any(one.check.verdict is not Verdict.NOT_APPLICABLE for one in weigh(at)):
            return case.name, case.about, at
    first = cases[0]
    return first.name, first.about, Setting.of(first.experiment)
