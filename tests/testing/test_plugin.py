"""The plugin in another project's pytest run."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]


def test_loading_the_plugin_imports_nothing_else_of_kproxy() -> None:
    script = "import kproxy.testing.plugin, sys; print(*sorted(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    loaded = {name for name in output.split() if name.startswith(("kproxy", "scapy", "msgspec"))}
    assert loaded == {"kproxy", "kproxy.testing", "kproxy.testing.plugin"}


def test_a_missing_capability_fails_and_names_the_remedy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kproxy.errors import Unsupported
        from kproxy.testing import ProbedLab

        def test_with_a_lab(kproxy_lab, monkeypatch):
            def refuse(self):
                raise Unsupported("no privilege here", remedy="use sudo")
            monkeypatch.setattr(ProbedLab, "__enter__", refuse)
            kproxy_lab()
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no lab can run here: no privilege here*", "*try: use sudo*"])


def test_a_failed_comparison_is_explained(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from kproxy.testing import refused
        from tests.testing.test_expectations import POD_A

        def test_answer():
            assert POD_A == refused("node-a")
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*outside asks 192.168.10.11:30080: expected refused at node-a*",
            "*hops: outside -> node-a -> pod-a*",
            "*because*",
        ]
    )


def test_pods_on_unknown_nodes_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kproxy.errors import BadInput

        def test_typo(kproxy_lab):
            with pytest.raises(BadInput, match="pod web: no node 'node-x'"):
                kproxy_lab(pods={"web": "node-x"})
        """
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_no_lab_is_kept_without_a_terminal(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_fails():\n    assert False")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--kproxy-keep", str(pytester.path)],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # without the terminal that we may have
    )
    assert run.returncode == 1
    assert "no lab is kept without a terminal: nobody could end the wait" in run.stdout


def test_no_lab_is_kept_by_workers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_fails():\n    assert False")
    result = pytester.runpytest_subprocess("--kproxy-keep", "-n1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no lab is kept in the processes of pytest-xdist: *-n 0"])
