"""The realtime lane: the same requests, one by one through the ordinary endpoint.

Behaviour: every record gets its answer; never more under way than the window; refusals for now slow the
           lane down and are asked again; what may have been bought is never asked again silently;
           everything is resumable.
Stimulus:  the provider of tests/support/realtime.py, which delays, refuses, cuts and loses.
Oracle:    its own bill (what it sold of each prompt), its count of requests it had at a time, the times
           at which they arrived; the CSV; the ledger's counters and audit.
"""
import collections
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(__import__("pathlib").Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, Offpeak, clock  # noqa: E402
from realtime import Provider, error  # noqa: E402

TOO_FAST = {"status": 429, "body": error("rate_limit_error", "slow down")}
BUSY = {"status": 529, "body": error("overloaded_error", "Overloaded")}


@pytest.fixture
def lane(tmp_path):
    """lane(records=…, decide=…) starts a provider and gives the program beside it."""
    started = []

    def start(records=20, reask="", batch="", **options):
        provider = Provider(**options).__enter__()
        started.append(provider)
        program = Offpeak(tmp_path)
        program.env.update(ANTHROPIC_BASE_URL=provider.url, OFFPEAK_CLOCK=clock(20))
        program.provider = provider
        program.records = records
        folder = tmp_path / "asking"
        folder.mkdir()
        (folder / "pipeline.yaml").write_text(f"""
pipeline: asking
about: one question a record
params:
  path: {{about: input, type: path, required: true}}
inputs:
  items: {{csv: "{{{{path}}}}"}}
records: SELECT id AS key, word FROM items
requests:
  ask: {{model: claude-haiku-4-5, max_tokens: 100, user: "{{{{word}}}}", answer: a.json}}
outputs:
  - csv: answers.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
{reask}
{batch}
""")
        (folder / "a.json").write_text('{"type":"object","properties":{"text":{"type":"string"}},'
                                       '"required":["text"],"additionalProperties":false}')
        (folder / "items.csv").write_text("id,word\n" + "".join(
            f"r{i},word{i}\n" for i in range(records)))
        program.go = ("run", folder, "--path", folder / "items.csv")
        return program

    yield start
    for one in started:
        one.__exit__()


def check(program, bought=1, state="done"):
    """Everybody answered, each prompt sold at most so often, ledger and bill of one mind."""
    wanted = [f"r{i}" for i in range(program.records)]
    rows = program.csv("answers.csv")
    assert sorted(row["id"] for row in rows) == sorted(wanted)
    assert all(row["text"] == "about word" + row["id"][1:] for row in rows)
    sold = program.provider.sold
    assert len(sold) == program.records and max(sold.values()) <= bought, sold
    job = program.json("status")["jobs"][0]
    assert job["state"] == state and job["counts"]["done"] == program.records, job
    assert job["reserved_microusd"] == 0
    audit = program.run("doctor", "--audit", "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def journal(program):
    return program.ledger("SELECT batch_id, from_state, to_state, evidence FROM journal ORDER BY batch_id, epoch")


def test_one_by_one(lane):
    program = lane(records=50)
    program.run(*program.go, "--mode", "realtime", expect=0)
    check(program)
    assert len(program.provider.asked) == 50
    moves = journal(program)
    assert [m[2] for m in moves] == ["built", "sending", "accepted", "ended", "fetched", "applied",
                                     "sealed"]
    assert moves[1][3] == "realtime"
    assert list((program.state / "spool" / "realtime").iterdir()) == []


def test_many_lists(lane):
    """Lists of seven, several open at a time: nobody is left out, nobody asked twice."""
    program = lane(records=100, batch="batch: {requests: 7}",
                   decide=lambda nth, prompt: {"delay": 0.005 if nth % 9 else 0.1})
    program.run(*program.go, "--mode", "realtime", expect=0)
    check(program)
    assert len(program.provider.asked) == 100


@pytest.mark.parametrize("most", [1, 3, 20])
def test_never_more_than_the_window(lane, most):
    program = lane(records=60, decide=lambda nth, prompt: {"delay": 0.02})
    program.run(*program.go, "--mode", "realtime", "--concurrency", most, expect=0)
    check(program)
    assert program.provider.most_under_way <= most
    if most > 1:
        assert program.provider.most_under_way > 1


def test_the_lanes_of_a_job_are_asked_side_by_side(lane, emulator):
    """Two providers, one of which answers nothing before the other has answered everything: were the
    lanes asked in turns, it would never end. Each keeps to a window of its own."""
    records, most = 12, 3
    program, beside = lane(records=records), emulator()
    program.env.update(OPENAI_API_KEY="k", OPENAI_BASE_URL=beside.url + "/openai/v1")

    def answered():
        return sum(b["state"] == "succeeded" for b in beside.bill())

    def wait(nth, prompt):
        deadline = time.monotonic() + 60
        while answered() < records and time.monotonic() < deadline:
            time.sleep(0.02)
        return None if answered() == records else {"status": 400, "body": error("invalid_request_error", "late")}

    program.provider.decide = wait
    yaml = program.go[1] / "pipeline.yaml"
    text = yaml.read_text()
    ask = next(line for line in text.splitlines() if line.startswith("  ask:"))
    yaml.write_text(text.replace(ask, ask + "\n" + ask.replace("ask:", "beside:").replace(
        "claude-haiku-4-5", "gpt-6-luna")).replace("rows: SELECT key AS id", "rows: SELECT key || request AS id"))
    program.run(*program.go, "--mode", "realtime", "--concurrency", most, expect=0)
    assert sorted(row["id"] for row in program.csv("answers.csv")) == \
        sorted(f"r{i}{name}" for i in range(records) for name in ("ask", "beside"))
    assert set(program.provider.sold.values()) == {1} and program.provider.most_under_way == most
    job = program.json("status")["jobs"][0]
    assert job["counts"]["done"] == 2 * records and job["reserved_microusd"] == 0


def test_the_ordinary_price(lane):
    """1000 tokens in at $1 and 100 out at $5 a million: 1500 micro-dollars each, not half of it."""
    program = lane(records=4)
    program.run(*program.go, "--mode", "realtime", expect=0)
    assert program.json("status")["jobs"][0]["spent_microusd"] == 4 * 1500


def test_the_cap_counts_the_ordinary_price(lane):
    program = lane(records=4, batch="batch: {requests: 1}")
    done = program.run(*program.go, "--mode", "realtime", "--max-cost", "0.0011", "--wait", "2")
    # A prompt of two tokens or three, 100 tokens of answer at $5 a million: 0.0005 each, and two fit.
    assert done.returncode == 3
    assert len(program.provider.asked) <= 2


@pytest.mark.parametrize("refusal", [TOO_FAST, BUSY, {"status": 503, "body": error("api_error", "")}],
                         ids=["429", "529", "503"])
def test_refused_for_now(lane, refusal):
    """Every third is refused the first time: nothing was sold, and each is asked until it is."""
    seen = collections.Counter()

    def decide(nth, prompt):
        seen[prompt] += 1
        return refusal if seen[prompt] == 1 and int(prompt[4:]) % 3 == 0 else {"delay": 0.005}

    program = lane(records=30, decide=decide)
    program.run(*program.go, "--mode", "realtime", expect=0)
    check(program)
    assert len(program.provider.asked) == 40
    assert program.ledger("SELECT count(*) FROM result")[0][0] == 30


def test_retry_after_holds_everybody(lane):
    """The clock of the program runs 20 times as fast: 20 s are one second of the test's."""
    refused = []

    def decide(nth, prompt):
        if nth == 1:
            refused.append(time.monotonic())
            return {**TOO_FAST, "headers": {"Retry-After": "20"}}
        return None

    program = lane(records=10, decide=decide)
    program.run(*program.go, "--mode", "realtime", "--concurrency", 1, expect=0)
    check(program)
    assert program.provider.times[1] - refused[0] > 0.9


def test_window_shrinks(lane):
    """The provider takes four at a time and refuses the fifth: soon it has to refuse few."""
    program = lane(records=200)
    provider = program.provider

    def decide(nth, prompt):
        return TOO_FAST if provider.under_way > 4 else {"delay": 0.01}

    provider.decide = decide
    program.run(*program.go, "--mode", "realtime", expect=0)
    check(program)
    assert len(provider.asked) < 200 * 1.5


def test_told_limits(lane):
    """Three are left of the minute: once that is known, so many are under way, not eight."""
    program = lane(records=40)
    provider = program.provider

    def decide(nth, prompt):
        if nth == 16:
            provider.most_under_way = 0
        return {"delay": 0.02, "headers": {"x-ratelimit-remaining-requests": "3",
                                           "x-ratelimit-reset-requests": "60s"}}

    provider.decide = decide
    program.run(*program.go, "--mode", "realtime", "--concurrency", 8, expect=0)
    check(program)
    assert 1 <= provider.most_under_way <= 3


def test_requests_that_are_refused_for_good(lane):
    def decide(nth, prompt):
        if prompt == "word3":
            return {"status": 400, "body": error("invalid_request_error", "no such thing")}
        if prompt == "word5":
            return {"status": 404, "body": error("not_found_error", "model: gone")}
        return None

    program = lane(records=10, decide=decide)
    program.run(*program.go, "--mode", "realtime", expect=3)
    counts = program.json("status")["jobs"][0]["counts"]
    assert (counts["done"], counts["failed"]) == (8, 2)
    assert len(program.provider.asked) == 10
    failed = program.run("list", "--failed").stdout
    assert "no such thing" in failed and "model: gone" in failed


def test_credit_pauses_the_lane(lane):
    """Without credit nothing is sold; when there is some, the lane goes on by itself."""
    broke = {"status": 400, "body": error("invalid_request_error",
                                          "Your credit balance is too low to access the API.")}
    program = lane(records=10, decide=lambda nth, prompt: broke if nth <= 8 else None)
    done = program.run(*program.go, "--mode", "realtime", "--wait", "10")
    assert done.returncode == 3
    assert "lane paused" in done.stderr
    first = len(program.provider.asked)
    assert first <= 8 and not program.provider.sold
    program.run(*program.go, expect=0, OFFPEAK_CLOCK=clock(5000))
    check(program)


def test_lost_answers_are_asked_again_by_policy(lane):
    """Cut behind the request: it may have been sold. It is bought again with a reason in the ledger."""
    program = lane(records=20, decide=lambda nth, prompt: {"cut": "after"} if nth in (3, 7) else None)
    program.run(*program.go, "--mode", "realtime", expect=0)
    check(program, bought=2)
    again = [p for p, n in program.provider.sold.items() if n == 2]
    assert len(again) == 2
    notes = program.ledger("SELECT text FROM note WHERE kind = 'error'")
    assert len(notes) == 2 and all("outcome unknown" in n[0] for n in notes)
    assert program.json("status")["jobs"][0]["counts"]["reasked"] == 2


@pytest.mark.parametrize("strict", [False, True])
def test_lost_answers_are_never_bought_twice_if_not_allowed(lane, strict):
    reask = "" if strict else "reask: {failed: 0}"
    program = lane(records=20, reask=reask,
                   decide=lambda nth, prompt: {"cut": "after"} if nth in (3, 7) else None)
    options = ["--strict"] if strict else []
    program.run(*program.go, "--mode", "realtime", *options, expect=3)
    assert max(program.provider.sold.values()) == 1
    counts = program.json("status")["jobs"][0]["counts"]
    assert (counts["done"], counts["failed"]) == (18, 2)
    assert "outcome unknown" in program.run("list", "--failed").stdout


def test_html_from_a_proxy_is_no_proof(lane):
    """A 502 page, a 429 page and a 500: whoever wrote it, the request may have gone through."""
    pages = {2: 502, 4: 429, 6: 500}
    program = lane(records=10, reask="reask: {failed: 0}", decide=lambda nth, prompt: {
        "status": pages[nth], "body": b"<html>no</html>"} if nth in pages else None)
    program.run(*program.go, "--mode", "realtime", expect=3)
    assert program.json("status")["jobs"][0]["counts"]["failed"] == 3
    assert len(program.provider.asked) == 10


def test_a_wrong_address_stops_the_lane(lane):
    """A web server's own 404 proves nothing of what is behind it, but it is the same for everybody."""
    program = lane(records=30, reask="reask: {failed: 0}",
                   decide=lambda nth, prompt: {"status": 404, "body": b"404 page not found"})
    done = program.run(*program.go, "--mode", "realtime", "--wait", "20")
    assert done.returncode == 3 and "lane paused" in done.stderr
    assert len(program.provider.asked) <= 8


def test_an_address_that_may_not_be_asked(lane):
    """Nothing is sent, and nothing is in doubt afterwards."""
    program = lane(records=5)
    done = program.run(*program.go, "--mode", "realtime", ANTHROPIC_BASE_URL="http://example.com")
    assert done.returncode == 1 and "only https" in done.stderr
    program.run(*program.go, expect=0)
    check(program)
    assert len(program.provider.asked) == 5


def test_a_job_keeps_its_mode(lane):
    program = lane(records=3, batches=200)
    program.run(*program.go, "--max-cost", "0.000001", "--wait", "1")
    done = program.run(*program.go, "--mode", "realtime", "--wait", "1")
    assert "the job keeps its mode" in done.stderr
    assert program.provider.asked == []


def test_nobody_listens(lane):
    """Provably unsent: asked again until somebody does."""
    program = lane(records=5)
    provider = program.provider
    host, port = provider.server.server_address
    provider.server.shutdown()
    provider.server.server_close()
    done = program.run(*program.go, "--mode", "realtime", "--wait", "20")
    assert done.returncode == 3
    with Provider() as again:
        program.provider = again
        program.run(*program.go, expect=0, ANTHROPIC_BASE_URL=again.url)
        # Another address is another lane; the job goes on with the one it finds now.
        check(program)


def test_auto(lane):
    program = lane(records=5)
    program.run(*program.go, "--mode", "auto", expect=0)
    check(program)
    assert program.provider.listed == 0


def test_auto_is_batch_when_there_is_much(lane):
    program = lane(records=30, batches=200)
    program.run(*program.go, "--mode", "auto", "--wait", "1")
    assert program.provider.listed > 0
    assert program.provider.asked == []


def test_auto_says_how_much_is_tiny(lane):
    program = lane(records=30, batches=200)
    program.run(*program.go, "--mode", "auto", "--realtime-below", "31", expect=0)
    check(program)


@pytest.mark.parametrize("seconds,asked", [(3600, 30), (10000, 0)])
def test_deadline(lane, seconds, asked):
    program = lane(records=30, batches=200)
    far = [] if asked else ["--wait", "3"]
    program.run(*program.go, "--deadline", seconds, *far)
    assert len(program.provider.asked) == asked


def test_falls_back_when_there_is_no_batch_endpoint(lane):
    """One at a time, a second apart; said, and in the journal."""
    program = lane(records=6)
    done = program.run(*program.go, expect=0)
    check(program)
    assert "no batch API here" in done.stderr and "404" in done.stderr
    assert program.provider.most_under_way == 1
    gaps = [b - a for a, b in zip(program.provider.times, program.provider.times[1:])]
    # Arrivals waver, starts do not: five seconds of the program's clock in all, less
    # what a busy machine took before the first arrived.
    assert min(gaps) > 0.25 / 20 and sum(gaps) > 4 / 20
    sending = [m for m in journal(program) if m[2] == "sending"]
    assert len(sending) == 1
    assert sending[0][3].startswith("realtime: the batch endpoint answered 404")
    assert program.json("status")["jobs"][0]["spent_microusd"] == 6 * 1500


def test_falling_back_keeps_the_cap(lane):
    """100 tokens of answer are 250 micro-dollars by batch and 500 one by one; 400 are allowed."""
    program = lane(records=2, batch="batch: {requests: 1}")
    done = program.run(*program.go, "--max-cost", "0.0004", "--wait", "3")
    assert done.returncode == 3 and program.provider.asked == []
    assert "cost cap" in done.stderr


def test_status_says_what_is_under_way(lane):
    """Read from another process, while the first is waiting for its answers."""
    arrived = threading.Event()

    def decide(nth, prompt):
        if nth == 6:
            arrived.set()
        return {"delay": 0.01 if nth < 4 else 1.5}

    program = lane(records=6, decide=decide)
    run = subprocess.Popen([OFFPEAK, *map(str, program.go), "--mode", "realtime"], cwd=program.cwd,
                           env=program.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert arrived.wait(20)
    time.sleep(0.3)
    said = program.run("status", expect=0).stdout
    assert run.wait(60) == 0
    assert "3 under way, 3 answered" in said
    assert "under way" not in program.run("status", expect=0).stdout


def test_no_fall_back_if_only_batches_are_wanted(lane):
    program = lane(records=3)
    done = program.run(*program.go, "--mode", "batch", "--wait", "2")
    assert done.returncode == 3
    assert program.provider.asked == []


def test_flex_is_not_for_everybody(lane):
    program = lane(records=3)
    done = program.run(*program.go, "--mode", "realtime", "--tier", "flex")
    assert done.returncode == 2 or done.returncode == 1
    assert "no service tier" in done.stderr
    done = program.run(*program.go, "--tier", "flex")
    assert "--mode realtime" in done.stderr


def test_ctrl_c_waits_for_what_is_under_way(lane):
    arrived = threading.Event()

    def decide(nth, prompt):
        if nth == 5:
            arrived.set()
        return {"delay": 0.3}

    program = lane(records=40, decide=decide)
    run = subprocess.Popen([OFFPEAK, *map(str, program.go), "--mode", "realtime"], cwd=program.cwd,
                           env=program.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert arrived.wait(20)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert "waiting for answers" in said
    first = len(program.provider.asked)
    assert first < 40
    program.run(*program.go, expect=0)
    check(program)
    assert len(program.provider.asked) == 40


def test_create_asks_and_leaves(lane):
    program = lane(records=20)
    create = ("create", *program.go[1:])
    program.run(*create, "--mode", "realtime")
    assert len(program.provider.asked) == 20
    program.run("fetch", "--all-pending", expect=0)
    check(program)


def test_canceled_between_two_runs(lane):
    program = lane(records=40, decide=lambda nth, prompt: {"delay": 0.05})
    done = program.run(*program.go, "--mode", "realtime", "--concurrency", 2, "--wait", "5")
    assert done.returncode == 3
    first = len(program.provider.asked)
    assert 0 < first < 40
    program.run("cancel", "job-1")
    program.run("recover")
    counts = program.json("status")["jobs"][0]["counts"]
    assert len(program.provider.asked) == first
    assert counts["done"] == first and counts["canceled"] == 40 - first
    assert program.json("status")["jobs"][0]["state"] == "canceled"


def test_invalid_and_refused_answers_go_the_usual_way(lane):
    """What is behind the lane is as for batches: an answer that breaks its schema is asked again."""
    seen = collections.Counter()

    def answer(prompt):
        seen[prompt] += 1
        bad = prompt == "word2" and seen[prompt] == 1
        return json.dumps({"text": 5} if bad else {"text": f"about {prompt}"})

    program = lane(records=5, answer=answer)
    program.run(*program.go, "--mode", "realtime", expect=0)
    counts = program.json("status")["jobs"][0]["counts"]
    assert (counts["done"], counts["reasked"], counts["invalid"]) == (5, 1, 1)


PROVIDERS = {
    "anthropic": ("claude-haiku-4-5", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ""),
    "openai": ("gpt-5.4-mini", "OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    "gemini": ("gemini-3.5-flash", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", ""),
    "mistral": ("mistral-small-latest", "MISTRAL_API_KEY", "MISTRAL_BASE_URL", "/mistral"),
}


@pytest.mark.parametrize("throttled", [False, True], ids=["smoothly", "throttled"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider(lane, emulator, name, throttled):
    """Against the emulator, whose own bill says what each request cost."""
    model, key, url, path = PROVIDERS[name]
    faults = [{"on": "messages", "nth": n, "do": "rate_limit", "seconds": 2}
              for n in (2, 5, 6)] if throttled else None
    server = emulator(faults=faults)
    program = lane(records=30)
    program.env.update({key: "k-test-0123456789", url: server.url + path})
    program.run(*program.go, "--mode", "realtime", "--model", model, expect=0)
    bill = server.bill()
    assert {b["provider"] for b in bill} == {name} and {b["batch"] for b in bill} == {None}
    bought = collections.Counter(b["hash"] for b in bill if b["state"] == "succeeded")
    assert len(bought) == 30 and set(bought.values()) == {1}
    assert len(program.csv("answers.csv")) == 30
    sold = sum(b["input_tokens"] for b in bill if b["state"] == "succeeded")
    assert program.ledger("SELECT tokens_input + tokens_read + tokens_write_5m + tokens_write_1h"
                          " FROM job") == [(sold,)]
    audit = program.run("doctor", "--audit", "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_without_batches(lane, emulator, name):
    """Whatever is asked first (an upload, a list, the create) answers 404."""
    model, key, url, path = PROVIDERS[name]
    server = emulator(faults=[{"on": "any", "do": "no_batch"}])
    program = lane(records=4)
    program.env.update({key: "k-test-0123456789", url: server.url + path})
    done = program.run(*program.go, "--model", model, expect=0)
    assert "no batch API here" in done.stderr
    bought = collections.Counter(b["hash"] for b in server.bill() if b["state"] == "succeeded")
    assert len(bought) == 4 and set(bought.values()) == {1}
    assert len(program.csv("answers.csv")) == 4
    sending, = [m for m in journal(program) if m[2] == "sending"]
    assert sending[3].startswith("realtime: the batch endpoint answered 404")


# --- crashes ----------------------------------------------------------------------------------

POINTS = ["realtime.opened", "realtime.log.before", "realtime.log.after", "realtime.submitted",
          "realtime.answered", "realtime.ended", "send.gate.before", "fetch.part", "fetch.renamed",
          "fetch.committed", "apply.commit.before", "apply.commit.after", "seal.after"]


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("passage", [1, 2, 5])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(lane, point, passage, again):
    """Bill and ledger agree: what was sold twice has a reason in the ledger, one each."""
    program = lane(records=20, batch="batch: {requests: 8}",
                   decide=lambda nth, prompt: {"delay": 0.002})
    first = program.run(*program.go, "--mode", "realtime", "--concurrency", 4,
                        OFFPEAK_FAULT=f"{point}:{passage}")
    if first.returncode == 0:
        pytest.skip(f"{point} is not passed {passage} times here")
    assert first.returncode == -9, first.stderr
    if again:
        program.run("recover", "--concurrency", 4, OFFPEAK_FAULT=f"{point}:1")
    time.sleep(0.1)  # what the dead process had under way arrives, or never will
    program.run("recover", "--concurrency", 4, expect=0)
    check(program, bought=3)
    doubts = collections.Counter(r for r, in program.ledger(
        "SELECT request_id FROM note WHERE text LIKE 'outcome unknown%'"))
    asked = collections.Counter(program.provider.asked)
    for prompt, times in asked.items():
        request = int(prompt[4:]) + 1
        assert times - 1 <= doubts[request], (prompt, times, doubts)
    if point in ("realtime.opened", "realtime.log.before", "realtime.ended", "fetch.part",
                 "fetch.renamed", "fetch.committed", "seal.after", "apply.commit.before"):
        assert program.provider.most_under_way <= 4 * 2


def test_killed_and_never_bought_again(lane):
    """With no allowance, no crash may buy anything twice."""
    program = lane(records=30, reask="reask: {failed: 0}", decide=lambda nth, prompt: {"delay": 0.01})
    for point in ("realtime.submitted:2", "realtime.answered:4", "realtime.log.after:6"):
        program.run(*program.go, "--mode", "realtime", "--concurrency", 3, OFFPEAK_FAULT=point)
    time.sleep(0.2)
    program.run(*program.go, expect=3)
    assert max(program.provider.sold.values()) == 1
    assert max(collections.Counter(program.provider.asked).values()) == 1
    counts = program.json("status")["jobs"][0]["counts"]
    assert counts["done"] + counts["failed"] == 30 and 1 <= counts["failed"] <= 9
    audit = program.run("doctor", "--audit", "--json")
    assert audit.returncode == 0, audit.stdout


def test_a_damaged_log_proves_nothing(lane):
    """A changed byte in the log: what it does not say is not taken for unasked."""
    program = lane(records=12, reask="reask: {failed: 0}", decide=lambda nth, prompt: {"delay": 0.01})
    done = program.run(*program.go, "--mode", "realtime", "--concurrency", 2,
                       OFFPEAK_FAULT="realtime.answered:5")
    assert done.returncode == -9
    log, = (program.state / "spool" / "realtime").iterdir()
    data = bytearray(log.read_bytes())
    data[30] ^= 1
    log.write_bytes(data)
    program.run(*program.go, expect=3)
    assert max(collections.Counter(program.provider.asked).values()) == 1
    counts = program.json("status")["jobs"][0]["counts"]
    assert (counts["done"], counts["failed"]) == (0, 12)


def test_a_ledger_from_a_backup_buys_nothing_twice(lane, tmp_path):
    """The ledger of before the send is put back: the manifest and the log know better."""
    import shutil
    program = lane(records=12, decide=lambda nth, prompt: {"delay": 0.01})
    program.run(*program.go, "--mode", "realtime", "--max-cost", "0.000001", "--wait", "1")
    assert program.provider.asked == []
    shutil.copy(program.state / "ledger.db", tmp_path / "backup.db")
    done = program.run(*program.go, "--max-cost", "1", "--concurrency", 2,
                       OFFPEAK_FAULT="realtime.answered:4")
    assert done.returncode == -9
    asked = collections.Counter(program.provider.asked)
    assert asked
    shutil.copy(tmp_path / "backup.db", program.state / "ledger.db")
    time.sleep(0.1)
    program.run(*program.go, "--max-cost", "1")
    program.run("recover", "--trust")
    program.run(*program.go, "--max-cost", "1")
    doubts = program.ledger("SELECT count(*) FROM note WHERE text LIKE 'outcome unknown%'")[0][0]
    again = sum(n - 1 for n in collections.Counter(program.provider.asked).values())
    assert again <= doubts
    check(program, bought=2)
