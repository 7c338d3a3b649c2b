"""The account: rules A1-A3 of docs/timing.md, causes worked out slot by slot."""

from __future__ import annotations

import pytest

from tests.contract.harness import Simulation, plain, repeat, run

WIDTH = 4
OVERRIDES = (f"core.width={WIDTH}", "core.retire_width=4")

SETUP = """
.control 64
.tensor x f32 64 16
main:
    li x1, 1
    li x2, x
    li x3, 3
    fill.f32 t0, x0, x1, x1
    li x9, 9
    halt
go:
"""


def go(text, *overrides, before=""):
    """Run `text` behind the setup (and a first run of `before`), on four slots a cycle."""
    sim = Simulation(f"{SETUP}{text}\nhalt\nbefore:\n{before}\nhalt", plain(*OVERRIDES, *overrides))
    sim.run("main")
    if before:
        sim.run("before")
    r = sim.run("go")
    assert sum(r.slots.values()) == WIDTH * r.cycles
    return r


def test_filled_slots_retire_and_the_rest_waits_for_the_oldest():
    r = go(repeat(10, "addi x4, x0, {i}"))
    # ten slots of 2.5 cycles; the last addition retires in cycle 4, where halt ends the run
    assert r.cycles == 4
    assert r.slots == {"retiring": 10, "core: scalar": 4 * 4 - 10}


def test_a_long_operation_is_charged_to_its_unit():
    r = go("exp t1, t0\naddi x4, x0, 1")
    exp = r.rows[0]
    assert r.cycles == exp.retire - r.first
    assert r.slots == {"retiring": 2, "core: vector": WIDTH * r.cycles - 2}


def test_a_waiting_instruction_is_charged_to_its_own_unit():
    r = go("mul x4, x3, x3\nfill.f32 t1, x4, x1, x1", "core.ops.mul.latency=20")
    product, fill = r.rows
    waiting = WIDTH * (product.retire - r.first) - 2  # the product is the oldest
    assert r.slots == {
        "retiring": 2,
        "core: scalar": waiting,
        "core: vector": WIDTH * (fill.retire - product.retire),
    }


# --- A2 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0, 6])
@pytest.mark.parametrize("slot", [0, 1, 3])
def test_slots_behind_a_mispredicted_branch_are_bad_speculation(slot, penalty):
    fillers = repeat(slot, "addi x4, x0, 1")
    r = go(
        f"{fillers}\nbne x0, x0, +2\nafter: addi x5, x0, 1", f"core.mispredict_penalty={penalty}"
    )
    branch = r.rows[slot]
    resumes = branch.complete + penalty
    assert r.at("after").dispatch == resumes
    assert r.slots["bad speculation"] == WIDTH * (resumes - branch.dispatch) - slot - 1
    assert r.slots["retiring"] == slot + 2


@pytest.mark.parametrize("bubble", [0, 3])
@pytest.mark.parametrize("slot", [0, 2])
def test_slots_behind_a_taken_branch_are_the_front_end_s(slot, bubble):
    fillers = repeat(slot, "addi x4, x0, 1")
    r = go(f"{fillers}\nj +2\nhalt\nafter: addi x5, x0, 1", f"core.taken_branch_bubble={bubble}")
    assert r.slots["front end"] == WIDTH - slot - 1 + WIDTH * bubble
    assert r.at("after").dispatch == r.first + 1 + bubble


def test_waiting_for_another_core():
    waiter = "main: li x1, 1\nwait 7, x1\nafter: addi x3, x0, 1\nhalt"
    signaller = "main: li x1, 3\nmul x2, x1, x1\nsignal 7\ntold: addi x3, x0, 1\nhalt"
    r = Simulation([waiter, signaller], plain(*OVERRIDES)).run()
    told = r.at("told", core=1).dispatch
    assert r.at("after").dispatch == told
    # the waiter fills slot 0 of cycle 0 and waits from the next slot to the signal's cycle
    assert r.slots["waiting for other cores"] == WIDTH * told - 1


def test_a_fence_behind_a_draining_store_is_the_store_s():
    r = go("store: store.f32 t0, (x2), x0")
    store = r.at("store")
    drained = r.last  # a miss, after which halt comes
    assert r.slots == {
        "retiring": 1,
        "core: store": WIDTH * (store.retire - r.first) - 1,
        "memory: store": WIDTH * (drained - store.retire),
    }
    assert drained > store.retire + 50


def test_a_full_store_queue_is_the_store_s():
    r = go(
        "li x4, 64\nli x5, 4\nfill.f32 t1, x0, x5, x1\n"
        "a: store.f32 t1, (x2), x4\nb: store.f32 t1, (x2), x4\nc: store.f32 t1, (x2), x4",
        "core.store_queue=8",
    )
    c = r.at("c")
    # a and b fill the queue; from b's retirement on nothing but the queue is in the way
    waiting = WIDTH * (c.dispatch - r.at("b").retire)
    assert waiting > WIDTH * 50
    # before, dispatch stops for c too, with a or b as the oldest; behind, halt waits for the drain
    assert r.slots["memory: store"] >= waiting + WIDTH * (r.last - c.retire)


def test_counters_are_zero_at_every_start():
    """T4: a second run waits for the second run's signal."""
    sim = Simulation(
        ["main: li x1, 1\nwait 7, x1\nhalt", "main: mul x2, x2, x2\nsignal 7\nhalt"],
        plain(*OVERRIDES),
    )
    first, second = (sim.run().slots.get("waiting for other cores", 0) for _ in range(2))
    assert first == second > 0


# --- A3 -------------------------------------------------------------------------------------------

SMALL = ("l1.size=64", "l1.ways=1", "l2.size=128", "l2.ways=2", "l3.size=64KiB", "l3.ways=4",
         "l3.hit_cycles=20", "l3.mshrs=8")  # fmt: skip
TOUCH = "load.f32 t1, (x2), x0, x1, x1\nsignal 0\n"
OTHERS = {
    "memory: L1": 0,
    "memory: L2": 1,  # one other line pushes it out of L1
    "memory: L3": 2,  # two push it out of L2 too
    "memory: DRAM": None,
}


@pytest.mark.parametrize(("cause", "others"), OTHERS.items())
def test_a_started_load_is_charged_to_the_level_that_serves_it(cause, others):
    before = ""
    if others is not None:
        before = TOUCH + "".join(
            f"addi x4, x2, {64 * (i + 1)}\nload.f32 t1, (x4), x0, x1, x1\nsignal 0\n"
            for i in range(others)
        )
    r = go("load.f32 t1, (x2), x0, x1, x1", *SMALL, before=before)
    load = r.rows[0]
    # slots 1-3 of its dispatch cycle: it has not started; from then on the level
    assert load.issue == r.first + 1
    assert r.slots == {
        "retiring": 1,
        "core: load": WIDTH - 1,
        cause: WIDTH * (load.retire - load.issue),
    }


def test_a_merged_load_is_charged_to_where_the_line_comes_from():
    r = go("load.f32 t1, (x2), x0, x1, x1\nload.f32 t2, (x2), x0, x1, x1")
    first, second = r.rows
    assert first.retire == second.retire
    assert r.slots == {
        "retiring": 2,
        "core: load": WIDTH - 2,
        "memory: DRAM": WIDTH * (first.retire - first.issue),
    }


def test_of_lines_that_arrive_together_the_one_accessed_last_counts():
    # x + 0 and x + 128 share a set of L1: row 0 hits L2, one cycle longer than a hit of L1, and
    # row 1, accessed a cycle later, hits L1
    r = go(
        "load.f32 t1, (x2), x7, x8, x1",
        *("l1.size=128", "l1.ways=1", "l1.fill_cycles=0", "l2.hit_cycles=1"),
        before="li x7, 64\nli x8, 2\n"
        + "".join(
            f"addi x4, x2, {offset}\nload.f32 t1, (x4), x0, x1, x1\nsignal 0\n"
            for offset in (0, 64, 128)
        ),
    )
    load = r.rows[0]
    assert (r.caches["L1"]["hits"], r.caches["L2"]["hits"]) == (1, 1)
    assert load.complete == load.issue + 1 + r.machine.l1.hit_cycles
    assert r.slots == {
        "retiring": 1,
        "core: load": WIDTH - 1,
        "memory: L1": WIDTH * (load.retire - load.issue),
    }


# --- operators ------------------------------------------------------------------------------------


def test_operators_get_what_their_instructions_do():
    r = run(
        """
        .tensor x f32 64 16 ones
        main:
            li x1, x
            li x2, 64
            li x3, 4
        .region 1 load
            load.f32 t0, (x1), x2, x3, x3
            fill.f32 t1, x0, x3, x3
        .region 2 multiply
            matmul.f32 t1, t0, t0
            fadd t2, t1, t1
        .region 3 store
            store.f32 t2, (x1), x2
            halt
        """,
        plain("core.width=2"),
    )
    rows = r.operators
    assert [row["instructions"] for row in rows[:4]] == [3, 2, 2, 1]
    assert [row["retiring"] for row in rows[:4]] == [3, 2, 2, 1]
    assert [row["flops"] for row in rows[:4]] == [0, 0, 2 * 4 * 4 * 4 + 4 * 4, 0]
    assert [row["dram_read_bytes"] for row in rows[:4]] == [0, 4 * 64, 0, 0]
    assert rows[1]["memory: DRAM"] > 0 == rows[2]["memory: DRAM"]
    assert rows[2]["core: vector"] > 0
    assert sum(r.slots.values()) == 2 * r.cycles


def test_written_bytes_belong_to_the_operator_whose_access_pushes_the_line_out():
    r = run(
        """
        .tensor x f32 64 16
        main:
            li x1, x
            li x2, x + 1024
            li x3, 1
            fill.f32 t0, x0, x3, x3
        .region 1 store
            store.f32 t0, (x1), x0
            signal 0
        .region 2 push
            load.f32 t1, (x2), x0, x3, x3
            halt
        """,
        plain("l1.size=64", "l1.ways=1", "l2=none", "dram.write_batch=1"),
    )
    assert [row["dram_write_bytes"] for row in r.operators[:3]] == [0, 0, 64]
    assert [row["dram_read_bytes"] for row in r.operators[:3]] == [0, 64, 64]


def test_runs_add_up():
    sim = Simulation(
        ".tensor x f32 64 16\nmain: li x1, 1\nli x2, x\nload.f32 t0, (x2), x0, x1, x1\nsignal 1\n"
        "halt",
        plain("core.width=3"),
    )
    total = 0
    for _ in range(4):
        r = sim.run()
        assert sum(r.slots.values()) == 3 * r.cycles
        assert r.slots["retiring"] == 4
        total += r.cycles
    assert total == sim.cpu.cycles
