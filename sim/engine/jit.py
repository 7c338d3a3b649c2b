"""How this project uses Numba: where machine code is cached, and with which flags it is compiled.

Numba keeps compiled functions on disk, but it looks only at the file a function is written in:
after an edit to a *callee* in another file it would go on running the old machine code. So every
state of the engine's sources has a cache folder of its own:

    <cache root>/numba-<hash>      of the sources, the library versions, the processor, the flags

The cache root is the user's cache folder, or the environment variable TICKFORMER_CACHE.

Two decorators are exported. Both give IEEE arithmetic exactly as written (no fast-math, so LLVM
neither reorders a sum nor fuses a multiply with an add), release the interpreter lock, and divide
by zero as NumPy does:

* `njit`    for functions that are called across files; kept in the cache.
* `inline`  for small building blocks: LLVM puts them into every caller, so an array costs nothing
            to pass. They are compiled as a part of their callers and have no cache of their own.
            (Numba's own `inline="always"` would repeat type inference at every place of call.)

With NUMBA_DISABLE_JIT=1 both leave the plain Python function; with NUMBA_BOUNDSCHECK=1 every
array access is checked. Import this module before numba.
"""

import atexit
import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
import platformdirs

F = TypeVar("F", bound=Callable[..., Any])

_ENGINE = Path(__file__).resolve().parent
_ISA = _ENGINE.parents[1] / "isa"
_FOLDER_PREFIX = "numba-"
_FOLDERS_KEPT = 8

# Environment variables that change the machine code but not Numba's own cache key.
_CODE_VARIABLES = (
    "NUMBA_BOUNDSCHECK",
    "NUMBA_OPT",
    "NUMBA_SLP_VECTORIZE",
    "NUMBA_LOOP_VECTORIZE",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NUMBA_DEBUGINFO",
)


def cache_root() -> Path:
    """The folder that holds everything Tickformer keeps between runs."""
    override = os.environ.get("TICKFORMER_CACHE")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("tickformer")


def compiled_sources(engine: Path = _ENGINE, isa: Path = _ISA) -> list[Path]:
    """Every file whose text can end up in machine code, in a fixed order."""
    constants = [isa / name for name in ("table.py", "polynomials.py", "encoding.py")]
    return sorted(engine.rglob("*.py")) + [path for path in constants if path.exists()]


def source_hash(sources: Iterable[Path]) -> str:
    """Hash of the sources and of everything else the machine code depends on, 16 hex digits."""
    digest = hashlib.sha256()

    def add(text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)

    for path in sources:
        add(path.name)
        add(path.read_bytes())
    for package in ("numba", "llvmlite", "numpy"):
        add(importlib.metadata.version(package))
    add(sys.version)
    add(llvmlite.binding.get_host_cpu_name())
    add(llvmlite.binding.get_host_cpu_features().flatten())
    for variable in _CODE_VARIABLES:
        add(f"{variable}={os.environ.get(variable, '')}")
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """The folder for machine code compiled from the sources as they are now."""
    return cache_root() / f"{_FOLDER_PREFIX}{source_hash(compiled_sources())}"


def needs_compilation(function: Callable[..., Any] | None = None) -> bool:
    """Whether the next call has to compile first (which takes many seconds).

    Looks for the given compiled function on disk, or for any function when none is given.
    """
    if config.DISABLE_JIT:
        return False
    if function is None:
        return next(CACHE_FOLDER.glob("*/*.nbi"), None) is None
    name = function.__qualname__.replace("<", "").replace(">", "")
    # Numba keeps a folder for each place a source lies in: another checkout's does not count.
    folder = Path(function.stats.cache_path)  # type: ignore[attr-defined]
    return next(folder.glob(f"*.{name}-*.nbi"), None) is None


def _drop_old_folders(current: Path) -> None:
    """Keep the most recently used cache folders only: every edit of a source makes a new one."""
    folders = [path for path in current.parent.glob(f"{_FOLDER_PREFIX}*") if path != current]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in folders[_FOLDERS_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def _prepare_cache() -> Path:
    """Make the cache folder; a temporary one of this process's own when it cannot be written.

    Leaving the choice to Numba would be wrong: its other places do not depend on the hash. A shared
    temporary folder would be wrong too: machine code of another user would be run.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _drop_old_folders(folder)
    except OSError:
        temporary = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return temporary
    return folder


CACHE_FOLDER = _prepare_cache()
os.environ["NUMBA_CACHE_DIR"] = str(CACHE_FOLDER)

import numba  # noqa: E402

config: Any = numba.core.config
config.reload_config()  # for a program that had imported numba before us

JIT_DISABLED: bool = bool(config.DISABLE_JIT)
BOUNDS_CHECKED: bool = bool(config.BOUNDSCHECK)

# Whether compiled code has vector registers of 512 bits (NUMBA_CPU_FEATURES can take them away).
_features = config.CPU_FEATURES
if _features is None:
    _features = llvmlite.binding.get_host_cpu_features().flatten()
WIDE_REGISTERS: bool = "+avx512f" in _features.split(",")

_FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}


def _forgive_damage(compiled: Any) -> None:
    """Let a damaged cache file count as none: Numba would end in the error of its unpickling."""
    files = compiled._cache._cache_file
    load = files.load

    def load_or_compile(key: Any) -> Any:
        try:
            return load(key)
        except Exception:  # whatever the bytes happen to say
            files.flush()
            return None

    files.load = load_or_compile


def njit(function: F) -> F:
    """Compile a function that is called from other files; its machine code is cached on disk."""
    compiled = numba.njit(cache=True, **_FLAGS)(function)
    if not JIT_DISABLED:
        _forgive_damage(compiled)
    return compiled


def inline(function: F) -> F:
    """Compile a building block that LLVM always inlines into its compiled callers."""
    return numba.njit(forceinline=True, **_FLAGS)(function)
