"""The names both engines account in: what a reader of a CPU may rely on, whichever engine it is."""

# The first columns of the account, one row per operator; dispatch slots by cause follow.
ACCOUNT_COLUMNS = ("instructions", "flops", "dram_read_bytes", "dram_write_bytes")
# Causes of a dispatch slot's use (docs/timing.md, A1-A3); those of the machine's units follow.
CAUSES = (
    "retiring",
    "bad speculation",
    "front end",
    "waiting for other cores",
    "memory: store",
    "memory: L1",
    "memory: L2",
    "memory: L3",
    "memory: DRAM",
    "memory: coherence",
)
# One row per retired instruction.
LOG_FIELDS = ("core", "pc", "dispatch", "issue", "complete", "retire")
# Transactions and messages between cores (rule C8).
COHERENCE_COUNTERS = (
    "reads",
    "exclusive_reads",
    "upgrades",
    "forwards",
    "invalidations",
    "downgrades",
    "stale",
    "back_invalidations",
)
# Of a node: lines read from its memory by its cores and by others, and lines sent to other nodes
# (rule C9).
NODE_COUNTERS = ("local_reads", "remote_reads", "lines_sent")
