"""What `kproxy run` does, step by step: read and check everything, then touch the kernel."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType

from msgspec import Struct
from msgspec.structs import replace

from kproxy import backend as registry
from kproxy.backend import BackendOptions
from kproxy.cli import kernel
from kproxy.cli.flags import from_flags
from kproxy.config import ProxyConfig, node_name, node_settings
from kproxy.config.file import read_file, write_text
from kproxy.config.validation import MODES
from kproxy.errors import BadInput, KernelRefused
from kproxy.kernel.netns import Namespace
from kproxy.kernel.ownership import claim_namespace
from kproxy.kernel.privilege import require_net_admin
from kproxy.proxy import NodeProxy
from kproxy.proxy.control_loop import ControlLoop, summary
from kproxy.proxy.events import SourceLost, Stop
from kproxy.proxy.frequency import FULL_INTERVAL_S, BoundedFrequency
from kproxy.proxy.garbage import keep_for_good
from kproxy.proxy.leftovers import Leftovers
from kproxy.proxy.setup import cleanup, make_backends, set_conntrack, set_oom_score
from kproxy.proxy.udp_flows import cut_stale_flows
from kproxy.serve import HttpServer, ServiceHealth
from kproxy.sources.files import Manifests
from kproxy.store import Store

log = logging.getLogger("kproxy")


class Request(Struct, frozen=True, kw_only=True):
    """What the command line asks for. `flags`: the values of each flag of kube-proxy given."""

    flags: Mapping[str, tuple[str, ...]]
    config: str  # file names and names: "" is not given
    hostname_override: str
    manifests: tuple[str, ...]
    netns: str
    once: bool
    kernel: str
    cleanup: bool
    init_only: bool
    write_config_to: str
    backends: BackendOptions


def execute(request: Request) -> None:
    """Returns when all is done, or after SIGTERM or SIGINT.

    Raises BadInput, with every problem of configuration and objects, before anything is changed.
    """
    config, problems, notices = _configuration(request)
    _log_to_stderr(config.logging.verbosity)
    for notice in notices:
        log.warning("%s", notice)
    if request.write_config_to or request.cleanup or request.init_only:
        if problems:
            raise BadInput(problems)
        if request.write_config_to:
            _write(config, request.write_config_to)
            return
        with _owning(request.netns):
            if request.cleanup:
                _clean(config, request.backends)
            else:
                _initialise(config, request)
        return
    if request.kernel == "uml" and not request.once:
        problems.append("--kernel uml: needs --once, for the rules end with that kernel")
    if not request.manifests:
        problems.append("--manifests: at least one file or folder is needed")
    source, store = Manifests(request.manifests), Store()
    decoded = source.read()
    if problems or decoded.problems:
        raise BadInput([*problems, *decoded.problems])
    for notice in decoded.notices:
        log.info("%s", notice)
    store.replace(decoded.objects)
    _choose_kernel(request, config.mode)
    with _owning(request.netns):
        backends = make_backends(config, store.node(node_name(config)), request.backends)
        set_conntrack(config.conntrack)
        proxy = NodeProxy(store, config, backends, options=request.backends)
        proxy.on_udp_changed = cut_stale_flows
        leftovers = Leftovers(proxy, backends, config, request.backends)
        if request.once:
            start = time.monotonic()
            proxy.sync()
            log.info("done: %s", summary(proxy, time.monotonic() - start))
            leftovers.remove()
        else:
            set_oom_score(config.oom_score_adj)
            _serve(config, store, proxy, leftovers, source)


def _configuration(request: Request) -> tuple[ProxyConfig, list[str], list[str]]:
    """The configuration, its problems and its notices. A file replaces all flags but two."""
    modes = tuple(dict.fromkeys((*MODES, *registry.modes())))
    notices = []
    if request.config:
        read = read_file(request.config, modes)
        kept = from_flags({name: request.flags[name] for name in request.flags if name == "v"})
        if "v" in request.flags:
            read = read._replace(config=replace(read.config, logging=kept.config.logging))
        problems = [each.at(request.config) for each in read.problems]
        problems += [each.at("") for each in kept.problems]
        notices += [f"--{name}: ignored, --config counts" for name in request.flags if name != "v"]
    else:
        read = from_flags(request.flags, modes)
        problems = [each.at("") for each in read.problems]
    notices += [each.at(request.config) for each in read.notices]
    name = request.hostname_override or read.config.hostname_override or socket.gethostname()
    config = replace(read.config, hostname_override=name.strip().lower())
    return config, problems, notices


def _choose_kernel(request: Request, mode: str) -> None:
    """Does not return if another kernel is to do it.

    A node is never left silently. For a lab (once, in another namespace) a namespace of that name
    is made there.
    """
    lab = request.once and request.netns
    wanted = request.kernel if lab or request.kernel == "uml" else "host"
    if kernel.is_needed(wanted, mode):
        kernel.rerun([request.netns] if request.netns else [])


@contextmanager
def _owning(netns: str) -> Iterator[None]:
    """Inside the namespace, with the privilege to change it, and nobody else at it."""
    with ExitStack() as stack:
        if netns:
            try:
                namespace = stack.enter_context(Namespace.open(netns))
            except BadInput as error:
                raise BadInput(
                    [f"--netns: {problem}" for problem in error.problems],
                    remedy=error.remedy or "ip netns list",
                ) from None
            stack.enter_context(namespace.entered())
        require_net_admin()
        stack.enter_context(claim_namespace())
        yield


def _serve(
    config: ProxyConfig, store: Store, proxy: NodeProxy, leftovers: Leftovers, source: Manifests
) -> None:
    def settle() -> float:
        keep_for_good()
        return leftovers.remove()

    loop = ControlLoop(
        store,
        proxy,
        BoundedFrequency(
            min_interval_s=config.timing.min_sync_period,
            retry_limit_s=config.timing.sync_period,
            full_interval_s=config.timing.sync_period if config.mode == "ipvs" else FULL_INTERVAL_S,
        ),
        remove_leftovers=settle,
    )
    stopped = threading.Event()
    watcher = threading.Thread(target=_watch, args=(source, loop, stopped), daemon=True)
    with _stopped_by_signals(loop), closing(HttpServer()) as server:
        proxy.on_synced = ServiceHealth(server, lambda: proxy.health.healthy).update
        watcher.start()
        try:
            loop.run()
        finally:
            stopped.set()
            watcher.join()
    log.info("stopped; the rules stay")


def _watch(source: Manifests, loop: ControlLoop, stopped: threading.Event) -> None:
    try:
        source.watch(loop.send, stopped)
    except BaseException as error:  # nothing above this thread would hear of it
        loop.send(SourceLost(error))


@contextmanager
def _stopped_by_signals(loop: ControlLoop) -> Iterator[None]:
    """The first SIGTERM or SIGINT ends the loop, after a running sync; the second the process."""
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number, handler in former.items():
            signal.signal(number, handler)
        loop.send(Stop())

    for number in former:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _initialise(config: ProxyConfig, request: Request) -> None:
    """All that needs privileges once: the settings of the kernel. Writes no rules."""
    backends = make_backends(config, None, request.backends)
    set_conntrack(config.conntrack)
    # Whom a detector calls local does not matter here, and NodeCIDR would ask for the Node.
    anyhow = replace(config, detect_local_mode="ClusterCIDR")
    for family, settings in node_settings(anyhow, None).items():
        if family in backends:
            backends[family].prepare(settings)


def _clean(config: ProxyConfig, options: BackendOptions) -> None:
    if failures := cleanup(config, options):
        raise KernelRefused("\n".join(("not everything could be removed:", *failures)))


def _write(config: ProxyConfig, path: str) -> None:
    try:
        Path(path).write_text(write_text(config), encoding="utf-8")
    except OSError as error:
        raise BadInput([f"--write-config-to: {path}: {error.strerror}"]) from None


def _log_to_stderr(verbosity: int) -> None:
    logging.basicConfig(
        format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        level=logging.WARNING,  # of libraries
    )
    log.setLevel(logging.DEBUG if verbosity > 0 else logging.INFO)
