"""Sweeps of sparse problems: what is stored, what is refused, and what is drawn."""

from __future__ import annotations

import json
import math
import pickle
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stores
import xarray
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.figure import Figure
from scipy.interpolate import RegularGridInterpolator
from shell import run

import spectral_icl as si
from spectral_icl.figures.sweep import summary, sweep_figure
from spectral_icl.sparse.comparison import compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sweeps import run as sweep
from spectral_icl.sweeps.plan import Plan, point_seed, sweep_of
from spectral_icl.sweeps.points import INVALID
from spectral_icl.sweeps.sparse import points as sparse_points
from spectral_icl.sweeps.sparse.points import UNSOLVED, SparsePoints
from spectral_icl.sweeps.store import Store, open_sweep

Table = dict[str, Any]

SPARSE = {"d": 8, "s": 2, "n": 24, "noise": 0.25}
STUDY = {"prompts": 20, "draws": 16}
LENGTHS = {"path": "sparse.n", "values": [12, 24, 48, 96]}
SIZES = {"path": "sparse.d", "values": [8, 16]}
NONZERO = {"path": "sparse.s", "values": [2, 12]}
SEEDS = {"path": "study.seed", "replicates": 3}
TEXT = """
seed = 7
batch = 2
[sparse]
d = 8
s = 2
n = 24
snr = 4.0
[study]
prompts = 20
draws = 16
[[axis]]
path = "sparse.n"
values = [12, 24, 48]
[[axis]]
path = "study.seed"
replicates = 2
"""


def table(*axes: Table, sparse: Table | None = None, study: Table | None = None, **more: Any) -> Table:
    return {"sparse": SPARSE | (sparse or {}), "study": STUDY | (study or {}), "axis": list(axes), **more}


def plan(*axes: Table, **more: Any) -> Plan:
    return Plan.from_dict(table(*axes, **more))


@pytest.fixture(autouse=True)
def _epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stores.EPOCH.items():
        monkeypatch.setenv(name, value)


# --- points ----------------------------------------------------------------------------------------------


def near(value: Any) -> Any:
    """The same but for rounding, which depends on the threads of the BLAS; a sweep gives it one."""
    return pytest.approx(value, rel=1e-9)


def test_a_point_is_the_comparison_of_its_file() -> None:
    made = plan(SIZES, NONZERO)
    found = made.solve(0, 4)
    assert found["status"].tolist() == [0, INVALID, 0, 0], "12 nonzero weights of 8"
    expected = made.variables
    assert set(found) == {"status", *expected}
    assert all(np.isnan(found[name][1]) for name in expected)
    for k in (0, 2, 3):
        alone = compare(Study.from_dict(made.table(k)))
        for name, method in alone.methods.items():
            stored = [found[key][k] for key in (name, f"{name}_mc", f"{name}_se")]
            assert stored == near([method.theory, method.simulated, method.se])
        assert found["p2o_time"][k] == near(alone.methods["p2o"].tuned)
        assert found["p2o_error"][k] == near(alone.methods["p2o"].theory_error)
        assert found["advantage"][k] == near(alone.advantage.mean)
        assert found["advantage"][k] == near(found["p2o"][k] / found["ridge"][k])
        assert (found["advantage_mc"][k], found["advantage_se"][k]) == near(tuple(alone.simulated_advantage))
    assert 0.5 < np.nanmax(found["p2o_mc"] / found["p2o"]) < 2.0


@pytest.mark.parametrize(("cuts", "threads"), [([1, 2, 3], 1), ([3], 2), ([], None)])
def test_bits_depend_on_neither_batches_nor_threads(cuts: list[int], threads: int | None) -> None:
    made = plan(LENGTHS)
    whole = made.solve(0, 4)
    pieces = [made.solve(a, b, threads=threads) for a, b in pairwise([0, *cuts, 4])]
    for name, values in whole.items():
        assert np.concatenate([piece[name] for piece in pieces]).tobytes() == values.tobytes(), name


def test_theory_alone_and_risks_without_theory() -> None:
    found = plan({"path": "study.prompts", "values": [0, 20]}).solve(0, 2)
    assert np.isfinite([found[name] for name in ("p2o", "gd", "ridge", "ols", "oracle", "advantage")]).all()
    for name in ("p2o_mc", "ridge_se", "advantage_mc", "advantage_se"):
        assert np.isfinite(found[name]).tolist() == [False, True]
    found = plan({"path": "sparse.correlation", "values": [0.0, 0.5]}).solve(0, 2)
    assert np.isfinite(found["p2o"]).all()
    assert np.isnan(found["ridge"]).tolist() == np.isnan(found["advantage"]).tolist() == [False, True]
    assert np.isfinite(found["advantage_mc"]).all()


def test_lasso_is_stored_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(LENGTHS | {"values": [24]}, study={"lasso": True})
    assert set(made.variables) | {"method"} == SparsePoints.reserved(), "no dimension is called so"
    monkeypatch.setattr(sparse_points, "find_spec", lambda _: None)
    with pytest.raises(si.ProblemError, match=r"^study\.lasso: expected the package 'scikit-learn'"):
        made.solve(0, 1)
    monkeypatch.undo()
    pytest.importorskip("sklearn")
    found = made.solve(0, 1)
    assert found["lasso_mc"][0] > 0.0
    assert np.isnan(found["lasso"][0])


def test_replicates_draw_the_seed_of_the_study() -> None:
    made = plan(LENGTHS, SEEDS, seed=5)
    assert made.table(4)["study"]["seed"] == point_seed(5, 4)
    assert made.coordinates(0, 12)["seed"].tolist() == [point_seed(5, k) for k in range(12)]
    assert made.base["study"]["seed"] == 0
    found = made.solve(0, 3)
    assert len(set(found["p2o_mc"])) == len(set(found["p2o"])) == 3
    assert len(set(found["ridge"])) == 1, "a formula"


# --- plans -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        table(LENGTHS, NONZERO | {"values": [1, 2]}),
        table(SEEDS, {"path": "sparse.snr", "log": [0.1, 10, 3]}, sparse={"snr": 1.0}, seed=3, batch=2),
        table({"path": ["sparse.d", "sparse.s"], "values": [2, 4], "zip": "dense"}),
    ],
)
def test_a_plan_survives_its_dictionary_and_a_pickle(given: Table) -> None:
    if "snr" in given["sparse"]:
        del given["sparse"]["noise"]
    made = Plan.from_dict(given)
    for again in (Plan.from_dict(json.loads(json.dumps(made.to_dict()))), pickle.loads(pickle.dumps(made))):
        assert again.to_dict() == made.to_dict()
        assert again.digest() == made.digest()
        assert [again.table(k) for k in range(made.size)] == [made.table(k) for k in range(made.size)]
    assert "record" not in made.to_dict()


def test_digest_has_the_defaults_filled_in() -> None:
    first = plan(LENGTHS)
    again = plan(LENGTHS, sparse={"weights": "pm", "signal": 1, "correlation": 0}, study={"seed": 0})
    assert again.digest() == first.digest()
    assert plan(LENGTHS, study={"seed": 1}).digest() != first.digest()
    assert first.extents == {}
    assert (plan(LENGTHS).batch, plan({"path": "sparse.noise", "linear": [0.1, 1, 4000]}).batch) == (8, 63)


REFUSED: list[tuple[Table, str, str]] = [
    (table(LENGTHS, problem={"tasks": 2}), "problem", "nothing beside [sparse]: a file has flows or sparse"),
    (table(LENGTHS, model={}), "model", "nothing beside [sparse]"),
    ({"study": STUDY, "flow": {}, "axis": [LENGTHS]}, "flow", "nothing beside [study]"),
    (table(LENGTHS, spares={}), "spares", "a known key"),
    (table(), "axis", "at least one [[axis]]"),
    (table(LENGTHS, record={"state": False}), "record", "nothing beside [sparse]"),
    ({"study": STUDY, "axis": [LENGTHS]}, "sparse.d", "a value"),
    ({"sparse": 3, "axis": [LENGTHS]}, "sparse", "a table [sparse], got 3"),
    (table(LENGTHS, sparse={"sigma": 1.0}), "sparse.sigma", "a known key"),
    (table(LENGTHS, sparse={"snr": 1.0}), "sparse.snr", "nothing beside noise"),
    (table(LENGTHS, study={"trials": 1}), "study.trials", "a known key"),
    (table(LENGTHS, study={"prompts": 1}), "study.prompts", "at least 2"),
    (table(LENGTHS, study={"draws": 8}), "study.draws", ">= 16"),
    (table({"path": "sparse.m", "values": [1]}), "axis[0].path", "a numeric field of the file"),
    (table({"path": "sparse.weights", "values": [1]}), "axis[0].path", "a numeric field"),
    (table({"path": "study.lasso", "values": [1]}), "axis[0].path", "a numeric field"),
    (table({"path": "sparse.n[0]", "values": [1]}), "axis[0].path", "a numeric field"),
    (table({"path": "problem.snr", "values": [1]}), "axis[0].path", "a numeric field"),
    (table({"path": "initial.seed", "replicates": 2}), "axis[0].path", "study.seed, for replicates"),
    (table({"path": "seed", "values": [1, 2]}), "axis", "an axis of replicates too"),
    (table(LENGTHS | {"zip": "ridge_mc"}), "axis[0].zip", "a name that no result has"),
    (table(LENGTHS | {"zip": "method"}), "axis[0].zip", "a name that no result has"),
    (table(LENGTHS | {"values": [24, 24.5]}), "sparse.n", "a whole number >= 1"),
    (table(NONZERO), "sparse.s", "<= 8, got 12"),
    (
        table(NONZERO | {"values": [9, 2]}),
        "sparse.s",
        "<= 8 (the first values of the axes must fit together)",
    ),
    (table({"path": "sparse.noise", "values": [0.1, -0.1]}), "sparse.noise", ">= 0"),
    (table({"path": "sparse.snr", "values": [1.0]}), "sparse.snr", "nothing beside noise"),
    (table({"path": "sparse.correlation", "values": [0.0, 1.0]}), "sparse.correlation", "<= 0.999"),
    (table({"path": "study.prompts", "values": [0, 1]}), "study.prompts", "at least 2"),
]


@pytest.mark.parametrize(
    ("given", "argument", "shown"), REFUSED, ids=[f"{k}-{case[1]}" for k, case in enumerate(REFUSED)]
)
def test_bad_plan(given: Table, argument: str, shown: str) -> None:
    with pytest.raises(si.ProblemError) as caught:
        Plan.from_dict(given)
    assert caught.value.argument == argument, str(caught.value)
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)


def test_commands_of_the_other_kind_say_so(tmp_path: Path) -> None:
    sparse, flow = tmp_path / "sparse.toml", tmp_path / "flow.toml"
    sparse.write_text(TEXT[TEXT.index("[sparse]") : TEXT.index("[[axis]]")], "utf-8")
    flow.write_text(stores.TEXT[stores.TEXT.index("[problem]") : stores.TEXT.index("[record]")], "utf-8")
    for command in ("flow", "optimal"):
        status, text, err = run(command, str(sparse))
        assert (status, text) == (2, "")
        assert err.startswith("Error: sparse: expected no [sparse]: a flow is not a sparse problem")
        assert err.count("\n") == 1
    status, text, err = run("sparse", str(flow))
    assert (status, text) == (2, "")
    assert err.startswith("Error: problem: expected one of the tables [sparse] and [study]")
    assert err.count("\n") == 1


# --- stores ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the file, not to be changed."""
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stores.EPOCH.items():
            patch.setenv(name, value)
        status, _, err = run("sweep", str(stores.write(folder, TEXT)), "--out", str(folder / "run.zarr"))
    assert status == 0, err
    return folder / "run.zarr"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return stores.write(tmp_path, TEXT)


def test_a_store_opens_on_its_grid(reference: Path) -> None:
    grid = open_sweep(reference)
    assert dict(grid.sizes) == {"sparse.n": 3, "replicate": 2}
    assert grid["p2o_mc"].dims == ("sparse.n", "replicate")
    assert grid["p2o"].attrs["long_name"] == "risk of preprocess-then-optimize (P2O) at its best, by theory"
    assert (grid["status"] == 0).all()
    one = Study.from_dict(Store.open(reference).plan.table(3))
    assert one.problem.noise == 0.25
    stored = float(grid["p2o_mc"].sel({"sparse.n": 24, "replicate": 1}))
    assert stored == near(compare(one).methods["p2o"].simulated)
    flat = xarray.open_zarr(reference, consolidated=False)
    assert set(flat.coords) == {"sparse.n", "replicate", "seed"}


def test_resumed_sharded_and_repaired_stores_are_the_same_bytes(
    file: Path, reference: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(reference, tmp_path / "resumed.zarr")
    (out / "status" / "c" / "1").unlink()
    (out / "p2o" / "c" / "2").write_bytes(b"damaged")
    status, text, err = run("sweep", str(file), "--out", str(out))
    assert status == 0
    assert re.search(r"^  solved    6, p2o \S+ to \S+$", text, re.MULTILINE)
    assert "chunks are damaged: solving batches 2 again" in err
    assert stores.differing(out, reference) == []
    shards = tmp_path / "shards.zarr"
    for shard in ("1/2", "0/2"):
        assert run("sweep", str(file), "--out", str(shards), "--shard", shard)[0] == 0
    assert stores.differing(shards, reference) == []


@pytest.mark.slow
def test_workers_write_the_same_bytes(file: Path, reference: Path, tmp_path: Path) -> None:
    status, _, err = run("sweep", str(file), "--out", str(tmp_path / "run.zarr"), "--workers", "2")
    assert status == 0, err
    assert stores.differing(tmp_path / "run.zarr", reference) == []


def test_points_that_do_not_fit_or_are_not_solved_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXT[: TEXT.index("[[axis]]")]
    for axis in (SIZES, NONZERO):
        text += f'[[axis]]\npath = "{axis["path"]}"\nvalues = {axis["values"]}\n'
    file, out = stores.write(tmp_path, text), tmp_path / "run.zarr"

    def failing(study: Study) -> Any:
        if study.problem.s == 12:
            raise si.ProblemError("r", 1.0, "equations solved")
        return compare(study)

    with monkeypatch.context() as patch:
        patch.setattr(sparse_points, "compare", failing)
        status, printed, err = run("sweep", str(file), "--out", str(out), "--json")
    assert status == 1, err
    told = json.loads(printed)
    p2o = Store.open(out).arrays["p2o"][:]
    assert (told["points"], told["solved"], told["saturated"]) == (4, 2, None)
    assert told["p2o"] == [np.nanmin(p2o), np.nanmax(p2o)]
    assert set(told["failed"]) == {"invalid", "unsolved"}
    invalid, unsolved = told["failed"]["invalid"], told["failed"]["unsolved"]
    assert (invalid["points"], invalid["first"], unsolved["points"], unsolved["first"]) == (1, 1, 1, 3)
    assert invalid["advice"] == "sparse.s: expected a whole number >= 1 and <= 8, got 12"
    assert unsolved["advice"].startswith("the equations of the theory were not solved")
    assert Store.open(out).arrays["status"][:].tolist() == [0, INVALID, 0, UNSOLVED]
    assert summary(open_sweep(out)) == {"not a valid experiment": 1, "not solved to its end": 1}
    status, printed, _ = run("sweep", str(file), "--out", str(out), "--retry-failed")
    assert status == 1
    assert "  solved    3, p2o " in printed
    assert "  invalid   1, the first is point 1: sparse.s: expected" in printed


# --- figures ---------------------------------------------------------------------------------------------

PLANS: dict[str, Table] = {
    "line": table(LENGTHS),
    "theory": table(LENGTHS, study={"prompts": 0}),
    "replicates": table(LENGTHS, SEEDS),
    "lines": table(LENGTHS, NONZERO | {"values": [1, 4]}),
    "map": table(
        LENGTHS | {"values": [12, 24, 48, 96, 192]},
        NONZERO | {"values": [1, 2, 4, 8, 12, 16]},
        sparse={"d": 16},
        study={"prompts": 20},
    ),
    "edge": table(LENGTHS | {"values": [4, 6, 8, 12]}),
    "ragged": table(SIZES, NONZERO),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], xarray.Dataset]:
    """The results of a plan, solved when they are first asked for."""
    folder = tmp_path_factory.mktemp("stores")

    def opened(name: str) -> xarray.Dataset:
        path = folder / f"{name}.zarr"
        if not path.exists():
            sweep.run(Plan.from_dict(PLANS[name]), path)
        return open_sweep(path)

    return opened


def draw(data: xarray.Dataset, *quantities: str, **options: Any) -> Figure:
    """A figure that was laid out; a warning of the layout engine is an error."""
    figure = sweep_figure(data, quantities, **options)
    FigureCanvasAgg(figure).draw()
    return figure


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def curves(figure: Figure) -> list[tuple[list[float], list[float]]]:
    """Data of the lines of the first panel, those of error bars included."""
    axes = figure.get_axes()[0]
    lines = [line for line in axes.get_lines() if line.get_transform() == axes.transData]
    return [tuple(np.asarray(v, float).tolist() for v in line.get_data()) for line in lines]  # type: ignore[misc]


METHODS = ["p2o", "gd", "ridge", "ols", "oracle"]
NAMES = ["P2O", "gradient flow", "ridge", "least squares", "oracle"]


def test_over_one_axis_all_risks_are_shown_theory_as_lines_and_samples_with_errors(
    data: Callable[[str], xarray.Dataset],
) -> None:
    results = data("line")
    figure = draw(results)
    axes = figure.get_axes()[0]
    shown, lengths = curves(figure), results["sparse.n"].values.tolist()
    for k, name in enumerate(METHODS):
        assert shown[k] == (lengths, results[f"{name}_mc"].values.tolist())
        assert shown[5 + k] == (lengths, results[name].values.tolist())
        bars = axes.containers[k][2][0]
        assert isinstance(bars, LineCollection)
        half = [np.ptp(np.asarray(ends)[:, 1]) / 2.0 for ends in bars.get_segments()]
        np.testing.assert_allclose(half, results[f"{name}_se"].values, rtol=1e-9)
    assert legend(figure) == [*NAMES, "theory", "simulated"]
    assert len({str(line.get_color()) for line in axes.get_lines()[:5]}) == 5
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("context pairs $n$", "excess risk")


def test_theory_alone_is_drawn_as_what_there_is(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("theory")
    figure = draw(results)
    assert [y for _, y in curves(figure)] == [results[name].values.tolist() for name in METHODS]
    assert legend(figure) == NAMES
    assert draw(results, "advantage").get_axes()[0].get_ylabel() == "risk of P2O / risk of ridge"


def test_replicates_become_their_median(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("replicates")
    figure = draw(results, "p2o")
    y = curves(figure)[0][1]
    np.testing.assert_allclose(y, np.median(results["p2o_mc"].values, axis=1), rtol=1e-12)
    assert legend(figure) == ["median", "quartiles", "theory"]


def test_infinite_risks_and_their_samples_are_left_out(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("edge")
    assert np.isinf(results["ols"].values).tolist() == [False, False, True, False]
    figure = draw(results, "ols")
    (x, samples), (_, theory) = curves(figure)
    assert x == [4, 6, 12]
    assert samples == results["ols_mc"].values[[0, 1, 3]].tolist()
    assert np.isnan(theory).tolist() == [False, False, True, False]


def test_over_two_axes_the_advantage_is_a_map_with_the_line_where_it_is_one(
    data: Callable[[str], xarray.Dataset],
) -> None:
    results = data("map")
    figure = draw(results, y="sparse.s")
    axes = figure.get_axes()[0]
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    np.testing.assert_array_equal(mesh.get_array(), results["advantage_mc"].values.T)
    assert mesh.get_clim() == (0.0, 2.0)
    (contour,) = [c for c in axes.collections if hasattr(c, "levels")]
    assert contour.levels.tolist() == [1.0]
    grid = [results[name].values for name in ("sparse.n", "sparse.s")]
    theory = RegularGridInterpolator(grid, results["advantage"].values)
    vertices = np.concatenate([path.vertices for path in contour.get_paths()])
    assert len(vertices) > 5
    np.testing.assert_allclose(theory(vertices), 1.0, atol=0.05)
    assert legend(figure) == ["P2O as good as ridge (theory)"]
    risk = draw(results, "risk", y="sparse.s")
    assert risk.get_axes()[0].get_title() == "P2O", "of several risks a map shows one"
    ridge = draw(results, "ridge", x="sparse.s", at={"sparse.n": 24})
    assert ridge.get_axes()[0].get_title() == "$n$ = 24"
    border = draw(results, x="sparse.n", at={"sparse.s": 16})
    assert legend(border) == ["simulated", "theory", "P2O as good as ridge"]


def test_points_that_do_not_fit_are_marked_and_counted_once(data: Callable[[str], xarray.Dataset]) -> None:
    results = data("ragged")
    figure = draw(results, y="sparse.s")
    (cover,) = [c for c in figure.get_axes()[0].collections if isinstance(c, PolyCollection)]
    assert len(cover.get_paths()) == 1
    assert "not a valid experiment: 1 of 4" in legend(figure)
    figure = draw(results, "risk", x="sparse.d", at={"sparse.s": 12})
    assert "not a valid experiment: 1 of 2" in legend(figure)


@pytest.mark.parametrize("name", ["line", "lines", "map", "replicates"])
def test_every_quantity_can_be_drawn(data: Callable[[str], xarray.Dataset], name: str) -> None:
    results = data(name)
    names = sweep_of(results).names
    assert names[:7] == ["risk", "advantage", *METHODS]
    assert set(names[7:]) == set(Plan.from_dict(PLANS[name]).variables) - {"advantage", *METHODS}
    for k in range(0, len(names), 6):
        panels = sweep_figure(results, names[k : k + 6]).get_axes()
        assert all(axes.get_ylabel() for axes in panels if axes.get_visible())


def test_command_draws_and_says_what_it_cannot(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, text, _ = run("plot", str(reference))
    assert (status, text) == (0, f"{reference}: risk of 6 points\nwrote run-risk.pdf\n")
    assert (tmp_path / "run-risk.pdf").read_bytes().startswith(b"%PDF-")
    for options, message in (
        (["--quantity", "loss"], "quantity: expected one of 'risk', 'advantage', 'p2o'"),
        (["--task", "0"], "task: expected nothing for sparse problems, which have no tasks, got 0"),
        (["--x", "problem.snr"], "x: expected one of 'method', 'sparse.n', got 'problem.snr'"),
    ):
        status, text, err = run("plot", str(reference), *options)
        assert (status, text) == (2, "")
        assert err.startswith(f"Error: {message}")
    assert math.isfinite(float(open_sweep(reference)["advantage_se"][0, 0]))
