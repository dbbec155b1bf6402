"""How times and rates of the balanced flow scale: exponents of the closed forms."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.emergence import rates, time
from theory.multitask.head_per_task import losing_rate, winner_rates
from theory.symbols import L, a, c, d, kappa, phi

y = sp.Symbol("y", positive=True)
_Y = sp.Eq(y, sp.E * d * phi / L, evaluate=False)


def exponent(value: sp.Expr, by: sp.Symbol) -> sp.Expr:
    """The local exponent d log value / d log by, with e d phi / L written as y."""
    found = sp.simplify(by * sp.diff(value, by) / value)
    return sp.simplify(found.subs(phi, y * L / (sp.E * d)))


def derive() -> Derivation:
    """Exponents in the length, the dimension, the signal and the start."""
    step = Derivation(
        "How times scale",
        "Derived here, from the closed forms for the balanced flow of disjoint tasks; the key scale is held "
        "fixed, which in the authors' code falls as the dimension grows.",
    )
    _losing(step)
    _slow(step)
    _clock(step)
    return step


def _losing(step: Derivation) -> None:
    """The decay of losing heads."""
    rate = losing_rate(sp.Integer(0), a, phi, d)
    for text, by, expected in (
        (
            "A losing head that does not read the task decays at the rate of head_per_task. With {y} its "
            "exponent in the context length is",
            L,
            -1 / (1 + y),
        ),
        ("in the dimension of the task", d, sp.Rational(1, 2) - y / (1 + y)),
        ("in the ratio of variance to signal", phi, 1 / (1 + y)),
        ("and in the power", a, sp.Integer(1)),
    ):
        step.identity(
            text, exponent(rate, by), expected, shown=by * sp.Derivative(sp.log(sp.Symbol("r")), by), y=_Y
        )
    step.say(
        "So it falls as one over the length where prompts are long, and not at all where they are short."
    )


def _slow(step: Derivation) -> None:
    """The slow rate of winners."""
    slow = -winner_rates(a, phi, d, c)[1]
    small = sp.limit(slow / c, c, 0)
    for text, by, expected in (
        (
            "The slow rate of a winner, to leading order in a small key scale, has in the length the "
            "exponent",
            L,
            -(1 - y) / (1 + y),
        ),
        ("in the dimension", d, sp.Rational(1, 2) - 2 * y / (1 + y)),
        ("and in the ratio of variance to signal", phi, (1 - y) / (1 + y)),
    ):
        step.identity(
            text, exponent(small, by), expected, shown=by * sp.Derivative(sp.log(sp.Symbol("lambda_1")), by)
        )
    step.say(
        "So winners settle most quickly where {one}: longer prompts leave less noise to settle by, and "
        "shorter ones less signal.",
        one=sp.Eq(y, 1, evaluate=False),
    )


def _clock(step: Derivation) -> None:
    """Power is a clock, the start is another, and the number of tasks is none."""
    w0, m0, lam = sp.symbols("omega_0 mu_0 lambda", positive=True)
    T = time(w0, m0, *rates(a, d, kappa, a * phi, L, c))
    T_of = sp.Function("T")
    step.identity(
        "More signal and noise by one factor {lam} make everything faster by it: the emergence,",
        T.subs(a, lam * a) / T,
        1 / lam,
        shown=T_of(lam * a) / T_of(a),
        lam=lam,
    )
    fast, slow = winner_rates(a, phi, d, c)
    for text, rate, name in (
        ("the losing heads,", losing_rate(sp.Integer(0), a, phi, d), "r"),
        ("and the winners, fast", fast, "lambda_0"),
        ("and slow.", slow, "lambda_1"),
    ):
        of = sp.Function(name)
        step.identity(text, rate.subs(a, lam * a) / rate, lam, shown=of(lam * a) / of(a))
    step.identity(
        "A start that is smaller by {lam} emerges later by its inverse; it is in none of the rates.",
        T.subs({w0: lam * w0, m0: lam * m0}, simultaneous=True) / T,
        1 / lam,
        shown=T_of(lam * w0, lam * m0) / T_of(w0, m0),
        lam=lam,
    )
    step.say("Neither the time nor a rate of a task knows how many other tasks there are.")
