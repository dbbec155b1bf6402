"""Flows of two laws of the context beside the recorded training run of the authors' code.

    python -m benchmarks.recorded_laws [--out DIR]

Two tasks of 10, two heads, L = 100, balanced, from the start of the run (validation/data, in whose header the
units are). Compared are when the tasks emerge, which head takes which, and omega, mu and the loss on the
plateau, of the run means over t = 27 to 33. "Five runs" are those of `validation/expected/recorded.json`,
trained with the matrices of the theory. The emergence of a run is the steepest fall of the loss by a law at
the run's omega and mu. Losses are of a task, without the noise of the query.

Under each state stands its exact loss, by the quadrature of tests/support/exact_law.py. "Exact" is the best
head of a task alone by that quadrature: where an exact flow would settle, and what SGD leaves unexplained.
The last table has it at other lengths, beside the laws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

import spectral_icl as si
from benchmarks import record
from benchmarks.audit import LAWS, best_single_head, exact, excess
from spectral_icl.multitask.loss import task_loss

Floats = NDArray[np.float64]

PROBLEM = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
START = si.initial.paper(PROBLEM, 2, 0.1, 0.1, 0.2)
PLATEAU, WINDOW, END = 30.0, 3.0, 60.0
LENGTHS = (100, 300, 1000, 10_000)
AUTHORS, FIVE = "authors' run", "five runs"
_SPAN = 1.0  # time over which a slope is taken
_VALIDATION = Path(__file__).parents[1] / "validation"


class Trace(NamedTuple):
    """The recorded run in the flow's units."""

    time: Floats
    omega: Floats  # (T, H, B)
    mu: Floats  # (T, H, I)
    loss: Floats  # of a batch, per task, without query noise


class Plateau(NamedTuple):
    """How a flow or a run got to the plateau, and where it is there."""

    emergence: tuple[float, float]  # of either task
    heads: tuple[int, int]  # that took them
    omega: float  # of the winners, the mean of both
    mu: float
    loss: float  # per task, as the law or the batches have it
    exact: float | None  # at the same omega and mu
    loss_error: float = 0.0


def recorded() -> Trace:
    """The run of the authors' code."""
    table = np.loadtxt(_VALIDATION / "data" / "full_model_sgd_two_tasks.csv", delimiter=",")
    omega, mu = table[:, 2:6].reshape(-1, 2, 2), table[:, 6:10].reshape(-1, 2, 2)
    return Trace(table[:, 0] / PROBLEM.tasks, omega, mu, table[:, 1])


def of_flow(kernel: str) -> Plateau:
    """The flow of a law."""
    flow = si.gradient_flow(PROBLEM, *START, t_end=END, kernel=kernel)
    first, second = flow.phases.tasks
    assert first.head is not None
    assert second.head is not None
    at = flow(PLATEAU)
    loss = excess(PROBLEM, float(si.loss(PROBLEM, *at, kernel=kernel)))
    heads = (first.head, second.head)
    return Plateau((first.time, second.time), heads, *_winners(at, heads), loss, exact(PROBLEM, at))


def of_run(run: Trace, kernel: str) -> Plateau:
    """The recorded run, its emergence told by a law."""
    losses = task_loss(PROBLEM, run.omega, run.mu, kernel)
    emerged = [_steepest(run.time, losses[:, task]) for task in range(2)]
    inside = np.abs(run.time - PLATEAU) <= WINDOW
    at = si.State(run.omega[inside].mean(axis=0), run.mu[inside].mean(axis=0))
    heads = tuple(int(head) for head in (at.omega * at.mu).argmax(axis=0))
    batches = run.loss[inside]
    error = float(batches.std(ddof=1) / np.sqrt(batches.size))
    return Plateau(
        (emerged[0], emerged[1]),
        (heads[0], heads[1]),
        *_winners(at, (heads[0], heads[1])),
        float(batches.mean()),
        exact(PROBLEM, at),
        error,
    )


def of_five_runs() -> Plateau:
    """The means over five runs of ours, from the results of the validation."""
    rows = json.loads((_VALIDATION / "expected" / "recorded.json").read_text("utf-8"))["rows"]
    found = {row["quantity"]: row for row in rows}

    def each(text: str) -> list[float]:
        return [float(found[f"ours: {text.format(task)}"]["measured"]) for task in range(2)]

    loss = found["ours: loss at t = 30"]
    first, second = each("emergence of task {}")
    heads = each("head of task {}")
    return Plateau(
        (first, second),
        (int(heads[0]), int(heads[1])),
        float(np.mean(each("winning omega of task {} at t = 30"))),
        float(np.mean(each("winning mu of task {} at t = 30"))),
        excess(PROBLEM, float(loss["measured"])),
        None,
        float(loss["error"]) / PROBLEM.tasks,
    )


def _winners(at: si.State, heads: tuple[int, int]) -> tuple[float, float]:
    """The winners' omega and mu, means over tasks."""
    omega = np.mean([at.omega[head, task] for task, head in enumerate(heads)])
    return float(omega), float(np.mean([at.mu[head, task] for task, head in enumerate(heads)]))


def _steepest(times: Floats, losses: Floats) -> float:
    """Time of the steepest fall before the plateau is left."""
    window = 2 * max(2, round(0.25 * _SPAN / (times[1] - times[0]))) + 1
    slope = savgol_filter(losses, window, polyorder=2, deriv=1)
    before = times <= PLATEAU
    return float(times[before][slope[before].argmin()])


class Best(NamedTuple):
    """The best head of one task of 10 by a law, or by the exact loss."""

    omega: float
    mu: float
    loss: float  # without query noise


def best_heads(length: float) -> dict[str, Best]:
    """By law, and exact."""
    alone = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=length)
    found = {}
    for law in LAWS:
        benchmark = si.optimal.single_head(alone, kernel=law)
        assert benchmark.weights is not None
        found[law] = Best(*_only(benchmark.weights), excess(alone, benchmark.loss))
    at, least = best_single_head(alone)
    return found | {"exact": Best(*_only(at), least)}


def _only(at: si.State) -> tuple[float, float]:
    return float(at.omega[0, 0]), float(at.mu[0, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description="flows of two laws beside the recorded training run")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    run = recorded()
    found = {law: of_flow(law) for law in LAWS}
    by_law = {law: of_run(run, law) for law in LAWS}
    found[AUTHORS], found[FIVE] = by_law[LAWS[0]], of_five_runs()
    lengths = {length: best_heads(length) for length in LENGTHS}
    best = lengths[round(PROBLEM.context_length)]["exact"]._asdict()

    names = [*found, "exact"]
    lines = [record.machine_line(), "", f"{'':36}" + "".join(f"{name:>14}" for name in names)]
    rows: dict[str, list[str]] = {
        f"emergence of task {task}": [f"{one.emergence[task]:.2f}" for one in found.values()]
        for task in (0, 1)
    }
    rows["heads of the tasks"] = [f"{one.heads[0]}, {one.heads[1]}" for one in found.values()]
    for key, label in (("omega", "omega of the winner"), ("mu", "mu of the winner"), ("loss", "loss")):
        rows[label] = [f"{getattr(one, key):.4f}" for one in found.values()] + [f"{best[key]:.4f}"]
    rows["  its standard error"] = [
        f"{one.loss_error:.4f}" if one.loss_error else "" for one in found.values()
    ]
    exacts = [one.exact for one in found.values()]
    rows["exact loss at these omega and mu"] = ["" if value is None else f"{value:.4f}" for value in exacts]
    lines += [f"{label:36}" + "".join(f"{cell:>14}" for cell in cells) for label, cells in rows.items()]
    told = by_law[LAWS[1]].emergence
    lines += [
        "",
        f"emergence of the authors' run by the first-order loss: {told[0]:.2f}, {told[1]:.2f}",
        "",
        f"{'distance, percent':36}" + "".join(f"{name:>14}" for name in (*LAWS, "exact")),
    ]
    distances: dict[str, dict[str, dict[str, float]]] = {}
    for reference in (AUTHORS, FIVE):
        for key in ("omega", "mu", "loss"):
            true = float(getattr(found[reference], key))
            values = {law: float(getattr(found[law], key)) for law in LAWS} | {"exact": best[key]}
            off = {name: 100.0 * (value / true - 1.0) for name, value in values.items()}
            distances.setdefault(reference, {})[key] = off
            lines.append(f"{f'{key}, from {reference}':36}" + "".join(f"{x:+14.1f}" for x in off.values()))
    kinds = (*LAWS, "exact")
    cells = "".join(f"{kind:>14}" for kind in (*kinds, *LAWS))
    lines += ["", f"{'best head of a task of 10':30}{'sqrt(d) omega':^42}{'loss over the exact one':^28}"]
    lines.append(f"{'':30}{cells}")
    for length, heads in lengths.items():
        sizes = "".join(f"{10**0.5 * heads[kind].omega:14.4f}" for kind in kinds)
        over = "".join(f"{heads[law].loss / heads['exact'].loss:14.4f}" for law in LAWS)
        lines.append(f"{f'  L = {length}':30}{sizes}{over}")
    text = "\n".join(line.rstrip() for line in lines)
    print(text)
    data: dict[str, Any] = {
        "plateau": {name: one._asdict() for name, one in found.items()},
        "emergence by the first-order loss": list(told),
        "best heads": {
            str(length): {kind: head._asdict() for kind, head in heads.items()}
            for length, heads in lengths.items()
        },
        "distance": distances,
    }
    record.write(options.out, "recorded_laws", text, data)


if __name__ == "__main__":
    main()
