"""SHA-256 of what the package computes: equal before and after a change that should change no bit.

    python -m benchmarks.fingerprints [--quick] > after.txt

Flows of all parametrizations with dense output, phases and forecasts; an ensemble with phases and curves;
benchmarks; the JSON of every command; and the stores of two sweeps, without the commit that made them. Only
public names are used, so that the file also runs in an older tree, copied there. Bits are those of a machine
and its versions: compare on one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import spectral_icl as si

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "flow": ["flow", "--json"],
    "flow escape": ["flow", "examples/escape.toml", "--json"],
    "optimal": ["optimal", "--json"],
    "optimal overlap": ["optimal", "examples/overlap.toml", "--json"],
    "verify escape": ["verify", "examples/escape.toml", "--json"],
    "sparse": ["sparse", "examples/sparse/wins.toml", "--json", "--set", "study.prompts=200"],
}
SLOW = {
    "verify": ["verify", "--json"],
    "verify --sparse": ["verify", "--sparse", "--prompts", "100", "--json"],
}
SWEEPS = {
    "sweep of flows": """
batch = 50
[problem]
task_sizes = [4, 4]
signal = [10.0, 10.0]
noise = 0.09
context_length = 100
[initial]
kind = "random"
scale = 0.1
positive = true
[flow]
t_end = 500.0
[record]
forecast = true
times = [0.1, 0.4, 100.0]
[[axis]]
path = "problem.context_length"
values = [50, 100, 500]
[[axis]]
path = "model.heads"
values = [2, 3]
[[axis]]
path = "initial.seed"
replicates = 8
""",
    "sweep of sparse problems": """
[sparse]
d = 16
s = 2
n = 64
noise = 0.25
[study]
prompts = 60
draws = 16
[[axis]]
path = "sparse.n"
values = [32, 64]
""",
}


def sha(*arrays: object) -> str:
    """The digest of arrays, with their shapes and types."""
    digest = hashlib.sha256()
    for values in map(np.ascontiguousarray, arrays):
        digest.update(f"{values.shape}{values.dtype}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def computed() -> Iterator[tuple[str, str]]:
    """Names and digests of flows, ensembles and benchmarks."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=(10.0, 10.0), noise=0.09, context_length=100)
    q = si.Problem(
        block_sizes=(5, 3, 7),
        signal=((1.0, 0.5, 0.0), (0.0, 2.0, 1.0)),
        noise=(0.3, 0.1),
        context_length=250,
        covariance=(1.0, 0.7, 1.3),
    )
    weights = (si.Balanced(), si.Factored(1e-6, 1e-5), si.Merged())
    for name, problem in (("disjoint", p), ("overlapping", q)):
        start = si.initial.random(problem, 3, scale=0.1, seed=3, positive=True)
        for way in weights:
            sol = si.gradient_flow(problem, *start, parametrization=way, t_end=1000.0)
            curve, dense = sol.trajectory, sol(np.linspace(0.0, 1000.0, 77))
            yield f"flow, {way.name}, {name}", sha(curve.t, curve.x, curve.dense, sol.loss, *dense)
            told = repr((sol.phases, sol.forecast, sol.saturation, sol.message, sol.stats))
            yield f"phases, {way.name}, {name}", hashlib.sha256(told.encode()).hexdigest()
        yield f"derivatives, {name}", sha(si.hessian(problem, *start), *si.gradient(problem, *start))
        for heads in (1, 2, 3):
            yield f"best of {heads} heads, {name}", sha(*si.optimal.minimise(problem, heads).weights)
    starts = [si.initial.random(p, 3, scale=0.1, seed=k, positive=k % 2 == 0) for k in range(64)]
    many = si.gradient_flow_ensemble(
        p,
        *zip(*starts, strict=True),
        parametrization=[weights[k % 3] for k in range(64)],
        t_end=1e4,
        t_eval=np.geomspace(0.1, 1e4, 20),
        phases=True,
    )
    arrays = {name: values for name, values in vars(many).items() if isinstance(values, np.ndarray)}
    yield "ensemble", sha(*(arrays[name] for name in sorted(arrays)))


def run(*arguments: str) -> bytes:
    """Standard output of a command, at a time that does not pass."""
    code = "from spectral_icl.cli import main; main()"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    if done.returncode > 1:
        raise RuntimeError(done.stderr.decode())
    return done.stdout


def stored(folder: Path) -> str:
    """The digest of a store: every file and its name, without the source that its provenance names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.parent == folder:
            table = json.loads(data)
            made = json.loads(table["attributes"]["provenance"])
            del made["source"]
            table["attributes"]["provenance"] = made
            data = json.dumps(table, sort_keys=True).encode()
        digest.update(path.relative_to(folder).as_posix().encode() + data)
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="SHA-256 of everything that is computed")
    parser.add_argument("--quick", action="store_true", help="without the two suites of claims")
    commands = COMMANDS if parser.parse_args().quick else COMMANDS | SLOW
    for name, digest in computed():
        print(digest[:24], name, flush=True)
    for name, arguments in commands.items():
        print(hashlib.sha256(run(*arguments)).hexdigest()[:24], name, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SWEEPS.items():
            plan, store = Path(folder, "plan.toml"), Path(folder, f"{name}.zarr")
            plan.write_text(text, "utf-8")
            run("sweep", str(plan), "--out", str(store))
            print(stored(store)[:24], name, flush=True)


if __name__ == "__main__":
    main()
