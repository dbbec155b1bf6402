"""List the derivations, or print some: ``python -m theory [NAME ...]``."""

from __future__ import annotations

import argparse
import signal
from importlib.util import find_spec

from theory import NAMES, PARTS, derived


def main() -> None:
    """Parse the command line, prove, print."""
    parser = argparse.ArgumentParser(
        prog="python -m theory",
        description="Prove derivations and print them as text and as LaTeX, or list all if none is named.",
    )
    parser.add_argument("name", nargs="*", help=f"{', '.join(NAMES)}, a part such as {PARTS[0]}, or all")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--text", action="store_true", help="text alone")
    form.add_argument("--latex", action="store_true", help="LaTeX alone")
    arguments = parser.parse_args()
    if find_spec("sympy") is None:
        parser.exit(2, f"{parser.prog}: the package 'sympy' is not installed: pip install -e '.[dev]'\n")
    choice = ", ".join((*NAMES, *PARTS, "all"))
    for name in arguments.name:
        if name not in (*NAMES, *PARTS, "all"):
            parser.exit(2, f"{parser.prog}: unknown name {name!r}; choose from {choice}\n")
    names = NAMES if not arguments.name or "all" in arguments.name else arguments.name
    for name in names:
        made = derived(name)
        if not arguments.name:
            proved = sum(step.proved for step in made.steps)
            print(f"{name:22} {made.title} ({proved} proved steps)", flush=True)
            continue
        if not arguments.latex:
            print(made.to_text(), end="\n\n")
        if not arguments.text:
            print(made.to_latex(), end="\n\n")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once, without a traceback
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
