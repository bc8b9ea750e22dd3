"""The fixture `place` for `kproxy run`, as in netns_tests/run."""

from netns_tests.run.conftest import place

__all__ = ["place"]
