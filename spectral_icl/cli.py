"""The command line: parse, call, print. No numerics here."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spectral_icl.io.checks import ProblemError, choice
from spectral_icl.io.provenance import environment, package_version

if TYPE_CHECKING:
    from spectral_icl.sparse.problem import SparseProblem
    from spectral_icl.theorems.suite import Case


_overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Replace one entry of the file; may be repeated.",
)


# \b keeps click from breaking the names at their hyphens
_CLAIMS = """\b
Claims:
  decomposability-preserved, monotone-loss, sign-conservation,
  imbalance-conservation, convergence-to-limit, task-allocation,
  three-phases, optimality, single-vs-multi, head-budget, escape-rate,
  kernel-validity, length-generalisation, superposition.

\b
Claims about sparse regression:
  ridge-domination, oracle-rate, advantage, sparsity, lasso, upper-bound,
  exponents, memorisation, snr, correlated-design, low-variance-support,
  no-beta-min, depth.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(package_version(), prog_name="spectral-icl")
def cli() -> None:
    """Training dynamics of multi-head softmax attention, in the spectral domain."""


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the flow (.nc or .zarr).")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the figure (.pdf, .png, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@_overrides
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
    from spectral_icl.io import files
    from spectral_icl.multitask import report
    from spectral_icl.multitask.experiment import Experiment
    from spectral_icl.multitask.flow.solution import IntegrationError

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
        from spectral_icl.figures import flow as plots

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


@cli.command(epilog=_CLAIMS)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--report", "page", type=click.Path(path_type=Path), help="Write a page (.html) with figures.")
@click.option("--claim", "claims", multiple=True, metavar="NAME", help="Check this claim; may be repeated.")
@click.option(
    "--prompts",
    type=int,
    help="To sample, more if undecided; 4000, or 400 for sparse regression, by default.",
)
@click.option("--seed", default=0, show_default=True, help="Of the sampled prompts and numerical searches.")
@click.option("--sparse", "second", is_flag=True, help="The claims about sparse regression, at their places.")
@_overrides
def verify(
    file: Path | None,
    as_json: bool,
    page: Path | None,
    claims: tuple[str, ...],
    prompts: int | None,
    seed: int,
    second: bool,
    overrides: tuple[str, ...],
) -> None:
    """Check the claims of the theory on FILE (TOML), or on a documented suite of problems.

    With --set but no FILE it is the built-in two-task example. Flows are solved to rest, whatever [flow]
    says. The claims about sparse regression are checked with --sparse, or on a FILE with a table [sparse].

    Exit status: 0 no check failed, 1 one did, 2 bad input.
    """
    from spectral_icl.io import files
    from spectral_icl.io.toml import tables
    from spectral_icl.multitask.experiment import BUILT_IN, Experiment
    from spectral_icl.sparse.experiment import Study, is_sparse
    from spectral_icl.theorems import examine as theorems
    from spectral_icl.theorems import suite as verify

    if page is not None:
        files.check_target("--report", page, files.PAGES)
    named = file is not None or bool(overrides)
    if second:
        if named:
            given = overrides[0] if file is None else str(file)
            raise ProblemError("--sparse", given, "neither FILE nor --set beside it: it has its own places")
        return _verify_sparse(None, as_json, page, claims, prompts, seed)
    table = tables(file, overrides, BUILT_IN)
    if is_sparse(table):
        return _verify_sparse(Study.from_dict(table).problem, as_json, page, claims, prompts, seed)
    if named:
        title = "built-in two-task example" if file is None else str(file)
        cases = [verify.Case(title, "claims on this problem and start", Experiment.from_dict(table))]
    else:
        cases = verify.suite()
    for name in claims:
        choice("--claim", name, theorems.names())
    results = []
    with _log_on_stderr(), _progress(cases, as_json or not sys.stdout.isatty()) as bar:
        for case in bar:
            count = verify.PROMPTS if prompts is None else prompts
            results.append(verify.verify(case, claims or None, count, seed))
            if not as_json:  # as they come, so that an interrupt loses none
                click.echo(verify.as_text(results[-1]) + "\n")
    if page is not None:
        from spectral_icl.figures import page as html_report

        html_report.save(results, page)
    if as_json:
        click.echo(json.dumps(verify.as_json(results)))
    else:
        click.echo(verify.summary(results))
        if page is not None:
            click.echo(f"wrote {page}")
    if any(result.failed for result in results):
        sys.exit(1)


def _verify_sparse(
    problem: SparseProblem | None,
    as_json: bool,
    page: Path | None,
    claims: tuple[str, ...],
    prompts: int | None,
    seed: int,
) -> None:
    """`verify` for the claims about sparse regression: on a problem, or at their documented places."""
    from spectral_icl.theorems.sparse import verify

    for name in claims:
        choice("--claim", name, verify.names())
    count = verify.PROMPTS if prompts is None else prompts
    found = []
    wanted = as_json or not sys.stdout.isatty()  # where no lines come between
    with _counter("claims", len(claims or verify.names()), wanted) as advance:
        for checks in verify.check(claims or None, problem, count, seed):
            found.append(checks)
            if not as_json:  # as they come, so that an interrupt loses none
                click.echo(verify.as_text(checks) + "\n")
            if advance is not None:
                advance(1)
    if page is not None:
        from spectral_icl.figures import page as html_report

        html_report.save_sparse(found, page)
    if as_json:
        click.echo(json.dumps(verify.as_json(found)))
    else:
        click.echo(", ".join(f"{number} {verdict}" for verdict, number in verify.count(found).items()))
        if page is not None:
            click.echo(f"wrote {page}")
    if verify.count(found)["fails"]:
        sys.exit(1)


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--heads", type=int, help="Most heads of the numerical optimum; one more than tasks by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the figure (.pdf, .png, .svg).")
@_overrides
def optimal(
    file: Path | None, heads: int | None, as_json: bool, plot: Path | None, overrides: tuple[str, ...]
) -> None:
    """Print the benchmark losses of the problem in FILE (TOML), or of the built-in two-task example.

    Exit status: 0 done, 2 bad input.
    """
    from spectral_icl.io import files
    from spectral_icl.multitask.experiment import Experiment
    from spectral_icl.multitask.optimal import report as yardsticks

    if plot is not None:
        files.check_target("--plot", plot, files.FIGURES)
    problem = Experiment.read(file, overrides).problem
    found = yardsticks.collect(problem, heads)
    if plot is not None:
        from spectral_icl.figures import flow as plots
        from spectral_icl.figures import optimal as optimal_plots

        plots.save(optimal_plots.optimal_figure(problem), plot)
    if as_json:
        click.echo(json.dumps(yardsticks.as_json(found)))
    else:
        click.echo(yardsticks.as_text(found, "built-in two-task example" if file is None else str(file)))
        if plot is not None:
            click.echo(f"wrote {plot}")


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the figure (.pdf, .png, .svg).")
@_overrides
def sparse(file: Path | None, as_json: bool, plot: Path | None, overrides: tuple[str, ...]) -> None:
    """Print the risk of every method on the sparse regression problem in FILE (TOML), or a built-in one.

    Preprocess-then-optimize, gradient flow, ridge, least squares and the oracle, each at its best: by theory,
    and simulated with error bars. --plot draws them against flow time, n, d, s and noise, and where
    preprocess-then-optimize beats ridge.

    Exit status: 0 done, 2 bad input.
    """
    from spectral_icl.io import files
    from spectral_icl.sparse.comparison import compare
    from spectral_icl.sparse.experiment import Study
    from spectral_icl.sparse.report import ComparisonReport

    if plot is not None:
        files.check_target("--plot", plot, files.FIGURES)
    study = Study.read(file, overrides)
    with _log_on_stderr(), _counter("prompts", study.prompts) as advance:
        found = compare(study, advance)
    if plot is not None:
        from spectral_icl.figures import flow as plots
        from spectral_icl.figures import sparse as sparse_plots

        with _counter("theory", sparse_plots.PANELS) as advance:
            figure = sparse_plots.comparison_figure(found, advance)
        plots.save(figure, plot)
    report = ComparisonReport(found, "built-in sparse problem" if file is None else str(file))
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        click.echo(report.to_text())
        if plot is not None:
            click.echo(f"wrote {plot}")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The store: a Zarr folder.")
@click.option("--workers", type=int, metavar="N", help="Solve in N processes of one thread each.")
@click.option("--shard", metavar="i/n", help="Solve only every n-th batch, from the i-th on (0 <= i < n).")
@click.option("--scheduler", metavar="ADDRESS", help="Solve on the workers of a running dask scheduler.")
@click.option("--retry-failed", is_flag=True, help="Solve the points again that failed before.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@_overrides
def sweep(
    file: Path,
    out: Path,
    workers: int | None,
    shard: str | None,
    scheduler: str | None,
    retry_failed: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Solve every point of the sweep in FILE (TOML with [[axis]] tables) and store them in --out.

    What was stored before is kept: after an interruption the same command continues. Without --workers,
    --shard or --scheduler the batches are solved in this process, one after another on all cores. Shards may
    run at the same time, on several machines, with the same --out.

    Exit status: 0 all points solved, 1 some failed or are left, 2 bad input, 130 interrupted.
    """
    from spectral_icl.sweeps import run as sweeps
    from spectral_icl.sweeps.plan import Plan

    engine, part = sweeps.choose(out, workers, shard, scheduler)
    plan = Plan.read(file, overrides)
    with _log_on_stderr():
        report = sweeps.run(plan, out, engine, shard=part, retry_failed=retry_failed)
    click.echo(json.dumps(sweeps.as_json(report)) if as_json else sweeps.as_text(report, str(file)))
    if report.complaint is not None:
        click.echo(f"Error: {' '.join(report.complaint.split())}", err=True)
    if report.status:
        sys.exit(report.status)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--quantity", "quantities", multiple=True, metavar="NAME", help="A panel of it; may be repeated."
)
@click.option("--x", metavar="PATH", help="Axis of the sweep along x, such as problem.snr.")
@click.option("--y", metavar="PATH", help="Axis along y, for a heat map.")
@click.option("--task", type=int, metavar="I", help="Of this task instead of all.")
@click.option("--at", "places", multiple=True, metavar="PATH=VALUE", help="Where along an axis not shown.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the figure there (.pdf, .png, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def plot(
    path: Path,
    quantities: tuple[str, ...],
    x: str | None,
    y: str | None,
    task: int | None,
    places: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw the sweep or the saved flow in PATH, the theory's curves beside the measured ones.

    Without options a sweep shows what suits its axes. Quantities are what was recorded (loss, emergence,
    escape, allocation, saturation, ...) and, made from it, gap (excess loss over the lower bound), excess,
    own_heads and as_predicted; of sparse problems risk, advantage and the risk of every method. Without --out
    the figure gets the name of PATH and of what it shows, in the current folder. Points that were not solved,
    or not where the kernel holds, are marked and counted.

    Exit status: 0 done, 2 bad input.
    """
    from spectral_icl.io import files

    files.check_target("--out", Path("figure.pdf") if out is None else out, files.FIGURES)
    from spectral_icl.figures import flow as plots
    from spectral_icl.figures import stored as drawing

    drawn = drawing.draw(path, quantities, x, y, task, drawing.places(places))
    out = Path(f"{path.stem}-{'-'.join(drawn.shows)}.pdf") if out is None else out
    plots.save(drawn.figure, out)
    if as_json:
        click.echo(json.dumps({**drawing.as_json(drawn), "figure": str(out)}))
    else:
        click.echo(f"{drawing.as_text(drawn)}\nwrote {out}")


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
    """Entry point."""
    guarded(cli, "spectral-icl")


def guarded(command: click.Command, name: str) -> None:
    """Run a command: every error is one line on standard error, with exit status 2 for bad input."""
    try:
        command.main(prog_name=name, standalone_mode=False)
    except ProblemError as error:
        _fail(str(error), 2)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except MemoryError:
        _fail("out of memory", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: say nothing
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)


def _fail(message: str, status: int) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(status)


def _progress(cases: list[Case], wanted: bool) -> AbstractContextManager[Iterable[Case]]:
    """A bar over the cases on a terminal, if it is wanted there; nothing at all elsewhere."""
    if not (wanted and sys.stderr.isatty()):
        return nullcontext(cases)
    return click.progressbar(cases, file=sys.stderr, item_show_func=lambda case: case.name if case else "")


@contextmanager
def _counter(label: str, total: int, wanted: bool = True) -> Iterator[Callable[[int], object] | None]:
    """A bar that is told what is done, on a terminal, if it is wanted there; nothing elsewhere."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
        yield bar.update


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
