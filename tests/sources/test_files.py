"""Files and folders as a watcher sees them, without waiting: each `poll` reads them once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.proxy.events import Objects, Rejected
from kproxy.sources.files import Manifests


def node(name: str) -> str:
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n"


class Look:
    """The result of one `poll`: names of the objects in force, or None; and the problems."""

    def __init__(self, manifests: Manifests) -> None:
        self.names: str | None = None
        self.problems: tuple[str, ...] = ()
        for event in manifests.poll():
            match event:
                case Objects(objects):
                    self.names = " ".join(sorted(each.metadata.name for each in objects))
                case Rejected(problems):
                    self.problems = problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(node("a"))
    (tmp_path / "b.json").write_text(
        '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "b"}}'
    )
    return tmp_path


def watching(*paths: Path) -> Manifests:
    manifests = Manifests([str(path) for path in paths])
    assert manifests.read().problems == ()
    return manifests


def test_reads_files_and_folders_but_no_strangers(folder: Path) -> None:
    (folder / "notes.txt").write_text("no manifest")
    (folder / ".hidden.yaml").write_text("no manifest")
    (folder / "deeper.yaml").mkdir()
    named = folder / "named"
    named.write_text(node("named"))
    decoded = Manifests([str(folder), str(named)]).read()
    assert decoded.problems == ()
    assert sorted(each.metadata.name for each in decoded.objects) == ["a", "b", "named"]


def test_a_file_named_beside_its_folder_is_read_once(folder: Path) -> None:
    decoded = Manifests([str(folder), str(folder / "a.yaml")]).read()
    assert decoded.problems == ()
    assert len(decoded.objects) == 2


def test_what_cannot_be_read_is_a_problem_each(folder: Path) -> None:
    (folder / "broken.yaml").symlink_to("nowhere")
    decoded = Manifests([str(folder), str(folder / "missing")]).read()
    assert [problem.split(": ")[-1] for problem in decoded.problems] == [
        "no such file or folder"
    ] * 2


def test_a_folder_without_manifests_gets_a_notice(tmp_path: Path) -> None:
    decoded = Manifests([str(tmp_path)]).read()
    assert decoded.problems == ()
    assert decoded.notices == (f"{tmp_path}: no manifest in this folder (.yaml, .yml, .json)",)


def test_no_news_without_a_change(folder: Path) -> None:
    manifests = watching(folder)
    assert manifests.poll() == []
    (folder / "notes.txt").write_text("no manifest")
    assert manifests.poll() == []


def test_edits_additions_and_removals(folder: Path) -> None:
    manifests = watching(folder)
    (folder / "a.yaml").write_text(node("edited"))
    assert Look(manifests).names == "b edited"
    (folder / "c.yml").write_text(node("c"))
    assert Look(manifests).names == "b c edited"
    (folder / "a.yaml").unlink()
    assert Look(manifests).names == "b c"
    assert Look(manifests).names is None


def test_an_invalid_version_is_reported_once(folder: Path) -> None:
    manifests = watching(folder)
    (folder / "a.yaml").write_text(node("not a name"))
    look = Look(manifests)
    assert look.names == "a b"
    assert [problem.split(": ")[0] for problem in look.problems] == [f"{folder}/a.yaml:3"]
    (folder / "c.yaml").write_text(node("c"))
    look = Look(manifests)
    assert (look.names, look.problems) == ("a b c", ())
    (folder / "a.yaml").write_text(node("still not a name"))
    assert len(Look(manifests).problems) == 1
    (folder / "a.yaml").write_text(node("again"))
    look = Look(manifests)
    assert (look.names, look.problems) == ("again b c", ())


def test_a_named_file_is_missed_and_a_folder_too(folder: Path) -> None:
    named = folder.parent / f"{folder.name}-named"
    named.write_text(node("named"))
    manifests = watching(folder, named)
    named.unlink()
    look = Look(manifests)
    assert look.names == "a b named"
    assert look.problems == (f"{named}: no such file or folder",)
    folder.rename(folder.parent / f"{folder.name}-elsewhere")
    look = Look(manifests)
    assert look.names == "a b named"
    assert len(look.problems) == 2
    named.write_text(node("returned"))
    look = Look(manifests)
    assert look.names == "a b returned"
    assert look.problems == (f"{folder}: no such file or folder",)


def test_an_object_may_move_from_one_file_to_another(folder: Path) -> None:
    manifests = watching(folder)
    (folder / "c.yaml").write_text(node("a"))
    (folder / "a.yaml").unlink()
    look = Look(manifests)
    assert (look.names, look.problems) == ("a b", ())
