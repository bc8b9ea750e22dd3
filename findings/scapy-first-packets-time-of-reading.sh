#!/usr/bin/env bash
# The first packets that a scapy socket captures can bear the time at which they were read, not that at which they
# came. Linux notes the time of arrival only while some socket on the machine asks for it (SO_TIMESTAMPNS, which
# scapy's sockets for listening do), and begins with it in a worker of its own. A packet that comes before that
# worker has had a CPU gets its time when it is read. So of two captures the one that is read first seems to have
# been passed first. On an idle machine the worker takes microseconds, on a busy one milliseconds; here it has to
# wait for a program with a real-time priority on its CPU. Beside a capture that is open already all times are right.
#
# Linux 6.18, scapy 2.6.1. Needs root. The first line is another if some other program on the machine captures with
# times meanwhile, as tcpdump does.
#
# Seen:
#     read a second after it was sent, and stamped: when it was read
#     the same beside an older capture: when it was sent
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip --quiet --disable-pip-version-check install scapy==2.6.1

cat >capture.py <<'SCRIPT'
import os
import socket
import time

from scapy.all import conf


def stamped():
    capture = conf.L2listen(iface="lo")
    sent = time.time()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", ("127.0.0.1", 9))
    time.sleep(1)
    packet = capture.recv()
    capture.close()
    return "when it was read" if packet.time > sent + 0.9 else "when it was sent"


os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print("read a second after it was sent, and stamped:", stamped())
older = conf.L2listen(iface="lo")
time.sleep(1)
print("the same beside an older capture:", stamped())
SCRIPT

unshare --net bash -c 'ip link set lo up && environment/bin/python capture.py' | tee seen
cat >expected <<'EXPECTED'
read a second after it was sent, and stamped: when it was read
the same beside an older capture: when it was sent
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
