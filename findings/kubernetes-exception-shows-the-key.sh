#!/usr/bin/env bash
# The exception that the Python client kubernetes 37.0.2 raises for a kubeconfig with a missing field holds the
# whole entry of the user, with its token, password or private key: `load_kube_config` names each entry by its
# contents, and the message names the entry. It ends up in logs and bug reports.
#
# The same values given as a dictionary (`load_kube_config_from_dict`) are named by their place, and nothing is
# shown.
#
# Seen:
#     file: ConfigException, with the key
#     dictionary: ConfigException, without the key
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install kubernetes==37.0.2

cat >load.py <<'SCRIPT'
import json

from kubernetes import config
from kubernetes.config.config_exception import ConfigException

user = {"client-key-data": "the-private-key", "auth-provider": {"name": "oidc", "config": {"client-id": "me"}}}
document = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": user}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}
with open("config.json", "w") as file:
    json.dump(document, file)
for name, load in {
    "file": lambda: config.load_kube_config("config.json"),
    "dictionary": lambda: config.load_kube_config_from_dict(document),
}.items():
    try:
        load()
    except ConfigException as error:
        print(f"{name}: ConfigException, {'with' if 'the-private-key' in str(error) else 'without'} the key")
SCRIPT

venv/bin/python load.py | tee seen
cat >expected <<'EXPECTED'
file: ConfigException, with the key
dictionary: ConfigException, without the key
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
