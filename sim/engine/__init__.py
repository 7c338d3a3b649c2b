"""The compiled engine: the machine of docs/timing.md in Numba.

Read in this order: `layout` (where everything stands), `advance` (the loop, a core's cycle) and
`turns` (whose cycle is next), `frontend` and `decode` (dispatch), `issue`, `loads`, `stores`,
`window`; `caches` with `level`, `sets` and `replacement`; what cores share: `coherence`, `snoops`,
`shared`, `port`, `nodes`, `dram`; then `values` (the arithmetic of tiles), `state` (a machine as
numbers), `cpu` (the Python side).
"""

from sim.account import ACCOUNT_COLUMNS, LOG_FIELDS
from sim.engine.cpu import Cpu

__all__ = ["ACCOUNT_COLUMNS", "LOG_FIELDS", "Cpu"]
