"""The trigger `dynamodb_queue` and `watch`.

Behaviour: docs/design/triggers.md: what is queued is claimed once, made a job, reported when it is sent and
           when it is over; what cannot be taken fails or is given back; two workers share a queue.
Stimulus:  items put into the tests' own DynamoDB (support/dynamo.py), whose answers to UpdateItem get lost.
Oracle:    the items as they came over the wire, the emulator's bill, the rows of an output.
"""
import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from dynamo import ENV, Dynamo, Table  # noqa: E402
from harness import OFFPEAK, Emulator, Offpeak, clock  # noqa: E402

PIPELINE = """pipeline: p
params:
  word: {required: true}
  job_id: {default: none}
inputs:
  words: {csv: words.csv}
records: SELECT word AS key FROM words WHERE word = :word
requests:
  ask: {model: claude-haiku-4-5, max_tokens: 200, user: "About {{key}} for {{job_id}}"}
outputs:
  - dynamodb: Out
    key: [id]
    rows: SELECT :job_id AS id, key AS word FROM answers
trigger:
  dynamodb_queue: Queue
  checker: CHECK
  jobs: >-
    SELECT job_id AS key, job_id,
    CASE WHEN json_valid(job_config) THEN job_config ->> 'word' END AS word,
    CASE WHEN NOT json_valid(job_config) THEN 'job_config is no JSON' END AS problem
    FROM queue WHERE job_type = 'CREATE'
"""


def queued(n, config=None, **more):
    item = {"job_id": {"S": f"q{n}"}, "status": {"S": "PENDING"}, "created_at": {"S": f"2026-01-01T00:00:{n:02}"},
            "version": {"N": "1"}, "worker_id": {"S": "none"}, "job_type": {"S": "CREATE"},
            "job_config": {"S": json.dumps({"word": f"w{n % 3}"}) if config is None else config},
            "logs": {"S": json.dumps({"entries": [{"message": "queued"}]})}}
    item.update(more)
    return item


class World:
    def __init__(self, folder):
        self.dir = folder
        self.emulator = Emulator(folder, speed=2000)
        self.dynamo = Dynamo(page=3)

    def __enter__(self):
        self.emulator.__enter__()
        self.dynamo.__enter__()
        self.dynamo.tables["Queue"] = Table("job_id", indexes={"StatusCreatedIndex": ("status", "created_at")})
        self.dynamo.tables["Out"] = Table("id")
        return self

    def __exit__(self, *args):
        self.dynamo.__exit__(*args)
        self.emulator.__exit__(*args)
        assert self.dynamo.bad_signatures == []

    def worker(self, name):
        folder = self.dir / name
        folder.mkdir()
        program = Offpeak(folder, self.emulator, OFFPEAK_CLOCK=clock(2000), DYNAMODB_ENDPOINT=self.dynamo.url, **ENV)
        pipeline = folder / "work" / "p"
        pipeline.mkdir()
        (pipeline / "pipeline.yaml").write_text(PIPELINE)
        (program.cwd / "words.csv").write_text("word\nw0\nw1\nw2\n")
        return program

    def put(self, *items):
        for item in items:
            self.dynamo.tables["Queue"].put(item)

    def item(self, key):
        return {k: next(iter(v.values())) for i in self.dynamo.tables["Queue"].items.values()
                for k, v in i.items() if i["job_id"]["S"] == key}

    def out(self):
        return sorted(i["id"]["S"] for i in self.dynamo.tables["Out"].items.values())


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as world:
        yield world


def drain(world, *workers, rounds=60):
    for _ in range(rounds):
        codes = [w.run("watch", "p", "--once").returncode for w in workers]
        assert set(codes) <= {0, 3}
        if set(codes) == {0}:
            return
    raise AssertionError("the queue is not drained")


def test_from_queue_to_report(world):
    world.put(queued(1), queued(2, "{broken"), queued(3, "{}"), queued(4, job_type={"S": "OTHER"}))
    program = world.worker("a")
    drain(world, program)
    one = world.item("q1")
    assert one["status"] == "COMPLETED", one
    assert one["batch_id"].startswith("msgbatch_")
    assert "lock_expires_at" not in one and one["completed_at"]
    assert json.loads(one["job_results"])["result_type"] == "SUCCESS"
    messages = [e["message"] for e in json.loads(one["logs"])["entries"]]
    assert messages[0] == "queued" and messages[1].startswith("claimed by") and "1 of 1 reports" in messages[-1]
    check = next(i for i in world.dynamo.tables["Queue"].items.values() if i["job_type"]["S"] == "CHECK")
    assert check["status"]["S"] == "COMPLETED" and check["batch_job_id"]["S"] == "q1"
    assert world.item("q2")["status"] == "FAILED" and "no JSON" in world.item("q2")["error_message"]
    assert world.item("q3")["status"] == "FAILED" and "word" in world.item("q3")["error_message"]
    assert world.item("q4") == {k: next(iter(v.values())) for k, v in queued(4, job_type={"S": "OTHER"}).items()}
    assert world.out() == ["q1"] and set(world.emulator.bought().values()) == {1}


def test_given_back(world):
    """A worker without a key leaves the item to one that has it."""
    world.put(queued(1))
    poor, rich = world.worker("a"), world.worker("b")
    poor.env.pop("ANTHROPIC_API_KEY")
    poor.run("watch", "p", "--once", expect=0)
    assert world.item("q1")["status"] == "PENDING" and world.item("q1")["worker_id"] == "none"
    assert "ANTHROPIC_API_KEY" in world.item("q1")["logs"]
    drain(world, rich)
    assert world.item("q1")["status"] == "COMPLETED" and world.out() == ["q1"]


@pytest.mark.parametrize("nth", range(4))
def test_lost_answers(world, nth):
    """The answer to an update gets lost, carried out or not: all the same once."""
    world.put(queued(1))
    program = world.worker("a")
    update, count = world.dynamo.UpdateItem, [0]

    def lossy(request):
        count[0] += 1
        reply = update(request)
        if count[0] == nth + 1:
            world.dynamo.faults.append(("GetItem", "InternalServerError", "", 500))
            raise ConnectionAbortedError
        return reply

    def answer(handler, body, inner=world.dynamo.answer):
        try:
            inner(handler, body)
        except ConnectionAbortedError:
            handler.close_connection = True
    world.dynamo.UpdateItem, world.dynamo.answer = lossy, answer
    drain(world, program)
    assert world.item("q1")["status"] == "COMPLETED"
    assert len(json.loads(world.item("q1")["logs"])["entries"]) == 5
    assert set(world.emulator.bought().values()) == {1} and world.out() == ["q1"]


POINTS = ["trigger.claimed", "trigger.told.before", "trigger.told.after", "trigger.job", "send.released",
          "deliver.between"]


@pytest.mark.parametrize("point", POINTS)
def test_killed(world, point):
    """The process dies there; the next one finishes: one purchase, one row."""
    world.put(queued(1))
    program = world.worker("a")
    program.run("watch", "p", "--once", OFFPEAK_FAULT=f"{point}:1")
    drain(world, program)
    assert world.item("q1")["status"] == "COMPLETED"
    assert set(world.emulator.bought().values()) == {1} and world.out() == ["q1"]


def test_two_workers(world):
    """Forty jobs, two workers, both killed again and again: each job once, the bill exact."""
    world.put(*(queued(n, json.dumps({"word": f"w{n % 3}"})) for n in range(40)))
    workers = [world.worker("a"), world.worker("b")]
    for _ in range(4):
        both = [subprocess.Popen([OFFPEAK, "watch", "p"], cwd=w.cwd, env=w.env, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL) for w in workers]
        for process in both:
            try:
                process.wait(0.7)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    drain(world, *workers)
    states = {i["job_id"]["S"]: i["status"]["S"] for i in world.dynamo.tables["Queue"].items.values()
              if i["job_type"]["S"] == "CREATE"}
    assert states == {f"q{n}": "COMPLETED" for n in range(40)}
    assert world.out() == sorted(f"q{n}" for n in range(40))
    bought = world.emulator.bought()
    assert len(bought) == 40 and set(bought.values()) == {1}
