"""The engine of all checks: hypotheses, measurement, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import ProblemError, choice, sequence
from spectral_icl.theorems.claim import (
    Check,
    Claim,
    E,
    Finding,
    P,
    Trial,
    UnmeasurableError,
    decide,
    unmeasured,
)


def chosen(claims: Sequence[str] | None, known: Mapping[str, Claim[E, P]]) -> list[Claim[E, P]]:
    """The claims of the given names, each once, in that order; all that are known for None.

    Raises
    ------
    ProblemError
        A name is not known, or there is none.
    """
    names = list(known)
    if claims is not None:
        given = [str(name) for name in sequence("claims", claims, "claim names")]
        names = [choice(f"claims[{k}]", name, list(known)) for k, name in enumerate(given)]
    return [known[name] for name in dict.fromkeys(names)]


class Weighed(NamedTuple):
    """The check of one trial, and beside it what was measured whether or not its hypotheses are met.

    Attributes
    ----------
    check : Check
    missing : tuple of str
        Hypotheses that are not met; of a trial that cannot be measured, those that it needs.
    finding : Finding or None
        None if nothing was measured.
    claimed : bool
        Whether the trial is of the whole claim, and not of what is left of it without a part.
    """

    check: Check
    missing: tuple[str, ...] = ()
    finding: Finding | None = None
    claimed: bool = True


def examine(claim: Claim[E, P], evidence: Iterable[E]) -> list[Check]:
    """The checks of a claim, one for each of its trials.

    Parameters
    ----------
    claim : Claim
    evidence : iterable
        More and more evidence of one thing: the next is asked for as long as a trial whose hypotheses are met
        is not decided by the one before.

    Returns
    -------
    list of Check
    """
    return [one.check for one in weigh(claim, evidence)]


def weigh(claim: Claim[E, P], evidence: Iterable[E]) -> list[Weighed]:
    """The checks of `examine`, each with the numbers that it leaves out where a hypothesis is not met."""
    tried: list[tuple[Trial, Finding | UnmeasurableError | None]] = []
    # extreme problems may overflow: what is not finite is said in the check
    with np.errstate(all="ignore"):
        try:
            for more in evidence:
                tried = [(trial, _attempt(trial)) for trial in claim.test(more)]
                if all(trial.missing or (isinstance(x, Finding) and x.decided) for trial, x in tried):
                    break
        except UnmeasurableError as error:
            return [Weighed(unmeasured(claim, str(error)))]
        except ProblemError as error:  # of what followed from the evidence: nobody gave that argument
            return [Weighed(unmeasured(claim, f"it needs {error.expected}"))]
    return [
        Weighed(
            check=decide(claim, trial, found),
            missing=tuple(trial.missing),
            finding=found if isinstance(found, Finding) else None,
            claimed=not trial.without,
        )
        for trial, found in tried
    ]


def _attempt(trial: Trial) -> Finding | UnmeasurableError | None:
    """What a trial finds, or why it finds nothing; None if it cannot be measured."""
    try:
        return trial.measure() if trial.measurable else None
    except UnmeasurableError as error:
        return error
    except ProblemError as error:  # a flow that left the range of numbers, an optimum that is not searched
        return UnmeasurableError(f"it needs {error.expected}")
