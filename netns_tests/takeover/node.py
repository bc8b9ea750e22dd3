"""The node of the recordings with its pods and a client, and traffic that notices every gap.

           outside (192.168.10.99)
              |
node (192.168.10.10, 192.168.10.11) -- visitor (10.244.0.9)
  |                   |
pod (10.244.0.5)    pod (10.244.1.5)
"""

from __future__ import annotations

import secrets
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from kproxy.kernel import sysctl
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run

NODE = "192.168.10.10"
PODS = ("10.244.0.5", "10.244.1.5")
ASKED = {  # client -> what it asks: through Services of the case `nodeport-cluster`
    "visitor": ("10.96.0.10", 80),
    "outside": (NODE, 30080),
    "node": ("10.96.0.10", 80),
}
LOCALHOST = ("127.0.0.1", 30080)
TIMEOUT_S = 0.9  # before a second SYN: a packet that was lost shows


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while heard := self.request.recv(4096):
                self.request.sendall(heard)
        except ConnectionError:
            return


class _Server(socketserver.ThreadingTCPServer):
    """Ends its connections when it is closed: a client's last packet may have been lost."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int]) -> None:
        self._open: set[Any] = set()
        super().__init__(address, _Echo)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for each in [*self._open]:
            with suppress(OSError):  # it has ended meanwhile
                each.shutdown(socket.SHUT_RDWR)
        super().server_close()  # returns when all threads have ended


class RecordedNode:
    """`namespaces` are by name; `names` are those of `ip netns`."""

    def __init__(self, namespaces: dict[str, Namespace], names: dict[str, str]) -> None:
        self.namespaces = namespaces
        self.names = names

    def tool(self, *argv: str, stdin: str = "") -> str:
        """Run a program on the node."""
        return self.namespaces["node"].run(lambda: run(argv, stdin))

    def connect(self, client: str, address: tuple[str, int]) -> socket.socket:
        with self.namespaces[client].entered():
            return socket.create_connection(address, timeout=TIMEOUT_S)


@contextmanager
def recorded_node() -> Iterator[RecordedNode]:
    with ExitStack() as stack:
        namespaces, names = {}, {}
        suffix = secrets.token_hex(3)
        for name in ("node", "outside", "visitor", *PODS):
            namespace = stack.enter_context(Namespace.create(f"kproxy-{suffix}-{name}"))
            namespaces[name] = namespace
            names[name] = f"kproxy-{suffix}-{name}"
            namespace.publish(names[name])
        node = RecordedNode(namespaces, names)
        for namespace in namespaces.values():
            namespace.run(lambda: run(["ip", "link", "set", "lo", "up"]))
        namespaces["node"].run(lambda: sysctl.write("net/ipv4/ip_forward", 1))
        _attach(node, "outside", f"{NODE}/24", "192.168.10.99/24")
        run(["ip", "-n", names["node"], "route", "add", "default", "via", "192.168.10.99"])
        _attach(node, "visitor", "10.244.0.1/32", "10.244.0.9/32")
        for pod in PODS:
            _attach(node, pod, "10.244.0.1/32", f"{pod}/32")
            with namespaces[pod].entered():
                server = stack.enter_context(_Server((pod, 8080)))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield node


def _attach(node: RecordedNode, name: str, gateway: str, address: str) -> None:
    """Connect a namespace to the node by a link of its own, and route through the node."""
    link = f"to-{name[-8:]}"
    inside = ["ip", "-n", node.names[name]]
    here = ["ip", "-n", node.names["node"]]
    run(
        [
            *here,
            "link",
            "add",
            link,
            *("type", "veth", "peer", "name", "eth0", "netns"),
            node.names[name],
        ]
    )
    via = gateway.partition("/")[0]
    commands = [
        [*here, "address", "add", gateway, "dev", link],
        [*here, "link", "set", link, "up"],
        [*inside, "address", "add", address, "dev", "eth0"],
        [*inside, "link", "set", "eth0", "up"],
    ]
    if address.endswith("/32"):
        commands += [
            [*here, "route", "add", address, "dev", link],
            [*inside, "route", "add", via, "dev", "eth0"],
        ]
    commands.append([*inside, "route", "add", "default", "via", via])
    for command in commands:
        run(command)


class Traffic:
    """Connections that were open at the start, asked all the while, and new ones in turn.

    `failures` counts what went wrong, by step of the procedure, client and reason.
    """

    def __init__(self, node: RecordedNode, *, localhost: bool) -> None:
        self._node = node
        self._open = [(f"{who} -> {to}", node.connect(who, to)) for who, to in ASKED.items()]
        if localhost:
            self._open.append(("node -> localhost", node.connect("node", LOCALHOST)))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask_open, daemon=True)]
        for who in ASKED:
            self._threads.append(threading.Thread(target=self._make_new, args=(who,), daemon=True))
        self.step = "before"
        self.failures: Counter[str] = Counter()
        self.made: Counter[str] = Counter()  # new connections by step
        self.asked = 0

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for _name, each in self._open:
            each.close()

    def _ask_open(self) -> None:
        lost: set[str] = set()
        while not self._ended.is_set():
            for name, each in [*self._open]:
                if name in lost:
                    continue
                try:
                    each.sendall(b"open")
                    if each.recv(4, socket.MSG_WAITALL) != b"open":
                        raise ConnectionError("ended")
                    self.asked += 1
                except OSError as error:
                    lost.add(name)
                    self.failures[f"{self.step}: open {name}: {error}"] += 1
            time.sleep(0.005)

    def _make_new(self, who: str) -> None:
        with self._node.namespaces[who].entered():
            while not self._ended.is_set():
                step = self.step
                try:
                    with socket.create_connection(ASKED[who], timeout=TIMEOUT_S) as made:
                        made.sendall(b"new")
                        if made.recv(3, socket.MSG_WAITALL) != b"new":
                            raise ConnectionError("ended")
                    self.made[step] += 1
                except OSError as error:
                    self.failures[f"{step}: new {who} -> {ASKED[who]}: {error}"] += 1
                time.sleep(0.002)
