"""Who kproxy is for an API server, and how it gets there: from a kubeconfig or a service account.

The client library `kubernetes` gives the meaning to what is configured: `KubeConfigLoader`,
`ExecProvider` and `InClusterConfigLoader`. What it would do silently or leave behind is done before
it sees the values: it reads a token file once and with its newline, writes keys into temporary
files, and goes on without credentials if a plug-in fails.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from kproxy.errors import BadInput
from kproxy.kubernetes.kubeconfig import Kubeconfig, one_line, read_kubeconfig, spelled
from kproxy.kubernetes.library import (
    CONFIG_ERROR,
    BypassProxy,
    Configuration,
    LoadKubeconfig,
    LoadServiceAccount,
    ask_library,
)
from kproxy.kubernetes.plugin import run_plugin
from kproxy.kubernetes.tls import Material, MemoryFiles, Unusable, context

if TYPE_CHECKING:
    from ssl import SSLContext

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_MASTER_REMEDY = "give a URL such as https://192.168.10.2:6443"

Stamps = tuple[tuple[int, int, int] | None, ...]  # of each file: inode, size, time of change in ns

log = logging.getLogger("kproxy")


class Settings(Struct, frozen=True, kw_only=True):
    """All that a request needs to know. `origin`: where it comes from, for messages.

    `authorization`: a header's value, or "". `proxy`: a URL, or "". `files`: where it was read
    from. `expires_at`: when it has to be read again, in seconds since the epoch. `notices`: what is
    allowed but worth a warning.
    """

    origin: str
    url: str
    authorization: str = ""
    tls: SSLContext | None = None
    server_name: str = ""
    proxy: str = ""
    files: tuple[Path, ...] = ()
    expires_at: float = math.inf
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:  # never the secrets
        return f"Settings({self.origin!r}, {self.url!r})"


class Credentials:
    """The settings in force. They are read again when a file of theirs changes or they expire.

    Files are looked at when a request asks, as requests are rare. `read` raises BadInput with one
    line. `wall_clock`: in seconds since the epoch. May be used by several threads.
    """

    def __init__(
        self, read: Callable[[], Settings], wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._read = read
        self._clock = wall_clock
        self._lock = threading.Lock()
        self._noticed: set[str] = set()
        self._settings: Settings
        self._stamps: Stamps
        self._renew()

    @property
    def latest(self) -> Settings:
        """The settings that were read last."""
        return self._settings

    def current(self) -> Settings:
        """Return what to use now.

        Files that are wrong change nothing, but for a warning: somebody may be writing them.
        Raises BadInput if the settings have expired and cannot be renewed.
        """
        with self._lock:
            if self._clock() >= self._settings.expires_at:
                return self._renew()
            stamps = _stamps(self._settings)
            if stamps != self._stamps:
                try:
                    self._renew()
                except BadInput as error:
                    self._stamps = stamps  # said once
                    log.warning("the former credentials stay in use: %s", one_line(error))
            return self._settings

    def after_refusal(self, refused: Settings) -> Settings:
        """Return what to use after a server has refused these. Raises BadInput."""
        with self._lock:
            return self._settings if self._settings is not refused else self._renew()

    def _renew(self) -> Settings:
        settings = self._read()
        # A change between reading and looking is noticed when the server refuses what was read.
        self._settings, self._stamps = settings, _stamps(settings)
        for notice in settings.notices:
            if notice not in self._noticed:
                log.warning("%s", notice)
        self._noticed.update(settings.notices)
        return settings


def from_kubeconfig(path: Path, *, master: str = "") -> Settings:
    """Return the settings of the current context. `master`, if given, is the server's URL."""
    found = read_kubeconfig(path)
    if master:
        found.cluster.server = master
        found.raw_cluster["server"] = master
    if not found.cluster.server:
        raise found.wrong(f"context {found.context!r}: its cluster has no server")
    server = _server_url(found.cluster.server, lambda text: found.wrong(f"server: {text}"))
    token, expires_at = _resolve(found)
    with MemoryFiles() as memory:
        files = _files(found, memory)
        loaded = _loaded(found, token)
        material = _material(loaded)
        tls = None
        if server.startswith("https:"):
            try:
                tls = context(material)
            except Unusable as error:
                raise found.wrong(f"{error.field}: {error}") from None
    authorization = loaded.authorization
    return Settings(
        origin=f"{path}, context {found.context!r}",
        url=server,
        authorization=authorization,
        tls=tls,
        server_name=loaded.tls_server_name or "",
        proxy=_proxy(server, found.cluster.proxy_url or "", found.wrong),
        files=(path, *files),
        expires_at=expires_at,
        notices=_notices(server, authorization, material.verify),
    )


def from_service_account(
    folder: Path, environment: Mapping[str, str], *, master: str = ""
) -> Settings:
    """Return the settings of a Pod's service account. Raises BadInput.

    With `master` and outside of a Pod: a server without credentials, as client-go has it.
    """

    def wrong_master(text: str) -> BadInput:
        return BadInput([f"--master: {text}"], remedy=_MASTER_REMEDY)

    in_pod = environment.get(HOST) and environment.get(PORT)
    if not in_pod and master:
        server = _server_url(master, wrong_master)
        tls = context(Material()) if server.startswith("https:") else None
        proxy = _proxy(server, "", wrong_master)
        return Settings(origin="--master, without credentials", url=server, tls=tls, proxy=proxy)
    if not in_pod:
        raise BadInput(
            [f"no API server is configured, and this is no Pod: {HOST} and {PORT} are not set"],
            remedy="give --kubeconfig FILE, or --manifests PATH for objects in files",
        )
    token, authority = folder / "token", folder / "ca.crt"
    answer = ask_library(
        LoadServiceAccount(
            token=str(token),
            authority=str(authority),
            environment={name: environment[name] for name in (HOST, PORT)},
        )
    )
    if answer.error:
        raise _without_account(folder, ValueError(answer.words or answer.error))
    loaded = answer.configuration
    try:
        tls = context(Material(authority=str(authority)))
    except (OSError, Unusable) as error:
        raise _without_account(folder, error) from None
    server = _server_url(master or loaded.host, wrong_master)

    def empty() -> BadInput:
        return _without_account(folder, ValueError("its token is no token"))

    return Settings(
        origin=f"the service account in {folder}",
        url=server,
        authorization=f"Bearer {_token(loaded.authorization.partition(' ')[2], empty)}",
        tls=tls if server.startswith("https:") else None,
        proxy=_proxy(server, "", wrong_master),
        files=(token, authority),
    )


def _without_account(folder: Path, error: Exception) -> BadInput:
    reason = error.strerror if isinstance(error, OSError) else one_line(error)
    return BadInput(
        [f"{folder}: the service account of this Pod cannot be used: {reason}"],
        remedy="set serviceAccountName and automountServiceAccountToken, or give --kubeconfig FILE",
    )


def _resolve(found: Kubeconfig) -> tuple[str, float]:
    """Return the token, and when it expires. A plug-in's certificates replace those of the user."""
    user = found.user
    if user.token_file:  # before the token, as in client-go
        text = found.contents("tokenFile", user.token_file).decode(errors="replace")
        if not text.strip():
            raise found.wrong(f"tokenFile: {found.folder / user.token_file}: is empty")
        return _token(text, lambda: found.wrong("tokenFile: holds no token")), math.inf
    if user.token or not user.plugin:
        return _token(user.token, lambda: found.wrong("token: is no token")), math.inf
    given = run_plugin(found)
    if given.client_certificate_data and given.client_key_data:
        user.client_certificate_data = _encoded(given.client_certificate_data)
        user.client_key_data = _encoded(given.client_key_data)
    until = given.expiration_timestamp
    token = _token(given.token, lambda: found.wrong("exec: the plug-in's token is no token"))
    return token, until.timestamp() if until else math.inf


def _token(text: str | None, wrong: Callable[[], BadInput]) -> str:
    """Return a token as it can stand in a header: http.client would print one that cannot."""
    token = (text or "").strip()
    if re.fullmatch(r"[!-~]*", token) is None:
        raise wrong()
    return token


def _encoded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def _files(found: Kubeconfig, memory: MemoryFiles) -> list[Path]:
    """Give the library files in memory in place of data. Return the files that may change."""
    cluster, user = found.cluster, found.user
    outside = [user.token_file]
    for part, field in (
        (cluster, "certificate_authority"),
        (user, "client_certificate"),
        (user, "client_key"),
    ):
        data = getattr(part, f"{field}_data")
        if data:
            try:
                contents = base64.b64decode("".join(data.split()), validate=True)
            except (binascii.Error, ValueError):
                name = field.replace("_", "-")
                raise found.wrong(f"{name}-data: is not valid base64") from None
            setattr(part, field, memory.add(contents))
            setattr(part, f"{field}_data", None)
        else:
            outside.append(getattr(part, field))
    return [found.folder / name for name in outside if name]


def _loaded(found: Kubeconfig, token: str) -> Configuration:
    """Return the library's configuration for what is left of the file."""
    user = spelled(found.user)
    for name in ("token", "tokenFile", "exec"):  # what they give is known
        user.pop(name, None)
    if token:
        user["token"] = token
    document = {
        "current-context": found.context,
        "contexts": [{"name": found.context, "context": {"cluster": "it", "user": "me"}}],
        "clusters": [{"name": "it", "cluster": spelled(found.cluster)}],
        "users": [{"name": "me", "user": user}],
    }
    answer = ask_library(LoadKubeconfig(document=document, folder=str(found.folder)))
    if answer.error:
        # Only the library's own words are known to be without the values of the file.
        own = answer.error == CONFIG_ERROR
        reason = " ".join(answer.words.split()) if own else answer.error
        raise found.wrong(f"the client library cannot use it: {reason}")
    return answer.configuration


def _material(loaded: Configuration) -> Material:
    return Material(
        authority=loaded.ssl_ca_cert or "",
        certificate=loaded.cert_file or "",
        key=loaded.key_file or "",
        verify=loaded.verify_ssl,
    )


def _server_url(text: str, wrong: Callable[[str], BadInput]) -> str:
    """Return a server's URL without a slash at its end."""
    try:
        parts = urlsplit(text.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise wrong("is not a URL that begins with https:// or http:// and a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise wrong("has more than scheme, host, port and path")
    return urlunsplit(parts).rstrip("/")


def _proxy(server: str, configured: str, wrong: Callable[[str], BadInput]) -> str:
    """Return the proxy's URL, or "".

    As with client-go a proxy of the kubeconfig is always used; HTTPS_PROXY and HTTP_PROXY are not
    for the hosts of NO_PROXY, nor for loopback. ALL_PROXY is ignored, as Go does.
    """
    from urllib.request import getproxies

    proxy = configured
    if not proxy:
        host = urlsplit(server).hostname or ""
        if host == "localhost" or host.startswith("127.") or host == "::1":
            return ""
        proxies = getproxies()
        proxy = proxies.get(urlsplit(server).scheme, "")
        no_proxy = proxies.get("no", "")
        if not proxy or ask_library(BypassProxy(url=server, no_proxy=no_proxy)).bypassed:
            return ""
        if "://" not in proxy:
            proxy = f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise wrong(
            f"{'proxy-url' if configured else 'HTTPS_PROXY or HTTP_PROXY'}: not the URL of a proxy"
            " that speaks HTTP (socks5:// is not supported)"
        )
    return proxy


def _notices(server: str, authorization: str, verify: bool) -> tuple[str, ...]:
    if server.startswith("http:"):
        clear = f"{server}: credentials are sent in clear text, without TLS"
        return (clear,) if authorization else ()
    unverified = f"{server}: its certificate is not verified (insecure-skip-tls-verify)"
    return () if verify else (unverified,)


def _stamps(settings: Settings) -> Stamps:
    return tuple(_stamp(file) for file in settings.files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
