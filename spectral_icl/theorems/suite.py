"""The documented cases on which the claims about softmax attention are checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from spectral_icl.multitask.experiment import Experiment


@dataclass(frozen=True)
class Case:
    """An experiment to check the claims on.

    Attributes
    ----------
    name : str
    about : str
        Why it is checked.
    experiment : Experiment
    """

    name: str
    about: str
    experiment: Experiment


def suite() -> list[Case]:
    """The documented cases, from ``suite.toml`` beside this module."""
    text = resources.files("spectral_icl.theorems").joinpath("suite.toml").read_text("utf-8")
    cases = []
    for entry in tomllib.loads(text)["case"]:
        name, about = entry.pop("name"), entry.pop("about")
        cases.append(Case(name, about, Experiment.from_dict(entry)))
    return cases
