"""Labs of tests in the state folder: `kproxy ls`, `status`, `shell` and kubectl find them there.

A lab is registered when its API is asked for, or when it is kept. Whatever happens to the process,
`kproxy clean` finds what is left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from kproxy.errors import BadInput
from kproxy.lab import Lab
from kproxy.resident.control import Reply
from kproxy.resident.orders import DIRECT, Order
from kproxy.resident.records import AUTHORITY, KUBECONFIG, TOKEN, new_record, write_record
from kproxy.resident.residence import Residence
from kproxy.resident.runs import claim_next


class Registration(Residence):
    """A lab that is up, in a place of its own, with its API if it has a control plane.

    `kproxy down` is refused until the lab is kept; then `keep`'s function is called.
    """

    def __init__(self, lab: Lab) -> None:
        """Claim a place. Raises Unsupported if there cannot be one."""
        self.place = claim_next(f"pytest-{os.getpid()}")
        self._kept: Callable[[], None] | None = None
        order = Order(
            spec=replace(lab.spec, name=self.place.name),
            mode=lab.mode,
            config=lab.config,
            options=None,  # they are the lab's already
            command=(),
            source=DIRECT,
            api_port=0,
            uml=False,
            argv=(*sys.orig_argv,),
            folder=os.getcwd(),
        )
        path = self.place.path
        record = new_record(order, pid=os.getpid(), mark=token_hex(16), place=str(path))
        write_record(path, record)
        super().__init__(order, self.place, record, lab)

    @property
    def kubeconfig(self) -> Path:
        return self.place.path / KUBECONFIG

    @property
    def url(self) -> str:
        return str(self.status()["api"])

    @property
    def authority(self) -> Path:
        """The certificate that the API's is signed with, in PEM."""
        return self.place.path / AUTHORITY

    @property
    def token(self) -> str:
        return (self.place.path / TOKEN).read_text(encoding="utf-8")

    def close(self) -> None:
        """End what answers for the lab, which itself stays."""
        self.__exit__(None, None, None)

    def keep(self, ended: Callable[[], None]) -> None:
        """Let `kproxy down` end the lab from now on, by calling this in a thread of its own."""
        self._kept = ended

    def _told_to_stop(self, request: Mapping[str, Any]) -> Reply:
        if self._kept is None:
            raise BadInput(
                [f"lab {self.place.name} is of a test that runs: it ends with the test"],
                remedy=f"to end the tests as well, interrupt process {os.getpid()}",
            )
        self._kept()
        return super()._told_to_stop(request)
