"""A lab that runs in the background, with what answers for it: the owner of all its parts."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from kproxy.api.types import Service
from kproxy.backend import load, modes
from kproxy.backend.options import chosen_values, fitting_options
from kproxy.errors import BadInput, KproxyError
from kproxy.kernel.running import on_uml, resident_mib
from kproxy.lab import Lab, LabNode, LabPod
from kproxy.lab.cluster.pod_handle import PodHandle
from kproxy.lab.hosts import LabHost
from kproxy.lab.pods.commands import HostCommands, Surroundings
from kproxy.lab.pods.process import hostname, hosts_file
from kproxy.proxy.observer import Observer
from kproxy.resident import commands, remote_shell
from kproxy.resident.api_source import ApiSources
from kproxy.resident.control import ControlServer, Handler, Reply
from kproxy.resident.orders import API, DIRECT, Order
from kproxy.resident.page_orders import PageOrders
from kproxy.resident.places import Claim
from kproxy.resident.records import INSIDE, KUBECONFIG, MARK, Record
from kproxy.resident.tracing import Tracing

if TYPE_CHECKING:
    from kproxy.resident.api import LabApi

_API = "kproxy.resident.api"
_STAYS_S = 0.5  # a command that runs for so long has understood its arguments
_REPAIRED = "%s: %s rules were changed by another process; wrote all again"

log = logging.getLogger("kproxy")


class Syncs(Observer):
    """Counts the syncs of one node's proxy."""

    def __init__(self) -> None:
        self.done = self.failed = 0

    def tried(self, *_: object, ok: bool, **__: object) -> None:
        if ok:
            self.done += 1
        else:
            self.failed += 1


class Residence:
    """A lab in its place. A context manager; `run` returns when it is told to stop."""

    def __init__(self, order: Order, place: Claim, record: Record, lab: Lab | None = None) -> None:
        """Take an order and a place; or also a `lab` that is up, which somebody else ends."""
        self._order, self._place, self._record = order, place, record
        self._stop = threading.Event()
        self._undo = ExitStack()
        self._syncs: dict[str, Syncs] = {}
        self._commands: commands.NodeCommands | None = None
        self._api: LabApi | None = None
        self._given = lab
        self._lab = lab or Lab(
            order.spec,
            order.mode,
            config=order.config,
            options=order.options,
            fed=order.source == DIRECT,
        )
        self._first = (self._lab.mode, self._lab.options)  # what its user has chosen

    def __enter__(self) -> Self:
        """Build the lab, and let it answer. Raises what `Lab` raises.

        The API is that of a control plane: a given lab may have none.
        """
        with ExitStack() as undo:
            # The API's modules take 0.25 s to load, and the lab waits for the kernel meanwhile.
            loading = threading.Thread(target=import_module, args=(_API,), name="kproxy-loading")
            loading.start()
            undo.callback(loading.join)
            lab = self._given or undo.enter_context(self._lab)
            self._count_syncs()
            loading.join()
            if lab.spec.control_plane:
                from kproxy.resident.api import LabApi

                self._api = LabApi(lab, lab.plane, self._place.path, self._order.api_port)
                undo.callback(self._api.close)
            if self._order.mode is not None and self._order.source == API:
                sources = ApiSources(lab, self._place.path / INSIDE)
                undo.callback(sources.close)
            self._write_configs()
            if self._order.command:
                self._commands = commands.NodeCommands(
                    self._order.command,
                    lab.nodes.values(),
                    place=self._place.path,
                    kubeconfig=self._place.path / INSIDE,
                    environment={**os.environ, **self._variables()},
                )
                undo.callback(self._commands.close)
                self._commands.check_start(_STAYS_S)
            handlers: dict[str, Handler] = {
                "status": lambda _: Reply(self.status()),
                "host": self._host,
                "run": self._run,
                "rules": self._rules,
                "trace": Tracing(lab).answer,
                "doctor": self._doctor,
                "mode": self._switch,
                "stop": self._told_to_stop,
            }
            handlers |= PageOrders(lab).handlers
            undo.callback(ControlServer(self._place.fileno(), handlers).close)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    def run(self, interval_s: float) -> None:
        """Keep the lab in order until it is told to stop: every `interval_s`, its proxies repair
        rules that others have changed, and its logs are kept short. Without its place nobody could
        find the lab, so it ends.
        """
        told: set[str] = set()
        while not self._stop.wait(interval_s) and self._place.is_there():
            self._repair()
            self._place.trim_logs()
            for node, command in (self._commands.all if self._commands else {}).items():
                if command.status is not None and node not in told:
                    told.add(node)
                    log.warning("%s: the command has ended, status %d", node, command.status)

    def stop(self) -> None:
        """Let `run` return. May be called by a signal's handler."""
        self._stop.set()

    def status(self) -> dict[str, Any]:
        """Return what is to be told of the lab, as JSON values."""
        lab, record = self._lab, self._record
        pods = [self._pod(name, pod) for name, pod in sorted(lab.pods.items())]
        return {
            "name": record.name,
            "state": "running",
            "pid": record.pid,
            "mode": self._order.mode or "",
            "modes": modes(),
            **self._options(),
            "version": version("kproxy"),
            "emulates": self._emulates(),
            "kernel": "user-mode Linux" if on_uml() else "host",
            "network": lab.spec.network,
            "source": record.source,
            "nodes": [self._node(each) for each in lab.nodes.values()],
            "clients": [
                {"name": each.name, "addresses": [*each.addresses.values()]}
                for each in lab.clients.values()
            ],
            "pods": pods,
            "podsReady": sum(pod["ready"] for pod in pods),
            "services": len(lab.objects(Service)) if self._api else 0,
            "api": self._api.url if self._api else "",
            "kubeconfig": f"{record.place}/{KUBECONFIG}" if self._api else "",
            "ageSeconds": round(time.time() - record.created, 1),
            "memoryMiB": round(resident_mib(os.getpid()), 1),
        }

    def _count_syncs(self) -> None:
        if self._order.mode is not None:
            for node in self._lab.nodes:
                self._syncs[node] = Syncs()
                self._lab.proxy(node).observer = self._syncs[node]

    def _write_configs(self) -> None:
        """Write what `kproxy explain --lab` reads, and a program that is the proxy of a node."""
        configs = {each: self._lab.node_config(each) for each in self._lab.nodes}
        commands.write_configs(self._place.path, configs, self._place.path / INSIDE)

    def _switch(self, request: Mapping[str, Any]) -> Reply:
        """Let the proxies be of another mode from now on, with those of the lab's options that it
        has. The others are kept for a mode that has them, and named in the answer.
        """
        mode = str(request.get("mode"))
        first, its_options = self._first
        options, _ = fitting_options(load(mode), load(first or mode), its_options)
        self._lab.switch_mode(mode, options)
        self._order = msgspec.structs.replace(self._order, mode=mode, options=options)
        self._count_syncs()
        self._write_configs()
        return Reply({"mode": mode, **self._options()})

    def _options(self) -> dict[str, Any]:
        """Return the options at work that are no defaults, and those that the mode does not have
        of what the lab was started with.
        """
        first, options = self._first
        if first is None or self._order.mode is None:
            return {"options": {}, "unusedOptions": {}}
        mode = load(self._order.mode)
        _, unused = fitting_options(mode, load(first), options)
        return {"options": chosen_values(mode, self._lab.options), "unusedOptions": unused}

    def _emulates(self) -> str:
        return str(self._order.spec.emulate or self._order.config.emulate)

    def _node(self, node: LabNode) -> dict[str, Any]:
        deleted = bool(self._api) and not self._lab.plane.get(("Node", "", node.name))
        addresses = [*node.addresses.values()]
        values: dict[str, Any] = {"name": node.name, "addresses": addresses, "deleted": deleted}
        if node.zone:
            values["zone"] = node.zone
        if syncs := self._syncs.get(node.name):
            healthy = self._lab.proxy(node.name).health.healthy
            values |= {"syncs": syncs.done, "failures": syncs.failed, "healthy": healthy}
        if self._commands:
            command = self._commands.all[node.name]
            values |= {"commandPid": command.pid, "commandStatus": command.status}
        return values

    def _pod(self, host: str, pod: LabPod) -> dict[str, Any]:
        try:
            ready = not self._api or self._handle(host, pod).ready
        except BadInput:  # it has ended meanwhile
            ready = False
        return {
            "name": host,
            "node": pod.node,
            "addresses": [*pod.addresses.values()],
            "ready": ready,
        }

    def _handle(self, host: str, pod: LabPod) -> PodHandle:
        suffix = f".{pod.spec.namespace}"
        return self._lab.pod(host.removesuffix(suffix), namespace=pod.spec.namespace)

    def _host(self, request: Mapping[str, Any]) -> Reply:
        """Answer with the network namespace of a host, and what its programs see besides."""
        if on_uml():
            return Reply({"remote": True})  # no descriptor leads into another kernel
        host = self._found(request)
        name, files = self._seen_by(host)
        values = {"hostname": name, "files": files, "environment": self._variables()}
        return Reply(values, [os.dup(host.namespace.fileno())])

    def _run(self, request: Mapping[str, Any]) -> Reply:
        """Run a command on a host, and carry its streams over the connection."""
        host = self._found(request)
        name, files = self._seen_by(host)
        texts = {f"/etc/{file}": text for file, text in files.items()}
        running = HostCommands(host.name, host.namespace, Surroundings(name, texts, False))
        with ExitStack() as undo:
            undo.callback(running.close)
            command = running.start(
                [str(word) for word in request["argv"]],
                env={**os.environ, **self._variables(), "TERM": str(request["term"])},
                stdin=True,
                stderr=not request["tty"],
                tty=bool(request["tty"]),
            )
            undo.pop_all()

        def carry(connection: socket.socket) -> None:
            try:
                remote_shell.Server(connection, command).serve()
            finally:
                running.close()

        return Reply({}, then=carry)

    def _rules(self, request: Mapping[str, Any]) -> Reply:
        from kproxy.resident.rules import rules_of

        self._lab.catch_up()
        return Reply(rules_of(self._lab, self._order, request))

    def _found(self, request: Mapping[str, Any]) -> LabHost:
        self._lab.catch_up()  # a command sees the rules of what its user has just written
        name, hosts = str(request.get("host")), self._lab.hosts
        if name not in hosts:
            there = ", ".join(hosts)
            raise BadInput([f"lab {self._record.name} has no host {name!r}; there are: {there}"])
        return hosts[name]

    def _seen_by(self, host: LabHost) -> tuple[str, dict[str, str]]:
        """Return the host name that programs of a host see, and the files of /etc."""
        if not isinstance(host, LabPod):
            return host.name, {}
        if not self._api:
            return hostname(host), {"hosts": hosts_file(host)}
        conf = self._handle(host.name, host).resolv_conf
        return hostname(host), {"resolv.conf": conf, "hosts": hosts_file(host)}

    def _variables(self) -> dict[str, str]:
        found = {MARK: self._record.id}
        if self._api:
            found["KUBECONFIG"] = str(self._place.path / INSIDE)
        return found

    def _doctor(self, request: Mapping[str, Any]) -> Reply:
        """Answer with what is wrong in the lab."""
        from kproxy.doctor.from_lab import diagnose_lab
        from kproxy.doctor.report import values

        namespace, name = str(request["namespace"]), str(request["service"])
        service = (namespace or "default", name) if name else None
        return Reply(values(diagnose_lab(self._lab, namespace=namespace, service=service)))

    def _told_to_stop(self, _: Mapping[str, Any]) -> Reply:
        self.stop()
        return Reply({"pid": self._record.pid})

    def _repair(self) -> None:
        """Repair rules as `kproxy run` does; what fails is tried again a second later."""
        try:
            repaired = self._lab.repair()
        except KproxyError as error:
            log.error("%s", " | ".join(str(error).splitlines()))
            return
        for node, families in repaired.items():
            changed = " and ".join(families)
            log.warning(_REPAIRED, node, changed)
