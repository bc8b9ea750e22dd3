"""TLS sockets of clients, which leave nothing open if the server breaks off."""

from __future__ import annotations

import ssl


class TlsSocket(ssl.SSLSocket):
    """The class of sockets for a context of clients.

    A server that stops may reset a connection that it has never accepted. `SSLContext.wrap_socket`
    finds that when it reads before the handshake, raises, and leaves the descriptor open.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ConnectionResetError:
            self.close()
            raise
