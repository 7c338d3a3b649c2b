"""The cache of machine code: an edited callee must never leave old code in use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.engine.jit import JIT_DISABLED, compiled_sources, source_hash

ENGINE = Path(__file__).resolve().parents[2] / "sim" / "engine"

CALLEE = "from sim.engine.jit import njit\n\n@njit\ndef callee(x):\n    return x + 1\n"
CALLER = """from sim.engine.jit import inline, needs_compilation, njit
from callee import callee

@inline
def double(x):
    return x + x

@njit
def caller(x):
    return double(callee(x))

print(needs_compilation(caller), caller(1), needs_compilation(caller))
"""


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """Run Python with its cache in `folder`; returns what it prints."""
    paths = {"TICKFORMER_CACHE": str(folder / "cache"), "PYTHONPATH": str(ENGINE.parents[1])}
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **paths, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def test_sources_are_the_whole_engine_and_the_instruction_set() -> None:
    names = {path.relative_to(ENGINE.parents[1]).as_posix() for path in compiled_sources()}
    assert {"sim/engine/values/matmul.py", "sim/engine/jit.py"} <= names
    assert {"isa/table.py", "isa/polynomials.py", "isa/encoding.py"} <= names


def test_an_edit_anywhere_in_the_sources_changes_the_hash(tmp_path: Path) -> None:
    engine, isa = tmp_path / "engine", tmp_path / "isa"
    (engine / "deep").mkdir(parents=True)
    isa.mkdir()
    callee = engine / "deep" / "callee.py"
    for path in (engine / "caller.py", callee, isa / "polynomials.py", isa / "table.py"):
        path.write_text("x = 1\n")
    seen = {source_hash(compiled_sources(engine, isa))}
    for path in (callee, isa / "polynomials.py", isa / "table.py"):
        path.write_text("x = 2\n")
        seen.add(source_hash(compiled_sources(engine, isa)))
    (engine / "new.py").write_text("")
    seen.add(source_hash(compiled_sources(engine, isa)))
    assert len(seen) == 5
    assert source_hash(compiled_sources(engine, isa)) in seen


def test_flags_that_change_the_code_change_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = source_hash([])
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert source_hash([]) != plain


@pytest.mark.slow
@pytest.mark.skipif(JIT_DISABLED, reason="nothing is cached with the JIT off")
def test_code_is_compiled_once_and_known_to_be(tmp_path: Path) -> None:
    (tmp_path / "callee.py").write_text(CALLEE)
    (tmp_path / "caller.py").write_text(CALLER)
    assert run(tmp_path, str(tmp_path / "caller.py")) == "True 4 False"
    assert run(tmp_path, str(tmp_path / "caller.py")) == "False 4 False"
    # A changed hash, here by the flags, is a folder of its own.
    assert run(tmp_path, str(tmp_path / "caller.py"), NUMBA_OPT="2") == "True 4 False"
    without = run(tmp_path, str(tmp_path / "caller.py"), NUMBA_DISABLE_JIT="1")
    assert without == "False 4 False"


def test_numba_imported_before_gets_the_same_folder(tmp_path: Path) -> None:
    code = "import sim.engine.jit as j; from numba.core import config; print(config.CACHE_DIR)"
    first = run(tmp_path, "-c", code)
    assert Path(first).parent == tmp_path / "cache"
    assert run(tmp_path, "-c", "import numba; " + code) == first


def test_only_the_last_used_folders_are_kept(tmp_path: Path) -> None:
    for i in range(12):
        old = tmp_path / "cache" / f"numba-{i:016x}"
        old.mkdir(parents=True)
        os.utime(old, (i, i))
    run(tmp_path, "-c", "import sim.engine.jit")
    left = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert len(left) == 8
    assert f"numba-{11:016x}" in left
    assert f"numba-{4:016x}" not in left


def test_a_cache_that_cannot_be_written_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    code = "import sim.engine.jit as j; print(j.CACHE_FOLDER.is_dir(), j.CACHE_FOLDER)"
    made, folder = run(tmp_path, "-c", code, TMPDIR=str(tmp_path)).split(maxsplit=1)
    assert made == "True"
    assert Path(folder).parent == tmp_path
    assert Path(folder).name.startswith("numba-")
    assert not Path(folder).exists()  # nobody else's code is ever run, and nothing stays behind


@pytest.mark.slow
@pytest.mark.skipif(JIT_DISABLED, reason="nothing is cached with the JIT off")
@pytest.mark.parametrize("damaged", ["nbc", "nbi"])
def test_a_damaged_cache_file_counts_as_none(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "callee.py").write_text(CALLEE)
    caller = tmp_path / "caller.py"
    caller.write_text(CALLER)
    assert run(tmp_path, str(caller)) == "True 4 False"
    for path in (tmp_path / "cache").rglob(f"*.{damaged}"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(tmp_path, str(caller)).split()[1] == "4"
    assert run(tmp_path, str(caller)) == "False 4 False"
