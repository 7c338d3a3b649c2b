"""Main memory: channels, banks with an open row each, a data bus and refresh (D1 to D7).

All times are fs. Requests are served in the order they come; the row commands of a bank and the
burst on the bus are laid out in one call, which returns when the data are there.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.machine.schema import Dram as DramConfig
from sim.reference.account import Account
from sim.reference.cache import Answer, Requester
from sim.reference.clock import FS_PER_NS, nanoseconds

COUNTERS = ("reads", "writes", "row_hits", "row_misses", "row_conflicts", "write_batches")


@dataclass(frozen=True, slots=True)
class Place:
    """Channel, bank and row of a line."""

    channel: int
    bank: int
    row: int


class AddressMap:
    """D1: lines go round the channels, rows round the banks."""

    def __init__(self, config: DramConfig, line_bytes: int) -> None:
        self.channels = config.channels
        self.banks = config.banks
        self.lines_per_row = config.row_bytes // line_bytes

    def place(self, line: int) -> Place:
        """Where a line lies."""
        rest, channel = divmod(line, self.channels)
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

    def after(self, time: int) -> int:
        """The time itself, or the end of the refresh it falls into."""
        if not self.interval:
            return time
        return max(time, self.period(time) * self.interval + self.length)

    def overlaps(self, start: int, end: int) -> bool:
        """Whether a burst from ``start`` to ``end`` touches a refresh."""
        if not self.interval:
            return False
        return self.after(start) > start or self.period(end - 1) != self.period(start)


class Bus:
    """D4: the data bus of a channel, divided into burst slots."""

    def __init__(self, burst: int, refresh: Refresh) -> None:
        self.burst = burst
        self.refresh = refresh
        self.taken: set[int] = set()

    def take(self, ready: int) -> int:
        """Take the first free slot at or after ``ready``; returns its end."""
        slot = -(-ready // self.burst)
        while slot in self.taken or self.refresh.overlaps(
            slot * self.burst, (slot + 1) * self.burst
        ):
            slot += 1
        self.taken.add(slot)
        return (slot + 1) * self.burst


class Bank:
    """D3: at most one open row, and when the next command may come."""

    def __init__(self, config: DramConfig, burst: int, refresh: Refresh) -> None:
        self.trcd = nanoseconds(config.trcd_ns)
        self.trp = nanoseconds(config.trp_ns)
        self.tras = nanoseconds(config.tras_ns)
        self.trtp = nanoseconds(config.trtp_ns)
        self.burst = burst
        self.refresh = refresh
        self.open_row: int | None = None
        self.activated = 0
        self.next_column = 0
        self.next_precharge = 0

    def column(self, row: int, time: int) -> tuple[int, str]:
        """Time of the column command of a request from ``time`` on, and what it met."""
        time = self.refresh.after(time)
        if self.open_row is not None and self.refresh.period(self.activated) < self.refresh.period(
            time
        ):
            self.open_row = None
        if self.open_row == row:
            met = "row_hits"
        else:
            met = "row_misses"
            if self.open_row is not None:
                met = "row_conflicts"
                earliest = max(time, self.activated + self.tras, self.next_precharge)
                time = self.refresh.after(earliest) + self.trp
            self.activated = self.refresh.after(time)
            self.open_row = row
            self.next_precharge = 0
            time = self.activated + self.trcd
        time = self.refresh.after(max(time, self.next_column))
        self.next_column = time + self.burst
        return time, met

    def precharge_not_before(self, time: int) -> None:
        """A read (tRTP) or a written burst (tWR) keeps the row open until then."""
        self.next_precharge = max(self.next_precharge, time)


class Channel:
    """Banks, a bus, and the writes that wait (D6)."""

    def __init__(self, config: DramConfig, line_bytes: int, refresh: Refresh) -> None:
        burst = round(line_bytes / config.gigabytes_per_second * FS_PER_NS)
        self.banks = [Bank(config, burst, refresh) for _ in range(config.banks)]
        self.bus = Bus(burst, refresh)
        self.tcl = nanoseconds(config.tcl_ns)
        self.twr = nanoseconds(config.twr_ns)
        self.twtr = nanoseconds(config.twtr_ns)
        self.trtw = nanoseconds(config.trtw_ns)
        self.batch = config.write_batch
        self.waiting: list[Place] = []
        self.read_end: int | None = None
        self.write_end: int | None = None
        self.count = dict.fromkeys(COUNTERS, 0)

    def read(self, place: Place, time: int) -> int:
        """Serve a read; returns the end of its burst."""
        self.count["reads"] += 1
        bank = self.banks[place.bank]
        column, met = bank.column(place.row, time)
        self.count[met] += 1
        bank.precharge_not_before(column + bank.trtp)
        ready = column + self.tcl
        if self.write_end is not None:
            ready = max(ready, self.write_end + self.twtr)  # D7
        end = self.bus.take(ready)
        self.read_end = end if self.read_end is None else max(self.read_end, end)
        return end

    def write(self, place: Place, time: int) -> None:
        """Queue a write; a full batch is written one after another (D6)."""
        self.count["writes"] += 1
        self.waiting.append(place)
        if len(self.waiting) < self.batch:
            return
        self.count["write_batches"] += 1
        ends = [self._write(waiting, time) for waiting in self.waiting]
        self.write_end = max(ends) if self.write_end is None else max(self.write_end, *ends)
        self.waiting = []

    def _write(self, place: Place, time: int) -> int:
        bank = self.banks[place.bank]
        column, met = bank.column(place.row, time)
        self.count[met] += 1
        ready = column + self.tcl
        if self.read_end is not None:
            ready = max(ready, self.read_end + self.trtw)  # D7
        end = self.bus.take(ready)
        bank.precharge_not_before(end + self.twr)
        return end


class Dram:
    """The last level below the caches."""

    def __init__(self, config: DramConfig, line_bytes: int, account: Account) -> None:
        self.map = AddressMap(config, line_bytes)
        self.line_bytes = line_bytes
        self.controller = nanoseconds(config.controller_ns)
        refresh = Refresh(config)
        self.channels = [Channel(config, line_bytes, refresh) for _ in range(config.channels)]
        self.account = account

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """Read a line that is asked for at ``time`` (D2)."""
        place = self.map.place(line)
        end = self.channels[place.channel].read(place, time + self.controller)
        self.account.add(who.region, "dram_read_bytes", self.line_bytes)
        return Answer(end, end, "DRAM")

    def write(self, line: int, time: int, who: Requester) -> None:
        """Write a line."""
        place = self.map.place(line)
        self.channels[place.channel].write(place, time + self.controller)
        self.account.add(who.region, "dram_write_bytes", self.line_bytes)

    def counters(self) -> dict[str, int]:
        """Counters summed over channels."""
        return {name: sum(channel.count[name] for channel in self.channels) for name in COUNTERS}
