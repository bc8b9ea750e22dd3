"""The kubeconfig of a lab, with which kubectl and client libraries reach its API."""

from __future__ import annotations

import json
import ssl
from base64 import b64decode, b64encode
from pathlib import Path
from typing import NamedTuple

from kproxy.errors import BadInput
from kproxy.kubernetes.tls_socket import TlsSocket


class Access(NamedTuple):
    """A kubeconfig, read: where the API is, whom to trust, who we are."""

    url: str
    authority: str
    token: str


def kubeconfig_text(lab: str, server: str, authority: bytes, token: str) -> str:
    """Return a kubeconfig with one context, `kproxy-LAB`. `authority`: PEM of the certificate.

    It is JSON, and so also YAML.
    """
    name = f"kproxy-{lab}"
    cluster = {"server": server, "certificate-authority-data": b64encode(authority).decode()}
    values = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(values, indent=2) + "\n"


def read_access(path: Path) -> Access:
    """Read a kubeconfig that a lab has written. Raises BadInput for any other."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        (cluster,), (user,) = values["clusters"], values["users"]
        authority = b64decode(cluster["cluster"]["certificate-authority-data"]).decode()
        return Access(cluster["cluster"]["server"], authority, user["user"]["token"])
    except OSError as error:
        raise BadInput([f"{path}: {error.strerror}"]) from None
    except (ValueError, KeyError, TypeError):
        raise BadInput([f"{path} is not the kubeconfig of a lab"]) from None


def tls_context(access: Access) -> ssl.SSLContext:
    """Return a context that trusts only the lab's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    context.load_verify_locations(cadata=access.authority)
    return context
