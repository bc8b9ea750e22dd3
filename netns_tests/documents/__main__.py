"""Pages as a developer plays them: what differs is shown, or with --update written."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from netns_tests.documents.running import difference, played


def main() -> None:
    parser = argparse.ArgumentParser(prog="netns_tests.documents", description=__doc__)
    parser.add_argument("--update", action="store_true", help="rewrite the pages")
    parser.add_argument("pages", nargs="+", type=Path)
    asked = parser.parse_args()
    failed = False
    for page in asked.pages:
        before = page.read_text()
        with TemporaryDirectory() as home:
            now = played(before, Path(home))
        if changes := difference(before, now):
            print(f"{page}:\n{changes}")
            failed = not asked.update
        if asked.update:
            page.write_text(now)
    sys.exit(1 if failed else 0)


main()
