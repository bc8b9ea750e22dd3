"""The client library `kubernetes`, in a process of its own: `python -m kproxy.kubernetes.library`.

To import it takes 0.4 s and 20 MiB, which a proxy would keep for good. It is needed for
milliseconds: at the start, and when credentials are renewed. One request comes as JSON on standard
input, the answer goes to standard output; so secrets are in no argument and in no variable.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
from msgspec import Struct

from kproxy.errors import KernelRefused
from kproxy.typed import decoded

_PATIENCE_S = 120.0  # longer than a credential plug-in may take
# The kernel ends what is started so with the thread that waits for it: nothing outlives a proxy.
ENDING_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
CONFIG_ERROR = "ConfigException"  # whose words are the library's own


class _Request(Struct, frozen=True, kw_only=True, tag=True):
    """Base of all requests."""


class LoadKubeconfig(_Request, frozen=True, kw_only=True):
    """Load a kubeconfig's document; paths in it begin at `folder`."""

    document: dict[str, Any]
    folder: str


class LoadServiceAccount(_Request, frozen=True, kw_only=True):
    """Load the service account of a Pod: two files, and where the API server is."""

    token: str
    authority: str
    environment: dict[str, str]


class RunPlugin(_Request, frozen=True, kw_only=True):
    """Run a credential plug-in in `folder`, by a command that begins with `before`."""

    plugin: dict[str, Any]
    cluster: dict[str, Any]
    folder: str
    before: list[str]


class BypassProxy(_Request, frozen=True, kw_only=True):
    """Tell whether NO_PROXY names the host of a URL."""

    url: str
    no_proxy: str


Request = LoadKubeconfig | LoadServiceAccount | RunPlugin | BypassProxy


class Configuration(Struct, frozen=True, kw_only=True):
    """The values that the library has understood. Paths are those of its requests."""

    host: str = ""
    authorization: str = ""
    ssl_ca_cert: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify_ssl: bool = True
    tls_server_name: str | None = None

    def __repr__(self) -> str:  # never the secrets
        return f"Configuration({self.host!r})"


class Answer(Struct, frozen=True, kw_only=True):
    """The result of a request, or the kind and the words of the library's exception."""

    error: str = ""
    words: str = ""
    configuration: Configuration = Configuration()
    status: Any = None
    bypassed: bool = False

    def __repr__(self) -> str:
        return f"Answer({self.error!r})"


def ask_library(request: Request) -> Answer:
    """Return the library's answer. Raises KernelRefused if its process cannot do its work."""
    try:
        return decoded(_process(msgspec.json.encode(request)), Answer)
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
        raise KernelRefused(
            f"the client library kubernetes cannot be run: {type(error).__name__}",
            remedy="see whether it is installed, and whether there is memory for it",
        ) from None


def _process(request: bytes) -> bytes:
    """Return what a process of the library writes."""
    return subprocess.run(
        # -P: nothing of the present folder is imported.
        [*ENDING_WITH_US, sys.executable, "-P", "-m", "kproxy.kubernetes.library"],
        input=request,
        capture_output=True,
        timeout=_PATIENCE_S,
        check=False,
    ).stdout


def answered(request: bytes) -> bytes:
    """Return the answer to a request, both as JSON: the work of the process."""
    return msgspec.json.encode(_answer(decoded(request, Request)))


def _answer(request: Request) -> Answer:
    from kubernetes.config.config_exception import ConfigException

    try:
        match request:
            case LoadKubeconfig():
                return Answer(configuration=_kubeconfig(request))
            case LoadServiceAccount():
                return Answer(configuration=_service_account(request))
            case RunPlugin():
                return Answer(status=_plugin(request))
            case BypassProxy():
                from kubernetes.client.rest import should_bypass_proxies

                return Answer(bypassed=should_bypass_proxies(request.url, request.no_proxy))
    except ConfigException as error:
        return Answer(error=CONFIG_ERROR, words=str(error))
    except OSError as error:
        return Answer(error=type(error).__name__, words=error.strerror or "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Answer(error=type(error).__name__)  # its words may hold values of the file


def _kubeconfig(request: LoadKubeconfig) -> Configuration:
    from kubernetes import client
    from kubernetes.config.kube_config import KubeConfigLoader

    loaded = client.Configuration()
    KubeConfigLoader(request.document, config_base_path=request.folder).load_and_set(loaded)
    return _of(loaded)


def _service_account(request: LoadServiceAccount) -> Configuration:
    from kubernetes import client
    from kubernetes.config.incluster_config import InClusterConfigLoader

    loaded = client.Configuration()
    InClusterConfigLoader(
        request.token, request.authority, try_refresh_token=False, environ=request.environment
    ).load_and_set(loaded)
    return _of(loaded)


def _of(loaded: Any) -> Configuration:
    return Configuration(
        host=loaded.host,
        authorization=loaded.api_key.get("BearerToken", ""),
        ssl_ca_cert=loaded.ssl_ca_cert,
        cert_file=loaded.cert_file,
        key_file=loaded.key_file,
        verify_ssl=loaded.verify_ssl,
        tls_server_name=loaded.tls_server_name,
    )


def _plugin(request: RunPlugin) -> Any:
    from kubernetes.config.exec_provider import ExecProvider
    from kubernetes.config.kube_config import ConfigNode

    cluster = ConfigNode("cluster", request.cluster)
    provider = ExecProvider(ConfigNode("exec", request.plugin), request.folder, cluster)
    provider.args = [*request.before, *provider.args]
    return provider.run()


if __name__ == "__main__":
    sys.stdout.buffer.write(answered(sys.stdin.buffer.read()))
