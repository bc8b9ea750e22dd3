#!/usr/bin/env bash
# When the credentials of a kubeconfig cannot be had, the Python client kubernetes 37.0.2 sends the request
# without any: a credential plug-in that fails is a line in the log of the root logger, no exception, and then the
# server says 401 or, to system:anonymous, 403. (Issue #1409 of kubernetes-client/python, closed as stale.)
#
# Two others of the kind: a `tokenFile` is read once, so that its token is the old one after the file was rotated,
# and a newline at its end, which client-go cuts off, makes every request fail with a ValueError that has the
# token in its text. And `auth-provider: azure` is passed over without a word.
#
# Seen (asked: the Authorization that the server got):
#     plug-in that fails: asked None
#     auth-provider azure: asked None
#     token file: asked Bearer one
#     token file, rotated: asked Bearer one
#     token file with a newline: ValueError with the token
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install kubernetes==37.0.2

cat >ask.py <<'SCRIPT'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kubernetes import client, config

asked = []


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.headers.get("Authorization"))
        body = b'{"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
threading.Thread(target=server.serve_forever, daemon=True).start()


def load(user):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    with open("config.json", "w") as file:
        json.dump(document, file)
    config.load_kube_config("config.json")


def ask(case):
    asked.clear()
    try:
        client.CoreV1Api().list_node()
        print(f"{case}: asked {asked[0]}")
    except Exception as error:
        print(f"{case}: {type(error).__name__}{' with the token' if 'one' in str(error) else ''}")


def token_is(text):
    with open("token", "w") as file:
        file.write(text)


load({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"}})
ask("plug-in that fails")
load({"auth-provider": {"name": "azure", "config": {"access-token": "one"}}})
ask("auth-provider azure")
token_is("one")
load({"tokenFile": os.path.abspath("token")})
ask("token file")
token_is("two")
ask("token file, rotated")
token_is("one\n")
load({"tokenFile": os.path.abspath("token")})
ask("token file with a newline")
SCRIPT

env -u http_proxy -u HTTP_PROXY -u all_proxy -u ALL_PROXY venv/bin/python ask.py 2>log | tee seen
cat >expected <<'EXPECTED'
plug-in that fails: asked None
auth-provider azure: asked None
token file: asked Bearer one
token file, rotated: asked Bearer one
token file with a newline: ValueError with the token
EXPECTED
diff expected seen || { cat log && echo "this is no longer as described above" >&2 && exit 1; }
