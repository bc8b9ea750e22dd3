#!/usr/bin/env bash
# Python's http.client, and so urllib, urllib3 and requests, take an answer whose connection ends within the
# header for a complete one: status 200, an empty body, no exception. One that ends within the body raises
# IncompleteRead. The header may even have been about to say how long the body is.
#
# So a server or proxy that dies at the wrong moment is an empty answer. Who gets a list of objects like that,
# and takes nothing for no objects, deletes everything. (There is no objection either to a body of no stated
# length, which HTTP/1.1 ends with the connection: whether it is complete cannot be known.)
#
# Seen with Python 3.11.7 and urllib3 2.8.0:
#     http.client, cut in the header: 200, b''
#     http.client, cut in the body: IncompleteRead
#     urllib3, cut in the header: 200, b''
#     urllib3, cut in the body: ProtocolError
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install urllib3==2.8.0

cat >ask.py <<'SCRIPT'
import http.client
import socket
import threading

import urllib3


def serve(listener, answer):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)


def of_http_client(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    response = connection.getresponse()
    return response.status, response.read()


def of_urllib3(port):
    response = urllib3.PoolManager().request("GET", f"http://127.0.0.1:{port}/", retries=False, timeout=30)
    return response.status, response.data


answers = {
    "cut in the header": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Len",
    "cut in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nhalf",
}
for library, ask in {"http.client": of_http_client, "urllib3": of_urllib3}.items():
    for where, answer in answers.items():
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        try:
            status, body = ask(listener.getsockname()[1])
            said = f"{status}, {body!r}"
        except Exception as error:
            said = type(error).__name__
        print(f"{library}, {where}: {said}")
SCRIPT

venv/bin/python ask.py | tee seen
cat >expected <<'EXPECTED'
http.client, cut in the header: 200, b''
http.client, cut in the body: IncompleteRead
urllib3, cut in the header: 200, b''
urllib3, cut in the body: ProtocolError
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
