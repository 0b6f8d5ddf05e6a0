# SPDX-License-Identifier: MIT
"""conversation-narratives: sessions of a coding assistant told as narratives that search finds.

Behaviour: a row a session under its name, in five lines and in Markdown, in a full-text index; a session
           that grew is told anew under the same key, nothing that stayed the same is bought again;
           whatever lies in the folder, the other sessions are told.
Oracle:    sessions written by the tests (support/sessions.py) and what was sent for them (the emulator's
           bill, the payload files); the narratives' forms put together again here from the scripted
           answer; the index searched with Python's own SQLite.
"""
import json
import os
import pathlib
import shutil
import sqlite3
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import ROOT, SHARED  # noqa: E402
from sessions import Session, sample  # noqa: E402

SAMPLE = ROOT / "pipelines" / "conversation-narratives" / "sample" / "projects"
ANSWER = {"summary": "Container memory, found by limits", "problem": "The import container\nwas killed.",
          "solution": "It works in batches.", "solution_type": "debug", "tools": ["Docker", "Edit"],
          "concepts": ["container-memory"], "files": ["docker-compose.yaml"], "pattern": "batching",
          "details": "Batches of 500.", "validation": "12 tests passed.", "keywords": ["oom", "exit code 137"]}


def project(offpeak, name="-home-ada-projects-shop"):
    return offpeak.cwd / "projects" / name


def a_session(name, text="Please find out why the test of the parser fails on empty input."):
    return Session(name).user(text).edit("/p/parse.c", "abc", "abd").bash("make test", "3 passed").says("Fixed.")


def tell(offpeak, *options, **kwargs):
    return offpeak.run("run", "conversation-narratives", "--dir", "projects", *options, **kwargs)


def rows(offpeak, sql, *values, name="narratives.sqlite"):
    db = sqlite3.connect(f"file:{offpeak.cwd / name}?mode=ro", uri=True)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


def sessions(offpeak):
    return [row[0] for row in rows(offpeak, "SELECT session FROM narratives ORDER BY session")]


def bought(offpeak):
    return sum(offpeak.emulator.bought().values())


def test_the_sample_is_what_its_script_says():
    files = {path.relative_to(SAMPLE).as_posix(): path.read_text() for path in SAMPLE.rglob("*.jsonl")}
    assert files == {f"{folder}/{session.name}.jsonl": session.text() for folder, session in sample()}


def test_the_sample_is_told(offpeak):
    offpeak.run("run", "conversation-narratives", "--dir", SAMPLE, "--emulate", expect=0)
    assert sessions(offpeak) == sorted(session.name for _, session in sample())
    prompts = [json.loads(f.read_text()) for f in (offpeak.state / "spool" / "payload").glob("*.json")]
    sent = json.dumps(prompts)
    for word in ("gets killed after a few minutes", "importer/load.py", "Error: container killed: out of memory",
                 "12 passed in 3.10s", "docker stats --no-stream importer"):
        assert word in sent, word
    assert "/clear" not in sent
    offpeak.run("run", "conversation-narratives", "--dir", SAMPLE, "--emulate", expect=0)
    assert len(list((offpeak.state / "spool" / "payload").glob("*.json"))) == len(prompts)


def test_both_forms_and_the_index(connected):
    offpeak = connected(answers=[{"json": ANSWER}])
    a_session("s1").save(project(offpeak))
    tell(offpeak, expect=0)
    [(short, narrative, name, size)] = rows(offpeak, "SELECT short, narrative, project, size FROM narratives")
    assert short.split("\n") == [
        "PROBLEM: The import container was killed.", "SOLUTION: It works in batches.", "TOOLS: Docker, Edit",
        "CONCEPTS: container-memory", "FILES: docker-compose.yaml"]
    assert name == "shop" and size == (project(offpeak) / "s1.jsonl").stat().st_size
    for part in ("## Search Summary\n\nContainer memory, found by limits\n", "(debug): It works in batches.",
                 "## Search Keywords\n\noom, exit code 137\n"):
        assert part in narrative
    found = "SELECT n.session FROM narratives_search AS i JOIN narratives AS n ON n.rowid = i.rowid " \
            "WHERE narratives_search MATCH ?"
    assert rows(offpeak, found, "batch AND container") == [("s1",)]  # stemmed
    assert rows(offpeak, found, "kubernetes") == []
    shown = offpeak.run("show", "s1", expect=0).stdout
    assert "Technical Pattern" in shown


def test_grown_sessions_and_no_others_are_told_again(connected):
    offpeak = connected()
    one, two = a_session("one"), a_session("two", "The second thing to be done is to rename the module.")
    path = one.save(project(offpeak))
    two.save(project(offpeak))
    tell(offpeak, expect=0)
    assert bought(offpeak) == 2
    tell(offpeak, expect=0)
    os.utime(path)  # touched: read again, and the same
    tell(offpeak, expect=0)
    with open(path, "a") as file:  # grown by what tells nothing, and half a line
        file.write(json.dumps({"type": "file-history-snapshot", "x": 1}) + "\n" + '{"type":"user","mess')
    tell(offpeak, expect=0)
    assert bought(offpeak) == 2
    before = rows(offpeak, "SELECT hash FROM narratives WHERE session = 'two'")
    one.user("And now the other way round, please: the module gets its old name.").save(project(offpeak))
    tell(offpeak, expect=0)
    assert bought(offpeak) == 3
    assert sessions(offpeak) == ["one", "two"]
    assert rows(offpeak, "SELECT hash FROM narratives WHERE session = 'two'") == before
    (offpeak.cwd / "narratives.sqlite-sessions").write_bytes(b"not a database at all, and long enough " * 200)
    shutil.move(path, project(offpeak) / "three.jsonl")
    tell(offpeak, expect=0)  # a renamed session is another, with the same words: nothing is bought
    assert bought(offpeak) == 3 and sessions(offpeak) == ["one", "three", "two"]


def test_whatever_lies_there(connected):
    offpeak = connected()
    folder = project(offpeak)
    good = a_session("good")
    good.save(folder)
    (folder / "text.jsonl").write_text("this is no JSON\n{\"type\":\"user\"\n")
    (folder / "values.jsonl").write_text('"x"\n42\n[1]\nnull\n{"silly":"this"}\n')
    (folder / "empty.jsonl").write_text("")
    (folder / "bytes.jsonl").write_bytes(b"\xff\xfe\x00" * 1000)
    with open(folder / "huge.jsonl", "wb") as file:  # one line of 300 MB, and a message behind it
        file.truncate(300 * 1000 * 1000)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + a_session("x", "What stands behind a line that nobody can read is read.").text().encode())
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    (folder / "dir.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (offpeak.cwd / "projects" / "round").symlink_to("..")
    (offpeak.cwd / "projects" / "..hidden").mkdir()
    agent = a_session("agent-1")
    agent.lines = [line.replace('"isSidechain": false', '"isSidechain": true') for line in agent.lines]
    agent.save(folder)
    good.save(project(offpeak, "-copy"))
    done = tell(offpeak, expect=0)
    assert sessions(offpeak) == ["good", "huge"], done.stderr
    assert bought(offpeak) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_files_that_may_not_be_read(connected):
    offpeak = connected()
    a_session("good").save(project(offpeak))
    a_session("closed", "Another thing that somebody has closed to us, so it cannot be read.").save(
        project(offpeak)).chmod(0)
    done = tell(offpeak)
    assert sessions(offpeak) == ["good"] and "closed.jsonl" in done.stderr


def test_only_one_project(connected):
    offpeak = connected()
    a_session("a").save(project(offpeak, "-home-ada-projects-my-app"))
    a_session("b", "Something else in another project, which is left out here.").save(project(offpeak, "-x"))
    tell(offpeak, "--project", "my_app", expect=0)
    assert sessions(offpeak) == ["a"]
    said = tell(offpeak, "--project", "..", expect=0)
    assert bought(offpeak) == 1, said.stderr


def test_no_sessions(offpeak):
    (offpeak.cwd / "projects").mkdir()
    for name in ("projects", "nowhere"):
        done = offpeak.run("run", "conversation-narratives", "--dir", name, "--emulate", expect=1)
        assert "holds no sessions" in done.stderr and name in done.stderr
    assert "holds no sessions" in offpeak.run("validate", "conversation-narratives", expect=1).stdout
    assert not list(offpeak.cwd.glob("*.sqlite"))
    offpeak.run("validate", "conversation-narratives", "--dir", SAMPLE, expect=0)


@pytest.mark.skipif(not (SHARED / "data" / "claude-code-transcripts").exists(), reason="no real sessions here")
def test_real_sessions(offpeak):
    shutil.copytree(SHARED / "data" / "claude-code-transcripts", project(offpeak))
    tell(offpeak, "--emulate", expect=0)
    assert set(sessions(offpeak)) >= {"representative_messages", "edge_cases"}
