"""Each threat of docs/architecture.md (Trust) with the tests that hold it off; here are those that need the whole."""

from __future__ import annotations

import ast
import base64
import email
import email.policy
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from connrunner.cli import command_line as cli
from connrunner.cli.text import as_json
from connrunner.config.documents.document import parse
from connrunner.config.load import load
from connrunner.config.versions.git import VersionError
from connrunner.config.versions.layout import lay_out
from tests.conftest import Finished, Place
from tests.hostile_trees import (
    ACTING,
    ASKING_GIT,
    LOOKING,
    NOW,
    TREES,
    Ground,
    hostile_config,
    lay_ground,
    settings_with_programs,
)

HERE = Path(__file__).parent

# the threat                                     where it is tried
THREATS: dict[str, tuple[str, ...]] = {
    "YAML: alias, merge, depth and size bombs": (
        "test_config_document.py::test_a_hostile_file_costs_little",
        "test_config_document.py::test_depth_is_counted_exactly",
        "test_config_document.py::test_parts_are_counted_exactly",
        "test_threats.py::test_a_workspace_of_bombs_is_refused",
    ),
    "YAML: duplicate keys": ("test_config_problems.py::test_each_mistake_is_explained_at_its_place",),
    "YAML: 1.1 traps": (
        "test_config_document.py::test_a_plain_scalar_means",
        "test_config_document.py::test_every_minute_of_a_day_stays_text",
        "test_config_schema.py::test_a_time_is_exactly_a_time",
    ),
    "YAML: tags, includes, objects": ("test_threats.py::test_no_tag_makes_an_object",),
    "files: links, pipes, devices, `..`": (
        "test_threats_looking.py::test_no_link_shows_what_is_no_configuration",
        "test_threats_looking.py::test_no_file_of_a_state_is_a_link",
        "test_threats_looking.py::test_what_is_no_mapping_is_not_quoted",
        "test_config_load.py::test_only_files_of_the_workspace_are_read",
        "test_config_git.py::test_only_regular_files_of_a_commit_are_configuration",
        "test_config_git.py::test_a_submodule_is_no_connection",
        "test_notify_render.py::test_links_out_of_the_workspace_pipes_and_odd_bytes_are_no_templates",
        "test_config_secrets.py::test_a_secret_that_cannot_be_used",
        "test_connectors_files.py::test_links_and_strange_things_among_files",
    ),
    "files that others may read, or have prepared": (
        "test_file_modes.py::test_what_commands_write",
        "test_file_modes.py::test_what_exports_write",
        "test_file_modes.py::test_a_file_that_somebody_prepared_is_not_written_into",
    ),
    "people who were erased, and rows that killed runs left": (
        "test_profiles_erasure.py::test_a_person_is_gone_from_the_bytes_of_the_store",
        "test_profiles_erasure.py::test_no_import_brings_an_erased_person_back",
        "test_erasure_end_to_end.py::test_killed_at_any_moment_a_person_is_there_or_gone",
        "test_leftovers.py::test_a_killed_run_leaves_no_rows",
    ),
    "names: paths, case twins, normal forms": (
        "test_config_load.py::test_a_broken_file_breaks_what_needs_it",
        "test_threats.py::test_names_that_collide_are_refused_by_name",
    ),
    "encodings": ("test_config_document.py::test_what_is_no_text_is_refused",),
    "the calendar's edges": (
        "test_core_schedule.py::test_dates_that_a_month_lacks_have_no_slot",
        "test_core_schedule.py::test_the_ends_of_time",
        "test_core_schedule_properties.py::test_a_walk_over_every_minute_agrees",
    ),
    "templates: data that is a template, objects": (
        "test_notify_render.py::test_no_template_reaches_objects_or_changes_what_it_sees",
        "test_notify_render.py::test_the_process_knows_no_secrets",
    ),
    "templates: errors that tell": ("test_notify_render.py::test_a_template_says_little_in_its_own_error",),
    "templates: bombs": (
        "test_notify_render.py::test_a_bomb_is_bounded_and_costs_its_own_mail_only",
        "test_notify_render.py::test_three_bombs_at_once_are_bounded_together",
        "test_notify_render.py::test_the_deadline_is_kept",
    ),
    "mail: markup in HTML": (
        "test_notify_render.py::test_markup_in_names_messages_and_values_is_text",
        "test_notify_render.py::test_html_is_escaped_and_text_is_not",
    ),
    "mail: headers and recipients": (
        "test_notify_message.py::test_no_subject_adds_a_header_or_a_recipient",
        "test_notify_message.py::test_no_text_at_all_adds_a_header_or_a_recipient",
        "test_notify_message.py::test_not_an_address",
        "test_notify_outbox.py::test_a_template_cannot_add_a_header",
    ),
    "terminals: escapes in data": (
        "test_config_validate.py::test_no_terminal_is_led_astray",
        "test_cli.py::test_a_log_is_shown_clean_and_saved_whole",
        "test_cli.py::test_a_cell_moves_no_cursor",
        "test_threats.py::test_no_command_prints_what_moves_a_cursor",
        "test_threats.py::test_json_escapes_what_a_terminal_obeys",
    ),
    "logs: output that looks like a record": ("test_threats.py::test_a_program_forges_no_record",),
    "secrets in YAML": (
        "test_config_schema.py::test_what_is_called_like_a_secret_takes_references_only",
        "test_config_secrets.py::test_variables_that_hold_secrets",
        "test_config_problems.py::test_nothing_that_looks_like_a_secret_is_shown",
        "test_threats.py::test_planted_secrets_are_refused_and_not_repeated",
    ),
    "secrets that go where a branch says": ("test_threats_looking.py::test_no_secret_goes_where_a_branch_says",),
    "secrets in what leaves": (
        "test_config_secrets.py::test_every_form_is_hidden",
        "test_text_masking.py::test_no_writer_shows_a_secret",
        "test_text_masking.py::test_no_mixture_of_spellings_survives",
        "test_text_masking.py::test_a_stream_may_be_cut_anywhere",
        "test_text_masking.py::test_parts_of_a_secret_are_secrets",
        "test_config_secrets.py::test_no_form_of_any_secret_survives",
        "test_connectors_output.py::test_no_part_of_a_secret_leaves",
        "test_notify_smtp.py::test_a_server_that_repeats_the_password_does_not_put_it_into_a_record",
        "test_threats.py::test_no_secret_leaves_in_any_form_by_any_way",
    ),
    "command injection": (
        "test_connectors_command.py::test_arguments_do_not_pass_a_shell",
        "test_connectors_command.py::test_environment_is_plain_and_given",
    ),
    "requests to inner addresses": (
        "test_connectors_http.py::test_a_redirect_to_another_host",
        "test_connectors_http.py::test_link_local_addresses",
        "test_connectors_http.py::test_redirects_of_an_export",
        "test_text.py::test_is_a_host_link_local",
        "test_notify_heart.py::test_a_ping_follows_nobody",
        "test_notify_heart.py::test_a_name_may_lead_where_no_ping_goes",
    ),
    "who is this machine": (
        "test_this_machine.py::test_validate_knows_this_machine",
        "test_this_machine.py::test_a_run_knows_this_machine",
        "test_database_urls.py::test_a_url_that_goes_round_the_rules",
    ),
    "partners: answers that fill memory or disk": (
        "test_connectors_http.py::test_an_answer_of_too_many_parts",
        "test_connectors_http.py::test_an_answer_of_too_many_records",
        "test_connectors_http.py::test_a_body_that_unpacks_to_a_disk_full",
        "test_connectors_http_memory.py::test_no_answer_takes_much_memory",
        "test_connectors_conformance.py::test_no_more_comes_than_is_allowed",
    ),
    "YAML: texts that take a pattern long": ("test_schema_patterns.py::test_each_pattern_is_linear",),
    "SSH host keys": (
        "test_connectors_sftp.py::test_an_unknown_host",
        "test_connectors_sftp.py::test_a_changed_host_key",
    ),
    "TLS": (
        "test_connectors_http.py::test_a_certificate_for_another_name",
        "test_connectors_http.py::test_an_expired_certificate",
        "test_connectors_http.py::test_a_certificate_of_an_unknown_authority",
        "test_connectors_s3.py::test_certificates_are_checked",
        "test_notify_smtp.py::test_a_bad_certificate_means_that_nothing_is_sent",
        "test_notify_smtp.py::test_a_server_without_starttls_gets_neither_mail_nor_password",
    ),
    "packed bombs": (
        "test_profiles_import_more.py::test_a_real_bomb_is_refused",
        "test_profiles_import_more.py::test_bombs_of_every_kind",
    ),
    "formulas for spreadsheets": (
        "test_profiles_export_more.py::test_formulas_are_made_texts_for_spreadsheets_only",
        "test_profiles_export_more.py::test_wherever_a_spreadsheet_splits_no_formula_begins",
    ),
    "values of people in messages": (
        "test_no_values.py::test_no_condition_tells_a_value",
        "test_no_values.py::test_no_damaged_file_tells_a_value",
        "test_no_values.py::test_words_of_a_partner_are_passed_on_without_values",
        "test_no_values.py::test_no_value_leaves_by_a_tick",
    ),
    "a state that somebody else brought": (
        "test_config_compiled.py::test_a_cache_that_could_come_from_elsewhere_is_not_read",
        "test_threats_looking.py::test_nothing_imports_what_makes_objects_of_bytes",
        "test_threats_looking.py::test_no_file_of_a_state_is_run_and_none_is_a_bug",
        "test_threats_looking.py::test_a_state_that_a_branch_names_is_looked_at_before_it_is_read",
    ),
    "names that a shell types": ("test_cli_interfaces.py::test_a_shell_is_told_names_only",),
    "conditions that reach files": ("test_threats_looking.py::test_no_statement_reaches_further_than_the_store",),
    "images of the memory": ("test_threats_looking.py::test_no_process_with_secrets_leaves_an_image_of_its_memory",),
    "the state folder": (
        "test_state_journal.py::test_the_state_is_private",
        "test_state_filesystem.py::test_a_state_folder_is_ours_alone",
        "test_state_faults.py::test_the_state_is_private_after_a_run",
    ),
    "a branch that nobody has read": (
        "test_threats.py::test_looking_runs_nothing_and_touches_nothing",
        "test_threats.py::test_no_list_of_files_leads_elsewhere",
        "test_threats.py::test_every_command_looks_or_acts",
        "test_threats.py::test_no_setting_names_a_program_that_runs",
        "test_threats.py::test_what_is_laid_out_of_a_commit_stays_in_its_folder",
        "test_cli_plan.py::test_no_cache_has_a_say",
        "test_cli_plan.py::test_what_decides_what_runs_is_shown",
        "test_fuzz_readers.py::test_a_reader_answers",
    ),
    "commands to forges and their runners in what is shown": (
        "test_cli_plan.py::test_markdown_mentions_and_links_nobody",
        "test_config_validate.py::test_no_excerpt_is_a_command_to_a_runner",
    ),
    "a network at run time": ("test_threats.py::test_a_tick_needs_no_network",),
}  # fmt: skip


@functools.cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("threat", THREATS)
def test_every_threat_has_its_tests(threat: str) -> None:
    assert THREATS[threat]
    for name in THREATS[threat]:
        file, _, test = name.partition("::")
        assert test in names_in(file), f"{name} is gone: which test holds off {threat!r} now?"


# --- files -------------------------------------------------------------------------------------------------------


def test_a_workspace_of_bombs_is_refused(place: Place) -> None:
    """Each file costs its own connection; the sound one goes on. What is written in full would take for ever."""
    place.command("sound", "pass")
    bombs = {
        "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'}" + ",*a" * 8 + "]\n" for n in range(20)),
        "merges": "a: &a {x: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [{', '.join(['*a'] * 9)}]}}\n" for n in range(50)),
        "deep": "[" * 50_000,
        "wide": "[" + "a," * 100_000 + "]",
        "large": "a: " + "x" * 300_000,
    }
    for name, content in bombs.items():
        place.write(f"connections/{name}.yaml", content)
    workspace = load(place.folder)
    assert sorted(workspace.broken) == sorted(bombs)
    assert list(workspace.connections) == ["sound"]


TAGS = [
    "!!python/object/apply:os.system ['touch /tmp/pwned']",
    "!!python/name:os.system",
    "!!python/object/new:subprocess.Popen [[touch, /tmp/pwned]]",
    "!include /etc/passwd",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!timestamp 2026-11-22",
    "!<tag:yaml.org,2002:str> text",
    "! text",
]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("form", ["a: {}", "- {}", "? {} \n: b", "a: [b, {}]"])
def test_no_tag_makes_an_object(tag: str, form: str) -> None:
    read = parse(form.replace("{}", tag).encode(), "x")
    assert {problem.code for problem in read.problems} & {"tag", "syntax", "directive"}, read
    assert not Path("/tmp/pwned").exists()


def test_names_that_collide_are_refused_by_name(place: Place) -> None:
    place.command("cafe", "pass")
    for name in (
        "CAFE",
        "caf\u00e9",
        "cafe\u0301",
        "\uff43afe",
        "ca\u017fe",
        "..",
        ".hidden",
        "a b",
        "a\nb",
        "-a",
        "a;rm",
    ):
        place.write(f"connections/{name}.yaml", "schedule: {type: manual}\ncommand: {run: [x]}\n")
    workspace = load(place.folder)
    assert list(workspace.connections) == ["cafe"]
    assert len(workspace.broken) == 9  # all but those that begin with a dot
    for problem in workspace.problems:
        assert problem.code in ("bad-name", "duplicate-name")
        assert str(problem).isprintable()


# --- a branch that nobody has read -------------------------------------------------------------------------------

Commands = tuple[tuple[str, ...], ...]
PLAN = ("plan", "main..branch", "--now", NOW)


def test_every_command_looks_or_acts() -> None:
    """A new command has to be tried on hostile trees, or be one that obeys the workspace."""
    known = {name for names in cli.GROUPS.values() for name in names}
    assert {words[0] for words in LOOKING} | ACTING == known
    assert not {words[0] for words in LOOKING} & ACTING


def everything_in(*folders: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and content, or the target, of all that *folders* hold."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found[str(path)] = (path.lstat().st_mode, content)
    return found


def look(ground: Ground, words: tuple[str, ...]) -> Finished:
    """Type a command in the workspace of *ground*, and see that it ends well and leaves nothing behind."""
    temporary = ground.mark.parent.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {
        "HOME": str(ground.elsewhere),
        "XDG_CONFIG_HOME": str(ground.elsewhere / ".config"),
        "TMPDIR": str(temporary),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        before = everything_in(ground.elsewhere, ground.mark.parent)
        done = Place(ground.workspace).run(*words, check=None, env=environment | ground.environment)
    shown = " ".join(words)
    assert everything_in(ground.elsewhere, ground.mark.parent) == before, shown
    assert list(temporary.iterdir()) == [], f"{shown} left its temporary files"
    assert not list(Path("/tmp").glob("connrunner-evil*")), shown
    assert done.code != 4, (shown, done)
    return done


LISTINGS = [name for name in TREES if name.startswith(("connections list", "templates list"))]
QUICK = pytest.param(ASKING_GIT, id="those that ask git")
EVERY = pytest.param(LOOKING, id="every command", marks=pytest.mark.thorough)


@pytest.mark.slow
@pytest.mark.parametrize("commands", [QUICK, EVERY])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.thorough if name.startswith("links") else ())  # many files
        for name in TREES
        if name not in LISTINGS
    ],
)
def test_looking_runs_nothing_and_touches_nothing(tmp_path: Path, name: str, commands: Commands) -> None:
    """No mark, no byte outside, and an exit code that is not 0 where the tree is refused."""
    tree = TREES[name]
    ground = lay_ground(tmp_path, source=tree.source)
    tree.build(ground)

    codes = {" ".join(words): look(ground, words).code for words in commands}

    assert list(ground.mark.parent.iterdir()) == []
    for wanted in tree.refused_by:
        assert 0 not in [code for words, code in codes.items() if words.startswith(wanted)], (wanted, codes)


@pytest.mark.slow
@pytest.mark.parametrize("commands", [pytest.param((PLAN,), id="plan"), EVERY])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.thorough if name.startswith("templates") else ()) for name in LISTINGS],
)
def test_no_list_of_files_leads_elsewhere(tmp_path: Path, name: str, commands: Commands) -> None:
    ground = lay_ground(tmp_path)
    TREES[name].build(ground)

    seen = {words: look(ground, words) for words in commands}

    assert list(ground.mark.parent.iterdir()) == []
    done = seen[PLAN]
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert re.search(r"commit [0-9a-f]{12}, \S+ lists ", done.err), done.err


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("setting", settings_with_programs())
def test_no_setting_names_a_program_that_runs(tmp_path: Path, setting: str) -> None:
    """Each setting alone: a wrong one of them could have kept git from the others."""
    ground = lay_ground(tmp_path)
    TREES["a repository in the workspace, source git"].build(ground)
    ground.write("config", hostile_config(ground, [setting]))
    for words in (*ASKING_GIT, ("doctor",)):
        look(ground, words)
    assert list(ground.mark.parent.iterdir()) == []


@pytest.mark.slow
def test_the_marks_are_left_where_git_obeys(tmp_path: Path) -> None:
    """A negative control: git in that folder does run such programs."""
    ground = lay_ground(tmp_path)
    TREES["a repository in the workspace, source git"].build(ground)
    config = hostile_config(ground, ["filter.evil.clean", "core.fsmonitor"])
    ground.write("config", config.replace("[extensions]", "[none]"))
    ground.write("connections/sound.yaml", "edited")
    subprocess.run(["git", "status"], cwd=ground.workspace, capture_output=True, check=False)
    assert list(ground.mark.parent.iterdir()), "the tests of this table prove nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TREES if "templates" in name])
def test_what_is_laid_out_of_a_commit_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    ground = lay_ground(tmp_path)
    TREES[name].build(ground)
    before = everything_in(ground.elsewhere)
    (tmp_path / "into").mkdir()
    with pytest.raises(VersionError, match=r"commit [0-9a-f]{12}, templates"):
        lay_out(str(ground.workspace), ground.git("rev-parse", "branch"), "templates", tmp_path / "into" / "templates")
    assert everything_in(ground.elsewhere) == before
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["templates"]
    assert not list(Path("/tmp").glob("connrunner-evil*"))


# --- secrets -----------------------------------------------------------------------------------------------------

PLANTED = {
    "password": "hunter2-hunter2-{}",
    "API_KEY": "sk_live_{}51H8xJ2eZvKYlo2C",
    "client_secret": "{}Qm9ndXMgc2VjcmV0IHZhbHVl",
    "AWS_SECRET_ACCESS_KEY": "{}wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "DATABASE_URL": "postgres://me:plain-{}-password@db.example.com/crm",
}


def test_planted_secrets_are_refused_and_not_repeated(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    planted = []
    for number in range(10):
        for name, form in PLANTED.items():
            secret = form.format(f"{number:04}")
            planted.append(secret)
            file = f"p{number}-{name.lower().replace('_', '-')}"
            work = f"command: {{run: [x], env: {{{name}: {json.dumps(secret)}}}}}"
            place.write(f"connections/{file}.yaml", f"schedule: {{type: manual}}\n{work}\n")

    workspace = load(place.folder)

    assert len(planted) == 50
    assert len(workspace.broken) == 50
    assert {problem.code for problem in workspace.problems} == {"literal-secret"}
    assert cli.main(["validate", "--workspace", str(place.folder)]) == 2
    said = "".join(capsys.readouterr())
    assert not [secret for secret in planted if secret in said or "plain-0" in said]


SECRET = 's3cret/with "quotes" & signs-0123456789'
FORMS = {
    "plain": SECRET,
    "URL": quote(SECRET, safe=""),
    "JSON": json.dumps(SECRET)[1:-1],
    **{f"base64, {n} before": base64.b64encode(b"x" * n + SECRET.encode() + b"yy").decode() for n in range(3)},
}
TELL_TALE = [
    "s3cret/with",
    "s3cret%2Fwith",
    *(base64.b64encode(b"x" * n + SECRET.encode())[4:20].decode() for n in range(3)),
]
# Prints each form whole and in pieces, long after other words, then fails with it, and waits to be looked at.
LEAKY = """
import json, os, pathlib, sys, time
forms = {forms}
assert os.environ["KEY"] == {secret}
for form in forms:
    for stream in (sys.stdout, sys.stderr):
        print("says", form, file=stream, flush=True)
    for size in (1, 3, 7):
        for start in range(0, len(form), size):
            sys.stdout.write(form[start : start + size]); sys.stdout.flush()
        print(flush=True)
    print("x" * (8192 - 20) + form + "y" * 9000, flush=True)
    print(json.dumps({{"message": form}}), flush=True)
pathlib.Path("runs-now").touch()
for _ in range(400):
    if pathlib.Path("go-on").exists(): break
    time.sleep(0.05)
print("failed with", forms[0], file=sys.stderr)
sys.exit(3)
"""


def arguments_of_all_processes() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "cmdline").read_bytes()
        except OSError:
            continue


@pytest.mark.slow
def test_no_secret_leaves_in_any_form_by_any_way(place: Place) -> None:
    """Log, rejects, history, terminal, mail, errors, arguments of processes: nothing of it, in no form."""
    (place.folder.parent / "forms.json").write_text(json.dumps(list(FORMS.values())))
    read = f"json.load(open({str(place.folder.parent / 'forms.json')!r}))"
    place.write("leaky.py", LEAKY.format(forms=read, secret=f"{read}[0]"))
    run = json.dumps([sys.executable, "leaky.py"])
    work = f"command: {{run: {run}, env: {{KEY: 'env:THE_KEY'}}}}\nnotify: [{{to: [a@example.com], when: always}}]\n"
    place.write("connections/leaky.yaml", f"schedule: {{type: manual}}\n{work}")

    ran = subprocess.Popen(
        [sys.executable, "-P", "-m", "connrunner", "run", "leaky"],
        cwd=place.folder,
        env={**os.environ, "THE_KEY": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (place.folder / "runs-now").exists():
        assert time.monotonic() < deadline
        assert ran.poll() is None, ran.communicate()
        time.sleep(0.02)
    arguments = b"\0".join(arguments_of_all_processes()).decode("utf-8", "replace")
    (place.folder / "go-on").touch()
    shown = "".join(ran.communicate(timeout=60))

    where = {"arguments": arguments, "terminal": shown}
    for path in place.state.root.rglob("*"):
        if path.is_file() and path.suffix != ".eml":
            where[path.name] = path.read_bytes().decode("utf-8", "replace")
    for path in place.state.mail.glob("*.eml"):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        where["mail"] = str(message["subject"]) + "".join(
            part.get_content() for part in message.walk() if not part.is_multipart()
        )
    assert {"log.jsonl", "history.jsonl", "journal.jsonl", "mail"} <= set(where)
    assert "exit status 3" in where["mail"]
    assert where["log.jsonl"].count("***") > 20, "the secret was never printed"
    leaks = [(place, piece) for place, text in where.items() for piece in TELL_TALE if piece in text]
    assert leaks == []


# --- output ------------------------------------------------------------------------------------------------------

ODD = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202e txt \u2028 \x08\x08 \U000e0041"
FORGED = [
    {"type": "ended", "outcome": "succeeded", "counts": {"read": 1}, "message": "all well"},
    {"at": "2026-11-22T06:00:00Z", "type": "ended", "outcome": "succeeded", "counts": {}, "message": "forged"},
    {"v": 1, "type": "ended", "run": {"connection": "forger", "run": 9, "outcome": "succeeded"}},
    {"v": 1, "type": "planned", "promises": {}, "slots": []},
    {"connection": "forger", "run": 99, "outcome": "succeeded"},
]


def test_json_escapes_what_a_terminal_obeys() -> None:
    shown = as_json({"a": ODD, "b": [ODD]}, indent=2)
    assert json.loads(shown) == {"a": ODD, "b": [ODD]}
    assert hostile(shown) == []
    assert as_json({"a": "żółw 漢字"}) == '{"a": "żółw 漢字"}'


HOSTILE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, lone surrogates, line and paragraph separators


def hostile(text: str) -> list[str]:
    return [char for char in text if char not in "\n\t" and unicodedata.category(char) in HOSTILE]


@pytest.mark.slow
@pytest.mark.thorough
def test_no_command_prints_what_moves_a_cursor(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """Hostile words wherever people who may not push to the workspace can put them, and where those who may can."""
    quoted = json.dumps(ODD)
    place.write(
        "in/a\x1b[31m\u202e.csv",
        f"id,email,name,age\n1,{ODD.replace(chr(0x2028), '')},x,{ODD.replace(chr(0x2028), '')}\n",
    )
    place.write(
        "connections/people.yaml",
        f"title: {quoted}\ndescription: {quoted}\nowner: {quoted}\nschedule: {{type: manual}}\n"
        'import: {from: {type: files, path: "in/*.csv"}, match: [id], fields: {id: id, email: email, name: name, age: age}}\n',
    )
    place.command("loud", f"print({ODD!r}); import sys; sys.exit({ODD!r})", more=f"title: {quoted}\n")
    place.write("connections/br\u00f6ken.yaml", f"{quoted}: [")
    place.write("connections/broken.yaml", f"schedule: {quoted}\ncommand: {{run: [{quoted}]}}\n")
    where = ["--workspace", str(place.folder)]
    environment = {"SUDO_USER": ODD.replace("\x00", "")}
    for name in ("people", "loud"):
        place.run("run", name, check=None, env=environment)

    typed = [
        ["tick"], ["status"], ["runs", "people"], ["runs", "loud"], ["log", "people"], ["log", "loud"], ["next"],
        ["rejects", "people"], ["state", "people"], ["run", "people", "--dry-run"], ["run", "broken"], ["log", ODD],
    ]  # fmt: skip
    for command in typed:
        for form in ([], ["--format", "json"]):
            cli.main([*command, *where, *form])
    for name in ("text", "json", "github", "sarif"):
        cli.main(["validate", *where, "--format", name])
    cli.main(["profiles", "x'\x1b", *where])
    said = capfd.readouterr()

    assert "owned" in said.out, "the odd words were never shown"
    assert hostile(said.out) == []
    assert hostile(said.err) == []


@pytest.mark.slow
@pytest.mark.thorough
def test_a_program_forges_no_record(place: Place) -> None:
    lines = "".join(f"print({json.dumps(record)!r}, flush=True)\n" for record in FORGED)
    forge = f"{lines}print('x\\r\\n' + {json.dumps(FORGED[1])!r}, flush=True)\nimport sys\nsys.exit(1)"
    place.command("forger", forge)

    place.run("run", "forger", check=1)

    assert [(run["run"], run["outcome"], run["exit_status"]) for run in place.runs("forger")] == [(1, "failed", 1)]
    events = [json.loads(line) for line in place.state.log("forger", 1).read_text().splitlines()]
    assert [event["outcome"] for event in events if event.get("type") == "ended"] == ["failed"]
    assert events[-1]["type"] == "ended"
    assert [record["run"]["run"] for record in place.journal() if record["type"] == "ended"] == [1]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not there")
def test_a_tick_needs_no_network(place: Place) -> None:
    place.command("hello", "print('hello')", schedule="{type: times_per_day, times: 1}")
    tick = [sys.executable, "-P", "-m", "connrunner", "tick"]
    done = subprocess.run(["unshare", "-rn", *tick], cwd=place.folder, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this system makes no network namespaces")
    assert done.returncode == 0, done.stderr
    assert [run["outcome"] for run in place.runs("hello")] == ["succeeded"]
