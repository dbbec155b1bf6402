"""Problems packed for the exact law: with the rule and the table that serve given states."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.lanes import WIDTH
from spectral_icl.kernels.model import frozen
from spectral_icl.multitask.exact.queries import NEGLIGIBLE, Rule, rule
from spectral_icl.multitask.exact.stored import table_of
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import check_dense

# Level of the rule for the query by the reach of the table: large logits vary more with the query.
LEVELS = dict(zip(REACHES, (2, 2, 2, 3, 3, 4, 4, 5, 5, 6), strict=True))
# Weight of the nodes that are left out, since their logits would need a table that reaches far: less than
# what the table is off by.
_TAILS = dict(zip(REACHES, (1e-8,) * 4 + (1e-7,) + (1e-6,) * 4 + (1e-5,), strict=True))
_MANY, _FEWER = 4, 2  # blocks from which on the rule is Smolyak's, whose nodes multiply with the level
_TYPICAL = 1.05  # mean logit variance of a head that has emerged: 1 under the asymptotic law


def query_rule(problem: Problem, reach: float) -> Rule:
    """The rule that goes with a table.

    Raises
    ------
    ProblemError
        Even one head has more than 4096 entries, for which there are too many nodes.
    """
    check_dense("heads", problem, 1)
    return rule(problem.block_sizes, _level(problem, reach), _TAILS[reach])


def finer_rule(problem: Problem, reach: float) -> Rule:
    """The rule one level up, with nodes that weigh little too."""
    return rule(problem.block_sizes, _level(problem, reach) + 1, NEGLIGIBLE)


def _level(problem: Problem, reach: float) -> int:
    level = LEVELS[reach]
    return level if problem.blocks < _MANY else min(level, _FEWER if problem.blocks <= 12 else 1)


def largest(problem: Problem, omega: Floats, nodes: Rule) -> float:
    """The largest logit variance of heads omega (..., H, B) at the nodes of a rule."""
    v2 = (np.asarray(problem.covariance) * omega) ** 2
    return float((v2 @ nodes.rho.T).max(initial=0.0))


def reach_of(problem: Problem, omega: Floats) -> float:
    """The reach of the first table that knows the logits of heads omega (..., H, B), or of the last."""
    for reach in REACHES:
        if largest(problem, omega, query_rule(problem, reach)) <= reach:
            return reach
    return REACHES[-1]


def usual_reach(problem: Problem) -> float:
    """The reach that most flows need from small starts: of heads that have each emerged in a block."""
    check_dense("heads", problem, 1)
    kappa, sizes = np.asarray(problem.covariance), np.asarray(problem.block_sizes)
    return reach_of(problem, np.diag(np.sqrt(_TYPICAL / sizes) / kappa))


def packed(problem: Problem, reach: float, nodes: Rule | None = None) -> Exact:
    """The problem with the table of that reach, and with its rule for the query or the one that is given."""
    nodes = query_rule(problem, reach) if nodes is None else nodes
    made = table_of(problem.context_length, reach)
    used = nodes.weight.size
    vectors = -(-used // WIDTH)
    rho, weight = np.zeros((vectors * WIDTH, problem.blocks)), np.zeros(vectors * WIDTH)
    rho[:used], weight[:used] = nodes.rho, nodes.weight
    signal = np.array(problem.signal)
    some = signal > 0.0
    model = Exact(
        kappa=np.array(problem.covariance),
        sizes=np.array(problem.block_sizes, dtype=np.float64),
        share=signal / np.array(problem.block_sizes),
        variance=np.array(problem.variance),
        noise=np.array(problem.noise),
        inverse_length=1.0 / problem.context_length,
        count=some.sum(axis=1),
        block=np.argsort(~some, axis=1, kind="stable"),
        used=used,
        rho=np.ascontiguousarray(rho.reshape(vectors, WIDTH, -1).transpose(0, 2, 1)),
        weight=weight.reshape(vectors, WIDTH),
        reach=reach,
        single=np.array(made.single),
        pair=np.array(made.pair),
        cross=np.array(made.cross),
    )
    return frozen(model)
