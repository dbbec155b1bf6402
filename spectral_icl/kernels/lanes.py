"""A number type for compiled code: several float64 side by side, one for each of several problems.

Arithmetic on it is written like arithmetic on floats and compiles to the machine's vector instructions, so
that the algebra of `spectral_icl.kernels` serves one problem and many of them alike. Every operation acts on
each lane by itself: what happens in a lane does not depend on the others.

Arrays of lanes are views of float64 arrays whose last axis, of length `WIDTH`, counts the lanes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.imputils import impl_ret_borrowed, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, overload, register_model
from numba.np.arrayobj import make_array, populate_array

from spectral_icl.kernels.compile import INLINED, inner

# Two of the widest registers: enough work between the loops' own instructions, and no more than stay in them.
WIDTH = 16 if get_host_cpu_features().get("avx512f") else 8

# The liberties that the compiled algebra takes on single numbers too; NaN stays NaN.
_FLAGS = ("contract", "reassoc", "arcp", "nsz")


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")

    def can_convert_from(self, typingctx: Any, other: Any) -> Any:
        return Conversion.safe if isinstance(other, (types.Float, types.Integer)) else None


class _Mask(types.Type):
    def __init__(self) -> None:
        super().__init__(name="LaneMask")


LANES, MASK = _Lanes(), _Mask()
_FLOATS = ir.VectorType(ir.DoubleType(), WIDTH)
_BITS = ir.VectorType(ir.IntType(64), WIDTH)
_TRUTHS = ir.VectorType(ir.IntType(1), WIDTH)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _TRUTHS)


@lower_cast(types.Float, LANES)
@lower_cast(types.Integer, LANES)
def _broadcast(context: Any, builder: Any, fromty: Any, toty: Any, value: Any) -> Any:
    value = context.cast(builder, value, fromty, types.float64)
    first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(
        first, first, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    )


def _declare(op: Any, result: Any, argument: Any, build: Callable[..., Any], arity: int = 2) -> None:
    """Teach numba an operator: ``build(builder, *values)`` makes the instruction."""

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            fits = len(args) == arity and argument in args
            if fits and all(
                a is argument or (argument is LANES and isinstance(a, types.Number)) for a in args
            ):
                return signature(result, *(argument,) * arity)
            return None

    infer_global(op)(Template)

    @lower_builtin(op, *(argument,) * arity)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return build(builder, *args)


def _instruction(name: str) -> Callable[..., Any]:
    return lambda builder, *values: getattr(builder, name)(*values, flags=_FLAGS)


def _function(name: str) -> Callable[..., Any]:
    """A vector function that LLVM knows."""

    def build(builder: Any, value: Any) -> Any:
        kind = ir.FunctionType(_FLOATS, [_FLOATS])
        callee = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{WIDTH}f64")
        return builder.call(callee, [value])

    return build


def _comparison(relation: str) -> Callable[..., Any]:
    return lambda builder, a, b: builder.fcmp_ordered(relation, a, b)


for _op, _inplace, _name in (
    (operator.add, operator.iadd, "fadd"),
    (operator.sub, operator.isub, "fsub"),
    (operator.mul, operator.imul, "fmul"),
    (operator.truediv, operator.itruediv, "fdiv"),
):
    _declare(_op, LANES, LANES, _instruction(_name))
    _declare(_inplace, LANES, LANES, _instruction(_name))
for _op, _relation in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _declare(_op, MASK, LANES, _comparison(_relation))
_declare(operator.eq, MASK, LANES, _comparison("=="))
_declare(operator.neg, LANES, LANES, lambda builder, a: builder.fneg(a), arity=1)
_declare(operator.and_, MASK, MASK, lambda builder, a, b: builder.and_(a, b))
_declare(operator.or_, MASK, MASK, lambda builder, a, b: builder.or_(a, b))
_declare(operator.invert, MASK, MASK, lambda builder, a: builder.not_(a), arity=1)
_declare(abs, LANES, LANES, _function("fabs"), arity=1)
_declare(np.sqrt, LANES, LANES, _function("sqrt"), arity=1)


@intrinsic
def everywhere(typingctx: Any, value: Any) -> Any:
    """The same number in every lane."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.cast(builder, args[0], types.float64, LANES)

    return signature(LANES, types.float64), build


@intrinsic
def where(typingctx: Any, mask: Any, yes: Any, no: Any) -> Any:
    """``yes`` in the lanes of the mask, ``no`` in the others."""
    if mask is not MASK:
        return None

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return signature(LANES, MASK, LANES, LANES), build


@intrinsic
def as_lanes(typingctx: Any, array: Any) -> Any:
    """View a C-contiguous float64 array (..., WIDTH) as an array (...) of lanes."""
    if not (isinstance(array, types.Array) and array.layout == "C" and array.ndim > 1):
        return None
    # loads that assume no alignment cost nothing where the data is aligned, and do not crash where it is not
    result = types.Array(LANES, array.ndim - 1, "C", aligned=False)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source = make_array(sig.args[0])(context, builder, args[0])
        view = make_array(sig.return_type)(context, builder)
        populate_array(
            view,
            data=builder.bitcast(source.data, view.data.type),
            shape=cgutils.unpack_tuple(builder, source.shape)[:-1],
            strides=cgutils.unpack_tuple(builder, source.strides)[:-1],
            itemsize=context.get_constant(types.intp, 8 * WIDTH),
            meminfo=source.meminfo,
            parent=source.parent,
        )
        return impl_ret_borrowed(context, builder, sig.return_type, view._getvalue())

    return signature(result, array), build


@intrinsic
def _scale(typingctx: Any, value: Any, shifted: Any) -> Any:
    """Times 2^k, for k in the low bits of ``shifted`` = k + 1.5 * 2^52: an addition to the exponent."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits, power = (builder.bitcast(a, _BITS) for a in args)
        moved = builder.shl(power, ir.Constant(_BITS, [52] * WIDTH))
        return builder.bitcast(builder.add(bits, moved), _FLOATS)

    return signature(LANES, LANES, LANES), build


_SHIFT = 1.5 * 2.0**52
_PER_LOG2, _LOG2_HIGH, _LOG2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
_HIGHEST, _LOWEST = 709.0, -708.0

# Polynomial of degree 11 for e^r, |r| <= log(2) / 2: interpolation at Chebyshev nodes, relative error 2e-17.
_C = (
    1.0,
    1.0,
    0.5000000000000019,
    0.1666666666666668,
    0.04166666666648809,
    0.008333333333319601,
    0.0013888888952315155,
    0.00019841269890047406,
    2.480148548192088e-05,
    2.7557240918265525e-06,
    2.7632639789868395e-07,
    2.5110037721946562e-08,
)


@intrinsic
def fused(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """The sum a * b + c, rounded once where the machine can; never reassociated with what is around."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        callee = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f64")
        return builder.call(callee, args)

    return signature(LANES, LANES, LANES, LANES), build


@overload(np.exp, jit_options={"forceinline": True, "error_model": "numpy"})
def _exp(x: Any) -> Any:
    if x is not LANES:
        return None

    def exp(x: Any) -> Any:
        """Within 2 units in the last place on [-708, 709]; infinite above, e^-708 below, NaN for NaN."""
        inside = where(x > _HIGHEST, _HIGHEST, x)
        inside = where(inside < _LOWEST, _LOWEST, inside)
        # k is the nearest whole number: plain additions would be given liberties, and the shift would cancel
        shifted = fused(inside * _PER_LOG2, 1.0, _SHIFT)
        k = fused(shifted, 1.0, -_SHIFT)
        r = fused(-k, _LOG2_HIGH, inside)
        r = fused(-k, _LOG2_LOW, r)
        r2 = r * r
        r4 = r2 * r2
        low = fused(fused(r, _C[3], _C[2]), r2, fused(r, _C[1], _C[0]))
        mid = fused(fused(r, _C[7], _C[6]), r2, fused(r, _C[5], _C[4]))
        high = fused(fused(r, _C[11], _C[10]), r2, fused(r, _C[9], _C[8]))
        value = _scale(fused(fused(high, r4, mid), r4, low), shifted)
        return where(x > _HIGHEST, np.inf, value)  # NaN has no low bits set, and comes through

    return exp


@intrinsic
def pick(typingctx: Any, value: Any, lane: Any) -> Any:
    """The float in one lane."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(*args)

    return signature(types.float64, LANES, types.int64), build


@intrinsic
def put(typingctx: Any, value: Any, lane: Any, number: Any) -> Any:
    """``value`` with the float of one lane replaced."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, lane, number = args
        return builder.insert_element(value, number, lane)

    return signature(LANES, LANES, types.int64, types.float64), build


@inner()
def lane_array(size):
    """Storage for ``size`` numbers in every lane, on whole cache lines; zeros."""
    raw = np.zeros(size * WIDTH + 8)
    offset = (-(raw.ctypes.data // 8)) % 8
    return as_lanes(raw[offset : offset + size * WIDTH].reshape(size, WIDTH))


def lanes_like(values: Any) -> Any:
    """Storage for as many numbers in every lane as an array of numbers (n,) or (n, m) has; zeros."""
    raise NotImplementedError("only compiled code has lanes")


@overload(lanes_like, strict=False, jit_options=INLINED)
def _lanes_like(values: Any) -> Any:
    if values.ndim == 1:
        return lambda values: lane_array(values.size)
    return lambda values: lane_array(values.size).reshape(values.shape)


def room(like: Any, size: int) -> Any:
    """Storage for ``size`` numbers of the kind, plain or in lanes, that the array ``like`` holds."""
    return np.empty(size)


@overload(room, strict=False, jit_options=INLINED)
def _room(like: Any, size: Any) -> Any:
    if like.dtype is LANES:
        return lambda like, size: lane_array(size)
    return lambda like, size: np.empty(size)
