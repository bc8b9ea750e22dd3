"""Several threads may read a kubeconfig at the same time, also the first ones of a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import sys, threading
from pathlib import Path
from kproxy.kubernetes.kubeconfig import read_kubeconfig

sys.setswitchinterval(1e-6)
threads, start = [], threading.Barrier(16)

def read():
    start.wait()
    read_kubeconfig(Path(sys.argv[1]))

for _ in range(16):
    threads.append(threading.Thread(target=read))
    threads[-1].start()
for thread in threads:
    thread.join()
"""


def test_the_first_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    values = {
        "clusters": [{"name": "lab", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "lab", "user": {"token": "secret"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **values}))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(path)], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
