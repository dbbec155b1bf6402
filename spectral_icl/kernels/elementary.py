"""Elementary functions of numbers and of lanes, by one polynomial each.

They have no branches, so that a loop over numbers becomes vector instructions too, and a number has the same
value alone and in a lane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing import signature
from numba.extending import intrinsic

from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.lanes import BITS, FLOATS, LANES, WIDTH, where

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


def _kind(*arguments: Any) -> Any:
    """The type of numbers that an intrinsic works on: lanes if any argument is."""
    return LANES if LANES in arguments else types.float64


def _real(kind: Any) -> Any:
    return FLOATS if kind is LANES else ir.DoubleType()


def _bits(kind: Any) -> Any:
    return BITS if kind is LANES else ir.IntType(64)


def _whole(kind: Any, number: int) -> Any:
    return ir.Constant(BITS, [number] * WIDTH) if kind is LANES else ir.Constant(ir.IntType(64), number)


@intrinsic
def fused(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """The sum a * b + c, rounded once where the machine can, of functions that take no liberties."""
    kind = _kind(a, b, c)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        name = f"llvm.fmuladd.v{WIDTH}f64" if kind is LANES else "llvm.fmuladd.f64"
        function = ir.FunctionType(_real(kind), [_real(kind)] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)

    return signature(kind, kind, kind, kind), build


@intrinsic
def _scale(typingctx: Any, value: Any, shifted: Any) -> Any:
    """Times 2^k, for k in the low bits of ``shifted`` = k + 1.5 * 2^52: an addition to the exponent."""
    kind = _kind(value, shifted)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits, power = (builder.bitcast(a, _bits(kind)) for a in args)
        moved = builder.shl(power, _whole(kind, 52))
        return builder.bitcast(builder.add(bits, moved), _real(kind))

    return signature(kind, kind, kind), build


@inner()
def exponential(x):
    """e^x within 2 units in the last place on [-708, 709]; infinite above, e^-708 below, NaN for NaN."""
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


@inner(fastmath=ALGEBRA)
def hyperbolic_sine(x):
    """The hyperbolic sine of x: its series where e^x - e^-x would cancel."""
    size = abs(x)
    grown = exponential(size)
    far = 0.5 * (grown - 1.0 / grown)
    square = x * x
    near = 1.0 + square * (1.0 / 210.0)
    near = 1.0 + square * (1.0 / 156.0) * near
    near = 1.0 + square * (1.0 / 110.0) * near
    near = 1.0 + square * (1.0 / 72.0) * near
    near = 1.0 + square * (1.0 / 42.0) * near
    near = 1.0 + square * (1.0 / 20.0) * near
    near = x + x * (square * (1.0 / 6.0) * near)
    return where(size < 0.5, near, where(x < 0.0, -far, far))


@intrinsic
def _split(typingctx: Any, value: Any) -> Any:
    """Fraction and exponent of positive numbers: value = fraction 2^exponent, fraction in [1/2, 2)^(1/2)."""
    kind = _kind(value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.sub(builder.bitcast(args[0], _bits(kind)), _whole(kind, _ROOT_HALF))
        fraction = builder.add(builder.and_(bits, _whole(kind, (1 << 52) - 1)), _whole(kind, _ROOT_HALF))
        # a whole number k < 2^51 added to the bits of 1.5 * 2^52 is 1.5 * 2^52 + k
        exponent = builder.add(builder.ashr(bits, _whole(kind, 52)), _whole(kind, _SHIFT_BITS))
        parts = tuple(builder.bitcast(part, _real(kind)) for part in (fraction, exponent))
        return context.make_tuple(builder, sig.return_type, parts)

    return signature(types.UniTuple(kind, 2), kind), build


@inner()
def log_one_plus(x):
    """log(1 + x) within 2 units in the last place for -1 < x < 1e300; NaN from -1 down and for NaN."""
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
    small = fused(-s, fused(-z, series, f), fused(exponent, _LOG2_LOW, lost / whole))
    value = fused(exponent, _LOG2_HIGH, f + small)
    return where(x > -1.0, value, np.nan)
