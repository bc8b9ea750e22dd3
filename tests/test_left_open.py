"""Whoever leaves something open at the end of a folder of tests is told."""

from __future__ import annotations

import pytest

from tests import left_open

pytest_plugins = ["pytester"]

HOOK = "from tests.left_open import pytest_runtest_teardown"
KEEPS = {  # what -> a fixture that closes it in the end
    "thread a-lab's": """
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="a-lab's")
    thread.start()
    yield
    end.set()
    thread.join()
""",
    "net:[": """
    before = set(left_open._seen)
    left_open._seen.clear()  # this process is in the very namespace that it opens
    with open("/proc/self/ns/net"):
        yield
    left_open._seen.update(before)
""",
}


@pytest.mark.parametrize("what", KEEPS)
@pytest.mark.parametrize(("scope", "errors"), [("session", 1), ("package", 0)])
def test_a_fixture_may_keep_it_to_the_end_of_its_folder(
    what: str, scope: str, errors: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_open, "_PATIENCE_S", 0.0)
    fixture = f"@pytest.fixture(scope={scope!r})\ndef kept():{KEEPS[what]}"
    pytester.makeconftest(HOOK)
    for folder in ("one", "two"):
        place = pytester.mkpydir(folder)
        (place / f"test_{folder}.py").write_text(
            "def test_first(kept): pass\ndef test_last(): pass\n"
            if folder == "one"
            else "def test_another(): pass\n"
        )
        (place / "conftest.py").write_text(
            f"import pytest, threading\nfrom tests import left_open\n{fixture}"
        )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=errors)
    if errors:
        result.stdout.fnmatch_lines([f"left open by tests in *one: {what.replace('[', '[[]')}*"])
