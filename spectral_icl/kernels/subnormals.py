"""Numbers below 2.2e-308 count as zero inside a compiled call, and only there.

What has all but vanished (the weights of heads that lost, what is left of an error) and its products become
subnormal, and for each of them an Intel core takes some 150 cycles. The processor is asked to flush them by a
register of the thread, which is set when a long call begins and put back when it ends; only where memory runs
out on the way it is not.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_process_triple
from numba.core import cgutils, types
from numba.core.typing import signature
from numba.extending import intrinsic

# Only x86 processors are slow with subnormals; others keep them.
_ON_X86 = get_process_triple().startswith(("x86_64", "amd64", "i686"))

_FLUSH_RESULTS, _FLUSH_ARGUMENTS = 1 << 15, 1 << 6  # of the register MXCSR: FTZ and DAZ


def _access(builder: Any, name: str, place: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}")
    builder.call(function, [builder.bitcast(place, ir.IntType(8).as_pointer())])


@intrinsic
def floating_mode(typingctx: Any) -> Any:
    """How this thread treats floating-point numbers: the register MXCSR; 0 where there is none."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(32), 0))
        if _ON_X86:
            _access(builder, "stmxcsr", place)
        return builder.load(place)

    return signature(types.int32), build


@intrinsic
def set_floating_mode(typingctx: Any, mode: Any) -> Any:
    """Make this thread treat floating-point numbers so."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _ON_X86:
            _access(builder, "ldmxcsr", cgutils.alloca_once_value(builder, args[0]))
        return context.get_dummy_value()

    return signature(types.void, types.int32), build


@intrinsic
def flushing(typingctx: Any, mode: Any) -> Any:
    """The same way of treating numbers, but with subnormal arguments and results taken for zero."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.or_(args[0], ir.Constant(ir.IntType(32), _FLUSH_RESULTS | _FLUSH_ARGUMENTS))

    return signature(types.int32, types.int32), build
