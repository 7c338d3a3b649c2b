"""Nodes with memory of their own and the links between them: rule C9 of docs/timing.md."""

from __future__ import annotations

import pytest

from isa.memory import TENSOR_BASE
from tests.contract.harness import Simulation, ceil_div, plain, run

PAGE = 4096
FIRST = TENSOR_BASE // PAGE  # page of x: even, so of node 0 where two nodes take turns
# Ways through L1 and L2 of the plain machine, to the home and back; an idle access to memory whose
# request comes at a multiple of 10 ns and 1: controller, activate, column, burst slot, burst.
OUT, BACK, SNOOP, CONTROLLER, COLUMN, SLOT = 2 + 7, 1, 20, 20, 15, 10
IDLE = 79
REMOTE = 30
ONE_LINE = ("l1.size=64", "l1.ways=1", "l2=none")
TOUCH = "load.f32 t0, ({x}), x0, x1, x1\n"


def nodes(n=2, *more, link="100GB/s", interleave="page"):
    """The plain machine with nodes."""
    table = (f"numa.nodes={n}", f"numa.remote_ns={REMOTE}", f"numa.link={link}")
    return plain(*table, f"numa.interleave={interleave}", *more)


def program(body, pages=64, **offsets):
    """A tensor x of pages; x1 is 1, further registers hold addresses in it."""
    setup = "".join(f"li {name}, x + {offset}\n" for name, offset in offsets.items())
    return f".tensor x f32 {64 * pages} 16\nmain: li x1, 1\n{setup}{body}halt\n"


def one_load(offset, on, cores=1, core=0):
    """One core of some loads from x + offset, the others halt; the run and the load's row."""
    texts = [program("")] * cores
    texts[core] = program("a: " + TOUCH.format(x="x2"), x2=offset)
    r = Simulation(texts, on).run()
    return r, r.at("a", core=core)


def time(row):
    """Cycles from the access to the data."""
    return row.complete - row.issue


def slot(ns):
    """The first burst slot at or after a time."""
    return SLOT * ceil_div(ns, SLOT)


# --- where things lie -----------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "ways"), [(0, 0), (1, 2), (2, 0), (63, 2)])
def test_pages_go_round_the_nodes_and_a_remote_one_is_two_ways_farther(page, ways):
    for inside in (0, PAGE - 64):
        r, load = one_load(page * PAGE + inside, nodes())
        assert time(load) == IDLE + ways * REMOTE
        assert r.nodes[page % 2]["remote_reads" if ways else "local_reads"] == 1


@pytest.mark.parametrize("more", [(), ("l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10",
                                       "l3.mshrs=8", "l3.slices=4")])  # fmt: skip
@pytest.mark.parametrize(("n", "cores", "of"), [(2, 4, [0, 0, 1, 1]), (2, 3, [0, 0, 1]),
                                                (4, 2, [0, 2]), (2, 1, [0])])  # fmt: skip
def test_cores_and_slices_are_dealt_to_nodes_in_equal_runs(n, cores, of, more):
    first = FIRST % n
    for core, node in enumerate(of):
        for page in range(n):
            _, load = one_load(page * PAGE, nodes(n, *more), cores, core)
            hit = 10 if more else 0
            assert time(load) == IDLE + hit + (0 if (first + page) % n == node else 2 * REMOTE)


@pytest.mark.parametrize(("n", "pages", "bounds"), [(2, 48, [32]), (4, 48, [16, 32, 48]),
                                                    (3, 49, [22, 44])])  # fmt: skip
def test_blocks_cut_the_pages_of_memory_into_equal_runs(n, pages, bounds):
    # with the pages before x there are 64 or 65
    assert [ceil_div(k * (FIRST + pages), n) for k in range(1, n)] == bounds
    for node, bound in enumerate(bounds):
        for page, where in ((bound - 1, node), (bound, node + 1)):
            if page < FIRST:
                continue
            text = program(TOUCH.format(x="x2"), pages, x2=(page - FIRST) * PAGE)
            r = run(text, nodes(n, interleave="block"))
            reads = [each["local_reads"] + each["remote_reads"] for each in r.nodes]
            assert reads == [int(k == where) for k in range(n)]


def test_rows_of_dram_hold_lines_of_one_node():
    # page 16 and 18 are the ninth and tenth of node 0: two pages make a row of 8 KiB
    body = TOUCH.format(x="x2") + "signal 0\n" + TOUCH.format(x="x3")
    same = run(program(body, x2=0, x3=2 * PAGE), nodes(2, "dram.row_bytes=8KiB"))
    other = run(program(body, x2=0, x3=4 * PAGE), nodes(2, "dram.row_bytes=8KiB"))
    assert (same.dram["row_hits"], other.dram["row_hits"]) == (1, 0)


@pytest.mark.parametrize("interleave", ["page", "block"])
def test_a_node_s_slices_hold_its_lines_in_all_their_sets(interleave):
    # two pages of node 1 fill its two slices of 64 sets of one way, and nothing leaves them
    pages = (1, 3) if interleave == "page" else (24, 25)
    body = "li x4, 4\nli x5, 64\n"
    for page in pages:
        for start in range(0, PAGE, 256):
            body += f"li x2, x + {page * PAGE + start}\nload.f32 t0, (x2), x5, x4, x1\nsignal 0\n"
    m = nodes(2, "l1.size=64", "l1.ways=1", "l2.size=64", "l2.ways=1", "l3.size=16KiB",
              "l3.ways=1", "l3.hit_cycles=10", "l3.mshrs=8", "l3.slices=4",
              interleave=interleave)  # fmt: skip
    simulation = Simulation(program(body, 32), m)
    assert [simulation.run().caches["L3"]["misses"] for _ in range(2)] == [128, 0]


def test_without_l3_each_node_has_a_home_at_the_first_stop_of_its_cores():
    m = nodes(2, "interconnect.topology=ring", "interconnect.hop_cycles=5")
    # home of node 0 at stop 0, of node 1 at stop 2: hops from core 0 and from core 3
    for core, page, hops, far in ((0, 0, 0, 0), (0, 1, 2, 1), (3, 0, 1, 1), (3, 1, 1, 0)):
        _, load = one_load(page * PAGE, m, 4, core)
        arrives = load.issue + OUT + 5 * hops + REMOTE * far
        end = slot(arrives + CONTROLLER + 2 * COLUMN) + SLOT
        assert load.complete == end + 5 * hops + REMOTE * far + BACK


def test_one_node_is_no_nodes():
    text = program("a: " + TOUCH.format(x="x2") + "b: " + TOUCH.format(x="x3"), x2=0, x3=PAGE)
    with_table, without = run(text, nodes(1, link="1MB/s")), run(text)
    assert with_table.rows == without.rows
    assert with_table.nodes == without.nodes == []


# --- messages between cores -----------------------------------------------------------------------

# reader, home and owner: a core is in its node
TRIPLES = [(0, 0, 1), (0, 1, 1), (1, 0, 0), (0, 2, 1), (0, 1, 2), (2, 0, 1)]


@pytest.mark.parametrize(("reader", "home", "owner"), TRIPLES)
@pytest.mark.parametrize("action", ["load.f32 t0, (x2), x0, x1, x1", "store.f32 t1, (x2), x0"])
def test_a_forward_takes_the_three_ways_between_three_nodes(reader, home, owner, action):
    page = (home - FIRST) % 3
    texts = [program("")] * 3
    texts[owner] = program(TOUCH.format(x="x2") + "signal 0\n", x2=page * PAGE)
    body = (
        f"fill.f32 t1, x0, x1, x1\nwait 0, x1\na: {action}\nsignal 1\nli x5, 0\nb: addi x5, x5, 1\n"
    )
    texts[reader] = program(body, x2=page * PAGE)
    r = Simulation(texts, nodes(3, "interconnect.snoop_cycles=20")).run()
    ways = (reader != home) + (home != owner) + (owner != reader)
    row = r.at("a", core=reader)
    if action.startswith("load"):
        assert time(row) == OUT + SNOOP + ways * REMOTE + BACK
    else:  # the access is made when the store retires; what follows the signal waits for its drain
        drained = r.at("b", core=reader).dispatch
        assert drained - row.retire == OUT + SNOOP + ways * REMOTE + BACK
    brought = [int(node == home != owner) for node in range(3)]
    forwarded = [int(node == owner != reader) for node in range(3)]
    sent = [each["lines_sent"] for each in r.nodes]
    assert sent == [a + b for a, b in zip(brought, forwarded, strict=True)]


def test_an_upgrade_waits_for_a_sharer_in_another_node_but_for_no_link():
    # core 1 forwards a line of node 0 to core 0, so the link from it is taken for 1000 ns
    m = nodes(2, link="64MB/s")
    share = program(TOUCH.format(x="x2") + "signal 0\n", x2=0)
    write = program(
        f"wait 0, x1\n{TOUCH.format(x='x2')}fill.f32 t1, x0, x1, x1\n"
        "a: store.f32 t1, (x2), x0\nsignal 1\nb: li x5, 0\n",
        x2=0,
    )
    r = Simulation([write, share], m).run()
    assert r.coherence["upgrades"] == 1
    assert r.at("b").dispatch - r.at("a").retire == OUT + REMOTE + SNOOP + REMOTE
    assert r.nodes[0]["lines_sent"] == 1  # what core 1 read at first
    assert r.nodes[1]["lines_sent"] == 1  # and forwarded


# --- links ----------------------------------------------------------------------------------------


def test_lines_of_one_link_follow_each_other_and_those_of_others_do_not_wait():
    # 40 ns a line; a and b come from node 1, c from node 2
    m = nodes(3, "l2=none", link="1.6GB/s")
    one, two = (1 - FIRST) % 3 * PAGE, (2 - FIRST) % 3 * PAGE
    body = "".join(
        f"{at}: {TOUCH.format(x=x)}" for at, x in (("a", "x2"), ("b", "x3"), ("c", "x4"))
    )
    r = run(program(body, x2=one, x3=one + 64, x4=two), m)
    arrive = [r.at(label).issue + 2 + REMOTE for label in "abc"]
    first = slot(arrive[0] + CONTROLLER + 2 * COLUMN) + SLOT  # of b a burst later
    other = slot(arrive[2] + CONTROLLER + 2 * COLUMN) + SLOT
    leave = [first, first + 40, other]
    assert [r.at(label).complete for label in "abc"] == [out + REMOTE + BACK for out in leave]


def test_nobody_waits_for_a_write_back_but_the_next_line_on_its_link():
    m = nodes(2, *ONE_LINE, link="0.32GB/s")  # 200 ns a line
    writer = program(
        "fill.f32 t1, x0, x1, x1\nstore.f32 t1, (x2), x0\nsignal 9\n"
        f"a: {TOUCH.format(x='x3')}signal 0\n",
        x2=PAGE,  # of node 1
        x3=0,
    )
    reader = program(f"wait 0, x1\nb: {TOUCH.format(x='x4')}", x4=64)  # the row of x3
    r = Simulation([writer, reader], m).run()
    a, b = r.at("a"), r.at("b", core=1)
    # a pushes out what was written when it begins, and waits for its own line alone
    assert a.complete == slot(a.issue + 2 + CONTROLLER + 2 * COLUMN) + SLOT + BACK
    free = a.issue + 200
    assert slot(b.issue + 2 + REMOTE + CONTROLLER + COLUMN) + SLOT < free
    assert b.complete == free + REMOTE + BACK
    assert [each["lines_sent"] for each in r.nodes] == [2, 1]
    assert r.dram["writes"] == 1


def test_a_store_waits_for_invalidations_that_come_after_its_line():
    # core 0, of node 0, wants to write a line of node 1 that cores 2 and 3, of node 1, share
    m = nodes(
        2, "interconnect.snoop_cycles=500", "l2.bytes_per_cycle=64", link="0.64GB/s"
    )  # 100 ns
    sharer = program(TOUCH.format(x="x2") + "signal 0\n", x2=PAGE)
    third = program(f"wait 0, x1\n{TOUCH.format(x='x2')}signal 1\n", x2=PAGE)
    writer = program(
        "fill.f32 t1, x0, x1, x1\nwait 1, x1\n"
        f"a: store.f32 t1, (x2), x0\nc: {TOUCH.format(x='x3')}signal 2\nb: li x5, 0\n",
        x2=PAGE,
        x3=3 * PAGE,
    )
    r = Simulation([writer, program(""), sharer, third], m).run()
    assert r.coherence["exclusive_reads"] == 1
    assert r.coherence["invalidations"] == 2
    # the store makes its access when it retires; its line takes the link beside that of c
    a, c = r.at("a"), r.at("c")
    answered = a.retire + OUT + REMOTE + 500 + REMOTE
    assert c.complete < answered
    assert r.at("b").dispatch == answered + BACK


def test_a_written_line_that_an_inclusive_l3_loses_takes_the_link_home():
    m = nodes(2, "l3.size=256", "l3.ways=2", "l3.hit_cycles=10", "l3.mshrs=8", "l3.slices=2",
              "l3.inclusive=true")  # fmt: skip
    text = program(
        "fill.f32 t1, x0, x1, x1\nstore.f32 t1, (x2), x0\nsignal 0\n"
        + TOUCH.format(x="x3") + "signal 0\n" + TOUCH.format(x="x4"),
        x2=PAGE, x3=PAGE + 64, x4=PAGE + 128,
    )  # fmt: skip
    r = run(text, m)
    assert r.coherence["back_invalidations"] == 2
    assert r.dram["writes"] == 1
    assert [each["lines_sent"] for each in r.nodes] == [1, 3]


# --- what physics says ----------------------------------------------------------------------------

FAST = ("core.width=8", "l1.mshrs=256", "l2.mshrs=256", "l2.bytes_per_cycle=64",
        "core.units.load.bytes=64", "core.units.load.pipes=4", "core.load_queue=256",
        "dram.banks=8", "dram.gigabytes_per_second=6.4GB/s")  # fmt: skip


def stream(first, pages, core, cores, on):
    """Cores read pages that lie 8 KiB apart, each from its first page on; the run."""
    texts = []
    for number in range(cores):
        body = "".join(
            f"li x2, x + {(first[number] + 2 * page) * PAGE + row}\nload.f32 t0, (x2), x5, x4, x1\n"
            for page in range(pages)
            for row in range(0, PAGE, 256)
        )
        working = core is None or number == core
        texts.append(program("li x4, 4\nli x5, 64\n" + body if working else "", 2 * pages))
    return Simulation(texts, on).run()


def rate(r, pages):
    """GB/s of a run that reads so many pages."""
    return pages * PAGE / (r.cpu.seconds * 1e9)


@pytest.mark.parametrize("link", [2, 16])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_is_as_fast_as_the_own_node_s_dram_or_the_other_s_link_and_no_faster(
    link, channels
):
    m = nodes(2, *FAST, f"dram.channels={channels}", link=f"{link}GB/s")
    for core, page, cores in ((0, 0, 1), (0, 1, 1), (0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2)):
        own = core == page
        limit = 6.4 * channels if own else min(link, 6.4 * channels)
        r = stream([page, page], 8, core, cores, m)
        assert 0.9 * limit < rate(r, 8) <= limit
        assert r.nodes[page]["local_reads" if own else "remote_reads"] == 8 * 64


def test_memory_works_on_while_the_link_is_full():
    """Of the DRAM of node 1 core 1, which is there, gets half; core 0's lines fill the link."""
    m = nodes(2, *FAST, link="0.4GB/s")

    def reads(page):
        rows = range(page * PAGE, (page + 1) * PAGE, 256)
        loads = "".join(f"li x2, x + {row}\nload.f32 t0, (x2), x5, x4, x1\n" for row in rows)
        return program(f"li x4, 4\nli x5, 64\n{loads}", 4)

    def retired(far):
        first = 1 - FIRST % 2  # a page of node 1
        r = Simulation([reads(first) if far else program("", 4), reads(first + 2)], m).run()
        assert r.nodes[1]["remote_reads"] == (64 if far else 0)
        return max(row.retire for row in r.rows if row.core == 1)

    assert retired(far=True) < 2 * retired(far=False)


def test_cores_of_both_nodes_together_use_all_channels_of_both():
    m = nodes(2, *FAST, "dram.channels=2", link="16GB/s")
    r = stream([0, 1], 8, None, 2, m)
    assert rate(r, 16) > 3.6 * 6.4  # of four channels
    crossed = stream([1, 0], 8, None, 2, m)
    assert rate(crossed, 16) > 3.6 * 6.4
    assert [each["lines_sent"] for each in crossed.nodes] == [8 * 64, 8 * 64]
