"""What sources and signals tell the control loop."""

from __future__ import annotations

from msgspec import Struct

from kproxy.api.types import KubernetesObject


class Objects(Struct, frozen=True):
    """The whole of what the sources hold now, valid."""

    objects: tuple[KubernetesObject, ...]


class Rejected(Struct, frozen=True):
    """The sources hold something invalid. What was valid before remains in force."""

    problems: tuple[str, ...]


class SourceLost(Struct, frozen=True):
    """A source has come to its end by an error and will send nothing more."""

    error: BaseException


class Stop(Struct, frozen=True):
    """End the loop after the sync that may be running."""


Event = Objects | Rejected | SourceLost | Stop
