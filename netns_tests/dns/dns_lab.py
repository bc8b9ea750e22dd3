"""A lab with kube-dns in a pod, and programs that ask it from another one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kproxy.address import Family, family_of
from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    KubernetesObject,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.dns import resolv_conf
from kproxy.kernel.process import run
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec, service
from kproxy.lab.cluster.dns import LABELS, ClusterDns, dns_addresses, dns_objects
from kproxy.lab.layout import by_family
from kproxy.lab.pods.process import resolve, run_in_pod
from kproxy.store import Update, object_key
from netns_tests.modes import Mode

BOTH = (Family.IPV4, Family.IPV6)
_SERVICES = {Family.IPV4: "10.96.0.", Family.IPV6: "fd00:10:96::"}
HTTP = (ServicePort(name="http", port=80),)
MANY = 200  # addresses of the Service `many`
WWW = "www.example.com"  # the name of the client `outside` in the upstream zone


def spec(families: tuple[Family, ...] = BOTH) -> LabSpec:
    def serving(name: str, namespace: str = "default") -> PodSpec:
        labels = {"app": "web"}
        return PodSpec(name=name, namespace=namespace, labels=labels, ports=(PortSpec(port=80),))

    return LabSpec(
        families=families,
        nodes=(
            NodeSpec(
                name="node-a",
                pods=(
                    PodSpec(name="dns", namespace="kube-system", labels=LABELS),
                    serving("web-1"),
                ),
            ),
            NodeSpec(
                name="node-b",
                pods=(PodSpec(name="shell"), serving("web-2"), serving("prod-1", "prod")),
            ),
        ),
        clients=(ClientSpec(name="outside"),),
    )


def headless(name: str, families: tuple[Family, ...], **spec: Any) -> Service:
    return Service(
        metadata=Metadata(name=name),
        spec=ServiceSpec(
            cluster_ip="None",
            cluster_ips=("None",),
            ip_families=families,
            ports=HTTP,
            **spec,
        ),
    )


class DnsLab:
    """A lab and its DNS server, which follow the same objects."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        families = lab.spec.families
        cidrs = [str(cidr) for cidr in by_family(families, lab.spec.service_cidrs).values()]
        self.nameservers = dns_addresses(cidrs)
        outside = tuple(lab.clients["outside"].addresses.values())
        self.dns = ClusterDns({WWW: outside})
        self.change(*self._objects(cidrs))
        self.dns.start(lab.pods["dns"])

    def change(self, *objects: KubernetesObject) -> None:
        self.lab.apply(objects)
        self.dns.follow(Update(upserts=objects))

    def delete(self, *objects: KubernetesObject) -> None:
        keys = [object_key(each) for each in objects]
        self.lab.delete(keys)
        self.dns.follow(Update(deletes=tuple(keys)))

    def dig(self, *arguments: str) -> list[str]:
        """Return the lines that dig prints in the pod `shell`, sorted."""
        with self.lab.pods["shell"].namespace.entered():
            said = run(["dig", "+tries=1", "+time=5", f"@{self.nameservers[0]}", *arguments])
        return sorted(said.splitlines())

    def resolve(
        self, name: str, namespace: str = "default", family: Family | None = None
    ) -> list[str]:
        """Return what getaddrinfo finds in the pod `shell` as if it were in `namespace`, sorted."""
        conf = resolv_conf(self.nameservers, namespace)
        return sorted(resolve(self.lab.pods["shell"], name, resolv_conf=conf, family=family))

    def curl(self, *arguments: str, namespace: str = "default") -> list[str]:
        """Run curl in the pod `shell`, as if it were in `namespace`; return the pod of each URL."""
        done = run_in_pod(
            self.lab.pods["shell"],
            ["curl", "--silent", "--show-error", "--max-time", "10", *arguments],
            resolv_conf=resolv_conf(self.nameservers, namespace),
        )
        assert not done.returncode, done.stderr
        return [json.loads(line)["pod"] for line in done.stdout.splitlines()]

    def pod_addresses(self, *names: str) -> list[str]:
        return sorted(
            address for name in names for address in self.lab.pods[name].addresses.values()
        )

    def _objects(self, cidrs: list[str]) -> list[KubernetesObject]:
        kube_dns, _ = dns_objects(cidrs)
        families = self.lab.spec.families

        def with_ip(name: str, namespace: str, last: str) -> Service:
            ips = [_SERVICES[family_of(ip)] + last for ip in cidrs]
            selector = {"app": "web"}
            return service(
                name, namespace=namespace, cluster_ips=ips, ports=HTTP, selector=selector
            )

        web, prod = with_ip("web", "default", "20"), with_ip("web", "prod", "30")
        db = headless("db", families, selector={"app": "web"})
        many = headless("many", families[:1])
        base = "10.244.8." if families[0] is Family.IPV4 else "fd00:10:244:8::"
        many_slice = EndpointSlice(
            metadata=Metadata(name="many-1", labels={SERVICE_NAME_LABEL: "many"}),
            address_type=families[0].value,
            endpoints=tuple(Endpoint(addresses=(f"{base}{n}",)) for n in range(1, MANY + 1)),
            ports=(EndpointPort(name="http", port=80),),
        )
        shop = Service(
            metadata=Metadata(name="shop"),
            spec=ServiceSpec(type="ExternalName", external_name=WWW),
        )
        selecting = (kube_dns, web, prod, db)
        slices = (each for of in selecting for each in self.lab.slices(of))
        return [*selecting, many, shop, *slices, many_slice]


@contextmanager
def dns_lab(mode: Mode, families: tuple[Family, ...] = BOTH) -> Iterator[DnsLab]:
    """Yield a lab with its DNS server and a web server outside that says it is `outside`."""
    with Lab(spec(families), mode.name, options=mode.options) as lab:
        up = DnsLab(lab)
        try:
            with served_outside(lab):
                yield up
        finally:
            up.dns.close()


@contextmanager
def served_outside(lab: Lab) -> Iterator[None]:
    client = lab.clients["outside"]
    with client.namespace.entered():
        servers = [
            (_Server6 if family_of(address) is Family.IPV6 else ThreadingHTTPServer)(
                (address, 80), _Outside
            )
            for address in client.addresses.values()
        ]
    threads = [threading.Thread(target=each.serve_forever) for each in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Server6(ThreadingHTTPServer):
    address_family = Family.IPV6.socket_family


class _Outside(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"pod": "outside"}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing to the terminal."""
