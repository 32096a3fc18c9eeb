"""Every connector of the table is there, has its manual, and has the shape that a run relies on."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

import pytest

from connrunner import connectors
from connrunner.errors import RunError


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.annotation) for each in parameters if each.name != "self"]


@pytest.mark.parametrize("name", connectors.SOURCES)
def test_sources(name: str) -> None:
    assert shape(connectors.source(name).fetch) == shape(connectors.Source.fetch)
    assert shape(connectors.source(name).settle) == shape(connectors.Source.settle)
    assert "import:\n      from: {type: " + name in manual(connectors.source(name))


@pytest.mark.parametrize("name", connectors.DESTINATIONS)
def test_destinations(name: str) -> None:
    module = connectors.destination(name)
    assert shape(module.form) == shape(connectors.Destination.form)
    assert shape(module.target) == shape(connectors.Destination.target)
    assert shape(module.deliver) == shape(connectors.Destination.deliver)
    assert "export:\n      to: {type: " + name in manual(module)


def manual(module: object) -> str:
    assert isinstance(module, ModuleType)
    return module.__doc__ or ""


def test_an_unknown_type() -> None:
    with pytest.raises(RunError, match="no connector of type 'file'; did you mean 'files'"):
        connectors.source("file")
    with pytest.raises(RunError, match="no connector of type 'gopher'; there is .*files, http"):
        connectors.destination("gopher")


def test_a_connector_is_imported_on_use() -> None:
    script = (
        "import sys, connrunner.connectors; print(*(m for m in sys.modules if m.startswith('connrunner.connectors.')))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
