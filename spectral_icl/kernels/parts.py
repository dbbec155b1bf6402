"""A compiler of functions that are only parts of compiled functions.

numba by itself would optimise each of them, make machine code of it and load that, at every level of the
calls, before it is inlined: most of the time that a first flow took.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba._dynfunc import make_function
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _Library(JITCodeLibrary):
    """Code that is only part of what calls it, with which it is optimised and made machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class PartCompiler(Compiler):
    """Compiler of functions that are part of compiled functions."""

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """What is compiled of a function: code to be linked with that of its callers."""
        context = self.state.targetctx
        context.get_executable = _not_executable
        self.state.library = _Library(context.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(func)


def _not_executable(library: Any, descriptor: Any, environment: Any) -> Any:
    """What stands for the function where numba wants one that Python could call: there is none."""
    name = descriptor.qualname
    return make_function(descriptor.lookup_module(), name, "", 0, environment, (library,))
