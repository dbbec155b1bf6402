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
    """``yes`` in the lanes of the mask, ``no`` in the others; of plain numbers, for a plain truth value."""
    if mask is not MASK and not isinstance(mask, types.Boolean):
        return None

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    kind = LANES if mask is MASK else types.float64
    return signature(kind, mask, kind, kind), build


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


# log((1 + s) / (1 - s)) = 2 s + s z g(z) with z = s^2, for fractions within a factor sqrt(2) of 1: the
# polynomial g by interpolation at Chebyshev nodes, relative error 5e-18 of the logarithm.
_G = (
    0.66666666666666696862,
    0.3999999999989950449,
    0.28571428625975484921,
    0.22222211134795079855,
    0.1818288912526172208,
    0.15331721600556041269,
    0.1461644968504340586,
)
_ROOT_HALF, _SHIFT_BITS = (int(np.float64(x).view(np.int64)) for x in (0.5**0.5, _SHIFT))


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
def _split(typingctx: Any, value: Any) -> Any:
    """Fraction and exponent of positive numbers: value = fraction 2^exponent, fraction in [1/2, 2)^(1/2)."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def whole(number: int) -> Any:
            return ir.Constant(_BITS, [number] * WIDTH)

        bits = builder.sub(builder.bitcast(args[0], _BITS), whole(_ROOT_HALF))
        fraction = builder.add(builder.and_(bits, whole((1 << 52) - 1)), whole(_ROOT_HALF))
        # a whole number k < 2^51 added to the bits of 1.5 * 2^52 is 1.5 * 2^52 + k
        exponent = builder.add(builder.ashr(bits, whole(52)), whole(_SHIFT_BITS))
        result = context.make_tuple(
            builder,
            sig.return_type,
            (builder.bitcast(fraction, _FLOATS), builder.bitcast(exponent, _FLOATS)),
        )
        return result

    return signature(types.UniTuple(LANES, 2), LANES), build


@overload(np.log1p, jit_options={"forceinline": True, "error_model": "numpy"})
def _log1p(x: Any) -> Any:
    if x is not LANES:
        return None

    def log1p(x: Any) -> Any:
        """Within 2 units in the last place for -1 < x < 1e300; NaN from -1 down and for NaN."""
        whole = fused(x, 1.0, 1.0)
        lost = fused(fused(whole, 1.0, -1.0), -1.0, x)  # what 1 + x rounded away
        fraction, shifted = _split(whole)
        exponent = fused(shifted, 1.0, -_SHIFT)
        f = fraction - 1.0
        s = f / (fraction + 1.0)
        z = s * s
        z2 = z * z
        low = fused(z, _G[1], _G[0])
        mid = fused(z, _G[3], _G[2])
        high = fused(fused(z2, _G[6], fused(z, _G[5], _G[4])), z2, mid)
        series = fused(high, z2, low)
        small = fused(exponent, _LOG2_LOW, lost / whole) - s * (f - z * series)
        value = fused(exponent, _LOG2_HIGH, f + small)
        return where(x > -1.0, value, np.nan)

    return log1p


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


@inner(borrows=True)
def load_lane(store, lane, values):
    """Put an array of numbers into one lane of an array of lanes of its shape."""
    into, flat = store.reshape(store.size), values.reshape(values.size)
    for n in range(into.size):
        into[n] = put(into[n], lane, flat[n])


@inner()
def in_every_lane(values):
    """An array of lanes, every one of which holds an array of numbers."""
    store = lanes_like(values)
    into, flat = store.reshape(store.size), values.reshape(values.size)
    for n in range(into.size):
        into[n] = everywhere(flat[n])
    return store


@inner(borrows=True)
def blend(mask, old, new):
    """Copy the numbers of ``new`` to ``old``, arrays of lanes of any shape, in the lanes of the mask."""
    into, flat = old.reshape(old.size), new.reshape(new.size)
    for n in range(into.size):
        into[n] = where(mask, flat[n], into[n])
