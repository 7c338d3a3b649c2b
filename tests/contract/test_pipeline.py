"""Random programs without memory pass every stage in the cycle that F, W and I say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from isa.table import BY_NAME
from tests.contract.harness import PLAIN, Simulation, machine, repeat, slots
from tests.contract.model_core import Pipeline, Step, TwoBitCounters

ARITHMETIC = [
    "addi x{x}, x{y}, 1",
    "mul x{x}, x{y}, x{z}",
    "fill.f32 t{a}, x{y}, x1, x1",
    "fadd t{a}, t{b}, t{c}",
    "exp t{a}, t{b}",
    "recip t{a}, t{b}",
    "matmul.f32 t{a}, t{d}, t{e}",
    "matmul.f32 t{a}, t{d}, t{e}",
    "softmax t{a}, t{d}, t{e}",
    "beq x0, x0, +2",
    "bne x0, x0, +2",
]


@st.composite
def arithmetic_programs(draw):
    """Straight-line code on square tiles with short forward branches; its size, its text."""
    size = draw(st.integers(3, 4))
    lines = []
    for _ in range(draw(st.integers(1, 40))):
        a, d, e = draw(st.permutations(range(4)))[:3]
        b, c = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        x, y, z = (draw(st.integers(4, 6)) for _ in range(3))
        line = draw(st.sampled_from(ARITHMETIC))
        lines.append(line.format(x=x, y=y, z=z, a=a, b=b, c=c, d=d, e=e))
    return size, "\n".join(lines)


@st.composite
def cores(draw):
    """Overrides for cores of all widths and kinds."""
    choose = {
        "core.kind": ["in-order", "out-of-order", "out-of-order"],
        "core.width": [1, 2, 3, 6],
        "core.retire_width": [1, 2, 5],
        "core.rob": [8, 9, 16, 64],
        "core.units.scalar.pipes": [1, 2],
        "core.units.vector.pipes": [1, 2, 3],
        "core.units.scalar.queue": [1, 3, 8],
        "core.units.vector.queue": [1, 2, 8],
        "core.mispredict_penalty": [0, 3],
        "core.taken_branch_bubble": [0, 1],
        "core.predictor_entries": [1, 8],
        "core.ops.elementwise.uops": [1, 3],
        "core.ops.matmul.slot": ["vector", "row", "instruction"],
        "core.ops.matmul.accumulate_latency": [1, 4],
        "core.ops.transcendental.uops": [1, 2],
        "core.ops.fill.latency": [1, 5],
    }
    return [f"{key}={draw(st.sampled_from(values))}" for key, values in choose.items()]


def trace(sim, r, size):
    """The executed instructions as steps of the pipeline model."""
    m, code = sim.machine, sim.programs[0].decoded()
    counters = TwoBitCounters(m.core.predictor_entries)
    writer: dict[str, int] = {}
    steps: list[Step] = []
    for i, row in enumerate(r.rows):
        instr = code[row.pc]
        entry = BY_NAME[instr.mnemonic]
        op = m.core.op(entry.cls, entry.dtype)
        cracked = entry.cls == "matmul" and op.slot == "vector"
        n = slots(m, entry.cls, entry.dtype, size, size, k=size)
        following = r.rows[i + 1].pc if i + 1 < len(r.rows) else row.pc + 1
        step = Step(op.unit, n, 1 if op.uops == "slot" else op.uops, op.latency, [])
        if op.uops == "slot":
            step.uops = n // op.occupancy
        written = []
        for value, operand in zip(instr.operands, entry.operands, strict=True):
            name = f"{operand.kind.name}{value}"
            if operand.kind.name not in ("x", "t") or name == "x0":
                continue
            if operand.role in ("read", "readwrite") and name in writer:
                source = writer[name]
                matmul = code[r.rows[source].pc].mnemonic == "matmul.f32"
                if entry.cls == "matmul" and operand.role == "readwrite" and matmul:
                    step.accumulator = source
                else:
                    step.sources.append(source)
            if operand.role in ("write", "readwrite"):
                written.append(name)
        writer.update(dict.fromkeys(written, i))
        if entry.cls == "matmul":
            again = op.accumulate_latency
            step.accumulate_latency = op.latency if again is None else again
            step.chain = size if cracked else 0
        if entry.cls == "branch":
            step.taken = instr.mnemonic == "beq"
            assert step.taken == (following == row.pc + 2) or i + 1 == len(r.rows)
            step.redirect = not counters.predicts(row.pc, step.taken)
        steps.append(step)
    return steps


@given(program=arithmetic_programs(), overrides=cores())
@settings(max_examples=200, deadline=None)
def test_random_programs_pass_every_stage_in_the_cycle_the_rules_say(program, overrides):
    size, text = program
    sim = Simulation(
        f"main: li x1, {size}\n{repeat(4, 'fill.f32 t{i}, x0, x1, x1')}\nhalt\n"
        f"go:\n{text}\naddi x7, x0, 0\nhalt",
        machine(PLAIN, *overrides),
    )
    sim.run("main")
    r = sim.run("go")
    steps = trace(sim, r, size)
    Pipeline(sim.machine, steps, r.first).run()
    assert [(row.pc, row.dispatch, row.issue, row.complete, row.retire) for row in r.rows] == [
        (row.pc, step.dispatch, step.issue, step.complete, step.retire)
        for row, step in zip(r.rows, steps, strict=True)
    ]
    assert r.core["mispredictions"] == sum(step.redirect for step in steps)
