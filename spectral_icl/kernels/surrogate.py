"""The overlap of two attentions as a table: smooth functions of the variances and covariance of their logits.

Given the query, the logits of heads h and k are jointly normal with variances al, be and covariance ga. With
K = E p.r the overlap of their attentions p and r, and D = 1 - E |p|^2, a table holds for one context length

    log L E |p|^2                       as a Chebyshev series in one variable,
    S = -log K / sqrt(E |p|^2 E |r|^2)  as a polynomial, zero where p = r,
    Y = (4 M - D_h D_k) / sqrt(E |p|^2 E |r|^2)  as another, M = E (1 - |p|^2)(1 - |r|^2) / 4,

in the entries of the Gram matrix of the logits' directions, each direction shortened so that all of its
length fits the table: x = al e_h^2, y = be e_k^2 and g = ga e_h e_k with e^2 = 1 / ((1 + al / BEND) top) and
top the value of al / (1 + al / BEND) at the largest al. The polynomials are symmetric in h and k, and
functions of u = x + y - 1, (x - y)^2 and g, all of them within [-1, 1]; (x - y)^2 counts as two degrees.

Whatever is made of the surrogate is made of its exact derivatives, so that a gradient is the gradient of its
loss. Values are of vectors of lanes: of several queries of one problem, or of several problems.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.elementary import exponential
from spectral_icl.kernels.lanes import everywhere

BEND = 8.0  # logit variance at which a direction is shortened by half
SINGLE = 48  # terms of the series
DEGREE = 14  # of the polynomials

# Rows of what is kept of a head at a query.
VARIANCE, SHORT, ROOT, FIRST, SECOND, THIRD, HELD, HELD_1, HELD_2 = range(9)
HEAD = 9

# Rows of a function of (al, be, ga) with its derivatives.
(
    VALUE,
    A,
    B,
    G,
    AA,
    AB,
    AG,
    BB,
    BG,
    GG,
    AAA,
    AAB,
    AAG,
    ABB,
    ABG,
    AGG,
    BBB,
    BBG,
    BGG,
    GGG,
) = range(20)
ROWS = 20


def terms(degree: int) -> list[tuple[int, int, int]]:
    """Powers (of (x - y)^2, g and u) of the terms of a polynomial, in the order of its coefficients."""
    return [
        (k, j, i)
        for k in range(degree // 2 + 1)
        for j in range(degree - 2 * k + 1)
        for i in range(degree - 2 * k - j + 1)
    ]


@inner(fastmath=ALGEBRA)
def single(model, variance, head):
    """Fill the rows of a head whose logits have this variance.

    SHORT is 1 / (1 + al / BEND), ROOT the root of L E |p|^2, FIRST to THIRD are derivatives of half the
    logarithm of E |p|^2, and HELD, HELD_1 and HELD_2 are D and its derivatives.
    """
    short = 1.0 / (1.0 + variance * (1.0 / BEND))
    top = model.reach / (1.0 + model.reach * (1.0 / BEND))
    x = 2.0 * variance * short / top - 1.0
    series = model.single
    # Clenshaw's recurrence and its derivatives
    zero = 0.0 * x
    a0, a1, b0, b1, c0, c1, d0, d1 = zero, zero, zero, zero, zero, zero, zero, zero
    for n in range(series.size - 1, 0, -1):
        a0, a1, b0, b1, c0, c1, d0, d1 = (
            2.0 * x * a0 - a1 + series[n],
            a0,
            2.0 * (x * b0 + a0) - b1,
            b0,
            2.0 * (x * c0 + 2.0 * b0) - c1,
            c0,
            2.0 * (x * d0 + 3.0 * c0) - d1,
            d0,
        )
    value = x * a0 - a1 + series[0]
    by_x = x * b0 + a0 - b1
    by_xx = x * c0 + 2.0 * b0 - c1
    by_xxx = x * d0 + 3.0 * c0 - d1
    bent = short * (1.0 / BEND)
    slope = 2.0 * short * short / top
    first = slope * by_x
    second = slope * (slope * by_xx - 2.0 * bent * by_x)
    third = slope * (slope * slope * by_xxx - 6.0 * bent * slope * by_xx + 6.0 * bent * bent * by_x)
    size = model.inverse_length * exponential(value)
    head[VARIANCE] = variance
    head[SHORT] = short
    head[ROOT] = exponential(0.5 * value)
    head[FIRST], head[SECOND], head[THIRD] = 0.5 * first, 0.5 * second, 0.5 * third
    head[HELD] = 1.0 - size
    head[HELD_1] = -first * size
    head[HELD_2] = -(second + first * first) * size


@inner(fastmath=ALGEBRA)
def _taylor(coefficients, degree, order, u, g, z, planes, out):
    """Fill ``out`` (4, 4, 4) with the Taylor coefficients of a polynomial up to an order in all.

    By powers of u, of g and of z = (x - y)^2. ``planes`` (4, 4) is scratch.
    """
    zero = 0.0 * u
    for m in range(order + 1):
        for n in range(order + 1 - m):
            for k in range(order + 1 - m - n):
                out[m, n, k] = zero
    at = coefficients.size - 1
    for k in range(degree // 2, -1, -1):
        for m in range(order + 1):
            for n in range(order + 1 - m):
                planes[m, n] = zero
        for j in range(degree - 2 * k, -1, -1):
            a0, a1, a2, a3 = zero, zero, zero, zero
            for _ in range(degree - 2 * k - j + 1):
                if order > 2:
                    a3 = a3 * u + a2
                if order > 1:
                    a2 = a2 * u + a1
                a1 = a1 * u + a0
                a0 = a0 * u + coefficients[at]
                at -= 1
            for m in range(order + 1):
                for n in range(order - m, 0, -1):
                    planes[m, n] = planes[m, n] * g + planes[m, n - 1]
            planes[0, 0] = planes[0, 0] * g + a0
            planes[1, 0] = planes[1, 0] * g + a1
            if order > 1:
                planes[2, 0] = planes[2, 0] * g + a2
            if order > 2:
                planes[3, 0] = planes[3, 0] * g + a3
        for m in range(order + 1):
            for n in range(order + 1 - m):
                for i in range(order - m - n, 0, -1):
                    out[m, n, i] = out[m, n, i] * z + out[m, n, i - 1]
                out[m, n, 0] = out[m, n, 0] * z + planes[m, n]


@inner(fastmath=ALGEBRA)
def _by_gram(order, d, t, out):
    """Turn Taylor coefficients in u, g and (x - y)^2 into derivatives by x, y and g; d = x - y.

    Rows as in a function of (al, be, ga), with x, y and g in their place.
    """
    out[VALUE] = t[0, 0, 0]
    by_u, by_d = t[1, 0, 0], 2.0 * d * t[0, 0, 1]
    out[A], out[B], out[G] = by_u + by_d, by_u - by_d, t[0, 1, 0]
    if order > 1:
        uu, ud, dd = 2.0 * t[2, 0, 0], 2.0 * d * t[1, 0, 1], 2.0 * t[0, 0, 1] + 8.0 * d * d * t[0, 0, 2]
        ug, dg = t[1, 1, 0], 2.0 * d * t[0, 1, 1]
        out[AA], out[BB], out[AB] = uu + 2.0 * ud + dd, uu - 2.0 * ud + dd, uu - dd
        out[AG], out[BG], out[GG] = ug + dg, ug - dg, 2.0 * t[0, 2, 0]
    if order > 2:
        uuu, uud = 6.0 * t[3, 0, 0], 4.0 * d * t[2, 0, 1]
        udd = 2.0 * t[1, 0, 1] + 8.0 * d * d * t[1, 0, 2]
        ddd = 24.0 * d * t[0, 0, 2] + 48.0 * d * d * d * t[0, 0, 3]
        uug, udg = 2.0 * t[2, 1, 0], 2.0 * d * t[1, 1, 1]
        ddg = 2.0 * t[0, 1, 1] + 8.0 * d * d * t[0, 1, 2]
        ugg, dgg = 2.0 * t[1, 2, 0], 4.0 * d * t[0, 2, 1]
        out[AAA], out[BBB] = uuu + 3.0 * (uud + udd) + ddd, uuu - 3.0 * (uud - udd) - ddd
        out[AAB], out[ABB] = uuu + uud - udd - ddd, uuu - uud - udd + ddd
        out[AAG], out[BBG], out[ABG] = uug + 2.0 * udg + ddg, uug - 2.0 * udg + ddg, uug - ddg
        out[AGG], out[BGG], out[GGG] = ugg + dgg, ugg - dgg, 6.0 * t[0, 3, 0]


@inner(fastmath=ALGEBRA)
def _by_variance(order, top, p, q, g, f):
    """Turn derivatives by x, y and g into derivatives by al, be and ga, in place.

    ``p`` and ``q`` are SHORT of the two heads. With ' for derivatives by its own variance, x' = p^2 / top and
    p' = -p^2 / BEND; and g = ga e_h e_k, e' = -p e / (2 BEND).
    """
    s, r = p * (1.0 / BEND), q * (1.0 / BEND)
    x1, y1 = p * p / top, q * q / top
    x2, y2 = -2.0 * s * x1, -2.0 * r * y1
    e = np.sqrt(p * q) / top  # of g by ga
    ga, gb = -0.5 * s * g, -0.5 * r * g
    ea, eb = -0.5 * s * e, -0.5 * r * e
    fx, fy, fg = f[A], f[B], f[G]
    f[A], f[B], f[G] = x1 * fx + ga * fg, y1 * fy + gb * fg, e * fg
    if order > 1:
        fxx, fxy, fxg, fyy, fyg, fgg = f[AA], f[AB], f[AG], f[BB], f[BG], f[GG]
        gaa, gab, gbb = 0.75 * s * s * g, 0.25 * s * r * g, 0.75 * r * r * g
        eaa, eab, ebb = 0.75 * s * s * e, 0.25 * s * r * e, 0.75 * r * r * e
        xg, yg = x1 * fxg + ga * fgg, y1 * fyg + gb * fgg  # of fg by al and by be
        f[AA] = x2 * fx + gaa * fg + x1 * (x1 * fxx + 2.0 * ga * fxg) + ga * ga * fgg
        f[BB] = y2 * fy + gbb * fg + y1 * (y1 * fyy + 2.0 * gb * fyg) + gb * gb * fgg
        f[AB] = gab * fg + x1 * (y1 * fxy + gb * fxg) + ga * yg
        f[AG], f[BG], f[GG] = ea * fg + e * xg, eb * fg + e * yg, e * e * fgg
    if order > 2:
        fxxx, fxxy, fxxg, fxyy, fxyg = f[AAA], f[AAB], f[AAG], f[ABB], f[ABG]
        fxgg, fyyy, fyyg, fygg, fggg = f[AGG], f[BBB], f[BBG], f[BGG], f[GGG]
        x3, y3 = -3.0 * s * x2, -3.0 * r * y2
        gaaa, gbbb = -1.875 * s * s * s * g, -1.875 * r * r * r * g
        gaab, gabb = -0.5 * r * gaa, -0.5 * s * gbb
        xgg, ygg = x1 * fxgg + ga * fggg, y1 * fygg + gb * fggg
        xy, xyg = y1 * fxy + gb * fxg, y1 * fxyg + gb * fxgg  # of fx and of fxg by be
        yx, yxg = x1 * fxy + ga * fyg, x1 * fxyg + ga * fygg  # of fy and of fyg by al
        f[AAA] = (
            x3 * fx
            + gaaa * fg
            + 3.0 * (x1 * x2 * fxx + (x2 * ga + x1 * gaa) * fxg + ga * gaa * fgg)
            + x1 * x1 * (x1 * fxxx + 3.0 * ga * fxxg)
            + ga * ga * (3.0 * x1 * fxgg + ga * fggg)
        )
        f[BBB] = (
            y3 * fy
            + gbbb * fg
            + 3.0 * (y1 * y2 * fyy + (y2 * gb + y1 * gbb) * fyg + gb * gbb * fgg)
            + y1 * y1 * (y1 * fyyy + 3.0 * gb * fyyg)
            + gb * gb * (3.0 * y1 * fygg + gb * fggg)
        )
        f[AAB] = (
            gaab * fg
            + gaa * yg
            + x2 * xy
            + x1 * x1 * (y1 * fxxy + gb * fxxg)
            + 2.0 * (x1 * (gab * fxg + ga * xyg) + ga * gab * fgg)
            + ga * ga * ygg
        )
        f[ABB] = (
            gabb * fg
            + gbb * xg
            + y2 * yx
            + y1 * y1 * (x1 * fxyy + ga * fyyg)
            + 2.0 * (y1 * (gab * fyg + gb * yxg) + gb * gab * fgg)
            + gb * gb * xgg
        )
        f[AAG] = (
            eaa * fg
            + 2.0 * ea * xg
            + e * (x2 * fxg + gaa * fgg + x1 * (x1 * fxxg + 2.0 * ga * fxgg) + ga * ga * fggg)
        )
        f[BBG] = (
            ebb * fg
            + 2.0 * eb * yg
            + e * (y2 * fyg + gbb * fgg + y1 * (y1 * fyyg + 2.0 * gb * fygg) + gb * gb * fggg)
        )
        f[ABG] = eab * fg + ea * yg + eb * xg + e * (x1 * xyg + gab * fgg + ga * ygg)
        f[AGG] = e * (2.0 * ea * fgg + e * xgg)
        f[BGG] = e * (2.0 * eb * fgg + e * ygg)
        f[GGG] = e * e * e * fggg


@inner(fastmath=ALGEBRA)
def _exponentiated(order, size, f):
    """Turn the derivatives of F = log(f / size) into those of f, in place; VALUE holds F."""
    k = size * exponential(f[VALUE])
    fa, fb, fg = f[A], f[B], f[G]
    if order > 2:
        faa, fab, fag, fbb, fbg, fgg = f[AA], f[AB], f[AG], f[BB], f[BG], f[GG]
        f[AAA] = k * (f[AAA] + fa * (3.0 * faa + fa * fa))
        f[AAB] = k * (f[AAB] + faa * fb + fa * (2.0 * fab + fa * fb))
        f[AAG] = k * (f[AAG] + faa * fg + fa * (2.0 * fag + fa * fg))
        f[ABB] = k * (f[ABB] + fbb * fa + fb * (2.0 * fab + fa * fb))
        f[ABG] = k * (f[ABG] + fab * fg + fag * fb + fa * (fbg + fb * fg))
        f[AGG] = k * (f[AGG] + fgg * fa + fg * (2.0 * fag + fa * fg))
        f[BBB] = k * (f[BBB] + fb * (3.0 * fbb + fb * fb))
        f[BBG] = k * (f[BBG] + fbb * fg + fb * (2.0 * fbg + fb * fg))
        f[BGG] = k * (f[BGG] + fgg * fb + fg * (2.0 * fbg + fb * fg))
        f[GGG] = k * (f[GGG] + fg * (3.0 * fgg + fg * fg))
    if order > 1:
        f[AA], f[AB], f[AG] = k * (f[AA] + fa * fa), k * (f[AB] + fa * fb), k * (f[AG] + fa * fg)
        f[BB], f[BG], f[GG] = k * (f[BB] + fb * fb), k * (f[BG] + fb * fg), k * (f[GG] + fg * fg)
    f[VALUE], f[A], f[B], f[G] = k, k * fa, k * fb, k * fg


@inner(fastmath=ALGEBRA)
def pair(model, one, two, covariance, order, work):
    """Fill ``work.overlap`` with K and ``work.spare`` with 4 M - D_h D_k, of heads with these rows.

    K with its derivatives up to ``order``, 1 to 3, the other up to one less, but at least the first.
    """
    k, c = work.overlap, work.spare
    top = model.reach / (1.0 + model.reach * (1.0 / BEND))
    p, q = one[SHORT], two[SHORT]
    x, y = one[VARIANCE] * p / top, two[VARIANCE] * q / top
    g = covariance * np.sqrt(p * q) / top
    u, d = x + y - 1.0, x - y
    size = model.inverse_length * one[ROOT] * two[ROOT]

    _taylor(model.pair, DEGREE, order, u, g, d * d, work.planes, work.taylor)
    _by_gram(order, d, work.taylor, k)
    _by_variance(order, top, p, q, g, k)
    for n in range(4 if order == 1 else 10 if order == 2 else 20):
        k[n] = -k[n]
    k[A] += one[FIRST]
    k[B] += two[FIRST]
    if order > 1:
        k[AA] += one[SECOND]
        k[BB] += two[SECOND]
    if order > 2:
        k[AAA] += one[THIRD]
        k[BBB] += two[THIRD]
    _exponentiated(order, size, k)

    less = order - 1 if order > 1 else 1
    _taylor(model.cross, DEGREE, less, u, g, d * d, work.planes, work.taylor)
    _by_gram(less, d, work.taylor, c)
    _by_variance(less, top, p, q, g, c)
    value, ca, cb, cg, ha, hb = c[VALUE], c[A], c[B], c[G], one[FIRST], two[FIRST]
    if less > 1:
        c[AA] = size * (c[AA] + 2.0 * ha * ca + (one[SECOND] + ha * ha) * value)
        c[BB] = size * (c[BB] + 2.0 * hb * cb + (two[SECOND] + hb * hb) * value)
        c[AB] = size * (c[AB] + ha * cb + hb * ca + ha * hb * value)
        c[AG], c[BG], c[GG] = size * (c[AG] + ha * cg), size * (c[BG] + hb * cg), size * c[GG]
    c[VALUE] = size * value
    c[A], c[B], c[G] = size * (ca + ha * value), size * (cb + hb * value), size * cg


@inner()
def blank(values):
    """Fill an array of lanes, of any shape, with zeros."""
    flat = values.reshape(values.size)
    for n in range(flat.size):
        flat[n] = everywhere(0.0)
