"""Rewrite the tables of benchmarks/README.md from the recorded results.

    python -m benchmarks.tables

Each table stands between a line `<!-- NAME -->` and a line `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS

README = Path(__file__).with_name("README.md")
PEERS = ("LSODA", "BDF", "Radau", "odeint")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A Markdown table whose first ``words`` columns are text and the others numbers."""
    rule = ["---" if k < words else "---:" for k in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def milliseconds(seconds: float | None, digits: int = 1) -> str:
    """A time, or a dash for a target that was not reached."""
    return "-" if seconds is None else f"{1e3 * seconds:.{digits}f}"


def ratio(value: float | None) -> str:
    """A ratio, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def headline(cases: list[dict[str, Any]]) -> str:
    """Every peer at three errors, on the first case."""
    rows = []
    for name, where in (("path", "emergence"), ("final", "final state")):
        for target, found in cases[0]["at_matched_error"][name].items():
            times = [milliseconds(found["seconds"][peer]) for peer in ("spectral-icl", *PEERS)]
            rows.append([target, where, *times, ratio(found["ratio"])])
    return table(["error", "where", "spectral-icl", *PEERS, "best / ours"], rows, 2)


def sizes(cases: list[dict[str, Any]]) -> str:
    """Every size at error 1e-8."""
    rows = []
    for case in cases:
        cells = [str(case[key]) for key in ("heads", "tasks", "size")]
        for name in ("final", "path"):
            found = case["at_matched_error"][name]["1e-08"]
            best = found["seconds"][found["best"]] if found["best"] else None
            cells += [milliseconds(found["seconds"]["spectral-icl"]), milliseconds(best)]
            cells += [ratio(found["ratio"]), ratio(found["ratio_odeint"])]
        rows.append(cells)
    columns = ["ours", "best", "ratio", "`odeint` ratio"]
    head = ["H", "I", "N", *(f"{where}: {column}" for where in ("final", "emergence") for column in columns)]
    return table(head, rows, 0)


def methods(cases: dict[str, Any]) -> str:
    """Every method at three errors, on every reference case."""
    names = list(next(iter(next(iter(cases.values()))["matched"].values())))
    rows = [
        [f"`{case}`", target, *(milliseconds(times[name], 2) for name in names)]
        for case, found in cases.items()
        for target, times in found["matched"].items()
    ]
    return table(["case", "error", *names], rows, 2)


def throughput(found: dict[str, Any]) -> str:
    """Every method at both readings of the target."""
    ours = found["ensemble"]["matched"]
    rows = []
    for name, method in found.items():
        cells = [f"`{name}`" if name in ("gradient_flow", "odeint") else name]
        for reading, matched in method["matched"].items():
            seconds, own = matched["seconds_per_flow"], ours[reading]["seconds_per_flow"]
            if seconds is None:
                cells += ["-", "-", "-"]
                continue
            cells += [f"{matched['rtol']:.0e}", f"{1.0 / seconds:.0f}", ratio(seconds / own if own else None)]
        rows.append(cells)
    columns = ["rtol", "flows / s", "ensemble / it"]
    head = ["", *(f"{where}: {column}" for where in ("95 %", "every") for column in columns)]
    return table(head, rows, 1)


def main() -> None:
    """Replace the tables in place."""
    precision, tableaux = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["cases"]
        for name in ("work_precision", "methods")
    )
    many = json.loads((RESULTS / "throughput.json").read_text("utf-8"))["methods"]
    tables = {
        "headline": headline(precision),
        "sizes": sizes(precision),
        "methods": methods(tableaux),
        "throughput": throughput(many),
    }
    text = README.read_text("utf-8")
    for name, content in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, rf"\g<1>{content}\n\g<2>", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{README}: no place for the table {name!r}")
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
