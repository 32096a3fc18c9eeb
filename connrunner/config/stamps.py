"""Which files a workspace consists of, and when each changed; imports nothing, for the tick with nothing to do."""

import os

FILES = ("connrunner.yaml", "connrunner.yml", "profile.yaml", "profile.yml")
FOLDERS = ("connections", "schedules", "notifications")


def stamps(folder: str | os.PathLike[str]) -> dict[str, int]:
    """Return the time of the last change (ctime, in ns) of each file and folder of the workspace, by relative path.

    ctime shows every kind of edit, also those that keep size and mtime. What cannot be looked at has stamp 0.
    """
    return {path: 0 if status is None else status.st_ctime_ns for path, status in scan(folder).items()}


def scan(folder: str | os.PathLike[str]) -> dict[str, os.stat_result | None]:
    """Return the status of each file and folder of the workspace, by relative path; None when it cannot be seen."""
    top = os.fspath(folder)
    found: dict[str, os.stat_result | None] = {}
    for name in FILES:
        _look(found, name, f"{top}/{name}")
    for name in FOLDERS:
        path = f"{top}/{name}"
        _look(found, name, path)
        if name not in found:
            continue
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    file = entry.name
                    if file[0] != "." and (file.endswith((".yaml", ".yml")) or entry.is_dir()):
                        try:
                            found[f"{name}/{file}"] = entry.stat()
                        except OSError:
                            found[f"{name}/{file}"] = None
        except OSError:
            found[name] = None
    return found


def _look(found: dict[str, os.stat_result | None], name: str, path: str) -> None:
    try:
        found[name] = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            found[name] = None
    except OSError:
        found[name] = None
