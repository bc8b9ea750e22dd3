"""What is wrong with a configuration, field by field."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """`field` is spelled as in the file, such as `iptables.syncPeriod`; "" is the whole file."""

    field: str
    text: str

    def at(self, where: str) -> str:
        return ": ".join(part for part in (where, self.field, self.text) if part)
