"""A chain of providers: what has no quota at the first is asked of the next, and nothing is bought twice.

Behaviour: only a quota error moves requests on (a rate limit, a bad key do not); a request leaves its
           batch only when nothing of it was bought there; who has answered stays answered; the outputs
           and the ledger say who it was.
Stimulus:  two emulators, one as Gemini and one as Mistral; faults of the first.
Oracle:    the bills of both: together they have sold each record's question once; the CSV against
           them; the ledger's audit.
"""
import collections
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Emulator, Offpeak, clock  # noqa: E402

RECORDS = 12
SPEED = 3000

PIPELINE = """
pipeline: chain
about: twelve questions in batches of four
params:
  path: {about: input, type: path, required: true}
inputs:
  items: {csv: "{{path}}"}
records: SELECT id AS key, word, 7 AS n, 2.5 AS x FROM items
requests:
  ask: {provider: "gemini, mistral", model: "gemini=gemini-3.6-flash, mistral=mistral-large-2512",
        max_tokens: 200, user: "Say something about {{word}} {{n}} {{x}}", answer: a.json}
outputs:
  - csv: answers.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text, provider, model FROM answers
batch: {requests: 4}
"""
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
          "additionalProperties": False}
NO_MONEY = {"do": "spend_cap"}
LANES = {"batch": "create", "realtime": "messages"}


def sold(emulator):
    """How often each question was sold: of batches as Emulator.bought(), and realtime requests, whose
    lines stand on the bill in pairs."""
    lines = [line for line in emulator.bill() if line["batch"] is None]
    asked = collections.Counter(line["hash"] for line in lines if line["state"] == "accepted")
    assert sum(asked.values()) == sum(line["state"] == "succeeded" for line in lines)
    batches = {k: n for k, n in emulator.bought().items() if k not in asked}
    return asked + collections.Counter(batches)


class Chain:
    """The program between two providers with a bill each."""

    def __init__(self, folder, faults, later=None, yaml=PIPELINE, words=None):
        self.first = Emulator(folder / "gemini", speed=SPEED, faults=faults)
        self.second = Emulator(folder / "mistral", speed=SPEED, faults=later)
        self.first.__enter__(), self.second.__enter__()
        self.folder = folder / "chain"
        self.folder.mkdir()
        (self.folder / "pipeline.yaml").write_text(yaml)
        (self.folder / "a.json").write_text(json.dumps(SCHEMA))
        self.words = words or [f"word{i}" for i in range(RECORDS)]
        (self.folder / "items.csv").write_text("id,word\n" + "".join(
            f"r{i},{word}\n" for i, word in enumerate(self.words)))
        self.offpeak = Offpeak(folder, self.first, OFFPEAK_CLOCK=clock(SPEED))
        self.offpeak.env["MISTRAL_BASE_URL"] = self.second.url + "/mistral"
        self.go = ("run", self.folder, "--path", self.folder / "items.csv")

    def close(self):
        self.first.__exit__(), self.second.__exit__()

    def sold(self):
        return {"gemini": sum(sold(self.first).values()), "mistral": sum(sold(self.second).values())}

    def check(self, records=RECORDS):
        """Everybody answered once, by the provider that has it on its bill."""
        rows = self.offpeak.csv("answers.csv")
        assert sorted(row["id"] for row in rows) == sorted(f"r{i}" for i in range(records))
        for emulator in self.first, self.second:
            assert set(sold(emulator).values()) <= {1}, sold(emulator)
        said = collections.Counter(row["provider"] for row in rows)
        assert {p: said[p] for p in ("gemini", "mistral")} == self.sold()
        models = {"gemini": "gemini-3.6-flash", "mistral": "mistral-large-2512"}
        assert all(row["model"] == models[row["provider"]] for row in rows), rows
        job = self.offpeak.json("status")["jobs"][0]
        assert job["state"] == "done" and job["counts"]["done"] == records, job
        assert job["reserved_microusd"] == 0
        audit = self.offpeak.run("doctor", "--audit", "--json")
        assert audit.returncode == 0, audit.stdout + audit.stderr
        return self.sold()


@pytest.fixture
def chain(tmp_path):
    made = []

    def start(faults=(), **options):
        made.append(Chain(tmp_path, list(faults), **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize("mode", LANES)
def test_all_move_on(chain, mode):
    """Nothing can be bought at the first: the second answers everything."""
    c = chain([{"on": LANES[mode], **NO_MONEY}])
    c.offpeak.run(*c.go, "--mode", mode, expect=0)
    assert c.check() == {"gemini": 0, "mistral": RECORDS}


@pytest.mark.parametrize("mode", LANES)
def test_with_quota_the_first_answers(chain, mode):
    c = chain()
    c.offpeak.run(*c.go, "--mode", mode, expect=0)
    assert c.check() == {"gemini": RECORDS, "mistral": 0}


def test_what_is_sold_stays(chain):
    """The quota ends at the third batch: the two before it are the first provider's, and stay so."""
    c = chain([{"on": "create", "from": 3, **NO_MONEY}])
    c.offpeak.run(*c.go, "--mode", "batch", expect=0)
    assert c.check() == {"gemini": 8, "mistral": 4}


TWO = PIPELINE.replace("""
outputs:""", """
  more: {provider: "gemini, mistral", model: "gemini=gemini-3.6-flash, mistral=mistral-large-2512",
         max_tokens: 200, user: "Say more about {{word}}", answer: a.json}
outputs:""").replace("SELECT key AS id,", "SELECT key || request AS id,")


@pytest.mark.parametrize("mode", LANES)
def test_two_requests_of_a_record(chain, mode):
    """They move on one by one: a record may have an answer of each provider, and none twice."""
    c = chain([{"on": LANES[mode], "from": 4, **NO_MONEY}], yaml=TWO)
    c.offpeak.run(*c.go, "--mode", mode, *(["--concurrency", 1] if mode == "realtime" else []), expect=0)
    rows = c.offpeak.csv("answers.csv")
    assert sorted(row["id"] for row in rows) == \
        sorted(f"r{i}{name}" for i in range(RECORDS) for name in ("ask", "more"))
    assert set((sold(c.first) + sold(c.second)).values()) == {1}
    assert c.sold() == dict(collections.Counter(row["provider"] for row in rows))
    assert c.sold()["gemini"] == {"batch": 12, "realtime": 3}[mode]
    audit = c.offpeak.run("doctor", "--audit", "--json")
    assert audit.returncode == 0, audit.stdout


def test_all_requests_have_one_chain(chain):
    """Which of two chains a record follows could not be told: refused before anything is bought."""
    c = chain(yaml=TWO.replace('more: {provider: "gemini, mistral"', 'more: {provider: "mistral, gemini"'))
    done = c.offpeak.run(*c.go)
    assert done.returncode != 0 and "all requests have the same chain" in done.stderr
    assert c.first.bill() == c.second.bill() == []


def test_what_is_sold_stays_in_realtime(chain):
    c = chain([{"on": "messages", "from": 6, **NO_MONEY}])
    c.offpeak.run(*c.go, "--mode", "realtime", "--concurrency", 1, expect=0)
    assert c.check() == {"gemini": 5, "mistral": 7}


def test_one_errored_line_moves_on(chain):
    """A batch was taken, and the quota ended in it: what was answered stays, one line is asked elsewhere."""
    c = chain([{"on": "results", "nth": 3, "do": "error_line", "type": "RESOURCE_EXHAUSTED",
                "message": "Your project has exceeded its spending cap."}],
              yaml=PIPELINE.replace("requests: 4", "requests: 12"))
    c.offpeak.run(*c.go, "--mode", "batch", expect=0)
    assert c.check() == {"gemini": 11, "mistral": 1}


PASSING = {
    "rate limit": {"do": "rate_limit", "seconds": 2},
    "rate limit without a time": {"do": "rate_limit"},
    "bad key": {"do": "status_before_commit", "status": 401, "type": "UNAUTHENTICATED"},
    "overloaded": {"do": "status_before_commit", "status": 503},
}


@pytest.mark.parametrize("mode", LANES)
@pytest.mark.parametrize("name", PASSING)
def test_nothing_else_moves_on(chain, mode, name):
    c = chain([{"on": LANES[mode], "times": 2, **PASSING[name]}])
    c.offpeak.run(*c.go, "--mode", mode, "--concurrency", 2, expect=0)
    assert c.check() == {"gemini": RECORDS, "mistral": 0}
    assert c.second.bill() == []


@pytest.mark.parametrize("mode", LANES)
def test_round_the_chain(chain, mode):
    """Neither has quota, then the first has some again: nobody waits for the last one for ever."""
    c = chain([{"on": LANES[mode], "times": 1, **NO_MONEY}], later=[{"on": LANES[mode], **NO_MONEY}])
    c.offpeak.run(*c.go, "--mode", mode, "--concurrency", 1, expect=0)
    assert c.check() == {"gemini": RECORDS, "mistral": 0}


def test_identical_questions(chain):
    """Followers take the answer of the one that moved on, and the next run takes all of them."""
    c = chain([{"on": "create", **NO_MONEY}], words=["same"] * 5 + ["other"] * 3)
    c.offpeak.run(*c.go, "--mode", "batch", expect=0)
    rows = c.offpeak.csv("answers.csv")
    assert len(rows) == 8 and {row["provider"] for row in rows} == {"mistral"}
    assert c.sold() == {"gemini": 0, "mistral": 2}
    c.offpeak.run(*c.go, "--mode", "batch", expect=0)
    assert c.sold() == {"gemini": 0, "mistral": 2}
    job = c.offpeak.json("status")["jobs"][0]
    assert job["counts"]["reused"] == 8, job


def test_another_jobs_answer_is_its_providers(chain):
    """What the second answered for a chain is no answer of the first: a job of its own buys it there."""
    c = chain([{"on": "create", "times": 1, **NO_MONEY}])
    c.offpeak.run(*c.go, "--mode", "batch", expect=0)
    assert c.sold() == {"gemini": 0, "mistral": RECORDS}
    c.offpeak.run(*c.go, "--provider", "gemini", "--mode", "batch", expect=0)
    assert c.sold() == {"gemini": RECORDS, "mistral": RECORDS}
    c.offpeak.run(*c.go, "--provider", "mistral", "--mode", "batch", expect=0)
    assert c.sold() == {"gemini": RECORDS, "mistral": RECORDS}


def test_asked_again_with_the_objections(chain):
    """An answer of the first is invalid, and it has no quota to mend it: the second gets the question with
    the answer and what is wrong with it, in its own form."""
    c = chain([{"on": "results", "nth": 3, "do": "invalid_answer", "how": "missing"},
               {"on": "create", "from": 4, **NO_MONEY}])
    c.offpeak.run(*c.go, "--mode", "batch", expect=0)
    assert c.sold() == {"gemini": RECORDS, "mistral": 1}
    rows = c.offpeak.csv("answers.csv")
    assert collections.Counter(row["provider"] for row in rows) == {"gemini": 11, "mistral": 1}
    payload = c.offpeak.ledger("SELECT file FROM batch JOIN lane ON lane.id = lane_id"
                               " WHERE provider = 'mistral' AND state = 'sealed'")
    text = (c.offpeak.state / "spool" / payload[0][0]).read_text()
    body = json.loads(text.splitlines()[0])["body"]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert "text" in body["messages"][2]["content"]


def test_who_answered(chain):
    c = chain([{"on": "create", "from": 3, **NO_MONEY}])
    c.offpeak.run(*c.go, "--mode", "batch", expect=0)
    status = c.offpeak.json("status")["jobs"][0]
    assert {p["provider"]: p["ok"] for p in status["providers"]} == {"gemini": 8, "mistral": 4}
    shown = c.offpeak.json("show", "job-1")
    assert collections.Counter(b["provider"] for b in shown["batches"] if b["ok"]) == \
        {"gemini": 2, "mistral": 1}
    costs = c.offpeak.json("cost", "--by", "provider")["costs"]
    assert {line["provider"]: line["requests"] for line in costs} == {"gemini": 8, "mistral": 4}
    record = c.offpeak.json("show", "r11")
    assert [r["provider"] for r in record["requests"][0]["results"]] == ["mistral"]
    c.offpeak.run("export", "job-1", "--output", "asked.jsonl", expect=0)
    asked = (c.offpeak.cwd / "asked.jsonl").read_text().splitlines()
    assert collections.Counter("body" in json.loads(line) for line in asked if line) == {False: 8, True: 4}


def test_in_flight_and_rate(chain):
    """While batches are out, status counts them; when they are answered, none is, and a rate is known."""
    c = chain([{"on": "create", "do": "never_end"}])
    c.offpeak.run("create", *c.go[1:], expect=3)
    job = c.offpeak.json("status")["jobs"][0]
    assert job["in_flight"] == {"batches": 3, "requests": 12, "realtime": 0}, job
    assert job["rate"] == {"realtime_per_second": None, "batches_per_hour": None}
    c.offpeak.run(*c.go, "--provider", "mistral", expect=0)
    job = c.offpeak.json("status", "job-2")["jobs"][0]
    assert job["in_flight"] == {"batches": 0, "requests": 0, "realtime": 0}, job
    assert job["rate"]["batches_per_hour"] > 0


MISTAKES = {
    "model": (("--model", "gemini-3.6-flash"), "names no model of mistral"),
    "provider": (("--provider", "gemini,mistrall"), "there is no provider 'mistrall'"),
    "twice": (("--provider", "gemini,gemini"), "named twice"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_missing_is_said_first(chain, name):
    c = chain()
    options, message = MISTAKES[name]
    checked = c.offpeak.run("validate", *c.go[1:], *options)
    assert checked.returncode != 0 and message in checked.stdout + checked.stderr
    done = c.offpeak.run(*c.go, *options)
    assert done.returncode != 0 and message in done.stderr
    assert c.first.bill() == c.second.bill() == []


def test_a_key_of_each(chain):
    """The second provider's key is missed before anything is bought at the first."""
    c = chain()
    del c.offpeak.env["MISTRAL_API_KEY"]
    done = c.offpeak.run(*c.go)
    assert done.returncode != 0 and "MISTRAL_API_KEY" in done.stderr
    assert c.first.bill() == []


# Where a kill meets the chain; the other points are those of tests/crash.
POINTS = {
    "batch": ["send.gate.after", "send.released", "chain.dropped", "repack.committed", "apply.commit.after"],
    "realtime": ["realtime.log.before", "realtime.log.after", "realtime.ended", "chain.dropped",
                 "repack.committed"],
}
KILLS = [(mode, point) for mode in LANES for point in POINTS[mode]]


@pytest.mark.parametrize("passage", [1, 3])
@pytest.mark.parametrize("mode,point", KILLS)
def test_killed(chain, mode, point, passage):
    """Dying between the two providers: recover goes on, and nothing is sold twice but what the realtime
    lane says it cannot know."""
    c = chain([{"on": LANES[mode], "from": 2 if mode == "batch" else 5, **NO_MONEY}])
    first = c.offpeak.run(*c.go, "--mode", mode, "--concurrency", 2, OFFPEAK_FAULT=f"{point}:{passage}")
    assert first.returncode in (0, -9), first.stderr
    if first.returncode:
        assert c.offpeak.run("recover").returncode in (0, 3)
        c.offpeak.run("run", "job-1", expect=0)
    rows = c.offpeak.csv("answers.csv")
    assert sorted(row["id"] for row in rows) == sorted(f"r{i}" for i in range(RECORDS))
    total = sum(c.sold().values())
    doubtful = 2 if mode == "realtime" and first.returncode else 0  # the window
    assert RECORDS <= total <= RECORDS + doubtful, c.sold()
    assert c.offpeak.run("doctor", "--audit", "--json").returncode == 0
