"""The settings that numba takes from the environment: what it does not understand is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from spectral_icl.io.checks import ProblemError

_FILE = Path(".numba_config.yaml")  # numba reads it in the current folder
_NOT_READ = re.compile(r"Environment variable '(\w+)' is defined but its associated value '(.*)' could", re.S)
# LLVM writes to standard error what it does not know of a processor, or ends the process
_TRIAL = """
import sys
import llvmlite.binding as llvm
llvm.initialize_native_target()
llvm.Target.from_default_triple().create_target_machine(cpu=sys.argv[1], features=sys.argv[2])
"""


def open_numba() -> None:
    """Import numba.

    Raises
    ------
    ProblemError
        Its settings are not values that it understands, or are those of an interpreter without a compiler.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        config = _imported()
    for warning in told:
        if found := _NOT_READ.match(str(warning.message)):
            raise ProblemError(found[1], found[2], "a value that numba understands")
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if config.DISABLE_JIT:
        raise ProblemError("NUMBA_DISABLE_JIT", config.DISABLE_JIT, "0: nothing here runs uncompiled")
    processor = {"NUMBA_CPU_NAME": config.CPU_NAME, "NUMBA_CPU_FEATURES": config.CPU_FEATURES}
    if any(processor.values()) and parent_process() is None:
        command = [sys.executable, "-c", _TRIAL, *(value or "" for value in processor.values())]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode or done.stderr:
            raise _refused(processor, "a processor that LLVM knows")


def _imported() -> Any:
    try:
        from numba.core import config
    except ImportError:
        raise
    except Exception as error:  # zero threads, a file that is not YAML
        given = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
        if _FILE.is_file():
            given[_FILE.name] = "a file"
        if not given:
            raise
        raise _refused(given, f"what numba can start with ({error})") from None
    return config


def _refused(settings: Mapping[str, str | None], expected: str) -> ProblemError:
    given = {name: value for name, value in settings.items() if value}
    return ProblemError(", ".join(given), ", ".join(given.values()), expected)
