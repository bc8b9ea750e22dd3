"""Namespaces: entering them, holding them, and their remains."""

import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kproxy.errors import BadInput, NamespaceBusy
from kproxy.kernel import netns
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run


def here() -> str:
    return os.readlink("/proc/thread-self/ns/net")


@pytest.fixture
def name() -> str:
    return f"kproxy-test-{os.getpid()}"


def test_only_the_thread_that_enters_is_inside() -> None:
    outside = here()
    seen_by_other: list[str] = []
    with Namespace.create() as namespace:
        with namespace.entered():
            inside = here()
            assert inside == f"net:[{namespace.inode}]" != outside
            assert run(["readlink", "/proc/self/ns/net"]).strip() == inside
        assert here() == outside
        worker = threading.Thread(target=lambda: seen_by_other.append(here()))
        with namespace.entered():
            started_inside = threading.Thread(target=lambda: seen_by_other.append(here()))
            started_inside.start()
            started_inside.join()
        worker.start()
        worker.join()
    assert seen_by_other == [inside, outside]


def test_blocks_nest_and_leave_also_by_an_error() -> None:
    outside = here()
    with Namespace.create() as one, Namespace.create() as two:
        with one.entered(), two.entered(), two.entered(), one.entered():
            assert here() == f"net:[{one.inode}]"
        with one.entered():
            with pytest.raises(ZeroDivisionError), two.entered():
                raise ZeroDivisionError
            assert here() == f"net:[{one.inode}]"
        assert two.run(here) == f"net:[{two.inode}]"
        assert here() == outside


def test_a_new_namespace_is_empty_and_foreign() -> None:
    with Namespace.create() as one, Namespace.create() as two:
        assert one.run(lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]
        assert len({one.inode, two.inode, os.stat("/proc/self/ns/net").st_ino}) == 3


def test_a_socket_stays_where_it_was_made() -> None:
    with Namespace.create() as namespace:
        with namespace.entered():
            run(["ip", "link", "set", "lo", "up"])
            server = socket.create_server(("127.0.0.1", 0))
        with server, namespace.entered():
            socket.create_connection(server.getsockname(), timeout=5).close()


def test_closing_twice_and_using_after() -> None:
    namespace = Namespace.create("left")
    namespace.close()
    namespace.close()
    with pytest.raises(ValueError, match="left is closed"), namespace.entered():
        pass


def test_forgetting_to_close_is_told() -> None:
    with pytest.warns(ResourceWarning, match="unclosed <Namespace forgotten net:"):
        _forget_one()


def _forget_one() -> None:
    Namespace.create("forgotten")
    gc.collect()


def test_publish_open_unpublish(name: str) -> None:
    with Namespace.create() as namespace:
        namespace.publish(name)
        assert name in netns.published_names()
        assert name in run(["ip", "netns", "list"])
        with Namespace.open(name) as opened:
            assert opened.inode == namespace.inode
        namespace.unpublish()
        assert name not in netns.published_names()
        namespace.publish(name)
    assert name not in netns.published_names()


def test_a_taken_name_tells_its_owner(name: str) -> None:
    with Namespace.create() as first, Namespace.create() as second:
        first.publish(name)
        with pytest.raises(
            NamespaceBusy, match=rf"{name} exists already.* {os.getpid()} "
        ) as caught:
            second.publish(name)
        assert caught.value.pid == os.getpid()
        assert name in netns.published_names()


def test_a_name_that_no_process_holds(name: str) -> None:
    with Namespace.create() as first, Namespace.create() as second:
        run(["ip", "netns", "add", name])
        try:
            with pytest.raises(NamespaceBusy, match="no process holds it") as caught:
                first.publish(name)
        finally:
            run(["ip", "netns", "delete", name])
        assert caught.value.remedy == f"if it is not needed any more: ip netns delete {name}"
        second.publish(name)


def test_a_name_that_cannot_be_given_is_not_left(name: str) -> None:
    namespace = Namespace.create()
    namespace.close()
    with pytest.raises(ValueError, match="is closed"):
        namespace.publish(name)
    assert name not in netns.published_names()


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "-a", "a b", "a\n", "x" * 64])
def test_names_that_cannot_be(bad: str) -> None:
    with Namespace.create() as namespace, pytest.raises(BadInput, match="cannot be the name"):
        namespace.publish(bad)


def test_opening_what_is_not_there(name: str) -> None:
    with pytest.raises(BadInput, match=f"no network namespace called '{name}'"):
        Namespace.open(name)


def test_opening_what_is_no_namespace(name: str) -> None:
    with Namespace.create() as namespace:
        namespace.publish(f"{name}-other")  # so that the folder exists
        path = netns.RUN_DIR / name
        path.touch()
        try:
            with pytest.raises(BadInput, match="is not a network namespace"):
                Namespace.open(name)
        finally:
            path.unlink()


UNPRIVILEGED = """
import os
from kproxy.kernel.netns import Namespace
from kproxy.errors import Unsupported
os.setgid(65534); os.setuid(65534)
try:
    Namespace.create()
except Unsupported as error:
    print(error, "|", error.remedy)
"""


def test_without_privilege() -> None:
    text = _python(UNPRIVILEGED)
    assert text.startswith(
        "cannot create a network namespace: Operation not permitted | run as root"
    )
    assert "CAP_NET_ADMIN and CAP_SYS_ADMIN" in text


NO_RETURN = """
import os
from kproxy.kernel import netns
namespace = netns.Namespace.create()
with namespace.entered():
    for number in range(3, 20):  # a bug somewhere closes the descriptor of the way back
        try:
            os.close(number)
        except OSError:
            pass
"""


def test_no_way_back_is_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_RETURN], capture_output=True, text=True, check=False
    )
    assert done.returncode == -6
    assert "cannot return to the original network namespace: Bad file descriptor" in done.stderr


def _python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_proc_sys_is_that_of_the_thread() -> None:
    with Namespace.create() as namespace, namespace.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        with Namespace.create() as other:
            assert other.run(Path("/proc/sys/net/ipv4/ip_forward").read_text) == "0\n"
