"""Label and field selectors."""

from __future__ import annotations

import pytest

from kproxy.apiserver.resources import BY_PATH
from kproxy.apiserver.selectors import selection
from kproxy.controlplane.plane import Json, Refused
from tests.apiserver.asking import labelled, service

SERVICES = BY_PATH["v1", "services"]
SLICES = BY_PATH["discovery.k8s.io/v1", "endpointslices"]
PODS = BY_PATH["v1", "pods"]

LABELS = [  # selector, labels -> is it meant?
    ("app=web", {"app": "web"}, True),
    ("app==web", {"app": "web"}, True),
    ("app=web", {"app": "db"}, False),
    ("app=web", {}, False),
    ("app!=web", {}, True),
    ("app!=web", {"app": "web"}, False),
    ("app in (web, db)", {"app": "db"}, True),
    ("app in (web,db)", {"app": "x"}, False),
    ("app notin (web,db)", {}, True),
    ("app notin (web,db)", {"app": "db"}, False),
    ("app", {"app": ""}, True),
    ("app", {}, False),
    ("!app", {}, True),
    ("! app", {"app": "x"}, False),
    ("!example.com/app,tier=a", {"tier": "a"}, True),
    ("app=", {"app": ""}, True),
    ("app in (,a)", {"app": ""}, True),
    ("size>3,size<10", {"size": "5"}, True),
    ("size>3", {"size": "3"}, False),
    ("size>3", {"size": "large"}, False),
    ("in=notin", {"in": "notin"}, True),
]


@pytest.mark.parametrize(("text", "labels", "meant"), LABELS)
def test_labels(text: str, labels: dict[str, str], meant: bool) -> None:
    document = labelled(service("web"), **labels)
    assert selection(SERVICES, text, "").matches(document) is meant


@pytest.mark.parametrize(
    "text", ["app in web", "app in (web", "a=b,", "=b", "a=b c", "a b", "-a=b", "a=-", "a>x", "!"]
)
def test_a_label_selector_that_is_none(text: str) -> None:
    with pytest.raises(Refused, match="unable to parse requirement") as refused:
        selection(SERVICES, text, "")
    assert refused.value.status == 400


FIELDS = [  # selector -> is Service default/web meant?
    ("metadata.name=web", True),
    ("metadata.name!=web", False),
    ("metadata.namespace==default", True),
    ("spec.clusterIP!=None", True),
    ("spec.clusterIP=None", False),
    ("spec.type=ClusterIP,metadata.name=web", True),
    ("spec.type=ClusterIP,metadata.name=db", False),
    ("", True),
]


@pytest.mark.parametrize(("text", "meant"), FIELDS)
def test_fields(text: str, meant: bool) -> None:
    assert selection(SERVICES, "", text).matches(service("web")) is meant


def test_fields_that_are_left_out_have_their_defaults() -> None:
    pod: Json = {"kind": "Pod", "metadata": {"name": "a", "namespace": "b"}, "spec": {}}
    for text in (
        "spec.hostNetwork=false",
        "spec.nodeName=",
        "spec.schedulerName!=mine",
    ):
        assert selection(PODS, "", text).matches(pod)
    pod["spec"]["hostNetwork"] = True
    assert selection(PODS, "", "spec.hostNetwork=true").matches(pod)


def test_a_field_that_no_selector_may_name() -> None:
    with pytest.raises(Refused, match=r"^field label not supported: spec\.foo$"):
        selection(SERVICES, "", "spec.foo=1")
    words = (
        '"addressType" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
    with pytest.raises(Refused) as refused:
        selection(SLICES, "", "addressType=IPv4")
    assert str(refused.value) == words


def test_a_value_with_escaped_characters() -> None:
    web = service("web", clusterIP="a,b=c")
    assert selection(SERVICES, "", r"spec.clusterIP=a\,b\=c").matches(web)
