"""The command line: parse, call, print. No numerics here."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import click

from spectral_icl.provenance import environment, package_version
from spectral_icl.validation import ProblemError


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(package_version(), prog_name="spectral-icl")
def cli() -> None:
    """Training dynamics of multi-head softmax attention, in the spectral domain."""


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the flow (.nc or .zarr).")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the figure (.pdf, .png, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Replace one entry of the file; may be repeated.",
)
def flow(
    file: Path | None,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Solve the gradient flow of FILE (TOML), or of the built-in two-task example.

    Exit status: 0 solved, 1 the end was not reached, 2 bad input.
    """
    from spectral_icl import files, report
    from spectral_icl.experiment import Experiment
    from spectral_icl.solution import IntegrationError

    if out is not None:
        files.check_target("--out", out, files.SUFFIXES)
    if plot is not None:
        files.check_target("--plot", plot, files.FIGURES)
    experiment = Experiment.read(file, overrides)
    with _log_on_stderr():
        try:
            solution = experiment.solve()
        except IntegrationError as error:
            if error.solution is None:
                raise
            solution = error.solution
    if out is not None:
        solution.save(out)
    if plot is not None:
        from spectral_icl import plots

        plots.save(plots.flow_figure(solution), plot)
    if as_json:
        click.echo(json.dumps(report.as_json(solution)))
    else:
        title = "built-in two-task example" if file is None else str(file)
        start = ", ".join(f"{k} {v}" for k, v in experiment.initial.model_dump().items())
        click.echo(report.as_text(solution, title, start[:100]))
        for path in (out, plot):
            if path is not None:
                click.echo(f"wrote {path}")
    if not solution.success:
        click.echo(f"Error: {solution.message}", err=True)
        sys.exit(1)


@cli.command()
@click.option("--environment", "with_environment", is_flag=True, help="Print versions instead.")
def cite(with_environment: bool) -> None:
    """Print the BibTeX entries to cite, or the environment block for a bug report."""
    if with_environment:
        click.echo(json.dumps(environment(), indent=1))
    else:
        text = resources.files("spectral_icl").joinpath("citation.bib").read_text("utf-8")
        click.echo(text.strip())


def main() -> None:
    """Entry point: every error is one line on standard error, with exit status 2 for bad input."""
    try:
        cli.main(prog_name="spectral-icl", standalone_mode=False)
    except ProblemError as error:
        _fail(str(error), 2)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: say nothing
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)


def _fail(message: str, status: int) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(status)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Show what the package logs, such as that it is compiling, while the block runs."""
    logger = logging.getLogger("spectral_icl")
    handler = logging.StreamHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
