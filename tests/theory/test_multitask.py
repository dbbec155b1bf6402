"""The derivations prove themselves, can fail to, and are what the kernels and closed forms compute."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
import theory
from spectral_icl.multitask.flow.emergence import fall_delay, predicted_emergence
from spectral_icl.multitask.flow.emergence import race as full_race
from spectral_icl.multitask.flow.escape import EXIT, predicted_escape
from spectral_icl.multitask.optimal import ridge
from spectral_icl.multitask.optimal.search import Attention, Limit
from theory.__main__ import derivation, main
from theory.derivation import Derivation, ProofError
from theory.multitask import (
    bayes,
    coalescence,
    emergence,
    escape,
    gradient,
    gradient_step,
    head_budget,
    head_per_task,
    length_generalisation,
    loss,
    lower_bound,
    mirror_flow,
    plateau,
    race,
    single_head,
)
from theory.symbols import L

ROOT = Path(__file__).parents[2]
x, y = sp.symbols("x y", positive=True)
positive = st.floats(0.05, 5.0)


def value(expression: sp.Expr, **numbers: float) -> float:
    """The expression at numbers given by the names of its symbols."""
    by_name = {symbol.name: symbol for symbol in expression.free_symbols}
    assert set(by_name) == set(numbers), (by_name, numbers)
    return float(expression.subs({by_name[name]: sp.Float(number, 30) for name, number in numbers.items()}))


@pytest.mark.parametrize("name", theory.NAMES)
def test_every_derivation_is_proved_and_printed(name: str) -> None:
    made = derivation(name)
    proved = [step for step in made.steps if step.proved]
    assert len(proved) >= 5
    text, latex = made.to_text(), made.to_latex()
    assert text.startswith(f"{made.title}\n===")
    assert text.count("\n   [") >= len(proved)
    assert "{" not in "".join(step.text for step in made.steps if not step.names)
    for opening, closing in (("{", "}"), (r"\begin{equation}", r"\end{equation}"), (r"\left", r"\right")):
        assert latex.count(opening) == latex.count(closing)
    assert latex.count(r"\item") == len(made.steps)
    assert latex.count(r"{\small [") >= len(proved)
    for step in proved:  # nothing is "proved" by printing the same thing twice
        if isinstance(step.formula, sp.Equality):
            assert step.formula.lhs != step.formula.rhs, step.text


def test_names_are_the_modules() -> None:
    modules = {name for _, name, _ in pkgutil.iter_modules([str(ROOT / "theory")])}
    assert modules - {"__main__", "derivation", "symbols"} == set(theory.NAMES)


def test_claims_that_are_wrong_are_refused() -> None:
    step = Derivation("A wrong one", "nowhere")
    with pytest.raises(ProofError, match="which is not zero"):
        step.identity("", sp.sin(x) ** 2 + sp.cos(x) ** 2, sp.Integer(2))
    with pytest.raises(ProofError, match="not established"):
        step.sign("", x - y, ">")
    with pytest.raises(ProofError, match=r"is not \(x - y\)\*\*2"):
        step.sign("", x**2 + y**2, ">=", form=(x - y) ** 2)
    with pytest.raises(ProofError, match=r"f'\(2\)"):
        step.minimum("", sp.exp(x) - sp.E * x, x, sp.Integer(2))
    with pytest.raises(ProofError, match="f''"):
        step.minimum("", sp.cos(x), x, sp.Integer(0))
    assert step.steps == []


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m theory`` with arguments."""
    return subprocess.run(
        [sys.executable, "-m", "theory", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_command_prints_text_and_latex() -> None:
    both, text, latex = (command("escape", *form).stdout for form in ((), ("--text",), ("--latex",)))
    assert both.split() == [*text.split(), *latex.split()]
    assert text.startswith("Escape")
    assert latex.startswith(r"\section{Escape")


def test_command_without_a_name_lists_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["theory"])
    main()  # in this process, where most are proved already; exit status 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(theory.NAMES)
    made = derivation("loss")
    claims = [step for step in made.steps if step.formula is not None and step.proof != "definition"]
    assert lines[0].split(maxsplit=1)[1] == f"{made.title} ({len(claims)} proved steps)"


@pytest.mark.parametrize("names", [("entropy",), ("loss", "entropy"), ("all", "entropy")])
def test_command_refuses_an_unknown_name(names: tuple[str, ...]) -> None:
    done = command(*names)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unknown name 'entropy'" in done.stderr
    assert done.stdout == ""


def test_command_ends_quietly_when_its_reader_leaves() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "theory", "loss", "race"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""


def test_definitions_are_not_proved_and_proofs_are_named() -> None:
    step = Derivation("A small one", "nowhere")
    step.say("Prose.")
    step.define("A name.", x, y)
    step.identity("A claim of {y}.", (x + y) ** 2, x**2 + 2 * x * y + y**2, how="by expanding {y}", y=y)
    step.sign("A sign.", x**2 + y**2 - 2 * x * y, ">=", form=(x - y) ** 2)
    assert [made.proved for made in step.steps] == [False, False, True, True]
    assert "[by expanding y]" in step.to_text()
    assert r"{\small [by expanding $y$]}" in step.to_latex()
    assert r"{\small [since it equals $\left(x - y\right)^{2}$]}" in step.to_latex()


@cache
def symbolic(heads: int, blocks: int, tasks: int) -> tuple[list[sp.Symbol], Any]:
    """Symbols of a size, and a function of their values: task losses, gradient and Hessian of the theory."""
    at = loss.symbols(heads, blocks, tasks)
    order = [*at["omega"], *at["mu"], *at["powers"], *at["noises"], *at["sizes"], *at["kappas"], L]
    by_omega, by_mu = gradient.gradient(at)
    made = [sp.Matrix(loss.task_losses(at)), by_omega, by_mu, gradient.hessian(at)]
    return order, sp.lambdify(order, made, "numpy", cse=True)


def overlapping(rng: np.random.Generator, blocks: int, tasks: int) -> si.Problem:
    """A problem whose tasks share every block, anisotropic."""
    return si.Problem(
        block_sizes=tuple(rng.integers(1, 9, blocks).tolist()),
        signal=rng.uniform(0.2, 2.0, (tasks, blocks)),
        noise=tuple(rng.uniform(0.05, 0.5, tasks)),
        context_length=float(rng.uniform(10, 300)),
        covariance=tuple(rng.uniform(0.5, 1.5, blocks)),
    )


@given(st.sampled_from([(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 2, 2), (3, 2, 2)]), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_kernels_are_the_derived_expressions(size: tuple[int, int, int], seed: int) -> None:
    heads, blocks, tasks = size
    rng = np.random.default_rng(seed)
    p = overlapping(rng, blocks, tasks)
    omega, mu = rng.normal(0, 0.3, (heads, blocks)), rng.normal(0, 1, (heads, tasks))
    numbers = [*omega.ravel(), *mu.ravel(), *np.ravel(p.signal), *p.noise, *p.block_sizes, *p.covariance]
    losses, by_omega, by_mu, curvature = symbolic(*size)[1](*numbers, p.context_length)
    np.testing.assert_allclose(si.task_loss(p, omega, mu), losses.ravel(), rtol=1e-12)
    slope = si.gradient(p, omega, mu)
    np.testing.assert_allclose(slope.omega, by_omega, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(slope.mu, by_mu, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(si.hessian(p, omega, mu), curvature, rtol=1e-10, atol=1e-10)


@given(positive, st.integers(1, 40), positive, st.floats(10, 1000), positive)
@settings(max_examples=30)
def test_closed_forms_of_one_task(a: float, size: int, noise: float, length: float, kappa: float) -> None:
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length, covariance=kappa)
    s, ratio = a + noise, (a + noise) / a
    limit = si.optimal.head_per_task(p)
    assert limit.weights is not None
    omega, mu = limit.weights.omega[0, 0] * kappa, limit.weights.mu[0, 0]
    assert omega == pytest.approx(value(single_head.omega_star, d=size))
    assert mu == pytest.approx(value(single_head.mu_star, d=size, phi=ratio, L=length))
    bound = si.optimal.lower_bound(p).loss - noise
    expected = lower_bound.block_bound(*map(sp.Float, (a, s, size)))
    assert bound == pytest.approx(value(expected, L=length))
    gain = length / (ratio * size)
    assert (limit.loss - noise) / bound == pytest.approx(float(lower_bound.ratio(sp.Float(gain))))
    best = gradient_step.step(sp.Float(size), sp.Float(ratio))
    step = gradient_step.loss(best, sp.Float(a), sp.Float(s), sp.Float(size))
    assert si.optimal.gradient_step(p).loss - noise == pytest.approx(value(step, L=length))
    found = si.optimal.effective_dimension(p, si.optimal.gradient_step(p))[0]
    assert found == pytest.approx(float(gradient_step.dimension(sp.Float(size), sp.Float(ratio))))


@given(st.integers(1, 30), st.floats(0.01, 0.4))
def test_pair_of_opposite_heads(size: int, omega: float) -> None:
    """The profile of +-omega on one task, and of H heads each on its own of H equal tasks."""
    p = si.Problem(block_sizes=(size,), signal=((2.0,),), noise=0.5, context_length=80)
    w = np.array([[omega], [-omega]]) * np.sqrt(size)
    excess = Attention(p, 2).profile(w)[0].sum()
    dimension = 80 * 2.0 * excess / (2.5 * (2.0 - excess))
    assert dimension == pytest.approx(float(head_budget.pair_dimension(sp.Float(omega), sp.Integer(size))))
    for heads in (2, 3):
        many = si.Problem.multitask(task_sizes=(size,) * heads, signal=2.0, noise=0.5, context_length=80)
        losses = Attention(many, heads).profile(omega * np.sqrt(size) * np.eye(heads))[0]
        expected = float(plateau.exact_dimension(sp.Float(omega), sp.Integer(size), sp.Integer(heads)))
        np.testing.assert_allclose(80 * 2.0 * losses / (2.5 * (2.0 - losses)), expected, rtol=1e-9)


@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_plateau_dimension(tasks: int) -> None:
    p = si.Problem.multitask(task_sizes=(9,) * tasks, signal=1.0, noise=0.2, context_length=50)
    found = si.optimal.effective_dimension(p, si.optimal.plateau(p))
    np.testing.assert_allclose(found, float(plateau.plateau_dimension(sp.Integer(9), sp.Integer(tasks))))


def test_water_filling_is_the_derived_one() -> None:
    """Interior shares, of a single head (sum 1) and of three small heads (sum 2)."""
    p = si.Problem.multitask(
        task_sizes=(8, 10, 12), signal=(1.0, 1.2, 0.9), noise=(0.1, 0.2, 0.15), context_length=90
    )
    powers = [sp.Float(row[i]) for i, row in enumerate(p.signal)]
    gains = [90 * powers[i] / (p.variance[i] * p.block_sizes[i]) for i in range(3)]
    for benchmark, total, stretch in (
        (si.optimal.single_head(p), 1, sp.E),
        (si.optimal.head_budget(p, 3), 2, sp.Integer(1)),
    ):
        shares = single_head.shares(powers, [gain / stretch for gain in gains], sp.Integer(total))
        assert all(0 < share < 1 for share in shares)
        found = np.array(p.block_sizes) / si.optimal.effective_dimension(p, benchmark) * float(stretch)
        np.testing.assert_allclose(found, [float(share) for share in shares], rtol=1e-8)


@given(positive, st.integers(2, 40), positive, st.floats(20, 500), st.floats(0.05, 1.0))
@settings(max_examples=25)
def test_rates_at_the_limit(a: float, size: int, noise: float, length: float, c: float) -> None:
    """Winner's Jacobian and eigenvalues, and the loser's rate, against differences of the compiled field."""
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length)
    limit = si.optimal.head_per_task(p).weights
    assert limit is not None
    ratio = (a + noise) / a
    z = 0.4
    at = si.State(
        np.array([limit.omega[0], [z / size**0.5]]), np.array([limit.mu[0], [1e-9 * limit.mu[0, 0]]])
    )

    def flow(omega: float, mu: float) -> np.ndarray:
        state = si.State(np.array([[omega], [at.omega[1, 0]]]), np.array([[mu], [at.mu[1, 0]]]))
        slope = si.gradient(p, *state)
        return np.array([-2 * c * omega * slope.omega[0, 0] / size, -2 * mu * slope.mu[0, 0]])

    here = np.array([limit.omega[0, 0], limit.mu[0, 0]])
    step = 1e-5 * here
    columns = [
        (flow(*(here + e * step)) - flow(*(here - e * step))) / (2 * step[k]) for k, e in enumerate(np.eye(2))
    ]
    numbers = [sp.Float(v) for v in (a, ratio, size, c)]
    jacobian = np.array(head_per_task.winner_jacobian(*numbers).subs(L, length), dtype=float)
    np.testing.assert_allclose(
        np.column_stack(columns), jacobian, rtol=1e-5, atol=1e-7 * np.abs(jacobian).max()
    )
    rates = [value(rate, L=length) for rate in head_per_task.winner_rates(*numbers)]
    np.testing.assert_allclose(sorted(rates), np.sort(np.linalg.eigvals(jacobian).real), rtol=1e-8)
    losing = value(head_per_task.losing_rate(sp.Float(z), *numbers[:3]), L=length)
    assert 2 * si.gradient(p, *at).mu[1, 0] == pytest.approx(losing, rel=1e-6)


@given(st.integers(1, 40), st.floats(0.1, 5.0), st.floats(0.01, 2.0), st.floats(5, 500))
@settings(max_examples=30)
def test_bayes_risk_solves_the_derived_equation(size: int, a: float, noise: float, length: float) -> None:
    sizes, powers = np.array([size, 7.0]), np.array([a, 0.5])
    near, _ = ridge.equivalent(powers, noise, sizes, length)
    first = ridge._fixed_point(powers / sizes, sizes, noise, length)
    listed = [list(map(sp.Float, powers)), list(map(sp.Float, sizes))]
    right = bayes.fixed_point(sp.Float(first), *listed, sp.Float(noise), sp.Float(length))
    assert float(right) == pytest.approx(first, rel=1e-10)
    priors, m = sp.symbols("t_0 t_1", positive=True), sp.Symbol("m", positive=True)
    correction = _next_order().subs(
        {
            priors[0]: powers[0] / sizes[0],
            priors[1]: powers[1] / sizes[1],
            m: 1 / (noise + first),
            sp.Symbol("d_0"): sizes[0],
            sp.Symbol("d_1"): sizes[1],
            sp.Symbol("len"): length,
        }
    )
    assert near == pytest.approx(first + float(correction), rel=1e-8)
    alone = ridge._fixed_point(powers[:1] / sizes[:1], sizes[:1], noise, length)
    one = bayes.isotropic_risk(*map(sp.Float, (a, size, length, noise)))
    assert float(one) == pytest.approx(alone, rel=1e-7)


@cache
def _next_order() -> sp.Expr:
    priors, m = sp.symbols("t_0 t_1", positive=True), sp.Symbol("m", positive=True)
    return bayes.next_order(priors, [sp.Symbol("d_0"), sp.Symbol("d_1")], m, sp.Symbol("len"))


@pytest.mark.parametrize(("length", "size"), [(3, 2), (2, 4), (4, 4)])
def test_exact_risk_is_the_mean_of_the_derived_fraction(length: int, size: int) -> None:
    """The continued fraction on sampled chi variables, against the quadrature that replaces them."""
    rng = np.random.default_rng(length)
    steps, penalty = min(length, size), 0.7
    diagonal, above = sp.symbols(f"a_:{steps}"), sp.symbols(f"b_:{steps if size > length else steps - 1}")
    fraction = sp.lambdify([*diagonal, *above], bayes.continued_fraction(diagonal, above, sp.Float(penalty)))
    freedom = [length - k for k in range(len(diagonal))] + [size - 1 - k for k in range(len(above))]
    draws = np.sqrt(rng.chisquare(np.array(freedom)[:, None], (len(freedom), 200_000)))
    sampled = fraction(*draws)
    risk = ridge.exact(1.0, penalty / size, size, length)
    assert abs(sampled.mean() - risk) < 4 * sampled.std() / np.sqrt(sampled.size)


@given(positive, st.integers(1, 40), positive, st.floats(20, 2000), st.floats(1e-4, 1e-2), st.floats(0.1, 10))
@settings(max_examples=30)
def test_emergence_time(a: float, size: int, noise: float, length: float, omega0: float, tilt: float) -> None:
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length, covariance=0.7)
    rates = emergence.rates(*map(sp.Float, (a, size, 0.7, a + noise, length, 0.3)))
    mu0 = tilt * omega0 * float(rates[1] / rates[0])
    start = si.State(np.array([[omega0]]), np.array([[mu0]]))
    found = predicted_emergence(p, start, 0.3, 0)
    predicted = found.time
    if predicted is None:
        assert "not small" in found.remark
        return
    expected = emergence.time(sp.Float(omega0), sp.Float(mu0), *rates)
    assert predicted == pytest.approx(float(sp.re(expected.evalf(30))), rel=1e-8)


def test_escape_time(two_tasks: si.Problem) -> None:
    limit = si.optimal.head_per_task(two_tasks).weights
    assert limit is not None
    z, mu, imbalance = 0.3, 1e-4, 1e-7
    at = si.State(limit.omega.copy(), limit.mu.copy())
    at.omega[1, 0], at.mu[1, 0] = z / 10**0.5, mu
    at.omega[1, 1] = 0.0  # an idle rival: its own block carries nothing
    found = predicted_escape(two_tasks, at, imbalance / 2, 0, 0, 1)
    star = sp.Float(limit.mu[0, 0])
    rate = escape.rate(sp.Float(z), sp.Float(10.09), sp.Integer(100), star)
    expected = escape.time(sp.Float(mu), EXIT * star, sp.Float(imbalance), rate)
    assert found == pytest.approx(float(expected))


@pytest.mark.parametrize("length", [20.0, 100.0, 5000.0])
def test_length_generalisation(two_tasks: si.Problem, length: float) -> None:
    tested = si.optimal.length_generalisation(two_tasks, length).task_loss - 0.09
    expression = length_generalisation.loss_at(sp.Float(length))
    at = {"a": 10.0, "d": 10.0, "phi": 1.009, "L": 100.0}
    np.testing.assert_allclose(tested, value(expression, **at))
    endless = si.optimal.length_generalisation(two_tasks, 1e12).task_loss - 0.09
    np.testing.assert_allclose(endless, value(length_generalisation.floor(), **at), rtol=1e-8)


@pytest.mark.parametrize("imbalance", [0.0, 1e-3, 0.5])
def test_mirror_flow_is_the_solved_flow(two_tasks: si.Problem, imbalance: float) -> None:
    """Rates of omega and mu from the derivation, against the first moments of a solved flow."""
    rng = np.random.default_rng(0)
    at = si.State(rng.normal(0, 0.2, (2, 2)), rng.normal(0, 1, (2, 2)))
    c, step = 0.3, 1e-5
    free = si.Factored(imbalance, 2 * imbalance, key_scale=c)
    sol = si.gradient_flow(two_tasks, *at, parametrization=free, t_end=1e-3, rtol=1e-12)
    slope = si.gradient(two_tasks, *at)
    for k, path in enumerate(sol(np.array([0.0, step, 2 * step]))):
        measured = (4 * path[1] - 3 * path[0] - path[2]) / (2 * step)
        for h, i in np.ndindex(2, 2):
            number = [sp.Float(at[k][h, i]), sp.Float(slope[k][h, i])]
            if k == 0:
                number[1] /= 10  # of one of the ten coordinates
                expected = mirror_flow.omega_rate(*number, sp.Float(imbalance), sp.Float(c))
            else:
                expected = mirror_flow.mu_rate(*number, sp.Float(2 * imbalance))
            assert measured[h, i] == pytest.approx(float(expected), rel=1e-5)


def test_two_task_example_is_in_the_derivation() -> None:
    assert "costs 1.679, and 2.152 at the limit" in " ".join(derivation("plateau").to_text().split())


def test_limit_of_the_closed_forms() -> None:
    """All entries of the head-per-task weights, of tasks with different sizes and noises."""
    p = si.Problem.multitask(task_sizes=(4, 9), signal=(1.0, 0.5), noise=(0.1, 0.4), context_length=70)
    found = si.optimal.head_per_task(p).weights
    assert found is not None
    at = single_head.disjoint(2, 2)
    numbers = {L: p.context_length}
    for i in range(2):
        numbers |= {at["sizes"][i]: p.block_sizes[i], at["ratios"][i]: p.variance[i] / p.signal[i][i]}
    ends = {weight: float(end.subs(numbers)) for weight, end in head_per_task.limit(at).items()}
    for name, weights in (("omega", found.omega), ("mu", found.mu)):
        expected = np.array([ends[weight] for weight in at[name]]).reshape(2, 2)
        np.testing.assert_allclose(weights, expected, rtol=1e-12)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_coalescing_heads(heads: int, blocks: int, tasks: int, small: bool, seed: int) -> None:
    """The searched limit is the least loss over alpha and beta of the derived map and noise."""
    heads = min(heads, blocks + 1)
    rng = np.random.default_rng(seed)
    p = overlapping(rng, blocks, tasks)
    search = Limit(p, heads, small)
    point = rng.normal(0, 0.6, heads * blocks)
    base, basis = search.split(point)
    reads = np.array(
        coalescence.features(sp.Matrix(base), sp.Matrix(heads - 1, blocks, basis.ravel().tolist()))
    )
    reads = reads.astype(float) / np.sqrt(p.block_sizes)
    noise, expected = float(coalescence.noise(sp.Matrix(base))), []
    for power, variance in zip(np.asarray(p.signal), p.variance, strict=True):
        # sum_b A_b (1 - T_b)^2 + (s / L) noise |(alpha, beta)|^2 is a least-squares problem
        rows = np.vstack(
            [np.sqrt(power)[:, None] * reads.T, np.sqrt(variance / p.context_length * noise) * np.eye(heads)]
        )
        target = np.append(np.sqrt(power), np.zeros(heads))
        best = np.linalg.lstsq(rows, target, rcond=None)[0]
        expected.append(float(((target - rows @ best) ** 2).sum()))
    assert search.objective(point)[0] * search.unit == pytest.approx(sum(expected), rel=1e-10)
    np.testing.assert_allclose(search.task_losses(point), expected, rtol=1e-10)
    spread = Attention(p, heads).profile(base + 1e-3 * (search.weights(point) - base))[0]
    np.testing.assert_allclose(spread, expected, rtol=1e-3)


@given(positive, st.integers(1, 40), positive, st.floats(20, 500), st.floats(0.05, 1.0), st.floats(0.4, 2.0))
@settings(max_examples=30)
def test_curve_of_a_lone_head(
    a: float, size: int, noise: float, length: float, c: float, kappa: float
) -> None:
    """Both rates, and the loss, at any point of the plane."""
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length, covariance=kappa)
    g = size * (a + noise) / a / length
    for w, m in ((0.1, 0.3), (0.9, 0.5), (1.4, 1.1)):
        at = si.State(np.array([[w / (kappa * size**0.5)]]), np.array([[m * size**0.5]]))
        slope, unit = si.gradient(p, *at), 4 * c * kappa * a / size**0.5
        found = [-2 * c * slope.omega[0, 0] / size / unit, -2 * slope.mu[0, 0] / unit]
        rates = race.curve(*map(sp.Float, (w, m, g, kappa * c)))
        np.testing.assert_allclose(found, [float(rate) for rate in rates], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shrink", [1e-3, 1e-5])
def test_rates_of_a_head_that_has_a_task(shrink: float) -> None:
    """Of its small weights on another task, against the compiled gradient, to first order in these."""
    p = si.Problem(
        block_sizes=(6, 11),
        signal=((1.3, 0.0), (0.0, 0.8)),
        noise=(0.2, 0.3),
        context_length=90,
        covariance=(0.7, 1.4),
    )
    limit, c = si.optimal.head_per_task(p).weights, 0.4
    assert limit is not None
    mu_j = limit.mu[1, 1]
    at = si.State(shrink * np.array([[0.8, 0.5], [0.6, 0.0]]), shrink * np.array([[0.9, 0.4], [0.7, 0.0]]))
    at.omega[1, 1], at.mu[1, 1] = limit.omega[1, 1], mu_j
    slope = si.gradient(p, *at)
    c1, c2, n = emergence.rates(*map(sp.Float, (1.3, 6, 0.7, 1.5, 90, c)))
    omega, mu = (float(values[1, 0]) for values in at)
    taken = float(np.e) * 1.1 * mu_j**2 / 90
    strayed = float(race.stray_rate(omega, mu, c1, c, 0.7, taken))
    held = float(race.stray_mu_rate(mu, at.mu[:, 0].sum(), omega, c2, n))
    assert -2 * c * slope.omega[1, 0] / 6 == pytest.approx(strayed, rel=20 * shrink)
    assert -2 * slope.mu[1, 0] == pytest.approx(held, rel=20 * shrink)
    assert float(c1) * mu > 1.05 * strayed  # the hold is no small correction


@pytest.mark.parametrize("length", [15.0, 200.0])
def test_time_of_a_leader_is_bracketed(length: float) -> None:
    """The full race of three heads on one task, between the lone head's times with n and with n S."""
    p = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.6, context_length=length)
    start = si.State(1e-4 * np.array([[1.0], [0.8], [0.5]]), 1e-4 * np.array([[2.0], [1.7], [1.9]]))
    c1, c2, n = emergence.rates(*map(sp.Float, (1, 5, 1, 1.6, length, 0.5)))
    share = float(start.mu.sum() / start.mu[0, 0])
    low, high = (
        float(sp.re(emergence.time(sp.Float(1e-4), sp.Float(2e-4), c1, c2, n * f).evalf(30)))
        for f in (1, share)
    )
    forecast = full_race(p, start, 0.5)[0]
    assert forecast.time is not None
    found = forecast.time - fall_delay(5 * 1.6 / length, 0.5) / (float(c1) * 5**0.5)
    assert forecast.head == 0
    assert low * 1.001 < found < high * 0.999
