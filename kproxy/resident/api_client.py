"""A small client of a lab's API, for commands and for what writes objects by requests.

It speaks HTTP/1.1 over TLS on one connection, trusts only the authority of the lab's kubeconfig and
sends its token. What the server refuses is raised as `Refusal`, worded as by kubectl.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from kproxy.errors import KproxyError, Unreachable
from kproxy.resident.kubeconfig import Access, tls_context

_TIMEOUT_S = 60.0
_IDLE_S = 60.0  # then a new connection is made: the server closes idle ones after 90 s

Json = dict[str, Any]


class Refusal(KproxyError):
    """The API has refused a request. `status` is that of HTTP, `reason` Kubernetes' word for it."""

    def __init__(self, message: str, *, status: int, reason: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class ApiClient:
    """A connection to an API, for one thread."""

    def __init__(
        self,
        access: Access,
        on_warning: Callable[[str], object] = lambda _text: None,
        *,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """`on_warning` is called with each warning of the server."""
        self.access = access
        self._on_warning = on_warning
        place = urlsplit(access.url)
        self._connection = http.client.HTTPSConnection(
            place.hostname or "", place.port, timeout=timeout_s, context=tls_context(access)
        )
        self._used = time.monotonic()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """Return the answer to a request. Raises Refusal, Unreachable."""
        target = f"{path}?{urlencode(query)}" if query else path
        headers = {"Content-Type": content_type} if body is not None else {}
        data = None if body is None else json.dumps(body).encode()
        with self._answered():
            response = self._sent(method, target, accept, data, headers)
            text = response.read()
        values = _decoded(text)
        if response.status >= 400:
            raise refusal(response.status, values)
        return values

    def follow(self, path: str, *, query: Mapping[str, str], accept: str) -> Iterator[Json]:
        """Yield the events of a watch as they come, until the server ends it. Nothing else can be
        asked meanwhile. Raises Refusal, Unreachable.
        """
        with self._answered():
            response = self._sent("GET", f"{path}?{urlencode(query)}", accept, None, {})
            if response.status >= 400:
                raise refusal(response.status, _decoded(response.read()))
            if self._connection.sock:
                self._connection.sock.settimeout(None)  # there may be nothing to tell for hours
            for line in response:
                yield json.loads(line)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        if time.monotonic() - self._used > _IDLE_S:
            self._connection.close()
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the API at {self.access.url} does not answer: {error}") from None
        finally:
            self._used = time.monotonic()

    def _sent(
        self, method: str, target: str, accept: str, data: bytes | None, more: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send a request, tell what the answer warns of, and return it with its body unread."""
        headers = {
            "Accept": accept,
            "Authorization": f"Bearer {self.access.token}",
            "User-Agent": "kproxy",
            **more,
        }
        self._connection.request(method, target, data, headers)
        response = self._connection.getresponse()
        for warning in response.headers.get_all("Warning", []):
            self._on_warning(_warning_text(warning))
        return response

    def close(self) -> None:
        self._connection.close()


def refusal(status: int, values: Json) -> Refusal:
    """Return the error for a Status that the server has answered, in kubectl's words.

    Source: kubectl pkg/cmd/util/helpers.go (StandardErrorMessage, statusCausesToAggrError)
    """
    reason, message = str(values.get("reason", "")), str(values.get("message", ""))
    if status == 401:
        message = "You must be logged in to the server (Unauthorized)"
        return Refusal(f"error: {message}", status=status, reason=reason)
    details = values.get("details") or {}
    causes = details.get("causes") or []
    if reason == "Invalid" and causes:
        name = f'{details.get("kind", "")} "{details.get("name", "")}"'
        lines = [f"{each.get('field', '')}: {each.get('message', '')}" for each in causes]
        told = lines[0] if len(lines) == 1 else "\n" + "\n".join(f"* {each}" for each in lines)
        return Refusal(f"The {name} is invalid: {told}", status=status, reason=reason)
    told = f"Error from server ({reason}): {message}" if reason else f"Error from server: {message}"
    return Refusal(told, status=status, reason=reason)


def _decoded(text: bytes) -> Json:
    try:
        values = json.loads(text)
    except ValueError:
        return {"message": text.decode(errors="replace").strip()}
    return values if isinstance(values, dict) else {"message": str(values)}


def _warning_text(header: str) -> str:
    """Return the text of a header `299 - "text"`."""
    _, _, quoted = header.partition('"')
    return quoted.rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\")
