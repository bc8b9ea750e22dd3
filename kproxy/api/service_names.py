"""How a user names a Service, in every command: `svc/NAME[.NAMESPACE][:PORT][/PROTOCOL]`. Pure."""

from __future__ import annotations

import re
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from kproxy.errors import BadInput

_KINDS = ("svc", "service", "services")  # as for kubectl


class ServiceName(Struct, frozen=True, kw_only=True):
    """A Service in the words of a user. What is not given is ""; a protocol, None."""

    name: str
    namespace: str = ""
    port: str = ""
    """Its number or its name."""
    protocol: str | None = None
    """What is behind the last slash, unchecked."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" + (f":{self.port}" if self.port else "")


def service_name(text: str, *, bare: bool = False) -> ServiceName | None:
    """Return the Service that `text` names; None if it is in another form.

    `service` and `services` mean the same as `svc`; with `bare`, the name may stand alone. As in
    DNS, `.svc` and a domain may follow the namespace.
    """
    parts = _form().fullmatch(text if "/" in text or not bare else f"svc/{text}")
    if parts is None:
        return None
    return ServiceName(
        name=parts["name"],
        namespace=parts["namespace"] or "",
        port=parts["port"] or "",
        protocol=parts["protocol"],
    )


def service_in(text: str, namespace: str) -> ServiceName:
    """Return the Service that an argument of a command names: `svc/NAME[.NAMESPACE][:PORT]`.

    `namespace` is that of the command's option; "" and `default` leave the choice to the name.
    Raises BadInput.
    """
    named = service_name(text, bare=True)
    if named is None or named.protocol is not None:
        raise BadInput([f"SERVICE: expected svc/NAME or svc/NAME:PORT, got {text!r}"])
    if named.namespace and namespace not in ("", "default", named.namespace):
        raise BadInput([f"{text} and --namespace {namespace}: give one namespace"])
    return replace(named, namespace=named.namespace or namespace)


def names_a_service(text: str) -> bool:
    """Return whether `text` begins as the name of a Service does, whatever follows."""
    kind, slash, _ = text.partition("/")
    return bool(slash) and kind in _KINDS


@cache
def _form() -> re.Pattern[str]:
    """Compiled when a Service is named: most questions name an address."""
    return re.compile(
        rf"(?:{'|'.join(_KINDS)})/(?P<name>[^./:]+)"
        r"(?:\.(?P<namespace>[^./:]+)(?:\.svc(?:\.[^/:]+)?)?)?"
        r"(?::(?P<port>[^/:]+))?(?:/(?P<protocol>[^/]*))?"
    )
