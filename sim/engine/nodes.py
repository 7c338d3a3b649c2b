"""Nodes of cores, L3 slices and memory, and the links between them (rule C9); femtoseconds."""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_NODE,
    H_LINK,
    H_NODE_STATE,
    H_NODES,
    H_PAGE_SHIFT,
    H_PAGES,
    M_LINES_SENT,
    M_LINKS,
    M_LOCAL_READS,
    M_REMOTE_READS,
    M_SIZE,
    PORT_SIZE,
    R_NODE,
    R_OTHERS,
    R_SIZE,
)
from sim.engine.port import pass_line


@njit
def node_of(S: Flat, line: int) -> int:
    """The node that a line lies in."""
    if S[H_NODES] == 1:
        return 0
    return S[S[H_PAGES] + (line >> S[H_PAGE_SHIFT]) * R_SIZE + R_NODE]


@njit
def number_of(S: Flat, line: int) -> int:
    """The number of a line among those of its node."""
    if S[H_NODES] == 1:
        return line
    return line - S[S[H_PAGES] + (line >> S[H_PAGE_SHIFT]) * R_SIZE + R_OTHERS]


@njit
def cross(S: Flat, source: int, target: int, t: int) -> int:
    """A line that comes at ``t`` to the link between two nodes; returns when it is on its way."""
    if source == target:
        return t
    node = S[H_NODE_STATE] + source * M_SIZE
    S[node + M_LINES_SENT] += 1
    return pass_line(S, node + M_LINKS + target * PORT_SIZE, t, S[H_LINK])


@njit
def count_read(S: Flat, core: int, line: int) -> None:
    """A line is read from memory for a core."""
    node = node_of(S, line)
    counter = M_LOCAL_READS if S[core + C_NODE] == node else M_REMOTE_READS
    S[S[H_NODE_STATE] + node * M_SIZE + counter] += 1
