"""The netlink sockets that a backend keeps open: to open, set up and close one takes as many system
calls as an edit does.
"""

from __future__ import annotations

from typing import Self

from kproxy.kernel import ipset
from kproxy.kernel.ipvs import Ipvs
from kproxy.kernel.netlink import Netlink


class Sockets:
    """Sockets in the namespace of the thread that first uses them.

    A context manager that closes them if an error ends it: what one was in the middle of is unknown
    then, and the module of IPVS may have been loaded anew, which gives its family another number.
    """

    def __init__(self) -> None:
        self._ipvs: Ipvs | None = None
        self._ipset: Netlink | None = None

    @property
    def ipvs(self) -> Ipvs:
        """Open the socket at first use. Raises Unsupported if this kernel has no IPVS."""
        if self._ipvs is None:
            self._ipvs = Ipvs()
        return self._ipvs

    @property
    def ipset(self) -> Netlink:
        """Open the socket at first use."""
        if self._ipset is None:
            self._ipset = ipset.connect()
        return self._ipset

    def close(self) -> None:
        for each in (self._ipvs, self._ipset):
            if each is not None:
                each.close()
        self._ipvs = self._ipset = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.close()
