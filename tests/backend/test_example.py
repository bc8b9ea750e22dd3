"""examples/backend is small: what an outsider has to write."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "backend"
MOST_LINES = 60


def test_a_backend_is_sixty_lines() -> None:
    files = [path for path in EXAMPLE.iterdir() if path.suffix in (".py", ".toml")]
    written = {path.name: path for path in files if not path.name.startswith("test_")}
    assert written.keys() == {"kproxy_minimal.py", "pyproject.toml"}
    assert sum(len(path.read_text().splitlines()) for path in written.values()) <= MOST_LINES


def test_it_needs_kproxy_backend_and_nothing_else_of_kproxy() -> None:
    lines = (EXAMPLE / "kproxy_minimal.py").read_text().splitlines()
    assert [line for line in lines if "import" in line] == [
        "import subprocess",
        "import kproxy.backend as kp",
    ]
