"""DRAM of three standards on our engine: idle latency and streaming bandwidth.

The core is there only to ask: one cache level of one cycle, a clock of 10 GHz, so that a cycle is
0.1 ns and latencies of requests are read to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from pathlib import Path
from random import Random
from statistics import mean

from isa.memory import TENSOR_BASE
from sim.machine import Machine, load_machine
from tests.components.check import Check
from tests.components.running import run

PLAIN = Path(__file__).parents[1] / "contract" / "plain.toml"
LINE = 64
CYCLES_PER_NS = 10


@dataclass(frozen=True)
class Standard:
    """A speed bin: times in clocks of ``tck_ns``, refresh in ns, and what Ramulator 2 measured.

    ``idle_ns`` is its latency of a read on an idle machine, ``streamed`` its bandwidth in GB/s of
    a stream of reads where it is known.
    """

    name: str
    tck_ns: float
    nrp: int
    nrcd: int
    ncl: int
    nras: int
    nrtp: int
    gigabytes_per_second: float
    banks: int
    row_bytes: int
    trefi_ns: float
    trfc_ns: float
    idle_ns: float
    streamed: float | None = None

    @property
    def closed_ns(self) -> float:
        """Activate and read."""
        return (self.nrcd + self.ncl) * self.tck_ns

    @property
    def conflict_ns(self) -> float:
        """Precharge, activate and read."""
        return self.nrp * self.tck_ns + self.closed_ns

    @property
    def burst_ns(self) -> float:
        """A line on the bus."""
        return LINE / self.gigabytes_per_second

    def keys(self, controller_ns: float, refresh: bool) -> list[str]:
        """The standard as overrides of a machine."""
        clocks = {
            "trp": self.nrp, "trcd": self.nrcd, "tcl": self.ncl, "tras": self.nras,
            "trtp": self.nrtp,
        }  # fmt: skip
        return [
            *(f"dram.{name}_ns={clock * self.tck_ns:.4f}" for name, clock in clocks.items()),
            f"dram.banks={self.banks}",
            f"dram.row_bytes={self.row_bytes}",
            f"dram.gigabytes_per_second={self.gigabytes_per_second}GB/s",
            f"dram.trefi_ns={self.trefi_ns if refresh else 0}",
            f"dram.trfc_ns={self.trfc_ns}",
            f"dram.controller_ns={controller_ns}",
        ]


STANDARDS = {
    standard.name: standard
    for standard in (
        # JESD79-4, bin 2400R: 16-16-16, tRAS 32 ns, tRTP 7.5 ns; four bank groups of 4; a 64-bit
        # channel of x8 devices with pages of 1 KiB; 8 Gbit: tRFC1 350 ns.
        Standard("DDR4-2400R", 0.833, 16, 16, 16, 39, 9, 19.2, 16, 8192, 7800, 350, 44.3, 19.2),
        # JESD79-5, bin 4800AN: 34-34-34 (14.166 ns each), tRAS 32 ns, tRTP 7.5 ns; eight bank
        # groups of 4; a 32-bit subchannel of x8 devices with pages of 1 KiB; 16 Gbit: tRFC1 295 ns.
        # The measurement names no bin; it is AN's, since with B (40-39-39) the bank alone takes
        # 49.2 ns.
        Standard("DDR5-4800", 1 / 2.4, 34, 34, 34, 77, 18, 19.2, 32, 4096, 3900, 295, 45.8),
        # JESD209-5 as in Ramulator 2's preset LPDDR5_6400: 20-15-15 clocks of 1.25 ns, precharge of
        # one bank; nRAS 34, nRTP 4; four bank groups of 4; its default channel of 32 bits (two x16
        # devices with pages of 2 KiB); 16 Gbit: tRFCab 280 ns.
        Standard("LPDDR5-6400", 1.25, 15, 15, 20, 34, 4, 25.6, 16, 4096, 3906, 280, 63.8),
    )
}


@cache
def machine(name: str, *, controller_ns: float = 0, refresh: bool = False) -> Machine:
    """A core that asks for lines, over a standard's DRAM."""
    overrides = [
        "clock=10GHz", "l2=none", "l1.size=64", "l1.ways=1", "l1.hit_cycles=1", "l1.fill_cycles=0",
        *STANDARDS[name].keys(controller_ns, refresh),
    ]  # fmt: skip
    return load_machine(str(PLAIN), overrides)


# --- one request at a time ------------------------------------------------------------------------

# The control segment holds pairs of an address and of turns to wait before it is asked for.
ONE_BY_ONE = """
.control {control}
.tensor x f32 {lines} 16
main:
    li x1, 1
    li x8, {control}
turn:
    ld x4, 0(x9)
    ld x7, 8(x9)
    li x6, 0
wait_here:
    addi x6, x6, 1
    blt x6, x7, wait_here
    signal 0
access:
    load.f32 t0, (x4), x0, x1, x1
    signal 0
    addi x9, x9, 16
    blt x9, x8, turn
    halt
"""


def latencies(on: Machine, lines: Sequence[int]) -> list[float]:
    """Ns from the arrival of a request at the controller to the end of its burst, one by one.

    Between two of them the machine idles for 100 to 150 ns: longer than any row command, and at
    random, so that requests fall anywhere between two burst slots (D4).
    """
    rng = Random(0)
    words = []
    for line in lines:
        # an addition and a branch: a turn a cycle
        turns = rng.randrange(100 * CYCLES_PER_NS, 150 * CYCLES_PER_NS)
        words += [TENSOR_BASE + LINE * line, turns]
    text = ONE_BY_ONE.format(control=8 * len(words), lines=max(lines) + 1)
    cpu = run(text, on, control=words, log=100 + 3000 * len(lines))
    pc = cpu.programs[0].labels["access"]
    rows = [row for row in cpu.log().tolist() if row[1] == pc]
    assert len(rows) == len(lines)
    return [
        (complete - issue - on.l1.hit_cycles) / CYCLES_PER_NS
        for _, _, _, issue, complete, _ in rows
    ]


def rows(name: str) -> Iterator[tuple[int, int]]:
    """The rows of memory from the tensor on: the bank (D1) and the first line of the tensor."""
    standard = STANDARDS[name]
    first = TENSOR_BASE // standard.row_bytes
    for row in count(first):
        bank = (row + row // standard.banks) % standard.banks
        yield bank, (row - first) * standard.row_bytes // LINE


@cache
def closed(name: str, *, controller_ns: float = 0) -> list[float]:
    """Latencies of one request to each bank, none of which has a row open."""
    banks = STANDARDS[name].banks
    first = dict(reversed(list(islice(rows(name), 2 * banks))))
    assert len(first) == banks
    return latencies(machine(name, controller_ns=controller_ns), list(first.values()))


@cache
def conflict(name: str) -> list[float]:
    """Latencies of 100 requests to a bank with another row open."""
    lines = islice((line for bank, line in rows(name) if bank == 0), 101)
    return latencies(machine(name), list(lines))[1:]


# --- a stream -------------------------------------------------------------------------------------

LINES = 1 << 16
EDGES = 0.005  # share of the time of a stream that its first request and its last burst may take
STREAM = f"""
.tensor x f32 {LINES} 16
main:
    li x1, x
    li x2, x + {LINE * LINES}
    li x3, {LINE}
    li x4, 4
    li x5, 1
turn:
    load.f32 t0, (x1), x3, x4, x5
    addi x1, x1, {4 * LINE}
    blt x1, x2, turn
    halt
"""


@cache
def streamed(name: str, *, refresh: bool = False) -> float:
    """GB/s of reading one line after another, with 64 requests on their way at a time."""
    cpu = run(STREAM, machine(name, refresh=refresh))
    assert cpu.dram_counters()["reads"] == LINES
    return LINE * LINES / (cpu.seconds * 1e9)


# --- the page -------------------------------------------------------------------------------------


def checks() -> Iterator[Check]:
    """Idle latencies beside the measured ones, bandwidth beside the measured or the pin rate."""
    for name, standard in STANDARDS.items():
        yield Check(
            "DRAM", f"{name}, another row open: shortest of 100", standard.idle_ns,
            min(conflict(name)), "ns", standard.burst_ns,
        )  # fmt: skip
        yield Check(
            "DRAM", f"{name}, another row open: mean of 100", standard.idle_ns,
            mean(conflict(name)), "ns", 1.5 * standard.burst_ns,
        )  # fmt: skip
    for name, standard in STANDARDS.items():
        rate = standard.streamed or standard.gigabytes_per_second
        what = f"{name}, stream of reads" + ("" if standard.streamed else ", beside the pin rate")
        yield Check("DRAM", what, rate, streamed(name), "GB/s", EDGES * rate)
