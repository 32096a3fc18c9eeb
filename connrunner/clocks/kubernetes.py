"""
A Kustomize base: a CronJob that ticks every minute, and a claim for its state.

The state folder needs a volume with real file locks that one pod mounts at a time (`ReadWriteOncePod`, block storage);
connrunner itself refuses NFS and the like. The workspace comes with the image, or git-sync clones it before each tick.
"""

from __future__ import annotations

from connrunner.clocks import GRACE

KUSTOMIZATION = """\
# kubectl apply -k .        Copy this folder or name it as a base, and change it by patches of your own.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - cronjob.yaml
  - state.yaml
labels:
  - pairs: {{app.kubernetes.io/name: {name}}}
images:
  - name: connrunner
    newName: {image}
    newTag: "{tag}"
"""

STATE = """\
# Everything connrunner remembers: back it up. A volume with real file locks, never NFS.
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}-state
spec:
  accessModes: [ReadWriteOncePod]
  resources:
    requests:
      storage: 10Gi
"""

CRONJOB = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
spec:
  schedule: "* * * * *"
  # A tick that drains its queue looks at the clock by itself; a second pod could not mount the state anyway.
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 120
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          # A pod that is evicted ends its runs with their grace first.
          terminationGracePeriodSeconds: {grace}
          automountServiceAccountToken: false
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            runAsGroup: 10001
            fsGroup: 10001
            # Once is enough: each change of an owner makes the caches of the state look like another's.
            fsGroupChangePolicy: OnRootMismatch
            seccompProfile: {{type: RuntimeDefault}}
{sync}          containers:
            - name: tick
              image: connrunner
              args: [tick, --workspace, {workspace}]
              env:
                - {{name: CONNRUNNER_STATE, value: /state/connrunner}}
              # The secrets that `env:` names in the workspace.
              envFrom:
                - secretRef: {{name: {name}-secrets, optional: true}}
              resources:
                requests: {{cpu: 100m, memory: 256Mi}}
                limits: {{memory: 2Gi}}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{drop: [ALL]}}
              volumeMounts:
                - {{name: state, mountPath: /state}}
                - {{name: tmp, mountPath: /tmp}}
{mount}          volumes:
            - name: state
              persistentVolumeClaim: {{claimName: {name}-state}}
            - name: tmp
              emptyDir: {{}}
{volume}"""

SYNC = """\
          initContainers:
            - name: git-sync
              image: registry.k8s.io/git-sync/git-sync:v4.4.0
              args:
                - --repo={repository}
                - --ref={ref}
                - --root=/git
                - --link=workspace
                - --one-time
                - --depth=1
              env:
                - {{name: HOME, value: /tmp}}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{drop: [ALL]}}
              volumeMounts:
                - {{name: git, mountPath: /git}}
                - {{name: tmp, mountPath: /tmp}}
"""

DOCKERFILE = """\
FROM python:3.13-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir "connrunner[all]=={version}"
{copy}USER 10001:10001
ENTRYPOINT ["connrunner"]
"""


def base(
    name: str, *, version: str, image: str, repository: str | None = None, ref: str = "main", folder: str = ""
) -> dict[str, str]:
    """Return the files of a base by their names.

    With *repository*, git-sync clones its *ref* before each tick, and the workspace is its *folder*; without, the
    image holds the workspace. *version* is that of the connrunner that the image installs.
    """
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""  # a registry may have a port
    synced = repository is not None
    workspace = "/git/workspace" + (f"/{folder.strip('/')}" if folder.strip("/") else "") if synced else "/workspace"
    return {
        "kustomization.yaml": KUSTOMIZATION.format(name=name, image=image.removesuffix(f":{tag}"), tag=tag or version),
        "cronjob.yaml": CRONJOB.format(
            name=name,
            grace=GRACE,
            workspace=workspace,
            sync=SYNC.format(repository=repository, ref=ref) if synced else "",
            mount="                - {name: git, mountPath: /git}\n" if synced else "",
            volume="            - name: git\n              emptyDir: {}\n" if synced else "",
        ),
        "state.yaml": STATE.format(name=name),
        "Dockerfile": DOCKERFILE.format(version=version, copy="" if synced else "COPY . /workspace\n"),
    }
