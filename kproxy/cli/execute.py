"""The steps of `kproxy run`: read and check everything, then change the kernel."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict, replace

from kproxy.backend import (
    DEFAULT_MODE,
    BackendOptions,
    LoopbackNodePorts,
    Mode,
    ModeConfigs,
    Plan,
    complete_options,
    load,
)
from kproxy.backend.options import SECTION
from kproxy.cli import kernel
from kproxy.cli.flags import from_flags
from kproxy.cli.log import log_to_stderr, set_verbosity
from kproxy.cli.mode_options import Given
from kproxy.cli.process import ConfigurationFile, Life
from kproxy.cli.running import OwnNode, frequency, serve, settle
from kproxy.cli.source import Opened, Watcher, open_api_server, read_now, source_problems
from kproxy.cli.systemd import ServiceManager
from kproxy.config import ProxyConfig, node_name, node_settings
from kproxy.config.file import read_file, write_text
from kproxy.errors import BadInput, KernelRefused
from kproxy.kernel.netns import Namespace
from kproxy.kernel.ownership import claim_namespace
from kproxy.kernel.privilege import require_net_admin
from kproxy.proxy import NodeProxy
from kproxy.proxy.control_loop import ControlLoop, no_service, summary
from kproxy.proxy.in_force import services_in_force
from kproxy.proxy.leftovers import Leftovers
from kproxy.proxy.setup import (
    cleanup,
    close,
    make_backends,
    require_families,
    set_conntrack,
    set_oom_score,
)
from kproxy.proxy.udp_flows import cut_stale_flows
from kproxy.sources.files import Manifests
from kproxy.store import Store
from kproxy.versions import Version

LOG_FLAGS = {  # and what each sets
    "v": "verbosity",
    "logging-format": "format",
    "log-format": "format",
    "log-flush-frequency": "flush_frequency",
    "vmodule": "vmodule",
}

log = logging.getLogger("kproxy")


class Request(Struct, frozen=True, kw_only=True):
    """The command line of `run`. `flags` has the values of each given flag of kube-proxy."""

    flags: Mapping[str, tuple[str, ...]]
    config: str  # here and below "" means not given
    hostname_override: str
    master: str
    manifests: tuple[str, ...]
    netns: str
    once: bool
    allow_empty: bool
    kernel: str
    cleanup: bool
    init_only: bool
    write_config_to: str
    options: Given
    emulate: Version | None


class _Setup(Struct, frozen=True, kw_only=True):
    """A checked request, and its problems. `options` are those of `mode`, complete.

    `given` is `config` before the node's name was found out.
    """

    config: ProxyConfig
    given: ProxyConfig
    mode: Mode
    options: BackendOptions
    problems: tuple[str, ...]
    notices: tuple[str, ...]
    at_start: tuple[str, ...]


def execute(request: Request, manager: ServiceManager) -> None:
    """Run the request; return when it is done, or after SIGTERM or SIGINT.

    Raises BadInput, with every problem of configuration and objects, before anything is changed.
    """
    file = ConfigurationFile(request.config)
    setup = _setup(request)
    if request.write_config_to or request.cleanup or request.init_only:
        _do_without_objects(request, setup)
        return
    config, problems = setup.config, _problems(request, setup)
    store = Store()
    if request.manifests:
        opened = Opened(_read_manifests(request, setup, problems, store))
    else:
        _warn((*setup.notices, *setup.at_start))
        if problems:
            raise BadInput(problems)
        wait = not request.once
        opened = open_api_server(config, setup.mode, master=request.master, wait=wait)
    # An API server is believed that it has no Services; a folder may have been emptied by mistake.
    allow_empty = request.allow_empty or not request.manifests
    complete = request.once or bool(request.manifests)
    with ExitStack() as used:
        used.enter_context(manager)  # before another network namespace is entered
        used.enter_context(closing(opened))
        if request.once and not request.manifests:
            read_now(opened, store)
        watcher = used.enter_context(Watcher(opened))
        used.enter_context(_owning(request.netns))
        kept = 0 if allow_empty or store.services() else services_in_force(config)
        if kept and request.once:
            raise BadInput([f"--manifests: {no_service(kept)}"])
        backends, missing = make_backends(setup.mode, setup.options)
        for backend in backends.values():
            used.callback(close, backend)
        own_node = OwnNode(config, setup.mode, store, missing)
        if complete or not backends:
            own_node.check()
        proxy = NodeProxy(
            store,
            config,
            backends,
            mode=setup.mode.config,
            options=setup.options,
            in_parts=setup.mode.in_parts,
        )
        if not setup.mode.forwards_itself:
            set_conntrack(config.conntrack, config.emulate)
            proxy.on_udp_changed = cut_stale_flows
        leftovers = Leftovers(proxy, backends, config, setup.options)
        used.callback(leftovers.close)
        if request.once:
            start = time.monotonic()
            proxy.sync()
            log.info("done: %s", summary(proxy, time.monotonic() - start))
            if any(_is_listened_for(plan) for plan in proxy.plans.values()):
                log.warning("--once: node ports are served on localhost only while kproxy runs")
            leftovers.remove()
        else:
            set_oom_score(config.oom_score_adj)
            loop = ControlLoop(
                store,
                proxy,
                frequency(config, setup.mode),
                remove_leftovers=partial(settle, leftovers),
                on_objects=own_node.check,
                complete=complete,
                allow_empty=allow_empty,
                in_force=kept,
            )
            from kproxy.cli.servers import Shown, flag_values, node_servers

            flags = flag_values(request.flags, _own_flags(request))
            servers = partial(
                node_servers,
                shown=Shown(config=setup.given, flags=flags),
                mode=setup.mode,
                config=config,
                store=store,
                proxy=proxy,
                backends=backends.values(),
                loop=loop,
                on_event=partial(opened.report_listener, config.hostname_override),
                api_server_away_s=opened.away_s,
                set_verbosity=set_verbosity,
            )
            loop.on_step = Life(manager, file, lambda: loop.status).step
            used.callback(manager.tell, "STOPPING=1")
            serve(loop, proxy, node_name(config), opened, watcher, servers)
            forwarding = setup.mode.forwards_itself
            log.info("stopped; %s", "forwarding has ended" if forwarding else "the rules stay")


def _do_without_objects(request: Request, setup: _Setup) -> None:
    """Write the configuration, remove all rules, or set the machine up. Raises BadInput."""
    _warn(setup.notices)
    if setup.problems:
        raise BadInput([*setup.problems])
    if request.write_config_to:
        _write(setup.config, request.write_config_to)
        return
    with _owning(request.netns):
        if request.cleanup:
            _clean(setup)
        else:
            _initialise(setup)


def _problems(request: Request, setup: _Setup) -> list[str]:
    """Return what is wrong with the configuration, and what the request asks of it in vain."""
    problems = [*setup.problems]
    if request.once and setup.mode.forwards_itself:
        mode = setup.config.mode
        problems.append(
            f"--once: {mode} mode forwards in this process, which would end; omit --once"
        )
    if request.kernel == "uml" and not request.manifests:
        problems.append("--kernel uml: needs --manifests, because that kernel has no network")
    if request.kernel == "uml" and not request.once:
        problems.append("--kernel uml: needs --once, because the rules end with that kernel")
    return [*problems, *source_problems(setup.config, request.manifests, request.master)]


def _read_manifests(
    request: Request, setup: _Setup, problems: list[str], store: Store
) -> Manifests:
    """Fill a store from manifests. Does not return if the command runs on another kernel."""
    source = Manifests(request.manifests)
    decoded = source.read()
    if problems or decoded.problems:
        _warn(setup.notices)
        raise BadInput([*problems, *decoded.problems])
    _choose_kernel(request, setup.mode)  # before what would be said there once more
    _warn((*setup.notices, *setup.at_start))
    for notice in decoded.notices:
        log.info("%s", notice)
    store.replace(decoded.objects)
    return source


def _is_listened_for(plan: Plan) -> bool:
    return plan.settings.loopback_node_ports is LoopbackNodePorts.SERVED


def _warn(notices: Iterable[str]) -> None:
    for notice in notices:
        log.warning("%s", notice)


def _setup(request: Request) -> _Setup:
    """Read the configuration and begin to log. Raises BackendFault if the mode is broken."""
    given, problems, notices, at_start = _configuration(request)
    name = given.hostname_override or socket.gethostname().strip().lower()
    config = replace(given, hostname_override=name)
    log_to_stderr(config.logging.verbosity, config.logging.format)
    # An unknown mode is one of the problems; with any mode the others are found as well.
    mode = load(config.mode if config.mode in ModeConfigs() else DEFAULT_MODE)
    options, found = request.options.with_file(mode, config.backend_options)
    places = ((each, request.config if each.field.startswith(SECTION) else "") for each in found)
    return _Setup(
        config=config,
        given=given,
        mode=mode,
        options=complete_options(mode, config, options),
        problems=(*problems, *(each.at(place) for each, place in places)),
        notices=tuple(notices),
        at_start=tuple(at_start),
    )


def _configuration(request: Request) -> tuple[ProxyConfig, list[str], list[str], list[str]]:
    """Return the configuration, its problems, notices, and notices of a start.

    A file replaces all flags but that of the node's name and those of the log.
    """
    modes = ModeConfigs()
    overrides = {"emulate": request.emulate} if request.emulate else {}
    notices = []
    if request.config:
        read = read_file(request.config, modes, overrides)
        given = {name: request.flags[name] for name in LOG_FLAGS if name in request.flags}
        kept = from_flags(given, modes)
        values = {LOG_FLAGS[name]: getattr(kept.config.logging, LOG_FLAGS[name]) for name in given}
        logging_ = replace(read.config.logging, **values)
        read = read._replace(config=replace(read.config, logging=logging_))
        problems = [each.at(request.config) for each in read.problems]
        problems += [each.at("") for each in kept.problems]
        notices += [
            f"--{name} is ignored because --config is given"
            for name in request.flags
            if name not in LOG_FLAGS
        ]
    else:
        read = from_flags(request.flags, modes, overrides)
        problems = [each.at("") for each in read.problems]
    notices += [each.at(request.config) for each in read.notices]
    at_start = [each.at(request.config) for each in read.at_start]
    name = request.hostname_override or read.config.hostname_override
    config = replace(read.config, hostname_override=name.strip().lower())
    return config, problems, notices, at_start


def _own_flags(request: Request) -> dict[str, object]:
    """Return the values of the flags of `run` itself, by attribute."""
    own = asdict(request)
    del own["flags"], own["options"]
    given = request.options
    return {**own, **given.flags, "backend_option": given.backend_option}


def _choose_kernel(request: Request, mode: Mode) -> None:
    """Choose the kernel. Does not return if the command runs on another one.

    By itself this moves only a lab (once, in another namespace) to another kernel, where a
    namespace of that name is made; it never moves a node.
    """
    lab = request.once and request.netns
    wanted = request.kernel if lab or request.kernel == "uml" else "host"
    if kernel.is_needed(wanted, mode):
        kernel.rerun(wanted, [request.netns] if request.netns else [])


@contextmanager
def _owning(netns: str) -> Iterator[None]:
    """Enter the namespace, with the privilege to change it, and claim it for this process."""
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


def _initialise(setup: _Setup) -> None:
    """Write the kernel settings, which need privileges once. Writes no rules."""
    config, mode = setup.config, setup.mode
    backends, missing = make_backends(mode, setup.options)
    with ExitStack() as opened:
        for backend in backends.values():
            opened.callback(close, backend)
        require_families(mode, config, None, missing)
        if not mode.forwards_itself:
            set_conntrack(config.conntrack, config.emulate)
        # The detector of local pods does not matter here, and NodeCIDR would need the Node.
        anyhow = replace(config, detect_local_mode="ClusterCIDR")
        found = node_settings(anyhow, None, mode=mode.config, options=setup.options)
        for family, settings in found.items():
            if family in backends:
                backends[family].prepare(settings)


def _clean(setup: _Setup) -> None:
    if failures := cleanup(setup.config, setup.options):
        raise KernelRefused("\n".join(("some rules could not be removed:", *failures)))


def _write(config: ProxyConfig, path: str) -> None:
    try:
        Path(path).write_text(write_text(config), encoding="utf-8")
    except OSError as error:
        raise BadInput([f"--write-config-to: {path}: {error.strerror}"]) from None
