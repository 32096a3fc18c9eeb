"""Files for cron, systemd and Kubernetes, judged by the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from connrunner.clocks import TickCall, crontab, kubernetes, systemd
from connrunner.doctor.engine_checks import RIGHTS
from connrunner.errors import ArgumentError
from connrunner.executors.kubernetes.manifest import make_claim, make_manifest
from tests.conftest import Place
from tests.stands.kubernetes import Stand

PLAIN = TickCall(program=Path("/opt/connrunner/bin/connrunner"), workspace=Path("/srv/crm"))
ODD = TickCall(
    program=Path("/opt/my programs/connrunner"),
    workspace=Path('/srv/50% of $HOME\'s "crm"'),
    state=Path("/var/lib/crm state"),
    environment=Path("/etc/crm env"),
)


def test_the_line_of_a_crontab() -> None:
    assert crontab.line(PLAIN) == "* * * * * /opt/connrunner/bin/connrunner tick --workspace /srv/crm >/dev/null"


def test_a_shell_reads_from_the_crontab_what_was_meant(tmp_path: Path) -> None:
    """cron replaces \\% by %, and gives the rest to a shell."""
    program = tmp_path / "my program"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$SECRET" "$@" >&2\n')
    program.chmod(0o700)
    environment = tmp_path / "the env"
    environment.write_text("SECRET=known\n")
    call = TickCall(program=program, workspace=ODD.workspace, state=ODD.state, environment=environment)
    command = crontab.line(call).removeprefix("* * * * * ").replace(r"\%", "%")

    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)

    assert done.stderr.splitlines() == ["known", *call.arguments[1:]]


def test_only_our_own_line_of_a_crontab_changes() -> None:
    others = "MAILTO=ops@example.com\n5 4 * * * backup\n"
    once = crontab.with_line(others, PLAIN)
    moved = TickCall(program=Path("/usr/bin/connrunner"), workspace=PLAIN.workspace)

    assert crontab.with_line(once, PLAIN) == once
    assert crontab.with_line(once, moved).count("connrunner tick for") == 1
    assert "/usr/bin/connrunner" in crontab.with_line(once, moved)
    assert crontab.with_line(once, ODD).count("connrunner tick for") == 2
    assert crontab.without_line(once, PLAIN) == others


@pytest.mark.slow
def test_a_crontab_is_written_and_mended(place: Place, tmp_path: Path) -> None:
    place.command("hello", "print('hello')")
    kept = tmp_path / "crontab.txt"
    fake = tmp_path / "bin/crontab"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat {kept} 2>/dev/null || {{ echo "no crontab for me" >&2; exit 1; }}\n'
        f"else cat > {kept}; fi\n"
    )
    fake.chmod(0o700)
    path = {"PATH": f"{fake.parent}:{os.environ['PATH']}"}

    said = place.run("install", "cron", "--write", env=path)
    again = place.run("install", "cron", "--write", env=path)

    assert "written to your crontab" in said.out
    assert "already says so" in again.out
    assert kept.read_text().count("* * * * * ") == 1
    place.run("install", "cron", "--remove", env=path)
    assert kept.read_text() == ""


@pytest.mark.slow
@pytest.mark.real_clock  # systemd starts no library of others
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("odd", [False, True])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, odd: bool) -> None:
    workspace = tmp_path / ('50% of "it"' if odd else "crm")
    workspace.mkdir()
    environment = tmp_path / "the env"
    call = TickCall(program=Path(sys.executable), workspace=workspace, environment=environment if odd else None)
    paths = _written(systemd.units(call, user="daemon"), tmp_path / "units")

    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)

    ours = [line for line in done.stderr.splitlines() if "connrunner" in line]  # it also judges the machine's own units
    assert ours == []
    assert done.returncode == 0 or not ours


@pytest.mark.slow
@pytest.mark.real_clock  # systemd starts no library of others
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_a_mistake_in_a_unit(tmp_path: Path) -> None:
    """The judge of the test above is awake."""
    texts = systemd.units(TickCall(program=Path(sys.executable), workspace=tmp_path))
    broken = {name: text.replace("ExecStart=/", "ExecStart=no/") for name, text in texts.items()}

    done = subprocess.run(
        ["systemd-analyze", "verify", *_written(broken, tmp_path / "units")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "connrunner" in done.stderr


def test_words_of_exec_start_mean_themselves() -> None:
    text = systemd.units(ODD)["connrunner-50-of-home-s-crm.service"]

    assert 'ExecStart="/opt/my programs/connrunner" tick --workspace ' in text
    assert r'"/srv/50%% of $$HOME' + r"'s \"crm\"" in text
    assert '--state "/var/lib/crm state"' in text
    assert "EnvironmentFile=/etc/crm env\n" in text


BASES: dict[str, dict[str, str]] = {
    "image": kubernetes.base("connrunner-crm", version="1.2.3", image="example.com:5000/team/crm:7"),
    "git-sync": kubernetes.base(
        "connrunner-crm",
        version="1.2.3",
        image="connrunner",
        repository="https://git.example.com/crm.git",
        folder="crm",
    ),
}


PAGE_BASES: dict[str, dict[str, str]] = {
    "image": kubernetes.base("connrunner-crm", version="1.2.3", image="connrunner", parts=["page"]),
    "git-sync": kubernetes.base(
        "connrunner-crm",
        version="1.2.3",
        image="connrunner",
        repository="https://git.example.com/crm.git",
        folder="crm",
        parts=["page"],
    ),
}


@pytest.mark.parametrize("texts", PAGE_BASES.values(), ids=PAGE_BASES)
def test_kubernetes_accepts_what_serves_the_page(texts: Mapping[str, str]) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    newest = validator.latest_version()
    deployment, service = yaml.safe_load_all(texts["web.yaml"])
    for manifest in (deployment, service, yaml.safe_load(texts["cronjob.yaml"]), yaml.safe_load(texts["state.yaml"])):
        validator.validate(manifest, newest, strict=True)
    pod = deployment["spec"]["template"]["spec"]
    page = pod["containers"][0]
    assert page["args"][:2] == ["web", "--workspace"]
    assert page["args"][-2:] == ["--listen", "0.0.0.0:8080"]
    assert page["securityContext"]["readOnlyRootFilesystem"]
    assert yaml.safe_load(texts["state.yaml"])["spec"]["accessModes"] == ["ReadWriteOnce"]
    job = yaml.safe_load(texts["cronjob.yaml"])["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert job["affinity"] == pod["affinity"]
    assert service["spec"]["selector"].items() >= deployment["spec"]["selector"]["matchLabels"].items()
    once, always = (
        [one["args"] for one in pod.get("initContainers", [])],
        [one["args"] for one in pod["containers"][1:]],
    )
    assert [set(args) ^ set(others) for args, others in zip(once, always, strict=True)] == (
        [{"--one-time", "--period=60s"}] if "git" in texts["web.yaml"] else []
    )


def test_kubernetes_accepts_what_runs_need_and_it_is_what_they_ask_for() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    texts = kubernetes.base("connrunner-crm", version="1.2.3", image="connrunner", parts=["runs"])
    rights = list(yaml.safe_load_all(texts["runs.yaml"]))
    for manifest in (*rights, yaml.safe_load(texts["cronjob.yaml"])):
        validator.validate(manifest, validator.latest_version(), strict=True)
    assert "runs.yaml" in yaml.safe_load(texts["kustomization.yaml"])["resources"]
    pod = yaml.safe_load(texts["cronjob.yaml"])["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], "automountServiceAccountToken" in pod) == ("connrunner-crm", False)
    tick, run = (one["rules"] for one in rights if one["kind"] == "Role")
    granted = [(tuple(one["verbs"]), one["apiGroups"][0], one["resources"][0]) for one in tick]
    assert granted == list(RIGHTS)
    assert [(one["resources"], one["verbs"]) for one in run] == [(["leases"], ["create", "get"])]
    assert "secrets" not in texts["runs.yaml"].lower().replace("no secret", "")


@pytest.mark.parametrize("version", ["1.28", "1.31", "1.34", "1.37"])
def test_kubernetes_accepts_the_job_of_a_run(version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    settings: dict[str, Any] = {
        "git": {"repository": "https://git.example.com/crm.git"},
        "secrets": ["crm"],
        "secret_files": {"/run/secrets/crm": "crm"},
        "node_selector": {"pool": "batch"},
        "resources": {"cpu": "2", "memory": "4Gi"},
    }
    job = make_manifest(Stand().task(**settings), scope="s")
    validator.validate(job, version, strict=True)
    validator.validate(make_claim("c-1-mark", "somebody", scope="s"), version, strict=True)
    job["spec"]["template"]["spec"]["tolerationss"] = []
    with pytest.raises(validator.ValidationError):
        validator.validate(job, version, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("texts", PAGE_BASES.values(), ids=PAGE_BASES)
def test_kustomize_builds_the_base_with_the_page(texts: Mapping[str, str], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("kubectl")
    if not program.exists():
        pytest.skip("kubectl is not installed")
    _written(texts, tmp_path)
    done = subprocess.run([program, "kustomize", tmp_path], capture_output=True, text=True, check=True)
    built = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout)}
    assert set(built) == {"CronJob", "Deployment", "PersistentVolumeClaim", "Service"}
    labels = built["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert built["Service"]["spec"]["selector"] == labels
    job = built["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]
    assert job["metadata"]["labels"] == {"app.kubernetes.io/name": "connrunner-crm"}


@pytest.mark.slow
@pytest.mark.real_clock  # systemd starts no library of others
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["crm", '50% of "it"'])
def test_systemd_finds_nothing_wrong_with_the_unit_of_the_page(tmp_path: Path, name: str) -> None:
    workspace = tmp_path / name
    workspace.mkdir()
    call = TickCall(program=Path(sys.executable), workspace=workspace)
    texts = systemd.page_unit(call, state=workspace / ".connrunner", user="daemon")
    paths = _written(texts, tmp_path / "units")
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "connrunner" in line] == []


@pytest.mark.parametrize("texts", BASES.values(), ids=BASES)
def test_every_image_of_others_is_named_by_digest(texts: Mapping[str, str]) -> None:
    named = re.findall(r"^FROM (.+)$|image: (?!connrunner$)(.+)$", "\n".join(texts.values()), re.MULTILINE)
    assert len(named) == (2 if "git-sync" in texts["cronjob.yaml"] else 1)
    for one in named:
        assert re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", "".join(one)), one


@pytest.mark.parametrize("texts", BASES.values(), ids=BASES)
def test_kubernetes_accepts_the_manifests(texts: Mapping[str, str]) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    newest = validator.latest_version()

    for name in ("cronjob.yaml", "state.yaml"):
        validator.validate(yaml.safe_load(texts[name]), newest, strict=True)
    broken = yaml.safe_load(texts["cronjob.yaml"].replace("concurrencyPolicy", "concurencyPolicy"))
    with pytest.raises(validator.ValidationError):
        validator.validate(broken, newest, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("texts", BASES.values(), ids=BASES)
def test_kustomize_builds_the_base(texts: Mapping[str, str], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("kubectl")
    if not program.exists():
        pytest.skip("kubectl is not installed")
    _written(texts, tmp_path)

    done = subprocess.run([program, "kustomize", tmp_path], capture_output=True, text=True, check=True)

    claim, job = sorted(yaml.safe_load_all(done.stdout), key=lambda item: item["kind"], reverse=True)
    assert (claim["kind"], job["kind"]) == ("PersistentVolumeClaim", "CronJob")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    if "initContainers" in pod:
        assert container["image"] == "connrunner:1.2.3"
        assert container["args"][-1] == "/git/workspace/crm"
    else:
        assert container["image"] == "example.com:5000/team/crm:7"
        assert container["args"][-1] == "/workspace"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


# Words of strangers, each of which YAML, Kubernetes or a shell would take for something else when it stood there bare.
ODD_WORDS = [
    "a: b", "a #b", "a,b", "[a]", "{a: b}", "&a", "*a", "!a", "'a", '"a', "a\\nb", "%a", "@a", "`a`", "- a", "? a", "|", ">",
    "yes", "null", "~", "1.0", "0x10", "1e3", "$(HOME)", "$$(HOME)", "$HOME", "{name}", "caf\u00e9", "a:", "", "a b",
]  # fmt: skip


def _expanded(argument: str) -> str:
    """What a container gets of an argument: k8s.io/kubernetes/third_party/forked/golang/expansion."""
    return re.sub(r"\$(\$|\([^)]*\))?", lambda found: "$" if found[1] in ("$", None) else "REPLACED", argument)


@pytest.mark.parametrize("word", ODD_WORDS)
def test_kubernetes_gets_the_words_that_were_meant(word: str) -> None:
    texts = kubernetes.base(
        "connrunner-crm", version="1.2.3", image=f"x{word}", repository=f"https://x/{word}", ref=word, folder=f"f{word}"
    )
    pod = yaml.safe_load(texts["cronjob.yaml"])["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (sync,), (tick,) = pod["initContainers"], pod["containers"]
    assert [_expanded(each) for each in sync["args"][:2]] == [f"--repo=https://x/{word}", f"--ref={word}"]
    assert [_expanded(each) for each in tick["args"]] == ["tick", "--workspace", f"/git/workspace/f{word}".rstrip("/")]
    (image,) = yaml.safe_load(texts["kustomization.yaml"])["images"]
    assert all(isinstance(value, str) for value in image.values())
    assert "".join(image["newName"] + mark + image.get(key, "") for key, mark in (("newTag", ":"), ("digest", "@"))
                   if key in image) in (f"x{word}", f"x{word}:1.2.3", f"x{word}1.2.3")  # fmt: skip


IMAGES = [
    ("team/crm", {"newName": "team/crm", "newTag": "1.2.3"}),
    ("team/crm:7", {"newName": "team/crm", "newTag": "7"}),
    ("example.com:5000/crm", {"newName": "example.com:5000/crm", "newTag": "1.2.3"}),
    ("example.com:5000/crm@sha256:ab", {"newName": "example.com:5000/crm", "digest": "sha256:ab"}),
    ("example.com:5000/crm:7@sha256:ab", {"newName": "example.com:5000/crm", "digest": "sha256:ab"}),
]


@pytest.mark.parametrize(("image", "expected"), IMAGES)
def test_which_image(image: str, expected: dict[str, str]) -> None:
    text = kubernetes.base("connrunner-crm", version="1.2.3", image=image)["kustomization.yaml"]
    assert yaml.safe_load(text)["images"] == [{"name": "connrunner", **expected}]


def test_git_sync_is_named_by_digest() -> None:
    (image,) = re.findall("image: (registry.*)", BASES["git-sync"]["cronjob.yaml"])
    assert re.fullmatch(r"registry\.k8s\.io/git-sync/git-sync:v[\d.]+@sha256:[0-9a-f]{64}", image)


LINES = ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\t", "\0", "\x1b", "\x7f", "\u202e", "\udcff"]


@pytest.mark.parametrize("sign", LINES, ids=ascii)
def test_no_word_begins_a_line_of_its_own(sign: str) -> None:
    word = f"/srv/a{sign}* * * * * evil"
    makers: list[Callable[[], object]] = [
        lambda: TickCall(program=Path("/x"), workspace=Path(word)),
        lambda: TickCall(program=Path(word), workspace=Path("/x")),
        lambda: TickCall(program=Path("/x"), workspace=Path("/x"), state=Path(word)),
        lambda: TickCall(program=Path("/x"), workspace=Path("/x"), environment=Path(word)),
        lambda: kubernetes.base("x", version="1", image=word),
        lambda: kubernetes.base("x", version="1", image="x", repository=word),
        lambda: kubernetes.base("x", version="1", image="x", repository="x", ref=word),
        lambda: kubernetes.base("x", version="1", image="x", repository="x", folder=word),
    ]
    for make in makers:
        with pytest.raises(ArgumentError) as caught:
            make()
        assert "has control characters" in caught.value.message
        assert caught.value.message.isprintable()


@pytest.mark.parametrize("account", ["a\nExecStart=/evil", "", "a b", "%h", "-x", "a:b", "a;b"])
def test_an_account_is_a_name(account: str) -> None:
    with pytest.raises(ArgumentError, match="is no name of an account"):
        systemd.units(PLAIN, user=account)
    assert "User=www-data\n" in systemd.units(PLAIN, user="www-data")["connrunner-crm.service"]


@pytest.mark.parametrize("folder", ["/srv/crm\\", "/srv/crm "])
def test_what_a_unit_cannot_say(folder: str) -> None:
    """A line that ends in a backslash goes on in the next one; a blank at its end is cut off."""
    for call in (
        TickCall(program=PLAIN.program, workspace=Path(folder)),
        TickCall(program=PLAIN.program, workspace=PLAIN.workspace, environment=Path(folder)),
    ):
        with pytest.raises(ArgumentError, match="systemd cannot be told of"):
            systemd.units(call)


def test_install_in_a_folder_with_a_line_break_writes_nothing(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "a\n* * * * * evil"
    shutil.copytree(place.folder, folder)
    for kind in ("cron", "systemd", "kubernetes"):
        said = place.run("install", kind, "--workspace", str(folder), check=2)
        assert "has control characters" in said.err
        assert said.out == ""


def _written(texts: Mapping[str, str], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]
