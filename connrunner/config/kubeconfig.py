"""A kubeconfig: where Kubernetes is, and who we are there.

Of the ways to sign in, those are known that need no other program: a token, a file with one, a certificate. ValueError
says what else it asks for.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connrunner.config.documents import document


def read_kubeconfig(path: Path, *, context: str | None = None) -> dict[str, Any]:
    """Return `server`, `namespace`, `authority` (PEM), `token` or `token_file`, and `certificate` (PEM) of *context*.

    Without one, the current one. OSError when the file cannot be read, ValueError, for people, when it does not say it.
    """
    read = document.parse(path.read_bytes(), str(path))
    if read.problems or not isinstance(read.data, dict):
        raise ValueError(str(read.problems[0]) if read.problems else f"{path} is no kubeconfig")
    name = context or read.data.get("current-context")
    if not name:
        raise ValueError(f"{path} has no current-context; name one as `context`")
    chosen = _named(read.data, "contexts", "context", name, path)
    cluster = _named(read.data, "clusters", "cluster", chosen.get("cluster"), path)
    user = _named(read.data, "users", "user", chosen.get("user"), path) if chosen.get("user") else {}
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError(f"{path}: insecure-skip-tls-verify is not obeyed; give the cluster's certificate-authority")
    for key in ("exec", "auth-provider"):
        if key in user:
            hint = "run connrunner in the cluster, or make a kubeconfig with a service account's token"
            raise ValueError(f"{path}: `{key}` of user {chosen.get('user')} starts another program to sign in; {hint}")
    found: dict[str, Any] = {"server": cluster.get("server") or ""}
    if chosen.get("namespace"):
        found["namespace"] = chosen["namespace"]
    if authority := _pem(cluster, "certificate-authority", path):
        found["authority"] = authority
    if user.get("token"):
        found["token"] = user["token"]
    elif user.get("tokenFile"):
        found["token_file"] = path.parent / user["tokenFile"]
    if certificate := _pem(user, "client-certificate", path):
        found["certificate"] = certificate + "\n" + _pem(user, "client-key", path)
    return found


def _named(data: Mapping[str, Any], many: str, one: str, name: Any, path: Path) -> Mapping[str, Any]:
    for each in data.get(many) or ():
        if isinstance(each, dict) and each.get("name") == name:
            return each.get(one) or {}
    raise ValueError(f"{path} has no {one} {name}")


def _pem(said: Mapping[str, Any], key: str, path: Path) -> str:
    """Return the text of a certificate or key: written in the file itself, or in one that it names."""
    if said.get(f"{key}-data"):
        return base64.b64decode(said[f"{key}-data"]).decode()
    return (path.parent / said[key]).read_text() if said.get(key) else ""
