"""What a pipeline can say, one feature a test, on whole runs.

Behaviour: docs/reference/pipeline.md, inputs.md and outputs.md, as a user would try them.
Stimulus:  a pipeline folder, an emulator (with scripted answers where the answer matters), the command.
Oracle:    files, exit codes and messages, against what the test works out itself from the same input;
           the requests the emulator took and its bill for what was sent and bought.
"""
import csv
import itertools
import json
import pathlib
import sqlite3
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Emulator, Offpeak, clock  # noqa: E402

SPEED = 20000
MODEL = "claude-haiku-4-5"
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
          "additionalProperties": False}
HEAD = "pipeline: p\n"
ASK = f"requests:\n  ask: {{model: {MODEL}, max_tokens: 200, user: 'About {{{{word}}}}', answer: a.json}}\n"
OUT = """outputs:
  - csv: out.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
"""


class World:
    """The program with a fast emulator as its provider, and a pipeline folder `p` beside."""

    def __init__(self, folder, **emulator):
        self.dir = folder
        speed = emulator.pop("speed", SPEED)
        self.emulator = Emulator(folder, speed=speed, **emulator)
        self.emulator.__enter__()
        self.program = Offpeak(folder, self.emulator, OFFPEAK_CLOCK=clock(speed))
        self.cwd = self.program.cwd
        self.pipeline = folder / "p"

    def write(self, yaml, **files):
        """The folder's files; keys have `__` for the dot."""
        self.pipeline.mkdir(exist_ok=True)
        (self.pipeline / "pipeline.yaml").write_text(yaml)
        (self.pipeline / "a.json").write_text(json.dumps(SCHEMA))
        for name, text in files.items():
            (self.pipeline / name.replace("__", ".")).write_text(text)

    def put(self, name, text):
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def run(self, *args, expect=0, **kwargs):
        return self.program.run("run", self.pipeline, *args, expect=expect, **kwargs)

    def job(self):
        return self.program.json("status")["jobs"][0]

    def counts(self):
        return self.job()["counts"]

    def batches(self):
        """What was sent: the requests of each batch, in the order of creation."""
        folder = self.dir / "emulator" / "batches"
        order = list(dict.fromkeys(b["batch"] for b in self.emulator.bill()))
        return [[json.loads(line) for line in (folder / f"{id}.requests").read_bytes().splitlines()]
                for id in order]

    def sent(self):
        return [r["params"] for batch in self.batches() for r in batch]

    def prompts(self):
        return [p["messages"][0]["content"] for p in self.sent()]


@pytest.fixture
def world(tmp_path):
    worlds = []

    def start(**emulator):
        worlds.append(World(tmp_path, **emulator))
        return worlds[-1]

    yield start
    for one in worlds:
        one.emulator.__exit__()


def table(*rows):
    return "".join(",".join(map(str, r)) + "\n" for r in rows)


WORDS = table(("id", "word"), *((f"r{i}", f"word{i}") for i in range(6)))
ITEMS = "inputs:\n  items: {csv: items.csv}\nrecords: SELECT id AS key, word FROM items\n"


# --- params -------------------------------------------------------------------------------------

PARAMS = HEAD + """params:
  path: {type: path, required: true, about: words to ask about}
  count-of: {type: integer, default: 7, aliases: [how-many, n]}
  share: {type: number, default: 0.5}
  loud: {type: boolean, default: false}
  tone: {values: [dry, warm], default: dry}
  who: {env: TEST_WHO, default: "nobody at {{tone}}"}
inputs:
  items: {csv: "{{path}}"}
records: SELECT id AS key, word, :share * 2 AS doubled, typeof(:count_of) AS type, :loud + 0 AS loudness FROM items
requests:
  ask:
    model: claude-haiku-4-5
    max_tokens: 50
    user: "{{word}} {{count_of}} {{type}} {{share}} {{doubled}} {{loudness}} {{tone}} {{who}}"
"""


@pytest.mark.parametrize("given,env,prompt", [
    ([], {}, "w 7 integer 0.5 1.0 0 dry nobody at dry"),
    (["--count-of", "9"], {}, "w 9 integer 0.5 1.0 0 dry nobody at dry"),
    (["--count_of=9"], {}, "w 9 integer 0.5 1.0 0 dry nobody at dry"),
    (["--how-many", "9"], {}, "w 9 integer 0.5 1.0 0 dry nobody at dry"),
    (["--how_many", "-9"], {}, "w -9 integer 0.5 1.0 0 dry nobody at dry"),
    (["--n", "9"], {}, "w 9 integer 0.5 1.0 0 dry nobody at dry"),
    (["--share", "2"], {}, "w 7 integer 2.0 4.0 0 dry nobody at dry"),
    (["--loud"], {}, "w 7 integer 0.5 1.0 1 dry nobody at dry"),
    (["--loud=yes"], {}, "w 7 integer 0.5 1.0 1 dry nobody at dry"),
    (["--loud=false"], {}, "w 7 integer 0.5 1.0 0 dry nobody at dry"),
    (["--tone", "warm"], {}, "w 7 integer 0.5 1.0 0 warm nobody at warm"),
    ([], {"TEST_WHO": "Ann"}, "w 7 integer 0.5 1.0 0 dry Ann"),
    (["--who", "Bea"], {"TEST_WHO": "Ann"}, "w 7 integer 0.5 1.0 0 dry Bea"),
    (["--who="], {"TEST_WHO": "Ann"}, "w 7 integer 0.5 1.0 0 dry "),
])
def test_params(world, given, env, prompt):
    """Oracle: the prompt the provider got."""
    w = world()
    w.write(PARAMS.replace("count-of", "count_of"))
    w.put("items.csv", "id,word\n1,w\n")
    w.run("--path", "items.csv", *given, **env)
    assert w.prompts() == [prompt]


@pytest.mark.parametrize("given,message", [
    ([], "--path"),
    (["--path", "items.csv", "--count-of", "nine"], "whole number"),
    (["--path", "items.csv", "--share", "half"], "a number"),
    (["--path", "items.csv", "--loud=maybe"], "true or false"),
    (["--path", "items.csv", "--tone", "wam"], "did you mean 'warm'"),
    (["--path", "items.csv", "--ton", "dry"], "--tone"),
    (["--path", ""], "path"),
])
def test_wrong_params(world, given, message):
    """Oracle: exit code 2, a message with the option, an empty bill."""
    w = world()
    w.write(PARAMS.replace("count-of", "count_of"))
    w.put("items.csv", "id,word\n1,w\n")
    done = w.run(*given, expect=2)
    assert message in done.stderr and not w.emulator.bill()


def test_paths_are_of_the_folder_one_is_in_and_outputs_too(world):
    """Oracle: the job, begun in one folder and seen through from another, writes where it began."""
    w = world()
    w.write(HEAD + "params:\n  path: {type: path, required: true}\n"
            "inputs:\n  items: {csv: '{{path}}'}\n" + ASK + OUT)
    w.put("items.csv", WORDS)
    w.program.run("create", w.pipeline, "--path", "./items.csv", expect=3)
    home = w.program.cwd
    w.program.cwd = w.dir
    w.program.run("recover", expect=0)
    assert (home / "out.csv").exists() and not (w.dir / "out.csv").exists()


def test_help_tells_the_params(world):
    w = world()
    w.write(PARAMS.replace("count-of", "count_of"))
    text = w.program.run("help", "run", w.pipeline, expect=0).stdout
    for part in ("--count-of N", "--path PATH", "words to ask about", "required", "default: 7",
                 "TEST_WHO", "dry, warm"):
        assert part in text, part


# --- inputs -------------------------------------------------------------------------------------

def test_all_kinds_of_inputs_join(world):
    """Staging with joins and grouped items, which a Mustache section walks.
    Oracle: the prompts, composed here from the same rows."""
    w = world()
    w.write(HEAD + """inputs:
  teams: {csv: teams.csv}
  people: {jsonl: people.jsonl, columns: [id, team, name]}
  notes: {sqlite: notes.db, query: "SELECT person AS who, text FROM note"}
  banned: {lines: banned.txt}
records: |
  SELECT t.id AS key, t.title, json_group_array(json_object('name', p.name, 'text', n.text)) AS members
  FROM teams AS t JOIN people AS p ON p.team = t.id LEFT JOIN notes AS n ON n.who = p.id
  WHERE p.name NOT IN (SELECT line FROM banned)
  GROUP BY t.id ORDER BY t.id
requests:
  ask:
    model: claude-haiku-4-5
    user: "{{title}}:{{#members}} {{name}}{{#text}} ({{text}}){{/text}};{{/members}}{{^members}} nobody{{/members}}"
    answer: a.json
""" + OUT)
    w.put("teams.csv", "id,title\nt1,One\nt2,Two\n")
    w.put("people.jsonl", "".join(json.dumps(p) + "\n" for p in [
        {"id": 1, "team": "t1", "name": "Ann"}, {"id": 2, "team": "t1", "name": "Bob \"x\""},
        {"id": 3, "team": "t2", "name": "Cat"}, {"id": 4, "team": "t2", "name": "Dan"}]))
    db = sqlite3.connect(w.cwd / "notes.db")
    db.executescript("CREATE TABLE note(person INTEGER, text TEXT); INSERT INTO note VALUES(1, 'first')")
    db.commit()
    w.put("banned.txt", "Dan\nEve\n")
    w.run()
    assert sorted(w.prompts()) == ['One: Ann (first); Bob "x";', "Two: Cat;"]
    assert [r["id"] for r in w.program.csv("out.csv")] in (["t1", "t2"], ["t2", "t1"])


def test_malformed_rows(world):
    """Oracle: with skip the sound rows are asked and the place of the others is said; without it
    nothing is sent."""
    w = world()
    yaml = HEAD + "inputs:\n  items: {csv: items.csv%s}\n" + ASK + OUT
    w.put("items.csv", b"id,word\n1,one\n2\n3,three\n4,f\xff\n5,five\n")
    w.write(yaml % "")
    done = w.run(expect=1)
    assert "items.csv:3" in done.stderr and not w.emulator.bill()
    w.write(yaml % ", on_error: skip")
    done = w.run()
    assert "items.csv:3" in done.stderr and "items.csv:5" in done.stderr
    assert sorted(r["id"] for r in w.program.csv("out.csv")) == ["1", "3", "5"]
    assert (w.counts()["records"], w.counts()["skipped"]) == (3, 2)


def test_malformed_jsonl_staged(world):
    w = world()
    w.write(HEAD + "inputs:\n  items: {jsonl: items.jsonl, on_error: skip, columns: [id, word, more]}\n"
            "records: SELECT id AS key, word, more FROM items\n" + ASK.replace("{{word}}", "{{word}}{{more}}") + OUT)
    w.put("items.jsonl", '{"id": 1, "word": "a"}\n{"id": 2, "word":\n[3]\n\n{"word": "d", "id": 4, "more": [1,2]}\n')
    done = w.run()
    assert "items.jsonl:2" in done.stderr and "items.jsonl:3" in done.stderr
    assert sorted(w.prompts()) == ["About a", "About d[1,2]"]


def test_nulls_and_empty_texts(world):
    """NULL and '' are falsy in sections, and survive into `records` in rows.
    Oracle: prompts and rows, written out by hand."""
    w = world()
    w.write(HEAD + """inputs:
  items: {jsonl: items.jsonl, columns: [id, word]}
records: SELECT id AS key, word FROM items
requests:
  ask: {model: claude-haiku-4-5, user: "Word:{{#word}} {{word}}{{/word}}{{^word}} none{{/word}}.", answer: a.json}
outputs:
  - jsonl: out.jsonl
    key: [id]
    rows: SELECT key AS id, (SELECT word FROM records) AS word, (SELECT typeof(word) FROM records) AS type FROM answers
""")
    w.put("items.jsonl", '{"id": "a", "word": null}\n{"id": "b", "word": ""}\n{"id": "c"}\n{"id": "d", "word": "x"}\n{"id": "e", "word": 0}\n')
    w.run()
    rows = {r["id"]: (r["word"], r["type"]) for r in map(json.loads, (w.cwd / "out.jsonl").open())}
    assert rows == {"a": (None, "null"), "b": ("", "text"), "c": (None, "null"), "d": ("x", "text"),
                    "e": (0, "integer")}
    assert set(w.prompts()) >= {"Word: x.", "Word: none."}


def test_streaming_keeps_keys(world):
    """Oracle: a column `key`, else `id`, else the number names the record."""
    for columns, ids in ((("key", "id", "word"), "key"), (("x", "id", "word"), "id"), (("x", "y", "word"), None)):
        w = world()
        w.write(HEAD + "inputs:\n  items: {csv: items.csv}\n" + ASK + OUT)
        w.put("items.csv", table(columns, *((f"k{i}", f"i{i}", f"w{i}") for i in range(3))))
        (w.cwd / "out.csv").unlink(missing_ok=True)
        w.run("--fresh")
        expected = {"key": ["k0", "k1", "k2"], "id": ["i0", "i1", "i2"], None: ["1", "2", "3"]}[ids]
        assert sorted(r["id"] for r in w.program.csv("out.csv")) == expected
        w.emulator.__exit__()


def test_keys_in_any_writing(world):
    """Oracle: the keys of the input, byte for byte, in the output, and `show` finds them."""
    keys = ["größe", "日本語", "a,b", 'say "x"', "  blanks  ", "emoji 👩‍👩‍👧", "=SUM(A1)", "ï", "i\u0308", "-r", "x" * 1000]
    w = world()
    w.write(HEAD + "inputs:\n  items: {jsonl: items.jsonl}\nrecords: SELECT id AS key, word FROM items\n"
            + ASK + OUT.replace("key: [id]", "key: [id]\n    guard: false"))
    w.put("items.jsonl", "".join(json.dumps({"id": k, "word": f"w{i}"}) + "\n" for i, k in enumerate(keys)))
    w.run()
    assert sorted(r["id"] for r in w.program.csv("out.csv")) == sorted(keys)
    for key in ("日本語", "größe", "a,b"):
        assert key in w.program.run("show", key, expect=0).stdout


@pytest.mark.parametrize("rows,message", [
    ('{"id": null, "word": "x"}\n', "NULL"),
    ('{"id": "", "word": "x"}\n', "empty"),
    ('{"id": "a", "word": "x"}\n{"id": "a", "word": "y"}\n', "occurs twice"),
    ('{"id": "a", "word": ""}\n', None),
])
def test_bad_keys(world, rows, message):
    """Oracle: refused with the place before anything is bought."""
    w = world()
    w.write(HEAD + "inputs:\n  items: {jsonl: items.jsonl, columns: [id, word]}\n" + ASK + OUT)
    w.put("items.jsonl", rows)
    done = w.run(expect=1 if message else 0)
    if message:
        assert message in done.stderr and "items.jsonl:" in done.stderr and not w.emulator.bill()


# --- prompts ------------------------------------------------------------------------------------

def test_partials_system_and_settings(world):
    """Oracle: the params as the API names them."""
    w = world()
    w.write(HEAD + "params:\n  who: {default: Ann}\n" + ITEMS + """requests:
  ask:
    model: claude-haiku-4-5
    max_tokens: 123
    system: system.md
    user: user.md
    params: {metadata: {user_id: "u-{{who}}"}, stop_sequences: ["###"]}
""", user__md="{{> greet}}\n{{word}}\n{{> sub.md}}\n", greet__mustache="Hello {{who}}!\n", sub__md="<{{word}}>",
            system__md="You are {{who}}. No {{{word}}}.")
    w.put("items.csv", 'id,word\n1,"a & ""b"" <c>"\n')
    w.run()
    p, = w.sent()
    assert p["system"] == 'You are Ann. No a & "b" <c>.'
    assert p["max_tokens"] == 123
    assert p["metadata"] == {"user_id": "u-Ann"} and p["stop_sequences"] == ["###"]
    assert [m["role"] for m in p["messages"]] == ["user"]
    assert p["messages"][0]["content"].split() == 'Hello Ann! a & "b" <c> <a & "b" <c>>'.split()


def test_missing_variable_is_an_error_before_buying(world):
    w = world()
    w.write(HEAD + ITEMS + ASK.replace("{{word}}", "{{wrod}}") + OUT)
    w.put("items.csv", WORDS)
    done = w.run(expect=1)
    assert "wrod" in done.stderr and "word" in done.stderr and not w.emulator.bill()


def test_several_requests_and_when(world):
    """Oracle: how often each prompt was sent, and one output row for each."""
    w = world()
    w.write(HEAD + """inputs:
  items: {csv: items.csv}
records: SELECT id AS key, word, CAST(substr(id, 2) AS INTEGER) % 2 AS odd FROM items
requests:
  first: {model: claude-haiku-4-5, user: "First {{word}}", answer: a.json}
  second: {model: claude-sonnet-4-5, user: "Second {{word}}", when: odd, answer: a.json}
outputs:
  - csv: out.csv
    key: [id, request]
    sort: [id, request]
    rows: SELECT key AS id, request, (SELECT name FROM request) AS name, model FROM answers
""")
    w.put("items.csv", WORDS)
    w.run()
    got = w.program.csv("out.csv")
    assert [(r["id"], r["request"]) for r in got] == sorted(
        [(f"r{i}", "first") for i in range(6)] + [(f"r{i}", "second") for i in (1, 3, 5)])
    assert all(r["name"] == r["request"] for r in got)
    for name, model in (("first", MODEL), ("second", "claude-sonnet-4-5")):
        assert all(r["model"].startswith(model) for r in got if r["request"] == name)
    c = w.counts()
    assert (c["records"], c["requests"], c["done"]) == (6, 9, 9)


# --- answers ------------------------------------------------------------------------------------

CHECKED = HEAD + ITEMS + ASK + """checks:
  - SELECT 'the text may not be ' || (answer ->> 'text') FROM answers WHERE answer ->> 'text' LIKE 'bad%'
  - SELECT 'the text does not name ' || r.word FROM answers, records AS r WHERE instr(answer ->> 'text', r.word) = 0
warnings:
  - SELECT 'long text' FROM answers WHERE length(answer ->> 'text') > 20
"""


def test_checks_send_the_list_back(world):
    """Oracle: the second payload: the same request, the model's own answer, the numbered list."""
    w = world(answers=[
        {"match": "word2", "json": {"text": "bad idea"}, "times": 1},
        {"match": "word3", "json": {"text": "word3 and a good deal more"}},
        *({"match": f"word{i}", "json": {"text": f"on word{i}"}} for i in range(6))])
    w.write(CHECKED + OUT)
    w.put("items.csv", WORDS)
    w.run()
    assert {r["id"]: r["text"] for r in w.program.csv("out.csv")} == {
        **{f"r{i}": f"on word{i}" for i in range(6)}, "r3": "word3 and a good deal more"}
    batches = w.batches()
    assert [len(b) for b in batches] == [6, 1]
    first = next(r for r in batches[0] if r["params"]["messages"][0]["content"] == "About word2")
    second = batches[1][0]["params"]
    assert second["messages"][0] == first["params"]["messages"][0]
    assert second["messages"][1]["role"] == "assistant"
    assert json.loads(second["messages"][1]["content"]) == {"text": "bad idea"}
    complaint = second["messages"][2]
    assert complaint["role"] == "user"
    assert "1. the text may not be bad idea\n" in complaint["content"]
    assert "2. the text does not name word2\n" in complaint["content"]
    assert {k: v for k, v in second.items() if k != "messages"} == {
        k: v for k, v in first["params"].items() if k != "messages"}
    c = w.counts()
    assert (c["done"], c["failed"], c["invalid"], c["reasked"], c["warnings"]) == (6, 0, 1, 1, 1)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_checks_give_up(world, times):
    """Oracle: bought 1 + reask.invalid times, then failed with the violation in the list."""
    w = world(answers=[{"match": "word2", "json": {"text": "bad idea"}},
                       *({"match": f"word{i}", "json": {"text": f"on word{i}"}} for i in range(6))])
    w.write(CHECKED + OUT + f"reask: {{invalid: {times}}}\n")
    w.put("items.csv", WORDS)
    w.run(expect=3)
    assert sorted(r["id"] for r in w.program.csv("out.csv")) == ["r0", "r1", "r3", "r4", "r5"]
    assert len(w.sent()) == 6 + times
    listed = w.program.run("list", "--failed").stdout
    assert "r2" in listed and "may not be bad idea" in listed
    problem = w.program.ledger("SELECT reason FROM request WHERE state = 4")[0][0]
    assert problem == "the text may not be bad idea\nthe text does not name word2"
    # Each further try shows the latest answer and list alone, not a growing conversation.
    for p in w.sent()[6:]:
        assert [m["role"] for m in p["messages"]] == ["user", "assistant", "user"] or times == 2


def test_schema_answers(world):
    """Oracle: what the schema allows is delivered; what it forbids is asked again with its pointer."""
    schema = {"type": "object", "properties": {
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
        "score": {"type": "integer"}}, "required": ["tags", "score"], "additionalProperties": False}
    w = world(answers=[
        {"match": "word0", "json": {"tags": ["a", "z"], "score": "high"}, "times": 1},
        {"match": "word1", "text": "Sure:\n```json\n{\"tags\": [\"b\"], \"score\": 1}\n```\n"},
        {"json": {"tags": ["a"], "score": 2}}])
    w.write(HEAD + ITEMS + ASK.replace("a.json", "b.json") + """outputs:
  - jsonl: out.jsonl
    key: [id]
    sort: [id]
    json_columns: [tags]
    rows: SELECT key AS id, answer -> 'tags' AS tags, answer ->> 'score' AS score FROM answers
""", b__json=json.dumps(schema))
    w.put("items.csv", "\n".join(WORDS.splitlines()[:4]) + "\n")
    w.run()
    rows = [json.loads(x) for x in (w.cwd / "out.jsonl").open()]
    assert rows == [{"id": "r0", "tags": ["a"], "score": 2}, {"id": "r1", "tags": ["b"], "score": 1},
                    {"id": "r2", "tags": ["a"], "score": 2}]
    complaint = w.batches()[1][0]["params"]["messages"][-1]["content"]
    assert "1. " in complaint and "2. " in complaint and "tags" in complaint and "score" in complaint


def test_odd_answers(world):
    """\\u0000, lone surrogates and numbers beyond 64 bits. Oracle: the job ends, and every record is
    delivered or failed with a reason; digits are not lost where JSON goes through."""
    big = "123456789012345678901234567890"
    texts = ['{"text": "a\\u0000b", "n": 1}', '{"text": "lone \\ud800 half", "n": 2}',
             '{"text": "big", "n": %s}' % big, '{"text": "fine 😀", "n": 1e400}',
             '{"text": "tab\\t", "n": -0.0}', '{"text": "dup", "n": 1, "n": 2}']
    w = world(answers=[{"match": f"word{i}", "text": t} for i, t in enumerate(texts)])
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "n": {"type": "number"}},
              "required": ["text", "n"], "additionalProperties": False}
    w.write(HEAD + ITEMS + ASK.replace("a.json", "b.json") + """outputs:
  - jsonl: out.jsonl
    key: [id]
    json_columns: [answer]
    rows: SELECT key AS id, answer, answer ->> 'text' AS text FROM answers
""", b__json=json.dumps(schema))
    w.put("items.csv", WORDS)
    done = w.program.run("run", w.pipeline)
    assert done.returncode in (0, 3), done.stderr
    c = w.counts()
    assert c["done"] + c["failed"] == 6 and c["done"] >= 4
    raw = (w.cwd / "out.jsonl").read_bytes()
    rows = {json.loads(x)["id"]: x for x in raw.decode("utf-8").splitlines()}
    assert big in rows["r2"]
    assert json.loads(rows["r4"])["text"] == "tab\t"
    said = done.stdout + done.stderr + w.program.run("list", "--failed").stdout
    for i in range(6):
        assert f"r{i}" in rows or f"r{i}" in said, i


def test_require(world):
    """Oracle: the message with param and column filled in; nothing bought."""
    w = world()
    w.write(HEAD + "params:\n  least: {type: integer, default: 10}\n" + ITEMS + """require:
  - sql: SELECT count(*) >= :least, count(*) AS n FROM items
    message: "items.csv has {{n}} rows, {{least}} are needed"
""" + ASK + OUT)
    w.put("items.csv", WORDS)
    done = w.run(expect=1)
    assert "items.csv has 6 rows, 10 are needed" in done.stderr and not w.emulator.bill()
    w.run("--least", "6")
    assert len(w.program.csv("out.csv")) == 6


# --- done and rounds ----------------------------------------------------------------------------

DONE = HEAD + """inputs:
  items: {csv: items.csv}
  old: {csv: out.csv, optional: true, columns: [id, text]}
records: SELECT id AS key, word FROM items
done: SELECT id FROM old
""" + ASK + OUT


def test_done_and_no_cache(world):
    """Oracle: the bill; rows of records that are done keep their bytes."""
    w = world()
    w.write(DONE)
    w.put("items.csv", WORDS)
    w.put("out.csv", "id,text\nr1,by hand\nzz,another\n")
    w.run()
    assert len(w.sent()) == 5 and "About word1" not in w.prompts()
    assert w.counts()["skipped"] == 1
    rows = w.program.csv("out.csv")
    assert rows[:2] == [{"id": "r1", "text": "by hand"}, {"id": "zz", "text": "another"}]
    assert len(rows) == 7
    w.run()
    assert len(w.sent()) == 5 and w.counts()["skipped"] == 6
    w.run("--no-cache")
    assert len(w.sent()) == 6, "five are reused, the one that was never asked is"
    assert {r["id"]: r["text"] for r in w.program.csv("out.csv")}["r1"] != "by hand"


ROUNDS = HEAD + """inputs:
  items: {csv: items.csv}
  old: {csv: out.csv, optional: true, columns: [id, label]}
records: |
  SELECT 'g' || (CAST(substr(id, 2) AS INTEGER) / 3) AS key,
         json_group_array(json_object('id', id, 'word', word)) AS items
  FROM items WHERE id NOT IN (SELECT id FROM old)
  GROUP BY 1
rounds: 2
requests:
  ask:
    model: claude-haiku-4-5
    user: "{{#items}}{{id}}={{word}} {{/items}}"
    answer: {type: object, properties: {labels: {type: array, items: {type: object,
      properties: {id: {type: string}, label: {type: string}}, required: [id, label],
      additionalProperties: false}}}, required: [labels], additionalProperties: false}
outputs:
  - csv: out.csv
    key: [id]
    sort: [id]
    rows: SELECT value ->> 'id' AS id, value ->> 'label' AS label FROM answers, json_each(answer, '$.labels')
"""


def labels(*ids):
    return {"labels": [{"id": i, "label": f"L{i}"} for i in ids]}


def test_rounds_ask_for_what_was_left_out(world):
    """Oracle: the second round's prompts name exactly the items without a label; the keys of the
    first round come again without complaint."""
    w = world(answers=[
        {"match": "r0=word0 r1", "json": labels("r0", "r2")},
        {"match": "r3=word3", "json": labels("r3", "r4", "r5")},
        {"match": "r1=word1 ", "json": labels("r1")}])
    w.write(ROUNDS)
    w.put("items.csv", WORDS)
    w.run()
    assert sorted(w.prompts()[:2]) == ["r0=word0 r1=word1 r2=word2 ", "r3=word3 r4=word4 r5=word5 "]
    assert w.prompts()[2:] == ["r1=word1 "]
    assert [(r["id"], r["label"]) for r in w.program.csv("out.csv")] == [(f"r{i}", f"Lr{i}") for i in range(6)]
    c = w.counts()
    assert (c["records"], c["requests"], c["done"], c["skipped"]) == (2, 3, 3, 0)
    assert w.job()["state"] == "done"


def test_what_failed_is_made_good_by_a_later_round(world):
    """Oracle: the job is done and nothing is left to retry; a failure that lasts leaves it partial."""
    no = {"type": "invalid_request_error", "message": "no"}
    w = world(answers=[{"match": "r0=word0 r1", "error": no, "times": 1},
                       {"match": "r0=word0 r1", "json": labels("r0", "r1", "r2")},
                       {"match": "r3=word3", "json": labels("r3", "r4", "r5")}])
    w.write(ROUNDS)
    w.put("items.csv", WORDS)
    w.run()
    assert len(w.prompts()) == 3 and len(w.program.csv("out.csv")) == 6
    c = w.counts()
    assert (w.job()["state"], c["requests"], c["done"], c["failed"]) == ("done", 3, 2, 1)
    assert w.program.json("list", "--failed")["failed"] == []
    w.run("--retry-failed")
    assert len(w.prompts()) == 3
    assert w.program.run("doctor", "--audit").returncode == 0


def test_what_failed_in_every_round_is_partial(world):
    no = {"type": "invalid_request_error", "message": "no"}
    w = world(answers=[{"match": "r0=word0 r1", "error": no},
                       {"match": "r3=word3", "json": labels("r3", "r4", "r5")}])
    w.write(ROUNDS)
    w.put("items.csv", WORDS)
    w.run(expect=3)
    assert (w.job()["state"], w.counts()["failed"]) == ("partial", 2)
    assert len(w.program.json("list", "--failed")["failed"]) == 2


TWO_MODELS = HEAD + ITEMS + """requests:
  one: {model: claude-haiku-4-5, max_tokens: 200, user: 'One {{word}}', answer: a.json}
  two: {model: claude-opus-4-5, max_tokens: 200, user: 'Two {{word}}', answer: a.json}
outputs:
  - csv: out.csv
    key: [id, request]
    rows: SELECT key AS id, (SELECT name FROM request) AS request, (SELECT model FROM batch) AS models FROM answers
"""
# micro-dollars per million tokens of a batch, from prices.yaml
BATCH_PRICES = {"claude-haiku-4-5": (500000, 2500000), "claude-opus-4-5": (2500000, 12500000)}


def cost_on_the_bill(w):
    total = 0
    for line in w.emulator.bill():
        if line["state"] == "succeeded":
            prompt, answer = next(p for m, p in BATCH_PRICES.items() if line["model"].startswith(m))
            total += (line["input_tokens"] * prompt + line["output_tokens"] * answer + 500000) // 1000000
    return total


def test_two_models_in_one_batch(world):
    """Oracle: each request at its own model's price, from the bill; the batch names both."""
    w = world()
    w.write(TWO_MODELS)
    w.put("items.csv", WORDS)
    w.run()
    assert len(w.batches()) == 1
    assert {r["models"] for r in w.program.csv("out.csv")} == {"claude-haiku-4-5, claude-opus-4-5"}
    assert w.job()["spent_microusd"] == cost_on_the_bill(w)


def test_a_cap_needs_a_price_for_every_model(world):
    w = world()
    w.write(TWO_MODELS.replace("claude-opus-4-5", "claude-unheard-of"))
    w.put("items.csv", WORDS)
    done = w.run("--max-cost", "100", expect=3)
    assert "no price for the model claude-unheard-of" in done.stdout + done.stderr
    assert not w.emulator.bill()


def test_ready_lines_cost_what_their_models_cost(world):
    w = world()
    w.put("lines.jsonl", "".join(json.dumps({"custom_id": m, "params": {
        "model": m, "max_tokens": 100, "messages": [{"role": "user", "content": f"Tell {m} all"}]}}) + "\n"
        for m in BATCH_PRICES))
    w.program.run("run", "lines.jsonl", "--output", "o.jsonl", expect=0)
    assert w.job()["spent_microusd"] == cost_on_the_bill(w)


def test_rounds_without_a_look_back_are_refused(world):
    """Every round would buy the same again. Oracle: `validate` says so, nothing is sent."""
    w = world()
    w.write(HEAD + ITEMS + ASK + OUT + "rounds: 2\n")
    w.put("items.csv", WORDS)
    assert "rounds" in w.program.run("validate", w.pipeline, expect=1).stdout
    assert "rounds" in w.run(expect=1).stderr and not w.emulator.bill()


def test_rounds_stop_when_nothing_is_left(world):
    w = world(answers=[{"match": "r0=", "json": labels("r0", "r1", "r2")},
                       {"match": "r3=", "json": labels("r3", "r4", "r5")}])
    w.write(ROUNDS.replace("rounds: 2", "rounds: 9"))
    w.put("items.csv", WORDS)
    w.run()
    assert len(w.sent()) == 2


def test_rounds_with_the_same_answer_again(world):
    """What a round's answer left out, asked in the very same words, is bought again: the good answer
    that this ledger has is the one that left it out. Oracle: the bill and the rows."""
    w = world(answers=[{"match": "r0=", "json": labels(), "times": 1}, {"match": "r0=", "json": labels("r0", "r1", "r2")},
                       {"match": "r3=", "json": labels("r3", "r4", "r5")}])
    w.write(ROUNDS)
    w.put("items.csv", WORDS)
    w.run()
    assert len(w.sent()) == 3
    assert len(w.program.csv("out.csv")) == 6


def test_a_later_round_sees_its_own_records(world):
    """Checks read the record as this round selected it. Oracle: a check that compares the answer with
    the items that were asked passes in both rounds."""
    w = world(answers=[{"match": "r0=word0 r1", "json": labels("r0", "r2")},
                       {"match": "r3=", "json": labels("r3", "r4", "r5")},
                       {"match": "r1=", "json": labels("r1")}])
    w.write(ROUNDS + """checks:
  - |
    SELECT 'more was asked than answered: ' || json_array_length(records.items) FROM answers, records
    WHERE (SELECT round FROM job) = 2 AND json_array_length(records.items) <> json_array_length(answer, '$.labels')
""")
    w.put("items.csv", WORDS)
    w.run()
    assert len(w.sent()) == 3 and len(w.program.csv("out.csv")) == 6


def test_limit_holds_over_rounds_and_no_cache_is_of_the_first(world):
    """Oracle: with --limit 2 only the first two records are ever asked; --no-cache asks everything once."""
    w = world()
    w.write(DONE + "rounds: 3\n")
    w.put("items.csv", WORDS)
    w.run("--limit", "2")
    assert sorted(w.prompts()) == ["About word0", "About word1"]
    w.run("--limit", "2")
    assert sorted(w.prompts()) == [f"About word{i}" for i in range(4)]
    w.run("--no-cache", "--fresh")
    assert len(w.prompts()) == 10 and len(w.program.csv("out.csv")) == 6


# --- outputs ------------------------------------------------------------------------------------

def test_outputs_on_answer_batch_and_job(world):
    """Oracle: the same run told three times: one row an answer, one a batch, one a job; states at
    the end; what a JSON file held besides is kept."""
    w = world()
    w.write(HEAD + ITEMS + ASK + """outputs:
  - sqlite: "db/{{db_name}}.sqlite"
    table: labels
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text, length(answer ->> 'text') AS n, 1.5 AS f FROM answers
  - json: state.json
    on: batch
    at: /batches/all
    as: object
    key: [id]
    omit_key: true
    rows: SELECT id, state, requests, ok, provider_id FROM batch
  - jsonl: jobs.jsonl
    on: job
    key: [id]
    rows: SELECT id, state, records, done, microusd FROM job
batch: {requests: 4}
""".replace("{{db_name}}", "labels"))
    w.put("items.csv", WORDS)
    w.put("state.json", '{"mine": 12345678901234567890123, "batches": {"all": {"batch-0": {"state": "old"}}}}')
    w.run()
    db = sqlite3.connect(w.cwd / "db" / "labels.sqlite")
    rows = db.execute("SELECT id, text, n, f, typeof(n) FROM labels ORDER BY id").fetchall()
    assert [r[0] for r in rows] == [f"r{i}" for i in range(6)]
    assert all(len(r[1]) == r[2] and r[3:] == (1.5, "integer") for r in rows)
    text = (w.cwd / "state.json").read_text()
    state = json.loads(text)
    assert "12345678901234567890123" in text and state["batches"]["all"].pop("batch-0") == {"state": "old"}
    assert [(b["state"], b["requests"], b["ok"]) for b in state["batches"]["all"].values()] == \
        [("sealed", 4, 4), ("sealed", 2, 2)]
    job, = map(json.loads, (w.cwd / "jobs.jsonl").open())
    assert (job["state"], job["records"], job["done"]) == ("done", 6, 6)


def test_sqlite_upsert_and_insert_missing(world):
    """Oracle: an existing table keeps its other columns and rows."""
    for mode, expected in (("upsert", "new"), ("insert_missing", "by hand")):
        w = world(answers=[{"json": {"text": "new"}}])
        (w.cwd / "x.db").unlink(missing_ok=True)
        db = sqlite3.connect(w.cwd / "x.db")
        db.executescript("CREATE TABLE t(id TEXT PRIMARY KEY, text TEXT, note TEXT);"
                         "INSERT INTO t VALUES('r1', 'by hand', 'kept'), ('zz', 'other', NULL)")
        db.commit()
        w.write(HEAD + ITEMS + ASK + f"""outputs:
  - sqlite: x.db
    table: t
    key: [id]
    mode: {mode}
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
""")
        w.put("items.csv", WORDS)
        w.run("--fresh")
        rows = {r[0]: r[1:] for r in db.execute("SELECT id, text, note FROM t")}
        assert rows["r1"] == (expected, "kept") and rows["zz"] == ("other", None)
        assert len(rows) == 7 and rows["r0"] == ("new", None)
        w.emulator.__exit__()


def test_a_file_per_row(world):
    """Oracle: the files, by the rows' own columns; a path that leaves the folder is refused alone."""
    w = world(answers=[{"json": {"text": "t"}}])
    w.write(HEAD + """inputs:
  items: {csv: items.csv}
records: SELECT id AS key, word, subject, file FROM items
""" + ASK + """outputs:
  - csv: "out/{{subject}}/{{file}}.csv"
    key: [id]
    sort: [id]
    rows: SELECT answers.key AS id, r.subject, r.file, answer ->> 'text' AS text FROM answers, records AS r
""")
    w.put("items.csv", "id,word,subject,file\n1,a,Math,one\n2,b,Math,one\n3,c,Math,two\n4,d,Ärzte & Co,x y\n5,e,../..,evil\n6,f,,empty\n")
    done = w.run(expect=None)
    files = {str(p.relative_to(w.cwd / "out")): p.read_text() for p in (w.cwd / "out").rglob("*.csv")}
    assert files["Math/one.csv"] == "id,subject,file,text\n1,Math,one,t\n2,Math,one,t\n"
    assert set(files) >= {"Math/one.csv", "Math/two.csv", "Ärzte & Co/x y.csv"}
    assert not list(w.dir.rglob("evil*"))
    assert "'5'" in done.stderr or "evil" in done.stderr, done.stderr
    assert w.counts()["done"] == 6


def test_merge_with_a_file_edited_by_hand(world):
    """Oracle: rows that are not delivered keep their bytes, quotes, line ends and all."""
    w = world(answers=[{"json": {"text": "new, with \"quotes\""}}])
    w.write(HEAD + ITEMS + ASK + OUT)
    w.put("items.csv", "id,word\nr1,one\nr9,nine\n")
    w.put("out.csv", b'\xef\xbb\xbfid,text\r\n"hand","two\nlines"\r\nr1,old\r\n\r\nlast,"x"')
    w.run()
    new = b'"new, with ""quotes"""'
    raw = (w.cwd / "out.csv").read_bytes()
    assert raw.startswith(b'\xef\xbb\xbfid,text\r\n"hand","two\nlines"\r\nr1,' + new)
    assert b'last,"x"' in raw and b"r9," + new in raw and b"old" not in raw
    assert [r["id"] for r in csv.DictReader(raw.decode("utf-8-sig").splitlines(True))] == ["hand", "r1", "last", "r9"]


def test_other_columns_are_refused_and_nothing_is_lost(world):
    """A file with other columns stays as it is; mended, the same command delivers without buying."""
    w = world()
    w.write(HEAD + ITEMS + ASK + OUT)
    w.put("items.csv", WORDS)
    w.put("out.csv", "id,other\nx,y\n")
    done = w.run(expect=None)
    assert done.returncode in (1, 3) and "out.csv" in done.stderr
    assert (w.cwd / "out.csv").read_text() == "id,other\nx,y\n"
    sent = len(w.sent())
    (w.cwd / "out.csv").unlink()
    w.run()
    assert len(w.program.csv("out.csv")) == 6 and len(w.sent()) == max(sent, 6)


def test_lines_and_json_outputs(world):
    w = world(answers=[{"match": f"word{i}", "json": {"text": f"t{i}"}} for i in range(6)])
    w.write(HEAD + ITEMS + ASK + """outputs:
  - lines: out.txt
    rows: SELECT key || ' ' || (answer ->> 'text') AS line FROM answers
  - json: out.json
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
  - json: map.json
    as: object
    key: [id]
    value: text
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
""")
    w.put("items.csv", WORDS)
    w.run()
    assert sorted((w.cwd / "out.txt").read_text().splitlines()) == [f"r{i} t{i}" for i in range(6)]
    assert sorted(json.loads((w.cwd / "out.json").read_text()), key=lambda r: r["id"]) == [
        {"id": f"r{i}", "text": f"t{i}"} for i in range(6)]
    assert json.loads((w.cwd / "map.json").read_text()) == {f"r{i}": f"t{i}" for i in range(6)}


# --- prompt cache -------------------------------------------------------------------------------

def test_prime_goes_first_and_alone(world):
    """Oracle: the first batch is one request with max_tokens 1, all others came after it ended; then
    usage has cache reads; the stub is no record and makes no row."""
    w = world(speed=500)  # an hour of cache must outlast the test
    system = "You are patient. " * 1200
    w.write(HEAD + ITEMS + f"""requests:
  ask: {{model: {MODEL}, max_tokens: 200, cache: 1h, system: system.md, user: "About {{{{word}}}}", answer: a.json}}
prime: true
batch: {{requests: 3}}
""" + OUT, system__md=system)
    w.put("items.csv", WORDS)
    w.run()
    batches = w.batches()
    assert [len(b) for b in batches] == [1, 3, 3]
    assert batches[0][0]["params"]["max_tokens"] == 1
    bill = w.emulator.bill()
    ended = max(b["time"] for b in bill if b["batch"] == bill[0]["batch"])
    assert all(b["time"] >= ended for b in bill if b["batch"] != bill[0]["batch"])
    reads = [b["cache_read_tokens"] for b in bill if b["state"] == "succeeded"]
    assert reads[0] == 0 and all(r > 0 for r in reads[1:])
    c = w.counts()
    assert (c["records"], c["requests"], c["done"], c["failed"]) == (6, 6, 6, 0)
    assert len(w.program.csv("out.csv")) == 6
    tokens = w.program.ledger("SELECT tokens_read, tokens_write_1h FROM job")[0]
    assert tokens == (sum(reads), sum(b["cache_write_1h_tokens"] for b in bill if b["state"] == "succeeded"))
    before = len(bill)
    w.run()
    assert len(w.emulator.bill()) == before, "where all is reused, nothing is warmed"


# --- the one-line form --------------------------------------------------------------------------

ONE = ["--model", MODEL, "--prompt", "About {{word}}"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "db"])
@pytest.mark.parametrize("schema", [False, True])
def test_one_line(world, ending, schema):
    """Oracle: each record's answer in the output, under its key."""
    answer = {"label": "L", "n": 3, "yes": True, "tags": ["a"]}
    w = world(answers=[{"json": answer}] if schema else [{"text": "plain\ntext"}])
    w.put("items.csv", WORDS)
    w.put("s.json", json.dumps({"type": "object", "properties": {
        "label": {"type": "string"}, "n": {"type": "integer"}, "yes": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["label", "n", "yes", "tags"], "additionalProperties": False}))
    out = w.cwd / f"out.{ending}"
    w.program.run("run", "--input", "items.csv", *ONE, "--output", out.name, "--system", "Be {{word}}.",
                  *(["--schema", "s.json"] if schema else []), expect=0)
    assert all(p["system"] == p["messages"][0]["content"].replace("About ", "Be ") + "." for p in w.sent())
    if ending == "csv":
        rows = w.program.csv(out.name)
        want = {"label": "L", "n": "3", "yes": "1", "tags": '["a"]'}
    elif ending == "db":
        db = sqlite3.connect(out)
        name, = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        db.row_factory = sqlite3.Row
        rows = [dict(r) for r in db.execute(f"SELECT * FROM {name}")]
        want = {"label": "L", "n": 3, "yes": 1, "tags": '["a"]'}
    else:
        text = out.read_text()
        rows = json.loads(text) if ending == "json" else [json.loads(x) for x in text.splitlines()]
        want = answer
    if not schema:
        want = {"answer": "plain\ntext"}
    got = {r.pop("id"): r for r in rows}
    assert got == {f"r{i}": want for i in range(6)}


def test_one_line_key_and_inputs(world):
    """Oracle: --key names the column; JSONL and inputs without an id work; a wrong name is helped."""
    w = world(answers=[{"text": "a"}])
    w.put("items.jsonl", "".join(json.dumps({"name": f"n{i}", "word": f"w{i}", "id": i}) + "\n" for i in range(3)))
    w.program.run("run", "--input", "items.jsonl", *ONE, "--key", "name", "--output", "o.csv", expect=0)
    assert sorted(r["name"] for r in w.program.csv("o.csv")) == ["n0", "n1", "n2"]
    done = w.program.run("run", "--input", "items.jsonl", *ONE, "--key", "nam", "--output", "o.csv", expect=2)
    assert "did you mean 'name'" in done.stderr
    w.put("plain.csv", "word\na\nb\n")
    w.program.run("run", "--input", "plain.csv", *ONE, "--output", "p.csv", expect=0)
    assert sorted(r["row"] for r in w.program.csv("p.csv")) == ["1", "2"]
    for missing in ("--prompt", "--output"):
        args = dict(zip(["--input", "--model", "--prompt", "--output"], ["plain.csv", MODEL, "x {{word}}", "q.csv"]))
        args.pop(missing)
        done = w.program.run("run", *itertools.chain(*args.items()), expect=2)
        assert missing in done.stderr


# --- provider JSONL as it is --------------------------------------------------------------------

def raw_line(custom_id, text="Hi", **params):
    return json.dumps({"custom_id": custom_id, "params": {
        "model": MODEL, "max_tokens": 50, **params, "messages": [{"role": "user", "content": text}]}})


def test_raw_requests_go_as_they_are(world):
    """Oracle: the params the provider got, byte for byte; the results under the file's own ids."""
    w = world()
    params = ('{"max_tokens":50,"model":"claude-haiku-4-5",  "messages":[{"content":"caf\\u00e9 \\ud83d\\ude00 1.0","role":"user"}]'
              ',"metadata":{"user_id":"00"},"stop_sequences":["\\u0041"],'
              '"tools":[{"name":"t","input_schema":{"type":"object","properties":{"n":{"type":"number","minimum":-0.0,"maximum":1E2}}}}]}')
    ids = ["a b", "x" * 100, "größe", "1", "r-0001", "a/b:c?"]
    lines = ['{"params": %s, "custom_id": %s}' % (params.replace("1.0", f"1.{i}"), json.dumps(id))
             for i, id in enumerate(ids)]
    w.put("requests.jsonl", "\r\n".join(lines) + "\r\n\r\n")
    w.program.run("run", "requests.jsonl", "--output", "results.jsonl", expect=0)
    folder = w.dir / "emulator" / "batches"
    sent = next(folder.glob("*.requests")).read_text()
    spool = next((w.program.state / "spool" / "payload").iterdir()).read_text()
    for i in range(len(ids)):
        assert params.replace("1.0", f"1.{i}") in spool
    assert len(sent.splitlines()) == len(ids)
    results = [json.loads(x) for x in (w.cwd / "results.jsonl").open()]
    assert sorted(r["custom_id"] for r in results) == sorted(ids)
    assert all(r["result"]["type"] == "succeeded" for r in results)


@pytest.mark.parametrize("lines,message", [
    ([raw_line("a"), '{"custom_id": "b"}'], "requests.jsonl:2"),
    ([raw_line("a"), '{"custom_id": "b", "params": 3}'], "requests.jsonl:2"),
    ([raw_line("a"), '{"custom_id": 7, "params": {}}'], "requests.jsonl:2"),
    ([raw_line("a"), "not json"], "requests.jsonl:2"),
    ([raw_line("a"), raw_line("")], "requests.jsonl:2"),
    (["[1]"], "requests.jsonl:1"),
    ([""], "empty"),
])
def test_raw_lines_refused(world, lines, message):
    w = world()
    w.put("requests.jsonl", "\n".join(lines) + "\n")
    done = w.program.run("run", "requests.jsonl", "--output", "results.jsonl")
    assert done.returncode in (1, 2), done.stderr
    assert message in done.stderr and not w.emulator.bill()


def test_raw_errors_come_back_too(world):
    """Oracle: one result line for every request line, errored ones with the provider's error."""
    w = world(faults=[{"on": "results", "do": "error_line", "type": "invalid_request_error",
                       "message": "too long", "match": "second"}])
    w.put("requests.jsonl", raw_line("a", "first") + "\n" + raw_line("b", "second") + "\n")
    w.program.run("run", "requests.jsonl", "--output", "results.jsonl", expect=3)
    results = {r["custom_id"]: r for r in map(json.loads, (w.cwd / "results.jsonl").open())}
    assert results["a"]["result"]["type"] == "succeeded" and results["b"]["result"]["type"] == "errored"


# --- reuse --------------------------------------------------------------------------------------

def test_reuse(world):
    """Oracle: the bill. Inside a job, in another pipeline of the same ledger, and --fresh."""
    w = world()
    w.put("items.csv", table(("id", "word"), *((f"r{i}", f"w{i % 2}") for i in range(6))))
    w.write(HEAD + ITEMS + ASK + OUT)
    w.run()
    assert len(w.sent()) == 2 and w.counts()["reused"] == 4
    rows = w.program.csv("out.csv")
    assert len(rows) == 6 and len({r["text"] for r in rows}) == 2
    w.write((HEAD + ITEMS + ASK + OUT).replace("pipeline: p", "pipeline: q").replace("out.csv", "other.csv"))
    done = w.run()
    assert len(w.sent()) == 2 and w.counts()["reused"] == 6 and "reused" in done.stdout
    assert {r["id"]: r["text"] for r in w.program.csv("other.csv")} == {r["id"]: r["text"] for r in rows}
    w.run("--fresh")
    assert len(w.sent()) > 2


def test_reuse_is_under_this_jobs_own_checks(world):
    """An answer that another job took but this one's checks do not is asked for here, once for all
    records that wait for it."""
    w = world(answers=[{"json": {"text": "bad"}, "times": 1}, {"json": {"text": "good"}}])
    w.put("items.csv", "id,word\nr0,same\nr1,same\nr2,same\n")
    w.write(HEAD + ITEMS + ASK + OUT)
    w.run()
    assert len(w.sent()) == 1
    w.write(HEAD + ITEMS + ASK + OUT + "checks:\n  - SELECT 'bad text' FROM answers WHERE answer ->> 'text' = 'bad'\n")
    w.run()
    assert {r["text"] for r in w.program.csv("out.csv")} == {"good"}
    assert len(w.sent()) == 2


# --- options ------------------------------------------------------------------------------------

def test_limit_model_and_dry_run(world):
    w = world()
    w.write(HEAD + ITEMS + ASK + OUT)
    w.put("items.csv", WORDS)
    done = w.run("--dry-run")
    assert "6" in done.stdout and "$" in done.stdout and not w.emulator.bill()
    assert not w.program.run("list", "--json").stdout.count('"id"'), "a dry run leaves no job"
    w.run("--limit", "2", "--model", "claude-sonnet-4-5")
    assert [p["model"] for p in w.sent()] == ["claude-sonnet-4-5"] * 2
    assert sorted(w.prompts()) == ["About word0", "About word1"]


def test_max_cost_stops_between_batches(world):
    """Oracle: the bill in dollars is within the cap, and a higher cap goes on with the same job."""
    w = world()
    w.write(HEAD + ITEMS + ASK + OUT + "batch: {requests: 1}\n")
    w.put("items.csv", WORDS)
    done = w.run("--max-cost", "0.0007", expect=3)
    bought = len(w.sent())
    assert 0 < bought < 6 and "cost" in done.stdout + done.stderr
    w.run("--max-cost", "1")
    assert len(w.sent()) == 6 and len(w.program.csv("out.csv")) == 6
    assert len(w.program.json("list")["jobs"]) == 1


def test_create_then_fetch(world):
    """Oracle: create leaves with 3 and nothing delivered; fetch of job, batch and provider id all see
    the job through."""
    w = world(speed=100, faults=[{"on": "create", "do": "slow", "ms": 400000}])
    w.write(HEAD + ITEMS + ASK + OUT)
    w.put("items.csv", WORDS)
    w.program.run("create", w.pipeline, expect=3)
    assert not (w.cwd / "out.csv").exists() and len(w.sent()) == 6
    provider_id = w.emulator.bill()[0]["batch"]
    w.program.run("fetch", "batch-1", expect=3)
    w.program.run("fetch", provider_id, "--wait", expect=0)
    assert len(w.program.csv("out.csv")) == 6
    w.program.run("fetch", "job-1", expect=0)
    w.program.run("fetch", "--all-pending", expect=0)


def test_cancel_one_batch(world):
    """Oracle: the other batch's records are delivered; the canceled ones are told as canceled."""
    w = world(faults=[{"on": "create", "nth": 1, "do": "never_end"}, {"on": "create", "nth": 1, "do": "cancel_race", "percent": 0}])
    w.write(HEAD + ITEMS + ASK + OUT + "batch: {requests: 3}\n")
    w.put("items.csv", WORDS)
    w.program.run("create", w.pipeline, expect=3)
    w.program.run("cancel", "batch-1", expect=None)
    done = w.program.run("recover", expect=None)
    assert done.returncode in (0, 3), done.stderr
    c = w.counts()
    assert (c["done"], c["canceled"], c["failed"]) == (3, 3, 0), done.stdout + done.stderr
    assert sorted(r["id"] for r in w.program.csv("out.csv")) == ["r3", "r4", "r5"]
    assert len(w.sent()) == 6, "what was canceled is not bought again"
    assert w.job()["state"] == "partial"


def test_polls_that_are_always_due_starve_nothing(world):
    """Time runs so fast that every poll is due again when it is done. Oracle: all is sent all the same."""
    w = world(speed=100_000, faults=[{"on": "create", "do": "never_end"}])
    w.write(HEAD + ITEMS + ASK + OUT + "batch: {requests: 2}\n")
    w.put("items.csv", WORDS)
    w.program.run("create", w.pipeline, expect=3, timeout=60)
    assert len(w.sent()) == 6


def test_retry_failed(world):
    """Oracle: only the failed ones are bought again, identical ones once."""
    w = world(faults=[{"on": "results", "do": "error_line", "type": "invalid_request_error", "message": "no",
                       "match": "word2", "times": 1}])
    w.write(HEAD + ITEMS + ASK + OUT)
    w.put("items.csv", WORDS + "r6,word2\nr7,word2\n")
    w.run(expect=3)
    assert len(w.sent()) == 6 and w.counts()["failed"] == 3
    assert len(w.program.csv("out.csv")) == 5
    w.run("--retry-failed")
    assert len(w.program.csv("out.csv")) == 8
    assert w.prompts()[6:] == ["About word2"]
    c = w.counts()
    assert (c["done"], c["failed"]) == (8, 0) and w.job()["state"] == "done"


def test_a_run_after_failures_asks_for_them_again(world):
    """Without --retry-failed a new run is a new job: good answers are reused, failed ones asked."""
    w = world(faults=[{"on": "results", "do": "error_line", "type": "invalid_request_error", "message": "no",
                       "match": "word2", "times": 1}])
    w.write(HEAD + ITEMS + ASK + OUT)
    w.put("items.csv", WORDS)
    w.run(expect=3)
    w.run()
    assert len(w.sent()) == 7 and w.counts()["reused"] == 5
    assert len(w.program.csv("out.csv")) == 6


def test_editing_the_pipeline_of_an_unfinished_job(world):
    """Oracle: the prompts and columns of the definition it began with, and a sentence that says so; the
    next job has the new one."""
    w = world(faults=[{"on": "create", "nth": 1, "do": "slow", "ms": 7200000}])
    w.write(HEAD + ITEMS + ASK + OUT)
    w.put("items.csv", WORDS)
    w.program.run("create", w.pipeline, expect=3)
    w.write(HEAD + ITEMS + ASK.replace("About", "Anew") + OUT.replace("AS text FROM", "AS other FROM"))
    done = w.run()
    assert "changed" in done.stderr, done.stderr
    assert set(w.program.csv("out.csv")[0]) == {"id", "text"}
    assert all(p.startswith("About") for p in w.prompts())
    (w.cwd / "out.csv").unlink()
    done = w.run()
    assert "changed" not in done.stderr and set(w.program.csv("out.csv")[0]) == {"id", "other"}
    assert sum(p.startswith("Anew") for p in w.prompts()) == 6


def test_two_pipelines_in_one_ledger(world):
    """Oracle: each its own outputs; `recover` sees both through."""
    w = world(faults=[{"on": "create", "do": "slow", "ms": 3600000}])
    w.put("items.csv", WORDS)
    w.write(HEAD + ITEMS + ASK + OUT)
    w.program.run("create", w.pipeline, expect=3)
    w.pipeline = w.dir / "q"
    w.write((HEAD + ITEMS + ASK + OUT).replace("pipeline: p", "pipeline: q").replace("About", "Of").replace("out.csv", "q.csv"))
    w.program.run("create", w.pipeline, expect=3)
    jobs = w.program.json("list")["jobs"]
    assert sorted(j["pipeline"] for j in jobs) == ["p", "q"]
    w.program.run("recover", expect=0)
    assert len(w.program.csv("out.csv")) == 6 and len(w.program.csv("q.csv")) == 6
    assert len(w.sent()) == 12


# --- sizes --------------------------------------------------------------------------------------

def payloads(w):
    return [p.stat().st_size for p in sorted((w.program.state / "spool" / "payload").iterdir(),
                                             key=lambda p: int(p.name.split("-")[0]))]


def test_batches_of_exactly_the_limit(world):
    """Oracle: batch.requests = n makes one batch of n; batch.bytes one below the size of the whole
    makes two, and the size itself one."""
    w = world()
    w.put("items.csv", WORDS)
    yaml = HEAD + ITEMS + ASK + OUT
    w.write(yaml + "batch: {requests: 6}\n")
    w.run()
    size, = payloads(w)
    w.write(yaml + "batch: {requests: 5}\n")
    w.run("--fresh")
    assert [len(b) for b in w.batches()] == [6, 5, 1]
    for bytes, expected in ((size, [6]), (size + 1, [6]), (size - 1, [5, 1])):
        before = len(payloads(w))
        w.write(yaml + f"batch: {{bytes: {bytes}}}\n")
        w.run("--fresh")
        assert [len(b) for b in w.batches()][before:] == expected, (bytes, size)
        assert max(payloads(w)[before:]) <= bytes


def test_a_request_above_batch_bytes_is_refused(world):
    w = world()
    w.put("items.csv", WORDS)
    w.write(HEAD + ITEMS + ASK + OUT + "batch: {bytes: 100}\n")
    done = w.run(expect=1)
    assert "batch.bytes" in done.stderr and not w.emulator.bill()


def test_ten_thousand_records(world):
    """Oracle: every record once in the output, under a bound that only a quadratic step would break."""
    w = world()
    w.put("items.csv", table(("id", "word"), *((f"r{i}", f"word{i}") for i in range(10000))))
    w.write(HEAD + ITEMS + ASK + OUT)
    start = time.monotonic()
    w.run(timeout=300)
    took = time.monotonic() - start
    assert sorted(r["id"] for r in w.program.csv("out.csv")) == sorted(f"r{i}" for i in range(10000))
    assert sum(w.emulator.bought().values()) == 10000
    assert took < 60, took


def test_answers_come_home_without_their_input(world):
    """A job that streamed is seen through by another process although its input is gone or changed by
    then. Oracle: the rows, with the record's own columns."""
    for rows in ("answer ->> 'text' AS text FROM answers",
                 "answer ->> 'text' AS text, (SELECT word FROM records) AS word FROM answers"):
        for later in (None, "other,columns\n1,2\n"):
            w = world(faults=[{"on": "create", "do": "slow", "ms": 20000000}])
            w.write(HEAD + "inputs:\n  items: {csv: items.csv}\n" + ASK + OUT.split("    rows")[0]
                    + f"    rows: SELECT key AS id, {rows}\n")
            w.put("items.csv", WORDS)
            (w.cwd / "out.csv").unlink(missing_ok=True)
            w.program.run("create", w.pipeline, "--fresh", expect=3)
            (w.cwd / "items.csv").unlink()
            if later:
                w.put("items.csv", later)
            w.program.run("fetch", "--all-pending", "--wait", expect=0)
            assert [r.get("word", f"word{i}") for i, r in enumerate(
                sorted(w.program.csv("out.csv"), key=lambda r: r["id"]))] == [f"word{i}" for i in range(6)]
            w.emulator.__exit__()


def test_a_kill_behind_the_end_loses_no_row_of_the_job(world):
    """Oracle: the row that an `on: job` output writes for the last change of state, after a kill between
    that change and its delivery."""
    w = world()
    w.write(HEAD + ITEMS + ASK + OUT + """  - jsonl: jobs.jsonl
    on: job
    key: [id]
    rows: SELECT id, state FROM job
""")
    w.put("items.csv", WORDS)
    for nth in range(1, 12):
        done = w.run("--fresh", expect=None, OFFPEAK_FAULT=f"deliver.before:{nth}")
        if done.returncode == 0:
            break
        w.program.run("recover", expect=0)
        states = [json.loads(x)["state"] for x in (w.cwd / "jobs.jsonl").open()]
        assert set(states) == {"done"}, (nth, states)
    assert nth > 2


# --- profiles, and inputs that are SELECTs ------------------------------------------------------

PROFILES = HEAD + """inputs:
  items: {csv: items.csv}
records: SELECT id AS key, word FROM items
outputs:
  - csv: out.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
profiles:
  store:
    about: what the shop has
    inputs:
      goods: {jsonl: goods.jsonl, columns: [n, name, tags]}
      names: {select: "SELECT n, upper(name) AS name, json_array_length(tags) AS tags FROM goods"}
      items: {select: items.sql}
    outputs:
      - jsonl: out.jsonl
        key: [id]
        rows: SELECT key AS id, items.word AS word FROM answers JOIN items ON items.id = key
""" + ASK


def test_a_profile_takes_other_inputs_and_outputs(world):
    """One pipeline on two stores; the profile's tables are brought into the shape that `records`
    knows by SELECTs, each over the inputs above it. Oracle: prompts and rows worked out here."""
    w = world()
    w.write(PROFILES, items__sql="SELECT 'g' || n AS id, name AS word FROM names WHERE tags > :least")
    w.write(PROFILES.replace("inputs:", "params:\n  least: {type: integer, default: 1}\ninputs:", 1))
    w.put("items.csv", WORDS)
    goods = [{"n": n, "name": f"thing{n}", "tags": ["t"] * n} for n in range(5)]
    w.put("goods.jsonl", "".join(json.dumps(g) + "\n" for g in goods))
    w.run("--profile", "store", expect=0)
    assert sorted(w.prompts()) == [f"About THING{n}" for n in (2, 3, 4)]
    rows = [json.loads(line) for line in (w.cwd / "out.jsonl").read_text().splitlines()]
    assert sorted((r["id"], r["word"]) for r in rows) == [(f"g{n}", f"THING{n}") for n in (2, 3, 4)]
    assert not (w.cwd / "out.csv").exists()
    w.run(expect=0)  # the first profile is another job
    assert len(w.sent()) == 9 and len((w.cwd / "out.csv").read_text().splitlines()) == 7


def test_a_job_goes_on_with_the_profile_it_began_with(world):
    """Oracle: the target of the profile, written by a command that does not name it."""
    w = world()
    w.write(PROFILES.replace(":least", "0"), items__sql="SELECT 'g' || n AS id, name AS word FROM names")
    w.put("items.csv", WORDS)
    w.put("goods.jsonl", '{"n": 1, "name": "a", "tags": []}\n')
    w.program.run("create", w.pipeline, "--profile", "store", expect=3)
    w.program.run("recover", expect=0)
    assert (w.cwd / "out.jsonl").exists() and not (w.cwd / "out.csv").exists()


@pytest.mark.parametrize("change,given,words", [
    ((), ["--profile", "shop"], ["no profile 'shop'", "store"]),
    (("outputs:\n      - jsonl", "output:\n      - jsonl"), ["--profile", "store"],
     ["unknown key 'output'", "did you mean 'outputs'"]),
    (("    about: what", "    params: {}\n    about: what"), [], ["unknown key 'params'"]),
    (("SELECT n, upper(name)", "SELECT n, uper(name)"), ["--profile", "store"], ["uper"]),
    (('{select: "SELECT n,', '{select: "DELETE FROM goods; SELECT n,'), ["--profile", "store"],
     ["may only read"]),
    (("{select: items.sql}", "{select: items.sql, optional: true}"), ["--profile", "store"],
     ["no other keys"]),
    (("      goods: {jsonl: goods.jsonl, columns: [n, name, tags]}\n", ""), ["--profile", "store"],
     ["must stand above"]),
    (("AS name, json", "AS n, json"), ["--profile", "store"], ["n"]),
])
def test_wrong_profiles(world, change, given, words):
    """Oracle: exit code, a message that names the place and what is wrong, an empty bill."""
    w = world()
    w.write(PROFILES.replace(*change) if change else PROFILES,
            items__sql="SELECT n AS id, name AS word FROM names")
    w.put("items.csv", WORDS)
    w.put("goods.jsonl", '{"n": 1, "name": "a", "tags": []}\n')
    done = w.run(*given, expect=None)
    assert done.returncode in (1, 2) and not w.emulator.bill()
    assert "pipeline.yaml:" in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
