"""The command line: parse, call, print. No numerics here."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from spectral_icl.console import (
    complain,
    drawing,
    emit,
    fail,
    guarded,
    leave,
    leave_out_users_matplotlib,
    log_on_stderr,
    say_wrote,
)
from spectral_icl.io.checks import ProblemError, choice, renamed
from spectral_icl.io.interrupts import Terminated
from spectral_icl.io.progress import Progress, Reach, tracked
from spectral_icl.io.provenance import now
from spectral_icl.version import __version__

if TYPE_CHECKING:
    from spectral_icl.multitask.experiment import Experiment
    from spectral_icl.multitask.flow.solution import Solution
    from spectral_icl.multitask.flow.stochastic import StochasticFlow
    from spectral_icl.sparse.problem import SparseProblem
    from spectral_icl.sweeps.engines import Engine

_BUILT_IN = "built-in two-task example"  # what stands in a title where no file is named
_BUILT_IN_SPARSE = "built-in sparse problem"
_BUILT_IN_NONLINEAR = "built-in single-index example"

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
_overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Replace one entry of the file; may be repeated.",
)
_plot = click.option("--plot", type=click.Path(path_type=Path), help="Write the figure (.pdf, .png, .svg).")


class _Shown:
    """Help that ends in an example.

    Attributes
    ----------
    example : str
        Lines for a shell.
    """

    example = ""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what else there is, then the example."""
        super().format_epilog(ctx, formatter)  # type: ignore[misc]
        if self.example:
            with formatter.section("Example"):
                for line in self.example.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class _Command(_Shown, click.Command):
    """A command with an example."""

    def __init__(self, *arguments: Any, example: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example


class _Commands(_Shown, click.Group):
    """The commands, with the shortest way to a figure at the end of their help."""

    command_class = _Command
    example = "spectral-icl flow --plot flow.pdf"


class _Listing(_Command):
    """A command whose help ends in lists of names; these have solvers behind them, which are slow to import.

    Attributes
    ----------
    lists : callable
        Makes the lists, by their titles, when the help is shown.
    """

    def __init__(self, name: str, lists: Callable[[], Mapping[str, Sequence[str]]], **options: Any) -> None:
        super().__init__(name, **options)
        self.lists = lists

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists."""
        self.epilog = "\n\n".join(_listed(title, names) for title, names in self.lists().items())
        super().format_epilog(ctx, formatter)


class _Prompts(click.Option):
    """The option whose help says how many prompts are sampled without it."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option's line of the help."""
        from spectral_icl.theorems.multitask.check import PROMPTS
        from spectral_icl.theorems.multitask.ranges import SAMPLED_PROMPTS
        from spectral_icl.theorems.sparse.check import PROMPTS as SPARSE_PROMPTS
        from spectral_icl.theorems.sparse.ranges import SAMPLED_PROMPTS as SPARSE_SAMPLED_PROMPTS

        self.help = (
            f"To sample, more if undecided; by default {PROMPTS}, or {SPARSE_PROMPTS} for sparse regression, "
            f"and with --theorem {SAMPLED_PROMPTS} or {SPARSE_SAMPLED_PROMPTS} at every point."
        )
        return super().get_help_record(ctx)


def _claims() -> dict[str, Sequence[str]]:
    from spectral_icl.theorems.multitask import check as multitask
    from spectral_icl.theorems.sparse import check as sparse

    return {"Claims": multitask.names(), "Claims about sparse regression": sparse.names()}


def _quantities() -> dict[str, Sequence[str]]:
    from spectral_icl.sweeps import kinds

    return {f"Quantities of {points.name}": list(points.sweep.labels) for points in kinds()}


def _kinds() -> dict[str, Sequence[str]]:
    from spectral_icl.sweeps import kinds

    return {f"Tables of {points.name}": points.sections for points in kinds()}


def _example_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The names that complete what was typed, for a shell."""
    from spectral_icl.io.examples import names

    return [name for name in names() if name.startswith(begun)]


def _listed(title: str, names: Sequence[str]) -> str:
    """A title and below it the names, indented, in lines that click leaves as they are."""
    lines = textwrap.wrap(f"{', '.join(names)}.", 72, break_on_hyphens=False)
    return "\n".join(["\b", f"{title}:", *(f"  {line}" for line in lines)])


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True
)
@click.version_option(__version__, prog_name="spectral-icl")
@click.pass_context
def cli(context: click.Context) -> None:
    """Training dynamics of multi-head softmax attention, in the spectral domain."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    now()  # or NumPy would stumble over the time that the environment gives


@cli.command(example="spectral-icl flow --set flow.t_end=1e3 --plot flow.pdf")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the flow (.nc or .zarr).")
@_plot
@click.option("--step", type=float, help="Also follow SGD with this learning rate, which needs --batch.")
@click.option("--batch", type=int, help="Prompts per step of SGD.")
@click.option("--paths", type=int, help="Paths of SGD; 64 by default.")
@click.option("--seed", type=int, help="Of these paths; 0 by default.")
@_json
@_overrides
def flow(
    file: Path | None,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
    overrides: tuple[str, ...],
    **training: float | None,
) -> None:
    """Solve the gradient flow of FILE (TOML), or of the built-in two-task example.

    With --step and --batch, or a table [training] in FILE, also paths of stochastic gradient descent (SGD)
    about it: how they scatter, and what their noise costs.

    Exit status: 0 solved, 1 the end was not reached, 2 bad input.
    """
    from spectral_icl.io import files
    from spectral_icl.multitask.experiment import Experiment
    from spectral_icl.multitask.flow.solution import IntegrationError
    from spectral_icl.multitask.report import FlowReport
    from spectral_icl.multitask.training import TrainingReport

    files.check_targets({"--out": (out, files.SUFFIXES), "--plot": (plot, files.FIGURES)}, file)
    options = {name: value for name, value in training.items() if value is not None}
    entries = tuple(f"training.{name}={value}" for name, value in options.items())
    names = renamed({f"training.{name}": f"--{name}" for name in training} if options else {})
    with names:
        experiment = Experiment.read(file, (*overrides, *entries))
    if experiment.training is not None and out is not None:
        raise ProblemError("--out", str(out), "nothing beside SGD: the file of a flow holds no paths")
    with log_on_stderr(), names:
        try:
            with Reach(experiment.flow.t_end, "flow", "t") as reach:
                solution = experiment.solve(reach.at)
        except IntegrationError as error:
            if error.solution is None:
                raise
            solution = error.solution
        paths = _paths(experiment, solution)
        told = None if paths is None else TrainingReport(paths)
        emit(FlowReport(solution, _title(file), experiment.initial.to_dict(), told), as_json)
        if out is not None:
            solution.save(out)
            say_wrote(out, as_json)
        if plot is not None:
            with drawing(plot):
                from spectral_icl.figures.flow import flow_figure
                from spectral_icl.figures.style import save

                save(flow_figure(solution, paths), plot)
            say_wrote(plot, as_json)
    if not solution.success:
        fail(solution.message, 1)


def _paths(experiment: Experiment, solution: Solution) -> StochasticFlow | None:
    """The paths that an experiment has, under a bar on a terminal; none of a flow that was not solved."""
    if experiment.training is None or not solution.success:
        return None
    steps = min(float(solution.trajectory.t[-1]) / experiment.training.step, 1e9)  # more are refused
    total = experiment.training.paths * (round(steps) + 1)
    with Progress(total, label="paths", unit="steps", logged=False) as progress:
        return experiment.train(solution, progress.update)


@cli.command(example="spectral-icl explore --set model.heads=3")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--port", type=int, default=0, help="Of this machine; one that is free by default.")
@click.option(
    "--browser/--no-browser", default=True, help="Open the page in a browser, or only print where it is."
)
@_overrides
def explore(file: Path | None, port: int, browser: bool, overrides: tuple[str, ...]) -> None:
    """Open a page with a slider for every entry of FILE (TOML), or of the built-in two-task example.

    The flow is solved and drawn again as a slider moves. The page is for this machine alone, and needs no
    network. Ctrl-C ends it.

    Exit status: 2 bad input, 130 interrupted.
    """
    from spectral_icl.io.files import needs
    from spectral_icl.io.toml import tables
    from spectral_icl.multitask.experiment import BUILT_IN

    for package in ("bokeh", "tomlkit", "matplotlib"):
        needs(package, "explore", None, "explore")
    from spectral_icl.explore.choices import Choices
    from spectral_icl.explore.server import Explorer

    choices = Choices.of(tables(file, overrides, BUILT_IN))
    with renamed({"port": "--port"}), log_on_stderr():
        explorer = Explorer(choices, _title(file), port)
        try:
            click.echo(f"exploring at {explorer.url} (Ctrl-C ends it)")
            if browser:
                explorer.show()
            explorer.run()
        except (KeyboardInterrupt, Terminated):
            complain("interrupted")
            leave(130)


@cli.command(
    cls=_Listing,
    lists=_claims,
    example="spectral-icl verify --set model.heads=3 --claim sign-conservation --claim optimality",
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_json
@click.option("--report", "page", type=click.Path(path_type=Path), help="Write a page (.html) with figures.")
@click.option("--claim", "claims", multiple=True, metavar="NAME", help="Check this claim; may be repeated.")
@click.option(
    "--theorem", metavar="NAME", help="Where this claim holds, and where it stops, along every variable."
)
@click.option("--prompts", cls=_Prompts, type=int)
@click.option("--seed", default=0, show_default=True, help="Of the sampled prompts and numerical searches.")
@click.option("--sparse", "second", is_flag=True, help="The claims about sparse regression, at their places.")
@_overrides
def verify(
    file: Path | None,
    as_json: bool,
    page: Path | None,
    claims: tuple[str, ...],
    theorem: str | None,
    prompts: int | None,
    seed: int,
    second: bool,
    overrides: tuple[str, ...],
) -> None:
    """Check the claims of the theory on FILE (TOML), or on a documented suite of problems.

    With --set but no FILE it is the built-in two-task example. Flows are solved to rest, whatever [flow]
    says. The claims about sparse regression are checked with --sparse, or on a FILE with a table [sparse].
    With --theorem one claim is followed from FILE, or else from a problem that documents it, along every
    variable to where it fails or a hypothesis is no longer met; --set but no FILE is then the built-in sparse
    example if the claim is about sparse regression.

    Exit status: 0 no check failed, 1 one did, 2 bad input.
    """
    from spectral_icl.io import files
    from spectral_icl.io.toml import tables
    from spectral_icl.multitask.experiment import BUILT_IN, Experiment
    from spectral_icl.sparse.experiment import Study, is_sparse
    from spectral_icl.theorems.multitask import check as theorems
    from spectral_icl.theorems.report import SuiteReport, report_case
    from spectral_icl.theorems.suite import Case, suite

    files.check_targets({"--report": (page, files.PAGES)}, file)
    named = file is not None or bool(overrides)
    if theorem is not None:
        for option, value in (("--claim", claims), ("--sparse", second)):
            if value:
                raise ProblemError("--theorem", theorem, f"no {option} beside it: it is a claim by itself")
        return _verify_theorem(theorem, file, overrides, as_json, page, prompts, seed)
    if second:
        if named:
            given = overrides[0] if file is None else str(file)
            raise ProblemError("--sparse", given, "neither FILE nor --set beside it: it has its own places")
        return _verify_sparse(None, as_json, page, claims, prompts, seed)
    table = tables(file, overrides, BUILT_IN)
    if is_sparse(table):
        return _verify_sparse(Study.from_dict(table).problem, as_json, page, claims, prompts, seed)
    if named:
        cases = [Case(_title(file), "claims on this problem and start", Experiment.from_dict(table))]
    else:
        cases = suite()
    for name in claims:
        choice("--claim", name, theorems.names())
    found = []
    bar = not named and (as_json or not sys.stdout.isatty())  # where no lines come between
    with log_on_stderr():
        for case in tracked(cases, unit="cases", shown=bar, named=lambda case: case.name):
            count = theorems.PROMPTS if prompts is None else prompts
            found.append(report_case(case, claims or None, count, seed, named))
            if not as_json:  # as they come, so that an interrupt loses none
                click.echo(found[-1].to_text() + "\n")
    report = SuiteReport(tuple(found))
    emit(report, as_json)
    if page is not None:
        with drawing(page):
            from spectral_icl.figures import page as html_report

            html_report.save(report, page)
        say_wrote(page, as_json)
    if not report.success:
        sys.exit(1)


def _verify_theorem(
    name: str,
    file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
    page: Path | None,
    prompts: int | None,
    seed: int,
) -> None:
    """`verify` for one claim: along the variables of a problem, and over a plane of two."""
    from spectral_icl.io.toml import tables
    from spectral_icl.multitask.experiment import BUILT_IN, Experiment
    from spectral_icl.sparse.experiment import BUILT_IN as BUILT_IN_SPARSE
    from spectral_icl.sparse.experiment import Study, is_sparse
    from spectral_icl.theorems.theorem import about_sparse, check_subject, theorem_of
    from spectral_icl.theorems.theorem_report import TheoremReport, line_text

    base: Experiment | SparseProblem | None = None
    title = ""
    if file is not None or overrides:
        built_in = BUILT_IN_SPARSE if about_sparse(name) else BUILT_IN
        table = tables(file, overrides, built_in)
        check_subject(name, is_sparse(table))
        base = Study.from_dict(table).problem if is_sparse(table) else Experiment.from_dict(table)
        title = _title(file, _BUILT_IN if built_in is BUILT_IN else _BUILT_IN_SPARSE)
    with log_on_stderr():
        theorem = theorem_of(name, base, title, prompts, seed)
        ground = theorem.ground
        if not as_json:
            click.echo(theorem.heading + "\n")
        lines = []
        bar = as_json or not sys.stdout.isatty()  # where no lines come between
        with Progress(ground.points, label=name, shown=bar, logged=False) as progress:
            for line in ground.lines(progress.update):
                lines.append(line)
                if not as_json:  # as they come, so that an interrupt loses none
                    click.echo(line_text(line) + "\n")
            plane = ground.over_plane(progress.update)
    report = TheoremReport(theorem, tuple(lines), plane)
    emit(report, as_json)
    if page is not None:
        with drawing(page):
            from spectral_icl.figures import theorem as html_report

            html_report.save(report, page)
        say_wrote(page, as_json)
    if not report.success:
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
    from spectral_icl.theorems.report import SparseReport, report_claims
    from spectral_icl.theorems.sparse import check as theorems

    for name in claims:
        choice("--claim", name, theorems.names())
    count = theorems.PROMPTS if prompts is None else prompts
    found = []
    bar = as_json or not sys.stdout.isatty()  # where no lines come between
    claimed = report_claims(claims or None, problem, count, seed)
    for claim in tracked(claimed, len(claims or theorems.names()), unit="claims", shown=bar):
        found.append(claim)
        if not as_json:  # as they come, so that an interrupt loses none
            click.echo(claim.to_text() + "\n")
    report = SparseReport(tuple(found))
    emit(report, as_json)
    if page is not None:
        with drawing(page):
            from spectral_icl.figures import page as html_report

            html_report.save_sparse(report, page)
        say_wrote(page, as_json)
    if not report.success:
        sys.exit(1)


@cli.command(example="spectral-icl optimal --set problem.context_length=1000 --heads 1")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--heads",
    type=int,
    help="Most heads of the numerical optimum; by default one more than tasks, without those in between that "
    "take minutes.",
)
@_json
@_plot
@_overrides
def optimal(
    file: Path | None, heads: int | None, as_json: bool, plot: Path | None, overrides: tuple[str, ...]
) -> None:
    """Print the benchmark losses of the problem in FILE (TOML), or of the built-in two-task example.

    Exit status: 0 done, 2 bad input.
    """
    from spectral_icl.io import files
    from spectral_icl.multitask.experiment import Experiment
    from spectral_icl.multitask.optimal.report import benchmark_report

    files.check_targets({"--plot": (plot, files.FIGURES)}, file)
    experiment = Experiment.read(file, overrides)
    problem = experiment.problem
    emit(benchmark_report(problem, _title(file), heads, experiment.model.kernel), as_json)
    if plot is not None:
        with drawing(plot):
            from spectral_icl.figures.optimal import optimal_figure
            from spectral_icl.figures.style import save

            save(optimal_figure(problem, experiment.model.kernel), plot)
        say_wrote(plot, as_json)


@cli.command(example="spectral-icl sparse --set sparse.noise=0.5 --set study.prompts=200")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_json
@_plot
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

    files.check_targets({"--plot": (plot, files.FIGURES)}, file)
    study = Study.read(file, overrides)
    with log_on_stderr(), Progress(study.prompts, unit="prompts", logged=False) as progress:
        found = compare(study, progress.update)
    emit(ComparisonReport(found, _title(file, _BUILT_IN_SPARSE)), as_json)
    if plot is not None:
        with drawing(plot):
            from spectral_icl.figures import sparse as figures
            from spectral_icl.figures.style import save

            with Progress(figures.PANELS, unit="panels", logged=False) as progress:
                figure = figures.comparison_figure(found, progress.update)
            save(figure, plot)
        say_wrote(plot, as_json)


@cli.command(example="spectral-icl nonlinear --set nonlinear.context_length=1000 --plot nonlinear.pdf")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_json
@_plot
@_overrides
def nonlinear(file: Path | None, as_json: bool, plot: Path | None, overrides: tuple[str, ...]) -> None:
    """Solve the gradient flow on the single-index tasks in FILE (TOML), or on a built-in one.

    Tasks are functions of one direction, in Hermite polynomials. Printed are the share of every degree that
    the heads learn, and the losses of the best heads.

    Exit status: 0 solved, 1 the end was not reached, 2 bad input.
    """
    from spectral_icl.io import files
    from spectral_icl.multitask.nonlinear.experiment import NonlinearExperiment
    from spectral_icl.multitask.nonlinear.flow import UnfinishedFlow
    from spectral_icl.multitask.nonlinear.report import NonlinearReport

    files.check_targets({"--plot": (plot, files.FIGURES)}, file)
    experiment = NonlinearExperiment.read(file, overrides)
    with log_on_stderr():
        try:
            solved = experiment.solve()
        except UnfinishedFlow as error:
            if error.flow is None:
                raise
            solved = error.flow
        emit(NonlinearReport(solved, _title(file, _BUILT_IN_NONLINEAR)), as_json)
    if plot is not None:
        with drawing(plot):
            from spectral_icl.figures.nonlinear import nonlinear_figure
            from spectral_icl.figures.style import save

            save(nonlinear_figure(solved), plot)
        say_wrote(plot, as_json)
    if not solved.success:
        fail(solved.message, 1)


@cli.command(
    cls=_Listing,
    lists=_kinds,
    example="spectral-icl examples sweeps/escape\n"
    "spectral-icl sweep examples/sweeps/escape.toml --out escape.zarr",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The store: a Zarr folder.")
@click.option("--workers", type=int, metavar="N", help="Solve in N processes of one thread each.")
@click.option("--shard", metavar="i/n", help="Solve only every n-th batch, from the i-th on (0 <= i < n).")
@click.option("--scheduler", metavar="ADDRESS", help="Solve on the workers of a running dask scheduler.")
@click.option("--retry-failed", is_flag=True, help="Solve the points again that failed before.")
@_json
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
    from spectral_icl.sweeps.engines import EngineError
    from spectral_icl.sweeps.plan import Plan
    from spectral_icl.sweeps.run import run

    engine, part = _engine(out, workers, shard, scheduler)
    plan = Plan.read(file, overrides)
    with log_on_stderr(), renamed({"path": "--out"}):
        try:
            report = run(plan, out, engine, shard=part, retry_failed=retry_failed)
        except EngineError as error:
            fail(str(error), 1)
    emit(replace(report, title=_title(file)), as_json)
    if report.complaint is not None:
        complain(report.complaint)
    if report.status:
        sys.exit(report.status)


def _engine(
    out: Path, workers: int | None, shard: str | None, scheduler: str | None
) -> tuple[Engine, tuple[int, int]]:
    """Who solves a sweep, and which shard of it, by the options: one of them at most."""
    from spectral_icl.io.files import needs
    from spectral_icl.sweeps.engines import Scheduler, Workers, in_process

    given = {"--workers": workers, "--shard": shard, "--scheduler": scheduler}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ProblemError(named[1], given[named[1]], f"nothing beside {named[0]}")
    with renamed({"workers": "--workers", "scheduler": "--scheduler"}):
        if workers is not None:
            engine = Workers(workers)
            for package in ("distributed", "cryptography"):
                needs(package, "--out", str(out), "sweep")
            return engine, (0, 1)
        if scheduler is not None:
            needs("distributed", "--out", str(out), "sweep")
            return Scheduler(scheduler), (0, 1)
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard or "0/1", re.ASCII)
    if not found or int(found[1]) >= int(found[2]):
        raise ProblemError("--shard", shard, "i/n with 0 <= i < n")
    return in_process, (int(found[1]), int(found[2]))


@cli.command(
    cls=_Listing,
    lists=_quantities,
    example="spectral-icl flow --out flow.nc\nspectral-icl plot flow.nc --out flow.pdf",
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--quantity", "quantities", multiple=True, metavar="NAME", help="A panel of it; may be repeated."
)
@click.option("--x", metavar="PATH", help="Axis of the sweep along x, such as problem.snr.")
@click.option("--y", metavar="PATH", help="Axis along y, for a heat map.")
@click.option("--task", type=int, metavar="I", help="Of this task instead of all.")
@click.option("--at", "places", multiple=True, metavar="PATH=VALUE", help="Where along an axis not shown.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the figure there (.pdf, .png, .svg).")
@_json
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

    Without options a sweep shows what suits its axes. It has the quantities that were recorded, and those
    made from them. Without --out the figure gets the name of PATH and of what it shows, in the current
    folder. Points that were not solved, or where the softmax saturates, are marked and counted.

    Exit status: 0 done, 2 bad input.
    """
    from spectral_icl.io import files

    files.needs("matplotlib", "--out", "figure.pdf" if out is None else str(out), "plot")
    files.check_targets({"--out": (out, files.FIGURES)}, path, "PATH")
    with drawing(out or path):
        from spectral_icl.figures.stored import draw

        picture = draw(path, quantities, x, y, task, _places(places))
        with renamed({"path": "--out"}):
            report = picture.save(out)
    emit(report, as_json)
    say_wrote(report.target, as_json)


@cli.command(example="spectral-icl warm --kernel asymptotic")
@click.option(
    "--kernel", "kernels", multiple=True, metavar="NAME", help="For this law of the context; may be repeated."
)
@click.option(
    "--workers", type=int, metavar="N", help="Compile in N processes of 1 GB each; one per core by default."
)
@_json
def warm(kernels: tuple[str, ...], workers: int | None, as_json: bool) -> None:
    """Compile everything now, so that later commands start at once.

    Otherwise the first flow under a law of the context takes some ten seconds more, and the first sweep
    twenty. What is there is not compiled again, so after an interruption the same command continues.

    The cache is beside the package or in the user's cache folder, or in the folder that NUMBA_CACHE_DIR names
    to this and to later commands. Its code is for one kind of processor: run this where they will run.

    Exit status: 0 done, 1 a process was killed, 2 bad input, 130 interrupted.
    """
    from concurrent.futures.process import BrokenProcessPool

    from spectral_icl import warm as warming

    done = []
    bar = as_json or not sys.stdout.isatty()  # where no lines come between
    began = perf_counter()
    with log_on_stderr(), renamed({"kernel": "--kernel", "workers": "--workers"}):
        pieces = warming.plan(kernels)
        finished = warming.warm(pieces, workers)
    try:
        for piece in tracked(finished, len(pieces), unit="pieces", shown=bar):
            done.append(piece)
            if not as_json:  # as they come: an interrupt loses none
                click.echo(piece.to_text())
    except BrokenProcessPool:
        fail("a process was killed; fewer --workers need less memory", 1)
    emit(warming.report(done, perf_counter() - began), as_json)


@cli.command(example="spectral-icl examples escape\nspectral-icl flow examples/escape.toml")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=_example_names)
@click.option("--all", "everything", is_flag=True, help="Copy all of them.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="examples",
    show_default=True,
    help="Copy into this folder, which is made.",
)
@_json
def examples(names: tuple[str, ...], everything: bool, out: Path, as_json: bool) -> None:
    """List the experiment files that come with the package, or copy those of NAME to work on.

    Nothing is replaced: a copy that is there already stays, and one that was changed is refused.

    Exit status: 0 done, 2 bad input.
    """
    from spectral_icl.io.examples import ExamplesReport, copied, described

    if everything and names:
        raise ProblemError("--all", names[0], "no NAME beside it")
    found = described(names)
    emit(copied(found, out) if names or everything else ExamplesReport(found), as_json)


@cli.command(example="spectral-icl doctor --json")
@_json
def doctor(as_json: bool) -> None:
    """Say what a bug report needs, and check that everything works here.

    Versions, the machine, settings from the environment; and whether packages are there and new enough,
    settings are understood, the cache of compiled code can be used, and a small function compiles and runs.

    Exit status: 0 all is well, 1 a check failed.
    """
    from spectral_icl.doctor.report import examine

    report = examine()
    emit(report, as_json)
    if not report.success:
        sys.exit(1)


@cli.command(example="spectral-icl cite")
def cite() -> None:
    """Print the BibTeX entries to cite."""
    click.echo(resources.files("spectral_icl").joinpath("citation.bib").read_text("utf-8").strip())


def main() -> None:
    """Entry point."""
    leave_out_users_matplotlib()
    guarded(cli, "spectral-icl")


def _title(file: Path | None, built_in: str = _BUILT_IN) -> str:
    """The first line of a report: where its problem is from, in letters even if the name is none in UTF-8."""
    return built_in if file is None else os.fsencode(file).decode("utf-8", "replace")


def _places(given: Iterable[str]) -> dict[str, float]:
    """The numbers of ``PATH=VALUE`` entries by path."""
    found = {}
    for text in given:
        name, separator, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise ProblemError("--at", text, "PATH=VALUE with a number")
    return found


if __name__ == "__main__":
    main()
