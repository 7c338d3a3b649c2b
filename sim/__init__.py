"""The hardware: machine descriptions, cores, caches and DRAM that run programs, their account.

``from sim import simulate`` runs a workload on a machine. The import is lazy, so that importing
one part of the package (say ``sim.machine.units``) does not load the engine. The function lives in
``sim.simulation``: a submodule of its own name would replace it as the package's attribute.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.result import Result
    from sim.simulation import simulate

__all__ = ["Result", "simulate"]


def __getattr__(name: str) -> Any:
    if name == "simulate":
        from sim.simulation import simulate

        return simulate
    if name == "Result":
        from sim.result import Result

        return Result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
