"""The reference engine: the machine of docs/timing.md, written for reading.

Read in this order: `clock`, `instruction` (one in flight), `core` (the phases of a cycle),
`predictor`, `work` and `frontend` (dispatch), `window`, `units`, `pieces`, `loadpipe` and
`storebuffer`, `cache` (one class for all levels), `prefetcher`, `dram`, `account`, then `machine`
(cores as SimPy processes) and `observe`. A load's way from dispatch to fill is in `frontend`,
`loadpipe` and `cache`.
"""

from sim.account import ACCOUNT_COLUMNS, LOG_FIELDS
from sim.reference.machine import ReferenceCpu

__all__ = ["ACCOUNT_COLUMNS", "LOG_FIELDS", "ReferenceCpu"]
