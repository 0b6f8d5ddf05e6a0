"""The command line as a person and a script meet it.

Behaviour: help, usage errors, exit codes, the JSON forms, the one-line and the raw form, leaving with
           Ctrl-C and coming back, the terminal's live line.
Stimulus:  the program is run with a state folder of its own; `--emulate` or an emulator beside it is
           the provider.
Oracle:    texts and codes promised by docs/reference/cli.md; answers scripted in the emulator or made
           of the input; the emulator's bill.
"""
import csv
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

import harness

COMMANDS = ["init", "validate", "estimate", "run", "create", "status", "list", "fetch", "cancel",
            "recover", "show", "emulate", "doctor", "version"]
KEY = "sk-ant-test-0123456789"
TICKETS = 'id,subject\n1,Refund please\n2,"Crash, again"\n3,Hello\n'
SCHEMA = json.dumps({"type": "object", "properties": {
    "label": {"type": "string", "enum": ["bug", "other"]}, "sure": {"type": "boolean"}},
    "required": ["label", "sure"], "additionalProperties": False})


@pytest.fixture
def labels(offpeak):
    offpeak.run("init", "labels", expect=0)
    return offpeak


def one_line(offpeak, *more, command="run", **kwargs):
    (offpeak.cwd / "tickets.csv").write_text(TICKETS)
    return offpeak.run(command, "--input", "tickets.csv", "--model", "claude-haiku-5-5", *more, **kwargs)


def write(folder, name, rules):
    path = folder / name
    path.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    return path


# ---- help and mistakes ----


def test_overview_and_exit_code_of_nothing(offpeak):
    done = offpeak.run(expect=2)
    assert done.stdout == "" and all(f"  {c}" in done.stderr for c in COMMANDS)
    assert offpeak.run("help", expect=0).stdout == offpeak.run("--help", expect=0).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(offpeak, command):
    done = offpeak.run(command, "--help", expect=0)
    assert done.stdout.startswith(f"offpeak {command}: ") and "usage: offpeak " in done.stdout
    assert done.stdout == offpeak.run("help", command, expect=0).stdout
    assert max(map(len, done.stdout.splitlines())) <= 100 and done.stderr == ""


def test_reference_is_made_from_the_tables(offpeak):
    page = harness.ROOT / "docs" / "reference" / "cli.md"
    assert page.read_text() == offpeak.run("help", "--markdown", expect=0).stdout, \
        "make it anew: offpeak help --markdown > docs/reference/cli.md"


def test_help_shows_the_params_of_a_pipeline(offpeak):
    text = offpeak.run("help", "run", "narrative-reports", expect=0).stdout
    assert "--conversation-id" in text and "(required)" in text and "NARRATIVE_BATCH_MODEL" in text
    # a param of the same name takes the place of our own option
    assert text.count("--model ") == 1 and text.count("--max-tokens ") == 1


def test_help_topics(offpeak):
    assert "requests.*.model" in offpeak.run("help", "pipeline", expect=0).stdout
    assert "answers" in offpeak.run("help", "sql", expect=0).stdout


USAGE = {
    "no such command": (["staus"], "did you mean 'status'?"),
    "no such option": (["list", "--bathces"], "did you mean --batches?"),
    "no such pipeline": (["run", "ticket-lables"], "did you mean 'ticket-labels'?"),
    "nothing to run": (["run"], "--input FILE --prompt TEXT"),
    "missing param": (["run", "ticket-labels"], "--path is missing"),
    "missing prompt": (["run", "--input", "x.csv"], "--prompt is missing"),
    "missing output": (["run", "--input", "x.csv", "--prompt", "y"], "--output is missing"),
    "data for a pipeline": (["run", "x.csv"], "--input x.csv"),
    "option of the other form": (["run", "ticket-labels", "--path", "x.csv", "--prompt", "y"],
                                 "--prompt is for a run without a pipeline"),
    "bad amount": (["run", "ticket-labels", "--max-cost", "much"], "--max-cost must be an amount"),
    "bad number": (["run", "ticket-labels", "--limit", "0"], "--limit must be a whole number"),
    "bad choice": (["run", "ticket-labels", "--mode", "btach"], "did you mean 'batch'?"),
    "bad poll": (["fetch", "job-1", "--poll", "0"], "--poll must be a number of seconds"),
    "value missing": (["status", "--state"], "--state needs a value"),
    "flag with value": (["list", "--json=yes"], "--json takes no value"),
    "too many words": (["show", "a", "b"], "one word too many"),
    "bad state": (["list", "--status", "runing"], "did you mean 'running'?"),
    "nothing to fetch": (["fetch"], "--all-pending"),
    "nothing to cancel": (["cancel"], "say what to cancel"),
    "key as option": (["run", "ticket-labels", "--api-key", "x"], "ANTHROPIC_API_KEY"),
    "key as value": (["run", "ticket-labels", "--path", "sk-ant-api03-abcdefghijklmnop"],
                     "looks like a secret key"),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_mistakes(offpeak, name):
    args, word = USAGE[name]
    (offpeak.cwd / "x.csv").write_text(TICKETS)
    done = offpeak.run(*args, expect=2)
    assert done.stderr.startswith("offpeak: ") and word in done.stderr, done.stderr
    assert done.stdout == "" and "abcdefghijklmnop" not in done.stderr
    assert not offpeak.state.exists(), "a mistake leaves no trace"
    again = offpeak.run(*args, "--json", expect=2)
    told = json.loads(again.stdout)
    assert told["version"] == 1 and word in told["error"]["message"]


def test_nothing_there_yet(offpeak):
    assert offpeak.json("status")["jobs"] == []
    assert offpeak.json("list")["jobs"] == []
    assert "no jobs" in offpeak.run("list", expect=0).stderr
    assert "no ledger" in offpeak.run("show", "x", expect=1).stderr
    assert not offpeak.state.exists()


def test_version_is_quick_and_needs_nothing(offpeak):
    assert re.fullmatch(r"offpeak \d+\.\d+\.\d+\n", offpeak.run("version", expect=0).stdout)
    assert offpeak.json("version")["offpeak"] in offpeak.run("--version", expect=0).stdout


# ---- a new pipeline, from the first command to the answers ----


def test_init_runs_as_it_is(labels):
    assert labels.run("validate", "labels", expect=0).stdout.startswith("labels: good")
    estimate = labels.json("estimate", "labels")
    assert estimate["records"] == estimate["requests"] == 4 and estimate["batches"] == 1
    assert 0 < estimate["batch_microusd"] < estimate["realtime_microusd"]
    done = labels.run("run", "labels", "--emulate", expect=0)
    assert "4 done" in done.stdout and "batch sent" in done.stderr
    rows = labels.csv("labels/labels.csv")
    assert sorted(r["id"] for r in rows) == ["t1", "t2", "t4", "t5"]
    bill = [json.loads(line) for line in
            (labels.state / "emulator" / "bill.jsonl").read_text().splitlines()]
    assert sum(line["state"] == "succeeded" for line in bill) == 4


def test_init_overwrites_nothing(labels):
    mine = labels.cwd / "labels" / "user.md"
    mine.write_text("mine")
    assert "overwritten" in labels.run("init", "labels", expect=1).stderr
    assert mine.read_text() == "mine"


def test_validate_names_every_mistake(labels):
    path = labels.cwd / "labels" / "pipeline.yaml"
    path.write_text(path.read_text().replace("outputs:", "outptus:").replace("about:", "abuot:", 1))
    done = labels.run("validate", "labels", expect=1)
    assert "outptus" in done.stdout and "abuot" in done.stdout and "pipeline.yaml:" in done.stdout
    assert done.stderr == "2 mistakes\n"
    told = json.loads(labels.run("validate", "labels", "--json", expect=1).stdout)
    assert told["valid"] is False and len(told["mistakes"]) == 2


def test_validate_looks_at_columns(labels):
    (labels.cwd / "labels" / "user.md").write_text("{{sbuject}}")
    done = labels.run("validate", "labels", expect=1)
    assert "user.md:1" in done.stdout and "subject" in done.stdout


def test_estimate_and_cap(labels):
    cap = labels.json("estimate", "labels", "--max-cost", "0.000001")["cap"]
    assert cap == {"microusd": 1, "batches": 0, "requests": 0}
    assert "raise the cap" in labels.run("estimate", "labels", "--max-cost", "0.000001").stdout
    assert not labels.state.exists()


def test_dry_run_shows_the_first_request_and_keeps_nothing(labels):
    done = labels.run("run", "labels", "--dry-run", expect=0)
    assert "Charged twice in May" in done.stdout and "records        4" in done.stdout
    told = labels.json("run", "labels", "--dry-run")
    assert told["first_request"]["model"] == "claude-haiku-5-5"
    assert not labels.state.exists()


def test_option_names_take_both_spellings(labels):
    for option in ("--max_cost", "--max-cost"):
        assert labels.json("estimate", "labels", option, "5")["cap"]["requests"] == 4
    assert labels.json("estimate", "labels", "--max-cost=5")["cap"]["requests"] == 4


# ---- without a pipeline ----


def test_one_line_csv(offpeak):
    answers = write(offpeak.cwd, "answers.jsonl", [
        {"match": "Crash", "json": {"label": "bug", "sure": True}},
        {"json": {"label": "other", "sure": False}}])
    one_line(offpeak, "--prompt", "Classify: {{subject}}", "--schema", SCHEMA, "--output",
             "labels.csv", "--emulate", "--emulate-answers", answers, expect=0)
    rows = {r["id"]: r for r in offpeak.csv("labels.csv")}
    assert set(rows) == {"1", "2", "3"} and list(rows["1"]) == ["id", "label", "sure"]
    assert [rows[i]["label"] for i in "123"] == ["other", "bug", "other"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.db"])
def test_one_line_other_outputs(offpeak, name):
    one_line(offpeak, "--prompt", "{{subject}}", "--schema", SCHEMA, "--output", name, "--key",
             "subject", "--system", "Be brief", "--max-tokens", "99", "--emulate", expect=0)
    if name == "out.db":
        import sqlite3
        rows = sqlite3.connect(offpeak.cwd / name).execute("SELECT subject, label FROM answers").fetchall()
        assert sorted(r[0] for r in rows) == ["Crash, again", "Hello", "Refund please"]
        return
    text = (offpeak.cwd / name).read_text()
    rows = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
    assert sorted(r["subject"] for r in rows) == ["Crash, again", "Hello", "Refund please"]
    assert all(isinstance(r["sure"], bool) and r["label"] in ("bug", "other") for r in rows)
    told = offpeak.json("show", "Hello")["requests"][0]["params"]
    assert told["max_tokens"] == 99 and "Be brief" in json.dumps(told["system"])


def test_one_line_files_for_texts(offpeak):
    (offpeak.cwd / "ask.md").write_text("About {{subject}}")
    (offpeak.cwd / "s.json").write_text(SCHEMA)
    one_line(offpeak, "--prompt", "ask.md", "--schema", "s.json", "--output", "o.csv", "--emulate",
             expect=0)
    assert "About Hello" in offpeak.run("show", "3", expect=0).stdout
    (offpeak.cwd / "ask.md").write_text("About {{sbject}}")
    done = one_line(offpeak, "--prompt", "ask.md", "--output", "o.csv", "--emulate", expect=1)
    assert "ask.md:1" in done.stderr and "did you mean 'subject'" in done.stderr


def test_one_line_says_what_is_wrong(offpeak):
    done = one_line(offpeak, "--prompt", "{{sbject}}", "--output", "o.csv", "--emulate", expect=1)
    assert "--prompt" in done.stderr and "did you mean 'subject'" in done.stderr
    done = one_line(offpeak, "--prompt", "x", "--output", "o.xls", expect=2)
    assert ".csv" in done.stderr
    done = one_line(offpeak, "--prompt", "x", "--output", "o.csv", "--key", "di", expect=2)
    assert "did you mean 'id'" in done.stderr
    done = one_line(offpeak, "--prompt", "x", "--output", "o.csv", "--schema", "{", expect=2)
    assert "--schema" in done.stderr


def test_raw_requests_run_as_they_are(offpeak):
    requests = [{"custom_id": f"mine {i}", "params": {
        "model": "claude-haiku-5-5", "max_tokens": 50 + i,
        "messages": [{"role": "user", "content": f"number {i}"}]}} for i in range(5)]
    write(offpeak.cwd, "requests.jsonl", requests)
    assert offpeak.json("estimate", "requests.jsonl")["requests"] == 5
    offpeak.run("run", "requests.jsonl", "--output", "results.jsonl", "--emulate", expect=0)
    results = [json.loads(line) for line in (offpeak.cwd / "results.jsonl").read_text().splitlines()]
    assert sorted(r["custom_id"] for r in results) == [f"mine {i}" for i in range(5)]
    assert all(r["result"]["type"] == "succeeded" for r in results)
    assert offpeak.json("show", "mine 3")["requests"][0]["params"] == requests[3]["params"]
    assert "--output is missing" in offpeak.run("run", "requests.jsonl", expect=2).stderr
    done = offpeak.run("run", "requests.jsonl", "--output", "x.jsonl", "--model", "m", expect=2)
    assert "requests.jsonl:1" in done.stderr and "leave it out" in done.stderr
    done = offpeak.run("run", "requests.jsonl", "--output", "x.jsonl", "--system", "m", expect=2)
    assert "--system has no place" in done.stderr
    write(offpeak.cwd, "plain.jsonl", [{"a": 1}])
    done = offpeak.run("run", "plain.jsonl", "--output", "x.jsonl", expect=2)
    assert "plain.jsonl:1" in done.stderr and "no request" in done.stderr


# ---- looking at it afterwards ----


def test_json_shapes(labels):
    told = labels.json("run", "labels", "--emulate")
    job = told["job"]
    assert told["version"] == 1 and job["id"] == "job-1" and job["state"] == "done"
    assert job["counts"]["done"] == 4 and job["outputs"][0]["rows"] == 4
    assert job["spent_microusd"] > 0 and job["reserved_microusd"] == 0
    status = labels.json("status")
    assert status["counts"]["jobs"]["done"] == 1 and status["counts"]["batches"]["sealed"] == 1
    assert status["counts"]["requests"] == {"total": 4, "open": 0, "done": 4, "failed": 0, "canceled": 0}
    assert status["spent_microusd"] == job["spent_microusd"] and status["reserved_microusd"] == 0
    batch = labels.json("list", "--batches")["batches"][0]
    assert batch["id"] == "batch-1" and batch["ok"] == 4 and batch["provider_id"].startswith("msgbatch_")
    for name in ("batch-1", batch["provider_id"]):
        shown = labels.json("show", name)
        assert shown["batch"] == batch
        assert [e["to"] for e in shown["journal"]] == [
            "built", "sending", "accepted", "ended", "fetched", "applied", "sealed"]
    assert labels.json("show", "job-1")["job"]["pipeline"] == "labels"
    record = labels.json("show", "t1")
    request, = record["requests"]
    assert record["key"] == "t1" and request["state"] == "done" and request["good"]
    assert request["results"][0]["batch"] == "batch-1" and request["rows"][0]["row"]["id"] == "t1"
    assert "Charged twice" in json.dumps(request["params"])
    assert labels.json("list", "--status", "failed")["failed"] == []


def test_show_a_record(labels):
    answers = write(labels.cwd, "answers.jsonl", [{"json": {"label": "bug", "reason": "It says so."}}])
    labels.run("run", "labels", "--emulate", "--emulate-answers", answers, expect=0)
    text = labels.run("show", "t2", expect=0).stdout
    for part in ("label: done", "batch-1 at anthropic (msgbatch_", "You label support tickets", "Every time, since",
                 "bug: It says so.", "label = bug"):
        assert part in text, text
    assert labels.run("show", "--latest", expect=0).stdout == "bug: It says so.\n"
    assert "no record has the key" in labels.run("show", "t99", expect=1).stderr
    assert "there is no job-7" in labels.run("show", "job-7", expect=1).stderr


def test_failed_requests_are_named_and_can_be_asked_again(labels):
    answers = write(labels.cwd, "a.jsonl", [
        {"match": "Cannot log in", "error": {"type": "invalid_request_error", "message": "no \x1b[2J luck"}},
        {"json": {"label": "bug", "reason": "r"}}])
    done = labels.run("run", "labels", "--emulate", "--emulate-answers", answers, expect=3)
    assert "3 done, 1 failed" in done.stdout and "--retry-failed" in done.stderr
    listed = labels.run("list", "--failed", expect=0).stdout
    assert "t4" in listed and "luck" in listed and "\x1b" not in listed
    failed, = labels.json("list", "--status", "failed")["failed"]
    assert failed["key"] == "t4" and failed["job"] == "job-1" and failed["request"] == "label"
    story = labels.run("show", "t4", expect=0).stdout
    assert "label: failed" in story and "errored" in story
    labels.run("run", "labels", "--emulate", "--retry-failed", expect=0)
    assert len(labels.csv("labels/labels.csv")) == 4
    assert labels.json("status", "job-1")["jobs"][0]["state"] == "done"
    assert len(labels.json("list")["jobs"]) == 1, "no second job was made"


def test_list_filters(labels):
    labels.run("run", "labels", "--emulate", expect=0)
    labels.run("run", "labels", "--emulate", "--fresh", expect=0)
    assert len(labels.json("list")["jobs"]) == 2
    assert len(labels.json("list", "--limit", "1")["jobs"]) == 1
    assert labels.json("list", "--status", "running")["jobs"] == []
    assert len(labels.json("list", "--status", "sealed")["batches"]) == 2
    newest = labels.json("list", "--batches", "--limit", "1")
    assert [b["id"] for b in newest["batches"]] == ["batch-2"] and newest["left_out"] == 1
    assert len(labels.json("list", "--batches", "--job", "job-2")["batches"]) == 1
    table = labels.run("list", expect=0).stdout.splitlines()
    starts = [m.start() for m in re.finditer(r"\S+", table[0])]
    assert all(line[starts[1]:].startswith("labels") for line in table[1:])


def test_doctor(labels):
    labels.run("run", "labels", "--emulate", expect=0)
    done = labels.run("doctor", "--audit", expect=0)
    assert re.search(r"keys +warning +none is set.* ANTHROPIC_API_KEY", done.stdout)
    assert re.search(r"audit +ok", done.stdout) and re.search(r"libcurl +ok", done.stdout)
    told = labels.run("doctor", "--json", expect=0, ANTHROPIC_API_KEY=KEY)
    assert KEY not in told.stdout + told.stderr and "is set" in told.stdout
    assert json.loads(told.stdout)["problems"] == 0
    labels.state.chmod(0o755)
    assert "others can look into it" in labels.run("doctor").stdout
    done = labels.run("doctor", expect=1, ANTHROPIC_BASE_URL="http://example.com")
    assert "in the clear" in done.stdout


# ---- keys ----


def test_no_key(labels):
    done = labels.run("run", "labels", expect=1)
    assert "ANTHROPIC_API_KEY" in done.stderr and "--emulate" in done.stderr


def test_wrong_key(labels, emulator):
    server = emulator(speed=1000, faults=[{"on": "any", "do": "status_before_commit", "status": 401,
                                           "type": "authentication_error", "message": "bad x-api-key"}])
    done = labels.run("run", "labels", "--wait", "2", expect=3, ANTHROPIC_API_KEY=KEY,
                      ANTHROPIC_BASE_URL=server.url)
    assert "bad x-api-key" in done.stderr and KEY not in done.stderr and not server.bill()
    assert "paused" in labels.run("status", expect=0).stdout


# ---- leaving and coming back ----


def slow(*more, speed=20):
    """A run that takes 90 / speed seconds at most, 30 / speed at least."""
    return [harness.OFFPEAK, "run", "labels", "--emulate", "--emulate-speed", str(speed), *more]


def wait_for(stream, word):
    for line in stream:
        if word in line:
            return
    raise AssertionError(f"no {word!r}")


def test_ctrl_c_and_again(labels):
    first = subprocess.Popen(slow(speed=2), cwd=labels.cwd, env=labels.env, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(first.stderr, "batch sent")
    busy = labels.run("run", "labels", "--emulate")
    assert busy.returncode == 4 and "another offpeak" in busy.stderr
    assert labels.json("status")["jobs"][0]["state"] == "running", "looking on is allowed"
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=20)
    assert first.returncode == 3
    assert "stopped" in err and "`offpeak run job-1`" in err and "4 open" in out
    done = labels.run("run", "labels", "--emulate", expect=0)
    assert "job-1 goes on" in done.stderr
    assert len(labels.csv("labels/labels.csv")) == 4 and len(labels.json("list")["jobs"]) == 1


def test_busy_ledger(labels, emulator):
    server = emulator(speed=1)
    env = dict(labels.env, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=server.url)
    first = subprocess.Popen([harness.OFFPEAK, "run", "labels"], cwd=labels.cwd, env=env, text=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for(first.stderr, "batch sent")
        done = labels.run("run", "labels", "--json", expect=4, ANTHROPIC_API_KEY=KEY,
                          ANTHROPIC_BASE_URL=server.url)
        assert str(first.pid) in done.stderr
        assert json.loads(done.stdout)["error"]["code"] == "busy"
    finally:
        first.kill()
        first.wait()


def test_create_then_fetch(labels):
    done = labels.run("create", "labels", "--emulate", "--emulate-speed", "30", expect=3)
    assert "1 accepted" in done.stdout and "`offpeak fetch job-1`" in done.stderr
    batch = labels.json("list", "--batches")["batches"][0]
    assert labels.run("fetch", "job-1").returncode in (0, 3)
    labels.run("fetch", batch["provider_id"], "--wait", expect=0)
    assert len(labels.csv("labels/labels.csv")) == 4
    assert "no job is open" in labels.run("fetch", "--all-pending", expect=0).stderr
    assert "neither a job" in labels.run("fetch", "nonsense", expect=1).stderr


def test_cancel(labels):
    labels.run("create", "labels", "--emulate", "--emulate-speed", "1", expect=3)
    labels.run("cancel", "job-1", "--wait", expect=0)
    assert labels.json("status", "job-1")["jobs"][0]["state"] in ("canceled", "done")
    assert "already" in labels.run("cancel", "job-1", expect=1).stderr


def test_recover_goes_on(labels):
    labels.run("create", "labels", "--emulate", "--emulate-speed", "30", expect=3)
    labels.run("recover", expect=0)
    assert len(labels.csv("labels/labels.csv")) == 4
    assert "no job is open" in labels.run("recover", expect=0).stderr


def test_cap_and_higher_cap(labels):
    done = labels.run("run", "labels", "--emulate", "--max-cost", "0.000001", expect=3)
    assert "cost cap" in done.stderr and "--max-cost" in done.stdout
    labels.run("run", "labels", "--emulate", "--max-cost", "1", expect=0)
    assert len(labels.json("list")["jobs"]) == 1


def test_killed_command_takes_its_emulator_along(labels):
    first = subprocess.Popen(slow(speed=2), cwd=labels.cwd, env=labels.env, text=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(first.stderr, "batch sent")
    first.kill()
    first.wait()
    labels.run("run", "labels", "--emulate", expect=0)
    assert len(labels.csv("labels/labels.csv")) == 4


# ---- what is said, and where ----


def test_stdout_is_the_result(labels):
    done = labels.run("run", "labels", "--emulate", "--quiet", expect=0)
    assert done.stderr == "" and done.stdout.startswith("job-1  labels  done")
    done = labels.run("run", "labels", "--emulate", "--log", "json", "--json", expect=0)
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {"job planned", "job done"} <= {e["event"] for e in events}
    assert json.loads(done.stdout)["job"]["state"] == "done"


def test_closed_stdout_is_no_crash(labels):
    labels.run("run", "labels", "--emulate", expect=0)
    done = subprocess.run(f"{harness.OFFPEAK} list | true; exit ${{PIPESTATUS[0]}}", shell=True,
                          executable="/bin/bash", env=labels.env, capture_output=True)
    assert done.returncode == 0 and done.stderr == b""
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run([harness.OFFPEAK, "list"], stdout=full, stderr=subprocess.PIPE,
                                  env=labels.env)
        assert done.returncode == 1 and b"could not be written" in done.stderr


def terminal(args, cwd, env, columns=100, seconds=60):
    """Runs a command on a terminal of its own; everything it wrote."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        os.chdir(cwd)
        os.execve(args[0], args, env)
    out, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), out.decode()


def test_terminal_gets_one_live_line(labels):
    env = dict(labels.env, TERM="xterm")
    code, out = terminal(slow(), labels.cwd, env)
    assert code == 0
    drawn = [part.split("\x1b[K")[0] for part in out.split("\r")[1:] if "\x1b[K" in part]
    lines = [line for line in drawn if line.startswith("job-1 labels")]
    assert any("0/4 done" in line and "4 waiting" in line for line in lines), out
    assert all(len(line) < 100 for line in lines)
    assert "batch sent" not in out, "events are for pipes"
    # once one batch has ended, the next one's end can be told
    code, out = terminal(slow("--fresh"), labels.cwd, env)
    assert code == 0 and "ETA" in out, out


def test_terminal_line_is_cut_at_its_width(labels):
    code, out = terminal(slow(), labels.cwd, dict(labels.env, TERM="xterm"), columns=30)
    lines = [p.split("\x1b[K")[0] for p in out.split("\r") if "\x1b[K" in p]
    assert code == 0 and lines and max(map(len, lines)) < 30


def test_status_watch_ends_with_the_job(labels):
    first = subprocess.Popen(slow(), cwd=labels.cwd, env=labels.env, text=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(first.stderr, "batch sent")
    done = labels.run("status", "--watch", expect=0)
    assert "1 accepted" in done.stdout and done.stdout.rstrip().splitlines()[0].startswith("job-1")
    first.communicate(timeout=30)
    assert first.returncode == 0


def test_hostile_texts_cannot_steer_the_terminal(offpeak):
    (offpeak.cwd / "t.csv").write_text('id,subject\n"a\x1b]0;x\x07",ok\n', newline="")
    answers = write(offpeak.cwd, "a.jsonl", [{"text": "\x1b[31mred\u202e\r\nnext"}])
    offpeak.run("run", "--input", "t.csv", "--prompt", "{{subject}}", "--model", "claude-haiku-5-5",
                "--output", "o.csv", "--emulate", "--emulate-answers", answers, expect=0)
    told = offpeak.run("show", "--latest", expect=0)
    assert "\x1b" not in told.stdout + told.stderr and "\u202e" not in told.stdout
    assert "red" in told.stdout
