"""Writing results: whole files or none, checked before a long run begins."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from isa.errors import UserError

STDOUT = "-"


def check_writable(target: str | Path) -> None:
    """Make sure that ``target`` can be written (``-`` is stdout), without touching it.

    Raises:
        UserError: its folder is missing or cannot be written to, or it is a folder itself.
    """
    if str(target) == STDOUT:
        return
    path = Path(target)
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; name a file in it")
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f"cannot write {path}: it is write-protected")
    if _is_device(path):
        return
    real = path.resolve()
    if not real.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {real.parent}; make it first")
    try:
        with tempfile.NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}-"):
            pass
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _is_device(path: Path) -> bool:
    """Whether this is a device or a pipe (``/dev/null``, ``/dev/fd/63``), never to be replaced."""
    return path.exists() and not path.is_file()


@contextlib.contextmanager
def atomic_writer(path: Path, *, binary: bool = False) -> Iterator[IO]:
    """A file that appears under ``path`` when the block ends without an error.

    A link is followed. A device or pipe is written directly.

    Raises:
        UserError: it cannot be written; what stood there before stays.
    """
    kind, encoding = ("b", None) if binary else ("", "utf-8")
    real = path.resolve()
    # Named before it exists, so that Ctrl-C at any moment finds it and leaves nothing behind.
    partial = real.with_name(f".{real.name}-{secrets.token_hex(4)}")
    try:
        if _is_device(path):
            with path.open(f"w{kind}", encoding=encoding) as file:
                yield file
            return
        with partial.open(f"x{kind}", encoding=encoding) as file:
            yield file
        partial.replace(real)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_text(target: str | Path, text: str) -> None:
    """Write text to a file, whole or not at all, or to stdout for ``-``."""
    if str(target) == STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with atomic_writer(Path(target)) as file:
        file.write(text)
