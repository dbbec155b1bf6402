"""The shape of the package: who may import whom, what importing costs, what cannot be changed."""

import ast
import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import spectral_icl as si

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "spectral_icl"
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
PACKAGES = [".".join(folder.relative_to(ROOT).parts) for folder in FOLDERS]
MODULES = sorted(
    name for _, name, package in pkgutil.walk_packages([str(PACKAGE)], "spectral_icl.") if not package
)


def imports_from(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of every ``from spectral_icl... import name`` of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "spectral_icl":
            yield from ((node.module or "", alias.name) for alias in node.names)


def defined_in(face: Path) -> set[str]:
    """Names that a face defines itself, and those of the modules and folders beside it."""
    made: set[str] = set()
    for node in ast.parse(face.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.Assign):
            made.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return made | {path.stem for path in face.parent.iterdir()}


def test_imports_keep_their_direction() -> None:
    """As a process: import-linter sets up logging for itself, and silences the loggers of everybody else."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    options = ["--config", str(ROOT / "setup.cfg"), "--no-cache"]
    done = subprocess.run(command + options, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_names_are_imported_from_where_they_are_defined() -> None:
    """Faces gather names for users; a module that used them would hide from the contracts what it needs."""
    inside = {
        package: defined_in(folder / "__init__.py") for package, folder in zip(PACKAGES, FOLDERS, strict=True)
    }
    for path in sorted(PACKAGE.rglob("*.py")):
        for module, name in imports_from(path):
            assert path.name == "__init__.py" or name in inside.get(module, {name}), (path, module, name)


def test_private_names_stay_in_their_module() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        private = [(module, name) for module, name in imports_from(path) if name.startswith("_")]
        assert not [found for found in private if not found[1].endswith("__")], path


def ask(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_import_is_light() -> None:
    """Optional and slow packages are imported where they are used, and nothing is compiled."""
    code = """if True:
        import sys
        import spectral_icl
        import spectral_icl.kernels.ensemble, spectral_icl.kernels.phases, spectral_icl.kernels.sparse
        heavy = ["matplotlib", "xarray", "pydantic", "click", "scipy.optimize", "scipy.special", "torch",
                 "sympy", "zarr", "h5netcdf", "pandas", "theory", "validation"]
        print([name for name in heavy if name in sys.modules])
        kernels = [m for name, m in sys.modules.items() if name.startswith("spectral_icl.kernels")]
        jitted = [f for module in kernels for f in vars(module).values() if hasattr(f, "py_func")]
        print(len(jitted) > 10, [f.__name__ for f in jitted if f.signatures])
    """
    assert ask(code).splitlines() == ["[]", "True []"]


def test_a_flow_needs_no_optional_package() -> None:
    code = """if True:
        import sys
        for name in ("matplotlib", "xarray", "zarr", "h5netcdf"):
            sys.modules[name] = None
        import spectral_icl as si
        p = si.Problem.multitask(task_sizes=(4, 4), signal=10.0, noise=0.09, context_length=100)
        sol = si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=1.0)
        sol.phases, sol.allocation, sol.message, sol.saturation, repr(sol), sol._repr_html_()
        print(len(sol.allocation))
    """
    assert ask(code) == "2\n"


def test_command_line_help_solves_nothing() -> None:
    code = """if True:
        import sys
        sys.argv = ["spectral-icl", "flow", "--help"]
        from spectral_icl.kernels import integrator as kernels
        from spectral_icl.cli import main
        main()
        print([name for name in ("matplotlib", "xarray", "scipy.optimize") if name in sys.modules])
        print([f.__name__ for f in vars(kernels).values() if getattr(f, "signatures", None)])
    """
    assert ask(code).splitlines()[-2:] == ["[]", "[]"]


BENCHMARKS = [
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")
]


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_benchmarks_can_be_imported(name: str) -> None:
    """They reach below the public names, and are too long to run here."""
    importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def solution() -> si.Solution:
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    return si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=5.0)


def test_fields_cannot_be_rebound(solution: si.Solution) -> None:
    objects = [
        solution,
        solution.problem,
        solution.trajectory,
        solution.stats,
        solution.parametrization,
        solution.phases,
        solution.saturation,
        si.Factored(1e-6, 1e-6),
        si.optimal.lower_bound(solution.problem),
    ]
    for frozen in objects:
        for field in fields(frozen):  # type: ignore[arg-type]
            with pytest.raises(FrozenInstanceError):
                setattr(frozen, field.name, None)


def test_arrays_cannot_be_written(solution: si.Solution) -> None:
    curve = solution.trajectory
    arrays = {
        **{name: getattr(solution, name) for name in ("t", "omega", "mu", "loss", "task_loss")},
        **{f"trajectory.{name}": getattr(curve, name) for name in ("t", "x", "dense")},
        **{f"chart.{name}": values for name, values in curve.chart._asdict().items()},
        "problem.variance": solution.problem.variance,
    }
    for name, values in arrays.items():
        assert not values.flags.writeable, name
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0


def test_options_cannot_be_changed(solution: si.Solution) -> None:
    with pytest.raises(AttributeError):
        solution.options.rtol = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        solution.environment["numpy"] = "0"  # type: ignore[index]


def test_solution_survives_pickling(solution: si.Solution) -> None:
    """As it must to cross process boundaries, and it stays read-only there."""
    twin = pickle.loads(pickle.dumps(solution))
    np.testing.assert_array_equal(twin(0.5).mu, solution(0.5).mu)
    assert (twin.options, dict(twin.environment)) == (solution.options, dict(solution.environment))
    assert not twin.trajectory.x.flags.writeable


def test_solution_does_not_share_memory_with_its_arguments() -> None:
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    omega, mu = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    times = np.array([0.0, 1.0])
    sol = si.gradient_flow(p, omega, mu, t_end=1.0, t_eval=times)
    before = (sol.t.copy(), sol.omega.copy(), sol.mu.copy())
    for values in (omega, mu, times):
        values[...] = 7.0  # still the caller's, and still writeable
    for old, new in zip(before, (sol.t, sol.omega, sol.mu), strict=True):
        np.testing.assert_array_equal(old, new)


def test_problem_does_not_share_memory_with_its_arguments() -> None:
    sizes, signal = np.array([10, 10]), np.diag([10.0, 10.0])
    p = si.Problem(block_sizes=sizes, signal=signal, noise=[0.1, 0.1], context_length=100)  # type: ignore[arg-type]
    digest = p.digest()
    sizes[:], signal[:] = 1, 1.0
    assert p.digest() == digest
    assert hash(p) == hash(si.Problem.from_dict(p.to_dict()))


def public_objects(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that the module defines, with their public methods and properties."""
    for name, value in vars(module).items():
        function = getattr(value, "py_func", value)
        if name.startswith("_") or getattr(function, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(function):
            yield f"{module.__name__}.{name}", function
        elif inspect.isclass(function):
            yield f"{module.__name__}.{name}", function
            for attribute, member in vars(function).items():
                inner = getattr(member, "fget", None) or getattr(member, "func", None)
                inner = inner or getattr(member, "__func__", member)
                if not attribute.startswith("_") and inspect.isfunction(inner):
                    yield f"{module.__name__}.{name}.{attribute}", inner


@pytest.mark.parametrize("name", [*PACKAGES, *MODULES])
def test_everything_public_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for path, value in public_objects(module):
        text = value.__doc__ or ""
        generated = inspect.isclass(value) and text.startswith(f"{value.__name__}(")
        assert text.strip(), path
        assert not generated, f"{path} has only the docstring that its dataclass or tuple made up"


def test_public_functions_are_annotated() -> None:
    """The package is typed: every parameter of every public name is."""
    for name in dir(si):
        value = getattr(si, name)
        if name.startswith("_") or not inspect.isfunction(value):
            continue
        parameters = inspect.signature(value).parameters.values()
        assert all(p.annotation is not p.empty for p in parameters), name
        assert inspect.signature(value).return_annotation is not inspect.Signature.empty, name
