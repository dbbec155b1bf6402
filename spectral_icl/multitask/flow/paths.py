"""Paths of stochastic gradient descent, taken by the compiled steps: side by side in lanes, or one by one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.kernels import descent
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.lanes import WIDTH
from spectral_icl.kernels.loss import losses_by
from spectral_icl.kernels.model import Model
from spectral_icl.multitask.context import EXACT, LAWS
from spectral_icl.multitask.exact.packing import packed, reach_of
from spectral_icl.multitask.exact.queries import rule
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.noise.factors import factors_of
from spectral_icl.multitask.noise.moments import GradientNoise
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

_NUMBERS = 4_000_000  # normal numbers drawn at a time
_LEVELS = (1, 2)  # of rules for the query that may do
_EXACT_ENOUGH = 1e-4  # of the loss without noise, by which they may differ


class Run(NamedTuple):
    """What all paths share."""

    problem: Problem
    parametrization: Parametrization
    start: State  # (H, B) and (H, I)
    model: Model
    labels: descent.Labels
    rule: descent.Rule
    noise: descent.Noise
    marks: NDArray[np.int64]  # (T,) numbers of the steps before which a record is made
    seed: int


def model_of(problem: Problem, kernel: str, at: State) -> Model:
    """The packed problem, with all of its powers, since lanes have no other form.

    Under the exact law with as few nodes for the query as losses at K states, (K, H, B) and (K, H, I), allow:
    paths take thousands of steps, whose noise is known to some percent.
    """
    if kernel != EXACT:
        return LAWS[kernel](problem)
    reach = reach_of(problem, at.omega)
    finest = packed(problem, reach)
    told = losses_by(finest, *at)
    for level in _LEVELS:
        model = packed(problem, reach, rule(problem.block_sizes, level))
        apart = np.abs(losses_by(model, *at) - told)
        if model.used < finest.used and (apart <= _EXACT_ENOUGH * (told - np.asarray(problem.noise))).all():
            return model
    return finest


def wider_model(model: Model, problem: Problem, at: State) -> Model | None:
    """The exact law with a table that knows where paths (P, T, ...) have been, if the model's does not."""
    if not isinstance(model, Exact) or model.reach >= REACHES[-1]:
        return None
    known = State(*(np.nan_to_num(values.reshape(-1, *values.shape[2:])) for values in at))
    return model_of(problem, EXACT, known) if reach_of(problem, known.omega) > model.reach else None


def labels_of(problem: Problem, hidden: Floats) -> descent.Labels:
    """What the noise of a path depends on beside its state; ``hidden`` (I,) is noise of queries' labels."""
    return descent.Labels(
        sizes=np.array(problem.block_sizes, dtype=np.float64),
        kappa=np.array(problem.covariance),
        weight=np.array(problem.logit_weight),
        power=np.array(problem.signal),
        shared=np.array(problem.variance) / problem.context_length,
        known=np.array(problem.noise) - hidden,
    )


def roots_of(
    nodes: Floats, noise: GradientNoise, labels: descent.Labels, at: State, losses: Floats, strays: bool
) -> descent.Noise:
    """What the compiled steps take of the noise: symmetric roots, which change smoothly along the flow.

    Beside it what it is scaled by: at the flow's states ``at`` (K, ...), of losses (K, I).
    """
    states, tasks, _, heads, _ = noise.crossed.shape
    upper = np.argwhere(np.triu(np.ones((tasks, tasks), dtype=bool), 1)) if strays else np.empty((0, 2), int)
    pairs = np.zeros((states, len(upper), 2 * heads, 2 * heads))
    for m, (i, j) in enumerate(upper):
        pairs[:, m, :heads, :heads] = noise.crossed[:, i, j]
        pairs[:, m, heads:, heads:] = noise.crossed[:, j, i]
        pairs[:, m, :heads, heads:] = noise.swapped[:, i, j]
        pairs[:, m, heads:, :heads] = np.swapaxes(noise.swapped[:, i, j], 1, 2)
    squares = np.empty((states, tasks)), np.empty(at.mu.shape), np.empty(at.omega.shape)
    omega, mu = (np.ascontiguousarray(values) for values in at)
    descent.mean_squares(labels, omega, mu, np.ascontiguousarray(losses), *squares)
    return descent.Noise(
        nodes, _root(noise.entries), _root(pairs), np.ascontiguousarray(noise.curvature), *squares
    )


def _root(covariance: Floats) -> Floats:
    """Symmetric roots of covariances (..., n, n)."""
    values, vectors = np.linalg.eigh(covariance)
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    root: Floats = np.ascontiguousarray(scaled @ np.swapaxes(vectors, -1, -2))
    return root


class Record(NamedTuple):
    """Recorded paths: (P, T, H, B), (P, T, H, I) and (P, T, H, I)."""

    omega: Floats
    mu: Floats
    imbalance: Floats


class _EndedError(Exception):
    """Nobody waits for these paths any more."""


def paths_of(run: Run, paths: int, threads: int, progress: Callable[[int], None] | None = None) -> Record:
    """All paths, those of a vector register at a time; an interrupt ends those under way, too."""
    # the exact law has the nodes of its query in the lanes
    width = 1 if isinstance(run.model, Exact) else WIDTH

    ended = Event()

    def counted(steps: int) -> None:
        if ended.is_set():
            raise _EndedError
        if progress is not None:
            progress(steps)

    def some(first: int) -> Record:
        return _together(run, first, width, min(width, paths - first), counted)

    firsts = range(0, paths, width)
    if threads == 1 or len(firsts) == 1:
        found = [some(first) for first in firsts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = [pool.submit(some, first) for first in firsts]
            try:
                for part in wait(parts, return_when=FIRST_EXCEPTION).done:
                    part.result()  # of the first to fail, whatever its place
                found = [part.result() for part in parts]
            except BaseException:  # the pool waits for its threads
                ended.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return Record(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _together(run: Run, first: int, width: int, count: int, progress: Callable[[int], None]) -> Record:
    """``count`` paths from ``first`` on, each with random numbers of its own, in ``width`` lanes or alone."""
    start = run.start
    heads, tasks = start.mu.shape
    lanes = (width,) if width > 1 else ()
    descend = descent.descend_many if lanes else descent.descend_alone
    own = factors_of(run.problem, run.parametrization, start)
    matrices = (values[:, :, None] * np.eye(tasks) for values in (own.value, own.output))
    factors = descent.Factors(*(
        np.broadcast_to(values[..., None], (*values.shape, *lanes)).copy() if lanes else values.copy()
        for values in (own.key, own.query, *matrices)
    ))  # fmt: skip
    shapes = (start.omega.shape, start.mu.shape, start.mu.shape)
    record = descent.Record(run.marks, *(np.zeros((run.marks.size, *shape, *lanes)) for shape in shapes))
    drawn = start.omega.size + start.mu.size + 2 * heads * run.noise.pairs.shape[1]
    streams = [np.random.default_rng([run.seed, first + lane]) for lane in range(count)]
    steps = int(run.marks[-1]) + 1  # the last row is there for what is noted before it
    each = max(1, _NUMBERS // (drawn * width))
    for begin in range(0, steps, each):
        rows = min(each, steps - begin)
        normals = np.zeros((rows, drawn, *lanes))
        for lane, stream in enumerate(streams):
            numbers = stream.standard_normal((rows, drawn))
            if lanes:
                normals[..., lane] = numbers
            else:
                normals = numbers
        descend(run.model, run.labels, factors, run.rule, run.noise, normals, begin, record)
        progress(rows * count)
    found = (np.moveaxis(values, -1, 0)[:count] if lanes else values[None] for values in record[1:])
    omega, mu, imbalance = (np.ascontiguousarray(values) for values in found)
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(omega).all(axis=(2, 3), keepdims=True)
        finite = finite & np.isfinite(mu).all(axis=(2, 3), keepdims=True)
    return Record(*(np.where(finite, values, np.nan) for values in (omega, mu, imbalance)))
