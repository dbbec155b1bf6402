"""Hypothesis strategies for what a command can be given: sound files, odd ones, and options of any kind."""

from __future__ import annotations

import copy
import datetime
import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from spectral_icl.theorems.multitask.check import names

Table = dict[str, Any]
Draw = Callable[..., Any]


class Case(NamedTuple):
    """Commands that are run one after another in a folder of their own.

    Attributes
    ----------
    files : dict of str to bytes
        What is in the folder.
    commands : tuple of tuple of str
        Arguments of each command.
    encoding : str
        Of the terminal.
    """

    files: dict[str, bytes]
    commands: tuple[tuple[str, ...], ...]
    encoding: str


class Raw(str):
    """A value that stands in a file as it is, such as 1e999."""


# ---- numbers, texts and values of any kind


def decades(low: float, high: float) -> st.SearchStrategy[float]:
    """Positive numbers between two powers of ten, alike in every decade."""
    return st.floats(low, high).map(lambda power: max(10.0**power, 5e-324))


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Of the usual kind three times in four."""
    return st.integers(0, 3).flatmap(lambda k: st.one_of(*others) if k == 3 else usual)


ODD_NUMBERS = st.one_of(
    st.floats(),
    st.sampled_from([0, -0.0, 5e-324, -1, 1.5, 1e-300, 1e300, math.inf, -math.inf, math.nan]),
    st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 10**400]),
    st.sampled_from([Raw(text) for text in ("1e999", f"0x{'f' * 5000}", "9" * 5000, "-0", "1_000", "0b11")]),
)
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.text(CHARACTERS, max_size=8)
SCALARS = st.one_of(
    ODD_NUMBERS,
    ODD_NUMBERS,
    st.booleans(),
    TEXTS,
    st.sampled_from(["paper", "merged", "asymptotic", "x" * 5000, "a\nb", "\x1b[31m", "0.5"]),
    st.sampled_from([datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), datetime.time(1)]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=6,
)

# ---- sound tables, over the whole range of their numbers

EXTREMES = st.sampled_from([5e-324, 1e-300, 1e-200, 1e-13, 1e-9, 1e12])
POWERS = mostly(st.floats(0.1, 10.0), EXTREMES, decades(-324, 12))
NOISES = mostly(st.floats(0.0, 1.0), st.just(0.0), st.just(0.0), decades(-324, 12))
SIZES = mostly(st.integers(1, 6), st.sampled_from([1, 2, 1087, 10**5, 3 * 10**8, 10**9]))
LENGTHS = mostly(st.floats(1.0, 1e4), st.sampled_from([1, 1, 2, 3]), decades(0, 12))
VARIANCES = mostly(st.floats(0.3, 3.0), EXTREMES, decades(-324, 12))
ENTRIES = mostly(st.floats(-0.5, 0.5), st.just(0.0), decades(-324, 12), decades(-3, 1).map(lambda x: -x))


@st.composite
def problem_tables(draw: Draw) -> Table:
    """``[problem]`` in each of its three forms."""
    count = draw(st.integers(1, 3))
    many = st.lists(SIZES, min_size=count, max_size=count)
    table: Table = {"context_length": draw(LENGTHS)}
    form = draw(st.integers(0, 3))
    if form < 2:
        table["task_sizes"] = draw(many)
        table["signal"] = draw(st.one_of(POWERS, st.lists(POWERS, min_size=count, max_size=count)))
    elif form == 2:
        many_tasks = draw(mostly(st.just(count), st.just(count), st.sampled_from([30, 100, 10_000])))
        table |= {"tasks": many_tasks, "task_sizes": draw(SIZES), "signal": draw(POWERS)}
    else:
        blocks = draw(mostly(st.integers(1, 3), st.integers(4, 5)))
        row = st.lists(st.one_of(POWERS, st.just(0.0)), min_size=blocks, max_size=blocks)
        table["block_sizes"] = draw(st.lists(SIZES, min_size=blocks, max_size=blocks))
        table["signal"] = draw(st.lists(row.filter(any), min_size=count, max_size=count))
    noise = "snr" if form < 3 and draw(st.integers(0, 5)) == 0 else "noise"
    table[noise] = draw(POWERS if noise == "snr" else NOISES)
    if draw(st.booleans()):
        table["covariance"] = draw(VARIANCES)
    return table


@st.composite
def model_tables(draw: Draw) -> Table:
    """``[model]`` with each parametrization and law."""
    table: Table = {"kernel": draw(st.sampled_from(["asymptotic", "asymptotic", "first-order"]))}
    if draw(st.booleans()):
        table["heads"] = draw(mostly(st.integers(1, 4), st.integers(5, 6)))
    name = draw(st.sampled_from(["balanced", "factored", "merged"]))
    table["parametrization"] = name
    if name == "factored":
        imbalance = mostly(decades(-8, 0), st.just(0.0), decades(-200, 12))
        table |= {"imbalance_omega": draw(imbalance), "imbalance_mu": draw(imbalance)}
    if name != "merged" and draw(st.integers(0, 3)) == 0:
        table["key_scale"] = draw(mostly(decades(-2, 1), decades(-324, 12)))
    return table


@st.composite
def initial_tables(draw: Draw, problem: Table, heads: int | None) -> Table:
    """``[initial]`` of each kind."""
    kinds = ["paper", "random", "dominant", "explicit"]
    kind = draw(st.sampled_from(kinds[: 3 if problem.get("tasks", 1) > 3 else 4]))
    scale = mostly(decades(-4, 0), decades(-324, 12))
    if kind == "paper":
        return {
            "kind": kind,
            **{k: draw(ENTRIES) for k in ("qk", "ov_low", "ov_high") if draw(st.booleans())},
        }
    if kind == "random":
        return {
            "kind": kind,
            "scale": draw(scale),
            "seed": draw(st.integers(0, 9)),
            "positive": draw(st.booleans()),
        }
    if kind == "dominant":
        return {"kind": kind, "scale": draw(scale), "margin": draw(scale)}
    sizes = problem.get("block_sizes", problem.get("task_sizes"))
    blocks = len(sizes) if isinstance(sizes, list) else problem["tasks"]
    tasks = len(problem["signal"]) if "block_sizes" in problem else blocks
    rows = heads or draw(st.integers(1, 3))

    def entries(columns: int) -> list[list[float]]:
        row = st.lists(ENTRIES, min_size=columns, max_size=columns)
        return list(draw(st.lists(row, min_size=rows, max_size=rows)))

    return {"omega": entries(blocks), "mu": entries(tasks)}


@st.composite
def flow_tables(draw: Draw) -> Table:
    """``[flow]``: short and long, to rest and without an end, few steps."""
    table: Table = {
        "t_end": draw(mostly(decades(-1, 4), decades(-200, 100))),
        "max_steps": draw(mostly(st.integers(500, 3000), st.integers(1, 20))),
    }
    if draw(st.booleans()):
        table["rtol"] = draw(mostly(decades(-10, -4), decades(-13, -1)))
    if draw(st.integers(0, 3)) == 0:
        table["stationary"] = draw(mostly(decades(-10, -2), decades(-324, 12)))
        if draw(st.booleans()):
            table["t_end"] = math.inf
    if draw(st.integers(0, 5)) == 0:
        times = draw(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4, unique=True))
        table["t_eval"] = sorted(min(table["t_end"], 1e9) * t for t in times)
    return table


STEPS = mostly(decades(-1, 1), decades(-324, 12))  # the shorter ones are refused or take their time


@st.composite
def training_tables(draw: Draw) -> Table:
    """``[training]``: few paths of large steps, and of noise of any size."""
    table: Table = {"step": draw(STEPS), "batch": draw(mostly(st.integers(1, 10**5), st.just(1)))}
    table["paths"] = draw(st.integers(1, 9))
    if draw(st.booleans()):
        table |= {"seed": draw(st.integers(0, 9)), "noisy_queries": draw(st.booleans())}
    return table


@st.composite
def experiments(draw: Draw) -> Table:
    """A file for flow, optimal and verify."""
    table: Table = {"problem": draw(problem_tables())}
    if draw(st.booleans()):
        table["model"] = draw(model_tables())
    if draw(st.booleans()):
        table["initial"] = draw(initial_tables(table["problem"], table.get("model", {}).get("heads")))
    table["flow"] = draw(flow_tables())
    if draw(st.integers(0, 5)) == 0:
        table["training"] = draw(training_tables())
    return table


@st.composite
def studies(draw: Draw) -> Table:
    """A file for sparse, small enough for milliseconds."""
    d = draw(st.integers(1, 12))
    table: Table = {
        "d": d,
        "s": draw(st.integers(1, d)),
        "n": draw(mostly(st.integers(1, 30), st.integers(max(1, d - 1), d + 1), st.integers(1, 10**4))),
        "noise": draw(mostly(st.floats(0.0, 1.0), st.just(0.0), decades(-324, 6))),
    }
    if draw(st.booleans()):
        table["signal"] = draw(mostly(decades(-1, 1), decades(-6, 6)))
    odd = draw(st.integers(0, 3))
    if odd == 0:
        table["correlation"] = draw(st.floats(-1.0, 1.0))
    elif odd == 1:
        table["support_variance"] = draw(mostly(decades(-1, 1), decades(-324, 12)))
    if draw(st.booleans()):
        table["weights"] = draw(st.sampled_from(["pm", "gauss"]))
    prompts = 0 if table["n"] > 100 else draw(st.sampled_from([0, 20, 30]))
    study: Table = {"prompts": prompts, "seed": draw(st.integers(0, 9)), "draws": 64}
    if prompts and draw(st.integers(0, 9)) == 0:
        study["lasso"] = True
    return {"sparse": table, "study": study}


_PATHS = (
    *("problem.context_length", "problem.noise", "problem.signal", "problem.covariance", "problem.signal[0]"),
    *("problem.task_sizes", "problem.task_sizes[0]", "problem.tasks", "problem.snr", "model.heads"),
    *(
        "model.imbalance_mu",
        "model.key_scale",
        "initial.scale",
        "initial.seed",
        "initial.margin",
        "flow.t_end",
    ),
    *("flow.rtol", "flow.stationary", "flow.max_steps", "sparse.d", "sparse.s", "sparse.n", "sparse.noise"),
    *("study.prompts", "study.seed", "seed", "batch", "record.times"),
    *("training.step", "training.batch", "training.paths", "training.noisy_queries"),
)


@st.composite
def axis_tables(draw: Draw, base: Table) -> Table:
    """One ``[[axis]]`` of a few values."""
    here = [path for path in _PATHS if path.split(".")[0] in base]
    path = draw(mostly(st.sampled_from(here), st.sampled_from(_PATHS)))
    numbers = {
        "heads": st.integers(1, 3),
        "task_sizes": SIZES,
        "tasks": st.integers(1, 3),
        "d": st.integers(1, 9),
    }
    usual = numbers.get(re.sub(r".*\.|\[.*", "", path), st.one_of(POWERS, LENGTHS, st.integers(1, 9)))
    way = draw(st.sampled_from(["values", "values", "linear", "log", "replicates"]))
    table: Table = {"path": path}
    if way == "values":
        table[way] = draw(st.lists(usual, min_size=1, max_size=3))
    elif way == "replicates":
        table |= {"path": draw(st.sampled_from(["initial.seed", "study.seed"])), way: draw(st.integers(1, 3))}
    else:
        table[way] = [draw(usual), draw(usual), draw(st.integers(1, 3))]
    if draw(st.integers(0, 5)) == 0:
        table["zip"] = draw(st.sampled_from(["a", "point", "π"]))
    return table


@st.composite
def sweeps(draw: Draw) -> Table:
    """A file for sweep, of a dozen points."""
    base = draw(st.one_of(experiments(), experiments(), studies()))
    base.get("flow", {}).pop("t_eval", None)
    base.pop("training", None)
    if "flow" in base and draw(st.booleans()):
        base["record"] = {
            key: draw(st.booleans()) for key in ("state", "phases", "forecast") if draw(st.booleans())
        }
        base["record"]["benchmarks"] = draw(st.integers(0, 4)) == 0
        if draw(st.booleans()):
            base["record"]["times"] = draw(
                st.sampled_from([[0.0, 1.0], {"linear": [0, 1, 3]}, {"log": [0.1, 10, 3]}, [1e300], [5e-324]])
            )
    base["axis"] = draw(st.lists(axis_tables(base), min_size=1, max_size=2))
    if draw(st.integers(0, 3)) == 0:
        base |= {"seed": draw(st.integers(0, 2**63 - 1)), "batch": draw(st.integers(1, 4))}
    return base


# ---- what goes wrong with tables and texts


@st.composite
def mutated(draw: Draw, table: Table) -> Table:
    """The table with one entry replaced, added or taken away, anywhere."""
    table = copy.deepcopy(table)
    at: Any = table
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        new = [draw(TEXTS)] if isinstance(at, dict) else []
        if isinstance(at, dict) and "." in (path := draw(st.sampled_from(_PATHS))):
            new.append(path.split(".")[1].split("[")[0])
        if not keys + new:
            return table
        key = draw(st.sampled_from(keys * 4 + new))
        inner = at[key] if key in keys else None
        if isinstance(inner, (dict, list)) and draw(st.integers(0, 3)):
            at = inner
            continue
        if key in keys and draw(st.integers(0, 3)) == 0:
            del at[key]
        else:
            at[key] = draw(VALUES)
        return table


def toml(value: Any) -> str:
    """A value as it stands in a file."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(k)} = {toml(v)}' for k, v in value.items())}}}"
    return str(value)  # dates


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)


def document(table: Table) -> str:
    """The text of a file with these tables."""
    lines = [f"{_key(k)} = {toml(v)}" for k, v in table.items() if not isinstance(v, dict) and k != "axis"]
    for name, section in table.items():
        inner = section if name == "axis" and isinstance(section, list) else [section]
        for entries in inner:
            if isinstance(entries, dict):
                lines.append(f"[[{name}]]" if name == "axis" else f"[{_key(name)}]")
                lines += [f"{_key(k)} = {toml(v)}" for k, v in entries.items()]
    return "\n".join(lines) + "\n"


@st.composite
def garbled(draw: Draw, text: str) -> bytes:
    """The bytes of a text, mostly as they should be."""
    data = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)):
        return data
    k = draw(st.integers(0, len(data)))
    return bytes(
        draw(
            st.sampled_from(
                [
                    b"\xef\xbb\xbf" + data,
                    text.encode("utf-16"),
                    data.replace(b"\n", b"\r\n"),
                    data.replace(b"\n", b"\r"),
                    data[:k],
                    data[:k] + b"\0" + data[k:],
                    data[:k] + b"\xff" + data[k:],
                    data[:k] + b"\x1b[2J" + data[k:],
                    data + data,
                    data + b"a" + b".a" * 5000 + b" = 1\n",
                    data + b"[" + b"a." * 5000 + b"a]\n",
                    data + b"x = " + b"[" * 5000 + b"]" * 5000 + b"\n",
                    data + b"x = " + b"{a = " * 3000 + b"1" + b"}" * 3000 + b"\n",
                    data + b"x = " + b"1" * 10000 + b"\n",
                    b"",
                ]
            )
        )
    )


# ---- options and whole commands

ODD_NAMES = st.one_of(
    st.sampled_from(
        [
            *("in.toml", "notes.zarr", "link.nc", "no/out.nc", "no/out.zarr", "", ".", "/", "out", "out.NC"),
            *(
                "π.nc",
                "π.zarr",
                "a\nb.nc",
                "\udcff.nc",
                "\udcff.zarr",
                "x" * 300 + ".nc",
                "-",
                ".nc",
            ),
            *("in.toml/out.nc", "notes.zarr/x.nc", "\x1b[31m.nc", "/dev/null", "/proc/out.nc"),
        ]
    ),
    TEXTS,
)


@st.composite
def overrides(draw: Draw) -> list[str]:
    """``--set`` and what it sets."""
    path = draw(
        mostly(
            st.sampled_from(_PATHS),
            TEXTS,
            st.sampled_from(["problem", "a.b.c", ".", "problem" + ".a" * 3000]),
        )
    )
    value = draw(
        st.one_of(VALUES.map(toml), POWERS.map(repr), TEXTS, st.sampled_from(["[" * 3000, "\udcff", ""]))
    )
    return ["--set", draw(mostly(st.just(f"{path}={value}"), st.just(path)))]


@st.composite
def _options(draw: Draw, chances: dict[str, tuple[int, Any]]) -> list[str]:
    """Options, each with a chance in twelve and a strategy for its value (None for flags)."""
    found: list[str] = []
    for name, (chance, values) in chances.items():
        if draw(st.integers(0, 11)) < chance:
            found += [name] if values is None else [name, str(draw(values))]
    if draw(st.integers(0, 3)) == 0:
        found += draw(overrides())
    if draw(st.integers(0, 29)) == 0:
        found += draw(st.lists(TEXTS, min_size=1, max_size=2))
    return found


COUNTS = mostly(st.integers(0, 5), st.integers(), ODD_NUMBERS, TEXTS)


def _outputs(*usual: str) -> st.SearchStrategy[str]:
    return mostly(st.sampled_from(usual), ODD_NAMES)


_NOT_DRAWN = ODD_NAMES.filter(
    lambda name: not name.endswith((".svg", ".pdf", ".png"))
)  # a picture takes a minute

_COMMANDS: dict[str, tuple[Any, dict[str, tuple[int, Any]]]] = {
    "flow": (
        experiments(),
        {
            "--out": (3, _outputs("out.nc", "out.zarr")),
            "--plot": (1, _outputs("out.svg")),
            "--step": (2, mostly(STEPS, COUNTS)),
            "--batch": (2, mostly(st.integers(1, 10**5), COUNTS)),
            "--paths": (2, mostly(st.integers(1, 9), TEXTS)),
            "--seed": (1, COUNTS),
            "--json": (6, None),
        },
    ),
    "optimal": (
        experiments(),
        {"--heads": (3, COUNTS), "--plot": (1, _NOT_DRAWN), "--json": (6, None)},
    ),
    "verify": (
        experiments(),
        {
            # all of them take half a minute
            "--claim": (12, mostly(st.sampled_from(names()), TEXTS)),
            "--prompts": (11, mostly(st.just(100), COUNTS)),
            "--seed": (1, COUNTS),
            "--report": (2, _outputs("out.html")),
            "--sparse": (0, None),
            "--json": (6, None),
        },
    ),
    "sparse": (studies(), {"--plot": (1, _NOT_DRAWN), "--json": (6, None)}),
    "sweep": (
        sweeps(),
        {
            "--out": (11, _outputs("s.zarr")),
            "--workers": (1, st.sampled_from(["0", "-1", "x", "1e9"])),
            "--shard": (
                2,
                mostly(st.sampled_from(["0/2", "1/2"]), TEXTS, st.sampled_from(["2/2", "0/0", "-1/2"])),
            ),
            "--scheduler": (1, mostly(st.sampled_from(["", "x", "tcp://", "tls://x:1", "ftp://a:1"]), TEXTS)),
            "--retry-failed": (2, None),
            "--json": (4, None),
        },
    ),
}
_PLOT: dict[str, tuple[int, Any]] = {
    "--quantity": (3, mostly(st.sampled_from(["loss", "gap", "escape", "allocation", "p2o"]), TEXTS)),
    "--x": (2, mostly(st.sampled_from(_PATHS), TEXTS)),
    "--y": (2, mostly(st.sampled_from(_PATHS), TEXTS)),
    "--task": (2, COUNTS),
    "--at": (2, mostly(st.builds("{}={}".format, st.sampled_from(_PATHS), ODD_NUMBERS), TEXTS)),
    "--out": (11, _outputs("out.svg")),
    "--json": (5, None),
}
_ODD_COMMANDS = st.sampled_from(
    [
        *(
            (),
            ("--help",),
            ("--version",),
            ("cite",),
            ("examples",),
            ("examples", "x"),
            ("doctor",),
            ("flow", "--help"),
            ("sweep",),
        ),
        *(
            ("verify", "--sparse", "in.toml"),
            ("warm", "--workers", "0"),
            ("warm", "--kernel", "x"),
            ("plot", "s.zarr"),
        ),
        *(
            ("flow", "no.toml"),
            ("flow", "."),
            ("flow", "\udcff.toml"),
            ("sweep", "in.toml", "--out"),
            ("nothing",),
        ),
        *(
            ("flow", ""),
            ("plot", "notes.zarr"),
            ("plot", "in.toml"),
            ("flow", "in.toml", "in.toml"),
            ("--x",),
        ),
    ]
)


@st.composite
def cases(draw: Draw) -> Case:
    """Any command on any file: a third of them sound, the others with something odd about them."""
    name = draw(
        st.sampled_from(
            ["flow"] * 6 + ["sweep"] * 4 + ["sparse"] * 3 + ["verify"] * 2 + ["optimal"] + ["odd"]
        )
    )
    encoding = draw(st.sampled_from(["utf-8"] * 8 + ["cp1252", "ascii"]))
    tables, chances = _COMMANDS.get(name, (experiments(), {}))
    table = draw(tables if draw(st.integers(0, 29)) else st.one_of(experiments(), studies(), sweeps()))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        table = draw(mutated(table))
    files = {"in.toml": draw(garbled(document(table)))}
    if name == "odd":
        commands = [draw(_ODD_COMMANDS)]
    else:
        file = draw(
            mostly(st.just(["in.toml"]), st.just(["in.toml"]), st.just([]), ODD_NAMES.map(lambda n: [n]))
        )
        commands = [(name, *file, *draw(_options(chances)))]
    if name == "sweep" and draw(st.booleans()):  # again, or another one into the same store
        commands.append(commands[0] if draw(st.booleans()) else (*commands[0], *draw(overrides())))
    if name in ("sweep", "flow") and draw(st.integers(0, 4)) == 0:
        target = "s.zarr" if name == "sweep" else draw(st.sampled_from(["out.nc", "out.zarr"]))
        commands.append(("plot", target, *draw(_options(_PLOT))))
    if name == "sweep" and draw(st.integers(0, 9)) == 0:
        commands.append(("flow", "--out", "s.zarr", "--set", "flow.t_end=0.1"))
    return Case(files, tuple(commands), encoding)
