"""The rules of the house that are about the whole tree.

Behaviour: includes point downward; pages say commands, options, targets and files that exist;
           reference pages are what the program prints; every source has its licence line; nothing
           of one machine is in a tracked file; shipped pipelines are valid; the installed program
           finds what was installed beside it.
Oracle:    git's list of files, the Makefile, the program's own help, the emulator's tables.
"""
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess

import pytest

import harness
from harness import OFFPEAK, ROOT

# Written in two pieces, or this file would break its own rule.
MACHINE = re.compile("|".join([
    r"(?<![\w.}%>*s-])/(?:wor" r"k|roo" r"t)(?:/|\b(?=[\"' ]))", "/tmp/" r"(?:b-|clone)",
    "pypi" r"\.org", "python" "hosted", "npm" r"js\.", "crates" r"\.io", "ruby" r"gems\.",
    "deb" r"\.debian\.org", "proxy" r"\.golang"]), re.I)
PIPELINES = sorted(p.parent for p in (ROOT / "pipelines").glob("*/pipeline.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")),
         *sorted((ROOT / "pipelines").rglob("README.md"))]


def tracked():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git here: what is tracked is not known")
    names = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_layers():
    done = subprocess.run([ROOT / "tools" / "check-layers"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_licence_line():
    sources = [f for f in tracked() if f.suffix in (".c", ".h", ".cc", ".inc")]
    assert sources
    assert [str(f) for f in sources
            if not f.read_text().startswith("/* SPDX-License-Identifier: MIT */\n")] == []


def test_nothing_of_one_machine():
    found = []
    for file in tracked():
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            if MACHINE.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize("folder", PIPELINES, ids=lambda p: p.name)
def test_pipeline_is_valid(offpeak, folder):
    # Sessions lie in the home folder, and this test's is empty.
    env = {"CLAUDE_PROJECTS_DIR": folder / "sample" / "projects"}
    # With nothing required, its inputs are looked for at once: those of the sample are there.
    root = ["--root", folder / "sample"] if folder.name == "language-issues" else []
    if folder.name == "story-knowledge":  # `init` makes this of it
        with sqlite3.connect(offpeak.cwd / "stories.sqlite") as db:
            db.executescript((folder / "stories.sqlite.sql").read_text(encoding="utf-8"))
    offpeak.run("validate", folder, *root, expect=0, **env)


def test_command_page(offpeak):
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert page == offpeak.run("help", "--markdown", expect=0).stdout, "run tools/gen-reference"


def commands(page):
    """(line number, words) of every offpeak and make command in the page's blocks."""
    inside, line, begun = False, "", 0
    for number, text in enumerate(page.read_text().splitlines(), 1):
        if text.startswith("```"):
            inside, line = not inside, ""
            continue
        if not inside:
            continue
        begun = begun if line else number
        line += text
        if line.endswith("\\"):
            line = line[:-1]
            continue
        text, line = re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", line), ""
        match = re.match(r"(?:\$ )?(?:[A-Z_]+=\S* )*(?:build/)?(offpeak|make)((?: +[^#|>&;]*)?)", text)
        if match:
            yield begun, [match[1], *match[2].split()]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """What may follow `offpeak COMMAND`: its options, and the params of any pipeline."""
    offpeak = harness.Offpeak(tmp_path_factory.mktemp("words"))
    listed = re.findall(r"^  ([a-z]+)  ", offpeak.run("help", expect=0).stdout, re.M)
    offpeak.run("init", "example", expect=0)
    params = set()
    for folder in [*PIPELINES, offpeak.cwd / "example"]:
        text = offpeak.run("help", "run", folder, expect=0).stdout
        params |= set(re.findall(r"--([a-z][\w-]*)", text))
    return {name: params | set(re.findall(r"--([a-z][\w-]*)", offpeak.run(
        "help", name, expect=0).stdout)) for name in listed}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_a_page_exist(page, words):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    wrong = []
    for number, (program, *rest) in commands(page):
        names = [w for w in rest if not w.startswith("-") and "=" not in w]
        if program == "make":
            bad = [name for name in names if name not in targets]
        elif rest and rest[0] in ("help", "--version", "--help", "COMMAND"):
            bad = [name for name in names[1:2] if name.islower() and name not in
                   (*words, "pipeline", "sql")]
        elif not names or names[0] not in words:
            bad = names[:1] or rest
        else:
            options = [re.match(r"--([\w-]+)", w)[1].replace("_", "-") for w in rest
                       if re.match(r"--\w", w)]
            bad = [o for o in options if o not in words[names[0]]]
        wrong += [f"{page.name}:{number}: {program}: {b}" for b in bad]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_of_a_page_exist(page):
    text = page.read_text()
    named = re.findall(r"`((?:docs|pipelines|src|tests|tools|bench)/[\w./-]*)`", text)
    missing = [n for n in named if not (ROOT / n).exists() and not re.search(r"\b[A-Z]+\b/?$", n)]
    linked = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    missing += [n for n in linked if not (page.parent / n).exists()]
    assert missing == []


def test_engine_page():
    """Its two tables are the steps in their order and every fault point."""
    page = (ROOT / "docs" / "design" / "engine.md").read_text()
    engine = (ROOT / "src" / "engine" / "engine.c").read_text()
    steps = engine[engine.index("running_steps[] = {"):]
    steps = re.findall(r"op_step_(\w+)", steps[:steps.index("};")])
    assert [row for row in re.findall(r"^\| (\w+) \|", page, re.M) if row != "step"][:len(steps)] == steps
    points = (ROOT / "src" / "base" / "env.c").read_text()
    points = points[points.index("fault_points[] = {"):]
    points = re.findall(r'"([a-z.]+)"', points[:points.index("};")])
    assert sorted(re.findall(r"^\| `([a-z]+\.[a-z.]+)` \|", page, re.M)) == sorted(points)


def test_emulator_page():
    page = (ROOT / "docs" / "reference" / "emulator.md").read_text()
    rules = (ROOT / "src" / "emulator" / "faults.h").read_text()
    actions = re.findall(r'X\([A-Z_0-9]+, "(\w+)", [A-Z]+\)', rules)
    operations = re.findall(r'X\([A-Z]+, "(\w+)"\)', rules)
    assert len(actions) > 50 and len(operations) > 10
    routes = []
    for source in sorted((ROOT / "src" / "emulator").glob("*.c")):
        for method, path in re.findall(r'\.method = "(\w+)",\s*\.path = "([^"]+)"',
                                       source.read_text()):
            routes.append(f"{method} {path.replace('{}', '{id}').replace('/v1*', '/v1beta')}")
    assert len(routes) > 50
    missing = {n for n in [*actions, *operations, *routes] if f"`{n}`" not in page}
    assert missing - {"name"} == set()  # "name" is the pattern of the lists


def test_environment_page():
    """It names what the sources ask the environment for."""
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    asked = set()
    for file in (ROOT / "src").rglob("*.[ch]"):
        asked |= set(re.findall(r'"((?:OFFPEAK|ANTHROPIC|OPENAI|GEMINI)_[A-Z_]+)"', file.read_text()))
    internal = {"OFFPEAK_EMULATOR_CHILD"}  # between the program and its own emulator
    assert {a for a in asked - internal if f"`{a}`" not in page} == set()


def test_installed(tmp_path):
    build = pathlib.Path(OFFPEAK).parent
    if not (build / "build.ninja").exists() or not shutil.which("meson"):
        pytest.skip("the program was not built here, so there is nothing to install from")
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir",
                    tmp_path / "to"], check=True, capture_output=True)
    program, = (tmp_path / "to").rglob("bin/offpeak")
    assert os.access(program, os.X_OK)
    (tmp_path / "work").mkdir()
    done = subprocess.run([program, "run", "ticket-labels", "--path",
                           ROOT / "pipelines" / "ticket-labels" / "tickets.csv", "--emulate"],
                          cwd=tmp_path / "work", capture_output=True, text=True,
                          env=harness.environment(HOME=tmp_path, OFFPEAK_STATE=tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    assert "cost" in done.stdout
