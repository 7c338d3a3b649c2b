"""Front end: rules F1-F8 of docs/timing.md."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.errors import SimulationFault
from tests.contract.harness import Simulation, ceil_div, latency, plain, repeat, run
from tests.contract.model_core import GShare, ReturnStack, TwoBitCounters
from tests.contract.model_dram import idle_fill

PENALTY = 20  # of a misprediction, where a test has to tell it from all other waiting

# --- F1, F2: slots and uops -----------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_width_instructions_are_dispatched_a_cycle(width):
    r = run("main:\n" + repeat(20, "addi x1, x0, {i}") + "\nhalt", plain(f"core.width={width}"))
    assert [row.dispatch for row in r.rows] == [r.first + i // width for i in range(20)]


@pytest.mark.parametrize("uops", [1, 2, 3, 7])
def test_an_instruction_is_dispatched_with_its_last_uop(uops):
    m = plain(f"core.ops.elementwise.uops={uops}", "core.width=2", "core.ops.fill.uops=1")
    r = run(
        "main: li x1, 4\nfill.f32 t0, x0, x1, x1\nadd0: fadd t1, t0, t0\n"
        + repeat(4, "fadd t1, t0, t0\naddi x2, x0, {i}")
        + "\nhalt",
        m,
    )
    slots = [1, 1, uops] + [uops, 1] * 4  # one after another, over cycle borders
    last = [sum(slots[: i + 1]) - 1 for i in range(len(slots))]
    assert [row.dispatch for row in r.rows] == [r.first + slot // 2 for slot in last]


def test_uops_by_slot_are_the_pipe_slots_of_the_shape():
    m = plain("core.width=1", "core.ops.fill.slot=vector", "core.ops.fill.uops=slot",
              "core.tiles.row_bytes=64", "core.tiles.rows=8")  # fmt: skip
    shapes = [(1, 1), (3, 5), (8, 16), (8, 4), (2, 13)]
    text = repeat(17, "li x{i}, {i}")
    text += "".join(f"\nfill.f32 t0, x0, x{rows}, x{cols}" for rows, cols in shapes)
    r = run(f"main:\n{text}\nhalt", m)
    dispatch = r.first + 17 - 1
    for (rows, cols), row in zip(shapes, r.rows[17:], strict=True):
        dispatch += rows * ceil_div(4 * cols, m.core.units["vector"].bytes)
        assert row.dispatch == dispatch


@pytest.mark.parametrize("offset", [0, 56])
def test_uops_by_slot_of_loads_and_stores_are_their_line_accesses(offset):
    # rows of 16 bytes, two slots each on a unit of 8 bytes; at offset 56 they straddle two lines
    m = plain("core.width=1", "core.ops.load.uops=slot", "core.ops.store.uops=slot",
              "core.units.load.bytes=8", "core.units.store.bytes=8")  # fmt: skip
    r = run(
        f".tensor x f32 16 16\nmain: li x1, x + {offset}\nli x2, 64\nli x3, 4\n"
        "load: load.f32 t0, (x1), x2, x3, x3\nstore: store.f32 t0, (x1), x2\nhalt",
        m,
    )
    uops = 4 * (2 if offset else 1)
    assert r.at("load").dispatch == r.first + 3 - 1 + uops
    assert r.at("store").dispatch == r.at("load").dispatch + uops


def test_region_takes_no_slot():
    r = run(
        "main:\n" + repeat(8, ".region {i} op{i}\naddi x1, x0, {i}") + "\nhalt",
        plain("core.width=4"),
    )
    assert [row.dispatch for row in r.rows] == [r.first + i // 4 for i in range(8)]


# --- F6: taken branches ---------------------------------------------------------------------------


@pytest.mark.parametrize("bubble", [0, 1, 3])
def test_a_taken_branch_ends_the_cycle_and_costs_the_bubble(bubble):
    hops = "".join(f"\nb{i}: j b{i + 1}\nhalt" for i in range(6))
    r = run(f"main:{hops}\nb6: halt", plain(f"core.taken_branch_bubble={bubble}"))
    assert [row.dispatch for row in r.rows] == [r.first + i * (1 + bubble) for i in range(6)]


@pytest.mark.parametrize("bubble", [0, 2])
def test_calls_and_returns_are_taken_branches(bubble):
    r = run(
        "main: call: jal x31, f\nback: addi x1, x1, 1\nhalt\nf: addi x2, x2, 1\nreturn: jr x31",
        plain(f"core.taken_branch_bubble={bubble}"),
    )
    assert r.at("f").dispatch == r.at("call").dispatch + 1 + bubble
    assert r.at("return").dispatch == r.at("f").dispatch  # eight slots a cycle
    assert r.at("back").dispatch == r.at("return").dispatch + 1 + bubble
    assert r.core["mispredictions"] == 0


def test_a_branch_not_taken_does_not_end_the_cycle():
    m = plain(f"core.mispredict_penalty={PENALTY}", "core.taken_branch_bubble=3")
    r = run(
        "main: li x1, 2\nloop: bne x0, x0, out\nafter: addi x1, x1, -1\n"
        "bne x1, x0, loop\nout: halt",
        m,
    )
    # the first time the counter, 2, says "taken"; the second time it is 1
    assert r.at("after", 0).dispatch == r.at("loop", 0).complete + PENALTY
    assert r.at("after", 1).dispatch == r.at("loop", 1).dispatch


# --- F5, F7: prediction ---------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0, 1, 5, 17])
def test_a_misprediction_costs_the_penalty_from_the_branch_s_completion(penalty):
    m = plain(f"core.mispredict_penalty={penalty}", "core.taken_branch_bubble=2")
    r = run(
        "main: li x1, 3\nmul x2, x1, x1\nslow: mul x2, x2, x1\n"
        "branch: beq x2, x0, main\nafter: addi x3, x0, 1\nhalt",
        m,
    )
    branch = r.at("branch")
    assert branch.issue == r.at("slow").complete
    assert branch.complete == branch.issue + latency(m, "branch", "i64")
    assert r.at("after").dispatch == branch.complete + penalty


PATTERN = """
.control 1024
main:
    li x1, 0
    ld x2, 1016(x0)
loop:
    ld x5, 0(x1)
    beq x5, x0, second
    addi x6, x6, 1
    bge x6, x5, third
second:
    blt x5, x6, third
    addi x6, x6, 2
third:
    jal x31, leaf
    addi x1, x1, 8
    blt x1, x2, loop
    halt
leaf:
    srli x6, x6, 1
    bne x6, x5, out
    addi x7, x7, 1
out:
    jr x31
"""


@given(
    words=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    entries=st.sampled_from([1, 2, 4, 8, 64]),
    stack=st.integers(0, 2),
    bits=st.sampled_from([None, None, 0, 1, 3, 8]),
)
@settings(max_examples=40, deadline=None)
def test_counters_history_and_return_stack_on_random_patterns(words, entries, stack, bits):
    kind = [] if bits is None else ["core.predictor=gshare", f"core.history_bits={bits}"]
    m = plain(f"core.predictor_entries={entries}", f"core.return_stack={stack}",
              f"core.mispredict_penalty={PENALTY}", *kind)  # fmt: skip
    sim = Simulation(PATTERN, m)
    sim.cpu.control[: len(words)] = words
    sim.cpu.control[127] = 8 * len(words)
    r = sim.run()
    counters = TwoBitCounters(entries) if bits is None else GShare(entries, bits)
    calls, wrong = ReturnStack(stack), 0
    code = sim.programs[0].decoded()
    for row, following in zip(r.rows, r.rows[1:], strict=False):
        name = code[row.pc].mnemonic
        if name not in ("beq", "bge", "blt", "bne", "jal", "jr"):
            assert following.dispatch <= row.dispatch + 1  # eight slots and a large window
            continue
        if name == "jal":
            calls.call(row.pc + 1)
            right = True
        elif name == "jr":
            right = calls.predicts(following.pc)
        else:
            right = counters.predicts(row.pc, following.pc != row.pc + 1)
        wrong += not right
        if right:
            assert following.dispatch <= row.dispatch + 1
        else:
            assert following.dispatch == row.complete + PENALTY
    right = counters.predicts(r.rows[-1].pc, False)  # the loop's last branch, before halt
    assert r.core["mispredictions"] == wrong + (not right)


@pytest.mark.parametrize(("depth", "entries"), [(4, 4), (6, 4), (7, 2), (3, 0), (1, 1)])
def test_a_return_stack_that_overflows_loses_the_oldest_calls(depth, entries):
    calls = "".join(
        f"f{i}: addi x{i + 1}, x31, 0\njal x31, f{i + 1}\nr{i}: jr x{i + 1}\n"
        for i in range(1, depth)
    )
    r = run(
        f"main: jal x31, f1\nr0: halt\n{calls}f{depth}: jr x31",
        plain(f"core.return_stack={entries}", f"core.mispredict_penalty={PENALTY}"),
    )
    # the last `entries` calls return well, the older ones find an entry of a later call
    assert r.core["mispredictions"] == max(depth - entries, 0)


ALTERNATING = """
main:
    li x1, {turns}
loop:
    slli x2, x1, 63
    beq x2, x0, even
    addi x3, x3, 1
even:
    addi x1, x1, -1
    bne x1, x0, loop
    halt
"""
NESTED = """
main:
    li x1, {turns}
outer:
    li x2, 3
inner:
    addi x2, x2, -1
    bne x2, x0, inner
    addi x1, x1, -1
    bne x1, x0, outer
    halt
"""


def wrong(text, turns, *overrides):
    """Mispredictions of a loop with so many turns."""
    m = plain("core.predictor_entries=1024", *overrides)
    return run(text.format(turns=turns), m).core["mispredictions"]


@pytest.mark.parametrize("turns", [20, 40])
def test_a_two_bit_counter_misses_half_of_an_alternating_branch_and_the_end_of_each_loop(turns):
    assert wrong(ALTERNATING, turns) == turns // 2 + 1  # and the end of the loop
    assert wrong(NESTED, turns) == turns + 1


@pytest.mark.parametrize(("text", "learns_from"), [(ALTERNATING, 2), (NESTED, 3)])
def test_gshare_learns_a_pattern_that_its_history_tells_apart(text, learns_from):
    # Alternating: the branch's last outcome is the last but one of all. Nested: of three outcomes
    # none, one or two since the outer branch are the inner one's.
    for bits in range(learns_from):
        gshare = ("core.predictor=gshare", f"core.history_bits={bits}")
        assert wrong(text, 80, *gshare) >= wrong(text, 40, *gshare) + 20
    for bits in (learns_from, 6):
        gshare = ("core.predictor=gshare", f"core.history_bits={bits}")
        assert wrong(text, 80, *gshare) == wrong(text, 40, *gshare) < 10


def test_a_perfect_predictor_predicts_conditional_branches_and_returns():
    for text in (ALTERNATING, NESTED):
        assert wrong(text, 40, "core.predictor=perfect", "core.predictor_entries=1") == 0
    r = run(
        "main: jal x31, f\nhalt\nf: return: jr x31",
        plain("core.predictor=perfect", "core.return_stack=0"),
    )
    assert r.core["mispredictions"] == 0


# --- F8: fences -----------------------------------------------------------------------------------

COLD_STORE = """
.tensor y f32 4 4
main:
    li x1, y
    li x2, 1
    fill.f32 t0, x0, x2, x2
store:
    store.f32 t0, (x1), x0
"""


def test_a_signal_waits_for_the_window_and_the_store_buffer():
    m = plain()
    r = run(COLD_STORE + "signal 1\nafter: addi x3, x0, 1\nhalt", m)
    # the store asks for its line when it retires (S4), owns it at the fill, and drains then
    drained = idle_fill(m, 0x10000 // 64, r.at("store").retire)
    assert r.at("after").dispatch == drained
    assert r.last == r.at("after").retire  # halt has only the window to wait for


def test_halt_waits_for_the_store_buffer():
    m = plain()
    r = run(COLD_STORE + "halt", m)
    assert r.last == idle_fill(m, 0x10000 // 64, r.at("store").retire)


SIGNALLER = "main: li x1, 3\nmul x2, x1, x1\nmul x2, x2, x2\nsignal 7\nafter: addi x3, x0, 1\nhalt"
CONTROL = ".control 8\n"
WAITER = "main: li x1, 1\nbefore: addi x4, x0, 0\nwait 7, x1\nafter: addi x3, x0, 1\nhalt"


@pytest.mark.parametrize("signaller", [0, 1])
def test_a_signal_is_seen_in_the_cycle_it_is_given(signaller):
    texts = [WAITER, WAITER]
    texts[signaller] = SIGNALLER
    r = Simulation(texts, plain()).run()
    given = r.at("after", core=signaller).dispatch  # the slot behind the signal's
    waiter = 1 - signaller
    assert r.at("before", core=waiter).dispatch == r.first
    assert given > r.first + 1
    assert r.at("after", core=waiter).dispatch == given


@pytest.mark.parametrize("signaller", [0, 1])
def test_a_signal_is_seen_at_once_by_a_core_that_has_work_in_that_cycle(signaller):
    """F8: also by core 0, whose turn in the cycle has been (T3)."""
    chain = repeat(20, "addi x4, x4, 1")
    texts = [f"main: li x1, 1\n{chain}\nwait 7, x1\nafter: addi x3, x0, 1\nhalt"] * 2
    texts[signaller] = SIGNALLER
    r = Simulation(texts, plain()).run()
    given = r.at("after", core=signaller).dispatch
    rows = [row for row in r.rows if row.core == 1 - signaller]
    assert given in {row.issue for row in rows} & {row.retire for row in rows}
    assert r.at("after", core=1 - signaller).dispatch == given


@pytest.mark.parametrize("signaller", [0, 1])
def test_a_signal_that_is_not_enough_holds_nothing_up(signaller):
    """While the waiting core does nothing but retire, a uop a cycle."""
    texts = [f"main: li x1, 2\n{repeat(5, 'addi x4, x4, 1')}\nwait 7, x1\nhalt"] * 2
    texts[signaller] = SIGNALLER.replace("halt", "signal 7\nhalt")
    r = Simulation(texts, plain("core.ops.scalar.uops=20", "core.retire_width=1")).run()
    retired = [row.retire for row in r.rows if row.core == 1 - signaller]
    assert retired[0] < r.at("after", core=signaller).dispatch < retired[-1]
    assert [b - a for a, b in pairwise(retired)] == [20] * 5


@pytest.mark.parametrize("late", [1, 2])
def test_cores_that_see_a_signal_go_on_in_the_order_of_their_numbers(late):
    """T3: of two stores in the same cycle that of the higher number is the last."""
    texts = [SIGNALLER]
    for core in (1, 2):
        delay = "mul x2, x1, x1\nsignal 1\n" if core == late else ""
        texts.append(f"{CONTROL}main: li x1, 1\nli x5, {core}\n{delay}wait 7, x1\n"
                     "after: st x5, 0(x0)\nhalt")  # fmt: skip
    texts[0] = CONTROL + texts[0].replace("signal 7", "addi x2, x2, 1\n" * 40 + "signal 7")
    r = Simulation(texts, plain()).run()
    assert r.at("after", core=1).dispatch == r.at("after", core=2).dispatch
    assert r.cpu.control[0] == 2


def test_wait_passes_at_once_when_the_counter_is_there():
    r = run("main: li x1, 2\nsignal 7\nsignal 7\nfirst: addi x2, x0, 0\nwait 7, x1\n"
            "second: addi x2, x0, 0\nhalt")  # fmt: skip
    assert r.at("second").dispatch == r.at("first").dispatch


def test_waiting_for_a_signal_that_cannot_come_ends_the_run():
    with pytest.raises(SimulationFault, match="counter 7 is 1, waited for 2"):
        run("main: li x1, 2\nsignal 7\nwait 7, x1\nhalt")
