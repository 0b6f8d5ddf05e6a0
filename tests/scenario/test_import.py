"""What was bought elsewhere, taken into a pipeline.

Behaviour: `import` adopts a provider's batch that somebody else made, or a file of results, into a
           pipeline: ids are matched with record keys (as they are, KEY#REQUEST, or by a map), answers
           are checked, delivered and booked as ever, what matches nothing is kept and named, nothing is
           sent, the same twice changes nothing, a kill anywhere changes nothing, and a later run of the
           pipeline buys only what is missing.
Oracle:    the emulator's bill; the batches and files the tests made themselves, in each provider's own
           form (tests/support/forms.py); the ledger.
"""
import json
import pathlib
import re
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from forms import FORMS  # noqa: E402
from harness import MODELS, OFFPEAK, Offpeak, clock  # noqa: E402
from wire import SCHEMA, write_pipeline  # noqa: E402


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.fixture
def world(tmp_path, connected, form):
    """(program, pipeline arguments, the lines its requests would be)."""
    def start(records=6, **options):
        offpeak = connected(speed=3000, **options)
        offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
        folder = write_pipeline(tmp_path / "asked", records, 100, model=MODELS[form.name])
        planner = Offpeak(tmp_path / "planner", offpeak.emulator, OFFPEAK_CLOCK=clock(3000))
        planner.run("run", folder, "--path", folder / "items.csv", "--max-cost", "0.000001", expect=3)
        lines = [json.loads(line) for line in planner.run("export", "job-1").stdout.splitlines()]
        assert len(lines) == records and not offpeak.emulator.bill()
        return offpeak, ["--pipeline", folder, "--path", folder / "items.csv"], lines
    return start


def run_args(args):
    return ["run", *args[1:]]


def counts(offpeak, job="job-1"):
    return offpeak.json("status", job)["jobs"][0]["counts"]


def sound(offpeak):
    offpeak.run("doctor", "--audit", expect=0)


def good(form, custom_id):
    return form.answer(custom_id, json.dumps({"text": "about " + custom_id}))


def write(path, lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n"
                            for line in lines))
    return path


def test_a_batch_made_elsewhere(world, form):
    offpeak, args, lines = world()
    batch = form.create(offpeak.emulator.url, lines[:4])
    extra = form.line("stranger", lines[0][form.params_member])
    other = form.create(offpeak.emulator.url, [lines[4], extra])
    bill = len([b for b in offpeak.emulator.bill() if b["state"] == "accepted"])
    done = offpeak.run("import", batch, other, *args, expect=0)
    assert "1 results match no record" in done.stderr and "stranger" in done.stderr
    assert [r["id"] for r in offpeak.csv("answers.csv")] == [f"r{i:03}" for i in range(5)]
    assert counts(offpeak)["done"] == 5 and counts(offpeak)["skipped"] == 1
    sound(offpeak)
    # the raw bytes are kept, as they came
    spool = offpeak.state / "spool" / "result"
    kept = spool.glob(f"import-{re.sub('[^A-Za-z0-9]', '-', other)}-*")
    assert sorted(path.read_bytes() for path in kept) == sorted(form.results(offpeak.emulator.url, other))
    # booked, but apart
    spent, = offpeak.ledger("SELECT sum(microusd) FROM result")[0]
    cost = offpeak.json("cost")
    assert spent > 0 and cost["total"]["requests"] == 0
    assert cost["imported"]["microusd"] == spent and cost["costs"][0]["imported"]
    assert "bought elsewhere" in offpeak.run("cost").stdout
    # the same again changes nothing
    before = (offpeak.state / "ledger.db").read_bytes()
    again = offpeak.run("import", batch, other, *args, expect=0)
    assert "imported as job-1" in again.stderr
    assert offpeak.ledger("SELECT count(*) FROM job") == [(1,)]
    assert before == (offpeak.state / "ledger.db").read_bytes()
    done = offpeak.run("import", batch, *args, expect=0)
    assert "imported as job-1" in done.stderr
    # nothing was sent; the pipeline itself buys only what is missing
    assert len([b for b in offpeak.emulator.bill() if b["state"] == "accepted"]) == bill
    offpeak.run(*run_args(args), expect=0)
    assert len([b for b in offpeak.emulator.bill() if b["state"] == "accepted"]) == bill + 1
    assert counts(offpeak, "job-2")["reused"] == 5
    assert [r["id"] for r in offpeak.csv("answers.csv")] == [f"r{i:03}" for i in range(6)]
    # what is ours cannot be imported
    ours, = offpeak.ledger("SELECT provider_id FROM batch WHERE job_id = 2")[0]
    assert "job-2" in offpeak.run("import", ours, *args, expect=1).stderr


def test_a_batch_that_has_not_ended(world, form):
    offpeak, args, lines = world(faults=[{"on": "create", "do": "slow", "ms": 9_000_000}])
    batch = form.create(offpeak.emulator.url, lines)
    done = offpeak.run("import", batch, *args, "--no-wait", expect=3)
    assert "has not ended" in done.stderr and offpeak.ledger("SELECT count(*) FROM job") == [(0,)]
    offpeak.run("import", batch, *args, expect=0)
    assert len(offpeak.csv("answers.csv")) == 6


def test_a_file_without_key_or_network(world, form):
    """Good, invalid, cut, refused, errored, twice, damaged, unknown; nothing is asked again."""
    offpeak, args, _ = world(records=8)
    half = json.dumps(form.answer("r005", "half"))
    lines = [good(form, "r000"), form.answer("r001", "no JSON at all"),
             form.answer("r002", '{"text": "cut', cut=True), form.error("r003", "busy"),
             good(form, "r004"), form.answer("r004", json.dumps({"text": "another"})),
             half[:len(half) // 2], good(form, "nobody"),
             form.answer("r006", "```json\n" + json.dumps({"text": "fenced"}) + "\n```"),
             form.unrun("r007"), good(form, "r007")]
    file = write(offpeak.cwd / "results.jsonl", lines)
    before = file.read_bytes()
    env = form.key_env("http://127.0.0.1:9")
    done = offpeak.run("import", "results.jsonl", *args, expect=3, **env)
    assert "1 lines are no results" in done.stderr and "nobody" in done.stderr
    rows = {r["id"]: r["text"] for r in offpeak.csv("answers.csv")}
    assert rows == {"r000": "about r000", "r004": "about r004", "r006": "fenced",
                    "r007": "about r007"}
    assert (counts(offpeak)["done"], counts(offpeak)["failed"], counts(offpeak)["reasked"]) == (4, 3, 0)
    failed = {f["key"]: f["reason"] for f in offpeak.json("list", "--failed")["failed"]}
    assert set(failed) == {"r001", "r002", "r003"} and "busy" in failed["r003"]
    lost = offpeak.json("cost")["imported"]["lost"]
    assert [lost[k]["given_up"] for k in ("invalid", "truncated", "failed")] == [1, 1, 1]
    assert file.read_bytes() == before
    kept, = (offpeak.state / "spool" / "result").glob("import-file-*")
    assert kept.read_bytes() == before
    sound(offpeak)
    # nothing is ever sent for it
    again = offpeak.run("run", "job-1", "--retry-failed", expect=1)
    assert "imported" in again.stderr
    offpeak.run("recover", expect=0)
    assert not offpeak.emulator.bill()
    # the same bytes under another name are the same import
    (offpeak.cwd / "copy.jsonl").write_bytes(before)
    assert "imported as job-1" in offpeak.run("import", "copy.jsonl", *args, expect=3, **env).stderr
    story = offpeak.run("show", "r004", expect=0).stdout
    assert "Say something about asked-word4" in story


def test_windows_line_ends_and_a_mark(world, form):
    offpeak, args, _ = world(records=2)
    text = "\r\n".join(json.dumps(good(form, k)) for k in ("r000", "r001"))
    (offpeak.cwd / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    offpeak.run("import", "r.jsonl", *args, expect=0)
    assert len(offpeak.csv("answers.csv")) == 2


PIPELINE = """
pipeline: several
about: two requests a record
params:
  path: {about: input, type: path, required: true}
inputs:
  items: {csv: "{{path}}"}
records: SELECT id AS key, word FROM items
requests:
  one: {model: MODEL, max_tokens: 200, user: "One {{word}}", answer: a.json}
  two: {model: MODEL, max_tokens: 200, user: "Two {{word}}", answer: a.json}
outputs:
  - csv: answers.csv
    key: [id, request]
    rows: SELECT key AS id, request, answer ->> 'text' AS text FROM answers
"""


def test_several_requests_and_a_map(tmp_path, connected, form):
    """KEY#REQUEST by itself; other ids by the map that `export` has written."""
    folder = tmp_path / "several"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("MODEL", MODELS[form.name]))
    (folder / "a.json").write_text(json.dumps(SCHEMA))
    (folder / "items.csv").write_text("id,word\nk 1,a\nk 2,b\n")
    offpeak = connected(speed=3000)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    args = ["--pipeline", folder, "--path", folder / "items.csv"]
    write(offpeak.cwd / "named.jsonl", [good(form, k) for k in ("k 1#one", "k 2#two", "k 2")])
    done = offpeak.run("import", "named.jsonl", *args, expect=0)
    rows = [(r["id"], r["request"]) for r in offpeak.csv("answers.csv")]
    assert rows == [("k 1", "one"), ("k 2", "two")]
    assert "1 results match no record" in done.stderr

    planner = Offpeak(tmp_path / "planner", offpeak.emulator, OFFPEAK_CLOCK=clock(3000))
    planner.run("run", folder, "--path", folder / "items.csv", "--max-cost", "0.000001", expect=3)
    planner.run("export", "job-1", "--output", offpeak.cwd / "out.jsonl", expect=0)
    lines = [json.loads(line) for line in (offpeak.cwd / "out.jsonl").read_text().splitlines()]
    batch = form.create(offpeak.emulator.url, lines)
    (offpeak.cwd / "answers.csv").unlink()
    offpeak.run("import", batch, *args, "--map", "out.jsonl.map.jsonl", expect=0)
    rows = [(r["id"], r["request"]) for r in offpeak.csv("answers.csv")]
    assert rows == [("k 1", "one"), ("k 1", "two"), ("k 2", "one"), ("k 2", "two")]
    sound(offpeak)


def test_the_better_of_two_sources(world, form):
    """What failed in the first batch was asked again in a second one."""
    offpeak, args, _ = world(records=2)
    write(offpeak.cwd / "one.jsonl", [form.unrun("r000"), good(form, "r001")])
    write(offpeak.cwd / "two.jsonl", [good(form, "r000")])
    offpeak.run("import", "one.jsonl", "two.jsonl", *args, expect=0)
    assert len(offpeak.csv("answers.csv")) == 2
    sound(offpeak)


POINTS = ["fetch.part", "plan.commit", "apply.outbox", "apply.commit.before", "apply.commit.after",
          "apply.done", "deliver.before", "deliver.between", "deliver.after", "seal.after"]


@pytest.mark.parametrize("form", ["anthropic", "openai"], indirect=True)  # one file, and two
@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere(world, form, point):
    offpeak, args, lines = world()
    batch = form.create(offpeak.emulator.url, lines)
    done = offpeak.run("import", batch, *args, OFFPEAK_FAULT=f"{point}:1")
    assert done.returncode == -signal.SIGKILL, (point, done.stderr)
    offpeak.run("import", batch, *args, expect=0)
    assert [r["id"] for r in offpeak.csv("answers.csv")] == [f"r{i:03}" for i in range(6)]
    assert counts(offpeak)["done"] == 6
    assert offpeak.ledger("SELECT count(*) FROM job WHERE state <> 'failed'") == [(1,)]
    sound(offpeak)
    assert len([b for b in offpeak.emulator.bill() if b["state"] == "accepted"]) == 6


def test_mistakes(world, form):
    offpeak, args, _ = world(records=2)
    write(offpeak.cwd / "r.jsonl", [good(form, "a"), good(form, "b")])
    done = offpeak.run("import", "r.jsonl", *args, expect=1)
    assert "none of the 2 results matches a record" in done.stderr and "--map" in done.stderr
    write(offpeak.cwd / "m.jsonl", [{"custom_id": "a", "key": "r000"}])
    offpeak.run("import", "r.jsonl", *args, "--map", "m.jsonl", expect=0)
    assert [r["id"] for r in offpeak.csv("answers.csv")] == ["r000"]
    write(offpeak.cwd / "m2.jsonl", [{"id": "a"}])
    done = offpeak.run("import", "r.jsonl", *args, "--map", "m2.jsonl", expect=1)
    assert "--map, line 1" in done.stderr
    assert "--pipeline" in offpeak.run("import", "r.jsonl", expect=2).stderr
    assert "what to import" in offpeak.run("import", *args, expect=2).stderr
    unheard = {"gemini": "batches/unheardof"}.get(form.name, "batch_unheard_of")
    done = offpeak.run("import", unheard, *args, expect=1)
    assert unheard in done.stderr
    done = offpeak.run("import", "no such file.jsonl", *args, expect=1)
    assert "neither a file nor a batch" in done.stderr
    done = offpeak.run("import", "r.jsonl", *args[:2], expect=2)
    assert "path" in done.stderr
