"""Ctrl-C as a request to stop at the next opportunity, so that what was done can be shown."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

EXIT_INTERRUPTED = 130  # as a shell has it: 128 + SIGINT


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside the block the first Ctrl-C only makes the yielded function true.

    A second Ctrl-C interrupts at once, as it does outside the block. Outside the main thread,
    which alone receives signals, the function is always false.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    stopped = False
    previous = signal.getsignal(signal.SIGINT)

    def first(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, first)
    try:
        yield lambda: stopped
    finally:
        signal.signal(signal.SIGINT, previous)
