"""The page of a lab with an edge, in a network that the oracle does not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns_tests.ui.browser import Browser
from netns_tests.ui.conftest import Served, open_live, serving
from netns_tests.ui.test_page import OUTSIDE, WEB, of, to_the_end
from netns_tests.up.machine import private_machine

LAB = """
name: edge
controlPlane: true
network: vpc
nodes:
  - {name: node-a, pods: [{name: web-a, labels: {app: web}, ports: [8080]}]}
  - {name: node-b, pods: [{name: shell}]}
clients: [{name: outside}]
edge: {balancers: [{name: lb, kind: shared}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {kubernetes.io/elb.class: union}}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "web.yaml").write_text(SERVICE)
    with private_machine() as machine:
        machine.ok("up", str(tmp_path / "lab.yaml"))
        machine.ok("apply", "-f", str(tmp_path / "web.yaml"))
        with serving(machine) as served:
            yield served


def test_the_way_leads_over_the_load_balancer(browser: Browser, edge: Served) -> None:
    page = open_live(browser, edge)
    page.until(f"document.querySelector('{of('host/lb')}').innerText.includes('public')")
    page.until(f"document.querySelector('{of(WEB)}').innerText.includes('203.0.113.')")
    page.click(of(OUTSIDE))
    page.click(of(WEB))
    assert "Delivered at web-a" in to_the_end(page)
    hosts = page.evaluate("[...document.querySelectorAll('.hop-head b')].map(e => e.innerText)")
    assert {"gateway", "lb", "node-a"} < {*hosts}
    page.click("#tab-matrix")
    page.click("#measure")
    page.until("document.getElementById('measure').textContent === 'Measure again'")
    status = page.text("#matrix-status").split()
    assert status[0] == status[2]
    assert page.faults() == []
