"""Where everything stands in the engine's state.

The whole machine is one flat ``int64`` array ``S``: a header, one block per core, the shared
levels, DRAM and the account.  A snapshot of a run is a copy of it.  This table is the only place
that knows an offset; compiled code sees the names as constants.

Names: ``H_`` header words, ``C_`` words of a core block (relative to its base), ``E_`` fields of a
window entry, ``Q_`` store-queue entries, ``I_`` store instructions, ``U_`` units, ``L_`` one cache
level, ``O_`` one row of operation properties, ``P_`` one decoded instruction, ``N_`` the
next instruction of a core, ``A_`` account columns, ``X_`` causes, ``Y_`` a line in the directory,
``Z_`` counters of coherence, ``M_`` a node, ``R_`` a page of memory, ``W_`` a port of lines.
Times are core cycles unless the name ends in ``FS`` (integer femtoseconds).
"""

INF = 1 << 62

# --- header -----------------------------------------------------------------------------------
(
    H_CORES,
    H_CORE_BASE,  # offset of core 0's block
    H_CORE_STRIDE,
    H_VALUES,  # 1: tile arithmetic is executed
    H_CONTROL,  # offset of the control segment (int64 words)
    H_CONTROL_WORDS,
    H_TENSORS,  # offset of the tensor table: (first byte, end) pairs, ascending
    H_TENSOR_COUNT,
    H_MEMORY_END,  # first byte above all tensors
    H_REGIONS,  # number of operators
    H_ACCOUNT,  # offset of core 0's account, which has the bytes of DRAM of all cores
    H_SIGNALS,  # offset of the signal counters
    H_GIVEN,  # offset of the last signals where cores take turns: how many, and a ring of them
    H_INSTRUCTIONS,  # dispatched by all cores
    H_INSTRUCTION_LIMIT,
    H_FAULT,  # a number of isa.faults.Fault, 0: none
    H_FAULT_CORE,
    H_FAULT_PC,
    H_FAULT_ARGUMENTS,  # four words
    _H_FAULT_B,
    _H_FAULT_C,
    _H_FAULT_D,
    H_RUNNING,  # cores that have not halted
    H_LOG,  # offset of the instruction log, 0: none
    H_LOG_CAPACITY,
    H_LOG_COUNT,
    # the same for all cores
    H_TILES,
    H_TILE_ROWS,
    H_ROW_BYTES,
    H_LINE_SHIFT,
    H_RING,  # window entries in the largest core's ring (power of two) - 1
    H_SQ_RING,  # store-queue ring, likewise
    H_L3,  # config block
    H_L3_STATE,  # offset of the shared level's state, slice by slice
    H_DRAM,  # offset of the DRAM config block
    H_DRAM_STATE,
    H_ENTRIES,  # core block: offset of the window entries
    H_GATHER,  # core block: offset of gathered row addresses, 16 words an entry
    H_SQ,  # core block: offset of the store queue
    H_SI,  # core block: offset of the store instructions
    H_PREDICTOR,  # core block: offset of the two-bit counters
    H_RAS,  # core block: offset of the return stack
    H_LEVEL1,  # core block: offset of L1 state
    H_LEVEL2,  # core block: offset of L2 state
    H_HOME_WAYS,  # core block: offset of the ways to each home, FS
    H_CORE_WAYS,  # core block: offset of the ways to each core, FS
    H_SNOOP,  # how long a core takes to answer another's request, FS
    H_DIRECTORY,  # offset of the directory, Y_SIZE words a line; 0: one core needs none
    H_COHERENCE,  # offset of the counters of sim.account.COHERENCE_COUNTERS
    H_TURN,  # how long a core goes on before the next one, FS; 0: cycle by cycle
    H_TURN_AT,  # start of the turn worked on, FS
    H_IN_STEP,  # 1: cores are worked cycle by cycle, and their cycles start together
    H_TIMES,  # offset of the places of the cores' next cycles (sim/engine/turns.py); INF: none
    H_ORDER,  # offset of the cores' numbers in the order of these places
    H_SIGNALLED,  # 1: a core has raised a counter that others wait for
    H_LOAD_AHEAD,  # cycles that a load's accesses are made ahead
    H_NODES,  # number of nodes
    H_NODE_STATE,  # offset of the nodes, M_SIZE words each
    H_PAGE_SHIFT,  # log2 of the lines in a page
    H_PAGES,  # offset of the pages, R_SIZE words each, where there are several nodes
    H_LINK,  # how long a line keeps a link from the next, FS
) = range(61)
H_SIZE = 64

MAX_UNITS = 8

# --- signals, where cores take turns: a ring of counters and the starts of their cycles, FS ------
GIVEN_RING = 4096
GIVEN_SIZE = 1 + 2 * GIVEN_RING

# --- a core's words ---------------------------------------------------------------------------
(
    C_NOW,
    C_NEXT,  # next cycle in which anything can happen; INF: waits for another core
    C_PC,
    C_HALTED,
    C_REGION,
    C_DISPATCH_SLOT,  # dispatch slots handed out so far, cycle * width + slot
    C_RETIRE_SLOT,
    C_RETIRES,  # cycle in which the oldest instruction retires, -1: not known yet
    C_HEAD,  # sequence number of the oldest unretired instruction
    C_TAIL,  # sequence number of the next instruction
    C_UOPS,  # window entries in use
    C_LQ,  # load-queue entries in use
    C_REDIRECT,  # sequence number of the unresolved mispredicted branch, -1: none
    C_RESUME,  # cycle in which dispatch goes on after a redirect
    C_BLOCK,  # why dispatch stopped: a BLOCK_ code
    C_DEFERRED,  # empty slots of the oldest load while its last line's level is not known
    C_DISPATCH_NEXT,
    C_RETIRE_NEXT,
    C_SB_NEXT,
    C_LOAD_CURRENT,  # entry on the load pipes, -1: none
    C_LOAD_ROW,
    C_LOAD_BYTE,  # bytes of the row already done
    C_LOAD_NEXT,  # cycle in which the current load goes on
    C_LOAD_DONE,  # latest arrival so far
    C_SQ_FREE,  # store-queue positions: freed < requested <= retired <= allocated
    C_SQ_REQUEST,
    C_SQ_RETIRED,
    C_SQ_TAIL,
    C_SQ_LAST_DRAIN,
    C_SI_HEAD,
    C_SI_TAIL,
    C_IO_HEAD,  # in-order issue list
    C_IO_TAIL,
    C_ISSUE_WAKE,  # next cycle in which a unit has to be looked at
    C_RAS_TOP,
    C_HISTORY,  # outcomes of conditional branches, the last in bit 0
    C_F_MHZ,
    C_ANCHOR_CYCLE,
    C_ANCHOR_FS,
    C_DISPATCHED,  # instructions
    C_BRANCHES,
    C_MISPREDICTS,
    C_FORWARDS,
    C_WAIT_SIGNAL,  # signal waited for, -1: none
    C_WAIT_COUNT,
    C_SIGNALLED,  # 1: the signal waited for has been given in this cycle of another core
    C_US_CYCLE,  # the microsecond last looked at: first cycle and start
    C_US_FS,
    C_PROGRAM,  # offset of the core's program in P
    C_PROGRAM_WORDS,
    C_BIT,  # the core in a directory entry: 1 << number
    C_GRANT,  # flags of the line last brought: TAG_SHARED or 0
    C_HORIZON,  # first cycle in which another core could do something
    C_ACCOUNT,  # offset of the core's account: regions x A_COLUMNS
    C_NODE,
    # parameters of the core's type
    C_WIDTH,
    C_RETIRE_WIDTH,
    C_ROB,
    C_LOAD_QUEUE,
    C_STORE_QUEUE,
    C_IN_ORDER,
    C_PREDICTOR_MASK,
    C_HISTORY_MASK,  # 0: none, as for two-bit counters alone
    C_PERFECT,  # 1: every branch is predicted
    C_MISPREDICT,
    C_RETURN_STACK,
    C_BUBBLE,
    C_FORWARD,
    C_UNIT_COUNT,
    C_LOAD_UNIT,
    C_OPS,  # offset of the operation properties, by opcode
    C_L1,  # config blocks of its own levels
    C_L2,
    # the next instruction, decoded: its shapes and costs
    N_PC,  # which one, -1: none
    N_ROWS,
    N_COLS,
    N_K,
    N_UOPS,
    N_SLOTS,
    N_CHAIN,
    N_ADDRESS,
    N_STRIDE,
    N_MEMORY_ROWS,
    N_ROW_BYTES,
    N_PIECES,
    N_STREAM,  # of a matmul on an array: slots if it continues a fold, 0: it has several
) = range(86)
C_X = 88  # 32 scalar registers
C_RENAME = C_X + 32  # producer sequence number of x0-x31, t0-t63
C_SHAPE = C_RENAME + 96  # per tile: rows, cols, type (0 none, 1 f32, 2 bf16 operand), B-copy valid
C_UNITS = C_SHAPE + 64 * 4
U_SIZE = 16
C_SIZE = C_UNITS + MAX_UNITS * U_SIZE

BLOCK_NONE, BLOCK_WINDOW, BLOCK_STORE, BLOCK_WAIT, BLOCK_FENCE, BLOCK_REDIRECT = range(6)
SHAPE_NONE, SHAPE_F32, SHAPE_BF16 = range(3)

# --- a unit of a core (config words repeated in each core block: one array, one base) -----------
(
    U_PIPES,
    U_QUEUE,
    U_FREE,  # next free slot
    U_HEAD,
    U_TAIL,
    U_COUNT,
    U_WAKE,
    U_DATAFLOW,  # DATAFLOW_NONE: no systolic array
    U_BYTES,
    U_ARRAY_ROWS,
    U_ARRAY_COLUMNS,
    U_HELD,  # tile value that is stationary in the array, or HELD_NONE
) = range(12)
DATAFLOW_NONE, DATAFLOW_OS, DATAFLOW_WS, DATAFLOW_IS = range(4)
# A tile value is named by who wrote it and where: sequence number << REGISTER_BITS | register.
REGISTER_BITS = 7
HELD_NONE = -1
NEEDS_NONE = -2  # of a matmul that continues no fold whatever the array holds

# --- a window entry: four lines of the host's caches, the first one for retirement ----------------
(
    E_SEQ,
    E_KIND,
    E_UNIT,
    E_UOPS,
    E_COMPLETE,  # -1: not known yet
    E_ISSUE,
    E_REGION,
    E_LEVEL,  # level that served the last-arriving line
    E_PENDING,  # producers whose completion is not known yet
    E_READY,
    E_NEXT,  # successor in the queue, -1: none
    E_CONSUMERS,  # first node of the list of those who wait for this entry, -1: none
    E_ACC_NODE,  # which node is the accumulator, -1: none
    E_ACC_READY,  # when an accumulation into the result may start
    E_SLOTS,  # pipe slots taken
    E_OVERLAP,  # an older store in the queue touches the same bytes
    E_PIECES,
    E_ADDRESS,
    E_STRIDE,
    E_ROWS,
    E_ROW_BYTES,
    E_SQ,  # store: first position; load: position of the first younger store
    E_SI,  # load: store instructions below this one are older
    E_OP,
    E_PC,
    E_DISPATCH,
) = range(26)
E_NODES = 26  # six words: successors of this entry's nodes in producers' consumer lists
E_SIZE = 32
# what is no load keeps in these words
E_LATENCY = E_LEVEL
E_ACC_LATENCY = E_SI
# a matmul, which has no address, in these
E_CHAIN = E_ROWS  # slots that depend on each other in one element (cracked matmul: k)
E_STREAM = E_ROW_BYTES  # on an array: slots if it continues a fold
E_NEEDS = E_ADDRESS  # tile value that the array must hold for that
E_LEAVES = E_STRIDE  # tile value that the array holds behind it
NODE_BITS = 3
NODES = 1 << NODE_BITS  # a list element is entry * NODES + node
MEMORY_NODE = 5  # the node that waits for an older store

# --- store queue entry: bytes [lo, hi) of one line -----------------------------------------------
Q_LINE, Q_LO, Q_HI, Q_SEQ, Q_DRAIN, Q_REGION, Q_PC = range(7)
Q_SIZE = 8
# --- store instruction: the bytes it spans and its store-queue positions -------------------------
I_LO, I_HI, I_FIRST, I_END = range(4)
I_SIZE = 4

# --- a port of lines: how many have passed, and a ring of when the last ones did, FS --------------
W_PASSED, W_STARTS = range(2)
PORT_LINES = 64
PORT_SIZE = 72

# --- a cache level: config block -----------------------------------------------------------------
(
    L_PRESENT,
    L_SETS,
    L_WAYS,
    L_SET_WORDS,  # the ways, and a word of tree bits where the policy is PLRU
    L_POLICY,  # POLICY_ code
    L_HIT,  # cycles this level adds (L3: femtoseconds)
    L_FILL,
    L_MSHRS,
    L_BANDWIDTH,  # bytes per cycle towards the level above (L3: femtoseconds a line)
    L_PREFETCH,  # PREFETCH_ code
    L_DEGREE,
    L_DISTANCE,
    L_SET_MASK,  # sets - 1 if a power of two, else -1
    L_WIDTH_SHIFT,  # log2 of the bandwidth if a power of two, else -1
    L_SLICES,  # L3: slices of a node, and words of a slice's state; sets are those of one slice
    L_SLICE_SIZE,
    L_INCLUSIVE,
) = range(17)
L_SIZE = 24
POLICY_LRU, POLICY_PLRU, POLICY_SRRIP, POLICY_RANDOM = range(4)
PREFETCH_NONE, PREFETCH_NEXT_LINE, PREFETCH_STRIDE = range(3)

# --- a cache level: state ------------------------------------------------------------------------
(
    V_PORT,  # of L2: bandwidth used so far, a byte position
    V_MSHR_HEAD,
    V_MSHR_TAIL,
    V_HITS,
    V_MISSES,
    V_MERGES,  # of the hits: line still in flight
    V_WRITEBACKS,
    V_PREFETCHES,
    V_PREFETCH_USEFUL,
    V_PREFETCH_LATE,
    V_PREFETCH_DROPPED,
    V_MSHR_STALLS,
    V_DRAWN,  # last number drawn to choose a victim, or the seed
    V_MSHR_MASK,  # entries of the ring (power of two, at most MSHR_RING) - 1
) = range(14)
V_MSHR = 16  # ring of (line, fill * LEVELS + level), ascending by fill; line -1: no line's
MSHR_RING = 4096
V_STRIDES = V_MSHR + 2 * MSHR_RING  # stride table: pc, last line, stride, confidence
STRIDE_ENTRIES = 64
V_LINES_PORT = V_STRIDES + 4 * STRIDE_ENTRIES  # of a slice of L3
V_TAGS = V_LINES_PORT + PORT_SIZE  # sets x L_SET_WORDS; a set: see sim/engine/replacement.py
# a tag word: line << TAG_SHIFT | flags; -1: empty
TAG_SHIFT = 8
TAG_DIRTY = 1
TAG_PREFETCHED = 2
TAG_IN_FLIGHT = 4
TAG_SHARED = 8  # may only be read: another core may hold it too
TAG_AGE = 48  # SRRIP: 16 times 0..3
TAG_AGE_NEW = 32

# --- the directory, line by line -----------------------------------------------------------------
(
    Y_HOLDERS,  # C_BITs of the cores it was given to, and OWNER
    Y_BUSY,  # until, FS
    Y_FILL,  # of L3, FS * LEVELS + level
) = range(3)
Y_SIZE = 3
OWNER = 1 << 62  # the only holder was given the line to write
(
    Z_READS,
    Z_EXCLUSIVE_READS,
    Z_UPGRADES,
    Z_FORWARDS,
    Z_INVALIDATIONS,
    Z_DOWNGRADES,
    Z_STALE,
    Z_BACK_INVALIDATIONS,
) = range(8)

# --- a node: counters, and a port of lines to each node -------------------------------------------
M_LOCAL_READS, M_REMOTE_READS, M_LINES_SENT = range(3)
M_LINKS = 8  # a port of lines to each node
MAX_NODES = 8
M_SIZE = M_LINKS + MAX_NODES * PORT_SIZE
# a page of memory: its node, and the lines of other nodes below it
R_NODE, R_OTHERS = range(2)
R_SIZE = 2

# --- DRAM: config block and state, times in femtoseconds -----------------------------------------
(
    D_CHANNELS,  # of a node
    D_BANKS,
    D_LINES_PER_ROW,
    D_CONTROLLER,
    D_RCD,
    D_CL,
    D_RP,
    D_RAS,
    D_WR,
    D_RTP,
    D_WTR,
    D_RTW,
    D_REFI,
    D_RFC,
    D_BURST,
    D_WRITE_BATCH,
    D_CHANNEL_STRIDE,
    D_CHANNEL_SHIFT,  # log2 of the count if a power of two, else -1; likewise the next two
    D_ROW_SHIFT,
    D_BANK_SHIFT,
    D_PERIOD,  # start of the refresh period last looked at
) = range(21)
D_SIZE = 24
# one channel's state
(
    K_READS,
    K_WRITES,
    K_ROW_HITS,
    K_ROW_MISSES,  # bank idle
    K_ROW_CONFLICTS,  # another row open
    K_QUEUED,  # writes waiting
    K_READ_END,
    K_WRITE_END,
    K_BATCHES,
) = range(9)
WRITE_QUEUE = 64
K_WRITE_QUEUE = 16  # waiting lines
BUS_SLOTS = 4096
BUS_MASK = BUS_SLOTS - 1
K_BUS = K_WRITE_QUEUE + WRITE_QUEUE  # ring of burst slots taken
K_BANKS = K_BUS + BUS_SLOTS
B_ROW, B_COLUMN_FREE, B_PRECHARGE_FREE, B_REFRESH = range(4)
B_SIZE = 4

# --- operation properties, by opcode -------------------------------------------------------------
O_UNIT, O_SLOT, O_UOPS, O_LATENCY, O_OCCUPANCY, O_ACC_LATENCY = range(6)
O_SIZE = 8
SLOT_INSTRUCTION, SLOT_ROW, SLOT_VECTOR, SLOT_ARRAY = range(4)

# --- a decoded instruction -----------------------------------------------------------------------
(
    P_OP,
    P_KIND,
    P_A,  # operands in assembly order
    P_B,
    P_C,
    P_D,
    P_E,
    P_F,
    P_SOURCES,  # how many registers are read
    P_SOURCE,  # five register numbers: x 0-31, t 32-95
    _P_SOURCE1,
    _P_SOURCE2,
    _P_SOURCE3,
    _P_SOURCE4,
    P_DEST,  # register written, -1: none
    P_DEST2,
    P_ACC,  # which source is the accumulator, -1: none
    P_FLOPS,  # operations per m*n*k * 16 + operations per m*n
    P_BYTES,  # bytes of an element in memory
    P_ACCESS,  # an ACCESS_ code
    P_RAW,  # 1: a matmul operand is loaded
    P_TENSOR,  # tensor of the last access: the first to try
) = range(22)
P_SIZE = 24
ACCESS_ROWS, ACCESS_COLUMNS, ACCESS_GATHER, ACCESS_BROADCAST, ACCESS_BYTE = range(5)
(
    KIND_SCALAR,
    KIND_BRANCH,
    KIND_CONTROL,
    KIND_LOAD,
    KIND_STORE,
    KIND_FILL,
    KIND_MATMUL,
    KIND_PACK,
    KIND_BINARY,  # elementwise, two tiles or a tile and a constant
    KIND_UNARY,
    KIND_REDUCE,
    KIND_SOFTMAX,
    KIND_SYNC,
    KIND_REGION,
) = range(14)

# --- the account: one row per operator -----------------------------------------------------------
A_INSTRUCTIONS, A_FLOPS, A_DRAM_READ, A_DRAM_WRITE = range(4)
A_CAUSES = 4  # dispatch slots by cause follow
(
    X_RETIRING,
    X_BAD_SPECULATION,
    X_FRONT_END,
    X_WAIT,
    X_STORE,
    X_L1,
    X_L2,
    X_L3,
    X_DRAM,
    X_COHERENCE,
    X_UNIT,  # plus the unit's number
) = range(11)
CAUSES = X_UNIT + MAX_UNITS
A_COLUMNS = A_CAUSES + CAUSES

# --- the instruction log (for tests and views): one row per instruction, in order of retirement ---
G_CORE, G_PC, G_DISPATCH, G_ISSUE, G_COMPLETE, G_RETIRE = range(6)
G_SIZE = 6

# --- why a call of advance() came back -----------------------------------------------------------
RUN_STEPS, RUN_UNTIL, RUN_HALTED, RUN_FAULT, RUN_DEADLOCK = range(5)
