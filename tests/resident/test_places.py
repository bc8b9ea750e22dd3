"""Places of labs: one process has each, and what is left of a dead lab can be taken over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kproxy.errors import BadInput, Unsupported
from kproxy.resident import places


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "state"
    monkeypatch.setattr(places, "state_root", lambda: found)
    return found


def test_a_place_is_claimed_once(root: Path) -> None:
    first = places.claim("shop")
    assert first
    assert places.is_living("shop")
    assert places.claim("shop") is None
    assert places.claim_dead("shop") is None
    first.close()
    assert not places.is_living("shop")
    assert places.names() == ["shop"]
    second = places.claim_dead("shop")
    assert second
    second.remove()
    assert not root.exists()


def test_the_place_of_another_is_not_removed(root: Path) -> None:
    first = places.claim("shop")
    assert first
    assert first.is_there()
    shutil.rmtree(root)
    assert not first.is_there()
    second = places.claim("shop")
    assert second
    assert not first.is_there()
    (second.path / "log").touch()
    first.remove()
    assert (second.path / "log").exists()
    second.remove()
    assert not root.exists()


def test_a_place_is_private(root: Path) -> None:
    claim = places.claim("shop")
    assert claim
    assert (root / "shop").stat().st_mode & 0o777 == 0o700
    places.write_private(claim.path / "token", "secret")
    assert (claim.path / "token").stat().st_mode & 0o777 == 0o600
    claim.empty()
    assert [each.name for each in claim.path.iterdir()] == ["log"]
    claim.remove()


def _link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to(path.with_name("elsewhere"))


def _notes(path: Path) -> None:
    path.mkdir(mode=0o700)
    (path / "notes").write_text("precious")


def _open_to_others(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


@pytest.mark.parametrize(
    "make", [_link, _notes, _open_to_others, Path.touch, lambda path: path.symlink_to("nowhere")]
)
def test_there_is_no_place_of_others(root: Path, make: Callable[[Path], object]) -> None:
    root.mkdir()
    make(root / "shop")
    before = sorted(root.rglob("*"))
    assert places.names() == []
    assert not places.is_living("shop")
    assert places.claim_dead("shop") is None
    with pytest.raises(Unsupported):
        places.claim("shop")
    assert sorted(root.rglob("*")) == before


def test_a_removal_that_was_interrupted_can_be_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is removed last: until then the place is known as a lab's."""
    claim = places.claim("shop")
    assert claim
    for name in ("log", "lab.json", "zeta"):
        (claim.path / name).touch()
    (claim.path / "folder").mkdir()
    known: list[bool] = []
    unlink = os.unlink

    def unlinked(path: Path) -> None:
        known.append(places.is_ours(claim.path))
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlinked)
    claim.remove()
    assert known == [True] * 3
    assert not root.exists()


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("precious"), os.mkfifo, Path.mkdir, _link]
)
def test_only_a_file_is_replaced(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Else a terminal or a device such as /dev/stdout would be."""
    (tmp_path / "precious").write_text("as it was")
    target = tmp_path / "target"
    make(target)
    before = [(each, each.lstat()) for each in sorted(tmp_path.iterdir())]
    with pytest.raises(Unsupported, match="no regular file"):
        places.write_private(target, "new")
    assert [(each, each.lstat()) for each in sorted(tmp_path.iterdir())] == before
    assert (tmp_path / "precious").read_text() == "as it was"
    places.write_private(tmp_path / "precious", "new")
    assert (tmp_path / "precious").read_text() == "new"


@pytest.mark.parametrize("name", ["", "..", "a/b", "Shop", "-a", "a" * 64, "labs", "a\n"])
def test_names_that_no_lab_can_have(name: str) -> None:
    with pytest.raises(BadInput):
        places.place_of(name)


ROOTS = [  # environment -> where labs of other users than root are
    ({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/its-home"}, "/run/user/7/kproxy"),
    ({"HOME": "/its-home"}, "/its-home/.local/state/kproxy"),
]


@pytest.mark.parametrize(("environment", "root"), ROOTS)
def test_the_root_of_other_users(
    environment: dict[str, str], root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert str(places.state_root(environment)) == root
