"""The documented table of network plugins, read from `tables/ack.yaml`."""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files

import yaml
from msgspec import Struct, field

from kproxy.typed import converted


class Row(StrEnum):
    """The subject of a statement."""

    BACKENDS = "backends"  # the backends attached to the load balancer
    QUOTA = "quota"  # their number
    PATH = "path"  # the path of traffic from inside to the load balancer's address
    INSIDE = "inside"  # the clients inside the cluster that reach that address
    BALANCE = "balance"  # whether pods get equal shares
    SOURCE = "source"  # whether pods see the client's address
    PERSISTENCE = "persistence"  # whether a client returns to its pod
    EXAMPLE = "example"  # a failure that the document names, in ipvs mode only


NETWORKS = {"flannel": "flannel-vxlan", "terway-eniip": "eni-shared"}
"""The default network model for each plugin."""


class PluginStatement(Struct, frozen=True, kw_only=True):
    """One cell of the document's table."""

    plugin: str
    row: Row
    policy: str
    says: str
    """The document's words."""
    expect: str
    """The measurement that agrees with them."""

    def __str__(self) -> str:
        return f"{self.plugin} {self.policy} {self.row}"


class _Cell(Struct, frozen=True, forbid_unknown_fields=True):
    says: str
    expect: str


class _Row(Struct, frozen=True, forbid_unknown_fields=True):
    row: Row
    local: _Cell | None = field(name="Local", default=None)
    cluster: _Cell | None = field(name="Cluster", default=None)


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    plugins: dict[str, tuple[_Row, ...]]


def documented() -> list[PluginStatement]:
    """Return all statements, plugin by plugin and row by row."""
    text = files("kproxy.matrix.tables").joinpath("ack.yaml").read_text(encoding="utf-8")
    return [
        PluginStatement(
            plugin=plugin, row=row.row, policy=policy, says=cell.says, expect=cell.expect
        )
        for plugin, rows in converted(yaml.safe_load(text), _Table).plugins.items()
        for row in rows
        for policy, cell in (("Local", row.local), ("Cluster", row.cluster))
        if cell
    ]
