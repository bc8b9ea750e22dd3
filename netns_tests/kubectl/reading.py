"""Commands of kubectl that read, and what comes of them."""

from __future__ import annotations

from netns_tests.kubectl.clients import Asked

_PODS = "NAME | READY | STATUS | RESTARTS | AGE"
_SERVICES = "NAME | TYPE | CLUSTER-IP | EXTERNAL-IP | PORT(S) | AGE"
_NODES = "NAME | STATUS | ROLES | AGE | VERSION"
_DEPLOYMENTS = "NAME | READY | UP-TO-DATE | AVAILABLE | AGE"
_SETS = "NAME | DESIRED | CURRENT | READY | AGE"
_DAEMONS = "NAME | DESIRED | CURRENT | READY | UP-TO-DATE | AVAILABLE | NODE SELECTOR | AGE"
_CONTAINERS = "CONTAINERS | IMAGES"
_EVENTS = "LAST SEEN | TYPE | REASON | OBJECT | MESSAGE"
_PLACES = "IP | NODE | NOMINATED NODE | READINESS GATES"
_SYSTEMS = "INTERNAL-IP | EXTERNAL-IP | OS-IMAGE | KERNEL-VERSION | CONTAINER-RUNTIME"
_UP = (
    Asked("apply -f web.yaml -f sets.yaml -f services.yaml", "^service/web created$"),
    Asked("rollout status deployment/web", "successfully rolled out"),
    Asked("rollout status statefulset/db", "partitioned roll out complete: 2 new pods"),
    Asked("rollout status daemonset/agent", 'daemon set "agent" successfully rolled out'),
)

READ = (
    *_UP,
    Asked("get svc web", r"^web +ClusterIP +10\.96\.\S+ +<none> +80/TCP +\d+s$", columns=_SERVICES),
    Asked("get svc doors", r"NodePort .* <none> +80:3\d{4}/TCP,53:3\d{4}/UDP "),
    Asked("get svc balanced", r"LoadBalancer +10\.96\.\S+ +192\.168\.30\.\d+ +80:3\d{4}/TCP"),
    Asked("get svc pending", r"LoadBalancer +10\.96\.\S+ +<pending> +80:3\d{4}/TCP"),
    Asked("get svc elsewhere", "ExternalName +<none> +a.example +<none> "),
    Asked("get svc db", "ClusterIP +None +<none> +80/TCP "),
    Asked("get pods", r"^db-0 +1/1 +Running +0 +\d+s$", columns=_PODS),
    Asked(
        "get pods -o wide",
        r"10\.244\.\S+ +node-[ab] +<none> +<none>$",
        columns=f"{_PODS} | {_PLACES}",
    ),
    Asked("get pods -A", "^kube-system +coredns-1 ", columns=f"NAMESPACE | {_PODS}"),
    Asked("get pods -l app=db", r"\A.*\ndb-0 .*\ndb-1 .*\n\Z"),
    Asked("get pods -l 'app in (db,web),app!=web' -o name", r"\Apod/db-0\npod/db-1\n\Z"),
    Asked(
        "get pods -l 'app in (db'", r"BadRequest\).*unable to parse requirement: found", status=1
    ),
    Asked("get pods --field-selector spec.nodeName=node-a,status.phase=Running", columns=_PODS),
    Asked("get pods --field-selector no.such=x", "field label not supported: no.such", status=1),
    Asked("get svc --field-selector spec.clusterIP=None -o name", r"\Aservice/db\n\Z"),
    Asked("get pods -l app=db --sort-by .metadata.name", r"db-0 (.|\n)*db-1 ", columns=_PODS),
    Asked("get pods --chunk-size 1 -l app=db", "^db-1 ", columns=_PODS),
    Asked("get pods --show-labels -l app=db", "app=db,", columns=f"{_PODS} | LABELS"),
    Asked("get pods -L app -l app=db", " db$", columns=f"{_PODS} | APP"),
    Asked("get pod db-0 -o jsonpath={.status.phase}", r"\ARunning\Z"),
    Asked("get svc web -o custom-columns=A:.metadata.name,B:.spec.type", "^web +ClusterIP$"),
    Asked("get svc web -o go-template={{.spec.type}}", r"\AClusterIP\Z"),
    Asked("get svc web -o yaml", "^  internalTrafficPolicy: Cluster$"),
    Asked("get all", "^replicaset.apps/web-", columns=_PODS),
    Asked(
        "get deployments -o wide",
        "^web +2/2 +2 +2 ",
        columns=f"{_DEPLOYMENTS} | {_CONTAINERS} | SELECTOR",
    ),
    Asked("get rs", "^web-.* 2 +2 +2 ", columns=_SETS),
    Asked("get sts -o wide", "^db +2/2 ", columns=f"NAME | READY | AGE | {_CONTAINERS}"),
    Asked("get ds", "^agent +2 +2 +2 +2 +2 +<none> ", columns=_DAEMONS),
    Asked("get nodes", r"^node-a +Ready +<none> +\S+ +v1\.", columns=_NODES),
    Asked("get nodes -o wide", r"192\.168\.10\.11 +<none> ", columns=f"{_NODES} | {_SYSTEMS}"),
    Asked("get nodes -l kubernetes.io/os=linux -o name", r"\Anode/node-a\nnode/node-b\n\Z"),
    Asked("get namespaces", "^NAMESPACE +Active ", columns="NAME | STATUS | AGE"),
    Asked(
        "get endpointslices",
        r"^web-\S+ +IPv4 +80 +10\.244\.",
        columns="NAME | ADDRESSTYPE | PORTS | ENDPOINTS | AGE",
    ),
    Asked("get endpoints doors", r":53,.* \+ 1 more", columns="NAME | ENDPOINTS | AGE"),
    Asked("get endpoints web", "^Warning: v1 Endpoints is deprecated in v1.33"),
    Asked(
        "get ingress",
        "^door +<none> +a.example +80 ",
        columns="NAME | CLASS | HOSTS | ADDRESS | PORTS | AGE",
    ),
    Asked("get configmaps", "^settings +1 ", columns="NAME | DATA | AGE"),
    Asked("get secrets", "^hidden +Opaque +1 ", columns="NAME | TYPE | DATA | AGE"),
    Asked("get serviceaccounts", "^default +0 ", columns="NAME | SECRETS | AGE"),
    Asked("get servicecidrs", "^kubernetes +10.96.0.0/16", columns="NAME | CIDRS | AGE"),
    Asked("get ipaddresses", "services/NAMESPACE/web ", columns="NAME | PARENTREF | AGE"),
    Asked(
        "get controllerrevisions",
        "statefulset.apps/db +1 ",
        columns="NAME | CONTROLLER | REVISION | AGE",
    ),
    Asked("get events", "SuccessfulCreate +statefulset/db ", columns=_EVENTS),
    Asked(
        "get events --field-selector reason=Scheduled", "Successfully assigned NAMESPACE/agent-1 to"
    ),
    Asked(
        "events --for statefulset/db",
        "create Pod db-0 in StatefulSet db",
        columns=_EVENTS,
        since=26,
    ),
    Asked("get svc nope", r'^Error from server \(NotFound\): services "nope" not found$', status=1),
    Asked("get ships", 'the server doesn\'t have a resource type "ships"', status=1),
    Asked("get pods -l no=such", "^No resources found in NAMESPACE namespace.$"),
    Asked("describe svc doors", r"^NodePort: +http +3\d+/TCP$"),
    Asked("describe svc web", r"^Endpoints: +10\.244\.\S+:80,10\.244\.\S+:80$"),
    Asked("describe svc balanced", r"^LoadBalancer Ingress: +192\.168\.30\."),
    Asked("describe node node-a", r"^Lease:\n +HolderIdentity: +node-a$"),
    Asked("get leases -n kube-node-lease", "^node-b +node-b ", columns="NAME | HOLDER | AGE"),
    Asked("describe pod db-0", r"^Controlled By: +StatefulSet/db$(.|\n)* Scheduled .* default-sch"),
    Asked("describe pod -l app=web", "^ +Ready +True"),
    Asked("describe deployment web", r"^NewReplicaSet: +web-\S+ \(2/2 replicas created\)$"),
    Asked("describe deployment web", "^ +Progressing +True +NewReplicaSetAvailable$"),
    Asked(
        "describe deployment web", r"ScalingReplicaSet .* Scaled up replica set web-\S+ from 0 to 2"
    ),
    Asked("describe rs -l app=web", "^Controlled By: +Deployment/web$"),
    Asked("describe sts db", "^Pods Status: +2 Running / 0 Waiting"),
    Asked("describe ds agent", "^Desired Number of Nodes Scheduled: 2$"),
    Asked("describe node node-a", r"^  InternalIP: +192\.168\.10\.11$"),
    Asked("describe node node-a", "^  MemoryPressure +False (.|\n)*^  cpu: +[0-9]"),
    Asked("describe node node-a", "NAMESPACE +agent-1 "),
    Asked("describe namespace NAMESPACE", "^Status: +Active$"),
    Asked("describe sa default", "^Image pull secrets: +<none>$"),
    Asked("describe secret hidden", "^a: +1 bytes$"),
    Asked("describe configmap settings", "^a:\n----\nb$"),
    Asked("describe ingress door", r"/ +web:80 \(10\.244\."),
    Asked(
        "describe endpointslice -l kubernetes.io/service-name=web", "^AddressType: +IPv4$", since=21
    ),
    Asked("describe endpoints web", "^  NotReadyAddresses: +<none>$"),
    Asked("describe svc nope", 'services "nope" not found', status=1),
)
ABOUT = (
    Asked("version", r"Server Version: .*v1\.37\.\d"),
    Asked("cluster-info", "control plane.* is running at .*https://127.0.0.1:"),
    Asked("api-versions", "^discovery.k8s.io/v1$"),
    Asked("api-resources", "^services +svc +v1 +true +Service$"),
    Asked("api-resources --namespaced=false -o name", "^servicecidrs.networking.k8s.io$"),
    Asked("api-resources --api-group apps --verbs list -o name", r"\Acontrollerrevisions.apps\n"),
    Asked("explain service.spec", "sessionAffinity\t<string>"),
    Asked("explain deployment --recursive", "maxUnavailable\t<"),
    Asked("explain ship", 'the server doesn\'t have a resource type "ship"', status=1),
    Asked("auth can-i create services", "yes$"),
    Asked("auth can-i delete pods", "Warning: RBAC is not enforced by a lab: every token allows"),
    Asked("auth can-i --list", r"^\*\.\* +"),
    Asked("auth whoami", "kubernetes-admin", since=28),
    Asked("create -f token.yaml -o yaml", "^  error: invalid bearer token$"),
    Asked("get --raw /readyz", r"\Aok\Z"),
    Asked("get --raw /nope", "could not find the requested resource", status=1),
    Asked("config current-context", "kproxy"),
)
