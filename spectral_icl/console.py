"""How a command speaks: its results, its errors in one line each, and what it logs."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from spectral_icl.io.checks import ProblemError, cut, renamed
from spectral_icl.io.interrupts import Terminated, terminations_raised
from spectral_icl.io.streams import open_streams

if TYPE_CHECKING:
    from spectral_icl.io.text import Report

# arguments of the library as commands have them
_GIVEN = {"file": "FILE", "overrides": "--set"}
_LONGEST = 400  # letters of an error


def guarded(command: click.Command, name: str) -> None:
    """Run a command: every error is one line on standard error, with exit status 2 for bad input."""
    try:
        open_streams()
        with renamed(_GIVEN), terminations_raised():
            command.main(prog_name=name, standalone_mode=False)
    except ProblemError as error:
        fail(str(error), 2)
    except Terminated:
        fail("interrupted", 130)
    except click.exceptions.Abort as error:
        if isinstance(error.__cause__, EOFError):  # click takes it for the end of what a person types
            raise error.__cause__ from None
        fail("interrupted", 130)
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except MemoryError:
        fail("out of memory", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: say nothing
        sys.exit(1)
    except OSError as error:
        fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)


def emit(result: Report, as_json: bool) -> None:
    """Print a result, before any file is made of it: one JSON object and nothing else, or its text."""
    click.echo(json.dumps(result.to_dict()) if as_json else result.to_text())


def say_wrote(path: Path, as_json: bool) -> None:
    """A line for a file that was written, beside a text."""
    if not as_json:
        click.echo(f"wrote {path}")


@contextmanager
def drawing(path: Path) -> Iterator[None]:
    """A block that draws: whatever matplotlib and its parts raise is one line."""
    try:
        yield
    except (ProblemError, OSError, MemoryError):
        raise
    except Exception as error:
        fail(f"{path}: not drawn ({type(error).__name__}: {error})", 1)


def fail(message: str, status: int) -> NoReturn:
    """End the command with an error."""
    complain(message)
    sys.exit(status)


def leave(status: int) -> NoReturn:
    """End the process at once, whatever its other threads do.

    A compiler that is at work in one of them would stumble over what the interpreter takes down at its end.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def complain(message: str) -> None:
    """Print an error as one line on standard error."""
    # control characters of a name or a file would be commands to the terminal
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(message.split()))
    with suppress(OSError):  # nobody can be told, but the status stays
        click.echo(f"Error: {cut(line, _LONGEST)}", err=True)


@contextmanager
def log_on_stderr() -> Iterator[None]:
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


def leave_out_users_matplotlib() -> None:
    """Have matplotlib neither read the user's settings, which figures here do without, nor speak of them."""
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = os.devnull
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
