"""First looks at files that users hand over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isa.errors import UserError


def head_of(path: Path, nbytes: int) -> bytes:
    """The first bytes of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(nbytes)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def not_a(kind: str, path: Path, head: bytes) -> UserError:
    """The error for a file that is no ``kind`` file, with what it seems to be instead."""
    if not head:
        return UserError(f"{path} is empty, not a {kind} file; get it again")
    if head.startswith(b"version https://git-lfs"):
        return UserError(
            f"{path} is a Git LFS pointer, not the {kind} file itself; run `git lfs pull`"
        )
    return UserError(f"{path} is not a {kind} file: it begins with {head[:8]!r}")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UserError: it cannot be read or is not a JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a JSON object, found {type(values).__name__}")
    return values
