"""The gradient of the law at any length, by derivatives of its functions."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.finite_length import DERIVATIVES, PAIR, Kernel, outputs
from theory.multitask.second_order import alpha, beta, gamma

# Names of the derivatives of K, M, K_alpha, K_beta and K_gamma.
NAMED_SLOPES = {
    alpha: Kernel(*sp.symbols("K_alpha M_alpha K_alpha_alpha K_alpha_beta K_alpha_gamma")),
    beta: Kernel(*sp.symbols("K_beta M_beta K_alpha_beta K_beta_beta K_beta_gamma")),
    gamma: Kernel(*sp.symbols("K_gamma M_gamma K_alpha_gamma K_beta_gamma K_gamma_gamma")),
}


def moment(
    of: Kernel, v: Sequence[sp.Expr], w: Sequence[sp.Expr], signal: Sequence[sp.Expr], s: sp.Expr
) -> sp.Expr:
    """Mean product t of what two heads of values v and w predict; its derivatives, of those of the kernel."""
    along = (outputs(of._replace(K=sp.Integer(0)), *pair) for pair in zip(v, w, strict=True))
    return s * of.K + sum(one * part for one, part in zip(signal, along, strict=True))


def by_value(
    of: Kernel,
    t: tuple[sp.Expr, sp.Expr],
    v: sp.Expr,
    w: sp.Expr,
    chi: sp.Expr,
    signal: sp.Expr,
) -> sp.Expr:
    """The derivative of t by the value v of a head in a block, from those by its variance and by gamma.

    ``of`` is the kernel with that head as the first of the two.
    """
    t_alpha, t_gamma = t
    slope = 4 * w * of.M + 4 * v * of.by_alpha + w * of.by_gamma
    return 2 * v * chi * t_alpha + w * chi * t_gamma + signal * slope


def read_off_by_value(
    D: sp.Expr, slope: sp.Expr, lead: sp.Expr, v: sp.Expr, chi: sp.Expr, signal: sp.Expr
) -> sp.Expr:
    """The derivative of what a head reads off, lead times D, by its value in a block; ``slope`` is D'."""
    return signal * D + 2 * lead * v * chi * slope


def derive() -> Derivation:
    """The mean product of two predictions, what a head reads off, a head with itself, and the loss."""
    step = Derivation(
        "The gradient of the law at any length",
        "Derived here, given the query, over which the mean is taken last: the derivatives by KQ values take "
        "those of the functions of the law by the variances of logits and their covariance, and no others.",
    )
    _of_pair(step)
    _of_one(step)
    _of_loss(step)
    return step


_x, _y, _z = sp.symbols("x y z", real=True)
_v = sp.Matrix(2, 2, lambda h, b: sp.Symbol(f"v_{h}_{b}", real=True))
_chi, _signal = sp.symbols("chi_:2", positive=True), sp.symbols("S_:2", positive=True)
_of_labels = sp.Symbol("s", positive=True)


def _moment_of(of: Kernel) -> sp.Expr:
    """The same of two heads and two blocks, whose values are the rows of `_v`."""
    return moment(of, _v[0, :], _v[1, :], _signal, _of_labels)


def _insert(function: sp.Expr) -> sp.Expr:
    """A function of the Gram entries at those of the two heads."""
    own, other, both = (
        sum(_v[h, b] * _v[k, b] * _chi[b] for b in range(2)) for h, k in ((0, 0), (1, 1), (0, 1))
    )
    return function.subs({alpha: own, beta: other, gamma: both}, simultaneous=True)


def _of_pair(step: Derivation) -> None:
    """The derivatives of t by the values of either head in a block."""
    probe = sp.exp(_x * alpha + _y * beta + _z * gamma)  # of which all derivatives at a point are free
    of = Kernel(*(sp.diff(probe, *by) for by in DERIVATIVES))
    moments = {sp.Symbol(f"t_{entry}"): sp.diff(_moment_of(of), entry) for entry in (alpha, beta, gamma)}
    names = dict(zip(PAIR, of, strict=True)) | moments
    t_alpha, t_beta, t_gamma = moments

    how = "for any G: of an exponential with arbitrary rates all derivatives at a point are free"

    def rest(gap: sp.Expr) -> sp.Expr:
        return sp.expand(_insert(gap.subs(names)) / _insert(probe))

    for entry, text in (
        (
            alpha,
            "Let {v} be the value of head 0 in block 0 and so on, {S} the mean square signal of a block and "
            "{s} the variance of the labels; the mean product {t} of two predictions is, given the query, a "
            "function of the Gram entries, and of the values beside. At fixed values its derivatives are by "
            "{alpha}",
        ),
        (beta, "by {beta}"),
        (gamma, "and by {gamma}"),
    ):
        at_fixed = {name: sp.diff(part, entry) for name, part in zip(NAMED_SLOPES[entry], of, strict=True)}
        step.identity(
            text,
            moments[sp.Symbol(f"t_{entry}")],
            moment(NAMED_SLOPES[entry], _v[0, :], _v[1, :], _signal, _of_labels),
            by=lambda gap, values=at_fixed: sp.expand(gap.subs(values) / probe),
            shown=sp.Symbol(f"t_{entry}"),
            how=how,
            v=_v[0, 0],
            S=_signal[0],
            s=_of_labels,
            t=sp.Symbol("t_0_1"),
            alpha=alpha,
            beta=beta,
            gamma=gamma,
        )
    for text, h, by_own in (
        (
            "The Gram entries are quadratic in the values. So the derivative by the value of a head is",
            0,
            t_alpha,
        ),
        ("and that by the value of the other", 1, t_beta),
    ):
        v, w = _v[h, 0], _v[1 - h, 0]
        of_both = PAIR._replace(by_alpha=PAIR.by_beta, by_beta=PAIR.by_alpha) if h else PAIR
        step.identity(
            text,
            sp.diff(_insert(_moment_of(of)), v),
            by_value(of_both, (by_own, t_gamma), v, w, _chi[0], _signal[0]),
            by=rest,
            shown=sp.Derivative(sp.Symbol("t_0_1"), v),
            how=how,
        )


def _of_one(step: Derivation) -> None:
    """The derivatives of what a head reads off, and of a head with itself."""
    probe, (D, slope, lead) = sp.exp(_x * alpha), sp.symbols("D D' l_0")
    leads = sum(one * v for one, v in zip(_signal, _v[0, :], strict=True))
    values = {lead: leads, D: _insert(probe), slope: _insert(sp.diff(probe, alpha))}
    step.identity(
        "The derivative of what a head reads off, {l} times {D}, is, with the derivative {slope} of {D},",
        sp.diff(leads * _insert(probe), _v[0, 0]),
        read_off_by_value(D, slope, lead, _v[0, 0], _chi[0], _signal[0]),
        by=lambda gap: sp.expand(gap.subs(values)),
        shown=sp.Derivative(lead * D, _v[0, 0]),
        how="for any D: of an exponential with an arbitrary rate all derivatives at a point are free",
        l=lead,
        D=D,
        slope=slope,
    )
    probe = sp.exp(_x * alpha + _y * beta + _z * gamma)
    even = probe + probe.subs({_x: _y, _y: _x}, simultaneous=True)  # G does not tell the heads apart
    of = Kernel(*(sp.diff(even, *by) for by in DERIVATIVES))
    alone = {_v[1, b]: _v[0, b] for b in range(2)}
    both = [sp.diff(_insert(_moment_of(of)), _v[h, 0]).subs(alone) for h in range(2)]
    step.identity(
        "A head with itself has both values the same: the derivative is the sum of that by either, which by "
        "the symmetry of {G} are equal.",
        sp.diff(_insert(_moment_of(of)).subs(alone), _v[0, 0]),
        2 * sp.Symbol("t_0"),
        by=lambda gap: sp.expand(gap.subs(sp.Symbol("t_0"), both[0])),
        shown=sp.Derivative(sp.Symbol("t_0_0"), _v[0, 0]),
        how="t_0 being the derivative above by the value of head 0, at the same values of head 1",
        G=sp.Symbol("G"),
    )


def _of_loss(step: Derivation) -> None:
    """The gradient of the loss by the values of head 0, and by its OV value."""
    mu, v = sp.symbols("mu_:2", real=True), _v[0, 0]
    own, other, lead = (sp.Function(name)(v) for name in ("t_0_0", "t_0_1", "r_0"))
    first = sp.symbols("t_0_0' t_0_1'")
    step.identity(
        "So for every head k, head 0 included, the derivative {one} by the first of two values enters the "
        "gradient of the loss with the factor {factor}, beside {reads} for what is read off; that by {omega} "
        "has a further factor {kappa}.",
        sp.diff(mu[0] ** 2 * own + 2 * mu[0] * mu[1] * other - 2 * mu[0] * lead, v),
        2 * mu[0] * (mu[0] * first[0] + mu[1] * first[1] - sp.diff(lead, v)),
        by=lambda gap: sp.expand(gap.subs({sp.diff(own, v): 2 * first[0], sp.diff(other, v): first[1]})),
        shown=sp.Derivative(sp.Symbol("loss_0"), v),
        one=first[1],
        factor=2 * mu[0] * mu[1],
        reads=lead,
        omega=sp.Symbol("omega_0_0"),
        kappa=sp.Symbol("kappa_0"),
    )
    leads, moments = (
        sp.symbols("r_:2", real=True),
        {(h, k): sp.Symbol(f"t_{h}_{k}", real=True) for h, k in ((0, 0), (0, 1), (1, 1))},
    )
    constant = sp.Symbol("S", positive=True)
    loss = constant - 2 * sum(mu[h] * leads[h] for h in range(2))
    loss += sum((1 if h == k else 2) * mu[h] * mu[k] * one for (h, k), one in moments.items())
    step.identity(
        "That by its OV value is linear in the OV values, with what does not depend on them in {S},",
        sp.diff(loss, mu[0]),
        2 * (mu[0] * moments[0, 0] + mu[1] * moments[0, 1] - leads[0]),
        shown=sp.Derivative(sp.Symbol("loss_0"), mu[0]),
        S=constant,
    )
