"""The reference engine: the machine of docs/timing.md, written for reading.

Read in this order: `clock`, `instruction` (one in flight), `core` (the phases of a cycle),
`predictor`, `work` and `frontend` (dispatch), `window`, `units`, `pieces`, `storebuffer`, `issue`
(with the loads), `cache` (one class for all levels), `port`, `replacement`, `prefetcher`, `dram`,
`account`, then `machine` (cores as SimPy processes) and `observe`. What cores share: `nodes`,
`interconnect`, `shared` (L3), `directory` (coherence), `invariant` (what it is for); and `races`.

One load, three files; other modules only answer questions on the way (which lines: `pieces`):
1. `frontend`: `FrontEnd.dispatch`, `_dispatch_one`, `_flight`; `_enter` puts it into its queue.
2. `issue`: `Issue.cycle` finds it ready, `_start`, `LoadPipe.start`, `proceed`; `_access` asks L1.
3. `cache`: `FirstLevel.access` misses, `Cache.walk` asks the level below: `Cache.request`, its
   `walk`, and so on, through `Shared` or `Directory` to a hit in L3 or `Dram.request`; on the way
   back each `walk` sets its line's `fill`.
4. `issue` again: the last answer is the load's `arrival`, and with all accesses made `complete`.
"""

from sim.account import ACCOUNT_COLUMNS, LOG_FIELDS
from sim.reference.machine import ReferenceCpu
from sim.reference.races import RaceCheck

__all__ = ["ACCOUNT_COLUMNS", "LOG_FIELDS", "RaceCheck", "ReferenceCpu"]
