"""The one registry of methods: what each is called, how it is simulated, and what its theory is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.sparse import filters, predictors
from spectral_icl.sparse.filters import Flow, Steps
from spectral_icl.sparse.predictors import Spectral
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import Prompts, excess_risk
from spectral_icl.sparse.risk import best
from spectral_icl.sparse.risk.best import Best
from spectral_icl.sparse.risk.equivalent import Risk, p2o_risk_given
from spectral_icl.sparse.tuning import Tuning


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts of one law, with what several methods make of them; each part is made when first asked for.

    Attributes
    ----------
    prompts : Prompts
    Sigma : ndarray, (d,) or (d, d), or None
        Covariance of the features.
    noise : float
        Variance of the label noise.
    tuning : Tuning
    """

    prompts: Prompts
    Sigma: Floats | None
    noise: float
    tuning: Tuning

    @cached_property
    def plain(self) -> Spectral:
        """Decomposition of the features."""
        return predictors.spectral(self.prompts.X, self.prompts.y)

    @cached_property
    def r(self) -> Floats:
        """X'y/n, (B, d)."""
        return predictors.correlations(self.prompts.X, self.prompts.y)

    @cached_property
    def preprocessed(self) -> Spectral:
        """Decomposition of the features r * x."""
        return predictors.spectral(self.prompts.X, self.prompts.y, self.r)

    @cached_property
    def p2o(self) -> Floats:
        """Estimates (B, J, d) of preprocess-then-optimize at the times of the flow."""
        return self.preprocessed.apply(Flow(self.tuning.p2o)(self.preprocessed.eigenvalues))

    def risks(self, beta: Floats) -> Floats:
        """Excess risks (B, J) of estimates (B, J, d)."""
        return excess_risk(beta, self.prompts.w[:, None], self.Sigma)

    def p2o_parts(self, support: bool) -> Floats:
        """The share (B, J) of features with weight, or without, in the risk of `p2o`.

        The two add up to the risk if features are not correlated.
        """
        Sigma, w = self.Sigma, self.prompts.w[:, None]
        variance = 1.0 if Sigma is None else Sigma if Sigma.ndim == 1 else np.diag(Sigma)
        weighted, on = (self.p2o - w) ** 2 * variance, w != 0.0
        found: Floats = (weighted * (on if support else ~on)).sum(axis=-1)
        return found

    def stepped(self, spectral: Spectral) -> Floats:
        """Estimates (B, J, d) after steps of size 1 over the largest eigenvalue of each prompt."""
        top = np.maximum(spectral.eigenvalues.max(axis=-1), np.finfo(np.float64).tiny)[:, None]
        unit = Steps(1.0, self.tuning.steps)(spectral.eigenvalues / top)
        return spectral.apply(unit / top[..., None])


def _gd(batch: Batch) -> Floats:
    return batch.risks(batch.plain.apply(Flow(batch.tuning.gd)(batch.plain.eigenvalues)))


def _ridge(batch: Batch) -> Floats:
    return batch.risks(batch.plain.apply(filters.ridge(batch.tuning.ridge, batch.plain.eigenvalues)))


def _ols(batch: Batch) -> Floats:
    return batch.risks(batch.plain.apply(filters.least_squares(batch.plain.eigenvalues)[:, None]))


def _oracle(batch: Batch) -> Floats:
    w, X, y, _ = batch.prompts
    support = np.argsort(w == 0.0, axis=1, kind="stable")[:, : int((w[0] != 0.0).sum())]
    return batch.risks(predictors.oracle(X, y, support)[:, None])


def _lasso(batch: Batch) -> Floats:
    return batch.risks(predictors.lasso(batch.prompts.X, batch.prompts.y, batch.tuning.lasso))


def _p2o_equivalent(batch: Batch) -> Floats:
    w, X, y, _ = batch.prompts
    y2 = (y**2).sum(axis=1)
    return p2o_risk_given(batch.r, y2, w, batch.Sigma, batch.noise, X.shape[1], Flow(batch.tuning.p2o))


@dataclass(frozen=True)
class Method:
    """A way to predict, or to look at one.

    Attributes
    ----------
    name : str
        For tables.
    risks : callable
        Excess risks (B, J) of a `Batch` at the J values of the tuning; J = 1 if there is nothing to tune.
    short : str
        For legends; the name if it is short enough.
    color : str
        In figures; empty for those that are not drawn beside the others.
    parameter : str
        What is tuned, as tables name it; empty if there is nothing to tune.
    axis : str
        Where in a `Tuning` its values are.
    theory : callable, optional
        The least risk of a problem, as ``theory(problem, tuning, curve)`` with the curve of P2O along the
        times of the tuning; None if there is no theory.
    """

    name: str
    risks: Callable[[Batch], Floats]
    short: str = ""
    color: str = ""
    parameter: str = ""
    axis: str = ""
    theory: Callable[[SparseProblem, Tuning, Risk], Best] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "short", self.short or self.name)

    def values(self, tuning: Tuning) -> Floats | None:
        """The values (J,) among which the method takes its best; None if there is nothing to tune."""
        found: Floats | None = getattr(tuning, self.axis) if self.axis else None
        return found


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "p2o": Method(
            "preprocess-then-optimize (P2O)",
            lambda batch: batch.risks(batch.p2o),
            short="P2O",
            color="C0",
            parameter="T",
            axis="p2o",
            theory=best.p2o_best,
        ),
        "gd": Method(
            "gradient flow",
            _gd,
            color="C1",
            parameter="T",
            axis="gd",
            theory=best.gd_best,
        ),
        "ridge": Method(
            "ridge",
            _ridge,
            color="C2",
            parameter="lambda",
            axis="ridge",
            theory=best.ridge_best,
        ),
        "ols": Method("least squares", _ols, color="0.6", theory=best.ols_best),
        "oracle": Method(
            "oracle (least squares on the support)",
            _oracle,
            short="oracle",
            color="black",
            theory=best.oracle_best,
        ),
        "lasso": Method("Lasso", _lasso, color="C3", parameter="lambda", axis="lasso"),
        "p2o_steps": Method(
            "preprocess-then-optimize in steps",
            lambda batch: batch.risks(batch.stepped(batch.preprocessed)),
            parameter="t",
            axis="steps",
        ),
        "gd_steps": Method(
            "gradient descent in steps",
            lambda batch: batch.risks(batch.stepped(batch.plain)),
            parameter="t",
            axis="steps",
        ),
        "p2o_support": Method(
            "part of P2O on the support",
            lambda batch: batch.p2o_parts(support=True),
            parameter="T",
            axis="p2o",
        ),
        "p2o_off": Method(
            "part of P2O off the support",
            lambda batch: batch.p2o_parts(support=False),
            parameter="T",
            axis="p2o",
        ),
        "p2o_equivalent": Method(
            "theory of P2O given r and |y|^2 of the prompts",
            _p2o_equivalent,
            parameter="T",
            axis="p2o",
        ),
    }
)
USUAL = tuple(key for key, method in METHODS.items() if method.theory is not None)
COMPARED = tuple(key for key, method in METHODS.items() if method.color)


def best_risks(problem: SparseProblem, tuning: Tuning, curve: Risk) -> dict[str, Best]:
    """The least risk of every method that has a theory; NaN where it does not reach this problem.

    Parameters
    ----------
    problem : SparseProblem
    tuning : Tuning
    curve : Risk
        `risk.best.p2o_curve` along ``tuning.p2o``.
    """
    return {
        key: method.theory(problem, tuning, curve)
        for key, method in METHODS.items()
        if method.theory is not None
    }
