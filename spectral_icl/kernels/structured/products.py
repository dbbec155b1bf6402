"""Products of a few long rows with each other: the sums over blocks or tasks of every pair of heads.

Rows are heads, contiguous over blocks or tasks. They are taken four by four, so that what is loaded is used
four times; no BLAS is called, whose threads cost more than they bring.
"""

from __future__ import annotations

from spectral_icl.kernels.compile import ALGEBRA, inner


@inner(fastmath=ALGEBRA)
def _square(left, right, h, k, out):
    """Fill the four by four entries of ``left`` ``right``^T from row ``h`` and column ``k`` on."""
    l0, l1, l2, l3 = left[h], left[h + 1], left[h + 2], left[h + 3]
    r0, r1, r2, r3 = right[k], right[k + 1], right[k + 2], right[k + 3]
    a00 = a01 = a02 = a03 = a10 = a11 = a12 = a13 = 0.0
    a20 = a21 = a22 = a23 = a30 = a31 = a32 = a33 = 0.0
    for n in range(left.shape[1]):
        x0, x1, x2, x3 = l0[n], l1[n], l2[n], l3[n]
        y0, y1, y2, y3 = r0[n], r1[n], r2[n], r3[n]
        a00 += x0 * y0
        a01 += x0 * y1
        a02 += x0 * y2
        a03 += x0 * y3
        a10 += x1 * y0
        a11 += x1 * y1
        a12 += x1 * y2
        a13 += x1 * y3
        a20 += x2 * y0
        a21 += x2 * y1
        a22 += x2 * y2
        a23 += x2 * y3
        a30 += x3 * y0
        a31 += x3 * y1
        a32 += x3 * y2
        a33 += x3 * y3
    out[h, k], out[h, k + 1], out[h, k + 2], out[h, k + 3] = a00, a01, a02, a03
    out[h + 1, k], out[h + 1, k + 1], out[h + 1, k + 2], out[h + 1, k + 3] = a10, a11, a12, a13
    out[h + 2, k], out[h + 2, k + 1], out[h + 2, k + 2], out[h + 2, k + 3] = a20, a21, a22, a23
    out[h + 3, k], out[h + 3, k + 1], out[h + 3, k + 2], out[h + 3, k + 3] = a30, a31, a32, a33


@inner(fastmath=ALGEBRA)
def _strip(left, right, h, first, stop, out):
    """Fill the entries of row ``h`` of ``left`` ``right``^T in some columns, one by one."""
    row = left[h]
    for k in range(first, stop):
        other = right[k]
        total = 0.0
        for n in range(row.size):
            total += row[n] * other[n]
        out[h, k] = total


@inner(fastmath=ALGEBRA)
def pair_sums(left, right, out):
    """Fill out_hk = sum_n left_hn right_kn."""
    heads = left.shape[0]
    whole = heads - heads % 4
    for h in range(0, whole, 4):
        for k in range(0, whole, 4):
            _square(left, right, h, k, out)
    for h in range(heads):
        _strip(left, right, h, whole if h < whole else 0, heads, out)


@inner(fastmath=ALGEBRA)
def even_pair_sums(left, right, out):
    """`pair_sums` where they are the same for h, k and k, h: half the work."""
    heads = left.shape[0]
    whole = heads - heads % 4
    for h in range(0, whole, 4):
        for k in range(0, h + 1, 4):
            _square(left, right, h, k, out)
    for h in range(whole, heads):
        _strip(left, right, h, 0, h + 1, out)
    for h in range(heads):
        for k in range(h):
            out[k, h] = out[h, k]


@inner(fastmath=ALGEBRA)
def mixed_rows(matrix, rows, out):
    """Add sum_k matrix_hk rows_kn to out_hn."""
    heads, size = out.shape
    whole = heads - heads % 4
    for h in range(0, whole, 4):
        o0, o1, o2, o3 = out[h], out[h + 1], out[h + 2], out[h + 3]
        m0, m1, m2, m3 = matrix[h], matrix[h + 1], matrix[h + 2], matrix[h + 3]
        for k in range(0, whole, 4):
            r0, r1, r2, r3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
            a00, a01, a02, a03 = m0[k], m0[k + 1], m0[k + 2], m0[k + 3]
            a10, a11, a12, a13 = m1[k], m1[k + 1], m1[k + 2], m1[k + 3]
            a20, a21, a22, a23 = m2[k], m2[k + 1], m2[k + 2], m2[k + 3]
            a30, a31, a32, a33 = m3[k], m3[k + 1], m3[k + 2], m3[k + 3]
            for n in range(size):
                x0, x1, x2, x3 = r0[n], r1[n], r2[n], r3[n]
                o0[n] += (a00 * x0 + a01 * x1) + (a02 * x2 + a03 * x3)
                o1[n] += (a10 * x0 + a11 * x1) + (a12 * x2 + a13 * x3)
                o2[n] += (a20 * x0 + a21 * x1) + (a22 * x2 + a23 * x3)
                o3[n] += (a30 * x0 + a31 * x1) + (a32 * x2 + a33 * x3)
    for h in range(heads):
        row = out[h]
        for k in range(whole if h < whole else 0, heads):
            factor, other = matrix[h, k], rows[k]
            for n in range(size):
                row[n] += factor * other[n]
