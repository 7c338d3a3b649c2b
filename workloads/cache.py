"""The user's cache folder: fetched weights and what was computed from them.

Everything in it can be made again, and everything appears there whole or not at all: it is
written under a temporary name on the same file system and then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from isa.errors import UserError
from workloads.notice import megabytes, notice

PARTIAL = ".partial-"  # prefix of unfinished work
ABANDONED_SECONDS = 24 * 3600  # older unfinished work belongs to a process that was killed
SLOW_TO_HASH = 1_000_000_000  # bytes; from here on hashing takes more than a second or two


def cache_root() -> Path:
    """``$TICKFORMER_CACHE``, or else the platform's folder for caches."""
    override = os.environ.get("TICKFORMER_CACHE")
    if override:
        return Path(override).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("tickformer")


def cache_folder(name: str) -> Path:
    """The cache's sub-folder ``name``, made if need be.

    Raises:
        UserError: it cannot be made or written to.
    """
    folder = cache_root() / name
    with explained_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def explained_errors(folder: Path) -> Iterator[None]:
    """Turn an operating-system error into one that says what the user can do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write to the cache folder {folder}: {error.strerror or error}; free some "
            "space or set TICKFORMER_CACHE to a folder that can be written"
        ) from error


@contextlib.contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder inside ``parent``, gone at the end whatever happens."""
    _remove_abandoned(parent)
    with explained_errors(parent):
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for leftover in parent.glob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block ends without an error.

    Where another process was quicker its result stays: both hold the same.
    """
    with partial_folder(target.parent) as folder:
        content = folder / target.name
        with explained_errors(target.parent):
            content.mkdir()
            yield content
            try:
                content.rename(target)
            except OSError:
                if not target.is_dir():
                    raise


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A temporary path that replaces ``target`` when the block ends without an error."""
    with partial_folder(target.parent) as folder, explained_errors(target.parent):
        content = folder / target.name
        yield content
        content.replace(target)


def file_sha256(path: Path) -> str:
    """sha256 of a file, remembered as long as its size and time of change stay the same.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        stat = path.stat()
        identity = [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
        name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
        memory = cache_folder("digests") / f"{name}.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            known = json.loads(memory.read_text(encoding="utf-8"))
            if known["file"] == identity:
                return str(known["sha256"])
        if stat.st_size >= SLOW_TO_HASH:
            notice(f"reading {path} ({megabytes(stat.st_size)}) once for its checksum ...")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    with atomic_file(memory) as partial:
        partial.write_text(json.dumps({"file": identity, "sha256": digest}), encoding="utf-8")
    return digest
