"""
A Kustomize base: a CronJob that ticks every minute, and a claim for its state.

The state folder needs a volume with real file locks that one pod mounts at a time (`ReadWriteOncePod`, block storage);
connrunner itself refuses NFS and the like. The workspace comes with the image, or git-sync clones it before each tick.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Literal

from connrunner.clocks import MARGIN, page_units, require_one_line, run_rights
from connrunner.core.model import GRACE
from connrunner.executors.kubernetes.manifest import GIT_SYNC

# The list of images for all kinds of machine; `docker buildx imagetools inspect python:3.13-slim` names the newest one.
PYTHON = "3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b"

KUSTOMIZATION = """\
# kubectl apply -k .        Copy this folder or name it as a base, and change it by patches of your own.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - cronjob.yaml
  - state.yaml
{page}{runs}labels:
  - pairs: {{app.kubernetes.io/name: {name}}}
    includeTemplates: true
images:
  - name: connrunner
    newName: {image}
    {tag}
"""

STATE = """\
# Everything connrunner remembers: back it up. A volume with real file locks, never NFS.
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}-state
spec:
  accessModes: [{access}]
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
{account}{affinity}          securityContext:
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

Part = Literal["page", "runs"]

NO_ACCOUNT = "          automountServiceAccountToken: false\n"

SYNC = """\
          initContainers:
            - name: git-sync
              image: {git_sync}
              args:
                - {repository}
                - {ref}
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
# By digest; `docker buildx imagetools inspect python:3.13-slim` names the newest one.
FROM python:{python}
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --only-binary :all: "connrunner[all]=={version}"
{copy}USER 10001:10001
ENTRYPOINT ["connrunner"]
"""


def base(
    name: str,
    *,
    version: str,
    image: str,
    repository: str | None = None,
    ref: str = "main",
    folder: str = "",
    grace: int = GRACE,
    parts: Collection[Part] = (),
) -> dict[str, str]:
    """Return the files of a base by their names.

    With *repository*, git-sync clones its *ref* before each tick, and the workspace is its *folder*; without, the
    image holds the workspace. *grace* is the longest of a run, in seconds. *version* is that of the connrunner that the
    image installs; *image* may have a tag or a digest. Of *parts*, `page` adds what serves the page; the claim then is
    one that all pods of a node can mount. `runs` adds what ticks need to have runs as Jobs of their own. ArgumentError
    when one of them has control characters.
    """
    with_page, with_runs = "page" in parts, "runs" in parts
    image_name, tag = _split_image(image, version)
    sync = (
        SYNC.format(git_sync=GIT_SYNC, repository=_argument(f"--repo={repository}"), ref=_argument(f"--ref={ref}"))
        if repository is not None
        else ""
    )
    synced = repository is not None
    workspace = "/git/workspace" + (f"/{folder.strip('/')}" if folder.strip("/") else "") if synced else "/workspace"
    return {
        "kustomization.yaml": KUSTOMIZATION.format(
            name=name,
            image=_quoted(image_name),
            tag=tag,
            page="  - web.yaml\n" if with_page else "",
            runs="  - runs.yaml\n" if with_runs else "",
        ),
        "cronjob.yaml": CRONJOB.format(
            name=name,
            grace=grace + MARGIN,
            workspace=_argument(workspace),
            account=f"          serviceAccountName: {name}\n" if with_runs else NO_ACCOUNT,
            affinity=page_units.affinity(name, indent=10) if with_page else "",
            sync=sync,
            mount="                - {name: git, mountPath: /git}\n" if synced else "",
            volume="            - name: git\n              emptyDir: {}\n" if synced else "",
        ),
        "state.yaml": STATE.format(name=name, access="ReadWriteOnce" if with_page else "ReadWriteOncePod"),
        **({"web.yaml": page_units.deployment(name, workspace=_argument(workspace), sync=sync)} if with_page else {}),
        **({"runs.yaml": run_rights.rights(name)} if with_runs else {}),
        "Dockerfile": DOCKERFILE.format(python=PYTHON, version=version, copy="" if synced else "COPY . /workspace\n"),
    }


def _split_image(image: str, version: str) -> tuple[str, str]:
    """Return the name of an *image*, and the line that says which one; without a tag it is that of *version*."""
    name, _, digest = image.partition("@")
    at = name.rfind(":")
    tag = name[at + 1 :] if at > name.rfind("/") else ""  # a registry may have a port
    name = name.removesuffix(f":{tag}") if tag else name
    return name, f"digest: {_quoted(digest)}" if digest else f"newTag: {_quoted(tag or version)}"


def _argument(word: str) -> str:
    """Return an argument of a container: Kubernetes replaces $(NAME), and takes $$ for one $."""
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    """Return *word* as a YAML text: a JSON one is one, as long as it has no control characters."""
    return json.dumps(require_one_line(word), ensure_ascii=False)
