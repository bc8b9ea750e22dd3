"""Runs a credential plug-in of a kubeconfig (`exec`), with the client library's `ExecProvider`.

The library's own loader is not left to do it: if the plug-in fails, it only logs that, and the
requests go out without credentials.
"""

from __future__ import annotations

import base64
import re
import shutil
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from kproxy.errors import AccessRefused
from kproxy.kubernetes.kubeconfig import Exec, Kubeconfig, one_line, spelled
from kproxy.kubernetes.library import CONFIG_ERROR, ENDING_WITH_US, RunPlugin, ask_library
from kproxy.typed import converted

_WAIT_S = 60  # client-go waits for ever, and without credentials there is no news of Services
_KILLED = 124  # exit status of timeout(1)
_SHOWN_CHARACTERS = 300
_HIDDEN = "(hidden)"
_SECRETS = re.compile(
    r"-----BEGIN.*?(?:-----END[^-]*-----|$)|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=[Bb]earer )\S+", re.S
)
_CLUSTER_INFO = (  # what the API of plug-ins has of a cluster, besides its config
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority-data",
    "proxy-url",
    "disable-compression",
)
_CONFIG = "client.authentication.k8s.io/exec"  # the extension of a cluster that is for plug-ins


class Given(Struct, rename="camel"):
    """The credentials of a plug-in: the status of its ExecCredential."""

    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None

    def __repr__(self) -> str:
        return "Given()"


def run_plugin(found: Kubeconfig) -> Given:
    """Return what the plug-in of the user gives.

    Raises AccessRefused with the plug-in's reason, BadInput if it cannot be started.
    """
    plugin = found.user.plugin
    assert plugin is not None
    _require_program(found, plugin)
    answer = ask_library(
        RunPlugin(
            plugin=spelled(plugin),
            cluster=_cluster_info(found),
            folder=str(found.folder),
            # The library would wait for it without end.
            before=[*ENDING_WITH_US, "timeout", "-k", "5", str(_WAIT_S)],
        )
    )
    if answer.error == CONFIG_ERROR:
        reason = answer.words.removeprefix("exec: ").replace("process returned", "exit status")
        if reason.startswith(f"exit status {_KILLED}"):
            reason = f"it was still running after {_WAIT_S} s, or {reason}"
        raise _failed(found, plugin, reason)
    if answer.words:
        raise _failed(found, plugin, f"it cannot be started: {answer.words}")
    if answer.error:  # as of text that is none, or JSON of another shape
        raise _failed(found, plugin, "its output is not an ExecCredential")
    try:
        given = converted(answer.status, Given)
    except msgspec.ValidationError as error:
        raise _failed(found, plugin, f"its status is wrong: {one_line(error)}") from None
    if given.token is None and not (given.client_certificate_data and given.client_key_data):
        raise _failed(
            found, plugin, "it gives neither a token nor a client certificate with its key"
        )
    return given


def hide(text: str, known: list[str]) -> str:
    """Return a text of a plug-in as one line, cut, without what may be secret in it."""
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    line = " ".join(_SECRETS.sub(_HIDDEN, text).split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[:_SHOWN_CHARACTERS] + "..."


def _require_program(found: Kubeconfig, plugin: Exec) -> None:
    command = plugin.command
    path = str(found.folder / command) if "/" in command else command  # as client-go finds it
    if not shutil.which(path):
        raise found.wrong(
            f"the credential plug-in {command!r} is not installed, or not executable",
            remedy=" ".join((plugin.install_hint or "").split())
            or "install it where kproxy runs, or name another program in exec.command",
        )


def _failed(found: Kubeconfig, plugin: Exec, reason: str) -> AccessRefused:
    known = [each.value for each in plugin.env or () if len(each.value) > 3]
    known += [value for arg in plugin.args or () if len(value := arg.partition("=")[2]) > 3]
    return AccessRefused(
        [f"{found.path}: the credential plug-in {plugin.command!r} failed: {hide(reason, known)}"],
        remedy="run it by hand, as kproxy's user and with its environment",
    )


def _cluster_info(found: Kubeconfig) -> dict[str, Any]:
    """Return what a plug-in with provideClusterInfo is told of the cluster."""
    info = {name: found.raw_cluster[name] for name in _CLUSTER_INFO if name in found.raw_cluster}
    if found.cluster.certificate_authority and "certificate-authority-data" not in info:
        authority = found.contents("certificate-authority", found.cluster.certificate_authority)
        info["certificate-authority-data"] = base64.b64encode(authority).decode()
    for extension in found.raw_cluster.get("extensions") or ():
        if extension.get("name") == _CONFIG:
            info["config"] = extension.get("extension")
    return info
