"""Where people read the repository on the web: from the address of `origin`, for hosts whose paths are known.

Read from the repository's own settings as text: git is not started for it, and nothing of them is obeyed.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from connrunner.config.versions.commit import find_repository

LARGEST = 1 << 16  # bytes of settings that are looked at
_SECTION = re.compile(r'\s*\[\s*(?P<name>[\w.-]+)(?:\s+"(?P<sub>[^"]*)")?\s*\]\s*(?:[#;].*)?')
_URL = re.compile(r'\s*url\s*=\s*"?(?P<url>[^"\s]+)"?\s*', re.IGNORECASE)
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/].*)")
_WEB = re.compile(r"(?:https?|ssh|git)://(?:[^@/]*@)?(?P<host>[A-Za-z0-9.-]+)(?::\d+)?/(?P<path>.+)")
# A word in the name of the host: how it writes a file at a commit, and a commit. The first that fits counts.
HOSTS = (
    ("github", "blob/{commit}", "commit/{commit}"),
    ("gitlab", "-/blob/{commit}", "-/commit/{commit}"),
    ("bitbucket", "src/{commit}", "commits/{commit}"),
    ("codeberg", "src/commit/{commit}", "commit/{commit}"),
    ("gitea", "src/commit/{commit}", "commit/{commit}"),
    ("forgejo", "src/commit/{commit}", "commit/{commit}"),
)


def find_web_address(folder: Path) -> str:
    """Return the address of the repository that holds *folder*, `https://host/owner/name`; empty when none is known."""
    place = find_repository(folder)
    if place is None:
        return ""
    try:
        with (place.shared / "config").open("rb") as file:
            text = file.read(LARGEST).decode(errors="replace")
    except OSError:
        return ""
    return web_address_of(_origin(text))


def _origin(settings: str) -> str:
    """Return the first address of the remote `origin`; empty without one."""
    inside = False
    for line in settings.splitlines():
        if section := _SECTION.fullmatch(line):
            inside = section["name"].lower() == "remote" and section["sub"] == "origin"
        elif inside and (found := _URL.fullmatch(line)):
            return found["url"]
    return ""


def web_address_of(remote: str) -> str:
    """Return `https://host/path` of a remote, without a login in it; empty for a folder and whatever else."""
    found = _WEB.fullmatch(remote) or ("://" not in remote and _SCP.fullmatch(remote))
    if not found:
        return ""
    path = found["path"].strip("/").removesuffix(".git")
    return f"https://{found['host'].lower()}/{quote(path, safe='/')}"


def link_file(folder: Path, commit: str, path: str) -> str:
    """Return the address of *path*, relative to the workspace in *folder*, at *commit*; empty when it is not known."""
    address, place = find_web_address(folder), find_repository(folder)
    host = _host_of(address)
    if host is None or place is None:
        return ""
    whole = "/".join((*place.prefix, path))
    return f"{address}/{host[1].format(commit=quote(commit))}/{quote(whole)}"


def link_commit(folder: Path, commit: str) -> str:
    """Return the address of *commit*; empty when it is not known."""
    address = find_web_address(folder)
    host = _host_of(address)
    return f"{address}/{host[2].format(commit=quote(commit))}" if host else ""


def _host_of(address: str) -> tuple[str, str, str] | None:
    name = address.removeprefix("https://").partition("/")[0]
    return next((host for host in HOSTS if host[0] in name), None)
