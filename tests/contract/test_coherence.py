"""Coherence between cores, slices of L3, the ways between: rules C1-C8 of docs/timing.md."""

from __future__ import annotations

import pytest

from tests.contract.harness import Simulation, machine, plain, repeat

L3 = ("l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=8")
# Ways through L1 and L2 of the plain machine, to the home and back, and an answer to a snoop.
OUT, BACK, LOOK_UP, SNOOP = 2 + 7, 1, 10, 20
HEAD = ".tensor x f32 64 16\nmain: li x1, 1\nli x2, x + {offset}\nfill.f32 t1, x0, x1, x1\n"
LOAD = "load.f32 t0, (x2), x0, x1, x1\n"
STORE = "store.f32 t1, (x2), x0\n"


def turns(*order, cores, body, on, offset=0, own=0):
    """Cores take turns: `order` names whose turn it is, `body` is what each does in its turn.

    Core i works at `offset` + i·`own` bytes. The n-th turn of a core has the label `turn_n`; no
    turn begins before all that was done in the one before has drained. `end_0` is where core 0 goes
    on when the stores of the last turn have.
    """
    texts = []
    for core in range(cores):
        text = HEAD.format(offset=offset + core * own)
        for number, mine in enumerate(order):
            if mine == core:
                action = body if isinstance(body, str) else body[number]
                text += f"li x5, {number}\nwait 0, x5\nturn_{number}: {action}signal 0\n"
        texts.append(text + f"li x5, {len(order)}\nwait 0, x5\nend_{core}: li x5, 0\nhalt\n")
    return Simulation(texts, on).run()


def counts(r):
    """Coherence counters that are not zero."""
    return {name: count for name, count in r.coherence.items() if count}


# --- litmus programs: what is counted -------------------------------------------------------------


def test_a_producer_s_line_goes_to_its_consumer_which_shares_it():
    r = turns(0, 1, cores=2, body=[STORE, LOAD], on=plain())
    assert counts(r) == {"exclusive_reads": 1, "reads": 1, "forwards": 1, "downgrades": 1}
    assert r.dram["writes"] == 1  # what was written is written back


def test_a_clean_line_is_forwarded_without_a_write_back():
    r = turns(0, 1, cores=2, body=LOAD, on=plain())
    assert counts(r) == {"reads": 2, "forwards": 1, "downgrades": 1}
    assert (r.dram["reads"], r.dram["writes"]) == (1, 0)


def test_a_written_line_is_written_back_to_l3_where_there_is_one():
    r = turns(0, 1, cores=2, body=[STORE, LOAD], on=plain(*L3))
    assert r.dram["writes"] == 0
    assert r.caches["L3"]["accesses"] == 1  # neither the forward nor the write-back is one


@pytest.mark.parametrize("own", [0, 4])
def test_writers_in_turns_send_the_line_to_and_fro_whether_they_share_bytes_or_not(own):
    r = turns(0, 1, 0, 1, 0, 1, cores=2, body=STORE, on=plain(), own=own)
    assert counts(r) == {"exclusive_reads": 6, "forwards": 5, "invalidations": 5}
    assert (r.dram["reads"], r.dram["writes"]) == (1, 0)


def test_a_migratory_line_is_forwarded_and_upgraded_in_every_turn():
    r = turns(0, 1, 2, 0, cores=3, body=LOAD + STORE, on=plain())
    # the first owns it by its read; of the others each reads, then takes it from the last
    assert counts(r) == {
        "reads": 4,
        "upgrades": 3,
        "forwards": 3,
        "downgrades": 3,
        "invalidations": 3,
    }


def test_readers_share_a_line_until_one_writes():
    body = [LOAD] * 5 + [STORE]
    r = turns(0, 1, 2, 3, 0, 2, cores=4, body=body, on=plain())
    assert counts(r) == {
        "reads": 4,
        "forwards": 1,
        "downgrades": 1,
        "upgrades": 1,
        "invalidations": 3,
    }
    assert r.dram["reads"] == 3  # cores 0, 2 and 3


def test_what_is_written_again_is_the_core_s_own():
    r = turns(0, 1, 1, 1, cores=2, body=[STORE, LOAD, STORE, STORE], on=plain())
    assert r.coherence["upgrades"] == 1


def test_a_line_alone_is_given_to_be_written():
    r = turns(0, 0, cores=2, body=[LOAD, STORE], on=plain())
    assert counts(r) == {"reads": 1}


def test_a_store_finds_its_line_shared_in_l2():
    # L1 has one line: the load of another pushes the shared one out of L1 alone
    other = "li x3, x + 1024\nload.f32 t0, (x3), x0, x1, x1\n"
    r = turns(
        0, 1, 1, 1, cores=2, body=[LOAD, LOAD, other, STORE], on=plain("l1.size=64", "l1.ways=1")
    )
    assert r.coherence["upgrades"] == 1
    assert r.coherence["exclusive_reads"] == 0
    assert r.caches["L2"]["hits"] == 1


@pytest.mark.parametrize("policy", ["lru", "plru", "srrip", "random"])
@pytest.mark.parametrize(("gone", "kept"), [(0, 1), (1, 0)])
def test_a_place_that_another_core_s_store_has_freed_is_taken_next(policy, gone, kept):
    def at(line, action):
        return f"addi x2, x2, {64 * line}\n{action}signal 9\naddi x2, x2, {-64 * line}\n"

    m = plain("l1.size=128", "l1.ways=2", "l2=none", f"l1.replacement={policy}")  # one set
    body = [at(0, LOAD) + at(1, LOAD), at(gone, STORE), at(2, LOAD) + at(kept, LOAD)]
    r = turns(0, 1, 0, cores=2, body=body, on=m)
    assert counts(r)["invalidations"] == 1
    assert (r.caches["L1"]["hits"], r.caches["L1"]["misses"]) == (1, 4)


def test_one_core_needs_no_directory():
    assert counts(turns(0, 0, 0, cores=1, body=LOAD + STORE, on=plain(*L3))) == {}


# --- when answers come ----------------------------------------------------------------------------

# topology, cores, hops: requester to home, home to owner, owner to requester; with one slice, whose
# stop is 0. Four stops of a mesh are two columns, five are three.
WAYS = [
    ("crossbar", 4, 0, 3, (1, 1, 1)),
    ("ring", 4, 1, 3, (1, 1, 2)),
    ("ring", 5, 2, 4, (2, 1, 2)),
    ("mesh", 4, 3, 1, (2, 1, 1)),
    ("mesh", 5, 2, 4, (2, 2, 2)),
]


@pytest.mark.parametrize(("topology", "cores", "reader", "owner", "hops"), WAYS)
def test_a_forward_takes_the_way_to_the_home_to_the_owner_and_to_the_reader(
    topology, cores, reader, owner, hops
):
    m = plain(*L3, f"interconnect.topology={topology}", "interconnect.hop_cycles=3")
    r = turns(owner, reader, cores=cores, body=[STORE, LOAD], on=m)
    load = r.at("turn_1", core=reader)
    assert load.complete - load.issue == OUT + LOOK_UP + SNOOP + 3 * sum(hops) + BACK


@pytest.mark.parametrize("cycles", [0, 1, 35])
def test_a_snoop_takes_cycles_of_l3_s_clock(cycles):
    m = plain(*L3, "l3.clock=500MHz", f"interconnect.snoop_cycles={cycles}")
    r = turns(0, 1, cores=2, body=[STORE, LOAD], on=m)
    load = r.at("turn_1", core=1)
    assert load.complete - load.issue == OUT + 2 * (LOOK_UP + cycles) + BACK


@pytest.mark.parametrize("slices", [1, 2, 4])
def test_an_l3_hit_of_one_core_takes_the_way_there_and_back(slices):
    m = plain(
        *L3, f"l3.slices={slices}", "interconnect.hop_cycles=5", "l1.size=64", "l1.ways=1",
        "l2.size=64", "l2.ways=1",
    )  # fmt: skip
    other = "li x3, x + 128\n" + LOAD.replace("x2", "x3")
    r = turns(0, 0, cores=1, body=[LOAD + other, LOAD], on=m, offset=64)
    load = r.at("turn_1")
    assert load.complete - load.issue == OUT + 5 + LOOK_UP + 5 + BACK


def drained(r):
    """The cycle in which the stores of the last turn have drained, which core 0 waits for."""
    return r.at("end_0").dispatch


def test_an_upgrade_waits_for_the_farthest_sharer():
    m = plain(*L3, "interconnect.topology=ring", "interconnect.hop_cycles=3")
    body = [LOAD, LOAD, LOAD, STORE]
    r = turns(0, 1, 3, 1, cores=6, body=body, on=m)
    store = r.at("turn_3", core=1)
    # core 1 to the home at stop 0: 1 hop; to core 3 and on to core 1: 3 + 2 hops; core 0: 0 + 1
    permission = store.retire + OUT + 3 + LOOK_UP + 3 * 3 + SNOOP + 3 * 2
    assert drained(r) == permission


@pytest.mark.parametrize(("snoop", "last"), [(20, 20), (0, 0)])
def test_an_exclusive_request_waits_for_the_line_and_for_all_who_give_it_up(snoop, last):
    m = plain(*L3, f"interconnect.snoop_cycles={snoop}")
    r = turns(0, 1, 2, cores=3, body=[LOAD, LOAD, STORE], on=m)
    store = r.at("turn_2", core=2)
    assert counts(r)["invalidations"] == 2
    assert r.caches["L3"]["hits"] == 1
    # L3's line is there when the directory has been looked up; a store's miss is filled into L1
    assert drained(r) == store.retire + OUT + LOOK_UP + last + BACK


def test_an_upgrade_needs_an_mshr_of_l1():
    # with one MSHR the second store asks when the first has its permission
    two = "li x3, x + 64\n" + LOAD + LOAD.replace("x2", "x3")
    store = STORE + STORE.replace("x2", "x3")
    body = [two, two, store]
    for mshrs, between in ((1, OUT + SNOOP), (2, 1)):
        m = plain(f"l1.mshrs={mshrs}")
        r = turns(0, 1, 1, cores=2, body=body, on=m)
        pc = r.labels[1]["turn_2"]
        first, second = [row for row in r.rows if (row.core, row.pc) in ((1, pc), (1, pc + 1))]
        assert second.retire == first.retire + 1
        assert drained(r) == first.retire + between + OUT + SNOOP


def test_waiting_for_another_core_s_line_is_booked_as_coherence():
    r = turns(0, 1, cores=2, body=[STORE, LOAD], on=plain())
    load = r.at("turn_1", core=1)
    assert r.slots["memory: coherence"] == 8 * (load.complete - load.issue)


def test_the_requests_of_many_readers_wait_while_the_owner_s_line_is_on_its_way():
    m = plain(*L3)
    texts = [HEAD.format(offset=0) + STORE + "signal 0\nhalt"]
    texts += [HEAD.format(offset=0) + "wait 0, x1\nload: " + LOAD + "halt"] * 3
    r = Simulation(texts, m).run()
    first, *others = [r.at("load", core=core) for core in (1, 2, 3)]
    assert first.complete - first.issue == OUT + LOOK_UP + SNOOP + BACK
    # then L3 has the line, for one core after the other, a line a cycle
    for load in others:
        assert load.issue == first.issue
        assert load.complete == first.complete + LOOK_UP
    assert r.coherence["forwards"] == 1


# --- slices and inclusion -------------------------------------------------------------------------


def stream_cycles(slices):
    """Cycles of 64 loads of lines that are all in L3, which passes a line in 16 cycles a slice."""
    m = plain(
        "l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=64", "l3.bytes_per_cycle=4",
        f"l3.slices={slices}", "l1.size=128", "l2.size=256", "l2.bytes_per_cycle=64",
    )  # fmt: skip
    loads = repeat(64, "load.f32 t0, (x2), x0, x1, x1\naddi x2, x2, 64")
    text = f".tensor x f32 64 16\nmain: li x1, 1\nli x2, x\n{loads}\nhalt"
    sim = Simulation(text, m)
    sim.run()
    return sim.run().cycles


def test_every_slice_has_a_port_of_its_own():
    one, two, four = (stream_cycles(slices) for slices in (1, 2, 4))
    assert 64 * 16 <= one <= 64 * 16 + 40
    assert 32 * 16 <= two <= 32 * 16 + 40
    assert 16 * 16 <= four <= 16 * 16 + 40


def test_an_inclusive_l3_takes_its_victims_from_all_who_hold_them():
    m = plain("l3.size=64", "l3.ways=1", "l3.hit_cycles=10", "l3.mshrs=8", "l3.inclusive=true")
    other = "li x3, x + 1024\nload.f32 t0, (x3), x0, x1, x1\n"
    r = turns(0, 1, 0, 1, cores=2, body=[STORE, LOAD, other, LOAD], on=m)
    # both copies of both cores; then the other line's, of core 0
    assert r.coherence["back_invalidations"] == 4 + 2
    # it was written in L1, and by its downgrade in L3
    assert (r.dram["reads"], r.dram["writes"]) == (3, 1)
    assert r.coherence["forwards"] == 1


def test_a_written_line_that_leaves_an_inclusive_l3_is_written_to_memory_from_l1():
    m = plain("l3.size=64", "l3.ways=1", "l3.hit_cycles=10", "l3.mshrs=8", "l3.inclusive=true")
    other = "li x3, x + 1024\nload.f32 t0, (x3), x0, x1, x1\n"
    for first, writes in ((STORE, 1), (LOAD, 0)):
        r = turns(0, 1, cores=2, body=[first, other], on=m)
        assert r.dram["writes"] == writes
        assert r.coherence["back_invalidations"] == 2


# --- the invariant --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["inclusive", "none", "sliced"])
def test_caches_and_directory_agree_after_every_cycle(monkeypatch, shape):
    monkeypatch.setattr("sim.engine.cpu.STEPS", 1)
    levels = {
        "inclusive": ("l3.size=256", "l3.ways=2", "l3.mshrs=8", "l3.hit_cycles=5",
                      "l3.inclusive=true"),
        "sliced": ("l3.size=384", "l3.ways=2", "l3.mshrs=8", "l3.hit_cycles=5", "l3.slices=3"),
        "none": ("l2=none",),
    }[shape]  # fmt: skip
    m = machine("teach", "l1.size=128", *(() if shape == "none" else ("l2.size=256",)), *levels)
    loads = "".join(f"li x2, x + {64 * i}\n{LOAD}" for i in range(6))
    stores = "".join(f"li x2, x + {64 * i + 4}\n{STORE}" for i in (1, 4, 0, 5))
    texts = [HEAD.format(offset=0) + body for body in (loads + stores, stores + loads, loads * 2)]
    sim = Simulation([text + "halt" for text in texts], m)
    sim.cpu.start()
    assert sim.cpu.run(progress=sim.cpu.check_coherence)
    sim.cpu.check_coherence()
