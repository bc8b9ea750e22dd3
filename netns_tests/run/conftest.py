from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kproxy.address import Family, family_of
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from netns_tests.run.running import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    name = f"kproxy-test-{secrets.token_hex(4)}"
    with Namespace.create(name) as namespace:
        namespace.publish(name)
        here = Place(namespace, name, tmp_path)
        try:
            yield here
        finally:
            here.end()


@pytest.fixture
def service() -> Callable[..., str]:
    """Return a manifest: `service("web", "10.96.0.1")` is a Service and its EndpointSlice."""

    def text(name: str, cluster_ip: str, port: int | str = 80) -> str:
        family = family_of(cluster_ip)
        return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec:
  clusterIP: "{cluster_ip}"
  clusterIPs: ["{cluster_ip}"]
  ipFamilies: [{family}]
  ports: [{{name: http, port: {port}, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: default
  labels: {{kubernetes.io/service-name: {name}}}
addressType: {family}
endpoints:
- addresses: ["{"fd00:10::5" if family is Family.IPV6 else "10.244.1.5"}"]
  conditions: {{ready: true}}
ports: [{{name: http, port: 8080, protocol: TCP}}]
"""

    return text


@pytest.fixture
def broken_restore(place: Place, tmp_path: Path) -> Path:
    """Make every iptables-restore of proxies started from now on fail while this file exists.

    They take iptables for a version that kproxy does not know, so that they use it.
    """
    switch = tmp_path / "break"
    switch.touch()
    folder = tmp_path / "bin"
    folder.mkdir()
    for stem in ("iptables", "ip6tables"):
        for variant, name in (("nft", "nf_tables"), ("legacy", "legacy")):
            program = folder / f"{stem}-{variant}"
            real = run(["which", program.name]).strip()
            told = f'echo "{stem} v1.8.5 ({name})"'
            program.write_text(
                f'#!/bin/sh\n[ "$*" = --version ] && {told} && exit\nexec {real} "$@"\n'
            )
            program.chmod(0o755)
        for variant in ("", "-nft", "-legacy"):
            name = f"{stem}{variant}-restore"
            real = run(["which", name]).strip()
            program = folder / name
            program.write_text(
                f"#!/bin/sh\nif [ -e {switch} ]; then echo sabotaged >&2; exit 1; fi\n"
                f'exec {real} "$@"\n'
            )
            program.chmod(0o755)
    place.environment["PATH"] = f"{folder}:{place.environment['PATH']}"
    return switch
