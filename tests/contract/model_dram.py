"""Main memory, and the way of a single miss to it and back.

Written from docs/timing.md alone, following its words as directly as it can; it shares no line
with the engine, so that the two can only agree about the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.machine import Machine
from tests.contract.harness import ceil_div, cycle_fs, first_cycle_from, fs

# --- DRAM (D1-D7) ---------------------------------------------------------------------------------


@dataclass
class Bank:
    """One bank: the open row, and from when on it takes the next commands."""

    row: int | None = None
    period: int = 0
    column_from: int = 0
    precharge_from: int = 0


@dataclass
class Channel:
    """One channel: its banks, its data bus in burst slots, its waiting writes."""

    banks: list[Bank]
    taken: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)
    read_end: int | None = None
    write_end: int | None = None


class Dram:
    """Main memory; all times in femtoseconds."""

    def __init__(self, m: Machine) -> None:
        self.d = d = m.dram
        self.lines_per_row = d.row_bytes // m.l1.line
        self.burst = fs(m.l1.line / d.gigabytes_per_second)
        self.channels = [Channel([Bank() for _ in range(d.banks)]) for _ in range(d.channels)]
        self.counts = dict.fromkeys(
            ("reads", "writes", "row_hits", "row_misses", "row_conflicts", "write_batches"), 0
        )

    def place(self, line: int) -> tuple[int, int, int]:
        """Channel, bank and row of a line (D1)."""
        channel = line % self.d.channels
        group = line // self.d.channels // self.lines_per_row
        row = group // self.d.banks
        return channel, (group + row) % self.d.banks, row

    def read(self, line: int, arrival: int) -> int:
        """Returns when the last byte has come."""
        self.counts["reads"] += 1
        channel = self.channels[self.place(line)[0]]
        after = None if channel.write_end is None else channel.write_end + fs(self.d.twtr_ns)
        end = self._access(line, arrival + fs(self.d.controller_ns), after, write=False)
        channel.read_end = max(channel.read_end or 0, end)
        return end

    def write(self, line: int, arrival: int) -> None:
        """Queue a line; a full batch is written (D6)."""
        self.counts["writes"] += 1
        channel = self.channels[self.place(line)[0]]
        channel.waiting.append(line)
        if len(channel.waiting) < self.d.write_batch:
            return
        self.counts["write_batches"] += 1
        after = None if channel.read_end is None else channel.read_end + fs(self.d.trtw_ns)
        start = arrival + fs(self.d.controller_ns)
        ends = [self._access(waiting, start, after, write=True) for waiting in channel.waiting]
        channel.waiting.clear()
        channel.write_end = max(channel.write_end or 0, *ends)

    def _access(self, line: int, t: int, bus_after: int | None, *, write: bool) -> int:
        d = self.d
        number, bank_number, row = self.place(line)
        channel = self.channels[number]
        bank = channel.banks[bank_number]
        refi, rfc = fs(d.trefi_ns), fs(d.trfc_ns) if d.trefi_ns else 0
        period = max(t // refi, bank.period) if refi else 0
        while True:  # D5: an access begins and ends between two refreshes
            start = max(t, period * refi + rfc)
            opened = bank.row if bank.period == period else None
            if opened == row:
                kind, column = "row_hits", max(start, bank.column_from)
            elif opened is None:
                kind, activation = "row_misses", start
                column = activation + fs(d.trcd_ns)
            else:
                kind, activation = "row_conflicts", max(start, bank.precharge_from) + fs(d.trp_ns)
                column = activation + fs(d.trcd_ns)
            data = column + fs(d.tcl_ns)
            slot = ceil_div(max(data, bus_after or 0), self.burst)
            while slot in channel.taken:
                slot += 1
            end = (slot + 1) * self.burst
            if not refi or end <= (period + 1) * refi:
                break
            period += 1
        self.counts[kind] += 1
        channel.taken.add(slot)
        if opened != row:
            bank.precharge_from = activation + fs(d.tras_ns)
        column = slot * self.burst - fs(d.tcl_ns)
        bank.column_from = column + self.burst
        recovered = end + fs(d.twr_ns) if write else column + fs(d.trtp_ns)
        bank.precharge_from = max(bank.precharge_from, recovered)
        bank.row, bank.period = row, period
        return end


# --- the way of a miss on an idle machine (M3, D2-D4) ---------------------------------------------


def l3_cycle_fs(m: Machine) -> int:
    """A cycle of the shared level's clock (T1)."""
    assert m.l3 is not None
    return 10**9 // (m.l3.clock or m.clock)


def dram_arrival(m: Machine, cycle: int) -> int:
    """When a miss that leaves L1 in `cycle` and hits nowhere arrives at the DRAM controller."""
    cycle += m.l1.hit_cycles + (m.l2.hit_cycles if m.l2 else 0)
    return cycle_fs(m, cycle) + (m.l3.hit_cycles * l3_cycle_fs(m) if m.l3 else 0)


def fill_from_dram(m: Machine, end: int) -> int:
    """The cycle in which L1 is filled by a line that has left DRAM at `end`."""
    end += m.l3.fill_cycles * l3_cycle_fs(m) if m.l3 else 0
    return first_cycle_from(m, end) + (m.l2.fill_cycles if m.l2 else 0) + m.l1.fill_cycles


def idle_fill(m: Machine, line: int, cycle: int) -> int:
    """When an L1 miss of `cycle` is filled by an idle DRAM in which no row is open."""
    return fill_from_dram(m, Dram(m).read(line, dram_arrival(m, cycle)))
