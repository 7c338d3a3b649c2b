"""Random programs on random machines: they end, compute what they should, and add up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.assembler import assemble
from isa.interpreter import Interpreter
from tests.contract.harness import PLAIN, Simulation, ceil_div, machine
from tests.contract.programs import CONTROL_WORDS, cases

LIMIT = 200_000


def control_words(seed):
    """First contents of the control segment: small numbers, gather indices among them."""
    return np.random.default_rng(seed).integers(0, 16, CONTROL_WORDS)


def simulate(text, m, seed, *, values=True):
    """Run a program; returns the run and its simulation."""
    sim = Simulation(text, m, values=values, log=LIMIT)
    sim.cpu.control[:] = control_words(seed)
    return sim.run(), sim


def assert_same(a, b, text):
    """Equal bit for bit, but for the bits of what is not a number."""
    different = np.flatnonzero(a != b)
    nan = np.isnan(a.view(np.float32)) & np.isnan(b.view(np.float32))
    assert nan[different].all(), text


def check_values(text, m, seed, sim):
    """Memory and control segment are what the interpreter leaves."""
    assembled = assemble(text)
    mem, control = assembled.memory.allocate(), control_words(seed)
    assembled.write_tensors(mem)
    Interpreter(assembled.program, assembled.memory, mem, control, m.target()).run()
    np.testing.assert_array_equal(sim.cpu.control, control)
    for tensor in assembled.memory.tensors:
        part = slice(tensor.address, tensor.end)
        a, b = sim.cpu.mem[part], mem[part]
        if tensor.dtype == "bf16":  # the upper half of an f32
            a, b = (each.view(np.uint16).astype(np.uint32) << 16 for each in (a, b))
        assert_same(a.view(np.uint32), b.view(np.uint32), text)


def check_log(r, m):
    """Every instruction passes the stages in order, and all leave as they came."""
    rows = r.rows
    assert all(r.first <= row.dispatch < row.issue < row.complete <= row.retire for row in rows)
    for before, row in pairwise(rows):
        assert before.dispatch <= row.dispatch
        assert before.retire <= row.retire
    assert all(row.retire <= r.last for row in rows)
    # no more than the machine is wide: instructions have one uop at least
    for stage, width in (("dispatch", m.core.width), ("retire", m.core.retire_width)):
        counts = np.bincount([getattr(row, stage) - r.first for row in rows])
        assert counts.max() <= width
    assert r.cycles >= ceil_div(len(rows), m.core.width)
    if m.core.kind == "in-order":
        assert all(a.issue <= b.issue for a, b in pairwise(rows))
    # never more in the window than it holds
    for i in range(len(rows) - m.core.rob):
        assert rows[i].retire <= rows[i + m.core.rob].dispatch


def counters(r):
    """Everything that a run counts."""
    return r.rows, r.caches, r.dram, r.core, r.operators, r.first, r.last


def check(case, seed):
    """All of it for one case."""
    text, found = case
    m = machine(PLAIN, *found)
    r, sim = simulate(text, m, seed)
    check_values(text, m, seed, sim)
    check_log(r, m)
    assert sum(r.slots.values()) == m.core.width * r.cycles
    for level in r.caches.values():
        assert level["merges"] <= level["hits"] <= level["accesses"]
        assert level["prefetch_late"] <= level["prefetch_useful"] <= level["prefetches"]
    again, _ = simulate(text, m, seed)
    assert counters(again) == counters(r)
    without, _ = simulate(text, m, seed, values=False)
    assert counters(without) == counters(r)


@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_random_programs_on_random_machines(case, seed):
    check(case, seed)


@pytest.mark.slow
@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=1000, deadline=None)
def test_many_random_programs_on_random_machines(case, seed):
    check(case, seed)
