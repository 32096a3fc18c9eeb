"""What a page is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRequest:
    """Who asks for which page, and when."""

    path: str  # "/", "/queue", "/connections/crm/runs/12": decoded, without root and query
    query: Mapping[str, str]  # GET parameters, decoded; what is not known is ignored
    now: datetime  # aware
    may_act: bool  # the reader has the right to act: forms are drawn
    form_token: str = ""  # the hidden field `token` of each form; empty: no forms
    live: bool = True  # parts that refresh themselves, and the script
    root: str = ""  # what stands before every path: "" or "/connrunner", no slash at its end
    asked: str = ""  # the id of a request that was just made here

    @property
    def draws_forms(self) -> bool:
        """True when the reader can act from this page."""
        return self.may_act and bool(self.form_token)


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """An HTML page and its HTTP status."""

    status: int
    html: str
