"""The wording of what is refused in a Deployment. A row is an edit of a valid one."""

from __future__ import annotations

import json

import pytest

from kproxy.api import decode
from kproxy.api.types import Deployment, RollingUpdateDeployment
from tests.api.objects import ABSENT, DEPLOYMENT, edited, problems_of
from tests.api.test_validation import NOT_A_LABEL_VALUE, RANGE

TEMPLATE = "spec.template"
LABELS = f"{TEMPLATE}.metadata.labels"
MAIN = f"{TEMPLATE}.spec.containers[0]"
ROLLING = "spec.strategy.rollingUpdate"
UNMATCHED = "`selector` does not match template `labels`"
PERCENT = "is none: a valid percent string must be a numeric string followed by an ending '%'"
TOO_MANY = "must be less than or equal to 10000 in a lab"
NO_ZERO = "may not be 0 when `maxSurge` is 0"

INVALID: list[tuple[str, object, dict[str, str]]] = [  # path, value -> field, what is said of it
    ("apiVersion", "apps/v1beta1", {"apiVersion": "expected apps/v1, got 'apps/v1beta1'"}),
    ("metadata.name", ABSENT, {"metadata.name": "missing"}),
    ("metadata.labels.app", "a b", {"metadata.labels.app": f"'a b' {NOT_A_LABEL_VALUE}"}),
    ("spec.replicas", -1, {"spec.replicas": "-1 must be greater than or equal to 0"}),
    ("spec.replicas", 10**10, {"spec.replicas": "10000000000 does not fit into 32 bits"}),
    ("spec.replicas", 10_001, {"spec.replicas": f"10001 {TOO_MANY}"}),
    ("spec.replicas", "3", {"spec.replicas": "expected an integer, got '3'"}),
    ("spec.minReadySeconds", -1, {"spec.minReadySeconds": "-1 must be greater than or equal to 0"}),
    (
        "spec.revisionHistoryLimit",
        -1,
        {"spec.revisionHistoryLimit": "-1 must be greater than or equal to 0"},
    ),
    (
        "spec.progressDeadlineSeconds",
        0,
        {"spec.progressDeadlineSeconds": "0 must be greater than minReadySeconds"},
    ),
    (
        "spec.minReadySeconds",
        600,
        {"spec.progressDeadlineSeconds": "600 must be greater than minReadySeconds"},
    ),
    ("spec.selector", ABSENT, {"spec.selector": "empty selector is invalid for deployment"}),
    ("spec.selector", {}, {"spec.selector": "empty selector is invalid for deployment"}),
    ("spec.selector.matchLabels", {"app": "shop"}, {LABELS: UNMATCHED}),
    ("spec.selector.matchLabels", {"app": "web", "tier": "back"}, {LABELS: UNMATCHED}),
    (
        "spec.selector.matchLabels",
        {"app": "-"},
        {"spec.selector.matchLabels.app": f"'-' {NOT_A_LABEL_VALUE}", LABELS: UNMATCHED},
    ),
    (
        "spec.selector.matchLabels",
        {"app": 1},
        {"spec.selector.matchLabels.app": "expected a string, got 1"},
    ),
    (
        "spec.selector.matchExpressions",
        [{"key": "app", "operator": "Exists"}],
        {"spec.selector.matchExpressions": "is not supported; matchLabels is"},
    ),
    (LABELS, ABSENT, {LABELS: UNMATCHED}),
    (LABELS, {"app": "web", "b": "-"}, {f"{LABELS}.b": f"'-' {NOT_A_LABEL_VALUE}"}),
    (
        "spec.strategy.type",
        "Rolling",
        {"spec.strategy.type": "expected RollingUpdate or Recreate, got 'Rolling'"},
    ),
    (
        "spec.strategy.type",
        "Recreate",
        {ROLLING: "may not be specified when strategy `type` is 'Recreate'"},
    ),
    (
        "spec.strategy",
        {"type": "Recreate", "rollingUpdate": {}},
        {ROLLING: "may not be specified when strategy `type` is 'Recreate'"},
    ),
    (ROLLING, {"maxSurge": 0, "maxUnavailable": 0}, {f"{ROLLING}.maxUnavailable": NO_ZERO}),
    (ROLLING, {"maxSurge": "0%", "maxUnavailable": 0}, {f"{ROLLING}.maxUnavailable": NO_ZERO}),
    (ROLLING, {"maxSurge": 0, "maxUnavailable": "00%"}, {f"{ROLLING}.maxUnavailable": NO_ZERO}),
    (ROLLING, {"maxSurge": -1}, {f"{ROLLING}.maxSurge": "-1 must be greater than or equal to 0"}),
    (ROLLING, {"maxSurge": "-1%"}, {f"{ROLLING}.maxSurge": f"'-1%' {PERCENT}"}),
    (ROLLING, {"maxSurge": "1"}, {f"{ROLLING}.maxSurge": f"'1' {PERCENT}"}),
    (
        ROLLING,
        {"maxSurge": 1.5},
        {f"{ROLLING}.maxSurge": "expected an integer or a string, got 1.5"},
    ),
    (ROLLING, {"maxUnavailable": "25 %"}, {f"{ROLLING}.maxUnavailable": f"'25 %' {PERCENT}"}),
    (
        ROLLING,
        {"maxUnavailable": "101%"},
        {f"{ROLLING}.maxUnavailable": "'101%' must not be greater than 100%"},
    ),
    (
        TEMPLATE,
        ABSENT,
        {LABELS: UNMATCHED, f"{TEMPLATE}.spec.containers": "at least one container is needed"},
    ),
    (
        f"{TEMPLATE}.spec.restartPolicy",
        "Never",
        {f"{TEMPLATE}.spec.restartPolicy": "'Never' is not allowed; Always is"},
    ),
    (
        f"{TEMPLATE}.spec.terminationGracePeriodSeconds",
        3,
        {
            f"{MAIN}.lifecycle.preStop.sleep": (
                "5 must be non-negative and less than terminationGracePeriodSeconds (3)"
            )
        },
    ),
    (f"{MAIN}.image", "", {f"{MAIN}.image": "missing"}),
    (f"{MAIN}.ports[0].containerPort", 0, {f"{MAIN}.ports[0].containerPort": f"0 {RANGE}"}),
    (
        f"{MAIN}.readinessProbe",
        {"exec": {"command": ["true"]}},
        {f"{MAIN}.readinessProbe.exec": "is not supported; httpGet and tcpSocket are"},
    ),
]

VALID: list[tuple[str, object]] = [
    ("spec.replicas", 0),
    ("spec.replicas", ABSENT),
    ("spec.strategy", None),
    ("spec.strategy", {"type": "Recreate"}),
    ("spec.strategy", {"type": "Recreate", "rollingUpdate": None}),
    (ROLLING, {"maxSurge": "200%", "maxUnavailable": 0}),
    (ROLLING, {"maxSurge": 0, "maxUnavailable": "100%"}),
    (ROLLING, {"maxSurge": 0, "maxUnavailable": 200}),
    ("spec.selector.matchExpressions", []),
    ("spec.paused", True),
]


@pytest.mark.parametrize(("path", "value", "said"), INVALID)
def test_invalid(path: str, value: object, said: dict[str, str]) -> None:
    wanted = [f"{field}: {text}" for field, text in said.items()]
    assert problems_of(edited(DEPLOYMENT, path, value)) == wanted


@pytest.mark.parametrize(("path", "value"), VALID)
def test_valid(path: str, value: object) -> None:
    decoded = decode(json.dumps(edited(DEPLOYMENT, path, value)), "f")
    assert (decoded.problems, decoded.notices) == ((), ())


def test_defaults() -> None:
    manifest = edited(DEPLOYMENT, "spec.strategy", None)
    manifest = edited(edited(manifest, "spec.replicas", None), "metadata.namespace", None)
    manifest = edited(manifest, f"{MAIN}.readinessProbe.periodSeconds", 0)
    (found,) = decode(json.dumps(manifest), "f").objects
    assert isinstance(found, Deployment)
    assert found.metadata.namespace == "default"
    assert found.spec.replicas is None
    assert found.spec.strategy.type == "RollingUpdate"
    assert found.spec.strategy.rolling_update == RollingUpdateDeployment(
        max_surge="25%", max_unavailable="25%"
    )
    probe = found.spec.template.spec.containers[0].readiness_probe
    assert probe is not None
    assert probe.period_seconds == 10
