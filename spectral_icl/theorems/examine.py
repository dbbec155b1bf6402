"""Check the claims of the theory on a problem and a start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import ProblemError, choice, integer, number, sequence
from spectral_icl.multitask.context import check_kernel
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.loss import State, state
from spectral_icl.multitask.parametrization import Balanced, Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.theorems.claim import Check as Check
from spectral_icl.theorems.claim import Hypotheses, UnmeasurableError
from spectral_icl.theorems.claim import Verdict as Verdict
from spectral_icl.theorems.multitask.claims import CLAIMS, Claim
from spectral_icl.theorems.multitask.evidence import Evidence


def check(
    problem: Problem,
    omega0: ArrayLike,
    mu0: ArrayLike,
    *,
    parametrization: Parametrization = Balanced(),
    claims: Sequence[str] | None = None,
    t_end: float | None = None,
    rtol: float = 1e-8,
    kernel: str = "large-L",
    prompts: int = 4000,
    seed: int = 0,
) -> list[Check]:
    """Check the claims of the theory on the flow from a start.

    A claim whose hypotheses are not met is "not applicable", never passed; what it speaks of is measured all
    the same where it can be, to show what happens without them. Claims about the full model sample softmax
    attention and have a standard error.

    Parameters
    ----------
    problem : Problem
    omega0 : array_like, (H, B)
    mu0 : array_like, (H, I)
    parametrization : Balanced, Factored or Merged
    claims : sequence of str, optional
        Names of claims, see `names`; all by default.
    t_end : float, optional
        Length of the flow; by default until rest, or 1e6 where signs may change and it never rests.
    rtol : float
    kernel : {"large-L"}
    prompts : int
        Sampled prompts, >= 100; up to 16 times as many if they do not decide a claim, and fewer where prompts
        are long (a second's worth).
    seed : int
        Of the sampled prompts and the numerical searches.

    Returns
    -------
    list of Check
        In the order of the theory.

    Raises
    ------
    ProblemError
        An argument is malformed.

    Examples
    --------
    >>> import spectral_icl as si
    >>> p = si.Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
    >>> found = si.theorems.check(p, *si.initial.dominant(p, heads=2), claims=["task-allocation"])
    >>> found[0].verdict
    <Verdict.HOLDS: 'holds'>
    """
    if not isinstance(problem, Problem):
        raise ProblemError("problem", problem, "a Problem")
    return examine(
        problem,
        state(problem, omega0, mu0),
        parametrization=parametrization,
        claims=claims,
        t_end=t_end,
        rtol=rtol,
        kernel=kernel,
        prompts=prompts,
        seed=seed,
    )[0]


def examine(
    problem: Problem,
    start: State,
    *,
    parametrization: Parametrization,
    claims: Sequence[str] | None,
    t_end: float | None,
    rtol: float,
    kernel: str,
    prompts: int,
    seed: int,
) -> tuple[list[Check], Solution]:
    """The checks of `check`, and the flow that they looked at."""
    check_kernel(kernel)
    if not isinstance(parametrization, Parametrization):
        raise ProblemError("parametrization", parametrization, "Balanced, Factored or Merged")
    parametrization.chart(problem, start)
    chosen = names() if claims is None else [str(name) for name in sequence("claims", claims, "claim names")]
    for k, name in enumerate(chosen):
        choice(f"claims[{k}]", name, names())
    evidence = Evidence(
        problem=problem,
        start=start,
        parametrization=parametrization,
        t_end=None if t_end is None else number("t_end", t_end, minimum=0.0, maximum=1e100, above=True),
        rtol=number("rtol", rtol, minimum=1e-13, maximum=0.1),
        kernel=kernel,
        prompts=integer("prompts", prompts, minimum=100, maximum=10**9),
        seed=integer("seed", seed, minimum=0, maximum=2**63),
    )
    return [_check(CLAIMS[name], evidence) for name in dict.fromkeys(chosen)], evidence.flow


def names() -> list[str]:
    """Names of the claims, in the order of the theory."""
    return list(CLAIMS)


def _check(claim: Claim, evidence: Evidence) -> Check:
    hypotheses: Hypotheses = []
    found, unmet = None, ""
    try:
        with np.errstate(all="ignore"):  # extreme problems may overflow: what is not finite is said below
            case = claim.test(evidence)
            hypotheses = [*case.needs, *case.supposes]
            needed = [text for text, met in case.needs if not met]
            missing = needed or [text for text, met in case.supposes if not met]
            if missing:
                unmet = f"hypotheses not met: {'; '.join(missing)}"
            if not needed:
                found = case.measure()
    except (UnmeasurableError, ProblemError) as error:  # the latter: a flow that left the range of numbers
        unmet = unmet or f"not measured: {error}"
    if found is not None and not unmet and not np.isfinite([found.measured, found.predicted]).all():
        unmet = "not measured: the numbers overflow"
    if unmet or found is None:
        verdict, reason = Verdict.NOT_APPLICABLE, unmet
    else:
        verdict, reason = Verdict.HOLDS if found.margin > 0.0 else Verdict.FAILS, found.detail
    return Check(
        claim=claim.name,
        statement=claim.statement,
        reference=claim.reference,
        verdict=verdict,
        reason=reason,
        measured=None if found is None else float(found.measured),
        predicted=None if found is None else float(found.predicted),
        margin=None if found is None or unmet else float(found.margin),
        error=None if found is None else float(found.error),
        hypotheses=tuple((text, bool(met)) for text, met in hypotheses),
    )
