"""The one exception for bad input, and the checks that raise it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LARGEST = 1e12  # magnitudes beyond this are typing errors, and their products would overflow
_SHOWN = 80  # characters of an offending value that an error line repeats


class ProblemError(ValueError):
    """Bad input: one line with the argument, the value it had and what was expected.

    Attributes
    ----------
    argument : str
        Name of the argument, with an index or dotted path where one helps.
    value : object
        What it was.
    expected : str
        What would have been accepted.
    """

    def __init__(self, argument: str, value: object, expected: str) -> None:
        self.argument = argument
        self.value = value
        self.expected = expected
        super().__init__(f"{argument}: expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    """The value on one line, its middle cut out if it is long (the ends tell most)."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an int of thousands of digits, a list inside a list inside ...
        return f"a {type(value).__name__} that is too large to print"
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]}...{text[-half:]}"


class Relabelled:
    """A block whose `ProblemError` names its argument as the caller's user knows it.

    A class and not a generator: a sweep enters several of them for every point.

    Parameters
    ----------
    name : callable
        Gives the user's name of an argument.
    """

    def __init__(self, name: Callable[[str], str]) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise the error under its other name, if there is one."""
        if isinstance(error, ProblemError):
            raise ProblemError(self._name(error.argument), error.value, error.expected) from None


def within(section: str) -> Relabelled:
    """A block whose arguments are the entries of a section of a file: ``section.argument``."""
    return Relabelled(lambda argument: f"{section}.{argument}")


def renamed(names: Mapping[str, str]) -> Relabelled:
    """A block in which arguments have other names, such as those of options; the rest keep theirs."""
    return Relabelled(lambda argument: names.get(argument, argument))


def number(
    argument: str,
    value: object,
    *,
    minimum: float = -LARGEST,
    maximum: float = LARGEST,
    above: bool = False,
) -> float:
    """``value`` as a float in [minimum, maximum], or in (minimum, maximum] if ``above``."""
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            result = float(value)
        except OverflowError:
            result = math.nan
        low = result > minimum if above else result >= minimum
        if low and result <= maximum:
            return result
    relation = ">" if above else ">="
    raise ProblemError(argument, value, f"a number {relation} {minimum:g} and <= {maximum:g}")


def integer(argument: str, value: object, *, minimum: int, maximum: int) -> int:
    """``value`` as an int in [minimum, maximum]; a float is refused unless it is whole."""
    try:
        whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    except OverflowError:
        whole = False
    if whole and not isinstance(value, bool):
        result = int(value)  # type: ignore[call-overload]
        if minimum <= result <= maximum:
            return int(result)
    raise ProblemError(argument, value, f"a whole number >= {minimum} and <= {maximum}")


def numbers(
    argument: str, value: object, *, size: int | None = None, minimum: float = -LARGEST
) -> tuple[float, ...]:
    """A sequence of numbers (of ``size`` entries), or one number that stands for all of them."""
    if isinstance(value, Real) and size is not None:
        return (number(argument, value, minimum=minimum),) * size
    many = "numbers" if size is None else f"{size} numbers"
    entries = sequence(argument, value, many)
    if size is not None and len(entries) != size:
        raise ProblemError(argument, value, f"{size} numbers")
    return tuple(number(f"{argument}[{k}]", x, minimum=minimum) for k, x in enumerate(entries))


def sequence(argument: str, value: object, many: str) -> Sequence[object]:
    """``value`` as a non-empty sequence (list, tuple or array), which strings are not."""
    if isinstance(value, np.ndarray) and value.ndim > 0:
        value = value.tolist()
    text = isinstance(value, (str, bytes, bytearray))
    if not isinstance(value, Sequence) or text or len(value) == 0:
        raise ProblemError(argument, value, many)
    return value


def array(
    argument: str,
    value: ArrayLike,
    shape: tuple[int | None, ...],
    minimum: float = -LARGEST,
    largest: float = LARGEST,
) -> Floats:
    """``value`` as a fresh float64 array of ``shape`` (None matches any size), no entry above ``largest``.

    It is C-contiguous: the compiled functions are others for views, and round differently.
    """
    try:
        raw = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise ProblemError(argument, value, _array_of(shape)) from None
    if raw.dtype.kind not in "iuf":  # no booleans, text, complex numbers or objects
        raise ProblemError(argument, value, _array_of(shape))
    matches = raw.ndim == len(shape) and all(
        n is None or n == m for n, m in zip(shape, raw.shape, strict=True)
    )
    if not matches:
        raise ProblemError(argument, f"shape {raw.shape}", _array_of(shape))
    result = raw.astype(np.float64, order="C")  # a copy
    good = np.abs(result) <= largest
    if minimum > -LARGEST:
        good &= result >= minimum
    if not good.all():
        where = tuple(int(k) for k in np.argwhere(~good)[0])
        name = f"{argument}[{', '.join(map(str, where))}]"
        low = max(minimum, -largest)
        raise ProblemError(name, float(result[where]), f"a finite number >= {low:g} and <= {largest:g}")
    return result


def _array_of(shape: tuple[int | None, ...]) -> str:
    """What `array` expects, in words."""
    sizes = ", ".join("any" if n is None else str(n) for n in shape)
    return f"an array of finite numbers of shape ({sizes})"


def choice(argument: str, value: object, options: Sequence[str]) -> str:
    """``value`` if it is one of ``options``."""
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ProblemError(argument, value, f"one of {listed}")
    return str(value)
