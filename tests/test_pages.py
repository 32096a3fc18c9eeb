"""The screens as HTML, as far as values decide them."""

from __future__ import annotations

from connrunner.web.pages import render_refusal, render_sign_in, static_files


def test_static_files_are_named_after_their_content() -> None:
    assert {name.partition(".")[0] for name in static_files()} == {"app", "icon"}
    assert all(len(name.split(".")) == 3 for name in static_files())


def test_what_strangers_wrote_is_escaped() -> None:
    hostile = "<script>alert('x')</script>\"&"
    for html in (render_refusal(404, hostile, hostile, hostile), render_sign_in(back=hostile, refused=hostile)):
        assert "<script>alert" not in html
        assert "&lt;script&gt;" in html
