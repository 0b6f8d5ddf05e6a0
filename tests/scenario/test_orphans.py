"""Batches of ours that the ledger does not count on.

Behaviour: docs/design/engine.md, Orphans: a batch that was given up and was bought all the same is
           taken back where every request of it is still to be bought, by `recover` and before each
           send; else its results are kept, its cost is a note, and it is said; each once.
Stimulus:  creates that take effect hours after their connection closed; a provider that forgets a
           batch for a day and remembers it; a ledger from a backup.
Oracle:    the emulator's bill: how often each content was accepted; the CSV; the files in the spool;
           the audit of the ledger.
"""
import json
import pathlib
import shutil
import sys
import time
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Emulator, Offpeak, clock  # noqa: E402
from wire import Proxy, foreign, write_pipeline  # noqa: E402

RECORDS = 4
SPEED = 3000
HOUR_MS = 3600000
LATE = [{"on": "create", "nth": 1, "do": "accept_late", "ms": 4 * HOUR_MS}]


class Stage:
    def __init__(self, tmp_path, faults=None):
        self.pipeline = write_pipeline(tmp_path / "late", RECORDS, RECORDS)
        self.emulator = Emulator(tmp_path, speed=SPEED, faults=faults)
        self.offpeak = Offpeak(tmp_path, None, OFFPEAK_CLOCK=clock(SPEED))

    def __enter__(self):
        self.emulator.__enter__()
        self.offpeak.env["ANTHROPIC_BASE_URL"] = self.emulator.url
        return self

    def __exit__(self, *_):
        self.emulator.__exit__()

    def run(self, **kwargs):
        return self.offpeak.run("run", self.pipeline, "--path", self.pipeline / "items.csv", **kwargs)

    def states(self):
        return [state for state, in self.offpeak.ledger("SELECT state FROM batch ORDER BY id")]

    def wait_for_late_one(self):
        """Until the create of long ago has taken effect and ended."""
        deadline = time.time() + 30
        while sum(b["state"] == "succeeded" for b in self.emulator.bill()) < RECORDS:
            assert time.time() < deadline
            time.sleep(0.05)

    def wait_for_listing(self):
        """Until the account lists a batch; the bill knows of it from the create on."""
        listed = urllib.request.Request(self.emulator.url + "/v1/messages/batches", headers={
            "x-api-key": "any", "anthropic-version": "2023-06-01"})
        deadline = time.time() + 30
        while not json.loads(urllib.request.urlopen(listed, timeout=30).read())["data"]:
            assert time.time() < deadline
            time.sleep(0.05)

    def check(self, times=1):
        assert sorted(r["id"] for r in self.offpeak.csv("answers.csv")) == \
            [f"r{i:03}" for i in range(RECORDS)]
        bought = {h: n for h, n in self.emulator.accepted().items()}
        assert len(bought) == RECORDS and set(bought.values()) == {times}, bought
        audit = self.offpeak.run("doctor", "--audit", "--json")
        assert audit.returncode == 0, audit.stdout + audit.stderr
        job = self.offpeak.json("status")["jobs"][0]
        assert (job["state"], job["reserved_microusd"]) == ("done", 0)
        return job

    def notes(self):
        return [text for text, in
                self.offpeak.ledger("SELECT text FROM note WHERE kind = 'orphan'")]


@pytest.mark.parametrize("how", ["recover", "run"])
def test_a_late_create_is_taken_back(tmp_path, how):
    """Given up as unsent; the batch that was to buy the same again had not been sent yet."""
    with Stage(tmp_path, LATE) as stage:
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9)
        assert stage.states() == ["unsent", "built"]
        stage.wait_for_late_one()
        done = stage.offpeak.run("recover", expect=0) if how == "recover" else stage.run(expect=0)
        assert "batch adopted" in done.stderr
        assert stage.states() == ["sealed", "dropped"]
        job = stage.check()
        cost = sum(n for n, in stage.offpeak.ledger("SELECT microusd FROM result"))
        assert job["spent_microusd"] == cost > 0
        assert stage.notes() == []


def test_killed_while_it_is_taken_back(tmp_path):
    """Adoption is one transaction: the fetched files without it change nothing."""
    with Stage(tmp_path, LATE) as stage:
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9)
        stage.wait_for_late_one()
        stage.offpeak.run("recover", OFFPEAK_FAULT="fetch.part:1", expect=-9)
        assert stage.states() == ["unsent", "built"]
        stage.offpeak.run("recover", expect=0)
        stage.check()


def test_a_late_create_that_was_bought_again_is_kept(tmp_path):
    """Nothing is left to buy: the paid results stay in the spool, and it is said once."""
    with Stage(tmp_path, LATE) as stage:
        stage.run(expect=0)
        assert stage.states() == ["unsent", "sealed"]
        before = stage.offpeak.json("status")["jobs"][0]
        accepted = {b["batch"] for b in stage.emulator.bill()}
        deadline = time.time() + 30
        while len(accepted) < 2 or sum(b["state"] == "succeeded" for b in stage.emulator.bill()) < 2 * RECORDS:
            assert time.time() < deadline
            time.sleep(0.05)
            accepted = {b["batch"] for b in stage.emulator.bill()}
        told = stage.offpeak.run("recover", expect=0).stderr
        assert "bought although it was given up as unsent" in told
        late = next(b for b in accepted if b in told)
        name, = [n for n, in stage.offpeak.ledger("SELECT file FROM result_file WHERE batch_id = 1")]
        lines = (stage.offpeak.state / "spool" / name).read_text().splitlines()
        assert len(lines) == RECORDS and all(json.loads(line)["result"]["type"] == "succeeded"
                                             for line in lines)
        text, = stage.notes()
        assert text.startswith(late + ":") and f"{RECORDS} answers" in text and name in text
        assert "USD" in text
        again = stage.offpeak.run("recover", expect=0).stderr
        assert late not in again
        assert len(stage.notes()) == 1
        assert stage.check(times=2)["spent_microusd"] == before["spent_microusd"]


def test_one_that_has_not_ended_is_named(tmp_path):
    """Whose it is, only results tell: until then nothing is decided."""
    faults = [*LATE, {"on": "create", "nth": 1, "do": "slow", "ms": 3 * HOUR_MS}]
    with Stage(tmp_path, faults) as stage:
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9)
        stage.wait_for_listing()
        told = stage.offpeak.run("recover", "--no-wait", OFFPEAK_FAULT="send.gate.before:1").stderr
        assert "it may be batch-1, which was given up" in told
        assert stage.states() == ["unsent", "built"]


def test_a_stranger_of_the_same_size_is_read_once(tmp_path):
    read = []

    def change(method, path, status, headers, body):
        if path.endswith("/results") and status == 200:
            read.append(path)
        return None

    with Stage(tmp_path, [{"on": "create", "nth": 1, "do": "drop_before_commit"}]) as stage, \
            Proxy(stage.emulator.url, change) as proxy:
        url = {"ANTHROPIC_BASE_URL": proxy.url}
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9, **url)
        stranger = foreign(stage.emulator.url, RECORDS)
        time.sleep(0.2)
        for _ in range(3):
            stage.offpeak.run("recover", expect=None, OFFPEAK_FAULT="send.gate.before:1", **url)
        assert [p for p in read if stranger in p] == [f"/v1/messages/batches/{stranger}/results"]
        stage.offpeak.run("recover", expect=0, **url)
        assert len(stage.offpeak.csv("answers.csv")) == RECORDS
        assert [p for p in read if stranger in p] == [f"/v1/messages/batches/{stranger}/results"]


def test_a_batch_that_vanished_and_is_back(tmp_path):
    """The provider denied it for more than a day; its requests are not bought again."""
    hide = [True]

    def change(method, path, status, headers, body):
        if not hide[0] or method != "GET":
            return None
        if path.split("?")[0].endswith("/batches"):
            page = json.loads(body)
            page.update(data=[], has_more=False)
            return status, headers, json.dumps(page).encode()
        error = {"type": "error", "error": {"type": "not_found_error", "message": "no such batch"}}
        return 404, headers, json.dumps(error).encode()

    with Stage(tmp_path) as stage, Proxy(stage.emulator.url, change) as proxy:
        url = {"ANTHROPIC_BASE_URL": proxy.url, "OFFPEAK_CLOCK": clock(40000)}
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9, timeout=60, **url)
        assert stage.states() == ["vanished", "built"]
        hide[0] = False
        told = stage.offpeak.run("recover", expect=0, **url).stderr
        assert "batch adopted" in told
        assert stage.states() == ["sealed", "dropped"]
        assert stage.check()["counts"]["reasked"] == 0


def test_what_a_backup_has_forgotten_is_kept(tmp_path):
    with Stage(tmp_path) as stage:
        other = write_pipeline(tmp_path / "before", 2, 2)
        stage.offpeak.run("run", other, "--path", other / "items.csv", expect=0)
        shutil.copy(stage.offpeak.state / "ledger.db", tmp_path / "backup.db")
        stage.run(expect=0)
        batch, = stage.offpeak.ledger("SELECT provider_id FROM batch WHERE id = 2")[0]
        shutil.copy(tmp_path / "backup.db", stage.offpeak.state / "ledger.db")
        (stage.offpeak.state / "ledger.db-journal").unlink(missing_ok=True)
        told = stage.offpeak.run("recover", "--trust", expect=0).stderr
        assert "which has forgotten it" in told
        text, = stage.notes()
        assert text.startswith(batch + ":") and f"{RECORDS} answers" in text
        kept, = (stage.offpeak.state / "spool" / "result").glob("orphan-*")
        assert kept.name in text and len(kept.read_text().splitlines()) == RECORDS
        stage.offpeak.run("recover", "--trust", expect=0)
        assert len(stage.notes()) == 1
        audit = stage.offpeak.run("doctor", "--audit", "--json")
        assert audit.returncode == 0, audit.stdout
