"""The lab's process builds with less of scapy what others build with all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_BUILD = """
from kproxy.probe.packets import Probe, build
from scapy.config import conf
from scapy.data import MANUFDB
for protocol in ("TCP", "UDP", "SCTP", "ICMP"):
    for ends in (("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")):
        port = 0 if protocol == "ICMP" else 80
        made = Probe(source=ends[0], source_port=20000, address=ends[1], port=port,
                     protocol=protocol, tag=8)
        print(build(made).hex())
print(bool(MANUFDB), bool(conf.route.routes), "scapy.libs.manuf" in sys.modules)
"""
_LEAN = "import sys; from kproxy.resident.lean_scapy import load_scapy; load_scapy()"
_AT_ONCE = (
    "import sys, threading; from kproxy.resident.lean_scapy import load_scapy\n"
    "threads = [threading.Thread(target=load_scapy) for _ in range(8)]\n"
    "for each in threads: each.start()\n"
    "load_scapy()"
)
_WIRESHARKS = Path("/usr/share/wireshark/manuf")  # which scapy prefers to its own list
_LATE = f"import scapy.data; {_LEAN}"


def built(begin: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", begin + _BUILD], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def usual() -> list[str]:
    return built("import sys")


def test_probes_are_the_same(usual: list[str]) -> None:
    *probes, said = built(_LEAN)
    assert len(probes) == 8
    assert probes == usual[:-1]
    assert said == f"{_WIRESHARKS.exists()} False False"


def test_what_is_loaded_already_stays_as_it_is(usual: list[str]) -> None:
    assert built(_LATE) == usual
    assert usual[-1].startswith("True ")


def test_threads_may_load_it_at_once(usual: list[str]) -> None:
    assert built(_AT_ONCE)[:-1] == usual[:-1]
