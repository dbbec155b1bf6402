"""`nox` checks and tests; `nox -s NAME` is one of the others, `nox --no-venv` uses the active environment."""

from pathlib import Path

import nox

nox.options.sessions = ["check", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

# processes and compiled code fill the cores; the threads of linear algebra would only be in their way
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def install(session: nox.Session, *extras: str) -> None:
    """The package as it is edited, unless the environment is one that is there already."""
    if session.virtualenv.is_sandboxed:
        session.install("-e", f".[{','.join(extras)}]")


@nox.session
def check(session: nox.Session) -> None:
    """Style, types and import contracts."""
    install(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, as the README runs them; arguments go to pytest."""
    install(session, "dev")
    session.run("python", "-m", "pytest", "-n", "logical", *session.posargs, env=ONE_THREAD)


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that take minutes."""
    install(session, "dev")
    session.run("python", "-m", "pytest", "-n", "logical", "-m", "slow", *session.posargs, env=ONE_THREAD)


@nox.session
def validation(session: nox.Session) -> None:
    """The full model in PyTorch beside the flow; arguments as of `python -m validation`."""
    install(session, "validation")
    session.run("python", "-m", "validation", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """What users install: the wheel, built, installed and used where the sources are not."""
    install(session, "dev")
    session.run(".ci/wheel", "python", external=True)


@nox.session
def figures(session: nox.Session) -> None:
    """Every figure of examples/figures again."""
    install(session, "all")
    session.run("python", "examples/figures.py", *session.posargs, env=ONE_THREAD)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, from docs/ to docs/_build/html: warnings are errors, and every link inside it is followed."""
    install(session, "docs")
    session.run("python", "-m", "sphinx", "-W", "-b", "html", "docs", "docs/_build/html", env=ONE_THREAD)
    session.run("python", "docs/extensions/followed.py", "docs/_build/html")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """One benchmark: `nox -s benchmarks -- NAME [--quick]`."""
    if not session.posargs:
        session.error(f"name one of {', '.join(sorted(names()))}: nox -s benchmarks -- NAME")
    install(session, "dev")
    name, *arguments = session.posargs
    session.run("python", "-m", f"benchmarks.{name}", *arguments, env=ONE_THREAD)


def names() -> list[str]:
    """The modules of `benchmarks` that are commands."""
    return [path.stem for path in Path("benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")]
