"""Command lines in this process, and in one of their own where signals and memory matter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

COMMAND = (sys.executable, "-c", "from sim.cli.main import main; main()")

# A child begins with the memory of its parent, which counts as its own: so the parent is a small
# process, and not that of the tests.
LAUNCHER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as peak:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=peak)
sys.exit(code)
"""


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
    with tempfile.NamedTemporaryFile("r") as peak:
        command = [sys.executable, "-c", LAUNCHER, peak.name, *COMMAND, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        return Finished(done.returncode, done.stdout, done.stderr, int(peak.read()) * 1024)
