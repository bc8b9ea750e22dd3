#!/usr/bin/env bash
# The Watch of the Python client kubernetes 37.0.2 does not tell that a version has expired: after an ERROR
# event 410 in the stream it asks again, for the very version that the server has just called too old, and
# goes on with what comes. What happened in between is missing, and no exception says that a new list is due.
# The same for `send_initial_events`: each reconnect asks for them again, besides a version, so that every
# object would come once more as ADDED.
#
# lightkube 1.0.1 raises ApiError at the same stream. An ERROR event 500 is raised by both.
#
# Seen (asked: the parameters of each request that differ; a, b ...: the objects that came):
#     kubernetes, 410: a, b; asked: sendInitialEvents=true, then resourceVersion=5 sendInitialEvents=true
#     kubernetes, stream ends: a, b; asked: sendInitialEvents=true, then resourceVersion=5 sendInitialEvents=true
#     kubernetes, 500: a, ApiException; asked: sendInitialEvents=true
#     lightkube, 410: a, ApiError; asked: nothing
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for client in lightkube==1.0.1 kubernetes==37.0.2; do
    python3 -m venv "${client%%=*}"
    "${client%%=*}/bin/pip" --quiet --disable-pip-version-check install "$client"
done

cat >watch.py <<'SCRIPT'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

asked, streams = [], []


def event(kind, content):
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


def node(name, version):
    metadata = {"name": name, "resourceVersion": version}
    return {"kind": "Node", "apiVersion": "v1", "metadata": metadata}


def error(code, reason):
    what = {"status": "Failure", "code": code, "reason": reason, "message": "no longer so"}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **what}


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        names = ("resourceVersion", "sendInitialEvents")
        asked.append(" ".join(f"{name}={query[name][0]}" for name in names if name in query))
        body = streams.pop(0)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def names(library):
    if library == "lightkube":
        from lightkube import Client, KubeConfig
        from lightkube.resources.core_v1 import Node

        for _, found in Client(config=KubeConfig.from_file("config.json").get()).watch(Node):
            yield found.metadata.name
        return
    from kubernetes import client, config, watch

    config.load_kube_config("config.json")
    options = {"send_initial_events": True, "resource_version_match": "NotOlderThan"}
    for found in watch.Watch().stream(client.CoreV1Api().list_node, **options):
        yield found["object"].metadata.name


server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
threading.Thread(target=server.serve_forever, daemon=True).start()
with open("config.json", "w") as file:
    json.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": "mine"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        },
        file,
    )
library, *cases = sys.argv[1:]
first = event("ADDED", node("a", "5"))
ends = {
    "410": event("ERROR", error(410, "Expired")),
    "500": event("ERROR", error(500, "InternalError")),
    "stream ends": b"",
}
for case in cases:
    asked.clear()
    streams[:] = [first + ends[case], event("ADDED", node("b", "20"))]
    came = []
    try:
        for name in names(library):
            came.append(name)
            if name == "b":
                break
    except Exception as refusal:
        came.append(type(refusal).__name__)
    said = ", then ".join(asked) or "nothing"
    print(f"{library}, {case}: {', '.join(came)}; asked: {said}")
SCRIPT

{
    kubernetes/bin/python watch.py kubernetes 410 "stream ends" 500
    lightkube/bin/python watch.py lightkube 410
} | tee seen
cat >expected <<'EXPECTED'
kubernetes, 410: a, b; asked: sendInitialEvents=true, then resourceVersion=5 sendInitialEvents=true
kubernetes, stream ends: a, b; asked: sendInitialEvents=true, then resourceVersion=5 sendInitialEvents=true
kubernetes, 500: a, ApiException; asked: sendInitialEvents=true
lightkube, 410: a, ApiError; asked: nothing
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
