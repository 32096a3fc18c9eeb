"""What serves the page beside the ticks: a service for systemd, a Deployment and a Service for Kubernetes."""

from __future__ import annotations

import re
import textwrap

PORT = 8080

# systemd.exec(5): it may read the system, and write the state folder; it needs no device and no rights.
UNIT = """\
[Unit]
Description=connrunner web for {workspace}
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
{user}ExecStart={command}
WorkingDirectory={folder}
{environment}UMask=0077
Restart=on-failure
RestartSec=5
TimeoutStopSec=15
LimitNOFILE=4096
MemoryMax=512M
TasksMax=64
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths=-{state}
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy={target}
"""

# The state is a volume that one node mounts: the page and the ticks go to where it is.
AFFINITY = """\
affinity:
  podAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{app.kubernetes.io/name: {name}}}
"""

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}-web
spec:
  replicas: 1
  # The old pod goes first: both could be on two nodes, and the volume is on one.
  strategy: {{type: Recreate}}
  selector:
    matchLabels: {{app.kubernetes.io/component: web}}
  template:
    metadata:
      labels: {{app.kubernetes.io/component: web}}
    spec:
      terminationGracePeriodSeconds: 15
      automountServiceAccountToken: false
{affinity}      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {{type: RuntimeDefault}}
{sync}      containers:
        - name: web
          image: connrunner
          # `web.tokens` or `web.proxy` in connrunner.yaml says who may see and act: without them it does not start.
          args: [web, --workspace, {workspace}, --listen, "0.0.0.0:{port}"]
          env:
            - {{name: CONNRUNNER_STATE, value: /state/connrunner}}
          envFrom:
            # The tokens, and no other secret.
            - secretRef: {{name: {name}-web-secrets, optional: true}}
          ports:
            - {{name: http, containerPort: {port}}}
          # By TCP: /healthz says whether ticks come, and the page is wanted most when they do not.
          readinessProbe:
            tcpSocket: {{port: http}}
          livenessProbe:
            tcpSocket: {{port: http}}
            periodSeconds: 30
          startupProbe:
            tcpSocket: {{port: http}}
            failureThreshold: 60
            periodSeconds: 5
          resources:
            requests: {{cpu: 50m, memory: 128Mi}}
            limits: {{memory: 512Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
          volumeMounts:
            - {{name: state, mountPath: /state}}
            - {{name: tmp, mountPath: /tmp}}
{mount}{sidecar}      volumes:
        - name: state
          persistentVolumeClaim: {{claimName: {name}-state}}
        - name: tmp
          emptyDir: {{}}
{volume}---
apiVersion: v1
kind: Service
metadata:
  name: {name}-web
spec:
  selector:
    app.kubernetes.io/name: {name}
    app.kubernetes.io/component: web
  ports:
    - {{name: http, port: 80, targetPort: http}}
"""


def affinity(name: str, *, indent: int) -> str:
    """Return what brings a pod to where the others of the base are, as the lines of its spec."""
    return textwrap.indent(AFFINITY.format(name=name), " " * indent)


def deployment(name: str, *, workspace: str, sync: str) -> str:
    """Return the Deployment and the Service of a base; *sync* are the init containers of its CronJob, empty without."""
    own = textwrap.indent(textwrap.dedent(sync), " " * 6)
    git = "{name: git, mountPath: /git}"
    return DEPLOYMENT.format(
        name=name,
        workspace=workspace,
        port=PORT,
        affinity=affinity(name, indent=6),
        sync=own,
        # The one that stays fetches what is new; the ticks fetch for themselves.
        sidecar=textwrap.indent(_as_sidecar(sync), " " * 8) if sync else "",
        mount=f"            - {git}\n" if sync else "",
        volume="        - name: git\n          emptyDir: {}\n" if sync else "",
    )


def _as_sidecar(sync: str) -> str:
    """Return the container of *sync*, which fetches once, as one that goes on."""
    container = textwrap.dedent(sync.partition("initContainers:\n")[2])
    return re.sub(r"(?m)^( *)- --one-time$", r"\1- --period=60s", container)
