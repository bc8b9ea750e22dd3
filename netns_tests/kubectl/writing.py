"""Commands of kubectl that write, and what comes of them."""

from __future__ import annotations

from netns_tests.kubectl.clients import Asked

_WEB = (
    Asked("apply -f web.yaml", "^deployment.apps/web created\nservice/web created$"),
    Asked("rollout status deployment/web", 'deployment "web" successfully rolled out'),
)
_NO_RESOURCE = "the server could not find the requested resource: this cluster serves no "

APPLY = (
    *_WEB,
    Asked("apply -f web.yaml", "^deployment.apps/web unchanged\nservice/web unchanged$"),
    Asked("diff -f web.yaml", r"\A\Z"),
    Asked("diff -f web3.yaml", r"^-  replicas: 2\n\+  replicas: 3$", status=1),
    Asked("apply -f web3.yaml --dry-run=client", r"^deployment.apps/web configured \(dry run\)$"),
    Asked(
        "apply -f web3.yaml --dry-run=server",
        r"^deployment.apps/web configured \(server dry run\)$",
    ),
    Asked("get deployment web -o jsonpath={.spec.replicas}", r"\A2\Z"),
    Asked("apply -f web3.yaml", "^deployment.apps/web configured$"),
    Asked("apply --server-side -f web.yaml", "^deployment.apps/web serverside-applied$"),
    Asked(
        "apply --server-side --field-manager other -f web3.yaml",
        r'^error: Apply failed with 1 conflict: conflict with "kubectl": \.spec\.replicas$',
        status=1,
    ),
    Asked(
        "apply --server-side --field-manager other --force-conflicts -f web3.yaml",
        "^deployment.apps/web serverside-applied$",
    ),
    Asked("apply -k kustomized", "^deployment.apps/my-web created$"),
    Asked("apply -f folder", "^configmap/one created\nconfigmap/two created$"),
    Asked("apply -f invalid.yaml", '^The Service "web" is invalid: ', status=1),
    Asked("apply -f misspelt.yaml", 'unknown field "(spec.)?selektor"', status=1),
    Asked("apply -f misspelt.yaml --validate=false", "^service/misspelt created$"),
    Asked("apply -f custom.yaml", "this cluster serves no custom resources", status=1),
    Asked("apply -f job.yaml", r"MethodNotAllowed\).*: this cluster serves no jobs: ", status=1),
    Asked("apply -f job.yaml", "this cluster serves no disruption budgets: no evict", status=1),
    # An older one asks for kinds that Kubernetes 1.25 has no more.
    Asked("apply --prune -l part=folder -f folder/one.yaml", "^configmap/two pruned$", since=25),
    Asked("apply -f folder", "^configmap/two (created|configured|unchanged)$"),
    Asked("apply -f nope.yaml", 'the path "nope.yaml" does not exist', status=1),
    Asked("replace -f web.yaml", "^deployment.apps/web replaced\nservice/web replaced$"),
    Asked("replace --force -f folder/one.yaml", "^configmap/one replaced$"),
    Asked("replace -f custom.yaml", r"^Error from server \(", status=1),
    Asked("delete -f folder", 'configmap "two" deleted'),
    Asked("delete -f folder", r'NotFound\).*configmaps "one" not found', status=1),
)
CREATE = (
    Asked("create -f web.yaml", "^service/web created$"),
    Asked("create -f web.yaml", r'AlreadyExists\).*services "web" already exists$', status=1),
    Asked(
        "create deployment api --image nginx --replicas 2 --port 80",
        "^deployment.apps/api created$",
    ),
    Asked(
        "create deployment api --image nginx", 'deployments.apps "api" already exists$', status=1
    ),
    Asked("create deployment try --image nginx --dry-run=server", r"created \(server dry run\)$"),
    Asked("create service clusterip inside --tcp 80:80", "^service/inside created$"),
    Asked("create service clusterip headless --clusterip None", "^service/headless created$"),
    Asked("create service nodeport doors --tcp 80:80", "^service/doors created$"),
    Asked("create service loadbalancer balanced --tcp 80:80", "^service/balanced created$"),
    Asked("create service externalname out --external-name a.example", "^service/out created$"),
    Asked("create configmap settings --from-literal a=b", "^configmap/settings created$"),
    Asked("create secret generic hidden --from-literal a=b", "^secret/hidden created$"),
    Asked("create serviceaccount robot", "^serviceaccount/robot created$"),
    Asked(
        "create ingress door --rule a.example/=web:80", "^ingress.networking.k8s.io/door created$"
    ),
    Asked("create namespace NAMESPACE-b", "^namespace/NAMESPACE-b created$"),
    Asked("create namespace a.b", "metadata.name: .* must not contain dots$", status=1),
    Asked("create secret tls t --cert web.yaml --key web.yaml", "^(error|Error)", status=1),
    Asked("create secret generic t --type kubernetes.io/tls", r"data\[tls.key\]: Req", status=1),
    Asked("create namespace Bad_Name", "metadata.name: Invalid value: .*RFC 1123", status=1),
    Asked("create role r --verb get --resource pods", _NO_RESOURCE + "roles of rbac", status=1),
    Asked("create job once --image nginx", "this cluster serves no jobs: the comm", status=1),
    Asked("create quota q", _NO_RESOURCE + "resourcequotas of v1", status=1),
    Asked("autoscale deployment api --max 3", "this cluster serves no autoscalers: ", status=1),
    Asked(
        "autoscale deployment api --max 3 --cpu 80%",
        "this cluster serves no autoscalers: nothing measures the load of pods",
        status=1,
        since=34,
    ),
    Asked("run one --image nginx --port 80", "^pod/one created$"),
    Asked("run one --image nginx", 'pods "one" already exists$', status=1),
    Asked("run two --image nginx --dry-run=client -o name", r"\Apod/two\n\Z"),
    Asked("expose deployment api --port 80", "^service/api exposed$"),
    Asked("expose pod one --port 80 --type NodePort", "^service/one exposed$"),
    Asked("expose deployment nope --port 80", 'deployments.apps "nope" not found', status=1),
    Asked("get svc one", r"^one +NodePort .* 80:3\d+/TCP "),
    Asked("wait --for condition=Ready pod/one --timeout 10s", "^pod/one condition met$"),
)
CHANGE = (
    *_WEB,
    Asked(
        "edit deployment web", "^deployment.apps/web edited$", editor="s/replicas: 2/replicas: 4/"
    ),
    Asked("edit deployment web", "^Edit cancelled, no changes made.$"),
    Asked("edit svc web", 'services "web" is invalid', editor="s/port: 80$/port: 99999/", status=1),
    Asked('patch svc web -p \'{"spec":{"sessionAffinity":"ClientIP"}}\'', "^service/web patched$"),
    Asked('patch svc web -p \'{"spec":{"sessionAffinity":"ClientIP"}}\'', r"\(no change\)$"),
    Asked('patch svc web --type merge -p \'{"spec":{"sessionAffinity":null}}\'', "patched$"),
    Asked(
        'patch svc web --type json -p \'[{"op":"replace","path":"/spec/ports/0/port","value":8}]\'',
        "^service/web patched$",
    ),
    Asked(
        'patch svc web --type json -p \'[{"op":"replace","path":"/spec/nope/0","value":1}]\'',
        "^The request is invalid",
        status=1,
    ),
    Asked(
        'patch svc web -p \'{"spec":{"type":"Ship"}}\'',
        'spec.type: Unsupported value: "Ship"',
        status=1,
    ),
    Asked("patch svc web -p words", "cannot unmarshal string into Go value of type map", status=1),
    Asked(
        'patch deployment web --subresource scale --type merge -p \'{"spec":{"replicas":2}}\'',
        "^scale.autoscaling/web patched$",
        since=24,
    ),
    Asked(
        "get deployment web --subresource scale",
        columns="NAME | DESIRED | AVAILABLE | AGE",
        since=24,
    ),
    Asked("set image deployment/web main=nginx:2", "^deployment.apps/web image updated$"),
    Asked(
        "set image deployment/web nope=nginx:2", 'unable to find container named "nope"', status=1
    ),
    Asked("set env deployment/web A=b", "^deployment.apps/web env updated$"),
    Asked("set env deployment/web --list", "^A=b$"),
    Asked("set resources deployment/web --limits cpu=100m,memory=64Mi", "requirements updated$"),
    Asked("set selector svc web app=other", "^service/web selector updated$"),
    Asked("get endpoints web", "^web +<none> "),
    Asked(
        "set serviceaccount deployment/web default", "^deployment.apps/web serviceaccount updated$"
    ),
    Asked("label svc web a=b", "^service/web labeled$"),
    Asked("label svc web a=c", "already has a value", status=1),
    Asked("label svc web a=c --overwrite", "^service/web labeled$"),
    Asked("label svc web a-", "^service/web (un)?labeled$"),
    Asked("label pods --all a=b", "^pod/web-"),
    Asked("annotate svc web a=b", "^service/web annotated$"),
)
ROLL = (
    *_WEB,
    Asked("scale deployment web --replicas 3", "^deployment.apps/web scaled$"),
    Asked(
        "scale deployment web --current-replicas 7 --replicas 1",
        "Expected replicas to be 7, was 3",
        status=1,
    ),
    Asked("scale deployment nope --replicas 1", 'deployments.apps "nope" not found', status=1),
    Asked("apply -f sets.yaml", "^statefulset.apps/db created$"),
    Asked("scale statefulset db --replicas 1", "^statefulset.apps/db scaled$"),
    Asked("scale rs -l app=web --replicas 3", "^replicaset.apps/web-.* scaled$"),
    Asked("scale daemonset agent --replicas 1", "could not find the requested resource", status=1),
    Asked("set image deployment/web main=nginx:2", "image updated$"),
    Asked("rollout status deployment/web", "successfully rolled out$"),
    Asked("apply -f slow.yaml", "^deployment.apps/slow created$"),
    Asked("get deployment slow", "^slow +2/2 +2 +0 "),
    Asked("apply -f stuck.yaml", "^deployment.apps/stuck created$"),
    Asked(
        "rollout status deployment/stuck",
        '^error: deployment "stuck" exceeded its progress deadline$',
        status=1,
    ),
    Asked("describe deployment stuck", "^ +Progressing +False +ProgressDeadlineExceeded$"),
    Asked("rollout history deployment/web", "^1 +<none>\n2 +<none>$"),
    Asked("rollout undo deployment/web", "^deployment.apps/web rolled back$"),
    Asked("get deployment web -o wide", " nginx +app=web$"),
    Asked("rollout history deployment/web", "^2 +<none>\n3 +<none>$"),
    Asked(
        "rollout undo deployment/web --to-revision 99",
        "unable to find specified revision 99",
        status=1,
    ),
    Asked("rollout restart deployment/web", "^deployment.apps/web restarted$"),
    Asked("rollout pause deployment/web", "^deployment.apps/web paused$"),
    Asked("rollout pause deployment/web", "is already paused$", status=1),
    Asked("describe deployment web", "^ +Progressing +Unknown +DeploymentPaused$"),
    Asked("rollout resume deployment/web", "^deployment.apps/web resumed$"),
    Asked("rollout status deployment/web", "successfully rolled out$"),
    Asked("set image daemonset/agent main=nginx:2", "image updated$"),
    Asked("rollout status daemonset/agent", "successfully rolled out$"),
    Asked("rollout history daemonset/agent", "^1 +<none>\n2 +<none>$"),
    Asked("rollout undo daemonset/agent", "^daemonset.apps/agent rolled back$"),
    Asked("rollout history statefulset/db --revision 1", "Image:\tnginx$"),
)
WAIT_AND_DELETE = (
    *_WEB,
    Asked("wait --for condition=Available deployment/web --timeout 10s", "condition met$"),
    Asked("wait --for condition=Ready pod -l app=web --timeout 10s", "^pod/web-.* condition met$"),
    Asked(
        "wait --for condition=Nope deployment/web --timeout 100ms", "timed out waiting", status=1
    ),
    Asked(
        "wait --for jsonpath={.status.phase}=Running pod -l app=web --timeout 10s",
        "condition met$",
        since=23,
    ),
    Asked("wait --for create deployment/web --timeout 10s", "condition met$", since=31),
    Asked("apply -f sets.yaml -f folder", "created$"),
    Asked("rollout status statefulset/db", "roll out complete"),
    Asked("delete pod db-0 --wait=false", '^pod "db-0" deleted'),
    Asked("delete pod -l app=web --now", '^pod "web-.*" deleted'),
    Asked("delete pod db-1 --force --grace-period 0", '^pod "db-1" force deleted'),
    Asked("delete deployment web --cascade=orphan", '^deployment.apps "web" deleted'),
    Asked("get rs -l app=web -o name", "^replicaset.apps/web-"),
    Asked("delete rs -l app=web --cascade=foreground", '^replicaset.apps "web-.*" deleted'),
    Asked("get rs,pods -l app=web", "^No resources found"),
    Asked("delete svc web", '^service "web" deleted'),
    Asked("delete svc web", r'NotFound\): services "web" not found$', status=1),
    Asked("delete svc web --ignore-not-found", r"\A\Z"),
    Asked("delete configmap one two", '^configmap "two" deleted'),
    Asked("delete all --all", '^statefulset.apps "db" deleted'),
    Asked("get all", "^No resources found in NAMESPACE namespace.$"),
    Asked("delete namespace default", "this namespace may not be deleted$", status=1),
    Asked("delete namespace NAMESPACE", 'namespace "NAMESPACE" deleted$'),
    Asked("get namespace NAMESPACE", 'namespaces "NAMESPACE" not found', status=1),
)
NODES = (
    *_WEB,
    Asked("cordon node-b", "^node/node-b cordoned$"),
    Asked("cordon node-b", "^node/node-b already cordoned$"),
    Asked("get node node-b", "^node-b +Ready,SchedulingDisabled "),
    Asked("apply -f sets.yaml", "created$"),
    Asked(
        "drain node-b --pod-selector app=agent", "cannot delete DaemonSet-managed Pods", status=1
    ),
    Asked(
        "drain node-b --pod-selector app=web --ignore-daemonsets",
        r"^pod/web-\d+ evicted\n(.*\n)*node/node-b (drained|evicted)$",
    ),
    Asked("get pods -l app=web --field-selector spec.nodeName=node-b", "^No resources found"),
    Asked("uncordon node-b", "^node/node-b uncordoned$"),
    Asked("taint node node-b a=b:NoSchedule", "^node/node-b tainted$"),
    Asked("taint node node-b a=b:NoSchedule", "already has .* taint", status=1),
    Asked("describe node node-b", "^Taints: +a=b:NoSchedule$"),
    Asked("taint node node-b a=b:NoSchedule-", "^node/node-b untainted$"),
    Asked("label node node-b node-role.kubernetes.io/worker=", "^node/node-b labeled$"),
    Asked("get node node-b", "^node-b +Ready +worker "),
    Asked("label node node-b node-role.kubernetes.io/worker-", "^node/node-b (un)?labeled$"),
)
PODS = (
    *_WEB,
    Asked("exec deploy/web -- hostname", "^web-"),
    Asked("exec deploy/web -- sh -c 'exit 3'", "command terminated with exit code 3$", status=3),
    Asked("exec deploy/web -- nope", '"nope": executable file not found', status=1),
    Asked("exec nope -- true", 'pods "nope" not found', status=1),
    Asked("logs deployment/web", r"\A(Found 2 pods.*\n)?\Z"),
    Asked("logs nope", 'pods "nope" not found', status=1),
    Asked("logs deployment/web -c nope", "container nope is not valid for pod web-", status=1),
    Asked(
        "logs deployment/web --previous", "previous terminated container .* not found$", status=1
    ),
    Asked("attach deployment/web", "runs no process to attach to", status=1),
    Asked("run one --image nginx", "created$"),
    Asked("wait --for condition=Ready pod/one --timeout 10s", "met$"),
    Asked("attach one", "runs no process to attach to", status=1),
    Asked(
        "run two --rm -i --restart Never --image busybox -- sh -c 'echo from $(hostname); exit 4'",
        "^from two$",
        status=4,
    ),
    Asked("run three --rm -i --restart Never --image busybox --command -- hostname", "^three$"),
    Asked("run four --rm -i --image busybox -- hostname", "^four$"),
    Asked(
        "run five -i --restart Never --image busybox -- false", r"terminated \(Error\)$", status=1
    ),
    Asked("get pod five", "^five +0/1 +Error +0 "),
    Asked("exec one -- mkdir /tmp/there", r"\A\Z"),
    Asked("cp web.yaml one:/tmp/there/web.yaml", r"\A\Z"),
    Asked("exec one -- cat /tmp/there/web.yaml", "^kind: Deployment$"),
    Asked("cp one:/tmp/there/web.yaml copied.yaml"),
    Asked("diff -f copied.yaml", r"\A\Z"),
    Asked(
        "debug one --image busybox", "ephemeral containers are disabled for this cluster", status=1
    ),
    Asked("top pods", "Metrics API not available", status=1),
    Asked("certificate approve x", 'have a resource type "certificatesigningrequests"', status=1),
)
