"""The screens as HTML: values in pure tables, then the structure of every page of a rich workspace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from connrunner.answers.past_runs import MissedSlots, PastRun
from connrunner.answers.workspace_view import WorkspaceView, open_view
from connrunner.core import instant
from connrunner.core.counts import CHECKED, Counts
from connrunner.core.model import Outcome, QueuedRun, Result, Run, RunIntent
from connrunner.core.planning.forecast import PredictedRun
from connrunner.text import durations
from connrunner.web.pages import PageRequest, RenderedPage, render_page, render_refusal, render_sign_in, static_files
from connrunner.web.pages.axis import describe_long_days, find_clock_changes, midnight
from connrunner.web.pages.charts import UNITS, make_axis
from connrunner.web.pages.connections_screen import read_number, read_query
from connrunner.web.pages.counter_bar import draw_counters, share_out
from connrunner.web.pages.lane_picture import ALONE, COLUMNS, LaneContent, Window, draw_lane
from connrunner.web.pages.moments import Moments
from connrunner.web.pages.rendering import split_yaml
from connrunner.web.pages.run_screen import split_difference
from connrunner.web.pages.static_site import name_file
from connrunner.web.pages.strip import draw_strip
from connrunner.web.pages.timeline_screen import LEAST_ALONE, MOST_ALONE
from tests.page_workspace import NOW, make_workspace, running_lanes

ZONE = "Europe/Amsterdam"
AT = instant.parse("2026-10-24T10:00:00Z")
HOSTILE = "<script>alert('x')</script>\"&\u202e"


def run_of(outcome: str = "succeeded", seconds: float = 60, number: int = 1, **counts: int) -> Run:
    return Run(
        entry=QueuedRun(connection="crm", due_at=AT, queued_at=AT),
        intent=RunIntent(run=number, started_at=AT, kind="import"),
        result=Result(outcome=Outcome(outcome), counts=Counts(**counts)),
        ended_at=AT + timedelta(seconds=seconds),
        seconds=seconds,
    )


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (3599, "59 min"), (3600, "1 h 00 min"), (20760, "5 h 46 min"), (172799, "47 h 59 min"), (172800, "2 days"), (-50, "50 s")],
)  # fmt: skip
def test_how_far_away(seconds: float, words: str) -> None:
    assert durations.at_a_glance(seconds) == words


def test_an_instant_is_how_far_away_and_when() -> None:
    moments = Moments(ZONE, NOW)
    later = NOW + timedelta(hours=5, minutes=46)
    assert (moments.away(later), moments.minute(later)) == ("in 5 h 46 min", "Sat 2026-10-24 20:18 +02:00")
    assert moments.away(NOW - timedelta(minutes=12)) == "12 min ago"
    assert moments.hour(later) == "20:18"
    assert moments.hour(NOW + timedelta(hours=14)) == "Sun 2026-10-25 03:32 +01:00"  # the offset of that day
    assert moments.second(NOW) == "Sat 2026-10-24 14:32:10 +02:00"


STRIPS = [
    ([], "No run has ended yet", ""),
    ([run_of()], "Last 1 run: 1 succeeded; the newest succeeded; longest 1 min 00 s", ""),
    ([run_of("failed", 10, 3), run_of("partial", 20, 2), run_of(number=1)], "Last 3 runs: 1 succeeded, 1 partial, 1 failed; the newest failed; longest 1 min 00 s", "1 failed, 1 partial"),
]  # fmt: skip


@pytest.mark.parametrize(("runs", "words", "trouble"), STRIPS)
def test_a_strip_says_what_it_draws(runs: list[Run], words: str, trouble: str) -> None:
    strip = draw_strip(runs)
    assert (strip.words, strip.trouble) == (words, trouble)


def test_a_strip_has_the_newest_at_the_right_and_marks_trouble() -> None:
    strip = draw_strip([run_of("failed", 30), run_of("succeeded", 60)])
    assert [(part.style, part.path) for part in strip.paths] == [
        ("f-ok", "M112 1h3v17h-3z"),
        ("f-failed", "M116 10h3v8h-3z"),
        ("f-failed", "M115.5 24h4l-2-4z"),
    ]


def test_a_strip_of_runs_without_time_is_no_error() -> None:
    assert draw_strip([run_of("skipped", 0)] * 40).words.startswith("Last 30 runs: 30 skipped")


@pytest.mark.parametrize("counts", [[1], [1, 1], [39, 48_000, 1], [1] * 13, [1, 10**9], [5, 0.0001 * 10**7]])
def test_widths_are_a_hundred_together_and_none_is_too_small_to_see(counts: list[int]) -> None:
    widths = share_out([int(count) for count in counts])
    assert sum(widths) + 0.12 * (len(widths) - 1) == pytest.approx(100)
    assert min(widths) >= 0.5


def test_counters_add_up_in_picture_figures_and_words() -> None:
    counts = Counts(
        read=48213,
        filtered=1204,
        checked=47009,
        created=312,
        updated=2847,
        unchanged=43291,
        duplicate=18,
        consent_blocked=502,
        invalid=39,
    )
    bar = draw_counters(counts)
    assert bar.equation == "read = filtered + checked"
    assert sum(one.count for one in bar.left_out) == bar.sum_left_out == 1204
    assert sum(one.count for one in bar.checked) == bar.sum_checked == 47009
    assert len(bar.left_out) + len(bar.checked) == 13
    assert {one.name for one in bar.checked} == {name.replace("_", " ") for name in CHECKED}
    assert bar.words.startswith("48,213 rows read: 1,204 filtered and 47,009 checked. Of those checked 312 created,")
    assert bar.imbalance == ""


def test_counters_that_do_not_add_up_are_said() -> None:
    assert draw_counters(Counts(read=10, checked=9, created=9)).imbalance.startswith("read 10 =")


@pytest.mark.parametrize(
    ("largest", "top", "words"),
    [(1, 1, ["0", "0.5", "1 s"]), (1740, 1800, ["0", "10", "20", "30 min"]), (100, 120, ["0", "1", "2 min"]), (9000, 10800, ["0", "1", "2", "3 h"])],
)  # fmt: skip
def test_an_axis_ends_at_a_round_number(largest: float, top: float, words: list[str]) -> None:
    axis = make_axis(largest, UNITS)
    assert (axis.top, [word for _, word in axis.marks]) == (top, words)
    assert axis.top >= largest


def test_clock_changes_are_found_to_the_minute() -> None:
    (change,) = find_clock_changes(midnight(NOW, ZONE, -1), midnight(NOW, ZONE, 2), ZONE)
    assert change.at == instant.parse("2026-10-25T01:00:00Z")
    assert change.shift == timedelta(hours=-1)
    assert find_clock_changes(AT, AT + timedelta(days=30), "UTC") == []


def test_a_day_of_25_hours_is_said() -> None:
    days = [midnight(NOW, ZONE, day) for day in (-1, 0, 1)]
    assert describe_long_days(days, Moments(ZONE, NOW)) == [
        "Sun 2026-10-25 has 25 hours: after 02:59 the clock goes back to 02:00."
    ]


def test_many_narrow_runs_are_one_path_of_bounded_length() -> None:
    window = Window(start=AT, end=AT + timedelta(days=3), height=58, block=(16, 22))
    expected = [
        PredictedRun(connection="crm", lane="main", due_at=at, starts_at=at, ends_at=at + timedelta(seconds=5))
        for at in (AT + timedelta(seconds=place) for place in range(0, 3 * 86_400, 20))
    ]
    picture = draw_lane(LaneContent(lane="main", expected=expected), window, [], Moments("UTC", AT))
    assert sum(len(part.path) for part in picture.together) < 20 * COLUMNS
    assert len(picture.shapes) < 50


def past_run(number: int, due: timedelta, start: timedelta, seconds: int = 60, outcome: str = "succeeded") -> PastRun:
    began = AT + start
    return PastRun("crm", number, AT + due, began, began + timedelta(seconds=seconds), outcome)


def test_a_lane_shows_what_waited_and_what_was_missed() -> None:
    hour = timedelta(hours=1)
    window = Window(start=AT - 12 * hour, end=AT + 12 * hour, height=58, block=(16, 22))
    content = LaneContent(
        lane="main",
        past=[
            past_run(1, -6 * hour, -5 * hour),
            past_run(2, -4 * hour, -4 * hour),
            past_run(3, -40 * hour, -39 * hour),
        ],
        missed=[
            MissedSlots("crm", AT - 3 * hour, AT - hour, 5, "no tick came"),
            MissedSlots("crm", AT - 40 * hour, AT - 30 * hour, 5, "of another day"),
        ],
    )
    picture = draw_lane(content, window, [], Moments("UTC", AT))
    shown = {one.attributes["class"]: one for one in picture.shapes if one.title}
    assert shown["s-wait"].title == "crm #1 waited 1 h 00 min"
    assert (shown["s-wait"].attributes["x1"], shown["s-wait"].attributes["x2"]) == ("25%", "29.17%")
    assert shown["f-missed"].title == "crm: 5 slots missed from Sat 2026-10-24 07:00 +00:00: no tick came"
    assert (shown["f-missed"].attributes["x"], shown["f-missed"].attributes["width"]) == ("37.5%", "8.33%")
    assert sum(one.attributes["class"] in ("s-wait", "f-missed") for one in picture.shapes) == 2


@pytest.mark.parametrize("lanes", [1, 12, 60])
def test_pictures_of_many_lanes_are_together_as_long_as_those_of_few(lanes: int) -> None:
    window = Window(start=AT, end=AT + timedelta(days=3), height=58, block=(16, 22))
    hour = timedelta(hours=1)
    past = [past_run(place, place * hour, place * hour, seconds=2400) for place in range(72)]
    alone = max(LEAST_ALONE, min(ALONE, MOST_ALONE // lanes))
    picture = draw_lane(LaneContent(lane="main", past=past), window, [], Moments("UTC", AT), alone=alone)
    assert lanes * len([one for one in picture.shapes if one.tag == "rect"]) <= max(MOST_ALONE, LEAST_ALONE * lanes)


@pytest.mark.parametrize(
    ("line", "parts"),
    [("title: A b", ("", "title", ": A b", False)), ("  - {to: x}", ("", "", "  - {to: x}", False)), ("# no: key", ("", "", "# no: key", True)), ("", ("", "", "", False))],
)  # fmt: skip
def test_a_line_of_yaml_in_its_parts(line: str, parts: tuple[str, str, str, bool]) -> None:
    assert tuple(split_yaml(line)) == parts


def test_a_difference_has_the_numbers_of_both_sides() -> None:
    lines = ("--- a", "+++ b", "@@ -5,2 +5,3 @@", " one", "-two", "+2", "+--- three")
    assert [(line.before, line.now, line.sign, line.text) for line in split_difference(lines)] == [
        ("", "", "@", "lines 5 and on; now 5 and on"),
        ("5", "5", " ", "one"),
        ("6", "", "-", "two"),
        ("", "6", "+", "2"),
        ("", "7", "+", "--- three"),
    ]


@pytest.mark.parametrize(
    ("asked", "which", "page", "owner"),
    [({}, "all", 1, ""), ({"show": "failing", "page": "3"}, "failing", 3, ""), ({"show": "x", "page": "-1", "label": "=y"}, "all", 1, ""), ({"page": "9" * 400, "owner": "a"}, "all", 1, "a"), ({"page": "٣"}, "all", 1, "")],
)  # fmt: skip
def test_what_is_not_known_in_an_address_is_as_if_it_were_not_said(
    asked: dict[str, str], which: str, page: int, owner: str
) -> None:
    query = read_query(asked)
    assert (query.which, query.page, query.choice.owner) == (which, page, owner)


def test_numbers_of_addresses_are_short() -> None:
    assert [read_number(text, 7) for text in ("12", "", "1.5", "999999999", "9999999999", "-1")] == [
        12,
        7,
        7,
        999999999,
        7,
        7,
    ]


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [("/", (), "index.html"), ("/connections/crm/runs/3", (("code", "wrong-type"),), "connections/crm/runs/3~code-wrong-type.html"), ("/", (("owner", "../x"),), "index~owner-d77c1ab7efe0.html")],
)  # fmt: skip
def test_a_page_has_a_file_whose_name_leads_nowhere_else(
    path: str, query: tuple[tuple[str, str], ...], name: str
) -> None:
    found = name_file(path, query)
    assert re.sub("owner-[0-9a-f]{12}", "owner-d77c1ab7efe0", found) == name


def test_static_files_are_named_after_their_content() -> None:
    assert {name.partition(".")[0] for name in static_files()} == {"app", "icon"}
    assert all(len(name.split(".")) == 3 for name in static_files())


def test_what_strangers_wrote_is_escaped() -> None:
    for html in (render_refusal(404, HOSTILE, HOSTILE, HOSTILE), render_sign_in(back=HOSTILE, refused=HOSTILE)):
        assert "<script>alert" not in html
        assert "&lt;script&gt;" in html


# --- every page ------------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, key: str) -> list[str]:
        return [attributes[key] for _, attributes in self.elements if key in attributes]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceView]:
    folder = make_workspace(tmp_path_factory.mktemp("page") / "customer-profiles")
    with running_lanes(folder):
        yield open_view(folder, now=NOW)


def shown(view: WorkspaceView, address: str, **more: object) -> RenderedPage:
    parts = urlsplit(address)
    asked = {
        "path": unquote(parts.path),
        "query": dict(parse_qsl(parts.query)),
        "now": NOW,
        "may_act": True,
        "form_token": "secret-token",
    }
    return render_page(view, PageRequest(**{**asked, **more}))  # type: ignore[arg-type]


PAGES = [
    # address                                            status, bytes at most, elements at most
    ("/",                                                200, 60_000, 1500),
    ("/?show=failing",                                   200, 60_000, 1500),
    ("/?q=nothing-like-it",                              200, 60_000, 1500),
    ("/?owner=marketing&order=next",                     200, 60_000, 1500),
    ("/queue",                                           200, 60_000, 1500),
    ("/timeline",                                        200, 60_000, 1500),
    ("/timeline?view=24h",                               200, 60_000, 1500),
    ("/timeline?view=7d&from=2026-10-25T00:00:00Z",      200, 60_000, 1500),
    ("/notifications",                                   200, 60_000, 1500),
    ("/notifications?show=dead",                         200, 60_000, 1500),
    ("/health",                                          200, 60_000, 1500),
    ("/runs",                                            200, 60_000, 1500),
    ("/runs?day=2026-10-23&outcome=failed",              200, 60_000, 1500),
    ("/runs?day=0001-01-01",                             200, 60_000, 1500),
    ("/runs?outcome=failed",                             200, 60_000, 1500),
    ("/connections/crm-contacts",                        200, 60_000, 1500),
    ("/connections/crm-contacts?at=08:18",               200, 60_000, 1500),
    ("/connections/crm-contacts?at=<b>",                 200, 60_000, 1500),
    ("/connections/crm-contacts?show=unsuccessful",      200, 60_000, 1500),
    ("/connections/crm-contacts?before=1390",            200, 60_000, 1500),
    ("/connections/product-interest",                    200, 60_000, 1500),
    ("/connections/old-shop",                            200, 60_000, 1500),
    ("/connections/ads-lookalike",                       200, 60_000, 1500),
    ("/connections/crm-contacts/runs/1407",              200, 60_000, 1500),
    ("/connections/crm-contacts/runs/1407?code=duplicate", 200, 60_000, 1500),
    ("/connections/crm-contacts/runs/1407?row=25",       200, 60_000, 1500),
    ("/connections/crm-contacts/runs/1407?q=rows",       200, 60_000, 1500),
    ("/connections/crm-contacts/runs/1390",              200, 60_000, 1500),
    ("/connections/crm-contacts/runs/1408",              200, 60_000, 1500),
    ("/connections/erp-customers/runs/109",              200, 60_000, 1500),
    ("/connections/refresh-segments/runs/136",           200, 60_000, 1500),
    ("/connections/crm-contact",                         404, 60_000, 1500),
    ("/connections/crm-contacts/runs/1409",              404, 60_000, 1500),
    ("/connections/crm-contacts/runs/x",                 404, 60_000, 1500),
    ("/connections/../connrunner.yaml",                  404, 60_000, 1500),
    ("/queu",                                            404, 60_000, 1500),
]  # fmt: skip


@pytest.mark.parametrize(("address", "status", "most_bytes", "most_elements"), PAGES, ids=[case[0] for case in PAGES])
def test_every_page_keeps_the_rules(
    view: WorkspaceView, address: str, status: int, most_bytes: int, most_elements: int
) -> None:
    page = shown(view, address)
    outline = Outline(page.html)
    assert page.status == status
    assert len(page.html.encode()) <= most_bytes
    assert sum(outline.tags.values()) <= most_elements
    assert (outline.tags["h1"], outline.tags["main"], outline.tags["header"], outline.tags["footer"]) == (1, 1, 1, 1)
    attributes = {key for _, found in outline.elements for key in found}
    assert "style" not in attributes, "the policy forbids inline style"
    assert not [key for key in attributes if key.startswith("on")]
    assert [found["src"] for tag, found in outline.elements if tag == "script"] == [
        f"/static/{name}" for name in static_files() if name.endswith(".js")
    ]
    ids = outline.values("id")
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert set(outline.values("for")) <= set(ids)
    used = {found["href"].removeprefix("#") for tag, found in outline.elements if tag == "use"}
    assert used <= set(ids), "each icon is defined"
    posts = [found for tag, found in outline.elements if tag == "form" and found.get("method") == "post"]
    tokens = [found for _, found in outline.elements if found.get("name") == "token"]
    assert len(posts) == len(tokens)
    assert all(found["value"] == "secret-token" for found in tokens)


def links_of(outline: Outline) -> set[str]:
    return {found["href"] for tag, found in outline.elements if tag == "a" and found["href"].startswith("/")}


DOWNLOADS = ("/log.txt", "/rejects.csv", "/calendar.ics", "/metrics", "/openapi.json")


@pytest.mark.thorough
@pytest.mark.parametrize("address", [case[0] for case in PAGES if case[1] == 200 and "?" not in case[0]])
def test_every_link_leads_to_a_page_and_to_a_place_on_it(view: WorkspaceView, address: str) -> None:
    seen: dict[str, Outline] = {}
    for link in sorted(links_of(Outline(shown(view, address).html))):
        target, _, fragment = link.partition("#")
        if target.endswith(DOWNLOADS):
            continue
        if target not in seen:
            page = shown(view, target)
            assert page.status == 200, link
            seen[target] = Outline(page.html)
        assert not fragment or fragment in seen[target].values("id"), link


def rows_of(html: str) -> int:
    """Return how many rows there are that begin with the header of a row."""
    return len(re.findall(r'<tr[^>]*>(?:<td[^>]*>.{0,400}?</td>)*?<th[^>]*scope="row"', html, re.DOTALL))


TABS = re.compile(r'<a href="(?P<link>[^"]+)"[^>]*>(?:<svg.*?</svg>)?<b>(?P<count>[\d,]+)</b>', re.DOTALL)


@pytest.mark.parametrize("address", ["/", "/notifications", "/runs"])
def test_every_number_leads_to_the_list_that_it_counts(view: WorkspaceView, address: str) -> None:
    html = shown(view, address).html
    tabs = html[html.index('class="tabs"') : html.index("</nav>", html.index('class="tabs"'))]
    found = [
        (match["link"].replace("&amp;", "&"), int(match["count"].replace(",", ""))) for match in TABS.finditer(tabs)
    ]
    assert len(found) >= 3
    for link, count in found:
        listed = shown(view, link).html
        body = listed[: listed.index('id="targets"')] if 'id="targets"' in listed else listed
        last = re.search(r"to ([\d,]+) of ([\d,]+)", body)
        assert (int(last[2].replace(",", "")) if last else 0) == count, link
        if count <= 25:
            assert rows_of(body[body.index('class="tabs"') :]) == count, link


def test_the_sentence_of_today_adds_up_and_leads_to_its_lists(view: WorkspaceView) -> None:
    html = shown(view, "/").html
    lede = html[html.index('class="lede"') : html.index("</p>", html.index('class="lede"'))]
    total, *parts = (int(number.replace(",", "")) for number in re.findall(r">([\d,]+) \w+</a>", lede))
    assert total == sum(parts) > 50
    for link, count in re.findall(r'href="([^"]+outcome=[^"]+)">([\d,]+) ', lede):
        assert f"of {count}<" in shown(view, link).html


def test_trouble_comes_first_and_by_its_kind(view: WorkspaceView) -> None:
    names = re.findall(r'class="name" href="/connections/([\w-]+)"', shown(view, "/").html)
    assert names[:7] == [
        "product-interest",
        "erp-customers",
        "refresh-segments",
        "survey-answers",
        "crm-contacts",
        "loyalty-points",
        "unsubscribes",
    ]
    assert names[-1] == "old-shop"


def test_counters_of_a_run_add_up_on_its_page(view: WorkspaceView) -> None:
    html = shown(view, "/connections/crm-contacts/runs/1407").html
    figures = {
        name: int(count.replace(",", "")) for name, count in re.findall(r"</svg>([a-z ]+)</dt><dd>([\d,]+)</dd>", html)
    }
    read = int(re.search(r">read ([\d,]+)<", html)[1].replace(",", ""))  # type: ignore[index]
    assert len(figures) == 13
    assert sum(figures.values()) == read


def test_a_run_tells_its_mail_its_waiting_and_what_was_changed(view: WorkspaceView) -> None:
    html = shown(view, "/connections/crm-contacts/runs/1407").html
    for words in (
        "delivered",
        "data-team@example.com",
        "Changed since run 1406",
        "timeout: 2h",
        "Ask for cities",
        "https://github.com/example/customer-profiles/commit/",
    ):
        assert words in html
    waited = shown(view, "/connections/crm-contacts/runs/1406").html
    assert "Changed since run 1405" in waited


def test_given_up_mail_says_why_and_can_be_retried(view: WorkspaceView) -> None:
    html = shown(view, "/notifications?show=dead").html
    assert html.count("550 5.7.1 not accepted") == 3
    assert html.count("/retry") == 3


def test_who_may_not_act_sees_no_form_that_does(view: WorkspaceView) -> None:
    for address in (
        "/",
        "/queue",
        "/notifications",
        "/connections/crm-contacts",
        "/connections/crm-contacts/runs/1408",
    ):
        for more in ({"may_act": False}, {"form_token": ""}):
            outline = Outline(shown(view, address, **more).html)
            assert not [
                found for tag, found in outline.elements if found.get("method") == "post" or "formaction" in found
            ]


def test_every_address_stands_below_the_root(view: WorkspaceView) -> None:
    for address in ("/", "/queue", "/connections/crm-contacts", "/connections/crm-contacts/runs/1407", "/none"):
        outline = Outline(shown(view, address, root="/deep/er").html)
        found = [
            value
            for _, attributes in outline.elements
            for key, value in attributes.items()
            if key in ("href", "src", "action", "formaction", "data-follow") and value.startswith("/")
        ]
        assert found
        assert [value for value in found if not value.startswith("/deep/er/")] == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("run-0a1b", "puts the run into its queue"),
        ("stop-0a1b", "asked to end"),
        ("crm.3.failed.x", "goes out with the next tick"),
    ],
)
def test_what_was_asked_for_is_said(view: WorkspaceView, asked: str, words: str) -> None:
    assert words in shown(view, "/queue", asked=asked).html
    assert "<b>" not in shown(view, "/queue", asked="<b>run-").html.partition("Asked for.")[2][:200].replace("</b>", "")


def test_a_workspace_without_connections_says_what_to_do_first(tmp_path: Path) -> None:
    (tmp_path / "connrunner.yaml").write_text("version: 1\ntimezone: Europe/Amsterdam\n")
    (tmp_path / "profile.yaml").write_text("properties:\n  id: {type: text, identifier: true}\n")
    empty = open_view(tmp_path, now=NOW)
    page = shown(empty, "/")
    assert page.status == 200
    assert "No connections yet" in page.html
    assert not (tmp_path / ".connrunner").exists(), "who only looks makes no state"
    for address in ("/queue", "/timeline", "/notifications", "/health", "/runs"):
        assert shown(empty, address).status == 200


def test_a_workspace_that_cannot_be_used_is_a_page_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "connrunner.yaml").write_text("version: 1\ntimezone: Europe/Amsterdm\n")
    page = shown(open_view(tmp_path, now=NOW), "/")
    assert page.status == 200
    assert "Europe/Amsterdm" in page.html


def test_a_state_of_a_newer_version_is_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "connrunner.yaml").write_text("version: 1\n")
    (tmp_path / "profile.yaml").write_text("properties: {id: {type: text, identifier: true}}\n")
    state = tmp_path / ".connrunner"
    state.mkdir(mode=0o700)
    (state / "format").write_text("99\n")
    page = shown(open_view(tmp_path, now=NOW), "/")
    assert page.status == 503
    assert "newer" in page.html


def test_hostile_names_and_texts_are_text(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "hostile")
    state = folder / ".connrunner"
    path = folder / "connections/members.yaml"
    path.write_text(path.read_text().replace("title: Members", 'title: "<img src=x onerror=alert(1)>"'))
    run = max((state / "runs/members").glob("[0-9]*"), key=lambda one: int(one.name))
    event = '{"at":"2026-10-24T04:00:01Z","level":"info","message":"<script>alert(2)</script>\\u001b[31m\\u202e"}\n'
    (run / "log.jsonl").write_text(event + "\x00 no JSON <b>\n" + '{"type":"ended"}\n[1]\n')
    (run / "rejects.jsonl").write_text(
        '{"key":"<b>","line":"<i>","code":"<u>","value":["<s>"],"message":{"a":"<em>"},"file":7}\n{"code":3}\n'
    )
    hostile = open_view(folder, now=NOW)
    for address in (
        "/",
        "/connections/members",
        f"/connections/members/runs/{run.name}",
        f"/?q={HOSTILE}",
        "/connections/%3Cb%3E",
        "/%3Cscript%3E",
    ):
        html = shown(hostile, address).html
        assert not re.search(r"<(img|em|u|s)\b|<script>|<script (?!src=\"/static/)", html), address
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", html), address


def test_a_run_whose_log_was_removed_says_so(view: WorkspaceView) -> None:
    assert "is not kept any more" in shown(view, "/connections/crm-contacts/runs/1390").html


def test_times_by_the_clock_of_tests_are_aware() -> None:
    assert NOW.tzinfo is UTC
    assert datetime.fromisoformat(instant.text(NOW)) == NOW
