"""The promise, attacked: each test is a way in which a request could be bought twice, a paid answer
thrown away, a record lost, a job stuck or a sum be wrong.

Behaviour: docs/design/engine.md and reference/reliability.md 1.1 (P1 to P5).
Oracle:    the emulator's bill: how often each request content was accepted and answered; the CSV;
           the counters of `status --json`; the audit of the ledger.
"""
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, Emulator, Offpeak, clock  # noqa: E402
from wire import Proxy, foreign, write_pipeline  # noqa: E402

RECORDS = 12
BATCH = 4
SPEED = 3000
DAY_MS = 86400000


class Stage:
    """A pipeline, an emulator and the program before it."""

    def __init__(self, tmp_path, faults=None, speed=SPEED, records=RECORDS, batch=BATCH, **options):
        self.tmp = tmp_path
        self.records = records
        self.speed = speed
        self.pipeline = write_pipeline(tmp_path / "promise", records, batch, **options)
        self.emulator = Emulator(tmp_path, speed=speed, faults=faults)
        self.offpeak = Offpeak(tmp_path, None, OFFPEAK_CLOCK=clock(speed))

    def __enter__(self):
        self.emulator.__enter__()
        self.offpeak.env["ANTHROPIC_BASE_URL"] = self.emulator.url
        return self

    def __exit__(self, *_):
        self.emulator.__exit__()

    def run(self, *options, command="run", pipeline=None, **kwargs):
        folder = pipeline or self.pipeline
        return self.offpeak.run(command, folder, "--path", folder / "items.csv", *options, **kwargs)

    def counts(self):
        return self.offpeak.json("status")["jobs"][0]["counts"]

    def kept(self, again=0, done=None):
        """Every record answered and delivered once; `again` requests were accepted a second time."""
        done = self.records if done is None else done
        ids = [r["id"] for r in self.offpeak.csv("answers.csv")]
        assert len(ids) == len(set(ids)) == done
        accepted = self.ours()
        assert sum(accepted.values()) == self.records + again, accepted
        status = self.offpeak.json("status")["jobs"][0]
        assert status["counts"]["done"] == done
        assert status["reserved_microusd"] == 0
        audit = self.offpeak.run("doctor", "--audit", "--json")
        assert audit.returncode == 0, audit.stdout + audit.stderr

    def ours(self):
        """How often each of our contents was accepted."""
        foreign_hashes = {b["hash"] for b in self.emulator.bill()
                          if "foreign" in (b["custom_id"] or "")}
        return {h: n for h, n in self.emulator.accepted().items() if h not in foreign_hashes}


def skewed(speed, behind_ms):
    """An OFFPEAK_CLOCK that runs `speed` times as fast and shows `behind_ms` less than clock()."""
    return f"{speed}@{int(time.time() * 1000) + behind_ms // (speed - 1)}"


# --- doubtful creates ------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-DAY_MS, DAY_MS], ids=["a day behind", "a day ahead"])
def test_a_wrong_clock_does_not_hide_a_doubtful_create(tmp_path, off):
    """After a crash the end of the send is known by the local clock alone, and that may be wrong."""
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="send.released:1", expect=-9)
        stage.offpeak.env["OFFPEAK_CLOCK"] = skewed(SPEED, -off)
        stage.offpeak.run("recover", expect=0)
        stage.kept()


@pytest.mark.parametrize("exclusive", [[], ["--exclusive"]], ids=["shared", "exclusive"])
@pytest.mark.parametrize("fault,again", [
    ({"do": "corrupt_line"}, 1), ({"do": "null_id"}, 1), ({"do": "rename_id"}, 1),
    ({"do": "drop_line"}, 1)], ids=lambda v: v["do"] if isinstance(v, dict) else None)
def test_a_bad_first_line_does_not_disown_a_batch(tmp_path, fault, again, exclusive):
    """The first result line tells whose batch it is; one that cannot be read tells nothing."""
    faults = [{"on": "create", "do": "no_shuffle"},
              {"on": "create", "nth": 1, "do": "drop_after_commit"},
              {"on": "results", "nth": 1, **fault}]
    with Stage(tmp_path, faults) as stage:
        stage.run(*exclusive, expect=0)
        stage.kept(again=again)


def test_empty_results_do_not_disown_a_batch(tmp_path):
    """A 200 without a line proves nothing about whose batch it was."""
    faults = [{"on": "create", "nth": 1, "do": "drop_after_commit"}]
    seen = []

    def change(method, path, status, headers, body):
        if path.endswith("/results") and status == 200 and len(seen) < 2:
            seen.append(path)
            return status, headers, b""
        return None

    with Stage(tmp_path, faults) as stage, Proxy(stage.emulator.url, change) as proxy:
        stage.run(ANTHROPIC_BASE_URL=proxy.url, expect=0)
        assert seen
        stage.kept()


@pytest.mark.parametrize("exclusive", [[], ["--exclusive"]], ids=["shared", "exclusive"])
@pytest.mark.parametrize("lost", [True, False], ids=["ours was lost", "ours arrived"])
def test_foreign_batches_of_the_same_size(tmp_path, lost, exclusive):
    """They are told apart by the ids in their results; what is not ours is left alone."""
    fault = "drop_before_commit" if lost else "drop_after_commit"
    with Stage(tmp_path, [{"on": "create", "nth": 1, "do": fault}]) as stage:
        stage.run(OFFPEAK_FAULT="reconcile.before:1", expect=-9)
        strangers = [foreign(stage.emulator.url, BATCH, f"foreign{i}") for i in range(3)]
        stage.offpeak.run("recover", *exclusive, expect=0)
        stage.kept()
        assert not [b for b in stage.emulator.bill()
                    if b["batch"] in strangers and b["state"] == "canceled"]


def test_many_foreign_batches_in_front_of_ours(tmp_path):
    """The list is paged to its end, never for a fixed number of pages."""
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="send.released:1", expect=-9)
        for i in range(1100):
            foreign(stage.emulator.url, 1, f"foreign{i}")
        stage.offpeak.run("recover", expect=0)
        stage.kept()


@pytest.mark.parametrize("skew", [-3600000, 3600000])
def test_created_at_may_be_off_by_an_hour(tmp_path, skew):
    faults = [{"on": "create", "nth": 1, "do": "created_skew", "ms": skew},
              {"on": "create", "nth": 1, "do": "drop_after_commit"}]
    with Stage(tmp_path, faults) as stage:
        stage.run(expect=0)
        stage.kept()


def test_another_account_is_no_evidence(tmp_path):
    """A list of another account (a rotated key, another base URL) does not show that a create was
    never accepted, and its 404 not that a batch is gone."""
    with Stage(tmp_path) as stage, Emulator(tmp_path / "other", speed=SPEED) as other:
        foreign(other.url, 1)  # two emulators give out the same ids in the same order
        stage.run(OFFPEAK_FAULT="send.released:1", expect=-9)
        done = stage.offpeak.run("recover", "--wait=10800", ANTHROPIC_BASE_URL=other.url)
        assert done.returncode == 3, done.stderr
        assert done.stderr.count("another key or to another address") == 1
        # What was never sent may go to the new account; the doubtful batch may not.
        assert sum(other.accepted().values()) == 1 + RECORDS - BATCH
        stage.offpeak.run("recover", expect=0)
        both = stage.emulator.accepted() + other.accepted()
        assert len(both) == 1 + RECORDS and set(both.values()) == {1}
        assert len(stage.offpeak.csv("answers.csv")) == RECORDS


def test_a_batch_of_another_account_does_not_vanish(tmp_path):
    with Stage(tmp_path, [{"on": "create", "do": "slow", "ms": 2 * 3600000}], speed=20000) as stage, \
            Emulator(tmp_path / "other", speed=20000) as other:
        stage.run(command="create", expect=3)
        for _ in range(3):
            stage.offpeak.run("recover", "--wait=86400", expect=3, ANTHROPIC_BASE_URL=other.url)
        assert not other.bill()
        stage.offpeak.run("recover", expect=0)
        stage.kept()


def test_another_jobs_doubtful_create_is_cleared_up_first(tmp_path):
    """The lane is held by a job that this command was not asked about."""
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="send.released:1", expect=-9)
        second = write_pipeline(tmp_path / "second", 3, 3)
        stage.run(pipeline=second, expect=0)
        stage.offpeak.run("recover", expect=0)
        assert set(stage.emulator.accepted().values()) == {1}


# --- the ledger comes back from a backup ------------------------------------------------------


def test_a_backup_from_before_the_send_buys_nothing_twice(tmp_path):
    """The batch is built in the backup, and sent according to the manifest."""
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="send.built:1", expect=-9)
        shutil.copy(stage.offpeak.state / "ledger.db", tmp_path / "backup.db")
        stage.run(command="create", expect=3)
        accepted = len(stage.emulator.bill())
        assert accepted
        for name in ("ledger.db-journal",):
            (stage.offpeak.state / name).unlink(missing_ok=True)
        shutil.copy(tmp_path / "backup.db", stage.offpeak.state / "ledger.db")
        stage.offpeak.run("recover", expect=0)
        stage.kept()


def test_a_backup_without_the_job_sends_nothing(tmp_path):
    with Stage(tmp_path) as stage:
        other = write_pipeline(tmp_path / "before", 2, 2)
        stage.run(pipeline=other, expect=0)
        shutil.copy(stage.offpeak.state / "ledger.db", tmp_path / "backup.db")
        stage.run(expect=0)
        shutil.copy(tmp_path / "backup.db", stage.offpeak.state / "ledger.db")
        (stage.offpeak.state / "ledger.db-journal").unlink(missing_ok=True)
        before = sum(stage.emulator.accepted().values())
        done = stage.run()
        assert done.returncode != 0 and "backup" in done.stderr
        assert sum(stage.emulator.accepted().values()) == before
        trusted = stage.offpeak.run("recover", "--trust")
        assert trusted.stderr.count("msgbatch_") >= 3, trusted.stderr


# --- results ----------------------------------------------------------------------------------


def errored(line):
    doc = json.loads(line)
    doc["result"] = {"type": "errored", "error": {"type": "error", "error": {
        "type": "api_error", "message": "overloaded"}}}
    return json.dumps(doc).encode()


@pytest.mark.parametrize("order", ["errored first", "succeeded first"])
def test_a_success_beats_an_error_for_the_same_id(tmp_path, order):
    """Both lines in one file: the paid answer is taken, and nothing is asked again."""

    def change(method, path, status, headers, body):
        if not path.endswith("/results") or status != 200:
            return None
        lines = body.split(b"\n")
        bad = errored(lines[0])
        lines = [bad] + lines if order == "errored first" else lines + [bad]
        return status, headers, b"\n".join(lines)

    with Stage(tmp_path) as stage, Proxy(stage.emulator.url, change) as proxy:
        stage.run(ANTHROPIC_BASE_URL=proxy.url, expect=0)
        stage.kept()


def test_a_success_in_a_later_fetch_beats_an_error(tmp_path):
    """The first file is short and has an error; the file fetched again has all answers."""
    fetched = {}

    def change(method, path, status, headers, body):
        if not path.endswith("/results") or status != 200:
            return None
        fetched[path] = fetched.get(path, 0) + 1
        lines = body.split(b"\n")
        if fetched[path] == 1:
            lines = [errored(lines[0])] + lines[1:-1]
        return status, headers, b"\n".join(lines)

    with Stage(tmp_path) as stage, Proxy(stage.emulator.url, change) as proxy:
        stage.run(ANTHROPIC_BASE_URL=proxy.url, expect=0)
        stage.kept()


def test_recovering_often_does_not_use_up_the_fetches(tmp_path):
    """A short file is fetched again over an hour; `recover` typed again and again is no hour."""
    fetched = []

    def change(method, path, status, headers, body):
        if path.endswith("/results") and status == 200:
            fetched.append(path)
            if len(fetched) <= 8:
                return status, headers, b"\n".join(body.split(b"\n")[:-1])
        return None

    with Stage(tmp_path, records=4) as stage, Proxy(stage.emulator.url, change) as proxy:
        url = {"ANTHROPIC_BASE_URL": proxy.url, "OFFPEAK_CLOCK": clock(1)}
        stage.run("--poll", "1", "--wait=5", **url)
        assert len(fetched) >= 1
        for _ in range(10):
            stage.offpeak.run("recover", "--no-wait", **url)
        assert len(fetched) <= 4
        assert sum(stage.emulator.accepted().values()) == 4


def test_a_damaged_result_file_is_fetched_again(tmp_path):
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="fetch.committed:1", expect=-9)
        path, = (stage.offpeak.state / "spool" / "result").glob("*.jsonl")
        path.write_bytes(path.read_bytes().replace(b"text", b"tEXt", 1))
        stage.offpeak.run("recover", expect=0)
        stage.kept()


@pytest.mark.parametrize("point", ["fetch.committed:1", "apply.commit.after:1"])
def test_a_deleted_result_file_is_fetched_again(tmp_path, point):
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT=point, expect=-9)
        path, = (stage.offpeak.state / "spool" / "result").glob("*.jsonl")
        path.unlink()
        stage.offpeak.run("recover", expect=0)
        stage.kept()


@pytest.mark.parametrize("how", ["damaged", "deleted"])
def test_a_lost_payload_costs_its_own_batch_only(tmp_path, how):
    """It is never sent, its records are listed as failed, and running again asks them."""
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="send.built:1", expect=-9)
        path = sorted((stage.offpeak.state / "spool" / "payload").glob("*.json"))[1]
        if how == "deleted":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes().replace(b"word", b"wOrd", 1))
        done = stage.offpeak.run("recover")
        assert done.returncode == 3, done.stderr
        counts = stage.counts()
        assert (counts["done"], counts["failed"]) == (RECORDS - BATCH, BATCH)
        stage.run(expect=0)
        assert len(stage.offpeak.csv("answers.csv")) == RECORDS
        assert set(stage.emulator.accepted().values()) == {1}


def test_what_a_crash_left_at_the_end_of_an_outbox_is_cut_off(tmp_path):
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="apply.commit.after:1", expect=-9)
        path, = (stage.offpeak.state / "spool" / "outbox").glob("*.rows")
        with open(path, "ab") as f:
            f.write(b"\0torn frame" * 100)
        stage.offpeak.run("recover", expect=0)
        stage.kept()


def test_a_lost_answer_of_another_job_is_asked_anew(tmp_path):
    """An identical request was answered before, but that answer's file is gone."""
    with Stage(tmp_path) as stage:
        stage.run(expect=0)
        for path in (stage.offpeak.state / "spool" / "result").glob("*.jsonl"):
            path.unlink()
        (stage.offpeak.cwd / "answers.csv").unlink()
        stage.run(expect=0)
        assert len(stage.offpeak.csv("answers.csv")) == RECORDS
        assert set(stage.emulator.accepted().values()) == {2}


# --- stuck jobs -------------------------------------------------------------------------------


def test_two_prompts_with_priming_do_not_wait_for_each_other(tmp_path):
    folder = write_pipeline(tmp_path / "primed", 6, 3)
    text = (folder / "pipeline.yaml").read_text()
    ask = text[text.index("  ask:"):text.index("outputs:")]
    text = text.replace(ask, ask + ask.replace("  ask:", "  two:").replace("Say", "Tell"))
    text = text.replace("SELECT key AS id,", "SELECT key || request.name AS id,") \
        if "request.name" in text else text
    (folder / "pipeline.yaml").write_text(text + "prime: true\n")
    with Stage(tmp_path) as stage:
        done = stage.run(pipeline=folder)
        assert done.returncode == 0, done.stderr
        assert stage.counts()["done"] == 12


def test_a_cap_without_a_price_sends_nothing(tmp_path):
    """A cap that cannot be computed is no permission."""
    with Stage(tmp_path) as stage:
        done = stage.run("--model", "claude-unheard-of-1", "--max-cost", "0.000001")
        assert done.returncode == 3, done.stderr
        assert "price" in done.stderr + done.stdout
        assert not stage.emulator.bill()


def test_failed_requests_are_asked_again_once_each(tmp_path):
    """Identical ones share the second purchase as they shared the first; the sums follow."""
    faults = [{"on": "results", "times": 2, "match": "promise-word1", "do": "error_line",
               "type": "invalid_request_error", "message": "no"}]
    with Stage(tmp_path, faults) as stage:
        (stage.pipeline / "items.csv").write_text("id,word\n" + "".join(
            f"r{i:03},promise-word{i % 6 + 20 if i % 6 else 1}\n" for i in range(RECORDS)))
        done = stage.run()
        assert done.returncode == 3, done.stderr
        assert stage.counts()["failed"] == 2
        stage.run("--retry-failed")
        counts = stage.counts()
        assert counts["failed"] == 2
        done = stage.run("--retry-failed")
        assert done.returncode == 0, done.stderr
        counts = stage.counts()
        assert (counts["done"], counts["failed"]) == (RECORDS, 0)
        assert len(stage.offpeak.csv("answers.csv")) == RECORDS
        assert sorted(stage.emulator.accepted().values()) == [1, 1, 1, 1, 1, 3]


def test_a_failed_stub_is_no_failed_request(tmp_path):
    """The stub that warms the cache belongs to no record; asking again leaves the sums alone."""
    faults = [{"on": "results", "nth": 1, "do": "error_line", "type": "invalid_request_error"},
              {"on": "results", "nth": 2, "do": "error_line", "type": "invalid_request_error"}]
    with Stage(tmp_path, faults, extra="prime: true\n") as stage:
        assert stage.run().returncode == 3
        assert stage.counts()["failed"] == 1
        stage.run("--retry-failed", expect=0)
        counts = stage.counts()
        assert (counts["done"], counts["failed"], counts["reasked"]) == (RECORDS, 0, 1)
        assert stage.offpeak.run("doctor", "--audit").returncode == 0


def test_a_plan_that_was_wiped_takes_no_other_job_with_it(tmp_path):
    """A second job must not wait for requests of a plan that was never finished."""
    with Stage(tmp_path) as stage:
        stage.run(OFFPEAK_FAULT="pack.committed:2", expect=-9)
        twin = tmp_path / "twin"
        shutil.copytree(stage.pipeline, twin)
        (twin / "pipeline.yaml").write_text(
            (twin / "pipeline.yaml").read_text().replace("answers.csv", "twin.csv"))
        stage.run(pipeline=twin, expect=0)
        stage.offpeak.run("recover", expect=0)
        assert len(stage.offpeak.csv("answers.csv")) == RECORDS
        assert len(stage.offpeak.csv("twin.csv")) == RECORDS
        assert set(stage.emulator.accepted().values()) == {1}


def test_a_clock_set_back_a_day_delays_nothing(tmp_path):
    """Due times that were written by a clock that was ahead."""
    with Stage(tmp_path, speed=100) as stage:
        stage.run(command="create", expect=3, OFFPEAK_CLOCK=skewed(100, -DAY_MS))
        started = time.time()
        stage.run(expect=0, timeout=100)
        assert time.time() - started < 60
        stage.kept()


# --- competing processes ----------------------------------------------------------------------


def start(stage, *args, **env):
    full = dict(stage.offpeak.env, **env)
    return subprocess.Popen([OFFPEAK, *map(str, args)], cwd=stage.offpeak.cwd, env=full, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_second_process_is_told_to_wait(tmp_path):
    with Stage(tmp_path, [{"on": "create", "nth": 1, "do": "hang", "ms": 3000}]) as stage:
        run = ["run", stage.pipeline, "--path", stage.pipeline / "items.csv"]
        first = start(stage, *run)
        while not stage.emulator.bill():
            time.sleep(0.02)
        for args in (run, ["recover"], ["fetch", "--all-pending"]):
            assert stage.offpeak.run(*args).returncode == 4
        assert stage.offpeak.run("status").returncode in (0, 3)
        first.communicate(timeout=120)
        assert first.returncode == 0
        stage.kept()


def test_stopped_during_the_send_longer_than_the_server_waits(tmp_path):
    """The last byte comes after the connection is gone, or not at all."""
    with Stage(tmp_path) as stage:
        run = ["run", stage.pipeline, "--path", stage.pipeline / "items.csv"]
        first = start(stage, *run)
        for i in range(12):
            time.sleep(0.015)
            first.send_signal(signal.SIGSTOP)
            time.sleep(0.25)
            first.send_signal(signal.SIGCONT)
        out, err = first.communicate(timeout=120)
        assert first.returncode == 0, err
        stage.kept()
