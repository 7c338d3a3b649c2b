"""A port that passes one line after another, which need not come in the order of time (rule M4)."""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import PORT_LINES, W_PASSED, W_STARTS

MASK = PORT_LINES - 1


@njit
def pass_line(S: Flat, port: int, t: int, length: int) -> int:
    """Pass a line that comes at ``t``; returns its start: the first time free for ``length``.

    The ring keeps the latest starts in ascending order. Before the earliest it is never free.
    """
    ring = port + W_STARTS
    end = S[port + W_PASSED]
    oldest = max(end - PORT_LINES, 0)
    if end >= PORT_LINES:
        t = max(t, S[ring + (oldest & MASK)] + length)
    i = end
    while i > oldest and S[ring + ((i - 1) & MASK)] + length > t:
        i -= 1
    start = t
    while i < end and S[ring + (i & MASK)] < start + length:
        start = S[ring + (i & MASK)] + length
        i += 1
    for j in range(end, i, -1):
        S[ring + (j & MASK)] = S[ring + ((j - 1) & MASK)]
    S[ring + (i & MASK)] = start
    S[port + W_PASSED] = end + 1
    return start
