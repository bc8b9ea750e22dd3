#!/usr/bin/env bash
# The DynamicClient of the Python client kubernetes 37.0.2 keeps what it has discovered in a file of the
# temporary folder, named by a digest of the server's URL, and that file never expires. (kubectl keeps its
# own for six hours.) A later program that finds another cluster at the same URL, such as a new one of kind
# or of a test on loopback, is told the version of the former one, does not ask for a group that it believes
# it knows, and addresses objects by the names of a definition that is gone: a 404, although `get` had found
# the kind. Only a kind of which the file knows nothing makes it ask again. A program that names a
# `cache_file` of its own is right.
#
# Seen (one line for each program, in this order, at the same URL):
#     old cluster: version v1.30.0, Widget is widgets, asked for /version /apis /apis/example.com/v1 /apis/example.com/v1/widgets, 200
#     new cluster: version v1.30.0, Widget is widgets, asked for /apis/example.com/v1/widgets, 404
#     new cluster, a file of its own: version v1.37.0, Widget is wares, asked for /version /apis /apis/example.com/v1 /apis/example.com/v1/wares, 200
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip --quiet --disable-pip-version-check install kubernetes==37.0.2
mkdir temporary

cat >server.py <<'SCRIPT'
"""A cluster with one kind of its own: `server.py VERSION PLURAL PORT COMMAND...`."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

version, plural, port, *command = sys.argv[1:]
group = {"groupVersion": "example.com/v1", "version": "v1"}
verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
kind = {"name": plural, "singularName": "", "namespaced": False, "kind": "Widget", "verbs": verbs}
answers = {
    "/version": {"major": "1", "minor": version.split(".")[1], "gitVersion": version},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "example.com", "versions": [group], "preferredVersion": group}],
    },
    "/apis/example.com/v1": {
        "kind": "APIResourceList",
        "groupVersion": "example.com/v1",
        "resources": [kind],
    },
    f"/apis/example.com/v1/{plural}": {
        "kind": "WidgetList",
        "apiVersion": "example.com/v1",
        "metadata": {"resourceVersion": "1"},
        "items": [],
    },
}
missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        with open("asked", "a") as file:
            print(path, file=file)
        body = json.dumps(answers.get(path, missing)).encode()
        self.send_response(200 if path in answers else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", int(port)), Answering)
Thread(target=server.serve_forever, daemon=True).start()
with open("port", "w") as file:
    file.write(str(server.server_port))
url = f"http://127.0.0.1:{server.server_port}"
sys.exit(subprocess.run(command, env={**os.environ, "SERVER": url}).returncode)
SCRIPT

cat >program.py <<'SCRIPT'
import os
import sys

from kubernetes import client, dynamic

name, *cache = sys.argv[1:]
configuration = client.Configuration(host=os.environ["SERVER"])
dynamic_client = dynamic.DynamicClient(client.ApiClient(configuration), *cache)
widgets = dynamic_client.resources.get(api_version="example.com/v1", kind="Widget")
try:
    widgets.get()
    code = 200
except dynamic.exceptions.NotFoundError as refused:
    code = refused.status
with open("asked") as file:
    paths = " ".join(file.read().split())
version = dynamic_client.version["kubernetes"]["gitVersion"]
print(f"{name}: version {version}, Widget is {widgets.name}, asked for {paths}, {code}")
SCRIPT

run() { rm -f asked; TMPDIR=$folder/temporary environment/bin/python server.py "$1" "$2" "$3" environment/bin/python program.py "${@:4}"; }
{
    run v1.30.0 widgets 0 "old cluster"
    run v1.37.0 wares "$(cat port)" "new cluster"
    run v1.37.0 wares "$(cat port)" "new cluster, a file of its own" own.json
} | tee seen
cat >expected <<'EXPECTED'
old cluster: version v1.30.0, Widget is widgets, asked for /version /apis /apis/example.com/v1 /apis/example.com/v1/widgets, 200
new cluster: version v1.30.0, Widget is widgets, asked for /apis/example.com/v1/widgets, 404
new cluster, a file of its own: version v1.37.0, Widget is wares, asked for /version /apis /apis/example.com/v1 /apis/example.com/v1/wares, 200
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
