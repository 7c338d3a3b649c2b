"""`python -m tests.docs`: run all examples and put what they print now into the pages.

Lines left out (`...`) stay left out. Read the difference before committing it: a number in the
text around an example does not renew itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.docs.examples import (
    PAGES,
    ROOT,
    blocks,
    commands,
    difference,
    renewed,
    run_command,
    run_python,
    workplace,
)


def renew(page: str) -> None:
    """Renew the stored outputs of one page."""
    path = ROOT / page
    source = path.read_text(encoding="utf-8")
    replacements: list[tuple[int, int, str]] = []
    printed = ""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, workplace(Path(folder), page):
        for block in blocks(page):
            if block.language == "console":
                for command in commands(block):
                    now = run_command(command.arguments)
                    if command.output.strip() and difference(command.output, now):
                        text = renewed(command.output, now)
                        replacements.append((command.start, command.end, text))
            elif block.language == "python":
                printed = run_python(block.text, namespace)
            elif block.language == "output" and difference(block.text, printed):
                replacements.append((block.start, block.end, renewed(block.text, printed)))
    for start, end, text in reversed(replacements):
        source = source[:start] + text + source[end:]
    if replacements:
        path.write_text(source, encoding="utf-8")
    print(f"{page}: {len(replacements)} outputs renewed")


if __name__ == "__main__":
    for name in PAGES:
        renew(name)
