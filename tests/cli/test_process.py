"""The configuration file and the service manager, step by step; time is played."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kproxy.cli.process import ConfigurationFile, Life
from kproxy.cli.systemd import ServiceManager, take_manager
from kproxy.errors import ConfigurationChanged

TEXT = "kind: KubeProxyConfiguration\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a configuration file as a ConfigMap has it: two links lead to it."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "config.yaml").write_text(TEXT)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    return tmp_path / "config.yaml"


def _write_the_same(path: Path) -> None:
    path.write_text(TEXT)
    _later(path)


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write("mode: nftables\n")


def _swap_the_link(path: Path) -> None:
    folder = path.parent
    (folder / "2").mkdir()
    (folder / "2" / "config.yaml").write_text(TEXT)
    (folder / "..data_tmp").symlink_to("2")
    (folder / "..data_tmp").rename(folder / "..data")


def _put_in_place(path: Path) -> None:
    fresh = path.parent / "fresh"
    fresh.write_text(TEXT)
    fresh.rename(path)


def _later(path: Path) -> None:
    """Move the time of the last write, as the clock of a file system may not have moved."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))


@pytest.mark.parametrize("write", [_write_the_same, _append, _swap_the_link, _put_in_place])
def test_a_write_ends_the_process_when_it_is_over(
    path: Path, write: Callable[[Path], None]
) -> None:
    file = ConfigurationFile(str(path))
    file.check()
    write(path)
    file.check()
    _later(path)  # somebody still writes
    file.check()
    with pytest.raises(ConfigurationChanged) as ended:
        file.check()
    assert str(ended.value) == f"the configuration file {path} was written"


def _read(path: Path) -> None:
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns + 1, found.st_mtime_ns))


@pytest.mark.parametrize("touch", [_read, lambda path: path.chmod(0o600)])
def test_reading_and_modes_are_no_writes(path: Path, touch: Callable[[Path], None]) -> None:
    file = ConfigurationFile(str(path))
    touch(path)
    file.check()
    file.check()


def test_a_file_that_is_gone_ends_nothing_until_it_is_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = ConfigurationFile(str(path))
    path.unlink()
    for _ in range(3):
        file.check()
    assert [each.message for each in caplog.records] == [
        f"--config: {path} is gone; what was read of it stays"
    ]
    path.write_text(TEXT)
    file.check()
    with pytest.raises(ConfigurationChanged):
        file.check()


def test_without_a_file_nothing_is_checked() -> None:
    ConfigurationFile("").check()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """Return the socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        name = str(tmp_path / "notify")
        opened.bind(name if request.param == "path" else f"\0{name}")
        opened.setblocking(False)
        yield opened


def _environment(manager: socket.socket, **more: str) -> dict[str, str]:
    name = manager.getsockname()
    text = f"@{name[1:].decode()}" if isinstance(name, bytes) else name
    return {"NOTIFY_SOCKET": text, "HOME": "/", **more}


def _heard(manager: socket.socket) -> list[str]:
    heard = []
    while True:
        try:
            heard.append(manager.recv(4096).decode())
        except BlockingIOError:
            return heard


def test_the_manager_hears_what_becomes_of_the_process(manager: socket.socket) -> None:
    said = [""]
    environment = _environment(manager, WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
    with take_manager(environment) as told:
        assert environment == {"HOME": "/"}
        life = Life(told, ConfigurationFile(""), lambda: said[0])
        script = [  # time, status -> messages, when to come again
            (0.0, "", ["WATCHDOG=1"], 1.0),  # before the first sync
            (0.1, "", [], 1.0),
            (0.2, "synced", ["READY=1\nSTATUS=synced"], 1.0),
            (0.3, "failing", [], 1.0),  # once a second is enough
            (1.0, "failing", ["STATUS=failing"], 1.5),
            (1.5, "failing", ["WATCHDOG=1"], 2.0),
            (9.0, "failing", ["WATCHDOG=1"], 10.0),  # a long sync: nobody else feeds it
        ]
        for now, status, messages, again_at in script:
            said[0] = status
            assert (life.step(now), _heard(manager)) == (again_at, messages)


@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, 0),  # of the process that started us
        ({"WATCHDOG_USEC": "soon"}, 0),
    ],
)
def test_the_watchdog_is_this_process_s(variables: dict[str, str], watchdog_s: float) -> None:
    with take_manager({**variables}) as told:
        assert told.watchdog_s == watchdog_s


@pytest.mark.parametrize(
    "variables", [{"NOTIFY_SOCKET": "/nowhere/notify"}, {"WATCHDOG_USEC": "soon"}]
)
def test_nothing_is_logged_before_the_log_has_its_form(
    variables: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    told = take_manager({**variables})
    assert not caplog.records
    with told:
        assert next(iter(variables)) in caplog.text


def test_a_manager_that_is_gone_is_reported_once(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with take_manager(_environment(manager)) as told:
        manager.close()
        told.tell("READY=1")
        told.tell("READY=1")
    assert [each.message for each in caplog.records] == [
        "cannot tell the service manager ($NOTIFY_SOCKET): Connection refused"
    ]


def test_a_manager_that_does_not_read_holds_nothing_up(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with take_manager(_environment(manager)) as told:
        for _ in range(1000):
            told.tell("WATCHDOG=1")
    assert "Resource temporarily unavailable" in caplog.text


@pytest.mark.parametrize("address", ["vsock:2:1234", "/nowhere/notify"])
def test_an_address_that_cannot_be_used_is_named(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ServiceManager(address) as told:
        told.tell("READY=1")
    assert len(caplog.records) == 1
    assert "$NOTIFY_SOCKET" in caplog.text
