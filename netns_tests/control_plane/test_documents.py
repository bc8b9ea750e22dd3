"""Files with kinds that have no type: their Pods run, are found by name, and go again."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.errors import BadInput
from kproxy.lab import Lab, LabSpec
from kproxy.resident.through_api import ThroughApi
from kproxy.testing import delivered, refused
from netns_tests.control_plane.plane_lab import (
    SPEC,
    V4,
    PlaneLab,
    check_served,
    check_unserved,
    deployment,
    everything,
)
from netns_tests.through_api import not_by_requests

STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
      - name: db
        image: db:1
        ports: [{containerPort: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {LEVEL: high}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
"""
DAEMON_SET = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 8080}, {containerPort: 8080, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: udp, port: 80, targetPort: 8080, protocol: UDP}
"""
SET = ("StatefulSet", "shop", "db")
DB, WEB = ["db-0.shop", "db-1.shop"], ["web-1", "web-2", "web-3"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "all.yaml"
    path.write_text(f"{STATEFUL_SET}---{DAEMON_SET}")
    return path


def running(lab: PlaneLab) -> list[str]:
    return sorted(each for each in lab.pods if each.startswith(("db-", "web-")))


def test_one_file(lab: PlaneLab, manifest: Path) -> None:
    lab.apply(manifest)
    assert running(lab) == [*DB, *WEB]
    assert not lab.left_out
    assert {lab.pods[each].node for each in WEB} == {*lab.nodes}
    check_served(lab, *WEB)

    first = lab.pod("db-0", namespace="shop")
    assert sorted(lab.pod("shell").resolve("db.shop", V4)) == sorted(
        lab.pods[each].addresses[V4] for each in DB
    )
    for name in DB:
        address = lab.pods[name].addresses[V4]
        assert first.resolve(f"{name.partition('.')[0]}.db", V4) == [address]
        assert lab.connect("shell", address, 5432) == delivered(name)
    settings = lab.plane.get(("ConfigMap", "shop", "settings"))
    assert settings
    assert settings["data"] == {"LEVEL": "high"}

    lab.delete(manifest)
    lab.wait_for(lambda: not running(lab))
    assert lab.plane.get(SET) is None
    assert lab.plane.get(("Namespace", "", "shop")) is None
    assert lab.pod("shell").resolve("db.shop") == []


def test_an_api_takes_the_same_file(manifest: Path) -> None:
    spec = LabSpec(nodes=SPEC.nodes, clients=SPEC.clients, control_plane=True)
    source = ThroughApi()
    with Lab(spec, "nftables", source=source) as lab:
        lab.apply(manifest)
        lab.wait_for(lambda: {*DB, *WEB} <= lab.pods.keys())
        assert not lab.left_out
        assert not not_by_requests(source.plane, [SET, ("Service", "default", "web")])
        lab.delete(manifest)
        lab.wait_for(lambda: not {*DB, *WEB} & lab.pods.keys())


def test_a_file_that_takes_the_place_of_another(lab: PlaneLab, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(DAEMON_SET)
    lab.replace(path)
    check_served(lab, *WEB)
    path.write_text(STATEFUL_SET)
    lab.replace(path)
    lab.wait_for(lambda: running(lab) == DB)
    assert lab.plane.get(("DaemonSet", "default", "web")) is None
    path.write_text(STATEFUL_SET.replace("replicas: 2", "replicas: 1"))
    lab.replace(path)
    lab.wait_for(lambda: running(lab) == DB[:1])
    lab.replace([deployment(replicas=1)])
    lab.wait_for(lambda: running(lab) == ["web-1"])
    assert lab.plane.get(SET) is None
    assert lab.plane.get(("Namespace", "", "shop")) is None


def test_what_is_refused_changes_nothing(lab: PlaneLab, manifest: Path) -> None:
    lab.apply(manifest)
    before = everything(lab)
    good = manifest.read_text()
    moved = good.replace("serviceName: db", "serviceName: other").replace("web:1", "web:2")
    unknown = good.replace("replicas: 2", "replica: 2").replace(
        "{app: web}}\n  templ", "{}}\n  templ"
    )
    for text, problems in (
        (moved, ['StatefulSet.apps "db" is invalid: spec: Forbidden: updates to statefulset']),
        (
            unknown,
            [
                f'{manifest}:7: StatefulSet shop/db: StatefulSet in version "v1" cannot be handled',
                'DaemonSet.apps "web" is invalid: spec.selector: Required value',
            ],
        ),
    ):
        manifest.write_text(text)
        for verb in (lab.apply, lab.replace):
            with pytest.raises(BadInput) as error:
                verb(manifest)
            found = error.value.problems
            assert len(found) == len(problems), found
            for told, begins in zip(found, problems, strict=True):
                assert told.startswith(begins)
            assert everything(lab) == before
    manifest.write_text(good)
    with pytest.raises(BadInput) as error:
        lab.delete([SET, ("DaemonSet", "shop", "web")])
    assert error.value.problems == ['daemonsets.apps "web" not found']
    assert everything(lab) == before
    lab.delete([("DaemonSet", "default", "web")])
    check_unserved(lab, refused())
    assert running(lab) == DB
