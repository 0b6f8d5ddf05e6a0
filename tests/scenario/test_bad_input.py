"""Bad input: a clear message, a non-zero exit, nothing bought and nothing lost.

Oracle: the exit code, words of the message that a person needs (the place, what is wrong), and the
emulator's empty bill; where a file existed before, its unchanged bytes.
"""
import json
import os
import pathlib
import resource
import sqlite3
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Emulator, Offpeak, clock, environment, OFFPEAK  # noqa: E402

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
          "additionalProperties": False}
PIPELINE = """pipeline: bad
about: what can go wrong
inputs:
  items: {%(input)s}
records: %(records)s
requests:
  ask: {model: claude-haiku-4-5, max_tokens: 200, user: %(user)s, answer: a.json}
outputs:
  - csv: answers.csv
    key: [id]
    rows: %(rows)s
"""
GOOD = {"input": 'csv: "%(dir)s/items.csv"', "records": "SELECT id AS key, word FROM items",
        "user": '"About {{word}}"', "rows": "SELECT key AS id, answer ->> 'text' AS text FROM answers"}


@pytest.fixture
def world(tmp_path):
    with Emulator(tmp_path) as emulator:
        yield Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(1000)), emulator, tmp_path


def pipeline(folder, items=b"id,word\nr1,one\nr2,two\n", schema=None, name="items.csv", **parts):
    where = folder / "bad"
    where.mkdir(exist_ok=True)
    text = PIPELINE % dict(GOOD, **parts)
    (where / "pipeline.yaml").write_text(text.replace("%(dir)s", str(where)))
    (where / "a.json").write_text(json.dumps(SCHEMA) if schema is None else schema)
    if items is not None:
        (where / name).write_bytes(items)
    return where


CASES = {
    # name: (pipeline arguments, words of the message)
    "text after a quote": (dict(items=b'id,word\nr1,"one"x\nr2,two\n'), ["items.csv:2"]),
    "unclosed quote": (dict(items=b'id,word\nr1,"one\nr2,two\n'), ["items.csv:2", "quote"]),
    "fields missing": (dict(items=b"id,word\nr1\n"), ["items.csv:2", "fields"]),
    "empty file": (dict(items=b""), ["items.csv", "empty"]),
    "no such file": (dict(items=None), ["items.csv"]),
    "duplicate column": (dict(items=b"id,id\n1,2\n"), ["items.csv", "id"]),
    "duplicate keys": (dict(items=b"id,word\nr1,one\nr1,two\n"), ["'r1'", "twice"]),
    "empty key": (dict(items=b"id,word\n,one\n"), ["key"]),
    "illegal UTF-8": (dict(items=b"id,word\nr1,o\xffe\n"), ["items.csv:2", "UTF-8"]),
    "missing variable": (dict(user='"About {{wrod}}"'), ["wrod", "word"]),
    "unclosed section": (dict(user='"About {{#word}}"'), ["word"]),
    "unknown column": (dict(records="SELECT id AS key, wrod FROM items"), ["wrod"]),
    "unknown table": (dict(records="SELECT id AS key FROM itms"), ["itms"]),
    "broken SQL": (dict(records="SELEC id AS key FROM items"), ["SELEC"]),
    "two statements": (dict(records="\"SELECT id AS key FROM items; SELECT 1\""), ["pipeline.yaml"]),
    "no key column": (dict(records="SELECT id, word FROM items"), ["key"]),
    "writing SQL": (dict(records="DELETE FROM items"), ["pipeline.yaml"]),
    "attach": (dict(records="ATTACH 'x.db' AS x"), ["pipeline.yaml"]),
    "unknown column in rows": (dict(rows="SELECT kee AS id FROM answers"), ["kee"]),
    "key not among the rows": (dict(rows="SELECT key, 1 AS text FROM answers"), ["id"]),
    "schema is not JSON": (dict(schema="{nonsense"), ["a.json"]),
    "schema is no schema": (dict(schema='{"type":"objekt"}'), ["a.json", "objekt"]),
    "schema with an unknown keyword":
        (dict(schema='{"type":"object","propertees":{}}'), ["a.json", "propertees", "properties"]),
    "JSONL broken": (dict(items=b'{"id":"a","word":"x"}\n{"id":"b",\n', name="items.jsonl",
                          input='jsonl: "%(dir)s/items.jsonl"'), ["items.jsonl:2"]),
    "JSONL line is no object": (dict(items=b'{"id":"a","word":"x"}\n17\n', name="items.jsonl",
                                     input='jsonl: "%(dir)s/items.jsonl"'), ["items.jsonl:2"]),
    "prompt over the limit": (dict(records="SELECT id AS key, replace(hex(zeroblob(5000000)), '0', 'x') AS word FROM items"),
                              ["r1"]),
    "unknown key in YAML": (dict(input='csv: "%(dir)s/items.csv", separater: ";"'),
                            ["pipeline.yaml:4", "separater", "separator"]),
}


@pytest.mark.parametrize("name", CASES)
def test_bad(world, name):
    offpeak, emulator, tmp = world
    parts, words = CASES[name]
    done = offpeak.run("run", pipeline(tmp, **parts))
    assert done.returncode == 1, (done.returncode, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr
    assert done.stderr.startswith("offpeak: ") or "\noffpeak: " in done.stderr
    assert not emulator.bill()
    # and mended, it runs
    offpeak.run("run", pipeline(tmp), expect=0)
    assert len(offpeak.csv("answers.csv")) == 2


def test_bad_rows_can_be_skipped(world):
    offpeak, emulator, tmp = world
    where = pipeline(tmp, items=b"id,word\nr1,one\nr2\nr3,three\n",
                     input='csv: "%(dir)s/items.csv", on_error: skip')
    done = offpeak.run("run", where, expect=0)
    assert "items.csv:3" in done.stderr
    assert [r["id"] for r in offpeak.csv("answers.csv")] == ["r1", "r3"]


def test_a_line_of_300_mb(world):
    offpeak, emulator, tmp = world
    where = pipeline(tmp, items=None, input='jsonl: "%(dir)s/items.jsonl"')
    with open(where / "items.jsonl", "wb") as f:
        f.write(b'{"id":"a","word":"x"}\n{"id":"b","word":"')
        for _ in range(300):
            f.write(b"y" * 1000000)
        f.write(b'"}\n{"id":"c","word":"z"}\n')
    done = offpeak.run("run", where)
    assert done.returncode == 1 and "items.jsonl:2" in done.stderr and "limit" in done.stderr
    assert not emulator.bill()


def test_no_key(world):
    offpeak, emulator, tmp = world
    done = offpeak.run("run", pipeline(tmp), ANTHROPIC_API_KEY="")
    assert done.returncode == 1 and "ANTHROPIC_API_KEY" in done.stderr and "--emulate" in done.stderr
    assert not emulator.bill()


def test_newer_ledger_is_left_alone(world):
    offpeak, emulator, tmp = world
    offpeak.run("run", pipeline(tmp), expect=0)
    db = sqlite3.connect(offpeak.state / "ledger.db")
    db.execute("PRAGMA user_version = 9999")
    db.commit()
    db.close()
    before = (offpeak.state / "ledger.db").read_bytes()
    done = offpeak.run("run", pipeline(tmp))
    assert done.returncode == 1 and "newer" in done.stderr
    assert (offpeak.state / "ledger.db").read_bytes() == before


def test_ledger_in_use(world):
    offpeak, emulator, tmp = world
    where = pipeline(tmp)
    holder = subprocess.Popen([OFFPEAK, "run", str(where), "--poll", "60"], cwd=offpeak.cwd,
                              env=dict(offpeak.env, OFFPEAK_CLOCK=""), stderr=subprocess.PIPE, text=True)
    try:
        for line in holder.stderr:
            if "batch sent" in line:
                break
        done = offpeak.run("run", where)
        assert done.returncode == 4 and str(holder.pid) in done.stderr, done.stderr
        assert offpeak.run("status").returncode in (0, 3)  # looking on is allowed
    finally:
        holder.terminate()
        holder.wait()
    offpeak.run("recover", expect=0)
    assert set(emulator.bought().values()) == {1}


def mounted(path, options):
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs",
                                            str(path)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")


def test_full_disk(world):
    offpeak, emulator, tmp = world
    mounted(offpeak.state, "size=200m,mode=700")
    try:
        done = offpeak.run("run", pipeline(tmp))
        assert done.returncode == 1 and "free" in done.stderr, done.stderr
        assert not emulator.bill()
        subprocess.run(["mount", "-o", "remount,size=1g,mode=700", str(offpeak.state)], check=True)
        offpeak.run("run", pipeline(tmp), expect=0)
        assert set(emulator.accepted().values()) == {1}
    finally:
        subprocess.run(["umount", str(offpeak.state)])


def test_read_only_state(world):
    offpeak, emulator, tmp = world
    mounted(offpeak.state, "size=1m,ro,mode=700")
    try:
        done = offpeak.run("run", pipeline(tmp))
        assert done.returncode == 1 and str(offpeak.state) in done.stderr, done.stderr
        assert not emulator.bill()
    finally:
        subprocess.run(["umount", str(offpeak.state)])


def test_unwritable_output_loses_nothing(world):
    """The answers are kept, the run says so, and running it again delivers without buying."""
    offpeak, emulator, tmp = world
    (offpeak.cwd / "answers.csv").mkdir()
    done = offpeak.run("run", pipeline(tmp))
    assert done.returncode == 1 and "answers.csv" in done.stderr
    assert len(emulator.bought()) == 2
    (offpeak.cwd / "answers.csv").rmdir()
    offpeak.run("run", pipeline(tmp), expect=0)
    assert len(offpeak.csv("answers.csv")) == 2
    assert set(emulator.accepted().values()) == {1}


def test_secrets_stay_secret(world):
    """The key is in no file, no output and no argument list."""
    offpeak, emulator, tmp = world
    key = offpeak.env["ANTHROPIC_API_KEY"].encode()
    done = offpeak.run("run", pipeline(tmp), "--verbose", expect=0)
    assert key.decode() not in done.stdout + done.stderr
    for path in [*offpeak.state.rglob("*"), *offpeak.cwd.rglob("*")]:
        if path.is_file():
            assert key not in path.read_bytes(), path
