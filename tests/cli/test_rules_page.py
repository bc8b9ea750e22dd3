"""docs/rules.md shows what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.warm_kproxy import run_kproxy

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
BLOCKS = re.findall(r"^```console\n\$ (kproxy .*)\n((?:.*\n)*?)```$", PAGE.read_text(), re.M)
SHOWN = [(command, text) for command, text in BLOCKS if "--manifests" in command]


def test_the_page_shows_both_commands_in_all_modes() -> None:
    words = " ".join(command for command, _ in SHOWN).split()
    assert {"render", "rules", "ipvs", "nftables", "userspace", "flat", "--diff"} <= {*words}


@pytest.mark.parametrize(("command", "text"), SHOWN, ids=[command for command, _ in SHOWN])
def test_what_is_shown_is_printed(command: str, text: str) -> None:
    """A line of three dots stands for some that are left out."""
    program, *arguments = shlex.split(command)
    env = {"PATH": "", "COLUMNS": "100"}
    done = run_kproxy(arguments, env=env)
    assert (program, done.returncode) == ("kproxy", 0), done.stderr
    parts = text.split("...\n")
    assert done.stdout.startswith(parts[0])
    place = 0
    for part in parts:
        found = done.stdout.find(part, place)
        assert found >= 0, part
        place = found + len(part)
    assert text.endswith("...\n") or done.stdout == parts[0] or done.stdout.endswith(parts[-1])
