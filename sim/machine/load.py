"""From a preset's name or a TOML file, plus ``key=value`` overrides, to a checked machine.

A file may name a ``base`` (a preset, or a file beside it) and then holds only what differs:
tables are merged key by key, ``[[core.ops]]`` rows by class and type, and ``"none"`` in the place
of a table removes it. In the same way a type of cores holds what differs from ``[core]``, as it is
after all bases and overrides.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from sim.machine.schema import Machine

Table = dict[str, Any]
MAX_BASES = 8
REMOVED = object()  # in the place of a table: a type of cores has to know that its own is none
_NAMES_KEY = re.compile(r"[a-z][\w.]*: ")


def presets() -> tuple[str, ...]:
    """Names of the machines that come with the package."""
    folder = resources.files("sim.machine") / "presets"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_machine(name_or_file: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Machine:
    """Load a preset or a machine file and apply overrides.

    Args:
        name_or_file: a preset's name, or the path of a ``.toml`` file.
        overrides: ``"core.rob=64"``, ``"l1.size=32KiB"``, ``"core.units.load.pipes=1"``,
            ``"core.ops.matmul.bf16.latency=20"``, ``"l3=none"`` (removes a table).

    Raises:
        UserError: no such machine, the file is no TOML, or a value is wrong; the text names the
            key, what was wrong and what is allowed.
    """
    name = os.fspath(name_or_file)
    try:
        table = _read(name, folder=None, depth=0)
        for override in overrides:
            _override(table, override)
        machine = _checked(_without_removed(_whole_types(table)), _described(name, overrides))
    except RecursionError:
        raise UserError(f"machine {name}: its tables are nested too deeply") from None
    keys = [override.partition("=")[0].strip() for override in overrides]
    for key in ("cores", "clock"):  # which have options of their own
        if keys.count(key) > 1:
            raise UserError(f"{_described(name, overrides)}: {key} is given twice; keep one")
    for key in keys:
        if key.startswith("core_types.") and key.split(".")[1] not in (machine.core_type or ()):
            raise UserError(
                f"{_described(name, overrides)}: {key} changes nothing, since no core is of that "
                """type; give it to some, as in --set 'core_type=["core", "little"]'"""
            )
    if machine.core_clocks is not None and "clock" in keys:
        raise UserError(
            f"{_described(name, overrides)}: core_clocks give every core a clock of its own; "
            """change those, as in --set 'core_clocks=["3GHz", "2GHz"]', or l3.clock"""
        )
    return machine


def _described(name: str, overrides: Sequence[str]) -> str:
    return f"machine {name}" + (f" with {' '.join(overrides)}" if overrides else "")


def _checked(table: Table, where: str) -> Machine:
    from pydantic import ValidationError

    from sim.machine.schema import Machine

    try:
        return Machine.model_validate(table)
    except ValidationError as error:
        raise UserError(_explain(error, table, where)) from None


# --- reading files -------------------------------------------------------------------------------


def _read(name: str, folder: Path | None, depth: int) -> Table:
    """The table of a preset or file, over its base; ``folder`` is that of the naming file."""
    if depth > MAX_BASES:
        raise UserError(f"machine {name}: more than {MAX_BASES} bases; does one name itself?")
    text, here = _text(name, folder)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"machine {name} is no valid TOML: {error}") from error
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise UserError(f"machine {name}: base must be the name of a machine, not {base!r}")
    return _merged(_read(base, here, depth + 1), table)


def _text(name: str, folder: Path | None) -> tuple[str, Path | None]:
    """The text of a preset or file, and the folder that its own base is looked up in."""
    if name in presets():
        preset = resources.files("sim.machine") / "presets" / f"{name}.toml"
        return preset.read_text(encoding="utf-8"), None
    path = Path(name).expanduser()
    if folder is not None and not path.is_absolute():
        path = folder / path
    if path.suffix != ".toml" and not path.is_file():
        known = presets()
        raise UserError(
            f"unknown machine {name!r}.{did_you_mean(name, known)} Presets: {', '.join(known)}; "
            "or give the path of a .toml file"
        )
    try:
        return path.read_text(encoding="utf-8-sig"), path.parent
    except UnicodeDecodeError as error:
        raise UserError(f"machine file {path} is no UTF-8 text; is it a TOML file?") from error
    except OSError as error:
        raise UserError(f"machine file {path} cannot be read: {error.strerror}") from error


def _merged(base: Table, changes: Table) -> Table:
    merged = dict(base)
    for key, value in changes.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value)
        elif isinstance(old, dict) and value == "none":
            merged[key] = REMOVED
        elif key == "ops" and isinstance(old, list) and isinstance(value, list):
            merged[key] = _merged_rows(old, value)
        else:
            merged[key] = value
    return merged


def _row_key(row: Any) -> tuple[Any, Any]:
    """Class and type of an operation row; whatever is no text there is the schema's to refuse."""
    if not isinstance(row, dict):
        return (None, None)
    cls, dtype = (str(row[name]) if name in row else None for name in ("class", "dtype"))
    return (cls, dtype)


def _merged_rows(base: list[Any], changes: list[Any]) -> list[Any]:
    """Rows of ``changes`` replace those of the same class and type."""
    replaced = {_row_key(row) for row in changes}
    return [row for row in base if _row_key(row) not in replaced] + changes


def _without_removed(table: Table) -> Table:
    return {
        key: _without_removed(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not REMOVED
    }


def _whole_types(table: Table) -> Table:
    """The table with every type of cores complete: its own keys over `[core]` and its caches."""
    core, types = table.get("core"), table.get("core_types")
    if not isinstance(core, dict) or not isinstance(types, dict):
        return table
    default = core | {name: table[name] for name in ("l1", "l2") if name in table}
    whole = {
        name: _merged(default, own) if isinstance(own, dict) else own for name, own in types.items()
    }
    return {**table, "core_types": whole}


# --- overrides -----------------------------------------------------------------------------------


def _override(table: Table, override: str) -> None:
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts) or not text.strip():
        raise UserError(
            f"--set {override}: write it as key=value, for example core.rob=64 or l1.size=32KiB"
        )
    place: Any = table
    for depth, part in enumerate(parts[:-1]):
        if part == "ops" and parts[:depth] in (["core"], ["core_types", *parts[1:2]]):
            rows = place.setdefault("ops", [])
            if parts[0] == "core_types":  # also those it has from [core]
                rows = deepcopy(_whole_types(table)["core_types"][parts[1]]["ops"])
            where, row = ".".join(parts[: depth + 1]), parts[depth + 1 :]
            changed = _override_op(rows, where, row, override, _value(text))
            if rows is not place["ops"]:
                place["ops"] = _merged_rows(place["ops"], changed)
            return
        if place.get(part, REMOVED) is REMOVED:
            place[part] = {}
        if not isinstance(place[part], dict):
            raise UserError(f"--set {override}: {'.'.join(parts[: depth + 1])} is no table")
        place = place[part]
    if _value(text) == "none" and isinstance(place.get(parts[-1]), dict):
        place[parts[-1]] = REMOVED
    elif isinstance(place.get(parts[-1]), dict):
        keys = ", ".join(f"{key.strip()}.{name}" for name in place[parts[-1]])
        raise UserError(f"--set {override}: {key.strip()} is a table; set one of {keys}")
    else:
        place[parts[-1]] = _value(text)


def _override_op(rows: Any, where: str, parts: list[str], override: str, value: Any) -> list[Table]:
    """Set ``core.ops.CLASS[.TYPE].FIELD``; without a type, in every row of the class.

    Returns the rows that have changed.
    """
    *key, field = parts
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"--set {override}: {where} is no list of tables")
    matches = [
        row
        for row in rows
        if key and row.get("class") == key[0] and (len(key) == 1 or row.get("dtype") == key[1])
    ]
    if len(key) not in (1, 2) or not matches:
        known = [".".join(part for part in _row_key(row) if part) for row in rows]
        raise UserError(
            f"--set {override}: there is no operation row {'.'.join(key) or '(none named)'}."
            f"{did_you_mean('.'.join(key), known)} Write {where}.CLASS.FIELD=value or "
            f"{where}.CLASS.TYPE.FIELD=value; rows: {', '.join(known)}"
        )
    for row in matches:
        row[field] = value
    return matches


def _value(text: str) -> Any:
    """A number or boolean as TOML reads it, anything else as text."""
    text = text.strip()
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text


# --- errors --------------------------------------------------------------------------------------


def _explain(error: ValidationError, table: Table, where: str) -> str:
    """Every mistake on a line: where it is, what it is, what would be right."""
    lines = [_explain_one(detail, table) for detail in error.errors()]
    if len(lines) == 1:
        return f"{where}: {lines[0]}"
    return "\n  ".join([f"{where} has {len(lines)} mistakes:", *lines])


def _explain_one(detail: ErrorDetails, table: Table) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    key = _key(detail["loc"], table)
    if kind == "missing":
        return f"{key} is missing"
    text = {
        "list_type": f"must be a list of tables, not {given!r}",
        "value_error": str(context.get("error")),
        "int_type": f"must be a whole number, not {given!r}",
        "int_parsing": f"must be a whole number, not {given!r}",
        "int_from_float": f"must be a whole number, not {given!r}",
        "string_type": f"must be text, not {given!r}",
        "tuple_type": f"""must be a list, as ["{given}"], not {given!r}""",
        "greater_than_equal": f"must be at least {context.get('ge')}, not {given!r}",
        "greater_than": f"must be more than {context.get('gt')}, not {given!r}",
        "less_than_equal": f"must be at most {context.get('le')}, not {given!r}",
        "literal_error": f"must be {context.get('expected')}, not {given!r}",
    }.get(kind, f"{detail['msg']} (given: {given!r})")
    if not key:
        return text
    # A check of a whole table names the key inside it: "core" and "rob: ..." make "core.rob: ...".
    return f"{key}.{text}" if _NAMES_KEY.match(text) else f"{key}: {text}"


def _key(location: Iterable[int | str], table: Table) -> str:
    """The dotted key of a mistake; operation rows are named by class instead of by number."""
    parts: list[str] = []
    place: Any = table
    for part in location:
        if isinstance(part, int):
            row = place[part] if isinstance(place, list) and part < len(place) else None
            parts += [str(name) for name in _row_key(row) if name]
            place = row
        elif not isinstance(place, dict) or (part in place or not _is_branch(part)):
            parts.append(part)
            place = place.get(part) if isinstance(place, dict) else None
    return ".".join(parts)


def _is_branch(part: str) -> bool:
    """Whether a part of the location names the branch of a union instead of a key."""
    return "[" in part or part in ("int", "constrained-int")
