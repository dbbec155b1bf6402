"""The one exception for bad input, and the checks that raise it."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST = 1e12  # magnitudes beyond this are typing errors, and their products would overflow
PLAIN = frozenset({float, int, np.float64})  # types of numbers that are right as they are
_MANY = 40  # entries from which an array of them is looked at faster than each by itself
_WORD = 30  # letters that are left out of a line at most so as not to cut a word
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
        super().__init__(f"{cut(argument)}: expected {expected}, got {_shown(value)}")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the message and attributes; a value that cannot travel becomes what is shown of it."""
        try:
            pickle.loads(pickle.dumps(self.value))
            value = self.value
        except Exception:
            value = _shown(self.value)
        return type(self).__new__, (type(self), *self.args), {**vars(self), "value": value}


def _shown(value: object) -> str:
    """The value on one line, cut if it is long, or what it is."""
    try:
        lines = repr(value)
        text, shape = " ".join(lines.split()), getattr(value, "shape", ())
    except Exception:  # an int of thousands of digits, a list inside a list inside ..., a class that cannot
        return f"a {type(value).__name__} that cannot be printed"
    long = len(text) > _SHOWN or ("\n" in lines and not isinstance(value, np.ndarray))
    if long and isinstance(shape, tuple) and shape:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    return cut(text)


def cut(text: str, most: int = _SHOWN) -> str:
    """The text, its middle cut out if it has more than ``most`` letters: the ends tell most.

    Words that the cut goes through are left out, but for long ones.
    """
    half = most // 2
    if len(text) <= most:
        return text
    first, last = text[:half], text[-half:]
    end, start = first.rfind(" ", half - _WORD) + 1, last.find(" ", 0, _WORD)
    return f"{first[:end] if end else first}...{last[max(start, 0) :]}"


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


class _LossError(ValueError):
    """What would be lost if a value became an array: words that follow what is expected of it."""


def floats(argument: str, value: object, expected: str = "numbers") -> Floats:
    """``value`` as a fresh float64 array of any shape, in C order: whatever NumPy converts without loss.

    Nested lists, arrays, tensors, tables and what else has ``__array__``; no text, truth values, complex
    numbers, dates, sets or generators, and nothing with a mask or units, which the numbers would lose.
    """
    raw = _converted(_numeric, argument, value, expected)
    if raw.dtype == np.float64:
        return np.array(raw, order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        result = raw.astype(np.float64, order="C")
        if raw.itemsize >= 8 and not np.array_equal(result.astype(raw.dtype), raw, equal_nan=True):
            raise ProblemError(argument, value, f"{expected} that float64 holds exactly")
    return result


def _converted(
    convert: Callable[[object], NDArray[Any]], argument: str, value: object, expected: str
) -> NDArray[Any]:
    try:
        return convert(value)
    except _LossError as loss:
        raise ProblemError(argument, value, f"{expected}{loss}") from None
    except Exception:  # the array-like of another package raises what it likes
        raise ProblemError(argument, value, expected) from None


def _numeric(value: object) -> NDArray[Any]:
    if isinstance(value, (list, tuple)):
        raw = np.asarray([x if type(x) in PLAIN else _numeric(x) for x in value])
    else:
        raw = _bare(value)
    if raw.dtype == object and not all(isinstance(x, Real) and not isinstance(x, bool) for x in raw.flat):
        raise TypeError
    if raw.dtype == object or (raw.dtype.kind == "V" and np.can_cast(raw.dtype, np.float64)):  # bfloat16
        return raw.astype(np.float64)
    if raw.dtype.kind not in "iuf":
        raise TypeError
    return raw


def _bare(value: Any) -> NDArray[Any]:
    """The array that NumPy makes of a value, of any type, if it loses neither mask nor units."""
    if np.ma.is_masked(value):
        raise _LossError(", none of them masked")
    if hasattr(type(value), "unit") or hasattr(type(value), "units"):
        raise _LossError(" without units")
    if isinstance(value, bytearray):
        raise TypeError
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of units inside another container
        return np.asarray(value)


def single(value: object) -> object:
    """The number that an array of no dimensions holds; anything else as it is."""
    if type(value) in PLAIN or isinstance(value, Real) or not hasattr(value, "__array__"):
        return value
    try:
        raw = _numeric(value)
    except Exception:  # it is no number: its user is told so where one is expected
        return value
    return raw.item() if raw.ndim == 0 else value


def is_number(value: object) -> bool:
    """Whether a value is one number, an array of no dimensions included."""
    return isinstance(single(value), Real)


def dimensions(value: object) -> int:
    """Number of axes of what can be made an array of numbers; 0 for anything else."""
    try:
        return _numeric(value).ndim
    except Exception:
        return 0


def number(
    argument: str,
    value: object,
    *,
    minimum: float = -LARGEST,
    maximum: float = LARGEST,
    above: bool = False,
) -> float:
    """``value`` as a float in [minimum, maximum], or in (minimum, maximum] if ``above``."""
    one = single(value)
    if isinstance(one, Real) and not isinstance(one, bool):
        try:
            result = float(one)
        except OverflowError:
            result = math.nan
        low = result > minimum if above else result >= minimum
        if low and result <= maximum:
            if isinstance(one, (np.longdouble, Integral)):
                exact = one if isinstance(one, np.longdouble) else int(one)
                if exact != result:
                    raise ProblemError(argument, value, "a number that float64 holds exactly")
            return result
    relation = ">" if above else ">="
    raise ProblemError(argument, value, f"a number {relation} {minimum:g} and <= {maximum:g}")


def integer(argument: str, value: object, *, minimum: int, maximum: int) -> int:
    """``value`` as an int in [minimum, maximum]; a float is refused unless it is whole."""
    one = single(value)
    try:
        whole = isinstance(one, Integral) or (isinstance(one, Real) and float(one).is_integer())
    except OverflowError:
        whole = False
    if whole and not isinstance(one, bool):
        result = int(one)  # type: ignore[call-overload]
        if minimum <= result <= maximum:
            return int(result)
    raise ProblemError(argument, value, f"a whole number >= {minimum} and <= {maximum}")


def numbers(
    argument: str, value: object, *, size: int | None = None, minimum: float = -LARGEST
) -> tuple[float, ...]:
    """A sequence of numbers (of ``size`` entries), or one number that stands for all of them."""
    if size is not None and is_number(value):
        return (number(argument, value, minimum=minimum),) * size
    many = "numbers" if size is None else f"{size} numbers"
    entries = sequence(argument, value, many)
    if size is not None and len(entries) != size:
        raise ProblemError(argument, value, f"{size} numbers")
    if len(entries) > _MANY and set(map(type, entries)) <= PLAIN:
        values = _within(entries, minimum, LARGEST)
        if values is not None:
            return tuple(values.tolist())
    return tuple(number(f"{argument}[{k}]", x, minimum=minimum) for k, x in enumerate(entries))


def integers(argument: str, value: object, *, minimum: int, maximum: int) -> tuple[int, ...]:
    """A sequence of whole numbers in [minimum, maximum]; a float is refused unless it is whole."""
    entries = sequence(argument, value, "whole numbers")
    many = len(entries) > _MANY and set(map(type, entries)) == {int}
    if many and _within(entries, minimum, maximum) is not None:
        return tuple(entries)  # type: ignore[arg-type]
    return tuple(
        integer(f"{argument}[{k}]", x, minimum=minimum, maximum=maximum) for k, x in enumerate(entries)
    )


def _within(entries: Sequence[object], minimum: float, maximum: float) -> Floats | None:
    """Plain numbers as an array if all are in [minimum, maximum], where float64 holds whole ones exactly."""
    try:
        values = np.array(entries, dtype=np.float64)
    except OverflowError:  # an int of hundreds of digits
        return None
    return values if ((values >= minimum) & (values <= maximum)).all() else None


def sequence(argument: str, value: object, many: str, least: int = 1) -> Sequence[object]:
    """``value`` as a sequence (list, tuple or array, which strings are not) of ``least`` entries or more."""
    if isinstance(value, Sequence):
        entries = value
    else:
        raw = _converted(_bare, argument, value, many)
        entries = raw.tolist() if raw.ndim > 0 else ""
    if isinstance(entries, (str, bytes, bytearray)) or len(entries) < least:
        raise ProblemError(argument, value, many)
    return entries


def array(
    argument: str,
    value: object,
    shape: tuple[int | None, ...],
    minimum: float = -LARGEST,
    largest: float = LARGEST,
) -> Floats:
    """`floats` of ``shape`` (None matches any size), no entry above ``largest``.

    It is C-contiguous: the compiled functions are others for views, and round differently.
    """
    if type(value) is np.ndarray and value.dtype == np.float64:  # nothing to lose
        result: Floats = np.array(value, order="C")
    else:
        result = floats(argument, value, _array_of(shape))
    matches = result.ndim == len(shape) and all(
        n is None or n == m for n, m in zip(shape, result.shape, strict=True)
    )
    if not matches:
        raise ProblemError(argument, f"shape {result.shape}", _array_of(shape))
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
    if not isinstance(value, str) or value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ProblemError(argument, value, f"one of {listed}")
    return str(value)
