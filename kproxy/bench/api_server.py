"""A stand-in for an API server, for measurements: it serves collections, and changes them.

It speaks what a service proxy asks for: watch lists, lists in pages, watches, bookmarks, 410. It is
not fast, but what it sends is prepared before, so that it does not slow down whom it serves.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

BOOKMARK_EACH_S = 60.0


class Collection:
    """The objects of one collection by namespace and name, and the events so far."""

    def __init__(self, kind: str, api_version: str) -> None:
        self.kind = kind
        self.api_version = api_version
        self.objects: dict[tuple[str, str], bytes] = {}
        self.events: list[tuple[int, bytes]] = []
        self.forgotten = 0  # events up to this version are no longer known
        self.watchers: set[_Handler] = set()


class Served:
    """An API server on a loopback address, in threads of this process."""

    def __init__(
        self,
        *,
        token: str = "",
        certificate: tuple[Path, Path] | None = None,
        watch_lists: bool = True,
        port: int = 0,
    ) -> None:
        """`token`: without it requests are refused. `certificate`: of TLS, and its key.

        Without `watch_lists` they are refused, as by an API server that is older.
        """
        self.token = token
        self.watch_lists = watch_lists
        self.version = 1
        self.requests: list[str] = []
        self.posted: list[Json] = []
        self.changed = threading.Condition()  # protects all of it
        self.collections = {
            "/api/v1/nodes": Collection("Node", "v1"),
            "/api/v1/services": Collection("Service", "v1"),
            "/apis/discovery.k8s.io/v1/endpointslices": Collection(
                "EndpointSlice", "discovery.k8s.io/v1"
            ),
            "/apis/networking.k8s.io/v1/servicecidrs": Collection(
                "ServiceCIDR", "networking.k8s.io/v1"
            ),
        }
        self.closing = False
        handler = type("Handler", (_Handler,), {"served": self})
        self._server = _Server(("127.0.0.1", port), handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.tls = context
        self.port = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def watching(self) -> int:
        """Return the number of open watches."""
        with self.changed:
            return sum(len(each.watchers) for each in self.collections.values())

    def put(self, obj: Json) -> int:
        """Create or change an object; return its version. Its metadata is completed."""
        collection = self._collection(obj["kind"])
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        with self.changed:
            self.version += 1
            metadata["resourceVersion"] = str(self.version)
            kind = "MODIFIED" if key in collection.objects else "ADDED"
            collection.objects[key] = data = json.dumps(obj).encode()
            self._note(collection, kind, data)
            return self.version

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object that exists."""
        collection = self._collection(kind)
        with self.changed:
            self.version += 1
            gone = json.loads(collection.objects.pop((namespace, name)))
            gone["metadata"]["resourceVersion"] = str(self.version)
            self._note(collection, "DELETED", json.dumps(gone).encode())

    def compact(self) -> None:
        """Forget all events, and end all watches, as a restart does."""
        with self.changed:
            for collection in self.collections.values():
                collection.events.clear()
                collection.forgotten = self.version
            self.changed.notify_all()

    def forget_delivered(self) -> None:
        """Wait until all watches have sent all events, and forget these, to save memory."""
        with self.changed:
            for collection in self.collections.values():
                if not collection.events:
                    continue
                last = collection.events[-1][0]
                while any(each.sent < last for each in collection.watchers):
                    self.changed.wait()
                collection.events.clear()
                collection.forgotten = last

    def close(self) -> None:
        """Stop serving, and break off all connections."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._server.break_off()
        self._thread.join()

    def _collection(self, kind: str) -> Collection:
        return next(each for each in self.collections.values() if each.kind == kind)

    def _note(self, collection: Collection, kind: str, data: bytes) -> None:
        line = b'{"type":"%s","object":%s}\n' % (kind.encode(), data)
        collection.events.append((self.version, line))
        self.changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def __init__(self, *arguments: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*arguments)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in its thread, so that a slow TLS handshake holds up no other."""
        with suppress(OSError):  # a client that does not accept us, or is gone
            secured = self.tls.wrap_socket(request, server_side=True) if self.tls else request
            with secured:
                self.open.add(secured)
                try:
                    super().finish_request(secured, client_address)
                finally:
                    self.open.discard(secured)

    def break_off(self) -> None:
        """End all connections."""
        for each in [*self.open]:
            with suppress(OSError):
                # Not SSLSocket.shutdown, which changes the object that another thread uses.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients break off whenever they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served
    sent = 0  # the version up to which a watch has sent everything

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.served.requests.append(self.path)
        collection = self.served.collections.get(url.path)
        if self._is_stranger():
            self._refuse(401, "Unauthorized", "Unauthorized")
        elif collection is None:
            self._refuse(404, "NotFound", "the server could not find the requested resource")
        elif "watch" not in query:
            self._list(collection, query)
        elif "sendInitialEvents" in query and not self.served.watch_lists:
            self._refuse(422, "Invalid", "sendInitialEvents is forbidden for watch")
        else:
            self._watch(collection, query)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length))
        self.served.posted.append(body)
        self._answer(201, json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _is_stranger(self) -> bool:
        token = self.served.token
        return bool(token) and self.headers.get("Authorization") != f"Bearer {token}"

    def _list(self, collection: Collection, query: Mapping[str, str]) -> None:
        with self.served.changed:
            version = self.served.version
            items = [*_selected(collection, query)]
        first = int(query.get("continue", "0"))
        # As the real one: a list from its memory, resourceVersion=0, has no pages.
        size = len(items) if query.get("resourceVersion") == "0" else int(query.get("limit", 0))
        page = items[first : first + size] if size else items[first:]
        metadata = {"resourceVersion": str(version)}
        if first + len(page) < len(items):
            metadata["continue"] = str(first + len(page))
        head = json.dumps(
            {
                "kind": f"{collection.kind}List",
                "apiVersion": collection.api_version,
                "metadata": metadata,
            }
        ).encode()
        self._answer(200, head[:-1] + b',"items":[' + b",".join(page) + b"]}")

    def _watch(self, collection: Collection, query: Mapping[str, str]) -> None:
        served = self.served
        initial = "sendInitialEvents" in query
        with served.changed:
            self.sent = served.version if initial else int(query["resourceVersion"])
            known = self.sent >= collection.forgotten
            items = [*_selected(collection, query)] if initial else []
            collection.watchers.add(self)
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if not known:
                status = _status(410, "Expired", f"too old resource version: {self.sent}")
                self._chunk(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
                self._chunk(b"")
                return
            if initial:
                for item in items:
                    self._chunk(b'{"type":"ADDED","object":%s}\n' % item)
                self._chunk(_bookmark(collection, self.sent, initial_end=True))
            while lines := self._next_lines(collection):
                for line in lines:
                    if _is_selected(line, query):
                        self._chunk(line)
            self._chunk(b"")
        finally:
            with served.changed:
                collection.watchers.discard(self)
                served.changed.notify_all()

    def _next_lines(self, collection: Collection) -> list[bytes]:
        """Return the next events, or a bookmark after a minute; none at the end of the watch."""
        served = self.served
        end = time.monotonic() + BOOKMARK_EACH_S
        with served.changed:
            served.changed.notify_all()  # that all before was sent
            while not served.closing and self.sent >= collection.forgotten:
                events = collection.events
                if events and events[-1][0] > self.sent:
                    first = bisect_right(events, self.sent, key=itemgetter(0))
                    self.sent = events[-1][0]
                    return [line for _, line in events[first:]]
                if not served.changed.wait(end - time.monotonic()):
                    self.sent = served.version
                    return [_bookmark(collection, self.sent)]
        return []

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _refuse(self, code: int, reason: str, message: str) -> None:
        self._answer(code, json.dumps(_status(code, reason, message)).encode())

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def managed_fields(owner: str) -> list[Json]:
    """Return the managedFields of a slice as its controller causes them. `owner`: a UID."""
    return [
        {
            "manager": "kube-controller-manager",
            "operation": "Update",
            "apiVersion": "discovery.k8s.io/v1",
            "time": "2026-01-02T03:04:05Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:addressType": {},
                "f:endpoints": {},
                "f:metadata": {
                    "f:annotations": {
                        ".": {},
                        "f:endpoints.kubernetes.io/last-change-trigger-time": {},
                    },
                    "f:generateName": {},
                    "f:labels": {
                        ".": {},
                        "f:app": {},
                        "f:endpointslice.kubernetes.io/managed-by": {},
                        "f:kubernetes.io/service-name": {},
                    },
                    "f:ownerReferences": {".": {}, f'k:{{"uid":"{owner}"}}': {}},
                },
                "f:ports": {},
            },
        }
    ]


def _selected(collection: Collection, query: Mapping[str, str]) -> Iterator[bytes]:
    return (data for data in collection.objects.values() if _is_selected(data, query))


def _is_selected(data: bytes, query: Mapping[str, str]) -> bool:
    """Tell whether an object has the name that is asked for; other selectors select all."""
    name = query.get("fieldSelector", "").partition("metadata.name=")[2]
    return not name or b'"name": "%s"' % name.encode() in data


def _bookmark(collection: Collection, version: int, *, initial_end: bool = False) -> bytes:
    metadata: Json = {"resourceVersion": str(version)}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj = {"kind": collection.kind, "apiVersion": collection.api_version, "metadata": metadata}
    return json.dumps({"type": "BOOKMARK", "object": obj}).encode() + b"\n"


def _status(code: int, reason: str, message: str) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
