"""The API of a lab: the control plane behind HTTPS, with tokens of the owner and of pods."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from kproxy.apiserver.http.pod_streams import PodStreams
from kproxy.apiserver.http.server import HttpsServer, tls_context
from kproxy.apiserver.request import User
from kproxy.controlplane.api_service import PORT
from kproxy.controlplane.plane import Json, Plane
from kproxy.lab import Lab
from kproxy.lab.names import ROUTER
from kproxy.resident.access import PORT_INSIDE, open_access, service_addresses

_ACCOUNTS, _AUTHENTICATED = "system:serviceaccounts", "system:authenticated"
_OWNER = User("kubernetes-admin", ("system:masters", _AUTHENTICATED))


class LabApi:
    """An API that is served until it is closed."""

    def __init__(self, lab: Lab, plane: Plane, place: Path, port: int) -> None:
        """Serve the objects of a lab, and write how it is reached into its place; `port` 0: any.
        Without a control plane of the lab's own, pods neither know of it nor are reached by it.

        Raises BadInput if the port is taken, Unsupported, KernelRefused.
        """
        access = open_access(lab, place, port)
        self.url = access.url
        self._authority = access.certificates.authority.read_text()
        self._tokens = {access.token: _OWNER}
        self._accounts: dict[User, str] = {}  # the token of each
        with ExitStack() as undo:
            for each in access.sockets:
                undo.callback(each.close)
            self._server = HttpsServer(
                plane,
                tokens=self._tokens,
                tls=tls_context(access.certificates.server, access.certificates.key),
                streams=self._streams(lab, plane),
                address=access.url.removeprefix("https://"),
            )
            self._server.start(access.sockets)
            undo.callback(self._server.close)
            if lab.spec.control_plane:
                addresses = [*lab.hosts[ROUTER].addresses.values()]
                lab.publish_api(addresses, PORT_INSIDE, {"ca.crt": self._authority})
            undo.pop_all()

    def close(self) -> None:
        self._server.close()

    def _streams(self, lab: Lab, plane: Plane) -> PodStreams | None:
        if not lab.spec.control_plane:
            return None
        address = (service_addresses(lab)[0], PORT)
        pods = lab.pod_access(plane.get, api_server=address, service_account=self._service_account)
        return PodStreams(pods, plane)

    def _service_account(self, pod: Json) -> Mapping[str, str]:
        """Return the files of a Pod's service account. Each account has a token of its own."""
        namespace = pod["metadata"].get("namespace", "default")
        name = pod.get("spec", {}).get("serviceAccountName") or "default"
        groups = (_ACCOUNTS, f"{_ACCOUNTS}:{namespace}", _AUTHENTICATED)
        account = User(f"system:serviceaccount:{namespace}:{name}", groups)
        token = self._accounts.setdefault(account, secrets.token_urlsafe(32))
        self._tokens[token] = account
        return {"token": token, "ca.crt": self._authority, "namespace": namespace}
