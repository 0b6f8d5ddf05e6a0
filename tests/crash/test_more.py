"""Crashes that no fault point names: SIGKILL at random times, full disks and failing writes at every
system call, a second crash inside the recovery.

Behaviour: whatever dies or fails at whatever time, `recover` brings every record to its answer, and
           nothing is bought twice without a recorded reason.
Stimulus:  OFFPEAK_CRASH_SEEDS (40) schedules: `run` over 60 requests in batches of 5, one to three
           random provider faults, SIGKILL after a random time, again during one or two recoveries.
           A failing schedule prints its seed; OFFPEAK_CRASH_FIRST=<seed> OFFPEAK_CRASH_SEEDS=1 runs
           it alone.
Oracle:    the emulator's bill (contents accepted and succeeded), the CSV, the counters of
           `status --json` and the audit of the ledger.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, UNDER_STRACE, Emulator, Offpeak, clock  # noqa: E402
from wire import write_pipeline  # noqa: E402

SEEDS = int(os.environ.get("OFFPEAK_CRASH_SEEDS", "40"))
FIRST = int(os.environ.get("OFFPEAK_CRASH_FIRST", "1"))
RECORDS = 60
BATCH = 5
SPEED = 5000

# Faults that give no reason to buy anything again.
HARMLESS = [
    {"on": "create", "do": "drop_before_commit"},
    {"on": "create", "do": "drop_after_commit"},
    {"on": "create", "do": "drop_after_commit", "reset": True},
    {"on": "create", "do": "status_after_commit", "status": 500},
    {"on": "create", "do": "status_before_commit", "status": 529},
    {"on": "create", "do": "status_before_commit", "status": 429, "type": "rate_limit_error"},
    {"on": "create", "do": "cut_body"},
    {"on": "create", "do": "accept_late", "ms": 60000},
    {"on": "create", "do": "list_lag", "ms": 60000},
    {"on": "create", "do": "hang", "ms": 200},
    {"on": "list", "do": "status_before_commit", "status": 500},
    {"on": "list", "do": "cut_body"},
    {"on": "get", "do": "drop_before_commit"},
    {"on": "get", "do": "not_found"},
    {"on": "results", "do": "cut_body"},
    {"on": "results", "do": "truncate_results", "lines": 1},
    {"do": "duplicate_line"},
]
# Faults that give one: the answer says so.
REASONS = [
    {"do": "error_line", "type": "api_error"},
    {"do": "expire_line"},
    {"do": "drop_line"},
    {"do": "corrupt_line"},
    {"do": "null_id"},
    {"on": "results", "do": "invalid_answer", "how": "not_json"},
    {"on": "results", "do": "truncated_answer"},
]


def schedule(rng):
    faults = []
    for kind in rng.sample(HARMLESS, rng.randint(1, 3)):
        faults.append(dict(kind, nth=rng.randint(1, 12)))
    for kind in rng.sample(REASONS, rng.randint(0, 2)):
        faults.append(dict({"on": "results"}, **dict(kind, nth=rng.randint(1, RECORDS))))
    return faults


def kill_after(offpeak, seconds, *args):
    """True when it was still running and is dead now."""
    process = subprocess.Popen([OFFPEAK, *map(str, args)], cwd=offpeak.cwd, env=offpeak.env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def check(offpeak, emulator, records):
    rows = offpeak.csv("answers.csv")
    assert sorted(r["id"] for r in rows) == [f"r{i:03}" for i in range(records)]
    assert all(r["text"] for r in rows)
    status = offpeak.json("status")["jobs"][0]
    counts = status["counts"]
    assert (status["state"], counts["done"], counts["failed"]) == ("done", records, 0)
    # A process killed right behind the end of a job makes the next `run` a job of its own, which
    # reuses every answer: so the sums are over all jobs.
    (again, reserved), = offpeak.ledger("SELECT sum(reasked), sum(reserved_microusd) FROM job")
    assert reserved == 0
    assert sum(emulator.accepted().values()) == records + again
    # Every purchase beyond the first has its reason in the ledger: a result that was no good.
    (bad,), = offpeak.ledger("SELECT count(*) FROM result WHERE NOT valid")
    assert again <= bad
    assert max(emulator.accepted().values()) <= 1 + again
    audit = offpeak.run("doctor", "--audit", "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_killed_at_random(tmp_path, seed):
    rng = random.Random(seed)
    faults = schedule(rng)
    print(f"seed {seed}: {faults}")
    folder = write_pipeline(tmp_path / "crash", RECORDS, BATCH)
    with Emulator(tmp_path, speed=SPEED, faults=faults) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        run = ["run", folder, "--path", folder / "items.csv"]
        killed = kill_after(offpeak, rng.uniform(0.01, 1.2), *run)
        for _ in range(rng.randint(0, 2)):
            if killed:
                killed = kill_after(offpeak, rng.uniform(0.01, 1.0), "recover")
        offpeak.run(*run, expect=0)
        check(offpeak, emulator, RECORDS)


# --- writes that fail -------------------------------------------------------------------------

STRACE = shutil.which("strace")
SMALL = 6


def inject(offpeak, rule, *args):
    """Runs under strace with one kind of system call failing."""
    return subprocess.run(
        [STRACE, "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", f"trace={rule.split(':')[0]}",
         "-e", f"inject={rule}", OFFPEAK, *map(str, args)],
        cwd=offpeak.cwd, env=dict(offpeak.env, **UNDER_STRACE), text=True, capture_output=True,
        timeout=120)


@pytest.mark.skipif(not STRACE, reason="needs strace")
@pytest.mark.parametrize("call,error,first", [
    (call, error, first)
    for call, error, step in [("pwrite64", "ENOSPC", 9), ("write", "ENOSPC", 9),
                              ("fdatasync", "EIO", 5), ("fsync", "EIO", 3), ("ftruncate", "EIO", 3),
                              ("rename", "EIO", 1), ("renameat2", "ENOSPC", 1)]
    for first in range(1, 1 + 8 * step, step)])
def test_a_write_fails(tmp_path, call, error, first):
    """From the first-th call on nothing can be written; the next run has room again."""
    folder = write_pipeline(tmp_path / "full", SMALL, 2)
    with Emulator(tmp_path, speed=SPEED) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        run = ["run", folder, "--path", folder / "items.csv"]
        done = inject(offpeak, f"{call}:error={error}:when={first}+", *run)
        if done.returncode == 0:
            check(offpeak, emulator, SMALL)
            pytest.skip(f"fewer than {first} calls of {call}")
        # A flush that fails ends the process where it stands (docs/design/ledger.md).
        assert done.returncode == (75 if error == "EIO" and "sync" in call else 1), done.stderr
        assert done.stderr.strip() or call == "write", "it says nothing"
        offpeak.run(*run, expect=0)
        check(offpeak, emulator, SMALL)


@pytest.mark.skipif(not STRACE, reason="needs strace")
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "fsync", "write"])
def test_one_write_fails(tmp_path, call):
    """A single failure, at each place in turn, on a state that has seen all the failures before."""
    folder = write_pipeline(tmp_path / "once", SMALL, 2)
    with Emulator(tmp_path, speed=SPEED) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        run = ["run", folder, "--path", folder / "items.csv"]
        for nth in range(1, 60, 4):
            done = inject(offpeak, f"{call}:error=EIO:when={nth}", *run)
            if done.returncode == 0:
                break
        offpeak.run(*run, expect=0)
        rows = offpeak.csv("answers.csv")
        assert sorted(r["id"] for r in rows) == [f"r{i:03}" for i in range(SMALL)]
        assert set(emulator.accepted().values()) == {1}
