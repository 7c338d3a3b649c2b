"""The invariant of coherence (rule C1), looked at from outside: no rule of the machine is here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from isa.errors import InternalError
from sim.engine import layout as at


def tags(S: NDArray[np.int64], cfg: int, state: int) -> dict[int, int]:
    """Line number -> tag word of everything one cache (of L3: one slice) holds."""
    sets, size, ways = (int(S[cfg + n]) for n in (at.L_SETS, at.L_SET_WORDS, at.L_WAYS))
    words = S[state + at.V_TAGS :][: sets * size].reshape(sets, size)[:, :ways]
    return {int(word) >> at.TAG_SHIFT: int(word) for word in words.flat if word >= 0}


def check_coherence(S: NDArray[np.int64]) -> None:
    """Raise `InternalError` naming line, cores and states if two caches contradict each other."""
    for line, wrong in contradictions(S):
        states = ", ".join(
            f"core {i} {name} {_state(held[line])}"
            for i, caches in enumerate(private_caches(S))
            for name, held in zip(("L1", "L2"), caches, strict=False)
            if line in held
        )
        raise InternalError(f"line {line}: {wrong} ({states or 'held nowhere'})")


def private_caches(S: NDArray[np.int64]) -> list[list[dict[int, int]]]:
    """Per core the contents of its levels."""
    levels = [(at.C_L1, at.H_LEVEL1), (at.C_L2, at.H_LEVEL2)]
    cores = [int(S[at.H_CORE_BASE] + i * S[at.H_CORE_STRIDE]) for i in range(int(S[at.H_CORES]))]
    return [
        [
            tags(S, int(S[core + cfg]), core + int(S[state]))
            for cfg, state in levels
            if S[S[core + cfg] + at.L_PRESENT]
        ]
        for core in cores
    ]


def contradictions(S: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Line and what is wrong with it."""
    holders: dict[int, dict[int, int]] = {}  # line -> core -> flags of all its copies
    for core, caches in enumerate(private_caches(S)):
        for held in caches:
            for line, word in held.items():
                before = holders.setdefault(line, {}).get(core, word)
                if (before ^ word) & at.TAG_SHARED:
                    yield line, f"core {core} may and may not write it"
                holders[line][core] = before | word
    if S[S[at.H_L3] + at.L_INCLUSIVE]:
        yield from ((line, "not in the inclusive L3") for line in holders.keys() - _l3_lines(S))
    if not S[at.H_DIRECTORY]:
        return
    for line, cores in holders.items():
        entry = int(S[S[at.H_DIRECTORY] + line * at.Y_SIZE + at.Y_HOLDERS])
        for core, word in cores.items():
            if not entry >> core & 1:
                yield line, f"core {core} is not in its set"
            if not word & at.TAG_SHARED:
                if len(cores) > 1:
                    yield line, f"core {core} may write it, and others hold it"
                if entry != at.OWNER | 1 << core:
                    yield line, f"core {core} may write it and is not its owner"
            elif word & at.TAG_DIRTY:
                yield line, f"shared and dirty in core {core}"


def _l3_lines(S: NDArray[np.int64]) -> set[int]:
    cfg, state = int(S[at.H_L3]), int(S[at.H_L3_STATE])
    slices, size = int(S[cfg + at.L_SLICES] * S[at.H_NODES]), int(S[cfg + at.L_SLICE_SIZE])
    return {line for i in range(slices) for line in tags(S, cfg, state + i * size)}


def _state(word: int) -> str:
    if word & at.TAG_SHARED:
        return "shared" + (" and dirty" if word & at.TAG_DIRTY else "")
    return "modified" if word & at.TAG_DIRTY else "exclusive"
