#!/usr/bin/env bash
# lightkube 1.0.1 takes a kubeconfig with `proxy-url` and sends its requests straight to the server, without
# a word. It also refuses a credential plug-in that speaks client.authentication.k8s.io/v1; with v1beta1 the
# same plug-in works. kubernetes 37.0.2 uses the proxy, and takes both versions.
#
# So a kubeconfig that is good for one client of the same language is not for the other: where only the proxy
# has a way to the API server, lightkube just times out, and nothing says that the proxy was not asked.
#
# Seen:
#     lightkube, proxy-url: asked the server itself
#     lightkube, plug-in v1beta1: asked the server itself, with the token of the plug-in
#     lightkube, plug-in v1: ConfigError: auth exec api version client.authentication.k8s.io/v1 not implemented
#     kubernetes, proxy-url: asked the proxy
#     kubernetes, plug-in v1beta1: asked the server itself, with the token of the plug-in
#     kubernetes, plug-in v1: asked the server itself, with the token of the plug-in
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for client in lightkube==1.0.1 kubernetes==37.0.2; do
    python3 -m venv "${client%%=*}"
    "${client%%=*}/bin/pip" --quiet --disable-pip-version-check install "$client"
done

cat >plug-in <<'SCRIPT'
#!/bin/sh
echo "{\"apiVersion\": \"client.authentication.k8s.io/$1\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"of-plug-in\"}}"
SCRIPT
chmod +x plug-in

cat >ask.py <<'SCRIPT'
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = []


def serve(name):
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((name, self.headers.get("Authorization")))
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
    return server.server_port


def nodes(library, path):
    if library == "lightkube":
        from lightkube import Client, KubeConfig
        from lightkube.resources.core_v1 import Node

        return list(Client(config=KubeConfig.from_file(path).get()).list(Node))
    from kubernetes import client, config

    config.load_kube_config(path)
    return client.CoreV1Api().list_node().items


library = sys.argv[1]
api, proxy = serve("the server itself"), serve("the proxy")
plug_in = {"command": os.path.abspath("plug-in"), "interactiveMode": "Never"}
cases = {"proxy-url": ({"proxy-url": f"http://127.0.0.1:{proxy}"}, {"token": "mine"})}
for version in ("v1beta1", "v1"):
    api_version = f"client.authentication.k8s.io/{version}"
    cases[f"plug-in {version}"] = ({}, {"exec": {**plug_in, "apiVersion": api_version, "args": [version]}})
for number, (case, (cluster, user)) in enumerate(cases.items()):
    path = f"{library}-{number}.json"
    with open(path, "w") as file:
        json.dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api}", **cluster}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            },
            file,
        )
    asked.clear()
    try:
        nodes(library, path)
        ((who, token),) = asked
        said = f"asked {who}" + (", with the token of the plug-in" if token == "Bearer of-plug-in" else "")
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(f"{library}, {case}: {said}")
SCRIPT

for library in lightkube kubernetes; do
    env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY "$library/bin/python" ask.py "$library"
done | tee seen
cat >expected <<'EXPECTED'
lightkube, proxy-url: asked the server itself
lightkube, plug-in v1beta1: asked the server itself, with the token of the plug-in
lightkube, plug-in v1: ConfigError: auth exec api version client.authentication.k8s.io/v1 not implemented
kubernetes, proxy-url: asked the proxy
kubernetes, plug-in v1beta1: asked the server itself, with the token of the plug-in
kubernetes, plug-in v1: asked the server itself, with the token of the plug-in
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
