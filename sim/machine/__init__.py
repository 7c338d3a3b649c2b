"""Machine descriptions: presets and files in TOML, checked and with units.

``load_machine`` reads one; the schema itself loads only when it is needed.
"""

from typing import TYPE_CHECKING, Any

from sim.machine.load import load_machine, presets

if TYPE_CHECKING:
    from sim.machine.schema import Machine

__all__ = ["Machine", "load_machine", "presets"]


def __getattr__(name: str) -> Any:
    if name == "Machine":
        from sim.machine.schema import Machine

        return Machine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
