"""A server that stops before the handshake leaves no socket of its client open."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest

from kproxy.kubernetes.tls import Material, context
from kproxy.resident.kubeconfig import Access, tls_context
from tests.kubernetes.certificates import Authority


def of_a_kubeconfig(authority: Authority) -> ssl.SSLContext:
    return context(Material(authority=str(authority.certificate)))


def of_a_lab(authority: Authority) -> ssl.SSLContext:
    return tls_context(Access("", authority.certificate.read_text(), ""))


@pytest.mark.parametrize("made", [of_a_kubeconfig, of_a_lab])
def test_reset_before_the_handshake(
    made: Callable[[Authority], ssl.SSLContext], authority: Authority
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    plain = socket.create_connection(listener.getsockname())
    listener.close()  # resets what it has not accepted
    with pytest.raises(ConnectionResetError) as raised:
        made(authority).wrap_socket(plain, server_hostname="127.0.0.1")
    walked = [each.frame.f_locals.get("self") for each in raised.traceback]
    (left,) = {each for each in walked if isinstance(each, ssl.SSLSocket)}
    assert left.fileno() < 0
