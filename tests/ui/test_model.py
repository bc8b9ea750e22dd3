"""The page from the lines that a lab tells, and the changes that a browser is sent."""

from __future__ import annotations

from typing import Any

from kproxy.ui.model import Model

NODE = {"name": "node-a", "kind": "node", "addresses": ["192.0.2.1"], "to": "router"}
HOSTS = {"hosts": [NODE], "podsOn": "node"}


def pod(name: str, *, ready: bool = True, namespace: str = "default") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": "node-a"},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "conditions": conditions},
    }


def written(document: dict[str, Any], *, gone: bool = False) -> dict[str, Any]:
    meta = document["metadata"]
    key = (document["kind"], meta["namespace"], meta["name"])
    return {"key": key, "document": None if gone else document}


def event(number: int) -> dict[str, Any]:
    return {
        "kind": "Event",
        "metadata": {"name": f"e{number}", "namespace": "default", "creationTimestamp": "2026"},
        "regarding": {"kind": "Pod", "name": "web"},
        "reason": "Started",
        "note": f"number {number}",
    }


def begun(*documents: dict[str, Any]) -> Model:
    model = Model()
    model.told(HOSTS)
    model.told({"documents": documents})
    return model


def test_a_pod_is_a_host_on_its_node() -> None:
    model = begun(pod("web"), pod("dns", namespace="kube-system"))
    assert model.entities["host/web"] == {
        "kind": "pod",
        "name": "web",
        "namespace": "default",
        "system": False,
        "node": "node-a",
        "to": "node-a",
        "there": "web",
        "addresses": ["10.0.0.1"],
        "hostNetwork": False,
        "phase": "Running",
        "ready": True,
        "terminating": False,
    }
    assert model.entities["host/dns.kube-system"]["system"]


def test_a_view_begins_with_everything_and_gets_what_changes() -> None:
    model, woken = begun(pod("web")), []
    view = model.view(lambda: woken.append(1))
    assert {*view.take()} == {"host/node-a", "host/web"}
    model.told(written(pod("web", ready=False)))
    assert [each and each["ready"] for each in view.take().values()] == [False]
    model.told(written(pod("web"), gone=True))
    assert view.take() == {"host/web": None}
    assert len(woken) == 2


def test_what_is_as_before_is_not_told() -> None:
    model, woken = begun(pod("web")), []
    view = model.view(lambda: woken.append(1))
    view.take()
    model.told(written(pod("web")))
    assert (view.take(), woken) == ({}, [])


def test_a_slow_browser_gets_only_the_last_state() -> None:
    model = begun()
    view = model.view(lambda: None)
    for number in range(1000):
        model.told(written(pod("web", ready=bool(number % 2))))
    assert {*view.take()} == {"host/node-a", "host/web"}


def test_a_lab_that_is_told_from_the_start_replaces_what_was_there() -> None:
    model = begun(pod("web"))
    view = model.view(lambda: None)
    view.take()
    model.told({"documents": [pod("shop")]})
    changed = view.take()
    assert changed["host/web"] is None
    assert "host/shop" in changed
    assert "host/node-a" in model.entities


def test_only_the_last_events_are_kept_though_the_lab_forgets_them() -> None:
    model = begun()
    for number in range(400):
        model.told(written(event(number)))
        model.told(written(event(number), gone=True))
    kept = [name for name in model.entities if name.startswith("event/")]
    assert len(kept) == 300
    assert kept[-1] == "event/default/e399"


ROW = {"id": "default/web 10.0.0.1:80 TCP", "service": "default/web"}
ANSWERED = {"state": "answered", "answered": "web", "source": "10.0.0.9", "expected": ""}
REFUSED = {"state": "refused", "answered": "refused by node-a", "source": "", "expected": ""}


def test_a_cell_keeps_what_the_measurement_before_found() -> None:
    model = begun()
    for cell in (ANSWERED, REFUSED):
        model.measured({"rows": [ROW], "clients": ["outside"]})
        waiting = model.entities[f"row/{ROW['id']}"]["cells"]["outside"]
        assert waiting["state"] == "waiting"
        model.measured({"row": ROW["id"], "cells": {"outside": cell}})
        model.measured({"done": True})
    assert model.entities[f"row/{ROW['id']}"]["cells"]["outside"] == REFUSED | {"before": ANSWERED}
    assert model.entities["matrix"]["number"] == 2
    assert not model.entities["matrix"]["running"]


def test_a_measurement_that_fails_says_why() -> None:
    model = begun()
    model.measured({"rows": [ROW], "clients": ["outside"]})
    model.measured({"error": "no more"})
    assert model.entities["matrix"]["error"] == "no more"
    assert not model.entities["matrix"]["running"]
