"""A kernel that is a dictionary: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.api.manifests import load
from kproxy.backend import Delta, NodeSettings, Plan
from kproxy.errors import KernelRefused
from kproxy.forwarding.planner import Planner
from kproxy.store import Store
from kproxy.testing import MemoryBackend, MemoryKernel, printed

IPV4 = Family.IPV4
EXAMPLES = Path(__file__).parents[2] / "examples"
ON_NODE_A = """\
default/api:http TCP
  cluster-ip 10.96.0.40:443 -> cluster
  load-balancer 203.0.113.10:443 -> cluster, only from 198.51.100.0/24, masquerade always
  node-port *:30443 -> cluster, masquerade always
  cluster: 10.244.1.11:8080 10.244.2.11:8080 10.244.3.11:8080
default/cart:http TCP
  cluster-ip 10.96.0.50:80 -> cluster
  cluster: 10.244.1.11:8080 10.244.2.11:8080 10.244.3.11:8080
  affinity 1 s
default/closed:http TCP
  cluster-ip 10.96.0.60:80 -> reject
  node-port *:30099 -> reject, masquerade always
default/shop-local:http TCP
  cluster-ip 10.96.0.30:80 -> local
  node-port *:30090 -> local, -> cluster for this node's pods
  cluster: 10.244.1.12:8080 10.244.2.12:8080
  local: 10.244.1.12:8080
"""


def plan_of(*examples: str) -> Plan:
    store = Store()
    store.replace(load((EXAMPLES / f"{name}.yaml" for name in examples), stored=True).objects)
    planner = Planner(NodeSettings(family=IPV4, node_name="node-a"))
    planner.replan(store)
    return planner.plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("load-balancer", "node-port-local", "session-affinity", "no-endpoints")


def test_what_is_read_is_the_plan_as_text(plan: Plan) -> None:
    backend = MemoryBackend(IPV4)
    backend.sync(plan, Delta(full=True))
    assert printed(backend.read()) + "\n" == ON_NODE_A


def test_a_sync_is_all_or_nothing(plan: Plan) -> None:
    backend = MemoryBackend(IPV4)
    backend.sync(plan, Delta(full=True))
    before = backend.read()
    backend.kernel.refuse(IPV4)
    with pytest.raises(KernelRefused, match="was told to refuse"):
        backend.sync(Plan(settings=plan.settings, services={}), Delta(before=plan.services))
    assert backend.read() == before
    backend.sync(Plan(settings=plan.settings, services={}), Delta(before=plan.services))
    assert backend.read() == {"services": {}}


def test_a_delta_must_be_relative_to_the_last_sync_of_this_object(plan: Plan) -> None:
    kernel = MemoryKernel()
    nothing = Plan(settings=plan.settings, services={})
    added = Delta(before=dict.fromkeys(plan.services))
    backend = MemoryBackend(IPV4, kernel=kernel)
    with pytest.raises(AssertionError, match="first sync of an object must be full"):
        backend.sync(plan, added)
    backend.sync(nothing, Delta(full=True))
    with pytest.raises(AssertionError, match=r"the delta lacks default/api:http, default/cart"):
        backend.sync(plan, Delta())
    with pytest.raises(AssertionError, match="was something else at the last sync"):
        backend.sync(plan, Delta(before=plan.services))
    backend.sync(plan, added)
    with pytest.raises(AssertionError, match="first sync of an object must be full"):
        MemoryBackend(IPV4, kernel=kernel).sync(plan, Delta())


def test_a_kernel_outlives_its_backends(plan: Plan) -> None:
    kernel = MemoryKernel()
    kernel.tables[IPV4]["mine"] = {"chain": ("drop",)}
    first = MemoryBackend(IPV4, kernel=kernel)
    first.sync(plan, Delta(full=True))
    assert first.intact()
    second = MemoryBackend(IPV4, kernel=kernel)
    assert second.read() == first.read()
    with kernel.unshared():
        assert second.read() == {}
        assert not first.intact()
    second.cleanup()
    assert first.read() == {}
    assert not first.intact()
    assert kernel.tables[IPV4] == {"mine": {"chain": ("drop",)}}
