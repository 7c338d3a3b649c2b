"""What all tables of a machine file have in common: keys that are known, quantities with units."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from isa.errors import did_you_mean
from sim.machine.units import (
    format_clock,
    format_size,
    parse_clock,
    parse_rate,
    parse_size,
    parse_time,
)

# Far above every real machine, and low enough that neither the host's memory nor 64-bit counts of
# cycles and femtoseconds run out.
MAX_BYTES = 4 << 30
MAX_CYCLES = 1_000_000
MAX_ENTRIES = 1 << 16
MAX_NS = 1e6
MIN_RATE, MAX_RATE = 1e-3, 1e5

Bytes = Annotated[
    int, BeforeValidator(parse_size), Field(le=MAX_BYTES), PlainSerializer(format_size)
]
Megahertz = Annotated[int, BeforeValidator(parse_clock), PlainSerializer(format_clock)]
Nanoseconds = Annotated[float, BeforeValidator(parse_time), Field(ge=0, le=MAX_NS)]
GigabytesPerSecond = Annotated[float, BeforeValidator(parse_rate), Field(ge=MIN_RATE, le=MAX_RATE)]
Count = Annotated[int, Field(ge=1, le=MAX_CYCLES)]
Entries = Annotated[int, Field(ge=1, le=MAX_ENTRIES)]
Cycles = Annotated[int, Field(ge=0, le=MAX_CYCLES)]
NONE = BeforeValidator(lambda value: None if value == "none" else value)  # of what may be left out


def power_of_two(value: int) -> bool:
    """Whether ``value`` is 1, 2, 4, ..."""
    return value > 0 and value & (value - 1) == 0


class Section(BaseModel):
    """A table of the file. Unknown keys are errors that name the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"must be a table of {cls.__name__.lower()} keys, not {data!r}")
        known = {field.alias or name for name, field in cls.model_fields.items()}
        annotations = {f.alias or name: f.annotation for name, f in cls.model_fields.items()}
        for key in data:
            if key not in known:
                raise ValueError(
                    f"unknown key {key!r}.{did_you_mean(str(key), known)} "
                    f"Known here: {', '.join(sorted(known))}"
                )
            if isinstance(data[key], bool) and annotations[key] is not bool:
                raise ValueError(f"{key}: must be a quantity or text, not {data[key]}")
        return data
