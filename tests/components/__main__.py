"""`python -m tests.components [--write]`: run all components and print their figures.

`--write` puts them into docs/validation.md. A figure outside its tolerance ends it with status 1.
"""

from __future__ import annotations

import argparse
import sys

from tests.components import report


def main() -> int:
    """Print the figures, and write them if that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.components", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"update {report.PAGE.name}")
    write = parser.parse_args().write
    checks = report.measured()
    print(report.tables(checks))
    if write:
        report.PAGE.write_text(report.renewed(report.PAGE.read_text("utf-8"), checks), "utf-8")
        print(f"written to {report.PAGE}", file=sys.stderr)
    wrong = [check.what for check in checks if not check.agrees]
    for what in wrong:
        print(f"outside its tolerance: {what}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
