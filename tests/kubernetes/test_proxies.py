"""Proxies: of the kubeconfig, and of the environment as Go uses it."""

from __future__ import annotations

import socket

import pytest

from tests.kubernetes.api_server import ApiServer, Proxy
from tests.kubernetes.asking import Connect, ask, greet, unreachable
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import SECRET


def test_a_proxy(connect: Connect, authority: Authority) -> None:
    pair = authority.issue("proxied", "DNS:api.invalid")
    with Proxy() as proxy, ApiServer(greet, pair) as server:
        url = f"https://api.invalid:{server.port}"
        cluster = {"server": url, "certificate-authority": str(authority.certificate)}
        connection = connect(cluster | {"proxy-url": f"http://{proxy.address}"})
        assert ask(connection) == 200
        with connection.stream("/", {}, silence_s=30) as stream:
            assert stream.status == 200
        assert proxy.tunnels == [f"api.invalid:{server.port}"] * 2
        assert "proxy-authorization" not in server.requests[0].headers


def test_a_proxy_with_a_password(connect: Connect, authority: Authority, server_pair: Pair) -> None:
    with Proxy("Basic bWU6aHVzaC1odXNoL3g=") as proxy, ApiServer(greet, server_pair) as server:
        cluster = {"server": server.url, "certificate-authority": str(authority.certificate)}
        proxy_url = f"http://me:{SECRET}%2Fx@{proxy.address}"
        assert ask(connect(cluster | {"proxy-url": proxy_url})) == 200
        assert unreachable(connect(cluster | {"proxy-url": proxy_url.replace("me", "you")})) == (
            f"{server.url}: through the proxy {proxy.address}: Tunnel connection failed: 407 Proxy"
            " Authentication Required"
        )


def test_a_proxy_that_is_not_there(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    cluster = {"server": "https://api.invalid", "proxy-url": f"http://me:{SECRET}@{address}"}
    assert unreachable(connect(cluster)) == (
        f"https://api.invalid: through the proxy {address}: connection refused"
    )


def test_proxies_of_the_environment(
    connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Go: for the scheme of the server, but not for loopback or what NO_PROXY names."""
    pair = authority.issue("by-name", "DNS:api.invalid,DNS:localhost")
    with Proxy() as proxy, ApiServer(greet, pair) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        monkeypatch.setenv("ALL_PROXY", f"socks5://me:{SECRET}@127.0.0.1:1")
        authorities = {"certificate-authority": str(authority.certificate)}
        named = authorities | {"server": f"https://api.invalid:{server.port}"}
        local = authorities | {"server": f"https://localhost:{server.port}"}
        assert ask(connect(named)) == 200
        assert len(proxy.tunnels) == 1
        assert ask(connect(local)) == 200
        assert len(proxy.tunnels) == 1
        monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,.invalid")
        assert "its name cannot be resolved" in unreachable(connect(named))
        assert ask(connect(named | {"proxy-url": f"http://{proxy.address}"})) == 200
        assert len(proxy.tunnels) == 2
