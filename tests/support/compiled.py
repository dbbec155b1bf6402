"""Functions that only tests compile, of parts of the kernels, without the optimisation that flows need.

To optimise a step takes most of a minute in every process that tests one, and says nothing more: the code is
that of flows, which are tested as they are optimised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

F = TypeVar("F", bound=Callable[..., Any])


class _Library(JITCodeLibrary):
    """Code in which what is inlined by force is inlined, and nothing else is done."""

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager(opt=0, loop_vectorize=False, slp_vectorize=False)
        passes.run(self._final_module, builder)


class _PlainCompiler(Compiler):
    """Compiler of functions that run a few times."""

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """The compiled function."""
        self.state.library = _Library(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(func)


def plainly(function: F) -> F:
    """Decorator of a function that is compiled for the tests of one file, and is not optimised."""
    made: F = njit(error_model="numpy", pipeline_class=_PlainCompiler)(function)
    return made
