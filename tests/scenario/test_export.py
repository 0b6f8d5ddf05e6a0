"""A job taken out: its requests, and its raw results, in the provider's own form.

Behaviour: `export` writes one line a request, under the record's key where that is a legal custom_id,
           else under an id that a map file explains; asking the file again buys nothing, because every
           byte is the same, also of what was asked again with other params; `--results` writes the raw
           result lines under the user's ids.
Oracle:    the payload files and result files in the spool, the emulator's bill, the input; the
           providers' line forms, written by hand in tests/support/forms.py.
"""
import json
import os
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from forms import FORMS, without_ids  # noqa: E402
from harness import MODELS, OFFPEAK, clock  # noqa: E402
from wire import SCHEMA, write_pipeline  # noqa: E402

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.fixture
def program(connected):
    def start(**options):
        offpeak = connected(speed=3000, **options)
        offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
        return offpeak
    return start


def test_round_trip_buys_nothing(program, tmp_path, form):
    """Of two batches a line was cut, one was invalid: their params were amended when asked again."""
    folder = write_pipeline(tmp_path / "trip", 7, 4, model=MODELS[form.name])
    offpeak = program(faults=[
        {"on": "results", "do": "truncated_answer", "match": "word2\"", "nth": 1},
        {"on": "results", "do": "invalid_answer", "how": "missing", "match": "word5\"", "nth": 1}])
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    before = offpeak.emulator.bill()
    told = offpeak.json("export", "job-1", "--output", "out.jsonl", expect=0)
    assert (told["lines"], told["mapped"], told["map"]) == (7, 0, None)
    exported = lines(offpeak.cwd / "out.jsonl")
    assert [line[form.id_member] for line in exported] == [f"r{i:03}" for i in range(7)]
    planned = {}
    for file, in offpeak.ledger("SELECT file FROM batch WHERE id <= 2"):
        for request in form.lines_of((offpeak.state / "spool" / file).read_text()):
            planned[int(request[form.id_member].rsplit("-", 1)[1], 36)] = request[form.params_member]
    assert exported == [form.line(f"r{i:03}", planned[k]) for i, k in enumerate(sorted(planned))]
    assert not (offpeak.cwd / "out.jsonl.map.jsonl").exists()
    assert offpeak.run("export", "job-1").stdout == (offpeak.cwd / "out.jsonl").read_text()

    model = [] if "model" in exported[0][form.params_member] else ["--model", MODELS[form.name]]
    offpeak.run("run", "out.jsonl", "--output", "again.jsonl", *model, expect=0)
    assert offpeak.emulator.bill() == before, "something was bought again"
    again = lines(offpeak.cwd / "again.jsonl")
    assert [line[form.id_member] for line in again] == [f"r{i:03}" for i in range(7)]
    assert offpeak.json("status", "job-2")["jobs"][0]["counts"]["reused"] == 7


def test_keys_that_are_no_legal_ids(program, tmp_path):
    """Blanks, other scripts, too long, our own prefix: mapped, and told apart by the map alone."""
    keys = ["plain", "with blank", "Grüße", "x" * 64, "y" * 65, "offpeak-1", 'quo"te', "a/b", "a.b"]
    folder = write_pipeline(tmp_path / "keys", 0, 100)
    rows = "".join('"%s",w%d\n' % (k.replace('"', '""'), i) for i, k in enumerate(keys))
    (folder / "items.csv").write_text("id,word\n" + rows)
    offpeak = program()
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    done = offpeak.run("export", "job-1", expect=1)
    assert "with blank" in done.stderr and "--output" in done.stderr
    told = offpeak.json("export", "job-1", "--output", "out.jsonl", expect=0)
    assert told["mapped"] == 7
    named = {line["custom_id"]: line["key"] for line in lines(offpeak.cwd / "out.jsonl.map.jsonl")}
    ids = [line["custom_id"] for line in lines(offpeak.cwd / "out.jsonl")]
    assert len(set(ids)) == len(keys) and all(LEGAL.fullmatch(i) for i in ids)
    assert [named.get(i, i) for i in ids] == keys
    assert {"plain", "x" * 64}.isdisjoint(named.values())
    # results go by the keys themselves
    offpeak.run("export", "job-1", "--results", "--output", "results.jsonl", expect=0)
    assert [line["custom_id"] for line in lines(offpeak.cwd / "results.jsonl")] == keys
    # an export without such keys leaves no old map behind
    (offpeak.cwd / "plain.csv").write_text("id,word\nplain,w0\n")
    offpeak.run("run", folder, "--path", "plain.csv", expect=0)
    offpeak.run("export", "job-2", "--output", "out.jsonl", expect=0)
    assert not (offpeak.cwd / "out.jsonl.map.jsonl").exists()


PIPELINE = """
pipeline: several
about: two requests a record
params:
  path: {about: input, type: path, required: true}
inputs:
  items: {csv: "{{path}}"}
records: SELECT id AS key, word FROM items
requests:
  one: {model: claude-haiku-4-5, max_tokens: 200, user: "One {{word}}", answer: a.json}
  two: {model: claude-haiku-4-5, max_tokens: 200, user: "Two {{word}}", answer: a.json}
outputs:
  - csv: answers.csv
    key: [id, request]
    rows: SELECT key AS id, request, answer ->> 'text' AS text FROM answers
"""


def test_several_requests_of_a_record(program, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "a.json").write_text(json.dumps(SCHEMA))
    (folder / "items.csv").write_text("id,word\nk1,a\nk2,b\n")
    offpeak = program()
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    offpeak.run("export", "job-1", "--output", "out.jsonl", expect=0)
    assert [line["custom_id"] for line in lines(offpeak.cwd / "out.jsonl")] == \
        ["one_k1", "two_k1", "one_k2", "two_k2"]
    assert not (offpeak.cwd / "out.jsonl.map.jsonl").exists()
    offpeak.run("export", "job-1", "--results", "--output", "results.jsonl", expect=0)
    assert [line["custom_id"] for line in lines(offpeak.cwd / "results.jsonl")] == \
        ["one_k1", "two_k1", "one_k2", "two_k2"]


def test_ids_that_could_mean_two_requests_are_mapped(program, tmp_path):
    """`one` of "two_k" and `one_two` of "k" would both be one_two_k."""
    folder = tmp_path / "several"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("  two:", "  one_two:"))
    (folder / "a.json").write_text(json.dumps(SCHEMA))
    (folder / "items.csv").write_text("id,word\nk,a\ntwo_k,b\n")
    offpeak = program()
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    offpeak.run("export", "job-1", "--output", "out.jsonl", expect=0)
    named = lines(offpeak.cwd / "out.jsonl.map.jsonl")
    assert [(m["key"], m["request"]) for m in named] == \
        [("k", "one"), ("k", "one_two"), ("two_k", "one"), ("two_k", "one_two")]
    assert [m["custom_id"] for m in named] == \
        [line["custom_id"] for line in lines(offpeak.cwd / "out.jsonl")]


def test_results_are_the_providers_own_bytes(program, tmp_path, form):
    """One line refused for good, one identical request that was not bought: both are there."""
    folder = write_pipeline(tmp_path / "raw", 4, 4, model=MODELS[form.name])
    (folder / "items.csv").write_text("id,word\na,x\nb,y\nc,x\nd,z\n")
    offpeak = program(faults=[{"on": "results", "do": "error_line", "match": "about z", "status": 400,
                               "type": "invalid_request_error", "message": "never"}])
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=3)
    offpeak.run("export", "job-1", "--results", "--output", "results.jsonl", expect=0)
    text = (offpeak.cwd / "results.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    assert [line[form.id_member] for line in found] == ["a", "b", "c", "d"]
    assert [form.is_good(line) for line in found] == [True, True, True, False]
    raw = "".join((offpeak.state / "spool" / file).read_text().rstrip("\n") + "\n"
                  for file, in offpeak.ledger("SELECT file FROM result_file"))
    tag, = offpeak.ledger("SELECT tag FROM identity")[0]
    assert {re.sub(rf'"{form.id_member}": ?"."', lambda m: m[0][:-2] + 'ID"', line)
            for line in text.splitlines()} == without_ids(raw, tag)


def test_mistakes(program, tmp_path):
    offpeak = program()
    assert "job-3" in offpeak.run("export", expect=2).stderr
    folder = write_pipeline(tmp_path / "m", 1, 1)
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    assert "no job-9" in offpeak.run("export", "job-9", expect=1).stderr
    (offpeak.cwd / "dir").mkdir()
    done = offpeak.run("export", "job-1", "--output", "dir", expect=1)
    assert "dir" in done.stderr and not list(offpeak.cwd.glob("*.part*"))


def test_memory_stays_flat(program, tmp_path):
    """60 MB of requests leave within 64 MB (DESIGN.md 7), most of which the program needs anyway."""
    folder = write_pipeline(tmp_path / "big", 0, 100)
    with open(folder / "items.csv", "w", encoding="utf-8") as f:
        f.write("id,word\n")
        for i in range(600):
            f.write(f"r{i},{i} {'x' * 100_000}\n")
    offpeak = program()
    offpeak.run("run", folder, "--path", folder / "items.csv", "--max-cost", "0.000001", expect=3)
    out = offpeak.cwd / "out.jsonl"
    pid = os.spawnve(os.P_NOWAIT, OFFPEAK, ["offpeak", "export", "job-1", "--quiet", "--output",
                                            str(out)], offpeak.env)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0 and out.stat().st_size > 60_000_000
    assert usage.ru_maxrss < 64 * 1024
