#!/usr/bin/env bash
# The Python client kubernetes 37.0.2 writes the private key of a kubeconfig (`client-key-data`) into a file in the
# folder for temporary files, for as long as the process runs, and removes it at exit. If the process is killed, by
# the kernel for want of memory or by `docker kill`, it stays; also at SIGTERM, unless the process handles that.
#
# The ssl module can load them from a file that has no name: os.memfd_create, and /proc/self/fd/N as its path.
#
# Seen:
#     while it runs: the key in a file of mode 600
#     after exit: no file
#     after SIGTERM: the key in a file of mode 600
#     after SIGKILL: the key in a file of mode 600
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install kubernetes==37.0.2

cat >run.py <<'SCRIPT'
import json
import sys
from base64 import b64encode

from kubernetes import config

key = b64encode(b"the-private-key").decode()
document = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"client-certificate-data": key, "client-key-data": key}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}
with open("config.json", "w") as file:
    json.dump(document, file)
config.load_kube_config("config.json")
print("loaded", flush=True)
sys.stdin.read()
SCRIPT

look() {
    local found
    found=$(grep -rl the-private-key temporary || true)
    echo "$1: $(if [ "$found" ]; then echo "the key in a file of mode $(stat -c %a "$found")"; else echo "no file"; fi)"
}

# run HOW: starts the program, ends it so, and looks
run() {
    rm -rf temporary && mkdir temporary
    coproc PROGRAM { TMPDIR=$folder/temporary exec venv/bin/python run.py; }
    local pid=$PROGRAM_PID input=${PROGRAM[1]} line
    read -r line <&"${PROGRAM[0]}"
    [ "$line" = loaded ]
    if [ "$1" = exit ]; then
        look "while it runs"
        exec {input}>&-
    else
        kill -s "$1" "$pid"
    fi
    wait "$pid" 2>/dev/null || true
    look "after $1"
}

{
    run exit
    run SIGTERM
    run SIGKILL
} | tee seen
cat >expected <<'EXPECTED'
while it runs: the key in a file of mode 600
after exit: no file
after SIGTERM: the key in a file of mode 600
after SIGKILL: the key in a file of mode 600
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
