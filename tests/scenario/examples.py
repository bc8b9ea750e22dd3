"""The scenarios of examples/, read once for all tests: that takes most of a second."""

from __future__ import annotations

from pathlib import Path

from kproxy.scenario.files import load, names

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
SCENARIOS = [load(EXAMPLES / name) for name in names(EXAMPLES)]
