"""Certificates for all tests of this folder, and a look at everything that they say."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kproxy.kubernetes.connection import Connection
from tests.kubernetes.asking import Connect
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import SECRET, TOKEN, document, write
from tests.kubernetes.warm_library import answer_of_fork

# They ask the library as kproxy does: in a process that is started for that.
_IN_PROCESSES_OF_ITS_OWN = ("test_kubeconfig.py", "test_service_account.py")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="session")
def server_pair(authority: Authority) -> Pair:
    return authority.issue("server")


@pytest.fixture(scope="session")
def client_pair(authority: Authority) -> Pair:
    return authority.issue("kproxy")


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Makes connections, each with a kubeconfig of the given cluster and user."""
    made: list[Connection] = []

    def connect(cluster: dict[str, Any], user: dict[str, Any] | None = None) -> Connection:
        made.append(Connection(write(tmp_path, document(cluster, user or {"token": TOKEN}))))
        return made[-1]

    yield connect
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def _nothing_secret_is_said(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Every secret of these tests has this word in it; no log record of any level may."""
    caplog.set_level(logging.DEBUG)
    yield
    printed = capfd.readouterr()
    assert SECRET not in caplog.text + printed.out + printed.err


@pytest.fixture(autouse=True)
def _no_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library would write keys into temporary files, which stay if it is killed."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr("tempfile.mkstemp", refuse)


@pytest.fixture(autouse=True)
def _no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _library_is_imported_once(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.path.name not in _IN_PROCESSES_OF_ITS_OWN:
        monkeypatch.setattr("kproxy.kubernetes.library._process", answer_of_fork)
