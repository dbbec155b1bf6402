"""Symmetric positive definite systems (row-major upper factor, contiguous inner loops)."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, inner

# The pivots of 1 + gamma h Q S Q start at 1 for h = 0; one this small is at the pole of the method.
_SAFE_PIVOT = 1e-12


@inner(fastmath=ALGEBRA)
def cholesky(matrix, size):
    """Factor the upper triangle in place as U^T U and return whether every pivot is safely positive.

    The diagonal of the factor holds reciprocals.
    """
    definite = matrix[0, 0] > _SAFE_PIVOT
    for first in range(0, size, 4):
        stop = min(first + 4, size)
        for k in range(first, stop):
            row = matrix[k]
            for q in range(first, k):
                above = matrix[q]
                factor = above[k]
                for j in range(k, size):
                    row[j] -= factor * above[j]
            definite = definite & (row[k] > _SAFE_PIVOT)
            inverse = 1.0 / np.sqrt(row[k])
            row[k] = inverse
            for j in range(k + 1, size):
                row[j] *= inverse
        if stop - first == 4:  # four rows at a time: the trailing block is read and written once for all
            row0, row1, row2, row3 = (
                matrix[first],
                matrix[first + 1],
                matrix[first + 2],
                matrix[first + 3],
            )
            for i in range(stop, size - 1, 2):
                f0, f1, f2, f3 = row0[i], row1[i], row2[i], row3[i]
                g0, g1, g2, g3 = row0[i + 1], row1[i + 1], row2[i + 1], row3[i + 1]
                row, next_row = matrix[i], matrix[i + 1]
                row[i] -= f0 * f0 + f1 * f1 + f2 * f2 + f3 * f3
                for j in range(i + 1, size):
                    r0, r1, r2, r3 = row0[j], row1[j], row2[j], row3[j]
                    row[j] -= f0 * r0 + f1 * r1 + f2 * r2 + f3 * r3
                    next_row[j] -= g0 * r0 + g1 * r1 + g2 * r2 + g3 * r3
            if (size - stop) % 2 == 1:
                f0, f1, f2, f3 = row0[size - 1], row1[size - 1], row2[size - 1], row3[size - 1]
                matrix[size - 1, size - 1] -= f0 * f0 + f1 * f1 + f2 * f2 + f3 * f3
    return definite


@inner(fastmath=ALGEBRA)
def cholesky_solve(matrix, size, rhs):
    """Solve U^T U y = rhs in place, four rows of the factor at a time."""
    whole = size - size % 4
    for first in range(0, whole, 4):
        row0, row1, row2, row3 = matrix[first], matrix[first + 1], matrix[first + 2], matrix[first + 3]
        y0 = rhs[first] * row0[first]
        y1 = (rhs[first + 1] - y0 * row0[first + 1]) * row1[first + 1]
        y2 = (rhs[first + 2] - y0 * row0[first + 2] - y1 * row1[first + 2]) * row2[first + 2]
        y3 = rhs[first + 3] - y0 * row0[first + 3] - y1 * row1[first + 3] - y2 * row2[first + 3]
        y3 *= row3[first + 3]
        rhs[first], rhs[first + 1], rhs[first + 2], rhs[first + 3] = y0, y1, y2, y3
        for j in range(first + 4, size):
            rhs[j] -= y0 * row0[j] + y1 * row1[j] + y2 * row2[j] + y3 * row3[j]
    for k in range(whole, size):
        y0 = rhs[k] * matrix[k, k]
        rhs[k] = y0
        for j in range(k + 1, size):
            rhs[j] -= y0 * matrix[k, j]
    for k in range(size - 1, whole - 1, -1):
        y0 = rhs[k]
        for j in range(k + 1, size):
            y0 -= matrix[k, j] * rhs[j]
        rhs[k] = y0 * matrix[k, k]
    for first in range(whole - 4, -1, -4):
        row0, row1, row2, row3 = matrix[first], matrix[first + 1], matrix[first + 2], matrix[first + 3]
        y0, y1, y2, y3 = rhs[first], rhs[first + 1], rhs[first + 2], rhs[first + 3]
        for j in range(first + 4, size):
            known = rhs[j]
            y0 -= row0[j] * known
            y1 -= row1[j] * known
            y2 -= row2[j] * known
            y3 -= row3[j] * known
        y3 *= row3[first + 3]
        y2 = (y2 - row2[first + 3] * y3) * row2[first + 2]
        y1 = (y1 - row1[first + 2] * y2 - row1[first + 3] * y3) * row1[first + 1]
        y0 = (y0 - row0[first + 1] * y1 - row0[first + 2] * y2 - row0[first + 3] * y3) * row0[first]
        rhs[first], rhs[first + 1], rhs[first + 2], rhs[first + 3] = y0, y1, y2, y3
