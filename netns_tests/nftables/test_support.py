"""The check for support of nftables mode, on a machine that has it and without some part."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kproxy_nftables import NftablesOptions
from kproxy_nftables.backend import NftablesBackend

from kproxy.address import Family
from kproxy.backend import Support
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.process import run

ASK = """
from kproxy_nftables.backend import NftablesBackend
from kproxy_nftables import NftablesOptions
from kproxy.address import Family
for family in Family:
    support = NftablesBackend(family, NftablesOptions()).support()
    print(support.ok, support.missing, support.remedy, sep="|")
"""
OLD = "install nftables 1.0.1 or newer"


@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_asking_changes_nothing(family: Family) -> None:
    with Namespace.create() as namespace, namespace.entered(), Session() as session:
        generation = session.generation()
        assert NftablesBackend(family, NftablesOptions()).support() == Support(ok=True)
        assert session.generation() == generation
        assert run(["nft", "list", "ruleset"]) == ""


def answers(*before: str) -> list[str]:
    """Return the answers of a process in a namespace of its own, for both families."""
    with Namespace.create() as namespace, namespace.entered():
        return run([*before, sys.executable, "-c", ASK]).splitlines()


VERSIONS = [  # the output of nft --version, the answer
    ("nftables v1.0.1 (Fearless Fosdick #3)", "True||"),
    ("nftables v1.1 (Commodore)", "True||"),
    ("nftables v2.0.0", "True||"),
    ("nftables v1.0.0 (Fearless Fosdick #2)", f"False|nft is 1.0.0|{OLD}"),
    ("nftables v0.9.8 (E.D.S.)", f"False|nft is 0.9.8|{OLD}"),
    ("hello", f"False|nft --version printed no version: 'hello\\n'|{OLD}"),
]


@pytest.mark.parametrize(("says", "answer"), VERSIONS)
def test_versions_of_nft(
    says: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft = tmp_path / "nft"
    nft.write_text(f"#!/bin/sh\necho '{says}'\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert answers() == [answer, answer]


def test_an_nft_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nft fails, for instance because a library is missing: the kernel is not blamed."""
    nft = tmp_path / "nft"
    nft.write_text("#!/bin/sh\nexit 127\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    answer = f"False|nft --version: exit status 127|{OLD}"
    assert answers() == [answer, answer]


def test_without_nft() -> None:
    """Hide nft in a mount namespace, since it is not only searched for in PATH."""
    hide = 'mount --bind /dev/null /usr/sbin/nft; exec "$@"'
    answer = "False|nft: not executable|apt-get install nftables"
    assert answers("unshare", "--mount", "sh", "-ec", hide, "sh") == [answer, answer]


def test_without_privilege() -> None:
    answer = (
        "False|begin transaction: Operation not permitted|run as root; in a container with"
        " --privileged, or with the capability CAP_NET_ADMIN"
    )
    assert answers("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin") == [
        answer,
        answer,
    ]
