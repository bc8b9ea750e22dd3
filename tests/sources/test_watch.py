"""The watch itself, with a real file system: how editors, mounts and users change files."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest

from kproxy.proxy.events import Event, Objects
from kproxy.sources.files import Manifests

PATIENCE_S = 30.0


def node(name: str) -> str:
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n"


def rewritten(folder: Path) -> None:
    (folder / "a.yaml").write_text(node("new"))


def replaced(folder: Path) -> None:
    """Write a file beside the old one and rename it, as most editors do."""
    (folder / ".a.yaml.tmp").write_text(node("new"))
    (folder / ".a.yaml.tmp").rename(folder / "a.yaml")


def removed_and_made_again(folder: Path) -> None:
    (folder / "a.yaml").unlink()
    (folder / "b.yaml").write_text(node("new"))


def folder_made_again(folder: Path) -> None:
    folder.rename(folder.with_name("old"))
    folder.mkdir()
    (folder / "a.yaml").write_text(node("new"))


def folder_emptied_by_force(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "other.yml").write_text(node("new"))


def mount_updated(folder: Path) -> None:
    """Update a ConfigMap's mount as the kubelet does: only the link `..data` changes."""
    (folder / "..second").mkdir()
    (folder / "..second" / "mounted.yaml").write_text(node("new"))
    (folder / "..data_tmp").symlink_to("..second")
    (folder / "..data_tmp").rename(folder / "..data")


CHANGES: list[tuple[Callable[[Path], None], str]] = [  # change -> the objects in force after it
    (rewritten, "mounted new"),
    (replaced, "mounted new"),
    (removed_and_made_again, "mounted new"),
    (folder_made_again, "new"),
    (folder_emptied_by_force, "new"),
    (mount_updated, "a new"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    (folder / "..first").mkdir(parents=True)
    (folder / "..first" / "mounted.yaml").write_text(node("mounted"))
    (folder / "..data").symlink_to("..first")
    (folder / "mounted.yaml").symlink_to("..data/mounted.yaml")
    (folder / "a.yaml").write_text(node("a"))
    return folder


@contextmanager
def watched(manifests: Manifests) -> Iterator[Queue[Event]]:
    events: Queue[Event] = Queue()
    stopped = threading.Event()
    thread = threading.Thread(target=manifests.watch, args=(events.put, stopped))
    thread.start()
    try:
        yield events
    finally:
        stopped.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def await_names(events: Queue[Event], wanted: str) -> None:
    """Wait for these names; versions in between may be seen as well."""
    while True:
        match events.get(timeout=PATIENCE_S):
            case Objects(objects):
                if " ".join(sorted(each.metadata.name for each in objects)) == wanted:
                    return


@pytest.mark.parametrize(("change", "after"), CHANGES, ids=[c[0].__name__ for c in CHANGES])
def test_a_change_is_seen(folder: Path, change: Callable[[Path], None], after: str) -> None:
    manifests = Manifests([str(folder)])
    assert manifests.read().problems == ()
    with watched(manifests) as events:
        change(folder)
        await_names(events, after)
        (folder / "last.yaml").write_text(node("last"))  # it still watches
        await_names(events, " ".join(sorted([*after.split(), "last"])))


def test_a_named_file_is_followed_through_renames(folder: Path) -> None:
    manifests = Manifests([str(folder / "a.yaml")])
    assert manifests.read().problems == ()
    with watched(manifests) as events:
        replaced(folder)
        await_names(events, "new")
        os.replace(folder / "mounted.yaml", folder / "a.yaml")
        await_names(events, "mounted")
