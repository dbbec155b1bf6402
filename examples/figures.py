"""Draw every figure of examples/figures, in minutes: python examples/figures.py [FOLDER]."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent
SOLVED = {
    "two_tasks": ["flow"],
    "escape": ["flow", "escape.toml"],
    "optimal": ["optimal"],
    "sparse": ["sparse", "sparse/wins.toml"],
}
SWEPT = ["allocation", "head_budget", "regimes"]


def spectral_icl(*arguments: object) -> None:
    """Run the command in the folder of the examples, with the Python that runs this."""
    code = "from spectral_icl.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=EXAMPLES, check=True)


def main(folder: Path) -> None:
    """Draw all into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in SOLVED.items():
        spectral_icl(*command, "--plot", folder / f"{name}.png")
    with tempfile.TemporaryDirectory() as stores:
        for name in SWEPT:
            store = Path(stores) / f"{name}.zarr"
            spectral_icl("sweep", f"sweeps/{name}.toml", "--out", store)
            spectral_icl("plot", store, "--out", folder / f"sweep_{name}.png")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or [EXAMPLES / "figures"]).resolve())
