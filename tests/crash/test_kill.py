"""Kill -9 at every named fault point, then recover.

Behaviour: whatever point the process dies at, `recover` brings every record to its answer.
Stimulus:  OFFPEAK_FAULT=point:n kills the process at the n-th passage; recover runs, itself killed once
           at the same point in half of the cases.
Oracle:    the emulator's own bill: every request content was accepted and answered exactly once; the
           CSV has every record exactly once; the ledger's counters agree with the bill; the audit
           of the ledger finds nothing.
"""
import re
import sys

import pytest

sys.path.insert(0, str(__import__("pathlib").Path(__file__).resolve().parents[1] / "support"))
from harness import ROOT, Emulator, Offpeak, clock  # noqa: E402

RECORDS = 7
SPEED = 3000


def fault_points():
    text = (ROOT / "src" / "base" / "env.c").read_text()
    table = text[text.index("fault_points[] = {"):]
    return re.findall(r'"([a-z.]+)"', table[:table.index("};")])


def write_pipeline(folder, model="claude-haiku-4-5"):
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(f"""
pipeline: kill
about: seven questions in batches of three
params:
  path: {{about: input, type: path, required: true}}
inputs:
  items: {{csv: "{{{{path}}}}"}}
records: SELECT id AS key, word FROM items
requests:
  ask: {{model: {model}, max_tokens: 100, user: "Say something about {{{{word}}}}", answer: a.json}}
outputs:
  - csv: answers.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
  - jsonl: batches.jsonl
    key: [id]
    on: batch
    rows: SELECT id, state FROM batch
batch: {{requests: 3}}
""")
    (folder / "a.json").write_text('{"type":"object","properties":{"text":{"type":"string"}},'
                                   '"required":["text"],"additionalProperties":false}')
    (folder / "items.csv").write_text("id,word\n" + "".join(
        f"r{i},word{i}\n" for i in range(RECORDS)))


def check(offpeak, emulator):
    assert sorted(row["id"] for row in offpeak.csv("answers.csv")) == \
        [f"r{i}" for i in range(RECORDS)]
    assert all(row["text"] for row in offpeak.csv("answers.csv"))
    bought = emulator.bought()
    assert len(bought) == RECORDS and set(bought.values()) == {1}, bought
    assert set(emulator.accepted().values()) == {1}, emulator.accepted()
    job = offpeak.json("status")["jobs"][0]
    assert job["state"] == "done"
    assert job["counts"]["done"] == RECORDS
    assert job["reserved_microusd"] == 0
    audit = offpeak.run("doctor", "--audit", "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("passage", [1, 2])
@pytest.mark.parametrize("point", fault_points())
def test_killed_at(tmp_path, point, passage, again):
    write_pipeline(tmp_path / "kill")
    with Emulator(tmp_path, speed=SPEED) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        first = offpeak.run("run", tmp_path / "kill", "--path", tmp_path / "kill" / "items.csv",
                            OFFPEAK_FAULT=f"{point}:{passage}")
        if first.returncode == 0:
            check(offpeak, emulator)
            pytest.skip(f"{point} is not passed {passage} times here")
        assert first.returncode == -9, first.stderr
        if again:
            offpeak.run("recover", OFFPEAK_FAULT=f"{point}:1")
        offpeak.run("recover", expect=0)
        check(offpeak, emulator)
