"""Run checks: ``python -m validation [NAME ...] [--quick | --full] [--seed N] [--device cuda]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import click

from spectral_icl.console import guarded
from spectral_icl.io.files import FIGURES, check_target, replacing
from spectral_icl.io.provenance import cpu, environment
from validation import BY_NAME, MODULES, NAMES

_CALIBRATE = "calibrate"
_LARGEST_SEED = 2**32 - 1

_OUT = click.Path(file_okay=False, path_type=Path)
_JOBS = click.IntRange(1, 256)


class _Checks(click.Command):
    """Checks by name, and calibration by its own: no check is called so."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run what the first word says."""
        words = list(sys.argv[1:] if args is None else args)
        if words[:1] == [_CALIBRATE]:
            return calibrate.main(words[1:], f"{prog_name} {_CALIBRATE}", **extra)
        return super().main(words, prog_name, **extra)


@click.command(cls=_Checks, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--quick/--full", "quick", default=True, help="Minutes' worth of evidence (default), or hours' worth."
)
@click.option(
    "--seed",
    type=click.IntRange(0, _LARGEST_SEED),
    default=0,
    help="Of all prompts, starts and signs that are drawn (default 0).",
)
@click.option("--device", default="cpu", help="Where to train: cpu (default), cuda, cuda:1 ...")
@click.option("--jobs", type=_JOBS, default=1, help="Checks side by side in so many processes (default 1).")
@click.option(
    "--out",
    type=_OUT,
    help="Folder for NAME.json and NAME.png, and for what is sampled: with the same folder, training runs of "
    "an interrupted command are continued, and nothing that is there is sampled again.",
)
def main(names: tuple[str, ...], quick: bool, seed: int, device: str, jobs: int, out: Path | None) -> None:
    """Hold the reduced flow against full softmax attention: all checks, or those named.

    `sparse_paper`, which is sized for a GPU, is run if it is named.

    `python -m validation calibrate` says how often the checks are wrong, and what they see.

    Exit status 1 if a claim fails, 2 for bad input, 130 if interrupted.
    """
    known = (*NAMES, *BY_NAME)
    for name in names:
        if name not in known:
            _refuse(f"NAME = {name!r}: expected one of {', '.join(known)}, or {_CALIBRATE}")
    where = _device(device)
    chosen = [name for name in known if name in (names or NAMES)]
    if out is not None:
        _make_folder(out)
        for name in chosen:
            check_target("--out", out / f"{name}.png", FIGURES)  # which may be somebody's own
    # these import PyTorch, whose absence has been told by now
    from validation.commands import all_checked
    from validation.context import Context

    folder = None if out is None else out / "runs"
    context = Context(full=not quick, device=where, folder=folder, progress=jobs == 1, seed=seed)
    failures, done = 0, 0
    try:
        for result, seconds in all_checked(chosen, context, jobs):
            done += 1
            failures += result.failures
            text = result.to_text(setting=_setting(quick), seed=seed, device=device)
            click.echo(f"{text}\n  {seconds:.0f} s, {result.failures} failures\n")
            if out is not None:
                about = _about(quick, seed, device, seconds)
                with replacing(out / f"{result.name}.json") as part:
                    part.write_text(result.to_json(**about), "utf-8")
                _draw(import_module(MODULES[result.name]), result, out / f"{result.name}.png")
    except KeyboardInterrupt:
        _interrupted(f"in {chosen[done]}", out)
    sys.exit(1 if failures else 0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seeds", type=click.IntRange(2, 10_000), default=20, help="Seeds 0, 1, ... (default 20).")
@click.option("--device", default="cpu", help="Where to train: cpu (default), cuda, cuda:1 ...")
@click.option("--jobs", type=_JOBS, default=1, help="Seeds side by side in so many processes (default 1).")
@click.option(
    "--out",
    type=_OUT,
    required=True,
    help="Folder for calibration.json and calibration.png, and for what is sampled: with the same folder an "
    "interrupted command goes on.",
)
def calibrate(seeds: int, device: str, jobs: int, out: Path) -> None:
    """Run the quick checks with many seeds, and with spoilt theories: how often they fail, and should.

    Exit status 1 if a claim fails more often than it may or a fault is not caught with 19 of 20 seeds, 2 for
    bad input, 130 if interrupted.
    """
    where = _device(device)
    _make_folder(out)
    check_target("--out", out / "calibration.png", FIGURES)
    from validation import calibration
    from validation.context import Context

    context = Context(device=where, folder=out / "runs")
    try:
        found = calibration.measured(context, range(seeds), jobs, progress=True)
    except KeyboardInterrupt:
        _interrupted("", out)
    click.echo(found.to_text())
    about = _about(True, None, device, found.seconds)
    with replacing(out / "calibration.json") as part:
        part.write_text(found.to_json(**about), "utf-8")
    _draw(calibration, found, out / "calibration.png")
    sys.exit(0 if found.calibrated else 1)


def _interrupted(where: str, out: Path | None) -> NoReturn:
    kept = "the same command continues" if out else "nothing was kept: name a folder with --out"
    click.echo(f"\ninterrupted{' ' * bool(where)}{where}; {kept}", err=True)
    sys.exit(130)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _refuse(f"--out = {str(out)!r}: expected a folder that can be written ({error.strerror})")


def _setting(quick: bool) -> str:
    return "quick" if quick else "full"


def _device(name: str) -> Any:
    """The device, after a word if a package or the device is not there."""
    for package in ("torch", "matplotlib"):
        try:
            import_module(package)
        except ImportError:
            _refuse(f"the package {package!r} is not installed: pip install -e '.[validation]'")
    from validation.device import opened

    try:
        return opened(name)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        _refuse(f"--device = {name!r}: expected a device of this machine with double precision ({reason})")


def _draw(module: Any, result: Any, path: Path) -> None:
    from spectral_icl.figures.style import save

    save(module.figure(result), path)


def _about(quick: bool, seed: int | None, device: str, seconds: float) -> dict[str, Any]:
    """Setting, seed, time, device and versions that produced a result."""
    import torch

    on_gpu = torch.device(device).type == "cuda"
    return {
        "setting": _setting(quick),
        **({} if seed is None else {"seed": seed}),
        "seconds": round(seconds, 1),
        "device": torch.cuda.get_device_name(device) if on_gpu else f"{cpu()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "environment": {**environment(), "torch": version("torch")},
    }


def _refuse(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)


if __name__ == "__main__":
    guarded(main, "python -m validation")
