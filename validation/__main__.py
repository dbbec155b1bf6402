"""Run checks: ``python -m validation [NAME ...] [--quick | --full] [--device cuda] [--out DIR]``."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import click

from spectral_icl.console import guarded
from spectral_icl.io.files import FIGURES, check_target, replacing
from spectral_icl.io.provenance import cpu, environment
from validation import MODULES, NAMES


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--quick/--full", "quick", default=True, help="Minutes' worth of evidence (default), or an hour's."
)
@click.option("--device", default="cpu", help="Where to train: cpu (default), cuda, cuda:1 ...")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for NAME.json and NAME.png, and for training runs: with the same folder, those of an "
    "interrupted command are continued, and finished ones are not run again.",
)
def main(names: tuple[str, ...], quick: bool, device: str, out: Path | None) -> None:
    """Hold the reduced flow against full softmax attention: all checks, or those named.

    Exit status 1 if a claim fails, 2 for bad input, 130 if interrupted.
    """
    for name in names:
        if name not in NAMES:
            _refuse(f"NAME = {name!r}: expected one of {', '.join(NAMES)}")
    where = _device(device)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _refuse(f"--out = {str(out)!r}: expected a folder that can be written ({error.strerror})")
        for name in names or NAMES:
            check_target("--out", out / f"{name}.png", FIGURES)  # which may be somebody's own
    from validation.context import Context  # imports PyTorch, whose absence has been told by now

    context = Context(
        full=not quick,
        device=where,
        folder=None if out is None else out / "runs",
        progress=True,
    )
    failures = 0
    for name in names or NAMES:
        module = import_module(MODULES[name])
        began = time.perf_counter()
        try:
            result = module.run(context)
        except KeyboardInterrupt:
            kept = "the same command continues" if out else "nothing was kept: name a folder with --out"
            click.echo(f"\ninterrupted in {name}; {kept}", err=True)
            sys.exit(130)
        seconds = time.perf_counter() - began
        failures += result.failures
        click.echo(f"{result.to_text()}\n  {seconds:.0f} s, {result.failures} failures\n")
        if out is not None:
            about = _about(quick, device, seconds)
            with replacing(out / f"{name}.json") as part:
                part.write_text(result.to_json(**about), "utf-8")
            _draw(module, result, out / f"{name}.png")
    sys.exit(1 if failures else 0)


def _device(name: str) -> Any:
    """The device, after a word if a package or the device is not there."""
    for package in ("torch", "matplotlib"):
        try:
            import_module(package)
        except ImportError:
            _refuse(f"the package {package!r} is not installed: pip install -e '.[validation]'")
    import torch

    try:
        device = torch.device(name)
        generator = torch.Generator(device)
        torch.randn(1, generator=generator, device=device, dtype=torch.float64).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        _refuse(f"--device = {name!r}: expected a device of this machine with double precision ({reason})")
    return device


def _draw(module: Any, result: Any, path: Path) -> None:
    from spectral_icl.figures.style import save

    save(module.figure(result), path)


def _about(quick: bool, device: str, seconds: float) -> dict[str, Any]:
    """Setting, time, device and versions that produced a result."""
    import torch

    on_gpu = torch.device(device).type == "cuda"
    return {
        "setting": "quick" if quick else "full",
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
