"""`python -m tests.scaling [--write]`: models on more and more cores, in about two minutes.

Prints the tables; `--write` puts them into docs/scaling.md and draws docs/scaling.svg.
"""

from __future__ import annotations

import argparse
import sys

from tests.scaling import report


def main() -> None:
    """Print the tables, and write page and figure if that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.scaling", description=__doc__)
    parser.add_argument("--write", action="store_true", help="update the page and the figure")
    write = parser.parse_args().write
    print(report.tables())
    if write:
        report.PAGE.write_text(report.renewed(report.PAGE.read_text("utf-8")), "utf-8")
        report.FIGURE.write_text(report.figure(), "utf-8")
        print(f"written to {report.PAGE} and {report.FIGURE}", file=sys.stderr)


if __name__ == "__main__":
    main()
