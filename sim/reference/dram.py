"""Main memory: channels, banks with an open row each, a data bus and refresh (D1 to D7).

All times are fs. Requests are served in the order they come; the row commands of a bank and the
burst on the bus are laid out in one call, which returns when the data are there.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.errors import InternalError
from sim.machine.memory import Dram as DramConfig
from sim.reference.account import Account
from sim.reference.cache import Answer, Requester
from sim.reference.clock import FS_PER_NS, nanoseconds
from sim.reference.nodes import Nodes

COUNTERS = ("reads", "writes", "row_hits", "row_misses", "row_conflicts", "write_batches")


@dataclass(frozen=True, slots=True)
class Place:
    """Channel, bank and row of a line."""

    channel: int
    bank: int
    row: int


class AddressMap:
    """D1: lines, by their number in the node, go round the channels, rows round the banks."""

    def __init__(self, config: DramConfig, line_bytes: int) -> None:
        self.channels = config.channels
        self.banks = config.banks
        self.lines_per_row = config.row_bytes // line_bytes

    def place(self, number: int) -> Place:
        """Where a line lies."""
        rest, channel = divmod(number, self.channels)
        group = rest // self.lines_per_row
        row = group // self.banks
        return Place(channel, (group + row) % self.banks, row)


class Refresh:
    """D5: the first tRFC of every tREFI; 0 switches it off."""

    def __init__(self, config: DramConfig) -> None:
        self.interval = nanoseconds(config.trefi_ns)
        self.length = nanoseconds(config.trfc_ns)

    def period(self, time: int) -> int:
        """Number of the period a time lies in."""
        return time // self.interval if self.interval else 0

    def open_from(self, period: int) -> int:
        """When accesses may begin in a period."""
        return period * self.interval + self.length if self.interval else 0

    def fits(self, end: int, period: int) -> bool:
        """Whether an access that ends at ``end`` is over before the next refresh."""
        return not self.interval or end <= (period + 1) * self.interval


class Bus:
    """D4: the data bus of a channel, divided into burst slots."""

    def __init__(self, burst: int) -> None:
        self.burst = burst
        self.taken: set[int] = set()

    def first_free(self, ready: int) -> int:
        """Start of the first free slot at or after ``ready``."""
        slot = -(-ready // self.burst)
        while slot in self.taken:
            slot += 1
        return slot * self.burst

    def take(self, start: int) -> None:
        """Take the slot that starts then."""
        self.taken.add(start // self.burst)


@dataclass(slots=True)
class Bank:
    """D3: at most one open row, and when the next commands may come."""

    open_row: int | None = None
    period: int = 0  # the refresh period it is in
    next_column: int = 0
    next_precharge: int = 0


class Channel:
    """Banks, a bus, and the writes that wait (D6)."""

    def __init__(self, config: DramConfig, line_bytes: int, refresh: Refresh) -> None:
        self.burst = round(line_bytes / config.gigabytes_per_second * FS_PER_NS)
        self.banks = [Bank() for _ in range(config.banks)]
        self.bus = Bus(self.burst)
        self.refresh = refresh
        self.trcd = nanoseconds(config.trcd_ns)
        self.trp = nanoseconds(config.trp_ns)
        self.tras = nanoseconds(config.tras_ns)
        self.tcl = nanoseconds(config.tcl_ns)
        self.trtp = nanoseconds(config.trtp_ns)
        self.twr = nanoseconds(config.twr_ns)
        self.twtr = nanoseconds(config.twtr_ns)
        self.trtw = nanoseconds(config.trtw_ns)
        self.batch = config.write_batch
        self.waiting: list[Place] = []
        self.read_end = -self.trtw  # no read and no write yet: no turnaround
        self.write_end = -self.twtr
        self.count = dict.fromkeys(COUNTERS, 0)

    def read(self, place: Place, time: int) -> int:
        """Serve a read; returns the end of its burst."""
        self.count["reads"] += 1
        bank = self.banks[place.bank]
        start = self._access(bank, place.row, time, self.write_end + self.twtr)
        bank.next_precharge = max(bank.next_precharge, start - self.tcl + self.trtp)
        self.read_end = max(self.read_end, start + self.burst)
        return start + self.burst

    def write(self, place: Place, time: int) -> None:
        """Queue a write; a full batch is written one after another (D6)."""
        self.count["writes"] += 1
        self.waiting.append(place)
        if len(self.waiting) < self.batch:
            return
        self.count["write_batches"] += 1
        self.write_end = max(self.write_end, *[self._write(each, time) for each in self.waiting])
        self.waiting = []

    def _write(self, place: Place, time: int) -> int:
        bank = self.banks[place.bank]
        end = self._access(bank, place.row, time, self.read_end + self.trtw) + self.burst
        bank.next_precharge = max(bank.next_precharge, end + self.twr)
        return end

    def _access(self, bank: Bank, row: int, time: int, turned: int) -> int:
        """Take a burst slot, not before ``turned`` (D7); returns its start.

        The access lies between two refreshes: where it would not be over before the next one, it
        begins behind it, with the row closed (D5).
        """
        period = max(self.refresh.period(time), bank.period)
        while True:
            if bank.period < period:
                bank.period, bank.open_row = period, None
            begin = max(time, self.refresh.open_from(period))
            column, activated, met = self._commands(bank, row, begin)
            start = self.bus.first_free(max(column + self.tcl, turned))
            if self.refresh.fits(start + self.burst, period):
                break
            period += 1
        self.bus.take(start)
        self.count[met] += 1
        bank.open_row = row
        if activated is not None:
            bank.next_precharge = activated + self.tras
        # The column command goes out tCL before the burst, the bank's next one a burst later.
        bank.next_column = start - self.tcl + self.burst
        return start

    def _commands(self, bank: Bank, row: int, time: int) -> tuple[int, int | None, str]:
        """Column command and activation of an access from ``time`` on, and what it met (D3)."""
        if bank.open_row == row:
            return max(time, bank.next_column), None, "row_hits"
        if bank.open_row is None:
            return time + self.trcd, time, "row_misses"
        activated = max(time, bank.next_precharge) + self.trp
        return activated + self.trcd, activated, "row_conflicts"


class Dram:
    """The last level below the caches, of one node; without L3 the home of its lines (C2, C9)."""

    hit = 0  # a directory here takes no time to look into (C4)

    def __init__(
        self, config: DramConfig, line_bytes: int, account: Account, nodes: Nodes, node: int
    ) -> None:
        self.map = AddressMap(config, line_bytes)
        self.line_bytes = line_bytes
        self.controller = nanoseconds(config.controller_ns)
        refresh = Refresh(config)
        self.channels = [Channel(config, line_bytes, refresh) for _ in range(config.channels)]
        self.account = account
        self.nodes = nodes
        self.node = node

    def admit(self, time: int) -> int:
        """There is no port to pass."""
        return time

    def look_up(self, line: int, served: int, who: Requester) -> Answer:
        """Read a line."""
        return self.request(line, served, who)

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """Read a line that is asked for at ``time`` (D2)."""
        self.nodes.count_read(self.node, who.core)
        place = self.map.place(self.nodes.number(line))
        end = self.channels[place.channel].read(place, time + self.controller)
        self.account.add(who.region, "dram_read_bytes", self.line_bytes)
        return Answer(end, "DRAM")

    def upgrade(self, line: int, time: int, who: Requester) -> int:
        """L3 has no line that it shares."""
        raise InternalError(f"L3 upgrades line {line:#x}")

    def write(self, line: int, time: int, who: Requester) -> None:
        """Write a line."""
        place = self.map.place(self.nodes.number(line))
        self.channels[place.channel].write(place, time + self.controller)
        self.account.add(who.region, "dram_write_bytes", self.line_bytes)

    def counters(self) -> dict[str, int]:
        """Counters summed over channels."""
        return {name: sum(channel.count[name] for channel in self.channels) for name in COUNTERS}
