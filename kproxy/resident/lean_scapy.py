"""scapy in the process of a lab, which only builds probes with it: without the names of vendors, of
which it knows 40,000 by their MAC addresses, and without the routes of the machine. These take half
of the time to load it, and half of the memory. (A list that Wireshark has installed is read still.)
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

_DATA = "scapy.data"
_LISTS: Mapping[str, object] = {"scapy.libs.manuf": "", "scapy.libs.bluetoothids": {}}
_loading = threading.Lock()


def load_scapy() -> None:
    """Load scapy if it is not loaded yet. For processes in which nobody else uses it.

    May be called from any thread. Threads that import scapy meanwhile wait for it as for any
    import, and find the same.
    """
    with _loading:
        if _DATA in sys.modules:
            return
        import scapy.main  # this much takes 20 ms
        from scapy.config import conf

        conf.route_autoload = conf.route6_autoload = False
        scapy.main.SCAPY_CACHE_FOLDER = None  # it has the names as well
        for name, content in _LISTS.items():
            stub = ModuleType(name)
            stub.__dict__["DATA"] = content
            sys.modules[name] = stub
        try:
            import_module(_DATA)
        finally:
            for name in _LISTS:
                del sys.modules[name]
