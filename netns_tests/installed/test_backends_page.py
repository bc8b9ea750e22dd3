"""docs/backends.md: its commands, in its order, print what the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from netns_tests.installed.environment import ROOT, Environment
from netns_tests.run.running import Place

PAGE = (ROOT / "docs" / "backends.md").read_text()
(MANIFEST,) = re.findall(r"^```yaml\n(.*?)^```\n", PAGE, re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"    \$ (.*)\n((?:    (?!\$).*\n)*)")
BREAKS = {  # the page's words before a command -> the change that breaks the module for it
    "With `return True` in `intact`:": ("return self.read() == self.written", "return True"),
    "Without its method `read`:": ("def read(self)", "def look(self)"),
}


class Author:
    """An author who follows the page, in a folder with the example and the manifest."""

    def __init__(self, environment: Environment, place: Place) -> None:
        self._environment = environment
        self._name = place.name
        self._folder = place.folder / "backend"
        shutil.copytree(ROOT / "examples" / "backend", self._folder)
        (self._folder / "web.yaml").write_text(MANIFEST)
        self._module = self._folder / "kproxy_minimal.py"
        self._sound = self._module.read_text()
        environment.install(self._folder)
        (self._installed,) = environment.folder.glob(f"lib/*/site-packages/{self._module.name}")

    def breaks(self, former: str, fresh: str) -> None:
        """Replace a text of the module, also where it is installed."""
        assert former in self._sound
        for each in (self._module, self._installed):
            each.write_text(self._sound.replace(former, fresh))

    def runs(self, command: str) -> str:
        """Return all that a command prints."""
        done = subprocess.run(
            command.replace("my-node", self._name).split(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
            cwd=self._folder,
            env=self._environment.variables,
        )
        return done.stdout.replace(self._name, "my-node")


@pytest.fixture
def author(environment: Environment, place: Place) -> Author:
    return Author(environment, place)


def paragraphs() -> Iterator[str]:
    """Yield the page in parts that end with a block of commands."""
    behind = 0
    for block in re.finditer(r"\n\n(?:    .*\n)+", PAGE):
        yield PAGE[behind : block.end()]
        behind = block.end()


def matches(expected: str, line: str) -> bool:
    """Tell whether a line is the one of the page, whose `...` stands for anything."""
    parts = map(re.escape, " ".join(expected.split()).split("..."))
    return re.fullmatch(".*".join(parts), " ".join(line.split())) is not None


def test_the_commands_print_what_the_page_says(author: Author) -> None:
    commands = 0
    for part in paragraphs():
        for text, (former, fresh) in BREAKS.items():
            if text in part:
                author.breaks(former, fresh)
        for command, expected in COMMAND.findall(part):
            if command == "ip netns add my-node":
                continue
            printed = author.runs(command).splitlines()
            for line in filter(None, expected.splitlines()):
                assert any(matches(line, each) for each in printed), (command, line, printed)
            commands += 1
    assert commands == 11
