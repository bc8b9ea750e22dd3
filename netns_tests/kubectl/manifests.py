"""The manifests that the tests of kubectl apply, by the names of their files."""

from __future__ import annotations

_POD = """
    metadata: {labels: {app: APP}}
    spec:
      containers:
      - {name: main, image: nginx, ports: [{containerPort: 80}]}
"""
WEB = f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:{_POD.replace("APP", "web")}
---
apiVersion: v1
kind: Service
metadata: {{name: web, labels: {{app: web}}}}
spec:
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 80}}]
"""
SETS = f"""apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  replicas: 2
  selector: {{matchLabels: {{app: db}}}}
  template:{_POD.replace("APP", "db")}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:{_POD.replace("APP", "agent")}
"""
TOKEN = """apiVersion: authentication.k8s.io/v1
kind: TokenReview
spec: {token: of-nobody}
"""
SLOW = WEB.replace("name: web", "name: slow").replace(
    "replicas: 2", "replicas: 2\n  minReadySeconds: 599"
)
STUCK = (
    WEB.replace("name: web", "name: stuck")
    .replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 2")
    .replace("containerPort: 80}]", "containerPort: 80}], readinessProbe: {tcpSocket: {port: 81}}")
)
SERVICES = """apiVersion: v1
kind: Service
metadata: {name: doors}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: pending}
spec:
  type: LoadBalancer
  loadBalancerClass: example.com/none
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: a.example}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: door}
spec:
  rules:
  - host: a.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {a: b}
"""
INVALID = """apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: Ship, ports: [{port: 99999}]}
"""
MISSPELT = """apiVersion: v1
kind: Service
metadata: {name: misspelt}
spec: {selektor: {a: b}, ports: [{port: 80}]}
"""
CUSTOM = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.example.com}
spec: {group: example.com, names: {kind: Ship, plural: ships}, scope: Namespaced, versions: []}
"""
JOB = """apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: nginx}]}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"""
KUSTOMIZATION = """namePrefix: my-
resources: [web.yaml]
"""
_SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME, labels: {part: folder}}\n"
FILES = {
    "web.yaml": WEB,
    "web3.yaml": WEB.replace("replicas: 2", "replicas: 3"),
    "token.yaml": TOKEN,
    "slow.yaml": SLOW,
    "stuck.yaml": STUCK,
    "sets.yaml": SETS,
    "services.yaml": SERVICES,
    "invalid.yaml": INVALID,
    "misspelt.yaml": MISSPELT,
    "custom.yaml": CUSTOM,
    "job.yaml": JOB,
    "kustomized/kustomization.yaml": KUSTOMIZATION,
    "kustomized/web.yaml": WEB,
    "folder/one.yaml": _SETTINGS.replace("NAME", "one"),
    "folder/two.yaml": _SETTINGS.replace("NAME", "two"),
}
