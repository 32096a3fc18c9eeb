"""What a Kustomize base grants when runs are Jobs of their own: to the pod that ticks, and to those of runs."""

from __future__ import annotations

# The verbs are those of `doctor.engine_checks.RIGHTS`; tests compare them. No Secret can be read by either.
RIGHTS = """\
# The tick hands runs over and looks after them: it reads no Secret, and touches nothing but these.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {name}
rules:
  - {{apiGroups: [batch], resources: [jobs], verbs: [create, get, list, delete]}}
  - {{apiGroups: [""], resources: [pods], verbs: [get, list, patch, delete]}}
  - {{apiGroups: [""], resources: [pods/log], verbs: [get]}}
  - {{apiGroups: [""], resources: [events], verbs: [list]}}
  - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, list, delete]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {name}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects:
  - {{kind: ServiceAccount, name: {name}}}
---
# A run claims itself before it begins, by a Lease that nobody else made.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: connrunner-run
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: connrunner-run
rules:
  - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: connrunner-run
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: connrunner-run}}
subjects:
  - {{kind: ServiceAccount, name: connrunner-run}}
"""


def rights(name: str) -> str:
    """Return the accounts and roles of the base *name*."""
    return RIGHTS.format(name=name)
