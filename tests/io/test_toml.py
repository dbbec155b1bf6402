"""Tables of files as dataclasses: what is taken, what is refused, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.toml import overridden, plain, read_table


@dataclass(frozen=True)
class Everything:
    """One field of every type that there may be."""

    real: float
    whole: int = 1
    flag: bool = False
    text: str = ""
    kind: Literal["a", "b"] = "a"
    rows: list[list[float]] = field(default_factory=list)
    many: list[float] | None = None
    either: float | list[list[float]] | None = None
    anything: object = None


def test_what_fits_is_taken_with_its_type() -> None:
    table = {"real": 1, "whole": 2.0, "flag": True, "text": "t", "kind": "b", "anything": {"x": 1}}
    found = read_table(Everything, "table", table)
    assert found == Everything(1.0, 2, True, "t", "b", anything={"x": 1})
    assert (type(found.real), type(found.whole)) == (float, int)
    assert read_table(Everything, "table", {"real": 1.0, "many": [1, 2]}).many == [1.0, 2.0]
    assert read_table(Everything, "table", {"real": 1.0, "many": None}).many is None
    for either in (0.5, [[1.0], [2.0]], None):
        assert read_table(Everything, "table", {"real": 1.0, "either": either}).either == either
    assert read_table(Everything, "table", {"real": 1.0, "whole": 10**400}).whole == 10**400
    assert np.isnan(read_table(Everything, "table", {"real": float("nan")}).real)


REFUSED: list[tuple[object, str]] = [
    (3, "table: expected a table [table], got 3"),
    ({}, "table.real: expected a value, got None"),
    ({"real": 1.0, "rael": 2.0}, "table.rael: expected a known key (is it a typing error?), got 2.0"),
    ({"real": True}, "table.real: expected a number, got True"),
    ({"real": 10**400}, "table.real: expected a number, got 1"),
    ({"real": 1.0, "whole": 2.5}, "table.whole: expected a whole number, got 2.5"),
    ({"real": 1.0, "whole": float("inf")}, "table.whole: expected a whole number, got inf"),
    ({"real": 1.0, "flag": 1}, "table.flag: expected true or false, got 1"),
    ({"real": 1.0, "text": 1}, "table.text: expected text, got 1"),
    ({"real": 1.0, "kind": "c"}, "table.kind: expected one of 'a', 'b', got 'c'"),
    ({"real": 1.0, "kind": ["a"]}, "table.kind: expected one of 'a', 'b', got ['a']"),
    ({"real": 1.0, "rows": 3}, "table.rows: expected rows of numbers, got 3"),
    ({"real": 1.0, "rows": [3]}, "table.rows[0]: expected a list of numbers, got 3"),
    ({"real": 1.0, "rows": [[3, "x"]]}, "table.rows[0][1]: expected a number, got 'x'"),
    ({"real": 1.0, "many": "x"}, "table.many: expected a list of numbers, got 'x'"),
    ({"real": 1.0, "either": [1.0]}, "table.either: expected a number or rows of numbers, got [1.0]"),
]


@pytest.mark.parametrize(("table", "message"), REFUSED, ids=[case[1][:40] for case in REFUSED])
def test_what_does_not_fit_is_named(table: object, message: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_table(Everything, "table", table)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_overrides_are_toml_or_text() -> None:
    table: dict[str, Any] = {"a": {"x": 1}}
    assert overridden(table, "a.x=[1, 2]") == {"a": {"x": [1, 2]}}
    assert overridden(table, "a.y = some text") == {"a": {"x": 1, "y": "some text"}}
    assert overridden(table, "seed=3", top=("seed",)) == {"a": {"x": 1}, "seed": 3}
    assert table == {"a": {"x": 1}}
    with pytest.raises(ProblemError, match=r"^overrides: expected section\.key=value, got 'seed=3'"):
        overridden(table, "seed=3")


def test_plain_objects() -> None:
    given = {"a": np.array([1, 2]), "b": (np.float64(1.5), {"c": np.int64(3)}), "d": "text"}
    assert plain(given) == {"a": [1, 2], "b": [1.5, {"c": 3}], "d": "text"}
