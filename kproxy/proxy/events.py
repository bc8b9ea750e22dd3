"""Events that sources and signals send to the control loop."""

from __future__ import annotations

from msgspec import Struct

from kproxy.api.types import KubernetesObject
from kproxy.store import Update


class Objects(Struct, frozen=True):
    """All objects that the sources hold now; they are valid."""

    objects: tuple[KubernetesObject, ...]


class Changed(Struct, frozen=True):
    """Some objects have changed; the others are as before. They are valid."""

    update: Update


class Complete(Struct, frozen=True):
    """All that a source had when it was first read has been sent, by `Changed`."""


class Rejected(Struct, frozen=True):
    """The sources hold something invalid. The former valid objects remain in force."""

    problems: tuple[str, ...]


class SourceLost(Struct, frozen=True):
    """A source has failed and will send nothing more."""

    error: BaseException


class Stop(Struct, frozen=True):
    """A request to end the loop, after a sync that may be running."""


Event = Objects | Changed | Complete | Rejected | SourceLost | Stop
