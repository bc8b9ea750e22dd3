"""Measures a setting of the matrix, and traces every packet of it in the same lab."""

from __future__ import annotations

from contextlib import closing

from kproxy.address import split_host_port
from kproxy.backend import BackendOptions
from kproxy.forwarding.network import Packet
from kproxy.matrix.measure import Cell, measured_labs
from kproxy.matrix.places import HOSTS, Kind
from kproxy.matrix.setting import HOST, Setting
from netns_tests.agreement import Asked, Explained


def survey(setting: Setting, options: BackendOptions | None = None) -> tuple[list[Cell], list[str]]:
    """Return the cells, and where `kproxy trace` and `kproxy explain` differ from them.

    `options`: of the proxies, other than those that the setting gives them.
    """
    with closing(measured_labs([setting], options=options)) as labs:
        measured = next(labs)
        explained = Explained(measured.lab, measured.options)
        asked = [*map(_asked, measured.cells)]
        return measured.cells, explained.disagreements(asked, measured.explainer)


def _asked(cell: Cell) -> Asked:
    address, port = split_host_port(cell.asked) or ("", "")
    client = HOSTS[cell.question.client]
    packet = Packet(client=client, address=address, port=int(port), protocol=cell.protocol)
    return Asked(packet, cell.explanation, http=HOST if cell.question.kind is Kind.NGINX else None)
