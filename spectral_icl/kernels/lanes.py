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

from spectral_icl.kernels.compile import MAKING, inner, maker

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
FLOATS = ir.VectorType(ir.DoubleType(), WIDTH)
BITS = ir.VectorType(ir.IntType(64), WIDTH)
_TRUTHS = ir.VectorType(ir.IntType(1), WIDTH)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _TRUTHS)


@lower_cast(types.Float, LANES)
@lower_cast(types.Integer, LANES)
def _broadcast(context: Any, builder: Any, fromty: Any, toty: Any, value: Any) -> Any:
    value = context.cast(builder, value, fromty, types.float64)
    first = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), value, ir.IntType(32)(0))
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
        kind = ir.FunctionType(FLOATS, [FLOATS])
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
    """View a C-contiguous float64 array (..., WIDTH) as an array (...) of lanes, unless it is one already."""
    if isinstance(array, types.Array) and array.dtype is LANES:
        return signature(array, array), lambda context, builder, sig, args: impl_ret_borrowed(
            context, builder, sig.return_type, args[0]
        )
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


@intrinsic
def _lanes_at(typingctx: Any, raw: Any, offset: Any, shape: Any) -> Any:
    """View a float64 array (n,) from an offset on as an array of lanes of some shape (a tuple)."""
    result = types.Array(LANES, len(shape), "C", aligned=False)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        raw, offset, shape = args
        source = make_array(sig.args[0])(context, builder, raw)
        view = make_array(sig.return_type)(context, builder)
        sizes = cgutils.unpack_tuple(builder, shape)
        strides = [context.get_constant(types.intp, 8 * WIDTH)]
        for size in sizes[:0:-1]:
            strides.insert(0, builder.mul(strides[0], size))
        populate_array(
            view,
            data=builder.bitcast(builder.gep(source.data, [offset]), view.data.type),
            shape=sizes,
            strides=strides,
            itemsize=context.get_constant(types.intp, 8 * WIDTH),
            meminfo=source.meminfo,
            parent=source.parent,
        )
        return impl_ret_borrowed(context, builder, sig.return_type, view._getvalue())

    return signature(result, raw, types.int64, shape), build


@maker
def lane_array(shape):
    """Storage for numbers in every lane, of some shape (a tuple), on whole cache lines; zeros."""
    size = 1
    for n in shape:
        size *= n
    raw = np.zeros(size * WIDTH + 8)
    return _lanes_at(raw, (-(raw.ctypes.data // 8)) % 8, shape)


def room(like: Any, shape: tuple[int, ...]) -> Any:
    """Storage for numbers of the kind, plain or in lanes, that the array ``like`` holds."""
    return np.empty(shape)


@overload(room, strict=False, jit_options=MAKING)
def _room(like: Any, shape: Any) -> Any:
    if like.dtype is LANES:
        return lambda like, shape: lane_array(shape)
    return lambda like, shape: np.empty(shape)


def vectors(shape: tuple[int, ...]) -> Any:
    """Storage for vectors of lanes: from Python an array with one axis more, which `as_lanes` views."""
    return np.zeros((*shape, WIDTH))


@overload(vectors, strict=False, jit_options=MAKING)
def _vectors(shape: Any) -> Any:
    return lambda shape: lane_array(shape)


@maker
def lanes_like(values):
    """Storage for as many numbers in every lane as an array of numbers has; zeros."""
    return lane_array(values.shape)


@inner()
def load_lane(store, lane, values):
    """Put an array of numbers into one lane of an array of lanes of its shape."""
    into, flat = store.reshape(store.size), values.reshape(values.size)
    for n in range(into.size):
        into[n] = put(into[n], lane, flat[n])


@maker
def in_every_lane(values):
    """An array of lanes, every one of which holds an array of numbers."""
    store = lanes_like(values)
    into, flat = store.reshape(store.size), values.reshape(values.size)
    for n in range(into.size):
        into[n] = everywhere(flat[n])
    return store


@inner()
def blend(mask, old, new):
    """Copy the numbers of ``new`` to ``old``, arrays of lanes of any shape, in the lanes of the mask."""
    into, flat = old.reshape(old.size), new.reshape(new.size)
    for n in range(into.size):
        into[n] = where(mask, flat[n], into[n])
