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


def bracketed(mean: float, se: float) -> str:
    """A number and its standard error in units of the last digit, 0.2983(28)."""
    digits = decimals(se)
    return f"{mean:.{digits}f}({round(se * 10**digits)})"


def decimals(se: float) -> int:
    """How many show two figures of a standard error."""
    return max(0, 1 - int(f"{se:.1e}".split("e")[1]))


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


def sparse_table(cases: list[dict[str, Any]]) -> str:
    """Simulated risks and their theory on every problem."""
    rows = []
    for case in cases:
        cells = [str(case[key]) for key in ("d", "s", "n")] + [f"{case['noise']:g}", case["label"]]
        simulated, theory = case["p2o"]["simulated"], case["p2o"]["theory"]
        cells.append(f"{bracketed(*simulated)} / {bracketed(*theory)}")
        for name in ("unpaired", "paired"):
            worst, se = case[name]["worst"]
            cells.append(f"{100.0 * worst:+.1f} ({100.0 * se:.1f})")
        for name in ("gd", "ridge", "ols", "oracle"):
            if name not in case:
                cells.append("-")
                continue
            mean, se = case[name]["simulated"]
            cells.append(f"{bracketed(mean, se)} / {case[name]['theory']:.{decimals(se)}f}")
        rows.append([*cells, "yes" if case["within"] else "no"])
    off = ["unpaired: worst, %", "paired: worst, %"]
    risks = ["gradient flow", "ridge", "least squares", "oracle"]
    return table(["d", "s", "n", "noise", "", "P2O", *off, *risks, "within"], rows, 0)


def sparse_theory(rows: list[dict[str, Any]]) -> str:
    """Monte Carlos over the theory of sparse regression, at the best point and on a curve."""
    names = {
        "gd": "gradient flow",
        "ridge": "ridge",
        "p2o given r": "P2O given r",
        "p2o given r, 64": "P2O given r, 64 at once",
        "p2o": "P2O",
    }
    found: dict[tuple[int, int, str, str], list[str]] = {}
    for row in rows:
        for name, peer in row["against"].items():
            cells = found.setdefault((row["d"], row["n"], row["what"], name), [])
            cells += [f"{peer['samples']:.0f}", f"{float(format(peer['ratio'], '.2g')):g}"]
    body = [[f"{d}", f"{n}", names[what], peer, *cells] for (d, n, what, peer), cells in found.items()]
    columns = [f"{where}: {column}" for where in ("one", "curve") for column in ("samples", "ratio")]
    return table(["d", "n", "theory", "Monte Carlo over", *columns], body, 4)


def sparse_batched(rows: list[dict[str, Any]]) -> str:
    """Times of others over those of batched preprocess-then-optimize."""
    names = list(rows[0]["ratio"])
    body = [[str(row["d"]), str(row["n"]), *(ratio(row["ratio"][name]) for name in names)] for row in rows]
    return table(["d", "n", *names], body, 0)


def laws(cases: list[dict[str, Any]]) -> str:
    """Times under the first-order law and their ratios to those under the asymptotic one."""
    units = {"field": 1e9, "hessian": 1e9, "flow": 1e3, "member": 1e3}
    rows = []
    for case in cases:
        cells = [str(case["heads"]), str(case["tasks"]), case["label"]]
        for part, unit in units.items():
            seconds = unit * case["seconds"][part]["first-order"]
            cells += [f"{seconds:.0f}" if unit == 1e9 else f"{seconds:.2f}", ratio(case["ratio"][part])]
        rows.append(cells)
    parts = ["field, ns", "Hessian, ns", "flow, ms", "member, ms"]
    return table(["H", "I", "", *(column for part in parts for column in (part, "ratio"))], rows, 0)


def large_speed(cases: list[dict[str, Any]]) -> str:
    """Flows by a factor of the Jacobian and by products with the Hessian."""
    rows = []
    for case in cases:
        seconds = case["seconds"]
        cells = [str(case[key]) for key in ("heads", "tasks", "size")]
        cells += [f"{case['end']:.0e}", str(case["steps"][1]), f"{case['difference']:.0e}"]
        cells += [f"{seconds['factor']:.2f}", f"{seconds['products']:.3f}", f"{case['ratio']:.0f}"]
        rows.append([case["start"], *cells])
    head = ["start", "H", "I", "N", "t", "steps", "difference", "factor, s", "products, s", "ratio"]
    return table(head, rows, 1)


def large_sizes(cases: list[dict[str, Any]]) -> str:
    """Flows that no factor would solve."""
    rows = []
    for case in cases:
        cells = [str(case[key]) for key in ("heads", "tasks", "size")]
        cells += [f"{case['end']:.0e}", str(case["steps"]), f"{case['products_per_stage']:.1f}"]
        rows.append([case["start"], case["signals"], *cells, f"{case['seconds']:.1f}"])
    return table(["start", "signals", "H", "I", "N", "t", "steps", "products a stage", "seconds"], rows, 2)


def audit(found: list[dict[str, Any]]) -> str:
    """Every statement by both laws, exact and sampled."""
    rows = []
    for row in found:
        numbers = [
            "-" if row[law] is None else f"{row[law]:.5g}" for law in ("asymptotic", "first_order", "exact")
        ]
        sampled = (
            "-" if row["sampled"] is None else bracketed(row["sampled"]["mean"], row["sampled"]["error"])
        )
        rows.append([row["case"], row["quantity"], *numbers, sampled])
    return table(["case", "quantity", "asymptotic", "first-order", "exact", "sampled"], rows, 2)


def main() -> None:
    """Replace the tables in place."""
    precision, tableaux = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["cases"]
        for name in ("work_precision", "methods")
    )
    many = json.loads((RESULTS / "throughput.json").read_text("utf-8"))["methods"]
    sparse, speed = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("sparse_table", "sparse_speed")
    )
    cost = json.loads((RESULTS / "laws.json").read_text("utf-8"))["cases"]
    statements = json.loads((RESULTS / "audit.json").read_text("utf-8"))["rows"]
    many_tasks = json.loads((RESULTS / "large.json").read_text("utf-8"))
    tables = {
        "headline": headline(precision),
        "sizes": sizes(precision),
        "methods": methods(tableaux),
        "throughput": throughput(many),
        "sparse": sparse_table(sparse["cases"]),
        "sparse-theory": sparse_theory(speed["theory"]),
        "sparse-batched": sparse_batched(speed["batched"]),
        "laws": laws(cost),
        "large-speed": large_speed(many_tasks["speed"]),
        "large-sizes": large_sizes(many_tasks["sizes"]),
        "audit": audit(statements),
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
