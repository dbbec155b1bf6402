"""Draw the gallery into a folder, or some of it: python -m examples.gallery FOLDER [NAME ...]."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

SCRIPTS = {path.stem: path for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))}


def main(folder: Path, names: list[str]) -> None:
    """Run the scripts in ``folder``, where each leaves its figure."""
    if unknown := sorted(set(names) - set(SCRIPTS)):
        raise SystemExit(f"NAME: expected one of {', '.join(SCRIPTS)}, got {unknown[0]!r}")
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for name in names or SCRIPTS:
        runpy.run_path(str(SCRIPTS[name]))
        print(folder / f"{name}.png")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
