"""Sparse linear regression in context: what a prompt's law is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from spectral_icl.io.checks import LARGEST, Floats, ProblemError, choice, integer, number

PRIORS = ("pm", "gauss")
MOST_FEATURES, MOST_PAIRS = 10**5, 10**7
LARGEST_PROMPT = 2 * 10**7
_MOST_COUPLED = 1024  # features in a dense matrix of the theory
LOUDEST = 1e6  # noise, and signal or its inverse


def check_sizes(d: object, s: object, n: object) -> tuple[int, int, int]:
    """Features, nonzero weights and context pairs as ints.

    Raises
    ------
    ProblemError
        One of them is not a whole number in its range; s is at most d.
    """
    features = integer("d", d, minimum=1, maximum=MOST_FEATURES)
    return features, integer("s", s, minimum=1, maximum=features), check_length(n)


def check_length(n: object) -> int:
    """Number of context pairs as an int.

    Raises
    ------
    ProblemError
        ``n`` is not a whole number in its range.
    """
    return integer("n", n, minimum=1, maximum=MOST_PAIRS)


def check_powers(signal: object, noise: object) -> tuple[float, float]:
    """Signal |w|^2 and variance of the label noise as floats.

    Raises
    ------
    ProblemError
        One of them is no number in its range: quotients of numbers beyond it would overflow.
    """
    least = 1.0 / LARGEST
    return number("signal", signal, minimum=least), number("noise", noise, minimum=0.0)


@dataclass(frozen=True)
class SparseProblem:
    """The law of the prompts: x ~ N(0, Sigma), y = <w, x> + eps with s nonzero entries of w.

    Chen, Zhao and Zou (2024), arXiv 2408.04532.

    Parameters
    ----------
    d : int
        Features.
    s : int
        Nonzero weights, s <= d.
    n : int
        Context pairs.
    noise : float
        Variance sigma^2 of eps.
    signal : float
        v, the sum of Sigma_jj w_j^2 over features (its mean with Gaussian weights): |w|^2 if all variances
        are 1.
    weights : {"pm", "gauss"}
        Nonzero weights of one absolute value and random signs, or Gaussian ones.
    correlation : float
        rho of an AR(1) design, Sigma_jk = rho^|j - k|, in (-1, 1).
    support_variance : float
        Variance of the features that have weight, where all others have variance 1.

    Raises
    ------
    ProblemError
        An argument is malformed, or a correlation and a support variance are both given.
    """

    d: int
    s: int
    n: int
    noise: float
    signal: float = 1.0
    weights: str = "pm"
    correlation: float = 0.0
    support_variance: float = 1.0

    def __post_init__(self) -> None:
        d, s, n = check_sizes(self.d, self.s, self.n)
        checked: dict[str, object] = {
            "d": d,
            "s": s,
            "n": n,
            "noise": number("noise", self.noise, minimum=0.0, maximum=LOUDEST),
            "signal": number("signal", self.signal, minimum=1.0 / LOUDEST, maximum=LOUDEST),
            "weights": choice("weights", self.weights, PRIORS),
            "correlation": number("correlation", self.correlation, minimum=-0.999, maximum=0.999),
            "support_variance": number(
                "support_variance", self.support_variance, minimum=1.0 / LOUDEST, maximum=LOUDEST
            ),
        }
        if n * d > LARGEST_PROMPT:
            raise ProblemError("n", n, f"n d <= {LARGEST_PROMPT:g}, for a prompt to fit into memory")
        coupled = d if checked["correlation"] else s
        if coupled > _MOST_COUPLED:
            what = "d of correlated features" if checked["correlation"] else "s"
            raise ProblemError("d" if checked["correlation"] else "s", coupled, f"{what} <= {_MOST_COUPLED}")
        if checked["correlation"] and checked["support_variance"] != 1.0:
            expected = "0 with a support_variance: one or the other"
            raise ProblemError("correlation", self.correlation, expected)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> SparseProblem:
        """The problem of a table with the parameters as keys, or ``snr`` (signal over noise) for ``noise``.

        Raises
        ------
        ProblemError
            A key is unknown or missing, or a value is malformed.
        """
        known = [field.name for field in fields(cls)]
        entries = dict(table)
        for name in entries:
            if name not in (*known, "snr"):
                raise ProblemError(str(name), entries[name], "a known key (is it a typing error?)")
        if "snr" in entries:
            if "noise" in entries:
                raise ProblemError("snr", entries["snr"], "nothing beside noise")
            ratio = number("snr", entries.pop("snr"), minimum=0.0, above=True)
            signal = number("signal", entries.get("signal", 1.0), minimum=0.0, above=True)
            if signal > LOUDEST * ratio:
                raise ProblemError("snr", ratio, f"signal/snr, the noise, to be <= {LOUDEST:g}")
            entries["noise"] = signal / ratio
        for name in ("d", "s", "n", "noise"):
            if name not in entries:
                raise ProblemError(name, None, "a value")
        return cls(**entries)

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain objects; `from_dict` is its inverse."""
        return asdict(self)

    @property
    def isotropic(self) -> bool:
        """Whether Sigma is the identity."""
        return self.correlation == 0.0 and self.support_variance == 1.0

    @property
    def Sigma(self) -> Floats | None:
        """Covariance of the features: None if it is the identity, its diagonal (d,), or the matrix (d, d).

        With a support variance the support is the first s features.
        """
        if self.correlation:
            places = np.arange(self.d)
            matrix: Floats = self.correlation ** np.abs(places[:, None] - places)
            return matrix
        if self.support_variance != 1.0:
            return np.where(np.arange(self.d) < self.s, self.support_variance, 1.0)
        return None

    @property
    def v(self) -> float:
        """|w|^2, or its mean with Gaussian weights: the signal where features with weight have variance 1."""
        return self.signal / self.support_variance
