"""Files and folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kproxy.api import decode_texts, load, manifest_files
from kproxy.api.typed_kinds import KINDS
from tests.api.objects import ALL, DEPLOYMENT, NODE, POD, SERVICE, edited


def write_nodes(folder: Path, **names: str) -> None:
    for stem, suffixes in names.items():
        for suffix in suffixes.split():
            name = edited(NODE, "metadata.name", f"{stem}-{suffix}")
            (folder / f"{stem}.{suffix}").write_text(json.dumps(name))


def names(*paths: Path | str) -> list[str]:
    decoded = load(paths)
    assert decoded.problems == ()
    return [each.metadata.name for each in decoded.objects]


def test_a_folder_is_read_in_order_of_name(tmp_path: Path) -> None:
    write_nodes(tmp_path, c="json", a="yml", b="yaml txt json~")
    assert names(tmp_path) == ["a-yml", "b-yaml", "c-json"]
    assert [file.name for file in manifest_files(tmp_path)] == ["a.yml", "b.yaml", "c.json"]


def test_a_named_file_may_be_called_anything(tmp_path: Path) -> None:
    write_nodes(tmp_path, a="txt")
    assert names(str(tmp_path / "a.txt")) == ["a-txt"]


def test_hidden_files_and_folders_inside_are_none(tmp_path: Path) -> None:
    """Editors and ConfigMap mounts keep theirs there."""
    (tmp_path / "..2026_11_21").mkdir()
    write_nodes(tmp_path / "..2026_11_21", a="yaml")
    (tmp_path / "..data").symlink_to("..2026_11_21")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / ".#a.yaml").symlink_to("nowhere")
    (tmp_path / "folder.yaml").mkdir()
    assert names(tmp_path) == ["a-yaml"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    write_nodes(tmp_path, a="yaml")
    assert names(tmp_path, tmp_path / "a.yaml", f"{tmp_path}/./a.yaml", tmp_path) == ["a-yaml"]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    write_nodes(tmp_path, a="yaml")
    (tmp_path / "b.yaml").symlink_to("nowhere")
    (tmp_path / "c.yaml").symlink_to("c.yaml")
    (tmp_path / "d.yaml").write_bytes(b"a: \xff")
    decoded = load([tmp_path, tmp_path / "missing", tmp_path / "a.yaml" / "b", "a\0b"])
    assert [line.removeprefix(f"{tmp_path}/") for line in decoded.problems] == [
        "b.yaml: no such file or folder",
        "c.yaml: Too many levels of symbolic links",
        "d.yaml:1: not UTF-8 text (byte 0xff)",
        "missing: no such file or folder",
        "a.yaml/b: Not a directory",
        "a\0b: embedded null byte",
    ]
    assert [each.metadata.name for each in decoded.objects] == ["a-yaml"]


def test_an_empty_folder_gets_a_notice(tmp_path: Path) -> None:
    decoded = load([tmp_path])
    assert (decoded.objects, decoded.problems) == ((), ())
    assert decoded.notices == (f"{tmp_path}: no *.yaml, *.yml, *.json in this folder",)


def test_all_files_are_checked_against_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(SERVICE))
    (tmp_path / "b.json").write_text(json.dumps(edited(SERVICE, "metadata.name", "b")))
    (tmp_path / "c.json").write_text(json.dumps(SERVICE))
    files = [tmp_path / f"{name}.json" for name in "bac"]
    # Who gets a port or an address that several ask for is a question for a control plane.
    told = f"metadata.name: Service shop/web is defined already, at {tmp_path}/a.json:1"
    assert load(files).problems == (f"{tmp_path}/c.json:1: Service shop/web: {told}",)


def test_texts_need_no_files() -> None:
    texts = {manifest["kind"]: json.dumps(manifest) for manifest in ALL}
    decoded = decode_texts({**texts, "other": "kind: Other"}, KINDS)
    assert decoded.problems == ()
    assert len(decoded.objects) == len(ALL)
    assert decoded.notices == ("other:1: kind Other is not used by a service proxy; skipped",)


def test_a_service_proxy_needs_no_pods() -> None:
    texts = {
        manifest["kind"]: json.dumps(edited(manifest, "spec", 1)) for manifest in (POD, DEPLOYMENT)
    }
    decoded = decode_texts(texts)
    assert (decoded.objects, decoded.problems) == ((), ())
    assert decoded.notices == (
        "Pod:1: kind Pod is not used by a service proxy; skipped",
        "Deployment:1: kind Deployment is not used by a service proxy; skipped",
    )


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_json_in_any_file(tmp_path: Path, suffix: str) -> None:
    write_nodes(tmp_path, a=suffix)
    assert names(tmp_path) == [f"a-{suffix}"]
