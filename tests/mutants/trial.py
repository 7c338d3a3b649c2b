"""One trial: a copy of the project with one rule broken, and the tests run on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.table import ROOT, Mutant

COPIED = ("isa", "workloads", "sim", "tests", "docs", "pyproject.toml")
FALLBACK = ("tests/contract", "tests/differential")


@dataclass(frozen=True)
class Verdict:
    """How pytest ended: ``passed``, ``failed``, ``time-out``, or ``broken`` (nothing was tested).

    ``test`` is the one that failed or was running, ``error`` the type of what it raised.
    """

    kind: str
    test: str = ""
    error: str = ""
    seconds: float = 0.0

    @property
    def caught(self) -> bool:
        """Whether a test noticed."""
        return self.kind in ("failed", "time-out")


@contextmanager
def copy(source: Path = ROOT) -> Iterator[Path]:
    """A temporary folder with what the tests need."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        for each in COPIED:
            if (source / each).is_file():
                shutil.copy2(source / each, folder / each)
            else:
                skipped = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source / each, folder / each, ignore=skipped)
        yield folder


async def run_tests(folder: Path, engine: str, tests: tuple[str, ...], limit: float) -> Verdict:
    """Run tests in a folder without compiling, up to the first failure or ``limit`` seconds."""
    report = folder / "report.txt"
    report.write_text("")
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "CONTRACT_ENGINE": engine,
        "MUTANT_REPORT": str(report),
    }
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not weights"),
        *("-p", "tests.mutants.plugin", "-p", "no:cacheprovider", *tests),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    in_time = True
    try:
        await asyncio.wait_for(process.wait(), limit)
    except TimeoutError:
        in_time = False
    finally:
        if process.returncode is None:  # with the processes that tests started
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    events = [line.split("\t") for line in report.read_text(encoding="utf-8").splitlines()]
    seconds = time.perf_counter() - began
    failures = [(test, error) for event, test, error in events if event == "fail"]
    if failures:
        return Verdict("failed", *failures[0], seconds)
    last = events[-1][1] if events else ""
    if not in_time:
        return Verdict("time-out", last, f"after {limit:.0f} s", seconds)
    if process.returncode == 0:
        return Verdict("passed", seconds=seconds)
    return Verdict("broken", last, f"pytest ended with {process.returncode}", seconds)


async def attempt(mutant: Mutant, unbroken: Path, limit: float) -> Verdict:
    """Break the rule in a copy of ``unbroken`` and look for a test that notices.

    First its own tests, then all of `FALLBACK`; a test found there must pass in ``unbroken``.
    """
    began = time.perf_counter()
    with copy(unbroken) as folder:
        path = folder / mutant.file
        path.write_text(mutant.patched(path.read_text(encoding="utf-8")), encoding="utf-8")
        verdict = await run_tests(folder, mutant.engine, mutant.tests, limit)
        if verdict.kind == "passed":
            verdict = await run_tests(folder, mutant.engine, FALLBACK, limit)
            if verdict.caught:
                with copy(unbroken) as same:
                    sound = await run_tests(same, mutant.engine, (verdict.test,), limit)
                if sound.kind != "passed":
                    verdict = Verdict("broken", verdict.test, "fails without the mutant too")
    return Verdict(verdict.kind, verdict.test, verdict.error, time.perf_counter() - began)
