"""Quantities with units, as machine files and the command line write them.

Each parser takes what a person wrote (``"48KiB"``, ``"3.0GHz"``, ``16``) and gives a number in one
fixed unit. All raise ``ValueError`` with what would be right; sizes are binary (1 KiB = 1024 B),
rates are decimal (1 GB/s = 10^9 bytes per second).
"""

import re
from fractions import Fraction

SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
FREQUENCIES = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
TIMES = {
    "fs": Fraction(1, 10**6),
    "ps": Fraction(1, 10**3),
    "ns": Fraction(1),
    "us": Fraction(10**3),
    "ms": Fraction(10**6),
}
RATES = {"MB/s": Fraction(1, 10**3), "GB/s": Fraction(1), "TB/s": Fraction(10**3)}
MAX_CLOCK = 100 * 10**9  # Hz; a cycle must be many femtoseconds

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z/]*)\s*")


def _parse(value: object, units: dict[str, Fraction | int], bare: str, example: str) -> Fraction:
    """Read a number and its unit; ``bare`` is the unit of a number without one, "" forbids it."""
    known = ", ".join(units)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is no quantity; write it like {example}")
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is no quantity; write it like {example} (units: {known})")
    number, unit = match.groups()
    unit = unit or bare
    if not unit:
        raise ValueError(f"{value!r} has no unit; write it like {example} (units: {known})")
    if unit not in units:
        close = [name for name in units if name.lower() == unit.lower()]
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"{value!r}: unknown unit {unit!r}; {hint}use {known}, as in {example}")
    return Fraction(number) * units[unit]


def parse_size(value: object) -> int:
    """A size in bytes; a number without a unit is bytes."""
    size = _parse(value, dict(SIZES), "B", '"48KiB"')
    if size.denominator != 1:
        raise ValueError(f"{value!r} is no whole number of bytes")
    return int(size)


def parse_clock(value: object) -> int:
    """A clock frequency in MHz, which must be whole: time is kept in MHz without drift."""
    hertz = _parse(value, dict(FREQUENCIES), "", '"3.0GHz"')
    if hertz <= 0:
        raise ValueError(f"{value!r}: a clock must be faster than 0 Hz")
    if hertz > MAX_CLOCK:
        raise ValueError(f"{value!r}: a clock must be at most {MAX_CLOCK // 10**9}GHz")
    if hertz % 10**6:
        raise ValueError(f"{value!r} is no whole number of MHz; write it like 2.4GHz or 2400MHz")
    return int(hertz // 10**6)


def parse_time(value: object) -> float:
    """A duration in nanoseconds; a number without a unit is nanoseconds."""
    return float(_parse(value, dict(TIMES), "ns", '"16ns"'))


def parse_rate(value: object) -> float:
    """A data rate in GB/s; a number without a unit is GB/s."""
    return float(_parse(value, dict(RATES), "GB/s", '"38.4GB/s"'))


def format_size(nbytes: int) -> str:
    """Bytes as a machine file writes them: the largest unit that leaves a whole number."""
    for unit in ("GiB", "MiB", "KiB"):
        if nbytes and nbytes % SIZES[unit] == 0:
            return f"{nbytes // SIZES[unit]}{unit}"
    return f"{nbytes}B"


def format_clock(megahertz: int) -> str:
    """A clock as a machine file writes it: ``2.1GHz``, ``800MHz``."""
    return f"{megahertz / 1000:g}GHz" if megahertz % 10 == 0 else f"{megahertz}MHz"
