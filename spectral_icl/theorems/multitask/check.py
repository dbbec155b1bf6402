"""Check the claims about the flow of softmax attention on a problem and a start."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from numpy.typing import ArrayLike

from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.io.progress import tracked
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.first_order import FirstOrder
from spectral_icl.kernels.model import Model
from spectral_icl.kernels.structured.asymptotic import AsymptoticSignals
from spectral_icl.kernels.structured.first_order import FirstOrderSignals
from spectral_icl.multitask.context import DEFAULT, pack, unknown
from spectral_icl.multitask.flow.options import check_rtol, check_t_end
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.parametrization import Balanced, Parametrization, check_parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_state
from spectral_icl.theorems.claim import Check, Claims
from spectral_icl.theorems.examine import chosen, examine
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.multitask.evidence import Evidence

PROMPTS = 4000  # to sample, unless a claim is not decided by them


def check(
    problem: Problem,
    omega0: ArrayLike,
    mu0: ArrayLike,
    *,
    parametrization: Parametrization = Balanced(),
    claims: Sequence[str] | None = None,
    t_end: float | None = None,
    rtol: float = 1e-8,
    kernel: str = DEFAULT,
    prompts: int = PROMPTS,
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
    kernel : str
        Law of the context, one of `spectral_icl.multitask.context.LAWS`.
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
    return checks_and_flow(
        problem,
        check_state(problem, omega0, mu0),
        parametrization=parametrization,
        claims=claims,
        t_end=t_end,
        rtol=rtol,
        kernel=kernel,
        prompts=prompts,
        seed=seed,
    )[0]


def checks_and_flow(
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
    shown: bool = False,
) -> tuple[list[Check], Solution]:
    """The checks of `check`, and the flow that they looked at, with a bar on a terminal if ``shown``."""
    known = claims_about(pack(problem, kernel))
    check_parametrization("parametrization", parametrization).chart(problem, start)
    wanted = chosen(claims, known)
    evidence = Evidence(
        problem=problem,
        start=start,
        parametrization=parametrization,
        t_end=None if t_end is None else check_t_end(t_end),
        rtol=check_rtol(rtol),
        kernel=kernel,
        prompts=integer("prompts", prompts, minimum=100, maximum=10**9),
        seed=integer("seed", seed, minimum=0, maximum=2**63),
    )
    each = tracked(wanted, unit="claims", shown=shown, named=lambda claim: claim.name)
    return [one for claim in each for one in examine(claim, [evidence])], evidence.flow


@singledispatch
def claims_about(model: Model) -> Claims[Evidence, Problem]:
    """The claims of the theory of the model's law of the context."""
    unknown(model, "claims of its own")


@claims_about.register(Asymptotic)
@claims_about.register(AsymptoticSignals)
@claims_about.register(FirstOrder)
@claims_about.register(FirstOrderSignals)
@claims_about.register(Exact)
def _(model: Model) -> Claims[Evidence, Problem]:
    return CLAIMS


def names() -> list[str]:
    """Names of the claims, in the order of the theory."""
    return list(CLAIMS)
