"""Data races: accesses of two cores to the same bytes, one of them a store, in no certain order.

A simulated run has one order of everything, so a program that races gives the same values every
time, on this machine. What is *certain* is what `signal` and `wait` enforce on every machine: an
access comes before another if, with its core held in front of it for ever, the other could never
be reached. Counters only grow, so holding one core and letting all others run as far as they can
has one outcome, and the question an exact answer, as far as every core would signal and wait as it
did in the run. (So a wait for 1 behind two signallers is ordered behind neither of them, one for 2
behind both; one signaller's n-th signal comes before every wait for n.)

A core's *segment* is a stretch between two of its signals and waits, numbered from 0: all that lies
in one is ordered alike. Bytes are looked at in the order of the run, against the last store and
every core's last load, as in FastTrack (Flanagan and Freund, PLDI 2009): of racing accesses the
first is found, and nothing is reported that is ordered.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.disassembler import format_instruction
from isa.encoding import Instr
from isa.memory import MemoryMap
from isa.program import Program
from isa.state import State
from sim.reference.pieces import control_words, memory_rows
from sim.result import Race

NOBODY = -1
Numbers = NDArray[np.int64]


class Sync(NamedTuple):
    """A `wait` for a count, or a `signal`."""

    counter: int
    awaited: int | None = None


class Site(NamedTuple):
    """An instruction that accesses memory, in one segment of its core."""

    core: int
    segment: int
    pc: int
    region: int
    store: bool


class Order:
    """What comes before what, however fast each core is.

    ``reach[core][segment][other]``: so many signals and waits ``other`` can pass while ``core`` is
    held in that segment.
    """

    def __init__(self, syncs: list[list[Sync]]) -> None:
        self.syncs = syncs
        self.reach = [self._held(core) for core in range(len(syncs))]

    def before(self, a: Site, b: Site) -> bool:
        """Whether ``a`` comes before ``b``, accesses of different cores."""
        return self.reach[a.core][a.segment][b.core] < b.segment

    def _held(self, core: int) -> list[list[int]]:
        """How far all get with one core held in each of its segments, one after another."""
        passed = [0] * len(self.syncs)
        counters: defaultdict[int, int] = defaultdict(int)
        reach = []
        others = [other for other in range(len(passed)) if other != core]
        for sync in [*self.syncs[core], None]:
            while any(self._advance(other, passed, counters) for other in others):
                pass
            reach.append(passed.copy())
            if sync and sync.awaited is None:
                counters[sync.counter] += 1
        return reach

    def _advance(self, core: int, passed: list[int], counters: defaultdict[int, int]) -> bool:
        """Let a core run as far as it can; returns whether it signalled."""
        syncs, signalled = self.syncs[core], False
        while passed[core] < len(syncs):
            counter, awaited = syncs[passed[core]]
            if awaited is None:
                counters[counter] += 1
                signalled = True
            elif counters[counter] < awaited:
                break
            passed[core] += 1
        return signalled


class Recording:
    """What the cores of one run access, in the order of the run, and how they wait.

    Control words are given negative addresses, below tensor memory.
    """

    def __init__(self, cores: int, control_bytes: int) -> None:
        self.control_bytes = control_bytes
        self.syncs: list[list[Sync]] = [[] for _ in range(cores)]
        self.sites: dict[Site, int] = {}
        self.ranges = array("q")  # site, first byte, end; and so on

    def see(self, core: int, state: State, instr: Instr) -> None:
        """Note an instruction that is about to be executed."""
        if instr.mnemonic == "signal":
            self.syncs[core].append(Sync(instr.operands[0]))
        elif instr.mnemonic == "wait":
            self.syncs[core].append(Sync(instr.operands[0], state.x[instr.operands[1]]))
        elif instr.row.cls in ("load", "store", "control"):
            store = instr.row.cls == "store" or instr.mnemonic == "st"
            site = Site(core, len(self.syncs[core]), state.pc, state.region, store)
            number = self.sites.setdefault(site, len(self.sites))
            for address in control_words(state, instr):
                low = address - self.control_bytes
                self.ranges.extend((number, low, low + 8))
            for address, nbytes in memory_rows(state, instr) if instr.row.access else ():
                self.ranges.extend((number, address, address + nbytes))


class Shadow:
    """Per stretch of bytes, all between two neighbours of ``cuts``: who accessed it last.

    ``store`` holds the site of the last store, ``loads`` that of every core's last load.
    """

    def __init__(self, cores: int, cuts: Numbers) -> None:
        self.store = np.full(len(cuts), NOBODY)
        self.loads = np.full((cores, len(cuts)), NOBODY)

    def access(self, number: int, site: Site, stretch: slice) -> Numbers:
        """Put an access in; returns earlier ones it must be ordered with, a row for each kind."""
        before = self.store[stretch][None].copy()
        if site.store:
            before = np.concatenate([before, self.loads[:, stretch]])
            self.store[stretch] = number
        else:
            self.loads[site.core, stretch] = number
        return before


class RaceCheck:
    """Give it to a `ReferenceCpu`; ``races`` are those of all runs, each pair of sites once."""

    def __init__(self) -> None:
        self.programs: list[Program] = []
        self.memory = MemoryMap()
        self._found: dict[tuple[tuple[int, int], tuple[int, int]], Race] = {}
        self._recording: Recording | None = None

    def begin(self, programs: list[Program], memory: MemoryMap) -> Recording:
        """A run begins, ordered behind the one before."""
        self._close()
        self.programs, self.memory = programs, memory
        self._recording = Recording(len(programs), memory.control_bytes)
        return self._recording

    @property
    def races(self) -> list[Race]:
        """The races of all runs so far."""
        self._close()
        return list(self._found.values())

    def _close(self) -> None:
        """Look at what was recorded."""
        if self._recording:
            recording, self._recording = self._recording, None
            self._analyse(recording)

    def _analyse(self, recording: Recording) -> None:
        sites = list(recording.sites)
        ranges = np.array(recording.ranges, dtype=np.int64).reshape(-1, 3)
        ranges = _near_stores(ranges, np.array([site.store for site in sites], dtype=bool))
        order = Order(recording.syncs)
        cuts = np.unique(ranges[:, 1:])
        shadow = Shadow(len(recording.syncs), cuts)
        stretches = np.searchsorted(cuts, ranges[:, 1:])
        for (number, _, _), (first, end) in zip(ranges.tolist(), stretches.tolist(), strict=True):
            site = sites[number]
            before = shadow.access(number, site, slice(first, end))
            for other in np.unique(before).tolist():
                if other == NOBODY or sites[other].core == site.core:
                    continue
                if not order.before(sites[other], site):
                    index = first + int((before == other).any(axis=0).argmax())
                    self._report(int(cuts[index]), sites[other], site)

    def _report(self, address: int, first: Site, second: Site) -> None:
        pair = ((first.core, first.pc), (second.core, second.pc))
        if pair not in self._found:
            self._found[pair] = Race(
                self._place(address), self._describe(first), self._describe(second)
            )

    def _place(self, address: int) -> str:
        if address < 0:
            return f"control segment, byte {address + self.memory.control_bytes:#x}"
        tensor = self.memory.find(address)
        return f"tensor {tensor.name}, byte {address - tensor.address:#x}" if tensor else ""

    def _describe(self, site: Site) -> str:
        program = self.programs[site.core]
        text = format_instruction(program.instruction(site.pc))
        kind = "stores" if site.store else "loads"
        operator = program.regions.get(site.region, "")
        behind = f", in operator {site.region} {operator}".rstrip() if site.region else ""
        return f"core {site.core} {kind} at pc {site.pc}: {text}{behind}"


def _near_stores(ranges: Numbers, stores: NDArray[np.bool_]) -> Numbers:
    """Those of the ranges that touch a byte that is stored anywhere: few, weights are only read."""
    if not len(ranges):
        return ranges
    stored = ranges[stores[ranges[:, 0]], 1:]
    stored = stored[np.argsort(stored[:, 0], kind="stable")]
    ends = np.maximum.accumulate(stored[:, 1]) if len(stored) else stored[:, 1]
    # Of the stores that begin before a range's end, the one that reaches furthest.
    last = np.searchsorted(stored[:, 0], ranges[:, 2]) - 1
    touched = (last >= 0) & (np.append(ends, 0)[last] > ranges[:, 1])
    return ranges[touched]
