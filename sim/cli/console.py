"""Tables on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

QUIET_SECONDS = 2.0  # work shorter than this shows no progress
REPEAT_SECONDS = 10.0  # between lines of progress where stderr is no terminal
TABLE_WIDTH = 100  # where stdout is no terminal


def note(text: str) -> None:
    """Tell the user something that is not a result."""
    print(text, file=sys.stderr, flush=True)


def stdout_console() -> Console:
    """A console for results; wide enough for tables where stdout is no terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else TABLE_WIDTH, highlight=False)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: Sequence[str] = (),
) -> RenderableType:
    """A plain table under its title; the first column and those of ``left`` are text."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 or column in left else "right")
    for row in rows:
        made.add_row(*row)
    return Group(title, made) if title else made


class Progress:
    """What a long piece of work is doing: a line that renews itself on a terminal, else one now
    and then. Shows nothing in the first two seconds.

    ``update`` is cheap enough to be called every few hundredths of a second.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._shown = self._begin - REPEAT_SECONDS
        self._terminal = sys.stderr.isatty()
        self._on_screen = False

    def update(self, text: str) -> None:
        """Say what is going on now."""
        now = time.monotonic()
        pause = 0.2 if self._terminal else REPEAT_SECONDS
        if now - self._begin < QUIET_SECONDS or now - self._shown < pause:
            return
        self._shown = now
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text} ({now - self._begin:.0f} s)")
            self._on_screen = True
        else:
            sys.stderr.write(f"{text} ({now - self._begin:.0f} s)\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line from the terminal, so that other output can take its place."""
        if self._on_screen:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._on_screen = False


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Progress for the time of a block."""
    shown = Progress()
    try:
        yield shown
    finally:
        shown.clear()


def si(value: float, unit: str = "") -> str:
    """A number for people, with three digits: ``1.23 GB``, ``45.6 k``, ``7 B``."""
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def percent(part: float, whole: float) -> str:
    """A share: ``12.3 %``; empty where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else ""
