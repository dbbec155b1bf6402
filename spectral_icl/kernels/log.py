"""The steps of many flows in one list, as they come."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import inner, maker
from spectral_icl.kernels.model import Log, Nodes


@maker
def with_room(log, rows):
    """The log, copied to twice its size if it has no more room for so many rows."""
    if log.used[0] + rows <= log.t.size:
        return log
    count, room = log.t.size, 2 * log.t.size + rows
    orders, size = log.dense.shape[1:]
    more = Log(
        log.first,
        log.limit,
        log.used,
        log.last,
        np.empty(room, dtype=np.int64),
        np.empty(room),
        np.empty((room, size)),
        np.empty((room, orders, size)),
    )
    for row in range(count):
        more.before[row] = log.before[row]
        more.t[row] = log.t[row]
        for n in range(size):
            more.x[row, n] = log.x[row, n]
            for k in range(orders):
                more.dense[row, k, n] = log.dense[row, k, n]
    return more


@inner()
def write(log, p, t):
    """A new row of the log for a flow; returns its number."""
    row = log.used[0]
    log.used[0] += 1
    log.before[row] = log.last[p - log.first]
    log.last[p - log.first] = row
    log.t[row] = t
    return row


@maker
def nodes_of(log, p):
    """The nodes of flow ``p`` of a log, in order."""
    count, row = 0, log.last[p - log.first]
    while row >= 0:
        count += 1
        row = log.before[row]
    orders, size = log.dense.shape[1:]
    nodes = Nodes(np.empty(count), np.empty((count, size)), np.empty((count - 1, orders, size)))
    row = log.last[p - log.first]
    for k in range(count - 1, -1, -1):
        nodes.t[k] = log.t[row]
        for n in range(size):
            nodes.x[k, n] = log.x[row, n]
            if k > 0:
                for m in range(orders):
                    nodes.dense[k - 1, m, n] = log.dense[row, m, n]
        row = log.before[row]
    return nodes
