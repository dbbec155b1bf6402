"""A test has the place of what it tests: that of ``spectral_icl/a/b.py`` is ``tests/a/test_b.py``.

The same of theory and validation, whose folders are in tests under their own names. Those that are not so are
listed here, and the lists are complete: who adds a module adds its test, or a line.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

# folders whose files are about one thing each: a command, the whole
BY_THEME = ["cli", "fuzz", "house"]

# tests of what several modules do together
OF_SEVERAL = [
    "examples/test_gallery.py",
    "kernels/structured/test_laws.py",
    "multitask/flow/test_exact_flow.py",
    "multitask/flow/test_invariants.py",
    "multitask/flow/test_large.py",
    "multitask/flow/test_reference.py",
    "multitask/test_exact_law.py",
    "multitask/test_extremes.py",
    "sparse/test_old_names.py",
    "theorems/multitask/test_claims.py",
    "theorems/sparse/test_claims.py",
    "theory/sparse/test_broken.py",
    "theory/test_main.py",
    "validation/multitask/test_checks.py",
    "validation/test_main.py",
]

# modules that others' tests see through: containers, registries, and parts of what is tested whole
WITHOUT = {
    ".": "__main__ cli console version",
    "doctor": "facts report",
    "explore": "curves heads losses maps",
    "figures": "nonlinear optimal page sweep_lines sweep_map sweep_view",
    "io": "hypothesis provenance text",
    "kernels": (
        "averages control dense descent ensemble integrator linear log loss model noise overlaps parts "
        "phases sparse surrogate threads"
    ),
    "kernels/structured": "asymptotic blocks first_order side_by_side signals",
    "multitask": "loss problem softmax state",
    "multitask/exact": "table",
    "multitask/flow": "curve options paths trajectory",
    "multitask/noise": "sampled",
    "multitask/nonlinear": "asymptotic first_order laws reading",
    "multitask/optimal": "asymptotic optima profile search small",
    "sparse": "descent landscape problem",
    "sparse/risk": "best contour given_labels quick spectrum",
    "sparse/transformer": "attention model",
    "sweeps": "arrays axes points provenance quantities report",
    "sweeps/multitask": "labels",
    "sweeps/sparse": "labels quantities",
    "theorems/multitask": "check evidence factors measured",
    "theorems/multitask/claims": "attention escape invariants registry sampling training",
    "theorems/sparse": "check evidence",
    "theorems/sparse/claims": "advantage designs registry trials",
}


def test_every_test_has_the_place_of_its_module() -> None:
    astray = []
    for path in sorted(TESTS.rglob("test_*.py")):
        where = path.relative_to(TESTS)
        module = where.with_name(where.name.removeprefix("test_"))
        found = any((top / module).exists() for top in (ROOT / "spectral_icl", ROOT))
        if where.parts[0] not in BY_THEME and not found:
            astray.append(where.as_posix())
    assert astray == OF_SEVERAL


def test_every_module_has_a_test_of_its_own() -> None:
    package = ROOT / "spectral_icl"
    without: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package)
        tested = (TESTS / module).with_name(f"test_{module.name}").exists()
        if path.name != "__init__.py" and not tested:
            without.setdefault(module.parent.as_posix(), []).append(path.stem)
    assert without == {folder: names.split() for folder, names in WITHOUT.items()}
