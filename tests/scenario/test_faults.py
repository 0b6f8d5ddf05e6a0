"""Provider faults, one at a time, on a whole run.

Behaviour: whatever the provider does, every record ends in exactly one final state, none is paid for
           twice without a recorded reason, and the outputs say what the ledger says.
Stimulus:  a fault rule in the emulator; `run` until it ends, or `run` and then `recover`.
Oracle:    the emulator's bill (who was accepted and answered how often), against the CSV and the counts
           of `status --json`.
"""
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Emulator, Offpeak, clock  # noqa: E402

RECORDS = 12
SPEED = 3000

PIPELINE = """
pipeline: faults
about: twelve questions in batches of four
params:
  path: {about: input, type: path, required: true}
inputs:
  items: {csv: "{{path}}"}
records: SELECT id AS key, word FROM items
requests:
  ask: {model: claude-haiku-4-5, max_tokens: 200, user: "Say something about {{word}}", answer: a.json}
outputs:
  - csv: answers.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
batch: {requests: 4}
"""
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
          "additionalProperties": False}


@pytest.fixture
def pipeline(tmp_path):
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "a.json").write_text(json.dumps(SCHEMA))
    (folder / "items.csv").write_text("id,word\n" + "".join(
        f"r{i},word{i}\n" for i in range(RECORDS)))
    return folder


def start(tmp_path, pipeline, faults, *options, speed=SPEED, **env):
    emulator = Emulator(tmp_path, speed=speed, faults=faults)
    emulator.__enter__()
    offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(speed), **env)
    done = offpeak.run("run", pipeline, "--path", pipeline / "items.csv", *options)
    return emulator, offpeak, done


def all_answered(emulator, offpeak, accepted=None):
    """Every record answered, every content bought once; accepted: contents sent more than once."""
    assert sorted(r["id"] for r in offpeak.csv("answers.csv")) == \
        sorted(f"r{i}" for i in range(RECORDS))
    bought = emulator.bought()
    assert len(bought) == RECORDS and set(bought.values()) == {1}, bought
    if accepted is None:
        assert set(emulator.accepted().values()) == {1}, emulator.accepted()
    counts = offpeak.json("status")["jobs"][0]["counts"]
    assert (counts["done"], counts["failed"]) == (RECORDS, 0)


# Faults that must not be noticed in the end: nothing is sent twice.
HARMLESS = {
    "dropped before it took effect": [{"on": "create", "nth": 1, "do": "drop_before_commit"}],
    "500 before it took effect": [{"on": "create", "nth": 1, "do": "status_before_commit", "status": 500}],
    "529 before it took effect": [{"on": "create", "nth": 2, "do": "status_before_commit", "status": 529}],
    "the answer to create was lost": [{"on": "create", "nth": 1, "do": "drop_after_commit"}],
    "the answer to create was lost by a reset":
        [{"on": "create", "nth": 2, "do": "drop_after_commit", "reset": True}],
    "500 after it took effect": [{"on": "create", "nth": 1, "do": "status_after_commit", "status": 500}],
    "the answer to create was cut": [{"on": "create", "nth": 1, "do": "cut_body"}],
    "created late": [{"on": "create", "nth": 1, "do": "accept_late", "ms": 300000}],
    "the list lags": [{"on": "create", "nth": 1, "do": "list_lag", "ms": 60000},
                      {"on": "create", "nth": 1, "do": "drop_after_commit"}],
    "429 with Retry-After": [{"on": "create", "nth": 1, "do": "status_before_commit", "status": 429,
                              "type": "rate_limit_error", "headers": {"retry-after": "2"}}],
    "the spend cap, lifted later": [{"on": "create", "nth": 1, "do": "spend_cap"}],
    "HTML from a proxy": [{"on": "create", "nth": 1, "do": "html_body", "status": 502}],
    "404 right after create": [{"on": "create", "do": "flap_after_create", "count": 2}],
    "404 right after the end": [{"on": "create", "do": "flap_after_end", "count": 2}],
    "polls fail": [{"on": "get", "every": 2, "do": "status_before_commit", "status": 500}],
    "results cut": [{"on": "results", "nth": 1, "do": "cut_body"}],
    "results short at first": [{"on": "results", "nth": 1, "do": "truncate_results", "lines": 1}],
    "duplicate lines": [{"on": "results", "every": 3, "do": "duplicate_line"}],
    "counts lie": [{"on": "create", "do": "counts_lie"}],
    "unknown state": [{"on": "create", "do": "unknown_status"}],
    "times with Z": [{"on": "create", "do": "z_timestamps"}],
    "unknown fields": [{"on": "create", "do": "extra_fields"}],
    "no content type": [{"on": "results", "do": "no_content_type"}],
    "live counts": [{"on": "create", "do": "live_counts"}],
    "state goes back": [{"on": "get", "nth": 2, "do": "state_regress"}],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(tmp_path, pipeline, name):
    emulator, offpeak, done = start(tmp_path, pipeline, HARMLESS[name])
    try:
        assert done.returncode == 0, done.stderr
        all_answered(emulator, offpeak, accepted="any")
        # What the emulator took and lost with the connection is on the bill once as well.
        assert set(emulator.accepted().values()) == {1}, emulator.accepted()
    finally:
        emulator.__exit__()


def test_duplicates_where_a_chunk_ends(tmp_path, pipeline):
    """A chunk has at most 1024 lines: of a request that is answered twice one line may be the last of
    a chunk and the other the first of the next, which another thread digests."""
    count = 3000
    yaml = pipeline / "pipeline.yaml"
    yaml.write_text(yaml.read_text().replace("batch: {requests: 4}\n", ""))
    (pipeline / "items.csv").write_text("id,word\n" + "".join(f"r{i},word{i}\n" for i in range(count)))
    emulator, offpeak, done = start(tmp_path, pipeline,
                                    [{"on": "results", "every": 2, "do": "duplicate_line"}])
    try:
        assert done.returncode == 0, done.stderr
        assert [r["id"] for r in offpeak.csv("answers.csv")] == [f"r{i}" for i in range(count)]
        counts = offpeak.json("status")["jobs"][0]["counts"]
        assert (counts["done"], counts["failed"], counts["rows"]) == (count, 0, count)
    finally:
        emulator.__exit__(None, None, None)


# Faults after which a request has to be bought again, for a reason that is recorded.
ASKED_AGAIN = {
    "errored lines": [{"on": "results", "nth": 2, "do": "error_line", "type": "overloaded_error"}],
    "expired lines": [{"on": "results", "nth": 3, "do": "expire_line"}],
    "missing line": [{"on": "results", "nth": 2, "do": "drop_line"}],
    "corrupt line": [{"on": "results", "nth": 2, "do": "corrupt_line"}],
    "renamed id": [{"on": "results", "nth": 2, "do": "rename_id"}],
    "null id": [{"on": "results", "nth": 2, "do": "null_id"}],
    "not JSON": [{"on": "results", "nth": 2, "do": "invalid_answer", "how": "not_json"}],
    "wrong type": [{"on": "results", "nth": 2, "do": "invalid_answer", "how": "wrong_type"}],
    "missing property": [{"on": "results", "nth": 2, "do": "invalid_answer", "how": "missing"}],
    "cut answer": [{"on": "results", "nth": 2, "do": "truncated_answer"}],
    "batch expired": [{"on": "create", "nth": 1, "do": "expire", "percent": 50}],
}


@pytest.mark.parametrize("name", ASKED_AGAIN)
def test_asked_again(tmp_path, pipeline, name):
    emulator, offpeak, done = start(tmp_path, pipeline, ASKED_AGAIN[name], speed=20000)
    try:
        assert done.returncode == 0, done.stderr
        assert len(offpeak.csv("answers.csv")) == RECORDS
        counts = offpeak.json("status")["jobs"][0]["counts"]
        assert (counts["done"], counts["failed"]) == (RECORDS, 0)
        assert counts["reasked"] >= 1
        accepted = sum(emulator.accepted().values())
        assert accepted == RECORDS + counts["reasked"]
        assert max(emulator.accepted().values()) <= 2
    finally:
        emulator.__exit__()


def test_fenced_answer_is_taken_out(tmp_path, pipeline):
    emulator, offpeak, done = start(
        tmp_path, pipeline, [{"on": "results", "do": "invalid_answer", "how": "fenced"}])
    try:
        assert done.returncode == 0, done.stderr
        all_answered(emulator, offpeak)
        assert offpeak.json("status")["jobs"][0]["counts"]["warnings"] == RECORDS
    finally:
        emulator.__exit__()


def test_refusals_fail_and_are_listed(tmp_path, pipeline):
    emulator, offpeak, done = start(
        tmp_path, pipeline, [{"on": "results", "nth": 5, "do": "refusal"}])
    try:
        assert done.returncode == 3, done.stderr
        counts = offpeak.json("status")["jobs"][0]["counts"]
        assert (counts["done"], counts["failed"]) == (RECORDS - 1, 1)
        assert len(offpeak.csv("answers.csv")) == RECORDS - 1
        assert "refused" in offpeak.run("list", "--status", "failed").stdout
        assert set(emulator.accepted().values()) == {1}
    finally:
        emulator.__exit__()


def test_permanent_errors_fail_alone(tmp_path, pipeline):
    emulator, offpeak, done = start(
        tmp_path, pipeline,
        [{"on": "results", "nth": 2, "do": "error_line", "type": "invalid_request_error",
          "message": "messages: too long"}])
    try:
        assert done.returncode == 3
        counts = offpeak.json("status")["jobs"][0]["counts"]
        assert (counts["done"], counts["failed"], counts["reasked"]) == (RECORDS - 1, 1, 0)
        assert "too long" in offpeak.run("list", "--status", "failed").stdout
    finally:
        emulator.__exit__()


def test_a_rejected_batch_is_not_bought_and_says_why(tmp_path, pipeline):
    emulator, offpeak, done = start(
        tmp_path, pipeline,
        [{"on": "create", "nth": 1, "do": "status_before_commit", "status": 400,
          "type": "invalid_request_error", "message": "requests.0.params: no"}])
    try:
        assert done.returncode == 3
        counts = offpeak.json("status")["jobs"][0]["counts"]
        assert (counts["done"], counts["failed"]) == (RECORDS - 4, 4)
        assert "requests.0.params: no" in offpeak.run("list", "--status", "failed").stdout
        assert sum(emulator.accepted().values()) == RECORDS - 4
    finally:
        emulator.__exit__()


def test_wrong_key_pauses_and_says_so(tmp_path, pipeline):
    faults = [{"on": "any", "do": "status_before_commit", "status": 401,
               "type": "authentication_error", "message": "API key is invalid."}]
    emulator = Emulator(tmp_path, speed=SPEED, faults=faults)
    with emulator:
        offpeak = Offpeak(tmp_path, emulator)
        done = offpeak.run("create", pipeline, "--path", pipeline / "items.csv", "--wait", "2")
        assert done.returncode == 3, done.stderr
        assert "API key is invalid" in done.stderr
        assert not emulator.bill()


def test_cancel(tmp_path, pipeline):
    """Oracle: canceled lines are not billed; what was answered all the same is delivered."""
    faults = [{"on": "create", "do": "slow", "ms": 40000000},
              {"on": "create", "do": "cancel_race", "percent": 50}]
    with Emulator(tmp_path, speed=SPEED, faults=faults) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        done = offpeak.run("create", pipeline, "--path", pipeline / "items.csv", expect=3)
        job = offpeak.json("status")["jobs"][0]["id"]
        offpeak.run("cancel", job)
        done = offpeak.run("recover")
        assert done.returncode in (0, 3), done.stderr
        status = offpeak.json("status", job)["jobs"][0]
        assert status["state"] == "canceled"
        counts = status["counts"]
        assert counts["done"] + counts["canceled"] == RECORDS and counts["failed"] == 0
        assert counts["done"] == sum(emulator.bought().values())
        path = offpeak.cwd / "answers.csv"
        rows = offpeak.csv("answers.csv") if path.exists() else []
        assert len(rows) == counts["done"]


def test_a_cap_stops_the_sending(tmp_path, pipeline):
    with Emulator(tmp_path, speed=SPEED) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        done = offpeak.run("run", pipeline, "--path", pipeline / "items.csv", "--max-cost",
                           "0.000001")
        assert done.returncode == 3
        assert "cost cap" in done.stderr + done.stdout
        assert not emulator.bill()
        offpeak.run("run", pipeline, "--path", pipeline / "items.csv", "--max-cost", "5",
                    expect=0)
        all_answered(emulator, offpeak)


def test_identical_requests_are_bought_once(tmp_path, pipeline):
    """In one job and across jobs; --fresh buys anew."""
    (pipeline / "items.csv").write_text("id,word\n" + "".join(
        f"r{i},word{i % 5}\n" for i in range(RECORDS)))
    with Emulator(tmp_path, speed=SPEED) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        run = ["run", pipeline, "--path", pipeline / "items.csv"]
        offpeak.run(*run, expect=0)
        assert sum(emulator.accepted().values()) == 5
        first = {r["id"]: r["text"] for r in offpeak.csv("answers.csv")}
        assert len(first) == RECORDS
        (offpeak.cwd / "answers.csv").unlink()
        offpeak.run(*run, expect=0)
        assert sum(emulator.accepted().values()) == 5
        assert {r["id"]: r["text"] for r in offpeak.csv("answers.csv")} == first
        assert offpeak.json("status")["jobs"][0]["counts"]["reused"] == RECORDS
        offpeak.run(*run, "--fresh", expect=0)
        assert sum(emulator.accepted().values()) == 5 + RECORDS
