"""The population gradient of the full model, sampled, against the exact gradient, and the asymptotic one.

Of decomposable weights everything is exact. Whole matrices that are general have the asymptotic law alone
(`large_length`): how far that may be off at this size is read from the decomposable ones, where both are
known.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from spectral_icl import Problem
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.loss import gradient, gradient_at, loss
from spectral_icl.multitask.optimal import benchmarks as optimal
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask import full_model, large_length, spectrum
from validation.multitask.descent import KERNEL
from validation.multitask.prompts import Law
from validation.multitask.sampled_loss import sampled_loss
from validation.result import SIGMAS, Result, Row, at_most, consistent, noted, plausible, rejected
from validation.statistics import Agreement, agreement

TITLE = "population gradient of the full model against the large-L gradient"

_EXACT = Path(__file__).parents[1] / "data" / "exact_short_prompts.json"
_BATCHES = 200
_HEADS = 2


def run(context: Context) -> Result:
    """Compare at random decomposable and general weights, and measure the bias at short prompts."""
    result = Result("gradient", TITLE)
    # Blocks of one coordinate: every diagonal entry of W is a number of its own.
    half, none = (10.0 / 15,) * 15, (0.0,) * 15
    wide = Problem(
        block_sizes=(1,) * 30, signal=(half + none, none + half), noise=(0.09, 0.09), context_length=500
    )
    prompts = context.pick(60_000, 1_000_000)
    apart = _compare(context, result, wide, "decomposable", _decomposable(wide), prompts, 1)
    _compare(context, result, wide, "general", _general(wide), prompts, 2, apart)
    _short(context, result, context.pick(400_000, 10_000_000))
    _bias(context, result)
    result.notes.append(
        "p of a chi-square is by random signs of the batches: entries of one prompt are correlated"
    )
    return result


def sample(law: Law, kq: Tensor, ov: Tensor, prompts: int, context: Context, label: str, seed: int) -> Floats:
    """Gradient by all entries of W, then U, of the loss of drawn prompts, a row per batch."""
    generator = law.generator(seed)
    size = prompts // _BATCHES
    rows = []
    model = full_model.MergedAttention(kq.clone(), ov.clone())
    for _ in context.track(range(_BATCHES), label):
        model.zero_grad()
        left = size
        while left > 0:
            count = min(law.chunk, left)
            loss = full_model.task_loss(model, law.draw(count, generator), law).sum()
            (loss * (count / size)).backward()
            left -= count
        rows.append(np.concatenate([_flat(model.w.grad), _flat(model.u.grad)]))
    return np.array(rows)


def _compare(
    context: Context,
    result: Result,
    problem: Problem,
    name: str,
    weights: State | tuple[Floats, Floats],
    prompts: int,
    seed: int,
    known: float = 0.0,
) -> float:
    """Rows of one kind of weights, whose expected gradient is ``known`` up to a relative distance.

    Returns how far the slope of the asymptotic gradient on the expected one is from 1.
    """
    law, exact = Law.of(problem, context.device), Law.of(problem, torch.device("cpu"), torch.float64)
    if isinstance(weights, State):
        kq, ov = spectrum.decomposable(problem, weights, exact)
    else:
        kq, ov = (torch.as_tensor(matrix) for matrix in weights)
    entries = sample(law, kq.to(**law.like), ov.to(**law.like), prompts, context, f"gradient, {name}", seed)
    asymptotic = np.concatenate([_flat(g) for g in large_length.gradient(kq, ov, problem, exact)])
    predicted = _exact_entries(problem, weights, exact) if isinstance(weights, State) else asymptotic
    whole = agreement(entries, predicted)
    slopes = entries @ predicted / (predicted @ predicted)
    error = float(slopes.std(ddof=1) / np.sqrt(slopes.size))
    label = f"{name} weights: slope of sampled on expected entries"
    if known == 0.0:
        result.add(consistent(label, slopes.mean(), error, 1.0))
    else:
        result.add(noted(label, slopes.mean(), error, 1.0))
        beyond = abs(slopes.mean() - 1.0) - SIGMAS * error
        result.add(at_most(f"{name} weights: distance of that from 1, less {SIGMAS:g} errors", beyond, known))
    result.add(_rows(f"{name} weights, {predicted.size} entries", whole))
    result.curves[name] = {
        "z": whole.z,
        "predicted": predicted,
        "measured": entries.mean(axis=0),
        "error": entries.std(axis=0, ddof=1) / np.sqrt(_BATCHES),
    }
    if isinstance(weights, State):
        off = np.concatenate([_off_diagonal(kq), _off_diagonal(ov)])
        for part, inside in (("off its diagonal, against 0", off), ("on its diagonal", ~off)):
            scores = agreement(entries[:, inside], predicted[inside])
            result.add(_rows(f"{part}, {inside.sum()} entries", scores))
    without = Problem(
        block_sizes=problem.block_sizes,
        signal=problem.signal,
        noise=problem.noise,
        context_length=1e9,  # the term in 1 / L is left out
    )
    wrong = np.concatenate([_flat(g) for g in large_length.gradient(kq, ov, without, exact)])
    result.add(rejected(f"{name} weights, the 1/L term left out", agreement(entries, wrong).p))
    apart = abs(float(asymptotic @ predicted / (predicted @ predicted)) - 1.0)
    if isinstance(weights, State):
        result.add(noted(f"{name} weights: slope of the asymptotic gradient - 1", apart))
    return apart


def _exact_entries(problem: Problem, at: State, law: Law) -> Floats:
    """The exact gradient by all entries of W, then U: on the diagonals, and zero off them."""
    slope = gradient_at(problem, at, KERNEL)  # blocks of one coordinate
    return np.concatenate([_flat(matrix) for matrix in spectrum.decomposable(problem, slope, law)])


def _short(context: Context, result: Result, prompts: int) -> None:
    """At short prompts: the exact law is not rejected, and the asymptotic one is."""
    for case in json.loads(_EXACT.read_text("utf-8"))["cases"]:
        problem = Problem(**case["problem"])
        at = State(np.array(case["omega"]), np.array(case["mu"]))
        name = case["name"]
        law = Law.of(problem, context.device)
        measured = _expected(context, law, problem, at, prompts, f"gradient, {name}")
        exact, asymptotic = (_by_law(problem, at, kernel) for kernel in (KERNEL, "asymptotic"))
        mean = measured.mean(axis=0)
        error = measured.std(axis=0, ddof=1) / np.sqrt(len(measured))
        labels = ["loss", *(f"dloss/domega_{h}" for h in range(len(at.omega)))]
        labels += [f"dloss/dmu_{h}" for h in range(len(at.mu))]
        for k, label in enumerate(labels):
            result.add(consistent(f"{name}: {label} against its exact value", mean[k], error[k], exact[k]))
            result.add(
                noted(f"{name}: {label} beside its asymptotic value", mean[k], error[k], asymptotic[k])
            )
        result.add(plausible(f"{name}: exact law", agreement(measured, exact).p))
        result.add(rejected(f"{name}: asymptotic law", agreement(measured, asymptotic).p))


def _bias(context: Context, result: Result) -> None:
    """How far the asymptotic loss is off, over dimension and length, at its best single head."""
    lengths = context.pick((40, 100, 300), (10, 40, 100, 300, 1000))
    sizes = context.pick((5, 20), (5, 20, 100))
    budget = context.pick(60_000_000, 500_000_000)  # covariates
    bias = np.empty((len(sizes), len(lengths), 2))
    for j, size in enumerate(sizes):
        for k, length in enumerate(lengths):
            problem = Problem.multitask(task_sizes=(size,), signal=1.0, noise=0.1, context_length=length)
            at = optimal.single_head(problem).weights
            assert at is not None
            prompts = max(budget // (size * length), 20_000)
            label = f"bias at d = {size}, L = {length}"
            mean, error = sampled_loss(context, problem, at, prompts, label, seed=4)
            asymptotic = float(loss(problem, *at))
            exact = float(loss(problem, *at, kernel=KERNEL))
            bias[j, k] = mean / asymptotic - 1.0, error / asymptotic
            row = f"loss over asymptotic - 1, d = {size}, L = {length}"
            over, doubt = bias[j, k]
            result.add(consistent(row, float(over), float(doubt), exact / asymptotic - 1.0))
    result.curves["bias"] = {"sizes": sizes, "lengths": lengths, "values": bias}


def _expected(context: Context, law: Law, problem: Problem, at: State, prompts: int, label: str) -> Floats:
    """Loss and gradient by omega and mu, averaged over labels, one row per batch of prompts."""
    generator = law.generator(3)
    rows = []
    kq, ov = spectrum.decomposable(problem, at, law)
    omega, mu = kq.requires_grad_(), ov.requires_grad_()
    for _ in context.track(range(_BATCHES), label):
        x, query = law.inputs(prompts // _BATCHES, generator)
        loss = full_model.expected_task_loss(omega, mu, x, query, law).mean(dim=0).sum()
        by_kq, by_ov = torch.autograd.grad(loss, (omega, mu))
        slope = spectrum.spectral(problem, by_kq, by_ov)
        by_omega = slope.omega * np.asarray(problem.block_sizes)  # of the block's common value
        rows.append(np.concatenate([[loss.item()], by_omega.ravel(), slope.mu.ravel()]))
    return np.array(rows)


def _by_law(problem: Problem, at: State, kernel: str) -> Floats:
    """Loss and gradient by omega and mu."""
    slope = gradient(problem, *at, kernel=kernel)
    return np.concatenate([[loss(problem, *at, kernel=kernel)], slope.omega.ravel(), slope.mu.ravel()])


def figure(result: Result) -> Figure:
    """Scores against N(0, 1), sampled against predicted entries, and the bias of the loss."""
    with styled():
        drawn = Figure(figsize=(6.75, 2.3))
        scores, entries, bias = drawn.subplots(1, 3)
        grid = np.linspace(-4.5, 4.5, 200)
        scores.plot(grid, stats.norm.pdf(grid), color="black", lw=0.8, label="N(0, 1)")
        for name in ("decomposable", "general"):
            curve = result.curves[name]
            scores.hist(curve["z"], bins=40, density=True, histtype="step", label=name)
            entries.errorbar(
                curve["predicted"], curve["measured"], yerr=curve["error"], fmt=".", ms=2, lw=0.5, label=name
            )
        scores.set(xlabel="z of an entry", ylabel="density")
        scores.set_ylim(0.0, 0.7)
        scores.legend(loc="upper left")
        entries.axline((0.0, 0.0), slope=1.0, color="black", lw=0.6)
        entries.set(xlabel="expected gradient", ylabel="sampled gradient")
        table = result.curves["bias"]
        for size, row in zip(table["sizes"], np.asarray(table["values"]), strict=True):
            bias.errorbar(
                table["lengths"], 100.0 * row[:, 0], 100.0 * row[:, 1], marker=".", label=f"d = {size}"
            )
        bias.axhline(0.0, color="black", lw=0.6)
        bias.set(xscale="log", xlabel="context length L", ylabel="loss above asymptotic (%)")
        bias.set_xticks(table["lengths"], labels=[str(length) for length in table["lengths"]])
        bias.minorticks_off()
        bias.legend()
        return drawn


def _rows(what: str, scores: Agreement) -> list[Row]:
    return [
        noted(f"{what}: chi-square", scores.chi_square, None, scores.z.size),
        plausible(f"{what}: p of it", scores.p),
        plausible(f"{what}: p of z being N(0, 1)", scores.p_normal),
    ]


def _decomposable(problem: Problem) -> State:
    rng = np.random.default_rng(0)
    omega = rng.normal(0.0, 0.1, (_HEADS, problem.blocks))
    mu = rng.normal(0.0, 4.0, (_HEADS, problem.tasks))
    return State(omega, mu)


def _general(problem: Problem) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(1)
    kq = rng.normal(0.0, 0.5 / problem.dimension, (_HEADS, problem.dimension, problem.dimension))
    ov = rng.normal(0.0, 3.0, (_HEADS, problem.tasks, problem.tasks))
    return kq + 0.05 * np.eye(problem.dimension), ov


def _off_diagonal(matrices: Tensor) -> Floats:
    heads, size, _ = matrices.shape
    return np.tile(~np.eye(size, dtype=bool).ravel(), heads)


def _flat(gradient: Tensor | None) -> Floats:
    assert gradient is not None
    values: Floats = gradient.detach().double().cpu().numpy().ravel()
    return values
