"""What a core looks like between two cycles: for stepping, teaching and finding mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isa.disassembler import format_instruction
from sim.reference.instruction import Flight
from sim.reference.shared import PrivateCaches
from sim.reference.storebuffer import NEVER

if TYPE_CHECKING:
    from sim.reference.core import Core


@dataclass(frozen=True)
class FlightView:
    """An unretired instruction: where it is (``queue``, ``running``, ``done``) and why it waits."""

    pc: int
    text: str
    unit: str
    stage: str
    dispatch: int
    issue: int | None
    complete: int | None
    waits_for: str


@dataclass(frozen=True)
class CoreView:
    """A core after a cycle: the window from old to young, stores not drained, lines in flight.

    ``states`` are those of the lines in L1 and L2, M, E or S (C1), where they were asked for.
    """

    core: int
    cycle: int
    pc: int
    dispatch_stopped_by: str
    window: list[FlightView]
    store_buffer: list[str]
    l1_lines_in_flight: list[int]
    states: dict[int, str] = field(default_factory=dict)


def _waits_for(core: Core, flight: Flight) -> str:
    """Why an instruction of a queue has not issued, in words."""
    for producer, accumulator in flight.sources:
        ready = producer.accumulated if accumulator else producer.complete
        if ready is None or ready > core.now:
            return f"result of pc {producer.pc}"
    if flight.dispatch >= core.now:
        return "the cycle after its dispatch"
    if flight.cls == "load" and not core.stores.lets_issue(flight, core.now):
        return "an older store of the same bytes"
    if core.issue.in_order and core.issue.unissued[0] is not flight:
        return f"pc {core.issue.unissued[0].pc} to issue first"
    return f"a slot of {flight.op.unit}"


def _flight(core: Core, flight: Flight) -> FlightView:
    if flight.issue is None:
        stage, reason = "queue", _waits_for(core, flight)
    elif flight.complete is None:
        stage, reason = "running", "its line accesses"
    elif flight.complete > core.now:
        stage, reason = "running", f"its result in cycle {flight.complete}"
    else:
        stage, reason = "done", "its turn to retire"
    return FlightView(
        pc=flight.pc,
        text=format_instruction(flight.instr),
        unit=flight.op.unit,
        stage=stage,
        dispatch=flight.dispatch,
        issue=flight.issue,
        complete=flight.complete,
        waits_for=reason,
    )


def view(core: Core, private: PrivateCaches | None = None) -> CoreView:
    """What there is to see of a core after its last cycle, with the states in its caches."""
    return CoreView(
        core=core.number,
        cycle=core.now,
        pc=core.state.pc,
        dispatch_stopped_by=core.front.stop,
        window=[_flight(core, flight) for flight in core.window.flights],
        store_buffer=[
            f"bytes {e.piece.low:#x}..{e.piece.high - 1:#x} of pc {e.flight.pc}: "
            + ("not yet asked" if e.owned == NEVER else f"line there in cycle {e.owned}")
            for e in core.stores.entries
        ],
        l1_lines_in_flight=sorted(
            line.number for line in core.l1.contents() if line.fill > core.now
        ),
        states=private.states() if private else {},
    )
