"""What is compiled beforehand: everything, for every law."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import spectral_icl as si
from spectral_icl import warm
from spectral_icl.kernels.compile import entries
from spectral_icl.kernels.descent import descend_alone, descend_many
from spectral_icl.kernels.integrator import integrate
from spectral_icl.kernels.loss import task_losses
from spectral_icl.kernels.noise import add_moments
from spectral_icl.kernels.phases import measure_phases, measure_survey, survey
from spectral_icl.multitask.context import LAWS, OF_LARGE, pack

CALLS = """
import json, sys
from spectral_icl import warm
from spectral_icl.kernels.compile import entries
for piece in warm.plan(sys.argv[1:]):
    piece()
calls = {}
for made in entries:
    types = {*made.stats.cache_hits, *made.stats.cache_misses}
    calls[f"{made.__module__}.{made.__name__}"] = sorted(map(str, types))
print(json.dumps(calls))
"""


def test_every_entry_is_called_under_every_law(two_tasks: si.Problem) -> None:
    """Who adds an entry makes a piece of work call it; a law is found where it is registered."""
    containers = {law: type(pack(two_tasks, law)) for law in LAWS}
    large = {law: type(pack(two_tasks, law, heads=1000)) for law in OF_LARGE}
    only_large = {container.__module__ for container in large.values()}
    of_laws = {container.__module__: law for law, container in containers.items()}
    of_laws["spectral_icl.kernels.overlaps"] = "exact"  # the quadrature of its tables
    for module in ("fall", "race"):  # forecasts
        of_laws[f"spectral_icl.kernels.{module}"] = "asymptotic"
    # paths take lanes, or leave them to the nodes of the exact law's query, whose noise is of drawn prompts
    of_entries = {descend_many: {*OF_LARGE}, descend_alone: {"exact"}, add_moments: {"exact"}}
    calls: dict[str, dict[str, list[str]]] = {}
    for law in LAWS:
        command = [sys.executable, "-c", CALLS, law]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
        calls[law] = json.loads(done.stdout)
    missed = []
    for made in entries:
        name = f"{made.__module__}.{made.__name__}"
        if made.__module__.split(".")[0] != "spectral_icl":
            continue
        asks_for_law = any(
            container.__name__ in types
            for container in containers.values()
            for called in calls.values()
            for types in called[name]
        )
        if made in (integrate, survey, measure_phases, task_losses):
            for law, container in large.items():
                if not any(container.__name__ in types for types in calls[law][name]):
                    missed.append((name, container.__name__))
        if made.__module__ in only_large or made in (survey, measure_survey):
            if not any(calls[law][name] for law in OF_LARGE):
                missed.append((name, "large"))
            continue
        for law, container in containers.items():
            if of_laws.get(made.__module__, law) != law or law not in of_entries.get(made, {law}):
                continue
            named = container.__name__ if asks_for_law else ""
            if not any(named in types for types in calls[law][name]):
                missed.append((name, law))
    assert missed == []


def test_laws_have_all_work_each_and_the_rest_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS, "new", LAWS["asymptotic"])
    pieces = warm.plan()
    assert len(set(pieces)) == len(pieces) == len(LAWS) * len(warm.PER_LAW) + len(warm.ONCE)
    assert {piece.kernel for piece in pieces} == {*LAWS, None}
    assert [piece.kernel for piece in warm.plan(["new", "new"])] == [*["new"] * len(warm.PER_LAW), None]
    assert warm.plan(["large-L"]) == warm.plan(["asymptotic"])


def test_a_line_says_what_was_compiled_and_what_for() -> None:
    piece = warm.Piece("flows", "first-order")
    done = [warm.Done(piece, ("integrate", "evaluate"), 12.34), warm.Done(warm.Piece("descents"), (), 0.01)]
    assert [one.to_text() for one in done] == [
        "flows, first-order law: 2 functions in 12.3 s, for flow, verify and gradient_flow",
        "descents: there already, for p2o and gd of sparse regression, in steps",
    ]
    report = warm.WarmReport(tuple(done), 12.4, Path("cache"), 1_500_000, "abacus")
    assert (
        report.to_text() == "2 functions compiled in 12.4 s\ncache cache: 1.5 MB, for processors like abacus"
    )
    assert warm.WarmReport((), 0.1, Path("cache"), 0, "abacus").to_text().startswith("nothing to compile\n")
