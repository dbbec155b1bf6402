"""Print derivations: ``python -m theory NAME``."""

from __future__ import annotations

import argparse
from importlib import import_module

from theory import NAMES
from theory.derivation import Derivation


def derivation(name: str) -> Derivation:
    """The proved derivation of that name."""
    made: Derivation = import_module(f"theory.{name}").derive()
    return made


def main() -> None:
    """Parse the command line, prove, print."""
    parser = argparse.ArgumentParser(
        prog="python -m theory", description="Prove a derivation and print it as text and as LaTeX."
    )
    parser.add_argument("name", nargs="*", choices=[*NAMES, "all"], help=f"{', '.join(NAMES)}, or all")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--text", action="store_true", help="text alone")
    form.add_argument("--latex", action="store_true", help="LaTeX alone")
    arguments = parser.parse_args()
    names = NAMES if not arguments.name or "all" in arguments.name else arguments.name
    for name in names:
        made = derivation(name)
        if not arguments.name:
            print(f"{name:22} {made.title} ({len(made.steps)} steps, proved)")
            continue
        if not arguments.latex:
            print(made.to_text(), end="\n\n")
        if not arguments.text:
            print(made.to_latex(), end="\n\n")


if __name__ == "__main__":
    main()
