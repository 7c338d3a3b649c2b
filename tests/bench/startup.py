"""The program from the shell: compiling once, starting, and the memory it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench.figure import Figure
from workloads.cache import cache_root

GROUP = "From the shell"
ROOT = Path(__file__).resolve().parents[2]
TOY = ("run", "toy-llama", "--prompt", "hi", "--tokens", "4")
DECODE = ("run", "smollm2", "--context", "128", "--tokens", "1", "--dtype", "bf16")
KERNEL = """.tensor a f32 4 4 ones
.tensor b f32 4 4 ones
.tensor c f32 4 4
main:
    li x1, a
    li x2, b
    li x3, c
    li x4, 16
    li x5, 4
    load.f32 t0, (x1), x4, x5, x5
    load.f32 t1, (x2), x4, x5, x5
    fill.f32 t2, x0, x5, x5
    matmul.f32 t2, t0, t1
    store.f32 t2, (x3), x4
    halt
"""
# Measured from a process of its own: what a child inherits at its start counts as its memory.
LAUNCHER = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
seconds = time.perf_counter() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
processor = used.ru_utime + used.ru_stime
print(json.dumps([done.returncode, seconds, processor, used.ru_maxrss, done.stderr]))
"""
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class Finished(NamedTuple):
    """A command that has ended: wall and processor seconds, peak resident bytes, its messages."""

    seconds: float
    processor_seconds: float
    peak: int
    messages: str


def tickformer(*arguments: str, cache: Path) -> Finished:
    """Run the installed command in a cache folder.

    Raises RuntimeError where it fails.
    """
    command = [str(Path(sys.executable).with_name("tickformer")), *arguments]
    environment = os.environ | {"TICKFORMER_CACHE": str(cache)}
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    code, seconds, processor, peak, messages = json.loads(launched.stdout)
    if code != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{messages}")
    return Finished(seconds, processor, peak * MAXRSS_BYTES, messages)


def figures() -> Iterator[Figure]:
    """Measure everything in a fresh cache folder, with the weights that were fetched before."""
    with tempfile.TemporaryDirectory(prefix="tickformer-bench-") as folder:
        cache = Path(folder)
        weights = cache_root() / "weights"
        if weights.is_dir():
            (cache / "weights").symlink_to(weights)
        first = tickformer(*TOY, cache=cache)
        if "compiling" not in first.messages:
            raise RuntimeError(f"no message about compiling:\n{first.messages}")
        yield Figure(GROUP, "first run of all, which compiles", first.seconds, "s", 60)
        yield Figure(GROUP, "of it, processor time", first.processor_seconds, "s")
        again = min(tickformer(*TOY, cache=cache).seconds for _ in range(3))
        yield Figure(GROUP, "tickformer run, a toy model", again, "s", 2)
        kernel = cache / "kernel.s"
        kernel.write_text(KERNEL, encoding="utf-8")
        assembled = min(tickformer("run-asm", str(kernel), cache=cache).seconds for _ in range(3))
        yield Figure(GROUP, "tickformer run-asm, a toy kernel", assembled, "s", 2)
        first = tickformer(*DECODE, cache=cache)
        yield Figure(GROUP, "peak memory, SmolLM2 bf16, the first time", first.peak / 1e9, "GB", 2)
        again_ = tickformer(*DECODE, cache=cache)
        yield Figure(GROUP, "peak memory, SmolLM2 bf16, later", again_.peak / 1e9, "GB", 2)
        yield Figure(GROUP, "SmolLM2, one token, start to end", again_.seconds, "s")
