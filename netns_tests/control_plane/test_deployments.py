"""Deployments that are scaled, rolled out and restarted while clients go on asking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from kproxy.api.types import Deployment
from kproxy.testing import delivered, refused
from netns_tests.control_plane.plane_lab import (
    PlaneLab,
    check_served,
    check_unserved,
    deployment,
    known,
    service,
    traffic,
    ways,
)
from netns_tests.services.service_lab import UdpClient

# Ready a second after it runs: so a rollout takes its time, and its steps can be seen.
LATE = "{tcpSocket: {port: 8080}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 30}"


@dataclass(frozen=True, slots=True)
class Step:
    """The state of a Deployment at one moment."""

    old: int
    new: int
    ready: int
    terminating: int

    @classmethod
    def of(cls, lab: PlaneLab, name: str) -> Step:
        pods = lab.pods_of(name)
        live = [pod for pod in pods if not pod.metadata.deletion_timestamp]
        new = sum(pod.spec.containers[0].image == "answer:2" for pod in live)
        return cls(
            old=len(live) - new,
            new=new,
            ready=sum(any(each.status == "True" for each in pod.status.conditions) for pod in live),
            terminating=len(pods) - len(live),
        )


STRATEGIES = {  # name of the Deployment -> strategy, most live Pods, fewest ready ones
    "surge": ("{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", 3, 2),
    "spare": ("{rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}", 2, 1),
    "again": ("{type: Recreate}", 2, 0),
}
ROLLING = ("surge", "spare")


def rollout(version: int, probe: str = "") -> list[Deployment]:
    return [
        deployment(name, 2, strategy=strategy, image=f"answer:{version}", probe=probe, sleep_s=1)
        for name, (strategy, _, _) in STRATEGIES.items()
    ]


def test_updates_under_traffic(lab: PlaneLab) -> None:
    """No client notices a rolling update, whether new Pods come first or old ones go first."""
    lab.apply([*rollout(1), *(service(name, of=name) for name in ROLLING)])
    steps: dict[str, list[Step]] = {name: [] for name in STRATEGIES}

    def over() -> bool:
        for name, seen in steps.items():
            seen.append(Step.of(lab, name))
        return all(seen[-1] == Step(0, 2, 2, 0) for seen in steps.values())

    old = {name: {f"{name}-1", f"{name}-2"} for name in STRATEGIES}
    with traffic(lab, [to for name in ROLLING for to in ways(lab, name)]) as seen:
        lab.apply(rollout(2, probe=LATE))
        assert lab.wait_for(over)
    assert not seen.failed
    new = {name: {pod.metadata.name for pod in lab.pods_of(name)} for name in STRATEGIES}
    for name in ROLLING:
        assert old[name] <= {*seen.answered}
        check_served(lab, *new[name], by=name)
    for name, (_, most, fewest) in STRATEGIES.items():
        assert len({*steps[name]}) > 1
        for step in steps[name]:
            assert step.old + step.new <= most, name
            assert step.ready >= fewest, name
            if name == "again":
                assert not step.new or not step.old + step.terminating


def test_scale(lab: PlaneLab) -> None:
    lab.apply([deployment(replicas=3), service()])
    former = {pod: lab.addresses(pod) for pod in lab.pods if pod.startswith("web-")}
    for replicas, on_node in ((6, 2), (3, 1), (0, 0), (3, 1)):
        lab.scale("web", replicas)
        pods = [pod for pod in lab.pods if pod.startswith("web-")]
        nodes = Counter(lab.pods[pod].node for pod in pods)
        assert [nodes[node] for node in lab.nodes] == [on_node] * 3
        removed = [each for pod, ips in former.items() if pod not in pods for each in ips]
        if removed:
            assert not known(lab, removed)
        if pods:
            check_served(lab, *pods)
        else:
            check_unserved(lab, refused())
        former = {pod: lab.addresses(pod) for pod in pods}


def test_restart(lab: PlaneLab) -> None:
    """The name stays, the address is another, and the Service leads there at once, flows too."""
    lab.apply([deployment(replicas=1), service()])
    former, node = lab.addresses("web-1"), lab.pod("web-1").node
    with asking(lab) as clients:
        assert {client.ask() for client in clients} == {"web-1"}
        lab.pod("web-1").restart()
        assert not {*former} & {*lab.addresses("web-1")}
        assert (lab.pod("web-1").node, lab.pod("web-1").ready) == (node, True)
        assert not known(lab, former)
        assert {client.ask() for client in clients} == {"web-1"}
    check_served(lab, "web-1")
    for family in lab.spec.families:
        address = lab.pod("web-1").addresses[family]
        assert lab.ask("shell", address, 8080) == delivered("web-1", source="shell")


def test_udp_flows_leave_a_pod_that_ends(lab: PlaneLab) -> None:
    """They leave as soon as it no longer serves; until then they may stay, as with TCP."""
    lab.apply([deployment(replicas=2, sleep_s=1), service()])
    with asking(lab) as clients:
        assert {client.ask() for client in clients} == {"web-1", "web-2"}
        lab.pod("web-2").fail_readiness()
        assert {client.ask() for client in clients} == {"web-1"}
        lab.delete([("Pod", "default", "web-1")])
        assert lab.wait_for(lambda: lab.stopped("web-1"))
        assert {client.ask() for client in clients} == {"web-3"}


@contextmanager
def asking(lab: PlaneLab) -> Iterator[list[UdpClient]]:
    """Return clients on all ways, each with a source port of its own that it keeps."""
    with ExitStack() as stack:
        packets = [to for to in ways(lab, protocol="UDP") for _ in range(2)]
        yield [stack.enter_context(UdpClient(lab, to)) for to in packets]
