"""Governors from files and from Python: what they change, what the result says, bad files."""

import json

import pytest

from isa.assembler import assemble, assemble_file
from isa.errors import UserError
from isa.memory import MemoryMap
from sim import simulate
from sim.account import CAUSES
from sim.cli.tables import summary
from sim.engine import Cpu
from sim.governor import Change, MemoryAware, governor_of, load_schedule
from sim.ledger import Ledger
from sim.machine import load_machine
from sim.reference import ReferenceCpu
from sim.result import Region

TOY = {"workload": "toy-llama", "machine": "teach", "ids": [1, 2, 3], "tokens": 2, "values": False}
NS = 10**6


@pytest.fixture
def written(tmp_path):
    """A file of that text, under its header if ``rows`` are given."""

    def write(rows, header="time,core,clock"):
        file = tmp_path / "schedule.csv"
        file.write_text("\n".join([header, *rows]), encoding="utf-8")
        return file

    return write


def test_a_schedule_is_read_with_its_units(written):
    file = written(["# a comment", "", " 2us , all, 2GHz", "1,1,800MHz", "0.5ns, 0, 1.5GHz"])
    assert load_schedule(file, cores=2) == [
        Change(2000 * NS, None, 2000),
        Change(NS, 1, 800),
        Change(NS // 2, 0, 1500),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("-1ns,all,2GHz", "line 2: time -1ns: the run begins at 0"),
        ("soon,all,2GHz", "line 2: 'soon' is no quantity"),
        ("1ns,2,2GHz", "line 2: core 2: there is none; use 0 to 1, or all"),
        ("1ns,first,2GHz", "line 2: core first: there is none"),
        ("1ns,all,2", "line 2: '2' has no unit"),
        ("1ns,all,0GHz", "line 2: '0GHz': a clock must be faster"),
        ("1ns,all", "line 2: 2 columns; write time,core,clock"),
    ],
)
def test_a_bad_row_is_named(written, row, message):
    with pytest.raises(UserError, match=message):
        load_schedule(written([row]), cores=2)


def test_files_that_are_no_schedule(written, tmp_path):
    with pytest.raises(UserError, match="line 1: begin with time,core,clock"):
        load_schedule(written([], header="1ns,all,2GHz"), cores=1)
    with pytest.raises(UserError, match="line 1: begin with time,core,clock"):
        load_schedule(written([], header=""), cores=1)
    with pytest.raises(UserError, match="has no changes; write some below time,core,clock"):
        load_schedule(written(["# 1ns,all,2GHz"]), cores=1)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        load_schedule(tmp_path / "none.csv", cores=1)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="no UTF-8 text"):
        load_schedule(tmp_path / "bytes.csv", cores=1)


def test_a_clock_set_at_the_beginning_is_that_of_the_whole_run(written):
    changed = simulate(**TOY, governor=written(["0,all,2GHz"]))
    fixed = simulate(**TOY, clock="2GHz")
    assert changed.account == fixed.account
    assert fixed.governor == "fixed"
    assert changed.governor.endswith("schedule.csv")


def test_the_order_of_a_file_is_free_and_its_later_line_holds(written):
    rows = ["60us,all,500MHz", "20us,all,4GHz", "20us,0,2GHz"]
    account = simulate(**TOY, governor=written(rows)).account
    assert simulate(**TOY, governor=written([rows[1], rows[2], rows[0]])).account == account
    assert simulate(**TOY, governor=written([rows[2], rows[0]])).account == account


def test_a_function_governs_both_engines_alike(matmul_source):
    def toggle(cpu):
        for megahertz in (500, 3000, 700) * 20:
            yield cpu.environment.timeout(11 * NS)
            assert cpu.now_fs >= cpu.environment.now
            cpu.set_clock(0, megahertz)

    seen = []
    for engine in (Cpu, ReferenceCpu):
        kernel = assemble_file(matmul_source)
        cpu = engine(load_machine("teach"), [kernel.program], kernel.memory, regions=3)
        kernel.write_tensors(cpu.mem)
        cpu.environment.process(governor_of(toggle, cores=1)(cpu))
        cpu.start()
        cpu.run()
        seen.append((cpu.cycles, cpu.now_fs, cpu.account().tolist()))
    assert seen[0] == seen[1]


def test_a_governor_s_mistake_ends_the_run():
    def wrong(cpu):
        yield cpu.environment.timeout(NS)
        cpu.set_clock(1, 1000)

    with pytest.raises(UserError, match="there is no core 1"):
        simulate(**TOY, governor=wrong)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_run_asm_takes_a_schedule(tickformer, matmul_source, written, engine):
    file = written(["100ns,all,500MHz"])
    outcome = tickformer(
        "run-asm", matmul_source, "--governor", file, "--engine", engine, "--json", "-"
    )
    report = json.loads(outcome.out)
    assert report["governor"] == str(file)
    assert report["seconds"] == pytest.approx((100 + (report["cycles"] - 100) * 2) * 1e-9)
    assert "core_cycles" not in report


def test_run_says_who_governs(tickformer, written):
    file = written(["20us,all,2GHz"])
    options = ["--machine", "teach", "--ids", "1,2", "--tokens", "1", "--values", "off"]
    outcome = tickformer("run", "toy-llama", *options, "--governor", file)
    assert f"toy-llama on teach at 1GHz, governor {file}, bf16" in outcome.out
    outcome = tickformer("run", "toy-llama", *options, "--governor", "none.csv")
    assert (outcome.code, outcome.out) == (1, "")
    assert "governor file none.csv cannot be read" in outcome.err


# The first core reads lines from DRAM, one for 64 bytes; the other does arithmetic.
READS = """
    .tensor x f32 512 16
main: li x1, x
    li x2, x + 512 * 64
    li x3, 16
    li x4, 4
loop: load.f32 t0, (x1), x3, x4, x4
    fadd.const t0, t0, x0
    addi x1, x1, 64
    blt x1, x2, loop
    halt
"""
ADDS = """
    .tensor x f32 512 16
main: li x1, 12000
loop: addi x1, x1, -1
    bne x1, x0, loop
    halt
"""
LOW_AND_HIGH = {"low": 500, "high": 2000, "period": 1000 * NS}


@pytest.mark.parametrize("engine", [Cpu, pytest.param(ReferenceCpu, marks=pytest.mark.slow)])
def test_a_memory_aware_governor_slows_the_core_that_waits_for_memory(engine):
    sources = [assemble(READS), assemble(ADDS)]
    machine = load_machine("teach", ["cores=2"])

    def run(governor):
        cpu = engine(machine, [each.program for each in sources], sources[0].memory)
        set_clock = cpu.set_clock

        def noted(core, megahertz):
            asked[core].append(megahertz)
            set_clock(core, megahertz)

        cpu.set_clock = noted
        asked = [[], []]
        if governor:
            cpu.environment.process(governor(cpu))
        cpu.start()
        cpu.run()
        return cpu, asked

    fixed, _ = run(None)
    governed, asked = run(MemoryAware(**LOW_AND_HIGH))
    # A line takes some 55 ns and 10 cycles of the core; in the last period a core may have halted.
    assert set(asked[0][:30]) == {500}
    assert set(asked[1][:6]) == {2000}
    assert governed.now_fs < 1.2 * fixed.now_fs
    assert governed.core_cycles[0] < 0.6 * fixed.core_cycles[0]


def test_both_engines_tell_a_governor_the_same_at_any_time():
    """But for the empty slots behind a branch, which may be booked with it or as they pass."""
    sources = [assemble(READS), assemble(ADDS)]
    others = [i for i, cause in enumerate(CAUSES) if cause != "front end"]
    seen = []
    for engine in (Cpu, ReferenceCpu):
        cpu = engine(
            load_machine("teach", ["cores=2", "core.kind=out-of-order"]),
            [each.program for each in sources],
            sources[0].memory,
        )
        told = []

        def looks(cpu, told=told):
            while True:
                yield cpu.environment.timeout(173 * NS)
                slots = [cpu.slots(core, settled=True) for core in (0, 1)]
                told.append([each[:, others].tolist() for each in slots])

        cpu.environment.process(looks(cpu))
        cpu.start()
        cpu.run()
        seen.append((told, cpu.account().tolist(), cpu.core_cycles))
    assert len(seen[0][0]) > 100
    assert seen[0] == seen[1]


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_a_memory_aware_governor_is_named_on_the_command_line(tickformer, tmp_path, engine):
    file = tmp_path / "reads.s"
    file.write_text(READS, encoding="utf-8")
    name = "memory-aware:low=500MHz,period=1us"
    outcome = tickformer("run-asm", file, "--governor", name, "--engine", engine)
    assert outcome.code == 0
    clock = float(outcome.out.split("average clock: ")[1].split()[0])
    assert 500 <= clock < 530  # MHz: the first microsecond is at 1 GHz
    outcome = tickformer("run-asm", file, "--governor", name, "--engine", engine, "--json", "-")
    assert json.loads(outcome.out)["governor"] == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("memory-aware:slow=1GHz", "'slow' is none of low, high, period"),
        ("memory-aware:low=1", "'1' has no unit"),
        ("memory-aware:low", "'' is no quantity"),
        ("memory-aware:period=0", "the period must be at least 1ns"),
        ("memory-aware:period=1fs", "the period must be at least 1ns"),
        ("memory-awar", "Did you mean 'memory-aware'?"),
    ],
)
def test_what_a_memory_aware_governor_cannot_be(name, message):
    with pytest.raises(UserError, match=message):
        governor_of(name, cores=1)


@pytest.mark.parametrize("given", [{"low": 2000, "high": 1900}, {"low": 1001}, {"high": 499}])
def test_a_low_clock_above_the_high_one_is_refused(given):
    """Also where one of them is the default: 500 MHz and 1 GHz on a machine of 1 GHz."""
    cpu = ReferenceCpu(load_machine("teach"), [assemble("main: halt").program], MemoryMap())
    with pytest.raises(UserError, match=r"core 0 has a low clock of .* give both"):
        MemoryAware(**given)(cpu)


@pytest.mark.parametrize("cpu_class", [Cpu, ReferenceCpu])
def test_a_governed_run_can_be_stopped(cpu_class):
    """Also where the governor acts more often than a run without one is looked at."""
    cpu = cpu_class(load_machine("teach"), [assemble("main: j main").program], MemoryMap())
    cpu.environment.process(MemoryAware(period=1000 * NS)(cpu))
    cpu.start()
    assert not cpu.run(should_stop=lambda: True, instruction_limit=100_000)


SPIN = "main: li x1, {}\nloop: addi x1, x1, -1\nbne x1, x0, loop\nhalt"


@pytest.mark.parametrize("turns", [(5, 55), (55, 5)])
@pytest.mark.parametrize(
    ("clocks", "differ"), [('"1GHz", "1GHz"', False), ('"1GHz", "2GHz"', True)]
)
def test_cycles_are_core_0_s_and_those_of_all_are_told_where_clocks_differ(clocks, differ, turns):
    programs = [assemble(SPIN.format(count)).program for count in turns]
    machine = load_machine("teach", ["cores=2", f"core_clocks=[{clocks}]"])
    cpu = Cpu(machine, programs, MemoryMap())
    ledger = Ledger(cpu, [Region("other", "other")])
    for _ in range(2):
        cpu.start()
        cpu.run()
        ledger.close_step("program", 0, 0)
    account = ledger.account()
    assert account.seconds == pytest.approx(cpu.now_fs / 1e15)
    assert account.cycles == -(-cpu.now_fs // 10**6)  # the first ns at or after the end
    assert account.core_cycles == cpu.core_cycles
    assert sum(account.causes.values()) == sum(cpu.core_cycles) / 2
    assert account.to_dict().get("core_cycles") == (cpu.core_cycles if differ else None)
    assert ("cycles by core: " in summary(account)) == differ
