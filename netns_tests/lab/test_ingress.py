"""Ingress: a real nginx as a pod, with real HTTP requests."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from kproxy.address import Family
from kproxy.api import load
from kproxy.api.types import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    Metadata,
    ServiceBackendPort,
    ServicePort,
)
from kproxy.errors import KernelRefused, Unsupported
from kproxy.lab import Lab, LabPod, LabSpec, NodeSpec, PodSpec, PortSpec, load_spec, service
from kproxy.outcome import Connection
from kproxy.probe.http import Fetched, HttpRequest, fetch, fetch_many
from kproxy.resident.through_api import ThroughApi
from netns_tests.modes import Mode

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEC = EXAMPLES / "lab" / "ingress.yaml"
MODES = [
    Mode("iptables"),
    Mode("nftables"),
    pytest.param(Mode("ipvs", "legacy"), marks=pytest.mark.ipvs),
]
V4, V6 = Family.IPV4, Family.IPV6
FRONT = {V4: "10.244.1.13", V6: "fd00:10:244:1::13"}
SHOP, WEB = {"shop-a", "shop-b"}, {"web-a", "web-b", "web-c"}


@pytest.fixture(scope="module", params=MODES, ids=str)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    mode: Mode = request.param
    source = ThroughApi() if mode.name == "nftables" else None
    with Lab(load_spec(SPEC), mode.name, options=mode.options, source=source) as lab:
        lab.apply(EXAMPLES)
        yield lab


ROUTES: list[tuple[str, str, set[str] | int]] = [  # host, path -> answered by, or status
    ("shop.example.com", "/", SHOP),
    ("shop.example.com", "/any/thing?x=/cart", SHOP),
    ("shop.example.com", "/cart", WEB),  # the longer prefix
    ("shop.example.com", "/cart/", WEB),
    ("shop.example.com", "/cart/1", WEB),
    ("shop.example.com", "/carts", SHOP),  # a prefix of characters, not of parts
    ("shop.example.com", "/cart/help", SHOP),  # exactly
    ("shop.example.com", "/cart/help/", WEB),
    ("SHOP.example.com:80", "/cart", WEB),
    ("www.example.com", "/", WEB),
    ("www.example.com", "/cart", WEB),
    ("a.b.example.com", "/", 404),
    ("example.com", "/", 404),
    ("nobody.example", "/", 404),
    ("", "/", 404),
    ("closed.example.com", "/", 503),
]


def test_routes(lab: Lab) -> None:
    requests = [
        HttpRequest(client="shell-c", address=address, host=host, path=path)
        for address in FRONT.values()
        for host, path, _ in ROUTES
    ]
    for request, fetched, (_, _, expected) in zip(
        requests, fetch_many(lab, requests), [*ROUTES, *ROUTES], strict=True
    ):
        assert isinstance(fetched, Fetched), request
        if isinstance(expected, int):
            assert fetched == Fetched(status=expected), request
        else:
            assert (fetched.status, fetched.source) == (200, FRONT[V4]), request
            assert fetched.pod in expected, request


CLIENTS = [  # client -> what the ingress sees
    ("shell-c", "10.244.3.12", "fd00:10:244:3::12"),
    ("web-a", "10.244.1.11", "fd00:10:244:1::11"),
    ("outside", "198.51.100.11", "2001:db8:198::11"),
    ("node-b", "192.168.10.12", "fd00:192::12"),
]


@pytest.mark.parametrize(("client", "ipv4", "ipv6"), CLIENTS)
def test_the_pod_learns_who_asked(lab: Lab, client: str, ipv4: str, ipv6: str) -> None:
    for address, source in zip(FRONT.values(), (ipv4, ipv6), strict=True):
        fetched = fetch(lab, HttpRequest(client=client, address=address, host="www.example.com"))
        assert isinstance(fetched, Fetched)
        assert (fetched.source, fetched.forwarded_for) == (FRONT[V4], source)


def test_a_pod_asked_directly(lab: Lab) -> None:
    asked = HttpRequest(client="shell-c", address="10.244.1.11", port=8080, path="/x")
    assert fetch(lab, asked) == Fetched(status=200, pod="web-a", source="10.244.3.12")
    nobody = HttpRequest(client="shell-c", address="10.244.1.11", port=8081)
    assert isinstance(fetch(lab, nobody), Connection)


def test_a_service_in_front(lab: Lab) -> None:
    front = service(
        "front",
        type="NodePort",
        cluster_ips=["10.96.0.80"],
        ports=[ServicePort(port=80, node_port=30081)],
        selector={"app": "front"},
        external_traffic_policy="Local",
    )
    lab.apply([front, *lab.slices(front)])
    asked = HttpRequest(
        client="outside", address="192.168.10.11", port=30081, host="www.example.com"
    )
    fetched = fetch(lab, asked)
    assert isinstance(fetched, Fetched)
    assert (fetched.status, fetched.forwarded_for) == (200, "198.51.100.11")


# --- with a lab of their own ----------------------------------------------------------------------

PORTS = (PortSpec(port=80),)
PODS = (
    PodSpec(name="front", runs="nginx", ports=PORTS),
    PodSpec(name="host-front", runs="nginx", ports=(PortSpec(port=8000),), host_network=True),
    PodSpec(name="one", ports=PORTS, labels={"app": "one"}),
    PodSpec(name="two", ports=PORTS, labels={"app": "two"}),
    PodSpec(name="shell"),
)
FAR = PodSpec(name="far", ports=PORTS, labels={"app": "far"})
SMALL = LabSpec(nodes=(NodeSpec(name="node-a", pods=PODS), NodeSpec(name="node-b", pods=(FAR,))))
ONE = service(
    "one", cluster_ips=["10.96.0.1"], ports=[ServicePort(port=80)], selector={"app": "one"}
)
TWO = service(
    "two", cluster_ips=["10.96.0.2"], ports=[ServicePort(port=80)], selector={"app": "two"}
)


@pytest.fixture
def small() -> Iterator[Lab]:
    with Lab(SMALL) as lab:
        lab.apply([ONE, TWO, *lab.slices(ONE), *lab.slices(TWO)])
        yield lab


def ingress(of: str, *, path: str = "/", default: str = "") -> Ingress:
    def backend(name: str) -> IngressBackend:
        port = ServiceBackendPort(number=80)
        return IngressBackend(service=IngressServiceBackend(name=name, port=port))

    to = HTTPIngressPath(path=path, path_type="Prefix", backend=backend(of))
    return Ingress(
        metadata=Metadata(name="only"),
        spec=IngressSpec(
            rules=(IngressRule(host="shop", http=HTTPIngressRuleValue(paths=(to,))),),
            default_backend=backend(default) if default else None,
        ),
    )


def ask(lab: Lab, host: str = "shop", path: str = "/", pod: str = "front") -> str | int:
    """Return the pod that answered, or the status if none did."""
    front = lab.pods[pod]
    asked = HttpRequest(
        client="shell",
        address=front.addresses[V4],
        port=front.spec.ports[0].port,
        host=host,
        path=path,
    )
    fetched = fetch(lab, asked)
    assert isinstance(fetched, Fetched), fetched
    return fetched.pod or fetched.status


def test_it_follows_the_objects(small: Lab) -> None:
    key = ("Ingress", "default", "only")
    for pod in ("front", "host-front"):
        assert ask(small, pod=pod) == 404
    small.apply([ingress("one")])
    for pod in ("front", "host-front"):
        assert ask(small, pod=pod) == "one"
    small.apply([ingress("two", path="/a", default="one")])
    assert [ask(small, *each) for each in (("shop", "/a"), ("shop",), ("other",))] == [
        "two",
        "one",
        "one",
    ]
    small.delete([("EndpointSlice", "default", "one-ipv4")])
    assert ask(small) == 503
    small.apply(small.slices(ONE))
    assert ask(small) == "one"
    small.delete([key])
    assert ask(small) == 404
    small.apply([ingress("one")])
    small.replace([TWO, *small.slices(TWO)])
    assert ask(small) == 404


UNANSWERED = [  # how the Service is -> status
    ({"ports": [ServicePort(port=80, target_port=81)]}, 502),  # its pod refuses
    ({"ports": [ServicePort(port=80)], "internal_traffic_policy": "Local"}, 504),  # node-a drops
]


@pytest.mark.parametrize(("fields", "status"), UNANSWERED, ids=["refused", "dropped"])
def test_a_service_that_does_not_answer(small: Lab, fields: dict[str, Any], status: int) -> None:
    far = service("far", cluster_ips=["10.96.0.3"], selector={"app": "far"}, **fields)
    small.apply([far, *small.slices(far), ingress("far")])
    assert ask(small) == status


def test_every_path_is_a_path_to_nginx(small: Lab) -> None:
    nasty = "/a \"b\" 'c' \\d; {e} $host #f ~ ä"
    small.apply([ingress("one", path=nasty)])
    assert ask(small) == 404
    quoted = "".join(f"%{byte:02X}" for byte in nasty[1:].encode())
    assert ask(small, path=f"/{quoted}/x") == "one"


def test_no_request_is_lost_while_it_reloads(small: Lab) -> None:
    small.apply([ingress("one")])
    done = Event()

    def keep_asking() -> list[str | int]:
        answers = []
        while not done.is_set():
            answers.append(ask(small))
        return answers

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(keep_asking)
        try:
            for name in ("two", "one") * 4:
                small.apply([ingress(name)])
                assert [ask(small) for _ in range(5)] == [name] * 5  # at once, and for good
        finally:
            done.set()
    assert set(asking.result()) == {"one", "two"}


def wait_until_read(pod: LabPod, client_port: int) -> None:
    """Wait until nginx has accepted a client and read what it sent.

    Until then the connection waits in the kernel, and the worker of a later configuration may be
    the one that accepts it.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with pod.namespace.entered():
            rows = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        for _, _, remote, _, queues, _, _, _, _, inode, *_ in map(str.split, rows):
            unread = int(queues.partition(":")[2], 16)
            if int(remote.partition(":")[2], 16) == client_port and inode != "0" and not unread:
                return
        time.sleep(0.01)
    pytest.fail("nginx has not read the request")


def test_a_request_under_way_is_answered_as_it_began(small: Lab) -> None:
    small.apply([ingress("one")])
    with (
        small.pods["shell"].namespace.entered(),
        socket.create_connection((small.pods["front"].addresses[V4], 80), timeout=10) as sock,
        sock.makefile() as answer,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n")
        wait_until_read(small.pods["front"], sock.getsockname()[1])
        small.apply([ingress("two")])
        sock.sendall(b"Connection: close\r\n\r\n")
        assert '"pod": "one"' in answer.read()
    assert ask(small) == "two"


def test_an_unusable_configuration_leaves_the_former_in_force(small: Lab) -> None:
    """Only a program can use such a path: a manifest with it is refused."""
    small.apply([ingress("one")])
    with pytest.raises(KernelRefused, match=r"(?s)nginx of pod .*front failed.*too long parameter"):
        small.apply([ingress("two", path="/" + "x" * 5000)])
    assert ask(small) == "one"
    small.apply([ingress("two")])
    assert ask(small) == "two"


def test_a_lab_without_proxies_has_its_nginx() -> None:
    with Lab(SMALL, mode=None) as lab:
        assert ask(lab) == 404


def test_without_proxies_it_follows_a_control_plane() -> None:
    """It knows the Service then, but no proxy translates its address."""
    with Lab(replace(SMALL, control_plane=True), mode=None) as lab:
        lab.apply([ONE, ingress("one")])
        assert ask(lab) == 502
        lab.delete([ingress("one")])
        assert ask(lab) == 404


def test_nginx_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    lab = Lab(SMALL, mode=None)
    with pytest.raises(Unsupported, match="nginx: not installed") as caught, lab:
        pass
    assert caught.value.remedy == "apt-get install nginx-light"
    assert lab.hosts == {}


def test_the_example_of_the_documentation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = EXAMPLES.parent
    text = (root / "docs" / "ingress.md").read_text()
    program, output = re.findall(r"^```(?:python|text)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(root)
    exec(compile(program, "ingress.md", "exec"), {})
    printed = capsys.readouterr().out
    any_pod = re.compile(r"-> (shop|web)-[abc]")
    assert any_pod.sub(r"-> \1", printed) == any_pod.sub(r"-> \1", output)


def test_the_example_is_decoded_without_a_word() -> None:
    decoded = load([EXAMPLES / "ingress.yaml"])
    assert (len(decoded.objects), decoded.problems, decoded.notices) == (1, (), ())
