"""The root for settings of namespaces that nobody has looked into yet."""

import os
import subprocess
import sys
from pathlib import Path

from kproxy.kernel import sysctl
from kproxy.kernel.netns import Namespace

_SETTING = "net/ipv4/ip_forward"
_WITHOUT_PRIVILEGE = """
import os
from kproxy.kernel import sysctl
os.setuid(65534)
with sysctl.own_root() as root:
    print(root, sysctl.write("net/ipv4/ip_forward", sysctl.read("net/ipv4/ip_forward"), root))
"""


def test_it_has_the_settings_of_the_namespace_of_the_thread_and_leaves_nothing() -> None:
    mounts, descriptors = _mounts(), _descriptors()
    with Namespace.create() as left, Namespace.create() as right:
        with sysctl.own_root() as root:
            assert root != "/proc/sys/"
            assert _mounts() == mounts
            with left.entered():
                assert sysctl.write(_SETTING, 1, root)
                assert not sysctl.write(_SETTING, 1, root)
            with right.entered():
                assert not sysctl.write(_SETTING, 0, root)
        assert (left.run(_forwards), right.run(_forwards)) == ("1", "0")
    assert _descriptors() == descriptors


def test_without_privilege_it_is_the_usual_one() -> None:
    asked = [sys.executable, "-c", _WITHOUT_PRIVILEGE]
    answer = subprocess.run(asked, check=True, capture_output=True, text=True)
    assert answer.stdout == "/proc/sys/ False\n"


def _forwards() -> str:
    return sysctl.read(_SETTING)


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
