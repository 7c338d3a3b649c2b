"""Command lines in this process, and in one of their own where signals and memory matter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

COMMAND = (sys.executable, "-c", "from sim.cli.main import main; main()")


@dataclass(frozen=True)
class Finished:
    """A process that has ended; `peak_bytes` is the most memory it held."""

    code: int
    out: str
    err: str
    peak_bytes: int


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start `tickformer` with its streams as pipes."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(*arguments: object) -> Finished:
    """Run `tickformer` to its end and measure it (the kernel counts in KiB)."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        return Finished(process.returncode, out.read(), err.read(), usage.ru_maxrss * 1024)
