"""Tables of files as dataclasses: what is taken, what is refused, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.toml import overridden, parsed, plain, read_table, tables


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


def test_an_override_is_one_value() -> None:
    with pytest.raises(ProblemError, match="a TOML value") as caught:
        overridden({}, "a.b=1\nx = 2")
    assert caught.value.argument == "a.b"


def test_plain_objects() -> None:
    given = {"a": np.array([1, 2]), "b": (np.float64(1.5), {"c": np.int64(3)}), "d": "text"}
    assert plain(given) == {"a": [1, 2], "b": [1.5, {"c": 3}], "d": "text"}


SOUND = "[problem]\nnoise = 0.1\n"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf" + SOUND.encode(), SOUND.replace("\n", "\r\n").encode()])
def test_a_file_as_other_editors_write_it_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    assert parsed(tmp_path / "x.toml") == {"problem": {"noise": 0.1}}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_refused_with_the_reason(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.toml").write_text("\N{BYTE ORDER MARK}" * encoding.endswith("e") + SOUND, encoding)
    with pytest.raises(ProblemError, match=r"^file: expected a TOML file \(in utf-8, .* utf-16 or utf-32\)"):
        parsed(tmp_path / "x.toml")


DOTS = "a" + ".a" * 5000
DEEP = [
    f"{DOTS} = 1",
    f"[{DOTS}]\nx = 1",
    f"[[axis.{DOTS}]]\nx = 1",
    f"x = {{{DOTS} = 1}}",
    'x."a".' + "'b' . " * 5000 + "c = 1",
    f"x = {'[' * 300}{']' * 300}",
    f"x = {'[' * 50_000}{']' * 50_000}",
    f"x = {'{a = ' * 300}1{'}' * 300}",
    "[" + ".".join("a" * 30) + "]\n" + ".".join("b" * 30) + " = 1",
    "a" + ".a" * 10**6 + " = 1",
]


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_what_is_nested_too_deep_is_refused_before_anything_looks_at_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ProblemError, match=r"^file: expected a TOML file \((nested|maximum)") as caught:
        parsed(tmp_path / "x.toml")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "override", [f"{DOTS}=1", f"a.{DOTS}=1", f"a.b={{{DOTS} = 1}}", f"a.b={'[' * 300}{']' * 300}"]
)
def test_an_override_that_is_nested_too_deep_is_refused(override: str) -> None:
    with pytest.raises(ProblemError, match=r"expected (section\.key=value|a TOML value), got") as caught:
        overridden({}, override)
    assert len(str(caught.value)) < 400


def test_long_rows_of_numbers_and_of_dots_are_not_deep(tmp_path: Path) -> None:
    dots = "." * 500
    rows = [[1.5] * 200] * 200
    (tmp_path / "x.toml").write_text(f"# {dots}\nx = {rows}\ntext = 'a. b. {dots}'\n")
    assert parsed(tmp_path / "x.toml")["x"] == rows


def test_a_built_in_table_of_another_kind_has_only_the_entries_that_are_given(tmp_path: Path) -> None:
    built_in = {"start": {"kind": "a", "x": 1, "y": 2}, "rest": {"z": 3}}
    given = ("start.x=5", "start.kind=b")
    assert tables(None, given, built_in) == {"start": {"kind": "b", "x": 5}, "rest": {"z": 3}}
    assert tables(None, ("start.kind=a",), built_in) == built_in
    file = tmp_path / "own.toml"
    file.write_text("[start]\nkind = 'a'\ny = 2\n")
    assert tables(file, given, built_in) == {"start": {"kind": "b", "x": 5, "y": 2}}
