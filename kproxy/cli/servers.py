"""The health server and the metrics server of `kproxy run`."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager

from msgspec import Struct

from kproxy.api.types import KubernetesObject, Node
from kproxy.backend import Backend, Mode
from kproxy.cli.flags import FLAGS, REPEATED, initial_text
from kproxy.config import ProxyConfig, node_name
from kproxy.config.gates import enabled
from kproxy.kernel.netns import Namespace
from kproxy.loop.http import Request, Response
from kproxy.metrics import Measurements, Sample
from kproxy.metrics import definitions as define
from kproxy.metrics.exposition import CONTENT_TYPE, text_of
from kproxy.metrics.scrape import Scrape
from kproxy.proxy import NodeProxy
from kproxy.proxy.control_loop import ControlLoop
from kproxy.serve import HttpServer
from kproxy.serve.node_health import health_answer, is_eligible
from kproxy.serve.node_servers import NodeServer, NodeServers
from kproxy.serve.pages import Pages, Ping, counted, debug_pages
from kproxy.serve.status_pages import Facts, configz, flagz, plain, statusz
from kproxy.store import Store

log = logging.getLogger("kproxy")


class Shown(Struct, frozen=True, kw_only=True):
    """The part of the command line that the servers show.

    `config`: as it was given, before anything in it was resolved. `flags`: the values of all
    flags, by name.
    """

    config: ProxyConfig
    flags: Mapping[str, str]


def flag_values(
    flags: Mapping[str, tuple[str, ...]], request: Mapping[str, object]
) -> Mapping[str, str]:
    """Return the values of all flags: kube-proxy's as given or by default, and those of `run`.

    `flags` has the values of each given flag of kube-proxy; `request` those of `run`, by attribute.
    """
    found = {name: initial_text(flag) for name, flag in FLAGS.items()}
    for name, values in flags.items():
        found[name] = ",".join(values) if name in REPEATED else values[-1]
    for name, value in request.items():
        found[name.replace("_", "-")] = _flag_text(value)
    return found


def _flag_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


@contextmanager
def node_servers(
    http: HttpServer,
    shown: Shown,
    mode: Mode,
    *,
    config: ProxyConfig,
    store: Store,
    proxy: NodeProxy,
    backends: Collection[Backend],
    loop: ControlLoop,
    on_event: Callable[[str, str], object] = lambda _reason, _note: None,
    api_server_away_s: Callable[[], float] | None = None,
    set_verbosity: Callable[[int], object] = lambda verbosity: log.setLevel(
        logging.DEBUG if verbosity > 0 else logging.INFO
    ),
) -> Iterator[Measurements]:
    """Serve health and metrics of a proxy for the duration of a block, in which it runs.

    To be called by the thread of the proxy, in its namespace, before the first sync. Yields the
    measurements: call their `api_request` for each request to an API server. `on_event(reason,
    note)` hears why a server cannot listen, if that ends the process. Raises KernelRefused then.
    """
    measurements = Measurements(
        proxy.families,
        partial_syncs=mode.partial_syncs,
        by_service=mode.policies_by_service,
    )
    own = _OwnNode(node_name(config), store.node(node_name(config)))
    proxy.observer = measurements

    def changed(obj: KubernetesObject, deleted: bool) -> None:
        measurements.changed(obj, deleted=deleted)
        own.changed(obj, deleted=deleted)

    store.watch(changed)
    with closing(Namespace.current()) as namespace:
        scrape = Scrape(measurements, backends, namespace, config, loop.counters, api_server_away_s)
        servers = [_metrics_server(shown, mode, config, scrape, set_verbosity)]
        if config.healthz_bind_address:
            servers.insert(0, _health_server(config, proxy, own, measurements))
            if api_server_away_s is None:  # an API server is waited for, and asked for its Node
                own.warn_if_unknown()
        with NodeServers(http, servers, hard_fail=config.bind_address_hard_fail, on_event=on_event):
            yield measurements


class _OwnNode:
    """Knows whether load balancers may use the node that the proxy runs on.

    As in kube-proxy a Node that is deleted is remembered as it was.
    """

    def __init__(self, name: str, node: Node | None) -> None:
        self.eligible = is_eligible(node)
        self._name = name
        self._known = node is not None

    def changed(self, obj: KubernetesObject, *, deleted: bool) -> None:
        if isinstance(obj, Node) and obj.metadata.name == self._name and not deleted:
            self.eligible = is_eligible(obj)

    def warn_if_unknown(self) -> None:
        if not self._known:
            log.warning(
                "no Node %s is known, so /healthz answers 503 (nodeEligible false), as with"
                " kube-proxy; give the Node object, or ask /livez",
                self._name,
            )


def _health_server(
    config: ProxyConfig, proxy: NodeProxy, own: _OwnNode, measurements: Measurements
) -> NodeServer:
    def healthz(_request: Request) -> Response:
        return health_answer(proxy.health.families, time.time_ns(), eligible=own.eligible)

    def livez(_request: Request) -> Response:
        return health_answer(proxy.health.families, time.time_ns())

    pages = Pages(
        {
            "/healthz": counted(healthz, measurements.healthz),
            "/livez": counted(livez, measurements.livez),
        }
    )
    return NodeServer(
        name="health server",
        field="healthzBindAddress",
        address=config.healthz_bind_address,
        reason="FailedToStartProxierHealthcheck",
        respond=pages.respond,
    )


def _metrics_server(
    shown: Shown,
    mode: Mode,
    config: ProxyConfig,
    scrape: Scrape,
    set_verbosity: Callable[[int], object],
) -> NodeServer:
    ping = Ping()
    started_s = time.time()
    gates, emulate = config.feature_gates, config.emulate

    def metrics(_request: Request) -> Response:
        return _exposition(text_of(scrape.samples(), process=True))

    def slis(request: Request) -> Response:
        if request.method == "DELETE":
            ping.successes = 0
            return plain(200, "metrics reset\n")
        samples = [
            Sample(define.HEALTHCHECK, ("ping", "healthz"), 1),
            Sample(define.HEALTHCHECKS, ("ping", "success", "healthz"), ping.successes),
        ]
        return _exposition(text_of(samples if ping.successes else []))

    handlers = {
        "/healthz": ping.answer,
        "/healthz/ping": ping.answer,
        "/metrics": metrics,
        "/metrics/slis": slis,
        "/proxyMode": lambda _request: plain(200, config.mode),
        "/configz": lambda _request: configz(shown.config, mode.config),
    }
    if enabled(gates, "ComponentFlagz", emulate):
        handlers["/flagz"] = lambda request: flagz(request, shown.flags, emulate)
    if config.enable_profiling:
        handlers |= debug_pages(set_verbosity)
    if enabled(gates, "ComponentStatusz", emulate):
        paths = Pages(handlers).paths

        def status(request: Request) -> Response:
            from importlib.metadata import version

            facts = Facts(
                started_s=started_s,
                python=platform.python_version(),
                version=version("kproxy"),
                emulate=emulate,
                paths=paths,
            )
            return statusz(request, facts, time.time())

        handlers["/statusz"] = status
    return NodeServer(
        name="metrics server",
        field="metricsBindAddress",
        address=config.metrics_bind_address,
        reason="FailedToStartMetricServer",
        respond=Pages(handlers).respond,
        bodies=True,
    )


def _exposition(text: bytes) -> Response:
    return Response(status=200, headers=(("Content-Type", CONTENT_TYPE),), body=text)
