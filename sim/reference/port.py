"""What passes one line after another, in fs: the port of a slice of L3 (M4), a link (C9)."""

from bisect import insort

REMEMBERED = 64  # lines


class LinePort:
    """Passes a line in ``length`` fs; ``starts`` are those of the latest lines, ascending."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.starts: list[int] = []

    def take(self, time: int) -> int:
        """Pass a line that comes at ``time``, between the others; returns when it begins to."""
        begins = time
        if len(self.starts) == REMEMBERED:  # what was before is forgotten
            begins = max(begins, self.starts[0] + self.length)
        for start in self.starts:
            if start < begins + self.length and begins < start + self.length:
                begins = start + self.length
        insort(self.starts, begins)
        del self.starts[:-REMEMBERED]
        return begins
