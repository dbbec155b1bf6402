"""What the claims about sparse regression are checked on: simulations of a problem, each made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.sparse import predictors
from spectral_icl.sparse.filters import Steps
from spectral_icl.sparse.methods import USUAL
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw, excess_risk, most_prompts
from spectral_icl.sparse.simulation import Estimate, Simulation, simulate
from spectral_icl.sparse.transformer.construction import (
    build_gd_head,
    build_narrow_heads,
    build_preprocess_heads,
)
from spectral_icl.sparse.transformer.heads import head_mismatch, mismatch
from spectral_icl.sparse.transformer.model import LinTF
from spectral_icl.sparse.tuning import Tuning
from spectral_icl.theorems.claim import UnmeasurableError
from spectral_icl.theorems.sparse.bounds import spectral_bound

_WIDE, _FEWEST = 8, 50  # prompts of wide problems: so many times fewer, and at least so many
_FEATURES = 2**25  # drawn at once
_LAYERS = 3  # steps of gradient descent, and of P2O
_GROWTH = (1, 2, 4)  # of the context, along which a rate is followed
_BOUNDED = 200  # prompts whose spectra tell what no filter goes below
_BUILT, _DEEP, _HEADS = 4, 8, 64  # prompts that layers are built for, steps, and features at most
_SEARCHED, _STARTS = 4, 6  # features of a search for weights, at most, and its starts
_NARROW = 100.0  # factor of features that have no rows of their own


Kept = dict[tuple[object, ...], Simulation]


@dataclass(frozen=True)
class Evidence:
    """A sparse problem and everything that the claims ask of it, simulated when first asked for.

    Attributes
    ----------
    problem : SparseProblem
    prompts : int
        To simulate; fewer where they take long.
    seed : int
    kept : dict
        Simulations made so far, by what was simulated: shared by evidence on other problems.
    """

    problem: SparseProblem
    prompts: int
    seed: int
    kept: Kept = field(default_factory=dict, repr=False, compare=False)

    def at(self, problem: SparseProblem) -> Evidence:
        """Evidence on another problem, from as many prompts."""
        return replace(self, problem=problem)

    def growing(self, doublings: int) -> Iterator[Evidence]:
        """Evidence from these prompts, then from twice as many, and so on: one more than ``doublings``.

        Less where that would take hours.
        """
        yield self
        for k in range(1, doublings + 1):
            if self.prompts * 2**k <= most_prompts(self.problem):
                yield replace(self, prompts=self.prompts * 2**k, kept={})

    @property
    def usual(self) -> Simulation:
        """Simulation of the usual methods."""
        return self._simulated(USUAL, self.prompts)

    @property
    def steps(self) -> Simulation:
        """Simulation of P2O and gradient descent in discrete steps, and ridge."""
        return self._simulated(("p2o_steps", "gd_steps", "ridge"), self.prompts)

    @property
    def with_lasso(self) -> Simulation:
        """Simulation of P2O and the Lasso, which needs scikit-learn."""
        try:
            return self._simulated(("p2o", "lasso"), self.prompts)
        except ProblemError as error:
            raise UnmeasurableError(f"{error.expected} is needed") from None

    @property
    def parts(self) -> Simulation:
        """Simulation of P2O, on and off the support, and its equivalent, from an eighth of the prompts."""
        methods = ("p2o", "p2o_support", "p2o_off", "p2o_equivalent")
        return self._simulated(methods, max(_FEWEST, self.prompts // _WIDE))

    def at_time(self, time: float, method: str) -> Simulation:
        """Simulation of a method of the P2O flow at one time, from three times the prompts."""
        return self._simulated((method,), 3 * self.prompts, time)

    @property
    def over_ridge(self) -> Estimate:
        """Risk of P2O over that of ridge at the best penalty: known for isotropic features, else tuned."""
        found = self.usual
        return found.ratio("p2o", "ridge", below=found.tuning.known if self.problem.isotropic else None)

    @property
    def fixed_steps(self) -> Estimate:
        """Risk of P2O over that of gradient descent after three steps of the best size for all prompts.

        Means are over prompts whose risk is clipped at that of predicting 0, since the tail is heavy.
        """
        problem = self.problem
        affordable = _FEATURES // (problem.n * problem.d)
        if affordable < _FEWEST:
            raise UnmeasurableError(f"{_FEWEST} prompts of this size do not fit into memory together")
        sample = draw(problem, min(self.prompts, affordable), np.random.default_rng(self.seed))
        scale = problem.s / problem.v
        best: list[Floats] = []
        for metric, sizes in (
            (predictors.correlations(sample.X, sample.y), scale * np.geomspace(0.05, 5.0, 40)),
            (None, np.geomspace(0.02, 2.0, 40)),
        ):
            found = predictors.spectral(sample.X, sample.y, metric)
            risks = [
                excess_risk(
                    found.apply(Steps(eta, _LAYERS)(found.eigenvalues))[:, 0], sample.w, problem.Sigma
                )
                for eta in sizes.tolist()
            ]
            clipped = np.minimum(np.array(risks), problem.signal)
            best.append(clipped[clipped.mean(axis=1).argmin()])
        return Simulation({"p2o": best[0][:, None], "gd": best[1][:, None]}, Tuning.of(problem)).ratio(
            "p2o", "gd"
        )

    @property
    def along(self) -> list[tuple[SparseProblem, Estimate]]:
        """The problem at this context length, twice and four times it, each with the least risk of P2O."""
        longer = [replace(self.problem, n=k * self.problem.n) for k in _GROWTH]
        return [(p, self.at(p)._simulated(("p2o",), self.prompts).at_best("p2o")) for p in longer]

    @property
    def spectral_bound(self) -> Estimate:
        """Risk that no spectral filter goes below, on as many prompts as do."""
        p, count = self.problem, min(self.prompts, _BOUNDED)
        if p.d * max(p.n, p.d) > _FEATURES // count:
            raise UnmeasurableError(f"{count} prompts of this size do not fit into memory together")
        return spectral_bound(p, count, self.seed)

    def built(self, layout: str = "wide", without: int = 0) -> float:
        """Largest difference of the features and predictions of constructed layers from those of P2O.

        In units of the labels' standard deviation, over prompts of the problem and after every step, each of
        size 1 over the prompt's largest eigenvalue.

        Parameters
        ----------
        layout : {"wide", "narrow"}
            With rows for the features, or without.
        without : int
            Heads of the first layer to take out.
        """
        p = self.problem
        if p.d > _HEADS:
            raise UnmeasurableError(f"explicit heads are put to the test for at most {_HEADS} features")
        if p.n * p.d > _FEATURES // _BUILT:
            raise UnmeasurableError(f"{_BUILT} prompts of this size do not fit into memory together")
        sample = draw(p, _BUILT, np.random.default_rng(self.seed))
        scale = np.sqrt(p.signal + p.noise)
        r = predictors.correlations(sample.X, sample.y)
        top = np.linalg.norm(sample.X * r[:, None], 2, axis=(1, 2)) ** 2 / p.n
        mask = [np.arange(p.d) >= without, *([np.ones(1)] * _DEEP)]
        worst = 0.0
        for X, y, xq, metric, eta in zip(sample.X, sample.y, sample.xq, r, (1.0 / top).tolist(), strict=True):
            if layout == "wide":
                first, later = build_preprocess_heads(p.d), build_gd_head(p.d, b=eta)
            else:
                factor = _NARROW / scale
                first = build_narrow_heads(p.d, factor)
                later = build_gd_head(p.d, a=eta / factor**2, layout="narrow")
            model = LinTF.constructed([first, *([later] * _DEEP)], layout)
            _, columns = model.forward(X, y, xq, mask=mask, probe=True)
            off = [columns[1:, -1] + predictors.p2o(X, y, eta, _DEEP) @ xq]
            if layout == "wide":
                off.append(columns[1:, p.d : 2 * p.d] - metric * xq)
            worst = max(worst, *(float(np.abs(part).max()) for part in off))
        return worst / float(scale)

    def mismatch(self, heads: int) -> float:
        """Least mismatch of fewer heads than features from exact preprocessing that a search finds.

        That of the construction for as many heads as there are features.
        """
        d = self.problem.d
        if d > _SEARCHED:
            raise UnmeasurableError(f"weights are searched for d <= {_SEARCHED}; the proof is for every d")
        if heads < d:
            return _searched(heads, d, self.seed)
        rows, units = np.zeros((d, d, d)), np.eye(d)
        columns = units[:, :, None] * units[:, None]  # values copy the label, keys and queries read a feature
        built = np.concatenate([part.ravel() for part in (rows, columns, units, np.zeros((d, d)))])
        return mismatch(built, d, d)[0]

    def _simulated(self, methods: tuple[str, ...], prompts: int, time: float | None = None) -> Simulation:
        if prompts > most_prompts(self.problem):
            raise UnmeasurableError(f"{prompts} prompts of this size take hours")
        key = (self.problem, methods, prompts, time)
        if key not in self.kept:
            tuning = Tuning.of(self.problem, time)
            self.kept[key] = simulate(self.problem, methods, prompts, self.seed, tuning)
        return self.kept[key]


@lru_cache(maxsize=64)
def _searched(heads: int, d: int, seed: int) -> float:
    """Least mismatch that is found from a few random starts: it does not depend on the prompts."""
    return head_mismatch(heads, d, _STARTS, seed)
