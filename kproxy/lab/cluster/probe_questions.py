"""The request of a readiness probe, and the outcome that an answer means. Pure.

As in the kubelet's pkg/probe/http and pkg/probe/tcp of v1.36, except for HTTPS and host names,
which fail. A redirection is a success and is not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote

from kproxy.address import host_port
from kproxy.api.types import Probe
from kproxy.errors import BadInput
from kproxy.lab.spec import PortSpec
from kproxy.loop.http import get, read_answer

_BODY_MAX_BYTES = 10 * 1024  # maxRespBodyLength


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One probe of a pod. `path` is that of an HTTP request, with its query; with "", the probe is
    only a connection.
    """

    address: str
    port: int
    path: str = ""

    @property
    def request(self) -> bytes:
        if not self.path:
            return b""
        fields = (("Host", self._where), ("User-Agent", "kube-probe/1.36"), ("Accept", "*/*"))
        return get(self.path, fields)

    def enough(self, answer: bytes) -> bool:
        """Tell whether an answer is complete. Its body is read, so that no server fails to send it.

        True also if it will never be an answer in HTTP.
        """
        found = read_answer(answer)
        return found.over or len(found.body) >= _BODY_MAX_BYTES

    def failure(self, *, connected: bool, error: str, answer: bytes) -> str:
        """Return the problem as text; "" for success. `error` is the network's, "" for none."""
        if error:
            text = error[:1].lower() + error[1:]
            return f"{self._url if connected else f'connect to {self._where}'}: {text}"
        if not self.path:
            return ""
        status = read_answer(answer).status
        if not status:
            return f"{self._url}: no complete answer in HTTP"
        return "" if 200 <= status < 400 else f"HTTP {status} from {self._url}"

    @property
    def _where(self) -> str:
        return host_port(self.address, self.port)

    @property
    def _url(self) -> str:
        return f"http://{self._where}{self.path}"


def question(probe: Probe, pod_ip: str, ports: Iterable[PortSpec]) -> Question:
    """Return what `probe` asks a pod with this address and these ports.

    Raises BadInput, with one problem, if a lab cannot ask that.
    """
    if action := probe.http_get:
        if action.scheme != "HTTP":
            raise BadInput([f"scheme {action.scheme}: probes of a lab speak HTTP and TCP"])
        path = quote(action.path.partition("#")[0], safe="/?&=%:@!$'()*+,;~[]")
        return Question(
            address=_address(action.host or pod_ip),
            port=_number(action.port, ports),
            path=path if path.startswith("/") else f"/{path}",
        )
    if socket := probe.tcp_socket:
        return Question(address=_address(socket.host or pod_ip), port=_number(socket.port, ports))
    raise BadInput(["probes of a lab speak HTTP and TCP"])


def _address(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        raise BadInput([f"host {host!r} is no IP address, and nodes resolve no names"]) from None


def _number(port: int | str, ports: Iterable[PortSpec]) -> int:
    """Return the number of a port given by name, or by number, perhaps as text.

    Source: pkg/probe/util.go (ResolveContainerPort). Raises BadInput.
    """
    named = [own.port for own in ports if own.name and own.name == port]
    if isinstance(port, str) and not named and not re.fullmatch(r"[0-9]{1,5}", port):
        raise BadInput([f"the pod has no port named {port!r}"])
    number = named[0] if named else int(port)
    if not 0 < number < 65536:
        raise BadInput([f"{number} is no port number"])
    return number
