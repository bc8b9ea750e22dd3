"""The Service that a user means."""

from __future__ import annotations

import pytest

from kproxy.api.service_names import ServiceName, names_a_service, service_in, service_name
from kproxy.errors import BadInput

NAMED = {
    "svc/web": ServiceName(name="web"),
    "service/web.shop": ServiceName(name="web", namespace="shop"),
    "services/web:http": ServiceName(name="web", port="http"),
    "svc/web.shop.svc:80": ServiceName(name="web", namespace="shop", port="80"),
    "svc/web.shop.svc.cluster.local": ServiceName(name="web", namespace="shop"),
    "svc/web:53/udp": ServiceName(name="web", port="53", protocol="udp"),
    "svc/web/": ServiceName(name="web", protocol=""),
}
OTHERS = ["svc/", "svc/.shop", "svc/web.", "svc/web:", "svc/web.shop.pod", "pod/web", "/web", ""]


@pytest.mark.parametrize(("text", "named"), NAMED.items())
def test_names(text: str, named: ServiceName) -> None:
    assert service_name(text) == named
    assert names_a_service(text)


@pytest.mark.parametrize("text", OTHERS)
def test_other_forms(text: str) -> None:
    assert service_name(text) is None
    assert service_name(text, bare=True) is None


def test_a_name_may_stand_alone() -> None:
    assert service_name("web.shop:http") is None
    assert service_name("web.shop:http", bare=True) == service_name("svc/web.shop:http")


@pytest.mark.parametrize(
    ("text", "namespace", "found"),
    [
        ("svc/web", "", "/web"),
        ("svc/web", "default", "default/web"),
        ("web:http", "shop", "shop/web:http"),
        ("svc/web.shop", "default", "shop/web"),
        ("svc/web.shop", "shop", "shop/web"),
    ],
)
def test_an_argument_of_a_command(text: str, namespace: str, found: str) -> None:
    assert str(service_in(text, namespace)) == found


@pytest.mark.parametrize(
    ("text", "namespace", "said"),
    [
        ("pod/web", "", "expected svc/NAME or svc/NAME:PORT, got 'pod/web'"),
        ("svc/web:53/udp", "", "expected svc/NAME"),
        ("svc/web.shop", "prod", "svc/web.shop and --namespace prod: give one namespace"),
    ],
)
def test_a_bad_argument(text: str, namespace: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        service_in(text, namespace)
