"""A disk that fails to keep what was written: fsync answers EIO.

Behaviour: docs/design/ledger.md, A flush that fails: the process ends there with exit code 75 and one
           line that names the file; the next one sends nothing before the audit of the ledger and a
           look through the accounts have shown that they agree; with the mark in the black box lost
           it is as safe as after a power loss. A full disk (ENOSPC) is no such failure.
Stimulus:  strace makes the N-th flush of a run fail, for every N: of the ledger, of the spool, the
           manifest, the outbox, the file of an output and a database.
Oracle:    the emulator's bill, which has every record once; the outputs, which have every row once.
"""
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, UNDER_STRACE, Emulator, Offpeak, clock  # noqa: E402
from wire import Proxy, write_pipeline  # noqa: E402

STRACE = shutil.which("strace")
pytestmark = pytest.mark.skipif(not STRACE, reason="needs strace")
RECORDS = 2
SPEED = 3000
SIDE_BY_SIDE = 4
STEP = int(os.environ.get("OFFPEAK_FLUSH_STEP", "7"))  # 1: every flush there is


class Stage:
    def __init__(self, folder):
        self.pipeline = write_pipeline(folder / "flush", RECORDS, RECORDS)
        text = (self.pipeline / "pipeline.yaml").read_text()
        (self.pipeline / "pipeline.yaml").write_text(text.replace("batch:", """\
  - sqlite: answers.db
    table: answers
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
batch:"""))
        self.emulator = Emulator(folder, speed=SPEED)
        self.offpeak = Offpeak(folder, None, OFFPEAK_CLOCK=clock(SPEED))
        self.log = folder / "strace.log"
        self.command = ["run", self.pipeline, "--path", self.pipeline / "items.csv"]

    def __enter__(self):
        self.emulator.__enter__()
        self.offpeak.env["ANTHROPIC_BASE_URL"] = self.emulator.url
        return self

    def __exit__(self, *_):
        self.emulator.__exit__()

    def traced(self, *options):
        return subprocess.run(
            [STRACE, "-f", "-qq", "-y", "-o", self.log, "-e", f"trace=fsync,fdatasync", "-e", "signal=none",
             *options, OFFPEAK, *self.command], cwd=self.offpeak.cwd,
            env=dict(self.offpeak.env, **UNDER_STRACE), text=True, capture_output=True, timeout=120)

    def suspect(self):
        done = self.offpeak.run("status", "--json")
        return done.returncode == 0 and json.loads(done.stdout)["suspect"]

    def check(self):
        expected = [f"r{i:03}" for i in range(RECORDS)]
        assert sorted(r["id"] for r in self.offpeak.csv("answers.csv")) == expected
        with sqlite3.connect(self.offpeak.cwd / "answers.db") as db:
            assert [i for i, in db.execute("SELECT id FROM answers ORDER BY id")] == expected
        assert set(self.emulator.accepted().values()) == {1} and len(self.emulator.accepted()) == RECORDS
        assert set(self.emulator.bought().values()) == {1}
        self.offpeak.run("doctor", "--audit", expect=0)


def flushes(log, folder):
    """[(call, which of its kind, file, failed)] of the thread that flushes: the counters of strace are
    each thread's and each call's own. A file that is named at random is named up to there."""
    found, before = {}, {"fsync": 0, "fdatasync": 0}
    for pid, call, path, rest in re.findall(r"^(\d+) +(fsync|fdatasync)\(\d+<([^>]*)>(.*)$", log, re.M):
        path = re.sub(r"(\.new-)\w+", r"\1", path).removeprefix(str(folder))
        found.setdefault(pid, []).append((call, path, "INJECTED" in rest))
    (one,) = found.values()
    plan = []
    for call, path, failed in one:
        before[call] += 1
        plan.append((call, before[call], path, failed))
    return plan


def number_of(tmp_path, file):
    """Which flush of its kind the last one of the file is in a run where nothing fails."""
    (tmp_path / "count").mkdir()
    with Stage(tmp_path / "count") as stage:
        assert stage.traced().returncode == 0
        plan = flushes(stage.log.read_text(), tmp_path / "count")
    return [number for _, number, path, _ in plan if path.endswith(file)][-1 if file != "ledger.db" else 6]


def choose(plan):
    """Every STEP-th flush of the ledger, which has five in each of its transactions, and of every
    other file the first and the last."""
    others, chosen = {}, set()
    for at, (_, _, path, _) in enumerate(plan):
        if path.startswith("/state/ledger.db") or path == "/state":
            chosen |= {at} if at % STEP == 0 else set()
        else:
            others.setdefault(path, []).append(at)
    for places in others.values():
        chosen |= {places[0], places[-1]} if STEP > 1 else set(places)
    return sorted(chosen)


def fail_at(folder, call, number, error="EIO", only=None):
    """One flush of a run fails. Yields the stage, how the run ended, and the file; None: there was no
    such flush; "": one of a folder by SQLite, which looks at the answer only with synchronous=EXTRA
    and not everywhere then."""
    folder.mkdir()
    stage = Stage(folder)
    with stage:
        options = ["-P", stage.offpeak.cwd / only] if only else []
        done = stage.traced(*options, "-e", f"inject={call}:error={error}:when={number}")
        failed = [path for _, _, path, failed in flushes(stage.log.read_text(), folder) if failed]
        known = failed and not (call == "fdatasync" and (folder / failed[0].lstrip("/")).is_dir())
        yield stage, done, (failed[0] or "/") if known else "" if failed else None


def name_of(stage, line):
    return re.sub(r"(\.new-)\w+", r"\1", line).replace(str(stage.log.parent), "")


def recover(stage, with_mark):
    box = stage.offpeak.state / "blackbox"
    begun = (stage.offpeak.state / "ledger.db").exists() and stage.suspect()
    if not with_mark:
        box.unlink(missing_ok=True)
    bought = len(stage.emulator.bill())
    recovered = stage.offpeak.run("recover", expect=0)
    if with_mark and begun:
        proved = recovered.stderr.index("ledger and accounts agree")
        assert "batch sent" not in recovered.stderr[:proved]
    assert not stage.suspect()
    if not (stage.offpeak.cwd / "answers.csv").exists():  # no job was begun
        assert bought == 0
        stage.offpeak.run(*stage.command, expect=0)
    stage.check()


def die_and_recover(folder, call, number, with_mark, only=None):
    for stage, done, path in fail_at(folder, call, number, only=only):
        if not path:
            assert done.returncode == 0 or (path == "" and done.returncode == 75), done.stderr
            if done.returncode:
                recover(stage, with_mark)
            stage.check()
            return None
        assert done.returncode == 75, (path, done.returncode, done.stderr)
        line = name_of(stage, done.stderr.splitlines()[-1])
        assert f"offpeak: {path.removesuffix('-journal').rstrip('/')} could not be made durable (Input/output error)" in line
        assert "offpeak recover" in line
        if path != "/":  # else there is no state folder yet
            assert b'"doubt":"' in (stage.offpeak.state / "blackbox").read_bytes()
        recover(stage, with_mark)
        return path


def test_a_flush_that_fails_ends_the_process(tmp_path):
    (tmp_path / "plan").mkdir()
    with Stage(tmp_path / "plan") as stage:
        done = stage.traced()
        assert done.returncode == 0, done.stderr
        stage.check()
        plan = flushes(stage.log.read_text(), tmp_path / "plan")
    chosen = choose(plan)
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        died = pool.map(lambda at: die_and_recover(tmp_path / str(at), *plan[at][:2], at % 3), chosen)
        died = collections.Counter(path for path in died if path)
    for path in ("ledger.db", "ledger.db-journal", "manifest.jsonl", "payload/.new-", "result/.new-", "payload",
                 "outbox/1-0.rows", "answers.csv"):
        assert any(path in one for one in died), f"no flush of {path} was tried: {died}"


def test_a_flush_of_a_database_that_is_an_output(tmp_path):
    """How many flushes of the ledger precede it depends on the time; it is counted alone."""
    died = die_and_recover(tmp_path / "one", "fdatasync", 1, True, only="answers.db")
    assert pathlib.PurePath(died).parts[1:] == ("work", "answers.db")


def test_nothing_is_sent_before_the_account_was_seen(tmp_path):
    """The payload's flush fails, then the list of batches cannot be had: nothing is bought."""
    for stage, done, _ in fail_at(tmp_path / "blind", "fsync", number_of(tmp_path, "payload/.new-")):
        assert done.returncode == 75 and stage.suspect()

        def change(method, path, status, headers, body):
            is_list = method == "GET" and path.split("?")[0].endswith("/batches")
            return (500, headers, b"{}") if is_list else None

        with Proxy(stage.emulator.url, change) as proxy:
            for command in (["recover"], stage.command):
                blind = stage.offpeak.run(*command, ANTHROPIC_BASE_URL=proxy.url)
                assert blind.returncode == 1 and "nothing is sent" in blind.stderr, blind.stderr
        assert stage.emulator.bill() == [] and stage.suspect()
        keyless = stage.offpeak.run("recover", ANTHROPIC_API_KEY="")
        assert keyless.returncode == 1 and "cannot be looked through" in keyless.stderr
        recover(stage, True)


@pytest.mark.parametrize("file", ["payload/.new-", "ledger.db", "outbox/1-0.rows"])
def test_a_full_disk_is_no_broken_one(tmp_path, file):
    call = "fdatasync" if file == "ledger.db" else "fsync"
    for stage, done, path in fail_at(tmp_path / "full", call, number_of(tmp_path, file), "ENOSPC"):
        assert file in path and done.returncode == 1 and "space" in done.stderr, (path, done.stderr)
        assert not stage.suspect()
        recover(stage, True)
