"""Scalar instructions, branches, and those that concern other cores, the account and the end."""

from __future__ import annotations

from isa.faults import Fault, Trap
from isa.state import State


def li(s: State, d: int, imm: int) -> None:
    s.write_x(d, imm)


def add(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] + s.x[b])


def sub(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] - s.x[b])


def mul(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] * s.x[b])


def min(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] if s.x[a] < s.x[b] else s.x[b])


def addi(s: State, d: int, a: int, imm: int) -> None:
    s.write_x(d, s.x[a] + imm)


def slli(s: State, d: int, a: int, imm: int) -> None:
    s.write_x(d, s.x[a] << imm)


def srli(s: State, d: int, a: int, imm: int) -> None:
    s.write_x(d, (s.x[a] & 0xFFFF_FFFF_FFFF_FFFF) >> imm)


def ld(s: State, d: int, imm: int, a: int) -> None:
    s.write_x(d, int(s.control[s.control_index(s.x[a] + imm)]))


def st(s: State, b: int, imm: int, a: int) -> None:
    s.control[s.control_index(s.x[a] + imm)] = s.x[b]


# Branches


def beq(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] == s.x[b]:
        s.next_pc = s.pc + offset


def bne(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] != s.x[b]:
        s.next_pc = s.pc + offset


def blt(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] < s.x[b]:
        s.next_pc = s.pc + offset


def bge(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] >= s.x[b]:
        s.next_pc = s.pc + offset


def j(s: State, offset: int) -> None:
    s.next_pc = s.pc + offset


def jal(s: State, d: int, offset: int) -> None:
    s.write_x(d, s.pc + 1)
    s.next_pc = s.pc + offset


def jr(s: State, a: int) -> None:
    s.next_pc = s.x[a]


# Other cores, accounting, the end


def signal(s: State, counter: int) -> None:
    s.counters[counter] = s.counters.get(counter, 0) + 1


def wait(s: State, counter: int, n: int) -> None:
    value = s.counters.get(counter, 0)
    if value < s.x[n]:
        raise Trap(Fault.WAIT_FOREVER, counter, value, s.x[n])


def halt(s: State) -> None:
    s.halted = True


def region(s: State, number: int) -> None:
    s.region = number
