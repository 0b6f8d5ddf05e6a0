"""One job over several providers at once: each request is bought once, where its definition says.

Oracle: the emulator's bill, which names the model that each accepted request asked, and the pipeline's
text, which names the model of each record."""
import collections
import pathlib
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, OTHERS, Emulator, Offpeak, clock  # noqa: E402
from wire import write_pipeline  # noqa: E402

MODELS = {"anthropic": "claude-haiku-4-5", "openai": OTHERS["openai"], "gemini": OTHERS["gemini"]}
RECORDS = 90  # a third of them for each provider

PIPELINE = """
pipeline: three
about: questions to three providers
params:
  path: {about: input, type: path, required: true}
inputs:
  items: {csv: "{{path}}"}
records: |
  SELECT id AS key, word, id % 3 = 0 AS for_anthropic, id % 3 = 1 AS for_openai, id % 3 = 2 AS for_gemini
  FROM items
requests:
""" + "".join(f"""
  {name}:
    provider: {name}
    model: {model}
    max_tokens: 200
    user: "Say something about {{{{word}}}}"
    when: for_{name}""" for name, model in MODELS.items()) + """
outputs:
  - csv: answers.csv
    key: [id]
    rows: SELECT key AS id, answer AS text, (SELECT provider FROM batch) AS provider FROM answers
batch: {requests: 8}
"""


def write(folder):
    pipeline = folder / "three"
    pipeline.mkdir()
    (pipeline / "pipeline.yaml").write_text(PIPELINE)
    (pipeline / "items.csv").write_text("id,word\n" + "".join(f"{i},word-{i}\n" for i in range(RECORDS)))
    return [pipeline, "--path", pipeline / "items.csv"]


def bought(emulator):
    """(model, request) of everything that succeeded, and how often."""
    asked = {(b["batch"], b["custom_id"]): (b["model"], b["hash"]) for b in emulator.bill()
             if b["state"] == "accepted"}
    return collections.Counter(asked[(b["batch"], b["custom_id"])] for b in emulator.bill()
                               if b["state"] == "succeeded" and b["custom_id"])


def family(model):
    return model.split("-")[0]


def check(offpeak, bill):
    """Every record answered by its own provider, and every request bought once."""
    rows = offpeak.csv("answers.csv")
    assert {(int(r["id"]), r["provider"]) for r in rows} == \
        {(i, list(MODELS)[i % 3]) for i in range(RECORDS)} and len(rows) == RECORDS
    assert max(bill.values()) == 1
    assert collections.Counter(family(model) for model, _ in bill) == \
        {family(model): RECORDS // 3 for model in MODELS.values()}


def test_each_at_its_own_provider(tmp_path):
    with Emulator(tmp_path) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(1000))
        pipeline = write(tmp_path)
        offpeak.run("run", *pipeline, expect=0)
        check(offpeak, bought(emulator))
        batches = offpeak.ledger("SELECT l.provider, count(*), sum(b.count) FROM batch b"
                                 " JOIN lane l ON l.id = b.lane_id GROUP BY 1")
        assert sorted(batches) == [(name, 4, RECORDS // 3) for name in sorted(MODELS)]
        costs = offpeak.json("cost", "--by", "provider", expect=0)["costs"]
        spent = dict(offpeak.ledger("SELECT l.provider, sum(b.spent_microusd) FROM batch b"
                                    " JOIN lane l ON l.id = b.lane_id GROUP BY 1"))
        assert {c["provider"]: (c["requests"], c["microusd"]) for c in costs} == \
            {name: (RECORDS // 3, spent[name]) for name in MODELS}
        assert {lane["provider"] for lane in offpeak.json("status", expect=0)["lanes"]} == set(MODELS)
        # Nothing new is bought by the same command, and the rest reads what each has answered.
        offpeak.run("run", *pipeline, expect=0)
        check(offpeak, bought(emulator))
        assert offpeak.json("show", "4", expect=0)
        lines = offpeak.run("export", "job-1", "--results", expect=0).stdout.splitlines()
        assert len(lines) == RECORDS


def test_one_after_the_other_too(tmp_path):
    with Emulator(tmp_path) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(1000))
        offpeak.run("run", *write(tmp_path), "--mode", "realtime", expect=0)
        check(offpeak, collections.Counter((b["model"], b["hash"]) for b in emulator.bill()
                                           if b["state"] == "accepted"))


def test_what_one_lane_waits_for_holds_up_no_other(tmp_path):
    """Oracle: what is bought while one provider, which alone has endpoints in its creates, sells
    nothing."""
    faults = [{"on": "create", "match": "/v1/responses", "do": "spend_cap"}]
    with Emulator(tmp_path, faults=faults) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(1000))
        process = subprocess.Popen([OFFPEAK, "run", *map(str, write(tmp_path))], cwd=offpeak.cwd,
                                   env=offpeak.env, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while sum(bought(emulator).values()) < RECORDS * 2 // 3 and time.monotonic() < until:
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert collections.Counter(model for model, _ in bought(emulator)) == \
            {MODELS[name]: RECORDS // 3 for name in ("anthropic", "gemini")}


@pytest.mark.parametrize("point", ["pack.committed:2", "send.gate.after:1", "send.gate.after:4",
                                   "send.released:6", "send.accepted.before:9", "apply.commit.before:5"])
def test_killed(tmp_path, point):
    with Emulator(tmp_path) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(1000))
        pipeline = write(tmp_path)
        assert offpeak.run("run", *pipeline, OFFPEAK_FAULT=point).returncode == -signal.SIGKILL
        offpeak.run("run", *pipeline, expect=0)
        check(offpeak, bought(emulator))


def test_results_of_several_providers_are_not_imported(tmp_path):
    with Emulator(tmp_path) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(1000))
        (tmp_path / "r.jsonl").write_text("{}\n")
        done = offpeak.run("import", tmp_path / "r.jsonl", "--pipeline", *write(tmp_path))
        assert done.returncode == 1 and "several providers" in done.stderr


def test_an_estimate_packs_by_the_limit_that_was_learned(tmp_path):
    """A refusal named the limit. The estimate says so, and makes as many batches as the run then does.

    Oracle: the limit given to the emulator; the batches that the second run has made."""
    limit, records = 3000, 400
    folder = write_pipeline(tmp_path / "full", records, records, model=OTHERS["openai"])
    args = [folder, "--path", folder / "items.csv"]
    with Emulator(tmp_path, speed=20000, faults=[{"on": "create", "do": "token_limit", "tokens": limit}]) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(20000))
        before = offpeak.json("estimate", *args)
        assert before["batches"] == 1 and not (before["queue"] or {}).get("learned")
        offpeak.run("run", *args, expect=0)
        items = folder / "items.csv"
        items.write_text(items.read_text().replace("-word", "-next"))
        after = offpeak.json("estimate", *args)
        assert after["queue"] == {"limit_tokens": limit, "learned": True}
        assert "as this ledger has learned" in offpeak.run("estimate", *args).stdout
        offpeak.run("run", *args, expect=0)
        (made,), = offpeak.ledger("SELECT count(*) FROM batch WHERE job_id = 2")
        assert after["batches"] == made > 1
        assert len(offpeak.csv("answers.csv")) == records
