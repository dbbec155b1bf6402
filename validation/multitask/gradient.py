"""The population gradient of the full model, sampled, against the exact gradient, and the asymptotic one.

Of decomposable weights everything is exact. Whole matrices that are general have the asymptotic law alone
(`large_length`), which is not exact: of them it is claimed only that the law is nearer with its term in 1 / L
than without.
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
from spectral_icl.multitask.loss import loss
from spectral_icl.multitask.optimal import benchmarks as optimal
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask import full_model, spectrum
from validation.multitask.prompts import Law
from validation.multitask.sampled_loss import sampled_loss
from validation.multitask.theory import Theory
from validation.result import Result, Row, consistent, nearer, noted, plausible, told_apart
from validation.statistics import Agreement, Estimate, agreement, combined, share

TITLE = "population gradient of the full model against the large-L gradient"

_EXACT = Path(__file__).parents[1] / "data" / "exact_short_prompts.json"
_BATCHES = 200
_HEADS = 2
_WITHOUT, _ASYMPTOTIC = Theory("no-length-term"), Theory("asymptotic")


def run(context: Context) -> Result:
    """Compare at random decomposable and general weights, and measure the bias at short prompts."""
    result = Result("gradient", TITLE)
    # Blocks of one coordinate: every diagonal entry of W is a number of its own.
    half, none = (10.0 / 15,) * 15, (0.0,) * 15
    wide = Problem(
        block_sizes=(1,) * 30, signal=(half + none, none + half), noise=(0.09, 0.09), context_length=500
    )
    _decomposable(context, result, wide, context.pick(40_000, 1_000_000))
    _general(context, result, wide, context.pick(20_000, 1_000_000))
    _short(context, result, context.pick(400_000, 10_000_000))
    _bias(context, result)
    result.notes += [
        "p of a chi-square is by random signs of the batches: entries of one prompt are correlated",
        "right from wrong: how far sampled numbers are on the way from the wrong law to the right one",
    ]
    return result


def sample(law: Law, kq: Tensor, ov: Tensor, prompts: int, context: Context, label: str) -> Floats:
    """Gradient by all entries of W, then U, of the loss of drawn prompts, a row per batch."""
    generator = context.generator(label)
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


def _sampled(context: Context, problem: Problem, kq: Tensor, ov: Tensor, prompts: int, kind: str) -> Floats:
    """The kept rows of `sample` at weights that are given in double precision."""
    law, label = Law.of(problem, context.device), f"gradient-{kind}"
    key = (problem.digest(), prompts, kq.tolist(), ov.tolist())

    def make() -> dict[str, Floats]:
        return {"rows": sample(law, kq.to(**law.like), ov.to(**law.like), prompts, context, label)}

    return context.kept(label, key, make)["rows"]


def _decomposable(context: Context, result: Result, problem: Problem, prompts: int) -> None:
    """Random diagonals, whose exact gradient is diagonal."""
    exact, theory = Law.of(problem, torch.device("cpu"), torch.float64), Theory.of(context)
    rng = context.rng("gradient-decomposable weights")
    at = State(rng.normal(0.0, 0.1, (_HEADS, problem.blocks)), rng.normal(0.0, 4.0, (_HEADS, problem.tasks)))
    kq, ov = spectrum.decomposable(problem, at, exact)
    entries = _sampled(context, problem, kq, ov, prompts, "decomposable")
    predicted = _exact_entries(problem, at, exact, theory)
    asymptotic = np.concatenate([_flat(g) for g in theory.whole_gradient(kq, ov, problem, exact)])
    name = "decomposable weights"
    whole = agreement(entries, predicted)
    slopes = Estimate.of(entries @ predicted / (predicted @ predicted))
    result.add(consistent(f"{name}: slope of sampled on expected entries", slopes, 1.0))
    result.add(_rows(f"{name}, {predicted.size} entries", whole))
    off = np.concatenate([_off_diagonal(kq), _off_diagonal(ov)])
    for part, inside in (("off its diagonal, against 0", off), ("on its diagonal", ~off)):
        scores = agreement(entries[:, inside], predicted[inside])
        result.add(_rows(f"{part}, {inside.sum()} entries", scores))
    wrong = _exact_entries(problem, at, exact, _WITHOUT)
    result.add(told_apart(f"{name}: the law from it without its 1 / L", share(entries, predicted, wrong)))
    away = float(asymptotic @ predicted / (predicted @ predicted)) - 1.0
    result.add(noted(f"{name}: slope of the asymptotic gradient - 1", away))
    _keep(result, "decomposable", entries, predicted, whole)


def _general(context: Context, result: Result, problem: Problem, prompts: int) -> None:
    """Random matrices, of which the asymptotic gradient is known."""
    exact, theory = Law.of(problem, torch.device("cpu"), torch.float64), Theory.of(context)
    rng, size = context.rng("gradient-general weights"), problem.dimension
    kq, ov = (
        torch.as_tensor(values, **exact.like)
        for values in (
            rng.normal(0.0, 0.5 / size, (_HEADS, size, size)) + 0.05 * np.eye(size),
            rng.normal(0.0, 3.0, (_HEADS, problem.tasks, problem.tasks)),
        )
    )
    entries = _sampled(context, problem, kq, ov, prompts, "general")
    told, wrong = (
        np.concatenate([_flat(g) for g in one.whole_gradient(kq, ov, problem, exact)])
        for one in (theory, _WITHOUT)
    )
    name = "general weights"
    whole = agreement(entries, told)
    slopes = Estimate.of(entries @ told / (told @ told))
    result.add(noted(f"{name}: slope of sampled on asymptotic entries", slopes, expected=1.0))
    result.add(noted(f"{name}, {told.size} entries: chi-square", whole.chi_square, None, told.size))
    result.add(nearer(f"{name}: the asymptotic law from it without its 1 / L", share(entries, told, wrong)))
    _keep(result, "general", entries, told, whole)


def _keep(result: Result, name: str, entries: Floats, predicted: Floats, whole: Agreement) -> None:
    """What the figure shows of one kind of weights."""
    result.curves[name] = {
        "z": whole.z,
        "predicted": predicted,
        "measured": entries.mean(axis=0),
        "error": entries.std(axis=0, ddof=1) / np.sqrt(_BATCHES),
    }


def _exact_entries(problem: Problem, at: State, law: Law, theory: Theory) -> Floats:
    """The exact gradient by all entries of W, then U: on the diagonals, and zero off them."""
    slope = theory.gradient_at(problem, theory.state(at))  # blocks of one coordinate
    return np.concatenate([_flat(matrix) for matrix in spectrum.decomposable(problem, slope, law)])


def _short(context: Context, result: Result, prompts: int) -> None:
    """At short prompts: the exact law holds, and the asymptotic one does not."""
    for case in json.loads(_EXACT.read_text("utf-8"))["cases"]:
        problem = Problem(**case["problem"])
        at = State(np.array(case["omega"]), np.array(case["mu"]))
        name = case["name"]
        label = f"gradient-{name}".replace(" ", "-").replace(",", "").replace("=", "")
        measured = context.kept(
            label,
            (problem.digest(), case["omega"], case["mu"], prompts),
            lambda problem=problem, at=at, label=label: {  # type: ignore[misc]
                "rows": _expected(context, problem, at, prompts, label)
            },
        )["rows"]
        exact, asymptotic = (_told(problem, at, one) for one in (Theory.of(context), _ASYMPTOTIC))
        labels = ["loss", *(f"dloss/domega_{h}" for h in range(len(at.omega)))]
        labels += [f"dloss/dmu_{h}" for h in range(len(at.mu))]
        for k, quantity in enumerate(labels):
            result.add(noted(f"{name}: {quantity}", Estimate.of(measured[:, k]), expected=exact[k]))
            result.add(noted(f"{name}:   its asymptotic value", asymptotic[k]))
        found = agreement(measured, exact)
        result.add(plausible(f"{name}: chi-square of these", found.chi_square, found.p, len(labels)))
        result.add(
            told_apart(f"{name}: the exact law from the asymptotic", share(measured, exact, asymptotic))
        )


def _bias(context: Context, result: Result) -> None:
    """How far the asymptotic loss is off, over dimension and length, at its best single head."""
    lengths = context.pick((40, 100, 300), (10, 40, 100, 300, 1000))
    sizes = context.pick((5, 20), (5, 20, 100))
    budget = context.pick(40_000_000, 500_000_000)  # covariates
    bias = np.empty((len(sizes), len(lengths), 2))
    for j, size in enumerate(sizes):
        for k, length in enumerate(lengths):
            problem = Problem.multitask(task_sizes=(size,), signal=1.0, noise=0.1, context_length=length)
            at = optimal.single_head(problem).weights
            assert at is not None
            prompts = max(budget // (size * length), 20_000)
            sampled = sampled_loss(context, problem, at, prompts, f"gradient-bias-{size}-{length}")
            asymptotic = float(loss(problem, *at))
            exact = Theory.of(context).loss(problem, at)
            over = combined((1.0 / asymptotic, sampled), (-1.0, Estimate(1.0, 0.0)))
            bias[j, k] = over.value, over.error
            row = f"loss over asymptotic - 1, d = {size}, L = {length}"
            result.add(consistent(row, over, exact / asymptotic - 1.0))
    result.curves["bias"] = {"sizes": sizes, "lengths": lengths, "values": bias}


def _expected(context: Context, problem: Problem, at: State, prompts: int, label: str) -> Floats:
    """Loss and gradient by omega and mu, averaged over labels, one row per batch of prompts."""
    law, generator = Law.of(problem, context.device), context.generator(label)
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


def _told(problem: Problem, at: State, theory: Theory) -> Floats:
    """Loss and gradient by omega and mu."""
    slope = theory.gradient(problem, at)
    return np.concatenate([[theory.loss(problem, at)], slope.omega.ravel(), slope.mu.ravel()])


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
        plausible(f"{what}: chi-square", scores.chi_square, scores.p, scores.z.size),
        plausible(f"{what}: distance of z from N(0, 1)", scores.distance, scores.p_normal),
    ]


def _off_diagonal(matrices: Tensor) -> Floats:
    heads, size, _ = matrices.shape
    return np.tile(~np.eye(size, dtype=bool).ravel(), heads)


def _flat(gradient: Tensor | None) -> Floats:
    assert gradient is not None
    values: Floats = gradient.detach().double().cpu().numpy().ravel()
    return values
