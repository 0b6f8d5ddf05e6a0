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

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from forms import FORMS  # noqa: E402
from harness import MODELS, Emulator, Offpeak, clock  # noqa: E402
from wire import Proxy, foreign, write_pipeline  # noqa: E402

RECORDS = 4
SPEED = 3000
HOUR_MS = 3600000
LATE = [{"on": "create", "nth": 1, "do": "accept_late", "ms": 4 * HOUR_MS}]


# Where no fence keeps a late create from running: no upload, or one whose removal is not known to help.
UNFENCED = ["anthropic", "mistral"]


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def only(*names):
    return pytest.mark.parametrize("form", names, indirect=True)


class Stage:
    def __init__(self, tmp_path, form, faults=None):
        self.form = form
        self.pipeline = write_pipeline(tmp_path / "late", RECORDS, RECORDS, model=MODELS[form.name])
        self.emulator = Emulator(tmp_path, speed=SPEED, faults=faults)
        self.folder = tmp_path

    def __enter__(self):
        self.emulator.__enter__()
        self.offpeak = Offpeak(self.folder, self.emulator, OFFPEAK_CLOCK=clock(SPEED))
        return self

    def __exit__(self, *_):
        self.emulator.__exit__()

    def run(self, **kwargs):
        return self.offpeak.run("run", self.pipeline, "--path", self.pipeline / "items.csv", **kwargs)

    def go_on(self, how, **kwargs):
        """Two ways to go on that must find the same."""
        if how == "run":
            return self.run(expect=0, **kwargs)
        return self.offpeak.run("recover", expect=0, **kwargs)

    def states(self):
        return [state for state, in self.offpeak.ledger("SELECT state FROM batch ORDER BY id")]

    def wait_for_late_one(self):
        """Until the create of long ago has taken effect and ended."""
        deadline = time.time() + 30
        while sum(b["state"] == "succeeded" for b in self.emulator.bill()) < RECORDS:
            assert time.time() < deadline
            time.sleep(0.05)

    def wait_for_listing(self):
        """Until the account lists a batch."""
        deadline = time.time() + 30
        while not self.form.listed(self.emulator.url):
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
@only(*UNFENCED)
def test_a_late_create_is_taken_back(tmp_path, form, how):
    """Given up as unsent; the batch that was to buy the same again had not been sent yet."""
    with Stage(tmp_path, form, LATE) as stage:
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9)
        assert stage.states() == ["unsent", form.packed]
        stage.wait_for_late_one()
        done = stage.go_on(how)
        assert "batch adopted" in done.stderr
        assert stage.states() == ["sealed", "dropped"]
        job = stage.check()
        cost = sum(n for n, in stage.offpeak.ledger("SELECT microusd FROM result"))
        assert job["spent_microusd"] == cost > 0
        assert stage.notes() == []


@only(*UNFENCED)
def test_killed_while_it_is_taken_back(tmp_path, form):
    """Adoption is one transaction: the fetched files without it change nothing."""
    with Stage(tmp_path, form, LATE) as stage:
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9)
        stage.wait_for_late_one()
        stage.offpeak.run("recover", OFFPEAK_FAULT="fetch.part:1", expect=-9)
        assert stage.states() == ["unsent", form.packed]
        stage.offpeak.run("recover", expect=0)
        stage.check()


@only(*UNFENCED)
def test_a_late_create_that_was_bought_again_is_kept(tmp_path, form):
    """Nothing is left to buy: the paid results stay in the spool, and it is said once."""
    with Stage(tmp_path, form, LATE) as stage:
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
        assert len(lines) == RECORDS and all(form.is_good(json.loads(line)) for line in lines)
        text, = stage.notes()
        assert text.startswith(late + ":") and f"{RECORDS} answers" in text and name in text
        assert "USD" in text
        again = stage.offpeak.run("recover", expect=0).stderr
        assert late not in again
        assert len(stage.notes()) == 1
        assert stage.check(times=2)["spent_microusd"] == before["spent_microusd"]


@only("openai", "gemini")
def test_a_late_create_behind_the_fence_buys_nothing(tmp_path, form):
    """Its input file was removed when it was given up: it fails, or is refused, hours later."""
    with Stage(tmp_path, form, [*LATE, {"on": "create", "nth": 2, "do": "slow", "ms": 6 * HOUR_MS}]) as stage:
        stage.run(expect=0)  # ends two hours after the late one has arrived
        assert stage.states() == ["unsent", "sealed"]
        assert len(form.listed(stage.emulator.url)) == (2 if form.name == "openai" else 1)
        told = stage.offpeak.run("recover", "--trust", expect=0).stderr
        assert "our tag" not in told and stage.notes() == []
        stage.check()


@only(*UNFENCED)
def test_one_that_has_not_ended_is_named(tmp_path, form):
    """Nothing is decided until then. Without a tag only its results tell whose it is."""
    faults = [*LATE, {"on": "create", "nth": 1, "do": "slow", "ms": 3 * HOUR_MS}]
    with Stage(tmp_path, form, faults) as stage:
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9)
        stage.wait_for_listing()
        told = stage.offpeak.run("recover", "--no-wait", OFFPEAK_FAULT="send.gate.before:1").stderr
        assert {"anthropic": "it may be batch-1, which was given up",
                "mistral": "it carries our tag and has not ended"}[form.name] in told
        assert stage.states() == ["unsent", form.packed]


@only("mistral")
def test_one_that_runs_by_its_tag_is_waited_for(tmp_path, form):
    """What it is going to answer is not bought beside it, by whichever way the job goes on."""
    faults = [*LATE, {"on": "create", "nth": 1, "do": "slow", "ms": 3 * HOUR_MS}]
    with Stage(tmp_path, form, faults) as stage:
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9)
        stage.wait_for_listing()
        told = stage.run(expect=0).stderr
        assert "given up as lost and there after all" in told and "batch adopted" in told
        assert stage.states() == ["sealed", "dropped"]
        stage.check()


@only("anthropic")
def test_a_stranger_of_the_same_size_is_read_once(tmp_path, form):
    read = []

    def change(method, path, status, headers, body):
        if path.endswith("/results") and status == 200:
            read.append(path)
        return None

    with Stage(tmp_path, form, [{"on": "create", "nth": 1, "do": "drop_before_commit"}]) as stage, \
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


@pytest.mark.parametrize("how", ["recover", "run"])
def test_a_batch_that_vanished_and_is_back(tmp_path, form, how):
    """The provider denied it for more than a day; its requests are not bought again."""
    hide = [True]

    def change(method, path, status, headers, body):
        if not hide[0] or method != "GET":
            return None
        if path.split("?")[0].endswith(form.batches):
            return status, headers, json.dumps(form.no_batches).encode()
        if form.batches not in path:
            return None
        return 404, headers, json.dumps(form.missing).encode()

    with Stage(tmp_path, form) as stage, Proxy(stage.emulator.url, change) as proxy:
        url = {**form.at(proxy.url), "OFFPEAK_CLOCK": clock(40000)}
        stage.run(OFFPEAK_FAULT="send.gate.before:2", expect=-9, timeout=60, **url)
        assert stage.states() == ["vanished", form.packed]
        hide[0] = False
        told = stage.go_on(how, **url).stderr
        assert "batch adopted" in told
        assert stage.states() == ["sealed", "dropped"]
        assert stage.check()["counts"]["reasked"] == 0


def test_what_a_backup_has_forgotten_is_kept(tmp_path, form):
    with Stage(tmp_path, form) as stage:
        other = write_pipeline(tmp_path / "before", 2, 2, model=MODELS[form.name])
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
