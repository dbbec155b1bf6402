"""Where the laws in 1/L describe softmax attention: the exact law over both, and flows under all three.

    python -m benchmarks.validity [--quick] [--out DIR]

Of one task with signal power 1 and noise 0.1, by how many percent the exact loss, and the exact excess, is
above those of either law: over L and d, for one head at d omega^2 = 1 and for two of opposite sign at
d omega^2 = 0.05, and over L and d omega^2 for one head at d = 5. Their OV values are the best under the
asymptotic law (`spectral_icl.multitask.validity`). Then the flows of one head from a small start: emergence
time and excess at rest under the exact law over those of each other law
(`spectral_icl.multitask.comparison`). The figure of the three maps is written beside the table. A dash is
where a law does not exist, or its flow fails.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from spectral_icl.figures.style import save
from spectral_icl.figures.validity import validity_figure
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.comparison import FlowComparison, compare_flows
from spectral_icl.multitask.validity import LAWS, Validity, validity_map

LENGTHS = (10.0, 40.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
DIMENSIONS = (1, 2, 5, 10, 20, 50, 100, 200)
SIZES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
ONE, TWO, AT = 1.0, 0.05, 5  # d omega^2 of one head and of two, and the dimension of the third map
FLOWS = (40.0, 100.0, 1e3, 1e4)
FLOW_DIMENSIONS = (2, 5, 10, 20, 50)
_QUICK = 2  # every so many lengths and dimensions


def maps(quick: bool) -> list[Validity]:
    """The three maps."""
    lengths, dims = LENGTHS, DIMENSIONS
    if quick:
        lengths, dims = lengths[1::_QUICK], dims[1::_QUICK]
    return [
        validity_map(lengths, dims, [ONE]),
        validity_map(lengths, dims, [TWO], heads=2),
        validity_map(lengths, [AT], SIZES[:: 2 * _QUICK] if quick else SIZES),
    ]


def table(title: str, side: str, columns: Sequence[float], lengths: Floats, values: Floats) -> list[str]:
    """Lines of a table over lengths (N,) and columns (C,), from values (N, C)."""
    heading = f"{'L ' + chr(92) + ' ' + side:>12} " + " ".join(f"{column:8g}" for column in columns)
    rows = (
        f"{length:12g} " + " ".join(f"{value:8.3g}" if np.isfinite(value) else f"{'-':>8}" for value in row)
        for length, row in zip(lengths, values, strict=True)
    )
    return ["", title, "", heading, *rows]


def of_map(found: Validity) -> list[str]:
    """Percent by which exact losses and excesses are above those of each law."""
    by_dimension = found.dimensions.size > 1
    columns, side = (found.dimensions, "d") if by_dimension else (found.sizes, "d omega^2")
    fixed = f"d omega^2 = {found.sizes[0]:g}" if by_dimension else f"d = {found.dimensions[0]:g}"
    what = f"{found.heads} head{'s of opposite sign' if found.heads == 2 else ''}, {fixed}"
    lines = []
    for law in LAWS:
        for totals, name in ((True, "loss"), (False, "excess")):
            values = 100.0 * (found.over(law, totals) - 1.0).reshape(found.lengths.size, -1)
            title = f"{what}: exact above {law} {name}, %"
            lines += table(title, side, columns, found.lengths, values)
    return lines


def of_flows(found: FlowComparison) -> list[str]:
    """Ratios of emergence times and of the excess at rest."""
    lines = []
    for law in LAWS:
        for name, values in (("emergence time", found.time_over(law)), ("limit", found.limit_over(law))):
            title = f"flow of one head: {name}, exact over {law}"
            lines += table(title, "d", found.dimensions, found.lengths, values)
    return lines


def _plain(values: Floats) -> Any:
    """Nested lists, in which what is not finite is null."""
    return np.where(np.isfinite(values), values, None).tolist()


def _of_map_as_data(found: Validity) -> dict[str, Any]:
    axes = {name: getattr(found, name).tolist() for name in ("lengths", "dimensions", "sizes")}
    laws = {law: _plain(found.excess(law)) for law in ("exact", *LAWS)}
    return {**axes, "heads": found.heads, "signal": found.signal, "noise": found.noise, "excess": laws}


def main() -> None:
    parser = argparse.ArgumentParser(description="where the laws in 1/L describe softmax attention")
    parser.add_argument("--quick", action="store_true", help="a quarter of the points, and fewer flows")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    found = maps(options.quick)
    flows = (
        compare_flows(FLOWS[1::2], FLOW_DIMENSIONS[1::2])
        if options.quick
        else compare_flows(FLOWS, FLOW_DIMENSIONS)
    )
    lines = [record.machine_line(), "signal power 1, noise 0.1"]
    for one in found:
        lines += of_map(one)
    text = "\n".join([*lines, *of_flows(flows)])
    print(text)
    data = {
        "maps": [_of_map_as_data(one) for one in found],
        "flows": {
            "lengths": flows.lengths.tolist(),
            "dimensions": flows.dimensions.tolist(),
            "time": {law: _plain(values) for law, values in flows.time.items()},
            "limit": {law: _plain(values) for law, values in flows.limit.items()},
        },
    }
    record.write(options.out, "validity", text, data)
    for kind in ("png", "pdf"):
        save(validity_figure(found), options.out / f"validity.{kind}")


if __name__ == "__main__":
    main()
