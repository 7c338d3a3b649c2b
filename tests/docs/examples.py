"""The examples of the documentation: found, run, and compared with the output stored beside them.

A fenced block of a page is an example by its language:

``console``  lines `$ tickformer ...`, each followed by what it prints: stdout, and stderr where
             the command fails. A line `...` stands for lines left out. `console slow` is a slow
             test; `console slow weights` needs the fetched weights besides.
``python``   run in one namespace per page; an ``output`` block behind it is what it prints.
``toml``     after a comment `<!-- file: NAME -->` is written to that file first.

Commands run in this process, in a folder of their own that has the repository's `docs` in it.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.cli.main import execute

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "ARCHITECTURE.md", "docs/decisions.md")
OMITTED = "..."
_FENCE = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_HOST_TIME = re.compile(r"simulated in [\d.]+ s")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, further words behind it, and where its text stands."""

    page: str
    language: str
    words: tuple[str, ...]
    file: str | None
    text: str
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Command:
    """A command of a console block and the output stored below it; `start:end` is the output."""

    line: int
    text: str
    output: str
    start: int
    end: int

    @property
    def arguments(self) -> list[str]:
        """What follows `tickformer`."""
        name, *arguments = shlex.split(self.text)
        assert name == "tickformer", f"only tickformer can be run here, not {self.text!r}"
        return arguments


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    source = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(source):
        language, *words = match["info"].split() or [""]
        line = source.count("\n", 0, match.start("text"))
        start, end = match.span("text")
        found.append(
            Block(page, language, tuple(words), match["file"], match["text"], line, start, end)
        )
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block, with their outputs."""
    found = []
    at = block.start
    for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE):
        first, _, output = part.partition("\n")
        if first.startswith("$ "):
            start = at + len(first) + 1
            line = block.line + block.text.count("\n", 0, at - block.start) + 1
            found.append(Command(line, first[2:], output, start, at + len(part)))
        at += len(part)
    return found


@contextlib.contextmanager
def workplace(folder: Path, page: str) -> Iterator[None]:
    """Make `folder` the current one, with `docs` and the files a page writes out."""
    link = folder / "docs"
    if not link.exists():
        link.symlink_to(ROOT / "docs")
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    with contextlib.chdir(folder):
        yield


def run_command(arguments: list[str]) -> str:
    """Run one command line; returns stdout, and stderr too where it fails."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = execute(arguments)
    return _tidy(out.getvalue() + (err.getvalue() if code else ""))


def run_python(text: str, namespace: dict[str, Any]) -> str:
    """Run a block of Python; returns what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, "<example>", "exec"), namespace)
    return _tidy(out.getvalue())


def _tidy(text: str) -> str:
    """Without blanks at the ends of lines and empty lines at the ends of the text."""
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip("\n") + "\n" if any(lines) else ""


def difference(stored: str, actual: str) -> str:
    """An empty string where the output is as stored, else both."""
    wanted, found = (_HOST_TIME.sub("simulated in N s", _tidy(text)) for text in (stored, actual))
    if doctest.OutputChecker().check_output(wanted, found, doctest.ELLIPSIS):
        return ""
    return f"stored:\n{stored}\nnow:\n{actual}\n(python -m tests.docs brings numbers up to date)"


# --- bringing stored output up to date ------------------------------------------------------------


def renewed(stored: str, actual: str) -> str:
    """`stored` with the numbers of `actual`; lines left out stay left out, host times stay.

    Raises `ValueError` for a stored line of which, but for its numbers, there is no equal one.
    """
    host_time = _HOST_TIME.search(stored)
    if host_time:
        actual = _HOST_TIME.sub(host_time[0], actual)
    lines = _tidy(actual).splitlines()
    if OMITTED not in [line.strip() for line in stored.splitlines()]:
        return "\n".join(lines) + "\n" if lines else ""
    kept = []
    at = 0
    for line in _tidy(stored).splitlines():
        if line.strip() == OMITTED:
            kept.append(line)
            continue
        shape = _shape(line)
        same = [number for number in range(at, len(lines)) if _shape(lines[number]) == shape]
        if not same:
            raise ValueError(f"no line like {line!r} any more; edit the page by hand:\n{actual}")
        alike = [number for number in same if lines[number].split()[:1] == line.split()[:1]]
        found = (alike or same)[0]
        kept.append(lines[found])
        at = found + 1
    return "\n".join(kept) + "\n"


def _shape(line: str) -> str:
    """A line without its numbers and their units, rules and blanks."""
    words = re.sub(r"[\d.,]+( [kMGT]?(flop|B)?\b)?", "#", line)
    return " ".join(re.sub("─+", "─", words).split())
