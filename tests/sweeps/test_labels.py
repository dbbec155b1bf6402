"""How entries of files are written on axes and in legends."""

from spectral_icl.multitask.experiment import numeric_keys
from spectral_icl.sweeps.labels import Label, axis_label, short_label
from spectral_icl.sweeps.multitask.points import FlowPoints
from spectral_icl.sweeps.sparse.points import SparsePoints


def test_labels_have_the_symbols_of_the_theory() -> None:
    assert FlowPoints.label("problem.noise[1]") == r"$\sigma_{1}^2$"
    assert FlowPoints.label("problem.signal[0][1]", "overlap") == "overlap ($A_{0,1}$)"
    assert FlowPoints.label("model.imbalance_omega[0][2]") == r"$D_\omega[0,2]$"
    assert FlowPoints.label("flow.rtol") == "flow.rtol"


def test_what_has_no_label_is_written_as_in_the_file() -> None:
    labels = {"a.b": Label("letter $b$", "$b$", "b"), "a.c": Label("letter $c$")}
    assert axis_label(labels, "a.b", "zipped") == "zipped (letter $b$)"
    assert axis_label(labels, "a.b", "a.b") == "letter $b$"
    assert axis_label(labels, "a.c[1]") == "a.c[1]"
    assert [short_label(labels, path) for path in ("a.b", "a.c", "a.d", "a.b[0][1]")] == [
        *("$b$", "c", "d", "$b_{0,1}$")
    ]


def test_places_and_entries_that_vary_together() -> None:
    imbalances = ("model.imbalance_mu", "model.imbalance_omega")
    assert FlowPoints.label("model.imbalance_mu", "D", imbalances) == "imbalance $D$"
    assert FlowPoints.label("model.imbalance_mu", "D", imbalances[:1]) == r"D (imbalance $D_\mu$)"
    assert FlowPoints.place("task", 1.0) == "task 1"
    assert FlowPoints.place("model.heads", 2.0) == "$H$ = 2"
    assert SparsePoints.place("sparse.snr", 0.25) == "SNR = 0.25"


def test_labels_are_of_entries_that_can_vary() -> None:
    """A misspelt path would leave the entry without its label."""
    starts = [{"kind": kind} for kind in ("paper", "dominant", "random", "explicit")]
    known = {f"initial.{key}" for start in starts for key in numeric_keys("initial", start)}
    known |= {f"{name}.{key}" for name in ("problem", "model", "flow") for key in numeric_keys(name, {})}
    assert set(FlowPoints.labels) <= known | {"root_seed", "time"}
    keys = {f"{name}.{key}" for name in ("sparse", "study") for key in SparsePoints.numeric_keys(name, {})}
    assert set(SparsePoints.labels) <= keys | {"root_seed"}
