"""Builds the engine's state: the machine as numbers in one flat array, programs as decoded rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from isa.memory import PAGE_BYTES, MemoryMap
from isa.program import Program
from isa.table import BY_OPCODE, FLOPS, OP, Instruction
from sim.account import COHERENCE_COUNTERS
from sim.engine import layout as at
from sim.machine.core import Core
from sim.machine.memory import BLOCKS, Cache, SharedCache
from sim.machine.schema import CoreKind, Machine

I64 = NDArray[np.int64]
SIGNALS = 1 << 16
FS_PER_NS = 1_000_000
MHZ_TO_FS = 1_000_000_000  # femtoseconds of a cycle at 1 MHz
KIND_WORDS = (256 * at.O_SIZE, at.L_SIZE, at.L_SIZE)  # operations, L1 and L2 of a type of cores

KINDS = {
    "scalar": at.KIND_SCALAR,
    "mul": at.KIND_SCALAR,
    "branch": at.KIND_BRANCH,
    "control": at.KIND_CONTROL,
    "load": at.KIND_LOAD,
    "prefetch": at.KIND_LOAD,
    "store": at.KIND_STORE,
    "fill": at.KIND_FILL,
    "matmul": at.KIND_MATMUL,
    "pack": at.KIND_PACK,
    "transcendental": at.KIND_UNARY,
    "divide": at.KIND_UNARY,
    "reduce": at.KIND_REDUCE,
    "softmax": at.KIND_SOFTMAX,
    "sync": at.KIND_SYNC,
    "region": at.KIND_REGION,
}
ACCESSES = {
    "": at.ACCESS_ROWS,
    "rows": at.ACCESS_ROWS,
    "columns": at.ACCESS_COLUMNS,
    "gather": at.ACCESS_GATHER,
    "broadcast": at.ACCESS_BROADCAST,
    "byte": at.ACCESS_BYTE,
}
SLOTS = {
    "instruction": at.SLOT_INSTRUCTION,
    "row": at.SLOT_ROW,
    "vector": at.SLOT_VECTOR,
    "array": at.SLOT_ARRAY,
}
DATAFLOWS = {"os": at.DATAFLOW_OS, "ws": at.DATAFLOW_WS, "is": at.DATAFLOW_IS}
PREFETCHERS = {
    "none": at.PREFETCH_NONE,
    "next-line": at.PREFETCH_NEXT_LINE,
    "stride": at.PREFETCH_STRIDE,
}
POLICIES = {
    "lru": at.POLICY_LRU,
    "plru": at.POLICY_PLRU,
    "srrip": at.POLICY_SRRIP,
    "random": at.POLICY_RANDOM,
}


def kind_of(row: Instruction) -> int:
    """How the front end treats an instruction."""
    if row.cls == "elementwise":
        binary = OP["fadd"] <= row.opcode <= OP["fcmpgt.const"]
        return at.KIND_BINARY if binary else at.KIND_UNARY
    return KINDS[row.cls]


def decode_program(program: Program) -> I64:
    """One row of ``P_SIZE`` words per instruction, flattened."""
    rows = np.zeros((len(program), at.P_SIZE), dtype=np.int64)
    rows[:, [at.P_DEST, at.P_DEST2, at.P_ACC]] = -1
    for words, instr in zip(rows, program.decoded(), strict=True):
        row = instr.row
        words[at.P_OP] = row.opcode
        words[at.P_KIND] = kind_of(row)
        words[at.P_ACCESS] = ACCESSES[row.access]
        words[at.P_RAW] = row.raw
        words[at.P_BYTES] = row.element_bytes
        formula = FLOPS[row.flops]
        words[at.P_FLOPS] = formula.mnk << 4 | formula.mn
        words[at.P_A : at.P_A + len(instr.operands)] = instr.operands
        sources = 0
        destinations = [at.P_DEST, at.P_DEST2]
        for value, operand in zip(instr.operands, row.operands, strict=True):
            if operand.kind.name not in ("x", "t"):
                continue
            register = value + (32 if operand.kind.name == "t" else 0)
            if operand.role in ("read", "readwrite") and register != 0:
                if operand.role == "readwrite" and row.cls == "matmul":
                    words[at.P_ACC] = sources
                words[at.P_SOURCE + sources] = register
                sources += 1
            if operand.role in ("write", "readwrite") and register != 0:
                words[destinations.pop(0)] = register
        words[at.P_SOURCES] = sources
    return rows.reshape(-1)


def power_above(value: int) -> int:
    """Smallest power of two >= value."""
    return 1 << max(value - 1, 1).bit_length()


def shift_of(value: int) -> int:
    """log2 of a power of two, -1 for any other number."""
    return value.bit_length() - 1 if value & (value - 1) == 0 else -1


def fs(ns: float) -> int:
    """Nanoseconds to femtoseconds."""
    return round(ns * FS_PER_NS)


def host_lines(words: int) -> I64:
    """Zeros that begin with a line of the host's caches."""
    room = np.zeros(words + 7, dtype=np.int64)
    first = -(room.ctypes.data // 8) % 8
    return room[first : first + words]


@dataclass
class Allocator:
    """Hands out consecutive ranges of the state."""

    end: int = 0

    def take(self, words: int) -> int:
        """Offset of a new range, which starts at a multiple of eight words (a host line)."""
        start = (self.end + 7) // 8 * 8
        self.end = start + words
        return start


@dataclass
class Built:
    """The state arrays and where a reader finds its parts."""

    S: I64
    P: I64
    control: int
    log: int


def most_store_entries(machine: Machine) -> int:
    """Store-queue entries of one store at most, which an empty queue takes whatever its size."""
    tiles, line = machine.core.tiles, machine.l1.line
    return tiles.rows * ((tiles.row_bytes + line - 2) // line + 1)


def cache_words(cache: Cache) -> int:
    """State words of a cache level, of L3 those of one slice."""
    slices = cache.slices if isinstance(cache, SharedCache) else 1
    # sets are read eight words at a time
    return (at.V_TAGS + cache.sets // slices * set_words(cache) + 8 + 7) // 8 * 8


def set_words(cache: Cache) -> int:
    """Words of a set: its ways, those of its policy, and one that brings sets of 15 into line."""
    words = cache.ways + (cache.replacement == "plru")
    return words + (words % 8 == 7)


def empty_cache(state: I64, cache: Cache, mshrs: int) -> None:
    """State of a level, of L3 of one slice, that holds nothing.

    The ring of MSHRs is as small as goes, for the host's own caches. Misses that wait for an MSHR
    are in it, too: at most those that hold one of a level above, so it is for ``mshrs`` in all.
    """
    state[at.V_DRAWN] = cache.replacement_seed
    state[at.V_MSHR_MASK] = power_above(mshrs + 1) - 1
    state[at.V_STRIDES : at.V_LINES_PORT : 4] = -1
    state[at.V_TAGS :] = -1


def private_mshrs(kind: CoreKind) -> int:
    """MSHRs of a core's own levels."""
    return kind.l1.mshrs + (kind.l2.mshrs if kind.l2 else 0)


def put_cache(S: I64, cfg: int, cache: Cache | None, shared_fs: int | None, nodes: int = 1) -> None:
    """Config block of a level; ``shared_fs`` is the cycle of the shared level's clock."""
    if cache is None:
        return
    sets = cache.sets
    if isinstance(cache, SharedCache):
        sets //= cache.slices
        S[cfg + at.L_SLICES] = cache.slices // nodes
        S[cfg + at.L_SLICE_SIZE] = cache_words(cache)
        S[cfg + at.L_INCLUSIVE] = cache.inclusive
    S[cfg + at.L_PRESENT] = 1
    S[cfg + at.L_SETS] = sets
    S[cfg + at.L_SET_MASK] = sets - 1 if shift_of(sets) >= 0 else -1
    S[cfg + at.L_WAYS] = cache.ways
    S[cfg + at.L_SET_WORDS] = set_words(cache)
    S[cfg + at.L_POLICY] = POLICIES[cache.replacement]
    S[cfg + at.L_MSHRS] = cache.mshrs
    S[cfg + at.L_PREFETCH] = PREFETCHERS[cache.prefetch]
    S[cfg + at.L_DEGREE] = cache.prefetch_degree
    S[cfg + at.L_DISTANCE] = cache.prefetch_distance
    width = cache.bytes_per_cycle or cache.line
    if shared_fs is None:
        S[cfg + at.L_HIT] = cache.hit_cycles
        S[cfg + at.L_FILL] = cache.fill_cycles
        S[cfg + at.L_BANDWIDTH] = width
        S[cfg + at.L_WIDTH_SHIFT] = shift_of(width)
    else:
        S[cfg + at.L_HIT] = cache.hit_cycles * shared_fs
        S[cfg + at.L_FILL] = cache.fill_cycles * shared_fs
        S[cfg + at.L_BANDWIDTH] = -(-cache.line * shared_fs // width)


def put_dram(S: I64, machine: Machine, cfg: int) -> int:
    """Config block of DRAM; returns the words of one channel's state."""
    d = machine.dram
    times = {
        at.D_CONTROLLER: d.controller_ns,
        at.D_RCD: d.trcd_ns,
        at.D_CL: d.tcl_ns,
        at.D_RP: d.trp_ns,
        at.D_RAS: d.tras_ns,
        at.D_WR: d.twr_ns,
        at.D_RTP: d.trtp_ns,
        at.D_WTR: d.twtr_ns,
        at.D_RTW: d.trtw_ns,
        at.D_RFC: d.trfc_ns if d.trefi_ns else 0,
    }
    for word, ns in times.items():
        S[cfg + word] = fs(ns)
    S[cfg + at.D_REFI] = fs(d.trefi_ns) or at.INF
    S[cfg + at.D_CHANNELS] = d.channels
    S[cfg + at.D_BANKS] = d.banks
    S[cfg + at.D_LINES_PER_ROW] = d.row_bytes // machine.l1.line
    S[cfg + at.D_BURST] = fs(machine.l1.line / d.gigabytes_per_second)
    S[cfg + at.D_WRITE_BATCH] = d.write_batch
    S[cfg + at.D_CHANNEL_SHIFT] = shift_of(d.channels)
    S[cfg + at.D_ROW_SHIFT] = shift_of(d.row_bytes // machine.l1.line)
    S[cfg + at.D_BANK_SHIFT] = shift_of(d.banks)
    words = (at.K_BANKS + d.banks * at.B_SIZE + 7) // 8 * 8
    S[cfg + at.D_CHANNEL_STRIDE] = words
    return words


def page_table(machine: Machine, memory: MemoryMap) -> I64:
    """Of every page its node, and the lines of other nodes below it; empty with one node."""
    count = -(-memory.total_bytes // PAGE_BYTES) if machine.nodes > 1 else 0
    page = np.arange(count, dtype=np.int64)
    if machine.numa and machine.numa.interleave == BLOCKS:
        node = page * machine.nodes // max(count, 1)
        others = -(-node * count // machine.nodes)  # those of the blocks before
    else:
        node = page % machine.nodes
        others = page - page // machine.nodes
    return np.stack([node, others * (PAGE_BYTES // machine.l1.line)], axis=1)


def put_ops(S: I64, ops: int, core: Core) -> None:
    """Operation properties by opcode."""
    units = list(core.units)
    for opcode, row in BY_OPCODE.items():
        if row.cls == "region":
            continue
        op = core.op(row.cls, row.dtype)
        if op is None:  # a matmul type the machine lacks: programs are checked against the Target
            continue
        o = ops + opcode * at.O_SIZE
        S[o + at.O_UNIT] = units.index(op.unit)
        S[o + at.O_SLOT] = SLOTS[op.slot]
        S[o + at.O_UOPS] = -1 if op.uops == "slot" else op.uops
        S[o + at.O_LATENCY] = op.latency
        S[o + at.O_OCCUPANCY] = op.occupancy
        accumulate = op.accumulate_latency
        S[o + at.O_ACC_LATENCY] = op.latency if accumulate is None else accumulate


def build(
    machine: Machine,
    programs: list[Program],
    memory: MemoryMap,
    *,
    values: bool,
    regions: int,
    log: int,
) -> Built:
    """Lay the whole machine out; ``log`` is the number of instructions to keep times of."""
    cores = len(programs)
    kinds = [machine.kind_of(i) for i in range(cores)]
    # Blocks of all cores are laid out alike, with room for the largest.
    ring = power_above(max(kind.core.rob for kind in kinds))
    queue = max(kind.core.store_queue for kind in kinds)
    sq_ring = power_above(max(queue, most_store_entries(machine)))
    second = [kind.l2 for kind in kinds if kind.l2]

    inner = Allocator(at.C_SIZE)
    entries = inner.take(ring * at.E_SIZE)
    gather = inner.take(ring * 16)
    sq = inner.take(sq_ring * at.Q_SIZE)
    si = inner.take(sq_ring * at.I_SIZE)
    predictor = inner.take(max(kind.core.predictor_entries for kind in kinds))
    ras = inner.take(max(1, *(kind.core.return_stack for kind in kinds)))
    level1 = inner.take(max(cache_words(kind.l1) for kind in kinds))
    level2 = inner.take(max(map(cache_words, second))) if second else 0
    home_ways = inner.take(machine.homes)
    core_ways = inner.take(cores)
    stride = inner.take(0)

    outer = Allocator(at.H_SIZE)
    core_base = outer.take(stride * cores)
    l3 = outer.take(at.L_SIZE)
    types = [machine.type_of(i) for i in range(cores)]
    own = {name: [outer.take(size) for size in KIND_WORDS] for name in dict.fromkeys(types)}
    dram = outer.take(at.D_SIZE)
    tensors = outer.take(2 * max(len(memory.tensors), 1))
    account_words = max(regions, 1) * at.A_COLUMNS
    account = outer.take(cores * account_words)
    signals = outer.take(SIGNALS)
    given = outer.take(at.GIVEN_SIZE)
    control = outer.take(memory.control_bytes // 8)
    log_at = outer.take(log * at.G_SIZE) if log else 0
    l3_state = outer.take(cache_words(machine.l3) * machine.homes) if machine.l3 else 0
    coherence = outer.take(len(COHERENCE_COUNTERS))
    times = outer.take(cores)
    order = outer.take(cores)
    node_state = outer.take(machine.nodes * at.M_SIZE)
    pages = page_table(machine, memory)
    pages_at = outer.take(pages.size)
    dram_state = outer.end = (outer.end + 7) // 8 * 8

    header = np.zeros(outer.end, dtype=np.int64)
    channel_words = put_dram(header, machine, dram)
    # The directory comes last: the host gives memory only to what is touched of it.
    channels = machine.dram.channels * machine.nodes
    directory = dram_state + channel_words * channels
    lines = -(-memory.total_bytes // machine.l1.line)
    S = host_lines(directory + (lines * at.Y_SIZE if cores > 1 else 0))
    S[: len(header)] = header

    l3_cycle = MHZ_TO_FS // ((machine.l3.clock if machine.l3 else None) or machine.clock)
    put_cache(S, l3, machine.l3, l3_cycle, machine.nodes)
    for name, (ops, l1, l2) in own.items():
        kind = machine.kinds[name]
        put_ops(S, ops, kind.core)
        put_cache(S, l1, kind.l1, None)
        put_cache(S, l2, kind.l2, None)
    S[pages_at : pages_at + pages.size] = pages.reshape(-1)
    if machine.l3:
        size = cache_words(machine.l3)
        mshrs = machine.l3.mshrs + max(map(private_mshrs, kinds))
        for home in range(machine.homes):
            empty_cache(S[l3_state + home * size :][:size], machine.l3, mshrs)
    for k in range(channels):
        channel = dram_state + k * channel_words
        S[channel + at.K_BUS : channel + at.K_BANKS] = -1
        # No read and no write yet, so nothing to turn around from.
        S[channel + at.K_READ_END] = -S[dram + at.D_RTW]
        S[channel + at.K_WRITE_END] = -S[dram + at.D_WTR]
        banks = S[channel + at.K_BANKS : channel + channel_words]
        banks[at.B_ROW :: at.B_SIZE] = -1
    for i, tensor in enumerate(memory.tensors):
        S[tensors + 2 * i] = tensor.address
        S[tensors + 2 * i + 1] = tensor.end

    values_of: dict[int, int] = {
        at.H_CORES: cores,
        at.H_CORE_BASE: core_base,
        at.H_CORE_STRIDE: stride,
        at.H_VALUES: int(values),
        at.H_CONTROL: control,
        at.H_CONTROL_WORDS: memory.control_bytes // 8,
        at.H_TENSORS: tensors,
        at.H_TENSOR_COUNT: len(memory.tensors),
        at.H_MEMORY_END: memory.total_bytes,
        at.H_REGIONS: max(regions, 1),
        at.H_ACCOUNT: account,
        at.H_SIGNALS: signals,
        at.H_GIVEN: given,
        at.H_INSTRUCTION_LIMIT: at.INF,
        at.H_LOG: log_at,
        at.H_LOG_CAPACITY: log,
        at.H_TILES: machine.core.tiles.count,
        at.H_TILE_ROWS: machine.core.tiles.rows,
        at.H_ROW_BYTES: machine.core.tiles.row_bytes,
        at.H_LINE_SHIFT: machine.l1.line.bit_length() - 1,
        at.H_RING: ring - 1,
        at.H_SQ_RING: sq_ring - 1,
        at.H_L3: l3,
        at.H_L3_STATE: l3_state,
        at.H_DRAM: dram,
        at.H_DRAM_STATE: dram_state,
        at.H_ENTRIES: entries,
        at.H_GATHER: gather,
        at.H_SQ: sq,
        at.H_SI: si,
        at.H_PREDICTOR: predictor,
        at.H_RAS: ras,
        at.H_LEVEL1: level1,
        at.H_LEVEL2: level2,
        at.H_HOME_WAYS: home_ways,
        at.H_CORE_WAYS: core_ways,
        at.H_SNOOP: machine.interconnect.snoop_cycles * l3_cycle,
        at.H_DIRECTORY: directory if cores > 1 else 0,
        at.H_COHERENCE: coherence,
        at.H_TURN: fs(machine.turn_ns) if cores > 1 else 0,
        at.H_TIMES: times,
        at.H_ORDER: order,
        at.H_LOAD_AHEAD: machine.load_ahead_cycles,
        at.H_NODES: machine.nodes,
        at.H_NODE_STATE: node_state,
        at.H_PAGES: pages_at,
        at.H_PAGE_SHIFT: shift_of(PAGE_BYTES // machine.l1.line),
        at.H_LINK: fs(machine.l1.line / machine.numa.link) if machine.numa else 0,
    }
    for word, value in values_of.items():
        S[word] = value
    S[order : order + cores] = range(cores)

    remote = fs(machine.numa.remote_ns) if machine.numa else 0
    P: list[I64] = []
    offset = 0
    for i, program in enumerate(programs):
        block = S[core_base + i * stride : core_base + (i + 1) * stride]
        put_core(block, kinds[i], level1, level2, predictor)
        block[[at.C_OPS, at.C_L1, at.C_L2]] = own[types[i]]
        block[at.C_F_MHZ] = machine.clock_of(i)

        block[at.C_BIT] = 1 << i
        block[at.C_ACCOUNT] = account + i * account_words
        node = machine.node_of_core(i, cores)
        block[at.C_NODE] = node
        hop = machine.interconnect.hop_cycles * l3_cycle
        for home in range(machine.homes):
            far = remote if machine.node_of_home(home) != node else 0
            block[home_ways + home] = hop * machine.home_hops(i, home, cores) + far
        for other in range(cores):
            far = remote if machine.node_of_core(other, cores) != node else 0
            block[core_ways + other] = hop * machine.core_hops(i, other, cores) + far
        rows = decode_program(program)
        block[at.C_PROGRAM] = offset
        block[at.C_PROGRAM_WORDS] = len(program)
        top = int(
            max(
                (r[at.P_A] for r in rows.reshape(-1, at.P_SIZE) if r[at.P_KIND] == at.KIND_REGION),
                default=0,
            )
        )
        if top >= S[at.H_REGIONS]:
            raise UserError(f"program {program.name!r} names operator {top}; only {regions} exist")
        P.append(rows)
        offset += len(rows)
    return Built(S, np.concatenate(P), control, log_at)


def put_core(block: I64, kind: CoreKind, level1: int, level2: int, predictor: int) -> None:
    """One core's block before the first instruction."""
    core = kind.core
    units = list(core.units)
    parameters = {
        at.C_WIDTH: core.width,
        at.C_RETIRE_WIDTH: core.retire_width,
        at.C_ROB: core.rob,
        at.C_LOAD_QUEUE: core.load_queue,
        at.C_STORE_QUEUE: core.store_queue,
        at.C_IN_ORDER: int(core.kind == "in-order"),
        at.C_PREDICTOR_MASK: core.predictor_entries - 1,
        at.C_HISTORY_MASK: (1 << core.history_bits) - 1 if core.predictor == "gshare" else 0,
        at.C_PERFECT: int(core.predictor == "perfect"),
        at.C_MISPREDICT: core.mispredict_penalty,
        at.C_RETURN_STACK: core.return_stack,
        at.C_BUBBLE: core.taken_branch_bubble,
        at.C_FORWARD: core.forward_cycles,
        at.C_UNIT_COUNT: len(units),
        at.C_LOAD_UNIT: units.index(next(op.unit for op in core.ops if op.cls == "load")),
    }
    for word, value in parameters.items():
        block[word] = value
    for word in (
        at.C_RETIRE_NEXT,
        at.C_SB_NEXT,
        at.C_LOAD_NEXT,
        at.C_ISSUE_WAKE,
        at.C_NEXT,
        at.C_HORIZON,
    ):
        block[word] = at.INF
    for word in (
        at.C_REDIRECT,
        at.C_LOAD_CURRENT,
        at.C_IO_HEAD,
        at.C_IO_TAIL,
        at.C_WAIT_SIGNAL,
        at.C_SQ_LAST_DRAIN,
        at.C_RETIRES,
        at.N_PC,
    ):
        block[word] = -1
    block[at.C_HALTED] = 1
    block[at.C_RENAME : at.C_RENAME + 96] = -1
    for i, unit in enumerate(core.units.values()):
        u = at.C_UNITS + at.U_SIZE * i
        block[u + at.U_PIPES] = unit.pipes
        block[u + at.U_QUEUE] = unit.queue
        block[u + at.U_BYTES] = unit.bytes or kind.l1.line
        block[u + at.U_HEAD] = block[u + at.U_TAIL] = -1
        block[u + at.U_WAKE] = at.INF
        block[u + at.U_HELD] = at.HELD_NONE
        if unit.array is not None:
            block[u + at.U_DATAFLOW] = DATAFLOWS[unit.array.dataflow]
            block[u + at.U_ARRAY_ROWS] = unit.array.rows
            block[u + at.U_ARRAY_COLUMNS] = unit.array.columns
    block[predictor : predictor + core.predictor_entries] = 2  # weakly taken
    empty_cache(block[level1 : level1 + cache_words(kind.l1)], kind.l1, kind.l1.mshrs)
    if kind.l2 is not None:
        state = block[level2 : level2 + cache_words(kind.l2)]
        empty_cache(state, kind.l2, private_mshrs(kind))
