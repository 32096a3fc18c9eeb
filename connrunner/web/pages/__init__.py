"""The screens of the page, as HTML: `render_page` for every path that shows one, and the files that they need."""

from connrunner.web.pages.rendering import static_files
from connrunner.web.pages.request import PageRequest, RenderedPage
from connrunner.web.pages.screens import render_page, render_refusal, render_sign_in

__all__ = ["PageRequest", "RenderedPage", "render_page", "render_refusal", "render_sign_in", "static_files"]
