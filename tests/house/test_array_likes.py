"""One rule for every argument that is numbers: whatever NumPy converts without loss is welcome."""

from __future__ import annotations

import array
import collections
import importlib
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl import sparse
from spectral_icl.multitask import accuracy
from spectral_icl.sparse.transformer.attention import pairs_of

P = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
OMEGA, MU = [[0.25, 0.25], [0.25, 0.5]], [[1.0, 0.25], [0.25, 1.0]]
SOLUTION = si.gradient_flow(P, OMEGA, MU, t_end=2.0)
ROWS, LABELS = [[1.0, 2.0], [0.5, -1.0], [2.0, 0.25]], [1.0, -0.5, 2.0]
BLOCKS = {"block_sizes": (4, 4), "noise": 0.5, "context_length": 50}
TASKS = {"task_sizes": 4, "tasks": 2, "signal": 1.0, "context_length": 50}
V, K, Q = sparse.build_gd_head(2, 0.5, 0.5)
STUDIED = sparse.SparseProblem(8, 2, 20, 0.5)
MODEL = sparse.LinTF(2, 5, [2, 2], 2)


def solved(**options: Any) -> Any:
    return si.gradient_flow(P, OMEGA, MU, **{"t_end": 2.0, **options}).final


def made(**fields: Any) -> Any:
    return si.Problem.multitask(
        **{"task_sizes": [4, 4], "signal": 1.0, "noise": 0.5, "context_length": 50, **fields}
    )


# of every argument a good value in plain Python, and a call with it
NUMBERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "context_length": (64.0, lambda x: made(context_length=x)),
    "noise": (0.25, lambda x: made(noise=x)),
    "snr": (4.0, lambda x: si.Problem.from_dict({**TASKS, "snr": x})),
    "heads": (2, lambda x: si.initial.random(P, x)),
    "seed": (3, lambda x: si.initial.random(P, 2, seed=x)),
    "key_scale": (0.5, lambda x: solved(parametrization=si.Balanced(x))),
    "imbalance": (0.5, lambda x: solved(parametrization=si.Factored(x, x))),
    "t_end": (1.5, lambda x: solved(t_end=x)),
    "stationary": (0.5, lambda x: solved(t_end=float("inf"), stationary=x)),
    "rtol": (2.0**-20, lambda x: solved(rtol=x)),
    "max_steps": (1000, lambda x: solved(max_steps=x)),
    "t": (0.5, lambda x: SOLUTION(x)),
    "d": (8, lambda x: sparse.SparseProblem(x, 2, 20, 0.1).to_dict()),
    "rng": (8, lambda x: sparse.sample_prompts(2, 4, 2, 5, 0.5, rng=x)),
    "lam": (0.5, lambda x: sparse.ridge(ROWS, LABELS, x)),
    "times": (0.5, lambda x: sparse.p2o(ROWS, LABELS, times=x)),
    "eta": (0.125, lambda x: sparse.gd(ROWS, LABELS, x, 3)),
    "groups": (2, lambda x: sparse.build_group_heads(2, x)),
    "time": (8.0, lambda x: sparse.scaling_exponent("n", [20, 40], STUDIED, time=x, prompts=20)),
}
ROW: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "task_sizes": ([4, 8], lambda x: made(task_sizes=x)),
    "signal": ([1.0, 2.0], lambda x: made(signal=x)),
    "noise": ([0.5, 2.0], lambda x: made(noise=x)),
    "covariance": ([0.5, 2.0], lambda x: made(covariance=x)),
    "t_eval": ([0.5, 1.5], lambda x: si.gradient_flow(P, OMEGA, MU, t_end=2.0, t_eval=x).omega),
    "t": ([0.5, 1.5], lambda x: SOLUTION(x)),
    "limits": ([0.5, 1.5], lambda x: si.gradient_flow_ensemble(P, OMEGA, MU, t_end=x).omega),
    "times": ([0.5, 1.5], lambda x: sparse.p2o(ROWS, LABELS, times=x)),
    "steps": ([2, 4], lambda x: sparse.gd_risk(4, 20, 1.0, 0.5, 0.125, x)),
    "filters": ([2, 4], lambda x: sparse.p2o_risk([1.0, 1.0], None, 0.5, 20, (0.125, x), 16, 0)),
    "lam": ([0.5, 1.5], lambda x: sparse.ridge(ROWS, LABELS, x)),
    "penalties": ([0.5, 1.5], lambda x: sparse.ridge_risk(4, 20, 1.0, 0.5, x)),
    "w": ([0.5, 1.5], lambda x: sparse.sample_r(x, None, 0.5, 20, 0)),
    "Sigma": ([0.5, 1.5], lambda x: sparse.sample_prompts(2, 2, 1, 5, 0.5, Sigma=x, rng=0)),
    "S": ([0, 1], lambda x: sparse.oracle(ROWS, LABELS, x)),
    "J": ([0, 1], lambda x: sparse.partial_p2o(ROWS, LABELS, x, 0.5, times=1.0)),
    "support": ([0, 2], lambda x: sparse.sample_prompts(2, 4, 2, 5, 0.5, support=x, rng=0)),
    "heads_per_layer": ([1, 2], lambda x: sparse.LinTF(2, 5, x, 2).layers),
    "y": (LABELS, lambda x: sparse.ols(ROWS, x)),
    "xq": ([0.5, 2.0], lambda x: sparse.embed_prompt(ROWS, LABELS, x)),
    "r": ([0.5, 1.5], lambda x: sparse.p2o_risk_given(x, 2.0, [1.0, 1.0], None, 0.5, 20, [1.0])),
}
TABLE: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "signal": ([[1.0, 0.5], [0.25, 2.0]], lambda x: si.Problem(**BLOCKS, signal=x)),
    "omega0": (OMEGA, lambda x: si.gradient_flow(P, x, MU, t_end=2.0).final),
    "mu0": (MU, lambda x: si.gradient_flow_ensemble(P, OMEGA, x, t_end=2.0).mu),
    "omega": (OMEGA, lambda x: si.hessian(P, x, MU)),
    "mu": (MU, lambda x: accuracy.terms(P, OMEGA, x)),
    "weights": (OMEGA, lambda x: si.optimal.length_generalisation(P, 50.0, x, MU).task_loss),
    "imbalance": (OMEGA, lambda x: solved(parametrization=si.Factored(x, 0.5))),
    "X": (ROWS, lambda x: sparse.ols(x, LABELS)),
    "pairs": (ROWS, lambda x: pairs_of(x, LABELS)),
    "Sigma": ([[1.0, 0.5], [0.5, 2.0]], lambda x: sparse.sample_r([1.0, 1.0], x, 0.5, 20, 0)),
    "mask": ([[1.0, 0.5], [0.25, 0.0]], lambda x: MODEL.forward(ROWS, LABELS, [1.0, 1.0], mask=x)),
    "V": (V.tolist(), lambda x: sparse.linear_attention_layer(np.eye(5), sparse.Head(x, K, Q))),
    "groups": ([[0], [1]], lambda x: sparse.group_p2o(ROWS, LABELS, x, times=1.0)),
}  # fmt: skip


class Wrapped:
    """An array that NumPy asks for by the oldest of its protocols."""

    def __init__(self, value: Any) -> None:
        self.value = np.array(value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.value if dtype is None else self.value.astype(dtype)


def of(module: str, name: str, **options: Any) -> Callable[[Any], Any]:
    """What a package makes of a value; NumPy's array where it is not installed."""
    try:
        function = getattr(importlib.import_module(module), name)
    except ImportError:
        return np.asarray
    return lambda value: function(value, **options)


ANY: dict[str, Callable[[Any], Any]] = {
    "array": np.array,
    "objects": lambda x: np.array(x, dtype=object),
    "unmasked": np.ma.array,
    "half": np.float16,
    "wrapped": Wrapped,
    "jax": of("jax.numpy", "asarray"),
    "bfloat16": of("jax.numpy", "asarray", dtype="bfloat16"),
    "torch": of("torch", "tensor"),
    "xarray": of("xarray", "DataArray"),
}
SCALARS = ANY | {"numpy": lambda x: np.asarray(x)[()], "fraction": Fraction}
ROWS_OF = ANY | {
    "tuple": tuple,
    "longdouble": lambda x: np.array(x, dtype=np.longdouble),
    "memoryview": lambda x: memoryview(np.array(x)),
    "buffer": lambda x: array.array("d", x),
    "deque": collections.deque,
    "series": of("pandas", "Series"),
    "nullable": of("pandas", "array"),
    "scalars": lambda x: [np.float32(entry) for entry in x],
    "tensors": lambda x: list(ANY["torch"](x)),
}
TABLES = ANY | {
    "Fortran": np.asfortranarray,
    "rows": lambda x: [np.array(row) for row in x],
    "tuples": lambda x: tuple(map(tuple, x)),
    "frame": of("pandas", "DataFrame"),
    "series of rows": lambda x: [ROWS_OF["series"](row) for row in x],
}
KINDS = {"number": (NUMBERS, SCALARS), "row": (ROW, ROWS_OF), "table": (TABLE, TABLES)}


GOOD = [(kind, name) for kind, (arguments, _) in KINDS.items() for name in arguments]


class Quantity(np.ndarray):  # type: ignore[type-arg]
    """An array with units, as astropy has it."""

    unit = "metre"


def masked(value: Any) -> Any:
    """An array with its first entry masked."""
    return np.ma.array(value, mask=np.arange(np.size(value)).reshape(np.shape(value)) == 0)


# what numbers, in plain Python, may not be made of
LOSSY: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "bytes": lambda x: bytes(str(x), "ascii"),
    "bytearray": lambda x: bytearray(2),
    "complex": lambda x: np.array(x, dtype=complex),
    "dates": lambda x: np.array(x).astype("datetime64[s]"),
    "date": lambda x: datetime(2024, 1, 1),
    "truths": lambda x: np.ones(np.shape(x), dtype=bool),
    "set": lambda x: {1, 2},
    "dict": lambda x: {1: 2},
    "generator": lambda x: (entry for entry in np.ravel(x)),
    "masked": masked,
    "masked entry": lambda x: [np.ma.masked, 1.0],
    "units": lambda x: np.array(x).view(Quantity),
    "digits": lambda x: np.array(x, dtype=np.longdouble) / 7,
    "whole digits": lambda x: np.full(np.shape(x), 2**53 + 1),
    "object": lambda x: object(),
    "long": lambda x: of("xarray", "DataArray")(np.full((40, 30, 20), "x" * 40)),
}
ALLOWED = {("mask", "truths"), ("seed", "whole digits"), ("rng", "whole digits")}
WIDE = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant


def told(call: Callable[[Any], Any], value: Any) -> str:
    """What is said of bad input; nothing if it is taken."""
    try:
        call(value)
    except si.ProblemError as error:
        return str(error)
    return ""


def leaves(result: Any) -> Any:
    """A result as nested tuples of what can be compared."""
    if isinstance(result, np.ndarray):
        return result.shape, result.tobytes()
    return tuple(map(leaves, result)) if isinstance(result, (tuple, list)) else result


@pytest.mark.parametrize(("kind", "name"), GOOD)
def test_what_numpy_converts_is_welcome(kind: str, name: str) -> None:
    arguments, ways = KINDS[kind]
    value, call = arguments[name]
    expected = leaves(call(value))
    for way, convert in ways.items():
        assert leaves(call(convert(value))) == expected, way


@pytest.mark.parametrize(("kind", "name"), GOOD)
def test_what_would_lose_something_is_refused_in_one_line(kind: str, name: str) -> None:
    value, call = KINDS[kind][0][name]
    for way, spoil in LOSSY.items():
        if (way == "digits" and not WIDE) or (name, way) in ALLOWED:
            continue
        line = told(call, spoil(value))
        assert line, way
        assert "\n" not in line
        assert len(line) < 300, line
        assert "masked" in line or "mask" not in way, line


def test_the_size_of_all_tasks_may_be_an_array_of_no_dimensions() -> None:
    assert si.Problem.from_dict({**TASKS, "task_sizes": np.array(4), "noise": 1.0}).block_sizes == (4, 4)


def test_names_may_be_an_array_and_no_generator() -> None:
    for names in (np.array(["p2o", "gd"]), ("p2o", "gd")):
        assert list(sparse.simulate(STUDIED, names, prompts=20).risks) == ["p2o", "gd"]
    with pytest.raises(si.ProblemError, match=r"^methods: expected names of methods, got <generator"):
        sparse.simulate(STUDIED, (name for name in ["p2o"]), prompts=20)  # type: ignore[arg-type]


def test_several_problems_may_be_in_anything_with_entries() -> None:
    problems = [made(), made(noise=0.25)]
    listed = np.empty(2, dtype=object)
    listed[:] = problems
    for given_problems in (problems, tuple(problems), listed):
        assert si.gradient_flow_ensemble(given_problems, OMEGA, MU, t_end=0.5).t.size == 2
