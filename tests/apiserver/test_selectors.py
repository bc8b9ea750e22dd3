"""Label and field selectors."""

from __future__ import annotations

import pytest

from kproxy.apiserver.resources import BY_PATH
from kproxy.apiserver.selectors import selection
from kproxy.controlplane.plane import Json, Refused
from kproxy.controlplane.value_problems import label_value_problems, qualified_name_problems
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


UNREAD = "unable to parse requirement: "
NO_KEY = qualified_name_problems("-a")[0]
NO_VALUE = label_value_problems("-")[0]
NO_INTEGER = "for 'Gt', 'Lt' operators, the value must be an integer"
BOTH = f'values[0][a]: Invalid value: "-": {NO_VALUE}, values[1][a]: Invalid value: "_": {NO_VALUE}'
WRONG_LABELS = [  # selector -> the words of k8s.io/apimachinery/pkg/labels
    ("app in web", UNREAD + "found 'web' expected: '('"),
    ("app in (web", UNREAD + "found '', expected: ',' or ')'"),
    ("a=b,", "found '', expected: identifier after ','"),
    ("a=b,=c", "found '=', expected: identifier after ','"),
    ("=b", "found '=', expected: !, identifier, or 'end of string'"),
    ("a=b c", "found 'c', expected: ',' or 'end of string'"),
    ("a b", UNREAD + "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
    ("!", UNREAD + "found '', expected: identifier"),
    ("a>x", UNREAD + f'values[0]: Invalid value: "x": {NO_INTEGER}'),
    ("-a=b", UNREAD + f'<nil>: Invalid value: "-a": {NO_KEY}'),
    ("a=-", UNREAD + f'values[0][a]: Invalid value: "-": {NO_VALUE}'),
    ("a in (-,b,_)", UNREAD + f"[{BOTH}]"),
]


@pytest.mark.parametrize(("text", "told"), WRONG_LABELS)
def test_a_label_selector_that_is_none(text: str, told: str) -> None:
    with pytest.raises(Refused) as refused:
        selection(SERVICES, text, "")
    assert (refused.value.status, str(refused.value)) == (400, told)


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
