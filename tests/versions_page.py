"""The tables of docs/versions.md, from the code's own.

Renew them: python -m tests.versions_page
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from kproxy.config.gates import GATES, Gate
from kproxy.versions import BEHAVIOURS, Behaviour, Version

PAGE = Path(__file__).parents[1] / "docs" / "versions.md"


def behaviours() -> str:
    rows = [
        (
            f"`{each.name}`{' (packets)' * each.packets}",
            ", ".join(each.modes) or "all",
            _versions(each),
            each.summary,
            each.was,
            each.source,
            f"not to be seen here: {each.unseen}" if each.unseen else "emulated",
        )
        for each in BEHAVIOURS
    ]
    return _table(("name", "modes", "versions", "what", "before", "source", "in kproxy"), rows)


def gates() -> str:
    header = ("gate", *map(str, Version))
    return _table(
        header,
        [
            (f"`{name}`", *(_state(gate, version) for version in Version))
            for name, gate in GATES.items()
        ],
    )


def _versions(each: Behaviour) -> str:
    return f"from {each.since}" + (f" until {each.until}" if each.until else "")


def _state(gate: Gate, version: Version) -> str:
    if not gate.known_in(version):
        return "unknown"
    return ("on" if gate.default_in(version) else "off") + ", locked" * gate.locked


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


TABLES = {"behaviours": behaviours, "gates": gates}


def renewed(page: str) -> str:
    """Return the page with new tables."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda found: found[1] + TABLES[found[2]]() + found[3],
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
