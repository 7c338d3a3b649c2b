"""What lines pass: the ports of L2 and of slices of L3 (M4), links (C9)."""

from bisect import insort

REMEMBERED = 64  # lines


class BytePort:
    """Passes ``width`` bytes in a core cycle, which lines may share.

    ``position`` counts bytes that could have passed.
    """

    def __init__(self, line_bytes: int, width: int) -> None:
        self.line_bytes = line_bytes
        self.width = width
        self.position = 0

    def take(self, time: int) -> int:
        """Pass a line that comes in cycle ``time``; returns when it is served."""
        self.position = max(self.position, time * self.width)
        served = self.position // self.width
        self.position += self.line_bytes
        return served


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
