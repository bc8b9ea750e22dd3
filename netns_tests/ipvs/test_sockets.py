"""Sockets that stay open from call to call, and are opened anew after a failure."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from kproxy_ipvs.sockets import Sockets

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import ipset
from kproxy.kernel.netns import Namespace

pytestmark = pytest.mark.ipvs


def open_sockets() -> set[str]:
    """Return the inodes of this process's sockets."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the folder's own
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {each for each in found if each.startswith("socket:")}


def test_sockets_are_opened_once_and_closed_after_an_error() -> None:
    with Namespace.create() as namespace, namespace.entered():
        before = open_sockets()
        sockets = Sockets()
        with sockets:
            assert sockets.ipvs.count(Family.IPV4) == 0
            ipset.edit([], [], sockets.ipset)
        opened = open_sockets() - before
        assert len(opened) == 2
        with sockets:
            assert sockets.ipvs.count(Family.IPV4) == 0
        assert open_sockets() - before == opened
        with pytest.raises(KernelRefused, match="missing"), sockets:
            ipset.edit([("missing", "10.0.0.1")], [], sockets.ipset)
        assert open_sockets() == before
        with sockets:
            assert sockets.ipvs.count(Family.IPV4) == 0
        sockets.close()
        sockets.close()
        assert open_sockets() == before
