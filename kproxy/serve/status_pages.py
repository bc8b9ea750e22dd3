"""/statusz, /flagz and /configz: what runs here, and how it was started. Pure.

The first two are text, or structured if the request's Accept says so.
Source: kube-proxy v1.36 cmd/kube-proxy/app/server.go; component-base zpages
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from kproxy.config.decode import to_values
from kproxy.config.types import API_VERSION, ModeConfig, ProxyConfig
from kproxy.loop.http import Request, Response
from kproxy.versions import FLAGZ_NOTE, Version

COMPONENT = "kube-proxy"
PLAIN = "text/plain; charset=utf-8"
_GROUP = "config.k8s.io"
_VERSIONS = ("v1beta1", "v1alpha1")
_MEDIA_TYPES = ("application/json", "application/yaml")
_WARNING = "Warning: this page is for people; its form may change at any time."
_TIMED = ("iptables", "ipvs", "nftables")  # sections with syncPeriod and minSyncPeriod
_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")


class Facts(Struct, frozen=True, kw_only=True):
    """The content of /statusz, apart from the time. `started_s`: since the epoch."""

    started_s: float
    python: str
    version: str
    emulate: Version
    paths: tuple[str, ...]


def statusz(request: Request, facts: Facts, now_s: float) -> Response:
    up_s = int(now_s - facts.started_s)
    started = datetime.fromtimestamp(int(facts.started_s), UTC)
    lines = {
        "Started": f"{started:%a %b %e %H:%M:%S UTC %Y}",
        "Up": f"{up_s // 3600} hr {up_s // 60 % 60:02} min {up_s % 60:02} sec",
        "Go version": f"none (Python {facts.python})",
        "Binary version": facts.version,
        "Emulation version": facts.emulate.value,
        "Paths": " ".join(facts.paths),
    }
    fields = {
        "startTime": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "uptimeSeconds": up_s,
        "goVersion": "",
        "binaryVersion": facts.version,
        "emulationVersion": facts.emulate.value,
        "paths": [*facts.paths],
    }
    text = _page("statusz", [f"{name}: {value}" for name, value in lines.items()])
    return _negotiated(request, "Statusz", text, fields)


def flagz(request: Request, flags: Mapping[str, str], emulate: Version) -> Response:
    """Return all flags with their values. The user and password of a URL are left out."""
    shown = {name: _USER_INFO.sub("", value) for name, value in sorted(flags.items())}
    lines = [f"{name}={value}" for name, value in shown.items()]
    if emulate.has(FLAGZ_NOTE):
        lines[:0] = ["These are the flags, not the configuration in force: see /configz.", ""]
    return _negotiated(request, "Flagz", _page("flagz", lines), {"flags": shown})


def configz(config: ProxyConfig, mode: ModeConfig) -> Response:
    """Return the configuration as kube-proxy shows it.

    It keeps what a mode reads from several sections in one place, and writes it to the sections
    that the mode reads: other sections have zeros.
    """
    values = to_values(config)
    for section in _TIMED:
        if section != mode.timing:
            values[section] |= {"syncPeriod": "0s", "minSyncPeriod": "0s"}
        if section != mode.masquerade and "masqueradeAll" in values[section]:
            values[section]["masqueradeAll"] = False
    content = {API_VERSION.partition("/")[0]: values}
    return Response(
        status=200,
        headers=(("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")),
        body=json.dumps(content, separators=(",", ":")).encode(),
    )


def plain(status: int, text: str) -> Response:
    """Return an answer of text."""
    headers = (("Content-Type", PLAIN), ("X-Content-Type-Options", "nosniff"))
    return Response(status=status, headers=headers, body=text.encode())


def _page(name: str, lines: list[str]) -> str:
    return "\n".join(["", f"{COMPONENT} {name}", _WARNING, "", *lines, ""])


def _negotiated(request: Request, kind: str, text: str, fields: Mapping[str, Any]) -> Response:
    accepted = _accepted(request.headers.get("accept", ""), kind)
    if accepted is None:
        wanted = f"application/json;v={_VERSIONS[0]};g={_GROUP};as={kind}"
        return plain(406, f"Accept must be text/plain, or such as {wanted}\n")
    media_type, version = accepted
    if not version:
        return plain(200, text)
    content = {
        "kind": kind,
        "apiVersion": f"{_GROUP}/{version}",
        "metadata": {"name": COMPONENT},
        **fields,
    }
    if media_type == "application/yaml":
        import yaml

        body = yaml.safe_dump(content, sort_keys=False)
    else:
        body = json.dumps(content, separators=(",", ":")) + "\n"
    headers = (("Content-Type", media_type), ("X-Content-Type-Options", "nosniff"))
    return Response(status=200, headers=headers, body=body.encode())


def _accepted(accept: str, kind: str) -> tuple[str, str] | None:
    """Return the media type and version of the first range that can be served; version "": text."""
    if not accept.strip():
        return "text/plain", ""
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media_type.lower() in ("text/plain", "*/*"):
            return "text/plain", ""
        if (
            media_type.lower() in _MEDIA_TYPES
            and given.get("as") == kind
            and given.get("g") == _GROUP
            and (version := given.get("v", "")) in _VERSIONS
        ):
            return media_type.lower(), version
    return None
