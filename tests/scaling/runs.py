"""A model on more and more cores: speed-ups, and how much of DRAM a decode step uses.

All runs are without values, which changes no cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from sim import simulate
from sim.machine import load_machine
from sim.result import Result
from tests.end_to_end.microprogram import stream_bandwidth
from workloads.catalogue import entries

MODEL = "gpt2"
MACHINE = "sapphire-rapids"
ROWS = 256
CONTEXT = 128
# A quarter of the preset's channels, 76.8 GB/s, so that few cores fill DRAM.
FEW_CHANNELS = "dram.channels=4"
BF16 = 2
STREAM_LOADS = 8  # in the loop of the stream, as in the kernel's


def order(turn: float, ahead: int) -> tuple[str, str]:
    """Overrides of a machine: turns of so many ns (T3), loads so many cycles ahead (L5)."""
    return f"turn_ns={turn}", f"load_ahead_cycles={ahead}"


@cache
def prefill(cores: int, *overrides: str) -> Result:
    """A prompt of `ROWS` tokens on the preset."""
    return simulate(
        MODEL, MACHINE, prefill=ROWS, tokens=1, values=False, cores=cores, overrides=overrides
    )


@cache
def decode(cores: int, *overrides: str, machine: str = MACHINE) -> Result:
    """One token behind `CONTEXT` others."""
    return simulate(
        MODEL, machine, context=CONTEXT, tokens=1, values=False, cores=cores, overrides=overrides
    )


@dataclass(frozen=True)
class Step:
    """A decode step on the machine with few channels.

    Attributes:
        seconds: of the step, simulated.
        weights, stream: GB/s of the linear operators' weights in the time booked on those
            operators (the mean over the cores, their waiting included), and of the stream
            micro-program with as many bytes on as many cores.
    """

    cores: int
    seconds: float
    weights: float
    stream: float


@cache
def step(cores: int) -> Step:
    """Simulate a decode step and the stream beside it."""
    run = decode(cores, FEW_CHANNELS)
    linear = run.account.kinds["linear"].cycles / (load_machine(MACHINE).clock * 1e6)
    return Step(cores, run.seconds, weight_bytes() / linear / 1e9, stream(cores))


@cache
def stream(cores: int, *overrides: str) -> float:
    """GB/s of the stream on the machine with few channels, of as many bytes as a step's weights."""
    machine = load_machine(MACHINE, [FEW_CHANNELS, f"cores={cores}", *overrides])
    return stream_bandwidth(machine, STREAM_LOADS, weight_bytes()) * machine.clock * 1e6 / 1e9


def weight_bytes() -> int:
    """Bytes of the weights that linear operators read once a step, in bf16.

    The embedding of tokens is that of the logits, too; that of positions is only looked up.
    """
    config = entries()[MODEL].config
    shapes = config.weight_shapes()
    matrices = (shape for name, shape in shapes.items() if name != "pos_embed")
    return BF16 * sum(math.prod(shape) for shape in matrices if len(shape) == 2)


def pins() -> float:
    """GB/s of all channels of the machine with few."""
    dram = load_machine(MACHINE, [FEW_CHANNELS]).dram
    return dram.channels * dram.gigabytes_per_second
