"""Packages with a backend each, as other authors write and install them; most are broken."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from netns_tests.installed.environment import Environment

_SOUND = """
import sys

from kproxy.backend import Support, SyncReport


class Backend:
    def __init__(self, family, options):
        self.family = family

    def support(self):
        return Support(True)

    def prepare(self, settings, /):
        pass

    def sync(self, plan, delta, /):
        return SyncReport(full=delta.full, transactions=0, rules_written={})

    def intact(self):
        return True

    def read(self):
        return {}

    def cleanup(self):
        pass

    def close(self):
        pass
"""

BROKEN = {  # name -> its module
    "unimportable": "import a_module_that_nobody_has\n" + _SOUND,
    "readless": _SOUND.replace("    def read(self):\n        return {}\n", ""),
    "unreadable": _SOUND.replace("return {}\n", "raise ZeroDivisionError('no chain')\n"),
    "unsyncable": _SOUND.replace(
        "return SyncReport(full=delta.full, transactions=0, rules_written={})",
        "raise ZeroDivisionError('no rule')",
    ),
    "blind": _SOUND.replace("return True\n", "raise ZeroDivisionError('no eye')\n", 1),
    "unclean": _SOUND.replace(
        "    def cleanup(self):\n        pass", "    def cleanup(self):\n        sys.exit('bye')"
    ),
    "unmakeable": _SOUND.replace("        self.family = family\n", "        family.x\n"),
    "childish": _SOUND.replace("def __init__(self, family, options)", "def __init__(self)").replace(
        "self.family = family", "pass"
    ),
    "odd": _SOUND.replace("        return True\n", "        return 'yes'\n", 1),
}
FAULTS = {  # name -> the line that names it, when it is loaded or used
    "unimportable": "backend 'unimportable' (kproxy-unimportable 1.2) cannot be loaded: "
    "ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
    "readless": "backend 'readless' (kproxy-readless 1.2) has no method read()",
    "unreadable": "backend 'unreadable' (kproxy-unreadable 1.2): read() raised "
    "ZeroDivisionError: no chain",
    "unsyncable": "backend 'unsyncable' (kproxy-unsyncable 1.2): sync() raised "
    "ZeroDivisionError: no rule",
    "blind": "backend 'blind' (kproxy-blind 1.2): intact() raised ZeroDivisionError: no eye",
    "unclean": "backend 'unclean' (kproxy-unclean 1.2): cleanup() raised SystemExit: bye",
    "unmakeable": "backend 'unmakeable' (kproxy-unmakeable 1.2) cannot be made: AttributeError: "
    "'Family' object has no attribute 'x'",
    "childish": "backend 'childish' (kproxy-childish 1.2) has a backend that cannot be made from "
    "a family and options",
    "odd": "backend 'odd' (kproxy-odd 1.2): intact() returned str, not bool",
}


def install(environment: Environment, names: Iterable[str], folder: Path) -> None:
    """Install the packages of these backends; `folder` is for their wheels."""
    environment.install(*(_wheel(name, folder) for name in names))


def _wheel(name: str, folder: Path) -> Path:
    """Write a wheel with one module; building it as a project does takes a second longer."""
    info = f"kproxy_{name}-1.2.dist-info"
    files = {
        f"kproxy_{name}.py": BROKEN[name],
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: kproxy-{name}\nVersion: 1.2\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[kproxy.backends]\n{name} = kproxy_{name}:Backend\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    wheel = folder / f"kproxy_{name}-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel
