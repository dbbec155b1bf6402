"""A derivation: prose and formulas in order, where every claim is proved by sympy before it is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from string import Formatter
from textwrap import fill, indent

import sympy as sp
from sympy.core.relational import Relational

_WIDTH = 100
_DEFINITION = "definition"
_PLAIN = "left minus right simplifies to zero"
_WRITTEN_OUT = "left minus right is zero once its names are written out"
_SIGNS: dict[str, tuple[str, type[Relational]]] = {
    ">": ("is_positive", sp.Gt),
    ">=": ("is_nonnegative", sp.Ge),
    "<": ("is_negative", sp.Lt),
    "<=": ("is_nonpositive", sp.Le),
}


class ProofError(AssertionError):
    """A step that sympy could not confirm."""


@dataclass(frozen=True)
class Step:
    """One step: a sentence, perhaps a formula, and how the formula was proved.

    ``text`` and ``proof`` are templates; ``names`` are the expressions in their braces, set as plain text or
    as LaTeX.
    """

    text: str
    names: dict[str, sp.Basic]
    formula: sp.Basic | None = None
    proof: str = ""

    @property
    def proved(self) -> bool:
        """Whether the step makes a claim in a formula: prose and definitions do not."""
        return self.formula is not None and self.proof != _DEFINITION


@dataclass
class Derivation:
    """A titled list of steps. The methods that make a claim raise `ProofError` unless it is proved."""

    title: str
    reference: str
    steps: list[Step] = field(default_factory=list)

    def say(self, text: str, **names: sp.Basic) -> None:
        """Prose between formulas: an assumption, or where the argument goes next."""
        self.steps.append(Step(text, names))

    def define(self, text: str, left: sp.Basic, right: sp.Expr, **names: sp.Basic) -> sp.Expr:
        """Introduce a name for an expression; nothing is claimed. Returns the expression."""
        self.steps.append(Step(text, names, sp.Eq(left, right, evaluate=False), _DEFINITION))
        return right

    def identity(
        self,
        text: str,
        left: sp.Expr,
        right: sp.Expr,
        *,
        by: Callable[[sp.Expr], sp.Expr] = sp.simplify,
        shown: sp.Basic | None = None,
        how: str = "",
        **names: sp.Basic,
    ) -> sp.Expr:
        """Claim left = right: the difference, evaluated and simplified ``by``, must be exactly zero.

        ``shown`` replaces the left side in print, for an unevaluated integral or a name, and ``how`` the
        account of the proof, where it takes more than to simplify. Returns ``right``.
        """
        difference = sp.sympify(left - right).doit()
        rest = difference if by is sp.simplify else by(difference)
        if not _vanishes(rest):
            raise ProofError(f"{self.title}: {text}\n  left - right = {rest}, which is not zero")
        formula = sp.Eq(left if shown is None else shown, right, evaluate=False)
        self.steps.append(Step(text, names, formula, how or (_PLAIN if by is sp.simplify else _WRITTEN_OUT)))
        return right

    def sign(
        self,
        text: str,
        expression: sp.Expr,
        relation: str,
        *,
        form: sp.Expr | None = None,
        shown: sp.Basic | None = None,
        **names: sp.Basic,
    ) -> None:
        """Claim that an expression is >, >=, < or <= 0 under the assumptions on its symbols.

        ``form`` is the same expression written so that its sign is plain (a sum of positive terms, a square):
        equality with ``expression`` is proved as well.
        """
        certificate = expression if form is None else form
        if not _vanishes(expression - certificate):
            raise ProofError(f"{self.title}: {text}\n  {expression} is not {certificate}")
        attribute, shape = _SIGNS[relation]
        if getattr(certificate, attribute) is not True:
            raise ProofError(f"{self.title}: {text}\n  the sign of {certificate} is not established")
        formula = shape(expression if shown is None else shown, 0, evaluate=False)
        how = "by the signs of its symbols" if form is None else "since it equals {certificate}"
        self.steps.append(Step(text, {**names, "certificate": certificate}, formula, how))

    def minimum(self, text: str, function: sp.Expr, at: sp.Symbol, point: sp.Expr, **names: sp.Basic) -> None:
        """Claim that a function of one symbol is least at ``point``: f' = 0 there and f'' > 0 everywhere."""
        slope = sp.simplify(sp.diff(function, at).subs(at, point))
        bend = sp.simplify(sp.diff(function, at, 2))
        if slope != 0:
            raise ProofError(f"{self.title}: {text}\n  f'({point}) = {slope}")
        if bend.is_positive is not True:
            raise ProofError(f"{self.title}: {text}\n  the sign of f'' = {bend} is not established")
        least = sp.simplify(function.subs(at, point))
        formula = sp.Ge(function, least, evaluate=False)
        proof = "equality at {point}, where the derivative vanishes; the second derivative is positive"
        where = sp.Eq(at, point, evaluate=False)
        self.steps.append(Step(text, {**names, "point": where}, formula, proof))

    def to_text(self) -> str:
        """The derivation as plain text."""
        parts = [f"{self.title}\n{'=' * len(self.title)}\n{fill(self.reference, _WIDTH)}"]
        for number, step in enumerate(self.steps, 1):
            named = {key: _line(value) for key, value in step.names.items()}
            words = step.text.format(**named)
            parts.append(fill(f"{number}. {words}", _WIDTH, subsequent_indent="   "))
            if step.formula is not None:
                parts.append(indent(_line(step.formula), "       "))
                parts.append(f"   [{step.proof.format(**named)}]")
        return "\n".join(parts)

    def to_latex(self) -> str:
        """The derivation as a LaTeX section (needs amsmath)."""
        parts = [f"\\section{{{self.title}}}", f"\\emph{{{_escaped(self.reference)}}}", "\\begin{enumerate}"]
        for step in self.steps:
            parts.append("\\item " + _prose(step.text, step.names))
            if step.formula is not None:
                parts.append(f"\\begin{{equation}}\n{sp.latex(step.formula)}\n\\end{{equation}}")
                parts.append(f"{{\\small [{_prose(step.proof, step.names)}]}}")
        return "\n".join([*parts, "\\end{enumerate}"])


def _vanishes(expression: sp.Expr) -> bool:
    """Whether an expression is found to be exactly zero: what is cheap is tried first."""
    if expression == 0 or sp.expand(expression) == 0:
        return True
    simple = sp.simplify(expression)
    return simple == 0 or sp.simplify(sp.expand(simple)) == 0


def _line(formula: sp.Basic) -> str:
    """A relation as ``left = right`` on one line."""
    if isinstance(formula, Relational):
        relation = "=" if isinstance(formula, sp.Equality) else formula.rel_op
        return f"{sp.sstr(formula.lhs)} {relation} {sp.sstr(formula.rhs)}"
    return str(sp.sstr(formula))


def _prose(text: str, names: dict[str, sp.Basic]) -> str:
    """A template in LaTeX, its names as inline formulas."""
    parts = []
    for words, name, _, _ in Formatter().parse(text):
        parts.append(_escaped(words))
        if name is not None:
            parts.append(f"${sp.latex(names[name])}$")
    return "".join(parts)


def _escaped(text: str) -> str:
    """Prose with LaTeX's special characters escaped."""
    for character in "%&#_":
        text = text.replace(character, f"\\{character}")
    return text.replace("^", "\\^{}")
